//! The ring made for groups: one ring, each of whose readers gets every message.

use anyhow::ensure;
use ultrafastring::{
    AnyMode, Builder, Consumer, Exclusive, Observer, Producer, RecvError, Start, TailReader,
};

use crate::message::check;

use crate::message::{Bytes, SIZE};
use crate::own::{Named, timestamps};
use crate::queue::{FanOut, Queue, Receiver};

fn builder<const N: usize>(capacity: usize) -> Builder {
    Builder::new().exclusive_producer().capacity(capacity).max_message(N.max(SIZE))
}

fn group(at: usize) -> String {
    format!("reader {at}")
}

/// A group for each reader, which is its only member, and a timestamp in `ONE_IN` messages. The
/// readers join before anything is sent.
pub(crate) struct Groups<const ONE_IN: u32>(Named);

impl<const ONE_IN: u32, const N: usize> FanOut<N> for Groups<ONE_IN> {
    type Sender<'q> = Producer<Exclusive>;
    type Receiver<'q> = Consumer<AnyMode>;

    fn create(name: &str, capacity: usize, _: usize) -> anyhow::Result<Self> {
        let builder = builder::<N>(capacity).timestamps(timestamps(ONE_IN)).joinable();
        Ok(Self(Named::create(&builder, name)?))
    }

    fn open(name: &str, _: usize, _: usize) -> anyhow::Result<Self> {
        Ok(Self(Named::open(&Builder::new(), name)?))
    }

    fn sender(&self) -> anyhow::Result<Producer<Exclusive>> {
        Ok(self.0.ring.exclusive_producer()?)
    }

    fn receiver(&self, at: usize) -> anyhow::Result<Consumer<AnyMode>> {
        Ok(self.0.ring.join(&group(at)).exclusive().consumer()?)
    }
}

/// [`Groups`] whose readers take up to 16 messages with a call.
pub(crate) struct InBatches<const ONE_IN: u32>(Groups<ONE_IN>);

impl<const ONE_IN: u32, const N: usize> FanOut<N> for InBatches<ONE_IN> {
    type Sender<'q> = Producer<Exclusive>;
    type Receiver<'q> = Batches<N>;

    fn create(name: &str, capacity: usize, readers: usize) -> anyhow::Result<Self> {
        Ok(Self(<Groups<ONE_IN> as FanOut<N>>::create(name, capacity, readers)?))
    }

    fn open(name: &str, capacity: usize, readers: usize) -> anyhow::Result<Self> {
        Ok(Self(<Groups<ONE_IN> as FanOut<N>>::open(name, capacity, readers)?))
    }

    fn sender(&self) -> anyhow::Result<Producer<Exclusive>> {
        <Groups<ONE_IN> as FanOut<N>>::sender(&self.0)
    }

    fn receiver(&self, at: usize) -> anyhow::Result<Batches<N>> {
        let consumer = <Groups<ONE_IN> as FanOut<N>>::receiver(&self.0, at)?;
        Ok(Batches { consumer, buffers: [[0; N]; 16] })
    }
}

/// A member, and the memory that it receives into.
pub(crate) struct Batches<const N: usize> {
    consumer: Consumer<AnyMode>,
    buffers: [Bytes<N>; 16],
}

impl<const N: usize> Receiver<N> for Batches<N> {
    const DRAINS: bool = true;

    #[inline(always)]
    fn drain(&mut self, next: u64, most: usize) -> anyhow::Result<usize> {
        let most = most.min(self.buffers.len());
        let received = self.consumer.receive_batch(&mut self.buffers[..most])?;
        for (bytes, number) in self.buffers[..received].iter().zip(next..) {
            check(bytes, number)?;
        }
        Ok(received)
    }
}

/// An exclusive producer and the only member of the only group, a timestamp in `ONE_IN` messages.
pub(crate) struct Joinable<const ONE_IN: u32>(Named);

impl<const ONE_IN: u32, const N: usize> Queue<N> for Joinable<ONE_IN> {
    type Sender<'q> = Producer<Exclusive>;
    type Receiver<'q> = Consumer<AnyMode>;

    fn create(name: &str, capacity: usize) -> anyhow::Result<Self> {
        let builder = builder::<N>(capacity).timestamps(timestamps(ONE_IN));
        Ok(Self(Named::create(&builder.groups([&group(0)[..]]).joinable(), name)?))
    }

    fn open(name: &str, _: usize) -> anyhow::Result<Self> {
        Ok(Self(Named::open(&Builder::new(), name)?))
    }

    fn sender(&self) -> anyhow::Result<Producer<Exclusive>> {
        Ok(self.0.ring.exclusive_producer()?)
    }

    fn receiver(&self) -> anyhow::Result<Consumer<AnyMode>> {
        Ok(self.0.ring.join(&group(0)).consumer()?)
    }
}

/// A tail reader for each reader, all of which the producer does not know of.
pub(crate) struct Tails {
    named: Named,
    observer: Observer,
}

impl<const N: usize> FanOut<N> for Tails {
    type Sender<'q> = Producer<Exclusive>;
    type Receiver<'q> = Tail;

    fn create(name: &str, capacity: usize, _: usize) -> anyhow::Result<Self> {
        let named = Named::create(&builder::<N>(capacity).joinable(), name)?;
        Ok(Self { named, observer: Builder::new().observe(name)? })
    }

    fn open(name: &str, _: usize, _: usize) -> anyhow::Result<Self> {
        let named = Named::open(&Builder::new(), name)?;
        Ok(Self { named, observer: Builder::new().observe(name)? })
    }

    fn sender(&self) -> anyhow::Result<Producer<Exclusive>> {
        Ok(self.named.ring.exclusive_producer()?)
    }

    fn receiver(&self, _: usize) -> anyhow::Result<Tail> {
        let reader = self.observer.tail(Start::Position(0))?;
        Ok(Tail { reader, bytes: Vec::with_capacity(SIZE) })
    }
}

/// A tail reader, and the memory that it reads into.
pub(crate) struct Tail {
    reader: TailReader,
    bytes: Vec<u8>,
}

impl<const N: usize> Receiver<N> for Tail {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        loop {
            match self.reader.try_next(&mut self.bytes) {
                Ok(_) => break,
                Err(RecvError::Empty) => return Ok(false),
                // It goes on after what was overwritten.
                Err(RecvError::Overrun { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        ensure!(self.bytes.len() == N, "a message of {} bytes", self.bytes.len());
        buffer.copy_from_slice(&self.bytes);
        Ok(true)
    }
}
