//! Lanes by class: what a receive returns, and who helps an urgent lane in which somebody died.
//!
//! ```text
//!  a receive      the urgent lane's slot, at the position where this handle has last seen its head
//!   ├ committed   claim (compare-and-swap); lost: load the head, look again
//!   ├ abandoned   claim it, look again
//!   ├ later       others have gone on for a lap: load the head, look again
//!   └ not yet     a message of the lane that is not urgent; now and then, help first
//! ```
//!
//! The rule: an urgent message whose send returned before a receive began is what that receive
//! returns, unless another consumer gets it, or it waits in its own lane for one that was claimed
//! before it and is not committed.
//!
//! The lane that is not urgent always has a message here. So nobody who helps only where there is
//! nothing else to do would ever help.

use std::fmt;

use super::{Fields, NONE, Small, Turn, cases, mistakes, places};
use crate::slot::{Settled, Slot};
use crate::suite::{Case, Mistake};

const CAPACITY: usize = 2;

/// A mistake made on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// A slot that belongs to a later lap is taken for an empty one: the position where this handle
    /// has last seen the head is trusted.
    StalePositionTrusted,
    /// Who loses the race for an urgent message goes on with the other lane.
    LostGoesOn,
    /// Messages that are not urgent are claimed two at a time, and returned one by one.
    SeveralClaimed,
    /// The dead of an urgent lane are looked for if no lane has a message.
    HelpWhenAllEmpty,
    /// The lane that is not urgent is looked at first.
    BulkFirst,
}

/// A configuration.
#[derive(Clone, Copy, Debug)]
pub struct Class {
    producers: usize,
    consumers: usize,
    positions: u8,
    capacity: u8,
    deaths: u8,
    mutation: Option<Mutation>,
}

places! {
/// Where a producer of the urgent lane is in its code.
pub enum P {
    /// In no call.
    Idle,
    /// Has shown its intent; about to claim.
    Claim,
    /// About to commit.
    Commit,
    /// About to return.
    Return,
    /// Dead; its intent stays.
    Dead,
}
}

places! {
/// Where a consumer is in its code.
pub enum C {
    /// In no call.
    Idle,
    /// About to look at the urgent lane's slot.
    Look,
    /// About to claim the message there.
    Claim,
    /// About to claim an abandoned slot.
    Skip,
    /// About to load the urgent lane's head.
    Head,
    /// Has found nothing urgent.
    Bulk,
    /// Dead.
    Dead,
}
}

#[derive(Clone, Copy, Debug, PartialEq, Hash)]
struct Producer {
    at: P,
    intent: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Hash)]
struct Consumer {
    at: C,
    /// Where it has last seen the head.
    position: u8,
    /// Whether it has claimed a message that is not urgent, to return it later.
    kept: u8,
    /// Only the checker's: what had been sent when its call began, a bit for each position.
    owed: u8,
}

/// A state of the world.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
pub struct State {
    slots: [Slot; CAPACITY],
    /// The next position that consumers claim.
    head: u8,
    /// The next position that producers claim.
    claimed: u8,
    /// Only the checker's: whose send has returned, a bit for each position.
    returned: u8,
    producers: [Producer; 2],
    consumers: [Consumer; 2],
    deaths: u8,
    broken: u8,
}

impl Fields for State {
    fn each(&mut self, visit: &mut impl FnMut(&mut u8, usize)) {
        for slot in &mut self.slots {
            visit(&mut slot.sequence, 4);
        }
        visit(&mut self.head, 3);
        visit(&mut self.claimed, 3);
        visit(&mut self.returned, 5);
        for producer in &mut self.producers {
            producer.at.visit(visit, 3);
            visit(&mut producer.intent, 4);
        }
        for consumer in &mut self.consumers {
            consumer.at.visit(visit, 3);
            visit(&mut consumer.position, 3);
            visit(&mut consumer.kept, 1);
            visit(&mut consumer.owed, 5);
        }
        visit(&mut self.deaths, 2);
        visit(&mut self.broken, 1);
    }
}

impl Class {
    /// So many producers of the urgent lane, and so many consumers.
    pub fn new(producers: usize, consumers: usize) -> Self {
        Self { producers, consumers, positions: 3, capacity: 1, deaths: 0, mutation: None }
    }

    /// The same with so many urgent messages in so many slots.
    pub fn positions(self, positions: u8, capacity: u8) -> Self {
        Self { positions, capacity, ..self }
    }

    /// The same with so many deaths.
    pub fn deaths(self, deaths: u8) -> Self {
        Self { deaths, ..self }
    }

    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    fn slot(&self, position: u8) -> usize {
        usize::from(position % self.capacity)
    }

    fn settled(&self, state: &State, position: u8) -> Settled {
        state.slots[self.slot(position)].settled(position / self.capacity)
    }

    /// What a receive that begins now has to return: the first that nobody has received, if its
    /// send has returned. What it waits for in its lane is settled.
    fn owed(&self, state: &State) -> u8 {
        (state.head..state.claimed)
            .take_while(|&position| self.settled(state, position) != Settled::NotYet)
            .fold(0, |owed, position| owed | state.returned & 1 << position)
    }

    fn produce(&self, turn: &mut Turn<'_, State>, who: usize) {
        let before = turn.before;
        let Producer { at, intent } = before.producers[who];
        match at {
            P::Idle if before.claimed < self.positions.min(before.head + self.capacity) => {
                turn.step("shows its intent", |state| {
                    state.producers[who] = Producer { at: P::Claim, intent: state.claimed };
                });
            }
            P::Claim if before.claimed == intent => turn.step("claims", |state| {
                state.claimed += 1;
                state.producers[who].at = P::Commit;
            }),
            P::Claim => turn.step("loses the race", |state| {
                state.producers[who] = Producer { at: P::Idle, intent: NONE };
            }),
            P::Commit => turn.step("commits", |state| {
                let lap = intent / self.capacity;
                state.slots[self.slot(intent)].sequence = 1 + 2 * lap;
                state.producers[who].at = P::Return;
            }),
            P::Return => turn.step("returns", |state| {
                state.returned |= 1 << intent;
                state.producers[who] = Producer { at: P::Idle, intent: NONE };
            }),
            P::Idle | P::Dead => {}
        }
        if at != P::Dead && before.deaths != 0 {
            turn.step("DIES", |state| {
                state.producers[who].at = P::Dead;
                state.deaths -= 1;
            });
        }
    }

    fn consume(&self, turn: &mut Turn<'_, State>, who: usize) {
        let before = turn.before;
        let me = before.consumers[who];
        let goes = |turn: &mut Turn<'_, State>, what, at| {
            turn.step(what, |state| state.consumers[who].at = at);
        };
        match me.at {
            C::Idle => turn.step("begins to receive", |state| {
                state.consumers[who].owed = self.owed(state);
                state.consumers[who].at = match () {
                    () if me.kept != 0 || self.is(Mutation::BulkFirst) => C::Bulk,
                    () => C::Look,
                };
            }),
            C::Look => match self.settled(before, me.position) {
                Settled::Committed => goes(turn, "sees an urgent message", C::Claim),
                Settled::Abandoned => goes(turn, "sees an abandoned slot", C::Skip),
                Settled::Later if !self.is(Mutation::StalePositionTrusted) => {
                    goes(turn, "sees that others have gone on", C::Head);
                }
                _ => goes(turn, "sees nothing urgent", C::Bulk),
            },
            C::Claim | C::Skip if before.head != me.position => {
                let on = me.at == C::Claim && self.is(Mutation::LostGoesOn);
                goes(turn, "loses the race", if on { C::Bulk } else { C::Head });
            }
            C::Claim => turn.step("receives an urgent message", |state| {
                state.head += 1;
                ends(&mut state.consumers[who], me.position + 1);
            }),
            C::Skip => turn.step("passes over the abandoned slot", |state| {
                state.head += 1;
                let me = &mut state.consumers[who];
                (me.position, me.at) = (me.position + 1, C::Look);
            }),
            C::Head => turn.step("loads the head", |state| {
                state.consumers[who].position = state.head;
                state.consumers[who].at = C::Look;
            }),
            C::Bulk => self.take_bulk(turn, who),
            C::Dead => {}
        }
        if me.at != C::Dead && before.deaths != 0 {
            turn.step("DIES", |state| {
                state.consumers[who] = Consumer { at: C::Dead, position: 0, kept: 0, owed: 0 };
                state.deaths -= 1;
            });
        }
    }

    fn take_bulk(&self, turn: &mut Turn<'_, State>, who: usize) {
        let me = turn.before.consumers[who];
        turn.step("receives a message that is not urgent", |state| {
            // Those below the head went to others.
            state.broken = u8::from(me.owed >> state.head != 0);
            let several = self.is(Mutation::SeveralClaimed);
            state.consumers[who].kept = u8::from(several && me.kept == 0);
            ends(&mut state.consumers[who], me.position);
        });
        let dead = self.blocked_by_the_dead(turn.before, me.position);
        if dead && !self.is(Mutation::HelpWhenAllEmpty) {
            turn.step("helps: abandons for a dead producer", |state| {
                let lap = me.position / self.capacity;
                state.slots[self.slot(me.position)].sequence = 2 + 2 * lap;
                state.consumers[who].at = C::Look;
            });
        }
    }

    /// Whether a dead producer has claimed a position and not committed it.
    fn blocked_by_the_dead(&self, state: &State, position: u8) -> bool {
        let intends = |dead: bool| {
            let shows = |it: &&Producer| it.intent == position && (it.at == P::Dead) == dead;
            state.producers.iter().any(|it| shows(&it))
        };
        position < state.claimed
            && self.settled(state, position) == Settled::NotYet
            && intends(true)
            && !intends(false)
    }
}

/// A call ends.
fn ends(consumer: &mut Consumer, position: u8) {
    (consumer.at, consumer.position, consumer.owed) = (C::Idle, position, 0);
}

impl Small for Class {
    type State = State;
    type Mutation = Mutation;

    fn begin(&self) -> State {
        let producer = |who| Producer {
            at: if who < self.producers { P::Idle } else { P::Dead },
            intent: NONE,
        };
        let at = |who| if who < self.consumers { C::Idle } else { C::Dead };
        let consumer = |who| Consumer { at: at(who), position: 0, kept: 0, owed: 0 };
        State {
            slots: [Slot::default(); CAPACITY],
            head: 0,
            claimed: 0,
            returned: 0,
            producers: [producer(0), producer(1)],
            consumers: [consumer(0), consumer(1)],
            deaths: self.deaths,
            broken: 0,
        }
    }

    fn steps_from(&self, turn: &mut Turn<'_, State>) {
        for who in 0..self.producers {
            turn.of(who);
            self.produce(turn, who);
        }
        for who in 0..self.consumers {
            turn.of(self.producers + who);
            self.consume(turn, who);
        }
    }

    fn renamed(&self, state: &State) -> Option<State> {
        let mut other = *state;
        other.consumers.swap(0, 1);
        (self.consumers == 2).then_some(other)
    }

    fn broken(&self, state: &State) -> Option<&'static str> {
        (state.broken != 0).then_some("what was sent before a receive began is what it returns")
    }

    fn is_over(&self, state: &State) -> bool {
        let rest = |it: &Producer| matches!(it.at, P::Idle | P::Dead);
        let gone = state.producers.iter().all(|it| it.at == P::Dead);
        let nobody = state.consumers.iter().all(|it| it.at == C::Dead);
        let sent = gone || state.claimed == self.positions;
        nobody || state.producers.iter().all(rest) && sent && state.head == state.claimed
    }

    fn with(self, mutation: Option<Mutation>) -> Self {
        Self { mutation, ..self }
    }
}

/// The configurations that must hold.
pub fn all() -> Vec<Case<Class>> {
    let new = Class::new;
    cases(
        vec![new(1, 2).deaths(2), new(2, 1).deaths(2)],
        vec![new(2, 2).deaths(1), new(2, 2).deaths(2).positions(4, 2)],
        vec![new(2, 2).deaths(3).positions(5, 2)],
    )
}

/// The mistakes, and where each must be found.
pub fn wrong() -> Vec<Mistake<Mutation, Class>> {
    use Mutation::*;
    let new = Class::new;
    mistakes([
        (StalePositionTrusted, new(1, 2)),
        (LostGoesOn, new(1, 2).positions(3, 2)),
        (SeveralClaimed, new(1, 1)),
        (HelpWhenAllEmpty, new(1, 1).deaths(1)),
        (BulkFirst, new(1, 1)),
    ])
}

/// A configuration in words.
impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!(
            "by class: {} urgent producers, {} consumers, {}/{} positions, {} die",
            self.producers, self.consumers, self.positions, self.capacity, self.deaths
        ))
    }
}
