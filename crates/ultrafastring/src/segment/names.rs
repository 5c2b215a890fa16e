//! The two files of a named ring: what they are called, and how they come and go as one.
//!
//! | file | called | made | removed |
//! |---|---|---|---|
//! | segment | `ufr-NAME` | second | first |
//! | lock file | `.ufr-NAME.lock-IDENTITY` | first | second |
//!
//! The identity is a random number, which the segment's header says. So the segment's name alone
//! decides whether there is a ring: it appears in one step, whoever finds it finds its lock file,
//! two creators never want the same lock file, and all that a death leaves between two steps is a
//! lock file that no segment names. It is in nobody's way, and is swept by whoever makes or removes
//! a ring of that name.
//!
//! Nobody is left with a ring whose name is gone, unless somebody removes it in spite of its users:
//!
//! ```text
//!  who opens                                who removes what is stale
//!  share the lock of the opening            take all locks, or leave it alone
//!  is the name still this file's?           is the name still this file's?
//!  if not: from the beginning               unlink the segment, then the lock file
//! ```
//!
//! A creator shares the lock of the opening before its lock file has a name.

use core::time::Duration;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, io, thread};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use super::file::{Rights, failure, no_directory, read_header, read_words};
use super::lock_file::{Inode, LockFile};
use crate::layout::{Geometry, MAGIC, identity_of};
use crate::participant::is_text;
use crate::{RingError, Trust};

/// What the name of a ring's file begins with.
const PREFIX: &str = "ufr-";

/// What the names of the files beside it begin with: no ring's does.
const HIDDEN: &str = ".ufr-";

/// Longest name of a ring, in bytes.
const LONGEST_NAME: usize = 200;

/// How often somebody who is in the way of a call is waited for, and for how long each time: a
/// removal takes some microseconds.
const MOST_LOOKS: u32 = 1_000;
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

/// The path of the ring called `name` in `directory`.
pub(crate) fn path_of(directory: &Path, name: &str) -> Result<PathBuf, RingError> {
    let usable = !name.is_empty()
        && name.len() <= LONGEST_NAME
        && !name.starts_with('.')
        && name.chars().all(|c| c != '/' && is_text(c));
    if !usable {
        return Err(RingError::BadName { name: name.to_string() });
    }
    Ok(directory.join(format!("{PREFIX}{name}")))
}

/// The lock file of the ring of this name and identity.
fn lock_path(directory: &Path, name: &str, identity: u64) -> PathBuf {
    directory.join(format!("{HIDDEN}{name}.lock-{identity:016x}"))
}

/// What a new segment is called until it is whole, where the file system knows no files without names.
fn temporary_path(directory: &Path, name: &str, identity: u64) -> PathBuf {
    directory.join(format!("{HIDDEN}{name}.new-{identity:016x}"))
}

/// The name and the identity that a file beside a ring's says, if it is one.
fn parse_hidden(file_name: &str) -> Option<(&str, u64)> {
    let (rest, identity) = file_name.strip_prefix(HIDDEN)?.rsplit_once('-')?;
    let name = rest.strip_suffix(".lock").or_else(|| rest.strip_suffix(".new"))?;
    let identity = u64::from_str_radix(identity, 16).ok().filter(|_| identity.len() == 16)?;
    Some((name, identity))
}

/// The names of all files in `directory` that are text.
fn files_in(directory: &Path) -> Result<Vec<String>, RingError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => no_directory(directory),
        _ => RingError::Io { action: "list", path: directory.into(), source: error },
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        names.extend(entry.map_err(failed)?.file_name().into_string().ok());
    }
    Ok(names)
}

/// The names of the files in `directory` that are named as rings are, sorted.
pub(crate) fn names_in(directory: &Path) -> Result<Vec<String>, RingError> {
    let mut names: Vec<String> = files_in(directory)?
        .iter()
        .filter_map(|file| file.strip_prefix(PREFIX))
        .filter(|name| path_of(directory, name).is_ok())
        .map(str::to_string)
        .collect();
    names.sort();
    Ok(names)
}

// ---- making ------------------------------------------------------------------------------

/// A random number that is not 0.
pub(super) fn new_identity() -> Result<u64, Errno> {
    loop {
        let mut bytes = [0; 8];
        let got = rustix::io::retry_on_intr(|| getrandom(&mut bytes, GetRandomFlags::empty()))?;
        let identity = u64::from_ne_bytes(bytes);
        if got == bytes.len() && identity != 0 {
            return Ok(identity);
        }
    }
}

/// The lock file of a ring that is being made; it goes with this unless it is kept.
pub(super) struct NewLocks {
    locks: Option<LockFile>,
    path: PathBuf,
    has_name: bool,
    pub(super) identity: u64,
}

impl Drop for NewLocks {
    fn drop(&mut self) {
        if self.has_name && self.locks.is_some() {
            // Nobody else does, since its lock is shared until now.
            let _ = rustix::fs::unlink(&self.path);
        }
    }
}

impl NewLocks {
    /// Makes the lock file of a ring that is going to be called `name`, and shares its lock of the
    /// opening.
    pub(super) fn make(directory: &Path, name: &str, trust: Trust) -> Result<Self, RingError> {
        /// That the first is taken happens once in 2^64 times, or because somebody wants it to.
        const MOST_IDENTITIES: u32 = 16;
        for _ in 0..MOST_IDENTITIES {
            let identity =
                new_identity().map_err(|errno| failure("name a lock file in", directory, errno))?;
            let path = lock_path(directory, name, identity);
            let mut has_name = false;
            let opened = LockFile::open_with(|| {
                let file;
                (file, has_name) = new_file(directory, &path)?;
                Ok(file)
            });
            let locks = match opened {
                Err(Errno::EXIST) => continue,
                other => other.map_err(|errno| cannot_make(directory, errno))?,
            };
            let new = Self { locks: Some(locks), path, has_name, identity };
            if let Some(new) = new.begin(trust)? {
                return Ok(new);
            }
        }
        let source = Errno::EXIST.into();
        Err(RingError::Io { action: "make a lock file in", path: directory.into(), source })
    }

    /// `None` if its name was taken, or it was swept before it was locked.
    fn begin(mut self, trust: Trust) -> Result<Option<Self>, RingError> {
        let Some(locks) = &self.locks else { return Ok(None) };
        LockFile::introduce(locks, self.identity).map_err(|errno| match errno {
            Errno::NOSPC | Errno::DQUOT => RingError::NoSpace { path: self.path.clone(), bytes: 0 },
            errno => failure("write into", &self.path, errno),
        })?;
        give_to(locks, trust, &self.path)?;
        if !locks.try_share_opening(&self.path)? {
            return Ok(None);
        }
        let there = if self.has_name {
            locks.inode().is_at(&self.path)
        } else {
            match link(locks.as_fd(), &self.path) {
                Err(Errno::EXIST) => Ok(false),
                other => other.map(|()| true),
            }
        };
        self.has_name = there.map_err(|errno| cannot_name(&self.path, errno))?;
        Ok(self.has_name.then_some(self))
    }

    /// Where the new segment of this lock file is to lie until it has its name.
    pub(super) fn temporary_path(&self, directory: &Path, name: &str) -> PathBuf {
        temporary_path(directory, name, self.identity)
    }

    /// The lock file stays: the segment has its name.
    pub(super) fn keep(mut self) -> (Option<LockFile>, PathBuf) {
        (self.locks.take(), core::mem::take(&mut self.path))
    }
}

/// A new file, without a name where the file system knows such files, else as `otherwise`. Says
/// whether it has that name.
fn new_file(directory: &Path, otherwise: &Path) -> Result<(OwnedFd, bool), Errno> {
    let mode = Mode::RUSR | Mode::WUSR;
    match rustix::fs::open(directory, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode) {
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {}
        other => return other.map(|file| (file, false)),
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open(otherwise, flags, mode).map(|file| (file, true))
}

fn cannot_make(directory: &Path, errno: Errno) -> RingError {
    match errno {
        Errno::NOENT | Errno::NOTDIR => no_directory(directory),
        errno => cannot_name(directory, errno),
    }
}

fn cannot_name(path: &Path, errno: Errno) -> RingError {
    match errno {
        Errno::NOSPC | Errno::DQUOT => RingError::NoSpace { path: path.into(), bytes: 0 },
        // Not that the ring is missing.
        Errno::NOENT => RingError::Io {
            action: "name, for want of /proc or of its directory, the new",
            path: path.into(),
            source: errno.into(),
        },
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

/// Lets those use a new file whom its maker trusts, whatever the process's umask and the directory's
/// set-group-id bit would have.
pub(super) fn give_to(file: impl AsFd, trust: Trust, path: &Path) -> Result<(), RingError> {
    let file = file.as_fd();
    if trust == Trust::Group {
        let group = rustix::process::getegid();
        rustix::fs::fchown(file, None, Some(group))
            .map_err(|errno| failure("set the group of", path, errno))?;
    }
    rustix::fs::fchmod(file, trust.mode()).map_err(|errno| failure("set the mode of", path, errno))
}

/// What a new segment's file is called on its way to its name, if it has to be called something.
pub(super) struct Nameless {
    temporary: Option<PathBuf>,
}

impl Drop for Nameless {
    fn drop(&mut self) {
        // With its name, if it has got one, there is another now.
        if let Some(temporary) = &self.temporary {
            // It fails if somebody was quicker.
            let _ = rustix::fs::unlink(temporary);
        }
    }
}

impl Nameless {
    /// Makes the file, which lasts as long as the descriptor.
    pub(super) fn make(directory: &Path, temporary: PathBuf) -> Result<(OwnedFd, Self), RingError> {
        let (file, is_named) =
            new_file(directory, &temporary).map_err(|errno| cannot_make(directory, errno))?;
        Ok((file, Self { temporary: is_named.then_some(temporary) }))
    }

    /// Links `file`, which was made with this, as `path`, which must be free.
    pub(super) fn give_name(self, file: BorrowedFd<'_>, path: &Path) -> Result<(), RingError> {
        match &self.temporary {
            None => link(file, path),
            Some(temporary) => rustix::fs::linkat(CWD, temporary, CWD, path, AtFlags::empty()),
        }
        .map_err(|errno| cannot_name(path, errno))
    }
}

// ---- opening -----------------------------------------------------------------------------

/// The two files of a ring, checked.
pub(super) struct Pair {
    pub(super) file: OwnedFd,
    pub(super) geometry: Geometry,
    /// `None`: an observer that may not open it.
    pub(super) locks: Option<LockFile>,
    pub(super) lock_path: PathBuf,
}

impl Pair {
    /// Opens the ring called `name`; who wants to take part then shares the lock of the opening.
    pub(super) fn open(
        directory: &Path,
        name: &str,
        rights: Rights,
        trust: Trust,
    ) -> Result<Self, RingError> {
        let path = path_of(directory, name)?;
        for _ in 0..MOST_LOOKS {
            if let Some(pair) = Self::try_open(directory, name, &path, rights, trust)? {
                return Ok(pair);
            }
            thread::sleep(BETWEEN_LOOKS);
        }
        Err(RingError::BeingRemoved { path })
    }

    /// `None` if it is being removed at this moment, or was while we looked.
    fn try_open(
        directory: &Path,
        name: &str,
        path: &Path,
        rights: Rights,
        trust: Trust,
    ) -> Result<Option<Self>, RingError> {
        let access = match rights {
            Rights::Participate => OFlags::RDWR,
            // Enough to ask who has a lock.
            Rights::Observe => OFlags::RDONLY,
        };
        let (file, status) = open_file(directory, path, access)?;
        trust.check_file(path, &status)?;
        let geometry = read_header(&file, path, &status)?;
        let inode = Inode::of(&status);
        let is_there = || inode.is_at(path).map_err(|errno| failure("look again at", path, errno));
        let lock_path = lock_path(directory, name, geometry.identity);
        let opened = open_locks(&lock_path, access);
        let locks = match opened {
            Err(Errno::NOENT) if is_there()? => return Err(no_locks_beside(path, lock_path)),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::ACCESS | Errno::PERM) if rights == Rights::Observe => {
                return Ok(Some(Self { file, geometry, locks: None, lock_path }));
            }
            other => other.map_err(|errno| failure("open", &lock_path, errno))?,
        };
        check_locks(&locks, path, &lock_path, geometry.identity, trust)?;
        if rights == Rights::Participate && !(locks.try_share_opening(&lock_path)? && is_there()?) {
            return Ok(None);
        }
        Ok(Some(Self { file, geometry, locks: Some(locks), lock_path }))
    }
}

/// Opens a ring's file, or what has its name, without waiting and without following a link.
fn open_file(directory: &Path, path: &Path, access: OFlags) -> Result<(OwnedFd, Stat), RingError> {
    // Non-blocking, in case the name is a pipe's.
    let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT if !directory.is_dir() => no_directory(directory),
        Errno::NOTDIR => no_directory(directory),
        errno => failure("open", path, errno),
    })?;
    let status = rustix::fs::fstat(&file).map_err(|errno| failure("look at", path, errno))?;
    Ok((file, status))
}

fn open_locks(path: &Path, access: OFlags) -> Result<LockFile, Errno> {
    let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    LockFile::open_with(|| rustix::fs::open(path, flags, Mode::empty()))
}

fn no_locks_beside(path: &Path, lock_file: PathBuf) -> RingError {
    RingError::BadLockFile { path: path.into(), lock_file, reason: "is missing" }
}

/// Refuses what is not the lock file of the segment at `path`, or what others could lock.
fn check_locks(
    locks: &LockFile,
    path: &Path,
    lock_path: &Path,
    identity: u64,
    trust: Trust,
) -> Result<(), RingError> {
    let failed = |errno| failure("look at", lock_path, errno);
    trust.check_locks(lock_path, &rustix::fs::fstat(locks).map_err(failed)?)?;
    match locks.objection(identity).map_err(failed)? {
        None => Ok(()),
        Some(reason) => {
            Err(RingError::BadLockFile { path: path.into(), lock_file: lock_path.into(), reason })
        }
    }
}

// ---- removing ----------------------------------------------------------------------------

/// Takes a ring's name away. Those who have it open go on; its memory ends with the last of them.
pub(crate) fn remove(directory: &Path, name: &str) -> Result<(), RingError> {
    let path = path_of(directory, name)?;
    let failed = |errno| failure("remove", &path, errno);
    for _ in 0..MOST_LOOKS {
        let (file, status) = open_file(directory, &path, OFlags::RDONLY)?;
        let refuse = |reason| Err(RingError::NotARing { path: path.clone(), reason });
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return refuse("it is not a regular file");
        }
        let words = read_words(&file).map_err(failed)?;
        // Of any version; and one that was wiped out or made shorter has its lock file still.
        if words.is_none_or(|words| words[0] != MAGIC)
            && !hidden_in(directory)?.iter().any(|(ring, _)| ring == name)
        {
            return refuse("it does not begin as a ring does; if it is yours, remove it as a file");
        }
        let identity = words.as_ref().and_then(identity_of);
        let lock_path = identity.map(|identity| lock_path(directory, name, identity));
        // So that nobody removes it and makes another one between the look and the removal.
        let _removing = lock_path.as_deref().map(lock_for_removal).transpose()?;
        if !Inode::of(&status).is_at(&path).map_err(failed)? {
            continue;
        }
        rustix::fs::unlink(&path).map_err(failed)?;
        if let Some(lock_path) = lock_path {
            // It may be missing.
            let _ = rustix::fs::unlink(&lock_path);
        }
        sweep_of(directory, name);
        return Ok(());
    }
    Err(RingError::BeingRemoved { path })
}

/// The lock of who removes, if it can be had in a while.
fn lock_for_removal(path: &Path) -> Result<Option<LockFile>, RingError> {
    // Who may not open it, or finds none, may remove the ring all the same.
    let Ok(locks) = open_locks(path, OFlags::RDWR) else { return Ok(None) };
    for _ in 0..MOST_LOOKS / 10 {
        if locks.try_lock_removing(path)? {
            return Ok(Some(locks));
        }
        thread::sleep(BETWEEN_LOOKS);
    }
    // Somebody has locked it for ever, which is no reason to keep the ring.
    Ok(None)
}

/// Removes a ring that nobody alive has open; says whether it did.
pub(crate) fn remove_stale(directory: &Path, name: &str, trust: Trust) -> Result<bool, RingError> {
    let path = path_of(directory, name)?;
    let (file, status) = open_file(directory, &path, OFlags::RDONLY)?;
    trust.check_file(&path, &status)?;
    let geometry = read_header(&file, &path, &status)?;
    let lock_path = lock_path(directory, name, geometry.identity);
    let failed = |errno| failure("remove", &path, errno);
    let is_there = || Inode::of(&status).is_at(&path).map_err(failed);
    let locks = match open_locks(&lock_path, OFlags::RDWR) {
        Err(Errno::NOENT) if is_there()? => return Err(no_locks_beside(&path, lock_path)),
        // Somebody else has removed it meanwhile.
        Err(Errno::NOENT) => return Ok(false),
        other => other.map_err(|errno| failure("open", &lock_path, errno))?,
    };
    check_locks(&locks, &path, &lock_path, geometry.identity, trust)?;
    if !locks.try_lock_everything(&lock_path)? || !is_there()? {
        return Ok(false);
    }
    rustix::fs::unlink(&path).map_err(failed)?;
    rustix::fs::unlink(&lock_path).map_err(|errno| failure("remove", &lock_path, errno))?;
    Ok(true)
}

/// The files beside rings in `directory`, as names of rings and identities.
fn hidden_in(directory: &Path) -> Result<Vec<(String, u64)>, RingError> {
    Ok(files_in(directory)?
        .iter()
        .filter_map(|file| parse_hidden(file))
        .map(|(name, identity)| (name.to_string(), identity))
        .collect())
}

/// Removes what was left beside rings by processes that died while they made or removed one. Says how
/// many files it removed.
pub(crate) fn sweep(directory: &Path) -> Result<usize, RingError> {
    let left = hidden_in(directory)?;
    Ok(left.iter().map(|(name, identity)| sweep_one(directory, name, *identity)).sum())
}

/// The same, of one ring, where it is not what the caller was asked for.
pub(super) fn sweep_of(directory: &Path, name: &str) {
    let Ok(left) = hidden_in(directory) else { return };
    for (_, identity) in left.iter().filter(|(ring, _)| ring == name) {
        sweep_one(directory, name, *identity);
    }
}

/// Removes the files beside the ring `name` of this identity if no ring names them and nobody is at
/// work on them. Says how many; what cannot be removed stays.
fn sweep_one(directory: &Path, name: &str, identity: u64) -> usize {
    let unlink = |path: &Path| usize::from(rustix::fs::unlink(path).is_ok());
    let temporary = temporary_path(directory, name, identity);
    match named_identity(directory, name) {
        // The segment has got its name, and needs no other.
        Ok(Some(named)) if named == identity => return unlink(&temporary),
        Ok(_) => {}
        Err(()) => return 0,
    }
    let path = lock_path(directory, name, identity);
    match open_locks(&path, OFlags::RDWR) {
        // Once more under the lock: its creator may have been at work until then.
        Ok(locks)
            if matches!(locks.try_lock_everything(&path), Ok(true))
                && named_identity(directory, name).is_ok_and(|it| it != Some(identity))
                && locks.inode().is_at(&path) == Ok(true) =>
        {
            unlink(&temporary) + unlink(&path)
        }
        Err(Errno::NOENT) => unlink(&temporary),
        _ => 0,
    }
}

/// The identity of the ring called `name`; `None` if there is none of this layout version, an error
/// if that cannot be found out.
fn named_identity(directory: &Path, name: &str) -> Result<Option<u64>, ()> {
    let path = path_of(directory, name).map_err(drop)?;
    match open_file(directory, &path, OFlags::RDONLY) {
        Ok((file, _)) => match read_words(&file) {
            Ok(Some(words)) if words[0] == MAGIC => Ok(identity_of(&words)),
            // Damaged, perhaps in use.
            _ => Err(()),
        },
        Err(RingError::NoSuchRing { .. }) => Ok(None),
        Err(_) => Err(()),
    }
}
