//! What makes a number, or a combination of choices, one that no ring can have.

use core::fmt;

use thiserror::Error;

use crate::limits::{
    MAX_CAPACITY, MAX_GROUP_NAME, MAX_GROUPS, MAX_LANES, MAX_MESSAGE, MAX_PARTICIPANTS, MAX_SEGMENT,
};

/// A number chosen for a new ring is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Invalid {
    /// The capacity is not a power of two, or over [`MAX_CAPACITY`].
    #[error(
        "a ring's capacity is a power of two up to {MAX_CAPACITY}, and {_0} is not{}",
        Advice(*_0)
    )]
    Capacity(usize),
    /// The participant table would have no entry, or too many.
    #[error("a participant table has 1 to {MAX_PARTICIPANTS} entries, not {_0}")]
    Participants(usize),
    /// The credit limit is 0 or above the capacity.
    #[error("a credit limit is 1 to the capacity ({capacity}), and {limit} is not")]
    CreditLimit {
        /// The limit asked for.
        limit: u64,
        /// The ring's capacity.
        capacity: usize,
    },
    /// The reserves together leave no credit for the least urgent class.
    #[error(
        "the reserves take {reserved} of {limit} credits and must leave at least one; lower them \
         or raise the credit limit"
    )]
    Reserves {
        /// The sum of the reserves.
        reserved: u64,
        /// The credit limit.
        limit: u64,
    },
    /// More groups than a ring can have room for.
    #[error("a ring has room for at most {MAX_GROUPS} groups, not for {_0}")]
    Groups(usize),
    /// A ring for groups, with an exclusive consumer side.
    #[error(
        "the consumer side of a ring for groups is shared; join a group with exclusive() to have \
         it alone"
    )]
    ExclusiveGroups,
    /// The name cannot be a group's.
    #[error(
        "a group's name has 1 to {MAX_GROUP_NAME} bytes, no control character and none that turns \
         the direction of text"
    )]
    GroupName,
    /// Timestamps for one in N, where N is not a power of two from 2 to 65,536.
    #[error("timestamps are taken one in a power of two from 2 to 65536, not one in {_0}")]
    Timestamps(u32),
    /// Latency histograms of messages without timestamps.
    #[error("without timestamps there are no latencies to count; take timestamps or no histograms")]
    NoLatencies,
    /// Messages over [`MAX_MESSAGE`].
    #[error("messages have at most {MAX_MESSAGE} bytes, and {_0} is more")]
    MaxMessage(usize),
    /// No lane, or more than [`MAX_LANES`].
    #[error("a ring has 1 to {MAX_LANES} lanes by producer, not {_0}")]
    Lanes(u16),
    /// A shared producer side, with lanes by producer.
    #[error(
        "each lane of a ring with lanes by producer has one owner; do not choose a shared producer \
         side"
    )]
    SharedLanes,
    /// Something was chosen for the lane of a class, in a ring without lanes by class.
    #[error("only a ring with lanes by class (Lanes::ByClass) has something for one class")]
    NoClassLanes,
    /// Reserves of credit, with lanes by class.
    #[error(
        "in a ring with lanes by class each class has its own credit; choose credit limits of \
         classes instead of reserves"
    )]
    ReservesByClass,
    /// With this capacity and these side buffers the segment would be over [`MAX_SEGMENT`].
    #[error(
        "a segment has at most {MAX_SEGMENT} bytes, and this one would have {bytes}; lower the \
         capacity or the largest message"
    )]
    SegmentSize {
        /// Bytes that it would take; `usize::MAX` if they cannot be counted.
        bytes: u64,
    },
}

/// The capacity to try instead of an invalid one, if there is a larger one.
struct Advice(usize);

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.checked_next_power_of_two() {
            Some(next) if next <= MAX_CAPACITY => write!(f, "; try {}", next.max(1)),
            _ => Ok(()),
        }
    }
}
