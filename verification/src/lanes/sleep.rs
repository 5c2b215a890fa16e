//! One sleep for several lanes.
//!
//! ```text
//!  a consumer                              a producer of a lane
//!  looks at each lane                      commits
//!  ticket = wakes                          is its lane marked?
//!  marks each lane                           clears its mark   (who has cleared it goes on)
//!  looks at each lane again                  wakes += 1
//!  sleeps while wakes == ticket              wakes all who sleep
//! ```
//!
//! Each lane has a mark of its own, which its producers look at. All consumers sleep on one count
//! of wake-ups. A wake-up is for all of them, so one that dies, or that has its
//! hands full for ever, between a wake-up and its receive keeps nothing from the others. A producer
//! that dies between its commit and the bell is not in this model: nobody sleeps for longer than a
//! tenth of a second.

use std::fmt;

use super::{Fields, Small, Turn, cases, mistakes, places};
use crate::suite::{Case, Mistake};

const LANES: usize = 2;

/// A mistake made on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// The look before the lanes are marked is the last one.
    LookBeforeArming,
    /// With the lanes marked, only the first one is looked at.
    SomeLanesLooked,
    /// Only the first lane is marked.
    SomeLanesMarked,
    /// A wake-up is for one of those who sleep.
    OneWoken,
    /// The ticket is taken after the lanes were marked.
    TicketAfterArming,
    /// A consumer that has found something clears the marks, which are of all who sleep.
    MarkClearedOnLeaving,
}

/// A configuration.
#[derive(Clone, Copy, Debug)]
pub struct Sleep {
    messages: u8,
    consumers: usize,
    /// How many consumers may die, or be busy for ever.
    deaths: u8,
    /// Whether each producer sends into each lane.
    by_class: bool,
    mutation: Option<Mutation>,
}

places! {
/// Where a producer is in its code.
pub enum P {
    /// In no call.
    Idle,
    /// About to look at the mark.
    Look,
    /// About to clear it.
    Clear,
    /// About to count the wake-up.
    Count,
    /// About to wake.
    Wake,
}
}

places! {
/// Where a consumer is in its code.
pub enum C {
    /// About to look at a lane, and to take what is there.
    Try,
    /// About to take a ticket.
    Ticket,
    /// About to mark a lane.
    Arm,
    /// About to look at a lane, with all of them marked.
    Look,
    /// Has found something then; about to take it.
    Leave,
    /// About to sleep.
    Park,
    /// Sleeps.
    Asleep,
    /// Dead, or busy for ever.
    Gone,
}
}

#[derive(Clone, Copy, Debug, PartialEq, Hash)]
struct Producer {
    at: P,
    left: u8,
    /// Where it has sent last.
    lane: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Hash)]
struct Consumer {
    at: C,
    lane: u8,
    ticket: u8,
}

/// A state of the world.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
pub struct State {
    sent: [u8; LANES],
    taken: [u8; LANES],
    marks: [u8; LANES],
    wakes: u8,
    producers: [Producer; LANES],
    consumers: [Consumer; 2],
    deaths: u8,
}

impl Fields for State {
    fn each(&mut self, visit: &mut impl FnMut(&mut u8, usize)) {
        self.sent.iter_mut().chain(&mut self.taken).for_each(|count| visit(count, 4));
        self.marks.iter_mut().for_each(|mark| visit(mark, 1));
        visit(&mut self.wakes, 4);
        for producer in &mut self.producers {
            producer.at.visit(visit, 3);
            visit(&mut producer.left, 3);
            visit(&mut producer.lane, 1);
        }
        for consumer in &mut self.consumers {
            consumer.at.visit(visit, 3);
            visit(&mut consumer.lane, 1);
            visit(&mut consumer.ticket, 4);
        }
        visit(&mut self.deaths, 2);
    }
}

impl State {
    fn has(&self, lane: u8) -> bool {
        self.sent[usize::from(lane)] > self.taken[usize::from(lane)]
    }
}

impl Sleep {
    /// Two producers with so many messages each, and so many consumers.
    pub fn new(messages: u8, consumers: usize) -> Self {
        Self { messages, consumers, deaths: 0, by_class: false, mutation: None }
    }

    /// The same with so many deaths of consumers.
    pub fn deaths(self, deaths: u8) -> Self {
        Self { deaths, ..self }
    }

    /// The same with producers that send into all lanes.
    pub fn by_class(self) -> Self {
        Self { by_class: true, ..self }
    }

    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    fn produce(&self, turn: &mut Turn<'_, State>, who: usize) {
        let before = turn.before;
        let goes = |turn: &mut Turn<'_, State>, what, at| {
            turn.step(what, |state| state.producers[who].at = at);
        };
        let lane = usize::from(before.producers[who].lane);
        let marked = before.marks[lane] != 0;
        match before.producers[who].at {
            P::Idle if before.producers[who].left != 0 => {
                let own = who..who + 1;
                for lane in if self.by_class { 0..LANES } else { own } {
                    turn.step("commits", |state| {
                        state.sent[lane] += 1;
                        state.producers[who].left -= 1;
                        state.producers[who].lane = lane as u8;
                        state.producers[who].at = P::Look;
                    });
                }
            }
            P::Idle => {}
            P::Look if marked => goes(turn, "sees the mark", P::Clear),
            P::Look => goes(turn, "sees no mark", P::Idle),
            P::Clear if !marked => goes(turn, "finds the mark cleared", P::Idle),
            P::Clear => turn.step("clears the mark", |state| {
                state.marks[lane] = 0;
                state.producers[who].at = P::Count;
            }),
            P::Count => turn.step("counts the wake-up", |state| {
                state.wakes += 1;
                state.producers[who].at = P::Wake;
            }),
            P::Wake if self.is(Mutation::OneWoken) => {
                let sleeping = |state: &State, who: usize| state.consumers[who].at == C::Asleep;
                if !(0..2).any(|one| sleeping(before, one)) {
                    goes(turn, "finds nobody asleep", P::Idle);
                }
                for one in (0..2).filter(|&one| sleeping(before, one)) {
                    turn.step("wakes one", |state| {
                        state.consumers[one] = Consumer { at: C::Try, lane: 0, ticket: 0 };
                        state.producers[who].at = P::Idle;
                    });
                }
            }
            P::Wake => turn.step("wakes all", |state| {
                for consumer in &mut state.consumers {
                    if consumer.at == C::Asleep {
                        *consumer = Consumer { at: C::Try, lane: 0, ticket: 0 };
                    }
                }
                state.producers[who].at = P::Idle;
            }),
        }
    }

    fn consume(&self, turn: &mut Turn<'_, State>, who: usize) {
        let before = turn.before;
        let me = before.consumers[who];
        let goes = |turn: &mut Turn<'_, State>, what, at, lane| {
            turn.step(what, |state| {
                (state.consumers[who].at, state.consumers[who].lane) = (at, lane);
            });
        };
        let is_last = usize::from(me.lane) + 1 == LANES;
        match me.at {
            C::Try | C::Leave if before.has(me.lane) => turn.step("takes a message", |state| {
                state.taken[usize::from(me.lane)] += 1;
                state.consumers[who] = Consumer { at: C::Try, lane: 0, ticket: 0 };
            }),
            // Another was faster.
            C::Leave => goes(turn, "finds it taken", C::Try, 0),
            C::Try if !is_last => goes(turn, "finds a lane empty", C::Try, me.lane + 1),
            C::Try if self.is(Mutation::TicketAfterArming) => {
                goes(turn, "finds all lanes empty", C::Arm, 0);
            }
            C::Try => goes(turn, "finds all lanes empty", C::Ticket, 0),
            C::Ticket => turn.step("takes a ticket", |state| {
                let late = self.is(Mutation::TicketAfterArming);
                state.consumers[who].ticket = state.wakes;
                state.consumers[who].at = if late { C::Look } else { C::Arm };
            }),
            C::Arm => turn.step("marks a lane", |state| {
                state.marks[usize::from(me.lane)] = 1;
                let all = is_last || self.is(Mutation::SomeLanesMarked);
                let next = if all { 0 } else { me.lane + 1 };
                (state.consumers[who].at, state.consumers[who].lane) = match () {
                    () if !all => (C::Arm, next),
                    () if self.is(Mutation::LookBeforeArming) => (C::Park, next),
                    () if self.is(Mutation::TicketAfterArming) => (C::Ticket, next),
                    () => (C::Look, next),
                };
            }),
            C::Look if before.has(me.lane) => turn.step("looks again: a message", |state| {
                state.consumers[who].at = C::Leave;
                if self.is(Mutation::MarkClearedOnLeaving) {
                    state.marks = [0; LANES];
                }
            }),
            C::Look if is_last || self.is(Mutation::SomeLanesLooked) => {
                goes(turn, "looks again: nothing", C::Park, 0);
            }
            C::Look => goes(turn, "looks again: nothing in this lane", C::Look, me.lane + 1),
            C::Park if before.wakes == me.ticket => turn.step("sleeps", |state| {
                state.consumers[who] = Consumer { at: C::Asleep, lane: 0, ticket: 0 };
            }),
            C::Park => goes(turn, "finds its ticket out of date", C::Try, 0),
            C::Asleep | C::Gone => {}
        }
        if me.at != C::Gone && before.deaths != 0 {
            turn.step("DIES, or is busy for ever", |state| {
                state.consumers[who] = Consumer { at: C::Gone, lane: 0, ticket: 0 };
                state.deaths -= 1;
            });
        }
    }
}

impl Small for Sleep {
    type State = State;
    type Mutation = Mutation;

    fn begin(&self) -> State {
        let consumer = |who| Consumer {
            at: if who < self.consumers { C::Try } else { C::Gone },
            lane: 0,
            ticket: 0,
        };
        State {
            sent: [0; LANES],
            taken: [0; LANES],
            marks: [0; LANES],
            wakes: 0,
            producers: [Producer { at: P::Idle, left: self.messages, lane: 0 }; LANES],
            consumers: [consumer(0), consumer(1)],
            deaths: self.deaths,
        }
    }

    fn steps_from(&self, turn: &mut Turn<'_, State>) {
        for who in 0..LANES {
            turn.of(who);
            self.produce(turn, who);
        }
        for who in 0..2 {
            turn.of(LANES + who);
            self.consume(turn, who);
        }
    }

    fn renamed(&self, state: &State) -> Option<State> {
        let mut other = *state;
        other.consumers.swap(0, 1);
        Some(other)
    }

    fn broken(&self, _: &State) -> Option<&'static str> {
        // Whoever sleeps on a message for ever keeps all from finishing.
        None
    }

    fn is_over(&self, state: &State) -> bool {
        let rests = |producer: &Producer| producer.at == P::Idle && producer.left == 0;
        let drained = state.sent == state.taken;
        let nobody = state.consumers.iter().all(|consumer| consumer.at == C::Gone);
        state.producers.iter().all(rests) && (drained || nobody)
    }

    fn with(self, mutation: Option<Mutation>) -> Self {
        Self { mutation, ..self }
    }
}

/// The configurations that must hold.
pub fn all() -> Vec<Case<Sleep>> {
    let new = Sleep::new;
    cases(
        vec![new(2, 1).deaths(1), new(1, 2).deaths(2)],
        vec![new(2, 2).deaths(1), new(1, 2).deaths(1).by_class()],
        vec![new(3, 2).deaths(1), new(2, 2).deaths(2).by_class()],
    )
}

/// The mistakes, and where each must be found.
pub fn wrong() -> Vec<Mistake<Mutation, Sleep>> {
    use Mutation::*;
    let new = Sleep::new;
    mistakes([
        (LookBeforeArming, new(1, 1)),
        (SomeLanesLooked, new(1, 1)),
        (SomeLanesMarked, new(1, 1)),
        (OneWoken, new(1, 2).deaths(1)),
        (TicketAfterArming, new(1, 2).deaths(1).by_class()),
        (MarkClearedOnLeaving, new(1, 2).deaths(1)),
    ])
}

/// A configuration in words.
impl fmt::Display for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lanes = if self.by_class { "2 producers of 2 lanes" } else { "2 lanes of a producer" };
        f.pad(&format!(
            "one sleep: {lanes}, {} messages each, {} asleep at most, {} die",
            self.messages, self.consumers, self.deaths
        ))
    }
}
