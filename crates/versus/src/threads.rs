//! Queues between threads of one process.

#[cfg(feature = "threads")]
mod fan_out;
#[cfg(feature = "threads")]
mod more;

use std::sync::mpsc::{Receiver as StdReceiver, SyncSender, sync_channel};

use crossbeam_queue::ArrayQueue;
use rtrb::RingBuffer;

use crate::message::{Bytes, check, message};
use crate::peer::{CAPACITIES, Peer};
use crate::queue::{Each, Ends, Queue, Receiver, Sender};

pub(crate) fn peers() -> Vec<Peer> {
    let peers = vec![
        Peer::threads::<Rtrb<40>, Rtrb<8>>("rtrb", 400_000)
            .stream(&CAPACITIES)
            .small()
            .batches()
            .in_place()
            .round_trip()
            .one_thread()
            .paced(),
        Peer::fan_out_threads::<Each<Rtrb<40>>>("rtrb, one each", 100_000).fan_out(),
        Peer::threads::<Array<40>, Array<8>>("ArrayQueue", 100_000)
            .stream(&CAPACITIES)
            .small()
            .round_trip()
            .one_thread()
            .paced()
            .crowds(|_, _| true),
        Peer::threads::<Crossbeam<40>, Crossbeam<8>>("crossbeam channel", 100_000)
            .stream(&[256, 4096])
            .small()
            .round_trip()
            .paced()
            .idle()
            .crowds(|_, _| true),
        Peer::threads::<Std<40>, Std<8>>("std sync_channel", 100_000)
            .stream(&[256, 4096])
            .small()
            .round_trip()
            .idle()
            .crowds(|_, consumers| consumers == 1),
    ];
    #[cfg(feature = "threads")]
    let peers = peers.into_iter().chain(more::peers()).chain(fan_out::peers()).collect();
    peers
}

struct Rtrb<const N: usize>(Ends<rtrb::Producer<Bytes<N>>, rtrb::Consumer<Bytes<N>>>);

impl<const N: usize> Queue<N> for Rtrb<N> {
    type Sender<'q> = rtrb::Producer<Bytes<N>>;
    type Receiver<'q> = rtrb::Consumer<Bytes<N>>;

    fn create(_: &str, capacity: usize) -> anyhow::Result<Self> {
        Ok(Self(Ends::new(RingBuffer::new(capacity))))
    }

    fn sender(&self) -> anyhow::Result<Self::Sender<'_>> {
        self.0.sender()
    }

    fn receiver(&self) -> anyhow::Result<Self::Receiver<'_>> {
        self.0.receiver()
    }
}

impl<const N: usize> Sender<N> for rtrb::Producer<Bytes<N>> {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        Ok(self.push(*bytes).is_ok())
    }

    #[inline(always)]
    fn send_batch(&mut self, batch: &[Bytes<N>]) -> anyhow::Result<usize> {
        Ok(self.push_partial_slice(batch).0.len())
    }

    #[inline(always)]
    fn fill(&mut self, first: u64, most: usize) -> anyhow::Result<usize> {
        let count = most.min(self.slots());
        let chunk = self.write_chunk_uninit(count)?;
        Ok(chunk.fill_from_iter((first..).map(message)))
    }
}

impl<const N: usize> Receiver<N> for rtrb::Consumer<Bytes<N>> {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        Ok(self.pop().map(|bytes| *buffer = bytes).is_ok())
    }

    #[inline(always)]
    fn receive_batch(&mut self, buffers: &mut [Bytes<N>]) -> anyhow::Result<usize> {
        Ok(self.pop_partial_slice(buffers).0.len())
    }

    #[inline(always)]
    fn drain(&mut self, next: u64, most: usize) -> anyhow::Result<usize> {
        let count = most.min(self.slots());
        let chunk = self.read_chunk(count)?;
        let (first, second) = chunk.as_slices();
        for (i, bytes) in (next..).zip(first.iter().chain(second)) {
            check(bytes, i)?;
        }
        chunk.commit_all();
        Ok(count)
    }
}

struct Array<const N: usize>(ArrayQueue<Bytes<N>>);

impl<const N: usize> Queue<N> for Array<N> {
    type Sender<'q> = &'q ArrayQueue<Bytes<N>>;
    type Receiver<'q> = &'q ArrayQueue<Bytes<N>>;

    fn create(_: &str, capacity: usize) -> anyhow::Result<Self> {
        Ok(Self(ArrayQueue::new(capacity)))
    }

    fn sender(&self) -> anyhow::Result<Self::Sender<'_>> {
        Ok(&self.0)
    }

    fn receiver(&self) -> anyhow::Result<Self::Receiver<'_>> {
        Ok(&self.0)
    }
}

impl<const N: usize> Sender<N> for &ArrayQueue<Bytes<N>> {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        Ok(self.push(*bytes).is_ok())
    }
}

impl<const N: usize> Receiver<N> for &ArrayQueue<Bytes<N>> {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        Ok(self.pop().map(|bytes| *buffer = bytes).is_some())
    }
}

struct Crossbeam<const N: usize>(
    crossbeam_channel::Sender<Bytes<N>>,
    crossbeam_channel::Receiver<Bytes<N>>,
);

impl<const N: usize> Queue<N> for Crossbeam<N> {
    type Sender<'q> = crossbeam_channel::Sender<Bytes<N>>;
    type Receiver<'q> = crossbeam_channel::Receiver<Bytes<N>>;

    fn create(_: &str, capacity: usize) -> anyhow::Result<Self> {
        let (sender, receiver) = crossbeam_channel::bounded(capacity);
        Ok(Self(sender, receiver))
    }

    fn sender(&self) -> anyhow::Result<Self::Sender<'_>> {
        Ok(self.0.clone())
    }

    fn receiver(&self) -> anyhow::Result<Self::Receiver<'_>> {
        Ok(self.1.clone())
    }
}

impl<const N: usize> Sender<N> for crossbeam_channel::Sender<Bytes<N>> {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        Ok(self.try_send(*bytes).is_ok())
    }
}

impl<const N: usize> Receiver<N> for crossbeam_channel::Receiver<Bytes<N>> {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        Ok(self.try_recv().map(|bytes| *buffer = bytes).is_ok())
    }

    fn wait(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<()> {
        *buffer = self.recv()?;
        Ok(())
    }
}

/// The receiver is for one thread; it is taken as in [`Ends`].
struct Std<const N: usize>(SyncSender<Bytes<N>>, Ends<(), StdReceiver<Bytes<N>>>);

impl<const N: usize> Queue<N> for Std<N> {
    type Sender<'q> = SyncSender<Bytes<N>>;
    type Receiver<'q> = StdReceiver<Bytes<N>>;

    fn create(_: &str, capacity: usize) -> anyhow::Result<Self> {
        let (sender, receiver) = sync_channel(capacity);
        Ok(Self(sender, Ends::new(((), receiver))))
    }

    fn sender(&self) -> anyhow::Result<Self::Sender<'_>> {
        Ok(self.0.clone())
    }

    fn receiver(&self) -> anyhow::Result<Self::Receiver<'_>> {
        self.1.receiver()
    }
}

impl<const N: usize> Sender<N> for SyncSender<Bytes<N>> {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        Ok(self.try_send(*bytes).is_ok())
    }
}

impl<const N: usize> Receiver<N> for StdReceiver<Bytes<N>> {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        Ok(self.try_recv().map(|bytes| *buffer = bytes).is_ok())
    }

    fn wait(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<()> {
        *buffer = self.recv()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::SIZE;
    use crate::queue::FanOut;

    #[test]
    fn a_message_that_found_no_room_at_one_reader_comes_to_each_once() {
        let queue = Each::<Rtrb<SIZE>>::create("", 1, 2).unwrap();
        let mut sender = FanOut::<SIZE>::sender(&queue).unwrap();
        let mut readers = [0, 1].map(|at| FanOut::<SIZE>::receiver(&queue, at).unwrap());
        let mut buffer = [0; SIZE];
        let mut receive = |at: usize| {
            readers[at].receive(&mut buffer).unwrap().then(|| crate::message::number(&buffer))
        };
        assert!(sender.send(&message(0)).unwrap());
        assert_eq!(receive(0), Some(Some(0)));
        assert!(!sender.send(&message(1)).unwrap());
        assert_eq!(receive(1), Some(Some(0)));
        assert!(sender.send(&message(1)).unwrap());
        for at in [0, 1] {
            assert_eq!(receive(at), Some(Some(1)));
            assert_eq!(receive(at), None);
        }
    }
}
