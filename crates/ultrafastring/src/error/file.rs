//! What can be wrong with a file.

use core::fmt;
use std::borrow::{Cow, ToOwned};
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::limits::LAYOUT_VERSION;

/// What is wrong with the file of a [`RingError::File`](crate::RingError::File), and what to do
/// about it. Its text is the rest of a sentence that begins with the file's path.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileError {
    /// There is a ring, or a file, of this name already.
    #[error("exists already; open it, remove it, or choose another name")]
    NameTaken,
    /// There is no ring of this name.
    #[error("does not exist; create the ring first")]
    NoSuchRing,
    /// The file system does not let us.
    #[error(
        "is not open to this process: permission denied; a ring belongs to the user who made it, \
         unless it was made with Builder::trust"
    )]
    PermissionDenied,
    /// The file belongs to another user, and opening it would trust that user.
    #[error(
        "belongs to user {uid}, not to you; opening it would trust that user, which Builder::trust \
         can allow"
    )]
    ForeignOwner {
        /// Its owner's user id.
        uid: u32,
    },
    /// Others may write to the file, and opening it would trust them.
    #[error(
        "has mode {:04o}: others may write to it; change its mode, or allow it with Builder::trust",
        mode & 0o7777
    )]
    LooseMode {
        /// Its mode.
        mode: u32,
    },
    /// The directory for named rings is not there; the path is the directory's.
    #[error(
        "is no directory; mount a tmpfs there, or choose another directory with Builder::directory"
    )]
    NoDirectory,
    /// The process, or the system, has no descriptor left.
    #[error(
        "cannot be opened: no file descriptor is left; close some, or raise the limit (ulimit -n). \
         An open ring takes two, and each handle one"
    )]
    NoDescriptors,
    /// The system gives no open-file-description locks on the file.
    #[error(
        "cannot be locked: the system gives no open-file-description locks there; put the ring on \
         a tmpfs of this machine"
    )]
    NoLocks,
    /// Somebody has held the lock for removing a ring for about a second.
    #[error(
        "is locked for removal by a process that does not release the lock; see who has its lock \
         file open (fuser, lsof)"
    )]
    BeingRemoved,
    /// The ring's lock file is missing, or belongs to another ring.
    #[error("cannot be used: its lock file {} {reason}; make a new ring", lock_file.display())]
    BadLockFile {
        /// Where its lock file should be.
        lock_file: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The directory gives new files its own group, and everybody may make files there. So a file's
    /// group says nothing about who made it. The path is the directory's.
    #[error(
        "gives its group to every file, and everybody may make files there, so a ring of the group \
         may be a stranger's; take away the directory's set-group-id bit, or the right of others \
         to write to it"
    )]
    LooseDirectory,
    /// The file would be larger than the process's limit allows.
    #[error(
        "would have {bytes} bytes, over this process's limit for files, {limit} bytes (ulimit -f); \
         raise it, or lower the capacity or the largest message"
    )]
    FileSizeLimit {
        /// What the segment would take.
        bytes: usize,
        /// The limit, in bytes.
        limit: u64,
    },
    /// In this thread the descriptor of the ring, or of a handle, is another file, or none.
    #[error(
        "is not the file that the descriptor of the ring or of a handle means in this thread: the \
         thread has its own descriptors (unshare), or a descriptor was closed; open the ring \
         again here"
    )]
    ForeignDescriptor,
    /// The ring has another layout version.
    #[error(
        "has layout version {found}, and this program knows version {LAYOUT_VERSION}; use \
         programs of one version, or make a new ring"
    )]
    LayoutVersion {
        /// The file's version.
        found: u32,
    },
    /// The ring was made with features that this program does not know.
    #[error(
        "was made with features that this program does not know ({}); use a program as new as the \
         one that made it, or make a new ring",
        Features(*features)
    )]
    UnknownFeatures {
        /// A bit for each feature that is unknown here.
        features: u64,
    },
    /// The ring was opened before this process was forked. The child has only a copy of what the
    /// parent shares with others.
    #[error("was opened before this process was forked; open it again in the child")]
    Forked,
    /// The file is not a ring, or a damaged one.
    #[error("is not a ring: {reason}; choose another name, or remove the file if it is yours")]
    NotARing {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The file system has no room for the file.
    #[error(
        "cannot have {bytes} bytes: there is no room; lower the capacity or the largest message, \
         or free memory there"
    )]
    NoSpace {
        /// What it would take.
        bytes: usize,
    },
    /// Another system call failed. The text of [`RingError::File`](crate::RingError::File) is then
    /// `cannot open /dev/shm/ufr-quotes: Invalid argument (os error 22)`.
    #[error("could not be used: cannot {action} it: {reason}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// What the system said.
        reason: io::Error,
    },
}

/// Features by their names, or by their bits in the header if they have none here.
struct Features(u64);

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for bit in (0..u64::BITS).filter(|bit| self.0 >> bit & 1 == 1) {
            match bit {
                0 => write!(f, "{separator}groups")?,
                bit => write!(f, "{separator}bit {bit}")?,
            }
            separator = ", ";
        }
        Ok(())
    }
}

/// The text of a [`RingError::File`](crate::RingError::File).
pub(super) fn trouble(path: &Path, kind: &FileError, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let shown = path.display();
    match kind {
        FileError::Io { action, reason } => write!(f, "cannot {action} {shown}: {reason}"),
        FileError::LayoutVersion { .. }
        | FileError::UnknownFeatures { .. }
        | FileError::BadLockFile { .. } => {
            write!(f, "{shown} {kind}, after `ufr rm {}`", ring_name(path))
        }
        kind => write!(f, "{shown} {kind}"),
    }
}

/// The name of the ring whose file this is, as a command line takes it.
fn ring_name(path: &Path) -> Cow<'_, str> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    match name.strip_prefix("ufr-") {
        Some(name) => name.to_owned().into(),
        None => name,
    }
}
