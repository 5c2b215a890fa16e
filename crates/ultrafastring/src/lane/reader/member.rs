//! A member of a group: as one of several readers, with a cursor that is its group's and carries
//! the generation in which it has joined. So a claim of one that is late from an earlier generation
//! fails.
//!
//! The only member that a group can have claims by a store, as long as the group is not evicted: no
//! other generation begins while it lives, since a group is closed only when its members are dead.
//! What it shows, and what is done after its death, is as for any other member.

use super::adoption::Adoption;
use super::{Inherited, ReaderMode};
use crate::lane::view::OwnLane;
use crate::layout::counters::Cursor;
use crate::limits::MAX_POSITION;
use crate::mode::{Member, Shared};
use crate::recover::frontier;
use crate::sync::{Ordering, fence};

/// The position that a word of another generation says: beyond belief.
const NOWHERE: u64 = u64::MAX;

impl ReaderMode for Member {
    const CLAIM_WAITS: bool = true;
    const HOLDS_TO_COPY: bool = true;

    fn succeed(lane: OwnLane<'_>, position: u64) -> (u64, Inherited) {
        Shared::succeed(lane, position)
    }

    #[inline(always)]
    fn is_pending(inherited: &Inherited, position: u64) -> bool {
        Shared::is_pending(inherited, position)
    }

    #[inline(always)]
    fn marked_below(inherited: &Inherited) -> u64 {
        Shared::marked_below(inherited)
    }

    #[inline(always)]
    fn adoption(inherited: &mut Inherited) -> Option<&mut Adoption> {
        Shared::adoption(inherited)
    }

    #[inline(always)]
    fn cursor(lane: OwnLane<'_>) -> &Cursor {
        lane.entry().readers().cursor()
    }

    #[inline(always)]
    fn seen(lane: OwnLane<'_>, word: u64) -> u64 {
        lane.entry().membership().tag().position(word).unwrap_or(NOWHERE)
    }

    #[inline(always)]
    fn copies_first(lane: OwnLane<'_>) -> bool {
        lane.entry().is_evictable()
    }

    fn is_over(lane: OwnLane<'_>) -> bool {
        lane.entry().is_over()
    }

    #[inline(always)]
    fn pass(lane: OwnLane<'_>, from: u64, to: u64) -> Result<(), u64> {
        let tag = lane.entry().membership().tag();
        if lane.entry().is_evictable() {
            // Acquire: pairs with the fence of a producer that went on without this group, behind
            // its look at the gates: if anything of what was copied is of the next lap, the gate is
            // seen to be over, and the copy is thrown away.
            fence(Ordering::Acquire);
            if lane.entry().is_over() {
                return Err(NOWHERE);
            }
        }
        let head = &Self::cursor(lane).consumer_head;
        if lane.entry().is_sole() {
            // Release: as on a shared side.
            head.store(tag.at(to), Ordering::Release);
            return Ok(());
        }
        // Release: as on a shared side.
        head.compare_exchange(tag.at(from), tag.at(to), Ordering::Release, Ordering::Relaxed)
            .map(|_| ())
            .map_err(|other| tag.position(other).unwrap_or(NOWHERE))
    }

    #[inline(always)]
    fn claim(lane: OwnLane<'_>, from: u64, to: u64) -> bool {
        // Release: makes the hold visible to the scan that sees the head beyond it.
        Self::pass(lane, from, to).is_ok()
    }

    /// Hiding the hold is all of it.
    #[inline(always)]
    fn release(_: OwnLane<'_>, _: u64) {}

    #[inline(always)]
    fn shown_end(inherited: &Inherited, end: u64) -> u64 {
        Shared::shown_end(inherited, end)
    }

    #[inline(always)]
    fn hide_hold(inherited: &Inherited, lane: OwnLane<'_>, position: u64) {
        Shared::hide_hold(inherited, lane, position);
    }

    #[inline(always)]
    fn announce(lane: OwnLane<'_>) {
        frontier::raise_frontier_of(lane.entry().readers());
    }

    #[inline(always)]
    fn frontier(lane: OwnLane<'_>) -> Option<(u64, u64)> {
        Some(frontier::positions_of(lane.entry().readers()))
    }

    #[inline]
    fn others_at(lane: OwnLane<'_>, position: u64) -> Option<u64> {
        // Acquire: as on a shared side.
        let head = Self::cursor(lane).consumer_head.load(Ordering::Acquire);
        let head = Self::seen(lane, head);
        (head != position).then_some(head)
    }

    #[inline]
    fn may_claim(lane: OwnLane<'_>) -> bool {
        // Relaxed: the claim itself looks in order.
        let head = Self::cursor(lane).consumer_head.load(Ordering::Relaxed);
        Self::seen(lane, head) <= MAX_POSITION
    }

    /// All who sleep are woken together, those of other groups too: the mark is theirs as well.
    #[cfg(any(feature = "std", loom))]
    fn disarm(_: OwnLane<'_>) -> bool {
        false
    }
}
