//! Waiting for standard input, and for the user who wants to stop; for a peer the ring waits.

use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

/// How long a wait for a peer goes on before it is looked whether the user wants to stop.
const STOP_DELAY: Duration = Duration::from_millis(50);

/// Until when to wait for a peer, this time.
pub(crate) fn a_while() -> Option<Instant> {
    Some(Instant::now() + STOP_DELAY)
}

/// Notes the first SIGINT or SIGTERM, so that what is begun can be ended in order; a second one
/// ends the process at once.
pub(crate) struct Stop {
    signal: Arc<AtomicUsize>,
    /// Readable once a signal came: what wakes a wait for standard input.
    woken: UnixStream,
}

impl Stop {
    pub(crate) fn on_signals() -> anyhow::Result<Self> {
        let signal = Arc::new(AtomicUsize::new(0));
        let second = Arc::new(AtomicBool::new(false));
        let (woken, wake) = UnixStream::pair()?;
        for number in [SIGINT, SIGTERM] {
            // In this order: the first signal finds `second` not yet set.
            flag::register_conditional_shutdown(number, 128 + number, Arc::clone(&second))?;
            flag::register(number, Arc::clone(&second))?;
            flag::register_usize(number, Arc::clone(&signal), number as usize)?;
            low_level::pipe::register(number, wake.try_clone()?)?;
        }
        Ok(Self { signal, woken })
    }

    /// The exit code to end with, once a signal came.
    pub(crate) fn asked(&self) -> Option<ExitCode> {
        // Relaxed: nothing but the number is passed.
        match self.signal.load(Ordering::Relaxed) {
            0 => None,
            number => Some(ExitCode::from(128 + number as u8)),
        }
    }

    /// Sleeps for a time, or until a signal comes.
    pub(crate) fn or_after(&self, time: Duration) -> io::Result<()> {
        let time = Timespec::try_from(time).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
        let mut one = [PollFd::new(&self.woken, PollFlags::IN)];
        match poll(&mut one, Some(&time)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Waits until there is something to read, for no longer than `time`; `false` if there is
    /// nothing, or if a signal came first.
    pub(crate) fn or_readable_within(
        &self,
        source: &impl AsFd,
        time: Option<Duration>,
    ) -> io::Result<bool> {
        let time = time.and_then(|time| Timespec::try_from(time).ok());
        let mut both =
            [PollFd::new(source, PollFlags::IN), PollFd::new(&self.woken, PollFlags::IN)];
        match poll(&mut both, time.as_ref()) {
            Ok(_) => Ok(self.asked().is_none() && !both[0].revents().is_empty()),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until there is something to read; `false` if a signal came first.
    pub(crate) fn or_readable(&self, source: &impl AsFd) -> io::Result<bool> {
        while self.asked().is_none() {
            let mut both =
                [PollFd::new(source, PollFlags::IN), PollFd::new(&self.woken, PollFlags::IN)];
            match poll(&mut both, None) {
                Ok(_) if both[0].revents().is_empty() => {}
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }
}

/// Standard input, which a signal ends like the end of a file.
pub(crate) struct Input<'a> {
    pub(crate) stdin: io::StdinLock<'a>,
    pub(crate) stop: &'a Stop,
}

impl Input<'_> {
    /// Whether a read would return at once.
    pub(crate) fn is_readable(&self) -> io::Result<bool> {
        let mut one = [PollFd::new(&self.stdin, PollFlags::IN)];
        let ready = rustix::io::retry_on_intr(|| poll(&mut one, Some(&Timespec::default())))?;
        Ok(ready != 0)
    }
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.stop.or_readable(&self.stdin)? {
            // Not through the buffer of `stdin`, which a wait cannot see.
            true => Ok(rustix::io::read(&self.stdin, buffer)?),
            false => Ok(0),
        }
    }
}
