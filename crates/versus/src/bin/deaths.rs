//! How soon peers go on after a participant is killed.
//!
//! ```text
//! cargo run --release -p versus --bin deaths                       # up to 2 GiB
//! cargo run --release -p versus --bin deaths -- --gib 8            # up to 8 GiB
//! ```
//!
//! A producer with this much memory claims a slot and is killed before it commits. A consumer that
//! spins, or one that sleeps, waits for the next message, behind that slot. Then the only member of
//! a passing group is killed, which has received nothing of a full ring, and a producer waits for
//! room. Beside that time is the time until the kernel has closed the victim's files, and so given
//! its locks back.

use std::io::{Read, Write, pipe};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, setrlimit};
use tempfile::TempDir;
use ultrafastring::{Builder, PriorityClass, UltraFastRing, WaitStrategy};

#[path = "../../../ufr/src/demo/child.rs"]
mod child;

use child::{Process, this_program};

const NAME: &str = "deaths";

/// Bytes of a page, each of which the victim touches.
const PAGE: usize = 4096;

#[derive(Parser)]
#[command(about = "Measure how soon peers go on after a participant is killed")]
struct Cli {
    /// Memory of the largest victim, in GiB
    #[arg(long, default_value_t = 2)]
    gib: usize,
    /// Repetitions of each case
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Plays the victim: bytes to touch, directory, and which it is
    #[arg(long, hide = true, num_args = 3, value_names = ["BYTES", "DIRECTORY", "WHO"])]
    victim: Option<Vec<String>>,
}

/// Who is killed.
#[derive(Clone, Copy, PartialEq)]
enum Victim {
    Producer,
    Member,
}

impl Victim {
    fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Member => "member",
        }
    }

    fn waits(self) -> &'static str {
        match self {
            Self::Producer => "a consumer behind its claim",
            Self::Member => "a producer behind its group",
        }
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    if let Some(words) = cli.victim {
        return be_killed(words[0].parse()?, &words[1], &words[2]);
    }
    let mut sizes = vec![0];
    sizes.extend((0..).map(|power| 1 << power).take_while(|&gib| gib <= cli.gib));
    for who in [Victim::Producer, Victim::Member] {
        println!("\na {} is killed; how soon {} goes on", who.name(), who.waits());
        println!("{:<34}{:>16}{:>16}{:>16}", "victim", "spinning", "asleep", "files closed");
        for &gib in &sizes {
            print_case(who, gib, Signal::KILL, cli.rounds)?;
        }
        print_case(who, cli.gib.min(1), Signal::ABORT, cli.rounds)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print_case(who: Victim, gib: usize, signal: Signal, rounds: usize) -> anyhow::Result<()> {
    let mut spinning = Vec::new();
    let mut asleep = Vec::new();
    let mut closed = Vec::new();
    for _ in 0..rounds {
        for (strategy, times) in
            [(WaitStrategy::Spin, &mut spinning), (WaitStrategy::Park, &mut asleep)]
        {
            let (next, files) = kill_one(who, gib << 30, signal, strategy)?;
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

/// Somebody in whose way the victim is, and what it does when it has gone.
type Survivor = Box<dyn FnOnce() -> anyhow::Result<()> + Send>;

/// Takes the survivor's place; what it gives is called when the victim is in the way.
fn survivor(who: Victim, ring: &UltraFastRing, strategy: WaitStrategy) -> anyhow::Result<Survivor> {
    const LONG: Duration = Duration::from_secs(600);
    let mut producer = ring.producer()?;
    if who == Victim::Member {
        producer.set_wait_strategy(strategy);
        while producer.send_fast(b"unread", PriorityClass::Normal).is_ok() {}
        let sends = move || Ok(producer.send_timeout(b"next", PriorityClass::Normal, LONG)?);
        return Ok(Box::new(sends));
    }
    let mut consumer = ring.consumer()?;
    consumer.set_wait_strategy(strategy);
    producer.send_fast(b"next", PriorityClass::Normal)?;
    Ok(Box::new(move || {
        let message = consumer.recv_timeout(LONG)?;
        ensure!(&*message == b"next", "another message came");
        Ok(())
    }))
}

/// How long after the kill the survivor went on, and the victim's files were closed.
fn kill_one(
    who: Victim,
    bytes: usize,
    signal: Signal,
    strategy: WaitStrategy,
) -> anyhow::Result<(Duration, Duration)> {
    let directory = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new())?;
    let builder = Builder::new().directory(directory.path()).capacity(4);
    let builder = if who == Victim::Member { builder.joinable() } else { builder };
    let ring = builder.create(NAME)?;
    let (mut ready, its_end) = pipe()?;
    let mut command = this_program()?;
    command
        .arg("--victim")
        .arg(bytes.to_string())
        .arg(directory.path())
        .arg(who.name())
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .stdout(its_end);
    let mut victim = Process::start(&mut command)?;
    // It has the victim's end of the pipe too.
    drop(command);
    ready.read_exact(&mut [0]).context("the victim left before it was killed")?;
    let survivor = survivor(who, &ring, strategy)?;
    let pid = Pid::from_child(&victim);
    let (next, closed) = std::thread::scope(|scope| -> anyhow::Result<_> {
        let begun = Instant::now();
        kill_process(pid, signal)?;
        let files = scope.spawn(move || {
            // It ends when the last descriptor of its other end is closed.
            let ended = ready.read(&mut [0]);
            ended.map(|_| begun.elapsed())
        });
        survivor()?;
        let next = begun.elapsed();
        let closed = files.join().ok().context("a thread panicked")??;
        Ok((next, closed))
    })?;
    victim.wait()?;
    Ok((next, closed))
}

/// Takes so much memory, claims a slot or joins a group, and waits for its end.
fn be_killed(bytes: usize, directory: &str, who: &str) -> anyhow::Result<ExitCode> {
    child::end_with_parent()?;
    let whole = Rlimit { current: None, maximum: None };
    // Where it may not be raised, no core is written, and the figures say so.
    let _ = setrlimit(Resource::Core, whole);
    let mut memory = vec![0u8; bytes];
    for page in (0..bytes).step_by(PAGE) {
        memory[page] = 1;
    }
    let ring = Builder::new().directory(directory).open(NAME)?;
    if who == Victim::Member.name() {
        std::mem::forget(ring.join("passing").consumer()?);
    } else {
        let mut producer = ring.producer()?;
        std::mem::forget(producer.try_reserve(4, PriorityClass::Normal)?);
        std::mem::forget(producer);
    }
    std::io::stdout().write_all(b"!")?;
    std::io::stdout().flush()?;
    loop {
        std::thread::park();
        std::hint::black_box(&memory);
    }
}
