//! The atomics that every other module uses: the machine's, or loom's with `--cfg loom`, which
//! tries all interleavings.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// In the model, what the kernel knows about sleepers on a word.
#[cfg(loom)]
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) lock: loom::sync::Mutex<()>,
    pub(crate) condition: loom::sync::Condvar,
}

/// Loads `word` as by Acquire, for code that only looks and may have mapped the memory read-only.
/// The standard library allows only Relaxed loads of such memory (`core::sync::atomic`, "Atomic
/// accesses to read-only memory"). The fence after the load pairs with the release of the value
/// that was read.
pub(crate) fn look_at(word: &AtomicU64) -> u64 {
    let seen = word.load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    seen
}

/// Raises `word` to `least` if it is less, and returns what it was: `fetch_max`. Under `--cfg tsan`
/// it is a loop, because LLVM's thread sanitizer instruments no atomic maximum, and what it orders
/// would look like a race.
#[inline(always)]
pub(crate) fn raise(word: &AtomicU64, least: u64, ordering: Ordering) -> u64 {
    if cfg!(tsan) {
        let raised = |now: u64| Some(now.max(least));
        word.fetch_update(ordering, Ordering::Relaxed, raised).unwrap_or_else(|now| now)
    } else {
        word.fetch_max(least, ordering)
    }
}

/// Lets others go on for a moment, where there is no system to sleep in.
#[cfg(not(feature = "std"))]
pub(crate) fn pause() {
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(not(loom))]
    core::hint::spin_loop();
}
