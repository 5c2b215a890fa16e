//! Letting go of a group: closing a passing one in which nobody lives, by the last that leaves or
//! by a producer that it holds back; evicting one that may be, by such a producer. There is no lock
//! to either, so that nobody who is stopped can keep producers.

use crate::layout::group::{Gate, Membership, State, position_of};
use crate::recover::liveness::Liveness;
use crate::segment::Segment;
use crate::settings::Side;
use crate::sync::Ordering;
use crate::waiting::bell;

/// Closes the gate of the passing group in a `row` if nobody lives in it. Says whether it did.
pub(crate) fn close_if_deserted(segment: &Segment, liveness: &dyn Liveness, row: usize) -> bool {
    let Some(it) = segment.row(row) else { return false };
    // In this order. Whoever has counted itself in by now has named the group before, and is found;
    // who does it later changes the gate; and who has only named it finds the gate changed.
    let gate = it.gate();
    if !gate.is_open() || it.settings().is_some_and(|settings| settings.durable) {
        return false;
    }
    is_deserted(segment, liveness, row, gate) && close(segment, row, gate)
}

/// Whether nobody lives whose entry names the generation of a gate.
pub(crate) fn is_deserted(
    segment: &Segment,
    liveness: &dyn Liveness,
    row: usize,
    gate: Gate,
) -> bool {
    let membership = Membership::of(row, gate.generation);
    // A member has an entry in each lane, and counts by that in the first, in which it comes first.
    let first;
    let segment = match segment.index() {
        0 => segment,
        _ => {
            first = segment.of_lane(0);
            &first
        }
    };
    !segment.entries().any(|(index, participant)| {
        participant.membership() == membership
            // Of a dead one whoever finishes its work has the lock.
            && !participant.is_adopted()
            && liveness.lives(segment, index)
    })
}

/// Closes the gate of a row if it is still this one, and tells producers.
pub(crate) fn close(segment: &Segment, row: usize, gate: Gate) -> bool {
    let closed = Gate { state: State::Closed, owes: false, ..gate };
    let changed = segment.row(row).is_some_and(|it| it.change(gate, closed));
    if changed {
        tell_producers(segment);
    }
    changed
}

/// Lets go of a living group that keeps producers: of the generation that is named, if its release
/// frontier is `judged` still, and nothing is left to grant for it. Says whether it did.
pub(crate) fn evict(segment: &Segment, group: Membership, judged: u64) -> bool {
    let Some((row, it)) = group.row().and_then(|row| Some((row, segment.row(row)?))) else {
        return false;
    };
    let gate = it.gate();
    if !gate.is_open() || gate.generation != group.generation() {
        return false;
    }
    let cursor = segment.cursor_of(row);
    // Acquire, both: as in a grant. After the gate: a move that they show is one of this
    // generation.
    let tail = position_of(cursor.consumer_tail.load(Ordering::Acquire));
    let head = gate.tag().position(cursor.consumer_head.load(Ordering::Acquire));
    // One whose opening is not finished has no head.
    if tail != judged || head.is_some_and(|head| head > judged) {
        return false;
    }
    let evicted = it.change(gate, Gate { state: State::Evicted, owes: false, ..gate });
    if evicted {
        it.evictions.fetch_add(1, Ordering::Relaxed);
        tell_producers(segment);
        bell::wake_all(segment, Side::Consumer);
    }
    evicted
}

/// Wakes the producers of all lanes: none of them waits for the group any more.
fn tell_producers(segment: &Segment) {
    for lane in segment.all_lanes() {
        bell::wake_all(&lane, Side::Producer);
    }
}
