//! Staying in a lane: most calls of a consumer take from the lane from which the last one took.
//! They look at the more urgent lanes, at this lane's next slot, and go straight to its handle.
//!
//! ```text
//!  by class      RealTime ·  High ·  ► Normal 3 4 5 …       a look at each idle lane before it
//!  by producer                       ► lane 7  3 4 5 …      up to 16 messages
//! ```
//!
//! What is kept for each call is counted for the whole visit, when it ends: by a call that finds
//! nothing there, by a more urgent message, or after so many calls that something else is due.

use core::ptr::NonNull;

use super::super::Consumer;
use super::super::several::{AllLanes, Order, Visit};
use super::{CALLS_PER_ROUND, MOST_IN_A_ROW};
use crate::error::RecvError;
use crate::lane::view::OwnLane;
use crate::layout::slot::TimestampedSlot;
use crate::mode::{AnyMode, Mode, apart};
use crate::own::Own;
use crate::segment::watch::Watch;

/// By producer: at so many others, if none of them has something. So each idle lane is looked at
/// once in [`MOST_LANES`](crate::limits::MAX_LANES) / 8 visits, and many idle lanes cost little.
const OTHERS_LOOKED_AT: usize = 8;

impl AllLanes<Consumer> {
    /// Whether a lane may have something.
    #[inline(always)]
    fn sees_something(&self, lane: usize) -> bool {
        // SAFETY: the handle of the lane keeps the segment.
        unsafe { self.watches[lane].sees_something() }
    }

    /// Whether a lane has something that is more urgent than the one that it visits.
    #[inline(always)]
    fn sees_urgent(&self) -> bool {
        // SAFETY: the handles of the lanes keep the segment.
        let sees = |it: &Watch| unsafe { it.is_passed() };
        self.watches[..self.visit.urgent].iter().any(sees)
    }

    /// The lane from which the next call takes, if that is told by a look at the lanes.
    fn next_lane(&mut self) -> Option<usize> {
        let next = match self.order {
            Order::UrgencyAndAge(ageing) if ageing.since + 1 >= ageing.one_in => return None,
            Order::Urgency | Order::UrgencyAndAge(_) => {
                (0..self.watches.len()).find(|lane| self.sees_something(*lane))
            }
            Order::Turns => self.next_in_turn(),
            Order::Time(_) => return None,
        };
        self.seen_idle = next.is_none();
        next
    }

    /// The lane that it is at, or else the next that has something.
    fn next_in_turn(&mut self) -> Option<usize> {
        if self.in_a_row >= MOST_IN_A_ROW
            && let Some(other) = self.next_of_others(OTHERS_LOOKED_AT)
        {
            return Some(other);
        }
        if self.sees_something(self.at) {
            return Some(self.at);
        }
        self.beyond = self.at + 1;
        self.next_of_others(usize::MAX)
    }

    /// The next of the other lanes that has something, of which it looks at `most` at most.
    fn next_of_others(&mut self, most: usize) -> Option<usize> {
        self.in_a_row = 0;
        let count = self.watches.len();
        // Kept here, so that no look waits for the one before.
        let mut lane = self.beyond;
        for _ in 0..most.min(count) {
            lane = if lane < count { lane } else { 0 };
            if self.sees_something(lane) && lane != self.at {
                self.beyond = lane + 1;
                return Some(lane);
            }
            lane += 1;
        }
        self.beyond = lane;
        None
    }

    /// Counts a call that is not one of a visit.
    pub(super) fn count_call(&mut self) {
        self.calls = self.calls.wrapping_add(1);
    }

    /// Begins a visit of `lane`, whose handle has `received` so many messages.
    fn begin_visit(&mut self, lane: usize, received: u64) {
        if lane != self.at {
            (self.at, self.in_a_row) = (lane, 0);
        }
        // The call that looks after a lane is the first of a visit.
        let round = CALLS_PER_ROUND - self.calls.wrapping_add(1) % CALLS_PER_ROUND;
        let (most, urgent) = match &self.order {
            Order::Urgency => (round, lane),
            Order::UrgencyAndAge(ageing) => (round.min(ageing.one_in - 1 - ageing.since), lane),
            Order::Turns => (round.min(MOST_IN_A_ROW - self.in_a_row), 0),
            Order::Time(_) => (0, 0),
        };
        self.visit = Visit { began: received, ends: received + u64::from(most), urgent };
    }

    /// Ends the visit of the lane whose handle has `received` so many messages now.
    fn end_visit(&mut self, received: u64) {
        let taken = (received - core::mem::take(&mut self.visit).began) as u32;
        self.calls = self.calls.wrapping_add(taken);
        self.in_a_row = self.in_a_row.saturating_add(taken);
        if let Order::UrgencyAndAge(ageing) = &mut self.order {
            ageing.since += taken;
        }
    }
}

impl Consumer {
    /// The handle of the lane in which a call stays.
    #[inline(always)]
    fn lane_to_stay_in(&mut self) -> Option<(NonNull<Self>, Own)> {
        let all = self.all();
        if all.sees_urgent() {
            return None;
        }
        let (at, own, ends) = (all.at, all.own, all.visit.ends);
        let lane = if at == 0 { self } else { &mut all.others[at - 1] };
        let position = lane.reader.position();
        let sequence = || OwnLane::of(&lane.entry).slot(position).sequence();
        let stays =
            lane.tally.received() < ends && TimestampedSlot::is_beyond(sequence(), position);
        stays.then(|| (NonNull::from(lane), own))
    }

    /// The handle of the lane to which a call goes that does not stay, and how it works;
    /// [`Own::Lanes`] if it has to search. It has `tried` a lane already.
    #[inline(never)]
    fn lane_to_go_to(&mut self, tried: bool) -> (&mut Self, Own) {
        if !tried && self.goes_to_a_lane() {
            let all = self.all();
            let (at, own) = (all.at, all.own);
            return (self.lane(at), own);
        }
        // What it saw was no message, or others have taken it.
        (self, Own::Lanes)
    }

    /// What each call does first that does not stay in a lane.
    pub(super) fn begin_call(&mut self) {
        self.end_visit();
        self.release_forgotten();
        if self.all().calls.wrapping_add(1).is_multiple_of(CALLS_PER_ROUND) {
            self.look_after_one();
        }
    }

    /// Begins a visit of the next lane that has something; `false` if there is none, or if it has
    /// to be searched for.
    fn goes_to_a_lane(&mut self) -> bool {
        self.begin_call();
        let Some(lane) = self.all().next_lane() else { return false };
        let received = self.lane(lane).tally.received();
        self.all().begin_visit(lane, received);
        #[cfg(any(feature = "std", loom))]
        self.limit_visited();
        true
    }

    /// Has calls that stay in the lane end as this handle's calls do, if they are led from place to
    /// place there.
    #[cfg(any(feature = "std", loom))]
    #[inline]
    pub(in super::super) fn limit_visited(&mut self) {
        let (at, limit) = (self.all().at, self.waiting.limit);
        self.lane(at).waiting.limit = limit;
    }

    /// Whether it visits a lane. If not, a call searches.
    #[inline]
    pub(super) fn is_visiting(&mut self) -> bool {
        self.all().visit.ends != 0
    }

    /// Brings up to date what is kept of the calls that have stayed in the lane.
    #[inline]
    pub(in super::super) fn end_visit(&mut self) {
        if !self.is_visiting() {
            return;
        }
        let at = self.all().at;
        let received = self.lane(at).tally.received();
        self.all().end_visit(received);
        self.note_position(at);
    }

    /// Ends the visit after a call that received nothing, which counts if it does not search.
    fn end_visit_in_vain(&mut self, searches: bool) {
        self.end_visit();
        if !searches {
            // Such a call is below the end of the visit, so this passes over no round.
            self.all().count_call();
        }
    }

    /// Counts a call that has received several messages as one of the visit. Before it, the handle
    /// of the lane had `received` so many.
    pub(super) fn count_as_one(&mut self, received: u64) {
        let at = self.all().at;
        let beyond_one = (self.lane(at).tally.received() - received).saturating_sub(1);
        let visit = &mut self.all().visit;
        (visit.began, visit.ends) = (visit.began + beyond_one, visit.ends + beyond_one);
    }
}

impl<S: Mode> Consumer<S> {
    /// The handle of the lane from which a call takes, and how it works; [`Own::Lanes`] if it has
    /// to search. It has `tried` a lane already.
    #[inline(always)]
    pub(in super::super) fn lane_to_take_from(&mut self, tried: bool) -> (&mut Self, Own) {
        match self.own() {
            Own::Lanes => {
                let several = self.in_mode::<AnyMode>();
                let (lane, own) = match several.lane_to_stay_in() {
                    // SAFETY: a handle that this one has, or is, and which is borrowed as it is.
                    Some((mut lane, own)) => (unsafe { lane.as_mut() }, own),
                    None => several.lane_to_go_to(tried),
                };
                (lane.in_mode(), own)
            }
            own => (self, own),
        }
    }

    /// Whether a handle that works on several lanes has to search, after a call in the lane that it
    /// was at has ended with this error. That visit has ended, too.
    #[inline(always)]
    pub(in super::super) fn searches_after(&mut self, error: RecvError) -> bool {
        if !self.has_lanes() || !self.in_mode::<AnyMode>().is_visiting() {
            return false;
        }
        // Others have taken what was there, or it was no message. Asked here: the error is passed
        // through no memory.
        let searches = matches!(error, RecvError::Empty | RecvError::Closed);
        apart(|| self.in_mode::<AnyMode>().end_visit_in_vain(searches));
        searches
    }
}
