//! The calls of a ring of objects besides `put` and `get`.

use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;

use pyo3::prelude::*;
use ultrafastring::{PriorityClass, Readiness};

use super::codec::{NOTICE, Outgoing};
use super::local::{Hand, Local, Receiving, Sending};
use super::{ObjectRing, error, tasks};
use crate::errors;
use crate::wait::{self, Limit, Wait};

/// Looking, and the end.
#[pymethods]
impl ObjectRing {
    /// How many items nobody has got yet: those in the ring, and those that this process has listed
    /// for want of room. Of other processes what they have listed is not counted.
    fn qsize(&self, py: Python<'_>) -> PyResult<usize> {
        let local = self.local(py)?;
        Ok(local.backlog.count() + local.ring.len())
    }

    /// Whether there is no item.
    fn empty(&self, py: Python<'_>) -> PyResult<bool> {
        let local = self.local(py)?;
        if local.is_closed() && local.used.load(Ordering::Relaxed) {
            return Err(error::handle_closed());
        }
        Ok(local.backlog.count() == 0 && local.ring.is_empty())
    }

    /// Whether there is no room. A queue without a size always has some.
    fn full(&self, py: Python<'_>) -> PyResult<bool> {
        if self.maxsize == 0 {
            return Ok(false);
        }
        let ring = &self.local(py)?.ring;
        // With `redeliver` an item has its place until it is done.
        let held = self.redeliver && ring.stats().credits_spent >= self.maxsize as u64;
        Ok(held || ring.len() >= self.maxsize)
    }

    /// This process puts and gets nothing more. What it has put stays, and what is listed is still
    /// sent.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let local = self.local(py)?;
        local.closed.store(true, Ordering::Relaxed);
        local.leave();
        Ok(())
    }

    /// Whether `close` was called in this process.
    #[getter]
    fn _closed(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.local(py)?.is_closed())
    }

    /// Lets go of what this process has in hand: it counts as done.
    fn _let_go_of_all(&self, py: Python<'_>) -> PyResult<()> {
        let local = self.local(py)?;
        while local.let_go(true) {}
        Ok(())
    }
}

/// Items in hand.
#[pymethods]
impl ObjectRing {
    /// Lets go of the item that this thread has in hand. `False` if there was none.
    fn _let_go(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.local(py)?.let_go(false))
    }

    /// Whether the item that this thread got last may have been delivered before, to a worker that
    /// was killed.
    #[getter]
    fn _redelivered(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.redeliver && self.local(py)?.redelivered())
    }

    fn _task_done(&self, py: Python<'_>) -> PyResult<()> {
        let local = self.local(py)?;
        let Some(tasks) = &local.tasks else { return tasks::report(false) };
        if self.redeliver {
            let done = local.let_go(true);
            tasks.wake();
            return tasks::report(done);
        }
        // Without its turn: another thread may wait for an item with the handle.
        tasks::report(local.index().is_some_and(|index| tasks.done(index)))
    }

    /// Waits until all tasks are done, for `timeout` seconds at most. Whether they are.
    #[pyo3(signature = (timeout=None))]
    fn _wait_done(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let local = self.local(py)?;
        let Some(tasks) = &local.tasks else { return Ok(true) };
        let deadline = Limit::of(timeout)?.deadline();
        loop {
            let until = wait::slice(deadline);
            if py.detach(|| tasks.wait_done(&local.ring, self.redeliver, until)) {
                return Ok(true);
            }
            py.check_signals()?;
            if deadline.is_some_and(|it| std::time::Instant::now() >= it) {
                return Ok(false);
            }
        }
    }
}

/// Broadcasts.
#[pymethods]
impl ObjectRing {
    /// Sends a message that is no item: whoever waits sees that there is one.
    fn _notify(slf: &Bound<'_, Self>) -> PyResult<()> {
        let local = Self::open(slf)?;
        let mut entered = local.sending()?.enter(slf.py(), Limit::None)?;
        let notice = Outgoing::whole(vec![NOTICE]);
        let sent = |it: &mut Sending| it.send(&notice);
        wait::for_it(slf.py(), entered.value()?, Limit::None, sent)
    }

    /// Takes the handle of one side.
    fn _take_part(slf: &Bound<'_, Self>, receives: bool) -> PyResult<()> {
        let local = Self::open(slf)?;
        if receives {
            slf.get().receiving(local)?;
        } else {
            local.sending()?;
        }
        Ok(())
    }

    /// Waits until a message is there, which stays there, for `timeout` seconds at most. What may
    /// be said instead is raised, as that the writer has died.
    fn _wait_message(slf: &Bound<'_, Self>, timeout: f64) -> PyResult<()> {
        let (py, local) = (slf.py(), Self::open(slf)?);
        let limit = Limit::of(Some(timeout))?;
        let mut entered = slf.get().receiving(local)?.enter(py, limit)?;
        let receiving = entered.value()?;
        let until = wait::slice(limit.deadline());
        py.detach(|| receiving.wait_until(until)).map_err(errors::of_recv)
    }
}

/// asyncio: `_queues.py` has the rest.
#[pymethods]
impl ObjectRing {
    /// The descriptor that becomes readable when an armed handle should look again.
    fn _fileno(slf: &Bound<'_, Self>, receives: bool) -> PyResult<i32> {
        let own = |readiness: &mut Option<Readiness>, new: std::io::Result<Readiness>| {
            Ok(readiness.insert(new?).as_raw_fd())
        };
        if receives {
            return Self::with_receiving(slf, |it| match &it.readiness {
                Some(readiness) => Ok(readiness.as_raw_fd()),
                None => {
                    let new = it.handle().readiness();
                    own(&mut it.readiness, new)
                }
            });
        }
        Self::with_sending(slf, |it| match &it.readiness {
            Some(readiness) => Ok(readiness.as_raw_fd()),
            None => own(&mut it.readiness, it.handle.readiness()),
        })
    }

    /// Has the descriptor become readable when the call can be made; `True` if it can.
    fn _arm(slf: &Bound<'_, Self>, receives: bool) -> PyResult<bool> {
        if receives {
            return Self::with_receiving(slf, |it| {
                let Some(readiness) = it.readiness.take() else { return Ok(true) };
                let ready = it.handle().arm(&readiness);
                it.readiness = Some(readiness);
                ready.map_err(errors::of_recv)
            });
        }
        Self::with_sending(slf, |it| match &it.readiness {
            None => Ok(true),
            Some(readiness) => {
                it.handle.arm(PriorityClass::Normal, readiness).map_err(errors::of_send)
            }
        })
    }

    /// Calls the last order off.
    fn _disarm(slf: &Bound<'_, Self>, receives: bool) -> PyResult<()> {
        if receives {
            return Self::with_receiving(slf, |it| {
                if let Some(readiness) = it.readiness.take() {
                    it.handle().disarm(&readiness);
                    it.readiness = Some(readiness);
                }
                Ok(())
            });
        }
        Ok(())
    }

    /// Makes the descriptor not readable.
    fn _clear(slf: &Bound<'_, Self>, receives: bool) -> PyResult<()> {
        let clear = |readiness: &Option<Readiness>| {
            if let Some(readiness) = readiness {
                readiness.clear();
            }
            Ok(())
        };
        if receives {
            Self::with_receiving(slf, |it| clear(&it.readiness))
        } else {
            Self::with_sending(slf, |it| clear(&it.readiness))
        }
    }
}

impl ObjectRing {
    /// Does `work` on the sending handle, in turn.
    fn with_sending<R>(
        slf: &Bound<'_, Self>,
        work: impl FnOnce(&mut Sending) -> PyResult<R>,
    ) -> PyResult<R> {
        let local = Self::open(slf)?;
        let mut entered = local.sending()?.enter(slf.py(), Limit::None)?;
        work(entered.value()?)
    }

    /// Does `work` on the handle with which the next item is got.
    fn with_receiving<R>(
        slf: &Bound<'_, Self>,
        work: impl FnOnce(&mut Receiving) -> PyResult<R>,
    ) -> PyResult<R> {
        let local = Self::open(slf)?;
        if slf.get().redeliver {
            let mut hand = Self::hand(slf, local)?;
            let done = work(&mut hand.receiving);
            local.put_hand_back(hand);
            return done;
        }
        let mut entered = slf.get().receiving(local)?.enter(slf.py(), Limit::None)?;
        work(entered.value()?)
    }
}

impl Wait for Hand {
    type Stop = <Receiving as Wait>::Stop;
    const LATE: &'static str = <Receiving as Wait>::LATE;

    fn wait_until(&mut self, until: std::time::Instant) -> Result<(), Self::Stop> {
        self.receiving.wait_until(until)
    }

    fn error(stop: Self::Stop) -> PyErr {
        errors::of_recv(stop)
    }
}

impl Local {
    /// The number of the receiving handle, if there is one.
    fn index(&self) -> Option<usize> {
        match self.index.load(Ordering::Relaxed) {
            usize::MAX => None,
            index => Some(index),
        }
    }
}
