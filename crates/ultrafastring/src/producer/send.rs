//! The way of a message: credit, claim, write, commit.
//!
//! `send_own` is all of it. It calls the lane's [writer](crate::lane::writer) for what differs
//! between sides.

use super::Producer;
use crate::error::{SendError, TrySendError};
use crate::lane::runs::SentRun;
use crate::lane::view::OwnLane;
use crate::layout::slot::{INLINE_SIZE, Meta, Payload};
use crate::mode::{Exclusive, Mode, OwnMode, in_own_mode};
use crate::own::Own;
use crate::priority::PriorityClass;
use crate::settings::Side;
use crate::waiting::bell;

impl<S: Mode> Producer<S> {
    /// Sends `data`, or returns why it could not. Never waits. Up to 40 bytes travel in the slot,
    /// more in its side buffer, up to the ring's [`max_message`](Self::max_message). The name is
    /// the founding document's. [`try_send`](Self::try_send) does the same, and gives back a
    /// message that it cannot send. `send` waits for room.
    ///
    /// The message goes to one consumer: a ring is a queue, not a broadcast. In a plain ring
    /// `class` is a label with its own reserve of credit, of which
    /// [`Builder::reserve`](crate::Builder::reserve) is the choice, and its own statistics. An
    /// urgent message does not overtake those before it there. In a ring with lanes
    /// [by class](crate::Lanes::ByClass) it does.
    ///
    /// # Errors
    ///
    /// Nothing of the message was sent:
    ///
    /// - [`SendError::Full`] or [`SendError::OutOfCredit`]: try again when consumers have caught
    ///   up.
    /// - [`SendError::TooLarge`]: it never fits.
    /// - [`SendError::NoSpace`]: there is no memory for a side buffer.
    /// - [`SendError::Closed`]: the stream has ended.
    /// - [`SendError::Damaged`]: the segment is gone.
    #[inline(always)]
    pub fn send_fast(&mut self, data: &[u8], class: PriorityClass) -> Result<(), SendError> {
        match in_own_mode!(self, it => it.send_own(data, class)) {
            // Only a handle without a parameter may have other lanes.
            Err(reason) if S::OWN.is_none() => self.send_elsewhere(data, class, reason),
            done => done,
        }
    }

    /// Sends `message`, which is anything that is bytes, or gives it back with the reason. Never
    /// waits. Otherwise as [`send_fast`](Self::send_fast).
    ///
    /// ```
    /// # #[cfg(feature = "alloc")] {
    /// use ultrafastring::{PriorityClass, UltraFastRing};
    ///
    /// let ring = UltraFastRing::new(1);
    /// let mut producer = ring.producer()?;
    /// producer.try_send("text", PriorityClass::Normal)?;
    /// let refused = producer.try_send(vec![1, 2, 3], PriorityClass::Normal).unwrap_err();
    /// assert!(refused.is_full());
    /// assert_eq!(refused.into_inner(), [1, 2, 3]);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`send_fast`](Self::send_fast).
    #[inline(always)]
    pub fn try_send<M: AsRef<[u8]>>(
        &mut self,
        message: M,
        class: PriorityClass,
    ) -> Result<(), TrySendError<M>> {
        match self.send_fast(message.as_ref(), class) {
            Ok(()) => Ok(()),
            Err(reason) => Err(TrySendError { message, reason }),
        }
    }

    /// Sends `data`, and calls `relax` repeatedly while there is no room. This is for programs
    /// without an operating system, or with one of their own.
    ///
    /// # Errors
    ///
    /// As [`send_fast`](Self::send_fast), except [`SendError::Full`] and
    /// [`SendError::OutOfCredit`], for which it waits. Nothing of the message was sent.
    pub fn send_spinning(
        &mut self,
        data: &[u8],
        class: PriorityClass,
        mut relax: impl FnMut(),
    ) -> Result<(), SendError> {
        loop {
            match self.send_fast(data, class) {
                Err(SendError::Full | SendError::OutOfCredit) => relax(),
                done => return done,
            }
        }
    }
}

/// What [`Producer::send_at_once`] did.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtOnce {
    /// The message is sent.
    Sent,
    /// The message is sent, and [`Producer::announce_now`] is due, with this timestamp.
    Due(u64),
    /// Nothing was done: another call has to send it.
    Not,
}

/// For bindings, whose callers have each message in memory and each call in the way: the most
/// common send, without a call and with as few stores as there can be. Each store waits in the
/// store buffer behind those into slots, so a call that saves its registers there slows a stream
/// down: `versus --only "exclusive from C" --only "exclusive 4096"` compares the two.
#[doc(hidden)]
impl Producer {
    /// Sends `data` if the side is exclusive, there is credit, the message before it had the same
    /// class and size, and its size is a multiple of 8.
    #[inline(always)]
    pub fn send_at_once(&mut self, data: &[u8], class: PriorityClass) -> AtOnce {
        match self.own() {
            Own::Exclusive => self.in_mode::<Exclusive>().send_like_the_last(data, class),
            _ => AtOnce::Not,
        }
    }

    /// What is due after a message was sent at once.
    #[cold]
    pub fn announce_now(&mut self, timestamp: u64) {
        in_own_mode!(self, it => it.announce_if_due(timestamp));
    }
}

impl Producer<Exclusive> {
    #[inline(always)]
    fn send_like_the_last(&mut self, data: &[u8], class: PriorityClass) -> AtOnce {
        // Whole words, which go straight to where they are stored from.
        let is_whole_words = data.len() <= INLINE_SIZE && data.len().is_multiple_of(8);
        let kind = Meta::new(class, data.len(), 0).kind();
        if !is_whole_words || !self.run.continues(kind) || !self.writer.covers(class, 1) {
            return AtOnce::Not;
        }
        let position = self.writer.position();
        let timestamp = self.stamps.take(position);
        let lane = OwnLane::of(&self.entry);
        self.writer.prepare(position, class, lane);
        let (meta, payload) = (self.run.meta(), Payload::from_whole_words(data));
        if !self.writer.commit_at_once(position, meta, timestamp, payload, lane) {
            return AtOnce::Not;
        }
        let due = self.pace.is_due(self.writer.count(), timestamp);
        // After the commit, as in `announce_if_due`.
        if due || bell::is_alert(self.entry.segment(), Side::Consumer) {
            return AtOnce::Due(timestamp);
        }
        AtOnce::Sent
    }
}

impl<S: OwnMode> Producer<S> {
    #[inline(always)]
    pub(super) fn send_own(&mut self, data: &[u8], class: PriorityClass) -> Result<(), SendError> {
        if data.len() > INLINE_SIZE {
            return self.send_large(data, class);
        }
        let expected = self.writer.position();
        let early = self.time_before_claim(class, expected);
        let position = self.claim(class, 1)?;
        let timestamp = match early {
            Some(early) if position == expected => early,
            _ => self.stamps.take(position),
        };
        self.commit(position, class, data, timestamp);
        self.announce_if_due(timestamp);
        Ok(())
    }

    /// The time for the message at `position`, if it is better read before the claim. It is not
    /// read without credit, so that waiting for credit is not part of the latency.
    #[inline(always)]
    pub(super) fn time_before_claim(&self, class: PriorityClass, position: u64) -> Option<u64> {
        (S::TIME_BEFORE_CLAIM && self.writer.covers(class, 1)).then(|| self.stamps.take(position))
    }

    /// Claims `count` positions (1 to 64) and returns the first.
    #[inline(always)]
    pub(super) fn claim(&mut self, class: PriorityClass, count: u64) -> Result<u64, SendError> {
        if self.writer.reserved().is_some() {
            self.cancel_forgotten();
        }
        let mut lost = 0;
        loop {
            if !self.writer.covers(class, count) {
                self.refill(class, count)?;
                continue;
            }
            let lane = OwnLane::of(&self.entry);
            if let Some(position) = self.writer.claim(count, lane) {
                return Ok(position);
            }
            lost += 1;
            self.writer.lose_race(lost, lane)?;
        }
    }

    /// Writes a message of up to 40 bytes and makes it visible.
    #[inline(always)]
    pub(super) fn commit(
        &mut self,
        position: u64,
        class: PriorityClass,
        data: &[u8],
        timestamp: u64,
    ) {
        let meta = Meta::new(class, data.len(), 0);
        if !self.run.continues(meta.kind()) {
            self.begin_run(meta);
        }
        let lane = OwnLane::of(&self.entry);
        self.writer.prepare(position, class, lane);
        let payload = || Payload::from_bytes(data);
        self.writer.commit(position, self.run.meta(), timestamp, payload, lane);
    }

    /// Counts the run of like messages that ends here, and begins a run of messages like `meta`.
    #[inline(never)]
    pub(super) fn begin_run(&mut self, meta: Meta) {
        let count = self.writer.count();
        self.run.end(count, &mut self.lanes);
        self.run = SentRun::begin(meta.sent_by(self.entry.index() as u32), count);
    }

    /// Gives up a claimed position.
    #[inline]
    pub(super) fn abandon(&mut self, position: u64) {
        self.writer.abandon(position, OwnLane::of(&self.entry));
    }

    /// Cancels a reservation whose guard was forgotten.
    #[cold]
    pub(super) fn cancel_forgotten(&mut self) {
        if let Some(position) = self.writer.reserved() {
            self.writer.set_reserved(None);
            self.abandon(position);
        }
    }
}

#[cfg(all(test, feature = "std", not(loom)))]
mod tests {
    use super::*;
    use crate::ring::UltraFastRing;

    #[test]
    #[cfg_attr(miri, ignore = "it takes long, and is plain code there")]
    fn what_is_sent_at_once_is_received_and_what_is_not_was_not_sent() {
        let ring = UltraFastRing::builder().capacity(4).exclusive_producer().heap().unwrap();
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        let bytes: [u8; 48] = core::array::from_fn(|i| i as u8 + 1);
        let mut at_once = 0;
        for size in (0..=48).chain([8, 8, 40, 40, 32, 32]) {
            for _ in 0..3 {
                match producer.send_at_once(&bytes[..size], PriorityClass::High) {
                    AtOnce::Not if size > INLINE_SIZE => continue,
                    AtOnce::Not => {
                        assert!(consumer.try_recv().is_err(), "{size} bytes were sent after all");
                        producer.send_fast(&bytes[..size], PriorityClass::High).unwrap();
                    }
                    AtOnce::Due(timestamp) => producer.announce_now(timestamp),
                    AtOnce::Sent => at_once += 1,
                }
                let message = consumer.try_recv().unwrap();
                assert_eq!((&*message, message.class()), (&bytes[..size], PriorityClass::High));
            }
        }
        assert!(at_once > 0 || !cfg!(target_arch = "x86_64"));
    }

    #[test]
    fn what_is_not_the_most_common_case_is_left_to_another_call() {
        let full = UltraFastRing::builder().capacity(1).exclusive_producer().heap().unwrap();
        let mut producer = full.producer().unwrap();
        producer.send_fast(b"8 bytes.", PriorityClass::Low).unwrap();
        assert_eq!(producer.send_at_once(b"8 bytes.", PriorityClass::Low), AtOnce::Not);
        let shared = UltraFastRing::new(4);
        let mut producer = shared.producer().unwrap();
        producer.send_fast(b"8 bytes.", PriorityClass::Low).unwrap();
        assert_eq!(producer.send_at_once(b"8 bytes.", PriorityClass::Low), AtOnce::Not);
        let closed = UltraFastRing::builder().capacity(4).exclusive_producer().heap().unwrap();
        let mut producer = closed.producer().unwrap();
        producer.send_fast(b"8 bytes.", PriorityClass::Low).unwrap();
        producer.close();
        assert_eq!(producer.send_at_once(b"8 bytes.", PriorityClass::Low), AtOnce::Not);
    }
}
