//! Groups that read one lane: gates, cursors, opening, joining, closing, eviction, and tail
//! readers.
//!
//! A second model beside that of the plain ring. One lane of two or three slots; producers with a
//! write window, whose bound is what the gates and the commit frontier leave; one or two groups
//! whose members come, die, are evicted, leave, and change from one to the other; a tail reader
//! that nobody waits for. README.md says what the protocol is, step by step, and why it is so.
//!
//! | file | is |
//! |---|---|
//! | [`state`] | everything that a state of the world is made of, and how it is packed |
//! | `produce` | claim, write, commit; the window, the gates and the bound |
//! | `held` | what a producer does that is held back: grant, close, evict, abandon |
//! | `join` | opening a group, joining it, taking a dead one's entry, leaving |
//! | `member` | receive, grant, redeliver |
//! | `reader` | the tail reader |
//! | [`invariant`] | what must never happen, in words, and what must stay possible |
//! | [`suite`] | which configurations are checked, which mistakes must be found where |

mod held;
pub mod invariant;
mod join;
mod member;
mod produce;
mod reader;
pub mod state;
pub mod suite;

use crate::explore::Model;

use invariant::Violation;
use state::{Actor, At, Gate, Kind, NONE, Row, Shape, State, WORDS};

/// A step from a state.
pub type Step = crate::explore::Step<State>;

/// A mistake made on purpose, for the model to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutation {
    // The window and the bound.
    /// The window is raised after the message is committed.
    WindowAfterWrite,
    /// The gates are read before the window is raised and not again.
    GatesBeforeRaiseOnly,
    /// The bound is what the gates leave, whatever the window says.
    BoundWithoutWindow,
    /// Producers do not wait for what a peer has claimed and not committed.
    BoundFromGatesAlone,
    /// An intent counts in the commit frontier although its slot is settled.
    CommittedIntentGates,
    /// The window is raised beyond what the gates allow.
    RaisedPastGates,
    /// The window is raised by a whole capacity.
    RaisedTooFar,
    /// A slot is abandoned that a living producer may have claimed.
    LivingIntentIgnored,
    /// A successor starts a chunk below the window, though batches raise it further.
    SuccessorTrustsChunk,
    // Opening.
    /// The latest is taken to be the window.
    LatestAtWindow,
    /// The opener does not look at the window after it has opened the gate.
    NoLookAfterOpening,
    /// The gate is opened before its tail is stored.
    GateBeforeCursor,
    /// The head is published with the tail, before the look at the window.
    HeadBeforeLook,
    /// A start at the oldest that is gone is raised by half a capacity, past what another gate
    /// keeps.
    ChasedByHalf,
    /// An opener that dies leaves an open gate, and the next one believes its start.
    OpeningTrusted,
    // Joining, closing and evicting.
    /// A group is closed without looking for a living member.
    CloseWithoutLook,
    /// The compare-and-swap that closes a gate ignores the count of joins.
    CloseIgnoresJoins,
    /// The gate is read after the look for the living.
    JoinsReadLate,
    /// A member counts itself in before it names the group.
    NamedAfterJoin,
    /// Whoever evicts ignores the generation.
    EvictIgnoresGeneration,
    /// A group is evicted though the message at its tail is not committed.
    EvictedForAnother,
    /// A group is evicted that has received all, and has not granted it yet.
    EvictedUngranted,
    /// What was missed is counted from a head that was read and not swapped.
    MissedFromReadHead,
    // Cursors and entries.
    /// A member claims by a store.
    ClaimByStore,
    /// Cursors carry no generation.
    CursorWithoutGeneration,
    /// A grant raises the tail of another generation than the one whose head it has read.
    GrantIgnoresGeneration,
    /// A hold counts in a grant though its entry names another row or generation.
    HoldOfAnotherGrants,
    /// A member adopts a dead entry that names another row or generation.
    HoldOfAnotherAdopted,
    /// A newcomer takes an entry whose hold belongs to another group, and clears it.
    EntryTakenWithHold,
    /// A newcomer redelivers before it has counted itself in.
    RedeliveredBeforeJoined,
    // Copies.
    /// A tail reader accepts a copy without a look at the window.
    CopyWithoutWindow,
    /// A tail reader looks at the window before it copies.
    WindowBeforeCopy,
    /// A member of a group that may be evicted claims without a look at the gate.
    CopyWithoutGate,
    /// It looks at the gate before it copies.
    GateBeforeCopy,
    /// It looks at the gate after its claim, and throws away what it has claimed.
    GateAfterClaim,
}

/// Where a group starts that is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At what is sent next.
    Latest,
    /// At what the other open gate keeps, or else at what the window lets be.
    Oldest,
    /// At a position.
    Position(u8),
}

/// A group, as it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Whether it keeps its place while it has no member.
    pub durable: bool,
    /// Whether it may be evicted.
    pub evict: bool,
    /// Whether it is open from the start.
    pub open: bool,
    /// Where it starts when it is opened.
    pub start: Start,
}

/// A passing group that waits, closed, and opened at the latest.
pub const PASSING: Group =
    Group { durable: false, evict: false, open: false, start: Start::Latest };
/// A durable group that waits, open from the start.
pub const DURABLE: Group = Group { durable: true, evict: false, open: true, start: Start::Latest };

impl Group {
    /// The same, open from the start.
    pub const fn open(self) -> Group {
        Group { open: true, ..self }
    }

    /// The same, that may be evicted.
    pub const fn evictable(self) -> Group {
        Group { evict: true, ..self }
    }

    /// The same with another start.
    pub const fn from(self, start: Start) -> Group {
        Group { start, ..self }
    }
}

/// How members receive in groups that are not evicted. In those that may be, by copying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ways {
    /// By copying.
    Copy,
    /// By reading in place.
    Borrow,
    /// Either, call by call.
    Both,
}

/// A configuration.
#[derive(Clone, Copy, Debug)]
pub struct Groups {
    /// How many producers.
    pub producers: usize,
    /// Whether their side is exclusive.
    pub exclusive: bool,
    /// The groups.
    pub row: [Group; state::ROWS],
    /// How many of them there are.
    pub rows: usize,
    /// The group of each member at the start; [`NONE`]: an entry that is free.
    pub member: [u8; state::MAX_ACTORS],
    /// How many entries for members there are.
    pub members: usize,
    /// Positions.
    pub positions: u8,
    /// Slots.
    pub capacity: u8,
    /// By how much the window is raised as a rule.
    pub chunk: u8,
    /// By how much at most, by a batch.
    pub raise: u8,
    /// Whether there is a tail reader.
    pub reader: bool,
    /// How many may die.
    pub deaths: u8,
    /// How many newcomers may come.
    pub arrivals: u8,
    /// How members receive.
    pub ways: Ways,
    /// Whether members leave.
    pub leaves: bool,
    /// Whether a newcomer may choose its group.
    pub changes: bool,
    /// Whether held-back producers grant.
    pub helps: bool,
    /// Whether a producer may fall silent for ever between two calls, as long as there is another.
    pub quiet: bool,
    /// Whether a member may stop for ever, at any step, instead of dying.
    pub stops: bool,
    /// The mistake made, if any.
    pub mutation: Option<Mutation>,
}

impl Groups {
    /// A ring of two slots with so many shared producers, and these groups.
    pub fn new(producers: usize, rows: &[Group]) -> Self {
        let mut row = [PASSING; state::ROWS];
        row[..rows.len()].copy_from_slice(rows);
        Self {
            producers,
            exclusive: false,
            row,
            rows: rows.len(),
            member: [NONE; state::MAX_ACTORS],
            members: 0,
            positions: 4,
            capacity: 2,
            chunk: 1,
            raise: 1,
            reader: false,
            deaths: 0,
            arrivals: 0,
            ways: Ways::Copy,
            leaves: false,
            changes: false,
            // Who may evict grants first.
            helps: rows.iter().any(|group| group.evict),
            quiet: false,
            stops: false,
            mutation: None,
        }
    }

    /// A ring of two slots with an exclusive producer, and these groups.
    pub fn exclusive(rows: &[Group]) -> Self {
        Self { exclusive: true, ..Self::new(1, rows) }
    }

    /// The same with another member of a row.
    pub fn member(mut self, row: u8) -> Self {
        self.member[self.members] = row;
        self.members += 1;
        self
    }

    /// The same with another entry, which is free.
    pub fn entry(self) -> Self {
        self.member(NONE)
    }

    /// The same with so many positions.
    pub fn positions(self, positions: u8) -> Self {
        Self { positions, ..self }
    }

    /// The same with so many slots.
    pub fn capacity(self, capacity: u8) -> Self {
        Self { capacity, ..self }
    }

    /// The same with a window that is raised by so much.
    pub fn chunk(self, chunk: u8) -> Self {
        Self { chunk, raise: chunk, ..self }
    }

    /// The same with batches that raise the window by so much.
    pub fn batch(self, raise: u8) -> Self {
        Self { raise, ..self }
    }

    /// The same with so many deaths and so many newcomers.
    pub fn deaths(self, deaths: u8, arrivals: u8) -> Self {
        Self { deaths, arrivals, ..self }
    }

    /// The same with a tail reader.
    pub fn reader(self) -> Self {
        Self { reader: true, ..self }
    }

    /// The same with one way of receiving.
    pub fn ways(self, ways: Ways) -> Self {
        Self { ways, ..self }
    }

    /// The same with members that leave.
    pub fn leaving(self) -> Self {
        Self { leaves: true, ..self }
    }

    /// The same with newcomers that choose their group.
    pub fn changing(self) -> Self {
        Self { changes: true, ..self }
    }

    /// The same with producers that grant.
    pub fn helping(self) -> Self {
        Self { helps: true, ..self }
    }

    /// The same with producers that may fall silent.
    pub fn quiet(self) -> Self {
        Self { quiet: true, ..self }
    }

    /// The same with members that stop for ever, at any step. Who waits for their group waits for
    /// ever too, so it has to be one that may be evicted.
    pub fn stopping(self) -> Self {
        Self { stops: true, ..self }
    }

    /// The same with a mistake.
    pub fn with(self, mutation: Mutation) -> Self {
        Self { mutation: Some(mutation), ..self }
    }

    /// Whether this mistake is made.
    pub fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// How many there are of what.
    pub fn shape(&self) -> Shape {
        Shape {
            producers: self.producers,
            members: self.members,
            rows: self.rows,
            positions: self.positions,
            capacity: self.capacity,
            reader: self.reader,
        }
    }

    /// Producers and members of a state.
    pub fn sides<'s>(&self, state: &'s State) -> (&'s [Actor], &'s [Actor]) {
        let (producers, others) = state.actors.split_at(self.producers);
        (producers, &others[..self.members])
    }

    /// Whether an entry is a producer's.
    pub fn is_producer(&self, index: usize) -> bool {
        index < self.producers
    }

    /// The entries of members, by index.
    pub fn entries(&self) -> std::ops::Range<usize> {
        self.producers..self.producers + self.members
    }

    /// The entries of members that a scan by `me` may look at next: in any order, if it is nothing
    /// but a name that tells them apart, and else in their own.
    fn unscanned(&self, me: usize, scanned: u8) -> impl Iterator<Item = usize> + use<> {
        let first = self.producers;
        let left = move |&entry: &usize| entry != me && scanned >> (entry - first) & 1 == 0;
        self.entries().filter(left).take(if self.equals().is_some() { 2 } else { 1 })
    }

    /// Two members whom nothing but a name tells apart, if there are such.
    fn equals(&self) -> Option<(usize, usize)> {
        let same = self.changes || self.member[0] == self.member[1];
        (self.members == 2 && same).then_some((self.producers, self.producers + 1))
    }

    /// Whether a cursor belongs to a gate's generation.
    fn is_of(&self, cursor: u8, gate: u8) -> bool {
        cursor == gate || self.is(Mutation::CursorWithoutGeneration)
    }
}

impl Model for Groups {
    type State = State;
    type Packed = [u64; WORDS];
    type Violation = Violation;

    fn initial(&self) -> State {
        assert!(self.producers + self.members <= state::MAX_ACTORS, "more than fit a state");
        assert!(self.shape().bits() <= 64 * WORDS, "a state does not fit {WORDS} words");
        let mut state = State::initial(self.capacity);
        (state.deaths, state.arrivals) = (self.deaths, self.arrivals);
        for (row, group) in self.row[..self.rows].iter().enumerate() {
            let joins = self.member.iter().filter(|&&member| usize::from(member) == row).count();
            if group.open {
                state.rows[row].gate =
                    Gate { kind: Kind::Open, joins: joins as u8, ..Gate::default() };
            }
        }
        for producer in &mut state.actors[..self.producers] {
            producer.at = At::Idle;
        }
        for (member, &row) in state.actors[self.producers..].iter_mut().zip(&self.member) {
            if row == NONE {
                continue;
            }
            member.row = row;
            if self.row[usize::from(row)].open {
                (member.at, member.named, member.joined) = (At::Idle, row, true);
            } else {
                member.at = At::Seek;
            }
        }
        state
    }

    fn steps(&self, state: &State, steps: &mut Vec<Step>) {
        steps.clear();
        if state.violation.is_some() {
            return;
        }
        for who in 0..self.producers + self.members {
            let mut turn = Turn { groups: self, before: state, who, steps };
            if self.is_producer(who) {
                produce::steps(&mut turn);
            } else {
                member::steps(&mut turn);
            }
            turn.die();
        }
        if self.reader {
            let who = self.producers + self.members;
            reader::steps(&mut Turn { groups: self, before: state, who, steps });
        }
        // A step that changes nothing is none.
        steps.retain(|step| step.after != *state);
    }

    fn canonical(&self, state: &State) -> [u64; WORDS] {
        let shape = self.shape();
        let mut least = shape.pack(state);
        // With three the order of a scan would tell them apart.
        let producers = (self.producers == 2).then_some((0, 1));
        let (members, first) = (self.equals(), self.producers);
        if let Some((a, b)) = members {
            least = least.min(shape.pack(&state.swapped(a, b, first)));
        }
        if let Some((a, b)) = producers {
            let swapped = state.swapped(a, b, first);
            least = least.min(shape.pack(&swapped));
            if let Some((a, b)) = members {
                least = least.min(shape.pack(&swapped.swapped(a, b, first)));
            }
        }
        least
    }

    fn unpack(&self, packed: [u64; WORDS]) -> State {
        self.shape().unpack(packed)
    }

    fn violation(&self, state: &State) -> Option<Violation> {
        state.violation
    }

    fn promise(violation: Violation) -> &'static str {
        violation.promise()
    }

    fn is_done(&self, state: &State) -> bool {
        invariant::is_done(self, state)
    }

    fn describe(&self, step: &Step) -> String {
        let state = &step.after;
        let rows = state.rows[..self.rows].iter().enumerate().map(|(index, row)| {
            let Row { gate, head, tail, .. } = row;
            format!(
                "   group {index} {:?} {}/{} head {}/{} tail {}/{}",
                gate.kind,
                gate.generation,
                gate.joins,
                head.generation,
                head.position,
                tail.generation,
                tail.position
            )
        });
        let name = match step.who {
            reader if reader == self.producers + self.members => "T ".to_string(),
            producer if self.is_producer(producer) => format!("P{producer}"),
            member => format!("M{}", member - self.producers),
        };
        let at = state.actors.get(step.who).map_or(state.reader.position, |actor| actor.position);
        format!(
            "{name} {:<50} at {at}   window {} head {}{}",
            step.what,
            state.window,
            state.head,
            rows.collect::<String>()
        )
    }
}

/// One actor's turn in a state: what it could do next.
struct Turn<'a> {
    groups: &'a Groups,
    before: &'a State,
    who: usize,
    steps: &'a mut Vec<Step>,
}

impl Turn<'_> {
    /// Whoever's turn it is.
    fn me(&self) -> &Actor {
        &self.before.actors[self.who]
    }

    /// The row that it looks at.
    fn row(&self) -> &Row {
        &self.before.rows[usize::from(self.me().row)]
    }

    /// Adds a step: `change` is given the state, to change, and the index of whoever takes it.
    fn step(&mut self, what: &'static str, change: impl FnOnce(&mut State, usize)) {
        let mut after = *self.before;
        change(&mut after, self.who);
        self.steps.push(Step { who: self.who, what, after });
    }

    /// Adds a step after which it does something else next, and nothing else has changed.
    fn goes(&mut self, what: &'static str, at: At) {
        self.step(what, |state, me| state.actors[me].at = at);
    }

    /// Adds a step that ends a call.
    fn ends(&mut self, what: &'static str, change: impl FnOnce(&mut State, usize)) {
        self.step(what, |state, me| {
            change(state, me);
            state.actors[me].at = At::Idle;
            state.actors[me].forget();
        });
    }

    fn die(&mut self) {
        if self.before.deaths == 0 || !self.me().at.is_alive() {
            return;
        }
        if self.groups.stops && !self.groups.is_producer(self.who) && self.me().at != At::Quiet {
            self.step("STOPS for ever", |state, me| {
                // Its locks and its words stay.
                let target = state.actors[me].target;
                state.actors[me].forget();
                (state.actors[me].at, state.actors[me].target) = (At::Quiet, target);
                state.deaths -= 1;
            });
        }
        self.step("DIES", |state, me| {
            let dying = state.actors[me];
            let Actor { word, named, named_generation, .. } = dying;
            state.actors[me] =
                Actor { at: At::Dead, word, named, named_generation, ..Actor::VACANT };
            state.deaths -= 1;
            if dying.at == At::CopyReturn {
                state.take_along(dying.row, dying.generation, dying.position - 1);
            }
            for row in &mut state.rows {
                if usize::from(row.lock) == me {
                    row.lock = NONE;
                }
            }
        });
    }
}
