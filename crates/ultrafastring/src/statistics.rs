//! Statistics of one priority class.
//!
//! A handle counts in a [`LaneStats`] of its own, plain words that nobody else sees, and stores
//! them in its participant entry when it announces (once in several messages, when idle, on `flush`
//! and on drop). Readers sum the entries. So a counter has one writer, costs one addition, and
//! survives the process that wrote it. A kill loses at most what the handle had not stored yet: 64
//! messages.

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
    /// Messages received. A redelivered message counts again.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Sum of the latencies of received messages with a timestamp, in ticks.
    pub latency_sum: u64,
    /// How many received messages carried a timestamp.
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

    /// Counts a message of `size` bytes as received, with its latency in ticks if it carried a
    /// timestamp.
    #[inline(always)]
    pub fn record_received(&mut self, size: usize, latency: Option<u64>) {
        self.received += 1;
        self.received_bytes += size as u64;
        if let Some(latency) = latency {
            // Wrapping, since a hostile timestamp may make a latency of any size.
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
