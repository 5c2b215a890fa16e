//! Scenes of two to four threads over rings of one to four slots, for Miri: it runs them again and
//! again with another order of the threads, and lets loads return what the memory model allows them
//! to return, old values too (`verification/miri`). Unlike loom's, its threads are switched
//! anywhere, not only a few times; unlike loom's, not all that can happen does.
//!
//! Each message is forty bytes of its number. A slot that is read too early, or written too early,
//! is a mixture, or another message than the next.

#![cfg(all(feature = "alloc", not(loom)))]

#[path = "common/shapes.rs"]
mod shapes;

use std::thread;

use shapes::{Between, Shape, Shared, on_each_shape};
use ultrafastring::{
    Builder, Consumer, Mode, PriorityClass, Producer, RecvError, SendError, Timestamps,
};

const NORMAL: PriorityClass = PriorityClass::Normal;

fn slots<S: Shape>(capacity: usize) -> Builder {
    S::builder().capacity(capacity).participants(5).timestamps(Timestamps::Off)
}

fn message(number: u8) -> [u8; 40] {
    [number; 40]
}

/// The number of a message, which must be whole.
#[track_caller]
fn number(bytes: &[u8]) -> u8 {
    assert!(bytes.iter().all(|&byte| byte == bytes[0]), "a message is a mixture: {bytes:?}");
    bytes[0]
}

/// Tries until it gives something, and lets others run in between. Not for ever: one that fails
/// leaves others waiting.
#[track_caller]
fn until<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    for _ in 0..if cfg!(miri) { 400 } else { 100_000_000 } {
        if let Some(it) = attempt() {
            return it;
        }
        thread::yield_now();
    }
    panic!("waited in vain");
}

/// Receives by `receive` until the ring is closed.
fn until_closed(mut receive: impl FnMut() -> Result<u8, RecvError>) -> Vec<u8> {
    let mut seen = Vec::new();
    until(|| match receive() {
        Ok(number) => {
            seen.push(number);
            None
        }
        Err(RecvError::Closed) => Some(()),
        Err(_) => None,
    });
    seen
}

fn send<S: Mode>(producer: &mut Producer<S>, numbers: impl IntoIterator<Item = u8>) {
    send_in(producer, NORMAL, numbers);
}

fn send_in<S: Mode>(
    producer: &mut Producer<S>,
    class: PriorityClass,
    numbers: impl IntoIterator<Item = u8>,
) {
    for number in numbers {
        until(|| match producer.send_fast(&message(number), class) {
            Ok(()) => Some(()),
            Err(error) => {
                assert_eq!(error, SendError::Full);
                None
            }
        });
    }
}

fn receive<S: Mode>(consumer: &mut Consumer<S>) -> Option<u8> {
    consumer.try_recv().ok().map(|message| number(&message))
}

/// Each of `numbers` once, and those of one sender (tens) in order for each receiver.
fn check(received: Vec<Vec<u8>>, mut numbers: Vec<u8>) {
    for seen in &received {
        for sender in 0..10 {
            let of_it = seen.iter().filter(|&number| number / 10 == sender);
            assert!(of_it.is_sorted(), "out of order: {seen:?}");
        }
    }
    let mut all = received.concat();
    all.sort_unstable();
    numbers.sort_unstable();
    assert_eq!(all, numbers);
}

fn a_stream_keeps_its_order_over_laps<S: Shape>() {
    let ring = slots::<S>(2).heap().unwrap();
    let _second = S::read_second(&ring);
    let mut producer = S::producer(&ring);
    let mut consumer = S::consumer(&ring);
    thread::scope(|scope| {
        scope.spawn(|| send(&mut producer, 1..=6));
        for expected in 1..=6 {
            assert_eq!(until(|| receive(&mut consumer)), expected);
        }
    });
}
on_each_shape!(a_stream_keeps_its_order_over_laps, needs(quick));

fn batches_keep_their_order_over_laps<S: Shape>() {
    let ring = slots::<S>(4).heap().unwrap();
    let _second = S::read_second(&ring);
    let mut producer = S::producer(&ring);
    let mut consumer = S::consumer(&ring);
    thread::scope(|scope| {
        scope.spawn(|| {
            let messages: Vec<_> = (1..=9).map(message).collect();
            let mut sent = 0;
            while sent < messages.len() {
                sent += until(|| producer.send_batch(&messages[sent..], NORMAL).ok());
            }
        });
        let mut seen = Vec::new();
        while seen.len() < 9 {
            let mut buffers = [[0; 40]; 3];
            let count = until(|| consumer.recv_batch(&mut buffers).ok()).len();
            seen.extend(buffers[..count].iter().map(|buffer| number(buffer)));
        }
        assert_eq!(seen, (1..=9).collect::<Vec<_>>());
    });
}
on_each_shape!(batches_keep_their_order_over_laps, needs(quick));

fn what_is_read_in_place_is_not_overwritten<S: Shape>() {
    let ring = slots::<S>(1).heap().unwrap();
    let _second = S::read_second(&ring);
    let mut producer = S::producer(&ring);
    let mut consumer = S::consumer(&ring);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..=4 {
                until(|| {
                    let mut place = producer.try_reserve(40, NORMAL).ok()?;
                    place.copy_from_slice(&message(number));
                    place.commit();
                    Some(())
                });
            }
        });
        for expected in 1..=4 {
            let seen = until(|| {
                let guard = consumer.try_borrow().ok()?;
                thread::yield_now();
                Some(number(&guard.to_vec()))
            });
            assert_eq!(seen, expected);
        }
    });
}
on_each_shape!(what_is_read_in_place_is_not_overwritten, needs(quick));

/// How a consumer receives.
type Way<C> = fn(&mut Consumer<C>) -> Vec<u8>;

/// Producers that send `each`, and consumers in two ways: of each side as many as there can be.
fn crowd<S: Shape>(each: u8, ways: [Way<S::Consumers>; 2]) {
    let ring = slots::<S>(2).heap().unwrap();
    let _second = S::read_second(&ring);
    let (producers, consumers) = (S::producers(&ring, 2), S::consumers(&ring, 2));
    let senders = producers.len() as u8;
    let total = usize::from(senders * each);
    let got = std::sync::atomic::AtomicUsize::new(0);
    let seen = thread::scope(|scope| {
        for (sender, mut producer) in (0..).zip(producers) {
            scope.spawn(move || {
                let numbers = (0..each).map(|nth| sender * 10 + nth);
                send_in(&mut producer, S::class(sender.into()), numbers);
            });
        }
        let receiving = consumers.into_iter().zip(ways).map(|(mut consumer, receive)| {
            let got = &got;
            scope.spawn(move || {
                // Relaxed: only a count.
                let relaxed = std::sync::atomic::Ordering::Relaxed;
                let mut seen = Vec::new();
                until(|| {
                    let new = receive(&mut consumer);
                    got.fetch_add(new.len(), relaxed);
                    seen.extend(new);
                    (got.load(relaxed) == total).then_some(())
                });
                seen
            })
        });
        let receiving: Vec<_> = receiving.collect();
        receiving.into_iter().map(|receiver| receiver.join().unwrap()).collect()
    });
    let sent =
        (0..senders).flat_map(|sender| (0..each).map(move |nth| sender * 10 + nth)).collect();
    check(seen, sent);
}

fn two_producers_and_two_consumers_pass_each_message_once<S: Shape>() {
    crowd::<S>(3, [|consumer| receive(consumer).into_iter().collect(); 2]);
}
on_each_shape!(two_producers_and_two_consumers_pass_each_message_once, needs(quick));

fn what_one_holds_is_not_granted_by_another<S: Shape>() {
    crowd::<S>(
        3,
        [
            |consumer| {
                let Ok(guard) = consumer.try_borrow() else { return Vec::new() };
                thread::yield_now();
                vec![number(guard.as_inline().unwrap())]
            },
            |consumer| {
                let mut buffers = [[0; 40]; 2];
                let count = consumer.recv_batch(&mut buffers).map_or(0, |batch| batch.len());
                consumer.flush();
                buffers[..count].iter().map(|buffer| number(buffer)).collect()
            },
        ],
    );
}
on_each_shape!(what_one_holds_is_not_granted_by_another, needs(two_consumers, quick));

fn large_messages_are_whole_and_not_overwritten_while_they_are_read<S: Shape>() {
    let ring = slots::<S>(1).max_message(64).heap().unwrap();
    let _second = S::read_second(&ring);
    let (mut producer, consumers) = (S::producer(&ring), S::consumers(&ring, 2));
    let seen = thread::scope(|scope| {
        scope.spawn(move || {
            for filling in 1..=4 {
                until(|| producer.send_fast(&[filling; 64], NORMAL).ok());
            }
            producer.close();
        });
        let receiving = consumers.into_iter().map(|mut consumer| {
            scope.spawn(move || {
                until_closed(|| {
                    let mut bytes = Vec::new();
                    consumer.try_recv_into(&mut bytes).map(|_| number(&bytes))
                })
            })
        });
        let receiving: Vec<_> = receiving.collect();
        receiving.into_iter().map(|receiver| receiver.join().unwrap()).collect()
    });
    check(seen, (1..=4).collect());
}
on_each_shape!(large_messages_are_whole_and_not_overwritten_while_they_are_read, needs(quick));

fn what_one_holds_in_place_is_not_granted_by_another<S: Shape>() {
    // In side buffers: what is in a slot is copied when it is borrowed.
    let ring = slots::<S>(2).max_message(64).heap().unwrap();
    let _second = S::read_second(&ring);
    let mut producer = S::producer(&ring);
    let (mut holding, mut granting) = (S::consumer(&ring), S::consumer(&ring));
    let seen = thread::scope(|scope| {
        scope.spawn(move || {
            for filling in 1..=6 {
                until(|| producer.send_fast(&[filling; 64], NORMAL).ok());
            }
            producer.close();
        });
        let others = scope.spawn(move || {
            until_closed(|| {
                granting.flush();
                let mut bytes = Vec::new();
                granting.try_recv_into(&mut bytes).map(|_| number(&bytes))
            })
        });
        let held = until_closed(|| {
            holding.try_borrow().map(|guard| {
                for _ in 0..8 {
                    thread::yield_now();
                }
                number(&guard.to_vec())
            })
        });
        vec![held, others.join().unwrap()]
    });
    check(seen, (1..=6).collect());
}
on_each_shape!(what_one_holds_in_place_is_not_granted_by_another, needs(two_consumers, quick));

fn a_closed_ring_is_received_whole<S: Shape>() {
    let ring = slots::<S>(2).heap().unwrap();
    let _second = S::read_second(&ring);
    let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
    thread::scope(|scope| {
        scope.spawn(move || {
            send(&mut producer, 1..=3);
            producer.close();
        });
        let seen = until_closed(|| consumer.try_recv().map(|message| number(&message)));
        assert_eq!(seen, [1, 2, 3], "closed before all was received");
    });
}
on_each_shape!(a_closed_ring_is_received_whole, needs(quick));

#[test]
fn calls_on_the_ring_share_their_handles_between_threads() {
    let ring = slots::<Between<Shared, Shared>>(2).heap().unwrap();
    let seen = thread::scope(|scope| {
        for sender in 0..2 {
            let ring = &ring;
            scope.spawn(move || {
                for nth in 0..2 {
                    until(|| ring.send_fast(&message(sender * 10 + nth), NORMAL).ok());
                }
            });
        }
        let mut seen = Vec::new();
        while seen.len() < 4 {
            let mut buffer = [0; 40];
            let (size, ..) = until(|| ring.recv_fast(&mut buffer).ok());
            seen.push(number(&buffer[..size]));
            // Visits the thread handles.
            ring.stats();
        }
        seen
    });
    check(vec![seen], vec![0, 1, 10, 11]);
}

fn an_exclusive_sides_successor_goes_on_where_its_predecessor_left<S: Shape>() {
    let ring = slots::<S>(2).heap().unwrap();
    let _second = S::read_second(&ring);
    let mut consumer = S::consumer(&ring);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut producer = S::producer(&ring);
            send(&mut producer, 1..=2);
        });
        // In another thread, which is told by nothing but the side's lock.
        scope.spawn(|| {
            for number in 11..=12 {
                let mut producer = until(|| S::try_producer(&ring));
                send(&mut producer, [number]);
            }
        });
        let seen: Vec<_> = (0..4).map(|_| until(|| receive(&mut consumer))).collect();
        check(vec![seen], vec![1, 2, 11, 12]);
    });
}
on_each_shape!(
    an_exclusive_sides_successor_goes_on_where_its_predecessor_left,
    needs(exclusive_lane, quick)
);
