//! The file whose bytes participants lock, and descriptions of it.
//!
//! A lock that keeps others from writing needs no more than the right to read (`F_RDLCK`, fcntl(2)).
//! Locks on the segment itself would therefore be everybody's who may look at it: a reader could take
//! all free entries, both sides, and a dead peer's entry before anybody recovers it. So they lie
//! in a file of its own, which only those can open who may take part. For a named ring it lies
//! beside the ring's file; an anonymous one has two memory files.
//!
//! Each handle has a description of the lock file that nobody shares, opened anew through
//! `/proc/thread-self/fd`: not `/proc/self`, which is the table of the process's first thread, and
//! another one's after `unshare(CLONE_FILES)`. For the same reason device and inode are compared
//! before each lock: a number may mean another file in the thread that uses it, where every lock
//! would be free.

use core::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::{format, io};

use rustix::fs::{Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{Place, file::failure, fork};
use crate::RingError;
use crate::layout::{lock_bytes, lock_words};

/// Which file it is, whatever it is called.
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
    file: ManuallyDrop<OwnedFd>,
    inode: Inode,
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // SAFETY: taken here alone, and not used after.
        fork::close_unshared(unsafe { ManuallyDrop::take(&mut self.file) });
    }
}

impl AsFd for LockFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl LockFile {
    /// A description that `open` makes, which a forked child will not have.
    pub(super) fn open_with(open: impl FnOnce() -> Result<OwnedFd, Errno>) -> Result<Self, Errno> {
        let file = fork::open_unshared(open)?;
        // Owned before anything can fail, so that it is taken off the list.
        let mut opened =
            Self { file: ManuallyDrop::new(file), inode: Inode { device: 0, number: 0 } };
        opened.inode = Inode::of_file(&*opened.file)?;
        Ok(opened)
    }

    /// Another description of the same file, whatever became of its name; `path` if it has one.
    pub(super) fn open_anew(&self, path: Option<&Path>, access: OFlags) -> Result<Self, Errno> {
        let opened = Self::open_with(|| open_anew(self.file.as_fd(), self.inode, path, access))?;
        if opened.inode == self.inode { Ok(opened) } else { Err(Errno::BADF) }
    }

    pub(super) fn inode(&self) -> Inode {
        self.inode
    }

    /// Writes into a new file whose it is.
    pub(super) fn introduce(file: impl AsFd, identity: u64) -> Result<(), Errno> {
        let mut bytes = [0; 32];
        for (bytes, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(lock_words(identity)) {
            *bytes = word.to_ne_bytes();
        }
        match rustix::io::pwrite(file, &bytes, 0)? {
            32 => Ok(()),
            _ => Err(Errno::NOSPC),
        }
    }

    /// Why it is not the lock file of the segment with this identity, if it is not.
    pub(super) fn objection(&self, identity: u64) -> Result<Option<&'static str>, Errno> {
        let mut bytes = [0; 32];
        let read = rustix::io::pread(&*self.file, &mut bytes, 0)?;
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_ne_bytes(*bytes);
        }
        let expected = lock_words(identity);
        Ok(if read != bytes.len() || words[0] != expected[0] {
            Some("is none")
        } else if words != expected {
            Some("belongs to another ring")
        } else {
            None
        })
    }

    /// Takes the lock of a place if nobody has it; says whether it did.
    pub(super) fn try_lock(&self, place: Place, path: &Path) -> Result<bool, RingError> {
        let (start, length) = bytes_of(place);
        self.try_take(libc::F_WRLCK, start, length, path)
    }

    /// Takes an entry's claim alone.
    pub(super) fn try_claim(&self, index: usize, path: &Path) -> Result<bool, RingError> {
        self.try_take(libc::F_WRLCK, lock_bytes::claim(index), 1, path)
    }

    /// Gives it back, and keeps the rest of what is held.
    pub(super) fn give_claim_back(&self, index: usize) {
        let _ = self.command(libc::F_OFD_SETLK, libc::F_UNLCK, lock_bytes::claim(index), 1);
    }

    /// Whether another description has it.
    pub(super) fn is_claimed(&self, index: usize) -> bool {
        self.are_bytes_locked(lock_bytes::claim(index), 1)
    }

    /// Shares the lock of those who have the ring open; `false` if somebody is removing it.
    pub(super) fn try_share_opening(&self, path: &Path) -> Result<bool, RingError> {
        self.try_take(libc::F_RDLCK, lock_bytes::OPENING, 1, path)
    }

    /// Whether another description shares that lock.
    pub(super) fn is_open_elsewhere(&self) -> bool {
        self.are_bytes_locked(lock_bytes::OPENING, 1)
    }

    /// Takes every lock that there is if nobody has any.
    pub(super) fn try_lock_everything(&self, path: &Path) -> Result<bool, RingError> {
        // A length of 0 reaches to the end of all files.
        self.try_take(libc::F_WRLCK, 0, 0, path)
    }

    /// Takes the lock of who removes the ring.
    pub(super) fn try_lock_removing(&self, path: &Path) -> Result<bool, RingError> {
        self.try_take(libc::F_WRLCK, lock_bytes::REMOVING, 1, path)
    }

    fn try_take(
        &self,
        kind: libc::c_int,
        start: u64,
        length: u64,
        path: &Path,
    ) -> Result<bool, RingError> {
        match self.command(libc::F_OFD_SETLK, kind, start, length) {
            Ok(_) => Ok(true),
            Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
            // A kernel, or a file system, that does not have such locks.
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => {
                Err(RingError::NoLocks { path: path.into() })
            }
            Err(errno) => Err(failure("lock a part of", path, errno)),
        }
    }

    pub(super) fn unlock(&self, place: Place) {
        // Giving back what one has cannot fail but for a closed descriptor, which has no locks.
        let (start, length) = bytes_of(place);
        let _ = self.command(libc::F_OFD_SETLK, libc::F_UNLCK, start, length);
    }

    /// Whether another description has the lock. When the kernel will not say: yes, since the
    /// living must not be taken for dead.
    pub(super) fn is_locked(&self, place: Place) -> bool {
        let (start, length) = bytes_of(place);
        self.are_bytes_locked(start, length)
    }

    fn are_bytes_locked(&self, start: u64, length: u64) -> bool {
        self.command(libc::F_OFD_GETLK, libc::F_WRLCK, start, length)
            .map_or(true, |lock| lock.l_type != libc::F_UNLCK as libc::c_short)
    }

    fn command(
        &self,
        command: libc::c_int,
        kind: libc::c_int,
        start: u64,
        length: u64,
    ) -> Result<libc::flock, Errno> {
        if Inode::of_file(&*self.file)? != self.inode {
            return Err(Errno::BADF);
        }
        // SAFETY: `flock` is plain numbers, for which zeros are a value; l_pid must be 0.
        let mut lock: libc::flock = unsafe { core::mem::zeroed() };
        lock.l_type = kind as libc::c_short;
        lock.l_whence = libc::SEEK_SET as libc::c_short;
        lock.l_start = start as libc::off_t;
        lock.l_len = length as libc::off_t;
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

/// Where the lock of a place begins, and how long it is.
fn bytes_of(place: Place) -> (u64, u64) {
    match place {
        Place::Side(side) => (lock_bytes::side(side), 1),
        // Claim and life at once.
        Place::Entry(index) => (lock_bytes::claim(index), 2),
    }
}

/// Opens the file behind a descriptor once more, so that nothing is shared with it; by its name, if
/// it has one, where /proc is missing or shows another thread's descriptors.
pub(super) fn open_anew(
    file: BorrowedFd<'_>,
    inode: Inode,
    path: Option<&Path>,
    access: OFlags,
) -> Result<OwnedFd, Errno> {
    let flags = access | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let unless_another = |file: OwnedFd, errno| match Inode::of_file(&file) {
        Ok(there) if there == inode => Ok(file),
        _ => Err(errno),
    };
    // Not opened if it is another file: opening may have effects.
    let through_proc = match Inode::of_file(file) {
        Ok(there) if there == inode => {
            let own = format!("/proc/thread-self/fd/{}", file.as_raw_fd());
            rustix::fs::open(&own, flags, Mode::empty())
                .and_then(|file| unless_another(file, Errno::BADF))
        }
        _ => Err(Errno::BADF),
    };
    match (through_proc, path) {
        (Err(errno @ (Errno::NOENT | Errno::BADF)), Some(path)) => {
            rustix::fs::open(path, flags | OFlags::NOFOLLOW, Mode::empty())
                .and_then(|file| unless_another(file, errno))
        }
        (opened, _) => opened,
    }
}
