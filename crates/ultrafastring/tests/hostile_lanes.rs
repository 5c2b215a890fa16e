//! Peers that may write to a ring with lanes and mean harm: what they can do with the words of a
//! lane, of its control record, its cursors and entries, and with the locks of lanes.
//!
//! | variable | does | without it |
//! |---|---|---|
//! | `UFR_SCRIBBLE_SECONDS` | how long garbage is written over each ring | 2 |

#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod common;

use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use common::hostile::{MAX_MESSAGE, comes_back, randoms, receive_all_ways, seconds, words};
use common::{patiently, stage};
use tempfile::TempDir;
use ultrafastring::{
    Builder, Consumer, Lanes, PriorityClass, Producer, RingError, Start, UltraFastRing,
};

const NORMAL: PriorityClass = PriorityClass::Normal;
const NAME: &str = "stage";
const CAPACITY: usize = 16;
const PARTICIPANTS: usize = 8;
/// A ring of each kind.
const BOTH: [Lanes; 2] = [Lanes::ByClass, Lanes::ByProducer(3)];
/// Long enough that what is in the way is looked for.
const SOON: Duration = Duration::from_millis(5);

fn at(directory: &TempDir, lanes: Lanes, grouped: bool) -> Builder {
    let builder = Builder::new().directory(directory.path()).capacity(CAPACITY).lanes(lanes);
    let builder = builder.participants(PARTICIPANTS).max_message(MAX_MESSAGE);
    if grouped { builder.groups(["risk"]).joinable() } else { builder }
}

/// Where the areas of a ring are: the header's table has them in this order.
#[derive(Clone, Copy)]
enum Area {
    Lanes,
    Control,
    Cursors = 3,
    Entries,
    Slots = 6,
}

/// A ring's words as a hostile peer has them.
#[derive(Clone, Copy)]
struct Words(&'static [AtomicU64]);

impl Words {
    fn of(builder: &Builder) -> Self {
        Self(words(builder, NAME))
    }

    /// All words of an area.
    fn area(&self, area: Area) -> &'static [AtomicU64] {
        let of_area = |word: usize| self.0[32 + 3 * area as usize + word].load(Ordering::Relaxed);
        let [offset, stride, count] = [0, 1, 2].map(|word| of_area(word) as usize);
        &self.0[offset / 8..][..stride * count / 8]
    }

    /// A word of a lane's record.
    fn lane(&self, lane: usize, word: usize) -> &'static AtomicU64 {
        &self.area(Area::Lanes)[64 * lane + word]
    }

    fn control(&self, lane: usize, word: usize) -> &'static AtomicU64 {
        &self.area(Area::Control)[64 * lane + word]
    }

    /// A word of the first row of a lane's cursors, in a ring that was not made for groups.
    fn cursor(&self, lane: usize, word: usize) -> &'static AtomicU64 {
        &self.area(Area::Cursors)[32 * lane + word]
    }

    fn entry(&self, lane: usize, word: usize) -> &'static AtomicU64 {
        &self.area(Area::Entries)[128 * PARTICIPANTS * lane + word]
    }
}

/// Every way of sending, in some classes.
fn send_all_ways(producer: &mut Producer) {
    let messages = [[7; 40]; 9];
    for class in [PriorityClass::RealTime, NORMAL, PriorityClass::Bulk] {
        let _ = producer.send_fast(&messages[0], class);
        let _ = producer.send_batch(&messages, class);
        let _ = producer.send_fast(&[7; MAX_MESSAGE], class);
        if let Ok(guard) = producer.try_reserve(8, class) {
            guard.commit();
        }
    }
    let _ = producer.send_timeout(&messages[0], NORMAL, Duration::from_millis(1));
    let _ = (producer.len(), producer.is_full(), producer.credits().under_pressure());
}

/// All that there is to see, and to mend.
fn look(ring: &UltraFastRing) {
    ring.lanes().for_each(|lane| drop(format!("{lane:?}")));
    ring.participants().for_each(|participant| drop(format!("{participant:?}")));
    let _ = (ring.stats(), ring.len(), ring.positions(), ring.examine(), ring.examine_lanes());
    let _ = ring.repair();
}

fn consumer_of(ring: &UltraFastRing, grouped: bool) -> Result<Consumer, RingError> {
    if grouped { ring.join("risk").consumer() } else { ring.consumer() }
}

/// Calls of every kind, for as long as `going`; nothing is known of what they give but that they
/// give it. Says how many rounds came back.
fn work(ring: &UltraFastRing, builder: &Builder, grouped: bool, going: &AtomicBool) -> u64 {
    let mut rounds = 0;
    while going.load(Ordering::Relaxed) {
        let mut producer = ring.producer().ok();
        let mut consumer = consumer_of(ring, grouped).ok();
        for _ in 0..20 {
            producer.iter_mut().for_each(send_all_ways);
            consumer.iter_mut().for_each(receive_all_ways);
        }
        look(ring);
        if let Ok(mut tail) = builder.observe(NAME).and_then(|it| it.tail(Start::Oldest)) {
            let mut message = Vec::new();
            for _ in 0..20 {
                let _ = tail.try_next(&mut message);
                assert!(message.len() <= MAX_MESSAGE);
            }
        }
        if let (3, Some(producer)) = (rounds % 4, &mut producer) {
            producer.close();
        }
        rounds += 1;
    }
    rounds
}

/// Writes garbage, mostly over what lanes are about.
fn scribble(words: Words, seed: u64, going: &AtomicBool) {
    let mut random = randoms(seed);
    while going.load(Ordering::Relaxed) {
        let places = match random() % 8 {
            0 | 1 => words.area(Area::Lanes),
            2 => words.area(Area::Control),
            3 => words.area(Area::Cursors),
            4 | 5 => words.area(Area::Entries),
            6 => words.area(Area::Slots),
            // The header is read when a ring is opened, and its words have tests of their own.
            _ => &words.0[512..],
        };
        let word = &places[random() as usize % places.len()];
        let before = word.load(Ordering::Relaxed);
        let value = match random() % 8 {
            0 => random(),
            1 => random() % 64,
            2 => before.wrapping_add(random() % 128),
            3 => before.wrapping_sub(random() % 128),
            4 => before ^ 1 << (random() % 64),
            5 => words.0[512 + random() as usize % (words.0.len() - 512)].load(Ordering::Relaxed),
            6 => u64::MAX - random() % 128,
            _ => (1 << 57) + random() % 128 - 64,
        };
        word.store(value, Ordering::Relaxed);
    }
}

#[test]
fn a_peer_that_scribbles_over_a_ring_with_lanes_is_survived() {
    for (lanes, grouped) in BOTH.into_iter().flat_map(|it| [(it, false), (it, true)]) {
        let directory = stage();
        let builder = at(&directory, lanes, grouped);
        let ring = builder.create(NAME).unwrap();
        let words = Words::of(&builder);
        let rounds = comes_back("a call while a peer scribbles", move || {
            let going = AtomicBool::new(true);
            thread::scope(|scope| {
                for seed in [1, 2] {
                    let going = &going;
                    scope.spawn(move || scribble(words, seed, going));
                }
                let workers =
                    [(); 2].map(|()| scope.spawn(|| work(&ring, &builder, grouped, &going)));
                thread::sleep(seconds());
                going.store(false, Ordering::Relaxed);
                workers.map(|worker| worker.join().unwrap()).into_iter().sum::<u64>()
            })
        });
        eprintln!("{lanes}: {rounds} rounds came back");
        assert_ne!(rounds, 0);
    }
}

/// One word after the other says what it never can, and stays so: no call waits for it.
#[test]
fn words_of_a_lane_that_no_ring_can_have_hold_no_call_beyond_its_time() {
    let garbage = [0, 1, u64::MAX, 1 << 63, 1 << 57, (1 << 57) - 1, 1_000];
    type Place = fn(Words, usize) -> &'static AtomicU64;
    let places: [(&str, Place); 12] = [
        ("producer_head", |it, lane| it.lane(lane, 0)),
        ("producer_tail", |it, lane| it.lane(lane, 16)),
        ("window", |it, lane| it.lane(lane, 32)),
        ("given_back", |it, lane| it.lane(lane, 40)),
        ("class", |it, lane| it.lane(lane, 48 + 6)),
        ("entries used", |it, lane| it.control(lane, 0)),
        ("arrivals", |it, lane| it.control(lane, 3)),
        ("consumers' bell", |it, lane| it.control(lane, 32)),
        ("consumer_head", |it, lane| it.cursor(lane, 0)),
        ("consumer_tail", |it, lane| it.cursor(lane, 16)),
        ("intent", |it, lane| it.entry(lane, 16)),
        ("hold", |it, lane| it.entry(lane, 24)),
    ];
    for (what, place) in places {
        for (lanes, value) in BOTH.into_iter().flat_map(|it| garbage.map(|value| (it, value))) {
            comes_back(&format!("{lanes}: {what} is {value:#x}"), move || {
                let directory = stage();
                let builder = at(&directory, lanes, false);
                let ring = builder.create(NAME).unwrap();
                let words = Words::of(&builder);
                let mut producers: Vec<_> = [(); 2].map(|()| ring.producer().unwrap()).into();
                let mut consumer = ring.consumer().unwrap();
                producers.iter_mut().for_each(send_all_ways);
                consumer.try_recv().unwrap();
                // In the first lane, whose words all handles share in part, and in one behind it.
                for lane in [0, 1] {
                    place(words, lane).store(value, Ordering::Relaxed);
                    for producer in &mut producers {
                        send_all_ways(producer);
                        let _ = producer.send_timeout(b"x", NORMAL, SOON);
                    }
                    receive_all_ways(&mut consumer);
                    let _ = consumer.recv_timeout(SOON);
                    look(&ring);
                }
                producers.iter_mut().for_each(Producer::close);
                let _ = consumer.recv_timeout(SOON);
                drop((producers, consumer));
                let _ = (ring.producer().map(drop), ring.consumer().map(drop));
                look(&ring);
            });
        }
    }
}

/// Who may take part can keep the locks of all lanes: producers are refused at once, and consumers
/// go on.
#[test]
fn a_peer_that_keeps_the_locks_of_lanes_holds_up_nobody_and_keeps_producers_out() {
    let directory = stage();
    let builder = at(&directory, Lanes::ByProducer(3), false);
    let ring = builder.create(NAME).unwrap();
    let mut producer = ring.producer().unwrap();
    let mut consumer = ring.consumer().unwrap();
    let files = std::fs::read_dir(directory.path()).unwrap().map(|it| it.unwrap());
    let mut hidden = files.filter(|it| it.file_name().to_string_lossy().starts_with('.'));
    let file = hidden.next().unwrap().path();
    let file = OpenOptions::new().read(true).write(true).open(file).unwrap();
    // The first lane has its owner.
    for lane in [1, 2] {
        // SAFETY: plain numbers, for which zeros are a value.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        (lock.l_type, lock.l_start, lock.l_len) = (libc::F_WRLCK as i16, (lane << 20) + 2, 1);
        // SAFETY: the descriptor is open, and one `flock` is read and written.
        let locked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw mut lock) };
        assert_eq!(locked, 0, "{}", std::io::Error::last_os_error());
    }
    let refused = ring.producer().unwrap_err();
    // It has not said who it is.
    let RingError::NoFreeLane { lanes: 3, owners } = &refused else { panic!("{refused}") };
    assert_eq!(owners.len(), 1);
    producer.send_fast(b"x", NORMAL).unwrap();
    assert_eq!(&*consumer.try_recv().unwrap(), b"x");
    drop(file);
    let mut second = patiently("a lane", || ring.producer().ok());
    second.send_fast(b"y", NORMAL).unwrap();
    assert_eq!(&*consumer.try_recv().unwrap(), b"y");
}
