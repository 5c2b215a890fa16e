//! The lanes of a ring.

use super::Builder;
use crate::priority::PriorityClass;
use crate::settings::{INLINE_SIZE, Lanes};

/// Lanes: queues of slots of their own in one ring.
impl Builder {
    /// How many lanes the ring has, and which message goes into which. A lane has slots, credit and
    /// side buffers of its own. [`capacity`](Self::capacity), [`credit_limit`](Self::credit_limit)
    /// and [`max_message`](Self::max_message) are those of each lane.
    ///
    /// Handles of a ring with lanes are those without a parameter:
    /// [`producer`](crate::UltraFastRing::producer) and
    /// [`consumer`](crate::UltraFastRing::consumer).
    pub fn lanes(mut self, lanes: Lanes) -> Self {
        self.chosen.lanes = Some(lanes);
        self
    }

    /// Slots of the lane of one class, with [`Lanes::ByClass`]: a power of two. The default is the
    /// [`capacity`](Self::capacity).
    pub fn capacity_of(mut self, class: PriorityClass, slots: usize) -> Self {
        self.chosen.class_lanes[class.index()].capacity = Some(slots);
        self
    }

    /// How many messages of one class may be in flight, with [`Lanes::ByClass`]: 1 to the capacity
    /// of its lane. The default is the [`credit_limit`](Self::credit_limit), or that capacity if it
    /// is less.
    pub fn credit_limit_of(mut self, class: PriorityClass, messages: u64) -> Self {
        self.chosen.class_lanes[class.index()].credit_limit = Some(messages);
        self
    }

    /// Bytes of the largest message of one class, with [`Lanes::ByClass`]; smaller values than 40
    /// count as 40. The default is the [`max_message`](Self::max_message). So large messages of one
    /// class take no side buffers in the lanes of the others.
    pub fn max_message_of(mut self, class: PriorityClass, bytes: usize) -> Self {
        self.chosen.class_lanes[class.index()].max_message = Some(bytes.max(INLINE_SIZE));
        self
    }
}
