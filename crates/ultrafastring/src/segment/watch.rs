//! The slot that a consumer of several lanes looks at to see whether a lane has something.

use core::ptr::NonNull;

use super::lane::Lane;
use crate::layout::slot::TimestampedSlot;

/// The next slot of a lane: all that a look at an idle lane needs. Those of many lanes lie side by
/// side, so such a look is a load and a comparison.
#[derive(Debug)]
pub(crate) struct Watch {
    slot: NonNull<TimestampedSlot>,
    position: u64,
    /// Whether there is something to do whatever the slot says.
    pending: bool,
}

/// What a [`Watch`] sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Nothing.
    Nothing,
    /// A message, which was sent at this time.
    Message(u64),
    /// Something else, which the handle of the lane has to look at.
    Other,
}

// SAFETY: it points to atomics, as a `Segment` does.
unsafe impl Send for Watch {}
// SAFETY: as above.
unsafe impl Sync for Watch {}

impl Watch {
    /// That of a reader at `position`.
    #[inline(always)]
    pub(crate) fn new(lane: Lane<'_>, position: u64, pending: bool) -> Self {
        Self { slot: NonNull::from(lane.slot(position)), position, pending }
    }

    /// Whether there may be something at the position or beyond: a message, an abandoned slot, or a
    /// later lap, since others may have gone on.
    ///
    /// # Safety
    ///
    /// The segment of the lane exists.
    #[inline(always)]
    pub(crate) unsafe fn sees_something(&self) -> bool {
        #[cfg(fuzzing)]
        crate::looks::count();
        // SAFETY: within the segment, which exists as the caller promises; all words are atomics.
        let sequence = || unsafe { self.slot.as_ref() }.sequence();
        self.pending || TimestampedSlot::is_beyond(sequence(), self.position)
    }

    /// As [`sees_something`](Self::sees_something), where nothing is pending.
    ///
    /// # Safety
    ///
    /// As there.
    #[inline(always)]
    pub(crate) unsafe fn is_passed(&self) -> bool {
        debug_assert!(!self.pending);
        #[cfg(fuzzing)]
        crate::looks::count();
        // SAFETY: as in `sees_something`.
        let sequence = unsafe { self.slot.as_ref() }.sequence();
        TimestampedSlot::is_beyond(sequence, self.position)
    }

    /// What there is at the position.
    ///
    /// # Safety
    ///
    /// As [`sees_something`](Self::sees_something).
    #[inline(always)]
    pub(crate) unsafe fn look(&self) -> Seen {
        #[cfg(fuzzing)]
        crate::looks::count();
        if self.pending {
            return Seen::Other;
        }
        // SAFETY: as in `sees_something`.
        let slot = unsafe { self.slot.as_ref() };
        match slot.sequence() {
            sequence if sequence == self.position + 1 => Seen::Message(slot.timestamp()),
            sequence if sequence <= self.position => Seen::Nothing,
            _ => Seen::Other,
        }
    }
}
