//! `ufr demo`: a producer and a consumer process on two cores, beside a pipe and a Unix socket.
//!
//! ```text
//!  ufr demo ──┬── ufr demo-part consume ─┐  a ring, a pipe or a socket between them;
//!             └── ufr demo-part produce ─┘  what was measured comes back as a line of JSON
//! ```
//!
//! Each round runs all three ways one after the other, so that a change of the machine in mid-run
//! meets all of them; before and after each, two threads on the same two cores measure how long a
//! cache line takes there and back.

mod child;
mod cores;
mod machine;
mod part;
mod report;

use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{ChildStdout, ExitCode, Stdio};

use anyhow::{Context, ensure};
use clap::Args;
use serde_json::Value;
use ultrafastring::{Builder, UltraFastRing};

pub(crate) use part::Part;

use crate::wait::Stop;
use crate::{or_usage, output};
use child::{Process, this_program};
use part::{Over, Pace};
use report::{Measured, Reached};

/// Number of rounds; each has an equal part of the messages.
const ROUNDS: u64 = 5;

/// A pipe or a socket gets this fraction of the ring's messages, since it takes that much longer.
const SLOWER: u64 = 20;

/// Stream messages between two processes on two cores, and show the time for each.
///
/// Two processes, each bound to one core, exchange messages of 40 bytes through a ring with
/// exclusive sides. All features are on: a timestamp in each message, five classes, credits,
/// coalescing, statistics. The consumer checks the order, class and content of each message. The
/// same messages then go through a pipe and a Unix socket, each with one write and one read.
#[derive(Args)]
pub(crate) struct Demo {
    /// Messages to stream through the ring; the pipe and the socket get a twentieth each.
    #[arg(long, default_value_t = 5_000_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1_000..))]
    messages: u64,
    /// Number of slots, a power of two.
    #[arg(long, default_value_t = ultrafastring::DEFAULT_CAPACITY)]
    capacity: usize,
    /// Cores of the producer and the consumer [default: two that share as little as possible].
    #[arg(long, value_name = "P,C", value_parser = machine::two_cores)]
    cores: Option<(usize, usize)>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// The demo's ring; dropping it removes its name.
struct OwnRing<'a> {
    builder: &'a Builder,
    name: String,
    ring: UltraFastRing,
}

impl Drop for OwnRing<'_> {
    fn drop(&mut self) {
        // It is nobody's but ours; and if it is gone already, so much the better.
        let _ = self.builder.remove(&self.name);
    }
}

impl Demo {
    pub(crate) fn run(self, builder: Builder) -> anyhow::Result<ExitCode> {
        let builder = builder.capacity(self.capacity).exclusive_producer().exclusive_consumer();
        or_usage("demo", builder.validate())?;
        let stop = Stop::on_signals()?;
        let name = format!("demo-{}", std::process::id());
        let ring = builder.create(&name)?;
        let ring = OwnRing { builder: &builder, name, ring };
        let Some(measured) = self.measure(&ring, &stop)? else {
            return Ok(stop.asked().unwrap_or(ExitCode::FAILURE));
        };
        output::say(if self.json {
            format!("{:#}\n", report::as_json(&measured, &ring.ring))
        } else {
            report::as_text(&measured, &ring.ring)?
        })?;
        Ok(ExitCode::SUCCESS)
    }

    /// `None` if the user wants to stop.
    fn measure(&self, ring: &OwnRing<'_>, stop: &Stop) -> anyhow::Result<Option<Measured>> {
        let cores = match self.cores {
            Some(cores) => cores,
            // With a single core the two take turns.
            None => cores::two_apart().map(|(one, other)| (one, other.unwrap_or(one)))?,
        };
        let mut measured = Measured {
            cores,
            messages: self.messages,
            checked: 0,
            reached: Over::ALL.map(|over| (over, Reached::default())).into(),
            line: vec![machine::line_round_trip(cores)?],
        };
        for round in 1..=ROUNDS {
            output::progress(format!("round {round} of {ROUNDS}, ticks a message:"))?;
            for (over, reached) in &mut measured.reached {
                let slower = if *over == Over::Ring { 1 } else { SLOWER };
                for pace in [Pace::Stream, Pace::Paced] {
                    let messages = match pace {
                        Pace::Stream => self.messages / ROUNDS / slower,
                        Pace::Paced => (self.messages / ROUNDS / 20 / slower).min(50_000),
                    };
                    let messages = messages.max(100);
                    let work = Work { over: *over, pace, messages, cores, ring, stop };
                    let outcome = work.run();
                    if stop.asked().is_some() {
                        return Ok(None);
                    }
                    let (ticks, latency) = outcome?;
                    measured.checked += messages;
                    match pace {
                        Pace::Stream => {
                            output::progress(format!(" {} {ticks:.1}", over.title()))?;
                            reached.stream.push(ticks);
                            reached.queued.push(latency);
                        }
                        Pace::Paced => reached.paced.push(latency),
                    }
                    measured.line.push(machine::line_round_trip(cores)?);
                }
            }
            output::progress("\n")?;
        }
        Ok(Some(measured))
    }
}

/// One run of two processes.
struct Work<'a> {
    over: Over,
    pace: Pace,
    messages: u64,
    cores: (usize, usize),
    ring: &'a OwnRing<'a>,
    stop: &'a Stop,
}

impl Work<'_> {
    /// Ticks a message, and latencies in ticks by quantile.
    fn run(&self) -> anyhow::Result<(f64, Vec<f64>)> {
        let (input, output): (Stdio, Stdio) = match self.over {
            Over::Ring => (Stdio::null(), Stdio::piped()),
            Over::Pipe => {
                let (read, write) = std::io::pipe()?;
                (read.into(), write.into())
            }
            Over::Socket => {
                let (a, b) = UnixStream::pair()?;
                (OwnedFd::from(a).into(), OwnedFd::from(b).into())
            }
        };
        let mut consumer = self.start("consume", self.cores.1, input, Stdio::piped())?;
        let said = consumer.stdout.take().context("the consumer has no output")?;
        let mut said = BufReader::new(said);
        ensure!(self.line(&mut said)? == "ready\n", "a part of the demo did not start");
        let mut producer = self.start("produce", self.cores.0, Stdio::null(), output)?;
        let result = self.line(&mut said)?;
        let result: Value = serde_json::from_str(&result).context("the consumer gave no result")?;
        for (who, process) in [("producer", &mut producer), ("consumer", &mut consumer)] {
            let status = process.wait()?;
            ensure!(status.success(), "the {who} ended with {status}");
        }
        let ticks = result["ticks"].as_f64().context("the consumer gave no time")?;
        let latency = result["latency"].as_array().into_iter().flatten();
        Ok((ticks, latency.filter_map(Value::as_f64).collect()))
    }

    fn start(
        &self,
        side: &str,
        core: usize,
        input: Stdio,
        output: Stdio,
    ) -> anyhow::Result<Process> {
        let directory = self.ring.ring.path().and_then(|path| path.parent());
        let mut command = this_program()?;
        command
            .arg(Part::NAME)
            .arg(directory.context("the demo's ring has no file")?)
            .args([side, self.over.name(), self.pace.name(), &self.ring.name])
            .arg(self.messages.to_string())
            .arg(core.to_string())
            .stdin(input)
            .stdout(output);
        Process::start(&mut command)
    }

    /// The next line that a part says.
    fn line(&self, said: &mut BufReader<ChildStdout>) -> anyhow::Result<String> {
        let mut line = String::new();
        ensure!(!said.buffer().is_empty() || self.stop.or_readable(said.get_ref())?, "interrupted");
        said.read_line(&mut line)?;
        Ok(line)
    }
}
