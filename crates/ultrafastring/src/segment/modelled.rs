//! The same parts for loom, each allocated by itself: its atomics are larger than the machine's and
//! cannot be cast from bytes.

use std::boxed::Box;
use std::vec::Vec;

use crate::layout::control::Control;
use crate::layout::counters::{Cursor, LaneCounters};
use crate::layout::group::Row;
use crate::layout::header::Geometry;
use crate::layout::participant::Participant;
use crate::layout::slot::TimestampedSlot;
use crate::sync::AtomicU64;

#[derive(Debug)]
pub(super) struct Memory {
    pub(super) lanes: Vec<Lane>,
    pub(super) control: Vec<Control>,
    pub(super) groups: Vec<Row>,
}

/// What each lane has.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) counters: Box<LaneCounters>,
    pub(super) cursors: Vec<Cursor>,
    pub(super) participants: Vec<Participant>,
    pub(super) slots: Vec<TimestampedSlot>,
    pub(super) sides: Vec<AtomicU64>,
    pub(super) side_stride: usize,
}

impl Memory {
    /// As few as possible, since loom follows each.
    pub(super) fn new(geometry: &Geometry) -> Self {
        let lane = |lane: usize| {
            let settings = geometry.settings.of_lane(lane);
            let (capacity, words) = (settings.capacity, settings.side_size().div_ceil(8));
            Lane {
                counters: Box::default(),
                cursors: zeros(geometry.group_rows()),
                participants: zeros(settings.participants),
                slots: zeros(capacity),
                sides: zeros(capacity * words),
                side_stride: words * size_of::<AtomicU64>(),
            }
        };
        Self {
            lanes: (0..geometry.lanes()).map(lane).collect(),
            control: zeros(geometry.lanes()),
            // A plain ring's row, which nobody reads, is left out.
            groups: zeros(geometry.settings.groups),
        }
    }
}

fn zeros<T: Default>(count: usize) -> Vec<T> {
    (0..count).map(|_| T::default()).collect()
}
