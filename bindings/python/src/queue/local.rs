//! What a queue has in one process: handles of its ring, and what belongs to them.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::ThreadId;
use std::time::Instant;

use pyo3::prelude::*;
use ultrafastring::{PriorityClass, Readiness, RecvError, SendError, UltraFastRing};

use super::backlog::Backlog;
use super::codec::{self, Outgoing, Source, Taken};
use super::spill::Named;
use super::tasks::Tasks;
use crate::errors;
use crate::fork;
use crate::take::Core;
use crate::turn::Turn;
use crate::wait::Wait;

/// A message that is held, of the library.
type Held = ultrafastring::Borrowed<'static>;

/// What is in hand.
struct Lent {
    /// Dropped first, in the order of fields: whoever is handed the message needs its file.
    _message: Held,
    file: Option<Named>,
}

pub(super) struct Local {
    /// Of the process that made it.
    pub(super) generation: u64,
    pub(super) ring: Arc<UltraFastRing>,
    pub(super) tasks: Option<Arc<Tasks>>,
    pub(super) sending: OnceLock<Turn<Sending>>,
    pub(super) receiving: OnceLock<Turn<Receiving>>,
    /// The number of the receiving handle; `usize::MAX` before there is one.
    pub(super) index: AtomicUsize,
    hands: Mutex<Vec<Hand>>,
    pub(super) backlog: Arc<Backlog>,
    pub(super) closed: AtomicBool,
    /// Whether something was put.
    pub(super) used: AtomicBool,
}

pub(super) struct Sending {
    pub(super) handle: ultrafastring::Producer,
    pub(super) readiness: Option<Readiness>,
}

pub(super) struct Receiving {
    /// What is in hand; it borrows the handle.
    lent: Option<Lent>,
    handle: NonNull<Core>,
    pub(super) readiness: Option<Readiness>,
    pub(super) index: usize,
}

// SAFETY: it owns the handle, which may be sent, as what is lent may.
unsafe impl Send for Receiving {}

/// A receiving handle, with the item that a thread has in hand.
pub(super) struct Hand {
    pub(super) receiving: Receiving,
    thread: ThreadId,
    pub(super) redelivered: bool,
}

impl Receiving {
    pub(super) fn new(handle: Core, tasks: Option<&Arc<Tasks>>) -> Self {
        let index = handle.participant();
        if let Some(tasks) = tasks {
            tasks.begin(index);
        }
        let handle = NonNull::from(Box::leak(Box::new(handle)));
        Self { lent: None, handle, readiness: None, index }
    }

    /// The handle. What is in hand is let go.
    #[inline(always)]
    pub(super) fn handle(&mut self) -> &mut Core {
        if self.lent.is_some() {
            self.release();
        }
        // SAFETY: from a box that is dropped with this, and nothing borrows it.
        unsafe { self.handle.as_mut() }
    }

    /// Apart from `handle`: it may remove a file.
    #[inline(never)]
    fn release(&mut self) {
        self.lent = None;
    }

    /// Lets go of the item in hand, and says so to producers.
    pub(super) fn let_go(&mut self) {
        if self.lent.is_some() {
            self.handle().flush();
        }
    }

    pub(super) fn has_item(&self) -> bool {
        self.lent.is_some()
    }

    /// The next message, at once. It is gone from the ring.
    #[inline(always)]
    pub(super) fn take<'py>(
        &mut self,
        py: Python<'py>,
        tasks: Option<&Tasks>,
        careful: bool,
    ) -> PyResult<Option<Taken<'py>>> {
        let index = self.index;
        let handle = self.handle();
        if let Some(tasks) = tasks {
            tasks.have(index);
        }
        let taken = if careful { take_held(py, handle) } else { take_copy(py, handle) };
        if let Some(tasks) = tasks
            && !matches!(taken, Ok(Some(_)))
        {
            tasks.have_not(index);
        }
        taken
    }

    /// The next message, at once. It is in hand from now on. Whether it came again.
    fn hold<'py>(&mut self, py: Python<'py>) -> PyResult<Option<(Taken<'py>, bool)>> {
        let message = match self.handle().try_borrow() {
            Ok(message) => message,
            Err(RecvError::Empty) => return Ok(None),
            Err(error) => return Err(errors::of_recv(error)),
        };
        // SAFETY: it is kept beside the handle, which stays where it is, and is dropped before that
        // is used again or dropped.
        let held = unsafe { std::mem::transmute::<ultrafastring::Borrowed<'_>, Held>(message) };
        let taken = codec::take(py, &held)?;
        let again = held.is_redelivered();
        self.lent = Some(Lent { _message: held, file: None });
        Ok(Some((taken, again)))
    }

    /// Has the file of the item in hand removed when that is let go.
    pub(super) fn keep_file(&mut self, file: Named) {
        if let Some(lent) = &mut self.lent {
            lent.file = Some(file);
        }
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        // First: it borrows the handle.
        self.lent = None;
        // SAFETY: from `Box::leak`, once.
        drop(unsafe { Box::from_raw(self.handle.as_ptr()) });
    }
}

impl Source for ultrafastring::Borrowed<'_> {
    fn size(&self) -> usize {
        self.len()
    }

    fn read_at(&self, offset: usize, buffer: &mut [u8]) -> PyResult<()> {
        ultrafastring::Borrowed::read_at(self, offset, buffer);
        Ok(())
    }
}

/// Takes a copy of a short message; holds a long one while it is read.
#[inline(always)]
fn take_copy<'py>(py: Python<'py>, handle: &mut Core) -> PyResult<Option<Taken<'py>>> {
    match handle.try_recv() {
        Ok(message) => codec::take(py, &&message[..]).map(Some),
        Err(RecvError::Empty) => Ok(None),
        Err(RecvError::BufferTooSmall { .. }) => take_held(py, handle),
        Err(error) => Err(errors::of_recv(error)),
    }
}

/// Holds a message while it is read: if this process is killed, others get it.
fn take_held<'py>(py: Python<'py>, handle: &mut Core) -> PyResult<Option<Taken<'py>>> {
    match handle.try_borrow() {
        Ok(message) => codec::take(py, &message).map(Some),
        Err(RecvError::Empty) => Ok(None),
        Err(error) => Err(errors::of_recv(error)),
    }
}

impl Wait for Receiving {
    type Stop = RecvError;
    const LATE: &'static str = "no item came in time";

    fn wait_until(&mut self, until: Instant) -> Result<(), RecvError> {
        self.handle().wait_until(until)
    }

    fn error(stop: RecvError) -> PyErr {
        errors::of_recv(stop)
    }
}

impl Wait for Sending {
    type Stop = SendError;
    const LATE: &'static str = "there was no room in time";

    fn wait_until(&mut self, until: Instant) -> Result<(), SendError> {
        match self.handle.wait(PriorityClass::Normal, Some(until)) {
            Err(SendError::TimedOut) => Ok(()),
            done => done,
        }
    }

    fn error(stop: SendError) -> PyErr {
        errors::of_send(stop)
    }
}

impl Sending {
    /// Sends the message, at once. `None` if there is no room.
    pub(super) fn send(&mut self, message: &Outgoing) -> PyResult<Option<()>> {
        if let Some(bytes) = message.as_whole() {
            return self.send_whole(bytes);
        }
        let place = self.handle.try_reserve(message.size(), PriorityClass::Normal);
        let sent = place.map(|mut place| {
            message.pieces().for_each(|(at, piece)| place.write_at(at, piece));
            place.commit();
        });
        self.sent_or_full(sent)
    }

    /// As `send`, of a message in one piece.
    pub(super) fn send_whole(&mut self, bytes: &[u8]) -> PyResult<Option<()>> {
        let sent = self.handle.send_fast(bytes, PriorityClass::Normal);
        self.sent_or_full(sent)
    }

    fn sent_or_full(&mut self, sent: Result<(), SendError>) -> PyResult<Option<()>> {
        match sent {
            Ok(()) => Ok(Some(())),
            Err(error) if self.handle.may_wait(error) => Ok(None),
            Err(error) => Err(errors::of_send(error)),
        }
    }
}

impl Local {
    pub(super) fn new(ring: Arc<UltraFastRing>, tasks: Option<Arc<Tasks>>) -> Self {
        Self {
            generation: fork::generation(),
            ring,
            tasks,
            sending: OnceLock::new(),
            receiving: OnceLock::new(),
            index: AtomicUsize::new(usize::MAX),
            hands: Mutex::default(),
            backlog: Backlog::new(),
            closed: AtomicBool::new(false),
            used: AtomicBool::new(false),
        }
    }

    #[inline(always)]
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Sends a short message, if that can be done at once.
    #[inline(always)]
    pub(super) fn send_now(&self, bytes: &[u8]) -> bool {
        let Some(mut entered) = self.sending.get().and_then(Turn::now) else { return false };
        let sending = entered.get();
        sending.is_some_and(|it| it.handle.send_fast(bytes, PriorityClass::Normal).is_ok())
    }

    /// The sending handle, which is taken when something is put for the first time.
    pub(super) fn sending(&self) -> PyResult<&Turn<Sending>> {
        if let Some(turn) = self.sending.get() {
            return Ok(turn);
        }
        self.used.store(true, Ordering::Relaxed);
        let handle = self.ring.producer_unless_closed().map_err(errors::of_ring)?;
        let turn = Turn::new(Sending { handle, readiness: None });
        Ok(self.sending.get_or_init(|| turn))
    }

    fn hands(&self) -> MutexGuard<'_, Vec<Hand>> {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A hand for this thread: with `own` the one that it had, which lets go of its item; else one
    /// that has none. `new` takes another handle.
    pub(super) fn take_hand(
        &self,
        own: bool,
        new: impl FnOnce() -> PyResult<Receiving>,
    ) -> PyResult<Hand> {
        let thread = std::thread::current().id();
        let mut hands = self.hands();
        let suits = |it: &Hand| if own { it.thread == thread } else { !it.receiving.has_item() };
        let found = hands.iter().position(suits).map(|at| hands.remove(at));
        drop(hands);
        let mut hand = match found {
            Some(hand) => hand,
            None => Hand { receiving: new()?, thread, redelivered: false },
        };
        hand.receiving.let_go();
        hand.thread = thread;
        Ok(hand)
    }

    /// The order of hands is that in which their items were taken.
    pub(super) fn put_hand(&self, hand: Hand) {
        self.hands().push(hand);
    }

    /// Puts a hand back that has taken nothing: it is the next again.
    pub(super) fn put_hand_back(&self, hand: Hand) {
        self.hands().insert(0, hand);
    }

    /// Lets go of the item that this thread took first; if there is none and `any` is true, of one
    /// that another thread took. `false` if none is in hand.
    pub(super) fn let_go(&self, any: bool) -> bool {
        let thread = std::thread::current().id();
        let mut hands = self.hands();
        let own = hands.iter().position(|it| it.receiving.has_item() && it.thread == thread);
        let others = || hands.iter().position(|it| any && it.receiving.has_item());
        let found = own.or_else(others);
        found.map(|at| hands[at].receiving.let_go()).is_some()
    }

    /// Whether what this thread took last may have been delivered before.
    pub(super) fn redelivered(&self) -> bool {
        let thread = std::thread::current().id();
        self.hands().iter().rev().find(|it| it.thread == thread).is_some_and(|it| it.redelivered)
    }

    /// Gives up all handles that no other thread uses at this moment.
    pub(super) fn leave(&self) {
        if let Some(Ok(Some(mut entered))) = self.sending.get().map(Turn::try_enter) {
            drop(entered.take_value());
        }
        if let Some(Ok(Some(mut entered))) = self.receiving.get().map(Turn::try_enter) {
            drop(entered.take_value());
        }
        let hands = std::mem::take(&mut *self.hands());
        drop(hands);
        self.backlog.close();
    }
}

impl Hand {
    /// The next item, at once; it is in hand from now on.
    pub(super) fn take<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Taken<'py>>> {
        Ok(self.receiving.hold(py)?.map(|(taken, again)| {
            self.redelivered = again;
            taken
        }))
    }
}
