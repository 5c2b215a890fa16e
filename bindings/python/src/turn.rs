//! Turns: a handle serves one call at a time, whichever threads share it.
//!
//! With the interpreter's lock only a call that waits lets others run before it is over, and a
//! message that is held in place outlasts its call. Without that lock calls meet anywhere.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use pyo3::prelude::*;

use crate::{errors, fork, wait};

const FREE: u8 = 0;
/// A call has it.
const BUSY: u8 = 1;
/// A guard has it: a message that is read or written in place.
const LENT: u8 = 2;

/// A value that one call, or one guard, has at a time.
pub(crate) struct Turn<T> {
    state: AtomicU8,
    waiting: AtomicUsize,
    lock: Mutex<()>,
    freed: Condvar,
    /// Of the process that made it.
    generation: u64,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: the value is reached through `Entered` or by the guard to which it is lent, of which
// there is one at a time: `take` lets one in.
unsafe impl<T: Send> Sync for Turn<T> {}

/// What a call has while it is its turn.
pub(crate) struct Entered<'a, T: Send>(&'a Turn<T>);

/// Why it is not a call's turn.
enum Refused {
    Busy,
    Lent,
}

impl<T: Send> Turn<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            state: AtomicU8::new(FREE),
            waiting: AtomicUsize::new(0),
            lock: Mutex::new(()),
            freed: Condvar::new(),
            generation: fork::generation(),
            value: UnsafeCell::new(Some(value)),
        }
    }

    #[inline(always)]
    fn take(&self) -> Result<Entered<'_, T>, Refused> {
        #[cfg(not(Py_GIL_DISABLED))]
        let found = {
            // Relaxed, and in two steps: the interpreter's lock is held, and orders everything.
            let found = self.state.load(Ordering::Relaxed);
            if found == FREE {
                self.state.store(BUSY, Ordering::Relaxed);
            }
            found
        };
        #[cfg(Py_GIL_DISABLED)]
        // Acquire: pairs with the release in `give_back`.
        let found = self
            .state
            .compare_exchange(FREE, BUSY, Ordering::Acquire, Ordering::Relaxed)
            .unwrap_or_else(|found| found);
        match found {
            FREE => Ok(Entered(self)),
            LENT => Err(Refused::Lent),
            _ => Err(Refused::Busy),
        }
    }

    /// Ends a turn, of a call or of a guard.
    #[inline(always)]
    fn give_back(&self) {
        // Release: pairs with the acquire in `take`. Sequentially consistent without the
        // interpreter's lock, so that either this sees who waits or that sees the turn.
        #[cfg(not(Py_GIL_DISABLED))]
        let (free, look) = (Ordering::Release, Ordering::Relaxed);
        #[cfg(Py_GIL_DISABLED)]
        let (free, look) = (Ordering::SeqCst, Ordering::SeqCst);
        self.state.store(FREE, free);
        if self.waiting.load(look) != 0 {
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.freed.notify_one();
        }
    }

    #[inline(always)]
    fn check_fork(&self) -> PyResult<()> {
        if self.generation == fork::generation() { Ok(()) } else { Err(errors::forked()) }
    }

    /// The turn, for a call that waits: after the calls of other threads.
    #[inline(always)]
    pub(crate) fn enter(&self, py: Python<'_>, limit: wait::Limit) -> PyResult<Entered<'_, T>> {
        self.check_fork()?;
        match self.take() {
            Ok(entered) => Ok(entered),
            Err(refused) => self.enter_later(py, limit, refused),
        }
    }

    #[cold]
    fn enter_later(
        &self,
        py: Python<'_>,
        limit: wait::Limit,
        mut refused: Refused,
    ) -> PyResult<Entered<'_, T>> {
        let deadline = limit.deadline();
        loop {
            match refused {
                Refused::Lent => return Err(errors::held()),
                Refused::Busy => py.detach(|| self.sleep(deadline)),
            }
            refused = match self.take() {
                Ok(entered) => return Ok(entered),
                Err(refused) => refused,
            };
            py.check_signals()?;
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(errors::timed_out("the handle was in use by another thread"));
            }
        }
    }

    /// Sleeps until a turn ends, or until it is time to look for signals.
    fn sleep(&self, deadline: Option<Instant>) {
        let slice = wait::slice(deadline).saturating_duration_since(Instant::now());
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        // Sequentially consistent: see `give_back`.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        if self.state.load(Ordering::SeqCst) == BUSY {
            drop(self.freed.wait_timeout(guard, slice).unwrap_or_else(PoisonError::into_inner));
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// The turn, for a call that does not wait; `None` while another thread has it.
    #[inline(always)]
    pub(crate) fn try_enter(&self) -> PyResult<Option<Entered<'_, T>>> {
        self.check_fork()?;
        match self.take() {
            Ok(entered) => Ok(Some(entered)),
            Err(Refused::Busy) => Ok(None),
            Err(Refused::Lent) => Err(errors::held()),
        }
    }

    /// The turn, if it is free at once; `None` also where another call would say an error.
    #[inline(always)]
    pub(crate) fn now(&self) -> Option<Entered<'_, T>> {
        if self.is_of_this_process() { self.take().ok() } else { None }
    }

    /// Does `work` for the guard to which the value is lent. `None` if it is lent to nobody, or was
    /// in another process.
    pub(crate) fn as_guard<R>(&self, work: impl FnOnce(&mut T) -> R) -> Option<R> {
        // Acquire: as in `take`.
        if self.state.load(Ordering::Acquire) != LENT {
            return None;
        }
        // SAFETY: lent, so no call has it, and the one guard calls this under a lock of its own.
        unsafe { &mut *self.value.get() }.as_mut().map(work)
    }

    /// Ends the loan.
    pub(crate) fn end_loan(&self) {
        if self.state.load(Ordering::Relaxed) == LENT {
            self.give_back();
        }
    }

    #[inline(always)]
    pub(crate) fn is_of_this_process(&self) -> bool {
        self.generation == fork::generation()
    }
}

impl<T: Send> Entered<'_, T> {
    /// The value.
    #[inline(always)]
    pub(crate) fn value(&mut self) -> PyResult<&mut T> {
        // SAFETY: it is this call's turn, and nobody else's.
        unsafe { &mut *self.0.value.get() }.as_mut().ok_or_else(errors::left)
    }

    /// The value, if it was not given up.
    #[inline(always)]
    pub(crate) fn get(&mut self) -> Option<&mut T> {
        // SAFETY: as above.
        unsafe { &mut *self.0.value.get() }.as_mut()
    }

    /// Takes the value away for ever.
    pub(crate) fn take_value(&mut self) -> Option<T> {
        // SAFETY: as above.
        unsafe { &mut *self.0.value.get() }.take()
    }

    /// Leaves the value to a guard.
    pub(crate) fn lend(self) {
        // Release: pairs with the acquire in `as_guard`.
        self.0.state.store(LENT, Ordering::Release);
        std::mem::forget(self);
    }
}

impl<T: Send> Drop for Entered<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.give_back();
    }
}
