//! What can be seen of a ring by looking, and a ring that can only be looked at.

use crate::PriorityClass;
use crate::lane::LaneStats;
use crate::layout::{MAX_POSITION, Sharing};
use crate::segment::Segment;
use crate::slot::SlotState;
use crate::sync::look_at;

/// What a ring counts, over all participants that have been.
///
/// The totals follow from positions, so that a process that is killed takes nothing of them with it.
/// In one snapshot `sent` is never less than `received`, nor in a lane: in flight are
/// `sent - received - discarded`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RingStats {
    /// Messages sent. On a shared producer side with those whose positions are claimed and which are
    /// being written at this moment; without those abandoned, once consumers have passed them.
    pub sent: u64,
    /// Messages received, each once; on a shared consumer side with those that are still held.
    pub received: u64,
    /// Mean latency in ticks of the messages that carried a timestamp.
    pub avg_latency: u64,
    /// Slots abandoned in the place of producers that died.
    pub abandoned: u64,
    /// Messages redelivered in the place of consumers that died.
    pub redelivered: u64,
    /// Messages discarded in the place of consumers that died.
    pub discarded: u64,
    /// The five lanes, the most urgent first, as handles have stored them: once in several messages,
    /// 64 at most (see [`Producer::flush`](crate::Producer::flush)), and what a killed one had not
    /// stored is missing for good. So their sums are approximately the totals. Those redelivered are
    /// received again. A lane's `sent` is at least its `received`.
    pub lanes: [LaneStats; PriorityClass::COUNT],
}

/// The four counters, as they are in the segment; see `ARCHITECTURE.md` for what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Positions {
    /// Next position that producers claim; as last announced on an exclusive side.
    pub producer_head: u64,
    /// Commit frontier as last announced.
    pub producer_tail: u64,
    /// Next position that consumers claim.
    pub consumer_head: u64,
    /// Release frontier as last announced.
    pub consumer_tail: u64,
}

/// What positions say of the totals, and what the participants have stored of their counters.
pub(crate) fn stats(segment: &Segment) -> RingStats {
    let mut stats = RingStats::default();
    // What consumers have done first, so that what producers have done is not older.
    let consumed = look_at(&segment.counters().consumer_head).min(MAX_POSITION);
    let mut skipped = 0u64;
    for index in 0..segment.entries_used() {
        let participant = segment.participant(index);
        for (sum, lane) in stats.lanes.iter_mut().zip(participant.lanes()) {
            sum.add(&LaneStats { sent: 0, sent_bytes: 0, ..lane });
        }
        let [abandoned, redelivered, discarded, passed_over] = participant.all_events();
        stats.abandoned = stats.abandoned.wrapping_add(abandoned);
        stats.redelivered = stats.redelivered.wrapping_add(redelivered);
        stats.discarded = stats.discarded.wrapping_add(discarded);
        skipped = skipped.wrapping_add(passed_over);
    }
    for index in 0..segment.entries_used() {
        for (sum, lane) in stats.lanes.iter_mut().zip(segment.participant(index).lanes()) {
            sum.add(&LaneStats {
                sent: lane.sent,
                sent_bytes: lane.sent_bytes,
                ..Default::default()
            });
        }
    }
    let mut all = LaneStats::default();
    for lane in &mut stats.lanes {
        if lane.sent < lane.received {
            // Not announced yet, or never by one that was killed: at least what came of it.
            lane.sent = lane.received;
            lane.sent_bytes = lane.sent_bytes.max(lane.received_bytes);
        }
        all.add(lane);
    }
    // Abandoned positions held no message. What is in front of consumers may be abandoned too, which
    // is found out when they come there.
    stats.sent = producers_at(segment, consumed).saturating_sub(skipped);
    stats.received = consumed.saturating_sub(skipped).saturating_sub(stats.discarded);
    stats.avg_latency = all.avg_latency();
    stats
}

/// How far producers have come, when consumers have come to `consumed`, or a moment later.
fn producers_at(segment: &Segment, consumed: u64) -> u64 {
    let counters = segment.counters();
    // Slots below are seen as they are.
    let position = match segment.geometry().producer_sharing {
        Sharing::Shared => counters.look_at_claimed(),
        // An exclusive side announces now and then: the slots say how far it has come since.
        Sharing::Exclusive => {
            let announced = look_at(&counters.producer_tail).min(MAX_POSITION);
            let start = announced.max(consumed);
            let end = start.saturating_add(segment.geometry().capacity as u64);
            (start..end).find(|&p| segment.slot(p).look_at(p) == SlotState::NotYet).unwrap_or(end)
        }
    };
    position.max(consumed)
}

/// Messages sent and not yet received, at about this moment.
pub(crate) fn len(segment: &Segment) -> usize {
    let consumed = look_at(&segment.counters().consumer_head);
    let sent = producers_at(segment, consumed);
    sent.saturating_sub(consumed).min(segment.geometry().capacity as u64) as usize
}

/// The four counters.
pub(crate) fn positions(segment: &Segment) -> Positions {
    let counters = segment.counters();
    // The consumers' first: what is read of the producers' is not older.
    let consumer_tail = look_at(&counters.consumer_tail);
    let consumer_head = look_at(&counters.consumer_head);
    let producer_tail = look_at(&counters.producer_tail);
    let producer_head = counters.look_at_claimed();
    Positions { producer_head, producer_tail, consumer_head, consumer_tail }
}

/// The clock of a segment's ticks.
#[cfg(feature = "std")]
pub(crate) fn clock(segment: &Segment) -> crate::clock::Clock {
    let geometry = segment.geometry();
    if geometry.ticks_per_second > 0.0 {
        crate::clock::Clock {
            ticks_per_second: geometry.ticks_per_second,
            stable: geometry.clock_stable,
        }
    } else {
        crate::clock::Clock::calibrated()
    }
}

#[cfg(feature = "std")]
pub use observer::Observer;

#[cfg(feature = "std")]
mod observer {
    use std::fmt;
    use std::path::Path;

    use super::{Positions, RingStats};
    use crate::PriorityClass;
    use crate::clock::Clock;
    use crate::layout::{Redelivery, Sharing, Timestamps};
    use crate::participant::ParticipantInfo;
    use crate::segment::Segment;

    /// A ring that is only looked at: see [`Builder::observe`](crate::Builder::observe).
    ///
    /// Its memory is mapped without the right to write, it has no entry in the participant table and
    /// takes no lock, so it can neither disturb nor be noticed. What it sees is what participants
    /// have stored, which each does once in several messages, and as much to be believed as they
    /// are.
    ///
    /// If it may open the lock file, as those may who may take part, it learns from the locks who is
    /// alive ([`sees_locks`](Self::sees_locks)). If not, it looks for the participants' processes, as far
    /// as these can be seen; see [`Evidence`](crate::Evidence).
    pub struct Observer {
        segment: Segment,
    }

    impl fmt::Debug for Observer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Observer")
                .field("name", &self.name())
                .field("len", &self.len())
                .finish_non_exhaustive()
        }
    }

    impl Observer {
        pub(crate) fn over(segment: Segment) -> Self {
            Self { segment }
        }

        pub(crate) fn segment(&self) -> &Segment {
            &self.segment
        }

        /// The ring's name, if it is a named one.
        pub fn name(&self) -> Option<&str> {
            self.segment.name()
        }

        /// Whether somebody has the named ring open at this moment, with a handle or without, other
        /// than to observe it. Also `true` if that cannot be found out: ask
        /// [`sees_locks`](Self::sees_locks).
        pub fn is_open(&self) -> bool {
            self.segment.is_open_elsewhere().unwrap_or(true)
        }

        /// Whether this observer may look at the locks, which say for certain who lives and whether the
        /// ring is open.
        pub fn sees_locks(&self) -> bool {
            self.segment.is_open_elsewhere().is_some()
        }

        /// The ring's file, if it is a named one.
        pub fn path(&self) -> Option<&Path> {
            self.segment.path()
        }

        /// What the participants have counted and stored.
        pub fn stats(&self) -> RingStats {
            super::stats(&self.segment)
        }

        /// The four counters.
        pub fn positions(&self) -> Positions {
            super::positions(&self.segment)
        }

        /// Messages sent and not yet received, at about this moment.
        pub fn len(&self) -> usize {
            super::len(&self.segment)
        }

        /// Whether [`len`](Self::len) is 0.
        pub fn is_empty(&self) -> bool {
            self.len() == 0
        }

        /// The participants: those who are here, and the dead whose work nobody has finished yet.
        pub fn participants(&self) -> impl Iterator<Item = ParticipantInfo> + '_ {
            self.segment.infos()
        }

        /// Number of slots.
        pub fn capacity(&self) -> usize {
            self.segment.geometry().capacity
        }

        /// Bytes of the largest message.
        pub fn max_message(&self) -> usize {
            self.segment.geometry().max_message()
        }

        /// Bytes of the segment, side buffers whole; what of them was never touched takes no memory.
        pub fn size_bytes(&self) -> usize {
            self.segment.geometry().offsets().end
        }

        /// Entries of the participant table.
        pub fn max_participants(&self) -> usize {
            self.segment.geometry().participants
        }

        /// How the producer side is shared.
        pub fn producer_side(&self) -> Sharing {
            self.segment.geometry().producer_sharing
        }

        /// How the consumer side is shared.
        pub fn consumer_side(&self) -> Sharing {
            self.segment.geometry().consumer_sharing
        }

        /// How many messages may be in flight.
        pub fn credit_limit(&self) -> u64 {
            self.segment.geometry().credit_limit
        }

        /// Credits kept for each class, the most urgent first.
        pub fn reserves(&self) -> [u64; PriorityClass::COUNT] {
            self.segment.geometry().reserves
        }

        /// Which messages carry a timestamp.
        pub fn timestamps(&self) -> Timestamps {
            self.segment.geometry().timestamps
        }

        /// What becomes of messages that a consumer held when it died.
        pub fn redelivery(&self) -> Redelivery {
            self.segment.geometry().redelivery
        }

        /// Process id of who made the ring.
        pub fn creator_pid(&self) -> u32 {
            self.segment.geometry().creator_pid
        }

        /// When the ring was made, in nanoseconds since 1970.
        pub fn created(&self) -> u64 {
            self.segment.geometry().created
        }

        /// The clock that the ring's ticks are of.
        pub fn clock(&self) -> Clock {
            super::clock(&self.segment)
        }

        /// How many ticks a second has.
        pub fn ticks_per_second(&self) -> f64 {
            self.clock().ticks_per_second
        }

        /// Whether the ring's file was made shorter or wiped out; see
        /// [`survive_truncation`](crate::survive_truncation).
        pub fn is_damaged(&self) -> bool {
            self.segment.is_damaged()
        }
    }
}

#[cfg(all(test, feature = "std", not(loom)))]
mod tests {
    use crate::Observer;
    use crate::layout::{Geometry, Sharing};
    use crate::segment::{Page, Segment};

    /// A ring of zeros, which nobody has ever used, in memory that nobody may write to: a machine
    /// without the right to would end the process, and Miri says what of looking the standard library
    /// does not allow there.
    #[test]
    fn looking_at_a_ring_needs_no_access_that_read_only_memory_does_not_allow() {
        static MEMORY: [Page; 4] = [Page::ZERO; 4];
        for sharing in [Sharing::Shared, Sharing::Exclusive] {
            let geometry = Geometry {
                capacity: 2,
                participants: 1,
                side_size: 0,
                producer_sharing: sharing,
                consumer_sharing: sharing,
                ..crate::layout::tests::geometry()
            };
            assert!(geometry.offsets().end <= size_of_val(&MEMORY));
            // SAFETY: long enough, and an observer only looks.
            let segment = unsafe { Segment::read_only((&raw const MEMORY).cast(), geometry) };
            let ring = Observer::over(segment);
            assert_eq!((ring.len(), ring.stats().sent, ring.participants().count()), (0, 0, 0));
            assert_eq!(ring.positions().consumer_tail, 0);
            assert!(ring.examine().unwrap().is_empty() && !ring.is_damaged());
        }
    }
}
