//! Which tasks are not done yet: what `JoinableQueue.join` waits for.
//!
//! A task is in one of four places. It is listed by the process that put it, it is in the ring, a
//! process has it in hand, or it is done. There is no count of all tasks: a process that is killed
//! would leave it wrong. Instead each handle of the queue's ring has a word of its own, with what
//! it has listed (a producer) or in hand (a consumer), and `join` adds up the words of those who
//! live. So what a killed process had is not waited for.
//!
//! The words are the side buffer of a second ring, on which nobody sends: memory that is inherited
//! and passed as the queue's ring is. A handle's word has the number of its participant.
//!
//! ```text
//!  listed ──► ring ──► in hand ──► done
//! ```
//!
//! A task only moves forward, and `join` looks in that order, so it misses none that was there when
//! it began. Who has one in hand may put others; so it looks twice, and nothing may have entered
//! the ring meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use ultrafastring::{Side, UltraFastRing};

use super::error;
use crate::errors;

/// A word has a cache line.
const STRIDE: usize = 64;

/// Somebody waits for tasks to be done.
const ARMED: u64 = 1;

/// The words of all handles.
pub(super) struct Tasks {
    /// Keeps the words mapped.
    ring: Arc<UltraFastRing>,
    /// Handles; one more word has the bell.
    handles: usize,
}

/// Bytes that a ring of so many participants needs for its words.
pub(super) fn bytes_for(participants: usize) -> usize {
    (participants + 1) * STRIDE
}

impl Tasks {
    pub(super) fn new(ring: Arc<UltraFastRing>, of: &UltraFastRing) -> PyResult<Self> {
        let handles = of.settings().participants;
        let enough = ring.side_buffers().is_some_and(|(_, bytes)| bytes >= bytes_for(handles));
        if enough {
            Ok(Self { ring, handles })
        } else {
            Err(errors::ring("the ring of the tasks is not of this queue"))
        }
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        let (start, bytes) = self.ring.side_buffers().map_or_else(
            || unreachable!("it was looked at when this was made"),
            |(start, bytes)| (start, bytes),
        );
        assert!((index + 1) * STRIDE <= bytes && index <= self.handles);
        // SAFETY: within the side buffers, at a multiple of 64 of an area that is aligned to pages.
        // They stay mapped as long as the ring, and are all in memory: the ring was made with
        // `preallocated`. All processes access them as this does.
        unsafe { AtomicU64::from_ptr(start.as_ptr().add(index * STRIDE).cast()) }
    }

    fn bell(&self) -> &AtomicU64 {
        self.word(self.handles)
    }

    /// A handle is new: whoever had its number before has nothing any more.
    pub(super) fn begin(&self, index: usize) {
        self.word(index).store(0, Ordering::SeqCst);
    }

    /// The handle has a task, or is about to look for one.
    #[inline]
    pub(super) fn have(&self, index: usize) {
        // SeqCst: before the claim of the task, as `join` looks at the ring before the words.
        self.word(index).fetch_add(1, Ordering::SeqCst);
    }

    /// It has found none after all.
    #[inline]
    pub(super) fn have_not(&self, index: usize) {
        self.word(index).fetch_sub(1, Ordering::SeqCst);
    }

    /// A task of the handle is done, or was sent. `false` if it has none.
    pub(super) fn done(&self, index: usize) -> bool {
        let word = self.word(index);
        // SeqCst: before the look at the bell; pairs with `arm`.
        let had = word.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |it| it.checked_sub(1));
        if had == Ok(1) {
            self.wake();
        }
        had.is_ok()
    }

    /// Wakes those who wait in `join`.
    pub(super) fn wake(&self) {
        let bell = self.bell();
        // SeqCst: pairs with `arm`. Either that look finds the task done, or this finds it armed.
        let seen = bell.load(Ordering::SeqCst);
        if seen & ARMED != 0 {
            let next = (seen & !ARMED).wrapping_add(2);
            if bell.compare_exchange(seen, next, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                futex(bell, libc::FUTEX_WAKE, i32::MAX as u32, None);
            }
        }
    }

    /// Says that somebody waits. What the bell has then.
    fn arm(&self) -> u64 {
        // SeqCst: before the looks at the words; pairs with `done`.
        self.bell().fetch_or(ARMED, Ordering::SeqCst) | ARMED
    }

    /// What the living of one side have.
    fn had_by(&self, ring: &UltraFastRing, side: Side) -> u64 {
        let living = ring.participants().filter(|it| it.side == side && it.alive);
        let words = living.filter(|it| it.index < self.handles);
        // Saturating: a peer may have written anything.
        words.fold(0, |sum, it| sum.saturating_add(self.word(it.index).load(Ordering::SeqCst)))
    }

    /// Whether no task is anywhere. With `held`, tasks in hand are held in the ring, and have
    /// credit until they are done.
    fn is_all_done(&self, ring: &UltraFastRing, held: bool) -> bool {
        let sent = ring.positions().producer_head;
        for _ in 0..2 {
            let done = self.had_by(ring, Side::Producer) == 0
                && if held {
                    ring.stats().credits_spent == 0
                } else {
                    ring.is_empty() && self.had_by(ring, Side::Consumer) == 0
                };
            if !done {
                return false;
            }
        }
        sent == ring.positions().producer_head
    }

    /// Waits until all tasks are done, or until then. Whether they are.
    pub(super) fn wait_done(&self, ring: &UltraFastRing, held: bool, until: Instant) -> bool {
        loop {
            let seen = self.arm();
            if self.is_all_done(ring, held) {
                return true;
            }
            let Some(left) = until.checked_duration_since(Instant::now()) else { return false };
            futex(self.bell(), libc::FUTEX_WAIT, seen as u32, Some(left));
        }
    }
}

/// Sleeps on the low half of the word, or wakes those who do.
fn futex(word: &AtomicU64, operation: i32, value: u32, limit: Option<Duration>) {
    let half = if cfg!(target_endian = "big") { 4 } else { 0 };
    let limit = limit.map(|it| libc::timespec {
        tv_sec: it.as_secs() as libc::time_t,
        tv_nsec: it.subsec_nanos() as _,
    });
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: a futex is a number of 32 bits, half of the word. It is not private: other processes
    // sleep on it. What the call returns does not matter: who is woken looks again.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr().cast::<u8>().add(half),
            operation,
            value,
            limit,
        );
    }
}

/// A task was reported done.
pub(super) fn report(done: bool) -> PyResult<()> {
    if done { Ok(()) } else { Err(error::nothing_in_hand()) }
}
