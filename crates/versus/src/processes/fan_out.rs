//! Those with several readers. What a slow reader does to the others is each queue's own choice:
//!
//! | queue | a reader that is a queue behind |
//! |---|---|
//! | ringfire, lossless | holds the producer up |
//! | shaq, broadcast | holds the producer up |
//! | crossbar, bounded | holds the producer up |
//! | iceoryx2, without overflow | holds the producer up, which waits inside its call |
//! | ringfire, as it is by default | is put to the oldest message that is still there |
//! | crossbar, unbounded | is put to the oldest message that is still there |
//! | outcry | is told that it was overrun, and goes on with the next message that is sent |
//!
//! The last three lose messages, so they are compared with each other only.

use std::fs::File;

use anyhow::ensure;
use iceoryx2::prelude::{BackpressureStrategy, PortFactory};
use shaq::broadcast::{Broadcast, BroadcastConfig, Consumer, Producer, ProducerId};

use super::{
    Crossbar, Iceoryx, IceoryxPublisher, IceoryxSubscriber, LOSSLESS, LOSSY, Ringfire, shaq_error,
    shaq_file,
};
use crate::kernel::{Place, retried};
use crate::message::{Bytes, number};
use crate::peer::Peer;
use crate::queue::{AsIs, FanOut, Receiver, Sender};

pub(super) fn peers() -> Vec<Peer> {
    vec![
        Peer::fan_out_processes::<AsIs<Ringfire<LOSSLESS>>>("ringfire", 100_000).fan_out(),
        Peer::fan_out_processes::<Shaq>("shaq", 100_000).fan_out(),
        Peer::fan_out_processes::<AsIs<Crossbar<LOSSLESS>>>("crossbar", 100_000).fan_out(),
        Peer::fan_out_processes::<Iceoryx>("iceoryx2", 10_000).fan_out(),
        Peer::fan_out_processes::<AsIs<Ringfire<LOSSY>>>("ringfire", 400_000).lossy_fan_out(),
        Peer::fan_out_processes::<AsIs<Crossbar<LOSSY>>>("crossbar", 400_000).lossy_fan_out(),
        Peer::fan_out_processes::<Outcry>("outcry", 400_000).lossy_fan_out(),
    ]
}

/// One producer's lane, which each consumer reads.
struct Shaq {
    file: File,
    _place: Place,
}

impl<const N: usize> FanOut<N> for Shaq {
    type Sender<'q> = Producer<Bytes<N>>;
    type Receiver<'q> = Consumer<Bytes<N>>;

    fn create(name: &str, capacity: usize, readers: usize) -> anyhow::Result<Self> {
        let place = Place::new(name);
        let file = shaq_file(&place)?;
        let config = BroadcastConfig { capacity, producer_slots: 1, consumer_slots: readers };
        // SAFETY: the file is new, and this is the only one that makes the queue in it. Bytes may
        // be read anywhere.
        drop(unsafe { Broadcast::<Bytes<N>>::create(&file, config) }.map_err(shaq_error)?);
        Ok(Self { file, _place: place })
    }

    fn open(name: &str, _: usize, _: usize) -> anyhow::Result<Self> {
        let place = Place::of_another(name);
        Ok(Self { file: shaq_file(&place)?, _place: place })
    }

    fn sender(&self) -> anyhow::Result<Self::Sender<'_>> {
        // SAFETY: the queue is there, not resized, and of the same type for all.
        unsafe { Producer::join(&self.file, ProducerId::new(0)) }.map_err(shaq_error)
    }

    fn receiver(&self, _: usize) -> anyhow::Result<Self::Receiver<'_>> {
        // SAFETY: the queue is there, not resized, and of the same type for all.
        unsafe { Consumer::join(&self.file) }.map_err(shaq_error)
    }
}

impl<const N: usize> Sender<N> for Producer<Bytes<N>> {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        Ok(self.try_write(*bytes).is_ok())
    }
}

impl<const N: usize> Receiver<N> for Consumer<Bytes<N>> {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        Ok(self.try_read().map(|bytes| *buffer = bytes).is_some())
    }
}

/// A queue for each subscriber, without overflow, and memory that all share. The publisher waits
/// inside its call: a message that finds no room at one subscriber has gone to others by then, and
/// would come to those twice if it were sent again.
impl<const N: usize> FanOut<N> for Iceoryx {
    type Sender<'q> = ToAll<N>;
    type Receiver<'q> = IceoryxSubscriber<N>;

    fn create(name: &str, capacity: usize, readers: usize) -> anyhow::Result<Self> {
        Self::join(name, capacity, readers)
    }

    fn open(name: &str, capacity: usize, readers: usize) -> anyhow::Result<Self> {
        Self::join(name, capacity, readers)
    }

    fn sender(&self) -> anyhow::Result<Self::Sender<'_>> {
        let service = self.service()?;
        let builder = service.publisher_builder();
        let strategy = BackpressureStrategy::RetryUntilDelivered;
        let publisher = builder.backpressure_strategy(strategy).create()?;
        Ok(ToAll { publisher, readers: self.readers })
    }

    /// Comes after the publisher, and looks for it: a publisher gives up what finds no room at a
    /// subscriber that has not looked yet.
    fn receiver(&self, _: usize) -> anyhow::Result<Self::Receiver<'_>> {
        let service = self.service()?;
        let publishers = || service.dynamic_config().number_of_publishers();
        retried(|| if publishers() == 0 { Err("no publisher") } else { Ok(()) })?;
        let subscriber = service.subscriber_builder().create()?;
        ensure!(!subscriber.has_samples()?, "there is a message before any was sent");
        Ok(subscriber)
    }
}

pub(crate) struct ToAll<const N: usize> {
    publisher: IceoryxPublisher<N>,
    readers: usize,
}

impl<const N: usize> Sender<N> for ToAll<N> {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        let delivered = self.publisher.send_copy(*bytes)?;
        let said = || format!("message {:?} came to {delivered} readers only", number(bytes));
        ensure!(delivered == self.readers, said());
        Ok(true)
    }
}

/// Its capacity is in bytes, a power of two: a message has its size beside it.
struct Outcry {
    queue: outcry::Queue,
    _place: Place,
}

impl<const N: usize> FanOut<N> for Outcry {
    type Sender<'q> = outcry::Producer;
    type Receiver<'q> = outcry::Consumer;

    fn create(name: &str, capacity: usize, _: usize) -> anyhow::Result<Self> {
        let place = Place::new(name);
        let bytes = capacity as u64 * outcry::layout::frame_size(N);
        let queue = outcry::Queue::create(&place.path, bytes.next_power_of_two())?;
        Ok(Self { queue, _place: place })
    }

    fn open(name: &str, _: usize, _: usize) -> anyhow::Result<Self> {
        let place = Place::of_another(name);
        Ok(Self { queue: outcry::Queue::open(&place.path)?, _place: place })
    }

    fn sender(&self) -> anyhow::Result<outcry::Producer> {
        Ok(self.queue.producer()?)
    }

    fn receiver(&self, _: usize) -> anyhow::Result<outcry::Consumer> {
        Ok(self.queue.consumer())
    }
}

impl<const N: usize> Sender<N> for outcry::Producer {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        self.write(bytes)?;
        Ok(true)
    }
}

impl<const N: usize> Receiver<N> for outcry::Consumer {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        match self.try_read(buffer) {
            Ok(None) => Ok(false),
            Ok(Some(size)) => {
                ensure!(size == N, "a message of {size} bytes");
                Ok(true)
            }
            Err(outcry::Error::Overrun { .. }) => {
                self.resync();
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}
