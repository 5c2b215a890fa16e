//! The atomics that every other module uses: the machine's, or loom's when the crate is built
//! with `--cfg loom` to have all interleavings tried.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Raises `word` to `least` if it is less, and says what it was: `fetch_max`, which the thread
/// sanitizer does not see (LLVM's instruments no atomic maximum, so what it orders looks like a
/// race); under `--cfg tsan` it is a loop that it does see.
#[inline(always)]
pub(crate) fn raise(word: &AtomicU64, least: u64, ordering: Ordering) -> u64 {
    if cfg!(tsan) {
        let raised = |now: u64| Some(now.max(least));
        word.fetch_update(ordering, Ordering::Relaxed, raised).unwrap_or_else(|now| now)
    } else {
        word.fetch_max(least, ordering)
    }
}
