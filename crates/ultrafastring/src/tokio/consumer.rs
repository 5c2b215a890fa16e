//! A consumer whose waits are futures.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::vec::Vec;

use futures_core::Stream;
use tokio::io::unix::AsyncFd;

use super::polling::{TRIES, poll_cleared, register};
use crate::consumer::Consumer;
use crate::consumer::borrow::Borrowed;
use crate::consumer::borrow_batch::BorrowedBatch;
use crate::consumer::receive::ReceiveBuffer;
use crate::error::RecvError;
use crate::message::{Batch, Message, Received};
use crate::mode::{AnyMode, Mode};
use crate::waiting::readiness::Readiness;
use crate::waiting::sleep::{Limit, Sleeper};

/// A consumer whose waits are futures. It is also a stream of messages of up to 40 bytes, which
/// ends when the ring is closed or deserted, and yields other failures as errors.
/// [`vecs`](Self::vecs) is a stream of messages of any size.
///
/// Each call is cancel-safe. A future that is dropped before its end, as `select!` does, has taken
/// nothing out of the ring, and passes on its wake-up if it had one. The handle has a thread that
/// sleeps in its place, and uses the processor only for a look every
/// [`LONGEST_PARK`](crate::LONGEST_PARK).
///
/// A ring gives each message to one consumer, and its slots become free in order. A message that is
/// [borrowed](Self::borrow) across an `.await` holds up the slots behind it.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
/// use ultrafastring::{AsyncConsumer, AsyncProducer, PriorityClass, RecvError, UltraFastRing};
///
/// let ring = UltraFastRing::builder().max_message(1000).heap()?;
/// let mut producer = AsyncProducer::new(ring.producer()?)?;
/// let mut consumer = AsyncConsumer::new(ring.consumer()?)?;
/// producer.send(b"hello", PriorityClass::Normal).await?;
/// producer.send(&[7; 900], PriorityClass::Normal).await?;
/// producer.send(b"in place", PriorityClass::Normal).await?;
/// producer.get_mut().close();
///
/// assert_eq!(consumer.recv().await?, b"hello");
/// let mut any = Vec::new();
/// assert_eq!(consumer.recv_into(&mut any).await?.size, 900);
/// let message = consumer.borrow().await?;
/// assert_eq!(message.as_inline(), Some(&b"in place"[..]));
/// message.release();
/// assert_eq!(consumer.recv().await.unwrap_err(), RecvError::Closed);
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct AsyncConsumer<S: Mode = AnyMode> {
    readiness: AsyncFd<Readiness>,
    consumer: Consumer<S>,
    /// Whether its bell was armed since it last received something.
    armed: bool,
}

impl<S: Mode> AsyncConsumer<S> {
    /// Takes a consumer into the runtime of this task.
    ///
    /// # Errors
    ///
    /// The system's error, if it gives no descriptor or no thread.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with I/O enabled, as all of tokio's I/O does.
    pub fn new(consumer: Consumer<S>) -> io::Result<Self> {
        let readiness = register(consumer.readiness()?)?;
        Ok(Self { readiness, consumer, armed: false })
    }

    /// Receives the next message, if it has at most 40 bytes.
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`], [`RecvError::BufferTooSmall`] for a larger message, which stays in
    /// the ring, and [`RecvError::Damaged`]. With
    /// [`end_when_deserted`](Consumer::end_when_deserted), also [`RecvError::Deserted`].
    pub async fn recv(&mut self) -> Result<Message, RecvError> {
        self.until(Consumer::try_recv).await
    }

    /// Receives the next message into memory of the caller, as
    /// [`try_recv_into`](Consumer::try_recv_into) does: a `Vec<u8>` takes a message of any size. If
    /// the future is dropped before its end, a `Vec` is empty and the message stays in the ring.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv). For a `Vec`, [`RecvError::OutOfMemory`] in place of
    /// [`RecvError::BufferTooSmall`].
    pub async fn recv_into<B: ReceiveBuffer + ?Sized>(
        &mut self,
        buffer: &mut B,
    ) -> Result<Received, RecvError> {
        self.until(|consumer| consumer.try_recv_into(buffer)).await
    }

    /// Receives at least one message, and as many as there are, as
    /// [`try_recv_many`](Consumer::try_recv_many) does.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`RecvError::OutOfMemory`] for a large message.
    ///
    /// # Panics
    ///
    /// As [`try_recv_many`](Consumer::try_recv_many).
    pub async fn recv_many<B: AsMut<[u8]>>(
        &mut self,
        buffers: &mut [B],
    ) -> Result<Batch, RecvError> {
        self.until(|consumer| consumer.try_recv_many(buffers)).await
    }

    /// Takes the next message, of any size, to read it in place; see
    /// [`try_borrow`](Consumer::try_borrow). It is released when the guard is dropped.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), but no message is too large. Rarely [`RecvError::OutOfMemory`].
    pub async fn borrow(&mut self) -> Result<Borrowed<'_, S>, RecvError> {
        self.until(Consumer::take_shown).await?;
        Ok(self.consumer.guard())
    }

    /// Takes at least one message and at most `most`, as many as there are, to read them in place;
    /// see [`try_borrow_many`](Consumer::try_borrow_many).
    ///
    /// # Errors
    ///
    /// As [`borrow`](Self::borrow).
    pub async fn borrow_many(&mut self, most: usize) -> Result<BorrowedBatch<'_, S>, RecvError> {
        let several = self.until(|consumer| consumer.take_several(most)).await?;
        Ok(BorrowedBatch::of(&mut self.consumer, several))
    }

    /// Waits until there is something to receive, and takes nothing. Use it before a call of
    /// [`get_mut`](Self::get_mut) that does not wait. On a shared side another consumer may take
    /// the message first.
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`], [`RecvError::Damaged`]. With
    /// [`end_when_deserted`](Consumer::end_when_deserted), also [`RecvError::Deserted`].
    pub async fn ready(&mut self) -> Result<(), RecvError> {
        self.until(|consumer| if consumer.look()? { Ok(()) } else { Err(RecvError::Empty) }).await
    }

    /// A stream of messages of any size, each in its own `Vec`. It ends as the stream of this
    /// handle does. You can drop it and make another at any time.
    pub fn vecs(&mut self) -> Vecs<'_, S> {
        Vecs(self)
    }

    /// As [`recv`](Self::recv), for futures written by hand.
    ///
    /// If you stop polling and keep the handle, its wake-up is not passed on. Then other consumers
    /// of a shared side may sleep for [`LONGEST_PARK`](crate::LONGEST_PARK) longer.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, RecvError>> {
        self.poll(cx, Consumer::try_recv)
    }

    /// As [`recv_into`](Self::recv_into), for futures written by hand; see
    /// [`poll_recv`](Self::poll_recv).
    pub fn poll_recv_into<B: ReceiveBuffer + ?Sized>(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut B,
    ) -> Poll<Result<Received, RecvError>> {
        self.poll(cx, |consumer| consumer.try_recv_into(buffer))
    }

    /// Repeats `attempt`, a call that does not wait, until it returns something.
    async fn until<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Consumer<S>) -> Result<T, RecvError>,
    ) -> Result<T, RecvError> {
        let unfinished = Unfinished(self);
        poll_fn(|cx| unfinished.0.poll(cx, &mut attempt)).await
    }

    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut(&mut Consumer<S>) -> Result<T, RecvError>,
    ) -> Poll<Result<T, RecvError>> {
        for _ in 0..TRIES {
            // If a peer's garbage leads it from position to position, it yields the thread.
            match self.consumer.limited(Limit::AtOnce, &mut attempt) {
                Err(RecvError::Empty) => {}
                Err(RecvError::TimedOut) => break,
                done => {
                    self.cancel();
                    return Poll::Ready(done);
                }
            }
            if !self.readiness.get_ref().is_armed::<Consumer<S>>() {
                let readiness = self.readiness.get_ref();
                match self.consumer.limited(Limit::AtOnce, |consumer| consumer.arm(readiness)) {
                    Ok(true) => continue,
                    Ok(false) => self.armed = true,
                    Err(error) => {
                        self.cancel();
                        return Poll::Ready(Err(error));
                    }
                }
            }
            ready!(poll_cleared(&self.readiness, cx));
        }
        // Others, or garbage, make it find nothing. It yields, so that they do not occupy the
        // runtime's thread.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ends the wait, and passes on its wake-up if it had one.
    fn cancel(&mut self) {
        if core::mem::take(&mut self.armed) {
            self.readiness.get_ref().cancel(&mut self.consumer);
        }
    }

    /// The handle, for the calls that do not wait.
    pub fn get_mut(&mut self) -> &mut Consumer<S> {
        &mut self.consumer
    }

    /// Takes the handle out of the runtime.
    pub fn into_inner(self) -> Consumer<S> {
        self.consumer
    }
}

/// A wait that passes on its wake-up if it is dropped before its end.
struct Unfinished<'a, S: Mode>(&'a mut AsyncConsumer<S>);

impl<S: Mode> Drop for Unfinished<'_, S> {
    fn drop(&mut self) {
        // Nothing, at its end.
        self.0.cancel();
    }
}

/// What a stream yields for a result: `None` at its end.
fn item<T>(received: Result<T, RecvError>) -> Option<Result<T, RecvError>> {
    match received {
        Err(RecvError::Closed | RecvError::Deserted) => None,
        other => Some(other),
    }
}

impl<S: Mode> Stream for AsyncConsumer<S> {
    type Item = Result<Message, RecvError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_recv(cx).map(item)
    }
}

impl<S: Mode> Unpin for AsyncConsumer<S> {}

/// The messages of an [`AsyncConsumer`], of any size: see [`AsyncConsumer::vecs`].
#[derive(Debug)]
pub struct Vecs<'a, S: Mode = AnyMode>(&'a mut AsyncConsumer<S>);

impl<S: Mode> Stream for Vecs<'_, S> {
    type Item = Result<Vec<u8>, RecvError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut bytes = Vec::new();
        let received = ready!(self.get_mut().0.poll_recv_into(cx, &mut bytes));
        Poll::Ready(item(received.map(|_| bytes)))
    }
}

impl<S: Mode> Drop for Vecs<'_, S> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
