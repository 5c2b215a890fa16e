//! A stretch: the next positions of an exclusive producer, lent to code that was compiled into a
//! program of another language and sends without a call. `ultrafastring_inline.h` of `bindings/c`
//! is that code.
//!
//! ```text
//!  position            end
//!  ───┬─────────────────┬──── positions        lend    like messages within credit and pace
//!     │ sent one by one │ sent by a call       settle  all below `position` was sent
//! ```
//!
//! That code takes the steps of `send_at_once`, with what it needs to know in the stretch. So its
//! death at any step is that of a producer that sends at once.

use core::sync::atomic::AtomicU32;

use super::Producer;
use crate::layout::slot::TimestampedSlot;
use crate::mode::Exclusive;
use crate::own::Own;
use crate::settings::Side;

/// What is lent: for messages of one class and size, since these share their meta word and are
/// counted by their number. In C's layout.
#[doc(hidden)]
#[derive(Debug)]
#[repr(C)]
pub struct SendStretch {
    /// The next position. It grows by one with each message, after its commit.
    position: u64,
    /// Positions below it are lent. 0 if none is.
    end: u64,
    slots: *const TimestampedSlot,
    /// Of a position in its slot's index.
    mask: u64,
    /// The meta word of each message.
    meta: u64,
    size: usize,
    /// Positions with `position & stamp_mask == stamp_equals` carry a timestamp.
    stamp_mask: u64,
    stamp_equals: u64,
    /// After a message with a timestamp beyond it, an announcement is due.
    due_by: u64,
    /// Lines of positions below it may be prefetched for writing.
    ahead_end: u64,
    /// Not 0 if consumers sleep, or the ring was closed: after such a message too.
    bell: *const AtomicU32,
    class: i32,
}

// SAFETY: its pointers are used by code that has the handle which lent it, and lead into the
// segment, which that handle keeps alive.
unsafe impl Send for SendStretch {}

impl SendStretch {
    /// No position is lent.
    pub const NOTHING: Self = Self {
        position: 0,
        end: 0,
        slots: core::ptr::null(),
        mask: 0,
        meta: 0,
        size: 0,
        stamp_mask: 0,
        stamp_equals: 1,
        due_by: 0,
        ahead_end: 0,
        bell: core::ptr::null(),
        class: 0,
    };

    /// Whether positions are lent, or were sent and not settled.
    #[inline(always)]
    pub fn is_lent(&self) -> bool {
        self.end != 0
    }
}

/// For bindings, which have the stretch where inline code finds it.
#[doc(hidden)]
impl Producer {
    /// Lends positions for messages like the last one: as many as there is credit for, up to the
    /// one with which the next announcement is due.
    pub fn lend_stretch(&mut self) -> SendStretch {
        match self.own() {
            Own::Exclusive => self.in_mode::<Exclusive>().lend_own(),
            _ => SendStretch::NOTHING,
        }
    }

    /// Takes back what is lent, before any other call. All below the stretch's position counts as
    /// sent, for which whoever it was lent to vouches.
    #[inline(always)]
    pub fn settle_stretch(&mut self, stretch: &mut SendStretch) {
        if stretch.is_lent() {
            self.in_mode::<Exclusive>().settle_own(stretch);
        }
    }
}

impl Producer<Exclusive> {
    fn lend_own(&self) -> SendStretch {
        let (position, meta) = (self.writer.position(), self.run.meta());
        let (due_at, due_by) = self.pace.due();
        // The message that makes the count of `due_at` is sent by a call, which announces.
        let end = self.writer.bound(meta.class()).min(due_at.saturating_sub(1));
        if end <= position || meta.is_large() || !self.writer.is_stored_in_one_way() {
            return SendStretch::NOTHING;
        }
        let segment = self.entry.segment();
        let (slots, mask) = segment.lane().slots();
        let (stamp_mask, stamp_equals) = self.stamps.mask_and_equals();
        SendStretch {
            position,
            end,
            slots,
            mask,
            meta: meta.word(),
            size: meta.size(),
            stamp_mask,
            stamp_equals,
            due_by,
            ahead_end: self.writer.ahead_bound(meta.class()),
            bell: &raw const segment.control().bell(Side::Consumer).state,
            class: meta.class() as i32,
        }
    }

    #[cold]
    #[inline(never)]
    fn settle_own(&mut self, stretch: &mut SendStretch) {
        debug_assert!(
            self.writer.position() <= stretch.position && stretch.position <= stretch.end
        );
        self.writer.go_on_at(stretch.position);
        *stretch = SendStretch::NOTHING;
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use crate::layout::slot::{Meta, Payload, Stores};
    use crate::priority::PriorityClass;
    use crate::ring::UltraFastRing;
    use crate::settings::Timestamps;

    /// Sends as many bytes as the stretch is for, as inline code does; `false` if none is lent.
    fn send_inline(stretch: &mut SendStretch, data: &[u8]) -> bool {
        if stretch.position >= stretch.end || stretch.size != data.len() {
            return false;
        }
        let index = (stretch.position & stretch.mask) as usize;
        // SAFETY: as in `Lane::slot`: the ring lives.
        let slot = unsafe { &*stretch.slots.add(index) };
        let meta = Meta::new(PriorityClass::High, data.len(), 0);
        slot.commit(stretch.position, meta, 0, Payload::from_bytes(data));
        stretch.position += 1;
        true
    }

    fn ring(capacity: usize) -> UltraFastRing {
        let builder = UltraFastRing::builder().capacity(capacity).timestamps(Timestamps::Off);
        builder.exclusive_producer().exclusive_consumer().heap().unwrap()
    }

    #[test]
    fn what_is_sent_in_a_stretch_is_received_and_counted_like_the_rest() {
        let ring = ring(64);
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        let mut inline = 0;
        for number in 0..10_000u64 {
            let data = number.to_ne_bytes();
            let mut stretch = producer.lend_stretch();
            if stretch.class == PriorityClass::High as i32 && send_inline(&mut stretch, &data) {
                inline += 1;
                producer.settle_stretch(&mut stretch);
                assert!(!stretch.is_lent());
            } else {
                producer.settle_stretch(&mut stretch);
                producer.send_fast(&data, PriorityClass::High).unwrap();
            }
            let message = consumer.try_recv().unwrap();
            assert_eq!((&*message, message.position()), (&data[..], number));
            assert_eq!(message.class(), PriorityClass::High);
        }
        assert!(inline > 1_000 || !Stores::of_this_machine().in_one_way(), "{inline} of 10000");
        producer.flush();
        let sent = ring.stats().classes[PriorityClass::High.index()];
        assert_eq!((sent.sent, sent.sent_bytes), (10_000, 80_000));
    }

    #[test]
    fn no_more_is_lent_than_there_is_credit_for() {
        let ring = ring(8);
        let mut producer = ring.producer().unwrap();
        let mut sent = 0;
        loop {
            let mut stretch = producer.lend_stretch();
            while send_inline(&mut stretch, b"8 bytes.") {
                sent += 1;
            }
            producer.settle_stretch(&mut stretch);
            if producer.send_fast(b"8 bytes.", PriorityClass::Normal).is_err() {
                break;
            }
            sent += 1;
        }
        assert_eq!((sent, ring.len()), (8, 8));
        assert!(!producer.lend_stretch().is_lent());
    }

    #[test]
    fn nothing_is_lent_by_a_shared_side_nor_after_a_large_message_nor_of_a_closed_ring() {
        let shared = UltraFastRing::new(64);
        let mut producer = shared.producer().unwrap();
        let lends = |producer: &mut Producer, size: usize| {
            (0..1_000).any(|_| {
                // A full ring lends nothing either.
                let _ = shared.consumer().unwrap().try_recv();
                let _ = producer.send_fast(&[0; 100][..size], PriorityClass::Normal);
                producer.lend_stretch().is_lent()
            })
        };
        assert!(!lends(&mut producer, 8));
        let builder = UltraFastRing::builder().capacity(64).max_message(100);
        let large = builder.exclusive_producer().heap().unwrap();
        let mut producer = large.producer().unwrap();
        for _ in 0..64 {
            producer.send_fast(&[0; 100], PriorityClass::Normal).unwrap();
            assert!(!producer.lend_stretch().is_lent());
        }
        let closed = ring(64);
        let mut producer = closed.producer().unwrap();
        producer.send_fast(b"8 bytes.", PriorityClass::Normal).unwrap();
        producer.close();
        assert!(!producer.lend_stretch().is_lent());
    }
}
