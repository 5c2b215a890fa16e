//! Standard input into a ring.

use std::io::{self, BufRead, BufReader, Read};
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use ultrafastring::{Builder, Lanes, Mode, PriorityClass, Producer, SendError, Sharing};

use crate::wait::{Input, Stop, a_while};
use crate::{completion, output, word};

/// Send standard input, each line as a message; wait while the ring is full.
///
/// A message is a line without its newline. It has up to 40 bytes, or as many as the ring was made
/// for. If a line is longer, `send` fails and names the line. The lines before it have been sent,
/// but no part of the long line. A last line without a newline is sent too.
///
/// `send` ends at the end of standard input. Messages stay in the ring until they are received.
/// While the ring is full, `send` waits for a consumer as long as it takes, unless
/// --end-when-deserted is given. It does not close the ring, since others may be sending.
#[derive(Args)]
#[command(after_long_help = "\
Exit codes:
  0         everything was sent
  1         not everything was sent; the reason is on standard error
  2         wrong usage
  130, 143  ended by Ctrl-C or SIGTERM. Messages that were sent stay in the ring. Input that was
            read and not yet sent is lost: up to 64 KiB and one message")]
pub(crate) struct Send {
    /// Name of the ring. If there is none, it is made with the defaults of `create`.
    #[arg(add = completion::rings())]
    name: String,
    /// Send bytes as they come, instead of lines.
    ///
    /// A message is as long as it can be (40 bytes, or what the ring was made for). It is shorter
    /// if the input ends, or if no more can be read without waiting. So what is typed, or written
    /// to a pipe, is sent at once. Where a message ends says nothing about the input. `recv --raw`
    /// joins the messages again.
    #[arg(long)]
    raw: bool,
    /// If the ring is full and the last consumer has left, end with exit code 1 instead of waiting
    /// for another. If there has been no consumer yet, wait for the first.
    #[arg(short, long)]
    end_when_deserted: bool,
    /// Priority class of the messages.
    ///
    /// In a ring with lanes by class (`ufr create --lanes by-class`) urgent messages overtake
    /// others. In another ring the class is a label, with its own reserve of credit and its own row
    /// in `ufr stat`: an urgent message does not overtake those before it.
    #[arg(long, default_value = "normal")]
    #[arg(value_parser = word(PriorityClass::ALL, PriorityClass::name))]
    class: PriorityClass,
}

impl Send {
    pub(crate) fn run(self, builder: &Builder) -> anyhow::Result<ExitCode> {
        output::check_input()?;
        let stop = Stop::on_signals()?;
        let ring = builder.open_or_create(&self.name)?;
        let settings = *ring.settings();
        let most = settings.max_message_of(self.class);
        match settings.producer_side {
            _ if settings.lanes != Lanes::One => self.feed(ring.producer()?, most, &stop),
            Sharing::Shared => self.feed(ring.shared_producer()?, most, &stop),
            Sharing::Exclusive => self.feed(ring.exclusive_producer()?, most, &stop),
        }
    }

    fn feed<S: Mode>(
        &self,
        mut producer: Producer<S>,
        most: usize,
        stop: &Stop,
    ) -> anyhow::Result<ExitCode> {
        let mut input =
            BufReader::with_capacity(1 << 16, Input { stdin: io::stdin().lock(), stop });
        producer.end_when_deserted(self.end_when_deserted);
        let mut message = Vec::new();
        for number in 1u64.. {
            message.clear();
            // Nothing of a line is sent before it is known to fit.
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
                     ring holds; nothing of it was sent. Shorten it, send bytes with --raw, or \
                     make the ring with a larger --max-message"
                );
            }
            if let Some(code) = send(&mut producer, &message, self.class, stop)? {
                return Ok(code);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Reads until a message is full, the input ends, or more would have to be waited for. Says how
/// much.
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
            // Or there is no memory, and messages that are in flight have some.
            Err(refused) if producer.may_wait(refused) => {}
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
