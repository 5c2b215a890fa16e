//! The living handles of a side, and waits that end when all of them have left.

use crate::layout::locks::Place;
use crate::recover::entry::Entry;
use crate::segment::Segment;
use crate::segment::lock::Locker;
use crate::settings::Side;
use crate::sync::Ordering;

/// What a handle knows about its peers, the handles of the other side.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    /// Whether its waits end if there were peers and none is left.
    pub(crate) ends_deserted: bool,
    /// Whether there was a peer when this was set, or one has come since.
    pub(crate) seen: bool,
    /// How many peers there had ever been when this was set.
    arrived_before: u64,
}

impl Peers {
    /// Sets whether waits for peers of `side` end if there were peers and none is left. `seen` says
    /// whether something of theirs has been seen already.
    pub(crate) fn end_when_deserted(&mut self, entry: &Entry, side: Side, ends: bool, seen: bool) {
        let segment = entry.segment();
        self.ends_deserted = ends;
        // In this order, so that a peer that comes in between is counted later, or seen alive.
        self.arrived_before = arrivals(segment, side);
        self.seen = seen || living(segment, entry.locker(), side) != 0;
    }

    /// Whether there were peers of `side` and none is left. They may have left something since the
    /// last look.
    pub(crate) fn is_deserted(&mut self, entry: &Entry, side: Side) -> bool {
        let segment = entry.segment();
        // Before the living are counted: a peer that is counted as having come is then found alive,
        // or has left.
        let arrived = arrivals(segment, side);
        self.seen |= arrived != self.arrived_before;
        // Not decided by those found alive now. A peer that existed when this was set was seen
        // then, and one that came later is counted. A dead peer's entry may be locked by somebody
        // who only cleans it up. Counted again at last: one that came behind the back of the look
        // at the living, before another left, was not found, and is no end.
        self.seen
            && living(segment, entry.locker(), side) == 0
            && arrivals(segment, side) == arrived
    }
}

/// How many handles of `side` living processes hold.
pub(crate) fn living(segment: &Segment, locker: &Locker, side: Side) -> usize {
    if segment.has_lanes() {
        let lanes = segment.lanes_of_handles(side);
        return lanes.map(|lane| living_in(&segment.of_lane(lane), locker, side)).sum();
    }
    living_in(segment, locker, side)
}

/// The same of those who work on this lane.
fn living_in(segment: &Segment, locker: &Locker, side: Side) -> usize {
    segment
        .entries()
        .filter(|&(index, participant)| {
            participant.role().is_some_and(|role| role.side == side)
                // The lock of a dead participant's entry is held by whoever finishes its work.
                && !participant.is_adopted()
                && locker.is_locked(segment, Place::Entry(index))
        })
        .count()
}

/// How many handles of `side` have ever been taken.
fn arrivals(segment: &Segment, side: Side) -> u64 {
    let lanes = segment.lanes_of_handles(side).map(|lane| {
        // Acquire: pairs with the release in `Entry::note_arrival`.
        segment.control_of(lane).arrivals[side as usize].load(Ordering::Acquire)
    });
    lanes.fold(0, u64::wrapping_add)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::priority::PriorityClass;
    use crate::ring::UltraFastRing;

    #[test]
    fn a_dead_ones_entry_in_the_hands_of_its_recoverer_is_nobody_who_has_been_here() {
        let ring = UltraFastRing::new(4);
        ring.send_fast(b"one", PriorityClass::Normal).unwrap();
        let mut producer = ring.producer().unwrap();
        let mut dead = ring.consumer().unwrap();
        core::mem::forget(dead.try_borrow().unwrap());
        let place = Place::Entry(dead.entry.index());
        dead.entry.locker().unlock(ring.segment(), place);
        core::mem::forget(dead);
        producer.end_when_deserted(true);
        let recoverer = ring.segment().locker().unwrap();
        for _ in 0..2 {
            assert!(recoverer.try_lock(ring.segment(), place).unwrap());
            let deserted = producer.waiting.peers.is_deserted(&producer.entry, Side::Consumer);
            assert!(!deserted, "no consumer has been here since that was asked for");
            recoverer.unlock(ring.segment(), place);
            let deserted = producer.waiting.peers.is_deserted(&producer.entry, Side::Consumer);
            assert!(!deserted, "no consumer has been here since that was asked for");
        }
        drop(ring.consumer().unwrap());
        assert!(producer.waiting.peers.is_deserted(&producer.entry, Side::Consumer));
    }
}
