//! Races for a position: what a handle of a shared side does that lost one.
//!
//! Who tries to claim takes the head's line from the core that claimed last. Two that do so in turn
//! wait for a line's way there and back with every message. So the loser stays away for a moment that
//! doubles with each race it loses, and the winner goes on with the line at hand.

/// A call that sends gives up, as if the ring were full, after so many races lost in one claim.
/// Honest peers that win them send a message each; only one that rewrites the head for ever gets so
/// far.
pub(crate) const MOST_LOST: u32 = 1 << 8;

/// Pauses at most: from 1,500 ticks to some 9,000, as long as a processor's pause is.
const MOST_PAUSES: u32 = 64;

/// Stays away after having lost `lost` races since the last that was won.
#[cold]
#[inline(never)]
pub(crate) fn back_off(lost: u32) {
    let pauses = 1_u32.checked_shl(lost).map_or(MOST_PAUSES, |pauses| pauses.min(MOST_PAUSES));
    // No time passes in the model, where a pause is a chance for the others to run.
    if !cfg!(loom) {
        for _ in 0..pauses {
            core::hint::spin_loop();
        }
    }
}
