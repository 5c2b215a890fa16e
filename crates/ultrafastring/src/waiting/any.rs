//! Waiting for several handles, of any rings, at once.

use core::sync::atomic::Ordering;
use std::time::Instant;
use std::vec::Vec;

use super::kernel;
use super::sleep::{Limit, Next, Rows, Sleeper, remaining};
use super::strategy::{TRIES_IN_A_ROW, WaitStrategy};
use crate::clock::rdtsc;

mod sealed {
    use core::sync::atomic::AtomicU32;
    use std::time::{Duration, Instant};

    use super::{Limit, Sleeper, WaitStrategy};

    /// A [`Sleeper`] of any kind.
    pub trait Sealed {
        /// Sets or removes a time by which its looks end.
        fn limit(&mut self, deadline: Option<Instant>);
        /// Whether it can go on, or must stop, by a glance.
        fn seems_ready(&mut self) -> bool;
        /// The same, after looking at everything.
        fn is_ready(&mut self) -> bool;
        /// How it waits.
        fn strategy(&mut self) -> WaitStrategy;
        /// For how long it would spin by itself, if at all.
        fn spin_ticks(&mut self) -> Option<u64>;
        /// Notes whether it had to sleep.
        fn note_slept(&mut self, slept: bool);
        /// When a look at several handles last began with it.
        fn began(&mut self) -> &mut u64;
        /// Arms its bell, and returns the ticket.
        fn arm(&mut self) -> u32;
        /// After how long it has to look again, whoever wakes it.
        fn looks_again_in(&self) -> Option<Duration>;
        /// The word of its bell on which it sleeps.
        fn word(&self) -> &AtomicU32;
        /// Counts a sleep, which a peer has ended or not.
        fn count_sleep(&self, woken: bool);
        /// Ends a wait for which its bell was armed.
        fn leave(&mut self, ready: bool);
    }

    impl<S: Sleeper> Sealed for S {
        fn limit(&mut self, deadline: Option<Instant>) {
            self.waiting().limit = Limit::until(deadline);
        }

        fn seems_ready(&mut self) -> bool {
            self.glance().unwrap_or(true)
        }

        fn is_ready(&mut self) -> bool {
            self.look().unwrap_or(true)
        }

        fn strategy(&mut self) -> WaitStrategy {
            self.waiting().strategy
        }

        fn spin_ticks(&mut self) -> Option<u64> {
            let interval = self.interval();
            self.waiting().spin_ticks(interval)
        }

        fn note_slept(&mut self, slept: bool) {
            self.waiting().note_slept(slept);
        }

        fn began(&mut self) -> &mut u64 {
            &mut self.waiting().began_any
        }

        fn arm(&mut self) -> u32 {
            self.take_ticket()
        }

        fn looks_again_in(&self) -> Option<Duration> {
            Sleeper::looks_again_in(self)
        }

        fn word(&self) -> &AtomicU32 {
            &self.bell().wakes
        }

        fn count_sleep(&self, woken: bool) {
            self.segment().control().count_sleep(S::SIDE, woken);
        }

        fn leave(&mut self, ready: bool) {
            Sleeper::leave(self, ready);
        }
    }
}

/// A handle that can be one of several in [`wait_any`]: a consumer waits for a message, a producer
/// for room for the class that was last refused.
pub trait Wait: sealed::Sealed {}

impl<S: Sleeper> Wait for S {}

/// Waits until one of several handles, of any rings, can go on. Returns the index of one that can,
/// or `None` if `deadline` has passed. Without a deadline it waits without end. A closed or
/// deserted ring counts as one that can go on: the handle's next call that waits returns that error
/// at once.
///
/// It is fair: of several that can go on, each gets its turn, because each look begins with the
/// handle that it has not begun with for longest. The [`WaitStrategy`] of the handles decides how
/// it waits. If all of them spin for ever, it does not sleep. If one of them
/// [parks](WaitStrategy::Park), it sleeps at once. Otherwise it spins as long as the handle that
/// spins least.
///
/// The thread sleeps on all bells at once (`futex_waitv(2)`, Linux 5.16). On older kernels, and for
/// more than 128 handles, it looks every millisecond.
///
/// ```
/// use ultrafastring::{PriorityClass, UltraFastRing, wait_any};
///
/// let (quotes, orders) = (UltraFastRing::new(8), UltraFastRing::new(8));
/// let (mut first, mut second) = (quotes.consumer()?, orders.consumer()?);
/// let mut producer = orders.producer()?;
/// std::thread::spawn(move || producer.send_fast(b"buy", PriorityClass::Normal));
/// assert_eq!(wait_any(&mut [&mut first, &mut second], None), Some(1));
/// assert_eq!(&*second.try_recv()?, b"buy");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn wait_any(handles: &mut [&mut dyn Wait], deadline: Option<Instant>) -> Option<usize> {
    handles.iter_mut().for_each(|handle| handle.limit(deadline));
    let limited = Limited(handles);
    let handles = &mut *limited.0;
    let from = begin(handles);
    match spin(handles, from, deadline) {
        Spun::Ended(ready) => ready,
        Spun::InVain => sleep(handles, from, deadline),
    }
}

/// Handles whose looks have a limit until this is dropped, also by a panic.
struct Limited<'a, 'b>(&'a mut [&'b mut dyn Wait]);

impl Drop for Limited<'_, '_> {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|handle| handle.limit(None));
    }
}

/// The index to look at first: that of the handle with which no look has begun for longest. The
/// handles remember that. So it stays fair if a thread waits for several sets of handles in turn.
fn begin(handles: &mut [&mut dyn Wait]) -> usize {
    let oldest = (0..handles.len()).min_by_key(|&place| *handles[place].began());
    let Some(place) = oldest else { return 0 };
    *handles[place].began() = rdtsc();
    place
}

/// The first handle that is ready, from that index on and then from the beginning.
fn first_ready(
    handles: &mut [&mut dyn Wait],
    from: usize,
    is_ready: impl Fn(&mut dyn Wait) -> bool,
) -> Option<usize> {
    let count = handles.len();
    (from..count).chain(0..from).find(|&place| is_ready(handles[place]))
}

/// The result of spinning.
enum Spun {
    /// A handle is ready, or none was in time.
    Ended(Option<usize>),
    /// It is time to sleep.
    InVain,
}

/// Tries for as long as all handles would.
fn spin(handles: &mut [&mut dyn Wait], from: usize, deadline: Option<Instant>) -> Spun {
    let look = |handles: &mut [&mut dyn Wait]| first_ready(handles, from, |it| it.is_ready());
    if let Some(ready) = look(handles) {
        return Spun::Ended(Some(ready));
    }
    // `None` is less than any value.
    let least = handles.iter_mut().map(|handle| handle.spin_ticks()).min();
    let Some(Some(ticks)) = least else { return Spun::InVain };
    let yields = handles.iter_mut().any(|it| it.strategy().yields());
    let mut rows = Rows::new(ticks, yields);
    let tries = (TRIES_IN_A_ROW as usize / handles.len()).max(1);
    loop {
        let mut seen = (0..tries).find_map(|_| first_ready(handles, from, |it| it.seems_ready()));
        // A glance also ends if a peer has kept it busy beyond its time. Then nothing may be there.
        seen = seen.filter(|&place| handles[place].is_ready());
        if seen.is_none() {
            match rows.next(deadline) {
                Next::Row => {}
                Next::Look => seen = look(handles),
                Next::Sleep => return Spun::InVain,
                Next::End => return Spun::Ended(look(handles)),
            }
        }
        if seen.is_some() {
            handles.iter_mut().for_each(|handle| handle.note_slept(false));
            return Spun::Ended(seen);
        }
        rows.pause();
    }
}

/// Sleeps on all bells until one of the handles is ready.
fn sleep(handles: &mut [&mut dyn Wait], from: usize, deadline: Option<Instant>) -> Option<usize> {
    handles.iter_mut().for_each(|handle| handle.note_slept(true));
    loop {
        let tickets: Vec<_> = handles.iter_mut().map(|handle| handle.arm()).collect();
        let mut ready = first_ready(handles, from, |it| it.is_ready());
        let most = remaining(deadline);
        if let (None, Some(most)) = (ready, most) {
            let words: Vec<_> = handles.iter().map(|handle| handle.word()).zip(tickets).collect();
            let soon = handles.iter().filter_map(|handle| handle.looks_again_in()).min();
            kernel::park_any(&words, soon.map_or(most, |soon| most.min(soon)));
            for (handle, (word, ticket)) in handles.iter().zip(&words) {
                // Relaxed: it is only counted.
                handle.count_sleep(word.load(Ordering::Relaxed) != *ticket);
            }
            ready = first_ready(handles, from, |it| it.is_ready());
        }
        for (place, handle) in handles.iter_mut().enumerate() {
            handle.leave(ready == Some(place));
        }
        if ready.is_some() || most.is_none() {
            return ready;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::Duration;

    use super::*;
    use crate::priority::PriorityClass;
    use crate::ring::UltraFastRing;
    use crate::segment::Segment;
    use crate::settings::Side;
    use crate::waiting::sleep::Waiting;

    #[test]
    fn a_ring_that_always_has_messages_leaves_the_others_their_turns() {
        let rings = [(); 3].map(|()| UltraFastRing::new(8));
        let mut consumers = rings.each_ref().map(|ring| ring.consumer().unwrap());
        let mut turns = [0; 3];
        let mut turns_of_two = [0; 2];
        for ring in [&rings[0], &rings[2]] {
            ring.send_fast(b"always one more", PriorityClass::Normal).unwrap();
        }
        let [first, second, third] = &mut consumers;
        for _ in 0..600 {
            // The ring in the middle is empty. There are two sets in turn, so that a memory that is
            // common to all sets would favour one handle.
            turns[wait_any(&mut [first, second, third], None).unwrap()] += 1;
            turns_of_two[wait_any(&mut [first, third], None).unwrap()] += 1;
        }
        assert!(turns[1] == 0 && turns[0] >= 150 && turns[2] >= 150, "{turns:?}");
        assert!(turns_of_two.iter().all(|&turns| turns >= 150), "{turns_of_two:?}");
    }

    #[test]
    fn a_sleep_counts_for_each_ring_and_a_wake_up_for_the_one_that_woke() {
        let rings = [(); 2].map(|()| UltraFastRing::new(8));
        let mut consumers = rings.each_ref().map(|ring| ring.consumer().unwrap());
        let counted = || {
            let stats = rings.each_ref().map(|ring| ring.stats());
            (stats.map(|it| it.sleeps[1]), stats.map(|it| it.wakes[1]))
        };
        for consumer in &mut consumers {
            consumer.set_wait_strategy(WaitStrategy::Park);
        }
        let [first, second] = &mut consumers;
        let soon = Instant::now() + Duration::from_millis(5);
        assert_eq!(wait_any(&mut [first, second], Some(soon)), None);
        let (sleeps, wakes) = counted();
        assert!(sleeps[0] > 0 && sleeps[0] == sleeps[1], "{sleeps:?}");
        assert_eq!(wakes, [0, 0]);
        // The machine may be late, and the message there before somebody sleeps.
        for _ in 0..100 {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !rings[1].is_asleep(Side::Consumer) {
                        std::thread::yield_now();
                    }
                    std::thread::sleep(Duration::from_millis(1));
                    rings[1].send_fast(b"wake up", PriorityClass::Normal).unwrap();
                });
                assert_eq!(wait_any(&mut [first, second], None), Some(1));
            });
            second.try_recv().unwrap();
            if counted().1 == [0, 1] {
                return;
            }
        }
        panic!("sleeps and wake-ups are {:?}", counted());
    }

    /// A handle in which a look fails.
    struct Faulty<'a>(&'a Segment, Waiting);

    impl Sleeper for Faulty<'_> {
        const SIDE: Side = Side::Consumer;
        type Stop = ();

        fn segment(&self) -> &Segment {
            self.0
        }

        fn glance(&mut self) -> Result<bool, ()> {
            self.look()
        }

        fn look(&mut self) -> Result<bool, ()> {
            panic!("on purpose");
        }

        fn leave(&mut self, _: bool) {}

        fn interval(&self) -> u64 {
            0
        }

        fn waiting(&mut self) -> &mut Waiting {
            &mut self.1
        }

        fn timed_out() {}
    }

    #[test]
    fn a_wait_that_panics_leaves_no_limit_to_the_next_call() {
        let ring = UltraFastRing::new(8);
        let mut consumer = ring.consumer().unwrap();
        let mut faulty = Faulty(ring.segment(), Waiting::default());
        let soon = Instant::now() + Duration::from_secs(1);
        let wait = || wait_any(&mut [&mut consumer, &mut faulty], Some(soon));
        assert!(catch_unwind(AssertUnwindSafe(wait)).is_err());
        assert!(matches!(consumer.waiting.limit, Limit::None));
    }

    /// Time of a processor, and sleeps, of this thread.
    fn used() -> (Duration, i64) {
        // SAFETY: all zeros are a value of it, which the call below overwrites.
        let mut usage: libc::rusage = unsafe { core::mem::zeroed() };
        // SAFETY: `usage` is written and nothing else.
        assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) }, 0);
        let time = |it: libc::timeval| {
            Duration::from_secs(it.tv_sec as u64) + Duration::from_micros(it.tv_usec as u64)
        };
        (time(usage.ru_utime) + time(usage.ru_stime), usage.ru_nvcsw)
    }

    #[test]
    fn a_wait_takes_as_much_of_the_processor_as_the_handles_strategies_say() {
        use WaitStrategy::{Park, Spin, SpinThenPark};
        const LONG: Duration = Duration::from_millis(400);
        let rings = [(); 2].map(|()| UltraFastRing::new(8));
        let mut consumers = rings.each_ref().map(|ring| ring.consumer().unwrap());
        let mut wait = |strategies: [WaitStrategy; 2]| {
            for (consumer, strategy) in consumers.iter_mut().zip(strategies) {
                consumer.set_wait_strategy(strategy);
            }
            let [first, second] = &mut consumers;
            let before = used();
            let until = Instant::now() + LONG;
            assert_eq!(wait_any(&mut [first, second], Some(until)), None);
            let after = used();
            (after.0 - before.0, after.1 - before.1)
        };
        let (time, sleeps) = wait([Spin, Spin]);
        assert!(sleeps == 0, "spinning slept {sleeps} times, for {time:?}");
        assert!(!rings[0].is_asleep(Side::Consumer), "it has armed its bell");
        // Some looks, and some spinning at first.
        for sleeping in [[Park, Park], [Spin, Park], [SpinThenPark, Park], [SpinThenPark; 2]] {
            let (time, sleeps) = wait(sleeping);
            assert!(sleeps > 0 && time <= LONG / 40, "{sleeping:?} took {time:?} and {sleeps}");
        }
    }
}
