//! One of several readers of a lane: they claim by compare-and-swap, and show in a hold what they
//! have claimed and not released.
//!
//! The hold of a dead reader blocks the release frontier. A reader that has been stuck for a while
//! takes over its entry and delivers the messages again: an [`Adoption`].

use super::adoption::Adoption;
use super::{Inherited, ReaderMode};
use crate::lane::view::OwnLane;
use crate::limits::MAX_POSITION;
use crate::mode::Shared;
use crate::recover::adopt;
use crate::recover::frontier;
#[cfg(any(feature = "std", loom))]
use crate::settings::Side;
use crate::sync::Ordering;
#[cfg(any(feature = "std", loom))]
use crate::waiting::bell;

impl ReaderMode for Shared {
    const CLAIM_WAITS: bool = true;
    /// There is much to copy, and the claim may fail.
    const HOLDS_TO_COPY: bool = true;

    fn succeed(lane: OwnLane<'_>, position: u64) -> (u64, Inherited) {
        // Before anything else, so that a consumer that is started after a dead one gets what that
        // one left in order.
        let entry = lane.entry();
        let handed_on = adopt::tidy_up(lane.segment(), entry.locker(), entry.index());
        let adoption = Adoption { adopted: None, handed_on };
        (position, Inherited { adoption, ..Inherited::default() })
    }

    #[inline(always)]
    fn is_pending(inherited: &Inherited, _: u64) -> bool {
        inherited.adoption.is_pending()
    }

    /// Messages that are delivered again are not those at the reader's position.
    #[inline(always)]
    fn marked_below(_: &Inherited) -> u64 {
        0
    }

    #[inline(always)]
    fn adoption(inherited: &mut Inherited) -> Option<&mut Adoption> {
        Some(&mut inherited.adoption)
    }

    #[inline(always)]
    fn pass(lane: OwnLane<'_>, from: u64, to: u64) -> Result<(), u64> {
        // Release: the reads of the slot come before everything that follows a load of the head
        // beyond this position: the grant, and then the write of the next lap.
        let head = &lane.cursor().consumer_head;
        head.compare_exchange(from, to, Ordering::Release, Ordering::Relaxed).map(|_| ())
    }

    #[inline(always)]
    fn claim(lane: OwnLane<'_>, from: u64, to: u64) -> bool {
        // Release: makes the hold visible to the scan that sees the head beyond it.
        let head = &lane.cursor().consumer_head;
        head.compare_exchange(from, to, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Hiding the hold is all of it.
    #[inline(always)]
    fn release(_: OwnLane<'_>, _: u64) {}

    #[inline(always)]
    fn shown_end(_: &Inherited, end: u64) -> u64 {
        end
    }

    #[inline(always)]
    fn hide_hold(_: &Inherited, lane: OwnLane<'_>, _: u64) {
        lane.participant().clear_hold();
    }

    #[inline(always)]
    fn announce(lane: OwnLane<'_>) {
        frontier::raise_release_frontier(lane.segment());
    }

    #[inline(always)]
    fn frontier(lane: OwnLane<'_>) -> Option<(u64, u64)> {
        // Relaxed, both: they only decide whether looking is worth it. What follows loads in order.
        let tail = lane.cursor().consumer_tail.load(Ordering::Relaxed);
        Some((tail, lane.cursor().consumer_head.load(Ordering::Relaxed)))
    }

    #[inline]
    fn others_at(lane: OwnLane<'_>, position: u64) -> Option<u64> {
        // Acquire: a reader that goes on there sees what the others released. If the head is still
        // at `position`, what was read there is the next message.
        let head = lane.cursor().consumer_head.load(Ordering::Acquire);
        (head != position).then_some(head)
    }

    #[inline]
    fn may_claim(lane: OwnLane<'_>) -> bool {
        // Relaxed: the claim itself looks in order.
        lane.cursor().consumer_head.load(Ordering::Relaxed) <= MAX_POSITION
    }

    /// The wake-up may have been for this reader alone, and others may still sleep, so the bell is
    /// armed for them again. That is also done if the mark is set, because a sleeper may have set
    /// it after the wake-up that was meant for it.
    #[cfg(any(feature = "std", loom))]
    fn disarm(lane: OwnLane<'_>) -> bool {
        if !bell::is_armed(lane.segment(), Side::Consumer) {
            bell::arm(lane.segment(), Side::Consumer);
        }
        true
    }
}
