//! The atomics that every other module uses: the machine's, or loom's when the crate is built
//! with `--cfg loom` to have all interleavings tried.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
