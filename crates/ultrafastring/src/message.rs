//! What a consumer gives: messages, and what there is to know about them.

use core::fmt;
use core::mem::MaybeUninit;
use core::ops::Deref;

use crate::slot::Payload;
use crate::{INLINE_SIZE, PriorityClass};

/// What there is to know about a received message besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// Bytes of the message.
    pub size: usize,
    /// Its priority class.
    pub class: PriorityClass,
    /// Ticks from send to receive; 0 if it carried no timestamp.
    pub latency: u64,
    /// Whether it may have been delivered before: a consumer died that held it, or that was about to
    /// claim it ([`Consumer::borrow`](crate::Consumer::borrow)).
    pub redelivered: bool,
}

/// A message, owned. Dereferences to its bytes.
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use ultrafastring::{PriorityClass, UltraFastRing};
///
/// let ring = UltraFastRing::new(8);
/// ring.producer()?.try_send(b"quote", PriorityClass::High)?;
/// let message = ring.consumer()?.try_recv()?;
/// assert_eq!(&*message, b"quote");
/// assert_eq!(message.class(), PriorityClass::High);
/// assert!(!message.is_redelivered());
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Message {
    payload: Payload,
    timestamp: u64,
    about: Received,
}

impl Message {
    /// An empty message, where none has come yet.
    pub(crate) const NOTHING: Self = Self {
        payload: Payload::EMPTY,
        timestamp: 0,
        about: Received { size: 0, class: PriorityClass::Normal, latency: 0, redelivered: false },
    };

    #[inline(always)]
    pub(crate) fn new(payload: Payload, timestamp: u64, about: Received) -> Self {
        Self { payload, timestamp, about }
    }

    /// The priority class it was sent with.
    pub fn class(&self) -> PriorityClass {
        self.about.class
    }

    /// Ticks from send to receive; 0 if it carried no timestamp.
    pub fn latency(&self) -> u64 {
        self.about.latency
    }

    /// When it was sent, in ticks; `None` if it carried no timestamp.
    pub fn timestamp(&self) -> Option<u64> {
        (self.timestamp != 0).then_some(self.timestamp)
    }

    /// Whether it may have been delivered before: a consumer died that held it, or that was about to
    /// claim it ([`Consumer::borrow`](crate::Consumer::borrow)).
    pub fn is_redelivered(&self) -> bool {
        self.about.redelivered
    }

    /// Size, class, latency and mark together.
    pub fn about(&self) -> Received {
        self.about
    }
}

impl Deref for Message {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.payload.as_bytes()[..self.about.size.min(INLINE_SIZE)]
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("bytes", &&**self).field("about", &self.about).finish()
    }
}

/// Most messages in one [`Batch`].
pub const MAX_BATCH: usize = 64;

/// What a batch receive gives: one [`Received`] for each buffer filled, in their order.
/// Dereferences to a slice of them.
pub struct Batch {
    length: usize,
    items: [MaybeUninit<Received>; MAX_BATCH],
}

impl Batch {
    #[inline]
    pub(crate) fn new() -> Self {
        Self { length: 0, items: [const { MaybeUninit::uninit() }; MAX_BATCH] }
    }

    /// The items that are not filled yet.
    #[inline(always)]
    pub(crate) fn room(&mut self) -> &mut [MaybeUninit<Received>] {
        &mut self.items[self.length..]
    }

    /// Notes that the first `count` items of `room` were written.
    ///
    /// # Safety
    ///
    /// They were.
    #[inline(always)]
    pub(crate) unsafe fn filled(&mut self, count: usize) {
        self.length += count;
    }

    /// Adds one; beyond [`MAX_BATCH`] it is an error of this crate, and panics.
    #[inline(always)]
    pub(crate) fn push(&mut self, received: Received) {
        self.items[self.length].write(received);
        self.length += 1;
    }
}

impl Deref for Batch {
    type Target = [Received];

    #[inline]
    fn deref(&self) -> &[Received] {
        // SAFETY: `push`, or a caller of `filled`, wrote the first `length` items.
        unsafe { core::slice::from_raw_parts(self.items.as_ptr().cast(), self.length) }
    }
}

impl<'a> IntoIterator for &'a Batch {
    type Item = &'a Received;
    type IntoIter = core::slice::Iter<'a, Received>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
