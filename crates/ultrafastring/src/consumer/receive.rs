//! Receiving one message by copying it: from the look at its slot to the release.

use core::mem::MaybeUninit;

#[cfg(feature = "alloc")]
use alloc::vec::Vec;

use super::Consumer;
use crate::error::RecvError;
use crate::lane::reader::delivery::Delivery;
use crate::lane::reader::independent;
use crate::lane::reader::room::{Room, as_uninit};
use crate::lane::view::OwnLane;
use crate::layout::slot::{INLINE_SIZE, Meta, Payload};
use crate::message::{Message, Received};
use crate::mode::{Mode, OwnReader, in_any_lane};
use crate::priority::PriorityClass;

/// Why the fast path ends without a message.
enum Pause {
    /// There is none.
    Error(RecvError),
    /// It lies in a side buffer, or was held by a consumer that died.
    Apart,
}

impl From<RecvError> for Pause {
    #[inline(always)]
    fn from(error: RecvError) -> Self {
        Self::Error(error)
    }
}

/// Where a caller wants a message, and what it gets besides.
trait Destination {
    type Got;

    /// Which sizes it has room for.
    fn room(&self) -> Room;

    /// Takes a message that came in a slot, and then counts it, which may grant. Otherwise its
    /// bytes would have to be kept during the grant.
    fn fill(self, delivery: &Delivery, record: impl FnOnce() -> Received) -> Self::Got;

    /// Receives a message that is apart.
    fn recv_apart<S: OwnReader>(self, consumer: &mut Consumer<S>) -> Result<Self::Got, RecvError>;
}

mod sealed {
    use super::{Consumer, OwnReader, Received, RecvError};

    pub trait Sealed {
        /// Receives the next message into it.
        fn receive<S: OwnReader>(
            &mut self,
            consumer: &mut Consumer<S>,
        ) -> Result<Received, RecvError>;
    }
}

/// Memory of the caller into which a message can be received: a `Vec<u8>`, which grows as needed,
/// or bytes of fixed size, `[u8]` or `[u8; N]`. See [`Consumer::try_recv_into`].
pub trait ReceiveBuffer: sealed::Sealed {}

impl ReceiveBuffer for [u8] {}

impl sealed::Sealed for [u8] {
    #[inline(always)]
    fn receive<S: OwnReader>(&mut self, consumer: &mut Consumer<S>) -> Result<Received, RecvError> {
        consumer.receive(self)
    }
}

impl<const N: usize> ReceiveBuffer for [u8; N] {}

impl<const N: usize> sealed::Sealed for [u8; N] {
    #[inline(always)]
    fn receive<S: OwnReader>(&mut self, consumer: &mut Consumer<S>) -> Result<Received, RecvError> {
        consumer.receive(&mut self[..])
    }
}

#[cfg(feature = "alloc")]
impl ReceiveBuffer for Vec<u8> {}

#[cfg(feature = "alloc")]
impl sealed::Sealed for Vec<u8> {
    fn receive<S: OwnReader>(&mut self, consumer: &mut Consumer<S>) -> Result<Received, RecvError> {
        self.clear();
        // There is always room for a small message, so that only a large one can be too large.
        let bytes = INLINE_SIZE;
        self.try_reserve(bytes).map_err(|_| RecvError::OutOfMemory { bytes })?;
        consumer.receive(self)
    }
}

impl<S: Mode> Consumer<S> {
    /// Receives the next message into `buffer`, and returns its size, priority class, and latency
    /// in ticks (0 if it carried no timestamp). Never waits. Bytes of `buffer` beyond the size stay
    /// as they were. The name is the founding document's. [`try_recv_into`](Self::try_recv_into)
    /// does the same and returns everything known about the message.
    ///
    /// Only this consumer gets the message: a ring is a queue, not a broadcast. When this returns,
    /// the message has left the ring. Messages come in the order of their positions, whatever their
    /// classes.
    ///
    /// # Errors
    ///
    /// - [`RecvError::Empty`]: there is no message.
    /// - [`RecvError::BufferTooSmall`]: the message stays in the ring.
    /// - [`RecvError::Closed`]: the ring is closed and empty.
    /// - [`RecvError::OutOfMemory`]: there is no memory to map the message's side buffer, which
    ///   this process has not touched before. The message stays in the ring.
    /// - [`RecvError::Damaged`]: the segment is gone.
    #[inline(always)]
    pub fn recv_fast(
        &mut self,
        buffer: &mut [u8],
    ) -> Result<(usize, PriorityClass, u64), RecvError> {
        let about = in_any_lane!(self, it => it.receive(&mut *buffer))?;
        Ok((about.size, about.class, about.latency))
    }

    /// Receives the next message, if it has at most 40 bytes, which fit into a [`Message`]. Never
    /// waits; `recv` waits for a message. For larger messages use
    /// [`try_recv_into`](Self::try_recv_into) or [`try_borrow`](Self::try_borrow).
    ///
    /// # Errors
    ///
    /// As [`recv_fast`](Self::recv_fast). [`RecvError::BufferTooSmall`] for a larger message, which
    /// stays in the ring.
    #[inline(always)]
    pub fn try_recv(&mut self) -> Result<Message, RecvError> {
        in_any_lane!(self, it => it.receive(AsMessage))
    }

    /// Receives the next message into memory of the caller, and returns what is known about it.
    /// Never waits; `recv_into` waits for a message.
    ///
    /// A `Vec<u8>` takes a message of any size. It is cleared, gets the length of the message, and
    /// reuses its memory. After an error it is empty. A slice or an array gets the message at its
    /// beginning, and keeps its other bytes.
    ///
    /// ```
    /// # #[cfg(feature = "alloc")] {
    /// use ultrafastring::{PriorityClass, RecvError, UltraFastRing};
    ///
    /// let ring = UltraFastRing::builder().max_message(1000).heap()?;
    /// let mut producer = ring.producer()?;
    /// producer.try_send([7; 900], PriorityClass::Normal)?;
    ///
    /// let mut consumer = ring.consumer()?;
    /// let mut small = [0; 64];
    /// let error = consumer.try_recv_into(&mut small).unwrap_err();
    /// assert_eq!(error, RecvError::BufferTooSmall { needed: 900, available: 64 });
    /// let mut any = Vec::new();
    /// let about = consumer.try_recv_into(&mut any)?;
    /// assert_eq!((about.size, about.position(), any.len()), (900, 0, 900));
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`recv_fast`](Self::recv_fast). For a `Vec`, [`RecvError::OutOfMemory`] in place of
    /// [`RecvError::BufferTooSmall`]. The message stays in the ring.
    #[inline(always)]
    pub fn try_recv_into<B: ReceiveBuffer + ?Sized>(
        &mut self,
        buffer: &mut B,
    ) -> Result<Received, RecvError> {
        in_any_lane!(self, it => buffer.receive(it))
    }

    /// Fills `bytes` with the next message, which must be of that size.
    #[cfg(feature = "zerocopy")]
    #[inline(always)]
    pub(crate) fn recv_exactly(&mut self, bytes: &mut [MaybeUninit<u8>]) -> Result<(), RecvError> {
        in_any_lane!(self, it => it.receive(&mut *bytes))
    }

    /// Receives the next message, and calls `relax` repeatedly while there is none. This is for
    /// programs without an operating system, or with one of their own.
    ///
    /// # Errors
    ///
    /// As [`try_recv`](Self::try_recv), except [`RecvError::Empty`].
    pub fn recv_spinning(&mut self, mut relax: impl FnMut()) -> Result<Message, RecvError> {
        loop {
            match self.try_recv() {
                Err(RecvError::Empty) => relax(),
                done => return done,
            }
        }
    }
}

impl<S: OwnReader> Consumer<S> {
    /// As [`recv_fast`](Self::recv_fast), for a caller that gets the result through memory: 15
    /// instructions less there, and as many more elsewhere.
    #[inline(always)]
    pub(crate) fn recv_fast_lent(
        &mut self,
        buffer: &mut [u8],
    ) -> Result<(usize, PriorityClass, u64), RecvError> {
        self.receive(AsTuple(buffer))
    }

    #[inline(always)]
    fn receive<D: Destination>(&mut self, to: D) -> Result<D::Got, RecvError> {
        if self.reader.is_special() {
            return self.receive_special(to);
        }
        match self.take_next(to.room()) {
            Ok(delivery) => Ok(to.fill(&delivery, || self.record(&delivery))),
            Err(Pause::Error(error)) => Err(error),
            Err(Pause::Apart) => to.recv_apart(self),
        }
    }

    /// As `receive`, if a forgotten guard has to be released first, a dead consumer's message
    /// delivered, or a message marked. All of it is out of line: if a message could come from two
    /// paths, it would be passed through memory.
    #[cold]
    #[inline(never)]
    fn receive_special<D: Destination>(&mut self, to: D) -> Result<D::Got, RecvError> {
        self.reader.resume(OwnLane::of(&self.entry));
        self.say_missed()?;
        if self.reader.is_special() { to.recv_apart(self) } else { self.receive(to) }
    }

    /// Takes the next message and releases it. There must be `room` for its size.
    #[inline(always)]
    fn take_next(&mut self, room: Room) -> Result<Delivery, Pause> {
        let mut lost = 0;
        loop {
            let lane = OwnLane::of(&self.entry);
            // Look: the slot's sequence says whether there is a message.
            let position = self.reader.position();
            let next = independent(position + 1);
            let slot = lane.slot(position);
            let sequence = slot.sequence();
            if sequence != position + 1 {
                self.not_committed(sequence)?;
                if self.reader.has_adopted() {
                    return Err(Pause::Apart);
                }
                continue;
            }
            // Read, before the claim: a message that does not fit stays in the ring.
            self.reader.fetch_ahead(lane, position);
            let (meta, timestamp, payload) = slot.read();
            if !self.tally.run().continues(meta) && !self.begin_run(meta) {
                return Err(Pause::Apart);
            }
            let size = self.tally.run().size();
            if !room.fits(size) {
                self.does_not_fit(size, room)?;
                continue;
            }
            // Claim and release at once: a store on an exclusive side, a compare-and-swap on a
            // shared side.
            let seen = self.reader.time_before_claim(timestamp);
            if self.reader.pass(OwnLane::of(&self.entry), next).is_err() {
                lost += 1;
                self.lose_race(lost)?;
                continue;
            }
            let (large, redelivered) = (None, false);
            return Ok(Delivery { size, large, timestamp, seen, payload, position, redelivered });
        }
    }

    /// As [`Tally::join`](crate::lane::reader::tally::Tally::join), out of line.
    #[cold]
    #[inline(never)]
    fn begin_run(&mut self, meta: Meta) -> bool {
        self.tally.join(meta)
    }

    /// Counts a message that was taken and released, and grants if it is due.
    #[inline(always)]
    pub(super) fn record(&mut self, delivery: &Delivery) -> Received {
        let (about, now) = self.tally.record(delivery);
        self.count_and_grant_if_due(now, about.latency);
        about
    }

    /// Receives the next message, small or large, into `buffer`, which is as long as `room` says:
    /// claims it, copies it, and releases it.
    #[inline(never)]
    pub(super) fn recv_apart(
        &mut self,
        buffer: &mut [MaybeUninit<u8>],
        room: Room,
    ) -> Result<Received, RecvError> {
        self.reader.resume(OwnLane::of(&self.entry));
        let mut lost = 0;
        let delivery = loop {
            if self.reader.has_adopted() {
                match self.recv_adopted(buffer, room)? {
                    Some(delivery) => break delivery,
                    None => self.detour()?,
                }
                continue;
            }
            let lane = OwnLane::of(&self.entry);
            if S::copies_first(lane) {
                match self.reader.copy_first(lane, &mut self.tally, buffer, room) {
                    Ok(delivery) => break delivery,
                    Err(miss) => self.look_again(miss, room, &mut lost)?,
                }
                continue;
            }
            let copied = self
                .reader
                .claim_to_copy(lane, 1, |_| room)
                .and_then(|span| self.reader.copy(lane, &mut self.tally, span.first, buffer, room));
            match copied {
                Ok(delivery) => {
                    self.reader.release_copied(lane, delivery.position + 1);
                    break delivery;
                }
                Err(miss) => self.look_again(miss, room, &mut lost)?,
            }
        };
        Ok(self.record(&delivery))
    }
}

/// Any message that fits.
impl Destination for &mut [u8] {
    type Got = Received;

    #[inline(always)]
    fn room(&self) -> Room {
        Room::up_to(self.len())
    }

    #[inline(always)]
    fn fill(self, delivery: &Delivery, record: impl FnOnce() -> Received) -> Self::Got {
        delivery.payload.copy_to(&mut self[..delivery.size]);
        record()
    }

    #[inline(never)]
    fn recv_apart<S: OwnReader>(self, consumer: &mut Consumer<S>) -> Result<Self::Got, RecvError> {
        let room = self.room();
        consumer.recv_apart(as_uninit(self), room)
    }
}

/// Any message that fits, with what the founding document's call returns. Nothing else is kept.
struct AsTuple<'a>(&'a mut [u8]);

impl Destination for AsTuple<'_> {
    type Got = (usize, PriorityClass, u64);

    #[inline(always)]
    fn room(&self) -> Room {
        Room::up_to(self.0.len())
    }

    #[inline(always)]
    fn fill(self, delivery: &Delivery, record: impl FnOnce() -> Received) -> Self::Got {
        let about = Destination::fill(self.0, delivery, record);
        (about.size, about.class, about.latency)
    }

    #[inline(never)]
    fn recv_apart<S: OwnReader>(self, consumer: &mut Consumer<S>) -> Result<Self::Got, RecvError> {
        let about = Destination::recv_apart(self.0, consumer)?;
        Ok((about.size, about.class, about.latency))
    }
}

/// As a [`Message`].
struct AsMessage;

impl Destination for AsMessage {
    type Got = Message;

    #[inline(always)]
    fn room(&self) -> Room {
        Room::ANY
    }

    #[inline(always)]
    fn fill(self, delivery: &Delivery, record: impl FnOnce() -> Received) -> Message {
        Message::new(delivery.payload, record())
    }

    #[cold]
    #[inline(never)]
    fn recv_apart<S: OwnReader>(self, consumer: &mut Consumer<S>) -> Result<Message, RecvError> {
        let mut bytes = [0; INLINE_SIZE];
        let room = Room::up_to(INLINE_SIZE);
        let about = consumer.recv_apart(as_uninit(&mut bytes), room)?;
        Ok(Message::new(Payload::from_bytes(&bytes[..about.size]), about))
    }
}

/// Any message; there is room for a small one.
#[cfg(feature = "alloc")]
impl Destination for &mut Vec<u8> {
    type Got = Received;

    #[inline(always)]
    fn room(&self) -> Room {
        Room::ANY
    }

    #[inline(always)]
    fn fill(self, delivery: &Delivery, record: impl FnOnce() -> Received) -> Received {
        self.extend_from_slice(&delivery.payload.as_bytes()[..delivery.size]);
        record()
    }

    fn recv_apart<S: OwnReader>(self, consumer: &mut Consumer<S>) -> Result<Received, RecvError> {
        loop {
            let room = Room::up_to(self.capacity());
            match consumer.recv_apart(self.spare_capacity_mut(), room) {
                Ok(about) => {
                    // SAFETY: `recv_apart` has filled this many bytes.
                    unsafe { self.set_len(about.size) };
                    return Ok(about);
                }
                Err(RecvError::BufferTooSmall { needed: bytes, .. }) => {
                    self.try_reserve(bytes).map_err(|_| RecvError::OutOfMemory { bytes })?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// A message of exactly that size.
#[cfg(feature = "zerocopy")]
impl Destination for &mut [MaybeUninit<u8>] {
    type Got = ();

    #[inline(always)]
    fn room(&self) -> Room {
        Room::exactly(self.len())
    }

    #[inline(always)]
    fn fill(self, delivery: &Delivery, record: impl FnOnce() -> Received) {
        let mut inline = [0; INLINE_SIZE];
        delivery.payload.copy_to(&mut inline[..self.len().min(INLINE_SIZE)]);
        for (to, from) in self.iter_mut().zip(inline) {
            to.write(from);
        }
        record();
    }

    fn recv_apart<S: OwnReader>(self, consumer: &mut Consumer<S>) -> Result<(), RecvError> {
        let (expected, room) = (self.len(), self.room());
        match consumer.recv_apart(self, room)?.size {
            size if size == expected => Ok(()),
            // A peer has changed the size while it was received, and not all bytes were filled.
            size => Err(RecvError::WrongSize { size, expected }),
        }
    }
}
