//! Latencies counted in buckets: which bucket a latency belongs to, and snapshots of the counts.
//!
//! Up to 16 ticks each latency has a bucket of its own. From there on each power of two is divided
//! into eight buckets of equal width. So a bucket is at most an eighth as wide as its least
//! latency, and its middle is at most a sixteenth away from any latency in it.

use core::fmt;
use core::iter::zip;

/// A power of two has `1 << PARTS_BITS` buckets.
const PARTS_BITS: u32 = 3;
const PARTS: u64 = 1 << PARTS_BITS;

/// Latencies of this many ticks or more share the last bucket: 28 minutes at 2.6 GHz.
const BEYOND: u64 = 1 << 42;

/// How many buckets there are.
pub(crate) const BUCKETS: usize = index_of(BEYOND - 1) + 1;

/// The bucket of a latency in ticks.
#[inline(always)]
pub(crate) const fn bucket_of(ticks: u64) -> usize {
    let index = index_of(ticks);
    if index < BUCKETS { index } else { BUCKETS - 1 }
}

#[inline(always)]
const fn index_of(ticks: u64) -> usize {
    let shift = (ticks | PARTS).ilog2() - PARTS_BITS;
    (shift as usize) * PARTS as usize + (ticks >> shift) as usize
}

/// The least latency of a bucket, in ticks; [`BEYOND`] behind the last.
const fn least_of(bucket: usize) -> u64 {
    let parts = PARTS as usize;
    if bucket < 2 * parts {
        return bucket as u64;
    }
    ((bucket % parts + parts) as u64) << (bucket / parts - 1)
}

/// Counts of a class's latencies in buckets: a snapshot, which does not change.
///
/// A latency is the time from a message's timestamp to its receipt. [`RingView::latencies`] gives
/// these, for a ring that was made with [`Builder::latency_histograms`]. Each message that carries
/// a timestamp is counted, also one that is received again.
///
/// Receives that copy count at most once in 200 ns, since otherwise counting would slow a stream
/// down by a quarter. Messages of one class that come within that time are counted with their mean.
/// So are those of a batch that follow each other, if their latencies differ by at most a
/// sixteenth. All are counted at the latest when the consumer gives credit back, which is when
/// other statistics change too, or by [`Consumer::flush`](crate::Consumer::flush).
///
/// Buckets are logarithmic. [`quantile`](Self::quantile) is the middle of a bucket, at most
/// [`RELATIVE_ERROR`](Self::RELATIVE_ERROR) away from the latency that was counted. Latencies over
/// 2^42 ticks (28 minutes at 2.6 GHz) count as such.
///
/// [`Builder::latency_histograms`]: crate::Builder::latency_histograms
/// [`RingView::latencies`]: crate::RingView::latencies
///
/// ```
/// # #[cfg(feature = "std")] {
/// use ultrafastring::{PriorityClass, UltraFastRing};
///
/// let ring = UltraFastRing::builder().capacity(64).latency_histograms(true).heap()?;
/// let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
/// for _ in 0..10 {
///     producer.send_fast(b"AAPL 100", PriorityClass::High)?;
///     consumer.try_recv()?;
/// }
/// consumer.flush();
/// let latencies = ring.latencies().unwrap();
/// let high = &latencies[PriorityClass::High.index()];
/// assert_eq!(high.count(), 10);
/// println!("99 % within {} ns", high.quantile(0.99).unwrap());
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct LatencyHistogram {
    counts: [u64; BUCKETS],
    nanoseconds_per_tick: f64,
}

/// A bucket of a [`LatencyHistogram`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct LatencyBucket {
    /// The least latency in it, in nanoseconds.
    pub from: f64,
    /// Latencies in it are below this, in nanoseconds; infinity for the last bucket.
    pub to: f64,
    /// How many messages are in it.
    pub count: u64,
}

impl fmt::Debug for LatencyHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LatencyHistogram")
            .field("count", &self.count())
            .field("median", &self.quantile(0.5))
            .finish_non_exhaustive()
    }
}

impl LatencyHistogram {
    /// How far [`quantile`](Self::quantile) is from the latency that was counted, at most, as a
    /// part of it.
    pub const RELATIVE_ERROR: f64 = 0.5 / PARTS as f64;

    /// An empty one, whose ticks have this rate.
    pub(crate) fn new(ticks_per_second: f64) -> Self {
        Self { counts: [0; BUCKETS], nanoseconds_per_tick: 1e9 / ticks_per_second }
    }

    /// Adds `count` to a bucket. Wrapping, since a peer may have written any number.
    pub(crate) fn count_in(&mut self, bucket: usize, count: u64) {
        if let Some(sum) = self.counts.get_mut(bucket) {
            *sum = sum.wrapping_add(count);
        }
    }

    /// How many messages are counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum: u64, count| sum.saturating_add(*count))
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }

    /// The latency that this part of all messages did not exceed, in nanoseconds: 0.5 gives the
    /// median. `None` if no message is counted. A `part` below 0 counts as 0, and one above 1 as 1.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let count = self.count();
        let part = if part > 0.0 { part.min(1.0) } else { 0.0 };
        // The first message is the quantile of 0. Rounded up, and `ceil` is not in `core`.
        let exact = part * count as f64;
        let floor = exact as u64;
        let rank = floor + u64::from((floor as f64) < exact);
        let rank = rank.clamp(1, count.max(1));
        let mut passed = 0u64;
        let bucket = self.counts.iter().position(|count| {
            passed = passed.saturating_add(*count);
            passed >= rank
        })?;
        Some(self.middle(bucket))
    }

    /// The mean in nanoseconds, as if each message were in the middle of its bucket; `None` if no
    /// message is counted.
    pub fn mean(&self) -> Option<f64> {
        (!self.is_empty()).then(|| self.sum() / self.count() as f64)
    }

    /// The sum of all latencies in nanoseconds, as if each message were in the middle of its
    /// bucket.
    pub fn sum(&self) -> f64 {
        let of = |(bucket, count): (usize, &u64)| self.middle(bucket) * *count as f64;
        self.counts.iter().enumerate().map(of).sum()
    }

    /// How many messages took no longer than `nanoseconds`, as if each were in the middle of its
    /// bucket. So it grows with `nanoseconds`, and with time.
    pub fn count_up_to(&self, nanoseconds: f64) -> u64 {
        let within = |&(bucket, _): &(usize, &u64)| self.middle(bucket) <= nanoseconds;
        let counts = self.counts.iter().enumerate().take_while(within);
        counts.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// The buckets that are not empty, the least latency first.
    pub fn buckets(&self) -> impl Iterator<Item = LatencyBucket> + '_ {
        let filled = self.counts.iter().enumerate().filter(|(_, count)| **count != 0);
        filled.map(|(bucket, count)| LatencyBucket {
            from: self.nanoseconds(least_of(bucket)),
            to: match bucket + 1 {
                BUCKETS => f64::INFINITY,
                next => self.nanoseconds(least_of(next)),
            },
            count: *count,
        })
    }

    /// Adds what another one has counted: of another class, group or ring. The other's clock must
    /// have the same rate.
    pub fn add(&mut self, other: &Self) {
        for (sum, count) in zip(&mut self.counts, &other.counts) {
            *sum = sum.wrapping_add(*count);
        }
    }

    /// What was counted since an `earlier` snapshot of the same.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        for (count, before) in zip(&mut since.counts, &earlier.counts) {
            *count = count.saturating_sub(*before);
        }
        since
    }

    fn nanoseconds(&self, ticks: u64) -> f64 {
        ticks as f64 * self.nanoseconds_per_tick
    }

    /// The middle of a bucket in nanoseconds: of its least and its greatest latency.
    fn middle(&self, bucket: usize) -> f64 {
        let greatest = least_of(bucket + 1) - 1;
        (least_of(bucket) + greatest) as f64 / 2.0 * self.nanoseconds_per_tick
    }
}

#[cfg(all(test, feature = "std", not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_one_another_without_a_gap_up_to_the_last() {
        assert_eq!((BUCKETS, least_of(0), least_of(BUCKETS)), (320, 0, BEYOND));
        for bucket in 0..BUCKETS {
            let (least, next) = (least_of(bucket), least_of(bucket + 1));
            assert!(least < next);
            assert_eq!((bucket_of(least), bucket_of(next - 1)), (bucket, bucket));
        }
        assert_eq!((bucket_of(BEYOND), bucket_of(u64::MAX)), (BUCKETS - 1, BUCKETS - 1));
    }

    #[test]
    fn an_empty_one_has_no_quantile() {
        let empty = LatencyHistogram::new(1e9);
        assert_eq!((empty.quantile(0.5), empty.mean(), empty.count()), (None, None, 0));
        assert!(empty.is_empty() && empty.buckets().next().is_none());
    }

    #[test]
    fn counts_that_a_peer_has_made_up_are_counts() {
        let mut histogram = LatencyHistogram::new(1e9);
        histogram.count_in(3, u64::MAX);
        histogram.count_in(BUCKETS - 1, u64::MAX);
        histogram.count_in(BUCKETS, 7);
        assert_eq!(histogram.count(), u64::MAX);
        assert_eq!(histogram.quantile(0.5), Some(3.0));
        assert!(histogram.quantile(f64::NAN).is_some() && histogram.sum().is_finite());
        let twice = {
            let mut twice = histogram.clone();
            twice.add(&histogram);
            twice
        };
        assert_eq!(twice.since(&histogram).count(), 0);
    }

    #[cfg(not(miri))]
    mod properties {
        use super::*;
        use proptest::prelude::*;

        fn latencies() -> impl Strategy<Value = std::vec::Vec<u64>> {
            let latency = (0u32..45, any::<u64>()).prop_map(|(bits, any)| any >> (63 - bits));
            prop::collection::vec(latency.prop_map(|it| it.min(BEYOND - 1)), 1..200)
        }

        proptest! {
            /// The model has each latency by itself.
            #[test]
            fn what_is_said_is_what_a_sorted_list_says_within_the_error(
                mut ticks in latencies(), part in 0.0f64..=1.0, up_to: u64,
            ) {
                // So that nothing is rounded.
                let rate = 2e9;
                let mut histogram = LatencyHistogram::new(rate);
                for latency in &ticks {
                    histogram.count_in(bucket_of(*latency), 1);
                }
                ticks.sort_unstable();
                let exact: std::vec::Vec<f64> =
                    ticks.iter().map(|&it| it as f64 * 1e9 / rate).collect();
                let rank = ((part * exact.len() as f64).ceil() as usize).max(1) - 1;
                let found = histogram.quantile(part).unwrap();
                let most = LatencyHistogram::RELATIVE_ERROR * exact[rank];
                prop_assert!((found - exact[rank]).abs() <= most + 1e-9);
                let sum: f64 = exact.iter().sum();
                let most = LatencyHistogram::RELATIVE_ERROR * sum;
                prop_assert!((histogram.sum() - sum).abs() <= most + 1e-6 * sum + 1e-9);
                prop_assert_eq!(histogram.count(), ticks.len() as u64);
                prop_assert_eq!(histogram.count_up_to(f64::INFINITY), ticks.len() as u64);
                // Those that are farther from the limit than the error are on the right side of it.
                let limit = (up_to >> 20) as f64;
                let error = 1.0 + 2.0 * LatencyHistogram::RELATIVE_ERROR;
                let below = exact.iter().filter(|it| **it * error < limit).count() as u64;
                let not_above = exact.iter().filter(|it| **it <= limit * error).count() as u64;
                prop_assert!((below..=not_above).contains(&histogram.count_up_to(limit)));
                let of_buckets: u64 = histogram.buckets().map(|it| it.count).sum();
                prop_assert_eq!(of_buckets, histogram.count());
                for bucket in histogram.buckets() {
                    let within = |it: &&f64| (bucket.from..bucket.to).contains(*it);
                    prop_assert_eq!(exact.iter().filter(within).count() as u64, bucket.count);
                }
            }

            #[test]
            fn two_that_are_added_are_as_one_and_what_came_since_is_the_difference(
                first in latencies(), second in latencies(),
            ) {
                let histogram_of = |all: &[u64]| {
                    let mut histogram = LatencyHistogram::new(1e9);
                    all.iter().for_each(|it| histogram.count_in(bucket_of(*it), 1));
                    histogram
                };
                let (one, two) = (histogram_of(&first), histogram_of(&second));
                let mut both = one.clone();
                both.add(&two);
                prop_assert_eq!(&both, &histogram_of(&[&first[..], &second[..]].concat()));
                prop_assert_eq!(both.since(&one), two);
            }
        }
    }
}
