//! What is in a segment's file: its header, and memory for the rest.

use core::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::vec::Vec;

use rustix::fs::{FallocateFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::system::failure;
use crate::error::{FileError, RingError};
use crate::layout::areas::{
    CONTROL_SIZE, CURSOR_SIZE, GROUP_SIZE, LANE_SIZE, PAGE, PARTICIPANT_SIZE, next,
};
use crate::layout::group::Row;
use crate::layout::header::{BadHeader, Geometry, HEADER_WORDS};
use crate::layout::terms::{LaneTerms, TERMS_OFFSET};
use crate::name::ParticipantName;
use crate::settings::SideMemory;

/// Opens the file of this name, without following a link, and without waiting if it is a pipe.
pub(super) fn open(path: &Path, access: OFlags) -> Result<OwnedFd, Errno> {
    let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    rustix::fs::open(path, flags, Mode::empty())
}

/// Refuses a segment that is over this process's limit on file sizes. Otherwise the kernel would
/// end the process with SIGXFSZ.
pub(super) fn within_file_size_limit(geometry: &Geometry, path: &Path) -> Result<(), RingError> {
    let bytes = geometry.offsets().end;
    match getrlimit(Resource::Fsize).current {
        Some(limit) if (bytes as u64) > limit => {
            Err(FileError::FileSizeLimit { bytes, limit }.at(path))
        }
        _ => Ok(()),
    }
}

/// What a file is made as.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Making<'a> {
    pub(crate) geometry: Geometry,
    pub(crate) side_memory: SideMemory,
    /// The groups that it is made with: open from the start.
    pub(crate) groups: &'a [ParticipantName],
}

/// Gives a new file its length, its header, and the memory that it takes at once. So a full file
/// system is an error here, and not a SIGBUS when a page is first touched.
pub(super) fn fill(
    file: BorrowedFd<'_>,
    making: &Making<'_>,
    path: &Path,
) -> Result<(), RingError> {
    let Making { geometry, side_memory, groups } = making;
    let offsets = geometry.offsets();
    let length = offsets.end;
    let no_space = || FileError::NoSpace { bytes: length }.at(path);
    let failed = |errno| match errno {
        Errno::NOSPC | Errno::NOMEM | Errno::FBIG | Errno::DQUOT => no_space(),
        errno => failure("allocate", path, errno),
    };
    rustix::fs::ftruncate(file, length as u64).map_err(failed)?;
    let parts = match *side_memory {
        SideMemory::Preallocated => core::iter::once(0..length).collect(),
        SideMemory::OnDemand | SideMemory::Overcommitted => touched_at_once(geometry, |_| 0),
    };
    for part in parts {
        match allocate(file, part.start, part.len()) {
            // The file system cannot do that.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(file, part),
            other => other,
        }
        .map_err(failed)?;
    }
    let at_once = offsets.sides;
    if *side_memory == SideMemory::OnDemand && length > at_once {
        let system = rustix::fs::fstatvfs(file).map_err(failed)?;
        let free = system.f_bavail.saturating_mul(system.f_frsize);
        // Zero blocks means a tmpfs without a limit.
        if system.f_blocks != 0 && free < (length - at_once) as u64 {
            return Err(no_space());
        }
    }
    let rows = groups.iter().enumerate().take(geometry.settings.groups);
    rows.map(|(row, name)| (offsets.groups + row * GROUP_SIZE, name))
        .try_for_each(|(offset, name)| write_words(file, offset as u64, Row::first_words(name)))
        .and_then(|()| {
            (0..geometry.lanes()).try_for_each(|lane| {
                write_words(file, terms_at(geometry, lane), geometry.lane_terms(lane).0)
            })
        })
        .and_then(|()| write_words(file, 0, geometry.encode()))
        .map_err(|errno| failure("write the header of", path, errno))
}

/// Where the terms of a lane lie.
fn terms_at(geometry: &Geometry, lane: usize) -> u64 {
    (geometry.part(lane).counters + TERMS_OFFSET) as u64
}

/// Writes words of a file from byte `offset` on.
pub(super) fn write_words<const N: usize>(
    file: impl AsFd,
    offset: u64,
    words: [u64; N],
) -> Result<(), Errno> {
    let bytes = words.map(u64::to_ne_bytes);
    match rustix::io::pwrite(file, bytes.as_flattened(), offset)? {
        written if written == 8 * N => Ok(()),
        _ => Err(Errno::NOSPC),
    }
}

/// What all participants touch at once, in whole pages: everything except the side buffers and the
/// entries that nobody has used yet. `used` says how many of a lane's were.
pub(super) fn touched_at_once(
    geometry: &Geometry,
    used: impl Fn(usize) -> usize,
) -> Vec<Range<usize>> {
    let (offsets, page) = (geometry.offsets(), geometry.page());
    let (rows, lanes) = (geometry.group_rows(), geometry.lanes());
    let part = |start: usize, length: usize| start / page * page..next(start + length, page);
    let mut parts: Vec<_> = [
        part(0, PAGE),
        part(offsets.lanes, lanes * LANE_SIZE),
        part(offsets.control, lanes * CONTROL_SIZE),
        part(offsets.cursors, rows * lanes * CURSOR_SIZE),
        part(offsets.groups, rows * GROUP_SIZE),
        part(offsets.slots, geometry.bytes_of_slots()),
    ]
    .into();
    let entries = |lane| geometry.entries_at_once(used(lane)) * PARTICIPANT_SIZE;
    parts.extend((0..lanes).map(|lane| part(geometry.of_entry(lane, 0), entries(lane))));
    parts.sort_by_key(|part| part.start);
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(parts.len());
    for part in parts {
        match merged.last_mut() {
            Some(last) if part.start <= last.end => last.end = last.end.max(part.end),
            _ => merged.push(part),
        }
    }
    merged
}

/// How many entries of a lane in a file were ever used, as its peers say; all, if it cannot be
/// read.
pub(super) fn entries_used(file: &OwnedFd, geometry: &Geometry, lane: usize) -> usize {
    let mut word = [0; 8];
    let read = rustix::io::pread(file, &mut word, geometry.part(lane).control as u64);
    let used = if read == Ok(word.len()) { u64::from_ne_bytes(word) } else { u64::MAX };
    usize::try_from(used).unwrap_or(usize::MAX).min(geometry.settings.participants)
}

/// Takes the memory of a part of a file by writing all of it.
fn write_zeros(file: BorrowedFd<'_>, part: Range<usize>) -> Result<(), Errno> {
    static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
    let mut done = part.start;
    while done < part.end {
        let some = &ZEROS[..ZEROS.len().min(part.end - done)];
        match rustix::io::pwrite(file, some, done as u64) {
            Ok(0) => return Err(Errno::NOSPC),
            Ok(written) => done += written,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Takes the memory that all participants touch at once, in a file that another process has made.
/// It may be a sparse copy, and running out of memory must be an error here, not a SIGBUS later.
pub(super) fn have_memory(
    file: &OwnedFd,
    geometry: &Geometry,
    path: &Path,
) -> Result<(), RingError> {
    for part in touched_at_once(geometry, |lane| entries_used(file, geometry, lane)) {
        // If the file system cannot do that, its maker has written the memory.
        if let Err(Errno::NOSPC | Errno::NOMEM | Errno::DQUOT) =
            allocate(file.as_fd(), part.start, part.len())
        {
            return Err(FileError::NoSpace { bytes: geometry.offsets().sides }.at(path));
        }
    }
    Ok(())
}

/// Makes the file system reserve memory for a part of a file.
pub(super) fn allocate(file: BorrowedFd<'_>, offset: usize, length: usize) -> Result<(), Errno> {
    let (offset, length) = (offset as u64, length as u64);
    // The size stays as it is, so that a truncated file is noticed and not silently repaired.
    rustix::io::retry_on_intr(|| {
        rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, offset, length)
    })
}

/// Words of a file from byte `offset` on; `None` if it is too short for them.
pub(super) fn read_words<const N: usize>(
    file: impl AsFd,
    offset: u64,
) -> Result<Option<[u64; N]>, Errno> {
    let mut bytes = [[0; 8]; N];
    let read = rustix::io::pread(file, bytes.as_flattened_mut(), offset)?;
    Ok((read == 8 * N).then(|| bytes.map(u64::from_ne_bytes)))
}

/// Reads and checks the header of a file with this `status`.
pub(super) fn read_header(
    file: &OwnedFd,
    path: &Path,
    status: &rustix::fs::Stat,
) -> Result<Geometry, RingError> {
    let refuse = |reason| FileError::NotARing { reason }.at(path);
    let failed = |errno| failure("read the header of", path, errno);
    let words: Option<[u64; HEADER_WORDS]> = read_words(file, 0).map_err(failed)?;
    let words = words.ok_or_else(|| refuse("it is too short for a header"))?;
    let size = u64::try_from(status.st_size).unwrap_or(0);
    let geometry = Geometry::decode(&words, size).map_err(|bad| match bad {
        BadHeader::NotARing(reason) => refuse(reason),
        BadHeader::Version(found) => FileError::LayoutVersion { found }.at(path),
        BadHeader::Features(features) => FileError::UnknownFeatures { features }.at(path),
    })?;
    for lane in 0..geometry.lanes() {
        let terms = read_words(file, terms_at(&geometry, lane)).map_err(failed)?;
        if terms.map(LaneTerms) != Some(geometry.lane_terms(lane)) {
            return Err(refuse("its lane is another one than its header says"));
        }
    }
    Ok(geometry)
}
