//! How much is done at once: the coalescing controller.
//!
//! It watches how fast messages arrive and decides after how many of them a frontier, a counter or
//! a wake-up is announced. It never withholds a message: a commit is visible at once, whatever the
//! mode. It delays an announcement by at most 64 messages (the largest mode), an eighth of the
//! credit limit, and [`WINDOW`] where timestamps are taken.

use core::time::Duration;

use crate::clock::{ASSUMED_RATE, ticks_in};

/// This long (about a microsecond) after the last announcement, the next message is announced
/// whatever the mode.
pub const WINDOW: Duration = Duration::from_nanos(1_154);

/// Longest interval, in nanoseconds, that enters the average. So one long silence is forgotten
/// after some dozens of messages.
const MAX_INTERVAL: u64 = 12_603;

/// Nanoseconds between messages below which each mode begins: `Aggressive`, `Moderate`, `Light`.
const BOUNDS: [u64; 3] = [98, 394, 3_151];

/// How many messages share one announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum CoalesceMode {
    /// Each message by itself: messages come more than 3,151 nanoseconds apart.
    Immediate = 0,
    /// Four: messages come 394 to 3,151 nanoseconds apart.
    Light = 1,
    /// Sixteen: messages come 98 to 394 nanoseconds apart.
    Moderate = 2,
    /// Sixty-four: messages come less than 98 nanoseconds apart.
    Aggressive = 3,
}

impl CoalesceMode {
    /// How many messages share one announcement: 1, 4, 16 or 64.
    #[inline]
    pub const fn batch(self) -> u64 {
        1 << (2 * self as u32)
    }

    /// The name used in tables: `immediate`, `light`, `moderate`, `aggressive`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Immediate => "immediate",
            Self::Light => "light",
            Self::Moderate => "moderate",
            Self::Aggressive => "aggressive",
        }
    }
}

/// `(7/8)^n` in units of 1/65536, for n up to the largest batch. It is a static, because a constant
/// array would be copied whole wherever one item is read.
static DECAY: [u64; 65] = {
    let mut table = [65_536u64; 65];
    let mut n = 1;
    while n < 65 {
        table[n] = table[n - 1] * 7 / 8;
        n += 1;
    }
    table
};

/// An exponential moving average (weight 1/8) of the interval between arrivals, and the mode that
/// follows from it.
///
/// Times are in ticks of a counter of 2.6 GHz, unless
/// [`with_ticks_per_second`](Self::with_ticks_per_second) sets another rate.
///
/// ```
/// use ultrafastring::{CoalesceController, CoalesceMode};
///
/// let mut coalesce = CoalesceController::new(0);
/// assert_eq!(coalesce.mode(), CoalesceMode::Immediate);
/// for arrival in 1..=100 {
///     coalesce.record_arrival(arrival * 50); // one message every 50 ticks
/// }
/// assert_eq!(coalesce.mode(), CoalesceMode::Aggressive);
/// ```
#[derive(Clone, Debug)]
pub struct CoalesceController {
    /// When the last recorded arrival was, in ticks.
    last: u64,
    /// The average interval in sixteenths of a tick.
    average: u64,
    /// [`MAX_INTERVAL`] in sixteenths of a tick.
    longest: u64,
    /// [`BOUNDS`] in sixteenths of a tick, since a slow counter has few ticks in such a time.
    bounds: [u64; 3],
}

impl CoalesceController {
    /// A controller that has seen nothing before `now` (ticks) and assumes that messages are rare.
    pub const fn new(now: u64) -> Self {
        Self { last: now, average: 0, longest: 0, bounds: [0; 3] }
            .with_ticks_per_second(ASSUMED_RATE)
    }

    /// Sets the counter's rate, from 1 MHz to 100 GHz; a rate outside counts as the nearest of
    /// these. Forgets all arrivals so far.
    pub const fn with_ticks_per_second(mut self, ticks_per_second: u64) -> Self {
        // In sixteenths: as for a counter that is 16 times faster.
        self.longest = ticks_in(16 * MAX_INTERVAL, ticks_per_second);
        self.average = self.longest;
        let mut i = 0;
        while i < BOUNDS.len() {
            self.bounds[i] = ticks_in(16 * BOUNDS[i], ticks_per_second);
            i += 1;
        }
        self
    }

    /// Records one arrival at `now` (ticks) and returns the new mode.
    #[inline]
    pub fn record_arrival(&mut self, now: u64) -> CoalesceMode {
        self.record_arrivals(1, now)
    }

    /// Records `count` arrivals spread evenly since the last one recorded, the newest at `now`
    /// (ticks), and returns the new mode. This equals `count` calls of
    /// [`record_arrival`](Self::record_arrival) at equal intervals, in one step. A clock that went
    /// backwards counts as no time; `count` of zero changes nothing.
    #[inline]
    pub fn record_arrivals(&mut self, count: u64, now: u64) -> CoalesceMode {
        if count != 0 {
            // In sixteenths before the division, since a slow counter has few ticks between
            // messages. Only a clock that jumps has bits that are shifted out, and its interval may
            // be anything.
            let elapsed = now.saturating_sub(self.last) << 4;
            let interval = if count == 1 { elapsed } else { elapsed / count };
            let interval = interval.min(self.longest);
            let keep = DECAY[count.min(64) as usize];
            // At most 2^25 in each average and 2^16 in the weight: no overflow.
            self.average = (interval * (65_536 - keep) + self.average * keep) >> 16;
            self.last = now;
        }
        self.mode()
    }

    /// When the last recorded arrival was, in ticks.
    #[inline]
    pub(crate) const fn last(&self) -> u64 {
        self.last
    }

    /// The average interval between arrivals, in ticks; intervals over 12.6 microseconds count as
    /// that.
    #[inline]
    pub const fn interval(&self) -> u64 {
        self.average >> 4
    }

    /// The mode that follows from the average.
    #[inline]
    pub const fn mode(&self) -> CoalesceMode {
        let [aggressive, moderate, light] = self.bounds;
        match self.average {
            average if average < aggressive => CoalesceMode::Aggressive,
            average if average < moderate => CoalesceMode::Moderate,
            average if average < light => CoalesceMode::Light,
            _ => CoalesceMode::Immediate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_modes_announce_once_in_1_4_16_and_64_messages() {
        use CoalesceMode::*;
        assert_eq!(
            [Immediate, Light, Moderate, Aggressive].map(CoalesceMode::batch),
            [1, 4, 16, 64]
        );
    }

    #[test]
    fn a_step_in_the_load_changes_the_mode_within_some_dozens_of_messages() {
        // From the slowest counters of Arm machines to the fastest of x86 ones.
        for rate in [19_200_000, 25_000_000, 62_500_000, 1_000_000_000, ASSUMED_RATE, 5_000_000_000]
        {
            let mut coalesce = CoalesceController::new(0).with_ticks_per_second(rate);
            assert_eq!(coalesce.mode(), CoalesceMode::Immediate);
            let mut nanoseconds = 0;
            for (interval, mode) in [
                (12, CoalesceMode::Aggressive),
                (230, CoalesceMode::Moderate),
                (1_540, CoalesceMode::Light),
                (1_000_000, CoalesceMode::Immediate),
                (12, CoalesceMode::Aggressive),
            ] {
                for _ in 0..64 {
                    nanoseconds += interval;
                    coalesce.record_arrival(ticks_in(nanoseconds, rate));
                }
                let ticks = coalesce.interval();
                assert_eq!(
                    coalesce.mode(),
                    mode,
                    "a message in {interval} ns at {rate} Hz: {ticks} ticks"
                );
            }
        }
    }

    #[test]
    fn at_2_6_gigahertz_the_bounds_are_about_powers_of_two() {
        let coalesce = CoalesceController::new(0);
        assert_eq!(
            coalesce.bounds.map(|bound| bound.next_multiple_of(16) >> 4),
            [255, 1_025, 8_193]
        );
        assert_eq!(coalesce.longest >> 4, (1 << 15) - 1);
    }

    #[cfg(not(miri))]
    mod properties {
        use super::*;
        use proptest::prelude::*;

        proptest! {
            #[test]
            fn many_at_once_are_the_same_as_one_by_one_at_equal_intervals(
                start in 0u64..1_000,
                interval in 0u64..40_000,
                count in 1u64..=64,
                before in 0u64..100_000,
            ) {
                let mut at_once = CoalesceController::new(0);
                at_once.record_arrival(before);
                at_once.record_arrivals(0, before + start);
                let mut one_by_one = at_once.clone();
                at_once.record_arrivals(count, before + interval * count);
                for n in 1..=count {
                    one_by_one.record_arrival(before + interval * n);
                }
                // Each step loses up to a sixteenth of a tick, and that error decays too: one tick
                // in all. The weight of all at once is rounded to a part in 65,536.
                prop_assert!(at_once.interval().abs_diff(one_by_one.interval()) <= 3);
            }

            #[test]
            fn the_average_lies_between_what_it_was_and_the_interval(
                steps in prop::collection::vec(0u64..100_000, 1..100),
            ) {
                let mut coalesce = CoalesceController::new(0);
                let mut now = 0u64;
                for step in steps {
                    let was = coalesce.interval();
                    now += step;
                    coalesce.record_arrival(now);
                    let cut = step.min(coalesce.longest >> 4);
                    prop_assert!(coalesce.interval() + 1 >= was.min(cut));
                    prop_assert!(coalesce.interval() <= was.max(cut));
                }
            }

            #[test]
            fn a_clock_that_jumps_anywhere_breaks_nothing(
                times in prop::collection::vec(any::<u64>(), 0..100)
            ) {
                let mut coalesce = CoalesceController::new(0);
                for now in times {
                    coalesce.record_arrivals(now % 70, now);
                    prop_assert!(coalesce.average <= coalesce.longest);
                }
            }
        }
    }
}
