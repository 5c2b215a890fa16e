//! Lanes by producer in time order: what a consumer takes, and what it sleeps for.
//!
//! ```text
//!  a producer            a consumer
//!  reads the time        reads the time
//!  commits               looks at each lane ── none there? is it closed? ── looks again
//!  rings, if marked      the oldest, if each lane has one or is over, or if it is due: takes it
//!  …                     else: ticket ── marks the lanes that it waits for ── looks again ──
//!  closes its lane,        waits for no others now? ── sleeps until it is woken, or until the
//!  wakes all               oldest is due
//! ```
//!
//! What was there within the wait after its time was read is taken in order, by all consumers
//! together. A producer may be stopped in between for longer; such a message is *slow*, and nothing
//! is promised of it. A consumer that knows a message waits for lanes that have none and are open;
//! one that knows none waits for all. A claim is of the position that was looked at, or fails.
//!
//! How producers ring and consumers sleep is as in [`sleep`](super::sleep).

use std::fmt;

use super::{Fields, NONE, Small, Turn, cases, mistakes, places};
use crate::suite::{Case, Mistake};

const LANES: usize = 2;
const MOST: usize = 2;

/// A lane that has nothing, in a consumer's mind, and is open.
const AWAITED: u8 = 8;
/// A lane that has nothing and is closed.
const OVER: u8 = 9;

/// A mistake made on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// The time is read after the lanes were looked at.
    ClockAfterLooks,
    /// Lanes that have nothing are not waited for.
    NotAwaited,
    /// A lane that is found closed is not looked at again.
    NotLookedAgain,
    /// A claim takes what is next in the lane now.
    TakesAnother,
    /// Lanes that have something are marked, and the others are not.
    MarksWhatIsThere,
    /// A consumer that waits for other lanes than it has marked sleeps.
    MarksNotChecked,
    /// It sleeps if they are marked, whoever has marked them.
    AnyMarkCounts,
    /// Who closes a lane wakes nobody.
    ClosedUnheard,
}

/// A configuration.
#[derive(Clone, Copy, Debug)]
pub struct Time {
    /// How many messages each producer sends.
    messages: [u8; LANES],
    consumers: usize,
    /// How many consumers may die, or be busy for ever.
    deaths: u8,
    /// When time ends.
    end: u8,
    /// For how long lanes are waited for.
    wait: u8,
    /// Whether consumers sleep. Else they look again and again, and producers do not ring.
    sleeps: bool,
    mutation: Option<Mutation>,
}

places! {
/// Where a producer is in its code.
pub enum P {
    /// In no call.
    Idle,
    /// Has read the time; about to commit.
    Stamped,
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
    /// About to read the time.
    Clock,
    /// About to look at a lane.
    Slot,
    /// Has found it empty; about to look whether it is closed.
    Closed,
    /// It was; about to look at the lane again.
    Again,
    /// About to take what it has chosen.
    Take,
    /// About to take a ticket.
    Ticket,
    /// About to mark a lane.
    Arm,
    /// About to see whether it has marked all that it waits for now.
    Check,
    /// About to sleep.
    Park,
    /// Sleeps.
    Asleep,
    /// Was told that all has ended.
    Told,
    /// Dead, or busy for ever.
    Gone,
}
}

#[derive(Clone, Copy, Debug, PartialEq, Hash)]
struct Lane {
    sent: u8,
    taken: u8,
    /// When each message was sent.
    times: [u8; MOST],
    /// Whether it came later than what is promised.
    slow: [u8; MOST],
    closed: u8,
    mark: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Hash)]
struct Producer {
    at: P,
    left: u8,
    time: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Hash)]
struct Consumer {
    at: C,
    lane: u8,
    ticket: u8,
    now: u8,
    /// What it has found in each lane: a time, or one of the constants.
    heads: [u8; LANES],
    /// Where that was.
    places: [u8; LANES],
    /// Whether it looks for the second time, with marked lanes.
    armed: u8,
    /// Which lanes it has marked then.
    marked: [u8; LANES],
}

/// A state of the world.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
pub struct State {
    lanes: [Lane; LANES],
    producers: [Producer; LANES],
    consumers: [Consumer; 2],
    now: u8,
    wakes: u8,
    deaths: u8,
    newest: u8,
    /// Only the checker's: something came late that had been in time.
    late: u8,
}

/// What must hold in every state.
pub const PROMISES: [&str; 2] = [
    "what was there within the wait is received in order",
    "nobody sleeps while it is certain what is next",
];

impl Fields for State {
    fn each(&mut self, visit: &mut impl FnMut(&mut u8, usize)) {
        for lane in &mut self.lanes {
            visit(&mut lane.sent, 2);
            visit(&mut lane.taken, 2);
            lane.times.iter_mut().for_each(|time| visit(time, 3));
            lane.slow.iter_mut().for_each(|slow| visit(slow, 1));
            visit(&mut lane.closed, 1);
            visit(&mut lane.mark, 1);
        }
        for producer in &mut self.producers {
            producer.at.visit(visit, 3);
            visit(&mut producer.left, 2);
            visit(&mut producer.time, 3);
        }
        for consumer in &mut self.consumers {
            consumer.at.visit(visit, 4);
            visit(&mut consumer.lane, 1);
            visit(&mut consumer.ticket, 4);
            visit(&mut consumer.now, 3);
            consumer.heads.iter_mut().for_each(|head| visit(head, 4));
            consumer.places.iter_mut().for_each(|place| visit(place, 2));
            visit(&mut consumer.armed, 1);
            consumer.marked.iter_mut().for_each(|marked| visit(marked, 1));
        }
        visit(&mut self.now, 3);
        visit(&mut self.wakes, 4);
        visit(&mut self.deaths, 2);
        visit(&mut self.newest, 3);
        visit(&mut self.late, 1);
    }
}

impl Lane {
    fn has(&self) -> bool {
        self.sent > self.taken
    }

    /// When the next message was sent.
    fn time(&self) -> u8 {
        self.times[usize::from(self.taken)]
    }
}

impl State {
    fn is_drained(&self) -> bool {
        self.lanes.iter().all(|lane| !lane.has())
    }
}

const ANEW: Consumer = Consumer {
    at: C::Clock,
    lane: 0,
    ticket: 0,
    now: 0,
    heads: [NONE; LANES],
    places: [0; LANES],
    armed: 0,
    marked: [0; LANES],
};

impl Consumer {
    /// The lane whose message is the oldest that it knows, and when that was sent.
    fn oldest(&self) -> Option<(usize, u8)> {
        let times = self.heads.into_iter().enumerate().filter(|&(_, head)| head < AWAITED);
        times.min_by_key(|&(_, head)| head)
    }

    fn waits_for(&self, lane: usize) -> bool {
        self.oldest().is_none() || self.heads[lane] == AWAITED
    }
}

impl Time {
    /// Two producers with so many messages each, at most two, and so many consumers.
    pub fn new(messages: u8, consumers: usize) -> Self {
        let messages = [messages; LANES];
        Self { messages, consumers, deaths: 0, end: 1, wait: 1, sleeps: true, mutation: None }
    }

    /// The same with another number of messages of the second producer.
    pub fn second(self, messages: u8) -> Self {
        Self { messages: [self.messages[0], messages], ..self }
    }

    /// The same with consumers that do not sleep.
    pub fn awake(self) -> Self {
        Self { sleeps: false, ..self }
    }

    /// The same with so many deaths of consumers.
    pub fn deaths(self, deaths: u8) -> Self {
        Self { deaths, ..self }
    }

    /// The same with another end of time, at most 7.
    pub fn end(self, end: u8) -> Self {
        Self { end, ..self }
    }

    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    fn produce(&self, turn: &mut Turn<'_, State>, who: usize) {
        let before = turn.before;
        let goes = |turn: &mut Turn<'_, State>, what, at| {
            turn.step(what, |state| state.producers[who].at = at);
        };
        let marked = before.lanes[who].mark != 0;
        match before.producers[who].at {
            P::Idle if before.producers[who].left != 0 => turn.step("reads the time", |state| {
                state.producers[who].time = state.now;
                state.producers[who].at = P::Stamped;
            }),
            P::Idle if before.lanes[who].closed == 0 => turn.step("closes its lane", |state| {
                let unheard = self.is(Mutation::ClosedUnheard) || !self.sleeps;
                state.lanes[who].closed = 1;
                state.producers[who].at = if unheard { P::Idle } else { P::Count };
            }),
            P::Idle => {}
            P::Stamped => turn.step("commits", |state| {
                let (time, lane) = (state.producers[who].time, &mut state.lanes[who]);
                let place = usize::from(lane.sent);
                lane.times[place] = time;
                lane.slow[place] = u8::from(state.now > time + self.wait);
                lane.sent += 1;
                let (at, left) = (P::Look, state.producers[who].left - 1);
                let at = if self.sleeps { at } else { P::Idle };
                state.producers[who] = Producer { at, left, time: 0 };
            }),
            P::Look if marked => goes(turn, "sees the mark", P::Clear),
            P::Look => goes(turn, "sees no mark", P::Idle),
            P::Clear if !marked => goes(turn, "finds the mark cleared", P::Idle),
            P::Clear => turn.step("clears the mark", |state| {
                state.lanes[who].mark = 0;
                state.producers[who].at = P::Count;
            }),
            P::Count => turn.step("counts the wake-up", |state| {
                state.wakes += 1;
                state.producers[who].at = P::Wake;
            }),
            P::Wake => turn.step("wakes all", |state| {
                for consumer in &mut state.consumers {
                    if consumer.at == C::Asleep {
                        *consumer = ANEW;
                    }
                }
                state.producers[who].at = P::Idle;
            }),
        }
    }

    /// What a consumer does that knows what a lane has.
    fn finds(&self, it: &mut Consumer, now: u8, head: u8, place: u8) {
        let lane = usize::from(it.lane);
        (it.heads[lane], it.places[lane]) = (head, place);
        if lane + 1 < LANES {
            (it.at, it.lane) = (C::Slot, it.lane + 1);
            return;
        }
        if self.is(Mutation::ClockAfterLooks) {
            it.now = now;
        }
        let complete = !it.heads.contains(&AWAITED) || self.is(Mutation::NotAwaited);
        (it.at, it.lane) = match it.oldest() {
            Some((lane, time)) if complete || time + self.wait <= it.now => (C::Take, lane as u8),
            None if !it.heads.contains(&AWAITED) => (C::Told, 0),
            _ if it.armed != 0 => (C::Check, 0),
            _ if self.sleeps => (C::Ticket, 0),
            _ => (C::Clock, 0),
        };
        // What it does not need any more, so that there are fewer states.
        it.now = 0;
        match it.at {
            C::Take => {
                let (lane, place) = (it.lane, it.places[usize::from(it.lane)]);
                *it = Consumer { at: C::Take, lane, ..ANEW };
                it.places[usize::from(lane)] = place;
            }
            C::Clock => *it = ANEW,
            _ => it.places = [0; LANES],
        }
    }

    /// Whether a consumer marks a lane before it sleeps.
    fn marks(&self, it: &Consumer, lane: usize) -> bool {
        let wrong = self.is(Mutation::MarksWhatIsThere) && it.oldest().is_some();
        it.waits_for(lane) != wrong
    }

    fn consume(&self, turn: &mut Turn<'_, State>, who: usize) {
        let before = turn.before;
        let me = before.consumers[who];
        let (lane, index) = (before.lanes[usize::from(me.lane)], usize::from(me.lane));
        let finds = |turn: &mut Turn<'_, State>, what, head, place| {
            turn.step(what, |state| {
                self.finds(&mut state.consumers[who], state.now, head, place);
            });
        };
        match me.at {
            C::Clock => turn.step("reads the time", |state| {
                let now = state.now;
                (state.consumers[who].at, state.consumers[who].now) = (C::Slot, now);
            }),
            C::Slot | C::Again if lane.has() => {
                finds(turn, "sees a message", lane.time(), lane.taken);
            }
            C::Slot => turn.step("sees nothing in a lane", |state| {
                state.consumers[who].at = C::Closed;
            }),
            C::Closed if lane.closed == 0 => finds(turn, "sees the lane open", AWAITED, 0),
            C::Closed if self.is(Mutation::NotLookedAgain) => {
                finds(turn, "sees the lane closed", OVER, 0);
            }
            C::Closed => turn.step("sees the lane closed", |state| {
                state.consumers[who].at = C::Again;
            }),
            C::Again => finds(turn, "looks again: nothing in a closed lane", OVER, 0),
            C::Take => {
                let is_there = lane.taken == me.places[index];
                let another = self.is(Mutation::TakesAnother) && lane.has();
                if is_there || another {
                    turn.step("takes a message", |state| {
                        let (time, slow) = (lane.time(), lane.slow[usize::from(lane.taken)]);
                        state.lanes[index].taken += 1;
                        state.late |= u8::from(slow == 0 && time < state.newest);
                        state.newest = state.newest.max(time);
                        state.consumers[who] = ANEW;
                    });
                } else {
                    turn.step("finds it taken", |state| state.consumers[who] = ANEW);
                }
            }
            C::Ticket => turn.step("takes a ticket", |state| {
                state.consumers[who].ticket = state.wakes;
                state.consumers[who].at = C::Arm;
            }),
            C::Arm => turn.step("marks a lane, or not", |state| {
                if self.marks(&me, index) {
                    state.lanes[index].mark = 1;
                    state.consumers[who].marked[index] = 1;
                }
                let it = &mut state.consumers[who];
                if index + 1 < LANES {
                    it.lane += 1;
                } else {
                    *it = Consumer { armed: 1, ticket: it.ticket, marked: it.marked, ..ANEW };
                }
            }),
            C::Check => {
                let is_marked = |lane: usize| match self.is(Mutation::AnyMarkCounts) {
                    true => before.lanes[lane].mark != 0,
                    false => me.marked[lane] != 0,
                };
                let mut waited_for = (0..LANES).filter(|&lane| self.marks(&me, lane));
                if waited_for.all(is_marked) || self.is(Mutation::MarksNotChecked) {
                    turn.step("has marked these lanes", |state| {
                        state.consumers[who].at = C::Park;
                    });
                } else {
                    turn.step("has not marked one of them", |state| state.consumers[who] = ANEW);
                }
            }
            C::Park if before.wakes == me.ticket => turn.step("sleeps", |state| {
                let (heads, at) = (me.heads, C::Asleep);
                state.consumers[who] = Consumer { at, heads, ..ANEW };
            }),
            C::Park => {
                turn.step("finds its ticket out of date", |state| state.consumers[who] = ANEW);
            }
            C::Asleep => {
                if me.oldest().is_some_and(|(_, time)| time + self.wait <= before.now) {
                    turn.step("wakes, since its message is due", |state| {
                        state.consumers[who] = ANEW;
                    });
                }
            }
            C::Told | C::Gone => {}
        }
        if !matches!(me.at, C::Told | C::Gone) && before.deaths != 0 {
            turn.step("DIES, or is busy for ever", |state| {
                state.consumers[who] = Consumer { at: C::Gone, ..ANEW };
                state.deaths -= 1;
            });
        }
    }
}

impl Small for Time {
    type State = State;
    type Mutation = Mutation;

    fn begin(&self) -> State {
        let consumer =
            |who| Consumer { at: if who < self.consumers { C::Clock } else { C::Gone }, ..ANEW };
        let lane =
            Lane { sent: 0, taken: 0, times: [0; MOST], slow: [0; MOST], closed: 0, mark: 0 };
        State {
            lanes: [lane; LANES],
            producers: self.messages.map(|left| Producer { at: P::Idle, left, time: 0 }),
            consumers: [consumer(0), consumer(1)],
            now: 0,
            wakes: 0,
            deaths: self.deaths,
            newest: 0,
            late: 0,
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
        turn.of(LANES + 2);
        if turn.before.now < self.end {
            turn.step("time passes", |state| state.now += 1);
        }
    }

    fn renamed(&self, state: &State) -> Option<State> {
        let mut other = *state;
        other.consumers.swap(0, 1);
        Some(other)
    }

    fn broken(&self, state: &State) -> Option<&'static str> {
        if state.late != 0 {
            return Some(PROMISES[0]);
        }
        let is_certain =
            !state.is_drained() && state.lanes.iter().all(|lane| lane.has() || lane.closed != 0);
        let rings = |producer: &Producer| !matches!(producer.at, P::Idle | P::Stamped);
        let sleeps = |at| state.consumers.iter().any(|consumer| consumer.at == at);
        let all_sleep = state
            .consumers
            .iter()
            .all(|consumer| matches!(consumer.at, C::Asleep | C::Told | C::Gone));
        let lost =
            is_certain && !state.producers.iter().any(rings) && all_sleep && sleeps(C::Asleep);
        lost.then_some(PROMISES[1])
    }

    fn is_over(&self, state: &State) -> bool {
        let rests = |lane: &Lane| lane.closed != 0;
        let idle = |producer: &Producer| producer.at == P::Idle && producer.left == 0;
        let is_told = |consumer: &Consumer| consumer.at == C::Told;
        let all = |consumer: &Consumer| matches!(consumer.at, C::Told | C::Gone);
        let drained = state.is_drained() || !state.consumers.iter().any(is_told);
        state.lanes.iter().all(rests)
            && state.producers.iter().all(idle)
            && state.consumers.iter().all(all)
            && drained
    }

    fn with(self, mutation: Option<Mutation>) -> Self {
        Self { mutation, ..self }
    }
}

/// The configurations that must hold.
pub fn all() -> Vec<Case<Time>> {
    let new = Time::new;
    cases(
        vec![new(1, 1), new(2, 2).second(1).awake(), new(1, 1).end(3).awake()],
        vec![new(1, 1).end(2).deaths(1), new(2, 1)],
        vec![new(2, 1).end(2), new(2, 2).second(0).deaths(1)],
    )
}

/// The mistakes, and where each must be found.
pub fn wrong() -> Vec<Mistake<Mutation, Time>> {
    use Mutation::*;
    let new = Time::new;
    mistakes([
        (ClockAfterLooks, new(1, 1).end(2).awake()),
        (NotAwaited, new(1, 1).awake()),
        (NotLookedAgain, new(1, 1).awake()),
        (TakesAnother, new(2, 2).second(1).awake()),
        (MarksWhatIsThere, new(1, 1)),
        (ClosedUnheard, new(1, 1)),
    ])
}

/// Mistakes whose configurations take longer.
pub fn wrong_at_length() -> Vec<Mistake<Mutation, Time>> {
    let large = Time::new(2, 2).second(0).deaths(1);
    mistakes([(Mutation::MarksNotChecked, large), (Mutation::AnyMarkCounts, large)])
}

/// A configuration in words.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!(
            "in time order: 2 lanes of {} and {} messages, {} consumers{}, {} die, {} ticks",
            self.messages[0],
            self.messages[1],
            self.consumers,
            if self.sleeps { "" } else { " awake" },
            self.deaths,
            self.end
        ))
    }
}
