//! Those with several readers, built only with the feature `threads`. None loses a message: the
//! producer waits for the slowest reader.

use std::sync::mpsc::TryRecvError;

use bus::{Bus, BusReader};
use disruptor::{BusySpin, MultiConsumerBarrier, Producer as _, SingleProducer};

use super::more::Poller;
use crate::message::Bytes;
use crate::peer::Peer;
use crate::queue::{Ends, FanOut, Receiver, Sender};

pub(super) fn peers() -> Vec<Peer> {
    vec![
        Peer::fan_out_threads::<Disruptor<40>>("disruptor", 100_000).fan_out(),
        Peer::fan_out_threads::<Broadcast<40>>("bus", 50_000).fan_out(),
    ]
}

/// Its consumers, which the producer waits for, are polled.
struct Disruptor<const N: usize>(Ends<SingleProducer<Bytes<N>, MultiConsumerBarrier>, Poller<N>>);

impl<const N: usize> FanOut<N> for Disruptor<N> {
    type Sender<'q> = SingleProducer<Bytes<N>, MultiConsumerBarrier>;
    type Receiver<'q> = Poller<N>;

    fn create(_: &str, capacity: usize, readers: usize) -> anyhow::Result<Self> {
        let builder = disruptor::build_single_producer(capacity, || [0; N], BusySpin);
        let (mut builder, mut pollers) = (builder.with_multi_consumer(), vec![]);
        for _ in 0..readers {
            let (poller, with_one_more) = builder.new_event_poller();
            pollers.push(poller);
            builder = with_one_more;
        }
        Ok(Self(Ends::of_several(builder.build(), pollers)))
    }

    fn sender(&self) -> anyhow::Result<Self::Sender<'_>> {
        self.0.sender()
    }

    fn receiver(&self, at: usize) -> anyhow::Result<Self::Receiver<'_>> {
        self.0.receiver_at(at)
    }
}

impl<const N: usize> Sender<N> for SingleProducer<Bytes<N>, MultiConsumerBarrier> {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        Ok(self.try_publish(|event| *event = *bytes).is_ok())
    }
}

/// A message is there until all readers have taken it: each counts itself off at the message.
struct Broadcast<const N: usize>(Ends<Bus<Bytes<N>>, BusReader<Bytes<N>>>);

impl<const N: usize> FanOut<N> for Broadcast<N> {
    type Sender<'q> = Bus<Bytes<N>>;
    type Receiver<'q> = BusReader<Bytes<N>>;

    fn create(_: &str, capacity: usize, readers: usize) -> anyhow::Result<Self> {
        let mut bus = Bus::new(capacity);
        let readers = (0..readers).map(|_| bus.add_rx()).collect();
        Ok(Self(Ends::of_several(bus, readers)))
    }

    fn sender(&self) -> anyhow::Result<Self::Sender<'_>> {
        self.0.sender()
    }

    fn receiver(&self, at: usize) -> anyhow::Result<Self::Receiver<'_>> {
        self.0.receiver_at(at)
    }
}

impl<const N: usize> Sender<N> for Bus<Bytes<N>> {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        Ok(self.try_broadcast(*bytes).is_ok())
    }
}

impl<const N: usize> Receiver<N> for BusReader<Bytes<N>> {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        match self.try_recv() {
            Ok(bytes) => *buffer = bytes,
            Err(TryRecvError::Empty) => return Ok(false),
            Err(closed) => return Err(closed.into()),
        }
        Ok(true)
    }
}
