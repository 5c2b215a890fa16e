//! The two calls that programs make most, without what PyO3 does for any call.
//!
//! `Producer.send` and `Consumer.recv` have methods of PyO3 like all others. This puts a function
//! before each of them, which does what can be done at once for arguments of the usual kinds, and
//! hands everything else over, untouched, to the method.

use std::ffi::{CStr, CString};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};
use ultrafastring::PriorityClass;

use crate::consumer::Consumer;
use crate::producer::Producer;

/// A new reference, or null with an exception set.
type Answer = *mut ffi::PyObject;

/// Arguments, as the interpreter passes them: those by position, then those by name.
#[derive(Clone, Copy)]
struct Given {
    first: *const *mut ffi::PyObject,
    by_position: usize,
    names: *mut ffi::PyObject,
}

impl Given {
    /// How many are by name.
    #[inline(always)]
    fn by_name(&self) -> usize {
        if self.names.is_null() {
            return 0;
        }
        // SAFETY: a tuple of names, from the interpreter.
        unsafe { ffi::PyTuple_Size(self.names) as usize }
    }

    /// The one after the first `before`, which are by position, if it is the only one after those
    /// and has this name, or none. `Err` if there are others. Names are compared by identity: the
    /// interpreter has one string for each.
    #[inline(always)]
    fn only_after(
        &self,
        before: usize,
        name: &PyOnceLock<Py<PyString>>,
    ) -> Result<Option<*mut ffi::PyObject>, ()> {
        match (self.by_position.checked_sub(before), self.by_name()) {
            (Some(0), 0) => Ok(None),
            // SAFETY: there are as many.
            (Some(1), 0) => Ok(Some(unsafe { *self.first.add(before) })),
            (Some(0), 1) => {
                // SAFETY: the interpreter is attached in a call from it; the tuple has one name.
                let (py, given) =
                    unsafe { (Python::assume_attached(), ffi::PyTuple_GetItem(self.names, 0)) };
                if name.get(py).is_none_or(|it| it.as_ptr() != given) {
                    return Err(());
                }
                // SAFETY: as above.
                Ok(Some(unsafe { *self.first.add(before) }))
            }
            _ => Err(()),
        }
    }
}

/// A method that has a function before it.
trait Fast {
    const NAME: &'static CStr;
    type Class: pyo3::PyTypeInfo;
    /// Where PyO3's method is kept.
    fn method() -> &'static PyOnceLock<Py<PyAny>>;

    /// What can be done at once; `None` if it is the method's to do.
    ///
    /// # Safety
    ///
    /// The interpreter is attached, and the object is of the class.
    unsafe fn at_once(object: *mut ffi::PyObject, given: Given) -> Option<Answer>;
}

struct Send;
struct Recv;

static PRIORITY: PyOnceLock<Py<PyString>> = PyOnceLock::new();
static TIMEOUT: PyOnceLock<Py<PyString>> = PyOnceLock::new();

impl Fast for Send {
    const NAME: &'static CStr = c"send";
    type Class = Producer;

    fn method() -> &'static PyOnceLock<Py<PyAny>> {
        static METHOD: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        &METHOD
    }

    #[inline(always)]
    unsafe fn at_once(object: *mut ffi::PyObject, given: Given) -> Option<Answer> {
        let priority = given.only_after(1, &PRIORITY).ok()?;
        // SAFETY: the caller says so; there is one argument, which lives as long as the call.
        let py = unsafe { Python::assume_attached() };
        // SAFETY: as above.
        let data = unsafe { Borrowed::from_ptr(py, *given.first) };
        let data = data.cast_exact::<PyBytes>().ok()?;
        let class = match priority {
            None => PriorityClass::Normal,
            Some(word) => {
                // SAFETY: as above.
                let word = unsafe { Borrowed::from_ptr(py, word) };
                word.cast_exact::<PyString>().ok()?.to_str().ok()?.parse().ok()?
            }
        };
        // SAFETY: the caller says so.
        let producer = unsafe { Borrowed::from_ptr(py, object).cast_unchecked::<Producer>() };
        if !producer.get().send_at_once(data.as_bytes(), class) {
            return None;
        }
        // SAFETY: attached.
        Some(unsafe { ffi::Py_NewRef(ffi::Py_None()) })
    }
}

impl Fast for Recv {
    const NAME: &'static CStr = c"recv";
    type Class = Consumer;

    fn method() -> &'static PyOnceLock<Py<PyAny>> {
        static METHOD: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        &METHOD
    }

    #[inline(always)]
    unsafe fn at_once(object: *mut ffi::PyObject, given: Given) -> Option<Answer> {
        if let Some(timeout) = given.only_after(0, &TIMEOUT).ok()? {
            // SAFETY: an argument lives as long as the call.
            unsafe {
                let number =
                    ffi::PyFloat_CheckExact(timeout) != 0 && ffi::PyFloat_AsDouble(timeout) >= 0.0;
                if !number && timeout != ffi::Py_None() {
                    return None;
                }
            }
        }
        // SAFETY: the caller says so.
        let consumer = unsafe {
            Borrowed::from_ptr(Python::assume_attached(), object).cast_unchecked::<Consumer>()
        };
        match consumer.get().recv_at_once()? {
            // SAFETY: so many bytes are there. The result is null, with an exception set, if there
            // is no memory.
            Ok(message) => Some(unsafe {
                ffi::PyBytes_FromStringAndSize(message.as_ptr().cast(), message.len() as isize)
            }),
            Err(error) => {
                Python::attach(|py| error.restore(py));
                Some(std::ptr::null_mut())
            }
        }
    }
}

/// What the interpreter calls. A panic in it ends the process; nothing that it calls panics.
///
/// # Safety
///
/// The interpreter calls it, with an object of the class: the descriptor has seen to that.
unsafe extern "C" fn call<F: Fast>(
    object: *mut ffi::PyObject,
    first: *const *mut ffi::PyObject,
    by_position: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> Answer {
    let given = Given { first, by_position: by_position as usize, names };
    // SAFETY: the interpreter says so.
    unsafe { F::at_once(object, given).unwrap_or_else(|| by_method::<F>(object, given)) }
}

/// Calls the method with the same arguments.
///
/// # Safety
///
/// As of `call`.
#[cold]
unsafe fn by_method<F: Fast>(object: *mut ffi::PyObject, given: Given) -> Answer {
    Python::attach(|py| {
        // SAFETY: all live as long as the call.
        let bound = |it: *mut ffi::PyObject| unsafe { Bound::from_borrowed_ptr(py, it) };
        // SAFETY: there are as many.
        let argument = |n: usize| bound(unsafe { *given.first.add(n) });
        let all = || {
            let arguments = (0..given.by_position).map(argument);
            let arguments: Vec<_> = std::iter::once(bound(object)).chain(arguments).collect();
            let named = PyDict::new(py);
            for n in 0..given.by_name() {
                // SAFETY: a tuple, which has as many names.
                let name = bound(unsafe { ffi::PyTuple_GetItem(given.names, n as isize) });
                named.set_item(name, argument(given.by_position + n))?;
            }
            let method = F::method().get(py).ok_or_else(crate::errors::left)?;
            method.bind(py).call(PyTuple::new(py, arguments)?, Some(&named))
        };
        match all() {
            Ok(answer) => answer.into_ptr(),
            Err(error) => {
                error.restore(py);
                std::ptr::null_mut()
            }
        }
    })
}

/// Puts the function before the method. Once: what it makes stays for ever, as the class does.
fn put<F: Fast>(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<F::Class>();
    let name = F::NAME.to_string_lossy();
    let mut made = Ok(());
    F::method().get_or_try_init(py, || {
        let method = class.getattr(&*name)?;
        // As a docstring of C has it: the signature, and a line.
        let signature: String = method.getattr("__text_signature__")?.extract()?;
        let text: String = method.getattr("__doc__")?.extract()?;
        let text = CString::new(format!("{name}{signature}\n--\n\n{text}"))?;
        let definition = Box::leak(Box::new(ffi::PyMethodDef {
            ml_name: F::NAME.as_ptr(),
            ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: call::<F> },
            ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
            ml_doc: text.into_raw(),
        }));
        // SAFETY: the class is alive, and the definition for ever.
        let descriptor = unsafe {
            let it = ffi::PyDescr_NewMethod(class.as_type_ptr(), definition);
            Bound::from_owned_ptr_or_err(py, it)?
        };
        made = class.setattr(&*name, descriptor);
        Ok::<_, PyErr>(method.unbind())
    })?;
    made
}

/// Puts the functions before their methods.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    PRIORITY.get_or_init(py, || PyString::intern(py, "priority").unbind());
    TIMEOUT.get_or_init(py, || PyString::intern(py, "timeout").unbind());
    put::<Send>(py)?;
    put::<Recv>(py)
}
