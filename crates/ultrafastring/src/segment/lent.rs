//! A segment in memory that the caller lends for ever: for programs without an allocator.

use core::ptr::NonNull;

use super::{Backing, Segment};
use crate::RingError;
use crate::layout::{Geometry, PAGE};

/// A page of memory to lend to a ring; see
/// [`Builder::lent`](crate::Builder::lent).
#[derive(Clone, Copy, Debug)]
#[repr(C, align(4096))]
pub struct Page([u8; PAGE]);

impl Page {
    /// A page of zeros.
    pub const ZERO: Self = Self([0; PAGE]);
}

#[cfg(all(test, feature = "std"))]
impl Segment {
    /// The segment that is in `memory`, to look at and nothing else.
    ///
    /// # Safety
    ///
    /// `memory` is as long as `geometry` says, and nothing is written to it.
    pub(crate) unsafe fn read_only(memory: *const Page, geometry: Geometry) -> Self {
        let base = NonNull::new(memory.cast_mut()).expect("memory").cast();
        // SAFETY: long enough, as the caller says, initialised, and aligned as `Page` is; whoever
        // has an `Observer` of it does not write.
        unsafe { Self::from_base(base, geometry, Backing::Lent) }
    }
}

impl Segment {
    /// A new segment in `memory`, as much of it as it takes.
    pub(crate) fn lent(memory: &'static mut [Page], geometry: Geometry) -> Result<Self, RingError> {
        geometry.validate()?;
        let bytes = geometry.offsets().end;
        if size_of_val(memory) < bytes {
            return Err(RingError::OutOfMemory { bytes });
        }
        // Nothing is read of a side buffer but what was written into it.
        memory[..geometry.offsets().sides / PAGE].fill(Page::ZERO);
        let base = NonNull::from(memory).cast();
        // SAFETY: borrowed mutably for ever, so nobody else reaches it; long enough, zeroed, and
        // aligned as `Page` is.
        Ok(unsafe { Self::from_base(base, geometry, Backing::Lent) })
    }
}
