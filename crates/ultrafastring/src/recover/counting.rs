//! For whom the histogram of an entry counts, when the entry goes from one consumer to the next.

use super::entry::Entry;
use crate::layout::group::Membership;
use crate::layout::histogram::Counted;
use crate::layout::participant::Participant;
use crate::segment::Segment;
use crate::segment::histogram::OwnHistogram;
use crate::sync::{Ordering, fence};

/// Has the histogram of an entry count for the group that its holder has joined, or for all
/// consumers of a plain ring. Counts for another group are moved to that group's row first. `None`
/// without histograms.
pub(crate) fn begin(entry: &Entry) -> Option<OwnHistogram> {
    let segment = entry.segment();
    if !segment.has_histograms() {
        return None;
    }
    let (index, participant) = (entry.index(), entry.participant());
    // Before the entry says that there are counts: whoever looks at them finds memory.
    let own = segment.own_histogram(index)?;
    let (before, now) = (participant.counted(), current(segment, entry.membership())?);
    if !before.is_for_same(now) && before != Counted::NOTHING {
        move_away(segment, index, participant, before);
    }
    if before.is_moving() || !before.is_for_same(now) {
        participant.note_counted(before.followed_by(now));
    }
    Some(own)
}

/// What the entry of a member says, or that of a consumer of a plain ring.
fn current(segment: &Segment, membership: Membership) -> Option<Counted> {
    if !segment.is_joinable() {
        return Some(Counted::of(0, 0));
    }
    of_group(segment, membership.row()?)
}

/// What the entries say that have counted for the group in a `row`, as it is named now.
pub(crate) fn of_group(segment: &Segment, row: usize) -> Option<Counted> {
    Some(Counted::of(row, segment.row(row)?.named()))
}

/// Moves the counts of an entry to the row of the group for which they were counted, if there is
/// still that group.
fn move_away(segment: &Segment, index: usize, participant: &Participant, before: Counted) {
    let Some(histogram) = segment.histogram(index) else { return };
    participant.note_counted(before.moving());
    // Release: pairs with the acquire fence of whoever looks at the counts (`collect_in`). If any
    // that is moved here is seen, so is the word.
    fence(Ordering::Release);
    let row = before.row();
    let group = row.and_then(|row| segment.histogram_of_group(row));
    // Asked before each count, since the row may be given to another name meanwhile.
    histogram.move_to(group, || {
        let now = row.and_then(|row| of_group(segment, row));
        now.is_some_and(|now| now.is_for_same(before))
    });
}

#[cfg(all(test, feature = "std", not(loom)))]
mod tests {
    use super::*;
    use crate::priority::PriorityClass;
    use crate::ring::UltraFastRing;

    fn counted(ring: &UltraFastRing, row: usize) -> u64 {
        let all = ring.latencies_of_group(row).unwrap();
        all.iter().map(crate::LatencyHistogram::count).sum()
    }

    fn receive(ring: &UltraFastRing, group: &str) {
        let mut member = ring.join(group).durable().consumer().unwrap();
        while member.try_recv().is_ok() {}
    }

    #[test]
    fn an_entry_that_goes_to_another_group_leaves_its_counts_to_the_first() {
        let builder = UltraFastRing::builder().groups(["one", "two"]).latency_histograms(true);
        let ring = builder.heap().unwrap();
        for _ in 0..3 {
            ring.try_send(b"x", PriorityClass::Normal).unwrap();
        }
        receive(&ring, "one");
        assert_eq!((counted(&ring, 0), counted(&ring, 1)), (3, 0));
        receive(&ring, "two");
        assert_eq!((counted(&ring, 0), counted(&ring, 1)), (3, 3));
        ring.try_send(b"x", PriorityClass::Normal).unwrap();
        receive(&ring, "one");
        assert_eq!((counted(&ring, 0), counted(&ring, 1)), (4, 3));
        let all = ring.latencies().unwrap();
        assert_eq!(all[PriorityClass::Normal.index()].count(), 7);
    }

    #[test]
    fn a_row_that_is_given_to_another_name_begins_with_nothing() {
        let builder = UltraFastRing::builder().joinable().latency_histograms(true);
        let ring = builder.heap().unwrap();
        for (group, before) in [("one", 0), ("two", 0), ("one", 0)] {
            let mut member = ring.join(group).durable().consumer().unwrap();
            assert_eq!(counted(&ring, 0), before, "{group}");
            ring.try_send(b"x", PriorityClass::Normal).unwrap();
            member.try_recv().unwrap();
            assert_eq!(counted(&ring, 0), 1, "{group}");
            drop(member);
            // In an entry, and in the group's row.
            drop(ring.join("other").durable().consumer().unwrap());
            assert_eq!(counted(&ring, 0), 1, "{group}");
            ring.remove_group(group).unwrap();
            ring.remove_group("other").unwrap();
        }
    }

    #[test]
    fn what_a_dead_one_had_begun_to_move_is_moved_by_the_next() {
        let builder = UltraFastRing::builder().groups(["one", "two"]).latency_histograms(true);
        let ring = builder.heap().unwrap();
        ring.try_send(b"x", PriorityClass::Normal).unwrap();
        ring.try_send(b"x", PriorityClass::High).unwrap();
        receive(&ring, "one");
        let participants = || ring.segment().entries().map(|(_, it)| it);
        let entry = participants().find(|it| it.counted() != Counted::NOTHING).unwrap();
        let before = entry.counted();
        for group in ["one", "two"] {
            entry.note_counted(before.moving());
            receive(&ring, group);
            assert_eq!(counted(&ring, 0), 2, "{group}");
        }
        assert!(entry.counted().is_for_same(of_group(ring.segment(), 1).unwrap()));
    }

    #[test]
    fn a_word_that_a_peer_has_made_up_leads_nowhere() {
        for builder in
            [UltraFastRing::builder(), UltraFastRing::builder().groups(["one"]).capacity(8)]
        {
            let ring = builder.latency_histograms(true).heap().unwrap();
            let groups = ring.groups().count();
            for word in [u64::MAX, 255, 57, 1 << 62 | 2, 1 << 63] {
                ring.segment().note_entry_used(0);
                ring.segment().participant(0).note_counted(Counted::from_word(word));
                assert!(ring.latencies().is_some());
                assert_eq!(ring.latencies_of_group(0).is_some(), groups == 1);
                if groups == 1 {
                    receive(&ring, "one");
                } else {
                    drop(ring.consumer().unwrap());
                }
                ring.latencies().unwrap();
            }
        }
    }
}
