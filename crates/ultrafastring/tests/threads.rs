//! Threads over one ring on the heap: nothing is lost, doubled or out of order, whatever the
//! number of threads, and whatever they do with their guards.

#![cfg(all(feature = "std", not(loom)))]

mod common;
#[path = "common/shapes.rs"]
mod shapes;

use std::cell::Cell;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use common::{Numbered, patiently};
use shapes::{Shape, on_each_shape};
use ultrafastring::{
    Builder, Consumer, Lanes, Message, Mode, PriorityClass, Producer, RecvError, RingError,
    SendError, UltraFastRing,
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
    (sender, class): (u32, PriorityClass),
    number: u64,
    end: u64,
) -> Option<u64> {
    let message = Numbered::new(sender, number);
    match way {
        Way::OneByOne => producer.try_send(message, class).ok().map(|()| 1),
        Way::Batches => {
            let batch: Vec<_> =
                (number..end.min(number + 7)).map(|n| Numbered::new(sender, n)).collect();
            producer.send_batch(&batch, class).ok().map(|sent| sent as u64)
        }
        Way::InPlace => {
            // Now and then one is taken back first: a hole, which consumers pass over. Not in a
            // ring of one slot, where the hole leaves no room and each new attempt makes another.
            if number % 13 == 12 && producer.capacity() > 1 {
                producer.try_reserve(1, class).ok()?.cancel();
            }
            let mut guard = producer.try_reserve(message.as_ref().len(), class).ok()?;
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
            let guard = consumer.try_borrow().ok()?;
            assert!(!guard.is_redelivered(), "nobody has died");
            seen.push(Numbered::read(&guard.to_vec()));
            Some(1)
        }
    }
}

/// Each message of each sender once, and in the order of its sender for each receiver.
fn check(received: Vec<Vec<(u32, u64)>>, senders: u32, each: u64) {
    check_order(&received, senders);
    check_once(received, senders, each);
}

fn check_order(received: &[Vec<(u32, u64)>], senders: u32) {
    for seen in received {
        for sender in 0..senders {
            let numbers = seen.iter().filter(|(from, _)| *from == sender).map(|&(_, n)| n);
            assert!(numbers.is_sorted_by(|a, b| a < b), "sender {sender} is out of order");
        }
    }
}

fn check_once(received: Vec<Vec<(u32, u64)>>, senders: u32, each: u64) {
    let mut all: Vec<_> = received.into_iter().flatten().collect();
    all.sort_unstable();
    let sent = (0..senders).flat_map(|sender| (0..each).map(move |number| (sender, number)));
    assert!(all.into_iter().eq(sent), "not each message was received once");
}

/// A stream from `senders` to `receivers`, each in its way: from the first of them alone where a
/// side has one handle at a time.
fn stream<S: Shape>(capacity: usize, senders: &[Way], receivers: &[Way], each: u64) {
    let each = S::fewer(each);
    let ring = S::heap(capacity);
    let second = S::read_second(&ring);
    let producers = S::producers(&ring, senders.len());
    let consumers = S::consumers(&ring, receivers.len());
    let count = producers.len() as u32;
    let total = u64::from(count) * each;
    let received = AtomicU64::new(0);
    let seen = thread::scope(|scope| {
        for ((sender, mut producer), &way) in (0..).zip(producers).zip(senders) {
            scope.spawn(move || {
                let by = (sender, S::class(sender));
                let mut number = 0;
                while number < each {
                    number += patiently("room", || try_send(&mut producer, way, by, number, each));
                }
            });
        }
        let receivers: Vec<_> = consumers
            .into_iter()
            .zip(receivers)
            .map(|(mut consumer, &way)| {
                let received = &received;
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
    check(seen, count, each);
    assert!(second.finish().is_none_or(|received| received == total));
    let stats = ring.stats();
    assert_eq!((stats.sent, stats.received), (total, total));
    assert_eq!((stats.abandoned, stats.redelivered, stats.discarded), (0, 0, 0));
    assert!(ring.is_empty());
}

use Way::{Batches, InPlace, OneByOne};

fn four_to_four_in_every_way_each_message_arrives_once_and_in_its_senders_order<S: Shape>() {
    let senders = [OneByOne, Batches, InPlace, Batches];
    stream::<S>(64, &senders, &[OneByOne, Batches, InPlace, OneByOne], 30_000);
}
on_each_shape!(four_to_four_in_every_way_each_message_arrives_once_and_in_its_senders_order);

fn one_to_one_in_every_way_the_order_is_kept<S: Shape>() {
    for sending in [OneByOne, Batches, InPlace] {
        for receiving in [OneByOne, Batches, InPlace] {
            stream::<S>(2, &[sending], &[receiving], 500);
            stream::<S>(256, &[sending], &[receiving], 10_000);
        }
    }
}
on_each_shape!(one_to_one_in_every_way_the_order_is_kept);

fn a_ring_of_one_slot_serves_many_threads<S: Shape>() {
    stream::<S>(1, &[OneByOne, InPlace], &[OneByOne, Batches], 400);
    stream::<S>(1, &[Batches], &[Batches], 400);
}
on_each_shape!(a_ring_of_one_slot_serves_many_threads);

fn a_ring_of_one_slot_serves_consumers_that_read_in_place<S: Shape>() {
    stream::<S>(1, &[OneByOne, Batches], &[InPlace, InPlace], 200);
}
on_each_shape!(a_ring_of_one_slot_serves_consumers_that_read_in_place);

fn a_ring_of_two_slots_serves_many_threads<S: Shape>() {
    stream::<S>(2, &[OneByOne, Batches, InPlace], &[Batches, InPlace, OneByOne], 2_000);
}
on_each_shape!(a_ring_of_two_slots_serves_many_threads);

fn a_consumer_that_reads_in_place_gives_the_only_slot_back<S: Shape>() {
    let ring = S::heap(1);
    let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
    for number in 0..3 {
        // The consumer goes on polling, as consumers do, and that is all it does.
        patiently("room, the only message being released", || {
            assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty);
            producer.try_send(Numbered::new(0, number), NORMAL).ok()
        });
        consumer.try_borrow().unwrap().release();
    }
}
on_each_shape!(a_consumer_that_reads_in_place_gives_the_only_slot_back, needs(one_group));

#[test]
fn more_threads_than_handles_and_entries_may_call_the_ring_at_once() {
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

fn handles_come_and_go_while_messages_pass<S: Shape>() {
    let rounds = S::fewer(2_000);
    let participants = 4 + S::groups().len().saturating_sub(1);
    let ring = S::builder().capacity(8).participants(participants).heap().unwrap();
    let second = S::read_second(&ring);
    let (senders, receivers) = (S::most_producers(2) as u32, S::most_consumers(2) as u64);
    let total = u64::from(senders) * rounds;
    let seen: Vec<Vec<_>> = thread::scope(|scope| {
        let ring = &ring;
        for sender in 0..senders {
            scope.spawn(move || {
                for number in 0..rounds {
                    let mut producer = S::producer(ring);
                    let message = Numbered::new(sender, number);
                    patiently("room", || producer.try_send(message, S::class(sender)).ok());
                }
            });
        }
        let receivers: Vec<_> = (0..receivers)
            .map(|_| {
                scope.spawn(move || {
                    let mut seen = Vec::new();
                    for _ in 0..total / receivers {
                        let mut consumer = S::consumer(ring);
                        patiently("a message", || try_receive(&mut consumer, InPlace, &mut seen));
                    }
                    seen
                })
            })
            .collect();
        receivers.into_iter().map(|receiver| receiver.join().unwrap()).collect()
    });
    // A sender's next handle may have another lane.
    if !matches!(S::LANES, Lanes::ByProducer(_)) {
        check_order(&seen, senders);
    }
    check_once(seen, senders, rounds);
    assert!(second.finish().is_none_or(|received| received == total));
    assert_eq!(ring.stats().sent, total);
    assert_eq!(ring.participants().count(), 0);
}
on_each_shape!(handles_come_and_go_while_messages_pass);

fn a_forgotten_reservation_is_cancelled_by_the_next_call<S: Shape>() {
    let ring = S::heap(4);
    let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
    for (number, next) in (0..).zip([
        (|producer| producer.flush()) as fn(&mut Producer<_>),
        |producer| producer.try_reserve(0, NORMAL).unwrap().cancel(),
        |producer| assert_eq!(producer.send_batch(&[b"b", b"c"], NORMAL), Ok(2)),
        |producer| producer.send_fast(b"d", NORMAL).unwrap(),
    ]) {
        mem::forget(producer.try_reserve(9, NORMAL).unwrap());
        assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty);
        next(&mut producer);
        producer.send_fast(&[number], NORMAL).unwrap();
        let received: Vec<_> = consumer.try_iter().map(|message| message.to_vec()).collect();
        assert_eq!(received.last().unwrap(), &[number]);
    }
    mem::forget(producer.try_reserve(9, NORMAL).unwrap());
    drop(producer);
    S::producer(&ring).send_fast(b"e", NORMAL).unwrap();
    assert_eq!(&*consumer.try_recv().unwrap(), b"e");
    assert_eq!((ring.stats().sent, ring.stats().received), (8, 8));
}
on_each_shape!(a_forgotten_reservation_is_cancelled_by_the_next_call, needs(one_group));

fn a_forgotten_reservation_of_an_exclusive_producer_was_never_there<S: Shape>() {
    let ring = S::heap(2);
    let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
    for _ in 0..10 {
        mem::forget(producer.try_reserve(9, NORMAL).unwrap());
    }
    assert_eq!(producer.send_batch(&[b"a", b"b", b"c"], NORMAL), Ok(2));
    assert_eq!(&*consumer.try_recv().unwrap(), b"a");
    assert_eq!(&*consumer.try_recv().unwrap(), b"b");
}
on_each_shape!(
    a_forgotten_reservation_of_an_exclusive_producer_was_never_there,
    needs(exclusive_lane)
);

/// In a ring of one slot the only message is borrowed, and the guard forgotten. The consumer asks
/// for more in any of several ways, and the producer must get the slot back.
fn a_forgotten_guard_is_released_by_a_consumer_that_finds_the_ring_empty<S: Shape>() {
    let ring = S::heap(1);
    let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
    for next in [
        (|consumer| consumer.try_recv().unwrap_err()) as fn(&mut Consumer<_>) -> RecvError,
        |consumer| consumer.recv_batch(&mut [[0; 40]]).unwrap_err(),
        |consumer| consumer.try_borrow().unwrap_err(),
    ] {
        for _ in 0..3 {
            patiently("room, after a guard was forgotten", || {
                assert_eq!(next(&mut consumer), RecvError::Empty);
                producer.send_fast(b"x", NORMAL).ok()
            });
            mem::forget(consumer.try_borrow().unwrap());
        }
        consumer.flush();
    }
}
on_each_shape!(
    a_forgotten_guard_is_released_by_a_consumer_that_finds_the_ring_empty,
    needs(one_group)
);

fn a_forgotten_guard_is_released_by_a_flush_and_by_the_end_of_its_handle<S: Shape>() {
    let ring = S::heap(1);
    let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
    for _ in 0..3 {
        producer.send_fast(b"x", NORMAL).unwrap();
        mem::forget(consumer.try_borrow().unwrap());
        assert_eq!(producer.send_fast(b"y", NORMAL), Err(SendError::Full));
        consumer.flush();
    }
    producer.send_fast(b"x", NORMAL).unwrap();
    mem::forget(consumer.try_borrow().unwrap());
    drop(consumer);
    producer.send_fast(b"z", NORMAL).unwrap();
    assert_eq!(ring.len(), 1);
}
on_each_shape!(
    a_forgotten_guard_is_released_by_a_flush_and_by_the_end_of_its_handle,
    needs(one_group)
);

fn a_thread_that_panics_with_guards_leaves_a_ring_that_goes_on<S: Shape>() {
    // Room for the hole that each round leaves, which is granted with the next message.
    let ring = S::heap(4);
    for round in 0..20u8 {
        S::producer(&ring).send_fast(&[round], NORMAL).unwrap();
        let panicked = thread::scope(|scope| {
            scope
                .spawn(|| {
                    let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
                    let _reservation = producer.try_reserve(8, NORMAL).unwrap();
                    let guard = consumer.try_borrow().unwrap();
                    assert_eq!(guard.as_inline(), Some(&[round][..]));
                    std::panic::resume_unwind(Box::new("a bug in the program"));
                })
                .join()
        });
        assert!(panicked.is_err());
        assert_eq!(S::consumer(&ring).try_recv().unwrap_err(), RecvError::Empty);
    }
    assert_eq!(ring.participants().filter(|other| other.hold.is_some()).count(), 0);
}
on_each_shape!(a_thread_that_panics_with_guards_leaves_a_ring_that_goes_on, needs(one_group));

/// Bytes that cannot be had the how-manieth time they are asked for.
struct Faulty<'a>(&'a Cell<u32>);

impl AsRef<[u8]> for Faulty<'_> {
    fn as_ref(&self) -> &[u8] {
        self.0.set(self.0.get().checked_sub(1).expect("a fault on purpose"));
        b"whole"
    }
}

fn a_batch_whose_messages_panic_sends_those_before_and_leaves_no_gap_that_blocks<S: Shape>() {
    let ring = S::heap(8);
    let mut producer = S::producer(&ring);
    // Each is asked once for its size, then once for its bytes: the third of four fails.
    let times = Cell::new(6);
    let batch = [Faulty(&times), Faulty(&times), Faulty(&times), Faulty(&times)];
    let sent = catch_unwind(AssertUnwindSafe(|| producer.send_batch(&batch, NORMAL)));
    assert!(sent.is_err());
    producer.send_fast(b"after", NORMAL).unwrap();
    drop(producer);
    let mut consumer = S::consumer(&ring);
    let received: Vec<_> = consumer.try_iter().map(|message| message.to_vec()).collect();
    assert_eq!(received, [&b"whole"[..], b"whole", b"after"]);
    // What was given up does not count once all have passed it.
    S::drain_second(&ring);
    assert_eq!(ring.stats().sent, 3);
}
on_each_shape!(a_batch_whose_messages_panic_sends_those_before_and_leaves_no_gap_that_blocks);

/// Room that cannot be had the how-manieth time it is asked for.
struct FaultyRoom<'a>(&'a Cell<u32>, [u8; 8]);

impl<'a> FaultyRoom<'a> {
    fn several(times: &'a Cell<u32>) -> [Self; 4] {
        [(); 4].map(|()| Self(times, [0; 8]))
    }
}

impl AsMut<[u8]> for FaultyRoom<'_> {
    fn as_mut(&mut self) -> &mut [u8] {
        self.0.set(self.0.get().checked_sub(1).expect("a fault on purpose"));
        &mut self.1
    }
}

/// A ring of four slots that is full, with `0` to `3`, and its producer.
fn full<S: Shape>() -> (UltraFastRing, Producer<S::Producers>) {
    let ring = S::heap(4);
    let mut producer = S::producer(&ring);
    (0..4).for_each(|number| producer.send_fast(&[number], NORMAL).unwrap());
    (ring, producer)
}

/// After a panic that lost what was claimed, `receive` has all the rest, and another lap.
fn goes_on<M: Mode>(
    ring: &UltraFastRing,
    producer: &mut Producer<M>,
    mut receive: impl FnMut() -> Result<Message, RecvError>,
) {
    let positions = ring.positions();
    assert_eq!(positions.consumer_tail, positions.consumer_head, "what is lost is granted");
    assert_eq!(ring.participants().filter(|other| other.hold.is_some()).count(), 0);
    let mut all = || std::iter::from_fn(|| receive().ok()).map(|it| it[0]).collect::<Vec<_>>();
    assert!(all().into_iter().eq(positions.consumer_head as u8..4));
    (4..8).for_each(|number| producer.send_fast(&[number], NORMAL).unwrap());
    assert_eq!(all(), [4, 5, 6, 7]);
}

fn a_batch_whose_buffers_panic_leaves_a_ring_that_goes_on<S: Shape>() {
    let mut heads = Vec::new();
    // Whenever a buffer is asked for.
    for times in 0.. {
        let (ring, mut producer) = full::<S>();
        let mut consumer = S::consumer(&ring);
        let times = Cell::new(times);
        let mut buffers = FaultyRoom::several(&times);
        let batch = catch_unwind(AssertUnwindSafe(|| consumer.try_recv_many(&mut buffers)));
        if let Ok(batch) = batch {
            assert_eq!(batch.unwrap().len(), 4);
            break;
        }
        heads.push(ring.positions().consumer_head);
        // Where there can be another consumer, that one does nothing more.
        if let Some(mut other) = S::try_consumer(&ring) {
            goes_on(&ring, &mut producer, || other.try_recv());
        } else {
            goes_on(&ring, &mut producer, || consumer.try_recv());
        }
    }
    heads.dedup();
    assert_eq!(heads, if S::consumers_claim() { &[0, 4][..] } else { &[0] });
}
on_each_shape!(a_batch_whose_buffers_panic_leaves_a_ring_that_goes_on, needs(one_group));

fn a_call_on_the_ring_whose_buffers_panic_leaves_one_that_goes_on<S: Shape>() {
    for times in 0.. {
        let (ring, mut producer) = full::<S>();
        let call = || {
            let times = Cell::new(times);
            ring.try_recv_many(&mut FaultyRoom::several(&times)).unwrap().len()
        };
        if let Ok(received) = thread::scope(|scope| scope.spawn(call).join()) {
            assert_eq!(received, 4);
            break;
        }
        goes_on(&ring, &mut producer, || ring.try_recv());
    }
}
on_each_shape!(
    a_call_on_the_ring_whose_buffers_panic_leaves_one_that_goes_on,
    needs(shared_consumer, plain)
);

fn a_stream_passes_from_handle_to_handle_at_any_moment<S: Shape>() {
    let messages = S::fewer(10_000);
    let ring = S::heap(8);
    let _second = S::read_second(&ring);
    thread::scope(|scope| {
        let ring = &ring;
        scope.spawn(move || {
            let mut number = 0;
            while number < messages {
                let mut producer = S::producer(ring);
                if S::most_producers(2) == 1 {
                    assert!(S::is_producer_taken(ring));
                }
                for _ in 0..=number % 11 {
                    if producer.try_send(Numbered::new(0, number), NORMAL).is_ok() {
                        number += 1;
                    }
                }
                thread::yield_now();
            }
        });
        let mut expected = 0;
        while expected < messages {
            let mut consumer = S::consumer(ring);
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
on_each_shape!(a_stream_passes_from_handle_to_handle_at_any_moment);

fn a_sound_ring_looks_sound_while_it_is_used<S: Shape>() {
    let ring = S::heap(4);
    let _second = S::read_second(&ring);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (ring, done) = (&ring, &done);
        scope.spawn(move || {
            let mut producer = S::producer(ring);
            while !done.load(Relaxed) {
                if producer.send_fast(b"x", NORMAL).is_err() {
                    thread::yield_now();
                }
            }
        });
        scope.spawn(move || {
            let mut consumer = S::consumer(ring);
            while !done.load(Relaxed) {
                if consumer.try_recv().is_err() {
                    thread::yield_now();
                }
            }
        });
        for _ in 0..S::fewer(10_000) {
            let findings = ring.examine().unwrap();
            if !findings.is_empty() {
                done.store(true, Relaxed);
                panic!("{findings:?}");
            }
        }
        done.store(true, Relaxed);
    });
}
on_each_shape!(a_sound_ring_looks_sound_while_it_is_used);
