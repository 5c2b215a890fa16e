//! Handles for tokio: `recv().await`, `send().await`, a stream and a sink, over a
//! [`Readiness`](crate::Readiness).
//!
//! A message is taken and returned, or sent, in one poll: a future that is dropped before has taken
//! or sent nothing.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::vec::Vec;

use futures_core::Stream;
use futures_sink::Sink;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::produce::Mode;
use crate::wait::Limit;
use crate::{Consumer, Message, PriorityClass, Producer, Readiness, RecvError, SendError};

fn register(readiness: Readiness) -> io::Result<AsyncFd<Readiness>> {
    // SAFETY: a `Readiness` owns its descriptor, which stays open and the same as long as it lives.
    Ok(unsafe { AsyncFd::register_with_interest(readiness, Interest::READABLE) }?)
}

/// Waits until the descriptor was readable, and clears it.
fn poll_cleared(readiness: &AsyncFd<Readiness>, cx: &mut Context<'_>) -> Poll<()> {
    match ready!(readiness.poll_read_ready(cx)) {
        Ok(mut guard) => {
            readiness.get_ref().clear();
            guard.clear_ready();
            Poll::Ready(())
        }
        // The runtime is going down, and drops its tasks as they yield.
        Err(_) => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }
}

/// A consumer whose waits are futures; also a stream of messages, which ends when the ring is
/// closed, or deserted, and gives what else goes wrong as an error.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
/// use ultrafastring::{AsyncConsumer, AsyncProducer, PriorityClass, RecvError, UltraFastRing};
///
/// let ring = UltraFastRing::new(8);
/// let mut producer = AsyncProducer::new(ring.producer()?)?;
/// let mut consumer = AsyncConsumer::new(ring.consumer()?)?;
/// producer.send(b"hello", PriorityClass::Normal).await?;
/// producer.get_mut().close();
/// assert_eq!(&*consumer.recv().await?, b"hello");
/// assert_eq!(consumer.recv().await.unwrap_err(), RecvError::Closed);
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct AsyncConsumer<S: Mode> {
    readiness: AsyncFd<Readiness>,
    consumer: Consumer<S>,
    /// Whether it was announced as asleep since it last received something.
    waited: bool,
}

/// How often a poll that finds the ring ready and gets nothing tries again before it yields.
const TRIES: usize = 16;

impl<S: Mode> AsyncConsumer<S> {
    /// Takes a consumer into the runtime of this task.
    ///
    /// # Errors
    ///
    /// What the system says when asked for a descriptor or a thread.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with I/O enabled, as all of tokio's I/O does.
    pub fn new(consumer: Consumer<S>) -> io::Result<Self> {
        let readiness = register(consumer.readiness()?)?;
        Ok(Self { readiness, consumer, waited: false })
    }

    /// Receives the next message.
    ///
    /// Dropping the future takes nothing out of the ring.
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`], and [`RecvError::Deserted`] if
    /// [`end_when_deserted`](Consumer::end_when_deserted) was asked for.
    pub async fn recv(&mut self) -> Result<Message, RecvError> {
        let mut unfinished = Unfinished(Some(self));
        let outcome = poll_fn(|cx| match &mut unfinished.0 {
            Some(this) => this.poll_recv(cx),
            None => Poll::Pending,
        })
        .await;
        unfinished.0 = None;
        outcome
    }

    /// As [`recv`](Self::recv), for those who write futures by hand.
    ///
    /// Who leaves off polling and keeps the handle keeps what it was woken for, too: other consumers
    /// of a shared side may then sleep for [`LONGEST_PARK`](crate::LONGEST_PARK) longer.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, RecvError>> {
        for _ in 0..TRIES {
            // Led elsewhere for long, by a peer's garbage, it leaves the thread to others.
            match self.consumer.limited(Limit::AtOnce, Consumer::try_recv) {
                Err(RecvError::Empty) => {}
                Err(RecvError::TimedOut) => break,
                done => {
                    self.withdraw();
                    return Poll::Ready(done);
                }
            }
            if !self.readiness.get_ref().is_armed() {
                let readiness = self.readiness.get_ref();
                match self.consumer.limited(Limit::AtOnce, |consumer| consumer.arm(readiness)) {
                    Ok(true) => continue,
                    Ok(false) => self.waited = true,
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            ready!(poll_cleared(&self.readiness, cx));
        }
        // Others, or garbage, make it find nothing: they must not have the runtime's thread.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes the announcement back, and hands on what it may have been woken for.
    fn withdraw(&mut self) {
        if core::mem::take(&mut self.waited) {
            self.readiness.get_ref().cancel(&mut self.consumer);
        }
    }

    /// The handle, for the calls that return at once.
    pub fn get_mut(&mut self) -> &mut Consumer<S> {
        &mut self.consumer
    }

    /// The handle, out of the runtime.
    pub fn into_inner(self) -> Consumer<S> {
        self.consumer
    }
}

/// A receive that is dropped before its end hands on what it may have been woken for.
struct Unfinished<'a, S: Mode>(Option<&'a mut AsyncConsumer<S>>);

impl<S: Mode> Drop for Unfinished<'_, S> {
    fn drop(&mut self) {
        if let Some(this) = &mut self.0 {
            this.withdraw();
        }
    }
}

impl<S: Mode> Stream for AsyncConsumer<S> {
    type Item = Result<Message, RecvError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_recv(cx).map(|received| match received {
            Err(RecvError::Closed | RecvError::Deserted) => None,
            other => Some(other),
        })
    }
}

impl<S: Mode> Unpin for AsyncConsumer<S> {}

/// A producer whose waits are futures; also a sink of messages of one class.
///
/// What is given to the sink is sent when there is room; `flush` waits until all of it is. Closing
/// the sink flushes it and leaves the ring open, which may have other producers;
/// [`Producer::close`] ends the stream.
#[derive(Debug)]
pub struct AsyncProducer<S: Mode> {
    readiness: AsyncFd<Readiness>,
    producer: Producer<S>,
    class: PriorityClass,
    /// A message of the sink's for which there was no room.
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

    /// Sends `data` when there is room, after what the sink has not sent yet; an error with that is
    /// given here.
    ///
    /// Dropping the future before its end sends nothing.
    ///
    /// # Errors
    ///
    /// [`SendError::TooLarge`], [`SendError::Closed`], and [`SendError::Deserted`] if
    /// [`end_when_deserted`](Producer::end_when_deserted) was asked for; nothing of the message was
    /// sent.
    pub async fn send(&mut self, data: &[u8], class: PriorityClass) -> Result<(), SendError> {
        poll_fn(|cx| self.poll_send(cx, data, class)).await
    }

    /// As [`send`](Self::send), for those who write futures by hand.
    pub fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
        class: PriorityClass,
    ) -> Poll<Result<(), SendError>> {
        ready!(self.poll_pending(cx))?;
        self.poll_put(cx, data, class)
    }

    fn poll_put(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
        class: PriorityClass,
    ) -> Poll<Result<(), SendError>> {
        for _ in 0..TRIES {
            match self.producer.send_fast(data, class) {
                Err(SendError::Full | SendError::OutOfCredit) => {}
                done => return Poll::Ready(done),
            }
            if !self.readiness.get_ref().is_armed() {
                match self.producer.arm(class, self.readiness.get_ref()) {
                    Ok(true) => continue,
                    Ok(false) => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            ready!(poll_cleared(&self.readiness, cx));
        }
        // As in `poll_recv`.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Sends what the sink had no room for.
    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        if let Some(bytes) = self.pending.take() {
            let sent = self.poll_put(cx, &bytes, self.class);
            if sent.is_pending() {
                self.pending = Some(bytes);
            }
            return sent;
        }
        Poll::Ready(Ok(()))
    }

    /// The handle, for the calls that return at once.
    pub fn get_mut(&mut self) -> &mut Producer<S> {
        &mut self.producer
    }

    /// The handle, out of the runtime. A message that the sink has not sent is dropped.
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
            Err(SendError::Full | SendError::OutOfCredit) => {
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
