//! What the code in `ultrafastring_inline.h` calls. That header is written by hand.
//!
//! Each function does what another one does, and then lends the next positions to that code, in the
//! stretch at the beginning of the handle. All others take back what is lent: see
//! `handle::producer` and `handle::consumer`.

use std::ffi::c_void;

use crate::basic::{self, UFR_ERR_PANIC, UFR_OK, ufr_consumer, ufr_producer, ufr_received};
use crate::handle::{self, guarded};

/// Lends positions after a call that returned `code`.
///
/// # Safety
///
/// As [`handle::producer`].
#[inline(always)]
unsafe fn lend_to_send(handle: *mut ufr_producer, code: i32) {
    // SAFETY: as the caller promises. A guard that has the producer is looked for first; a handle
    // with a defect is used no more.
    unsafe {
        if !handle.is_null() && (*handle).own.reserved.is_none() && code != UFR_ERR_PANIC {
            (*handle).own.stretch = (*handle).own.producer.lend_stretch();
        }
    }
}

/// As [`lend_to_send`].
///
/// # Safety
///
/// As [`handle::consumer`].
#[inline(always)]
unsafe fn lend_to_recv(handle: *mut ufr_consumer, code: isize) {
    // SAFETY: as in `lend_to_send`.
    unsafe {
        if !handle.is_null() && (*handle).own.borrowed.is_none() && code != UFR_ERR_PANIC as isize {
            (*handle).own.stretch = (*handle).own.consumer.lend_stretch();
        }
    }
}

/// As [`basic::ufr_send`], and lends.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_send_and_lend(
    producer: *mut ufr_producer,
    data: *const c_void,
    size: usize,
    priority_class: i32,
) -> i32 {
    // SAFETY: as the header asks of the caller.
    unsafe {
        let code = basic::send(producer, data, size, priority_class);
        lend_to_send(producer, code);
        code
    }
}

/// As [`basic::ufr_try_send`], and lends.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_try_send_and_lend(
    producer: *mut ufr_producer,
    data: *const c_void,
    size: usize,
    priority_class: i32,
) -> i32 {
    // SAFETY: as the header asks of the caller.
    unsafe {
        let code = basic::try_send(producer, data, size, priority_class);
        lend_to_send(producer, code);
        code
    }
}

/// Does what is due after a message with this timestamp, and lends.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_announce_and_lend(producer: *mut ufr_producer, timestamp: u64) -> i32 {
    // SAFETY: as the header asks of the caller.
    unsafe {
        let code = guarded(|| {
            handle::producer(producer)?.announce_now(timestamp);
            Ok(UFR_OK)
        });
        lend_to_send(producer, code);
        code
    }
}

/// As [`basic::ufr_recv`], and lends.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_recv_and_lend(
    consumer: *mut ufr_consumer,
    buffer: *mut c_void,
    capacity: usize,
    received: *mut ufr_received,
) -> isize {
    // SAFETY: as the header asks of the caller.
    unsafe {
        let size = basic::ufr_recv(consumer, buffer, capacity, received);
        lend_to_recv(consumer, size);
        size
    }
}

/// As [`basic::ufr_try_recv`], and lends.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_try_recv_and_lend(
    consumer: *mut ufr_consumer,
    buffer: *mut c_void,
    capacity: usize,
    received: *mut ufr_received,
) -> isize {
    // SAFETY: as the header asks of the caller.
    unsafe {
        let size = basic::ufr_try_recv(consumer, buffer, capacity, received);
        lend_to_recv(consumer, size);
        size
    }
}

/// Does what is due after a message that was received `now`, and lends.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_grant_and_lend(consumer: *mut ufr_consumer, now: u64) -> i32 {
    // SAFETY: as the header asks of the caller.
    unsafe {
        let code = guarded(|| {
            handle::consumer(consumer)?.grant_now(now);
            Ok(UFR_OK)
        });
        lend_to_recv(consumer, code as isize);
        code
    }
}
