//! `put` and `get`.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyList;
use ultrafastring::{MAX_BATCH, PriorityClass, RecvError, SendError};

use super::backlog::Feeder;
use super::codec::{self, Listed, Outgoing, PLAIN, Taken};
use super::local::{Hand, Local, Receiving, Sending};
use super::plain::{self, Short};
use super::spill::{Named, Spill};
use super::{ObjectRing, error};
use crate::errors;
use crate::turn::Turn;
use crate::wait::{self, Limit};

/// How long a call waits: `block` and `timeout`, as `multiprocessing` has them.
#[derive(Clone, Copy)]
enum Patience {
    None,
    Some(Limit),
}

impl Patience {
    fn of(block: Option<&Bound<'_, PyAny>>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        if let Some(block) = block
            && !block.is_truthy()?
        {
            return Ok(Self::None);
        }
        match timeout {
            None => Ok(Self::Some(Limit::None)),
            Some(timeout) => {
                let seconds: f64 = timeout.extract()?;
                // Not `max`: what is no number stays one.
                let seconds = if seconds < 0.0 { 0.0 } else { seconds };
                Limit::of(Some(seconds)).map(Self::Some)
            }
        }
    }
}

/// Putting.
#[pymethods]
impl ObjectRing {
    /// Puts `obj` into the queue. If the queue has a size and is full, this waits for room, for
    /// `timeout` seconds at most, and raises `queue.Full`; without `block` it raises that at once.
    #[inline]
    #[pyo3(signature = (obj, block=None, timeout=None),
        text_signature = "($self, obj, block=True, timeout=None)")]
    fn put(
        slf: &Bound<'_, Self>,
        obj: &Bound<'_, PyAny>,
        block: Option<&Bound<'_, PyAny>>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let this = slf.get();
        let local = Self::open(slf)?;
        if !local.backlog.is_active() {
            let mut short = Short::new();
            if let Some(bytes) = this.serializer.write_short(obj, &mut short)
                && local.send_now(bytes)
            {
                return Ok(());
            }
        }
        Self::put_later(slf, local, obj, Patience::of(block, timeout)?)
    }

    /// Puts `obj` into the queue, or raises `queue.Full`; as `put` without `block`.
    fn put_nowait(slf: &Bound<'_, Self>, obj: &Bound<'_, PyAny>) -> PyResult<()> {
        let local = Self::open(slf)?;
        Self::put_later(slf, local, obj, Patience::None)
    }

    /// Puts all of `items`, in order. What it raises says as `sent` how many were put.
    #[pyo3(signature = (items, block=None, timeout=None),
        text_signature = "($self, items, block=True, timeout=None)")]
    fn put_many(
        slf: &Bound<'_, Self>,
        items: &Bound<'_, PyAny>,
        block: Option<&Bound<'_, PyAny>>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let local = Self::open(slf)?;
        let patience = Patience::of(block, timeout)?;
        let mut batch = Batch::default();
        let mut sent = 0;
        let mut put = || {
            for item in items.try_iter()? {
                let item = item?;
                if !batch.add(slf.get(), local, &item) {
                    batch.send(slf, local, patience, &mut sent)?;
                    if !batch.add(slf.get(), local, &item) {
                        Self::put_later(slf, local, &item, patience)?;
                        sent += 1;
                    }
                }
            }
            batch.send(slf, local, patience, &mut sent)
        };
        let done = put();
        done.map_err(|error| errors::with_sent(slf.py(), error, sent))
    }
}

/// A message for which there was no room. It is no view of what it was made of.
#[pyclass(frozen, name = "_Kept", module = "ultrafastring._ultrafastring")]
pub(crate) struct Kept(Mutex<Option<Listed>>);

impl Kept {
    fn message(&self) -> MutexGuard<'_, Option<Listed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Kept {
    /// Nobody puts it any more. Python may keep the object much longer, as in a traceback.
    fn drop(&self) {
        *self.message() = None;
    }
}

/// Putting, for asyncio: the message is made once, and perhaps its file.
#[pymethods]
impl ObjectRing {
    /// Puts `obj`, or gives the message for which there is no room yet.
    fn _put_or_keep(slf: &Bound<'_, Self>, obj: &Bound<'_, PyAny>) -> PyResult<Option<Kept>> {
        let local = Self::open(slf)?;
        let Some(message) = Self::message_of(slf, local, obj)? else { return Ok(None) };
        if slf.get().maxsize == 0 {
            return Self::place(slf, local, message, Patience::None).map(|()| None);
        }
        if Self::try_to_send(local, |it| it.send(&message))?.is_none() {
            return Ok(Some(Kept(Mutex::new(Some(message.listed())))));
        }
        message.sent();
        Ok(None)
    }

    /// Puts what was kept. `False` if there is no room yet.
    fn _put_kept(slf: &Bound<'_, Self>, kept: &Bound<'_, Kept>) -> PyResult<bool> {
        let local = Self::open(slf)?;
        let mut place = kept.get().message();
        let Some(message) = place.as_ref() else { return Ok(true) };
        if Self::try_to_send(local, |it| it.send_whole(&message.bytes))?.is_none() {
            return Ok(false);
        }
        if let Some(message) = place.take() {
            message.sent();
        }
        Ok(true)
    }
}

/// Short messages that are sent together.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Batch {
    /// Adds an item. `false` if that has to be put by itself, or there is no room in the batch.
    fn add(&mut self, ring: &ObjectRing, local: &Local, item: &Bound<'_, PyAny>) -> bool {
        let mut short = Short::new();
        let room = self.ends.len() < MAX_BATCH && !local.backlog.is_active();
        match ring.serializer.write_short(item, &mut short) {
            Some(bytes) if room && bytes.len() <= local.ring.max_message() => {
                self.bytes.extend_from_slice(bytes);
                self.ends.push(self.bytes.len());
                true
            }
            _ => false,
        }
    }

    fn send(
        &mut self,
        slf: &Bound<'_, ObjectRing>,
        local: &Local,
        patience: Patience,
        sent: &mut usize,
    ) -> PyResult<()> {
        let mut slices: [&[u8]; MAX_BATCH] = [&[]; MAX_BATCH];
        let mut start = 0;
        for (slice, end) in slices.iter_mut().zip(&self.ends) {
            *slice = &self.bytes[start..*end];
            start = *end;
        }
        let slices = &slices[..self.ends.len()];
        let mut done = 0;
        while done < slices.len() {
            // The turn ends before one of them is waited for.
            let many = match local.sending()?.try_enter()? {
                Some(mut entered) if !local.backlog.is_active() => {
                    let handle = &mut entered.value()?.handle;
                    handle.try_send_many(&slices[done..], PriorityClass::Normal)
                }
                _ => Err(SendError::Full),
            };
            match many {
                Ok(many) => done += many,
                Err(SendError::Full | SendError::OutOfCredit) => {
                    let message = Outgoing::whole(slices[done].to_vec());
                    ObjectRing::place(slf, local, message, patience).inspect_err(|_| {
                        *sent += done;
                    })?;
                    done += 1;
                }
                Err(error) => {
                    *sent += done;
                    return Err(errors::of_send(error));
                }
            }
        }
        *sent += done;
        self.bytes.clear();
        self.ends.clear();
        Ok(())
    }
}

impl ObjectRing {
    /// What was not put at once.
    #[cold]
    fn put_later(
        slf: &Bound<'_, Self>,
        local: &Local,
        object: &Bound<'_, PyAny>,
        patience: Patience,
    ) -> PyResult<()> {
        match Self::message_of(slf, local, object)? {
            Some(message) => Self::place(slf, local, message, patience),
            None => Ok(()),
        }
    }

    /// The message of any object; `None` if a subclass was told that it was not pickled.
    fn message_of(
        slf: &Bound<'_, Self>,
        local: &Local,
        object: &Bound<'_, PyAny>,
    ) -> PyResult<Option<Outgoing>> {
        let this = slf.get();
        let message = match this.serializer.write(object) {
            Ok(message) => message,
            // A subclass may be told instead, as one of `multiprocessing.Queue` is.
            Err(error) => return more_than_raise(slf, object, error).map(|()| None),
        };
        Ok(Some(match &this.spill {
            Some(spill) if message.size() > local.ring.max_message() => message.spill(spill)?,
            _ => message,
        }))
    }

    /// Sends a message, lists it, or waits for room. After an error nobody has it, nor its file.
    fn place(
        slf: &Bound<'_, Self>,
        local: &Local,
        message: Outgoing,
        patience: Patience,
    ) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let turn = local.sending()?;
        if this.maxsize == 0 {
            // Nobody waits for room with the handle, so its turn comes soon.
            if !local.backlog.is_active()
                && turn.enter(py, Limit::None)?.value()?.send(&message)?.is_some()
            {
                message.sent();
                return Ok(());
            }
            return Self::list(slf, local, message);
        }
        match patience {
            Patience::None => {
                Self::try_to_send(local, |it| it.send(&message))?.ok_or_else(error::full)?;
            }
            Patience::Some(limit) => {
                let wait = || {
                    let mut entered = turn.enter(py, limit)?;
                    wait::for_it(py, entered.value()?, limit, |it| it.send(&message))
                };
                wait().map_err(|error| error::instead_of_late(py, error, error::full))?;
            }
        }
        message.sent();
        Ok(())
    }

    /// Sends, if there is room at once.
    fn try_to_send(
        local: &Local,
        send: impl FnOnce(&mut Sending) -> PyResult<Option<()>>,
    ) -> PyResult<Option<()>> {
        match local.sending()?.try_enter()? {
            Some(mut entered) => send(entered.value()?),
            // Another thread waits for room, so there is none.
            None => Ok(None),
        }
    }

    #[cold]
    fn list(slf: &Bound<'_, Self>, local: &Local, message: Outgoing) -> PyResult<()> {
        let sender = || local.ring.producer_unless_closed().map_err(errors::of_ring);
        if local.backlog.start(sender, local.tasks.as_ref())? {
            let backlog = std::sync::Arc::clone(&local.backlog);
            let feeder = Feeder { backlog, generation: local.generation };
            slf.call_method1("_started", (feeder,))?;
        }
        local.backlog.push(message.listed());
        Ok(())
    }
}

/// Tells a subclass that has `_on_queue_feeder_error` of its own that an object was not pickled.
fn more_than_raise(
    slf: &Bound<'_, ObjectRing>,
    object: &Bound<'_, PyAny>,
    error: PyErr,
) -> PyResult<()> {
    let py = slf.py();
    match slf.getattr_opt("_on_queue_feeder_error")? {
        Some(told) if error.is_instance_of::<pyo3::exceptions::PyException>(py) => {
            told.call1((error.value(py), object)).map(drop)
        }
        _ => Err(error),
    }
}

/// Getting.
#[pymethods]
impl ObjectRing {
    /// The next item; waits for it, for `timeout` seconds at most, and raises `queue.Empty`.
    /// Without `block` it raises that at once.
    #[inline]
    #[pyo3(signature = (block=None, timeout=None),
        text_signature = "($self, block=True, timeout=None)")]
    fn get<'py>(
        slf: &Bound<'py, Self>,
        block: Option<&Bound<'py, PyAny>>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let local = Self::open(slf)?;
        if let Some(object) = slf.get().get_at_once(slf.py(), local) {
            return object;
        }
        Self::get_later(slf, local, Patience::of(block, timeout)?)
    }

    /// The next item, or raises `queue.Empty`; as `get` without `block`.
    fn get_nowait<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let local = Self::open(slf)?;
        Self::get_later(slf, local, Patience::None)
    }

    /// A list of 1 to `most` items; waits for the first as `get` does. With `redeliver=True` it has
    /// one item.
    #[pyo3(signature = (most=64, block=None, timeout=None),
        text_signature = "($self, most=64, block=True, timeout=None)")]
    fn get_many<'py>(
        slf: &Bound<'py, Self>,
        most: usize,
        block: Option<&Bound<'py, PyAny>>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyList>> {
        let items = PyList::empty(slf.py());
        if most == 0 {
            return Ok(items);
        }
        items.append(Self::get(slf, block, timeout)?)?;
        let local = Self::open(slf)?;
        let most = if slf.get().redeliver { 1 } else { most };
        while items.len() < most {
            match Self::get_later(slf, local, Patience::None) {
                Ok(item) => items.append(item)?,
                // What else is wrong the next call finds too.
                Err(error) if error::is_empty(slf.py(), &error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(items)
    }
}

impl ObjectRing {
    /// The next item, if its message is in its slot, and nothing about it is special.
    #[inline(always)]
    fn get_at_once<'py>(
        &self,
        py: Python<'py>,
        local: &Local,
    ) -> Option<PyResult<Bound<'py, PyAny>>> {
        if self.redeliver || self.group.is_some() || local.tasks.is_some() {
            return None;
        }
        let mut entered = local.receiving.get()?.now()?;
        let message = match entered.get()?.handle().try_recv() {
            Ok(message) => message,
            Err(RecvError::Empty | RecvError::BufferTooSmall { .. }) => return None,
            Err(error) => return Some(Err(errors::of_recv(error))),
        };
        // Before anybody's code is run.
        drop(entered);
        match &message[..] {
            [PLAIN, value @ ..] if self.serializer.runs_code() => Some(plain::read(py, value)),
            bytes => match codec::take(py, &bytes) {
                Ok(Taken::Notice) => None,
                taken => Some(taken.and_then(|taken| self.object(py, taken))),
            },
        }
    }

    /// The object of what was taken, and is gone from the ring.
    fn object<'py>(&self, py: Python<'py>, taken: Taken<'py>) -> PyResult<Bound<'py, PyAny>> {
        let taken = match taken {
            // Nobody else has the item: its file goes with `file`, also if it cannot be read.
            Taken::Spilled(name) => {
                let file = self.file_of(&name)?;
                codec::take(py, &file.open()?)?
            }
            taken => taken,
        };
        self.serializer.read(py, taken)
    }

    fn file_of(&self, name: &str) -> PyResult<Named> {
        let named = |spill: &Spill| spill.named(name);
        self.spill.as_ref().map_or_else(|| Err(error::malformed()), named)
    }

    /// What was not there at once.
    #[cold]
    fn get_later<'py>(
        slf: &Bound<'py, Self>,
        local: &Local,
        patience: Patience,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, this) = (slf.py(), slf.get());
        loop {
            let taken = if this.redeliver {
                Self::take_by_hand(slf, local, patience)
            } else {
                this.take(py, local, patience)
            };
            match taken {
                Ok(Taken::Notice) => {}
                Ok(taken) => return this.object(py, taken),
                Err(error) => return Err(error::instead_of_late(py, error, error::empty)),
            }
        }
    }

    /// The receiving handle, which is taken when something is got for the first time.
    pub(super) fn receiving<'a>(&self, local: &'a Local) -> PyResult<&'a Turn<Receiving>> {
        if let Some(turn) = local.receiving.get() {
            return Ok(turn);
        }
        let receiving = self.receiver(local)?;
        local.index.store(receiving.index, Ordering::Relaxed);
        let turn = Turn::new(receiving);
        Ok(local.receiving.get_or_init(|| turn))
    }

    fn take<'py>(
        &self,
        py: Python<'py>,
        local: &Local,
        patience: Patience,
    ) -> PyResult<Taken<'py>> {
        let (tasks, careful) = (local.tasks.as_deref(), self.group.is_some());
        let turn = self.receiving(local)?;
        let attempt = |it: &mut Receiving| it.take(py, tasks, careful);
        match patience {
            Patience::None => match turn.try_enter()? {
                Some(mut entered) => attempt(entered.value()?)?.ok_or_else(error::empty),
                // Another thread waits for an item, so there is none.
                None => Err(error::empty()),
            },
            Patience::Some(limit) => {
                let mut entered = turn.enter(py, limit)?;
                wait::for_it(py, entered.value()?, limit, attempt)
            }
        }
    }

    /// A hand for this thread: the one it had, or, where several tasks may be in hand, a free one.
    pub(super) fn hand(slf: &Bound<'_, Self>, local: &Local) -> PyResult<Hand> {
        local.take_hand(local.tasks.is_none(), || {
            let receiving = slf.get().receiver(local)?;
            slf.call_method0("_took_hand")?;
            Ok(receiving)
        })
    }

    fn take_by_hand<'py>(
        slf: &Bound<'py, Self>,
        local: &Local,
        patience: Patience,
    ) -> PyResult<Taken<'py>> {
        let py = slf.py();
        let mut hand = Self::hand(slf, local)?;
        let taken = match patience {
            Patience::None => hand.take(py).and_then(|it| it.ok_or_else(error::empty)),
            Patience::Some(limit) => wait::for_it(py, &mut hand, limit, |it| it.take(py)),
        };
        let taken = taken.and_then(|taken| match taken {
            // Before other threads find the hand: one of them may let go of the item.
            Taken::Spilled(name) => {
                let file = slf.get().file_of(&name)?;
                let opened = file.open();
                hand.receiving.keep_file(file);
                codec::take(py, &opened?)
            }
            taken => Ok(taken),
        });
        local.put_hand(hand);
        taken
    }
}
