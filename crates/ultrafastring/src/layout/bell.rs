//! The words that the sleepers of a side share with their wakers.

use crate::sync::{AtomicU32, AtomicU64};

/// What wakes the sleepers of one side; see [`waiting`](crate::waiting) for the protocol. It has
/// cache lines of its own, which nobody writes while nobody sleeps, because the busy side reads
/// `state` after each message (producers) or grant (consumers).
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub(crate) struct Bell {
    /// The bits below.
    pub(crate) state: AtomicU32,
    /// The number of wake-ups, and the word on which sleepers wait in the kernel.
    pub(crate) wakes: AtomicU32,
    /// In the consumers' bell of a ring made for groups, and instead of `state`: a bit for each
    /// row of the table of groups (bits 0 to 55) whose members sleep, and above them the bits of
    /// `state`, moved up by 56. So a producer looks at one word, whatever the number of groups.
    #[allow(dead_code, reason = "a plain ring has one group, which sleeps by `state`")]
    pub(crate) groups: AtomicU64,
    _room: [u64; 14],
    /// In the model, what the kernel knows.
    #[cfg(loom)]
    pub(crate) queue: crate::sync::Queue,
}

impl Bell {
    /// Armed: a participant of this side sleeps, or is about to.
    pub(crate) const ASLEEP: u32 = 1;
    /// In the consumers' bell, for an exclusive producer: the ring is closed.
    pub(crate) const CLOSED: u32 = 2;
    /// A participant cannot use `membarrier`, so the busy side fences before it looks.
    pub(crate) const FENCES: u32 = 4;
}
