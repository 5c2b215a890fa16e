//! Errors: what went wrong, and what to do about it.

use core::fmt;

#[cfg(feature = "std")]
use std::{io, path::PathBuf};

#[cfg(feature = "std")]
use crate::layout::LAYOUT_VERSION;
use crate::layout::{MAX_CAPACITY, MAX_MESSAGE, MAX_PARTICIPANTS, MAX_SEGMENT, Sharing, Side};
use crate::participant::ParticipantName;

/// A number chosen for a new ring is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Invalid {
    /// The capacity is no power of two, or over [`MAX_CAPACITY`].
    Capacity(usize),
    /// The participant table would have no entry, or too many.
    Participants(usize),
    /// The credit limit is 0 or above the capacity.
    CreditLimit {
        /// The limit asked for.
        limit: u64,
        /// The ring's capacity.
        capacity: usize,
    },
    /// The reserves together leave no credit for the least urgent class.
    Reserves {
        /// The sum of the reserves.
        reserved: u64,
        /// The credit limit.
        limit: u64,
    },
    /// Timestamps one in a number that is no power of two from 2 to 65,536.
    Timestamps(u32),
    /// Side buffers of no use, or for messages over [`MAX_MESSAGE`].
    MaxMessage(usize),
    /// Capacity and side buffers together make a segment over [`MAX_SEGMENT`].
    SegmentSize {
        /// Bytes that it would take; `usize::MAX` if they cannot be counted.
        bytes: u64,
    },
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Capacity(capacity) => {
                write!(
                    f,
                    "a ring's capacity is a power of two up to {MAX_CAPACITY}, and {capacity} is not"
                )?;
                match capacity.checked_next_power_of_two() {
                    Some(next) if next <= MAX_CAPACITY => write!(f, "; try {}", next.max(1)),
                    _ => Ok(()),
                }
            }
            Self::Participants(count) => {
                write!(f, "a participant table has 1 to {MAX_PARTICIPANTS} entries, not {count}")
            }
            Self::CreditLimit { limit, capacity } => {
                write!(f, "a credit limit is 1 to the capacity ({capacity}), and {limit} is not")
            }
            Self::Reserves { reserved, limit } => write!(
                f,
                "the reserves take {reserved} of {limit} credits and must leave at least one; \
                 lower them or raise the credit limit"
            ),
            Self::Timestamps(n) => write!(
                f,
                "timestamps are taken one in a power of two from 2 to 65536, not one in {n}"
            ),
            Self::MaxMessage(size) => {
                write!(f, "messages have at most {MAX_MESSAGE} bytes, and {size} is more")
            }
            Self::SegmentSize { bytes } => write!(
                f,
                "a segment has at most {MAX_SEGMENT} bytes, and this one would have {bytes}; lower \
                 the capacity or the largest message"
            ),
        }
    }
}

impl core::error::Error for Invalid {}

/// Who holds an exclusive side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Process id as its own process sees it.
    pub pid: u32,
    /// The name that the program gave its handle.
    pub name: ParticipantName,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)?;
        if !self.name.as_str().is_empty() {
            write!(f, " ({})", self.name.as_str())?;
        }
        Ok(())
    }
}

/// A ring could not be made, opened, removed, or joined.
#[derive(Debug)]
#[non_exhaustive]
pub enum RingError {
    /// A number chosen for a new ring is out of range.
    Invalid(Invalid),
    /// There is not enough memory for the segment.
    OutOfMemory {
        /// What the segment would take.
        bytes: usize,
    },
    /// An exclusive side has its one handle already.
    SideTaken {
        /// The side.
        side: Side,
        /// Its holder, if it has said who it is.
        holder: Option<Holder>,
    },
    /// A shared handle was asked for on an exclusive side, or the reverse.
    WrongSharing {
        /// The side.
        side: Side,
        /// What it is.
        actual: Sharing,
    },
    /// Every entry of the participant table is in use by a living participant, or waits for
    /// recovery.
    TableFull {
        /// The size of the table.
        participants: usize,
    },
    /// The name cannot be a ring's: it has not 1 to 200 bytes, begins with a dot, or has a slash, a
    /// control character or one that turns the direction of text in it.
    #[cfg(feature = "std")]
    BadName {
        /// The name.
        name: String,
    },
    /// There is a ring, or a file, of this name already.
    #[cfg(feature = "std")]
    NameTaken {
        /// Its file.
        path: PathBuf,
    },
    /// There is no ring of this name.
    #[cfg(feature = "std")]
    NoSuchRing {
        /// Where its file would be.
        path: PathBuf,
    },
    /// The file system does not let us.
    #[cfg(feature = "std")]
    PermissionDenied {
        /// The file.
        path: PathBuf,
    },
    /// The file belongs to another user, whom opening it would trust.
    #[cfg(feature = "std")]
    ForeignOwner {
        /// The file.
        path: PathBuf,
        /// Its owner's user id.
        uid: u32,
    },
    /// Others may write to the file whom opening it would trust.
    #[cfg(feature = "std")]
    LooseMode {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The process at the other end of the socket belongs to another user.
    #[cfg(feature = "std")]
    ForeignPeer {
        /// Its process id; 0 if it cannot be seen from here.
        pid: u32,
        /// Its user id.
        uid: u32,
    },
    /// The ring cannot be handed over, or what was handed over is no ring.
    #[cfg(feature = "std")]
    NotHandedOver {
        /// Why.
        reason: &'static str,
    },
    /// The system does not let this process make memory files.
    #[cfg(feature = "std")]
    NoMemoryFile,
    /// The directory for named rings is not there.
    #[cfg(feature = "std")]
    NoDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// The process, or the system, has no descriptor left.
    #[cfg(feature = "std")]
    NoDescriptors {
        /// The file for which one was wanted.
        path: PathBuf,
    },
    /// The system gives no open-file-description locks on the file.
    #[cfg(feature = "std")]
    NoLocks {
        /// The file.
        path: PathBuf,
    },
    /// Somebody holds a lock that is held while a ring is removed, and has not given it back within
    /// about a second.
    #[cfg(feature = "std")]
    BeingRemoved {
        /// The file.
        path: PathBuf,
    },
    /// The ring's lock file is missing, or another one's.
    #[cfg(feature = "std")]
    BadLockFile {
        /// The ring's file.
        path: PathBuf,
        /// Where its lock file should be.
        lock_file: PathBuf,
        /// What is wrong with that.
        reason: &'static str,
    },
    /// The directory gives new files its own group, and everybody may make files there: the group of a
    /// file says nothing about who made it.
    #[cfg(feature = "std")]
    LooseDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// The process may not make so large a file.
    #[cfg(feature = "std")]
    FileSizeLimit {
        /// The file.
        path: PathBuf,
        /// What the segment would take.
        bytes: usize,
        /// The limit, in bytes.
        limit: u64,
    },
    /// In this thread the descriptor of the ring, or of a handle, means another file, or none.
    #[cfg(feature = "std")]
    ForeignDescriptor {
        /// The ring's file.
        path: PathBuf,
    },
    /// The ring has another layout version.
    #[cfg(feature = "std")]
    LayoutVersion {
        /// The file.
        path: PathBuf,
        /// The file's version.
        found: u32,
    },
    /// The ring was opened before this process was forked; what the parent shares with others, the
    /// child has only a copy of.
    #[cfg(feature = "std")]
    Forked {
        /// The file.
        path: PathBuf,
    },
    /// The file is not a ring, or a damaged one.
    #[cfg(feature = "std")]
    NotARing {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The file system has no room for the segment.
    #[cfg(feature = "std")]
    NoSpace {
        /// The file.
        path: PathBuf,
        /// What the segment would take.
        bytes: usize,
    },
    /// Another system call failed.
    #[cfg(feature = "std")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::OutOfMemory { bytes } => {
                write!(f, "there is not enough memory for a segment of {bytes} bytes")
            }
            Self::SideTaken { side, holder } => {
                write!(f, "the exclusive {} side is held by ", side.name())?;
                match holder {
                    Some(holder) => write!(f, "{holder}")?,
                    None => f.write_str("another handle")?,
                }
                f.write_str("; wait until it leaves, or make the ring with that side shared")
            }
            Self::WrongSharing { side, actual } => {
                let (side, actual) = (side.name(), actual.name());
                write!(f, "the {side} side of this ring is {actual}; take ")?;
                match actual {
                    "exclusive" => write!(f, "its handle with exclusive_{side}()"),
                    _ => write!(f, "a handle with {side}()"),
                }
            }
            Self::TableFull { participants } => write!(
                f,
                "all {participants} entries of the participant table are taken; drop handles, or \
                 make the ring with a larger table"
            ),
            #[cfg(feature = "std")]
            Self::BadName { name } => write!(
                f,
                "{name:?} cannot be a ring's name: 1 to 200 bytes, no slash, no leading dot, no control \
                 character and none that turns the direction of text"
            ),
            #[cfg(feature = "std")]
            Self::NameTaken { path } => write!(
                f,
                "{} exists already; open it, remove it, or choose another name",
                path.display()
            ),
            #[cfg(feature = "std")]
            Self::NoSuchRing { path } => {
                write!(f, "there is no ring at {}; create it first", path.display())
            }
            #[cfg(feature = "std")]
            Self::PermissionDenied { path } => write!(
                f,
                "{}: permission denied; a ring belongs to the user who made it, unless it was made \
                 with Builder::trust",
                path.display()
            ),
            #[cfg(feature = "std")]
            Self::ForeignOwner { path, uid } => write!(
                f,
                "{} belongs to user {uid}, not to you; opening it would trust that user, which \
                 Builder::trust can allow",
                path.display()
            ),
            #[cfg(feature = "std")]
            Self::LooseMode { path, mode } => write!(
                f,
                "{} has mode {:04o}: others may write to it; change its mode, or allow it with \
                 Builder::trust",
                path.display(),
                mode & 0o7777
            ),
            #[cfg(feature = "std")]
            Self::ForeignPeer { pid, uid } => {
                f.write_str("the other end of the socket is ")?;
                match pid {
                    0 => f.write_str("a process that cannot be seen from here")?,
                    pid => write!(f, "process {pid}")?,
                }
                write!(f, " of user {uid}, not you; Builder::trust can allow it")
            }
            #[cfg(feature = "std")]
            Self::NotHandedOver { reason } => {
                write!(f, "no ring can be handed over this way: {reason}")
            }
            #[cfg(feature = "std")]
            Self::NoMemoryFile => f.write_str(
                "this process may not make memory files (memfd_create is forbidden or unknown); \
                 use a named ring, or allow the call",
            ),
            #[cfg(feature = "std")]
            Self::NoDirectory { path } => write!(
                f,
                "there is no directory {}; mount a tmpfs there, or choose another directory with \
                 Builder::directory",
                path.display()
            ),
            #[cfg(feature = "std")]
            Self::NoDescriptors { path } => write!(
                f,
                "{}: no file descriptor is left; close some, or raise the limit (ulimit -n). An \
                 open ring takes two, and each handle one",
                path.display()
            ),
            #[cfg(feature = "std")]
            Self::NoLocks { path } => write!(
                f,
                "{}: the system gives no open-file-description locks there; put the ring on a \
                 tmpfs of this machine",
                path.display()
            ),
            #[cfg(feature = "std")]
            Self::LayoutVersion { path, found } => write!(
                f,
                "{} has layout version {found}, this program knows version {LAYOUT_VERSION}; use \
                 programs of one version, or remove the ring with `ufr rm {}` and make it anew",
                path.display(),
                ring_name(path)
            ),
            #[cfg(feature = "std")]
            Self::BeingRemoved { path } => write!(
                f,
                "{}: somebody holds a lock that is held while a ring is removed, and does not give it \
                 back; see who has its lock file open (fuser, lsof)",
                path.display()
            ),
            #[cfg(feature = "std")]
            Self::BadLockFile { path, lock_file, reason } => write!(
                f,
                "{} cannot be used: its lock file {} {reason}; remove the ring with `ufr rm {}` and \
                 make it anew",
                path.display(),
                lock_file.display(),
                ring_name(path)
            ),
            #[cfg(feature = "std")]
            Self::LooseDirectory { path } => write!(
                f,
                "{} gives its group to every file, and everybody may make files there, so a ring of \
                 the group may be a stranger's; take away the directory's set-group-id bit, or the \
                 right of others to write to it",
                path.display()
            ),
            #[cfg(feature = "std")]
            Self::FileSizeLimit { path, bytes, limit } => write!(
                f,
                "{}: a segment of {bytes} bytes is over this process's limit for files, {limit} bytes \
                 (ulimit -f); raise it, or lower the capacity or the largest message",
                path.display()
            ),
            #[cfg(feature = "std")]
            Self::ForeignDescriptor { path } => write!(
                f,
                "{}: the descriptor of the ring or of a handle means another file in this thread: the \
                 thread has descriptors of its own (unshare), or somebody closed it; open the ring \
                 anew here",
                path.display()
            ),
            #[cfg(feature = "std")]
            Self::Forked { path } => write!(
                f,
                "{} was opened before this process was forked; open it anew in the child",
                path.display()
            ),
            #[cfg(feature = "std")]
            Self::NotARing { path, reason } => {
                write!(f, "{} is not a ring: {reason}", path.display())
            }
            #[cfg(feature = "std")]
            Self::NoSpace { path, bytes } => write!(
                f,
                "{}: no room for a segment of {bytes} bytes; lower the capacity or the largest \
                 message, or free memory there",
                path.display()
            ),
            #[cfg(feature = "std")]
            Self::Io { action, path, source } => {
                write!(f, "{action} {}: {source}", path.display())
            }
        }
    }
}

/// The name of the ring whose file this is, as a command line takes it.
#[cfg(feature = "std")]
fn ring_name(path: &std::path::Path) -> std::borrow::Cow<'_, str> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    match name.strip_prefix("ufr-") {
        Some(name) => name.to_string().into(),
        None => name,
    }
}

// It has no `source`: what lies behind `Invalid` and `Io` is said in their own text, and whoever
// prints an error with its sources would say it twice.
impl core::error::Error for RingError {}

impl From<Invalid> for RingError {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

/// A message could not be sent; nothing of it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The message is larger than the ring was made for. Cut it, or make the ring with a larger
    /// [`max_message`](crate::Builder::max_message).
    TooLarge {
        /// Bytes of the message.
        size: usize,
        /// The most that fits.
        max: usize,
    },
    /// Every slot is taken. Try again when consumers have released some. Slots come back in order: a
    /// message that a consumer still holds ([`borrow`](crate::Consumer::borrow)) keeps the slots of
    /// those after it, too.
    Full,
    /// There are free slots, but not for this class: the credit limit, or what is reserved for
    /// more urgent classes, is reached. Try again when consumers have released some.
    OutOfCredit,
    /// There is no memory left for a side buffer that was never used before (a full `/dev/shm`,
    /// most often). Free some and try again, or make the ring with
    /// [`SideMemory::Preallocated`](crate::SideMemory::Preallocated).
    NoSpace,
    /// The calls on `&UltraFastRing` found no participant entry to borrow, because the table is
    /// full or the producer side exclusive. Take a handle from the ring, which says why.
    NoEntry,
    /// The ring is closed: the stream has ended. A new producer handle opens it again.
    Closed,
    /// There was no room in time. Only calls that wait say so.
    TimedOut,
    /// There is no room, consumers have been, and none is left to make any. Only calls that wait say
    /// so, and only if asked to: see `Producer::end_when_deserted`.
    Deserted,
    /// The segment is gone: its file was made shorter, or wiped out. Nothing helps but a new ring.
    Damaged,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooLarge { size, max } => {
                write!(f, "a message of {size} bytes does not fit: the ring's most is {max}")
            }
            Self::NoSpace => f.write_str(
                "there is no memory left for a side buffer; free some where the ring's file is, or \
                 make the ring with its memory preallocated",
            ),
            Self::Full => f.write_str("the ring is full; try again when consumers have caught up"),
            Self::OutOfCredit => f.write_str(
                "no credit is left for this priority class; try again when consumers have caught up",
            ),
            Self::NoEntry => f.write_str(
                "no participant entry can be borrowed for this call; take a producer handle, \
                 which says why",
            ),
            Self::Closed => f.write_str(
                "the ring is closed; a new producer handle, or reopen(), opens it for another stream",
            ),
            Self::TimedOut => f.write_str("there was no room in the ring in time"),
            Self::Deserted => f.write_str(
                "there is no room, and the last consumer has left; start one, and send again",
            ),
            Self::Damaged => f.write_str(DAMAGED),
        }
    }
}

impl core::error::Error for SendError {}

/// A message could not be sent and comes back; see [`SendError`] for the reasons.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TrySendError<M> {
    /// The message, whole.
    pub message: M,
    /// Why it was not sent.
    pub reason: SendError,
}

impl<M> TrySendError<M> {
    /// The message, whole.
    pub fn into_inner(self) -> M {
        self.message
    }

    /// Whether it may go through when consumers have caught up.
    pub fn is_full(&self) -> bool {
        matches!(self.reason, SendError::Full | SendError::OutOfCredit)
    }
}

impl<M> fmt::Debug for TrySendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrySendError").field("reason", &self.reason).finish_non_exhaustive()
    }
}

impl<M> fmt::Display for TrySendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl<M> core::error::Error for TrySendError<M> {}

/// No message was received; none was consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// Nothing is committed at the next position. Try again.
    Empty,
    /// The buffer is smaller than the next message, which stays where it is.
    BufferTooSmall {
        /// Bytes of the message.
        needed: usize,
        /// Bytes of the buffer; 40 where the message was to be held in a
        /// [`Message`](crate::Message).
        available: usize,
    },
    /// The next message has another size than the value that was asked for. It stays where it is.
    WrongSize {
        /// Bytes of the message.
        size: usize,
        /// Bytes of the value.
        expected: usize,
    },
    /// There is not enough memory for the message's bytes, on the heap or, if a peer wrote
    /// garbage, in its side buffer. It stays where it is.
    OutOfMemory {
        /// Bytes of the message.
        bytes: usize,
    },
    /// The calls on `&UltraFastRing` found no participant entry to borrow, because the table is
    /// full or the consumer side exclusive. Take a handle from the ring, which says why.
    NoEntry,
    /// The ring is closed and everything in it received: the stream has ended. A call that does
    /// not wait may say [`Empty`](Self::Empty) some times before it says this.
    Closed,
    /// Nothing came in time. Only calls that wait say so.
    TimedOut,
    /// Producers have been, none is left, and the ring is empty. Only calls that wait say so, and
    /// only if asked to: see `Consumer::end_when_deserted`.
    Deserted,
    /// The segment is gone: its file was made shorter, or wiped out. Nothing helps but a new ring.
    Damaged,
}

const DAMAGED: &str = "the ring's file was made shorter or wiped out; remove it and make a new one";

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty => f.write_str("the ring is empty"),
            Self::BufferTooSmall { needed, available } => write!(
                f,
                "the next message has {needed} bytes and the buffer {available}; it was not \
                 consumed: come again with a larger one"
            ),
            Self::WrongSize { size, expected } => write!(
                f,
                "the next message has {size} bytes and the value {expected}; it was not consumed: \
                 receive it as something else"
            ),
            Self::OutOfMemory { bytes } => write!(
                f,
                "there is not enough memory for a message of {bytes} bytes; it was not consumed"
            ),
            Self::NoEntry => f.write_str(
                "no participant entry can be borrowed for this call; take a consumer handle, \
                 which says why",
            ),
            Self::Closed => f.write_str("the ring is closed and all of it received"),
            Self::TimedOut => f.write_str("no message came in time"),
            Self::Deserted => {
                f.write_str("the last producer has left, and all it sent is received")
            }
            Self::Damaged => f.write_str(DAMAGED),
        }
    }
}

impl core::error::Error for RecvError {}
