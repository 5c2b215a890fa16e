//! Races for a position: what a handle of a shared side does that lost one.
//!
//! Who tries to claim takes the head's line from the core that claimed last. Two that do so in turn
//! wait for a line's way there and back with every message. So the loser stays away for a moment that
//! doubles with each race that its call loses, and the winner goes on with the line at hand. Then the
//! loser looks where the head is by then, for what it saw before is gone.

use crate::prefetch::prefetch_write;
use crate::sync::{AtomicU64, Ordering};

/// A call gives up, as if the ring were full or empty, after so many races lost in one claim. Each is
/// for where the head was a moment before, so honest peers would have to be quicker by that moment so
/// many times in a row; one that rewrites the head for ever gets so far.
pub(crate) const MOST_LOST: u32 = 1 << 8;

/// Half of the pauses after the first lost race: they are some 200 ticks to 600, as long as a
/// processor's pause is.
const PAUSES: u32 = 4;

/// From then on there are no more: 3,000 ticks to 9,000, in which the winner takes its turn of some
/// fifty messages.
const MOST_DOUBLINGS: u32 = 5;

/// Stays away from `head` after a call has lost `lost` races for it, and says where it is then.
pub(crate) fn back_off(lost: u32, head: &AtomicU64) -> u64 {
    // No time passes in the model, where a pause would be a chance for the others to run.
    if !cfg!(loom) {
        for _ in 0..PAUSES << lost.min(MOST_DOUBLINGS) {
            core::hint::spin_loop();
        }
        // Taken for the claim at once, which then has most of a line's way to be the next.
        prefetch_write(head);
    }
    // Relaxed: the claim's exchange decides; a value out of date loses one more race.
    head.load(Ordering::Relaxed)
}
