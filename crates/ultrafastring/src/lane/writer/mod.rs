//! The sending end of a lane: one position, one bound, and the slots that are written.
//!
//! ```text
//!  exclusive   within the bound? ────────────────────────────────────────────── write, commit
//!  shared      within the bound? ── show intent ── compare-and-swap the head ── write, commit
//! ```
//!
//! A [`Writer`] knows nothing about waiting, statistics and dead participants. It is given its
//! [`Lane`] with each call. Each mode has a file with what differs, through [`WriterMode`].

mod exclusive;
mod shared;
mod sides;
pub(crate) mod window;

use core::marker::PhantomData;

use super::race;
use crate::coalesce::CoalesceMode;
use crate::credit::CreditController;
use crate::error::{RingError, SendError};
use crate::lane::view::OwnLane;
use crate::layout::side::{Copying, SideBuffer};
use crate::layout::slot::{Meta, Payload, Stores};
use crate::limits::MAX_POSITION;
use crate::priority::PriorityClass;
use crate::processor;
use crate::sync::{AtomicU64, Ordering};
use sides::Sides;

/// What differs between the writer of an exclusive side and one of a shared side. What a mode does
/// not define does nothing.
pub trait WriterMode: Sized {
    /// Whether the time is better read before the claim. A claim that waits for all earlier stores
    /// delays what follows, and reading the time behind it costs twice as much.
    const TIME_BEFORE_CLAIM: bool;

    /// Where a new writer goes on, according to the lane. Beyond [`MAX_POSITION`] it is not
    /// believed.
    fn start(lane: OwnLane<'_>) -> u64;

    /// The side buffers of a new writer that goes on at `start`.
    fn sides(_lane: OwnLane<'_>, _start: u64) -> Result<Sides, RingError> {
        Ok(Sides::default())
    }

    /// A number that grows by one with each commit, and with nothing else.
    fn count(writer: &Writer<Self>) -> u64;

    /// Finds out where the writer is, if that depends on others too; `false` if it is not believed.
    #[inline(always)]
    fn follow(_credits: &mut CreditController, _lane: OwnLane<'_>) -> bool {
        true
    }

    /// The first position that another producer may have claimed and not committed, in a ring for
    /// groups; `None` if there is no other.
    fn commit_frontier(_lane: OwnLane<'_>) -> Option<u64> {
        None
    }

    /// Raises the write window to `to`, if it is less, and says where it is then.
    fn raise_window(window: &AtomicU64, to: u64) -> u64;

    /// Takes `count` positions from the writer's own on; `false` if somebody else took them.
    #[inline(always)]
    fn claim(_position: u64, _count: u64, _lane: OwnLane<'_>) -> bool {
        true
    }

    /// Prefetches a line for writing, some slots ahead of `position`, which is committed next.
    #[inline(always)]
    fn prepare(_writer: &Writer<Self>, _position: u64, _class: PriorityClass, _lane: OwnLane<'_>) {}

    /// Counts a commit.
    #[inline(always)]
    fn note_commit(_state: &mut State) {}

    /// Gives up a claimed position.
    #[inline(always)]
    fn abandon(_credits: &mut CreditController, _position: u64, _lane: OwnLane<'_>) {}

    /// Shows that nothing is claimed.
    #[inline(always)]
    fn withdraw(_lane: OwnLane<'_>) {}

    /// Tells others how far the writer has come, now and then; `mode` says how fast messages come.
    #[inline(always)]
    fn announce(_writer: &mut Writer<Self>, _mode: CoalesceMode, _lane: OwnLane<'_>) {}

    /// Announces what `announce` left out, with nothing claimed that is not committed.
    #[inline(always)]
    fn announce_all(_lane: OwnLane<'_>) {}

    /// Where the position of an open or forgotten reservation is kept.
    #[inline(always)]
    fn reserved(_state: &mut State) -> Option<&mut Option<u64>> {
        None
    }

    /// Takes all credit away if the ring was closed, in a mode whose claims do not fail because of
    /// that.
    #[inline(always)]
    fn note_closing(_credits: &mut CreditController, _lane: OwnLane<'_>) {}

    /// Clears the mark of a producer that no longer sleeps.
    #[cfg(any(feature = "std", loom))]
    #[inline(always)]
    fn disarm_writer(_lane: OwnLane<'_>) {}
}

/// What a writer keeps besides its position, its bound and how it copies. It is one type for all
/// modes, so that writers of all modes have the same layout.
#[derive(Debug)]
pub struct State {
    /// Whether this processor gains by prefetching lines for writing when messages come fast.
    gains_by_writing_ahead: bool,
    /// Whether they come fast now. For an exclusive side.
    writes_ahead: bool,
    /// Messages that it has committed. For a shared side, where its position does not say that.
    committed: u64,
    /// Position of a reservation that may have been forgotten, of a shared side.
    reserved: Option<u64>,
}

/// The sending end of one lane.
///
/// In C's layout: the same whatever `S` is, which no field depends on. A handle of
/// [`AnyMode`](crate::AnyMode) is used as one of its own mode.
#[derive(Debug)]
#[repr(C)]
pub struct Writer<S> {
    /// Its `consumed` is the next position: an exclusive side's own, a shared side's as last seen.
    credits: CreditController,
    state: State,
    stores: Stores,
    /// How bytes get into side buffers.
    copying: Copying,
    sides: Sides,
    mode: PhantomData<S>,
}

impl<S> Writer<S> {
    pub(crate) fn credits(&self) -> &CreditController {
        &self.credits
    }

    // ---- side buffers ----------------------------------------------------------------------

    /// Takes a side buffer, and memory in it, for a message of `size` bytes at `position`, which is
    /// claimed; `false` if there is no memory. A buffer that was taken and whose message was not
    /// committed is taken again.
    #[inline]
    pub(crate) fn take_side(&mut self, position: u64, size: usize, lane: OwnLane<'_>) -> bool {
        let granted = self.credits.granted();
        let taken = self.sides.take(position, size, granted, lane);
        taken.is_some_and(|buffer| lane.back_to_write(buffer, size))
    }

    /// As [`take_side`](Self::take_side), after that found no memory, where slots name their
    /// buffers: uses that of buffers whose messages are released.
    pub(crate) fn take_side_again(&mut self, size: usize, lane: OwnLane<'_>) -> bool {
        let granted = self.credits.granted();
        if self.sides.exchange(size, granted, lane) {
            return true;
        }
        self.sides.give_back(granted, lane);
        let found = lane.back_to_write(self.sides.name(), size);
        if !found {
            // What it got, and is not enough.
            lane.give_back(self.sides.name(), 1);
        }
        found
    }

    /// The side buffer that was taken for a claimed position.
    #[inline]
    pub(crate) fn side<'a>(&self, position: u64, lane: OwnLane<'a>) -> SideBuffer<'a> {
        lane.side(self.sides.buffer(position))
    }

    /// Writes `data` into the side buffer of a claimed position, from byte `offset` on.
    #[inline]
    pub(crate) fn write(&self, position: u64, offset: usize, data: &[u8], lane: OwnLane<'_>) {
        self.side(position, lane).write(self.copying, offset, data);
    }

    /// Gives credit to messages of `class` alone.
    #[cfg(feature = "alloc")]
    pub(crate) fn serve_only(&mut self, class: PriorityClass) {
        self.credits.serve_only(class);
    }

    /// Takes all credit away until the bound is next computed.
    pub(crate) fn suspend(&mut self) {
        self.credits.suspend();
    }
}

impl<S: WriterMode> Writer<S> {
    /// A writer that goes on where the lane is.
    ///
    /// # Errors
    ///
    /// [`RingError::OutOfMemory`].
    pub(crate) fn begin(lane: OwnLane<'_>) -> Result<Self, RingError> {
        let settings = lane.settings();
        // Acquire: pairs with the release of whoever announced it: the slots below are free.
        let granted = lane.cursor().consumer_tail.load(Ordering::Acquire);
        let position = S::start(lane).min(MAX_POSITION);
        let mut credits = CreditController::new(settings.credit_limit)
            .with_reserves(settings.reserves)
            // A frontier beyond the position is a peer's garbage, and would give endless credit.
            .resume(position, granted.min(position));
        if lane.segment().is_joinable() {
            // Nothing is known of the groups yet.
            credits.suspend();
        }
        Ok(Self {
            credits,
            state: State {
                gains_by_writing_ahead: processor::gains_by_writing_ahead(),
                writes_ahead: false,
                committed: 0,
                reserved: None,
            },
            stores: Stores::of_this_machine(),
            copying: Copying::of_this_machine(),
            sides: S::sides(lane, position)?,
            mode: PhantomData,
        })
    }

    /// The next position, as last seen.
    #[inline(always)]
    pub(crate) fn position(&self) -> u64 {
        self.credits.consumed()
    }

    /// A number that grows by one with each commit, and with nothing else.
    #[inline(always)]
    pub(crate) fn count(&self) -> u64 {
        S::count(self)
    }

    /// How many messages of `class` may be sent before the bound is computed again.
    #[inline(always)]
    pub(crate) fn available(&self, class: PriorityClass) -> u64 {
        self.credits.available_as(class)
    }

    /// Whether `count` messages of `class` are within the bound.
    #[inline(always)]
    pub(crate) fn covers(&self, class: PriorityClass, count: u64) -> bool {
        self.available(class) >= count
    }

    // ---- the bound: made of what others wrote, here and nowhere else ----------------------

    /// Finds out where the writer is, which on a shared side depends on others too; `false` if that
    /// is not believed.
    #[inline]
    pub(crate) fn follow(&mut self, lane: OwnLane<'_>) -> bool {
        S::follow(&mut self.credits, lane)
    }

    /// Computes the bound again. All slots below `released` are free, which was loaded from the
    /// lane with Acquire.
    #[inline]
    pub(crate) fn observe(&mut self, released: u64) {
        self.credits.observe(released);
    }

    /// Computes the bound again from what consumers have granted by now.
    pub(crate) fn look(&mut self, lane: OwnLane<'_>) {
        // Acquire: pairs with the release of the grant: the reads of the released slots come before
        // our writes into them.
        self.observe(lane.cursor().consumer_tail.load(Ordering::Acquire));
    }

    // ---- claim, commit, abandon ------------------------------------------------------------

    /// Claims `count` positions (1 to 64), all within the bound, and returns the first; `None` if
    /// another writer took them.
    #[inline(always)]
    pub(crate) fn claim(&self, count: u64, lane: OwnLane<'_>) -> Option<u64> {
        let position = self.position();
        S::claim(position, count, lane).then_some(position)
    }

    /// Another writer took the position; this is the lost race number `lost` of this call. The next
    /// try is for where the head is a moment later.
    #[cold]
    #[inline(never)]
    pub(crate) fn lose_race(&mut self, lost: u32, lane: OwnLane<'_>) -> Result<(), SendError> {
        // Before the pause: announcements stop at an intent.
        S::withdraw(lane);
        if lost == race::MOST_LOST {
            return Err(SendError::Full);
        }
        let head = race::back_off(lost, &lane.counters().producer_head);
        // A closed ring's head is not believed either.
        if !follow(&mut self.credits, head) {
            // No credit until the bound is computed again, which finds out the reason.
            self.credits.suspend();
        }
        Ok(())
    }

    /// Asks for a line to write, some slots ahead of `position`, which is committed next, where
    /// that gains.
    #[inline(always)]
    pub(crate) fn prepare(&self, position: u64, class: PriorityClass, lane: OwnLane<'_>) {
        S::prepare(self, position, class, lane);
    }

    /// Writes the slot of a claimed position and makes its message visible. What is in its side
    /// buffer was written before.
    #[inline(always)]
    pub(crate) fn commit(
        &mut self,
        position: u64,
        meta: Meta,
        timestamp: u64,
        payload: impl FnOnce() -> Payload,
        lane: OwnLane<'_>,
    ) {
        // First, so that no value has to be kept meanwhile.
        let slot = lane.slot(position);
        let payload = payload();
        slot.commit_by(self.stores, position, meta, timestamp, payload);
        self.credits.advance_to(position + 1);
        S::note_commit(&mut self.state);
    }

    /// As [`commit`](Self::commit), in one way, which leaves registers free; `false` if this
    /// machine does not have it, and then nothing was done.
    #[inline(always)]
    pub(crate) fn commit_at_once(
        &mut self,
        position: u64,
        meta: Meta,
        timestamp: u64,
        payload: Payload,
        lane: OwnLane<'_>,
    ) -> bool {
        if !lane.slot(position).commit_at_once(self.stores, position, meta, timestamp, payload) {
            return false;
        }
        self.credits.advance_to(position + 1);
        S::note_commit(&mut self.state);
        true
    }

    /// As [`commit`](Self::commit), of a message of `size` bytes in the side buffer that was taken.
    #[inline]
    pub(crate) fn commit_large(
        &mut self,
        position: u64,
        meta: Meta,
        timestamp: u64,
        size: usize,
        lane: OwnLane<'_>,
    ) {
        let name = self.sides.name();
        self.commit(position, meta, timestamp, || Payload::of_large(size, name), lane);
        self.sides.note_commit(position);
    }

    /// Gives up a claimed position.
    #[inline]
    pub(crate) fn abandon(&mut self, position: u64, lane: OwnLane<'_>) {
        S::abandon(&mut self.credits, position, lane);
    }

    // ---- reservations, announcements, closing ----------------------------------------------

    /// The position of a reservation that is open, or was forgotten and stays taken until it is
    /// given up.
    #[inline(always)]
    pub(crate) fn reserved(&mut self) -> Option<u64> {
        S::reserved(&mut self.state).and_then(|reserved| *reserved)
    }

    /// Notes a reservation, or its end.
    #[inline(always)]
    pub(crate) fn set_reserved(&mut self, position: Option<u64>) {
        if let Some(reserved) = S::reserved(&mut self.state) {
            *reserved = position;
        }
    }

    /// Tells others how far the writer has come, now and then; `mode` says how fast messages come.
    #[inline]
    pub(crate) fn announce(&mut self, mode: CoalesceMode, lane: OwnLane<'_>) {
        S::announce(self, mode, lane);
    }

    /// Takes all credit away if the ring was closed, in a mode whose claims do not fail because of
    /// that.
    pub(crate) fn note_closing(&mut self, lane: OwnLane<'_>) {
        S::note_closing(&mut self.credits, lane);
    }
}

/// Goes on at `head`, where a shared side says it is; `false` if that is not believed. A head that
/// was set back below what was released would give endless credit. One beyond [`MAX_POSITION`]
/// would make an impossible frontier look released.
#[inline]
fn follow(credits: &mut CreditController, head: u64) -> bool {
    let believed = (credits.granted()..=MAX_POSITION).contains(&head);
    if believed {
        credits.advance_to(head);
    }
    believed
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_no_producer_can_have_reached_is_not_followed() {
        let mut credits = CreditController::new(4).resume(6, 5);
        assert!(!follow(&mut credits, 4));
        assert!(!follow(&mut credits, MAX_POSITION + 1));
        assert_eq!(credits.consumed(), 6);
        assert!(follow(&mut credits, 5));
        assert!(follow(&mut credits, 8));
        assert_eq!(credits.available_as(PriorityClass::Normal), 1);
    }
}
