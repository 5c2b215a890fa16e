//! The only writer of its lane. It alone knows its position, and shows no claim. So a claim cannot
//! fail, and the next message takes the position of an abandoned one.

#[cfg(feature = "alloc")]
use super::sides::Sides;
use super::{Writer, WriterMode};
use crate::closing;
use crate::coalesce::CoalesceMode;
use crate::credit::CreditController;
#[cfg(feature = "alloc")]
use crate::error::RingError;
use crate::group::gates;
use crate::lane::view::OwnLane;
use crate::layout::slot::SlotState;
use crate::limits::MAX_POSITION;
use crate::mode::Exclusive;
use crate::prefetch::prefetch_write;
use crate::priority::PriorityClass;
use crate::sync::{AtomicU64, Ordering};
#[cfg(any(feature = "std", loom))]
use crate::waiting::bell;

/// How many slots ahead lines are prefetched for writing, if the processor gains by it and messages
/// come fast. One gives most of the gain; batches of four need six.
const WRITE_AHEAD: u64 = 6;

/// For code that writes the next positions by itself.
#[cfg(not(loom))]
impl Writer<Exclusive> {
    /// The position at which the credit of `class` ends.
    pub(crate) fn bound(&self, class: PriorityClass) -> u64 {
        self.credits.bound(class)
    }

    /// Below it lines are prefetched for writing; 0 if none are.
    pub(crate) fn ahead_bound(&self, class: PriorityClass) -> u64 {
        if self.state.writes_ahead { self.bound(class) } else { 0 }
    }

    /// Whether slots are stored as [`commit_at_once`](Self::commit_at_once) does.
    pub(crate) fn is_stored_in_one_way(&self) -> bool {
        self.stores.in_one_way()
    }

    /// Goes on at `position`: all below it was written.
    pub(crate) fn go_on_at(&mut self, position: u64) {
        self.credits.advance_to(position);
    }
}

impl WriterMode for Exclusive {
    const TIME_BEFORE_CLAIM: bool = false;

    /// The first position that the predecessor did not commit. A slot half-written there is simply
    /// written again.
    fn start(lane: OwnLane<'_>) -> u64 {
        if lane.segment().is_joinable() {
            // Where nobody waits no counter says it, but the window: `producer_tail` may be laps
            // behind.
            return gates::latest(lane.segment());
        }
        // Acquire: everything below either is committed, and so are the slots looked at next.
        let announced = lane.counters().producer_tail.load(Ordering::Acquire);
        let claimed = lane.cursor().consumer_head.load(Ordering::Acquire);
        let start = announced.max(claimed).min(MAX_POSITION);
        // At most a ring full, whatever the slots say.
        let end = start + lane.settings().capacity as u64;
        (start..end)
            .find(|&position| lane.slot(position).state(position) == SlotState::NotYet)
            .unwrap_or(end)
    }

    #[cfg(feature = "alloc")]
    fn sides(lane: OwnLane<'_>, start: u64) -> Result<Sides, RingError> {
        Sides::begin(lane, start)
    }

    fn raise_window(window: &AtomicU64, to: u64) -> u64 {
        // Relaxed: nobody else writes it, but who had this side before.
        let stands = window.load(Ordering::Relaxed);
        if stands < to {
            // Release: who begins below it finds what was settled there. That the gates are read
            // after it, and the slots written, is the work of the fences in `window.rs`.
            window.store(to, Ordering::Release);
        }
        stands.max(to)
    }

    #[inline(always)]
    fn prepare(writer: &Writer<Self>, position: u64, class: PriorityClass, lane: OwnLane<'_>) {
        let ahead = position + WRITE_AHEAD;
        // Not a slot that a consumer may still have to read.
        if writer.state.writes_ahead && ahead < writer.credits.bound(class) {
            prefetch_write(lane.slot(ahead));
        }
    }

    #[inline(always)]
    fn count(writer: &Writer<Self>) -> u64 {
        writer.position()
    }

    #[inline]
    fn announce(writer: &mut Writer<Self>, mode: CoalesceMode, lane: OwnLane<'_>) {
        let position = writer.position();
        // Release: whoever reads them sees the slots below as committed.
        lane.counters().producer_head.store(position, Ordering::Release);
        lane.counters().producer_tail.store(position, Ordering::Release);
        let state = &mut writer.state;
        state.writes_ahead = state.gains_by_writing_ahead && mode == CoalesceMode::Aggressive;
    }

    /// The next call computes the bound again, and notices it.
    fn note_closing(credits: &mut CreditController, lane: OwnLane<'_>) {
        if closing::is_closed(lane.segment()) {
            credits.suspend();
        }
    }

    #[cfg(any(feature = "std", loom))]
    fn disarm_writer(lane: OwnLane<'_>) {
        bell::disarm(lane.segment(), crate::settings::Side::Producer);
    }
}
