//! A named segment: one file, mapped by every process that takes part.
//!
//! A ring has its name only once it is whole: the file is made without a name (`O_TMPFILE`),
//! filled, given its memory, and then linked, which fails if the name is taken. So a creator that
//! is killed half-way leaves nothing, and of two creators at once one wins. Where the file system
//! knows no unnamed files, a file with a temporary name of its own takes its place.
//!
//! Opening believes nothing: the name must lead to a regular file itself, of an owner and a mode that
//! [`Trust`] allows, and the header is checked against the file's size before anything is mapped.

use alloc::sync::Arc;
use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, io};

use rustix::fs::{AtFlags, CWD, FallocateFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};

use super::{Backing, Place, Segment, fault, fork};
use crate::layout::{
    self, BadHeader, Geometry, HEADER_WORDS, PAGE, PARTICIPANT_SIZE, PARTICIPANTS_OFFSET, Side,
    SideMemory,
};
use crate::{RingError, Trust};

/// Where named rings live unless a directory is given.
pub const DEFAULT_DIRECTORY: &str = "/dev/shm";

/// What a ring's file name begins with.
const PREFIX: &str = "ufr-";

/// Longest name of a ring, in bytes.
const LONGEST_NAME: usize = 200;

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
    pub(super) file: OwnedFd,
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
        // SAFETY: mapped in `map` with this length; every `Segment` that pointed into it is gone.
        // An error would leave the mapping there, which harms nobody.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.length) };
    }
}

/// The path of the ring called `name` in `directory`.
pub(crate) fn path_of(directory: &Path, name: &str) -> Result<PathBuf, RingError> {
    let usable = !name.is_empty()
        && name.len() <= LONGEST_NAME
        && !name.starts_with('.')
        && !name.chars().any(|c| c == '/' || c.is_control());
    if !usable {
        return Err(RingError::BadName { name: name.to_string() });
    }
    Ok(directory.join(format!("{PREFIX}{name}")))
}

/// The names of the files in `directory` that are named as rings are, sorted.
pub(crate) fn names_in(directory: &Path) -> Result<Vec<String>, RingError> {
    let failed = |source| RingError::Io { action: "list", path: directory.into(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if let Some(name) = name.to_str().and_then(|name| name.strip_prefix(PREFIX))
            && path_of(directory, name).is_ok()
        {
            names.push(name.to_string());
        }
    }
    names.sort();
    Ok(names)
}

/// Takes a ring's name away. Those who have it open go on; its memory ends with the last of them.
pub(crate) fn remove(directory: &Path, name: &str) -> Result<(), RingError> {
    let path = path_of(directory, name)?;
    rustix::fs::unlink(&path).map_err(|errno| failure("remove", &path, errno))
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
        _ => RingError::Io { action, path, source: io::Error::from(errno) },
    }
}

impl Segment {
    /// Makes a new named segment.
    pub(crate) fn create(
        directory: &Path,
        name: &str,
        geometry: Geometry,
        trust: Trust,
        side_memory: SideMemory,
    ) -> Result<Self, RingError> {
        geometry.validate()?;
        let path = path_of(directory, name)?;
        let nameless = Nameless::make(directory, &path)?;
        fill(nameless.file(), &geometry, &path, side_memory)?;
        // The mode given at creation is cut by the process's umask.
        rustix::fs::fchmod(nameless.file(), trust.mode())
            .map_err(|errno| failure("set the mode of", &path, errno))?;
        let file = nameless.give_name(&path)?;
        let name = Some(name.to_string());
        let taken = side_memory.is_taken_at_once();
        Self::map(file, geometry, name, path, Rights::Participate, trust, taken)
    }

    /// Opens the segment called `name`.
    pub(crate) fn open(
        directory: &Path,
        name: &str,
        rights: Rights,
        trust: Trust,
    ) -> Result<Self, RingError> {
        let path = path_of(directory, name)?;
        let access = match rights {
            Rights::Participate => OFlags::RDWR,
            Rights::Observe => OFlags::RDONLY,
        };
        // Non-blocking, in case the name is a pipe's; it is refused below.
        let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = rustix::fs::open(&path, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::NOENT if !directory.is_dir() => no_directory(directory),
            errno => failure("open", &path, errno),
        })?;
        let status = rustix::fs::fstat(&file).map_err(|errno| failure("look at", &path, errno))?;
        trust.check_file(&path, &status)?;
        let geometry = read_header(&file, &path, &status)?;
        let name = Some(name.to_string());
        if rights == Rights::Participate {
            have_memory(&file, &geometry, &path)?;
        }
        Self::map(file, geometry, name, path, rights, trust, false)
    }

    /// Maps a file whose header has been checked against its size. `all_taken`: this process has
    /// just taken all of its memory.
    pub(super) fn map(
        file: OwnedFd,
        geometry: Geometry,
        name: Option<String>,
        path: PathBuf,
        rights: Rights,
        trust: Trust,
        all_taken: bool,
    ) -> Result<Self, RingError> {
        let length = geometry.offsets().end;
        let Some(backed) = Backed::new(&geometry, all_taken) else {
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
        fork::note_mapping(base.as_ptr(), length, file.as_raw_fd());
        let watch = fault::watch(base.as_ptr(), length, protection.bits() as libc::c_int);
        let generation = fork::generation();
        let mapping =
            Mapping { base, length, file, name, path, rights, trust, watch, generation, backed };
        if rights == Rights::Observe {
            mapping.have_memory_to_read(geometry.offsets().sides)?;
        }
        // SAFETY: the kernel maps whole pages, `length` bytes of them; they are shared with other
        // processes, which is why all is atomics; the mapping stays while `Backing` does. One that
        // cannot be written is given to an `Observer` alone, which only loads.
        Ok(unsafe { Self::from_base(base, geometry, Backing::File(Arc::new(mapping))) })
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

fn no_directory(directory: &Path) -> RingError {
    RingError::NoDirectory { path: directory.into() }
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
        *bytes = word.to_le_bytes();
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

/// Reads and checks the header of a file with this `status`.
pub(super) fn read_header(
    file: &OwnedFd,
    path: &Path,
    status: &rustix::fs::Stat,
) -> Result<Geometry, RingError> {
    let mut bytes = [0; HEADER_WORDS * 8];
    let read = rustix::io::pread(file, &mut bytes, 0)
        .map_err(|errno| failure("read the header of", path, errno))?;
    if read != bytes.len() {
        let reason = "it is too short for a header";
        return Err(RingError::NotARing { path: path.into(), reason });
    }
    let words: [u64; HEADER_WORDS] =
        core::array::from_fn(|i| u64::from_le_bytes(core::array::from_fn(|j| bytes[8 * i + j])));
    let size = u64::try_from(status.st_size).unwrap_or(0);
    Geometry::decode(&words, size).map_err(|bad| match bad {
        BadHeader::NotARing(reason) => RingError::NotARing { path: path.into(), reason },
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
        let length = rustix::fs::fstat(&self.file).map_or(0, |status| status.st_size);
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
            Err(Errno::INVAL) => allocate(self.file.as_fd(), offset, length),
            done => done,
        }
    }

    /// Has the kernel map a part of the file by one of the two advices that do.
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

/// A file on its way to a name.
enum Nameless {
    /// It has none (`O_TMPFILE`).
    Unnamed(OwnedFd),
    /// It has a temporary one.
    Temporary(OwnedFd, PathBuf),
}

impl Drop for Nameless {
    fn drop(&mut self) {
        // With its name, if it has got one, there is another now.
        if let Self::Temporary(_, temporary) = self {
            // It fails if somebody was quicker.
            let _ = rustix::fs::unlink(&*temporary);
        }
    }
}

impl Nameless {
    fn make(directory: &Path, path: &Path) -> Result<Self, RingError> {
        let mode = Mode::RUSR | Mode::WUSR;
        match rustix::fs::open(directory, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode) {
            Ok(file) => return Ok(Self::Unnamed(file)),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {}
            Err(Errno::NOENT | Errno::NOTDIR) => return Err(no_directory(directory)),
            Err(Errno::NOSPC | Errno::DQUOT) => {
                return Err(RingError::NoSpace { path: path.into(), bytes: 0 });
            }
            Err(errno) => return Err(failure("make a file in", directory, errno)),
        }
        let nonce = crate::rdtsc();
        let temporary = directory.join(format!(".{PREFIX}{}-{nonce:x}", std::process::id()));
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::open(&temporary, flags, mode) {
            Ok(file) => Ok(Self::Temporary(file, temporary)),
            Err(errno) => Err(failure("make", path, errno)),
        }
    }

    fn file(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unnamed(file) | Self::Temporary(file, _) => file.as_fd(),
        }
    }

    /// Links the file as `path`, which must be free.
    fn give_name(self, path: &Path) -> Result<OwnedFd, RingError> {
        let linked = match &self {
            Self::Unnamed(file) => {
                let own = format!("/proc/self/fd/{}", file.as_raw_fd());
                match rustix::fs::linkat(CWD, &own, CWD, path, AtFlags::SYMLINK_FOLLOW) {
                    // Without /proc: allowed to those with CAP_DAC_READ_SEARCH.
                    Err(Errno::NOENT) => {
                        rustix::fs::linkat(file, "", CWD, path, AtFlags::EMPTY_PATH)
                    }
                    other => other,
                }
            }
            Self::Temporary(_, temporary) => {
                rustix::fs::linkat(CWD, temporary, CWD, path, AtFlags::empty())
            }
        };
        linked.map_err(|errno| failure("name", path, errno))?;
        // The same description under a number of its own, since this one goes with `self`.
        rustix::io::fcntl_dupfd_cloexec(self.file(), 0)
            .map_err(|errno| failure("keep open", path, errno))
    }
}

/// A description of a segment's file that belongs to one handle, and the locks taken through it.
#[derive(Debug)]
pub(crate) struct LockFile {
    file: ManuallyDrop<OwnedFd>,
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // SAFETY: taken here alone, and not used after.
        fork::close_unshared(unsafe { ManuallyDrop::take(&mut self.file) });
    }
}

impl Mapping {
    /// A new description of the mapped file, whatever became of its name.
    pub(super) fn lock_file(&self) -> Result<LockFile, RingError> {
        if self.generation != fork::generation() {
            // The mapping is a private copy here: what is sent through it, nobody gets.
            return Err(RingError::Forked { path: self.path.clone() });
        }
        let access = match self.rights {
            Rights::Participate => OFlags::RDWR,
            // Enough to ask who has a lock, and too little to take one.
            Rights::Observe => OFlags::RDONLY,
        };
        let file = fork::open_unshared(|| self.open_anew(access))?;
        Ok(LockFile { file: ManuallyDrop::new(file) })
    }

    /// A description of the file that nobody shares.
    pub(super) fn open_anew(&self, access: OFlags) -> Result<OwnedFd, RingError> {
        let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let flags = access | OFlags::CLOEXEC;
        match rustix::fs::open(&own, flags, Mode::empty()) {
            Err(Errno::NOENT) if self.name.is_some() => self.open_by_name(flags),
            other => other,
        }
        .map_err(|errno| match errno {
            Errno::NOENT => RingError::Io {
                action: "open again through /proc, which is not mounted,",
                path: self.path.clone(),
                source: io::Error::from(errno),
            },
            errno => failure("open again", &self.path, errno),
        })
    }

    /// By name, where /proc is missing: only if the name still leads to the same file.
    fn open_by_name(&self, flags: OFlags) -> Result<OwnedFd, Errno> {
        let file = rustix::fs::open(&self.path, flags | OFlags::NOFOLLOW, Mode::empty())?;
        let (ours, theirs) = (rustix::fs::fstat(&self.file)?, rustix::fs::fstat(&file)?);
        if (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino) {
            Ok(file)
        } else {
            Err(Errno::STALE)
        }
    }
}

/// The byte that stands for a place: where it begins in the file.
fn byte_of(place: Place) -> usize {
    match place {
        Place::Side(Side::Producer) => layout::COUNTERS_OFFSET,
        Place::Side(Side::Consumer) => layout::COUNTERS_OFFSET + 256,
        Place::Entry(index) => PARTICIPANTS_OFFSET + index * PARTICIPANT_SIZE,
        Place::Opening => 0,
    }
}

impl LockFile {
    pub(super) fn try_lock(&self, mapping: &Mapping, place: Place) -> Result<bool, RingError> {
        let kind = if place == Place::Opening { libc::F_RDLCK } else { libc::F_WRLCK };
        match self.command(libc::F_OFD_SETLK, kind, place) {
            Ok(_) => Ok(true),
            Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
            // A kernel, or a file system, that does not have such locks.
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => {
                Err(RingError::NoLocks { path: mapping.path.clone() })
            }
            Err(errno) => Err(failure("lock a part of", &mapping.path, errno)),
        }
    }

    pub(super) fn unlock(&self, place: Place) {
        // Giving back what one has cannot fail but for a closed descriptor, which has no locks.
        let _ = self.command(libc::F_OFD_SETLK, libc::F_UNLCK, place);
    }

    /// Whether another description has the lock. When the kernel will not say: yes, since the
    /// living must not be taken for dead.
    pub(super) fn is_locked(&self, place: Place) -> bool {
        self.command(libc::F_OFD_GETLK, libc::F_WRLCK, place)
            .map_or(true, |lock| lock.l_type != libc::F_UNLCK as libc::c_short)
    }

    fn command(
        &self,
        command: libc::c_int,
        kind: libc::c_int,
        place: Place,
    ) -> Result<libc::flock, Errno> {
        // SAFETY: `flock` is plain numbers, for which zeros are a value; l_pid must be 0.
        let mut lock: libc::flock = unsafe { core::mem::zeroed() };
        lock.l_type = kind as libc::c_short;
        lock.l_whence = libc::SEEK_SET as libc::c_short;
        lock.l_start = byte_of(place) as libc::off_t;
        lock.l_len = 1;
        loop {
            // SAFETY: the descriptor is open as long as `self`, and these commands read and
            // write the one `flock` behind the pointer. rustix has no byte-range form of them.
            let result = unsafe { libc::fcntl(self.file.as_raw_fd(), command, &raw mut lock) };
            if result != -1 {
                return Ok(lock);
            }
            match Errno::from_io_error(&io::Error::last_os_error()) {
                Some(Errno::INTR) => {}
                errno => return Err(errno.unwrap_or(Errno::IO)),
            }
        }
    }
}
