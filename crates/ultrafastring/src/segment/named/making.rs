//! Making a named ring.
//!
//! A ring gets its name only when it is complete. The file is made without a name (`O_TMPFILE`),
//! filled, given its memory, and then linked, which fails if the name is taken. So a creator that
//! is killed half-way leaves nothing that looks like a ring, and of two creators one wins. If the
//! file system has no unnamed files, a file with a temporary name is used instead.

use std::format;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::string::ToString;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use super::removing::sweep_of;
use super::{lock_path, path_of, temporary_path};
use crate::error::{FileError, RingError};
use crate::layout::areas::PAGE;
use crate::layout::locks::Place;
use crate::segment::Segment;
use crate::segment::file::{Making, fill, within_file_size_limit};
use crate::segment::lock_file::LockFile;
use crate::segment::mapping::{Files, Mapping, Rights};
use crate::segment::system::{failure, page_size};
use crate::trust::Trust;

impl Segment {
    /// Makes the two files of a ring called `name`, and maps it.
    pub(crate) fn create(
        directory: &Path,
        name: &str,
        making: Making<'_>,
        trust: Trust,
    ) -> Result<Self, RingError> {
        let mut geometry = making.geometry.for_pages_of(page_size());
        geometry.validate()?;
        let path = path_of(directory, name)?;
        within_file_size_limit(&geometry, &path)?;
        trust.check_directory_of_new(&path)?;
        let mut new_locks = NewLocks::make(directory, name, trust)?;
        geometry.identity = new_locks.identity;
        let temporary = temporary_path(directory, name, new_locks.identity);
        let (segment, temporary) =
            new_file(directory, &temporary).map_err(|errno| cannot_make(directory, errno))?;
        fill(segment.as_fd(), &Making { geometry, ..making }, &path)?;
        give_to(&segment, trust, &path)?;
        let files = Files {
            segment,
            locks: None,
            name: Some(name.to_string()),
            lock_path: None,
            path,
            rights: Rights::Participate,
            trust,
        };
        let mut mapping = Mapping::new(files, &geometry, Some(making.side_memory))?;
        let files = &mut mapping.files;
        // This is the last step that can fail. After an error the lock file is removed, and a
        // segment that already had its name would be without one.
        match &temporary.0 {
            None => link(files.segment.as_fd(), &files.path),
            Some(temporary) => {
                rustix::fs::linkat(CWD, temporary, CWD, &files.path, AtFlags::empty())
            }
        }
        .map_err(|errno| cannot_name(&files.path, errno))?;
        // The file has another name now.
        drop(temporary);
        new_locks.name.0 = None;
        (files.locks, files.lock_path) = (Some(new_locks.locks), Some(new_locks.path));
        // Files of processes that died while they made or removed a ring of this name.
        sweep_of(directory, name);
        Ok(Self::mapped(mapping, geometry))
    }
}

/// A random number that is not 0.
pub(in crate::segment) fn new_identity() -> Result<u64, Errno> {
    loop {
        let mut bytes = [0; 8];
        let got = rustix::io::retry_on_intr(|| getrandom(&mut bytes, GetRandomFlags::empty()))?;
        let identity = u64::from_ne_bytes(bytes);
        if got == bytes.len() && identity != 0 {
            return Ok(identity);
        }
    }
}

/// The temporary name of a new file, if it needs one. Dropping this removes the name.
struct Temporary(Option<PathBuf>);

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // It fails if somebody has removed it already.
            let _ = rustix::fs::unlink(path);
        }
    }
}

/// The lock file of a ring that is being made.
struct NewLocks {
    /// Its name, which is temporary until the segment has one. It is dropped first, because nobody
    /// else removes the file while the lock is shared.
    name: Temporary,
    locks: LockFile,
    path: PathBuf,
    identity: u64,
}

impl NewLocks {
    /// Makes the lock file of a ring that will be called `name`, and shares its opening lock.
    fn make(directory: &Path, name: &str, trust: Trust) -> Result<Self, RingError> {
        /// The first is taken once in 2^64 times, or because somebody makes it so on purpose.
        const MOST_IDENTITIES: u32 = 16;
        for _ in 0..MOST_IDENTITIES {
            let identity =
                new_identity().map_err(|errno| failure("name a lock file in", directory, errno))?;
            let path = lock_path(directory, name, identity);
            let mut name = Temporary(None);
            let opened = LockFile::open_with(|| {
                let file;
                (file, name) = new_file(directory, &path)?;
                Ok(file)
            });
            let locks = match opened {
                Err(Errno::EXIST) => continue,
                other => other.map_err(|errno| cannot_make(directory, errno))?,
            };
            let new = Self { name, locks, path, identity };
            if let Some(new) = new.begin(trust)? {
                return Ok(new);
            }
        }
        let source = Errno::EXIST.into();
        Err(FileError::Io { action: "make a lock file in", reason: source }.at(directory))
    }

    /// `None` if its name was taken, or it was swept before it was locked.
    fn begin(mut self, trust: Trust) -> Result<Option<Self>, RingError> {
        let locks = &self.locks;
        LockFile::introduce(locks, self.identity).map_err(|errno| match errno {
            Errno::NOSPC | Errno::DQUOT => FileError::NoSpace { bytes: PAGE }.at(&self.path),
            errno => failure("write into", &self.path, errno),
        })?;
        give_to(locks, trust, &self.path)?;
        if !locks.try_share(Place::Opening, &self.path)? {
            return Ok(None);
        }
        let there = if self.name.0.is_some() {
            locks.inode.is_at(&self.path)
        } else {
            match link(locks.as_fd(), &self.path) {
                Err(Errno::EXIST) => Ok(false),
                other => other.map(|()| true),
            }
        };
        let there = there.map_err(|errno| cannot_name(&self.path, errno))?;
        self.name.0 = there.then(|| self.path.clone());
        Ok(there.then_some(self))
    }
}

/// A new file, without a name if the file system has such files, otherwise called `otherwise`.
fn new_file(directory: &Path, otherwise: &Path) -> Result<(OwnedFd, Temporary), Errno> {
    let mode = Mode::RUSR | Mode::WUSR;
    match rustix::fs::open(directory, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode) {
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {}
        other => return other.map(|file| (file, Temporary(None))),
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open(otherwise, flags, mode).map(|file| (file, Temporary(Some(otherwise.into()))))
}

fn cannot_make(directory: &Path, errno: Errno) -> RingError {
    match errno {
        Errno::NOENT | Errno::NOTDIR => FileError::NoDirectory.at(directory),
        errno => cannot_name(directory, errno),
    }
}

fn cannot_name(path: &Path, errno: Errno) -> RingError {
    match errno {
        Errno::NOSPC | Errno::DQUOT => FileError::NoSpace { bytes: PAGE }.at(path),
        // This does not mean that the ring is missing.
        Errno::NOENT => FileError::Io {
            action: "name, for want of /proc or of its directory, the new",
            reason: errno.into(),
        }
        .at(path),
        errno => failure("make a file in", path, errno),
    }
}

/// Links a file that has no name as `path`, which must be free.
fn link(file: BorrowedFd<'_>, path: &Path) -> Result<(), Errno> {
    let own = format!("/proc/thread-self/fd/{}", file.as_raw_fd());
    match rustix::fs::linkat(CWD, &own, CWD, path, AtFlags::SYMLINK_FOLLOW) {
        // Without /proc: allowed to those with CAP_DAC_READ_SEARCH.
        Err(Errno::NOENT) => rustix::fs::linkat(file, "", CWD, path, AtFlags::EMPTY_PATH),
        other => other,
    }
}

/// Gives those whom its maker trusts the right to use a new file, regardless of the process's umask
/// and the directory's set-group-id bit.
pub(in crate::segment) fn give_to(
    file: impl AsFd,
    trust: Trust,
    path: &Path,
) -> Result<(), RingError> {
    let file = file.as_fd();
    if trust == Trust::Group {
        let group = rustix::process::getegid();
        rustix::fs::fchown(file, None, Some(group))
            .map_err(|errno| failure("set the group of", path, errno))?;
    }
    rustix::fs::fchmod(file, trust.mode()).map_err(|errno| failure("set the mode of", path, errno))
}
