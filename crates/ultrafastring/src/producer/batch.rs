//! Several messages in one call.

use super::Producer;
use crate::error::SendError;
use crate::lane::view::OwnLane;
use crate::layout::slot::INLINE_SIZE;
use crate::layout::span::MAX_SPAN;
use crate::mode::{Mode, OwnMode, in_own_mode};
use crate::priority::PriorityClass;
use crate::settings::Side;
use crate::waiting::bell;

/// All messages of a batch carry one time. Whether they carry any is decided as for this position,
/// so they do unless timestamps are off.
const STAMPED_AS: u64 = 0;

impl<S: Mode> Producer<S> {
    /// Sends as many of `messages` as there is room and credit for now, in order, and returns how
    /// many. Never waits. All have one timestamp. Messages are anything that is bytes (arrays,
    /// slices, `Vec`s, strings), and may differ in size. `send_many` waits until all are sent.
    ///
    /// ```
    /// # #[cfg(feature = "alloc")] {
    /// use ultrafastring::{PriorityClass, UltraFastRing};
    ///
    /// let ring = UltraFastRing::new(2);
    /// let mut producer = ring.producer()?;
    /// assert_eq!(producer.try_send_many(&["to", "be", "or"], PriorityClass::Normal)?, 2);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Messages that other producers send may come between them.
    ///
    /// # Errors
    ///
    /// As [`send_fast`](Self::send_fast), and only if no message was sent. If one of them is too
    /// large, none is sent.
    ///
    /// # Panics
    ///
    /// If an `as_ref` does. What was sent before stays sent.
    #[inline]
    pub fn try_send_many<M: AsRef<[u8]>>(
        &mut self,
        messages: &[M],
        class: PriorityClass,
    ) -> Result<usize, SendError> {
        self.send_batch(messages, class)
    }

    /// [`try_send_many`](Self::try_send_many) under the name of the founding document.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// As there.
    #[inline]
    pub fn send_batch<M: AsRef<[u8]>>(
        &mut self,
        messages: &[M],
        class: PriorityClass,
    ) -> Result<usize, SendError> {
        match self.send_those(messages, class) {
            Err(reason) if S::OWN.is_none() => {
                self.turn_or(class, reason, |this| this.send_those(messages, class))
            }
            done => done,
        }
    }

    /// Sends as many of `messages` as there is credit for in the handle's own lane.
    #[inline]
    fn send_those<M: AsRef<[u8]>>(
        &mut self,
        messages: &[M],
        class: PriorityClass,
    ) -> Result<usize, SendError> {
        self.check_sizes(messages)?;
        in_own_mode!(self, it => it.send_some(messages, class))
    }

    /// Returns an error if one of the messages is too large.
    #[inline]
    pub(crate) fn check_sizes<M: AsRef<[u8]>>(&self, messages: &[M]) -> Result<(), SendError> {
        let max = self.max_message();
        match messages.iter().find(|message| message.as_ref().len() > max) {
            Some(large) => Err(SendError::TooLarge { size: large.as_ref().len(), max }),
            None => Ok(()),
        }
    }
}

impl<S: OwnMode> Producer<S> {
    /// Sends as many of `messages`, none of which is too large, as there is credit for.
    #[inline]
    pub(crate) fn send_some<M: AsRef<[u8]>>(
        &mut self,
        messages: &[M],
        class: PriorityClass,
    ) -> Result<usize, SendError> {
        let mut sent = 0;
        let mut timestamp = self.time_before_claim(class, STAMPED_AS);
        while sent < messages.len() {
            let wanted = (messages.len() - sent).min(MAX_SPAN as usize);
            let (first, count) = match self.claim_up_to(class, wanted as u64) {
                Ok(claimed) => claimed,
                Err(error) if sent == 0 => return Err(error),
                Err(_) => break,
            };
            let time = *timestamp.get_or_insert_with(|| self.stamps.take(STAMPED_AS));
            // If a caller's `as_ref` panics, what was claimed and not committed is abandoned.
            let mut claimed = Claimed { producer: self, next: first, end: first + count };
            let complete = messages[sent..sent + count as usize]
                .iter()
                .all(|message| claimed.commit_next(class, message.as_ref(), time));
            sent += (claimed.next - first) as usize;
            drop(claimed);
            if !complete {
                // By itself, it gets memory that consumed messages occupy.
                match self.send_large(messages[sent].as_ref(), class) {
                    Ok(()) => sent += 1,
                    Err(error) if sent == 0 => return Err(error),
                    Err(_) => break,
                }
            }
            if sent < messages.len() && bell::is_alert(self.entry.segment(), Side::Consumer) {
                // If the ring was closed meanwhile, it gets no more messages of the batch than
                // these.
                self.attend();
            }
        }
        self.announce_if_due(timestamp.unwrap_or(0));
        Ok(sent)
    }

    /// As [`claim`](Self::claim), but for as many positions as there is credit for, up to
    /// `wanted`.
    #[inline]
    pub(super) fn claim_up_to(
        &mut self,
        class: PriorityClass,
        wanted: u64,
    ) -> Result<(u64, u64), SendError> {
        if !self.writer.covers(class, wanted) {
            // The error does not matter: the credit found may be enough for some messages.
            let _ = self.refill(class, wanted);
        }
        let count = wanted.min(self.writer.available(class)).max(1);
        match self.claim(class, count) {
            // Others took some of the credit meanwhile.
            Err(_) if count > 1 => self.claim(class, 1).map(|first| (first, 1)),
            claimed => claimed.map(|first| (first, count)),
        }
    }
}

/// Positions claimed for a batch. Dropping it abandons those that are not committed.
pub(super) struct Claimed<'a, S: OwnMode> {
    pub(super) producer: &'a mut Producer<S>,
    pub(super) next: u64,
    pub(super) end: u64,
}

impl<S: OwnMode> Claimed<'_, S> {
    /// Commits the next message; `false` if there is no memory for it.
    #[inline(always)]
    fn commit_next(&mut self, class: PriorityClass, data: &[u8], timestamp: u64) -> bool {
        if data.len() > INLINE_SIZE {
            return self.commit_next_large(class, data, timestamp);
        }
        self.producer.commit(self.next, class, data, timestamp);
        self.next += 1;
        true
    }

    #[inline(never)]
    fn commit_next_large(&mut self, class: PriorityClass, data: &[u8], timestamp: u64) -> bool {
        let Self { producer, next, .. } = self;
        // If an `as_ref` gives more bytes than when sizes were checked, they are cut. The claimed
        // slot has to be committed.
        let data = &data[..data.len().min(producer.max_message())];
        if data.len() <= INLINE_SIZE {
            producer.commit(*next, class, data, timestamp);
        } else if producer.writer.take_side(*next, data.len(), OwnLane::of(&producer.entry)) {
            producer.put_large(*next, class, data, timestamp);
        } else {
            return false;
        }
        *next += 1;
        true
    }
}

impl<S: OwnMode> Drop for Claimed<'_, S> {
    #[inline]
    fn drop(&mut self) {
        while self.next < self.end {
            self.producer.abandon(self.next);
            self.next += 1;
        }
    }
}
