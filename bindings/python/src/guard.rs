//! Messages in place: context managers that give a memoryview.
//!
//! ```text
//!  with consumer.borrow() as view:   the message is held
//!      …                             view: bytes in the ring, if peers are trusted; else a copy
//!                                    the view is released, then the message
//! ```
//!
//! A view that others have views of cannot be released: then the block ends with `ViewsExported`
//! and the message stays held until the last of them has gone.

use std::ffi::c_int;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView, PyWeakrefMethods, PyWeakrefReference};
use ultrafastring::INLINE_SIZE;

use crate::consumer::Consumer;
use crate::errors;
use crate::producer::Producer;
use crate::values::About;

/// Where the bytes of a message are that is held.
enum Place {
    /// In the ring, or in the handle's keeper.
    InPlace(*mut u8),
    /// In an object of its own, a copy.
    Copy(Py<PyAny>),
}

/// What a guard shows.
pub(crate) struct Shown {
    place: Place,
    size: usize,
    about: Option<About>,
}

// SAFETY: a pointer into memory that the handle keeps, which any thread may read; who may write
// there is for Python code to order.
unsafe impl Send for Shown {}
// SAFETY: as above.
unsafe impl Sync for Shown {}

impl Shown {
    fn is_copy(&self) -> bool {
        matches!(self.place, Place::Copy(_))
    }
}

/// How a message that was taken is shown.
pub(crate) fn show(
    py: Python<'_>,
    consumer: &Consumer,
    message: &ultrafastring::Borrowed<'static>,
) -> PyResult<Shown> {
    let about = About::new(message.about(), &consumer.clock);
    let size = message.len();
    // A message that comes a second time may be a copy on the heap that goes with the guard.
    let place = if consumer.handle.trusted && !message.is_redelivered() {
        // SAFETY: the program has vouched for its peers.
        let bytes = unsafe { message.as_slice() };
        if size <= INLINE_SIZE {
            let inline = consumer.handle.keeper.inline();
            // SAFETY: the keeper has room for as many, and this handle's one guard is about to be
            // made: nothing that holds a view to it reads it by contract.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), inline, size) };
            Place::InPlace(inline)
        } else {
            Place::InPlace(bytes.as_ptr().cast_mut())
        }
    } else {
        let fill = |memory: &mut [u8]| {
            message.read_at(0, memory);
            Ok(())
        };
        Place::Copy(PyBytes::new_with(py, size, fill)?.into_any().unbind())
    };
    Ok(Shown { place, size, about: Some(about) })
}

/// How a place is shown that was reserved.
pub(crate) fn place(
    py: Python<'_>,
    producer: &Producer,
    place: &mut ultrafastring::Reservation<'static>,
    size: usize,
) -> Shown {
    let place = if !producer.handle.trusted {
        let zeros = PyByteArray::new_with(py, size, |_| Ok(()));
        // It fails if there is no memory, and then there is nothing to write to.
        let zeros = zeros.unwrap_or_else(|_| PyByteArray::new(py, &[]));
        Place::Copy(zeros.into_any().unbind())
    } else if size <= INLINE_SIZE {
        let inline = producer.handle.keeper.inline();
        // SAFETY: the keeper has room for as many, and this handle's one guard is about to be made.
        unsafe { std::ptr::write_bytes(inline, 0, size) };
        Place::InPlace(inline)
    } else {
        // SAFETY: the program has vouched for its peers.
        Place::InPlace(unsafe { place.as_mut_slice() }.as_mut_ptr())
    };
    Shown { place, size, about: None }
}

/// What a guard is at.
#[derive(Default)]
struct State {
    /// The view of the `with` block.
    view: Option<Py<PyWeakrefReference>>,
    done: bool,
}

/// What both guards have in common.
struct Guard {
    shown: Shown,
    exports: AtomicUsize,
    state: Mutex<State>,
}

impl Guard {
    fn new(shown: Shown) -> Self {
        Self { shown, exports: AtomicUsize::new(0), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The memoryview of a `with` block. `owner` is the guard's object.
    fn enter<'py>(
        &self,
        owner: &Bound<'py, PyAny>,
        note: impl FnOnce(Bound<'py, PyWeakrefReference>),
    ) -> PyResult<Bound<'py, PyMemoryView>> {
        if self.state().done {
            return Err(PyBufferError::new_err("this message was released or sent already"));
        }
        let copy = match &self.shown.place {
            Place::Copy(copy) => return PyMemoryView::from(copy.bind(owner.py())),
            Place::InPlace(_) => PyMemoryView::from(owner)?,
        };
        let weak = PyWeakrefReference::new(&copy)?;
        note(weak.clone());
        self.state().view = Some(weak.unbind());
        Ok(copy)
    }

    /// Ends the view of the `with` block. An error if others look at the message.
    fn end_views(&self, py: Python<'_>) -> PyResult<()> {
        let view = self.state().view.take();
        if let Some(view) = view
            && let Some(view) = view.bind(py).upgrade()
        {
            let released = view.call_method0(intern!(py, "release"));
            if released.is_err() {
                self.state().view = Some(PyWeakrefReference::new(&view)?.unbind());
                return Err(errors::views_exported());
            }
        }
        match self.exports.load(Ordering::Acquire) {
            0 => Ok(()),
            _ => Err(errors::views_exported()),
        }
    }

    /// Whether this is the first time; from now on it is not.
    fn finish(&self) -> bool {
        !std::mem::replace(&mut self.state().done, true)
    }

    /// Gives `view` the bytes.
    ///
    /// # Safety
    ///
    /// `view` is one to fill, of `owner`, which is the guard's object.
    unsafe fn export(
        &self,
        owner: &Bound<'_, PyAny>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
        readonly: bool,
    ) -> PyResult<()> {
        let (start, size) = match (&self.shown.place, self.state().done) {
            (Place::InPlace(start), false) => (*start, self.shown.size),
            _ => {
                // SAFETY: as the caller says.
                unsafe { (*view).obj = std::ptr::null_mut() };
                return Err(PyBufferError::new_err(
                    "this message was released or sent, or is a copy; use the view of its `with` \
                     block",
                ));
            }
        };
        // SAFETY: as the caller says; so many bytes are at `start` until the guard is done, which
        // it is not while it has exports, and stay mapped for as long as its handle or any view.
        let result = unsafe {
            ffi::PyBuffer_FillInfo(
                view,
                owner.as_ptr(),
                start.cast(),
                size as ffi::Py_ssize_t,
                c_int::from(readonly),
                flags,
            )
        };
        if result != 0 {
            return Err(PyErr::fetch(owner.py()));
        }
        self.exports.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    fn unexport(&self) {
        self.exports.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A message that is held: `with consumer.borrow() as view`.
///
/// The view is read-only. The message is released at the end of the block, or by `release()`, or
/// when this object goes. Until then the slots behind it do not come back to producers.
///
/// >>> from ultrafastring import Ring
/// >>> ring = Ring.anonymous(max_message=4096, trust_peers=True)
/// >>> ring.producer().send(b"x" * 4096)
/// >>> consumer = ring.consumer()
/// >>> with consumer.borrow() as view:
/// ...     len(view), bytes(view[:3])
/// (4096, b'xxx')
#[pyclass(frozen, weakref, module = "ultrafastring")]
pub(crate) struct Borrowed {
    consumer: Py<Consumer>,
    guard: Guard,
}

impl Borrowed {
    pub(crate) fn new(consumer: Py<Consumer>, shown: Shown) -> Self {
        Self { consumer, guard: Guard::new(shown) }
    }

    fn about<R>(&self, what: impl FnOnce(&About) -> R) -> PyResult<R> {
        self.guard.shown.about.as_ref().map(what).ok_or_else(|| errors::ring("no message"))
    }
}

#[pymethods]
impl Borrowed {
    fn __enter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyMemoryView>> {
        let consumer = slf.get().consumer.get();
        consumer.handle.check_process()?;
        slf.get().guard.enter(slf.as_any(), |view| consumer.handle.note_view(view))
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        _kind: &Bound<'_, PyAny>,
        _error: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        self.release(py)
    }

    /// Releases the message. Raises `ViewsExported` while anything outside looks at it.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        self.consumer.get().handle.check_process()?;
        self.guard.end_views(py)?;
        if self.guard.finish() {
            self.consumer.get().handle.end_loan(drop);
        }
        Ok(())
    }

    /// Whether the view shows a copy and not the ring's memory: without `trust_peers=True`, and of
    /// a message that was redelivered.
    #[getter]
    fn copied(&self) -> bool {
        self.guard.shown.is_copy()
    }

    /// The priority class it was sent with.
    #[getter]
    fn priority<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.about(|it| it.priority(py))?
    }

    /// Nanoseconds from send to receive; `None` if it carried no timestamp.
    #[getter]
    fn latency_ns(&self) -> PyResult<Option<u64>> {
        self.about(About::latency_ns)
    }

    /// Whether it may have been delivered before, to a consumer that died.
    #[getter]
    fn redelivered(&self) -> PyResult<bool> {
        self.about(About::redelivered)
    }

    /// Whether it came after a younger one: only of a consumer that receives in time order.
    #[getter]
    fn late(&self) -> PyResult<bool> {
        self.about(About::late)
    }

    /// Its place in the order of all messages that the ring ever had, from 0; of each lane.
    #[getter]
    fn position(&self) -> PyResult<u64> {
        self.about(About::position)
    }

    fn __len__(&self) -> usize {
        self.guard.shown.size
    }

    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        // SAFETY: the interpreter asks with a view of this object.
        unsafe { slf.get().guard.export(slf.as_any(), view, flags, true) }
    }

    unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {
        self.guard.unexport();
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        // No view is left: each keeps this object.
        if self.guard.finish() {
            self.consumer.get().handle.end_loan(drop);
        }
    }
}

/// A message that is written in place: `with producer.reserve(size) as view`.
///
/// It is sent at the end of the block, or by `commit()`; given up if the block raises, by
/// `cancel()`, or when this object goes. Until then consumers do not get what others send after it.
///
/// >>> from ultrafastring import Ring
/// >>> ring = Ring.anonymous(max_message=4096, trust_peers=True)
/// >>> place = ring.producer().reserve(4096)
/// >>> with place as view:
/// ...     view[:5] = b"short"
/// ...     place.truncate(5)
/// >>> ring.consumer().recv()
/// b'short'
#[pyclass(frozen, weakref, module = "ultrafastring")]
pub(crate) struct Reservation {
    producer: Py<Producer>,
    guard: Guard,
    /// Bytes of the message that is to be.
    size: AtomicUsize,
}

impl Reservation {
    pub(crate) fn new(producer: Py<Producer>, shown: Shown) -> Self {
        let size = AtomicUsize::new(shown.size);
        Self { producer, guard: Guard::new(shown), size }
    }

    /// Writes what is not in the ring yet, and sends the message.
    fn send(&self, py: Python<'_>, mut place: ultrafastring::Reservation<'_>) {
        let size = self.size.load(Ordering::Relaxed);
        match &self.guard.shown.place {
            Place::Copy(copy) => {
                if let Ok(bytes) = copy.bind(py).cast::<PyByteArray>() {
                    // SAFETY: nothing that runs here changes it.
                    let bytes = unsafe { bytes.as_bytes() };
                    place.write_at(0, &bytes[..bytes.len().min(size)]);
                }
            }
            Place::InPlace(start) => {
                if let Some(inline) = place.as_mut_inline() {
                    let size = inline.len().min(INLINE_SIZE);
                    // SAFETY: the keeper has as many, and no view is left that is not released.
                    let bytes = unsafe { std::slice::from_raw_parts(start.cast_const(), size) };
                    inline.copy_from_slice(bytes);
                }
            }
        }
        place.truncate(size);
        place.commit();
    }
}

#[pymethods]
impl Reservation {
    fn __enter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyMemoryView>> {
        let producer = slf.get().producer.get();
        producer.handle.check_process()?;
        slf.get().guard.enter(slf.as_any(), |view| producer.handle.note_view(view))
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        kind: &Bound<'_, PyAny>,
        _error: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        if kind.is_none() { self.commit(py) } else { self.cancel(py) }
    }

    /// Makes the message shorter; a size that is not less changes nothing.
    fn truncate(&self, size: usize) {
        self.size.fetch_min(size, Ordering::Relaxed);
    }

    /// Sends the message. Raises `ViewsExported` while anything outside looks at it.
    fn commit(&self, py: Python<'_>) -> PyResult<()> {
        self.producer.get().handle.check_process()?;
        self.guard.end_views(py)?;
        if self.guard.finish() {
            self.producer.get().handle.end_loan(|place| self.send(py, place));
        }
        Ok(())
    }

    /// Gives the message up unsent. Raises `ViewsExported` while anything outside looks at it.
    fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        self.producer.get().handle.check_process()?;
        self.guard.end_views(py)?;
        if self.guard.finish() {
            self.producer.get().handle.end_loan(drop);
        }
        Ok(())
    }

    /// Whether what is written goes into a copy first: without `trust_peers=True`.
    #[getter]
    fn copied(&self) -> bool {
        self.guard.shown.is_copy()
    }

    fn __len__(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        // SAFETY: the interpreter asks with a view of this object.
        unsafe { slf.get().guard.export(slf.as_any(), view, flags, false) }
    }

    unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {
        self.guard.unexport();
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // No view is left: each keeps this object.
        if self.guard.finish() {
            self.producer.get().handle.end_loan(drop);
        }
    }
}
