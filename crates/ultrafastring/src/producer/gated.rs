//! As [`refill`](super::refill), in a ring for groups: producers wait for all that are open, and
//! for what others of them have claimed and not committed.

use super::Producer;
use super::refill::GRANT_PAUSES;
use crate::choices::Slow;
use crate::clock::{known_rate, rdtsc, ticks_in};
use crate::error::SendError;
use crate::group::closing;
use crate::lane::view::OwnLane;
use crate::lane::writer::window::HeldBack;
use crate::layout::group::{Membership, position_of};
use crate::layout::participant::Event;
use crate::mode::OwnMode;
use crate::priority::PriorityClass;
use crate::recover::adopt;
use crate::recover::finish;
use crate::recover::frontier;
use crate::settings::Side;
use crate::sync::Ordering;
use crate::waiting::bell;

impl<S: OwnMode> Producer<S> {
    /// What a producer without credit does in a ring that is apart (`Segment::is_apart`): one for
    /// groups, or with lanes by class. The writer follows the lane, which is not closed.
    #[cold]
    #[inline(never)]
    pub(super) fn find_room(&mut self, class: PriorityClass, count: u64) -> Result<(), SendError> {
        if !self.serves(class) {
            // It has a lane of its own, and another producer for it.
            return Err(SendError::Full);
        }
        if self.entry.segment().is_joinable() {
            return self.find_room_of_groups(class, count);
        }
        // As in a plain ring. Not by a copy of what is done there: with two callers, less of it
        // would be inlined, also in plain rings.
        self.entry.set_apart(false);
        let found = self.refill(class, count);
        self.entry.set_apart(true);
        found
    }

    /// Finds room for `count` messages of `class`, or says that there is none.
    #[inline(always)]
    fn find_room_of_groups(&mut self, class: PriorityClass, count: u64) -> Result<(), SendError> {
        // What it has claimed is settled; left behind, its intent would hold others back.
        S::withdraw(OwnLane::of(&self.entry));
        // A file that was wiped out has no open gate, and so would never hold anybody back.
        if self.entry.segment().is_damaged() {
            return Err(SendError::Damaged);
        }
        let held = self.look_at_groups(count);
        if self.writer.covers(class, count)
            || self.moves_soon(class, count, held)
            || self.grants_for(class, count, held)
        {
            return Ok(());
        }
        if self.evicts(held) {
            self.look_at_groups(count);
            if self.writer.covers(class, count) {
                return Ok(());
            }
        }
        // Not in a model, which must not depend on the clock.
        if self.patience.ends(held.at, rdtsc()) && !cfg!(loom) {
            self.help_groups(held);
            self.look_at_groups(count);
            if self.writer.covers(class, count) {
                return Ok(());
            }
        }
        Err(self.no_credit())
    }

    /// Computes the bound anew. Says what is in the way.
    fn look_at_groups(&mut self, count: u64) -> HeldBack {
        let lane = OwnLane::of(&self.entry);
        // Others have gone on since. What is not to be believed gives no credit.
        if !self.writer.follow(lane) {
            self.writer.suspend();
            return HeldBack { by: None, at: self.writer.position() };
        }
        self.writer.find_room(count, lane)
    }

    /// Pauses for a grant of the group that is in the way. Says whether it came, and was enough.
    fn moves_soon(&mut self, class: PriorityClass, count: u64, held: HeldBack) -> bool {
        // In the model a pause would be a chance for the others to run, and no time passes.
        if cfg!(loom) || !self.patience.pauses() {
            return false;
        }
        let moved = (0..GRANT_PAUSES).any(|_| {
            core::hint::spin_loop();
            self.stands_at(held) != Some(held.at)
        });
        if moved {
            self.look_at_groups(count);
        }
        let granted = moved && self.writer.covers(class, count);
        self.patience.note_pause(granted);
        granted
    }

    /// Where the group is that is in the way, if one is.
    fn stands_at(&self, held: HeldBack) -> Option<u64> {
        let row = held.by?.row()?;
        // Relaxed: what is seen is looked at again.
        let cursor = self.entry.segment().cursor_of(row);
        Some(position_of(cursor.consumer_tail.load(Ordering::Relaxed)))
    }

    /// Grants what the group in the way has released and not granted yet. Says whether that is
    /// enough.
    fn grants_for(&mut self, class: PriorityClass, count: u64, held: HeldBack) -> bool {
        let Some(group) = held.by else { return false };
        frontier::grant_from_outside(self.entry.segment().readers(group), self.entry.index());
        self.look_at_groups(count);
        self.writer.covers(class, count)
    }

    /// Evicts the group in the way if it may be, and has not moved for as long as it may. Says
    /// whether it did.
    fn evicts(&mut self, held: HeldBack) -> bool {
        let segment = self.entry.segment();
        let Some(group) = held.by else { return false };
        if held.at >= self.writer.position() {
            // It has received all, or begins later: more is wanted than the ring has room for.
            return false;
        }
        let readers = segment.readers(group);
        let slow = readers.row().and_then(|row| row.settings()).map(|settings| settings.slow);
        let Some(Slow::Evict { after }) = slow else { return false };
        let seen = (group, frontier::progress_of(readers));
        let nanoseconds = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        let after = ticks_in(nanoseconds, known_rate());
        self.watch.ends(seen, after, rdtsc()) && closing::evict(segment, group, held.at)
    }

    /// Looks for the dead who are in the way: of a group, which is closed if nobody lives in it and
    /// it is a passing one, or of the producers.
    pub(super) fn help_groups(&mut self, held: HeldBack) {
        match held.by {
            Some(group) => self.help_group(group),
            None => self.settle_for_producers(held.at),
        }
    }

    /// The same after a look at what is in the way.
    #[cold]
    #[inline(never)]
    pub(super) fn help_whoever_is_in_the_way(&mut self) {
        let held = self.look_at_groups(1);
        self.help_groups(held);
    }

    fn help_group(&mut self, group: Membership) {
        let (segment, index) = (self.entry.segment(), self.entry.index());
        let locker = self.entry.locker();
        if group.row().is_some_and(|row| closing::close_if_deserted(segment, locker, row)) {
            return;
        }
        let discarded = adopt::settle_consumers(segment.readers(group), locker, index);
        self.entry.participant().count(Event::Discarded, discarded);
    }

    /// Abandons what a dead producer has claimed at `position`.
    fn settle_for_producers(&mut self, position: u64) {
        let (segment, index) = (self.entry.segment(), self.entry.index());
        let locker = self.entry.locker();
        let abandoned = adopt::abandon_for_the_dead(segment, locker, index, position);
        self.entry.participant().count(Event::Abandoned, abandoned);
        finish::tell_of_abandoned(segment, abandoned);
        if abandoned != 0 {
            // Others were held back by the same.
            bell::wake_all(segment, Side::Producer);
        }
    }
}
