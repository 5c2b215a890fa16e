//! Readers for whom nobody waits.

use std::ffi::{c_char, c_void};
use std::time::Duration;

use ultrafastring::{Received, RecvError, Start, TailReader};

use crate::basic::{UFR_OK, ufr_received, ufr_settings};
use crate::failure;
use crate::handle::{self, guarded, not_null, said_of};
use crate::make::{freed, made};
use crate::more::groups::{UFR_START_LATEST, UFR_START_OLDEST, UFR_START_POSITION};
use crate::settings::{builder, choice, text};

/// Messages were overwritten before a tail reader came to them: it goes on after them, so read again.
/// Where there is a `ufr_received`, its `position` is how many were missed, and all else is 0.
pub const UFR_ERR_OVERRUN: i32 = -39;

/// A reader of a ring's messages that takes no part in it: no producer waits for it, and it only
/// needs the right to read the ring's file. One thread at a time may use it.
pub struct ufr_tail {
    reader: TailReader,
    message: Vec<u8>,
}

/// Opens a tail reader of the ring called `name`, which was made with `joinable`. `start` is
/// `UFR_START_LATEST`, `UFR_START_OLDEST`, or `UFR_START_POSITION`: at `position`. Of `settings`,
/// which may be NULL, the directory and the trust matter.
///
/// On success `*tail` is the caller's, who frees it with `ufr_tail_free`. On failure it is NULL.
/// Returns `UFR_OK`, `UFR_ERR_GROUPS`, or as `ufr_ring_open`. Thread-safe. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_tail_open(
    name: *const c_char,
    settings: *const ufr_settings,
    start: i32,
    position: u64,
    tail: *mut *mut ufr_tail,
) -> i32 {
    let starts = [
        (UFR_START_LATEST, Start::Latest),
        (UFR_START_OLDEST, Start::Oldest),
        (UFR_START_POSITION, Start::Position(position)),
    ];
    // SAFETY: as the header asks of the caller.
    unsafe {
        made(tail, "tail", || {
            let (name, builder) = (text(name, "name")?, builder(settings)?);
            let start = choice(start, &starts, "start")?;
            let reader = builder.observe(name).and_then(|observer| observer.tail(start));
            let reader = reader.map_err(|error| failure::ring(&error))?;
            Ok(ufr_tail { reader, message: Vec::new() })
        })
    }
}

/// Frees a tail reader. NULL is fine.
///
/// The caller may not use it any more. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_tail_free(tail: *mut ufr_tail) {
    // SAFETY: as the header asks of the caller.
    unsafe { freed(tail, |_| ()) }
}

/// The reader behind a pointer.
///
/// # Safety
///
/// `tail` is null, or of a reader that nobody else uses as long as the result is used.
unsafe fn of<'a>(tail: *mut ufr_tail) -> Result<&'a mut ufr_tail, i32> {
    not_null(tail, "tail")?;
    // SAFETY: as the caller promises.
    Ok(unsafe { &mut *tail })
}

/// Reads a message by `work`, and writes where it is to `data`.
///
/// # Safety
///
/// As [`of`]; `data` and `about` are null, or may be written to.
unsafe fn read(
    tail: *mut ufr_tail,
    data: *mut *const c_void,
    about: *mut ufr_received,
    work: impl FnOnce(&mut TailReader, &mut Vec<u8>) -> Result<Received, RecvError>,
) -> isize {
    guarded(|| {
        not_null(data, "data")?;
        // SAFETY: as the caller promises.
        let ufr_tail { reader, message } = unsafe { of(tail)? };
        match work(reader, message) {
            Ok(received) => {
                // SAFETY: the same.
                unsafe { data.write(message.as_ptr().cast()) };
                if !about.is_null() {
                    // SAFETY: the same.
                    unsafe { about.write(said_of(&received)) };
                }
                Ok(message.len() as isize)
            }
            // SAFETY: the same.
            Err(error) => Err(unsafe { handle::not_received(error, about) }),
        }
    })
}

/// Reads the next message, of any size; waits while there is none, by looking again and again.
/// `*data` is where a copy of it is, which belongs to the reader and stays until the next call on
/// it. `received` may be NULL.
///
/// Returns the size of the message, or why none was read: `UFR_ERR_OVERRUN`, `UFR_ERR_CLOSED`,
/// `UFR_ERR_OUT_OF_MEMORY`, `UFR_ERR_DAMAGED`, `UFR_ERR_NULL`. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_tail_next(
    tail: *mut ufr_tail,
    data: *mut *const c_void,
    received: *mut ufr_received,
) -> isize {
    // SAFETY: as the header asks of the caller.
    unsafe { read(tail, data, received, TailReader::next) }
}

/// As `ufr_tail_next`, and never waits: returns `UFR_ERR_EMPTY` if there is no message.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_tail_try_next(
    tail: *mut ufr_tail,
    data: *mut *const c_void,
    received: *mut ufr_received,
) -> isize {
    // SAFETY: as the header asks of the caller.
    unsafe { read(tail, data, received, TailReader::try_next) }
}

/// As `ufr_tail_next`, and waits for `timeout_ns` nanoseconds at most: then returns
/// `UFR_ERR_TIMED_OUT`. A negative time is without end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_tail_next_timeout(
    tail: *mut ufr_tail,
    data: *mut *const c_void,
    received: *mut ufr_received,
    timeout_ns: i64,
) -> isize {
    // SAFETY: as the header asks of the caller.
    unsafe {
        read(tail, data, received, |it, message| match handle::timeout(timeout_ns) {
            Some(timeout) => it.next_timeout(message, timeout),
            None => it.next(message),
        })
    }
}

/// Reads the newest message that is there, and goes on after it: those before are passed over, and
/// do not count as missed.
///
/// Returns as `ufr_tail_try_next`: `UFR_ERR_EMPTY` also if there is none that it has not read. Never
/// waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_tail_latest(
    tail: *mut ufr_tail,
    data: *mut *const c_void,
    received: *mut ufr_received,
) -> isize {
    // SAFETY: as the header asks of the caller.
    unsafe { read(tail, data, received, TailReader::latest) }
}

/// Writes the position that the reader reads next to `position`, and how many it has missed since it
/// was opened to `missed`; each may be NULL.
///
/// Returns `UFR_OK`, or `UFR_ERR_NULL`. One thread at a time. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_tail_progress(
    tail: *mut ufr_tail,
    position: *mut u64,
    missed: *mut u64,
) -> i32 {
    guarded(|| {
        // SAFETY: as the header asks of the caller.
        let reader = unsafe { &of(tail)?.reader };
        for (to, number) in [(position, reader.position()), (missed, reader.missed())] {
            if !to.is_null() {
                // SAFETY: the same.
                unsafe { to.write(number) };
            }
        }
        Ok(UFR_OK)
    })
}

/// The lane of the message that was read last, from 0: that of its class, or of its producer. What
/// `ufr_tail_progress` tells as the position is of that lane.
///
/// Returns the lane, or `UFR_ERR_NULL`. One thread at a time. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_tail_lane(tail: *mut ufr_tail) -> isize {
    // SAFETY: as the header asks of the caller.
    guarded(|| Ok(unsafe { of(tail)? }.reader.lane() as isize))
}

/// For how many nanoseconds the reader sleeps between two looks: what a message may be late, and
/// what waiting costs. At first a million.
///
/// Returns `UFR_OK`, `UFR_ERR_NULL`, or `UFR_ERR_INVALID_ARGUMENT`. One thread at a time. Does not
/// wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_tail_set_poll(tail: *mut ufr_tail, poll_ns: i64) -> i32 {
    guarded(|| {
        // SAFETY: as the header asks of the caller.
        let reader = unsafe { &mut of(tail)?.reader };
        let Ok(poll) = u64::try_from(poll_ns) else {
            return Err(failure::invalid(&format_args!("poll_ns is {poll_ns}, and is negative")));
        };
        reader.set_poll(Duration::from_nanos(poll));
        Ok(UFR_OK)
    })
}
