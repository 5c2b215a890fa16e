//! Values of fixed layout as messages, by the traits of the crate `zerocopy`: they say that a type
//! is all bytes, none of them padding, and that any bytes are a value of it. So no peer can make an
//! invalid one, and nothing is encoded or decoded.

use core::mem::MaybeUninit;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{
    Borrowed, Consumer, Mode, PriorityClass, Producer, RecvError, SendError, UltraFastRing,
};

impl<S: Mode> Producer<S> {
    /// Sends the bytes of `value`, a struct or a slice of such; see
    /// [`Consumer::recv_value`].
    ///
    /// # Errors
    ///
    /// As [`send_fast`](Self::send_fast).
    #[inline(always)]
    pub fn send_value<T: IntoBytes + Immutable + ?Sized>(
        &mut self,
        value: &T,
        class: PriorityClass,
    ) -> Result<(), SendError> {
        self.send_fast(value.as_bytes(), class)
    }
}

impl<S: Mode> Consumer<S> {
    /// Receives the next message as a value.
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
    /// ring.producer()?.send_value(&quote, PriorityClass::Normal)?;
    ///
    /// let mut consumer = ring.consumer()?;
    /// let other = consumer.recv_value::<u64>();
    /// assert_eq!(other, Err(RecvError::WrongSize { size: 24, expected: 8 }));
    /// assert_eq!(consumer.recv_value::<Quote>()?, quote);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RecvError::Empty`], or [`RecvError::WrongSize`] with the message left where it is.
    #[inline(always)]
    pub fn recv_value<T: FromBytes>(&mut self) -> Result<T, RecvError> {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: its own bytes, mutably borrowed.
        let bytes = unsafe {
            core::slice::from_raw_parts_mut(
                value.as_mut_ptr().cast::<MaybeUninit<u8>>(),
                size_of::<T>(),
            )
        };
        self.recv_exactly(bytes)?;
        // SAFETY: all bytes are filled, and any are a value: `FromBytes`.
        Ok(unsafe { value.assume_init() })
    }
}

impl<S: Mode> Borrowed<'_, S> {
    /// The message as a value, copied; `None` if it has another size.
    pub fn value<T: FromBytes>(&self) -> Option<T> {
        if self.len() != size_of::<T>() {
            return None;
        }
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: its own bytes, mutably borrowed.
        let bytes = unsafe {
            core::slice::from_raw_parts_mut(
                value.as_mut_ptr().cast::<MaybeUninit<u8>>(),
                size_of::<T>(),
            )
        };
        self.read_at_uninit(0, bytes);
        // SAFETY: all bytes are filled, and any are a value: `FromBytes`.
        Some(unsafe { value.assume_init() })
    }
}

impl UltraFastRing {
    /// As [`Producer::send_value`].
    ///
    /// # Errors
    ///
    /// As [`send_fast`](Self::send_fast).
    #[inline]
    pub fn send_value<T: IntoBytes + Immutable + ?Sized>(
        &self,
        value: &T,
        class: PriorityClass,
    ) -> Result<(), SendError> {
        self.send_fast(value.as_bytes(), class)
    }

    /// As [`Consumer::recv_value`].
    ///
    /// # Errors
    ///
    /// As there, and [`RecvError::NoEntry`] as [`recv_fast`](Self::recv_fast).
    #[inline]
    pub fn recv_value<T: FromBytes>(&self) -> Result<T, RecvError> {
        self.receiving(Consumer::recv_value)
    }
}
