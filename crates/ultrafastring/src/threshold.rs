//! Times after which calls act, in ticks of this machine's counter.
//!
//! A counter runs at 1 to 5 GHz on x86, and at 19 MHz to 1 GHz on Arm. So these times are written
//! in nanoseconds here, and converted once a process. They are compared with differences of
//! [`rdtsc`](crate::rdtsc), which is far cheaper than asking the system for the time.

// Not the atomics of `sync`: these are statics, and the protocol does not depend on them.
use core::sync::atomic::{AtomicU64, Ordering};

use crate::clock::{ASSUMED_RATE, known_rate, ticks_in};
use crate::coalesce::WINDOW;

/// A length of time.
#[derive(Debug)]
pub(crate) struct Threshold {
    nanoseconds: u64,
    ticks: AtomicU64,
}

impl Threshold {
    const fn of(nanoseconds: u64) -> Self {
        Self { nanoseconds, ticks: AtomicU64::new(ticks_in(nanoseconds, ASSUMED_RATE)) }
    }

    /// In ticks of this machine's counter.
    #[inline(always)]
    pub(crate) fn ticks(&self) -> u64 {
        // Relaxed: a thread that sees the unconverted value acts at another time, which is as
        // correct.
        self.ticks.load(Ordering::Relaxed)
    }

    fn convert(&self, rate: u64) {
        self.ticks.store(ticks_in(self.nanoseconds, rate), Ordering::Relaxed);
    }
}

/// Defines the thresholds, and a list of all of them.
macro_rules! thresholds {
    ($($(#[$doc:meta])* $name:ident = $nanoseconds:expr;)*) => {
        $($(#[$doc])* pub(crate) static $name: Threshold = Threshold::of($nanoseconds);)*
        static ALL: &[&Threshold] = &[$(&$name),*];
    };
}

thresholds! {
    /// After being stuck this long, a participant checks whether a dead peer is in the way: about
    /// 100 microseconds.
    STUCK = if cfg!(fuzzing) { 0 } else { 100_825 };
    /// [`WINDOW`](crate::coalesce::WINDOW): after this long the next message is announced.
    ANNOUNCE = WINDOW.as_nanos() as u64;
    /// Latencies are counted in a histogram this often: the messages of this time together.
    COUNT = 200;
    /// A spinning handle looks at everything this often: about every 100 microseconds.
    LOOK = 100_825;
    /// A handle that may park spins for at least this long.
    SPIN_LEAST = 3_151;
    /// It spins for at least this long if spinning was enough the last time. This is longer than a
    /// sleeping peer takes to wake up and answer. So two peers that answer each other stop sleeping
    /// as soon as one of them has spun this long, and one late answer does not make them sleep
    /// again.
    SPIN_LONG = 12_603;
    /// It spins for at most this long.
    SPIN_MOST = 50_412;
    /// A longer interval between arrivals only means that messages are rare.
    RARE = 6_302;
}

/// Converts all thresholds, and returns the rate in ticks a second. It is called for each new
/// handle, since a process may measure its clock at any time, and costs almost nothing.
pub(crate) fn settle() -> u64 {
    static SETTLED: AtomicU64 = AtomicU64::new(ASSUMED_RATE);
    let rate = known_rate();
    settle_for(rate, &SETTLED, ALL);
    rate
}

/// Converts `all`, which are converted for the rate in `settled` so far.
fn settle_for(rate: u64, settled: &AtomicU64, all: &[&Threshold]) {
    // They begin with the assumed rate. They do not return to it if a late thread asked before the
    // clock was measured. Relaxed: two that do it at once do the same.
    if rate != ASSUMED_RATE && settled.load(Ordering::Relaxed) != rate {
        for threshold in all {
            threshold.convert(rate);
        }
        settled.store(rate, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_2_6_gigahertz_they_are_the_powers_of_two_that_were_measured() {
        let ticks = |threshold: &Threshold| ticks_in(threshold.nanoseconds, 2_600_000_000);
        for (threshold, measured) in [
            (&STUCK, 1 << 18),
            (&ANNOUNCE, 3_000),
            (&LOOK, 1 << 18),
            (&SPIN_LEAST, 1 << 13),
            (&SPIN_LONG, 1 << 15),
            (&SPIN_MOST, 1 << 17),
            (&RARE, 1 << 14),
        ] {
            assert!(ticks(threshold).abs_diff(measured) <= 1, "{threshold:?}");
        }
    }

    #[test]
    fn at_every_rate_they_are_the_same_time() {
        for rate in [19_200_000, 25_000_000, 62_500_000, 1_000_000_000, 3_300_000_000u64] {
            let settled = AtomicU64::new(ASSUMED_RATE);
            for nanoseconds in ALL.iter().map(|it| it.nanoseconds) {
                let threshold = Threshold::of(nanoseconds);
                settled.store(ASSUMED_RATE, Ordering::Relaxed);
                settle_for(rate, &settled, &[&threshold]);
                // As a late thread does.
                settle_for(ASSUMED_RATE, &settled, &[&threshold]);
                let back = threshold.ticks() as f64 * 1e9 / rate as f64;
                let tick = 1e9 / rate as f64;
                assert!((back - nanoseconds as f64).abs() <= tick, "{threshold:?} at {rate}");
            }
        }
    }

    #[cfg(all(feature = "std", not(loom)))]
    #[test]
    fn they_are_those_of_this_machine_once_a_handle_was_taken() {
        let rate = crate::clock::Clock::calibrated().ticks_per_second as u64;
        let ring = crate::ring::UltraFastRing::new(4);
        let _producer = ring.producer().unwrap();
        assert_eq!(settle(), rate);
        for threshold in ALL {
            assert_eq!(threshold.ticks(), ticks_in(threshold.nanoseconds, rate), "{threshold:?}");
        }
    }
}
