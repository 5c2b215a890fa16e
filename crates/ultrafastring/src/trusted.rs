//! Handles whose peers are trusted: messages as slices, in place.
//!
//! A `&[u8]` promises that nobody writes there while it lives, a `&mut [u8]` that nobody even
//! reads. In a side buffer the protocol keeps that promise. But a peer that has the segment mapped
//! can break the protocol, and safe code must not depend on it. So there is a [`Trusted`] handle
//! only where there is no such peer: on the heap and in lent memory, which only threads of this
//! process can reach, through this library; or where the program says that there is none
//! ([`Builder::trust_peers`](crate::Builder::trust_peers), which is unsafe).

use core::fmt;
use core::ops::{Deref, DerefMut};
#[cfg(any(feature = "std", loom))]
use std::time::{Duration, Instant};

use crate::consumer::Consumer;
use crate::consumer::borrow::Borrowed;
use crate::error::{RecvError, SendError};
use crate::mode::{AnyMode, Mode};
use crate::priority::PriorityClass;
use crate::producer::Producer;
use crate::producer::reserve::Reservation;

/// A [`Producer`] or [`Consumer`] whose guards are slices of messages in place. It dereferences to
/// the handle, for all other calls.
///
/// Threads of one process get one by [`Producer::trusted`] and [`Consumer::trusted`]. Between
/// processes that needs [`Builder::trust_peers`](crate::Builder::trust_peers), which is unsafe. A
/// guard that is kept holds up the messages behind it, as with a plain handle.
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use ultrafastring::{PriorityClass, UltraFastRing};
///
/// let ring = UltraFastRing::builder().max_message(1 << 20).heap()?;
/// let mut producer = ring.producer()?.trusted()?;
/// let mut consumer = ring.consumer()?.trusted()?;
///
/// let mut place = producer.try_reserve(1 << 20, PriorityClass::Normal)?;
/// place.fill(7); // a `&mut [u8]` in the ring
/// place.commit();
///
/// let message = consumer.try_borrow()?;
/// assert!(message.iter().all(|&byte| byte == 7)); // a `&[u8]` in the ring
/// # drop(message);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Trusted<H>(H);

/// The peers of a handle are not trusted: they are other processes, and the program has not vouched
/// for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Untrusted;

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the ring is shared with other processes, and nobody has vouched for them; make or \
             open it with Builder::trust_peers, or read and write by copying",
        )
    }
}

impl core::error::Error for Untrusted {}

impl<H> Trusted<H> {
    /// The handle.
    pub fn into_inner(self) -> H {
        self.0
    }
}

impl<H> Deref for Trusted<H> {
    type Target = H;

    fn deref(&self) -> &H {
        &self.0
    }
}

impl<H> DerefMut for Trusted<H> {
    fn deref_mut(&mut self) -> &mut H {
        &mut self.0
    }
}

impl<S: Mode> Producer<S> {
    /// The same handle, with reservations that are slices. On the heap and in lent memory it always
    /// works. A ring that processes share must be made or opened with
    /// [`Builder::trust_peers`](crate::Builder::trust_peers), which is unsafe.
    ///
    /// # Errors
    ///
    /// [`Untrusted`] if the ring is shared with processes for which the program has not vouched.
    /// The handle is dropped.
    pub fn trusted(self) -> Result<Trusted<Self>, Untrusted> {
        if self.is_trusted() { Ok(Trusted(self)) } else { Err(Untrusted) }
    }
}

impl<S: Mode> Consumer<S> {
    /// The same handle, with borrowed messages that are slices. On the heap and in lent memory it
    /// always works. A ring that processes share must be made or opened with
    /// [`Builder::trust_peers`](crate::Builder::trust_peers), which is unsafe.
    ///
    /// # Errors
    ///
    /// [`Untrusted`] if the ring is shared with processes for which the program has not vouched.
    /// The handle is dropped.
    pub fn trusted(self) -> Result<Trusted<Self>, Untrusted> {
        if self.is_trusted() { Ok(Trusted(self)) } else { Err(Untrusted) }
    }
}

impl<S: Mode> Trusted<Producer<S>> {
    /// The handle, after checking that its peers are trusted: by `DerefMut`, another handle may
    /// have been swapped in (`mem::swap`).
    #[inline(always)]
    fn checked(&mut self) -> &mut Producer<S> {
        assert!(self.0.is_trusted(), "{Untrusted}");
        &mut self.0
    }

    /// As [`Producer::try_reserve`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// If the handle in here was swapped for one that is not trusted.
    #[inline(always)]
    pub fn try_reserve(
        &mut self,
        size: usize,
        class: PriorityClass,
    ) -> Result<TrustedReservation<'_, S>, SendError> {
        self.checked().try_reserve(size, class).map(TrustedReservation)
    }
}

/// The forms that wait.
#[cfg(any(feature = "std", loom))]
impl<S: Mode> Trusted<Producer<S>> {
    /// As [`Producer::reserve`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// As [`try_reserve`](Self::try_reserve).
    #[inline]
    pub fn reserve(
        &mut self,
        size: usize,
        class: PriorityClass,
    ) -> Result<TrustedReservation<'_, S>, SendError> {
        self.checked().reserve(size, class).map(TrustedReservation)
    }

    /// As [`Producer::reserve_timeout`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// As [`try_reserve`](Self::try_reserve).
    #[inline]
    pub fn reserve_timeout(
        &mut self,
        size: usize,
        class: PriorityClass,
        timeout: Duration,
    ) -> Result<TrustedReservation<'_, S>, SendError> {
        self.checked().reserve_timeout(size, class, timeout).map(TrustedReservation)
    }

    /// As [`Producer::reserve_deadline`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// As [`try_reserve`](Self::try_reserve).
    #[inline]
    pub fn reserve_deadline(
        &mut self,
        size: usize,
        class: PriorityClass,
        deadline: Instant,
    ) -> Result<TrustedReservation<'_, S>, SendError> {
        self.checked().reserve_deadline(size, class, deadline).map(TrustedReservation)
    }
}

impl<S: Mode> Trusted<Consumer<S>> {
    /// As for a producer.
    #[inline(always)]
    fn checked(&mut self) -> &mut Consumer<S> {
        assert!(self.0.is_trusted(), "{Untrusted}");
        &mut self.0
    }

    /// As [`Consumer::try_borrow`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// If the handle in here was swapped for one that is not trusted.
    #[inline(always)]
    pub fn try_borrow(&mut self) -> Result<TrustedBorrowed<'_, S>, RecvError> {
        self.checked().try_borrow().map(TrustedBorrowed)
    }
}

/// The forms that wait.
#[cfg(any(feature = "std", loom))]
impl<S: Mode> Trusted<Consumer<S>> {
    /// As [`Consumer::borrow`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// As [`try_borrow`](Self::try_borrow).
    #[inline]
    pub fn borrow(&mut self) -> Result<TrustedBorrowed<'_, S>, RecvError> {
        self.checked().borrow().map(TrustedBorrowed)
    }

    /// As [`Consumer::borrow_timeout`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// As [`try_borrow`](Self::try_borrow).
    #[inline]
    pub fn borrow_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<TrustedBorrowed<'_, S>, RecvError> {
        self.checked().borrow_timeout(timeout).map(TrustedBorrowed)
    }

    /// As [`Consumer::borrow_deadline`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// As [`try_borrow`](Self::try_borrow).
    #[inline]
    pub fn borrow_deadline(
        &mut self,
        deadline: Instant,
    ) -> Result<TrustedBorrowed<'_, S>, RecvError> {
        self.checked().borrow_deadline(deadline).map(TrustedBorrowed)
    }
}

/// A [`Reservation`] that dereferences to its bytes. If there are more than 40, they are in the
/// ring.
#[must_use = "dropping it sends nothing"]
#[derive(Debug)]
pub struct TrustedReservation<'a, S: Mode = AnyMode>(Reservation<'a, S>);

impl<S: Mode> TrustedReservation<'_, S> {
    /// Makes the message shorter. A `size` that is not smaller changes nothing.
    pub fn truncate(&mut self, size: usize) {
        self.0.truncate(size);
    }

    /// Sends the message.
    #[inline(always)]
    pub fn commit(self) {
        self.0.commit();
    }

    /// Gives up the message unsent, as dropping the guard does.
    pub fn cancel(self) {}
}

impl<S: Mode> Deref for TrustedReservation<'_, S> {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        // SAFETY: everybody who can reach the memory keeps to the protocol, as `checked` has
        // verified.
        unsafe { self.0.as_slice() }
    }
}

impl<S: Mode> DerefMut for TrustedReservation<'_, S> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { self.0.as_mut_slice() }
    }
}

/// A [`Borrowed`] message that dereferences to its bytes. If there are more than 40, they are in
/// the ring.
#[must_use = "dropping it releases the message"]
#[derive(Debug)]
pub struct TrustedBorrowed<'a, S: Mode = AnyMode>(Borrowed<'a, S>);

impl<'a, S: Mode> TrustedBorrowed<'a, S> {
    /// What else is known about it.
    pub fn guard(&self) -> &Borrowed<'a, S> {
        &self.0
    }

    /// Releases the message, as dropping the guard does.
    pub fn release(self) {}
}

impl<S: Mode> Deref for TrustedBorrowed<'_, S> {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        // SAFETY: everybody who can reach the memory keeps to the protocol, as `checked` has
        // verified.
        unsafe { self.0.as_slice() }
    }
}
