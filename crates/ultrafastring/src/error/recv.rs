//! Why no message was received.

use thiserror::Error;

/// The text of a send or a receive after the segment is gone.
pub(super) const DAMAGED: &str =
    "the ring's file was truncated or overwritten; remove it and make a new one";

/// No message was received; none was consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecvError {
    /// There is no message to receive. Try again, or use a call that waits.
    #[error("the ring is empty; try again, or wait for a message")]
    Empty,
    /// The buffer is smaller than the next message, which stays in the ring. Receive it into a
    /// larger buffer, a `Vec`, or in place.
    #[error(
        "the next message has {needed} bytes and the buffer {available}; it stays in the ring: \
         use a larger buffer"
    )]
    BufferTooSmall {
        /// Bytes of the message.
        needed: usize,
        /// Bytes of the buffer; 40 where the message was to be held in a
        /// [`Message`](crate::Message).
        available: usize,
    },
    /// The next message has another size than the value. It stays in the ring: receive it as
    /// something else.
    #[error(
        "the next message has {size} bytes and the value {expected}; it stays in the ring: \
         receive it as another type"
    )]
    WrongSize {
        /// Bytes of the message.
        size: usize,
        /// Bytes of the value.
        expected: usize,
    },
    /// There is not enough memory for the message's bytes: on the heap, or in its side buffer if a
    /// peer wrote garbage. The message stays in the ring. Free memory, or receive it in place.
    #[error("there is not enough memory for a message of {bytes} bytes; it stays in the ring")]
    OutOfMemory {
        /// Bytes of the message.
        bytes: usize,
    },
    /// The calls on `&UltraFastRing` found no participant entry to borrow, because the table is
    /// full or the consumer side exclusive. Take a handle from the ring, which says why.
    #[error(
        "no participant entry can be borrowed for this call; take a consumer handle, which says why"
    )]
    NoEntry,
    /// The calls on `&UltraFastRing` have no handle of a ring with lanes. Take one with
    /// [`consumer`](crate::UltraFastRing::consumer).
    #[error("this ring has lanes; take a handle with consumer(), and receive with that")]
    HasLanes,
    /// The ring is closed and everything in it is received: the stream has ended. A new producer
    /// handle opens the ring again. A call that does not wait may return [`Empty`](Self::Empty)
    /// several times before it returns this.
    #[error("the ring is closed and all of it received")]
    Closed,
    /// No message came in time. Only calls that wait return this. Receive again, or see what delays
    /// the producers.
    #[error("no message came in time; receive again, or see what delays the producers")]
    TimedOut,
    /// There were producers, none is left, and the ring is empty. Only calls that wait return this,
    /// and only after `Consumer::end_when_deserted`. A producer that comes later goes on with the
    /// stream: receive again.
    #[error("the last producer has left, and all it sent is received")]
    Deserted,
    /// The group did not keep up, and was evicted. It goes on at the latest; so much lies between
    /// what it last received and where it goes on. One member is told; the others go on too.
    /// Receive again.
    #[error("the group was too slow and has missed {missed} messages; it goes on at the latest")]
    Evicted {
        /// Positions that it has missed, those of abandoned slots included.
        missed: u64,
    },
    /// Messages were overwritten before a [`TailReader`](crate::TailReader) came to them. It goes
    /// on at a later one. Read again.
    #[error("{missed} messages were overwritten before they were read; it goes on after them")]
    Overrun {
        /// Positions that it has passed over, those of abandoned slots included.
        missed: u64,
    },
    /// Messages of a group that may be evicted cannot be read in place: nobody waits while they are
    /// read. Receive a copy.
    #[error("a group that may be evicted does not read in place; receive a copy")]
    NotInPlace,
    /// The segment is gone: its file was truncated or overwritten. Make a new ring.
    #[error("{DAMAGED}")]
    Damaged,
}

impl RecvError {
    /// Whether there was nothing to receive: [`Empty`](Self::Empty). Calls that wait do not return
    /// it.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }
}
