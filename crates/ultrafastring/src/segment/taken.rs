//! How much memory the side buffers of a file take, and how much there is for more.

use core::ops::Range;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::file::{entries_used, touched_at_once};
use super::mapping::Mapping;
use crate::layout::areas::HISTOGRAM_SIZE;
use crate::layout::header::Geometry;

/// The unit of `st_blocks`, whatever the file system.
const BLOCK: u64 = 512;

/// Of so many pieces of the histograms it is found out whether they take memory; then they are
/// taken to.
const MOST_PIECES: usize = 1 << 12;

/// The memory of a ring's side buffers: see [`RingView::side_memory`].
///
/// [`RingView::side_memory`]: crate::RingView::side_memory
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SideMemoryInfo {
    /// Bytes of all side buffers, of all lanes.
    pub size: u64,
    /// Bytes of memory that they take now. What consumed messages took is used again, and given
    /// back only if there is none for another message.
    pub taken: u64,
    /// Bytes that the file system can still give, to this ring or another file; `None` if it has no
    /// limit, as that of anonymous rings.
    pub free: Option<u64>,
    /// Bytes of the largest message of any lane: what one more may need.
    pub largest: u64,
}

impl SideMemoryInfo {
    /// Whether there may be no memory for the next message: less is free than the largest takes,
    /// and some side buffers have no memory yet.
    pub fn is_short(&self) -> bool {
        self.free.is_some_and(|free| free < self.largest) && self.taken < self.size
    }
}

impl Geometry {
    /// Where the side buffers of all lanes are; `None` if there are none.
    pub(super) fn all_sides(&self) -> Option<Range<usize>> {
        let of_lane = |lane| {
            let (part, settings) = (self.part(lane), self.settings.of_lane(lane));
            let end = part.sides + settings.capacity * part.side_stride;
            (settings.side_size() != 0).then_some(part.sides..end)
        };
        let together = |one: Range<usize>, other: Range<usize>| {
            one.start.min(other.start)..one.end.max(other.end)
        };
        (0..self.lanes()).filter_map(of_lane).reduce(together)
    }
}

impl Mapping {
    /// The memory of the side buffers; `None` if there are none, or it cannot be found out.
    pub(crate) fn side_memory(&self) -> Option<SideMemoryInfo> {
        let geometry = self.geometry();
        let sides = geometry.all_sides()?;
        let file = self.file().ok()?;
        let all =
            u64::try_from(rustix::fs::fstat(file).ok()?.st_blocks).ok()?.checked_mul(BLOCK)?;
        let used = |lane| entries_used(&self.files.segment, geometry, lane);
        let others = touched_at_once(geometry, used).iter().map(Range::len).sum::<usize>() as u64;
        let system = rustix::fs::fstatvfs(file).ok()?;
        // Zero blocks means a tmpfs without a limit.
        let free = (system.f_blocks != 0).then(|| system.f_bavail.saturating_mul(system.f_frsize));
        let size = sides.len() as u64;
        let largest = (0..geometry.lanes()).map(|lane| geometry.settings.of_lane(lane).side_size());
        Some(SideMemoryInfo {
            size,
            taken: all.saturating_sub(others).saturating_sub(self.taken_by_histograms()).min(size),
            free,
            largest: largest.max().unwrap_or(0) as u64,
        })
    }

    /// Bytes that the histograms take, whose rows get memory when they are first used.
    fn taken_by_histograms(&self) -> u64 {
        let geometry = self.geometry();
        let rows = geometry.histograms() * geometry.lanes();
        let Ok(file) = self.file() else { return 0 };
        let mut at = geometry.offsets().histograms as u64;
        let end = at + (rows * HISTOGRAM_SIZE) as u64;
        // Nobody reads or writes where the description stands.
        let seek = |whence| match rustix::fs::seek(file, whence) {
            Ok(found) => Some(found.min(end)),
            // Behind the last that has memory.
            Err(Errno::NXIO) => Some(end),
            Err(_) => None,
        };
        let mut taken = 0;
        for _ in 0..MOST_PIECES {
            if at >= end {
                return taken;
            }
            let Some(data) = seek(SeekFrom::Data(at)) else { break };
            let Some(hole) = seek(SeekFrom::Hole(data)) else { break };
            taken += hole.saturating_sub(data);
            at = hole;
        }
        taken + end.saturating_sub(at)
    }
}
