//! What a guard shows of the message that it holds.

use core::fmt;

#[cfg(feature = "alloc")]
use alloc::vec::Vec;

use crate::message::Message;

/// What a guard shows of its message. It is in the handle, so that a guard is one word, which stays
/// in a register. A guard that is moved through memory is read in wider pieces than it was written
/// in, and such a read waits for all earlier stores.
pub(super) struct Shown {
    /// What is in the slot.
    pub(super) message: Message,
    pub(super) place: Bytes,
    pub(super) taken_at: u64,
}

impl Shown {
    pub(super) const NOTHING: Self =
        Self { message: Message::NOTHING, place: Bytes::Slot, taken_at: 0 };

    pub(super) fn message(&self) -> &Message {
        &self.message
    }

    /// When the held messages were taken, in ticks; 0 if none of them carries a timestamp.
    pub(super) fn taken_at(&self) -> u64 {
        self.taken_at
    }

    /// Marks the message as one that has come late.
    #[cfg(feature = "alloc")]
    pub(super) fn mark_late(&mut self) {
        self.message.mark_late();
    }

    pub(super) fn set_taken_at(&mut self, now: u64) {
        self.taken_at = now;
    }
}

/// Without the message, which is of no interest in a handle's output.
impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").field("position", &self.message.position()).finish_non_exhaustive()
    }
}

/// Where the bytes of a borrowed message are.
pub(super) enum Bytes {
    /// In the handle, copied from the slot.
    Slot,
    /// In the side buffer.
    Side,
    /// On the heap, copied from a side buffer whose hold may be ignored.
    #[cfg(feature = "alloc")]
    Copy(Vec<u8>),
}
