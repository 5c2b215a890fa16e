//! Which sizes of messages a caller has room for, and where they go.

use core::mem::MaybeUninit;

use crate::error::RecvError;

/// Which sizes a caller has room for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    bytes: usize,
    exactly: bool,
}

impl Room {
    /// Any size.
    pub(crate) const ANY: Self = Self::up_to(usize::MAX);

    #[inline(always)]
    pub(crate) const fn up_to(bytes: usize) -> Self {
        Self { bytes, exactly: false }
    }

    /// Exactly this size.
    #[cfg(feature = "zerocopy")]
    #[inline(always)]
    pub(crate) const fn exactly(bytes: usize) -> Self {
        Self { bytes, exactly: true }
    }

    #[inline(always)]
    pub(crate) const fn fits(self, size: usize) -> bool {
        size <= self.bytes && (!self.exactly || size == self.bytes)
    }

    /// What to tell the caller about a message of a `size` that does not fit.
    pub(crate) const fn refusal(self, size: usize) -> RecvError {
        if self.exactly {
            RecvError::WrongSize { size, expected: self.bytes }
        } else {
            RecvError::BufferTooSmall { needed: size, available: self.bytes }
        }
    }
}

/// Bytes to write to. Only initialised values are written.
#[inline(always)]
pub(crate) fn as_uninit(bytes: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    // SAFETY: the same bytes for the same lifetime. This crate writes only initialised values into
    // them.
    unsafe { &mut *(core::ptr::from_mut(bytes) as *mut [MaybeUninit<u8>]) }
}
