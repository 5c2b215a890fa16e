//! What others offer: across threads rtrb and crossbeam's queue, across processes a pipe.

use std::io::Read;

use crate::message::{Bytes, SIZE, check, message};
use crate::own::{crowd, duo, timed};
use crate::{Case, Context};

use crossbeam_queue::ArrayQueue;
use rtrb::{PushError, RingBuffer};

pub(crate) fn cases() -> Vec<Case> {
    let case = |name, messages, run| Case { name, messages, run };
    vec![
        case("rtrb 256", 400_000, |c, n| rtrb(c, 256, n)),
        case("rtrb 4096", 400_000, |c, n| rtrb(c, 4096, n)),
        case("rtrb round trip", 20_000, rtrb_round_trip),
        case("ArrayQueue 256", 100_000, |c, n| array_queue(c, 256, n)),
        case("ArrayQueue 4096", 100_000, |c, n| array_queue(c, 4096, n)),
        case("ArrayQueue 256, 4 to 4 threads", 1_000_000, array_queue_four_to_four),
        case("pipe", 20_000, pipe),
    ]
}

fn rtrb(context: &mut Context, capacity: usize, n: u64) -> anyhow::Result<f64> {
    let (mut producer, mut consumer) = RingBuffer::<Bytes>::new(capacity);
    let mut ticks = 0.0;
    duo(
        context.cores,
        // Moved: a handle on the other thread's stack would share a line with what is there.
        move || {
            for i in 0..n {
                let mut bytes = message(i);
                while let Err(PushError::Full(back)) = producer.push(bytes) {
                    bytes = back;
                }
            }
            Ok(())
        },
        || {
            ticks = timed(n, |i| {
                loop {
                    if let Ok(bytes) = consumer.pop() {
                        return check(&bytes, i);
                    }
                }
            })?;
            Ok(())
        },
    )?;
    Ok(ticks)
}

fn rtrb_round_trip(context: &mut Context, n: u64) -> anyhow::Result<f64> {
    let (mut there, mut arrived) = RingBuffer::<Bytes>::new(256);
    let (mut back, mut returned) = RingBuffer::<Bytes>::new(256);
    let mut ticks = 0.0;
    duo(
        context.cores,
        // Moved: as above.
        move || {
            for _ in 0..n {
                let bytes = loop {
                    if let Ok(bytes) = arrived.pop() {
                        break bytes;
                    }
                };
                back.push(bytes)?;
            }
            Ok(())
        },
        || {
            ticks = timed(n, |i| {
                there.push(message(i))?;
                loop {
                    if let Ok(bytes) = returned.pop() {
                        return check(&bytes, i);
                    }
                }
            })?;
            Ok(())
        },
    )?;
    Ok(ticks)
}

fn array_queue(context: &mut Context, capacity: usize, n: u64) -> anyhow::Result<f64> {
    let queue = ArrayQueue::<Bytes>::new(capacity);
    let mut ticks = 0.0;
    duo(
        context.cores,
        || {
            for i in 0..n {
                let mut bytes = message(i);
                while let Err(back) = queue.push(bytes) {
                    bytes = back;
                }
            }
            Ok(())
        },
        || {
            ticks = timed(n, |i| {
                loop {
                    if let Some(bytes) = queue.pop() {
                        return check(&bytes, i);
                    }
                }
            })?;
            Ok(())
        },
    )?;
    Ok(ticks)
}

fn array_queue_four_to_four(context: &mut Context, n: u64) -> anyhow::Result<f64> {
    let queue = ArrayQueue::<Bytes>::new(256);
    crowd(
        context.cores,
        n,
        || Ok(|bytes: &Bytes| queue.push(*bytes).is_ok()),
        || Ok(|buffer: &mut Bytes| queue.pop().map(|bytes| *buffer = bytes).is_some()),
    )
}

/// One write and one read a message.
fn pipe(context: &mut Context, n: u64) -> anyhow::Result<f64> {
    context.partner.tell("pipe", "-", n)?;
    let mut buffer = [0; SIZE];
    let ticks = timed(n, |i| {
        context.partner.output.read_exact(&mut buffer)?;
        check(&buffer, i)
    });
    context.partner.done()?;
    ticks
}
