//! The atomics that every other module uses: the machine's, or loom's when the crate is built
//! with `--cfg loom` to have all interleavings tried.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Loads `word` as by Acquire, for whoever only looks and may have mapped the memory without the right
/// to write to it: of all loads from such memory the standard library allows Relaxed ones alone
/// (`core::sync::atomic`, "Atomic accesses to read-only memory"). The fence after it pairs with
/// whatever releases the value that was read.
pub(crate) fn look_at(word: &AtomicU64) -> u64 {
    let seen = word.load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    seen
}

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
