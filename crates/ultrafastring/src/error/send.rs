//! Why a message was not sent.

use core::fmt;

use thiserror::Error;

use super::recv::DAMAGED;

/// A message could not be sent; nothing of it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The message is larger than the ring was made for. Cut it, or make the ring with a larger
    /// [`max_message`](crate::Builder::max_message).
    #[error(
        "a message of {size} bytes does not fit: the ring's most is {max}; cut it, or make the \
         ring for larger ones"
    )]
    TooLarge {
        /// Bytes of the message.
        size: usize,
        /// The most that fits.
        max: usize,
    },
    /// Every slot is taken. Try again when consumers have released some. Slots become free in
    /// order, so a message that a consumer still holds
    /// ([`try_borrow`](crate::Consumer::try_borrow)) holds up the slots behind it.
    #[error("the ring is full; try again when consumers have caught up")]
    Full,
    /// There are free slots, but not for this class: the credit limit is reached, or the rest is
    /// reserved for more urgent classes. Try again when consumers have released some.
    #[error("no credit is left for this priority class; try again when consumers have caught up")]
    OutOfCredit,
    /// There is no memory for the message's side buffer: messages in flight occupy what the ring
    /// has, and other files the rest. Most often `/dev/shm` is full. Calls that wait return it only
    /// if no message in flight has memory to give. Free some, or make the ring with
    /// [`SideMemory::Preallocated`](crate::SideMemory::Preallocated).
    #[error(
        "there is no memory left for a side buffer; free some where the ring's file is, or make \
         the ring with its memory preallocated"
    )]
    NoSpace,
    /// The calls on `&UltraFastRing` found no participant entry to borrow, because the table is
    /// full or the producer side exclusive. Take a handle from the ring, which says why.
    #[error(
        "no participant entry can be borrowed for this call; take a producer handle, which says why"
    )]
    NoEntry,
    /// The calls on `&UltraFastRing` have no handle of a ring with lanes. Take one with
    /// [`producer`](crate::UltraFastRing::producer).
    #[error("this ring has lanes; take a handle with producer(), and send with that")]
    HasLanes,
    /// The ring is closed: the stream has ended. A new producer handle opens it again.
    #[error("the ring is closed; a new producer handle, or reopen(), opens it for another stream")]
    Closed,
    /// There was no room in time. Only calls that wait return this. Try again, or see what delays
    /// the consumers.
    #[error("there was no room in the ring in time; send again, or see what delays the consumers")]
    TimedOut,
    /// There is no room, there were consumers, and none is left. Only calls that wait return this,
    /// and only after `Producer::end_when_deserted`. Start a consumer, and send again.
    #[error("there is no room, and the last consumer has left; start one, and send again")]
    Deserted,
    /// The segment is gone: its file was truncated or overwritten. Make a new ring.
    #[error("{DAMAGED}")]
    Damaged,
}

impl SendError {
    /// Whether trying again may succeed when consumers have caught up: [`Full`](Self::Full) or
    /// [`OutOfCredit`](Self::OutOfCredit). Calls that wait do not return them.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full | Self::OutOfCredit)
    }
}

/// A message could not be sent, and comes back. The [`reason`](Self::reason) is also the `source`.
/// `?` converts it to a [`SendError`].
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use ultrafastring::{PriorityClass, SendError, UltraFastRing};
///
/// let ring = UltraFastRing::new(1);
/// let mut producer = ring.producer()?;
/// producer.try_send("one", PriorityClass::Normal)?;
/// let error = producer.try_send("two", PriorityClass::Normal).unwrap_err();
/// assert!(error.is_full());
/// assert_eq!((error.message, SendError::from(error)), ("two", SendError::Full));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Error)]
#[error("the message was not sent and comes back")]
pub struct TrySendError<M> {
    /// The message, whole.
    pub message: M,
    /// Why it was not sent.
    #[source]
    pub reason: SendError,
}

impl<M> TrySendError<M> {
    /// The message, whole.
    pub fn into_inner(self) -> M {
        self.message
    }

    /// As [`SendError::is_full`].
    pub fn is_full(&self) -> bool {
        self.reason.is_full()
    }
}

impl<M> From<TrySendError<M>> for SendError {
    fn from(error: TrySendError<M>) -> Self {
        error.reason
    }
}

impl<M> fmt::Debug for TrySendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrySendError").field("reason", &self.reason).finish_non_exhaustive()
    }
}

/// Only the first few of several messages were sent. The [`reason`](Self::reason), which is also
/// the `source`, tells whether to send the rest again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{sent} messages were sent, and the rest was not")]
pub struct SendManyError {
    /// How many were sent, from the first on.
    pub sent: usize,
    /// Why the next one was not sent.
    #[source]
    pub reason: SendError,
}

impl From<SendManyError> for SendError {
    fn from(error: SendManyError) -> Self {
        error.reason
    }
}
