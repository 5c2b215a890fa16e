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
        self.pending || unsafe { self.slot.as_ref() }.sequence() > self.position
    }
}
