//! The release frontier of a shared side, and of a group.

use crate::layout::group::{Membership, position_of};
use crate::segment::Segment;
use crate::segment::group::Readers;
use crate::settings::Side;
use crate::sync::{Ordering, fence};
use crate::waiting::bell;

/// Announces a shared side's release frontier: the least of `consumer_head`, which is read first,
/// and all holds of consumers.
///
/// Only the handle that moves it wakes the producers, since the others give them nothing. If it is
/// killed between the two, they sleep for at most [`LONGEST_PARK`](crate::LONGEST_PARK), as after
/// any grant. A producer looks here itself before it sleeps. If it woke producers without a move,
/// it would never let itself sleep.
pub(crate) fn raise_release_frontier(segment: &Segment) {
    // Acquire, and before the holds: pairs with the release of each claim. So the hold of every
    // claim below the head is seen, or a later value of the same word.
    let head = segment.cursor().consumer_head.load(Ordering::Acquire);
    match segment.few_entries_used() {
        Ok(used) => raise_over(segment, head, used),
        // All of it is out of line: a call in the middle would make each grant save registers.
        Err(_) => raise_over_many(segment, head),
    }
}

#[cold]
#[inline(never)]
fn raise_over_many(segment: &Segment, head: u64) {
    raise_over(segment, head, segment.entries_used());
}

/// Raises the frontier to `head`, or to the first hold of the first `used` entries.
#[inline(always)]
fn raise_over(segment: &Segment, head: u64, used: usize) {
    let cursor = segment.cursor();
    let frontier = (0..used)
        .filter_map(|index| segment.participant(index).shown_hold())
        .map(|span| span.first)
        .fold(head, u64::min);
    // Relaxed: a frontier never goes back. If it is as far already it needs no store, which would
    // take the line away from everybody who reads it.
    let mut stands = cursor.consumer_tail.load(Ordering::Relaxed);
    while stands < frontier {
        // Release: pairs with the acquire in `refill`: all reads below come before the producers'
        // writes. Acquire: pairs with the second look in `Adoption::read`. A maximum: another grant
        // may have seen more.
        match cursor.consumer_tail.compare_exchange_weak(
            stands,
            frontier,
            Ordering::AcqRel,
            Ordering::Relaxed,
        ) {
            Ok(_) => {
                if bell::is_alert(segment, Side::Producer) {
                    bell::wake(segment, Side::Producer);
                }
                return;
            }
            Err(other) => stands = other,
        }
    }
}

/// How often a grant is begun again because others grant meanwhile: each of them has raised the
/// frontier, so only one that rewrites it for ever leads so far.
const MOST_GRANTS: u32 = 64;

/// Announces the release frontier of those who are given: of all consumers of a plain ring, or of
/// one generation of a group, and of that alone.
///
/// Whoever is late from an earlier generation finds another in the head, and raises nothing; or has
/// found its own there, and then fails to raise a tail that has another since. The few bits that
/// they carry of a generation must not come again meanwhile. So the caller names the group in its
/// own entry, as members do, or in one whose lock it has; else it calls [`grant_from_outside`], or
/// holds the lock under which the group is opened.
pub(crate) fn raise_frontier_of(readers: Readers<'_>) {
    let (segment, cursor, tag) = (readers.segment(), readers.cursor(), readers.tag());
    if !segment.is_joinable() {
        return raise_release_frontier(segment);
    }
    // Those of no group, as dead producers are, have no cursor: the first one is a group's.
    if readers.row().is_none() {
        return;
    }
    for _ in 0..MOST_GRANTS {
        // Acquire, all: the tail before the head as said, the head before the holds as above.
        let stands = cursor.consumer_tail.load(Ordering::Acquire);
        let head = tag.position(cursor.consumer_head.load(Ordering::Acquire));
        let (Some(from), Some(head)) = (tag.position(stands), head) else { return };
        let frontier = segment
            .entries()
            .filter_map(|(_, participant)| readers.hold_of(participant))
            .map(|span| span.first)
            .fold(head, u64::min);
        if frontier <= from {
            return;
        }
        let raised = tag.at(frontier);
        // AcqRel: as in a plain ring.
        let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
        if cursor.consumer_tail.compare_exchange(stands, raised, success, failure).is_ok() {
            if bell::is_alert(segment, Side::Producer) {
                bell::wake(segment, Side::Producer);
            }
            return;
        }
    }
}

/// As [`raise_frontier_of`], for the holder of the entry `own`, who is no member of the group: a
/// producer. It shows in the entry for which generation it grants.
pub(crate) fn grant_from_outside(readers: Readers<'_>, own: usize) {
    let membership = readers.membership();
    let Some(row) = readers.row() else { return raise_frontier_of(readers) };
    let participant = readers.segment().participant(own);
    participant.name_group(membership.outside());
    // SeqCst: pairs with the fence in `next_generation`. Either whoever opens the group from now on
    // finds the name, and takes a generation with other bits; or this look finds the gate that was
    // seen there, a later one.
    fence(Ordering::SeqCst);
    if row.gate().generation == membership.generation() {
        raise_frontier_of(readers);
    }
    // Release: after the tail is raised, or found to be another.
    participant.name_group(Membership::NONE);
}

/// As [`positions_of`], the sums over all lanes: they change with each step in any of them.
pub(crate) fn progress_of(readers: Readers<'_>) -> (u64, u64) {
    let segment = readers.segment();
    if !segment.has_lanes() {
        return positions_of(readers);
    }
    segment.all_lanes().fold((0, 0), |(tails, heads), lane| {
        let (tail, head) = positions_of(lane.readers(readers.membership()));
        (tails.wrapping_add(tail), heads.wrapping_add(head))
    })
}

/// Where those who are given have come: the release frontier as announced, and the head.
pub(crate) fn positions_of(readers: Readers<'_>) -> (u64, u64) {
    let cursor = readers.cursor();
    // Acquire, both: pairs with the release of the grants and of the claims.
    let tail = cursor.consumer_tail.load(Ordering::Acquire);
    let head = cursor.consumer_head.load(Ordering::Acquire);
    match readers.row() {
        None => (tail, head),
        Some(_) => (position_of(tail), position_of(head)),
    }
}

#[cfg(all(test, feature = "std", not(loom)))]
mod tests {
    use super::*;
    use crate::choices::Start;
    use crate::layout::group::Tag;
    use crate::priority::PriorityClass;
    use crate::ring::UltraFastRing;

    #[test]
    fn one_who_is_late_by_a_turn_of_the_generations_grants_nothing_that_others_hold() {
        let ring = UltraFastRing::builder().joinable().capacity(8).heap().unwrap();
        let segment = ring.segment();
        let mut producer = ring.producer().unwrap();
        for _ in 0..Tag::COUNT {
            drop(ring.join("group").consumer().unwrap());
        }
        let mut member = ring.join("group").consumer().unwrap();
        let generation = segment.row(0).unwrap().gate().generation;
        let late = Membership::of(0, generation - Tag::COUNT);
        assert_eq!(late.tag(), Tag::of(generation));
        for number in 0..3u64 {
            producer.send(&number.to_le_bytes(), PriorityClass::Normal).unwrap();
        }
        let held = member.try_borrow().unwrap();
        grant_from_outside(segment.readers(late), 0);
        let (tail, head) = positions_of(segment.readers(Membership::of(0, generation)));
        assert_eq!((tail, head), (0, 1));
        drop(held);
        grant_from_outside(segment.readers(Membership::of(0, generation)), 0);
        let (tail, head) = positions_of(segment.readers(Membership::of(0, generation)));
        assert_eq!((tail, head), (1, 1));
    }

    #[test]
    fn the_bits_of_a_generation_do_not_come_again_while_somebody_grants_for_it() {
        let ring = UltraFastRing::builder().joinable().capacity(8).heap().unwrap();
        let segment = ring.segment();
        let mut producer = ring.producer().unwrap();
        let mut member = ring.join("group").consumer().unwrap();
        for number in 0..3u64 {
            producer.send(&number.to_le_bytes(), PriorityClass::Normal).unwrap();
            member.try_recv().unwrap();
        }
        // As if the producer had been stopped before it raised the tail.
        let granted = segment.participant(1).membership();
        let tag = granted.tag();
        segment.participant(0).name_group(granted.outside());
        drop(member);
        for turn in 0..2 * Tag::COUNT {
            drop(ring.join("group").start(Start::Oldest).consumer().unwrap());
            let gate = segment.row(0).unwrap().gate();
            assert!(gate.tag() != tag, "{turn}: {}", gate.generation);
        }
        segment.participant(0).name_group(Membership::NONE);
    }
}
