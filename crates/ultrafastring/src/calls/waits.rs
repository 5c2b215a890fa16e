//! How the calls on `&UltraFastRing` wait: they borrow a thread handle for each look, and have none
//! while they sleep.

use crate::consumer::Consumer;
use crate::error::{RecvError, SendError, SendManyError};
use crate::mode::Shared;
use crate::priority::PriorityClass;
use crate::producer::Producer;
use crate::ring::UltraFastRing;
use crate::segment::Segment;
use crate::settings::Side;
use crate::waiting::bell;
use crate::waiting::sleep::{self, Limit, Sleeper, Until, Waiting, remaining};

impl UltraFastRing {
    /// Tries to send until it succeeds or the time is up.
    pub(super) fn send_by<T>(
        &self,
        class: PriorityClass,
        until: Until,
        mut attempt: impl FnMut(&mut Producer<Shared>) -> Result<T, SendError>,
    ) -> Result<T, SendError> {
        // The first attempt does not read the clock, which costs more than a send.
        let wanted = match self.attempt(class, &mut attempt) {
            Err((_, Some(wanted))) => wanted,
            done => return done.map_err(|(error, _)| error),
        };
        let deadline = until.deadline();
        let mut waiter = Sender { ring: self, class, wanted, waiting: Waiting::default() };
        loop {
            sleep::wait(&mut waiter, deadline)?;
            match self.attempt(class, &mut attempt) {
                Err((_, Some(wanted))) => waiter.wanted = wanted,
                done => return done.map_err(|(error, _)| error),
            }
            // As in `recv_by`.
            if remaining(deadline).is_none() {
                return Err(SendError::TimedOut);
            }
        }
    }

    /// Tries once. With an error for which waiting may help, for how much room to wait: the next
    /// look has another thread handle, perhaps, which was not refused.
    #[inline]
    fn attempt<T>(
        &self,
        class: PriorityClass,
        attempt: &mut impl FnMut(&mut Producer<Shared>) -> Result<T, SendError>,
    ) -> Result<T, (SendError, Option<u64>)> {
        let mut wanted = None;
        let done = self.sending(|producer| {
            let done = attempt(producer);
            if let Err(refused) = &done
                && producer.may_wait(*refused)
            {
                wanted = Some(producer.wanted_as(class));
            }
            done
        });
        // Or all handles were lent.
        done.map_err(|error| (error, wanted.or(error.is_full().then_some(1))))
    }

    pub(super) fn send_many_by<M: AsRef<[u8]>>(
        &self,
        messages: &[M],
        class: PriorityClass,
        until: Until,
    ) -> Result<(), SendManyError> {
        let mut sent = 0;
        let mut checked = false;
        let attempt = |producer: &mut Producer<Shared>| {
            if !checked {
                producer.check_sizes(messages)?;
                checked = true;
            }
            sent += producer.send_some(&messages[sent..], class)?;
            // The next attempt finds out why the next message was not sent.
            if sent == messages.len() { Ok(()) } else { Err(SendError::Full) }
        };
        let outcome = self.send_by(class, until, attempt);
        outcome.map_err(|reason| SendManyError { sent, reason })
    }

    /// Tries to receive until it succeeds or the time is up.
    pub(super) fn recv_by<T>(
        &self,
        until: Until,
        mut attempt: impl FnMut(&mut Consumer<Shared>) -> Result<T, RecvError>,
    ) -> Result<T, RecvError> {
        // The first attempt does not read the clock, which costs more than a receive.
        match self.receiving(|consumer| consumer.limited(Limit::AtOnce, &mut attempt)) {
            Err(RecvError::Empty | RecvError::TimedOut) => {}
            done => return done,
        }
        let deadline = until.deadline();
        let limit = Limit::until(deadline);
        let mut waiter = Receiver { ring: self, waiting: Waiting::default() };
        waiter.waiting.limit = limit;
        let mut waited = false;
        loop {
            for _ in 0..waiter.waiting.strategy.tries_first() {
                match self.receiving(|consumer| consumer.limited(limit, &mut attempt)) {
                    Err(RecvError::Empty) => {}
                    done => return done,
                }
            }
            // A wait that finds a message does not read the clock. But others may take the message
            // away each time.
            if waited && remaining(deadline).is_none() {
                return Err(RecvError::TimedOut);
            }
            sleep::wait(&mut waiter, deadline)?;
            waited = true;
        }
    }
}

/// The result of a look for which no thread handle was free: try again, after another thread has
/// run.
fn again<E>() -> Result<bool, E> {
    std::thread::yield_now();
    Ok(true)
}

/// Waits for a message, and has a thread handle only while it looks.
struct Receiver<'a> {
    ring: &'a UltraFastRing,
    waiting: Waiting,
}

impl Sleeper for Receiver<'_> {
    const SIDE: Side = Side::Consumer;
    type Stop = RecvError;

    fn segment(&self) -> &Segment {
        self.ring.segment()
    }

    fn glance(&mut self) -> Result<bool, RecvError> {
        self.ring.lend_consumer(Sleeper::glance).unwrap_or_else(again)
    }

    fn look(&mut self) -> Result<bool, RecvError> {
        let limit = self.waiting.limit;
        let look = |consumer: &mut Consumer<Shared>| consumer.limited(limit, Sleeper::look);
        self.ring.lend_consumer(look).unwrap_or_else(again)
    }

    fn leave(&mut self, ready: bool) {
        let leave = |consumer: &mut Consumer<Shared>| {
            consumer.leave(ready);
            Ok(())
        };
        if self.ring.lend_consumer(leave).is_none() {
            // Any of the others can take what this one was woken for.
            bell::wake_all(self.segment(), Side::Consumer);
        }
    }

    fn interval(&self) -> u64 {
        let interval = self.ring.lend_consumer(|consumer| Ok(consumer.interval()));
        interval.and_then(Result::ok).unwrap_or(0)
    }

    fn waiting(&mut self) -> &mut Waiting {
        &mut self.waiting
    }

    fn timed_out() -> RecvError {
        RecvError::TimedOut
    }
}

/// Waits for room, and has a thread handle only while it looks.
struct Sender<'a> {
    ring: &'a UltraFastRing,
    class: PriorityClass,
    /// For how much room.
    wanted: u64,
    waiting: Waiting,
}

impl Sleeper for Sender<'_> {
    const SIDE: Side = Side::Producer;
    type Stop = SendError;

    fn segment(&self) -> &Segment {
        self.ring.segment()
    }

    fn glance(&mut self) -> Result<bool, SendError> {
        let wanted = (self.class, self.wanted);
        let glance = |it: &mut Producer<Shared>| it.wanting(wanted, Sleeper::glance);
        self.ring.lend_producer(glance).unwrap_or_else(again)
    }

    fn look(&mut self) -> Result<bool, SendError> {
        let wanted = (self.class, self.wanted);
        let look = |it: &mut Producer<Shared>| it.wanting(wanted, Sleeper::look);
        self.ring.lend_producer(look).unwrap_or_else(again)
    }

    fn leave(&mut self, ready: bool) {
        let leave = |producer: &mut Producer<Shared>| {
            producer.leave(ready);
            Ok(())
        };
        if self.ring.lend_producer(leave).is_none() {
            // As for a receiver.
            bell::wake_all(self.segment(), Side::Producer);
        }
    }

    fn interval(&self) -> u64 {
        let interval = self.ring.lend_producer(|producer| Ok(producer.interval()));
        interval.and_then(Result::ok).unwrap_or(0)
    }

    fn waiting(&mut self) -> &mut Waiting {
        &mut self.waiting
    }

    fn timed_out() -> SendError {
        SendError::TimedOut
    }
}
