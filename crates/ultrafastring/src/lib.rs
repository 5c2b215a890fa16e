#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(feature = "std", doc = include_str!("front.md"))]
#![cfg_attr(
    not(feature = "std"),
    doc = "A lock-free bounded ring of messages; built without the standard library."
)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(loom)]
extern crate std;

#[cfg(all(loom, feature = "std"))]
compile_error!("the loom models are of memory segments: --no-default-features --features alloc");

#[cfg(feature = "tokio")]
mod asynchronous;
#[cfg(any(feature = "std", loom))]
mod block;
mod builder;
pub mod clock;
pub mod coalesce;
mod consume;
pub mod credit;
#[cfg(feature = "alloc")]
mod doctor;
pub mod error;
pub mod lane;
pub mod layout;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod looks;
mod message;
mod observe;
mod participant;
mod prefetch;
mod priority;
#[cfg(feature = "std")]
mod process;
mod processor;
mod produce;
mod race;
#[cfg(feature = "std")]
mod ready;
mod recover;
mod ring;
mod seat;
mod segment;
#[cfg(feature = "alloc")]
mod several;
mod side;
pub mod slot;
mod sync;
mod threshold;
#[cfg(feature = "std")]
mod trust;
mod trusted;
#[cfg(feature = "zerocopy")]
mod value;
mod wait;

#[cfg(feature = "tokio")]
pub use asynchronous::{AsyncConsumer, AsyncProducer};
#[cfg(feature = "std")]
pub use block::{Wait, wait_any};
pub use builder::{Builder, DEFAULT_CAPACITY, DEFAULT_PARTICIPANTS};
pub use clock::rdtsc;
pub use coalesce::{CoalesceController, CoalesceMode};
pub use consume::{Borrowed, Consumer, TryIter};
pub use credit::CreditController;
#[cfg(feature = "alloc")]
pub use doctor::{Finding, Repair};
pub use error::{Invalid, RecvError, RingError, SendError, TrySendError};
pub use lane::LaneStats;
pub use layout::{CacheLineU64, Redelivery, Sharing, Side, SideMemory, Timestamps};
pub use message::{Batch, MAX_BATCH, Message, Received};
pub use observe::{Positions, RingStats};
pub use participant::{Evidence, ParticipantInfo, ParticipantName};
pub use prefetch::{prefetch_read, prefetch_write};
pub use priority::{PriorityClass, UnknownPriorityClass};
pub use produce::{Exclusive, Mode, Producer, Reservation, Shared};
#[cfg(feature = "std")]
pub use ready::Readiness;
pub use ring::UltraFastRing;
#[cfg(not(loom))]
pub use segment::Page;
#[cfg(feature = "alloc")]
pub use several::BorrowedBatch;
pub use slot::{INLINE_SIZE, TimestampedSlot};
#[cfg(any(feature = "std", loom))]
pub use wait::{LONGEST_PARK, WaitStrategy};

#[cfg(feature = "std")]
pub use observe::Observer;
#[cfg(feature = "std")]
pub use segment::fault::survive_truncation;
#[cfg(feature = "std")]
pub use trust::Trust;
pub use trusted::{Trusted, TrustedBorrowed, TrustedReservation, Untrusted};

/// Where named rings live unless a directory is given.
#[cfg(feature = "std")]
pub use segment::file::DEFAULT_DIRECTORY;
