//! Finishes what a dead participant left. The caller has taken its entry.

use super::frontier::{positions_of, raise_frontier_of};
use super::liveness::Liveness;
use crate::layout::group::Membership;
use crate::layout::participant::{Event, Participant};
use crate::layout::slot::{SlotState, TimestampedSlot};
use crate::layout::span::Span;
use crate::limits::MAX_POSITION;
use crate::segment::Segment;
use crate::segment::group::Readers;
use crate::settings::{Redelivery, Sharing, Side};
use crate::sync::Ordering;
use crate::waiting::bell;

/// A dead consumer's messages, which the present owner of its entry delivers again.
#[derive(Debug)]
pub(crate) struct Adopted {
    /// The dead consumer's entry.
    pub(crate) index: usize,
    /// The next position to deliver.
    pub(crate) next: u64,
    /// The first position that was not held.
    pub(crate) end: u64,
    /// Whether the program holds `next` and has not released it.
    pub(crate) lent: bool,
}

impl Adopted {
    /// Everything that the entry at `index` shows as its hold.
    fn all(index: usize, hold: Span) -> Self {
        Self { index, next: hold.first, end: hold.end(), lent: false }
    }
}

/// The result of settling a dead consumer's hold.
#[derive(Debug)]
pub(crate) enum Finish {
    /// Nothing is left to do, and the word is cleared. This many messages were dropped.
    Done { discarded: u64 },
    /// It is not known yet whether the dead consumer won its claim.
    Later,
    /// Its messages are to be delivered again.
    Redeliver(Adopted),
}

/// Settles the intent of an entry whose lock the caller has. Returns whether it did, since it may
/// not be known yet who won a slot, and how many slots it marked abandoned.
pub(crate) fn finish_intent(
    segment: &Segment,
    liveness: &dyn Liveness,
    index: usize,
) -> (bool, u64) {
    let participant = segment.participant(index);
    let Some(span) = participant.shown_intent() else { return (true, 0) };
    // Acquire: pairs with the release of the claims: whoever won a position below shows it.
    let head = segment.lane().counters().producers_claimed(Ordering::Acquire);
    let mut abandoned = 0;
    // A claim moves the head over the whole span at once: a head inside it is somebody else's.
    if span.end() <= head {
        // What is a lap below the head was committed, released and claimed again since.
        let lap_ago = head.saturating_sub(segment.lane().capacity());
        for position in span.first.max(lap_ago)..span.end() {
            let slot = segment.slot(position);
            let seen = slot.sequence();
            if TimestampedSlot::state_of(seen, position) != SlotState::NotYet {
                continue;
            }
            let claims =
                |it: &Participant| it.shown_intent().is_some_and(|it| it.contains(position));
            if has_living_rival(segment, liveness, [index; 2], claims) {
                return (false, abandoned);
            }
            abandoned += u64::from(slot.abandon(seen, position));
        }
    }
    participant.clear_intent();
    (true, abandoned)
}

/// Whether another entry, whose holder is alive, shows a claim to the same position. One of the two
/// lost the race for it and will move on, and it is not known which.
fn has_living_rival(
    segment: &Segment,
    liveness: &dyn Liveness,
    except: [usize; 2],
    claims: impl Fn(&Participant) -> bool,
) -> bool {
    segment.entries().any(|(index, participant)| {
        !except.contains(&index) && claims(participant) && liveness.lives(segment, index)
    })
}

/// What an entry shows as an intent, if any of it may not be committed: claimed or about to be, and
/// neither committed nor abandoned. An intent stays shown until the next claim; most are settled.
pub(crate) fn unsettled_intent(segment: &Segment, index: usize) -> Option<Span> {
    // Loads that an observer may make, too.
    let span = segment.participant(index).look_at_intent()?;
    let head = segment.lane().counters().look_at_claimed();
    let lap_ago = head.saturating_sub(segment.lane().capacity());
    let is_open = |position: u64| {
        // What is a lap below the head was committed, released and claimed again since.
        position >= head
            || position >= lap_ago && segment.slot(position).look_at(position) == SlotState::NotYet
    };
    (span.first..span.end()).any(is_open).then_some(span)
}

/// What [`finish`] did, and left.
#[derive(Debug, Default)]
pub(crate) struct Finished {
    /// The entry is free.
    pub(crate) freed: bool,
    /// Slots marked abandoned. A repair says how many.
    #[cfg_attr(not(feature = "alloc"), allow(dead_code))]
    pub(crate) abandoned: u64,
    /// Messages dropped, as the ring's policy says.
    pub(crate) discarded: u64,
    /// Messages that a consumer has to deliver again.
    pub(crate) left: Option<Span>,
}

/// Wakes a consumer that sleeps, if slots were `abandoned` by somebody who does not receive: it may
/// have waited for the first of them.
pub(crate) fn tell_of_abandoned(segment: &Segment, abandoned: u64) {
    if abandoned != 0 && bell::is_alert(segment, Side::Consumer) {
        bell::wake(segment, Side::Consumer);
    }
}

/// Finishes the work of a dead participant, whose entry the caller has taken. Frees the entry if
/// nothing is left that needs a consumer.
pub(crate) fn finish(segment: &Segment, liveness: &dyn Liveness, index: usize) -> Finished {
    let participant = segment.participant(index);
    if participant.role().is_none() {
        return Finished::default();
    }
    let finished = finish_all_but_vacate(segment, liveness, index);
    if finished.freed {
        participant.vacate();
        segment.control().count_recovery();
    }
    finished
}

/// Finishes what the dead holder of an entry left, for a newcomer of `side` that has taken the
/// entry and wants to keep it; one of a group says of which `row`. Says whether the newcomer may; a
/// shared consumer also gets the messages, still shown in the entry, that it is to deliver first.
/// One of a group counts itself in before it does.
pub(crate) fn finish_for_newcomer(
    segment: &Segment,
    liveness: &dyn Liveness,
    index: usize,
    side: Side,
    row: Option<usize>,
) -> (bool, Option<Adopted>) {
    let participant = segment.participant(index);
    let membership = participant.membership();
    let finished = finish_all_but_vacate(segment, liveness, index);
    let shared = segment.settings().consumer_side == Sharing::Shared;
    match finished.left {
        // Of another group: for one of its own.
        Some(_) if membership.row() != row => (false, None),
        // An exclusive consumer settles it with its side, whoever's entry it is in.
        Some(hold) if side == Side::Consumer => (true, shared.then(|| Adopted::all(index, hold))),
        Some(_) => (false, None),
        None => {
            if finished.freed && shared {
                // Over what it held in vain, or had released and not announced.
                raise_frontier_of(segment.readers(membership));
            }
            if finished.freed && membership != Membership::NONE {
                participant.name_group(Membership::NONE);
            }
            if finished.freed && participant.role().is_some() {
                segment.control().count_recovery();
            }
            (finished.freed, None)
        }
    }
}

/// Does everything that can be done for an entry that the caller has taken, except freeing it.
fn finish_all_but_vacate(segment: &Segment, liveness: &dyn Liveness, index: usize) -> Finished {
    let participant = segment.participant(index);
    let (settled, abandoned) = finish_intent(segment, liveness, index);
    participant.count(Event::Abandoned, abandoned);
    tell_of_abandoned(segment, abandoned);
    let mut finished = Finished { abandoned, ..Finished::default() };
    if !settled {
        return finished;
    }
    if segment.settings().consumer_side == Sharing::Exclusive {
        // What is not behind its side, that side's next holder settles.
        finished.left = participant.shown_hold().filter(|&hold| !is_behind_its_side(segment, hold));
        finished.freed = finished.left.is_none();
        if finished.freed {
            participant.clear_hold();
        }
        return finished;
    }
    match finish_hold(segment, liveness, index, index) {
        Finish::Done { discarded } => {
            participant.count(Event::Discarded, discarded);
            finished.discarded = discarded;
            finished.freed = true;
        }
        Finish::Redeliver(adopted) => {
            finished.left = Some(Span::new(adopted.next, adopted.end - adopted.next));
        }
        Finish::Later => {}
    }
    finished
}

/// Decides about the hold of an entry whose lock the caller has.
pub(crate) fn finish_hold(
    segment: &Segment,
    liveness: &dyn Liveness,
    index: usize,
    own: usize,
) -> Finish {
    let participant = segment.participant(index);
    let done = || {
        participant.clear_hold();
        Finish::Done { discarded: 0 }
    };
    let Some(span) = participant.shown_hold() else { return Finish::Done { discarded: 0 } };
    // That of a group which is not open in this generation is nothing that anybody waits for.
    let Some(readers) = segment.readers_of(participant) else { return done() };
    if !is_published(readers) {
        return done();
    }
    let (tail, head) = positions_of(readers);
    // A frontier beyond its first position did not wait for it, so it had lost; a head that is
    // not beyond all of it never moved for it.
    if tail > span.first || head < span.end() || head > MAX_POSITION {
        return done();
    }
    // A living consumer may have won it, or is about to find out that it has not. If two dead
    // consumers show the same positions, one of them lost. At worst these are delivered once more,
    // marked.
    let claims = |it: &Participant| readers.hold_of(it).is_some_and(|shown| shown.overlaps(span));
    if has_living_rival(segment, liveness, [index, own], claims) {
        return Finish::Later;
    }
    if segment.settings().redelivery == Redelivery::Discard {
        participant.clear_hold();
        return Finish::Done { discarded: span.count };
    }
    Finish::Redeliver(Adopted::all(index, span))
}

/// Whether both words of a cursor are of the generation of those who are given: before an opening
/// is finished nobody claims anything there.
fn is_published(readers: Readers<'_>) -> bool {
    let (cursor, tag) = (readers.cursor(), readers.tag());
    // Acquire, both: as in `positions_of`. What is of this generation stays so while it is open.
    readers.row().is_none()
        || tag.position(cursor.consumer_tail.load(Ordering::Acquire)).is_some()
            && tag.position(cursor.consumer_head.load(Ordering::Acquire)).is_some()
}

/// Whether what a dead exclusive consumer held has been released since, so that nothing is left to
/// do for its entry.
pub(crate) fn is_behind_its_side(segment: &Segment, hold: Span) -> bool {
    // Acquire: pairs with the release of the head: what was released was read before.
    segment.cursor().consumer_head.load(Ordering::Acquire) >= hold.end()
}
