//! Where a participant shows its counters of one priority class.

use crate::statistics::LaneStats;
use crate::sync::{AtomicU64, Ordering};

/// The line of a participant entry that holds one lane's counters: the words of [`LaneStats`] in
/// their order, and one to spare.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct LaneLine {
    words: [AtomicU64; 8],
}

impl LaneLine {
    /// The counters in the line now. The words may have been stored at different moments.
    pub(crate) fn load(&self) -> LaneStats {
        // Relaxed: counters for display, on which no code depends.
        let word = |place: usize| self.words[place].load(Ordering::Relaxed);
        LaneStats {
            sent: word(0),
            sent_bytes: word(1),
            received: word(2),
            received_bytes: word(3),
            latency_sum: word(4),
            latency_count: word(5),
            latency_max: word(6),
        }
    }

    /// Stores what a producer counts. Only the entry's owner writes it.
    #[inline]
    pub(crate) fn store_sent(&self, lane: &LaneStats) {
        // Relaxed: as in `load`. A lane without messages costs no store.
        if self.words[0].load(Ordering::Relaxed) == lane.sent {
            return;
        }
        self.words[0].store(lane.sent, Ordering::Relaxed);
        self.words[1].store(lane.sent_bytes, Ordering::Relaxed);
    }

    /// Stores what a consumer counts. Only the entry's owner writes it.
    #[inline]
    pub(crate) fn store_received(&self, lane: &LaneStats) {
        // Relaxed: as in `load`. A lane without messages costs no store.
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
