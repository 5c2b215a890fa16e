//! What a producer does if there is no memory for a large message: it gives back the memory that
//! consumed messages occupy, of buffers that it owns (`segment/side_memory.rs` says why that
//! is sound).
//!
//! ```text
//!  exclusive   all free buffers are its own: use one that has memory, or give back that of all
//!  shared      abandon the slot ── claim up to the next slot whose buffer has memory ── is it
//!              enough for that one? send there, and abandon the others; else give it back, go on
//! ```
//!
//! So a ring that is empty never refuses a message because of what was in it. On a shared side
//! consumers pass over the slots that were abandoned; until they have, these take credit. They are
//! not claimed if nothing can be gained.

use super::Producer;
use super::batch::Claimed;
use crate::error::SendError;
use crate::lane::view::OwnLane;
use crate::layout::slot::SlotState;
use crate::layout::span::MAX_SPAN;
use crate::mode::OwnMode;
use crate::priority::PriorityClass;

impl<S: OwnMode> Producer<S> {
    /// As [`claim_large`](Self::claim_large), after `position` was claimed and there is no memory
    /// for `size` bytes.
    #[cold]
    #[inline(never)]
    pub(super) fn claim_where_memory_is(
        &mut self,
        position: u64,
        size: usize,
        class: PriorityClass,
    ) -> Result<u64, SendError> {
        let segment = self.entry.segment();
        let mut in_flight = false;
        // Of a ring for groups consumed messages are still read, by tail readers.
        if !segment.is_damaged() && !segment.is_joinable() {
            if !segment.lane().names_buffers() {
                return self.claim_and_give_back(position, size, class);
            }
            self.look_at_released(class);
            in_flight = position > self.credits().granted();
            if self.writer.take_side_again(size, OwnLane::of(&self.entry)) {
                return Ok(position);
            }
        }
        self.abandon(position);
        Err(self.refused_memory(in_flight))
    }

    /// Why there is no memory for a message. Notes whether messages that are in flight have some.
    fn refused_memory(&mut self, in_flight: bool) -> SendError {
        self.short_of_memory = if in_flight { self.credits().consumed() } else { u64::MAX };
        self.no_memory()
    }

    /// Claims slots up to one whose buffer has memory, gives back that of the others and abandons
    /// them, until there is enough for one.
    fn claim_and_give_back(
        &mut self,
        position: u64,
        size: usize,
        class: PriorityClass,
    ) -> Result<u64, SendError> {
        // What it got of the memory, and is not enough.
        OwnLane::of(&self.entry).give_back(position, 1);
        self.abandon(position);
        // Each slot at most once, however many others claim and release meanwhile.
        let (mut left, mut more) = (self.capacity() as u64, 1);
        let mut in_flight = false;
        let first_abandoned = position;
        while left != 0 {
            let free = self.free_slots(class);
            let next = self.writer.position();
            let lane = self.entry.segment().lane();
            let Some(distance) = lane.first_with_memory(next, free) else {
                // What was abandoned has none.
                in_flight = self.is_message_before(first_abandoned);
                break;
            };
            let wanted = (distance + more).min(MAX_SPAN).min(left);
            let (first, count) = self.claim_up_to(class, wanted)?;
            left -= count;
            let last = first + count - 1;
            let mut claimed = Claimed { producer: self, next: first, end: last + 1 };
            let lane = OwnLane::of(&claimed.producer.entry);
            lane.give_back(first, count - 1);
            if lane.back_to_write(last, size) {
                claimed.end = last;
                return Ok(last);
            }
            lane.give_back(last, 1);
            if count > distance {
                // Fewer looks, where each slot has little.
                more *= 2;
            }
        }
        Err(self.refused_memory(in_flight))
    }

    /// Whether there is a message before `end` that is not released, as far as the handle knows,
    /// and not only slots that were abandoned.
    fn is_message_before(&self, end: u64) -> bool {
        let segment = self.entry.segment();
        (self.credits().granted()..end)
            .any(|at| segment.slot(at).look_at(at) != SlotState::Abandoned)
    }

    /// How many slots are free from the next position on, after a look how far consumers have come.
    fn free_slots(&mut self, class: PriorityClass) -> u64 {
        self.look_at_released(class);
        (self.capacity() as u64).saturating_sub(self.credits().in_flight())
    }

    /// Looks how far consumers have come. Nothing may be claimed that is not abandoned.
    fn look_at_released(&mut self, class: PriorityClass) {
        // There need not be credit for so many: it is the look that is wanted.
        let _ = self.refill(class, self.credits().limit());
    }
}
