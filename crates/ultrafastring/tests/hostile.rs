//! Peers that may write to a ring and mean harm: one that scribbles over the whole segment while
//! others work, one that makes the file shorter under them. And, for comparison, a long stream
//! between peers who mean well.
//!
//! | variable | does | without it |
//! |---|---|---|
//! | `UFR_SCRIBBLE_SECONDS` | how long garbage is written over each shape of ring | 2 |
//! | `UFR_SOAK` | messages checked between two processes; a tenth where a side is shared | 2,000,000 |

#![cfg(all(feature = "std", not(loom)))]

mod common;
#[path = "common/shapes.rs"]
mod shapes;

use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::actor::{self, Actor, order, say};
use common::hostile::{randoms, words};
use common::{Numbered, patiently, stage};
use rustix::mm::{MapFlags, ProtFlags};
use shapes::{Shape, of_each_shape, of_shape, on_each_shape};
use tempfile::TempDir;
use ultrafastring::{
    Builder, Consumer, PriorityClass, RecvError, SendError, UltraFastRing, WaitStrategy,
    survive_truncation, wait_any,
};

const NORMAL: PriorityClass = PriorityClass::Normal;
const NAME: &str = "stage";

fn at<S: Shape>(directory: &TempDir) -> Builder {
    S::builder().directory(directory.path())
}

/// A number from the environment.
fn wish(variable: &str, otherwise: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.map_or(otherwise, |text| text.replace('_', "").parse().expect(variable))
}

// ---- acting ------------------------------------------------------------------------------

/// Starts an actor that plays `role` on a ring of this shape, and waits until it says `first`.
fn start<S: Shape>(directory: &TempDir, role: &str, first: &str) -> Actor {
    Actor::start_and_hear(directory.path(), &format!("{} {role}", S::NAME), first)
}

#[test]
fn an_actor_plays_its_part() {
    let Some((words, directory)) = actor::part() else { return };
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    of_shape(words[0], of_each_shape!(play))(&words[1..], &directory);
}

fn play<S: Shape>(words: &[&str], directory: &Path) {
    let builder = Builder::new().directory(directory).participant_name(words[0]);
    match words[0] {
        "scribble" => scribble(&builder, words[1].parse().unwrap()),
        "shorten" => {
            let file = OpenOptions::new().write(true).open(builder.path(NAME).unwrap()).unwrap();
            say("ready");
            loop {
                file.set_len(order().parse().unwrap()).unwrap();
                say("done");
            }
        }
        "suffer" => suffer::<S>(&builder, words[1]),
        "suffer-silently" => {
            let mut producer = S::producer(&builder.open(NAME).unwrap());
            say("working");
            loop {
                let _ = producer.send_fast(b"into the dark", NORMAL);
            }
        }
        "soak" => soak::<S>(&builder.open(NAME).unwrap(), words[1].parse().unwrap()),
        role => panic!("there is no role {role}"),
    }
}

/// Writes garbage all over the segment, for ever.
fn scribble(builder: &Builder, seed: u64) {
    let words = words(builder, NAME);
    let mut random = randoms(seed);
    say("scribbling");
    // All but the first word, whose loss would have the ring called damaged, and calls end before
    // they read what else is wrong.
    let words = &words[1..];
    // All sizes of garbage: anything, small numbers, numbers near what was there, whole lines of
    // other places, all of it at once.
    loop {
        let place = random() as usize % words.len();
        // Counters and the table are a small part of a segment, and the tenderest.
        let place =
            if random().is_multiple_of(2) { 511 + place % 2_048 } else { place } % words.len();
        let word = &words[place];
        let before = word.load(Ordering::Relaxed);
        let value = match random() % 8 {
            0 => random(),
            1 => random() % 64,
            2 => before.wrapping_add(random() % 128),
            3 => before.wrapping_sub(random() % 128),
            4 => before ^ 1 << (random() % 64),
            5 => words[random() as usize % words.len()].load(Ordering::Relaxed),
            6 => u64::MAX - random() % 128,
            _ => (1 << 57) + random() % 128 - 64,
        };
        word.store(value, Ordering::Relaxed);
        if random().is_multiple_of(1 << 20) {
            words.iter().for_each(|word| word.store(random(), Ordering::Relaxed));
        }
    }
}

/// Sends or receives until the ring is said to be damaged.
fn suffer<S: Shape>(builder: &Builder, side: &str) {
    survive_truncation().unwrap();
    let ring = builder.open(NAME).unwrap();
    let mut buffer = [0; 40];
    if side == "producer" {
        let mut producer = S::producer(&ring);
        say("working");
        patiently("damage", || match producer.send_fast(&buffer, NORMAL) {
            Err(SendError::Damaged) => Some(()),
            _ => None,
        });
    } else {
        let mut consumer = S::consumer(&ring);
        say("working");
        patiently("damage", || match consumer.recv_fast(&mut buffer) {
            Err(RecvError::Damaged) => Some(()),
            _ => None,
        });
    }
    assert!(ring.is_damaged());
    // Whatever else is asked comes back too.
    let _ = (ring.stats(), ring.len(), ring.examine(), ring.repair());
    ring.participants().for_each(drop);
    say("damaged");
    order();
}

fn soak<S: Shape>(ring: &UltraFastRing, count: u64) {
    let mut producer = S::producer(ring);
    say("streaming");
    for number in 0..count {
        let message = Numbered::new(1, number);
        patiently("room", || producer.try_send(message, NORMAL).ok());
    }
}

// ---- scribbling ----------------------------------------------------------------------------

/// Calls of every kind, for as long as `going`; nothing is known of what they give but that they
/// give it. Says how many came back.
fn work<S: Shape>(ring: &UltraFastRing, going: &AtomicBool) -> u64 {
    let mut calls = 0;
    let mut buffers = [[0; 40]; 16];
    let messages = [[7; 40]; 16];
    while going.load(Ordering::Relaxed) {
        let (mut producer, mut consumer) = (S::try_producer(ring), S::try_consumer(ring));
        for _ in 0..5_000 {
            if let Some(producer) = &mut producer {
                let _ = producer.send_fast(&messages[0], NORMAL);
                let _ = producer.send_batch(&messages, PriorityClass::Bulk);
                if let Ok(guard) = producer.try_reserve(8, PriorityClass::High) {
                    guard.commit();
                }
            }
            if let Some(consumer) = &mut consumer {
                if let Ok((size, ..)) = consumer.recv_fast(&mut buffers[0]) {
                    assert!(size <= 40);
                }
                let _ = consumer.recv_batch(&mut buffers);
                if let Ok(message) = consumer.try_borrow() {
                    assert!(message.len() <= 40);
                }
            }
            calls += 3 * (u64::from(producer.is_some()) + u64::from(consumer.is_some()));
        }
        let _ = (ring.stats(), ring.len(), ring.examine(), ring.repair());
        ring.participants().for_each(|participant| drop(format!("{participant:?}")));
    }
    calls
}

fn a_peer_that_scribbles_over_a_ring_is_survived<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).capacity(64).participants(8).create(NAME).unwrap();
    let vandals =
        [1, 2].map(|seed| start::<S>(&directory, &format!("scribble {seed}"), "scribbling"));
    let going = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let workers = [(); 2].map(|()| scope.spawn(|| work::<S>(&ring, &going)));
        std::thread::sleep(Duration::from_secs(wish("UFR_SCRIBBLE_SECONDS", 2)));
        going.store(false, Ordering::Relaxed);
        // A call that does not come back hangs here, and with it the test.
        let calls: u64 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
        eprintln!("{calls} calls came back");
        assert_ne!(calls, 0);
    });
    vandals.into_iter().for_each(Actor::kill);
}
on_each_shape!(a_peer_that_scribbles_over_a_ring_is_survived, needs(one_group, quick));

// ---- truncation ----------------------------------------------------------------------------

fn shorten(vandal: &mut Actor, length: usize) {
    vandal.tell(&length.to_string());
    assert_eq!(vandal.hear(), "done");
}

fn a_peer_that_makes_the_file_shorter_is_survived_and_said<S: Shape>() {
    // To nothing; within the participant table; within the slots.
    for places in 0..3 {
        let directory = stage();
        let ring = at::<S>(&directory).capacity(1_024).create(NAME).unwrap();
        let within = |area| S::place(&ring, area) + 4_096;
        let length = [0, within("participants"), within("slots")][places];
        let mut victims = ["suffer producer", "suffer consumer"]
            .map(|role| start::<S>(&directory, role, "working"));
        let mut vandal = start::<S>(&directory, "shorten", "ready");
        shorten(&mut vandal, length);
        for victim in &mut victims {
            assert_eq!(victim.hear(), "damaged", "cut to {length}");
        }
        victims.into_iter().for_each(Actor::finish);
    }
}
on_each_shape!(a_peer_that_makes_the_file_shorter_is_survived_and_said, needs(one_group));

fn a_file_that_is_wiped_out_and_has_its_length_again_is_noticed<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).capacity(16).create(NAME).unwrap();
    let mut producer = S::producer(&ring);
    let mut consumer = S::consumer(&ring);
    let observer = at::<S>(&directory).observe(NAME).unwrap();
    let file =
        OpenOptions::new().write(true).open(at::<S>(&directory).path(NAME).unwrap()).unwrap();
    file.set_len(0).unwrap();
    file.set_len(ring.size_bytes() as u64).unwrap();
    patiently("damage", || (consumer.try_recv().unwrap_err() == RecvError::Damaged).then_some(()));
    patiently("damage", || {
        (producer.send_fast(b"x", NORMAL) == Err(SendError::Damaged)).then_some(())
    });
    assert!(ring.is_damaged() && observer.is_damaged());
}
on_each_shape!(a_file_that_is_wiped_out_and_has_its_length_again_is_noticed);

fn without_asking_for_it_a_process_does_not_survive_truncation<S: Shape>() {
    let directory = stage();
    let _ring = at::<S>(&directory).create(NAME).unwrap();
    let mut victim = start::<S>(&directory, "suffer-silently", "working");
    let mut vandal = start::<S>(&directory, "shorten", "ready");
    shorten(&mut vandal, 0);
    assert_eq!(victim.process.wait().unwrap().signal(), Some(libc::SIGBUS));
}
on_each_shape!(without_asking_for_it_a_process_does_not_survive_truncation, needs(one_group));

#[test]
fn a_bus_error_that_concerns_no_ring_is_not_swallowed() {
    const TRY: &str = "UFR_TEST_BUS_ERROR";
    if std::env::var_os(TRY).is_some() {
        survive_truncation().unwrap();
        let file = tempfile::tempfile().unwrap();
        file.set_len(4_096).unwrap();
        // SAFETY: a new mapping, read as an atomic; that it raises SIGBUS is what is tested.
        unsafe {
            let base = rustix::mm::mmap(
                std::ptr::null_mut(),
                4_096,
                ProtFlags::READ,
                MapFlags::SHARED,
                &file,
                0,
            );
            file.set_len(0).unwrap();
            (*base.unwrap().cast::<AtomicU64>()).load(Ordering::Relaxed);
        }
        return;
    }
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_bus_error_that_concerns_no_ring_is_not_swallowed", "--nocapture"])
        .env(TRY, "1")
        .status()
        .unwrap();
    assert_eq!(status.signal(), Some(libc::SIGBUS));
}

// ---- garbage, and calls that wait ----------------------------------------------------------

const STRATEGIES: [WaitStrategy; 4] = [
    WaitStrategy::Spin,
    WaitStrategy::SpinThenYield,
    WaitStrategy::SpinThenPark,
    WaitStrategy::Park,
];

/// Slots that fill a page, the last one of the file.
const PAGE_OF_SLOTS: usize = 64;

/// Places of counters among the words of a segment: of the producers' head, and of the consumers'
/// head and tail.
fn counters<S: Shape>(ring: &UltraFastRing) -> [usize; 3] {
    let cursor = S::place(ring, "cursors") / 8;
    [S::place(ring, "lanes") / 8, cursor, cursor + 16]
}

const SOON: Duration = Duration::from_millis(20);

fn a_consumers_head_that_no_ring_can_have_holds_no_call_beyond_its_time<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).create(NAME).unwrap();
    let words = words(&at::<S>(&directory), NAME);
    let [_, consumer_head, _] = counters::<S>(&ring);
    let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
    producer.send_fast(b"one", NORMAL).unwrap();
    for garbage in [u64::MAX, 1 << 60] {
        words[consumer_head].store(garbage, Ordering::Relaxed);
        for strategy in STRATEGIES {
            consumer.set_wait_strategy(strategy);
            assert_eq!(consumer.recv_timeout(SOON).unwrap_err(), RecvError::TimedOut);
        }
    }
    words[consumer_head].store(0, Ordering::Relaxed);
    assert_eq!(&*consumer.recv_timeout(SOON).unwrap(), b"one");
}
on_each_shape!(
    a_consumers_head_that_no_ring_can_have_holds_no_call_beyond_its_time,
    needs(shared_consumer, one_group)
);

fn a_producers_head_that_was_set_back_holds_no_call_beyond_its_time<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).capacity(4).create(NAME).unwrap();
    let words = words(&at::<S>(&directory), NAME);
    let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
    // So that some credit was granted, and some is left.
    for _ in 0..6 {
        producer.send_fast(b"there", NORMAL).unwrap();
        consumer.try_recv().unwrap();
        consumer.flush();
    }
    assert!(producer.credits().granted() > 0 && producer.credits().available() > 0);
    let [producer_head, ..] = counters::<S>(&ring);
    let head = words[producer_head].swap(0, Ordering::Relaxed);
    for strategy in STRATEGIES {
        producer.set_wait_strategy(strategy);
        let sent = producer.send_timeout(b"and here", NORMAL, SOON);
        assert_eq!(sent, Err(SendError::TimedOut));
    }
    words[producer_head].store(head, Ordering::Relaxed);
    producer.send_timeout(b"and here", NORMAL, SOON).unwrap();
    assert_eq!(&*consumer.recv_timeout(SOON).unwrap(), b"and here");
}
on_each_shape!(
    a_producers_head_that_was_set_back_holds_no_call_beyond_its_time,
    needs(shared_producer, one_group)
);

fn a_slot_of_a_later_lap_does_not_hold_a_consumer_that_was_deserted<S: Shape>() {
    let directory = stage();
    let builder = at::<S>(&directory).capacity(PAGE_OF_SLOTS);
    let ring = builder.create(NAME).unwrap();
    let words = words(&builder, NAME);
    let mut consumer = S::consumer(&ring);
    consumer.end_when_deserted(true);
    S::producer(&ring).send_fast(b"one", NORMAL).unwrap();
    consumer.try_recv().unwrap();
    let slot = S::place(&ring, "slots") / 8 + 8;
    words[slot].store(u64::MAX >> 1, Ordering::Relaxed);
    for strategy in STRATEGIES {
        consumer.set_wait_strategy(strategy);
        let error = consumer.recv_timeout(Duration::from_secs(20)).unwrap_err();
        assert_eq!(error, RecvError::Deserted, "{strategy:?}");
    }
}
on_each_shape!(a_slot_of_a_later_lap_does_not_hold_a_consumer_that_was_deserted, needs(one_group));

/// And when they are sound again, the same handle goes on.
fn heads_that_no_ring_can_have_are_not_believed_by_a_producer_that_loses_a_race<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).capacity(4).create(NAME).unwrap();
    let words = words(&at::<S>(&directory), NAME);
    let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
    producer.send_fast(b"one", NORMAL).unwrap();
    consumer.try_recv().unwrap();
    consumer.flush();
    let [producer_head, _, consumer_tail] = counters::<S>(&ring);
    let places = [producer_head, consumer_tail];
    // The highest bit is that of a closed ring.
    for garbage in [u64::MAX, u64::MAX >> 1, (1 << 57) + 9, 1 << 62] {
        let sound = places.map(|place| words[place].load(Ordering::Relaxed));
        words[producer_head].store(garbage - 1, Ordering::Relaxed);
        assert!(producer.send_fast(b"x", NORMAL).is_err());
        words[consumer_tail].store(garbage - 3, Ordering::Relaxed);
        for strategy in STRATEGIES {
            producer.set_wait_strategy(strategy);
            assert!(producer.wait(NORMAL, Some(Instant::now() + SOON)).is_err());
        }
        assert!(producer.send_fast(b"x", NORMAL).is_err());
        assert!(producer.send_batch(&[b"x"; 9], NORMAL).is_err());
        assert!(producer.credits().consumed() <= 1 << 57);
        for (place, word) in places.into_iter().zip(sound) {
            words[place].store(word, Ordering::Relaxed);
        }
        let number = garbage.to_le_bytes();
        producer.send_fast(&number, NORMAL).unwrap();
        assert_eq!(*consumer.try_recv().unwrap(), number);
        consumer.flush();
    }
}
on_each_shape!(
    heads_that_no_ring_can_have_are_not_believed_by_a_producer_that_loses_a_race,
    needs(shared_producer, one_group)
);

/// Slots that are marked abandoned lead a consumer on and on. How many a call passes whose time is
/// over when it begins is counted, which is no matter of how fast the machine is.
fn slots_without_end_that_nobody_filled_hold_no_call_beyond_its_time<S: Shape>() {
    const CAPACITY: usize = 1 << 16;
    /// A wait looks some times, each for some slots.
    const MOST: u64 = CAPACITY as u64 / 8;
    type Call<C> = fn(&mut Consumer<C>) -> bool;
    let calls: [(&str, Call<S::Consumers>); 4] = [
        ("recv_timeout", |it| timed_out(it.recv_timeout(Duration::ZERO).map(drop))),
        ("recv_deadline", |it| timed_out(it.recv_deadline(Instant::now()).map(drop))),
        ("wait", |it| timed_out(it.wait(Some(Instant::now())))),
        ("wait_any", |it| wait_any(&mut [it], Some(Instant::now())).is_none()),
    ];
    for (name, call) in calls {
        for strategy in STRATEGIES {
            let directory = stage();
            let builder = at::<S>(&directory).capacity(CAPACITY);
            let ring = builder.create(NAME).unwrap();
            let words = words(&builder, NAME);
            let slots = words[S::place(&ring, "slots") / 8..].iter().step_by(8).take(CAPACITY);
            for (position, sequence) in slots.enumerate() {
                sequence.store(1 << 63 | (position as u64 + 1), Ordering::Relaxed);
            }
            words[counters::<S>(&ring)[0]].store(CAPACITY as u64, Ordering::Relaxed);
            let mut consumer = S::consumer(&ring);
            consumer.set_wait_strategy(strategy);
            let timed_out = call(&mut consumer);
            let passed = ring.positions().consumer_head;
            assert!(timed_out && passed < MOST, "{name}, {strategy:?}: {passed} passed");
            // A call without a time passes what there is.
            assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty);
            consumer.flush();
            assert_eq!(ring.positions().consumer_head, CAPACITY as u64);
        }
    }
}
on_each_shape!(
    slots_without_end_that_nobody_filled_hold_no_call_beyond_its_time,
    needs(one_group, quick)
);

fn timed_out(result: Result<(), RecvError>) -> bool {
    result == Err(RecvError::TimedOut)
}

// ---- peers who mean well -------------------------------------------------------------------

fn a_long_stream_between_two_processes_is_whole_and_in_order<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).capacity(4_096).create(NAME).unwrap();
    // A tenth where a side is shared, or has lanes: it costs as much more.
    let shared = S::producers_share() || S::consumers_share() || S::has_lanes();
    let count = wish("UFR_SOAK", 2_000_000) / if shared { 10 } else { 1 };
    let sender = start::<S>(&directory, &format!("soak {count}"), "streaming");
    let mut consumer = S::consumer(&ring);
    let began = Instant::now();
    let mut buffer = [0; 40];
    for number in 0..count {
        let size = patiently("a message", || consumer.recv_fast(&mut buffer).ok()).0;
        assert_eq!(Numbered::read(&buffer[..size]), (1, number));
        if number % 1_000_000_000 == 999_999_999 {
            eprintln!("{} messages in {:?}", number + 1, began.elapsed());
        }
    }
    assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty);
    drop(consumer);
    sender.finish();
    let stats = ring.stats();
    assert_eq!((stats.sent, stats.received), (count, count));
    assert_eq!((stats.abandoned, stats.redelivered, stats.discarded), (0, 0, 0));
}
on_each_shape!(a_long_stream_between_two_processes_is_whole_and_in_order, needs(one_group, quick));
