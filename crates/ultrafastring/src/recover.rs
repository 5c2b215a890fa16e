//! What happens after a death: adoption.
//!
//! Whoever is stuck tries the lock of each entry that may be in its way. Getting it proves that
//! the entry's holder is dead, and makes the taker the owner: two never repair the same thing, a
//! taker that dies is adopted in turn, and a slow or stopped peer that lives is never robbed. The
//! dead one's word stays in its own line until its work is finished: moved to another line, a scan
//! of the frontier, which is no snapshot, could miss it in both.
//!
//! A holder that is dying counts as dead where somebody is stuck: its locks are not given back yet, and
//! `/proc` shows that none of its threads will run again (`Locker::try_adopt`). Its claim then makes the
//! taker the owner. Such an entry stays taken until the kernel has closed the dying one's files. Newcomers,
//! and `repair`, finish what the dead left whose locks they get, and leave the dying alone.
//!
//! | the dead one was | what is left | what is done |
//! |---|---|---|
//! | a shared producer | an intent below the head, slots not committed | each is marked abandoned, by compare-and-swap from what it was |
//! | a shared consumer | a hold between the frontier and the head | its messages are delivered again, marked, or dropped |
//! | an exclusive producer | nothing: the sequences say how far it came | the successor goes on there |
//! | an exclusive consumer | `consumer_head`, and a hold if it read in place | the successor goes on there, and marks what was held |

use crate::layout::{MAX_POSITION, MAX_SPAN, Redelivery, Sharing, Side, Span};
use crate::participant::{Event, Participant};
use crate::segment::{Locker, Place, Segment};
use crate::slot::SlotState;
use crate::sync::Ordering;
use crate::wait;

/// A dead consumer's messages, being delivered again by whoever owns its entry now.
#[derive(Debug)]
pub(crate) struct Adopted {
    /// The dead one's entry.
    pub(crate) index: usize,
    /// The next position to deliver.
    pub(crate) next: u64,
    /// The first position that was not held.
    pub(crate) end: u64,
    /// Whether `next` is in the hands of the program and not released.
    pub(crate) lent: bool,
}

/// What became of a dead consumer's hold.
#[derive(Debug)]
pub(crate) enum Finish {
    /// Nothing is left to do; the word is cleared. So many messages were dropped.
    Done { discarded: u64 },
    /// It cannot be told yet whether the dead one won its claim.
    Later,
    /// Its messages are to be delivered again.
    Redeliver(Adopted),
}

/// What `adopt_consumer` found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) adopted: Option<Adopted>,
    pub(crate) discarded: u64,
}

/// Abandons what dead producers claimed and will never commit, where it is in the way of
/// `stuck`. Says how many slots it marked.
pub(crate) fn abandon_for_the_dead(
    segment: &Segment,
    locker: &Locker,
    own: usize,
    stuck: u64,
) -> u64 {
    let mut abandoned = 0;
    for index in (0..segment.entries_used()).filter(|&index| index != own) {
        let participant = segment.participant(index);
        let in_the_way = participant.shown_intent().is_some_and(|span| span.contains(stuck));
        if in_the_way && is_adopted(segment, locker, index) {
            let (settled, count) = finish_intent(segment, locker, index);
            abandoned += count;
            if settled {
                vacate_if_clear(participant);
            }
            locker.unlock(segment, Place::Entry(index));
        }
    }
    abandoned
}

/// Makes an entry free whose lock the caller has, unless it changed hands since it was looked at
/// and its last holder left something else to do.
fn vacate_if_clear(participant: &Participant) {
    if participant.shown_intent().is_none() && participant.shown_hold().is_none() {
        participant.vacate();
    }
}

/// Takes a dead one's entry over; `false` if it lives, or if that cannot be found out now.
fn is_adopted(segment: &Segment, locker: &Locker, index: usize) -> bool {
    let adopted = locker.try_adopt(segment, index);
    if adopted {
        segment.participant(index).note_adopted();
    }
    adopted
}

/// Settles the intent of an entry whose lock the caller has. Says whether it did, since it may be
/// that it cannot be told yet who won a slot of it, and how many slots it marked abandoned.
pub(crate) fn finish_intent(segment: &Segment, locker: &Locker, index: usize) -> (bool, u64) {
    let participant = segment.participant(index);
    let Some(span) = participant.shown_intent() else { return (true, 0) };
    // Acquire: pairs with the release of the claims: whoever won a position below shows it.
    let head = segment.counters().producers_claimed(Ordering::Acquire);
    let mut abandoned = 0;
    // A claim moves the head over the whole span at once: a head inside it is somebody else's.
    if span.end() <= head {
        // What is a lap below the head was committed, released and claimed again since.
        let lap_ago = head.saturating_sub(segment.geometry().capacity as u64);
        for position in span.first.max(lap_ago)..span.end() {
            let slot = segment.slot(position);
            let seen = slot.sequence();
            if crate::TimestampedSlot::state_of(seen, position) != SlotState::NotYet {
                continue;
            }
            if shown_by_a_living_one(segment, locker, index, position, Participant::shown_intent) {
                return (false, abandoned);
            }
            abandoned += u64::from(slot.abandon(seen, position));
        }
    }
    participant.clear_intent();
    (true, abandoned)
}

/// Whether another entry, whose holder lives, shows `position` too: one of the two lost the race
/// for it and will move on, and it is not known which.
fn shown_by_a_living_one(
    segment: &Segment,
    locker: &Locker,
    except: usize,
    position: u64,
    shown: fn(&Participant) -> Option<Span>,
) -> bool {
    (0..segment.entries_used()).filter(|&index| index != except).any(|index| {
        shown(segment.participant(index)).is_some_and(|span| span.contains(position))
            && locker.lives(segment, index)
    })
}

/// What an entry shows as an intent, if any of it may not be committed: claimed or about to be, and
/// neither committed nor abandoned. An intent stays shown until the next claim; most are settled.
pub(crate) fn unsettled_intent(segment: &Segment, index: usize) -> Option<Span> {
    // Loads that an observer may make, too.
    let span = segment.participant(index).look_at_intent()?;
    let head = segment.counters().look_at_claimed();
    let lap_ago = head.saturating_sub(segment.geometry().capacity as u64);
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
    /// Slots marked abandoned.
    pub(crate) abandoned: u64,
    /// Messages dropped, as the ring's policy says.
    pub(crate) discarded: u64,
    /// Messages that a consumer has to deliver again.
    pub(crate) left: Option<Span>,
}

/// Wakes a consumer that sleeps, if slots were `abandoned` by somebody who does not receive: it may have
/// waited for the first of them.
pub(crate) fn tell_of_abandoned(segment: &Segment, abandoned: u64) {
    if abandoned != 0 && wait::is_alert(segment, Side::Consumer) {
        wait::ring(segment, Side::Consumer);
    }
}

/// Finishes the work of a dead participant, the lock of whose entry the caller has, and frees the
/// entry if nothing is left that needs a consumer.
pub(crate) fn finish(segment: &Segment, locker: &Locker, index: usize) -> Finished {
    let participant = segment.participant(index);
    let mut finished = Finished::default();
    if participant.role().is_none() {
        return finished;
    }
    let (settled, abandoned) = finish_intent(segment, locker, index);
    participant.count(Event::Abandoned, abandoned);
    tell_of_abandoned(segment, abandoned);
    finished.abandoned = abandoned;
    if !settled {
        return finished;
    }
    if let Some(span) = participant.shown_hold() {
        if segment.geometry().consumer_sharing == Sharing::Exclusive {
            if !is_behind_its_side(segment, span) {
                // The side's next holder settles it.
                finished.left = Some(span);
                return finished;
            }
            participant.clear_hold();
        } else {
            match finish_hold(segment, locker, index, index) {
                Finish::Done { discarded } => {
                    participant.count(Event::Discarded, discarded);
                    finished.discarded = discarded;
                }
                Finish::Redeliver(adopted) => {
                    finished.left = Some(Span::new(adopted.next, adopted.end - adopted.next));
                    return finished;
                }
                Finish::Later => return finished,
            }
        }
    }
    participant.vacate();
    finished.freed = true;
    finished
}

/// A newcomer asks after the owners of so many entries in use: a system call each in a file.
const MOST_ASKED_AFTER: usize = 64;

/// For a newcomer, which is in no hurry yet: finishes what dead participants left and frees their
/// entries, which would else stay taken until the table is full. Gives the entry of the dead consumer
/// of a shared side whose messages are the oldest, if any wait to be delivered again.
pub(crate) fn tidy_up(segment: &Segment, locker: &Locker, own: usize) -> Option<usize> {
    let used = segment.entries_used();
    let mut oldest: Option<(u64, usize)> = None;
    let mut freed = false;
    let others = (1..used).map(|distance| (own + distance) % used);
    let in_use = others.filter(|&index| segment.participant(index).role().is_some());
    for index in in_use.take(MOST_ASKED_AFTER) {
        // By its lock alone: a newcomer need not know of those who are dying yet, and would have to ask
        // after the process of each one that lives.
        if !locker.try_lock(segment, Place::Entry(index)).unwrap_or(false) {
            continue;
        }
        segment.participant(index).note_adopted();
        let finished = finish(segment, locker, index);
        locker.unlock(segment, Place::Entry(index));
        freed |= finished.freed;
        let first = finished.left.map_or(u64::MAX, |span| span.first);
        if segment.geometry().consumer_sharing == Sharing::Shared
            && first < oldest.map_or(u64::MAX, |(first, _)| first)
        {
            oldest = Some((first, index));
        }
    }
    if freed && segment.geometry().consumer_sharing == Sharing::Shared {
        // As in `finish_for_newcomer`.
        raise_release_frontier(segment);
    }
    oldest.map(|(_, index)| index)
}

/// Looks for a dead consumer whose hold is in the way of the release frontier, and takes over its
/// entry. What needs no delivery is settled at once.
pub(crate) fn adopt_consumer(segment: &Segment, locker: &Locker, own: usize) -> Found {
    let mut found = Found::default();
    for index in (0..segment.entries_used()).filter(|&index| index != own) {
        if segment.participant(index).shown_hold().is_none() || !is_adopted(segment, locker, index)
        {
            continue;
        }
        take_over(segment, locker, index, own, &mut found);
        if found.adopted.is_some() {
            break;
        }
    }
    found
}

/// For producers, which deliver nothing: settles the holds of dead consumers that need no delivery,
/// and raises the frontier over what was released and not announced. Says how many messages were
/// dropped, as the ring's policy says.
pub(crate) fn settle_consumers(segment: &Segment, locker: &Locker, own: usize) -> u64 {
    let found = adopt_consumer(segment, locker, own);
    if let Some(adopted) = found.adopted {
        hand_on(segment, locker, &adopted, own);
    }
    raise_release_frontier(segment);
    found.discarded
}

/// Takes over again what was handed on, if nobody else has done so meanwhile.
pub(crate) fn adopt_again(segment: &Segment, locker: &Locker, index: usize, own: usize) -> Found {
    let mut found = Found::default();
    if segment.participant(index).shown_hold().is_some() && is_adopted(segment, locker, index) {
        take_over(segment, locker, index, own, &mut found);
    }
    found
}

/// Settles the hold of an entry whose lock the caller has, or adds it to what was `found`.
fn take_over(segment: &Segment, locker: &Locker, index: usize, own: usize, found: &mut Found) {
    match finish_hold(segment, locker, index, own) {
        Finish::Done { discarded } => {
            found.discarded += discarded;
            close(segment, locker, index, own);
        }
        Finish::Later => locker.unlock(segment, Place::Entry(index)),
        Finish::Redeliver(adopted) => found.adopted = Some(adopted),
    }
}

/// Decides about the hold of an entry whose lock the caller has.
pub(crate) fn finish_hold(segment: &Segment, locker: &Locker, index: usize, own: usize) -> Finish {
    let participant = segment.participant(index);
    let Some(span) = participant.shown_hold() else { return Finish::Done { discarded: 0 } };
    let counters = segment.counters();
    // Acquire, both: as in a scan of the frontier.
    let tail = counters.consumer_tail.load(Ordering::Acquire);
    let head = counters.consumer_head.load(Ordering::Acquire);
    // A frontier beyond its first position did not wait for it, so it had lost; a head that is
    // not beyond all of it never moved for it.
    if tail > span.first || head < span.end() || head > MAX_POSITION {
        participant.clear_hold();
        return Finish::Done { discarded: 0 };
    }
    // One who lives may have won it, or is about to find out that it has not. Of two dead ones who
    // show the same, one lost, and what it lost is at worst delivered once more, marked.
    let contested = (0..segment.entries_used())
        .filter(|&other| other != index && other != own)
        .filter(|&other| {
            segment.participant(other).shown_hold().is_some_and(|shown| shown.overlaps(span))
        })
        .any(|other| locker.lives(segment, other));
    if contested {
        return Finish::Later;
    }
    if segment.geometry().redelivery == Redelivery::Discard {
        participant.clear_hold();
        return Finish::Done { discarded: span.count };
    }
    Finish::Redeliver(Adopted { index, next: span.first, end: span.end(), lent: false })
}

/// Makes an adopted entry nobody's, its work finished. The taker's own entry stays the taker's.
pub(crate) fn close(segment: &Segment, locker: &Locker, index: usize, own: usize) {
    let participant = segment.participant(index);
    participant.clear_hold();
    if index != own {
        vacate_if_clear(participant);
        locker.unlock(segment, Place::Entry(index));
    }
}

/// Leaves an adopted entry with work undone to whoever comes next.
pub(crate) fn hand_on(segment: &Segment, locker: &Locker, adopted: &Adopted, own: usize) {
    if adopted.index != own {
        locker.unlock(segment, Place::Entry(adopted.index));
    }
}

/// Finishes what the dead holder of an entry left, for a newcomer of `side` that has its lock and
/// wants the entry. Says whether the newcomer may have it; a shared consumer also gets the
/// messages, still shown in the entry, that it is to deliver first.
pub(crate) fn finish_for_newcomer(
    segment: &Segment,
    locker: &Locker,
    index: usize,
    side: Side,
) -> (bool, Option<Adopted>) {
    let participant = segment.participant(index);
    let (settled, abandoned) = finish_intent(segment, locker, index);
    participant.count(Event::Abandoned, abandoned);
    tell_of_abandoned(segment, abandoned);
    if !settled {
        return (false, None);
    }
    let hold = participant.shown_hold();
    if segment.geometry().consumer_sharing == Sharing::Exclusive {
        let Some(hold) = hold else { return (true, None) };
        if is_behind_its_side(segment, hold) {
            participant.clear_hold();
            return (true, None);
        }
        // An exclusive consumer settles it with its side, whoever's entry it is in.
        return (side == Side::Consumer, None);
    }
    match finish_hold(segment, locker, index, index) {
        Finish::Done { discarded } => {
            participant.count(Event::Discarded, discarded);
            // Over what it held in vain, or had released and not announced.
            raise_release_frontier(segment);
            (true, None)
        }
        Finish::Redeliver(adopted) if side == Side::Consumer => (true, Some(adopted)),
        Finish::Redeliver(_) | Finish::Later => (false, None),
    }
}

/// What a new exclusive consumer, which has its side's lock and goes on at `next`, takes over from
/// those before it: the first position that nobody had borrowed. Their entries are freed; what
/// they held is shown in the new one's own entry first, and stays shown until it is received, so
/// that a successor that dies or leaves before leaves it marked.
pub(crate) fn succeed_exclusive_consumer(
    segment: &Segment,
    locker: &Locker,
    own: usize,
    next: u64,
) -> u64 {
    let mine = segment.participant(own);
    // A hold below `next` says nothing: it was released. No hold is longer than a span.
    let held_below = |span: Option<Span>| span.map_or(0, Span::end).min(next + MAX_SPAN);
    let mut redelivered_below = held_below(mine.shown_hold());
    let show = |end: u64| match end.checked_sub(next) {
        Some(count @ 1..) => mine.show_hold(Span::new(next, count)),
        _ => mine.clear_hold(),
    };
    if redelivered_below != 0 {
        show(redelivered_below);
    }
    for index in (0..segment.entries_used()).filter(|&index| index != own) {
        // Without the entry's lock: a bystander may have it for a moment (`repair`, a newcomer that
        // looks for an entry), and is not who died. Nobody but the side's holder shows a hold, and
        // the side's lock says that there is no other; so this one is dead or has left.
        let Some(hold) = segment.participant(index).shown_hold() else { continue };
        let end = held_below(Some(hold));
        if end > redelivered_below {
            redelivered_below = end;
            show(end);
        }
        // Only with the lock is an entry closed. One that a bystander has just now stays as it is
        // until its messages are received, and then says nothing (`is_behind_its_side`).
        if is_adopted(segment, locker, index) {
            close(segment, locker, index, own);
        }
    }
    redelivered_below
}

/// Whether what a dead exclusive consumer held has been released since, so that nothing is left to
/// do for its entry.
pub(crate) fn is_behind_its_side(segment: &Segment, hold: Span) -> bool {
    // Acquire: pairs with the release of the head: what was released was read before.
    segment.counters().consumer_head.load(Ordering::Acquire) >= hold.end()
}

/// Announces a shared side's release frontier: the least of `consumer_head`, read first, and all
/// that consumers hold.
///
/// Only whoever moves it wakes the producers: nobody has been given anything by the others. One that
/// is killed between the two leaves them asleep for [`LONGEST_PARK`](wait::LONGEST_PARK) at most,
/// as it would after any grant. A producer looks here itself before it sleeps, so one that woke
/// producers for nothing would never let itself sleep.
pub(crate) fn raise_release_frontier(segment: &Segment) {
    let counters = segment.counters();
    // Acquire, and before the holds: pairs with the release of each claim, so the hold of whoever
    // claimed below the head is seen, or a later word of the same line.
    let head = counters.consumer_head.load(Ordering::Acquire);
    let frontier = (0..segment.entries_used())
        .filter_map(|index| segment.participant(index).shown_hold())
        .map(|span| span.first)
        .fold(head, u64::min);
    // Relaxed: a frontier that stands as far as this, which never goes back, needs no store: that would
    // take its line away from all who look at it.
    let mut stands = counters.consumer_tail.load(Ordering::Relaxed);
    while stands < frontier {
        // Release: pairs with the acquire in `refill`: all reads below come before the producers'
        // writes. Acquire: pairs with the second look in `read_adopted`. A maximum: another grant may
        // have seen more.
        match counters.consumer_tail.compare_exchange_weak(
            stands,
            frontier,
            Ordering::AcqRel,
            Ordering::Relaxed,
        ) {
            Ok(_) => {
                if wait::is_alert(segment, Side::Producer) {
                    wait::ring(segment, Side::Producer);
                }
                return;
            }
            Err(other) => stands = other,
        }
    }
}

#[cfg(all(test, feature = "std", not(loom)))]
mod tests {
    use super::*;
    use crate::produce::Mode;
    use crate::{Consumer, PriorityClass, Shared, UltraFastRing};

    const NORMAL: PriorityClass = PriorityClass::Normal;

    fn rings(ring: &UltraFastRing) -> u32 {
        ring.segment().control().bell(Side::Consumer).rings.load(Ordering::Relaxed)
    }

    /// A ring in which a producer died that had claimed a position.
    fn claimed_by_a_dead_producer() -> UltraFastRing {
        let ring = UltraFastRing::new(8);
        let mut dead = ring.producer().unwrap();
        core::mem::forget(dead.reserve(1, NORMAL).unwrap());
        let entry = &dead.entry;
        entry.locker().unlock(entry.segment(), Place::Entry(entry.index()));
        core::mem::forget(dead);
        ring
    }

    fn die<S: Mode>(consumer: Consumer<S>) {
        let entry = &consumer.entry;
        entry.locker().unlock(entry.segment(), Place::Entry(entry.index()));
        core::mem::forget(consumer);
    }

    #[test]
    fn a_consumer_that_sleeps_is_told_of_slots_that_a_newcomer_or_a_repair_abandons() {
        let finishes: [fn(&UltraFastRing); 2] = [
            |ring| assert_eq!(ring.repair().unwrap().abandoned, 1),
            |ring| core::mem::forget(ring.producer().unwrap()),
        ];
        for finish in finishes {
            let ring = claimed_by_a_dead_producer();
            wait::arm(ring.segment(), Side::Consumer);
            let before = rings(&ring);
            finish(&ring);
            assert_ne!(rings(&ring), before);
            // And of nothing else.
            wait::arm(ring.segment(), Side::Consumer);
            let before = rings(&ring);
            finish_again(&ring);
            assert_eq!(rings(&ring), before);
        }
    }

    fn finish_again(ring: &UltraFastRing) {
        assert_eq!(ring.repair().unwrap().abandoned, 0);
        core::mem::forget(ring.producer().unwrap());
    }

    #[test]
    fn a_consumer_that_sleeps_is_told_of_an_orphan_that_a_repair_abandons() {
        let ring = claimed_by_a_dead_producer();
        for index in 0..ring.segment().entries_used() {
            ring.segment().participant(index).clear_intent();
        }
        wait::arm(ring.segment(), Side::Consumer);
        let before = rings(&ring);
        assert_eq!(ring.repair().unwrap().abandoned, 1);
        assert_ne!(rings(&ring), before);
    }

    #[test]
    fn a_newcomer_announces_what_a_dead_consumer_had_released_or_held_in_vain() {
        let leaves: [fn(&mut Consumer<Shared>); 2] = [
            |consumer| core::mem::forget(consumer.borrow().unwrap()),
            |consumer| assert!(consumer.try_recv().is_ok()),
        ];
        // With entries to spare, and with none but what the dead one left.
        for (participants, leave) in
            [(8, leaves[0]), (8, leaves[1]), (2, leaves[0]), (2, leaves[1])]
        {
            let builder = UltraFastRing::builder().capacity(64).redelivery(Redelivery::Discard);
            let ring = builder.participants(participants).heap().unwrap();
            for _ in 0..2 {
                ring.send_fast(b"x", NORMAL).unwrap();
            }
            let mut dead = ring.consumer().unwrap();
            dead.try_recv().unwrap();
            leave(&mut dead);
            die(dead);
            // As if it had announced nothing.
            ring.segment().counters().consumer_tail.store(0, Ordering::Relaxed);
            core::mem::forget(ring.producer().unwrap());
            let positions = ring.positions();
            assert_eq!((positions.consumer_head, positions.consumer_tail), (2, 2));
        }
    }
}
