//! Items that are larger than the messages of their ring: each in a file of its own, whose name is
//! sent instead.
//!
//! Who takes the item removes its file. What is left when the process that made the queue ends is
//! removed then (`_queues.py`).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::prelude::*;

use super::codec::Source;
use super::error;

const PREFIX: &str = "ultrafastring-item-";
const SHARED_MEMORY: &str = "/dev/shm";

/// Longest name that is believed.
pub(super) const LONGEST_NAME: usize = 120;

/// The files of one queue.
pub(super) struct Spill {
    /// What tells the queue from others.
    queue: String,
}

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
    ) -> PyResult<String> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{}-{number}", self.queue, std::process::id());
        let pieces: Vec<_> = pieces.collect();
        let mut failed = None;
        for directory in directories() {
            let path = directory.join(&name);
            match write_file(&path, size, &pieces) {
                Ok(()) => return Ok(name),
                Err(error) => failed = Some(error),
            }
            drop(std::fs::remove_file(&path));
        }
        Err(error::no_room_for_item(size, failed))
    }

    /// Opens the file of an item. Its name goes when it is dropped.
    pub(super) fn open(&self, name: &str) -> PyResult<Spilled> {
        if !self.is_name(name) {
            return Err(error::malformed());
        }
        let mut failed = io::Error::from(io::ErrorKind::NotFound);
        for directory in directories() {
            let path = directory.join(name);
            // Not a link, nor what waits for somebody, as a pipe does.
            let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
            match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
                Ok(file) => {
                    let size = file.metadata().and_then(|it| {
                        let regular = it.is_file() && it.size() > 0;
                        if regular { Ok(it.size()) } else { Err(io::ErrorKind::InvalidData.into()) }
                    });
                    let size = size.map_err(|error| error::spilled_is_gone(&error))?;
                    return Ok(Spilled { file, path, size: size as usize });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => failed = error,
            }
        }
        Err(error::spilled_is_gone(&failed))
    }
}

fn write_file(path: &Path, size: usize, pieces: &[(usize, &[u8])]) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.set_len(size as u64)?;
    pieces.iter().try_for_each(|(at, piece)| file.write_all_at(piece, *at as u64))
}

/// The file of an item that was taken.
pub(super) struct Spilled {
    file: File,
    path: PathBuf,
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

impl Drop for Spilled {
    fn drop(&mut self) {
        // Nobody else has the item.
        drop(std::fs::remove_file(&self.path));
    }
}
