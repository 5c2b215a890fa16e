//! Values of the interpreter's own plain types, written and read without pickle.
//!
//! `None`, booleans, integers of 64 bits, floats, strings and bytes, and tuples, lists and dicts of
//! them; exactly these types. Everything else is pickle's. So is an object that contains the same
//! tuple, list or dict twice, since pickle gives the copy that shape too.
//!
//! Reading runs no code of anybody's, and checks every length against the bytes that are there.

use std::ffi::c_int;
use std::mem::MaybeUninit;

use pyo3::ffi;
use pyo3::prelude::*;

use super::error;

const NONE: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INT8: u8 = 3;
const INT32: u8 = 4;
const INT64: u8 = 5;
const FLOAT: u8 = 6;
/// A length of one byte follows; the tag after it in the list has one of four.
const STR: u8 = 7;
const BYTES: u8 = 9;
const TUPLE: u8 = 11;
const LIST: u8 = 13;
const DICT: u8 = 15;
/// An integer from 0 to 127, in the tag itself.
const SMALL: u8 = 0x80;

/// Containers within containers, and containers in all: beyond this an object is pickle's.
const DEEPEST: usize = 8;
const MOST_CONTAINERS: usize = 16;

/// Where a value is written.
pub(super) trait Output {
    /// `false` if there is no room.
    fn put(&mut self, bytes: &[u8]) -> bool;
}

/// Room on the stack for a message of usual size.
pub(super) struct Short {
    bytes: [MaybeUninit<u8>; Self::ROOM],
    len: usize,
}

impl Short {
    const ROOM: usize = 512;

    #[inline(always)]
    pub(super) fn new() -> Self {
        Self { bytes: [MaybeUninit::uninit(); Self::ROOM], len: 0 }
    }

    #[inline(always)]
    pub(super) fn as_slice(&self) -> &[u8] {
        // SAFETY: so many were written.
        unsafe { std::slice::from_raw_parts(self.bytes.as_ptr().cast(), self.len) }
    }
}

impl Output for Short {
    #[inline(always)]
    fn put(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() > Self::ROOM - self.len {
            return false;
        }
        // SAFETY: there is room for them.
        unsafe {
            let place = self.bytes.as_mut_ptr().add(self.len).cast::<u8>();
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len());
        }
        self.len += bytes.len();
        true
    }
}

impl Output for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) -> bool {
        self.extend_from_slice(bytes);
        true
    }
}

/// Why a value was not written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unwritten {
    /// It is not plain.
    NotPlain,
    /// There is no room for it.
    NoRoom,
}

/// The containers that were met.
struct Seen {
    all: [*mut ffi::PyObject; MOST_CONTAINERS],
    count: usize,
    depth: usize,
}

impl Seen {
    /// Notes one. `false` if it was met before, or there are too many.
    fn enter(&mut self, container: *mut ffi::PyObject) -> bool {
        let new = self.count < MOST_CONTAINERS
            && self.depth < DEEPEST
            && !self.all[..self.count].contains(&container);
        if new {
            self.all[self.count] = container;
            self.count += 1;
            self.depth += 1;
        }
        new
    }
}

/// Writes `object`, if it is plain. Runs no Python code.
#[inline(always)]
pub(super) fn write<O: Output>(object: &Bound<'_, PyAny>, output: &mut O) -> Result<(), Unwritten> {
    let mut seen = Seen { all: [std::ptr::null_mut(); MOST_CONTAINERS], count: 0, depth: 0 };
    // SAFETY: the interpreter is attached, and the object alive.
    unsafe { write_value(object.as_ptr(), output, &mut seen) }
}

fn unless_full(written: bool) -> Result<(), Unwritten> {
    if written { Ok(()) } else { Err(Unwritten::NoRoom) }
}

/// A tag and a length, which is 32 bits if it does not fit into eight.
#[inline(always)]
fn write_length<O: Output>(output: &mut O, tag: u8, length: usize) -> Result<(), Unwritten> {
    match (u8::try_from(length), u32::try_from(length)) {
        (Ok(length), _) => unless_full(output.put(&[tag, length])),
        (_, Ok(length)) => {
            let [a, b, c, d] = length.to_le_bytes();
            unless_full(output.put(&[tag + 1, a, b, c, d]))
        }
        _ => Err(Unwritten::NotPlain),
    }
}

/// # Safety
///
/// The interpreter is attached, and the object alive.
#[inline(always)]
unsafe fn write_value<O: Output>(
    object: *mut ffi::PyObject,
    output: &mut O,
    seen: &mut Seen,
) -> Result<(), Unwritten> {
    // SAFETY: as the caller says; each is called for the type that it is for.
    unsafe {
        let kind = ffi::Py_TYPE(object);
        if kind == &raw mut ffi::PyLong_Type {
            write_int(object, output)
        } else if kind == &raw mut ffi::PyUnicode_Type {
            let mut length = 0;
            let text = ffi::PyUnicode_AsUTF8AndSize(object, &raw mut length);
            if text.is_null() {
                // A surrogate, which is no UTF-8.
                ffi::PyErr_Clear();
                return Err(Unwritten::NotPlain);
            }
            write_length(output, STR, length as usize)?;
            unless_full(output.put(std::slice::from_raw_parts(text.cast(), length as usize)))
        } else if kind == &raw mut ffi::PyTuple_Type {
            write_container(object, output, seen)
        } else if object == ffi::Py_None() {
            unless_full(output.put(&[NONE]))
        } else if kind == &raw mut ffi::PyFloat_Type {
            let [a, b, c, d, e, f, g, h] = ffi::PyFloat_AsDouble(object).to_le_bytes();
            unless_full(output.put(&[FLOAT, a, b, c, d, e, f, g, h]))
        } else if kind == &raw mut ffi::PyBytes_Type {
            let length = ffi::PyBytes_Size(object) as usize;
            write_length(output, BYTES, length)?;
            let bytes = ffi::PyBytes_AsString(object).cast::<u8>();
            unless_full(output.put(std::slice::from_raw_parts(bytes, length)))
        } else if kind == &raw mut ffi::PyBool_Type {
            unless_full(output.put(&[if object == ffi::Py_True() { TRUE } else { FALSE }]))
        } else {
            write_container(object, output, seen)
        }
    }
}

/// # Safety
///
/// As of `write_value`; the object is an `int`.
#[inline(always)]
unsafe fn write_int<O: Output>(
    object: *mut ffi::PyObject,
    output: &mut O,
) -> Result<(), Unwritten> {
    let mut beyond: c_int = 0;
    // SAFETY: as the caller says.
    let value = unsafe { ffi::PyLong_AsLongLongAndOverflow(object, &raw mut beyond) };
    if beyond != 0 {
        return Err(Unwritten::NotPlain);
    }
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    unless_full(if (0..128).contains(&value) {
        output.put(&[SMALL | a])
    } else if i8::try_from(value).is_ok() {
        output.put(&[INT8, a])
    } else if i32::try_from(value).is_ok() {
        output.put(&[INT32, a, b, c, d])
    } else {
        output.put(&[INT64, a, b, c, d, e, f, g, h])
    })
}

/// # Safety
///
/// As of `write_value`.
unsafe fn write_container<O: Output>(
    object: *mut ffi::PyObject,
    output: &mut O,
    seen: &mut Seen,
) -> Result<(), Unwritten> {
    // SAFETY: as the caller says. What is borrowed of a container stays alive: nothing here runs
    // Python code, and with the interpreter's lock nobody else does. Without that lock only tuples
    // are read, which do not change.
    unsafe {
        let kind = ffi::Py_TYPE(object);
        let is = |other: *mut ffi::PyTypeObject| kind == other;
        let mutable = cfg!(not(Py_GIL_DISABLED));
        if is(&raw mut ffi::PyTuple_Type) {
            let length = ffi::PyTuple_Size(object) as usize;
            if length == 0 && seen.depth < DEEPEST {
                // There is one empty tuple, which may be met often.
                return write_length(output, TUPLE, 0);
            }
            write_items(object, TUPLE, length, ffi::PyTuple_GetItem, output, seen)?;
        } else if mutable && is(&raw mut ffi::PyList_Type) {
            let length = ffi::PyList_Size(object) as usize;
            write_items(object, LIST, length, ffi::PyList_GetItem, output, seen)?;
        } else if mutable && is(&raw mut ffi::PyDict_Type) {
            if !seen.enter(object) {
                return Err(Unwritten::NotPlain);
            }
            write_length(output, DICT, ffi::PyDict_Size(object) as usize)?;
            let (mut at, mut key, mut value) = (0, std::ptr::null_mut(), std::ptr::null_mut());
            while ffi::PyDict_Next(object, &raw mut at, &raw mut key, &raw mut value) != 0 {
                write_value(key, output, seen)?;
                write_value(value, output, seen)?;
            }
            seen.depth -= 1;
        } else {
            return Err(Unwritten::NotPlain);
        }
    }
    Ok(())
}

/// Writes a tuple or a list, of which `item` gives each item.
///
/// # Safety
///
/// As of `write_value`; `item` is for the type of the object.
#[inline(always)]
unsafe fn write_items<O: Output>(
    object: *mut ffi::PyObject,
    tag: u8,
    length: usize,
    item: unsafe extern "C" fn(*mut ffi::PyObject, isize) -> *mut ffi::PyObject,
    output: &mut O,
    seen: &mut Seen,
) -> Result<(), Unwritten> {
    if !seen.enter(object) {
        return Err(Unwritten::NotPlain);
    }
    write_length(output, tag, length)?;
    for n in 0..length {
        // SAFETY: as the caller says; the object has so many items.
        unsafe { write_value(item(object, n as isize), output, seen) }?;
    }
    seen.depth -= 1;
    Ok(())
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    #[inline(always)]
    fn take(&mut self, count: usize) -> PyResult<&'a [u8]> {
        match self.0.split_at_checked(count) {
            Some((taken, rest)) => {
                self.0 = rest;
                Ok(taken)
            }
            None => Err(error::malformed()),
        }
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> PyResult<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    #[inline(always)]
    fn length(&mut self, long: bool) -> PyResult<usize> {
        if long {
            Ok(u32::from_le_bytes(self.array()?) as usize)
        } else {
            Ok(usize::from(self.array::<1>()?[0]))
        }
    }

    /// How many values follow, each of which has a byte at least.
    fn count(&mut self, long: bool) -> PyResult<usize> {
        let count = self.length(long)?;
        if count <= self.0.len() { Ok(count) } else { Err(error::malformed()) }
    }
}

/// Reads a value. Nothing may be left behind it.
#[inline(always)]
pub(super) fn read<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let mut input = Input(bytes);
    let value = read_value(py, &mut input, 0)?;
    if input.0.is_empty() { Ok(value) } else { Err(error::malformed()) }
}

/// What the interpreter made, which fails if there is no memory.
#[inline(always)]
fn made(py: Python<'_>, object: *mut ffi::PyObject) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, object) }
}

fn read_value<'py>(
    py: Python<'py>,
    input: &mut Input<'_>,
    depth: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let [tag] = input.array()?;
    // SAFETY: the interpreter is attached; text and bytes are as long as is said.
    unsafe {
        match tag {
            SMALL.. => made(py, ffi::PyLong_FromLong((tag & !SMALL).into())),
            INT8 => made(py, ffi::PyLong_FromLong(i8::from_le_bytes(input.array()?).into())),
            INT32 => made(py, ffi::PyLong_FromLong(i32::from_le_bytes(input.array()?).into())),
            INT64 => made(py, ffi::PyLong_FromLongLong(i64::from_le_bytes(input.array()?))),
            FLOAT => made(py, ffi::PyFloat_FromDouble(f64::from_le_bytes(input.array()?))),
            STR | 8 => {
                let length = input.length(tag != STR)?;
                let text = input.take(length)?.as_ptr().cast();
                made(py, ffi::PyUnicode_DecodeUTF8(text, length as isize, std::ptr::null()))
            }
            BYTES | 10 => {
                let length = input.length(tag != BYTES)?;
                let bytes = input.take(length)?.as_ptr().cast();
                made(py, ffi::PyBytes_FromStringAndSize(bytes, length as isize))
            }
            NONE => Ok(py.None().into_bound(py)),
            FALSE | TRUE => made(py, ffi::PyBool_FromLong((tag == TRUE).into())),
            TUPLE..=16 if depth < DEEPEST => read_container(py, input, tag, depth),
            _ => Err(error::malformed()),
        }
    }
}

fn read_container<'py>(
    py: Python<'py>,
    input: &mut Input<'_>,
    tag: u8,
    depth: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let long = tag.is_multiple_of(2);
    let count = input.count(long)?;
    // SAFETY: the interpreter is attached. Each place is filled once, with a reference that it
    // takes over; if reading fails, the rest stays null, which such a container may have.
    unsafe {
        match tag {
            TUPLE..DICT => {
                let (items, set): (_, unsafe extern "C" fn(_, _, _) -> _) = if tag < LIST {
                    (ffi::PyTuple_New(count as isize), ffi::PyTuple_SetItem)
                } else {
                    (ffi::PyList_New(count as isize), ffi::PyList_SetItem)
                };
                let items = made(py, items)?;
                for n in 0..count {
                    let value = read_value(py, input, depth + 1)?;
                    set(items.as_ptr(), n as isize, value.into_ptr());
                }
                Ok(items)
            }
            _ => {
                let dict = made(py, ffi::PyDict_New())?;
                for _ in 0..count {
                    let key = read_value(py, input, depth + 1)?;
                    let value = read_value(py, input, depth + 1)?;
                    if ffi::PyDict_SetItem(dict.as_ptr(), key.as_ptr(), value.as_ptr()) != 0 {
                        return Err(PyErr::fetch(py));
                    }
                }
                Ok(dict)
            }
        }
    }
}
