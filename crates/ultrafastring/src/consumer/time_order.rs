//! What a consumer keeps that receives in time order, and how it decides; all times are in ticks.
//! The module `lanes/in_time.rs` says what for.

use alloc::boxed::Box;
use core::time::Duration;

use crate::clock::ticks_in;

/// A timestamp that is ahead of the clock by more than a second divided by this is not believed:
/// the clock was set back, or a peer wrote garbage.
const AHEAD: u64 = 1_000;

/// What a consumer keeps.
#[derive(Debug)]
pub(super) struct TimeOrder {
    /// For how long lanes are waited for that have nothing.
    wait: u64,
    /// Ticks in a second.
    rate: u64,
    /// The latest timestamp of what was received.
    newest: u64,
    /// How many messages have come late.
    late: u64,
    /// When the oldest message is next if the awaited lanes bring nothing. `None` if it is next
    /// already, or if there is none.
    due: Option<u64>,
    /// Which lanes had nothing at the last look, and may bring something older.
    awaited: Box<[bool]>,
    /// Which lanes it has marked for its sleep.
    #[cfg_attr(not(feature = "std"), allow(dead_code, reason = "nobody sleeps"))]
    marked: Box<[bool]>,
    /// The last message that was ahead of the clock, and since when it is known.
    ahead: (Sent, u64),
}

/// A message: its lane, and when it was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) lane: usize,
    pub(super) time: u64,
}

/// The message that is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) first: Sent,
    /// When those behind it were sent that may be taken with it: the first and the last moment.
    pub(super) with: (u64, u64),
}

/// Looks at all lanes, one after the other, which began at a time that was read before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Looks {
    now: u64,
    oldest: Option<Sent>,
    /// When the oldest message of the other lanes was sent.
    second: u64,
    /// Whether no lane is awaited.
    is_complete: bool,
}

impl Looks {
    /// Looks that begin now.
    pub(super) fn at(now: u64) -> Self {
        Self { now, oldest: None, second: u64::MAX, is_complete: true }
    }

    /// A lane has this message.
    #[inline(always)]
    pub(super) fn see(&mut self, sent: Sent) {
        match self.oldest {
            Some(oldest) if oldest.time <= sent.time => self.second = self.second.min(sent.time),
            _ => {
                self.second = self.oldest.map_or(u64::MAX, |oldest| oldest.time);
                self.oldest = Some(sent);
            }
        }
    }

    /// A lane has nothing, and may bring something older.
    #[inline(always)]
    pub(super) fn miss(&mut self) {
        self.is_complete = false;
    }
}

impl TimeOrder {
    /// For so many lanes. `rate` are the ticks of a second.
    pub(super) fn new(lanes: usize, rate: u64) -> Self {
        let none: Box<[bool]> = alloc::vec![false; lanes].into();
        let (awaited, marked, ahead) = (none.clone(), none, (Sent::default(), 0));
        Self { wait: 0, rate, newest: 0, late: 0, due: None, awaited, marked, ahead }
    }

    /// Waits so long for lanes that have nothing from now on.
    pub(super) fn set_wait(&mut self, wait: Duration) {
        /// Half a year, which is as long as for ever. So no product overflows.
        const LONGEST: u128 = 1 << 54;
        self.wait = ticks_in(wait.as_nanos().min(LONGEST) as u64, self.rate);
    }

    /// How many messages have come late.
    pub(super) fn late(&self) -> u64 {
        self.late
    }

    /// Notes whether a lane has nothing and may bring something older.
    #[inline(always)]
    pub(super) fn set_awaited(&mut self, lane: usize, awaited: bool) {
        self.awaited[lane] = awaited;
    }

    /// What is next after these looks, if that is certain.
    pub(super) fn decide(&mut self, looks: &Looks) -> Option<Next> {
        let Some(oldest) = looks.oldest else {
            self.due = None;
            return None;
        };
        if looks.is_complete {
            return Some(self.next(oldest, looks.second));
        }
        let until = looks.second.min(looks.now.saturating_sub(self.wait));
        self.is_due(oldest, looks.now).then(|| self.next(oldest, until))
    }

    /// Whether the oldest message is next though some lanes have nothing.
    fn is_due(&mut self, oldest: Sent, now: u64) -> bool {
        let mut since = oldest.time;
        if since.saturating_sub(now) > self.rate / AHEAD {
            if self.ahead.0 != oldest || self.ahead.1 > now {
                self.ahead = (oldest, now);
            }
            since = self.ahead.1;
        }
        let due = since.saturating_add(self.wait);
        self.due = (due > now).then_some(due);
        self.due.is_none()
    }

    /// The message is next, and with it those of its lane that were sent by `until`, if all are
    /// late or none is.
    pub(super) fn next(&mut self, first: Sent, until: u64) -> Next {
        self.due = None;
        let with = match first.time < self.newest {
            true => (0, until.min(self.newest - 1)),
            false => (self.newest, until),
        };
        Next { first, with }
    }

    /// There is nothing that time alone makes next.
    pub(super) fn expect_nothing(&mut self) {
        self.due = None;
    }

    /// Notes so many messages that were received at `now`: the first was sent at `first`, and the
    /// last at `last`. Returns whether they are late.
    pub(super) fn note(&mut self, first: u64, last: u64, count: u64, now: u64) -> bool {
        let is_late = first < self.newest;
        if is_late {
            self.late += count;
        }
        // What is far ahead of the clock does not make all late that comes after it.
        self.newest = self.newest.max(last).min(now.saturating_add(self.rate / AHEAD));
        is_late
    }

    /// Whether what comes in a lane can change what is next. If there is nothing at all, each can.
    #[cfg(any(feature = "std", loom))]
    fn waits_for(&self, lane: usize) -> bool {
        self.due.is_none() || self.awaited[lane]
    }

    /// Notes that the lanes for which it waits are marked.
    #[cfg(any(feature = "std", loom))]
    pub(super) fn mark(&mut self) {
        for lane in 0..self.marked.len() {
            self.marked[lane] = self.waits_for(lane);
        }
    }

    /// Whether it has marked a lane.
    #[cfg(any(feature = "std", loom))]
    pub(super) fn is_marked(&self, lane: usize) -> bool {
        self.marked[lane]
    }

    /// After how long it has to look again, though nobody wakes it: at once if it waits for a lane
    /// now that it has not marked, since others have taken what it had seen there. It does not
    /// count whether others have marked it: they may have done so after something came.
    #[cfg(any(feature = "std", loom))]
    pub(super) fn looks_again_in(&self, now: u64) -> Option<Duration> {
        let all_marked = (0..self.marked.len()).all(|it| self.marked[it] || !self.waits_for(it));
        if all_marked { self.due_in(now) } else { Some(Duration::ZERO) }
    }

    /// How long it is from `now` until the oldest message is next; `None` if time alone makes none
    /// next.
    #[cfg(any(feature = "std", loom))]
    fn due_in(&self, now: u64) -> Option<Duration> {
        /// A day: nobody sleeps so long.
        const LONGEST: u128 = 86_400 * 1_000_000_000;
        let ticks = self.due?.saturating_sub(now);
        let nanoseconds = u128::from(ticks) * 1_000_000_000 / u128::from(self.rate.max(1));
        // One more, since it was rounded down.
        Some(Duration::from_nanos(nanoseconds.min(LONGEST) as u64 + 1))
    }
}

#[cfg(all(test, feature = "std", not(loom)))]
mod tests {
    use super::*;

    /// A thousand ticks a second, of which it waits for ten; timestamps are believed that are ahead
    /// by one.
    fn order() -> TimeOrder {
        let mut order = TimeOrder::new(3, 1_000_000);
        order.set_wait(Duration::from_millis(10));
        assert_eq!(order.wait, 10_000);
        order
    }

    /// What is next at a time if the lanes have these.
    fn next(order: &mut TimeOrder, now: u64, times: [Option<u64>; 3]) -> Option<(usize, u64)> {
        let mut looks = Looks::at(now);
        for (lane, time) in times.into_iter().enumerate() {
            order.set_awaited(lane, time.is_none());
            match time {
                Some(time) => looks.see(Sent { lane, time }),
                None => looks.miss(),
            }
        }
        let next = order.decide(&looks)?;
        assert!(next.with.0 <= next.first.time || next.first.time >= next.with.1);
        Some((next.first.lane, next.with.1))
    }

    #[test]
    fn the_oldest_is_next_if_each_lane_has_one_or_if_it_is_due() {
        let mut order = order();
        let all = [Some(50_000), Some(40_000), Some(60_000)];
        assert_eq!(next(&mut order, 60_000, all), Some((1, 50_000)));
        let some = [Some(50_000), None, Some(60_000)];
        assert_eq!(next(&mut order, 59_999, some), None);
        assert_eq!(order.due_in(59_999), Some(Duration::from_nanos(1_001)));
        assert_eq!([0, 1, 2].map(|lane| order.waits_for(lane)), [false, true, false]);
        assert_eq!(next(&mut order, 60_000, some), Some((0, 50_000)), "and no younger one with it");
        assert_eq!(next(&mut order, 65_000, some), Some((0, 55_000)));
        assert_eq!(next(&mut order, 80_000, some), Some((0, 60_000)));
        assert_eq!(order.due_in(80_000), None);
        assert_eq!(next(&mut order, 80_000, [None; 3]), None);
        assert_eq!((order.due_in(80_000), order.waits_for(0)), (None, true));
    }

    #[test]
    fn who_waits_for_a_lane_that_it_has_not_marked_looks_again_at_once() {
        let mut order = order();
        assert_eq!(next(&mut order, 50_000, [Some(45_000), None, Some(46_000)]), None);
        order.mark();
        assert_eq!([0, 1, 2].map(|lane| order.is_marked(lane)), [false, true, false]);
        assert_eq!(order.looks_again_in(54_999), Some(Duration::from_nanos(1_001)));
        // Another has taken the first.
        assert_eq!(next(&mut order, 50_000, [None, None, Some(46_000)]), None);
        assert_eq!(order.looks_again_in(50_000), Some(Duration::ZERO));
        order.mark();
        assert_eq!(order.looks_again_in(55_999), Some(Duration::from_nanos(1_001)));
        assert_eq!(next(&mut order, 50_000, [None; 3]), None);
        assert_eq!(order.looks_again_in(50_000), Some(Duration::ZERO));
        order.mark();
        assert_eq!(order.looks_again_in(50_000), None);
    }

    #[test]
    fn of_equal_times_the_first_lane_is_next_and_none_is_late() {
        let mut order = order();
        assert_eq!(next(&mut order, 9, [Some(5), Some(5), Some(5)]), Some((0, 5)));
        assert!(!order.note(5, 5, 1, 9));
        assert_eq!(next(&mut order, 9, [Some(7), Some(5), Some(5)]), Some((1, 5)));
        assert!(!order.note(5, 5, 1, 9));
    }

    #[test]
    fn what_is_older_than_what_was_received_is_late_and_comes_only_with_others_that_are() {
        let mut order = order();
        assert!(!order.note(10, 30, 5, 100));
        let all = [Some(20), Some(90), Some(90)];
        assert_eq!(next(&mut order, 100, all), Some((0, 29)));
        assert!(order.note(20, 29, 4, 100));
        assert_eq!(order.late(), 4);
        assert!(!order.note(30, 30, 1, 100), "as old as the newest");
        assert_eq!(order.late(), 4);
    }

    #[test]
    fn what_is_far_ahead_of_the_clock_is_next_after_the_wait_and_makes_nothing_late_for_long() {
        let mut order = order();
        let far = 1 << 60;
        let some = [Some(far), None, None];
        assert_eq!(next(&mut order, 50_000, some), None);
        assert_eq!(order.due_in(50_000), Some(Duration::from_nanos(10_000_001)));
        assert_eq!(next(&mut order, 59_999, some), None);
        assert_eq!(next(&mut order, 60_000, some).unwrap().0, 0);
        assert!(!order.note(far, far, 1, 60_000));
        assert!(order.note(60_999, 60_999, 1, 61_000));
        assert!(!order.note(61_000, 61_000, 1, 62_000));
        // The clock is set back, so what was the newest is ahead of it.
        assert_eq!(next(&mut order, 1_000, [Some(50_000), None, None]), None);
        assert!(order.note(900, 900, 1, 1_000));
        assert!(!order.note(2_500, 2_500, 1, 2_600));
    }

    #[test]
    fn whatever_peers_write_nothing_overflows() {
        let mut order = order();
        order.set_wait(Duration::MAX);
        for time in [0, 1, u64::MAX - 1, u64::MAX] {
            for now in [0, 1, u64::MAX] {
                let _ = next(&mut order, now, [Some(time), None, Some(u64::MAX)]);
                let _ = (order.due_in(0), order.due_in(u64::MAX));
                let _ = next(&mut order, now, [Some(time), Some(0), Some(u64::MAX)]);
                order.note(time, u64::MAX, 1, now);
                order.note(time, 0, 1, now);
            }
        }
    }
}
