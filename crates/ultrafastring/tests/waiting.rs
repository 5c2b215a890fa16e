//! Waiting: parking, waking, closing, running out of time, between threads and between processes.
//!
//! What a lost wake-up would cost is [`LONGEST_PARK`](ultrafastring::LONGEST_PARK), and a handle
//! counts it (`missed_wakes`): so these tests see what would otherwise be a delay.
//!
//! `UFR_WAKES=100000000 cargo test --release -p ultrafastring --test waiting stress -- --nocapture`
//! decides as often.

#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod common;
#[path = "common/shapes.rs"]
mod shapes;

use std::time::{Duration, Instant};

use common::child::Child;
use common::forbid::forbid_all_but;
use common::{Numbered, cpu_time, patiently, stage};
use shapes::{Shape, on_each_shape};
use tempfile::TempDir;
use ultrafastring::{
    Builder, Consumer, LONGEST_PARK, Mode, PriorityClass, Producer, RecvError, SendError, Side,
    UltraFastRing, WaitStrategy, wait_any,
};

const NORMAL: PriorityClass = PriorityClass::Normal;
const NAME: &str = "waiting";

/// Longer than any test waits for what comes at once.
const LONG: Duration = Duration::from_secs(120);

fn at(directory: &TempDir) -> Builder {
    Builder::new().directory(directory.path())
}

fn asleep(ring: &UltraFastRing, side: Side) {
    patiently("somebody sleeps", || ring.is_asleep(side).then_some(()));
}

/// Sends all of `count`, and lets the other side fall asleep in between now and then.
fn send_all<S: Shape>(
    mut producer: Producer<S::Producers>,
    sender: u32,
    count: u64,
    gaps: &[u64],
) -> u64 {
    for number in 0..count {
        producer.send(Numbered::new(sender, number).as_ref(), S::class(sender)).unwrap();
        let gap = gaps[number as usize % gaps.len()];
        for _ in 0..gap {
            std::hint::spin_loop();
        }
    }
    producer.missed_wakes()
}

/// Receives until the ring is closed; says how many came and how many wakes were missed.
fn receive_all<S: Mode>(consumer: &mut Consumer<S>) -> (u64, u64) {
    let mut received = 0;
    loop {
        match consumer.recv() {
            Ok(message) => {
                Numbered::read(&message);
                received += 1;
            }
            Err(RecvError::Closed) => return (received, consumer.missed_wakes()),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Pauses of several lengths, so that the other side is met at every stage of falling asleep.
const GAPS: [u64; 9] = [0, 0, 40, 0, 300, 0, 700, 100, 2_000];

fn each_strategy(mut scene: impl FnMut(WaitStrategy, bool)) {
    use WaitStrategy::{Park, Spin, SpinThenPark, SpinThenYield};
    for fences in [false, true] {
        for strategy in [Park, SpinThenPark, SpinThenYield, Spin] {
            scene(strategy, fences);
        }
    }
}

fn with_fences(builder: Builder, fences: bool) -> Builder {
    if fences { builder.fences() } else { builder }
}

fn each_strategy_brings_every_message_and_all_who_sleep_are_woken<S: Shape>() {
    // A number that three producers share.
    let messages = S::fewer(2_100) / 3 * 3;
    each_strategy(|strategy, fences| {
        let ring = with_fences(S::builder().capacity(4), fences).heap().unwrap();
        let producers = S::producers(&ring, 3);
        let each = messages / producers.len() as u64;
        let sending: Vec<_> = (0..)
            .zip(producers)
            .map(|(sender, mut producer)| {
                producer.set_wait_strategy(strategy);
                std::thread::spawn(move || send_all::<S>(producer, sender, each, &GAPS))
            })
            .collect();
        let receiving: Vec<_> = S::consumers(&ring, 3)
            .into_iter()
            .map(|mut consumer| {
                consumer.set_wait_strategy(strategy);
                std::thread::spawn(move || receive_all(&mut consumer))
            })
            .collect();
        let missed: u64 = sending.into_iter().map(|it| it.join().unwrap()).sum();
        ring.close();
        let received: Vec<_> = receiving.into_iter().map(|it| it.join().unwrap()).collect();
        assert_eq!(received.iter().map(|it| it.0).sum::<u64>(), messages);
        assert_eq!((missed, received.iter().map(|it| it.1).sum::<u64>()), (0, 0));
    });
}
on_each_shape!(each_strategy_brings_every_message_and_all_who_sleep_are_woken, needs(one_group));

/// A burst wakes as many consumers as it has work for, though it is one wake-up.
fn consumers_that_sleep_wake_each_other_for_a_burst<S: Shape>() {
    let ring = S::heap(8);
    let mut producer = S::producer(&ring);
    let at_work = std::sync::Barrier::new(4);
    std::thread::scope(|scope| {
        for mut consumer in S::consumers(&ring, 4) {
            consumer.set_wait_strategy(WaitStrategy::Park);
            let at_work = &at_work;
            scope.spawn(move || {
                for _ in 0..50 {
                    consumer.recv().unwrap();
                    // Nobody goes on before all four have a message.
                    at_work.wait();
                }
                assert_eq!(consumer.missed_wakes(), 0);
            });
        }
        for _ in 0..50 {
            asleep(&ring, Side::Consumer);
            assert_eq!(producer.send_batch(&[b"work"; 4], NORMAL), Ok(4));
            patiently("all is taken", || ring.is_empty().then_some(()));
        }
    });
}
on_each_shape!(consumers_that_sleep_wake_each_other_for_a_burst, needs(two_consumers, one_group));

#[test]
fn the_calls_on_the_ring_itself_wait_too() {
    let ring = std::sync::Arc::new(UltraFastRing::new(2));
    let receiving = {
        let ring = std::sync::Arc::clone(&ring);
        std::thread::spawn(move || {
            let mut buffer = [0; 40];
            let mut sum = 0;
            while let Ok(about) = ring.recv_into(&mut buffer) {
                sum += Numbered::read(&buffer[..about.size]).1;
            }
            sum
        })
    };
    for number in 0..100 {
        ring.send(Numbered::new(0, number).as_ref(), NORMAL).unwrap();
    }
    ring.close();
    assert_eq!(receiving.join().unwrap(), (0..100).sum());
}

fn nothing_in_time_is_said_to_be_so<S: Shape>() {
    for strategy in [WaitStrategy::Spin, WaitStrategy::SpinThenYield, WaitStrategy::SpinThenPark] {
        let ring = S::heap(1);
        let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
        producer.set_wait_strategy(strategy);
        consumer.set_wait_strategy(strategy);
        let soon = Duration::from_millis(20);
        assert_eq!(consumer.recv_timeout(soon).unwrap_err(), RecvError::TimedOut);
        let start = Instant::now();
        assert_eq!(consumer.recv_deadline(start + soon).unwrap_err(), RecvError::TimedOut);
        assert!(start.elapsed() >= soon, "it did not wait");
        producer.send_timeout(b"fits", NORMAL, soon).unwrap();
        let start = Instant::now();
        assert_eq!(producer.send_timeout(b"full", NORMAL, soon), Err(SendError::TimedOut));
        assert!(start.elapsed() >= soon, "it did not wait");
        // A moment that has passed still finds what is there.
        assert_eq!(&*consumer.recv_deadline(start).unwrap(), b"fits");
        assert_eq!(producer.send_deadline(b"room", NORMAL, start), Ok(()));
    }
}
on_each_shape!(nothing_in_time_is_said_to_be_so, needs(one_group));

fn closing_wakes_who_waits_and_lets_consumers_drain<S: Shape>() {
    let ring = &S::heap(2);
    let mut consumer = S::consumer(ring);
    std::thread::scope(|scope| {
        let receiving = scope.spawn(|| consumer.recv_timeout(LONG).unwrap_err());
        asleep(ring, Side::Consumer);
        ring.close();
        assert_eq!(receiving.join().unwrap(), RecvError::Closed);
    });
    ring.reopen();
    let mut producer = S::producer(ring);
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            [b"1", b"2", b"3"].map(|message| producer.send_timeout(message, NORMAL, LONG))
        });
        asleep(ring, Side::Producer);
        ring.close();
        assert_eq!(sending.join().unwrap(), [Ok(()), Ok(()), Err(SendError::Closed)]);
    });
    assert_eq!(&*consumer.recv().unwrap(), b"1");
    assert_eq!(&*consumer.recv().unwrap(), b"2");
    assert_eq!(consumer.recv().unwrap_err(), RecvError::Closed);
}
on_each_shape!(closing_wakes_who_waits_and_lets_consumers_drain, needs(one_group));

fn nothing_is_sent_to_a_closed_ring_and_a_new_producer_opens_it<S: Shape>() {
    let ring = S::heap(4);
    let (mut first, mut second) = (S::producer(&ring), S::producer(&ring));
    let mut consumer = S::consumer(&ring);
    second.send_fast(b"last", NORMAL).unwrap();
    first.close();
    assert!(ring.is_closed());
    assert_eq!(first.send_fast(b"late", NORMAL), Err(SendError::Closed));
    assert_eq!(second.send_fast(b"late", NORMAL), Err(SendError::Closed));
    assert_eq!(second.send_batch(&[b"late"], NORMAL), Err(SendError::Closed));
    assert_eq!(second.try_reserve(4, NORMAL).unwrap_err(), SendError::Closed);
    if !S::has_lanes() {
        assert_eq!(ring.send_fast(b"late", NORMAL), Err(SendError::Closed));
    }
    assert_eq!(ring.len(), 1);
    assert!(ring.examine().unwrap().is_empty(), "{:?}", ring.examine());
    assert_eq!(&*consumer.recv().unwrap(), b"last");
    assert_eq!(consumer.recv().unwrap_err(), RecvError::Closed);
    patiently("the end is found by calls that return at once", || {
        (consumer.try_recv().unwrap_err() == RecvError::Closed).then_some(())
    });
    let mut third = S::producer(&ring);
    assert!(!ring.is_closed());
    third.send_fast(b"anew", NORMAL).unwrap();
    second.send_fast(b"also", NORMAL).unwrap();
    assert_eq!(&*consumer.recv().unwrap(), b"anew");
    assert_eq!(&*consumer.recv().unwrap(), b"also");
}
on_each_shape!(
    nothing_is_sent_to_a_closed_ring_and_a_new_producer_opens_it,
    needs(two_producers, one_group)
);

fn an_exclusive_producer_sends_at_most_a_span_of_a_batch_into_a_ring_that_was_closed<S: Shape>() {
    let ring = S::heap(256);
    let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
    producer.send_fast(b"before", NORMAL).unwrap();
    consumer.close();
    assert_eq!(producer.send_batch(&[b"x"; 200], NORMAL), Ok(64));
    assert_eq!(producer.send_batch(&[b"x"; 200], NORMAL), Err(SendError::Closed));
    assert_eq!(consumer.try_iter().count(), 65);
}
on_each_shape!(
    an_exclusive_producer_sends_at_most_a_span_of_a_batch_into_a_ring_that_was_closed,
    needs(exclusive_lane, no_groups)
);

fn an_exclusive_producer_learns_that_its_consumer_has_closed_and_may_come_again<S: Shape>() {
    let ring = S::heap(4);
    let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
    consumer.close();
    let _ = producer.send_fast(b"may go", NORMAL);
    assert_eq!(producer.send_fast(b"late", NORMAL), Err(SendError::Closed));
    ring.reopen();
    producer.send_fast(b"anew", NORMAL).unwrap();
    producer.close();
    assert_eq!(producer.send_fast(b"late", NORMAL), Err(SendError::Closed));
    let mut left = Vec::new();
    while let Ok(message) = consumer.recv() {
        left.push(message.to_vec());
    }
    assert_eq!(left, [&b"may go"[..], b"anew"]);
    drop(producer);
    S::producer(&ring).send_fast(b"next stream", NORMAL).unwrap();
    assert_eq!(&*consumer.recv().unwrap(), b"next stream");
}
on_each_shape!(
    an_exclusive_producer_learns_that_its_consumer_has_closed_and_may_come_again,
    needs(exclusive_lane, no_groups)
);

fn the_last_producer_that_leaves_or_is_killed_is_told_from_one_that_is_silent<S: Shape>() {
    for killed in [false, true] {
        let directory = stage();
        let ring = S::of(at(&directory)).create(NAME).unwrap();
        let mut consumer = S::consumer(&ring);
        consumer.end_when_deserted(true);
        // Nobody has been here.
        let soon = Duration::from_millis(20);
        assert_eq!(consumer.recv_timeout(soon).unwrap_err(), RecvError::TimedOut);
        let builder = at(&directory);
        let orders = builder.create("orders").unwrap();
        let child = Child::start(|| {
            let mut producer = S::producer(&builder.open(NAME).unwrap());
            producer.send_fast(b"here", NORMAL).unwrap();
            let mut orders = builder.open("orders").unwrap().consumer().unwrap();
            orders.recv().unwrap();
            producer.send_fast(b"gone", NORMAL).unwrap();
        });
        assert_eq!(&*consumer.recv().unwrap(), b"here");
        assert_eq!(consumer.recv_timeout(soon).unwrap_err(), RecvError::TimedOut);
        assert_eq!((consumer.living_producers(), ring.living(Side::Producer)), (1, 1));
        if killed {
            child.kill();
        } else {
            orders.send_fast(b"go", NORMAL).unwrap();
            assert_eq!(&*consumer.recv().unwrap(), b"gone");
        }
        assert_eq!(consumer.recv().unwrap_err(), RecvError::Deserted);
        assert_eq!(ring.living(Side::Producer), 0);
        // The next one goes on with the stream, when the system has freed an exclusive side.
        let mut next = patiently("a producer can be had", || S::try_producer(&ring));
        next.send_fast(b"next", NORMAL).unwrap();
        assert_eq!(&*consumer.recv().unwrap(), b"next");
    }
}
on_each_shape!(
    the_last_producer_that_leaves_or_is_killed_is_told_from_one_that_is_silent,
    needs(one_group)
);

/// Waits for `readiness` until `arm` says what the handle is told.
fn poll_for<T, E: std::fmt::Debug>(
    readiness: &ultrafastring::Readiness,
    mut arm: impl FnMut() -> Result<T, E>,
) -> E {
    use rustix::event::{PollFd, PollFlags, poll};
    loop {
        match arm() {
            Ok(_) => {}
            Err(error) => return error,
        }
        poll(&mut [PollFd::new(readiness, PollFlags::IN)], None).unwrap();
        readiness.clear();
    }
}

/// What a consumer of an empty ring is told at the end of its wait.
fn consumers_end<S: Mode>(consumer: &mut Consumer<S>, by: By) -> RecvError {
    match by {
        By::Call => consumer.recv_timeout(LONG).unwrap_err(),
        By::Slices => loop {
            match consumer.wait(Some(Instant::now() + Duration::from_millis(20))) {
                Err(RecvError::TimedOut) => {}
                end => return end.unwrap_err(),
            }
        },
        By::Any => {
            assert_eq!(wait_any(&mut [consumer], Some(Instant::now() + LONG)), Some(0));
            consumer.recv_timeout(Duration::ZERO).unwrap_err()
        }
        By::Readiness => {
            let readiness = consumer.readiness().unwrap();
            poll_for(&readiness, || consumer.arm(&readiness))
        }
    }
}

/// What a producer of a full ring is told at the end of its wait.
fn producers_end<S: Mode>(producer: &mut Producer<S>, by: By) -> SendError {
    match by {
        By::Call => producer.send_timeout(b"more", NORMAL, LONG).unwrap_err(),
        By::Slices => loop {
            match producer.wait(NORMAL, Some(Instant::now() + Duration::from_millis(20))) {
                Err(SendError::TimedOut) => {}
                end => return end.unwrap_err(),
            }
        },
        By::Any => {
            assert_eq!(wait_any(&mut [producer], Some(Instant::now() + LONG)), Some(0));
            producer.send_timeout(b"more", NORMAL, Duration::ZERO).unwrap_err()
        }
        By::Readiness => {
            let readiness = producer.readiness().unwrap();
            poll_for(&readiness, || producer.arm(NORMAL, &readiness))
        }
    }
}

/// Producers come, send nothing and leave, or are killed: while nobody looks, and while the
/// consumer sleeps. That is a stream with nothing in it, and ends as any other.
fn a_producer_that_came_and_sent_nothing_has_been_and_its_stream_ends<S: Shape>() {
    for by in EACH_WAY {
        let directory = stage();
        let builder = S::of(at(&directory)).capacity(4);
        for killed in [false, true] {
            for looks in [false, true] {
                let name = format!("{by:?}-{killed}-{looks}");
                let ring = builder.create(&name).unwrap();
                let mut consumer = S::consumer(&ring);
                consumer.end_when_deserted(true);
                let soon = Duration::from_millis(5);
                assert_eq!(consumer.recv_timeout(soon).unwrap_err(), RecvError::TimedOut);
                let come_and_go = || {
                    let child = Child::start(|| {
                        let ring = builder.open(&name).unwrap();
                        let _producer = S::producer(&ring);
                        builder.create(&format!("{name}-is-here")).unwrap();
                        if killed {
                            loop {
                                std::thread::park();
                            }
                        }
                    });
                    patiently("the producer is here", || {
                        builder.open(&format!("{name}-is-here")).ok()
                    });
                    if killed {
                        child.kill();
                    } else {
                        child.finish();
                    }
                };
                let end = std::thread::scope(|scope| {
                    if looks {
                        let waiting = scope.spawn(|| consumers_end(&mut consumer, by));
                        asleep(&ring, Side::Consumer);
                        come_and_go();
                        waiting.join().unwrap()
                    } else {
                        come_and_go();
                        consumers_end(&mut consumer, by)
                    }
                });
                assert_eq!(end, RecvError::Deserted, "{name}");
            }
        }
    }
}
on_each_shape!(
    a_producer_that_came_and_sent_nothing_has_been_and_its_stream_ends,
    needs(one_group)
);

/// The other way round: consumers leave, or are killed, and leave a producer without room.
fn a_producer_that_asks_for_it_is_told_when_the_last_consumer_has_gone<S: Shape>() {
    for by in EACH_WAY {
        let directory = stage();
        let builder = S::of(at(&directory)).capacity(4);
        for killed in [false, true] {
            let name = format!("{by:?}-{killed}");
            let ring = builder.create(&name).unwrap();
            let orders = at(&directory).create(&format!("{name}-orders")).unwrap();
            let mut producer = S::producer(&ring);
            producer.end_when_deserted(true);
            fill(&mut producer);
            // Nobody has been here.
            let soon = Duration::from_millis(20);
            assert_eq!(producer.send_timeout(b"more", NORMAL, soon), Err(SendError::TimedOut));
            assert_eq!(producer.living_consumers(), 0);
            let child = Child::start(|| {
                let (ring, orders) = (
                    builder.open(&name).unwrap(),
                    builder.open(&format!("{name}-orders")).unwrap(),
                );
                let mut consumer = S::consumer(&ring);
                consumer.recv().unwrap();
                consumer.flush();
                let mut buffer = [0; 40];
                patiently("an order", || orders.recv_fast(&mut buffer).ok());
            });
            producer.send_timeout(b"room", NORMAL, LONG).unwrap();
            // One lives, and does nothing.
            assert_eq!(producer.send_timeout(b"more", NORMAL, soon), Err(SendError::TimedOut));
            assert_eq!(producer.living_consumers(), 1);
            let end = std::thread::scope(|scope| {
                let waiting = scope.spawn(|| producers_end(&mut producer, by));
                asleep(&ring, Side::Producer);
                if killed {
                    child.kill();
                } else {
                    orders.send_fast(b"go", NORMAL).unwrap();
                    child.finish();
                }
                waiting.join().unwrap()
            });
            assert_eq!(end, SendError::Deserted, "{name}");
            // Calls that return at once know nothing of it, and whoever comes next makes room.
            assert_eq!(producer.send_fast(b"more", NORMAL), Err(SendError::Full));
            S::consumer(&ring).recv().unwrap();
            producer.send(b"next", NORMAL).unwrap();
            assert_eq!(producers_end(&mut producer, by), SendError::Deserted);
        }
    }
}
on_each_shape!(
    a_producer_that_asks_for_it_is_told_when_the_last_consumer_has_gone,
    needs(one_group)
);

fn a_consumer_that_is_started_first_waits_for_the_stream_after_one_that_was_closed<S: Shape>() {
    EACH_WAY.into_iter().for_each(comes_between_runs::<S>);
}
on_each_shape!(
    a_consumer_that_is_started_first_waits_for_the_stream_after_one_that_was_closed,
    needs(one_group)
);

/// A consumer that comes between two runs of a program which closes its ring at its end.
fn comes_between_runs<S: Shape>(by: By) {
    let soon = Duration::from_millis(5);
    let ring = S::heap(4);
    S::producer(&ring).close();
    let mut consumer = S::consumer(&ring);
    assert_eq!(consumer.recv().unwrap_err(), RecvError::Closed);
    consumer.await_next_stream();
    assert_eq!(consumer.recv_timeout(soon).unwrap_err(), RecvError::TimedOut);
    for _ in 0..20 {
        assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty);
    }
    // It sleeps, and a stream comes, with one message or with none.
    for count in [1, 0, 1, 0] {
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                for _ in 0..count {
                    assert_eq!(&*consumer.recv_timeout(LONG).unwrap(), b"next");
                }
                let end = consumers_end(&mut consumer, by);
                consumer.await_next_stream();
                end
            });
            asleep(&ring, Side::Consumer);
            let mut producer = S::producer(&ring);
            for _ in 0..count {
                producer.send_fast(b"next", NORMAL).unwrap();
            }
            producer.close();
            assert_eq!(waiting.join().unwrap(), RecvError::Closed);
        });
        assert_eq!(consumer.recv_timeout(soon).unwrap_err(), RecvError::TimedOut);
    }
    // Nobody looks, and a stream comes and ends, with something in it or nothing.
    for count in [0, 1] {
        consumer.await_next_stream();
        let mut producer = S::producer(&ring);
        for _ in 0..count {
            producer.send_fast(b"next", NORMAL).unwrap();
        }
        producer.close();
        drop(producer);
        for _ in 0..count {
            assert_eq!(&*consumer.recv_timeout(LONG).unwrap(), b"next");
        }
        assert_eq!(consumers_end(&mut consumer, by), RecvError::Closed);
    }
    // A stream that is open is the next, and its end is told.
    let mut producer = S::producer(&ring);
    consumer.await_next_stream();
    producer.close();
    assert_eq!(consumers_end(&mut consumer, by), RecvError::Closed);
    drop(producer);
    // What is left of an old one is received, and then its end concerns who has received it.
    let mut producer = S::producer(&ring);
    producer.send_fast(b"left", NORMAL).unwrap();
    producer.close();
    let mut other = S::consumers_share().then(|| S::consumer(&ring));
    consumer.await_next_stream();
    if let Some(other) = &mut other {
        other.await_next_stream();
    }
    assert_eq!(&*consumer.recv_timeout(LONG).unwrap(), b"left");
    assert_eq!(consumers_end(&mut consumer, by), RecvError::Closed);
    let Some(mut other) = other else { return };
    assert_eq!(other.recv_timeout(soon).unwrap_err(), RecvError::TimedOut);
    // Whoever opens it by itself has opened a stream.
    ring.reopen();
    ring.close();
    assert_eq!(consumers_end(&mut other, by), RecvError::Closed);
}

/// Two that wait for the next stream by `wait_any` do not keep each other awake.
fn consumers_that_wait_for_the_next_stream_sleep_and_so_do_those_who_wait_to_be_told<S: Shape>() {
    let directory = stage();
    let builder = S::of(at(&directory));
    builder.create(NAME).unwrap().close();
    let children = [By::Any, By::Any, By::Slices, By::Readiness].map(|by| {
        Child::start(|| {
            let mut consumer = S::consumer(&builder.open(NAME).unwrap());
            consumer.await_next_stream();
            consumer.end_when_deserted(true);
            consumer_sleeps("a closed ring", by, WaitStrategy::Park, &mut consumer);
        })
    });
    builder.create("full").unwrap();
    let others = EACH_WAY.map(|by| {
        Child::start(|| {
            let mut producer = S::producer(&builder.open("full").unwrap());
            producer.end_when_deserted(true);
            producer_sleeps("nobody has been here", by, WaitStrategy::Park, &mut producer);
        })
    });
    children.into_iter().chain(others).for_each(Child::finish);
}
on_each_shape!(
    consumers_that_wait_for_the_next_stream_sleep_and_so_do_those_who_wait_to_be_told,
    needs(several_of_each, one_group, quick)
);

/// A consumer is killed that holds what the others wait for: whoever sleeps finds it.
fn sleepers_go_on_when_a_consumer_dies_that_held_all_credit<S: Shape>() {
    let directory = stage();
    let builder = S::of(at(&directory)).capacity(2);
    let ring = builder.create(NAME).unwrap();
    let mut producer = S::producer(&ring);
    assert_eq!(producer.send_batch(&[b"one", b"two"], NORMAL), Ok(2));
    let child = Child::live_after(|| {
        let mut consumer = S::consumer(&builder.open(NAME).unwrap());
        std::mem::forget(consumer.try_borrow().unwrap());
        consumer
    });
    let mut consumer = S::consumer(&ring);
    consumer.set_wait_strategy(WaitStrategy::Park);
    producer.set_wait_strategy(WaitStrategy::Park);
    assert_eq!(&*consumer.recv().unwrap(), b"two");
    std::thread::scope(|scope| {
        let receiving = scope.spawn(|| {
            let again = consumer.recv_timeout(LONG).unwrap();
            assert!(again.is_redelivered() && *again == *b"one");
            consumer.recv_timeout(LONG).unwrap().to_vec()
        });
        let sending = scope.spawn(|| producer.send_timeout(b"three", NORMAL, LONG));
        asleep(&ring, Side::Consumer);
        asleep(&ring, Side::Producer);
        child.kill();
        sending.join().unwrap().unwrap();
        assert_eq!(receiving.join().unwrap(), b"three");
    });
}
on_each_shape!(
    sleepers_go_on_when_a_consumer_dies_that_held_all_credit,
    needs(two_consumers, one_group)
);

/// Where what the dead held is dropped, the producer that waits for it needs no consumer.
fn a_producer_that_sleeps_takes_back_itself_what_a_dead_shared_consumer_held<S: Shape>() {
    let directory = stage();
    let policy = S::of(at(&directory)).redelivery(ultrafastring::Redelivery::Discard);
    let builder = policy.capacity(1);
    let ring = builder.create(NAME).unwrap();
    let mut producer = S::producer(&ring);
    producer.send_fast(b"held", NORMAL).unwrap();
    let child = Child::live_after(|| {
        let mut consumer = S::consumer(&builder.open(NAME).unwrap());
        std::mem::forget(consumer.try_borrow().unwrap());
        consumer
    });
    let sending = std::thread::spawn(move || producer.send_timeout(b"next", NORMAL, LONG));
    asleep(&ring, Side::Producer);
    child.kill();
    sending.join().unwrap().unwrap();
    assert_eq!(ring.stats().discarded, 1);
}
on_each_shape!(
    a_producer_that_sleeps_takes_back_itself_what_a_dead_shared_consumer_held,
    needs(shared_consumer, one_group)
);

/// A consumer has released and not granted, and is away: the producer looks for itself.
fn a_producer_that_sleeps_finds_what_was_released_and_not_granted<S: Shape>() {
    let builder = S::builder().capacity(64).timestamps(ultrafastring::Timestamps::Off);
    let ring = builder.heap().unwrap();
    let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
    let take = |consumer: &mut Consumer<_>, count| {
        for _ in 0..count {
            consumer.try_recv().unwrap();
        }
    };
    // After a fast lap a consumer grants once in eight.
    fill(&mut producer);
    take(&mut consumer, 64);
    consumer.flush();
    fill(&mut producer);
    take(&mut consumer, 1);
    producer.send_timeout(b"room", NORMAL, LONG).unwrap();
}
on_each_shape!(a_producer_that_sleeps_finds_what_was_released_and_not_granted, needs(one_group));

/// One thread receives from several rings, the messages of which come in an order that follows
/// from its own answers: each wait has exactly one end.
fn one_thread_waits_for_several_rings_and_is_woken_by_each<S: Shape>() {
    const RINGS: usize = 5;
    for strategy in [WaitStrategy::Park, WaitStrategy::SpinThenPark] {
        let rings: Vec<_> = (0..RINGS).map(|_| S::heap(2)).collect();
        let answers = UltraFastRing::new(1);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut answer = answers.consumer().unwrap();
                answer.set_wait_strategy(strategy);
                let mut producers: Vec<_> = rings.iter().map(S::producer).collect();
                for number in 0..S::fewer(1_000) {
                    let place = (number * number % 7) as usize % RINGS;
                    producers[place].send_fast(&number.to_le_bytes(), NORMAL).unwrap();
                    let answered = answer.recv_timeout(LONG).unwrap();
                    assert_eq!(*answered, number.to_le_bytes());
                }
                assert_eq!(answer.missed_wakes(), 0);
                rings[3].close();
            });
            let mut consumers: Vec<_> = rings.iter().map(S::consumer).collect();
            consumers.iter_mut().for_each(|it| it.set_wait_strategy(strategy));
            let mut received = 0u64;
            loop {
                let mut handles: Vec<_> =
                    consumers.iter_mut().map(|it| it as &mut dyn ultrafastring::Wait).collect();
                let ready = wait_any(&mut handles, Some(Instant::now() + LONG)).unwrap();
                match consumers[ready].recv_timeout(Duration::ZERO) {
                    Ok(message) => {
                        assert_eq!(*message, received.to_le_bytes());
                        answers.send_fast(&message, NORMAL).unwrap();
                        received += 1;
                    }
                    Err(error) => {
                        assert_eq!((ready, error), (3, RecvError::Closed));
                        break;
                    }
                }
            }
            assert_eq!(received, S::fewer(1_000));
        });
    }
}
on_each_shape!(one_thread_waits_for_several_rings_and_is_woken_by_each, needs(one_group));

fn a_wait_for_several_handles_of_both_sides_ends_by_room_by_time_or_not<S: Shape>() {
    let (full, empty) = (S::heap(1), S::heap(1));
    let (mut producer, mut consumer) = (S::producer(&full), S::consumer(&empty));
    producer.send_fast(b"full", NORMAL).unwrap();
    assert_eq!(producer.send_fast(b"next", NORMAL), Err(SendError::Full));
    let soon = Some(Instant::now() + Duration::from_millis(20));
    assert_eq!(wait_any(&mut [&mut consumer, &mut producer], soon), None);
    assert!(Some(Instant::now()) >= soon, "it did not wait");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| wait_any(&mut [&mut consumer, &mut producer], None));
        asleep(&full, Side::Producer);
        S::consumer(&full).try_recv().unwrap();
        assert_eq!(waiting.join().unwrap(), Some(1));
    });
}
on_each_shape!(
    a_wait_for_several_handles_of_both_sides_ends_by_room_by_time_or_not,
    needs(one_group)
);

/// How long a waiter is watched.
const WATCHED: Duration = Duration::from_secs(3);

/// What a waiter may use of a core meanwhile: 0.5 %.
const ALLOWED: Duration = Duration::from_micros(15_000);

/// Waits for [`WATCHED`] in vain, and counts the time of the processor that it takes.
#[track_caller]
fn assert_sleeps(what: &str, wait: impl FnOnce(Instant)) {
    let before = cpu_time();
    let start = Instant::now();
    wait(start + WATCHED);
    assert!(start.elapsed() >= WATCHED, "{what}: it did not wait");
    let used = cpu_time() - before;
    eprintln!("{what}: {used:?} of {WATCHED:?}");
    assert!(used <= ALLOWED, "{what}: waiting took {used:?} of {WATCHED:?}");
}

/// How a handle waits, by the calls that wait.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    /// `recv_deadline`, `send_deadline`.
    Call,
    /// `wait`, again and again with short time-outs, as a program does that looks for signals.
    Slices,
    Any,
    Readiness,
}

const EACH_WAY: [By; 4] = [By::Call, By::Slices, By::Any, By::Readiness];

/// The same for a descriptor: polls until `until`, unless `arm` says that the handle can go on.
fn poll_until<E: std::fmt::Debug>(
    readiness: &ultrafastring::Readiness,
    until: Instant,
    mut arm: impl FnMut() -> Result<bool, E>,
) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    loop {
        assert!(!arm().unwrap(), "there was something after all");
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        poll(&mut [PollFd::new(readiness, PollFlags::IN)], Some(&left)).unwrap();
        readiness.clear();
    }
}

fn slices(until: Instant, mut wait: impl FnMut(Instant)) {
    while Instant::now() < until {
        wait(until.min(Instant::now() + Duration::from_millis(100)));
    }
}

fn consumer_sleeps<S: Mode>(
    what: &str,
    by: By,
    strategy: WaitStrategy,
    consumer: &mut Consumer<S>,
) {
    consumer.set_wait_strategy(strategy);
    assert_sleeps(&format!("{what}, {by:?}, {strategy:?}: a consumer"), |until| match by {
        By::Call => assert_eq!(consumer.recv_deadline(until).unwrap_err(), RecvError::TimedOut),
        By::Slices => slices(until, |until| {
            assert_eq!(consumer.wait(Some(until)), Err(RecvError::TimedOut));
        }),
        By::Any => assert_eq!(wait_any(&mut [consumer], Some(until)), None),
        By::Readiness => {
            let readiness = consumer.readiness().unwrap();
            poll_until(&readiness, until, || consumer.arm(&readiness));
        }
    });
}

/// Sends until there is no room before it waits.
fn producer_sleeps<S: Mode>(
    what: &str,
    by: By,
    strategy: WaitStrategy,
    producer: &mut Producer<S>,
) {
    fill(producer);
    producer.set_wait_strategy(strategy);
    assert_sleeps(&format!("{what}, {by:?}, {strategy:?}: a producer"), |until| match by {
        By::Call => {
            assert_eq!(producer.send_deadline(b"more", NORMAL, until), Err(SendError::TimedOut));
        }
        By::Slices => slices(until, |until| {
            assert_eq!(producer.wait(NORMAL, Some(until)), Err(SendError::TimedOut));
        }),
        By::Any => assert_eq!(wait_any(&mut [producer], Some(until)), None),
        By::Readiness => {
            let readiness = producer.readiness().unwrap();
            poll_until(&readiness, until, || producer.arm(NORMAL, &readiness));
        }
    });
}

fn fill<S: Mode>(producer: &mut Producer<S>) {
    while producer.send_fast(b"x", NORMAL).is_ok() {}
}

/// A process for each way of waiting, all at once: in none of them do waiters wake each other, or
/// themselves, for nothing.
fn whoever_sleeps_takes_next_to_no_time_of_the_processor<S: Shape>() {
    use WaitStrategy::{Park, SpinThenPark};
    let directory = stage();
    let mut children = Vec::new();
    for fences in [false, true] {
        let builder = with_fences(S::of(at(&directory)).capacity(8), fences);
        for (number, by) in EACH_WAY.into_iter().enumerate() {
            let strategy = if (number % 2 == 0) == fences { SpinThenPark } else { Park };
            children.push(Child::start(|| {
                let name = |what: &str| format!("{what}-{by:?}-{fences}");
                let full = builder.create(&name("full")).unwrap();
                let empty = builder.create(&name("empty")).unwrap();
                let what = if fences { "with fences" } else { "" };
                producer_sleeps(what, by, strategy, &mut S::producer(&full));
                consumer_sleeps(what, by, strategy, &mut S::consumer(&empty));
            }));
        }
    }
    children.into_iter().for_each(Child::finish);
}
on_each_shape!(whoever_sleeps_takes_next_to_no_time_of_the_processor, needs(one_group, quick));

/// Of two consumers one holds the oldest message for long, and the other looks for more now and
/// then, both of them alive: the producer sleeps for all that, and is woken when there is room.
fn a_producer_sleeps_while_a_consumer_is_slow_and_alive_and_another_looks_around<S: Shape>() {
    use WaitStrategy::{Park, SpinThenPark};
    let directory = stage();
    let builder = S::of(at(&directory)).capacity(8);
    let scenes = EACH_WAY.into_iter().zip([Park, SpinThenPark, Park, SpinThenPark]);
    let scenes: Vec<_> = scenes
        .map(|(by, strategy)| {
            let name = format!("{by:?}");
            let ring = builder.create(&name).unwrap();
            let (mut slow, mut quick) = (S::consumer(&ring), S::consumer(&ring));
            fill(&mut S::producer(&ring));
            std::mem::forget(slow.try_borrow().unwrap());
            for _ in 1..8 {
                quick.try_recv().unwrap();
            }
            let builder = builder.clone();
            // There once the child has been watched, which may begin late.
            let watched = directory.path().join(format!("{by:?} was watched"));
            let child = Child::start(|| {
                let mut producer = S::producer(&builder.open(&name).unwrap());
                producer_sleeps("the oldest is held", by, strategy, &mut producer);
                std::fs::write(&watched, "").unwrap();
                producer.set_wait_strategy(strategy);
                producer.send(b"room", NORMAL).unwrap();
                assert_eq!(producer.missed_wakes(), 0);
            });
            (ring, slow, quick, child, watched)
        })
        .collect();
    std::thread::scope(|scope| {
        for (ring, mut slow, mut quick, child, watched) in scenes {
            scope.spawn(move || {
                quick.set_wait_strategy(Park);
                patiently("the producer was watched", || {
                    let soon = Duration::from_millis(20);
                    assert_eq!(quick.recv_timeout(soon).unwrap_err(), RecvError::TimedOut);
                    quick.flush();
                    watched.exists().then_some(())
                });
                asleep(&ring, Side::Producer);
                // Releases what it has forgotten.
                slow.flush();
                child.finish();
            });
        }
    });
}
on_each_shape!(
    a_producer_sleeps_while_a_consumer_is_slow_and_alive_and_another_looks_around,
    needs(two_consumers, one_group, quick)
);

/// The kernel itself checks: a process that is busy is killed by its first system call.
fn a_busy_side_makes_no_system_call_though_the_other_may_sleep<S: Shape>() {
    let count = S::fewer(30_000);
    let directory = stage();
    let builder = S::of(at(&directory)).capacity(4_096);
    for sender in [true, false] {
        let ring = builder.create(NAME).unwrap();
        let child = if sender {
            Child::start(|| {
                let mut producer = S::producer(&builder.open(NAME).unwrap());
                producer.set_wait_strategy(WaitStrategy::Spin);
                forbid_all_but(libc::SYS_exit_group);
                for number in 0..count {
                    producer.send(&number.to_le_bytes(), NORMAL).unwrap();
                }
                // SAFETY: ends the process; the handle's locks end with it.
                unsafe { libc::_exit(0) };
            })
        } else {
            Child::start(|| {
                let mut consumer = S::consumer(&builder.open(NAME).unwrap());
                consumer.set_wait_strategy(WaitStrategy::Spin);
                forbid_all_but(libc::SYS_exit_group);
                for number in 0..count {
                    assert_eq!(*consumer.recv().unwrap(), number.to_le_bytes());
                }
                // SAFETY: as above.
                unsafe { libc::_exit(0) };
            })
        };
        // This side does not sleep either; that it may is what the other must not pay for.
        if sender {
            let mut consumer = S::consumer(&ring);
            consumer.set_wait_strategy(WaitStrategy::Spin);
            for number in 0..count {
                assert_eq!(*consumer.recv().unwrap(), number.to_le_bytes());
            }
        } else {
            let mut producer = S::producer(&ring);
            producer.set_wait_strategy(WaitStrategy::Spin);
            for number in 0..count {
                producer.send(&number.to_le_bytes(), NORMAL).unwrap();
            }
        }
        child.finish();
        at(&directory).remove(NAME).unwrap();
    }
}
// A shared side looks whether whoever is in its way lives, by a system call.
on_each_shape!(
    a_busy_side_makes_no_system_call_though_the_other_may_sleep,
    needs(exclusive_sides, one_group)
);

/// Messages there and back between two processes, each of which sleeps until it is woken, or goes
/// to sleep just when it would be: every one is a decision on both sides. None may be missed.
fn a_stress_of_decisions_to_sleep_and_to_wake_between_processes_misses_none<S: Shape>() {
    let wanted: u64 = std::env::var("UFR_WAKES").map_or(60_000, |count| count.parse().unwrap());
    // So many of all shapes together.
    let wanted = wanted / shapes::NAMES.len() as u64;
    let directory = stage();
    let builder = S::of(at(&directory)).capacity(2);
    let (there, back) = (builder.create("there").unwrap(), builder.create("back").unwrap());
    let trips = wanted / 4;
    let child = Child::start(|| {
        let mut consumer = S::consumer(&builder.open("there").unwrap());
        let mut producer = S::producer(&builder.open("back").unwrap());
        let mut number = 0u64;
        loop {
            consumer.set_wait_strategy(strategy(number / 5));
            producer.set_wait_strategy(strategy(number / 3));
            match consumer.recv() {
                Ok(message) => producer.send(&message, NORMAL).unwrap(),
                Err(RecvError::Closed) => break,
                Err(error) => panic!("{error}"),
            }
            dawdle(number.wrapping_mul(7));
            number += 1;
        }
        assert_eq!((consumer.missed_wakes(), producer.missed_wakes()), (0, 0));
    });
    let mut producer = S::producer(&there);
    let mut consumer = S::consumer(&back);
    let started = Instant::now();
    // Up to four are on their way, so that both sides also wait for room.
    let (mut sent, mut received) = (0u64, 0u64);
    while received < trips {
        consumer.set_wait_strategy(strategy(received));
        producer.set_wait_strategy(strategy(sent / 2));
        let ahead = 1 + received % 4;
        while sent < trips && sent - received < ahead {
            producer.send(&sent.to_le_bytes(), NORMAL).unwrap();
            sent += 1;
        }
        assert_eq!(*consumer.recv().unwrap(), received.to_le_bytes());
        received += 1;
        dawdle(received);
    }
    producer.close();
    child.finish();
    assert_eq!((consumer.missed_wakes(), producer.missed_wakes()), (0, 0));
    println!("{} decisions in {:?}, none missed", 4 * trips, started.elapsed());
}
on_each_shape!(
    a_stress_of_decisions_to_sleep_and_to_wake_between_processes_misses_none,
    needs(one_group)
);

fn strategy(turn: u64) -> WaitStrategy {
    if turn % 7 < 5 { WaitStrategy::Park } else { WaitStrategy::SpinThenPark }
}

/// Is busy for a time that differs.
fn dawdle(turn: u64) {
    // A step of Knuth's generator.
    let mixed = turn.wrapping_mul(6_364_136_223_846_793_005) >> 56;
    for _ in 0..mixed.saturating_sub(128) {
        std::hint::spin_loop();
    }
}

/// What this thread has had of the processors.
fn thread_time() -> Duration {
    // SAFETY: all zeros are a value of it, which the call below overwrites.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: `time` is written and nothing else.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn who_waits_only_for_the_last_consumer_to_leave_is_not_woken_by_grants() {
    let ring = UltraFastRing::new(8);
    let (mut watcher, mut producer) = (ring.producer().unwrap(), ring.producer().unwrap());
    watcher.set_wait_strategy(WaitStrategy::Park);
    let mut consumer = ring.consumer().unwrap();
    let stream = Duration::from_millis(300);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            assert_eq!(watcher.wait_deserted(Some(Instant::now() + LONG)), Ok(()));
            thread_time()
        });
        let end = Instant::now() + stream;
        while Instant::now() < end {
            producer.send(b"one of many", NORMAL).unwrap();
            consumer.recv().unwrap();
            assert!(!ring.is_asleep(Side::Producer), "grants look for whoever sleeps");
        }
        assert!(!waiting.is_finished());
        drop(consumer);
        let took = waiting.join().unwrap();
        assert!(took < stream / 10, "{took:?} of the processor while {stream:?} passed");
    });
}

#[test]
fn who_waits_only_for_the_last_consumer_to_leave_is_woken_by_that() {
    let soon = LONGEST_PARK / 3;
    let woken_soon = || {
        let ring = UltraFastRing::new(8);
        let mut watcher = ring.producer().unwrap();
        watcher.set_wait_strategy(WaitStrategy::Park);
        let consumer = ring.consumer().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                watcher.wait_deserted(None).unwrap();
                Instant::now()
            });
            std::thread::sleep(soon / 3);
            let left = Instant::now();
            drop(consumer);
            waiting.join().unwrap().saturating_duration_since(left) < soon
        })
    };
    // The machine may be late itself, but not each time.
    assert!((0..8).filter(|_| woken_soon()).count() >= 6);
}
