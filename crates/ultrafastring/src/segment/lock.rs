//! Who holds what: locks that end with their holder.
//!
//! For a file they are open-file-description locks of the kernel (`F_OFD_SETLK`, fcntl(2)) on bytes
//! of the ring's lock file, which only participants can open (`lock_file.rs`). The kernel gives
//! them back when the last descriptor of the description is closed, which for a killed process is
//! after its last thread has stopped. There is no heartbeat, and a reused pid or another pid
//! namespace changes nothing. Each handle has a description of its own, so handles of one process
//! exclude each other too.
//!
//! A dying process may keep its locks for seconds after its last instruction. Therefore an entry
//! has two locks. Its holder has the *life lock* as long as it holds the entry. Whoever works on
//! the entry itself has the *work lock*: a newcomer until it has written who it is, an adopter
//! until it has finished. So if the life lock is taken and the work lock is not, the entry names
//! the process that holds it. A participant that gets the work lock, and sees that this process
//! will not run again (`process.rs`), is the owner as if it had both locks (`recover/liveness.rs`).
//! The death of a process that has the work lock is noticed by its locks alone.
//!
//! Everybody who has a named ring open shares one more lock, so that a ring without a handle yet
//! does not count as stale.
//!
//! In memory locks are words, since threads do not die alone.

#[cfg(feature = "std")]
use alloc::sync::Arc;

use super::Segment;
#[cfg(feature = "std")]
use super::lock_file::LockFile;
#[cfg(feature = "std")]
use crate::error::FileError;
use crate::error::RingError;
use crate::layout::locks::{LockWord, Place};

/// Takes and gives back locks for one handle. What it works on in several lanes has a clone for
/// each: they are one holder.
#[derive(Clone, Debug)]
pub(crate) enum Locker {
    /// Words of the segment.
    InMemory,
    #[cfg(feature = "std")]
    InFile(Arc<LockFile>),
    /// The locks are in a file that this observer may not open.
    #[cfg(feature = "std")]
    OutOfSight,
}

impl Segment {
    /// A new holder of locks on this segment.
    ///
    /// # Errors
    ///
    /// The system's error, if the ring's lock file cannot be opened again.
    #[cfg_attr(not(feature = "std"), allow(clippy::unnecessary_wraps))]
    pub(crate) fn locker(&self) -> Result<Locker, RingError> {
        #[cfg(feature = "std")]
        if let Some(mapping) = self.mapping() {
            let locks = mapping.lock_file()?.map(Arc::new);
            return Ok(locks.map_or(Locker::OutOfSight, Locker::InFile));
        }
        Ok(Locker::InMemory)
    }

    /// The file's path, for errors.
    #[cfg(feature = "std")]
    fn file_path(&self) -> &std::path::Path {
        self.mapping().map_or(std::path::Path::new(""), |mapping| &mapping.files.path)
    }

    /// The lock in memory, if the place has one.
    fn lock_word(&self, place: Place) -> Option<&LockWord> {
        match place {
            Place::Side(side) => Some(&self.control().side_locks[side as usize]),
            Place::Entry(index) => Some(&self.participant(index).lock),
            Place::Group(row) => Some(&self.row(row)?.lock),
            Place::Member(row) => Some(&self.row(row)?.member),
            Place::Groups => Some(&self.row(0)?.table),
            _ => None,
        }
    }
}

impl Locker {
    /// Takes the lock if nobody has it, and returns whether it did. It also returns `true` for a
    /// lock that this holder already has, so callers do not ask for one they have.
    #[cfg_attr(not(feature = "std"), allow(clippy::unnecessary_wraps))]
    pub(crate) fn try_lock(&self, segment: &Segment, place: Place) -> Result<bool, RingError> {
        match self {
            Self::InMemory => Ok(segment.lock_word(place).is_some_and(LockWord::try_lock)),
            #[cfg(feature = "std")]
            Self::InFile(file) => {
                file.try_lock(place.of_lane(segment.index()), segment.file_path())
            }
            #[cfg(feature = "std")]
            Self::OutOfSight => Err(FileError::PermissionDenied.at(segment.file_path())),
        }
    }

    /// Gives a lock back. When a new holder of an entry has written who it is, it gives the work
    /// lock back and keeps the life lock. From then on others can see whether it is dying.
    pub(crate) fn unlock(&self, segment: &Segment, place: Place) {
        match self {
            Self::InMemory => segment.lock_word(place).map_or((), LockWord::unlock),
            #[cfg(feature = "std")]
            Self::InFile(file) => file.unlock(place.of_lane(segment.index())),
            #[cfg(feature = "std")]
            Self::OutOfSight => {}
        }
    }

    /// Whether another holder has the lock. The answer is yes if that cannot be found out, since a
    /// living participant must not be taken for dead, and in memory if the place has no lock.
    pub(crate) fn is_locked(&self, segment: &Segment, place: Place) -> bool {
        match self {
            Self::InMemory => segment.lock_word(place).is_none_or(LockWord::is_locked),
            #[cfg(feature = "std")]
            Self::InFile(file) => file.is_locked(place.of_lane(segment.index())),
            #[cfg(feature = "std")]
            Self::OutOfSight => true,
        }
    }

    /// Whether it can find out who holds a lock.
    pub(crate) fn sees(&self) -> bool {
        #[cfg(feature = "std")]
        return !matches!(self, Self::OutOfSight);
        #[cfg(not(feature = "std"))]
        true
    }
}
