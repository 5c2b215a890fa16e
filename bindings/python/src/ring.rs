//! The ring: making and opening it, handing it over, looking at it.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use ultrafastring::{Builder, UltraFastRing, WaitStrategy};

use crate::consumer::{Consumer, Order};
use crate::producer::Producer;
use crate::settings::{self, Opening};
use crate::wait::{self, Limit};
use crate::{cuda, errors, fork, latencies, values};

/// A ring of messages in shared memory. Made by `create`, `open`, `open_or_create`, `anonymous` or
/// `take_from`.
///
/// Each message goes to one consumer; several consumers share the work. Messages come in the order
/// in which they were sent, whatever their priority classes, unless the ring has lanes: with
/// `lanes="by-class"` urgent messages overtake others, with `lanes="by-producer:N"` each producer
/// has a queue of its own. A ring that is passed to a child process is opened anew there.
///
/// >>> from ultrafastring import Ring
/// >>> ring = Ring.create("docs-ring", capacity=1024, reserve={"real-time": 16})
/// >>> ring.settings.capacity, len(ring)
/// (1024, 0)
/// >>> Ring.open("docs-ring").producer().send(b"from wherever it is opened")
/// >>> len(ring), ring.stats().sent
/// (1, 1)
/// >>> Ring.remove("docs-ring")
///
/// `trust_peers=True` vouches for all processes that share the ring: each accesses it through this
/// library only, and writes nowhere else into its memory. Messages are then shown in place.
#[pyclass(frozen, weakref, module = "ultrafastring")]
pub(crate) struct Ring {
    state: Mutex<State>,
    opening: Opening,
    name: Option<String>,
}

struct State {
    ring: Option<Arc<UltraFastRing>>,
    /// Of the process that opened it.
    generation: u64,
    /// In a forked child: a socket from which an anonymous ring can be taken.
    heir: Option<OwnedFd>,
}

impl Ring {
    fn over(ring: UltraFastRing, opening: Opening) -> Self {
        let name = ring.name().map(str::to_owned);
        let (ring, generation) = (Some(Arc::new(ring)), fork::generation());
        Self { state: Mutex::new(State { ring, generation, heir: None }), opening, name }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ring, opened anew if this is another process than before.
    pub(crate) fn opened(&self) -> PyResult<Arc<UltraFastRing>> {
        let mut state = self.state();
        let Some(ring) = &state.ring else { return Err(errors::ring_left()) };
        if state.generation == fork::generation() {
            return Ok(Arc::clone(ring));
        }
        let builder = self.opening.builder()?;
        let ring = match (&self.name, state.heir.take()) {
            (Some(name), _) => builder.open(name),
            (None, Some(heir)) => builder.take_from(&UnixStream::from(heir)),
            (None, None) => {
                return Err(errors::ring(
                    "this anonymous ring was not handed to the child when the process was forked; \
                 fork with os.fork or multiprocessing, or hand it over a socket",
                ));
            }
        };
        let ring = Arc::new(ring.map_err(errors::of_ring)?);
        state.generation = fork::generation();
        let inherited = state.ring.replace(Arc::clone(&ring));
        drop(state);
        drop(inherited);
        Ok(ring)
    }

    /// A builder that opens as this ring was opened.
    pub(crate) fn builder(&self) -> PyResult<Builder> {
        self.opening.builder()
    }

    /// Whether rings of other users are trusted, by `trust=`.
    pub(crate) fn trusts_others(&self) -> bool {
        self.opening.trust.as_deref().is_some_and(|it| it != "own-user")
    }

    pub(crate) fn trusts_peers(&self) -> bool {
        self.opening.trust_peers
    }

    /// A way to wait, by its word.
    pub(crate) fn strategy(word: Option<&str>) -> PyResult<WaitStrategy> {
        Ok(match word {
            None | Some("spin-then-park") => WaitStrategy::SpinThenPark,
            Some("spin") => WaitStrategy::Spin,
            Some("spin-then-yield") => WaitStrategy::SpinThenYield,
            Some("park") => WaitStrategy::Park,
            Some(word) => {
                let words = "it is one of spin, spin-then-yield, spin-then-park, park";
                return Err(errors::word("wait_strategy", word, words));
            }
        })
    }
}

/// A Unix socket of Python's, as one of Rust's; both are to be closed.
fn socket_of(socket: &Bound<'_, PyAny>) -> PyResult<UnixStream> {
    let number: RawFd = socket.call_method0("fileno")?.extract()?;
    if number < 0 {
        return Err(PyTypeError::new_err("the socket is closed; pass one that is open"));
    }
    // SAFETY: the socket has it open, and is alive as long as this call.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    Ok(UnixStream::from(borrowed.try_clone_to_owned()?))
}

/// Waits until there is something to read, or the socket's timeout has passed.
fn wait_for_bytes(py: Python<'_>, socket: &UnixStream, timeout: Option<f64>) -> PyResult<()> {
    let deadline = Limit::of(timeout)?.deadline();
    loop {
        let left = wait::slice(deadline).saturating_duration_since(Instant::now());
        let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, which is ours.
        let found =
            py.detach(|| unsafe { libc::poll(&raw mut poll, 1, left.as_millis() as i32 + 1) });
        if found > 0 {
            return Ok(());
        }
        py.check_signals()?;
        if deadline.is_some_and(|it| Instant::now() >= it) {
            return Err(errors::timed_out("no ring was handed over in time"));
        }
    }
}

/// Making and opening.
#[pymethods]
impl Ring {
    /// Makes the ring called `name`. The settings have the names and words of `ufr create`.
    #[staticmethod]
    #[pyo3(signature = (name, **settings))]
    fn create(py: Python<'_>, name: &str, settings: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let (builder, opening) = settings::all(settings)?;
        let made = py.detach(|| builder.create(name)).map_err(errors::of_ring)?;
        Ok(Self::over(made, opening))
    }

    /// Opens the ring called `name`, whatever its settings are.
    #[staticmethod]
    #[pyo3(signature = (name, **settings))]
    fn open(py: Python<'_>, name: &str, settings: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let opening = Opening::of(settings)?;
        let builder = opening.builder()?;
        let opened = py.detach(|| builder.open(name)).map_err(errors::of_ring)?;
        Ok(Self::over(opened, opening))
    }

    /// Opens the ring called `name`, or makes it if there is none. What is chosen must be as in a
    /// ring that is there, unless `accept_existing=True`.
    #[staticmethod]
    #[pyo3(signature = (name, **settings))]
    fn open_or_create(
        py: Python<'_>,
        name: &str,
        settings: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let (builder, opening) = settings::all(settings)?;
        let opened = py.detach(|| builder.open_or_create(name)).map_err(errors::of_ring)?;
        Ok(Self::over(opened, opening))
    }

    /// Makes a ring without a name, for child processes, and for those to which it is handed over a
    /// Unix socket. Nobody who has it can make its memory shorter.
    #[staticmethod]
    #[pyo3(signature = (**settings))]
    fn anonymous(py: Python<'_>, settings: Option<&Bound<'_, PyDict>>) -> PyResult<Py<Self>> {
        let (builder, opening) = settings::all(settings)?;
        let made = py.detach(|| builder.anonymous()).map_err(errors::of_ring)?;
        Self::noted(py, Self::over(made, opening))
    }

    /// Takes a ring that the process at the other end of a Unix socket hands over by `hand_to`;
    /// waits for it as long as the socket's timeout says.
    #[staticmethod]
    #[pyo3(signature = (socket, **settings))]
    fn take_from(
        py: Python<'_>,
        socket: &Bound<'_, PyAny>,
        settings: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<Self>> {
        let opening = Opening::of(settings)?;
        let builder = opening.builder()?;
        let timeout: Option<f64> = socket.call_method0("gettimeout")?.extract()?;
        let socket = socket_of(socket)?;
        wait_for_bytes(py, &socket, timeout)?;
        let taken = builder.take_from(&socket).map_err(errors::of_ring)?;
        Self::noted(py, Self::over(taken, opening))
    }

    /// Hands an anonymous ring to the process at the other end of a Unix socket, which takes it by
    /// `Ring.take_from`.
    fn hand_to(&self, socket: &Bound<'_, PyAny>) -> PyResult<()> {
        self.opened()?.hand_to(&socket_of(socket)?).map_err(errors::of_ring)
    }

    /// Takes the name of a ring away; those who have it open go on with it.
    #[staticmethod]
    #[pyo3(signature = (name, *, directory=None))]
    fn remove(name: &str, directory: Option<PathBuf>) -> PyResult<()> {
        let opening = Opening { directory, ..Opening::default() };
        opening.builder()?.remove(name).map_err(errors::of_ring)
    }

    /// The names of the rings in the directory, sorted.
    #[staticmethod]
    #[pyo3(signature = (*, directory=None))]
    fn names(directory: Option<PathBuf>) -> PyResult<Vec<String>> {
        let opening = Opening { directory, ..Opening::default() };
        opening.builder()?.list().map_err(errors::of_ring)
    }
}

/// Handles.
#[pymethods]
impl Ring {
    /// A producer. If the ring is closed, this opens it again, unless `unless_closed=True`, which
    /// raises `Closed`.
    #[pyo3(signature = (*, unless_closed=false, end_when_deserted=false, wait_strategy=None))]
    fn producer(
        &self,
        unless_closed: bool,
        end_when_deserted: bool,
        wait_strategy: Option<&str>,
    ) -> PyResult<Producer> {
        let strategy = Self::strategy(wait_strategy)?;
        let ring = self.opened()?;
        let taken = if unless_closed { ring.producer_unless_closed() } else { ring.producer() };
        let mut producer = taken.map_err(errors::of_ring)?;
        producer.set_wait_strategy(strategy);
        producer.end_when_deserted(end_when_deserted);
        Ok(Producer::new(&ring, producer, self.opening.trust_peers))
    }

    /// A consumer. With `end_when_deserted=True` its waits raise `Deserted`, and its iteration
    /// ends, when the ring is empty, producers have been, and none is left; with
    /// `await_next_stream=True` it treats a ring that is closed now as an empty one. In which order
    /// it takes from lanes, `in_time_order` (seconds) and `ageing` say: see the calls of these
    /// names.
    #[pyo3(signature = (*, end_when_deserted=false, await_next_stream=false, wait_strategy=None,
        in_time_order=None, ageing=None))]
    fn consumer(
        &self,
        end_when_deserted: bool,
        await_next_stream: bool,
        wait_strategy: Option<&str>,
        in_time_order: Option<f64>,
        ageing: Option<u32>,
    ) -> PyResult<Consumer> {
        let strategy = Self::strategy(wait_strategy)?;
        let order = Order::of(in_time_order, ageing)?;
        let ring = self.opened()?;
        let mut consumer = ring.consumer().map_err(errors::of_ring)?;
        order.choose(&mut consumer)?;
        consumer.set_wait_strategy(strategy);
        consumer.end_when_deserted(end_when_deserted);
        if await_next_stream {
            consumer.await_next_stream();
        }
        Ok(Consumer::new(&ring, consumer, self.opening.trust_peers))
    }

    /// Gives the ring up; its `with` block does so at its end. Handles keep it by themselves.
    fn leave(&self) {
        let left = self.state().ring.take();
        drop(left);
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __exit__(
        &self,
        _kind: &Bound<'_, PyAny>,
        _error: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) {
        self.leave();
    }

    /// Closes the ring: the stream ends, and whoever waits is woken. Consumers get what is left and
    /// then `Closed`.
    fn close(&self) -> PyResult<()> {
        self.opened()?.close();
        Ok(())
    }

    /// Opens a closed ring again, as taking a producer does.
    fn reopen(&self) -> PyResult<()> {
        self.opened()?.reopen();
        Ok(())
    }

    /// Whether the ring is closed.
    #[getter]
    fn closed(&self) -> PyResult<bool> {
        Ok(self.opened()?.is_closed())
    }
}

/// Looking.
#[pymethods]
impl Ring {
    /// Its name; `None` of an anonymous one.
    #[getter]
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Its file; `None` of an anonymous one.
    #[getter]
    fn path(&self) -> PyResult<Option<PathBuf>> {
        Ok(self.opened()?.path().map(ToOwned::to_owned))
    }

    /// Whether its processes vouch for each other, so that messages are shown in place.
    #[getter]
    fn trust_peers(&self) -> bool {
        self.opening.trust_peers
    }

    /// What it was made with, by the names of the keyword arguments.
    #[getter]
    fn settings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        values::settings(py, &**self.opened()?)
    }

    /// Slots.
    #[getter]
    fn capacity(&self) -> PyResult<usize> {
        Ok(self.opened()?.capacity())
    }

    /// Bytes of the largest message.
    #[getter]
    fn max_message(&self) -> PyResult<usize> {
        Ok(self.opened()?.max_message())
    }

    /// Messages in it that no consumer has taken.
    fn __len__(&self) -> PyResult<usize> {
        Ok(self.opened()?.len())
    }

    /// A ring is true, empty or not.
    fn __bool__(&self) -> bool {
        true
    }

    /// What was counted, by class and in all.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        values::stats(py, &**self.opened()?)
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
        latencies::latencies(py, &**self.opened()?, group)
    }

    /// The lanes of the ring, its queues, as a list of `Lane`: one of a plain ring.
    fn lanes<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        values::lanes(py, &**self.opened()?)
    }

    /// Who takes part, or did and has not been replaced.
    fn participants<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        values::participants(py, &**self.opened()?)
    }

    /// Whether an eighth of the credit limit or less is left.
    fn under_pressure(&self) -> PyResult<bool> {
        Ok(self.opened()?.under_pressure())
    }

    /// Whether its file was made shorter, or its header wiped out.
    #[getter]
    fn damaged(&self) -> PyResult<bool> {
        Ok(self.opened()?.is_damaged())
    }

    fn __repr__(&self) -> String {
        match &self.name {
            Some(name) => format!("<Ring {name:?}>"),
            None => "<Ring, anonymous>".to_owned(),
        }
    }
}

/// Other processes and processors.
#[pymethods]
impl Ring {
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let (py, this) = (slf.py(), slf.get());
        let opening = PyDict::new(py);
        opening.set_item("directory", &this.opening.directory)?;
        opening.set_item("trust", &this.opening.trust)?;
        opening.set_item("trust_peers", this.opening.trust_peers)?;
        opening.set_item("participant_name", &this.opening.participant_name)?;
        let processes = py.import("ultrafastring._processes")?;
        let reduced = match &this.name {
            Some(name) => processes.call_method1("reduce_named", (name, opening))?,
            None => processes.call_method1("reduce_anonymous", (slf, opening))?,
        };
        Ok(reduced.cast_into::<PyTuple>()?)
    }

    /// A socket from which another process takes this anonymous ring, once. It belongs to the
    /// caller.
    fn _heir(&self) -> PyResult<RawFd> {
        let (here, there) = UnixStream::pair()?;
        self.opened()?.hand_to(&here).map_err(errors::of_ring)?;
        Ok(there.into_raw_fd())
    }

    /// Whether it is open here: whether a child may want it.
    fn _is_open(&self) -> bool {
        self.state().ring.is_some()
    }

    /// In a forked child: the socket that was made for it.
    fn _inherit(&self, heir: RawFd) {
        // SAFETY: the caller gives it away.
        self.state().heir = Some(unsafe { OwnedFd::from_raw_fd(heir) });
    }

    /// Registers the memory of large messages with CUDA, so that copies between it and a graphics
    /// processor need no copy in between and may be asynchronous. Says how many bytes. Raises
    /// `PinError` that says what is missing.
    fn pin(&self, py: Python<'_>) -> PyResult<usize> {
        let ring = self.opened()?;
        py.detach(|| cuda::pin(&ring)).map_err(errors::pin)
    }

    /// Undoes `pin`.
    fn unpin(&self, py: Python<'_>) -> PyResult<()> {
        let ring = self.opened()?;
        py.detach(|| cuda::unpin(&ring)).map_err(errors::pin)
    }
}

impl Ring {
    /// A ring that a forked child can have only if it is handed over before.
    fn noted(py: Python<'_>, ring: Self) -> PyResult<Py<Self>> {
        let ring = Py::new(py, ring)?;
        py.import("ultrafastring._processes")?.call_method1("note", (&ring,))?;
        Ok(ring)
    }
}
