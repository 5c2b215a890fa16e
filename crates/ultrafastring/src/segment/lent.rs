//! Memory that the caller lends for ever, for programs without an allocator.

use core::ptr::NonNull;

use super::{Backing, Segment};
use crate::error::RingError;
use crate::layout::areas::PAGE;
use crate::layout::header::Geometry;

/// A page of memory to lend to a ring; see
/// [`Builder::lent`](crate::Builder::lent).
#[derive(Clone, Copy, Debug)]
#[repr(C, align(4096))]
pub struct Page([u8; PAGE]);

impl Page {
    /// A page of zeros.
    pub const ZERO: Self = Self([0; PAGE]);
}

impl Segment {
    /// A new segment in `memory`, of which it uses as much as it needs.
    pub(crate) fn lent(memory: &'static mut [Page], geometry: Geometry) -> Result<Self, RingError> {
        geometry.validate()?;
        let bytes = geometry.offsets().end;
        if size_of_val(memory) < bytes {
            return Err(RingError::OutOfMemory { bytes });
        }
        // Only what was written into a side buffer is ever read.
        memory[..geometry.offsets().sides / PAGE].fill(Page::ZERO);
        // SAFETY: borrowed mutably for ever, so nobody else reaches it; it is long enough, zeroed,
        // and aligned as `Page` is.
        Ok(unsafe { Self::from_base(NonNull::from(memory).cast(), geometry, Backing::Lent) })
    }

    /// The segment in `memory`, only for looking.
    ///
    /// # Safety
    ///
    /// `memory` is as long as `geometry` says, and nothing is written to it.
    #[cfg(all(test, feature = "std", not(loom)))]
    pub(crate) unsafe fn read_only(memory: *const Page, geometry: Geometry) -> Self {
        let base = NonNull::new(memory.cast_mut()).expect("memory").cast();
        // SAFETY: long enough, as the caller says, initialised, and aligned as `Page` is. An
        // `Observer` does not write.
        unsafe { Self::from_base(base, geometry, Backing::Lent) }
    }
}
