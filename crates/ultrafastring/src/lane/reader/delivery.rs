//! A message on its way to the program.

use crate::clock::rdtsc;
use crate::lane::view::OwnLane;
use crate::layout::slot::{Meta, Payload};

/// A message on its way to the program. Its class is that of the run that it has joined.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) size: usize,
    /// Its meta word, if its bytes are in the side buffer.
    pub(crate) large: Option<Meta>,
    pub(crate) timestamp: u64,
    /// When it was seen, in ticks (0 if it carries no timestamp), if that was read already.
    pub(crate) seen: Option<u64>,
    pub(crate) payload: Payload,
    pub(crate) position: u64,
    pub(crate) redelivered: bool,
}

impl Delivery {
    /// The side buffer of its bytes, as its slot says.
    #[inline]
    pub(super) fn buffer(&self, lane: OwnLane<'_>) -> u64 {
        lane.buffer_of(self.position, &self.payload)
    }
}

/// Now, in ticks, or 0 for a message that carries no `timestamp`.
#[inline(always)]
pub(super) fn time_for(timestamp: u64) -> u64 {
    if timestamp != 0 { rdtsc() } else { 0 }
}
