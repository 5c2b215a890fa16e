//! The loops of the patterns, the same for every queue: both sides of each, between two threads,
//! two processes, or many threads.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{bail, ensure};
use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use ultrafastring::rdtsc;

use crate::case::{Case, Context, Pattern, Reading};
use crate::machine::{self, Cores};
use crate::message::{Bytes, SIZE, SMALL, check, message, number};
use crate::partner::{Hands, Order};
use crate::queue::{Queue, Receiver, Sender};

/// The most messages in a batch.
pub(crate) const LARGEST_BATCH: usize = 64;

/// Ticks from one paced message to the next: some microseconds, as far apart as all but the
/// slowest queues can follow.
pub(crate) const PACE: u64 = 10_000;

/// How long nothing is sent in `Pattern::Idle`.
const PAUSE: Duration = Duration::from_millis(20);

/// Tries before a thread of a crowd offers its core to others.
const SPINS: u32 = 30;

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
fn end(error: &anyhow::Error) -> ! {
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

/// Runs `case` on a queue between two threads of this process, or many.
pub(crate) fn threads<Q, S>(context: &mut Context, case: &Case) -> anyhow::Result<Reading>
where
    Q: Queue<SIZE> + Sync,
    S: Queue<SMALL> + Sync,
{
    if case.size == SMALL {
        between_threads::<S, SMALL>(context, case)
    } else {
        between_threads::<Q, SIZE>(context, case)
    }
}

/// Runs `case` on a queue between this process and the partner.
pub(crate) fn processes<Q, S>(context: &mut Context, case: &Case) -> anyhow::Result<Reading>
where
    Q: Queue<SIZE>,
    S: Queue<SMALL>,
{
    if case.size == SMALL {
        between_processes::<S, SMALL>(context, case)
    } else {
        between_processes::<Q, SIZE>(context, case)
    }
}

/// The partner's part of [`processes`].
pub(crate) fn serve<Q, S>(order: &Order, hands: &mut Hands) -> anyhow::Result<()>
where
    Q: Queue<SIZE>,
    S: Queue<SMALL>,
{
    if order.size == SMALL {
        serve_size::<S, SMALL>(order, hands)
    } else {
        serve_size::<Q, SIZE>(order, hands)
    }
}

fn queue_name(role: &str) -> String {
    format!("versus-{}-{role}", std::process::id())
}

fn between_threads<Q, const N: usize>(context: &mut Context, case: &Case) -> anyhow::Result<Reading>
where
    Q: Queue<N> + Sync,
{
    let (n, cores) = (case.messages, context.cores);
    let queue = Q::create(&queue_name("a"), case.capacity)?;
    match case.pattern {
        Pattern::OneThread => one_thread(queue.sender()?, queue.receiver()?, n),
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
    let n = case.messages;
    let partner = &mut context.partner;
    let (there, back) = (queue_name("a"), queue_name("b"));
    if case.pattern == Pattern::RoundTrip {
        let queues = (Q::create(&there, case.capacity)?, Q::create(&back, case.capacity)?);
        partner.tell(case, [queues.0.address(&there), queues.1.address(&back)])?;
        let (sender, receiver) = (queues.0.sender()?, queues.1.receiver()?);
        partner.is_ready()?;
        let reading = ping(sender, receiver, n)?;
        partner.go()?;
        partner.is_done()?;
        return Ok(reading);
    }
    let queue = Q::create(&there, case.capacity)?;
    partner.tell(case, [queue.address(&there), String::new()])?;
    let receiver = queue.receiver()?;
    partner.is_ready()?;
    partner.go()?;
    let reading = consume(receiver, case.pattern, n)?;
    partner.go()?;
    partner.is_done()?;
    Ok(reading)
}

fn serve_size<Q: Queue<N>, const N: usize>(order: &Order, hands: &mut Hands) -> anyhow::Result<()> {
    let queue = Q::open(&order.addresses[0], order.capacity)?;
    if order.pattern == Pattern::RoundTrip {
        let back = Q::open(&order.addresses[1], order.capacity)?;
        let (receiver, sender) = (queue.receiver()?, back.sender()?);
        hands.ready()?;
        let handles = echo(receiver, sender, order.messages)?;
        hands.wait_for_go()?;
        drop(handles);
        return hands.done();
    }
    let sender = queue.sender()?;
    hands.ready()?;
    hands.wait_for_go()?;
    let sender = produce(sender, order.pattern, order.messages)?;
    // All is consumed: the handle may go.
    hands.wait_for_go()?;
    drop(sender);
    hands.done()
}

fn produce<H: Sender<N>, const N: usize>(sender: H, pattern: Pattern, n: u64) -> anyhow::Result<H> {
    match pattern {
        Pattern::Stream => send_stream(sender, n),
        Pattern::Batches(batch) => send_batches(sender, n, batch),
        Pattern::InPlace(batch) => fill(sender, n, batch),
        Pattern::Paced => send_paced(sender, n),
        Pattern::Idle => send_late(sender),
        _ => bail!("not a pattern of two sides: {pattern:?}"),
    }
}

fn consume<const N: usize>(
    receiver: impl Receiver<N>,
    pattern: Pattern,
    n: u64,
) -> anyhow::Result<Reading> {
    match pattern {
        Pattern::Stream => receive_stream(receiver, n),
        Pattern::Batches(batch) => receive_batches(receiver, n, batch),
        Pattern::InPlace(batch) => drain(receiver, n, batch),
        Pattern::Paced => receive_paced(receiver, n),
        Pattern::Idle => wait_idle(receiver),
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
fn in_batches(n: u64, mut each: impl FnMut(u64) -> anyhow::Result<u64>) -> anyhow::Result<Reading> {
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

#[inline(never)]
fn one_thread<const N: usize>(
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
    Ok(Reading { value: latency.value_at_quantile(0.999) as f64, latency: Some(latency) })
}

fn send_late<H: Sender<N>, const N: usize>(mut sender: H) -> anyhow::Result<H> {
    std::thread::sleep(PAUSE);
    while !sender.send(&message(0))? {}
    Ok(sender)
}

/// How much of its core the receiver uses while nothing comes.
fn wait_idle<const N: usize>(mut receiver: impl Receiver<N>) -> anyhow::Result<Reading> {
    let now = || {
        let [used, passed] = [ClockId::ThreadCPUTime, ClockId::Monotonic].map(clock_gettime);
        [used, passed].map(|it| it.tv_sec as f64 + it.tv_nsec as f64 / 1e9)
    };
    let [used, passed] = now();
    let mut buffer = [0; N];
    receiver.wait(&mut buffer)?;
    check(&buffer, 0)?;
    let [used_then, passed_then] = now();
    Ok((100.0 * (used_then - used) / (passed_then - passed)).into())
}

/// Producers and consumers on the two cores, that offer the core to others when there is nothing
/// to do. Each consumer checks that what it gets of one producer ascends; all together, that
/// nothing is missing.
fn crowd<Q: Queue<N> + Sync, const N: usize>(
    cores: Cores,
    queue: &Q,
    n: u64,
    producers: usize,
    consumers: usize,
) -> anyhow::Result<Reading> {
    let by = producers as u64;
    let n = n / by * by;
    let (received, sum) = (AtomicU64::new(0), AtomicU64::new(0));
    // Begun together, half of each side on either core, where they stay: free, they may end up on
    // one, where nothing travels.
    let together = Barrier::new(producers + consumers + 1);
    let begin = |at: usize| {
        machine::keep_to(if at.is_multiple_of(2) { cores.producer } else { cores.consumer })
    };
    let mut start = 0;
    std::thread::scope(|scope| {
        let (together, begin, received, sum) = (&together, &begin, &received, &sum);
        for at in 0..producers {
            scope.spawn(move || {
                let ready = begin(at).and_then(|()| queue.sender());
                together.wait();
                ready
                    .and_then(|sender| send_share(sender, at as u64, by, n))
                    .unwrap_or_else(|error| end(&error));
            });
        }
        for at in 0..consumers {
            scope.spawn(move || {
                // The other core first, so that one to one is on two.
                let ready = begin(at + 1).and_then(|()| queue.receiver());
                together.wait();
                ready
                    .and_then(|receiver| receive_share(receiver, by, n, received, sum))
                    .unwrap_or_else(|error| end(&error));
            });
        }
        together.wait();
        start = rdtsc();
    });
    let ticks = rdtsc() - start;
    ensure!(sum.into_inner() == n * (n - 1) / 2, "a message is missing or came twice");
    Ok((ticks as f64 / n as f64).into())
}

#[inline(never)]
fn send_share<const N: usize>(
    mut sender: impl Sender<N>,
    at: u64,
    by: u64,
    n: u64,
) -> anyhow::Result<()> {
    for i in 0..n / by {
        let bytes = message(i * by + at);
        let mut tries = 0u32;
        while !sender.send(&bytes)? {
            tries += 1;
            if tries.is_multiple_of(SPINS) {
                std::thread::yield_now();
            }
        }
    }
    Ok(())
}

#[inline(never)]
fn receive_share<const N: usize>(
    mut receiver: impl Receiver<N>,
    by: u64,
    n: u64,
    received: &AtomicU64,
    sum: &AtomicU64,
) -> anyhow::Result<()> {
    let mut buffer: Bytes<N> = [0; N];
    let mut last = vec![None; by as usize];
    let (mut unreported, mut own_sum, mut tries) = (0, 0, 0u32);
    loop {
        if receiver.receive(&mut buffer)? {
            let number = number(&buffer);
            let of = number.unwrap_or(0) % by;
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
            return Ok(());
        }
        if tries.is_multiple_of(SPINS) {
            std::thread::yield_now();
        }
    }
}
