//! What a process knows of the memory of side buffers in a file.
//! [`side_memory`](super::side_memory) says what it may rely on.

use core::ops::Range;
use core::sync::atomic::AtomicU64;
use std::vec::Vec;

use crate::error::RingError;
use crate::layout::header::Geometry;

/// For what a buffer's memory is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// By its owner, a producer.
    Write,
    /// By a consumer or an observer.
    Read,
}

/// Which memory of a lane's side buffers has been taken, as far as this process knows.
pub(super) struct Backed {
    /// Where the side buffers begin, and from one to the next.
    pub(super) start: usize,
    pub(super) stride: usize,
    /// What producers know of each side buffer, and what the others do: a [`note`]. Empty if all
    /// memory was taken when the ring was made, or there is nobody who could know anything.
    written: Vec<AtomicU64>,
    read: Vec<AtomicU64>,
}

/// What is noted of a buffer: how many pages of 4096 bytes it was seen to have, and the count of
/// that moment.
pub(super) const fn note(count: u64, pages: usize) -> u64 {
    count << 32 | pages as u64
}

/// Whether a note says that a buffer has so many pages while the count is this.
pub(super) const fn says(note: u64, count: u64, pages: usize) -> bool {
    note >> 32 == count & u32::MAX as u64 && pages as u64 <= note & u32::MAX as u64
}

impl Backed {
    pub(super) fn new(
        geometry: &Geometry,
        lane: usize,
        has_producers: bool,
        all_taken: bool,
    ) -> Result<Self, RingError> {
        let (part, settings) = (geometry.part(lane), geometry.settings.of_lane(lane));
        let count = if all_taken || settings.side_size() == 0 { 0 } else { settings.capacity };
        let notes = |count: usize| -> Result<Vec<AtomicU64>, RingError> {
            let mut notes = Vec::new();
            let no_memory = RingError::OutOfMemory { bytes: count * size_of::<AtomicU64>() };
            notes.try_reserve_exact(count).map_err(|_| no_memory)?;
            notes.resize_with(count, || AtomicU64::new(0));
            Ok(notes)
        };
        let written = notes(if has_producers { count } else { 0 })?;
        let read = notes(count)?;
        Ok(Self { start: part.sides, stride: part.side_stride, written, read })
    }

    pub(super) fn notes(&self, purpose: Purpose) -> &[AtomicU64] {
        match purpose {
            Purpose::Write => &self.written,
            Purpose::Read => &self.read,
        }
    }

    /// The bytes of `count` buffers from `first` on.
    pub(super) fn bytes_of(&self, first: usize, count: usize) -> Range<usize> {
        let begin = self.start + first * self.stride;
        begin..begin + count * self.stride
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_note_holds_for_its_count_and_for_no_more_pages() {
        let noted = note(7, 3);
        assert!(says(noted, 7, 3) && says(noted, 7, 0));
        assert!(!says(noted, 7, 4) && !says(noted, 8, 3) && !says(noted, 6, 1));
        // What was never taken is not there at first either, but nothing of it.
        assert!(!says(0, 0, 1) && says(0, 0, 0));
        let most = note(u64::from(u32::MAX), 1 << 18);
        assert!(says(most, u64::from(u32::MAX), 1 << 18) && !says(most, 0, 1));
        assert!(says(note((1 << 32) + 1, 2), (1 << 32) + 1, 2));
    }
}
