//! An anonymous segment: a memory file without a name, sealed, and handed over a Unix socket.
//!
//! Seals (memfd_create(2)) forbid for ever to make the file shorter or longer, to whoever has it: so
//! no peer, however hostile, can make an access raise SIGBUS. Whoever is handed one believes
//! neither the sender nor the file: it asks the socket who is at the other end, and the kernel for
//! the seals, the kind and the size of the file, before it looks at the header.
//!
//! Such a ring is two files as a named one is: the segment, and the one whose bytes participants
//! lock. Who takes part is handed both; an observer gets the segment alone, by a description that
//! cannot be written through. Whoever has a descriptor can open its file anew through
//! `/proc/self/fd` with more rights, if the file's mode lets it (open(2) asks the inode and not
//! the description). So the segment's mode lets other users do no more than read, and a participant
//! writes through the very description that it was handed.
//!
//! A descriptor that travels is shared with the sender, locks and all; so each handle opens the
//! lock file anew, as that of a named ring, and what is sent was opened for the purpose.

use core::mem::MaybeUninit;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use super::file::{self, Parts, Rights, failure};
use super::lock_file::LockFile;
use super::names::{give_to, new_identity};
use super::{Backing, Segment};
use crate::layout::{Geometry, MAGIC, SideMemory};
use crate::{RingError, Trust};

/// What travels beside the descriptors: that of the segment, and that of the locks unless it is for
/// an observer.
const GREETING: [u8; 8] = MAGIC.to_le_bytes();

/// What the kernel calls the segment's file, in `/proc/PID/maps`, and our errors the ring.
const LABEL: &str = "memfd:ultrafastring";

fn label() -> PathBuf {
    LABEL.into()
}

/// The seals that keep the size what it is.
fn required_seals() -> SealFlags {
    SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL
}

impl Segment {
    /// Makes a new anonymous segment.
    pub(crate) fn anonymous(
        mut geometry: Geometry,
        trust: Trust,
        side_memory: SideMemory,
    ) -> Result<Self, RingError> {
        geometry.validate()?;
        let path = label();
        let failed = |action, errno| failure(action, &path, errno);
        file::within_file_size_limit(&geometry, &path)?;
        geometry.identity = new_identity().map_err(|errno| failed("name", errno))?;
        let segment = memory_file("ultrafastring")?;
        file::fill(segment.as_fd(), &geometry, &path, side_memory)?;
        rustix::fs::fchmod(&segment, trust.segment_mode())
            .map_err(|errno| failed("set the mode of", errno))?;
        seal(&segment, required_seals())?;
        let locks = memory_file("ultrafastring-locks")?;
        LockFile::introduce(&locks, geometry.identity).map_err(|it| failed("write into", it))?;
        give_to(&locks, trust, &path)?;
        // Nobody writes there: what is locked need not exist.
        seal(&locks, required_seals() | SealFlags::WRITE)?;
        let locks = LockFile::open_with(|| Ok(locks)).map_err(|it| failed("look at", it))?;
        let taken = side_memory.is_taken_at_once();
        let parts = parts(segment, Some(locks), Rights::Participate, trust, taken);
        Self::map(parts, geometry)
    }

    /// Sends the ring over a socket; with `rights` to look only, the segment's file alone, by a
    /// description that cannot be written through.
    pub(crate) fn hand_over(
        &self,
        socket: BorrowedFd<'_>,
        rights: Rights,
    ) -> Result<(), RingError> {
        const NOT_ANONYMOUS: RingError = RingError::NotHandedOver {
            reason: "it is not an anonymous one; open a named ring by its name",
        };
        #[allow(unreachable_patterns)]
        let mapping = match &self.backing {
            Backing::File(mapping) if mapping.name.is_none() => mapping,
            _ => return Err(NOT_ANONYMOUS),
        };
        mapping.trust.check_peer(peer_of(socket)?)?;
        match rights {
            Rights::Participate => {
                let locks = mapping.lock_file()?.ok_or(NOT_ANONYMOUS)?;
                let segment = mapping.file().map_err(|it| failure("send", &label(), it))?;
                send(socket, &[segment, locks.as_fd()])
            }
            Rights::Observe => send(socket, &[mapping.open_to_read()?.as_fd()]),
        }
    }

    /// Receives a segment's file over a socket.
    pub(crate) fn take_over(
        socket: BorrowedFd<'_>,
        rights: Rights,
        trust: Trust,
    ) -> Result<Self, RingError> {
        trust.check_peer(peer_of(socket)?)?;
        let (segment, locks) = receive(socket)?;
        let path = label();
        let refuse = |reason| Err(RingError::NotHandedOver { reason });
        check_memory_file(&segment)?;
        let flags = rustix::fs::fcntl_getfl(&segment)
            .map_err(|errno| failure("look at the flags of", &path, errno))?;
        if rights == Rights::Participate && !flags.contains(OFlags::RDWR) {
            return refuse("it may only be read; observe it");
        }
        // After its seals were seen: before, its size could still change.
        let status =
            rustix::fs::fstat(&segment).map_err(|errno| failure("look at", &path, errno))?;
        let geometry = file::read_header(&segment, &path, &status)?;
        let locks = match locks {
            Some(locks) => {
                // Locks on a file of another kind may be anything, and keep whoever asks waiting.
                check_memory_file(&locks)?;
                let failed = |errno| failure("look at the locks of", &path, errno);
                let locks = LockFile::open_with(|| Ok(locks)).map_err(failed)?;
                if locks.objection(geometry.identity).map_err(failed)?.is_some() {
                    return refuse("the locks that came with it are not its own");
                }
                Some(locks)
            }
            None if rights == Rights::Observe => None,
            None => return refuse("its locks did not come with it"),
        };
        if rights == Rights::Participate {
            file::have_memory(&segment, &geometry, &path)?;
        }
        Self::map(parts(segment, locks, rights, trust, false), geometry)
    }
}

fn parts(
    file: OwnedFd,
    locks: Option<LockFile>,
    rights: Rights,
    trust: Trust,
    all_taken: bool,
) -> Parts {
    Parts { file, locks, name: None, lock_path: None, path: label(), rights, trust, all_taken }
}

/// Refuses what is no memory file of ordinary pages, or one whose size can change.
fn check_memory_file(file: &OwnedFd) -> Result<(), RingError> {
    let refuse = |reason| Err(RingError::NotHandedOver { reason });
    // Only files in memory have seals; one on a tmpfs may not have these.
    match rustix::fs::fcntl_get_seals(file) {
        Ok(seals) if seals.contains(required_seals()) => {}
        Ok(_) => return refuse("it is not sealed: who sent it could make it shorter"),
        Err(_) => return refuse("it is not a memory file"),
    }
    // Huge pages (hugetlbfs) have seals too, and can run out when they are first touched.
    const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;
    match rustix::fs::fstatfs(file) {
        Ok(system) if system.f_type == TMPFS_MAGIC => Ok(()),
        _ => refuse("it is not a memory file of ordinary pages"),
    }
}

fn seal(file: &OwnedFd, seals: SealFlags) -> Result<(), RingError> {
    rustix::fs::fcntl_add_seals(file, seals).map_err(|errno| failure("seal", &label(), errno))
}

/// A new memory file, which can be sealed.
fn memory_file(name: &str) -> Result<OwnedFd, RingError> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        // Before Linux 6.3.
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags),
        other => other,
    }
    .map_err(|errno| match errno {
        Errno::PERM | Errno::ACCESS | Errno::NOSYS => RingError::NoMemoryFile,
        errno => failure("make", &label(), errno),
    })
}

/// Who is at the other end.
fn peer_of(socket: BorrowedFd<'_>) -> Result<libc::ucred, RingError> {
    let mut peer = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the descriptor is open as long as it is borrowed, and the kernel writes at most
    // `length` bytes of plain numbers. Not rustix's call: a peer in a pid namespace that this
    // process cannot see has the pid 0 (pid_namespaces(7)), which its type cannot be.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    };
    // What is no Unix socket has nobody, or says so.
    if result != 0 || length as usize != size_of::<libc::ucred>() || peer.uid == u32::MAX {
        return Err(RingError::NotHandedOver { reason: "the socket does not say who is there" });
    }
    Ok(peer)
}

fn send(socket: BorrowedFd<'_>, files: &[BorrowedFd<'_>]) -> Result<(), RingError> {
    let failed = |errno| failure("send over", Path::new("the socket"), errno);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(failed(Errno::NOBUFS));
    }
    let greeting = [IoSlice::new(&GREETING)];
    loop {
        match rustix::net::sendmsg(socket, &greeting, &mut control, SendFlags::NOSIGNAL) {
            Ok(sent) if sent == GREETING.len() => return Ok(()),
            // The socket had room for less, and the descriptors have gone with it.
            Ok(_) => return Err(failed(Errno::NOBUFS)),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
}

/// The segment's file, and that of the locks if it came.
fn receive(socket: BorrowedFd<'_>) -> Result<(OwnedFd, Option<OwnedFd>), RingError> {
    let failed = |errno| failure("receive over", Path::new("the socket"), errno);
    let refuse = |reason| Err(RingError::NotHandedOver { reason });
    let mut greeting = [0; GREETING.len()];
    // Room for one more than there should be, to notice it.
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut bytes = [IoSliceMut::new(&mut greeting)];
        match rustix::net::recvmsg(socket, &mut bytes, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            other => break other.map_err(failed)?,
        }
    };
    let mut files = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => Some(files),
        _ => None,
    });
    let files: std::vec::Vec<OwnedFd> = files.by_ref().flatten().collect();
    if received.bytes == 0 {
        return refuse("the other end has closed the socket");
    }
    if received.bytes != GREETING.len() || greeting != GREETING {
        return refuse("the socket carried something else");
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        // The kernel drops what this process has no number for (unix(7)), and what there is no room
        // for.
        return match files.len() {
            3.. => refuse("more than two files came with it"),
            _ => Err(RingError::NoDescriptors { path: label() }),
        };
    }
    let mut files = files.into_iter();
    match (files.next(), files.next(), files.next()) {
        (Some(segment), locks, None) => Ok((segment, locks)),
        (None, ..) => refuse("no file came with it"),
        _ => refuse("more than two files came with it"),
    }
}
