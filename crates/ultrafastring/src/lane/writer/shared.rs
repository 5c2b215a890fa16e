//! One of any number of writers of a lane: each shows what it is about to claim, then claims it
//! from the head that all of them share.
//!
//! The claims tell others enough. Announcing the frontier takes a look at all entries, so it is
//! done only now and then. The mark of a closed ring is in the head, so each later claim fails. All
//! sleepers are woken at once, so none waits for another to pass a wake-up on.

use super::{State, Writer, WriterMode};
use crate::credit::CreditController;
use crate::group::gates;
use crate::lane::view::OwnLane;
use crate::layout::participant::Event;
use crate::layout::span::Span;
use crate::mode::Shared;
use crate::prefetch::prefetch_write;
use crate::settings::Side;
use crate::sync::{AtomicU64, Ordering, raise};
use crate::waiting::bell;

/// How many slots ahead lines are prefetched for writing. The compare-and-swap of a claim waits
/// until earlier stores are done, also those into the last slots. That takes as long as their lines
/// travel, unless they were prefetched in time. Measured, three make a stream between far cores a
/// quarter faster than one does; between near cores both are equally fast.
const WRITE_AHEAD: u64 = 3;

impl WriterMode for Shared {
    const TIME_BEFORE_CLAIM: bool = true;

    fn start(lane: OwnLane<'_>) -> u64 {
        lane.counters().producers_claimed(Ordering::Relaxed)
    }

    #[inline]
    fn follow(credits: &mut CreditController, lane: OwnLane<'_>) -> bool {
        super::follow(credits, lane.counters().producers_claimed(Ordering::Relaxed))
    }

    fn commit_frontier(lane: OwnLane<'_>) -> Option<u64> {
        Some(gates::commit_frontier(lane.segment(), lane.entry().index()))
    }

    fn raise_window(window: &AtomicU64, to: u64) -> u64 {
        // AcqRel: who goes on with a window that another has raised comes after it, and so do the
        // writes; release as on an exclusive side.
        raise(window, to, Ordering::AcqRel).max(to)
    }

    #[inline(always)]
    fn claim(position: u64, count: u64, lane: OwnLane<'_>) -> bool {
        let span = Span::new(position, count);
        prefetch_write(lane.slot(position + WRITE_AHEAD));
        lane.show_intent(span);
        // Release: makes the intent visible to whoever sees the head beyond it (`recover`).
        // That the slots are free was learnt from `consumer_tail`, not from here.
        let (success, failure) = (Ordering::Release, Ordering::Relaxed);
        let head = &lane.counters().producer_head;
        head.compare_exchange(position, span.end(), success, failure).is_ok()
    }

    #[inline(always)]
    fn note_commit(state: &mut State) {
        state.committed += 1;
    }

    #[inline(always)]
    fn count(writer: &Writer<Self>) -> u64 {
        writer.state.committed
    }

    /// Others may have claimed the positions behind it, so it stays taken and consumers skip it.
    fn abandon(credits: &mut CreditController, position: u64, lane: OwnLane<'_>) {
        let slot = lane.slot(position);
        slot.abandon(slot.sequence(), position);
        lane.participant().count(Event::GivenUp, 1);
        credits.advance_to(position + 1);
        // Consumers can pass it now, and get what others committed behind it.
        bell::wake_all(lane.segment(), Side::Consumer);
        if bell::waits_for_commits(lane.segment()) {
            bell::wake_all(lane.segment(), Side::Producer);
        }
    }

    #[inline(always)]
    fn withdraw(lane: OwnLane<'_>) {
        lane.clear_intent();
    }

    /// Announces the commit frontier: the least of the head, read first, and all positions that
    /// producers may not have committed yet.
    fn announce_all(lane: OwnLane<'_>) {
        // What it shows is committed by now, and would hold up the frontier.
        lane.clear_intent();
        // Acquire: pairs with the release of the claim: the intents of all who claimed below the
        // head are seen.
        let head = lane.counters().producers_claimed(Ordering::Acquire);
        let segment = lane.segment();
        let frontier = (0..segment.entries_used())
            .filter_map(|index| segment.participant(index).shown_intent())
            .map(|span| span.first)
            .fold(head, u64::min);
        // Release: whoever reads it sees the slots below as committed.
        raise(&lane.counters().producer_tail, frontier, Ordering::Release);
    }

    #[inline(always)]
    fn reserved(state: &mut State) -> Option<&mut Option<u64>> {
        Some(&mut state.reserved)
    }
}
