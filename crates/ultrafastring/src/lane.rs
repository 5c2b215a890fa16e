//! Statistics of one priority class.
//!
//! A handle counts in a [`LaneStats`] of its own, plain words that nobody else sees, and stores
//! them in its participant entry when it announces (once in several messages, when idle, on
//! `flush` and on drop). Readers sum the entries. So a counter has one writer, costs an addition,
//! and survives the process that wrote it; what a killed handle had not stored yet is at most one
//! announcement's worth, 64 messages.

use crate::sync::{AtomicU64, Ordering};

/// What passed through one priority class: a snapshot, or one handle's own count.
///
/// ```
/// use ultrafastring::LaneStats;
///
/// let mut lane = LaneStats::default();
/// lane.record_sent(40);
/// lane.record_received(40, Some(300));
/// lane.record_received(40, Some(500));
/// assert_eq!((lane.sent, lane.received, lane.avg_latency()), (1, 2, 400));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LaneStats {
    /// Messages committed.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Messages received, those redelivered counted again.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Sum of the latencies of those received messages that carried a timestamp, in ticks.
    pub latency_sum: u64,
    /// How many of those received carried a timestamp.
    pub latency_count: u64,
    /// The largest latency, in ticks.
    pub latency_max: u64,
}

impl LaneStats {
    /// Counts a message of `size` bytes as sent.
    #[inline(always)]
    pub fn record_sent(&mut self, size: usize) {
        self.sent += 1;
        self.sent_bytes += size as u64;
    }

    /// Counts `count` messages of `size` bytes each as sent.
    #[inline]
    pub fn record_sent_run(&mut self, count: u64, size: usize) {
        self.sent += count;
        self.sent_bytes += count * size as u64;
    }

    /// Counts a message of `size` bytes as received, with its latency in ticks if it carried a
    /// timestamp.
    #[inline(always)]
    pub fn record_received(&mut self, size: usize, latency: Option<u64>) {
        self.received += 1;
        self.received_bytes += size as u64;
        if let Some(latency) = latency {
            // Wrapping: a hostile timestamp may make a latency of any size.
            self.latency_sum = self.latency_sum.wrapping_add(latency);
            self.latency_count += 1;
            self.latency_max = self.latency_max.max(latency);
        }
    }

    /// The mean latency in ticks, 0 if no message carried a timestamp.
    pub const fn avg_latency(&self) -> u64 {
        match self.latency_sum.checked_div(self.latency_count) {
            Some(mean) => mean,
            None => 0,
        }
    }

    /// Adds what another lane counted.
    pub fn add(&mut self, other: &Self) {
        self.sent = self.sent.wrapping_add(other.sent);
        self.sent_bytes = self.sent_bytes.wrapping_add(other.sent_bytes);
        self.received = self.received.wrapping_add(other.received);
        self.received_bytes = self.received_bytes.wrapping_add(other.received_bytes);
        self.latency_sum = self.latency_sum.wrapping_add(other.latency_sum);
        self.latency_count = self.latency_count.wrapping_add(other.latency_count);
        self.latency_max = self.latency_max.max(other.latency_max);
    }
}

/// The line of a participant entry that holds one lane's counters: the words of [`LaneStats`] in
/// their order, and one to spare.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct LaneLine {
    words: [AtomicU64; 8],
}

impl LaneLine {
    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self { words: core::array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// What the line says now. The words may be of different moments.
    pub(crate) fn load(&self) -> LaneStats {
        // Relaxed: counters for people; nothing follows from them.
        let [sent, sent_bytes, received, received_bytes, latency_sum, latency_count, latency_max] =
            core::array::from_fn(|i| self.words[i].load(Ordering::Relaxed));
        LaneStats {
            sent,
            sent_bytes,
            received,
            received_bytes,
            latency_sum,
            latency_count,
            latency_max,
        }
    }

    /// Stores what a producer counts. Only the entry's owner writes it.
    #[inline]
    pub(crate) fn store_sent(&self, lane: &LaneStats) {
        // Relaxed: as in `load`. A lane at rest costs no store.
        if self.words[0].load(Ordering::Relaxed) == lane.sent {
            return;
        }
        self.words[0].store(lane.sent, Ordering::Relaxed);
        self.words[1].store(lane.sent_bytes, Ordering::Relaxed);
    }

    /// Stores what a consumer counts. Only the entry's owner writes it.
    #[inline]
    pub(crate) fn store_received(&self, lane: &LaneStats) {
        // Relaxed: as in `load`. A lane at rest costs no store.
        if self.words[2].load(Ordering::Relaxed) == lane.received {
            return;
        }
        self.words[2].store(lane.received, Ordering::Relaxed);
        self.words[3].store(lane.received_bytes, Ordering::Relaxed);
        self.words[4].store(lane.latency_sum, Ordering::Relaxed);
        self.words[5].store(lane.latency_count, Ordering::Relaxed);
        self.words[6].store(lane.latency_max, Ordering::Relaxed);
    }
}
