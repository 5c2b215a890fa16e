//! How often a thread looks at a segment, counted for the fuzzer and for nobody else: a call that
//! looks too often fails where it does so, instead of taking long.

use core::cell::Cell;

std::thread_local! {
    static LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
}

/// Lets this thread look so many times from now on; the next look panics.
pub fn allow(looks: u64) {
    LEFT.set(looks);
}

/// How many looks are left to this thread.
pub fn left() -> u64 {
    LEFT.get()
}

/// Counts one.
#[inline]
pub(crate) fn count() {
    match LEFT.get() {
        0 => {
            // What is dropped on the way out may look as often as it must.
            LEFT.set(u64::MAX);
            panic!("a call goes on for too long");
        }
        left => LEFT.set(left - 1),
    }
}
