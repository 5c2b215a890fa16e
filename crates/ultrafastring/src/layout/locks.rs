//! What participants lock, and where in a lock file that is.
//!
//! ```text
//!  word  0  LOCK_MAGIC          byte  0          the ring is open (shared)
//!        1  layout version            1          the ring is being removed
//!        2  identity                  2, 3       the producer side, the consumer side
//!        3  zero                      64 + r     row r of the table of groups: its opening
//!                                     128 + r    the member of the exclusive group of row r
//!                                     192        the table of groups: a row for a name
//!                                     4096 + 2n  entry n of the participant table: its work lock,
//!                                                and behind it its life lock
//! ```
//!
//! Sides and entries of another lane than the first have the same bytes, 2^20 further for each lane
//! before it. So byte `2^20 l + 2` is that of the owner of lane `l`.
//!
//! Most of these bytes do not exist. In memory locks are words ([`LockWord`]).

#![cfg_attr(not(feature = "std"), allow(dead_code))]

use crate::limits::LAYOUT_VERSION;
use crate::settings::Side;
use crate::sync::{AtomicU64, Ordering};

/// Something that can be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// All share this who have the ring open.
    Opening,
    /// Of who is about to remove the ring.
    Removing,
    /// An exclusive side.
    Side(Side),
    /// An entry of the participant table: its work lock, and the life lock, which is locked as long
    /// as the files of the entry's holder are open.
    Entry(usize),
    /// The work lock of an entry alone: who is taking the entry, or finishes the work of its dead
    /// holder.
    Work(usize),
    /// A row of the table of groups: who is opening it, or gives it to another name.
    Group(usize),
    /// The member of an exclusive group, by its row.
    Member(usize),
    /// Who finds a row of the table of groups for a name.
    Groups,
    /// All that there are.
    All,
    /// These bytes: where they begin, and how many they are.
    Bytes(u64, u64),
}

/// From the bytes of a lane to those of the next: more than there are of one.
const OF_A_LANE: u64 = 1 << 20;

#[cfg(not(loom))]
const _: () = assert!(4_096 + 2 * (crate::limits::MAX_PARTICIPANTS as u64) < OF_A_LANE);

/// First word of every lock file.
const LOCK_MAGIC: u64 = u64::from_le_bytes(*b"UFRlock\0");

/// The words of the lock file of a segment with this identity.
pub(crate) const fn lock_words(identity: u64) -> [u64; 4] {
    [LOCK_MAGIC, LAYOUT_VERSION as u64, identity, 0]
}

impl Place {
    /// Where its lock begins, and how long it is.
    pub(crate) const fn bytes(self) -> (u64, u64) {
        match self {
            Self::Opening => (0, 1),
            Self::Removing => (1, 1),
            Self::Side(Side::Producer) => (2, 1),
            Self::Side(Side::Consumer) => (3, 1),
            Self::Group(row) => (64 + row as u64, 1),
            Self::Member(row) => (128 + row as u64, 1),
            Self::Groups => (192, 1),
            Self::Entry(index) => (4_096 + 2 * index as u64, 2),
            Self::Work(index) => (4_096 + 2 * index as u64, 1),
            // A length of 0 reaches to the end of all files.
            Self::All => (0, 0),
            Self::Bytes(start, length) => (start, length),
        }
    }

    /// The same place of this lane, if each lane has one.
    pub(crate) const fn of_lane(self, lane: usize) -> Self {
        match self {
            Self::Side(_) | Self::Entry(_) | Self::Work(_) => {
                let (start, length) = self.bytes();
                Self::Bytes(start + lane as u64 * OF_A_LANE, length)
            }
            _ => self,
        }
    }
}

/// A lock in memory, whose holders are threads and cannot die alone: 1 while it is held. In a file
/// it stays 0: there the kernel's lock on bytes of the lock file says it.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct LockWord(AtomicU64);

impl LockWord {
    /// Takes it if it is free; says whether it was.
    pub(crate) fn try_lock(&self) -> bool {
        // Acquire on success: pairs with the release in `unlock`, so that the next holder sees all
        // that the last one did.
        self.0.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Gives it back.
    pub(crate) fn unlock(&self) {
        // Release: pairs with the acquire in `try_lock`.
        self.0.store(0, Ordering::Release);
    }

    /// Whether it is held.
    pub(crate) fn is_locked(&self) -> bool {
        // Acquire: pairs with the release in `unlock`: whoever sees its holder gone sees all that
        // it did.
        self.0.load(Ordering::Acquire) != 0
    }
}
