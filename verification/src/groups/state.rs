//! Everything that a state of the world is made of.
//!
//! Shared memory (the lane's window, head and slots; the gates, cursors and locks of the groups;
//! the words of the entries), private memory, and a little that only the checker knows: what became
//! of each message in each group.

use super::invariant::Violation;
use crate::slot::{Settled, Slot};

/// Slots at most.
pub const MAX_CAPACITY: usize = 3;
/// Positions that may be used at most.
pub const MAX_POSITIONS: usize = 6;
/// Producers and members at most, together.
pub const MAX_ACTORS: usize = 5;
/// Rows in the table of groups.
pub const ROWS: usize = 2;
/// No position, no actor, no row. Greater than every position.
pub const NONE: u8 = 15;
/// Words of a packed state.
pub const WORDS: usize = 5;

/// An enumeration, and the list of all that it has.
macro_rules! places {
    ($(#[$outer:meta])* pub enum $name:ident { $($(#[$inner:meta])* $place:ident,)* }) => {
        $(#[$outer])*
        pub enum $name { $($(#[$inner])* $place,)* }

        impl $name {
            /// All of them, in the order of their codes.
            pub const ALL: &[$name] = &[$($name::$place),*];
        }
    };
}

places! {
/// Where a producer or a member is in its code: the step that it takes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum At {
    /// Alive, in no call.
    Idle,
    /// Alive, and makes no call any more.
    Quiet,
    /// Killed; the kernel has dropped its locks, its words stay.
    Dead,
    /// Nobody's entry, its words clear.
    Vacant,

    // A producer whose bound allows the next position.
    /// About to show its intent.
    ShowIntent,
    /// About to compare-and-swap the head.
    Claim,
    /// About to write the first half of the payload.
    Begin,
    /// About to write the second half.
    Fill,
    /// About to store the sequence.
    Commit,

    /// Leaves without having won; about to clear the intent.
    ClearIntent,

    // A producer whose bound is used up.
    /// About to read the head: the commit frontier begins there.
    FrontierHead,
    /// About to read the intents of the others.
    FrontierIntents,
    /// About to read a gate.
    Gate,
    /// Has seen it open; about to read its tail.
    Tail,
    /// Has looked at all gates and there is room; about to raise the window.
    Raise,
    /// A mistake: has committed; about to raise the window.
    LateRaise,
    /// There is no room; about to decide what to do about whoever holds it back.
    HeldBack,

    // A release frontier, raised by a member or by a producer that helps.
    /// About to read a group's head.
    GrantHead,
    /// About to read the holds of its members.
    GrantHolds,
    /// About to raise its tail.
    GrantRaise,

    // Closing a group, by a producer that it holds back or by the last that leaves.
    /// About to read the gate.
    CloseGate,
    /// About to look for a living member among the entries.
    CloseLook,
    /// A mistake: has looked; about to read the gate.
    CloseLate,
    /// About to close the gate by compare-and-swap.
    Close,

    // Evicting a group.
    /// About to read the gate.
    EvictGate,
    /// About to look at its tail again.
    EvictTail,
    /// About to evict by compare-and-swap.
    Evict,

    // Work on the entry of a dead producer.
    /// About to compare the dead one's intent with the head.
    AbandonHead,
    /// About to look at the slot, and at the intents of the living.
    AbandonLook,
    /// About to compare-and-swap the slot's sequence.
    Abandon,
    /// About to clear the dead one's word.
    Finish,
    /// An exclusive producer's successor, about to read the window.
    Succeed,

    // A member to be.
    /// Has the lock of a dead one's entry with a hold; about to read the gate that the entry names.
    Inherit,
    /// About to count itself in at that gate.
    InheritJoin,
    /// About to clear a hold that does not count any more.
    ClearOld,
    /// About to read the gate of the group that it wants.
    Seek,
    /// Has seen it open; about to see whether its head is of that generation.
    SeekHead,
    /// About to name the group in its entry.
    Name,
    /// About to count itself in by compare-and-swap.
    Join,
    /// About to read the group's head.
    JoinHead,

    // Opening a group.
    /// About to take the row's lock.
    OpenLock,
    /// Has it; about to read the gate.
    OpenGate,
    /// About to find out where to start.
    OpenStart,
    /// About to name the new generation in its entry.
    OpenName,
    /// Goes on with an opening that somebody died in; about to name its generation.
    OpenResume,
    /// About to count itself in there.
    OpenCount,
    /// About to read the tail that is there.
    OpenAgain,
    /// About to store the tail.
    OpenTail,
    /// About to open the gate.
    Open,
    /// About to look at the window.
    OpenLook,
    /// The start is gone; about to raise the tail.
    OpenChase,
    /// About to swap the head.
    OpenHead,
    /// About to give the lock back.
    OpenDone,

    // A member's call.
    /// About to copy the payload.
    CopyRead,
    /// Has copied; about to look at the gate.
    CopyGate,
    /// About to claim what it has copied.
    CopyClaim,
    /// The copy is claimed; about to return it.
    CopyReturn,
    /// About to claim an abandoned slot.
    Skip,
    /// Behind; about to read the head.
    Reload,
    /// About to show the hold.
    ShowHold,
    /// About to claim what it holds.
    BorrowClaim,
    /// Has lost the race; about to clear the hold.
    ClearHold,
    /// About to read in place.
    Read,
    /// About to release what it has read in place.
    Release,

    // Work on the entry of a dead member.
    /// About to compare the dead one's hold with the tail.
    RedeliverTail,
    /// About to compare it with the head, and with the holds of the living.
    RedeliverHead,
    /// About to copy the payload.
    RedeliverCopy,
    /// About to look at the tail again, and deliver.
    RedeliverLook,
}
}

impl At {
    /// Whether a living owner has the entry's lock here.
    pub fn is_alive(self) -> bool {
        !matches!(self, At::Dead | At::Vacant)
    }

    /// Whether a shared producer here has won a position and not committed it.
    pub fn has_claimed(self) -> bool {
        matches!(self, At::Begin | At::Fill | At::Commit)
    }

    /// Whether a member here has claimed what its word shows, to read it in place.
    pub fn has_borrowed(self) -> bool {
        matches!(self, At::Read | At::Release)
    }
}

/// What a gate says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Nobody is waited for.
    #[default]
    Closed,
    /// Producers wait for the group's tail.
    Open,
    /// Nobody is waited for any more, and the group is told.
    Evicted,
}

/// A gate: one word, changed by compare-and-swap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gate {
    /// What it says.
    pub kind: Kind,
    /// How often the row was opened before.
    pub generation: u8,
    /// How many have counted themselves in.
    pub joins: u8,
    /// Whether what lies below the start is to be reported as missed.
    pub owes: bool,
}

/// A cursor's word: a position, and the generation of the gate that it belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    /// Of which opening it is.
    pub generation: u8,
    /// The position.
    pub position: u8,
}

/// A group's row, and its cursors in the lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row {
    /// The gate.
    pub gate: Gate,
    /// Next position to claim. It has the gate's generation once the opening is finished.
    pub head: Cursor,
    /// The release frontier: what producers wait for.
    pub tail: Cursor,
    /// Who has the lock under which the group is opened; [`NONE`]: nobody.
    pub lock: u8,
}

/// What became of the message at a position in a group; only the checker knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Fate {
    /// Nobody has seen it.
    #[default]
    Unseen,
    /// It is, or was when its reader died, being read in place.
    Seen,
    /// It was delivered and released, or skipped as abandoned.
    Released,
    /// It was in the hands of a copying member killed between its claim and its return.
    Taken,
}

/// A producer or a member: its entry's words in shared memory, and its private memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actor {
    /// What it does next.
    pub at: At,
    /// Shared: the intent or the hold; [`NONE`] when clear.
    pub word: u8,
    /// Shared, of a member: the row that the entry names; [`NONE`]: none.
    pub named: u8,
    /// Shared, in the same word: the generation that it names.
    pub named_generation: u8,
    /// Private: where the head was last seen; on an exclusive side its own position.
    pub position: u8,
    /// Private: which row it looks at; of a member, which it belongs to or wants.
    pub row: u8,
    /// Private: a gate as it was seen.
    pub seen: Gate,
    /// Private: a frontier, a hold or a start that it works with.
    pub frontier: u8,
    /// Private: whose entry it works on (its own, if a newcomer takes it); [`NONE`]: none.
    pub target: u8,
    /// Private, in a scan: a bit for each member's entry that has been looked at.
    pub scanned: u8,
    /// Private, of a producer: everything below has been found free.
    pub bound: u8,
    /// Private, of a producer: the least tail seen; [`NONE`]: no gate is open.
    pub least: u8,
    /// Private, of a producer: which row has that tail; [`NONE`]: none.
    pub culprit: u8,
    /// Private, of a producer: the window as it has raised it; [`NONE`]: not yet.
    pub window: u8,
    /// Private, of a member: the generation that it belongs to.
    pub generation: u8,
    /// Private, of a member: whether it has counted itself in.
    pub joined: bool,
    /// Private, of a member: whether what was copied is what was committed there.
    pub intact: bool,
}

impl Actor {
    /// An entry that nobody has.
    pub const VACANT: Actor = Actor {
        at: At::Vacant,
        word: NONE,
        named: NONE,
        named_generation: 0,
        position: 0,
        row: 0,
        seen: Gate { kind: Kind::Closed, generation: 0, joins: 0, owes: false },
        frontier: 0,
        target: NONE,
        scanned: 0,
        bound: 0,
        least: NONE,
        culprit: NONE,
        window: NONE,
        generation: 0,
        joined: false,
        intact: false,
    };

    /// Whether it names this generation of a row.
    pub fn names(&self, row: u8, generation: u8) -> bool {
        self.named == row && self.named_generation == generation
    }

    /// Whether it is a living member of a row's generation, counted in.
    pub fn is_member(&self, row: u8, generation: u8) -> bool {
        self.at.is_alive() && self.joined && self.row == row && self.generation == generation
    }

    /// Forgets what was private to a call, so that equal situations are equal states.
    pub fn forget(&mut self) {
        let Actor { at, word, named, named_generation, position, row, bound, .. } = *self;
        let (generation, joined) = (self.generation, self.joined);
        *self = Actor {
            at,
            word,
            named,
            named_generation,
            position,
            row,
            bound,
            generation,
            joined,
            ..Actor::VACANT
        };
    }

    /// Leaves the entry free.
    pub fn vacate(&mut self) {
        *self = Actor::VACANT;
    }
}

/// Where a tail reader is in its code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Reads {
    /// About to load a sequence.
    #[default]
    Sequence,
    /// About to copy the payload.
    Copy,
    /// Has copied; about to load the window.
    Window,
    /// Too late; about to load the window, to jump.
    Jump,
}

/// A tail reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TailReader {
    /// What it does next.
    pub at: Reads,
    /// Its position.
    pub position: u8,
    /// Whether what it copied is what was committed there.
    pub intact: bool,
}

/// A state of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State {
    /// Nothing at or beyond it is or was being written.
    pub window: u8,
    /// Next position to claim; with an exclusive producer, which shows none, only the checker's.
    pub head: u8,
    /// How many slots there are; never changes.
    pub capacity: u8,
    /// The slots.
    pub slots: [Slot; MAX_CAPACITY],
    /// The table of groups.
    pub rows: [Row; ROWS],
    /// What became of each message in each group.
    pub fates: [[Fate; MAX_POSITIONS]; ROWS],
    /// Producers first, then members.
    pub actors: [Actor; MAX_ACTORS],
    /// The tail reader.
    pub reader: TailReader,
    /// How many may still die.
    pub deaths: u8,
    /// How many newcomers may still come.
    pub arrivals: u8,
    /// What has gone wrong, if something has; nothing follows then.
    pub violation: Option<Violation>,
}

impl State {
    /// An empty ring without groups.
    pub const fn initial(capacity: u8) -> Self {
        let gate = Actor::VACANT.seen;
        let cursor = Cursor { generation: 0, position: 0 };
        Self {
            window: 0,
            head: 0,
            capacity,
            slots: [Slot { sequence: 0, payload: 0 }; MAX_CAPACITY],
            rows: [Row { gate, head: cursor, tail: cursor, lock: NONE }; ROWS],
            fates: [[Fate::Unseen; MAX_POSITIONS]; ROWS],
            actors: [Actor::VACANT; MAX_ACTORS],
            reader: TailReader { at: Reads::Sequence, position: 0, intact: false },
            deaths: 0,
            arrivals: 0,
            violation: None,
        }
    }

    /// The slot of a position.
    pub fn slot(&mut self, position: u8) -> &mut Slot {
        &mut self.slots[usize::from(position % self.capacity)]
    }

    /// A row.
    pub fn row(&mut self, row: u8) -> &mut Row {
        &mut self.rows[usize::from(row)]
    }

    /// The lap of a position.
    pub fn lap(&self, position: u8) -> u8 {
        position / self.capacity
    }

    /// What the sequence of its slot says about a position.
    pub fn settled(&self, position: u8) -> Settled {
        self.slots[usize::from(position % self.capacity)].settled(self.lap(position))
    }

    /// Whether the slot holds exactly what was committed at a position.
    pub fn is_intact(&self, position: u8) -> bool {
        self.slots[usize::from(position % self.capacity)].payload == self.lap(position) + 1
            && self.settled(position) == Settled::Committed
    }

    /// The first position from this one on that is not settled.
    pub fn first_unsettled(&self, from: u8) -> u8 {
        (from..NONE).find(|&position| self.settled(position) == Settled::NotYet).unwrap_or(NONE)
    }

    /// Whether somebody has the lock of an entry: its owner, or one who works on it.
    pub fn is_locked(&self, entry: usize) -> bool {
        self.actors[entry].at.is_alive()
            || self.actors.iter().any(|other| usize::from(other.target) == entry)
    }

    /// The same state with two actors having changed places; members begin with the index `first`.
    pub fn swapped(&self, a: usize, b: usize, first: usize) -> State {
        let mut state = *self;
        state.actors.swap(a, b);
        let rename = |who: &mut u8| {
            if usize::from(*who) == a {
                *who = b as u8;
            } else if usize::from(*who) == b {
                *who = a as u8;
            }
        };
        state.actors.iter_mut().for_each(|actor| rename(&mut actor.target));
        if a >= first {
            let bit = |scanned: u8, who: usize| scanned >> (who - first) & 1;
            for actor in &mut state.actors {
                if bit(actor.scanned, a) != bit(actor.scanned, b) {
                    actor.scanned ^= 1 << (a - first) | 1 << (b - first);
                }
            }
        }
        state.rows.iter_mut().for_each(|row| rename(&mut row.lock));
        state
    }
}

/// How many there are of what, which decides how a state is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Producers.
    pub producers: usize,
    /// Members, and entries for members to be.
    pub members: usize,
    /// Rows that are used.
    pub rows: usize,
    /// Positions.
    pub positions: u8,
    /// Slots.
    pub capacity: u8,
    /// Whether there is a tail reader.
    pub reader: bool,
}

impl Shape {
    /// How many bits a state takes.
    pub fn bits(self) -> usize {
        let actor = 7 + 4 + 4 + 4 + 1 + 8 + 4 + 3;
        let rows = self.rows * (8 + 6 + 6 + 4 + 2 * usize::from(self.positions));
        4 + 4
            + 5 * usize::from(self.capacity)
            + rows
            + (actor + 14) * self.producers
            + (actor + 10) * self.members
            + if self.reader { 7 } else { 0 }
            + 2
            + 2
            + 4
    }

    /// Packs a state, without loss.
    pub fn pack(self, state: &State) -> [u64; WORDS] {
        let mut bits = Packer { words: [0; WORDS], at: 0 };
        bits.put(state.window, 4);
        bits.put(state.head, 4);
        for slot in &state.slots[..usize::from(self.capacity)] {
            bits.put(slot.sequence, 3);
            bits.put(slot.payload, 2);
        }
        for (row, fates) in state.rows.iter().zip(&state.fates).take(self.rows) {
            bits.put_gate(row.gate);
            for cursor in [row.head, row.tail] {
                bits.put(cursor.generation, 2);
                bits.put(cursor.position, 4);
            }
            bits.put(row.lock, 4);
            fates[..usize::from(self.positions)].iter().for_each(|&fate| bits.put(fate as u8, 2));
        }
        for (index, actor) in state.actors[..self.producers + self.members].iter().enumerate() {
            bits.put(actor.at as u8, 7);
            bits.put(actor.word, 4);
            bits.put(actor.position, 4);
            bits.put(actor.frontier, 4);
            bits.put(actor.row, 1);
            bits.put_gate(actor.seen);
            bits.put(actor.target, 4);
            bits.put(actor.scanned, 3);
            if index < self.producers {
                bits.put(actor.bound, 4);
                bits.put(actor.least, 4);
                bits.put(actor.culprit.min(3), 2);
                bits.put(actor.window, 4);
            } else {
                bits.put(actor.named, 4);
                bits.put(actor.named_generation, 2);
                bits.put(actor.generation, 2);
                bits.put(u8::from(actor.joined), 1);
                bits.put(u8::from(actor.intact), 1);
            }
        }
        if self.reader {
            bits.put(state.reader.at as u8, 2);
            bits.put(state.reader.position, 4);
            bits.put(u8::from(state.reader.intact), 1);
        }
        bits.put(state.deaths, 2);
        bits.put(state.arrivals, 2);
        bits.put(state.violation.map_or(0, |violation| violation as u8), 4);
        bits.words
    }

    /// Unpacks a state.
    pub fn unpack(self, words: [u64; WORDS]) -> State {
        let mut bits = Packer { words, at: 0 };
        let mut state = State::initial(self.capacity);
        state.window = bits.take(4);
        state.head = bits.take(4);
        for slot in &mut state.slots[..usize::from(self.capacity)] {
            slot.sequence = bits.take(3);
            slot.payload = bits.take(2);
        }
        for (row, fates) in state.rows.iter_mut().zip(&mut state.fates).take(self.rows) {
            row.gate = bits.take_gate();
            for cursor in [&mut row.head, &mut row.tail] {
                cursor.generation = bits.take(2);
                cursor.position = bits.take(4);
            }
            row.lock = bits.take(4);
            for fate in &mut fates[..usize::from(self.positions)] {
                *fate = [Fate::Unseen, Fate::Seen, Fate::Released, Fate::Taken]
                    [usize::from(bits.take(2))];
            }
        }
        let actors = &mut state.actors[..self.producers + self.members];
        for (index, actor) in actors.iter_mut().enumerate() {
            actor.at = At::ALL[usize::from(bits.take(7))];
            actor.word = bits.take(4);
            actor.position = bits.take(4);
            actor.frontier = bits.take(4);
            actor.row = bits.take(1);
            actor.seen = bits.take_gate();
            actor.target = bits.take(4);
            actor.scanned = bits.take(3);
            if index < self.producers {
                actor.bound = bits.take(4);
                actor.least = bits.take(4);
                let culprit = bits.take(2);
                actor.culprit = if culprit == 3 { NONE } else { culprit };
                actor.window = bits.take(4);
            } else {
                actor.named = bits.take(4);
                actor.named_generation = bits.take(2);
                actor.generation = bits.take(2);
                actor.joined = bits.take(1) != 0;
                actor.intact = bits.take(1) != 0;
            }
        }
        if self.reader {
            state.reader.at = [Reads::Sequence, Reads::Copy, Reads::Window, Reads::Jump]
                [usize::from(bits.take(2))];
            state.reader.position = bits.take(4);
            state.reader.intact = bits.take(1) != 0;
        }
        state.deaths = bits.take(2);
        state.arrivals = bits.take(2);
        state.violation = Violation::from_code(bits.take(4));
        state
    }
}

struct Packer {
    words: [u64; WORDS],
    at: usize,
}

impl Packer {
    #[inline]
    fn put(&mut self, value: u8, width: usize) {
        debug_assert!(value < 1 << width, "{value} does not fit {width} bits");
        let (word, shift) = (self.at / 64, self.at % 64);
        self.words[word] |= u64::from(value) << shift;
        if shift + width > 64 {
            self.words[word + 1] |= u64::from(value) >> (64 - shift);
        }
        self.at += width;
    }

    #[inline]
    fn take(&mut self, width: usize) -> u8 {
        let (word, shift) = (self.at / 64, self.at % 64);
        let mut value = self.words[word] >> shift;
        if shift + width > 64 {
            value |= self.words[word + 1] << (64 - shift);
        }
        self.at += width;
        value as u8 & ((1 << width) - 1)
    }

    fn put_gate(&mut self, gate: Gate) {
        self.put(gate.kind as u8, 2);
        self.put(gate.generation, 2);
        assert!(gate.joins < 8, "more joins than fit a state");
        self.put(gate.joins, 3);
        self.put(u8::from(gate.owes), 1);
    }

    fn take_gate(&mut self) -> Gate {
        Gate {
            kind: [Kind::Closed, Kind::Open, Kind::Evicted][usize::from(self.take(2))],
            generation: self.take(2),
            joins: self.take(3),
            owes: self.take(1) != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_survives_packing() {
        let shape =
            Shape { producers: 2, members: 2, rows: 2, positions: 4, capacity: 2, reader: true };
        let mut state = State::initial(2);
        (state.window, state.head, state.deaths, state.arrivals) = (6, 4, 3, 2);
        state.slots[1] = Slot { sequence: 4, payload: 2 };
        state.rows[1] = Row {
            gate: Gate { kind: Kind::Evicted, generation: 3, joins: 7, owes: true },
            head: Cursor { generation: 2, position: 5 },
            tail: Cursor { generation: 3, position: 4 },
            lock: 2,
        };
        state.fates[1][3] = Fate::Taken;
        state.actors[1] = Actor {
            at: At::HeldBack,
            word: 3,
            bound: 3,
            least: 2,
            culprit: 1,
            window: 4,
            frontier: 3,
            row: 1,
            target: 0,
            scanned: 3,
            ..Actor::VACANT
        };
        state.actors[3] = Actor {
            at: At::RedeliverLook,
            named: 1,
            named_generation: 2,
            generation: 3,
            joined: true,
            intact: true,
            seen: state.rows[1].gate,
            ..Actor::VACANT
        };
        state.reader = TailReader { at: Reads::Jump, position: 3, intact: true };
        state.violation = Violation::from_code(2);
        assert_eq!(shape.unpack(shape.pack(&state)), state);
        assert!(shape.bits() <= 64 * WORDS, "{}", shape.bits());
    }
}
