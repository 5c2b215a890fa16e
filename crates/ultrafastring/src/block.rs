//! The calls that wait, for a message or for room; [`wait`](crate::wait) says how.

use std::time::{Duration, Instant};

use crate::layout::{MAX_POSITION, Side};
use crate::message::Message;
use crate::produce::Mode;
use crate::segment::{Place, Segment};
use crate::slot::SlotState;
use crate::sync::Ordering;
use crate::wait::{self, Sleeper, WaitStrategy};
use crate::{
    Consumer, PriorityClass, Producer, RecvError, SendError, Sharing, TimestampedSlot, recover,
};

/// The moment after so long a time; `None` if that is beyond what a clock can say.
fn after(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

// ---- consumers -------------------------------------------------------------------------------

impl<S: Mode> Sleeper for Consumer<S> {
    const SIDE: Side = Side::Consumer;
    type Stop = RecvError;

    fn segment(&self) -> &Segment {
        self.entry.segment()
    }

    #[inline]
    fn glance(&mut self) -> Result<bool, RecvError> {
        loop {
            if self.special {
                return self.look();
            }
            let sequence = self.entry.segment().slot(self.position).sequence();
            if sequence == self.position + 1 {
                return Ok(true);
            }
            match self.not_committed(sequence) {
                Ok(()) => {}
                Err(RecvError::Empty) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    fn look(&mut self) -> Result<bool, RecvError> {
        self.release_lent();
        self.note_special();
        if self.ungranted() != 0 {
            self.grant(0);
        }
        let mut helped = false;
        loop {
            if self.adopted.is_some() {
                return Ok(true);
            }
            let sequence = self.entry.segment().slot(self.position).sequence();
            match TimestampedSlot::state_of(sequence, self.position) {
                SlotState::Committed => return Ok(true),
                SlotState::Abandoned => match self.skip() {
                    Ok(()) => {}
                    Err(RecvError::Empty) => return Ok(false),
                    Err(error) => return Err(error),
                },
                SlotState::Later if Self::SHARED => {
                    // Acquire: others have gone on; what they released is behind us.
                    let head = &self.entry.segment().counters().consumer_head;
                    let head = head.load(Ordering::Acquire);
                    if head <= self.position || head > MAX_POSITION {
                        return Ok(false);
                    }
                    self.position = head;
                }
                _ if !helped => {
                    helped = true;
                    self.help();
                }
                _ if wait::is_closed(self.entry.segment()) => match self.closed() {
                    Ok(()) => {}
                    Err(RecvError::Empty) => return Ok(false),
                    Err(error) => return Err(error),
                },
                _ if self.waiting.ends_deserted && self.is_deserted() => {
                    // They may have sent between our look at the slot and at the table.
                    if self.is_committed(self.position) {
                        continue;
                    }
                    return Err(RecvError::Deserted);
                }
                _ => return Ok(false),
            }
        }
    }

    fn leave(&mut self, ready: bool) {
        let segment = self.entry.segment();
        if !Self::SHARED {
            wait::disarm(segment, Side::Consumer);
        } else if wait::is_rung(segment, Side::Consumer) {
            // The bell may have been rung for us alone, and others may still sleep: they are
            // announced again, and one is woken if there is more to do than what we take.
            wait::arm(segment, Side::Consumer);
            if self.is_committed(self.position + u64::from(ready)) {
                wait::ring(segment, Side::Consumer);
            }
        }
    }

    fn manner(&self) -> (u64, WaitStrategy) {
        (self.coalesce().interval(), self.waiting.strategy)
    }

    fn note_missed(&mut self) {
        self.waiting.missed += 1;
    }

    fn timed_out() -> RecvError {
        RecvError::TimedOut
    }
}

/// Waiting for messages.
impl<S: Mode> Consumer<S> {
    /// Receives the next message, and waits for it if there is none.
    ///
    /// ```
    /// use ultrafastring::{PriorityClass, RecvError, UltraFastRing};
    ///
    /// let ring = UltraFastRing::new(8);
    /// let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
    /// std::thread::spawn(move || {
    ///     producer.send_fast(b"the only one", PriorityClass::Normal).unwrap();
    ///     producer.close();
    /// });
    /// assert_eq!(&*consumer.recv_blocking()?, b"the only one");
    /// assert_eq!(consumer.recv_blocking().unwrap_err(), RecvError::Closed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`], and [`RecvError::Deserted`] if
    /// [`end_when_deserted`](Self::end_when_deserted) was asked for.
    #[inline]
    pub fn recv_blocking(&mut self) -> Result<Message, RecvError> {
        self.recv_by(None)
    }

    /// As [`recv_blocking`](Self::recv_blocking), for at most so long.
    ///
    /// # Errors
    ///
    /// Those, and [`RecvError::TimedOut`].
    #[inline]
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Message, RecvError> {
        match self.try_recv() {
            Err(RecvError::Empty) => self.recv_by(after(timeout)),
            done => done,
        }
    }

    /// As [`recv_blocking`](Self::recv_blocking), until that moment.
    ///
    /// # Errors
    ///
    /// Those, and [`RecvError::TimedOut`].
    #[inline]
    pub fn recv_deadline(&mut self, deadline: Instant) -> Result<Message, RecvError> {
        self.recv_by(Some(deadline))
    }

    #[inline]
    fn recv_by(&mut self, deadline: Option<Instant>) -> Result<Message, RecvError> {
        loop {
            match self.try_recv() {
                Err(RecvError::Empty) => self.wait(deadline)?,
                done => return done,
            }
        }
    }

    /// Waits until there is something to receive, for the calls that return at once:
    /// [`recv_batch`](Self::recv_batch), [`borrow`](Self::borrow), and others. On a shared side
    /// another consumer may be faster.
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`], [`RecvError::TimedOut`] if `deadline` has passed, and
    /// [`RecvError::Deserted`] if [`end_when_deserted`](Self::end_when_deserted) was asked for.
    #[cold]
    #[inline(never)]
    pub fn wait(&mut self, deadline: Option<Instant>) -> Result<(), RecvError> {
        wait::wait(self, deadline)
    }

    /// How this handle waits from now on.
    pub fn set_wait_strategy(&mut self, strategy: WaitStrategy) {
        self.waiting.strategy = strategy;
    }

    /// Whether calls that wait end with [`RecvError::Deserted`] when the ring is empty, producers
    /// have been, and none is left. At first they do not: a producer that comes again, after a
    /// crash as well, goes on with the stream.
    ///
    /// A producer that leaves is noticed at once, one that is killed within
    /// [`LONGEST_PARK`](crate::LONGEST_PARK).
    pub fn end_when_deserted(&mut self, ends: bool) {
        self.waiting.ends_deserted = ends;
        self.waiting.sent_before = self.all_sent();
        self.waiting.seen_producers = self.received != 0;
    }

    /// How many handles of producers are held by the living.
    pub fn living_producers(&self) -> usize {
        let (segment, locker) = (self.entry.segment(), self.entry.locker());
        (0..segment.entries_used())
            .filter(|&index| {
                segment.participant(index).role().is_some_and(|role| role.side == Side::Producer)
                    && locker.is_locked(segment, Place::Entry(index))
            })
            .count()
    }

    /// How often this handle slept for [`LONGEST_PARK`](crate::LONGEST_PARK) and then found a
    /// message for which nobody had woken it. Its sender was killed, or stopped, before it could.
    pub fn missed_wakes(&self) -> u64 {
        self.waiting.missed
    }

    fn all_sent(&self) -> u64 {
        let segment = self.entry.segment();
        let lanes =
            (0..segment.entries_used()).flat_map(|index| segment.participant(index).lanes());
        lanes.fold(0, |sum, lane| sum.wrapping_add(lane.sent))
    }

    fn is_deserted(&mut self) -> bool {
        let living = self.living_producers() != 0;
        self.waiting.seen_producers |=
            living || self.received != 0 || self.all_sent() != self.waiting.sent_before;
        self.waiting.seen_producers && !living
    }
}

// ---- producers -------------------------------------------------------------------------------

impl<S: Mode> Sleeper for Producer<S> {
    const SIDE: Side = Side::Producer;
    type Stop = SendError;

    fn segment(&self) -> &Segment {
        self.entry.segment()
    }

    #[inline]
    fn glance(&mut self) -> Result<bool, SendError> {
        let class = self.refused_class;
        if self.credits.covers(self.credits.consumed(), class, 1) {
            return Ok(true);
        }
        went(self.refill(class, 1))
    }

    fn look(&mut self) -> Result<bool, SendError> {
        if self.glance()? {
            return Ok(true);
        }
        let segment = self.entry.segment();
        // What consumers have released and not granted, because they are at work on something
        // else, or dead.
        let frontier = match segment.geometry().consumer_sharing {
            // Acquire: pairs with the release of each message: its reads come before our writes.
            Sharing::Exclusive => segment.counters().consumer_head.load(Ordering::Acquire),
            Sharing::Shared => {
                let (locker, own) = (self.entry.locker(), self.entry.index());
                // Acquire: as for a grant.
                let tail = segment.counters().consumer_tail.load(Ordering::Acquire);
                if tail < segment.counters().consumer_head.load(Ordering::Acquire) {
                    let found = recover::adopt_consumer(segment, locker, own);
                    self.entry
                        .participant()
                        .count(crate::participant::Event::Discarded, found.discarded);
                    if let Some(adopted) = found.adopted {
                        // To be delivered, which only a consumer can.
                        recover::hand_on(segment, locker, &adopted, own);
                    }
                }
                recover::raise_release_frontier(segment);
                segment.counters().consumer_tail.load(Ordering::Acquire)
            }
        };
        let class = self.refused_class;
        went(self.refill_from(frontier, class, 1))
    }

    fn leave(&mut self, _: bool) {
        if !Self::SHARED {
            wait::disarm(self.entry.segment(), Side::Producer);
        }
        // On a shared side others may sleep as well. All of them are woken at once, so nobody
        // waits for us to hand anything on.
    }

    fn manner(&self) -> (u64, WaitStrategy) {
        (self.coalesce().interval(), self.waiting.strategy)
    }

    fn note_missed(&mut self) {
        self.waiting.missed += 1;
    }

    fn timed_out() -> SendError {
        SendError::TimedOut
    }
}

/// Whether there is room, of what a look for it said.
fn went(outcome: Result<(), SendError>) -> Result<bool, SendError> {
    match outcome {
        Ok(()) => Ok(true),
        Err(SendError::Full | SendError::OutOfCredit) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Waiting for room.
impl<S: Mode> Producer<S> {
    /// Sends `data` (at most 40 bytes), and waits while there is no room or no credit for it.
    ///
    /// # Errors
    ///
    /// [`SendError::TooLarge`] or [`SendError::Closed`]; nothing of the message was sent.
    #[inline]
    pub fn send_blocking(&mut self, data: &[u8], class: PriorityClass) -> Result<(), SendError> {
        self.send_by(data, class, None)
    }

    /// As [`send_blocking`](Self::send_blocking), for at most so long.
    ///
    /// # Errors
    ///
    /// Those, and [`SendError::TimedOut`].
    #[inline]
    pub fn send_timeout(
        &mut self,
        data: &[u8],
        class: PriorityClass,
        timeout: Duration,
    ) -> Result<(), SendError> {
        match self.send_fast(data, class) {
            Err(SendError::Full | SendError::OutOfCredit) => {
                self.send_by(data, class, after(timeout))
            }
            done => done,
        }
    }

    /// As [`send_blocking`](Self::send_blocking), until that moment.
    ///
    /// # Errors
    ///
    /// Those, and [`SendError::TimedOut`].
    #[inline]
    pub fn send_deadline(
        &mut self,
        data: &[u8],
        class: PriorityClass,
        deadline: Instant,
    ) -> Result<(), SendError> {
        self.send_by(data, class, Some(deadline))
    }

    #[inline]
    fn send_by(
        &mut self,
        data: &[u8],
        class: PriorityClass,
        deadline: Option<Instant>,
    ) -> Result<(), SendError> {
        loop {
            match self.send_fast(data, class) {
                Err(SendError::Full | SendError::OutOfCredit) => self.wait(class, deadline)?,
                done => return done,
            }
        }
    }

    /// Waits until there is room for a message of `class`, for the calls that return at once. On a
    /// shared side another producer may be faster.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`], or [`SendError::TimedOut`] if `deadline` has passed.
    #[cold]
    #[inline(never)]
    pub fn wait(
        &mut self,
        class: PriorityClass,
        deadline: Option<Instant>,
    ) -> Result<(), SendError> {
        self.refused_class = class;
        wait::wait(self, deadline)
    }

    /// How this handle waits from now on.
    pub fn set_wait_strategy(&mut self, strategy: WaitStrategy) {
        self.waiting.strategy = strategy;
    }

    /// How often this handle slept for [`LONGEST_PARK`](crate::LONGEST_PARK) and then found room
    /// for which nobody had woken it: a consumer had released messages and gone to other work
    /// before it granted them, or was killed or stopped.
    pub fn missed_wakes(&self) -> u64 {
        self.waiting.missed
    }
}
