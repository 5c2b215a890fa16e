//! A row of the table of groups: whose it is, how it was made, and whether producers wait for it.
//!
//! ```text
//!  line  0  gate        state · generation · joins: changed by compare-and-swap
//!        1  settings    in use · how it is shared · whether it is durable · what is done if it is
//!                       slow, after how long; locks of memory segments; what it has counted
//!        2  name        up to 32 bytes, zero-padded
//!        3  room
//!        4  bell        of the members that sleep
//!        6  room
//! ```
//!
//! A row stays in its place. Who reads what under which name changes, and each time the row is
//! opened again its *generation* grows. The group's [cursor](super::counters::Cursor) carries the
//! last bits of it, so that whoever comes late from an earlier one changes nothing.

use core::time::Duration;

use super::bell::Bell;
use super::counters::{CacheLineU64, Line};
use super::locks::LockWord;
use crate::choices::{GroupSettings, Slow};
use crate::limits::MAX_GROUPS;
use crate::name::ParticipantName;
use crate::settings::Sharing;
use crate::sync::{AtomicU64, Ordering, look_at};

/// Bits of a generation that a cursor carries.
const TAG_BITS: u32 = 7;
const POSITION_BITS: u32 = u64::BITS - TAG_BITS;
/// The bits of a cursor that are its position.
const POSITION: u64 = (1 << POSITION_BITS) - 1;
/// Bits of a generation in a gate: as many as a membership has.
const GENERATION_BITS: u32 = 30;
const GENERATION: u32 = (1 << GENERATION_BITS) - 1;

/// A generation of a row, as cursors carry it: its last bits, where they lie in a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag(u64);

impl Tag {
    /// How many there are.
    pub(crate) const COUNT: u32 = 1 << TAG_BITS;

    pub(crate) const fn of(generation: u32) -> Self {
        Self((generation as u64) << POSITION_BITS)
    }

    /// The one that a cursor carries.
    pub(crate) const fn of_cursor(cursor: u64) -> Self {
        Self(cursor & !POSITION)
    }

    /// The cursor of this generation at a position.
    #[inline(always)]
    pub(crate) const fn at(self, position: u64) -> u64 {
        self.0 | position & POSITION
    }

    /// The position of a cursor, if it is of this generation.
    #[inline(always)]
    pub(crate) const fn position(self, cursor: u64) -> Option<u64> {
        if cursor & !POSITION == self.0 { Some(cursor & POSITION) } else { None }
    }
}

/// The position of a cursor, whatever its generation.
#[inline(always)]
pub(crate) const fn position_of(cursor: u64) -> u64 {
    cursor & POSITION
}

/// Whether producers wait for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// They do not: it has no place in the lane.
    Closed,
    /// They do.
    Open,
    /// They do not any more: it kept them for too long. Its members find out.
    Evicted,
}

/// A gate: the word that says whether producers wait for a group.
///
/// ```text
///  63  62 61                          32 31                            0
///  ┌─────┬──────────────────────────────┬──────────────────────────────┐
///  │state│ generation                   │ joins in this generation     │
///  └─────┴──────────────────────────────┴──────────────────────────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gate {
    pub(crate) state: State,
    pub(crate) generation: u32,
    pub(crate) joins: u32,
    /// Whether it was opened after an eviction: who finishes the opening is told what the group has
    /// missed. Of an open gate.
    pub(crate) owes: bool,
}

impl Gate {
    pub(crate) const fn encode(self) -> u64 {
        let state = match (self.state, self.owes) {
            (State::Closed, _) => 0,
            (State::Open, false) => 1,
            (State::Evicted, _) => 2,
            (State::Open, true) => 3,
        };
        state << 62 | ((self.generation & GENERATION) as u64) << 32 | self.joins as u64
    }

    /// What a word says: any is some gate.
    pub(crate) const fn decode(word: u64) -> Self {
        let (state, owes) = match word >> 62 {
            0 => (State::Closed, false),
            1 => (State::Open, false),
            2 => (State::Evicted, false),
            _ => (State::Open, true),
        };
        Self { state, generation: (word >> 32) as u32 & GENERATION, joins: word as u32, owes }
    }

    pub(crate) fn is_open(self) -> bool {
        self.state == State::Open
    }

    /// What its group's cursors carry.
    pub(crate) const fn tag(self) -> Tag {
        Tag::of(self.generation)
    }

    /// The same with one join more.
    pub(crate) const fn joined(self) -> Self {
        Self { joins: self.joins.wrapping_add(1), ..self }
    }

    /// The generation before this one.
    pub(crate) const fn earlier(self) -> u32 {
        self.generation.wrapping_sub(1) & GENERATION
    }

    /// Whether neither this generation nor the next can have the last bits of one that is named,
    /// other than itself.
    pub(crate) const fn is_within_a_turn_of(self, named: Membership) -> bool {
        self.generation.wrapping_sub(named.generation()) & GENERATION < Tag::COUNT - 1
    }

    /// The generation so many after this one.
    pub(crate) const fn later(self, by: u32) -> u32 {
        self.generation.wrapping_add(by) & GENERATION
    }
}

/// That of a group which a ring is made with.
#[cfg(feature = "alloc")]
const FIRST_GATE: Gate = Gate { state: State::Open, generation: 0, joins: 0, owes: false };

/// The bit of a membership that says that it is none.
const OUTSIDE: u64 = 1 << 63;

/// Which group an entry of the participant table belongs to, and to which generation of it.
///
/// ```text
///  63 62   38 37                             8 7                      0
///  ┌──┬──────┬────────────────────────────────┬────────────────────────┐
///  │  │ 0    │ generation                     │ row + 1                │   all zeros: none
///  └──┴──────┴────────────────────────────────┴────────────────────────┘
/// ```
///
/// Bit 63 is set while one grants for the group that is no member of it: its entry counts for
/// nothing, but keeps the last bits of the generation from coming again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Membership(u64);

impl Membership {
    /// Of no group: of a producer, or in a ring without a table of groups.
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn of(row: usize, generation: u32) -> Self {
        Self(((generation & GENERATION) as u64) << 8 | (row as u64 + 1))
    }

    pub(crate) const fn from_word(word: u64) -> Self {
        Self(word)
    }

    pub(crate) const fn word(self) -> u64 {
        self.0
    }

    /// What the entry of one shows that grants and is no member.
    pub(crate) const fn outside(self) -> Self {
        Self(self.0 | OUTSIDE)
    }

    /// Whether whoever shows this may yet work with a cursor of a row that carries this tag.
    pub(crate) fn may_meet(self, row: usize, tag: Tag) -> bool {
        Self(self.0 & !OUTSIDE).row() == Some(row) && self.tag() == tag
    }

    /// The row, if it is one that a table can have, and one that a member names.
    pub(crate) fn row(self) -> Option<usize> {
        if self.0 & OUTSIDE != 0 {
            return None;
        }
        ((self.0 & 0xff) as usize).checked_sub(1).filter(|&row| row < MAX_GROUPS)
    }

    pub(crate) const fn generation(self) -> u32 {
        (self.0 >> 8) as u32 & GENERATION
    }

    /// What its group's cursors carry.
    #[inline(always)]
    pub(crate) const fn tag(self) -> Tag {
        Tag::of(self.generation())
    }
}

const IN_USE: u64 = 1;
const EXCLUSIVE: u64 = 2;
const DURABLE: u64 = 4;
const EVICTS: u64 = 8;
/// The longest time that is written down: 584 years' nanoseconds do not fit.
const LONGEST: u64 = u64::MAX >> 1;

/// The bits of a row in use.
const fn flags(settings: GroupSettings) -> u64 {
    let mut flags = IN_USE;
    if matches!(settings.sharing, Sharing::Exclusive) {
        flags |= EXCLUSIVE;
    }
    if settings.durable {
        flags |= DURABLE;
    }
    if matches!(settings.slow, Slow::Evict { .. }) {
        flags |= EVICTS;
    }
    flags
}

/// What the words of a row say of its group; `None` if it is nobody's.
fn settings_of(flags: u64, after: u64) -> Option<GroupSettings> {
    (flags & IN_USE != 0).then(|| GroupSettings {
        sharing: if flags & EXCLUSIVE != 0 { Sharing::Exclusive } else { Sharing::Shared },
        durable: flags & DURABLE != 0,
        slow: match flags & EVICTS {
            0 => Slow::Wait,
            _ => Slow::Evict { after: Duration::from_nanos(after.min(LONGEST)) },
        },
    })
}

/// A row of the table of groups; one of zeros is nobody's, and closed.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub(crate) struct Row {
    gate: CacheLineU64,
    /// 0, or [`IN_USE`] with how the group was made.
    flags: AtomicU64,
    /// Nanoseconds after which it is evicted, if it may be.
    evict_after: AtomicU64,
    /// For memory segments only: held while the row is opened, or given to another name.
    pub(crate) lock: LockWord,
    /// For memory segments only: held by the member of an exclusive group.
    pub(crate) member: LockWord,
    /// For memory segments only, in the first row: held while a row is found for a name.
    pub(crate) table: LockWord,
    /// Messages that the group missed when it was evicted, all together.
    pub(crate) missed: AtomicU64,
    /// How often it was evicted.
    pub(crate) evictions: AtomicU64,
    /// How often the row was given to a name: what was counted for an earlier one does not count
    /// for the next.
    named: AtomicU64,
    name: [AtomicU64; 8],
    _gap: Line,
    /// What wakes its members that sleep.
    pub(crate) bell: Bell,
    _room: [Line; 2],
}

impl Row {
    /// The gate now.
    #[inline]
    pub(crate) fn gate(&self) -> Gate {
        // Acquire: what was stored before the gate was changed is seen: the tail of who opened it,
        // the names in the entries of those who are counted in it.
        Gate::decode(self.gate.load(Ordering::Acquire))
    }

    /// Whether the gate is open in this generation, as whoever has copied something looks before it
    /// claims: after an acquire fence.
    #[inline]
    pub(crate) fn is_open_in(&self, generation: u32) -> bool {
        // Relaxed: the fence before it pairs with that of a producer between its look at the gates
        // and its writes, so that who has copied such a write sees what that look saw.
        let gate = Gate::decode(self.gate.load(Ordering::Relaxed));
        gate.is_open() && gate.generation == generation
    }

    /// The gate, for whoever only looks.
    pub(crate) fn look_at_gate(&self) -> Gate {
        Gate::decode(look_at(&self.gate))
    }

    /// Changes the gate from `from` to `to`; `false` if it is another by now.
    pub(crate) fn change(&self, from: Gate, to: Gate) -> bool {
        // AcqRel: pairs with the acquire in `gate`; and what the last one who changed it had seen
        // is seen by the next.
        let (from, to) = (from.encode(), to.encode());
        self.gate.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// How the group was made whose row it is; `None` if it is nobody's.
    pub(crate) fn settings(&self) -> Option<GroupSettings> {
        // Pairs with the release in `name_it`.
        settings_of(look_at(&self.flags), self.evict_after.load(Ordering::Relaxed))
    }

    /// How often it was given to a name.
    pub(crate) fn named(&self) -> u64 {
        // Relaxed: it says for whom latencies were counted, and only people read those.
        self.named.load(Ordering::Relaxed)
    }

    /// The name of the group; untrusted.
    pub(crate) fn name(&self) -> ParticipantName {
        let mut name = [0; 64];
        for (bytes, word) in name.as_chunks_mut::<8>().0.iter_mut().zip(&self.name) {
            // Relaxed: written under the lock of the row, or seen by the acquire in `settings` or
            // in `gate`; else compared only.
            *bytes = word.load(Ordering::Relaxed).to_le_bytes();
        }
        ParticipantName(name)
    }

    /// Gives the row to a group. Only who has its lock, or has just made the segment, calls it.
    pub(crate) fn name_it(&self, name: &ParticipantName, settings: GroupSettings) {
        // First nobody's: one that is killed half-way leaves no mixture. Release: who sees a word
        // of the new name sees that it is nobody's, or the new owner's.
        self.flags.store(0, Ordering::Relaxed);
        crate::sync::fence(Ordering::Release);
        for (word, bytes) in self.name.iter().zip(name.0.as_chunks::<8>().0) {
            word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
        }
        let after = match settings.slow {
            Slow::Wait => 0,
            Slow::Evict { after } => after.as_nanos().min(LONGEST.into()) as u64,
        };
        self.evict_after.store(after, Ordering::Relaxed);
        self.missed.store(0, Ordering::Relaxed);
        self.evictions.store(0, Ordering::Relaxed);
        self.named.store(self.named().wrapping_add(1), Ordering::Relaxed);
        // Release: pairs with `settings`.
        self.flags.store(flags(settings), Ordering::Release);
    }

    /// Makes the row nobody's. Only who has its lock calls it.
    pub(crate) fn forget(&self) {
        self.flags.store(0, Ordering::Release);
    }

    /// The words of a row, up to its room, that is open for a group which a segment in a file is
    /// made with.
    #[cfg(feature = "std")]
    pub(crate) fn first_words(name: &ParticipantName) -> [u64; 32] {
        let mut words = [0; 32];
        words[0] = FIRST_GATE.encode();
        words[8] = flags(GroupSettings::FIRST);
        // Named once.
        words[15] = 1;
        for (word, bytes) in words[16..].iter_mut().zip(name.0.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        words
    }

    /// Opens the gate of a row in a segment that nobody else knows of yet.
    #[cfg(feature = "alloc")]
    pub(crate) fn open_first(&self) {
        self.gate.store(FIRST_GATE.encode(), Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_zeros_is_closed_and_nobodys() {
        let row = Row::default();
        assert_eq!(row.gate(), Gate { state: State::Closed, generation: 0, joins: 0, owes: false });
        assert_eq!(row.settings(), None);
        assert_eq!(Membership::NONE.row(), None);
    }

    #[test]
    fn a_row_says_again_what_it_was_given_and_forgets_it() {
        let row = Row::default();
        let settings = GroupSettings {
            sharing: Sharing::Exclusive,
            durable: true,
            slow: Slow::Evict { after: Duration::from_millis(20) },
        };
        row.name_it(&ParticipantName::new("risk"), settings);
        assert_eq!((row.settings(), row.name().as_str()), (Some(settings), "risk"));
        row.name_it(&ParticipantName::new("a"), GroupSettings::default());
        assert_eq!((row.settings(), row.name().as_str()), (Some(GroupSettings::default()), "a"));
        row.forget();
        assert_eq!(row.settings(), None);
    }

    #[cfg(feature = "std")]
    #[test]
    fn a_row_that_is_written_into_a_file_is_as_one_that_is_opened_in_memory() {
        let row = Row::default();
        row.name_it(&ParticipantName::new("risk"), GroupSettings::FIRST);
        row.open_first();
        // SAFETY: words without gaps, of which nothing is written meanwhile.
        let words: [u64; 32] = unsafe { core::ptr::from_ref(&row).cast::<[u64; 32]>().read() };
        assert_eq!(words, Row::first_words(&ParticipantName::new("risk")));
    }

    #[test]
    fn a_membership_of_a_row_beyond_the_table_is_of_none() {
        assert_eq!(Membership::from_word(MAX_GROUPS as u64 + 1).row(), None);
        assert_eq!(Membership::of(MAX_GROUPS - 1, 3).row(), Some(MAX_GROUPS - 1));
        assert_eq!(Membership::of(3, 3).outside().row(), None);
    }

    #[cfg(not(miri))]
    mod properties {
        use super::*;
        use proptest::prelude::*;

        proptest! {
            #[test]
            fn a_gate_survives_its_word(
                place in 0usize..4, generation in 0..=GENERATION, joins: u32,
            ) {
                let state = [State::Closed, State::Open, State::Evicted, State::Open][place];
                let owes = place == 3;
                let gate = Gate { state, generation, joins, owes };
                prop_assert_eq!(Gate::decode(gate.encode()), gate);
                prop_assert_eq!(Gate::decode(gate.joined().encode()).joins, joins.wrapping_add(1));
                prop_assert!(gate.later(1) != generation && gate.later(1) <= GENERATION);
            }

            #[test]
            fn a_cursor_is_of_its_generation_and_of_no_other_within_a_turn(
                generation in 0..=GENERATION, by in 1u32..1 << TAG_BITS, position in 0..=POSITION,
            ) {
                let gate = Gate { state: State::Open, generation, joins: 0, owes: false };
                let cursor = gate.tag().at(position);
                prop_assert_eq!(gate.tag().position(cursor), Some(position));
                prop_assert_eq!(position_of(cursor), position);
                prop_assert_eq!(Tag::of(gate.later(by)).position(cursor), None);
            }

            #[test]
            fn a_membership_survives_its_word(
                row in 0..MAX_GROUPS, generation in 0..=GENERATION,
            ) {
                let it = Membership::from_word(Membership::of(row, generation).word());
                prop_assert_eq!((it.row(), it.generation()), (Some(row), generation));
                prop_assert!(it != Membership::NONE);
            }
        }
    }
}
