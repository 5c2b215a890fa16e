//! The calls that wait, for a message or for room; [`wait`](crate::wait) says how.

use std::time::{Duration, Instant};

#[cfg(feature = "std")]
use crate::Readiness;
use crate::layout::{MAX_POSITION, Side};
use crate::message::Message;
use crate::produce::Mode;
use crate::segment::Segment;
use crate::slot::SlotState;
use crate::sync::Ordering;
use crate::wait::{self, Limit, Sleeper, WaitStrategy, Waiting};
use crate::{Consumer, PriorityClass, Producer, RecvError, SendError, TimestampedSlot};

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
                return Ok(self.may_claim());
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
        // Each that does something finishes with one who is dead, at least, unless a peer goes on making
        // them up.
        let mut helps = self.entry.segment().entries_used();
        loop {
            if self.adopted.is_some() || self.handed_on.is_some() {
                return Ok(true);
            }
            let sequence = self.entry.segment().slot(self.position).sequence();
            match TimestampedSlot::state_of(sequence, self.position) {
                SlotState::Committed => return Ok(self.may_claim()),
                SlotState::Abandoned if self.skip().is_err() => return Ok(false),
                SlotState::Abandoned => {}
                // Where nobody has gone on it is garbage, with as little in it as in an empty slot.
                SlotState::Later if self.is_behind() => {
                    // Acquire: others have gone on; what they released is behind us.
                    let head = &self.entry.segment().counters().consumer_head;
                    let head = head.load(Ordering::Acquire);
                    // Nor is one believed that no ring can have.
                    if self.go_on_at(head).is_err() {
                        return Ok(false);
                    }
                }
                _ if helps != 0 => helps = if self.help() { helps - 1 } else { 0 },
                _ if self.stream_has_ended() => match self.closed() {
                    Ok(()) => {}
                    Err(RecvError::Empty | RecvError::TimedOut) => return Ok(false),
                    Err(error) => return Err(error),
                },
                _ if self.waiting.ends_deserted && self.is_deserted() => {
                    // They may have sent between our look at the slot and at the table.
                    let state = self.entry.segment().slot(self.position).state(self.position);
                    if matches!(state, SlotState::Committed | SlotState::Abandoned)
                        || state == SlotState::Later && self.is_behind()
                    {
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
            return;
        }
        // The bell may have been rung for us alone, and others may still sleep: they are announced
        // again, and one is woken if there is more to do than what we take. Also where the mark is
        // set, which says nothing: somebody may have set it after the ring was meant for him.
        if wait::is_rung(segment, Side::Consumer) {
            wait::arm(segment, Side::Consumer);
        }
        if self.is_committed(self.position + u64::from(ready)) {
            wait::ring(segment, Side::Consumer);
        } else if ready && wait::is_closed(segment) || self.stream_has_ended() {
            // What we take may be the last, and then all are to know: also where the end does not
            // concern us. With nothing to take, those whom it does not concern would wake each other
            // for ever.
            wait::ring_all(self.entry.segment(), Side::Consumer);
        }
    }

    fn interval(&self) -> u64 {
        self.coalesce().interval()
    }

    fn waiting(&mut self) -> &mut Waiting {
        &mut self.waiting
    }

    fn note_missed(&mut self) {
        // Acquire: as in `look`. What others have taken meanwhile was not missed.
        let head = &self.entry.segment().counters().consumer_head;
        if !Self::SHARED || head.load(Ordering::Acquire) == self.position {
            self.waiting.missed += 1;
        }
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
        // At first without the clock, which costs more than a receive.
        match self.limited(Limit::AtOnce, Self::try_recv) {
            Err(RecvError::Empty | RecvError::TimedOut) => self.recv_by(after(timeout)),
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

    /// Does `work`, whose calls end by `limit` however often they are led elsewhere.
    #[inline(always)]
    pub(crate) fn limited<T>(&mut self, limit: Limit, work: impl FnOnce(&mut Self) -> T) -> T {
        let before = core::mem::replace(&mut self.waiting.limit, limit);
        let done = work(self);
        self.waiting.limit = before;
        done
    }

    #[inline]
    fn recv_by(&mut self, deadline: Option<Instant>) -> Result<Message, RecvError> {
        if deadline.is_none() {
            return self.recv_until(None);
        }
        self.limited(Limit::until(deadline), |this| this.recv_until(deadline))
    }

    #[inline]
    fn recv_until(&mut self, deadline: Option<Instant>) -> Result<Message, RecvError> {
        let mut waited = false;
        loop {
            for _ in 0..wait::tries_first(self.waiting.strategy) {
                match self.try_recv() {
                    Err(RecvError::Empty) => {}
                    done => return done,
                }
            }
            // A wait that was not in vain does not look at the clock, and others, or garbage, may
            // make each of them in vain after all.
            if waited && wait::remaining(deadline).is_none() {
                return Err(RecvError::TimedOut);
            }
            self.wait(deadline)?;
            waited = true;
        }
    }

    /// Whether a claim can be tried: a shared side's head that no ring can have is a peer's
    /// garbage, which makes every claim fail.
    #[inline]
    fn may_claim(&self) -> bool {
        // Relaxed: the claim itself looks in order.
        let head = &self.entry.segment().counters().consumer_head;
        !Self::SHARED || head.load(Ordering::Relaxed) <= MAX_POSITION
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
        self.limited(Limit::until(deadline), |this| wait::wait(this, deadline))
    }

    /// How this handle waits from now on.
    pub fn set_wait_strategy(&mut self, strategy: WaitStrategy) {
        self.waiting.strategy = strategy;
    }

    /// A descriptor for an event loop that waits for messages of this ring; it costs a thread that
    /// sleeps most of the time.
    ///
    /// # Errors
    ///
    /// What the system says when asked for a descriptor or a thread.
    #[cfg(feature = "std")]
    pub fn readiness(&self) -> std::io::Result<Readiness> {
        Readiness::new(self.entry.segment(), Side::Consumer)
    }

    /// Has `readiness`, which must be of this ring's consumers, become readable when there is
    /// something to receive. `true`: there is already, and nothing was done.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    #[cfg(feature = "std")]
    pub fn arm(&mut self, readiness: &Readiness) -> Result<bool, RecvError> {
        readiness.arm(self)
    }

    /// Whether calls that wait end with [`RecvError::Deserted`] when the ring is empty, producers
    /// have been, and none is left. At first they do not: a producer that comes again, after a
    /// crash as well, goes on with the stream.
    ///
    /// A producer has been if its handle is there when this is called or is taken later, even if it
    /// sends nothing, or if this handle has received a message. A producer that leaves is noticed at
    /// once, one that is killed within [`LONGEST_PARK`](crate::LONGEST_PARK) after the kernel has closed
    /// its files. Calls on `&UltraFastRing` that send keep a handle for as long as that ring is open.
    /// [`Producer::end_when_deserted`] is the same for the other side.
    ///
    /// ```
    /// use ultrafastring::{RecvError, UltraFastRing};
    ///
    /// let ring = UltraFastRing::new(8);
    /// let mut consumer = ring.consumer()?;
    /// consumer.end_when_deserted(true);
    /// drop(ring.producer()?); // has nothing to send
    /// assert_eq!(consumer.recv_blocking().unwrap_err(), RecvError::Deserted);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn end_when_deserted(&mut self, ends: bool) {
        let seen = self.received != 0;
        self.waiting.end_when_deserted(&self.entry, Side::Producer, ends, seen);
    }

    /// Whether others of a shared side have gone on from where this handle is.
    fn is_behind(&self) -> bool {
        // Acquire: whoever goes on there has what they released behind it.
        let head = &self.entry.segment().counters().consumer_head;
        Self::SHARED && head.load(Ordering::Acquire) > self.position
    }

    fn is_deserted(&mut self) -> bool {
        // Whoever sent what was received has been here, though it had left when it was asked for.
        self.waiting.seen_peers |= self.received != 0;
        self.waiting.is_deserted(&self.entry, Side::Producer)
    }

    /// How many handles of producers are held by the living.
    pub fn living_producers(&self) -> usize {
        wait::living(self.entry.segment(), self.entry.locker(), Side::Producer)
    }

    /// How often this handle slept for [`LONGEST_PARK`](crate::LONGEST_PARK) and then found a
    /// message for which nobody had woken it. Its sender was killed, or stopped, before it could.
    pub fn missed_wakes(&self) -> u64 {
        self.waiting.missed
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
        // What consumers have released and not granted, because they are at work on something
        // else, or dead.
        self.help();
        let class = self.refused_class;
        if went(self.refill(class, 1))? {
            return Ok(true);
        }
        if self.waiting.ends_deserted && self.waiting.is_deserted(&self.entry, Side::Consumer) {
            // They may have released something between our look at the frontier and at the table.
            return match went(self.refill(class, 1))? {
                true => Ok(true),
                false => Err(SendError::Deserted),
            };
        }
        Ok(false)
    }

    fn leave(&mut self, _: bool) {
        if !Self::SHARED {
            wait::disarm(self.entry.segment(), Side::Producer);
        }
        // On a shared side others may sleep as well. All of them are woken at once, so nobody
        // waits for us to hand anything on.
    }

    fn interval(&self) -> u64 {
        self.coalesce().interval()
    }

    fn waiting(&mut self) -> &mut Waiting {
        &mut self.waiting
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
    /// [`SendError::TooLarge`], [`SendError::Closed`], and [`SendError::Deserted`] if
    /// [`end_when_deserted`](Self::end_when_deserted) was asked for; nothing of the message was sent.
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
        let mut waited = false;
        loop {
            match self.send_fast(data, class) {
                // As in `recv_by`.
                Err(SendError::Full | SendError::OutOfCredit)
                    if waited && wait::remaining(deadline).is_none() =>
                {
                    return Err(SendError::TimedOut);
                }
                Err(SendError::Full | SendError::OutOfCredit) => self.wait(class, deadline)?,
                done => return done,
            }
            waited = true;
        }
    }

    /// Waits until there is room for a message of `class`, for the calls that return at once. On a
    /// shared side another producer may be faster.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`], [`SendError::TimedOut`] if `deadline` has passed, and
    /// [`SendError::Deserted`] if [`end_when_deserted`](Self::end_when_deserted) was asked for.
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

    /// A descriptor for an event loop that waits for room in this ring; it costs a thread that
    /// sleeps most of the time.
    ///
    /// # Errors
    ///
    /// What the system says when asked for a descriptor or a thread.
    #[cfg(feature = "std")]
    pub fn readiness(&self) -> std::io::Result<Readiness> {
        Readiness::new(self.entry.segment(), Side::Producer)
    }

    /// Has `readiness`, which must be of this ring's producers, become readable when there is room
    /// for a message of `class`. `true`: there is already, and nothing was done.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    #[cfg(feature = "std")]
    pub fn arm(&mut self, class: PriorityClass, readiness: &Readiness) -> Result<bool, SendError> {
        self.refused_class = class;
        readiness.arm(self)
    }

    /// Whether calls that wait for room end with [`SendError::Deserted`] when there is none,
    /// consumers have been, and none is left. At first they do not: a consumer that comes again,
    /// after a crash as well, goes on with what is in the ring. Calls that return at once say
    /// [`SendError::Full`] in any case.
    ///
    /// A consumer has been if its handle is there when this is called or is taken later. A consumer
    /// that leaves is noticed at once, one that is killed within [`LONGEST_PARK`](crate::LONGEST_PARK)
    /// after the kernel has closed its files. Calls on `&UltraFastRing` that receive keep a handle for
    /// as long as that ring is open.
    /// [`Consumer::end_when_deserted`] is the same for the other side.
    ///
    /// ```
    /// use ultrafastring::{PriorityClass, SendError, UltraFastRing};
    ///
    /// let ring = UltraFastRing::new(1);
    /// let (mut producer, consumer) = (ring.producer()?, ring.consumer()?);
    /// producer.end_when_deserted(true);
    /// drop(consumer);
    /// producer.send_blocking(b"there is room", PriorityClass::Normal)?;
    /// let error = producer.send_blocking(b"nobody is left", PriorityClass::Normal).unwrap_err();
    /// assert_eq!(error, SendError::Deserted);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn end_when_deserted(&mut self, ends: bool) {
        self.waiting.end_when_deserted(&self.entry, Side::Consumer, ends, false);
    }

    /// How many handles of consumers are held by the living.
    pub fn living_consumers(&self) -> usize {
        wait::living(self.entry.segment(), self.entry.locker(), Side::Consumer)
    }

    /// How often this handle slept for [`LONGEST_PARK`](crate::LONGEST_PARK) and then found room
    /// for which nobody had woken it: a consumer had released messages and gone to other work
    /// before it granted them, or was killed or stopped.
    pub fn missed_wakes(&self) -> u64 {
        self.waiting.missed
    }
}

// ---- several at once ---------------------------------------------------------------------------

#[cfg(feature = "std")]
mod sealed {
    use core::sync::atomic::AtomicU32;

    use std::time::Instant;

    use super::{Limit, Sleeper};

    /// A [`Sleeper`] of any kind.
    pub trait Sealed {
        /// Has its looks end by a time, or not any more.
        fn limit(&mut self, deadline: Option<Instant>);
        /// Whether it can go on, or must stop.
        fn has_news(&mut self) -> bool;
        /// Whether it spins before it sleeps.
        fn spins(&mut self) -> bool;
        /// Announces it.
        fn announce(&mut self) -> u32;
        /// Takes that back.
        fn withdraw(&mut self, ready: bool);
        /// The word of its bell on which it sleeps.
        fn word(&self) -> &AtomicU32;
    }

    impl<S: Sleeper> Sealed for S {
        fn limit(&mut self, deadline: Option<Instant>) {
            self.waiting().limit = Limit::until(deadline);
        }

        fn has_news(&mut self) -> bool {
            self.look().unwrap_or(true)
        }

        fn spins(&mut self) -> bool {
            self.waiting().strategy != super::WaitStrategy::Park
        }

        fn announce(&mut self) -> u32 {
            super::wait::arm(self.segment(), S::SIDE)
        }

        fn withdraw(&mut self, ready: bool) {
            self.leave(ready);
        }

        fn word(&self) -> &AtomicU32 {
            &self.segment().control().bell(S::SIDE).rings
        }
    }
}

/// A handle that can be one of several in [`wait_any`]: a consumer waits for a message, a producer
/// for room for the class that was last refused.
#[cfg(feature = "std")]
pub trait Wait: sealed::Sealed {}

#[cfg(feature = "std")]
impl<S: Mode> Wait for Consumer<S> {}
#[cfg(feature = "std")]
impl<S: Mode> Wait for Producer<S> {}

/// Waits until one of several handles, of any rings, can go on: the place of the first that can, or
/// `None` if `deadline` has passed. A ring that was closed, or deserted, counts as well: the
/// handle's next call says so.
///
/// The thread sleeps on all bells at once (`futex_waitv(2)`, Linux 5.16). On older kernels, and for
/// more than 128 handles, it looks every millisecond.
///
/// ```
/// use ultrafastring::{PriorityClass, UltraFastRing, wait_any};
///
/// let (quotes, orders) = (UltraFastRing::new(8), UltraFastRing::new(8));
/// let (mut first, mut second) = (quotes.consumer()?, orders.consumer()?);
/// let mut producer = orders.producer()?;
/// std::thread::spawn(move || producer.send_fast(b"buy", PriorityClass::Normal));
/// assert_eq!(wait_any(&mut [&mut first, &mut second], None), Some(1));
/// assert_eq!(&*second.try_recv()?, b"buy");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(feature = "std")]
pub fn wait_any(handles: &mut [&mut dyn Wait], deadline: Option<Instant>) -> Option<usize> {
    handles.iter_mut().for_each(|handle| handle.limit(deadline));
    let ready = wait_any_until(handles, deadline);
    handles.iter_mut().for_each(|handle| handle.limit(None));
    ready
}

#[cfg(feature = "std")]
fn wait_any_until(handles: &mut [&mut dyn Wait], deadline: Option<Instant>) -> Option<usize> {
    fn news(handles: &mut [&mut dyn Wait]) -> Option<usize> {
        handles.iter_mut().position(|handle| handle.has_news())
    }
    let start = crate::rdtsc();
    loop {
        if let Some(ready) = news(handles) {
            return Some(ready);
        }
        let spins = handles.iter_mut().all(|handle| handle.spins());
        if !spins || crate::rdtsc().saturating_sub(start) > crate::threshold::SPIN_FOR_ANY.ticks() {
            break;
        }
        core::hint::spin_loop();
    }
    loop {
        let tickets: Vec<_> = handles.iter_mut().map(|handle| handle.announce()).collect();
        let mut ready = news(handles);
        let most = wait::remaining(deadline);
        if let (None, Some(most)) = (ready, most) {
            let words: Vec<_> = handles.iter().map(|it| it.word()).zip(tickets).collect();
            wait::kernel::park_any(&words, most);
            ready = news(handles);
        }
        for (place, handle) in handles.iter_mut().enumerate() {
            handle.withdraw(ready == Some(place));
        }
        if ready.is_some() || most.is_none() {
            return ready;
        }
    }
}

#[cfg(all(test, feature = "std", not(loom)))]
mod tests {
    use super::*;
    use crate::UltraFastRing;

    #[test]
    fn who_takes_the_last_message_of_a_stream_that_it_passed_tells_those_who_wait_for_its_end() {
        let ring = UltraFastRing::new(8);
        let segment = ring.segment();
        let (mut passing, mut producer) = (ring.consumer().unwrap(), ring.producer().unwrap());
        producer.send_fast(b"last", PriorityClass::Normal).unwrap();
        producer.close();
        passing.await_next_stream();
        let rings = || segment.control().bell(Side::Consumer).rings.load(Ordering::Relaxed);
        // Another sleeps; one bell was for both, and it woke this one.
        let before = rings();
        passing.leave(true);
        assert_ne!(rings(), before);
        // Who leaves with nothing wakes nobody: the others would do the same in turn.
        passing.try_recv().unwrap();
        passing.await_next_stream();
        let before = rings();
        passing.leave(false);
        assert_eq!(rings(), before);
    }
}
