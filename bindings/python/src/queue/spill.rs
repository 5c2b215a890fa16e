//! Items that are larger than the messages of their ring: each in a file of its own, whose name is
//! sent instead.
//!
//! Whoever has the item removes its file: a queue with `redeliver` when the item is let go, and
//! before that it can be read again; other queues when it is read; the sender if it is not put.
//! Who is killed meanwhile leaves it. What is left when the process that made the queue ends is
//! removed then (`_queues.py`).
//!
//! ```text
//!  ultrafastring-item-QUEUE-PROCESS-NUMBER-PLACE
//! ```

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::prelude::*;

use super::codec::Source;
use super::error;
use crate::fork;

const PREFIX: &str = "ultrafastring-item-";
const SHARED_MEMORY: &str = "/dev/shm";

/// Longest name that is believed.
pub(super) const LONGEST_NAME: usize = 120;

/// The files of one queue.
pub(super) struct Spill {
    /// What tells the queue from others.
    queue: String,
}

/// Where files may be: a place is an index of this.
fn directories() -> [PathBuf; 2] {
    [PathBuf::from(SHARED_MEMORY), std::env::temp_dir()]
}

impl Spill {
    pub(super) fn of(queue: String) -> Self {
        Self { queue }
    }

    fn is_name(&self, name: &str) -> bool {
        let number = name.strip_prefix(PREFIX).and_then(|it| it.strip_prefix(&*self.queue));
        number.is_some_and(|it| it.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'))
    }

    /// Writes an item. Says the name of its file.
    pub(super) fn write<'a>(
        &self,
        size: usize,
        pieces: impl Iterator<Item = (usize, &'a [u8])>,
    ) -> PyResult<(String, Named)> {
        let pieces: Vec<_> = pieces.collect();
        let mut failed = None;
        for (place, directory) in directories().iter().enumerate() {
            let written = self.create(directory, place).and_then(|(name, named, file)| {
                file.set_len(size as u64)?;
                let write = |(at, piece): &(usize, &[u8])| file.write_all_at(piece, *at as u64);
                pieces.iter().try_for_each(write)?;
                Ok((name, named))
            });
            match written {
                Ok(written) => return Ok(written),
                Err(error) => failed = Some(error),
            }
        }
        Err(error::no_room_for_item(size, failed))
    }

    /// Makes a file with a name that none has.
    fn create(&self, directory: &Path, place: usize) -> io::Result<(String, Named, File)> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let process = std::process::id();
            // With its place: else a file elsewhere that has the same name could be taken for it.
            let name = format!("{PREFIX}{}-{process}-{number}-{place}", self.queue);
            let path = directory.join(&name);
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
            match made {
                Ok(file) => return Ok((name, Named::of(path), file)),
                // Of a process that had or, in another namespace, has the same number. Perhaps
                // nobody got that item yet.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The file that a message names.
    pub(super) fn named(&self, name: &str) -> PyResult<Named> {
        let place = match name.bytes().last() {
            Some(digit) if self.is_name(name) => usize::from(digit.wrapping_sub(b'0')),
            _ => return Err(error::malformed()),
        };
        match directories().get(place) {
            Some(directory) => Ok(Named::of(directory.join(name))),
            None => Err(error::malformed()),
        }
    }
}

/// The file of an item, which is removed when this is dropped.
pub(super) struct Named {
    path: PathBuf,
    /// The generation of the process that removes it; `None` if that is for others.
    owner: Option<u64>,
}

impl Named {
    fn of(path: PathBuf) -> Self {
        Self { path, owner: Some(fork::generation()) }
    }

    pub(super) fn open(&self) -> PyResult<Spilled> {
        let open = || {
            // Not a link, nor what waits for somebody, as a pipe does.
            let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
            let file = OpenOptions::new().read(true).custom_flags(flags).open(&self.path)?;
            let about = file.metadata()?;
            if about.is_file() && about.size() > 0 {
                Ok(Spilled { file, size: about.size() as usize })
            } else {
                Err(io::ErrorKind::InvalidData.into())
            }
        };
        open().map_err(|error: io::Error| error::spilled_is_gone(&error))
    }

    /// The item was put: others have the file now.
    pub(super) fn leave(mut self) {
        self.owner = None;
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        // A forked child has a copy of what its parent is putting, or has in hand.
        if self.owner == Some(fork::generation()) {
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// What is in the file of an item.
pub(super) struct Spilled {
    file: File,
    size: usize,
}

impl Source for Spilled {
    fn size(&self) -> usize {
        self.size
    }

    fn read_at(&self, offset: usize, buffer: &mut [u8]) -> PyResult<()> {
        let read = self.file.read_exact_at(buffer, offset as u64);
        read.map_err(|error| error::spilled_is_gone(&error))
    }
}
