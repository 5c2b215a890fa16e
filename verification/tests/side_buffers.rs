//! The private stack of side buffers: of a lane's only producer, whose slots name the buffers of
//! their messages, and its rebuilding by a successor.
//!
//! A message has two words in its buffer, which are written, and read in place, one by one. The
//! producer may die at every step, and its successor finds from the slots which buffers are free.
//! The only consumer may die while it reads, and its successor reads the same message again; or
//! there are two who share the work, show holds, and deliver again what a dead one held.
//!
//! | word | means |
//! |---|---|
//! | slot: sequence, name | position + 1, and the buffer of that message |
//! | `head` | next position to claim; of an only consumer: all below is released |
//! | `tail` | release frontier: all below is released |
//!
//! Buffers are free below `released`: the head of an only consumer, the tail of those who share.

use stateright::{Checker, HasDiscoveries, Model, Property};

/// As many buffers as slots.
const SLOTS: usize = 2;
/// Messages that are sent.
const LAST: u8 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Mistake {
    None,
    /// A successor takes all buffers for free.
    AllFree,
    /// It goes by the tail, which an only consumer stores now and then.
    SuccessorTrustsTail,
    /// It looks for messages at or beyond the head only, though others are held.
    SuccessorForgetsHeld,
    /// A buffer is free once its message is claimed.
    FreeOnceClaimed,
    /// A buffer is free once its message is the next to be released.
    FreeTooEarly,
    /// The slot is made visible before it names its buffer.
    NamedLate,
    /// A buffer is put back on the stack when its message is committed.
    FreeOnceCommitted,
    /// What a dead consumer held is delivered again without a look at the tail after the copy.
    NoSecondLook,
}

/// What the producer does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Work {
    /// A successor: finds where to go on, and what the slots name.
    Begin,
    /// Looks what is released by now.
    BeginAgain,
    Idle,
    Write(usize),
    Name,
    Commit,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Producer {
    work: Work,
    position: u8,
    /// What it knows to be released.
    granted: u8,
    free: Vec<u8>,
    taken: Option<u8>,
    named: Vec<(u8, u8)>,
    fresh: u8,
    found: [bool; SLOTS],
}

/// What a consumer does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Use {
    Idle,
    /// Has seen a message there.
    Show(u8),
    /// Has shown a hold.
    Claim(u8),
    /// Reads a word of a message in a buffer.
    Read(u8, u8, usize),
    Release(u8),
    /// Copies a word of a dead one's message; whether all words so far were that message's.
    Copy(u8, u8, usize, bool),
    Confirm(u8, bool),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Ring {
    slots: [(u8, u8); SLOTS],
    /// Whose word it is: the position + 1.
    bytes: [[u8; 2]; SLOTS],
    head: u8,
    tail: u8,
    producer: Producer,
    uses: [Use; 2],
    /// Position + 1.
    holds: [u8; 2],
    /// Somebody raises the tail to this, or less, and looks at the hold of this consumer next.
    raise: Option<(u8, usize)>,
    dead: [bool; 2],
    producers_left: u8,
    consumers_left: u8,
    delivered: [bool; LAST as usize],
    /// A message was read that was not whole.
    torn: bool,
    no_buffer: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Produce,
    /// The producer looks what is released.
    Look,
    Consume(usize),
    /// Somebody announces what is released: a consumer, or the producer in its place.
    Announce,
    /// A consumer delivers again what the other held when it died.
    Adopt(usize),
    ProducerDies,
    ConsumerDies(usize),
}

#[derive(Clone, Copy)]
struct Lane {
    shared: bool,
    mistake: Mistake,
    /// How many producers, and consumers, may die.
    deaths: (u8, u8),
}

fn slot(position: u8) -> usize {
    position as usize % SLOTS
}

impl Lane {
    fn released(&self, ring: &Ring) -> u8 {
        if self.shared && self.mistake != Mistake::FreeOnceClaimed { ring.tail } else { ring.head }
    }

    fn released_for_successor(&self, ring: &Ring) -> u8 {
        if self.mistake == Mistake::SuccessorTrustsTail { ring.tail } else { self.released(ring) }
    }

    fn free_released(&self, producer: &mut Producer) {
        let early = u8::from(self.mistake == Mistake::FreeTooEarly);
        while let Some(&(position, buffer)) = producer.named.first()
            && position < producer.granted + early
        {
            producer.named.remove(0);
            producer.free.push(buffer);
        }
    }

    fn take(&self, ring: &mut Ring) {
        let producer = &mut ring.producer;
        self.free_released(producer);
        producer.taken = producer.taken.or_else(|| producer.free.pop());
        while producer.taken.is_none() && (producer.fresh as usize) < SLOTS {
            let fresh = producer.fresh;
            producer.fresh += 1;
            producer.taken = (!producer.found[fresh as usize]).then_some(fresh);
        }
        ring.no_buffer |= producer.taken.is_none();
        producer.work = Work::Write(0);
    }

    fn produce(&self, ring: &mut Ring) {
        let released = self.released_for_successor(ring);
        let position = ring.producer.position;
        let late = self.mistake == Mistake::NamedLate;
        match ring.producer.work {
            Work::Begin => {
                let committed = |position: &u8| ring.slots[slot(*position)].0 == position + 1;
                let start = (ring.head..).find(|position| !committed(position)).unwrap();
                let oldest = match self.mistake {
                    Mistake::SuccessorForgetsHeld => ring.head,
                    _ => released.max(start.saturating_sub(SLOTS as u8)),
                };
                let names = (oldest..start).filter(committed);
                let named = names.map(|position| (position, ring.slots[slot(position)].1));
                let named = named.filter(|_| self.mistake != Mistake::AllFree).collect();
                ring.producer = Producer {
                    work: Work::BeginAgain,
                    position: start,
                    granted: released,
                    named,
                    ..Producer::new()
                };
            }
            Work::BeginAgain => {
                let producer = &mut ring.producer;
                producer.granted = producer.granted.max(released);
                let (granted, found) = (producer.granted, &mut producer.found);
                producer.named.retain(|&(position, buffer)| {
                    let is_live = position >= granted && !found[buffer as usize];
                    found[buffer as usize] |= is_live;
                    is_live
                });
                producer.work = Work::Idle;
            }
            Work::Idle => self.take(ring),
            Work::Write(word) => {
                if let Some(taken) = ring.producer.taken {
                    ring.bytes[taken as usize][word] = position + 1;
                }
                ring.producer.work = match word {
                    0 => Work::Write(1),
                    _ if late => Work::Commit,
                    _ => Work::Name,
                };
            }
            Work::Name => {
                ring.slots[slot(position)].1 = ring.producer.taken.unwrap_or(0);
                ring.producer.work = Work::Commit;
                if late {
                    self.note_commit(&mut ring.producer);
                }
            }
            Work::Commit => {
                ring.slots[slot(position)].0 = position + 1;
                ring.producer.work = Work::Name;
                if !late {
                    self.note_commit(&mut ring.producer);
                }
            }
        }
    }

    fn note_commit(&self, producer: &mut Producer) {
        if let Some(taken) = producer.taken.take() {
            match self.mistake {
                Mistake::FreeOnceCommitted => producer.free.push(taken),
                _ => producer.named.push((producer.position, taken)),
            }
        }
        producer.position += 1;
        producer.work = Work::Idle;
    }

    fn consume(&self, ring: &mut Ring, who: usize) {
        match ring.uses[who] {
            Use::Idle => {
                let position = ring.head;
                ring.uses[who] = if self.shared {
                    Use::Show(position)
                } else {
                    Use::Read(position, ring.slots[slot(position)].1, 0)
                };
            }
            Use::Show(position) => {
                ring.holds[who] = position + 1;
                ring.uses[who] = Use::Claim(position);
            }
            Use::Claim(position) => {
                let won = ring.head == position;
                if won {
                    ring.head += 1;
                    ring.uses[who] = Use::Read(position, ring.slots[slot(position)].1, 0);
                } else {
                    ring.holds[who] = 0;
                    ring.uses[who] = Use::Idle;
                }
            }
            Use::Read(position, buffer, word) => {
                ring.torn |= ring.bytes[buffer as usize][word] != position + 1;
                ring.uses[who] =
                    if word == 0 { Use::Read(position, buffer, 1) } else { Use::Release(position) };
            }
            Use::Release(position) => {
                ring.delivered[position as usize] = true;
                if self.shared {
                    ring.holds[who] = 0;
                } else {
                    ring.head = position + 1;
                }
                ring.uses[who] = Use::Idle;
            }
            Use::Copy(position, buffer, word, whole) => {
                let whole = whole && ring.bytes[buffer as usize][word] == position + 1;
                ring.uses[who] = match word {
                    0 => Use::Copy(position, buffer, 1, whole),
                    _ => Use::Confirm(position, whole),
                };
            }
            Use::Confirm(position, whole) => {
                if ring.tail <= position || self.mistake == Mistake::NoSecondLook {
                    ring.torn |= !whole;
                    ring.delivered[position as usize] = true;
                }
                ring.uses[who] = Use::Idle;
                ring.holds[1 - who] = 0;
                ring.dead[1 - who] = false;
            }
        }
    }

    /// Takes over the entry of the other, which is dead.
    fn adopt(&self, ring: &mut Ring, who: usize) {
        let other = 1 - who;
        match ring.holds[other].checked_sub(1) {
            Some(position)
                if ring.tail <= position
                    && ring.head > position
                    && ring.slots[slot(position)].0 == position + 1 =>
            {
                let buffer = ring.slots[slot(position)].1;
                ring.uses[who] = Use::Copy(position, buffer, 0, true);
            }
            _ => {
                ring.holds[other] = 0;
                ring.dead[other] = false;
            }
        }
    }
}

impl Producer {
    fn new() -> Self {
        Self {
            work: Work::Idle,
            position: 0,
            granted: 0,
            free: Vec::new(),
            taken: None,
            named: Vec::new(),
            fresh: 0,
            found: [false; SLOTS],
        }
    }
}

impl Model for Lane {
    type State = Ring;
    type Action = Act;

    fn init_states(&self) -> Vec<Ring> {
        vec![Ring {
            slots: [(0, 0); SLOTS],
            bytes: [[0; 2]; SLOTS],
            head: 0,
            tail: 0,
            producer: Producer::new(),
            uses: [Use::Idle; 2],
            holds: [0; 2],
            raise: None,
            dead: [false, !self.shared],
            producers_left: self.deaths.0,
            consumers_left: self.deaths.1,
            delivered: [false; LAST as usize],
            torn: false,
            no_buffer: false,
        }]
    }

    fn actions(&self, ring: &Ring, actions: &mut Vec<Act>) {
        let producer = &ring.producer;
        let may_claim =
            producer.position < LAST && producer.position < producer.granted + SLOTS as u8;
        if producer.work != Work::Idle || may_claim {
            actions.push(Act::Produce);
        }
        if producer.work == Work::Idle && self.released(ring) > producer.granted {
            actions.push(Act::Look);
        }
        if ring.tail < ring.head || ring.raise.is_some() {
            actions.push(Act::Announce);
        }
        if ring.producers_left != 0 {
            actions.push(Act::ProducerDies);
        }
        for who in (0..2).filter(|&who| !ring.dead[who]) {
            let there = ring.slots[slot(ring.head)].0 == ring.head + 1;
            if ring.uses[who] != Use::Idle || there {
                actions.push(Act::Consume(who));
            }
            if self.shared && ring.uses[who] == Use::Idle && ring.dead[1 - who] {
                actions.push(Act::Adopt(who));
            }
            // One at a time: the other finishes its work.
            if ring.consumers_left != 0 && (!self.shared || !ring.dead[1 - who]) {
                actions.push(Act::ConsumerDies(who));
            }
        }
    }

    fn next_state(&self, before: &Ring, act: Act) -> Option<Ring> {
        let mut ring = before.clone();
        match act {
            Act::Produce => self.produce(&mut ring),
            Act::Look => ring.producer.granted = self.released(&ring),
            Act::Consume(who) => self.consume(&mut ring, who),
            Act::Announce if self.shared => {
                ring.raise = match ring.raise {
                    None => Some((ring.head, 0)),
                    Some((to, next)) if next < ring.holds.len() => {
                        let hold = ring.holds[next];
                        Some((if hold == 0 { to } else { to.min(hold - 1) }, next + 1))
                    }
                    Some((to, _)) => {
                        ring.tail = ring.tail.max(to);
                        None
                    }
                };
            }
            Act::Announce => ring.tail = ring.head,
            Act::Adopt(who) => self.adopt(&mut ring, who),
            Act::ProducerDies => {
                ring.producers_left -= 1;
                ring.producer = Producer { work: Work::Begin, ..Producer::new() };
            }
            Act::ConsumerDies(who) => {
                ring.consumers_left -= 1;
                ring.uses[who] = Use::Idle;
                // The successor of an only one is there at once.
                ring.dead[who] = self.shared;
            }
        }
        (ring != *before).then_some(ring)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("a message that is read is whole", |_, ring: &Ring| !ring.torn),
            Property::always("there is a free buffer for a free slot", |_, ring: &Ring| {
                !ring.no_buffer
            }),
            Property::always("a buffer is in one place", |_, ring: &Ring| {
                let producer = &ring.producer;
                let named = producer.named.iter().map(|&(_, buffer)| buffer);
                let all = named.chain(producer.free.iter().copied()).chain(producer.taken);
                let mut seen = [0; SLOTS];
                all.for_each(|buffer| seen[buffer as usize] += 1);
                producer.work == Work::BeginAgain || seen.iter().all(|&count| count <= 1)
            }),
            Property::always("all can be delivered", |lane: &Self, ring: &Ring| {
                let mut actions = Vec::new();
                lane.actions(ring, &mut actions);
                let dies = |act: &Act| matches!(act, Act::ProducerDies | Act::ConsumerDies(_));
                ring.delivered == [true; LAST as usize] || !actions.iter().all(dies)
            }),
            Property::sometimes("all are delivered after all deaths", |_, ring: &Ring| {
                ring.delivered == [true; LAST as usize]
                    && ring.producers_left + ring.consumers_left == 0
            }),
            Property::sometimes("one buffer is enough for one in flight", |_, ring: &Ring| {
                ring.head == LAST && ring.bytes[1] == [0; 2]
            }),
            Property::sometimes(
                "a successor finds what is in flight",
                |lane: &Self, ring: &Ring| {
                    ring.producers_left < lane.deaths.0
                        && ring.producer.work == Work::Idle
                        && ring.producer.named.len() == SLOTS
                },
            ),
        ]
    }
}

fn check(lane: Lane) -> impl Checker<Lane> {
    lane.checker().finish_when(HasDiscoveries::AnyFailures).threads(2).spawn_bfs().join()
}

#[test]
fn a_buffer_is_not_used_again_while_its_message_is_read_whoever_dies() {
    for lane in [
        Lane { shared: false, mistake: Mistake::None, deaths: (2, 2) },
        Lane { shared: true, mistake: Mistake::None, deaths: (1, 1) },
    ] {
        let checked = check(lane);
        println!("shared {}: {} states", lane.shared, checked.unique_state_count());
        checked.assert_properties();
    }
}

#[test]
fn each_mistake_is_found() {
    for (mistake, shared) in [
        (Mistake::AllFree, false),
        (Mistake::SuccessorTrustsTail, false),
        (Mistake::SuccessorForgetsHeld, true),
        (Mistake::FreeOnceClaimed, true),
        (Mistake::FreeTooEarly, false),
        (Mistake::NamedLate, false),
        (Mistake::FreeOnceCommitted, false),
        (Mistake::NoSecondLook, true),
    ] {
        let checked = check(Lane { shared, mistake, deaths: (1, 1) });
        let found = ["a message that is read is whole", "a buffer is in one place"]
            .into_iter()
            .find(|promise| checked.discovery(promise).is_some());
        println!("{mistake:?}: {found:?}");
        assert!(found.is_some(), "{mistake:?} is not found");
    }
}
