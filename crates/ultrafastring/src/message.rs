//! What a consumer returns: messages, and what is known about them.

use core::fmt;
use core::mem::MaybeUninit;
use core::ops::Deref;

use crate::layout::slot::Payload;
use crate::priority::PriorityClass;
use crate::settings::INLINE_SIZE;

/// What is known about a received message besides its bytes. Every way of receiving returns it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// Bytes of the message.
    pub size: usize,
    /// Its priority class.
    pub class: PriorityClass,
    /// Ticks from send to receive; 0 if it carried no timestamp.
    pub latency: u64,
    /// Whether it may have been delivered before, since a consumer that held it or was about to
    /// claim it died ([`Consumer::try_borrow`](crate::Consumer::try_borrow)).
    pub redelivered: bool,
    /// When it was sent, in ticks; 0 if it carried no timestamp.
    pub(crate) timestamp: u64,
    /// Perhaps with [`LATE`]. A field of its own would be a store in each receive.
    pub(crate) position: u64,
}

/// Of a position, which is less: the message has come late.
const LATE: u64 = 1 << 63;

impl Received {
    /// When it was sent, in ticks of the ring's [`clock`](crate::clock); `None` if it carried no
    /// timestamp. A peer wrote it, so it may be wrong.
    pub fn timestamp(&self) -> Option<u64> {
        (self.timestamp != 0).then_some(self.timestamp)
    }

    /// Its place in the endless order of messages: 0 is the ring's first message ever. In a ring
    /// with lanes each lane has an order of its own.
    pub fn position(&self) -> u64 {
        self.position & !LATE
    }

    /// Whether it was sent before one that the handle had received earlier. Only of a handle that
    /// receives [in time order](crate::Consumer::in_time_order).
    pub fn is_late(&self) -> bool {
        self.position & LATE != 0
    }

    /// Marks it as one that has come late.
    #[cfg(feature = "alloc")]
    pub(crate) fn mark_late(&mut self) {
        self.position |= LATE;
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("size", &self.size)
            .field("class", &self.class)
            .field("latency", &self.latency)
            .field("redelivered", &self.redelivered)
            .field("late", &self.is_late())
            .field("timestamp", &self.timestamp())
            .field("position", &self.position())
            .finish()
    }
}

/// A message of up to 40 bytes, owned. It dereferences to its bytes. It equals a message with the
/// same bytes and class, and it equals its bytes.
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use ultrafastring::{PriorityClass, UltraFastRing};
///
/// let ring = UltraFastRing::new(8);
/// ring.producer()?.try_send(b"quote", PriorityClass::High)?;
/// let message = ring.consumer()?.try_recv()?;
/// assert_eq!(message, b"quote");
/// assert_eq!(message.len(), 5);
/// assert_eq!(message.class(), PriorityClass::High);
/// assert!(!message.is_redelivered());
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Message {
    payload: Payload,
    about: Received,
}

impl Message {
    /// An empty message, before the first has come.
    pub(crate) const NOTHING: Self = Self {
        payload: Payload::EMPTY,
        about: Received {
            size: 0,
            class: PriorityClass::Normal,
            latency: 0,
            redelivered: false,
            timestamp: 0,
            position: 0,
        },
    };

    #[inline(always)]
    pub(crate) fn new(payload: Payload, about: Received) -> Self {
        Self { payload, about }
    }

    /// Marks it as one that has come late.
    #[cfg(feature = "alloc")]
    pub(crate) fn mark_late(&mut self) {
        self.about.mark_late();
    }

    /// What its slot says.
    #[inline(always)]
    pub(crate) fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The priority class with which it was sent.
    pub fn class(&self) -> PriorityClass {
        self.about.class
    }

    /// Ticks from send to receive; 0 if it carried no timestamp.
    pub fn latency(&self) -> u64 {
        self.about.latency
    }

    /// When it was sent, in ticks; `None` if it carried no timestamp.
    pub fn timestamp(&self) -> Option<u64> {
        self.about.timestamp()
    }

    /// Its place in the endless order of messages: see [`Received::position`].
    pub fn position(&self) -> u64 {
        self.about.position()
    }

    /// Whether it may have been delivered before, since a consumer that held it or was about to
    /// claim it died ([`Consumer::try_borrow`](crate::Consumer::try_borrow)).
    pub fn is_redelivered(&self) -> bool {
        self.about.redelivered
    }

    /// Whether it was sent before one that the handle had received earlier. Only of a handle that
    /// receives [in time order](crate::Consumer::in_time_order).
    pub fn is_late(&self) -> bool {
        self.about.is_late()
    }

    /// What is known about it besides its bytes.
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

/// By bytes and class, not by timestamp and position.
impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        **self == **other && self.class() == other.class()
    }
}

impl Eq for Message {}

impl PartialEq<[u8]> for Message {
    fn eq(&self, bytes: &[u8]) -> bool {
        **self == *bytes
    }
}

impl PartialEq<&[u8]> for Message {
    fn eq(&self, bytes: &&[u8]) -> bool {
        **self == **bytes
    }
}

impl<const N: usize> PartialEq<[u8; N]> for Message {
    fn eq(&self, bytes: &[u8; N]) -> bool {
        **self == *bytes
    }
}

impl<const N: usize> PartialEq<&[u8; N]> for Message {
    fn eq(&self, bytes: &&[u8; N]) -> bool {
        **self == **bytes
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("bytes", &&**self).field("about", &self.about).finish()
    }
}

/// Most messages in one [`Batch`].
pub const MAX_BATCH: usize = 64;

/// What a batch receive returns: one [`Received`] for each filled buffer, in order. It dereferences
/// to a slice of them.
#[must_use = "it says what is in the buffers"]
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

    /// Adds one. More than [`MAX_BATCH`] would be a bug of this crate, and panics.
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
