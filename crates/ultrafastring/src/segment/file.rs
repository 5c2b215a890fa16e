//! A named segment: one file, mapped by every process that takes part.
//!
//! A ring has its name only once it is whole: the file is made without a name (`O_TMPFILE`),
//! filled, given its memory, and then linked, which fails if the name is taken. So a creator that
//! is killed half-way leaves nothing, and of two creators at once one wins. Where the file system
//! knows no unnamed files, a file with a temporary name of its own takes its place.

use alloc::sync::Arc;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, io};

use rustix::fs::{AtFlags, CWD, FallocateFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

use super::{Backing, Place, Segment, fork};
use crate::RingError;
use crate::layout::{
    self, BadHeader, Geometry, HEADER_WORDS, PARTICIPANT_SIZE, PARTICIPANTS_OFFSET, Side,
};

/// Where named rings live unless a directory is given.
pub const DEFAULT_DIRECTORY: &str = "/dev/shm";

/// What a ring's file name begins with.
const PREFIX: &str = "ufr-";

/// Longest name of a ring, in bytes.
const LONGEST_NAME: usize = 200;

/// A mapped file.
pub(crate) struct Mapping {
    base: NonNull<u8>,
    length: usize,
    file: OwnedFd,
    name: String,
    path: PathBuf,
    /// Of the process that mapped it.
    generation: u64,
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
fn failure(action: &'static str, path: &Path, errno: Errno) -> RingError {
    let path = path.to_path_buf();
    match errno {
        Errno::EXIST => RingError::NameTaken { path },
        Errno::NOENT => RingError::NoSuchRing { path },
        Errno::ACCESS | Errno::PERM => RingError::PermissionDenied { path },
        Errno::LOOP => RingError::NotARing { path, reason: "it is a symbolic link" },
        _ => RingError::Io { action, path, source: io::Error::from(errno) },
    }
}

impl Segment {
    /// Makes a new named segment.
    pub(crate) fn create(
        directory: &Path,
        name: &str,
        geometry: Geometry,
    ) -> Result<Self, RingError> {
        geometry.validate()?;
        let path = path_of(directory, name)?;
        let nameless = Nameless::make(directory, &path)?;
        let length = geometry.offsets().end;
        // The memory is taken now, so that a full file system is an error here and not a SIGBUS
        // when a page is first touched.
        rustix::fs::fallocate(nameless.file(), FallocateFlags::empty(), 0, length as u64).map_err(
            |errno| match errno {
                Errno::NOSPC | Errno::NOMEM | Errno::FBIG | Errno::DQUOT => {
                    RingError::NoSpace { path: path.clone(), bytes: length }
                }
                errno => failure("allocate", &path, errno),
            },
        )?;
        let words = geometry.encode();
        let mut bytes = [0; HEADER_WORDS * 8];
        for (bytes, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
        }
        let written = rustix::io::pwrite(nameless.file(), &bytes, 0)
            .map_err(|errno| failure("write the header of", &path, errno))?;
        if written != bytes.len() {
            return Err(failure("write the header of", &path, Errno::IO));
        }
        let file = nameless.give_name(&path)?;
        Self::map(file, geometry, name, path)
    }

    /// Opens the segment called `name`.
    pub(crate) fn open(directory: &Path, name: &str) -> Result<Self, RingError> {
        let path = path_of(directory, name)?;
        // Non-blocking, in case the name is a pipe's; it is refused below.
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = rustix::fs::open(&path, flags, Mode::empty())
            .map_err(|errno| failure("open", &path, errno))?;
        let status = rustix::fs::fstat(&file).map_err(|errno| failure("look at", &path, errno))?;
        if rustix::fs::FileType::from_raw_mode(status.st_mode) != rustix::fs::FileType::RegularFile
        {
            return Err(RingError::NotARing { path, reason: "it is not a regular file" });
        }
        if status.st_uid != rustix::process::geteuid().as_raw() {
            return Err(RingError::ForeignOwner { path, uid: status.st_uid });
        }
        let mut bytes = [0; HEADER_WORDS * 8];
        let read = rustix::io::pread(&file, &mut bytes, 0)
            .map_err(|errno| failure("read the header of", &path, errno))?;
        if read != bytes.len() {
            return Err(RingError::NotARing { path, reason: "it is too short for a header" });
        }
        let words: [u64; HEADER_WORDS] = core::array::from_fn(|i| {
            u64::from_le_bytes(core::array::from_fn(|j| bytes[8 * i + j]))
        });
        let size = u64::try_from(status.st_size).unwrap_or(0);
        let geometry = Geometry::decode(&words, size).map_err(|bad| match bad {
            BadHeader::NotARing(reason) => RingError::NotARing { path: path.clone(), reason },
            BadHeader::Version(found) => RingError::LayoutVersion { path: path.clone(), found },
        })?;
        Self::map(file, geometry, name, path)
    }

    fn map(
        file: OwnedFd,
        geometry: Geometry,
        name: &str,
        path: PathBuf,
    ) -> Result<Self, RingError> {
        let length = geometry.offsets().end;
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let base = unsafe {
            rustix::mm::mmap(
                core::ptr::null_mut(),
                length,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                &file,
                0,
            )
        }
        .map_err(|errno| match errno {
            Errno::NOMEM => RingError::OutOfMemory { bytes: length },
            errno => failure("map", &path, errno),
        })?;
        let Some(base) = NonNull::new(base.cast::<u8>()) else {
            return Err(RingError::OutOfMemory { bytes: length });
        };
        fork::note_mapping(base.as_ptr(), length, file.as_raw_fd());
        let (name, generation) = (name.to_string(), fork::generation());
        let mapping = Mapping { base, length, file, name, path, generation };
        // SAFETY: the kernel maps whole pages, `length` bytes of them; they are shared with other
        // processes, which is why all is atomics; the mapping stays while `Backing` does.
        Ok(unsafe { Self::from_base(base, geometry, Backing::File(Arc::new(mapping))) })
    }

    /// The ring's name, if it has one.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.backing {
            Backing::File(mapping) => Some(&mapping.name),
            #[allow(unreachable_patterns)]
            _ => None,
        }
    }

    /// The ring's file, if it has one.
    pub(crate) fn path(&self) -> Option<&Path> {
        match &self.backing {
            Backing::File(mapping) => Some(&mapping.path),
            #[allow(unreachable_patterns)]
            _ => None,
        }
    }
}

/// A file on its way to a name.
enum Nameless {
    /// It has none (`O_TMPFILE`).
    Unnamed(OwnedFd),
    /// It has a temporary one.
    Temporary(OwnedFd, PathBuf),
}

impl Nameless {
    fn make(directory: &Path, path: &Path) -> Result<Self, RingError> {
        let mode = Mode::RUSR | Mode::WUSR;
        match rustix::fs::open(directory, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode) {
            Ok(file) => return Ok(Self::Unnamed(file)),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {}
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
                let linked = rustix::fs::linkat(CWD, temporary, CWD, path, AtFlags::empty());
                let _ = rustix::fs::unlink(temporary);
                linked
            }
        };
        linked.map_err(|errno| failure("name", path, errno))?;
        match self {
            Self::Unnamed(file) | Self::Temporary(file, _) => Ok(file),
        }
    }
}

/// A description of a segment's file that belongs to one handle, and the locks taken through it.
#[derive(Debug)]
pub(crate) struct LockFile {
    file: OwnedFd,
}

impl Drop for LockFile {
    fn drop(&mut self) {
        fork::forget_lock_file(self.file.as_raw_fd());
    }
}

impl Mapping {
    /// A new description of the mapped file, whatever became of its name.
    pub(super) fn lock_file(&self) -> Result<LockFile, RingError> {
        if self.generation != fork::generation() {
            // The mapping is a private copy here: what is sent through it, nobody gets.
            return Err(RingError::Forked { path: self.path.clone() });
        }
        let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let opened = fork::open_lock_file(|| match rustix::fs::open(&own, flags, Mode::empty()) {
            Err(Errno::NOENT) => self.open_again(flags),
            other => other,
        });
        let file = opened.map_err(|errno| failure("open again", &self.path, errno))?;
        Ok(LockFile { file })
    }

    /// By name, where /proc is missing: only if the name still leads to the same file.
    fn open_again(&self, flags: OFlags) -> Result<OwnedFd, Errno> {
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
    }
}

impl LockFile {
    pub(super) fn try_lock(&self, mapping: &Mapping, place: Place) -> Result<bool, RingError> {
        match self.command(libc::F_OFD_SETLK, libc::F_WRLCK, place) {
            Ok(_) => Ok(true),
            Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
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
