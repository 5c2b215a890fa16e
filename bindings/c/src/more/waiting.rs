//! How handles wait, alone or in an event loop, and when they stop.

use std::os::fd::AsRawFd;
use std::slice;
use std::time::Instant;

use ultrafastring::{Consumer, Wait, WaitStrategy, wait_any};

use crate::basic::{UFR_ERR_SYSTEM, UFR_ERR_TIMED_OUT, UFR_OK, ufr_consumer, ufr_producer};
use crate::failure;
use crate::handle::{self, guarded, not_null};

/// A handle that waits spins.
pub const UFR_WAIT_SPIN: i32 = 0;
/// It spins, and lets other threads run meanwhile.
pub const UFR_WAIT_SPIN_THEN_YIELD: i32 = 1;
/// It spins for some microseconds, and then sleeps. This holds if nothing is chosen.
pub const UFR_WAIT_SPIN_THEN_PARK: i32 = 2;
/// It sleeps at once.
pub const UFR_WAIT_PARK: i32 = 3;

fn strategy(number: i32) -> Result<WaitStrategy, i32> {
    match number {
        UFR_WAIT_SPIN => Ok(WaitStrategy::Spin),
        UFR_WAIT_SPIN_THEN_YIELD => Ok(WaitStrategy::SpinThenYield),
        UFR_WAIT_SPIN_THEN_PARK => Ok(WaitStrategy::SpinThenPark),
        UFR_WAIT_PARK => Ok(WaitStrategy::Park),
        _ => Err(failure::invalid(&format_args!(
            "{number} is no way to wait; use UFR_WAIT_SPIN to UFR_WAIT_PARK"
        ))),
    }
}

fn flag(number: i32) -> Result<bool, i32> {
    match number {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(failure::invalid(&format_args!("{number} is neither 0 nor 1"))),
    }
}

/// How this producer waits from now on: `UFR_WAIT_...`.
///
/// Returns `UFR_OK`, `UFR_ERR_NULL`, `UFR_ERR_INVALID_ARGUMENT`, or `UFR_ERR_IN_USE`. One thread at
/// a time. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_producer_set_wait(producer: *mut ufr_producer, how: i32) -> i32 {
    guarded(|| {
        // SAFETY: as the header asks of the caller.
        unsafe { handle::producer(producer)? }.set_wait_strategy(strategy(how)?);
        Ok(UFR_OK)
    })
}

/// As `ufr_producer_set_wait`, of a consumer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_consumer_set_wait(consumer: *mut ufr_consumer, how: i32) -> i32 {
    guarded(|| {
        // SAFETY: as the header asks of the caller.
        unsafe { handle::consumer(consumer)? }.set_wait_strategy(strategy(how)?);
        Ok(UFR_OK)
    })
}

/// Announces what was sent and stores the statistics now. A message itself can be received as soon
/// as it is sent, and needs no flush.
///
/// Returns `UFR_OK`, `UFR_ERR_NULL`, or `UFR_ERR_IN_USE`. One thread at a time. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_producer_flush(producer: *mut ufr_producer) -> i32 {
    guarded(|| {
        // SAFETY: as the header asks of the caller.
        unsafe { handle::producer(producer)? }.flush();
        Ok(UFR_OK)
    })
}

/// Gives credit back for what was received, and stores the statistics now. It is done by itself
/// once in some messages, and before a wait.
///
/// Returns `UFR_OK`, `UFR_ERR_NULL`, or `UFR_ERR_IN_USE`. One thread at a time. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_consumer_flush(consumer: *mut ufr_consumer) -> i32 {
    guarded(|| {
        // SAFETY: as the header asks of the caller.
        unsafe { handle::consumer(consumer)? }.flush();
        Ok(UFR_OK)
    })
}

/// Ends the stream, as `ufr_close` does, with all that this producer has counted.
///
/// Returns `UFR_OK`, `UFR_ERR_NULL`, or `UFR_ERR_IN_USE`. One thread at a time. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_producer_close(producer: *mut ufr_producer) -> i32 {
    guarded(|| {
        // SAFETY: as the header asks of the caller.
        unsafe { handle::producer(producer)? }.close();
        Ok(UFR_OK)
    })
}

/// Whether calls that wait for room end with `UFR_ERR_DESERTED` (`ends` is 1) when consumers have
/// been, and none is left. 0 at first: a consumer that comes again goes on.
///
/// Returns `UFR_OK`, `UFR_ERR_NULL`, `UFR_ERR_INVALID_ARGUMENT`, or `UFR_ERR_IN_USE`. One thread at
/// a time. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_producer_end_when_deserted(
    producer: *mut ufr_producer,
    ends: i32,
) -> i32 {
    guarded(|| {
        // SAFETY: as the header asks of the caller.
        unsafe { handle::producer(producer)? }.end_when_deserted(flag(ends)?);
        Ok(UFR_OK)
    })
}

/// Whether calls that wait for a message end with `UFR_ERR_DESERTED` (`ends` is 1) when the ring is
/// empty, producers have been, and none is left. 0 at first: a producer that comes again, after a
/// crash as well, goes on with the stream. One that is killed is noticed within 100 milliseconds.
///
/// Returns as `ufr_producer_end_when_deserted`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_consumer_end_when_deserted(
    consumer: *mut ufr_consumer,
    ends: i32,
) -> i32 {
    guarded(|| {
        // SAFETY: as the header asks of the caller.
        unsafe { handle::consumer(consumer)? }.end_when_deserted(flag(ends)?);
        Ok(UFR_OK)
    })
}

/// Whether consumers have been, and none is left. It asks the kernel for each: for now and then.
///
/// Returns 1 or 0, `UFR_ERR_NULL`, or `UFR_ERR_IN_USE`. One thread at a time. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_producer_is_deserted(producer: *mut ufr_producer) -> i32 {
    // SAFETY: as the header asks of the caller.
    guarded(|| Ok(i32::from(unsafe { handle::producer(producer)? }.is_deserted())))
}

/// Whether producers have been, and none is left; messages of theirs may be in the ring still.
///
/// Returns as `ufr_producer_is_deserted`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_consumer_is_deserted(consumer: *mut ufr_consumer) -> i32 {
    // SAFETY: as the header asks of the caller.
    guarded(|| Ok(i32::from(unsafe { handle::consumer(consumer)? }.is_deserted())))
}

/// Has this consumer treat a closed ring as an empty one until a producer opens it again.
///
/// Returns `UFR_OK`, `UFR_ERR_NULL`, or `UFR_ERR_IN_USE`. One thread at a time. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_consumer_await_next_stream(consumer: *mut ufr_consumer) -> i32 {
    guarded(|| {
        // SAFETY: as the header asks of the caller.
        unsafe { handle::consumer(consumer)? }.await_next_stream();
        Ok(UFR_OK)
    })
}

/// A descriptor for `poll`, `epoll` and the like. It becomes readable when there may be a message,
/// after `ufr_consumer_arm`. The loop is: receive with functions that do not wait until there is
/// nothing; arm; if that returns 0, wait for the descriptor; again.
///
/// The descriptor belongs to the consumer, who closes it when it is freed, and is the same in each
/// call. It costs a thread that sleeps most of the time. Returns the descriptor, or
/// `UFR_ERR_SYSTEM`, `UFR_ERR_NULL`, `UFR_ERR_IN_USE`. One thread at a time. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_consumer_fd(consumer: *mut ufr_consumer) -> i32 {
    guarded(|| {
        // SAFETY: as the header asks of the caller; the consumer is another field.
        let (it, kept) = unsafe { (handle::consumer(consumer)?, &mut (*consumer).own.readiness) };
        if kept.is_none() {
            *kept = Some(it.readiness().map_err(|error| failure::fail(UFR_ERR_SYSTEM, &error))?);
        }
        Ok(kept.as_ref().map_or(UFR_ERR_SYSTEM, |kept| kept.as_raw_fd()))
    })
}

/// Makes the descriptor of `ufr_consumer_fd` not readable, and has it become readable when there may
/// be a message, or after 100 milliseconds.
///
/// Returns 0 if the descriptor is to be waited for; 1 if there is a message already: receive it;
/// `UFR_ERR_CLOSED` or `UFR_ERR_DESERTED` as a call that waits would; `UFR_ERR_INVALID_ARGUMENT` if
/// there is no descriptor; `UFR_ERR_NULL`, `UFR_ERR_IN_USE`. One thread at a time. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_consumer_arm(consumer: *mut ufr_consumer) -> i32 {
    guarded(|| {
        // SAFETY: as the header asks of the caller; the consumer is another field.
        let (it, kept) = unsafe { (handle::consumer(consumer)?, &(*consumer).own.readiness) };
        let readiness = kept.as_ref().ok_or_else(no_descriptor)?;
        // First: what becomes ready after this look is told by the next event.
        readiness.clear();
        it.arm(readiness).map(i32::from).map_err(|error| failure::recv(error).0)
    })
}

/// Calls off what `ufr_consumer_arm` has ordered, for a loop that turns to something else than this
/// ring for long: another consumer is woken in its place.
///
/// Returns `UFR_OK`, or as `ufr_consumer_arm`. One thread at a time. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_consumer_disarm(consumer: *mut ufr_consumer) -> i32 {
    guarded(|| {
        // SAFETY: as the header asks of the caller; the consumer is another field.
        let (it, kept) = unsafe { (handle::consumer(consumer)?, &(*consumer).own.readiness) };
        it.disarm(kept.as_ref().ok_or_else(no_descriptor)?);
        Ok(UFR_OK)
    })
}

#[cold]
fn no_descriptor() -> i32 {
    failure::invalid(
        &"this handle has no descriptor; ask for it first (ufr_consumer_fd, ufr_producer_fd)",
    )
}

/// As `ufr_consumer_fd`, of a producer: readable when there may be room, after `ufr_producer_arm`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_producer_fd(producer: *mut ufr_producer) -> i32 {
    guarded(|| {
        // SAFETY: as the header asks of the caller; the producer is another field.
        let (it, kept) = unsafe { (handle::producer(producer)?, &mut (*producer).own.readiness) };
        if kept.is_none() {
            *kept = Some(it.readiness().map_err(|error| failure::fail(UFR_ERR_SYSTEM, &error))?);
        }
        Ok(kept.as_ref().map_or(UFR_ERR_SYSTEM, |kept| kept.as_raw_fd()))
    })
}

/// As `ufr_consumer_arm`, for room for a message of `priority_class`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_producer_arm(producer: *mut ufr_producer, priority_class: i32) -> i32 {
    guarded(|| {
        // SAFETY: as the header asks of the caller; the producer is another field.
        let (it, kept) = unsafe { (handle::producer(producer)?, &(*producer).own.readiness) };
        let readiness = kept.as_ref().ok_or_else(no_descriptor)?;
        readiness.clear();
        let class = handle::class(priority_class)?;
        it.arm(class, readiness).map(i32::from).map_err(failure::send)
    })
}

/// Waits until one of `count` consumers, of any rings, can go on: there is a message, or the call
/// that waits would say that the ring is closed or deserted. Of several that can go on each has its
/// turn. Waits for `timeout_ns` nanoseconds at most; a negative time is without end.
///
/// Returns the place of that consumer in the list, from 0: receive from it by `ufr_try_recv` or the
/// like, which may still find nothing where others were faster. `UFR_ERR_TIMED_OUT` if the time is
/// over; `UFR_ERR_NULL`; `UFR_ERR_INVALID_ARGUMENT` if there is none, or one is there twice;
/// `UFR_ERR_IN_USE`. One thread at a time. A signal does not end the wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_wait_any(
    consumers: *const *mut ufr_consumer,
    count: usize,
    timeout_ns: i64,
) -> isize {
    guarded(|| {
        not_null(consumers, "consumers")?;
        // 4,096 are as many as a ring can have; a list of more is a mistake.
        if !(1..=4096).contains(&count) {
            return Err(failure::invalid(&format_args!("{count} consumers cannot be waited for")));
        }
        // SAFETY: as the header asks of the caller.
        let list = unsafe { slice::from_raw_parts(consumers, count) };
        let mut sorted = list.to_vec();
        sorted.sort_unstable();
        if sorted.windows(2).any(|two| two[0] == two[1] && !two[0].is_null()) {
            return Err(failure::invalid(&"a consumer is in the list twice"));
        }
        // SAFETY: the same; no two are the same.
        let each = list.iter().map(|&one| unsafe { handle::consumer(one) });
        let mut each = each.collect::<Result<Vec<&mut Consumer>, i32>>()?;
        let mut each: Vec<&mut dyn Wait> = each.iter_mut().map(|it| &mut **it as _).collect();
        // What a clock cannot say is without end.
        let timeout = handle::timeout(timeout_ns);
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        match wait_any(&mut each, deadline) {
            Some(place) => Ok(place as isize),
            None => Err(failure::fail(
                UFR_ERR_TIMED_OUT,
                &"no message came in time; wait again, or see what keeps the producers",
            )),
        }
    })
}
