//! Readiness: a descriptor that becomes readable when a handle can go on, for event loops.
//!
//! Processes cannot share an eventfd by name, and a named pipe beside the ring would have to be
//! made, found and cleaned up. So the readiness of a ring stays what it is, a word in the segment,
//! and each [`Readiness`] has a thread that sleeps on it and passes it on to an eventfd of its own:
//!
//! ```text
//!  handle: arm ──► announce (wait), look once more ──► order ──► thread: sleep on the bell
//!  event loop: readable? ◄───────────── eventfd ◄────────────────┘ rung, or LONGEST_PARK
//! ```
//!
//! io_uring can wait on a futex as well, but is forbidden in many containers.

use core::mem::ManuallyDrop;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Thread;

use rustix::event::{EventfdFlags, eventfd};

use crate::layout::{MAX_POSITION, Sharing, Side};
use crate::segment::{Segment, fork};
use crate::slot::SlotState;
use crate::wait::{self, LONGEST_PARK, Sleeper, kernel};

/// Orders for the thread: nothing to do.
const IDLE: u64 = 0;
/// Nobody waits any more; what it was woken for is others'.
const CANCELLED: u64 = 1;
/// End.
const STOP: u64 = 2;
/// Sleep on the ticket in the upper half.
const ARMED: u64 = 3;

const fn armed(ticket: u32) -> u64 {
    (ticket as u64) << 32 | ARMED
}

#[derive(Debug)]
struct Orders {
    word: AtomicU64,
    event: ManuallyDrop<OwnedFd>,
    segment: Segment,
    side: Side,
}

/// A descriptor that becomes readable when a handle should look again: for `poll`, `epoll`, and
/// what is built on them.
///
/// A program's loop is: receive until there is nothing; [`Consumer::arm`](crate::Consumer::arm);
/// if that says that nothing came meanwhile, wait until the descriptor is readable, and
/// [`clear`](Self::clear) it; again. It also becomes readable every
/// [`LONGEST_PARK`](crate::LONGEST_PARK) while armed, so that a loop finds what the dead left.
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
        let event = ManuallyDrop::new(fork::open_unshared(|| eventfd(0, flags))?);
        let word = AtomicU64::new(IDLE);
        let orders = Arc::new(Orders { word, event, segment: segment.clone(), side });
        let serving = Arc::clone(&orders);
        let thread = std::thread::Builder::new()
            .name("ufr-readiness".into())
            .spawn(move || serving.serve())?;
        Ok(Self { orders, thread: thread.thread().clone() })
    }

    /// Makes the descriptor not readable, until the next time.
    pub fn clear(&self) {
        // It fails if it was not readable, which is as well.
        let _ = rustix::io::read(&*self.orders.event, &mut [0u8; 8]);
    }

    /// Whether its thread sleeps in the place of a handle.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_armed(&self) -> bool {
        self.orders.word.load(Ordering::Acquire) & 3 == ARMED
    }

    /// Announces `handle`, and has the thread sleep unless it can go on. Says whether it can.
    pub(crate) fn arm<S: Sleeper>(&self, handle: &mut S) -> Result<bool, S::Stop> {
        if handle.look()? {
            return Ok(true);
        }
        let ticket = wait::arm(handle.segment(), S::SIDE);
        match handle.look() {
            Ok(false) => {}
            other => {
                handle.leave(other.is_ok());
                return other;
            }
        }
        // Release: pairs with the acquire in `serve`.
        self.orders.word.swap(armed(ticket), Ordering::AcqRel);
        self.thread.unpark();
        Ok(false)
    }

    /// Calls the last order off. What came meanwhile is left to others.
    #[cfg(feature = "tokio")]
    pub(crate) fn cancel<S: Sleeper>(&self, handle: &mut S) {
        let cancel = |word| (word & 3 == ARMED).then_some(CANCELLED);
        let word = &self.orders.word;
        if word.fetch_update(Ordering::AcqRel, Ordering::Acquire, cancel).is_err() {
            // It has been rung for already.
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
            self.orders.hand_on();
        }
        self.thread.unpark();
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        // SAFETY: taken here alone, and not used after.
        fork::close_unshared(unsafe { ManuallyDrop::take(&mut self.event) });
    }
}

impl Orders {
    /// What the thread does.
    fn serve(&self) {
        loop {
            // Acquire: pairs with the release in `arm`.
            let order = self.word.load(Ordering::Acquire);
            match order {
                IDLE => std::thread::park(),
                STOP => return,
                CANCELLED => self.done(CANCELLED),
                _ => {
                    let bell = self.segment.control().bell(self.side);
                    let slept_out = kernel::park(bell, (order >> 32) as u32, LONGEST_PARK);
                    let finished = self.word.compare_exchange(
                        order,
                        IDLE,
                        Ordering::AcqRel,
                        Ordering::Acquire,
                    );
                    match finished {
                        Ok(_) => {
                            if !slept_out {
                                self.announce_others();
                            }
                            // It fails if it is readable by 2^64 - 1 already.
                            let _ = rustix::io::write(&*self.event, &1u64.to_ne_bytes());
                        }
                        // Nobody waits for this any more; who else sleeps may have been meant.
                        Err(CANCELLED | STOP) if !slept_out => self.hand_on(),
                        Err(_) => {}
                    }
                }
            }
        }
    }

    fn done(&self, order: u64) {
        // Anything newer stays.
        let _ = self.word.compare_exchange(order, IDLE, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Announces those again who may still sleep after a bell that rang for this thread alone: its
    /// handle may be busy for long with what it gets. One of them is woken if there is more.
    fn announce_others(&self) {
        if self.side != Side::Consumer || self.is_exclusive() {
            return;
        }
        // First: what is committed after it rings the bell itself.
        wait::arm(&self.segment, Side::Consumer);
        // Acquire: what the slots say is not older. At most: it is a peer's word.
        let head = self.segment.counters().consumer_head.load(Ordering::Acquire);
        let next = head.min(MAX_POSITION) + 1;
        if self.segment.slot(next).state(next) != SlotState::NotYet {
            wait::ring(&self.segment, Side::Consumer);
        }
    }

    fn is_exclusive(&self) -> bool {
        self.segment.geometry().consumer_sharing == Sharing::Exclusive
    }

    /// Wakes another sleeper of a side that is woken one at a time.
    fn hand_on(&self) {
        if self.side == Side::Consumer && !self.is_exclusive() {
            wait::arm(&self.segment, Side::Consumer);
            wait::ring(&self.segment, Side::Consumer);
        }
    }
}
