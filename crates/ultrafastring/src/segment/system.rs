//! What a failed system call means for a ring.

use std::path::PathBuf;

use rustix::io::Errno;

use crate::error::{FileError, RingError};

/// The error for a failed system call on `path`.
pub(super) fn failure(action: &'static str, path: impl Into<PathBuf>, errno: Errno) -> RingError {
    let kind = match errno {
        Errno::EXIST => FileError::NameTaken,
        Errno::NOENT => FileError::NoSuchRing,
        Errno::ACCESS | Errno::PERM => FileError::PermissionDenied,
        Errno::LOOP => FileError::NotARing { reason: "it is a symbolic link" },
        Errno::ISDIR => FileError::NotARing { reason: "it is a directory" },
        Errno::MFILE | Errno::NFILE => FileError::NoDescriptors,
        Errno::NOLCK => FileError::NoLocks,
        Errno::BADF => FileError::ForeignDescriptor,
        _ => FileError::Io { action, reason: errno.into() },
    };
    kind.at(path)
}

/// Bytes of a page of this machine, the unit in which files are mapped and get memory.
pub(super) fn page_size() -> usize {
    // SAFETY: it takes a number and returns one.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(0)
}
