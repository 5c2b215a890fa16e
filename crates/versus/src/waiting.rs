//! Waiting: what a round trip costs when both sides sleep in between, beside a pipe, a Unix socket
//! and the limit of all that sleep in the kernel, a futex and nothing else; when both spin, beside
//! the raw line; what a stream costs when its sides may sleep; and what an idle waiter takes. Each
//! reading has a second process of its own.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::thread::futex;
use ultrafastring::{
    Builder, Consumer, Exclusive, PriorityClass, Producer, RecvError, UltraFastRing, WaitStrategy,
};

use crate::case::{Across, Case, Context, Pattern, Reading};
use crate::machine::{self, Cores};
use crate::message::{SIZE, check, message};
use crate::pattern::timed;

const NORMAL: PriorityClass = PriorityClass::Normal;
const READY: &[u8; 6] = b"ready\n";

pub(crate) fn cases() -> Vec<Case> {
    let case = |name: &str, messages, run| Case {
        name: name.to_string(),
        peer: "waiting",
        // Compared with nothing but each other, by name.
        pattern: Pattern::Limit,
        capacity: 0,
        size: SIZE,
        across: Across::Processes,
        messages,
        quick: true,
        run,
    };
    vec![
        case("wait: round trip, both park", 1_000, |c, it| ring(c, WaitStrategy::Park, it)),
        case("wait: round trip, default", 1_000, |c, it| ring(c, WaitStrategy::SpinThenPark, it)),
        case("wait: round trip, both spin", 20_000, |c, it| ring(c, WaitStrategy::Spin, it)),
        case("wait: round trip, bare futex", 1_000, bare),
        case("wait: round trip, pipe", 1_000, pipe),
        case("wait: round trip, socket", 1_000, socket),
        case("wait: stream 4096, may park", 400_000, |c, it| {
            stream(c, WaitStrategy::SpinThenPark, it)
        }),
        case("wait: stream 4096, spins", 400_000, |c, it| stream(c, WaitStrategy::Spin, it)),
        case("wait: idle, ticks a second", 1, idle),
    ]
}

/// The case that is the limit of the machine for the one so called.
pub(crate) fn limit_of(name: &str) -> Option<&'static str> {
    match name.strip_prefix("wait: round trip, ")? {
        "both spin" => Some("raw line"),
        _ => Some("wait: round trip, bare futex"),
    }
}

/// The second process of one reading.
struct Other(Child);

impl Other {
    /// Starts it with its work, and with `input` and `output` as its own.
    fn start(cores: Cores, work: &str, input: Stdio, output: Stdio) -> anyhow::Result<Self> {
        let child = Command::new(std::env::current_exe()?)
            .args(["--waiter", &format!("{} {work}", cores.producer)])
            .stdin(input)
            .stdout(output)
            .spawn()
            .context("cannot start the second process")?;
        Ok(Self(child))
    }

    /// Starts it, and waits until it has its handles.
    fn ready(cores: Cores, work: &str) -> anyhow::Result<(Self, ChildStdout)> {
        let mut this = Self::start(cores, work, Stdio::null(), Stdio::piped())?;
        let mut output = this.0.stdout.take().context("the second process has no output")?;
        let mut said = [0; READY.len()];
        output.read_exact(&mut said).context("the second process has ended")?;
        ensure!(&said == READY, "the second process said something else");
        Ok((this, output))
    }

    fn end(mut self) -> anyhow::Result<()> {
        ensure!(self.0.wait()?.success(), "the second process failed");
        Ok(())
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two rings whose names go with them.
struct Rings([String; 2]);

impl Rings {
    fn new() -> Self {
        Self(["there", "back"].map(|way| format!("versus-{}-wait-{way}", std::process::id())))
    }

    fn make(&self, way: usize, capacity: usize) -> anyhow::Result<UltraFastRing> {
        let builder = Builder::new().capacity(capacity).exclusive_producer().exclusive_consumer();
        Ok(builder.create(&self.0[way])?)
    }
}

impl Drop for Rings {
    fn drop(&mut self) {
        // One of the two may not have been made.
        self.0.iter().for_each(|name| drop(UltraFastRing::remove(name)));
    }
}

fn name_of(strategy: WaitStrategy) -> &'static str {
    match strategy {
        WaitStrategy::Park => "park",
        WaitStrategy::Spin => "spin",
        _ => "default",
    }
}

fn ring(context: &mut Context, strategy: WaitStrategy, case: &Case) -> anyhow::Result<Reading> {
    let rings = Rings::new();
    let mut producer = rings.make(0, 256)?.exclusive_producer()?;
    let mut consumer = rings.make(1, 256)?.exclusive_consumer()?;
    consumer.set_wait_strategy(strategy);
    let [there, back] = &rings.0;
    let work = format!("echo {} {there} {back}", name_of(strategy));
    let (other, _) = Other::ready(context.cores, &work)?;
    let ticks = timed(case.messages, |i| {
        producer.send_fast(&message::<SIZE>(i), NORMAL)?;
        check_message(&consumer.recv_blocking()?, i)
    })?;
    producer.close();
    other.end()?;
    Ok(ticks.into())
}

fn check_message(bytes: &[u8], i: u64) -> anyhow::Result<()> {
    check::<SIZE>(bytes.try_into().context("a message is cut")?, i)
}

/// Messages there over `writer` and back over `reader`.
fn over_files(n: u64, mut writer: impl Write, mut reader: impl Read) -> anyhow::Result<f64> {
    let mut buffer = [0; SIZE];
    timed(n, |i| {
        writer.write_all(&message::<SIZE>(i))?;
        reader.read_exact(&mut buffer)?;
        check(&buffer, i)
    })
}

/// Two words that two processes share, each on a line of its own.
struct Words(*mut [AtomicU32; Words::COUNT]);

impl Words {
    const COUNT: usize = 1024;
    const BYTES: usize = Self::COUNT * size_of::<AtomicU32>();

    fn map(file: impl AsFd) -> anyhow::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, where the kernel finds room.
        let start =
            unsafe { mmap(std::ptr::null_mut(), Self::BYTES, access, MapFlags::SHARED, file, 0)? };
        Ok(Self(start.cast()))
    }

    fn word(&self, at: usize) -> &AtomicU32 {
        // SAFETY: mapped for as long as this lives, whole, zeros at first, and accessed by atomics
        // only, by both processes.
        unsafe { &(*self.0)[32 * at] }
    }

    /// Says `turn` in a word, and wakes who waits for it.
    fn say(&self, at: usize, turn: u32) -> anyhow::Result<()> {
        self.word(at).store(turn, Ordering::Release);
        futex::wake(self.word(at), futex::Flags::empty(), 1)?;
        Ok(())
    }

    /// Sleeps until a word says `turn`.
    fn hear(&self, at: usize, turn: u32) {
        while self.word(at).load(Ordering::Acquire) != turn {
            // Whatever ends the sleep, the word is looked at.
            let _ = futex::wait(self.word(at), futex::Flags::empty(), turn - 1, None);
        }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: what `map` mapped, and nobody has a reference any more.
        let unmapped = unsafe { munmap(self.0.cast(), Self::BYTES) };
        debug_assert!(unmapped.is_ok());
    }
}

/// What sleeping and waking costs when nothing is sent.
fn bare(context: &mut Context, case: &Case) -> anyhow::Result<Reading> {
    let file = memfd_create("versus-wait", MemfdFlags::CLOEXEC)?;
    ftruncate(&file, Words::BYTES as u64)?;
    let words = Words::map(&file)?;
    let work = format!("nod {}", case.messages);
    let other = Other::start(context.cores, &work, file.into(), Stdio::null())?;
    let ticks = timed(case.messages, |i| {
        words.say(0, i as u32 + 1)?;
        words.hear(1, i as u32 + 1);
        Ok(())
    })?;
    other.end()?;
    Ok(ticks.into())
}

fn pipe(context: &mut Context, case: &Case) -> anyhow::Result<Reading> {
    let n = case.messages;
    let work = format!("copy {n}");
    let mut other = Other::start(context.cores, &work, Stdio::piped(), Stdio::piped())?;
    let writer = other.0.stdin.take().context("the second process has no input")?;
    let reader = other.0.stdout.take().context("the second process has no output")?;
    // Unbuffered, as the pipe's ends of a child are.
    let ticks = over_files(n, writer, reader)?;
    other.end()?;
    Ok(ticks.into())
}

fn socket(context: &mut Context, case: &Case) -> anyhow::Result<Reading> {
    let n = case.messages;
    let (ours, theirs) = UnixStream::pair()?;
    let (input, output) = (OwnedFd::from(theirs.try_clone()?), OwnedFd::from(theirs));
    let work = format!("copy {n}");
    let other = Other::start(context.cores, &work, input.into(), output.into())?;
    let ticks = over_files(n, &ours, &ours)?;
    other.end()?;
    Ok(ticks.into())
}

fn stream(context: &mut Context, strategy: WaitStrategy, case: &Case) -> anyhow::Result<Reading> {
    let rings = Rings::new();
    let mut consumer = rings.make(0, 4096)?.exclusive_consumer()?;
    consumer.set_wait_strategy(strategy);
    let work = format!("stream {} {} {}", name_of(strategy), rings.0[0], case.messages);
    let (other, _) = Other::ready(context.cores, &work)?;
    let ticks = timed(case.messages, |i| check_message(&consumer.recv_blocking()?, i))?;
    other.end()?;
    Ok(ticks.into())
}

/// Ticks of its core that a second of waiting takes.
fn idle(context: &mut Context, _: &Case) -> anyhow::Result<Reading> {
    let rings = Rings::new();
    let ring = rings.make(0, 256)?;
    let (other, mut output) = Other::ready(context.cores, &format!("idle {}", rings.0[0]))?;
    let mut said = String::new();
    output.read_to_string(&mut said)?;
    let share: f64 = said.trim().parse().context("the second process said something else")?;
    other.end()?;
    Ok((share * ring.ticks_per_second()).into())
}

/// What the second process does.
pub(crate) fn serve(work: &str) -> anyhow::Result<()> {
    let words: Vec<_> = work.split(' ').collect();
    let &[core, kind, ..] = &words[..] else { bail!("not an order: {work}") };
    machine::keep_to(core.parse()?)?;
    let mut output = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    match (kind, &words[2..]) {
        ("echo", &[strategy, there, back]) => {
            let mut consumer = consumer(there, strategy)?;
            let mut producer = producer(back, strategy)?;
            output.write_all(READY)?;
            loop {
                match consumer.recv_blocking() {
                    Ok(message) => producer.send_blocking(&message, NORMAL)?,
                    Err(RecvError::Closed) => return Ok(()),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        ("stream", &[strategy, there, n]) => {
            let mut producer = producer(there, strategy)?;
            output.write_all(READY)?;
            for i in 0..n.parse()? {
                producer.send_blocking(&message::<SIZE>(i), NORMAL)?;
            }
        }
        ("copy", &[n]) => {
            let mut input = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
            let mut buffer = [0; SIZE];
            for _ in 0..n.parse::<u64>()? {
                input.read_exact(&mut buffer)?;
                output.write_all(&buffer)?;
            }
        }
        ("nod", &[n]) => {
            let words = Words::map(std::io::stdin())?;
            for turn in 1..=n.parse()? {
                words.hear(0, turn);
                words.say(1, turn)?;
            }
        }
        ("idle", &[there]) => {
            let mut consumer = consumer(there, "default")?;
            output.write_all(READY)?;
            // Five times as long as anybody sleeps at a time.
            let time = 5 * ultrafastring::LONGEST_PARK;
            let before = time_on_core()?;
            ensure!(consumer.recv_timeout(time).is_err(), "somebody has sent");
            let taken = time_on_core()? - before;
            writeln!(output, "{}", taken.as_secs_f64() / time.as_secs_f64())?;
        }
        _ => bail!("not an order: {work}"),
    }
    Ok(())
}

fn set(strategy: &str) -> WaitStrategy {
    match strategy {
        "park" => WaitStrategy::Park,
        "spin" => WaitStrategy::Spin,
        _ => WaitStrategy::SpinThenPark,
    }
}

fn consumer(name: &str, strategy: &str) -> anyhow::Result<Consumer<Exclusive>> {
    let mut consumer = UltraFastRing::open(name)?.exclusive_consumer()?;
    consumer.set_wait_strategy(set(strategy));
    Ok(consumer)
}

fn producer(name: &str, strategy: &str) -> anyhow::Result<Producer<Exclusive>> {
    let mut producer = UltraFastRing::open(name)?.exclusive_producer()?;
    producer.set_wait_strategy(set(strategy));
    Ok(producer)
}

/// Time that this thread has been running (/proc/PID/schedstat, first field).
fn time_on_core() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = stat.split(' ').next().context("the kernel does not say")?;
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}
