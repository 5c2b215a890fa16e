//! Who holds what: locks that end with their holder.
//!
//! In a file they are open-file-description locks of the kernel (`F_OFD_SETLK`, fcntl(2)) on the
//! byte where the thing they protect begins. The kernel gives them back when the last descriptor
//! of the description is closed, which for a killed process is after its last thread has stopped.
//! There is no heartbeat, and a reused pid or another pid namespace changes nothing. Each handle
//! has a description of its own, so handles of one process exclude each other too.
//!
//! Whoever has a file open shares one lock more (`Place::Opening`), so that a ring nobody has a
//! handle on yet is not taken for stale.
//!
//! In memory they are words: threads do not die alone.

#[cfg(feature = "std")]
use super::Backing;
use super::Segment;
use crate::RingError;
use crate::layout::Side;

/// Something that can be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// An exclusive side.
    Side(Side),
    /// An entry of the participant table.
    Entry(usize),
    /// That the ring is open: a lock that all share who have a file open.
    #[cfg(feature = "std")]
    Opening,
}

/// Takes and gives back locks for one handle.
#[derive(Debug)]
pub(crate) struct Locker {
    #[cfg(feature = "std")]
    file: Option<super::file::LockFile>,
}

impl Segment {
    /// A new holder of locks on this segment.
    pub(crate) fn locker(&self) -> Result<Locker, RingError> {
        Ok(Locker {
            #[cfg(feature = "std")]
            file: match &self.backing {
                Backing::File(mapping) => Some(mapping.lock_file()?),
                #[allow(unreachable_patterns)]
                _ => None,
            },
        })
    }
}

impl Locker {
    /// Takes the lock if nobody has it; says whether it did. A lock this holder has already is
    /// taken again without a word, so nobody asks for what it has.
    #[cfg_attr(not(feature = "std"), allow(clippy::unnecessary_wraps))]
    pub(crate) fn try_lock(&self, segment: &Segment, place: Place) -> Result<bool, RingError> {
        #[cfg(feature = "std")]
        if let (Some(file), Backing::File(mapping)) = (&self.file, &segment.backing) {
            return file.try_lock(mapping, place);
        }
        Ok(match place {
            Place::Side(side) => segment.control().try_lock_side(side),
            Place::Entry(index) => segment.participant(index).try_lock_word(),
            #[cfg(feature = "std")]
            Place::Opening => true,
        })
    }

    /// Gives a lock back.
    pub(crate) fn unlock(&self, segment: &Segment, place: Place) {
        #[cfg(feature = "std")]
        if let Some(file) = &self.file {
            return file.unlock(place);
        }
        match place {
            Place::Side(side) => segment.control().unlock_side(side),
            Place::Entry(index) => segment.participant(index).unlock_word(),
            #[cfg(feature = "std")]
            Place::Opening => {}
        }
    }

    /// Whether another holder has the lock.
    pub(crate) fn is_locked(&self, segment: &Segment, place: Place) -> bool {
        #[cfg(feature = "std")]
        if let Some(file) = &self.file {
            return file.is_locked(place);
        }
        match place {
            Place::Side(_) => true,
            Place::Entry(index) => segment.participant(index).is_word_locked(),
            // Memory is this process's own.
            #[cfg(feature = "std")]
            Place::Opening => false,
        }
    }
}
