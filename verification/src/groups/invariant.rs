//! What must never happen, in words, and what must stay possible.
//!
//! - **A group gets every message from its start exactly once**, or marked: its tail passes only
//!   what was delivered, or went with a copying member killed between its claim and its return.
//! - **What is delivered is what was committed** at that position: to members, and to a tail
//!   reader.
//! - **No slot is written while an open group may read it**, nor before the position a lap earlier
//!   is settled, nor by two producers at once.
//! - **The living are never robbed**: no slot of a living producer is abandoned, no message that a
//!   living member has claimed is delivered by another, no group is closed in which somebody lives.
//! - **A group starts where it says**: the latest one misses no message whose send began after the
//!   join, the oldest one none that another open gate keeps.
//! - **A group is evicted by its own fault alone**: it is the generation that was judged, and the
//!   message at its tail was there, and nobody had received it.
//! - **Counts are exact**: what an evicted group is told it missed, together with what it got, is
//!   everything, each once; a tail reader misses nothing that is less than `capacity - chunk` old.
//! - **Everything can finish** ([`is_done`]): from every state that can be reached at all.

use super::state::{Actor, At, Fate, Kind, MAX_POSITIONS, NONE, Reads, State};
use super::{Groups, Start};
use crate::slot::Settled;

/// A promise broken by a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Violation {
    /// A tail passed a message that was not delivered.
    Lost = 1,
    /// What was delivered is not what was committed there.
    Garbage = 2,
    /// A message was delivered a second time in a group, without a mark.
    DeliveredTwice = 3,
    /// A slot was written that an open group may read.
    Overwritten = 4,
    /// A slot was written by two, or before the position a lap earlier was settled.
    Lapped = 5,
    /// A living participant lost what it had claimed.
    Robbed = 6,
    /// A group was closed in which a member lives.
    ClosedAlive = 7,
    /// A group started later than it was promised.
    StartedLate = 8,
    /// A group was evicted that was not at fault.
    EvictedUnjustly = 9,
    /// A group was told a wrong number of missed messages.
    Miscounted = 10,
    /// A tail reader missed what it should have had time for.
    MissedEarly = 11,
}

impl Violation {
    /// All of them.
    pub const ALL: [Violation; 11] = [
        Violation::Lost,
        Violation::Garbage,
        Violation::DeliveredTwice,
        Violation::Overwritten,
        Violation::Lapped,
        Violation::Robbed,
        Violation::ClosedAlive,
        Violation::StartedLate,
        Violation::EvictedUnjustly,
        Violation::Miscounted,
        Violation::MissedEarly,
    ];

    /// The violation of a code; 0 is none.
    pub fn from_code(code: u8) -> Option<Violation> {
        Violation::ALL.get(usize::from(code).wrapping_sub(1)).copied()
    }

    /// The promise that it breaks.
    pub fn promise(self) -> &'static str {
        match self {
            Violation::Lost => "a group gets every message from its start",
            Violation::Garbage => "what is delivered is what was committed there",
            Violation::DeliveredTwice => "a group gets nothing twice without a mark",
            Violation::Overwritten => "no slot is written while an open group may read it",
            Violation::Lapped => "a slot is written by one producer at a time, lap by lap",
            Violation::Robbed => "the living are never robbed",
            Violation::ClosedAlive => "no group is closed in which a member lives",
            Violation::StartedLate => "a group starts where it was promised",
            Violation::EvictedUnjustly => "a group is evicted by its own fault alone",
            Violation::Miscounted => "what a group missed is counted exactly",
            Violation::MissedEarly => "a tail reader has its time",
        }
    }
}

impl State {
    /// Notes a broken promise; the first one counts.
    pub(crate) fn require(&mut self, kept: bool, otherwise: Violation) {
        if !kept && self.violation.is_none() {
            self.violation = Some(otherwise);
        }
    }

    fn fate(&mut self, row: u8, position: u8) -> &mut Fate {
        &mut self.fates[usize::from(row)][usize::from(position)]
    }

    /// The first delivery in a group of the message at a position, `becomes` being what it becomes.
    pub(crate) fn deliver(&mut self, row: u8, position: u8, intact: bool, becomes: Fate) {
        self.require(intact, Violation::Garbage);
        let unseen = *self.fate(row, position) == Fate::Unseen;
        self.require(unseen, Violation::DeliveredTwice);
        *self.fate(row, position) = becomes;
    }

    /// A delivery that is marked as perhaps not the first.
    pub(crate) fn redeliver(&mut self, row: u8, position: u8, intact: bool) {
        self.require(intact, Violation::Garbage);
        let borrowed = self
            .actors
            .iter()
            .any(|peer| peer.at.has_borrowed() && peer.row == row && peer.word == position);
        self.require(!borrowed, Violation::Robbed);
        *self.fate(row, position) = Fate::Released;
    }

    /// Whoever had the message at a position is done with it.
    pub(crate) fn release(&mut self, row: u8, position: u8) {
        *self.fate(row, position) = Fate::Released;
    }

    /// A copying member is killed between its claim and its return.
    pub(crate) fn take_along(&mut self, row: u8, generation: u8, position: u8) {
        if self.rows[usize::from(row)].head.generation != generation {
            // The group has started anew, and was told how many it missed beside this one.
            return;
        }
        *self.fate(row, position) = Fate::Taken;
    }

    /// A group's tail becomes `frontier`: whatever it passes must be delivered.
    pub(crate) fn grant(&mut self, row: u8, frontier: u8) {
        if self.rows[usize::from(row)].gate.kind == Kind::Open {
            for position in self.rows[usize::from(row)].tail.position..frontier {
                let fate = *self.fate(row, position);
                self.require(matches!(fate, Fate::Released | Fate::Taken), Violation::Lost);
            }
        }
        self.row(row).tail.position = frontier;
    }

    /// A producer writes the first half of a payload.
    pub(crate) fn begin(&mut self, position: u8, producer: usize) {
        self.require(self.settled(position) == Settled::NotYet, Violation::Lapped);
        let capacity = self.capacity;
        if let Some(before) = position.checked_sub(capacity) {
            let settled = matches!(self.settled(before), Settled::Committed | Settled::Abandoned);
            self.require(settled, Violation::Lapped);
        }
        let alone = self.actors.iter().enumerate().all(|(other, peer)| {
            other == producer
                || !peer.at.has_claimed()
                || peer.position % capacity != position % capacity
        });
        self.require(alone, Violation::Lapped);
        for (index, row) in self.rows.into_iter().enumerate() {
            let generation = row.gate.generation;
            // Nobody reads before the opening is finished, but for one who joins nevertheless.
            let joined = self.actors.iter().enumerate().any(|(who, actor)| {
                who != usize::from(row.lock) && actor.is_member(index as u8, generation)
            });
            let reads = row.gate.kind == Kind::Open
                && row.head.generation == generation
                && (row.lock == NONE || joined);
            let free = !reads || position < row.tail.position + capacity;
            self.require(free, Violation::Overwritten);
        }
        self.slot(position).payload = 0;
    }

    /// Recovery marks a slot as abandoned.
    pub(crate) fn abandon(&mut self, position: u8) {
        let robbed =
            self.actors.iter().any(|peer| peer.at.has_claimed() && peer.position == position);
        self.require(!robbed, Violation::Robbed);
        self.require(self.settled(position) == Settled::NotYet, Violation::Lost);
        self.slot(position).sequence = 2 + 2 * self.lap(position);
    }

    /// A gate is closed.
    pub(crate) fn close(&mut self, row: u8) {
        let generation = self.rows[usize::from(row)].gate.generation;
        let lives = self.actors.iter().any(|actor| actor.is_member(row, generation));
        self.require(!lives, Violation::ClosedAlive);
        self.row(row).gate.kind = Kind::Closed;
        self.fates[usize::from(row)] = [Fate::Unseen; MAX_POSITIONS];
    }

    /// A gate is evicted that was seen with a tail at `judged`, in the generation `generation`.
    pub(crate) fn evict(&mut self, row: u8, generation: u8, judged: u8) {
        let seen = self.rows[usize::from(row)].gate.generation == generation;
        let waits = matches!(self.settled(judged), Settled::NotYet);
        // Its own tail, and not what an earlier generation left there.
        let tail = self.rows[usize::from(row)].tail;
        let own = tail.generation == generation && tail.position >= judged;
        self.require(seen && own && !waits, Violation::EvictedUnjustly);
        self.row(row).gate.kind = Kind::Evicted;
    }

    /// A group's head is published at its start; `told` is what its opener is told that it missed:
    /// all from there to the start.
    pub(crate) fn start(&mut self, row: u8, start: u8, told: Option<u8>) {
        if let Some(from) = told {
            for position in 0..start.min(MAX_POSITIONS as u8) {
                let got = matches!(*self.fate(row, position), Fate::Released | Fate::Taken);
                self.require(got == (position < from), Violation::Miscounted);
            }
        }
        for position in 0..MAX_POSITIONS as u8 {
            let before = position < start;
            *self.fate(row, position) = if before { Fate::Released } else { Fate::Unseen };
        }
    }

    /// A group's opener goes on as a member that starts there.
    pub(crate) fn started(&mut self, groups: &Groups, row: u8, start: u8) {
        match groups.row[usize::from(row)].start {
            Start::Latest => self.require(start <= self.head, Violation::StartedLate),
            Start::Oldest => {
                let other = self.rows[1 - usize::from(row)];
                let keeps = other.gate.kind == Kind::Open && other.gate.generation == 0;
                let kept = !keeps || other.lock != NONE || start <= other.tail.position;
                self.require(kept, Violation::StartedLate);
            }
            Start::Position(_) => {}
        }
    }

    /// A tail reader jumps over what is at its position.
    pub(crate) fn miss(&mut self, groups: &Groups, position: u8) {
        let promised = self.capacity - groups.raise.min(self.capacity);
        self.require(position + promised < self.head.max(1), Violation::MissedEarly);
    }
}

/// Whether nobody is in a call, and all that can be sent and received is.
///
/// All positions are sent, or there is nobody left who could: no living producer and no newcomer,
/// or a durable group that waits for a member that does not come. Every group with a living member
/// is drained and granted. A group without one, if it is a passing one, holds nobody back. A tail
/// reader has read what is settled: what a dead producer had claimed is settled by whoever needs
/// it, and a reader, which cannot write, waits until there is somebody.
pub fn is_done(groups: &Groups, state: &State) -> bool {
    let (producers, members) = groups.sides(state);
    let resting = |actor: &Actor| matches!(actor.at, At::Idle | At::Quiet | At::Dead | At::Vacant);
    let alive = |actor: &Actor| actor.at.is_alive() && actor.at != At::Quiet;
    // A group that somebody is opening who has stopped cannot be joined; it holds nobody else back.
    let busy = |actor: &Actor| {
        let lock = usize::from(state.rows[usize::from(actor.row)].lock);
        actor.at == At::OpenLock
            && state.actors.get(lock).is_some_and(|holder| holder.at == At::Quiet)
    };
    if !producers.iter().chain(members).all(|actor| resting(actor) || busy(actor)) {
        return false;
    }
    let rows = &state.rows[..groups.shape().rows];
    let lives = |row: usize| {
        let generation = rows[row].gate.generation;
        members.iter().any(|member| alive(member) && member.is_member(row as u8, generation))
    };
    let waits = (0..rows.len()).any(|row| {
        let group = groups.row[row];
        group.durable
            && !group.evict
            && !lives(row)
            && rows[row].gate.kind == Kind::Open
            && rows[row].tail.position + state.capacity <= state.head
    });
    // What an exclusive producer had begun is nobody's until it has a successor.
    let last = state.head.saturating_sub(1);
    let half = groups.exclusive && state.head > 0 && state.settled(last) == Settled::NotYet;
    let end = if half { last } else { state.head };
    let no_newcomer = state.arrivals == 0;
    let no_producer = !producers.iter().any(alive) && no_newcomer;
    let no_member = waits && (no_newcomer || members.iter().all(alive));
    let sent = end == groups.positions || no_producer || no_member;
    let drained = (0..rows.len()).all(|row| {
        let kind = rows[row].gate.kind;
        kind != Kind::Open
            || !lives(row)
            || rows[row].head.position == end && rows[row].tail == rows[row].head
    });
    // A living member of an evicted group has to find out.
    let knows = members.iter().filter(|member| alive(member) && !busy(member)).all(|member| {
        let gate = rows[usize::from(member.row)].gate;
        gate.kind == Kind::Open && gate.generation == member.generation
    });
    let settled = state.first_unsettled(state.head.saturating_sub(state.capacity)) >= end;
    let read = !groups.reader
        || !settled
        || state.reader.position >= end && state.reader.at == Reads::Sequence;
    sent && drained && knows && read
}
