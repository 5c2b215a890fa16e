//! What a queue has to offer so that every pattern can be run on it, by the same loops.
//!
//! Every call is inlined into the loop of its pattern, so that a queue pays for what it does
//! and not for being measured through a trait.

use anyhow::bail;

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

    /// A handle that sends; called once where the side is for one handle.
    fn sender(&self) -> anyhow::Result<Self::Sender<'_>>;

    /// A handle that receives; called once where the side is for one handle.
    fn receiver(&self) -> anyhow::Result<Self::Receiver<'_>>;
}

/// The sending end. Errors are those that trying again does not cure.
pub(crate) trait Sender<const N: usize> {
    /// Sends a message; `false` if there was no room.
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool>;

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
        bail!("this queue has no such call")
    }
}

/// The receiving end. Errors are those that trying again does not cure.
pub(crate) trait Receiver<const N: usize> {
    /// Whether a stream is read with [`drain`](Self::drain), all that is there at a time, because
    /// that is how the queue's users read one.
    const DRAINS: bool = false;

    /// Receives a message; `false` if there was none.
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool>;

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
        bail!("this queue has no such call")
    }

    /// Receives a message, waiting for it as the queue's users would when it may be long in
    /// coming: in the kernel if it can, else by looking again and again.
    fn wait(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<()> {
        while !self.receive(buffer)? {
            std::hint::spin_loop();
        }
        Ok(())
    }
}
