//! The rings of a directory, looked at one after the other, with a bound on how many and how long.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use ultrafastring::{Builder, FileError, Observer, RingError};

/// The rings of a directory, to be looked at without disturbing them.
///
/// ```
/// use ultrafastring::Builder;
/// use ultrafastring_metrics::{Look, Rings};
///
/// let left_out = Rings::of(Builder::new()).each(|name, look| match look {
///     Look::Ring(ring) => println!("{name}: {} messages in flight", ring.len()),
///     Look::Untrusted(error) | Look::Unusable(error) => println!("{name}: {error}"),
/// })?;
/// println!("{left_out} were left out");
/// # Ok::<(), ultrafastring::RingError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Rings {
    builder: Builder,
    most: usize,
    within: Duration,
}

/// What a ring of a directory turns out to be.
#[derive(Debug)]
pub enum Look<'a> {
    /// One that can be looked into. Its memory is mapped read-only.
    Ring(&'a Observer),
    /// One that the [trust](Builder::trust) which was chosen, or the file system, keeps closed:
    /// another user's, for example.
    Untrusted(RingError),
    /// One that cannot be looked into: its file is damaged, cut short, or no ring, or the ring has
    /// another layout version.
    Unusable(RingError),
}

impl Rings {
    /// How many rings are looked at, unless [`most`](Self::most) says otherwise.
    pub const MOST: usize = 1_000;
    /// For how long, unless [`within`](Self::within) says otherwise.
    pub const WITHIN: Duration = Duration::from_secs(5);

    /// The rings of the directory that the builder chooses, opened with the trust that it chooses.
    pub fn of(builder: Builder) -> Self {
        Self { builder, most: Self::MOST, within: Self::WITHIN }
    }

    /// Looks at no more than so many rings. Those that are [untrusted](Look::Untrusted) do not
    /// count: others could make many.
    pub fn most(mut self, rings: usize) -> Self {
        self.most = rings;
        self
    }

    /// Looks at no further ring once so much time has passed. A look at one ring takes some ten
    /// microseconds, but up to a second if the ring has millions of slots or is being removed.
    pub fn within(mut self, time: Duration) -> Self {
        self.within = time;
        self
    }

    /// Looks at each ring, in the order of their names. Returns how many were left out.
    ///
    /// A ring that is removed meanwhile is passed over. Call
    /// [`survive_truncation`](ultrafastring::survive_truncation) once in your program before you
    /// look: otherwise a ring whose file is cut short while you look ends your process with SIGBUS.
    /// Such a ring [is damaged](ultrafastring::RingView::is_damaged) from then on, and what was
    /// read means nothing.
    ///
    /// # Errors
    ///
    /// As [`Builder::list`], if the directory cannot be listed.
    pub fn each(&self, mut visit: impl FnMut(&str, Look<'_>)) -> Result<usize, RingError> {
        let began = Instant::now();
        let names = self.builder.list()?;
        let mut looked_at = 0;
        for (index, name) in names.iter().enumerate() {
            if looked_at == self.most || began.elapsed() > self.within {
                return Ok(names.len() - index);
            }
            match self.builder.observe(name) {
                Ok(ring) => visit(name, Look::Ring(&ring)),
                Err(RingError::File { kind: FileError::NoSuchRing, .. }) => continue,
                Err(error) if self.is_foreign(name, &error) => {
                    visit(name, Look::Untrusted(error));
                    continue;
                }
                Err(error) => visit(name, Look::Unusable(error)),
            }
            looked_at += 1;
        }
        Ok(0)
    }

    /// Whether an error says that a ring is somebody else's, and nothing of its state.
    fn is_foreign(&self, name: &str, error: &RingError) -> bool {
        let RingError::File { kind, .. } = error else { return false };
        match kind {
            FileError::PermissionDenied
            | FileError::ForeignOwner { .. }
            | FileError::LooseMode { .. }
            | FileError::LooseDirectory => true,
            // What is not even a file has no trust to be judged by: another user's link, perhaps.
            FileError::NotARing { .. } | FileError::Io { .. } => {
                let Ok(path) = self.builder.path(name) else { return false };
                fs::symlink_metadata(path).is_ok_and(|it| {
                    !it.is_file() && it.uid() != rustix::process::geteuid().as_raw()
                })
            }
            _ => false,
        }
    }
}
