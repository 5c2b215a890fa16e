//! What a receive from one of several lanes gives, to be marked if it came late.

use super::Consumer;
use super::borrow_batch::Several;
use crate::lane::view::OwnLane;
use crate::message::{Message, Received};

/// One message, or several of one lane.
pub(super) trait Taken {
    /// How many messages that are.
    fn count(&self) -> u64 {
        1
    }

    /// When the last of them was sent, if the first was sent at `first`.
    fn last_sent(&self, _lane: OwnLane<'_>, first: u64) -> u64 {
        first
    }

    /// Marks them as late. `lane` is the handle that has them.
    fn mark_late(&mut self, lane: &mut Consumer);
}

impl Taken for Message {
    fn mark_late(&mut self, _: &mut Consumer) {
        Message::mark_late(self);
    }
}

impl Taken for Received {
    fn mark_late(&mut self, _: &mut Consumer) {
        Received::mark_late(self);
    }
}

/// The message that the handle shows, or one of which nothing is told.
impl Taken for () {
    fn mark_late(&mut self, lane: &mut Consumer) {
        lane.shown.mark_late();
    }
}

/// So many of a batch, which in time order is received one by one.
impl Taken for usize {
    fn mark_late(&mut self, _: &mut Consumer) {}
}

impl Taken for Several {
    fn count(&self) -> u64 {
        self.held().count
    }

    fn last_sent(&self, lane: OwnLane<'_>, first: u64) -> u64 {
        let held = self.held();
        if held.count < 2 { first } else { lane.slot(held.end() - 1).timestamp() }
    }

    fn mark_late(&mut self, lane: &mut Consumer) {
        Several::mark_late(self);
        lane.shown.mark_late();
    }
}
