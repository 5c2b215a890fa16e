//! Races for a position: what a handle of a shared side does after it lost one.
//!
//! A claim takes the head's cache line from the core that claimed last. If two handles claim in
//! turn, the line bounces with every message. So the loser pauses, and the pause doubles with each
//! race that its call loses. Meanwhile the winner keeps the line. Then the loser re-reads the head,
//! since the position it saw is taken.

use crate::prefetch::prefetch_write;
use crate::sync::{AtomicU64, Ordering};

/// After this many lost races in one claim, a call gives up, as if the ring were full or empty.
/// Each try is for where the head was a moment before. Honest peers would have to be faster this
/// many times in a row. Only a peer that keeps rewriting the head causes so many.
pub(crate) const MOST_LOST: u32 = 1 << 8;

/// Half of the pauses after the first lost race. They take 200 to 600 ticks, depending on the
/// processor's `pause`.
const PAUSES: u32 = 4;

/// After this many doublings the pause stays the same: 3,000 to 9,000 ticks, in which the winner
/// handles about fifty messages.
const MOST_DOUBLINGS: u32 = 5;

/// Pauses after a call has lost `lost` races for `head`, and returns where it is then.
pub(crate) fn back_off(lost: u32, head: &AtomicU64) -> u64 {
    // Not in the model, where no time passes and a pause only lets the others run.
    if !cfg!(loom) {
        for _ in 0..PAUSES << lost.min(MOST_DOUBLINGS) {
            core::hint::spin_loop();
        }
        // The line is fetched for writing at once, so that the claim has most of the line's travel
        // time to be the next one.
        prefetch_write(head);
    }
    // Relaxed: the claim's exchange decides. An old value only loses one more race.
    head.load(Ordering::Relaxed)
}
