//! A message that is written in place: a guard on a claimed position.

use core::mem::ManuallyDrop;

use super::Producer;
use super::unsent::Unsent;
use crate::error::SendError;
use crate::lane::view::OwnLane;
use crate::layout::side::SideBuffer;
use crate::layout::slot::INLINE_SIZE;
use crate::mode::{AnyMode, Mode, OwnMode, in_own_mode};
use crate::priority::PriorityClass;

impl<S: Mode> Producer<S> {
    /// Claims a slot for a message of `size` bytes. The returned guard writes the message in place,
    /// and [`Reservation::commit`] sends it. Never waits; `reserve` waits for room.
    ///
    /// A reservation that is kept holds up later messages. Consumers get messages in order, so
    /// messages of other producers stay in the ring until it is committed or cancelled.
    ///
    /// ```
    /// # #[cfg(feature = "alloc")] {
    /// use ultrafastring::{PriorityClass, UltraFastRing};
    ///
    /// let ring = UltraFastRing::builder().max_message(4096).heap()?;
    /// let mut producer = ring.producer()?;
    /// let mut place = producer.try_reserve(1000, PriorityClass::Normal)?;
    /// place.write_at(0, b"header");
    /// place.write_at(6, &[0; 994]);
    /// place.commit();
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A guard that is dropped, also by a panic, is cancelled. One that is forgotten
    /// (`mem::forget`) is cancelled by the next call on this handle that sends, waits or flushes,
    /// or when the handle is dropped. [`cancel`](Reservation::cancel) says what that gives back.
    ///
    /// # Errors
    ///
    /// As [`send_fast`](Self::send_fast).
    #[inline(always)]
    pub fn try_reserve(
        &mut self,
        size: usize,
        class: PriorityClass,
    ) -> Result<Reservation<'_, S>, SendError> {
        let position = self.claim_place(size, class)?;
        Ok(Reservation::of(self, position, class, size))
    }

    /// Claims the position of a reservation.
    #[inline(always)]
    pub(crate) fn claim_place(
        &mut self,
        size: usize,
        class: PriorityClass,
    ) -> Result<u64, SendError> {
        match self.claim_this(size, class) {
            Err(reason) if S::OWN.is_none() => {
                self.turn_or(class, reason, |this| this.claim_this(size, class))
            }
            done => done,
        }
    }

    #[inline(always)]
    fn claim_this(&mut self, size: usize, class: PriorityClass) -> Result<u64, SendError> {
        in_own_mode!(self, it => it.claim_place_own(size, class))
    }
}

impl<S: OwnMode> Producer<S> {
    #[inline(always)]
    fn claim_place_own(&mut self, size: usize, class: PriorityClass) -> Result<u64, SendError> {
        let large = size > INLINE_SIZE;
        let position = if large { self.claim_large(size, class)? } else { self.claim(class, 1)? };
        self.writer.set_reserved(Some(position));
        if !large {
            self.inline = Unsent::default();
        }
        Ok(position)
    }

    /// Sends the message of a reservation.
    #[inline(always)]
    fn commit_place(&mut self, position: u64, class: PriorityClass, size: usize, large: bool) {
        let timestamp = self.stamps.take(position);
        if large {
            self.commit_large(position, class, size, timestamp);
        } else {
            let bytes = self.inline.0;
            self.commit(position, class, &bytes[..size.min(INLINE_SIZE)], timestamp);
        }
        self.writer.set_reserved(None);
        self.announce_if_due(timestamp);
    }

    /// Gives up the position of a reservation.
    #[inline]
    fn cancel_place(&mut self, position: u64) {
        self.writer.set_reserved(None);
        self.abandon(position);
    }
}

/// A message to write in place: see [`Producer::try_reserve`].
///
/// A message of up to 40 bytes is kept in the handle, zeroed at first, until
/// [`commit`](Self::commit) copies it into the slot. A larger one is written straight into the side
/// buffer, which still has bytes of an earlier message until they are overwritten. A peer that
/// breaks the protocol could write there at the same time, so safe code gets no `&mut [u8]`. A
/// [`Trusted`](crate::Trusted) handle gives one; between processes that needs
/// [`Builder::trust_peers`](crate::Builder::trust_peers), which is unsafe.
#[must_use = "dropping it sends nothing"]
#[derive(Debug)]
pub struct Reservation<'a, S: Mode = AnyMode> {
    producer: &'a mut Producer<S>,
    position: u64,
    class: PriorityClass,
    size: usize,
    /// Whether the bytes are in the side buffer.
    large: bool,
}

impl<'a, S: Mode> Reservation<'a, S> {
    /// A guard on a position that is claimed.
    #[inline(always)]
    pub(crate) fn of(
        producer: &'a mut Producer<S>,
        position: u64,
        class: PriorityClass,
        size: usize,
    ) -> Self {
        Self { producer, position, class, size, large: size > INLINE_SIZE }
    }
}

impl<S: Mode> Reservation<'_, S> {
    /// Bytes of the message.
    pub fn len(&self) -> usize {
        self.size
    }

    /// Whether the message has no bytes.
    pub fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// Writes `data` from byte `offset` of the message on.
    ///
    /// # Panics
    ///
    /// If that goes beyond the message.
    #[inline]
    pub fn write_at(&mut self, offset: usize, data: &[u8]) {
        assert!(
            offset <= self.size && data.len() <= self.size - offset,
            "{} bytes at {offset} go beyond a message of {}",
            data.len(),
            self.size
        );
        if self.large {
            let lane = OwnLane::of(&self.producer.entry);
            self.producer.writer.write(self.position, offset, data, lane);
        } else {
            self.producer.inline.0[offset..offset + data.len()].copy_from_slice(data);
        }
    }

    /// Writes the whole message.
    ///
    /// # Panics
    ///
    /// If `data` is not as long as the message.
    #[inline]
    pub fn copy_from_slice(&mut self, data: &[u8]) {
        assert!(data.len() == self.size, "{} bytes for a message of {}", data.len(), self.size);
        self.write_at(0, data);
    }

    /// Makes the message shorter. A `size` that is not smaller changes nothing. So you can reserve
    /// the largest size and commit what you need.
    pub fn truncate(&mut self, size: usize) {
        self.size = self.size.min(size);
    }

    /// The bytes of a message of up to 40 bytes, which the handle keeps; `None` for a larger one.
    pub fn as_mut_inline(&mut self) -> Option<&mut [u8]> {
        (!self.large).then(|| &mut self.producer.inline.0[..self.size])
    }

    /// All bytes, where they are.
    ///
    /// # Safety
    ///
    /// Until the last use of the slice, no process that has the ring mapped may access this
    /// message. A process that keeps to the protocol does not. Do not start an asynchronous read
    /// (io_uring, AIO) into the slice unless the process waits for its end: if the process dies,
    /// the kernel may still write into a slot that was given to others.
    #[inline(always)]
    pub unsafe fn as_mut_slice(&mut self) -> &mut [u8] {
        if self.large {
            let start = self.side().as_ptr();
            // SAFETY: the side buffer has this many bytes, initialised and backed by memory. The
            // position is claimed, so nobody who keeps to the protocol accesses them. The caller
            // vouches for the others.
            unsafe { core::slice::from_raw_parts_mut(start, self.size) }
        } else {
            &mut self.producer.inline.0[..self.size]
        }
    }

    /// [`as_mut_slice`](Self::as_mut_slice), to read.
    ///
    /// # Safety
    ///
    /// As there.
    #[inline(always)]
    pub unsafe fn as_slice(&self) -> &[u8] {
        if self.large {
            let start = self.side().as_ptr();
            // SAFETY: as in `as_mut_slice`.
            unsafe { core::slice::from_raw_parts(start, self.size) }
        } else {
            &self.producer.inline.0[..self.size]
        }
    }

    #[inline]
    fn side(&self) -> SideBuffer<'_> {
        let Producer { writer, entry, .. } = &*self.producer;
        writer.side(self.position, OwnLane::of(entry))
    }

    /// Sends the message.
    #[inline(always)]
    pub fn commit(self) {
        let this = ManuallyDrop::new(self);
        let (position, class, size, large) = (this.position, this.class, this.size, this.large);
        // SAFETY: read once, from a guard that is neither used nor dropped afterwards.
        let producer = unsafe { core::ptr::read(&raw const this.producer) };
        in_own_mode!(producer, it => it.commit_place(position, class, size, large));
    }

    /// Gives up the message unsent, as dropping the guard does.
    ///
    /// On an exclusive side the next message takes its position. On a shared side others may have
    /// claimed the positions behind it, so the position is marked abandoned. Its slot and its
    /// credit come back when consumers have passed it. So reserving and cancelling fills a ring
    /// that nobody receives from.
    pub fn cancel(self) {}
}

impl<S: Mode> Drop for Reservation<'_, S> {
    #[inline]
    fn drop(&mut self) {
        in_own_mode!(self.producer, it => it.cancel_place(self.position));
    }
}
