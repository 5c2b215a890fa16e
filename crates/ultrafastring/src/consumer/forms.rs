//! The calls that wait for a message: without end, for a duration, or until a moment. Each repeats
//! a call that does not wait, and [`wait_for`](Consumer::wait_for) waits in between. Those for
//! values are in [`value`](crate::value), with the feature `zerocopy`.

use std::time::{Duration, Instant};

use super::Consumer;
use super::borrow::Borrowed;
use super::borrow_batch::BorrowedBatch;
use super::receive::ReceiveBuffer;
use crate::error::RecvError;
use crate::message::{Batch, Message, Received};
use crate::mode::Mode;
use crate::waiting::sleep::Until;

/// Copies.
impl<S: Mode> Consumer<S> {
    /// Receives the next message, of at most 40 bytes, and waits if there is none. Otherwise as
    /// [`try_recv`](Self::try_recv).
    ///
    /// By default the consumer spins a little and then sleeps;
    /// [`set_wait_strategy`](Self::set_wait_strategy) changes that. A producer wakes it. If the
    /// producer is killed before it does, the consumer looks by itself within
    /// [`LONGEST_PARK`](crate::LONGEST_PARK), 100 milliseconds.
    ///
    /// ```
    /// use ultrafastring::{PriorityClass, RecvError, UltraFastRing};
    ///
    /// let ring = UltraFastRing::new(8);
    /// let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
    /// std::thread::spawn(move || {
    ///     producer.send(b"the only one", PriorityClass::Normal).unwrap();
    ///     producer.close();
    /// });
    /// assert_eq!(consumer.recv()?, b"the only one");
    /// assert_eq!(consumer.recv().unwrap_err(), RecvError::Closed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`] (also if the ring is closed while it waits),
    /// [`RecvError::BufferTooSmall`] for a larger message, which stays in the ring, and
    /// [`RecvError::Damaged`]. With [`end_when_deserted`](Self::end_when_deserted), also
    /// [`RecvError::Deserted`].
    #[inline]
    pub fn recv(&mut self) -> Result<Message, RecvError> {
        self.recv_by(Until::Done)
    }

    /// The same under its earlier name.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    #[deprecated(since = "0.2.0", note = "use recv")]
    pub fn recv_blocking(&mut self) -> Result<Message, RecvError> {
        self.recv()
    }

    /// As [`recv`](Self::recv), for at most `timeout`. With a timeout of zero it looks once more
    /// than [`try_recv`](Self::try_recv), for messages that dead participants left.
    ///
    /// # Errors
    ///
    /// Those, and [`RecvError::TimedOut`].
    #[inline]
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Message, RecvError> {
        self.recv_by(Until::After(timeout))
    }

    /// As [`recv`](Self::recv), until that moment.
    ///
    /// # Errors
    ///
    /// Those, and [`RecvError::TimedOut`].
    #[inline]
    pub fn recv_deadline(&mut self, deadline: Instant) -> Result<Message, RecvError> {
        self.recv_by(Until::At(deadline))
    }

    #[inline]
    fn recv_by(&mut self, until: Until) -> Result<Message, RecvError> {
        self.wait_for(until, Self::try_recv)
    }
}

/// Copies into memory of the caller.
impl<S: Mode> Consumer<S> {
    /// As [`try_recv_into`](Self::try_recv_into), and waits for a message if there is none.
    ///
    /// # Errors
    ///
    /// As there, except [`RecvError::Empty`]. With [`end_when_deserted`](Self::end_when_deserted),
    /// also [`RecvError::Deserted`].
    #[inline]
    pub fn recv_into<B: ReceiveBuffer + ?Sized>(
        &mut self,
        buffer: &mut B,
    ) -> Result<Received, RecvError> {
        self.recv_into_by(buffer, Until::Done)
    }

    /// As [`recv_into`](Self::recv_into), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Those, and [`RecvError::TimedOut`].
    #[inline]
    pub fn recv_into_timeout<B: ReceiveBuffer + ?Sized>(
        &mut self,
        buffer: &mut B,
        timeout: Duration,
    ) -> Result<Received, RecvError> {
        self.recv_into_by(buffer, Until::After(timeout))
    }

    /// As [`recv_into`](Self::recv_into), until that moment.
    ///
    /// # Errors
    ///
    /// Those, and [`RecvError::TimedOut`].
    #[inline]
    pub fn recv_into_deadline<B: ReceiveBuffer + ?Sized>(
        &mut self,
        buffer: &mut B,
        deadline: Instant,
    ) -> Result<Received, RecvError> {
        self.recv_into_by(buffer, Until::At(deadline))
    }

    #[inline]
    fn recv_into_by<B: ReceiveBuffer + ?Sized>(
        &mut self,
        buffer: &mut B,
        until: Until,
    ) -> Result<Received, RecvError> {
        self.wait_for(until, |this| this.try_recv_into(buffer))
    }
}

/// In place.
impl<S: Mode> Consumer<S> {
    /// As [`try_borrow`](Self::try_borrow), and waits for a message if there is none.
    ///
    /// A message that is kept holds up the slots behind it: producers find the ring full when they
    /// come round to it.
    ///
    /// # Errors
    ///
    /// As there, except [`RecvError::Empty`]. With [`end_when_deserted`](Self::end_when_deserted),
    /// also [`RecvError::Deserted`].
    #[inline]
    pub fn borrow(&mut self) -> Result<Borrowed<'_, S>, RecvError> {
        self.borrow_by(Until::Done)
    }

    /// As [`borrow`](Self::borrow), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Those, and [`RecvError::TimedOut`].
    #[inline]
    pub fn borrow_timeout(&mut self, timeout: Duration) -> Result<Borrowed<'_, S>, RecvError> {
        self.borrow_by(Until::After(timeout))
    }

    /// As [`borrow`](Self::borrow), until that moment.
    ///
    /// # Errors
    ///
    /// Those, and [`RecvError::TimedOut`].
    #[inline]
    pub fn borrow_deadline(&mut self, deadline: Instant) -> Result<Borrowed<'_, S>, RecvError> {
        self.borrow_by(Until::At(deadline))
    }

    #[inline]
    fn borrow_by(&mut self, until: Until) -> Result<Borrowed<'_, S>, RecvError> {
        self.wait_for(until, Self::take_shown)?;
        Ok(self.guard())
    }

    /// As [`try_borrow_many`](Self::try_borrow_many), and waits if there is no message. One is
    /// enough: it does not wait for `most`.
    ///
    /// Messages that are kept hold up the slots behind them: producers find the ring full when they
    /// come round to them.
    ///
    /// # Errors
    ///
    /// As [`borrow`](Self::borrow).
    #[inline]
    pub fn borrow_many(&mut self, most: usize) -> Result<BorrowedBatch<'_, S>, RecvError> {
        self.borrow_many_by(most, Until::Done)
    }

    /// As [`borrow_many`](Self::borrow_many), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Those, and [`RecvError::TimedOut`].
    #[inline]
    pub fn borrow_many_timeout(
        &mut self,
        most: usize,
        timeout: Duration,
    ) -> Result<BorrowedBatch<'_, S>, RecvError> {
        self.borrow_many_by(most, Until::After(timeout))
    }

    /// As [`borrow_many`](Self::borrow_many), until that moment.
    ///
    /// # Errors
    ///
    /// Those, and [`RecvError::TimedOut`].
    #[inline]
    pub fn borrow_many_deadline(
        &mut self,
        most: usize,
        deadline: Instant,
    ) -> Result<BorrowedBatch<'_, S>, RecvError> {
        self.borrow_many_by(most, Until::At(deadline))
    }

    #[inline]
    fn borrow_many_by(
        &mut self,
        most: usize,
        until: Until,
    ) -> Result<BorrowedBatch<'_, S>, RecvError> {
        let several = self.wait_for(until, |this| this.take_several(most))?;
        Ok(BorrowedBatch::of(self, several))
    }
}

/// Several.
impl<S: Mode> Consumer<S> {
    /// As [`try_recv_many`](Self::try_recv_many), and waits if there is no message. One is enough:
    /// it does not wait until all buffers are filled.
    ///
    /// # Errors
    ///
    /// As there, except [`RecvError::Empty`]. With [`end_when_deserted`](Self::end_when_deserted),
    /// also [`RecvError::Deserted`].
    ///
    /// # Panics
    ///
    /// As there.
    #[inline]
    pub fn recv_many<B: AsMut<[u8]>>(&mut self, buffers: &mut [B]) -> Result<Batch, RecvError> {
        self.recv_many_by(buffers, Until::Done)
    }

    /// As [`recv_many`](Self::recv_many), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Those, and [`RecvError::TimedOut`].
    ///
    /// # Panics
    ///
    /// As there.
    #[inline]
    pub fn recv_many_timeout<B: AsMut<[u8]>>(
        &mut self,
        buffers: &mut [B],
        timeout: Duration,
    ) -> Result<Batch, RecvError> {
        self.recv_many_by(buffers, Until::After(timeout))
    }

    /// As [`recv_many`](Self::recv_many), until that moment.
    ///
    /// # Errors
    ///
    /// Those, and [`RecvError::TimedOut`].
    ///
    /// # Panics
    ///
    /// As there.
    #[inline]
    pub fn recv_many_deadline<B: AsMut<[u8]>>(
        &mut self,
        buffers: &mut [B],
        deadline: Instant,
    ) -> Result<Batch, RecvError> {
        self.recv_many_by(buffers, Until::At(deadline))
    }

    #[inline]
    fn recv_many_by<B: AsMut<[u8]>>(
        &mut self,
        buffers: &mut [B],
        until: Until,
    ) -> Result<Batch, RecvError> {
        self.wait_for(until, |this| this.try_recv_many(buffers))
    }
}
