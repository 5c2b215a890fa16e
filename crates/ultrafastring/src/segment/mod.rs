//! Where the memory of a ring comes from.
//!
//! A [`Segment`] is a handle on that memory, and cheap to clone. It owns a share of the memory and
//! gives out references to the shared words, all of which are atomics. The memory is on the heap,
//! lent by the caller for ever, in a named file, or in a sealed file without a name. The rest of
//! the crate does not know which.
//!
//! All unsafe code that turns bytes into shared words is in this folder; it relies on what
//! [`layout`](crate::layout) asserts about sizes and offsets.

#[cfg(feature = "alloc")]
use alloc::sync::Arc;
use core::ptr::NonNull;

#[cfg(all(feature = "alloc", not(loom)))]
use self::heap::HeapMemory;
#[cfg(feature = "std")]
use self::mapping::Mapping;
use crate::error::RingError;
use crate::layout::control::Control;
use crate::layout::counters::{Cursor, LaneCounters};
use crate::layout::group::Row;
use crate::layout::header::{FIRST_ENTRIES, Geometry};
use crate::layout::histogram::HistogramRow;
use crate::layout::participant::Participant;
use crate::layout::slot::TimestampedSlot;
#[cfg(feature = "alloc")]
use crate::settings::SideMemory;
use crate::settings::{ClassLane, Lanes, Settings};
use crate::sync::{AtomicU64, Ordering, look_at, raise};

#[cfg(feature = "std")]
mod anonymous;
#[cfg(feature = "std")]
mod backed;
#[cfg(feature = "std")]
pub(crate) mod fault;
#[cfg(feature = "std")]
pub(crate) mod file;
#[cfg(feature = "std")]
pub(crate) mod fork;
pub(crate) mod group;
#[cfg(all(feature = "alloc", not(loom)))]
mod heap;
pub(crate) mod histogram;
pub(crate) mod lane;
mod lanes;
#[cfg(not(loom))]
pub(crate) mod lent;
pub(crate) mod lock;
#[cfg(feature = "std")]
mod lock_file;
#[cfg(feature = "std")]
pub(crate) mod mapping;
#[cfg(loom)]
mod modelled;
#[cfg(feature = "std")]
pub(crate) mod named;
#[cfg(feature = "std")]
mod side_memory;
#[cfg(feature = "std")]
mod system;
#[cfg(feature = "std")]
pub(crate) mod taken;
#[cfg(feature = "alloc")]
pub(crate) mod watch;

/// What keeps the memory alive.
#[derive(Clone, Debug)]
#[allow(dead_code)]
enum Backing {
    /// Lent for ever, so there is nothing to keep.
    #[cfg(not(loom))]
    Lent,
    #[cfg(all(feature = "alloc", not(loom)))]
    Heap(Arc<HeapMemory>),
    #[cfg(feature = "std")]
    File(Arc<Mapping>),
    #[cfg(loom)]
    Modelled(Arc<modelled::Memory>),
}

/// A handle on a segment, or on one lane of it: what it gives out is that lane's, and the first
/// lane's if nobody has asked for another ([`of_lane`](Self::of_lane)).
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    lane: NonNull<LaneCounters>,
    /// The lane's row for each group.
    cursors: NonNull<Cursor>,
    /// A plain ring has one row, of zeros, which nobody looks at.
    group_rows: NonNull<Row>,
    control: NonNull<Control>,
    participants: NonNull<Participant>,
    slots: NonNull<TimestampedSlot>,
    /// The histograms; if there are none, an address that is not used.
    histograms: NonNull<HistogramRow>,
    /// The side buffers; if there are none, an address that is not used.
    sides: NonNull<AtomicU64>,
    side_stride: usize,
    /// The lane's capacity less one.
    mask: u64,
    // The parts of the geometry that calls need. The rest is large, and handles are moved about.
    settings: Settings,
    /// Whether all who can reach the memory are threads of this process, or the program has
    /// vouched for the others.
    is_trusted: bool,
    /// Which lane it is.
    index: usize,
    /// What the ring was made with, if it is not what the lane has.
    ring: ClassLane,
    /// Whether producers without credit do more than in a plain ring: see
    /// [`is_apart`](Self::is_apart).
    apart: bool,
    /// Keeps the memory alive.
    #[cfg_attr(not(feature = "std"), allow(dead_code))]
    backing: Backing,
}

// SAFETY: the pointers point to memory that `backing` keeps alive wherever the handle goes, and
// everything there is atomics.
unsafe impl Send for Segment {}
// SAFETY: as above; `&Segment` gives out only references to atomics.
unsafe impl Sync for Segment {}

impl Segment {
    /// A segment whose parts begin in the memory at `base`, as `geometry` says. Its lane is the
    /// first.
    ///
    /// # Safety
    ///
    /// `base` is aligned to 4096, and `geometry.offsets().end` bytes from it are readable and
    /// writable, initialised, and never accessed but as atomics for as long as `backing` lives.
    #[cfg(not(loom))]
    unsafe fn from_base(base: NonNull<u8>, geometry: Geometry, backing: Backing) -> Self {
        // SAFETY: as the caller says, and there always is a first lane.
        unsafe { Self::part_from_base(base, &geometry, 0, geometry.settings, backing) }
    }

    /// The same of a lane, whose settings these are.
    ///
    /// # Safety
    ///
    /// As in `from_base`, and the geometry has such a lane.
    #[cfg(not(loom))]
    unsafe fn part_from_base(
        base: NonNull<u8>,
        geometry: &Geometry,
        index: usize,
        settings: Settings,
        backing: Backing,
    ) -> Self {
        let (part, groups) = (geometry.part(index), geometry.offsets().groups);
        // SAFETY: all areas lie below `end`, so they stay inside the memory the caller vouches for,
        // and each is aligned for its records: as `Sizes::place` puts them, or as `Offsets::read`
        // has checked, with the assertions in `layout`. An area has as many records as the parts
        // of all lanes.
        unsafe {
            Self {
                lane: base.add(part.counters).cast(),
                cursors: base.add(part.cursors).cast(),
                group_rows: base.add(groups).cast(),
                control: base.add(part.control).cast(),
                participants: base.add(part.participants).cast(),
                slots: base.add(part.slots).cast(),
                histograms: base.add(part.histograms).cast(),
                sides: base.add(part.sides).cast(),
                side_stride: part.side_stride,
                mask: geometry.settings.of_lane(index).capacity as u64 - 1,
                settings,
                is_trusted: true,
                index,
                ring: geometry.settings.of_each_lane(),
                apart: settings.groups != 0 || settings.lanes == Lanes::ByClass,
                backing,
            }
        }
    }

    /// A new segment on the heap.
    #[cfg(all(feature = "alloc", not(loom)))]
    pub(crate) fn heap(geometry: Geometry, side_memory: SideMemory) -> Result<Self, RingError> {
        let (base, memory) = HeapMemory::new(&geometry, side_memory)?;
        // SAFETY: allocated, zeroed and aligned just now, and owned by `memory` alone.
        Ok(unsafe { Self::from_base(base, geometry, Backing::Heap(Arc::new(memory))) })
    }

    /// A new segment of loom's atomics.
    #[cfg(loom)]
    pub(crate) fn heap(geometry: Geometry, _: SideMemory) -> Result<Self, RingError> {
        geometry.validate()?;
        let memory = Arc::new(modelled::Memory::new(&geometry));
        Ok(Self::modelled(memory, &geometry, 0, geometry.settings))
    }

    /// A lane of it, whose settings these are.
    #[cfg(loom)]
    fn modelled(
        memory: Arc<modelled::Memory>,
        geometry: &Geometry,
        index: usize,
        settings: Settings,
    ) -> Self {
        let part = |lane: &modelled::Lane| Self {
            lane: NonNull::from(&*lane.counters),
            cursors: NonNull::from(lane.cursors.as_slice()).cast(),
            group_rows: NonNull::from(memory.groups.as_slice()).cast(),
            control: NonNull::from(&memory.control[index]),
            participants: NonNull::from(lane.participants.as_slice()).cast(),
            slots: NonNull::from(lane.slots.as_slice()).cast(),
            // Models have none.
            histograms: NonNull::dangling(),
            sides: NonNull::from(lane.sides.as_slice()).cast(),
            side_stride: lane.side_stride,
            mask: geometry.settings.of_lane(index).capacity as u64 - 1,
            settings,
            is_trusted: true,
            index,
            ring: geometry.settings.of_each_lane(),
            apart: settings.groups != 0 || settings.lanes == Lanes::ByClass,
            backing: Backing::Modelled(memory.clone()),
        };
        part(&memory.lanes[index])
    }

    /// What its header says, or would say if it had one.
    pub(crate) fn geometry(&self) -> Geometry {
        #[cfg(feature = "std")]
        if let Some(mapping) = self.mapping() {
            return *mapping.geometry();
        }
        Geometry::of(self.ring_settings())
    }

    /// What was chosen when the ring was made, as far as it is about this lane.
    #[inline(always)]
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Bytes that each side buffer holds; 0 if there are none.
    #[inline(always)]
    pub(crate) fn side_size(&self) -> usize {
        self.settings.side_size()
    }

    /// The cursor of a plain ring: that of the first row.
    #[inline(always)]
    pub(crate) fn cursor(&self) -> &Cursor {
        #[cfg(fuzzing)]
        crate::looks::count();
        // SAFETY: valid as long as `backing`, which `self` keeps; all words are atomics.
        unsafe { self.cursors.as_ref() }
    }

    #[inline(always)]
    pub(crate) fn control(&self) -> &Control {
        #[cfg(fuzzing)]
        crate::looks::count();
        // SAFETY: as in `cursor`.
        unsafe { self.control.as_ref() }
    }

    /// The entry at `index`, which must be below the table's size.
    #[inline(always)]
    pub(crate) fn participant(&self, index: usize) -> &Participant {
        #[cfg(fuzzing)]
        crate::looks::count();
        assert!(index < self.settings.participants);
        // SAFETY: within the table by the assertion; otherwise as in `cursor`.
        unsafe { self.participants.add(index).as_ref() }
    }

    /// The file that is mapped, if it is one.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn mapping(&self) -> Option<&Mapping> {
        match &self.backing {
            Backing::File(mapping) => Some(mapping),
            _ => None,
        }
    }

    /// Whether its memory is gone: a file that was truncated or overwritten. It is checked where a
    /// call finds nothing to do.
    #[inline]
    pub(crate) fn is_damaged(&self) -> bool {
        #[cfg(feature = "std")]
        return self.mapping().is_some_and(Mapping::is_damaged);
        #[cfg(not(feature = "std"))]
        false
    }

    /// Whether all who can reach the memory are threads of this process, or the program has
    /// vouched for the others.
    pub(crate) fn is_trusted(&self) -> bool {
        self.is_trusted
    }

    /// Asks for huge pages for the side buffers. The kernel may ignore it.
    #[cfg(feature = "std")]
    pub(crate) fn advise_huge_pages(&self) {
        let Some((start, bytes)) = self.side_buffers() else { return };
        if matches!(self.backing, Backing::Lent) {
            return;
        }
        // SAFETY: the last part of the memory that `backing` keeps; its contents stay as they are.
        // If the system has no huge pages, small ones are used.
        let _ = unsafe {
            rustix::mm::madvise(start.as_ptr().cast(), bytes, rustix::mm::Advice::LinuxHugepage)
        };
    }

    /// Where the side buffers of all lanes are, and how many bytes they take; `None` if there are
    /// none.
    #[cfg(feature = "std")]
    pub(crate) fn side_buffers(&self) -> Option<(NonNull<u8>, usize)> {
        let geometry = self.geometry();
        let all = geometry.all_sides()?;
        // SAFETY: this one was made from the memory at `base`, by the same geometry, which says
        // that the side buffers lie in that memory.
        let start = unsafe {
            let base: NonNull<u8> = self.control.cast().sub(geometry.part(self.index).control);
            base.add(all.start)
        };
        Some((start, all.len()))
    }

    /// Notes that the program vouches for all peers.
    #[cfg(feature = "std")]
    pub(crate) fn trust_peers(&mut self) {
        self.is_trusted = true;
    }

    /// How many entries have ever been used, where scans stop. Whatever a peer writes, never more
    /// than exist and have memory.
    #[inline]
    pub(crate) fn entries_used(&self) -> usize {
        let used = self.few_entries_used();
        used.unwrap_or_else(|used| self.entries_with_memory(used))
    }

    /// As [`entries_used`](Self::entries_used), if these are entries that always have memory.
    /// Otherwise an error with the number that peers have written.
    #[inline]
    pub(crate) fn few_entries_used(&self) -> Result<usize, usize> {
        // Like an acquire: pairs with the release in `note_entry_used`. Observers scan too.
        let used = look_at(&self.control().entries_used);
        let used = (used as usize).min(self.settings.participants);
        if used <= FIRST_ENTRIES { Ok(used) } else { Err(used) }
    }

    /// How many of the first `used` entries have memory. Those of a new ring always do.
    #[cold]
    #[inline(never)]
    fn entries_with_memory(&self, used: usize) -> usize {
        #[cfg(feature = "std")]
        if let Some(mapping) = self.mapping() {
            return mapping.entries_with_memory(self.index, used);
        }
        used
    }

    /// The entries that have ever been used, with their indices.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (usize, &Participant)> {
        (0..self.entries_used()).map(|index| (index, self.participant(index)))
    }

    /// Takes memory for the entry at `index`, which may never have been used before.
    pub(crate) fn back_entry(&self, index: usize) -> Result<(), RingError> {
        #[cfg(feature = "std")]
        if index >= self.entries_used()
            && index >= FIRST_ENTRIES
            && let Some(mapping) = self.mapping()
        {
            return mapping.back_entry(self.index, index);
        }
        #[cfg(not(feature = "std"))]
        let _ = index;
        Ok(())
    }

    /// Makes scans reach the entry at `index`. Called before the entry shows anything.
    pub(crate) fn note_entry_used(&self, index: usize) {
        // AcqRel: a scan that comes after a claim made from this entry must reach it. The claim
        // is a release that follows this in program order; the scan reads the head first.
        raise(&self.control().entries_used, index as u64 + 1, Ordering::AcqRel);
    }
}

/// Those in files.
#[cfg(feature = "std")]
impl Segment {
    /// A segment in a file that is mapped whole, as `geometry` says.
    fn mapped(mapping: Mapping, geometry: Geometry) -> Self {
        let base = mapping.base;
        // SAFETY: the kernel maps whole pages of `length` bytes. They are shared with other
        // processes, which is why everything is atomics. The mapping lives as long as `Backing`. A
        // read-only mapping is given only to an `Observer`, which only loads.
        let segment = unsafe { Self::from_base(base, geometry, Backing::File(Arc::new(mapping))) };
        Self { is_trusted: false, ..segment }
    }
}
