//! Waiting: at first with the interpreter's lock, for as long as giving it away would take; then
//! without it, in slices, so that Ctrl-C is noticed.

use std::time::{Duration, Instant};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors;

/// How long a wait lasts before it looks for signals.
const SLICE: Duration = Duration::from_millis(50);

/// How often a call looks again before it lets other threads run: for a microsecond or two.
const LOOKS: u32 = 32;

/// How long a call may wait.
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    None,
    At(Instant),
}

impl Limit {
    /// Of `timeout=`, in seconds; without end if there is none.
    #[inline(always)]
    pub(crate) fn of(timeout: Option<f64>) -> PyResult<Self> {
        match timeout {
            None => Ok(Self::None),
            Some(seconds) => Self::after(seconds),
        }
    }

    fn after(seconds: f64) -> PyResult<Self> {
        if seconds.is_nan() || seconds < 0.0 {
            return Err(PyValueError::new_err(format!(
                "timeout= is a number of seconds, 0 or more, or None; it is not {seconds}"
            )));
        }
        let end = Duration::try_from_secs_f64(seconds).ok();
        // Beyond what a clock can say is without end.
        Ok(end.and_then(|it| Instant::now().checked_add(it)).map_or(Self::None, Self::At))
    }

    pub(crate) fn deadline(self) -> Option<Instant> {
        match self {
            Self::None => None,
            Self::At(deadline) => Some(deadline),
        }
    }
}

/// When a wait is to look for signals, or end.
pub(crate) fn slice(deadline: Option<Instant>) -> Instant {
    let next = Instant::now() + SLICE;
    deadline.map_or(next, |deadline| deadline.min(next))
}

/// A handle that waits.
pub(crate) trait Wait: Send {
    type Stop: Send;
    /// What there was not in time.
    const LATE: &'static str;

    /// Waits until it may go on, or until then. An error is a reason to wait no more.
    fn wait_until(&mut self, until: Instant) -> Result<(), Self::Stop>;

    fn error(stop: Self::Stop) -> PyErr;
}

/// Does `attempt`, and waits as long as it finds nothing.
///
/// Whatever `attempt` has got is returned before a signal is looked for: nothing is lost.
#[inline(always)]
pub(crate) fn for_it<H: Wait, R>(
    py: Python<'_>,
    handle: &mut H,
    limit: Limit,
    mut attempt: impl FnMut(&mut H) -> PyResult<Option<R>>,
) -> PyResult<R> {
    for _ in 0..LOOKS {
        if let Some(got) = attempt(handle)? {
            return Ok(got);
        }
        std::hint::spin_loop();
    }
    until_then(py, handle, limit.deadline(), &mut attempt)
}

#[cold]
fn until_then<H: Wait, R>(
    py: Python<'_>,
    handle: &mut H,
    deadline: Option<Instant>,
    attempt: &mut impl FnMut(&mut H) -> PyResult<Option<R>>,
) -> PyResult<R> {
    loop {
        let until = slice(deadline);
        py.detach(|| handle.wait_until(until)).map_err(H::error)?;
        if let Some(got) = attempt(handle)? {
            return Ok(got);
        }
        py.check_signals()?;
        // Also of one that is woken each time for what others are faster to take.
        if deadline.is_some_and(|it| Instant::now() >= it) {
            return Err(errors::timed_out(H::LATE));
        }
    }
}
