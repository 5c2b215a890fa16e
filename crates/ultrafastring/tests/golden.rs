//! The layout of a segment, word by word: `tests/golden/segment.txt` is a whole one, written down.
//! It is read as a ring, and a ring that is made now is compared with it, so that no word can
//! change its place or its meaning unnoticed. Where a change is meant, raise the layout version and
//! have the file written anew: `UFR_WRITE_GOLDEN=1 cargo test -p ultrafastring --test golden`. Keep
//! the old one as `version-N.txt`: segments of older versions are refused.
//!
//! A line is a word that is not zero: its number, `=` or `~` (`~`: another value each time, and
//! here a made-up one), its value, and what it is.

#![cfg(all(feature = "std", target_endian = "little", target_pointer_width = "64", not(loom)))]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::child::Child;
use common::{patiently, stage};
use tempfile::TempDir;
use ultrafastring::layout::LAYOUT_VERSION;
use ultrafastring::{
    Builder, Evidence, FileError, Lanes, PriorityClass, Redelivery, RingError, Sharing, Side,
    Timestamps, UltraFastRing,
};

const NAME: &str = "golden";
/// What is written down of segments of this version: of a plain ring, of one made for groups, and
/// of one with histograms, and of two with lanes.
const SEGMENT: &str = "segment";
const GROUPS: &str = "groups";
const HISTOGRAMS: &str = "histograms";
/// Words of a class in a row of histograms, and of a row.
const BUCKETS: usize = 320;
const ROW: usize = 5 * BUCKETS;
const BY_CLASS: &str = "by-class";
const BY_PRODUCER: &str = "by-producer";
const CAPACITY: usize = 16;
const PARTICIPANTS: usize = 5;
/// Where the parts begin, in words.
const ENTRIES: usize = 8_192 / 8;
const SLOTS: usize = ENTRIES + 2 * 4_096 / 8;
const SIDES: usize = SLOTS + 4_096 / 8;
const WORDS: usize = SIDES + 4_096 / 8;
/// Words of the header.
const IDENTITY: usize = 4;
const CLOCK_IS_STABLE: usize = 21;
/// That of a segment that is written down.
const MADE_UP_IDENTITY: u64 = 0x0123_4567_89ab_cdef;

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
        std::mem::forget(producer.try_reserve(4, PriorityClass::Normal).unwrap());
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
    std::mem::forget(producer.try_reserve(4, PriorityClass::Normal).unwrap());
    let mut consumer = ring.exclusive_consumer().unwrap();
    assert_eq!(&*consumer.try_recv().unwrap(), b"first");
    consumer.flush();
    std::mem::forget(consumer.try_borrow().unwrap());
    words_of(&ring)
}

/// The words of a ring with histograms, in which three messages were received. Which buckets they
/// are in depends on the machine, so all counts of a class are added up in its first.
fn words_of_histograms_made_now() -> Vec<u64> {
    let directory = stage();
    let ring = Builder::new()
        .directory(directory.path())
        .capacity(CAPACITY)
        .participants(PARTICIPANTS)
        .latency_histograms(true)
        .participant_name("golden participant")
        .fences()
        .create(NAME)
        .unwrap();
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    for class in [PriorityClass::RealTime, PriorityClass::Low, PriorityClass::Low] {
        producer.try_send("counted", class).unwrap();
        consumer.try_recv().unwrap();
    }
    producer.flush();
    consumer.flush();
    let mut words = words_of(&ring);
    for counts in words[SIDES..].chunks_mut(BUCKETS) {
        counts[0] = counts.iter().sum();
        counts[1..].fill(0);
    }
    words
}

/// The words of a ring made for two groups: one message received by a member of the first, one held
/// there, nobody in the second.
fn words_of_groups_made_now() -> Vec<u64> {
    let directory = stage();
    let builder = Builder::new()
        .directory(directory.path())
        .capacity(CAPACITY)
        .participants(PARTICIPANTS)
        .groups(["risk", "log"])
        .participant_name("golden participant")
        .fences();
    let ring = builder.create(NAME).unwrap();
    let mut producer = ring.producer().unwrap();
    for message in ["first", "second", "third"] {
        producer.try_send(message, PriorityClass::Normal).unwrap();
    }
    producer.flush();
    let mut member = ring.join("risk").consumer().unwrap();
    assert_eq!(&*member.try_recv().unwrap(), b"first");
    member.flush();
    std::mem::forget(member.try_borrow().unwrap());
    words_of(&ring)
}

/// The words of a ring with lanes by class: a message in two of them, one of them in a side buffer,
/// and a claim in a third.
fn words_by_class_made_now() -> Vec<u64> {
    let directory = stage();
    let builder = Builder::new()
        .directory(directory.path())
        .capacity(CAPACITY)
        .participants(PARTICIPANTS)
        .lanes(Lanes::ByClass)
        .capacity_of(PriorityClass::RealTime, 4)
        .credit_limit_of(PriorityClass::High, 15)
        .max_message_of(PriorityClass::Bulk, 100)
        .participant_name("golden participant")
        .fences();
    let ring = builder.create(NAME).unwrap();
    let mut producer = ring.producer().unwrap();
    producer.try_send(b"cancel", PriorityClass::RealTime).unwrap();
    producer.send_fast(&[9; 100], PriorityClass::Bulk).unwrap();
    producer.flush();
    std::mem::forget(producer.try_reserve(4, PriorityClass::Normal).unwrap());
    words_of(&ring)
}

/// The words of a ring with two lanes by producer, of which one is closed.
fn words_by_producer_made_now() -> Vec<u64> {
    let directory = stage();
    let builder = Builder::new()
        .directory(directory.path())
        .capacity(CAPACITY)
        .participants(PARTICIPANTS)
        .lanes(Lanes::ByProducer(2))
        .participant_name("golden participant")
        .fences();
    let ring = builder.create(NAME).unwrap();
    let (mut first, mut second) = (ring.producer().unwrap(), ring.producer().unwrap());
    first.try_send(b"first", PriorityClass::Normal).unwrap();
    second.try_send(b"second", PriorityClass::Normal).unwrap();
    first.flush();
    second.close();
    words_of(&ring)
}

/// The words of a ring in a file, as they are now.
fn words_of(ring: &UltraFastRing) -> Vec<u64> {
    let bytes = std::fs::read(ring.path().unwrap()).unwrap();
    bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_ne_bytes(*bytes)).collect()
}

/// The areas of a segment, in words: where each begins, from one record to the next, and how many
/// there are.
#[derive(Clone, Copy)]
struct Area {
    offset: usize,
    stride: usize,
    count: usize,
}

impl Area {
    /// The area at this place of the header's table.
    fn of(words: &[u64], place: usize) -> Self {
        let word = |at: usize| words[32 + 3 * place + at] as usize;
        Self { offset: word(0) / 8, stride: word(1) / 8, count: word(2) }
    }

    /// Of a word that lies in it: in which record, and where in that.
    fn find(self, place: usize) -> Option<(usize, usize)> {
        let within = place.checked_sub(self.offset)?;
        (within < self.stride * self.count).then(|| (within / self.stride, within % self.stride))
    }
}

/// What a word of a segment is, by its number, and whether it is another one each time.
fn meaning(words: &[u64], place: usize) -> (String, bool) {
    const HEADER: [&str; 32] = [
        "magic",
        "version",
        "size",
        "features",
        "~identity",
        "bytes of a line",
        "bytes of a page",
        "unused",
        "capacity",
        "participants",
        "size of a side buffer",
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
        "lanes",
        "lane of real-time",
        "lane of high",
        "lane of normal",
        "lane of low",
        "lane of bulk",
        "unused",
        "unused",
    ];
    const AREAS: [&str; 10] = [
        "lanes",
        "control",
        "groups",
        "cursors",
        "participants",
        "holds",
        "slots",
        "side buffers",
        "histograms",
        "calls",
    ];
    const TERMS: [&str; 8] = [
        "capacity",
        "offset of slots",
        "offset of side buffers",
        "size of a side buffer",
        "stride of side buffers",
        "credit limit",
        "class",
        "owner",
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
        ["state", "lock", "~pid", "~start time", "~pid namespace", "~attached", "group", "counted"];
    const EVENTS: [&str; 4] = ["abandoned", "redelivered", "discarded", "skipped"];
    const STALLS: [&str; 3] = ["credit stalls", "~their ticks", "most messages in flight"];
    const HAPPENED: [&str; 5] = [
        "sleeps of producers",
        "sleeps of consumers",
        "wakes of producers",
        "wakes of consumers",
        "recoveries",
    ];
    let of_entry = |word: usize| match word {
        0..8 => IDENTITY[word].to_string(),
        8..16 => format!("name {}", word - 8),
        16 => "intent".to_string(),
        24 => "hold".to_string(),
        32..72 => format!("lane {} {}", (word - 32) / 8, LANE[word % 8]),
        72..76 => EVENTS[word - 72].to_string(),
        80..83 => STALLS[word - 80].to_string(),
        _ => "unused".to_string(),
    };
    let of_group = |word: usize| match word {
        0 => "gate".to_string(),
        8 => "flags".to_string(),
        9 => "evict after".to_string(),
        13 => "missed".to_string(),
        14 => "evictions".to_string(),
        15 => "named".to_string(),
        16..24 => format!("name {}", word - 16),
        _ => "unused".to_string(),
    };
    let of_slot = |word: usize| match word {
        0 => "sequence".to_string(),
        1 => "meta".to_string(),
        2 => "~timestamp".to_string(),
        payload => format!("payload {}", payload - 3),
    };
    let [lanes, control, groups, cursors, entries, _, slots, sides, histograms] =
        std::array::from_fn(|area| Area::of(words, area));
    // Of one lane the number is not said.
    let of_lane = |lane: usize, text: String| match lanes.count {
        1 => text,
        _ => format!("lane {lane}: {text}"),
    };
    let text = if place < 32 {
        HEADER[place].to_string()
    } else if place < 62 {
        let word = ["offset", "stride", "count"][(place - 32) % 3];
        format!("{word} of {}", AREAS[(place - 32) / 3])
    } else if let Some((lane, word)) = lanes.find(place) {
        let text = match word {
            0 => "producer_head".to_string(),
            16 => "producer_tail".to_string(),
            32 => "window".to_string(),
            48..56 => format!("lane's {}", TERMS[word - 48]),
            _ => "unused".to_string(),
        };
        of_lane(lane, text)
    } else if let Some((lane, word)) = control.find(place) {
        let text = match word {
            0 => "entries used",
            3 => "producers that ever came",
            4 => "consumers that ever came",
            5 => "streams",
            16 => "producers' bell: state and wake-ups",
            32 => "consumers' bell: state and wake-ups",
            48..53 => HAPPENED[word - 48],
            _ => "unused",
        };
        of_lane(lane, text.to_string())
    } else if let Some((row, word)) = cursors.find(place) {
        // The second is announced by the clock, too.
        let text = match word {
            0 => "consumer_head",
            8 => "passed before it was opened",
            9 => "where it began",
            16 => "~consumer_tail",
            _ => "unused",
        };
        of_lane(row / groups.count, format!("{text} of group {}", row % groups.count))
    } else if let Some((row, word)) = groups.find(place) {
        format!("group {row}: {}", of_group(word))
    } else if let Some((entry, word)) = entries.find(place) {
        let of_each = entries.count / lanes.count;
        of_lane(entry / of_each, format!("entry {}: {}", entry % of_each, of_entry(word)))
    } else if let Some((slot, word)) = slots.find(place) {
        format!("slot {slot}: {}", of_slot(word))
    } else if let Some((row, word)) = histograms.find(place) {
        format!("histogram of entry {row}: {}, all buckets", PriorityClass::ALL[word / BUCKETS])
    } else if let Some((buffer, _)) = sides.find(place) {
        // Those of lanes are counted in pages.
        let what = if lanes.count == 1 { "side buffer" } else { "page of side buffers" };
        format!("{what} {buffer}")
    } else {
        "unused".to_string()
    };
    (text.replace('~', ""), text.contains('~'))
}

/// A made-up value for a word that is another one each time.
fn made_up(words: &[u64], place: usize) -> u64 {
    match place {
        IDENTITY => MADE_UP_IDENTITY,
        20 => 2.6e9f64.to_bits(),
        CLOCK_IS_STABLE => 1,
        22 => 4_321,
        23 => 1_790_000_000_000_000_000,
        // A tail that is not beyond its head.
        _ if Area::of(words, 3).find(place).is_some() => 1,
        // As small as a process id.
        _ => 100_000 + place as u64,
    }
}

fn golden_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name).with_extension("txt")
}

/// The words that are not zero, as they are written down.
fn golden(name: &str) -> BTreeMap<usize, (bool, u64)> {
    let text = std::fs::read_to_string(golden_path(name)).unwrap();
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
    compare(&made, SEGMENT);
}

#[test]
fn a_ring_made_for_groups_is_word_for_word_the_one_that_is_written_down() {
    let made = words_of_groups_made_now();
    // It has no side buffers.
    assert_eq!(made.len(), SIDES);
    compare(&made, GROUPS);
}

#[test]
fn a_ring_made_with_histograms_is_word_for_word_the_one_that_is_written_down() {
    let made = words_of_histograms_made_now();
    assert_eq!(made.len(), SIDES + (PARTICIPANTS * ROW).next_multiple_of(512));
    compare(&made, HISTOGRAMS);
}

#[test]
fn rings_with_lanes_are_word_for_word_those_that_are_written_down() {
    compare(&words_by_class_made_now(), BY_CLASS);
    compare(&words_by_producer_made_now(), BY_PRODUCER);
}

/// Compares a segment with what is written down.
fn compare(made: &[u64], name: &str) {
    if std::env::var_os("UFR_WRITE_GOLDEN").is_some() {
        let line = |(place, word): (usize, &u64)| {
            let (text, varies) = meaning(made, place);
            let (kind, word) = if varies { ('~', made_up(made, place)) } else { ('=', *word) };
            format!("{place:>5} {kind} {word:#018x} {text}\n")
        };
        let words = made.iter().enumerate().filter(|(_, word)| **word != 0);
        std::fs::write(golden_path(name), words.map(line).collect::<String>()).unwrap();
    }
    let golden = golden(name);
    for (place, &word) in made.iter().enumerate() {
        let (text, _) = meaning(made, place);
        match golden.get(&place) {
            // A clock may be unstable.
            Some((true, _)) if place == CLOCK_IS_STABLE => assert!(word <= 1),
            Some((true, _)) => assert_ne!(word, 0, "word {place}, {text}"),
            Some(&(false, expected)) => {
                assert_eq!(word, expected, "word {place}, {text}: {word:#x}, not {expected:#x}");
            }
            None if place == CLOCK_IS_STABLE => {}
            None => assert_eq!(word, 0, "word {place}, {text}: {word:#x}"),
        }
    }
}

/// Writes a file of these words, for the own user.
fn write_words(path: &Path, words: &[u64]) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    std::fs::write(path, bytes).unwrap();
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

/// Writes the two files of a ring that is written down, of some version.
fn write_down(directory: &TempDir, name: &str, version: u32, identity: u64) {
    let golden = golden(name);
    let mut words = vec![0u64; golden[&2].1 as usize / 8];
    for (place, (_, word)) in golden {
        words[place] = word;
    }
    write_words(&directory.path().join("ufr-golden"), &words);
    let locks = [u64::from_le_bytes(*b"UFRlock\0"), version.into(), identity, 0];
    write_words(&directory.path().join(format!(".ufr-golden.lock-{identity:016x}")), &locks);
}

/// A ring that is written down, in files of its own.
fn written_down(directory: &TempDir, name: &str) -> UltraFastRing {
    write_down(directory, name, LAYOUT_VERSION, MADE_UP_IDENTITY);
    Builder::new().directory(directory.path()).open(NAME).unwrap()
}

#[test]
fn segments_of_older_versions_are_refused_and_removed() {
    for version in [1, 2] {
        let directory = stage();
        write_down(&directory, &format!("version-{version}"), version, MADE_UP_IDENTITY);
        if version == 1 {
            // It had no second file.
            std::fs::remove_file(directory.path().join(".ufr-golden.lock-0123456789abcdef"))
                .unwrap();
        }
        let builder = Builder::new().directory(directory.path());
        for refused in [builder.open(NAME).map(drop), builder.observe(NAME).map(drop)] {
            let error = refused.unwrap_err();
            let RingError::File { kind: FileError::LayoutVersion { found }, .. } = &error else {
                panic!("{error:?}");
            };
            assert_eq!(*found, version);
            let text = error.to_string();
            let both = format!(
                "has layout version {version}, and this program knows version {LAYOUT_VERSION}"
            );
            assert!(text.contains(&both) && text.contains("ufr rm golden"), "{text}");
        }
        builder.remove(NAME).unwrap();
        let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        builder.create(NAME).unwrap();
    }
}

#[test]
fn the_ring_that_is_written_down_says_what_was_put_into_it() {
    let directory = stage();
    let ring = written_down(&directory, SEGMENT);
    assert_eq!((ring.capacity(), ring.settings().participants, ring.max_message()), (16, 5, 100));
    assert_eq!(ring.size_bytes(), 8 * WORDS);
    assert_eq!(
        (ring.settings().producer_side, ring.settings().consumer_side),
        (Sharing::Shared, Sharing::Exclusive)
    );
    assert_eq!(
        (ring.settings().timestamps, ring.settings().redelivery),
        (Timestamps::OneIn(2), Redelivery::Discard)
    );
    assert_eq!((ring.settings().credit_limit, ring.settings().reserves), (15, [4, 3, 2, 1, 0]));
    assert_eq!((ring.creator_pid(), ring.created()), (4_321, 1_790_000_000_000_000_000));
    assert!(ring.clock().stable && ring.clock().ticks_per_second == 2.6e9);
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
        let lane = producer.classes[class as usize];
        (lane.sent, lane.sent_bytes, lane.received)
    };
    assert_eq!(sent(PriorityClass::RealTime), (1, 40, 0));
    assert_eq!(sent(PriorityClass::High), (1, 5, 0));
    assert_eq!(sent(PriorityClass::Bulk), (1, 100, 0));
    assert_eq!((sent(PriorityClass::Normal).0, sent(PriorityClass::Low).0), (0, 0));
    let lane = consumer.classes[PriorityClass::High as usize];
    assert_eq!((lane.sent, lane.received, lane.received_bytes, lane.latency_count), (0, 1, 5, 1));
    let high = 100_000 + (ENTRIES + 128 + 32 + 8) as u64;
    assert_eq!((lane.latency_sum, lane.latency_max), (high + 4, high + 6));
}

#[test]
fn the_messages_that_are_written_down_are_received() {
    let directory = stage();
    let ring = written_down(&directory, SEGMENT);
    // What was held is dropped, as that ring's policy says; the claim is abandoned for its holder.
    assert_eq!(ring.repair().unwrap().abandoned, 1);
    let mut consumer = ring.exclusive_consumer().unwrap();
    let mut buffer = Vec::new();
    let mut received = Vec::new();
    while let Ok(about) = consumer.try_recv_into(&mut buffer) {
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

#[test]
fn the_lanes_that_are_written_down_say_what_was_put_into_them() {
    let directory = stage();
    let ring = written_down(&directory, BY_CLASS);
    assert_eq!(ring.settings().lanes, Lanes::ByClass);
    let lanes: Vec<_> = ring.lanes().collect();
    let told: Vec<_> = lanes.iter().map(|it| (it.capacity, it.max_message, it.len)).collect();
    assert_eq!(told, [(4, 40, 1), (16, 40, 0), (16, 40, 1), (16, 40, 0), (16, 100, 1)]);
    let limits: Vec<_> = lanes.iter().map(|it| it.stats.credit_limit).collect();
    assert_eq!(limits, [4, 15, 16, 16, 16]);
    let claims: Vec<_> = ring.participants().map(|it| (it.lane, it.index, it.intent)).collect();
    assert_eq!(claims[2], (2, 0, Some((0, 1))));
    assert_eq!((claims.len(), ring.repair().unwrap().abandoned), (5, 1));

    let directory = stage();
    let ring = written_down(&directory, BY_PRODUCER);
    assert_eq!(ring.settings().lanes, Lanes::ByProducer(2));
    let lanes: Vec<_> = ring.lanes().map(|it| (it.len, it.closed)).collect();
    assert_eq!(lanes, [(1, false), (1, true)]);
    let owners: Vec<_> = ring.lanes().map(|it| it.owner.unwrap().name).collect();
    assert!(owners.iter().all(|it| it.as_str() == "golden participant"));
    let mut next = ring.producer().unwrap();
    next.try_send(b"after the dead", PriorityClass::Normal).unwrap();
    assert_eq!(ring.lanes().map(|it| it.len).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn the_groups_that_are_written_down_go_on_where_they_were() {
    let directory = stage();
    let ring = written_down(&directory, GROUPS);
    assert_eq!(ring.settings().groups, 2);
    let groups: Vec<_> = ring.groups().collect();
    let [risk, log] = &groups[..] else { panic!("{groups:?}") };
    assert_eq!((risk.name.as_str(), risk.members, risk.durable), ("risk", 1, true));
    assert_eq!((log.name.as_str(), log.members, log.durable), ("log", 0, true));
    assert_eq!((risk.consumer_head, log.consumer_head), (2, 0));
    let received = |name: &str| {
        let mut member = ring.join(name).consumer().unwrap();
        let mut received = Vec::new();
        while let Ok(message) = member.try_recv() {
            received.push((message.to_vec(), message.is_redelivered()));
        }
        received
    };
    // The dead member of the first held a message.
    let (second, third) = (b"second".to_vec(), b"third".to_vec());
    assert_eq!(received("risk"), [(second.clone(), true), (third.clone(), false)]);
    let all = [b"first".to_vec(), second, third];
    assert_eq!(received("log"), all.map(|message| (message, false)));
    assert!(ring.examine().unwrap().is_empty());
}
