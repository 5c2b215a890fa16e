//! A tail reader of one lane.

use std::vec::Vec;

use crate::choices::Start;
use crate::clock::rdtsc;
use crate::error::RecvError;
use crate::group::gates;
use crate::layout::bell::Bell;
use crate::layout::counters::CLOSED;
use crate::layout::group::position_of;
use crate::layout::side::Copying;
use crate::layout::slot::SlotState;
use crate::limits::MAX_POSITION;
use crate::message::Received;
use crate::segment::Segment;
use crate::settings::{Sharing, Side};
use crate::sync::{Ordering, fence, look_at};

/// What reads the messages of one lane, and has no place in it.
#[derive(Debug)]
pub(super) struct LaneTail {
    segment: Segment,
    pub(super) position: u64,
    pub(super) missed: u64,
    copying: Copying,
}

impl LaneTail {
    pub(super) fn new(segment: Segment, start: Start) -> Self {
        let copying = Copying::of_this_machine();
        let mut this = Self { segment, position: 0, missed: 0, copying };
        this.position = match start {
            Start::Latest | Start::Resume => gates::latest(&this.segment),
            Start::Oldest => gates::oldest(&this.segment),
            Start::Position(position) => position.min(MAX_POSITION),
        };
        this
    }

    /// Whether the lane is one that a producer owns, and none ever has.
    pub(super) fn is_unused(&self) -> bool {
        let arrivals = &self.segment.control().arrivals[Side::Producer as usize];
        self.segment.has_lanes() && look_at(arrivals) == 0
    }

    /// See [`TailReader::try_next`](super::TailReader::try_next).
    pub(super) fn try_next(&mut self, buffer: &mut Vec<u8>) -> Result<Received, RecvError> {
        // No more are abandoned in a row than there are slots, whatever a peer writes.
        for _ in 0..=self.segment.lane().capacity() {
            let slot = self.segment.slot(self.position);
            match slot.look_at(self.position) {
                SlotState::NotYet => return Err(self.nothing_there()),
                SlotState::Abandoned => self.position += 1,
                SlotState::Later => return Err(self.jump()),
                SlotState::Committed => {
                    let Some(about) = self.copy(buffer)? else { return Err(self.jump()) };
                    self.position += 1;
                    return Ok(about);
                }
            }
        }
        Err(RecvError::Empty)
    }

    /// See [`TailReader::latest`](super::TailReader::latest).
    pub(super) fn latest(&mut self, buffer: &mut Vec<u8>) -> Result<Received, RecvError> {
        // Both from one look at the window: a peer that rewrites it makes the range no longer.
        let end = gates::latest(&self.segment);
        let first = self.position.max(end.saturating_sub(self.segment.lane().capacity()));
        let is_message =
            |&position: &u64| self.segment.slot(position).look_at(position) == SlotState::Committed;
        self.position = (first..end).rev().find(is_message).unwrap_or(self.position);
        self.try_next(buffer)
    }

    /// Copies the message at the reader's position, which was committed. `None` if it was being
    /// overwritten.
    fn copy(&self, buffer: &mut Vec<u8>) -> Result<Option<Received>, RecvError> {
        let (lane, position) = (self.segment.lane(), self.position);
        let (meta, timestamp, payload) = lane.slot(position).read();
        buffer.clear();
        let size = if meta.is_large() {
            // Before the size is believed.
            if !self.is_whole() {
                return Ok(None);
            }
            let size = payload.large_size(self.segment.settings().side_size());
            buffer.try_reserve(size).map_err(|_| RecvError::OutOfMemory { bytes: size })?;
            if !lane.back(position, size) {
                let damaged = self.segment.is_damaged();
                let no_memory = RecvError::OutOfMemory { bytes: size };
                return Err(if damaged { RecvError::Damaged } else { no_memory });
            }
            lane.side(position).read(self.copying, 0, &mut buffer.spare_capacity_mut()[..size]);
            // SAFETY: `read` has filled as many.
            unsafe { buffer.set_len(size) };
            size
        } else {
            buffer.extend_from_slice(&payload.as_bytes()[..meta.size()]);
            meta.size()
        };
        if !self.is_whole() {
            return Ok(None);
        }
        let latency = if timestamp == 0 { 0 } else { rdtsc().saturating_sub(timestamp) };
        let (class, redelivered) = (meta.class(), false);
        Ok(Some(Received { size, class, latency, redelivered, timestamp, position }))
    }

    /// Whether what was read at the reader's position was of it: the look after a copy.
    fn is_whole(&self) -> bool {
        // Acquire: pairs with the fence of a producer between the window that it raises, or goes
        // by, and its writes: if anything of what was read is of the next lap, this look sees a
        // window beyond it.
        fence(Ordering::Acquire);
        let window = &self.segment.lane().counters().window;
        let window = position_of(window.load(Ordering::Relaxed));
        window <= self.position.saturating_add(self.segment.lane().capacity())
    }

    /// Goes on half a capacity ahead of what is overwritten next, and says how many that passes
    /// over.
    fn jump(&mut self) -> RecvError {
        let half = self.segment.lane().capacity() / 2;
        let to = (gates::oldest(&self.segment) + half).max(self.position + 1);
        let missed = to - self.position;
        self.position = to;
        self.missed += missed;
        RecvError::Overrun { missed }
    }

    /// Why there is no message.
    fn nothing_there(&self) -> RecvError {
        let counters = self.segment.lane().counters();
        let drained = match self.segment.settings().producer_side {
            // In one word: what was claimed before the ring was closed.
            Sharing::Shared => {
                let head = look_at(&counters.producer_head);
                head & CLOSED != 0 && head & !CLOSED <= self.position
            }
            Sharing::Exclusive => {
                let state =
                    self.segment.control().bell(Side::Consumer).state.load(Ordering::Relaxed);
                // Pairs with the release of who closed it: what was sent before is seen.
                fence(Ordering::Acquire);
                let slot = self.segment.slot(self.position);
                state & Bell::CLOSED != 0 && slot.look_at(self.position) == SlotState::NotYet
            }
        };
        match (self.segment.is_damaged(), drained) {
            (true, _) => RecvError::Damaged,
            (false, true) => RecvError::Closed,
            (false, false) => RecvError::Empty,
        }
    }
}
