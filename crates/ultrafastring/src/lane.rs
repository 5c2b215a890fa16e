//! Statistics of one priority class.
//!
//! A handle counts in a [`LaneStats`] of its own, plain words that nobody else sees, and stores
//! them in its participant entry when it announces (once in several messages, when idle, on
//! `flush` and on drop). Readers sum the entries. So a counter has one writer, costs an addition,
//! and survives the process that wrote it; what a killed handle had not stored yet is at most one
//! announcement's worth, 64 messages.

use crate::PriorityClass;
use crate::slot::Meta;
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

/// Sent messages of one class and size, one after the other. They are counted when the run ends,
/// because a store to a line of one's own between two slots keeps the slots' stores from
/// overlapping; and they share their meta word.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SentRun {
    meta: Meta,
    /// The handle's count of messages when the run began.
    since: u64,
    /// Bytes of its messages in side buffers, whose sizes differ.
    large_bytes: u64,
}

impl SentRun {
    /// The run of messages with `meta`, `count` having been sent before it.
    #[inline]
    pub(crate) fn begin(meta: Meta, count: u64) -> Self {
        Self { meta, since: count, large_bytes: 0 }
    }

    /// Whether a message of this [`Meta::kind`] belongs to it.
    #[inline(always)]
    pub(crate) fn continues(&self, kind: u32) -> bool {
        self.meta.kind() == kind
    }

    /// The meta word of its messages.
    #[inline(always)]
    pub(crate) fn meta(&self) -> Meta {
        self.meta
    }

    /// Takes note of a message of `size` bytes in a side buffer.
    #[inline]
    pub(crate) fn note_large(&mut self, size: usize) {
        self.large_bytes = self.large_bytes.wrapping_add(size as u64);
    }

    /// Counts in `lanes` what it has got up to `count`; it may go on.
    #[inline]
    pub(crate) fn end(&mut self, count: u64, lanes: &mut [LaneStats; PriorityClass::COUNT]) {
        let lane = &mut lanes[self.meta.class().index()];
        let sent = count.wrapping_sub(self.since);
        lane.sent = lane.sent.wrapping_add(sent);
        let bytes = sent.wrapping_mul(self.meta.size() as u64).wrapping_add(self.large_bytes);
        lane.sent_bytes = lane.sent_bytes.wrapping_add(bytes);
        self.since = count;
        self.large_bytes = 0;
    }

    /// Goes on from another count.
    #[inline]
    pub(crate) fn resume(&mut self, count: u64) {
        self.since = count;
    }
}

/// Received messages of one class and size, one after the other. They are counted when the run
/// ends; until then a message costs the handle a comparison and the sum of its latency.
///
/// Class and size are a message's word, checked when the run begins: what a peer may have written
/// there since cannot matter, since a message with another word ends the run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReceivedRun {
    /// [`Meta::kind`] of its messages; of those in side buffers `NO_KIND`.
    kind: u32,
    /// [`Meta::kind`] of its messages if they are in side buffers, else `NO_KIND`.
    large_kind: u32,
    class: PriorityClass,
    /// Size of each, if they are in slots; else 0.
    size: usize,
    /// Bytes of its messages in side buffers, whose sizes differ.
    large_bytes: u64,
    /// The handle's count of messages when the run began.
    since: u64,
    latency_sum: u64,
    latency_count: u64,
    latency_max: u64,
}

/// A kind that no producer writes: `Bulk`, but for the byte that says so. A message of this kind,
/// which only garbage can be, passes for an empty one.
const NO_KIND: u32 = 0xff;

impl ReceivedRun {
    /// The run that a message with `meta` begins, `received` having been counted before it.
    #[inline]
    pub(crate) fn begin(meta: Meta, received: u64) -> Self {
        let large = meta.is_large();
        Self {
            // So that a message in a side buffer never continues a run on the fast path.
            kind: if large { NO_KIND } else { meta.kind() },
            large_kind: if large { meta.kind() } else { NO_KIND },
            class: meta.class(),
            size: if large { 0 } else { meta.size() },
            large_bytes: 0,
            since: received,
            latency_sum: 0,
            latency_count: 0,
            latency_max: 0,
        }
    }

    /// Whether a message with `meta` belongs to it.
    #[inline(always)]
    pub(crate) fn continues(&self, meta: Meta) -> bool {
        self.kind == meta.kind()
    }

    /// Whether a message with `meta`, in a side buffer, belongs to it.
    #[inline]
    pub(crate) fn continues_large(&self, meta: Meta) -> bool {
        self.large_kind == meta.kind()
    }

    /// Takes note of a message of `size` bytes in a side buffer.
    #[inline]
    pub(crate) fn note_large(&mut self, size: usize) {
        self.large_bytes = self.large_bytes.wrapping_add(size as u64);
    }

    /// The class of its messages.
    #[inline(always)]
    pub(crate) fn class(&self) -> PriorityClass {
        self.class
    }

    /// The size of its messages in bytes, at most what a slot holds.
    #[inline(always)]
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Takes the latency of a message sent at `timestamp` (0: not stamped) and received at `now`,
    /// and gives it (0 if not stamped).
    #[inline(always)]
    pub(crate) fn record(&mut self, timestamp: u64, now: u64) -> u64 {
        if timestamp == 0 {
            return 0;
        }
        let latency = now.saturating_sub(timestamp);
        // Wrapping: a hostile timestamp may make a latency of any size.
        self.latency_sum = self.latency_sum.wrapping_add(latency);
        self.latency_count += 1;
        if latency > self.latency_max {
            self.latency_max = latency;
        }
        latency
    }

    /// Counts in `lanes` what it has got up to the message numbered `received`; it may go on.
    #[inline]
    pub(crate) fn end(&mut self, received: u64, lanes: &mut [LaneStats; PriorityClass::COUNT]) {
        let lane = &mut lanes[self.class.index()];
        let count = received.wrapping_sub(self.since);
        lane.received = lane.received.wrapping_add(count);
        let bytes = count.wrapping_mul(self.size as u64).wrapping_add(self.large_bytes);
        lane.received_bytes = lane.received_bytes.wrapping_add(bytes);
        lane.latency_sum = lane.latency_sum.wrapping_add(self.latency_sum);
        lane.latency_count = lane.latency_count.wrapping_add(self.latency_count);
        lane.latency_max = lane.latency_max.max(self.latency_max);
        self.since = received;
        (self.latency_sum, self.latency_count, self.large_bytes) = (0, 0, 0);
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
