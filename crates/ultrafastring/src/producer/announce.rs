//! What is done once for several messages: announcing how far this handle has come, and waking
//! sleepers.

use super::Producer;
use crate::clock::rdtsc;
use crate::lane::view::OwnLane;
use crate::mode::OwnMode;
use crate::priority::PriorityClass;
use crate::settings::Side;
use crate::waiting::bell;

impl<S: OwnMode> Producer<S> {
    /// Announces if enough messages or enough time have passed. Wakes consumers if some sleep.
    #[inline(always)]
    pub(super) fn announce_if_due(&mut self, timestamp: u64) {
        if self.pace.is_due(self.writer.count(), timestamp) {
            self.announce(timestamp);
        }
        if bell::is_alert(self.entry.segment(), Side::Consumer) {
            self.attend();
        }
    }

    /// Tells observers how far this side has come, and stores its counters. `timestamp` is the
    /// time, or 0.
    #[cold]
    #[inline(never)]
    pub(super) fn announce(&mut self, timestamp: u64) {
        let now = if timestamp == 0 { rdtsc() } else { timestamp };
        let count = self.writer.count();
        self.run.end(count, &mut self.lanes);
        let participant = self.entry.participant();
        for class in PriorityClass::ALL {
            participant.lane(class).store_sent(&self.lanes[class.index()]);
        }
        let mode = self.pace.announced(count, now);
        self.writer.announce(mode, OwnLane::of(&self.entry));
    }

    /// Handles what the bell says: consumers sleep, another process closed the ring, or fences are
    /// needed.
    #[cold]
    #[inline(never)]
    pub(super) fn attend(&mut self) {
        let lane = OwnLane::of(&self.entry);
        self.writer.note_closing(lane);
        bell::wake(lane.segment(), Side::Consumer);
        if bell::waits_for_commits(lane.segment()) {
            bell::wake(lane.segment(), Side::Producer);
        }
    }
}
