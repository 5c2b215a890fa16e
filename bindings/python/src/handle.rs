//! What a producer and a consumer have in common: a handle of the library that serves one call at a
//! time, may be lent to a guard, is awaited through a descriptor, and is given up.
//!
//! The methods that follow from it have macros here, for each class that has them:
//!
//! ```text
//!  context!   leave, `with`, and that it is not sent to another process
//!  common!    close, flush, desertion, place in the table, and what asyncio needs
//! ```

use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyWeakrefReference;
use ultrafastring::{Readiness, UltraFastRing};

use crate::errors;
use crate::keeper::{self, Keeper, Views};
use crate::turn::{Entered, Turn};
use crate::wait::Limit;

/// A handle of the library.
pub(crate) trait Core: Send + 'static {
    /// A message in place, which borrows the handle.
    type Lent: Send;
    /// What a call needs besides.
    type More: Send + Default;

    fn readiness(&self) -> std::io::Result<Readiness>;
    fn close(&mut self);
}

/// What a call has while it is its turn.
pub(crate) struct State<C: Core> {
    /// The message that a guard has; it borrows the handle.
    pub(crate) lent: Option<C::Lent>,
    core: NonNull<C>,
    pub(crate) more: C::More,
    readiness: Option<Readiness>,
    views: Views,
}

// SAFETY: it owns the handle, which may be sent, as all else may.
unsafe impl<C: Core> Send for State<C> {}

impl<C: Core> State<C> {
    /// The handle, while nothing is lent.
    #[inline(always)]
    pub(crate) fn core(&mut self) -> &mut C {
        self.parts().0
    }

    /// The handle, while nothing is lent, and what a call needs besides.
    #[inline(always)]
    pub(crate) fn parts(&mut self) -> (&mut C, &mut C::More) {
        debug_assert!(self.lent.is_none());
        // SAFETY: from a box that is dropped with this; a call reaches it only while it is not
        // lent.
        (unsafe { self.core.as_mut() }, &mut self.more)
    }
}

impl<C: Core> Drop for State<C> {
    fn drop(&mut self) {
        // First: it borrows the handle.
        self.lent = None;
        // SAFETY: from `Box::leak`, once.
        drop(unsafe { Box::from_raw(self.core.as_ptr()) });
    }
}

/// A handle of the library, and what Python needs of it.
pub(crate) struct Handle<C: Core> {
    pub(crate) turn: Turn<State<C>>,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) ring: Arc<UltraFastRing>,
    pub(crate) trusted: bool,
    /// What asyncio keeps.
    aio: Mutex<Option<Py<PyAny>>>,
}

impl<C: Core> Handle<C> {
    pub(crate) fn new(ring: &Arc<UltraFastRing>, core: C, trusted: bool) -> Self {
        Self {
            turn: Turn::new(State {
                lent: None,
                core: NonNull::from(Box::leak(Box::new(core))),
                more: C::More::default(),
                readiness: None,
                views: Views::default(),
            }),
            keeper: Keeper::new(Arc::clone(ring)),
            ring: Arc::clone(ring),
            trusted,
            aio: Mutex::new(None),
        }
    }

    /// Does `work` on the handle, in turn.
    pub(crate) fn on_core<R>(&self, py: Python<'_>, work: impl FnOnce(&mut C) -> R) -> PyResult<R> {
        let mut entered = self.turn.enter(py, Limit::None)?;
        Ok(work(entered.value()?.core()))
    }

    /// The turn of a call that lends a message: after others if it may wait; else `None` while
    /// another thread has it.
    pub(crate) fn enter_to_lend(
        &self,
        py: Python<'_>,
        limit: Option<Limit>,
    ) -> PyResult<Option<Entered<'_, State<C>>>> {
        match limit {
            Some(limit) => self.turn.enter(py, limit).map(Some),
            None => self.turn.try_enter(),
        }
    }

    /// Ends what a guard has.
    pub(crate) fn end_loan(&self, end: impl FnOnce(C::Lent)) {
        self.turn.as_guard(|state| state.lent.take().map(end));
        self.turn.end_loan();
    }

    /// Notes a view that a guard gave out.
    pub(crate) fn note_view(&self, view: Bound<'_, PyWeakrefReference>) {
        self.turn.as_guard(|state| state.views.add(view));
    }

    /// Whether the guard of a message is used in the process that took it.
    pub(crate) fn check_process(&self) -> PyResult<()> {
        if self.turn.is_of_this_process() { Ok(()) } else { Err(errors::forked()) }
    }

    /// Closes the ring.
    pub(crate) fn close(&self) -> PyResult<()> {
        match self.turn.try_enter()? {
            Some(mut entered) => entered.value()?.core().close(),
            // Another thread waits.
            None => self.ring.close(),
        }
        Ok(())
    }

    /// Drops the handle. What views show that may be alive stays.
    fn drop_core(&self, py: Python<'_>, entered: &mut Entered<'_, State<C>>) {
        if let Some(mut state) = entered.take_value() {
            let views = std::mem::take(&mut state.views);
            drop(state);
            keeper::keep(py, Arc::clone(&self.keeper), views);
        }
    }
}

/// asyncio.
impl<C: Core> Handle<C> {
    /// The descriptor of the handle, made when it is first asked for.
    pub(crate) fn descriptor(&self, py: Python<'_>) -> PyResult<i32> {
        let mut entered = self.turn.enter(py, Limit::None)?;
        let state = entered.value()?;
        if state.readiness.is_none() {
            state.readiness = Some(state.core().readiness()?);
        }
        Ok(state.readiness.as_ref().map_or(-1, AsRawFd::as_raw_fd))
    }

    /// Does `work` with the descriptor, in turn; `None` if there is none.
    pub(crate) fn on_readiness<R>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut C, &Readiness) -> R,
    ) -> PyResult<Option<R>> {
        let mut entered = self.turn.enter(py, Limit::None)?;
        let state = entered.value()?;
        let Some(readiness) = state.readiness.take() else { return Ok(None) };
        let done = work(state.core(), &readiness);
        state.readiness = Some(readiness);
        Ok(Some(done))
    }

    /// Has asyncio keep something, and gives what it kept.
    pub(crate) fn aio(&self) -> MutexGuard<'_, Option<Py<PyAny>>> {
        self.aio.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Core> Drop for Handle<C> {
    fn drop(&mut self) {
        // Whoever drops this has the interpreter.
        Python::attach(|py| {
            if let Ok(Some(mut entered)) = self.turn.try_enter() {
                self.drop_core(py, &mut entered);
            }
        });
    }
}

/// What its user gives up.
pub(crate) trait Leave {
    fn leave(&self, py: Python<'_>) -> PyResult<()>;

    fn is_of_this_process(&self) -> bool;
}

impl<C: Core> Leave for Handle<C> {
    fn leave(&self, py: Python<'_>) -> PyResult<()> {
        let mut entered = self.turn.enter(py, Limit::None)?;
        self.drop_core(py, &mut entered);
        Ok(())
    }

    fn is_of_this_process(&self) -> bool {
        self.turn.is_of_this_process()
    }
}

/// `context!(Class, field, "docstring of leave")`: giving it up, by a call or at the end of a
/// `with` block.
macro_rules! context {
    ($class:ident, $field:ident, $leave:tt) => {
        #[pymethods]
        impl $class {
            #[doc = $leave]
            fn leave(&self, py: Python<'_>) -> PyResult<()> {
                $crate::handle::Leave::leave(&self.$field, py)
            }

            fn __enter__(slf: Py<Self>) -> Py<Self> {
                slf
            }

            fn __exit__(
                &self,
                py: Python<'_>,
                _kind: &Bound<'_, PyAny>,
                _error: &Bound<'_, PyAny>,
                _traceback: &Bound<'_, PyAny>,
            ) -> PyResult<()> {
                // In a child that was forked inside of the block there is nothing to give up.
                if $crate::handle::Leave::is_of_this_process(&self.$field) {
                    $crate::handle::Leave::leave(&self.$field, py)
                } else {
                    Ok(())
                }
            }

            /// It cannot be sent to another process.
            fn __reduce__(&self) -> PyResult<()> {
                Err($crate::errors::not_sent())
            }
        }
    };
}
pub(crate) use context;

/// `common!(Class, close: "…", flush: "…", end_when_deserted: "…", is_deserted: "…")`, with the
/// docstrings: what producers and consumers have in common. The class has a field `handle`.
macro_rules! common {
    (
        $class:ident,
        close: $close:tt,
        flush: $flush:tt,
        end_when_deserted: $ends:tt,
        is_deserted: $deserted:tt $(,)?
    ) => {
        $crate::handle::context!(
            $class,
            handle,
            "Gives the handle up; its `with` block does so at its end. The ring is not closed \
                by it."
        );

        #[pymethods]
        impl $class {
            #[doc = $close]
            fn close(&self) -> PyResult<()> {
                self.handle.close()
            }

            #[doc = $flush]
            fn flush(&self, py: Python<'_>) -> PyResult<()> {
                self.handle.on_core(py, |it| it.flush())
            }

            #[doc = $ends]
            #[pyo3(signature = (ends=true))]
            fn end_when_deserted(&self, py: Python<'_>, ends: bool) -> PyResult<()> {
                self.handle.on_core(py, |it| it.end_when_deserted(ends))
            }

            #[doc = $deserted]
            fn is_deserted(&self, py: Python<'_>) -> PyResult<bool> {
                self.handle.on_core(py, |it| it.is_deserted())
            }

            /// This handle's place in the table of participants.
            #[getter]
            fn participant(&self, py: Python<'_>) -> PyResult<usize> {
                self.handle.on_core(py, |it| it.participant())
            }

            /// The descriptor that becomes readable when an armed handle should look again.
            fn _fileno(&self, py: Python<'_>) -> PyResult<i32> {
                self.handle.descriptor(py)
            }

            /// Makes the descriptor not readable.
            fn _clear(&self, py: Python<'_>) -> PyResult<()> {
                self.handle.on_readiness(py, |_, readiness| readiness.clear())?;
                Ok(())
            }

            #[getter(_aio)]
            fn get_aio(&self, py: Python<'_>) -> Option<Py<PyAny>> {
                self.handle.aio().as_ref().map(|it| it.clone_ref(py))
            }

            #[setter(_aio)]
            fn set_aio(&self, value: Option<Py<PyAny>>) {
                // What goes may run anything, so it goes without the lock.
                let old = std::mem::replace(&mut *self.handle.aio(), value);
                drop(old);
            }
        }
    };
}
pub(crate) use common;
