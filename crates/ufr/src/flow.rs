//! Bytes into a ring, and out of it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use ultrafastring::{
    Builder, Consumer, Mode, PriorityClass, Producer, RecvError, SendError, Sharing,
};

use crate::wait::{Input, STOP_DELAY, Stop, a_while};

/// Options of `ufr send`.
///
/// A message holds 40 bytes, or what the ring was made for. A line that is longer ends the command
/// with its number and size; the lines before it were sent, and nothing of it was.
#[derive(Args)]
pub(crate) struct Send {
    /// Name of the ring; it is made, with the defaults of `create`, if there is none.
    name: String,
    /// Send bytes as they come, cut into full messages, instead of lines.
    #[arg(long)]
    raw: bool,
    /// real-time, high, normal, low or bulk.
    #[arg(long, default_value = "normal")]
    class: PriorityClass,
}

impl Send {
    pub(crate) fn run(self, builder: &Builder) -> anyhow::Result<ExitCode> {
        let stop = Stop::on_signals()?;
        let ring = builder.open_or_create(&self.name)?;
        match ring.producer_side() {
            Sharing::Shared => self.feed(ring.producer()?, &stop),
            Sharing::Exclusive => self.feed(ring.exclusive_producer()?, &stop),
        }
    }

    fn feed<S: Mode>(&self, mut producer: Producer<S>, stop: &Stop) -> anyhow::Result<ExitCode> {
        let mut input =
            BufReader::with_capacity(1 << 16, Input { stdin: io::stdin().lock(), stop });
        let most = producer.max_message();
        let mut message = Vec::new();
        for number in 1u64.. {
            message.clear();
            // What cannot be sent whole is recognised before anything of it is sent.
            let read = if self.raw {
                fill(&mut input, &mut message, most)?
            } else {
                read_line(&mut input, &mut message)?
            };
            if let Some(code) = stop.asked() {
                return Ok(code);
            }
            if read == 0 {
                break;
            }
            if message.len() > most {
                bail!(
                    "line {number} has {} bytes, and a message of this ring holds {most}; nothing \
                     of it was sent. Shorten it, send bytes with --raw, or make the ring with a \
                     larger --max-message",
                    message.len()
                );
            }
            if let Some(code) = send(&mut producer, &message, self.class, stop)? {
                return Ok(code);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Reads until a message is full or the input ends. Says how much.
fn fill(input: &mut impl BufRead, message: &mut Vec<u8>, most: usize) -> io::Result<usize> {
    input.by_ref().take(most as u64).read_to_end(message)
}

/// Reads a line, without its end. Says how many bytes it took of the input.
fn read_line(input: &mut impl BufRead, message: &mut Vec<u8>) -> io::Result<usize> {
    let taken = input.read_until(b'\n', message)?;
    message.pop_if(|last| *last == b'\n');
    Ok(taken)
}

/// Sends, and waits while the ring is full. An exit code if the user wants to stop.
fn send<S: Mode>(
    producer: &mut Producer<S>,
    message: &[u8],
    class: PriorityClass,
    stop: &Stop,
) -> anyhow::Result<Option<ExitCode>> {
    loop {
        match producer.send_fast(message, class) {
            Ok(()) => return Ok(None),
            Err(SendError::Full | SendError::OutOfCredit) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(code) = stop.asked() {
            return Ok(Some(code));
        }
        match producer.wait(class, a_while()) {
            Ok(()) | Err(SendError::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Options of `ufr recv`.
///
/// Ends when the ring is empty and either closed, or its producers have left. Output is gathered while
/// messages keep coming: a `recv` that is killed with SIGKILL takes up to 64 KiB with it, unless
/// it is unbuffered.
#[derive(Args)]
pub(crate) struct Recv {
    /// Name of the ring; it is made, with the defaults of `create`, if there is none.
    name: String,
    /// Write messages one after the other, with no line ends between.
    #[arg(long)]
    raw: bool,
    /// Go on when the last producer has left, or the ring is closed.
    #[arg(short, long)]
    follow: bool,
    /// Write each message before it is released: a `recv` that is killed loses none, and the next
    /// one gets the last again.
    #[arg(short, long)]
    unbuffered: bool,
    /// End after so many messages.
    #[arg(short = 'n', long, value_name = "MESSAGES")]
    count: Option<u64>,
}

impl Recv {
    pub(crate) fn run(self, builder: &Builder) -> anyhow::Result<ExitCode> {
        let stop = Stop::on_signals()?;
        let ring = builder.open_or_create(&self.name)?;
        match ring.consumer_side() {
            Sharing::Shared => self.receive(ring.consumer()?, &stop),
            Sharing::Exclusive => self.receive(ring.exclusive_consumer()?, &stop),
        }
    }

    fn receive<S: Mode>(&self, mut consumer: Consumer<S>, stop: &Stop) -> anyhow::Result<ExitCode> {
        let outcome = self.drain(&mut consumer, stop);
        if outcome.is_err() {
            // The last message may not have been written: as if killed, so that the next to
            // receive gets it again.
            std::mem::forget(consumer);
        }
        outcome
    }

    fn drain<S: Mode>(&self, consumer: &mut Consumer<S>, stop: &Stop) -> anyhow::Result<ExitCode> {
        // Not `io::stdout`, which would write a line at a time.
        let output = std::fs::File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let mut output = io::BufWriter::with_capacity(1 << 16, output);
        consumer.end_when_deserted(!self.follow);
        let mut received = 0;
        while self.count.is_none_or(|count| received < count) {
            if let Some(code) = stop.asked() {
                output.flush()?;
                return Ok(code);
            }
            match consumer.borrow() {
                Ok(message) => {
                    let written =
                        message.write_to(&mut output).and_then(|()| self.end(&mut output));
                    if let Err(error) = written {
                        std::mem::forget(message);
                        return Err(error.into());
                    }
                    received += 1;
                    continue;
                }
                Err(RecvError::Empty | RecvError::Closed) => output.flush()?,
                Err(error) => return Err(error.into()),
            }
            match consumer.wait(a_while()) {
                Ok(()) | Err(RecvError::TimedOut) => {}
                // Until somebody opens it again.
                Err(RecvError::Closed) if self.follow => std::thread::sleep(STOP_DELAY),
                Err(RecvError::Closed | RecvError::Deserted) => break,
                Err(error) => return Err(error.into()),
            }
        }
        output.flush()?;
        Ok(ExitCode::SUCCESS)
    }

    /// What follows a message.
    fn end(&self, output: &mut impl Write) -> io::Result<()> {
        if !self.raw {
            output.write_all(b"\n")?;
        }
        if self.unbuffered {
            output.flush()?;
        }
        Ok(())
    }
}
