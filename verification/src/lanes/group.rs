//! A group over two lanes: a cursor in each lane, and one gate.
//!
//! ```text
//!  open     lock ── where to start, in each lane ── name the next generation, in each entry ──
//!           store each tail ── open the gate ── look at each window (gone: raise that tail, look
//!           again) ── swap each head ── unlock
//!  resume   somebody died there: name, count oneself in, read each tail, go on with the windows
//!  join     gate open, each head of its generation? ── name it, in each entry ── count oneself in
//!  evict    gate open? ── look at all cursors ── look again: none has moved ── compare-and-swap
//!  close    read the gate ── look at the entries of a lane ── compare-and-swap
//! ```
//!
//! A member has an entry for each lane, and names its group in all of them before it counts itself
//! in. So whoever closes may look at the entries of any one lane. Each lane has
//! an exclusive producer with a write window, as in the model of groups. Members copy before they
//! claim, so there are no holds, and a tail is where the head is.

use std::fmt;

use super::{Fields, NONE, Small, Turn, cases, mistakes, places};
use crate::slot::{Settled, Slot};
use crate::suite::{Case, Mistake};

const LANES: usize = 2;
const CAPACITY: u8 = 2;

/// A mistake made on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// The gate is opened before the last lane's tail is stored.
    GateBeforeLastTail,
    /// The opener looks at the window of the first lane only.
    OneWindowUnchecked,
    /// Who goes on with an opening looks at the window of the first lane only.
    ResumedHalf,
    /// The heads are published before the window of the last lane was looked at.
    HeadsBeforeLastWindow,
    /// A group is evicted if the cursor of the lane in which it holds back has not moved.
    OtherCursorsIgnored,
    /// A member counts itself in when it has named the group in the first of its entries, and
    /// whoever closes looks at the entries of its own lane.
    CountedInHalfNamed,
    /// A member looks at the gate before it copies.
    GateBeforeCopy,
}

/// A configuration.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    members: usize,
    positions: u8,
    /// Whether the group is open at first, with its members in it.
    open: bool,
    evict: bool,
    deaths: u8,
    arrivals: u8,
    mutation: Option<Mutation>,
}

places! {
/// Where a producer is in its code.
pub enum P {
    /// In no call.
    Idle,
    /// About to write the second half of a payload.
    Fill,
    /// About to commit.
    Commit,
    /// Has seen the gate open; about to read its lane's tail.
    Tail,
    /// There is room; about to raise the window.
    Raise,
    /// About to read the gate again.
    Again,
    /// Has seen it open; about to read the tail again.
    TailAgain,
    /// Held back.
    Held,
    /// About to look at the entries.
    CloseLook,
    /// About to close the gate.
    Close,
    /// About to look at a cursor.
    EvictFirst,
    /// About to look at it again.
    EvictAgain,
    /// About to evict.
    Evict,
}
}

places! {
/// Where a member, or one to be, is in its code.
pub enum M {
    /// In no call.
    Idle,
    /// Dead; what its entries name stays.
    Dead,
    /// About to read the gate.
    Seek,
    /// About to see whether a head is of the gate's generation.
    SeekHead,
    /// About to name the group in an entry.
    Name,
    /// About to count itself in.
    Join,
    /// About to read a head.
    JoinHead,
    /// About to take the lock.
    Lock,
    /// About to read the gate under it.
    OpenGate,
    /// About to find where to start in a lane.
    OpenStart,
    /// About to name the next generation in an entry.
    OpenName,
    /// About to store a tail.
    OpenTail,
    /// About to open the gate.
    Open,
    /// About to look at a window.
    OpenLook,
    /// About to raise a tail.
    OpenChase,
    /// About to swap a head.
    OpenHead,
    /// About to unlock.
    OpenDone,
    /// Goes on with an opening: about to count itself in.
    ResumeCount,
    /// About to read a tail.
    ResumeTail,
    /// About to copy.
    Copy,
    /// Has copied; about to look at the gate.
    Gate,
    /// About to claim.
    Claim,
}
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Hash)]
struct Gate {
    /// 0: closed, 1: open, 2: evicted.
    kind: u8,
    generation: u8,
    joins: u8,
}

const OPEN: u8 = 1;

#[derive(Clone, Copy, Debug, Default, PartialEq, Hash)]
struct Cursor {
    generation: u8,
    position: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Hash)]
struct Lane {
    slots: [Slot; CAPACITY as usize],
    window: u8,
    head: Cursor,
    tail: Cursor,
}

#[derive(Clone, Copy, Debug, PartialEq, Hash)]
struct Producer {
    at: P,
    position: u8,
    bound: u8,
    least: u8,
    seen: Gate,
    /// The lane that it looks at, and where the cursors were.
    lane: u8,
    cursors: [u8; LANES],
    /// Only the checker's: whether a cursor has moved since all were looked at, before the second
    /// look.
    moved: u8,
    /// Only the checker's: whether it is held back by what an earlier generation left.
    misled: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Hash)]
struct Member {
    at: M,
    /// The generation that each entry names, plus 1; 0: none.
    named: [u8; LANES],
    joined: u8,
    generation: u8,
    lane: u8,
    position: [u8; LANES],
    seen: Gate,
    intact: u8,
}

const VACANT: Member = Member {
    at: M::Dead,
    named: [0; LANES],
    joined: 0,
    generation: 0,
    lane: 0,
    position: [0; LANES],
    seen: Gate { kind: 0, generation: 0, joins: 0 },
    intact: 0,
};

/// A state of the world.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
pub struct State {
    gate: Gate,
    lock: u8,
    lanes: [Lane; LANES],
    producers: [Producer; LANES],
    members: [Member; 2],
    deaths: u8,
    arrivals: u8,
    broken: u8,
}

/// What must hold in every state.
pub const PROMISES: [&str; 5] = [
    "no slot is written while an open group may read it",
    "what is delivered is what was committed there",
    "no group is closed in which a member lives",
    "a group is evicted only while none of its cursors moves",
    "a group is evicted for its own tail, not that of an earlier generation",
];

impl Gate {
    fn each(&mut self, visit: &mut impl FnMut(&mut u8, usize)) {
        visit(&mut self.kind, 2);
        visit(&mut self.generation, 2);
        visit(&mut self.joins, 3);
    }

    fn is_open(self) -> bool {
        self.kind == OPEN
    }
}

impl Fields for State {
    fn each(&mut self, visit: &mut impl FnMut(&mut u8, usize)) {
        self.gate.each(visit);
        visit(&mut self.lock, 4);
        for lane in &mut self.lanes {
            for slot in &mut lane.slots {
                visit(&mut slot.sequence, 3);
                visit(&mut slot.payload, 2);
            }
            visit(&mut lane.window, 3);
            for cursor in [&mut lane.head, &mut lane.tail] {
                visit(&mut cursor.generation, 2);
                visit(&mut cursor.position, 3);
            }
        }
        for producer in &mut self.producers {
            producer.at.visit(visit, 4);
            visit(&mut producer.position, 3);
            visit(&mut producer.bound, 3);
            visit(&mut producer.least, 4);
            producer.seen.each(visit);
            visit(&mut producer.lane, 1);
            producer.cursors.iter_mut().for_each(|cursor| visit(cursor, 3));
            visit(&mut producer.moved, 1);
            visit(&mut producer.misled, 1);
        }
        for member in &mut self.members {
            member.at.visit(visit, 5);
            member.named.iter_mut().for_each(|named| visit(named, 3));
            visit(&mut member.joined, 1);
            visit(&mut member.generation, 2);
            visit(&mut member.lane, 1);
            member.position.iter_mut().for_each(|position| visit(position, 3));
            member.seen.each(visit);
            visit(&mut member.intact, 1);
        }
        visit(&mut self.deaths, 2);
        visit(&mut self.arrivals, 2);
        visit(&mut self.broken, 3);
    }
}

impl State {
    /// Notes a broken promise; the first one counts.
    fn require(&mut self, kept: bool, promise: u8) {
        if !kept && self.broken == 0 {
            self.broken = promise + 1;
        }
    }

    fn slot(&mut self, lane: usize, position: u8) -> &mut Slot {
        &mut self.lanes[lane].slots[usize::from(position % CAPACITY)]
    }

    fn settled(&self, lane: usize, position: u8) -> Settled {
        self.lanes[lane].slots[usize::from(position % CAPACITY)].settled(position / CAPACITY)
    }

    /// Whether a member lives that is counted in, in the gate's generation.
    fn lives(&self) -> bool {
        let generation = self.gate.generation;
        self.members
            .iter()
            .any(|it| it.at != M::Dead && it.joined != 0 && it.generation == generation)
    }

    /// The members read a lane: its head is published, and not only the opener is there.
    fn is_read(&self, lane: usize) -> bool {
        let generation = self.gate.generation;
        let others = self.members.iter().enumerate().any(|(who, it)| {
            who != usize::from(self.lock)
                && it.at != M::Dead
                && it.joined != 0
                && it.generation == generation
        });
        self.gate.is_open()
            && self.lanes[lane].head.generation == generation
            && (self.lock == NONE || others)
    }

    fn count_in(&mut self, who: usize) {
        self.gate.joins += 1;
        self.members[who].joined = 1;
        self.members[who].generation = self.gate.generation;
    }
}

impl Group {
    /// Two lanes, and a closed group that so many want to join.
    pub fn new(members: usize) -> Self {
        let (open, evict) = (false, false);
        Self { members, positions: 3, open, evict, deaths: 0, arrivals: 0, mutation: None }
    }

    /// The same with an open group, of which they are members.
    pub fn open(self) -> Self {
        Self { open: true, ..self }
    }

    /// The same with a group that may be evicted.
    pub fn evictable(self) -> Self {
        Self { evict: true, ..self }
    }

    /// The same with so many positions in each lane.
    pub fn positions(self, positions: u8) -> Self {
        Self { positions, ..self }
    }

    /// The same with so many deaths and newcomers.
    pub fn deaths(self, deaths: u8, arrivals: u8) -> Self {
        Self { deaths, arrivals, ..self }
    }

    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }
}

// ---- producers -----------------------------------------------------------------------------

impl Group {
    fn produce(&self, turn: &mut Turn<'_, State>, lane: usize) {
        let (before, me) = (turn.before, turn.before.producers[lane]);
        let (gate, at_lane) = (before.gate, before.lanes[lane]);
        let goes = |turn: &mut Turn<'_, State>, what, at| {
            turn.step(what, |state| state.producers[lane].at = at);
        };
        match me.at {
            P::Idle if me.position == self.positions => {}
            P::Idle if me.position < me.bound => turn.step("begins to write", |state| {
                let free = !state.is_read(lane) || me.position < at_lane.tail.position + CAPACITY;
                state.require(free, 0);
                state.slot(lane, me.position).payload = 0;
                state.producers[lane].at = P::Fill;
            }),
            P::Fill => turn.step("writes the second half", |state| {
                state.slot(lane, me.position).payload = me.position / CAPACITY + 1;
                state.producers[lane].at = P::Commit;
            }),
            P::Commit => turn.step("commits", |state| {
                state.slot(lane, me.position).sequence = 1 + 2 * (me.position / CAPACITY);
                let (position, bound) = (me.position + 1, me.bound);
                state.producers[lane] = Producer { position, bound, ..PRODUCER };
            }),
            P::Idle => turn.step("reads the gate", |state| {
                let at = if gate.is_open() { P::Tail } else { P::Raise };
                state.producers[lane].at = at;
            }),
            P::Tail => turn.step("reads its lane's tail", |state| {
                let least = at_lane.tail.position;
                let room = me.position < least + CAPACITY;
                let it = &mut state.producers[lane];
                (it.least, it.at) = if room { (least, P::Raise) } else { (NONE, P::Held) };
                let earlier = at_lane.tail.generation < gate.generation;
                it.misled = u8::from(!room && earlier);
            }),
            P::Raise => turn.step("raises the window", |state| {
                let most = if me.least == NONE { NONE } else { me.least + CAPACITY };
                let window = &mut state.lanes[lane].window;
                *window = (*window).max((me.position + 1).min(most));
                (state.producers[lane].at, state.producers[lane].least) = (P::Again, NONE);
            }),
            P::Again if gate.is_open() => goes(turn, "reads the gate again: open", P::TailAgain),
            P::Again => turn.step("reads the gate again: not open", |state| {
                (state.producers[lane].at, state.producers[lane].bound) = (P::Idle, at_lane.window);
            }),
            P::TailAgain => turn.step("reads the tail again", |state| {
                let bound = at_lane.window.min(at_lane.tail.position + CAPACITY);
                (state.producers[lane].at, state.producers[lane].bound) = (P::Idle, bound);
            }),
            _ => self.hold_back(turn, lane),
        }
    }

    /// What a producer does that is held back.
    fn hold_back(&self, turn: &mut Turn<'_, State>, lane: usize) {
        let (before, me) = (turn.before, turn.before.producers[lane]);
        let gate = before.gate;
        let gives_up = |turn: &mut Turn<'_, State>, what| {
            let (position, bound) = (me.position, me.bound);
            turn.step(what, |state| {
                state.producers[lane] = Producer { position, bound, ..PRODUCER };
            });
        };
        let is_last = usize::from(me.lane) + 1 == LANES;
        match me.at {
            P::Held => {
                gives_up(turn, "looks again");
                if !gate.is_open() {
                    return;
                }
                turn.step("reads the gate, to close", |state| {
                    let it = &mut state.producers[lane];
                    (it.seen, it.at) = (gate, P::CloseLook);
                });
                if self.evict {
                    turn.step("reads the gate, to evict", |state| {
                        let it = &mut state.producers[lane];
                        (it.seen, it.lane, it.at) = (gate, 0, P::EvictFirst);
                    });
                }
            }
            P::CloseLook => {
                let generation = me.seen.generation;
                let named = |it: &Member| it.at != M::Dead && it.named[lane] == generation + 1;
                if before.members.iter().any(named) {
                    return gives_up(turn, "finds a living member in its lane");
                }
                turn.step("finds no living member in its lane", |state| {
                    state.producers[lane].at = P::Close;
                });
            }
            P::Close | P::Evict if gate != me.seen => gives_up(turn, "finds the gate changed"),
            P::Close => turn.step("closes the gate", |state| {
                let lives = state.lives();
                state.require(!lives, 2);
                state.gate.kind = 0;
                let (position, bound) = (me.position, me.bound);
                state.producers[lane] = Producer { position, bound, ..PRODUCER };
            }),
            P::EvictFirst => turn.step("looks at a cursor", |state| {
                let seen = state.lanes[usize::from(me.lane)].head.position;
                let it = &mut state.producers[lane];
                it.cursors[usize::from(me.lane)] = seen;
                (it.lane, it.at) = if is_last { (0, P::EvictAgain) } else { (1, P::EvictFirst) };
                it.moved = 0;
            }),
            P::EvictAgain => {
                let seen = before.lanes[usize::from(me.lane)].head.position;
                let other = usize::from(me.lane) != lane;
                let ignored = other && self.is(Mutation::OtherCursorsIgnored);
                if seen != me.cursors[usize::from(me.lane)] && !ignored {
                    return gives_up(turn, "sees that a cursor has moved");
                }
                turn.step("sees that a cursor has not moved", |state| {
                    let it = &mut state.producers[lane];
                    it.cursors[usize::from(me.lane)] = 0;
                    (it.lane, it.at) = if is_last { (0, P::Evict) } else { (1, P::EvictAgain) };
                });
            }
            P::Evict => turn.step("evicts", |state| {
                state.require(me.moved == 0, 3);
                state.require(me.misled == 0, 4);
                state.gate.kind = 2;
                let (position, bound) = (me.position, me.bound);
                state.producers[lane] = Producer { position, bound, ..PRODUCER };
            }),
            _ => unreachable!("a producer at {:?}", me.at),
        }
    }
}

const PRODUCER: Producer = Producer {
    at: P::Idle,
    position: 0,
    bound: 0,
    least: NONE,
    seen: Gate { kind: 0, generation: 0, joins: 0 },
    lane: 0,
    cursors: [0; LANES],
    moved: 0,
    misled: 0,
};

// ---- members -------------------------------------------------------------------------------

impl Group {
    fn take_part(&self, turn: &mut Turn<'_, State>, who: usize) {
        let (before, me) = (turn.before, turn.before.members[who]);
        if me.at == M::Dead {
            if before.arrivals != 0 {
                turn.step("a newcomer takes the entries", |state| {
                    state.members[who] = Member { at: M::Seek, ..VACANT };
                    state.arrivals -= 1;
                });
            }
            return;
        }
        match me.at {
            M::Idle | M::Copy | M::Gate | M::Claim => self.receive(turn, who),
            M::Seek | M::SeekHead | M::Name | M::Join | M::JoinHead => self.join(turn, who),
            _ => self.open_group(turn, who),
        }
        if before.deaths != 0 {
            turn.step("DIES", |state| {
                state.members[who] = Member { named: me.named, ..VACANT };
                if usize::from(state.lock) == who {
                    state.lock = NONE;
                }
                state.deaths -= 1;
            });
        }
    }

    fn receive(&self, turn: &mut Turn<'_, State>, who: usize) {
        let (before, me) = (turn.before, turn.before.members[who]);
        let gate = before.gate;
        let over = !gate.is_open() || gate.generation != me.generation;
        let lane = usize::from(me.lane);
        let position = me.position[lane];
        match me.at {
            M::Idle if over => turn.step("finds its group over", |state| {
                state.members[who] = Member { at: M::Seek, named: me.named, ..VACANT };
            }),
            M::Idle => {
                for lane in 0..LANES {
                    let head = before.lanes[lane].head;
                    match before.settled(lane, me.position[lane]) {
                        Settled::Committed => turn.step("sees a message in a lane", |state| {
                            state.members[who].lane = lane as u8;
                            state.members[who].at = M::Copy;
                        }),
                        _ if head.generation == me.generation => {
                            turn.step("goes on at a lane's head", |state| {
                                state.members[who].position[lane] = head.position;
                            });
                        }
                        _ => {}
                    }
                }
            }
            M::Copy => turn.step("copies", |state| {
                let whole = state.slot(lane, position).payload == position / CAPACITY + 1;
                let intact = whole && state.settled(lane, position) == Settled::Committed;
                let early = self.is(Mutation::GateBeforeCopy);
                let it = &mut state.members[who];
                (it.intact, it.at) = (u8::from(intact), if early { M::Claim } else { M::Gate });
            }),
            M::Gate if over => turn.step("finds its group over: throws the copy away", |state| {
                state.members[who] = Member { at: M::Seek, named: me.named, ..VACANT };
            }),
            M::Gate => turn.step("finds the gate open", |state| state.members[who].at = M::Claim),
            M::Claim => {
                let head = before.lanes[lane].head;
                let won = head == Cursor { generation: me.generation, position };
                turn.step(if won { "claims" } else { "loses the race" }, |state| {
                    let it = &mut state.members[who];
                    (it.at, it.lane, it.intact) = (M::Idle, 0, 0);
                    if won {
                        it.position[lane] = position + 1;
                        state.claim(lane, me.intact != 0);
                    } else if head.generation == me.generation {
                        it.position[lane] = head.position;
                    }
                });
            }
            _ => unreachable!("a member at {:?}", me.at),
        }
    }

    fn join(&self, turn: &mut Turn<'_, State>, who: usize) {
        let (before, me) = (turn.before, turn.before.members[who]);
        let gate = before.gate;
        let goes = |turn: &mut Turn<'_, State>, what, at, lane| {
            turn.step(what, |state| {
                (state.members[who].at, state.members[who].lane) = (at, lane);
            });
        };
        let is_last = usize::from(me.lane) + 1 == LANES;
        let at_lane = before.lanes[usize::from(me.lane)];
        let half = self.is(Mutation::CountedInHalfNamed);
        match me.at {
            M::Seek if !gate.is_open() => goes(turn, "sees a gate that is not open", M::Lock, 0),
            M::Seek => turn.step("sees an open gate", |state| {
                (state.members[who].seen, state.members[who].at) = (gate, M::SeekHead);
            }),
            M::SeekHead if at_lane.head.generation != me.seen.generation => {
                goes(turn, "sees that it is being opened", M::Lock, 0);
            }
            M::SeekHead if is_last => goes(turn, "sees that it is opened", M::Name, 0),
            M::SeekHead => goes(turn, "sees that it is opened in a lane", M::SeekHead, 1),
            M::Name => turn.step("names the group in an entry", |state| {
                let it = &mut state.members[who];
                it.named[usize::from(me.lane)] = me.seen.generation + 1;
                (it.at, it.lane) = match () {
                    () if is_last && half => (M::JoinHead, 0),
                    () if is_last || half => (M::Join, me.lane),
                    () => (M::Name, 1),
                };
            }),
            M::Join if gate != me.seen => turn.step("finds the gate changed", |state| {
                state.members[who] = Member { at: M::Seek, named: me.named, ..VACANT };
            }),
            M::Join => turn.step("counts itself in", |state| {
                state.count_in(who);
                let it = &mut state.members[who];
                (it.at, it.lane) = if half { (M::Name, 1) } else { (M::JoinHead, 0) };
            }),
            M::JoinHead => turn.step("reads a head", |state| {
                let it = &mut state.members[who];
                it.position[usize::from(me.lane)] = at_lane.head.position;
                (it.at, it.lane) = if is_last { (M::Idle, 0) } else { (M::JoinHead, 1) };
                if is_last {
                    it.seen = Gate::default();
                }
            }),
            _ => unreachable!("a member to be at {:?}", me.at),
        }
    }

    fn open_group(&self, turn: &mut Turn<'_, State>, who: usize) {
        let (before, me) = (turn.before, turn.before.members[who]);
        let (gate, lane) = (before.gate, usize::from(me.lane));
        let at_lane = before.lanes[lane];
        let is_last = lane + 1 == LANES;
        // The next step: of the next lane, or `at` after the last.
        let next = |state: &mut State, at: M| {
            let it = &mut state.members[who];
            (it.at, it.lane) = if is_last { (at, 0) } else { (it.at, 1) };
        };
        match me.at {
            M::Lock if before.lock == NONE => turn.step("takes the lock", |state| {
                state.lock = who as u8;
                let named = me.named;
                state.members[who] = Member { at: M::OpenGate, named, ..VACANT };
            }),
            M::Lock => {}
            M::OpenGate => {
                let opened =
                    before.lanes.iter().all(|lane| lane.head.generation == gate.generation);
                turn.step("reads the gate, locked", |state| {
                    state.members[who].seen = gate;
                    state.members[who].at = match gate.is_open() {
                        false => M::OpenStart,
                        true if !opened => M::OpenName,
                        true => {
                            state.lock = NONE;
                            state.members[who].seen = Gate::default();
                            M::Seek
                        }
                    };
                });
            }
            M::OpenStart => turn.step("finds where to start in a lane", |state| {
                let from = at_lane.window.saturating_sub(1);
                let unsettled = |&at: &u8| state.settled(lane, at) == Settled::NotYet;
                let start = (from..at_lane.window).find(unsettled).unwrap_or(at_lane.window);
                state.members[who].position[lane] = start;
                next(state, M::OpenName);
            }),
            M::OpenName => turn.step("names the generation in an entry", |state| {
                let on = u8::from(!me.seen.is_open());
                assert!(me.seen.generation + on < 4, "more openings than fit a state");
                state.members[who].named[lane] = me.seen.generation + on + 1;
                next(state, if on == 1 { M::OpenTail } else { M::ResumeCount });
            }),
            M::OpenTail => turn.step("stores a tail", |state| {
                let (generation, position) = (me.named[lane] - 1, me.position[lane]);
                state.lanes[lane].tail = Cursor { generation, position };
                let early = self.is(Mutation::GateBeforeLastTail);
                let it = &mut state.members[who];
                (it.at, it.lane) = match is_last {
                    true if early => (M::OpenLook, 0),
                    false if early => (M::Open, 1),
                    true => (M::Open, 0),
                    false => (M::OpenTail, 1),
                };
            }),
            M::Open => turn.step("opens the gate", |state| {
                let generation = me.seen.generation + 1;
                state.gate = Gate { kind: OPEN, generation, joins: 0 };
                state.count_in(who);
                let early = self.is(Mutation::GateBeforeLastTail);
                state.members[who].at = if early { M::OpenTail } else { M::OpenLook };
            }),
            M::ResumeCount if gate != me.seen => turn.step("finds the gate changed", |state| {
                state.members[who].seen = Gate::default();
                state.members[who].at = M::OpenGate;
            }),
            M::ResumeCount => turn.step("counts itself in, to go on with an opening", |state| {
                state.count_in(who);
                state.members[who].at = M::ResumeTail;
            }),
            M::ResumeTail => turn.step("reads a tail", |state| {
                state.members[who].position[lane] = at_lane.tail.position;
                next(state, M::OpenLook);
            }),
            _ => self.publish(turn, who),
        }
    }

    /// The rest of an opening: the gate is open.
    fn publish(&self, turn: &mut Turn<'_, State>, who: usize) {
        let me = turn.before.members[who];
        let lane = usize::from(me.lane);
        let at_lane = turn.before.lanes[lane];
        let early = self.is(Mutation::HeadsBeforeLastWindow);
        let half = self.is(Mutation::OneWindowUnchecked)
            || self.is(Mutation::ResumedHalf) && me.seen.is_open();
        match me.at {
            M::OpenLook if at_lane.window > me.position[lane] + CAPACITY => {
                turn.step("looks at a window: the start is gone", |state| {
                    state.members[who].position[lane] = at_lane.window - CAPACITY / 2;
                    state.members[who].at = M::OpenChase;
                });
            }
            M::OpenLook => turn.step("looks at a window: the start is there", |state| {
                let it = &mut state.members[who];
                (it.at, it.lane) = match () {
                    () if early && lane + 1 == LANES => (M::OpenDone, 0),
                    () if early || lane + 1 == LANES || half => (M::OpenHead, 0),
                    () => (M::OpenLook, 1),
                };
            }),
            M::OpenChase => turn.step("raises a tail", |state| {
                state.lanes[lane].tail.position = me.position[lane];
                if early && lane + 1 == LANES {
                    state.lanes[lane].head.position = me.position[lane];
                }
                state.members[who].at = M::OpenLook;
            }),
            M::OpenHead => turn.step("swaps a head", |state| {
                let (generation, position) = (me.generation, me.position[lane]);
                state.lanes[lane].head = Cursor { generation, position };
                let it = &mut state.members[who];
                (it.at, it.lane) = match lane + 1 == LANES {
                    true if early => (M::OpenLook, me.lane),
                    true => (M::OpenDone, 0),
                    false => (M::OpenHead, 1),
                };
            }),
            M::OpenDone => turn.step("unlocks", |state| {
                state.lock = NONE;
                state.members[who].at = M::Idle;
                state.members[who].seen = Gate::default();
            }),
            _ => unreachable!("an opener at {:?}", me.at),
        }
    }
}

impl State {
    /// The next message of a lane is claimed, and released.
    fn claim(&mut self, lane: usize, intact: bool) {
        self.require(intact, 1);
        let it = &mut self.lanes[lane];
        it.head.position += 1;
        if it.tail.generation == it.head.generation {
            it.tail = it.head;
        }
        for producer in &mut self.producers {
            // Between the two looks: each producer's own first look ends when it is at the second.
            if producer.at == P::EvictAgain && producer.lane == 0 {
                producer.moved = 1;
            }
        }
    }
}

impl Small for Group {
    type State = State;
    type Mutation = Mutation;

    fn begin(&self) -> State {
        let at = if self.open { M::Idle } else { M::Seek };
        let named = [u8::from(self.open); LANES];
        let member = |who| match who < self.members {
            true => Member { at, named, joined: u8::from(self.open), ..VACANT },
            false => VACANT,
        };
        let joins = self.members as u8;
        let closed = Gate::default();
        State {
            gate: if self.open { Gate { kind: OPEN, generation: 0, joins } } else { closed },
            lock: NONE,
            lanes: [Lane::default(); LANES],
            producers: [PRODUCER; LANES],
            members: [member(0), member(1)],
            deaths: self.deaths,
            arrivals: self.arrivals,
            broken: 0,
        }
    }

    fn steps_from(&self, turn: &mut Turn<'_, State>) {
        for lane in 0..LANES {
            turn.of(lane);
            self.produce(turn, lane);
        }
        for who in 0..self.members {
            turn.of(LANES + who);
            self.take_part(turn, who);
        }
    }

    fn renamed(&self, state: &State) -> Option<State> {
        let mut other = *state;
        other.members.swap(0, 1);
        if other.lock != NONE {
            other.lock = 1 - other.lock;
        }
        (self.members == 2).then_some(other)
    }

    fn broken(&self, state: &State) -> Option<&'static str> {
        PROMISES.get(usize::from(state.broken).wrapping_sub(1)).copied()
    }

    /// All is sent in both lanes; a group with a living member is drained, and its members know
    /// about it.
    fn is_over(&self, state: &State) -> bool {
        let sent = |it: &Producer| it.at == P::Idle && it.position == self.positions;
        let rests = |it: &Member| {
            let current = state.gate.is_open() && it.generation == state.gate.generation;
            it.at == M::Dead || it.at == M::Idle && current
        };
        let drained = !state.gate.is_open()
            || !state.lives()
            || state.lanes.iter().all(|lane| lane.head.position == self.positions);
        state.producers.iter().all(sent) && state.members.iter().all(rests) && drained
    }

    fn with(self, mutation: Option<Mutation>) -> Self {
        Self { mutation, ..self }
    }
}

/// The configurations that must hold.
pub fn all() -> Vec<Case<Group>> {
    let new = Group::new;
    cases(
        vec![new(1).deaths(1, 1), new(1).open().deaths(1, 0)],
        vec![new(2).deaths(0, 0), new(1).open().evictable().deaths(1, 1)],
        vec![
            new(2).deaths(1, 0),
            new(1).deaths(2, 1).positions(4),
            new(2).open().evictable().deaths(1, 0),
        ],
    )
}

/// The mistakes, and where each must be found.
pub fn wrong() -> Vec<Mistake<Mutation, Group>> {
    use Mutation::*;
    let new = Group::new;
    mistakes([
        (GateBeforeLastTail, new(1).evictable()),
        (OneWindowUnchecked, new(1)),
        (ResumedHalf, new(1).deaths(1, 1)),
        (HeadsBeforeLastWindow, new(2)),
        (OtherCursorsIgnored, new(1).open().evictable()),
        (CountedInHalfNamed, new(1).deaths(1, 1)),
        (GateBeforeCopy, new(1).open().evictable()),
    ])
}

/// A configuration in words.
impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = format!("a group of 2 lanes: {} members", self.members);
        if self.open {
            words += ", open";
        }
        if self.evict {
            words += ", evictable";
        }
        words += &format!(", {}/{CAPACITY} positions", self.positions);
        f.pad(&format!("{words}, {}+{}", self.deaths, self.arrivals))
    }
}
