//! A segment of loom's atomics, which are larger than the machine's and cannot be cast from
//! bytes: the same parts, each allocated by itself.

use std::boxed::Box;
use std::ptr::NonNull;
use std::sync::Arc;
use std::vec::Vec;

use super::{Backing, Segment};
use crate::layout::{Control, Counters, Geometry, SideMemory};
use crate::participant::Participant;
use crate::sync::AtomicU64;
use crate::{RingError, TimestampedSlot};

#[derive(Debug)]
pub(super) struct Memory {
    counters: Box<Counters>,
    control: Box<Control>,
    participants: Vec<Participant>,
    slots: Vec<TimestampedSlot>,
    sides: Vec<AtomicU64>,
}

impl Segment {
    pub(crate) fn heap(geometry: Geometry, _: SideMemory) -> Result<Self, RingError> {
        geometry.validate()?;
        // As few as there can be: loom follows each.
        let words = geometry.side_size.div_ceil(8);
        let memory = Arc::new(Memory {
            counters: Box::default(),
            control: Box::default(),
            participants: (0..geometry.participants).map(|_| Participant::new()).collect(),
            slots: (0..geometry.capacity).map(|_| TimestampedSlot::new()).collect(),
            sides: (0..geometry.capacity * words).map(|_| AtomicU64::new(0)).collect(),
        });
        Ok(Self {
            counters: NonNull::from(&*memory.counters),
            control: NonNull::from(&*memory.control),
            participants: NonNull::from(memory.participants.as_slice()).cast(),
            slots: NonNull::from(memory.slots.as_slice()).cast(),
            sides: NonNull::from(memory.sides.as_slice()).cast(),
            side_stride: words * size_of::<AtomicU64>(),
            mask: geometry.capacity as u64 - 1,
            geometry,
            backing: Backing::Modelled(memory),
        })
    }
}
