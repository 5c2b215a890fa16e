//! How soon the others go on after a participant is killed.
//!
//! ```text
//! cargo run --release -p versus --bin deaths                       # up to 2 GiB
//! cargo run --release -p versus --bin deaths -- --gib 8            # up to 8 GiB
//! ```
//!
//! A producer with so much memory claims a slot and is killed before it commits. The next message,
//! behind that slot, is waited for by a consumer that tries again at once, or that sleeps. Beside it:
//! when the kernel has closed the dead one's files, and with them given its locks back.

use std::io::{Read, Write, pipe};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, setrlimit};
use tempfile::TempDir;
use ultrafastring::{Builder, PriorityClass, WaitStrategy};

const NAME: &str = "deaths";

/// Bytes of a page, each of which the victim touches.
const PAGE: usize = 4096;

#[derive(Parser)]
#[command(about = "Measure how soon the others go on after a participant is killed")]
struct Cli {
    /// Memory of the largest victim, in GiB
    #[arg(long, default_value_t = 2)]
    gib: usize,
    /// Repetitions of each case
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Plays the victim: bytes to touch, directory
    #[arg(long, hide = true, num_args = 2, value_names = ["BYTES", "DIRECTORY"])]
    victim: Option<Vec<String>>,
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    if let Some(words) = cli.victim {
        return be_killed(words[0].parse()?, &words[1]);
    }
    println!("{:<34}{:>16}{:>16}{:>16}", "victim", "spinning", "asleep", "files closed");
    let mut sizes = vec![0];
    sizes.extend((0..).map(|power| 1 << power).take_while(|&gib| gib <= cli.gib));
    for gib in sizes {
        print_case(gib, Signal::KILL, cli.rounds)?;
    }
    print_case(cli.gib.min(1), Signal::ABORT, cli.rounds)?;
    Ok(ExitCode::SUCCESS)
}

fn print_case(gib: usize, signal: Signal, rounds: usize) -> anyhow::Result<()> {
    let mut spinning = Vec::new();
    let mut asleep = Vec::new();
    let mut closed = Vec::new();
    for _ in 0..rounds {
        for (strategy, times) in
            [(WaitStrategy::Spin, &mut spinning), (WaitStrategy::Park, &mut asleep)]
        {
            let (next, files) = kill_one(gib << 30, signal, strategy)?;
            times.push(next);
            closed.push(files);
        }
    }
    let what = if signal == Signal::ABORT { ", dumps core" } else { "" };
    let victim = format!("{gib} GiB{what}");
    let (spinning, asleep, closed) = (median(spinning), median(asleep), median(closed));
    println!("{victim:<34}{spinning:>16}{asleep:>16}{closed:>16}");
    Ok(())
}

fn median(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    format!("{:.2} ms", times[times.len() / 2].as_secs_f64() * 1e3)
}

/// How long after the kill the next message came, and the victim's files were closed.
fn kill_one(
    bytes: usize,
    signal: Signal,
    strategy: WaitStrategy,
) -> anyhow::Result<(Duration, Duration)> {
    let directory = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new())?;
    let ring = Builder::new().directory(directory.path()).capacity(4).create(NAME)?;
    let mut producer = ring.producer()?;
    let mut consumer = ring.consumer()?;
    consumer.set_wait_strategy(strategy);
    let (mut ready, its_end) = pipe()?;
    let mut victim = Command::new(std::env::current_exe()?)
        .arg("--victim")
        .arg(bytes.to_string())
        .arg(directory.path())
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .stdout(its_end)
        .spawn()?;
    ready.read_exact(&mut [0]).context("the victim left before it was killed")?;
    producer.send_fast(b"next", PriorityClass::Normal)?;
    let pid = Pid::from_child(&victim);
    let (next, closed) = std::thread::scope(|scope| -> anyhow::Result<_> {
        let begun = Instant::now();
        kill_process(pid, signal)?;
        let files = scope.spawn(move || {
            // It ends when the last descriptor of its other end is closed.
            let ended = ready.read(&mut [0]);
            ended.map(|_| begun.elapsed())
        });
        let message = consumer.recv_timeout(Duration::from_secs(600))?;
        let next = begun.elapsed();
        ensure!(&*message == b"next", "another message came");
        let closed = files.join().ok().context("a thread panicked")??;
        Ok((next, closed))
    })?;
    victim.wait()?;
    Ok((next, closed))
}

/// Takes so much memory, claims a slot, and waits for its end.
fn be_killed(bytes: usize, directory: &str) -> anyhow::Result<ExitCode> {
    let whole = Rlimit { current: None, maximum: None };
    // Where it may not be raised, no core is written, and the figures say so.
    let _ = setrlimit(Resource::Core, whole);
    let mut memory = vec![0u8; bytes];
    for page in (0..bytes).step_by(PAGE) {
        memory[page] = 1;
    }
    let ring = Builder::new().directory(directory).open(NAME)?;
    let mut producer = ring.producer()?;
    std::mem::forget(producer.reserve(4, PriorityClass::Normal)?);
    std::io::stdout().write_all(b"!")?;
    std::io::stdout().flush()?;
    loop {
        std::thread::park();
        std::hint::black_box(&memory);
    }
}
