//! Readiness: a descriptor that becomes readable when a handle can go on, for event loops.
//!
//! Processes cannot share an eventfd by name, and a named pipe beside the ring would have to be
//! made, found and cleaned up. So each [`Readiness`] has a thread that sleeps on the word in the
//! segment, and signals an eventfd:
//!
//! ```text
//!  handle: arm ──► arm the bell, look once more ──► order ──► thread: sleep on the bell
//!  event loop: readable? ◄──────────── eventfd ◄──────────────┘ woken, or LONGEST_PARK
//! ```
//!
//! io_uring can wait on a futex as well, but many containers forbid it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Thread;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

use crate::layout::slot::SlotState;
use crate::limits::MAX_POSITION;
use crate::segment::Segment;
use crate::segment::fork::Unshared;
use crate::settings::Side;
use crate::waiting::sleep::{LONGEST_PARK, Sleeper};
use crate::waiting::{bell, kernel};

/// Orders for the thread: nothing to do.
const IDLE: u64 = 0;
/// Nobody waits any more, so a wake-up belongs to others.
const CANCELLED: u64 = 1;
/// End.
const STOP: u64 = 2;
/// Sleep on the ticket in the upper half, at most for so many microseconds as the bits from
/// `MOST_SHIFT` on say.
const ARMED: u64 = 3;
/// With `ARMED`: the bell was not armed for it.
const UNMARKED: u64 = 4;
const MOST_SHIFT: u32 = 3;
const MOST_MASK: u64 = (1 << 20) - 1;

const _: () = assert!(LONGEST_PARK.as_micros() <= MOST_MASK as u128);

fn armed(ticket: u32, marked: bool, soon: Option<Duration>) -> u64 {
    let most = soon.map_or(LONGEST_PARK, |soon| LONGEST_PARK.min(soon));
    // Rounded up.
    let most = most.as_nanos().div_ceil(1_000) as u64;
    (ticket as u64) << 32 | most << MOST_SHIFT | if marked { ARMED } else { ARMED | UNMARKED }
}

/// For how long an order says to sleep.
const fn most_of(order: u64) -> Duration {
    Duration::from_micros(order >> MOST_SHIFT & MOST_MASK)
}

#[derive(Debug)]
struct Orders {
    word: AtomicU64,
    event: Unshared,
    segment: Segment,
    side: Side,
}

/// A descriptor that becomes readable when a handle should look again: for `poll`, `epoll`, and
/// what is built on them.
///
/// A program repeats these steps. It receives until there is nothing, by calls that do not wait
/// (`try_…`). It calls [`Consumer::arm`](crate::Consumer::arm). If that returns `false`, it waits
/// until the descriptor is readable, and [`clear`](Self::clear)s it. A producer does the same with
/// [`Producer::arm`](crate::Producer::arm). While armed, the descriptor also becomes readable every
/// [`LONGEST_PARK`](crate::LONGEST_PARK), 100 milliseconds, so that a loop finds what dead
/// participants left. A loop that stops waiting calls
/// [`Consumer::disarm`](crate::Consumer::disarm).
///
/// ```
/// use rustix::event::{PollFd, PollFlags, poll};
/// use ultrafastring::{PriorityClass, UltraFastRing};
///
/// let ring = UltraFastRing::new(8);
/// let mut consumer = ring.consumer()?;
/// let readiness = consumer.readiness()?;
/// # let mut producer = ring.producer()?;
/// # std::thread::spawn(move || producer.send_fast(b"hello", PriorityClass::Normal));
/// let message = loop {
///     if let Ok(message) = consumer.try_recv() {
///         break message;
///     }
///     if !consumer.arm(&readiness)? {
///         poll(&mut [PollFd::new(&readiness, PollFlags::IN)], None)?;
///         readiness.clear();
///     }
/// };
/// assert_eq!(&*message, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Readiness {
    orders: Arc<Orders>,
    thread: Thread,
}

impl Readiness {
    pub(crate) fn new(segment: &Segment, side: Side) -> io::Result<Self> {
        // A forked child that cleared it would take the parent's events.
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let event = Unshared::open(|| eventfd(0, flags))?;
        let word = AtomicU64::new(IDLE);
        let orders = Arc::new(Orders { word, event, segment: segment.clone(), side });
        let serving = Arc::clone(&orders);
        let thread = std::thread::Builder::new()
            .name("ufr-readiness".into())
            .spawn(move || serving.serve())?;
        Ok(Self { orders, thread: thread.thread().clone() })
    }

    /// Makes the descriptor not readable until the next event.
    pub fn clear(&self) {
        // It fails if it was not readable, which does not matter.
        let _ = rustix::io::read(&*self.orders.event, &mut [0u8; 8]);
    }

    /// Whether its thread sleeps in place of a handle that waits as `S` does. If `S` needs an armed
    /// bell, an order without one does not count.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_armed<S: Sleeper>(&self) -> bool {
        let word = self.orders.word.load(Ordering::Acquire);
        word & 3 == ARMED && !(S::ARMS && word & UNMARKED != 0)
    }

    /// Arms the bell for `handle`, and lets the thread sleep unless the handle can go on. Returns
    /// whether it can.
    pub(crate) fn arm<S: Sleeper>(&self, handle: &mut S) -> Result<bool, S::Stop> {
        if handle.look()? {
            return Ok(true);
        }
        let ticket = handle.take_ticket();
        match handle.look() {
            Ok(false) => {}
            other => {
                handle.leave(other.is_ok());
                return other;
            }
        }
        // Release: pairs with the acquire in `serve`.
        let order = armed(ticket, S::ARMS, handle.looks_again_in());
        self.orders.word.swap(order, Ordering::AcqRel);
        self.thread.unpark();
        Ok(false)
    }

    /// Cancels the last order. A wake-up that came meanwhile is passed on.
    pub(crate) fn cancel<S: Sleeper>(&self, handle: &mut S) {
        let cancel = |word| (word & 3 == ARMED).then_some(CANCELLED);
        let word = &self.orders.word;
        if word.fetch_update(Ordering::AcqRel, Ordering::Acquire, cancel).is_err() {
            // It was woken already.
            handle.leave(false);
        }
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.orders.event.as_fd()
    }
}

impl AsRawFd for Readiness {
    fn as_raw_fd(&self) -> RawFd {
        self.orders.event.as_raw_fd()
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        // Its thread ends at once, or after the sleep it is in.
        if self.orders.word.swap(STOP, Ordering::AcqRel) == IDLE {
            self.orders.leave(false);
        }
        self.thread.unpark();
    }
}

impl Orders {
    /// What the thread does.
    fn serve(&self) {
        loop {
            // Acquire: pairs with the release in `arm`.
            match self.word.load(Ordering::Acquire) {
                IDLE => std::thread::park(),
                STOP => return,
                CANCELLED => {
                    let _ = self.finish(CANCELLED);
                }
                order => self.sleep(order),
            }
        }
    }

    /// Sleeps as ordered, and signals the event loop unless the order was cancelled.
    fn sleep(&self, order: u64) {
        let bell = self.segment.sleeping_bell(self.side);
        let slept_out = kernel::park(bell, (order >> 32) as u32, most_of(order));
        self.segment.control().count_sleep(self.side, !slept_out);
        match self.finish(order) {
            Ok(_) => {
                if !slept_out {
                    self.leave(true);
                }
                // It fails if it is readable by 2^64 - 1 already.
                let _ = rustix::io::write(&*self.event, &1u64.to_ne_bytes());
            }
            // Nobody waits for this any more, and another sleeper may need the wake-up.
            Err(CANCELLED | STOP) if !slept_out => self.leave(false),
            Err(_) => {}
        }
    }

    /// Marks `order` as done. A newer order stays, and is returned.
    fn finish(&self, order: u64) -> Result<u64, u64> {
        self.word.compare_exchange(order, IDLE, Ordering::AcqRel, Ordering::Acquire)
    }

    /// As [`Sleeper::leave`], in the handle's place. Others may still sleep after a wake-up that
    /// only this thread got. So the bell is armed for them, and one of them is woken. If the handle
    /// is `ready`, its message may keep it busy for long, and another is woken only if there is
    /// more work.
    fn leave(&self, ready: bool) {
        if bell::wakes_one(&self.segment, self.side) {
            // First, since whoever commits something after this looks at the bell itself.
            bell::arm(&self.segment, self.side);
            if !ready || self.has_second() {
                bell::wake(&self.segment, self.side);
            }
        }
    }

    /// Whether there is another message behind the one that a consumer gets next. Only of a plain
    /// ring: in one for groups every wake-up wakes all, and nothing has to be handed on.
    fn has_second(&self) -> bool {
        // Acquire: the slots are not read in an older state. The value is only a limit, since a
        // peer wrote it.
        let head = self.segment.cursor().consumer_head.load(Ordering::Acquire);
        let next = head.min(MAX_POSITION) + 1;
        self.segment.slot(next).state(next) != SlotState::NotYet
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::{Duration, Instant};

    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;
    use crate::priority::PriorityClass;
    use crate::ring::UltraFastRing;
    use crate::waiting::strategy::WaitStrategy;

    /// Returns how long a message takes if it wakes an event loop that stops waiting.
    fn pass_by_a_loop_that_turns_away(disarms: bool) -> Duration {
        let ring = UltraFastRing::new(4);
        let mut producer = ring.producer().unwrap();
        let mut sleeper = ring.consumer().unwrap();
        let mut turning = ring.consumer().unwrap();
        sleeper.set_wait_strategy(WaitStrategy::Park);
        let readiness = turning.readiness().unwrap();
        assert_eq!(turning.arm(&readiness), Ok(false));
        // It sleeps first, so that the first wake-up is for it.
        std::thread::sleep(Duration::from_millis(5));
        std::thread::scope(|scope| {
            let sleeping = scope.spawn(|| sleeper.recv().map(drop));
            std::thread::sleep(Duration::from_millis(5));
            let sent = Instant::now();
            producer.send_fast(b"for whoever takes it", PriorityClass::Normal).unwrap();
            poll(&mut [PollFd::new(&readiness, PollFlags::IN)], None).unwrap();
            if disarms {
                turning.disarm(&readiness);
            }
            sleeping.join().unwrap().unwrap();
            sent.elapsed()
        })
    }

    #[test]
    fn an_event_loop_that_turns_to_something_else_hands_on_what_it_was_woken_for() {
        let soon = LONGEST_PARK / 3;
        // The machine may be late, and the sleeper may be woken first, but not every time.
        assert!((0..8).any(|_| pass_by_a_loop_that_turns_away(false) > soon), "nothing to hand on");
        assert!((0..8).filter(|_| pass_by_a_loop_that_turns_away(true) < soon).count() >= 6);
    }

    #[test]
    fn a_sleep_in_the_place_of_a_handle_counts_as_its() {
        let ring = UltraFastRing::new(4);
        let mut consumer = ring.consumer().unwrap();
        let readiness = consumer.readiness().unwrap();
        // The machine may be late, and the time up before the message comes.
        for _ in 0..100 {
            assert_eq!(consumer.arm(&readiness), Ok(false));
            ring.try_send("one", PriorityClass::Normal).unwrap();
            poll(&mut [PollFd::new(&readiness, PollFlags::IN)], None).unwrap();
            readiness.clear();
            consumer.try_recv().unwrap();
            let stats = ring.stats();
            assert!(stats.sleeps[1] > 0 && stats.sleeps[0] == 0, "{:?}", stats.sleeps);
            if stats.wakes[1] > 0 {
                return;
            }
        }
        panic!("no wake-up is counted");
    }

    #[test]
    fn an_order_that_was_never_given_is_called_off_without_harm() {
        let ring = UltraFastRing::new(4);
        let mut consumer = ring.consumer().unwrap();
        let readiness = consumer.readiness().unwrap();
        consumer.disarm(&readiness);
        ring.try_send("one", PriorityClass::Normal).unwrap();
        assert_eq!(consumer.arm(&readiness), Ok(true));
        assert_eq!(&*consumer.try_recv().unwrap(), b"one");
    }
}
