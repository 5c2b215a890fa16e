//! Any sequence of calls, on any kind of ring, against a model that a reader can check at a
//! glance: a queue of what was sent, and a count of what was received. With lanes it is a queue for
//! each, and the model says of which a consumer receives: by class of the first that has something;
//! by producer of any that has.
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
    Batch, Builder, Consumer, INLINE_SIZE, Lanes, MAX_BATCH, PriorityClass, Producer, RecvError,
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
            (builder.timestamps(timestamps), limit, reserves)
        })
}

/// What lies at a position.
#[derive(Clone, Debug, PartialEq)]
enum Place {
    Message((Vec<u8>, PriorityClass)),
    /// Claimed by the reservation of this producer handle, which was forgotten.
    Pending(usize),
    /// Given up; consumers pass over it.
    Hole,
}

/// What should be so of a lane, of which a plain ring has one.
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

    /// What is received next, once the holes are passed.
    fn front(&mut self) -> Option<&(Vec<u8>, PriorityClass)> {
        self.pass_holes();
        match self.queue.front() {
            Some(Place::Message(message)) => Some(message),
            _ => None,
        }
    }

    fn push(&mut self, message: &[u8], class: PriorityClass) {
        self.queue.push_back(Place::Message((message.to_vec(), class)));
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
        let Some((message, class)) = self.front().cloned() else {
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

/// The lane in which a handle sends messages of a class.
fn place_of<S: Shape>(by: usize, class: PriorityClass) -> usize {
    match S::LANES {
        Lanes::One => 0,
        Lanes::ByClass => class.index(),
        // One that leaves and comes again takes the lane that has become free.
        Lanes::ByProducer(_) => by,
    }
}

/// A ring with up to two handles a side, and its model.
struct Trial<S: Shape> {
    ring: UltraFastRing,
    producers: Vec<Option<Producer<S::Producers>>>,
    consumers: Vec<Option<Consumer<S::Consumers>>>,
    /// A member of the second group, which keeps up.
    second: Option<Consumer>,
    lanes: Vec<Model>,
    /// Distinguishes the messages.
    number: u64,
}

impl<S: Shape> Trial<S> {
    /// How far each lane is granted.
    fn granted(&self) -> Vec<u64> {
        self.ring.lanes().map(|it| it.positions.consumer_tail).collect()
    }

    fn released(&self) -> Vec<u64> {
        self.lanes.iter().map(Model::released).collect()
    }

    /// The lane of a message.
    fn lane(&mut self, by: usize, class: PriorityClass) -> &mut Model {
        &mut self.lanes[place_of::<S>(by, class)]
    }

    /// The lane from which came what a call of a consumer came to.
    fn lane_of(&mut self, got: &Result<(Vec<u8>, PriorityClass), RecvError>) -> &mut Model {
        let first = self.lanes.iter_mut().position(|lane| lane.front().is_some());
        let lane = match (S::LANES, got) {
            // Any of them; it shows in its head.
            (Lanes::ByProducer(_), Ok(_)) => {
                let heads = self.ring.lanes().map(|it| it.positions.consumer_head);
                heads.zip(&self.lanes).position(|(head, lane)| head != lane.claimed)
            }
            (Lanes::ByProducer(_), Err(RecvError::BufferTooSmall { needed, .. })) => {
                let is_it = |front: &(Vec<u8>, _)| front.0.len() == *needed;
                self.lanes.iter_mut().position(|lane| lane.front().is_some_and(is_it))
            }
            _ => first,
        };
        &mut self.lanes[lane.or(first).unwrap_or(0)]
    }

    /// The reservation that `by` forgot is given up.
    fn cancel_forgotten(&mut self, by: usize) {
        self.lanes.iter_mut().for_each(|lane| lane.cancel_forgotten(by));
    }

    /// A message was too large, which is said before anything is done in its lane.
    fn refused_in(&mut self, by: usize, class: PriorityClass) {
        let lane = place_of::<S>(by, class);
        let others = self.lanes.iter_mut().enumerate().filter(|(place, _)| *place != lane);
        others.for_each(|(_, other)| other.cancel_forgotten(by));
    }

    /// What `by` has borrowed is released.
    fn release_lent(&mut self, by: usize) {
        self.lanes.iter_mut().for_each(|lane| lane.release_lent(by));
    }

    fn message(&mut self, size: usize) -> Vec<u8> {
        self.number += 1;
        (0..size).map(|i| (self.number as usize * 7 + i) as u8).collect()
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
                self.cancel_forgotten(by);
                self.producers[by] = Some(S::producer(&self.ring));
            }
            Step::RenewConsumer { by } => {
                let by = consumer(by);
                self.consumers[by] = None;
                self.release_lent(by);
                assert_eq!(self.granted(), self.released(), "dropping a handle grants");
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
        let message = self.message(size);
        let result = self.producer(by).send_fast(&message, class);
        let max = self.ring.max_message();
        if size > max {
            assert_eq!(result, Err(SendError::TooLarge { size, max }));
            return self.refused_in(by, class);
        }
        self.cancel_forgotten(by);
        let lane = self.lane(by, class);
        assert_eq!(result, lane.room(class).map(|_| ()));
        if result.is_ok() {
            lane.push(&message, class);
        }
    }

    fn send_batch(&mut self, by: usize, count: usize, class: PriorityClass) {
        let max = self.ring.max_message();
        let batch: Vec<_> = (0..count).map(|i| self.message(i * 37 % (max + 1))).collect();
        let result = self.producer(by).send_batch(&batch, class);
        if count == 0 {
            assert_eq!(result, Ok(0));
            return;
        }
        self.cancel_forgotten(by);
        let lane = self.lane(by, class);
        let room = lane.room(class);
        assert_eq!(result, room.map(|room| room.min(count as u64) as usize));
        for message in &batch[..result.unwrap_or(0)] {
            lane.push(message, class);
        }
    }

    fn reserve(&mut self, by: usize, size: usize, class: PriorityClass, end: End) {
        let message = self.message(size);
        // Not by a method, which would have all of the trial.
        let producer = self.producers[by].as_mut().unwrap();
        let result = producer.try_reserve(size, class);
        let max = self.ring.max_message();
        if size > max {
            assert_eq!(result.unwrap_err(), SendError::TooLarge { size, max });
            return self.refused_in(by, class);
        }
        self.lanes.iter_mut().for_each(|lane| lane.cancel_forgotten(by));
        let lane = &mut self.lanes[place_of::<S>(by, class)];
        let mut guard = match (result, lane.room(class)) {
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
            End::Committed => lane.push(&message, class),
            // An exclusive producer uses the position again.
            _ if !S::producers_share() => {}
            End::Cancelled => {
                lane.queue.push_back(Place::Hole);
                lane.head += 1;
            }
            End::Forgotten => {
                lane.queue.push_back(Place::Pending(by));
                lane.head += 1;
            }
        }
    }

    fn receive(&mut self, by: usize, room: Option<usize>) {
        self.release_lent(by);
        // In turn as a `Message`, which holds 40 bytes, and into a vector, which holds all.
        let into_vector = self.number.is_multiple_of(2);
        let most = if into_vector { usize::MAX } else { INLINE_SIZE };
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
        let expected = self.lane_of(&result).pop(room.unwrap_or(most));
        assert_eq!(result, expected);
    }

    fn receive_batch(&mut self, by: usize, buffers: usize) {
        let mut buffers = vec![[0; BUFFER]; buffers];
        let result: Result<Batch, _> = self.consumer(by).recv_batch(&mut buffers);
        if buffers.is_empty() {
            assert!(result.unwrap().is_empty());
            return;
        }
        self.release_lent(by);
        let first = result.as_ref().map(|it| (buffers[0][..it[0].size].to_vec(), it[0].class));
        let lane = self.lane_of(&first.map_err(|error| *error));
        lane.pass_holes();
        // A batch ends at a hole, or at a message too large, at the latest at 64.
        let fits = |it: &&Place| matches!(it, Place::Message((it, _)) if it.len() <= BUFFER);
        let ready = lane.queue.iter().take_while(fits);
        let expected = ready.count().min(buffers.len()).min(MAX_BATCH);
        if expected == 0 {
            assert_eq!(result.unwrap_err(), lane.pop(BUFFER).unwrap_err());
            return;
        }
        let batch = result.unwrap();
        assert_eq!(batch.len(), expected);
        for (buffer, about) in buffers.iter().zip(&batch) {
            let (message, class) = lane.pop(BUFFER).unwrap();
            assert_eq!((&buffer[..about.size], about.class), (&message[..], class));
            assert!(!about.redelivered);
        }
    }

    fn borrow(&mut self, by: usize, forget: bool) {
        self.release_lent(by);
        let mut consumer = self.consumers[by].take().unwrap();
        match consumer.try_borrow() {
            Ok(guard) => {
                let got = (guard.to_vec(), guard.class());
                let lane = self.lane_of(&Ok(got.clone()));
                lane.pass_holes();
                let position = lane.claimed;
                assert_eq!(Ok(&got), lane.pop(usize::MAX).as_ref());
                lane.lent[by] = Some(position);
                assert_eq!(guard.as_inline().is_some(), got.0.len() <= INLINE_SIZE);
                assert_eq!(guard.position(), position);
                let granted = self.granted().into_iter().zip(self.released());
                assert!({ granted }.all(|(granted, released)| granted <= released), "what is lent");
                if forget {
                    mem::forget(guard);
                } else {
                    drop(guard);
                    self.release_lent(by);
                }
            }
            Err(error) => {
                assert_eq!(Err(error), self.lane_of(&Err(error)).pop(usize::MAX).map(drop));
            }
        }
        self.consumers[by] = Some(consumer);
    }

    fn flush_producer(&mut self, by: usize) {
        self.producer(by).flush();
        self.cancel_forgotten(by);
        for (lane, there) in self.lanes.iter().zip(self.ring.lanes()) {
            assert!(there.positions.producer_tail <= lane.head);
            assert!(there.positions.producer_head <= lane.head);
        }
    }

    fn flush_consumer(&mut self, by: usize) {
        self.consumer(by).flush();
        self.release_lent(by);
        assert_eq!(self.granted(), self.released(), "a flush grants all that is released");
    }

    /// The second group receives all that it can, which is all that was sent, as soon as nothing
    /// before it is pending; and gives the room back.
    fn read_second(&mut self) {
        // Only rings of one lane have a second group.
        let model = &mut self.lanes[0];
        let Some(second) = &mut self.second else { return model.for_second.clear() };
        while let Ok(message) = second.try_borrow() {
            let expected = model.for_second.pop_front();
            assert_eq!(Some((message.to_vec(), message.class())), expected);
        }
        second.flush();
        let pending = model.queue.iter().any(|it| matches!(it, Place::Pending(_)));
        assert!(pending || model.for_second.is_empty(), "the second group has missed some");
    }

    /// What holds after each step.
    fn check(&mut self) {
        self.read_second();
        let mut waiting = 0;
        for (granted, lane) in self.granted().into_iter().zip(&mut self.lanes) {
            let released = lane.released();
            assert!(granted <= released, "{granted} is granted and {released} released");
            lane.unsettled &= granted != released;
            if !lane.unsettled {
                // Each handle grants when it has released an eighth of the credit.
                let put_off = (lane.limit / 8).max(1) - 1;
                assert!(
                    released - granted <= put_off * self.consumers.len() as u64,
                    "{} messages are released and not granted",
                    released - granted
                );
            }
            // An exclusive consumer's position moves when it releases, a shared one's when it
            // claims.
            let received = if S::consumers_claim() { lane.claimed } else { released };
            waiting += lane.head - received;
        }
        assert_eq!(self.ring.len() as u64, waiting);
    }

    /// What holds at the end, when all handles have gone.
    fn finish(mut self) {
        self.producers.clear();
        (0..2).for_each(|by| self.cancel_forgotten(by));
        self.consumers.clear();
        self.lanes.iter_mut().for_each(|lane| lane.lent = [None; 2]);
        let mut consumer = S::consumer(&self.ring);
        while let Ok(message) = consumer.try_borrow() {
            let got = Ok((message.to_vec(), message.class()));
            assert_eq!(got, self.lane_of(&got).pop(usize::MAX));
        }
        for lane in &mut self.lanes {
            lane.pass_holes();
            assert!(lane.queue.is_empty(), "what was sent is received");
        }
        drop(consumer);
        self.read_second();
        self.second = None;
        assert!(self.ring.is_empty());
        assert_eq!(self.granted(), self.lanes.iter().map(|lane| lane.head).collect::<Vec<_>>());
        let stats = self.ring.stats();
        for class in PriorityClass::ALL {
            let told = stats.classes[class.index()];
            let sum = |of: fn(&Model) -> &[(u64, u64); PriorityClass::COUNT]| {
                let each = self.lanes.iter().map(|lane| of(lane)[class.index()]);
                each.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1))
            };
            assert_eq!((told.sent, told.sent_bytes), sum(|lane| &lane.sent));
            // Each group has received each.
            let groups = S::groups().len().max(1) as u64;
            let (count, bytes) = sum(|lane| &lane.received);
            assert_eq!((told.received, told.received_bytes), (groups * count, groups * bytes));
        }
        assert_eq!(stats.sent, stats.received);
        assert_eq!((stats.abandoned, stats.redelivered, stats.discarded), (0, 0, 0));
        // All credit has come back.
        let mut producer = S::producer(&self.ring);
        let full = vec![b"x"; self.lanes[0].limit as usize];
        assert_eq!(producer.send_batch(&full, PriorityClass::RealTime), Ok(full.len()));
    }
}

type Kind = (Builder, u64, [u64; PriorityClass::COUNT]);

fn run<S: Shape>((builder, limit, reserves): Kind, steps: &[Step]) {
    // Where each class has its own credit, none has a reserve.
    let reserves = if S::LANES == Lanes::ByClass { [0; 5] } else { reserves };
    let builder = PriorityClass::ALL
        .into_iter()
        .fold(builder, |builder, class| builder.reserve(class, reserves[class.index()]));
    let ring = S::of(builder).heap().unwrap();
    let mut trial = Trial::<S> {
        producers: S::producers(&ring, 2).into_iter().map(Some).collect(),
        consumers: S::consumers(&ring, 2).into_iter().map(Some).collect(),
        second: S::second(&ring),
        lanes: (0..S::LANES.count())
            .map(|_| Model {
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
            })
            .collect(),
        number: 0,
        ring,
    };
    for step in steps {
        trial.take(step);
        trial.check();
    }
    trial.finish();
}

/// So many of each shape; a quarter where there are groups, and a fifth where there are lanes, whose
/// rings do the most part alike.
const CASES: u32 = 800;

fn any_sequence_of_calls_does_what_a_queue_with_credits_does<S: Shape>() {
    let cases = match S::groups().is_empty() {
        _ if S::has_lanes() => S::fewer(CASES.into()) as u32,
        true => CASES,
        false => CASES / 4,
    };
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
    for capacity in if S::has_lanes() { &[1, 256][..] } else { &[1, 2, 256, 1_024] } {
        let capacity = *capacity;
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
        let mut next = [0; 64];
        for number in 0..1_000usize {
            let before = rdtsc();
            // Not evenly: now and then one sends twice.
            let by = number * 7 / 3 % senders;
            let next = &mut next[place_of::<S>(by, PriorityClass::Normal)];
            let position = *next;
            *next += 1;
            producers[by].send_fast(b"when?", PriorityClass::Normal).unwrap();
            let sent = rdtsc();
            if let Some(second) = &mut second {
                second.try_recv().unwrap();
            }
            let message = consumers[number / 3 % receivers].try_recv().unwrap();
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
