//! Messages of one class and size, one after the other, counted when their run ends.

use crate::layout::slot::Meta;
use crate::priority::PriorityClass;
use crate::statistics::LaneStats;

/// Sent messages of one class and size, one after the other. They share their meta word. They are
/// counted when the run ends, because a store to another line between two slots keeps the slots'
/// stores from overlapping.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SentRun {
    meta: Meta,
    /// The handle's count of messages when the run began.
    since: u64,
    /// Bytes of its messages in side buffers, whose sizes differ.
    large_bytes: u64,
}

impl SentRun {
    /// A run of messages with `meta`. `count` messages were sent before it.
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

    /// Adds its messages up to `count` to `lanes`. The run may go on.
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
}

/// Received messages of one class and size, one after the other. They are counted when the run
/// ends; until then a message costs the handle a comparison and the sum of its latency.
///
/// Class and size are checked when the run begins. It does not matter what a peer writes there
/// later, since a message with another word ends the run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReceivedRun {
    /// [`Meta::kind`] of its messages; `NO_KIND` if they are in side buffers.
    kind: u32,
    /// [`Meta::kind`] of its messages if they are in side buffers; otherwise `NO_KIND`.
    large_kind: u32,
    class: PriorityClass,
    /// Size of each, if they are in slots; otherwise 0.
    size: usize,
    /// Bytes of its messages in side buffers, whose sizes differ.
    large_bytes: u64,
    /// The handle's count of messages when the run began.
    since: u64,
    latency_sum: u64,
    latency_count: u64,
    latency_max: u64,
}

/// A kind that no producer writes: it counts as `Bulk`, but has another byte for the class. Only
/// garbage has this kind, and counts as an empty message.
const NO_KIND: u32 = 0xff;

impl ReceivedRun {
    /// The run that a message with `meta` begins. `received` messages were counted before it.
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

    /// What [`continues`](Self::continues) compares with.
    #[cfg(not(loom))]
    pub(crate) fn kind(&self) -> u32 {
        self.kind
    }

    /// Adds the latencies of some of its messages: their sum, their number, and the longest.
    #[cfg(not(loom))]
    pub(crate) fn add_latencies(&mut self, (sum, count, max): (u64, u64, u64)) {
        self.latency_sum = self.latency_sum.wrapping_add(sum);
        self.latency_count = self.latency_count.wrapping_add(count);
        self.latency_max = self.latency_max.max(max);
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

    /// Records the latency of a message sent at `timestamp` (0 if not stamped) and received at
    /// `now`. Returns it, or 0 if not stamped.
    #[inline(always)]
    pub(crate) fn record(&mut self, timestamp: u64, now: u64) -> u64 {
        if timestamp == 0 {
            return 0;
        }
        let latency = now.saturating_sub(timestamp);
        // Wrapping, since a hostile timestamp may make a latency of any size.
        self.latency_sum = self.latency_sum.wrapping_add(latency);
        self.latency_count += 1;
        if latency > self.latency_max {
            self.latency_max = latency;
        }
        latency
    }

    /// Adds its messages up to the one numbered `received` to `lanes`. The run may go on.
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
