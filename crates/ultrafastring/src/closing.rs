//! Closing a ring: its stream of messages ends, until somebody opens the ring again. Where there
//! are lanes, each is closed by itself.
//!
//! On a shared producer side the mark is a bit of `producer_head`, so every later claim fails. On
//! an exclusive side it is a bit in the consumers' bell, which the producer reads anyway.

use crate::layout::bell::Bell;
use crate::layout::counters::CLOSED;
use crate::segment::Segment;
use crate::settings::{Sharing, Side};
use crate::sync::Ordering;
use crate::waiting::bell;

/// Closes the ring and wakes everybody.
pub(crate) fn close(segment: &Segment) {
    // Release, both: a load that sees the ring closed also sees what the closer sent before.
    match segment.settings().producer_side {
        Sharing::Shared => {
            segment.lane().counters().producer_head.fetch_or(CLOSED, Ordering::AcqRel);
        }
        Sharing::Exclusive => {
            let bell = segment.control().bell(Side::Consumer);
            bell.state.fetch_or(Bell::CLOSED, Ordering::AcqRel);
        }
    }
    bell::wake_all(segment, Side::Consumer);
    bell::wake_all(segment, Side::Producer);
}

/// Opens a closed ring again.
pub(crate) fn reopen(segment: &Segment) {
    if !is_closed(segment) {
        return;
    }
    // AcqRel, both: others change this word as well.
    let opened = match segment.settings().producer_side {
        Sharing::Shared => {
            let head = &segment.lane().counters().producer_head;
            head.fetch_and(!CLOSED, Ordering::AcqRel) & CLOSED != 0
        }
        Sharing::Exclusive => {
            let bell = segment.control().bell(Side::Consumer);
            bell.state.fetch_and(!Bell::CLOSED, Ordering::AcqRel) & Bell::CLOSED != 0
        }
    };
    if opened {
        // Only the one that has opened it counts, and afterwards. If it counted before, a consumer
        // that waits for the next stream could take the old stream's end for the new one's. If it
        // is killed in between, the stream is open and not counted. Then its end is noticed by
        // those who have seen it open or have received something of it. For the others there was no
        // stream. Release: a load that sees the new number, and the ring closed, sees the end of
        // the new stream.
        segment.control().streams.fetch_add(1, Ordering::Release);
    }
}

/// Whether the ring is closed.
#[inline]
pub(crate) fn is_closed(segment: &Segment) -> bool {
    // Acquire, both: pairs with the release in `close`, so what the closer sent is seen.
    match segment.settings().producer_side {
        Sharing::Shared => {
            segment.lane().counters().producer_head.load(Ordering::Acquire) & CLOSED != 0
        }
        Sharing::Exclusive => {
            let state = segment.control().bell(Side::Consumer).state.load(Ordering::Acquire);
            state & Bell::CLOSED != 0
        }
    }
}

/// Closes each lane of the ring.
pub(crate) fn close_ring(segment: &Segment) {
    for_each_lane(segment, close);
}

/// Opens each closed lane of the ring again.
pub(crate) fn reopen_ring(segment: &Segment) {
    for_each_lane(segment, reopen);
}

/// Whether each lane of the ring is closed.
pub(crate) fn is_ring_closed(segment: &Segment) -> bool {
    if segment.has_lanes() {
        return segment.all_lanes().all(|lane| is_closed(&lane));
    }
    is_closed(segment)
}

fn for_each_lane(segment: &Segment, work: fn(&Segment)) {
    if segment.has_lanes() {
        segment.all_lanes().for_each(|lane| work(&lane));
    } else {
        work(segment);
    }
}

/// The number of the stream: how often the ring was opened again.
pub(crate) fn stream(segment: &Segment) -> u64 {
    // Acquire: pairs with the release in `reopen`.
    segment.control().streams.load(Ordering::Acquire)
}
