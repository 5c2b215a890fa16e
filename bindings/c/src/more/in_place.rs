//! Messages that are written and read where they lie.

use std::ffi::c_void;

use crate::basic::{ufr_consumer, ufr_producer, ufr_received};
use crate::failure;
use crate::handle;
use crate::held;

/// A borrowed message.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ufr_message {
    /// Its bytes, `about.size` of them.
    pub data: *const c_void,
    /// What there is to know about it besides.
    pub about: ufr_received,
}

/// Reserves a place for a message of `size` bytes, which the caller writes at `*data` and sends by
/// `ufr_commit`; waits while there is no room.
///
/// `*data` belongs to the library, and may be written to until the place is committed or cancelled.
/// It holds whatever an earlier message left there. Meanwhile other calls on this producer return
/// `UFR_ERR_IN_USE`, and what other producers send is not received before this message is
/// committed or cancelled.
///
/// Returns `UFR_OK`, or as `ufr_send`. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_reserve(
    producer: *mut ufr_producer,
    size: usize,
    priority_class: i32,
    data: *mut *mut c_void,
) -> i32 {
    // SAFETY: as the header asks of the caller.
    unsafe { held::reserve(producer, priority_class, data, |it, class| it.reserve(size, class)) }
}

/// As `ufr_reserve`, and never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_try_reserve(
    producer: *mut ufr_producer,
    size: usize,
    priority_class: i32,
    data: *mut *mut c_void,
) -> i32 {
    // SAFETY: as the header asks of the caller.
    unsafe {
        held::reserve(producer, priority_class, data, |it, class| it.try_reserve(size, class))
    }
}

/// As `ufr_reserve`, and waits for `timeout_ns` nanoseconds at most: then returns
/// `UFR_ERR_TIMED_OUT`. A negative time is without end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_reserve_timeout(
    producer: *mut ufr_producer,
    size: usize,
    priority_class: i32,
    data: *mut *mut c_void,
    timeout_ns: i64,
) -> i32 {
    // SAFETY: as the header asks of the caller.
    unsafe {
        held::reserve(producer, priority_class, data, |it, class| {
            match handle::timeout(timeout_ns) {
                Some(timeout) => it.reserve_timeout(size, class, timeout),
                None => it.reserve(size, class),
            }
        })
    }
}

/// Sends the message that was written in place: its first `size` bytes, which may be less than were
/// reserved.
///
/// Returns `UFR_OK`; `UFR_ERR_INVALID_ARGUMENT` if nothing is reserved, or less: then the place stays
/// reserved. One thread at a time. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_commit(producer: *mut ufr_producer, size: usize) -> i32 {
    // SAFETY: as the header asks of the caller.
    unsafe {
        held::end_reservation(producer, |mut place| {
            if size > place.len() {
                let most = place.len();
                let text = format_args!("a place of {most} bytes was reserved, and not of {size}");
                return Err((place, failure::invalid(&text)));
            }
            place.truncate(size);
            place.commit();
            Ok(())
        })
    }
}

/// Gives a reserved place up: nothing is sent.
///
/// Returns `UFR_OK`; `UFR_ERR_INVALID_ARGUMENT` if nothing is reserved. One thread at a time. Does
/// not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_cancel(producer: *mut ufr_producer) -> i32 {
    // SAFETY: as the header asks of the caller.
    unsafe {
        held::end_reservation(producer, |place| {
            place.cancel();
            Ok(())
        })
    }
}

/// Borrows as many messages as are there, at most `most` and at most `UFR_MAX_BATCH`, and says in
/// `messages` where each is; waits while there is none. They stay in the ring until `ufr_release`:
/// if this process is killed before, another consumer gets them, marked as redelivered.
///
/// The bytes belong to the library, and may be read until their message is released. Those of a
/// message over 40 bytes are in memory that is shared: a peer that breaks the protocol can change
/// them at any time, so copy what you check. Meanwhile other calls on this consumer return
/// `UFR_ERR_IN_USE`.
///
/// Returns how many, or why there is none: as `ufr_recv`. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_borrow(
    consumer: *mut ufr_consumer,
    messages: *mut ufr_message,
    most: usize,
) -> isize {
    // SAFETY: as the header asks of the caller.
    unsafe { held::borrow(consumer, messages, most, |it, most| it.borrow_many(most)) }
}

/// As `ufr_borrow`, and never waits: returns `UFR_ERR_EMPTY` if there is no message.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_try_borrow(
    consumer: *mut ufr_consumer,
    messages: *mut ufr_message,
    most: usize,
) -> isize {
    // SAFETY: as the header asks of the caller.
    unsafe { held::borrow(consumer, messages, most, |it, most| it.try_borrow_many(most)) }
}

/// As `ufr_borrow`, and waits for `timeout_ns` nanoseconds at most: then returns
/// `UFR_ERR_TIMED_OUT`. A negative time is without end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_borrow_timeout(
    consumer: *mut ufr_consumer,
    messages: *mut ufr_message,
    most: usize,
    timeout_ns: i64,
) -> isize {
    // SAFETY: as the header asks of the caller.
    unsafe {
        held::borrow(consumer, messages, most, |it, most| match handle::timeout(timeout_ns) {
            Some(timeout) => it.borrow_many_timeout(most, timeout),
            None => it.borrow_many(most),
        })
    }
}

/// Releases the first `count` of the messages that are borrowed and not released yet, or all if
/// there are no more.
///
/// Returns `UFR_OK`; `UFR_ERR_INVALID_ARGUMENT` if none is borrowed. One thread at a time. Does not
/// wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_release(consumer: *mut ufr_consumer, count: usize) -> i32 {
    // SAFETY: as the header asks of the caller.
    unsafe { held::release(consumer, count) }
}
