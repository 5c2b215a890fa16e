//! What the hardware allows: the cost of a timestamp and of a copy, a line there and back, a
//! stream of lines, a stream without regard to lines, and a line at fixed times.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::ensure;
use ultrafastring::{CacheLineU64, rdtsc};

use crate::case::{Case, Context, Pattern, Reading, Runner, Whose};
use crate::machine::Cores;
use crate::message::{Bytes, SIZE, check, message};
use crate::pattern::{duo, timed};
use crate::peer::{CAPACITIES, Peer};
use crate::queue::{FanOut, Queue, Receiver, Sender};

/// How often a line goes there and back in one reading of the distance.
pub(crate) const TRIPS: u64 = 3_000;

/// Messages of the packed stream between one announcement and the next.
const PACKED: u64 = 16;

pub(crate) fn cases() -> Vec<Case> {
    let case = |name: &str, pattern, capacity, messages, run| Case {
        name: name.to_string(),
        peer: "raw",
        whose: Whose::Nobody,
        pattern,
        capacity,
        size: SIZE,
        messages,
        limit: None,
        runner: Runner::within(run),
    };
    let mut cases = vec![
        case("rdtsc", Pattern::Limit, 0, 200_000, timestamp),
        case("memcpy", Pattern::Limit, 0, 400_000, copy),
        case("raw line", Pattern::RoundTrip, 0, 20_000, |context, case| {
            Ok(line(context.cores, case.messages)?.into())
        }),
    ];
    for capacity in CAPACITIES {
        let name = format!("raw stream {capacity}");
        cases.push(case(&name, Pattern::Stream, capacity, 400_000, stream));
    }
    cases.push(case("raw packed 256", Pattern::Batches(PACKED as usize), 256, 400_000, packed));
    let mut paced = Peer::threads::<Lines, Lines>("raw line", 0).paced().of(Whose::Nobody).cases;
    paced.extend(
        Peer::fan_out_threads::<Lines>("raw lines", 100_000).fan_out().of(Whose::Nobody).cases,
    );
    paced.iter_mut().for_each(|case| case.peer = "raw");
    cases.extend(paced);
    cases
}

fn timestamp(_: &mut Context, case: &Case) -> anyhow::Result<Reading> {
    let start = rdtsc();
    for _ in 0..case.messages {
        black_box(rdtsc());
    }
    Ok(((rdtsc() - start) as f64 / case.messages as f64).into())
}

/// Messages from one piece of memory to another, both in the core's first cache.
fn copy(_: &mut Context, case: &Case) -> anyhow::Result<Reading> {
    let from: [Bytes; 256] = std::array::from_fn(|at| message(at as u64));
    let mut to = [[0; SIZE]; 256];
    let ticks = timed(case.messages, |i| {
        let at = i as usize % 256;
        to[at] = *black_box(&from[at]);
        black_box(&mut to[at]);
        Ok(())
    })?;
    to.iter().enumerate().try_for_each(|(at, bytes)| check(bytes, at as u64))?;
    Ok(ticks.into())
}

/// Ticks for a line there and back.
pub(crate) fn line(cores: Cores, n: u64) -> anyhow::Result<f64> {
    let lines = [CacheLineU64::new(0), CacheLineU64::new(0)];
    duo(
        cores,
        || {
            for trip in 1..=n {
                while lines[0].load(Ordering::Acquire) != trip {}
                lines[1].store(trip, Ordering::Release);
            }
            Ok(())
        },
        || {
            let start = rdtsc();
            for trip in 1..=n {
                lines[0].store(trip, Ordering::Release);
                while lines[1].load(Ordering::Acquire) != trip {}
            }
            Ok((rdtsc() - start) as f64 / n as f64)
        },
    )
}

/// A line of eight words; the first says which message it holds.
#[repr(C, align(64))]
#[derive(Default)]
struct Line([AtomicU64; 8]);

/// The plainest exchange that carries 40 bytes a message in order: whole lines written in turn,
/// each marked by its first word, and one word now and then that says how far the reader is.
fn stream(context: &mut Context, case: &Case) -> anyhow::Result<Reading> {
    let (n, capacity) = (case.messages, case.capacity as u64);
    let lines: Vec<Line> = (0..capacity).map(|_| Line::default()).collect();
    let lines = &lines[..];
    let read = CacheLineU64::new(0);
    let mask = capacity - 1;
    let ticks = duo(
        context.cores,
        || {
            let mut room = capacity;
            for i in 0..n {
                while i >= room {
                    room = read.load(Ordering::Acquire) + capacity;
                }
                let line = &lines[(i & mask) as usize];
                write(line, i);
                line.0[0].store(i + 1, Ordering::Release);
            }
            Ok(())
        },
        || {
            timed(n, |i| {
                let line = &lines[(i & mask) as usize];
                while line.0[0].load(Ordering::Acquire) != i + 1 {}
                // The next position must not seem to follow from what was just loaded.
                let i = black_box(i);
                let sum = (3..8)
                    .fold(0u64, |sum, at| sum.wrapping_add(line.0[at].load(Ordering::Relaxed)));
                ensure!(sum == i.wrapping_mul(5), "line {i} came changed");
                if i % (capacity / 8) == 0 {
                    read.store(i + 1, Ordering::Release);
                }
                Ok(())
            })
        },
    )?;
    Ok(ticks.into())
}

/// Writes all of the line but its first word, 16 bytes at a time where that can be had.
#[inline(always)]
fn write(line: &Line, i: u64) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: aligned stores within the line, which only this thread writes; `asm!`, so that a
    // reader that looks at the same time is no data race of the language's.
    unsafe {
        use std::arch::x86_64::{__m128i, _mm_set1_epi64x};
        let value: __m128i = _mm_set1_epi64x(i as i64);
        std::arch::asm!(
            "movaps [{line} + 48], {value}",
            "movaps [{line} + 32], {value}",
            "movaps [{line} + 16], {value}",
            line = in(reg) line.0.as_ptr(),
            value = in(xmm_reg) value,
            options(nostack, preserves_flags),
        );
    }
    #[cfg(not(target_arch = "x86_64"))]
    line.0[2..].iter().for_each(|word| word.store(i, Ordering::Relaxed));
    // As a ring's meta word.
    line.0[1].store(i, Ordering::Relaxed);
}

/// Words of messages one after the other, without regard to lines, and announced 16 messages at a
/// time: fewer lines for as many bytes, and nothing that says of a message whether it is there.
fn packed(context: &mut Context, case: &Case) -> anyhow::Result<Reading> {
    const WORDS: usize = SIZE / 8;
    let (n, capacity) = (case.messages, case.capacity as u64);
    let words: Vec<AtomicU64> = (0..capacity as usize * WORDS).map(|_| AtomicU64::new(0)).collect();
    let words = &words[..];
    let (written, read) = (CacheLineU64::new(0), CacheLineU64::new(0));
    let message = |i: u64| &words[(i % capacity) as usize * WORDS..][..WORDS];
    let ticks = duo(
        context.cores,
        || {
            let mut room = capacity;
            for i in 0..n {
                while i >= room {
                    room = read.load(Ordering::Acquire) + capacity;
                }
                message(i).iter().for_each(|word| word.store(i, Ordering::Relaxed));
                if (i + 1) % PACKED == 0 || i + 1 == n {
                    written.store(i + 1, Ordering::Release);
                }
            }
            Ok(())
        },
        || {
            let mut there = 0;
            timed(n, |i| {
                while i >= there {
                    there = written.load(Ordering::Acquire);
                }
                let words = message(i).iter();
                let sum =
                    words.fold(0u64, |sum, word| sum.wrapping_add(word.load(Ordering::Relaxed)));
                ensure!(sum == i.wrapping_mul(WORDS as u64), "message {i} came changed");
                if i % (capacity / 8) == 0 {
                    read.store(i + 1, Ordering::Release);
                }
                Ok(())
            })
        },
    )?;
    Ok(ticks.into())
}

/// The raw stream of lines as a queue, for what is sent at fixed times, or to several readers.
struct Lines {
    lines: Vec<Line>,
    /// By reader.
    read: Vec<CacheLineU64>,
}

/// Either end of [`Lines`].
struct End<'q> {
    lines: &'q [Line],
    /// Of all readers, or, at a reader, its own.
    read: &'q [CacheLineU64],
    next: u64,
    /// The sender's: positions below are free.
    room: u64,
}

impl Lines {
    fn new(capacity: usize, readers: usize) -> Self {
        let lines = (0..capacity).map(|_| Line::default()).collect();
        Self { lines, read: (0..readers).map(|_| CacheLineU64::new(0)).collect() }
    }

    fn end<'q>(&'q self, read: &'q [CacheLineU64]) -> End<'q> {
        End { lines: &self.lines, read, next: 0, room: self.lines.len() as u64 }
    }
}

impl<const N: usize> Queue<N> for Lines {
    type Sender<'q> = End<'q>;
    type Receiver<'q> = End<'q>;

    fn create(_: &str, capacity: usize) -> anyhow::Result<Self> {
        Ok(Self::new(capacity, 1))
    }

    fn sender(&self) -> anyhow::Result<End<'_>> {
        Ok(self.end(&self.read))
    }

    fn receiver(&self) -> anyhow::Result<End<'_>> {
        Ok(self.end(&self.read))
    }
}

impl<const N: usize> FanOut<N> for Lines {
    type Sender<'q> = End<'q>;
    type Receiver<'q> = End<'q>;

    fn create(_: &str, capacity: usize, readers: usize) -> anyhow::Result<Self> {
        Ok(Self::new(capacity, readers))
    }

    fn sender(&self) -> anyhow::Result<End<'_>> {
        Ok(self.end(&self.read))
    }

    fn receiver(&self, at: usize) -> anyhow::Result<End<'_>> {
        Ok(self.end(&self.read[at..=at]))
    }
}

impl<const N: usize> Sender<N> for End<'_> {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        if self.next >= self.room {
            let read = self.read.iter().map(|read| read.load(Ordering::Acquire)).min();
            self.room = read.unwrap_or(0) + self.lines.len() as u64;
            if self.next >= self.room {
                return Ok(false);
            }
        }
        let line = &self.lines[self.next as usize % self.lines.len()];
        self.next += 1;
        for (word, chunk) in line.0[3..].iter().zip(bytes.chunks_exact(8)) {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(chunk);
            word.store(u64::from_le_bytes(bytes), Ordering::Relaxed);
        }
        // Release: pairs with the acquire in `receive`.
        line.0[0].store(self.next, Ordering::Release);
        Ok(true)
    }
}

impl<const N: usize> Receiver<N> for End<'_> {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        let line = &self.lines[self.next as usize % self.lines.len()];
        // Acquire: pairs with the release in `send`.
        if line.0[0].load(Ordering::Acquire) != self.next + 1 {
            return Ok(false);
        }
        self.next += 1;
        for (word, chunk) in line.0[3..].iter().zip(buffer.chunks_exact_mut(8)) {
            chunk.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
        if self.next.is_multiple_of(self.lines.len() as u64 / 8) {
            self.read[0].store(self.next, Ordering::Release);
        }
        Ok(true)
    }
}
