//! The receiving side: handles that read, count, wait, and announce how far they have come.
//!
//! A consumer combines a lane's [`Reader`] with the other parts of a handle: the [`Tally`] of its
//! messages, the [`Pace`] at which it announces what it has released, its patience, and the guards
//! that read messages in place. `receive.rs` has a receive from the look to the release.

mod batch;
pub(crate) mod borrow;
pub(crate) mod borrow_batch;
#[cfg(any(feature = "std", loom))]
mod forms;
mod idle;
pub(crate) mod iter;
#[cfg(feature = "alloc")]
mod lanes;
pub(crate) mod look;
mod order;
mod patience;
pub(crate) mod receive;
mod redeliver;
#[cfg(feature = "alloc")]
mod several;
mod shown;
#[cfg(not(loom))]
pub(crate) mod stretch;
#[cfg(feature = "alloc")]
mod taken;
#[cfg(feature = "alloc")]
mod time_order;
#[cfg(any(feature = "std", loom))]
mod wait;

#[cfg(feature = "alloc")]
use alloc::boxed::Box;

use crate::choices::{Start, Wish};
use crate::clock::rdtsc;
use crate::closing;
use crate::coalesce::CoalesceController;
use crate::error::RingError;
use crate::group::joining;
use crate::group::rows;
use crate::handle::common_to_handles;
use crate::lane::pace::Pace;
use crate::lane::reader::Reader;
use crate::lane::reader::tally::Tally;
use crate::lane::view::OwnLane;
use crate::layout::participant::{Identity, Role};
#[cfg(loom)]
use crate::layout::span::Span;
use crate::message::Batch;
use crate::mode::{Member, Mode, OwnReader, in_readers_mode};
#[cfg(feature = "alloc")]
use crate::own::Own;
use crate::recover::counting;
use crate::recover::entry::Entry;
use crate::recover::finish::Adopted;
use crate::segment::Segment;
use crate::segment::lock::Locker;
use crate::settings::Side;
use crate::threshold;
#[cfg(any(feature = "std", loom))]
use crate::waiting::sleep::Waiting;
use patience::Patience;
#[cfg(feature = "alloc")]
use several::AllLanes;
use shown::Shown;

/// A handle that receives.
///
/// [`UltraFastRing::consumer`](crate::UltraFastRing::consumer) gives a `Consumer` without a
/// parameter, which fits any ring. [`shared_consumer`](crate::UltraFastRing::shared_consumer) and
/// [`exclusive_consumer`](crate::UltraFastRing::exclusive_consumer) give typed ones, which take a
/// few instructions less; see [`Mode`]. A handle keeps the segment alive by itself. One thread uses
/// it at a time.
///
/// Each way of receiving has four forms. One never waits. The others wait: without end, for a
/// duration (`_timeout`), or until a moment (`_deadline`).
///
/// | | never waits | waits |
/// |---|---|---|
/// | a copy, up to 40 bytes | [`try_recv`] | `recv` |
/// | into a `Vec` or a slice | [`try_recv_into`], [`recv_fast`] | `recv_into` |
/// | in place | [`try_borrow`] | `borrow` |
/// | several in place | [`try_borrow_many`] | `borrow_many` |
/// | several, copied | [`try_recv_many`], [`recv_batch`] | `recv_many` |
/// | a value (feature `zerocopy`) | `try_recv_value` | `recv_value` |
/// | one after the other | [`try_iter`] | `iter`, `for message in consumer` (these two alone) |
///
/// [`recv_batch`]: Self::recv_batch
/// [`recv_fast`]: Self::recv_fast
/// [`try_borrow`]: Self::try_borrow
/// [`try_borrow_many`]: Self::try_borrow_many
/// [`try_iter`]: Self::try_iter
/// [`try_recv`]: Self::try_recv
/// [`try_recv_into`]: Self::try_recv_into
/// [`try_recv_many`]: Self::try_recv_many
///
/// The forms that wait need the feature `std`. Each message goes to one consumer: several consumers
/// of a shared side share the messages. Messages come in the order of their positions, whatever
/// their classes. A borrowed message that is kept holds up the slots behind it.
///
/// The copying calls release a message before they return. If the process is killed in between,
/// that message (that batch) is lost. [`try_borrow`](Self::try_borrow) releases when the guard is
/// dropped. If the reader is killed before, the message is delivered again, marked, and on a shared
/// side perhaps out of order (see [`Redelivery`](crate::Redelivery)). The same may happen to a
/// message that a consumer was about to claim when it was killed (see
/// [`try_borrow`](Self::try_borrow)).
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use ultrafastring::{PriorityClass, RecvError, UltraFastRing};
///
/// let ring = UltraFastRing::new(8);
/// let mut consumer = ring.consumer()?;
/// assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty);
/// for word in ["to", "be"] {
///     ring.send_fast(word.as_bytes(), PriorityClass::Normal)?;
/// }
/// let words: Vec<_> = consumer.try_iter().map(|word| word.to_vec()).collect();
/// assert_eq!(words, [b"to", b"be"]);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
// In C's layout for `in_mode`.
#[derive(Debug)]
#[repr(C)]
pub struct Consumer<S: Mode = AnyMode> {
    pub(crate) entry: Entry,
    reader: Reader<S>,
    tally: Tally,
    /// When it next announces what it has released, counted in released messages.
    pace: Pace,
    patience: Patience,
    /// The message that a guard shows.
    shown: Shown,
    /// The number of the stream whose end this handle ignores, and how many messages it had
    /// received when it began to.
    passed_stream: Option<(u64, u64)>,
    #[cfg(any(feature = "std", loom))]
    pub(crate) waiting: Waiting,
    /// The other lanes, of a handle that works on several.
    #[cfg(feature = "alloc")]
    lanes: Option<Box<AllLanes<Consumer>>>,
}

common_to_handles!(Consumer);

impl<S: OwnReader> Consumer<S> {
    fn attach_own(
        segment: &Segment,
        sharing: Sharing,
        locker: Locker,
        identity: &Identity,
    ) -> Result<Self, RingError> {
        let role = Role { side: Side::Consumer, sharing };
        let (entry, adopted) = Entry::attach(segment, role, locker, identity)?;
        Ok(Self::over(entry, adopted))
    }

    /// A handle that has its entry.
    fn over(entry: Entry, adopted: Option<Adopted>) -> Self {
        let rate = threshold::settle();
        let settings = entry.segment().settings();
        let mut pace = Pace::new(0, (settings.credit_limit / 8).max(1), rate);
        let histogram = counting::begin(&entry);
        if histogram.is_some() {
            pace.count_often();
        }
        Self {
            reader: Reader::begin(OwnLane::of(&entry), adopted),
            tally: Tally::new(entry.participant().lanes(), histogram),
            pace,
            patience: Patience::new(settings.capacity),
            shown: Shown::NOTHING,
            passed_stream: None,
            #[cfg(any(feature = "std", loom))]
            waiting: Waiting::default(),
            #[cfg(feature = "alloc")]
            lanes: None,
            entry,
        }
    }

    fn flush_own(&mut self) {
        self.reader.release_lent(OwnLane::of(&self.entry));
        self.grant_all();
    }

    /// Grants all that was received, without regard to when the next grant is due.
    #[cold]
    fn grant_all(&mut self) {
        self.tally.count_latencies();
        self.grant(self.tally.received(), 0);
    }

    /// Announces the release frontier, which gives credit back, and stores the counters. `released`
    /// counts the messages received without those that a guard still holds.
    #[cold]
    #[inline(never)]
    fn grant(&mut self, released: u64, timestamp: u64) {
        let now = if timestamp == 0 { rdtsc() } else { timestamp };
        let lane = OwnLane::of(&self.entry);
        self.reader.announce(lane);
        self.look_behind(now);
        let lane = OwnLane::of(&self.entry);
        self.reader.settle_read_ahead(lane, self.patience.fruitless());
        self.tally.store(lane.participant());
        let mode = self.pace.announced(released, now);
        self.patience.adapt(mode);
    }

    #[inline(always)]
    fn grant_if_due(&mut self, now: u64) {
        let released = self.tally.received();
        if self.pace.is_due(released, now) {
            self.grant(released, now);
        }
    }

    /// As [`grant_if_due`](Self::grant_if_due), after a message with this latency, and others that
    /// the histogram does not count yet. With histograms a message is due more often, so that this
    /// costs other rings nothing.
    #[inline(always)]
    fn count_and_grant_if_due(&mut self, now: u64, latency: u64) {
        let released = self.tally.received();
        if self.pace.is_due(released, now) {
            self.count_and_grant(released, now, latency);
        }
    }

    #[cold]
    #[inline(never)]
    fn count_and_grant(&mut self, released: u64, now: u64, latency: u64) {
        if self.tally.has_histogram() {
            self.count_last_and_grant(released, now, latency);
        } else {
            self.grant(released, now);
        }
    }

    /// By itself, so that without histograms no register is saved for it. The last message has come
    /// later than those before it, perhaps much later, so it is not counted with them.
    #[inline(never)]
    fn count_last_and_grant(&mut self, released: u64, now: u64, latency: u64) {
        // The time was read if it carries a timestamp.
        if now != 0 {
            self.tally.count_last(latency);
        }
        self.count_rest_and_grant(released, now);
    }

    /// Counts what is not counted yet, and grants if it is due.
    fn count_rest_and_grant(&mut self, released: u64, now: u64) {
        self.tally.count_latencies();
        self.pace.counted(now);
        if self.pace.is_due_now(released, now) {
            self.grant(released, now);
        }
    }

    /// As [`count_and_grant`](Self::count_and_grant), after these messages.
    #[cold]
    #[inline(never)]
    fn count_batch_and_grant(&mut self, batch: &Batch, released: u64, now: u64) {
        if self.tally.has_histogram() {
            self.count_each_and_grant(batch, released, now);
        } else {
            self.grant(released, now);
        }
    }

    /// By itself, as [`count_last_and_grant`](Self::count_last_and_grant).
    #[inline(never)]
    fn count_each_and_grant(&mut self, batch: &Batch, released: u64, now: u64) {
        self.tally.count_each(batch.iter());
        self.count_rest_and_grant(released, now);
    }

    /// Counts latencies for the group that the handle is a member of now.
    fn count_for_group(&mut self) {
        // What is left is for the group before.
        self.tally.count_latencies();
        self.tally.count_in(counting::begin(&self.entry));
        if self.tally.has_histogram() {
            self.pace.count_often();
        }
    }

    /// The time that a later [`grant_if_due`](Self::grant_if_due) is to be given, in a ring with
    /// histograms: none if it is not due yet.
    #[cold]
    fn time_if_due(&mut self, now: u64) -> u64 {
        self.tally.count_latencies();
        if self.pace.is_due_now(self.tally.received(), now) { now } else { 0 }
    }
}

impl Consumer {
    /// A new member of a group.
    pub(crate) fn join(
        segment: &Segment,
        wish: &Wish,
        identity: &Identity,
    ) -> Result<Self, RingError> {
        if !segment.is_joinable() {
            return Err(RingError::NotMadeForGroups);
        }
        let row = rows::find(segment, &wish.name);
        let settings = row.and_then(|row| segment.row(row)?.settings());
        let sharing = settings.map_or(wish.sharing, |settings| Some(settings.sharing));
        let role = Role { side: Side::Consumer, sharing: sharing.unwrap_or_default() };
        let locker = segment.locker()?;
        if !segment.has_lanes() {
            return Self::join_lane(segment, (wish, row), role, locker, identity);
        }
        #[cfg(not(feature = "alloc"))]
        return Err(RingError::HasLanes);
        #[cfg(feature = "alloc")]
        Self::join_lanes(segment, (wish, row), role, locker, identity)
    }

    /// A new member, by an entry of one lane.
    fn join_lane(
        lane: &Segment,
        (wish, row): (&Wish, Option<usize>),
        role: Role,
        locker: Locker,
        identity: &Identity,
    ) -> Result<Self, RingError> {
        let (mut entry, adopted) = Entry::attach_to(lane, role, locker, row, identity)?;
        let adopted = joining::join(&mut entry, wish, adopted)?;
        entry.note_arrival();
        let mut member = Consumer::<Member>::over(entry, adopted);
        if member.entry.has_to_say() {
            // It has opened a group that was evicted.
            member.reader.call_special();
        }
        Ok(member.into_mode())
    }

    /// A new member, by an entry of each lane. That of the first lane counts in the gate, and keeps
    /// the generation while the others are taken.
    #[cfg(feature = "alloc")]
    fn join_lanes(
        ring: &Segment,
        wish: (&Wish, Option<usize>),
        role: Role,
        locker: Locker,
        identity: &Identity,
    ) -> Result<Self, RingError> {
        let first = Self::join_lane(&ring.of_lane(0), wish, role, locker.clone(), identity)?;
        let row = first.entry.membership().row();
        let mut all = alloc::vec![first];
        for lane in ring.all_lanes().skip(1) {
            let (mut entry, adopted) =
                Entry::attach_to(&lane, role, locker.clone(), row, identity)?;
            let adopted = joining::follow(&mut entry, &all[0].entry, adopted);
            entry.note_arrival();
            all.push(Consumer::<Member>::over(entry, adopted).into_mode());
        }
        Ok(Self::over_lanes(all, Own::Member))
    }
}

impl<S: Mode> Consumer<S> {
    pub(crate) fn attach(segment: &Segment, identity: &Identity) -> Result<Self, RingError> {
        if segment.is_joinable() {
            return Err(RingError::MadeForGroups);
        }
        if segment.has_lanes() {
            return Self::attach_to_lanes(segment, identity);
        }
        // Where `S` does not say, the ring's settings do.
        let sharing = S::SHARING.unwrap_or(segment.settings().consumer_side);
        Self::attach_to_lane(segment, sharing, segment.locker()?, identity)
    }

    /// A handle of all lanes. Only one of any mode works on several.
    fn attach_to_lanes(ring: &Segment, identity: &Identity) -> Result<Self, RingError> {
        #[cfg(feature = "alloc")]
        if S::SHARING.is_none() {
            return Ok(Consumer::of_lanes(ring, identity)?.into_mode());
        }
        let _ = (ring, identity);
        Err(RingError::HasLanes)
    }

    /// Whether it works on several lanes.
    #[cfg(feature = "alloc")]
    #[inline(always)]
    fn has_lanes(&self) -> bool {
        self.own() == Own::Lanes
    }

    /// There is one lane.
    #[cfg(not(feature = "alloc"))]
    #[inline(always)]
    fn lane_to_take_from(&mut self, _: bool) -> (&mut Self, crate::own::Own) {
        let own = self.own();
        (self, own)
    }

    #[cfg(not(feature = "alloc"))]
    #[inline(always)]
    fn searches_after(&mut self, _: crate::error::RecvError) -> bool {
        false
    }

    /// A handle of one lane, with the locks of a handle that works on several.
    pub(crate) fn attach_to_lane(
        lane: &Segment,
        sharing: Sharing,
        locker: Locker,
        identity: &Identity,
    ) -> Result<Self, RingError> {
        Ok(match sharing {
            Sharing::Exclusive => {
                Consumer::<Exclusive>::attach_own(lane, sharing, locker, identity)?.into_mode()
            }
            Sharing::Shared => {
                Consumer::<Shared>::attach_own(lane, sharing, locker, identity)?.into_mode()
            }
        })
    }

    /// Another handle of the same side, or of the same group.
    fn attach_again(&self, identity: &Identity) -> Result<Self, RingError> {
        let segment = self.entry.segment();
        let Some(row) = self.entry.readers().row() else {
            return Self::attach(segment, identity);
        };
        let wish = Wish::as_it_is(row.name(), Start::Resume);
        Ok(Consumer::join(segment, &wish, identity)?.into_mode())
    }

    /// Grants what was released and stores the statistics now.
    pub fn flush(&mut self) {
        in_readers_mode!(self, it => it.flush_own());
        #[cfg(feature = "alloc")]
        self.for_each_other(Consumer::flush);
    }

    /// Closes the ring, for every handle; see
    /// [`UltraFastRing::close`](crate::UltraFastRing::close). Dropping the handle does not.
    pub fn close(&mut self) {
        self.flush();
        closing::close_ring(self.entry.segment());
    }

    /// Treats a closed ring as empty until somebody opens it again. Use it in a consumer that
    /// starts before the producers of the next stream, or that goes on after
    /// [`RecvError::Closed`](crate::RecvError::Closed). On an open ring it does nothing.
    ///
    /// Messages that are left of the old stream are received as usual. A handle that has received
    /// any of them gets [`Closed`](crate::RecvError::Closed) after the last. So does a handle that
    /// misses a whole stream, which was opened and closed again with nothing in it.
    ///
    /// ```
    /// # #[cfg(feature = "alloc")] {
    /// use ultrafastring::{PriorityClass, RecvError, UltraFastRing};
    ///
    /// let ring = UltraFastRing::new(8);
    /// ring.producer()?.close(); // a run that is over
    ///
    /// let mut consumer = ring.consumer()?;
    /// consumer.await_next_stream();
    /// assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty);
    /// let mut producer = ring.producer()?; // opens the ring again
    /// producer.try_send(b"the next run", PriorityClass::Normal)?;
    /// producer.close();
    /// assert_eq!(&*consumer.try_recv()?, b"the next run");
    /// # #[cfg(feature = "std")]
    /// assert_eq!(consumer.recv().unwrap_err(), RecvError::Closed);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn await_next_stream(&mut self) {
        #[cfg(feature = "alloc")]
        self.for_each_other(Consumer::await_next_stream);
        let segment = self.entry.segment();
        // In this order, so that a stream that is opened in between counts as another one.
        let stream = closing::stream(segment);
        self.passed_stream = closing::is_closed(segment).then_some((stream, self.tally.received()));
    }

    /// Whether the ring is closed, and this is not the end of the stream that this handle ignores.
    pub(super) fn stream_has_ended(&mut self) -> bool {
        let segment = self.entry.segment();
        if !closing::is_closed(segment) {
            // This is the next stream, and its end counts.
            self.passed_stream = None;
            return false;
        }
        // It was found closed by an acquire, so an earlier opening is seen as well.
        self.passed_stream != Some((closing::stream(segment), self.tally.received()))
    }

    /// How arrivals at this handle are coalesced.
    pub fn coalesce(&self) -> &CoalesceController {
        #[cfg(feature = "alloc")]
        if let Some(lane) = self.last_lane() {
            return lane.pace.coalesce();
        }
        self.pace.coalesce()
    }

    /// Messages released through this handle since its last grant, if it holds none.
    fn pending(&self) -> u64 {
        self.pace.pending(self.tally.received())
    }
}

/// Deaths for models, in which no process can be killed.
#[cfg(loom)]
#[allow(missing_docs)]
impl<S: Mode> Consumer<S> {
    /// Dies with everything it holds.
    pub fn die(self) {
        core::mem::ManuallyDrop::new(self).entry.die();
    }

    /// Dies with a hold shown on the next position, before it claims it.
    pub fn die_before_claim(self) {
        self.entry.participant().show_hold(Span::new(self.reader.position(), 1));
        self.die();
    }

    /// Does what a call does that has been stuck for long. Models have no clock.
    pub fn recover(&mut self) {
        in_readers_mode!(self, it => it.help());
    }
}

impl<S: Mode> Drop for Consumer<S> {
    fn drop(&mut self) {
        self.flush();
        // The rest of a dead consumer's messages stays in its hold, for the next to adopt.
        in_readers_mode!(self, it => it.reader.hand_on(OwnLane::of(&it.entry)));
    }
}
