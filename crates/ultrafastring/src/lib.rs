#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]
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

mod around;
mod builder;
mod calls;
mod choices;
pub mod clock;
mod closing;
pub mod coalesce;
mod consumer;
pub mod credit;
#[cfg(feature = "alloc")]
mod doctor;
pub mod error;
mod group;
mod handle;
mod join;
pub mod lane;
mod latency;
pub mod layout;
mod limits;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod looks;
mod message;
mod mode;
mod name;
mod observe;
mod own;
mod prefetch;
mod priority;
#[cfg(feature = "std")]
mod process;
mod processor;
mod producer;
mod recover;
mod ring;
mod segment;
pub mod settings;
mod statistics;
mod sync;
#[cfg(any(feature = "std", loom))]
mod tail;
mod thread_handle;
mod threshold;
#[cfg(feature = "tokio")]
mod tokio;
#[cfg(feature = "std")]
mod trust;
mod trusted;
#[cfg(feature = "zerocopy")]
mod value;
mod waiting;

#[cfg(feature = "tokio")]
pub use self::tokio::{AsyncConsumer, AsyncProducer, Vecs};
pub use builder::Builder;
pub use choices::{GroupDifferences, Slow, Start};
pub use clock::rdtsc;
pub use coalesce::{CoalesceController, CoalesceMode};
pub use consumer::Consumer;
pub use consumer::borrow::Borrowed;
pub use consumer::borrow_batch::{BorrowedBatch, HeldMessage, HeldMessages};
pub use consumer::iter::TryIter;
#[cfg(any(feature = "std", loom))]
pub use consumer::iter::{IntoIter, Iter};
pub use consumer::receive::ReceiveBuffer;
#[cfg(not(loom))]
#[doc(hidden)]
pub use consumer::stretch::RecvStretch;
pub use credit::CreditController;
#[cfg(feature = "alloc")]
pub use doctor::{Finding, Repair};
#[cfg(feature = "std")]
pub use error::FileError;
pub use error::{RecvError, RingError, SendError, SendManyError, TrySendError};
pub use group::info::{GroupInfo, GroupState};
pub use join::Join;
pub use latency::{LatencyBucket, LatencyHistogram};
pub use layout::CacheLineU64;
pub use layout::slot::{self, TimestampedSlot};
pub use message::{Batch, MAX_BATCH, Message, Received};
pub use mode::{AnyMode, Exclusive, Mode, Shared};
pub use name::ParticipantName;
#[cfg(feature = "std")]
pub use observe::Observer;
pub use observe::RingView;
pub use observe::all::LaneInfo;
pub use observe::lane::Positions;
pub use observe::stats::RingStats;
pub use prefetch::{prefetch_read, prefetch_write};
pub use priority::{PriorityClass, UnknownPriorityClass};
pub use producer::Producer;
pub use producer::reserve::Reservation;
#[doc(hidden)]
pub use producer::send::AtOnce;
#[cfg(not(loom))]
#[doc(hidden)]
pub use producer::stretch::SendStretch;
pub use recover::info::{Evidence, ParticipantInfo};
pub use ring::UltraFastRing;
#[cfg(feature = "std")]
pub use segment::fault::survive_truncation;
#[cfg(not(loom))]
pub use segment::lent::Page;
#[cfg(feature = "std")]
pub use segment::taken::SideMemoryInfo;
pub use settings::{
    ClassLane, DEFAULT_CAPACITY, DEFAULT_PARTICIPANTS, INLINE_SIZE, Invalid, Lanes, Redelivery,
    Settings, Sharing, Side, SideMemory, Timestamps,
};
pub use statistics::LaneStats;
#[cfg(any(feature = "std", loom))]
pub use tail::TailReader;
#[cfg(feature = "std")]
pub use trust::Trust;
pub use trusted::{Trusted, TrustedBorrowed, TrustedReservation, Untrusted};
#[cfg(feature = "std")]
pub use waiting::any::{Wait, wait_any};
#[cfg(feature = "std")]
pub use waiting::readiness::Readiness;
#[cfg(any(feature = "std", loom))]
pub use waiting::sleep::LONGEST_PARK;
#[cfg(any(feature = "std", loom))]
pub use waiting::strategy::WaitStrategy;

/// Where named rings live unless a directory is given.
#[cfg(feature = "std")]
pub use segment::named::DEFAULT_DIRECTORY;
