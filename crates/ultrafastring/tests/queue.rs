//! A ring as a queue between threads: what others test of theirs.
//!
//! The behaviours are those that the tests of `crossbeam_queue::ArrayQueue` and of the standard
//! library's `sync_channel` check, written anew for rings, on each shape and by handles of any
//! mode.
//!
//! | they check | here | where a ring differs |
//! |---|---|---|
//! | `ArrayQueue`: one slot, used again (`smoke`) | [`one_slot_is_used_again_and_again`] | a message is bytes, not a value |
//! | the capacity (`capacity`) | [`a_ring_has_as_many_slots_as_were_asked_for`] | a power of two; another is an error |
//! | no capacity of zero (`zero_capacity`) | [`no_ring_is_without_slots`] | an error, where `new` panics |
//! | length, empty, full (`len_empty_full`) | [`length_empty_and_full_follow_each_message`] | what a consumer holds keeps the ring full, and on a shared side is not in the length |
//! | length meanwhile (`len`) | [`the_length_never_exceeds_the_capacity_while_messages_pass`] | none |
//! | one to one (`spsc`) | [`one_thread_gets_in_order_what_another_sends`] | none |
//! | several to several (`mpmc`) | [`several_threads_get_each_message_of_several_once`] | only sides that are shared have several |
//! | the newest displaces the oldest (`force_push`) | [`who_wants_the_newest_takes_the_oldest_out`] | no such call: a thread with both handles does it |
//! | each value dropped once (`drops`) | [`a_message_comes_back_or_is_dropped_once`] | bytes are copied, so the value is dropped when it is sent; nothing is to be dropped in a ring |
//! | who has pushed can pop (`linearizable`) | [`who_has_sent_finds_a_message`] | `try_recv` may find the ring empty while a slot before is claimed and not committed; `recv` waits for it |
//! | `into_iter` | [`the_iterators_give_all_in_order_and_end`] | one ends at what is there, the other at a close |
//! | `sync_channel`: times (`recv_timeout`) | [`waits_end_by_their_time_or_by_a_message`] | sends have times, too |
//! | no room is told (`try_send`) | [`a_full_ring_gives_the_message_back`] | `OutOfCredit` besides `Full` |
//! | receivers end when all senders have gone | [`a_receiver_ends_when_the_last_sender_has_gone`] | if it asked for that; others of a named ring may come again |
//! | senders end when the receiver has gone | [`a_sender_without_room_ends_when_the_last_receiver_has_gone`] | if it asked for that, and when there is no room |
//! | a rendezvous of capacity zero | - | there is none: who sends waits for room, not for a receiver |
//! | | [`a_close_ends_a_stream_after_what_was_sent`] | a queue has no close |

#![cfg(all(feature = "std", not(loom)))]

mod common;
#[path = "common/shapes.rs"]
mod shapes;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use common::{Numbered, patiently};
use shapes::{Shape, on_each_shape};
use ultrafastring::{
    Consumer, PriorityClass, Producer, RecvError, RingError, SendError, UltraFastRing,
};

const NORMAL: PriorityClass = PriorityClass::Normal;
const SOON: Duration = Duration::from_millis(10);
/// Longer than any test waits for what comes at once.
const LONG: Duration = Duration::from_secs(60);

fn both<S: Shape>(ring: &UltraFastRing) -> (Producer, Consumer) {
    let consumer = S::consumer_of_any_mode(ring);
    (ring.producer().unwrap(), consumer)
}

fn one_slot_is_used_again_and_again<S: Shape>() {
    let ring = S::heap(1);
    let (mut producer, mut consumer) = both::<S>(&ring);
    for word in ["seven", "eight", "nine"] {
        producer.try_send(word, NORMAL).unwrap();
        assert_eq!(consumer.try_recv().unwrap(), word.as_bytes());
    }
    assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty);
}
on_each_shape!(one_slot_is_used_again_and_again, needs(one_group));

fn a_ring_has_as_many_slots_as_were_asked_for<S: Shape>() {
    for capacity in 1..=64 {
        let ring = S::builder().capacity(capacity).heap();
        if !capacity.is_power_of_two() {
            assert!(matches!(ring, Err(RingError::Invalid { .. })), "{capacity}");
            continue;
        }
        let ring = ring.unwrap();
        let (mut producer, consumer) = both::<S>(&ring);
        assert_eq!((ring.capacity(), producer.capacity(), consumer.capacity()), {
            (capacity, capacity, capacity)
        });
        let sent = std::iter::repeat_with(|| producer.try_send("", NORMAL));
        assert_eq!(sent.take_while(Result::is_ok).count(), capacity);
    }
}
on_each_shape!(a_ring_has_as_many_slots_as_were_asked_for);

#[test]
fn no_ring_is_without_slots() {
    assert!(matches!(UltraFastRing::try_new(0), Err(RingError::Invalid { .. })));
    assert!(std::panic::catch_unwind(|| UltraFastRing::new(0)).is_err());
}

fn length_empty_and_full_follow_each_message<S: Shape>() {
    let ring = S::heap(2);
    let (mut producer, mut consumer) = both::<S>(&ring);
    // Other lanes have room.
    let full = !S::has_lanes();
    let says = |producer: &Producer, consumer: &Consumer| {
        let says = (producer.len(), producer.is_empty(), producer.is_full());
        assert_eq!((consumer.len(), consumer.is_empty(), consumer.is_full()), says);
        assert_eq!((ring.len(), ring.is_empty()), (says.0, says.1));
        says
    };
    assert_eq!(says(&producer, &consumer), (0, true, false));
    producer.try_send("one", NORMAL).unwrap();
    assert_eq!(says(&producer, &consumer), (1, false, false));
    producer.try_send("two", NORMAL).unwrap();
    assert_eq!(says(&producer, &consumer), (2, false, full));
    consumer.try_recv().unwrap();
    assert_eq!(says(&producer, &consumer), (1, false, false));
    // The slot of one that is held is not free.
    producer.try_send("three", NORMAL).unwrap();
    let held = consumer.try_borrow().unwrap();
    assert_eq!(producer.len(), 1 + usize::from(!S::consumers_claim()));
    assert_eq!(producer.is_full(), full);
    held.release();
    assert_eq!(says(&producer, &consumer), (1, false, false));
}
on_each_shape!(length_empty_and_full_follow_each_message, needs(one_group));

fn the_length_never_exceeds_the_capacity_while_messages_pass<S: Shape>() {
    const CAPACITY: usize = 64;
    let ring = S::heap(CAPACITY);
    let (mut producer, mut consumer) = both::<S>(&ring);
    for sent in (0..CAPACITY).chain(0..CAPACITY / 3) {
        for number in 0..sent {
            producer.try_send("it", NORMAL).unwrap();
            assert_eq!(producer.len(), number + 1);
        }
        for number in (0..sent).rev() {
            consumer.try_recv().unwrap();
            assert_eq!(consumer.len(), number);
        }
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..S::fewer(20_000) {
                producer.send(b"it", NORMAL).unwrap();
                assert!(producer.len() <= CAPACITY);
            }
        });
        for _ in 0..S::fewer(20_000) {
            consumer.recv().unwrap();
            assert!(consumer.len() <= CAPACITY);
        }
        assert_eq!((consumer.len(), consumer.is_full()), (0, false));
    });
}
on_each_shape!(the_length_never_exceeds_the_capacity_while_messages_pass, needs(one_group));

fn one_thread_gets_in_order_what_another_sends<S: Shape>() {
    let count = S::fewer(50_000);
    let ring = S::heap(4);
    let second = S::read_second(&ring);
    let (mut producer, mut consumer) = both::<S>(&ring);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..count {
                let mut message = Numbered::new(1, number);
                while let Err(error) = producer.try_send(message, NORMAL) {
                    assert!(error.is_full(), "{error}");
                    message = error.into_inner();
                    std::thread::yield_now();
                }
            }
        });
        for number in 0..count {
            let message = patiently("the next", || consumer.try_recv().ok());
            assert_eq!(Numbered::read(&message), (1, number));
        }
        assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty);
    });
    assert!(second.finish().is_none_or(|received| received == count));
}
on_each_shape!(one_thread_gets_in_order_what_another_sends);

/// How often each number was seen.
struct Seen(Vec<AtomicUsize>);

impl Seen {
    fn none(numbers: u64) -> Self {
        Self((0..numbers).map(|_| AtomicUsize::new(0)).collect())
    }

    fn note(&self, message: &[u8]) {
        self.0[Numbered::read(message).1 as usize].fetch_add(1, Relaxed);
    }

    #[track_caller]
    fn assert_each(&self, times: usize) {
        let wrong = self.0.iter().position(|seen| seen.load(Relaxed) != times);
        assert_eq!(wrong, None, "a number was not seen {times} times");
    }
}

fn several_threads_get_each_message_of_several_once<S: Shape>() {
    let each = S::fewer(10_000);
    const THREADS: usize = 4;
    let ring = S::heap(4);
    let second = S::read_second(&ring);
    let seen = Seen::none(each);
    let senders = S::most_producers(THREADS);
    std::thread::scope(|scope| {
        let producers: Vec<_> = (0..senders).map(|_| ring.producer().unwrap()).collect();
        for _ in 0..S::most_consumers(THREADS) {
            let consumer = S::consumer_of_any_mode(&ring);
            scope.spawn(|| consumer.into_iter().for_each(|message| seen.note(&message)));
        }
        let sending: Vec<_> = producers
            .into_iter()
            .zip(0..)
            .map(|(mut producer, sender)| {
                scope.spawn(move || {
                    for number in 0..each {
                        let message = Numbered::new(0, number);
                        producer.send(message.as_ref(), S::class(sender)).unwrap();
                    }
                })
            })
            .collect();
        sending.into_iter().for_each(|it| it.join().unwrap());
        ring.close();
    });
    seen.assert_each(senders);
    assert!(second.finish().is_none_or(|count| count == senders as u64 * each));
}
on_each_shape!(several_threads_get_each_message_of_several_once);

fn who_wants_the_newest_takes_the_oldest_out<S: Shape>() {
    let each = S::fewer(5_000);
    const THREADS: usize = 3;
    let ring = S::heap(4);
    let second = S::read_second(&ring);
    let seen = Seen::none(each);
    let senders = S::most_producers(THREADS);
    std::thread::scope(|scope| {
        let reader = S::consumer_of_any_mode(&ring);
        let producers: Vec<_> = (0..senders).map(|_| both::<S>(&ring)).collect();
        scope.spawn(|| reader.into_iter().for_each(|message| seen.note(&message)));
        let sending: Vec<_> = producers
            .into_iter()
            .map(|(mut producer, mut taker)| {
                let seen = &seen;
                scope.spawn(move || {
                    for number in 0..each {
                        let message = Numbered::new(0, number);
                        while producer.try_send(message, NORMAL).is_err() {
                            if let Ok(oldest) = taker.try_recv() {
                                seen.note(&oldest);
                            }
                        }
                    }
                })
            })
            .collect();
        sending.into_iter().for_each(|it| it.join().unwrap());
        ring.close();
    });
    seen.assert_each(senders);
    assert!(second.finish().is_none_or(|count| count == senders as u64 * each));
}
on_each_shape!(who_wants_the_newest_takes_the_oldest_out, needs(two_consumers));

/// Bytes that count how often they are dropped.
struct Counted<'a>(&'a AtomicUsize);

impl AsRef<[u8]> for Counted<'_> {
    fn as_ref(&self) -> &[u8] {
        b"counted"
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn a_message_comes_back_or_is_dropped_once<S: Shape>() {
    let drops = AtomicUsize::new(0);
    let ring = S::heap(2);
    let (mut producer, mut consumer) = both::<S>(&ring);
    for sent in 1..=2 {
        assert!(producer.try_send(Counted(&drops), NORMAL).is_ok());
        assert_eq!(drops.load(Relaxed), sent, "its bytes are in the ring, and it is done with");
    }
    let back = producer.try_send(Counted(&drops), NORMAL).unwrap_err().into_inner();
    assert_eq!(drops.load(Relaxed), 2, "it is whole");
    consumer.try_recv().unwrap();
    assert!(producer.try_send(back, NORMAL).is_ok());
    assert_eq!(drops.load(Relaxed), 3);
    drop((producer, consumer, ring));
    assert_eq!(drops.load(Relaxed), 3, "what is left in a ring is bytes");
}
on_each_shape!(a_message_comes_back_or_is_dropped_once, needs(one_group));

fn who_has_sent_finds_a_message<S: Shape>() {
    let each = S::fewer(3_000);
    for (capacity, threads) in [(1, 2), (1, 4), (4, 4)] {
        let ring = S::heap(capacity);
        let second = S::read_second(&ring);
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let (mut producer, mut consumer) = both::<S>(&ring);
                scope.spawn(move || {
                    for number in 0..each {
                        let message = Numbered::new(thread, number);
                        producer.send(message.as_ref(), S::class(thread)).unwrap();
                        // Another's, as likely as not.
                        Numbered::read(&consumer.recv_timeout(LONG).unwrap());
                    }
                });
            }
        });
        assert!(second.finish().is_none_or(|count| count == u64::from(threads) * each));
        assert!(ring.is_empty());
        assert_eq!(ring.stats().received, u64::from(threads) * each);
    }
}
on_each_shape!(who_has_sent_finds_a_message, needs(several_of_each));

fn the_iterators_give_all_in_order_and_end<S: Shape>() {
    let ring = S::heap(64);
    let (mut producer, mut consumer) = both::<S>(&ring);
    let numbers = |messages: &mut dyn Iterator<Item = ultrafastring::Message>| {
        messages.map(|it| Numbered::read(&it).1).collect::<Vec<_>>()
    };
    let mut send = |range: std::ops::Range<u64>| {
        range.for_each(|it| producer.send(Numbered::new(0, it).as_ref(), NORMAL).unwrap());
    };
    send(0..50);
    assert_eq!(numbers(&mut consumer.try_iter().take(20)), Vec::from_iter(0..20));
    assert_eq!(numbers(&mut consumer.try_iter()), Vec::from_iter(20..50));
    assert_eq!(numbers(&mut consumer.try_iter()), [0; 0]);
    send(0..64);
    ring.close();
    assert_eq!(numbers(&mut consumer.iter().take(30)), Vec::from_iter(0..30));
    assert_eq!(numbers(&mut consumer.into_iter()), Vec::from_iter(30..64));
}
on_each_shape!(the_iterators_give_all_in_order_and_end, needs(one_group));

fn waits_end_by_their_time_or_by_a_message<S: Shape>() {
    let ring = S::heap(1);
    let (mut producer, mut consumer) = both::<S>(&ring);
    for _ in 0..3 {
        let start = Instant::now();
        assert_eq!(consumer.recv_timeout(SOON).unwrap_err(), RecvError::TimedOut);
        assert!(start.elapsed() >= SOON);
        producer.send_timeout(b"it", NORMAL, SOON).unwrap();
        let start = Instant::now();
        assert_eq!(producer.send_timeout(b"more", NORMAL, SOON), Err(SendError::TimedOut));
        assert!(start.elapsed() >= SOON);
        assert_eq!(consumer.recv_timeout(SOON).unwrap(), b"it");
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..1_000 {
                if number % 100 == 0 {
                    std::thread::sleep(SOON / 5);
                }
                producer.send_timeout(Numbered::new(0, number).as_ref(), NORMAL, LONG).unwrap();
            }
        });
        let mut received = 0;
        while received < 1_000 {
            match consumer.recv_timeout(SOON / 10) {
                Ok(message) => {
                    assert_eq!(Numbered::read(&message).1, received);
                    received += 1;
                }
                Err(error) => assert_eq!(error, RecvError::TimedOut),
            }
        }
    });
}
on_each_shape!(waits_end_by_their_time_or_by_a_message, needs(one_group));

fn a_full_ring_gives_the_message_back<S: Shape>() {
    let ring = S::builder().capacity(8).credit_limit(4).heap().unwrap();
    let (mut producer, _consumer) = both::<S>(&ring);
    let message = String::from("a message of its own");
    for _ in 0..producer.max_in_flight() {
        producer.try_send(message.clone(), NORMAL).unwrap();
    }
    let error = producer.try_send(message.clone(), NORMAL).unwrap_err();
    assert_eq!((error.is_full(), producer.is_full()), (true, !S::has_lanes()));
    assert_eq!((error.reason, error.into_inner()), (SendError::OutOfCredit, message));
    // And `?` makes it an error of a send.
    let send = |producer: &mut Producer| -> Result<(), SendError> {
        producer.try_send("no room", NORMAL)?;
        Ok(())
    };
    assert_eq!(send(&mut producer), Err(SendError::OutOfCredit));
}
on_each_shape!(a_full_ring_gives_the_message_back);

fn a_receiver_ends_when_the_last_sender_has_gone<S: Shape>() {
    let ring = S::heap(4);
    let (producer, mut consumer) = both::<S>(&ring);
    drop(producer);
    // Unless it asks, it waits for others.
    assert_eq!(consumer.recv_timeout(SOON).unwrap_err(), RecvError::TimedOut);
    let last: Vec<_> = (0..S::most_producers(2)).map(|_| ring.producer().unwrap()).collect();
    consumer.end_when_deserted(true);
    let wins = Mutex::new(0);
    std::thread::scope(|scope| {
        for mut producer in last {
            let wins = &wins;
            scope.spawn(move || {
                producer.send(b"last words", NORMAL).unwrap();
                *wins.lock().unwrap() += 1;
            });
        }
        let received = consumer.iter().inspect(|it| assert_eq!(it, b"last words")).count();
        assert_eq!(received, *wins.lock().unwrap());
        assert_eq!(consumer.recv().unwrap_err(), RecvError::Deserted);
    });
}
on_each_shape!(a_receiver_ends_when_the_last_sender_has_gone, needs(one_group));

fn a_sender_without_room_ends_when_the_last_receiver_has_gone<S: Shape>() {
    let ring = S::heap(2);
    let (mut producer, consumer) = both::<S>(&ring);
    producer.end_when_deserted(true);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut consumer = consumer;
            consumer.recv().unwrap();
        });
        let mut sent = 0;
        let end = loop {
            match producer.send(b"it", NORMAL) {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
        };
        assert_eq!((end, sent), (SendError::Deserted, 3), "two are in the ring, one was taken");
    });
    // They are there for whoever comes next.
    assert_eq!(S::consumer_of_any_mode(&ring).try_iter().count(), 2);
}
on_each_shape!(a_sender_without_room_ends_when_the_last_receiver_has_gone, needs(one_group));

fn a_close_ends_a_stream_after_what_was_sent<S: Shape>() {
    let ring = S::heap(8);
    let (mut producer, mut consumer) = both::<S>(&ring);
    (0..5).for_each(|number| producer.send(Numbered::new(0, number).as_ref(), NORMAL).unwrap());
    producer.close();
    assert_eq!(producer.send(b"late", NORMAL), Err(SendError::Closed));
    assert_eq!(
        consumer.iter().map(|it| Numbered::read(&it).1).collect::<Vec<_>>(),
        [0, 1, 2, 3, 4]
    );
    assert_eq!(consumer.recv().unwrap_err(), RecvError::Closed);
}
on_each_shape!(a_close_ends_a_stream_after_what_was_sent);
