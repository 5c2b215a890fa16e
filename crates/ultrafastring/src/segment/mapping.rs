//! A file, mapped by every process that takes part.

use core::ops::Range;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::string::String;
use std::{fmt, io};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};

use super::backed::Backed;
use super::file::{allocate, entries_used, have_memory, read_header, touched_at_once};
use super::lock_file::{self, Inode, LockFile};
use super::system::failure;
use super::{fault, fork};
use crate::error::{FileError, RingError};
use crate::layout::areas::{HISTOGRAM_SIZE, PARTICIPANT_SIZE};
use crate::layout::header::{FIRST_ENTRIES, Geometry, MAGIC};
use crate::layout::locks::Place;
use crate::settings::SideMemory;
use crate::trust::Trust;

/// What a mapping may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    /// Everything.
    Participate,
    /// Looking: the memory is mapped read-only.
    Observe,
}

impl Rights {
    /// How files are opened for that. A read-only lock file is enough to ask who has a lock, and
    /// not enough to exclude everybody.
    pub(super) const fn access(self) -> OFlags {
        match self {
            Self::Participate => OFlags::RDWR,
            Self::Observe => OFlags::RDONLY,
        }
    }
}

/// The files of a ring, and what they are mapped for.
pub(super) struct Files {
    pub(super) segment: OwnedFd,
    /// The description of the lock file, whose lock shows that the ring is open; `None` for an
    /// observer that may not open it.
    pub(super) locks: Option<LockFile>,
    /// None for an anonymous one.
    pub(super) lock_path: Option<PathBuf>,
    /// None for an anonymous one.
    pub(super) name: Option<String>,
    /// Its name in errors.
    pub(super) path: PathBuf,
    pub(super) rights: Rights,
    pub(super) trust: Trust,
}

/// A mapped file.
pub(crate) struct Mapping {
    pub(super) base: NonNull<u8>,
    length: usize,
    pub(super) files: Files,
    inode: Inode,
    pub(super) watch: &'static fault::Watch,
    /// The generation of the process that mapped it.
    generation: u64,
    geometry: Geometry,
    /// Of each lane.
    pub(super) backed: Vec<Backed>,
    /// How many entries of each lane are known to have memory.
    entries: Vec<AtomicUsize>,
    /// Which rows of histograms are known to have memory, a bit for each; none without histograms.
    histograms: Vec<AtomicU64>,
}

/// So many bits, none of them set.
fn bits(count: usize) -> Result<Vec<AtomicU64>, RingError> {
    let words = count.div_ceil(64);
    let mut bits = Vec::new();
    bits.try_reserve_exact(words).map_err(|_| RingError::OutOfMemory { bytes: 8 * words })?;
    bits.resize_with(words, || AtomicU64::new(0));
    Ok(bits)
}

// SAFETY: a mapping has the same address in every thread, and all accesses go through `Segment`.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping").field("path", &self.files.path).finish_non_exhaustive()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        fork::forget_mapping(self.base.as_ptr());
        self.watch.forget();
        // SAFETY: mapped in `new` with this length; every `Segment` that pointed into it is gone.
        // After an error the mapping stays, which does no harm.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.length) };
    }
}

impl Mapping {
    /// Maps a file whose header has `geometry` and has been checked against the file's size. If
    /// this process has just made it, `made` says which memory was taken.
    pub(super) fn new(
        files: Files,
        geometry: &Geometry,
        made: Option<SideMemory>,
    ) -> Result<Self, RingError> {
        let Files { segment: file, path, rights, .. } = &files;
        let inode = Inode::of_file(file).map_err(|errno| failure("look at", path, errno))?;
        if made.is_none() && *rights == Rights::Participate {
            have_memory(file, geometry, path)?;
        }
        let length = geometry.offsets().end;
        let all_taken = made.is_some_and(SideMemory::is_taken_at_once);
        let participates = *rights == Rights::Participate;
        let backed = (0..geometry.lanes())
            .map(|lane| Backed::new(geometry, lane, participates, all_taken))
            .collect::<Result<_, _>>()?;
        let protection = match rights {
            Rights::Participate => ProtFlags::READ | ProtFlags::WRITE,
            Rights::Observe => ProtFlags::READ,
        };
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let base = unsafe {
            rustix::mm::mmap(core::ptr::null_mut(), length, protection, MapFlags::SHARED, file, 0)
        }
        .map_err(|errno| match errno {
            Errno::NOMEM => RingError::OutOfMemory { bytes: length },
            errno => failure("map", path, errno),
        })?;
        let Some(base) = NonNull::new(base.cast::<u8>()) else {
            return Err(RingError::OutOfMemory { bytes: length });
        };
        // A core dump would contain all messages, and delay the release of a dead process's locks.
        // This is advice: if the kernel ignores it, dumps contain the ring. SAFETY: the new
        // mapping; what it holds stays as it is.
        let _ = unsafe { rustix::mm::madvise(base.as_ptr().cast(), length, Advice::LinuxDontDump) };
        fork::note_mapping(base.as_ptr(), length, file.as_raw_fd());
        let watch = fault::watch(base.as_ptr(), length, protection.bits() as libc::c_int);
        let generation = fork::generation();
        let entries = (0..geometry.lanes()).map(|_| AtomicUsize::new(FIRST_ENTRIES)).collect();
        let histograms = bits(geometry.histograms() * geometry.lanes())?;
        let mapping = Self {
            base,
            length,
            files,
            inode,
            watch,
            generation,
            geometry: *geometry,
            backed,
            entries,
            histograms,
        };
        if mapping.files.rights == Rights::Observe {
            let file = &mapping.files.segment;
            for part in touched_at_once(geometry, |lane| entries_used(file, geometry, lane)) {
                mapping.have_memory_to_read(part)?;
            }
        }
        Ok(mapping)
    }
}

impl Mapping {
    /// Takes memory for the entry at `index` of a lane before it is first touched.
    pub(super) fn back_entry(&self, lane: usize, index: usize) -> Result<(), RingError> {
        let page = self.geometry.page();
        let start = self.geometry.of_entry(lane, index) / page * page;
        self.fault_in(start, page).map_err(|errno| {
            if self.is_shorter() {
                self.watch.note_damage();
            }
            match errno {
                Errno::NOSPC | Errno::NOMEM | Errno::FAULT | Errno::DQUOT => {
                    FileError::NoSpace { bytes: page }.at(&self.files.path)
                }
                errno => failure("have memory for a part of", &self.files.path, errno),
            }
        })
    }

    /// Takes memory for a lane's row of histograms before it is first touched; `false` if there is
    /// none.
    pub(super) fn back_histogram(&self, lane: usize, row: usize) -> bool {
        let row = lane * self.geometry.histograms() + row;
        let Some(known) = self.histograms.get(row / 64) else { return false };
        // Relaxed: memory that is taken stays taken, and nothing else depends on it.
        if known.load(Ordering::Relaxed) >> (row % 64) & 1 != 0 {
            return true;
        }
        let page = self.geometry.page();
        let start = self.geometry.offsets().histograms + row * HISTOGRAM_SIZE;
        let (begin, end) = (start / page * page, (start + HISTOGRAM_SIZE).next_multiple_of(page));
        if self.fault_in(begin, end - begin).is_err() {
            if self.is_shorter() {
                self.watch.note_damage();
            }
            return false;
        }
        // Relaxed: as above.
        known.fetch_or(1 << (row % 64), Ordering::Relaxed);
        true
    }

    /// How many of the first `used` entries of a lane have memory. If a peer claims that unused
    /// entries are used, looking at them must not kill this process.
    #[inline]
    pub(super) fn entries_with_memory(&self, lane: usize, used: usize) -> usize {
        let Some(entries) = self.entries.get(lane) else { return 0 };
        // Relaxed: an entry keeps its memory, and nothing else depends on it.
        match used <= entries.load(Ordering::Relaxed) {
            true => used,
            false => self.find_entries(lane, entries, used),
        }
    }

    #[cold]
    #[inline(never)]
    fn find_entries(&self, lane: usize, entries: &AtomicUsize, used: usize) -> usize {
        // Relaxed: as above.
        let mut known = entries.load(Ordering::Relaxed);
        let page = self.geometry.page();
        while known < used {
            let start = self.geometry.of_entry(lane, known) / page * page;
            let found = match self.files.rights {
                Rights::Participate => self.fault_in(start, page),
                Rights::Observe => self.populate(start, page, Advice::LinuxPopulateRead),
            };
            // Entries that peers have used have memory, so none of them is left out. With any other
            // error a touch raises no signal.
            if let Err(Errno::FAULT | Errno::NOSPC | Errno::DQUOT) = found {
                break;
            }
            known = (start + page - self.geometry.of_entry(lane, 0)) / PARTICIPANT_SIZE;
            // Relaxed: as above.
            entries.fetch_max(known, Ordering::Relaxed);
        }
        known.min(used)
    }

    /// Whether the file was truncated.
    pub(super) fn is_shorter(&self) -> bool {
        // If it cannot tell, the answer is no.
        let Ok(file) = self.file() else { return false };
        let length = rustix::fs::fstat(file).map_or(0, |status| status.st_size);
        u64::try_from(length).unwrap_or(0) < self.length as u64
    }

    /// Makes the kernel map what an observer reads, or fail. A sparse copy takes memory when it is
    /// read, and running out of it must be an error now, not a SIGBUS later.
    fn have_memory_to_read(&self, part: Range<usize>) -> Result<(), RingError> {
        match self.populate(part.start, part.len(), Advice::LinuxPopulateRead) {
            Err(Errno::FAULT | Errno::NOMEM) if self.is_shorter() => {
                let reason = "it was made shorter while it was opened";
                Err(FileError::NotARing { reason }.at(&self.files.path))
            }
            Err(Errno::FAULT | Errno::NOMEM) => {
                Err(FileError::NoSpace { bytes: part.len() }.at(&self.files.path))
            }
            // A kernel before 5.14 does not have this advice, and an observer may not change the
            // file.
            _ => Ok(()),
        }
    }

    /// Makes the kernel map a part of the file as if it had been written to, or fail.
    pub(super) fn fault_in(&self, offset: usize, length: usize) -> Result<(), Errno> {
        if matches!(self.files.rights, Rights::Observe) {
            // It may only read; and where the kernel does not know how, it does as it always did.
            return match self.populate(offset, length, Advice::LinuxPopulateRead) {
                Err(Errno::INVAL) => Ok(()),
                done => done,
            };
        }
        match self.populate(offset, length, Advice::LinuxPopulateWrite) {
            // A kernel before 5.14: memory is reserved, and each page is mapped when it is touched.
            Err(Errno::INVAL) => allocate(self.file()?, offset, length),
            done => done,
        }
    }

    /// Makes the kernel map a part of the file, by one of the two kinds of advice for that.
    pub(super) fn populate(
        &self,
        offset: usize,
        length: usize,
        advice: Advice,
    ) -> Result<(), Errno> {
        rustix::io::retry_on_intr(|| {
            // SAFETY: a part of this mapping, as the callers say; its contents stay as they are.
            unsafe { rustix::mm::madvise(self.base.as_ptr().add(offset).cast(), length, advice) }
        })
    }
}

impl Mapping {
    /// A description of the lock file that nobody shares, even if its name is gone; `None` if this
    /// observer may not open it.
    pub(super) fn lock_file(&self) -> Result<Option<LockFile>, RingError> {
        if self.generation != fork::generation() {
            // The mapping is a private copy here, so nobody would get what is sent through it.
            return Err(FileError::Forked.at(&self.files.path));
        }
        let Some(locks) = &self.files.locks else { return Ok(None) };
        let opened = locks.open_anew(self.files.lock_path.as_deref(), self.files.rights.access());
        opened.map(Some).map_err(|errno| self.not_opened_anew(errno))
    }

    /// A description of the segment's file that cannot write.
    pub(super) fn open_to_read(&self) -> Result<OwnedFd, RingError> {
        lock_file::open_anew(self.files.segment.as_fd(), self.inode, None, OFlags::RDONLY)
            .map_err(|errno| self.not_opened_anew(errno))
    }

    fn not_opened_anew(&self, errno: Errno) -> RingError {
        match errno {
            Errno::NOENT => FileError::Io {
                action: "open again through /proc, which is not mounted,",
                reason: io::Error::from(errno),
            }
            .at(&self.files.path),
            errno => failure("open again", &self.files.path, errno),
        }
    }

    /// The segment's file, if its descriptor means that file in this thread, which may have its own
    /// descriptor table.
    pub(super) fn file(&self) -> Result<BorrowedFd<'_>, Errno> {
        self.inode.check(&self.files.segment)?;
        Ok(self.files.segment.as_fd())
    }

    /// Whether the header and the terms of the lane are what they were when it was opened. If that
    /// cannot be found out, they are.
    pub(crate) fn is_as_opened(&self) -> bool {
        let Files { segment, path, .. } = &self.files;
        match self.file().and_then(rustix::fs::fstat) {
            Ok(status) => match read_header(segment, path, &status) {
                Ok(geometry) => geometry == self.geometry,
                Err(RingError::File { kind: FileError::Io { .. }, .. }) => true,
                Err(_) => false,
            },
            Err(_) => true,
        }
    }

    /// The geometry that its header had when it was opened.
    pub(super) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The ring's name, if it has one.
    pub(crate) fn name(&self) -> Option<&str> {
        self.files.name.as_deref()
    }

    /// The ring's file, if that has a name.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.name().map(|_| &*self.files.path)
    }

    /// Whether somebody else has the ring open, if this observer may know.
    pub(crate) fn is_open_elsewhere(&self) -> Option<bool> {
        self.files.locks.as_ref().map(|locks| locks.is_locked(Place::Opening))
    }

    /// Whether the file was truncated, or its header overwritten.
    pub(super) fn is_damaged(&self) -> bool {
        // SAFETY: the header's first word, aligned, in a mapping that lives as long as `self`.
        let magic = unsafe { self.base.cast::<AtomicU64>().as_ref() };
        // SAFETY: the last word of the slots, as above. If any part of them was cut off, this word
        // is missing, and the load raises the signal whose handler notes it. The side buffers are
        // not checked, since their memory may not have been taken.
        let last =
            unsafe { self.base.add(self.geometry.last_of_slots()).cast::<AtomicU64>().as_ref() };
        core::hint::black_box(last.load(Ordering::Relaxed));
        // Relaxed: written once, before there was a mapping. Any other value is damage.
        self.watch.is_damaged() || magic.load(Ordering::Relaxed) != MAGIC
    }
}
