//! What a queue has to offer so that every pattern can be run on it, by the same loops.
//!
//! Every call is inlined into the loop of its pattern, so that a queue pays for what it does
//! and not for being measured through a trait.

use std::sync::Mutex;

use anyhow::{Context, bail};

use crate::message::Bytes;

/// A queue of messages of `N` bytes.
///
/// Between two processes the one that takes the figures calls [`create`](Self::create) first, and
/// the other then [`open`](Self::open) with what [`address`](Self::address) said. Each then takes
/// its handle; [`receiver`](Self::receiver) has to wait if it needs the sender to be there, and the
/// other way round.
pub(crate) trait Queue<const N: usize>: Sized {
    type Sender<'q>: Sender<N>
    where
        Self: 'q;
    type Receiver<'q>: Receiver<N>
    where
        Self: 'q;

    /// Makes one of `capacity` messages, so called if it has a name.
    fn create(name: &str, capacity: usize) -> anyhow::Result<Self>;

    /// Opens, in another process, what was created.
    fn open(_address: &str, _capacity: usize) -> anyhow::Result<Self> {
        bail!("this queue does not reach other processes")
    }

    /// What the other process has to know; the name will do for most.
    fn address(&self, name: &str) -> String {
        name.to_string()
    }

    /// Bytes of memory that it takes by now, if that can be told: those of its files.
    fn memory(&self) -> Option<u64> {
        None
    }

    /// A handle that sends; called once where the side is for one handle.
    fn sender(&self) -> anyhow::Result<Self::Sender<'_>>;

    /// A handle that receives; called once where the side is for one handle.
    fn receiver(&self) -> anyhow::Result<Self::Receiver<'_>>;
}

/// What a queue says that is asked for a pattern that it is not for.
const NO_SUCH_CALL: &str = "this queue has no such call";

/// The sending end. Errors are those that trying again does not cure.
pub(crate) trait Sender<const N: usize> {
    /// Sends a message; `false` if there was no room.
    #[inline(always)]
    fn send(&mut self, _bytes: &Bytes<N>) -> anyhow::Result<bool> {
        bail!(NO_SUCH_CALL)
    }

    /// As [`send`](Self::send), a message that is to overtake those.
    #[inline(always)]
    fn send_urgent(&mut self, _bytes: &Bytes<N>) -> anyhow::Result<bool> {
        bail!(NO_SUCH_CALL)
    }

    /// Sends a message, waiting for room as the queue's users would when it may be long in coming:
    /// in the kernel if it can, else by trying again and again.
    #[inline(always)]
    fn wait(&mut self, bytes: &Bytes<N>) -> anyhow::Result<()> {
        while !self.send(bytes)? {
            std::hint::spin_loop();
        }
        Ok(())
    }

    /// Sends some from the front of `batch`, which lies in memory, and says how many.
    #[inline(always)]
    fn send_batch(&mut self, batch: &[Bytes<N>]) -> anyhow::Result<usize> {
        let mut sent = 0;
        for bytes in batch {
            if !self.send(bytes)? {
                break;
            }
            sent += 1;
        }
        Ok(sent)
    }

    /// Writes messages number `first` and following, at most `most`, where they will lie in the
    /// queue, and says how many.
    #[inline(always)]
    fn fill(&mut self, _first: u64, _most: usize) -> anyhow::Result<usize> {
        bail!(NO_SUCH_CALL)
    }
}

/// The receiving end. Errors are those that trying again does not cure.
pub(crate) trait Receiver<const N: usize> {
    /// Whether a stream is read with [`drain`](Self::drain), all that is there at a time, because
    /// that is how the queue's users read one.
    const DRAINS: bool = false;

    /// Receives a message; `false` if there was none.
    #[inline(always)]
    fn receive(&mut self, _buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        bail!(NO_SUCH_CALL)
    }

    /// Receives as many as there are, up to as many as fit, and says how many.
    #[inline(always)]
    fn receive_batch(&mut self, buffers: &mut [Bytes<N>]) -> anyhow::Result<usize> {
        let mut received = 0;
        for buffer in buffers {
            if !self.receive(buffer)? {
                break;
            }
            received += 1;
        }
        Ok(received)
    }

    /// Checks messages number `next` and following, at most `most`, where they lie in the queue,
    /// and says how many.
    #[inline(always)]
    fn drain(&mut self, _next: u64, _most: usize) -> anyhow::Result<usize> {
        bail!(NO_SUCH_CALL)
    }

    /// Receives a message, waiting for it as the queue's users would when it may be long in
    /// coming: in the kernel if it can, else by looking again and again.
    #[inline(always)]
    fn wait(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<()> {
        while !self.receive(buffer)? {
            std::hint::spin_loop();
        }
        Ok(())
    }
}

/// A queue of messages of `N` bytes that has several readers, each of which gets every message.
///
/// Who takes the figures calls [`create`](Self::create). Between processes, the sender's process
/// and then each reader, in its thread, call [`open`](Self::open); between threads all share what
/// was created. Then the sender and each reader take their handle;
/// [`receiver`](Self::receiver) has to wait if it needs the sender to be there, and the other way
/// round.
pub(crate) trait FanOut<const N: usize>: Sized {
    type Sender<'q>: Sender<N>
    where
        Self: 'q;
    type Receiver<'q>: Receiver<N>
    where
        Self: 'q;

    /// Makes one of `capacity` messages for `readers`, so called if it has a name.
    fn create(name: &str, capacity: usize, readers: usize) -> anyhow::Result<Self>;

    /// Opens what was created under that name, with what it was created with.
    fn open(_name: &str, _capacity: usize, _readers: usize) -> anyhow::Result<Self> {
        bail!("this queue does not reach other processes")
    }

    /// The handle that sends.
    fn sender(&self) -> anyhow::Result<Self::Sender<'_>>;

    /// The handle of reader number `at`, from 0; called once for each.
    fn receiver(&self, at: usize) -> anyhow::Result<Self::Receiver<'_>>;
}

/// A queue for each reader, and the message sent to each: what is done where a queue has no
/// fan-out. For queues whose address is their name.
pub(crate) struct Each<Q>(Vec<Q>);

impl<Q: Queue<N>, const N: usize> FanOut<N> for Each<Q> {
    type Sender<'q>
        = ToEach<Q::Sender<'q>>
    where
        Self: 'q;
    type Receiver<'q>
        = Q::Receiver<'q>
    where
        Self: 'q;

    fn create(name: &str, capacity: usize, readers: usize) -> anyhow::Result<Self> {
        let create = |at| Q::create(&format!("{name}-{at}"), capacity);
        Ok(Self((0..readers).map(create).collect::<anyhow::Result<_>>()?))
    }

    fn open(name: &str, capacity: usize, readers: usize) -> anyhow::Result<Self> {
        let open = |at| Q::open(&format!("{name}-{at}"), capacity);
        Ok(Self((0..readers).map(open).collect::<anyhow::Result<_>>()?))
    }

    fn sender(&self) -> anyhow::Result<Self::Sender<'_>> {
        let senders = self.0.iter().map(Q::sender).collect::<anyhow::Result<_>>()?;
        Ok(ToEach { senders, next: 0 })
    }

    fn receiver(&self, at: usize) -> anyhow::Result<Self::Receiver<'_>> {
        self.0.get(at).context("no such reader")?.receiver()
    }
}

/// A queue each of whose receivers gets every message, however many are taken.
#[cfg_attr(
    not(feature = "processes"),
    expect(dead_code, reason = "only peers that are built from crates do this")
)]
pub(crate) struct AsIs<Q>(Q);

impl<Q: Queue<N>, const N: usize> FanOut<N> for AsIs<Q> {
    type Sender<'q>
        = Q::Sender<'q>
    where
        Self: 'q;
    type Receiver<'q>
        = Q::Receiver<'q>
    where
        Self: 'q;

    fn create(name: &str, capacity: usize, _: usize) -> anyhow::Result<Self> {
        Ok(Self(Q::create(name, capacity)?))
    }

    fn open(name: &str, capacity: usize, _: usize) -> anyhow::Result<Self> {
        Ok(Self(Q::open(name, capacity)?))
    }

    fn sender(&self) -> anyhow::Result<Self::Sender<'_>> {
        self.0.sender()
    }

    fn receiver(&self, _: usize) -> anyhow::Result<Self::Receiver<'_>> {
        self.0.receiver()
    }
}

/// The sending end of [`Each`].
pub(crate) struct ToEach<S> {
    senders: Vec<S>,
    /// Those before it have the message that is being sent.
    next: usize,
}

impl<S: Sender<N>, const N: usize> Sender<N> for ToEach<S> {
    /// Goes on where it found no room, so it has to be called with the same message then.
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        while let Some(sender) = self.senders.get_mut(self.next) {
            if !sender.send(bytes)? {
                return Ok(false);
            }
            self.next += 1;
        }
        self.next = 0;
        Ok(true)
    }
}

/// Handles that are made with the queue, until each is taken by its thread.
pub(crate) struct Ends<S, R>(Mutex<(Option<S>, Vec<Option<R>>)>);

impl<S, R> Ends<S, R> {
    pub(crate) fn new((sender, receiver): (S, R)) -> Self {
        Self::of_several(sender, vec![receiver])
    }

    pub(crate) fn of_several(sender: S, receivers: Vec<R>) -> Self {
        Self(Mutex::new((Some(sender), receivers.into_iter().map(Some).collect())))
    }

    pub(crate) fn sender(&self) -> anyhow::Result<S> {
        let mut ends = self.0.lock().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
        ends.0.take().context("one sender is all there is")
    }

    pub(crate) fn receiver(&self) -> anyhow::Result<R> {
        self.receiver_at(0)
    }

    /// That of reader number `at`.
    pub(crate) fn receiver_at(&self, at: usize) -> anyhow::Result<R> {
        let mut ends = self.0.lock().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
        ends.1.get_mut(at).and_then(Option::take).context("no receiver is left for this reader")
    }
}
