//! The two files of a named ring: their names, and how they are made and removed together.
//!
//! | file | called | made | removed |
//! |---|---|---|---|
//! | segment | `ufr-NAME` | second | first |
//! | lock file | `.ufr-NAME.lock-IDENTITY` | first | second |
//!
//! The identity is a random number in the segment's header. So the segment's name alone decides
//! whether there is a ring. It appears in one step, whoever finds it finds its lock file, and two
//! creators never want the same lock file. A death between two steps leaves only a lock file that
//! no segment names. It is in nobody's way, and is removed when a ring of that name is made or
//! removed.
//!
//! Nobody is left with a ring whose name is gone, unless somebody removes a ring that is in use:
//!
//! ```text
//!  who opens                                who removes what is stale
//!  share the lock of the opening            take all locks, or leave it alone
//!  is the name still this file's?           is the name still this file's?
//!  if not: from the beginning               unlink the segment, then the lock file
//! ```
//!
//! A creator shares the opening lock before its lock file has a name.

pub(super) mod making;
pub(super) mod opening;
pub(crate) mod removing;

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, fs, io};

use crate::error::{FileError, RingError};
use crate::name::is_text;

/// Where named rings live unless a directory is given.
pub const DEFAULT_DIRECTORY: &str = "/dev/shm";

/// The beginning of the name of a ring's file.
const PREFIX: &str = "ufr-";

/// The beginning of the names of the files beside it. No ring's name begins so.
const HIDDEN: &str = ".ufr-";

/// Longest name of a ring, in bytes.
const LONGEST_NAME: usize = 200;

/// How often a call waits for somebody in its way, and for how long each time. A removal takes some
/// microseconds.
const MOST_LOOKS: u32 = 1_000;
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

/// The path of the ring called `name` in `directory`.
pub(crate) fn path_of(directory: &Path, name: &str) -> Result<PathBuf, RingError> {
    let usable = !name.is_empty()
        && name.len() <= LONGEST_NAME
        && !name.starts_with('.')
        && name.chars().all(|c| c != '/' && is_text(c));
    if !usable {
        return Err(RingError::BadName { name: name.to_string() });
    }
    Ok(directory.join(format!("{PREFIX}{name}")))
}

/// The lock file of the ring of this name and identity.
fn lock_path(directory: &Path, name: &str, identity: u64) -> PathBuf {
    directory.join(format!("{HIDDEN}{name}.lock-{identity:016x}"))
}

/// The name of a new segment until it is complete, if the file system has no unnamed files.
fn temporary_path(directory: &Path, name: &str, identity: u64) -> PathBuf {
    directory.join(format!("{HIDDEN}{name}.new-{identity:016x}"))
}

/// The ring's name and identity in the name of a file beside it, if it is such a file.
fn parse_hidden(file_name: &str) -> Option<(String, u64)> {
    let (rest, identity) = file_name.strip_prefix(HIDDEN)?.rsplit_once('-')?;
    let name = rest.strip_suffix(".lock").or_else(|| rest.strip_suffix(".new"))?;
    let identity = u64::from_str_radix(identity, 16).ok().filter(|_| identity.len() == 16)?;
    Some((name.to_string(), identity))
}

/// The results of `pick` for the names of all files in `directory` that are valid text.
fn files_in<T>(directory: &Path, pick: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, RingError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            FileError::NoDirectory.at(directory)
        }
        _ => FileError::Io { action: "list", reason: error }.at(directory),
    };
    let mut picked = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        picked.extend(entry.map_err(failed)?.file_name().to_str().and_then(&pick));
    }
    Ok(picked)
}

/// The names of all rings in `directory`, by the names of their files, sorted.
pub(crate) fn names_in(directory: &Path) -> Result<Vec<String>, RingError> {
    let mut names = files_in(directory, |file| {
        let name = file.strip_prefix(PREFIX)?;
        path_of(directory, name).is_ok().then(|| name.to_string())
    })?;
    names.sort();
    Ok(names)
}

/// The files beside rings in `directory`, as ring names and identities.
fn hidden_in(directory: &Path) -> Result<Vec<(String, u64)>, RingError> {
    files_in(directory, parse_hidden)
}
