//! Several messages in one call.

use std::ffi::c_void;
use std::slice;

use ultrafastring::{MAX_BATCH, PriorityClass, Producer, SendError, SendManyError};

use crate::basic::{UFR_OK, ufr_consumer, ufr_producer, ufr_received};
use crate::failure;
use crate::handle::{self, guarded, not_null, said_of};

/// Most messages that one call receives or borrows.
pub const UFR_MAX_BATCH: usize = 64;
const _: () = assert!(UFR_MAX_BATCH == MAX_BATCH);

/// A message to send.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ufr_bytes {
    /// Its bytes; may be NULL if there are none.
    pub data: *const c_void,
    /// How many.
    pub size: usize,
}

/// Room for a message.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ufr_buffer {
    /// Where its bytes go; may be NULL if there is room for none.
    pub data: *mut c_void,
    /// How many fit.
    pub capacity: usize,
}

/// Messages of the caller's, looked at once.
///
/// # Safety
///
/// `count` are at `messages`, unless that is null, and live as long as the result is used.
unsafe fn messages<'a>(messages: *const ufr_bytes, count: usize) -> Result<&'a [Message], i32> {
    if count == 0 {
        return Ok(&[]);
    }
    not_null(messages, "messages")?;
    if count > isize::MAX as usize / size_of::<ufr_bytes>() {
        return Err(failure::invalid(&format_args!("there cannot be {count} messages")));
    }
    // SAFETY: as the caller promises; a `Message` is laid out as what is there.
    let messages = unsafe { slice::from_raw_parts(messages.cast::<Message>(), count) };
    for Message(message) in messages {
        // SAFETY: as the caller promises.
        unsafe { handle::bytes(message.data, message.size)? };
    }
    Ok(messages)
}

/// A message of the caller's whose pointer and size were checked.
#[repr(transparent)]
struct Message(ufr_bytes);

impl AsRef<[u8]> for Message {
    #[inline(always)]
    fn as_ref(&self) -> &[u8] {
        if self.0.size == 0 {
            return &[];
        }
        // SAFETY: checked by `messages`, to whose caller they were promised.
        unsafe { slice::from_raw_parts(self.0.data.cast(), self.0.size) }
    }
}

/// Sends messages by `work`, and says in `sent` how many.
///
/// # Safety
///
/// As [`handle::producer`] and [`messages`]; `sent` is null, or may be written to.
unsafe fn send_many(
    producer: *mut ufr_producer,
    list: *const ufr_bytes,
    count: usize,
    number: i32,
    sent: *mut usize,
    work: impl FnOnce(&mut Producer, &[Message], PriorityClass) -> Result<usize, SendManyError>,
) -> i32 {
    let tell = |count: usize| {
        if !sent.is_null() {
            // SAFETY: as the caller promises.
            unsafe { sent.write(count) };
        }
    };
    tell(0);
    guarded(|| {
        // SAFETY: as the caller promises.
        let (producer, list) = unsafe { (handle::producer(producer)?, messages(list, count)?) };
        match work(producer, list, handle::class(number)?) {
            Ok(count) => {
                tell(count);
                Ok(UFR_OK)
            }
            Err(error) => {
                tell(error.sent);
                Err(failure::send(error.reason))
            }
        }
    })
}

/// Sends `count` messages in order; waits while there is no room. `*sent` says how many were sent;
/// `sent` may be NULL. If one is too large, none is sent.
///
/// Returns `UFR_OK`, or why the next was not sent: as `ufr_send`. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_send_many(
    producer: *mut ufr_producer,
    messages: *const ufr_bytes,
    count: usize,
    priority_class: i32,
    sent: *mut usize,
) -> i32 {
    // SAFETY: as the header asks of the caller.
    unsafe {
        send_many(producer, messages, count, priority_class, sent, |it, list, class| {
            it.send_many(list, class).map(|()| list.len())
        })
    }
}

/// As `ufr_send_many`, and never waits: sends as many as there is room for, which is fine, and
/// returns `UFR_ERR_FULL` or `UFR_ERR_OUT_OF_CREDIT` if that is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_try_send_many(
    producer: *mut ufr_producer,
    messages: *const ufr_bytes,
    count: usize,
    priority_class: i32,
    sent: *mut usize,
) -> i32 {
    // SAFETY: as the header asks of the caller.
    unsafe {
        send_many(producer, messages, count, priority_class, sent, |it, list, class| {
            it.send_batch(list, class).map_err(none_sent)
        })
    }
}

fn none_sent(reason: SendError) -> SendManyError {
    SendManyError { sent: 0, reason }
}

/// As `ufr_send_many`, and waits for `timeout_ns` nanoseconds at most: then returns
/// `UFR_ERR_TIMED_OUT`. A negative time is without end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_send_many_timeout(
    producer: *mut ufr_producer,
    messages: *const ufr_bytes,
    count: usize,
    priority_class: i32,
    timeout_ns: i64,
    sent: *mut usize,
) -> i32 {
    // SAFETY: as the header asks of the caller.
    unsafe {
        send_many(producer, messages, count, priority_class, sent, |it, list, class| {
            match handle::timeout(timeout_ns) {
                Some(timeout) => it.send_many_timeout(list, class, timeout),
                None => it.send_many(list, class),
            }
            .map(|()| list.len())
        })
    }
}

/// Room of the caller's, looked at once.
#[repr(transparent)]
struct Buffer(ufr_buffer);

impl AsMut<[u8]> for Buffer {
    #[inline(always)]
    fn as_mut(&mut self) -> &mut [u8] {
        if self.0.capacity == 0 {
            return &mut [];
        }
        // No memory is longer than a slice can be; a caller without a limit may say so.
        let capacity = self.0.capacity.min(isize::MAX as usize);
        // SAFETY: checked by `recv_many`, to whose caller they were promised.
        unsafe { slice::from_raw_parts_mut(self.0.data.cast(), capacity) }
    }
}

/// Receives messages by `work`, and says how many.
///
/// # Safety
///
/// As [`handle::consumer`]; `count` buffers are at `buffers`, each with as much room as it says, and
/// `received` has room for as many, unless they are null.
unsafe fn recv_many(
    consumer: *mut ufr_consumer,
    buffers: *mut ufr_buffer,
    count: usize,
    received: *mut ufr_received,
    work: impl FnOnce(
        &mut ultrafastring::Consumer,
        &mut [Buffer],
    ) -> Result<ultrafastring::Batch, ultrafastring::RecvError>,
) -> isize {
    guarded(|| {
        not_null(buffers, "buffers")?;
        not_null(received, "received")?;
        if count == 0 {
            return Err(failure::invalid(&"there is no buffer: count is 0"));
        }
        // SAFETY: as the caller promises; a `Buffer` is laid out as what is there.
        let buffers =
            unsafe { slice::from_raw_parts_mut(buffers.cast::<Buffer>(), count.min(MAX_BATCH)) };
        for Buffer(buffer) in &*buffers {
            // SAFETY: as the caller promises.
            unsafe { handle::buffer(buffer.data, buffer.capacity)? };
        }
        // SAFETY: the same.
        let consumer = unsafe { handle::consumer(consumer)? };
        match work(consumer, buffers) {
            Ok(batch) => {
                for (at, about) in batch.iter().enumerate() {
                    // SAFETY: there is room for as many as there are buffers.
                    unsafe { received.add(at).write(said_of(about)) };
                }
                Ok(batch.len() as isize)
            }
            // SAFETY: there is room for one.
            Err(error) => Err(unsafe { handle::not_received(error, received) }),
        }
    })
}

/// Receives as many messages as are there, one into each of the `count` buffers, and at most
/// `UFR_MAX_BATCH`; waits while there is none. `received` must have room for `count`: what there is
/// to know about each, its size first.
///
/// Returns how many, or why none was received: as `ufr_recv`. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_recv_many(
    consumer: *mut ufr_consumer,
    buffers: *mut ufr_buffer,
    count: usize,
    received: *mut ufr_received,
) -> isize {
    // SAFETY: as the header asks of the caller.
    unsafe { recv_many(consumer, buffers, count, received, |it, buffers| it.recv_many(buffers)) }
}

/// As `ufr_recv_many`, and never waits: returns `UFR_ERR_EMPTY` if there is no message.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_try_recv_many(
    consumer: *mut ufr_consumer,
    buffers: *mut ufr_buffer,
    count: usize,
    received: *mut ufr_received,
) -> isize {
    // SAFETY: as the header asks of the caller.
    unsafe { recv_many(consumer, buffers, count, received, |it, buffers| it.recv_batch(buffers)) }
}

/// As `ufr_recv_many`, and waits for `timeout_ns` nanoseconds at most: then returns
/// `UFR_ERR_TIMED_OUT`. A negative time is without end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_recv_many_timeout(
    consumer: *mut ufr_consumer,
    buffers: *mut ufr_buffer,
    count: usize,
    received: *mut ufr_received,
    timeout_ns: i64,
) -> isize {
    // SAFETY: as the header asks of the caller.
    unsafe {
        recv_many(consumer, buffers, count, received, |it, buffers| {
            match handle::timeout(timeout_ns) {
                Some(timeout) => it.recv_many_timeout(buffers, timeout),
                None => it.recv_many(buffers),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_buffer_is_longer_than_a_slice_can_be() {
        let mut byte = 0u8;
        let data = (&raw mut byte).cast();
        let mut buffer = Buffer(ufr_buffer { data, capacity: usize::MAX });
        assert_eq!(buffer.as_mut().len(), isize::MAX as usize);
    }
}
