//! Opening a named ring.
//!
//! Opening trusts nothing. The name must lead to a regular file, not to a link, with an owner and a
//! mode that [`Trust`] allows. The header is checked against the file's size before anything is
//! mapped.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::string::ToString;
use std::thread;

use rustix::fs::{OFlags, Stat};
use rustix::io::Errno;

use super::{BETWEEN_LOOKS, MOST_LOOKS, lock_path, path_of};
use crate::error::{FileError, RingError};
use crate::layout::header::Geometry;
use crate::layout::locks::Place;
use crate::segment::Segment;
use crate::segment::file::{open, read_header};
use crate::segment::lock_file::{Inode, LockFile};
use crate::segment::mapping::{Files, Mapping, Rights};
use crate::segment::system::failure;
use crate::trust::Trust;

impl Segment {
    /// Opens the ring called `name`. A participant then shares the opening lock.
    pub(crate) fn open(
        directory: &Path,
        name: &str,
        rights: Rights,
        trust: Trust,
    ) -> Result<Self, RingError> {
        let path = path_of(directory, name)?;
        let access = rights.access();
        for _ in 0..MOST_LOOKS {
            if let Some(pair) = Pair::open(directory, name, access, access, trust)?
                && (rights == Rights::Observe || pair.lock(LockFile::try_share, Place::Opening)?)
            {
                let Pair { segment, geometry, locks, lock_path, .. } = pair;
                let (name, lock_path) = (Some(name.to_string()), Some(lock_path));
                let files = Files { segment, locks, name, lock_path, path, rights, trust };
                return Ok(Self::mapped(Mapping::new(files, &geometry, None)?, geometry));
            }
            thread::sleep(BETWEEN_LOOKS);
        }
        Err(FileError::BeingRemoved.at(path))
    }
}

/// A way to lock: [`LockFile::try_lock`] or [`LockFile::try_share`].
type Lock = fn(&LockFile, Place, &Path) -> Result<bool, RingError>;

/// The two files of a ring, checked.
pub(super) struct Pair {
    segment: OwnedFd,
    inode: Inode,
    pub(super) path: PathBuf,
    geometry: Geometry,
    /// `None`: an observer that may not open it.
    locks: Option<LockFile>,
    pub(super) lock_path: PathBuf,
}

impl Pair {
    /// Opens them. `None` if the ring is being removed, or was removed meanwhile.
    pub(super) fn open(
        directory: &Path,
        name: &str,
        access: OFlags,
        lock_access: OFlags,
        trust: Trust,
    ) -> Result<Option<Self>, RingError> {
        let path = path_of(directory, name)?;
        let (segment, status) = open_file(directory, &path, access)?;
        trust.check_file(&path, &status)?;
        let geometry = read_header(&segment, &path, &status)?;
        let lock_path = lock_path(directory, name, geometry.identity);
        let inode = Inode::of(&status);
        let mut pair = Self { segment, inode, path, geometry, locks: None, lock_path };
        let (path, lock_path) = (&pair.path, &pair.lock_path);
        let refuse = |reason| {
            let lock_file = lock_path.clone();
            Err(FileError::BadLockFile { lock_file, reason }.at(path))
        };
        let locks = match open_locks(lock_path, lock_access) {
            Err(Errno::NOENT) if pair.is_there()? => return refuse("is missing"),
            Err(Errno::NOENT) => return Ok(None),
            // It is enough for looking.
            Err(Errno::ACCESS | Errno::PERM) if lock_access == OFlags::RDONLY => {
                return Ok(Some(pair));
            }
            other => other.map_err(|errno| failure("open", lock_path, errno))?,
        };
        // It must be the lock file of this segment, and others must not be able to lock it.
        let failed = |errno| failure("look at", lock_path, errno);
        trust.check_locks(lock_path, &rustix::fs::fstat(&locks).map_err(failed)?)?;
        if let Some(reason) = locks.objection(geometry.identity).map_err(failed)? {
            return refuse(reason);
        }
        pair.locks = Some(locks);
        Ok(Some(pair))
    }

    /// Locks a place by `by`; `false` if that is not possible, or if the segment has lost its name
    /// meanwhile.
    pub(super) fn lock(&self, by: Lock, place: Place) -> Result<bool, RingError> {
        let Some(locks) = &self.locks else { return Ok(false) };
        Ok(by(locks, place, &self.lock_path)? && self.is_there()?)
    }

    /// Whether the segment still has its name.
    fn is_there(&self) -> Result<bool, RingError> {
        self.inode.is_at(&self.path).map_err(|errno| failure("look again at", &self.path, errno))
    }
}

/// Opens a ring's file, or another file of its name.
pub(super) fn open_file(
    directory: &Path,
    path: &Path,
    access: OFlags,
) -> Result<(OwnedFd, Stat), RingError> {
    let file = open(path, access).map_err(|errno| match errno {
        Errno::NOENT if !directory.is_dir() => FileError::NoDirectory.at(directory),
        Errno::NOTDIR => FileError::NoDirectory.at(directory),
        errno => failure("open", path, errno),
    })?;
    let status = rustix::fs::fstat(&file).map_err(|errno| failure("look at", path, errno))?;
    Ok((file, status))
}

pub(super) fn open_locks(path: &Path, access: OFlags) -> Result<LockFile, Errno> {
    LockFile::open_with(|| open(path, access))
}
