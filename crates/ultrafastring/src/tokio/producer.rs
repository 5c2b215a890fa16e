//! A producer whose waits are futures.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::vec::Vec;

use futures_sink::Sink;
use tokio::io::unix::AsyncFd;

use super::polling::{TRIES, poll_cleared, register};
use crate::error::SendError;
use crate::mode::{AnyMode, Mode};
use crate::priority::PriorityClass;
use crate::producer::Producer;
use crate::producer::deserted::UntilDeserted;
use crate::producer::reserve::Reservation;
use crate::waiting::readiness::Readiness;
use crate::waiting::sleep::Sleeper;

/// A producer whose waits are futures. It is also a sink of messages of one class and of any size.
///
/// Each call is cancel-safe. A future that is dropped before its end, as `select!` does, has sent
/// nothing.
///
/// The sink sends a message when there is room, and `flush` waits until all are sent. Closing the
/// sink flushes it and leaves the ring open, which may have other producers. [`Producer::close`]
/// ends the stream.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
/// use ultrafastring::{AsyncProducer, PriorityClass, UltraFastRing};
///
/// let ring = UltraFastRing::builder().max_message(1000).heap()?;
/// let mut consumer = ring.consumer()?;
/// let mut producer = AsyncProducer::new(ring.producer()?)?;
/// producer.send(&[7; 900], PriorityClass::Normal).await?;
/// let mut place = producer.reserve(4, PriorityClass::High).await?;
/// place.copy_from_slice(b"here");
/// place.commit();
///
/// assert_eq!(consumer.try_borrow()?.len(), 900);
/// assert_eq!(consumer.try_recv()?, b"here");
/// drop(consumer);
/// producer.deserted().await; // nobody is left to send to
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct AsyncProducer<S: Mode = AnyMode> {
    readiness: AsyncFd<Readiness>,
    producer: Producer<S>,
    class: PriorityClass,
    /// A message of the sink for which there was no room.
    pending: Option<Vec<u8>>,
}

impl<S: Mode> AsyncProducer<S> {
    /// Takes a producer into the runtime of this task. The sink sends with
    /// [`PriorityClass::Normal`].
    ///
    /// # Errors
    ///
    /// What the system says when asked for a descriptor or a thread.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with I/O enabled, as all of tokio's I/O does.
    pub fn new(producer: Producer<S>) -> io::Result<Self> {
        let readiness = register(producer.readiness()?)?;
        Ok(Self { readiness, producer, class: PriorityClass::Normal, pending: None })
    }

    /// The class with which the sink sends.
    pub fn with_class(mut self, class: PriorityClass) -> Self {
        self.class = class;
        self
    }

    /// Sends `data`, of any size up to the ring's [`max_message`](Producer::max_message), when
    /// there is room. First it sends what the sink still has; if that fails, its error is returned
    /// here and `data` is not sent.
    ///
    /// # Errors
    ///
    /// Nothing of the message was sent: [`SendError::TooLarge`], [`SendError::NoSpace`] if no
    /// message in flight has memory to give, [`SendError::Closed`], [`SendError::Damaged`]. With
    /// [`end_when_deserted`](Producer::end_when_deserted), also [`SendError::Deserted`].
    pub async fn send(&mut self, data: &[u8], class: PriorityClass) -> Result<(), SendError> {
        poll_fn(|cx| self.poll_send(cx, data, class)).await
    }

    /// As [`send`](Self::send), for futures written by hand.
    pub fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
        class: PriorityClass,
    ) -> Poll<Result<(), SendError>> {
        self.poll_after_pending(cx, class, |producer| producer.send_fast(data, class))
    }

    /// Claims a slot for a message of `size` bytes, after sending what the sink still has. The
    /// message is written in place and sent by [`commit`](Reservation::commit); see
    /// [`try_reserve`](Producer::try_reserve). Until then it holds up messages that others send
    /// later.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn reserve(
        &mut self,
        size: usize,
        class: PriorityClass,
    ) -> Result<Reservation<'_, S>, SendError> {
        let claim = |producer: &mut Producer<S>| producer.claim_place(size, class);
        let position = poll_fn(|cx| self.poll_after_pending(cx, class, claim)).await?;
        Ok(Reservation::of(&mut self.producer, position, class, size))
    }

    /// Sends what the sink still has, and waits until there is room for a message of `class`. Use
    /// it before a call of [`get_mut`](Self::get_mut) that does not wait. On a shared side another
    /// producer may take the room first.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), except those about the message.
    pub async fn ready(&mut self, class: PriorityClass) -> Result<(), SendError> {
        let look = |producer: &mut Producer<S>| {
            producer.note_refused(class);
            if producer.look()? { Ok(()) } else { Err(SendError::Full) }
        };
        poll_fn(|cx| self.poll_after_pending(cx, class, look)).await
    }

    /// Waits until the last consumer has left, without sending anything. A task that makes
    /// something costly can wait for this in one branch of a `select!`, and stop. See
    /// [`wait_deserted`](Producer::wait_deserted).
    pub async fn deserted(&mut self) {
        poll_fn(|cx| {
            for _ in 0..TRIES {
                if self.producer.is_deserted() {
                    return Poll::Ready(());
                }
                let readiness = self.readiness.get_ref();
                // It has no errors.
                if !readiness.is_armed::<UntilDeserted<'_, S>>()
                    && readiness.arm(&mut UntilDeserted(&mut self.producer)) != Ok(false)
                {
                    return Poll::Ready(());
                }
                ready!(poll_cleared(&self.readiness, cx));
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Sends the sink's message, and then repeats `attempt`, a call that does not wait, while there
    /// is no room for a message of `class`.
    fn poll_after_pending<T>(
        &mut self,
        cx: &mut Context<'_>,
        class: PriorityClass,
        attempt: impl FnMut(&mut Producer<S>) -> Result<T, SendError>,
    ) -> Poll<Result<T, SendError>> {
        ready!(self.poll_pending(cx))?;
        self.poll(cx, class, attempt)
    }

    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        class: PriorityClass,
        mut attempt: impl FnMut(&mut Producer<S>) -> Result<T, SendError>,
    ) -> Poll<Result<T, SendError>> {
        for _ in 0..TRIES {
            match attempt(&mut self.producer) {
                Err(error) if self.producer.may_wait(error) => {}
                done => return Poll::Ready(done),
            }
            if !self.readiness.get_ref().is_armed::<Producer<S>>() {
                match self.producer.arm(class, self.readiness.get_ref()) {
                    Ok(true) => continue,
                    Ok(false) => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            ready!(poll_cleared(&self.readiness, cx));
        }
        // As for a consumer.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Sends what the sink had no room for.
    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        if let Some(bytes) = self.pending.take() {
            let class = self.class;
            let sent = self.poll(cx, class, |producer| producer.send_fast(&bytes, class));
            if sent.is_pending() {
                self.pending = Some(bytes);
            }
            return sent;
        }
        Poll::Ready(Ok(()))
    }

    /// The handle, for the calls that do not wait.
    pub fn get_mut(&mut self) -> &mut Producer<S> {
        &mut self.producer
    }

    /// Takes the handle out of the runtime. A message that the sink has not sent is dropped.
    pub fn into_inner(self) -> Producer<S> {
        self.producer
    }
}

impl<S: Mode, M: AsRef<[u8]>> Sink<M> for AsyncProducer<S> {
    type Error = SendError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.get_mut().poll_pending(cx)
    }

    fn start_send(self: Pin<&mut Self>, message: M) -> Result<(), SendError> {
        let this = self.get_mut();
        let data = message.as_ref();
        match this.producer.send_fast(data, this.class) {
            Err(error) if this.producer.may_wait(error) => {
                this.pending = Some(data.to_vec());
                Ok(())
            }
            done => done,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.get_mut().poll_pending(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.get_mut().poll_pending(cx)
    }
}

impl<S: Mode> Unpin for AsyncProducer<S> {}
