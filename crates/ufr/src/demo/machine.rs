//! The machine: its processor, and how far apart two cores are.

use std::sync::atomic::{AtomicU64, Ordering};

use ultrafastring::{CacheLineU64, rdtsc};

use super::cores::keep_to;

/// How often a cache line goes there and back in one reading.
const TRIPS: u64 = 20_000;

/// Reads `P,C`.
pub(super) fn two_cores(text: &str) -> Result<(usize, usize), String> {
    let (producer, consumer) = text.split_once(',').ok_or("write P,C, such as 0,1")?;
    let number = |text: &str| text.trim().parse().map_err(|error| format!("{text}: {error}"));
    Ok((number(producer)?, number(consumer)?))
}

/// Ticks for a cache line there and back between two cores; 0 if they are the same.
pub(super) fn line_round_trip((here, there): (usize, usize)) -> anyhow::Result<f64> {
    if here == there {
        return Ok(0.0);
    }
    let (ping, pong) = (CacheLineU64::new(0), CacheLineU64::new(0));
    // A side that cannot keep to its core says so here, and the other does not wait for ever.
    let failed = CacheLineU64::new(0);
    let await_value = |line: &AtomicU64, value| {
        // Acquire: pairs with the release of the other thread's store.
        while line.load(Ordering::Acquire) != value && failed.load(Ordering::Relaxed) == 0 {
            std::hint::spin_loop();
        }
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let kept = keep_to(there);
            failed.store(u64::from(kept.is_err()), Ordering::Relaxed);
            for trip in 1..=TRIPS {
                await_value(&ping, trip);
                pong.store(trip, Ordering::Release);
            }
            kept
        });
        let this = scope.spawn(|| {
            let kept = keep_to(here);
            if kept.is_err() {
                failed.store(1, Ordering::Relaxed);
            }
            let start = rdtsc();
            for trip in 1..=TRIPS {
                // Release: pairs with the acquire of the other thread's load.
                ping.store(trip, Ordering::Release);
                await_value(&pong, trip);
            }
            kept.map(|()| (rdtsc() - start) as f64 / TRIPS as f64)
        });
        let lost = "a measuring thread panicked";
        other.join().map_err(|_| anyhow::anyhow!(lost))??;
        this.join().map_err(|_| anyhow::anyhow!(lost))?
    })
}

/// What the kernel calls the processor.
pub(super) fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    named.map_or_else(|| std::env::consts::ARCH.to_string(), |(_, name)| name.trim().to_string())
}
