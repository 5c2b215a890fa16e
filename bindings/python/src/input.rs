//! Arguments: bytes-like objects and priority classes.

use std::ffi::c_int;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use ultrafastring::PriorityClass;

/// The memory of a bytes-like object, for as long as this lives.
pub(crate) enum Input<'a, 'py> {
    Bytes(&'a Bound<'py, PyBytes>),
    Buffer(Buffer),
}

/// A buffer that was asked for, and is given back.
pub(crate) struct Buffer(Box<ffi::Py_buffer>);

impl Buffer {
    #[cold]
    pub(crate) fn of(object: &Bound<'_, PyAny>, flags: c_int) -> PyResult<Self> {
        let mut view = Box::new(ffi::Py_buffer::new());
        // SAFETY: the object is alive, the view is ours to fill, and its address stays.
        let result = unsafe { ffi::PyObject_GetBuffer(object.as_ptr(), &raw mut *view, flags) };
        if result != 0 {
            return Err(PyErr::fetch(object.py()));
        }
        Ok(Self(view))
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        if self.0.len == 0 {
            return &[];
        }
        // SAFETY: the object exports so many bytes in a row (no strides were asked for) until the
        // buffer is given back. Who writes there meanwhile without the interpreter's lock has torn
        // bytes sent, as with any call that reads a buffer.
        unsafe { std::slice::from_raw_parts(self.0.buf.cast(), self.0.len as usize) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        if self.0.len == 0 {
            return &mut [];
        }
        // SAFETY: as above, and it was asked for to be written to.
        unsafe { std::slice::from_raw_parts_mut(self.0.buf.cast(), self.0.len as usize) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: filled by `PyObject_GetBuffer` and not released since; a `Buffer` lives in a call
        // that has the interpreter's lock again by its end.
        unsafe { ffi::PyBuffer_Release(&raw mut *self.0) };
    }
}

impl<'a, 'py> Input<'a, 'py> {
    /// The bytes of `object`.
    #[inline(always)]
    pub(crate) fn of(object: &'a Bound<'py, PyAny>) -> PyResult<Self> {
        match object.cast_exact::<PyBytes>() {
            Ok(bytes) => Ok(Self::Bytes(bytes)),
            Err(_) => Self::of_other(object),
        }
    }

    #[cold]
    fn of_other(object: &'a Bound<'py, PyAny>) -> PyResult<Self> {
        Buffer::of(object, ffi::PyBUF_SIMPLE).map(Self::Buffer).map_err(|error| {
            if object.is_instance_of::<PyString>() {
                PyTypeError::new_err(
                    "a message is bytes, and this is text; encode it: text.encode()",
                )
            } else {
                error
            }
        })
    }

    #[inline(always)]
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes.as_bytes(),
            Self::Buffer(buffer) => buffer.as_slice(),
        }
    }
}

/// The class that `priority=` names: a number, or a word.
#[inline(always)]
pub(crate) fn priority(given: Option<&Bound<'_, PyAny>>) -> PyResult<PriorityClass> {
    match given {
        None => Ok(PriorityClass::Normal),
        Some(given) => priority_of(given),
    }
}

#[inline(never)]
pub(crate) fn priority_of(given: &Bound<'_, PyAny>) -> PyResult<PriorityClass> {
    if let Ok(word) = given.cast::<PyString>() {
        let word = word.to_str()?;
        return word.parse().map_err(|error| PyValueError::new_err(format!("{word:?}: {error}")));
    }
    let number: usize = given.extract()?;
    PriorityClass::from_index(number).ok_or_else(|| {
        PyValueError::new_err(format!(
            "{number} is no priority class; use PriorityClass, or one of real-time, high, normal, \
             low, bulk"
        ))
    })
}
