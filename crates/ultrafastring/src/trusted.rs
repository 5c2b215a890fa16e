//! Handles whose peers are trusted: messages as slices, where they are.
//!
//! A `&[u8]` promises that nobody writes there while it lives, a `&mut [u8]` that nobody even
//! reads. In a side buffer the protocol keeps that promise, but a peer with the segment mapped can
//! break the protocol, and safe code must not rest on its good manners. So a [`Trusted`] handle can
//! be had where there is no such peer: on the heap and in lent memory, which only threads of this
//! process can reach, through this library; or where the program says that there is none
//! ([`Builder::trust_peers`](crate::Builder::trust_peers), which is unsafe).

use core::fmt;
use core::ops::{Deref, DerefMut};

use crate::{Borrowed, Consumer, Mode, PriorityClass, Producer, RecvError, Reservation, SendError};

/// A [`Producer`] or [`Consumer`] whose guards give slices of any message, where it is. Besides, it
/// is the handle.
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use ultrafastring::{PriorityClass, UltraFastRing};
///
/// let ring = UltraFastRing::builder().max_message(1 << 20).heap()?;
/// let mut producer = ring.producer()?.trusted()?;
/// let mut consumer = ring.consumer()?.trusted()?;
///
/// let mut place = producer.reserve(1 << 20, PriorityClass::Normal)?;
/// place.fill(7); // a `&mut [u8]` in the ring
/// place.commit();
///
/// let message = consumer.borrow()?;
/// assert!(message.iter().all(|&byte| byte == 7)); // a `&[u8]` in the ring
/// # drop(message);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Trusted<H>(H);

/// A handle's peers are not trusted: they are other processes, and nobody has vouched for them.
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
    /// The same handle, with reservations that are slices.
    ///
    /// # Errors
    ///
    /// [`Untrusted`] if the ring is shared with processes for which nobody has vouched; the handle
    /// is given up.
    pub fn trusted(self) -> Result<Trusted<Self>, Untrusted> {
        if self.is_trusted() { Ok(Trusted(self)) } else { Err(Untrusted) }
    }
}

impl<S: Mode> Consumer<S> {
    /// The same handle, with borrowed messages that are slices.
    ///
    /// # Errors
    ///
    /// [`Untrusted`] if the ring is shared with processes for which nobody has vouched; the handle
    /// is given up.
    pub fn trusted(self) -> Result<Trusted<Self>, Untrusted> {
        if self.is_trusted() { Ok(Trusted(self)) } else { Err(Untrusted) }
    }
}

impl<S: Mode> Trusted<Producer<S>> {
    /// As [`Producer::reserve`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// If the handle in here was exchanged for one that is not trusted.
    #[inline(always)]
    pub fn reserve(
        &mut self,
        size: usize,
        class: PriorityClass,
    ) -> Result<TrustedReservation<'_, S>, SendError> {
        // Asked again, since `DerefMut` lets the handles change places (`mem::swap`).
        assert!(self.0.is_trusted(), "{Untrusted}");
        self.0.reserve(size, class).map(TrustedReservation)
    }
}

impl<S: Mode> Trusted<Consumer<S>> {
    /// As [`Consumer::borrow`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// If the handle in here was exchanged for one that is not trusted.
    #[inline(always)]
    pub fn borrow(&mut self) -> Result<TrustedBorrowed<'_, S>, RecvError> {
        // As in `reserve`.
        assert!(self.0.is_trusted(), "{Untrusted}");
        self.0.borrow().map(TrustedBorrowed)
    }
}

/// A [`Reservation`] that dereferences to its bytes, of which those beyond 40 are in the ring.
#[derive(Debug)]
pub struct TrustedReservation<'a, S: Mode>(Reservation<'a, S>);

impl<S: Mode> TrustedReservation<'_, S> {
    /// Makes the message shorter; a `size` that is not less changes nothing.
    pub fn truncate(&mut self, size: usize) {
        self.0.truncate(size);
    }

    /// Sends the message.
    #[inline(always)]
    pub fn commit(self) {
        self.0.commit();
    }

    /// Gives the slot back unsent; the same as dropping the guard.
    pub fn cancel(self) {}
}

impl<S: Mode> Deref for TrustedReservation<'_, S> {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        // SAFETY: all who reach the memory keep to the protocol: `reserve` has asked.
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

/// A [`Borrowed`] message that dereferences to its bytes, of which those beyond 40 are in the ring.
#[derive(Debug)]
pub struct TrustedBorrowed<'a, S: Mode>(Borrowed<'a, S>);

impl<'a, S: Mode> TrustedBorrowed<'a, S> {
    /// What else there is to know about it.
    pub fn guard(&self) -> &Borrowed<'a, S> {
        &self.0
    }

    /// Releases the message; the same as dropping the guard.
    pub fn release(self) {}
}

impl<S: Mode> Deref for TrustedBorrowed<'_, S> {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        // SAFETY: all who reach the memory keep to the protocol: `borrow` has asked.
        unsafe { self.0.as_slice() }
    }
}
