//! A segment on the heap, for threads of one process.

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use alloc::sync::Arc;
use core::ptr::NonNull;

use super::{Backing, Segment};
use crate::RingError;
use crate::layout::{Geometry, PAGE, SideMemory};

/// What the allocator is asked to align. A page would be asking for trouble: allocators know memory
/// that is zero because it was never touched only up to an alignment of their own, and fill all of
/// it beyond, which side buffers must not cost.
const ALIGN: usize = 16;

/// Owned memory.
#[derive(Debug)]
pub(super) struct HeapMemory {
    /// As allocated.
    start: NonNull<u8>,
    layout: Layout,
    /// The first page boundary in it.
    #[cfg(feature = "std")]
    base: NonNull<u8>,
}

// SAFETY: it is memory, owned; what is done with it goes through `Segment`.
unsafe impl Send for HeapMemory {}
// SAFETY: as above.
unsafe impl Sync for HeapMemory {}

impl Drop for HeapMemory {
    fn drop(&mut self) {
        // SAFETY: allocated in `Segment::heap` with this layout, and this is its only owner.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

#[cfg(feature = "std")]
impl HeapMemory {
    /// Asks for huge pages for what lies from `offset` on; advice.
    pub(super) fn advise_huge_pages(&self, offset: usize) {
        // SAFETY: from the base on there are all bytes of the layout but less than a page, which
        // are rounded off; what they hold stays as it is.
        let _ = unsafe {
            rustix::mm::madvise(
                self.base.as_ptr().add(offset).cast(),
                (self.layout.size() - PAGE).saturating_sub(offset),
                rustix::mm::Advice::LinuxHugepage,
            )
        };
    }
}

impl Segment {
    /// A new segment on the heap.
    pub(crate) fn heap(geometry: Geometry, side_memory: SideMemory) -> Result<Self, RingError> {
        geometry.validate()?;
        let offsets = geometry.offsets();
        let bytes = offsets.end;
        let no_memory = RingError::OutOfMemory { bytes };
        let layout = bytes.checked_add(PAGE).map(|all| Layout::from_size_align(all, ALIGN));
        let Some(Ok(layout)) = layout else { return Err(no_memory) };
        // SAFETY: a geometry's size is never zero.
        let Some(start) = NonNull::new(unsafe { alloc_zeroed(layout) }) else {
            return Err(no_memory);
        };
        // SAFETY: `align_offset` of bytes gives less than a page, which was allocated in addition.
        let base = unsafe { start.add(start.align_offset(PAGE)) };
        let memory = Arc::new(HeapMemory {
            start,
            layout,
            #[cfg(feature = "std")]
            base,
        });
        if side_memory == SideMemory::Preallocated {
            for page in (offsets.sides..offsets.end).step_by(PAGE) {
                // SAFETY: within the memory, which is this function's own as yet. Volatile: it is
                // done for the touch.
                unsafe { base.add(page).write_volatile(0) };
            }
        }
        // SAFETY: allocated, zeroed and aligned just now, and owned by `memory` alone.
        Ok(unsafe { Self::from_base(base, geometry, Backing::Heap(memory)) })
    }
}
