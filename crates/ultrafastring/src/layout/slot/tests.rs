use super::*;

#[test]
fn what_is_committed_is_read_back_for_every_size() {
    let data: [u8; 41] = core::array::from_fn(|i| i as u8 + 1);
    for size in 0..=INLINE_SIZE {
        let slot = TimestampedSlot::new();
        let meta = Meta::new(PriorityClass::Low, size, 7);
        slot.commit(9, meta, 55, Payload::from_bytes(&data[..size]));
        assert_eq!(slot.state(9), SlotState::Committed);
        let (meta, timestamp, payload) = slot.read();
        assert_eq!((meta.size(), meta.class(), meta.producer()), (size, PriorityClass::Low, 7));
        assert_eq!(timestamp, 55);
        let mut buffer = [0xee; 64];
        payload.copy_to(&mut buffer[..size]);
        assert_eq!(buffer[..size], data[..size]);
        assert!(buffer[size..].iter().all(|&byte| byte == 0xee), "beyond size {size}");
        assert!(payload.to_bytes()[size..].iter().all(|&byte| byte == 0));
    }
}

#[test]
fn the_words_lie_where_the_layout_says() {
    let slot = TimestampedSlot::new();
    let data: [u8; 40] = core::array::from_fn(|i| i as u8);
    slot.commit(4, Meta::new(PriorityClass::Bulk, 40, 3), 77, Payload::from_bytes(&data));
    let words: [u64; 8] = core::array::from_fn(|i| slot.words[i].load(Ordering::Relaxed));
    assert_eq!(words[0], 5);
    assert_eq!(words[1], 4 | 40 << 16 | 3 << 32);
    assert_eq!(words[2], 77);
    for (i, word) in words[3..].iter().enumerate() {
        assert_eq!(word.to_ne_bytes(), data[8 * i..][..8]);
    }
    let other = TimestampedSlot::new();
    other.commit_by(
        Stores::of_this_machine(),
        4,
        Meta::new(PriorityClass::Bulk, 40, 3),
        77,
        Payload::from_bytes(&data),
    );
    assert_eq!(words, core::array::from_fn(|i| other.words[i].load(Ordering::Relaxed)));
}

#[test]
fn a_slot_is_abandoned_only_if_nobody_committed_meanwhile() {
    let slot = TimestampedSlot::new();
    let seen = slot.sequence();
    slot.commit(8, Meta::new(PriorityClass::Normal, 0, 0), 0, Payload::default());
    assert!(!slot.abandon(seen, 8));
    assert_eq!(slot.state(8), SlotState::Committed);
    assert!(slot.abandon(slot.sequence(), 16));
    assert_eq!(slot.state(16), SlotState::Abandoned);
    assert_eq!(slot.state(24), SlotState::NotYet);
    assert_eq!(slot.state(8), SlotState::Later);
}

#[cfg(not(miri))]
mod properties {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_meta_word_gives_a_size_or_class_out_of_range(raw: u64) {
            let meta = Meta(raw);
            prop_assert!(meta.size() <= INLINE_SIZE);
            prop_assert!(meta.class().index() < PriorityClass::COUNT);
        }

        #[test]
        fn no_length_word_gives_more_than_a_side_buffer_holds(
            word: u64, max in 0usize..1 << 30,
        ) {
            prop_assert!(Payload([word, 7, 7, 7, 7]).large_size(max) <= max);
        }

        #[test]
        fn any_sequence_says_one_thing_about_a_position(
            sequence: u64, position in 0u64..1 << 58,
        ) {
            let state = TimestampedSlot::state_of(sequence, position);
            prop_assert_eq!(state == SlotState::Committed, sequence == position + 1);
            if state == SlotState::NotYet {
                prop_assert!(sequence & !ABANDONED < position + 1);
            }
        }
    }
}
