//! How a handle waits, and for how long it spins before it sleeps.

use crate::processor;
use crate::threshold::{RARE, SPIN_LEAST, SPIN_LONG, SPIN_MOST};

/// How a handle waits. Calls that do not wait ignore it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum WaitStrategy {
    /// Tries again at once, for ever. It has the lowest latency and needs a core of its own.
    Spin,
    /// Spins for a while, and then yields its core to others after each few tries.
    SpinThenYield,
    /// Spins for a few times the usual interval between messages, as the coalescing controller sees
    /// it, and then sleeps in the kernel. It spins for 3 to 50 microseconds, and for at least 13 if
    /// that was enough the last time.
    #[default]
    SpinThenPark,
    /// Sleeps in the kernel at once, which uses the processor least.
    Park,
}

/// Tries in a row without a pause, before a look at the clock and a pause. These take as long as
/// several tries, and a message that comes meanwhile waits for them.
pub(super) const TRIES_IN_A_ROW: u32 = 32;

impl WaitStrategy {
    /// Whether a wait for one handle begins by spinning.
    fn spins(self) -> bool {
        match self {
            Self::Park => false,
            Self::SpinThenPark => !processor::is_alone(),
            Self::Spin | Self::SpinThenYield => true,
        }
    }

    /// Whether one that spins yields its core to others after some tries.
    pub(super) fn yields(self) -> bool {
        self == Self::SpinThenYield
    }

    /// How often a call that waits for a message tries before it begins to wait. A message that
    /// comes by then, such as an answer from a near core, avoids the cost of the wait.
    #[inline]
    pub(crate) fn tries_first(self) -> u32 {
        if self.spins() && !cfg!(loom) { 2 * TRIES_IN_A_ROW } else { 1 }
    }

    /// For how many ticks to spin before sleeping; `None` if not at all. `interval` is the usual
    /// time between arrivals, in ticks. `slept` is the number of waits in a row that had to sleep.
    pub(super) fn spin_ticks(self, interval: u64, slept: u32) -> Option<u64> {
        /// While all waits have to sleep, one in this many still spins for long.
        const LONG_ONE_IN: u32 = 16;
        if !self.spins() {
            return None;
        }
        if self != Self::SpinThenPark {
            return Some(u64::MAX);
        }
        // Eight times the usual interval: a longer gap is rarely within a stream.
        let usual = if interval >= RARE.ticks() { 0 } else { 8 * interval };
        let long = slept.is_multiple_of(LONG_ONE_IN);
        let least = if long { SPIN_LONG.ticks() } else { SPIN_LEAST.ticks() };
        Some(usual.max(least).min(SPIN_MOST.ticks()))
    }
}

#[cfg(all(test, feature = "std", not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn spinning_is_long_while_it_is_enough_and_now_and_then_when_it_is_not() {
        // Ticks of this machine's counter, once the thresholds use its rate.
        let rate = crate::clock::Clock::calibrated().ticks_per_second as u64;
        crate::threshold::settle();
        let of = |nanoseconds| crate::clock::ticks_in(nanoseconds, rate);
        let ticks =
            |slept, interval| WaitStrategy::default().spin_ticks(interval, slept).unwrap_or(0);
        if processor::is_alone() {
            assert_eq!(ticks(0, of(190)), 0);
            return;
        }
        let rare = of(12_600);
        let (long, least) = (ticks(0, rare), ticks(1, rare));
        assert!(long > least && least > 0);
        for slept in 1..100 {
            let expected = if slept % 16 == 0 { long } else { least };
            assert_eq!(ticks(slept, rare), expected, "after {slept} sleeps");
        }
        // Eight times the usual, where that is known and more.
        assert_eq!(ticks(1, of(770)), 8 * of(770));
        assert_eq!(ticks(0, of(770)), long);
        assert_eq!(ticks(0, of(3_850)), 8 * of(3_850));
    }
}
