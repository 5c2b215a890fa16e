//! Standard input, output and error, as this process was given them.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::process::Signal;

/// Which of descriptors 0 and 1 cannot be used, one bit each, as found before Rust's runtime began.
///
/// The runtime opens `/dev/null` in place of a closed descriptor before `main`. Then every write
/// would succeed and be lost.
static UNUSABLE: AtomicU8 = AtomicU8::new(0);

#[used]
// SAFETY: the section holds pointers to functions that the C library calls once, before `main`;
// this is one. It needs nothing of the runtime: it makes two system calls and stores a byte.
#[unsafe(link_section = ".init_array")]
static NOTE_UNUSABLE: extern "C" fn() = note_unusable;

extern "C" fn note_unusable() {
    let mut unusable = 0;
    for (descriptor, other_way) in [(0, libc::O_WRONLY), (1, libc::O_RDONLY)] {
        // SAFETY: a question about a number, which need not be an open descriptor.
        let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFL) };
        if flags == -1 || flags & libc::O_ACCMODE == other_way {
            unusable |= 1 << descriptor;
        }
    }
    // Relaxed: there is one thread.
    UNUSABLE.store(unusable, Ordering::Relaxed);
}

/// An operation on a standard descriptor that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    which: &'static str,
    reason: io::Error,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "standard {}: {}", self.which, self.reason)
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// Whether nobody is left to read what was written.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        self.reason.kind() == ErrorKind::BrokenPipe
    }
}

/// The exit code that a shell shows for a process ended by SIGPIPE.
pub(crate) const CLOSED_PIPE: u8 = 128 + Signal::PIPE.as_raw() as u8;

fn check(descriptor: u8, which: &'static str) -> Result<(), Failure> {
    match UNUSABLE.load(Ordering::Relaxed) & 1 << descriptor {
        0 => Ok(()),
        _ => Err(Failure { which, reason: rustix::io::Errno::BADF.into() }),
    }
}

/// An error if standard input was closed when this process began, or cannot be read.
pub(crate) fn check_input() -> Result<(), Failure> {
    check(0, "input")
}

/// Why standard input could not be read.
pub(crate) fn input_failed(reason: io::Error) -> Failure {
    Failure { which: "input", reason }
}

/// Standard output: each write is a system call. Not `io::Stdout`, which gathers lines.
pub(crate) struct Output(File);

impl Output {
    /// An error if standard output was closed when this process began, or cannot be written to.
    pub(crate) fn open() -> Result<Self, Failure> {
        check(1, "output")?;
        let file = io::stdout().as_fd().try_clone_to_owned();
        file.map(|file| Self(file.into())).map_err(output_failed)
    }

    /// Writes all of `bytes`. An error says how many are certainly written, and why not more.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), (usize, Failure)> {
        let mut written = 0;
        while written < bytes.len() {
            match self.0.write(&bytes[written..]) {
                Ok(0) => return Err((written, output_failed(ErrorKind::WriteZero.into()))),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err((written, output_failed(error))),
            }
        }
        Ok(())
    }
}

/// Why standard output could not be written to.
pub(crate) fn output_failed(reason: io::Error) -> Failure {
    Failure { which: "output", reason }
}

/// Writes `text` to standard output.
pub(crate) fn say(text: impl AsRef<[u8]>) -> Result<(), Failure> {
    Output::open()?.write(text.as_ref()).map_err(|(_, failure)| failure)
}

/// Writes `text` to standard error. An error only if nobody reads it, and that is a reason to
/// stop; a full disk under a log is none.
pub(crate) fn progress(text: impl AsRef<[u8]>) -> Result<(), Failure> {
    match io::stderr().write_all(text.as_ref()) {
        Err(reason) if reason.kind() == ErrorKind::BrokenPipe => {
            Err(Failure { which: "error", reason })
        }
        _ => Ok(()),
    }
}

/// A time for people: three digits or four, in the unit that fits.
pub(crate) fn duration(nanoseconds: f64) -> String {
    let units = [(1e9, "s"), (1e6, "ms"), (1e3, "us")];
    match units.into_iter().find(|(unit, _)| nanoseconds >= *unit) {
        Some((unit, name)) => {
            let value = nanoseconds / unit;
            let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
            format!("{value:.digits$} {name}")
        }
        None => format!("{nanoseconds:.0} ns"),
    }
}

/// Says on standard error what is wrong, if anybody listens.
pub(crate) fn complain(text: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "ufr: {text}");
}
