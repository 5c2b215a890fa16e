//! The two processes of the demo: what each sends, how it is checked, what is timed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use clap::{Parser, ValueEnum};
use hdrhistogram::Histogram;
use serde_json::json;
use ultrafastring::{Builder, Consumer, Exclusive, INLINE_SIZE, PriorityClass, rdtsc};

use super::child::end_with_parent;
use super::cores::keep_to;
use crate::output;

/// What percentiles are given: the last is the longest latency of all.
pub(super) const QUANTILES: [f64; 6] = [0.5, 0.9, 0.99, 0.999, 0.9999, 1.0];

/// At a pace, a message follows the one before after this many ticks.
const PACE: u64 = 25_000;

/// In a stream, the latency of one message in this many is recorded: recording costs as much as
/// receiving.
const RECORDED: u64 = 64;

/// Messages of one class that follow each other.
const RUN: u64 = 16;

/// Tries before the core is offered to others, which matters where there is only one.
const SPINS: u32 = 10_000;

/// What carries the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Over {
    Ring,
    Pipe,
    Socket,
}

impl Over {
    pub(super) const ALL: [Self; 3] = [Self::Ring, Self::Pipe, Self::Socket];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Pipe => "pipe",
            Self::Socket => "socket",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Ring => "UltraFastRing",
            Self::Pipe => "pipe",
            Self::Socket => "Unix socket",
        }
    }
}

/// When a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Pace {
    /// As soon as the one before is.
    Stream,
    /// A fixed time after the one before.
    Paced,
}

impl Pace {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Paced => "paced",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    Produce,
    Consume,
}

/// One of the demo's two processes, which `ufr demo` starts.
#[derive(Parser)]
#[command(name = Part::NAME)]
pub(crate) struct Part {
    directory: PathBuf,
    role: Role,
    over: Over,
    pace: Pace,
    ring: String,
    messages: u64,
    core: usize,
}

type Bytes = [u8; INLINE_SIZE];

/// The message number `n`: the number, the time in ticks, and three words that follow from the
/// number.
fn message(n: u64, time: u64) -> Bytes {
    let mut bytes = [0; INLINE_SIZE];
    for (word, at) in words(n, time).into_iter().zip(bytes.as_chunks_mut::<8>().0) {
        *at = word.to_le_bytes();
    }
    bytes
}

fn words(n: u64, time: u64) -> [u64; 5] {
    let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    [n, time, mixed, !mixed, mixed.rotate_left(32)]
}

/// The time in the message `bytes`, if it is number `n`.
fn checked(bytes: &Bytes, n: u64) -> Option<u64> {
    let mut said = [0; 5];
    for (word, at) in said.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*at);
    }
    (said == words(n, said[1])).then_some(said[1])
}

fn class(n: u64) -> PriorityClass {
    PriorityClass::ALL[(n / RUN) as usize % PriorityClass::COUNT]
}

/// Calls `attempt` until it succeeds.
#[inline(always)]
fn insist<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let mut tries = 0u32;
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        tries += 1;
        if tries.is_multiple_of(SPINS) {
            std::thread::yield_now();
        }
    }
}

impl Part {
    /// What `ufr` is called with to be one.
    pub(crate) const NAME: &str = "demo-part";

    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let builder = &Builder::new().participant_name("ufr").directory(&self.directory);
        end_with_parent()?;
        keep_to(self.core)?;
        match self.role {
            Role::Produce => self.produce(builder),
            Role::Consume => self.consume(builder),
        }?;
        Ok(ExitCode::SUCCESS)
    }

    fn produce(&self, builder: &Builder) -> anyhow::Result<()> {
        if self.over != Over::Ring {
            // Not `io::Stdout`, which gathers lines: one write a message.
            let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
            return self.send_all(|n, time| Ok(output.write_all(&message(n, time))?));
        }
        let mut producer = builder.open(&self.ring)?.exclusive_producer()?;
        self.send_all(|n, time| {
            let message = message(n, time);
            insist(|| producer.send_fast(&message, class(n)).ok());
            Ok(())
        })
    }

    /// Calls `send` with each number and, at a pace, the time when it was due.
    #[inline(always)]
    fn send_all(&self, mut send: impl FnMut(u64, u64) -> anyhow::Result<()>) -> anyhow::Result<()> {
        match self.pace {
            Pace::Stream => (0..self.messages).try_for_each(|n| send(n, 0)),
            Pace::Paced => {
                let start = rdtsc();
                (0..self.messages).try_for_each(|n| {
                    // Latency counts from when a message was due: a sender that is held up does
                    // not hide what those who wait behind it would see.
                    let due = start + (n + 1) * PACE;
                    insist(|| (rdtsc() >= due).then_some(()));
                    send(n, due)
                })
            }
        }
    }

    fn consume(&self, builder: &Builder) -> anyhow::Result<()> {
        let (ticks, latency) = if self.over == Over::Ring {
            let consumer = builder.open(&self.ring)?.exclusive_consumer()?;
            ready()?;
            self.receive_all(FromRing { consumer })?
        } else {
            ready()?;
            // Not `io::Stdin`, which reads ahead: one read a message.
            self.receive_all(FromFile(File::from(io::stdin().as_fd().try_clone_to_owned()?)))?
        };
        let latency: Vec<_> = QUANTILES.iter().map(|&at| latency.value_at_quantile(at)).collect();
        output::say(format!("{}\n", json!({ "ticks": ticks, "latency": latency })))?;
        Ok(())
    }

    /// Ticks a message from the first to the last, and latencies.
    #[inline(always)]
    fn receive_all(&self, mut source: impl Source) -> anyhow::Result<(f64, Histogram<u64>)> {
        let mut latency =
            Histogram::<u64>::new_with_bounds(1, 1 << 40, 3).context("no histogram")?;
        let mut buffer = [0; INLINE_SIZE];
        let (mut start, mut end) = (0, 0);
        for n in 0..self.messages {
            let queued = source.receive(&mut buffer, n)?;
            let Some(due) = checked(&buffer, n) else { bail!("message {n} came changed") };
            if n == 0 || n == self.messages - 1 {
                end = rdtsc();
                start = if n == 0 { end } else { start };
            }
            match self.pace {
                Pace::Stream if n % RECORDED != 0 => {}
                Pace::Stream => {
                    if let Some(queued) = queued {
                        latency.saturating_record(queued);
                    }
                }
                Pace::Paced => latency.saturating_record(rdtsc().saturating_sub(due)),
            }
        }
        Ok(((end - start) as f64 / (self.messages - 1) as f64, latency))
    }
}

fn ready() -> anyhow::Result<()> {
    Ok(output::say("ready\n")?)
}

/// Where a consumer gets messages from.
trait Source {
    /// Receives message `n`, and gives its latency in ticks if the carrier measures that.
    fn receive(&mut self, buffer: &mut Bytes, n: u64) -> anyhow::Result<Option<u64>>;
}

struct FromRing {
    consumer: Consumer<Exclusive>,
}

impl Source for FromRing {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes, n: u64) -> anyhow::Result<Option<u64>> {
        let (size, of_class, latency) = insist(|| self.consumer.recv_fast(buffer).ok());
        ensure!(size == INLINE_SIZE && of_class == class(n), "message {n} came changed");
        Ok(Some(latency))
    }
}

struct FromFile(File);

impl Source for FromFile {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes, _: u64) -> anyhow::Result<Option<u64>> {
        self.0.read_exact(buffer)?;
        Ok(None)
    }
}
