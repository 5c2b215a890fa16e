//! Threads over one ring on the heap: nothing is lost, doubled or out of order, whatever the
//! number of threads, and whatever they do with their guards.

#![cfg(all(feature = "std", not(loom)))]

mod common;

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use common::{Numbered, patiently};
use ultrafastring::{
    Builder, Consumer, Mode, PriorityClass, Producer, RecvError, RingError, SendError,
    UltraFastRing,
};

const NORMAL: PriorityClass = PriorityClass::Normal;

/// How a thread sends or receives its messages.
#[derive(Clone, Copy, Debug)]
enum Way {
    OneByOne,
    Batches,
    InPlace,
}

/// Sends some of the messages from `number` to `end`; says how many.
fn try_send<S: Mode>(
    producer: &mut Producer<S>,
    way: Way,
    sender: u32,
    number: u64,
    end: u64,
) -> Option<u64> {
    let message = Numbered::new(sender, number);
    match way {
        Way::OneByOne => producer.try_send(message, NORMAL).ok().map(|()| 1),
        Way::Batches => {
            let batch: Vec<_> =
                (number..end.min(number + 7)).map(|n| Numbered::new(sender, n)).collect();
            producer.send_batch(&batch, NORMAL).ok().map(|sent| sent as u64)
        }
        Way::InPlace => {
            // Now and then one is taken back first: a hole, which consumers pass over. Not in a
            // ring of one slot, where the hole leaves no room and each new attempt makes another.
            if number % 13 == 12 && producer.capacity() > 1 {
                producer.reserve(1, NORMAL).ok()?.cancel();
            }
            let mut guard = producer.reserve(message.as_ref().len(), NORMAL).ok()?;
            guard.copy_from_slice(message.as_ref());
            guard.commit();
            Some(1)
        }
    }
}

/// Receives some messages into `seen`; says how many.
fn try_receive<S: Mode>(
    consumer: &mut Consumer<S>,
    way: Way,
    seen: &mut Vec<(u32, u64)>,
) -> Option<u64> {
    match way {
        Way::OneByOne => {
            seen.push(Numbered::read(&consumer.try_recv().ok()?));
            Some(1)
        }
        Way::Batches => {
            let mut buffers = [[0; 40]; 5];
            let batch = consumer.recv_batch(&mut buffers).ok()?;
            for (buffer, about) in buffers.iter().zip(&batch) {
                assert!(!about.redelivered, "nobody has died");
                seen.push(Numbered::read(&buffer[..about.size]));
            }
            Some(batch.len() as u64)
        }
        Way::InPlace => {
            let guard = consumer.borrow().ok()?;
            assert!(!guard.is_redelivered(), "nobody has died");
            seen.push(Numbered::read(&guard.to_vec()));
            Some(1)
        }
    }
}

/// Each message of each sender once, and in the order of its sender for each receiver.
fn check(received: Vec<Vec<(u32, u64)>>, senders: u32, each: u64) {
    for seen in &received {
        for sender in 0..senders {
            let numbers = seen.iter().filter(|(from, _)| *from == sender).map(|&(_, n)| n);
            assert!(numbers.is_sorted_by(|a, b| a < b), "sender {sender} is out of order");
        }
    }
    let mut all: Vec<_> = received.into_iter().flatten().collect();
    all.sort_unstable();
    let sent = (0..senders).flat_map(|sender| (0..each).map(move |number| (sender, number)));
    assert!(all.into_iter().eq(sent), "not each message was received once");
}

/// A stream from `senders` to `receivers`, each in its way, through shared sides.
fn many_to_many(capacity: usize, senders: &[Way], receivers: &[Way], each: u64) {
    let ring = UltraFastRing::new(capacity);
    let total = senders.len() as u64 * each;
    let received = AtomicU64::new(0);
    let seen = thread::scope(|scope| {
        for (sender, &way) in (0..).zip(senders) {
            let mut producer = ring.producer().unwrap();
            scope.spawn(move || {
                let mut number = 0;
                while number < each {
                    number +=
                        patiently("room", || try_send(&mut producer, way, sender, number, each));
                }
            });
        }
        let receivers: Vec<_> = receivers
            .iter()
            .map(|&way| {
                let (mut consumer, received) = (ring.consumer().unwrap(), &received);
                scope.spawn(move || {
                    let mut seen = Vec::new();
                    while patiently("a message, or the end", || {
                        match try_receive(&mut consumer, way, &mut seen) {
                            Some(count) => {
                                received.fetch_add(count, Relaxed);
                                Some(true)
                            }
                            None => (received.load(Relaxed) == total).then_some(false),
                        }
                    }) {}
                    seen
                })
            })
            .collect();
        receivers.into_iter().map(|receiver| receiver.join().unwrap()).collect()
    });
    check(seen, senders.len() as u32, each);
    let stats = ring.stats();
    assert_eq!((stats.sent, stats.received), (total, total));
    assert_eq!((stats.abandoned, stats.redelivered, stats.discarded), (0, 0, 0));
    assert!(ring.is_empty());
}

use Way::{Batches, InPlace, OneByOne};

#[test]
fn four_to_four_in_every_way_each_message_arrives_once_and_in_its_senders_order() {
    many_to_many(
        64,
        &[OneByOne, Batches, InPlace, Batches],
        &[OneByOne, Batches, InPlace, OneByOne],
        30_000,
    );
}

#[test]
fn a_ring_of_one_slot_serves_many_threads() {
    many_to_many(1, &[OneByOne, InPlace], &[OneByOne, Batches], 400);
}

#[test]
fn a_ring_of_one_slot_serves_consumers_that_read_in_place() {
    many_to_many(1, &[OneByOne, Batches], &[InPlace, InPlace], 200);
}

#[test]
fn a_ring_of_two_slots_serves_many_threads() {
    many_to_many(2, &[OneByOne, Batches, InPlace], &[Batches, InPlace, OneByOne], 2_000);
}

/// A stream from one thread to one other through exclusive sides.
fn one_to_one(capacity: usize, sending: Way, receiving: Way, messages: u64) {
    let ring = Builder::new().capacity(capacity).exclusive_producer().exclusive_consumer();
    let ring = ring.heap().unwrap();
    let mut producer = ring.exclusive_producer().unwrap();
    let mut consumer = ring.exclusive_consumer().unwrap();
    let mut seen = Vec::new();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut number = 0;
            while number < messages {
                number +=
                    patiently("room", || try_send(&mut producer, sending, 0, number, messages));
            }
        });
        while (seen.len() as u64) < messages {
            patiently("a message", || try_receive(&mut consumer, receiving, &mut seen));
        }
    });
    check(vec![seen], 1, messages);
    assert!(consumer.try_recv().is_err());
}

#[test]
fn exclusive_sides_keep_the_order_in_every_way() {
    for sending in [OneByOne, Batches, InPlace] {
        for receiving in [OneByOne, Batches, InPlace] {
            one_to_one(2, sending, receiving, 500);
            one_to_one(256, sending, receiving, 20_000);
        }
    }
}

#[test]
fn exclusive_sides_get_through_one_slot() {
    one_to_one(1, OneByOne, OneByOne, 500);
    one_to_one(1, Batches, Batches, 500);
}

#[test]
fn an_exclusive_consumer_that_reads_in_place_gives_the_only_slot_back() {
    let ring = Builder::new().capacity(1).exclusive_producer().exclusive_consumer();
    let ring = ring.heap().unwrap();
    let mut producer = ring.exclusive_producer().unwrap();
    let mut consumer = ring.exclusive_consumer().unwrap();
    for number in 0..3 {
        // The consumer goes on polling, as consumers do, and that is all it does.
        patiently("room, the only message being released", || {
            assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty);
            producer.try_send(Numbered::new(0, number), NORMAL).ok()
        });
        consumer.borrow().unwrap().release();
    }
}

#[test]
fn more_threads_than_seats_and_entries_may_call_the_ring_at_once() {
    const THREADS: u32 = 24;
    const EACH: u64 = 1_000;
    // Fewer entries than threads; the calls borrow what there is.
    let ring = Builder::new().capacity(16).participants(40).heap().unwrap();
    let total = u64::from(THREADS) * EACH;
    let received = AtomicU64::new(0);
    let start = Barrier::new(2 * THREADS as usize);
    let seen = thread::scope(|scope| {
        for sender in 0..THREADS {
            let (ring, start) = (&ring, &start);
            scope.spawn(move || {
                start.wait();
                for number in 0..EACH {
                    let message = Numbered::new(sender, number);
                    patiently("room", || match ring.send_fast(message.as_ref(), NORMAL) {
                        Ok(()) => Some(()),
                        Err(SendError::Full) => None,
                        Err(error) => panic!("{error}"),
                    });
                }
            });
        }
        let receivers: Vec<_> = (0..THREADS)
            .map(|_| {
                let (ring, received, start) = (&ring, &received, &start);
                scope.spawn(move || {
                    start.wait();
                    let mut seen = Vec::new();
                    let mut buffer = [0; 40];
                    while patiently("a message, or the end", || match ring.recv_fast(&mut buffer) {
                        Ok((size, ..)) => {
                            seen.push(Numbered::read(&buffer[..size]));
                            received.fetch_add(1, Relaxed);
                            Some(true)
                        }
                        Err(RecvError::Empty) => (received.load(Relaxed) == total).then_some(false),
                        Err(error) => panic!("{error}"),
                    }) {}
                    seen
                })
            })
            .collect();
        receivers.into_iter().map(|receiver| receiver.join().unwrap()).collect()
    });
    check(seen, THREADS, EACH);
    let stats = ring.stats();
    assert_eq!((stats.sent, stats.received), (total, total));
}

#[test]
fn a_call_that_finds_no_entry_to_borrow_says_so_and_works_when_one_is_free() {
    let ring = Builder::new().participants(1).heap().unwrap();
    let consumer = ring.consumer().unwrap();
    assert_eq!(ring.send_fast(b"x", NORMAL), Err(SendError::NoEntry));
    assert!(matches!(ring.producer(), Err(RingError::TableFull { participants: 1 })));
    drop(consumer);
    ring.send_fast(b"x", NORMAL).unwrap();
    assert_eq!(ring.recv_fast(&mut [0; 40]), Err(RecvError::NoEntry));
}

#[test]
fn handles_come_and_go_while_messages_pass() {
    const ROUNDS: u64 = 2_000;
    let ring = Builder::new().capacity(8).participants(4).heap().unwrap();
    let seen = thread::scope(|scope| {
        let ring = &ring;
        for sender in 0..2 {
            scope.spawn(move || {
                for number in 0..ROUNDS {
                    let mut producer = ring.producer().unwrap();
                    let message = Numbered::new(sender, number);
                    patiently("room", || producer.try_send(message, NORMAL).ok());
                }
            });
        }
        let receivers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(move || {
                    let mut seen = Vec::new();
                    for _ in 0..ROUNDS {
                        let mut consumer = ring.consumer().unwrap();
                        patiently("a message", || try_receive(&mut consumer, InPlace, &mut seen));
                    }
                    seen
                })
            })
            .collect();
        receivers.into_iter().map(|receiver| receiver.join().unwrap()).collect()
    });
    check(seen, 2, ROUNDS);
    assert_eq!(ring.stats().sent, 2 * ROUNDS);
    assert_eq!(ring.participants().count(), 0);
}

#[test]
fn a_forgotten_reservation_is_cancelled_by_the_next_call() {
    let ring = UltraFastRing::new(4);
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    for (number, next) in (0..).zip([
        (|producer| producer.flush()) as fn(&mut Producer<_>),
        |producer| producer.reserve(0, NORMAL).unwrap().cancel(),
        |producer| assert_eq!(producer.send_batch(&[b"b", b"c"], NORMAL), Ok(2)),
        |producer| producer.send_fast(b"d", NORMAL).unwrap(),
    ]) {
        mem::forget(producer.reserve(9, NORMAL).unwrap());
        assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty);
        next(&mut producer);
        producer.send_fast(&[number], NORMAL).unwrap();
        let received: Vec<_> = consumer.try_iter().map(|message| message.to_vec()).collect();
        assert_eq!(received.last().unwrap(), &[number]);
    }
    mem::forget(producer.reserve(9, NORMAL).unwrap());
    drop(producer);
    ring.send_fast(b"e", NORMAL).unwrap();
    assert_eq!(&*consumer.try_recv().unwrap(), b"e");
    assert_eq!((ring.stats().sent, ring.stats().received), (8, 8));
}

#[test]
fn a_forgotten_reservation_of_an_exclusive_producer_was_never_there() {
    let ring = Builder::new().capacity(2).exclusive_producer().heap().unwrap();
    let mut producer = ring.exclusive_producer().unwrap();
    for _ in 0..10 {
        mem::forget(producer.reserve(9, NORMAL).unwrap());
    }
    assert_eq!(producer.send_batch(&[b"a", b"b", b"c"], NORMAL), Ok(2));
    assert_eq!(&*ring.consumer().unwrap().try_recv().unwrap(), b"a");
    assert_eq!(&*ring.consumer().unwrap().try_recv().unwrap(), b"b");
}

/// A ring of one slot, whose only message is borrowed and the guard forgotten; then the consumer
/// does `next` again and again, and the producer must get the slot back.
fn forgets_the_only_slot<S: Mode>(
    mut producer: impl FnMut() -> Option<()>,
    consumer: &mut Consumer<S>,
    mut next: impl FnMut(&mut Consumer<S>),
) {
    for _ in 0..3 {
        patiently("room, after a guard was forgotten", || {
            next(consumer);
            producer()
        });
        mem::forget(consumer.borrow().unwrap());
    }
}

#[test]
fn a_forgotten_guard_is_released_by_a_shared_consumer_that_finds_the_ring_empty() {
    let ring = UltraFastRing::new(1);
    let mut consumer = ring.consumer().unwrap();
    let send = || ring.send_fast(b"x", NORMAL).ok();
    forgets_the_only_slot(send, &mut consumer, |consumer| {
        assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty);
    });
    consumer.flush();
    forgets_the_only_slot(send, &mut consumer, |consumer| {
        assert_eq!(consumer.recv_batch(&mut [[0; 40]]).unwrap_err(), RecvError::Empty);
    });
    consumer.flush();
    forgets_the_only_slot(send, &mut consumer, |consumer| {
        assert_eq!(consumer.borrow().unwrap_err(), RecvError::Empty);
    });
}

#[test]
fn a_forgotten_guard_is_released_by_an_exclusive_consumer_that_finds_the_ring_empty() {
    let ring = Builder::new().capacity(1).exclusive_consumer().heap().unwrap();
    let mut consumer = ring.exclusive_consumer().unwrap();
    let send = || ring.send_fast(b"x", NORMAL).ok();
    forgets_the_only_slot(send, &mut consumer, |consumer| {
        assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty);
    });
}

#[test]
fn a_forgotten_guard_is_released_by_a_flush_and_by_the_end_of_its_handle() {
    for sharing in [ultrafastring::Sharing::Shared, ultrafastring::Sharing::Exclusive] {
        let ring = Builder::new().capacity(1).consumer_side(sharing).heap().unwrap();
        fn forget_and_flush<S: Mode>(ring: &UltraFastRing, mut consumer: Consumer<S>) {
            for _ in 0..3 {
                ring.send_fast(b"x", NORMAL).unwrap();
                mem::forget(consumer.borrow().unwrap());
                assert_eq!(ring.send_fast(b"y", NORMAL), Err(SendError::Full));
                consumer.flush();
            }
            ring.send_fast(b"x", NORMAL).unwrap();
            mem::forget(consumer.borrow().unwrap());
        }
        match sharing {
            ultrafastring::Sharing::Shared => forget_and_flush(&ring, ring.consumer().unwrap()),
            _ => forget_and_flush(&ring, ring.exclusive_consumer().unwrap()),
        }
        ring.send_fast(b"z", NORMAL).unwrap();
        assert_eq!(ring.len(), 1);
    }
}

#[test]
fn a_thread_that_panics_with_guards_leaves_a_ring_that_goes_on() {
    // Room for the hole that each round leaves, which is granted with the next message.
    let ring = UltraFastRing::new(4);
    for round in 0..20u8 {
        ring.send_fast(&[round], NORMAL).unwrap();
        let panicked = thread::scope(|scope| {
            scope
                .spawn(|| {
                    let (mut producer, mut consumer) =
                        (ring.producer().unwrap(), ring.consumer().unwrap());
                    let _reservation = producer.reserve(8, NORMAL).unwrap();
                    let guard = consumer.borrow().unwrap();
                    assert_eq!(guard.as_inline(), Some(&[round][..]));
                    std::panic::resume_unwind(Box::new("a bug in the program"));
                })
                .join()
        });
        assert!(panicked.is_err());
        assert_eq!(ring.recv_fast(&mut [0; 40]), Err(RecvError::Empty));
    }
    assert_eq!(ring.participants().filter(|other| other.hold.is_some()).count(), 0);
}

/// Bytes that cannot be had the how-manieth time they are asked for.
struct Faulty<'a>(&'a std::cell::Cell<u32>);

impl AsRef<[u8]> for Faulty<'_> {
    fn as_ref(&self) -> &[u8] {
        self.0.set(self.0.get().checked_sub(1).expect("a fault on purpose"));
        b"whole"
    }
}

#[test]
fn a_batch_whose_messages_panic_sends_those_before_and_leaves_no_gap_that_blocks() {
    fn break_off<S: Mode>(mut producer: Producer<S>) {
        // Each is asked once for its size, then once for its bytes: the third of four fails.
        let times = std::cell::Cell::new(6);
        let batch = [Faulty(&times), Faulty(&times), Faulty(&times), Faulty(&times)];
        let sent = catch_unwind(AssertUnwindSafe(|| producer.send_batch(&batch, NORMAL)));
        assert!(sent.is_err());
        producer.send_fast(b"after", NORMAL).unwrap();
    }
    for exclusive in [false, true] {
        let ring = if exclusive {
            let ring = Builder::new().capacity(8).exclusive_producer().heap().unwrap();
            break_off(ring.exclusive_producer().unwrap());
            ring
        } else {
            let ring = UltraFastRing::new(8);
            break_off(ring.producer().unwrap());
            ring
        };
        let mut consumer = ring.consumer().unwrap();
        let received: Vec<_> = consumer.try_iter().map(|message| message.to_vec()).collect();
        assert_eq!(received, [&b"whole"[..], b"whole", b"after"], "exclusive: {exclusive}");
        assert_eq!(ring.stats().sent, 3);
    }
}

#[test]
fn an_exclusive_side_passes_from_handle_to_handle_at_any_moment() {
    const MESSAGES: u64 = 10_000;
    let ring = Builder::new().capacity(8).exclusive_producer().exclusive_consumer();
    let ring = ring.heap().unwrap();
    thread::scope(|scope| {
        let ring = &ring;
        scope.spawn(move || {
            let mut number = 0;
            while number < MESSAGES {
                let mut producer = ring.exclusive_producer().unwrap();
                assert!(matches!(ring.exclusive_producer(), Err(RingError::SideTaken { .. })));
                for _ in 0..=number % 11 {
                    if producer.try_send(Numbered::new(0, number), NORMAL).is_ok() {
                        number += 1;
                    }
                }
                thread::yield_now();
            }
        });
        let mut expected = 0;
        while expected < MESSAGES {
            let mut consumer = ring.exclusive_consumer().unwrap();
            for _ in 0..=expected % 7 {
                if let Ok(message) = consumer.try_recv() {
                    let (_, number) = Numbered::read(&message);
                    assert!(number >= expected, "{number} again, after {expected}");
                    assert!(number <= expected, "{expected} is missing, here is {number}");
                    expected += 1;
                }
            }
        }
    });
}

#[test]
fn a_sound_ring_looks_sound_while_it_is_used() {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use ultrafastring::Builder;
    let builder = Builder::new().capacity(4);
    for exclusive in [false, true] {
        let ring = if exclusive {
            builder.clone().exclusive_producer().exclusive_consumer().heap().unwrap()
        } else {
            builder.heap().unwrap()
        };
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (ring, done) = (&ring, &done);
            scope.spawn(move || {
                let mut shared = (!exclusive).then(|| ring.producer().unwrap());
                let mut only = exclusive.then(|| ring.exclusive_producer().unwrap());
                while !done.load(Relaxed) {
                    let sent = match (&mut shared, &mut only) {
                        (Some(shared), _) => shared.send_fast(b"x", PriorityClass::Normal),
                        (_, Some(only)) => only.send_fast(b"x", PriorityClass::Normal),
                        _ => unreachable!(),
                    };
                    if sent.is_err() {
                        std::thread::yield_now();
                    }
                }
            });
            scope.spawn(move || {
                let mut shared = (!exclusive).then(|| ring.consumer().unwrap());
                let mut only = exclusive.then(|| ring.exclusive_consumer().unwrap());
                while !done.load(Relaxed) {
                    let received = match (&mut shared, &mut only) {
                        (Some(shared), _) => shared.try_recv(),
                        (_, Some(only)) => only.try_recv(),
                        _ => unreachable!(),
                    };
                    if received.is_err() {
                        std::thread::yield_now();
                    }
                }
            });
            for _ in 0..20_000 {
                let findings = ring.examine().unwrap();
                if !findings.is_empty() {
                    done.store(true, Relaxed);
                    panic!("{findings:?}");
                }
            }
            done.store(true, Relaxed);
        });
    }
}
