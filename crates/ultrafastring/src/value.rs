//! Values of fixed layout as messages, by the traits of the crate `zerocopy`. They guarantee that a
//! type has no padding, and that any bytes are a valid value of it. So no peer can make an invalid
//! value, and nothing is encoded or decoded.

use core::convert::Infallible;
use core::mem::MaybeUninit;
#[cfg(any(feature = "std", loom))]
use std::time::{Duration, Instant};

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::consumer::Consumer;
use crate::consumer::borrow::Borrowed;
use crate::consumer::borrow_batch::HeldMessage;
use crate::consumer::look::Look;
use crate::error::{RecvError, SendError};
use crate::mode::Mode;
use crate::priority::PriorityClass;
use crate::producer::Producer;
use crate::ring::UltraFastRing;
#[cfg(any(feature = "std", loom))]
use crate::waiting::sleep::Until;

/// The value whose bytes `fill` writes.
///
/// # Safety
///
/// If `fill` succeeds, it has written all bytes.
#[inline(always)]
unsafe fn value_from<T: FromBytes, E>(
    fill: impl FnOnce(&mut [MaybeUninit<u8>]) -> Result<(), E>,
) -> Result<T, E> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: its own bytes, mutably borrowed.
    let bytes =
        unsafe { core::slice::from_raw_parts_mut(value.as_mut_ptr().cast(), size_of::<T>()) };
    fill(bytes)?;
    // SAFETY: all bytes are written, as the caller promises, and any bytes are a valid value:
    // `FromBytes`.
    Ok(unsafe { value.assume_init() })
}

impl<S: Mode> Producer<S> {
    /// Sends the bytes of `value`, a struct or a slice of structs; see
    /// [`Consumer::try_recv_value`]. Never waits; `send_value` waits for room.
    ///
    /// # Errors
    ///
    /// As [`send_fast`](Self::send_fast).
    #[inline(always)]
    pub fn try_send_value<T: IntoBytes + Immutable + ?Sized>(
        &mut self,
        value: &T,
        class: PriorityClass,
    ) -> Result<(), SendError> {
        self.send_fast(value.as_bytes(), class)
    }
}

/// The forms that wait.
#[cfg(any(feature = "std", loom))]
impl<S: Mode> Producer<S> {
    /// As [`try_send_value`](Self::try_send_value), and waits while there is no room or no credit.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    #[inline]
    pub fn send_value<T: IntoBytes + Immutable + ?Sized>(
        &mut self,
        value: &T,
        class: PriorityClass,
    ) -> Result<(), SendError> {
        self.send(value.as_bytes(), class)
    }

    /// As [`send_value`](Self::send_value), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Those, and [`SendError::TimedOut`].
    #[inline]
    pub fn send_value_timeout<T: IntoBytes + Immutable + ?Sized>(
        &mut self,
        value: &T,
        class: PriorityClass,
        timeout: Duration,
    ) -> Result<(), SendError> {
        self.send_timeout(value.as_bytes(), class, timeout)
    }

    /// As [`send_value`](Self::send_value), until that moment.
    ///
    /// # Errors
    ///
    /// Those, and [`SendError::TimedOut`].
    #[inline]
    pub fn send_value_deadline<T: IntoBytes + Immutable + ?Sized>(
        &mut self,
        value: &T,
        class: PriorityClass,
        deadline: Instant,
    ) -> Result<(), SendError> {
        self.send_deadline(value.as_bytes(), class, deadline)
    }
}

impl<S: Mode> Consumer<S> {
    /// Receives the next message as a value. Never waits; `recv_value` waits for a message.
    ///
    /// ```
    /// # #[cfg(feature = "alloc")] {
    /// use ultrafastring::{PriorityClass, RecvError, UltraFastRing};
    /// use zerocopy::{FromBytes, Immutable, IntoBytes};
    ///
    /// #[derive(Debug, PartialEq, FromBytes, IntoBytes, Immutable)]
    /// #[repr(C)]
    /// struct Quote {
    ///     instrument: u64,
    ///     bid: f64,
    ///     ask: f64,
    /// }
    ///
    /// let ring = UltraFastRing::new(8);
    /// let quote = Quote { instrument: 7, bid: 99.5, ask: 99.75 };
    /// ring.producer()?.try_send_value(&quote, PriorityClass::Normal)?;
    ///
    /// let mut consumer = ring.consumer()?;
    /// let other = consumer.try_recv_value::<u64>();
    /// assert_eq!(other, Err(RecvError::WrongSize { size: 24, expected: 8 }));
    /// assert_eq!(consumer.try_recv_value::<Quote>()?, quote);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RecvError::WrongSize`], and then the message stays in the ring; otherwise as
    /// [`recv_fast`](Self::recv_fast).
    #[inline(always)]
    pub fn try_recv_value<T: FromBytes>(&mut self) -> Result<T, RecvError> {
        // SAFETY: a message of exactly this many bytes is copied to all of them.
        unsafe { value_from(|bytes| self.recv_exactly(bytes)) }
    }
}

/// The forms that wait.
#[cfg(any(feature = "std", loom))]
impl<S: Mode> Consumer<S> {
    /// As [`try_recv_value`](Self::try_recv_value), and waits for a message if there is none.
    ///
    /// # Errors
    ///
    /// As [`try_recv_value`](Self::try_recv_value), except [`RecvError::Empty`]. With
    /// [`end_when_deserted`](Self::end_when_deserted), also [`RecvError::Deserted`].
    #[inline]
    pub fn recv_value<T: FromBytes>(&mut self) -> Result<T, RecvError> {
        self.wait_for(Until::Done, Self::try_recv_value)
    }

    /// As [`recv_value`](Self::recv_value), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Those, and [`RecvError::TimedOut`].
    #[inline]
    pub fn recv_value_timeout<T: FromBytes>(&mut self, timeout: Duration) -> Result<T, RecvError> {
        self.wait_for(Until::After(timeout), Self::try_recv_value)
    }

    /// As [`recv_value`](Self::recv_value), until that moment.
    ///
    /// # Errors
    ///
    /// Those, and [`RecvError::TimedOut`].
    #[inline]
    pub fn recv_value_deadline<T: FromBytes>(&mut self, deadline: Instant) -> Result<T, RecvError> {
        self.wait_for(Until::At(deadline), Self::try_recv_value)
    }
}

/// The message as a value; `None` if it has another size.
fn value_of<T: FromBytes>(look: Look<'_>) -> Option<T> {
    if look.len() != size_of::<T>() {
        return None;
    }
    let fill = |bytes: &mut [MaybeUninit<u8>]| {
        look.read_at(0, bytes);
        Ok::<(), Infallible>(())
    };
    // SAFETY: the message has this many bytes, and all of them are copied.
    unsafe { value_from(fill) }.ok()
}

impl<S: Mode> Borrowed<'_, S> {
    /// The message as a value, copied; `None` if it has another size.
    pub fn value<T: FromBytes>(&self) -> Option<T> {
        value_of(self.look())
    }
}

impl HeldMessage<'_> {
    /// The message as a value, copied; `None` if it has another size.
    pub fn value<T: FromBytes>(&self) -> Option<T> {
        value_of(self.look())
    }
}

impl UltraFastRing {
    /// As [`Producer::try_send_value`].
    ///
    /// # Errors
    ///
    /// As [`send_fast`](Self::send_fast).
    #[inline]
    pub fn try_send_value<T: IntoBytes + Immutable + ?Sized>(
        &self,
        value: &T,
        class: PriorityClass,
    ) -> Result<(), SendError> {
        self.send_fast(value.as_bytes(), class)
    }

    /// As [`Consumer::try_recv_value`].
    ///
    /// # Errors
    ///
    /// As there, and [`RecvError::NoEntry`] as [`recv_fast`](Self::recv_fast).
    #[inline]
    pub fn try_recv_value<T: FromBytes>(&self) -> Result<T, RecvError> {
        self.receiving(Consumer::try_recv_value)
    }
}
