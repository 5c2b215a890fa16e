//! Standard input into a ring.

use std::io::{self, BufRead, BufReader, Read};
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use ultrafastring::{Builder, Mode, PriorityClass, Producer, SendError, Sharing};

use crate::wait::{Input, Stop, a_while};
use crate::{completion, output};

/// Send standard input, a line a message; waits while the ring is full.
///
/// A message is a line without its end, and holds 40 bytes, or what the ring was made for. A line
/// that is longer ends the command with its number; the lines before it were sent, and nothing of it
/// was. A last line without an end is a message like any other.
///
/// Ends with standard input. What was sent stays in the ring until it is received, whether or not
/// somebody receives just now; while the ring is full, it waits for a consumer, as long as it takes
/// unless --end-when-deserted is given. The ring is not closed, since others may be sending.
#[derive(Args)]
#[command(after_long_help = "\
Exit codes: 0 all was sent; 1 it could not be, the reason is on standard error; 2 usage; 130, 143
ended by Ctrl-C or SIGTERM: what was sent stays in the ring, what was read and not yet sent (up to
64 KiB and a message) is lost.")]
pub(crate) struct Send {
    /// Name of the ring; it is made, with the defaults of `create`, if there is none.
    #[arg(add = completion::rings())]
    name: String,
    /// Send bytes instead of lines, as they come.
    ///
    /// A message is full (40 bytes, or what the ring was made for), or shorter where the input ends or
    /// nothing more can be read without waiting. So what is typed, or written to a pipe, is sent at
    /// once. Where one message ends and the next begins says nothing about the input; `recv --raw`
    /// joins them again.
    #[arg(long)]
    raw: bool,
    /// End, with exit code 1, when the ring is full and the last consumer has left, instead of waiting
    /// for another one. Where none has been yet, it is waited for.
    #[arg(short, long)]
    end_when_deserted: bool,
    /// How urgent the messages are.
    #[arg(long, default_value = "normal", value_parser = class())]
    class: PriorityClass,
}

fn class() -> impl TypedValueParser<Value = PriorityClass> {
    PossibleValuesParser::new(PriorityClass::ALL.map(PriorityClass::name))
        .try_map(|name| name.parse::<PriorityClass>())
}

impl Send {
    pub(crate) fn run(self, builder: &Builder) -> anyhow::Result<ExitCode> {
        output::check_input()?;
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
        producer.end_when_deserted(self.end_when_deserted);
        let most = producer.max_message();
        let mut message = Vec::new();
        for number in 1u64.. {
            message.clear();
            // What cannot be sent whole is recognised before anything of it is sent.
            let read = if self.raw {
                fill(&mut input, &mut message, most)
            } else {
                read_line(&mut input, &mut message, most)
            };
            let read = read.map_err(output::input_failed)?;
            if let Some(code) = stop.asked() {
                return Ok(code);
            }
            if read == 0 {
                break;
            }
            if message.len() > most {
                bail!(
                    "line {number} has more than {most} bytes, which is all that a message of this \
                     ring holds; nothing of it was sent. Shorten it, send bytes with --raw, or make \
                     the ring with a larger --max-message"
                );
            }
            if let Some(code) = send(&mut producer, &message, self.class, stop)? {
                return Ok(code);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Reads until a message is full, the input ends, or more would have to be waited for. Says how much.
fn fill(input: &mut BufReader<Input<'_>>, message: &mut Vec<u8>, most: usize) -> io::Result<usize> {
    while message.len() < most {
        let waits = input.buffer().is_empty() && !input.get_ref().is_readable()?;
        if waits && !message.is_empty() {
            break;
        }
        let bytes = input.fill_buf()?;
        let taken = bytes.len().min(most - message.len());
        if taken == 0 {
            break;
        }
        message.extend_from_slice(&bytes[..taken]);
        input.consume(taken);
    }
    Ok(message.len())
}

/// Reads a line, without its end, and of a longer one no more than a byte too many. Says how many
/// bytes it took of the input.
fn read_line(
    input: &mut BufReader<Input<'_>>,
    message: &mut Vec<u8>,
    most: usize,
) -> io::Result<usize> {
    let taken = input.by_ref().take(most as u64 + 1).read_until(b'\n', message)?;
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
