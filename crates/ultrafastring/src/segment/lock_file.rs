//! The file whose bytes participants lock, and descriptions of it.
//!
//! A process that may read a file can take a lock on it that blocks writers' locks (`F_RDLCK`,
//! fcntl(2)). So with locks on the segment itself, a reader could take all free entries, both
//! sides, and a dead peer's entry before anybody recovers it. Therefore locks are in a file of
//! their own, which only participants can open. For a named ring it is beside the ring's file; an
//! anonymous ring has two memory files.
//!
//! Each handle has its own description of the lock file, opened through `/proc/thread-self/fd`. It
//! is not `/proc/self`, which shows the table of the process's first thread, and a thread has
//! another table after `unshare(CLONE_FILES)`. For the same reason device and inode are compared
//! before each lock: in the current thread the number may mean another file, on which every lock
//! would be free.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::{format, io};

use rustix::fs::{Mode, OFlags, Stat};
use rustix::io::Errno;

use super::file::{open, read_words, write_words};
use super::fork::Unshared;
use super::system::failure;
use crate::error::{FileError, RingError};
use crate::layout::locks::{Place, lock_words};

/// Which file it is, independent of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inode {
    device: u64,
    number: u64,
}

impl Inode {
    // Types differ from machine to machine.
    #[allow(clippy::unnecessary_cast)]
    pub(super) fn of(status: &Stat) -> Self {
        Self { device: status.st_dev as u64, number: status.st_ino as u64 }
    }

    pub(super) fn of_file(file: impl AsFd) -> Result<Self, Errno> {
        Ok(Self::of(&rustix::fs::fstat(file)?))
    }

    /// Returns an error if the descriptor means another file, or none. A thread may have its own
    /// descriptor table.
    pub(super) fn check(self, file: impl AsFd) -> Result<(), Errno> {
        match Self::of_file(file) {
            Ok(there) if there == self => Ok(()),
            _ => Err(Errno::BADF),
        }
    }

    /// Whether `path` itself, and no link there, is this file.
    pub(super) fn is_at(self, path: &Path) -> Result<bool, Errno> {
        match rustix::fs::lstat(path) {
            Ok(status) => Ok(Self::of(&status) == self),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno),
        }
    }
}

/// A description of a lock file, and the locks taken through it.
#[derive(Debug)]
pub(crate) struct LockFile {
    file: Unshared,
    pub(super) inode: Inode,
}

impl AsFd for LockFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl LockFile {
    /// A description that `open` makes, and that a forked child does not keep.
    pub(super) fn open_with(open: impl FnOnce() -> Result<OwnedFd, Errno>) -> Result<Self, Errno> {
        let file = Unshared::open(open)?;
        let inode = Inode::of_file(&*file)?;
        Ok(Self { file, inode })
    }

    /// Another description of the same file, even if its name is gone. `path` is its path, if it
    /// has one.
    pub(super) fn open_anew(&self, path: Option<&Path>, access: OFlags) -> Result<Self, Errno> {
        Self::open_with(|| open_anew(self.file.as_fd(), self.inode, path, access))
    }

    /// Writes into a new file to which segment it belongs.
    pub(super) fn introduce(file: impl AsFd, identity: u64) -> Result<(), Errno> {
        write_words(file, 0, lock_words(identity))
    }

    /// Why it is not the lock file of the segment with this identity, if it is not.
    pub(super) fn objection(&self, identity: u64) -> Result<Option<&'static str>, Errno> {
        let expected = lock_words(identity);
        let found: Option<[u64; 4]> = read_words(&*self.file, 0)?;
        Ok(match found {
            Some(words) if words == expected => None,
            Some([magic, ..]) if magic == expected[0] => Some("belongs to another ring"),
            _ => Some("is none"),
        })
    }

    /// Takes the lock of a place if nobody has it, and returns whether it did.
    pub(super) fn try_lock(&self, place: Place, path: &Path) -> Result<bool, RingError> {
        self.try_take(libc::F_WRLCK, place, path)
    }

    /// Shares it, if nobody has it exclusively.
    pub(super) fn try_share(&self, place: Place, path: &Path) -> Result<bool, RingError> {
        self.try_take(libc::F_RDLCK, place, path)
    }

    fn try_take(&self, kind: libc::c_int, place: Place, path: &Path) -> Result<bool, RingError> {
        match self.command(libc::F_OFD_SETLK, kind, place) {
            Ok(_) => Ok(true),
            Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
            // A kernel, or a file system, that does not have such locks.
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => Err(FileError::NoLocks.at(path)),
            Err(errno) => Err(failure("lock a part of", path, errno)),
        }
    }

    /// Gives it back, and keeps all other locks.
    pub(super) fn unlock(&self, place: Place) {
        // This fails only for a closed descriptor, which has no locks.
        let _ = self.command(libc::F_OFD_SETLK, libc::F_UNLCK, place);
    }

    /// Whether another description has the lock, or shares it. If the kernel does not say, the
    /// answer is yes, since a living participant must not be taken for dead.
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
        self.inode.check(&*self.file)?;
        let (start, length) = place.bytes();
        // SAFETY: `flock` is plain numbers, for which zeros are a value; l_pid must be 0.
        let mut lock: libc::flock = unsafe { core::mem::zeroed() };
        lock.l_type = kind as libc::c_short;
        lock.l_whence = libc::SEEK_SET as libc::c_short;
        lock.l_start = start as libc::off_t;
        lock.l_len = length as libc::off_t;
        rustix::io::retry_on_intr(|| {
            // SAFETY: the descriptor is open as long as `self`, and these commands read and
            // write the one `flock` behind the pointer. rustix has no byte-range form of them.
            match unsafe { libc::fcntl(self.file.as_raw_fd(), command, &raw mut lock) } {
                -1 => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)),
                _ => Ok(lock),
            }
        })
    }
}

/// Opens the file behind a descriptor again, so that nothing is shared with it. If /proc is missing
/// or shows another thread's descriptors, it opens the file by its name, if it has one.
pub(super) fn open_anew(
    file: BorrowedFd<'_>,
    inode: Inode,
    path: Option<&Path>,
    access: OFlags,
) -> Result<OwnedFd, Errno> {
    let flags = access | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let checked = |file: OwnedFd| inode.check(&file).map(|()| file);
    // Another file is not opened, since opening may have effects.
    let through_proc = inode.check(file).and_then(|()| {
        let own = format!("/proc/thread-self/fd/{}", file.as_raw_fd());
        rustix::fs::open(&own, flags, Mode::empty()).and_then(checked)
    });
    match (through_proc, path) {
        (Err(errno @ (Errno::NOENT | Errno::BADF)), Some(path)) => {
            open(path, access).and_then(|file| checked(file).map_err(|_| errno))
        }
        (opened, _) => opened,
    }
}
