//! Large messages: what the bytes cost, copied and in place, beside what the machine allows.
//!
//! ```text
//!  this process, receiving                        a process for each reading, sending
//!  make the ring, pipe, socket … ── arguments ──► open it
//!  receive and check             ◄── messages ──  send
//! ```
//!
//! A message is whole words. All are a pattern that follows from the number's parity, but for the
//! first and the last, which are the number itself; the receiver looks at every word. Who copies,
//! copies from one of two buffers that hold the patterns; who writes in place, writes all words
//! there, except where only the hand-over is measured: then the first and last words are written
//! and looked at, and no more, or (`first`) the first word alone. The limits are measured under the same rules: `memcpy` copies from
//! buffer to buffer and checks, on one core; the raw exchange does the same through bare memory,
//! between two.
//!
//! As in the rest of `versus`: a round runs every case once, in an order that rotates; the distance
//! of the cores is measured before and after each, and a reading during which it changed is
//! dropped.

use std::fs::File;
use std::hint::{black_box, spin_loop};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use ultrafastring::{
    Builder, CacheLineU64, Consumer, Exclusive, PriorityClass, Producer, Trusted, UltraFastRing,
    rdtsc,
};

use crate::limits;
use crate::machine::{self, Cores};
use crate::measure::Distance;

/// Bytes of a message, and how many are sent in a reading.
const SIZES: [(usize, u64); 4] =
    [(256, 60_000), (4 << 10, 20_000), (64 << 10, 3_000), (1 << 20, 400)];

/// Messages that there is room for in a ring, and in its peers where one can choose: about as many
/// bytes at every size, as long as that is more than a few.
fn capacity(size: usize) -> usize {
    ((512 << 10) / size).clamp(8, 64)
}

/// The same where messages are handed over and not gone through, so that their bytes do not matter.
const HANDED_OVER: usize = 64;

// ---- messages ----------------------------------------------------------------------------

/// What all words of message `n` are but the first and the last.
#[inline(always)]
fn pattern(n: u64) -> u64 {
    0x9e37_79b9_7f4a_7c15_u64.rotate_left(n as u32 % 2)
}

/// The two buffers that copies are made from.
struct Sources([Vec<u64>; 2]);

impl Sources {
    fn new(size: usize) -> Self {
        Self([0, 1].map(|n| vec![pattern(n); size / 8]))
    }

    #[inline(always)]
    fn message(&mut self, n: u64) -> &[u8] {
        let words = &mut self.0[n as usize % 2];
        number(words, n);
        bytes(words)
    }
}

/// Writes the first and the last word of message `n`.
#[inline(always)]
fn number(words: &mut [u64], n: u64) {
    if let [first, .., last] = words {
        (*first, *last) = (n, n);
    }
}

#[inline(always)]
fn bytes(words: &[u64]) -> &[u8] {
    // SAFETY: words are bytes, eight each, all initialised, for as long.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}

#[inline(always)]
fn bytes_mut(words: &mut [u64]) -> &mut [u8] {
    // SAFETY: as in `bytes`; any bytes are words.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), size_of_val(words)) }
}

/// The words that lie in a ring or a buffer; all of them are aligned.
#[inline(always)]
fn words(bytes: &[u8]) -> anyhow::Result<&[u64]> {
    // SAFETY: any bytes are words.
    let (before, words, after) = unsafe { bytes.align_to::<u64>() };
    ensure!(before.is_empty() && after.is_empty(), "a message is not whole words");
    Ok(words)
}

/// Fails unless `words` are message `n`, of which every word is looked at.
#[inline(always)]
fn check(words: &[u64], n: u64) -> anyhow::Result<()> {
    let expected = pattern(n);
    if let [first, middle @ .., last] = words {
        let differ = middle.iter().fold(0, |differ, word| differ | (word ^ expected));
        if differ | (first ^ n) | (last ^ n) == 0 {
            return Ok(());
        }
    }
    bail!("message {n} came changed or out of order")
}

/// Fails unless the first and the last word say that it is message `n`.
#[inline(always)]
fn check_ends(words: &[u64], n: u64) -> anyhow::Result<()> {
    match words {
        [first, .., last] if (*first, *last) == (n, n) => Ok(()),
        _ => bail!("message {n} came changed or out of order"),
    }
}

/// Calls `each` with 0 to `n` - 1, and says how many ticks one took, the first quarter not counted:
/// by then both sides are at work and all memory has been touched.
fn timed(n: u64, mut each: impl FnMut(u64) -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let warm = n / 4;
    (0..warm).try_for_each(&mut each)?;
    let start = rdtsc();
    (warm..n).try_for_each(&mut each)?;
    Ok((rdtsc() - start) as f64 / (n - warm) as f64)
}

// ---- limits ------------------------------------------------------------------------------

/// From buffer to buffer on one core, and checked.
fn memcpy(_: &Cores, size: usize, n: u64) -> anyhow::Result<f64> {
    let mut sources = Sources::new(size);
    let mut middle = vec![vec![0u64; size / 8]; capacity(size).min(8)];
    timed(n, |i| {
        let to = &mut middle[i as usize % 8];
        bytes_mut(to).copy_from_slice(sources.message(i));
        check(black_box(to), i)
    })
}

/// Through bare memory between two threads: a copy in and a copy out, nothing else but a word for
/// each message that says that it is there, and one that says how far the reader is.
fn raw(cores: &Cores, size: usize, n: u64) -> anyhow::Result<f64> {
    let room = capacity(size) as u64;
    let mut memory = vec![0u64; room as usize * size / 8];
    let start = Shared(memory.as_mut_ptr());
    let there: Vec<_> = (0..room).map(|_| CacheLineU64::new(0)).collect();
    let read = CacheLineU64::new(0);
    let place = |i: u64| (i % room) as usize * size / 8;
    let (there, read, start) = (&there, &read, &start);
    let core = cores.producer;
    std::thread::scope(|scope| {
        let sending = scope.spawn(move || -> anyhow::Result<()> {
            machine::keep_to(core)?;
            let mut sources = Sources::new(size);
            for i in 0..n {
                while i >= read.load(Ordering::Acquire) + room {
                    spin_loop();
                }
                let message = sources.message(i);
                // SAFETY: within `memory`, and nobody's but this thread's: the reader is past it,
                // and comes again when it is told to.
                unsafe {
                    start
                        .0
                        .add(place(i))
                        .cast::<u8>()
                        .copy_from_nonoverlapping(message.as_ptr(), size);
                }
                there[(i % room) as usize].store(i + 1, Ordering::Release);
            }
            Ok(())
        });
        let mut buffer = vec![0u64; size / 8];
        let ticks = timed(n, |i| {
            while there[(i % room) as usize].load(Ordering::Acquire) != i + 1 {
                ensure!(!sending.is_finished() || i < n, "the sender has ended");
                spin_loop();
            }
            // SAFETY: within `memory`, and not written again before `read` says so.
            unsafe {
                buffer.as_mut_ptr().copy_from_nonoverlapping(start.0.add(place(i)), size / 8)
            };
            read.store(i + 1, Ordering::Release);
            check(&buffer, i)
        });
        sending.join().map_err(|_| anyhow::anyhow!("the sender panicked"))??;
        ticks
    })
}

/// Memory that two threads take turns with.
struct Shared(*mut u64);

// SAFETY: it is only a pointer; who follows it says why that is sound.
unsafe impl Sync for Shared {}

// ---- the second process ------------------------------------------------------------------

/// Starts the process that sends, with what it reads from as its input.
fn start(
    cores: &Cores,
    way: &str,
    size: usize,
    n: u64,
    address: &str,
    input: Stdio,
    output: Stdio,
) -> anyhow::Result<Sending> {
    let part = format!("{way} {size} {n} {} {address}", cores.producer);
    let child = Command::new(std::env::current_exe()?)
        .args(["--large-part", &part])
        .stdin(input)
        .stdout(output)
        .spawn()
        .context("cannot start the second process")?;
    Ok(Sending(child))
}

/// The second process, which ends with this.
struct Sending(Child);

impl Sending {
    fn end(mut self) -> anyhow::Result<()> {
        ensure!(self.0.wait()?.success(), "the second process failed");
        Ok(())
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends, as the arguments say: what the second process does.
pub(crate) fn serve(part: &str) -> anyhow::Result<()> {
    let words: Vec<_> = part.split(' ').collect();
    let &[way, size, n, core, address] = &words[..] else { bail!("not a part: {part}") };
    let (size, n) = (size.parse()?, n.parse()?);
    machine::keep_to(core.parse()?)?;
    match way {
        "ring-copied" => {
            let mut producer = UltraFastRing::open(address)?.exclusive_producer()?;
            let mut sources = Sources::new(size);
            for i in 0..n {
                let message = sources.message(i);
                while producer.send_fast(message, PriorityClass::Normal).is_err() {}
            }
        }
        "ring-in-place" => send_in_place(address, size, n, |words, i| {
            words.fill(pattern(i));
            number(words, i);
        })?,
        "ring-handed-over" => send_in_place(address, size, n, number)?,
        "ring-handed-over-first" => send_in_place(address, size, n, |words, i| words[0] = i)?,
        "pipe" | "socket" => {
            let mut output = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
            let mut sources = Sources::new(size);
            (0..n).try_for_each(|i| output.write_all(sources.message(i)))?;
        }
        "vmsplice" => splice(size, n)?,
        #[cfg(feature = "processes")]
        "iceoryx2-in-place" => iceoryx::send(address, size, n, true)?,
        #[cfg(feature = "processes")]
        "iceoryx2-handed-over" => iceoryx::send(address, size, n, false)?,
        _ => bail!("not a way: {way}"),
    }
    Ok(())
}

// ---- the ring ----------------------------------------------------------------------------

struct Named(String, UltraFastRing);

impl Named {
    fn new(size: usize, capacity: usize) -> anyhow::Result<Self> {
        let name = format!("versus-large-{}", std::process::id());
        let builder = Builder::new()
            .exclusive_producer()
            .exclusive_consumer()
            .capacity(capacity)
            .max_message(size);
        let ring = vouched(&builder).create(&name)?;
        Ok(Self(name, ring))
    }

    fn consumer(&self) -> anyhow::Result<Trusted<Consumer<Exclusive>>> {
        Ok(self.1.exclusive_consumer()?.trusted()?)
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        // Nobody else removes it; if somebody did, it is gone all the same.
        let _ = UltraFastRing::remove(&self.0);
    }
}

/// The same builder, its peers vouched for.
fn vouched(builder: &Builder) -> Builder {
    // SAFETY: the name is of this process, and the only other one to open the ring is this program
    // again.
    unsafe { builder.clone().trust_peers() }
}

fn send_in_place(
    address: &str,
    size: usize,
    n: u64,
    write: impl Fn(&mut [u64], u64),
) -> anyhow::Result<()> {
    let ring = vouched(&Builder::new()).open(address)?;
    let mut producer: Trusted<Producer<Exclusive>> = ring.exclusive_producer()?.trusted()?;
    if size == 40 {
        // Not in a side buffer: what a hand-over is compared with.
        for i in 0..n {
            let mut message = [0; 5];
            number(&mut message, i);
            while producer.send_fast(bytes(&message), PriorityClass::Normal).is_err() {}
        }
        return Ok(());
    }
    for i in 0..n {
        let mut place = loop {
            if let Ok(place) = producer.reserve(size, PriorityClass::Normal) {
                break place;
            }
        };
        // SAFETY: any bytes are words; a side buffer begins on a line.
        let (_, words, _) = unsafe { place.align_to_mut::<u64>() };
        write(words, i);
        place.commit();
    }
    Ok(())
}

fn ring_copied(cores: &Cores, size: usize, n: u64) -> anyhow::Result<f64> {
    let ring = Named::new(size, capacity(size))?;
    let mut consumer = ring.1.exclusive_consumer()?;
    let sending = start(cores, "ring-copied", size, n, &ring.0, Stdio::null(), Stdio::null())?;
    let mut buffer = vec![0u64; size / 8];
    let ticks = timed(n, |i| {
        while consumer.recv_fast(bytes_mut(&mut buffer)).is_err() {}
        check(&buffer, i)
    })?;
    sending.end()?;
    Ok(ticks)
}

fn borrowed(
    cores: &Cores,
    way: &str,
    size: usize,
    n: u64,
    capacity: usize,
    check: impl Fn(&[u64], u64) -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    let ring = Named::new(size, capacity)?;
    let mut consumer = ring.consumer()?;
    let sending = start(cores, way, size, n, &ring.0, Stdio::null(), Stdio::null())?;
    let ticks = timed(n, |i| {
        let message = loop {
            if let Ok(message) = consumer.borrow() {
                break message;
            }
        };
        check(words(&message)?, i)
    })?;
    sending.end()?;
    Ok(ticks)
}

fn ring_in_place(cores: &Cores, size: usize, n: u64) -> anyhow::Result<f64> {
    borrowed(cores, "ring-in-place", size, n, capacity(size), check)
}

fn ring_handed_over(cores: &Cores, size: usize, n: u64) -> anyhow::Result<f64> {
    borrowed(cores, "ring-handed-over", size, n.max(60_000), HANDED_OVER, check_ends)
}

/// Only the first word is written and looked at: two lines move instead of three, the slot's and
/// that.
fn ring_handed_over_first(cores: &Cores, size: usize, n: u64) -> anyhow::Result<f64> {
    let check_first = |words: &[u64], n: u64| {
        ensure!(words.first() == Some(&n), "message {n} came changed or out of order");
        Ok(())
    };
    borrowed(cores, "ring-handed-over-first", size, n.max(60_000), HANDED_OVER, check_first)
}

/// A message of 40 bytes in its slot, copied, which is what that is made for.
fn ring_small(cores: &Cores, _: usize, _: u64) -> anyhow::Result<f64> {
    let n = 200_000;
    let ring = Named::new(40, HANDED_OVER)?;
    let mut consumer = ring.1.exclusive_consumer()?;
    let way = "ring-handed-over";
    let sending = start(cores, way, 40, n, &ring.0, Stdio::null(), Stdio::null())?;
    let mut buffer = [0u64; 5];
    let ticks = timed(n, |i| {
        while consumer.recv_fast(bytes_mut(&mut buffer)).is_err() {}
        check_ends(&buffer, i)
    })?;
    sending.end()?;
    Ok(ticks)
}

// ---- the kernel --------------------------------------------------------------------------

fn received(sending: Sending, mut input: impl Read, size: usize, n: u64) -> anyhow::Result<f64> {
    let mut buffer = vec![0u64; size / 8];
    let ticks = timed(n, |i| {
        input.read_exact(bytes_mut(&mut buffer))?;
        check(&buffer, i)
    })?;
    sending.end()?;
    Ok(ticks)
}

/// Bytes that a pipe holds here, if the system lets it.
const PIPE: usize = 1 << 20;

fn piped(cores: &Cores, way: &str, size: usize, n: u64) -> anyhow::Result<f64> {
    let (reading, writing) = rustix::pipe::pipe()?;
    // As large as ordinary users may have it; a smaller one serves too.
    let _ = rustix::pipe::fcntl_setpipe_size(&writing, PIPE);
    let sending = start(cores, way, size, n, "-", Stdio::null(), Stdio::from(writing))?;
    received(sending, File::from(reading), size, n)
}

fn pipe(cores: &Cores, size: usize, n: u64) -> anyhow::Result<f64> {
    piped(cores, "pipe", size, n)
}

fn vmsplice(cores: &Cores, size: usize, n: u64) -> anyhow::Result<f64> {
    piped(cores, "vmsplice", size, n)
}

/// Lends the pipe pages instead of copying into it. A page may be written again when the reader
/// has it behind it: when more than a pipe can hold has been lent since.
fn splice(size: usize, n: u64) -> anyhow::Result<()> {
    let output = std::io::stdout();
    let held = rustix::pipe::fcntl_getpipe_size(&output)?;
    // A pipe holds so many pieces, which may be small.
    let pieces = held / 4096 + 2;
    let count = pieces.max(held / size + 2);
    let mut buffers: Vec<_> = (0..count).map(|n| vec![pattern(n as u64); size / 8]).collect();
    // Even, so that a buffer keeps its pattern.
    buffers.truncate(count & !1);
    for i in 0..n {
        let at = i as usize % buffers.len();
        number(&mut buffers[at], i);
        let mut rest = bytes(&buffers[at]);
        while !rest.is_empty() {
            // SAFETY: the pages are not written before the reader has them behind it, as above.
            let lent = unsafe {
                rustix::pipe::vmsplice(
                    &output,
                    &[rustix::pipe::IoSliceRaw::from_slice(rest)],
                    rustix::pipe::SpliceFlags::empty(),
                )
            }?;
            rest = &rest[lent..];
        }
    }
    // The last pages are the reader's until it has read them: this process must not end before.
    Ok(())
}

fn socket(cores: &Cores, size: usize, n: u64) -> anyhow::Result<f64> {
    let (reading, writing) = UnixStream::pair()?;
    let writing = Stdio::from(OwnedFd::from(writing));
    let sending = start(cores, "socket", size, n, "-", Stdio::null(), writing)?;
    received(sending, reading, size, n)
}

// ---- iceoryx2 ----------------------------------------------------------------------------

#[cfg(feature = "processes")]
mod iceoryx {
    use std::mem::MaybeUninit;

    use iceoryx2::port::{publisher::Publisher, subscriber::Subscriber};
    use iceoryx2::prelude::{BackpressureStrategy, LogLevel, NodeBuilder, ipc, set_log_level};
    use iceoryx2::service::port_factory::PortFactory as _;
    use iceoryx2::service::port_factory::publish_subscribe::PortFactory;

    use super::*;

    type Service = PortFactory<ipc::Service, [u64], ()>;

    /// How often a sender pauses that finds no room: about two microseconds.
    const PAUSES: u32 = 64;

    fn service(name: &str, size: usize) -> anyhow::Result<Service> {
        set_log_level(LogLevel::Error);
        let node = NodeBuilder::new().create::<ipc::Service>()?;
        let builder = node.service_builder(&name.try_into()?).publish_subscribe::<[u64]>();
        Ok(builder
            .enable_safe_overflow(false)
            .history_size(0)
            .max_publishers(1)
            .max_subscribers(1)
            .subscriber_max_buffer_size(capacity(size))
            .open_or_create()?)
    }

    /// Writes each message into a loan. It is sent again as long as there is no room: left to wait
    /// by itself (`RetryUntilDelivered`), version 0.10 loses the first message that finds none.
    pub(super) fn send(name: &str, size: usize, n: u64, whole: bool) -> anyhow::Result<()> {
        let service = service(name, size)?;
        let publisher: Publisher<ipc::Service, [u64], ()> = service
            .publisher_builder()
            .initial_max_slice_len(size / 8)
            .backpressure_strategy(BackpressureStrategy::DiscardData)
            .create()?;
        while service.dynamic_config().number_of_subscribers() == 0 {
            spin_loop();
        }
        let write_and_send = |i: u64| -> anyhow::Result<bool> {
            let mut loan = publisher.loan_slice_uninit(size / 8)?;
            let place = loan.payload_mut();
            if whole {
                place.fill(MaybeUninit::new(pattern(i)));
            }
            if let [first, .., last] = place {
                first.write(i);
                last.write(i);
            }
            // SAFETY: the memory is shared pages that were zero; any bytes are words.
            Ok(unsafe { loan.assume_init() }.send()? == 1)
        };
        for i in 0..n {
            while !write_and_send(i)? {
                // So that it does not write all the time what nobody takes.
                (0..PAUSES).for_each(|_| spin_loop());
            }
        }
        Ok(())
    }

    pub(super) fn receive(
        cores: &Cores,
        way: &str,
        size: usize,
        n: u64,
        check: impl Fn(&[u64], u64) -> anyhow::Result<()>,
    ) -> anyhow::Result<f64> {
        let name = format!("versus-large-{}-{}", std::process::id(), rdtsc());
        let service = service(&name, size)?;
        let subscriber: Subscriber<ipc::Service, [u64], ()> =
            service.subscriber_builder().create()?;
        let sending = start(cores, way, size, n, &name, Stdio::null(), Stdio::null())?;
        let ticks = timed(n, |i| {
            let sample = loop {
                if let Some(sample) = subscriber.receive()? {
                    break sample;
                }
            };
            check(sample.payload(), i)
        })?;
        sending.end()?;
        Ok(ticks)
    }
}

#[cfg(feature = "processes")]
fn iceoryx_in_place(cores: &Cores, size: usize, n: u64) -> anyhow::Result<f64> {
    iceoryx::receive(cores, "iceoryx2-in-place", size, n, check)
}

#[cfg(feature = "processes")]
fn iceoryx_handed_over(cores: &Cores, size: usize, n: u64) -> anyhow::Result<f64> {
    iceoryx::receive(cores, "iceoryx2-handed-over", size, n, check_ends)
}

// ---- the run -----------------------------------------------------------------------------

type Run = fn(&Cores, usize, u64) -> anyhow::Result<f64>;

/// The ways, each with what it is called.
fn ways() -> Vec<(&'static str, Run)> {
    vec![
        ("memcpy, one core", memcpy),
        ("raw exchange", raw),
        ("ring, copied", ring_copied),
        ("ring, in place", ring_in_place),
        ("ring, handed over", ring_handed_over),
        ("ring, handed over, first", ring_handed_over_first),
        ("ring, 40 bytes", ring_small),
        ("pipe", pipe),
        ("pipe, vmsplice", vmsplice),
        ("Unix socket", socket),
        #[cfg(feature = "processes")]
        ("iceoryx2, in place", iceoryx_in_place),
        #[cfg(feature = "processes")]
        ("iceoryx2, handed over", iceoryx_handed_over),
    ]
}

/// The readings of one way at one size.
struct Cell {
    way: &'static str,
    size: usize,
    /// Ticks a message.
    near: Vec<f64>,
    far: Vec<f64>,
}

/// Measures, `rounds` times, what is so called (all, if nothing is), and prints what came of it.
pub(crate) fn run(rounds: usize, only: &[String], as_json: bool) -> anyhow::Result<()> {
    let cores = machine::cores()?;
    machine::keep_to(cores.consumer)?;
    let wanted = |way: &str| only.is_empty() || only.iter().any(|text| way.contains(text.as_str()));
    let mut cells = Vec::new();
    for (size, n) in SIZES {
        for (way, run) in ways().into_iter().filter(|(way, _)| wanted(way)) {
            cells.push((Cell { way, size, near: vec![], far: vec![] }, run, n));
        }
    }
    ensure!(!cells.is_empty(), "no way is called that");
    let line = || limits::line(cores, limits::TRIPS);
    let mut before = line()?;
    for round in 0..rounds {
        for at in 0..cells.len() {
            // Rotated, so that none always follows the same other.
            let at = (at + round) % cells.len();
            let (cell, run, n) = &mut cells[at];
            let ticks = run(&cores, cell.size, *n);
            let Ok(ticks) = ticks.inspect_err(|error| {
                eprintln!("{}, {} bytes, left out of a round: {error:#}", cell.way, cell.size);
            }) else {
                continue;
            };
            let after = line()?;
            match Distance::throughout(before, after) {
                Some(Distance::Near) => cell.near.push(ticks),
                Some(Distance::Far) => cell.far.push(ticks),
                None => {}
            }
            before = after;
        }
    }
    let mut cells: Vec<_> = cells.into_iter().map(|(cell, ..)| cell).collect();
    for cell in &mut cells {
        cell.near.sort_by(f64::total_cmp);
        cell.far.sort_by(f64::total_cmp);
    }
    if as_json {
        println!("{:#}", report(&cells, cores));
    } else {
        print(&cells);
    }
    Ok(())
}

fn middle(sorted: &[f64]) -> Option<f64> {
    sorted.get(sorted.len() / 2).copied()
}

fn report(cells: &[Cell], cores: Cores) -> Value {
    let one = |sorted: &[f64], size: usize| {
        middle(sorted).map(|ticks| {
            json!({
                "ticks_per_message": ticks,
                "bytes_per_tick": size as f64 / ticks,
                "least": sorted.first(),
                "most": sorted.last(),
                "readings": sorted.len(),
            })
        })
    };
    json!({
        "machine": machine::describe(cores),
        "cases": cells
            .iter()
            .map(|cell| json!({
                "way": cell.way,
                "bytes": cell.size,
                "near": one(&cell.near, cell.size),
                "far": one(&cell.far, cell.size),
            }))
            .collect::<Vec<_>>(),
    })
}

fn print(cells: &[Cell]) {
    for (name, of) in [
        ("near", (|cell: &Cell| &cell.near[..]) as fn(&Cell) -> &[f64]),
        ("far", |cell: &Cell| &cell.far[..]),
    ] {
        if cells.iter().all(|cell| of(cell).is_empty()) {
            continue;
        }
        println!(
            "\n{name:<24} {:>9} {:>12} {:>8} {:>10} {:>12} {:>12} {:>5}",
            "bytes", "ticks", "bytes/tk", "of memcpy", "least", "most", "n"
        );
        for cell in cells {
            let Some(ticks) = middle(of(cell)) else { continue };
            let copy = cells.iter().find(|it| it.way.starts_with("memcpy") && it.size == cell.size);
            let ratio = copy.and_then(|copy| middle(of(copy))).map_or(0.0, |copy| copy / ticks);
            let (least, most) = (of(cell)[0], of(cell)[of(cell).len() - 1]);
            println!(
                "{:<24} {:>9} {ticks:>12.0} {:>8.2} {ratio:>10.2} {least:>12.0} {most:>12.0} {:>5}",
                cell.way,
                cell.size,
                cell.size as f64 / ticks,
                of(cell).len(),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_word_or_another_number_is_noticed() {
        let mut sources = Sources::new(256);
        for n in [0, 1, 7] {
            let message = words(sources.message(n)).unwrap().to_vec();
            assert!(check(&message, n).is_ok() && check_ends(&message, n).is_ok());
            assert!(check(&message, n + 2).is_err() && check_ends(&message, n + 2).is_err());
            for at in 0..message.len() {
                let mut changed = message.clone();
                changed[at] ^= 1;
                assert!(check(&changed, n).is_err(), "word {at}");
            }
        }
    }
}
