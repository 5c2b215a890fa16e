//! The sleep across lanes on the real code: a consumer sleeps for all lanes on the wake-ups of one,
//! and marks the bell of each; a producer that writes each lane does the same for room. As
//! `loom.rs`: a wake-up that is lost is a deadlock, and handles outlive the scene.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=2 cargo test --release -p ultrafastring \
//!     --no-default-features --features alloc --test loom_lanes
//! ```
//!
//! A scene fails if `arm_lanes` (waiting/bell.rs) marks only the first lane, if it reads the ticket
//! after the marks, or if it has no fence.

#![cfg(loom)]

#[path = "common/model.rs"]
mod model;

use loom::thread;
use model::{NORMAL, check, check_with, message, number, spawn};
use ultrafastring::{
    Builder, Consumer, Lanes, PriorityClass, Producer, RecvError, Side, Timestamps, UltraFastRing,
};

fn one_slot() -> Builder {
    Builder::new().capacity(1).participants(3).timestamps(Timestamps::Off).fences()
}

/// A ring of two lanes, and the producer of each.
fn two_lanes() -> (UltraFastRing, [Producer; 2]) {
    let ring = one_slot().lanes(Lanes::ByProducer(2)).heap().unwrap();
    let producers = [ring.producer().unwrap(), ring.producer().unwrap()];
    (ring, producers)
}

fn send(producer: &mut Producer, it: u8) {
    producer.send_fast(&message(it), NORMAL).unwrap();
}

/// Receives, and parks until there is something.
fn receive(consumer: &mut Consumer) -> u8 {
    number(&consumer.recv().unwrap())
}

#[test]
fn a_consumer_that_parks_is_woken_by_a_message_of_either_lane() {
    for lane in 0..2 {
        check(move || {
            let (ring, mut producers) = two_lanes();
            let mut consumer = ring.consumer().unwrap();
            let sending = spawn(move || {
                send(&mut producers[lane], 1);
                producers
            });
            assert_eq!(receive(&mut consumer), 1);
            drop(sending.join().unwrap());
        });
    }
}

/// The mark of a lane stays when another has woken the consumer, and the next sleep only loads it.
#[test]
fn a_consumer_that_parks_again_is_woken_by_the_other_lane() {
    check(|| {
        let (ring, mut producers) = two_lanes();
        let mut consumer = ring.consumer().unwrap();
        let sending = spawn(move || {
            send(&mut producers[0], 1);
            send(&mut producers[1], 2);
            producers
        });
        let mut seen = [receive(&mut consumer), receive(&mut consumer)];
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
        drop(sending.join().unwrap());
    });
}

/// One lane has woken the consumer before, which is about to sleep again when the lane has more.
#[test]
fn a_consumer_that_parks_again_is_woken_by_the_same_lane() {
    check(|| {
        let (ring, [mut first, mut second]) = two_lanes();
        let mut consumer = ring.consumer().unwrap();
        let sending = spawn(move || {
            for it in 1..=2 {
                second.send(&message(it), NORMAL).unwrap();
            }
            second
        });
        assert_eq!([receive(&mut consumer), receive(&mut consumer)], [1, 2]);
        first.flush();
        drop((sending.join().unwrap(), first));
    });
}

#[test]
fn a_consumer_that_parks_is_woken_by_two_producers_at_once() {
    check_with(Some(1), || {
        let (ring, [mut first, mut second]) = two_lanes();
        let mut consumer = ring.consumer().unwrap();
        let sending = spawn(move || {
            send(&mut first, 1);
            first
        });
        let also = spawn(move || {
            send(&mut second, 2);
            second
        });
        let mut seen = [receive(&mut consumer), receive(&mut consumer)];
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
        drop((sending.join().unwrap(), also.join().unwrap()));
    });
}

/// Each message wakes both, since nobody who is woken in place of another knows in which lane there
/// is more.
#[test]
fn two_consumers_that_park_are_both_woken_by_messages_of_two_lanes() {
    check_with(Some(1), || {
        let (ring, mut producers) = two_lanes();
        let consumers = [ring.consumer().unwrap(), ring.consumer().unwrap()];
        let receiving =
            consumers.map(|mut consumer| spawn(move || (receive(&mut consumer), consumer)));
        send(&mut producers[0], 1);
        send(&mut producers[1], 2);
        let received = receiving.map(|it| it.join().unwrap());
        let mut seen = received.each_ref().map(|it| it.0);
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
        drop(producers);
    });
}

#[test]
fn a_consumer_that_parks_is_woken_by_the_end_of_the_last_lane() {
    check(|| {
        let (ring, [mut first, mut second]) = two_lanes();
        let mut consumer = ring.consumer().unwrap();
        first.close();
        let closing = spawn(move || {
            send(&mut second, 1);
            second.close();
            second
        });
        assert_eq!(receive(&mut consumer), 1);
        assert_eq!(consumer.recv().unwrap_err(), RecvError::Closed);
        drop((closing.join().unwrap(), first));
    });
}

#[test]
fn a_consumer_that_parks_is_woken_by_a_message_of_any_class() {
    for class in [PriorityClass::RealTime, PriorityClass::Bulk] {
        check_with(Some(1), move || {
            let ring = one_slot().lanes(Lanes::ByClass).heap().unwrap();
            let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
            let sending = spawn(move || {
                producer.send_fast(&message(1), class).unwrap();
                producer
            });
            assert_eq!(receive(&mut consumer), 1);
            drop(sending.join().unwrap());
        });
    }
}

#[test]
fn a_producer_that_parks_is_woken_by_room_in_the_lane_of_its_class() {
    check_with(Some(1), || {
        let ring = one_slot().lanes(Lanes::ByClass).heap().unwrap();
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        producer.send_fast(&message(1), PriorityClass::Bulk).unwrap();
        let sending = spawn(move || {
            producer.send(&message(2), PriorityClass::Bulk).unwrap();
            producer
        });
        while !ring.is_asleep(Side::Producer) {
            thread::yield_now();
        }
        assert_eq!(number(&consumer.try_recv().unwrap()), 1);
        let producer = sending.join().unwrap();
        assert_eq!(number(&consumer.try_recv().unwrap()), 2);
        drop(producer);
    });
}
