//! What can be seen of a ring: of its only lane, or of all its lanes together.

use core::ops::Range;

use super::lane::{self, Positions};
use super::stats::{self, RingStats};
use crate::closing;
use crate::group::info::{GroupInfo, infos as groups_of_lane};
use crate::priority::PriorityClass;
use crate::recover::info::{ParticipantInfo, infos};
use crate::segment::Segment;
use crate::settings::{Lanes, Side};

/// What there is to see of one lane: see [`RingView::lanes`](crate::RingView::lanes). The settings
/// are those of the ring; what participants have stored is as trustworthy as they are.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LaneInfo {
    /// Its place, counted from 0.
    pub index: usize,
    /// Whose messages it has, if there are lanes [by class](Lanes::ByClass).
    pub class: Option<PriorityClass>,
    /// The producer that owns it, if there are lanes [by producer](Lanes::ByProducer); a dead one
    /// until the lane has its next owner.
    pub owner: Option<ParticipantInfo>,
    /// Its slots.
    pub capacity: usize,
    /// Bytes of its largest message.
    pub max_message: usize,
    /// Whether it is closed.
    pub closed: bool,
    /// Messages sent and not yet received.
    pub len: usize,
    /// Its counters.
    pub positions: Positions,
    /// Its statistics, those of its credit included.
    pub stats: RingStats,
}

/// What there is to see of the lane of a segment.
pub(crate) fn info(segment: &Segment) -> LaneInfo {
    let (lanes, index) = (segment.settings().lanes, segment.index());
    let class = (lanes == Lanes::ByClass).then(|| PriorityClass::ALL[index]);
    let owner = match lanes {
        Lanes::ByProducer(_) => entries(segment).find(|it| it.side == Side::Producer),
        Lanes::One | Lanes::ByClass => None,
    };
    LaneInfo {
        index,
        class,
        owner,
        capacity: segment.settings().capacity,
        max_message: segment.settings().max_message,
        closed: closing::is_closed(segment),
        len: lane::len(segment),
        positions: lane::positions(segment),
        stats: stats::stats(segment),
    }
}

/// What `of_lane` says of all lanes, put together by `join`.
fn of_all<T>(segment: &Segment, of_lane: fn(&Segment) -> T, join: fn(T, T) -> T) -> T {
    if !segment.has_lanes() {
        return of_lane(segment);
    }
    let first = of_lane(&segment.of_lane(0));
    segment.all_lanes().skip(1).fold(first, |all, lane| join(all, of_lane(&lane)))
}

pub(crate) fn stats(segment: &Segment) -> RingStats {
    of_all(segment, stats::stats, RingStats::joined)
}

pub(crate) fn positions(segment: &Segment) -> Positions {
    of_all(segment, lane::positions, Positions::joined)
}

/// Messages sent and not yet received.
pub(crate) fn len(segment: &Segment) -> usize {
    of_all(segment, lane::len, |one, other| one + other)
}

/// Whether no credit is left for any class.
pub(crate) fn is_full(segment: &Segment) -> bool {
    of_all(segment, lane::is_full, |one, other| one && other)
}

/// Whether little credit is left, in any lane.
pub(crate) fn is_under_pressure(segment: &Segment) -> bool {
    of_all(segment, |lane| lane::credits(lane).under_pressure(), |one, other| one || other)
}

pub(crate) fn groups(segment: &Segment) -> impl Iterator<Item = GroupInfo> + '_ {
    groups_of_lane(segment, lane::producers_at(segment, 0)).map(move |mut group| {
        for lane in segment.all_lanes().skip(1) {
            let there = groups_of_lane(&lane, lane::producers_at(&lane, 0));
            if let Some(other) = { there }.find(|it| it.name == group.name) {
                // Whatever peers have written.
                group.consumer_head = group.consumer_head.saturating_add(other.consumer_head);
                group.consumer_tail = group.consumer_tail.saturating_add(other.consumer_tail);
                group.received = group.received.saturating_add(other.received);
                group.lag = group.lag.saturating_add(other.lag);
            }
        }
        group
    })
}

/// The participants of one lane.
fn entries(segment: &Segment) -> impl Iterator<Item = ParticipantInfo> {
    infos(segment.clone(), segment.locker().ok())
}

/// Those of some lanes.
fn entries_of(
    segment: &Segment,
    lanes: Range<usize>,
) -> impl Iterator<Item = ParticipantInfo> + '_ {
    let asker = segment.locker().ok();
    lanes.flat_map(move |lane| infos(segment.of_lane(lane), asker.clone()))
}

pub(crate) fn participants(segment: &Segment) -> impl Iterator<Item = ParticipantInfo> + '_ {
    entries_of(segment, 0..segment.lanes())
}

/// How many handles of a side living processes hold.
pub(crate) fn living(segment: &Segment, side: Side) -> usize {
    let there = entries_of(segment, segment.lanes_of_handles(side));
    there.filter(|it| it.side == side && it.alive).count()
}
