//! The ring itself. Two processes unless a case's name says otherwise: the producer is the
//! partner's.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::ensure;
use ultrafastring::{Builder, PriorityClass, Timestamps, UltraFastRing, rdtsc};

use crate::machine::{self, Cores};
use crate::message::{Bytes, SIZE, check, message, number};
use crate::{Case, Context};

pub(crate) fn cases() -> Vec<Case> {
    let case = |name, messages, run| Case { name, messages, run };
    vec![
        case("exclusive 256", 400_000, |c, n| exclusive(c, 256, Timestamps::Every, n)),
        case("exclusive 4096", 400_000, |c, n| exclusive(c, 4096, Timestamps::Every, n)),
        case("exclusive 256, 1 in 8 stamped", 400_000, |c, n| {
            exclusive(c, 256, Timestamps::OneIn(8), n)
        }),
        case("exclusive 256, no timestamps", 400_000, |c, n| exclusive(c, 256, Timestamps::Off, n)),
        case("exclusive 4096, no timestamps", 400_000, |c, n| {
            exclusive(c, 4096, Timestamps::Off, n)
        }),
        case("exclusive 256, batches of 16", 400_000, batches),
        case("shared 256", 200_000, |c, n| shared(c, 256, n)),
        case("shared 4096", 200_000, |c, n| shared(c, 4096, n)),
        case("&self 256", 200_000, by_reference),
        case("shared 256, 4 to 4 threads", 1_000_000, four_to_four),
        case("round trip", 20_000, round_trip),
        case("one thread", 200_000, one_thread),
    ]
}

/// Runs `produce` in a thread on the producer's core and `consume` in this one, begun together.
pub(crate) fn duo(
    cores: Cores,
    produce: impl FnOnce() -> anyhow::Result<()> + Send,
    consume: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (here, go) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let producer = scope.spawn(|| {
            let kept = machine::keep_to(cores.producer);
            here.store(true, Ordering::Release);
            while !go.load(Ordering::Acquire) {
                std::hint::spin_loop();
            }
            kept?;
            produce()
        });
        while !here.load(Ordering::Acquire) {
            std::hint::spin_loop();
        }
        go.store(true, Ordering::Release);
        let consumed = consume();
        producer.join().map_err(|_| anyhow::anyhow!("the producer panicked"))??;
        consumed
    })
}

/// Calls `each` with 0 to `n` - 1, and says how many ticks one took, the first eighth not counted:
/// by then both sides are at work.
#[inline(always)]
pub(crate) fn timed(
    n: u64,
    mut each: impl FnMut(u64) -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    let warm = n / 8;
    for i in 0..warm {
        each(i)?;
    }
    let start = rdtsc();
    for i in warm..n {
        each(i)?;
    }
    Ok((rdtsc() - start) as f64 / (n - warm) as f64)
}

/// A ring whose name goes with it.
struct Named(String, UltraFastRing);

impl Named {
    fn new(builder: &Builder, role: &str) -> anyhow::Result<Self> {
        let name = format!("versus-{}-{role}", std::process::id());
        let ring = builder.create(&name)?;
        Ok(Self(name, ring))
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        // Nobody else removes it; if somebody did, it is gone all the same.
        let _ = UltraFastRing::remove(&self.0);
    }
}

/// Receives `n` messages, checks each, and says how many ticks one took.
#[inline(always)]
fn receive(n: u64, mut receive: impl FnMut(&mut Bytes) -> bool) -> anyhow::Result<f64> {
    let mut buffer = [0; SIZE];
    timed(n, |i| {
        while !receive(&mut buffer) {}
        check(&buffer, i)
    })
}

fn exclusive(
    context: &mut Context,
    capacity: usize,
    timestamps: Timestamps,
    n: u64,
) -> anyhow::Result<f64> {
    let builder = Builder::new().exclusive_producer().exclusive_consumer();
    let ring = Named::new(&builder.capacity(capacity).timestamps(timestamps), "stream")?;
    let mut consumer = ring.1.exclusive_consumer()?;
    context.partner.tell("exclusive", &ring.0, n)?;
    let ticks = receive(n, |buffer| consumer.recv_fast(buffer).is_ok());
    context.partner.done()?;
    ticks
}

fn batches(context: &mut Context, n: u64) -> anyhow::Result<f64> {
    let builder = Builder::new().exclusive_producer().exclusive_consumer();
    let ring = Named::new(&builder, "batches")?;
    let mut consumer = ring.1.exclusive_consumer()?;
    context.partner.tell("batches", &ring.0, n)?;
    let mut buffers = [[0; SIZE]; 16];
    let (mut got, mut next) = (0, 0);
    let ticks = timed(n, |i| {
        if next == got {
            next = 0;
            got = loop {
                if let Ok(batch) = consumer.recv_batch(&mut buffers) {
                    break batch.len();
                }
            };
        }
        next += 1;
        check(&buffers[next - 1], i)
    });
    context.partner.done()?;
    ticks
}

fn shared(context: &mut Context, capacity: usize, n: u64) -> anyhow::Result<f64> {
    let ring = Named::new(&Builder::new().capacity(capacity), "shared")?;
    let mut consumer = ring.1.consumer()?;
    context.partner.tell("shared", &ring.0, n)?;
    let ticks = receive(n, |buffer| consumer.recv_fast(buffer).is_ok());
    context.partner.done()?;
    ticks
}

fn by_reference(context: &mut Context, n: u64) -> anyhow::Result<f64> {
    let ring = Named::new(&Builder::new(), "reference")?;
    context.partner.tell("reference", &ring.0, n)?;
    let ticks = receive(n, |buffer| ring.1.recv_fast(buffer).is_ok());
    context.partner.done()?;
    ticks
}

fn round_trip(context: &mut Context, n: u64) -> anyhow::Result<f64> {
    let builder = Builder::new().exclusive_producer().exclusive_consumer();
    let (there, back) = (Named::new(&builder, "there")?, Named::new(&builder, "back")?);
    let mut producer = there.1.exclusive_producer()?;
    let mut consumer = back.1.exclusive_consumer()?;
    context.partner.tell("echo", &format!("{} {}", there.0, back.0), n)?;
    let mut buffer = [0; SIZE];
    let ticks = timed(n, |i| {
        producer.send_fast(&message(i), PriorityClass::Normal)?;
        while consumer.recv_fast(&mut buffer).is_err() {}
        check(&buffer, i)
    });
    context.partner.done()?;
    ticks
}

fn one_thread(_: &mut Context, n: u64) -> anyhow::Result<f64> {
    let ring = Builder::new().exclusive_producer().exclusive_consumer().heap()?;
    let (mut producer, mut consumer) = (ring.exclusive_producer()?, ring.exclusive_consumer()?);
    let mut buffer = [0; SIZE];
    timed(n, |i| {
        producer.send_fast(&message(i), PriorityClass::Normal)?;
        consumer.recv_fast(&mut buffer)?;
        check(&buffer, i)
    })
}

fn four_to_four(context: &mut Context, n: u64) -> anyhow::Result<f64> {
    let ring = UltraFastRing::new(256);
    crowd(
        context.cores,
        n,
        || {
            let mut producer = ring.producer()?;
            Ok(move |bytes: &Bytes| producer.send_fast(bytes, PriorityClass::Normal).is_ok())
        },
        || {
            let mut consumer = ring.consumer()?;
            Ok(move |buffer: &mut Bytes| consumer.recv_fast(buffer).is_ok())
        },
    )
}

/// Four producers and four consumers on the two cores, that offer the core to others when there is
/// nothing to do. Each consumer checks that what it gets of one producer ascends; all together,
/// that nothing is missing.
pub(crate) fn crowd<S, R>(
    cores: Cores,
    n: u64,
    sender: impl Fn() -> anyhow::Result<S> + Sync,
    receiver: impl Fn() -> anyhow::Result<R> + Sync,
) -> anyhow::Result<f64>
where
    S: FnMut(&Bytes) -> bool,
    R: FnMut(&mut Bytes) -> bool,
{
    const EACH: u64 = 4;
    /// Tries before the core is offered to others.
    const SPINS: u32 = 30;
    let (received, sum) = (AtomicU64::new(0), AtomicU64::new(0));
    // Begun together, half of each side on either core, and free to move from there: a new thread
    // is where its parent is, and would stay there for as long as a reading takes.
    let together = Barrier::new(2 * EACH as usize + 1);
    let begin = |at: u64| -> anyhow::Result<()> {
        machine::keep_to(if at.is_multiple_of(2) { cores.producer } else { cores.consumer })?;
        machine::keep_to_both(cores)
    };
    let mut start = 0;
    std::thread::scope(|scope| {
        let (together, begin) = (&together, &begin);
        let producers: Vec<_> = (0..EACH)
            .map(|by| {
                let sender = &sender;
                scope.spawn(move || {
                    let (begun, sender) = (begin(by), sender());
                    together.wait();
                    begun?;
                    let mut send = sender?;
                    for i in 0..n / EACH {
                        let bytes = message(i * EACH + by);
                        let mut tries = 0u32;
                        while !send(&bytes) {
                            tries += 1;
                            if tries.is_multiple_of(SPINS) {
                                std::thread::yield_now();
                            }
                        }
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        let consumers: Vec<_> = (0..EACH)
            .map(|by| {
                let (receiver, received, sum) = (&receiver, &received, &sum);
                scope.spawn(move || {
                    let (begun, receiver) = (begin(by), receiver());
                    together.wait();
                    begun?;
                    let mut receive = receiver?;
                    let mut buffer = [0; SIZE];
                    let mut last = [None; EACH as usize];
                    let (mut unreported, mut own_sum, mut tries) = (0, 0, 0u32);
                    loop {
                        if receive(&mut buffer) {
                            let number = number(&buffer);
                            let of = number.unwrap_or(0) % EACH;
                            ensure!(number > last[of as usize], "a message came changed or late");
                            last[of as usize] = number;
                            own_sum += number.unwrap_or(0);
                            unreported += 1;
                            continue;
                        }
                        tries += 1;
                        if unreported != 0 {
                            received.fetch_add(unreported, Ordering::Relaxed);
                            unreported = 0;
                        }
                        if received.load(Ordering::Relaxed) == n {
                            sum.fetch_add(own_sum, Ordering::Relaxed);
                            return anyhow::Ok(());
                        }
                        if tries.is_multiple_of(SPINS) {
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        together.wait();
        start = rdtsc();
        for thread in producers.into_iter().chain(consumers) {
            thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        }
        anyhow::Ok(())
    })?;
    let ticks = rdtsc() - start;
    ensure!(sum.into_inner() == n * (n - 1) / 2, "a message is missing or came twice");
    Ok(ticks as f64 / n as f64)
}
