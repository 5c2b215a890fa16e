//! The rows of the area of histograms, and the one in which a consumer counts.
//!
//! Memory of a row is taken before it is first touched, since there are as many rows as entries,
//! and most are never used. If there is none left, nothing is counted.

use core::ptr::NonNull;

use super::{Backing, Segment};
use crate::layout::histogram::HistogramRow;
use crate::priority::PriorityClass;

/// The row of an entry, for the consumer that holds the entry.
#[derive(Debug)]
pub(crate) struct OwnHistogram {
    row: NonNull<HistogramRow>,
    /// Keeps the memory alive.
    _backing: Backing,
}

// SAFETY: the row points to memory that `_backing` keeps alive, and everything there is atomics.
unsafe impl Send for OwnHistogram {}
// SAFETY: as above.
unsafe impl Sync for OwnHistogram {}

impl OwnHistogram {
    /// Counts so many received messages.
    #[inline(always)]
    pub(crate) fn count(&self, class: PriorityClass, latency: u64, messages: u64) {
        // SAFETY: valid as long as `_backing`; all words are atomics.
        unsafe { self.row.as_ref() }.count(class, latency, messages);
    }
}

impl Segment {
    /// Whether consumers count latencies. They do not in models.
    #[inline]
    pub(crate) fn has_histograms(&self) -> bool {
        self.settings().latency_histograms && !cfg!(loom)
    }

    /// The row of the entry at `index`; `None` without histograms, or without memory for it.
    pub(crate) fn histogram(&self, index: usize) -> Option<&HistogramRow> {
        // SAFETY: valid as long as the backing, which `self` keeps; all words are atomics.
        self.histogram_at(index).map(|row| unsafe { row.as_ref() })
    }

    /// The row of a group, of what was counted in entries that have gone to others since.
    pub(crate) fn histogram_of_group(&self, row: usize) -> Option<&HistogramRow> {
        let index = self.settings().participants + row;
        if row < self.groups() { self.histogram(index) } else { None }
    }

    /// The row of the entry at `index`, to be kept by the consumer that holds it.
    pub(crate) fn own_histogram(&self, index: usize) -> Option<OwnHistogram> {
        let row = self.histogram_at(index)?;
        Some(OwnHistogram { row, _backing: self.backing.clone() })
    }

    fn histogram_at(&self, index: usize) -> Option<NonNull<HistogramRow>> {
        if !self.has_histograms() || index >= self.settings().participants + self.groups() {
            return None;
        }
        #[cfg(feature = "std")]
        if let Some(mapping) = self.mapping()
            && !mapping.back_histogram(self.index(), index)
        {
            return None;
        }
        #[cfg(fuzzing)]
        crate::looks::count();
        // SAFETY: within the lane's part of the area by the comparison, as `Sizes::histograms`
        // counts its rows.
        Some(unsafe { self.histograms.add(index) })
    }
}
