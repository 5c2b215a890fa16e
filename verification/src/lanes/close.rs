//! The end of a stream, and desertion, in a ring of which each lane has its own.
//!
//! ```text
//!  open     clear the lane's mark ── raise its count of openings ── (the handle is there) send
//!  close    set the lane's mark
//!  ended?   read the count of each lane ── is each marked? has it a message? ──
//!           read each count again: unchanged
//! ```
//!
//! A consumer that looks at one lane after the other may see each of them closed although at no
//! moment all of them were: a producer opens the first behind its back before another closes the
//! second. So it reads how often each lane was opened before and after its looks. Desertion is the
//! same: a lane is held instead of opened, and left instead of closed; its count is that of the
//! handles that have ever been taken.
//!
//! What is promised: whoever is told that all has ended has missed nothing that was sent through a
//! handle whose opening had returned, and there was no such handle on an open lane.

use std::fmt;

use super::{Fields, Small, Turn, cases, mistakes, places};
use crate::suite::{Case, Mistake};

const LANES: usize = 2;

/// A mistake made on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// The counts of openings are not read.
    CountsNotRead,
    /// They are read once all lanes were looked at, and a second time.
    CountsReadLate,
    /// An opening is counted before the lane's mark is cleared.
    CountedFirst,
    /// A lane is looked at for messages before it is looked at for its mark.
    DrainedBeforeClosed,
    /// One closed lane ends all.
    OneLaneEnds,
    /// A lane is marked though its closer has still to send what it has begun.
    ClosedBeforeSent,
}

/// A configuration.
#[derive(Clone, Copy, Debug)]
pub struct Close {
    /// How many handles are taken, by all producers together.
    handles: u8,
    messages: u8,
    consumers: usize,
    deaths: u8,
    mutation: Option<Mutation>,
}

places! {
/// Where a producer is in its code.
pub enum P {
    /// Has no handle.
    None,
    /// Has a lane's lock; about to clear its mark.
    Clear,
    /// About to count the opening.
    Count,
    /// Has a handle.
    Idle,
    /// A mistake: has marked the lane, and has something to send.
    Late,
}
}

places! {
/// Where a consumer is in its code.
pub enum C {
    /// About to look for a message in a lane.
    Try,
    /// About to read a lane's count.
    First,
    /// About to look whether the lane is closed.
    Closed,
    /// About to look whether it is drained.
    Drained,
    /// About to read a count again.
    Again,
    /// Was told that all has ended.
    Told,
    /// Dead.
    Dead,
}
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Hash)]
struct Lane {
    /// Whether it is open.
    open: u8,
    openings: u8,
    sent: u8,
    taken: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Hash)]
struct Producer {
    at: P,
    lane: u8,
    left: u8,
}

const NOBODY: Producer = Producer { at: P::None, lane: 0, left: 0 };

#[derive(Clone, Copy, Debug, PartialEq, Hash)]
struct Consumer {
    at: C,
    lane: u8,
    counts: [u8; LANES],
    /// Only the checker's: what it had missed when it began to read the counts again.
    missed: u8,
}

/// A state of the world.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
pub struct State {
    lanes: [Lane; LANES],
    producers: [Producer; 2],
    consumers: [Consumer; 2],
    handles: u8,
    deaths: u8,
    broken: u8,
}

/// What must hold in every state.
pub const PROMISES: [&str; 2] = [
    "who is told that all has ended has missed nothing",
    "nobody is told that all has ended while somebody can send",
];

impl Fields for State {
    fn each(&mut self, visit: &mut impl FnMut(&mut u8, usize)) {
        for lane in &mut self.lanes {
            visit(&mut lane.open, 1);
            for count in [&mut lane.openings, &mut lane.sent, &mut lane.taken] {
                visit(count, 4);
            }
        }
        for producer in &mut self.producers {
            producer.at.visit(visit, 3);
            visit(&mut producer.lane, 1);
            visit(&mut producer.left, 2);
        }
        for consumer in &mut self.consumers {
            consumer.at.visit(visit, 3);
            visit(&mut consumer.lane, 1);
            consumer.counts.iter_mut().for_each(|count| visit(count, 4));
            visit(&mut consumer.missed, 2);
        }
        visit(&mut self.handles, 3);
        visit(&mut self.deaths, 2);
        visit(&mut self.broken, 2);
    }
}

impl State {
    fn lane(&mut self, lane: u8) -> &mut Lane {
        &mut self.lanes[usize::from(lane)]
    }

    fn is_locked(&self, lane: usize) -> bool {
        self.producers.iter().any(|it| it.at != P::None && usize::from(it.lane) == lane)
    }
}

impl Close {
    /// A ring of two lanes, of which so many handles are taken, each for so many messages; two
    /// lanes are open at first, each with a producer.
    pub fn new(handles: u8, messages: u8) -> Self {
        Self { handles, messages, consumers: 1, deaths: 0, mutation: None }
    }

    /// The same with two consumers.
    pub fn two(self) -> Self {
        Self { consumers: 2, ..self }
    }

    /// The same with so many deaths. A lane whose producer dies stays open for its next one.
    pub fn deaths(self, deaths: u8) -> Self {
        Self { deaths, ..self }
    }

    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    fn produce(&self, turn: &mut Turn<'_, State>, who: usize) {
        let (before, me) = (turn.before, turn.before.producers[who]);
        let counted_first = self.is(Mutation::CountedFirst);
        match me.at {
            P::None if before.handles != 0 => {
                for lane in (0..LANES).filter(|&lane| !before.is_locked(lane)) {
                    turn.step("takes a lane", |state| {
                        let at = if counted_first { P::Count } else { P::Clear };
                        let left = self.messages;
                        state.producers[who] = Producer { at, lane: lane as u8, left };
                        state.handles -= 1;
                    });
                }
            }
            P::None => {}
            P::Clear => turn.step("clears its lane's mark", |state| {
                state.lane(me.lane).open = 1;
                state.producers[who].at = if counted_first { P::Idle } else { P::Count };
            }),
            P::Count => turn.step("counts the opening", |state| {
                state.lane(me.lane).openings += 1;
                state.producers[who].at = if counted_first { P::Clear } else { P::Idle };
            }),
            P::Idle => {
                if me.left != 0 {
                    turn.step("sends", |state| {
                        state.lane(me.lane).sent += 1;
                        state.producers[who].left -= 1;
                    });
                }
                turn.step("closes its lane, and leaves", |state| {
                    state.lane(me.lane).open = 0;
                    let late = self.is(Mutation::ClosedBeforeSent) && me.left != 0;
                    let sends = Producer { at: P::Late, ..me };
                    state.producers[who] = if late { sends } else { NOBODY };
                });
            }
            P::Late => turn.step("sends what it had begun", |state| {
                state.lane(me.lane).sent += 1;
                state.producers[who] = NOBODY;
            }),
        }
        if before.deaths != 0 && me.at != P::None {
            turn.step("DIES", |state| {
                state.producers[who] = NOBODY;
                state.deaths -= 1;
            });
        }
    }

    fn consume(&self, turn: &mut Turn<'_, State>, who: usize) {
        let (before, me) = (turn.before, turn.before.consumers[who]);
        let lane = usize::from(me.lane);
        let at_lane = before.lanes[lane];
        let is_last = lane + 1 == LANES;
        let stands = |at| Consumer { at, lane: 0, counts: [0; LANES], missed: 0 };
        let again = stands(C::Try);
        let late = self.is(Mutation::CountsReadLate);
        // To the next lane's first look, or to the counts.
        let beyond = |it: &mut Consumer| {
            (it.at, it.lane) = match () {
                () if !is_last && (late || self.is(Mutation::CountsNotRead)) => (C::Closed, 1),
                () if !is_last => (C::First, 1),
                () if late => (C::First, 0),
                () => (C::Again, 0),
            };
        };
        let has = at_lane.sent > at_lane.taken;
        let unasked = self.is(Mutation::CountsNotRead);
        let drained_first = self.is(Mutation::DrainedBeforeClosed);
        match me.at {
            C::Try if has => turn.step("takes a message", |state| {
                state.lanes[lane].taken += 1;
                state.consumers[who] = again;
            }),
            C::Try => turn.step("finds a lane empty", |state| {
                let it = &mut state.consumers[who];
                (it.at, it.lane) = match is_last {
                    false => (C::Try, 1),
                    true if unasked || late => (C::Closed, 0),
                    true => (C::First, 0),
                };
            }),
            C::First => turn.step("reads a lane's count", |state| {
                let it = &mut state.consumers[who];
                it.counts[lane] = at_lane.openings;
                (it.at, it.lane) = match () {
                    () if late && is_last => (C::Again, 0),
                    () if late => (C::First, 1),
                    () if drained_first => (C::Drained, me.lane),
                    () => (C::Closed, me.lane),
                };
            }),
            C::Closed if at_lane.open != 0 => {
                turn.step("sees an open lane: nothing there", |state| {
                    state.consumers[who] = again;
                })
            }
            C::Closed => turn.step("sees a closed lane", |state| {
                let it = &mut state.consumers[who];
                if drained_first {
                    beyond(it)
                } else {
                    it.at = C::Drained
                }
                if self.is(Mutation::OneLaneEnds) {
                    (it.at, it.lane) = (C::Again, 0);
                }
            }),
            C::Drained if has => turn.step("sees a message: all begins again", |state| {
                state.consumers[who] = again;
            }),
            C::Drained => turn.step("sees a drained lane", |state| {
                let it = &mut state.consumers[who];
                if drained_first { it.at = C::Closed } else { beyond(it) }
            }),
            C::Again if at_lane.openings != me.counts[lane] && !unasked => {
                turn.step("sees that a lane was opened: all begins again", |state| {
                    state.consumers[who] = again;
                });
            }
            C::Again if !is_last && !self.is(Mutation::OneLaneEnds) => {
                turn.step("sees a count unchanged", |state| {
                    state.consumers[who].missed = state.missed();
                    state.consumers[who].lane = 1;
                });
            }
            C::Again => turn.step("is told that all has ended", |state| {
                state.broken = if me.lane == 0 { state.missed() } else { me.missed };
                state.consumers[who] = stands(C::Told);
            }),
            C::Told | C::Dead => {}
        }
        if before.deaths != 0 && !matches!(me.at, C::Dead | C::Told) {
            turn.step("DIES", |state| {
                state.consumers[who] = stands(C::Dead);
                state.deaths -= 1;
            });
        }
    }
}

impl State {
    /// What somebody misses who is told now that all has ended; 0 is nothing.
    fn missed(&self) -> u8 {
        let missed = self.lanes.iter().any(|lane| lane.sent > lane.taken);
        let open = self.producers.iter().any(|it| matches!(it.at, P::Idle | P::Late));
        match () {
            () if missed => 1,
            () if open => 2,
            () => 0,
        }
    }
}

impl Small for Close {
    type State = State;
    type Mutation = Mutation;

    fn begin(&self) -> State {
        let lane = Lane { open: 1, openings: 1, ..Lane::default() };
        let producer = |lane| Producer { at: P::Idle, lane, left: self.messages };
        let at = |who| if who < self.consumers { C::Try } else { C::Dead };
        let consumer = |who| Consumer { at: at(who), lane: 0, counts: [0; LANES], missed: 0 };
        State {
            lanes: [lane; LANES],
            producers: [producer(0), producer(1)],
            consumers: [consumer(0), consumer(1)],
            handles: self.handles,
            deaths: self.deaths,
            broken: 0,
        }
    }

    fn steps_from(&self, turn: &mut Turn<'_, State>) {
        for who in 0..2 {
            turn.of(who);
            self.produce(turn, who);
        }
        for who in 0..self.consumers {
            turn.of(2 + who);
            self.consume(turn, who);
        }
    }

    fn renamed(&self, state: &State) -> Option<State> {
        let mut other = *state;
        other.consumers.swap(0, 1);
        (self.consumers == 2).then_some(other)
    }

    fn broken(&self, state: &State) -> Option<&'static str> {
        PROMISES.get(usize::from(state.broken).wrapping_sub(1)).copied()
    }

    /// Nobody has a handle. If all lanes are closed, all consumers are told; a lane that a dead
    /// producer left open waits for its next one, and is drained.
    fn is_over(&self, state: &State) -> bool {
        let gone = state.producers.iter().all(|it| it.at == P::None);
        let nobody = state.consumers.iter().all(|it| it.at == C::Dead);
        let told = state.consumers.iter().all(|it| matches!(it.at, C::Told | C::Dead));
        let open = state.lanes.iter().any(|lane| lane.open != 0);
        let drained = state.lanes.iter().all(|lane| lane.sent == lane.taken);
        gone && (nobody || drained && (told || open) || told && state.handles == 0)
    }

    fn with(self, mutation: Option<Mutation>) -> Self {
        Self { mutation, ..self }
    }
}

/// The configurations that must hold.
pub fn all() -> Vec<Case<Close>> {
    let new = Close::new;
    cases(
        vec![new(1, 1), new(2, 1).deaths(1)],
        vec![new(3, 2), new(2, 1).two().deaths(1)],
        vec![new(2, 2).two().deaths(1), new(3, 2).two().deaths(2)],
    )
}

/// The mistakes, and where each must be found.
pub fn wrong() -> Vec<Mistake<Mutation, Close>> {
    use Mutation::*;
    let new = Close::new;
    mistakes([
        (CountsNotRead, new(1, 1)),
        (CountsReadLate, new(1, 1)),
        (CountedFirst, new(1, 1)),
        (DrainedBeforeClosed, new(0, 1)),
        (OneLaneEnds, new(0, 1)),
        (ClosedBeforeSent, new(0, 1)),
    ])
}

/// A configuration in words.
impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!(
            "the end of 2 lanes: {} handles later, {} messages each, {} consumers, {} die",
            self.handles, self.messages, self.consumers, self.deaths
        ))
    }
}
