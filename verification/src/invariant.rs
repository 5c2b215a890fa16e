//! What must never happen, in words, and what must stay possible.
//!
//! A step that breaks a promise leaves the [`Violation`] in the state that it leads to; the
//! checker looks for a state that has one. The promises themselves:
//!
//! - **No committed message is lost.** Every message whose send returned is delivered and
//!   released, or is in the hands of a copying consumer killed between its claim and its return,
//!   at most one for each such death. The release frontier passes nothing else.
//! - **What is delivered is what was committed** at that position: never garbage, never
//!   half-written, never of another lap.
//! - **Nothing is delivered twice** unless the second delivery is marked.
//! - **No slot is written while its message is unreleased**, and each position by one producer.
//! - **The living are never robbed**: no slot of a living producer is abandoned, no message that a
//!   living consumer has claimed and not released is delivered by another.
//! - **A producer's messages keep their order**: its positions only grow.
//! - **Everything can finish**: from every state that can be reached at all, a state can be
//!   reached in which all is drained and nobody is in anybody's way ([`is_done`]).

use crate::protocol::Protocol;
use crate::slot::Settled;
use crate::state::{At, Fate, NONE, Participant, State};

/// A promise broken by a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Violation {
    /// The release frontier passed a message that was not released, or a committed slot was
    /// abandoned: a committed message is lost.
    Lost = 1,
    /// What was delivered is not what was committed there.
    Garbage = 2,
    /// A message was delivered a second time without a mark.
    DeliveredTwice = 3,
    /// A slot was written while its message was not released.
    Overwritten = 4,
    /// Two producers wrote at one position, or one wrote where all was settled.
    WrittenTwice = 5,
    /// A living participant lost what it had claimed.
    Robbed = 6,
    /// A producer's next position was not beyond its last.
    Reordered = 7,
    /// More messages went with killed copying consumers than such consumers were killed.
    TakenWithoutDeath = 8,
}

impl Violation {
    /// All of them.
    pub const ALL: [Violation; 8] = [
        Violation::Lost,
        Violation::Garbage,
        Violation::DeliveredTwice,
        Violation::Overwritten,
        Violation::WrittenTwice,
        Violation::Robbed,
        Violation::Reordered,
        Violation::TakenWithoutDeath,
    ];

    /// The violation of a code; 0 is none.
    pub fn from_code(code: u8) -> Option<Violation> {
        Violation::ALL.get(usize::from(code).wrapping_sub(1)).copied()
    }

    /// The promise that it breaks.
    pub fn promise(self) -> &'static str {
        match self {
            Violation::Lost => "no committed message is lost",
            Violation::Garbage => "what is delivered is what was committed there",
            Violation::DeliveredTwice => "nothing is delivered twice without a mark",
            Violation::Overwritten => "no slot is written while its message is unreleased",
            Violation::WrittenTwice => "each position is written by one producer",
            Violation::Robbed => "the living are never robbed",
            Violation::Reordered => "a producer's messages keep their order",
            Violation::TakenWithoutDeath => "a killed copying consumer takes one message at most",
        }
    }
}

impl State {
    /// Notes a broken promise; the first one counts.
    pub(crate) fn require(&mut self, kept: bool, otherwise: Violation) {
        if !kept && self.violation.is_none() {
            self.violation = Some(otherwise);
        }
    }

    /// The first delivery of the message at a position, `as` being what it becomes.
    pub(crate) fn deliver(&mut self, position: u8, intact: bool, becomes: Fate) {
        self.require(intact, Violation::Garbage);
        self.require(self.fates[position as usize] == Fate::Unseen, Violation::DeliveredTwice);
        self.fates[position as usize] = becomes;
    }

    /// A delivery that is marked as perhaps not the first.
    pub(crate) fn redeliver(&mut self, position: u8, intact: bool, becomes: Fate) {
        self.require(intact, Violation::Garbage);
        self.require(!self.is_borrowed(position), Violation::Robbed);
        self.fates[position as usize] = becomes;
    }

    /// Whether a living consumer has a message in its hands.
    fn is_borrowed(&self, position: u8) -> bool {
        self.participants.iter().any(|peer| peer.at.has_borrowed() && peer.shows(position))
    }

    /// What a dead consumer held is dropped, as the ring's policy says. A living one that has it,
    /// since the dead one had lost it, keeps it.
    pub(crate) fn drop_held(&mut self, position: u8) {
        let open = matches!(self.fates[position as usize], Fate::Unseen | Fate::Seen);
        if open && !self.is_borrowed(position) {
            self.fates[position as usize] = Fate::Released;
        }
    }

    /// A producer gives up what it has claimed.
    pub(crate) fn cancel(&mut self, position: u8) {
        self.require(self.settled(position) == Settled::NotYet, Violation::Robbed);
        self.slot(position).sequence = 2 + 2 * self.lap(position);
    }

    /// The reader of a message in place is done with it.
    pub(crate) fn release(&mut self, position: u8) {
        self.fates[position as usize] = Fate::Released;
    }

    /// `consumer_tail` becomes `frontier`: whatever it passes must be released.
    pub(crate) fn grant(&mut self, frontier: u8) {
        for position in self.consumer_tail..frontier {
            let fate = self.fates[position as usize];
            self.require(matches!(fate, Fate::Released | Fate::Taken), Violation::Lost);
        }
        self.consumer_tail = frontier;
    }

    /// A producer writes the first half of a payload where nothing is settled yet.
    pub(crate) fn begin(&mut self, position: u8, producer: usize) {
        self.require(self.settled(position) == Settled::NotYet, Violation::WrittenTwice);
        if let Some(before) = position.checked_sub(self.capacity) {
            let fate = self.fates[before as usize];
            let released = matches!(fate, Fate::Released | Fate::Taken);
            self.require(released, Violation::Overwritten);
        }
        let alone = self
            .participants
            .iter()
            .enumerate()
            .all(|(other, peer)| other == producer || !peer.is_to_write(position));
        self.require(alone, Violation::WrittenTwice);
    }

    /// Recovery marks a slot as abandoned.
    pub(crate) fn abandon(&mut self, position: u8) {
        let robbed = self.participants.iter().any(|peer| peer.is_to_write(position));
        self.require(!robbed, Violation::Robbed);
        self.require(self.settled(position) == Settled::NotYet, Violation::Lost);
        self.slot(position).sequence = 2 + 2 * self.lap(position);
    }

    /// A copying consumer is killed between its claim and its return.
    pub(crate) fn take_along(&mut self, position: u8) {
        self.fates[position as usize] = Fate::Taken;
        let taken = self.fates.iter().filter(|&&fate| fate == Fate::Taken).count();
        self.require(taken <= usize::from(self.deaths), Violation::TakenWithoutDeath);
    }
}

/// Whether all is drained and nobody is in anybody's way.
///
/// With newcomers: all positions were used, all are released and granted, every entry has a living
/// owner who is in no call (but for the entry that an exclusive side does not need, which is free),
/// no bystander has a lock, and no hold is shown. Without newcomers: the same as far as there are
/// living participants to do it; a ring whose consumers are all dead is excused.
pub fn is_done(protocol: &Protocol, state: &State) -> bool {
    let (producers, consumers) = protocol.sides(state);
    let resting = |at| matches!(at, At::Idle | At::Quiet);
    let drained = state.consumer_head == state.consumer_tail && state.bystander == NONE;
    if protocol.newcomers {
        if protocol.shape.roles {
            return drained
                && state.consumer_tail == protocol.shape.positions
                && producers.iter().chain(consumers).all(|peer| {
                    peer.at == At::Vacant
                        || resting(peer.at) && (peer.produces || peer.word == NONE)
                });
        }
        let spare = |peer: &&Participant| protocol.has_spare() && peer.at == At::Vacant;
        return drained
            && state.consumer_tail == protocol.shape.positions
            && consumers.iter().filter(spare).count() == usize::from(protocol.has_spare())
            && producers.iter().chain(consumers).all(|peer| resting(peer.at) || spare(&peer))
            && (protocol.consumers_exclusive || consumers.iter().all(|peer| peer.word == NONE));
    }
    if consumers.iter().all(|peer| !peer.at.is_alive()) {
        return true;
    }
    drained
        && state.consumer_head == state.producer_head
        && (state.producer_head == protocol.shape.positions
            || producers.iter().all(|peer| !peer.at.is_alive()))
        && producers.iter().chain(consumers).all(|peer| resting(peer.at) || !peer.at.is_alive())
}
