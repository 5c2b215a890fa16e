//! An entry of the participant table: who is here, what they are about to do, and what they have
//! counted.
//!
//! ```text
//!  line  0  identity   state · lock · pid · start time · pid namespace · attached at · group ·
//!                      for whom the entry's histogram has counted (histogram.rs)
//!        1  name       up to 64 bytes, zero-padded
//!        2  intent     a producer's: the positions it is about to claim          (Span)
//!        3  hold       a consumer's: the positions it claims or has not released (Span)
//!        4 … 8         one lane each: counters of the entry's holders, one after the other
//!        9  events     abandoned · redelivered · discarded · skipped · given up · late
//!       10  stalls     credit stalls · their ticks · most messages in flight
//!       11 … 15        room
//! ```
//!
//! A handle has one intent or one hold, since it works on one lane. Where handles work on several,
//! the area of *holds* has a row for each entry, with a word for each lane; a ring of one lane has
//! no such area.
//!
//! An entry is held through its *lock*: in a file a lock of the kernel's, which ends with the
//! process that holds it and with nothing else; in memory a word, since a thread cannot be killed
//! alone. Whoever has the lock owns the entry and alone writes it. Pid, start time and name are
//! told to people. One thing is decided by the first two: whether a holder that still has its lock
//! is dying (`process.rs`).

use super::counters::CacheLineU64;
use super::group::Membership;
use super::histogram::Counted;
use super::lane_line::LaneLine;
use super::locks::LockWord;
use super::span::Span;
use crate::name::ParticipantName;
use crate::priority::PriorityClass;
use crate::settings::{Sharing, Side};
use crate::statistics::LaneStats;
use crate::sync::{AtomicU64, Ordering, look_at};

/// Nobody's.
const FREE: u64 = 0;
/// In use; see [`Role`] for the other bits.
const TAKEN: u64 = 1;
/// The holder is known to be dead; who has the lock now finishes its work.
const ADOPTED: u64 = 8;

/// One entry of the participant table; one of zeros is free and shows nothing.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Participant {
    /// [`FREE`], or [`TAKEN`] with the holder's role, and perhaps [`ADOPTED`].
    state: AtomicU64,
    /// For memory segments only: held while a handle holds the entry.
    pub(crate) lock: LockWord,
    pid: AtomicU64,
    start_time: AtomicU64,
    /// Inode of the holder's pid namespace: pids of different ones cannot be compared.
    namespace: AtomicU64,
    /// Nanoseconds since 1970.
    attached: AtomicU64,
    /// What group the holder belongs to: a [`Membership`]. 0 in a plain ring.
    group: AtomicU64,
    /// For whom the entry's histogram has counted: a [`Counted`].
    counted: AtomicU64,
    name: [AtomicU64; 8],
    /// What a shared producer is about to claim: stored before the compare-and-swap on
    /// `producer_head`, so whoever won a position shows it until it commits.
    pub(crate) intent: CacheLineU64,
    /// What a consumer is about to claim, or has claimed and not released: the release frontier
    /// does not pass it.
    pub(crate) hold: CacheLineU64,
    lanes: [LaneLine; PriorityClass::COUNT],
    events: [AtomicU64; 8],
    stalls: [AtomicU64; 8],
    _room: [[AtomicU64; 8]; 5],
}

/// What recovery did, counted in the entry of whoever did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Event {
    /// A slot was marked abandoned in a dead producer's place.
    Abandoned = 0,
    /// A message of a dead consumer was delivered again.
    Redelivered = 1,
    /// A message of a dead consumer was dropped, as the ring's policy says.
    Discarded = 2,
    /// An abandoned slot was passed over by a consumer.
    Skipped = 3,
    /// A claimed slot was marked abandoned by the producer itself.
    GivenUp = 4,
    /// A message was received after a younger one, in time order.
    #[cfg_attr(not(feature = "alloc"), allow(dead_code, reason = "who receives so has lanes"))]
    Late = 5,
}

/// What handles have seen of a lane that was too full; a snapshot of an entry's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stalls {
    /// How often a producer found no credit.
    pub(crate) count: u64,
    /// For how long, in ticks: those that have ended.
    pub(crate) ticks: u64,
    /// The most messages in flight.
    pub(crate) most_in_flight: u64,
}

impl Participant {
    /// The lane line of a class, for its owner to store.
    #[inline(always)]
    pub(crate) fn lane(&self, class: PriorityClass) -> &LaneLine {
        &self.lanes[class.index()]
    }

    /// What the lanes say now.
    pub(crate) fn lanes(&self) -> [LaneStats; PriorityClass::COUNT] {
        core::array::from_fn(|i| self.lanes[i].load())
    }

    /// Counts an event. Only the entry's owner calls it.
    pub(crate) fn count(&self, event: Event, by: u64) {
        let counter = &self.events[event as usize];
        // Relaxed: one writer, and only people read it.
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
    }

    /// The event counters in the order of [`Event`].
    pub(crate) fn events(&self) -> [u64; 6] {
        core::array::from_fn(|event| self.events[event].load(Ordering::Relaxed))
    }

    /// Counts a producer's stall, when it begins. Only the entry's owner calls it.
    pub(crate) fn count_stall(&self) {
        // Relaxed, here and below: as in `count`.
        self.stalls[0].store(self.stalls().count.wrapping_add(1), Ordering::Relaxed);
    }

    /// Adds the time of a stall that has ended. Only the entry's owner calls it.
    pub(crate) fn add_stalled(&self, ticks: u64) {
        self.stalls[1].store(self.stalls().ticks.wrapping_add(ticks), Ordering::Relaxed);
    }

    /// Notes so many messages in flight, if they are more than ever before. Only the entry's owner
    /// calls it.
    pub(crate) fn note_in_flight(&self, messages: u64) {
        if messages > self.stalls().most_in_flight {
            self.stalls[2].store(messages, Ordering::Relaxed);
        }
    }

    /// What its holders have seen of a lane that was too full; untrusted.
    pub(crate) fn stalls(&self) -> Stalls {
        let word = |place: usize| self.stalls[place].load(Ordering::Relaxed);
        Stalls { count: word(0), ticks: word(1), most_in_flight: word(2) }
    }

    /// For whom the entry's histogram has counted; untrusted.
    pub(crate) fn counted(&self) -> Counted {
        // Pairs with the release in `note_counted`.
        Counted::from_word(look_at(&self.counted))
    }

    /// Notes for whom the entry's histogram counts. Only the entry's owner calls it.
    pub(crate) fn note_counted(&self, counted: Counted) {
        // Release: whoever sees the word sees the counts that were moved before.
        self.counted.store(counted.word(), Ordering::Release);
    }

    /// What the entry says its holder is; untrusted.
    pub(crate) fn role(&self) -> Option<Role> {
        // Pairs with the release in `vacate`: whoever sees a producer gone sees what it sent, for
        // which `is_deserted` looks next.
        Role::from_word(look_at(&self.state))
    }

    /// What the intent word shows now.
    pub(crate) fn shown_intent(&self) -> Option<Span> {
        // Acquire: what its writer did before it showed or cleared this is seen.
        Span::decode(self.intent.load(Ordering::Acquire))
    }

    /// What the hold word shows now.
    #[inline]
    pub(crate) fn shown_hold(&self) -> Option<Span> {
        // Acquire: pairs with the release in `show_hold` and `clear_hold`: whoever sees a hold
        // gone has the reads that it protected behind it.
        Span::decode(self.hold.load(Ordering::Acquire))
    }

    /// Which group the entry belongs to, and which generation of it.
    #[inline]
    pub(crate) fn membership(&self) -> Membership {
        // Acquire: pairs with the release in `name_group`: whoever sees another name sees that the
        // hold shown under the one before is gone.
        Membership::from_word(self.group.load(Ordering::Acquire))
    }

    /// [`membership`](Self::membership), for whoever only looks.
    pub(crate) fn look_at_membership(&self) -> Membership {
        Membership::from_word(look_at(&self.group))
    }

    /// Names the group that the entry belongs to, before anything is shown in it, and with nothing
    /// shown. Only the entry's owner calls it.
    pub(crate) fn name_group(&self, membership: Membership) {
        // Release: as above. Whoever sees the hold that is shown next sees this.
        self.group.store(membership.word(), Ordering::Release);
    }

    /// [`shown_intent`](Self::shown_intent), for whoever only looks.
    pub(crate) fn look_at_intent(&self) -> Option<Span> {
        Span::decode(look_at(&self.intent))
    }

    /// [`shown_hold`](Self::shown_hold), for whoever only looks.
    pub(crate) fn look_at_hold(&self) -> Option<Span> {
        Span::decode(look_at(&self.hold))
    }

    /// Shows an intent. Only the entry's owner calls it.
    #[inline(always)]
    pub(crate) fn show_intent(&self, span: Span) {
        // Release: an adopter that sees this intent instead of an earlier one sees the commit that
        // the earlier one stood for, and does not abandon it. (Whoever sees the head beyond the
        // intent sees it by the release of the compare-and-swap that follows.)
        self.intent.store(span.encode(), Ordering::Release);
    }

    /// Takes the intent away: nothing is claimed, or all is settled.
    #[inline]
    pub(crate) fn clear_intent(&self) {
        // Release: the commits or abandonments before it are seen by whoever sees it gone.
        self.intent.store(Span::NONE, Ordering::Release);
    }

    /// Shows a hold. Only the entry's owner calls it.
    #[inline(always)]
    pub(crate) fn show_hold(&self, span: Span) {
        // Release: a scan that sees this hold instead of an earlier one has the reads that the
        // earlier one protected behind it.
        self.hold.store(span.encode(), Ordering::Release);
    }

    /// Takes the hold away: all of it is released, or nothing was claimed.
    #[inline(always)]
    pub(crate) fn clear_hold(&self) {
        // Release: pairs with the acquire in `shown_hold`; the reads of the slots come before.
        self.hold.store(Span::NONE, Ordering::Release);
    }

    /// Writes who holds the entry.
    pub(crate) fn introduce(&self, role: Role, identity: &Identity) {
        // Relaxed, all but the state: told to people, who may see a mixture for a moment.
        let Process { pid, start_time, namespace } = identity.process;
        self.pid.store(u64::from(pid), Ordering::Relaxed);
        self.start_time.store(start_time, Ordering::Relaxed);
        self.namespace.store(namespace, Ordering::Relaxed);
        self.attached.store(identity.attached, Ordering::Relaxed);
        for (word, bytes) in self.name.iter().zip(identity.name.0.as_chunks::<8>().0) {
            word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
        }
        // Release: whoever sees the entry taken sees who took it.
        self.state.store(role.to_word(), Ordering::Release);
    }

    /// Says that the holder is dead, until the entry is free or somebody else's. Only who has
    /// taken the lock of a dead one calls it.
    pub(crate) fn note_adopted(&self) {
        // Relaxed, both: told to people, and nobody else writes the word meanwhile.
        let state = self.state.load(Ordering::Relaxed);
        if state & TAKEN != 0 {
            self.state.store(state | ADOPTED, Ordering::Relaxed);
        }
    }

    /// Whether its holder is known to be dead.
    pub(crate) fn is_adopted(&self) -> bool {
        self.state.load(Ordering::Relaxed) & ADOPTED != 0
    }

    pub(crate) fn is_free(&self) -> bool {
        self.state.load(Ordering::Relaxed) == FREE
    }

    /// Marks the entry nobody's. Its words must be clear; its lock is given back after this.
    pub(crate) fn vacate(&self) {
        // Relaxed: of a plain ring there is none, and its line is not to be written for that.
        if self.group.load(Ordering::Relaxed) != Membership::NONE.word() {
            self.name_group(Membership::NONE);
        }
        // Release: whoever finds it free finds its words clear.
        self.state.store(FREE, Ordering::Release);
    }

    /// The same, unless there is something left to do: its last holder may have left, and another
    /// one come and gone, since it was looked at. Returns whether it did.
    pub(crate) fn vacate_if_clear(&self) -> bool {
        let clear = self.shown_intent().is_none() && self.shown_hold().is_none();
        if clear {
            self.vacate();
        }
        clear
    }

    /// Who holds the entry, as it says itself; untrusted.
    pub(crate) fn identity(&self) -> Identity {
        // Relaxed, all: told to people, or asked for by whoever has the entry's work lock, under
        // which alone they are written: it was taken after its last holder gave it back.
        let mut name = [0; 64];
        for (bytes, word) in name.as_chunks_mut::<8>().0.iter_mut().zip(&self.name) {
            *bytes = word.load(Ordering::Relaxed).to_le_bytes();
        }
        let process = Process {
            pid: self.pid.load(Ordering::Relaxed) as u32,
            start_time: self.start_time.load(Ordering::Relaxed),
            namespace: self.namespace.load(Ordering::Relaxed),
        };
        let attached = self.attached.load(Ordering::Relaxed);
        Identity { process, attached, name: ParticipantName(name) }
    }
}

/// What a participant is: a side, and how it shares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) side: Side,
    pub(crate) sharing: Sharing,
}

impl Role {
    const fn to_word(self) -> u64 {
        TAKEN | (self.side as u64) << 1 | (self.sharing as u64) << 2
    }

    fn from_word(word: u64) -> Option<Self> {
        let side = if word & 2 == 0 { Side::Producer } else { Side::Consumer };
        let sharing = if word & 4 == 0 { Sharing::Shared } else { Sharing::Exclusive };
        (word & TAKEN != 0).then_some(Self { side, sharing })
    }
}

/// A process that says who it is. All of it is a peer's word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// When it began, in clock ticks since boot; 0 if that is not known.
    pub(crate) start_time: u64,
    /// Inode of its pid namespace, in which alone its number means it; 0 if that is not known.
    pub(crate) namespace: u64,
}

/// Who holds an entry, as it tells about itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Identity {
    pub(crate) process: Process,
    /// Nanoseconds since 1970.
    pub(crate) attached: u64,
    pub(crate) name: ParticipantName,
}
