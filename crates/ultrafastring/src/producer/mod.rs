//! The sending side: a [`Producer`] is the writer of a lane, with what a handle adds to it.
//!
//! ```text
//!  send.rs      the way of a message: credit, claim, write, commit         large.rs stamps.rs
//!  memory.rs    what is done when there is no memory for a large one
//!  refill.rs    what is done when the credit known of is spent             patience.rs gated.rs
//!  announce.rs  what is done once in several messages
//!  batch.rs     several messages in one call
//!  reserve.rs   a message that is written in place
//!  lanes.rs     a handle that writes several lanes                         others.rs
//!  wait.rs      waiting for room                                           forms.rs deserted.rs
//!  stretch.rs   positions that inline code of another language sends by itself
//! ```
//!
//! A producer never waits for a peer, and never reads a slot before it writes it: its credit says
//! that the slot is free. The [writer](crate::lane::writer) has what differs between an exclusive
//! and a shared side.

mod announce;
mod batch;
#[cfg(any(feature = "std", loom))]
pub(crate) mod deserted;
#[cfg(any(feature = "std", loom))]
mod forms;
mod gated;
mod lanes;
mod large;
mod memory;
mod others;
mod patience;
mod refill;
pub(crate) mod reserve;
pub(crate) mod send;
mod stamps;
#[cfg(not(loom))]
pub(crate) mod stretch;
mod unsent;
#[cfg(any(feature = "std", loom))]
mod wait;

use crate::closing;
use crate::coalesce::CoalesceController;
use crate::credit::CreditController;
use crate::error::RingError;
use crate::handle::common_to_handles;
use crate::lane::pace::Pace;
use crate::lane::runs::SentRun;
use crate::lane::view::OwnLane;
use crate::lane::writer::Writer;
use crate::layout::participant::{Identity, Role};
use crate::layout::slot::Meta;
use crate::mode::{Mode, OwnMode, in_own_mode};
use crate::priority::PriorityClass;
use crate::recover::adopt;
use crate::recover::entry::Entry;
use crate::segment::Segment;
use crate::segment::lock::Locker;
use crate::settings::Side;
use crate::statistics::LaneStats;
use crate::threshold;
#[cfg(any(feature = "std", loom))]
use crate::waiting::sleep::Waiting;

use others::OtherLanes;
use patience::{Patience, Watch};
use stamps::Stamps;
use unsent::Unsent;

/// A handle that sends.
///
/// [`UltraFastRing::producer`](crate::UltraFastRing::producer) gives a `Producer` without a
/// parameter, which fits any ring. [`shared_producer`](crate::UltraFastRing::shared_producer) and
/// [`exclusive_producer`](crate::UltraFastRing::exclusive_producer) give typed ones, which take a
/// few instructions less; see [`Mode`]. A handle keeps the segment alive by itself. One thread uses
/// it at a time.
///
/// Each way of sending has four forms. One never waits. The others wait: without end, for a
/// duration (`_timeout`), or until a moment (`_deadline`).
///
/// | | never waits | waits |
/// |---|---|---|
/// | a copy | [`try_send`], [`send_fast`] | `send` |
/// | in place | [`try_reserve`] | `reserve` |
/// | several | [`try_send_many`], [`send_batch`] | `send_many` |
/// | a value (feature `zerocopy`) | `try_send_value` | `send_value` |
///
/// [`send_batch`]: Self::send_batch
/// [`send_fast`]: Self::send_fast
/// [`try_reserve`]: Self::try_reserve
/// [`try_send`]: Self::try_send
/// [`try_send_many`]: Self::try_send_many
///
/// The forms that wait need the feature `std`. Each message goes to one consumer. Consumers get
/// messages in the order of their positions, whatever their classes. A
/// [reservation](Self::try_reserve) that is kept holds up messages that others send after it.
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use ultrafastring::{PriorityClass, SendError, UltraFastRing};
///
/// let ring = UltraFastRing::new(2);
/// let mut producer = ring.producer()?;
/// producer.try_send(b"one", PriorityClass::Normal)?;
/// producer.try_send(b"two", PriorityClass::High)?;
/// let error = producer.try_send(b"six", PriorityClass::Normal).unwrap_err();
/// assert_eq!(error.reason, SendError::Full);
/// assert_eq!(error.into_inner(), b"six"); // nothing is lost
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
// In C's layout for `in_mode`.
#[derive(Debug)]
#[repr(C)]
pub struct Producer<S: Mode = AnyMode> {
    pub(crate) entry: Entry,
    writer: Writer<S>,
    stamps: Stamps,
    /// Messages that were sent and are not counted in `lanes` yet.
    run: SentRun,
    lanes: [LaneStats; PriorityClass::COUNT],
    pace: Pace,
    patience: Patience,
    /// Of a group that may be evicted, and is in the way.
    watch: Watch,
    /// The class that was last refused.
    refused_class: PriorityClass,
    /// How much credit a wait waits for.
    #[cfg(any(feature = "std", loom))]
    wanted: u64,
    #[cfg(any(feature = "std", loom))]
    pub(crate) waiting: Waiting,
    /// The bytes of a reservation of up to 40. They are here so that a guard is only a few words,
    /// which stay in registers. A guard that is moved through memory is read in other pieces than
    /// it was written in. Such a read waits for all earlier stores, also those into slots.
    inline: Unsent,
    /// The producers of the other lanes, if it writes several.
    other_lanes: OtherLanes<Producer>,
    /// Where the handle was when it found no memory for a message, and others in flight had some;
    /// else a position that there is not.
    #[cfg_attr(not(any(feature = "std", loom)), allow(dead_code))]
    short_of_memory: u64,
}

common_to_handles!(Producer);

impl<S: Mode> Producer<S> {
    /// A new handle for a new stream. It opens a closed ring again.
    pub(crate) fn begin(segment: &Segment, identity: &Identity) -> Result<Self, RingError> {
        let mut this = Self::attach(segment, identity)?;
        closing::reopen(this.entry.segment());
        this.for_each_other(|other| closing::reopen(other.entry.segment()));
        Ok(this)
    }

    /// A new handle, on an open or a closed ring.
    pub(crate) fn attach(segment: &Segment, identity: &Identity) -> Result<Self, RingError> {
        if segment.has_lanes() {
            return Self::attach_to_lanes(segment, identity);
        }
        Self::attach_to_lane(segment, segment.locker()?, identity)
    }

    /// A handle of one lane, with the locks of a handle that may work on others, too.
    fn attach_to_lane(
        lane: &Segment,
        locker: Locker,
        identity: &Identity,
    ) -> Result<Self, RingError> {
        // Where `S` does not say, the ring's settings do.
        match S::SHARING.unwrap_or(lane.settings().producer_side) {
            Sharing::Exclusive => {
                Ok(Producer::<Exclusive>::attach_own(lane, locker, identity)?.into_mode())
            }
            Sharing::Shared => {
                Ok(Producer::<Shared>::attach_own(lane, locker, identity)?.into_mode())
            }
        }
    }

    /// Another handle of the same side.
    fn attach_again(&self, identity: &Identity) -> Result<Self, RingError> {
        Self::attach(self.entry.segment(), identity)
    }

    /// Ends the stream, for every producer of this ring; see
    /// [`UltraFastRing::close`](crate::UltraFastRing::close). Dropping the handle does not. In a
    /// ring with lanes [by producer](crate::Lanes::ByProducer) it ends that of the handle's own
    /// lane.
    pub fn close(&mut self) {
        self.flush();
        self.for_each_other(|other| {
            closing::close(other.entry.segment());
            other.writer.suspend();
        });
        closing::close(self.entry.segment());
        self.writer.suspend();
    }

    /// Announces the commit frontier and stores the statistics now. A commit itself is visible
    /// at once and needs no flush.
    pub fn flush(&mut self) {
        self.for_each_other(Producer::flush);
        in_own_mode!(self, it => it.flush_own());
    }

    /// The credit of this handle, as it knows it. Others may have used or released more since.
    pub fn credits(&self) -> &CreditController {
        self.writer.credits()
    }

    /// How arrivals at this handle are coalesced.
    pub fn coalesce(&self) -> &CoalesceController {
        self.pace.coalesce()
    }
}

impl<S: OwnMode> Producer<S> {
    fn attach_own(
        segment: &Segment,
        locker: Locker,
        identity: &Identity,
    ) -> Result<Self, RingError> {
        let sharing = const { S::SHARING.expect("one's own mode is known") };
        let role = Role { side: Side::Producer, sharing };
        let (entry, _) = Entry::attach(segment, role, locker, identity)?;
        adopt::tidy_up(segment, entry.locker(), entry.index());
        let settings = segment.settings();
        let writer = Writer::<S>::begin(OwnLane::of(&entry))?;
        // Before thresholds are read.
        let rate = threshold::settle();
        let meta = Meta::new(PriorityClass::Normal, 0, entry.index() as u32);
        Ok(Self {
            stamps: Stamps::new(settings.timestamps),
            run: SentRun::begin(meta, writer.count()),
            lanes: entry.participant().lanes(),
            pace: Pace::new(writer.count(), settings.capacity as u64, rate),
            patience: Patience::new(),
            watch: Watch::default(),
            refused_class: PriorityClass::Normal,
            #[cfg(any(feature = "std", loom))]
            wanted: 1,
            short_of_memory: u64::MAX,
            #[cfg(any(feature = "std", loom))]
            waiting: Waiting::default(),
            inline: Unsent::default(),
            other_lanes: OtherLanes::NONE,
            writer,
            entry,
        })
    }

    fn flush_own(&mut self) {
        self.cancel_forgotten();
        self.announce(0);
        S::announce_all(OwnLane::of(&self.entry));
    }
}

impl<S: Mode> Drop for Producer<S> {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Deaths for models, in which no process can be killed.
#[cfg(loom)]
#[allow(missing_docs)]
impl<S: Mode> Producer<S> {
    /// Dies with everything it has claimed.
    pub fn die(self) {
        core::mem::ManuallyDrop::new(self).entry.die();
    }

    /// Dies with an intent shown at the next position, before it claims it.
    pub fn die_before_claim(self) {
        let lane = OwnLane::of(&self.entry);
        // Relaxed: where the claim would be tried.
        let head = lane.counters().producer_head.load(crate::sync::Ordering::Relaxed);
        lane.show_intent(crate::layout::span::Span::new(head, 1));
        self.die();
    }

    /// Does what a call does that has had no credit for long. Models have no clock.
    pub fn recover(&mut self) {
        in_own_mode!(self, it => it.help());
    }
}
