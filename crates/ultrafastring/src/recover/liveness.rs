//! How it is decided that a participant is dead.
//!
//! Locks decide it, and `/proc` before the kernel has given them back (`segment/lock.rs`). Recovery
//! uses only this trait, so another source of this knowledge could replace them.

use crate::error::RingError;
use crate::layout::locks::Place;
use crate::segment::Segment;
use crate::segment::lock::Locker;
#[cfg(feature = "std")]
use crate::waiting::bell::fence_all_of;

/// Knows who is alive, and lets one participant at a time finish the work of a dead one.
pub(crate) trait Liveness {
    /// Takes an entry that nobody has, and returns whether it did. An entry whose holder is dying
    /// is left alone.
    ///
    /// # Errors
    ///
    /// The system's error, if it cannot be asked.
    fn try_take(&self, segment: &Segment, index: usize) -> Result<bool, RingError>;

    /// Takes the entry of a holder that is dead or dying, which means that none of its threads will
    /// run again. Then everything that it stored is seen. `false` if it is alive, or if that cannot
    /// be found out.
    fn try_adopt(&self, segment: &Segment, index: usize) -> bool;

    /// Gives an entry back that was taken in one of these two ways.
    fn give_back(&self, segment: &Segment, index: usize);

    /// Whether an entry has a holder, or somebody at work on it, who may run again. If not,
    /// everything that it stored is seen.
    fn lives(&self, segment: &Segment, index: usize) -> bool;
}

impl Liveness for Locker {
    fn try_take(&self, segment: &Segment, index: usize) -> Result<bool, RingError> {
        self.try_lock(segment, Place::Entry(index))
    }

    fn try_adopt(&self, segment: &Segment, index: usize) -> bool {
        if self.try_take(segment, index).unwrap_or(false) {
            return true;
        }
        #[cfg(feature = "std")]
        if self.try_lock(segment, Place::Work(index)).unwrap_or(false) {
            // The work lock ensures that the process is the holder's, and that only one of several
            // takes over. `verification/tests/entry_ownership.rs` shows what goes wrong without it.
            if will_not_run_again(segment, index) {
                return true;
            }
            self.unlock(segment, Place::Work(index));
        }
        false
    }

    fn give_back(&self, segment: &Segment, index: usize) {
        self.unlock(segment, Place::Entry(index));
    }

    fn lives(&self, segment: &Segment, index: usize) -> bool {
        if !self.is_locked(segment, Place::Entry(index)) {
            return false;
        }
        // In this order: a holder that has its life lock and not its work lock has written who it
        // is.
        #[cfg(feature = "std")]
        return self.is_locked(segment, Place::Work(index)) || !will_not_run_again(segment, index);
        #[cfg(not(feature = "std"))]
        true
    }
}

/// Whether no thread of the process that the entry names will run again. If so, its last stores are
/// seen too.
#[cfg(feature = "std")]
fn will_not_run_again(segment: &Segment, index: usize) -> bool {
    segment.participant(index).identity().process.will_not_run_again() && fence_all_of(segment)
}
