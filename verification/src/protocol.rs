//! Configurations, mutations, and all steps that are possible from a state.

use crate::explore::Model;
use crate::invariant::{Violation, is_done};
use crate::slot::Settled;
use crate::state::{At, MAX_PARTICIPANTS, NONE, Participant, Shape, State};
use crate::{exclusive, recover, shared};

/// A mistake made on purpose, for the model to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[rustfmt::skip]
pub enum Mutation {
    // Shared producers.
    /// Producers show no intent.
    NoIntent,
    /// The intent is shown after the claim.
    IntentAfterClaim,
    /// A producer that finds the ring full leaves with its intent shown.
    IntentNotCleared,
    /// The sequence is stored before the payload.
    CommitBeforePayload,
    /// A producer spends one credit more than it has.
    CreditOffByOne,
    /// A producer that has forgotten a reservation clears its intent before it cancels it.
    ForgottenNotCancelled,
    /// A cancelled claim is taken back by moving `producer_head` back.
    CancelTakesBack,
    // Shared consumers.
    /// The hold is shown after the claim.
    HoldAfterClaim,
    /// A consumer that finds nothing after a lost race leaves with its hold shown.
    HoldNotCleared,
    /// The hold is shown before it is known that the slot is committed, and the adopter relies on
    /// what is held being committed.
    HoldBeforeSequence,
    /// A copying receive claims before it reads, as if it had a hold.
    CopyAfterClaim,
    // The grant.
    /// The scan reads the holds first and `consumer_head` last.
    HoldsBeforeHead,
    /// `consumer_tail` is stored instead of raised.
    TailStored,
    // Adoption.
    /// Abandoning stores the sequence instead of comparing and swapping it.
    AbandonByStore,
    /// Abandoning does not ask whether a living producer shows the same intent.
    LivingIntentIgnored,
    /// A newcomer takes a dead entry and uses it at once.
    ReuseUnfinished,
    /// A newcomer that cannot finish the dead one's work yet uses the entry all the same.
    ReuseInsteadOfLater,
    /// The copy is delivered without a second look at the frontier.
    NoSecondLook,
    /// Redelivering does not ask whether a living consumer shows the same hold.
    LivingHoldIgnored,
    /// The adopter looks for other holds before it reads `consumer_head`.
    OthersBeforeHead,
    /// The hold of another dead consumer is taken for that of a living one.
    DeadHoldContests,
    /// The intent of another dead producer is taken for that of a living one.
    DeadIntentContests,
    /// The dead one's hold is moved to the adopter's own line.
    MovedHold,
    /// The dead one's word is cleared before its message is delivered.
    ClearedBeforeDelivery,
    /// Entries are adopted without asking for their lock.
    LockNotAsked,
    /// An entry whose intent is settled is made free, whatever else it shows by then.
    VacatedUnasked,
    /// A newcomer takes a dead one's entry for the other side and uses it at once.
    RoleChangedUnfinished,
    /// A newcomer that is to produce takes a dead consumer's entry and clears its hold.
    ProducerTakesHold,
    /// What is handed on is cleared.
    HandedOnCleared,
    // Several positions in one word.
    /// A dead producer's span counts as claimed when the head is beyond its first position.
    PartOfASpanWon,
    /// A dead consumer's hold counts as claimed when the head is beyond its first position.
    PartOfAHoldWon,
    /// Of a dead producer's span nothing is looked at beyond a settled slot.
    FirstOfASpanAlone,
    /// Only a hold that begins at the same position is taken for one of the same messages.
    FirstHeldCompared,
    /// A dead consumer's message is taken off what is shown before it is delivered.
    AdvancedBeforeDelivery,
    // Exclusive sides.
    /// A producer's successor starts at `producer_tail` as announced.
    AnnouncementTrusted,
    /// A producer's successor scans from `producer_tail` for a sequence that is not exactly the
    /// committed one, and so stops at a slot that has gone on to a later lap.
    LaterNotPassed,
    /// A consumer reading in place clears its hold before it moves `consumer_head`.
    HoldClearedBeforeHead,
    /// A consumer moves `consumer_head` before it reads in place.
    HeadBeforeRead,
    /// A consumer's successor marks nothing.
    NothingMarked,
    /// A consumer's successor remembers what to mark by itself and clears the hold at once.
    SuccessorClearsHold,
    /// A consumer's successor passes over a hold in an entry whose lock somebody has.
    HoldReadUnderLock,
    /// A bystander frees a dead consumer's entry though what it shows is not released.
    FreedWithItsHold,
    /// A consumer that has forgotten its guard clears its hold before it moves `consumer_head`.
    ForgottenHoldCleared,
    /// A successor that drops what is marked clears the mark first.
    MarkClearedBeforeDrop,
    /// A successor that reads one of several marked messages in place shows that one alone.
    MarksNotCovered,
    /// A successor that has read one of several marked messages in place clears its hold.
    MarksClearedWithHold,
}

/// Ways of receiving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ways {
    /// By copying.
    Copy,
    /// By reading in place.
    Borrow,
    /// Either, call by call.
    Both,
}

/// When a living consumer adopts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopts {
    /// Whenever it is in no call and there is a dead entry: more than any real one would.
    Anytime,
    /// Only what is in its way: a dead producer when the next position is claimed and not
    /// settled, a dead consumer when its hold is the least and below the head.
    WhenStuck,
}

/// A configuration of the protocol.
#[derive(Clone, Copy, Debug)]
pub struct Protocol {
    /// How many participants and positions.
    pub shape: Shape,
    /// Whether the producing side is exclusive.
    pub producers_exclusive: bool,
    /// Whether the consuming side is exclusive.
    pub consumers_exclusive: bool,
    /// How many participants may die.
    pub max_deaths: u8,
    /// How consumers receive.
    pub ways: Ways,
    /// When living consumers adopt.
    pub adopts: Adopts,
    /// Whether what a dead consumer held is dropped.
    pub discard: bool,
    /// Whether guards are forgotten, and calls made after that.
    pub forgets: bool,
    /// Whether owners leave their entries, their work done.
    pub leaves: bool,
    /// Whether newcomers take over entries.
    pub newcomers: bool,
    /// Whether a living participant may fall silent for ever between two calls, as long as its
    /// side has another one.
    pub quiet: bool,
    /// Whether producers without credit announce the frontier of a shared side themselves.
    pub producers_grant: bool,
    /// Whether states that differ in the names of equals are one.
    pub symmetry: bool,
    /// The mistake made, if any.
    pub mutation: Option<Mutation>,
}

/// A step from a state.
pub type Step = crate::explore::Step<State>;

impl Protocol {
    /// A ring with shared sides, two laps over two slots, newcomers, and no deaths.
    pub fn shared(producers: usize, consumers: usize) -> Self {
        assert!(producers + consumers <= MAX_PARTICIPANTS, "more participants than fit a state");
        Self {
            shape: Shape {
                producers,
                consumers,
                positions: 4,
                capacity: 2,
                span: 1,
                bystander: false,
                roles: false,
            },
            producers_exclusive: false,
            consumers_exclusive: false,
            max_deaths: 0,
            ways: Ways::Both,
            adopts: Adopts::Anytime,
            discard: false,
            forgets: false,
            leaves: false,
            newcomers: true,
            quiet: false,
            producers_grant: false,
            symmetry: true,
            mutation: None,
        }
    }

    /// A ring with exclusive sides.
    pub fn exclusive() -> Self {
        Self::shared(1, 1).exclusive_producer().exclusive_consumer()
    }

    /// The same with the producing side exclusive.
    pub fn exclusive_producer(self) -> Self {
        assert_eq!(self.shape.producers, 1, "an exclusive side has one handle");
        Self { producers_exclusive: true, ..self }
    }

    /// The same with the consuming side exclusive.
    pub fn exclusive_consumer(self) -> Self {
        assert_eq!(self.shape.consumers, 1, "an exclusive side has one handle");
        Self { consumers_exclusive: true, ..self }
    }

    /// The same with so many deaths.
    pub fn deaths(self, max_deaths: u8) -> Self {
        assert!(max_deaths <= 3, "more deaths than fit a state");
        Self { max_deaths, ..self }
    }

    /// The same with so many positions.
    pub fn positions(mut self, positions: u8) -> Self {
        self.shape.positions = positions;
        self
    }

    /// The same with up to so many positions in one claim, and as many slots.
    pub fn spans(mut self, most: u8) -> Self {
        assert!((2..=3).contains(&most), "a span of two or three");
        (self.shape.span, self.shape.capacity) = (most, most);
        self
    }

    /// The same with a bystander, who takes the lock of any dead one's entry for a moment.
    pub fn bystander(mut self) -> Self {
        self.shape.bystander = true;
        self
    }

    /// The same with a second entry for the one consumer of an exclusive side.
    pub fn spare_entry(mut self) -> Self {
        assert!(self.consumers_exclusive && self.shape.consumers == 1, "two entries, one handle");
        self.shape.consumers = 2;
        self
    }

    /// Whether there is such an entry.
    pub fn has_spare(&self) -> bool {
        self.consumers_exclusive && self.shape.consumers == 2
    }

    /// The same with entries whose owners leave, and that go to newcomers of either side.
    pub fn changing_roles(mut self) -> Self {
        // The order of a scan tells entries apart.
        self.shape.roles = true;
        Self { leaves: true, ..self.named() }
    }

    /// The same with owners who leave by dying alone: less to search, and not everything can
    /// finish.
    pub fn staying(self) -> Self {
        Self { leaves: false, ..self }
    }

    /// The same with messages of dead consumers dropped.
    pub fn discarding(self) -> Self {
        Self { discard: true, ..self }
    }

    /// The same with guards that are forgotten.
    pub fn forgetful(self) -> Self {
        Self { forgets: true, ..self }
    }

    fn empty(&self) -> State {
        let mut state = State::initial(self.shape.capacity);
        let producers = &mut state.participants[..self.shape.producers];
        producers.iter_mut().for_each(|producer| producer.produces = true);
        if self.has_spare() {
            state.participants[self.everybody().end - 1].at = At::Vacant;
        }
        state
    }

    /// The same with one way of receiving.
    pub fn ways(self, ways: Ways) -> Self {
        Self { ways, ..self }
    }

    /// The same with participants that may fall silent.
    pub fn quiet(self) -> Self {
        Self { quiet: true, ..self }
    }

    /// The same without newcomers: the living have to manage, and adopt only what is in their way.
    pub fn unaided(self) -> Self {
        Self { newcomers: false, adopts: Adopts::WhenStuck, ..self }
    }

    /// The same with producers that look for what was released before they are refused. Without
    /// symmetry: they scan all consumers in one order, which tells these apart.
    pub fn producers_grant(self) -> Self {
        Self { producers_grant: true, ..self.named() }
    }

    /// The same without symmetry.
    pub fn named(self) -> Self {
        Self { symmetry: false, ..self }
    }

    /// The same with a mistake.
    pub fn with(self, mutation: Mutation) -> Self {
        Self { mutation: Some(mutation), ..self }
    }

    /// Whether this mistake is made.
    pub fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// Producers and consumers of a state.
    pub fn sides<'s>(&self, state: &'s State) -> (&'s [Participant], &'s [Participant]) {
        let (producers, others) = state.participants.split_at(self.shape.producers);
        (producers, &others[..self.shape.consumers])
    }

    /// Everybody, by index.
    pub fn everybody(&self) -> std::ops::Range<usize> {
        0..self.shape.producers + self.shape.consumers
    }

    /// Whether an entry is a producer's, where none changes sides.
    pub fn is_producer(&self, index: usize) -> bool {
        index < self.shape.producers
    }

    /// Whether an entry's side is exclusive.
    pub fn is_exclusive(&self, index: usize) -> bool {
        if self.is_producer(index) { self.producers_exclusive } else { self.consumers_exclusive }
    }

    /// The `nth` entry of the same side as `entry`, leaving out `entry` and `me`. Where entries
    /// change sides, of all.
    pub fn other(&self, entry: usize, me: usize, nth: u8) -> Option<usize> {
        let side = if self.shape.roles {
            self.everybody()
        } else if self.is_producer(entry) {
            0..self.shape.producers
        } else {
            self.shape.producers..self.everybody().end
        };
        side.filter(|&index| index != entry && index != me).nth(nth.into())
    }

    /// The `nth` entry that a scan of the holds reads which `me` makes. A consumer knows its own.
    pub fn holder(&self, me: usize, nth: u8) -> Option<usize> {
        if self.is_producer(me) && !self.shape.roles {
            (self.shape.producers..self.everybody().end).nth(nth.into())
        } else {
            self.other(me, me, nth)
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Packed = u128;
    type Violation = Violation;

    /// An empty ring.
    fn initial(&self) -> State {
        assert!(self.shape.bits() <= 128, "a state does not fit 128 bits");
        self.empty()
    }

    fn canonical(&self, state: &State) -> u128 {
        let Shape { producers, consumers, .. } = self.shape;
        let mut least = self.shape.pack(state);
        if !self.symmetry {
            return least;
        }
        // Only sides of two: with three, the order of a scan would tell them apart.
        let first_consumer = producers;
        let swap_consumers = (consumers == 2).then_some((first_consumer, first_consumer + 1));
        if let Some((a, b)) = swap_consumers {
            least = least.min(self.shape.pack(&state.swapped(a, b)));
        }
        if producers == 2 {
            let swapped = state.swapped(0, 1);
            least = least.min(self.shape.pack(&swapped));
            if let Some((a, b)) = swap_consumers {
                least = least.min(self.shape.pack(&swapped.swapped(a, b)));
            }
        }
        least
    }

    fn steps(&self, state: &State, steps: &mut Vec<Step>) {
        steps.clear();
        if state.violation.is_some() {
            return;
        }
        for who in self.everybody() {
            let mut turn = Turn { protocol: self, before: state, who, steps };
            turn.live();
            turn.die();
        }
        if self.shape.bystander {
            recover::stand_by(self, state, steps);
        }
        // A step that changes nothing is none.
        steps.retain(|step| step.after != *state);
    }

    fn unpack(&self, packed: u128) -> State {
        self.shape.unpack(packed)
    }

    fn violation(&self, state: &State) -> Option<Violation> {
        state.violation
    }

    fn promise(violation: Violation) -> &'static str {
        violation.promise()
    }

    fn is_done(&self, state: &State) -> bool {
        is_done(self, state)
    }

    fn describe(&self, step: &Step) -> String {
        let (letter, index) = if self.is_producer(step.who) {
            ('P', step.who)
        } else {
            ('C', step.who - self.shape.producers)
        };
        let me = step.after.participants[step.who];
        let word = if me.word == NONE { "-".into() } else { me.word.to_string() };
        format!(
            "{letter}{index} {:<52} knows {} shows {word}   heads {} {} tails {} {}",
            step.what,
            me.known,
            step.after.producer_head,
            step.after.consumer_head,
            step.after.producer_tail,
            step.after.consumer_tail,
        )
    }
}

/// One participant's turn in a state: what it could do next.
pub(crate) struct Turn<'a> {
    pub(crate) protocol: &'a Protocol,
    pub(crate) before: &'a State,
    pub(crate) who: usize,
    steps: &'a mut Vec<Step>,
}

impl Turn<'_> {
    /// Whoever's turn it is.
    pub(crate) fn me(&self) -> &Participant {
        &self.before.participants[self.who]
    }

    /// Adds a step: `change` is given the state, to change, and the index of whoever takes it.
    pub(crate) fn step(&mut self, what: &'static str, change: impl FnOnce(&mut State, usize)) {
        let mut after = *self.before;
        change(&mut after, self.who);
        self.steps.push(Step { who: self.who, what, after });
    }

    /// Adds a step after which it does something else next, and nothing else has changed.
    pub(crate) fn goes(&mut self, what: &'static str, at: At) {
        self.step(what, |state, me| state.participants[me].at = at);
    }

    fn live(&mut self) {
        let (protocol, me) = (self.protocol, *self.me());
        match me.at {
            At::Quiet => {}
            At::Dead | At::Vacant => {
                if protocol.newcomers {
                    self.arrive();
                }
            }
            At::Join => self.step("reads its side's head and joins", |state, me| {
                let head = if state.participants[me].produces {
                    state.producer_head
                } else {
                    state.consumer_head
                };
                state.participants[me].known = head;
                state.participants[me].at = match protocol.is_exclusive(me) {
                    true if protocol.is_producer(me) => At::Idle,
                    true if protocol.has_spare() => At::SucceedHold,
                    true => exclusive::begin(protocol, state, me),
                    false => At::Idle,
                };
            }),
            at if at >= At::AdoptLock => recover::steps(self),
            _ if protocol.is_exclusive(self.who) => exclusive::steps(self),
            _ if me.produces => shared::produce(self),
            _ => shared::consume(self),
        }
        if me.at == At::Idle {
            if !me.produces {
                recover::adopt(self);
            }
            if protocol.leaves {
                self.step("leaves", |state, me| {
                    state.participants[me].clear();
                    state.participants[me].vacate();
                });
            }
            let another = protocol
                .other(self.who, self.who, 0)
                .into_iter()
                .chain(protocol.other(self.who, self.who, 1))
                .any(|other| self.before.participants[other].at != At::Quiet);
            if protocol.quiet && another {
                self.goes("falls silent", At::Quiet);
            }
        }
    }

    /// A newcomer takes an entry that nobody has.
    fn arrive(&mut self) {
        let (protocol, me) = (self.protocol, *self.me());
        let other = protocol.other(self.who, self.who, 0);
        if protocol.is_exclusive(self.who)
            && other.is_some_and(|other| self.before.participants[other].at.is_alive())
        {
            // The side's lock is taken.
            return;
        }
        if protocol.shape.roles {
            return [false, true].into_iter().for_each(|produces| self.arrive_as(produces));
        }
        if me.at == At::Vacant {
            let succeeds = protocol.is_exclusive(self.who) && protocol.is_producer(self.who);
            let at = if succeeds { At::SucceedTail } else { At::Join };
            return self.goes("a newcomer takes the vacant entry", at);
        }
        if self.before.is_locked(self.who) {
            return;
        }
        let at = match (protocol.is_exclusive(self.who), protocol.is_producer(self.who)) {
            (true, true) => At::SucceedTail,
            (true, false) if protocol.is(Mutation::SuccessorClearsHold) => At::SucceedHead,
            (true, false) => At::Join,
            (false, _) if me.word == NONE || protocol.is(Mutation::ReuseUnfinished) => At::Join,
            (false, true) => At::AbandonHead,
            (false, false) => recover::begin_redelivery(protocol),
        };
        self.step("a newcomer takes the dead entry", |state, index| {
            let newcomer = &mut state.participants[index];
            newcomer.at = at;
            if matches!(at, At::AbandonHead) || at >= At::RedeliverTail && at < At::SucceedTail {
                newcomer.target = index as u8;
                newcomer.frontier = if protocol.is_producer(index) { 0 } else { newcomer.word };
            }
        });
    }

    /// A newcomer of one side or the other takes an entry that nobody has.
    fn arrive_as(&mut self, produces: bool) {
        let (protocol, me) = (self.protocol, *self.me());
        let what = match (me.at == At::Vacant, produces) {
            (true, true) => "a newcomer takes the vacant entry, to produce",
            (true, false) => "a newcomer takes the vacant entry, to consume",
            (false, true) => "a newcomer takes the dead entry, to produce",
            (false, false) => "a newcomer takes the dead entry, to consume",
        };
        if me.at == At::Dead && self.before.is_locked(self.who) {
            return;
        }
        let at = match me.produces {
            _ if me.at == At::Vacant || me.word == NONE => At::Join,
            _ if protocol.is(Mutation::RoleChangedUnfinished) && me.produces != produces => {
                At::Join
            }
            true => At::AbandonHead,
            false => recover::begin_redelivery(protocol),
        };
        self.step(what, |state, index| {
            let newcomer = &mut state.participants[index];
            newcomer.at = at;
            if at == At::Join {
                if newcomer.produces != produces {
                    (newcomer.left, newcomer.word) = (newcomer.word, NONE);
                }
                newcomer.produces = produces;
            } else {
                newcomer.target = index as u8;
                newcomer.wants_to_produce = produces;
            }
        });
    }

    fn die(&mut self) {
        if self.before.deaths == self.protocol.max_deaths || !self.me().at.is_alive() {
            return;
        }
        self.step("DIES", |state, me| {
            let dying = &mut state.participants[me];
            let (at, known) = (dying.at, dying.known);
            dying.at = At::Dead;
            dying.known = 0;
            dying.wants_to_produce = false;
            dying.forget();
            state.deaths += 1;
            if at == At::CopyReturn {
                state.take_along(known - 1);
            }
        });
    }

    /// Whether the slot at the position known is claimed and not settled.
    pub(crate) fn is_stuck(&self) -> bool {
        let known = self.me().known;
        self.before.settled(known) == Settled::NotYet && self.before.producer_head > known
    }
}
