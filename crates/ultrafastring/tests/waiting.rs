//! Waiting: parking, waking, closing, running out of time, between threads and between processes.
//!
//! What a lost wake-up would cost is [`LONGEST_PARK`](ultrafastring::LONGEST_PARK), and a handle
//! counts it (`missed_wakes`): so these tests see what would otherwise be a delay.
//!
//! `UFR_WAKES=100000000 cargo test --release -p ultrafastring --test waiting stress -- --nocapture`
//! decides as often.

#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod common;

use std::time::{Duration, Instant};

use common::{Child, Numbered, patiently, stage};
use tempfile::TempDir;
use ultrafastring::{
    Builder, Consumer, Mode, PriorityClass, Producer, RecvError, SendError, Side, UltraFastRing,
    WaitStrategy, wait_any,
};

const NORMAL: PriorityClass = PriorityClass::Normal;
const NAME: &str = "waiting";

/// Longer than any test waits for what comes at once.
const LONG: Duration = Duration::from_secs(120);

fn at(directory: &TempDir) -> Builder {
    Builder::new().directory(directory.path())
}

fn exclusive() -> Builder {
    Builder::new().exclusive_producer().exclusive_consumer()
}

fn asleep(ring: &UltraFastRing, side: Side) {
    patiently("somebody sleeps", || ring.is_asleep(side).then_some(()));
}

/// Sends all of `count`, and lets the other side fall asleep in between now and then.
fn send_all<S: Mode>(mut producer: Producer<S>, sender: u32, count: u64, gaps: &[u64]) -> u64 {
    for number in 0..count {
        producer.send_blocking(Numbered::new(sender, number).as_ref(), NORMAL).unwrap();
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
        match consumer.recv_blocking() {
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

#[test]
fn each_strategy_brings_every_message_between_exclusive_sides_and_is_woken_for_each() {
    each_strategy(|strategy, fences| {
        let ring = with_fences(exclusive().capacity(4), fences).heap().unwrap();
        let mut producer = ring.exclusive_producer().unwrap();
        let mut consumer = ring.exclusive_consumer().unwrap();
        producer.set_wait_strategy(strategy);
        consumer.set_wait_strategy(strategy);
        let sending = std::thread::spawn(move || send_all(producer, 0, 2_000, &GAPS));
        let received = std::thread::spawn(move || receive_all(&mut consumer));
        assert_eq!(sending.join().unwrap(), 0, "wakes of the producer were missed");
        ring.close();
        assert_eq!(received.join().unwrap(), (2_000, 0));
    });
}

#[test]
fn each_strategy_brings_every_message_between_shared_sides_and_all_are_woken() {
    each_strategy(|strategy, fences| {
        let ring = with_fences(Builder::new().capacity(4), fences).heap().unwrap();
        let sending: Vec<_> = (0..3)
            .map(|sender| {
                let mut producer = ring.producer().unwrap();
                producer.set_wait_strategy(strategy);
                std::thread::spawn(move || send_all(producer, sender, 700, &GAPS))
            })
            .collect();
        let receiving: Vec<_> = (0..3)
            .map(|_| {
                let mut consumer = ring.consumer().unwrap();
                consumer.set_wait_strategy(strategy);
                std::thread::spawn(move || receive_all(&mut consumer))
            })
            .collect();
        let missed: u64 = sending.into_iter().map(|it| it.join().unwrap()).sum();
        ring.close();
        let received: Vec<_> = receiving.into_iter().map(|it| it.join().unwrap()).collect();
        assert_eq!(received.iter().map(|it| it.0).sum::<u64>(), 2_100);
        assert_eq!((missed, received.iter().map(|it| it.1).sum::<u64>()), (0, 0));
    });
}

/// A burst wakes as many consumers as it has work for, though the bell is rung once.
#[test]
fn consumers_that_sleep_wake_each_other_for_a_burst() {
    let ring = Builder::new().capacity(8).heap().unwrap();
    let mut producer = ring.producer().unwrap();
    let at_work = std::sync::Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let mut consumer = ring.consumer().unwrap();
            consumer.set_wait_strategy(WaitStrategy::Park);
            let at_work = &at_work;
            scope.spawn(move || {
                for _ in 0..50 {
                    consumer.recv_blocking().unwrap();
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

#[test]
fn the_calls_on_the_ring_itself_wait_too() {
    let ring = std::sync::Arc::new(UltraFastRing::new(2));
    let receiving = {
        let ring = std::sync::Arc::clone(&ring);
        std::thread::spawn(move || {
            let mut buffer = [0; 40];
            let mut sum = 0;
            while let Ok((size, ..)) = ring.recv_blocking(&mut buffer) {
                sum += Numbered::read(&buffer[..size]).1;
            }
            sum
        })
    };
    for number in 0..100 {
        ring.send_blocking(Numbered::new(0, number).as_ref(), NORMAL).unwrap();
    }
    ring.close();
    assert_eq!(receiving.join().unwrap(), (0..100).sum());
}

#[test]
fn nothing_in_time_is_said_to_be_so() {
    for strategy in [WaitStrategy::Spin, WaitStrategy::SpinThenYield, WaitStrategy::SpinThenPark] {
        let ring = UltraFastRing::new(1);
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
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

/// Closes `ring` of two slots while a consumer sleeps, and while a producer does; then drains it.
fn close_and_drain<P: Mode, C: Mode>(
    ring: &UltraFastRing,
    take_producer: fn(&UltraFastRing) -> Producer<P>,
    mut consumer: Consumer<C>,
) {
    std::thread::scope(|scope| {
        let receiving = scope.spawn(|| consumer.recv_timeout(LONG).unwrap_err());
        asleep(ring, Side::Consumer);
        ring.close();
        assert_eq!(receiving.join().unwrap(), RecvError::Closed);
    });
    ring.reopen();
    let mut producer = take_producer(ring);
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            [b"1", b"2", b"3"].map(|message| producer.send_timeout(message, NORMAL, LONG))
        });
        asleep(ring, Side::Producer);
        ring.close();
        assert_eq!(sending.join().unwrap(), [Ok(()), Ok(()), Err(SendError::Closed)]);
    });
    assert_eq!(&*consumer.recv_blocking().unwrap(), b"1");
    assert_eq!(&*consumer.recv_blocking().unwrap(), b"2");
    assert_eq!(consumer.recv_blocking().unwrap_err(), RecvError::Closed);
}

#[test]
fn closing_wakes_who_waits_and_lets_consumers_drain() {
    let ring = UltraFastRing::new(2);
    close_and_drain(&ring, |ring| ring.producer().unwrap(), ring.consumer().unwrap());
    let ring = exclusive().capacity(2).heap().unwrap();
    let consumer = ring.exclusive_consumer().unwrap();
    close_and_drain(&ring, |ring| ring.exclusive_producer().unwrap(), consumer);
}

#[test]
fn nothing_is_sent_to_a_closed_ring_and_a_new_producer_opens_it() {
    let ring = UltraFastRing::new(4);
    let (mut first, mut second) = (ring.producer().unwrap(), ring.producer().unwrap());
    let mut consumer = ring.consumer().unwrap();
    second.send_fast(b"last", NORMAL).unwrap();
    first.close();
    assert!(ring.is_closed());
    assert_eq!(first.send_fast(b"late", NORMAL), Err(SendError::Closed));
    assert_eq!(second.send_fast(b"late", NORMAL), Err(SendError::Closed));
    assert_eq!(second.send_batch(&[b"late"], NORMAL), Err(SendError::Closed));
    assert_eq!(second.reserve(4, NORMAL).unwrap_err(), SendError::Closed);
    assert_eq!(ring.send_fast(b"late", NORMAL), Err(SendError::Closed));
    assert_eq!(ring.len(), 1);
    assert!(ring.examine().unwrap().is_empty(), "{:?}", ring.examine());
    assert_eq!(&*consumer.recv_blocking().unwrap(), b"last");
    assert_eq!(consumer.recv_blocking().unwrap_err(), RecvError::Closed);
    patiently("the end is found by calls that return at once", || {
        (consumer.try_recv().unwrap_err() == RecvError::Closed).then_some(())
    });
    let mut third = ring.producer().unwrap();
    assert!(!ring.is_closed());
    third.send_fast(b"anew", NORMAL).unwrap();
    second.send_fast(b"also", NORMAL).unwrap();
    assert_eq!(&*consumer.recv_blocking().unwrap(), b"anew");
    assert_eq!(&*consumer.recv_blocking().unwrap(), b"also");
}

#[test]
fn an_exclusive_producer_sends_at_most_a_span_of_a_batch_into_a_ring_that_was_closed() {
    let ring = Builder::new().capacity(256).exclusive_producer().heap().unwrap();
    let (mut producer, mut consumer) =
        (ring.exclusive_producer().unwrap(), ring.consumer().unwrap());
    producer.send_fast(b"before", NORMAL).unwrap();
    consumer.close();
    assert_eq!(producer.send_batch(&[b"x"; 200], NORMAL), Ok(64));
    assert_eq!(producer.send_batch(&[b"x"; 200], NORMAL), Err(SendError::Closed));
    assert_eq!(consumer.try_iter().count(), 65);
}

#[test]
fn an_exclusive_producer_learns_that_its_consumer_has_closed_and_may_come_again() {
    let ring = exclusive().capacity(4).heap().unwrap();
    let mut producer = ring.exclusive_producer().unwrap();
    let mut consumer = ring.exclusive_consumer().unwrap();
    consumer.close();
    let _ = producer.send_fast(b"may go", NORMAL);
    assert_eq!(producer.send_fast(b"late", NORMAL), Err(SendError::Closed));
    ring.reopen();
    producer.send_fast(b"anew", NORMAL).unwrap();
    producer.close();
    assert_eq!(producer.send_fast(b"late", NORMAL), Err(SendError::Closed));
    let mut left = Vec::new();
    while let Ok(message) = consumer.recv_blocking() {
        left.push(message.to_vec());
    }
    assert_eq!(left, [&b"may go"[..], b"anew"]);
    drop(producer);
    ring.exclusive_producer().unwrap().send_fast(b"next stream", NORMAL).unwrap();
    assert_eq!(&*consumer.recv_blocking().unwrap(), b"next stream");
}

#[test]
fn the_last_producer_that_leaves_or_is_killed_is_told_from_one_that_is_silent() {
    for killed in [false, true] {
        let directory = stage();
        let ring = at(&directory).create(NAME).unwrap();
        let mut consumer = ring.consumer().unwrap();
        consumer.end_when_deserted(true);
        // Nobody has been here.
        let soon = Duration::from_millis(20);
        assert_eq!(consumer.recv_timeout(soon).unwrap_err(), RecvError::TimedOut);
        let builder = at(&directory);
        let orders = builder.create("orders").unwrap();
        let child = Child::start(|| {
            let mut producer = builder.open(NAME).unwrap().producer().unwrap();
            producer.send_fast(b"here", NORMAL).unwrap();
            let mut orders = builder.open("orders").unwrap().consumer().unwrap();
            orders.recv_blocking().unwrap();
            producer.send_fast(b"gone", NORMAL).unwrap();
        });
        assert_eq!(&*consumer.recv_blocking().unwrap(), b"here");
        assert_eq!(consumer.recv_timeout(soon).unwrap_err(), RecvError::TimedOut);
        assert_eq!((consumer.living_producers(), ring.living(Side::Producer)), (1, 1));
        if killed {
            child.kill();
        } else {
            orders.send_fast(b"go", NORMAL).unwrap();
            assert_eq!(&*consumer.recv_blocking().unwrap(), b"gone");
        }
        assert_eq!(consumer.recv_blocking().unwrap_err(), RecvError::Deserted);
        assert_eq!(ring.living(Side::Producer), 0);
        // The next one goes on with the stream.
        ring.producer().unwrap().send_fast(b"next", NORMAL).unwrap();
        assert_eq!(&*consumer.recv_blocking().unwrap(), b"next");
    }
}

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

/// Producers come, send nothing and leave, or are killed: while nobody looks, and while the consumer
/// sleeps. That is a stream with nothing in it, and ends as any other.
#[test]
fn a_producer_that_came_and_sent_nothing_has_been_and_its_stream_ends() {
    for (number, by) in [By::Call, By::Slices, By::Any, By::Readiness].into_iter().enumerate() {
        let directory = stage();
        let builder = at(&directory).capacity(4);
        let builder = if number % 2 == 0 { builder } else { builder.exclusive_producer() };
        for killed in [false, true] {
            for looks in [false, true] {
                let name = format!("{by:?}-{killed}-{looks}");
                let ring = builder.create(&name).unwrap();
                let mut consumer = ring.consumer().unwrap();
                consumer.end_when_deserted(true);
                let soon = Duration::from_millis(5);
                assert_eq!(consumer.recv_timeout(soon).unwrap_err(), RecvError::TimedOut);
                let come_and_go = || {
                    let child = Child::start(|| {
                        let ring = builder.open(&name).unwrap();
                        let here = || {
                            builder.create(&format!("{name}-is-here")).unwrap();
                            if killed {
                                loop {
                                    std::thread::park();
                                }
                            }
                        };
                        if ring.producer_side() == ultrafastring::Sharing::Shared {
                            let _producer = ring.producer().unwrap();
                            here();
                        } else {
                            let _producer = ring.exclusive_producer().unwrap();
                            here();
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

/// The other way round: consumers leave, or are killed, and leave a producer without room.
#[test]
fn a_producer_that_asks_for_it_is_told_when_the_last_consumer_has_gone() {
    for (number, by) in [By::Call, By::Slices, By::Any, By::Readiness].into_iter().enumerate() {
        let directory = stage();
        let builder = at(&directory).capacity(4);
        let builder = if number % 2 == 0 { builder } else { builder.exclusive_consumer() };
        for killed in [false, true] {
            let name = format!("{by:?}-{killed}");
            let ring = builder.create(&name).unwrap();
            let orders = at(&directory).create(&format!("{name}-orders")).unwrap();
            let mut producer = ring.producer().unwrap();
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
                let wait_for_orders = || {
                    let mut buffer = [0; 40];
                    patiently("an order", || orders.recv_fast(&mut buffer).ok());
                };
                if ring.consumer_side() == ultrafastring::Sharing::Shared {
                    let mut consumer = ring.consumer().unwrap();
                    consumer.recv_blocking().unwrap();
                    consumer.flush();
                    wait_for_orders();
                } else {
                    let mut consumer = ring.exclusive_consumer().unwrap();
                    consumer.recv_blocking().unwrap();
                    consumer.flush();
                    wait_for_orders();
                }
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
            if number % 2 == 0 {
                ring.consumer().unwrap().recv_blocking().unwrap();
            } else {
                ring.exclusive_consumer().unwrap().recv_blocking().unwrap();
            }
            producer.send_blocking(b"next", NORMAL).unwrap();
            assert_eq!(producers_end(&mut producer, by), SendError::Deserted);
        }
    }
}

/// A consumer that comes between two runs of a program which closes its ring at its end.
fn comes_between_runs<P: Mode>(
    builder: &Builder,
    by: By,
    take_producer: fn(&UltraFastRing) -> Producer<P>,
) {
    let soon = Duration::from_millis(5);
    let ring = builder.heap().unwrap();
    take_producer(&ring).close();
    let mut consumer = ring.consumer().unwrap();
    assert_eq!(consumer.recv_blocking().unwrap_err(), RecvError::Closed);
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
            let mut producer = take_producer(&ring);
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
        let mut producer = take_producer(&ring);
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
    let mut producer = take_producer(&ring);
    consumer.await_next_stream();
    producer.close();
    assert_eq!(consumers_end(&mut consumer, by), RecvError::Closed);
    drop(producer);
    // What is left of an old one is received, and then its end concerns who has received it.
    let mut producer = take_producer(&ring);
    producer.send_fast(b"left", NORMAL).unwrap();
    producer.close();
    let mut other = ring.consumer().unwrap();
    consumer.await_next_stream();
    other.await_next_stream();
    assert_eq!(&*consumer.recv_timeout(LONG).unwrap(), b"left");
    assert_eq!(consumers_end(&mut consumer, by), RecvError::Closed);
    assert_eq!(other.recv_timeout(soon).unwrap_err(), RecvError::TimedOut);
    // Whoever opens it by itself has opened a stream.
    ring.reopen();
    ring.close();
    assert_eq!(consumers_end(&mut other, by), RecvError::Closed);
}

#[test]
fn a_consumer_that_is_started_first_waits_for_the_stream_after_one_that_was_closed() {
    for by in EACH_WAY {
        let shared = Builder::new().capacity(4);
        comes_between_runs(&shared, by, |ring| ring.producer().unwrap());
        let exclusive = shared.exclusive_producer();
        comes_between_runs(&exclusive, by, |ring| ring.exclusive_producer().unwrap());
    }
}

/// Two that wait for the next stream by `wait_any` do not keep each other awake.
#[test]
fn consumers_that_wait_for_the_next_stream_sleep_and_so_do_those_who_wait_to_be_told() {
    let directory = stage();
    let ring = at(&directory).create(NAME).unwrap();
    ring.close();
    let builder = at(&directory);
    let children = [By::Any, By::Any, By::Slices, By::Readiness].map(|by| {
        Child::start(|| {
            let mut consumer = builder.open(NAME).unwrap().consumer().unwrap();
            consumer.await_next_stream();
            consumer.end_when_deserted(true);
            consumer_sleeps("a closed ring", by, WaitStrategy::Park, &mut consumer);
        })
    });
    builder.create("full").unwrap();
    let others = EACH_WAY.map(|by| {
        Child::start(|| {
            let mut producer = builder.open("full").unwrap().producer().unwrap();
            producer.end_when_deserted(true);
            producer_sleeps("nobody has been here", by, WaitStrategy::Park, &mut producer);
        })
    });
    children.into_iter().chain(others).for_each(Child::finish);
}

/// A consumer is killed that holds what the others wait for: whoever sleeps finds it.
#[test]
fn sleepers_go_on_when_a_consumer_dies_that_held_all_credit() {
    let directory = stage();
    let ring = at(&directory).capacity(2).create(NAME).unwrap();
    let mut producer = ring.producer().unwrap();
    assert_eq!(producer.send_batch(&[b"one", b"two"], NORMAL), Ok(2));
    let builder = at(&directory);
    let child = Child::start(|| {
        let mut consumer = builder.open(NAME).unwrap().consumer().unwrap();
        std::mem::forget(consumer.borrow().unwrap());
        loop {
            std::thread::park();
        }
    });
    patiently("the child holds the first", || {
        ring.participants().any(|it| it.hold.is_some()).then_some(())
    });
    let mut consumer = ring.consumer().unwrap();
    consumer.set_wait_strategy(WaitStrategy::Park);
    producer.set_wait_strategy(WaitStrategy::Park);
    assert_eq!(&*consumer.recv_blocking().unwrap(), b"two");
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

/// Where what the dead held is dropped, the producer that waits for it needs no consumer.
#[test]
fn a_producer_that_sleeps_takes_back_itself_what_a_dead_consumer_held() {
    let directory = stage();
    let policy = at(&directory).redelivery(ultrafastring::Redelivery::Discard);
    let ring = policy.capacity(1).create(NAME).unwrap();
    let mut producer = ring.producer().unwrap();
    producer.send_fast(b"held", NORMAL).unwrap();
    let builder = at(&directory);
    let child = Child::start(|| {
        let mut consumer = builder.open(NAME).unwrap().consumer().unwrap();
        std::mem::forget(consumer.borrow().unwrap());
        loop {
            std::thread::park();
        }
    });
    patiently("the child holds it", || {
        ring.participants().any(|it| it.hold.is_some()).then_some(())
    });
    let sending = std::thread::spawn(move || producer.send_timeout(b"next", NORMAL, LONG));
    asleep(&ring, Side::Producer);
    child.kill();
    sending.join().unwrap().unwrap();
    assert_eq!(ring.stats().discarded, 1);
}

/// A consumer has released and not granted, and is away: the producer looks for itself.
#[test]
fn a_producer_that_sleeps_finds_what_was_released_and_not_granted() {
    for shared in [false, true] {
        let builder = Builder::new().capacity(64).timestamps(ultrafastring::Timestamps::Off);
        let builder = if shared { builder } else { builder.exclusive_consumer() };
        let ring = builder.heap().unwrap();
        let mut producer = ring.producer().unwrap();
        let fill = |producer: &mut Producer<_>| while producer.send_fast(b"x", NORMAL).is_ok() {};
        fn take<S: Mode>(consumer: &mut Consumer<S>, count: usize) {
            for _ in 0..count {
                consumer.try_recv().unwrap();
            }
        }
        // After a fast lap a consumer grants once in eight.
        fill(&mut producer);
        if shared {
            let mut consumer = ring.consumer().unwrap();
            take(&mut consumer, 64);
            consumer.flush();
            fill(&mut producer);
            take(&mut consumer, 1);
            producer.send_timeout(b"room", NORMAL, LONG).unwrap();
        } else {
            let mut consumer = ring.exclusive_consumer().unwrap();
            take(&mut consumer, 64);
            consumer.flush();
            fill(&mut producer);
            take(&mut consumer, 1);
            producer.send_timeout(b"room", NORMAL, LONG).unwrap();
        }
    }
}

/// One thread receives from several rings, the messages of which come in an order that follows
/// from its own answers: each wait has exactly one end.
#[test]
fn one_thread_waits_for_several_rings_and_is_woken_by_each() {
    const RINGS: usize = 5;
    for strategy in [WaitStrategy::Park, WaitStrategy::SpinThenPark] {
        let rings: Vec<_> = (0..RINGS).map(|_| UltraFastRing::new(2)).collect();
        let answers = UltraFastRing::new(1);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut answer = answers.consumer().unwrap();
                answer.set_wait_strategy(strategy);
                for number in 0..1_000u64 {
                    let place = (number * number % 7) as usize % RINGS;
                    rings[place].send_fast(&number.to_le_bytes(), NORMAL).unwrap();
                    assert_eq!(*answer.recv_blocking().unwrap(), number.to_le_bytes());
                }
                assert_eq!(answer.missed_wakes(), 0);
                rings[3].close();
            });
            let mut consumers: Vec<_> = rings.iter().map(|it| it.consumer().unwrap()).collect();
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
            assert_eq!(received, 1_000);
        });
    }
}

#[test]
fn a_wait_for_several_handles_of_both_sides_ends_by_room_by_time_or_not() {
    let (full, empty) = (UltraFastRing::new(1), UltraFastRing::new(1));
    let (mut producer, mut consumer) = (full.producer().unwrap(), empty.consumer().unwrap());
    producer.send_fast(b"full", NORMAL).unwrap();
    assert_eq!(producer.send_fast(b"next", NORMAL), Err(SendError::Full));
    let soon = Some(Instant::now() + Duration::from_millis(20));
    assert_eq!(wait_any(&mut [&mut consumer, &mut producer], soon), None);
    assert!(Some(Instant::now()) >= soon, "it did not wait");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| wait_any(&mut [&mut consumer, &mut producer], None));
        asleep(&full, Side::Producer);
        full.recv_fast(&mut [0; 40]).unwrap();
        full.stats(); // grants what a seat has released
        assert_eq!(waiting.join().unwrap(), Some(1));
    });
}

/// Time of a processor that this process has used, in all its threads.
fn cpu_time() -> Duration {
    // SAFETY: all zeros are a value of it, which the call below overwrites.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is written and nothing else.
    assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) }, 0);
    let time = |it: libc::timeval| {
        Duration::from_secs(it.tv_sec as u64) + Duration::from_micros(it.tv_usec as u64)
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}

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

/// A process for each way of waiting, of each side, in rings of each kind, all at once: in none of
/// them do waiters wake each other, or themselves, for nothing.
#[test]
fn whoever_sleeps_takes_next_to_no_time_of_the_processor() {
    use WaitStrategy::{Park, SpinThenPark};
    let directory = stage();
    let mut children = Vec::new();
    for kind in 0..8 {
        let builder = at(&directory).capacity(8);
        let builder = if kind & 1 == 0 { builder } else { builder.exclusive_producer() };
        let builder = if kind & 2 == 0 { builder } else { builder.exclusive_consumer() };
        let builder = with_fences(builder, kind & 4 != 0);
        let name = format!("ring-{kind}");
        for (number, by) in EACH_WAY.into_iter().enumerate() {
            let strategy = if (number + kind) % 2 == 0 { Park } else { SpinThenPark };
            let (builder, what) = (builder.clone(), name.clone());
            let (full, empty) = (format!("full-{kind}-{number}"), format!("empty-{kind}-{number}"));
            children.push(Child::start(|| {
                let (full, empty) =
                    (builder.create(&full).unwrap(), builder.create(&empty).unwrap());
                if kind & 1 == 0 {
                    producer_sleeps(&what, by, strategy, &mut full.producer().unwrap());
                } else {
                    producer_sleeps(&what, by, strategy, &mut full.exclusive_producer().unwrap());
                }
                if kind & 2 == 0 {
                    consumer_sleeps(&what, by, strategy, &mut empty.consumer().unwrap());
                } else {
                    consumer_sleeps(&what, by, strategy, &mut empty.exclusive_consumer().unwrap());
                }
            }));
        }
    }
    children.into_iter().for_each(Child::finish);
}

/// Of two consumers one holds the oldest message for long, and the other looks for more now and
/// then, both of them alive: the producer sleeps for all that, and is woken when there is room.
#[test]
fn a_producer_sleeps_while_a_consumer_is_slow_and_alive_and_another_looks_around() {
    use WaitStrategy::{Park, SpinThenPark};
    let directory = stage();
    let builder = at(&directory).capacity(8);
    let scenes = EACH_WAY.into_iter().zip([Park, SpinThenPark, Park, SpinThenPark]);
    let scenes: Vec<_> = scenes
        .map(|(by, strategy)| {
            let name = format!("{by:?}");
            let ring = builder.create(&name).unwrap();
            let (mut slow, mut quick) = (ring.consumer().unwrap(), ring.consumer().unwrap());
            fill(&mut ring.producer().unwrap());
            std::mem::forget(slow.borrow().unwrap());
            for _ in 1..8 {
                quick.try_recv().unwrap();
            }
            let builder = builder.clone();
            let child = Child::start(|| {
                let mut producer = builder.open(&name).unwrap().producer().unwrap();
                producer_sleeps("the oldest is held", by, strategy, &mut producer);
                producer.set_wait_strategy(strategy);
                producer.send_blocking(b"room", NORMAL).unwrap();
                assert_eq!(producer.missed_wakes(), 0);
            });
            (ring, slow, quick, child)
        })
        .collect();
    std::thread::scope(|scope| {
        for (ring, mut slow, mut quick, child) in scenes {
            scope.spawn(move || {
                quick.set_wait_strategy(Park);
                let until = Instant::now() + WATCHED;
                while Instant::now() < until {
                    let soon = Duration::from_millis(20);
                    assert_eq!(quick.recv_timeout(soon).unwrap_err(), RecvError::TimedOut);
                    quick.flush();
                }
                asleep(&ring, Side::Producer);
                // Releases what it has forgotten.
                slow.flush();
                child.finish();
            });
        }
    });
}

/// Kills the calling process if it makes a system call other than to end.
fn forbid_system_calls() {
    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    let instruction = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = [
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_exit_group as u32),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, ALLOW),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the program is whole and outlives the calls, which copy it.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const filter, 0, 0), 0);
    }
}

/// The kernel itself checks: a process that is busy is killed by its first system call.
#[test]
fn a_busy_side_makes_no_system_call_though_the_other_may_sleep() {
    const COUNT: u64 = 30_000;
    let directory = stage();
    let builder = at(&directory).exclusive_producer().exclusive_consumer().capacity(4_096);
    for sender in [true, false] {
        let ring = builder.create(NAME).unwrap();
        let child = if sender {
            Child::start(|| {
                let mut producer = builder.open(NAME).unwrap().exclusive_producer().unwrap();
                producer.set_wait_strategy(WaitStrategy::Spin);
                forbid_system_calls();
                for number in 0..COUNT {
                    producer.send_blocking(&number.to_le_bytes(), NORMAL).unwrap();
                }
                // SAFETY: ends the process; the handle's locks end with it.
                unsafe { libc::_exit(0) };
            })
        } else {
            Child::start(|| {
                let mut consumer = builder.open(NAME).unwrap().exclusive_consumer().unwrap();
                consumer.set_wait_strategy(WaitStrategy::Spin);
                forbid_system_calls();
                for number in 0..COUNT {
                    assert_eq!(*consumer.recv_blocking().unwrap(), number.to_le_bytes());
                }
                // SAFETY: as above.
                unsafe { libc::_exit(0) };
            })
        };
        // This side does not sleep either; that it may is what the other must not pay for.
        if sender {
            let mut consumer = ring.exclusive_consumer().unwrap();
            consumer.set_wait_strategy(WaitStrategy::Spin);
            for number in 0..COUNT {
                assert_eq!(*consumer.recv_blocking().unwrap(), number.to_le_bytes());
            }
        } else {
            let mut producer = ring.exclusive_producer().unwrap();
            producer.set_wait_strategy(WaitStrategy::Spin);
            for number in 0..COUNT {
                producer.send_blocking(&number.to_le_bytes(), NORMAL).unwrap();
            }
        }
        child.finish();
        at(&directory).remove(NAME).unwrap();
    }
}

/// Messages there and back between two processes, each of which sleeps until it is woken, or goes
/// to sleep just when it would be: every one is a decision on both sides. None may be missed.
#[test]
fn a_stress_of_decisions_to_sleep_and_to_wake_between_processes_misses_none() {
    let wanted: u64 = std::env::var("UFR_WAKES").map_or(40_000, |count| count.parse().unwrap());
    let directory = stage();
    let builder = at(&directory).exclusive_producer().exclusive_consumer().capacity(2);
    let (there, back) = (builder.create("there").unwrap(), builder.create("back").unwrap());
    let trips = wanted / 4;
    let child = Child::start(|| {
        let mut consumer = builder.open("there").unwrap().exclusive_consumer().unwrap();
        let mut producer = builder.open("back").unwrap().exclusive_producer().unwrap();
        let mut number = 0u64;
        loop {
            consumer.set_wait_strategy(strategy(number / 5));
            producer.set_wait_strategy(strategy(number / 3));
            match consumer.recv_blocking() {
                Ok(message) => producer.send_blocking(&message, NORMAL).unwrap(),
                Err(RecvError::Closed) => break,
                Err(error) => panic!("{error}"),
            }
            dawdle(number.wrapping_mul(7));
            number += 1;
        }
        assert_eq!((consumer.missed_wakes(), producer.missed_wakes()), (0, 0));
    });
    let mut producer = there.exclusive_producer().unwrap();
    let mut consumer = back.exclusive_consumer().unwrap();
    let started = Instant::now();
    // Up to four are on their way, so that both sides also wait for room.
    let (mut sent, mut received) = (0u64, 0u64);
    while received < trips {
        consumer.set_wait_strategy(strategy(received));
        producer.set_wait_strategy(strategy(sent / 2));
        let ahead = 1 + received % 4;
        while sent < trips && sent - received < ahead {
            producer.send_blocking(&sent.to_le_bytes(), NORMAL).unwrap();
            sent += 1;
        }
        assert_eq!(*consumer.recv_blocking().unwrap(), received.to_le_bytes());
        received += 1;
        dawdle(received);
    }
    producer.close();
    child.finish();
    assert_eq!((consumer.missed_wakes(), producer.missed_wakes()), (0, 0));
    println!("{} decisions in {:?}, none missed", 4 * trips, started.elapsed());
}

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
