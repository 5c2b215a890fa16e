//! What a queue without a size takes while its ring is full: a list, and a thread that sends it.
//!
//! ```text
//!  put ── room in the ring, nothing listed ──► ring
//!   └──── else ──► list ── thread ──► ring       as long as anything is listed, all goes there
//! ```
//!
//! The thread has bytes only, and needs no interpreter. What is listed is lost if the process is
//! killed; one that ends by itself waits for its thread first (`_queues.py`).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use pyo3::prelude::*;
use ultrafastring::{PriorityClass, SendError};

use super::codec::Listed;
use super::tasks::Tasks;
use crate::{fork, wait};

/// The list, and how far its thread is.
pub(super) struct Backlog {
    state: Mutex<State>,
    changed: Condvar,
    /// Whether what is put has to be listed. Written with `state` locked.
    active: AtomicBool,
    /// Items that are listed and not sent yet.
    count: AtomicUsize,
    /// Where they are counted as tasks, and under which number.
    tasks: OnceLock<(Arc<Tasks>, usize)>,
}

#[derive(Default)]
struct State {
    list: VecDeque<Listed>,
    /// Nothing more is put.
    closed: bool,
    started: bool,
    /// The thread waits for items: it has to be woken, which is a system call.
    idle: bool,
    ended: bool,
}

impl Backlog {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            active: AtomicBool::new(false),
            count: AtomicUsize::new(0),
            tasks: OnceLock::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what is put has to be listed, behind what is there.
    #[inline(always)]
    pub(super) fn is_active(&self) -> bool {
        // Acquire: pairs with the release in `next`. What was listed is in the ring.
        self.active.load(Ordering::Acquire)
    }

    /// How many items are listed.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Lists an item. The thread was started.
    pub(super) fn push(&self, item: Listed) {
        if let Some((tasks, index)) = self.tasks.get() {
            tasks.have(*index);
        }
        let mut state = self.state();
        self.count.fetch_add(1, Ordering::Relaxed);
        state.list.push_back(item);
        self.active.store(true, Ordering::Relaxed);
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        if idle {
            self.changed.notify_all();
        }
    }

    /// Starts the thread, if nobody has. It sends with a handle of its own. Whether it was started.
    pub(super) fn start(
        self: &Arc<Self>,
        sender: impl FnOnce() -> PyResult<ultrafastring::Producer>,
        tasks: Option<&Arc<Tasks>>,
    ) -> PyResult<bool> {
        let mut state = self.state();
        if state.started {
            return Ok(false);
        }
        let mut sender = sender()?;
        if let Some(tasks) = tasks {
            let index = sender.participant();
            tasks.begin(index);
            drop(self.tasks.set((Arc::clone(tasks), index)));
        }
        let backlog = Arc::clone(self);
        let work = move || backlog.work(&mut sender);
        std::thread::Builder::new().name("queue-backlog".to_owned()).spawn(work)?;
        state.started = true;
        Ok(true)
    }

    fn work(&self, sender: &mut ultrafastring::Producer) {
        while let Some(items) = self.next(sender) {
            for item in items {
                // It ends if the ring was closed or damaged: then nobody takes the rest either.
                let sent = sender.send(&item.bytes, PriorityClass::Normal);
                debug_assert!(!matches!(sent, Err(SendError::TooLarge { .. })));
                self.count.fetch_sub(1, Ordering::Relaxed);
                if let Some((tasks, index)) = self.tasks.get() {
                    tasks.done(*index);
                }
                if sent.is_ok() {
                    item.sent();
                }
            }
        }
        self.state().ended = true;
        self.changed.notify_all();
    }

    /// The items that are listed; waits for some. `None` if nothing more comes.
    fn next(&self, sender: &mut ultrafastring::Producer) -> Option<VecDeque<Listed>> {
        let mut state = self.state();
        loop {
            if !state.list.is_empty() {
                return Some(std::mem::take(&mut state.list));
            }
            // Release: pairs with the acquire in `is_active`. All that was listed was sent.
            self.active.store(false, Ordering::Release);
            if state.closed {
                return None;
            }
            sender.flush();
            state.idle = true;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Has the thread end once everything is sent.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// Waits until the thread has ended, or until then.
    fn wait_ended(&self, until: Instant) -> bool {
        let state = self.state();
        let left = until.saturating_duration_since(Instant::now());
        let running = |it: &mut State| it.started && !it.ended;
        let waited = self.changed.wait_timeout_while(state, left, running);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

/// What Python does with a backlog at the end of a process.
#[pyclass(frozen, weakref, name = "_Feeder", module = "ultrafastring._ultrafastring")]
pub(crate) struct Feeder {
    pub(super) backlog: Arc<Backlog>,
    pub(super) generation: u64,
}

#[pymethods]
impl Feeder {
    /// Has the thread end once everything is sent.
    fn close(&self) {
        if self.generation == fork::generation() {
            self.backlog.close();
        }
    }

    /// Waits until everything is sent.
    fn join(&self, py: Python<'_>) -> PyResult<()> {
        if self.generation != fork::generation() {
            return Ok(());
        }
        self.backlog.close();
        while !py.detach(|| self.backlog.wait_ended(wait::slice(None))) {
            py.check_signals()?;
        }
        Ok(())
    }
}
