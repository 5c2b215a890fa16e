//! Taking over the entries of dead participants: those that block somebody, and those whose
//! messages come first.

use super::finish::{Adopted, Finish, finish, finish_hold, finish_intent};
use super::frontier::{grant_from_outside, raise_frontier_of};
use super::liveness::Liveness;
use crate::layout::span::{MAX_SPAN, Span};
use crate::segment::Segment;
use crate::segment::group::Readers;
use crate::settings::Sharing;

/// What `adopt_consumer` found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) adopted: Option<Adopted>,
    pub(crate) discarded: u64,
}

/// Abandons what dead producers claimed and will never commit, where it is in the way of `stuck`.
/// Returns how many slots it marked.
#[cold]
#[inline(never)]
pub(crate) fn abandon_for_the_dead(
    segment: &Segment,
    liveness: &dyn Liveness,
    own: usize,
    stuck: u64,
) -> u64 {
    let mut abandoned = 0;
    for (index, participant) in segment.entries().filter(|&(index, _)| index != own) {
        let in_the_way = participant.shown_intent().is_some_and(|span| span.contains(stuck));
        if in_the_way && try_adopt(segment, liveness, index) {
            let (settled, count) = finish_intent(segment, liveness, index);
            abandoned += count;
            if settled && participant.vacate_if_clear() {
                segment.control().count_recovery();
            }
            liveness.give_back(segment, index);
        }
    }
    abandoned
}

/// Takes over a dead participant's entry; `false` if it is alive, or if that cannot be found out
/// now.
fn try_adopt(segment: &Segment, liveness: &dyn Liveness, index: usize) -> bool {
    let adopted = liveness.try_adopt(segment, index);
    if adopted {
        segment.participant(index).note_adopted();
    }
    adopted
}

/// A newcomer checks the owners of at most this many entries in use. In a file that is a system
/// call each.
const MOST_ASKED_AFTER: usize = 64;

/// For a newcomer, which is in no hurry yet: finishes what dead participants left and frees their
/// entries, which would else stay taken until the table is full. Gives the entry of the dead
/// consumer of a shared side whose messages are the oldest, if any wait to be delivered again.
pub(crate) fn tidy_up(segment: &Segment, liveness: &dyn Liveness, own: usize) -> Option<usize> {
    let readers = segment.readers(segment.participant(own).membership());
    let used = segment.entries_used();
    let mut oldest: Option<(u64, usize)> = None;
    let mut freed = false;
    let others = (1..used).map(|distance| (own + distance) % used);
    let in_use = others.filter(|&index| segment.participant(index).role().is_some());
    for index in in_use.take(MOST_ASKED_AFTER) {
        // By its lock alone. A newcomer need not know who is dying, and would have to check the
        // process of every living participant.
        if !liveness.try_take(segment, index).unwrap_or(false) {
            continue;
        }
        segment.participant(index).note_adopted();
        let finished = finish(segment, liveness, index);
        liveness.give_back(segment, index);
        freed |= finished.freed;
        // Of one's own group only.
        let left = finished.left.filter(|_| readers.has(segment.participant(index)));
        let first = left.map_or(u64::MAX, |span| span.first);
        if segment.settings().consumer_side == Sharing::Shared
            && first < oldest.map_or(u64::MAX, |(first, _)| first)
        {
            oldest = Some((first, index));
        }
    }
    if freed && segment.settings().consumer_side == Sharing::Shared {
        // As in `finish_for_newcomer`.
        raise_frontier_of(readers);
    }
    oldest.map(|(_, index)| index)
}

/// Looks for a dead one of those who are given, whose hold is in the way of the release frontier,
/// and takes over its entry. What needs no delivery is settled at once.
#[cold]
#[inline(never)]
pub(crate) fn adopt_consumer(readers: Readers<'_>, liveness: &dyn Liveness, own: usize) -> Found {
    let mut found = Found::default();
    for index in (0..readers.segment().entries_used()).filter(|&index| index != own) {
        let Found { adopted, discarded } = adopt_again(readers, liveness, index, own);
        found.discarded += discarded;
        if adopted.is_some() {
            found.adopted = adopted;
            break;
        }
    }
    found
}

/// For producers, which deliver nothing: settles the holds of dead consumers that need no delivery,
/// and raises the frontier over what was released and not announced. Says how many messages were
/// dropped, as the ring's policy says.
#[cold]
#[inline(never)]
pub(crate) fn settle_consumers(readers: Readers<'_>, liveness: &dyn Liveness, own: usize) -> u64 {
    let found = adopt_consumer(readers, liveness, own);
    if let Some(adopted) = found.adopted {
        hand_on(readers.segment(), liveness, &adopted, own);
    }
    grant_from_outside(readers, own);
    found.discarded
}

/// The same of one entry: also to take over again what was handed on, if nobody else has done so
/// meanwhile.
pub(crate) fn adopt_again(
    readers: Readers<'_>,
    liveness: &dyn Liveness,
    index: usize,
    own: usize,
) -> Found {
    let segment = readers.segment();
    let mut found = Found::default();
    let participant = segment.participant(index);
    if readers.hold_of(participant).is_some() && try_adopt(segment, liveness, index) {
        if !readers.has(participant) {
            // Another has had the entry since, and died in another group.
            liveness.give_back(segment, index);
            return found;
        }
        match finish_hold(segment, liveness, index, own) {
            Finish::Done { discarded } => {
                found.discarded = discarded;
                close(segment, liveness, index, own);
            }
            Finish::Later => liveness.give_back(segment, index),
            Finish::Redeliver(adopted) => found.adopted = Some(adopted),
        }
    }
    found
}

/// Frees an adopted entry whose work is finished. The taker's own entry stays the taker's.
pub(crate) fn close(segment: &Segment, liveness: &dyn Liveness, index: usize, own: usize) {
    let participant = segment.participant(index);
    participant.clear_hold();
    if index != own {
        if participant.vacate_if_clear() {
            segment.control().count_recovery();
        }
        liveness.give_back(segment, index);
    }
}

/// Leaves an adopted entry with unfinished work to the next adopter.
pub(crate) fn hand_on(segment: &Segment, liveness: &dyn Liveness, adopted: &Adopted, own: usize) {
    if adopted.index != own {
        liveness.give_back(segment, adopted.index);
    }
}

/// What a new exclusive consumer, which has its side's lock and goes on at `next`, takes over from
/// those before it: the first position that nobody had borrowed. Their entries are freed; what
/// they held is shown in the new one's own entry first, and stays shown until it is received, so
/// that a successor that dies or leaves before leaves it marked.
pub(crate) fn succeed_exclusive_consumer(
    segment: &Segment,
    liveness: &dyn Liveness,
    own: usize,
    next: u64,
) -> u64 {
    let mine = segment.participant(own);
    // A hold below `next` was released and does not count. No hold is longer than a span.
    let held_below = |span: Option<Span>| span.map_or(0, Span::end).min(next + MAX_SPAN);
    let mut redelivered_below = held_below(mine.shown_hold());
    let show = |end: u64| match end.checked_sub(next) {
        Some(count @ 1..) => mine.show_hold(Span::new(next, count)),
        _ => mine.clear_hold(),
    };
    if redelivered_below != 0 {
        show(redelivered_below);
    }
    for (index, participant) in segment.entries().filter(|&(index, _)| index != own) {
        // Without the entry's lock: a bystander may have it for a moment (`repair`, a newcomer that
        // looks for an entry), and is not who died. Nobody but the side's holder shows a hold, and
        // the side's lock says that there is no other; so this one is dead or has left.
        let Some(hold) = participant.shown_hold() else { continue };
        let end = held_below(Some(hold));
        if end > redelivered_below {
            redelivered_below = end;
            show(end);
        }
        // Only with the lock is an entry closed. One that a bystander has just now stays as it is
        // until its messages are received, and then says nothing (`is_behind_its_side`).
        if try_adopt(segment, liveness, index) {
            close(segment, liveness, index, own);
        }
    }
    redelivered_below
}
