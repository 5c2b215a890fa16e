//! Lanes by producer: owners that die at every step with a reservation, and their successors.
//!
//! ```text
//!  an owner     the lane's lock ── first position that is not committed ──
//!               room for all of a reservation? ── write each ── commit each, in order ── announce
//!  a member     committed? ── copy ── claim (compare-and-swap)
//! ```
//!
//! An owner shows nobody what it reserves. So its successor, who begins at the first position that
//! is not committed, writes half-written slots again, and members have nothing to repair. A lane is
//! taken by its lock, which ends with its owner. Members take from two lanes, in any order.

use std::fmt;

use super::{Fields, Small, Turn, cases, mistakes, places};
use crate::suite::{Case, Mistake};

const LANES: usize = 2;
const CAPACITY: u8 = 2;
const POSITIONS: usize = 4;

/// A mistake made on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// A lane is taken without its lock: by whoever finds that its owner is slow.
    LockNotAsked,
    /// A successor begins where its predecessor last announced that it was.
    AnnouncementTrusted,
    /// A reservation is shown, and a successor begins behind it.
    ReservationPassed,
    /// The messages of a reservation are committed from the last to the first.
    LastCommittedFirst,
    /// A reservation needs room for its first message.
    RoomForOne,
    /// A message is committed before all of it is written.
    CommittedHalfWritten,
    /// Members claim by a store.
    ClaimedByStore,
}

/// A configuration.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    lanes: usize,
    /// How many owners come at the same time.
    owners: usize,
    members: usize,
    positions: u8,
    deaths: u8,
    /// How many owners and members may come in place of the dead.
    arrivals: u8,
    mutation: Option<Mutation>,
}

places! {
/// Where an owner is in its code.
pub enum P {
    /// Nobody.
    None,
    /// About to take a lane's lock.
    Take,
    /// Has it; about to find its position.
    Find,
    /// In no call.
    Idle,
    /// About to write the first half of a message.
    Half,
    /// About to write the second half.
    Whole,
    /// About to commit.
    Commit,
    /// About to announce where it is.
    Announce,
}
}

places! {
/// Where a member is in its code.
pub enum C {
    /// In no call.
    Idle,
    /// Has seen a message; about to copy it.
    Copy,
    /// About to claim it.
    Claim,
    /// About to return it.
    Return,
    /// Behind; about to load the head.
    Head,
    /// Dead.
    Dead,
}
}

/// What a slot has. A message that is wholly written has the number of its lap, and 0 is nothing
/// whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Hash)]
struct Slot {
    sequence: u8,
    whole: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Hash)]
struct Lane {
    slots: [Slot; CAPACITY as usize],
    head: u8,
    /// Where an owner was, as last announced.
    tail: u8,
    /// What an owner has reserved, where that is shown.
    shown: u8,
    /// Only the checker's: which were committed, a bit for each position.
    committed: u8,
    /// Only the checker's: which were received.
    received: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Hash)]
struct Maker {
    at: P,
    lane: u8,
    position: u8,
    /// Up to where it has reserved.
    end: u8,
    /// Which it writes or commits.
    next: u8,
}

const NOBODY: Maker = Maker { at: P::None, lane: 0, position: 0, end: 0, next: 0 };

#[derive(Clone, Copy, Debug, PartialEq, Hash)]
struct Member {
    at: C,
    lane: u8,
    position: [u8; LANES],
    intact: u8,
}

const GONE: Member = Member { at: C::Dead, lane: 0, position: [0; LANES], intact: 0 };

/// A state of the world.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
pub struct State {
    lanes: [Lane; LANES],
    makers: [Maker; 2],
    members: [Member; 2],
    deaths: u8,
    arrivals: u8,
    broken: u8,
}

/// What must hold in every state.
pub const PROMISES: [&str; 3] = [
    "a slot is written by one owner at a time, and not while its message is there",
    "what is received is what was committed",
    "nothing is received twice",
];

impl Fields for State {
    fn each(&mut self, visit: &mut impl FnMut(&mut u8, usize)) {
        for lane in &mut self.lanes {
            for slot in &mut lane.slots {
                visit(&mut slot.sequence, 3);
                visit(&mut slot.whole, 2);
            }
            for word in [&mut lane.head, &mut lane.tail, &mut lane.shown] {
                visit(word, 3);
            }
            visit(&mut lane.committed, 4);
            visit(&mut lane.received, 4);
        }
        for maker in &mut self.makers {
            maker.at.visit(visit, 3);
            visit(&mut maker.lane, 1);
            for position in [&mut maker.position, &mut maker.end, &mut maker.next] {
                visit(position, 3);
            }
        }
        for member in &mut self.members {
            member.at.visit(visit, 3);
            visit(&mut member.lane, 1);
            member.position.iter_mut().for_each(|position| visit(position, 3));
            visit(&mut member.intact, 1);
        }
        visit(&mut self.deaths, 2);
        visit(&mut self.arrivals, 2);
        visit(&mut self.broken, 2);
    }
}

impl State {
    /// Notes a broken promise; the first one counts.
    fn require(&mut self, kept: bool, promise: u8) {
        if !kept && self.broken == 0 {
            self.broken = promise + 1;
        }
    }

    fn lane(&mut self, lane: u8) -> &mut Lane {
        &mut self.lanes[usize::from(lane)]
    }

    fn slot(&mut self, lane: u8, position: u8) -> &mut Slot {
        &mut self.lane(lane).slots[usize::from(position % CAPACITY)]
    }

    fn sequence(&self, lane: u8, position: u8) -> u8 {
        self.lanes[usize::from(lane)].slots[usize::from(position % CAPACITY)].sequence
    }

    fn has_owner(&self, lane: usize) -> bool {
        let owns = |maker: &Maker| !matches!(maker.at, P::None | P::Take);
        self.makers.iter().any(|maker| owns(maker) && usize::from(maker.lane) == lane)
    }
}

impl Owner {
    /// So many lanes, and so many members.
    pub fn new(lanes: usize, members: usize) -> Self {
        let (owners, positions) = (1, POSITIONS as u8);
        Self { lanes, owners, members, positions, deaths: 0, arrivals: 0, mutation: None }
    }

    /// The same with two owners at a time.
    pub fn two(self) -> Self {
        Self { owners: 2, ..self }
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

    /// Where an owner begins that has a lane's lock.
    fn begins(&self, state: &State, lane: u8) -> u8 {
        let Lane { head, tail, shown, .. } = state.lanes[usize::from(lane)];
        match () {
            () if self.is(Mutation::AnnouncementTrusted) => tail,
            () if self.is(Mutation::ReservationPassed) => shown.max(tail),
            () => (tail.max(head)..)
                .find(|&position| state.sequence(lane, position) < position + 1)
                .unwrap_or(tail),
        }
    }

    fn make(&self, turn: &mut Turn<'_, State>, who: usize) {
        let (before, me) = (turn.before, turn.before.makers[who]);
        match me.at {
            P::None if before.arrivals != 0 => turn.step("a newcomer wants a lane", |state| {
                state.makers[who].at = P::Take;
                state.arrivals -= 1;
            }),
            P::None => {}
            P::Take => {
                for lane in 0..self.lanes {
                    if before.has_owner(lane) && !self.is(Mutation::LockNotAsked) {
                        continue;
                    }
                    turn.step("takes a lane", |state| {
                        state.makers[who] = Maker { at: P::Find, lane: lane as u8, ..NOBODY };
                    });
                }
            }
            P::Find => turn.step("finds its position", |state| {
                let position = self.begins(state, me.lane);
                state.makers[who] = Maker { at: P::Idle, position, ..state.makers[who] };
            }),
            P::Idle => self.reserve(turn, who),
            P::Half => turn.step("writes the first half", |state| {
                self.overwrites(state, who, me.next);
                state.slot(me.lane, me.next).whole = 0;
                state.makers[who].at = P::Whole;
            }),
            P::Whole => turn.step("writes the second half", |state| {
                self.overwrites(state, who, me.next);
                state.slot(me.lane, me.next).whole = me.next / CAPACITY + 1;
                let is_last = me.next + 1 == me.end;
                let late = self.is(Mutation::LastCommittedFirst);
                let maker = &mut state.makers[who];
                (maker.next, maker.at) = match is_last {
                    false => (me.next + 1, P::Half),
                    true if late => (me.end - 1, P::Commit),
                    true => (me.position, P::Commit),
                };
            }),
            P::Commit => turn.step("commits", |state| self.commit(state, who)),
            P::Announce => turn.step("announces where it is", |state| {
                state.lane(me.lane).tail = me.position;
                state.makers[who].at = P::Idle;
            }),
        }
        if before.deaths != 0 && me.at != P::None {
            turn.step("DIES", |state| {
                state.makers[who] = NOBODY;
                state.deaths -= 1;
            });
        }
    }

    /// An owner in no call reserves one message or two, or leaves its lane.
    fn reserve(&self, turn: &mut Turn<'_, State>, who: usize) {
        let me = turn.before.makers[who];
        let bound = turn.before.lanes[usize::from(me.lane)].head + CAPACITY;
        for count in 1..=2 {
            let end = me.position + count;
            let needed = if self.is(Mutation::RoomForOne) { me.position + 1 } else { end };
            if end <= self.positions && needed <= bound {
                turn.step("reserves", |state| {
                    let early = self.is(Mutation::CommittedHalfWritten);
                    let at = if early { P::Commit } else { P::Half };
                    state.makers[who] = Maker { at, end, next: me.position, ..me };
                    if self.is(Mutation::ReservationPassed) {
                        state.lane(me.lane).shown = end;
                    }
                });
            }
        }
        if self.owners == 2 && turn.before.arrivals != 0 {
            turn.step("leaves its lane", |state| state.makers[who] = NOBODY);
        }
    }

    /// What must be true of a slot that an owner writes.
    fn overwrites(&self, state: &mut State, who: usize, position: u8) {
        let me = state.makers[who];
        let others = |(other, it): (usize, &Maker)| {
            other != who && it.lane == me.lane && matches!(it.at, P::Half | P::Whole | P::Commit)
        };
        let alone = !state.makers.iter().enumerate().any(others);
        let lane = state.lanes[usize::from(me.lane)];
        let free = position < lane.head + CAPACITY && lane.committed >> position & 1 == 0;
        state.require(alone && free, 0);
    }

    fn commit(&self, state: &mut State, who: usize) {
        let me = state.makers[who];
        state.slot(me.lane, me.next).sequence = me.next + 1;
        state.lane(me.lane).committed |= 1 << me.next;
        let done = Maker { at: P::Announce, position: me.end, end: 0, next: 0, ..me };
        state.makers[who] = match () {
            () if self.is(Mutation::LastCommittedFirst) && me.next == me.position => done,
            () if self.is(Mutation::LastCommittedFirst) => Maker { next: me.next - 1, ..me },
            () if me.next + 1 == me.end => done,
            () => Maker { next: me.next + 1, ..me },
        };
    }

    fn receive(&self, turn: &mut Turn<'_, State>, who: usize) {
        let (before, me) = (turn.before, turn.before.members[who]);
        let position = me.position[usize::from(me.lane)];
        match me.at {
            C::Idle => {
                for lane in 0..self.lanes {
                    let position = me.position[lane];
                    let sequence = before.sequence(lane as u8, position);
                    if sequence > position {
                        let later = sequence > position + 1;
                        let at = if later { C::Head } else { C::Copy };
                        turn.step("looks at a lane: there is something", |state| {
                            state.members[who].lane = lane as u8;
                            state.members[who].at = at;
                        });
                    }
                }
            }
            C::Copy => turn.step("copies", |state| {
                let whole = state.slot(me.lane, position).whole;
                let intact = whole == position / CAPACITY + 1;
                let member = &mut state.members[who];
                (member.intact, member.at) = (u8::from(intact), C::Claim);
            }),
            C::Claim => {
                let head = before.lanes[usize::from(me.lane)].head;
                if head != position && !self.is(Mutation::ClaimedByStore) {
                    return turn.step("loses the race", |state| {
                        state.members[who].intact = 0;
                        state.members[who].at = C::Head;
                    });
                }
                turn.step("claims", |state| {
                    state.lane(me.lane).head = position + 1;
                    state.require(me.intact != 0, 1);
                    let once = state.lane(me.lane).received >> position & 1 == 0;
                    state.require(once, 2);
                    state.lane(me.lane).received |= 1 << position;
                    let member = &mut state.members[who];
                    member.position[usize::from(me.lane)] = position + 1;
                    (member.intact, member.lane, member.at) = (0, 0, C::Return);
                });
            }
            C::Return => turn.step("returns", |state| state.members[who].at = C::Idle),
            C::Head => turn.step("loads the head", |state| {
                let head = state.lane(me.lane).head;
                let member = &mut state.members[who];
                member.position[usize::from(me.lane)] = head;
                (member.lane, member.at) = (0, C::Idle);
            }),
            C::Dead => {}
        }
        if before.deaths != 0 && me.at != C::Dead {
            turn.step("DIES", |state| {
                state.members[who] = GONE;
                state.deaths -= 1;
            });
        }
    }
}

impl Small for Owner {
    type State = State;
    type Mutation = Mutation;

    fn begin(&self) -> State {
        let maker = |who| Maker { at: if who < self.owners { P::Take } else { P::None }, ..NOBODY };
        let at = |who| if who < self.members { C::Idle } else { C::Dead };
        let member = |who| Member { at: at(who), ..GONE };
        State {
            lanes: [Lane::default(); LANES],
            makers: [maker(0), maker(1)],
            members: [member(0), member(1)],
            deaths: self.deaths,
            arrivals: self.arrivals,
            broken: 0,
        }
    }

    fn steps_from(&self, turn: &mut Turn<'_, State>) {
        for who in 0..2 {
            turn.of(who);
            self.make(turn, who);
        }
        for who in 0..self.members {
            turn.of(2 + who);
            self.receive(turn, who);
        }
    }

    fn renamed(&self, state: &State) -> Option<State> {
        let mut other = *state;
        other.members.swap(0, 1);
        (self.members == 2).then_some(other)
    }

    fn broken(&self, state: &State) -> Option<&'static str> {
        PROMISES.get(usize::from(state.broken).wrapping_sub(1)).copied()
    }

    /// All is sent in each lane, or there is nobody who could; what was committed is received, or
    /// there is nobody who could.
    fn is_over(&self, state: &State) -> bool {
        let nobody = state.members.iter().all(|member| member.at == C::Dead);
        let rests = |maker: &Maker| matches!(maker.at, P::None | P::Take | P::Idle);
        let lanes = &state.lanes[..self.lanes];
        let owned = |lane: usize| state.has_owner(lane) || state.arrivals != 0;
        let all = (1 << self.positions) - 1;
        let sent = (0..self.lanes).all(|lane| !owned(lane) || lanes[lane].committed == all);
        let drained = lanes.iter().all(|lane| lane.received == lane.committed);
        state.makers.iter().all(rests) && (nobody || sent && drained)
    }

    fn with(self, mutation: Option<Mutation>) -> Self {
        Self { mutation, ..self }
    }
}

/// The configurations that must hold.
pub fn all() -> Vec<Case<Owner>> {
    let new = Owner::new;
    cases(
        vec![new(1, 1).deaths(2, 2), new(1, 2).deaths(1, 1)],
        vec![
            new(1, 2).deaths(3, 2),
            new(1, 2).two().deaths(2, 1),
            new(2, 1).two().deaths(1, 1).positions(3),
        ],
        vec![new(2, 2).two().deaths(1, 1).positions(3), new(2, 2).deaths(2, 2)],
    )
}

/// The mistakes, and where each must be found.
pub fn wrong() -> Vec<Mistake<Mutation, Owner>> {
    use Mutation::*;
    let new = Owner::new;
    mistakes([
        (LockNotAsked, new(1, 1).two()),
        (AnnouncementTrusted, new(1, 1).deaths(1, 1)),
        (ReservationPassed, new(1, 1).deaths(1, 1)),
        (LastCommittedFirst, new(1, 1).deaths(1, 1)),
        (RoomForOne, new(1, 1)),
        (CommittedHalfWritten, new(1, 1)),
        (ClaimedByStore, new(1, 2)),
    ])
}

/// A configuration in words.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!(
            "by producer: {} lanes, {} owners, {} members, {}/{CAPACITY} positions, {}+{}",
            self.lanes, self.owners, self.members, self.positions, self.deaths, self.arrivals
        ))
    }
}
