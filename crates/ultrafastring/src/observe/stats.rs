//! A ring's counts: totals from positions, and what participants have stored.

use core::ops::Range;

use super::lane::{consumed, credits, producers_at};
use crate::layout::participant::Stalls;
use crate::layout::slot::SlotState;
use crate::limits::MAX_POSITION;
use crate::priority::PriorityClass;
use crate::segment::Segment;
use crate::statistics::LaneStats;

/// A ring's counts, over all participants that it ever had.
///
/// The totals follow from positions, so a kill does not change them. In one snapshot `sent` is
/// never less than `received`, in total and in each class. `sent - received - discarded` messages
/// are in the ring.
///
/// In a ring made for groups each group receives each message. There `received`, and the credit,
/// are those of the slowest open group, messages that were discarded included, and in each class
/// `received` and the latency are of all groups together.
/// [`groups`](crate::RingView::groups) has each group's position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RingStats {
    /// Messages sent. On a shared producer side this includes messages that are being written at
    /// this moment. Abandoned ones do not count once consumers have passed them.
    pub sent: u64,
    /// Messages received, each once; by the slowest open group, in a ring made for groups. On a
    /// shared consumer side, and in a group, this includes messages that are still held.
    pub received: u64,
    /// Mean latency in ticks of the messages that carried a timestamp.
    pub avg_latency: u64,
    /// Slots abandoned in place of producers that died.
    pub abandoned: u64,
    /// Messages redelivered in place of consumers that died.
    pub redelivered: u64,
    /// Messages discarded in place of consumers that died.
    pub discarded: u64,
    /// Messages received late, by consumers that receive
    /// [in time order](crate::Consumer::in_time_order).
    pub late: u64,
    /// Messages that hold credit: their positions are claimed and not released yet. On a shared
    /// consumer side this includes messages that are received and still held.
    pub credits_spent: u64,
    /// How many messages may hold credit at once.
    pub credit_limit: u64,
    /// Whether little credit is left, in any lane: see
    /// [`under_pressure`](crate::RingView::under_pressure).
    pub under_pressure: bool,
    /// Statistics by class, the most urgent first. Handles store them once in up to 64 messages
    /// (see [`Producer::flush`](crate::Producer::flush)); what a killed handle had not stored is
    /// lost. So their sums are only approximately the totals. A redelivered message counts as
    /// received again. A class's `sent` is at least its `received`, but in a ring for groups, where
    /// each group's messages count as received.
    pub classes: [LaneStats; PriorityClass::COUNT],
    /// How often a producer found no credit: once a stall, however many calls were refused.
    pub credit_stalls: u64,
    /// How long producers had no credit, in ticks: the time of all stalls that have ended.
    pub credit_stall_ticks: u64,
    /// The most messages that held credit when somebody looked. A producer looks when the credit is
    /// spent that it knows of, so at least once in as many messages as the credit limit. What comes
    /// and is received between two looks is not seen.
    pub most_in_flight: u64,
    /// How often handles have slept in the kernel: producers, and consumers (by [`Side`]). So have
    /// those for which a thread of an [event loop](crate::Consumer::readiness) slept. A sleep of
    /// `wait_any` counts for each of its handles.
    ///
    /// [`Side`]: crate::Side
    pub sleeps: [u64; 2],
    /// How many of these sleeps ended before their time was up: a peer woke the handle, or a signal
    /// came.
    pub wakes: [u64; 2],
    /// Dead participants whose entries others have freed.
    pub recoveries: u64,
}

impl RingStats {
    /// The statistics of two lanes together. Whatever peers have written.
    pub(super) fn joined(self, other: Self) -> Self {
        let mut classes = self.classes;
        let mut all = LaneStats::default();
        for (class, more) in classes.iter_mut().zip(&other.classes) {
            class.add(more);
            all.add(class);
        }
        let sum = |these: [u64; 2], those: [u64; 2]| {
            core::array::from_fn(|side| these[side].wrapping_add(those[side]))
        };
        Self {
            sent: self.sent.saturating_add(other.sent),
            received: self.received.saturating_add(other.received),
            avg_latency: all.avg_latency(),
            abandoned: self.abandoned.wrapping_add(other.abandoned),
            redelivered: self.redelivered.wrapping_add(other.redelivered),
            discarded: self.discarded.wrapping_add(other.discarded),
            late: self.late.wrapping_add(other.late),
            credits_spent: self.credits_spent.saturating_add(other.credits_spent),
            credit_limit: self.credit_limit.saturating_add(other.credit_limit),
            under_pressure: self.under_pressure || other.under_pressure,
            classes,
            credit_stalls: self.credit_stalls.wrapping_add(other.credit_stalls),
            credit_stall_ticks: self.credit_stall_ticks.wrapping_add(other.credit_stall_ticks),
            most_in_flight: self.most_in_flight.saturating_add(other.most_in_flight),
            sleeps: sum(self.sleeps, other.sleeps),
            wakes: sum(self.wakes, other.wakes),
            recoveries: self.recoveries.wrapping_add(other.recoveries),
        }
    }
}

/// The totals from positions, and the counters that participants have stored.
pub(super) fn stats(segment: &Segment) -> RingStats {
    let credits = credits(segment);
    // The consumers' position first, so that the producers' is not older.
    let consumed = consumed(segment).min(MAX_POSITION);
    let (classes, events, stalls) = stored(segment);
    let mut all = LaneStats::default();
    classes.iter().for_each(|class| all.add(class));
    let happened = segment.control().happened();
    let [abandoned, redelivered, discarded, _, _, late] = events;
    let position = producers_at(segment, consumed);
    let (empty, unread) = not_received(segment, events, consumed..position);
    RingStats {
        sent: position.saturating_sub(empty),
        received: consumed.saturating_sub(empty).saturating_sub(unread),
        avg_latency: all.avg_latency(),
        abandoned,
        redelivered,
        discarded,
        late,
        credits_spent: credits.in_flight(),
        credit_limit: credits.limit(),
        under_pressure: credits.under_pressure(),
        classes,
        credit_stalls: stalls.count,
        credit_stall_ticks: stalls.ticks,
        // This look is one, too.
        most_in_flight: stalls.most_in_flight.max(credits.in_flight()),
        sleeps: happened.sleeps,
        wakes: happened.wakes,
        recoveries: happened.recoveries,
    }
}

/// How many positions behind consumers held no message, and how many messages they have discarded.
/// `ahead` are the positions in front of them.
///
/// Abandoned positions held none. Those in front of consumers are noticed when consumers come
/// there. Where there are groups, each of them skips such positions, and may discard what another
/// receives. So those count who abandoned them, and what is discarded is received.
fn not_received(segment: &Segment, events: [u64; 6], ahead: Range<u64>) -> (u64, u64) {
    let [abandoned, _, discarded, skipped, given_up, _] = events;
    if !segment.is_joinable() {
        return (skipped, discarded);
    }
    let all = abandoned.saturating_add(given_up);
    (all.saturating_sub(if all == 0 { 0 } else { abandoned_in(segment, ahead) }), 0)
}

/// How many of these positions are abandoned; not more than there are slots.
fn abandoned_in(segment: &Segment, positions: Range<u64>) -> u64 {
    let end = positions.end.min(positions.start.saturating_add(segment.lane().capacity()));
    let is_abandoned = |&at: &u64| segment.slot(at).look_at(at) == SlotState::Abandoned;
    (positions.start..end).filter(is_abandoned).count() as u64
}

/// What the participants have stored: by class, and of events and stalls. What was received is
/// read before what was sent.
fn stored(segment: &Segment) -> ([LaneStats; PriorityClass::COUNT], [u64; 6], Stalls) {
    let mut classes = [LaneStats::default(); PriorityClass::COUNT];
    let mut events = [0u64; 6];
    let mut stalls = Stalls::default();
    for (_, participant) in segment.entries() {
        for (sum, class) in classes.iter_mut().zip(participant.lanes()) {
            sum.add(&LaneStats { sent: 0, sent_bytes: 0, ..class });
        }
        for (sum, count) in events.iter_mut().zip(participant.events()) {
            *sum = sum.wrapping_add(count);
        }
        let seen = participant.stalls();
        stalls.count = stalls.count.wrapping_add(seen.count);
        stalls.ticks = stalls.ticks.wrapping_add(seen.ticks);
        stalls.most_in_flight = stalls.most_in_flight.max(seen.most_in_flight);
    }
    for (_, participant) in segment.entries() {
        for (sum, class) in classes.iter_mut().zip(participant.lanes()) {
            let LaneStats { sent, sent_bytes, .. } = class;
            sum.add(&LaneStats { sent, sent_bytes, ..LaneStats::default() });
        }
    }
    // Where there are groups, each of them has received it.
    if !segment.is_joinable() {
        for class in &mut classes {
            // Not announced yet, or never, by a handle that was killed. At least what was received
            // was sent.
            class.sent = class.sent.max(class.received);
            class.sent_bytes = class.sent_bytes.max(class.received_bytes);
        }
    }
    (classes, events, stalls)
}
