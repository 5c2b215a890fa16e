//! The calls on `&UltraFastRing`: those that do not wait, besides the founding document's, and
//! those that wait.
//!
//! A call has a thread handle for each try and none while it sleeps. So any number of threads can
//! wait at once, and none keeps a handle from others' calls.

#[cfg(feature = "std")]
mod waits;

#[cfg(feature = "std")]
use std::time::{Duration, Instant};

use crate::consumer::Consumer;
use crate::consumer::receive::ReceiveBuffer;
#[cfg(feature = "std")]
use crate::error::SendManyError;
use crate::error::{RecvError, SendError, TrySendError};
use crate::message::{Batch, Message, Received};
use crate::priority::PriorityClass;
use crate::ring::UltraFastRing;
#[cfg(feature = "std")]
use crate::waiting::sleep::Until;

/// The calls that never wait, as on handles.
impl UltraFastRing {
    /// Sends `message` or gives it back with the reason.
    ///
    /// ```
    /// # #[cfg(feature = "alloc")] {
    /// use ultrafastring::{PriorityClass, UltraFastRing};
    ///
    /// let ring = UltraFastRing::new(1);
    /// ring.try_send("one", PriorityClass::Normal)?;
    /// let refused = ring.try_send("two", PriorityClass::Normal).unwrap_err();
    /// assert!(refused.is_full());
    /// assert_eq!(refused.message, "two");
    /// assert_eq!(&*ring.try_recv()?, b"one");
    /// assert!(ring.try_recv().unwrap_err().is_empty());
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`send_fast`](Self::send_fast).
    #[inline]
    pub fn try_send<M: AsRef<[u8]>>(
        &self,
        message: M,
        class: PriorityClass,
    ) -> Result<(), TrySendError<M>> {
        match self.send_fast(message.as_ref(), class) {
            Ok(()) => Ok(()),
            Err(reason) => Err(TrySendError { message, reason }),
        }
    }

    /// Receives the next message, if it has at most 40 bytes; see [`Consumer::try_recv`].
    ///
    /// # Errors
    ///
    /// As [`recv_fast`](Self::recv_fast).
    #[inline]
    pub fn try_recv(&self) -> Result<Message, RecvError> {
        self.receiving(Consumer::try_recv)
    }

    /// Receives the next message into `buffer`: a `Vec<u8>`, which takes a message of any size, or
    /// bytes. See [`Consumer::try_recv_into`].
    ///
    /// # Errors
    ///
    /// As [`recv_fast`](Self::recv_fast). For a `Vec`, [`RecvError::OutOfMemory`] in place of
    /// [`RecvError::BufferTooSmall`].
    pub fn try_recv_into<B: ReceiveBuffer + ?Sized>(
        &self,
        buffer: &mut B,
    ) -> Result<Received, RecvError> {
        self.receiving(|consumer| consumer.try_recv_into(buffer))
    }

    /// Sends as many of `messages` as there is room for, in order, and returns how many; see
    /// [`Producer::try_send_many`](crate::Producer::try_send_many).
    /// [`send_batch`](Self::send_batch) is the founding document's name for this.
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
        &self,
        messages: &[M],
        class: PriorityClass,
    ) -> Result<usize, SendError> {
        self.send_batch(messages, class)
    }

    /// Receives as many messages as there are, one into each buffer and at most 64; see
    /// [`Consumer::try_recv_many`].
    ///
    /// # Errors
    ///
    /// As [`recv_fast`](Self::recv_fast), and only if none was received.
    ///
    /// # Panics
    ///
    /// If an `as_mut` does; see [`Consumer::try_recv_many`] for what is lost then.
    #[inline]
    pub fn try_recv_many<B: AsMut<[u8]>>(&self, buffers: &mut [B]) -> Result<Batch, RecvError> {
        self.receiving(|consumer| consumer.try_recv_many(buffers))
    }
}

/// The calls that wait. Each waits in its own thread and has no thread handle meanwhile, so any
/// number of threads can wait at once. They spin for a while and then sleep in the kernel, as
/// [`WaitStrategy::SpinThenPark`](crate::WaitStrategy::SpinThenPark) says.
#[cfg(feature = "std")]
impl UltraFastRing {
    /// Sends `data`, and waits while there is no room or no credit for it. One consumer gets it.
    /// `class` is a label with its own reserve of credit and its own statistics. In a ring of one
    /// lane it does not overtake.
    ///
    /// ```
    /// use ultrafastring::{PriorityClass, RecvError, UltraFastRing};
    ///
    /// let ring = UltraFastRing::new(1);
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| {
    ///         for word in ["to", "be", "or"] {
    ///             ring.send(word.as_bytes(), PriorityClass::Normal)?;
    ///         }
    ///         ring.close();
    ///         Ok::<(), ultrafastring::SendError>(())
    ///     });
    ///     for word in ["to", "be", "or"] {
    ///         assert_eq!(&*ring.recv()?, word.as_bytes());
    ///     }
    ///     assert_eq!(ring.recv().unwrap_err(), RecvError::Closed);
    ///     Ok::<(), RecvError>(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`send_fast`](Self::send_fast), except [`SendError::Full`] and
    /// [`SendError::OutOfCredit`].
    pub fn send(&self, data: &[u8], class: PriorityClass) -> Result<(), SendError> {
        self.send_by(class, Until::Done, |producer| producer.send_fast(data, class))
    }

    /// As [`send`](Self::send), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Those, and [`SendError::TimedOut`].
    pub fn send_timeout(
        &self,
        data: &[u8],
        class: PriorityClass,
        timeout: Duration,
    ) -> Result<(), SendError> {
        self.send_by(class, Until::After(timeout), |producer| producer.send_fast(data, class))
    }

    /// As [`send`](Self::send), until that moment.
    ///
    /// # Errors
    ///
    /// Those, and [`SendError::TimedOut`].
    pub fn send_deadline(
        &self,
        data: &[u8],
        class: PriorityClass,
        deadline: Instant,
    ) -> Result<(), SendError> {
        self.send_by(class, Until::At(deadline), |producer| producer.send_fast(data, class))
    }

    /// Receives the next message, if it has at most 40 bytes, and waits for it if there is none.
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`], [`RecvError::BufferTooSmall`] for a larger message, which stays in
    /// the ring, [`RecvError::Damaged`], or [`RecvError::NoEntry`].
    pub fn recv(&self) -> Result<Message, RecvError> {
        self.recv_by(Until::Done, Consumer::try_recv)
    }

    /// As [`recv`](Self::recv), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Those, and [`RecvError::TimedOut`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Message, RecvError> {
        self.recv_by(Until::After(timeout), Consumer::try_recv)
    }

    /// As [`recv`](Self::recv), until that moment.
    ///
    /// # Errors
    ///
    /// Those, and [`RecvError::TimedOut`].
    pub fn recv_deadline(&self, deadline: Instant) -> Result<Message, RecvError> {
        self.recv_by(Until::At(deadline), Consumer::try_recv)
    }

    /// Receives the next message into `buffer`, and waits if there is none. Otherwise as
    /// [`try_recv_into`](Self::try_recv_into).
    ///
    /// # Errors
    ///
    /// As [`try_recv_into`](Self::try_recv_into), except [`RecvError::Empty`].
    pub fn recv_into<B: ReceiveBuffer + ?Sized>(
        &self,
        buffer: &mut B,
    ) -> Result<Received, RecvError> {
        self.recv_by(Until::Done, |consumer| consumer.try_recv_into(buffer))
    }

    /// As [`recv_into`](Self::recv_into), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Those, and [`RecvError::TimedOut`].
    pub fn recv_into_timeout<B: ReceiveBuffer + ?Sized>(
        &self,
        buffer: &mut B,
        timeout: Duration,
    ) -> Result<Received, RecvError> {
        self.recv_by(Until::After(timeout), |consumer| consumer.try_recv_into(buffer))
    }

    /// As [`recv_into`](Self::recv_into), until that moment.
    ///
    /// # Errors
    ///
    /// Those, and [`RecvError::TimedOut`].
    pub fn recv_into_deadline<B: ReceiveBuffer + ?Sized>(
        &self,
        buffer: &mut B,
        deadline: Instant,
    ) -> Result<Received, RecvError> {
        self.recv_by(Until::At(deadline), |consumer| consumer.try_recv_into(buffer))
    }

    /// Sends all of `messages`, in order, and waits while there is no room for more; see
    /// [`Producer::send_many`](crate::Producer::send_many).
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
        &self,
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
        &self,
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
        &self,
        messages: &[M],
        class: PriorityClass,
        deadline: Instant,
    ) -> Result<(), SendManyError> {
        self.send_many_by(messages, class, Until::At(deadline))
    }

    /// As [`try_recv_many`](Self::try_recv_many), and waits for at least one message.
    ///
    /// # Errors
    ///
    /// As [`try_recv_many`](Self::try_recv_many), except [`RecvError::Empty`].
    ///
    /// # Panics
    ///
    /// As there.
    pub fn recv_many<B: AsMut<[u8]>>(&self, buffers: &mut [B]) -> Result<Batch, RecvError> {
        self.recv_by(Until::Done, |consumer| consumer.try_recv_many(buffers))
    }

    /// As [`recv_many`](Self::recv_many), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Those, and [`RecvError::TimedOut`].
    pub fn recv_many_timeout<B: AsMut<[u8]>>(
        &self,
        buffers: &mut [B],
        timeout: Duration,
    ) -> Result<Batch, RecvError> {
        self.recv_by(Until::After(timeout), |consumer| consumer.try_recv_many(buffers))
    }

    /// As [`recv_many`](Self::recv_many), until that moment.
    ///
    /// # Errors
    ///
    /// Those, and [`RecvError::TimedOut`].
    pub fn recv_many_deadline<B: AsMut<[u8]>>(
        &self,
        buffers: &mut [B],
        deadline: Instant,
    ) -> Result<Batch, RecvError> {
        self.recv_by(Until::At(deadline), |consumer| consumer.try_recv_many(buffers))
    }

    /// As [`recv_fast`](Self::recv_fast), and waits for a message if there is none.
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`], [`RecvError::BufferTooSmall`] or [`RecvError::NoEntry`].
    #[deprecated(since = "0.2.0", note = "use recv or recv_into")]
    pub fn recv_blocking(
        &self,
        buffer: &mut [u8],
    ) -> Result<(usize, PriorityClass, u64), RecvError> {
        self.recv_by(Until::Done, |consumer| consumer.recv_fast(buffer))
    }

    /// As [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// As there.
    #[deprecated(since = "0.2.0", note = "use send")]
    pub fn send_blocking(&self, data: &[u8], class: PriorityClass) -> Result<(), SendError> {
        self.send(data, class)
    }
}
