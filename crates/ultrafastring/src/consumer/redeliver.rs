//! Redelivers what a dead consumer held.

use core::mem::MaybeUninit;

#[cfg(feature = "alloc")]
use alloc::vec::Vec;

use super::Consumer;
use super::shown::Bytes;
use crate::error::RecvError;
use crate::lane::reader::adoption::Adoption;
use crate::lane::reader::delivery::Delivery;
use crate::lane::reader::room::Room;
use crate::lane::view::OwnLane;
use crate::layout::participant::Event;
use crate::mode::OwnReader;

impl<S: OwnReader> Consumer<S> {
    /// Does `work` with the dead consumers' messages, if there can be any.
    #[inline]
    fn with_adopted<T>(&mut self, work: impl FnOnce(&mut Adoption, OwnLane<'_>) -> T) -> Option<T> {
        self.reader.adoption().map(|adoption| work(adoption, OwnLane::of(&self.entry)))
    }

    /// Receives the next of a dead consumer's messages into `buffer`. `None` if the dead consumer
    /// had lost the race for it, or if there is none.
    pub(super) fn recv_adopted(
        &mut self,
        buffer: &mut [MaybeUninit<u8>],
        room: Room,
    ) -> Result<Option<Delivery>, RecvError> {
        let Some(delivery) = self.read_adopted() else { return Ok(None) };
        if !room.fits(delivery.size) {
            return Err(self.leave_adopted(room.refusal(delivery.size)));
        }
        if !self.copy_adopted(&delivery, buffer)? {
            return Ok(None);
        }
        self.with_adopted(|adoption, lane| adoption.release(lane));
        Ok(Some(delivery))
    }

    /// Shows the next of a dead consumer's messages to a guard; `false` where
    /// [`recv_adopted`](Self::recv_adopted) returns `None`. A scan of the frontier that is under
    /// way may ignore its hold (`finish_hold`). So it cannot be read in the side buffer, only
    /// copied from there.
    pub(super) fn borrow_adopted(&mut self) -> Result<bool, RecvError> {
        let Some(delivery) = self.read_adopted() else { return Ok(false) };
        let place = match self.keep_adopted(&delivery)? {
            Some(place) => place,
            None => return Ok(false),
        };
        self.show(&delivery, place);
        Ok(true)
    }

    /// Where the bytes of a dead consumer's message can be read as long as the guard exists. `None`
    /// if the dead consumer had lost the race for it.
    fn keep_adopted(&mut self, delivery: &Delivery) -> Result<Option<Bytes>, RecvError> {
        let bytes = delivery.size;
        if delivery.large.is_none() {
            self.note_adopted(delivery);
            return Ok(Some(Bytes::Slot));
        }
        #[cfg(feature = "alloc")]
        {
            let mut copy = Vec::new();
            if copy.try_reserve_exact(bytes).is_ok() {
                if !self.copy_adopted(delivery, &mut copy.spare_capacity_mut()[..bytes])? {
                    return Ok(None);
                }
                // SAFETY: `copy_adopted` has filled this many bytes.
                unsafe { copy.set_len(bytes) };
                return Ok(Some(Bytes::Copy(copy)));
            }
        }
        Err(self.leave_adopted(RecvError::OutOfMemory { bytes }))
    }

    /// Reads the next of a dead consumer's messages, if there is one.
    fn read_adopted(&mut self) -> Option<Delivery> {
        let lane = OwnLane::of(&self.entry);
        self.reader.adoption()?.read(lane, &mut self.tally)
    }

    /// Copies a dead consumer's message to the beginning of `buffer`, which is long enough, and
    /// counts it; `false` if the dead consumer had lost the race for it.
    fn copy_adopted(
        &mut self,
        delivery: &Delivery,
        buffer: &mut [MaybeUninit<u8>],
    ) -> Result<bool, RecvError> {
        let lane = OwnLane::of(&self.entry);
        let (position, large) = (delivery.position, delivery.large.is_some());
        if large {
            self.reader.copy_unheld(lane, delivery, buffer);
        } else {
            self.reader.copy_out(lane, delivery, buffer);
        }
        let lost = large
            && self.with_adopted(|adoption, lane| adoption.confirm(lane, position)) != Some(true);
        if !lost {
            self.note_adopted(delivery);
        }
        Ok(!lost)
    }

    /// Counts a dead consumer's message as taken.
    fn note_adopted(&mut self, delivery: &Delivery) {
        self.entry.participant().count(Event::Redelivered, 1);
        if let Some(meta) = delivery.large {
            self.tally.join_large(meta, delivery.size);
        }
    }

    /// Leaves a dead consumer's message for another call, and returns the reason.
    fn leave_adopted(&mut self, reason: RecvError) -> RecvError {
        self.with_adopted(|adoption, lane| adoption.leave(lane));
        reason
    }

    /// Checks whether a dead consumer has held back the frontier for long. While messages keep
    /// coming nobody is stuck, so without this its message would wait until the ring is full.
    #[inline]
    pub(super) fn look_behind(&mut self, now: u64) {
        let lane = OwnLane::of(&self.entry);
        if let Some(frontier) = S::frontier(lane)
            && self.patience.is_held_back(frontier, now)
            && self.reader.adopt_dead(lane)
        {
            // For the next call, since this call has its message.
            self.reader.hand_on(lane);
        }
    }
}

#[cfg(all(test, feature = "std", not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::layout::locks::Place;
    use crate::mode::Shared;
    use crate::priority::PriorityClass;
    use crate::producer::Producer;
    use crate::ring::UltraFastRing;
    use crate::settings::Side;

    /// Acts as if its process were gone: what it shows stays, and its lock is given back.
    fn die(consumer: Consumer<Shared>) {
        let entry = &consumer.entry;
        entry.locker().unlock(entry.segment(), Place::Entry(entry.index()));
        core::mem::forget(consumer);
    }

    /// A ring of three entries, a producer of it, and the index of the entry of its exclusive
    /// consumer, which died while it held a message.
    fn held_by_a_dead_exclusive_consumer() -> (UltraFastRing, Producer<Shared>, usize) {
        let builder = UltraFastRing::builder().capacity(4).exclusive_consumer().participants(3);
        let ring = builder.heap().unwrap();
        let mut producer = ring.shared_producer().unwrap();
        producer.send_fast(b"one", PriorityClass::Normal).unwrap();
        let mut dead = ring.exclusive_consumer().unwrap();
        core::mem::forget(dead.try_borrow().unwrap());
        let index = dead.participant();
        for place in [Place::Entry(index), Place::Side(Side::Consumer)] {
            dead.entry.locker().unlock(ring.segment(), place);
        }
        core::mem::forget(dead);
        (ring, producer, index)
    }

    #[test]
    fn what_a_dead_exclusive_consumer_held_is_marked_though_a_bystander_has_its_entrys_lock() {
        let (ring, mut producer, index) = held_by_a_dead_exclusive_consumer();
        let bystander = ring.segment().locker().unwrap();
        assert!(bystander.try_lock(ring.segment(), Place::Entry(index)).unwrap());
        let mut heir = ring.exclusive_consumer().unwrap();
        assert!(heir.try_recv().unwrap().is_redelivered());
        drop(heir);
        bystander.unlock(ring.segment(), Place::Entry(index));
        producer.send_fast(b"two", PriorityClass::Normal).unwrap();
        assert!(!ring.exclusive_consumer().unwrap().try_recv().unwrap().is_redelivered());
    }

    #[test]
    fn an_entry_whose_dead_exclusive_consumer_held_what_was_received_since_is_free() {
        for repairs in [false, true] {
            let (ring, _producer, index) = held_by_a_dead_exclusive_consumer();
            let bystander = ring.segment().locker().unwrap();
            assert!(bystander.try_lock(ring.segment(), Place::Entry(index)).unwrap());
            let mut heir = ring.exclusive_consumer().unwrap();
            bystander.unlock(ring.segment(), Place::Entry(index));
            assert!(ring.shared_producer().is_err(), "the table is full while it may be needed");
            assert!(heir.try_recv().unwrap().is_redelivered());
            if repairs {
                assert_eq!(ring.repair().unwrap().entries_freed, 1);
            }
            assert!(ring.shared_producer().is_ok());
        }
    }

    /// A consumer dies while it holds a message, and calls of another are far apart. So one and the
    /// same call finds the message by looking behind, hands it on, and finds it again when there is
    /// nothing else.
    fn is_delivered_again_by(receive: fn(&mut Consumer<Shared>) -> Option<bool>) {
        let ring = UltraFastRing::new(8);
        let (mut dead, mut heir) =
            (ring.shared_consumer().unwrap(), ring.shared_consumer().unwrap());
        for word in [b"one", b"two"] {
            ring.send_fast(word, PriorityClass::Normal).unwrap();
        }
        core::mem::forget(dead.try_borrow().unwrap());
        assert_eq!(receive(&mut heir), Some(false));
        die(dead);
        let again = (0..100).find_map(|_| {
            // Longer than a stuck participant waits before it looks around.
            std::thread::sleep(Duration::from_micros(300));
            receive(&mut heir)
        });
        assert_eq!(again, Some(true));
        assert_eq!(receive(&mut heir), None);
        drop(heir);
        assert_eq!(ring.participants().count(), 1, "an entry is locked for ever");
    }

    #[test]
    fn a_dead_consumers_message_found_twice_by_one_call_is_delivered_by_a_borrow() {
        is_delivered_again_by(|it| it.try_borrow().ok().map(|message| message.is_redelivered()));
    }

    #[test]
    fn a_dead_consumers_message_found_twice_by_one_call_is_delivered_by_a_receive() {
        is_delivered_again_by(|it| it.try_recv().ok().map(|message| message.is_redelivered()));
    }

    #[test]
    fn a_dead_consumers_message_found_twice_by_one_call_is_delivered_in_a_batch() {
        is_delivered_again_by(|it| {
            let batch = it.recv_batch(&mut [[0; 40]]).ok()?;
            batch.first().map(|about| about.redelivered)
        });
    }

    #[test]
    fn a_dead_consumers_message_found_twice_by_one_call_is_delivered_into_a_vector() {
        is_delivered_again_by(|it| {
            it.try_recv_into(&mut Vec::new()).ok().map(|about| about.redelivered)
        });
    }
}
