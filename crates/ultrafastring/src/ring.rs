//! The ring as a whole: making and opening it, the calls on `&UltraFastRing`, statistics.

use core::fmt;
use core::ops::Deref;
#[cfg(feature = "std")]
use std::os::fd::AsFd;

use crate::builder::Builder;
use crate::closing;
use crate::consumer::Consumer;
use crate::error::{RecvError, RingError, SendError};
use crate::group::info::GroupInfo;
use crate::group::rows;
use crate::join::Join;
use crate::latency::LatencyHistogram;
use crate::layout::participant::Identity;
use crate::message::Batch;
use crate::mode::{Exclusive, Shared};
use crate::name::ParticipantName;
#[cfg(feature = "std")]
use crate::observe::Observer;
use crate::observe::RingView;
use crate::observe::stats::RingStats;
use crate::priority::PriorityClass;
use crate::producer::Producer;
use crate::segment::Segment;
#[cfg(feature = "std")]
use crate::segment::mapping::Rights;
#[cfg(any(feature = "alloc", loom))]
use crate::settings::DEFAULT_CAPACITY;
use crate::thread_handle::ThreadHandles;

#[cfg(feature = "alloc")]
type Held<H> = alloc::boxed::Box<ThreadHandles<H>>;
#[cfg(not(feature = "alloc"))]
type Held<H> = ThreadHandles<H>;

/// A bounded ring of messages: up to 40 bytes, or [as large as chosen](Builder::max_message). It is
/// on the heap for threads, or in a named segment for processes.
///
/// A ring delivers each message to one consumer; several consumers share the work. Messages come in
/// the order in which they were sent, whatever their classes. In a ring with
/// [lanes](crate::Builder::lanes) they come in that order within a class, or within a producer.
///
/// The calls on `&UltraFastRing` can be used by any number of threads and need no handle, if the
/// side is shared and the ring has no lanes. Those that begin with `try_`, and
/// [`send_fast`](Self::send_fast), [`recv_fast`](Self::recv_fast),
/// [`send_batch`](Self::send_batch) and [`recv_batch`](Self::recv_batch), never wait. Those with
/// the plain names (`send`, `recv`, `recv_into`, `send_many`, `recv_many`) wait without end. Those
/// with `_timeout` wait for a duration, and those with `_deadline` until a moment. A handle
/// ([`producer`](Self::producer), [`exclusive_producer`](Self::exclusive_producer), and the same
/// for consumers) is faster, and an exclusive one faster still. Handles keep the memory alive by
/// themselves: the ring may be dropped before them.
///
/// It dereferences to [`RingView`], whose calls show its settings, positions and participants.
pub struct UltraFastRing {
    // Before the segment, since thread handles vacate their entries when they are dropped.
    producers: Held<Producer<Shared>>,
    consumers: Held<Consumer<Shared>>,
    view: RingView,
    name: ParticipantName,
}

impl Deref for UltraFastRing {
    type Target = RingView;

    #[inline(always)]
    fn deref(&self) -> &RingView {
        &self.view
    }
}

impl fmt::Debug for UltraFastRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UltraFastRing")
            .field("capacity", &self.capacity())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl UltraFastRing {
    pub(crate) fn over(segment: Segment, name: ParticipantName) -> Self {
        Self {
            producers: Held::<Producer<Shared>>::from(ThreadHandles::new()),
            consumers: Held::<Consumer<Shared>>::from(ThreadHandles::new()),
            view: RingView::over(segment),
            name,
        }
    }

    /// A builder, to choose capacity, sides, credit, timestamps, and where the ring is.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// A ring of `capacity` slots on the heap, both sides shared.
    ///
    /// # Panics
    ///
    /// If `capacity` is not a power of two, or there is no memory;
    /// [`try_new`](Self::try_new) gives an error instead.
    #[cfg(any(feature = "alloc", loom))]
    pub fn new(capacity: usize) -> Self {
        match Self::try_new(capacity) {
            Ok(ring) => ring,
            Err(error) => panic!("{error}"),
        }
    }

    /// A ring of `capacity` slots on the heap, both sides shared.
    ///
    /// # Errors
    ///
    /// [`RingError::Invalid`] if `capacity` is not a power of two up to 2^24,
    /// [`RingError::OutOfMemory`].
    #[cfg(any(feature = "alloc", loom))]
    pub fn try_new(capacity: usize) -> Result<Self, RingError> {
        Self::builder().capacity(capacity).heap()
    }

    /// A ring of [`DEFAULT_CAPACITY`] slots on the heap, both sides shared.
    ///
    /// # Panics
    ///
    /// If there is no memory.
    #[cfg(any(feature = "alloc", loom))]
    pub fn with_default_capacity() -> Self {
        Self::new(DEFAULT_CAPACITY)
    }

    /// Sends `data`: at most 40 bytes, unless the ring was made for
    /// [larger messages](Builder::max_message). Never waits.
    ///
    /// # Errors
    ///
    /// Nothing of the message was sent:
    ///
    /// - [`SendError::Full`]: every slot is taken, or other threads are using all thread handles of
    ///   this ring (16, or 4 without `alloc`).
    /// - [`SendError::OutOfCredit`], [`SendError::TooLarge`], [`SendError::NoSpace`],
    ///   [`SendError::Closed`], [`SendError::Damaged`].
    /// - [`SendError::NoEntry`]: no handle could be taken, because the producer side is exclusive,
    ///   the participant table is full, or of an error of the system.
    ///   [`shared_producer`](Self::shared_producer) returns the reason.
    /// - [`SendError::HasLanes`]: the ring has lanes, whose producers are handles.
    #[inline(always)]
    pub fn send_fast(&self, data: &[u8], class: PriorityClass) -> Result<(), SendError> {
        self.sending(|producer| producer.send_fast(data, class))
    }

    /// Receives the next message into `buffer`. Returns its size in bytes, its priority class, and
    /// its latency in ticks (0 if it carried no timestamp). Never waits.
    ///
    /// # Errors
    ///
    /// Nothing was consumed:
    ///
    /// - [`RecvError::Empty`]: there is no message, or other threads are using all thread handles
    ///   of this ring (16, or 4 without `alloc`).
    /// - [`RecvError::BufferTooSmall`], [`RecvError::Closed`], [`RecvError::OutOfMemory`],
    ///   [`RecvError::Damaged`].
    /// - [`RecvError::NoEntry`]: no handle could be taken, because the consumer side is exclusive,
    ///   the participant table is full, or of an error of the system.
    ///   [`shared_consumer`](Self::shared_consumer) returns the reason.
    /// - [`RecvError::HasLanes`]: the ring has lanes, whose consumers are handles.
    #[inline(always)]
    pub fn recv_fast(&self, buffer: &mut [u8]) -> Result<(usize, PriorityClass, u64), RecvError> {
        self.receiving(|consumer| consumer.recv_fast_lent(buffer))
    }

    /// Sends as many of `messages` as there is credit for, in order, and returns how many; see
    /// [`Producer::send_batch`].
    ///
    /// # Errors
    ///
    /// As [`send_fast`](Self::send_fast), and only if none was sent.
    #[inline]
    pub fn send_batch<M: AsRef<[u8]>>(
        &self,
        messages: &[M],
        class: PriorityClass,
    ) -> Result<usize, SendError> {
        self.sending(|producer| producer.send_batch(messages, class))
    }

    /// Receives as many messages as there are, one into each buffer and at most 64. Returns the
    /// size, class and latency of each. See [`Consumer::recv_batch`].
    ///
    /// # Errors
    ///
    /// As [`recv_fast`](Self::recv_fast), and only if none was received.
    #[inline]
    pub fn recv_batch<B: AsMut<[u8]>>(&self, buffers: &mut [B]) -> Result<Batch, RecvError> {
        self.receiving(|consumer| consumer.recv_batch(buffers))
    }

    #[inline(always)]
    pub(crate) fn sending<T>(
        &self,
        work: impl FnOnce(&mut Producer<Shared>) -> Result<T, SendError>,
    ) -> Result<T, SendError> {
        // No thread handle is free if as many threads are inside a call. For this thread the ring
        // is busy, which counts as full.
        self.lend_producer(work).unwrap_or(Err(SendError::Full))
    }

    #[inline(always)]
    pub(crate) fn receiving<T>(
        &self,
        work: impl FnOnce(&mut Consumer<Shared>) -> Result<T, RecvError>,
    ) -> Result<T, RecvError> {
        // As in `sending`.
        self.lend_consumer(work).unwrap_or(Err(RecvError::Empty))
    }

    /// Calls `work` with a thread handle; `None` if none is free.
    #[inline(always)]
    pub(crate) fn lend_producer<T>(
        &self,
        work: impl FnOnce(&mut Producer<Shared>) -> Result<T, SendError>,
    ) -> Option<Result<T, SendError>> {
        let make = || Producer::attach(self.segment(), &self.identity());
        let why = |error| match error {
            RingError::HasLanes => SendError::HasLanes,
            _ => SendError::NoEntry,
        };
        self.producers.with(|| make().map_err(why), work)
    }

    /// As `lend_producer`.
    #[inline(always)]
    pub(crate) fn lend_consumer<T>(
        &self,
        work: impl FnOnce(&mut Consumer<Shared>) -> Result<T, RecvError>,
    ) -> Option<Result<T, RecvError>> {
        let make = || Consumer::attach(self.segment(), &self.identity());
        let why = |error| match error {
            RingError::HasLanes => RecvError::HasLanes,
            _ => RecvError::NoEntry,
        };
        self.consumers.with(|| make().map_err(why), work)
    }

    /// The ring's statistics, as [`RingView::stats`], with the counts that calls on
    /// `&UltraFastRing` have not stored yet.
    pub fn stats(&self) -> RingStats {
        self.producers.for_each_idle(Producer::flush);
        self.consumers.for_each_idle(Consumer::flush);
        self.view.stats()
    }

    /// The latencies of all messages that were received, as [`RingView::latencies`], with those
    /// that calls on `&UltraFastRing` have not counted yet.
    pub fn latencies(&self) -> Option<[LatencyHistogram; PriorityClass::COUNT]> {
        self.consumers.for_each_idle(Consumer::flush);
        self.view.latencies()
    }

    /// A producer of this ring, whether its side is shared or exclusive. If the ring is closed,
    /// this opens it again, for a new stream;
    /// [`producer_unless_closed`](Self::producer_unless_closed) does not.
    ///
    /// Each of its calls checks whether the side is shared, which takes a few instructions. Typed
    /// handles need no such check; see [`shared_producer`](Self::shared_producer) and
    /// [`exclusive_producer`](Self::exclusive_producer).
    ///
    /// ```
    /// # #[cfg(feature = "alloc")] {
    /// use ultrafastring::{Consumer, PriorityClass, Producer, UltraFastRing};
    ///
    /// struct Link {
    ///     out: Producer, // of any ring
    ///     back: Consumer,
    /// }
    ///
    /// let orders = UltraFastRing::builder().exclusive_producer().heap()?;
    /// let answers = UltraFastRing::new(8);
    /// let mut link = Link { out: orders.producer()?, back: answers.consumer()? };
    /// link.out.try_send(b"buy", PriorityClass::Normal)?;
    /// assert!(link.back.try_recv().is_err());
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RingError::SideTaken`] if the producer side is exclusive and somebody has it;
    /// [`RingError::TableFull`]. Of a ring in a file also `RingError::File` with
    /// `FileError::NoDescriptors`, `NoLocks`, `NoSpace`, `Forked`, `ForeignDescriptor` or `Io`.
    pub fn producer(&self) -> Result<Producer, RingError> {
        Producer::begin(self.segment(), &self.identity())
    }

    /// One of any number of producers of a shared producer side. If the ring is closed, this opens
    /// it again, for a new stream.
    ///
    /// # Errors
    ///
    /// [`RingError::WrongSharing`] if the producer side is exclusive, [`RingError::TableFull`], or
    /// an error of the system.
    pub fn shared_producer(&self) -> Result<Producer<Shared>, RingError> {
        Producer::begin(self.segment(), &self.identity())
    }

    /// The producer of an exclusive producer side. If the ring is closed, this opens it again, for
    /// a new stream.
    ///
    /// # Errors
    ///
    /// [`RingError::SideTaken`], which names the holder; [`RingError::WrongSharing`] if the side is
    /// shared, [`RingError::TableFull`], or an error of the system.
    pub fn exclusive_producer(&self) -> Result<Producer<Exclusive>, RingError> {
        Producer::begin(self.segment(), &self.identity())
    }

    /// A consumer of this ring, whether its side is shared or exclusive; see
    /// [`producer`](Self::producer) for the cost of that. Each message goes to one consumer, so
    /// several consumers of a shared side share the messages.
    ///
    /// # Errors
    ///
    /// As [`producer`](Self::producer), for the consumer side.
    pub fn consumer(&self) -> Result<Consumer, RingError> {
        Consumer::attach(self.segment(), &self.identity())
    }

    /// One of any number of consumers of a shared consumer side.
    ///
    /// # Errors
    ///
    /// As [`shared_producer`](Self::shared_producer), for the consumer side.
    pub fn shared_consumer(&self) -> Result<Consumer<Shared>, RingError> {
        Consumer::attach(self.segment(), &self.identity())
    }

    /// The consumer of an exclusive consumer side.
    ///
    /// # Errors
    ///
    /// As [`exclusive_producer`](Self::exclusive_producer), for the consumer side.
    pub fn exclusive_consumer(&self) -> Result<Consumer<Exclusive>, RingError> {
        Consumer::attach(self.segment(), &self.identity())
    }

    /// Begins to join a group of consumers. Choose the group's properties, and then call
    /// [`consumer`](Join::consumer). The ring must have been made for groups
    /// ([`Builder::groups`], [`Builder::joinable`]).
    ///
    /// ```
    /// # #[cfg(feature = "std")] {
    /// use ultrafastring::{PriorityClass, Start, UltraFastRing};
    ///
    /// let ring = UltraFastRing::builder().joinable().heap()?;
    /// let mut producer = ring.producer()?;
    /// producer.send(b"nobody waits for this", PriorityClass::Normal)?;
    /// let mut all = ring.join("all").start(Start::Oldest).durable().consumer()?;
    /// let mut late = ring.join("late").consumer()?; // begins at what is sent next
    /// producer.send(b"both get this", PriorityClass::Normal)?;
    /// assert_eq!(&*late.recv()?, b"both get this");
    /// assert_eq!(&*all.recv()?, b"nobody waits for this");
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn join<'r>(&'r self, name: &'r str) -> Join<'r> {
        Join::new(self.segment(), self.identity(), name)
    }

    /// The groups that the ring has a row for, open or closed; none of a plain ring.
    pub fn groups(&self) -> impl Iterator<Item = GroupInfo> + '_ {
        self.view.groups()
    }

    /// Removes a group: producers do not wait for it any more, and its name is free.
    ///
    /// # Errors
    ///
    /// [`RingError::NotMadeForGroups`], [`RingError::NoSuchGroup`]; [`RingError::GroupInUse`] if it
    /// has a living member; [`RingError::Busy`] if somebody is joining a group at this moment; or
    /// what the system says.
    pub fn remove_group(&self, name: &str) -> Result<(), RingError> {
        if !self.segment().is_joinable() {
            return Err(RingError::NotMadeForGroups);
        }
        rows::remove(self.segment(), &rows::group_name(name)?)
    }

    /// A producer that does not open a closed ring again. Use it in a program that may start late,
    /// and must not go on after a consumer or an operator has ended the stream.
    ///
    /// ```
    /// # #[cfg(feature = "alloc")] {
    /// use ultrafastring::{RingError, UltraFastRing};
    ///
    /// let ring = UltraFastRing::new(8);
    /// ring.producer_unless_closed()?;
    /// ring.close();
    /// assert!(matches!(ring.producer_unless_closed(), Err(RingError::Closed)));
    /// ring.producer()?; // opens it again
    /// ring.producer_unless_closed()?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RingError::Closed`]; otherwise as [`producer`](Self::producer).
    pub fn producer_unless_closed(&self) -> Result<Producer, RingError> {
        // Checked before the handle is taken, since a handle that comes and leaves would count as a
        // producer.
        if self.is_closed() {
            return Err(RingError::Closed);
        }
        let producer = Producer::attach(self.segment(), &self.identity())?;
        // And checked again, since the ring may have been closed meanwhile.
        if self.is_closed() { Err(RingError::Closed) } else { Ok(producer) }
    }

    /// Closes the ring, which ends the stream. Calls that send return [`SendError::Closed`]. Calls
    /// that receive return what is left in the ring, and then [`RecvError::Closed`]. All waiters
    /// are woken.
    ///
    /// A ring stays closed until somebody takes a producer handle or calls
    /// [`reopen`](Self::reopen). On a shared producer side nothing is sent after this. An exclusive
    /// producer checks only after it has sent something. So if another process closes the ring, one
    /// more call may send its message, or up to 64 messages of a batch. They stay in the ring and
    /// are received, unless a consumer has ended with [`RecvError::Closed`] by then.
    pub fn close(&self) {
        // The counts of thread handles are announced first, so that the counters are complete at
        // the end, except for messages that threads are sending at this moment.
        self.producers.for_each_idle(Producer::flush);
        closing::close_ring(self.segment());
    }

    /// Opens a closed ring again, as taking a producer handle does.
    pub fn reopen(&self) {
        closing::reopen_ring(self.segment());
    }

    /// Whether the ring is closed.
    pub fn is_closed(&self) -> bool {
        closing::is_ring_closed(self.segment())
    }

    #[cold]
    fn identity(&self) -> Identity {
        Identity::of_this_process(self.name)
    }
}

/// What only processes need.
#[cfg(feature = "std")]
impl UltraFastRing {
    /// Makes the ring called `name` with default choices; see
    /// [`Builder::create`](crate::Builder::create).
    ///
    /// ```
    /// use ultrafastring::{PriorityClass, UltraFastRing};
    /// # let name = &format!("doctest-{}", std::process::id());
    ///
    /// let here = UltraFastRing::create(name)?;
    /// let there = UltraFastRing::open(name)?; // in another process
    /// here.send_fast(b"hello", PriorityClass::Normal)?;
    /// let mut buffer = [0; 40];
    /// let (size, ..) = there.recv_fast(&mut buffer)?;
    /// assert_eq!(&buffer[..size], b"hello");
    /// UltraFastRing::remove(name)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Builder::create`](crate::Builder::create).
    pub fn create(name: &str) -> Result<Self, RingError> {
        Self::builder().create(name)
    }

    /// Opens the ring called `name`.
    ///
    /// # Errors
    ///
    /// As [`Builder::open`](crate::Builder::open).
    pub fn open(name: &str) -> Result<Self, RingError> {
        Self::builder().open(name)
    }

    /// Opens the ring called `name`, or makes it if there is none.
    ///
    /// # Errors
    ///
    /// As [`Builder::open_or_create`](crate::Builder::open_or_create).
    pub fn open_or_create(name: &str) -> Result<Self, RingError> {
        Self::builder().open_or_create(name)
    }

    /// Opens the ring called `name` only to look at it.
    ///
    /// ```
    /// use ultrafastring::{PriorityClass, UltraFastRing};
    /// # let name = &format!("doctest-observe-{}", std::process::id());
    ///
    /// let ring = UltraFastRing::create(name)?;
    /// ring.send_fast(b"hello", PriorityClass::Normal)?;
    /// let observer = UltraFastRing::observe(name)?; // in another process
    /// assert_eq!(observer.len(), 1);
    /// UltraFastRing::remove(name)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Builder::observe`](crate::Builder::observe).
    pub fn observe(name: &str) -> Result<Observer, RingError> {
        Self::builder().observe(name)
    }

    /// Hands an anonymous ring to the process at the other end of a Unix socket, which takes it
    /// with [`Builder::take_from`](crate::Builder::take_from).
    ///
    /// ```
    /// use std::os::unix::net::UnixStream;
    /// use ultrafastring::{PriorityClass, UltraFastRing};
    ///
    /// let (here, there) = UnixStream::pair()?;
    /// let ring = UltraFastRing::builder().anonymous()?;
    /// ring.hand_to(&here)?;
    /// ring.send_fast(b"hello", PriorityClass::Normal)?;
    ///
    /// let ring = UltraFastRing::builder().take_from(&there)?; // in another process
    /// let mut buffer = [0; 40];
    /// let (size, ..) = ring.recv_fast(&mut buffer)?;
    /// assert_eq!(&buffer[..size], b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RingError::ForeignPeer`] if the peer is of a user whom the ring's maker does not
    /// [trust](crate::Builder::trust), [`RingError::NotHandedOver`] if the ring is not an anonymous
    /// one, [`FileError::Io`](crate::FileError::Io).
    pub fn hand_to(&self, socket: &std::os::unix::net::UnixStream) -> Result<(), RingError> {
        self.segment().hand_over(socket.as_fd(), Rights::Participate)
    }

    /// As [`hand_to`](Self::hand_to), without the right to write or to lock. The peer can only take
    /// it with [`Builder::observe_from`](crate::Builder::observe_from).
    ///
    /// A process of another user can get no more than that. A process of the user who made the ring
    /// can reopen the file with more rights.
    ///
    /// # Errors
    ///
    /// As [`hand_to`](Self::hand_to).
    pub fn hand_to_observer(
        &self,
        socket: &std::os::unix::net::UnixStream,
    ) -> Result<(), RingError> {
        self.segment().hand_over(socket.as_fd(), Rights::Observe)
    }

    /// Removes a ring's name. Processes that have it open can still use it.
    ///
    /// # Errors
    ///
    /// As [`Builder::remove`](crate::Builder::remove).
    pub fn remove(name: &str) -> Result<(), RingError> {
        Self::builder().remove(name)
    }
}
