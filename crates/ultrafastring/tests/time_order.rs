//! Lanes by producer, received in time order: against a sorted queue, across threads and processes,
//! with producers that are stopped and members that are killed.
//!
//! A message is stamped before its bytes are copied. So one whose `as_ref` does something else
//! first ([`Interrupted`]) is stamped before whatever that does, and comes after it.

#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod common;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use common::child::Child;
use common::stage;
use proptest::collection::vec;
use proptest::prelude::*;
use ultrafastring::{
    Builder, Consumer, INLINE_SIZE, Lanes, PriorityClass, Producer, RecvError, RingError, Slow,
    Timestamps, UltraFastRing, WaitStrategy, wait_any,
};

const NORMAL: PriorityClass = PriorityClass::Normal;
const LANES: usize = 4;
const LARGEST: usize = 3_000;
/// Longer than any test takes.
const FOR_EVER: Duration = Duration::from_secs(1_000_000);
/// For how long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a consumer takes part.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Exclusive,
    Shared,
    Member,
    /// Of a group that may be evicted, which copies everything.
    MayBeEvicted,
}

const KINDS: [Kind; 4] = [Kind::Exclusive, Kind::Shared, Kind::Member, Kind::MayBeEvicted];

impl Kind {
    fn builder(self) -> Builder {
        let builder =
            Builder::new().lanes(Lanes::ByProducer(LANES as u16)).capacity(64).max_message(LARGEST);
        match self {
            Kind::Exclusive => builder.exclusive_consumer(),
            Kind::Shared => builder,
            Kind::Member | Kind::MayBeEvicted => builder.joinable(),
        }
    }

    fn consumer(self, ring: &UltraFastRing) -> Consumer {
        match self {
            Kind::Exclusive | Kind::Shared => ring.consumer(),
            Kind::Member => ring.join("group").consumer(),
            Kind::MayBeEvicted => {
                ring.join("group").slow(Slow::Evict { after: PATIENCE }).consumer()
            }
        }
        .unwrap()
    }

    /// A ring, a consumer that receives in time order, and so many producers.
    fn begin(self, wait: Duration, producers: usize) -> (UltraFastRing, Consumer, Vec<Producer>) {
        let ring = self.builder().heap().unwrap();
        let mut consumer = self.consumer(&ring);
        consumer.in_time_order(wait).unwrap();
        let producers = (0..producers).map(|_| ring.producer().unwrap()).collect();
        (ring, consumer, producers)
    }
}

/// A message over whose copying something happens.
struct Interrupted<F: FnOnce()> {
    bytes: Vec<u8>,
    looks: Cell<u32>,
    meanwhile: RefCell<Option<F>>,
}

impl<F: FnOnce()> Interrupted<F> {
    fn new(bytes: Vec<u8>, meanwhile: F) -> Self {
        Self { bytes, looks: Cell::new(0), meanwhile: RefCell::new(Some(meanwhile)) }
    }
}

impl<F: FnOnce()> AsRef<[u8]> for Interrupted<F> {
    fn as_ref(&self) -> &[u8] {
        self.looks.set(self.looks.get() + 1);
        // The first look is for its size, before it is stamped.
        if self.looks.get() == 2
            && let Some(meanwhile) = self.meanwhile.borrow_mut().take()
        {
            meanwhile();
        }
        &self.bytes
    }
}

/// Sends a message, and does something else after it was stamped and before it is there.
fn send_over(producer: &mut Producer, bytes: Vec<u8>, meanwhile: impl FnOnce()) {
    let message = Interrupted::new(bytes, meanwhile);
    assert_eq!(producer.send_batch(&[message], NORMAL), Ok(1));
}

fn numbered(number: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![number as u8; size.max(8)];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

fn number_of(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().unwrap())
}

fn send(producer: &mut Producer, number: u64) {
    producer.send(&number.to_le_bytes(), NORMAL).unwrap();
}

/// Number of a message, and whether it came late.
fn next(consumer: &mut Consumer) -> (u64, bool) {
    let message = consumer.recv_timeout(PATIENCE).unwrap();
    (number_of(&message), message.is_late())
}

// ---- against a sorted queue --------------------------------------------------------------

#[derive(Clone, Copy, Debug)]
enum Way {
    Message,
    Vector,
    InPlace,
    SeveralInPlace(usize),
    Batch(usize),
}

#[derive(Clone, Debug)]
enum Step {
    Send {
        lane: usize,
        size: usize,
    },
    SendBatch {
        lane: usize,
        count: usize,
    },
    /// Something is sent and received over the sending of something else.
    SendOver {
        lane: usize,
        other: usize,
        way: Way,
    },
    Receive(Way),
    Arrive,
    Close {
        lane: usize,
    },
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![
        Just(Way::Message),
        Just(Way::Vector),
        Just(Way::InPlace),
        (1..9usize).prop_map(Way::SeveralInPlace),
        (1..9usize).prop_map(Way::Batch),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![3 => 8..=INLINE_SIZE, 1 => 8..=LARGEST];
    prop_oneof![
        8 => (0..LANES, size).prop_map(|(lane, size)| Step::Send { lane, size }),
        2 => (0..LANES, 1..9usize).prop_map(|(lane, count)| Step::SendBatch { lane, count }),
        2 => (0..LANES, 0..LANES, way())
            .prop_map(|(lane, other, way)| Step::SendOver { lane, other, way }),
        8 => way().prop_map(Step::Receive),
        2 => Just(Step::Arrive),
        1 => (0..LANES).prop_map(|lane| Step::Close { lane }),
    ]
}

/// What there is, by lane: number, which is the order in which they were sent, and size. A batch
/// has one timestamp, and so one time.
#[derive(Default)]
struct Model {
    lanes: [VecDeque<(u64, u64, usize)>; LANES],
    arrived: usize,
    closed: [bool; LANES],
    waits: bool,
    number: u64,
    time: u64,
    newest: u64,
    late: u64,
}

impl Model {
    fn new_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn new_time(&mut self) -> u64 {
        self.time += 1;
        self.time
    }

    fn may_send(&self, lane: usize) -> bool {
        lane < self.arrived && !self.closed[lane] && self.lanes[lane].len() < 40
    }

    /// The lane whose next message is next: the first of those with the oldest.
    fn next(&self) -> Option<usize> {
        let awaited = |&lane: &usize| lane < self.arrived && !self.closed[lane];
        if self.waits && (0..LANES).filter(awaited).any(|lane| self.lanes[lane].is_empty()) {
            return None;
        }
        let sent = |&lane: &usize| self.lanes[lane].front().map(|&(time, ..)| time);
        (0..LANES).filter(|lane| sent(lane).is_some()).min_by_key(|lane| sent(lane))
    }

    /// Takes the next message: its number, and whether it is late.
    fn pop(&mut self) -> Option<(u64, bool)> {
        let lane = self.next()?;
        let (time, number, _) = self.lanes[lane].pop_front().unwrap();
        let late = time < self.newest;
        self.late += u64::from(late);
        self.newest = self.newest.max(time);
        Some((number, late))
    }

    fn next_size(&self) -> Option<usize> {
        Some(self.lanes[self.next()?].front().unwrap().2)
    }

    /// Takes as many messages as there are, up to `most`.
    fn pop_many(&mut self, most: usize) -> Vec<(u64, bool)> {
        (0..most).map_while(|_| self.pop()).collect()
    }
}

struct Run {
    consumer: RefCell<Consumer>,
    producers: Vec<RefCell<Producer>>,
    ring: UltraFastRing,
    model: RefCell<Model>,
    kind: Kind,
}

impl Run {
    fn begin(kind: Kind, waits: bool) -> Self {
        let wait = if waits { FOR_EVER } else { Duration::ZERO };
        let (ring, consumer, _) = kind.begin(wait, 0);
        let model = RefCell::new(Model { waits, ..Model::default() });
        Self { consumer: RefCell::new(consumer), producers: Vec::new(), ring, model, kind }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Send { lane, size } if self.model.borrow().may_send(lane) => {
                self.send(lane, size);
            }
            Step::SendBatch { lane, count } if self.model.borrow().may_send(lane) => {
                let mut model = self.model.borrow_mut();
                let time = model.new_time();
                let batch: Vec<_> = (0..count).map(|_| numbered(model.new_number(), 8)).collect();
                let all = batch.iter().map(|bytes| (time, number_of(bytes), 8));
                model.lanes[lane].extend(all);
                let sent = self.producers[lane].borrow_mut().send_batch(&batch, NORMAL);
                assert_eq!(sent, Ok(count));
            }
            Step::SendOver { lane, other, way }
                if lane != other
                    && self.model.borrow().may_send(lane)
                    && self.model.borrow().may_send(other) =>
            {
                let (time, number) = {
                    let mut model = self.model.borrow_mut();
                    (model.new_time(), model.new_number())
                };
                send_over(&mut self.producers[lane].borrow_mut(), numbered(number, 8), || {
                    self.send(other, 8);
                    self.receive(way);
                });
                self.model.borrow_mut().lanes[lane].push_back((time, number, 8));
            }
            Step::Receive(way) => self.receive(way),
            Step::Arrive if self.producers.len() < LANES => {
                self.producers.push(RefCell::new(self.ring.producer().unwrap()));
                self.model.borrow_mut().arrived += 1;
            }
            Step::Close { lane } if self.model.borrow().may_send(lane) => {
                self.producers[lane].borrow_mut().close();
                self.model.borrow_mut().closed[lane] = true;
            }
            _ => {}
        }
    }

    fn send(&self, lane: usize, size: usize) {
        let mut model = self.model.borrow_mut();
        let (time, number) = (model.new_time(), model.new_number());
        model.lanes[lane].push_back((time, number, size));
        let sent = self.producers[lane].borrow_mut().send_fast(&numbered(number, size), NORMAL);
        assert_eq!(sent, Ok(()));
    }

    fn receive(&self, way: Way) {
        let (mut model, mut consumer) = (self.model.borrow_mut(), self.consumer.borrow_mut());
        let is_end = |error| matches!(error, RecvError::Empty | RecvError::Closed);
        let copies = self.kind == Kind::MayBeEvicted;
        match way {
            Way::Message => match (consumer.try_recv(), model.next_size()) {
                (Err(RecvError::BufferTooSmall { needed, .. }), Some(size)) => {
                    assert!(needed == size && size > INLINE_SIZE);
                }
                (Ok(message), Some(_)) => {
                    let expected = model.pop().unwrap();
                    assert_eq!((number_of(&message), message.is_late()), expected);
                }
                (Err(error), None) => assert!(is_end(error), "{error}"),
                (got, expected) => panic!("{got:?}, {expected:?}"),
            },
            Way::Vector => {
                let mut bytes = Vec::new();
                let got = consumer.try_recv_into(&mut bytes);
                let size = model.next_size();
                match got {
                    Ok(about) => {
                        assert_eq!(Some(bytes.len()), size);
                        assert_eq!(Some((number_of(&bytes), about.is_late())), model.pop());
                    }
                    Err(error) => assert!(is_end(error) && size.is_none(), "{error} {size:?}"),
                }
            }
            Way::InPlace if !copies => match consumer.try_borrow() {
                Ok(guard) => {
                    let got = (number_of(&guard.to_vec()), guard.is_late());
                    assert_eq!(Some(got), model.pop());
                }
                Err(error) => assert!(is_end(error) && model.next().is_none(), "{error}"),
            },
            Way::SeveralInPlace(most) if !copies => match consumer.try_borrow_many(most) {
                Ok(guard) => {
                    let got = |it: ultrafastring::HeldMessage<'_>| {
                        (number_of(&it.to_vec()), it.is_late())
                    };
                    let got: Vec<_> = guard.iter().map(got).collect();
                    assert!(!got.is_empty() && got.len() <= most);
                    assert_eq!(got, model.pop_many(got.len()));
                }
                Err(error) => assert!(is_end(error) && model.next().is_none(), "{error}"),
            },
            Way::Batch(most) => {
                let mut buffers = vec![vec![0; LARGEST]; most];
                let got = consumer.try_recv_many(&mut buffers);
                let expected = model.pop_many(most);
                match got {
                    Ok(batch) => {
                        let about = batch.iter().zip(&buffers);
                        let got = about.map(|(about, bytes)| (number_of(bytes), about.is_late()));
                        assert_eq!(got.collect::<Vec<_>>(), expected);
                    }
                    Err(error) => assert!(is_end(error) && expected.is_empty(), "{error}"),
                }
            }
            Way::InPlace | Way::SeveralInPlace(_) => {}
        }
    }

    fn end(self) {
        self.ring.close();
        let (mut model, mut consumer) = (self.model.into_inner(), self.consumer.into_inner());
        model.closed = [true; LANES];
        let mut bytes = Vec::new();
        while let Some(expected) = model.pop() {
            let about = consumer.try_recv_into(&mut bytes).unwrap();
            assert_eq!((number_of(&bytes), about.is_late()), expected);
        }
        if model.number != 0 {
            assert_eq!(consumer.recv_into(&mut bytes).unwrap_err(), RecvError::Closed);
        }
        assert_eq!((consumer.late(), self.ring.stats().late), (model.late, model.late));
    }
}

fn runs_as_the_model(kind: Kind, waits: bool) {
    let mut runner = proptest::test_runner::TestRunner::default();
    let run = |steps: Vec<Step>| {
        let mut run = Run::begin(kind, waits);
        steps.iter().for_each(|step| run.step(step));
        run.end();
        Ok(())
    };
    runner.run(&vec(step(), 0..120), run).unwrap();
}

#[test]
fn an_exclusive_consumer_merges_all_lanes() {
    runs_as_the_model(Kind::Exclusive, true);
    runs_as_the_model(Kind::Exclusive, false);
}

#[test]
fn a_shared_consumer_merges_all_lanes() {
    runs_as_the_model(Kind::Shared, true);
    runs_as_the_model(Kind::Shared, false);
}

#[test]
fn a_member_of_a_group_merges_all_lanes() {
    runs_as_the_model(Kind::Member, true);
    runs_as_the_model(Kind::Member, false);
}

#[test]
fn a_member_of_a_group_that_may_be_evicted_merges_all_lanes() {
    runs_as_the_model(Kind::MayBeEvicted, true);
    runs_as_the_model(Kind::MayBeEvicted, false);
}

// ---- what is waited for ------------------------------------------------------------------

#[test]
fn a_lane_is_waited_for_from_its_first_producer_on_until_it_is_closed() {
    for kind in KINDS {
        let (ring, mut consumer, mut producers) = kind.begin(FOR_EVER, 1);
        send(&mut producers[0], 1);
        assert_eq!(next(&mut consumer), (1, false), "{kind:?}");
        send(&mut producers[0], 2);
        producers.push(ring.producer().unwrap());
        for _ in 0..50 {
            assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty, "{kind:?}");
        }
        assert_eq!(
            consumer.recv_timeout(Duration::from_millis(1)).unwrap_err(),
            RecvError::TimedOut
        );
        producers[1].close();
        assert_eq!(next(&mut consumer), (2, false), "{kind:?}");
        // Who opens it again is waited for again.
        drop(producers.pop());
        producers.push(ring.producer().unwrap());
        send(&mut producers[0], 3);
        assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty, "{kind:?}");
        send(&mut producers[1], 4);
        assert_eq!(next(&mut consumer), (3, false), "{kind:?}");
        assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty, "{kind:?}");
        ring.close();
        assert_eq!(next(&mut consumer), (4, false), "{kind:?}");
        assert_eq!(consumer.recv().unwrap_err(), RecvError::Closed);
    }
}

#[test]
fn an_idle_lane_is_waited_for_no_longer_than_was_chosen() {
    for kind in KINDS {
        for strategy in [WaitStrategy::Park, WaitStrategy::SpinThenPark, WaitStrategy::Spin] {
            let (_ring, mut consumer, mut producers) = kind.begin(Duration::from_millis(20), 2);
            consumer.set_wait_strategy(strategy);
            for number in 0..3 {
                send(&mut producers[0], number);
                // Unless the machine was away for longer.
                let early = consumer.try_recv().map(|message| (number_of(&message), false));
                let got = early.unwrap_or_else(|_| next(&mut consumer));
                assert_eq!(got, (number, false), "{kind:?}");
            }
        }
    }
}

#[test]
fn a_consumer_that_sleeps_is_woken_by_what_makes_the_order_certain_and_by_nothing_else() {
    for kind in KINDS {
        let (ring, mut consumer, mut producers) = kind.begin(FOR_EVER, 3);
        consumer.set_wait_strategy(WaitStrategy::Park);
        let others = &mut producers.split_off(1);
        let busy = &mut producers[0];
        send(busy, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Those in a lane that has one already change nothing.
                for number in 1..50 {
                    send(busy, number);
                    std::thread::sleep(Duration::from_millis(1));
                }
                send(&mut others[0], 50);
                std::thread::sleep(Duration::from_millis(5));
                others[1].close();
            });
            assert_eq!(next(&mut consumer), (0, false), "{kind:?}");
        });
        // A look every tenth of a second, one for each of the two, and at most one that was on its
        // way when the consumer went to sleep.
        let sleeps = ring.stats().sleeps[1];
        assert!(sleeps < 20, "{kind:?}: {sleeps} sleeps");
        for number in 1..50 {
            let got = consumer.try_recv().unwrap();
            assert_eq!(number_of(&got), number, "{kind:?}");
        }
    }
}

/// Time of a processor that this thread has used.
fn cpu_time_of_thread() -> Duration {
    // SAFETY: all zeros are a value of it, which the call below overwrites.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is written and nothing else.
    assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) }, 0);
    let time = |it: libc::timeval| {
        Duration::from_secs(it.tv_sec as u64) + Duration::from_micros(it.tv_usec as u64)
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}

#[test]
fn who_waits_for_an_idle_lane_sleeps_until_the_oldest_message_is_due() {
    const LONG: Duration = Duration::from_millis(400);
    for kind in KINDS {
        for strategy in [WaitStrategy::Park, WaitStrategy::SpinThenPark] {
            let (_ring, mut consumer, mut producers) = kind.begin(LONG, 2);
            consumer.set_wait_strategy(strategy);
            send(&mut producers[0], 1);
            let before = cpu_time_of_thread();
            assert_eq!(next(&mut consumer), (1, false));
            let time = cpu_time_of_thread() - before;
            assert!(time <= LONG / 40, "{kind:?} {strategy:?} took {time:?}");
        }
    }
}

#[test]
fn waits_for_several_handles_and_event_loops_end_when_the_oldest_message_is_due() {
    use rustix::event::{PollFd, PollFlags, poll};
    for kind in KINDS {
        let wait = Duration::from_millis(10);
        let (_ring, mut consumer, mut producers) = kind.begin(wait, 2);
        let other = UltraFastRing::new(4);
        let mut idle = other.consumer().unwrap();
        for number in 0..3 {
            send(&mut producers[0], number);
            let deadline = std::time::Instant::now() + PATIENCE;
            assert_eq!(wait_any(&mut [&mut idle, &mut consumer], Some(deadline)), Some(1));
            assert_eq!(number_of(&consumer.try_recv().unwrap()), number, "{kind:?}");
        }
        let readiness = consumer.readiness().unwrap();
        for number in 3..6 {
            send(&mut producers[0], number);
            let message = loop {
                if let Ok(message) = consumer.try_recv() {
                    break message;
                }
                if !consumer.arm(&readiness).unwrap() {
                    poll(&mut [PollFd::new(&readiness, PollFlags::IN)], None).unwrap();
                    readiness.clear();
                }
            };
            assert_eq!(number_of(&message), number, "{kind:?}");
        }
    }
}

#[test]
fn a_wait_for_producers_that_are_gone_ends_when_all_of_theirs_is_received() {
    for kind in KINDS {
        let (_ring, mut consumer, mut producers) = kind.begin(Duration::from_millis(5), 2);
        consumer.end_when_deserted(true);
        send(&mut producers[1], 1);
        send(&mut producers[0], 2);
        drop(producers);
        assert_eq!(next(&mut consumer), (1, false), "{kind:?}");
        assert_eq!(next(&mut consumer), (2, false), "{kind:?}");
        assert_eq!(consumer.recv().unwrap_err(), RecvError::Deserted, "{kind:?}");
    }
}

// ---- what comes late ---------------------------------------------------------------------

#[test]
fn what_comes_after_a_younger_one_was_received_is_marked_and_counted() {
    for kind in KINDS {
        let (ring, mut consumer, mut producers) = kind.begin(Duration::ZERO, 2);
        let mut second = producers.pop().unwrap();
        let first = &mut producers[0];
        send_over(first, numbered(1, 2_000), || {
            send(&mut second, 2);
            assert_eq!(next(&mut consumer), (2, false), "{kind:?}");
        });
        send(first, 3);
        let mut bytes = Vec::new();
        let about = consumer.try_recv_into(&mut bytes).unwrap();
        assert!(number_of(&bytes) == 1 && about.is_late() && !about.redelivered, "{kind:?}");
        assert_eq!(next(&mut consumer), (3, false), "{kind:?}");
        assert_eq!((consumer.late(), ring.stats().late), (1, 1), "{kind:?}");
        let by_entry: Vec<_> =
            ring.participants().map(|it| it.late).filter(|&it| it != 0).collect();
        assert_eq!(by_entry, [1], "{kind:?}");
    }
}

#[test]
fn what_is_there_within_the_wait_is_never_late() {
    for kind in KINDS {
        let (ring, mut consumer, producers) = kind.begin(PATIENCE, LANES);
        const EACH: u64 = 2_000;
        std::thread::scope(|scope| {
            for mut producer in producers {
                scope.spawn(move || {
                    for number in 0..EACH {
                        send(&mut producer, number);
                        if number % 100 == 0 {
                            std::thread::sleep(Duration::from_micros(300));
                        }
                    }
                    producer.close();
                });
            }
            let (mut newest, mut received) = (0, 0);
            while let Ok(message) = consumer.recv() {
                let sent = message.timestamp().unwrap();
                assert!(sent >= newest && !message.is_late(), "{kind:?} {received}");
                newest = sent;
                received += 1;
            }
            assert_eq!(received, EACH * LANES as u64, "{kind:?}");
        });
        assert_eq!((consumer.late(), ring.stats().late), (0, 0), "{kind:?}");
    }
}

#[test]
fn all_that_is_late_is_marked_and_nothing_else() {
    for kind in KINDS {
        let (ring, mut consumer, producers) = kind.begin(Duration::from_micros(20), LANES);
        const EACH: u64 = 5_000;
        let mut marked = 0;
        std::thread::scope(|scope| {
            for mut producer in producers {
                scope.spawn(move || {
                    for number in 0..EACH {
                        let bytes = numbered(number, 8);
                        if number % 50 == 0 {
                            send_over(&mut producer, bytes, || {
                                std::thread::sleep(Duration::from_micros(100));
                            });
                        } else {
                            send(&mut producer, number);
                        }
                    }
                    producer.close();
                });
            }
            let (mut newest, mut received) = (0, 0);
            while let Ok(message) = consumer.recv() {
                let sent = message.timestamp().unwrap();
                assert_eq!(message.is_late(), sent < newest, "{kind:?} {received}");
                newest = newest.max(sent);
                marked += u64::from(message.is_late());
                received += 1;
            }
            assert_eq!(received, EACH * LANES as u64, "{kind:?}");
        });
        assert!(marked > 0, "{kind:?}: nothing was late");
        assert_eq!((consumer.late(), ring.stats().late), (marked, marked), "{kind:?}");
    }
}

#[test]
fn consumers_that_share_take_together_in_time_order() {
    for kind in [Kind::Shared, Kind::Member] {
        let (ring, first, producers) = kind.begin(PATIENCE, LANES);
        let mut second = kind.consumer(&ring);
        second.in_time_order(PATIENCE).unwrap();
        const EACH: u64 = 3_000;
        std::thread::scope(|scope| {
            for mut producer in producers {
                scope.spawn(move || {
                    for number in 0..EACH {
                        send(&mut producer, number);
                    }
                    producer.close();
                });
            }
            let receivers = [first, second].map(|mut consumer| {
                scope.spawn(move || {
                    let (mut newest, mut received) = (0, 0);
                    loop {
                        // In turn by a copy and in place.
                        let about = match received % 2 {
                            0 => consumer.recv().map(|message| message.about()),
                            _ => consumer.borrow().map(|message| message.about()),
                        };
                        let Ok(about) = about else { return received };
                        let sent = about.timestamp().unwrap();
                        assert!(sent >= newest && !about.is_late(), "{kind:?} {received}");
                        newest = sent;
                        received += 1;
                    }
                })
            });
            let received: u64 = receivers.map(|it| it.join().unwrap()).iter().sum();
            assert_eq!(received, EACH * LANES as u64, "{kind:?}");
        });
        assert_eq!(ring.stats().late, 0);
    }
}

// ---- other processes ---------------------------------------------------------------------

const NAME: &str = "ring";

fn in_file(kind: Kind, directory: &Path) -> Builder {
    kind.builder().directory(directory)
}

#[test]
fn a_stopped_producer_holds_up_nobody_for_longer_and_its_message_is_late() {
    for kind in KINDS {
        let directory = stage();
        let builder = in_file(kind, directory.path());
        let ring = builder.create(NAME).unwrap();
        let mut consumer = kind.consumer(&ring);
        consumer.in_time_order(Duration::from_millis(20)).unwrap();
        let mut other = ring.producer().unwrap();
        let child = Child::start(|| {
            let ring = builder.open(NAME).unwrap();
            let mut producer = ring.producer().unwrap();
            send(&mut producer, 1);
            // SAFETY: it stops this process, and touches no memory.
            send_over(&mut producer, numbered(2, 8), || unsafe {
                assert_eq!(libc::raise(libc::SIGSTOP), 0);
            });
            send(&mut producer, 4);
        });
        assert!(libc::WIFSTOPPED(wait_for_stop(&child)));
        send(&mut other, 3);
        assert_eq!(next(&mut consumer), (1, false), "{kind:?}");
        assert_eq!(next(&mut consumer), (3, false), "{kind:?}");
        child.signal(libc::SIGCONT);
        assert_eq!(next(&mut consumer), (2, true), "{kind:?}");
        assert_eq!(next(&mut consumer), (4, false), "{kind:?}");
        child.finish();
        assert_eq!((consumer.late(), ring.stats().late), (1, 1), "{kind:?}");
    }
}

/// Waits until a child is stopped, or has ended.
fn wait_for_stop(child: &Child) -> i32 {
    let mut status = 0;
    // SAFETY: `status` is written and nothing else.
    let waited = unsafe { libc::waitpid(child.pid(), &raw mut status, libc::WUNTRACED) };
    assert_eq!(waited, child.pid());
    status
}

#[test]
fn what_a_killed_producer_had_stamped_is_not_waited_for_by_others_than_is_promised() {
    for kind in KINDS {
        let directory = stage();
        let builder = in_file(kind, directory.path());
        let ring = builder.create(NAME).unwrap();
        let mut consumer = kind.consumer(&ring);
        consumer.in_time_order(Duration::from_millis(20)).unwrap();
        let mut other = ring.producer().unwrap();
        let child = Child::start(|| {
            let mut producer = builder.open(NAME).unwrap().producer().unwrap();
            // SAFETY: it stops this process, and touches no memory.
            send_over(&mut producer, numbered(1, 8), || unsafe {
                assert_eq!(libc::raise(libc::SIGSTOP), 0);
            });
        });
        assert!(libc::WIFSTOPPED(wait_for_stop(&child)));
        send(&mut other, 2);
        child.kill();
        assert_eq!(next(&mut consumer), (2, false), "{kind:?}");
        // Its successor writes the slot again, with its own time.
        let mut heir = common::patiently("a lane", || ring.producer().ok());
        send(&mut heir, 3);
        assert_eq!(next(&mut consumer), (3, false), "{kind:?}");
        assert_eq!(ring.stats().late, 0);
    }
}

#[test]
fn what_a_killed_consumer_held_comes_again_at_once() {
    for kind in [Kind::Exclusive, Kind::Shared, Kind::Member] {
        let directory = stage();
        let builder = in_file(kind, directory.path()).groups(["group"]);
        let builder = match kind {
            Kind::Member => builder,
            _ => in_file(kind, directory.path()),
        };
        let ring = builder.create(NAME).unwrap();
        let mut producers = [(); 2].map(|()| ring.producer().unwrap());
        for number in 0..6 {
            send(&mut producers[number as usize % 2], number);
        }
        Child::die_after(|| {
            let ring = builder.open(NAME).unwrap();
            let mut consumer = kind.consumer(&ring);
            consumer.in_time_order(FOR_EVER).unwrap();
            assert_eq!(next(&mut consumer), (0, false));
            let held = consumer.try_borrow_many(4).unwrap();
            assert_eq!((held.len(), number_of(&held.get(0).unwrap().to_vec())), (1, 1));
            std::mem::forget(held);
            (ring, consumer)
        });
        let mut consumer = common::patiently("a consumer", || match kind {
            Kind::Member => ring.join("group").consumer().ok(),
            _ => ring.consumer().ok(),
        });
        consumer.in_time_order(FOR_EVER).unwrap();
        let again = consumer.recv_timeout(PATIENCE).unwrap();
        assert!(number_of(&again) == 1 && again.is_redelivered() && !again.is_late(), "{kind:?}");
        ring.close();
        for number in 2..6 {
            assert_eq!(next(&mut consumer), (number, false), "{kind:?}");
        }
    }
}

#[test]
fn a_group_that_is_evicted_goes_on_in_time_order() {
    let builder = Kind::MayBeEvicted.builder().capacity(16);
    let ring = builder.heap().unwrap();
    let mut producers = [(); 2].map(|()| ring.producer().unwrap());
    let slow = Slow::Evict { after: Duration::from_millis(1) };
    let mut member = ring.join("slow").slow(slow).consumer().unwrap();
    member.in_time_order(FOR_EVER).unwrap();
    for round in 0..3 {
        for number in 0..17 {
            send(&mut producers[0], number);
        }
        send(&mut producers[1], 17);
        let Err(RecvError::Evicted { missed }) = member.recv_timeout(PATIENCE) else {
            panic!("it was not told");
        };
        // That of the round before which nothing made certain is missed, too.
        assert_eq!(missed, 18 + u64::from(round != 0));
        assert_eq!(member.try_recv().unwrap_err(), RecvError::Empty);
        for number in 0..4 {
            send(&mut producers[number as usize % 2], number);
        }
        for number in 0..3 {
            assert_eq!(next(&mut member), (number, false));
        }
    }
}

// ---- refusals ----------------------------------------------------------------------------

#[test]
fn a_ring_without_lanes_by_producer_or_without_all_timestamps_refuses() {
    let ring = |lanes, timestamps| {
        UltraFastRing::builder().lanes(lanes).timestamps(timestamps).heap().unwrap()
    };
    for (lanes, timestamps, told) in [
        (Lanes::One, Timestamps::Every, "its lanes are one; make"),
        (Lanes::ByClass, Timestamps::Every, "its lanes are by-class; make"),
        (Lanes::ByProducer(3), Timestamps::Off, "its timestamps are off, and each"),
        (Lanes::ByProducer(3), Timestamps::OneIn(4), "its timestamps are 1/4, and each"),
    ] {
        let ring = ring(lanes, timestamps);
        let mut consumer = ring.consumer().unwrap();
        let refused = consumer.in_time_order(Duration::ZERO).unwrap_err();
        assert!(refused.to_string().contains(told), "{refused}");
        let RingError::NoTimeOrder { lanes: of, timestamps: with } = refused else {
            panic!("{refused}");
        };
        assert_eq!((of, with), (lanes, timestamps));
        // It goes on as before.
        send(&mut ring.producer().unwrap(), 1);
        assert_eq!(next(&mut consumer), (1, false));
        assert_eq!(consumer.late(), 0);
    }
    let plain = UltraFastRing::new(4);
    let mut typed = plain.shared_consumer().unwrap();
    assert!(matches!(
        typed.in_time_order(Duration::ZERO),
        Err(RingError::NoTimeOrder { lanes: Lanes::One, timestamps: Timestamps::Every })
    ));
}
