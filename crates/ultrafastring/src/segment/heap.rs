//! A segment on the heap, for threads of one process.

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use core::ptr::NonNull;

use crate::error::RingError;
use crate::layout::areas::PAGE;
use crate::layout::header::Geometry;
use crate::settings::SideMemory;

/// The alignment asked of the allocator. It is not a page: beyond an alignment of their own,
/// allocators do not know that fresh memory is zero, and fill all of it. Side buffers must not cost
/// that.
const ALIGN: usize = 16;

/// Owned memory.
#[derive(Debug)]
pub(super) struct HeapMemory {
    /// The allocated address.
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it is owned memory, and all accesses go through `Segment`.
unsafe impl Send for HeapMemory {}
// SAFETY: as above.
unsafe impl Sync for HeapMemory {}

impl Drop for HeapMemory {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and this is its only owner.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

impl HeapMemory {
    /// Memory for a segment of this geometry, and the page boundary at which it begins.
    pub(super) fn new(
        geometry: &Geometry,
        side_memory: SideMemory,
    ) -> Result<(NonNull<u8>, Self), RingError> {
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
        // SAFETY: `align_offset` of bytes is less than a page, and one page more was allocated.
        let base = unsafe { start.add(start.align_offset(PAGE)) };
        if side_memory == SideMemory::Preallocated {
            for page in (offsets.sides..offsets.end).step_by(PAGE) {
                // SAFETY: within the memory, which only this function has yet. Volatile, because
                // the write is there to touch the page.
                unsafe { base.add(page).write_volatile(0) };
            }
        }
        Ok((base, Self { start, layout }))
    }
}
