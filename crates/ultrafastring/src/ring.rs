//! The ring as a whole: making and opening it, the calls on `&UltraFastRing`, statistics.

use core::fmt;
#[cfg(feature = "std")]
use std::os::fd::AsFd;

use crate::builder::Builder;
#[cfg(any(feature = "alloc", loom))]
use crate::builder::DEFAULT_CAPACITY;
use crate::layout::{Bell, Redelivery, Sharing, Side, Timestamps};
use crate::message::Batch;
#[cfg(feature = "alloc")]
use crate::message::Received;
use crate::observe::{self, Positions, RingStats};
use crate::participant::{Identity, ParticipantInfo, ParticipantName};
use crate::seat::Seats;
use crate::segment::Segment;
#[cfg(feature = "std")]
use crate::segment::file::Rights;
use crate::sync::Ordering;
use crate::wait;
use crate::{
    Consumer, Exclusive, PriorityClass, Producer, RecvError, RingError, SendError, Shared,
};

#[cfg(feature = "alloc")]
type Held<H> = alloc::boxed::Box<Seats<H>>;
#[cfg(not(feature = "alloc"))]
type Held<H> = Seats<H>;

/// A bounded ring of messages up to 40 bytes, or [as large as chosen](Builder::max_message), on the heap for threads or in a named segment for
/// processes.
///
/// The calls on `&UltraFastRing` ([`send_fast`](Self::send_fast), [`recv_fast`](Self::recv_fast),
/// and the batch calls) can be used by any number of threads and need no handle; they are the
/// shared path. A handle ([`producer`](Self::producer),
/// [`exclusive_producer`](Self::exclusive_producer), and the same for consumers) is faster, and an exclusive one faster
/// still. Handles keep the memory alive by themselves: the ring may be dropped before them.
pub struct UltraFastRing {
    // Before the segment: handles in seats vacate their entries when they go.
    producers: Held<Producer<Shared>>,
    consumers: Held<Consumer<Shared>>,
    segment: Segment,
    name: ParticipantName,
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
            producers: Held::<Producer<Shared>>::from(Seats::new()),
            consumers: Held::<Consumer<Shared>>::from(Seats::new()),
            segment,
            name,
        }
    }

    /// A builder: capacity, sides, credit, timestamps, and where the ring is to be.
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
    /// [`RingError::Invalid`] if `capacity` is not a power of two, [`RingError::OutOfMemory`].
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
    /// [larger messages](Builder::max_message).
    ///
    /// # Errors
    ///
    /// [`SendError::TooLarge`], [`SendError::Full`], [`SendError::OutOfCredit`],
    /// [`SendError::NoSpace`], [`SendError::Closed`], or [`SendError::NoEntry`] if the producer side is exclusive or the participant table full;
    /// nothing of the message was sent.
    #[inline(always)]
    pub fn send_fast(&self, data: &[u8], class: PriorityClass) -> Result<(), SendError> {
        self.sending(|producer| producer.send_fast(data, class))
    }

    /// Receives the next message into `buffer`: its size, priority class, and latency in ticks.
    ///
    /// # Errors
    ///
    /// [`RecvError::Empty`], [`RecvError::BufferTooSmall`], or [`RecvError::NoEntry`] if the
    /// consumer side is exclusive or the participant table full; nothing was consumed.
    #[inline(always)]
    pub fn recv_fast(&self, buffer: &mut [u8]) -> Result<(usize, PriorityClass, u64), RecvError> {
        self.receiving(|consumer| consumer.recv_fast(buffer))
    }

    /// Receives the next message, of any size, into `buffer`; see
    /// [`Consumer::recv_into`].
    ///
    /// # Errors
    ///
    /// As [`recv_fast`](Self::recv_fast), but [`RecvError::OutOfMemory`] instead of a buffer that
    /// is too small.
    #[cfg(feature = "alloc")]
    pub fn recv_into(&self, buffer: &mut alloc::vec::Vec<u8>) -> Result<Received, RecvError> {
        self.receiving(|consumer| consumer.recv_into(buffer))
    }

    /// Sends as many of `messages` as there is credit for, in order, and says how many; see
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

    /// Receives as many messages as are there, one a buffer and at most 64; what it gives says of
    /// each its size, class and latency. See [`Consumer::recv_batch`].
    ///
    /// # Errors
    ///
    /// As [`recv_fast`](Self::recv_fast), and only if none was received.
    #[inline]
    pub fn recv_batch<const N: usize>(&self, buffers: &mut [[u8; N]]) -> Result<Batch, RecvError> {
        self.receiving(|consumer| consumer.recv_batch(buffers))
    }

    #[inline(always)]
    fn sending<T>(
        &self,
        work: impl FnOnce(&mut Producer<Shared>) -> Result<T, SendError>,
    ) -> Result<T, SendError> {
        let make = || Producer::attach(&self.segment, &self.identity());
        // All seats taken means as many threads inside a call: for this one the ring is busy,
        // which it may as well call full.
        self.producers
            .with(|| make().map_err(|_| SendError::NoEntry), work)
            .unwrap_or(Err(SendError::Full))
    }

    #[inline(always)]
    pub(crate) fn receiving<T>(
        &self,
        work: impl FnOnce(&mut Consumer<Shared>) -> Result<T, RecvError>,
    ) -> Result<T, RecvError> {
        let make = || Consumer::attach(&self.segment, &self.identity());
        // As in `sending`.
        self.consumers
            .with(|| make().map_err(|_| RecvError::NoEntry), work)
            .unwrap_or(Err(RecvError::Empty))
    }

    /// What the ring has counted.
    pub fn stats(&self) -> RingStats {
        self.producers.for_each_idle(Producer::flush);
        self.consumers.for_each_idle(Consumer::flush);
        observe::stats(&self.segment)
    }

    /// A shared producer. If the ring is closed, this opens it again, for a new stream.
    ///
    /// # Errors
    ///
    /// [`RingError::WrongSharing`] if the producer side is exclusive, [`RingError::TableFull`],
    /// or what the system says.
    pub fn producer(&self) -> Result<Producer<Shared>, RingError> {
        Producer::begin(&self.segment, &self.identity())
    }

    /// The producer of an exclusive producer side. If the ring is closed, this opens it again, for
    /// a new stream.
    ///
    /// # Errors
    ///
    /// [`RingError::SideTaken`], which says who holds it; [`RingError::WrongSharing`] if the side
    /// is shared, [`RingError::TableFull`], or what the system says.
    pub fn exclusive_producer(&self) -> Result<Producer<Exclusive>, RingError> {
        Producer::begin(&self.segment, &self.identity())
    }

    /// A shared consumer.
    ///
    /// # Errors
    ///
    /// As [`producer`](Self::producer), for the consumer side.
    pub fn consumer(&self) -> Result<Consumer<Shared>, RingError> {
        Consumer::attach(&self.segment, &self.identity())
    }

    /// The consumer of an exclusive consumer side.
    ///
    /// # Errors
    ///
    /// As [`exclusive_producer`](Self::exclusive_producer), for the consumer side.
    pub fn exclusive_consumer(&self) -> Result<Consumer<Exclusive>, RingError> {
        Consumer::attach(&self.segment, &self.identity())
    }

    /// Closes the ring: the stream ends. Calls that send give [`SendError::Closed`]; those that
    /// receive give what is left in the ring and then [`RecvError::Closed`]. Whoever waits is
    /// woken.
    ///
    /// A named ring stays closed until somebody takes a producer handle or calls
    /// [`reopen`](Self::reopen). On a shared producer side nothing is sent after this. An exclusive
    /// producer looks only when it has sent something: if somebody else closes the ring, one more
    /// call may send its message, or of a batch up to 64. They stay in the ring and are received,
    /// unless a consumer has ended with [`RecvError::Closed`] by then.
    pub fn close(&self) {
        // What lies in seats is announced first, so that the counters are whole at the end, but for
        // what threads are sending at this moment.
        self.producers.for_each_idle(Producer::flush);
        wait::close(&self.segment);
    }

    /// Opens a closed ring again, as taking a producer handle does.
    pub fn reopen(&self) {
        wait::reopen(&self.segment);
    }

    /// Whether the ring is closed.
    pub fn is_closed(&self) -> bool {
        wait::is_closed(&self.segment)
    }

    /// Whether somebody of `side` sleeps until the other side wakes it, or did when last somebody
    /// looked.
    pub fn is_asleep(&self, side: Side) -> bool {
        self.segment.control().bell(side).state.load(Ordering::Relaxed) & Bell::ASLEEP != 0
    }

    /// How many handles of `side` are held by the living, seats of the calls on
    /// `&UltraFastRing` included: what tells a dead or departed peer from a silent one.
    pub fn living(&self, side: Side) -> usize {
        self.segment.infos().filter(|info| info.side == side && info.alive).count()
    }

    #[cfg(feature = "alloc")]
    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }

    #[cold]
    fn identity(&self) -> Identity {
        Identity::of_this_process(self.name)
    }

    /// Number of slots.
    pub fn capacity(&self) -> usize {
        self.segment.geometry().capacity
    }

    /// Messages sent and not yet received, at about this moment.
    pub fn len(&self) -> usize {
        observe::len(&self.segment)
    }

    /// Whether [`len`](Self::len) is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The four counters.
    pub fn positions(&self) -> Positions {
        observe::positions(&self.segment)
    }

    /// How the producer side is shared.
    pub fn producer_side(&self) -> Sharing {
        self.segment.geometry().producer_sharing
    }

    /// How the consumer side is shared.
    pub fn consumer_side(&self) -> Sharing {
        self.segment.geometry().consumer_sharing
    }

    /// How many messages may be in flight.
    pub fn credit_limit(&self) -> u64 {
        self.segment.geometry().credit_limit
    }

    /// Credits kept for each class, the most urgent first.
    pub fn reserves(&self) -> [u64; PriorityClass::COUNT] {
        self.segment.geometry().reserves
    }

    /// Which messages carry a timestamp.
    pub fn timestamps(&self) -> Timestamps {
        self.segment.geometry().timestamps
    }

    /// What becomes of messages that a consumer held when it died.
    pub fn redelivery(&self) -> Redelivery {
        self.segment.geometry().redelivery
    }

    /// Bytes of the largest message.
    pub fn max_message(&self) -> usize {
        self.segment.geometry().max_message()
    }

    /// Bytes of the segment, side buffers whole; what of them was never touched takes no memory.
    pub fn size_bytes(&self) -> usize {
        self.segment.geometry().offsets().end
    }

    /// Entries of the participant table.
    pub fn max_participants(&self) -> usize {
        self.segment.geometry().participants
    }

    /// The participants: those who are here, and the dead whose work nobody has finished yet.
    pub fn participants(&self) -> impl Iterator<Item = ParticipantInfo> + '_ {
        self.segment.infos()
    }
}

/// The calls that wait.
#[cfg(feature = "std")]
impl UltraFastRing {
    /// As [`recv_fast`](Self::recv_fast), and waits for a message if there is none. It has a
    /// participant entry for as long as it waits.
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`], [`RecvError::BufferTooSmall`] or [`RecvError::NoEntry`].
    pub fn recv_blocking(
        &self,
        buffer: &mut [u8],
    ) -> Result<(usize, PriorityClass, u64), RecvError> {
        loop {
            let received = self.receiving(|consumer| {
                loop {
                    match consumer.recv_fast(buffer) {
                        Err(RecvError::Empty) => consumer.wait(None)?,
                        done => return done,
                    }
                }
            });
            match received {
                // As many threads wait as there are seats.
                Err(RecvError::Empty) => std::thread::sleep(NO_SEAT),
                done => return done,
            }
        }
    }

    /// As [`send_fast`](Self::send_fast), and waits while there is no room. It has a participant
    /// entry for as long as it waits.
    ///
    /// # Errors
    ///
    /// [`SendError::TooLarge`], [`SendError::Closed`] or [`SendError::NoEntry`].
    pub fn send_blocking(&self, data: &[u8], class: PriorityClass) -> Result<(), SendError> {
        loop {
            match self.sending(|producer| producer.send_blocking(data, class)) {
                // As many threads wait as there are seats.
                Err(SendError::Full) => std::thread::sleep(NO_SEAT),
                done => return done,
            }
        }
    }
}

/// How long a waiting call sleeps when all seats are taken.
#[cfg(feature = "std")]
const NO_SEAT: std::time::Duration = std::time::Duration::from_millis(1);

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

    /// Opens the ring called `name` to look at it.
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
    pub fn observe(name: &str) -> Result<crate::Observer, RingError> {
        Self::builder().observe(name)
    }

    /// Hands an anonymous ring to the process at the other end of a Unix socket, which takes it with
    /// [`Builder::take_from`](crate::Builder::take_from).
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
    /// one, [`RingError::Io`].
    pub fn hand_to(&self, socket: &std::os::unix::net::UnixStream) -> Result<(), RingError> {
        self.segment.hand_over(socket.as_fd(), Rights::Participate)
    }

    /// As [`hand_to`](Self::hand_to), without the right to write or to lock: the peer can take it with
    /// [`Builder::observe_from`](crate::Builder::observe_from) and with nothing else.
    ///
    /// A process of another user can get no more than that. One of the user who made the ring can, if
    /// it wants to: it may open the file anew.
    ///
    /// # Errors
    ///
    /// As [`hand_to`](Self::hand_to).
    pub fn hand_to_observer(
        &self,
        socket: &std::os::unix::net::UnixStream,
    ) -> Result<(), RingError> {
        self.segment.hand_over(socket.as_fd(), Rights::Observe)
    }

    /// Whether the ring's file was made shorter or wiped out; see
    /// [`survive_truncation`](crate::survive_truncation).
    pub fn is_damaged(&self) -> bool {
        self.segment.is_damaged()
    }

    /// Takes the name of a ring away; those who have it open go on with it.
    ///
    /// # Errors
    ///
    /// As [`Builder::remove`](crate::Builder::remove).
    pub fn remove(name: &str) -> Result<(), RingError> {
        Self::builder().remove(name)
    }

    /// The ring's name, if it is a named one.
    pub fn name(&self) -> Option<&str> {
        self.segment.name()
    }

    /// Whether somebody else, in this process or in another, has the named ring open at this
    /// moment, or handles that outlive its opening.
    pub fn is_open_elsewhere(&self) -> bool {
        self.segment.is_open_elsewhere().unwrap_or(false)
    }

    /// The ring's file, if it is a named one.
    pub fn path(&self) -> Option<&std::path::Path> {
        self.segment.path()
    }

    /// Process id of who made a named ring.
    pub fn creator_pid(&self) -> u32 {
        self.segment.geometry().creator_pid
    }

    /// When a named ring was made, in nanoseconds since 1970.
    pub fn created(&self) -> u64 {
        self.segment.geometry().created
    }

    /// The clock that the ring's ticks are of: the creator's for a named ring, else this
    /// process's.
    pub fn clock(&self) -> crate::clock::Clock {
        observe::clock(&self.segment)
    }

    /// How many ticks a second has.
    pub fn ticks_per_second(&self) -> f64 {
        self.clock().ticks_per_second
    }
}
