//! Instructions an operation: what can be guarded where times cannot be.
//!
//! ```text
//! cargo run --release -p versus --bin instructions               # compare with what is recorded
//! cargo run --release -p versus --bin instructions -- --record   # record anew
//! ```
//!
//! Each operation runs twice under valgrind's callgrind, a thousand times and five thousand times;
//! what both do before and after cancels in the difference, and a four-thousandth of it is what one
//! costs, to the instruction. Rings without timestamps only: how often a frontier is announced
//! depends on the time that passes where there are some, and valgrind stretches time.

use std::fmt::Write;
use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use ultrafastring::{Builder, PriorityClass, Timestamps, UltraFastRing};

/// How often an operation is done, in the shorter and in the longer run.
const TIMES: [u64; 2] = [1_000, 5_000];

/// Slots of the rings: as many as the longer run needs, in batches too.
const CAPACITY: usize = 65_536;

/// Messages in a batch.
const BATCH: usize = 8;

/// A count that has grown by more than this part of it is a regression.
const TOLERANCE: f64 = 0.02;

const MESSAGE: [u8; 40] = [7; 40];

#[derive(Parser)]
#[command(about = "Count instructions an operation, and compare them with what is recorded")]
struct Cli {
    /// Write what is counted to crates/versus/instructions.txt.
    #[arg(long)]
    record: bool,
    /// What runs under valgrind: an operation, and how often.
    #[arg(long, hide = true, num_args = 2, value_names = ["OPERATION", "TIMES"])]
    run: Option<Vec<String>>,
}

/// Does an operation so many times.
type Run = fn(u64) -> anyhow::Result<()>;

const OPERATIONS: &[(&str, Run)] = &[
    ("exclusive send_fast", |n| exclusive(n, 0)),
    ("exclusive recv_fast", |n| exclusive(TIMES[1], n)),
    ("exclusive send_batch of 8", |n| exclusive_batches(n, 0)),
    ("exclusive recv_batch of 8", |n| exclusive_batches(TIMES[1], n)),
    ("shared send_fast", |n| shared(n, 0)),
    ("shared recv_fast", |n| shared(TIMES[1], n)),
    ("&self send_fast", |n| by_reference(n, 0)),
    ("&self recv_fast", |n| by_reference(TIMES[1], n)),
    ("exclusive recv_fast of an empty ring", empty),
    ("exclusive send_fast to a full ring", full),
];

fn builder() -> Builder {
    Builder::new().capacity(CAPACITY).timestamps(Timestamps::Off)
}

/// Sends `send` messages and then receives `receive`; so those below.
fn exclusive(send: u64, receive: u64) -> anyhow::Result<()> {
    let ring = builder().exclusive_producer().exclusive_consumer().heap()?;
    let (mut producer, mut consumer) = (ring.exclusive_producer()?, ring.exclusive_consumer()?);
    for _ in 0..send {
        producer.send_fast(black_box(&MESSAGE), PriorityClass::Normal)?;
    }
    let mut buffer = [0; 40];
    for _ in 0..receive {
        black_box(consumer.recv_fast(black_box(&mut buffer))?);
    }
    Ok(())
}

fn exclusive_batches(send: u64, receive: u64) -> anyhow::Result<()> {
    let ring = builder().exclusive_producer().exclusive_consumer().heap()?;
    let (mut producer, mut consumer) = (ring.exclusive_producer()?, ring.exclusive_consumer()?);
    let batch = [MESSAGE; BATCH];
    for _ in 0..send {
        let sent = producer.send_batch(black_box(&batch), PriorityClass::Normal)?;
        ensure!(sent == BATCH, "the batch was cut");
    }
    let mut buffers = [[0; 40]; BATCH];
    for _ in 0..receive {
        let received = consumer.recv_batch(black_box(&mut buffers))?;
        ensure!(received.len() == BATCH, "the batch was cut");
    }
    Ok(())
}

fn shared(send: u64, receive: u64) -> anyhow::Result<()> {
    let ring = builder().heap()?;
    let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
    for _ in 0..send {
        producer.send_fast(black_box(&MESSAGE), PriorityClass::Normal)?;
    }
    let mut buffer = [0; 40];
    for _ in 0..receive {
        black_box(consumer.recv_fast(black_box(&mut buffer))?);
    }
    Ok(())
}

fn by_reference(send: u64, receive: u64) -> anyhow::Result<()> {
    let ring: UltraFastRing = builder().heap()?;
    for _ in 0..send {
        ring.send_fast(black_box(&MESSAGE), PriorityClass::Normal)?;
    }
    let mut buffer = [0; 40];
    for _ in 0..receive {
        black_box(ring.recv_fast(black_box(&mut buffer))?);
    }
    Ok(())
}

fn empty(n: u64) -> anyhow::Result<()> {
    let ring = builder().exclusive_producer().exclusive_consumer().heap()?;
    let mut consumer = ring.exclusive_consumer()?;
    let mut buffer = [0; 40];
    for _ in 0..n {
        ensure!(black_box(consumer.recv_fast(black_box(&mut buffer))).is_err(), "not empty");
    }
    Ok(())
}

fn full(n: u64) -> anyhow::Result<()> {
    let ring = builder().capacity(64).exclusive_producer().exclusive_consumer().heap()?;
    let mut producer = ring.exclusive_producer()?;
    while producer.send_fast(&MESSAGE, PriorityClass::Normal).is_ok() {}
    for _ in 0..n {
        let sent = producer.send_fast(black_box(&MESSAGE), PriorityClass::Normal);
        ensure!(black_box(sent).is_err(), "not full");
    }
    Ok(())
}

/// Instructions that `operation` took in one run.
fn collected(operation: &str, times: u64) -> anyhow::Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["--run", operation, &times.to_string()])
        .output()
        .context("cannot run valgrind; apt install valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{operation} failed under valgrind:\n{said}");
    let count = said.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    count.with_context(|| format!("valgrind did not say what it counted:\n{said}"))
}

/// Instructions that `operation` takes once.
fn count(operation: &str) -> anyhow::Result<f64> {
    let [few, many] = TIMES;
    let more = collected(operation, many)? as f64 - collected(operation, few)? as f64;
    Ok(more / (many - few) as f64)
}

fn record() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("instructions.txt")
}

/// What was recorded for `operation`.
fn recorded(text: &str, operation: &str) -> Option<f64> {
    let lines = text.lines().filter_map(|line| line.trim().split_once(' '));
    lines.filter(|(_, name)| *name == operation).find_map(|(count, _)| count.parse().ok())
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    if let Some([operation, times]) = cli.run.as_deref() {
        let run = OPERATIONS.iter().find(|it| it.0 == operation).context("no such operation")?.1;
        run(times.parse()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let compiler = option_env!("VERSUS_COMPILER").unwrap_or("a compiler that is not known");
    let architecture = std::env::consts::ARCH;
    let mut text = format!("# instructions an operation, {architecture}, {compiler}\n");
    let old = fs::read_to_string(record()).unwrap_or_default();
    if !cli.record {
        let head = old.lines().next().unwrap_or("nothing is recorded; see --record");
        if head != text.trim_end() {
            println!("recorded with something else, so expect differences: {head}");
        }
    }
    let mut worse = vec![];
    for (operation, _) in OPERATIONS {
        let count = count(operation)?;
        writeln!(text, "{count:8.2} {operation}")?;
        let before = recorded(&old, operation);
        let change = before.map_or(String::new(), |before| format!("  recorded {before:.2}"));
        println!("{count:8.2} {operation}{change}");
        if before.is_none_or(|before| count > before * (1.0 + TOLERANCE)) {
            worse.push(*operation);
        }
    }
    if cli.record {
        fs::write(record(), text)?;
        return Ok(ExitCode::SUCCESS);
    }
    if !worse.is_empty() {
        bail!(
            "more instructions than recorded: {}. If they are worth it, record them with \
             `cargo run --release -p versus --bin instructions -- --record`",
            worse.join(", ")
        );
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_found_by_the_whole_name_of_its_operation() {
        let text = "# head\n   50.01 exclusive send_fast\n   90.00 shared send_fast\n";
        assert_eq!(recorded(text, "exclusive send_fast"), Some(50.01));
        assert_eq!(recorded(text, "shared send_fast"), Some(90.0));
        assert_eq!(recorded(text, "recv_fast"), None);
    }

    #[test]
    fn every_operation_runs() {
        for (operation, run) in OPERATIONS {
            run(100).unwrap_or_else(|error| panic!("{operation}: {error}"));
        }
    }
}
