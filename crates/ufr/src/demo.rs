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

mod machine;
mod part;
mod report;

use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde_json::Value;
use ultrafastring::{Builder, UltraFastRing};

pub(crate) use part::Part;

use crate::wait::Stop;
use crate::{or_usage, output};
use part::{Over, Pace};

/// Rounds that the messages are spread over.
const ROUNDS: u64 = 5;

/// A pipe or a socket carries this part of the messages that the ring does: they take that much
/// longer.
const SLOWER: u64 = 20;

/// Stream messages between two processes on two cores, and show what it costs.
///
/// Two processes, each kept on its core, exchange messages of 40 bytes through a ring with
/// exclusive sides and everything on: a timestamp in each message, five classes, credits,
/// coalescing, statistics. The consumer checks the order, class and content of each. The same
/// messages then go through a pipe and through a Unix socket, one write and one read a message.
#[derive(Args)]
pub(crate) struct Demo {
    /// Messages to stream through the ring; a pipe and a socket get a twentieth each.
    #[arg(long, default_value_t = 5_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    messages: u64,
    /// Slots of the ring, a power of two.
    #[arg(long, default_value_t = ultrafastring::DEFAULT_CAPACITY)]
    capacity: usize,
    /// Cores of the producer and the consumer [default: two that share the least].
    #[arg(long, value_name = "P,C", value_parser = machine::two_cores)]
    cores: Option<(usize, usize)>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What one way of sending reached, a number a round.
#[derive(Default)]
struct Reached {
    /// Ticks a message, when messages follow each other as fast as they can.
    stream: Vec<f64>,
    /// Latencies in ticks of messages that come at a pace: for each of `part::QUANTILES`.
    paced: Vec<Vec<f64>>,
    /// The same of the stream: time spent in queues, mostly.
    queued: Vec<Vec<f64>>,
}

/// All that was measured.
struct Measured {
    cores: (usize, usize),
    messages: u64,
    checked: u64,
    reached: Vec<(Over, Reached)>,
    /// Ticks for a cache line there and back, by every reading.
    line: Vec<f64>,
}

/// The demo's ring, whose name goes with it.
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
            None => machine::cores_apart()?,
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
        let mut consumer =
            Process::start(self.part("consume", self.cores.1), input, Stdio::piped())?;
        consumer.ready(self.stop)?;
        let producer = Process::start(self.part("produce", self.cores.0), Stdio::null(), output)?;
        let result = consumer.result(self.stop)?;
        producer.end("producer")?;
        consumer.end("consumer")?;
        Ok(result)
    }

    fn part(&self, side: &str, core: usize) -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        let directory = self.ring.ring.path().and_then(|path| path.parent());
        command
            .arg(Part::NAME)
            .arg(directory.context("the demo's ring has no file")?)
            .args([side, self.over.name(), self.pace.name(), &self.ring.name])
            .arg(self.messages.to_string())
            .arg(core.to_string());
        Ok(command)
    }
}

/// A child that ends when this does.
struct Process {
    child: Child,
    said: Option<BufReader<ChildStdout>>,
}

impl Process {
    fn start(
        command: anyhow::Result<Command>,
        input: Stdio,
        output: Stdio,
    ) -> anyhow::Result<Self> {
        let mut child =
            command?.stdin(input).stdout(output).spawn().context("cannot start a process")?;
        let said = child.stdout.take().map(BufReader::new);
        Ok(Self { child, said })
    }

    /// Waits until it says something, and gives the line.
    fn line(&mut self, stop: &Stop) -> anyhow::Result<String> {
        let mut line = String::new();
        if let Some(said) = &mut self.said {
            ensure!(!said.buffer().is_empty() || stop.or_readable(said.get_ref())?, "interrupted");
            said.read_line(&mut line)?;
        }
        Ok(line)
    }

    fn ready(&mut self, stop: &Stop) -> anyhow::Result<()> {
        ensure!(self.line(stop)? == "ready\n", "a part of the demo did not start");
        Ok(())
    }

    fn result(&mut self, stop: &Stop) -> anyhow::Result<(f64, Vec<f64>)> {
        let result: Value =
            serde_json::from_str(&self.line(stop)?).context("the consumer gave no result")?;
        let ticks = result["ticks"].as_f64().context("the consumer gave no time")?;
        let latency = result["latency"].as_array().into_iter().flatten();
        Ok((ticks, latency.filter_map(Value::as_f64).collect()))
    }

    fn end(mut self, who: &str) -> anyhow::Result<()> {
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the {who} ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // No effect on one that has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
