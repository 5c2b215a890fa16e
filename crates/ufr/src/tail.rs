//! Looks at the messages of a ring without receiving them.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use ultrafastring::{Builder, Observer, RecvError, RingError, Start, TailReader};

use crate::completion;
use crate::group::any_start;
use crate::output::{Output, complain};
use crate::wait::Stop;

/// About how many bytes one write has.
const BYTES_A_WRITE: usize = 1 << 16;

/// Print the last messages of a ring without receiving them.
///
/// `tail` only looks. It takes no entry in the ring, needs no right to write to it, and no producer
/// waits for it. It prints messages whether or not they were received, as long as they are not
/// overwritten. The ring must have been made with `ufr create --joinable` or `--group`.
///
/// A message that is overwritten before `tail` comes to it is missed. How many were is reported on
/// standard error.
#[derive(Args)]
#[command(after_long_help = "\
Exit codes:
  0         all was printed
  1         a message could not be read or written; the reason is on standard error
  2         wrong usage
  130, 143  ended by Ctrl-C or SIGTERM; every message that was read is written
  141       nobody is left to read standard output; no error is printed")]
pub(crate) struct Tail {
    /// Name of the ring.
    #[arg(add = completion::rings())]
    name: String,
    /// Print this many messages, the newest that are there [default: 10].
    #[arg(short = 'n', long, value_name = "MESSAGES", conflicts_with = "from")]
    last: Option<u64>,
    /// Where to start instead: latest (the next message that is sent), oldest, or a position.
    #[arg(long, value_name = "START", value_parser = start, add = completion::starts_of_tail())]
    from: Option<Start>,
    /// Go on, and print messages as they are sent.
    #[arg(short, long)]
    follow: bool,
    /// How long to sleep before looking again when there is no message, for example 10ms. A message
    /// may be printed so late.
    #[arg(long, value_name = "DURATION", default_value = "10ms", requires = "follow")]
    #[arg(value_parser = humantime::parse_duration)]
    interval: Duration,
    /// Write messages without newlines between them.
    #[arg(long)]
    raw: bool,
}

/// Where to start: there is nothing that `tail` could resume.
fn start(text: &str) -> Result<Start, String> {
    match any_start(text) {
        Ok(Start::Resume) | Err(_) => Err("write latest, oldest, or a position".to_string()),
        start => start,
    }
}

impl Tail {
    pub(crate) fn run(self, builder: &Builder) -> anyhow::Result<ExitCode> {
        let mut output = Output::open()?;
        let stop = Stop::on_signals()?;
        let ring = builder.observe(&self.name)?;
        let end = if self.follow { u64::MAX } else { ring.tail(Start::Latest)?.position() };
        let mut reader = self.reader(&ring)?;
        let (mut message, mut bytes) = (Vec::new(), Vec::new());
        loop {
            bytes.clear();
            let paused = self.read(&mut reader, end, &mut message, &mut bytes);
            output.write(&bytes).map_err(|(_, failure)| failure)?;
            match paused {
                Some(RecvError::Empty | RecvError::Closed) if self.follow => {
                    stop.or_after(self.interval)?;
                }
                Some(RecvError::Empty | RecvError::Closed) => return Ok(ExitCode::SUCCESS),
                Some(overrun @ RecvError::Overrun { .. }) => complain(overrun),
                Some(error) => return Err(error.into()),
                None => {}
            }
            if let Some(code) = stop.asked() {
                return Ok(code);
            }
            if reader.position() >= end {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }

    fn reader(&self, ring: &Observer) -> Result<TailReader, RingError> {
        if let Some(start) = self.from {
            return ring.tail(start);
        }
        let latest = ring.tail(Start::Latest)?.position();
        let oldest = ring.tail(Start::Oldest)?.position();
        // What is overwritten by now was not asked for.
        let first = latest.saturating_sub(self.last.unwrap_or(10)).max(oldest);
        ring.tail(Start::Position(first))
    }

    /// Reads messages before `end` for one write. Says why there are no more, if there are not.
    fn read(
        &self,
        reader: &mut TailReader,
        end: u64,
        message: &mut Vec<u8>,
        bytes: &mut Vec<u8>,
    ) -> Option<RecvError> {
        while reader.position() < end && bytes.len() < BYTES_A_WRITE {
            match reader.try_next(message) {
                // It has passed over abandoned slots.
                Ok(about) if about.position() >= end => return Some(RecvError::Empty),
                Ok(_) => {
                    bytes.extend_from_slice(message);
                    bytes.extend((!self.raw).then_some(b'\n'));
                }
                Err(error) => return Some(error),
            }
        }
        None
    }
}
