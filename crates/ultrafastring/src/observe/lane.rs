//! What can be seen of one lane: a ring of one lane, or a lane of a ring with several.

use crate::credit::CreditController;
use crate::group::gates::most_raised;
use crate::layout::counters::Cursor;
use crate::layout::group::position_of;
use crate::layout::slot::SlotState;
use crate::limits::MAX_POSITION;
use crate::segment::Segment;
use crate::settings::Sharing;
use crate::sync::look_at;

/// The four counters, as they are in the segment; see `ARCHITECTURE.md` for what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Positions {
    /// Next position that producers claim; as last announced on an exclusive side.
    pub producer_head: u64,
    /// Commit frontier as last announced.
    pub producer_tail: u64,
    /// Next position that consumers claim.
    pub consumer_head: u64,
    /// Release frontier as last announced.
    pub consumer_tail: u64,
}

impl Positions {
    /// The counters of two lanes together. Whatever peers have written.
    pub(super) fn joined(self, other: Self) -> Self {
        Self {
            producer_head: self.producer_head.saturating_add(other.producer_head),
            producer_tail: self.producer_tail.saturating_add(other.producer_tail),
            consumer_head: self.consumer_head.saturating_add(other.consumer_head),
            consumer_tail: self.consumer_tail.saturating_add(other.consumer_tail),
        }
    }
}

/// Messages sent and not yet received.
pub(crate) fn len(segment: &Segment) -> usize {
    let consumed = consumed(segment);
    let sent = producers_at(segment, consumed);
    sent.saturating_sub(consumed).min(segment.settings().capacity as u64) as usize
}

/// Whether no credit is left for any class.
pub(crate) fn is_full(segment: &Segment) -> bool {
    let credits = credits(segment);
    credits.in_flight() >= credits.limit()
}

/// The credit of the lane, as seen now.
pub(crate) fn credits(segment: &Segment) -> CreditController {
    let released = released(segment).min(MAX_POSITION);
    let credits = CreditController::new(segment.settings().credit_limit);
    credits.resume(producers_at(segment, released), released)
}

/// Who is waited for, and is behind all others.
enum Slowest<'s> {
    /// The consumers of a plain ring.
    Plain(&'s Cursor),
    /// Of the open groups the one with the least release frontier.
    Group {
        /// That.
        tail: u64,
        /// The next position that it receives.
        head: u64,
    },
    /// No group is open.
    Nobody,
}

fn slowest(segment: &Segment) -> Slowest<'_> {
    if !segment.is_joinable() {
        return Slowest::Plain(segment.cursor());
    }
    open_groups(segment).min().map_or(Slowest::Nobody, |(tail, head)| Slowest::Group { tail, head })
}

/// The release frontiers and the heads of the groups that are open, but for those whose opening is
/// not finished.
pub(crate) fn open_groups(segment: &Segment) -> impl Iterator<Item = (u64, u64)> {
    segment.rows().filter_map(|(row, it)| {
        let gate = it.look_at_gate();
        let cursor = segment.cursor_of(row);
        // In this order the head can only have grown.
        let tail = look_at(&cursor.consumer_tail);
        let head = gate.tag().position(look_at(&cursor.consumer_head))?;
        gate.is_open().then(|| (position_of(tail), head))
    })
}

/// The next position that is received by those who are waited for.
pub(crate) fn consumed(segment: &Segment) -> u64 {
    match slowest(segment) {
        Slowest::Plain(cursor) => look_at(&cursor.consumer_head),
        Slowest::Group { head, .. } => head,
        Slowest::Nobody => producers_at(segment, 0),
    }
}

/// The position below which all slots are free: what an exclusive consumer is done with is free
/// before it is granted.
pub(crate) fn released(segment: &Segment) -> u64 {
    match (slowest(segment), segment.settings().consumer_side) {
        (Slowest::Plain(cursor), Sharing::Shared) => look_at(&cursor.consumer_tail),
        (Slowest::Plain(cursor), Sharing::Exclusive) => look_at(&cursor.consumer_head),
        (Slowest::Group { tail, .. }, _) => tail,
        (Slowest::Nobody, _) => producers_at(segment, 0),
    }
}

/// How far producers have come when consumers have come to `consumed`, or a moment later.
pub(crate) fn producers_at(segment: &Segment, consumed: u64) -> u64 {
    let counters = segment.lane().counters();
    let position = match segment.settings().producer_side {
        Sharing::Shared => counters.look_at_claimed(),
        Sharing::Exclusive => {
            // In a ring for groups the window says it: what is announced may be laps behind.
            let window = look_at(&counters.window);
            let least = window.saturating_sub(most_raised(segment.lane().capacity()));
            let announced = look_at(&counters.producer_tail);
            written_from(segment, announced.max(consumed).max(least))
        }
    };
    position.max(consumed)
}

/// The end of what is written, from `start` on, which an exclusive producer has announced. It
/// announces only now and then, and the slots say how far it has come since.
pub(crate) fn written_from(segment: &Segment, start: u64) -> u64 {
    let start = start.min(MAX_POSITION);
    let end = start + segment.settings().capacity as u64;
    (start..end).find(|&p| segment.slot(p).look_at(p) == SlotState::NotYet).unwrap_or(end)
}

/// The four counters.
pub(crate) fn positions(segment: &Segment) -> Positions {
    let counters = segment.lane().counters();
    // The consumers' counters first, so that the producers' are not older.
    let (consumer_tail, consumer_head) = match slowest(segment) {
        Slowest::Plain(cursor) => (look_at(&cursor.consumer_tail), look_at(&cursor.consumer_head)),
        Slowest::Group { tail, head } => (tail, head),
        Slowest::Nobody => {
            let producers = producers_at(segment, 0);
            (producers, producers)
        }
    };
    let producer_tail = look_at(&counters.producer_tail);
    let producer_head = counters.look_at_claimed();
    Positions { producer_head, producer_tail, consumer_head, consumer_tail }
}
