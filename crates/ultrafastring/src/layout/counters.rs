//! The counters of a lane and of those who read it, each alone on its cache line.

use crate::sync::{AtomicU64, Ordering, look_at};

/// The highest bit of `producer_head`, set while the ring of a shared producer side is closed: no
/// compare-and-swap of a producer succeeds, so nothing is claimed after it.
pub(crate) const CLOSED: u64 = 1 << 63;

/// A counter alone on its cache line, so that writing it does not take a neighbour's line away
/// from another core (false sharing).
///
/// ```
/// use ultrafastring::CacheLineU64;
/// use std::sync::atomic::Ordering;
///
/// let counter = CacheLineU64::new(41);
/// counter.fetch_add(1, Ordering::Relaxed);
/// assert_eq!(counter.load(Ordering::Relaxed), 42);
/// assert_eq!((size_of::<CacheLineU64>(), align_of::<CacheLineU64>()), (64, 64));
/// ```
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct CacheLineU64 {
    value: AtomicU64,
    _pad: [u64; 7],
}

impl CacheLineU64 {
    /// A line that holds `value`.
    pub fn new(value: u64) -> Self {
        Self { value: AtomicU64::new(value), _pad: [0; 7] }
    }
}

impl core::ops::Deref for CacheLineU64 {
    type Target = AtomicU64;

    #[inline(always)]
    fn deref(&self) -> &AtomicU64 {
        &self.value
    }
}

/// The record of a lane: what its producers count, and the terms on which it was made.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub(crate) struct LaneCounters {
    /// The next position that producers claim. On a shared side it moves by compare-and-swap, and
    /// [`CLOSED`] in it makes every one of them fail; on an exclusive one it is stored with the
    /// announcements, for observers.
    pub(crate) producer_head: CacheLineU64,
    _gap_0: Line,
    /// Commit frontier as last announced by a producer: all below was committed or abandoned.
    /// For observers; correctness never depends on it.
    pub(crate) producer_tail: CacheLineU64,
    _gap_1: Line,
    /// The write window: nothing at or beyond it is or was being written. 0 in a plain ring, where
    /// nobody looks at it.
    pub(crate) window: CacheLineU64,
    /// How often memory of side buffers was given back to the file system: what a process knew
    /// before of the memory that they have is void.
    pub(crate) given_back: CacheLineU64,
    /// [`LaneTerms`](super::terms::LaneTerms), in a file: read before it is mapped, and not again.
    _terms: [Line; 2],
}

/// The place of those who read a lane: a row of the table of cursors, which has one for each group
/// and lane.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct Cursor {
    /// The next position that consumers claim. On a shared side it moves by compare-and-swap; on
    /// an exclusive one it is stored as each message is released, so that a successor knows where
    /// to go on.
    pub(crate) consumer_head: CacheLineU64,
    /// Of a group: positions that it had passed when it was opened, and the position at which it
    /// began then. Both are stored when it is opened, and carry the generation.
    pub(crate) passed_before: AtomicU64,
    pub(crate) began_at: AtomicU64,
    _gap_0: [u64; 6],
    /// Release frontier as last announced: every slot below is free for the next lap. This is
    /// the credit that producers spend. It never goes back.
    pub(crate) consumer_tail: CacheLineU64,
    _gap_1: Line,
}

impl LaneCounters {
    /// The next position that producers claim, whether or not the ring is closed.
    #[inline]
    pub(crate) fn producers_claimed(&self, order: Ordering) -> u64 {
        self.producer_head.load(order) & !CLOSED
    }

    /// The same, for whoever only looks.
    pub(crate) fn look_at_claimed(&self) -> u64 {
        look_at(&self.producer_head) & !CLOSED
    }
}

/// A line of nothing after each counter, since some processors fetch lines in pairs (Intel's
/// spatial prefetcher: Optimization Reference Manual, "Data Prefetching").
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(super) struct Line([u64; 8]);
