//! What a producer does when its known credit is spent, the cheapest for others first: look at what
//! is granted, pause for a grant, look at what is released, and at last look for dead participants.

use super::Producer;
use crate::clock::rdtsc;
use crate::closing;
use crate::error::SendError;
use crate::lane::view::OwnLane;
use crate::layout::participant::Event;
use crate::mode::OwnMode;
use crate::priority::PriorityClass;
use crate::recover::adopt;
use crate::recover::frontier;
use crate::settings::Sharing;
use crate::sync::{Ordering, raise};

/// How often a producer without credit pauses for the next grant before it looks at what consumers
/// have released: 1,100 to 3,400 ticks, depending on the processor. In a stream a grant comes by
/// then, for several messages at once. A look bounces the line that the consumer writes with each
/// message, and finds one or two messages. With looks only, a stream takes twice as long, and one
/// with a slow shared consumer twenty times as long.
pub(super) const GRANT_PAUSES: u32 = 48;

impl<S: OwnMode> Producer<S> {
    /// Looks how far consumers have come, when the known credit is spent.
    #[cold]
    #[inline(never)]
    pub(super) fn refill(&mut self, class: PriorityClass, count: u64) -> Result<(), SendError> {
        // Before its intent is cleared below. Afterwards nobody would know whose position it is,
        // and only this handle can give it up while it is alive.
        self.cancel_forgotten();
        self.refused_class = class;
        let found = self.find_credit(class, count);
        if let Err(error) = found {
            if !self.patience.is_stalled() {
                self.begin_stall(error);
            }
            // An intent left behind by a living handle would block recovery of that position.
            S::withdraw(OwnLane::of(&self.entry));
            if self.pace.pending(self.writer.count()) != 0 {
                self.announce(0);
            }
        } else {
            self.note_credit();
        }
        found
    }

    /// Notes that a stall begins, if the error says so.
    #[cold]
    #[inline(never)]
    fn begin_stall(&mut self, error: SendError) {
        // A class that has a lane of its own is refused here for that reason alone.
        if error.is_full() && self.serves(self.refused_class) {
            self.entry.participant().count_stall();
            self.note_depth();
            self.patience.begin_stall(rdtsc());
        }
    }

    /// Notes how many messages are in flight, and that a stall ends, if there was one.
    fn note_credit(&mut self) {
        self.note_depth();
        if self.patience.is_stalled() {
            self.entry.participant().add_stalled(self.patience.end_stall(rdtsc()));
        }
    }

    fn note_depth(&self) {
        self.entry.participant().note_in_flight(self.credits().in_flight());
    }

    /// Finds credit for `count` messages of `class`, or returns why there is none.
    fn find_credit(&mut self, class: PriorityClass, count: u64) -> Result<(), SendError> {
        let lane = OwnLane::of(&self.entry);
        // Acquire: pairs with the release of the grant: the reads of the released slots come
        // before our writes into them.
        let frontier = lane.cursor().consumer_tail.load(Ordering::Acquire);
        // After the frontier, so that the frontier is not beyond it.
        if !self.writer.follow(lane) {
            // No ring can have this head, and nothing can be claimed meanwhile.
            self.writer.suspend();
            let damaged = lane.segment().is_damaged();
            return Err(if damaged { SendError::Damaged } else { self.no_credit() });
        }
        if closing::is_closed(lane.segment()) {
            self.writer.suspend();
            return Err(SendError::Closed);
        }
        if lane.segment().is_apart() {
            return self.find_room(class, count);
        }
        self.writer.observe(frontier);
        if self.writer.covers(class, count)
            || self.is_granted_soon(class, count)
            || self.finds_released(class, count)
        {
            return Ok(());
        }
        // Not in a model, which must not depend on the clock.
        if self.patience.ends(frontier, rdtsc()) && !cfg!(loom) {
            if self.entry.segment().is_damaged() {
                return Err(SendError::Damaged);
            }
            self.help();
            if self.writer.covers(class, count) {
                return Ok(());
            }
        }
        Err(self.no_credit())
    }

    /// Pauses for a grant that may be under way. Returns whether it came and was enough.
    fn is_granted_soon(&mut self, class: PriorityClass, count: u64) -> bool {
        // In the model no time passes, and a pause only lets the others run.
        if cfg!(loom) || !self.patience.pauses() {
            return false;
        }
        let granted = (0..GRANT_PAUSES).any(|_| {
            core::hint::spin_loop();
            self.writer.look(OwnLane::of(&self.entry));
            self.writer.covers(class, count)
        });
        self.patience.note_pause(granted);
        granted
    }

    /// Looks for what consumers have released and not granted yet, before a call is refused.
    /// Returns whether that is enough.
    fn finds_released(&mut self, class: PriorityClass, count: u64) -> bool {
        let lane = OwnLane::of(&self.entry);
        let cursor = lane.cursor();
        let released = if lane.settings().consumer_side == Sharing::Shared {
            frontier::raise_release_frontier(lane.segment());
            &cursor.consumer_tail
        } else {
            // An exclusive consumer stores it when its reads are done: all below it is free,
            // announced or not. Nothing needs to be told to the others, who look here themselves.
            &cursor.consumer_head
        };
        // Acquire: pairs with the release of the grant, or of the head: as in `finds_credit`.
        let released = released.load(Ordering::Acquire);
        // Others have gone on since: again after the frontier.
        if !self.writer.follow(lane) {
            return false;
        }
        self.writer.observe(released);
        self.writer.covers(class, count)
    }

    /// Takes the credit that consumers have released and not granted, because they died or make no
    /// calls.
    pub(super) fn help(&mut self) {
        let lane = OwnLane::of(&self.entry);
        if lane.segment().is_joinable() {
            return self.help_whoever_is_in_the_way();
        }
        if lane.settings().consumer_side == Sharing::Shared {
            let (locker, index) = (self.entry.locker(), self.entry.index());
            let discarded = adopt::settle_consumers(lane.segment().all_readers(), locker, index);
            self.entry.participant().count(Event::Discarded, discarded);
        } else {
            let cursor = lane.cursor();
            // Acquire: pairs with the release of the head, which an exclusive consumer stores when
            // its reads are done: all below it is free, announced or not.
            let released = cursor.consumer_head.load(Ordering::Acquire);
            // Only if it is more than is granted: without need, a store would take the line away
            // from everybody who reads it.
            if released > self.credits().granted() && released <= self.writer.position() {
                // Release: the consumer's reads come before the writes of whoever acquires it. It
                // does not go back by the consumer's own store: that of an older head came before
                // the one that was read here.
                raise(&cursor.consumer_tail, released, Ordering::AcqRel);
            }
        }
        self.writer.look(lane);
    }

    /// Why there is none.
    pub(super) fn no_credit(&self) -> SendError {
        let full = self.credits().in_flight() >= self.capacity() as u64;
        if full { SendError::Full } else { SendError::OutOfCredit }
    }
}
