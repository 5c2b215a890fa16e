//! Who holds what: locks that end with their holder.
//!
//! For a file they are open-file-description locks of the kernel (`F_OFD_SETLK`, fcntl(2)) on bytes of
//! the ring's lock file, which only participants can open (`lock_file.rs`). The kernel gives them
//! back when the last descriptor
//! of the description is closed, which for a killed process is after its last thread has stopped.
//! There is no heartbeat, and a reused pid or another pid namespace changes nothing. Each handle
//! has a description of its own, so handles of one process exclude each other too.
//!
//! A process that is dying may keep its locks for seconds after its last instruction. Therefore an entry
//! has two of them. Its holder has the *life* locked for as long as it holds the entry. Who takes the
//! entry has the *claim* locked: a newcomer until it has written who it is, an adopter until it is done.
//! So where the life is locked and the claim is not, the entry says which process holds it. Who gets the
//! claim, and sees that this process will not run again (`process.rs`), is the owner as if it had got
//! both ([`Locker::try_adopt`]). One that dies while it has a claim is known by its locks alone.
//!
//! Whoever has a named ring open shares one lock more, so that a ring nobody has a handle on yet is not
//! taken for stale.
//!
//! In memory they are words: threads do not die alone.

#[cfg(feature = "std")]
use super::Backing;
use super::Segment;
#[cfg(feature = "std")]
use super::lock_file::LockFile;
use crate::RingError;
use crate::layout::Side;

/// Something that can be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// An exclusive side.
    Side(Side),
    /// An entry of the participant table.
    Entry(usize),
}

/// Takes and gives back locks for one handle.
#[derive(Debug)]
pub(crate) struct Locker(Locks);

#[derive(Debug)]
enum Locks {
    /// Words of the segment.
    InMemory,
    #[cfg(feature = "std")]
    InFile(LockFile),
    /// Those of an observer that may not open the file they are in.
    #[cfg(feature = "std")]
    OutOfSight,
}

impl Segment {
    /// A new holder of locks on this segment.
    pub(crate) fn locker(&self) -> Result<Locker, RingError> {
        Ok(Locker(match &self.backing {
            #[cfg(feature = "std")]
            Backing::File(mapping) => mapping.lock_file()?.map_or(Locks::OutOfSight, Locks::InFile),
            #[allow(unreachable_patterns)]
            _ => Locks::InMemory,
        }))
    }

    /// Whether somebody else has the named ring open; `None` if that cannot be found out. Memory is
    /// this process's own.
    #[cfg(feature = "std")]
    pub(crate) fn is_open_elsewhere(&self) -> Option<bool> {
        match &self.backing {
            Backing::File(mapping) => mapping.is_open_elsewhere(),
            #[allow(unreachable_patterns)]
            _ => Some(false),
        }
    }

    #[cfg(feature = "std")]
    fn file_path(&self) -> &std::path::Path {
        match &self.backing {
            Backing::File(mapping) => mapping.file_path(),
            #[allow(unreachable_patterns)]
            _ => std::path::Path::new(""),
        }
    }
}

impl Locker {
    /// Takes the lock if nobody has it; says whether it did. A lock this holder has already is
    /// taken again without a word, so nobody asks for what it has.
    #[cfg_attr(not(feature = "std"), allow(clippy::unnecessary_wraps))]
    pub(crate) fn try_lock(&self, segment: &Segment, place: Place) -> Result<bool, RingError> {
        match &self.0 {
            Locks::InMemory => Ok(match place {
                Place::Side(side) => segment.control().try_lock_side(side),
                Place::Entry(index) => segment.participant(index).try_lock_word(),
            }),
            #[cfg(feature = "std")]
            Locks::InFile(file) => file.try_lock(place, segment.file_path()),
            #[cfg(feature = "std")]
            Locks::OutOfSight => {
                Err(RingError::PermissionDenied { path: segment.file_path().into() })
            }
        }
    }

    /// Takes the entry of a holder that is dead, or dying: none of its threads will run again, but its
    /// files are not closed yet. `false` if it lives, or if that cannot be found out.
    pub(crate) fn try_adopt(&self, segment: &Segment, index: usize) -> bool {
        if self.try_lock(segment, Place::Entry(index)).unwrap_or(false) {
            return true;
        }
        #[cfg(feature = "std")]
        if let Locks::InFile(file) = &self.0
            && file.try_claim(index, segment.file_path()).unwrap_or(false)
        {
            // With the claim, so that the process is the holder's, and of several who see it one takes
            // over: `verification/tests/entry_ownership.rs` shows what goes wrong without.
            if segment.participant(index).process().will_not_run_again()
                && crate::wait::fence_all_of(segment)
            {
                return true;
            }
            file.give_claim_back(index);
        }
        false
    }

    /// Gives a part of a new holder's locks back, once it has written who it is: from now on it is
    /// known by that whether it is dying.
    pub(crate) fn give_claim_back(&self, segment: &Segment, index: usize) {
        #[cfg(feature = "std")]
        if let Locks::InFile(file) = &self.0 {
            file.give_claim_back(index);
        }
        let _ = (segment, index);
    }

    /// Whether somebody has an entry who may run again: its holder, or whoever is at work there.
    pub(crate) fn lives(&self, segment: &Segment, index: usize) -> bool {
        if !self.is_locked(segment, Place::Entry(index)) {
            return false;
        }
        #[cfg(feature = "std")]
        if let Locks::InFile(file) = &self.0 {
            // In this order: who has its life locked and not its claim has written who it is.
            return file.is_claimed(index)
                || !(segment.participant(index).process().will_not_run_again()
                    && crate::wait::fence_all_of(segment));
        }
        true
    }

    /// Gives a lock back.
    pub(crate) fn unlock(&self, segment: &Segment, place: Place) {
        match &self.0 {
            Locks::InMemory => match place {
                Place::Side(side) => segment.control().unlock_side(side),
                Place::Entry(index) => segment.participant(index).unlock_word(),
            },
            #[cfg(feature = "std")]
            Locks::InFile(file) => file.unlock(place),
            #[cfg(feature = "std")]
            Locks::OutOfSight => {}
        }
    }

    /// Whether another holder has the lock; it has if that cannot be found out, since the living must
    /// not be taken for dead.
    pub(crate) fn is_locked(&self, segment: &Segment, place: Place) -> bool {
        match &self.0 {
            Locks::InMemory => match place {
                Place::Side(_) => true,
                Place::Entry(index) => segment.participant(index).is_word_locked(),
            },
            #[cfg(feature = "std")]
            Locks::InFile(file) => file.is_locked(place),
            #[cfg(feature = "std")]
            Locks::OutOfSight => true,
        }
    }

    /// Whether it can be found out who holds what.
    pub(crate) fn sees(&self) -> bool {
        #[cfg(feature = "std")]
        return !matches!(self.0, Locks::OutOfSight);
        #[cfg(not(feature = "std"))]
        true
    }
}
