//! Times that calls act upon, in ticks of this machine's counter.
//!
//! A counter runs at 1 to 5 GHz on x86, and at 19 MHz to 1 GHz on Arm. So such a time is written down
//! here in nanoseconds, and converted once a process. It is compared with differences of
//! [`rdtsc`](crate::rdtsc), which is far cheaper than to ask the system for the time.

// Not those of `sync`: they are in statics, and carry nothing of the protocol.
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
        // Relaxed: whoever sees it before it is converted acts at another time, and is no less right.
        self.ticks.load(Ordering::Relaxed)
    }

    fn convert(&self, rate: u64) {
        self.ticks.store(ticks_in(self.nanoseconds, rate), Ordering::Relaxed);
    }
}

/// Defines thresholds, and knows all of them.
macro_rules! thresholds {
    ($($(#[$doc:meta])* $name:ident = $nanoseconds:expr;)*) => {
        $($(#[$doc])* pub(crate) static $name: Threshold = Threshold::of($nanoseconds);)*
        static ALL: &[&Threshold] = &[$(&$name),*];
    };
}

thresholds! {
    /// Somebody has been stuck for so long before it looks whether a dead peer is in the way: about
    /// 100 microseconds.
    STUCK = if cfg!(fuzzing) { 0 } else { 100_825 };
    /// [`WINDOW`](crate::coalesce::WINDOW): after so long the next message is announced.
    ANNOUNCE = WINDOW.as_nanos() as u64;
    /// Who spins looks at everything once in so long: about 100 microseconds.
    LOOK = 100_825;
    /// Who may park spins for so long at least.
    SPIN_LEAST = 3_151;
    /// It does so if spinning was enough the last time. Longer than a peer that sleeps takes to wake
    /// up and answer: two that answer each other are out of the habit of sleeping as soon as one of
    /// them has spun for so long, and do not fall back into it for one answer that was late.
    SPIN_LONG = 12_603;
    /// It does so at most.
    SPIN_MOST = 50_412;
    /// A longer interval between arrivals says no more than that messages are rare.
    RARE = 6_302;
    /// Who waits for several rings spins for so long: about what a sleep and a wake-up cost.
    SPIN_FOR_ANY = 3_151;
}

/// Has all thresholds converted, and says for which rate, in ticks a second. Done for each handle
/// that is taken, which costs next to nothing, since a process may measure its clock at any time.
pub(crate) fn settle() -> u64 {
    static SETTLED: AtomicU64 = AtomicU64::new(ASSUMED_RATE);
    let rate = known_rate();
    settle_for(rate, &SETTLED, ALL);
    rate
}

/// Converts `all`, which were converted for the rate in `settled` before.
fn settle_for(rate: u64, settled: &AtomicU64, all: &[&Threshold]) {
    // They begin converted for the assumed rate, and do not go back to it when a thread comes late
    // that asked before the clock was measured.
    // Relaxed: two that do it at once do the same.
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
            (&SPIN_FOR_ANY, 1 << 13),
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
                // By one that comes late.
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
        let ring = crate::UltraFastRing::new(4);
        let _producer = ring.producer().unwrap();
        assert_eq!(settle(), rate);
        for threshold in ALL {
            assert_eq!(threshold.ticks(), ticks_in(threshold.nanoseconds, rate), "{threshold:?}");
        }
    }
}
