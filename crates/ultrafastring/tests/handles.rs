//! Handles: those of any mode beside typed ones, what they say of their ring, several messages that
//! are held at once, iterators, streams that end, peers that have gone, and waiting for several of
//! them.

#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod common;
#[path = "common/shapes.rs"]
mod shapes;

use std::time::{Duration, Instant};

use common::child::Child;
use common::{Numbered, patiently, stage};
use shapes::{Shape, on_each_shape};
use tempfile::TempDir;
use ultrafastring::{
    Builder, Consumer, Mode, PriorityClass, Producer, RecvError, RingError, SendError, Sharing,
    Side, UltraFastRing, WaitStrategy, wait_any,
};

const NORMAL: PriorityClass = PriorityClass::Normal;
const NAME: &str = "handles";
const SOON: Duration = Duration::from_millis(10);
/// Longer than any test waits for what comes at once.
const LONG: Duration = Duration::from_secs(60);

/// A builder of named rings of a shape.
fn at<S: Shape>(directory: &TempDir) -> Builder {
    S::of(Builder::new().directory(directory.path()))
}

fn both<S: Shape>(ring: &UltraFastRing) -> (Producer, Consumer) {
    (S::producer_of_any_mode(ring), S::consumer_of_any_mode(ring))
}

fn send<M: Mode>(producer: &mut Producer<M>, numbers: std::ops::Range<u64>) {
    numbers.for_each(|it| producer.send(Numbered::new(0, it).as_ref(), NORMAL).unwrap());
}

/// What is told at a moment that the other process chooses: it has a producer, or a consumer, and
/// waits for the order that its death takes the place of.
fn sleep_for_ever() {
    loop {
        std::thread::sleep(LONG);
    }
}

// ---- of any mode ------------------------------------------------------------------------------

fn handles_of_any_mode_have_any_ring_and_exclude_as_typed_ones_do<S: Shape>() {
    let ring = S::heap(4);
    let (mut producer, mut consumer) = both::<S>(&ring);
    send(&mut producer, 0..4);
    assert!(producer.try_send("full", NORMAL).unwrap_err().is_full());
    assert!(consumer.try_iter().map(|it| Numbered::read(&it).1).eq(0..4));

    // Whether there can be another does not depend on how it is asked for.
    let several = S::most_producers(2) > 1;
    let (typed, any) = (S::try_producer(&ring), ring.producer());
    assert_eq!(typed.is_some(), several);
    match any.map(drop) {
        Ok(()) => assert!(several),
        Err(RingError::SideTaken { side, .. }) => assert_eq!(side, Side::Producer),
        Err(error) => panic!("{error}"),
    }
    let clone = producer.try_clone();
    assert_eq!(clone.is_ok(), several);
    let (typed, any) = (S::try_consumer(&ring), S::any_consumer(&ring));
    assert_eq!(typed.is_some(), S::consumers_share());
    match any.map(drop) {
        Ok(()) => assert!(S::consumers_share()),
        Err(RingError::SideTaken { side, .. }) => assert_eq!(side, Side::Consumer),
        Err(RingError::GroupTaken { name }) => assert_eq!(name.as_str(), S::groups()[0]),
        Err(error) => panic!("{error}"),
    }
    // A typed handle of the other kind is refused, whoever has the side.
    if S::has_lanes() {
        let sides = [ring.exclusive_producer().map(drop), ring.shared_producer().map(drop)];
        assert!(sides.iter().all(|it| matches!(it, Err(RingError::HasLanes))));
    } else if S::producers_share() {
        let sides = ring.exclusive_producer().map(drop);
        assert!(matches!(sides, Err(RingError::WrongSharing { actual: Sharing::Shared, .. })));
    } else {
        let sides = ring.shared_producer().map(drop);
        assert!(matches!(sides, Err(RingError::WrongSharing { actual: Sharing::Exclusive, .. })));
    }
}
on_each_shape!(handles_of_any_mode_have_any_ring_and_exclude_as_typed_ones_do);

fn a_stream_goes_on_by_handles_of_any_mode_and_typed_ones_in_turn<S: Shape>()
where
    Producer: From<Producer<S::Producers>>,
    Consumer: From<Consumer<S::Consumers>>,
{
    let ring = S::heap(4);
    let second = S::read_second(&ring);
    for turn in 0..20 {
        let numbers = 3 * turn..3 * turn + 3;
        let mut received = match turn % 4 {
            0 => {
                let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
                send(&mut producer, numbers.clone());
                consumer.try_iter().collect::<Vec<_>>()
            }
            1 => {
                let (mut producer, mut consumer) =
                    (S::producer(&ring), S::consumer_of_any_mode(&ring));
                send(&mut producer, numbers.clone());
                consumer.try_iter().collect()
            }
            2 => {
                let (mut producer, mut consumer) =
                    (S::producer_of_any_mode(&ring), S::consumer(&ring));
                send(&mut producer, numbers.clone());
                consumer.try_iter().collect()
            }
            _ => {
                let mut producer = Producer::from(S::producer(&ring));
                send(&mut producer, numbers.clone());
                Consumer::from(S::consumer(&ring)).try_iter().collect()
            }
        };
        received.iter_mut().for_each(|it| assert!(!it.is_redelivered()));
        assert!(received.iter().map(|it| Numbered::read(it).1).eq(numbers));
    }
    assert!(second.finish().is_none_or(|received| received == 60));
    assert_eq!((ring.stats().sent, ring.stats().received), (60, 60));
}
on_each_shape!(a_stream_goes_on_by_handles_of_any_mode_and_typed_ones_in_turn);

fn a_handle_of_any_mode_works_as_its_side_is_shared<S: Shape>() {
    let ring = S::heap(8);
    let (mut producer, mut consumer) = both::<S>(&ring);
    producer.try_reserve(1, NORMAL).unwrap().cancel();
    producer.try_send(b"next", NORMAL).unwrap();
    let held = consumer.try_borrow().unwrap();
    // Of a shared side a position that is given up stays taken, and one that is held is passed.
    let position = u64::from(S::producers_share());
    assert_eq!(held.position(), position);
    // An exclusive consumer passes what was given up when it has read the message behind it.
    let head = if S::consumers_claim() { position + 1 } else { position };
    assert_eq!(ring.positions().consumer_head, head);
}
on_each_shape!(a_handle_of_any_mode_works_as_its_side_is_shared, needs(one_group));

fn what_a_handle_says_of_its_ring_is_so<S: Shape>() {
    let ring = S::builder().capacity(8).credit_limit(2).max_message(100).heap().unwrap();
    let (mut producer, mut consumer) = both::<S>(&ring);
    drop(ring);
    assert_eq!((producer.capacity(), consumer.capacity()), (8, 8));
    assert_eq!((producer.max_message(), consumer.max_message()), (100, 100));
    assert_eq!((producer.max_in_flight(), consumer.max_in_flight()), (2, 2));
    send(&mut producer, 0..2);
    let refused = producer.try_send("a third", NORMAL).unwrap_err();
    assert_eq!(refused.reason, SendError::OutOfCredit);
    // Other lanes have room.
    assert_eq!(producer.is_full(), !S::has_lanes());
    let held = consumer.borrow().unwrap();
    assert_eq!(producer.len(), 1 + usize::from(!S::consumers_claim()), "one is held");
    assert_eq!(producer.is_full(), !S::has_lanes(), "what is held is in flight");
    held.release();
    assert!(!producer.is_full());
    // The ring outlives the one that the handles were taken from.
    let (one, other) = (producer.ring(), consumer.ring());
    assert_eq!((one.len(), other.len()), (1, 1));
    drop(producer);
    other.producer().unwrap().send(&[7; 100], NORMAL).unwrap();
    assert_eq!(consumer.len(), 2);
    drop((consumer, other));
    let mut consumer = S::consumer_of_any_mode(&one);
    assert_eq!(Numbered::read(&consumer.try_recv().unwrap()), (0, 1));
    assert_eq!(consumer.try_borrow().unwrap().to_vec(), [7; 100]);
}
on_each_shape!(what_a_handle_says_of_its_ring_is_so, needs(one_group));

fn a_clone_is_a_handle_of_its_own<S: Shape>() {
    let ring = S::heap(8);
    let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
    let (mut second, mut another) = (producer.try_clone().unwrap(), consumer.try_clone().unwrap());
    assert_ne!(producer.participant(), second.participant());
    assert_ne!(consumer.participant(), another.participant());
    producer.send(b"one", NORMAL).unwrap();
    second.send(b"other", NORMAL).unwrap();
    drop((ring, producer));
    let held = consumer.try_borrow().unwrap();
    assert_eq!(another.try_recv().unwrap(), b"other", "each message goes to one of them");
    drop(held);
    assert_eq!(another.try_recv().unwrap_err(), RecvError::Empty);
    consumer.close();
    let mut late = second.try_clone().unwrap();
    assert_eq!(late.send(b"late", NORMAL), Err(SendError::Closed), "a clone opens nothing");
}
on_each_shape!(a_clone_is_a_handle_of_its_own, needs(two_of_each));

// ---- batches ----------------------------------------------------------------------------------

fn a_batch_that_waits_says_how_many_of_it_were_sent<S: Shape>() {
    let ring = S::builder().capacity(4).max_message(100).heap().unwrap();
    let (mut producer, mut consumer) = both::<S>(&ring);
    let words = ["to", "be", "or", "not", "to", "be"];
    assert_eq!(producer.try_send_many(&words, NORMAL), Ok(4));
    consumer.try_recv().unwrap();
    let error = producer.send_many_timeout(&words[4..], NORMAL, SOON).unwrap_err();
    assert_eq!((error.sent, error.reason), (1, SendError::TimedOut));
    let large = producer.send_many(&[vec![0; 1], vec![0; 101]], NORMAL).unwrap_err();
    assert_eq!((large.sent, large.reason), (0, SendError::TooLarge { size: 101, max: 100 }));
    // One that is longer than the ring waits as often as it must.
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| producer.send_many(&[words; 50].concat(), NORMAL));
        let mut buffers = [[0; 3]; 3];
        let mut received = Vec::new();
        while received.len() < 4 + 300 {
            let batch = consumer.recv_many(&mut buffers).unwrap();
            assert!((1..=3).contains(&batch.len()));
            let all = buffers.iter().zip(&batch).map(|(it, about)| it[..about.size].to_vec());
            received.extend(all);
        }
        assert_eq!(sending.join().unwrap(), Ok(()));
        let before = [&words[1..4], &words[4..5]].concat();
        assert!(
            received
                .iter()
                .eq(before.iter().chain(words.iter().cycle().take(300)).map(|it| it.as_bytes()))
        );
    });
}
on_each_shape!(a_batch_that_waits_says_how_many_of_it_were_sent, needs(one_group));

fn buffers_of_a_batch_are_of_any_sizes_and_kinds<S: Shape>() {
    let ring = S::builder().capacity(4).max_message(1000).heap().unwrap();
    let (mut producer, mut consumer) = both::<S>(&ring);
    for size in [3, 5, 5, 900] {
        producer.send(&vec![size as u8; size], NORMAL).unwrap();
    }
    let (mut small, mut fits, mut large) = ([0; 2], [0; 5], [0; 1000]);
    let refused = consumer.try_recv_many(&mut [&mut small[..], &mut fits[..]]).unwrap_err();
    assert_eq!(refused, RecvError::BufferTooSmall { needed: 3, available: 2 });
    let mut buffers = [&mut fits[..], &mut large[..], &mut small[..]];
    let batch = consumer.try_recv_many(&mut buffers).unwrap();
    assert!(batch.iter().map(|about| (about.size, about.position())).eq([(3, 0), (5, 1)]));
    assert!(batch.iter().all(|about| about.timestamp().is_some()));
    assert_eq!((&fits[..3], &large[..5]), (&[3; 3][..], &[5; 5][..]));
    let mut buffers = vec![vec![0; 5], vec![0; 1000]];
    assert_eq!(consumer.try_recv_many(&mut buffers).unwrap().len(), 2);
    assert_eq!((&buffers[0][..], buffers[1][899]), (&[5; 5][..], 132));
    assert_eq!(consumer.try_recv_many::<[u8; 4]>(&mut []).unwrap().len(), 0);
}
on_each_shape!(buffers_of_a_batch_are_of_any_sizes_and_kinds);

// ---- several that are held --------------------------------------------------------------------

/// A large message that knows its number.
fn large(number: u64) -> Vec<u8> {
    let mut bytes = vec![number as u8; 20_000 + 1_000 * number as usize];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

fn several_large_messages_are_read_where_they_lie_and_freed_in_order<S: Shape>() {
    let ring = S::builder().capacity(8).max_message(50_000).heap().unwrap();
    let (mut producer, mut consumer) = both::<S>(&ring);
    (0..8).for_each(|number| producer.send(&large(number), NORMAL).unwrap());
    let mut several = consumer.try_borrow_many(64).unwrap();
    assert_eq!((several.len(), producer.is_full()), (8, !S::has_lanes()));
    // In any order, and more than once.
    for number in [7, 0, 3, 3] {
        let (message, mut last) = (several.get(number as usize).unwrap(), [0]);
        message.read_at(message.len() - 1, &mut last);
        assert_eq!((message.len(), last), (large(number).len(), [number as u8]));
        // SAFETY: no other process has this ring, and nobody writes into it here.
        assert!(unsafe { message.as_slice() } == large(number));
        assert!(message.as_inline().is_none() && message.message().is_none());
    }
    // SAFETY: as above.
    let place = |it: ultrafastring::HeldMessage<'_>| unsafe { it.as_slice() }.as_ptr();
    let places: Vec<_> = several.iter().map(place).collect();
    assert!(several.iter().map(place).eq(places), "a copy was made");
    // As many slots come back as were released.
    for released in 0..4u64 {
        assert!(producer.try_send("no room", NORMAL).unwrap_err().is_full(), "{released}");
        several.release_first(1);
        assert_eq!(several.first().unwrap().position(), released + 1);
        producer.try_send(&large(8 + released), NORMAL).unwrap();
    }
    assert!(several.iter().map(|it| it.position()).eq(4..8));
    drop(several);
    let all: Vec<_> = consumer.try_borrow_many(64).unwrap().iter().map(|it| it.to_vec()).collect();
    assert!(all == (8..12).map(large).collect::<Vec<_>>());
    assert_eq!(ring.stats().received, 12);
}
on_each_shape!(several_large_messages_are_read_where_they_lie_and_freed_in_order, needs(one_group));

/// A process that is killed has released some and holds the others: those come again, marked, and
/// these do not.
fn of_several_that_a_killed_process_held_those_it_had_not_released_come_again<S: Shape>() {
    for released in [0, 1, 3] {
        let directory = stage();
        let builder = at::<S>(&directory).capacity(8).max_message(50_000);
        let ring = builder.create(NAME).unwrap();
        let told = || Builder::new().directory(directory.path()).open_or_create("told").unwrap();
        let mut producer = S::producer_of_any_mode(&ring);
        (0..6).for_each(|number| producer.send(&large(number), NORMAL).unwrap());
        let child = Child::start(|| {
            let ring = builder.open(NAME).unwrap();
            let mut consumer = S::consumer_of_any_mode(&ring);
            let mut several = consumer.try_borrow_many(6).unwrap();
            for number in 0..released {
                assert!(several.first().unwrap().to_vec() == large(number));
                several.release_first(1);
            }
            told().send_fast(&several.len().to_le_bytes(), NORMAL).unwrap();
            sleep_for_ever();
        });
        let held = told().recv_timeout(LONG).unwrap();
        assert_eq!(held, (6 - released as usize).to_le_bytes());
        producer.send(&large(6), NORMAL).unwrap();
        child.kill();

        let mut consumer = S::consumer_of_any_mode(&ring);
        let mut seen = Vec::new();
        patiently("all that was not released", || {
            let several = consumer.try_borrow_many(64).ok()?;
            seen.extend(several.iter().map(|it| (it.to_vec(), it.is_redelivered())));
            (seen.len() as u64 >= 7 - released).then_some(())
        });
        // On a shared side what nobody has taken may come first.
        seen.sort();
        let expected = (released..7).map(|number| (large(number), number < 6));
        assert!(seen.iter().cloned().eq(expected), "{released} were released");
        assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty);
        assert_eq!(ring.stats().redelivered, 6 - released);
        assert!(S::drain_second(&ring).is_none_or(|received| received == 7));
        assert!(ring.is_empty());
    }
}
on_each_shape!(of_several_that_a_killed_process_held_those_it_had_not_released_come_again);

fn a_producer_that_sleeps_is_woken_as_several_are_released_one_by_one<S: Shape>() {
    const SLOTS: u64 = 64;
    let ring = S::heap(SLOTS as usize);
    let (mut producer, mut consumer) = both::<S>(&ring);
    producer.set_wait_strategy(WaitStrategy::Park);
    send(&mut producer, 0..SLOTS);
    std::thread::scope(|scope| {
        let sending = scope.spawn(move || {
            send(&mut producer, SLOTS..2 * SLOTS);
            producer.missed_wakes()
        });
        let mut several = consumer.borrow_many(SLOTS as usize).unwrap();
        assert_eq!(several.len() as u64, SLOTS);
        for released in 1..=SLOTS {
            // What the program does with a message, for longer than a grant is put off.
            std::thread::sleep(Duration::from_millis(1));
            several.release_first(1);
            assert_eq!(ring.positions().consumer_tail, released, "it is not granted");
            let sent = || (ring.stats().sent >= SLOTS + released).then_some(());
            patiently("it sends another", sent);
        }
        assert_eq!(sending.join().unwrap(), 0, "nobody woke it");
    });
}
on_each_shape!(
    a_producer_that_sleeps_is_woken_as_several_are_released_one_by_one,
    needs(one_group)
);

// ---- streams and peers ------------------------------------------------------------------------

fn iterators_end_at_a_close_and_when_the_last_producer_is_killed<S: Shape>() {
    let directory = stage();
    let builder = at::<S>(&directory).capacity(8);
    let ring = builder.create(NAME).unwrap();
    let _second = S::read_second(&ring);
    let mut consumer = S::consumer_of_any_mode(&ring);
    consumer.end_when_deserted(true);
    let stream = |ends: &dyn Fn(Producer)| {
        Child::start(|| {
            let mut producer = builder.open(NAME).unwrap().producer().unwrap();
            send(&mut producer, 0..100);
            producer.flush();
            ends(producer);
        })
    };
    let closes = stream(&|mut producer| producer.close());
    assert!(consumer.iter().map(|it| Numbered::read(&it).1).eq(0..100));
    assert_eq!(consumer.recv().unwrap_err(), RecvError::Closed);
    closes.finish();

    drop(consumer);
    let mut consumer = S::consumer_of_any_mode(&ring);
    consumer.await_next_stream();
    let stays = stream(&|_producer| sleep_for_ever());
    patiently("it is there", || (consumer.living_producers() == 1).then_some(()));
    consumer.end_when_deserted(true);
    let mut received = 0;
    for message in &mut consumer {
        assert_eq!(Numbered::read(&message).1, received);
        received += 1;
        if received == 100 {
            stays.kill();
        }
    }
    assert_eq!(received, 100);
    assert_eq!(consumer.recv().unwrap_err(), RecvError::Deserted);
    assert_eq!(consumer.into_iter().count(), 0);
}
on_each_shape!(iterators_end_at_a_close_and_when_the_last_producer_is_killed);

fn a_consumer_that_closes_its_ring_stops_producers_that_come_late<S: Shape>() {
    let ring = S::heap(8);
    let mut consumer = S::consumer_of_any_mode(&ring);
    let mut producer = ring.producer_unless_closed().unwrap();
    send(&mut producer, 0..3);
    drop(producer);
    consumer.close();
    for _ in 0..3 {
        assert!(matches!(ring.producer_unless_closed(), Err(RingError::Closed)));
        assert!(ring.is_closed());
    }
    assert_eq!(ring.living(Side::Producer), 0, "who is refused leaves no handle");
    assert!(consumer.iter().map(|it| Numbered::read(&it).1).eq(0..3));
    assert_eq!(consumer.recv().unwrap_err(), RecvError::Closed);
    // The other call is the one that begins another stream.
    let mut producer = ring.producer().unwrap();
    assert!(!ring.is_closed());
    producer.send(b"another stream", NORMAL).unwrap();
    assert_eq!(consumer.recv().unwrap(), b"another stream");
}
on_each_shape!(a_consumer_that_closes_its_ring_stops_producers_that_come_late);

fn a_producer_that_is_refused_by_a_closed_ring_has_not_been_there<S: Shape>() {
    let ring = S::heap(8);
    ring.close();
    let mut consumer = S::consumer_of_any_mode(&ring);
    consumer.await_next_stream();
    consumer.end_when_deserted(true);
    assert!(matches!(ring.producer_unless_closed(), Err(RingError::Closed)));
    assert_eq!(consumer.recv_timeout(SOON).unwrap_err(), RecvError::TimedOut);
    drop(ring.producer().unwrap());
    assert_eq!(consumer.recv().unwrap_err(), RecvError::Deserted);
}
on_each_shape!(a_producer_that_is_refused_by_a_closed_ring_has_not_been_there);

fn a_producer_is_told_that_its_last_consumer_has_left_or_was_killed<S: Shape>() {
    for killed in [false, true] {
        let directory = stage();
        let builder = at::<S>(&directory).capacity(8);
        let ring = builder.create(NAME).unwrap();
        let mut producer = ring.producer().unwrap();
        assert!(!producer.is_deserted(), "none has been");
        let soon = Some(Instant::now() + SOON);
        assert_eq!(producer.wait_deserted(soon), Err(SendError::TimedOut));
        assert!(Some(Instant::now()) >= soon, "it did not wait");
        let child = Child::start(|| {
            let mut consumer = S::consumer_of_any_mode(&builder.open(NAME).unwrap());
            consumer.recv().unwrap();
            consumer.flush();
            match consumer.recv().unwrap() {
                order if order == b"leave" => {}
                _ => sleep_for_ever(),
            }
        });
        patiently("it is there", || (producer.living_consumers() == 1).then_some(()));
        patiently("messages are kept for it", || S::is_read(&ring).then_some(()));
        producer.send(b"hello", NORMAL).unwrap();
        assert!(!producer.is_deserted());
        let soon = Some(Instant::now() + SOON);
        assert_eq!(producer.wait_deserted(soon), Err(SendError::TimedOut));
        producer.send(if killed { b"stays" } else { b"leave" }, NORMAL).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| producer.wait_deserted(Some(Instant::now() + LONG)));
            // That it sleeps is nowhere to be seen.
            std::thread::sleep(SOON);
            if killed {
                child.kill();
            } else {
                child.finish();
            }
            assert_eq!(waiting.join().unwrap(), Ok(()), "killed: {killed}");
        });
        assert!(producer.is_deserted());
        let another = S::consumer_of_any_mode(&ring);
        assert!(!producer.is_deserted(), "there is another");
        drop((another, producer));
        assert!(S::consumer_of_any_mode(&ring).is_deserted(), "the same from the other side");
    }
}
on_each_shape!(a_producer_is_told_that_its_last_consumer_has_left_or_was_killed);

fn a_wait_for_several_lets_none_go_hungry<S: Shape>() {
    let rings: Vec<_> = (0..3).map(|_| S::heap(2)).collect();
    let _seconds: Vec<_> = rings.iter().map(S::read_second).collect();
    let mut producers: Vec<_> = rings.iter().map(S::producer_of_any_mode).collect();
    let mut consumers: Vec<_> = rings.iter().map(S::consumer_of_any_mode).collect();
    producers.iter_mut().for_each(|it| it.send(b"it", NORMAL).unwrap());
    let mut turns = [0; 3];
    for _ in 0..300 {
        let [one, two, three] = &mut consumers[..] else { unreachable!() };
        let ready = wait_any(&mut [one, two, three], None).unwrap();
        turns[ready] += 1;
        // The ring has the next at once, as one does that is always busy.
        assert_eq!(consumers[ready].try_recv().unwrap(), b"it");
        producers[ready].send(b"it", NORMAL).unwrap();
    }
    assert!(turns.iter().all(|&it| it >= 50), "{turns:?}");
}
on_each_shape!(a_wait_for_several_lets_none_go_hungry);

#[test]
fn messages_are_equal_by_bytes_and_class() {
    let ring = UltraFastRing::new(8);
    let mut consumer = ring.consumer().unwrap();
    let mut next = |bytes: &[u8], class| {
        ring.send_fast(bytes, class).unwrap();
        consumer.try_recv().unwrap()
    };
    let message = next(b"word", NORMAL);
    assert_eq!(message, next(b"word", NORMAL));
    assert_ne!(message, next(b"word", PriorityClass::High));
    assert_ne!(message, next(b"ward", NORMAL));
    assert_eq!(message, *b"word");
    assert_eq!(message, b"word");
    assert_eq!(message, b"word"[..]);
    assert_eq!(message, &b"word"[..]);
    assert_ne!(message, b"words");
    assert_eq!((message.position(), message.about().position()), (0, 0));
    assert_eq!(message.timestamp(), message.about().timestamp());
    assert!(message.timestamp().is_some());
}
