//! Pace: after how many messages, and after how long, a handle announces how far it has come.

use crate::clock::rdtsc;
use crate::coalesce::{CoalesceController, CoalesceMode};
use crate::threshold::{ANNOUNCE, COUNT};

/// When one handle announces next. It counts messages by any number that only grows: positions, or
/// messages sent.
#[derive(Debug)]
pub(crate) struct Pace {
    coalesce: CoalesceController,
    /// The count at the last announcement.
    announced: u64,
    /// The count at which to announce.
    due_at: u64,
    /// The time, in ticks, after which to announce with the next message that carries a timestamp;
    /// or, if something is to be counted more often, to do that.
    due_by: u64,
    /// The most messages that share an announcement.
    most: u64,
    /// This many ticks after an announcement, or a count, the next one is due.
    after: u64,
}

impl Pace {
    /// For a handle that begins at `count`. It announces its first message at once, and then at
    /// least once in `most` messages. `rate` is the clock's, in ticks a second, for which the
    /// thresholds are converted.
    pub(crate) fn new(count: u64, most: u64, rate: u64) -> Self {
        Self {
            coalesce: CoalesceController::new(rdtsc()).with_ticks_per_second(rate),
            announced: count,
            due_at: count + 1,
            due_by: 0,
            most,
            after: ANNOUNCE.ticks(),
        }
    }

    /// Whether to announce at `count`, after a message that carries `timestamp` (0: none).
    #[inline(always)]
    pub(crate) fn is_due(&self, count: u64, timestamp: u64) -> bool {
        count >= self.due_at || timestamp > self.due_by
    }

    /// The count at which to announce, and the time after which to do so with the next message that
    /// carries a timestamp.
    #[cfg(not(loom))]
    pub(crate) fn due(&self) -> (u64, u64) {
        (self.due_at, self.due_by)
    }

    /// How many messages are not announced yet at `count`.
    #[inline]
    pub(crate) fn pending(&self, count: u64) -> u64 {
        count.wrapping_sub(self.announced)
    }

    /// Adds one message to announce that is not in the handle's count.
    #[inline]
    pub(crate) fn add_uncounted(&mut self) {
        self.announced = self.announced.wrapping_sub(1);
        self.due_at = self.due_at.saturating_sub(1);
    }

    /// Notes that everything up to `count` is announced `now` (ticks). Returns how fast messages
    /// come.
    #[inline]
    pub(crate) fn announced(&mut self, count: u64, now: u64) -> CoalesceMode {
        let mode = self.coalesce.record_arrivals(self.pending(count), now);
        self.announced = count;
        self.due_at = count + mode.batch().min(self.most);
        // Wrapping: a time that is never reached makes it due too early.
        self.due_by = now.wrapping_add(self.after);
        mode
    }

    /// Makes a message that carries a timestamp due more often than announcements are, for a handle
    /// that counts latencies, calls [`counted`](Self::counted), and then asks
    /// [`is_due_now`](Self::is_due_now).
    pub(crate) fn count_often(&mut self) {
        self.after = COUNT.ticks();
    }

    /// Notes that latencies were counted `now`.
    #[inline]
    pub(crate) fn counted(&mut self, now: u64) {
        self.due_by = now.wrapping_add(self.after);
    }

    /// Whether to announce at `count`, `now`, if latencies are counted more often than that.
    #[inline]
    pub(crate) fn is_due_now(&self, count: u64, now: u64) -> bool {
        count >= self.due_at || now > self.coalesce.last().saturating_add(ANNOUNCE.ticks())
    }

    /// How arrivals are coalesced.
    pub(crate) fn coalesce(&self) -> &CoalesceController {
        &self.coalesce
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::clock::ASSUMED_RATE;

    #[test]
    fn the_first_message_is_announced_at_once() {
        let pace = Pace::new(7, 64, ASSUMED_RATE);
        assert!(!pace.is_due(7, 0));
        assert!(pace.is_due(8, 0));
    }

    #[test]
    fn the_faster_messages_come_the_more_share_an_announcement() {
        let mut pace = Pace::new(0, 64, ASSUMED_RATE);
        let (mut count, mut now) = (0, rdtsc());
        for _ in 0..100 {
            count += 1;
            now += 1;
            pace.announced(count, now);
        }
        assert!(!pace.is_due(count + 63, 0));
        assert!(pace.is_due(count + 64, 0));
        assert_eq!(pace.pending(count + 64), 64);
    }

    #[test]
    fn no_more_share_an_announcement_than_is_allowed() {
        let mut pace = Pace::new(0, 2, ASSUMED_RATE);
        let now = rdtsc();
        for count in 1..100 {
            pace.announced(count, now + count);
        }
        assert!(!pace.is_due(100, 0));
        assert!(pace.is_due(101, 0));
    }

    #[test]
    fn what_is_not_in_the_count_is_announced_with_what_is() {
        let mut pace = Pace::new(0, 64, ASSUMED_RATE);
        pace.add_uncounted();
        assert!(pace.is_due(0, 0));
        assert_eq!(pace.pending(0), 1);
        pace.announced(0, rdtsc());
        assert_eq!(pace.pending(0), 0);
    }

    #[test]
    fn a_timestamp_after_the_window_makes_an_announcement_due() {
        let mut pace = Pace::new(0, 64, ASSUMED_RATE);
        let now = rdtsc();
        for count in 1..100 {
            pace.announced(count, now);
        }
        assert!(!pace.is_due(100, now + ANNOUNCE.ticks()));
        assert!(pace.is_due(100, now + ANNOUNCE.ticks() + 1));
    }
}
