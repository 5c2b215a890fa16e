//! What comes out of a ring, to standard output.

use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use ultrafastring::{BorrowedBatch, Builder, Consumer, MAX_BATCH, Mode, RecvError, Sharing};

use crate::completion;
use crate::output::{Failure, Output};
use crate::wait::{Stop, a_while};

/// Bytes that one write brings, about, where messages are large.
const BYTES_A_WRITE: usize = 1 << 16;

/// Write what is received to standard output, a line a message.
///
/// Waits for a producer first, if there is none, and ends when the ring is empty and all producers have
/// left, whether or not they sent anything, or when a program closed the ring. What producers left who
/// had gone before is received, too. Where they left nothing, or closed the ring, that is not the end:
/// it waits for the next. So `send` and `recv` may be started in either order, again and again; with
/// --drain it waits for nobody.
///
/// A message leaves the ring when it has been written. Up to 64 are taken at a time and written by one
/// write. What could not be written stays in the ring for the next `recv`, so a kill, a closed pipe or
/// a full disk loses nothing. After a kill the next `recv` may write up to 64 messages a second time;
/// with --unbuffered, at most one. What is in a pipe counts as written: `ufr recv NAME | head -1` prints
/// one line, and the other lines in the pipe are lost.
///
/// The next `recv` that is started receives first what an earlier one left. A `recv` that was already
/// running receives it later, out of order. An exclusive consumer side always keeps the order.
#[derive(Args)]
#[command(after_long_help = "\
Exit codes: 0 all was received, or as many as asked for; 1 it could not be written or received, the
reason is on standard error; 2 usage; 141, with nothing said, when nobody is left to read standard
output; 130, 143 ended by Ctrl-C or SIGTERM, with all written that was taken.")]
pub(crate) struct Recv {
    /// Name of the ring; it is made, with the defaults of `create`, if there is none.
    #[arg(add = completion::rings())]
    name: String,
    /// Write messages one after the other, with no line ends between.
    #[arg(long)]
    raw: bool,
    /// Go on when the last producer has left, or the ring is closed.
    #[arg(short, long)]
    follow: bool,
    /// Write what is in the ring and end, without waiting for a producer.
    #[arg(short, long, conflicts_with = "follow")]
    drain: bool,
    /// Take one message at a time, and write each by itself.
    #[arg(short, long)]
    unbuffered: bool,
    /// End after so many messages.
    #[arg(short = 'n', long, value_name = "MESSAGES")]
    count: Option<u64>,
}

impl Recv {
    pub(crate) fn run(self, builder: &Builder) -> anyhow::Result<ExitCode> {
        // Before anything is taken.
        let output = Output::open()?;
        let stop = Stop::on_signals()?;
        let ring = builder.open_or_create(&self.name)?;
        match ring.consumer_side() {
            Sharing::Shared => self.receive(ring.consumer()?, output, &stop),
            Sharing::Exclusive => self.receive(ring.exclusive_consumer()?, output, &stop),
        }
    }

    fn receive<S: Mode>(
        &self,
        mut consumer: Consumer<S>,
        output: Output,
        stop: &Stop,
    ) -> anyhow::Result<ExitCode> {
        let outcome = self.drain(&mut consumer, output, stop);
        if outcome.is_err() {
            // What could not be written is held still: as if killed, so that the next to receive
            // gets it.
            std::mem::forget(consumer);
        }
        outcome
    }

    fn drain<S: Mode>(
        &self,
        consumer: &mut Consumer<S>,
        mut output: Output,
        stop: &Stop,
    ) -> anyhow::Result<ExitCode> {
        // What an earlier run has closed is not the end of this one.
        consumer.await_next_stream();
        consumer.end_when_deserted(!self.follow);
        let mut page = Page { raw: self.raw, bytes: Vec::new(), ends: Vec::new() };
        let at_once = match self.unbuffered {
            true => 1,
            false => (BYTES_A_WRITE / consumer.max_message()).clamp(1, MAX_BATCH),
        };
        let mut left = self.count.unwrap_or(u64::MAX);
        while left != 0 {
            if let Some(code) = stop.asked() {
                return Ok(code);
            }
            match consumer.borrow_batch(at_once.min(left.try_into().unwrap_or(at_once))) {
                Ok(messages) => {
                    left -= page.write(messages, &mut output)?;
                    continue;
                }
                Err(RecvError::Empty | RecvError::Closed) => {}
                Err(error) => return Err(error.into()),
            }
            // Also one that is over by now looks at everything, what the dead left too.
            match consumer.wait(if self.drain { Some(Instant::now()) } else { a_while() }) {
                Ok(()) => {}
                Err(RecvError::TimedOut) if self.drain => break,
                Err(RecvError::TimedOut) => {}
                Err(RecvError::Closed) if self.follow => consumer.await_next_stream(),
                Err(RecvError::Closed | RecvError::Deserted) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What is written at a time.
struct Page {
    raw: bool,
    bytes: Vec<u8>,
    /// For each message where it ends among the bytes.
    ends: Vec<usize>,
}

impl Page {
    /// Writes messages and releases those that were written whole; says how many there were. After
    /// an error the others are held still.
    fn write<S: Mode>(
        &mut self,
        mut messages: BorrowedBatch<'_, S>,
        output: &mut Output,
    ) -> anyhow::Result<u64> {
        self.bytes.clear();
        self.ends.clear();
        loop {
            match messages.append_next(&mut self.bytes) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => {
                    std::mem::forget(messages);
                    return Err(error.into());
                }
            }
            if !self.raw {
                self.bytes.push(b'\n');
            }
            self.ends.push(self.bytes.len());
        }
        match output.write(&self.bytes) {
            Ok(()) => Ok(self.ends.len() as u64),
            Err((written, failure)) => Err(self.keep(messages, written, failure)),
        }
    }

    #[cold]
    fn keep<S: Mode>(
        &self,
        mut messages: BorrowedBatch<'_, S>,
        written: usize,
        failure: Failure,
    ) -> anyhow::Error {
        messages.release_first(self.ends.partition_point(|&end| end <= written));
        std::mem::forget(messages);
        failure.into()
    }
}
