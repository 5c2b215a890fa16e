//! The ring itself, with all it does: timestamps, credits, coalescing, statistics.

use std::os::unix::fs::MetadataExt;

use ultrafastring::{
    Builder, Consumer, Exclusive, PriorityClass, Producer, RecvError, SendError, Shared,
    Timestamps, UltraFastRing,
};

use crate::case::Whose;
use crate::groups::{Groups, InBatches, Joinable, Tails};
use crate::lanes::{ByClass, ByProducer};
use crate::message::{Bytes, SIZE};
use crate::peer::{CAPACITIES, Peer};
use crate::queue::{Each, Queue, Receiver, Sender};
use crate::urgent::{OneLane, TwoRings};

/// How often there is a timestamp, as the types below say it.
pub(crate) const EVERY: u32 = 1;
const OFF: u32 = 0;

/// More threads than a ring lends handles to, on either side.
const MANY: usize = 32;

pub(crate) fn peers() -> Vec<Peer> {
    let peers = vec![
        Peer::processes::<Alone<EVERY>, Alone<EVERY>>("exclusive", 400_000)
            .stream(&CAPACITIES)
            .small()
            .batches()
            .round_trip()
            .paced()
            .idle(),
        Peer::processes::<Counted, Counted>("exclusive, histograms", 400_000).stream(&[256]),
        Peer::processes::<Alone<8>, Alone<8>>("exclusive, 1 in 8 stamped", 400_000).stream(&[256]),
        Peer::processes::<Alone<OFF>, Alone<OFF>>("exclusive, no timestamps", 400_000)
            .stream(&CAPACITIES)
            .small()
            .batches()
            .round_trip(),
        // What it costs that others may join.
        Peer::processes::<Joinable<EVERY>, Joinable<EVERY>>("joinable", 400_000).stream(&[256]),
        Peer::processes::<Joinable<OFF>, Joinable<OFF>>("joinable, no timestamps", 400_000)
            .stream(&[256]),
        Peer::processes::<Together<EVERY>, Together<EVERY>>("shared", 200_000)
            .stream(&CAPACITIES)
            .small()
            .batches()
            .round_trip()
            .paced()
            .idle(),
        Peer::processes::<Together<OFF>, Together<OFF>>("shared, no timestamps", 200_000)
            .stream(&[256, 4096]),
        Peer::processes::<Unhandled, Unhandled>("&self", 200_000).stream(&[256]),
        // To several readers.
        Peer::fan_out_processes::<Each<Alone<EVERY>>>("exclusive, one ring each", 100_000)
            .fan_out(),
        Peer::fan_out_processes::<Each<Alone<OFF>>>(
            "exclusive, one ring each, no timestamps",
            100_000,
        )
        .fan_out(),
        Peer::fan_out_processes::<Groups<EVERY>>("groups", 100_000).fan_out(),
        Peer::fan_out_processes::<Groups<OFF>>("groups, no timestamps", 100_000).fan_out(),
        Peer::fan_out_processes::<InBatches<EVERY>>("groups in batches", 100_000).fan_out(),
        Peer::fan_out_processes::<InBatches<OFF>>("groups in batches, no timestamps", 100_000)
            .fan_out(),
        Peer::fan_out_processes::<Tails>("tail readers", 400_000).lossy_fan_out(),
        // Urgent messages.
        Peer::processes::<OneLane, OneLane>("one lane", 1_000).urgent(),
        Peer::processes::<TwoRings, TwoRings>("two rings", 1_000).urgent(),
        // A stream in one class shows what the idle lanes cost.
        Peer::processes::<ByClass, ByClass>("lanes by class", 200_000).stream(&[256]).urgent(),
        // Within one process.
        Peer::threads::<Alone<EVERY>, Alone<EVERY>>("exclusive", 400_000).one_thread(),
        Peer::threads::<Alone<OFF>, Alone<OFF>>("exclusive, no timestamps", 400_000).one_thread(),
        Peer::threads::<Together<EVERY>, Together<EVERY>>("shared", 200_000)
            .one_thread()
            .crowds(|_, _| true)
            .crowd(MANY, MANY),
        // Calls on the ring, also from more threads than it lends handles to.
        Peer::threads::<Unhandled, Unhandled>("&self", 200_000)
            .crowds(|_, _| true)
            .crowd(MANY, MANY),
        Peer::threads::<Together<OFF>, Together<OFF>>("shared, no timestamps", 200_000)
            .crowds(|_, _| true),
        by_producer::<1>(),
        by_producer::<2>(),
        by_producer::<4>(),
        by_producer::<8>(),
        by_producer_unstamped::<1>(),
        by_producer_unstamped::<2>(),
        by_producer_unstamped::<4>(),
        by_producer_unstamped::<8>(),
    ];
    peers.into_iter().map(|peer| peer.of(Whose::Own)).collect()
}

/// As many lanes as producers, so a ring for each such crowd.
fn by_producer<const LANES: u16>() -> Peer {
    type Ring<const LANES: u16> = ByProducer<LANES, EVERY>;
    let peer = Peer::threads::<Ring<LANES>, Ring<LANES>>("lanes by producer", 200_000);
    peer.crowds(|producers, _| producers == usize::from(LANES))
}

fn by_producer_unstamped<const LANES: u16>() -> Peer {
    type Ring<const LANES: u16> = ByProducer<LANES, OFF>;
    let name = "lanes by producer, no timestamps";
    let peer = Peer::threads::<Ring<LANES>, Ring<LANES>>(name, 200_000);
    peer.crowds(|producers, _| producers == usize::from(LANES))
}

pub(crate) fn timestamps(one_in: u32) -> Timestamps {
    match one_in {
        OFF => Timestamps::Off,
        EVERY => Timestamps::Every,
        one_in => Timestamps::OneIn(one_in),
    }
}

/// A named ring; whoever created it removes its name.
pub(crate) struct Named {
    pub(crate) ring: UltraFastRing,
    /// Of the one that created it.
    name: Option<String>,
}

impl Named {
    pub(crate) fn create(builder: &Builder, name: &str) -> anyhow::Result<Self> {
        Ok(Self { ring: builder.create(name)?, name: Some(name.to_string()) })
    }

    pub(crate) fn open(builder: &Builder, name: &str) -> anyhow::Result<Self> {
        Ok(Self { ring: builder.open(name)?, name: None })
    }

    /// Bytes of memory that its file takes.
    pub(crate) fn memory(&self) -> Option<u64> {
        Some(std::fs::metadata(self.ring.path()?).ok()?.blocks() * 512)
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
pub(crate) fn sent(result: Result<(), SendError>) -> anyhow::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(SendError::Full | SendError::OutOfCredit) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// An empty ring is no error here; all else is.
#[inline(always)]
pub(crate) fn received<T>(result: Result<T, RecvError>) -> anyhow::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(RecvError::Empty) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// For a ring of `capacity` messages of `N` bytes with exclusive sides.
pub(crate) fn alone<const N: usize>(capacity: usize) -> Builder {
    let builder = Builder::new().exclusive_producer().exclusive_consumer().capacity(capacity);
    // Small messages need no side buffers.
    builder.max_message(N.max(SIZE))
}

/// Exclusive sides, a timestamp in `ONE_IN` messages.
pub(crate) struct Alone<const ONE_IN: u32>(pub(crate) Named);

impl<const ONE_IN: u32, const N: usize> Queue<N> for Alone<ONE_IN> {
    type Sender<'q> = Producer<Exclusive>;
    type Receiver<'q> = Consumer<Exclusive>;

    fn create(name: &str, capacity: usize) -> anyhow::Result<Self> {
        let builder = alone::<N>(capacity).timestamps(timestamps(ONE_IN));
        Ok(Self(Named::create(&builder, name)?))
    }

    fn open(address: &str, _: usize) -> anyhow::Result<Self> {
        Ok(Self(Named::open(&Builder::new(), address)?))
    }

    fn memory(&self) -> Option<u64> {
        self.0.memory()
    }

    fn sender(&self) -> anyhow::Result<Producer<Exclusive>> {
        Ok(self.0.ring.exclusive_producer()?)
    }

    fn receiver(&self) -> anyhow::Result<Consumer<Exclusive>> {
        Ok(self.0.ring.exclusive_consumer()?)
    }
}

/// Exclusive sides, and each message's latency counted in a histogram.
struct Counted(Alone<EVERY>);

impl<const N: usize> Queue<N> for Counted {
    type Sender<'q> = Producer<Exclusive>;
    type Receiver<'q> = Consumer<Exclusive>;

    fn create(name: &str, capacity: usize) -> anyhow::Result<Self> {
        let builder = alone::<N>(capacity).latency_histograms(true);
        Ok(Self(Alone(Named::create(&builder, name)?)))
    }

    fn open(address: &str, capacity: usize) -> anyhow::Result<Self> {
        Ok(Self(<Alone<EVERY> as Queue<N>>::open(address, capacity)?))
    }

    fn sender(&self) -> anyhow::Result<Producer<Exclusive>> {
        <Alone<EVERY> as Queue<N>>::sender(&self.0)
    }

    fn receiver(&self) -> anyhow::Result<Consumer<Exclusive>> {
        <Alone<EVERY> as Queue<N>>::receiver(&self.0)
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
        Ok(Self(Named::open(&Builder::new(), address)?))
    }

    fn sender(&self) -> anyhow::Result<Producer<Shared>> {
        Ok(self.0.ring.shared_producer()?)
    }

    fn receiver(&self) -> anyhow::Result<Consumer<Shared>> {
        Ok(self.0.ring.shared_consumer()?)
    }
}

impl<const N: usize, S: ultrafastring::Mode> Sender<N> for Producer<S> {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        sent(self.send_fast(bytes, PriorityClass::Normal))
    }

    #[inline(always)]
    fn wait(&mut self, bytes: &Bytes<N>) -> anyhow::Result<()> {
        Ok(self.send(bytes, PriorityClass::Normal)?)
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

    #[inline(always)]
    fn wait(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<()> {
        let message = self.recv()?;
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
        Ok(Self(Named::open(&Builder::new(), address)?))
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
