//! What an opener makes of a header: areas wherever it says, features that it does not know.

#![cfg(all(feature = "std", not(loom)))]

mod common;

use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use common::stage;
use tempfile::TempDir;
use ultrafastring::{Builder, FileError, Finding, PriorityClass, RingError, UltraFastRing};

const NAME: &str = "layout";
const PAGE: usize = 4_096;
/// Words of the header.
const SIZE: usize = 2;
const FEATURES: usize = 3;
const AREAS: usize = 32;
/// Words of a lane's record: where its slots and its side buffers lie.
const SLOTS_OF_LANE: usize = 384 / 8 + 1;
const SIDES_OF_LANE: usize = 384 / 8 + 2;

fn builder(directory: &TempDir) -> Builder {
    let builder = Builder::new().directory(directory.path());
    builder.capacity(16).participants(5).max_message(5_000)
}

/// The words of a new ring's file, and where that is.
fn whole(directory: &TempDir) -> (PathBuf, Vec<u64>) {
    let ring = builder(directory).create(NAME).unwrap();
    let path = ring.path().unwrap().to_path_buf();
    let bytes = std::fs::read(&path).unwrap();
    (path, bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_ne_bytes(*bytes)).collect())
}

fn write(path: &PathBuf, words: &[u64]) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    std::fs::write(path, bytes).unwrap();
}

/// The same segment with its areas in the opposite order, each on its own pages and a page apart.
fn the_other_way_round(words: &[u64]) -> Vec<u64> {
    let mut other = words[..PAGE / 8].to_vec();
    let mut places = [0; 10];
    for area in (0..10).rev() {
        let [offset, stride, count] = [0, 1, 2].map(|word| words[AREAS + 3 * area + word] as usize);
        if count == 0 {
            continue;
        }
        other.resize(other.len() + PAGE / 8, 0);
        places[area] = 8 * other.len() as u64;
        other[AREAS + 3 * area] = places[area];
        other.extend_from_slice(&words[offset / 8..(offset + stride * count) / 8]);
        other.resize(other.len().next_multiple_of(PAGE / 8), 0);
    }
    other[SIZE] = 8 * other.len() as u64;
    let lane = places[0] as usize / 8;
    other[lane + SLOTS_OF_LANE] = places[6];
    other[lane + SIDES_OF_LANE] = places[7];
    other
}

/// Sends and receives small and large messages, several laps, and looks whether all is well.
fn use_it(ring: &UltraFastRing, builder: &Builder) {
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    let mut buffer = Vec::new();
    for number in 0..100usize {
        let message = vec![number as u8; number * 50];
        producer.send(&message, PriorityClass::Normal).unwrap();
        consumer.try_recv_into(&mut buffer).unwrap();
        assert!(buffer == message, "message {number}");
    }
    assert_eq!(ring.examine().unwrap(), []);
    let observer = builder.observe(NAME).unwrap();
    assert_eq!((observer.positions().producer_head, observer.participants().count()), (100, 2));
    assert!(!observer.is_damaged());
}

#[test]
fn areas_are_found_wherever_the_header_says() {
    let directory = stage();
    let (path, words) = whole(&directory);
    let other = the_other_way_round(&words);
    write(&path, &other);
    let builder = builder(&directory);
    use_it(&builder.open(NAME).unwrap(), &builder);
    let lane = other[AREAS] as usize / 8;
    let file = std::fs::read(&path).unwrap();
    let head = file[8 * lane..].first_chunk().unwrap();
    assert_eq!(u64::from_ne_bytes(*head), 100);
    // As it was made, it was used in the ordinary order.
    assert!(words[AREAS] < words[AREAS + 3 * 6] && other[AREAS] > other[AREAS + 3 * 6]);
}

#[test]
fn a_header_that_is_overwritten_is_found_by_who_has_the_ring_open() {
    let directory = stage();
    let builder = builder(&directory);
    let ring = builder.create(NAME).unwrap();
    let observer = builder.observe(NAME).unwrap();
    let file = std::fs::File::options().write(true).open(ring.path().unwrap()).unwrap();
    // A choice, a place, and a term of the lane; each is put right again.
    let whole = std::fs::read(ring.path().unwrap()).unwrap();
    for word in [12, AREAS + 3, PAGE / 8 + SLOTS_OF_LANE] {
        file.write_all_at(&77u64.to_ne_bytes(), 8 * word as u64).unwrap();
        assert_eq!(ring.examine().unwrap(), [Finding::Overwritten], "word {word}");
        assert_eq!(observer.examine().unwrap(), [Finding::Overwritten], "word {word}");
        file.write_all_at(&whole[8 * word..][..8], 8 * word as u64).unwrap();
        assert_eq!(ring.examine().unwrap(), []);
    }
    assert!(Finding::Overwritten.is_damage());
}

#[test]
fn what_a_view_says_of_areas_is_what_the_header_says() {
    let directory = stage();
    let (_, words) = whole(&directory);
    let areas: Vec<_> = builder(&directory).observe(NAME).unwrap().areas().collect();
    let there = words[AREAS..].chunks(3).take(10).filter(|area| area[2] != 0);
    let said = areas.iter().map(|area| [area.offset, area.stride, area.count].map(|it| it as u64));
    assert!(there.eq(said), "{areas:?}");
    let names: Vec<_> = areas.iter().map(|area| area.name).collect();
    let expected =
        ["lanes", "control", "groups", "cursors", "participants", "slots", "side buffers"];
    assert_eq!(names, expected);
}

#[test]
fn a_lane_that_says_other_than_the_header_is_refused() {
    let directory = stage();
    let (path, words) = whole(&directory);
    for word in 384 / 8..512 / 8 {
        let mut other = words.clone();
        other[PAGE / 8 + word] ^= 64;
        write(&path, &other);
        let error = builder(&directory).open(NAME).unwrap_err();
        assert!(error.to_string().contains("its lane is another one than its header says"));
    }
    write(&path, &words);
    builder(&directory).open(NAME).unwrap();
}

#[test]
fn features_that_are_unknown_are_named_with_what_to_do() {
    let directory = stage();
    let (path, words) = whole(&directory);
    let builder = builder(&directory);
    for (features, names) in [(1u64 << 5, "(bit 5)"), (1 << 63 | 1 << 7, "(bit 7, bit 63)")] {
        let mut other = words.clone();
        other[FEATURES] = features;
        write(&path, &other);
        for refused in [builder.open(NAME).map(drop), builder.observe(NAME).map(drop)] {
            let error = refused.unwrap_err();
            let found = match &error {
                RingError::File { kind: FileError::UnknownFeatures { features }, .. } => *features,
                error => panic!("{error:?}"),
            };
            assert_eq!(found, features);
            let text = error.to_string();
            assert!(text.contains(names) && text.contains("ufr rm layout"), "{text}");
        }
    }
    builder.remove(NAME).unwrap();
}
