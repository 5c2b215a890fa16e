//! Opening a group that is closed, or was evicted: the one thing that is done under its row's lock.
//!
//! ```text
//!  where to start ── name the next generation ── store the tail ── open the gate ──
//!  window ≤ tail + capacity? (else raise the tail, look again) ── swap the head
//! ```
//!
//! The head is published last. Until then nobody claims anything in the new generation, and whoever
//! finds the head behind the gate knows that the opening is not finished: its opener is at it, or
//! has died, and then the next who gets the lock goes on with the look at the window.
//!
//! Where there are lanes, all tails are stored before the gate is opened, and the head of each lane
//! is published after a look at that lane's window. The gate is that of all lanes.
//!
//! Of an opener and a producer that raises the window, one sees what the other did: each has a full
//! fence between its store and its look. Either the producer finds the gate open and goes by its
//! tail, or the opener finds the window raised and begins later.

use super::gates::{self, Gates};
use super::passed;
use crate::choices::{GroupSettings, Start, Wish};
use crate::layout::group::{Gate, Membership, Row, State, Tag, position_of};
use crate::limits::{MAX_PARTICIPANTS, MAX_POSITION};
use crate::recover::entry::Entry;
use crate::segment::Segment;
use crate::settings::Side;
use crate::sync::{Ordering, fence};
use crate::waiting::bell;

/// How often an opener looks again whether its start is there. Once its gate is open, each producer
/// raises the window over its tail once at most; only one that rewrites it for ever leads so far.
const MOST_LOOKS: usize = 2 * MAX_PARTICIPANTS;

/// Opens the group in a `row`, whose lock the caller has, and makes the holder of `entry` its first
/// member. `false`, with nothing done, if somebody was faster, or the row is another group's by
/// now, or one of the same name that has not these settings.
pub(super) fn open(
    entry: &mut Entry,
    (row, settings): (usize, GroupSettings),
    wish: &Wish,
) -> bool {
    let segment = entry.segment().clone();
    let Some(it) = segment.row(row) else { return false };
    let seen = it.gate();
    if it.settings() != Some(settings) || it.name() != wish.name {
        return false;
    }
    let begun = match seen.state {
        State::Open if is_published(&segment, row, seen) => return false,
        State::Open => go_on(entry, it, row, seen),
        State::Closed | State::Evicted => begin(entry, it, row, (seen, wish.start)),
    };
    if !begun {
        return false;
    }
    let tag = entry.membership().tag();
    let finish = |lane: &Segment| publish(lane, row, tag, wish.start);
    let missed = segment.all_lanes().map(|lane| finish(&lane)).fold(0, u64::saturating_add);
    if seen.state == State::Evicted || seen.owes {
        it.missed.fetch_add(missed, Ordering::Relaxed);
        entry.note_missed(missed);
        // Members of the last generation that found it locked sleep.
        bell::wake_all(&segment, Side::Consumer);
    }
    true
}

/// Opens the gate in the next generation: a tail in each lane first, where the group is to start.
fn begin(entry: &mut Entry, it: &Row, row: usize, (seen, start): (Gate, Start)) -> bool {
    let segment = entry.segment().clone();
    let Some(generation) = next_generation(&segment, row, seen) else { return false };
    entry.name_group(Membership::of(row, generation));
    for lane in segment.all_lanes() {
        let start = match seen.state {
            // Who was evicted goes on at the latest.
            State::Evicted => gates::latest(&lane),
            _ => find_start(&lane, row, start),
        };
        // Release: whoever sees the gate open sees it.
        let tail = Tag::of(generation).at(start);
        lane.cursor_of(row).consumer_tail.store(tail, Ordering::Release);
    }
    let owes = seen.state == State::Evicted;
    it.change(seen, Gate { state: State::Open, generation, joins: 1, owes })
}

/// Finishes the opening in one lane, unless that is done. Says how many messages lie between where
/// the group was and where it starts.
fn publish(lane: &Segment, row: usize, tag: Tag, wish: Start) -> u64 {
    let cursor = lane.cursor_of(row);
    // Acquire: pairs with the swap.
    if tag.position(cursor.consumer_head.load(Ordering::Acquire)).is_some() {
        return 0;
    }
    // Acquire: the gate was opened after it was stored.
    let start = position_of(cursor.consumer_tail.load(Ordering::Acquire));
    let start = keep(lane, row, tag, start, wish);
    passed::begin(cursor, tag, start);
    // AcqRel: who finds it of this generation finds all of the opening done. A swap: a claim of the
    // last generation may have come since anybody looked.
    let head = cursor.consumer_head.swap(tag.at(start), Ordering::AcqRel);
    start.saturating_sub(position_of(head))
}

/// Whether the opening of a gate's generation is finished, in each lane.
pub(super) fn is_published(segment: &Segment, row: usize, gate: Gate) -> bool {
    segment.all_lanes().all(|lane| {
        // Acquire: pairs with the swap.
        let head = lane.cursor_of(row).consumer_head.load(Ordering::Acquire);
        gate.tag().position(head).is_some()
    })
}

/// Counts in one who goes on with an opening that is not finished.
fn go_on(entry: &mut Entry, it: &Row, row: usize, seen: Gate) -> bool {
    entry.name_group(Membership::of(row, seen.generation));
    it.change(seen, seen.joined())
}

/// The next generation of a row under which nobody who is late can be met: none whose last bits an
/// entry of a lane still names, or a head has. `None` if there is none; there are more than entries
/// that are late.
fn next_generation(segment: &Segment, row: usize, seen: Gate) -> Option<u32> {
    // SeqCst: pairs with the fences in `grant_from_outside` and in `name_again`: a name that is not
    // found here is followed by a look that sees this gate, or a later one.
    fence(Ordering::SeqCst);
    let late = |generation: u32| {
        let tag = Tag::of(generation);
        segment.all_lanes().any(|lane| {
            let head = lane.cursor_of(row).consumer_head.load(Ordering::Acquire);
            tag.position(head).is_some()
                || lane.entries().any(|(_, it)| it.membership().may_meet(row, tag))
        })
    };
    (1..=Tag::COUNT).map(|by| seen.later(by)).find(|&generation| !late(generation))
}

/// Where a group begins. Whether that is still there is looked at afterwards.
fn find_start(segment: &Segment, row: usize, start: Start) -> u64 {
    match start {
        Start::Latest | Start::Resume => gates::latest(segment),
        Start::Oldest => {
            let kept = Gates::look_but_at(segment, row, 0).least();
            kept.unwrap_or_else(|| gates::oldest(segment))
        }
        // One beyond belief is never reached; it is not the low one that its last bits say.
        Start::Position(position) => position.min(MAX_POSITION - 1),
    }
}

/// Looks whether the start is there, with the gate open, and else raises the tail to a later one.
/// Says where the group starts.
fn keep(segment: &Segment, row: usize, tag: Tag, mut start: u64, wish: Start) -> u64 {
    let capacity = segment.lane().capacity();
    let first = start;
    for _ in 0..MOST_LOOKS {
        // SeqCst: pairs with the fence of a producer between the window that it raises and its look
        // at the gates: this look sees the window, or that one the gate and its tail.
        fence(Ordering::SeqCst);
        let window = gates::window(segment);
        if window <= start.saturating_add(capacity) {
            break;
        }
        let oldest = window - capacity;
        let kept = match wish {
            // What another gate keeps is there for certain.
            Start::Oldest => Gates::look_but_at(segment, row, 0).least(),
            _ => None,
        };
        let later = kept.unwrap_or(oldest + capacity / 2).max(oldest);
        // Only upwards, whatever the others' words say.
        start = later.max(start + 1);
        segment.cursor_of(row).consumer_tail.store(tag.at(start), Ordering::Release);
    }
    if start != first {
        // Producers may have gone to sleep over the tail that it had at first.
        bell::wake_all(segment, Side::Producer);
    }
    start
}
