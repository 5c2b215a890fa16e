//! What the header says about lanes.
//!
//! ```text
//!  word 24       bits 0 to 7: 0 one lane, 1 by class, 2 by producer; from 8 on: how many lanes
//!  word 25 … 29  by class: a word for the lane of each class; else 0
//!
//!  63                     33 32                  8 7             0
//!  ┌────────────────────────┬─────────────────────┬───────────────┐
//!  │ bytes of a side buffer │ credit limit        │ log2 capacity │
//!  └────────────────────────┴─────────────────────┴───────────────┘
//! ```

use crate::priority::PriorityClass;
use crate::settings::{ClassLane, INLINE_SIZE, Lanes, Settings};

/// Number of words.
pub(super) const WORDS: usize = 1 + PriorityClass::COUNT;

const LIMIT_SHIFT: u32 = 8;
const SIDE_SHIFT: u32 = 33;
const LIMIT: u64 = (1 << (SIDE_SHIFT - LIMIT_SHIFT)) - 1;

/// The words of a ring with these settings, which are in range.
pub(super) fn encode(settings: &Settings) -> [u64; WORDS] {
    let kind = match settings.lanes {
        Lanes::One => 0,
        Lanes::ByClass => 1,
        Lanes::ByProducer(_) => 2,
    };
    let mut words = [0; WORDS];
    if settings.has_lanes() {
        words[0] = kind | (settings.lanes.count() as u64) << 8;
    }
    if settings.lanes == Lanes::ByClass {
        for (word, lane) in words[1..].iter_mut().zip(&settings.class_lanes) {
            let side = if lane.max_message > INLINE_SIZE { lane.max_message } else { 0 };
            *word = u64::from(lane.capacity.trailing_zeros())
                | lane.credit_limit << LIMIT_SHIFT
                | (side as u64) << SIDE_SHIFT;
        }
    }
    words
}

/// What the words say, whether or not the numbers are in range; `None` if they are of no kind of
/// lanes.
pub(super) fn decode(words: &[u64; WORDS]) -> Option<(Lanes, [ClassLane; PriorityClass::COUNT])> {
    let [first, of_classes @ ..] = words;
    let lanes = match (first & 0xff, u16::try_from(first >> 8).ok()?) {
        (0, 0) => Lanes::One,
        (1, count) if usize::from(count) == PriorityClass::COUNT => Lanes::ByClass,
        (2, count) => Lanes::ByProducer(count),
        _ => return None,
    };
    if lanes == Lanes::ByClass {
        let mut classes = [ClassLane::NONE; PriorityClass::COUNT];
        for (lane, &word) in classes.iter_mut().zip(of_classes) {
            lane.capacity = 1usize.checked_shl((word & 0xff) as u32)?;
            lane.credit_limit = word >> LIMIT_SHIFT & LIMIT;
            lane.max_message = match (word >> SIDE_SHIFT) as usize {
                0 => INLINE_SIZE,
                // A side buffer for what a slot holds as well: nobody asks for one.
                1..=INLINE_SIZE => 0,
                size => size,
            };
        }
        return Some((lanes, classes));
    }
    of_classes
        .iter()
        .all(|&word| word == 0)
        .then_some((lanes, [ClassLane::NONE; PriorityClass::COUNT]))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::{BadHeader, FEATURE_LANES, Geometry, KNOWN_FEATURES, W_FEATURES, W_LANES};
    use super::*;
    use crate::limits::{MAX_CAPACITY, MAX_MESSAGE};
    use crate::settings::Sharing;

    #[test]
    fn a_ring_with_lanes_is_read_by_who_knows_of_them_and_refused_by_who_does_not() {
        let with = |lanes, class_lanes| Settings { lanes, class_lanes, ..Settings::default() };
        let none = Settings::default().class_lanes;
        let lane =
            |capacity, credit_limit, max_message| ClassLane { capacity, credit_limit, max_message };
        let small = lane(1, 1, INLINE_SIZE);
        let large = lane(MAX_CAPACITY, MAX_CAPACITY as u64, INLINE_SIZE);
        let wide = lane(2, 2, MAX_MESSAGE);
        let classes = [small, large, wide, small, lane(64, 63, 41)];
        for settings in [
            with(Lanes::ByClass, classes),
            with(Lanes::ByProducer(3), none),
            Settings { producer_side: Sharing::Exclusive, ..with(Lanes::ByProducer(256), none) },
        ] {
            let settings = match settings.lanes {
                Lanes::ByProducer(_) => Settings { producer_side: Sharing::Exclusive, ..settings },
                _ => settings,
            };
            let geometry = Geometry::of(settings);
            assert_eq!(geometry.validate(), Ok(()));
            let (words, size) = (geometry.encode(), geometry.offsets().end as u64);
            assert_eq!(Geometry::decode(&words, size), Ok(geometry));
            let known = KNOWN_FEATURES & !FEATURE_LANES;
            let unknown = Geometry::decode_knowing(&words, size, known);
            assert_eq!(unknown, Err(BadHeader::Features(FEATURE_LANES)));
            let refused = |place: usize, word: u64| {
                let mut other = words;
                other[place] = word;
                assert!(Geometry::decode(&other, size).is_err(), "{place} as {word:#x}");
            };
            refused(W_FEATURES, 0);
            for word in [0, 1, 2, 3, 4 << 8 | 1, 257 << 8 | 2, words[W_LANES] | 1 << 24] {
                refused(W_LANES, word);
            }
            for place in 1..WORDS {
                let word = words[W_LANES + place];
                // Another capacity; another credit limit; a side buffer of no use.
                let useless = word & ((1 << 33) - 1) | 40 << 33;
                for word in [word ^ 1, word ^ 200, word ^ 1 << 32, useless] {
                    refused(W_LANES + place, word);
                }
            }
        }
    }
}
