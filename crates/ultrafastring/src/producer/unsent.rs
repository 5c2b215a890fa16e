//! The place of a message that is written in place, before it is sent.

use core::fmt;

use crate::layout::slot::INLINE_SIZE;

/// The bytes of a message that is not sent yet.
#[derive(Clone, Copy)]
pub(super) struct Unsent(pub(super) [u8; INLINE_SIZE]);

impl Default for Unsent {
    #[inline(always)]
    fn default() -> Self {
        Self([0; INLINE_SIZE])
    }
}

/// Without the bytes, which are of no interest in a handle's output.
impl fmt::Debug for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unsent").finish_non_exhaustive()
    }
}
