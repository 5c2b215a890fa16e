//! Who is here, what they are about to do, and what they have counted.
//!
//! ```text
//!  line  0  identity   state · lock · pid · start time · pid namespace · attached at
//!        1  name       up to 64 bytes, zero-padded
//!        2  intent     a producer's: the positions it is about to claim          (layout::Span)
//!        3  hold       a consumer's: the positions it claims or has not released (layout::Span)
//!        4 … 8         one lane each: counters of the entry's holders, one after the other
//!        9  events     abandoned · redelivered · discarded · skipped
//!       10 … 15        room
//! ```
//!
//! An entry is held through its *lock*: in a file a lock of the kernel's, which ends with the
//! process that holds it and with nothing else; in memory a word, since a thread cannot be killed
//! alone. Whoever has the lock owns the entry and alone writes it. Pid, start time and name are
//! told to people. One thing is decided by the first two: whether a holder that still has its lock is
//! dying (`process.rs`).

use core::fmt;

use crate::lane::{LaneLine, LaneStats};
use crate::layout::{CacheLineU64, Sharing, Side, Span};
#[cfg(feature = "std")]
use crate::process::Process;
use crate::recover::Adopted;
use crate::segment::{Locker, Place, Segment};
use crate::sync::{AtomicU64, Ordering, look_at};
use crate::{PriorityClass, RingError};

/// Nobody's.
const FREE: u64 = 0;
/// In use; see [`Role`] for the other bits.
const TAKEN: u64 = 1;
/// The holder is known to be dead; who has the lock now finishes its work.
const ADOPTED: u64 = 8;

/// One entry of the participant table.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Participant {
    /// [`FREE`], or [`TAKEN`] with the holder's role, and perhaps [`ADOPTED`].
    state: AtomicU64,
    /// For memory segments only: 1 while a handle holds the entry.
    lock: AtomicU64,
    pid: AtomicU64,
    start_time: AtomicU64,
    /// Inode of the holder's pid namespace: pids of different ones cannot be compared.
    namespace: AtomicU64,
    /// Nanoseconds since 1970.
    attached: AtomicU64,
    _identity: [AtomicU64; 2],
    name: [AtomicU64; 8],
    /// What a shared producer is about to claim: stored before the compare-and-swap on
    /// `producer_head`, so whoever won a position shows it until it commits.
    pub(crate) intent: CacheLineU64,
    /// What a consumer is about to claim, or has claimed and not released: the release frontier
    /// does not pass it.
    pub(crate) hold: CacheLineU64,
    lanes: [LaneLine; PriorityClass::COUNT],
    events: [AtomicU64; 8],
    _room: [[AtomicU64; 8]; 6],
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
}

impl Participant {
    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        fn words<const N: usize>() -> [AtomicU64; N] {
            core::array::from_fn(|_| AtomicU64::new(0))
        }
        Self {
            state: AtomicU64::new(FREE),
            lock: AtomicU64::new(0),
            pid: AtomicU64::new(0),
            start_time: AtomicU64::new(0),
            namespace: AtomicU64::new(0),
            attached: AtomicU64::new(0),
            _identity: words(),
            name: words(),
            intent: CacheLineU64::new(Span::NONE),
            hold: CacheLineU64::new(Span::NONE),
            lanes: core::array::from_fn(|_| LaneLine::new()),
            events: words(),
            _room: core::array::from_fn(|_| words()),
        }
    }

    /// Takes the lock word of a memory segment's entry; says whether it was free.
    pub(crate) fn try_lock_word(&self) -> bool {
        // Acquire on success: pairs with the release in `unlock_word`, so that the next holder
        // sees all that the last one did.
        self.lock.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Gives it back.
    pub(crate) fn unlock_word(&self) {
        // Release: pairs with the acquire in `try_lock_word`.
        self.lock.store(0, Ordering::Release);
    }

    /// Whether a memory segment's entry is held.
    pub(crate) fn is_word_locked(&self) -> bool {
        // Acquire: pairs with the release in `unlock_word`: whoever sees its holder gone sees all that
        // it did.
        self.lock.load(Ordering::Acquire) != 0
    }

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

    pub(crate) fn events(&self, event: Event) -> u64 {
        self.events[event as usize].load(Ordering::Relaxed)
    }

    /// The event counters in the order of [`Event`].
    pub(crate) fn all_events(&self) -> [u64; 4] {
        [Event::Abandoned, Event::Redelivered, Event::Discarded, Event::Skipped]
            .map(|event| self.events(event))
    }

    /// What the entry says its holder is; untrusted.
    pub(crate) fn role(&self) -> Option<Role> {
        // Pairs with the release in `vacate`: whoever sees a producer gone sees what it sent, for which
        // `is_deserted` looks next.
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
    fn introduce(&self, role: Role, identity: &Identity) {
        // Relaxed, all but the state: told to people, who may see a mixture for a moment.
        self.pid.store(u64::from(identity.pid), Ordering::Relaxed);
        self.start_time.store(identity.start_time, Ordering::Relaxed);
        self.namespace.store(identity.namespace, Ordering::Relaxed);
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

    fn is_free(&self) -> bool {
        self.state.load(Ordering::Relaxed) == FREE
    }

    /// Marks the entry nobody's. Its words must be clear; its lock is given back after this.
    pub(crate) fn vacate(&self) {
        // Release: whoever finds it free finds its words clear.
        self.state.store(FREE, Ordering::Release);
    }

    /// The process that the entry names.
    #[cfg(feature = "std")]
    pub(crate) fn process(&self) -> Process {
        // Relaxed, all: told to people, or asked for by whoever has the entry's claim, under which
        // alone they are written: it was taken after its last holder gave it back.
        Process {
            pid: self.pid.load(Ordering::Relaxed) as u32,
            start_time: self.start_time.load(Ordering::Relaxed),
            namespace: self.namespace.load(Ordering::Relaxed),
        }
    }

    /// What the entry tells about its holder.
    pub(crate) fn info(
        &self,
        index: usize,
        alive: bool,
        evidence: Evidence,
    ) -> Option<ParticipantInfo> {
        let role = self.role()?;
        let mut name = [0; 64];
        for (bytes, word) in name.as_chunks_mut::<8>().0.iter_mut().zip(&self.name) {
            *bytes = word.load(Ordering::Relaxed).to_le_bytes();
        }
        let span = |shown: Option<Span>| shown.map(|span| (span.first, span.count));
        Some(ParticipantInfo {
            index,
            pid: self.pid.load(Ordering::Relaxed) as u32,
            start_time: self.start_time.load(Ordering::Relaxed),
            pid_namespace: self.namespace.load(Ordering::Relaxed),
            attached: self.attached.load(Ordering::Relaxed),
            name: ParticipantName(name),
            side: role.side,
            sharing: role.sharing,
            alive: alive && !self.is_adopted(),
            evidence,
            intent: span(self.look_at_intent()),
            hold: span(self.look_at_hold()),
            lanes: self.lanes(),
            abandoned: self.events(Event::Abandoned),
            redelivered: self.events(Event::Redelivered),
            discarded: self.events(Event::Discarded),
            skipped: self.events(Event::Skipped),
        })
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
        TAKEN
            | match self.side {
                Side::Producer => 0,
                Side::Consumer => 2,
            }
            | match self.sharing {
                Sharing::Shared => 0,
                Sharing::Exclusive => 4,
            }
    }

    const fn from_word(word: u64) -> Option<Self> {
        if word & TAKEN == 0 {
            return None;
        }
        Some(Self {
            side: if word & 2 == 0 { Side::Producer } else { Side::Consumer },
            sharing: if word & 4 == 0 { Sharing::Shared } else { Sharing::Exclusive },
        })
    }
}

/// Whether a character is shown as itself and changes nothing around it: no control character, and
/// none of those that turn the direction of text or end its line (Unicode's bidirectional controls,
/// U+2028 and U+2029).
pub(crate) fn is_text(c: char) -> bool {
    !(c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
}

/// The name a program gives a handle: up to 64 bytes, told to people.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ParticipantName([u8; 64]);

impl ParticipantName {
    /// As much of `name` as fits into 64 bytes.
    pub fn new(name: &str) -> Self {
        let mut bytes = [0; 64];
        let mut end = name.len().min(64);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        bytes[..end].copy_from_slice(&name.as_bytes()[..end]);
        Self(bytes)
    }

    /// The name up to its first zero byte, control character, character that changes the direction of
    /// text, or byte that is not UTF-8. So whoever prints a name that a peer made up prints only text.
    pub fn as_str(&self) -> &str {
        let text = match core::str::from_utf8(&self.0) {
            Ok(name) => name,
            Err(error) => core::str::from_utf8(&self.0[..error.valid_up_to()]).unwrap_or(""),
        };
        text.split(|c| !is_text(c)).next().unwrap_or("")
    }
}

impl Default for ParticipantName {
    fn default() -> Self {
        Self([0; 64])
    }
}

impl fmt::Debug for ParticipantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// How it is known whether a participant lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Evidence {
    /// By its lock, which the kernel gives back when the participant is gone: certain.
    Lock,
    /// By its process: whether there is one with the pid and the start time in the entry. For an
    /// observer that may not see the locks. The entry is a peer's word, and the process may have
    /// given the handle up.
    Process,
    /// It is not: neither lock nor process can be seen from here. The participant counts as alive.
    Unknown,
}

/// What an entry of the participant table tells; all of it untrusted but `index`, and `alive` where
/// the [`evidence`](Self::evidence) is a lock.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ParticipantInfo {
    /// Place in the table.
    pub index: usize,
    /// Process id, as the participant itself sees it.
    pub pid: u32,
    /// When the process began, in clock ticks since boot (`/proc/PID/stat`, field 22).
    pub start_time: u64,
    /// Inode of its pid namespace.
    pub pid_namespace: u64,
    /// When the handle was taken, in nanoseconds since 1970.
    pub attached: u64,
    /// The name that the program gave it.
    pub name: ParticipantName,
    /// Its side.
    pub side: Side,
    /// How it holds its side.
    pub sharing: Sharing,
    /// Whether its holder lives, as far as can be known. That of an entry that somebody else has
    /// adopted does not.
    pub alive: bool,
    /// How that is known.
    pub evidence: Evidence,
    /// First position and count of what it has not committed as a producer: claimed, or about to
    /// be.
    pub intent: Option<(u64, u64)>,
    /// First position and count of what it holds as a consumer.
    pub hold: Option<(u64, u64)>,
    /// Counters of the entry: this holder's, and those who had the entry before.
    pub lanes: [LaneStats; PriorityClass::COUNT],
    /// Slots this entry's holders marked abandoned in dead producers' places.
    pub abandoned: u64,
    /// Messages of dead consumers they received again.
    pub redelivered: u64,
    /// Messages of dead consumers they dropped.
    pub discarded: u64,
    /// Abandoned slots they passed over.
    pub skipped: u64,
}

/// What a handle tells about itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Identity {
    pub(crate) pid: u32,
    pub(crate) start_time: u64,
    pub(crate) namespace: u64,
    pub(crate) attached: u64,
    pub(crate) name: ParticipantName,
}

impl Identity {
    /// This process, with the name its program chose or else its own.
    #[cfg(feature = "std")]
    pub(crate) fn of_this_process(name: ParticipantName) -> Self {
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let name = if name.as_str().is_empty() {
            ParticipantName::new(&std::env::args().next().map_or(
                std::string::String::new(),
                |path| {
                    std::path::Path::new(&path)
                        .file_name()
                        .map_or_else(std::string::String::new, |name| {
                            name.to_string_lossy().into_owned()
                        })
                },
            ))
        } else {
            name
        };
        let this = Process::this();
        Self {
            pid: this.pid,
            start_time: this.start_time,
            namespace: this.namespace,
            attached: since_1970.map_or(0, |time| time.as_nanos() as u64),
            name,
        }
    }

    /// Without an operating system only the name is known.
    #[cfg(not(feature = "std"))]
    pub(crate) fn of_this_process(name: ParticipantName) -> Self {
        Self { name, ..Self::default() }
    }
}

/// A place in the table that a handle holds: the only way to write an entry. Dropping it vacates
/// the entry and gives the locks back.
#[derive(Debug)]
pub(crate) struct Entry {
    segment: Segment,
    locker: Locker,
    index: usize,
    role: Role,
}

impl Entry {
    /// Finds a free entry for a new handle, after taking the side if it is exclusive. With it may
    /// come a dead consumer's messages, for the new consumer to deliver first.
    pub(crate) fn attach(
        segment: &Segment,
        role: Role,
        identity: &Identity,
    ) -> Result<(Self, Option<Adopted>), RingError> {
        let actual = segment.geometry().sharing(role.side);
        if actual != role.sharing {
            return Err(RingError::WrongSharing { side: role.side, actual });
        }
        let locker = segment.locker()?;
        crate::wait::join(segment);
        if role.sharing == Sharing::Exclusive
            && !locker.try_lock(segment, Place::Side(role.side))?
        {
            return Err(RingError::SideTaken {
                side: role.side,
                holder: segment.holder_of(role.side),
            });
        }
        let taken = match Self::take_entry(segment, &locker, role) {
            // Another newcomer may have looked into the entries of the dead just then (`tidy_up`).
            // It is done with them, or has freed them, in a moment.
            Ok(None) => Self::take_entry(segment, &locker, role),
            done => done,
        };
        let (index, adopted) = match taken {
            Ok(Some(entry)) => entry,
            other => {
                if role.sharing == Sharing::Exclusive {
                    locker.unlock(segment, Place::Side(role.side));
                }
                other?;
                return Err(RingError::TableFull { participants: segment.geometry().participants });
            }
        };
        segment.participant(index).introduce(role, identity);
        locker.give_claim_back(segment, index);
        // Release: whoever sees it counted finds its entry introduced and locked, or left again. One
        // that is killed before it is counted has not been here.
        segment.control().arrivals[role.side as usize].fetch_add(1, Ordering::Release);
        Ok((Self { segment: segment.clone(), locker, index, role }, adopted))
    }

    /// Locks an entry that is free, or else one whose dead holder left nothing to finish that
    /// this side cannot finish itself.
    fn take_entry(
        segment: &Segment,
        locker: &Locker,
        role: Role,
    ) -> Result<Option<(usize, Option<Adopted>)>, RingError> {
        let count = segment.geometry().participants;
        for index in 0..count {
            let participant = segment.participant(index);
            if !participant.is_free() || !locker.try_lock(segment, Place::Entry(index))? {
                continue;
            }
            if participant.is_free() {
                // Before anything is shown in the entry, scans must reach it.
                segment.note_entry_used(index);
                return Ok(Some((index, None)));
            }
            locker.unlock(segment, Place::Entry(index));
        }
        for index in 0..count {
            if locker.try_lock(segment, Place::Entry(index))? {
                let (free, adopted) =
                    crate::recover::finish_for_newcomer(segment, locker, index, role.side);
                if free {
                    // Its last holder may have died before it did this.
                    segment.note_entry_used(index);
                    return Ok(Some((index, adopted)));
                }
                locker.unlock(segment, Place::Entry(index));
            }
        }
        Ok(None)
    }

    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }

    pub(crate) fn locker(&self) -> &Locker {
        &self.locker
    }

    #[inline(always)]
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    #[inline(always)]
    pub(crate) fn participant(&self) -> &Participant {
        self.segment.participant(self.index)
    }
}

#[cfg(loom)]
impl Entry {
    /// Gives the locks back as the kernel does when a process dies, and nothing else: what the
    /// entry shows stays. The entry must not be used or dropped afterwards.
    pub(crate) fn die(&mut self) {
        self.locker.unlock(&self.segment, Place::Entry(self.index));
        if self.role.sharing == Sharing::Exclusive {
            self.locker.unlock(&self.segment, Place::Side(self.role.side));
        }
        // SAFETY: nobody uses it again, as the caller promises. It gives back its share of the
        // memory, which every one of the thousands of runs of a model would leak else.
        unsafe { core::ptr::drop_in_place(&raw mut self.segment) };
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let participant = self.participant();
        // Only a consumer whose entry shows a dead predecessor's hold leaves with work unfinished
        // (`Consumer::drop`); its entry then stays taken, and the next one finds it as dead.
        if participant.shown_hold().is_none() && participant.shown_intent().is_none() {
            participant.vacate();
        }
        self.locker.unlock(&self.segment, Place::Entry(self.index));
        if self.role.sharing == Sharing::Exclusive {
            self.locker.unlock(&self.segment, Place::Side(self.role.side));
        }
        // Those who wait for this side may want to know that one less is here.
        crate::wait::ring_all(&self.segment, self.role.side.other());
    }
}

#[cfg(all(test, feature = "alloc", not(loom)))]
mod tests {
    use super::*;
    use crate::UltraFastRing;

    #[test]
    fn an_entry_that_is_got_at_second_sight_is_one_that_scans_reach() {
        let ring = UltraFastRing::builder().participants(1).heap().unwrap();
        let segment = ring.segment();
        let role = Role { side: Side::Consumer, sharing: Sharing::Shared };
        // As if another newcomer had it at the first look and died before the second.
        let locker = segment.locker().unwrap();
        segment.participant(0).introduce(role, &Identity::default());
        assert_eq!(segment.entries_used(), 0);
        let entry = Entry::take_entry(segment, &locker, role).unwrap();
        assert!(matches!(entry, Some((0, None))));
        assert_eq!(segment.entries_used(), 1);
    }

    #[cfg(feature = "std")]
    #[test]
    fn a_dead_ones_entry_in_the_hands_of_its_recoverer_is_nobody_who_has_been_here() {
        let ring = UltraFastRing::new(4);
        ring.send_fast(b"one", PriorityClass::Normal).unwrap();
        let mut producer = ring.producer().unwrap();
        let mut dead = ring.consumer().unwrap();
        core::mem::forget(dead.borrow().unwrap());
        let place = Place::Entry(dead.entry.index());
        dead.entry.locker().unlock(ring.segment(), place);
        core::mem::forget(dead);
        producer.end_when_deserted(true);
        let recoverer = ring.segment().locker().unwrap();
        for _ in 0..2 {
            assert!(recoverer.try_lock(ring.segment(), place).unwrap());
            let deserted = producer.waiting.is_deserted(&producer.entry, Side::Consumer);
            assert!(!deserted, "no consumer has been here since that was asked for");
            recoverer.unlock(ring.segment(), place);
            let deserted = producer.waiting.is_deserted(&producer.entry, Side::Consumer);
            assert!(!deserted, "no consumer has been here since that was asked for");
        }
        drop(ring.consumer().unwrap());
        assert!(producer.waiting.is_deserted(&producer.entry, Side::Consumer));
    }
}
