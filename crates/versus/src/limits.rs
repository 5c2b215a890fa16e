//! What the hardware allows: the cost of a timestamp, a line there and back, a stream of lines.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::ensure;
use ultrafastring::{CacheLineU64, rdtsc};

use crate::own::{duo, timed};
use crate::{Case, Context};

/// How often a line goes there and back in one reading.
pub(crate) const TRIPS: u64 = 3_000;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case { name: "rdtsc", messages: 200_000, run: timestamp },
        Case { name: "raw line", messages: 20_000, run: line },
        Case { name: "raw stream 256", messages: 400_000, run: |c, n| stream(c, 256, n) },
        Case { name: "raw stream 4096", messages: 400_000, run: |c, n| stream(c, 4096, n) },
    ]
}

fn timestamp(_: &mut Context, n: u64) -> anyhow::Result<f64> {
    let start = rdtsc();
    for _ in 0..n {
        black_box(rdtsc());
    }
    Ok((rdtsc() - start) as f64 / n as f64)
}

/// Ticks for a line there and back.
pub(crate) fn line(context: &mut Context, n: u64) -> anyhow::Result<f64> {
    let lines = [CacheLineU64::new(0), CacheLineU64::new(0)];
    let mut ticks = 0;
    duo(
        context.cores,
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
            ticks = rdtsc() - start;
            Ok(())
        },
    )?;
    Ok(ticks as f64 / n as f64)
}

/// A line of eight words; the first says which message it holds.
#[repr(C, align(64))]
#[derive(Default)]
struct Line([AtomicU64; 8]);

/// The plainest exchange that carries 40 bytes a message in order: whole lines written in turn,
/// each marked by its first word, and one word now and then that says how far the reader is.
fn stream(context: &mut Context, capacity: u64, n: u64) -> anyhow::Result<f64> {
    let lines: Vec<Line> = (0..capacity).map(|_| Line::default()).collect();
    let lines = &lines[..];
    let read = CacheLineU64::new(0);
    let mask = capacity - 1;
    let mut ticks = 0.0;
    duo(
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
            ticks = timed(n, |i| {
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
            })?;
            Ok(())
        },
    )?;
    Ok(ticks)
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
