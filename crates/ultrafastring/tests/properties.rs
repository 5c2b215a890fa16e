//! Any sequence of calls, on any kind of ring, against a model that a reader can check at a
//! glance: a queue of what was sent, and a count of what was received.
//!
//! One thread makes all calls, so all is exact: what comes out, how many of a batch go in, and
//! whether a refusal is `Full` or `OutOfCredit`: a message goes in whenever fewer are in flight
//! than there is credit for. The one freedom that a ring has is when it grants what was released;
//! so the model takes the release frontier from the ring, and checks that it is neither ahead of
//! what was released nor further behind than is promised.

#![cfg(all(feature = "std", not(loom)))]

#[path = "common/shapes.rs"]
mod shapes;

use std::collections::VecDeque;
use std::mem;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use shapes::{Shape, on_each_shape};
use ultrafastring::{
    Batch, Builder, Consumer, INLINE_SIZE, MAX_BATCH, PriorityClass, Producer, RecvError,
    SendError, Timestamps, UltraFastRing, rdtsc,
};

/// Bytes of the largest message that any ring here is made for.
const LARGEST: usize = 300;

/// Bytes of a buffer that a batch is received into.
const BUFFER: usize = 128;

/// One call, or a few that belong together.
#[derive(Clone, Debug)]
enum Step {
    Send { by: usize, size: usize, class: PriorityClass },
    SendBatch { by: usize, count: usize, class: PriorityClass },
    Reserve { by: usize, size: usize, class: PriorityClass, end: End },
    Receive { by: usize, room: Option<usize> },
    ReceiveBatch { by: usize, buffers: usize },
    Borrow { by: usize, forget: bool },
    FlushProducer { by: usize },
    FlushConsumer { by: usize },
    RenewProducer { by: usize },
    RenewConsumer { by: usize },
}

/// What becomes of a reservation.
#[derive(Clone, Copy, Debug)]
enum End {
    Committed,
    Cancelled,
    Forgotten,
}

fn class() -> impl Strategy<Value = PriorityClass> {
    (0..PriorityClass::COUNT).prop_map(|index| PriorityClass::ALL[index])
}

fn step() -> impl Strategy<Value = Step> {
    let end = prop_oneof![
        2 => Just(End::Committed), 1 => Just(End::Cancelled), 1 => Just(End::Forgotten)
    ];
    let by = 0..2usize;
    // As often in a slot as in a side buffer, or too large for either.
    let size = || prop_oneof![0..=INLINE_SIZE, 0..=LARGEST + 1];
    prop_oneof![
        6 => (by.clone(), size(), class())
            .prop_map(|(by, size, class)| Step::Send { by, size, class }),
        3 => (by.clone(), 0..100usize, class())
            .prop_map(|(by, count, class)| Step::SendBatch { by, count, class }),
        3 => (by.clone(), size(), class(), end)
            .prop_map(|(by, size, class, end)| Step::Reserve { by, size, class, end }),
        6 => (by.clone(), prop::option::weighted(0.5, size()))
            .prop_map(|(by, room)| Step::Receive { by, room }),
        3 => (by.clone(), 0..100usize).prop_map(|(by, buffers)| Step::ReceiveBatch { by, buffers }),
        4 => (by.clone(), any::<bool>()).prop_map(|(by, forget)| Step::Borrow { by, forget }),
        1 => by.clone().prop_map(|by| Step::FlushProducer { by }),
        1 => by.clone().prop_map(|by| Step::FlushConsumer { by }),
        1 => by.clone().prop_map(|by| Step::RenewProducer { by }),
        1 => by.prop_map(|by| Step::RenewConsumer { by }),
    ]
}

/// A builder of a ring of any kind but for its shape, with its credit limit and reserves.
fn kind() -> impl Strategy<Value = (Builder, u64, [u64; PriorityClass::COUNT])> {
    let max_message = prop_oneof![Just(INLINE_SIZE), INLINE_SIZE..=LARGEST];
    let timestamps =
        prop_oneof![Just(Timestamps::Every), Just(Timestamps::OneIn(4)), Just(Timestamps::Off)];
    (0..=6u32, timestamps, max_message)
        .prop_flat_map(|(log, timestamps, max_message)| {
            let capacity = 1usize << log;
            let limit = prop_oneof![Just(capacity as u64), 1..=capacity as u64];
            (Just((capacity, timestamps, max_message)), limit)
        })
        .prop_flat_map(|(kind, limit)| {
            let reserves = prop::array::uniform5(0..=limit / 5);
            (Just(kind), Just(limit), reserves)
        })
        .prop_map(|((capacity, timestamps, max_message), limit, mut reserves)| {
            if reserves.iter().sum::<u64>() >= limit {
                reserves = [0; 5];
            }
            let builder =
                Builder::new().capacity(capacity).credit_limit(limit).max_message(max_message);
            let builder = PriorityClass::ALL
                .into_iter()
                .fold(builder, |builder, class| builder.reserve(class, reserves[class.index()]))
                .timestamps(timestamps);
            (builder, limit, reserves)
        })
}

/// What lies at a position.
#[derive(Clone, Debug, PartialEq)]
enum Place {
    Message(Vec<u8>, PriorityClass),
    /// Claimed by the reservation of this producer handle, which was forgotten.
    Pending(usize),
    /// Given up; consumers pass over it.
    Hole,
}

/// What should be so.
struct Model {
    capacity: u64,
    limit: u64,
    reserves: [u64; PriorityClass::COUNT],
    /// Positions not yet claimed by a consumer, the oldest first.
    queue: VecDeque<Place>,
    /// Positions that producers have used up.
    head: u64,
    /// Positions below were claimed by consumers.
    claimed: u64,
    /// What each consumer handle forgot to release.
    lent: [Option<u64>; 2],
    sent: [(u64, u64); PriorityClass::COUNT],
    received: [(u64, u64); PriorityClass::COUNT],
    /// Since all that is released was last granted, a guard was released or a hole passed over,
    /// whose grant waits for the next message or for an idle consumer.
    unsettled: bool,
    /// What the second group has not received yet, where there is one.
    for_second: VecDeque<(Vec<u8>, PriorityClass)>,
    /// Distinguishes the messages.
    number: u64,
}

impl Model {
    /// All below this position is released.
    fn released(&self) -> u64 {
        self.lent.into_iter().flatten().fold(self.claimed, u64::min)
    }

    /// What `by` has borrowed is released.
    fn release_lent(&mut self, by: usize) {
        self.unsettled |= self.lent[by].take().is_some();
    }

    /// How many messages of `class` may go, or why none. What is released is free, granted or not.
    fn room(&self, class: PriorityClass) -> Result<u64, SendError> {
        let withheld: u64 = self.reserves[..class.index()].iter().sum();
        let in_flight = self.head - self.released();
        match (self.limit - withheld).saturating_sub(in_flight) {
            0 if in_flight >= self.capacity => Err(SendError::Full),
            0 => Err(SendError::OutOfCredit),
            room => Ok(room),
        }
    }

    fn message(&mut self, size: usize) -> Vec<u8> {
        self.number += 1;
        (0..size).map(|i| (self.number as usize * 7 + i) as u8).collect()
    }

    fn push(&mut self, message: &[u8], class: PriorityClass) {
        self.queue.push_back(Place::Message(message.to_vec(), class));
        self.for_second.push_back((message.to_vec(), class));
        self.head += 1;
        let (count, bytes) = &mut self.sent[class.index()];
        *count += 1;
        *bytes += message.len() as u64;
    }

    /// The reservation that `by` forgot is given up.
    fn cancel_forgotten(&mut self, by: usize) {
        for place in self.queue.iter_mut().filter(|place| **place == Place::Pending(by)) {
            *place = Place::Hole;
        }
    }

    fn pass_holes(&mut self) {
        while self.queue.front() == Some(&Place::Hole) {
            self.queue.pop_front();
            self.claimed += 1;
            self.unsettled = true;
        }
    }

    /// The next message, if it fits.
    fn pop(&mut self, room: usize) -> Result<(Vec<u8>, PriorityClass), RecvError> {
        let Some(Place::Message(message, class)) = self.queue.front().cloned() else {
            return Err(RecvError::Empty);
        };
        if message.len() > room {
            return Err(RecvError::BufferTooSmall { needed: message.len(), available: room });
        }
        self.queue.pop_front();
        self.claimed += 1;
        let (count, bytes) = &mut self.received[class.index()];
        *count += 1;
        *bytes += message.len() as u64;
        Ok((message, class))
    }
}

/// A ring with up to two handles a side, and its model.
struct Trial<S: Shape> {
    ring: UltraFastRing,
    producers: Vec<Option<Producer<S::Producers>>>,
    consumers: Vec<Option<Consumer<S::Consumers>>>,
    /// A member of the second group, which keeps up.
    second: Option<Consumer>,
    model: Model,
}

impl<S: Shape> Trial<S> {
    fn granted(&self) -> u64 {
        self.ring.positions().consumer_tail
    }

    fn take(&mut self, step: &Step) {
        let producer = |by: usize| by % self.producers.len();
        let consumer = |by: usize| by % self.consumers.len();
        match *step {
            Step::Send { by, size, class } => self.send(producer(by), size, class),
            Step::SendBatch { by, count, class } => self.send_batch(producer(by), count, class),
            Step::Reserve { by, size, class, end } => self.reserve(producer(by), size, class, end),
            Step::Receive { by, room } => self.receive(consumer(by), room),
            Step::ReceiveBatch { by, buffers } => self.receive_batch(consumer(by), buffers),
            Step::Borrow { by, forget } => self.borrow(consumer(by), forget),
            Step::FlushProducer { by } => self.flush_producer(producer(by)),
            Step::FlushConsumer { by } => self.flush_consumer(consumer(by)),
            Step::RenewProducer { by } => {
                let by = producer(by);
                self.producers[by] = None;
                self.model.cancel_forgotten(by);
                self.producers[by] = Some(S::producer(&self.ring));
            }
            Step::RenewConsumer { by } => {
                let by = consumer(by);
                self.consumers[by] = None;
                self.model.release_lent(by);
                assert_eq!(self.granted(), self.model.released(), "dropping a handle grants");
                self.consumers[by] = Some(S::consumer(&self.ring));
            }
        }
    }

    fn producer(&mut self, by: usize) -> &mut Producer<S::Producers> {
        self.producers[by].as_mut().unwrap()
    }

    fn consumer(&mut self, by: usize) -> &mut Consumer<S::Consumers> {
        self.consumers[by].as_mut().unwrap()
    }

    fn send(&mut self, by: usize, size: usize, class: PriorityClass) {
        let message = self.model.message(size);
        let result = self.producer(by).send_fast(&message, class);
        let max = self.ring.max_message();
        if size > max {
            assert_eq!(result, Err(SendError::TooLarge { size, max }));
            return;
        }
        self.model.cancel_forgotten(by);
        assert_eq!(result, self.model.room(class).map(|_| ()));
        if result.is_ok() {
            self.model.push(&message, class);
        }
    }

    fn send_batch(&mut self, by: usize, count: usize, class: PriorityClass) {
        let max = self.ring.max_message();
        let batch: Vec<_> = (0..count).map(|i| self.model.message(i * 37 % (max + 1))).collect();
        let result = self.producer(by).send_batch(&batch, class);
        if count == 0 {
            assert_eq!(result, Ok(0));
            return;
        }
        self.model.cancel_forgotten(by);
        let room = self.model.room(class);
        assert_eq!(result, room.map(|room| room.min(count as u64) as usize));
        for message in &batch[..result.unwrap_or(0)] {
            self.model.push(message, class);
        }
    }

    fn reserve(&mut self, by: usize, size: usize, class: PriorityClass, end: End) {
        let message = self.model.message(size);
        let producer = self.producers[by].as_mut().unwrap();
        let result = producer.try_reserve(size, class);
        let max = self.ring.max_message();
        if size > max {
            assert_eq!(result.unwrap_err(), SendError::TooLarge { size, max });
            return;
        }
        self.model.cancel_forgotten(by);
        let mut guard = match (result, self.model.room(class)) {
            (Ok(guard), Ok(_)) => guard,
            (result, room) => {
                assert_eq!(result.map(drop), room.map(|_| ()));
                return;
            }
        };
        match guard.as_mut_inline() {
            Some(bytes) => assert_eq!(*bytes, vec![0; size], "what is inline is zero at first"),
            None => assert!(size > INLINE_SIZE),
        }
        // In two pieces, the second one first.
        let (one, other) = message.split_at(size / 3);
        guard.write_at(one.len(), other);
        guard.write_at(0, one);
        match end {
            End::Committed => guard.commit(),
            End::Cancelled => guard.cancel(),
            End::Forgotten => mem::forget(guard),
        }
        match end {
            End::Committed => self.model.push(&message, class),
            // An exclusive producer uses the position again.
            _ if !S::producers_share() => {}
            End::Cancelled => {
                self.model.queue.push_back(Place::Hole);
                self.model.head += 1;
            }
            End::Forgotten => {
                self.model.queue.push_back(Place::Pending(by));
                self.model.head += 1;
            }
        }
    }

    fn receive(&mut self, by: usize, room: Option<usize>) {
        self.model.release_lent(by);
        self.model.pass_holes();
        // In turn as a `Message`, which holds 40 bytes, and into a vector, which holds all.
        let into_vector = self.model.number.is_multiple_of(2);
        let most = if into_vector { usize::MAX } else { INLINE_SIZE };
        let expected = self.model.pop(room.unwrap_or(most));
        let result = match room {
            None if into_vector => {
                let mut buffer = vec![0xaa; 3];
                self.consumer(by).try_recv_into(&mut buffer).map(|about| {
                    assert_eq!(about.size, buffer.len());
                    (buffer, about.class)
                })
            }
            None => self.consumer(by).try_recv().map(|it| (it.to_vec(), it.class())),
            Some(room) => {
                let mut buffer = vec![0xaa; room];
                self.consumer(by).recv_fast(&mut buffer).map(|(size, class, _)| {
                    assert!(buffer[size..].iter().all(|&byte| byte == 0xaa));
                    (buffer[..size].to_vec(), class)
                })
            }
        };
        assert_eq!(result, expected);
    }

    fn receive_batch(&mut self, by: usize, buffers: usize) {
        let mut buffers = vec![[0; BUFFER]; buffers];
        let result: Result<Batch, _> = self.consumer(by).recv_batch(&mut buffers);
        if buffers.is_empty() {
            assert!(result.unwrap().is_empty());
            return;
        }
        self.model.release_lent(by);
        self.model.pass_holes();
        // A batch ends at a hole, or at a message too large, at the latest at 64.
        let fits = |it: &&Place| matches!(it, Place::Message(it, _) if it.len() <= BUFFER);
        let ready = self.model.queue.iter().take_while(fits);
        let expected = ready.count().min(buffers.len()).min(MAX_BATCH);
        if expected == 0 {
            assert_eq!(result.unwrap_err(), self.model.pop(BUFFER).unwrap_err());
            return;
        }
        let batch = result.unwrap();
        assert_eq!(batch.len(), expected);
        for (buffer, about) in buffers.iter().zip(&batch) {
            let (message, class) = self.model.pop(BUFFER).unwrap();
            assert_eq!((&buffer[..about.size], about.class), (&message[..], class));
            assert!(!about.redelivered);
        }
    }

    fn borrow(&mut self, by: usize, forget: bool) {
        self.model.release_lent(by);
        self.model.pass_holes();
        let position = self.model.claimed;
        let expected = self.model.pop(usize::MAX);
        match self.consumers[by].as_mut().unwrap().try_borrow() {
            Ok(guard) => {
                let (message, class) = expected.unwrap();
                assert_eq!((guard.to_vec(), guard.class()), (message.clone(), class));
                assert_eq!(guard.as_inline().is_some(), message.len() <= INLINE_SIZE);
                assert_eq!(guard.position(), position);
                assert!(self.ring.positions().consumer_tail <= position, "what is lent is granted");
                self.model.lent[by] = Some(position);
                if forget {
                    mem::forget(guard);
                } else {
                    drop(guard);
                    self.model.release_lent(by);
                }
            }
            Err(error) => assert_eq!(error, expected.unwrap_err()),
        }
    }

    fn flush_producer(&mut self, by: usize) {
        self.producer(by).flush();
        self.model.cancel_forgotten(by);
        let positions = self.ring.positions();
        assert!(positions.producer_tail <= self.model.head);
        assert!(positions.producer_head <= self.model.head);
    }

    fn flush_consumer(&mut self, by: usize) {
        self.consumer(by).flush();
        self.model.release_lent(by);
        assert_eq!(self.granted(), self.model.released(), "a flush grants all that is released");
    }

    /// The second group receives all that it can, which is all that was sent, as soon as nothing
    /// before it is pending; and gives the room back.
    fn read_second(&mut self) {
        let Some(second) = &mut self.second else { return self.model.for_second.clear() };
        while let Ok(message) = second.try_borrow() {
            let expected = self.model.for_second.pop_front();
            assert_eq!(Some((message.to_vec(), message.class())), expected);
        }
        second.flush();
        let pending = self.model.queue.iter().any(|it| matches!(it, Place::Pending(_)));
        assert!(pending || self.model.for_second.is_empty(), "the second group has missed some");
    }

    /// What holds after each step.
    fn check(&mut self) {
        self.read_second();
        let (granted, released) = (self.granted(), self.model.released());
        assert!(granted <= released, "{granted} is granted and {released} released");
        self.model.unsettled &= granted != released;
        if !self.model.unsettled {
            // Each handle grants when it has released an eighth of the credit.
            let put_off = (self.model.limit / 8).max(1) - 1;
            assert!(
                released - granted <= put_off * self.consumers.len() as u64,
                "{} messages are released and not granted",
                released - granted
            );
        }
        // An exclusive consumer's position moves when it releases, a shared one's when it claims.
        let received = if S::consumers_claim() { self.model.claimed } else { released };
        let waiting = self.model.head - received;
        assert_eq!(self.ring.len() as u64, waiting);
    }

    /// What holds at the end, when all handles have gone.
    fn finish(mut self) {
        self.producers.clear();
        (0..2).for_each(|by| self.model.cancel_forgotten(by));
        self.consumers.clear();
        self.model.lent = [None; 2];
        let mut consumer = S::consumer(&self.ring);
        self.model.pass_holes();
        while let Ok(message) = consumer.try_borrow() {
            let expected = self.model.pop(usize::MAX).unwrap();
            assert_eq!((message.to_vec(), message.class()), expected);
            self.model.pass_holes();
        }
        assert!(self.model.queue.is_empty(), "what was sent is received");
        drop(consumer);
        self.read_second();
        self.second = None;
        assert!(self.ring.is_empty());
        assert_eq!(self.granted(), self.model.head);
        let stats = self.ring.stats();
        for class in PriorityClass::ALL {
            let lane = stats.classes[class.index()];
            assert_eq!((lane.sent, lane.sent_bytes), self.model.sent[class.index()]);
            // Each group has received each.
            let groups = S::groups().len().max(1) as u64;
            let (count, bytes) = self.model.received[class.index()];
            assert_eq!((lane.received, lane.received_bytes), (groups * count, groups * bytes));
        }
        assert_eq!(stats.sent, stats.received);
        assert_eq!((stats.abandoned, stats.redelivered, stats.discarded), (0, 0, 0));
        // All credit has come back.
        let mut producer = S::producer(&self.ring);
        let full = vec![b"x"; self.model.limit as usize];
        assert_eq!(producer.send_batch(&full, PriorityClass::RealTime), Ok(full.len()));
    }
}

type Kind = (Builder, u64, [u64; PriorityClass::COUNT]);

fn run<S: Shape>((builder, limit, reserves): Kind, steps: &[Step]) {
    let ring = S::of(builder).heap().unwrap();
    let mut trial = Trial::<S> {
        producers: S::producers(&ring, 2).into_iter().map(Some).collect(),
        consumers: S::consumers(&ring, 2).into_iter().map(Some).collect(),
        second: S::second(&ring),
        model: Model {
            capacity: ring.capacity() as u64,
            limit,
            reserves,
            queue: VecDeque::new(),
            head: 0,
            claimed: 0,
            lent: [None; 2],
            sent: [(0, 0); PriorityClass::COUNT],
            received: [(0, 0); PriorityClass::COUNT],
            unsettled: false,
            for_second: VecDeque::new(),
            number: 0,
        },
        ring,
    };
    for step in steps {
        trial.take(step);
        trial.check();
    }
    trial.finish();
}

/// So many of each shape; a quarter where there are groups, whose rings do the most part alike.
const CASES: u32 = 800;

fn any_sequence_of_calls_does_what_a_queue_with_credits_does<S: Shape>() {
    let cases = if S::groups().is_empty() { CASES } else { CASES / 4 };
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) };
    TestRunner::new(config)
        .run(&(kind(), vec(step(), 0..120)), |(kind, steps)| {
            run::<S>(kind, &steps);
            Ok(())
        })
        .unwrap();
}
on_each_shape!(any_sequence_of_calls_does_what_a_queue_with_credits_does);

/// Fills a ring, and sends again as soon as one message is received: each goes, and one more does
/// not. Then all of an empty ring's slots are free.
fn a_ring_is_full_when_every_slot_is_taken_and_not_before<S: Shape>() {
    for capacity in [1, 2, 256, 1_024] {
        for timestamps in [Timestamps::Every, Timestamps::Off] {
            let builder = S::builder().capacity(capacity).timestamps(timestamps);
            let ring = builder.heap().unwrap();
            let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
            let mut second = S::second(&ring);
            let mut read_second = || {
                let Some(second) = &mut second else { return };
                second.try_iter().for_each(drop);
                second.flush();
            };
            let capacity = capacity as u64;
            for number in 0..capacity {
                producer.send_fast(&number.to_le_bytes(), PriorityClass::Normal).unwrap();
            }
            for number in capacity..capacity + 1_000 {
                assert_eq!(
                    producer.send_fast(b"one more", PriorityClass::Normal),
                    Err(SendError::Full)
                );
                assert_eq!(*consumer.try_recv().unwrap(), (number - capacity).to_le_bytes());
                read_second();
                assert_eq!(
                    producer.send_fast(&number.to_le_bytes(), PriorityClass::Normal),
                    Ok(()),
                    "message {number}"
                );
            }
            while consumer.try_recv().is_ok() {}
            read_second();
            for accepted in 0..capacity {
                assert_eq!(
                    producer.send_fast(b"again", PriorityClass::Normal),
                    Ok(()),
                    "after {accepted}"
                );
            }
            assert_eq!(
                producer.send_fast(b"one more", PriorityClass::Normal),
                Err(SendError::Full)
            );
        }
    }
}
on_each_shape!(a_ring_is_full_when_every_slot_is_taken_and_not_before);

/// Two handles a side where there can be, in turn, so that each is often mistaken about the next
/// position: it takes the time for one, and claims another.
fn each_position_carries_the_timestamp_that_it_should<S: Shape>() {
    for (timestamps, every) in
        [(Timestamps::Every, Some(1)), (Timestamps::OneIn(4), Some(4)), (Timestamps::Off, None)]
    {
        let ring = S::builder().capacity(16).timestamps(timestamps).heap().unwrap();
        let (mut producers, mut consumers) = (S::producers(&ring, 2), S::consumers(&ring, 2));
        let mut second = S::second(&ring);
        let (senders, receivers) = (producers.len(), consumers.len());
        for position in 0..1_000usize {
            let before = rdtsc();
            // Not evenly: now and then one sends twice.
            let by = position * 7 / 3 % senders;
            producers[by].send_fast(b"when?", PriorityClass::Normal).unwrap();
            let sent = rdtsc();
            if let Some(second) = &mut second {
                second.try_recv().unwrap();
            }
            let message = consumers[position / 3 % receivers].try_recv().unwrap();
            let received = rdtsc();
            let stamped = every.is_some_and(|every| position % every == 0);
            match message.timestamp() {
                Some(at) => {
                    assert!(stamped, "position {position} carries a time, {timestamps:?}");
                    assert!((before..=sent).contains(&at), "{before} {at} {sent}");
                    assert!(message.latency() <= received - at);
                }
                None => {
                    assert!(!stamped, "position {position} carries none, {timestamps:?}");
                    assert_eq!(message.latency(), 0);
                }
            }
        }
    }
}
on_each_shape!(each_position_carries_the_timestamp_that_it_should);
