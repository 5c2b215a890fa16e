//! What holds the producers of a ring for groups back.

use crate::layout::group::{Gate, Membership, position_of};
use crate::layout::slot::SlotState;
use crate::layout::span::MAX_SPAN;
use crate::segment::Segment;
use crate::sync::{Ordering, look_at};

/// The gates, as they were seen one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gates {
    /// The least of the tails of open groups, and whose it is.
    least: Option<(u64, Membership)>,
}

impl Gates {
    /// Looks at all gates. `sent` is how far the lane has come, as far as the caller knows. A tail
    /// beyond it is compared with its head, which costs a look at another line.
    pub(crate) fn look(segment: &Segment, sent: u64) -> Self {
        Self::look_but_at(segment, usize::MAX, sent)
    }

    /// As [`look`](Self::look), without that of one row.
    pub(super) fn look_but_at(segment: &Segment, except: usize, sent: u64) -> Self {
        let mut least: Option<(u64, Membership)> = None;
        for (row, it) in segment.rows().filter(|&(row, _)| row != except) {
            let gate = it.gate();
            if !gate.is_open() {
                continue;
            }
            // Acquire, and after the gate: who opened it stored the tail before. Pairs with the
            // release of the grants: the reads of the released slots come before our writes.
            let mut tail =
                position_of(segment.cursor_of(row).consumer_tail.load(Ordering::Acquire));
            if tail > sent {
                tail = tail.min(claimed_up_to(segment, row, gate));
            }
            if least.is_none_or(|(least, _)| tail < least) {
                least = Some((tail, Membership::of(row, gate.generation)));
            }
        }
        Self { least }
    }

    /// The least of the tails; `None` if no gate is open.
    pub(crate) fn least(self) -> Option<u64> {
        self.least.map(|(tail, _)| tail)
    }

    /// Whose it is.
    pub(crate) fn last(self) -> Option<Membership> {
        self.least.map(|(_, membership)| membership)
    }
}

/// The head of an open group. It is read after the tail, which cannot be beyond it: only a peer
/// that writes garbage puts it there, and it would give endless credit. A tail beyond all that was
/// sent is no garbage by itself: a group may begin there, and then its head is there too.
#[cold]
fn claimed_up_to(segment: &Segment, row: usize, gate: Gate) -> u64 {
    // Acquire: pairs with the release of the claims. The tail, seen before, was raised to what its
    // raiser had found in the head: this finds no less.
    let head = segment.cursor_of(row).consumer_head.load(Ordering::Acquire);
    // One of another generation: the group is being opened, and has the tail alone.
    gate.tag().position(head).unwrap_or(u64::MAX)
}

/// The commit frontier of a shared producer side: the least of the head, read first, and of all
/// positions that others may have claimed and not committed. Nobody writes a lap beyond it. An
/// intent stays shown after the commit, so one counts only as far as its slots are not settled.
pub(crate) fn commit_frontier(segment: &Segment, own: usize) -> u64 {
    // Acquire: pairs with the release of the claims: the intents of all who claimed below the head
    // are seen.
    let head = segment.lane().counters().producers_claimed(Ordering::Acquire);
    segment
        .entries()
        .filter(|&(index, _)| index != own)
        .filter_map(|(_, participant)| participant.shown_intent())
        .filter(|span| span.first < head)
        .filter_map(|span| first_unsettled(segment, span.first, span.end()))
        .fold(head, u64::min)
}

/// The first position that is not settled, from `from` on and before `end`.
fn first_unsettled(segment: &Segment, from: u64, end: u64) -> Option<u64> {
    (from..end).find(|&position| segment.slot(position).look_at(position) == SlotState::NotYet)
}

/// By how much the window is raised as a rule: so often producers look at all gates.
pub(crate) fn chunk(capacity: u64) -> u64 {
    (capacity / 8).clamp(1, MAX_SPAN)
}

/// By how much it is raised at most, by a batch. So the first position that is not settled lies no
/// more than this below the window.
pub(crate) fn most_raised(capacity: u64) -> u64 {
    MAX_SPAN.min(capacity)
}

/// The write window.
pub(crate) fn window(segment: &Segment) -> u64 {
    // Pairs with the release of whoever raised it: what it had settled below is seen.
    position_of(look_at(&segment.lane().counters().window))
}

/// Where a group or a reader begins that wants what is sent next, and where an exclusive producer
/// goes on: the first position that is not settled. Memory that is mapped read-only allows it.
pub(crate) fn latest(segment: &Segment) -> u64 {
    let window = window(segment);
    let least = window.saturating_sub(most_raised(segment.lane().capacity()));
    first_unsettled(segment, least, window).unwrap_or(window)
}

/// The oldest position that is not overwritten, or about to be.
pub(crate) fn oldest(segment: &Segment) -> u64 {
    window(segment).saturating_sub(segment.lane().capacity())
}
