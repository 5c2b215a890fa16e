//! A segment on the heap, for threads of one process.

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use alloc::sync::Arc;
use core::ptr::NonNull;

use super::{Backing, Segment};
use crate::RingError;
use crate::layout::{Geometry, PAGE};

/// Owned memory.
#[derive(Debug)]
pub(super) struct HeapMemory {
    base: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it is memory, owned; what is done with it goes through `Segment`.
unsafe impl Send for HeapMemory {}
// SAFETY: as above.
unsafe impl Sync for HeapMemory {}

impl Drop for HeapMemory {
    fn drop(&mut self) {
        // SAFETY: allocated in `Segment::heap` with this layout, and this is its only owner.
        unsafe { dealloc(self.base.as_ptr(), self.layout) }
    }
}

impl Segment {
    /// A new segment on the heap.
    pub(crate) fn heap(geometry: Geometry) -> Result<Self, RingError> {
        geometry.validate()?;
        let bytes = geometry.offsets().end;
        let no_memory = RingError::OutOfMemory { bytes };
        let Ok(layout) = Layout::from_size_align(bytes, PAGE) else { return Err(no_memory) };
        // SAFETY: a geometry's size is never zero.
        let Some(base) = NonNull::new(unsafe { alloc_zeroed(layout) }) else {
            return Err(no_memory);
        };
        let memory = Arc::new(HeapMemory { base, layout });
        // SAFETY: allocated, zeroed and aligned just now, and owned by `memory` alone.
        Ok(unsafe { Self::from_base(base, geometry, Backing::Heap(memory)) })
    }
}
