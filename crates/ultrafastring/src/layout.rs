//! What lies where in a segment, and what each shared word means.
//!
//! ```text
//!  offset  0 ┌────────────────────────────────────────────────────────────────┐
//!            │ header, written once before the ring has a name (64-bit words) │
//!       4096 ├────────────────────────────────────────────────────────────────┤
//!            │ producer_head   · own line, 128 bytes apart                    │
//!            │ producer_tail   ·                                              │
//!            │ consumer_head   ·                                              │
//!            │ consumer_tail   ·                                              │
//!       4608 ├────────────────────────────────────────────────────────────────┤
//!            │ control: entries used, side locks of memory segments, arrivals │
//!            │          of each side, streams; bells                          │
//!       8192 ├────────────────────────────────────────────────────────────────┤
//!            │ participant table: entries of 1024 bytes (participant.rs)      │
//!            ├──────────────────────────────────────────── page boundary ─────┤
//!            │ slots: `capacity` lines of 64 bytes (slot.rs)                  │
//!            ├──────────────────────────────────────────── page boundary ─────┤
//!            │ side buffers, if the ring has any: one a slot (side.rs)        │
//!            └────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Offsets follow from the header's numbers by `Geometry::offsets` and from nothing else; a
//! header whose own offsets differ is not a ring. After the header has been read and checked once,
//! nobody looks at it again: what a handle needs, it keeps in its own `Geometry`.
//!
//! All words are in the machine's own byte order, since a ring does not leave its machine. A file of
//! the other order does not begin as a ring does, and is refused.
//!
//! Beside a segment in a file there is a second one, its *lock file*. Its first words say which
//! segment it belongs to; its bytes, most of which do not exist, are what participants lock:
//!
//! ```text
//!  word  0  LOCK_MAGIC          byte  0          the ring is open (shared)
//!        1  layout version            1          the ring is being removed
//!        2  identity                  2, 3       the producer side, the consumer side
//!        3  zero                      4096 + 2n  entry n of the participant table: its claim,
//!                                                and behind it the life of its holder
//! ```

use crate::error::Invalid;
use crate::sync::{AtomicU32, AtomicU64, Ordering, look_at};
use crate::{INLINE_SIZE, PriorityClass};

/// First word of every ring, a number: on a little-endian machine its bytes are `UFRring` and a zero.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"UFRring\0");

/// First word of every lock file.
#[cfg(feature = "std")]
pub(crate) const LOCK_MAGIC: u64 = u64::from_le_bytes(*b"UFRlock\0");

/// Version of this layout; a segment with another one is refused.
pub const LAYOUT_VERSION: u32 = 2;

/// Largest capacity: 2^24 slots, one gibibyte.
pub const MAX_CAPACITY: usize = 1 << 24;

/// Most entries that a participant table may have.
pub const MAX_PARTICIPANTS: usize = 4_096;

/// Largest message that a ring can be made for, in bytes: one gibibyte.
pub const MAX_MESSAGE: usize = 1 << 30;

/// Largest segment in bytes: half of what a process can address where addresses have 47 bits.
pub const MAX_SEGMENT: u64 = if usize::BITS >= 64 { 1 << 46 } else { 1 << 30 };

/// Positions beyond this one are not believed: no ring lives so long, and what is added to a
/// believed position cannot overflow.
pub(crate) const MAX_POSITION: u64 = 1 << 57;

/// Positions in one hold or intent: see [`Span`].
pub(crate) const MAX_SPAN: u64 = 64;

pub(crate) const PAGE: usize = 4_096;
pub(crate) const COUNTERS_OFFSET: usize = PAGE;
pub(crate) const CONTROL_OFFSET: usize = COUNTERS_OFFSET + size_of::<Counters>();
pub(crate) const PARTICIPANTS_OFFSET: usize = 2 * PAGE;
pub(crate) const PARTICIPANT_SIZE: usize = 1_024;
pub(crate) const SLOT_SIZE: usize = 64;

#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<CacheLineU64>() == 64 && align_of::<CacheLineU64>() == 64);
    assert!(size_of::<Counters>() == 512);
    assert!(core::mem::offset_of!(Counters, producer_tail) == 128);
    assert!(core::mem::offset_of!(Counters, consumer_head) == 256);
    assert!(core::mem::offset_of!(Counters, consumer_tail) == 384);
    assert!(CONTROL_OFFSET == 4_608);
    assert!(core::mem::offset_of!(Control, bells) == 128 && size_of::<Bell>() == 128);
    assert!(CONTROL_OFFSET + size_of::<Control>() <= PARTICIPANTS_OFFSET);
    assert!(size_of::<crate::participant::Participant>() == PARTICIPANT_SIZE);
    assert!(size_of::<crate::TimestampedSlot>() == SLOT_SIZE);
};

/// A counter alone on its cache line, so that writing it does not take a neighbour's line away
/// from another core (false sharing).
///
/// ```
/// use ultrafastring::CacheLineU64;
/// use std::sync::atomic::Ordering;
///
/// let counter = CacheLineU64::new(41);
/// counter.fetch_add(1, Ordering::Relaxed);
/// assert_eq!(counter.load(Ordering::Relaxed), 42);
/// assert_eq!((size_of::<CacheLineU64>(), align_of::<CacheLineU64>()), (64, 64));
/// ```
#[derive(Debug)]
#[repr(C, align(64))]
pub struct CacheLineU64 {
    value: AtomicU64,
    _pad: [u8; 56],
}

impl CacheLineU64 {
    /// A line that holds `value`.
    pub fn new(value: u64) -> Self {
        Self { value: AtomicU64::new(value), _pad: [0; 56] }
    }
}

impl Default for CacheLineU64 {
    fn default() -> Self {
        Self::new(0)
    }
}

impl core::ops::Deref for CacheLineU64 {
    type Target = AtomicU64;

    #[inline(always)]
    fn deref(&self) -> &AtomicU64 {
        &self.value
    }
}

/// The four counters of the ring.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub(crate) struct Counters {
    /// The next position that producers claim. On a shared side it moves by compare-and-swap, and
    /// [`CLOSED`] in it makes every one of them fail; on an exclusive one it is stored with the
    /// announcements, for observers.
    pub(crate) producer_head: CacheLineU64,
    _gap_0: Line,
    /// Commit frontier as last announced by a producer: all below was committed or abandoned.
    /// For observers; correctness never depends on it.
    pub(crate) producer_tail: CacheLineU64,
    _gap_1: Line,
    /// The next position that consumers claim. On a shared side it moves by compare-and-swap; on
    /// an exclusive one it is stored as each message is released, so that a successor knows where
    /// to go on.
    pub(crate) consumer_head: CacheLineU64,
    _gap_2: Line,
    /// Release frontier as last announced: every slot below is free for the next lap. This is
    /// the credit that producers spend. It never goes back.
    pub(crate) consumer_tail: CacheLineU64,
    _gap_3: Line,
}

/// The highest bit of `producer_head`, set while the ring of a shared producer side is closed: no
/// compare-and-swap of a producer succeeds, so nothing is claimed after it.
pub(crate) const CLOSED: u64 = 1 << 63;

impl Counters {
    /// The next position that producers claim, whether or not the ring is closed.
    #[inline]
    pub(crate) fn producers_claimed(&self, order: Ordering) -> u64 {
        self.producer_head.load(order) & !CLOSED
    }

    /// The same, for whoever only looks.
    pub(crate) fn look_at_claimed(&self) -> u64 {
        look_at(&self.producer_head) & !CLOSED
    }
}

/// A line of nothing after each counter, since some processors fetch lines in pairs (Intel's
/// spatial prefetcher: Optimization Reference Manual, "Data Prefetching").
#[derive(Debug)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl Default for Line {
    fn default() -> Self {
        Self([0; 64])
    }
}

/// Words that change seldom.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub(crate) struct Control {
    /// Entries of the participant table below this number have been used: scans stop here. It
    /// only grows.
    pub(crate) entries_used: AtomicU64,
    /// For memory segments only, whose participants cannot die alone: 1 while an exclusive
    /// handle of that side lives. In a file it stays 0: there the kernel's lock on a byte of the
    /// lock file says it.
    pub(crate) side_locks: [AtomicU64; 2],
    /// How many handles of each side have ever been taken, by [`Side`]: one that came and left
    /// between two looks of somebody who waits for its side has been all the same.
    pub(crate) arrivals: [AtomicU64; 2],
    /// How often the ring was opened again after it was closed: the number of its stream.
    pub(crate) streams: AtomicU64,
    _reserved: [AtomicU64; 2],
    _gap: Line,
    /// What wakes those of each side who sleep, by [`Side`].
    pub(crate) bells: [Bell; 2],
}

/// What wakes the sleepers of one side; see [`wait`](crate::wait) for the protocol. On lines of its
/// own, which nobody writes while nobody sleeps: the busy side looks at `state` after each message
/// (producers) or grant (consumers).
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub(crate) struct Bell {
    /// The bits below.
    pub(crate) state: AtomicU32,
    /// How often it was rung: the word on which sleepers wait in the kernel.
    pub(crate) rings: AtomicU32,
    _room: [u64; 15],
    /// Stands in the model for what the kernel keeps.
    #[cfg(loom)]
    pub(crate) queue: crate::wait::kernel::Queue,
}

impl Bell {
    /// Somebody of this side sleeps, or is about to.
    pub(crate) const ASLEEP: u32 = 1;
    /// In the consumers' bell, for an exclusive producer: the ring is closed.
    pub(crate) const CLOSED: u32 = 2;
    /// Somebody who takes part cannot use `membarrier`: the busy side fences before it looks.
    pub(crate) const FENCES: u32 = 4;
}

/// A few consecutive positions in one word, as a participant shows them in its entry: what it is
/// about to claim, or has not released yet.
///
/// ```text
///  63                                  6 5        0
///  ┌────────────────────────────────────┬──────────┐
///  │ first position + 1                 │ count-1  │   all zeros: nothing
///  └────────────────────────────────────┴──────────┘
/// ```
///
/// 58 bits of position last for nine years at a thousand million messages a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: u64,
    pub(crate) count: u64,
}

impl Span {
    /// The word that shows nothing.
    pub(crate) const NONE: u64 = 0;

    #[inline(always)]
    pub(crate) const fn new(first: u64, count: u64) -> Self {
        Self { first, count }
    }

    /// The word that shows this span; `count` is 1 to 64.
    #[inline(always)]
    pub(crate) const fn encode(self) -> u64 {
        (self.first + 1) << 6 | (self.count - 1)
    }

    /// What a word shows. Any word is some span or none; what it is good for, the reader checks.
    #[inline(always)]
    pub(crate) const fn decode(word: u64) -> Option<Self> {
        match (word >> 6).checked_sub(1) {
            Some(first) => Some(Self::new(first, (word & 63) + 1)),
            None => None,
        }
    }

    /// The first position after it.
    pub(crate) const fn end(self) -> u64 {
        self.first + self.count
    }

    pub(crate) const fn overlaps(self, other: Self) -> bool {
        self.first < other.end() && other.first < self.end()
    }

    pub(crate) const fn contains(self, position: u64) -> bool {
        position >= self.first && position - self.first < self.count
    }
}

/// One of a ring's two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Those who send.
    Producer,
    /// Those who receive.
    Consumer,
}

impl Side {
    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::Producer => Self::Consumer,
            Self::Consumer => Self::Producer,
        }
    }

    /// `producer` or `consumer`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }
}

/// How many handles a side of a ring may have at a time; fixed when the ring is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Sharing {
    /// Any number, up to the size of the participant table.
    #[default]
    Shared,
    /// One. The fast path of that side then needs no compare-and-swap.
    Exclusive,
}

impl Sharing {
    /// `shared` or `exclusive`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Exclusive => "exclusive",
        }
    }
}

/// Which messages carry a timestamp; fixed when the ring is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Timestamps {
    /// All.
    #[default]
    Every,
    /// One in so many positions, a power of two from 2 to 65,536. A batch carries one for all its
    /// messages.
    OneIn(u32),
    /// None: latencies are 0.
    Off,
}

impl Timestamps {
    const fn to_word(self) -> u64 {
        match self {
            Self::Off => 0,
            Self::Every => 1,
            Self::OneIn(n) => n as u64,
        }
    }

    const fn from_word(word: u64) -> Option<Self> {
        match word {
            0 => Some(Self::Off),
            1 => Some(Self::Every),
            n if n.is_power_of_two() && n <= 65_536 => Some(Self::OneIn(n as u32)),
            _ => None,
        }
    }
}

/// What becomes of a message that a consumer had claimed and not released when it died; fixed
/// when the ring is made. One that it was about to claim when it died, and that another consumer
/// claimed, cannot be told from that on a shared side ([`Consumer::borrow`](crate::Consumer::borrow)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Redelivery {
    /// Another consumer gets it, marked as redelivered.
    ///
    /// On a shared consumer side that may be after messages that were sent later: those who receive
    /// already go on, and come to it when they find nothing else or look behind. A handle that is
    /// taken afterwards begins with it. On an exclusive side the order stays.
    #[default]
    Redeliver,
    /// It is dropped and counted as discarded. (What another consumer has is not taken from it, though
    /// it may be counted.)
    Discard,
}

/// When the memory of the side buffers is taken; chosen by who makes the ring.
///
/// Whatever is chosen, no access to a side buffer ends in SIGBUS because memory has run out: a page
/// is asked for by a call that can fail, before it is first touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum SideMemory {
    /// Page by page, as messages need it. A ring that could not have all of it at the moment when
    /// it is made is refused. If others take that memory later, a send fails with
    /// [`SendError::NoSpace`](crate::SendError::NoSpace).
    #[default]
    OnDemand,
    /// All of it when the ring is made.
    Preallocated,
    /// As on demand, without looking whether there is enough: for large buffers of which most
    /// messages need little.
    Overcommitted,
}

impl SideMemory {
    /// Whether nothing is left to take once the ring is made.
    #[cfg(feature = "std")]
    pub(crate) const fn is_taken_at_once(self) -> bool {
        matches!(self, Self::Preallocated)
    }
}

/// Everything a ring's header says, checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Geometry {
    pub(crate) capacity: usize,
    pub(crate) participants: usize,
    /// Bytes that each side buffer holds; 0 if there are none.
    pub(crate) side_size: usize,
    pub(crate) producer_sharing: Sharing,
    pub(crate) consumer_sharing: Sharing,
    pub(crate) timestamps: Timestamps,
    pub(crate) redelivery: Redelivery,
    pub(crate) credit_limit: u64,
    pub(crate) reserves: [u64; PriorityClass::COUNT],
    /// Ticks a second as the creator measured them; 0 if it did not.
    pub(crate) ticks_per_second: f64,
    pub(crate) clock_stable: bool,
    pub(crate) creator_pid: u32,
    /// Nanoseconds since 1970.
    pub(crate) created: u64,
    /// A random number that a segment and its lock file share; 0 in memory.
    pub(crate) identity: u64,
}

/// Where the parts of a segment begin, and where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offsets {
    pub(crate) participants: usize,
    pub(crate) slots: usize,
    /// The side buffers.
    pub(crate) sides: usize,
    /// From one side buffer to the next.
    pub(crate) side_stride: usize,
    pub(crate) end: usize,
}

/// Number of header words in use.
pub(crate) const HEADER_WORDS: usize = 32;

// Places of the header's words.
const W_MAGIC: usize = 0;
const W_VERSION: usize = 1;
const W_SIZE: usize = 2;
const W_CAPACITY: usize = 3;
const W_PARTICIPANTS: usize = 4;
const W_SIDES: usize = 5;
const W_TIMESTAMPS: usize = 6;
const W_REDELIVERY: usize = 7;
const W_CREDIT_LIMIT: usize = 8;
const W_RESERVES: usize = 9; // five words
const W_TICKS_PER_SECOND: usize = 14;
const W_CLOCK_STABLE: usize = 15;
const W_CREATOR_PID: usize = 16;
const W_CREATED: usize = 17;
const W_OFFSET_COUNTERS: usize = 18;
const W_OFFSET_CONTROL: usize = 19;
const W_OFFSET_PARTICIPANTS: usize = 20;
const W_PARTICIPANT_SIZE: usize = 21;
const W_OFFSET_SLOTS: usize = 22;
const W_SLOT_SIZE: usize = 23;
/// Bits for what a later version may add; a reader that does not know a bit refuses the ring.
const W_FEATURES: usize = 24;
const W_IDENTITY: usize = 25;
/// Bytes that each side buffer holds; 0 if there are none.
const W_SIDE_SIZE: usize = 28;
/// Where the first begins, and from one to the next.
const W_OFFSET_SIDES: usize = 29;
const W_SIDE_STRIDE: usize = 30;
/// Words that must be zero.
const UNUSED: [usize; 3] = [26, 27, 31];

/// The byte of the lock file that is locked for a place.
#[cfg(feature = "std")]
pub(crate) mod lock_bytes {
    use super::Side;

    /// All share it who have the ring open.
    pub(crate) const OPENING: u64 = 0;
    /// Who is about to remove the ring.
    pub(crate) const REMOVING: u64 = 1;

    /// Who holds an exclusive side.
    pub(crate) const fn side(side: Side) -> u64 {
        match side {
            Side::Producer => 2,
            Side::Consumer => 3,
        }
    }

    /// Who is taking an entry of the participant table, or at work in a dead holder's. The byte
    /// behind it is locked as long as the files of the entry's holder are open.
    pub(crate) const fn claim(index: usize) -> u64 {
        4_096 + 2 * index as u64
    }
}

/// The words of the lock file of a segment with this identity.
#[cfg(feature = "std")]
pub(crate) const fn lock_words(identity: u64) -> [u64; 4] {
    [LOCK_MAGIC, LAYOUT_VERSION as u64, identity, 0]
}

/// The identity that a header's words say; `None` if they are of no ring, or of one of a version
/// that has none.
#[cfg(feature = "std")]
pub(crate) fn identity_of(words: &[u64; HEADER_WORDS]) -> Option<u64> {
    let current = words[W_MAGIC] == MAGIC && words[W_VERSION] == u64::from(LAYOUT_VERSION);
    current.then_some(words[W_IDENTITY])
}

impl Geometry {
    /// Checks the numbers that a user may choose.
    pub(crate) fn validate(&self) -> Result<(), Invalid> {
        if !self.capacity.is_power_of_two() || self.capacity > MAX_CAPACITY {
            return Err(Invalid::Capacity(self.capacity));
        }
        if self.participants == 0 || self.participants > MAX_PARTICIPANTS {
            return Err(Invalid::Participants(self.participants));
        }
        if self.credit_limit == 0 || self.credit_limit > self.capacity as u64 {
            return Err(Invalid::CreditLimit { limit: self.credit_limit, capacity: self.capacity });
        }
        let reserved = self.reserves.iter().fold(0u64, |sum, &r| sum.saturating_add(r));
        if reserved >= self.credit_limit {
            return Err(Invalid::Reserves { reserved, limit: self.credit_limit });
        }
        if self.side_size != 0 && !(INLINE_SIZE + 1..=MAX_MESSAGE).contains(&self.side_size) {
            return Err(Invalid::MaxMessage(self.side_size));
        }
        // Saturated if it overflows, and then too large for certain.
        let bytes = self.offsets().end as u64;
        if bytes > MAX_SEGMENT {
            return Err(Invalid::SegmentSize { bytes });
        }
        match self.timestamps {
            Timestamps::OneIn(n) if !(n.is_power_of_two() && (2..=65_536).contains(&n)) => {
                Err(Invalid::Timestamps(n))
            }
            _ => Ok(()),
        }
    }

    /// Saturating: of numbers that have not been validated, the end may be `usize::MAX`.
    pub(crate) const fn offsets(&self) -> Offsets {
        let slots = next_page(
            PARTICIPANTS_OFFSET.saturating_add(self.participants.saturating_mul(PARTICIPANT_SIZE)),
        );
        let sides = next_page(slots.saturating_add(self.capacity.saturating_mul(SLOT_SIZE)));
        // Whole lines, so that no two buffers share one; from a page on whole pages, so that what
        // one message does not touch is not taken for its neighbour's sake.
        let side_stride = if self.side_size >= PAGE {
            next_page(self.side_size)
        } else {
            self.side_size.next_multiple_of(SLOT_SIZE)
        };
        let end = next_page(sides.saturating_add(self.capacity.saturating_mul(side_stride)));
        Offsets { participants: PARTICIPANTS_OFFSET, slots, sides, side_stride, end }
    }

    /// Bytes of the largest message.
    #[inline(always)]
    pub(crate) const fn max_message(&self) -> usize {
        if self.side_size == 0 { INLINE_SIZE } else { self.side_size }
    }

    /// The header's words.
    pub(crate) fn encode(&self) -> [u64; HEADER_WORDS] {
        let offsets = self.offsets();
        let mut words = [0; HEADER_WORDS];
        words[W_MAGIC] = MAGIC;
        words[W_VERSION] = u64::from(LAYOUT_VERSION);
        words[W_SIZE] = offsets.end as u64;
        words[W_CAPACITY] = self.capacity as u64;
        words[W_PARTICIPANTS] = self.participants as u64;
        words[W_SIDES] = u64::from(self.producer_sharing == Sharing::Exclusive)
            | u64::from(self.consumer_sharing == Sharing::Exclusive) << 1;
        words[W_TIMESTAMPS] = self.timestamps.to_word();
        words[W_REDELIVERY] = u64::from(self.redelivery == Redelivery::Discard);
        words[W_CREDIT_LIMIT] = self.credit_limit;
        words[W_RESERVES..W_RESERVES + 5].copy_from_slice(&self.reserves);
        words[W_TICKS_PER_SECOND] = self.ticks_per_second.to_bits();
        words[W_CLOCK_STABLE] = u64::from(self.clock_stable);
        words[W_CREATOR_PID] = u64::from(self.creator_pid);
        words[W_CREATED] = self.created;
        words[W_OFFSET_COUNTERS] = COUNTERS_OFFSET as u64;
        words[W_OFFSET_CONTROL] = CONTROL_OFFSET as u64;
        words[W_OFFSET_PARTICIPANTS] = offsets.participants as u64;
        words[W_PARTICIPANT_SIZE] = PARTICIPANT_SIZE as u64;
        words[W_OFFSET_SLOTS] = offsets.slots as u64;
        words[W_SLOT_SIZE] = SLOT_SIZE as u64;
        words[W_IDENTITY] = self.identity;
        words[W_SIDE_SIZE] = self.side_size as u64;
        words[W_OFFSET_SIDES] = offsets.sides as u64;
        words[W_SIDE_STRIDE] = offsets.side_stride as u64;
        words
    }

    /// Reads a header of a segment of `size` bytes and believes nothing of it.
    #[cfg_attr(not(feature = "std"), allow(dead_code))]
    pub(crate) fn decode(words: &[u64; HEADER_WORDS], size: u64) -> Result<Self, BadHeader> {
        if words[W_MAGIC] != MAGIC {
            return Err(BadHeader::NotARing("it does not begin as a ring does"));
        }
        if words[W_VERSION] != u64::from(LAYOUT_VERSION) {
            return Err(BadHeader::Version(u32::try_from(words[W_VERSION]).unwrap_or(u32::MAX)));
        }
        if words[W_FEATURES] != 0 || UNUSED.iter().any(|&place| words[place] != 0) {
            return Err(BadHeader::NotARing("its header asks for features unknown here"));
        }
        let number = |place: usize| usize::try_from(words[place]).unwrap_or(usize::MAX);
        let sharing = |bit: u64| {
            if words[W_SIDES] >> bit & 1 == 1 { Sharing::Exclusive } else { Sharing::Shared }
        };
        if words[W_SIDES] > 3 || words[W_REDELIVERY] > 1 || words[W_CLOCK_STABLE] > 1 {
            return Err(BadHeader::NotARing("its header has a flag out of range"));
        }
        let ticks_per_second = f64::from_bits(words[W_TICKS_PER_SECOND]);
        if !(0.0..1e12).contains(&ticks_per_second) {
            return Err(BadHeader::NotARing("its clock has an impossible rate"));
        }
        let geometry = Self {
            capacity: number(W_CAPACITY),
            participants: number(W_PARTICIPANTS),
            side_size: number(W_SIDE_SIZE),
            producer_sharing: sharing(0),
            consumer_sharing: sharing(1),
            timestamps: Timestamps::from_word(words[W_TIMESTAMPS])
                .ok_or(BadHeader::NotARing("its timestamps are taken one in a wrong number"))?,
            redelivery: if words[W_REDELIVERY] == 1 {
                Redelivery::Discard
            } else {
                Redelivery::Redeliver
            },
            credit_limit: words[W_CREDIT_LIMIT],
            reserves: core::array::from_fn(|i| words[W_RESERVES + i]),
            ticks_per_second,
            clock_stable: words[W_CLOCK_STABLE] == 1,
            creator_pid: words[W_CREATOR_PID] as u32,
            created: words[W_CREATED],
            identity: words[W_IDENTITY],
        };
        geometry.validate().map_err(|_| {
            BadHeader::NotARing("its capacity, credit, table or side buffers are out of range")
        })?;
        // Only now: `offsets` of numbers out of range could overflow.
        if geometry.encode()[W_OFFSET_COUNTERS..HEADER_WORDS] != words[W_OFFSET_COUNTERS..] {
            return Err(BadHeader::NotARing("its parts lie elsewhere than its sizes say"));
        }
        let end = geometry.offsets().end as u64;
        if words[W_SIZE] != end || size < end {
            return Err(BadHeader::NotARing("it is shorter than its header says"));
        }
        if size > end {
            return Err(BadHeader::NotARing("it is longer than its header says"));
        }
        Ok(geometry)
    }

    pub(crate) const fn sharing(&self, side: Side) -> Sharing {
        match side {
            Side::Producer => self.producer_sharing,
            Side::Consumer => self.consumer_sharing,
        }
    }
}

/// The first page boundary at `bytes` or after it; saturating.
const fn next_page(bytes: usize) -> usize {
    match bytes.checked_next_multiple_of(PAGE) {
        Some(boundary) => boundary,
        None => usize::MAX,
    }
}

/// Why a header was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    /// It is no ring, and why.
    NotARing(&'static str),
    /// It is a ring of this layout version.
    Version(u32),
}

impl Control {
    /// What wakes the sleepers of `side`.
    #[inline(always)]
    pub(crate) fn bell(&self, side: Side) -> &Bell {
        &self.bells[side as usize]
    }

    /// Takes the lock word of a memory segment's side; says whether it was free.
    pub(crate) fn try_lock_side(&self, side: Side) -> bool {
        // Acquire on success: pairs with the release in `unlock_side`, so that a new exclusive
        // handle sees all that its predecessor did.
        self.side_locks[side as usize]
            .compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// Gives it back.
    pub(crate) fn unlock_side(&self, side: Side) {
        // Release: pairs with the acquire in `try_lock_side`.
        self.side_locks[side as usize].store(0, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn geometry() -> Geometry {
        Geometry {
            capacity: 256,
            participants: 64,
            side_size: 5_000,
            producer_sharing: Sharing::Exclusive,
            consumer_sharing: Sharing::Shared,
            timestamps: Timestamps::OneIn(16),
            redelivery: Redelivery::Discard,
            credit_limit: 200,
            reserves: [10, 5, 0, 0, 0],
            ticks_per_second: 2.6e9,
            clock_stable: true,
            creator_pid: 4321,
            created: 1_790_000_000_000_000_000,
            identity: 0x0123_4567_89ab_cdef,
        }
    }

    #[test]
    fn a_header_says_again_what_was_written_into_it() {
        let geometry = geometry();
        let size = geometry.offsets().end as u64;
        assert_eq!(Geometry::decode(&geometry.encode(), size), Ok(geometry));
    }

    #[test]
    fn a_segment_of_another_size_or_version_is_refused() {
        let geometry = geometry();
        let size = geometry.offsets().end as u64;
        let words = geometry.encode();
        assert!(matches!(Geometry::decode(&words, size - 1), Err(BadHeader::NotARing(_))));
        assert!(matches!(Geometry::decode(&words, size + 1), Err(BadHeader::NotARing(_))));
        let mut future = words;
        future[W_VERSION] += 1;
        let version = LAYOUT_VERSION + 1;
        assert_eq!(Geometry::decode(&future, size), Err(BadHeader::Version(version)));
        let mut feature = words;
        feature[W_FEATURES] = 1;
        assert!(matches!(Geometry::decode(&feature, size), Err(BadHeader::NotARing(_))));
        assert!(matches!(Geometry::decode(&[0; HEADER_WORDS], size), Err(BadHeader::NotARing(_))));
    }

    #[test]
    fn side_buffers_lie_behind_the_slots_each_on_lines_or_pages_of_its_own() {
        let of = |side_size| Geometry { side_size, ..geometry() }.offsets();
        let slots_end = of(0).slots + 256 * SLOT_SIZE;
        assert_eq!((of(0).side_stride, of(0).end), (0, slots_end));
        assert_eq!((of(41).sides, of(41).side_stride), (slots_end, 64));
        assert_eq!((of(4_000).side_stride, of(4_097).side_stride), (4_032, 8_192));
        assert_eq!(of(5_000).end, slots_end + 256 * 8_192);
    }

    #[test]
    fn side_buffers_of_no_use_or_of_more_than_can_be_addressed_are_refused() {
        let with = |side_size, capacity| Geometry { side_size, capacity, ..geometry() }.validate();
        assert_eq!(with(0, 256), Ok(()));
        assert_eq!(with(41, 256), Ok(()));
        assert_eq!(with(40, 256), Err(Invalid::MaxMessage(40)));
        assert_eq!(with(MAX_MESSAGE + 1, 256), Err(Invalid::MaxMessage(MAX_MESSAGE + 1)));
        assert_eq!(with(usize::MAX, 256), Err(Invalid::MaxMessage(usize::MAX)));
        assert!(matches!(with(MAX_MESSAGE, MAX_CAPACITY), Err(Invalid::SegmentSize { .. })));
        assert_eq!(Geometry { side_size: usize::MAX - 5, ..geometry() }.offsets().end, usize::MAX);
    }

    #[test]
    fn a_span_survives_its_word() {
        for span in [Span::new(0, 1), Span::new(77, 64), Span::new((1 << 58) - 2, 5)] {
            assert_eq!(Span::decode(span.encode()), Some(span));
            assert!(span.contains(span.first) && !span.contains(span.first + span.count));
        }
        assert_eq!(Span::decode(Span::NONE), None);
    }

    #[cfg(not(miri))]
    mod properties {
        use super::*;
        use proptest::prelude::*;

        proptest! {
            #[test]
            fn a_header_changed_in_one_word_is_refused_or_still_describes_its_file(
                place in 0usize..HEADER_WORDS, value: u64, bit in 0u32..64, flip: bool,
            ) {
                let geometry = geometry();
                let size = geometry.offsets().end as u64;
                let mut words = geometry.encode();
                words[place] = if flip { words[place] ^ 1 << bit } else { value };
                if let Ok(read) = Geometry::decode(&words, size) {
                    prop_assert!(read.validate().is_ok());
                    prop_assert_eq!(read.offsets().end as u64, size);
                }
            }

            #[test]
            fn noise_is_never_a_ring(words in prop::collection::vec(any::<u64>(), HEADER_WORDS), size: u64) {
                let words: [u64; HEADER_WORDS] = words.try_into().unwrap();
                prop_assert!(Geometry::decode(&words, size).is_err());
            }
        }
    }
}
