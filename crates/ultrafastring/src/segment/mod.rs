//! Where the memory of a ring comes from.
//!
//! A [`Segment`] is a handle on that memory, cheap to clone; it owns a share of it and gives out
//! references to the shared words, all of them atomics. What lies behind it is the heap, memory
//! that the caller lends for ever, a named file, or a sealed one without a name. The rest of the
//! crate does not know which.
//!
//! All unsafe code that turns bytes into shared words is in this folder; it relies on what
//! [`layout`](crate::layout) asserts about sizes and offsets.

use core::ptr::NonNull;

use crate::TimestampedSlot;
use crate::error::Holder;
use crate::layout::{Control, Counters, Geometry, Side};
use crate::participant::{Evidence, Participant, ParticipantInfo};
use crate::side::SideBuffer;
use crate::sync::{AtomicU64, Ordering, look_at, raise};

#[cfg(feature = "std")]
mod anonymous;
#[cfg(feature = "std")]
pub(crate) mod fault;
#[cfg(feature = "std")]
pub(crate) mod file;
#[cfg(feature = "std")]
pub(crate) mod fork;
#[cfg(all(feature = "alloc", not(loom)))]
mod heap;
#[cfg(not(loom))]
mod lent;
mod lock;
#[cfg(feature = "std")]
mod lock_file;
#[cfg(loom)]
mod modelled;
#[cfg(feature = "std")]
pub(crate) mod names;

#[cfg(not(loom))]
pub use lent::Page;
pub(crate) use lock::{Locker, Place};

/// What keeps the memory there.
#[derive(Clone, Debug)]
#[allow(dead_code)]
enum Backing {
    /// Lent for ever: nothing to keep.
    #[cfg(not(loom))]
    Lent,
    #[cfg(all(feature = "alloc", not(loom)))]
    Heap(alloc::sync::Arc<heap::HeapMemory>),
    #[cfg(feature = "std")]
    File(alloc::sync::Arc<file::Mapping>),
    #[cfg(loom)]
    Modelled(std::sync::Arc<modelled::Memory>),
}

/// A handle on a segment.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    counters: NonNull<Counters>,
    control: NonNull<Control>,
    participants: NonNull<Participant>,
    slots: NonNull<TimestampedSlot>,
    /// The side buffers; where there are none, no more than a place.
    sides: NonNull<AtomicU64>,
    side_stride: usize,
    /// Capacity less one.
    mask: u64,
    geometry: Geometry,
    /// Whether the program vouches for all processes that share the segment.
    #[cfg(feature = "std")]
    peers_trusted: bool,
    backing: Backing,
}

// SAFETY: the pointers lead to memory that `backing` keeps alive wherever the handle goes, and
// all that is behind them is atomics.
unsafe impl Send for Segment {}
// SAFETY: as above; `&Segment` gives out only references to atomics.
unsafe impl Sync for Segment {}

impl Segment {
    /// A segment whose parts begin in the memory at `base`, as `geometry` says.
    ///
    /// # Safety
    ///
    /// `base` is aligned to 4096, and `geometry.offsets().end` bytes from it are readable and
    /// writable, initialised, and never accessed but as atomics for as long as `backing` lives.
    #[cfg(not(loom))]
    unsafe fn from_base(base: NonNull<u8>, geometry: Geometry, backing: Backing) -> Self {
        use crate::layout::{CONTROL_OFFSET, COUNTERS_OFFSET};
        let offsets = geometry.offsets();
        // SAFETY: all offsets lie below `end`, so they stay inside the memory the caller vouches
        // for, and each is aligned for its part: checked by the assertions in `layout`.
        unsafe {
            Self {
                counters: base.add(COUNTERS_OFFSET).cast(),
                control: base.add(CONTROL_OFFSET).cast(),
                participants: base.add(offsets.participants).cast(),
                slots: base.add(offsets.slots).cast(),
                sides: base.add(offsets.sides).cast(),
                side_stride: offsets.side_stride,
                mask: geometry.capacity as u64 - 1,
                geometry,
                #[cfg(feature = "std")]
                peers_trusted: false,
                backing,
            }
        }
    }

    #[inline(always)]
    pub(crate) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    #[inline(always)]
    pub(crate) fn counters(&self) -> &Counters {
        #[cfg(fuzzing)]
        crate::looks::count();
        // SAFETY: valid as long as `backing`, which `self` keeps; all words are atomics.
        unsafe { self.counters.as_ref() }
    }

    #[inline(always)]
    pub(crate) fn control(&self) -> &Control {
        #[cfg(fuzzing)]
        crate::looks::count();
        // SAFETY: as in `counters`.
        unsafe { self.control.as_ref() }
    }

    /// The entry at `index`, which must be below the table's size.
    #[inline(always)]
    pub(crate) fn participant(&self, index: usize) -> &Participant {
        #[cfg(fuzzing)]
        crate::looks::count();
        assert!(index < self.geometry.participants);
        // SAFETY: within the table by the assertion, else as in `counters`.
        unsafe { self.participants.add(index).as_ref() }
    }

    /// The slot of any position: the index is masked.
    #[inline(always)]
    pub(crate) fn slot(&self, position: u64) -> &TimestampedSlot {
        #[cfg(fuzzing)]
        crate::looks::count();
        // SAFETY: the mask keeps the index below the capacity, else as in `counters`.
        unsafe { self.slots.add((position & self.mask) as usize).as_ref() }
    }

    /// Whether what lies behind it is gone: a file made shorter, or wiped out. Asked where nothing
    /// else is to be done.
    #[cold]
    pub(crate) fn is_damaged(&self) -> bool {
        match &self.backing {
            #[cfg(feature = "std")]
            Backing::File(mapping) => self.is_file_damaged(mapping),
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }

    /// The side buffer of any position; it holds nothing if the ring has none.
    #[inline]
    pub(crate) fn side(&self, position: u64) -> SideBuffer<'_> {
        let at = (position & self.mask) as usize * self.side_stride;
        // SAFETY: the mask keeps the index below the capacity, so the bytes are within the
        // segment (`offsets`); a buffer is no longer than the stride, which is whole words; else
        // as in `counters`.
        unsafe { SideBuffer::new(self.sides.byte_add(at), self.geometry.side_size) }
    }

    /// Has the memory of the first `size` bytes of a side buffer taken, if it may not have been:
    /// `false` if there is none. After this, touching them cannot fail.
    #[inline]
    pub(crate) fn back(&self, position: u64, size: usize) -> bool {
        #[cfg(feature = "std")]
        if let Backing::File(mapping) = &self.backing {
            return mapping.back((position & self.mask) as usize, size);
        }
        let _ = (position, size);
        true
    }

    /// Whether all who can reach the memory are threads of this process, or the program has
    /// vouched for the others.
    pub(crate) fn is_trusted(&self) -> bool {
        match &self.backing {
            #[cfg(feature = "std")]
            Backing::File(_) => self.peers_trusted,
            #[allow(unreachable_patterns)]
            _ => true,
        }
    }

    /// Asks for huge pages for the side buffers; advice.
    #[cfg(feature = "std")]
    pub(crate) fn advise_huge_pages(&self) {
        let offset = self.geometry.offsets().sides;
        if self.geometry.side_size == 0 {
            return;
        }
        match &self.backing {
            Backing::File(mapping) => mapping.advise_huge_pages(offset),
            #[cfg(not(loom))]
            Backing::Heap(memory) => memory.advise_huge_pages(offset),
            #[cfg(not(loom))]
            Backing::Lent => {}
        }
    }

    /// Notes that the program vouches for all peers.
    #[cfg(feature = "std")]
    pub(crate) fn trust_peers(&mut self) {
        self.peers_trusted = true;
    }

    /// How many entries have ever been used: scans stop there. Never more than there are.
    #[inline]
    pub(crate) fn entries_used(&self) -> usize {
        // As by Acquire: pairs with the release in `note_entry_used`. Those who only look scan, too.
        let used = look_at(&self.control().entries_used);
        (used as usize).min(self.geometry.participants)
    }

    /// Makes scans reach the entry at `index`, before anything is shown in it.
    pub(crate) fn note_entry_used(&self, index: usize) {
        // AcqRel: a scan that comes after a claim made from this entry must reach it. The claim
        // is a release that follows this in program order; the scan reads the head first.
        raise(&self.control().entries_used, index as u64 + 1, Ordering::AcqRel);
    }

    /// The entries in use and what they tell.
    pub(crate) fn infos(&self) -> impl Iterator<Item = ParticipantInfo> + '_ {
        let asker = self.locker().ok();
        (0..self.entries_used()).filter_map(move |index| {
            let (alive, evidence) = self.is_alive(asker.as_ref(), index);
            let mut info = self.participant(index).info(index, alive, evidence)?;
            info.intent = info
                .intent
                .and(crate::recover::unsettled_intent(self, index))
                .map(|span| (span.first, span.count));
            Some(info)
        })
    }

    /// Whether the holder of an entry lives, and how that is known.
    pub(crate) fn is_alive(&self, asker: Option<&Locker>, index: usize) -> (bool, Evidence) {
        match asker {
            Some(asker) if asker.sees() => {
                (asker.is_locked(self, Place::Entry(index)), Evidence::Lock)
            }
            #[cfg(feature = "std")]
            Some(_) => match self.participant(index).process().is_there() {
                Some(there) => (there, Evidence::Process),
                None => (true, Evidence::Unknown),
            },
            _ => (true, Evidence::Unknown),
        }
    }

    /// Who holds an exclusive side, as far as the table tells.
    pub(crate) fn holder_of(&self, side: Side) -> Option<Holder> {
        self.infos()
            .find(|info| info.side == side && info.alive)
            .map(|info| Holder { pid: info.pid, name: info.name })
    }
}
