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
        let mut refused = match attempt(self) {
            Err(error) if self.may_wait(error) => error,
            done => return done,
        };
        let deadline = until.deadline();
        loop {
            // Until one more is released, which may have the memory that is missing.
            let more = u64::from(refused == SendError::NoSpace);
            self.wanted = more * self.credits().available_as(class) + 1;
            let waited = self.wait(class, deadline);
            self.wanted = 1;
            waited?;
            refused = match attempt(self) {
                // A wait that finds room does not read the clock. But other producers, or garbage
                // in the segment, may take the room each time.
                Err(error) if self.may_wait(error) => {
                    if sleep::remaining(deadline).is_none() {
                        return Err(SendError::TimedOut);
                    }
                    error
                }
                done => return done,
            };
        }
    }

    /// Whether a call that waits goes on after this error: consumers can change it.
    fn may_wait(&self, error: SendError) -> bool {
        error.is_full() || error == SendError::NoSpace && self.memory_is_in_flight
    }

    /// Waits until there is room for a message of `class`, and sends nothing. Use it before a call
    /// that does not wait. With `None` as `deadline` it waits without end. On a shared side another
    /// producer may take the room first. One sleep lasts at most
    /// [`LONGEST_PARK`](crate::LONGEST_PARK), 100 milliseconds; then it looks and sleeps again.
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
        self.note_refused(class);
        sleep::wait(self, deadline)
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
    /// done.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    #[cfg(feature = "std")]
    pub fn arm(&mut self, class: PriorityClass, readiness: &Readiness) -> Result<bool, SendError> {
        self.note_refused(class);
        readiness.arm(self)
    }

    /// How often this handle slept for [`LONGEST_PARK`](crate::LONGEST_PARK), 100 milliseconds, and
    /// then found room without having been woken. A consumer had released messages, and then was
    /// busy, killed or stopped before it granted them.
    pub fn missed_wakes(&self) -> u64 {
        self.waiting.missed
    }
}
