//! Noticing that this process was forked: what the parent opened is the parent's.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

static GENERATION: AtomicU64 = AtomicU64::new(0);

extern "C" fn in_child() {
    // Relaxed: it changes in a child that has one thread, before `fork` returns there.
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// Counts forks from now on.
pub(crate) fn notice() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: `in_child` adds to a number, which any child may do. Where the C library has no
        // memory to note it, a child that uses its parent's handles is told so by the core only.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

/// How often this process and its ancestors were forked.
#[inline(always)]
pub(crate) fn generation() -> u64 {
    // Relaxed: see `in_child`.
    GENERATION.load(Ordering::Relaxed)
}
