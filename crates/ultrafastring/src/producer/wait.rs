//! Waiting for room; [`waiting`](crate::waiting) says how, and [`forms`](super::forms) has the
//! calls.

use std::time::Instant;

use super::Producer;
use crate::error::SendError;
use crate::lane::view::OwnLane;
use crate::mode::{Mode, OwnMode, in_own_mode};
use crate::priority::PriorityClass;
use crate::segment::Segment;
use crate::settings::Side;
#[cfg(feature = "std")]
use crate::waiting::readiness::Readiness;
use crate::waiting::sleep::{self, Sleeper, Until, Waiting};
use crate::waiting::strategy::WaitStrategy;

impl<S: Mode> Sleeper for Producer<S> {
    const SIDE: Side = Side::Producer;
    type Stop = SendError;

    fn segment(&self) -> &Segment {
        self.entry.segment()
    }

    #[inline]
    fn glance(&mut self) -> Result<bool, SendError> {
        in_own_mode!(self, it => it.glance_own())
    }

    fn look(&mut self) -> Result<bool, SendError> {
        in_own_mode!(self, it => it.look_own())
    }

    fn leave(&mut self, _: bool) {
        in_own_mode!(self, it => it.disarm());
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

impl<S: OwnMode> Producer<S> {
    #[inline]
    fn glance_own(&mut self) -> Result<bool, SendError> {
        let class = self.refused_class;
        if self.writer.covers(class, self.wanted) {
            return Ok(true);
        }
        went(self.refill(class, self.wanted))
    }

    fn look_own(&mut self) -> Result<bool, SendError> {
        if self.glance_own()? {
            return Ok(true);
        }
        // What consumers have released and not granted, because they are busy or dead.
        self.help();
        let class = self.refused_class;
        if went(self.refill(class, self.wanted))? {
            return Ok(true);
        }
        if self.waiting.peers.ends_deserted && self.is_deserted() {
            // They may have released something between our look at the frontier and at the table.
            return match went(self.refill(class, self.wanted))? {
                true => Ok(true),
                false => Err(SendError::Deserted),
            };
        }
        Ok(false)
    }

    pub(super) fn disarm(&mut self) {
        S::disarm_writer(OwnLane::of(&self.entry));
    }
}

/// Whether a look found room.
fn went(outcome: Result<(), SendError>) -> Result<bool, SendError> {
    match outcome {
        Ok(()) => Ok(true),
        Err(SendError::Full | SendError::OutOfCredit) => Ok(false),
        Err(error) => Err(error),
    }
}

impl<S: Mode> Producer<S> {
    /// Does `attempt`, a call that does not wait. While that finds no room for a message of
    /// `class`, waits and tries again. All calls that wait are made of this.
    #[inline]
    pub(super) fn wait_for<T>(
        &mut self,
        class: PriorityClass,
        until: Until,
        mut attempt: impl FnMut(&mut Self) -> Result<T, SendError>,
    ) -> Result<T, SendError> {
        // The first attempt does not read the clock, which costs more than a send.
        match attempt(self) {
            Err(error) if self.may_wait(error) => {}
            done => return done,
        }
        let deadline = until.deadline();
        loop {
            self.wait(class, deadline)?;
            match attempt(self) {
                // A wait that finds room does not read the clock. But other producers, or garbage
                // in the segment, may take the room each time.
                Err(error) if self.may_wait(error) => {
                    if sleep::remaining(deadline).is_none() {
                        return Err(SendError::TimedOut);
                    }
                }
                done => return done,
            }
        }
    }

    /// Whether waiting may help after this handle's last call was refused for this reason: there
    /// was no room, or no memory, which consumers can change. After [`SendError::NoSpace`] it is
    /// `true` if messages in flight have memory that another can use once they are released.
    ///
    /// ```
    /// # #[cfg(feature = "alloc")] {
    /// use ultrafastring::{PriorityClass, SendError, UltraFastRing};
    ///
    /// let ring = UltraFastRing::new(1);
    /// let mut producer = ring.producer()?;
    /// producer.try_send("one", PriorityClass::Normal)?;
    /// let refused = producer.try_send("two", PriorityClass::Normal).unwrap_err();
    /// assert!(producer.may_wait(refused.reason));
    /// assert!(!producer.may_wait(SendError::Closed));
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn may_wait(&self, refused: SendError) -> bool {
        refused.is_full() || refused == SendError::NoSpace && self.memory_is_in_flight()
    }

    /// Whether messages in flight have memory that the last one would have needed. Not after
    /// another has been sent.
    fn memory_is_in_flight(&self) -> bool {
        self.short_of_memory == self.credits().consumed()
    }

    /// For how much room to wait after this handle was refused: for one message; if memory is
    /// missing, for one more than there is room for. That one's memory may be enough.
    pub(crate) fn wanted_as(&self, class: PriorityClass) -> u64 {
        u64::from(self.memory_is_in_flight()) * self.credits().available_as(class) + 1
    }

    /// Does `work`, whose looks ask for so much room for messages of `class`.
    pub(crate) fn wanting<T>(
        &mut self,
        (class, wanted): (PriorityClass, u64),
        work: impl FnOnce(&mut Self) -> T,
    ) -> T {
        self.note_refused(class);
        self.wanted = wanted;
        let done = work(self);
        self.wanted = 1;
        done
    }

    /// Waits until there is room for a message of `class`, and sends nothing. Use it before a call
    /// that does not wait. With `None` as `deadline` it waits without end. On a shared side another
    /// producer may take the room first. Directly after [`SendError::NoSpace`] it waits until one
    /// more message is released, if its memory may be enough ([`may_wait`](Self::may_wait)). One
    /// sleep lasts at most [`LONGEST_PARK`](crate::LONGEST_PARK), 100 milliseconds; then it looks
    /// and sleeps again.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`], [`SendError::TimedOut`] if `deadline` has passed,
    /// [`SendError::Deserted`] if [`end_when_deserted`](Self::end_when_deserted) was asked for, and
    /// [`SendError::Damaged`].
    #[cold]
    #[inline(never)]
    pub fn wait(
        &mut self,
        class: PriorityClass,
        deadline: Option<Instant>,
    ) -> Result<(), SendError> {
        // The lane of the class knows whether memory is missing.
        self.turn_to(class);
        self.wanting((class, self.wanted_as(class)), |this| sleep::wait(this, deadline))
    }

    /// Makes the next looks ask for room for a message of `class`.
    pub(crate) fn note_refused(&mut self, class: PriorityClass) {
        self.turn_to(class);
        self.refused_class = class;
    }

    /// How this handle waits from now on.
    pub fn set_wait_strategy(&mut self, strategy: WaitStrategy) {
        self.waiting.strategy = strategy;
    }

    /// A descriptor for an event loop that waits for room in this ring. It needs a thread, which
    /// sleeps most of the time.
    ///
    /// # Errors
    ///
    /// The system's error, if it gives no descriptor or no thread.
    #[cfg(feature = "std")]
    pub fn readiness(&self) -> std::io::Result<Readiness> {
        Readiness::new(self.entry.segment(), Side::Producer)
    }

    /// Makes `readiness` become readable when there is room for a message of `class`. It must
    /// belong to this ring's producers. Returns `true` if there is room already; then nothing was
    /// done. After [`SendError::NoSpace`] it does as [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    #[cfg(feature = "std")]
    pub fn arm(&mut self, class: PriorityClass, readiness: &Readiness) -> Result<bool, SendError> {
        self.turn_to(class);
        self.wanting((class, self.wanted_as(class)), |this| readiness.arm(this))
    }

    /// How often this handle slept for [`LONGEST_PARK`](crate::LONGEST_PARK), 100 milliseconds, and
    /// then found room without having been woken. A consumer had released messages, and then was
    /// busy, killed or stopped before it granted them.
    pub fn missed_wakes(&self) -> u64 {
        self.waiting.missed
    }
}
