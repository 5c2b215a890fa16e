//! The only reader of its lane. Nobody else can claim what it reads, so a copying receive needs no
//! hold, and one store claims and releases.
//!
//! If it dies it may have held messages, and only its hold says so. So its successor shows the same
//! hold until it is past them, and marks them.

use super::adoption::Adoption;
use super::{Inherited, ReaderMode};
use crate::lane::view::OwnLane;
use crate::layout::participant::Event;
use crate::layout::span::{MAX_SPAN, Span};
use crate::mode::Exclusive;
use crate::recover::adopt;
use crate::settings::{Redelivery, Side};
use crate::sync::Ordering;
use crate::waiting::bell;

impl ReaderMode for Exclusive {
    const CLAIM_WAITS: bool = false;
    const HOLDS_TO_COPY: bool = false;

    fn succeed(lane: OwnLane<'_>, position: u64) -> (u64, Inherited) {
        let (segment, locker) = (lane.segment(), lane.entry().locker());
        let own = lane.entry().index();
        let below = adopt::succeed_exclusive_consumer(segment, locker, own, position);
        adopt::tidy_up(segment, locker, own);
        let position = match lane.settings().redelivery {
            Redelivery::Redeliver => position,
            Redelivery::Discard => discard(lane, position, below),
        };
        // What the predecessor had released and not announced.
        Self::announce(lane);
        (position, Inherited { below, ..Inherited::default() })
    }

    #[inline(always)]
    fn is_pending(inherited: &Inherited, position: u64) -> bool {
        position < inherited.below
    }

    #[inline(always)]
    fn marked_below(inherited: &Inherited) -> u64 {
        inherited.below
    }

    /// Nobody but its successor delivers what the only reader held.
    #[inline(always)]
    fn adoption(_: &mut Inherited) -> Option<&mut Adoption> {
        None
    }

    #[inline(always)]
    fn pass(lane: OwnLane<'_>, _: u64, to: u64) -> Result<(), u64> {
        Self::release(lane, to);
        Ok(())
    }

    #[inline(always)]
    fn claim(_: OwnLane<'_>, _: u64, _: u64) -> bool {
        true
    }

    #[inline(always)]
    fn release(lane: OwnLane<'_>, end: u64) {
        // Release: a successor that goes on from here has our reads behind it.
        lane.cursor().consumer_head.store(end, Ordering::Release);
    }

    /// The hold also covers what is still to be marked, because a predecessor held it and nothing
    /// else tells a successor. That fits into one span, since the predecessor's hold was at most
    /// one span from where this reader began.
    #[inline(always)]
    fn shown_end(inherited: &Inherited, end: u64) -> u64 {
        end.max(inherited.below)
    }

    /// Shows what is still to be marked. The head has already moved past earlier messages. If this
    /// reader is killed in between, its hold still shows them, which does not count.
    #[inline]
    fn hide_hold(inherited: &Inherited, lane: OwnLane<'_>, position: u64) {
        match inherited.below.checked_sub(position) {
            Some(count @ 1..) => lane.participant().show_hold(Span::new(position, count)),
            _ => lane.participant().clear_hold(),
        }
    }

    #[inline(always)]
    fn announce(lane: OwnLane<'_>) {
        let released = lane.cursor().consumer_head.load(Ordering::Relaxed);
        // Release: pairs with the acquire in `refill`: our reads of these slots come before
        // the producers' writes into them.
        lane.cursor().consumer_tail.store(released, Ordering::Release);
        if bell::is_alert(lane.segment(), Side::Producer) {
            bell::wake(lane.segment(), Side::Producer);
        }
    }

    #[inline(always)]
    fn frontier(_: OwnLane<'_>) -> Option<(u64, u64)> {
        None
    }

    #[inline(always)]
    fn others_at(_: OwnLane<'_>, _: u64) -> Option<u64> {
        None
    }

    #[inline(always)]
    fn may_claim(_: OwnLane<'_>) -> bool {
        true
    }

    #[cfg(any(feature = "std", loom))]
    fn disarm(lane: OwnLane<'_>) -> bool {
        bell::disarm(lane.segment(), Side::Consumer);
        false
    }
}

/// Drops what a predecessor held from `first` on, below `below`, when it died, as the ring's policy
/// says. Says where to go on.
fn discard(lane: OwnLane<'_>, first: u64, below: u64) -> u64 {
    // Only what exists, since a peer wrote the hold.
    let most = below.clamp(first, first + MAX_SPAN);
    let end = (first..most)
        .find(|&position| lane.slot(position).sequence() != position + 1)
        .unwrap_or(most);
    Exclusive::release(lane, end);
    if end >= below {
        lane.participant().clear_hold();
    }
    lane.participant().count(Event::Discarded, end - first);
    end
}
