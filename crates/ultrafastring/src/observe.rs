//! What can be seen of a ring without taking part, and rings that are only observed.

pub(crate) mod all;
pub(crate) mod lane;
mod latencies;
pub(crate) mod stats;

use core::fmt;
#[cfg(feature = "std")]
use core::ops::Deref;
#[cfg(feature = "std")]
use std::path::Path;

#[cfg(any(feature = "std", loom))]
use crate::choices::Start;
#[cfg(feature = "std")]
use crate::clock::Clock;
#[cfg(any(feature = "std", loom))]
use crate::error::RingError;
use crate::group::info::{GroupInfo, GroupState};
use crate::layout::areas::AreaInfo;
use crate::recover::info::ParticipantInfo;
use crate::segment::Segment;
#[cfg(feature = "std")]
use crate::segment::mapping::Mapping;
#[cfg(feature = "std")]
use crate::segment::taken::SideMemoryInfo;
use crate::settings::{Settings, Side};
#[cfg(any(feature = "std", loom))]
use crate::tail::TailReader;
use crate::waiting::bell;
use all::LaneInfo;
use lane::Positions;
use stats::RingStats;

/// What can be seen of a ring. An [`UltraFastRing`](crate::UltraFastRing) and an [`Observer`]
/// dereference to it.
pub struct RingView {
    segment: Segment,
}

impl fmt::Debug for RingView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingView")
            .field("settings", self.settings())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl RingView {
    pub(crate) fn over(segment: Segment) -> Self {
        Self { segment }
    }

    #[inline(always)]
    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }

    /// The settings with which the ring was made.
    pub fn settings(&self) -> &Settings {
        self.segment.settings()
    }

    /// Number of slots.
    pub fn capacity(&self) -> usize {
        self.settings().capacity
    }

    /// Bytes of the largest message.
    pub fn max_message(&self) -> usize {
        self.settings().max_message
    }

    /// Bytes of the segment with all side buffers. Parts of them that were never touched take no
    /// memory.
    pub fn size_bytes(&self) -> usize {
        self.segment.geometry().offsets().end
    }

    /// The parts of the segment, and where each begins, in the order of the header's table. What a
    /// ring does not have is left out.
    ///
    /// ```
    /// # #[cfg(feature = "alloc")] {
    /// let ring = ultrafastring::UltraFastRing::new(64);
    /// let slots = ring.areas().find(|area| area.name == "slots").unwrap();
    /// assert_eq!((slots.stride, slots.count), (64, 64));
    /// # }
    /// ```
    pub fn areas(&self) -> impl Iterator<Item = AreaInfo> + use<> {
        self.segment.geometry().areas()
    }

    /// The lanes of the ring, one of a plain ring: what each has, its owner, and its statistics.
    ///
    /// ```
    /// use ultrafastring::{Lanes, PriorityClass, UltraFastRing};
    ///
    /// # #[cfg(feature = "alloc")] {
    /// let ring = UltraFastRing::builder().lanes(Lanes::ByClass).heap()?;
    /// ring.producer()?.try_send(b"cancel", PriorityClass::RealTime)?;
    /// let lanes: Vec<_> = ring.lanes().map(|it| (it.class.unwrap(), it.stats.sent)).collect();
    /// assert_eq!((lanes.len(), lanes[0]), (5, (PriorityClass::RealTime, 1)));
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lanes(&self) -> impl Iterator<Item = LaneInfo> + '_ {
        self.segment.all_lanes().map(|lane| all::info(&lane))
    }

    /// The ring's statistics, from positions and from what participants have stored.
    pub fn stats(&self) -> RingStats {
        all::stats(&self.segment)
    }

    /// Whether little credit is left: an eighth of the credit limit, or less.
    ///
    /// That of a producer's [`credits`](crate::Producer::credits) stays `true` until half of the
    /// limit is free again. This call has no memory, and returns `false` between the two
    /// watermarks.
    pub fn under_pressure(&self) -> bool {
        all::is_under_pressure(&self.segment)
    }

    /// The four counters; in a ring with lanes the sums over all lanes.
    pub fn positions(&self) -> Positions {
        all::positions(&self.segment)
    }

    /// The groups that the ring has a row for, open or closed; none of a plain ring.
    pub fn groups(&self) -> impl Iterator<Item = GroupInfo> + '_ {
        all::groups(&self.segment)
    }

    /// The open group that has released least: the one that producers wait for while no credit is
    /// left ([`RingStats::credits_spent`] is [`RingStats::credit_limit`]). `None` in a plain ring,
    /// and while no group is open.
    ///
    /// ```
    /// # #[cfg(feature = "alloc")] {
    /// use ultrafastring::{PriorityClass, UltraFastRing};
    ///
    /// let ring = UltraFastRing::builder().groups(["risk", "log"]).capacity(1).heap()?;
    /// ring.try_send("AAPL 101", PriorityClass::Normal)?;
    /// ring.join("risk").consumer()?.try_recv()?;
    /// let log = ring.slowest_group().unwrap();
    /// assert_eq!((log.name.as_str(), log.members, log.lag), ("log", 0, 1));
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn slowest_group(&self) -> Option<GroupInfo> {
        let open = self.groups().filter(|it| it.state == GroupState::Open);
        open.min_by_key(|it| it.consumer_tail)
    }

    /// Messages sent and not yet received, at about this moment. On an exclusive consumer side,
    /// messages that the consumer holds count until they are released. On a shared side they do not
    /// count.
    pub fn len(&self) -> usize {
        all::len(&self.segment)
    }

    /// Whether [`len`](Self::len) is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The participants: the living ones, and the dead ones whose work nobody has finished yet. In
    /// a ring with lanes a handle is one in each lane that it works on.
    pub fn participants(&self) -> impl Iterator<Item = ParticipantInfo> + '_ {
        all::participants(&self.segment)
    }

    /// How many handles of `side` living processes hold, with those of threads for the calls on
    /// `&UltraFastRing`. This tells a dead or departed peer from a silent one.
    pub fn living(&self, side: Side) -> usize {
        all::living(&self.segment, side)
    }

    /// Whether a handle of `side` sleeps until the other side wakes it. `true` may be out of date,
    /// after a sleeper was killed, for example.
    pub fn is_asleep(&self, side: Side) -> bool {
        self.segment.all_bells(side).any(bell::is_armed_now)
    }
}

/// What only processes need.
#[cfg(feature = "std")]
impl RingView {
    /// The ring's name, if it is a named one.
    pub fn name(&self) -> Option<&str> {
        self.segment.mapping()?.name()
    }

    /// The ring's file, if it is a named one.
    pub fn path(&self) -> Option<&Path> {
        self.segment.mapping()?.path()
    }

    /// Whether somebody else, in this process or another, has the named ring open now, or has
    /// handles of it. Observers do not count. `None` for an observer that may not see the locks.
    /// (Such an observer cannot be certain who is alive either: see [`Evidence`](crate::Evidence).)
    pub fn is_open_elsewhere(&self) -> Option<bool> {
        // Memory belongs to this process only.
        self.segment.mapping().map_or(Some(false), Mapping::is_open_elsewhere)
    }

    /// Process id of the process that made a named ring.
    pub fn creator_pid(&self) -> u32 {
        self.segment.geometry().creator_pid
    }

    /// When a named ring was made, in nanoseconds since 1970.
    pub fn created(&self) -> u64 {
        self.segment.geometry().created
    }

    /// Where the memory of all [side buffers](crate::Builder::max_message) is mapped in this
    /// process, those of all lanes one behind the other, and how many bytes it has; `None` if the
    /// ring has no side buffers. For programs
    /// that register it with a device. It stays there for as long as the ring, or a handle of it,
    /// is open.
    ///
    /// Other processes write there. Memory that no message has needed yet is taken when it is
    /// touched, and a touch ends in SIGBUS if there is none left; see
    /// [`SideMemory::Preallocated`](crate::SideMemory::Preallocated).
    ///
    /// ```
    /// use ultrafastring::UltraFastRing;
    ///
    /// let ring = UltraFastRing::builder().capacity(8).max_message(1 << 16).anonymous()?;
    /// assert_eq!(ring.side_buffers().map(|(_, bytes)| bytes), Some(8 << 16));
    /// assert!(UltraFastRing::new(8).side_buffers().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn side_buffers(&self) -> Option<(core::ptr::NonNull<u8>, usize)> {
        self.segment.side_buffers()
    }

    /// How much memory the [side buffers](crate::Builder::max_message) take, and how much there is
    /// for more; `None` if the ring has none, or is not in a file.
    ///
    /// ```
    /// use ultrafastring::{PriorityClass, UltraFastRing};
    ///
    /// let ring = UltraFastRing::builder().capacity(8).max_message(1 << 16).anonymous()?;
    /// ring.send(&[7; 1 << 16], PriorityClass::Normal)?;
    /// let memory = ring.side_memory().unwrap();
    /// assert_eq!((memory.size, memory.taken, memory.free), (8 << 16, 1 << 16, None));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn side_memory(&self) -> Option<SideMemoryInfo> {
        self.segment.mapping()?.side_memory()
    }

    /// The clock of the ring's ticks: the creator's for a named ring, otherwise this process's.
    pub fn clock(&self) -> Clock {
        let geometry = self.segment.geometry();
        if geometry.ticks_per_second > 0.0 {
            let (ticks_per_second, stable) = (geometry.ticks_per_second, geometry.clock_stable);
            Clock { ticks_per_second, stable }
        } else {
            Clock::calibrated()
        }
    }

    /// Whether the ring's file was truncated or overwritten; see
    /// [`survive_truncation`](crate::survive_truncation).
    pub fn is_damaged(&self) -> bool {
        self.segment.is_damaged()
    }
}

/// A ring that is only observed: see [`Builder::observe`](crate::Builder::observe). It dereferences
/// to [`RingView`], whose calls show what there is to see.
///
/// Its memory is mapped read-only, it has no entry in the participant table, and it takes no lock.
/// So it can neither disturb others nor be noticed. It sees what participants have stored, which
/// each does once in several messages. What it sees is as trustworthy as they are.
///
/// If it may open the lock file, as participants may, it learns from the locks who is alive and
/// whether the ring is open ([`is_open_elsewhere`](RingView::is_open_elsewhere)). If not, it looks
/// for the participants' processes, as far as it can see them; see [`Evidence`](crate::Evidence).
#[cfg(feature = "std")]
#[derive(Debug)]
pub struct Observer(RingView);

#[cfg(feature = "std")]
impl Observer {
    pub(crate) fn over(segment: Segment) -> Self {
        Self(RingView::over(segment))
    }

    /// A reader of the messages themselves, for whom nobody waits: see [`TailReader`]. There may be
    /// any number. [`Start::Resume`] is as [`Start::Latest`]: nobody keeps its place.
    ///
    /// # Errors
    ///
    /// [`RingError::NotMadeForGroups`]: in a plain ring it could not be told whether a message was
    /// overwritten while it was read.
    pub fn tail(&self, start: Start) -> Result<TailReader, RingError> {
        TailReader::new(self.segment(), start)
    }
}

/// Tail readers for models, whose rings nobody maps.
#[cfg(loom)]
#[allow(missing_docs)]
impl RingView {
    /// As `Observer::tail`.
    pub fn tail(&self, start: Start) -> Result<TailReader, RingError> {
        TailReader::new(&self.segment, start)
    }
}

#[cfg(feature = "std")]
impl Deref for Observer {
    type Target = RingView;

    fn deref(&self) -> &RingView {
        &self.0
    }
}

#[cfg(all(test, feature = "std", not(loom)))]
mod tests {
    use super::*;
    use crate::consumer::Consumer;
    use crate::layout::header::Geometry;
    use crate::mode::Mode;
    use crate::priority::PriorityClass;
    use crate::producer::Producer;
    use crate::ring::UltraFastRing;
    use crate::segment::lent::Page;
    use crate::settings::Sharing;

    /// A ring of zeros, which nobody has ever used, in memory that nobody may write to: a machine
    /// without the right to would end the process, and Miri says what of looking the standard
    /// library does not allow there.
    #[test]
    fn looking_at_a_ring_needs_no_access_that_read_only_memory_does_not_allow() {
        static MEMORY: [Page; 4] = [Page::ZERO; 4];
        for sharing in [Sharing::Shared, Sharing::Exclusive] {
            let geometry = Geometry::of(Settings {
                capacity: 2,
                participants: 1,
                producer_side: sharing,
                consumer_side: sharing,
                credit_limit: 2,
                ..Settings::default()
            });
            assert!(geometry.offsets().end <= size_of_val(&MEMORY));
            // SAFETY: long enough, and an observer only looks.
            let segment = unsafe { Segment::read_only((&raw const MEMORY).cast(), geometry) };
            let ring = Observer::over(segment);
            assert_eq!((ring.len(), ring.stats().sent, ring.participants().count()), (0, 0, 0));
            assert_eq!(ring.positions().consumer_tail, 0);
            assert!(!ring.under_pressure() && !ring.is_asleep(Side::Consumer));
            assert!(ring.examine().unwrap().is_empty() && !ring.is_damaged());
        }
    }

    /// Of 16 credits, pressure begins with 2 left, and ends for a handle, which remembers, with 8.
    fn fill_and_drain<P: Mode, C: Mode>(
        ring: &UltraFastRing,
        mut producer: Producer<P>,
        mut consumer: Consumer<C>,
    ) {
        let send = |producer: &mut Producer<P>, count| {
            for _ in 0..count {
                producer.send_fast(b"!", PriorityClass::RealTime).unwrap();
            }
        };
        let drain = |consumer: &mut Consumer<C>, count| {
            assert_eq!((0..count).filter(|_| consumer.try_recv().is_ok()).count(), count);
            consumer.flush();
        };
        let looks = |spent, pressure| {
            let stats = ring.stats();
            assert_eq!((stats.credits_spent, stats.credit_limit), (spent, 16));
            assert_eq!((stats.under_pressure, ring.under_pressure()), (pressure, pressure));
        };
        send(&mut producer, 13);
        looks(13, false);
        assert!(!producer.credits().under_pressure());
        send(&mut producer, 1);
        looks(14, true);
        assert!(producer.credits().under_pressure());
        drain(&mut consumer, 4);
        looks(10, false);
        // Until its credit runs out and it looks: then 3 are left, which is neither few nor many.
        send(&mut producer, 3);
        looks(13, false);
        assert!(producer.credits().under_pressure(), "it has not ended");
        drain(&mut consumer, 13);
        looks(0, false);
        send(&mut producer, 4);
        assert!(!producer.credits().under_pressure());
    }

    #[test]
    fn pressure_is_seen_when_it_begins_and_when_it_ends() {
        let shared = UltraFastRing::new(16);
        fill_and_drain(&shared, shared.producer().unwrap(), shared.consumer().unwrap());
        let builder = UltraFastRing::builder().capacity(16);
        let exclusive = builder.exclusive_producer().exclusive_consumer().heap().unwrap();
        let producer = exclusive.exclusive_producer().unwrap();
        fill_and_drain(&exclusive, producer, exclusive.exclusive_consumer().unwrap());
    }
}
