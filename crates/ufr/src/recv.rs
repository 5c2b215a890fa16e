//! Writes messages of a ring to standard output.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use ultrafastring::{BorrowedBatch, Builder, Consumer, Lanes, MAX_BATCH, Mode, RecvError, Sharing};

use crate::completion;
use crate::group::Membership;
use crate::output::{Failure, Output, complain};
use crate::wait::{Stop, a_while};

/// About how many bytes one write has, if messages are large.
const BYTES_A_WRITE: usize = 1 << 16;

/// Receive messages and write each to standard output as a line.
///
/// `recv` ends when the ring is empty and all producers have left, even if they sent nothing. It
/// also ends when a program closes the ring. If there is nothing to receive and no producer yet, or
/// if the ring was closed before, it waits for the next producer; with --drain it does not. So
/// `send` and `recv` may be started in either order, again and again. Each message goes to one
/// `recv` only; several share the work.
///
/// A message leaves the ring after it has been written. `recv` takes up to 64 messages and writes
/// them with one system call. What could not be written stays in the ring for the next `recv`.
/// So a kill, a closed pipe or a full disk loses nothing. After a kill the next `recv` may write up
/// to 64 messages a second time; with --unbuffered, at most one. What is in a pipe counts as
/// written: `ufr recv NAME | head -1` prints one line, and the other lines in the pipe are lost.
///
/// A new `recv` first receives what an earlier one left. A `recv` that was already running receives
/// it later, out of order. An exclusive consumer side always keeps the order.
#[derive(Args)]
#[command(after_long_help = "\
Exit codes:
  0         all messages were received, or as many as --count says
  1         a message could not be received or written; the reason is on standard error
  2         wrong usage
  130, 143  ended by Ctrl-C or SIGTERM; every message that was taken is written
  141       nobody is left to read standard output; no error is printed")]
pub(crate) struct Recv {
    /// Name of the ring. If there is none, it is made with the defaults of `create`.
    #[arg(add = completion::rings())]
    name: String,
    /// Write messages without newlines between them.
    #[arg(long)]
    raw: bool,
    /// Go on after the last producer has left or the ring is closed.
    #[arg(short, long)]
    follow: bool,
    /// Write what is in the ring and end, without waiting for a producer.
    #[arg(short, long, conflicts_with = "follow")]
    drain: bool,
    /// Take and write one message at a time.
    #[arg(short, long)]
    unbuffered: bool,
    /// End after this many messages.
    #[arg(short = 'n', long, value_name = "MESSAGES")]
    count: Option<u64>,
    /// Receive from lanes by producer in the order in which messages were sent, and wait so long,
    /// for example 10ms, for lanes that have none.
    ///
    /// The ring must have lanes by producer, and a timestamp in each message. How many messages
    /// came later than that, after a younger one was written, is reported on standard error.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    in_time_order: Option<Duration>,
    /// Take from lanes by class in turn once in so many receives, so that each class gets its
    /// share. With --unbuffered a receive is one message.
    #[arg(long, value_name = "RECEIVES")]
    ageing: Option<u32>,
    #[command(flatten)]
    membership: Membership,
}

impl Recv {
    pub(crate) fn run(self, builder: &Builder) -> anyhow::Result<ExitCode> {
        // Before a message is taken.
        let output = Output::open()?;
        let stop = Stop::on_signals()?;
        if let Some(group) = self.membership.name() {
            let ring = self.membership.ring(builder, &self.name)?;
            let consumer = self.membership.join(&ring, group)?;
            return self.receive(consumer, output, &stop);
        }
        let ring = builder.open_or_create(&self.name)?;
        match ring.settings().consumer_side {
            _ if ring.settings().lanes != Lanes::One => {
                self.receive(ring.consumer()?, output, &stop)
            }
            Sharing::Shared => self.receive(ring.shared_consumer()?, output, &stop),
            Sharing::Exclusive => self.receive(ring.exclusive_consumer()?, output, &stop),
        }
    }

    /// Until when `--drain` waits: not at all, but for what is to come in order.
    fn end_of_drain(&self) -> Option<Instant> {
        Instant::now().checked_add(self.in_time_order.unwrap_or_default())
    }

    fn receive<S: Mode>(
        &self,
        mut consumer: Consumer<S>,
        output: Output,
        stop: &Stop,
    ) -> anyhow::Result<ExitCode> {
        let outcome = self.drain(&mut consumer, output, stop);
        if consumer.late() != 0 {
            complain(format_args!("{} messages came late", consumer.late()));
        }
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
        if let Some(wait) = self.in_time_order {
            consumer.in_time_order(wait)?;
        }
        if let Some(one_in) = self.ageing {
            consumer.ageing(one_in)?;
        }
        // What an earlier run has closed is not the end of this one.
        consumer.await_next_stream();
        consumer.end_when_deserted(!self.follow);
        let mut page = Page { raw: self.raw, ..Page::default() };
        let at_once = match self.unbuffered {
            true => 1,
            false => (BYTES_A_WRITE / consumer.max_message()).clamp(1, MAX_BATCH),
        };
        let mut left = self.count.unwrap_or(u64::MAX);
        while left != 0 {
            if let Some(code) = stop.asked() {
                return Ok(code);
            }
            let most = at_once.min(left.try_into().unwrap_or(at_once));
            let (count, end) = page.pass_on(consumer, most, &mut output)?;
            left -= count;
            match end {
                None => continue,
                Some(RecvError::NotInPlace) => {
                    page.copies = true;
                    continue;
                }
                Some(evicted @ RecvError::Evicted { .. }) => {
                    complain(evicted);
                    continue;
                }
                Some(RecvError::Empty | RecvError::Closed) => {}
                Some(error) => return Err(error.into()),
            }
            // Also one that is over by now looks at everything, what the dead left too.
            match consumer.wait(if self.drain { self.end_of_drain() } else { a_while() }) {
                Ok(()) => {}
                Err(RecvError::TimedOut) if self.drain => break,
                Err(RecvError::TimedOut) => {}
                Err(RecvError::Closed) if self.follow => consumer.await_next_stream(),
                Err(RecvError::Closed | RecvError::Deserted) => break,
                Err(evicted @ RecvError::Evicted { .. }) => complain(evicted),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What is written at a time.
#[derive(Default)]
struct Page {
    raw: bool,
    bytes: Vec<u8>,
    /// For each message where it ends among the bytes.
    ends: Vec<usize>,
    /// Whether messages are copied, since they cannot be read in place.
    copies: bool,
    /// One that is copied.
    message: Vec<u8>,
}

impl Page {
    /// Receives at most so many messages and writes them. Says how many there were, and why there
    /// are no more.
    fn pass_on<S: Mode>(
        &mut self,
        consumer: &mut Consumer<S>,
        most: usize,
        output: &mut Output,
    ) -> anyhow::Result<(u64, Option<RecvError>)> {
        if self.copies {
            return self.copy(consumer, most, output);
        }
        match consumer.try_borrow_many(most) {
            Ok(messages) => Ok((self.write(messages, output)?, None)),
            Err(error) => Ok((0, Some(error))),
        }
    }

    /// As [`pass_on`](Self::pass_on), for messages that cannot be held: they are copied first.
    fn copy<S: Mode>(
        &mut self,
        consumer: &mut Consumer<S>,
        most: usize,
        output: &mut Output,
    ) -> anyhow::Result<(u64, Option<RecvError>)> {
        self.bytes.clear();
        let (mut count, mut end) = (0, None);
        while count < most as u64 && end.is_none() {
            match consumer.try_recv_into(&mut self.message) {
                Ok(_) => {
                    self.bytes.extend_from_slice(&self.message);
                    self.bytes.extend((!self.raw).then_some(b'\n'));
                    count += 1;
                }
                Err(error) => end = Some(error),
            }
        }
        output.write(&self.bytes).map_err(|(_, failure)| failure)?;
        Ok((count, end))
    }

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
