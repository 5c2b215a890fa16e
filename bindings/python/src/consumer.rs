//! The receiving handle.

mod aio;
mod order;

use std::sync::Arc;
use std::time::Instant;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use ultrafastring::clock::Clock;
use ultrafastring::{INLINE_SIZE, MAX_BATCH, Readiness, Received, RecvError, UltraFastRing};

pub(crate) use self::order::Order;
use crate::errors;
use crate::guard::{self, Borrowed};
use crate::handle::{self, Handle, State};
use crate::input::Buffer;
use crate::take::{self, Core};
use crate::values::{About, Message};
use crate::wait::{self, Limit, Wait};

/// A handle that receives. Taken from a ring with `Ring.consumer()`.
///
/// Each message goes to one consumer. `recv`, `recv_message`, `recv_into`, `recv_many`,
/// `recv_messages` and `borrow` wait; those that begin with `try_` do not. `timeout=` bounds a
/// wait, in seconds. Threads may share a handle: its calls take turns.
///
/// >>> from ultrafastring import Ring
/// >>> ring = Ring.anonymous()
/// >>> producer, consumer = ring.producer(), ring.consumer()
/// >>> producer.send_many([b"one", b"two", b"three"])
/// >>> consumer.recv()
/// b'one'
/// >>> message = consumer.recv_message(timeout=1.0)
/// >>> message.data, message.priority.word, message.redelivered
/// (b'two', 'normal', False)
/// >>> consumer.recv_many()
/// [b'three']
/// >>> consumer.try_recv() is None
/// True
#[pyclass(frozen, weakref, module = "ultrafastring")]
pub(crate) struct Consumer {
    pub(crate) handle: Handle<Core>,
    pub(crate) clock: Clock,
}

/// A message that was taken, of the library.
type LibraryMessage = ultrafastring::Message;

/// A message that is held, of the library.
type Held<'a> = ultrafastring::Borrowed<'a>;

/// What a call has that receives.
type Receiving = State<Core>;

impl handle::Core for Core {
    type Lent = Held<'static>;
    type More = Unsaid;

    fn readiness(&self) -> std::io::Result<Readiness> {
        self.readiness()
    }

    fn close(&mut self) {
        self.close();
    }
}

/// What a consumer keeps beside its handle.
pub(crate) struct Unsaid {
    /// An error that came after messages of the same call; the next call raises it.
    error: Option<PyErr>,
    /// Where a batch is received.
    batch: Box<[[u8; INLINE_SIZE]; MAX_BATCH]>,
}

impl Default for Unsaid {
    fn default() -> Self {
        Self { error: None, batch: Box::new([[0; INLINE_SIZE]; MAX_BATCH]) }
    }
}

impl Receiving {
    /// Raises what the call before had to leave unsaid.
    #[inline(always)]
    fn say(&mut self) -> PyResult<&mut Self> {
        match self.more.error.take() {
            None => Ok(self),
            Some(error) => Err(error),
        }
    }
}

impl Wait for Core {
    type Stop = RecvError;
    const LATE: &'static str =
        "no message came in time; receive again, or see what keeps the producers";

    fn wait_until(&mut self, until: Instant) -> Result<(), RecvError> {
        match self.wait(Some(until)) {
            Err(RecvError::TimedOut) => Ok(()),
            done => done,
        }
    }

    fn error(stop: RecvError) -> PyErr {
        errors::of_recv(stop)
    }
}

impl Consumer {
    pub(crate) fn new(ring: &Arc<UltraFastRing>, core: Core, trusted: bool) -> Self {
        Self { handle: Handle::new(ring, core, trusted), clock: ring.clock() }
    }

    /// Waits for what `attempt` gets of the handle.
    #[inline(always)]
    fn waiting<R>(
        &self,
        py: Python<'_>,
        timeout: Option<f64>,
        attempt: impl FnMut(&mut Core) -> PyResult<Option<R>>,
    ) -> PyResult<R> {
        let limit = Limit::of(timeout)?;
        let mut entered = self.handle.turn.enter(py, limit)?;
        wait::for_it(py, entered.value()?.say()?.core(), limit, attempt)
    }

    /// What `attempt` gets of the handle at once.
    #[inline(always)]
    fn at_once<R>(
        &self,
        attempt: impl FnOnce(&mut Core) -> PyResult<Option<R>>,
    ) -> PyResult<Option<R>> {
        match self.handle.turn.try_enter()? {
            Some(mut entered) => attempt(entered.value()?.say()?.core()),
            // Another thread waits for a message, so there is none.
            None => Ok(None),
        }
    }

    /// The next message, if it is in its slot; `None` if there is none there, or something else is
    /// wrong that another call will find too.
    #[inline(always)]
    pub(crate) fn recv_at_once(&self) -> Option<PyResult<LibraryMessage>> {
        let mut entered = self.handle.turn.now()?;
        let receiving = entered.get()?;
        if receiving.more.error.is_some() {
            return None;
        }
        match receiving.core().try_recv() {
            Ok(message) => Some(Ok(message)),
            Err(RecvError::Empty | RecvError::BufferTooSmall { .. }) => None,
            // Not all are said twice.
            Err(error) => Some(Err(errors::of_recv(error))),
        }
    }

    fn message<'py>(&self, (data, about): (Bound<'py, PyBytes>, Received)) -> Message {
        Message::new(data, About::new(about, &self.clock))
    }

    /// Up to `most` messages, each as `make` has it; nothing if there is none.
    fn several<'py, R: IntoPyObject<'py>>(
        &self,
        py: Python<'py>,
        receiving: &mut Receiving,
        most: usize,
        make: impl Fn(Bound<'py, PyBytes>, Received) -> R,
    ) -> PyResult<Option<Bound<'py, PyList>>>
    where
        PyErr: From<R::Error>,
    {
        receiving.say()?;
        let mut list: Option<Bound<'py, PyList>> = None;
        let mut got = 0;
        while got < most {
            let wanted = MAX_BATCH.min(most - got);
            let (core, Unsaid { batch: buffers, error: unsaid }) = receiving.parts();
            match core.try_recv_many(&mut buffers[..wanted]) {
                Ok(batch) => {
                    let each = batch.iter().zip(buffers.iter()).map(|(about, bytes)| {
                        let bytes = &bytes[..about.size.min(INLINE_SIZE)];
                        make(PyBytes::new(py, bytes), *about)
                    });
                    got += batch.len();
                    let complete = batch.len() == wanted;
                    match &list {
                        None => list = Some(PyList::new(py, each)?),
                        Some(list) => each.into_iter().try_for_each(|it| list.append(it))?,
                    }
                    if !complete && core.max_message() <= INLINE_SIZE {
                        break;
                    }
                }
                Err(RecvError::BufferTooSmall { .. }) => {
                    let (data, about) = match take::next(py, core) {
                        Ok(Some(message)) => message,
                        Ok(None) => break,
                        Err(error) if got == 0 => return Err(error),
                        Err(error) => {
                            *unsaid = Some(error);
                            break;
                        }
                    };
                    got += 1;
                    let list = list.get_or_insert_with(|| PyList::empty(py));
                    list.append(make(data, about))?;
                }
                Err(RecvError::Empty) => break,
                Err(error) if got == 0 => return Err(errors::of_recv(error)),
                // Some are said once only, as that the group was evicted.
                Err(error) => {
                    *unsaid = Some(errors::of_recv(error));
                    break;
                }
            }
        }
        Ok(list)
    }

    /// Waits for up to `most` messages.
    fn waiting_for_several<'py, R: IntoPyObject<'py>>(
        &self,
        py: Python<'py>,
        most: usize,
        timeout: Option<f64>,
        make: impl Fn(Bound<'py, PyBytes>, Received) -> R,
    ) -> PyResult<Bound<'py, PyList>>
    where
        PyErr: From<R::Error>,
    {
        if most == 0 {
            return Ok(PyList::empty(py));
        }
        let limit = Limit::of(timeout)?;
        let mut entered = self.handle.turn.enter(py, limit)?;
        let attempt = |it: &mut Receiving| self.several(py, it, most, &make);
        wait::for_it(py, entered.value()?, limit, attempt)
    }

    fn several_at_once<'py, R: IntoPyObject<'py>>(
        &self,
        py: Python<'py>,
        most: usize,
        make: impl Fn(Bound<'py, PyBytes>, Received) -> R,
    ) -> PyResult<Bound<'py, PyList>>
    where
        PyErr: From<R::Error>,
    {
        let several = match self.handle.turn.try_enter()? {
            Some(mut entered) => self.several(py, entered.value()?, most, make)?,
            None => None,
        };
        Ok(several.unwrap_or_else(|| PyList::empty(py)))
    }

    /// Lends the message that `attempt` gets to a guard.
    fn lend(slf: &Bound<'_, Self>, limit: Option<Limit>) -> PyResult<Option<Borrowed>> {
        let (py, this) = (slf.py(), slf.get());
        let attempt = |core: &mut Core| match core.try_borrow() {
            Ok(message) => {
                // SAFETY: it is kept beside the handle, which stays where it is, and is dropped
                // before that is used again or dropped.
                let held = unsafe { std::mem::transmute::<Held<'_>, Held<'static>>(message) };
                Ok(Some(held))
            }
            Err(RecvError::Empty) => Ok(None),
            Err(error) => Err(errors::of_recv(error)),
        };
        let Some(mut entered) = this.handle.enter_to_lend(py, limit)? else { return Ok(None) };
        let receiving = entered.value()?.say()?;
        let message = match limit {
            Some(limit) => wait::for_it(py, receiving.core(), limit, attempt)?,
            None => match attempt(receiving.core())? {
                Some(message) => message,
                None => return Ok(None),
            },
        };
        let shown = guard::show(py, this, &message)?;
        receiving.lent = Some(message);
        entered.lend();
        Ok(Some(Borrowed::new(slf.clone().unbind(), shown)))
    }
}

impl Wait for Receiving {
    type Stop = RecvError;
    const LATE: &'static str = <Core as Wait>::LATE;

    fn wait_until(&mut self, until: Instant) -> Result<(), RecvError> {
        self.core().wait_until(until)
    }

    fn error(stop: RecvError) -> PyErr {
        errors::of_recv(stop)
    }
}

/// Receiving.
#[pymethods]
impl Consumer {
    /// The next message; waits for it. Raises `TimedOut` after `timeout` seconds, `Closed` when the
    /// ring is closed and all of it received, `Deserted` if that was asked for.
    #[inline]
    #[pyo3(signature = (timeout=None))]
    fn recv<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Bound<'py, PyBytes>> {
        self.waiting(py, timeout, |it| Ok(take::next(py, it)?.map(|(bytes, _)| bytes)))
    }

    /// The next message, or `None` if there is none. Never waits.
    #[inline]
    fn try_recv<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.at_once(|it| Ok(take::next(py, it)?.map(|(bytes, _)| bytes)))
    }

    /// The next message as a `Message`, with its class, latency and place; waits for it.
    #[pyo3(signature = (timeout=None))]
    fn recv_message(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Message> {
        self.waiting(py, timeout, |it| take::next(py, it)).map(|got| self.message(got))
    }

    /// The next message as a `Message`, or `None` if there is none. Never waits.
    fn try_recv_message(&self, py: Python<'_>) -> PyResult<Option<Message>> {
        Ok(self.at_once(|it| take::next(py, it))?.map(|got| self.message(got)))
    }

    /// Receives the next message into `buffer`, and says how many bytes it has; waits for it.
    /// Raises `BufferTooSmall` with the message left where it is.
    #[pyo3(signature = (buffer, timeout=None))]
    fn recv_into(&self, buffer: &Bound<'_, PyAny>, timeout: Option<f64>) -> PyResult<usize> {
        let mut buffer = Buffer::of(buffer, ffi::PyBUF_WRITABLE)?;
        // SAFETY: the interpreter is attached: the arguments are bound to it.
        let py = unsafe { Python::assume_attached() };
        self.waiting(py, timeout, |it| receive_into(it, &mut buffer))
    }

    /// As `recv_into`, but gives `None` if there is no message. Never waits.
    fn try_recv_into(&self, buffer: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
        let mut buffer = Buffer::of(buffer, ffi::PyBUF_WRITABLE)?;
        self.at_once(|it| receive_into(it, &mut buffer))
    }

    /// A list of 1 to `most` messages: as many as are there. Waits for the first.
    #[pyo3(signature = (most=64, timeout=None))]
    fn recv_many<'py>(
        &self,
        py: Python<'py>,
        most: usize,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyList>> {
        self.waiting_for_several(py, most, timeout, |data, _| data)
    }

    /// A list of up to `most` messages: as many as are there. Never waits.
    #[pyo3(signature = (most=64))]
    fn try_recv_many<'py>(&self, py: Python<'py>, most: usize) -> PyResult<Bound<'py, PyList>> {
        self.several_at_once(py, most, |data, _| data)
    }

    /// As `recv_many`, of `Message`.
    #[pyo3(signature = (most=64, timeout=None))]
    fn recv_messages<'py>(
        &self,
        py: Python<'py>,
        most: usize,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyList>> {
        self.waiting_for_several(py, most, timeout, |data, about| self.message((data, about)))
    }

    /// As `try_recv_many`, of `Message`.
    #[pyo3(signature = (most=64))]
    fn try_recv_messages<'py>(&self, py: Python<'py>, most: usize) -> PyResult<Bound<'py, PyList>> {
        self.several_at_once(py, most, |data, about| self.message((data, about)))
    }

    /// Takes the next message and holds it: `with consumer.borrow() as view` gives a memoryview,
    /// and the message is released at the end of the block. Waits for the message.
    #[pyo3(signature = (timeout=None))]
    fn borrow(slf: &Bound<'_, Self>, timeout: Option<f64>) -> PyResult<Borrowed> {
        let limit = Limit::of(timeout)?;
        match Self::lend(slf, Some(limit))? {
            Some(borrowed) => Ok(borrowed),
            None => Err(errors::timed_out(<Core as Wait>::LATE)),
        }
    }

    /// As `borrow`, or `None` if there is no message. Never waits.
    fn try_borrow(slf: &Bound<'_, Self>) -> PyResult<Option<Borrowed>> {
        Self::lend(slf, None)
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// The next message, as `recv`; the iteration ends when the ring is closed and all of it
    /// received, or deserted.
    #[inline]
    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let got = match self.recv_at_once() {
            Some(got) => got.map(|message| PyBytes::new(py, &message)),
            None => self.recv(py, None),
        };
        match got {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if errors::ends_stream(py, &error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn receive_into(consumer: &mut Core, buffer: &mut Buffer) -> PyResult<Option<usize>> {
    match consumer.try_recv_into(buffer.as_mut_slice()) {
        Ok(about) => Ok(Some(about.size)),
        Err(RecvError::Empty) => Ok(None),
        Err(error) => Err(errors::of_recv(error)),
    }
}

handle::common!(
    Consumer,
    close: "Closes the ring: the stream ends, for every handle.",
    flush: "Grants what was released and stores the statistics now, instead of once in several \
        messages.",
    end_when_deserted: "Whether calls that wait raise `Deserted` when the ring is empty, \
        producers have been, and none is left.",
    is_deserted: "Whether producers have been and none is left at this moment.",
);

/// The handle.
#[pymethods]
impl Consumer {
    /// Treats a closed ring as an empty one until somebody opens it again.
    fn await_next_stream(&self, py: Python<'_>) -> PyResult<()> {
        self.handle.on_core(py, Core::await_next_stream)
    }

    /// How many handles of producers are held by the living.
    fn living_producers(&self, py: Python<'_>) -> PyResult<usize> {
        self.handle.on_core(py, |it| it.living_producers())
    }
}
