//! How often a thread looks at a segment, counted in the fuzzer's build only. A call that looks too
//! often panics at that place, instead of taking long.

use core::cell::Cell;

std::thread_local! {
    static LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
}

/// Lets this thread look this many times from now on. One look more panics.
pub fn allow(looks: u64) {
    LEFT.set(looks);
}

/// How many looks this thread has left.
pub fn left() -> u64 {
    LEFT.get()
}

/// Counts one.
#[inline]
pub(crate) fn count() {
    match LEFT.get() {
        0 => {
            // Drops during the panic may look any number of times.
            LEFT.set(u64::MAX);
            panic!("a call goes on for too long");
        }
        left => LEFT.set(left - 1),
    }
}
