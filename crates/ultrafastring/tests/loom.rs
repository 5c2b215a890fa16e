//! The real code's claim, commit, release and grant under every interleaving of a few threads, and
//! every value that the memory model lets a load return, on rings of two slots.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=2 cargo test --release -p ultrafastring \
//!     --no-default-features --features alloc --lib --test loom
//! ```
//!
//! What the tests can see is a message that is wrong, doubled, lost or out of order; a slot that is
//! given back too early shows as a wrong message. One thing is beyond them. Loom runs each load
//! at its turn, so it never lets one return a value that is stored later: an ordering that only
//! keeps a consumer's reads before the next lap's writes is not checked by itself.
//!
//! A participant in memory cannot die alone. Here it can (`die`): its entry's lock is given back as
//! the kernel would, and its work stays unfinished. And since nobody has a clock to be stuck by,
//! survivors are told when to look for the dead (`recover`).
//!
//! Where handles park, the kernel's futex is a lock and a condition, no time passes, and the ring
//! is one whose busy sides fence: what `membarrier` does is as if they had. A wake-up that is lost
//! is a deadlock, which loom reports. Handles outlive the scene, since one that leaves wakes all
//! others.
//!
//! Timestamps are off and the rings so small that every message is announced by itself, since
//! nothing in a model may depend on the clock.

#![cfg(loom)]

#[path = "common/model.rs"]
mod model;
#[path = "common/shapes.rs"]
mod shapes;

use std::mem;
use std::sync::Arc;

use loom::thread;
use model::{NORMAL, check, check_with, message, number, receive_some, send_some, spawn};
use shapes::{Shape, on_each_shape};
use ultrafastring::{
    Builder, Consumer, Mode, PriorityClass, Producer, RecvError, SendError, Side, Timestamps,
};

fn two_slots() -> Builder {
    Builder::new().capacity(2).participants(4).timestamps(Timestamps::Off)
}

fn two_slots_of<S: Shape>() -> Builder {
    S::of(two_slots())
}

/// How many messages go over more than a lap: of two laps where neither side races, and where one
/// claims, which takes more steps, fewer.
fn over_laps<S: Shape>() -> u8 {
    if S::producers_share() || S::consumers_share() { 3 } else { 5 }
}

/// Sends all of `numbers`, and lets others run while the ring is full.
fn send_all<S: Mode>(producer: &mut Producer<S>, numbers: impl IntoIterator<Item = u8>) {
    for number in numbers {
        while let Err(error) = producer.send_fast(&message(number), NORMAL) {
            assert_eq!(error, SendError::Full);
            thread::yield_now();
        }
    }
}

/// All of `sent` was received, each once.
fn check_all(received: impl IntoIterator<Item = Vec<u8>>, sent: impl IntoIterator<Item = u8>) {
    let mut received: Vec<u8> = received.into_iter().flatten().collect();
    let mut sent: Vec<u8> = sent.into_iter().collect();
    received.sort_unstable();
    sent.sort_unstable();
    assert_eq!(received, sent, "not each message was received once");
}

fn a_stream_keeps_its_order_over_laps<S: Shape>() {
    check(|| {
        let ring = two_slots_of::<S>().heap().unwrap();
        let mut producer = S::producer(&ring);
        let mut consumer = S::consumer(&ring);
        let sending = spawn(move || send_all(&mut producer, 1..=over_laps::<S>()));
        for expected in 1..=over_laps::<S>() {
            let received = loop {
                match consumer.try_recv() {
                    Ok(message) => break number(&message),
                    Err(error) => assert_eq!(error, RecvError::Empty),
                }
                thread::yield_now();
            };
            assert_eq!(received, expected);
        }
        sending.join().unwrap();
        assert!(consumer.try_recv().is_err());
    });
}
on_each_shape!(a_stream_keeps_its_order_over_laps, needs(scenes_of_plain_rings));

fn batches_keep_their_order_over_laps<S: Shape>() {
    check(|| {
        let ring = two_slots_of::<S>().heap().unwrap();
        let mut producer = S::producer(&ring);
        let mut consumer = S::consumer(&ring);
        let sending = spawn(move || {
            let messages: Vec<_> = (1..=over_laps::<S>()).map(message).collect();
            let mut rest = &messages[..];
            while !rest.is_empty() {
                match producer.send_batch(rest, NORMAL) {
                    Ok(sent) => rest = &rest[sent..],
                    Err(_) => thread::yield_now(),
                }
            }
        });
        let mut seen = Vec::new();
        while seen.len() < usize::from(over_laps::<S>()) {
            let mut buffers = [[0; 40]; 2];
            match consumer.recv_batch(&mut buffers) {
                Ok(batch) => seen.extend(buffers[..batch.len()].iter().map(|b| number(b))),
                Err(_) => thread::yield_now(),
            }
        }
        assert!(seen.into_iter().eq(1..=over_laps::<S>()));
        sending.join().unwrap();
    });
}
on_each_shape!(batches_keep_their_order_over_laps, needs(scenes_of_plain_rings));

fn what_a_consumer_reads_in_place_is_not_overwritten<S: Shape>() {
    check(|| {
        let ring = two_slots_of::<S>().heap().unwrap();
        let mut producer = S::producer(&ring);
        let mut consumer = S::consumer(&ring);
        let sending = spawn(move || send_all(&mut producer, 1..=over_laps::<S>().min(4)));
        for expected in 1..=over_laps::<S>().min(4) {
            loop {
                if let Ok(guard) = consumer.try_borrow() {
                    assert_eq!(number(guard.as_inline().unwrap()), expected);
                    break;
                }
                thread::yield_now();
            }
        }
        sending.join().unwrap();
    });
}
on_each_shape!(what_a_consumer_reads_in_place_is_not_overwritten, needs(scenes_of_plain_rings));

#[test]
fn two_producers_and_two_consumers_pass_each_message_once() {
    check(|| {
        let ring = two_slots().heap().unwrap();
        // All are there before anything is sent: what a newcomer looks at is in scenes of its own.
        let producers = [1, 2].map(|number| (number, ring.producer().unwrap()));
        let (mut first, mut second) = (ring.consumer().unwrap(), ring.consumer().unwrap());
        let sending = producers
            .map(|(number, mut producer)| spawn(move || send_all(&mut producer, [number])));
        let receiving = spawn(move || receive_some(&mut second, 1));
        let mut seen = receive_some(&mut first, 1);
        let other = receiving.join().unwrap();
        sending.into_iter().for_each(|sender| sender.join().unwrap());
        seen.extend(first.try_iter().map(|message| number(&message)));
        check_all([seen, other], 1..=2);
    });
}

fn two_producers_that_race_over_laps_lose_nothing<S: Shape>() {
    check(|| {
        let ring = two_slots_of::<S>().heap().unwrap();
        let (mut first, mut second) = (S::producer(&ring), S::producer(&ring));
        let mut consumer = S::consumer(&ring);
        let one = spawn(move || send_some(&mut first, &[1, 2], 3));
        let two = spawn(move || send_some(&mut second, &[11], 2));
        let mut seen = receive_some(&mut consumer, 2);
        let sent = [one.join().unwrap(), two.join().unwrap()];
        seen.extend(consumer.try_iter().map(|message| number(&message)));
        assert!(seen.iter().filter(|&&number| number < 10).is_sorted());
        check_all([seen], sent.into_iter().flatten());
    });
}
on_each_shape!(
    two_producers_that_race_over_laps_lose_nothing,
    needs(two_producers, scenes_of_plain_rings)
);

#[test]
#[ignore = "a minute or more: with --ignored"]
fn consumers_that_race_over_laps_read_nothing_twice_and_nothing_overwritten() {
    check(|| {
        let ring = two_slots().exclusive_producer().heap().unwrap();
        let mut producer = ring.exclusive_producer().unwrap();
        let (mut first, mut second) = (ring.consumer().unwrap(), ring.consumer().unwrap());
        let sending = spawn(move || send_some(&mut producer, &[1, 2, 3], 4));
        let receiving = spawn(move || receive_some(&mut second, 2));
        let mut seen = receive_some(&mut first, 1);
        let other = receiving.join().unwrap();
        let sent = sending.join().unwrap();
        seen.extend(first.try_iter().map(|message| number(&message)));
        assert!(seen.is_sorted() && other.is_sorted());
        check_all([seen, other], sent);
    });
}

fn a_batch_that_is_held_is_not_granted_by_another_consumer<S: Shape>() {
    check(|| {
        let ring = two_slots_of::<S>().heap().unwrap();
        let mut producer = S::producer(&ring);
        producer.send_batch(&[message(1), message(2)], NORMAL).unwrap();
        let (mut holding, mut granting) = (S::consumer(&ring), S::consumer(&ring));
        let sending = spawn(move || send_some(&mut producer, &[3], 2));
        let receiving = spawn(move || {
            let mut buffers = [[0; 40]; 2];
            let received = holding.recv_batch(&mut buffers).map_or(0, |batch| batch.len());
            buffers[..received].iter().map(|buffer| number(buffer)).collect::<Vec<_>>()
        });
        granting.flush();
        let other = receiving.join().unwrap();
        let sent = sending.join().unwrap();
        let seen: Vec<_> = granting.try_iter().map(|message| number(&message)).collect();
        assert!(seen.is_sorted() && other.is_sorted());
        check_all([seen, other], [1, 2].into_iter().chain(sent));
    });
}
on_each_shape!(
    a_batch_that_is_held_is_not_granted_by_another_consumer,
    needs(two_consumers, scenes_of_plain_rings)
);

fn a_message_in_a_side_buffer_is_seen_whole_and_not_overwritten_while_it_is_read<S: Shape>() {
    check(|| {
        // One slot, so that the second message needs the first one's buffer.
        let builder = S::builder().capacity(1).participants(3).timestamps(Timestamps::Off);
        let ring = builder.max_message(48).heap().unwrap();
        let mut producer = S::producer(&ring);
        let mut consumer = S::consumer(&ring);
        let sending = spawn(move || {
            for filling in 1..=2 {
                while producer.send_fast(&[filling; 48], NORMAL).is_err() {
                    thread::yield_now();
                }
            }
        });
        for filling in 1..=2 {
            let mut buffer = [0; 48];
            loop {
                if let Ok((size, ..)) = consumer.recv_fast(&mut buffer) {
                    assert_eq!((size, buffer), (48, [filling; 48]));
                    break;
                }
                thread::yield_now();
            }
        }
        sending.join().unwrap();
    });
}
on_each_shape!(
    a_message_in_a_side_buffer_is_seen_whole_and_not_overwritten_while_it_is_read,
    needs(scenes_of_plain_rings)
);

#[test]
#[ignore = "a minute or more: with --ignored"]
fn a_borrowed_message_is_not_granted_by_another_consumer() {
    check(|| {
        let ring = two_slots().exclusive_producer().heap().unwrap();
        let mut producer = ring.exclusive_producer().unwrap();
        producer.send_batch(&[message(1), message(2)], NORMAL).unwrap();
        let (mut holding, mut granting) = (ring.consumer().unwrap(), ring.consumer().unwrap());
        let sending = spawn(move || send_some(&mut producer, &[3], 3));
        let receiving = spawn(move || {
            (0..2)
                .filter_map(|_| {
                    holding.try_borrow().ok().map(|guard| number(guard.as_inline().unwrap()))
                })
                .collect()
        });
        let mut seen: Vec<_> = granting.try_recv().map(|m| number(&m)).into_iter().collect();
        granting.flush();
        let other: Vec<_> = receiving.join().unwrap();
        let sent = sending.join().unwrap();
        seen.extend(granting.try_iter().map(|message| number(&message)));
        check_all([seen, other], [1, 2].into_iter().chain(sent));
    });
}

#[test]
fn a_forgotten_reservation_is_passed_over_and_blocks_nobody_after_the_next_call() {
    check(|| {
        let ring = two_slots().heap().unwrap();
        let (mut absent, mut present) = (ring.producer().unwrap(), ring.producer().unwrap());
        let mut consumer = ring.consumer().unwrap();
        let forgetting = spawn(move || {
            mem::forget(absent.try_reserve(40, NORMAL).unwrap());
            absent.flush();
        });
        let sending = spawn(move || send_all(&mut present, [1]));
        let mut seen = receive_some(&mut consumer, 2);
        forgetting.join().unwrap();
        sending.join().unwrap();
        seen.extend(consumer.try_iter().map(|message| number(&message)));
        check_all([seen], [1]);
    });
}

#[test]
fn a_forgotten_guard_is_released_by_the_next_call_while_others_go_on() {
    check(|| {
        let ring = two_slots().exclusive_producer().heap().unwrap();
        let mut producer = ring.exclusive_producer().unwrap();
        producer.send_batch(&[message(1), message(2)], NORMAL).unwrap();
        let (mut forgetful, mut other) = (ring.consumer().unwrap(), ring.consumer().unwrap());
        let receiving = spawn(move || {
            let mut seen = Vec::new();
            if let Ok(guard) = forgetful.try_borrow() {
                seen.push(number(guard.as_inline().unwrap()));
                mem::forget(guard);
            }
            seen.extend(forgetful.try_recv().map(|message| number(&message)));
            seen
        });
        let mut seen = receive_some(&mut other, 1);
        let late = receiving.join().unwrap();
        seen.extend(other.try_iter().map(|message| number(&message)));
        other.flush();
        // Both slots have come back.
        assert_eq!(producer.send_batch(&[message(3), message(4)], NORMAL), Ok(2));
        check_all([seen, late], 1..=2);
    });
}

#[test]
fn a_new_exclusive_producer_goes_on_where_its_predecessor_stopped() {
    // Taking a handle takes a hundred steps.
    check_with(Some(1), || {
        let ring = two_slots().exclusive_producer().exclusive_consumer().heap().unwrap();
        let mut consumer = ring.exclusive_consumer().unwrap();
        let ring = Arc::new(ring);
        let threads: Vec<_> = (0..2)
            .map(|thread| {
                let ring = Arc::clone(&ring);
                spawn(move || {
                    ring.exclusive_producer()
                        .map_or(Vec::new(), |mut own| send_some(&mut own, &[thread], 1))
                })
            })
            .collect();
        let sent: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert!(!sent.is_empty(), "one of the two gets the side");
        check_all([consumer.try_iter().map(|message| number(&message)).collect()], sent);
    });
}

#[test]
fn a_new_exclusive_consumer_goes_on_where_its_predecessor_stopped() {
    // Taking a handle takes a hundred steps: one is taken before the race.
    check_with(Some(2), || {
        let ring = Arc::new(two_slots().participants(2).exclusive_consumer().heap().unwrap());
        assert_eq!(ring.send_batch(&[message(1), message(2)], NORMAL), Ok(2));
        let mut first = ring.exclusive_consumer().unwrap();
        let receiving = spawn(move || receive_some(&mut first, 1));
        let successor = ring.exclusive_consumer();
        let seen = successor.map_or(Vec::new(), |mut own| receive_some(&mut own, 1));
        let other = receiving.join().unwrap();
        assert_eq!(other.len(), 1, "it had the side");
        let rest = ring.exclusive_consumer().unwrap().try_iter().map(|it| number(&it)).collect();
        check_all([other, seen, rest], 1..=2);
    });
}

#[test]
fn threads_that_call_the_ring_share_its_handles() {
    check(|| {
        let ring = Arc::new(two_slots().heap().unwrap());
        let sending = {
            let ring = Arc::clone(&ring);
            spawn(move || ring.send_fast(&message(1), NORMAL).is_ok())
        };
        // Looks at every thread handle, in use or not.
        ring.stats();
        let sent = ring.send_fast(&message(2), NORMAL).is_ok();
        let other = sending.join().unwrap();
        assert!(sent && other, "two slots, two thread handles, two entries");
        let mut seen = Vec::new();
        let mut buffer = [0; 40];
        while let Ok((size, ..)) = ring.recv_fast(&mut buffer) {
            seen.push(number(&buffer[..size]));
        }
        check_all([seen], 1..=2);
        let stats = ring.stats();
        assert_eq!((stats.sent, stats.received), (2, 2));
    });
}

/// Receives one message, and parks until there is one.
fn receive_parking<S: Mode>(mut consumer: Consumer<S>) -> (u8, Consumer<S>) {
    let received = number(&consumer.recv().unwrap());
    (received, consumer)
}

fn a_consumer_that_parks_is_woken_by_each_message<S: Shape>() {
    check(|| {
        let ring = two_slots_of::<S>().fences().heap().unwrap();
        let mut producer = S::producer(&ring);
        let mut consumer = S::consumer(&ring);
        let sending = spawn(move || {
            send_all(&mut producer, 1..=2);
            producer
        });
        for expected in 1..=2 {
            assert_eq!(number(&consumer.recv().unwrap()), expected);
        }
        sending.join().unwrap();
    });
}
on_each_shape!(a_consumer_that_parks_is_woken_by_each_message, needs(scenes_of_plain_rings));

#[test]
fn two_consumers_that_park_are_both_woken_though_one_wake_up_may_be_all() {
    check(|| {
        let ring = two_slots().fences().exclusive_producer().heap().unwrap();
        let mut producer = ring.exclusive_producer().unwrap();
        let (first, second) = (ring.consumer().unwrap(), ring.consumer().unwrap());
        let one = spawn(move || receive_parking(first));
        let other = spawn(move || receive_parking(second));
        send_all(&mut producer, 1..=2);
        let (one, other) = (one.join().unwrap(), other.join().unwrap());
        check_all([vec![one.0, other.0]], 1..=2);
    });
}

/// One may be woken for a message behind one that is committed later, which then wakes nobody.
#[test]
#[ignore = "more than seven minutes: with --ignored"]
fn two_consumers_that_park_are_woken_for_the_messages_of_two_producers() {
    two_sleepers_and_two_producers(1);
}

#[test]
#[ignore = "more than ten minutes: with --ignored"]
fn two_consumers_that_park_are_woken_for_the_messages_of_two_producers_with_two_preemptions() {
    two_sleepers_and_two_producers(2);
}

fn two_sleepers_and_two_producers(preemptions: usize) {
    check_with(Some(preemptions), || {
        let ring = two_slots().fences().heap().unwrap();
        let (mut p, mut q) = (ring.producer().unwrap(), ring.producer().unwrap());
        let (first, second) = (ring.consumer().unwrap(), ring.consumer().unwrap());
        let one = spawn(move || receive_parking(first));
        let other = spawn(move || receive_parking(second));
        let sending = spawn(move || {
            send_all(&mut p, [1]);
            p
        });
        send_all(&mut q, [2]);
        let p = sending.join().unwrap();
        let (one, other) = (one.join().unwrap(), other.join().unwrap());
        check_all([vec![one.0], vec![other.0]], 1..=2);
        drop((p, q));
    });
}

#[test]
fn closing_after_a_message_wakes_those_too_whom_the_message_did_not() {
    message_and_close(1);
}

#[test]
#[ignore = "three minutes: with --ignored"]
fn closing_after_a_message_wakes_those_too_with_two_preemptions() {
    message_and_close(2);
}

fn message_and_close(preemptions: usize) {
    check_with(Some(preemptions), || {
        let ring = two_slots().fences().exclusive_producer().heap().unwrap();
        let mut producer = ring.exclusive_producer().unwrap();
        let consumers = [ring.consumer().unwrap(), ring.consumer().unwrap()];
        let receiving = consumers.map(|mut consumer| {
            spawn(move || {
                let received = consumer.recv().map(|message| number(&message));
                (received, consumer)
            })
        });
        send_all(&mut producer, [1]);
        producer.close();
        let ended = receiving.map(|receiving| receiving.join().unwrap());
        let mut received = ended.each_ref().map(|(received, _)| received.clone());
        received.sort_by_key(Result::is_err);
        assert_eq!(received, [Ok(1), Err(RecvError::Closed)]);
        drop(producer);
    });
}

fn a_producer_that_parks_is_woken_when_room_is_granted<S: Shape>() {
    check(|| {
        let ring = two_slots_of::<S>().fences().heap().unwrap();
        let mut producer = S::producer(&ring);
        let mut consumer = S::consumer(&ring);
        send_all(&mut producer, 1..=2);
        let sending = spawn(move || {
            producer.send(&message(3), NORMAL).unwrap();
            producer
        });
        let first = number(&consumer.try_recv().unwrap());
        let producer = sending.join().unwrap();
        let rest = consumer.try_iter().map(|message| number(&message)).collect();
        check_all([vec![first], rest], 1..=3);
        drop(producer);
    });
}
on_each_shape!(a_producer_that_parks_is_woken_when_room_is_granted, needs(scenes_of_plain_rings));

/// Of two consumers one moves the frontier, and the other may find it moved. The producer looks
/// there itself before it parks, and must not keep itself awake by it.
#[test]
#[ignore = "a minute or more: with --ignored"]
fn a_producer_that_parks_is_woken_by_whichever_consumer_moves_the_frontier() {
    check_with(Some(1), || {
        let ring = two_slots().fences().exclusive_producer().heap().unwrap();
        let mut producer = ring.exclusive_producer().unwrap();
        let (mut first, mut second) = (ring.consumer().unwrap(), ring.consumer().unwrap());
        send_all(&mut producer, 1..=2);
        let sending = spawn(move || {
            producer.send(&message(3), NORMAL).unwrap();
            producer
        });
        let receiving = spawn(move || (receive_some(&mut first, 1), first));
        let mut seen = receive_some(&mut second, 1);
        // A producer that nobody wakes is a deadlock.
        let producer = sending.join().unwrap();
        let (other, first) = receiving.join().unwrap();
        seen.extend(second.try_iter().map(|message| number(&message)));
        check_all([seen, other], 1..=3);
        drop((producer, first));
    });
}

#[test]
fn two_producers_that_park_are_both_woken() {
    // Many steps: claims race, and each sleep looks at everything.
    check_with(Some(1), || {
        let ring = two_slots().fences().exclusive_consumer().heap().unwrap();
        let (mut first, mut second) = (ring.producer().unwrap(), ring.producer().unwrap());
        let mut consumer = ring.exclusive_consumer().unwrap();
        send_all(&mut first, 1..=2);
        let one = spawn(move || {
            first.send(&message(3), NORMAL).unwrap();
            first
        });
        let other = spawn(move || {
            second.send(&message(4), NORMAL).unwrap();
            second
        });
        while !ring.is_asleep(Side::Producer) {
            thread::yield_now();
        }
        // Both slots are given back at once.
        let mut buffers = [[0; 40]; 2];
        let count = consumer.recv_batch(&mut buffers).unwrap().len();
        let mut seen: Vec<_> = buffers[..count].iter().map(|buffer| number(buffer)).collect();
        let (one, other) = (one.join().unwrap(), other.join().unwrap());
        seen.extend(consumer.try_iter().map(|message| number(&message)));
        check_all([seen], 1..=4);
        drop((one, other));
    });
}

fn closing_wakes_a_consumer_that_parks_and_what_was_sent_before_is_received<S: Shape>() {
    check(|| {
        let ring = two_slots_of::<S>().fences().heap().unwrap();
        let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
        let closing = spawn(move || {
            send_all(&mut producer, [1]);
            producer.close();
            mem::forget(producer);
        });
        assert_eq!(number(&consumer.recv().unwrap()), 1);
        assert_eq!(consumer.recv().unwrap_err(), RecvError::Closed);
        closing.join().unwrap();
    });
}
on_each_shape!(
    closing_wakes_a_consumer_that_parks_and_what_was_sent_before_is_received,
    needs(scenes_of_plain_rings)
);

fn what_a_producer_sent_before_it_left_is_received_before_its_consumer_is_told_that_it_left<
    S: Shape,
>() {
    check(|| {
        let ring = two_slots_of::<S>().fences().heap().unwrap();
        let mut producer = S::producer(&ring);
        let mut consumer = S::consumer(&ring);
        // Producers have been seen, so that it ends when none is left.
        send_all(&mut producer, [1]);
        assert_eq!(number(&consumer.try_recv().unwrap()), 1);
        consumer.end_when_deserted(true);
        let leaving = spawn(move || send_all(&mut producer, [2]));
        assert_eq!(consumer.recv().map(|message| number(&message)), Ok(2));
        assert_eq!(consumer.recv().unwrap_err(), RecvError::Deserted);
        leaving.join().unwrap();
    });
}
on_each_shape!(
    what_a_producer_sent_before_it_left_is_received_before_its_consumer_is_told_that_it_left,
    needs(scenes_of_plain_rings)
);

// ---- deaths ------------------------------------------------------------------------------

/// As [`receive_some`], after a look for the dead; says of each message whether it came again.
fn recover_and_receive<S: Mode>(consumer: &mut Consumer<S>, attempts: usize) -> Vec<(u8, bool)> {
    consumer.recover();
    let receive = |_| consumer.try_recv().ok().map(|it| (number(&it), it.is_redelivered()));
    (0..attempts).filter_map(receive).collect()
}

/// What is left when all the others are done; the slots come back with it.
fn recover_all<S: Mode>(consumer: &mut Consumer<S>) -> Vec<(u8, bool)> {
    let mut seen = Vec::new();
    // What one look finishes may uncover more.
    for _ in 0..3 {
        consumer.recover();
        seen.extend(consumer.try_iter().map(|it| (number(&it), it.is_redelivered())));
    }
    consumer.flush();
    seen
}

fn numbers(seen: &[(u8, bool)]) -> Vec<u8> {
    seen.iter().map(|&(number, _)| number).collect()
}

#[test]
fn a_claim_whose_producer_died_is_abandoned_once_and_passed_over() {
    check_with(Some(3), || {
        let ring = two_slots().heap().unwrap();
        let (mut dying, mut living) = (ring.producer().unwrap(), ring.producer().unwrap());
        let (mut first, mut second) = (ring.consumer().unwrap(), ring.consumer().unwrap());
        mem::forget(dying.try_reserve(40, NORMAL).unwrap());
        living.send_fast(&message(1), NORMAL).unwrap();
        let death = spawn(move || dying.die());
        let other = spawn(move || recover_and_receive(&mut second, 1));
        let mut seen = recover_and_receive(&mut first, 1);
        death.join().unwrap();
        seen.extend(other.join().unwrap());
        seen.extend(recover_all(&mut first));
        assert_eq!(seen, [(1, false)]);
        assert_eq!(ring.stats().abandoned, 1);
        assert_eq!(living.send_batch(&[message(2), message(3)], NORMAL), Ok(2));
    });
}

#[test]
fn what_a_living_producer_claimed_is_not_abandoned_for_a_dead_one_that_wanted_it() {
    check_with(Some(3), || {
        let ring = two_slots().heap().unwrap();
        let (dying, mut living) = (ring.producer().unwrap(), ring.producer().unwrap());
        let mut consumer = ring.consumer().unwrap();
        let death = spawn(move || dying.die_before_claim());
        let sending = spawn(move || {
            send_all(&mut living, [1]);
            living
        });
        let mut seen = recover_and_receive(&mut consumer, 1);
        death.join().unwrap();
        let mut living = sending.join().unwrap();
        seen.extend(recover_all(&mut consumer));
        assert_eq!(seen, [(1, false)]);
        assert_eq!(living.send_batch(&[message(2), message(3)], NORMAL), Ok(2));
    });
}

#[test]
fn what_a_producer_committed_before_it_died_is_not_abandoned() {
    check_with(Some(3), || {
        let ring = two_slots().heap().unwrap();
        let mut dying = ring.producer().unwrap();
        let mut consumer = ring.consumer().unwrap();
        let death = spawn(move || {
            send_all(&mut dying, [1, 2]);
            dying.die();
        });
        let mut seen = recover_and_receive(&mut consumer, 1);
        death.join().unwrap();
        seen.extend(recover_all(&mut consumer));
        assert_eq!(seen, [(1, false), (2, false)]);
    });
}

#[test]
fn what_a_dead_consumer_held_is_delivered_once_more_and_marked_before_its_slot_comes_back() {
    // Four threads: with two preemptions it would take minutes.
    check_with(Some(1), || {
        let ring = two_slots().exclusive_producer().heap().unwrap();
        let mut producer = ring.exclusive_producer().unwrap();
        producer.send_batch(&[message(1), message(2)], NORMAL).unwrap();
        let mut dying = ring.consumer().unwrap();
        let (mut first, mut second) = (ring.consumer().unwrap(), ring.consumer().unwrap());
        mem::forget(dying.try_borrow().unwrap());
        let death = spawn(move || dying.die());
        let other = spawn(move || recover_and_receive(&mut second, 1));
        let sending = spawn(move || {
            let sent = send_some(&mut producer, &[3], 2);
            (producer, sent)
        });
        let mut seen = recover_and_receive(&mut first, 2);
        death.join().unwrap();
        seen.extend(other.join().unwrap());
        let (mut producer, sent) = sending.join().unwrap();
        seen.extend(recover_all(&mut first));
        assert!(seen.iter().all(|&(number, again)| again == (number == 1)), "{seen:?}");
        check_all([numbers(&seen)], [1, 2].into_iter().chain(sent));
        assert_eq!(producer.send_batch(&[message(4), message(5)], NORMAL), Ok(2));
    });
}

#[test]
fn what_a_dead_consumer_had_not_won_is_not_read_from_a_slot_of_the_next_lap() {
    // Four threads: with two preemptions it would take minutes.
    check_with(Some(1), || {
        let ring = two_slots().exclusive_producer().heap().unwrap();
        let mut producer = ring.exclusive_producer().unwrap();
        producer.send_batch(&[message(1), message(2)], NORMAL).unwrap();
        let dying = ring.consumer().unwrap();
        let (mut first, mut second) = (ring.consumer().unwrap(), ring.consumer().unwrap());
        let death = spawn(move || dying.die_before_claim());
        let other = spawn(move || {
            let seen = receive_some(&mut second, 1);
            second.flush();
            seen
        });
        let sending = spawn(move || {
            let sent = send_some(&mut producer, &[3], 2);
            (producer, sent)
        });
        let mut seen = recover_and_receive(&mut first, 1);
        death.join().unwrap();
        let other = other.join().unwrap();
        let (mut producer, sent) = sending.join().unwrap();
        seen.extend(recover_all(&mut first));
        // It may have died just before it would have claimed the first: then that comes twice.
        let again: Vec<_> = seen.extract_if(.., |(_, again)| *again).collect();
        assert!(again.is_empty() || again == [(1, true)], "{again:?}");
        check_all([numbers(&seen), other], [1, 2].into_iter().chain(sent));
        assert_eq!(producer.send_batch(&[message(4), message(5)], NORMAL), Ok(2));
    });
}

#[test]
fn a_newcomer_in_a_dead_consumers_entry_delivers_what_was_held_before_its_slot_comes_back() {
    // Taking a handle takes a hundred steps.
    check_with(Some(1), || {
        let ring = Arc::new(two_slots().participants(3).exclusive_producer().heap().unwrap());
        let mut producer = ring.exclusive_producer().unwrap();
        producer.send_batch(&[message(1), message(2)], NORMAL).unwrap();
        let (mut dying, mut other) = (ring.consumer().unwrap(), ring.consumer().unwrap());
        mem::forget(dying.try_borrow().unwrap());
        dying.die();
        let newcomer = {
            let ring = Arc::clone(&ring);
            spawn(move || {
                ring.consumer().map_or(Vec::new(), |mut own| recover_and_receive(&mut own, 1))
            })
        };
        let sending = spawn(move || send_some(&mut producer, &[3], 2));
        let mut seen = recover_and_receive(&mut other, 1);
        seen.extend(newcomer.join().unwrap());
        let sent = sending.join().unwrap();
        seen.extend(recover_all(&mut other));
        assert!(seen.iter().all(|&(number, again)| again == (number == 1)), "{seen:?}");
        check_all([numbers(&seen)], [1, 2].into_iter().chain(sent));
    });
}

#[test]
fn what_a_dead_exclusive_consumer_held_is_marked_while_somebody_else_looks_after_its_entry() {
    // Taking a handle takes a hundred steps.
    check_with(Some(1), || {
        let ring = Arc::new(two_slots().participants(3).exclusive_consumer().heap().unwrap());
        let mut producer = ring.producer().unwrap();
        send_all(&mut producer, [1, 2]);
        let mut dying = ring.exclusive_consumer().unwrap();
        mem::forget(dying.try_borrow().unwrap());
        dying.die();
        let bystander = {
            let ring = Arc::clone(&ring);
            spawn(move || ring.repair().unwrap())
        };
        let mut heir = ring.exclusive_consumer().unwrap();
        let first = heir.try_recv().unwrap();
        assert_eq!((number(&first), first.is_redelivered()), (1, true));
        bystander.join().unwrap();
        // And is marked no more, nor the next, whoever had the entry when.
        drop(heir);
        ring.repair().unwrap();
        let mut next = ring.exclusive_consumer().unwrap();
        let second = next.try_recv().unwrap();
        assert_eq!((number(&second), second.is_redelivered()), (2, false));
        assert!(next.try_recv().is_err());
    });
}

#[test]
fn a_reservation_that_was_forgotten_before_a_wait_and_a_death_blocks_nobody() {
    const URGENT: PriorityClass = PriorityClass::RealTime;
    check(|| {
        let ring = two_slots().reserve(URGENT, 1).heap().unwrap();
        let (mut dying, mut living) = (ring.producer().unwrap(), ring.producer().unwrap());
        let mut consumer = ring.consumer().unwrap();
        living.send_fast(&message(1), URGENT).unwrap();
        mem::forget(dying.try_reserve(40, URGENT).unwrap());
        let death = spawn(move || {
            // One in flight leaves nothing for this class.
            let _ = dying.wait(NORMAL, Some(std::time::Instant::now()));
            dying.die();
        });
        let mut seen = recover_and_receive(&mut consumer, 1);
        death.join().unwrap();
        seen.extend(recover_all(&mut consumer));
        assert_eq!(numbers(&seen), [1]);
        // All positions are settled and both slots come back.
        assert_eq!(living.send_batch(&[message(2), message(3)], URGENT), Ok(2));
        assert_eq!(numbers(&recover_all(&mut consumer)), [2, 3]);
    });
}

/// One was killed when it was about to claim, and another may have been faster.
#[test]
fn a_message_whose_reader_lives_comes_again_marked_at_most_once_for_one_that_died_claiming_it() {
    check_with(Some(2), || {
        let ring = two_slots().exclusive_producer().heap().unwrap();
        let mut producer = ring.exclusive_producer().unwrap();
        producer.send_batch(&[message(1), message(2)], NORMAL).unwrap();
        let dying = ring.consumer().unwrap();
        let (mut reader, mut heir) = (ring.consumer().unwrap(), ring.consumer().unwrap());
        let death = spawn(move || dying.die_before_claim());
        let reading = spawn(move || {
            let first = reader
                .try_borrow()
                .ok()
                .map(|it| (number(it.as_inline().unwrap()), it.is_redelivered()));
            (first, reader)
        });
        let mut seen = recover_and_receive(&mut heir, 1);
        death.join().unwrap();
        let (first, reader) = reading.join().unwrap();
        seen.extend(first);
        seen.extend(recover_all(&mut heir));
        let again: Vec<_> = seen.extract_if(.., |(_, again)| *again).collect();
        assert!(again.is_empty() || again == [(1, true)], "{again:?}");
        check_all([numbers(&seen)], [1, 2]);
        drop(reader);
    });
}
