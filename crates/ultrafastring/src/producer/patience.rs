//! Patience: what a producer without credit does before its call is refused.

use crate::layout::group::Membership;
use crate::threshold::STUCK;

/// After this many pauses in a row without a grant, a producer looks at once. Then one thread does
/// both sides, or consumers are slow or have stopped, and a look costs them almost nothing.
const MOST_PAUSES_IN_VAIN: u32 = 8;

/// It looks at once this often before it pauses again.
const LOOKS_AT_ONCE: u32 = 255;

/// Whether to pause for a grant, and whether to look for dead participants.
#[derive(Debug)]
pub(super) struct Patience {
    /// The release frontier that refused credit.
    frontier: u64,
    /// Since when, in ticks.
    since: u64,
    /// After this many ticks without credit it looks for dead participants.
    stuck_after: u64,
    /// How many pauses in a row brought no grant.
    pauses_in_vain: u32,
    /// How many more times it looks without a pause.
    looks_at_once: u32,
    /// Since when it has had no credit, in ticks; 0 if it has.
    stalled_since: u64,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self {
            frontier: u64::MAX,
            since: 0,
            stuck_after: STUCK.ticks(),
            pauses_in_vain: 0,
            looks_at_once: 0,
            stalled_since: 0,
        }
    }

    /// Whether it has had no credit since an earlier call.
    #[inline(always)]
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled_since != 0
    }

    /// Notes that there is no credit from `now` on.
    pub(super) fn begin_stall(&mut self, now: u64) {
        self.stalled_since = now.max(1);
    }

    /// Notes that there is credit again, and returns for how long there was none.
    pub(super) fn end_stall(&mut self, now: u64) -> u64 {
        // Saturating: a clock may be set back.
        now.saturating_sub(core::mem::take(&mut self.stalled_since))
    }

    /// Whether to pause for a grant before the next look. The caller notes how a pause ended.
    pub(super) fn pauses(&mut self) -> bool {
        if self.looks_at_once == 0 {
            return true;
        }
        self.looks_at_once -= 1;
        false
    }

    /// Notes how a pause ended.
    pub(super) fn note_pause(&mut self, granted: bool) {
        if granted {
            self.pauses_in_vain = 0;
            return;
        }
        self.pauses_in_vain = (self.pauses_in_vain + 1).min(MOST_PAUSES_IN_VAIN);
        if self.pauses_in_vain == MOST_PAUSES_IN_VAIN {
            self.looks_at_once = LOOKS_AT_ONCE;
        }
    }

    /// Whether credit has been refused for long because of this release `frontier`. `now` is in
    /// ticks. If the answer is yes, that time starts again.
    pub(super) fn ends(&mut self, frontier: u64, now: u64) -> bool {
        if self.frontier != frontier {
            (self.frontier, self.since) = (frontier, now);
        }
        // Wrapping, so a clock that was set back is a reason to look.
        let ends = now.wrapping_sub(self.since) > self.stuck_after;
        if ends {
            self.since = now;
        }
        ends
    }
}

/// How often, at least, a group in the way is looked at before it is evicted. A model has no clock:
/// there it counts as slow at the first look.
const LOOKS: u32 = if cfg!(loom) { 1 } else { 3 };

/// Since when a group that is in the way has not moved at all.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The group, its release frontier and its head.
    seen: Option<(Membership, (u64, u64))>,
    /// Since when, in ticks.
    since: u64,
    looks: u32,
}

impl Watch {
    /// Whether it has stood where it is `seen` for longer than `after`, in ticks, and over several
    /// looks; asked `now`. After a yes that begins anew.
    pub(super) fn ends(&mut self, seen: (Membership, (u64, u64)), after: u64, now: u64) -> bool {
        if self.seen != Some(seen) {
            *self = Self { seen: Some(seen), since: now, looks: 0 };
        }
        self.looks = self.looks.saturating_add(1);
        // Saturating: a clock that was set back is no reason to let go of anybody.
        let ends = self.looks >= LOOKS && now.saturating_sub(self.since) >= after;
        if ends {
            *self = Self::default();
        }
        ends
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn after_some_pauses_in_vain_there_are_none_for_a_while() {
        let mut patience = Patience::new();
        for _ in 0..MOST_PAUSES_IN_VAIN {
            assert!(patience.pauses());
            patience.note_pause(false);
        }
        for _ in 0..LOOKS_AT_ONCE {
            assert!(!patience.pauses());
        }
        assert!(patience.pauses());
        patience.note_pause(false);
        assert!(!patience.pauses(), "one more in vain is enough");
    }

    #[test]
    fn a_grant_in_a_pause_brings_all_pauses_back() {
        let mut patience = Patience::new();
        for _ in 1..MOST_PAUSES_IN_VAIN {
            patience.note_pause(false);
        }
        patience.note_pause(true);
        patience.note_pause(false);
        assert!(patience.pauses());
    }

    #[test]
    fn a_group_is_watched_for_as_long_as_it_stands_still_and_over_several_looks() {
        let group = Membership::of(0, 1);
        let mut watch = Watch::default();
        assert!(!watch.ends((group, (3, 3)), 100, 1_000));
        assert!(!watch.ends((group, (3, 3)), 100, 1_100), "no more than two looks");
        assert!(watch.ends((group, (3, 3)), 100, 1_101));
        assert!(!watch.ends((group, (3, 3)), 100, 1_102), "it begins anew");
        assert!(!watch.ends((group, (3, 4)), 100, 9_000), "it has moved");
        assert!(!watch.ends((group, (3, 4)), 100, 9_050));
        assert!(!watch.ends((group, (3, 4)), 100, 9_099), "not long enough");
        assert!(!watch.ends((Membership::of(0, 2), (3, 4)), 100, 9_200), "another generation");
        assert!(!watch.ends((Membership::of(0, 2), (3, 4)), 100, 5), "a clock that was set back");
    }

    #[test]
    fn patience_ends_where_the_frontier_stands_still_and_begins_anew() {
        let mut patience = Patience::new();
        let long = patience.stuck_after + 1;
        assert!(!patience.ends(3, 10));
        assert!(!patience.ends(4, 10 + long), "the frontier has moved");
        assert!(!patience.ends(4, 9 + 2 * long));
        assert!(patience.ends(4, 10 + 2 * long));
        assert!(!patience.ends(4, 11 + 2 * long));
        assert!(patience.ends(4, 5), "a clock that was set back");
    }
}
