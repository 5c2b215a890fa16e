//! What goes into which lane, and who owns it.

use std::string::ToString;
use std::vec::Vec;

use super::*;
use crate::consumer::Consumer;
use crate::error::RecvError;
use crate::ring::UltraFastRing;
use crate::settings::{Lanes, Sharing, Side};
use crate::waiting::bell;

/// A consumer of one lane.
fn consumer_of(ring: &UltraFastRing, lane: usize) -> Consumer {
    let lane = ring.segment().of_lane(lane);
    let locker = lane.locker().unwrap();
    let sharing = lane.settings().consumer_side;
    Consumer::attach_to_lane(&lane, sharing, locker, &Identity::default()).unwrap()
}

/// What is in one lane, and not received.
fn left_in(ring: &UltraFastRing, lane: usize) -> Vec<Vec<u8>> {
    let mut consumer = consumer_of(ring, lane);
    let mut messages = Vec::new();
    let mut buffer = Vec::new();
    while consumer.try_recv_into(&mut buffer).is_ok() {
        messages.push(buffer.clone());
    }
    messages
}

fn by_class(producer_side: Sharing) -> UltraFastRing {
    let builder = UltraFastRing::builder().lanes(Lanes::ByClass).producer_side(producer_side);
    builder.capacity(64).max_message(100).heap().unwrap()
}

#[test]
fn each_message_goes_into_the_lane_of_its_class_by_every_call() {
    for side in [Sharing::Shared, Sharing::Exclusive] {
        let ring = by_class(side);
        let mut producer = ring.producer().unwrap();
        let mut sent: [Vec<Vec<u8>>; 5] = Default::default();
        let mut number = 0u8;
        let mut next = |class: PriorityClass, size: usize| {
            number = number.wrapping_add(1);
            let message = std::vec![number; size];
            sent[class.index()].push(message.clone());
            message
        };
        for round in 0..40 {
            for class in PriorityClass::ALL {
                match (round + class.index()) % 8 {
                    0 => producer.send_fast(&next(class, 5), class).unwrap(),
                    1 => producer.send(&next(class, 90), class).unwrap(),
                    2 => {
                        let several = [next(class, 1), next(class, 50)];
                        assert_eq!(producer.try_send_many(&several, class), Ok(2));
                    }
                    3 => producer.send_many(&[next(class, 3)], class).unwrap(),
                    4 => {
                        let message = next(class, 7);
                        let mut place = producer.try_reserve(7, class).unwrap();
                        place.write_at(0, &message);
                        place.commit();
                    }
                    5 => {
                        let message = next(class, 80);
                        let mut place = producer.reserve(80, class).unwrap();
                        place.write_at(0, &message);
                        place.commit();
                    }
                    _ => {}
                }
            }
            // A stream in one class: the handle turns to it.
            if round == 20 {
                for _ in 0..TURNS_AFTER {
                    producer.try_send(next(PriorityClass::Bulk, 2), PriorityClass::Bulk).unwrap();
                }
                assert!(producer.serves(PriorityClass::Bulk));
            }
        }
        for class in PriorityClass::ALL {
            assert_eq!(left_in(&ring, class.index()), sent[class.index()], "{class}");
        }
    }
}

#[test]
fn a_class_whose_lane_is_full_leaves_the_others_their_room() {
    let builder = UltraFastRing::builder().lanes(Lanes::ByClass).capacity(4);
    let ring = builder.capacity_of(PriorityClass::Bulk, 2).heap().unwrap();
    let mut producer = ring.producer().unwrap();
    for _ in 0..2 {
        producer.send_fast(b"bulk", PriorityClass::Bulk).unwrap();
    }
    for _ in 0..3 {
        assert_eq!(producer.send_fast(b"bulk", PriorityClass::Bulk), Err(SendError::Full));
        assert!(producer.try_send_many(&["bulk"], PriorityClass::Bulk).is_err());
        assert!(producer.try_reserve(1, PriorityClass::Bulk).is_err());
    }
    for class in &PriorityClass::ALL[..4] {
        for _ in 0..4 {
            producer.send_fast(b"other", *class).unwrap();
        }
        assert_eq!(producer.send_fast(b"other", *class), Err(SendError::Full));
    }
    consumer_of(&ring, 4).try_recv().unwrap();
    producer.send_fast(b"bulk", PriorityClass::Bulk).unwrap();
}

#[test]
fn a_class_has_its_own_largest_message() {
    let builder = UltraFastRing::builder().lanes(Lanes::ByClass).max_message(40);
    let ring = builder.max_message_of(PriorityClass::Bulk, 1_000).heap().unwrap();
    let mut producer = ring.producer().unwrap();
    let large = [7; 1_000];
    producer.send_fast(&large, PriorityClass::Bulk).unwrap();
    producer.send_many(&[large], PriorityClass::Bulk).unwrap();
    producer.try_reserve(1_000, PriorityClass::Bulk).unwrap().commit();
    let refused = producer.send_fast(&large, PriorityClass::Normal);
    assert_eq!(refused, Err(SendError::TooLarge { size: 1_000, max: 40 }));
    let refused = producer.try_send_many(&[large], PriorityClass::RealTime);
    assert_eq!(refused, Err(SendError::TooLarge { size: 1_000, max: 40 }));
    assert_eq!(left_in(&ring, 4).len(), 3);
}

#[test]
fn a_producer_that_waits_for_one_class_is_woken_by_the_lane_of_that_class() {
    let ring = UltraFastRing::builder().lanes(Lanes::ByClass).capacity(1).heap().unwrap();
    let mut producer = ring.producer().unwrap();
    for class in PriorityClass::ALL {
        producer.send_fast(b"first", class).unwrap();
    }
    for class in PriorityClass::ALL {
        let mut consumer = consumer_of(&ring, class.index());
        std::thread::scope(|scope| {
            let sending = scope.spawn(|| producer.send(b"second", class));
            while !bell::is_armed(&ring.segment().of_lane(class.index()), Side::Producer) {
                std::thread::yield_now();
            }
            assert_eq!(&*consumer.recv().unwrap(), b"first");
            sending.join().unwrap().unwrap();
        });
        assert_eq!(producer.missed_wakes(), 0);
        assert_eq!(&*consumer.try_recv().unwrap(), b"second");
    }
}

#[test]
fn a_forgotten_reservation_is_cancelled_by_a_call_that_sends_into_another_lane() {
    let builder = UltraFastRing::builder().lanes(Lanes::ByClass);
    let ring = builder.max_message_of(PriorityClass::Bulk, 100).heap().unwrap();
    let (mut producer, mut other) = (ring.producer().unwrap(), ring.producer().unwrap());
    for several in [false, true] {
        core::mem::forget(producer.try_reserve(1, PriorityClass::High).unwrap());
        other.send_fast(b"behind", PriorityClass::High).unwrap();
        // Too large for the lane of the reservation.
        if several {
            producer.send_many(&[[7; 100]], PriorityClass::Bulk).unwrap();
        } else {
            producer.send_fast(&[7; 100], PriorityClass::Bulk).unwrap();
        }
        assert_eq!(left_in(&ring, PriorityClass::High.index()), [b"behind".to_vec()]);
    }
}

#[test]
fn typed_handles_of_a_ring_with_lanes_are_refused() {
    let rings = [by_class(Sharing::Exclusive), by_producer(2)];
    for ring in rings {
        let refused = ring.exclusive_producer().unwrap_err();
        assert!(matches!(refused, RingError::HasLanes), "{refused}");
        assert!(matches!(ring.shared_producer().unwrap_err(), RingError::HasLanes));
        assert!(matches!(ring.shared_consumer().unwrap_err(), RingError::HasLanes));
        assert!(matches!(ring.exclusive_consumer().unwrap_err(), RingError::HasLanes));
        // As are the calls without a handle, which say so.
        assert_eq!(ring.send_fast(b"x", PriorityClass::Normal), Err(SendError::HasLanes));
        assert_eq!(ring.send(b"x", PriorityClass::Normal), Err(SendError::HasLanes));
        assert_eq!(ring.try_recv().unwrap_err(), RecvError::HasLanes);
        assert_eq!(ring.recv().unwrap_err(), RecvError::HasLanes);
    }
}

#[test]
fn an_exclusive_producer_side_by_class_has_one_handle() {
    let ring = by_class(Sharing::Exclusive);
    let first = ring.producer().unwrap();
    let refused = ring.producer().unwrap_err();
    assert!(matches!(refused, RingError::SideTaken { .. }), "{refused}");
    let consumer = consumer_of(&ring, 3);
    assert_eq!(consumer.living_producers(), 1);
    drop(first);
    ring.producer().unwrap();
}

fn by_producer(lanes: u16) -> UltraFastRing {
    let builder = UltraFastRing::builder().lanes(Lanes::ByProducer(lanes)).capacity(8);
    builder.participant_name("owner").heap().unwrap()
}

#[test]
fn each_producer_has_a_lane_of_its_own_until_there_is_none_left() {
    let ring = by_producer(3);
    let mut producers: Vec<_> = (0..3).map(|_| ring.producer().unwrap()).collect();
    for (number, producer) in producers.iter_mut().enumerate() {
        producer.send_fast(&[number as u8], PriorityClass::Normal).unwrap();
        assert_eq!(producer.entry.segment().index(), number);
    }
    let refused = ring.producer().unwrap_err();
    let RingError::NoFreeLane { lanes, ref owners } = refused else { panic!("{refused}") };
    assert_eq!((lanes, owners.len()), (3, 3));
    let own = std::process::id();
    assert!(owners.iter().all(|it| it.pid == own && it.name.as_str() == "owner"));
    let owner = std::format!("process {own} (owner)");
    assert!(
        refused.to_string().contains(&std::format!("3 lanes of this ring has its owner: {owner}"))
    );
    assert!(producers[0].try_clone().is_err());
    drop(producers.remove(1));
    // The next one goes on in that lane.
    let mut next = producers[0].try_clone().unwrap();
    assert_eq!(next.entry.segment().index(), 1);
    next.send_fast(b"next", PriorityClass::Normal).unwrap();
    assert_eq!(left_in(&ring, 0), [[0]]);
    assert_eq!(left_in(&ring, 1), [[1].to_vec(), b"next".to_vec()]);
}

#[test]
fn an_owner_closes_and_opens_its_own_lane_only() {
    let ring = by_producer(2);
    let (mut first, mut second) = (ring.producer().unwrap(), ring.producer().unwrap());
    first.close();
    assert_eq!(first.send_fast(b"x", PriorityClass::Normal), Err(SendError::Closed));
    second.send_fast(b"x", PriorityClass::Normal).unwrap();
    assert!(!ring.is_closed());
    second.close();
    assert!(ring.is_closed());
    drop(second);
    ring.producer().unwrap();
    assert!(!ring.is_closed());
    assert_eq!(first.send_fast(b"x", PriorityClass::Normal), Err(SendError::Closed));
    ring.close();
    assert!(ring.is_closed());
    ring.reopen();
    first.send_fast(b"x", PriorityClass::Normal).unwrap();
}

#[test]
fn a_ring_by_class_is_closed_by_one_producer_and_opened_by_the_next() {
    let ring = by_class(Sharing::Shared);
    let (mut first, mut second) = (ring.producer().unwrap(), ring.producer().unwrap());
    second.send_fast(b"x", PriorityClass::Low).unwrap();
    first.close();
    for class in PriorityClass::ALL {
        assert_eq!(second.send_fast(b"x", class), Err(SendError::Closed));
        assert_eq!(first.send(b"x", class), Err(SendError::Closed));
    }
    assert!(ring.is_closed() && ring.producer_unless_closed().is_err());
    ring.producer().unwrap();
    for class in PriorityClass::ALL {
        second.send_fast(b"x", class).unwrap();
        first.send_fast(b"x", class).unwrap();
    }
}
