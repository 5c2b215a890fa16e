//! Waiting for one thing: the loop in which a handle spins, sleeps and looks again.

use std::time::{Duration, Instant};

use super::strategy::{TRIES_IN_A_ROW, WaitStrategy};
use super::{bell, kernel};
use crate::clock::rdtsc;
use crate::layout::bell::Bell;
use crate::recover::presence::Peers;
use crate::segment::Segment;
use crate::settings::Side;
use crate::threshold::LOOK;

/// Upper bound on one sleep, and so on a lost wake-up: 100 milliseconds. A wake-up is lost if the
/// waker is killed before it wakes. A call that waits also notices a dead peer within this time. A
/// large process may take seconds to die: `SECURITY.md`, "How soon a death is noticed".
pub const LONGEST_PARK: Duration = Duration::from_millis(100);

/// The last part of [`LONGEST_PARK`]. A waker that has sent or granted may not have come to the
/// bell yet, because another thread has its core. A sleeper gives it this time before it counts the
/// wake-up as missed.
const ABOUT_TO_WAKE: Duration = Duration::from_millis(25);

/// What a handle keeps for its waits.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) strategy: WaitStrategy,
    /// How often it found something without having been woken.
    pub(crate) missed: u64,
    /// Waits in a row that had to sleep.
    slept: u32,
    /// When a wait for several handles last began with this one, in ticks.
    #[cfg(feature = "std")]
    pub(super) began_any: u64,
    /// The peers for whom it waits.
    pub(crate) peers: Peers,
    /// By when the current call ends, however often it is led to another position.
    pub(crate) limit: Limit,
}

/// By when a call ends that is led from position to position.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Limit {
    /// No limit in time.
    #[default]
    None,
    /// At the next look. The caller reads the clock, or lets others run, and calls again.
    AtOnce,
    /// At this moment.
    At(Instant),
}

impl Waiting {
    /// For how long to spin, as [`WaitStrategy::spin_ticks`] says.
    pub(super) fn spin_ticks(&self, interval: u64) -> Option<u64> {
        self.strategy.spin_ticks(interval, self.slept)
    }

    /// Notes whether a wait had to sleep.
    pub(super) fn note_slept(&mut self, slept: bool) {
        self.slept = if slept { self.slept.wrapping_add(1) } else { 0 };
    }
}

impl Limit {
    pub(crate) fn until(deadline: Option<Instant>) -> Self {
        deadline.map_or(Self::None, Self::At)
    }

    pub(crate) fn is_reached(self) -> bool {
        match self {
            Self::None => false,
            Self::AtOnce => true,
            Self::At(deadline) => remaining(Some(deadline)).is_none(),
        }
    }
}

/// How long a call waits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// Until it has what it waits for.
    Done,
    /// At most this long, counted from when it first has to wait.
    After(Duration),
    /// At most until this moment.
    At(Instant),
}

impl Until {
    /// When it ends, if it begins now; `None` if it never does.
    pub(crate) fn deadline(self) -> Option<Instant> {
        match self {
            Self::Done => None,
            Self::After(timeout) => after(timeout),
            Self::At(deadline) => Some(deadline),
        }
    }
}

/// The moment after `timeout`; `None` if a clock cannot express it.
pub(crate) fn after(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

/// How long to sleep at most; `None` if `deadline` has passed.
pub(crate) fn remaining(deadline: Option<Instant>) -> Option<Duration> {
    let Some(deadline) = deadline else { return Some(LONGEST_PARK) };
    let left = deadline.saturating_duration_since(Instant::now());
    (!left.is_zero()).then(|| left.min(LONGEST_PARK))
}

/// A handle that can wait for something.
///
/// Its bell is armed before it sleeps. From then until `leave` it may have been woken in place of
/// others, and must pass that on.
pub(crate) trait Sleeper {
    /// The side whose bell it watches.
    const SIDE: Side;
    /// Whether its bell is armed before it sleeps. It is not if it only waits for events that wake
    /// all of its side, armed or not. Otherwise each commit or grant would make a system call for
    /// it.
    const ARMS: bool = true;
    /// Why it stops waiting without what it waits for.
    type Stop;

    /// The segment in which it waits.
    fn segment(&self) -> &Segment;

    /// The bell on whose count it sleeps.
    fn bell(&self) -> &Bell {
        self.segment().sleeping_bell(Self::SIDE)
    }

    /// Arms the bell, if `ARMS`, and returns the ticket to sleep on after one more look.
    fn take_ticket(&mut self) -> u32 {
        if Self::ARMS {
            bell::arm(self.segment(), Self::SIDE)
        } else {
            bell::ticket(self.segment(), Self::SIDE)
        }
    }

    /// After how long it can go on at the latest, or has to look again, whoever wakes it; `None` if
    /// time alone changes nothing. It is asked after a look that has found nothing.
    fn looks_again_in(&self) -> Option<Duration> {
        None
    }

    /// Whether to go on, by the look of a call that does not wait.
    fn glance(&mut self) -> Result<bool, Self::Stop>;

    /// Whether to go on, after looking at everything: closed rings, dead peers, delayed
    /// announcements.
    fn look(&mut self) -> Result<bool, Self::Stop>;

    /// Ends a wait for which the bell was armed, and passes on a wake-up that others need more. It
    /// is `ready` if it has what it waited for.
    fn leave(&mut self, ready: bool);

    /// Ticks between arrivals.
    fn interval(&self) -> u64;

    /// How to wait, and how earlier waits went.
    fn waiting(&mut self) -> &mut Waiting;

    /// Counts that it found something without having been woken.
    fn note_missed(&mut self) {
        self.waiting().missed += 1;
    }

    /// The result when the time is up.
    fn timed_out() -> Self::Stop;
}

/// Waits until `sleeper` can go on, or must stop, or `deadline` has passed.
pub(crate) fn wait<S: Sleeper>(sleeper: &mut S, deadline: Option<Instant>) -> Result<(), S::Stop> {
    if spin(sleeper, deadline)? {
        sleeper.waiting().note_slept(false);
        return Ok(());
    }
    sleeper.waiting().note_slept(true);
    let mut leaving = Leaving { sleeper, armed: false };
    // The ticket of a sleep that nobody ended. If the bell is armed at all, it still is for this
    // ticket.
    let mut standing = None;
    loop {
        let ticket = if let Some(ticket) = standing.take() {
            ticket
        } else {
            // Everything that was delayed is done before sleeping, and everything that is due after
            // it.
            if leaving.sleeper.look()? {
                return leaving.ready();
            }
            leaving.armed = true;
            leaving.sleeper.take_ticket()
        };
        if leaving.sleeper.look()? {
            return leaving.ready();
        }
        let Some(most) = remaining(deadline) else { return Err(S::timed_out()) };
        let soon = leaving.sleeper.looks_again_in();
        let most = soon.map_or(most, |soon| most.min(soon));
        // The last part of the longest sleep is reserved for a waker that is just about to wake us.
        let is_longest = most == LONGEST_PARK;
        let most = if is_longest { LONGEST_PARK - ABOUT_TO_WAKE } else { most };
        let slept_out = kernel::park(leaving.sleeper.bell(), ticket, most);
        leaving.sleeper.segment().control().count_sleep(S::SIDE, !slept_out);
        let unwoken = slept_out && (!S::ARMS || bell::is_armed(leaving.sleeper.segment(), S::SIDE));
        if leaving.sleeper.glance()? {
            // The message may be so new that its sender has not come to the bell yet.
            if unwoken && is_longest && kernel::park(leaving.sleeper.bell(), ticket, ABOUT_TO_WAKE)
            {
                leaving.sleeper.note_missed();
            }
            return leaving.ready();
        }
        // The bell was armed as long as we slept, so a wake from now on makes the ticket out of
        // date.
        // Who has to look again at once waits for more than it was armed for.
        standing = (unwoken && soon != Some(Duration::ZERO)).then_some(ticket);
    }
}

/// A sleeper that leaves with nothing, also by a panic, passes on its wake-up if it had one.
struct Leaving<'a, S: Sleeper> {
    sleeper: &'a mut S,
    armed: bool,
}

impl<S: Sleeper> Leaving<'_, S> {
    fn ready(mut self) -> Result<(), S::Stop> {
        if core::mem::take(&mut self.armed) {
            self.sleeper.leave(true);
        }
        Ok(())
    }
}

impl<S: Sleeper> Drop for Leaving<'_, S> {
    fn drop(&mut self) {
        if self.armed {
            self.sleeper.leave(false);
        }
    }
}

/// Tries for a while. Returns `true` to go on and `false` to sleep.
fn spin<S: Sleeper>(sleeper: &mut S, deadline: Option<Instant>) -> Result<bool, S::Stop> {
    let interval = sleeper.interval();
    let waiting = sleeper.waiting();
    let Some(ticks) = waiting.spin_ticks(interval) else { return Ok(false) };
    let mut rows = Rows::new(ticks, waiting.strategy.yields());
    loop {
        for _ in 0..TRIES_IN_A_ROW {
            if sleeper.glance()? {
                return Ok(true);
            }
        }
        match rows.next(deadline) {
            Next::Row => {}
            Next::Sleep => return Ok(false),
            Next::Look if sleeper.look()? => return Ok(true),
            Next::Look => {}
            // Only after looking at everything, since `wait_any` may have found something.
            Next::End => return if sleeper.look()? { Ok(true) } else { Err(S::timed_out()) },
        }
        rows.pause();
    }
}

/// The rows of tries of a handle that spins.
pub(super) struct Rows {
    /// For how long.
    ticks: u64,
    /// Whether it yields its core to others after some rows.
    yields: bool,
    start: u64,
    looked: u64,
    rows: u64,
}

/// What comes after a row of tries.
pub(super) enum Next {
    /// Another row.
    Row,
    /// A look at everything, and then another row.
    Look,
    /// Sleep: it has spun for long enough.
    Sleep,
    /// The end, after a look at everything: the time is up.
    End,
}

impl Rows {
    pub(super) fn new(ticks: u64, yields: bool) -> Self {
        let start = rdtsc();
        Self { ticks, yields, start, looked: start, rows: 0 }
    }

    /// Whether it yields its core to others now.
    fn offers(&self) -> bool {
        /// Rows of tries before a yield.
        const ROWS_BEFORE_YIELD: u64 = 4;
        self.yields && self.rows > ROWS_BEFORE_YIELD
    }

    #[inline(always)]
    pub(super) fn next(&mut self, deadline: Option<Instant>) -> Next {
        self.rows += 1;
        let now = rdtsc();
        // Wrapping, both: after a clock was set back it goes on, and does not wait for the clock.
        let enough = now.wrapping_sub(self.start) > self.ticks;
        // Reading the system's clock costs a good part of a row. Beside a yield that is nothing.
        if (enough || self.offers() || self.rows % 4 == 1) && remaining(deadline).is_none() {
            return Next::End;
        }
        if enough {
            return Next::Sleep;
        }
        if now.wrapping_sub(self.looked) > LOOK.ticks() {
            self.looked = now;
            return Next::Look;
        }
        Next::Row
    }

    #[inline(always)]
    pub(super) fn pause(&self) {
        if self.offers() {
            std::thread::yield_now();
        } else {
            core::hint::spin_loop();
        }
    }
}

#[cfg(all(test, feature = "std", not(loom)))]
mod tests {
    use super::*;

    /// A sleeper whose time is up, and which finds a message. It is woken for that message just
    /// then, or never.
    struct Late<'a> {
        segment: &'a Segment,
        waiting: Waiting,
        woken: Woken,
    }

    #[derive(Clone, Copy, Debug)]
    enum Woken {
        AsTheMessageIsSeen,
        Later,
        Never,
    }

    impl Sleeper for Late<'_> {
        const SIDE: Side = Side::Consumer;
        type Stop = ();

        fn segment(&self) -> &Segment {
            self.segment
        }

        /// Only called after a sleep.
        fn glance(&mut self) -> Result<bool, ()> {
            let segment = self.segment.clone();
            match self.woken {
                Woken::AsTheMessageIsSeen => bell::wake(&segment, Side::Consumer),
                Woken::Later => drop(std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(2));
                    bell::wake(&segment, Side::Consumer);
                })),
                Woken::Never => {}
            }
            Ok(true)
        }

        fn look(&mut self) -> Result<bool, ()> {
            Ok(false)
        }

        fn leave(&mut self, _: bool) {
            bell::disarm(self.segment, Side::Consumer);
        }

        fn interval(&self) -> u64 {
            0
        }

        fn waiting(&mut self) -> &mut Waiting {
            &mut self.waiting
        }

        fn timed_out() {}
    }

    #[test]
    fn a_wake_up_that_comes_when_the_time_is_up_is_not_a_missed_one() {
        let missed = |woken| {
            let ring = crate::Builder::new().exclusive_consumer().heap().unwrap();
            let waiting = Waiting { strategy: WaitStrategy::Park, ..Waiting::default() };
            let mut late = Late { segment: ring.segment(), waiting, woken };
            assert_eq!(wait(&mut late, None), Ok(()));
            late.waiting.missed
        };
        assert_eq!(missed(Woken::AsTheMessageIsSeen), 0);
        assert_eq!(missed(Woken::Never), 1);
        // A thread may come too late on a busy machine, but not every time.
        assert!((0..50).any(|_| missed(Woken::Later) == 0), "it waits for nobody");
    }
}
