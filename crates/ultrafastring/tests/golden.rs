//! The layout of a segment, word by word: `tests/golden/segment.txt` is a whole one, written down. It is
//! read as a ring, and a ring that is made now is compared with it, so that no word can change its
//! place or its meaning unnoticed. Where a change is meant, raise the layout version and have the
//! file written anew: `UFR_WRITE_GOLDEN=1 cargo test -p ultrafastring --test golden`.
//!
//! A line is a word that is not zero: its number, `=` or `~` (`~`: another value each time, and here a
//! made-up one), its value, and what it is.

#![cfg(all(feature = "std", target_endian = "little", target_pointer_width = "64", not(loom)))]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{Child, patiently, stage};
use tempfile::TempDir;
use ultrafastring::layout::LAYOUT_VERSION;
use ultrafastring::{
    Builder, Evidence, PriorityClass, Redelivery, Sharing, Side, Timestamps, UltraFastRing,
};

const NAME: &str = "golden";
const CAPACITY: usize = 16;
const PARTICIPANTS: usize = 5;
/// Where the parts begin, in words.
const ENTRIES: usize = 8_192 / 8;
const SLOTS: usize = ENTRIES + 2 * 4_096 / 8;
const SIDES: usize = SLOTS + 4_096 / 8;
const WORDS: usize = SIDES + 4_096 / 8;

fn builder(directory: &TempDir) -> Builder {
    Builder::new()
        .directory(directory.path())
        .capacity(CAPACITY)
        .participants(PARTICIPANTS)
        .max_message(100)
        .exclusive_consumer()
        .timestamps(Timestamps::OneIn(2))
        .redelivery(Redelivery::Discard)
        .credit_limit(15)
        .reserve(PriorityClass::RealTime, 4)
        .reserve(PriorityClass::High, 3)
        .reserve(PriorityClass::Normal, 2)
        .reserve(PriorityClass::Low, 1)
        .participant_name("golden participant")
        .fences()
}

/// The words of a ring with something of everything in it: a message received, one abandoned, one
/// held, one in a side buffer, and a claim that is not committed.
fn words_made_now() -> Vec<u64> {
    let directory = stage();
    let ring = builder(&directory).create(NAME).unwrap();
    let child = Child::start(|| {
        let ring = builder(&directory).open(NAME).unwrap();
        let mut producer = ring.producer().unwrap();
        producer.try_send(b"first", PriorityClass::High).unwrap();
        producer.flush();
        std::mem::forget(producer.reserve(4, PriorityClass::Normal).unwrap());
        loop {
            std::thread::park();
        }
    });
    patiently("its claim", || (ring.positions().producer_head == 2).then_some(()));
    child.kill();
    assert_eq!(ring.repair().unwrap().abandoned, 1);
    let mut producer = ring.producer().unwrap();
    producer.try_send([7; 40], PriorityClass::RealTime).unwrap();
    producer.send_fast(&[9; 100], PriorityClass::Bulk).unwrap();
    producer.flush();
    std::mem::forget(producer.reserve(4, PriorityClass::Normal).unwrap());
    let mut consumer = ring.exclusive_consumer().unwrap();
    assert_eq!(&*consumer.try_recv().unwrap(), b"first");
    consumer.flush();
    std::mem::forget(consumer.borrow().unwrap());
    let bytes = std::fs::read(ring.path().unwrap()).unwrap();
    bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_ne_bytes(*bytes)).collect()
}

/// What a word is, by its number, and whether it is another one each time.
fn meaning(place: usize) -> (String, bool) {
    const HEADER: [&str; 32] = [
        "magic",
        "version",
        "size",
        "capacity",
        "participants",
        "exclusive sides",
        "timestamps",
        "redelivery",
        "credit limit",
        "reserve 0",
        "reserve 1",
        "reserve 2",
        "reserve 3",
        "reserve 4",
        "~ticks a second",
        "~clock is stable",
        "~creator's pid",
        "~created",
        "offset of counters",
        "offset of control",
        "offset of participants",
        "size of an entry",
        "offset of slots",
        "size of a slot",
        "features",
        "~identity",
        "unused",
        "unused",
        "size of a side buffer",
        "offset of side buffers",
        "stride of side buffers",
        "unused",
    ];
    const LANE: [&str; 8] = [
        "sent",
        "sent bytes",
        "received",
        "received bytes",
        "~latency sum",
        "latency count",
        "~latency max",
        "unused",
    ];
    const IDENTITY: [&str; 8] =
        ["state", "lock", "~pid", "~start time", "~pid namespace", "~attached", "unused", "unused"];
    const EVENTS: [&str; 4] = ["abandoned", "redelivered", "discarded", "skipped"];
    let of_entry = |word: usize| match word {
        0..8 => IDENTITY[word].to_string(),
        8..16 => format!("name {}", word - 8),
        16 => "intent".to_string(),
        24 => "hold".to_string(),
        32..72 => format!("lane {} {}", (word - 32) / 8, LANE[word % 8]),
        72..76 => EVENTS[word - 72].to_string(),
        _ => "unused".to_string(),
    };
    let of_slot = |word: usize| match word {
        0 => "sequence".to_string(),
        1 => "meta".to_string(),
        2 => "~timestamp".to_string(),
        payload => format!("payload {}", payload - 3),
    };
    let text = match place {
        0..32 => HEADER[place].to_string(),
        512 => "producer_head".to_string(),
        528 => "producer_tail".to_string(),
        544 => "consumer_head".to_string(),
        // It is announced by the clock, too.
        560 => "~consumer_tail".to_string(),
        576 => "entries used".to_string(),
        579 => "producers that ever came".to_string(),
        580 => "consumers that ever came".to_string(),
        581 => "streams".to_string(),
        592 => "producers' bell: state and rings".to_string(),
        608 => "consumers' bell: state and rings".to_string(),
        ENTRIES..SLOTS => {
            format!("entry {}: {}", (place - ENTRIES) / 128, of_entry((place - ENTRIES) % 128))
        }
        SLOTS..SIDES => format!("slot {}: {}", (place - SLOTS) / 8, of_slot(place % 8)),
        SIDES..WORDS => format!("side buffer {}", (place - SIDES) / 16),
        _ => "unused".to_string(),
    };
    (text.replace('~', ""), text.contains('~'))
}

/// A made-up value for a word that is another one each time.
fn made_up(place: usize) -> u64 {
    match place {
        14 => 2.6e9f64.to_bits(),
        15 => 1,
        16 => 4_321,
        17 => 1_790_000_000_000_000_000,
        25 => 0x0123_4567_89ab_cdef,
        560 => 1,
        // As small as a process id.
        _ => 100_000 + place as u64,
    }
}

fn golden_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/segment.txt")
}

/// The words that are not zero, as they are written down.
fn golden() -> BTreeMap<usize, (bool, u64)> {
    let text = std::fs::read_to_string(golden_path()).unwrap();
    let word = |line: &str| {
        let mut parts = line.split_whitespace();
        let place = parts.next()?.parse().ok()?;
        let varies = parts.next()? == "~";
        let value = u64::from_str_radix(parts.next()?.strip_prefix("0x")?, 16).ok()?;
        Some((place, (varies, value)))
    };
    text.lines().map(|line| word(line).unwrap_or_else(|| panic!("{line}"))).collect()
}

#[test]
fn a_ring_made_now_is_word_for_word_the_one_that_is_written_down() {
    let made = words_made_now();
    assert_eq!(made.len(), WORDS);
    if std::env::var_os("UFR_WRITE_GOLDEN").is_some() {
        let line = |(place, word): (usize, &u64)| {
            let (text, varies) = meaning(place);
            let (kind, word) = if varies { ('~', made_up(place)) } else { ('=', *word) };
            format!("{place:>5} {kind} {word:#018x} {text}\n")
        };
        let words = made.iter().enumerate().filter(|(_, word)| **word != 0);
        std::fs::write(golden_path(), words.map(line).collect::<String>()).unwrap();
    }
    let golden = golden();
    for (place, &word) in made.iter().enumerate() {
        let (text, _) = meaning(place);
        match golden.get(&place) {
            // A clock may be unstable.
            Some((true, _)) if place == 15 => assert!(word <= 1),
            Some((true, _)) => assert_ne!(word, 0, "word {place}, {text}"),
            Some(&(false, expected)) => {
                assert_eq!(word, expected, "word {place}, {text}: {word:#x}, not {expected:#x}");
            }
            None if place == 15 => {}
            None => assert_eq!(word, 0, "word {place}, {text}: {word:#x}"),
        }
    }
}

/// The ring that is written down, in files of its own.
fn written_down(directory: &TempDir) -> UltraFastRing {
    let mut words = vec![0u64; WORDS];
    for (place, (_, word)) in golden() {
        words[place] = word;
    }
    let bytes =
        |words: &[u64]| words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>();
    let write = |name: &str, words: &[u64]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes(words)).unwrap();
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
    };
    write("ufr-golden", &words);
    let locks = [u64::from_le_bytes(*b"UFRlock\0"), LAYOUT_VERSION.into(), made_up(25), 0];
    write(".ufr-golden.lock-0123456789abcdef", &locks);
    Builder::new().directory(directory.path()).open(NAME).unwrap()
}

#[test]
fn the_ring_that_is_written_down_says_what_was_put_into_it() {
    let directory = stage();
    let ring = written_down(&directory);
    assert_eq!((ring.capacity(), ring.max_participants(), ring.max_message()), (16, 5, 100));
    assert_eq!(ring.size_bytes(), 8 * WORDS);
    assert_eq!((ring.producer_side(), ring.consumer_side()), (Sharing::Shared, Sharing::Exclusive));
    assert_eq!((ring.timestamps(), ring.redelivery()), (Timestamps::OneIn(2), Redelivery::Discard));
    assert_eq!((ring.credit_limit(), ring.reserves()), (15, [4, 3, 2, 1, 0]));
    assert_eq!((ring.creator_pid(), ring.created()), (4_321, 1_790_000_000_000_000_000));
    assert!(ring.clock().stable && ring.ticks_per_second() == 2.6e9);
    let at = ring.positions();
    assert_eq!((at.producer_head, at.producer_tail), (5, 4));
    assert_eq!((at.consumer_head, at.consumer_tail), (2, 1));
    assert!(
        !ring.is_closed() && !ring.is_asleep(Side::Producer) && !ring.is_asleep(Side::Consumer)
    );

    let there: Vec<_> = ring.participants().collect();
    let [producer, consumer] = &there[..] else { panic!("{there:?}") };
    for (index, it) in [producer, consumer].into_iter().enumerate() {
        let entry = 100_000 + ENTRIES as u64 + 128 * index as u64;
        assert_eq!((it.index, u64::from(it.pid)), (index, entry + 2));
        assert_eq!(
            (it.start_time, it.pid_namespace, it.attached),
            (entry + 3, entry + 4, entry + 5)
        );
        assert_eq!(it.name.as_str(), "golden participant");
        assert_eq!((it.alive, it.evidence), (false, Evidence::Lock));
    }
    assert_eq!((producer.side, producer.sharing), (Side::Producer, Sharing::Shared));
    assert_eq!((consumer.side, consumer.sharing), (Side::Consumer, Sharing::Exclusive));
    assert_eq!((producer.intent, producer.hold), (Some((4, 1)), None));
    assert_eq!((consumer.intent, consumer.hold), (None, Some((2, 1))));
    assert_eq!((producer.abandoned, producer.skipped), (1, 0));
    assert_eq!((consumer.abandoned, consumer.skipped), (0, 1));
    let sent = |class: PriorityClass| {
        let lane = producer.lanes[class as usize];
        (lane.sent, lane.sent_bytes, lane.received)
    };
    assert_eq!(sent(PriorityClass::RealTime), (1, 40, 0));
    assert_eq!(sent(PriorityClass::High), (1, 5, 0));
    assert_eq!(sent(PriorityClass::Bulk), (1, 100, 0));
    assert_eq!((sent(PriorityClass::Normal).0, sent(PriorityClass::Low).0), (0, 0));
    let lane = consumer.lanes[PriorityClass::High as usize];
    assert_eq!((lane.sent, lane.received, lane.received_bytes, lane.latency_count), (0, 1, 5, 1));
    let high = 100_000 + (ENTRIES + 128 + 32 + 8) as u64;
    assert_eq!((lane.latency_sum, lane.latency_max), (high + 4, high + 6));
}

#[test]
fn the_messages_that_are_written_down_are_received() {
    let directory = stage();
    let ring = written_down(&directory);
    // What was held is dropped, as that ring's policy says; the claim is abandoned for its holder.
    assert_eq!(ring.repair().unwrap().abandoned, 1);
    let mut consumer = ring.exclusive_consumer().unwrap();
    let mut buffer = Vec::new();
    let mut received = Vec::new();
    while let Ok(about) = consumer.recv_into(&mut buffer) {
        assert_eq!(about.size, buffer.len());
        received.push((buffer.clone(), about.class));
    }
    let held = (vec![7; 40], PriorityClass::RealTime);
    let large = (vec![9; 100], PriorityClass::Bulk);
    assert!(received == [large.clone()] || received == [held, large], "{received:?}");
    let mut producer = ring.producer().unwrap();
    producer.try_send(b"next", PriorityClass::Normal).unwrap();
    assert_eq!(&*consumer.try_recv().unwrap(), b"next");
    assert_eq!(ring.positions().producer_head, 6);
}
