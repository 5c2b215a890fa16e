//! The sending handle.

use std::sync::Arc;
use std::time::Instant;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use ultrafastring::{MAX_BATCH, PriorityClass, Readiness, SendError, UltraFastRing};

use crate::errors;
use crate::guard::{self, Reservation};
use crate::handle::{self, Handle};
use crate::input::{self, Input};
use crate::wait::{self, Limit, Wait};

type Core = ultrafastring::Producer;

/// A handle that sends. Taken from a ring with `Ring.producer()`.
///
/// `send`, `send_many` and `reserve` wait while there is no room; those that begin with `try_` do
/// not. `timeout=` bounds a wait, in seconds. Threads may share a handle: its calls take turns.
///
/// >>> from ultrafastring import Ring
/// >>> ring = Ring.anonymous(capacity=2)
/// >>> with ring.producer() as producer:
/// ...     producer.send(b"one", priority="high")
/// ...     producer.try_send_many([b"two", b"three"])
/// ...     producer.try_send(b"three")
/// 1
/// False
#[pyclass(frozen, weakref, module = "ultrafastring")]
pub(crate) struct Producer {
    pub(crate) handle: Handle<Core>,
}

impl handle::Core for Core {
    type Lent = ultrafastring::Reservation<'static>;
    type More = ();

    fn readiness(&self) -> std::io::Result<Readiness> {
        self.readiness()
    }

    fn close(&mut self) {
        self.close();
    }
}

/// A producer that waits for room for a message of a class.
struct ForRoom<'a>(&'a mut Core, PriorityClass);

impl Wait for ForRoom<'_> {
    type Stop = SendError;
    const LATE: &'static str =
        "there was no room in the ring in time; send again, or see what keeps the consumers";

    fn wait_until(&mut self, until: Instant) -> Result<(), SendError> {
        match self.0.wait(self.1, Some(until)) {
            Err(SendError::TimedOut) => Ok(()),
            done => done,
        }
    }

    fn error(stop: SendError) -> PyErr {
        errors::of_send(stop)
    }
}

/// What a call of the handle got: `None` if there is no room, or no memory, which consumers can
/// change.
#[inline(always)]
fn unless_full<T>(core: &Core, outcome: Result<T, SendError>) -> PyResult<Option<T>> {
    match outcome {
        Ok(done) => Ok(Some(done)),
        Err(error) if core.may_wait(error) => Ok(None),
        Err(error) => Err(errors::of_send(error)),
    }
}

/// Several messages, of which the first so many were sent.
struct Many<'py> {
    messages: Vec<Bound<'py, PyAny>>,
    sent: usize,
}

impl<'py> Many<'py> {
    /// Checks all of them: if one is too large, or is no message, none is sent.
    fn new(messages: &Bound<'py, PyAny>, max: usize) -> PyResult<Self> {
        let messages: Vec<_> = match messages.cast_exact::<PyList>() {
            Ok(list) => list.iter().collect(),
            Err(_) => messages.try_iter()?.collect::<PyResult<_>>()?,
        };
        for message in &messages {
            let size = Input::of(message)?.as_slice().len();
            if size > max {
                return Err(errors::of_send(SendError::TooLarge { size, max }));
            }
        }
        Ok(Self { messages, sent: 0 })
    }

    /// Sends as many as there is room for. `Some` once all are sent.
    fn send_some(&mut self, handle: &mut Core, class: PriorityClass) -> PyResult<Option<()>> {
        while self.sent < self.messages.len() {
            let rest = &self.messages[self.sent..];
            let rest = &rest[..rest.len().min(MAX_BATCH)];
            // Declared first: dropped after the slices.
            let inputs: Vec<Input<'_, 'py>>;
            let mut slices: [&[u8]; MAX_BATCH] = [&[]; MAX_BATCH];
            let all_bytes = rest.iter().zip(&mut slices).all(|(message, slice)| {
                message.cast_exact::<PyBytes>().map(|it| *slice = it.as_bytes()).is_ok()
            });
            if !all_bytes {
                inputs = rest.iter().map(Input::of).collect::<PyResult<_>>()?;
                for (input, slice) in inputs.iter().zip(&mut slices) {
                    *slice = input.as_slice();
                }
            }
            let outcome = handle.try_send_many(&slices[..rest.len()], class);
            match unless_full(handle, outcome)? {
                Some(sent) => self.sent += sent,
                None => return Ok(None),
            }
        }
        Ok(Some(()))
    }
}

impl Producer {
    pub(crate) fn new(ring: &Arc<UltraFastRing>, core: Core, trusted: bool) -> Self {
        Self { handle: Handle::new(ring, core, trusted) }
    }

    /// Sends a message, if that can be done at once, and nothing is wrong.
    #[inline(always)]
    pub(crate) fn send_at_once(&self, data: &[u8], class: PriorityClass) -> bool {
        let Some(mut entered) = self.handle.turn.now() else { return false };
        entered.get().is_some_and(|it| it.core().send_fast(data, class).is_ok())
    }

    /// What was not sent at once.
    #[cold]
    fn send_later(
        py: Python<'_>,
        core: &mut Core,
        data: &[u8],
        class: PriorityClass,
        limit: Limit,
    ) -> PyResult<()> {
        let attempt = |it: &mut ForRoom<'_>| {
            let outcome = it.0.send_fast(data, class);
            unless_full(it.0, outcome)
        };
        wait::for_it(py, &mut ForRoom(core, class), limit, attempt)
    }

    /// Lends a place for `size` bytes to a guard.
    fn lend(
        slf: &Bound<'_, Self>,
        size: usize,
        class: PriorityClass,
        limit: Option<Limit>,
    ) -> PyResult<Option<Reservation>> {
        let (py, this) = (slf.py(), slf.get());
        let attempt = |core: &mut Core| {
            // SAFETY: it is kept beside the handle, which stays where it is, and is dropped before
            // that is used again or dropped.
            let place = core.try_reserve(size, class).map(|it| unsafe {
                std::mem::transmute::<
                    ultrafastring::Reservation<'_>,
                    ultrafastring::Reservation<'static>,
                >(it)
            });
            match place {
                Ok(place) => Ok(Some(place)),
                Err(error) => unless_full(core, Err(error)),
            }
        };
        let Some(mut entered) = this.handle.enter_to_lend(py, limit)? else { return Ok(None) };
        let sending = entered.value()?;
        let mut place = match limit {
            Some(limit) => {
                let mut waiting = ForRoom(sending.core(), class);
                wait::for_it(py, &mut waiting, limit, |it| attempt(it.0))?
            }
            None => match attempt(sending.core())? {
                Some(place) => place,
                None => return Ok(None),
            },
        };
        let shown = guard::place(py, this, &mut place, size);
        sending.lent = Some(place);
        entered.lend();
        Ok(Some(Reservation::new(slf.clone().unbind(), shown)))
    }
}

/// Sending.
#[pymethods]
impl Producer {
    /// Sends `data`, any bytes-like object; waits while there is no room. Raises `TimedOut` after
    /// `timeout` seconds, `TooLarge`, `Closed`, and `Deserted` if that was asked for.
    #[inline]
    #[pyo3(signature = (data, priority=None, timeout=None))]
    fn send(
        &self,
        data: &Bound<'_, PyAny>,
        priority: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
    ) -> PyResult<()> {
        let class = input::priority(priority)?;
        let input = Input::of(data)?;
        let limit = Limit::of(timeout)?;
        let mut entered = self.handle.turn.enter(data.py(), limit)?;
        let core = entered.value()?.core();
        match core.send_fast(input.as_slice(), class) {
            Ok(()) => Ok(()),
            Err(error) if core.may_wait(error) => {
                Self::send_later(data.py(), core, input.as_slice(), class, limit)
            }
            Err(error) => Err(errors::of_send(error)),
        }
    }

    /// As `send`, but gives `False` if there is no room. Never waits.
    #[inline]
    #[pyo3(signature = (data, priority=None))]
    fn try_send(
        &self,
        data: &Bound<'_, PyAny>,
        priority: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        let class = input::priority(priority)?;
        let input = Input::of(data)?;
        match self.handle.turn.try_enter()? {
            Some(mut entered) => {
                let core = entered.value()?.core();
                let outcome = core.send_fast(input.as_slice(), class);
                Ok(unless_full(core, outcome)?.is_some())
            }
            // Another thread waits for room, so there is none.
            None => Ok(false),
        }
    }

    /// Sends all of `messages`, in order; waits as often as there is no room. What it raises has
    /// the number of messages that were sent as its attribute `sent`; if one is too large, none is
    /// sent.
    #[pyo3(signature = (messages, priority=None, timeout=None))]
    fn send_many(
        &self,
        messages: &Bound<'_, PyAny>,
        priority: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
    ) -> PyResult<()> {
        let py = messages.py();
        let class = input::priority(priority)?;
        let limit = Limit::of(timeout)?;
        let mut many = Many::new(messages, self.handle.ring.max_message())?;
        let mut send = || {
            let mut entered = self.handle.turn.enter(py, limit)?;
            let core = entered.value()?.core();
            match many.send_some(core, class)? {
                Some(()) => Ok(()),
                None => {
                    let attempt = |it: &mut ForRoom<'_>| many.send_some(it.0, class);
                    wait::for_it(py, &mut ForRoom(core, class), limit, attempt)
                }
            }
        };
        let done = send();
        done.map_err(|error| errors::with_sent(py, error, many.sent))
    }

    /// Sends as many of `messages` as there is room for, in order, and says how many. Never waits.
    #[pyo3(signature = (messages, priority=None))]
    fn try_send_many(
        &self,
        messages: &Bound<'_, PyAny>,
        priority: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<usize> {
        let class = input::priority(priority)?;
        let mut many = Many::new(messages, self.handle.ring.max_message())?;
        let Some(mut entered) = self.handle.turn.try_enter()? else { return Ok(0) };
        match many.send_some(entered.value()?.core(), class) {
            // It is said again in the next call.
            Err(_) if many.sent != 0 => Ok(many.sent),
            done => done.map(|_| many.sent),
        }
    }

    /// A place for a message of `size` bytes: `with producer.reserve(size) as view` gives a
    /// memoryview to write to. The message is sent at the end of the block, and given up if that
    /// raises. Waits while there is no room.
    #[pyo3(signature = (size, priority=None, timeout=None))]
    fn reserve(
        slf: &Bound<'_, Self>,
        size: usize,
        priority: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
    ) -> PyResult<Reservation> {
        let limit = Limit::of(timeout)?;
        match Self::lend(slf, size, input::priority(priority)?, Some(limit))? {
            Some(reservation) => Ok(reservation),
            None => Err(errors::timed_out(ForRoom::LATE)),
        }
    }

    /// As `reserve`, or `None` if there is no room. Never waits.
    #[pyo3(signature = (size, priority=None))]
    fn try_reserve(
        slf: &Bound<'_, Self>,
        size: usize,
        priority: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<Reservation>> {
        Self::lend(slf, size, input::priority(priority)?, None)
    }
}

handle::common!(
    Producer,
    close: "Closes the ring: the stream ends, for every handle. Consumers get what is left in it.",
    flush: "Stores the statistics now, instead of once in several messages. A message that was \
        sent is there at once and needs no flush.",
    end_when_deserted: "Whether calls that wait raise `Deserted` when there is no room, \
        consumers have been, and none is left.",
    is_deserted: "Whether consumers have been and none is left at this moment.",
);

/// The handle.
#[pymethods]
impl Producer {
    /// How many handles of consumers are held by the living.
    fn living_consumers(&self, py: Python<'_>) -> PyResult<usize> {
        self.handle.on_core(py, |it| it.living_consumers())
    }

    /// Whether little credit is left, as this handle last saw it.
    fn under_pressure(&self, py: Python<'_>) -> PyResult<bool> {
        self.handle.on_core(py, |it| it.credits().under_pressure())
    }
}

/// asyncio: `_aio.py` has the rest.
#[pymethods]
impl Producer {
    /// Sends `data`; awaits room for it.
    #[pyo3(signature = (data, priority=None))]
    fn asend<'py>(
        slf: &Bound<'py, Self>,
        data: &Bound<'py, PyAny>,
        priority: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("ultrafastring._aio")?.call_method1("asend", (slf, data, priority))
    }

    /// Has the descriptor become readable when there is room; `True` if there is.
    #[pyo3(signature = (priority=None))]
    fn _arm(&self, py: Python<'_>, priority: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let class = input::priority(priority)?;
        let ready = self.handle.on_readiness(py, |core, readiness| core.arm(class, readiness))?;
        ready.unwrap_or(Ok(true)).map_err(errors::of_send)
    }

    /// Nothing is called off: producers are all woken by room.
    fn _disarm(&self) {}
}
