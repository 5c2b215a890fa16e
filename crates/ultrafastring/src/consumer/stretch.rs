//! A stretch: the next positions of an exclusive consumer, lent to code that was compiled into a
//! program of another language and receives without a call; see the producer's
//! (`producer/stretch.rs`).
//!
//! That code takes the steps of a copying receive: it looks, reads, releases by storing the head,
//! and counts. So its death at any step is that of a consumer in such a receive.

use super::Consumer;
use crate::lane::view::OwnLane;
use crate::layout::slot::TimestampedSlot;
use crate::mode::{Exclusive, in_readers_mode};
use crate::own::Own;
use crate::sync::AtomicU64;

/// What is lent: for messages of one kind, whose size and class were checked. In C's layout.
#[doc(hidden)]
#[derive(Debug)]
#[repr(C)]
pub struct RecvStretch {
    /// The next position. It grows by one with each message, after its release.
    position: u64,
    /// Positions below it are lent. 0 if none is.
    end: u64,
    slots: *const TimestampedSlot,
    /// Of a position in its slot's index.
    mask: u64,
    /// Where the position after a message that was read is stored.
    head: *const AtomicU64,
    size: usize,
    /// This many positions ahead lines are prefetched for reading; 0 if none are.
    ahead: u64,
    /// After a message that was received beyond this time, a grant is due.
    due_by: u64,
    /// Of the messages that carried a timestamp.
    latency_sum: u64,
    latency_count: u64,
    latency_max: u64,
    /// The low half of each message's meta word.
    kind: u32,
    class: i32,
}

// SAFETY: its pointers are used by code that has the handle which lent it, and lead into the
// segment, which that handle keeps alive.
unsafe impl Send for RecvStretch {}

impl RecvStretch {
    /// No position is lent.
    pub const NOTHING: Self = Self {
        position: 0,
        end: 0,
        slots: core::ptr::null(),
        mask: 0,
        head: core::ptr::null(),
        size: 0,
        ahead: 0,
        due_by: 0,
        latency_sum: 0,
        latency_count: 0,
        latency_max: 0,
        kind: 0,
        class: 0,
    };

    /// Whether positions are lent, or were received and not settled.
    #[inline(always)]
    pub fn is_lent(&self) -> bool {
        self.end != 0
    }
}

/// For bindings, which have the stretch where inline code finds it.
#[doc(hidden)]
impl Consumer {
    /// Lends positions for messages like the last one, up to the one with which the next grant is
    /// due.
    pub fn lend_stretch(&mut self) -> RecvStretch {
        match self.own() {
            Own::Exclusive => self.in_mode::<Exclusive>().lend_own(),
            _ => RecvStretch::NOTHING,
        }
    }

    /// Takes back what is lent, before any other call. All below the stretch's position counts as
    /// received, for which whoever it was lent to vouches.
    #[inline(always)]
    pub fn settle_stretch(&mut self, stretch: &mut RecvStretch) {
        if stretch.is_lent() {
            self.in_mode::<Exclusive>().settle_own(stretch);
        }
    }

    /// What is due after a message that was received `now`.
    #[cold]
    pub fn grant_now(&mut self, now: u64) {
        in_readers_mode!(self, it => it.grant_if_due(now));
    }
}

impl Consumer<Exclusive> {
    fn lend_own(&self) -> RecvStretch {
        // A call counts latencies, and marks what is to be marked.
        if self.reader.is_special() || self.tally.has_histogram() {
            return RecvStretch::NOTHING;
        }
        let (position, run) = (self.reader.position(), self.tally.run());
        let (due_at, due_by) = self.pace.due();
        // The message that makes the count of `due_at` is received by a call, which grants.
        let count = due_at.saturating_sub(1).saturating_sub(self.tally.received());
        if count == 0 {
            return RecvStretch::NOTHING;
        }
        let lane = OwnLane::of(&self.entry);
        let (slots, mask) = lane.segment().lane().slots();
        RecvStretch {
            position,
            end: position + count,
            slots,
            mask,
            head: &raw const *lane.cursor().consumer_head,
            size: run.size(),
            ahead: self.reader.ahead(),
            due_by,
            kind: run.kind(),
            class: run.class() as i32,
            ..RecvStretch::NOTHING
        }
    }

    #[cold]
    #[inline(never)]
    fn settle_own(&mut self, stretch: &mut RecvStretch) {
        let count = stretch.position.wrapping_sub(self.reader.position());
        debug_assert!(count <= stretch.end.wrapping_sub(self.reader.position()));
        self.reader.go_on_at(stretch.position);
        let latencies = (stretch.latency_sum, stretch.latency_count, stretch.latency_max);
        self.tally.add(count, latencies);
        *stretch = RecvStretch::NOTHING;
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use crate::priority::PriorityClass;
    use crate::ring::UltraFastRing;
    use crate::sync::Ordering;

    /// Receives as inline code does, with a latency of 3; `None` if none is lent, or there.
    fn recv_inline(stretch: &mut RecvStretch) -> Option<[u8; 8]> {
        let position = stretch.position;
        if position >= stretch.end {
            return None;
        }
        // SAFETY: as in `Lane::slot`: the ring lives.
        let slot = unsafe { &*stretch.slots.add((position & stretch.mask) as usize) };
        let is_next = slot.sequence() == position + 1;
        let (meta, _, payload) = slot.read();
        if !is_next || meta.kind() != stretch.kind || stretch.size != 8 {
            return None;
        }
        // SAFETY: in the segment of the ring, which lives.
        unsafe { &*stretch.head }.store(position + 1, Ordering::Release);
        stretch.position = position + 1;
        (stretch.latency_sum, stretch.latency_count) =
            (stretch.latency_sum + 3, stretch.latency_count + 1);
        stretch.latency_max = 3;
        let mut bytes = [0; 8];
        payload.copy_to(&mut bytes);
        Some(bytes)
    }

    #[test]
    fn what_is_received_in_a_stretch_is_released_and_counted_like_the_rest() {
        let builder = UltraFastRing::builder().capacity(64).exclusive_consumer();
        let ring = builder.timestamps(crate::settings::Timestamps::Off).heap().unwrap();
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        let (mut inline, class) = (0, PriorityClass::Low);
        for number in 0..10_000u64 {
            producer.send_fast(&number.to_ne_bytes(), class).unwrap();
            let mut stretch = consumer.lend_stretch();
            let taken = recv_inline(&mut stretch);
            consumer.settle_stretch(&mut stretch);
            assert!(!stretch.is_lent());
            inline += u64::from(taken.is_some());
            let bytes = taken.unwrap_or_else(|| {
                let message = consumer.try_recv().unwrap();
                assert_eq!(message.position(), number);
                (*message).try_into().unwrap()
            });
            assert_eq!(u64::from_ne_bytes(bytes), number);
        }
        assert!(inline > 1_000, "{inline} of 10000");
        consumer.flush();
        let received = ring.stats().classes[class.index()];
        assert_eq!((received.received, received.received_bytes), (10_000, 80_000));
        assert_eq!((received.latency_count, received.latency_sum), (inline, 3 * inline));
        assert_eq!(received.latency_max, 3);
    }

    #[test]
    fn nothing_is_lent_by_a_shared_side_nor_where_each_latency_is_counted() {
        let shared = UltraFastRing::new(64);
        let builder = UltraFastRing::builder().capacity(64).exclusive_consumer();
        let counted = builder.latency_histograms(true).heap().unwrap();
        for ring in [shared, counted] {
            let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
            for _ in 0..1_000 {
                producer.send_fast(b"8 bytes.", PriorityClass::Low).unwrap();
                consumer.try_recv().unwrap();
                assert!(!consumer.lend_stretch().is_lent());
            }
        }
    }

    #[test]
    fn nothing_is_lent_while_a_forgotten_message_is_held() {
        let builder = UltraFastRing::builder().capacity(64).exclusive_consumer();
        let ring = builder.heap().unwrap();
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        for _ in 0..64 {
            producer.send_fast(b"8 bytes.", PriorityClass::Low).unwrap();
            core::mem::forget(consumer.try_borrow().unwrap());
            assert!(!consumer.lend_stretch().is_lent());
        }
    }
}
