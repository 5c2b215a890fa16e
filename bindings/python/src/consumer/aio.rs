//! What asyncio needs of a receiving handle; `_aio.py` has the rest.

use pyo3::prelude::*;

use super::Consumer;
use crate::errors;

/// asyncio.
#[pymethods]
impl Consumer {
    /// The next message; awaits it.
    fn arecv<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("ultrafastring._aio")?.call_method1("arecv", (slf,))
    }

    /// The next message as a `Message`; awaits it.
    fn arecv_message<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("ultrafastring._aio")?.call_method1("arecv_message", (slf,))
    }

    /// A list of 1 to `most` messages; awaits the first.
    #[pyo3(signature = (most=64))]
    fn arecv_many<'py>(slf: &Bound<'py, Self>, most: usize) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("ultrafastring._aio")?.call_method1("arecv_many", (slf, most))
    }

    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __anext__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("ultrafastring._aio")?.call_method1("anext_", (slf,))
    }

    /// Has the descriptor become readable when there is a message; `True` if there is one.
    fn _arm(&self, py: Python<'_>) -> PyResult<bool> {
        let ready = self.handle.on_readiness(py, |core, readiness| core.arm(readiness))?;
        ready.unwrap_or(Ok(true)).map_err(errors::of_recv)
    }

    /// Calls the last order off.
    fn _disarm(&self, py: Python<'_>) -> PyResult<()> {
        self.handle.on_readiness(py, |core, readiness| core.disarm(readiness))?;
        Ok(())
    }
}
