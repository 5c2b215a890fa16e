//! Pickle, protocol 5: large buffers are not copied into the stream.
//!
//! It pickles as `multiprocessing` does: what `ForkingPickler` has reducers for (connections,
//! sockets, what libraries register) is passed by them. Its table is one dict after the other
//! instead of a chain of maps, and a pickler is used again, since making one takes longer than what
//! it does for a small object.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyKeyError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList};

use crate::input::Buffer;

/// Buffers of fewer bytes are copied into the stream.
const OUT_OF_BAND: usize = 1024;

/// What a pickler has written.
pub(super) struct Written {
    pub(super) stream: Vec<u8>,
    /// Buffers that are beside the stream; `true` if read-only.
    pub(super) buffers: Vec<(Buffer, bool)>,
}

/// What a pickler writes.
#[derive(Default)]
struct Writing {
    stream: Vec<u8>,
    /// Views of buffers; `true` if read-only.
    buffers: Vec<(Py<PyAny>, bool)>,
}

/// The file that a pickler writes to, and what it asks where a buffer goes.
#[pyclass(frozen, module = "ultrafastring._ultrafastring")]
struct Sink(Mutex<Writing>);

impl Sink {
    fn written(&self) -> MutexGuard<'_, Writing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Sink {
    fn write(&self, data: &Bound<'_, PyAny>) -> PyResult<usize> {
        let data = Buffer::of(data, ffi::PyBUF_SIMPLE)?;
        self.written().stream.extend_from_slice(data.as_slice());
        Ok(data.as_slice().len())
    }

    /// Whether the buffer belongs into the stream.
    fn __call__(&self, buffer: &Bound<'_, PyAny>) -> PyResult<bool> {
        let raw = buffer.call_method0("raw")?;
        if raw.len()? < OUT_OF_BAND {
            return Ok(true);
        }
        let read_only = raw.getattr("readonly")?.is_truthy()?;
        self.written().buffers.push((raw.unbind(), read_only));
        Ok(false)
    }
}

/// How objects of a type are reduced: as `multiprocessing` does, then as `copyreg` says.
#[pyclass(frozen, mapping, module = "ultrafastring._ultrafastring")]
struct Reducers {
    forking: Py<PyDict>,
    copyreg: Py<PyDict>,
}

#[pymethods]
impl Reducers {
    fn __getitem__<'py>(
        &self,
        py: Python<'py>,
        kind: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        for table in [&self.forking, &self.copyreg] {
            if let Some(reducer) = table.bind(py).get_item(&kind)? {
                return Ok(reducer);
            }
        }
        Err(PyKeyError::new_err(kind.unbind()))
    }
}

/// A pickler, with what it writes to.
struct Pickler {
    sink: Py<Sink>,
    dump: Py<PyAny>,
    clear_memo: Py<PyAny>,
}

impl Pickler {
    fn new(py: Python<'_>) -> PyResult<Self> {
        static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        static REDUCERS: PyOnceLock<Py<Reducers>> = PyOnceLock::new();
        let reducers = REDUCERS.get_or_try_init(py, || {
            let forking = py
                .import("multiprocessing.reduction")?
                .getattr("ForkingPickler")?
                .getattr("_extra_reducers")?
                .cast_into::<PyDict>()?
                .unbind();
            let copyreg = py.import("copyreg")?.getattr("dispatch_table")?;
            let copyreg = copyreg.cast_into::<PyDict>()?.unbind();
            Py::new(py, Reducers { forking, copyreg })
        })?;
        let class = CLASS.get_or_try_init(py, || {
            Ok::<_, PyErr>(py.import("pickle")?.getattr("Pickler")?.unbind())
        })?;
        let sink = Py::new(py, Sink(Mutex::default()))?;
        let named = PyDict::new(py);
        named.set_item("buffer_callback", &sink)?;
        let pickler = class.bind(py).call((&sink, 5), Some(&named))?;
        pickler.setattr("dispatch_table", reducers)?;
        let (dump, clear_memo) = (pickler.getattr("dump")?, pickler.getattr("clear_memo")?);
        Ok(Self { sink, dump: dump.unbind(), clear_memo: clear_memo.unbind() })
    }
}

/// A pickler that nobody uses at this moment. One that has failed is not used again.
static IDLE: Mutex<Option<Pickler>> = Mutex::new(None);

fn idle() -> MutexGuard<'static, Option<Pickler>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Pickles `object`. It may run any code, also code that calls this. The stream begins after
/// `before`.
pub(super) fn dump(object: &Bound<'_, PyAny>, before: u8) -> PyResult<Written> {
    let py = object.py();
    let taken = idle().take();
    let pickler = match taken {
        Some(pickler) => pickler,
        None => Pickler::new(py)?,
    };
    pickler.sink.get().written().stream.push(before);
    pickler.dump.bind(py).call1((object,))?;
    pickler.clear_memo.bind(py).call0()?;
    let written = std::mem::take(&mut *pickler.sink.get().written());
    let other = idle().replace(pickler);
    drop(other);
    let buffer = |(view, read_only): (Py<PyAny>, bool)| {
        Buffer::of(view.bind(py), ffi::PyBUF_SIMPLE).map(|buffer| (buffer, read_only))
    };
    let buffers = written.buffers.into_iter().map(buffer).collect::<PyResult<_>>()?;
    Ok(Written { stream: written.stream, buffers })
}

/// Unpickles; the object takes the buffers for its own.
pub(super) fn load<'py>(
    stream: &Bound<'py, PyAny>,
    buffers: Option<Bound<'py, PyList>>,
) -> PyResult<Bound<'py, PyAny>> {
    static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let loads = LOADS.import(stream.py(), "pickle", "loads")?;
    match buffers {
        None => loads.call1((stream,)),
        Some(buffers) => {
            let named = PyDict::new(stream.py());
            named.set_item("buffers", buffers)?;
            loads.call((stream,), Some(&named))
        }
    }
}
