//! Everything that a state of the world is made of.
//!
//! Shared memory (counters, slots, one word per participant entry), the private memory of each
//! participant (where it is in its code, what it has read), and a little that only the checker
//! knows: what became of each message, how many have died. A state packs into 128 bits without
//! loss, so the search compares states exactly and never by a hash alone.

use crate::invariant::Violation;
use crate::slot::{Settled, Slot};

/// Slots in the ring at most; `Shape::capacity` says how many there are.
pub const MAX_CAPACITY: usize = 4;
/// Positions that may be used at most; `Protocol::positions` says how many are.
pub const MAX_POSITIONS: usize = 6;
/// Participants at most, both sides together.
pub const MAX_PARTICIPANTS: usize = 5;
/// No position: an intent or a hold that is clear. Greater than every position.
pub const NONE: u8 = 7;

/// Where a participant is in its code: the step that it takes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[rustfmt::skip]
pub enum At {
    // In no call.
    /// Alive, between two calls; a call begins with whatever it reads first.
    Idle,
    /// Alive, and makes no call any more.
    Quiet,
    /// Killed; the kernel has dropped its locks, its word stays.
    Dead,
    /// Nobody's entry, its word clear.
    Vacant,
    /// A newcomer that has the entry, all work finished, and is about to read its side's head.
    Join,

    // A producer's call.
    /// Lost a race for a position; about to compare the next one with the credit.
    Credit,
    /// About to show the intent.
    ShowIntent,
    /// About to compare-and-swap `producer_head`.
    Claim,
    /// Has claimed; about to show the intent, too late (a mutation).
    LateIntent,
    /// Has claimed; about to write the first half of the payload.
    Begin,
    /// Has claimed; about to write the second half.
    Fill,
    /// About to store the sequence.
    Commit,
    /// Leaves without having won; about to clear the intent.
    ClearIntent,
    /// In no call: has claimed, and forgotten the guard.
    ForgotReservation,

    // A consumer's call.
    /// In the loop of a borrow that lost a race; about to read a sequence.
    Look,
    /// Behind by a lap; about to read `consumer_head`.
    Reload,
    /// About to copy the payload, not having claimed.
    CopyRead,
    /// Has copied; about to move `consumer_head`.
    CopyClaim,
    /// The copy is claimed and released; about to return it to the caller.
    CopyReturn,
    /// About to move `consumer_head` over an abandoned slot.
    Skip,
    /// About to show the hold.
    ShowHold,
    /// About to compare-and-swap `consumer_head`, the hold shown.
    BorrowClaim,
    /// Has claimed; about to show the hold, too late (a mutation).
    LateHold,
    /// About to read in place.
    Read,
    /// An exclusive successor, about to read in place what its predecessor held.
    ReadMarked,
    /// About to release what it has read in place.
    Release,
    /// Leaves without having won; about to clear the hold.
    ClearHold,
    /// In no call: has read in place, and forgotten the guard.
    ForgotHold,

    // A grant.
    /// About to read the next hold.
    GrantHold,
    /// About to read `consumer_head`, last (a mutation).
    GrantHead,
    /// About to raise `consumer_tail`.
    GrantRaise,

    // An adoption: a producer's entry.
    /// Has seen an intent in its way; about to try that entry's lock.
    AdoptLock,
    /// About to compare the dead one's intent with `producer_head`.
    AbandonHead,
    /// About to read the slot's sequence.
    AbandonSequence,
    /// About to read another producer's intent.
    AbandonOther,
    /// Has seen the same intent there; about to ask whether its owner lives.
    AbandonAlive,
    /// About to compare-and-swap the sequence.
    Abandon,

    // An adoption: a consumer's entry.
    /// About to move the dead one's hold to the adopter's line (a mutation).
    MoveShow,
    /// About to clear the dead one's hold, moved (a mutation).
    MoveClear,
    /// About to compare the dead one's hold with `consumer_tail`.
    RedeliverTail,
    /// About to compare it with `consumer_head`.
    RedeliverHead,
    /// About to read another consumer's hold.
    RedeliverOther,
    /// Has seen the same hold there; about to ask whether its owner lives.
    RedeliverAlive,
    /// About to copy the payload.
    RedeliverCopy,
    /// Has the copy; about to look at `consumer_tail` again, and deliver.
    RedeliverLook,
    /// Has delivered one of several; about to show the others alone.
    Advance,

    /// The work is finished; about to clear the dead one's word and unlock its entry.
    Finish,

    // An exclusive producer's successor.
    /// About to read `producer_tail`.
    SucceedTail,
    /// About to read `consumer_head`.
    SucceedHead,
    /// About to read the sequence at the position that may be the next.
    SucceedScan,

    // An exclusive consumer's successor.
    /// About to read the hold in the other entry.
    SucceedHold,
    /// Has seen that the next message was held; about to show it in its own entry.
    SucceedShow,
    /// About to free the other entry, if it gets its lock.
    SucceedClose,
    /// About to move `consumer_head` over what is marked, which is dropped.
    DropMarked,
    /// About to clear the mark of what it has dropped.
    ClearMark,
}

impl At {
    /// All of them, in the order of their codes.
    #[rustfmt::skip]
    pub const ALL: [At; 55] = {
        use At::*;
        [
            Idle, Quiet, Dead, Vacant, Join, Credit, ShowIntent, Claim, LateIntent, Begin, Fill,
            Commit, ClearIntent, ForgotReservation, Look, Reload, CopyRead, CopyClaim,
            CopyReturn, Skip, ShowHold,
            BorrowClaim, LateHold, Read, ReadMarked, Release, ClearHold, ForgotHold, GrantHold,
            GrantHead, GrantRaise, AdoptLock, AbandonHead, AbandonSequence, AbandonOther,
            AbandonAlive, Abandon,
            MoveShow, MoveClear, RedeliverTail, RedeliverHead, RedeliverOther, RedeliverAlive,
            RedeliverCopy, RedeliverLook, Advance, Finish, SucceedTail, SucceedHead, SucceedScan,
            SucceedHold, SucceedShow, SucceedClose, DropMarked, ClearMark,
        ]
    };

    /// Whether a living owner has the entry's lock here.
    pub fn is_alive(self) -> bool {
        !matches!(self, At::Dead | At::Vacant)
    }

    /// Whether a shared producer here has won a position and not committed it.
    pub fn has_claimed(self) -> bool {
        matches!(self, At::LateIntent | At::Begin | At::Fill | At::Commit | At::ForgotReservation)
    }

    /// Whether a consumer here has claimed what its word shows, to read it in place.
    pub fn has_borrowed(self) -> bool {
        matches!(self, At::Read | At::Release | At::ForgotHold)
    }
}

/// A participant: its entry's word in shared memory, and its owner's private memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Participant {
    /// What it does next.
    pub at: At,
    /// Private: where the head was last seen; on an exclusive side its own position.
    pub known: u8,
    /// Shared: the first position of the intent or the hold, [`NONE`] when clear.
    pub word: u8,
    /// Shared, in the same word: how many positions it shows; 1 when clear.
    pub count: u8,
    /// Private, in a grant: the least position seen so far.
    pub frontier: u8,
    /// Private, in a scan: how many of the others have been looked at. In a call: how many
    /// positions are to be claimed, or are claimed and not written or read yet.
    pub scanned: u8,
    /// Private: whether what was copied is what was committed there.
    pub intact: bool,
    /// Private, in an adoption: whose entry (its own, if a newcomer takes it).
    pub target: u8,
    /// Whether the word is an intent, and the entry's last owner a producer; or else a consumer.
    pub produces: bool,
    /// Private, of a newcomer: whether it comes as a producer.
    pub wants_to_produce: bool,
    /// Shared: the entry's other word, which was left there when it changed its role (a mutation).
    pub left: u8,
}

impl Participant {
    /// One that has just come to an empty ring.
    pub const fn new() -> Self {
        Self {
            at: At::Idle,
            known: 0,
            word: NONE,
            count: 1,
            frontier: 0,
            scanned: 0,
            intact: false,
            target: NONE,
            produces: false,
            wants_to_produce: false,
            left: NONE,
        }
    }

    /// The first position of the hold that its entry shows.
    pub fn hold(&self) -> u8 {
        if self.produces { self.left } else { self.word }
    }

    /// Whether its word shows a position.
    pub fn shows(&self, position: u8) -> bool {
        self.word != NONE && (self.word..self.end()).contains(&position)
    }

    /// The first position that its word does not show any more.
    pub fn end(&self) -> u8 {
        self.word + self.count
    }

    /// Whether it lives and has won a position that it has not committed.
    pub fn is_to_write(&self, position: u8) -> bool {
        let end = self.known + self.scanned.max(1);
        self.at.has_claimed() && (self.known..end).contains(&position)
    }

    /// Takes its word away.
    pub fn clear(&mut self) {
        (self.word, self.count) = (NONE, 1);
    }

    /// Leaves the entry free.
    pub fn vacate(&mut self) {
        self.at = At::Vacant;
        self.known = 0;
    }

    /// Forgets what was private to a call, so that equal situations are equal states.
    pub fn forget(&mut self) {
        (self.frontier, self.scanned, self.intact, self.target) = (0, 0, false, NONE);
    }
}

impl Default for Participant {
    fn default() -> Self {
        Self::new()
    }
}

/// What became of the message at a position; only the checker knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Fate {
    /// Nobody has seen it.
    #[default]
    Unseen,
    /// It is, or was when its reader died, being read in place.
    Seen,
    /// It was delivered and released, or skipped as abandoned.
    Released,
    /// It was in the hands of a copying consumer killed between its claim and its return.
    Taken,
}

/// A state of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Next position to claim, shared producers.
    pub producer_head: u8,
    /// Commit frontier as last announced by an exclusive producer.
    pub producer_tail: u8,
    /// Next position to claim or, exclusive, to release.
    pub consumer_head: u8,
    /// Release frontier as last granted.
    pub consumer_tail: u8,
    /// The slots, as many of them as there are.
    pub slots: [Slot; MAX_CAPACITY],
    /// How many slots there are; never changes.
    pub capacity: u8,
    /// Producers first, then consumers.
    pub participants: [Participant; MAX_PARTICIPANTS],
    /// What became of each message.
    pub fates: [Fate; MAX_POSITIONS],
    /// How many have died.
    pub deaths: u8,
    /// Whose entry's lock a bystander has: [`NONE`], or an index.
    pub bystander: u8,
    /// What has gone wrong, if something has; nothing follows then.
    pub violation: Option<Violation>,
}

impl State {
    /// An empty ring of so many slots.
    pub const fn initial(capacity: u8) -> Self {
        Self {
            producer_head: 0,
            producer_tail: 0,
            consumer_head: 0,
            consumer_tail: 0,
            slots: [Slot { sequence: 0, payload: 0 }; MAX_CAPACITY],
            capacity,
            participants: [Participant::new(); MAX_PARTICIPANTS],
            fates: [Fate::Unseen; MAX_POSITIONS],
            deaths: 0,
            bystander: NONE,
            violation: None,
        }
    }

    /// The slot of a position.
    pub fn slot(&mut self, position: u8) -> &mut Slot {
        &mut self.slots[(position % self.capacity) as usize]
    }

    /// The lap of a position.
    pub fn lap(&self, position: u8) -> u8 {
        position / self.capacity
    }

    /// What the sequence of its slot says about a position.
    pub fn settled(&self, position: u8) -> Settled {
        self.slots[(position % self.capacity) as usize].settled(self.lap(position))
    }

    /// Whether the slot holds exactly what was committed at a position.
    pub fn is_intact(&self, position: u8) -> bool {
        self.slots[(position % self.capacity) as usize].payload == self.lap(position) + 1
            && self.settled(position) == Settled::Committed
    }

    /// Whether somebody has the lock of an entry: its owner, one who adopts it, or a bystander.
    pub fn is_locked(&self, entry: usize) -> bool {
        self.participants[entry].at.is_alive()
            || usize::from(self.bystander) == entry
            || self.participants.iter().any(|other| usize::from(other.target) == entry)
    }

    /// The same state with two participants of one side having changed places.
    pub fn swapped(&self, a: usize, b: usize) -> State {
        let mut state = *self;
        state.participants.swap(a, b);
        if usize::from(state.bystander) == a {
            state.bystander = b as u8;
        } else if usize::from(state.bystander) == b {
            state.bystander = a as u8;
        }
        for participant in &mut state.participants {
            if usize::from(participant.target) == a {
                participant.target = b as u8;
            } else if usize::from(participant.target) == b {
                participant.target = a as u8;
            }
        }
        state
    }
}

/// How many there are of what, which decides how a state is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Producers.
    pub producers: usize,
    /// Consumers.
    pub consumers: usize,
    /// Positions.
    pub positions: u8,
    /// Slots.
    pub capacity: u8,
    /// Positions in one intent or hold, at most.
    pub span: u8,
    /// Whether a bystander takes locks.
    pub bystander: bool,
    /// Whether entries change from one side to the other.
    pub roles: bool,
}

impl Shape {
    /// How many bits a state takes.
    pub fn bits(self) -> usize {
        let of_word = if self.span > 1 { 2 } else { 0 };
        4 * 3
            + 5 * self.capacity as usize
            + 2
            + 4
            + if self.bystander { 3 } else { 0 }
            + 2 * self.positions as usize
            + if self.roles {
                (26 + of_word) * (self.producers + self.consumers)
            } else {
                (17 + of_word) * self.producers + (21 + of_word) * self.consumers
            }
    }

    /// Packs a state, without loss.
    pub fn pack(self, state: &State) -> u128 {
        let mut bits = Packer { word: 0, at: 0 };
        for counter in
            [state.producer_head, state.producer_tail, state.consumer_head, state.consumer_tail]
        {
            bits.put(counter, 3);
        }
        for slot in &state.slots[..self.capacity as usize] {
            bits.put(slot.sequence, 3);
            bits.put(slot.payload, 2);
        }
        bits.put(state.deaths, 2);
        bits.put(state.violation.map_or(0, |violation| violation as u8), 4);
        if self.bystander {
            bits.put(state.bystander, 3);
        }
        for fate in &state.fates[..self.positions as usize] {
            bits.put(*fate as u8, 2);
        }
        for (index, participant) in state.participants.iter().enumerate() {
            if index >= self.producers + self.consumers {
                break;
            }
            bits.put(participant.at as u8, 6);
            bits.put(participant.known, 3);
            bits.put(participant.word, 3);
            bits.put(participant.scanned, 2);
            if self.span > 1 {
                bits.put(participant.count - 1, 2);
            }
            bits.put(participant.frontier, 3);
            if self.roles || index >= self.producers {
                bits.put(u8::from(participant.intact), 1);
                bits.put(participant.target, 3);
            }
            if self.roles {
                bits.put(u8::from(participant.produces), 1);
                bits.put(u8::from(participant.wants_to_produce), 1);
                bits.put(participant.left, 3);
            }
        }
        bits.word
    }

    /// Unpacks a state.
    pub fn unpack(self, word: u128) -> State {
        let mut bits = Packer { word, at: 0 };
        let mut state = State::initial(self.capacity);
        state.producer_head = bits.take(3);
        state.producer_tail = bits.take(3);
        state.consumer_head = bits.take(3);
        state.consumer_tail = bits.take(3);
        for slot in &mut state.slots[..self.capacity as usize] {
            slot.sequence = bits.take(3);
            slot.payload = bits.take(2);
        }
        state.deaths = bits.take(2);
        state.violation = Violation::from_code(bits.take(4));
        if self.bystander {
            state.bystander = bits.take(3);
        }
        for fate in &mut state.fates[..self.positions as usize] {
            *fate = [Fate::Unseen, Fate::Seen, Fate::Released, Fate::Taken][bits.take(2) as usize];
        }
        for (index, participant) in state.participants.iter_mut().enumerate() {
            if index >= self.producers + self.consumers {
                break;
            }
            participant.at = At::ALL[bits.take(6) as usize];
            participant.known = bits.take(3);
            participant.word = bits.take(3);
            participant.scanned = bits.take(2);
            if self.span > 1 {
                participant.count = bits.take(2) + 1;
            }
            participant.produces = index < self.producers;
            participant.frontier = bits.take(3);
            if self.roles || index >= self.producers {
                participant.intact = bits.take(1) != 0;
                participant.target = bits.take(3);
            } else if matches!(
                participant.at,
                At::AbandonHead
                    | At::AbandonSequence
                    | At::AbandonOther
                    | At::AbandonAlive
                    | At::Abandon
                    | At::Finish
            ) {
                // A producer adopts no entry but the one that it comes to.
                participant.target = index as u8;
            }
            if self.roles {
                participant.produces = bits.take(1) != 0;
                participant.wants_to_produce = bits.take(1) != 0;
                participant.left = bits.take(3);
            }
        }
        state
    }
}

struct Packer {
    word: u128,
    at: u32,
}

impl Packer {
    #[inline]
    fn put(&mut self, value: u8, width: u32) {
        debug_assert!(value < 1 << width, "{value} does not fit {width} bits");
        self.word |= u128::from(value) << self.at;
        self.at += width;
    }

    #[inline]
    fn take(&mut self, width: u32) -> u8 {
        let value = (self.word >> self.at) as u8 & ((1 << width) - 1);
        self.at += width;
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_places_are_their_index() {
        for (code, at) in At::ALL.into_iter().enumerate() {
            assert_eq!(at as usize, code);
        }
    }

    #[test]
    fn a_state_survives_packing() {
        let shape = Shape {
            producers: 2,
            consumers: 2,
            positions: 4,
            capacity: 3,
            span: 3,
            bystander: true,
            roles: false,
        };
        let mut state = State::initial(3);
        state.participants[..2].iter_mut().for_each(|producer| producer.produces = true);
        state.producer_head = 4;
        state.slots[1] = Slot { sequence: 4, payload: 2 };
        state.fates[3] = Fate::Taken;
        state.deaths = 2;
        state.participants[0].at = At::Abandon;
        state.participants[0].target = 0;
        state.bystander = 2;
        state.participants[3] = Participant {
            at: At::RedeliverLook,
            known: 3,
            word: 2,
            count: 2,
            produces: false,
            wants_to_produce: false,
            left: NONE,
            frontier: 7,
            scanned: 2,
            intact: true,
            target: 2,
        };
        assert_eq!(shape.unpack(shape.pack(&state)), state);
        assert!(shape.bits() <= 128);
        // Entries that may be of either side.
        let shape =
            Shape { producers: 2, consumers: 1, span: 1, bystander: false, roles: true, ..shape };
        let mut state = State::initial(3);
        state.participants[0].produces = true;
        state.participants[1] = Participant {
            at: At::RedeliverHead,
            frontier: 3,
            target: 1,
            wants_to_produce: true,
            left: 2,
            ..Participant::new()
        };
        assert_eq!(shape.unpack(shape.pack(&state)), state);
        assert!(shape.bits() <= 128);
    }
}
