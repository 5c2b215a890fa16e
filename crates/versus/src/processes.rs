//! Queues between processes in shared memory, and others that are built only with the feature
//! `processes`.

mod fan_out;
mod urgent;

use std::fs::File;
use std::num::NonZeroUsize;
use std::sync::Mutex;

use anyhow::{Context, bail};
use cloudtoid_interprocess::{Options, Publisher, Subscriber};
use crossbar::{BusSubscriber, PodBus};
use iceoryx2::prelude::{BackpressureStrategy, LogLevel, NodeBuilder, ipc, set_log_level};
use ipc_channel::ipc::{
    IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcSender, bytes_channel,
};
use posixmq::{OpenOptions, PosixMq};
use ringfire::{
    FlowControl, FutexWait, RingConsumer, RingConsumerBuilder, RingProducer, RingProducerBuilder,
    RingfireError,
};
use shaq::{mpmc, spsc};

use crate::kernel::{Place, retried};
use crate::message::{Bytes, check, message};
use crate::peer::{CAPACITIES, Peer};
use crate::queue::{Queue, Receiver, Sender};

/// What some do for a reader that is slow: hold the sender up, or have the reader miss messages.
const LOSSLESS: bool = true;
const LOSSY: bool = false;

pub(crate) fn peers() -> Vec<Peer> {
    let mut peers = one_reader();
    peers.extend(fan_out::peers());
    peers.extend(urgent::peers());
    peers
}

fn one_reader() -> Vec<Peer> {
    vec![
        Peer::processes::<Ringfire<LOSSLESS>, Ringfire<LOSSLESS>>("ringfire", 400_000)
            .stream(&CAPACITIES)
            .small()
            .batches()
            .round_trip()
            .paced()
            .idle(),
        Peer::processes::<Shaq, Shaq>("shaq", 200_000)
            .stream(&[256, 4096])
            .small()
            .batches()
            .in_place()
            .round_trip()
            .paced(),
        Peer::threads::<ShaqMany<40>, ShaqMany<8>>("shaq mpmc", 100_000).crowds(|_, _| true),
        Peer::processes::<Cloudtoid, Cloudtoid>("cloudtoid", 100_000)
            .stream(&[256, 4096])
            .small()
            .round_trip()
            .paced()
            .idle(),
        Peer::threads::<Cloudtoid, Cloudtoid>("cloudtoid", 100_000).crowds(|_, _| true),
        Peer::processes::<Crossbar<LOSSLESS>, Crossbar<LOSSLESS>>("crossbar", 200_000)
            .stream(&[256, 4096])
            .small()
            .round_trip()
            .paced(),
        Peer::processes::<Iceoryx, Iceoryx>("iceoryx2", 50_000)
            .stream(&[256, 4096])
            .small()
            .round_trip()
            .paced(),
        Peer::processes::<IpcChannel, IpcChannel>("ipc-channel", 10_000)
            .unsized_capacity()
            .stream(&[0])
            .round_trip()
            .idle(),
        Peer::processes::<PosixQueue, PosixQueue>("POSIX message queue", 20_000)
            .unsized_capacity()
            .stream(&[0])
            .small()
            .round_trip()
            .paced()
            .idle(),
    ]
}

/// The sender makes the memory, and the receiver comes.
struct Ringfire<const LOSES_NONE: bool> {
    place: Place,
    capacity: u64,
}

impl<const LOSES_NONE: bool, const N: usize> Queue<N> for Ringfire<LOSES_NONE> {
    type Sender<'q> = RingProducer<Bytes<N>>;
    type Receiver<'q> = RingConsumer<Bytes<N>>;

    fn create(name: &str, capacity: usize) -> anyhow::Result<Self> {
        Ok(Self { place: Place::new(name), capacity: capacity as u64 })
    }

    fn open(address: &str, capacity: usize) -> anyhow::Result<Self> {
        Ok(Self { place: Place::of_another(address), capacity: capacity as u64 })
    }

    fn sender(&self) -> anyhow::Result<Self::Sender<'_>> {
        let flow = match LOSES_NONE {
            LOSSLESS => FlowControl::LosslessBackpressure,
            LOSSY => FlowControl::LossyLatestWins,
        };
        Ok(RingProducerBuilder::new(self.capacity).flow_control(flow).build(&self.place.path)?)
    }

    fn receiver(&self) -> anyhow::Result<Self::Receiver<'_>> {
        retried(|| RingConsumerBuilder::new().start_from_head().attach(&self.place.path))
    }
}

impl<const N: usize> Sender<N> for RingProducer<Bytes<N>> {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        match self.try_push(bytes) {
            Ok(()) => Ok(true),
            Err(RingfireError::BackpressureBufferFull) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for room by itself.
    #[inline(always)]
    fn send_batch(&mut self, batch: &[Bytes<N>]) -> anyhow::Result<usize> {
        self.push_batch(batch);
        Ok(batch.len())
    }
}

impl<const N: usize> Receiver<N> for RingConsumer<Bytes<N>> {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        Ok(self.try_recv().map(|bytes| *buffer = bytes).is_some())
    }

    #[inline(always)]
    fn receive_batch(&mut self, buffers: &mut [Bytes<N>]) -> anyhow::Result<usize> {
        Ok(self.recv_batch(buffers))
    }

    fn wait(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<()> {
        *buffer = self.recv_blocking(&mut FutexWait::default());
        Ok(())
    }
}

/// For one sender and one receiver.
struct Shaq {
    file: File,
    _place: Place,
}

fn shaq_file(place: &Place) -> anyhow::Result<File> {
    Ok(File::options().create(true).truncate(false).read(true).write(true).open(&place.path)?)
}

impl<const N: usize> Queue<N> for Shaq {
    type Sender<'q> = spsc::Producer<Bytes<N>>;
    type Receiver<'q> = spsc::Consumer<Bytes<N>>;

    fn create(name: &str, capacity: usize) -> anyhow::Result<Self> {
        let place = Place::new(name);
        let file = shaq_file(&place)?;
        let size = spsc::minimum_file_size::<Bytes<N>>(capacity);
        // SAFETY: the file is new, and this is the only one that makes the queue in it; the
        // producer is dropped before another joins. Bytes may be read anywhere.
        drop(unsafe { spsc::Producer::<Bytes<N>>::create(&file, size) }.map_err(shaq_error)?);
        Ok(Self { file, _place: place })
    }

    fn open(address: &str, _: usize) -> anyhow::Result<Self> {
        let place = Place::of_another(address);
        Ok(Self { file: shaq_file(&place)?, _place: place })
    }

    fn sender(&self) -> anyhow::Result<Self::Sender<'_>> {
        // SAFETY: one sender is taken, of the same type as the receiver.
        unsafe { spsc::Producer::join(&self.file) }.map_err(shaq_error)
    }

    fn receiver(&self) -> anyhow::Result<Self::Receiver<'_>> {
        // SAFETY: one receiver is taken, of the same type as the sender.
        unsafe { spsc::Consumer::join(&self.file) }.map_err(shaq_error)
    }
}

fn shaq_error(error: shaq::error::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:?}")
}

impl<const N: usize> Sender<N> for spsc::Producer<Bytes<N>> {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        Ok(self.try_write(*bytes).is_ok())
    }

    #[inline(always)]
    fn send_batch(&mut self, batch: &[Bytes<N>]) -> anyhow::Result<usize> {
        let mut writer = self.write_batch();
        let written = batch.iter().take_while(|bytes| writer.try_write(**bytes).is_ok());
        Ok(written.count())
    }

    #[inline(always)]
    fn fill(&mut self, first: u64, most: usize) -> anyhow::Result<usize> {
        let mut writer = self.write_batch();
        let numbers = first..first + most as u64;
        Ok(numbers.take_while(|&i| writer.try_write(message(i)).is_ok()).count())
    }
}

impl<const N: usize> Receiver<N> for spsc::Consumer<Bytes<N>> {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        Ok(self.try_read().map(|bytes| *buffer = bytes).is_some())
    }

    #[inline(always)]
    fn receive_batch(&mut self, buffers: &mut [Bytes<N>]) -> anyhow::Result<usize> {
        let most = NonZeroUsize::new(buffers.len()).context("no room for a batch")?;
        let Some(batch) = self.try_reserve_read_batch(most) else { return Ok(0) };
        let (first, second) = batch.as_slices();
        let count = batch.len();
        buffers[..first.len()].copy_from_slice(first);
        buffers[first.len()..count].copy_from_slice(second);
        Ok(count)
    }

    #[inline(always)]
    fn drain(&mut self, next: u64, most: usize) -> anyhow::Result<usize> {
        let most = NonZeroUsize::new(most).context("no room for a batch")?;
        let Some(batch) = self.try_reserve_read_batch(most) else { return Ok(0) };
        for (bytes, i) in batch.iter().zip(next..) {
            check(bytes, i)?;
        }
        Ok(batch.len())
    }
}

/// For many of either.
struct ShaqMany<const N: usize>(mpmc::Producer<Bytes<N>>, mpmc::Consumer<Bytes<N>>);

impl<const N: usize> Queue<N> for ShaqMany<N> {
    type Sender<'q> = &'q mpmc::Producer<Bytes<N>>;
    type Receiver<'q> = &'q mpmc::Consumer<Bytes<N>>;

    fn create(_: &str, capacity: usize) -> anyhow::Result<Self> {
        let (producer, consumer) = mpmc::pair(capacity).map_err(shaq_error)?;
        Ok(Self(producer, consumer))
    }

    fn sender(&self) -> anyhow::Result<Self::Sender<'_>> {
        Ok(&self.0)
    }

    fn receiver(&self) -> anyhow::Result<Self::Receiver<'_>> {
        Ok(&self.1)
    }
}

impl<const N: usize> Sender<N> for &mpmc::Producer<Bytes<N>> {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        Ok(self.try_write(*bytes).is_ok())
    }
}

impl<const N: usize> Receiver<N> for &mpmc::Consumer<Bytes<N>> {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        Ok(self.try_read().map(|bytes| *buffer = bytes).is_some())
    }
}

/// Its capacity is in bytes: a message has a header of its own beside it.
struct Cloudtoid(Options);

impl<const N: usize> Queue<N> for Cloudtoid {
    type Sender<'q> = Publisher;
    type Receiver<'q> = Subscriber;

    fn create(name: &str, capacity: usize) -> anyhow::Result<Self> {
        let bytes = capacity * (N + 16).next_multiple_of(8);
        Ok(Self(Options::new(name, bytes).with_path("/dev/shm")))
    }

    fn open(address: &str, capacity: usize) -> anyhow::Result<Self> {
        <Self as Queue<N>>::create(address, capacity)
    }

    fn sender(&self) -> anyhow::Result<Publisher> {
        Ok(Publisher::open(&self.0)?)
    }

    fn receiver(&self) -> anyhow::Result<Subscriber> {
        Ok(Subscriber::open(&self.0)?)
    }
}

impl<const N: usize> Sender<N> for Publisher {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        match self.try_send(bytes) {
            Ok(()) => Ok(true),
            Err(error) if error.is_full() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl<const N: usize> Receiver<N> for Subscriber {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        Ok(self.try_recv_into(buffer)?.is_some())
    }

    fn wait(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<()> {
        buffer.copy_from_slice(&self.recv()?);
        Ok(())
    }
}

/// Its bus. The sender makes the memory, and the receiver comes.
struct Crossbar<const LOSES_NONE: bool> {
    name: String,
    capacity: usize,
}

impl<const LOSES_NONE: bool, const N: usize> Queue<N> for Crossbar<LOSES_NONE> {
    type Sender<'q> = PodBus<Bytes<N>>;
    type Receiver<'q> = BusSubscriber<Bytes<N>>;

    fn create(name: &str, capacity: usize) -> anyhow::Result<Self> {
        Ok(Self { name: name.to_string(), capacity })
    }

    fn open(address: &str, capacity: usize) -> anyhow::Result<Self> {
        <Self as Queue<N>>::create(address, capacity)
    }

    fn sender(&self) -> anyhow::Result<Self::Sender<'_>> {
        // A name that was used just now may still be held.
        retried(|| match LOSES_NONE {
            LOSSLESS => PodBus::create_bounded(&self.name, self.capacity, 0),
            LOSSY => PodBus::create(&self.name, self.capacity),
        })
    }

    fn receiver(&self) -> anyhow::Result<Self::Receiver<'_>> {
        retried(|| BusSubscriber::connect(&self.name))
    }
}

impl<const N: usize> Sender<N> for PodBus<Bytes<N>> {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        match self.try_publish(*bytes) {
            Ok(()) => Ok(true),
            Err(crossbar::error::Error::Full) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl<const N: usize> Receiver<N> for BusSubscriber<Bytes<N>> {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        Ok(self.try_recv().map(|bytes| *buffer = bytes).is_some())
    }
}

/// Publish and subscribe, without overflow: what finds no room is sent again.
pub(crate) struct Iceoryx {
    name: String,
    node: iceoryx2::node::Node<ipc::Service>,
    capacity: usize,
    readers: usize,
}

type IceoryxService<const N: usize> =
    iceoryx2::service::port_factory::publish_subscribe::PortFactory<ipc::Service, Bytes<N>, ()>;

type IceoryxPublisher<const N: usize> =
    iceoryx2::port::publisher::Publisher<ipc::Service, Bytes<N>, ()>;

type IceoryxSubscriber<const N: usize> =
    iceoryx2::port::subscriber::Subscriber<ipc::Service, Bytes<N>, ()>;

impl Iceoryx {
    fn join(name: &str, capacity: usize, readers: usize) -> anyhow::Result<Self> {
        set_log_level(LogLevel::Error);
        let node = NodeBuilder::new().create::<ipc::Service>()?;
        Ok(Self { name: name.to_string(), node, capacity, readers })
    }

    fn service<const N: usize>(&self) -> anyhow::Result<IceoryxService<N>> {
        let builder = self.node.service_builder(&self.name.as_str().try_into()?);
        let service = builder
            .publish_subscribe::<Bytes<N>>()
            .enable_safe_overflow(false)
            .history_size(0)
            .max_publishers(1)
            .max_subscribers(self.readers)
            .subscriber_max_buffer_size(self.capacity)
            .open_or_create()?;
        Ok(service)
    }
}

impl<const N: usize> Queue<N> for Iceoryx {
    type Sender<'q> = IceoryxPublisher<N>;
    type Receiver<'q> = IceoryxSubscriber<N>;

    fn create(name: &str, capacity: usize) -> anyhow::Result<Self> {
        Self::join(name, capacity, 1)
    }

    fn open(address: &str, capacity: usize) -> anyhow::Result<Self> {
        <Self as Queue<N>>::create(address, capacity)
    }

    fn sender(&self) -> anyhow::Result<Self::Sender<'_>> {
        let service = self.service()?;
        let builder = service.publisher_builder();
        Ok(builder.backpressure_strategy(BackpressureStrategy::DiscardData).create()?)
    }

    fn receiver(&self) -> anyhow::Result<Self::Receiver<'_>> {
        Ok(self.service()?.subscriber_builder().create()?)
    }
}

impl<const N: usize> Sender<N> for IceoryxPublisher<N> {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        Ok(self.send_copy(*bytes)? == 1)
    }
}

impl<const N: usize> Receiver<N> for IceoryxSubscriber<N> {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        // Not the trait's own `receive`.
        let sample = IceoryxSubscriber::<N>::receive(self)?;
        Ok(sample.map(|sample| *buffer = *sample).is_some())
    }
}

/// Whoever opens makes the channel, and sends the other end to whoever created.
struct IpcChannel {
    name: String,
    server: Mutex<Option<IpcOneShotServer<IpcEnds>>>,
}

type IpcEnds = (Option<IpcBytesSender>, Option<IpcBytesReceiver>);

impl IpcChannel {
    /// What the other side sent, where this side created.
    fn sent(&self) -> anyhow::Result<Option<IpcEnds>> {
        let server = self.server.lock().map_err(|_| anyhow::anyhow!("a thread panicked"))?.take();
        let Some(server) = server else { return Ok(None) };
        Ok(Some(server.accept()?.1))
    }

    fn send(&self, ends: IpcEnds) -> anyhow::Result<()> {
        Ok(IpcSender::connect(self.name.clone())?.send(ends)?)
    }
}

impl<const N: usize> Queue<N> for IpcChannel {
    type Sender<'q> = IpcBytesSender;
    type Receiver<'q> = IpcBytesReceiver;

    fn create(_: &str, _: usize) -> anyhow::Result<Self> {
        let (server, name) = IpcOneShotServer::new()?;
        Ok(Self { name, server: Mutex::new(Some(server)) })
    }

    fn open(address: &str, _: usize) -> anyhow::Result<Self> {
        Ok(Self { name: address.to_string(), server: Mutex::new(None) })
    }

    fn address(&self, _: &str) -> String {
        self.name.clone()
    }

    fn sender(&self) -> anyhow::Result<IpcBytesSender> {
        if let Some(ends) = self.sent()? {
            return ends.0.context("the wrong end was sent");
        }
        let (sender, receiver) = bytes_channel()?;
        self.send((None, Some(receiver)))?;
        Ok(sender)
    }

    fn receiver(&self) -> anyhow::Result<IpcBytesReceiver> {
        if let Some(ends) = self.sent()? {
            return ends.1.context("the wrong end was sent");
        }
        let (sender, receiver) = bytes_channel()?;
        self.send((Some(sender), None))?;
        Ok(receiver)
    }
}

impl<const N: usize> Sender<N> for IpcBytesSender {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        IpcBytesSender::send(self, bytes)?;
        Ok(true)
    }
}

impl<const N: usize> Receiver<N> for IpcBytesReceiver {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        let bytes = self.recv().map_err(|error| anyhow::anyhow!("{error:?}"))?;
        match bytes.try_into() {
            Ok(bytes) => *buffer = bytes,
            Err(bytes) => bail!("a message of {} bytes", Vec::len(&bytes)),
        }
        Ok(true)
    }
}

/// Both sides block in the kernel. It holds as many messages as the system lets its user have.
struct PosixQueue {
    name: String,
    made: bool,
}

impl<const N: usize> Queue<N> for PosixQueue {
    type Sender<'q> = PosixMq;
    type Receiver<'q> = PosixMq;

    fn create(name: &str, _: usize) -> anyhow::Result<Self> {
        let name = format!("/{name}");
        // Of an earlier run that was killed, if there is one.
        let _ = posixmq::remove_queue(&name);
        let make = |capacity| {
            OpenOptions::readwrite().create_new().max_msg_len(N).capacity(capacity).open(&name)
        };
        // Ten is what anybody may have.
        make(256).or_else(|_| make(10)).context("cannot make a POSIX message queue")?;
        Ok(Self { name, made: true })
    }

    fn open(address: &str, _: usize) -> anyhow::Result<Self> {
        Ok(Self { name: format!("/{address}"), made: false })
    }

    fn sender(&self) -> anyhow::Result<PosixMq> {
        Ok(OpenOptions::writeonly().open(&self.name)?)
    }

    fn receiver(&self) -> anyhow::Result<PosixMq> {
        Ok(OpenOptions::readonly().open(&self.name)?)
    }
}

impl Drop for PosixQueue {
    fn drop(&mut self) {
        if self.made {
            // Nobody else removes it; if somebody did, it is gone all the same.
            let _ = posixmq::remove_queue(&self.name);
        }
    }
}

impl<const N: usize> Sender<N> for PosixMq {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        PosixMq::send(self, 0, bytes)?;
        Ok(true)
    }
}

impl<const N: usize> Receiver<N> for PosixMq {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        let (_, size) = self.recv(buffer)?;
        anyhow::ensure!(size == N, "a message of {size} bytes");
        Ok(true)
    }
}
