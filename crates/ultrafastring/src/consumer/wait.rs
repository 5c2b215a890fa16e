//! Waiting for a message; [`waiting`](crate::waiting) says how, and [`forms`](super::forms) has the
//! calls.

#[cfg(feature = "alloc")]
use crate::clock::rdtsc;
use crate::closing;
use crate::recover::presence;
use crate::waiting::bell;
use std::time::{Duration, Instant};

use super::Consumer;
use crate::error::RecvError;
use crate::lane::view::OwnLane;
use crate::layout::slot::SlotState;
use crate::mode::{AnyMode, Mode, OwnReader, in_readers_mode};
use crate::segment::Segment;
use crate::settings::Side;
#[cfg(feature = "std")]
use crate::waiting::readiness::Readiness;
use crate::waiting::sleep::{self, Limit, Sleeper, Until, Waiting};
use crate::waiting::strategy::WaitStrategy;

impl<S: Mode> Sleeper for Consumer<S> {
    const SIDE: Side = Side::Consumer;
    type Stop = RecvError;

    fn segment(&self) -> &Segment {
        self.entry.segment()
    }

    fn take_ticket(&mut self) -> u32 {
        #[cfg(feature = "alloc")]
        if let Some(time) = self.lanes.as_mut().and_then(|all| all.time_mut()) {
            time.mark();
            let segment = self.entry.segment();
            return bell::arm_lanes(segment, Side::Consumer, |lane| time.is_marked(lane));
        }
        bell::arm(self.entry.segment(), Side::Consumer)
    }

    fn looks_again_in(&self) -> Option<Duration> {
        #[cfg(feature = "alloc")]
        if let Some(time) = self.lanes.as_ref().and_then(|all| all.time()) {
            return time.looks_again_in(rdtsc());
        }
        None
    }

    #[inline]
    fn glance(&mut self) -> Result<bool, RecvError> {
        if self.has_lanes() {
            return self.in_mode::<AnyMode>().glance_at_all();
        }
        in_readers_mode!(self, it => it.glance_own())
    }

    fn look(&mut self) -> Result<bool, RecvError> {
        if self.has_lanes() {
            return self.in_mode::<AnyMode>().look_at_all();
        }
        in_readers_mode!(self, it => it.look_own())
    }

    fn leave(&mut self, ready: bool) {
        if self.has_lanes() {
            // All who sleep are woken together.
            return;
        }
        in_readers_mode!(self, it => it.leave_own(ready));
    }

    fn interval(&self) -> u64 {
        self.coalesce().interval()
    }

    fn waiting(&mut self) -> &mut Waiting {
        &mut self.waiting
    }

    fn note_missed(&mut self) {
        // Messages that other consumers have taken meanwhile were not missed.
        if self.has_lanes() {
            let missed = !self.in_mode::<AnyMode>().others_have_taken();
            self.waiting.missed += u64::from(missed);
        } else if in_readers_mode!(self, it => it.reader.others_at(OwnLane::of(&it.entry)))
            .is_none()
        {
            self.waiting.missed += 1;
        }
    }

    fn timed_out() -> RecvError {
        RecvError::TimedOut
    }
}

impl<S: OwnReader> Consumer<S> {
    #[inline]
    pub(super) fn glance_own(&mut self) -> Result<bool, RecvError> {
        loop {
            if self.reader.is_special() {
                return self.look_own();
            }
            let lane = OwnLane::of(&self.entry);
            let position = self.reader.position();
            let sequence = lane.slot(position).sequence();
            if sequence == position + 1 {
                // What is there is not for those whose group is over.
                return if S::is_over(lane) { self.look_own() } else { Ok(S::may_claim(lane)) };
            }
            match self.not_committed(sequence) {
                Ok(()) => {}
                Err(RecvError::Empty) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn look_own(&mut self) -> Result<bool, RecvError> {
        self.reader.settle(OwnLane::of(&self.entry));
        if self.pending() != 0 {
            self.grant_all();
        }
        // Each call that does something finishes at least one dead participant's work, unless a
        // peer keeps inventing dead participants.
        let mut helps = self.entry.segment().entries_used();
        loop {
            if self.reader.may_redeliver() {
                return Ok(true);
            }
            let lane = OwnLane::of(&self.entry);
            // If it cannot join again now, it sleeps, and tries again at the next look.
            if S::is_over(lane) && !self.joins_again() {
                return Ok(false);
            }
            if self.entry.has_to_say() {
                // The call that follows says so.
                self.reader.call_special();
                return Ok(true);
            }
            let lane = OwnLane::of(&self.entry);
            let position = self.reader.position();
            match lane.slot(position).state(position) {
                SlotState::Committed => return Ok(S::may_claim(lane)),
                SlotState::Abandoned if self.skip().is_err() => return Ok(false),
                SlotState::Abandoned => {}
                // If no other consumer has gone on, it is garbage, which counts as an empty slot.
                SlotState::Later if self.follow() => {
                    if self.detour().is_err() {
                        return Ok(false);
                    }
                }
                _ if helps != 0 => helps = if self.help() { helps - 1 } else { 0 },
                _ if self.stream_has_ended() => match self.end_stream() {
                    Ok(()) => {}
                    Err(RecvError::Empty | RecvError::TimedOut) => return Ok(false),
                    Err(error) => return Err(error),
                },
                _ if self.waiting.peers.ends_deserted && self.is_deserted() => {
                    // They may have sent something between our look at the slot and our look at the
                    // table.
                    let lane = OwnLane::of(&self.entry);
                    if self.reader.has_something(lane) || self.reader.is_behind(lane) {
                        continue;
                    }
                    return Err(RecvError::Deserted);
                }
                _ => return Ok(false),
            }
        }
    }

    fn leave_own(&mut self, ready: bool) {
        let lane = OwnLane::of(&self.entry);
        if !self.reader.disarm(lane) {
            return;
        }
        // Other consumers may sleep. One is woken if there is more work than we take.
        let next = self.reader.position() + u64::from(ready);
        if lane.slot(next).state(next) != SlotState::NotYet {
            bell::wake(lane.segment(), Side::Consumer);
        } else if ready && closing::is_closed(lane.segment()) || self.stream_has_ended() {
            // What we take may be the last message. Then all others have to learn of the end, even
            // if this handle ignores it. If there is nothing to take, handles that ignore it would
            // wake each other for ever.
            bell::wake_all(self.entry.segment(), Side::Consumer);
        }
    }
}

/// A handle whose calls have a limit until this is dropped, also by a panic.
struct Limited<'a, S: Mode> {
    consumer: &'a mut Consumer<S>,
    before: Limit,
}

impl<S: Mode> Drop for Limited<'_, S> {
    #[inline(always)]
    fn drop(&mut self) {
        self.consumer.set_limit(self.before);
    }
}

/// Waiting for messages.
impl<S: Mode> Consumer<S> {
    /// Does `work`. Its calls end by `limit`, however often they are led to another position.
    #[inline(always)]
    pub(crate) fn limited<T>(&mut self, limit: Limit, work: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.waiting.limit;
        self.set_limit(limit);
        let limited = Limited { consumer: self, before };
        work(&mut *limited.consumer)
    }

    /// Has the calls that follow end by `limit`.
    #[inline(always)]
    pub(crate) fn set_limit(&mut self, limit: Limit) {
        self.waiting.limit = limit;
        #[cfg(feature = "alloc")]
        if self.has_lanes() {
            self.in_mode::<AnyMode>().limit_visited();
        }
    }

    /// Does `attempt`, a call that does not wait. While that finds nothing, waits and tries again.
    /// All calls that wait are made of this.
    #[inline]
    pub(crate) fn wait_for<T>(
        &mut self,
        until: Until,
        mut attempt: impl FnMut(&mut Self) -> Result<T, RecvError>,
    ) -> Result<T, RecvError> {
        let deadline = match until {
            // The first attempt does not read the clock, which costs more than a receive.
            Until::After(_) => match self.limited(Limit::AtOnce, &mut attempt) {
                Err(RecvError::Empty | RecvError::TimedOut) => until.deadline(),
                done => return done,
            },
            _ => until.deadline(),
        };
        if deadline.is_none() {
            return self.try_until(None, attempt);
        }
        self.limited(Limit::until(deadline), |this| this.try_until(deadline, attempt))
    }

    #[inline]
    fn try_until<T>(
        &mut self,
        deadline: Option<Instant>,
        mut attempt: impl FnMut(&mut Self) -> Result<T, RecvError>,
    ) -> Result<T, RecvError> {
        let mut waited = false;
        loop {
            for _ in 0..self.waiting.strategy.tries_first() {
                match attempt(self) {
                    Err(RecvError::Empty) => {}
                    done => return done,
                }
            }
            // A wait that finds a message does not read the clock. But other consumers, or garbage
            // in the segment, may take it away each time.
            if waited && sleep::remaining(deadline).is_none() {
                return Err(RecvError::TimedOut);
            }
            self.wait(deadline)?;
            waited = true;
        }
    }

    /// Waits until there is something to receive, and takes nothing. Use it before a call that does
    /// not wait. With `None` as `deadline` it waits without end. On a shared side another consumer
    /// may take the message first. One sleep lasts at most [`LONGEST_PARK`](crate::LONGEST_PARK),
    /// 100 milliseconds; then it looks and sleeps again.
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`], [`RecvError::TimedOut`] if `deadline` has passed,
    /// [`RecvError::Deserted`] if [`end_when_deserted`](Self::end_when_deserted) was asked for, and
    /// [`RecvError::Damaged`].
    #[cold]
    #[inline(never)]
    pub fn wait(&mut self, deadline: Option<Instant>) -> Result<(), RecvError> {
        self.limited(Limit::until(deadline), |this| sleep::wait(this, deadline))
    }

    /// How this handle waits from now on.
    pub fn set_wait_strategy(&mut self, strategy: WaitStrategy) {
        self.waiting.strategy = strategy;
    }

    /// A descriptor for an event loop that waits for messages of this ring. It needs a thread,
    /// which sleeps most of the time.
    ///
    /// # Errors
    ///
    /// The system's error, if it gives no descriptor or no thread.
    #[cfg(feature = "std")]
    pub fn readiness(&self) -> std::io::Result<Readiness> {
        Readiness::new(self.entry.segment(), Side::Consumer)
    }

    /// Makes `readiness` become readable when there is something to receive. It must belong to this
    /// ring's consumers. Returns `true` if there is something already; then nothing was done.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    #[cfg(feature = "std")]
    pub fn arm(&mut self, readiness: &Readiness) -> Result<bool, RecvError> {
        readiness.arm(self)
    }

    /// Undoes [`arm`](Self::arm), for an event loop that stops waiting for this ring. If the handle
    /// was woken already, it wakes another consumer of a shared side in its place. Otherwise that
    /// one could sleep for up to [`LONGEST_PARK`](crate::LONGEST_PARK), 100 milliseconds, longer.
    /// On a handle that is not armed this does nothing.
    #[cfg(feature = "std")]
    pub fn disarm(&mut self, readiness: &Readiness) {
        readiness.cancel(self);
    }

    /// Whether calls that wait end with [`RecvError::Deserted`] if the ring is empty, there were
    /// producers, and none is left. By default they do not, since a producer may come back, also
    /// after a crash, and go on with the stream.
    ///
    /// A producer counts if its handle exists when this is called, or is taken later, even if it
    /// sends nothing. Any received message counts as well. A producer that leaves is noticed at
    /// once. One that is killed is noticed within [`LONGEST_PARK`](crate::LONGEST_PARK), 100
    /// milliseconds, after the kernel has closed its files. Calls on `&UltraFastRing` that send
    /// keep a handle as long as that ring is open.
    /// The members of all groups have the same producers.
    /// [`Producer::end_when_deserted`](crate::Producer::end_when_deserted) is the same for the
    /// other side.
    ///
    /// ```
    /// use ultrafastring::{RecvError, UltraFastRing};
    ///
    /// let ring = UltraFastRing::new(8);
    /// let mut consumer = ring.consumer()?;
    /// consumer.end_when_deserted(true);
    /// drop(ring.producer()?); // has nothing to send
    /// assert_eq!(consumer.recv().unwrap_err(), RecvError::Deserted);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn end_when_deserted(&mut self, ends: bool) {
        let seen = self.received() != 0;
        self.waiting.peers.end_when_deserted(&self.entry, Side::Producer, ends, seen);
    }

    /// Whether there were producers and none is left now. Their messages may still be in the ring.
    /// All producers that this ring has ever had count. After
    /// [`end_when_deserted`](Self::end_when_deserted), only those count that existed then, have
    /// come since, or sent a message that this handle has received.
    ///
    /// It asks the kernel about each entry of the participant table, so do not call it often.
    pub fn is_deserted(&mut self) -> bool {
        // A received message had a sender, even if that had left when `end_when_deserted` was
        // called.
        self.waiting.peers.seen |= self.received() != 0;
        self.waiting.peers.is_deserted(&self.entry, Side::Producer)
    }

    /// How many producer handles living processes hold.
    pub fn living_producers(&self) -> usize {
        presence::living(self.entry.segment(), self.entry.locker(), Side::Producer)
    }

    /// How often this handle slept for [`LONGEST_PARK`](crate::LONGEST_PARK), 100 milliseconds, and
    /// then found a message without having been woken. Its sender was killed or stopped before it
    /// could.
    pub fn missed_wakes(&self) -> u64 {
        self.waiting.missed
    }
}

#[cfg(all(test, feature = "std", not(loom)))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::priority::PriorityClass;
    use crate::ring::UltraFastRing;
    use crate::sync::Ordering;

    #[test]
    fn a_consumer_that_is_done_with_waiting_marks_those_who_still_sleep() {
        let ring = UltraFastRing::new(8);
        let segment = ring.segment();
        let (mut first, mut producer) = (ring.consumer().unwrap(), ring.producer().unwrap());
        for ready in [true, false] {
            // Two sleep, and a message wakes one of them.
            bell::arm(segment, Side::Consumer);
            bell::arm(segment, Side::Consumer);
            producer.send_fast(b"one", PriorityClass::Normal).unwrap();
            assert!(!bell::is_armed(segment, Side::Consumer));
            let _ = first.try_recv();
            first.leave(ready);
            assert!(bell::is_armed(segment, Side::Consumer), "the other still sleeps");
        }
    }

    #[test]
    fn a_call_that_panics_leaves_no_limit_to_the_next() {
        let ring = UltraFastRing::new(8);
        let mut consumer = ring.consumer().unwrap();
        let call = || consumer.limited(Limit::AtOnce, |_| panic!("on purpose"));
        assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
        assert!(matches!(consumer.waiting.limit, Limit::None));
    }

    #[test]
    fn a_limit_is_one_of_the_lane_in_which_a_handle_stays() {
        use crate::settings::Lanes;

        let ring = UltraFastRing::builder().lanes(Lanes::ByClass).heap().unwrap();
        let (mut consumer, mut producer) = (ring.consumer().unwrap(), ring.producer().unwrap());
        producer.send_fast(b"one", PriorityClass::Low).unwrap();
        consumer.try_recv().unwrap();
        let limit = |it: &Consumer| it.last_lane().unwrap().waiting.limit;
        consumer.limited(Limit::AtOnce, |it| assert!(matches!(limit(it), Limit::AtOnce)));
        assert!(matches!(limit(&consumer), Limit::None));
    }

    #[test]
    fn who_takes_the_last_message_of_a_stream_that_it_passed_tells_those_who_wait_for_its_end() {
        let ring = UltraFastRing::new(8);
        let segment = ring.segment();
        let (mut passing, mut producer) = (ring.consumer().unwrap(), ring.producer().unwrap());
        producer.send_fast(b"last", PriorityClass::Normal).unwrap();
        producer.close();
        passing.await_next_stream();
        let wakes = || segment.control().bell(Side::Consumer).wakes.load(Ordering::Relaxed);
        // Another sleeps; one bell was for both, and it woke this one.
        let before = wakes();
        passing.leave(true);
        assert_ne!(wakes(), before);
        // Who leaves with nothing wakes nobody: the others would do the same in turn.
        passing.try_recv().unwrap();
        passing.await_next_stream();
        let before = wakes();
        passing.leave(false);
        assert_eq!(wakes(), before);
    }
}
