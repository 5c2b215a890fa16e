//! Rings with lanes: what a consumer of all lanes receives, and when.
#![cfg(feature = "std")]

mod common;

use std::time::{Duration, Instant};

use ultrafastring::{
    Consumer, Lanes, PriorityClass, Producer, RecvError, RingError, SendError, UltraFastRing,
    WaitStrategy, wait_any,
};

const CLASSES: [PriorityClass; 5] = PriorityClass::ALL;

fn by_class(capacity: usize) -> UltraFastRing {
    let builder = UltraFastRing::builder().lanes(Lanes::ByClass).max_message(200);
    builder.capacity(capacity).heap().unwrap()
}

fn by_producer(lanes: u16, capacity: usize) -> UltraFastRing {
    let builder = UltraFastRing::builder().lanes(Lanes::ByProducer(lanes)).exclusive_producer();
    builder.max_message(200).capacity(capacity).heap().unwrap()
}

/// Every way of receiving one message: its bytes.
type Way = fn(&mut Consumer) -> Result<Vec<u8>, RecvError>;

/// All of them.
fn ways() -> Vec<(&'static str, Way)> {
    const SOON: Duration = Duration::from_secs(20);
    vec![
        ("try_recv", |it| it.try_recv().map(|message| message.to_vec())),
        ("recv_fast", |it| {
            let mut bytes = [0; 200];
            it.recv_fast(&mut bytes).map(|(size, ..)| bytes[..size].to_vec())
        }),
        ("try_recv_into", |it| {
            let mut bytes = Vec::new();
            it.try_recv_into(&mut bytes).map(|_| bytes)
        }),
        ("try_borrow", |it| it.try_borrow().map(|message| message.to_vec())),
        ("try_borrow_many", |it| {
            it.try_borrow_many(1).map(|several| several.get(0).unwrap().to_vec())
        }),
        ("recv_batch", |it| {
            let mut bytes = [[0; 200]; 1];
            it.recv_batch(&mut bytes).map(|batch| bytes[0][..batch[0].size].to_vec())
        }),
        ("recv", |it| it.recv_timeout(SOON).map(|message| message.to_vec())),
        ("borrow", |it| it.borrow_timeout(SOON).map(|message| message.to_vec())),
        ("recv_into", |it| {
            let mut bytes = Vec::new();
            it.recv_into_timeout(&mut bytes, SOON).map(|_| bytes)
        }),
        ("borrow_many", |it| {
            it.borrow_many_timeout(1, SOON).map(|several| several.first().unwrap().to_vec())
        }),
        ("recv_many", |it| {
            let mut bytes = [[0; 200]; 1];
            it.recv_many_timeout(&mut bytes, SOON).map(|batch| bytes[0][..batch[0].size].to_vec())
        }),
        ("iter", |it| it.iter().next().map(|message| message.to_vec()).ok_or(RecvError::Empty)),
    ]
}

fn send(producer: &mut Producer, number: u64, class: PriorityClass) {
    producer.send_fast(&number.to_le_bytes(), class).unwrap();
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().unwrap())
}

#[test]
fn the_most_urgent_message_is_next_in_every_way_of_receiving() {
    let ring = by_class(64);
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    for (way, receive) in ways() {
        for (place, class) in CLASSES.into_iter().enumerate().rev() {
            send(&mut producer, place as u64, class);
            send(&mut producer, place as u64 + 10, class);
        }
        for place in 0..5 {
            for expected in [place, place + 10] {
                assert_eq!(number(&receive(&mut consumer).unwrap()), expected, "{way}");
            }
        }
        assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty, "{way}");
    }
}

#[test]
fn an_urgent_message_overtakes_all_that_wait() {
    let ring = by_class(4096);
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    for _ in 0..3 {
        for number in 0..4096 {
            send(&mut producer, number, PriorityClass::Bulk);
        }
        assert_eq!(producer.send_fast(b"one more", PriorityClass::Bulk), Err(SendError::Full));
        for expected in 0..4096 {
            if expected % 7 == 0 {
                send(&mut producer, u64::MAX, PriorityClass::RealTime);
                assert_eq!(number(&consumer.try_recv().unwrap()), u64::MAX);
            }
            assert_eq!(number(&consumer.try_recv().unwrap()), expected);
        }
    }
}

#[test]
fn an_urgent_message_is_next_however_long_a_handle_has_stayed_in_another_lane() {
    for (way, receive) in ways() {
        let ring = by_class(128);
        let (mut consumer, mut producer) = (ring.consumer().unwrap(), ring.producer().unwrap());
        for stay in 0..80 {
            for number in 0..=stay {
                send(&mut producer, number, PriorityClass::Normal);
            }
            for expected in 0..stay {
                assert_eq!(number(&receive(&mut consumer).unwrap()), expected, "{way}");
            }
            let urgent = CLASSES[stay as usize % 2];
            send(&mut producer, 1000, urgent);
            assert_eq!(number(&receive(&mut consumer).unwrap()), 1000, "{way}, {stay}");
            assert_eq!(number(&receive(&mut consumer).unwrap()), stay, "{way}");
        }
    }
}

#[test]
fn shared_consumers_whose_place_in_a_lane_is_old_return_the_urgent_message() {
    let ring = UltraFastRing::builder().lanes(Lanes::ByClass).capacity(4).heap().unwrap();
    let mut producer = ring.producer().unwrap();
    let (mut old, mut other) = (ring.consumer().unwrap(), ring.consumer().unwrap());
    for (way, receive) in ways() {
        for laps in 0..9 {
            for number in 0..laps {
                send(&mut producer, number, PriorityClass::RealTime);
                assert_eq!(self::number(&receive(&mut other).unwrap()), number, "{way}");
            }
            send(&mut producer, 1, PriorityClass::Bulk);
            send(&mut producer, 0, PriorityClass::RealTime);
            assert_eq!(number(&receive(&mut old).unwrap()), 0, "{way} {laps}");
            assert_eq!(number(&receive(&mut old).unwrap()), 1, "{way} {laps}");
        }
    }
}

#[test]
fn a_forgotten_guard_is_released_by_the_next_call_though_that_receives_from_another_lane() {
    let ring = by_class(2);
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    for class in [PriorityClass::RealTime, PriorityClass::Low] {
        for several in [false, true] {
            send(&mut producer, 1, class);
            send(&mut producer, 2, class);
            if several {
                std::mem::forget(consumer.try_borrow_many(2).unwrap());
            } else {
                std::mem::forget(consumer.try_borrow().unwrap());
                assert_eq!(number(&consumer.try_recv().unwrap()), 2);
            }
            send(&mut producer, 3, PriorityClass::High);
            assert_eq!(number(&consumer.try_recv().unwrap()), 3);
            consumer.flush();
            send(&mut producer, 1, class);
            send(&mut producer, 2, class);
            assert_eq!(number(&consumer.try_recv().unwrap()), 1);
            assert_eq!(number(&consumer.try_recv().unwrap()), 2);
        }
    }
}

#[test]
fn each_producers_messages_come_in_order_and_no_lane_waits_for_long() {
    for lanes in [1, 3, 64] {
        for (way, receive) in ways() {
            let ring = by_producer(lanes, 64);
            let mut producers: Vec<_> = (0..lanes).map(|_| ring.producer().unwrap()).collect();
            let mut consumer = ring.consumer().unwrap();
            for number in 0..40 {
                for (lane, producer) in producers.iter_mut().enumerate() {
                    send(producer, (lane as u64) << 32 | number, PriorityClass::Normal);
                }
            }
            let mut next = vec![0; usize::from(lanes)];
            let mut in_a_row = (usize::MAX, 0);
            for _ in 0..40 * u64::from(lanes) {
                let number = number(&receive(&mut consumer).unwrap());
                let lane = (number >> 32) as usize;
                assert_eq!(number & 0xffff_ffff, next[lane], "{way}, {lanes} lanes");
                next[lane] += 1;
                in_a_row = if in_a_row.0 == lane { (lane, in_a_row.1 + 1) } else { (lane, 1) };
                let others = next.iter().enumerate().any(|(it, &got)| it != lane && got < 40);
                assert!(in_a_row.1 <= 16 || !others || lanes == 64, "{way}, {lanes} lanes");
            }
            assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty);
        }
    }
}

/// How many messages of a busy lane come before one of each other lane that has one.
#[test]
fn a_busy_lane_does_not_starve_a_rare_one() {
    let ring = by_producer(64, 256);
    let mut producers: Vec<_> = (0..64).map(|_| ring.producer().unwrap()).collect();
    let mut consumer = ring.consumer().unwrap();
    let mut waited = 0;
    for rare in 1..64 {
        let mut since = None;
        for sent in 0..400u64 {
            send(&mut producers[0], 0, PriorityClass::Normal);
            if sent == 100 {
                send(&mut producers[rare], 1, PriorityClass::Normal);
                since = Some(sent);
            }
            if number(&consumer.try_recv().unwrap()) == 1 {
                waited = waited.max(sent - since.take().expect("it was sent"));
            }
        }
        assert_eq!(since, None, "the message of lane {rare} never came");
        while consumer.try_recv().is_ok() {}
    }
    // Sixteen messages of each of as many visits as it takes to look at all the others.
    assert!(waited <= 16 * (64 / 8 + 1), "{waited}");
}

#[test]
fn a_consumer_that_sleeps_is_woken_by_a_message_in_any_lane() {
    for by_class in [true, false] {
        let ring = if by_class { self::by_class(8) } else { by_producer(5, 8) };
        let mut producers: Vec<_> =
            (0..if by_class { 1 } else { 5 }).map(|_| ring.producer().unwrap()).collect();
        let mut consumer = ring.consumer().unwrap();
        consumer.set_wait_strategy(WaitStrategy::Park);
        for round in 0..40 {
            let class = CLASSES[round % 5];
            let place = round % producers.len();
            let producer = &mut producers[place];
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::thread::sleep(Duration::from_millis(2));
                    producer.send(&round.to_le_bytes(), class).unwrap();
                });
                assert_eq!(consumer.recv().unwrap()[..], round.to_le_bytes());
            });
        }
        assert_eq!(consumer.missed_wakes(), 0);
        let ring = &ring;
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(20));
                ring.close();
            });
            assert_eq!(consumer.recv().unwrap_err(), RecvError::Closed);
        });
    }
}

#[test]
fn all_who_sleep_are_woken_by_messages_in_different_lanes() {
    let ring = by_producer(4, 8);
    let mut producers: Vec<_> = (0..4).map(|_| ring.producer().unwrap()).collect();
    std::thread::scope(|scope| {
        let sleepers: Vec<_> = (0..3)
            .map(|_| {
                let mut consumer = ring.consumer().unwrap();
                consumer.set_wait_strategy(WaitStrategy::Park);
                scope.spawn(move || {
                    let mut got = 0;
                    while consumer.recv().is_ok() {
                        got += 1;
                    }
                    got
                })
            })
            .collect();
        for round in 0..200 {
            let producer = &mut producers[round % 4];
            producer.send(b"x", PriorityClass::Normal).unwrap();
            if round % 50 == 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        ring.close();
        let got: i32 = sleepers.into_iter().map(|sleeper| sleeper.join().unwrap()).sum();
        assert_eq!(got, 200);
    });
}

#[test]
fn a_stream_ends_when_each_lane_that_was_used_is_closed_and_drained() {
    let ring = by_producer(4, 8);
    let mut consumer = ring.consumer().unwrap();
    let soon = Duration::from_millis(1);
    assert_eq!(consumer.recv_timeout(soon).unwrap_err(), RecvError::TimedOut);
    let (mut first, mut second) = (ring.producer().unwrap(), ring.producer().unwrap());
    send(&mut first, 1, PriorityClass::Normal);
    first.close();
    drop(first);
    assert_eq!(number(&consumer.recv().unwrap()), 1);
    assert_eq!(consumer.recv_timeout(soon).unwrap_err(), RecvError::TimedOut);
    send(&mut second, 2, PriorityClass::Normal);
    second.close();
    assert_eq!(number(&consumer.recv().unwrap()), 2);
    assert_eq!(consumer.recv().unwrap_err(), RecvError::Closed);
    assert!((0..100).any(|_| consumer.try_recv().unwrap_err() == RecvError::Closed));
    // A new handle opens its own lane only, and that is enough.
    let mut third = ring.producer().unwrap();
    assert_eq!(consumer.recv_timeout(soon).unwrap_err(), RecvError::TimedOut);
    send(&mut third, 3, PriorityClass::Normal);
    third.close();
    assert_eq!(number(&consumer.recv().unwrap()), 3);
    assert_eq!(consumer.recv().unwrap_err(), RecvError::Closed);
}

#[test]
fn a_consumer_that_awaits_the_next_stream_gets_its_end() {
    for by_class in [true, false] {
        let ring = if by_class { self::by_class(8) } else { by_producer(4, 8) };
        let soon = Duration::from_millis(1);
        let mut consumer = ring.consumer().unwrap();
        ring.producer().unwrap().close();
        assert_eq!(consumer.recv().unwrap_err(), RecvError::Closed);
        consumer.await_next_stream();
        assert_eq!(consumer.recv_timeout(soon).unwrap_err(), RecvError::TimedOut);
        let mut producer = ring.producer().unwrap();
        send(&mut producer, 7, PriorityClass::Low);
        producer.close();
        assert_eq!(number(&consumer.recv().unwrap()), 7);
        assert_eq!(consumer.recv().unwrap_err(), RecvError::Closed);
    }
}

#[test]
fn a_wait_ends_when_all_producers_have_left_whatever_their_lanes() {
    for by_class in [true, false] {
        let ring = if by_class { self::by_class(8) } else { by_producer(4, 8) };
        let mut consumer = ring.consumer().unwrap();
        consumer.end_when_deserted(true);
        assert_eq!(
            consumer.recv_timeout(Duration::from_millis(1)).unwrap_err(),
            RecvError::TimedOut
        );
        let (mut first, mut second) = (ring.producer().unwrap(), ring.producer().unwrap());
        send(&mut first, 1, PriorityClass::Bulk);
        drop(first);
        assert_eq!(number(&consumer.recv().unwrap()), 1);
        assert_eq!(
            consumer.recv_timeout(Duration::from_millis(1)).unwrap_err(),
            RecvError::TimedOut
        );
        assert_eq!(consumer.living_producers(), 1);
        send(&mut second, 2, PriorityClass::High);
        drop(second);
        assert_eq!(number(&consumer.recv().unwrap()), 2);
        assert_eq!(consumer.recv().unwrap_err(), RecvError::Deserted);
    }
}

/// A look is what `wait_any`, an event loop and a task do first.
#[test]
fn a_forgotten_guard_is_released_by_a_look_that_finds_an_urgent_message() {
    let ring = by_class(2);
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    for number in 0..2 {
        send(&mut producer, number, PriorityClass::Low);
    }
    std::mem::forget(consumer.try_borrow_many(2).unwrap());
    assert!(producer.try_send(b"more", PriorityClass::Low).is_err());
    send(&mut producer, 3, PriorityClass::RealTime);
    assert_eq!(wait_any(&mut [&mut consumer], None), Some(0));
    for _ in 0..1_000 {
        consumer.try_recv().unwrap();
        send(&mut producer, 3, PriorityClass::RealTime);
    }
    producer.try_send(b"more", PriorityClass::Low).unwrap();
}

#[test]
fn wait_any_and_readiness_see_messages_of_all_lanes() {
    let (classes, producers) = (by_class(8), by_producer(3, 8));
    let (mut first, mut second) = (classes.consumer().unwrap(), producers.consumer().unwrap());
    let mut sender = classes.producer().unwrap();
    let mut senders: Vec<_> = (0..3).map(|_| producers.producer().unwrap()).collect();
    for round in 0..30 {
        let urgent = round % 2 == 0;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(1));
                match urgent {
                    true => send(&mut sender, 1, CLASSES[round % 5]),
                    false => send(&mut senders[round % 3], 2, PriorityClass::Normal),
                }
            });
            let which = wait_any(&mut [&mut first, &mut second], None);
            assert_eq!(which, Some(if urgent { 0 } else { 1 }));
        });
        let message = if urgent { first.try_recv() } else { second.try_recv() };
        assert_eq!(number(&message.unwrap()), if urgent { 1 } else { 2 });
    }
    let readiness = second.readiness().unwrap();
    for round in 0..10 {
        assert_eq!(second.arm(&readiness), Ok(false));
        send(&mut senders[round % 3], 5, PriorityClass::Normal);
        let until = Instant::now() + Duration::from_secs(20);
        while second.try_recv().is_err() {
            assert!(Instant::now() < until);
            rustix::event::poll(
                &mut [rustix::event::PollFd::new(&readiness, rustix::event::PollFlags::IN)],
                None,
            )
            .unwrap();
            readiness.clear();
        }
    }
}

#[test]
fn handles_of_one_lane_cannot_be_had() {
    for ring in [by_class(8), by_producer(2, 8)] {
        assert!(ring.shared_consumer().is_err() && ring.exclusive_consumer().is_err());
        let consumer = ring.consumer().unwrap();
        let clone = consumer.try_clone().unwrap();
        drop((consumer, clone));
        assert!(ring.participants().next().is_none());
    }
    let ring = UltraFastRing::builder().lanes(Lanes::ByClass).exclusive_consumer();
    let ring = ring.heap().unwrap();
    let mut consumer = ring.consumer().unwrap();
    assert!(ring.consumer().is_err() && consumer.try_clone().is_err());
    send(&mut ring.producer().unwrap(), 1, PriorityClass::Low);
    assert_eq!(number(&consumer.recv().unwrap()), 1);
    drop(consumer);
    ring.consumer().unwrap();
}

/// How many receives pass between two of each class, if each always has a message.
fn longest_waits(one_in: u32, receive: Way) -> [u32; 5] {
    let ring = by_class(64);
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    consumer.ageing(one_in).unwrap();
    let (mut waited, mut longest, mut next) = ([0; 5], [0; 5], [0; 5]);
    for class in CLASSES {
        send(&mut producer, (class as u64) << 32, class);
    }
    for _ in 0..400 {
        let number = number(&receive(&mut consumer).unwrap());
        let class = (number >> 32) as usize;
        assert_eq!(number & 0xffff_ffff, next[class], "out of order within its class");
        next[class] += 1;
        send(&mut producer, (class as u64) << 32 | next[class], CLASSES[class]);
        for other in 0..5 {
            waited[other] = if other == class { 0 } else { waited[other] + 1 };
            longest[other] = longest[other].max(waited[other]);
        }
    }
    longest
}

#[test]
fn each_class_gets_its_share_of_the_receives_if_lanes_age() {
    for (way, receive) in ways() {
        for one_in in [1, 2, 3, 10] {
            let longest = longest_waits(one_in, receive);
            assert!(longest[1..].iter().all(|&it| it < 5 * one_in), "{way} {one_in} {longest:?}");
            // What is urgent waits for one other at a time, unless all have their turn each time.
            let most = if one_in == 1 { 4 } else { 1 };
            assert!(longest[0] <= most, "{way} {one_in} {longest:?}");
        }
        assert_eq!(longest_waits(0, receive), [0, 400, 400, 400, 400], "{way}");
    }
}

#[test]
fn ageing_passes_over_classes_that_have_nothing_and_counts_what_is_received() {
    let ring = by_class(64);
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    consumer.ageing(3).unwrap();
    for _ in 0..10 {
        assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty);
    }
    for number in 0..8 {
        send(&mut producer, number, PriorityClass::High);
    }
    for number in 0..2 {
        send(&mut producer, 100 + number, PriorityClass::Low);
    }
    let received: Vec<_> = consumer.try_iter().map(|message| number(&message)).collect();
    assert_eq!(received, [0, 1, 100, 2, 3, 4, 5, 6, 101, 7]);
}

#[test]
fn a_call_that_receives_several_messages_ages_lanes_as_one_that_receives_one() {
    let ring = by_class(256);
    let (mut consumer, mut producer) = (ring.consumer().unwrap(), ring.producer().unwrap());
    consumer.ageing(4).unwrap();
    for number in 0..200 {
        send(&mut producer, number, PriorityClass::High);
        send(&mut producer, number, PriorityClass::Bulk);
    }
    let bulk: Vec<u32> = (1..=40)
        .filter(|call| {
            let class = if call % 3 == 0 {
                consumer.try_borrow_many(3).unwrap().get(0).unwrap().class()
            } else {
                consumer.try_recv().unwrap().class()
            };
            class == PriorityClass::Bulk
        })
        .collect();
    // One call in four takes from the lanes in turn, of which two have something.
    assert_eq!(bulk, [4, 12, 20, 28, 36]);
}

#[test]
fn lanes_that_are_not_by_class_do_not_age() {
    let plain = UltraFastRing::new(4);
    for (ring, lanes) in [(plain, Lanes::One), (by_producer(3, 8), Lanes::ByProducer(3))] {
        let refused = ring.consumer().unwrap().ageing(4).unwrap_err();
        assert!(matches!(refused, RingError::NoClassLanes { lanes: of } if of == lanes));
    }
}
