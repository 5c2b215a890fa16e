//! From an object to the bytes of a message, and back.
//!
//! ```text
//!  byte 0   rest
//!  PLAIN    a value of plain types: plain.rs
//!  BLOCK    the bytes of a `bytes` object
//!  PICKLE   a pickle stream
//!  BUFFERS  how many buffers: 32 bits; length of the stream: 32 bits; for each buffer its length,
//!           64 bits, of which the highest says that it is read-only; the stream; the buffers, each
//!           at a multiple of 64
//!  CUSTOM   what the serializer made
//!  SPILLED  the name of a file that has such a message: spill.rs
//!  NOTICE   nothing: a word of the writer of a broadcast
//! ```

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyList, PyString};

use super::error;
use super::pickle;
use super::plain::{self, Short, Unwritten};
use super::spill::{self, Named, Spill};
use crate::input::Buffer;

pub(super) const PLAIN: u8 = 1;
pub(super) const BLOCK: u8 = 2;
pub(super) const PICKLE: u8 = 3;
pub(super) const BUFFERS: u8 = 4;
pub(super) const CUSTOM: u8 = 5;
pub(super) const SPILLED: u8 = 6;
pub(super) const NOTICE: u8 = 7;

/// Where buffers are aligned.
const LINE: usize = 64;

/// More buffers in one object than this are copied into its stream.
const MOST_BUFFERS: usize = 1 << 16;

const READ_ONLY: u64 = 1 << 63;

/// How objects become bytes.
pub(super) enum Serializer {
    Pickle,
    Bytes,
    Custom { dumps: Py<PyAny>, loads: Py<PyAny> },
}

/// A message that is to be sent: its first bytes, and buffers that follow.
pub(super) struct Outgoing {
    head: Vec<u8>,
    rest: Vec<(usize, Buffer)>,
    size: usize,
    /// The file that it names, which is removed with this unless it was sent.
    file: Option<Named>,
}

/// A message in one piece that waits for room, and needs no interpreter.
pub(super) struct Listed {
    pub(super) bytes: Vec<u8>,
    file: Option<Named>,
}

impl Listed {
    /// It was sent: whoever gets it has its file.
    pub(super) fn sent(self) {
        if let Some(file) = self.file {
            file.leave();
        }
    }
}

impl Outgoing {
    pub(super) fn whole(head: Vec<u8>) -> Self {
        let size = head.len();
        Self { head, rest: Vec::new(), size, file: None }
    }

    fn with(head: Vec<u8>, buffer: Buffer) -> Self {
        let (at, size) = (head.len(), head.len() + buffer.as_slice().len());
        Self { head, rest: vec![(at, buffer)], size, file: None }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// All of it, if it is in one piece.
    pub(super) fn as_whole(&self) -> Option<&[u8]> {
        self.rest.is_empty().then_some(&self.head)
    }

    /// Its pieces, each with its place.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let rest = self.rest.iter().map(|(at, buffer)| (*at, buffer.as_slice()));
        std::iter::once((0, &*self.head)).chain(rest)
    }

    /// All of it in one piece, for the list.
    pub(super) fn listed(self) -> Listed {
        if self.rest.is_empty() {
            return Listed { bytes: self.head, file: self.file };
        }
        let mut bytes = Vec::with_capacity(self.size);
        for (at, piece) in self.pieces() {
            bytes.resize(at, 0);
            bytes.extend_from_slice(piece);
        }
        Listed { bytes, file: self.file }
    }

    /// It was sent: whoever gets it has its file.
    pub(super) fn sent(self) {
        if let Some(file) = self.file {
            file.leave();
        }
    }

    /// Puts it into a file, and sends the name of that instead.
    pub(super) fn spill(self, spill: &Spill) -> PyResult<Self> {
        let (name, file) = spill.write(self.size, self.pieces())?;
        let mut head = vec![SPILLED];
        head.extend_from_slice(name.as_bytes());
        let size = head.len();
        Ok(Self { head, rest: Vec::new(), size, file: Some(file) })
    }
}

/// Where the bytes of a message are read.
pub(super) trait Source {
    fn size(&self) -> usize;
    /// Reads from byte `offset` on, which with the buffer is within the size.
    fn read_at(&self, offset: usize, buffer: &mut [u8]) -> PyResult<()>;
}

/// What was taken of a ring, and is to be made an object. Nothing of it is in the ring.
pub(super) enum Taken<'py> {
    Plain(Vec<u8>),
    Block(Bound<'py, PyAny>),
    Pickle(Bound<'py, PyAny>, Option<Bound<'py, PyList>>),
    Custom(Bound<'py, PyAny>),
    Spilled(String),
    Notice,
}

/// Bytes `from` to the end of the message, as `bytes`.
fn rest<'py>(py: Python<'py>, source: &impl Source, from: usize) -> PyResult<Bound<'py, PyAny>> {
    let fill = |memory: &mut [u8]| source.read_at(from, memory);
    Ok(PyBytes::new_with(py, source.size() - from, fill)?.into_any())
}

/// Reads a message. Runs no Python code.
pub(super) fn take<'py>(py: Python<'py>, source: &impl Source) -> PyResult<Taken<'py>> {
    if source.size() == 0 {
        return Err(error::malformed());
    }
    let mut kind = [0];
    source.read_at(0, &mut kind)?;
    Ok(match kind[0] {
        PLAIN => {
            let mut bytes = vec![0; source.size() - 1];
            source.read_at(1, &mut bytes)?;
            Taken::Plain(bytes)
        }
        BLOCK => Taken::Block(rest(py, source, 1)?),
        PICKLE => Taken::Pickle(rest(py, source, 1)?, None),
        BUFFERS => take_buffers(py, source)?,
        CUSTOM => Taken::Custom(rest(py, source, 1)?),
        SPILLED => {
            let mut name = vec![0; (source.size() - 1).min(spill::LONGEST_NAME)];
            source.read_at(1, &mut name)?;
            Taken::Spilled(String::from_utf8(name).map_err(|_| error::malformed())?)
        }
        NOTICE => Taken::Notice,
        _ => return Err(error::malformed()),
    })
}

/// A pickle stream and its buffers.
fn take_buffers<'py>(py: Python<'py>, source: &impl Source) -> PyResult<Taken<'py>> {
    let size = source.size();
    let part = |offset: usize, bytes: &mut [u8]| match offset.checked_add(bytes.len()) {
        Some(end) if end <= size => source.read_at(offset, bytes),
        _ => Err(error::malformed()),
    };
    let mut word = [0; 4];
    part(1, &mut word)?;
    let count = u32::from_le_bytes(word) as usize;
    part(5, &mut word)?;
    let stream = u32::from_le_bytes(word) as usize;
    if count > MOST_BUFFERS || stream > size {
        return Err(error::malformed());
    }
    let mut lengths = vec![0; 8 * count];
    part(9, &mut lengths)?;
    let mut at = 9 + lengths.len();
    let stream = PyBytes::new_with(py, stream, |memory| part(at, memory))?;
    at += stream.len()?;
    let buffers = PyList::empty(py);
    for length in lengths.chunks_exact(8) {
        let word = u64::from_le_bytes([
            length[0], length[1], length[2], length[3], length[4], length[5], length[6], length[7],
        ]);
        let length = usize::try_from(word & !READ_ONLY).map_err(|_| error::malformed())?;
        at = at.next_multiple_of(LINE);
        // Before so much memory is asked for.
        if length > size || at > size - length {
            return Err(error::malformed());
        }
        if word & READ_ONLY != 0 {
            buffers.append(PyBytes::new_with(py, length, |memory| part(at, memory))?)?;
        } else {
            buffers.append(memory_for(py, length, |memory| part(at, memory))?)?;
        }
        at += length;
    }
    Ok(Taken::Pickle(stream.into_any(), Some(buffers)))
}

/// A `bytearray` that `fill` writes, without zeros before that.
fn memory_for<'py>(
    py: Python<'py>,
    length: usize,
    fill: impl FnOnce(&mut [u8]) -> PyResult<()>,
) -> PyResult<Bound<'py, PyByteArray>> {
    // SAFETY: the interpreter is attached. The memory is ours until this returns, and `fill` only
    // writes to it: bytes of any value are bytes.
    unsafe {
        let object = ffi::PyByteArray_FromStringAndSize(std::ptr::null(), length as isize);
        let array = Bound::from_owned_ptr_or_err(py, object)?.cast_into_unchecked::<PyByteArray>();
        let start = ffi::PyByteArray_AsString(array.as_ptr()).cast::<u8>();
        fill(std::slice::from_raw_parts_mut(start, length))?;
        Ok(array)
    }
}

impl Serializer {
    /// What `serializer=` says.
    pub(super) fn of(given: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let Some(given) = given else { return Ok(Self::Pickle) };
        let from = |other: &Bound<'_, PyAny>| {
            let (dumps, loads) =
                (other.getattr("dumps")?.unbind(), other.getattr("loads")?.unbind());
            Ok(Self::Custom { dumps, loads })
        };
        if let Ok(word) = given.cast::<PyString>() {
            return match word.to_str()? {
                "pickle" => Ok(Self::Pickle),
                "bytes" => Ok(Self::Bytes),
                "json" => from(given.py().import("json")?.as_any()),
                word => Err(crate::errors::word(
                    "serializer",
                    word,
                    "it is pickle, bytes, json, or an object with dumps and loads",
                )),
            };
        }
        from(given).map_err(|_: PyErr| {
            PyTypeError::new_err(
                "serializer= is \"pickle\", \"bytes\", \"json\", or an object with dumps(object) \
                 and loads(bytes), as the modules json, marshal and msgpack are",
            )
        })
    }

    /// Whether reading what others send may run code of theirs.
    pub(super) fn runs_code(&self) -> bool {
        matches!(self, Self::Pickle)
    }

    /// The bytes of a plain object, with `short` as their place; `None` if it is not plain, or has
    /// more of them. Runs no Python code.
    #[inline(always)]
    pub(super) fn write_short<'s>(
        &self,
        object: &Bound<'_, PyAny>,
        short: &'s mut Short,
    ) -> Option<&'s [u8]> {
        if !self.runs_code() {
            return None;
        }
        plain::Output::put(short, &[PLAIN]);
        plain::write(object, short).ok()?;
        Some(short.as_slice())
    }

    /// The bytes of any object. It may run any code.
    pub(super) fn write(&self, object: &Bound<'_, PyAny>) -> PyResult<Outgoing> {
        match self {
            Self::Pickle => write_any(object),
            Self::Bytes => Ok(Outgoing::with(vec![CUSTOM], bytes_of(object)?)),
            Self::Custom { dumps, .. } => {
                let bytes = dumps.bind(object.py()).call1((object,))?;
                let bytes = match bytes.cast::<PyString>() {
                    Ok(text) => text.encode_utf8()?.into_any(),
                    Err(_) => bytes,
                };
                Ok(Outgoing::with(vec![CUSTOM], bytes_of(&bytes)?))
            }
        }
    }

    /// The object. It may run any code, if it is pickled.
    pub(super) fn read<'py>(
        &self,
        py: Python<'py>,
        taken: Taken<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match (self, taken) {
            (Self::Pickle, Taken::Plain(bytes)) => plain::read(py, &bytes),
            (Self::Pickle, Taken::Block(bytes)) => Ok(bytes),
            (Self::Pickle, Taken::Pickle(stream, buffers)) => pickle::load(&stream, buffers),
            (Self::Bytes, Taken::Custom(bytes)) => Ok(bytes),
            (Self::Custom { loads, .. }, Taken::Custom(bytes)) => loads.bind(py).call1((bytes,)),
            (_, Taken::Spilled(_) | Taken::Notice) => Err(error::malformed()),
            _ => Err(error::other_serializer()),
        }
    }
}

impl Source for &[u8] {
    fn size(&self) -> usize {
        self.len()
    }

    fn read_at(&self, offset: usize, buffer: &mut [u8]) -> PyResult<()> {
        buffer.copy_from_slice(&self[offset..offset + buffer.len()]);
        Ok(())
    }
}

fn bytes_of(object: &Bound<'_, PyAny>) -> PyResult<Buffer> {
    Buffer::of(object, ffi::PyBUF_SIMPLE)
}

/// A plain object of many bytes, or one that is pickled.
#[cold]
fn write_any(object: &Bound<'_, PyAny>) -> PyResult<Outgoing> {
    if object.cast_exact::<PyBytes>().is_ok() {
        return Ok(Outgoing::with(vec![BLOCK], bytes_of(object)?));
    }
    let mut plain = vec![PLAIN];
    if plain::write(object, &mut plain) != Err(Unwritten::NotPlain) {
        return Ok(Outgoing::whole(plain));
    }
    let written = pickle::dump(object, PICKLE)?;
    if written.buffers.is_empty() {
        return Ok(Outgoing::whole(written.stream));
    }
    let stream = &written.stream[1..];
    let Ok(length) = u32::try_from(stream.len()) else {
        return Err(PyTypeError::new_err("the object has 4 GiB or more beside its buffers"));
    };
    let mut head = Vec::with_capacity(9 + 8 * written.buffers.len() + stream.len());
    head.push(BUFFERS);
    head.extend_from_slice(&(written.buffers.len() as u32).to_le_bytes());
    head.extend_from_slice(&length.to_le_bytes());
    for (buffer, read_only) in &written.buffers {
        let flag = if *read_only { READ_ONLY } else { 0 };
        head.extend_from_slice(&(buffer.as_slice().len() as u64 | flag).to_le_bytes());
    }
    head.extend_from_slice(stream);
    let mut size = head.len();
    let mut rest = Vec::with_capacity(written.buffers.len());
    for (buffer, _) in written.buffers {
        let at = size.next_multiple_of(LINE);
        size = at + buffer.as_slice().len();
        rest.push((at, buffer));
    }
    Ok(Outgoing { head, rest, size, file: None })
}
