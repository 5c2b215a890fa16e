//! Those that are built only with the feature `threads`.

use disruptor::{BusySpin, EventPoller, Polling, Producer as _, SingleConsumerBarrier};
use disruptor::{SingleProducer, SingleProducerBarrier};
use ringbuf::traits::{Consumer as _, Producer as _, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};
use thingbuf::mpsc::blocking;
use thingbuf::recycling::Recycle;

use crate::message::{Bytes, check, message};
use crate::peer::{CAPACITIES, Peer};
use crate::queue::{Ends, Queue, Receiver, Sender};

pub(super) fn peers() -> Vec<Peer> {
    vec![
        Peer::threads::<Ringbuf<40>, Ringbuf<8>>("ringbuf", 400_000)
            .stream(&[256, 4096])
            .small()
            .batches()
            .in_place()
            .round_trip()
            .one_thread(),
        Peer::threads::<Disruptor<40>, Disruptor<8>>("disruptor", 400_000)
            .stream(&CAPACITIES)
            .small()
            .in_place()
            .round_trip(),
        Peer::threads::<Thingbuf<40>, Thingbuf<8>>("thingbuf", 100_000)
            .stream(&[256, 4096])
            .round_trip()
            .idle()
            .crowds(|_, consumers| consumers == 1),
        Peer::threads::<Kanal<40>, Kanal<8>>("kanal", 100_000)
            .stream(&[256, 4096])
            .small()
            .round_trip()
            .paced()
            .idle()
            .crowds(|_, _| true),
        Peer::threads::<Flume<40>, Flume<8>>("flume", 100_000)
            .stream(&[256, 4096])
            .round_trip()
            .idle()
            .crowds(|_, _| true),
    ]
}

struct Ringbuf<const N: usize>(Ends<HeapProd<Bytes<N>>, HeapCons<Bytes<N>>>);

impl<const N: usize> Queue<N> for Ringbuf<N> {
    type Sender<'q> = HeapProd<Bytes<N>>;
    type Receiver<'q> = HeapCons<Bytes<N>>;

    fn create(_: &str, capacity: usize) -> anyhow::Result<Self> {
        Ok(Self(Ends::new(HeapRb::new(capacity).split())))
    }

    fn sender(&self) -> anyhow::Result<Self::Sender<'_>> {
        self.0.sender()
    }

    fn receiver(&self) -> anyhow::Result<Self::Receiver<'_>> {
        self.0.receiver()
    }
}

impl<const N: usize> Sender<N> for HeapProd<Bytes<N>> {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        Ok(self.try_push(*bytes).is_ok())
    }

    #[inline(always)]
    fn send_batch(&mut self, batch: &[Bytes<N>]) -> anyhow::Result<usize> {
        Ok(self.push_slice(batch))
    }

    #[inline(always)]
    fn fill(&mut self, first: u64, most: usize) -> anyhow::Result<usize> {
        Ok(self.push_iter((first..first + most as u64).map(message)))
    }
}

impl<const N: usize> Receiver<N> for HeapCons<Bytes<N>> {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        Ok(self.try_pop().map(|bytes| *buffer = bytes).is_some())
    }

    #[inline(always)]
    fn receive_batch(&mut self, buffers: &mut [Bytes<N>]) -> anyhow::Result<usize> {
        Ok(self.pop_slice(buffers))
    }

    #[inline(always)]
    fn drain(&mut self, next: u64, most: usize) -> anyhow::Result<usize> {
        let mut count = 0;
        for bytes in self.pop_iter().take(most) {
            check(&bytes, next + count as u64)?;
            count += 1;
        }
        Ok(count)
    }
}

pub(super) type Poller<const N: usize> = EventPoller<Bytes<N>, SingleProducerBarrier>;

struct Disruptor<const N: usize>(Ends<SingleProducer<Bytes<N>, SingleConsumerBarrier>, Poller<N>>);

impl<const N: usize> Queue<N> for Disruptor<N> {
    type Sender<'q> = SingleProducer<Bytes<N>, SingleConsumerBarrier>;
    type Receiver<'q> = Poller<N>;

    fn create(_: &str, capacity: usize) -> anyhow::Result<Self> {
        let builder = disruptor::build_single_producer(capacity, || [0; N], BusySpin);
        let (poller, builder) = builder.new_event_poller();
        Ok(Self(Ends::new((builder.build(), poller))))
    }

    fn sender(&self) -> anyhow::Result<Self::Sender<'_>> {
        self.0.sender()
    }

    fn receiver(&self) -> anyhow::Result<Self::Receiver<'_>> {
        self.0.receiver()
    }
}

impl<const N: usize> Sender<N> for SingleProducer<Bytes<N>, SingleConsumerBarrier> {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        Ok(self.try_publish(|event| *event = *bytes).is_ok())
    }

    #[inline(always)]
    fn fill(&mut self, first: u64, most: usize) -> anyhow::Result<usize> {
        let written = self.try_batch_publish(most, |events| {
            events.zip(first..).for_each(|(event, i)| *event = message(i));
        });
        Ok(if written.is_ok() { most } else { 0 })
    }
}

impl<const N: usize> Receiver<N> for Poller<N> {
    const DRAINS: bool = true;

    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        match self.take(1) {
            Ok(mut events) => {
                let mut events = &mut events;
                Ok(events.next().map(|event| *buffer = *event).is_some())
            }
            Err(Polling::NoEvents) => Ok(false),
            Err(shut) => Err(shut.into()),
        }
    }

    #[inline(always)]
    fn drain(&mut self, next: u64, most: usize) -> anyhow::Result<usize> {
        match self.take(most as u64) {
            Ok(mut events) => {
                let mut count = 0;
                for event in &mut events {
                    check(event, next + count as u64)?;
                    count += 1;
                }
                Ok(count)
            }
            Err(Polling::NoEvents) => Ok(0),
            Err(shut) => Err(shut.into()),
        }
    }
}

/// Its slots are made and cleaned by this; there is nothing to clean in bytes.
struct Blank;

impl<const N: usize> Recycle<Bytes<N>> for Blank {
    fn new_element(&self) -> Bytes<N> {
        [0; N]
    }

    fn recycle(&self, _: &mut Bytes<N>) {}
}

/// The receiver is for one thread; it is taken as in [`Ends`].
struct Thingbuf<const N: usize>(
    blocking::Sender<Bytes<N>, Blank>,
    Ends<(), blocking::Receiver<Bytes<N>, Blank>>,
);

impl<const N: usize> Queue<N> for Thingbuf<N> {
    type Sender<'q> = blocking::Sender<Bytes<N>, Blank>;
    type Receiver<'q> = blocking::Receiver<Bytes<N>, Blank>;

    fn create(_: &str, capacity: usize) -> anyhow::Result<Self> {
        let (sender, receiver) = blocking::with_recycle(capacity, Blank);
        Ok(Self(sender, Ends::new(((), receiver))))
    }

    fn sender(&self) -> anyhow::Result<Self::Sender<'_>> {
        Ok(self.0.clone())
    }

    fn receiver(&self) -> anyhow::Result<Self::Receiver<'_>> {
        self.1.receiver()
    }
}

impl<const N: usize> Sender<N> for blocking::Sender<Bytes<N>, Blank> {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        Ok(self.try_send_ref().map(|mut slot| *slot = *bytes).is_ok())
    }
}

impl<const N: usize> Receiver<N> for blocking::Receiver<Bytes<N>, Blank> {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        Ok(self.try_recv_ref().map(|slot| *buffer = *slot).is_ok())
    }

    fn wait(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<()> {
        let slot = self.recv_ref();
        *buffer = *slot.ok_or_else(|| anyhow::anyhow!("the sender is gone"))?;
        Ok(())
    }
}

struct Kanal<const N: usize>(kanal::Sender<Bytes<N>>, kanal::Receiver<Bytes<N>>);

impl<const N: usize> Queue<N> for Kanal<N> {
    type Sender<'q> = kanal::Sender<Bytes<N>>;
    type Receiver<'q> = kanal::Receiver<Bytes<N>>;

    fn create(_: &str, capacity: usize) -> anyhow::Result<Self> {
        let (sender, receiver) = kanal::bounded(capacity);
        Ok(Self(sender, receiver))
    }

    fn sender(&self) -> anyhow::Result<Self::Sender<'_>> {
        Ok(self.0.clone())
    }

    fn receiver(&self) -> anyhow::Result<Self::Receiver<'_>> {
        Ok(self.1.clone())
    }
}

impl<const N: usize> Sender<N> for kanal::Sender<Bytes<N>> {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        Ok(self.try_send(*bytes)?)
    }
}

impl<const N: usize> Receiver<N> for kanal::Receiver<Bytes<N>> {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        Ok(self.try_recv()?.map(|bytes| *buffer = bytes).is_some())
    }

    fn wait(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<()> {
        *buffer = self.recv()?;
        Ok(())
    }
}

struct Flume<const N: usize>(flume::Sender<Bytes<N>>, flume::Receiver<Bytes<N>>);

impl<const N: usize> Queue<N> for Flume<N> {
    type Sender<'q> = flume::Sender<Bytes<N>>;
    type Receiver<'q> = flume::Receiver<Bytes<N>>;

    fn create(_: &str, capacity: usize) -> anyhow::Result<Self> {
        let (sender, receiver) = flume::bounded(capacity);
        Ok(Self(sender, receiver))
    }

    fn sender(&self) -> anyhow::Result<Self::Sender<'_>> {
        Ok(self.0.clone())
    }

    fn receiver(&self) -> anyhow::Result<Self::Receiver<'_>> {
        Ok(self.1.clone())
    }
}

impl<const N: usize> Sender<N> for flume::Sender<Bytes<N>> {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        Ok(self.try_send(*bytes).is_ok())
    }
}

impl<const N: usize> Receiver<N> for flume::Receiver<Bytes<N>> {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        Ok(self.try_recv().map(|bytes| *buffer = bytes).is_ok())
    }

    fn wait(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<()> {
        *buffer = self.recv()?;
        Ok(())
    }
}
