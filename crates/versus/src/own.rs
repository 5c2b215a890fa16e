//! The ring itself, with all it does: timestamps, credits, coalescing, statistics.

use ultrafastring::{
    Builder, Consumer, Exclusive, PriorityClass, Producer, RecvError, SendError, Shared,
    Timestamps, UltraFastRing,
};

use crate::message::Bytes;
use crate::peer::{CAPACITIES, Peer};
use crate::queue::{Queue, Receiver, Sender};

/// What the ring's kinds are called, those of the exclusive sides first.
pub(crate) const NAMES: [&str; 6] = [
    "exclusive",
    "exclusive, 1 in 8 stamped",
    "exclusive, no timestamps",
    "shared",
    "shared, no timestamps",
    "&self",
];

/// How often there is a timestamp, as the types below say it.
const EVERY: u32 = 1;
const OFF: u32 = 0;

pub(crate) fn peers() -> Vec<Peer> {
    vec![
        Peer::processes::<Alone<EVERY>, Alone<EVERY>>(NAMES[0], 400_000)
            .stream(&CAPACITIES)
            .small()
            .batches()
            .round_trip()
            .paced()
            .idle(),
        Peer::processes::<Alone<8>, Alone<8>>(NAMES[1], 400_000).stream(&[256]),
        Peer::processes::<Alone<OFF>, Alone<OFF>>(NAMES[2], 400_000)
            .stream(&CAPACITIES)
            .small()
            .batches()
            .round_trip(),
        Peer::processes::<Together<EVERY>, Together<EVERY>>(NAMES[3], 200_000)
            .stream(&CAPACITIES)
            .small()
            .batches()
            .round_trip()
            .paced()
            .idle(),
        Peer::processes::<Together<OFF>, Together<OFF>>(NAMES[4], 200_000).stream(&[256, 4096]),
        Peer::processes::<Unhandled, Unhandled>(NAMES[5], 200_000).stream(&[256]),
        // Within one process.
        Peer::threads::<Alone<EVERY>, Alone<EVERY>>(NAMES[0], 400_000).one_thread(),
        Peer::threads::<Alone<OFF>, Alone<OFF>>(NAMES[2], 400_000).one_thread(),
        Peer::threads::<Together<EVERY>, Together<EVERY>>(NAMES[3], 200_000)
            .one_thread()
            .crowds(|_, _| true),
        Peer::threads::<Together<OFF>, Together<OFF>>(NAMES[4], 200_000).crowds(|_, _| true),
    ]
}

fn timestamps(one_in: u32) -> Timestamps {
    match one_in {
        OFF => Timestamps::Off,
        EVERY => Timestamps::Every,
        one_in => Timestamps::OneIn(one_in),
    }
}

/// A named ring; whoever created it removes its name.
struct Named {
    ring: UltraFastRing,
    /// Of the one that created it.
    name: Option<String>,
}

impl Named {
    fn create(builder: &Builder, name: &str) -> anyhow::Result<Self> {
        Ok(Self { ring: builder.create(name)?, name: Some(name.to_string()) })
    }

    fn open(name: &str) -> anyhow::Result<Self> {
        Ok(Self { ring: UltraFastRing::open(name)?, name: None })
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // Nobody else removes it; if somebody did, it is gone all the same.
            let _ = UltraFastRing::remove(name);
        }
    }
}

/// A full ring is no error here; all else is.
#[inline(always)]
fn sent(result: Result<(), SendError>) -> anyhow::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(SendError::Full | SendError::OutOfCredit) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// An empty ring is no error here; all else is.
#[inline(always)]
fn received<T>(result: Result<T, RecvError>) -> anyhow::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(RecvError::Empty) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Exclusive sides, a timestamp in `ONE_IN` messages.
struct Alone<const ONE_IN: u32>(Named);

impl<const ONE_IN: u32, const N: usize> Queue<N> for Alone<ONE_IN> {
    type Sender<'q> = Producer<Exclusive>;
    type Receiver<'q> = Consumer<Exclusive>;

    fn create(name: &str, capacity: usize) -> anyhow::Result<Self> {
        let builder = Builder::new().exclusive_producer().exclusive_consumer();
        Ok(Self(Named::create(&builder.capacity(capacity).timestamps(timestamps(ONE_IN)), name)?))
    }

    fn open(address: &str, _: usize) -> anyhow::Result<Self> {
        Ok(Self(Named::open(address)?))
    }

    fn sender(&self) -> anyhow::Result<Producer<Exclusive>> {
        Ok(self.0.ring.exclusive_producer()?)
    }

    fn receiver(&self) -> anyhow::Result<Consumer<Exclusive>> {
        Ok(self.0.ring.exclusive_consumer()?)
    }
}

/// Shared sides, a timestamp in `ONE_IN` messages.
struct Together<const ONE_IN: u32>(Named);

impl<const ONE_IN: u32, const N: usize> Queue<N> for Together<ONE_IN> {
    type Sender<'q> = Producer<Shared>;
    type Receiver<'q> = Consumer<Shared>;

    fn create(name: &str, capacity: usize) -> anyhow::Result<Self> {
        let builder = Builder::new().capacity(capacity).timestamps(timestamps(ONE_IN));
        Ok(Self(Named::create(&builder, name)?))
    }

    fn open(address: &str, _: usize) -> anyhow::Result<Self> {
        Ok(Self(Named::open(address)?))
    }

    fn sender(&self) -> anyhow::Result<Producer<Shared>> {
        Ok(self.0.ring.producer()?)
    }

    fn receiver(&self) -> anyhow::Result<Consumer<Shared>> {
        Ok(self.0.ring.consumer()?)
    }
}

impl<const N: usize, S: ultrafastring::Mode> Sender<N> for Producer<S> {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        sent(self.send_fast(bytes, PriorityClass::Normal))
    }

    #[inline(always)]
    fn send_batch(&mut self, batch: &[Bytes<N>]) -> anyhow::Result<usize> {
        match Producer::send_batch(self, batch, PriorityClass::Normal) {
            Ok(sent) => Ok(sent),
            Err(SendError::Full | SendError::OutOfCredit) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

impl<const N: usize, S: ultrafastring::Mode> Receiver<N> for Consumer<S> {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        received(self.recv_fast(buffer))
    }

    #[inline(always)]
    fn receive_batch(&mut self, buffers: &mut [Bytes<N>]) -> anyhow::Result<usize> {
        match self.recv_batch(buffers) {
            Ok(batch) => Ok(batch.len()),
            Err(RecvError::Empty) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    fn wait(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<()> {
        let message = self.recv_blocking()?;
        anyhow::ensure!(message.len() == N, "a message of {} bytes", message.len());
        buffer.copy_from_slice(&message);
        Ok(())
    }
}

/// The calls on the ring itself, without a handle.
struct Unhandled(Named);

impl<const N: usize> Queue<N> for Unhandled {
    type Sender<'q> = &'q UltraFastRing;
    type Receiver<'q> = &'q UltraFastRing;

    fn create(name: &str, capacity: usize) -> anyhow::Result<Self> {
        Ok(Self(Named::create(&Builder::new().capacity(capacity), name)?))
    }

    fn open(address: &str, _: usize) -> anyhow::Result<Self> {
        Ok(Self(Named::open(address)?))
    }

    fn sender(&self) -> anyhow::Result<&UltraFastRing> {
        Ok(&self.0.ring)
    }

    fn receiver(&self) -> anyhow::Result<&UltraFastRing> {
        Ok(&self.0.ring)
    }
}

impl<const N: usize> Sender<N> for &UltraFastRing {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        sent(self.send_fast(bytes, PriorityClass::Normal))
    }
}

impl<const N: usize> Receiver<N> for &UltraFastRing {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        received(self.recv_fast(buffer))
    }
}
