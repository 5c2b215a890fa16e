//! Patience: what a call does besides when it finds nothing, and how often it may be led to another
//! position.

use crate::coalesce::CoalesceMode;
use crate::threshold::STUCK;

/// A consumer that finds nothing looks around (makes a delayed grant, reads the clock) once in this
/// many calls, a power of two. The other calls end at once. A consumer whose calls are far apart
/// looks around in each.
const CALLS_PER_LOOK: u32 = 8;

/// How often a consumer pauses when messages come fast and the next is not there yet. A look at a
/// line that is just being written takes it away from the producer. These pauses take 46 to 140
/// ticks, depending on the processor, and end when a stream stops.
const LAG_PAUSES: u32 = 2;

/// A *detour* leads a call to another position: a lost race, an abandoned slot, a head that has
/// moved. After this many detours plus twice the capacity without a message, a call reports
/// `Empty`. Honest peers make progress meanwhile. Only a peer that keeps rewriting counters and
/// sequences causes so many.
const MOST_DETOURS: u64 = 1 << 12;

/// A call with a deadline reads the clock once in this many detours, a power of two. They take
/// about as long as some clock readings, or a few milliseconds if each is a lost race.
#[cfg(any(feature = "std", loom))]
const DETOURS_PER_CLOCK: u64 = 1 << 8;

/// What a consumer knows about how long it has found nothing.
#[derive(Debug)]
pub(super) struct Patience {
    /// Calls that found nothing.
    fruitless: u32,
    /// How often a call that finds nothing pauses.
    pauses: u32,
    /// It looks around when these bits of `fruitless` are zero.
    look_mask: u32,
    /// When it last looked around, in ticks.
    looked_at: u64,
    /// The position at which nothing was found by the last look around.
    found_nothing_at: u64,
    /// Since when nothing was found there, in ticks.
    stuck_since: u64,
    /// After this many ticks it looks for dead participants.
    stuck_after: u64,
    /// Where the release frontier of a shared side stands still, and since when in ticks.
    behind: (u64, u64),
    /// Detours since `detours_since`, which is how many messages had been received then.
    detours: u64,
    detours_since: u64,
    /// The most detours allowed.
    most_detours: u64,
    /// Whether none is allowed now.
    stays: bool,
}

impl Patience {
    /// For a ring of `capacity` slots. Thresholds are settled.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            fruitless: 0,
            pauses: 0,
            look_mask: CALLS_PER_LOOK - 1,
            looked_at: 0,
            found_nothing_at: u64::MAX,
            stuck_since: 0,
            stuck_after: STUCK.ticks(),
            behind: (u64::MAX, 0),
            detours: 0,
            detours_since: 0,
            most_detours: MOST_DETOURS + 2 * capacity as u64,
            stays: false,
        }
    }

    /// How many calls have found nothing.
    #[inline(always)]
    pub(super) fn fruitless(&self) -> u32 {
        self.fruitless
    }

    /// Counts a call that found nothing, and returns whether it looks around.
    #[inline(always)]
    pub(super) fn note_fruitless(&mut self) -> bool {
        self.fruitless = self.fruitless.wrapping_add(1);
        self.fruitless & self.look_mask == 0
    }

    /// Leaves the next line to its producer for a moment, while messages come fast.
    #[inline(always)]
    pub(super) fn pause(&self) {
        for _ in 0..self.pauses {
            core::hint::spin_loop();
        }
    }

    /// Decides whether calls that find nothing pause.
    #[inline(always)]
    pub(super) fn adapt(&mut self, mode: CoalesceMode) {
        self.pauses = if mode == CoalesceMode::Aggressive { LAG_PAUSES } else { 0 };
    }

    /// The stream has stopped, so the next message is not kept waiting.
    pub(super) fn stop_pauses(&mut self) {
        self.pauses = 0;
    }

    /// Notes a look around at `now` that finds nothing at `position`. Returns whether the last one
    /// found nothing there either.
    #[inline]
    pub(super) fn is_still_at(&mut self, position: u64, now: u64) -> bool {
        let sparse = self.is_long(self.looked_at, now);
        self.look_mask = if sparse { 0 } else { CALLS_PER_LOOK - 1 };
        self.looked_at = now;
        let still = position == self.found_nothing_at;
        if !still {
            self.found_nothing_at = position;
            self.stuck_since = now;
        }
        still
    }

    /// Whether nothing was found there for so long that a dead peer may be in the way. It returns
    /// `true` once in that time.
    #[inline]
    pub(super) fn is_stuck(&mut self, now: u64) -> bool {
        let stuck = self.is_long(self.stuck_since, now);
        if stuck {
            self.stuck_since = now;
        }
        stuck
    }

    /// Whether the frontier has stood still at `tail`, behind `head`, for long.
    #[inline]
    pub(super) fn is_held_back(&mut self, (tail, head): (u64, u64), now: u64) -> bool {
        let still = tail < head && tail == self.behind.0;
        let held_back = still && self.is_long(self.behind.1, now);
        if !still || held_back {
            self.behind = (tail, now);
        }
        held_back
    }

    /// Whether it is long since `since`.
    #[inline]
    fn is_long(&self, since: u64, now: u64) -> bool {
        // Wrapping, so a clock that was set back is a reason to look. Never in a model, which must
        // not depend on the clock.
        now.wrapping_sub(since) > self.stuck_after && !cfg!(loom)
    }

    /// Counts a detour, after this many messages `received`.
    #[inline]
    pub(super) fn note_detour(&mut self, received: u64) {
        if self.detours_since != received {
            self.detours_since = received;
            self.detours = 0;
        }
        self.detours += 1;
    }

    /// Whether a call with a deadline should read the clock now.
    #[cfg(any(feature = "std", loom))]
    pub(super) fn asks_the_clock(&self) -> bool {
        self.detours.is_multiple_of(DETOURS_PER_CLOCK)
    }

    /// Whether there were too many detours. If so, the count starts again.
    #[inline]
    pub(super) fn is_exhausted(&mut self) -> bool {
        let exhausted = self.detours > self.most_detours || self.stays;
        if exhausted {
            self.detours = 0;
        }
        exhausted
    }

    /// Whether calls end at their first detour from now on: what a call takes is at the position
    /// where it begins.
    #[cfg(feature = "alloc")]
    pub(super) fn stay(&mut self, stays: bool) {
        self.stays = stays;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn patience() -> Patience {
        Patience { stuck_after: 100, ..Patience::new(8) }
    }

    #[test]
    fn one_in_eight_calls_looks_around_and_each_if_they_are_far_apart() {
        let mut patience = patience();
        let looks = |it: &mut Patience| (0..80).filter(|_| it.note_fruitless()).count();
        assert_eq!(looks(&mut patience), 10);
        patience.is_still_at(0, 1_000);
        assert_eq!(looks(&mut patience), 80);
        patience.is_still_at(0, 1_010);
        assert_eq!(looks(&mut patience), 10);
    }

    #[test]
    fn who_finds_nothing_at_one_position_for_long_is_stuck_once_in_that_time() {
        let mut patience = patience();
        let mut look =
            |position, now| (patience.is_still_at(position, now), patience.is_stuck(now));
        assert_eq!(look(7, 1_000), (false, false));
        assert_eq!(look(7, 1_100), (true, false));
        assert_eq!(look(7, 1_101), (true, true));
        assert_eq!(look(7, 1_201), (true, false));
        assert_eq!(look(8, 1_302), (false, false));
        assert_eq!(look(8, 1_300), (true, true), "the clock was set back");
    }

    #[test]
    fn a_frontier_is_held_back_that_stands_still_behind_the_head_for_long() {
        let mut patience = patience();
        assert!(!patience.is_held_back((3, 5), 1_000));
        assert!(!patience.is_held_back((3, 6), 1_100));
        assert!(patience.is_held_back((3, 6), 1_101));
        assert!(!patience.is_held_back((3, 6), 1_102));
        assert!(!patience.is_held_back((4, 6), 1_300));
        assert!(!patience.is_held_back((6, 6), 1_500));
    }

    #[test]
    fn detours_are_counted_anew_after_each_message() {
        let mut patience = patience();
        let most = MOST_DETOURS + 16;
        for received in 0..2 {
            for _ in 0..most {
                patience.note_detour(received);
                assert!(!patience.is_exhausted());
            }
        }
        patience.note_detour(1);
        assert!(patience.is_exhausted());
        assert!(!patience.is_exhausted());
        #[cfg(feature = "alloc")]
        {
            patience.stay(true);
            patience.note_detour(1);
            assert!(patience.is_exhausted(), "none is allowed");
        }
    }
}
