//! Observers and tail readers: looking at a ring, and reading its messages, without taking part.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Instant;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use ultrafastring::clock::Clock;
use ultrafastring::{Received, RecvError};

use crate::groups::{duration, start};
use crate::handle::{self, Leave};
use crate::ring::Ring;
use crate::settings::Opening;
use crate::turn::Turn;
use crate::values::{About, Message};
use crate::wait::{self, Limit, Wait};
use crate::{errors, latencies, values};

/// A ring that is only looked at: opened without the right to write, and unnoticed by those who
/// use it.
///
/// >>> from ultrafastring import Observer, Ring
/// >>> ring = Ring.create("docs-observed", joinable=True)
/// >>> observer = Observer.open("docs-observed")
/// >>> tail = observer.tail()
/// >>> ring.producer().send(b"AAPL 101")
/// >>> observer.stats().sent, tail.next().data
/// (1, b'AAPL 101')
/// >>> Ring.remove("docs-observed")
#[pyclass(frozen, weakref, module = "ultrafastring")]
pub(crate) struct Observer(ultrafastring::Observer);

#[pymethods]
impl Observer {
    /// Opens the ring called `name` to look at it. Its file only needs to be readable.
    #[staticmethod]
    #[pyo3(signature = (name, **settings))]
    fn open(py: Python<'_>, name: &str, settings: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let builder = Opening::of(settings)?.builder()?;
        py.detach(|| builder.observe(name)).map(Self).map_err(errors::of_ring)
    }

    /// A tail reader, which begins at `start`: `"latest"`, `"oldest"`, or the position of a
    /// message. While it waits it looks again every `poll` seconds.
    #[pyo3(signature = (start=None, *, poll=0.001))]
    fn tail(&self, start: Option<&Bound<'_, PyAny>>, poll: f64) -> PyResult<TailReader> {
        TailReader::of(&self.0, start, poll)
    }

    /// Its name; `None` of an anonymous one.
    #[getter]
    fn name(&self) -> Option<&str> {
        self.0.name()
    }

    /// Its file; `None` of an anonymous one.
    #[getter]
    fn path(&self) -> Option<PathBuf> {
        self.0.path().map(ToOwned::to_owned)
    }

    /// What it was made with, by the names of the keyword arguments.
    #[getter]
    fn settings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        values::settings(py, &self.0)
    }

    /// Messages in it that no consumer has taken; of a ring with groups, that some group has not.
    fn __len__(&self) -> usize {
        self.0.len()
    }

    /// An observer is true, whether its ring is empty or not.
    fn __bool__(&self) -> bool {
        true
    }

    /// What was counted, by class and in all.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        values::stats(py, &self.0)
    }

    /// How long messages took from send to receive, by class, as a dictionary of
    /// `LatencyHistogram`: of the group of this name, or of all. `None` if the ring was made
    /// without `latency_histograms=True`.
    #[pyo3(signature = (group=None))]
    fn latencies<'py>(
        &self,
        py: Python<'py>,
        group: Option<&str>,
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        latencies::latencies(py, &self.0, group)
    }

    /// The lanes of the ring, its queues, as a list of `Lane`: one of a plain ring.
    fn lanes<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        values::lanes(py, &self.0)
    }

    /// Who takes part, or did and has not been replaced.
    fn participants<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        values::participants(py, &self.0)
    }

    /// The groups of the ring, open or closed, as a list of `Group`.
    fn groups<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        values::groups(py, &self.0)
    }

    /// Whether its file was made shorter, or its header wiped out.
    #[getter]
    fn damaged(&self) -> bool {
        self.0.is_damaged()
    }

    /// An observer cannot be sent to another process.
    fn __reduce__(&self) -> PyResult<()> {
        Err(errors::not_sent())
    }
}

/// Tail readers.
#[pymethods]
impl Ring {
    /// A tail reader, which begins at `start`: `"latest"`, `"oldest"`, or the position of a
    /// message. No producer waits for it. While it waits it looks again every `poll` seconds. The
    /// ring must have been made with `joinable=True` or `groups=`.
    #[pyo3(signature = (start=None, *, poll=0.001))]
    fn tail(&self, start: Option<&Bound<'_, PyAny>>, poll: f64) -> PyResult<TailReader> {
        let ring = self.opened()?;
        let builder = self.builder()?;
        let observer = match ring.name() {
            Some(name) => builder.observe(name),
            None => {
                let (here, there) = UnixStream::pair()?;
                ring.hand_to_observer(&here).and_then(|()| builder.observe_from(&there))
            }
        };
        TailReader::of(&observer.map_err(errors::of_ring)?, start, poll)
    }
}

/// Reads the messages of a ring without taking part: nobody waits for it, and it takes no message
/// away. Taken with `Ring.tail()` or `Observer.tail()`.
///
/// A message that is overwritten before it is read is missed: `Overrun` says how many were, and
/// the next call goes on after them.
///
/// >>> from ultrafastring import Ring
/// >>> ring = Ring.anonymous(joinable=True)
/// >>> producer, tail = ring.producer(), ring.tail()
/// >>> producer.send_many([b"one", b"two", b"three"])
/// >>> tail.next().data, tail.latest().data, tail.try_next()
/// (b'one', b'three', None)
/// >>> producer.close()
/// >>> list(tail), tail.missed
/// ([], 0)
#[pyclass(frozen, weakref, module = "ultrafastring")]
pub(crate) struct TailReader {
    turn: Turn<Reading>,
    clock: Clock,
}

struct Reading {
    reader: ultrafastring::TailReader,
    buffer: Vec<u8>,
    /// What came during a wait, and lies in the buffer.
    came: Option<Received>,
}

impl Wait for Reading {
    type Stop = RecvError;
    const LATE: &'static str =
        "no message came in time; read again, or see what keeps the producers";

    fn wait_until(&mut self, until: Instant) -> Result<(), RecvError> {
        match self.reader.next_deadline(&mut self.buffer, until) {
            Ok(about) => {
                self.came = Some(about);
                Ok(())
            }
            Err(RecvError::TimedOut) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn error(stop: RecvError) -> PyErr {
        errors::of_recv(stop)
    }
}

impl Leave for Turn<Reading> {
    fn leave(&self, py: Python<'_>) -> PyResult<()> {
        drop(self.enter(py, Limit::None)?.take_value());
        Ok(())
    }

    fn is_of_this_process(&self) -> bool {
        self.is_of_this_process()
    }
}

impl TailReader {
    fn of(
        observer: &ultrafastring::Observer,
        given: Option<&Bound<'_, PyAny>>,
        poll: f64,
    ) -> PyResult<Self> {
        let mut reader = observer.tail(start(given)?).map_err(errors::of_ring)?;
        reader.set_poll(duration("poll", poll)?);
        let turn = Turn::new(Reading { reader, buffer: Vec::new(), came: None });
        Ok(Self { turn, clock: observer.clock() })
    }

    /// The message that lies in the buffer after a call of the reader.
    fn message(
        &self,
        py: Python<'_>,
        buffer: &[u8],
        outcome: Result<Received, RecvError>,
    ) -> PyResult<Option<Message>> {
        match outcome {
            Ok(about) => {
                let data = PyBytes::new(py, buffer);
                Ok(Some(Message::new(data, About::new(about, &self.clock))))
            }
            Err(RecvError::Empty) => Ok(None),
            Err(error) => Err(errors::of_recv(error)),
        }
    }

    fn attempt(&self, py: Python<'_>, it: &mut Reading) -> PyResult<Option<Message>> {
        let outcome = match it.came.take() {
            Some(about) => Ok(about),
            None => it.reader.try_next(&mut it.buffer),
        };
        self.message(py, &it.buffer, outcome)
    }

    fn on_reader<R>(&self, py: Python<'_>, work: impl FnOnce(&mut Reading) -> R) -> PyResult<R> {
        let mut entered = self.turn.enter(py, Limit::None)?;
        Ok(work(entered.value()?))
    }
}

#[pymethods]
impl TailReader {
    /// The next message as a `Message`; waits for it. Raises `TimedOut` after `timeout` seconds,
    /// `Overrun` if messages were overwritten before they were read, `Closed` when the ring is
    /// closed and all of it read.
    #[pyo3(signature = (timeout=None))]
    fn next(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Message> {
        let limit = Limit::of(timeout)?;
        let mut entered = self.turn.enter(py, limit)?;
        wait::for_it(py, entered.value()?, limit, |it| self.attempt(py, it))
    }

    /// The next message, or `None` if there is none. Never waits.
    fn try_next(&self, py: Python<'_>) -> PyResult<Option<Message>> {
        match self.turn.try_enter()? {
            Some(mut entered) => self.attempt(py, entered.value()?),
            // Another thread waits for a message, so there is none.
            None => Ok(None),
        }
    }

    /// The newest message, or `None` if there is none that was not read. What lies before it is
    /// passed over, and does not count as missed. Never waits.
    fn latest(&self, py: Python<'_>) -> PyResult<Option<Message>> {
        let Some(mut entered) = self.turn.try_enter()? else { return Ok(None) };
        let it = entered.value()?;
        if let Some(about) = it.came {
            // It came in a wait that was interrupted; it is the answer only if nothing is newer.
            let mut newer = Vec::new();
            if let Ok(about) = it.reader.latest(&mut newer) {
                (it.came, it.buffer) = (None, newer);
                return self.message(py, &it.buffer, Ok(about));
            }
            it.came = None;
            return self.message(py, &it.buffer, Ok(about));
        }
        let outcome = it.reader.latest(&mut it.buffer);
        self.message(py, &it.buffer, outcome)
    }

    /// The position that it reads next.
    #[getter]
    fn position(&self, py: Python<'_>) -> PyResult<u64> {
        self.on_reader(py, |it| it.came.map_or(it.reader.position(), |about| about.position()))
    }

    /// The lane of the message that was read last, from 0; `position` is of that lane.
    #[getter]
    fn lane(&self, py: Python<'_>) -> PyResult<usize> {
        self.on_reader(py, |it| it.reader.lane())
    }

    /// How many positions it has missed since it was made.
    #[getter]
    fn missed(&self, py: Python<'_>) -> PyResult<u64> {
        self.on_reader(py, |it| it.reader.missed())
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// The next message, as `next`; the iteration ends when the ring is closed and all of it read.
    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Message>> {
        match self.next(py, None) {
            Ok(message) => Ok(Some(message)),
            Err(error) if errors::ends_stream(py, &error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

handle::context!(TailReader, turn, "Gives the reader up; its `with` block does so at its end.");
