//! Removes named rings, and files that were left beside them.

use std::path::Path;
use std::thread;

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use super::opening::{Pair, open_file, open_locks};
use super::{BETWEEN_LOOKS, MOST_LOOKS, hidden_in, lock_path, path_of, temporary_path};
use crate::error::{FileError, RingError};
use crate::layout::header::{MAGIC, identity_of};
use crate::layout::locks::Place;
use crate::segment::file::read_words;
use crate::segment::lock_file::{Inode, LockFile};
use crate::segment::system::failure;
use crate::trust::Trust;

/// Removes a ring's name. Processes that have it open can still use it, and the last of them frees
/// its memory.
pub(crate) fn remove(directory: &Path, name: &str) -> Result<(), RingError> {
    let path = path_of(directory, name)?;
    let failed = |errno| failure("remove", &path, errno);
    for _ in 0..MOST_LOOKS {
        let (file, status) = open_file(directory, &path, OFlags::RDONLY)?;
        let refuse = |reason| Err(FileError::NotARing { reason }.at(&path));
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return refuse("it is not a regular file");
        }
        let words = read_words(&file, 0).map_err(failed)?;
        // A ring of any version. One that was overwritten or truncated still has its lock file.
        if words.is_none_or(|words| words[0] != MAGIC)
            && !hidden_in(directory)?.iter().any(|(ring, _)| ring == name)
        {
            return refuse("it does not begin as a ring does");
        }
        let identity = words.as_ref().and_then(identity_of);
        let lock_path = identity.map(|identity| lock_path(directory, name, identity));
        // The lock keeps others from replacing it between the check and the removal.
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
    Err(FileError::BeingRemoved.at(path))
}

/// The lock for removing, if it can be taken within some time.
fn lock_for_removal(path: &Path) -> Result<Option<LockFile>, RingError> {
    // A process that may not open it, or finds none, may still remove the ring.
    let Ok(locks) = open_locks(path, OFlags::RDWR) else { return Ok(None) };
    for _ in 0..MOST_LOOKS / 10 {
        if locks.try_lock(Place::Removing, path)? {
            return Ok(Some(locks));
        }
        thread::sleep(BETWEEN_LOOKS);
    }
    // Somebody keeps it locked, which is no reason to keep the ring.
    Ok(None)
}

/// Removes a ring that no living process has open, and returns whether it did.
pub(crate) fn remove_stale(directory: &Path, name: &str, trust: Trust) -> Result<bool, RingError> {
    let pair = Pair::open(directory, name, OFlags::RDONLY, OFlags::RDWR, trust)?;
    // Otherwise somebody else is removing it, or has it open.
    let Some(pair) = pair else { return Ok(false) };
    if !pair.lock(LockFile::try_lock, Place::All)? {
        return Ok(false);
    }
    for path in [&pair.path, &pair.lock_path] {
        rustix::fs::unlink(path).map_err(|errno| failure("remove", path, errno))?;
    }
    Ok(true)
}

/// Removes files beside rings that were left by processes that died while they made or removed one.
/// Returns how many files it removed.
pub(crate) fn sweep(directory: &Path) -> Result<usize, RingError> {
    let left = hidden_in(directory)?;
    Ok(left.iter().map(|(name, identity)| sweep_one(directory, name, *identity)).sum())
}

/// The same for one ring. Errors are ignored, since this is not what the caller was asked for.
pub(super) fn sweep_of(directory: &Path, name: &str) {
    let Ok(left) = hidden_in(directory) else { return };
    for (_, identity) in left.iter().filter(|(ring, _)| ring == name) {
        sweep_one(directory, name, *identity);
    }
}

/// Removes the files beside the ring `name` with this identity, if no ring names them and nobody
/// works on them. Returns how many. Files that cannot be removed stay.
fn sweep_one(directory: &Path, name: &str, identity: u64) -> usize {
    let unlink = |path: &Path| usize::from(rustix::fs::unlink(path).is_ok());
    let temporary = temporary_path(directory, name, identity);
    match named_identity(directory, name) {
        // The segment has its name, and needs no other.
        Ok(Some(named)) if named == identity => return unlink(&temporary),
        Ok(_) => {}
        Err(()) => return 0,
    }
    let path = lock_path(directory, name, identity);
    match open_locks(&path, OFlags::RDWR) {
        // Checked again under the lock, since its creator may have worked on it until then.
        Ok(locks)
            if matches!(locks.try_lock(Place::All, &path), Ok(true))
                && named_identity(directory, name).is_ok_and(|it| it != Some(identity))
                && locks.inode.is_at(&path) == Ok(true) =>
        {
            unlink(&temporary) + unlink(&path)
        }
        Err(Errno::NOENT) => unlink(&temporary),
        _ => 0,
    }
}

/// The identity of the ring called `name`; `None` if there is none, or if its version has no
/// identities; an error if that cannot be found out.
fn named_identity(directory: &Path, name: &str) -> Result<Option<u64>, ()> {
    let path = path_of(directory, name).map_err(drop)?;
    match open_file(directory, &path, OFlags::RDONLY) {
        Ok((file, _)) => match read_words(&file, 0) {
            Ok(Some(words)) if words[0] == MAGIC => Ok(identity_of(&words)),
            // Damaged, perhaps in use.
            _ => Err(()),
        },
        Err(RingError::File { kind: FileError::NoSuchRing, .. }) => Ok(None),
        Err(_) => Err(()),
    }
}
