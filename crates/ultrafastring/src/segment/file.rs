//! A segment in a file, mapped by every process that takes part.
//!
//! A ring has its name only once it is whole: the file is made without a name (`O_TMPFILE`),
//! filled, given its memory, and then linked, which fails if the name is taken. So a creator that
//! is killed half-way leaves nothing that looks like a ring, and of two creators at once one wins. Where
//! the file system knows no unnamed files, a file with a temporary name of its own takes its place. What the
//! segment and the file of its locks are called, and how they come and go together, is in
//! `names.rs`.
//!
//! Opening believes nothing: the name must lead to a regular file itself, of an owner and a mode that
//! [`Trust`] allows, and the header is checked against the file's size before anything is mapped.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::string::{String, ToString};
use std::vec::Vec;
use std::{fmt, io};

use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};
use rustix::process::{Resource, getrlimit};

use super::lock_file::{self, Inode, LockFile};
use super::names::{Nameless, NewLocks, Pair, give_to, path_of, sweep_of};
use super::{Backing, Segment, fault, fork};
use crate::layout::{self, BadHeader, Geometry, HEADER_WORDS, PAGE, SideMemory};
use crate::{RingError, Trust};

/// Where named rings live unless a directory is given.
pub const DEFAULT_DIRECTORY: &str = "/dev/shm";

/// What a mapping may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    /// Everything.
    Participate,
    /// Looking: the memory cannot be written, by the processor's own rule.
    Observe,
}

/// A mapped file.
pub(crate) struct Mapping {
    base: NonNull<u8>,
    length: usize,
    file: OwnedFd,
    inode: Inode,
    /// The description of the lock file that shows that the ring is open; none of an observer that
    /// may not open it.
    locks: Option<LockFile>,
    /// None for an anonymous one.
    lock_path: Option<PathBuf>,
    /// None for an anonymous one.
    pub(super) name: Option<String>,
    path: PathBuf,
    rights: Rights,
    pub(super) trust: Trust,
    watch: &'static fault::Watch,
    /// Of the process that mapped it.
    generation: u64,
    backed: Backed,
}

/// What memory of the side buffers has been taken, as far as this process knows.
///
/// A page of a sparse file that is touched when no memory is left means SIGBUS. So nobody touches a
/// part of a side buffer, to write or to read, before it was asked for by a call that can fail.
struct Backed {
    /// Where the side buffers begin, and from one to the next.
    start: usize,
    stride: usize,
    /// For each how many pages have been asked for; empty if all there are have been.
    pages: Vec<AtomicU32>,
}

impl Backed {
    /// `None` if there is no memory to keep account in.
    fn new(geometry: &Geometry, all_taken: bool) -> Option<Self> {
        let offsets = geometry.offsets();
        let count = if all_taken || geometry.side_size == 0 { 0 } else { geometry.capacity };
        let mut pages = Vec::new();
        pages.try_reserve_exact(count).ok()?;
        pages.resize_with(count, || AtomicU32::new(0));
        Some(Self { start: offsets.sides, stride: offsets.side_stride, pages })
    }
}

// SAFETY: a mapping stays where it is whichever thread looks; access goes through `Segment`.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        fork::forget_mapping(self.base.as_ptr());
        self.watch.forget();
        // SAFETY: mapped in `new` with this length; every `Segment` that pointed into it is gone.
        // An error would leave the mapping there, which harms nobody.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.length) };
    }
}

/// The error for a failed system call on `path`.
pub(super) fn failure(action: &'static str, path: &Path, errno: Errno) -> RingError {
    let path = path.to_path_buf();
    match errno {
        Errno::EXIST => RingError::NameTaken { path },
        Errno::NOENT => RingError::NoSuchRing { path },
        Errno::ACCESS | Errno::PERM => RingError::PermissionDenied { path },
        Errno::LOOP => RingError::NotARing { path, reason: "it is a symbolic link" },
        Errno::ISDIR => RingError::NotARing { path, reason: "it is a directory" },
        Errno::MFILE | Errno::NFILE => RingError::NoDescriptors { path },
        Errno::NOLCK => RingError::NoLocks { path },
        Errno::BADF => RingError::ForeignDescriptor { path },
        _ => RingError::Io { action, path, source: io::Error::from(errno) },
    }
}

impl Segment {
    /// Makes a new named segment.
    pub(crate) fn create(
        directory: &Path,
        name: &str,
        mut geometry: Geometry,
        trust: Trust,
        side_memory: SideMemory,
    ) -> Result<Self, RingError> {
        geometry.validate()?;
        let path = path_of(directory, name)?;
        within_file_size_limit(&geometry, &path)?;
        trust.check_directory_of_new(&path)?;
        let locks = NewLocks::make(directory, name, trust)?;
        geometry.identity = locks.identity;
        let (file, nameless) = Nameless::make(directory, locks.temporary_path(directory, name))?;
        fill(file.as_fd(), &geometry, &path, side_memory)?;
        give_to(&file, trust, &path)?;
        let parts = Parts {
            file,
            locks: None,
            name: Some(name.to_string()),
            lock_path: None,
            path,
            rights: Rights::Participate,
            trust,
            all_taken: side_memory.is_taken_at_once(),
        };
        let mut mapping = Mapping::new(parts, &geometry)?;
        // The last that can fail: with an error the lock file goes, and the segment would stay without.
        nameless.give_name(mapping.file.as_fd(), &mapping.path)?;
        let (locks, lock_path) = locks.keep();
        (mapping.locks, mapping.lock_path) = (locks, Some(lock_path));
        // Of those who died while they made or removed a ring of this name.
        sweep_of(directory, name);
        Ok(Self::over_mapping(mapping, geometry))
    }

    /// Opens the segment called `name`.
    pub(crate) fn open(
        directory: &Path,
        name: &str,
        rights: Rights,
        trust: Trust,
    ) -> Result<Self, RingError> {
        let path = path_of(directory, name)?;
        let Pair { file, geometry, locks, lock_path } = Pair::open(directory, name, rights, trust)?;
        if rights == Rights::Participate {
            have_memory(&file, &geometry, &path)?;
        }
        let parts = Parts {
            file,
            locks,
            name: Some(name.to_string()),
            lock_path: Some(lock_path),
            path,
            rights,
            trust,
            all_taken: false,
        };
        Self::map(parts, geometry)
    }

    /// Maps a file whose header has been checked against its size.
    pub(super) fn map(parts: Parts, geometry: Geometry) -> Result<Self, RingError> {
        Ok(Self::over_mapping(Mapping::new(parts, &geometry)?, geometry))
    }

    /// A segment in a file that is mapped whole, as `geometry` says.
    fn over_mapping(mapping: Mapping, geometry: Geometry) -> Self {
        let base = mapping.base;
        // SAFETY: the kernel maps whole pages, `length` bytes of them; they are shared with other
        // processes, which is why all is atomics; the mapping stays while `Backing` does. One that
        // cannot be written is given to an `Observer` alone, which only loads.
        unsafe { Self::from_base(base, geometry, Backing::File(Arc::new(mapping))) }
    }

    /// The ring's name, if it has one.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.backing {
            Backing::File(mapping) => mapping.name.as_deref(),
            #[allow(unreachable_patterns)]
            _ => None,
        }
    }

    /// The ring's file, if it has one.
    pub(crate) fn path(&self) -> Option<&Path> {
        match &self.backing {
            Backing::File(mapping) if mapping.name.is_some() => Some(&mapping.path),
            #[allow(unreachable_patterns)]
            _ => None,
        }
    }

    /// Whether the file was made shorter under its mapping, or its header wiped out.
    pub(super) fn is_file_damaged(&self, mapping: &Mapping) -> bool {
        // SAFETY: the header's first word, aligned, in a mapping that lives as long as `mapping`.
        let magic = unsafe { mapping.base.cast::<AtomicU64>().as_ref() };
        // SAFETY: the last word of the slots, as above. Whatever was cut off of them, this is gone:
        // the load raises the signal whose handler notes it, though nothing else may touch what is
        // missing. Not of the side buffers, whose memory may not have been taken.
        let last = unsafe {
            let end = self.geometry().offsets().sides;
            mapping.base.add(end - 8).cast::<AtomicU64>().as_ref()
        };
        core::hint::black_box(last.load(Ordering::Relaxed));
        // Relaxed: written once, before there was a mapping; another value is damage, whenever it
        // came to be.
        mapping.watch.is_damaged() || magic.load(Ordering::Relaxed) != layout::MAGIC
    }
}

impl Mapping {
    /// Maps a file whose header, which says `geometry`, has been checked against its size.
    fn new(parts: Parts, geometry: &Geometry) -> Result<Self, RingError> {
        let Parts { file, locks, name, lock_path, path, rights, trust, all_taken } = parts;
        let inode = Inode::of_file(&file).map_err(|errno| failure("look at", &path, errno))?;
        let length = geometry.offsets().end;
        let Some(backed) = Backed::new(geometry, all_taken) else {
            return Err(RingError::OutOfMemory {
                bytes: geometry.capacity * size_of::<AtomicU32>(),
            });
        };
        let protection = match rights {
            Rights::Participate => ProtFlags::READ | ProtFlags::WRITE,
            Rights::Observe => ProtFlags::READ,
        };
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let base = unsafe {
            rustix::mm::mmap(core::ptr::null_mut(), length, protection, MapFlags::SHARED, &file, 0)
        }
        .map_err(|errno| match errno {
            Errno::NOMEM => RingError::OutOfMemory { bytes: length },
            errno => failure("map", &path, errno),
        })?;
        let Some(base) = NonNull::new(base.cast::<u8>()) else {
            return Err(RingError::OutOfMemory { bytes: length });
        };
        // A core is written before the locks of a process are given back, and would have all messages
        // of an anonymous ring in it. Advice: where it is not taken, it is as it was.
        // SAFETY: the new mapping; what it holds stays as it is.
        let _ = unsafe { rustix::mm::madvise(base.as_ptr().cast(), length, Advice::LinuxDontDump) };
        fork::note_mapping(base.as_ptr(), length, file.as_raw_fd());
        let watch = fault::watch(base.as_ptr(), length, protection.bits() as libc::c_int);
        let generation = fork::generation();
        let mapping = Self {
            base,
            length,
            file,
            inode,
            locks,
            lock_path,
            name,
            path,
            rights,
            trust,
            watch,
            generation,
            backed,
        };
        if rights == Rights::Observe {
            mapping.have_memory_to_read(geometry.offsets().sides)?;
        }
        Ok(mapping)
    }
}

/// What is mapped, and for what.
pub(super) struct Parts {
    pub(super) file: OwnedFd,
    pub(super) locks: Option<LockFile>,
    pub(super) name: Option<String>,
    pub(super) lock_path: Option<PathBuf>,
    pub(super) path: PathBuf,
    pub(super) rights: Rights,
    pub(super) trust: Trust,
    /// This process has just taken all of its memory.
    pub(super) all_taken: bool,
}

pub(super) fn no_directory(directory: &Path) -> RingError {
    RingError::NoDirectory { path: directory.into() }
}

/// Refuses a segment that this process may not make so large a file for: the kernel would end the
/// process with SIGXFSZ instead of the call with an error.
pub(super) fn within_file_size_limit(geometry: &Geometry, path: &Path) -> Result<(), RingError> {
    let bytes = geometry.offsets().end;
    match getrlimit(Resource::Fsize).current {
        Some(limit) if (bytes as u64) > limit => {
            Err(RingError::FileSizeLimit { path: path.into(), bytes, limit })
        }
        _ => Ok(()),
    }
}

/// Gives a new file its memory and its header.
pub(super) fn fill(
    file: BorrowedFd<'_>,
    geometry: &Geometry,
    path: &Path,
    side_memory: SideMemory,
) -> Result<(), RingError> {
    take_memory(file, path, geometry, side_memory)?;
    let words = geometry.encode();
    let mut bytes = [0; HEADER_WORDS * 8];
    for (bytes, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *bytes = word.to_ne_bytes();
    }
    let written = rustix::io::pwrite(file, &bytes, 0)
        .map_err(|errno| failure("write the header of", path, errno))?;
    if written == bytes.len() {
        Ok(())
    } else {
        Err(failure("write the header of", path, Errno::IO))
    }
}

/// Takes a file's memory by writing all of it.
fn write_zeros(file: BorrowedFd<'_>, length: usize) -> Result<(), Errno> {
    static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
    let mut done = 0;
    while done < length {
        let some = &ZEROS[..ZEROS.len().min(length - done)];
        match rustix::io::pwrite(file, some, done as u64) {
            Ok(0) => return Err(Errno::NOSPC),
            Ok(written) => done += written,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// The words of a file's header; `None` if it is too short for one.
pub(super) fn read_words(file: &OwnedFd) -> Result<Option<[u64; HEADER_WORDS]>, Errno> {
    let mut bytes = [0; HEADER_WORDS * 8];
    if rustix::io::pread(file, &mut bytes, 0)? != bytes.len() {
        return Ok(None);
    }
    let mut words = [0; HEADER_WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    Ok(Some(words))
}

/// Reads and checks the header of a file with this `status`.
pub(super) fn read_header(
    file: &OwnedFd,
    path: &Path,
    status: &rustix::fs::Stat,
) -> Result<Geometry, RingError> {
    let refuse = |reason| RingError::NotARing { path: path.into(), reason };
    let words = read_words(file)
        .map_err(|errno| failure("read the header of", path, errno))?
        .ok_or_else(|| refuse("it is too short for a header"))?;
    let size = u64::try_from(status.st_size).unwrap_or(0);
    Geometry::decode(&words, size).map_err(|bad| match bad {
        BadHeader::NotARing(reason) => refuse(reason),
        BadHeader::Version(found) => RingError::LayoutVersion { path: path.into(), found },
    })
}

/// Gives the new `file` its length and the memory that it takes at once, so that a full file system
/// is an error here and not a SIGBUS when a page is first touched.
fn take_memory(
    file: BorrowedFd<'_>,
    path: &Path,
    geometry: &Geometry,
    side_memory: SideMemory,
) -> Result<(), RingError> {
    let offsets = geometry.offsets();
    let length = offsets.end;
    let no_space = || RingError::NoSpace { path: path.to_path_buf(), bytes: length };
    let failed = |errno| match errno {
        Errno::NOSPC | Errno::NOMEM | Errno::FBIG | Errno::DQUOT => no_space(),
        errno => failure("allocate", path, errno),
    };
    rustix::fs::ftruncate(file, length as u64).map_err(failed)?;
    let at_once = match side_memory {
        SideMemory::Preallocated => length,
        SideMemory::OnDemand | SideMemory::Overcommitted => offsets.sides,
    };
    match allocate(file, 0, at_once) {
        // The file system does not know how.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(file, at_once),
        other => other,
    }
    .map_err(failed)?;
    if side_memory == SideMemory::OnDemand && length > at_once {
        let system = rustix::fs::fstatvfs(file).map_err(failed)?;
        let free = system.f_bavail.saturating_mul(system.f_frsize);
        // No blocks at all: a tmpfs without a limit of its own.
        if system.f_blocks != 0 && free < (length - at_once) as u64 {
            return Err(no_space());
        }
    }
    Ok(())
}

/// Takes what memory all participants touch at once, in a file that somebody else has made: it may
/// be a sparse copy, and to run out of memory must be an error here and not a SIGBUS later.
pub(super) fn have_memory(
    file: &OwnedFd,
    geometry: &Geometry,
    path: &Path,
) -> Result<(), RingError> {
    let bytes = geometry.offsets().sides;
    match allocate(file.as_fd(), 0, bytes) {
        Err(Errno::NOSPC | Errno::NOMEM | Errno::DQUOT) => {
            Err(RingError::NoSpace { path: path.into(), bytes })
        }
        // Where the file system does not know how, its maker has written it.
        _ => Ok(()),
    }
}

/// Has the file system set memory aside for a part of a file.
fn allocate(file: BorrowedFd<'_>, offset: usize, length: usize) -> Result<(), Errno> {
    let (offset, length) = (offset as u64, length as u64);
    // The size stays: a file that somebody has made shorter is not to be mended unnoticed.
    rustix::io::retry_on_intr(|| {
        rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, offset, length)
    })
}

impl Mapping {
    /// See [`Segment::back`].
    #[inline]
    pub(super) fn back(&self, slot: usize, size: usize) -> bool {
        let Some(pages) = self.backed.pages.get(slot) else { return true };
        // Relaxed: what has been taken stays taken, and nothing else follows from it.
        size.div_ceil(PAGE) <= pages.load(Ordering::Relaxed) as usize || self.take(slot, size)
    }

    #[cold]
    #[inline(never)]
    fn take(&self, slot: usize, size: usize) -> bool {
        let Backed { start, stride, pages } = &self.backed;
        // One that is less than a page may lie in two of them: all of it at once.
        let size = if *stride < PAGE { *stride } else { size };
        let first = start + slot * stride;
        // Whole pages, which small neighbours may share.
        let (begin, end) = (first / PAGE * PAGE, (first + size).next_multiple_of(PAGE));
        if self.fault_in(begin, end - begin).is_err() {
            if self.is_shorter() {
                // Not for want of memory.
                self.watch.note_damage();
            }
            return false;
        }
        let shared = (begin - start).div_ceil(*stride)..(end - start) / stride;
        let taken = if *stride < PAGE { shared } else { slot..slot + 1 };
        for index in taken.chain([slot]) {
            if let Some(pages) = pages.get(index) {
                // Relaxed: as in `back`.
                pages.fetch_max(size.div_ceil(PAGE) as u32, Ordering::Relaxed);
            }
        }
        true
    }

    /// Whether somebody has made the file shorter.
    fn is_shorter(&self) -> bool {
        // Who cannot tell does not say so.
        let Ok(file) = self.file() else { return false };
        let length = rustix::fs::fstat(file).map_or(0, |status| status.st_size);
        u64::try_from(length).unwrap_or(0) < self.length as u64
    }

    /// Has the kernel map what an observer reads, or say that it cannot: a sparse copy takes memory
    /// when it is read, which is to be an error now and not a SIGBUS later.
    fn have_memory_to_read(&self, length: usize) -> Result<(), RingError> {
        match self.populate(0, length, Advice::LinuxPopulateRead) {
            Err(Errno::FAULT | Errno::NOMEM) if self.is_shorter() => {
                let reason = "it was made shorter while it was opened";
                Err(RingError::NotARing { path: self.path.clone(), reason })
            }
            Err(Errno::FAULT | Errno::NOMEM) => {
                Err(RingError::NoSpace { path: self.path.clone(), bytes: length })
            }
            // A kernel before 5.14 has no such advice; an observer may not change the file.
            _ => Ok(()),
        }
    }

    /// Has the kernel map a part of the file as if it had been written to, or say that it cannot.
    fn fault_in(&self, offset: usize, length: usize) -> Result<(), Errno> {
        match self.populate(offset, length, Advice::LinuxPopulateWrite) {
            // A kernel before 5.14: memory is set aside, and each page mapped when it is touched.
            Err(Errno::INVAL) => allocate(self.file()?, offset, length),
            done => done,
        }
    }

    /// Has the kernel map a part of the file by one of the two kinds of advice that do so.
    fn populate(&self, offset: usize, length: usize, advice: Advice) -> Result<(), Errno> {
        rustix::io::retry_on_intr(|| {
            // SAFETY: a part of this mapping, as the callers say; its contents stay as they are.
            unsafe { rustix::mm::madvise(self.base.as_ptr().add(offset).cast(), length, advice) }
        })
    }

    /// Asks for huge pages for what lies from `offset` on. It is advice: where the system has none
    /// to give, small ones serve.
    pub(super) fn advise_huge_pages(&self, offset: usize) {
        // SAFETY: a part of this mapping; what it holds stays as it is.
        let _ = unsafe {
            rustix::mm::madvise(
                self.base.as_ptr().add(offset).cast(),
                self.length - offset,
                Advice::LinuxHugepage,
            )
        };
    }
}

impl Mapping {
    /// A description of the lock file that nobody shares, whatever became of its name; `None` if this
    /// observer may not open it.
    pub(super) fn lock_file(&self) -> Result<Option<LockFile>, RingError> {
        if self.generation != fork::generation() {
            // The mapping is a private copy here: what is sent through it, nobody gets.
            return Err(RingError::Forked { path: self.path.clone() });
        }
        let access = match self.rights {
            Rights::Participate => OFlags::RDWR,
            // Enough to ask who has a lock, and too little to keep everybody else from it.
            Rights::Observe => OFlags::RDONLY,
        };
        let Some(locks) = &self.locks else { return Ok(None) };
        let opened = locks.open_anew(self.lock_path.as_deref(), access);
        opened.map(Some).map_err(|errno| self.not_opened_anew(errno))
    }

    /// A description of the segment's file that cannot be written through.
    pub(super) fn open_to_read(&self) -> Result<OwnedFd, RingError> {
        lock_file::open_anew(self.file.as_fd(), self.inode, None, OFlags::RDONLY)
            .map_err(|errno| self.not_opened_anew(errno))
    }

    fn not_opened_anew(&self, errno: Errno) -> RingError {
        match errno {
            Errno::NOENT => RingError::Io {
                action: "open again through /proc, which is not mounted,",
                path: self.path.clone(),
                source: io::Error::from(errno),
            },
            errno => failure("open again", &self.path, errno),
        }
    }

    /// The segment's file, if its descriptor means that in this thread: one may have descriptors of
    /// its own.
    pub(super) fn file(&self) -> Result<BorrowedFd<'_>, Errno> {
        if Inode::of_file(&self.file)? == self.inode {
            Ok(self.file.as_fd())
        } else {
            Err(Errno::BADF)
        }
    }

    /// Whether somebody else has the ring open, if this observer may know.
    pub(super) fn is_open_elsewhere(&self) -> Option<bool> {
        self.locks.as_ref().map(LockFile::is_open_elsewhere)
    }

    /// What errors call it.
    pub(super) fn file_path(&self) -> &Path {
        &self.path
    }
}
