//! Rings of objects: what queues and broadcasts are made of. Their classes are in `_queues.py` and
//! `_broadcast.py`.
//!
//! ```text
//!  plain.rs pickle.rs   objects as bytes
//!  codec.rs             messages
//!  spill.rs             items that are larger than a message
//!  local.rs             the handles of one process
//!  backlog.rs           items for which there is no room
//!  tasks.rs             tasks that are not done
//!  calls.rs             put and get
//!  more.rs              the other calls
//! ```

mod backlog;
mod calls;
mod codec;
mod error;
mod local;
mod more;
mod pickle;
mod plain;
mod spill;
mod tasks;

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::prelude::*;
use ultrafastring::UltraFastRing;

pub(crate) use self::backlog::Feeder as _Feeder;
pub(crate) use self::calls::Kept as _Kept;
use self::codec::Serializer;
use self::local::{Local, Receiving};
use self::spill::Spill;
use self::tasks::Tasks;
use crate::ring::Ring;
use crate::{errors, fork};

/// A ring whose messages are objects.
#[pyclass(frozen, subclass, weakref, generic, module = "ultrafastring._ultrafastring")]
pub(crate) struct ObjectRing {
    ring: Py<Ring>,
    /// Whose side buffer has the words of `tasks.rs`.
    tasks: Option<Py<Ring>>,
    serializer: Serializer,
    /// Where items go that are larger than a message; else they are refused.
    spill: Option<Spill>,
    /// Items that it has room for; 0 if `put` never waits.
    maxsize: usize,
    redeliver: bool,
    /// The group whose member receives.
    group: Option<String>,
    /// Of this process, or of the one from which it was forked.
    local: AtomicPtr<Local>,
}

#[pymethods]
impl ObjectRing {
    #[new]
    #[pyo3(signature = (ring, identity, *, maxsize=0, serializer=None, allow_pickle=false,
        redeliver=false, tasks=None, group=None))]
    #[expect(clippy::too_many_arguments, reason = "they are keyword arguments")]
    fn new(
        ring: Bound<'_, Ring>,
        identity: Option<String>,
        maxsize: usize,
        serializer: Option<&Bound<'_, PyAny>>,
        allow_pickle: bool,
        redeliver: bool,
        tasks: Option<Py<Ring>>,
        group: Option<String>,
    ) -> PyResult<Self> {
        let serializer = Serializer::of(serializer)?;
        if serializer.runs_code() && !allow_pickle && is_open_to_others(&ring)? {
            return Err(error::refused());
        }
        let (ring, spill, local) = (ring.unbind(), identity.map(Spill::of), AtomicPtr::default());
        Ok(Self { ring, tasks, serializer, spill, maxsize, redeliver, group, local })
    }

    /// The ring, and that of the tasks.
    #[getter]
    fn _rings(&self, py: Python<'_>) -> (Py<Ring>, Option<Py<Ring>>) {
        (self.ring.clone_ref(py), self.tasks.as_ref().map(|it| it.clone_ref(py)))
    }
}

/// Bytes that a ring needs for the tasks of another with so many participants.
#[pyfunction]
pub(crate) fn _bytes_for_tasks(participants: usize) -> usize {
    tasks::bytes_for(participants)
}

/// Removes the ring called `name`, if nobody has it open. Whether it did.
#[pyfunction]
pub(crate) fn _remove_stale(name: &str) -> PyResult<bool> {
    UltraFastRing::builder().remove_stale(name).map_err(errors::of_ring)
}

/// Whether other users can write to the ring, or it is theirs.
fn is_open_to_others(ring: &Bound<'_, Ring>) -> PyResult<bool> {
    let ring = ring.get();
    let opened = ring.opened()?;
    let Some(path) = opened.path() else { return Ok(ring.trusts_others()) };
    let about = std::fs::metadata(path)?;
    // SAFETY: it asks for a number.
    let own = unsafe { libc::geteuid() };
    Ok(about.uid() != own || about.mode() & 0o022 != 0)
}

impl ObjectRing {
    /// What it has in this process.
    #[inline(always)]
    fn local(&self, py: Python<'_>) -> PyResult<&Local> {
        // Acquire: pairs with the exchange in `renew`.
        let local = self.local.load(Ordering::Acquire);
        // SAFETY: null, or from a box that goes when this does.
        match unsafe { local.as_ref() } {
            Some(local) if local.generation == fork::generation() => Ok(local),
            _ => self.renew(py, local),
        }
    }

    /// The first call in this process. What the parent had, its locks too, is left as it is.
    #[cold]
    fn renew(&self, py: Python<'_>, old: *mut Local) -> PyResult<&Local> {
        let ring = self.ring.get().opened()?;
        let tasks = match &self.tasks {
            Some(tasks) => Some(Arc::new(Tasks::new(tasks.get().opened()?, &ring)?)),
            None => None,
        };
        let new = Box::into_raw(Box::new(Local::new(ring, tasks)));
        // AcqRel: who finds the pointer finds what it leads to.
        let local = self.local.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire);
        match local {
            // SAFETY: from the box; as in `local`.
            Ok(_) => Ok(unsafe { &*new }),
            Err(_) => {
                // SAFETY: another thread was faster, and nobody has seen this one.
                drop(unsafe { Box::from_raw(new) });
                self.local(py)
            }
        }
    }

    /// As `local`; an error if the queue was closed in this process.
    #[inline(always)]
    fn open<'a>(slf: &'a Bound<'_, Self>) -> PyResult<&'a Local> {
        let local = slf.get().local(slf.py())?;
        if local.is_closed() { Err(error::closed(slf.as_any())) } else { Ok(local) }
    }

    /// A receiving handle.
    fn receiver(&self, local: &Local) -> PyResult<Receiving> {
        let ring: &UltraFastRing = &local.ring;
        let handle = match &self.group {
            None => ring.consumer(),
            Some(group) => {
                let start = ultrafastring::Start::Resume;
                ring.join(group).start(start).durable().exclusive().consumer()
            }
        };
        let mut handle = handle.map_err(errors::of_ring)?;
        handle.end_when_deserted(self.group.is_some());
        Ok(Receiving::new(handle, local.tasks.as_ref()))
    }
}

impl Drop for ObjectRing {
    fn drop(&mut self) {
        let local = *self.local.get_mut();
        // SAFETY: null, or from a box.
        let Some(known) = (unsafe { local.as_ref() }) else { return };
        // A parent's handles and locks are left alone.
        if known.generation == fork::generation() {
            known.leave();
            // SAFETY: from a box, and nobody has it any more.
            drop(unsafe { Box::from_raw(local) });
        }
    }
}
