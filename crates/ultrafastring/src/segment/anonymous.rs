//! An anonymous segment: a memory file without a name, sealed, and handed over a Unix socket.
//!
//! Seals (memfd_create(2)) forbid for ever to make the file shorter or longer, to whoever has it: so
//! no peer, however hostile, can make an access raise SIGBUS. Whoever is handed one believes
//! neither the sender nor the file: it asks the socket who is at the other end, and the kernel for
//! the seals, the kind and the size of the file, before it looks at the header.
//!
//! The file's descriptor that travels is shared with the sender, locks and all; so each handle
//! opens the file anew through `/proc/self/fd`, as for a named one.

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

use super::file::{self, Rights, failure};
use super::{Backing, Segment};
use crate::layout::{Geometry, MAGIC, SideMemory};
use crate::{RingError, Trust};

/// What travels beside the descriptor.
const GREETING: [u8; 8] = MAGIC.to_le_bytes();

/// What the kernel calls such a file, in `/proc/PID/maps` and in our errors.
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
        geometry: Geometry,
        trust: Trust,
        side_memory: SideMemory,
    ) -> Result<Self, RingError> {
        geometry.validate()?;
        let memory = memory_file()?;
        let path = label();
        let failed = |action, errno| failure(action, &path, errno);
        file::fill(memory.as_fd(), &geometry, &path, side_memory)?;
        rustix::fs::fchmod(&memory, trust.mode()).map_err(|it| failed("set the mode of", it))?;
        rustix::fs::fcntl_add_seals(&memory, required_seals()).map_err(|it| failed("seal", it))?;
        let taken = side_memory.is_taken_at_once();
        Self::map(memory, geometry, None, path, Rights::Participate, trust, taken)
    }

    /// Sends the segment's file over a socket; with `rights` to look only, one that cannot be
    /// written through.
    pub(crate) fn hand_over(
        &self,
        socket: BorrowedFd<'_>,
        rights: Rights,
    ) -> Result<(), RingError> {
        let reason = "it is not an anonymous one; open a named ring by its name";
        let not_anonymous = RingError::NotHandedOver { reason };
        #[allow(unreachable_patterns)]
        let mapping = match &self.backing {
            Backing::File(mapping) if mapping.name.is_none() => mapping,
            _ => return Err(not_anonymous),
        };
        mapping.trust.check_peer(peer_of(socket)?)?;
        match rights {
            Rights::Participate => send(socket, mapping.file.as_fd()),
            Rights::Observe => send(socket, mapping.open_anew(OFlags::RDONLY)?.as_fd()),
        }
    }

    /// Receives a segment's file over a socket.
    pub(crate) fn take_over(
        socket: BorrowedFd<'_>,
        rights: Rights,
        trust: Trust,
    ) -> Result<Self, RingError> {
        trust.check_peer(peer_of(socket)?)?;
        let memory = receive(socket)?;
        let path = label();
        let refuse = |reason| Err(RingError::NotHandedOver { reason });
        // Only files in memory have seals; one on a tmpfs may not have these.
        match rustix::fs::fcntl_get_seals(&memory) {
            Ok(seals) if seals.contains(required_seals()) => {}
            Ok(_) => return refuse("it is not sealed: who sent it could make it shorter"),
            Err(_) => return refuse("it is not a memory file"),
        }
        // Huge pages (hugetlbfs) have seals too, and can run out when they are first touched.
        const TMPFS_MAGIC: i64 = 0x0102_1994;
        match rustix::fs::fstatfs(&memory) {
            Ok(system) if system.f_type == TMPFS_MAGIC => {}
            _ => return refuse("it is not a memory file of ordinary pages"),
        }
        let flags = rustix::fs::fcntl_getfl(&memory)
            .map_err(|errno| failure("look at the flags of", &path, errno))?;
        if rights == Rights::Participate && !flags.contains(OFlags::RDWR) {
            return refuse("it may only be read; observe it");
        }
        // After its seals were seen: before, its size could still change.
        let status =
            rustix::fs::fstat(&memory).map_err(|errno| failure("look at", &path, errno))?;
        let geometry = file::read_header(&memory, &path, &status)?;
        if rights == Rights::Participate {
            file::have_memory(&memory, &geometry, &path)?;
        }
        Self::map(memory, geometry, None, path, rights, trust, false)
    }
}

/// A new memory file, which can be sealed.
fn memory_file() -> Result<OwnedFd, RingError> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let name = Path::new(LABEL).file_name().unwrap_or_default();
    let name = name.to_str().map_or("ring", |name| name.trim_start_matches("memfd:"));
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

fn send(socket: BorrowedFd<'_>, memory: BorrowedFd<'_>) -> Result<(), RingError> {
    let failed = |errno| failure("send over", Path::new("the socket"), errno);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let memory = [memory];
    if !control.push(SendAncillaryMessage::ScmRights(&memory)) {
        return Err(failed(Errno::NOBUFS));
    }
    let greeting = [IoSlice::new(&GREETING)];
    loop {
        match rustix::net::sendmsg(socket, &greeting, &mut control, SendFlags::NOSIGNAL) {
            Ok(sent) if sent == GREETING.len() => return Ok(()),
            // The socket had room for less, and the descriptor has gone with it.
            Ok(_) => return Err(failed(Errno::NOBUFS)),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
}

fn receive(socket: BorrowedFd<'_>) -> Result<OwnedFd, RingError> {
    let failed = |errno| failure("receive over", Path::new("the socket"), errno);
    let refuse = |reason| Err(RingError::NotHandedOver { reason });
    let mut greeting = [0; GREETING.len()];
    // Room for one more than there should be, to notice it.
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
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
    let mut files: std::vec::Vec<OwnedFd> = files.by_ref().flatten().collect();
    if received.bytes == 0 {
        return refuse("the other end has closed the socket");
    }
    if received.bytes != GREETING.len() || greeting != GREETING {
        return refuse("the socket carried something else");
    }
    if files.len() > 1 || received.flags.contains(ReturnFlags::CTRUNC) && !files.is_empty() {
        return refuse("more than one file came with it");
    }
    match files.pop() {
        Some(memory) => Ok(memory),
        // The kernel drops what this process has no number for (unix(7)).
        None if received.flags.contains(ReturnFlags::CTRUNC) => {
            Err(RingError::NoDescriptors { path: label() })
        }
        None => refuse("no file came with it"),
    }
}
