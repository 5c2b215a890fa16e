//! The calls that wait for room: without end, for a duration, or until a moment. Each repeats a
//! call that does not wait, and [`wait_for`](Producer::wait_for) waits in between. Those for values
//! are in [`value`](crate::value), with the feature `zerocopy`.

use std::time::{Duration, Instant};

use super::Producer;
use super::reserve::Reservation;
use crate::error::{SendError, SendManyError};
use crate::mode::{Mode, in_own_mode};
use crate::priority::PriorityClass;
use crate::waiting::sleep::Until;

/// Copies.
impl<S: Mode> Producer<S> {
    /// Sends `data`, up to [`max_message`](Self::max_message) bytes, and waits while there is no
    /// room or no credit for it.
    ///
    /// One consumer gets the message. `class` is a label with its own reserve of credit
    /// ([`Builder::reserve`](crate::Builder::reserve)) and its own statistics. In a ring of one
    /// lane an urgent message does not overtake those before it.
    ///
    /// By default the producer spins a little and then sleeps;
    /// [`set_wait_strategy`](Self::set_wait_strategy) changes that. A consumer wakes it. If the
    /// consumer is killed before it does, the producer looks by itself within
    /// [`LONGEST_PARK`](crate::LONGEST_PARK), 100 milliseconds.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ultrafastring::{PriorityClass, SendError, UltraFastRing};
    ///
    /// let ring = UltraFastRing::new(1);
    /// let mut producer = ring.producer()?;
    /// producer.send(b"first", PriorityClass::Normal)?;
    /// let timeout = Duration::from_millis(5);
    /// let late = producer.send_timeout(b"second", PriorityClass::Normal, timeout);
    /// assert_eq!(late, Err(SendError::TimedOut));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Nothing of the message was sent: [`SendError::TooLarge`], [`SendError::NoSpace`],
    /// [`SendError::Closed`] (also if the ring is closed while it waits), [`SendError::Damaged`].
    /// With [`end_when_deserted`](Self::end_when_deserted), also [`SendError::Deserted`].
    #[inline]
    pub fn send(&mut self, data: &[u8], class: PriorityClass) -> Result<(), SendError> {
        self.send_by(data, class, Until::Done)
    }

    /// The same under its earlier name.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    #[deprecated(since = "0.2.0", note = "use send")]
    pub fn send_blocking(&mut self, data: &[u8], class: PriorityClass) -> Result<(), SendError> {
        self.send(data, class)
    }

    /// As [`send`](Self::send), for at most `timeout`. With a timeout of zero it looks once more
    /// than [`try_send`](Self::try_send), for messages that consumers have released and not
    /// granted.
    ///
    /// # Errors
    ///
    /// Those, and [`SendError::TimedOut`].
    #[inline]
    pub fn send_timeout(
        &mut self,
        data: &[u8],
        class: PriorityClass,
        timeout: Duration,
    ) -> Result<(), SendError> {
        self.send_by(data, class, Until::After(timeout))
    }

    /// As [`send`](Self::send), until that moment.
    ///
    /// # Errors
    ///
    /// Those, and [`SendError::TimedOut`].
    #[inline]
    pub fn send_deadline(
        &mut self,
        data: &[u8],
        class: PriorityClass,
        deadline: Instant,
    ) -> Result<(), SendError> {
        self.send_by(data, class, Until::At(deadline))
    }

    #[inline]
    fn send_by(
        &mut self,
        data: &[u8],
        class: PriorityClass,
        until: Until,
    ) -> Result<(), SendError> {
        self.wait_for(class, until, |this| this.send_fast(data, class))
    }
}

/// In place.
impl<S: Mode> Producer<S> {
    /// As [`try_reserve`](Self::try_reserve), and waits while there is no room or no credit.
    ///
    /// A reservation that is kept holds up the messages behind it: consumers do not get them until
    /// it is committed or dropped, and producers then find the ring full.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    #[inline]
    pub fn reserve(
        &mut self,
        size: usize,
        class: PriorityClass,
    ) -> Result<Reservation<'_, S>, SendError> {
        self.reserve_by(size, class, Until::Done)
    }

    /// As [`reserve`](Self::reserve), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Those, and [`SendError::TimedOut`].
    #[inline]
    pub fn reserve_timeout(
        &mut self,
        size: usize,
        class: PriorityClass,
        timeout: Duration,
    ) -> Result<Reservation<'_, S>, SendError> {
        self.reserve_by(size, class, Until::After(timeout))
    }

    /// As [`reserve`](Self::reserve), until that moment.
    ///
    /// # Errors
    ///
    /// Those, and [`SendError::TimedOut`].
    #[inline]
    pub fn reserve_deadline(
        &mut self,
        size: usize,
        class: PriorityClass,
        deadline: Instant,
    ) -> Result<Reservation<'_, S>, SendError> {
        self.reserve_by(size, class, Until::At(deadline))
    }

    #[inline]
    fn reserve_by(
        &mut self,
        size: usize,
        class: PriorityClass,
        until: Until,
    ) -> Result<Reservation<'_, S>, SendError> {
        let position = self.wait_for(class, until, |this| this.claim_place(size, class))?;
        Ok(Reservation::of(self, position, class, size))
    }
}

/// Several.
impl<S: Mode> Producer<S> {
    /// Sends all of `messages`, in order, and waits as often as there is no room for the next.
    /// Messages that other producers send may come between them. Each time it goes on, it sends all
    /// that there is room for, with one timestamp.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ultrafastring::{PriorityClass, SendError, UltraFastRing};
    ///
    /// let ring = UltraFastRing::new(2);
    /// let mut producer = ring.producer()?;
    /// let words = ["to", "be", "or"];
    /// let timeout = Duration::from_millis(5);
    /// let error = producer.send_many_timeout(&words, PriorityClass::Normal, timeout).unwrap_err();
    /// assert_eq!((error.sent, error.reason), (2, SendError::TimedOut));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A [`SendManyError`] says how many were sent, and why the next was not: a reason of
    /// [`send`](Self::send). If any of them is too large, none is sent.
    ///
    /// # Panics
    ///
    /// If an `as_ref` does. What was sent before stays sent.
    pub fn send_many<M: AsRef<[u8]>>(
        &mut self,
        messages: &[M],
        class: PriorityClass,
    ) -> Result<(), SendManyError> {
        self.send_many_by(messages, class, Until::Done)
    }

    /// As [`send_many`](Self::send_many), for at most `timeout` in all.
    ///
    /// # Errors
    ///
    /// As there, and [`SendError::TimedOut`].
    pub fn send_many_timeout<M: AsRef<[u8]>>(
        &mut self,
        messages: &[M],
        class: PriorityClass,
        timeout: Duration,
    ) -> Result<(), SendManyError> {
        self.send_many_by(messages, class, Until::After(timeout))
    }

    /// As [`send_many`](Self::send_many), until that moment.
    ///
    /// # Errors
    ///
    /// As there, and [`SendError::TimedOut`].
    pub fn send_many_deadline<M: AsRef<[u8]>>(
        &mut self,
        messages: &[M],
        class: PriorityClass,
        deadline: Instant,
    ) -> Result<(), SendManyError> {
        self.send_many_by(messages, class, Until::At(deadline))
    }

    fn send_many_by<M: AsRef<[u8]>>(
        &mut self,
        messages: &[M],
        class: PriorityClass,
        until: Until,
    ) -> Result<(), SendManyError> {
        self.turn_to(class);
        let mut sent = 0;
        let attempt = |this: &mut Self| {
            let rest = &messages[sent..];
            sent += in_own_mode!(this, it => it.send_some(rest, class))?;
            // The next attempt finds out why the next message was not sent.
            if sent == messages.len() { Ok(()) } else { Err(SendError::Full) }
        };
        self.check_sizes(messages)
            .and_then(|()| self.wait_for(class, until, attempt))
            .map_err(|reason| SendManyError { sent, reason })
    }
}
