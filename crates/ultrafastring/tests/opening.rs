//! Who opens a ring that is there finds it as it wants it, or is told what is different; and there
//! is room for many.

#![cfg(all(feature = "std", not(loom)))]

mod common;

use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Barrier;

use common::actor::{self, Actor, order, say};
use common::child::Child;
use common::forbid::forbid;
use common::memory::with_little_memory;
use common::{Numbered, stage};
use ultrafastring::{Builder, FileError, PriorityClass, RingError, Timestamps, UltraFastRing};

const NORMAL: PriorityClass = PriorityClass::Normal;

const NAME: &str = "stage";
/// Bytes of a file system that a ring soon fills.
const LITTLE: usize = 200 << 10;

/// Not a test by itself: the way into the other processes.
#[test]
fn an_actor_plays_its_part() {
    let Some((words, directory)) = actor::part() else { return };
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    assert_eq!(words[0], "choose");
    choose(&words[1..], &directory);
}

/// Opens the ring with a capacity and a credit limit, if they are chosen, and says what it has.
fn choose(words: &[&str], directory: &Path) {
    let mut builder = Builder::new().directory(directory);
    let mut numbers = words.iter().filter_map(|word| word.parse::<u64>().ok());
    if let Some(capacity) = numbers.next() {
        builder = builder.capacity(capacity as usize);
    }
    if let Some(limit) = numbers.next() {
        builder = builder.credit_limit(limit);
    }
    builder = builder.accept_existing(words.contains(&"accept"));
    match builder.open_or_create(NAME) {
        Ok(ring) => {
            say(&format!("{} {}", ring.capacity(), ring.settings().credit_limit));
            if words.contains(&"keep") {
                order();
            }
        }
        Err(RingError::SettingsDiffer { path, differences }) => {
            assert!(path.ends_with("ufr-stage"), "{path:?}");
            let all: Vec<_> = differences.iter().map(ToString::to_string).collect();
            say(&all.join(", "));
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_process_that_chose_other_settings_is_told_each_and_one_that_chose_none_opens_the_ring() {
    let directory = stage();
    let told = |role: &str| {
        let mut actor = Actor::start(directory.path(), role);
        let told = actor.hear();
        actor.process.wait().unwrap();
        told
    };
    let maker = Actor::start_and_hear(directory.path(), "choose 64 9 keep", "64 9");
    assert_eq!(told("choose"), "64 9");
    assert_eq!(told("choose 64"), "64 9");
    assert_eq!(told("choose 64 9"), "64 9");
    assert_eq!(told("choose 64 8"), "credit_limit is 9 and not 8");
    assert_eq!(told("choose 32 8"), "capacity is 64 and not 32, credit_limit is 9 and not 8");
    assert_eq!(told("choose 32 8 accept"), "64 9");
    maker.kill();
}

#[test]
fn each_choice_is_compared_and_what_nobody_chose_is_not() {
    let directory = stage();
    let new = || Builder::new().directory(directory.path());
    let kept = new()
        .capacity(8)
        .participants(5)
        .max_message(100)
        .exclusive_producer()
        .reserve(PriorityClass::High, 2);
    let ring = kept.open_or_create(NAME).unwrap();
    let differ = |builder: Builder| match builder.open_or_create(NAME) {
        Ok(_) => String::new(),
        Err(RingError::SettingsDiffer { differences, .. }) => {
            assert_eq!(differences.len(), 1);
            differences[0].name().to_string()
        }
        Err(error) => panic!("{error}"),
    };
    let same = [kept, new(), new().capacity(8), new().reserve(PriorityClass::High, 2)];
    for builder in same.into_iter().chain([new().like(ring.settings()), new().credit_limit(8)]) {
        assert_eq!(differ(builder), "");
    }
    assert_eq!(differ(new().capacity(256)), "capacity", "the default is a choice if it is chosen");
    assert_eq!(differ(new().participants(6)), "participants");
    assert_eq!(differ(new().max_message(40)), "max_message");
    assert_eq!(differ(new().producer_side(ultrafastring::Sharing::Shared)), "producer_side");
    assert_eq!(differ(new().exclusive_consumer()), "consumer_side");
    assert_eq!(differ(new().timestamps(Timestamps::Off)), "timestamps");
    assert_eq!(differ(new().redelivery(ultrafastring::Redelivery::Discard)), "redelivery");
    assert_eq!(differ(new().credit_limit(7)), "credit_limit");
    assert_eq!(differ(new().reserve(PriorityClass::Bulk, 1)), "reserves");
    let error = new().capacity(16).open_or_create(NAME).unwrap_err().to_string();
    let text = "ufr-stage exists with other settings: capacity is 8 and not 16; choose the same";
    assert!(error.contains(text), "{error}");
}

/// Each has a producer and a consumer, and uses the calls on the ring besides.
fn have_many_threads(ring: &UltraFastRing, threads: usize) {
    let all_here = Barrier::new(threads);
    std::thread::scope(|scope| {
        for number in 0..threads as u64 {
            let all_here = &all_here;
            scope.spawn(move || {
                let mut producer = ring.producer().unwrap();
                let mut consumer = ring.consumer().unwrap();
                all_here.wait();
                producer.send(Numbered::new(0, number).as_ref(), NORMAL).unwrap();
                ring.send(Numbered::new(1, number).as_ref(), NORMAL).unwrap();
                Numbered::read(&ring.recv().unwrap());
                Numbered::read(&consumer.recv().unwrap());
                all_here.wait();
            });
        }
    });
    assert!(ring.is_empty());
    assert_eq!(ring.stats().sent, 2 * threads as u64);
    assert_eq!(ring.stats().received, 2 * threads as u64);
}

#[test]
fn some_hundreds_of_threads_have_handles_of_one_ring_that_was_made_by_default() {
    have_many_threads(&UltraFastRing::new(64), 400);
    let directory = stage();
    let builder = Builder::new().directory(directory.path()).capacity(64);
    let ring = builder.create(NAME).unwrap();
    let taken = || std::fs::metadata(ring.path().unwrap()).unwrap().blocks() as usize * 512;
    let before = taken();
    assert!(before < 100 << 10 && ring.size_bytes() > 1 << 20, "{before} bytes taken at once");
    have_many_threads(&ring, 200);
    assert!(taken() > before + (256 << 10), "only {} bytes taken by the entries", taken());
    // Who opens it later has them, and looks at them.
    assert!(builder.open(NAME).unwrap().participants().count() >= 16);
    builder.observe(NAME).unwrap().participants().for_each(drop);
}

/// Takes all memory that the file system of `directory` has left.
fn fill_up(directory: &Path) {
    let mut file = std::fs::File::create(directory.join("filler")).unwrap();
    while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
}

/// Whether a handle was refused for want of memory for its entry.
fn has_no_space<T>(handle: &Result<T, RingError>) -> bool {
    matches!(handle, Err(RingError::File { kind: FileError::NoSpace { .. }, .. }))
}

#[test]
fn an_entry_for_which_there_is_no_memory_is_an_error_of_the_handle() {
    let directory = stage();
    with_little_memory(directory.path(), LITTLE, || {
        let ring = Builder::new().directory(directory.path()).capacity(64).create(NAME).unwrap();
        let mut handles = Vec::new();
        let error = loop {
            match ring.producer() {
                Ok(handle) => handles.push(handle),
                refused => break refused,
            }
        };
        assert!(has_no_space(&error), "{error:?}");
        assert!((64..200).contains(&handles.len()), "{} handles", handles.len());
        handles.pop();
        handles.push(ring.producer().unwrap());
        assert_eq!(handles[64].send(b"there is room", NORMAL), Ok(()));
    });
}

#[test]
fn where_there_is_no_memory_for_another_entry_those_of_the_dead_are_taken_over() {
    let directory = stage();
    with_little_memory(directory.path(), LITTLE, || {
        let builder = Builder::new().directory(directory.path()).capacity(64);
        let ring = builder.create(NAME).unwrap();
        fill_up(directory.path());
        Child::die_after(|| {
            let ring = builder.open(NAME).unwrap();
            let handles: Vec<_> = (0..64).map(|_| ring.producer().unwrap()).collect();
            assert!(has_no_space(&ring.producer()));
            (ring, handles)
        });
        let mut handles: Vec<_> = (0..64).map(|_| ring.producer().unwrap()).collect();
        assert!(has_no_space(&ring.producer()));
        assert_eq!(handles[63].send(b"there is room", NORMAL), Ok(()));
    });
}

/// Where the word is that says how many entries of the table were ever used.
const ENTRIES_USED: u64 = 4_608;

#[test]
fn a_peer_that_says_of_entries_without_memory_that_they_are_used_ends_nobody() {
    let directory = stage();
    with_little_memory(directory.path(), LITTLE, || {
        let builder = Builder::new().directory(directory.path()).capacity(64);
        let ring = builder.create(NAME).unwrap();
        let observer = builder.observe(NAME).unwrap();
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        fill_up(directory.path());
        let file = std::fs::File::options().write(true).open(ring.path().unwrap()).unwrap();
        for said in [1024u64, u64::MAX] {
            file.write_all_at(&said.to_ne_bytes(), ENTRIES_USED).unwrap();
            assert_eq!(ring.participants().count(), 2);
            assert_eq!(observer.participants().count(), 2);
            assert_eq!(ring.stats().sent, observer.stats().sent);
            for number in 0..1000 {
                producer.send(Numbered::new(0, number).as_ref(), NORMAL).unwrap();
                Numbered::read(&consumer.recv().unwrap());
            }
            assert_eq!(producer.living_consumers(), 1);
            let mut handles: Vec<_> = (2..64).map(|_| ring.producer().unwrap()).collect();
            assert!(has_no_space(&ring.producer()));
            handles[61].send(b"there is room", NORMAL).unwrap();
            assert_eq!(consumer.recv().unwrap(), b"there is room");
        }
    });
}

#[test]
fn what_keeps_memory_for_an_entry_back_is_said_if_it_is_not_that_there_is_none() {
    let directory = stage();
    Child::start(|| {
        let ring = Builder::new().directory(directory.path()).capacity(64).create(NAME).unwrap();
        let _handles: Vec<_> = (0..64).map(|_| ring.producer().unwrap()).collect();
        forbid(libc::SYS_madvise, None, libc::EPERM);
        let error = ring.producer().map(drop).unwrap_err();
        assert!(
            matches!(error, RingError::File { kind: FileError::PermissionDenied, .. }),
            "{error:?}"
        );
    })
    .finish();
}
