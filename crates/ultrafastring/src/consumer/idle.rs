//! What a call does without a message: it looks around, goes on at another position, helps, or
//! gives up.

use super::Consumer;
use crate::clock::rdtsc;
use crate::error::RecvError;
use crate::group::joining;
use crate::lane::race;
use crate::lane::reader::Miss;
use crate::lane::reader::room::Room;
use crate::lane::view::OwnLane;
use crate::layout::participant::Event;
use crate::layout::slot::{SlotState, TimestampedSlot};
use crate::limits::MAX_POSITION;
#[cfg(feature = "alloc")]
use crate::mode::AnyMode;
use crate::mode::OwnReader;
use crate::recover::adopt;
use crate::settings::Sharing;
use crate::sync::Ordering;

impl<S: OwnReader> Consumer<S> {
    /// What to do after a failed claim: `Ok` to look again, at the reader's new position. `lost`
    /// counts the races of the call.
    #[inline]
    pub(super) fn look_again(
        &mut self,
        miss: Miss,
        room: Room,
        lost: &mut u32,
    ) -> Result<(), RecvError> {
        // Before any pause, since the release frontier stops at a hold.
        self.reader.hide_hold(OwnLane::of(&self.entry));
        match miss {
            Miss::NotCommitted(sequence) => self.not_committed(sequence),
            Miss::Unfit(size) => self.does_not_fit(size, room),
            Miss::Lost => {
                *lost += 1;
                self.lose_race(*lost)
            }
        }
    }

    /// What to do if the next position is not committed: `Ok` to look again, at another position.
    /// Most often there is no message yet, and the call ends here.
    #[inline(always)]
    pub(super) fn not_committed(&mut self, sequence: u64) -> Result<(), RecvError> {
        let looks_around = self.patience.note_fruitless();
        if sequence <= self.reader.position() && !looks_around {
            self.patience.pause();
            return Err(RecvError::Empty);
        }
        self.look_around(sequence)
    }

    /// The rest of `not_committed`.
    #[cold]
    #[inline(never)]
    pub(super) fn look_around(&mut self, sequence: u64) -> Result<(), RecvError> {
        if S::is_over(OwnLane::of(&self.entry)) {
            return self.rejoin();
        }
        match TimestampedSlot::state_of(sequence, self.reader.position()) {
            SlotState::Abandoned => self.skip(),
            // Others have gone on; we were away for a lap.
            SlotState::Later if self.follow() => self.detour(),
            _ => self.nothing_there(),
        }
    }

    /// Goes on at the position that others of a shared side have reached; `false` if they have not
    /// moved.
    pub(super) fn follow(&mut self) -> bool {
        let head = self.reader.others_at(OwnLane::of(&self.entry));
        if let Some(head) = head {
            self.reader.go_on_at(head);
        }
        head.is_some()
    }

    /// Another consumer took the position: the next try is for where the head is a moment later.
    #[cold]
    #[inline(never)]
    pub(super) fn lose_race(&mut self, lost: u32) -> Result<(), RecvError> {
        if S::is_over(OwnLane::of(&self.entry)) {
            return self.rejoin();
        }
        if lost == race::MOST_LOST {
            return Err(RecvError::Empty);
        }
        let lane = OwnLane::of(&self.entry);
        let head = race::back_off(lost, &S::cursor(lane).consumer_head);
        self.go_on_at(S::seen(lane, head))
    }

    /// Goes on where a shared side's head was seen. A head that no ring can have is a peer's
    /// garbage. Waiting for it to become valid could take for ever.
    fn go_on_at(&mut self, head: u64) -> Result<(), RecvError> {
        if head > MAX_POSITION {
            return Err(RecvError::Empty);
        }
        self.reader.go_on_at(head);
        self.detour()
    }

    /// Counts a detour; an error if there were too many.
    #[cold]
    #[inline(never)]
    pub(super) fn detour(&mut self) -> Result<(), RecvError> {
        self.patience.note_detour(self.tally.received());
        #[cfg(any(feature = "std", loom))]
        if self.patience.asks_the_clock() && self.waiting.limit.is_reached() {
            return Err(RecvError::TimedOut);
        }
        // Relaxed: a head that no ring can have ends the search, however old the value is.
        let lane = OwnLane::of(&self.entry);
        let head = S::seen(lane, S::cursor(lane).consumer_head.load(Ordering::Relaxed));
        if self.patience.is_exhausted() || head > MAX_POSITION {
            return Err(RecvError::Empty);
        }
        Ok(())
    }

    /// Says what the group has missed, if this handle has to and has not.
    pub(super) fn say_missed(&mut self) -> Result<(), RecvError> {
        self.entry.take_missed().map_or(Ok(()), |missed| Err(RecvError::Evicted { missed }))
    }

    /// Joins the group again, which was evicted. One member is told what it has missed.
    fn rejoin(&mut self) -> Result<(), RecvError> {
        if !self.joins_again() {
            return Err(RecvError::Empty);
        }
        self.say_missed()?;
        self.detour()
    }

    /// Tries once to join the group again, and goes on where that is. `false` if somebody else is
    /// at it, or it cannot be joined.
    #[cold]
    pub(super) fn joins_again(&mut self) -> bool {
        if !joining::rejoin(&mut self.entry) {
            return false;
        }
        // Its row may be another one.
        self.count_for_group();
        let lane = OwnLane::of(&self.entry);
        // Acquire: as when a reader begins.
        let head = S::seen(lane, S::cursor(lane).consumer_head.load(Ordering::Acquire));
        self.reader.go_on_at(head.min(MAX_POSITION));
        #[cfg(feature = "alloc")]
        self.in_mode::<AnyMode>().lead_others();
        true
    }

    /// Passes over an abandoned slot.
    pub(super) fn skip(&mut self) -> Result<(), RecvError> {
        if let Err(head) = self.reader.skip(OwnLane::of(&self.entry)) {
            return self.go_on_at(head);
        }
        self.pace.add_uncounted();
        self.count_and_grant_if_due(0, 0);
        self.detour()
    }

    /// What to do about a message for whose size there is no room or no memory: `Ok` if it was not
    /// the next message after all.
    #[cold]
    #[inline(never)]
    pub(super) fn does_not_fit(&mut self, size: usize, room: Room) -> Result<(), RecvError> {
        if self.follow() {
            return self.detour();
        }
        Err(if room.fits(size) { self.no_memory(size) } else { room.refusal(size) })
    }

    /// Why there is no memory for a side buffer.
    pub(super) fn no_memory(&self, bytes: usize) -> RecvError {
        match self.entry.segment().is_damaged() {
            true => RecvError::Damaged,
            false => RecvError::OutOfMemory { bytes },
        }
    }

    /// The ring is empty as far as this handle can tell. Now it does what it has delayed.
    fn nothing_there(&mut self) -> Result<(), RecvError> {
        let now = rdtsc();
        // Not at the first look. A consumer that keeps up looks around now and then, and this reads
        // lines that others write.
        if !self.patience.is_still_at(self.reader.position(), now) {
            return Err(RecvError::Empty);
        }
        if self.stream_has_ended() {
            return self.end_stream();
        }
        if self.entry.segment().is_damaged() {
            return Err(RecvError::Damaged);
        }
        // What others released may not be announced, because a hold was in the way then that is
        // gone now.
        let lags = |(tail, head)| tail < head;
        if self.pending() != 0 || S::frontier(OwnLane::of(&self.entry)).is_some_and(lags) {
            self.grant_all();
        }
        self.patience.stop_pauses();
        self.reader.stop_read_ahead();
        if self.patience.is_stuck(now) && self.help() {
            self.detour()
        } else {
            Err(RecvError::Empty)
        }
    }

    /// The ring was closed: what a call does then. `Ok` to look again; [`RecvError::Closed`] if
    /// everything in it is received.
    pub(super) fn end_stream(&mut self) -> Result<(), RecvError> {
        // It was found closed by an acquire, so what was sent before is seen.
        let drained = self.is_drained();
        if self.pending() != 0 {
            self.grant_all();
        }
        // Consumers that drain the ring also get what dead participants had claimed or held. A slot
        // that already belongs to a later position has nothing to receive. If others have not gone
        // on, it is garbage.
        let more = self.reader.has_something(OwnLane::of(&self.entry));
        if self.help() || (!drained && more) {
            return self.detour();
        }
        Err(if drained { RecvError::Closed } else { RecvError::Empty })
    }

    /// Whether all that was sent into a closed lane is received.
    pub(super) fn is_drained(&self) -> bool {
        let lane = OwnLane::of(&self.entry);
        let position = self.reader.position();
        match lane.settings().producer_side {
            Sharing::Shared => lane.counters().producers_claimed(Ordering::Acquire) <= position,
            Sharing::Exclusive => lane.slot(position).state(position) == SlotState::NotYet,
        }
    }

    /// Checks whether a dead peer is in the way, and finishes its work. Returns whether to look for
    /// a message again.
    pub(super) fn help(&mut self) -> bool {
        let lane = OwnLane::of(&self.entry);
        let position = self.reader.position();
        let mut again = false;
        if lane.settings().producer_side == Sharing::Shared
            // Acquire: pairs with the release of the claim, so that its intent is seen.
            && lane.counters().producers_claimed(Ordering::Acquire) > position
        {
            let (locker, own) = (self.entry.locker(), self.entry.index());
            let abandoned = adopt::abandon_for_the_dead(lane.segment(), locker, own, position);
            lane.participant().count(Event::Abandoned, abandoned);
            again = abandoned != 0;
        }
        again | self.reader.help(lane)
    }
}
