//! An anonymous segment: a memory file without a name, sealed, and handed over a Unix socket.
//!
//! Seals (memfd_create(2)) keep everybody from ever changing the file's size. So no peer, however
//! hostile, can make an access raise SIGBUS. A receiver believes neither the sender nor the file.
//! Before it reads the header, it asks the socket who is at the other end, and the kernel for the
//! seals, the kind and the size of the file.
//!
//! Like a named ring, such a ring has two files: the segment, and the file whose bytes participants
//! lock. A participant is handed both. An observer gets only the segment, by a description that
//! cannot write. Whoever has a descriptor can reopen its file through `/proc/self/fd` with more
//! rights, if the file's mode allows that (open(2) checks the inode, not the description). So the
//! segment's mode allows other users only to read, and a participant writes through the description
//! that it was handed.
//!
//! A descriptor that is sent shares its description, and so its locks, with the sender. So each
//! handle reopens the lock file, as for a named ring, and the descriptor that is sent is opened
//! just for that.

use core::mem::MaybeUninit;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{MemfdFlags, OFlags, SealFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use super::file::Making;
use super::lock_file::LockFile;
use super::mapping::{Files, Mapping, Rights};
use super::named::making::{give_to, new_identity};
use super::system::{failure, page_size};
use super::{Segment, file};
use crate::error::{FileError, RingError};
use crate::layout::header::MAGIC;
use crate::trust::Trust;

/// What is sent with the descriptors: that of the segment, and that of the locks unless the
/// receiver is an observer.
const GREETING: [u8; 8] = MAGIC.to_le_bytes();

/// The name of the segment's file in `/proc/PID/maps`, and of the ring in errors.
const LABEL: &str = "memfd:ultrafastring";

fn refuse<T>(reason: &'static str) -> Result<T, RingError> {
    Err(RingError::NotHandedOver { reason })
}

/// The seals that keep the size from changing.
fn required_seals() -> SealFlags {
    SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL
}

impl Segment {
    /// Makes a new anonymous segment.
    pub(crate) fn anonymous(making: Making<'_>, trust: Trust) -> Result<Self, RingError> {
        let mut geometry = making.geometry.for_pages_of(page_size());
        geometry.validate()?;
        let path = Path::new(LABEL);
        let failed = |action, errno| failure(action, path, errno);
        file::within_file_size_limit(&geometry, path)?;
        geometry.identity = new_identity().map_err(|errno| failed("name", errno))?;
        let segment = memory_file("ultrafastring")?;
        file::fill(segment.as_fd(), &Making { geometry, ..making }, path)?;
        rustix::fs::fchmod(&segment, trust.segment_mode())
            .map_err(|errno| failed("set the mode of", errno))?;
        seal(&segment, required_seals())?;
        let locks = memory_file("ultrafastring-locks")?;
        LockFile::introduce(&locks, geometry.identity).map_err(|it| failed("write into", it))?;
        give_to(&locks, trust, path)?;
        // Nobody writes there: locked bytes need not exist.
        seal(&locks, required_seals() | SealFlags::WRITE)?;
        let locks = LockFile::open_with(|| Ok(locks)).map_err(|it| failed("look at", it))?;
        let files = files(segment, Some(locks), Rights::Participate, trust);
        let mapping = Mapping::new(files, &geometry, Some(making.side_memory))?;
        Ok(Self::mapped(mapping, geometry))
    }

    /// Sends an anonymous segment over a socket. With `rights` only to look, it sends only the
    /// segment's file, by a description that cannot write.
    pub(crate) fn hand_over(
        &self,
        socket: BorrowedFd<'_>,
        rights: Rights,
    ) -> Result<(), RingError> {
        const NAMED: &str = "it is not an anonymous one; open a named ring by its name";
        let anonymous = self.mapping().filter(|mapping| mapping.name().is_none());
        let Some(mapping) = anonymous else { return refuse(NAMED) };
        mapping.files.trust.check_peer(peer_of(socket)?)?;
        if rights == Rights::Observe {
            return send_files(socket, &[mapping.open_to_read()?.as_fd()]);
        }
        let Some(locks) = mapping.lock_file()? else { return refuse(NAMED) };
        let segment = mapping.file().map_err(|it| failure("send", LABEL, it))?;
        send_files(socket, &[segment, locks.as_fd()])
    }

    /// Receives an anonymous segment over a socket.
    pub(crate) fn take_over(
        socket: BorrowedFd<'_>,
        rights: Rights,
        trust: Trust,
    ) -> Result<Self, RingError> {
        trust.check_peer(peer_of(socket)?)?;
        let (segment, locks) = receive_files(socket)?;
        let path = Path::new(LABEL);
        check_memory_file(&segment)?;
        let flags = rustix::fs::fcntl_getfl(&segment)
            .map_err(|errno| failure("look at the flags of", path, errno))?;
        if rights == Rights::Participate && !flags.contains(OFlags::RDWR) {
            return refuse("it may only be read; observe it");
        }
        // After its seals were checked, since its size could change before.
        let status =
            rustix::fs::fstat(&segment).map_err(|errno| failure("look at", path, errno))?;
        let geometry = file::read_header(&segment, path, &status)?;
        let locks = match locks {
            Some(locks) => {
                // Locks on a file of another kind may behave in any way, and block.
                check_memory_file(&locks)?;
                let failed = |errno| failure("look at the locks of", path, errno);
                let locks = LockFile::open_with(|| Ok(locks)).map_err(failed)?;
                if locks.objection(geometry.identity).map_err(failed)?.is_some() {
                    return refuse("the locks that came with it are not its own");
                }
                Some(locks)
            }
            None if rights == Rights::Observe => None,
            None => return refuse("its locks did not come with it"),
        };
        let mapping = Mapping::new(files(segment, locks, rights, trust), &geometry, None)?;
        Ok(Self::mapped(mapping, geometry))
    }
}

fn files(segment: OwnedFd, locks: Option<LockFile>, rights: Rights, trust: Trust) -> Files {
    Files { segment, locks, name: None, lock_path: None, path: LABEL.into(), rights, trust }
}

/// Refuses a file that is not a memory file of ordinary pages, or whose size can change.
fn check_memory_file(file: &OwnedFd) -> Result<(), RingError> {
    // Only files in memory have seals, and a file on a tmpfs cannot have these.
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
    rustix::fs::fcntl_add_seals(file, seals).map_err(|errno| failure("seal", LABEL, errno))
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
        errno => failure("make", LABEL, errno),
    })
}

/// Who is at the other end.
fn peer_of(socket: BorrowedFd<'_>) -> Result<libc::ucred, RingError> {
    let mut peer = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the descriptor is open as long as it is borrowed, and the kernel writes at most
    // `length` bytes of plain numbers. rustix's call cannot be used: a peer in a pid namespace that
    // this process cannot see has pid 0 (pid_namespaces(7)), which its type does not allow.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    };
    // On anything but a Unix socket this fails or gives nobody.
    if result != 0 || length as usize != size_of::<libc::ucred>() || peer.uid == u32::MAX {
        return refuse("the socket does not say who is there");
    }
    Ok(peer)
}

fn send_files(socket: BorrowedFd<'_>, files: &[BorrowedFd<'_>]) -> Result<(), RingError> {
    let failed = |errno| failure("send over", "the socket", errno);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(failed(Errno::NOBUFS));
    }
    let greeting = [IoSlice::new(&GREETING)];
    let send = || rustix::net::sendmsg(socket, &greeting, &mut control, SendFlags::NOSIGNAL);
    match retry_on_intr(send).map_err(failed)? {
        sent if sent == GREETING.len() => Ok(()),
        // The socket had room for less, and the descriptors are lost with it.
        _ => Err(failed(Errno::NOBUFS)),
    }
}

/// The segment's file, and the lock file if it was sent.
fn receive_files(socket: BorrowedFd<'_>) -> Result<(OwnedFd, Option<OwnedFd>), RingError> {
    let failed = |errno| failure("receive over", "the socket", errno);
    let mut greeting = [0; GREETING.len()];
    // Room for one more than allowed, to notice it.
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = retry_on_intr(|| {
        let mut bytes = [IoSliceMut::new(&mut greeting)];
        rustix::net::recvmsg(socket, &mut bytes, &mut control, RecvFlags::CMSG_CLOEXEC)
    })
    .map_err(failed)?;
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
        // The kernel drops descriptors if this process has no number left (unix(7)), or if there is
        // no room.
        return match files.len() {
            3.. => refuse("more than two files came with it"),
            _ => Err(FileError::NoDescriptors.at(LABEL)),
        };
    }
    let mut files = files.into_iter();
    match (files.next(), files.next(), files.next()) {
        (Some(segment), locks, None) => Ok((segment, locks)),
        (None, ..) => refuse("no file came with it"),
        _ => refuse("more than two files came with it"),
    }
}
