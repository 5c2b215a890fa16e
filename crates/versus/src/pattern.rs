//! The loops of the patterns, the same for every queue: both sides of each, between two threads,
//! two processes, or many threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use hdrhistogram::Histogram;
use ultrafastring::rdtsc;

use crate::case::{Across, Case, Context, Pattern, Reading, Runner};
use crate::crowd::crowd;
use crate::machine::{self, Cores};
use crate::message::{check, message, number};
use crate::partner::Hands;
use crate::queue::{Queue, Receiver, Sender};
use crate::urgent;

/// The most messages in a batch.
pub(crate) const LARGEST_BATCH: usize = 64;

/// Ticks from one paced message to the next: some microseconds, as far apart as all but the
/// slowest queues can follow.
pub(crate) const PACE: u64 = 10_000;

/// How long nothing is sent in `Pattern::Idle`.
const PAUSE: Duration = Duration::from_millis(20);

/// Tries before a thread that shares its core offers it to others.
const SPINS: u32 = 30;

/// A thread's tries in vain.
#[derive(Clone, Copy)]
pub(crate) struct Tries {
    in_vain: u32,
    shares_core: bool,
}

impl Tries {
    /// Of a thread that has its core to itself, or shares it with others of its case.
    pub(crate) fn new(shares_core: bool) -> Self {
        Self { in_vain: 0, shares_core }
    }

    /// After one of them; now and then offers the core to those who share it.
    #[inline(always)]
    pub(crate) fn again(&mut self) {
        self.in_vain = self.in_vain.wrapping_add(1);
        if self.shares_core && self.in_vain.is_multiple_of(SPINS) {
            std::thread::yield_now();
        }
    }
}

/// Runs `produce` in a thread on the producer's core and `consume` in this one, begun together.
/// What `produce` returns, its handles, lives until all is consumed.
///
/// If one fails this process ends with its error, since the other may wait for ever.
pub(crate) fn duo<H, T>(
    cores: Cores,
    produce: impl FnOnce() -> anyhow::Result<H> + Send,
    consume: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let (here, go) = (AtomicBool::new(false), AtomicBool::new(false));
    let consumed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let producer = scope.spawn(|| {
            let kept = machine::keep_to(cores.producer);
            here.store(true, Ordering::Release);
            while !go.load(Ordering::Acquire) {
                std::hint::spin_loop();
            }
            let produced = kept.and_then(|()| produce());
            let _handles = produced.unwrap_or_else(|error| end(&error));
            machine::tell_waited();
            while !consumed.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
        });
        while !here.load(Ordering::Acquire) {
            std::hint::spin_loop();
        }
        go.store(true, Ordering::Release);
        let reading = consume().unwrap_or_else(|error| end(&error));
        consumed.store(true, Ordering::Release);
        producer.join().map_err(|_| anyhow::anyhow!("the producer panicked"))?;
        Ok(reading)
    })
}

/// Ends this process: somebody else waits for what will not come.
pub(crate) fn end(error: &anyhow::Error) -> ! {
    eprintln!("\nversus: {error:#}");
    std::process::exit(1);
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

/// Runs cases of messages of `N` bytes on a queue between two threads of this process, or many.
pub(crate) fn threads<Q: Queue<N> + Sync, const N: usize>() -> Runner {
    Runner::within(between_threads::<Q, N>)
}

/// Runs cases of messages of `N` bytes on a queue between this process and the partner.
pub(crate) fn processes<Q: Queue<N>, const N: usize>() -> Runner {
    let serve = Some(serve::<Q, N> as _);
    Runner { across: Across::Processes, run: between_processes::<Q, N>, serve }
}

pub(crate) fn queue_name(role: &str) -> String {
    format!("versus-{}-{role}", std::process::id())
}

pub(crate) fn between_threads<Q: Queue<N> + Sync, const N: usize>(
    context: &mut Context,
    case: &Case,
) -> anyhow::Result<Reading> {
    let (n, cores) = (case.messages, context.cores);
    let queue = Q::create(&queue_name("a"), case.capacity)?;
    match case.pattern {
        Pattern::OneThread => ping(queue.sender()?, queue.receiver()?, n),
        Pattern::RoundTrip => {
            let back = Q::create(&queue_name("b"), case.capacity)?;
            duo(
                cores,
                // Taken in the thread that uses it: a handle on the other's stack would share a
                // line with what is there.
                || echo(queue.receiver()?, back.sender()?, n),
                || ping(queue.sender()?, back.receiver()?, n),
            )
        }
        Pattern::Crowd(producers, consumers) => crowd(cores, &queue, n, producers, consumers),
        pattern => duo(
            cores,
            || produce(queue.sender()?, pattern, n),
            || consume(queue.receiver()?, pattern, n),
        ),
    }
}

fn between_processes<Q: Queue<N>, const N: usize>(
    context: &mut Context,
    case: &Case,
) -> anyhow::Result<Reading> {
    let (n, pattern) = (case.messages, case.pattern);
    let partner = context.partner()?;
    let (there, back) = (queue_name("a"), queue_name("b"));
    let queue = Q::create(&there, case.capacity)?;
    let back_queue = pattern.goes_back().then(|| Q::create(&back, case.capacity)).transpose()?;
    let back = back_queue.as_ref().map_or(String::new(), |queue| queue.address(&back));
    partner.tell(&case.name, [queue.address(&there), back])?;
    let reading = match &back_queue {
        Some(back) => {
            let (sender, receiver) = (queue.sender()?, back.receiver()?);
            partner.is_ready()?;
            let reading = match pattern {
                Pattern::LargeRoundTrip => ping_large(sender, receiver, n)?,
                _ => ping(sender, receiver, n)?,
            };
            let memory = queue.memory().zip(back.memory()).map(|(there, back)| there + back);
            Reading { memory, ..reading }
        }
        None => {
            let receiver = queue.receiver()?;
            partner.is_ready()?;
            partner.go()?;
            consume(receiver, pattern, n)?
        }
    };
    partner.go()?;
    partner.is_done()?;
    Ok(reading)
}

/// The partner's part of [`between_processes`].
fn serve<Q: Queue<N>, const N: usize>(
    case: &Case,
    [there, back]: &[String; 2],
    hands: &mut Hands,
) -> anyhow::Result<()> {
    let (n, pattern) = (case.messages, case.pattern);
    let queue = Q::open(there, case.capacity)?;
    if pattern.goes_back() {
        let back = Q::open(back, case.capacity)?;
        let (receiver, sender) = (queue.receiver()?, back.sender()?);
        hands.ready()?;
        if pattern == Pattern::LargeRoundTrip {
            let _handles = echo_large(receiver, sender, n)?;
            return hands.wait_for_go();
        }
        let _handles = echo(receiver, sender, n)?;
        return hands.wait_for_go();
    }
    let sender = queue.sender()?;
    hands.ready()?;
    hands.wait_for_go()?;
    let _sender = produce(sender, pattern, n)?;
    // When all is consumed the handles may go.
    hands.wait_for_go()
}

fn produce<H: Sender<N>, const N: usize>(sender: H, pattern: Pattern, n: u64) -> anyhow::Result<H> {
    match pattern {
        Pattern::Stream | Pattern::WaitingStream => send_stream(sender, n),
        Pattern::Batches(batch) => send_batches(sender, n, batch),
        Pattern::InPlace(batch) => fill(sender, n, batch),
        Pattern::Large => fill(sender, n, 1),
        Pattern::Paced => send_paced(sender, n),
        Pattern::Idle => send_late(sender),
        Pattern::Urgent => urgent::send(sender, n),
        _ => bail!("not a pattern of two sides: {pattern:?}"),
    }
}

fn consume<const N: usize>(
    receiver: impl Receiver<N>,
    pattern: Pattern,
    n: u64,
) -> anyhow::Result<Reading> {
    match pattern {
        Pattern::Stream | Pattern::WaitingStream => receive_stream(receiver, n),
        Pattern::Batches(batch) => receive_batches(receiver, n, batch),
        Pattern::InPlace(batch) => drain(receiver, n, batch),
        Pattern::Large => drain(receiver, n, 1),
        Pattern::Paced => receive_paced(receiver, n),
        Pattern::Idle => wait_idle(receiver),
        Pattern::Urgent => urgent::receive(receiver, n),
        _ => bail!("not a pattern of two sides: {pattern:?}"),
    }
}

/// Sends the messages 0 to `n` - 1, each as soon as there is room. A function of its own for each
/// kind of queue and pattern, as a program's loop would be; so are those that follow.
#[inline(never)]
fn send_stream<H: Sender<N>, const N: usize>(mut sender: H, n: u64) -> anyhow::Result<H> {
    for i in 0..n {
        let bytes = message(i);
        while !sender.send(&bytes)? {}
    }
    Ok(sender)
}

#[inline(never)]
fn receive_stream<H: Receiver<N>, const N: usize>(
    mut receiver: H,
    n: u64,
) -> anyhow::Result<Reading> {
    if H::DRAINS {
        return drain(receiver, n, usize::MAX);
    }
    let mut buffer = [0; N];
    let ticks = timed(n, |i| {
        while !receiver.receive(&mut buffer)? {}
        check(&buffer, i)
    })?;
    Ok(ticks.into())
}

/// Builds each batch in memory, and sends from there: the rule for all queues.
#[inline(never)]
fn send_batches<H: Sender<N>, const N: usize>(
    mut sender: H,
    n: u64,
    batch: usize,
) -> anyhow::Result<H> {
    let mut messages = [[0; N]; LARGEST_BATCH];
    let batch = batch.min(LARGEST_BATCH);
    for first in (0..n).step_by(batch) {
        let count = (n - first).min(batch as u64) as usize;
        for (at, bytes) in messages[..count].iter_mut().enumerate() {
            *bytes = message(first + at as u64);
        }
        let mut sent = 0;
        while sent < count {
            sent += sender.send_batch(&messages[sent..count])?;
        }
    }
    Ok(sender)
}

/// Receives into memory, and checks there.
#[inline(never)]
fn receive_batches<const N: usize>(
    mut receiver: impl Receiver<N>,
    n: u64,
    batch: usize,
) -> anyhow::Result<Reading> {
    let mut buffers = [[0; N]; LARGEST_BATCH];
    let buffers = &mut buffers[..batch.min(LARGEST_BATCH)];
    in_batches(n, |next| {
        let count = receiver.receive_batch(buffers)?;
        for (at, bytes) in buffers[..count].iter().enumerate() {
            check(bytes, next + at as u64)?;
        }
        Ok(count as u64)
    })
}

#[inline(never)]
fn fill<H: Sender<N>, const N: usize>(mut sender: H, n: u64, batch: usize) -> anyhow::Result<H> {
    for first in (0..n).step_by(batch) {
        let last = n.min(first + batch as u64);
        let mut next = first;
        while next < last {
            next += sender.fill(next, (last - next) as usize)? as u64;
        }
    }
    Ok(sender)
}

#[inline(never)]
fn drain<const N: usize>(
    mut receiver: impl Receiver<N>,
    n: u64,
    batch: usize,
) -> anyhow::Result<Reading> {
    in_batches(n, |next| Ok(receiver.drain(next, batch)? as u64))
}

/// As [`timed`], where each call takes several messages and says how many.
#[inline(always)]
pub(crate) fn in_batches(
    n: u64,
    mut each: impl FnMut(u64) -> anyhow::Result<u64>,
) -> anyhow::Result<Reading> {
    let mut next = 0;
    while next < n / 8 {
        next += each(next)?;
    }
    let (start, warm) = (rdtsc(), next);
    while next < n {
        next += each(next)?;
    }
    Ok(((rdtsc() - start) as f64 / (n - warm) as f64).into())
}

/// Sends a message and receives one, on two queues or, in one thread, on the same.
#[inline(never)]
fn ping<const N: usize>(
    mut sender: impl Sender<N>,
    mut receiver: impl Receiver<N>,
    n: u64,
) -> anyhow::Result<Reading> {
    let mut buffer = [0; N];
    let ticks = timed(n, |i| {
        let bytes = message(i);
        while !sender.send(&bytes)? {}
        while !receiver.receive(&mut buffer)? {}
        check(&buffer, i)
    })?;
    Ok(ticks.into())
}

#[inline(never)]
fn echo<R: Receiver<N>, H: Sender<N>, const N: usize>(
    mut receiver: R,
    mut sender: H,
    n: u64,
) -> anyhow::Result<(R, H)> {
    let mut buffer = [0; N];
    for _ in 0..n {
        while !receiver.receive(&mut buffer)? {}
        while !sender.send(&buffer)? {}
    }
    Ok((receiver, sender))
}

/// As [`ping`], of messages that lie in memory or in the queue.
#[inline(never)]
fn ping_large<const N: usize>(
    mut sender: impl Sender<N>,
    mut receiver: impl Receiver<N>,
    n: u64,
) -> anyhow::Result<Reading> {
    let ticks = timed(n, |i| {
        while sender.fill(i, 1)? == 0 {}
        while receiver.drain(i, 1)? == 0 {}
        Ok(())
    })?;
    Ok(ticks.into())
}

#[inline(never)]
fn echo_large<R: Receiver<N>, H: Sender<N>, const N: usize>(
    mut receiver: R,
    mut sender: H,
    n: u64,
) -> anyhow::Result<(R, H)> {
    for i in 0..n {
        while receiver.drain(i, 1)? == 0 {}
        while sender.fill(i, 1)? == 0 {}
    }
    Ok((receiver, sender))
}

/// Sends each message when it is due; its number is the tick when it was.
#[inline(never)]
fn send_paced<H: Sender<N>, const N: usize>(mut sender: H, n: u64) -> anyhow::Result<H> {
    let mut due = rdtsc() + PACE;
    for _ in 0..n {
        while rdtsc() < due {}
        let bytes = message(due);
        while !sender.send(&bytes)? {}
        due += PACE;
    }
    Ok(sender)
}

/// Counts from when a message was due and not from when it was sent: a sender that is held up does
/// not hide what its messages had to wait (coordinated omission).
#[inline(never)]
fn receive_paced<const N: usize>(
    mut receiver: impl Receiver<N>,
    n: u64,
) -> anyhow::Result<Reading> {
    // Three digits are kept; a second is the longest that is told apart.
    let mut latency = Histogram::new_with_bounds(1, 10_000_000_000, 3)?;
    let mut buffer = [0; N];
    let mut next = None;
    for i in 0..n {
        while !receiver.receive(&mut buffer)? {}
        let now = rdtsc();
        let due = number(&buffer).filter(|&due| next.is_none_or(|next| next == due));
        let Some(due) = due else { bail!("paced message {i} came changed or out of order") };
        next = Some(due + PACE);
        if i >= n / 8 {
            latency.saturating_record(now.saturating_sub(due).max(1));
        }
    }
    let value = latency.value_at_quantile(0.999) as f64;
    Ok(Reading { latency: Some(latency), ..value.into() })
}

fn send_late<H: Sender<N>, const N: usize>(mut sender: H) -> anyhow::Result<H> {
    std::thread::sleep(PAUSE);
    while !sender.send(&message(0))? {}
    Ok(sender)
}

/// How much of its core the receiver uses while nothing comes.
fn wait_idle<const N: usize>(mut receiver: impl Receiver<N>) -> anyhow::Result<Reading> {
    let (start, used) = (Instant::now(), machine::time_on_core());
    let mut buffer = [0; N];
    receiver.wait(&mut buffer)?;
    check(&buffer, 0)?;
    let used = machine::time_on_core() - used;
    Ok((100.0 * used.as_secs_f64() / start.elapsed().as_secs_f64()).into())
}

/// Sends, of the messages 0 to `n` - 1, number `at` and each `by`-th after it.
#[inline(never)]
pub(crate) fn send_share<H: Sender<N>, const N: usize>(
    mut sender: H,
    [at, by]: [u64; 2],
    n: u64,
    tries: Tries,
) -> anyhow::Result<H> {
    for i in 0..n / by {
        let bytes = message(i * by + at);
        let mut tries = tries;
        while !sender.send(&bytes)? {
            tries.again();
        }
    }
    Ok(sender)
}
