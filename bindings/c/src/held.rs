//! Messages and places that stay with a handle between calls.
//!
//! A guard of Rust borrows its handle, so it lies beside it, in one box that does not move. As long
//! as it is there nobody else gets the handle: `handle::producer` and `handle::consumer` look. It
//! goes before the handle does.

use std::ffi::c_void;

use ultrafastring::{
    BorrowedBatch, Consumer, INLINE_SIZE, MAX_BATCH, PriorityClass, Producer, RecvError,
    Reservation, SendError,
};

use crate::basic as code;
use crate::basic::{ufr_consumer, ufr_producer, ufr_received};
use crate::failure;
use crate::handle::{self, guarded, not_null, said_of};
use crate::more::in_place::ufr_message;

/// Bytes of borrowed messages that came in a slot; made when the first is borrowed.
pub(crate) type Copies = Option<Box<[[u8; INLINE_SIZE]; MAX_BATCH]>>;

/// Reserves a place by `work`, and writes where its bytes are to `data`.
///
/// # Safety
///
/// As [`handle::producer`]; `data` is null, or may be written to.
pub(crate) unsafe fn reserve(
    handle: *mut ufr_producer,
    number: i32,
    data: *mut *mut c_void,
    work: impl FnOnce(&'static mut Producer, PriorityClass) -> Result<Reservation<'static>, SendError>,
) -> i32 {
    guarded(|| {
        not_null(data, "data")?;
        // SAFETY: as the caller promises. It lives longer than the guard, which goes before it.
        let producer = unsafe { handle::producer(handle)? };
        let mut place = work(producer, handle::class(number)?).map_err(failure::send)?;
        // SAFETY: no slice is kept, only where it begins: what C does with its bytes is said in the
        // header.
        let bytes = unsafe { place.as_mut_slice() }.as_mut_ptr();
        // SAFETY: as the caller promises; the producer is another field.
        unsafe {
            data.write(bytes.cast());
            (*handle).own.reserved = Some(place);
        }
        Ok(code::UFR_OK)
    })
}

/// Ends a reservation by `work`.
///
/// # Safety
///
/// `handle` is null, or of a producer that nobody else uses.
pub(crate) unsafe fn end_reservation(
    handle: *mut ufr_producer,
    work: impl FnOnce(Reservation<'static>) -> Result<(), (Reservation<'static>, i32)>,
) -> i32 {
    guarded(|| {
        not_null(handle, "producer")?;
        // SAFETY: as the caller promises; the producer is another field.
        let reserved = unsafe { &mut (*handle).own.reserved };
        let Some(place) = reserved.take() else {
            return Err(failure::invalid(&"no place is reserved by this producer"));
        };
        match work(place) {
            Ok(()) => Ok(code::UFR_OK),
            Err((place, code)) => {
                *reserved = Some(place);
                Err(code)
            }
        }
    })
}

/// Borrows messages by `work`, at most `most`, and writes what they are to `messages`. Says how
/// many.
///
/// # Safety
///
/// As [`handle::consumer`]; `messages` is null, or `most` may be written there.
pub(crate) unsafe fn borrow(
    handle: *mut ufr_consumer,
    messages: *mut ufr_message,
    most: usize,
    work: impl FnOnce(&'static mut Consumer, usize) -> Result<BorrowedBatch<'static>, RecvError>,
) -> isize {
    guarded(|| {
        not_null(messages, "messages")?;
        if most == 0 {
            return Err(failure::invalid(&"no message is asked for: most is 0"));
        }
        // SAFETY: as the caller promises. It lives longer than the guard, which goes before it.
        let consumer = unsafe { handle::consumer(handle)? };
        let batch = work(consumer, most.min(MAX_BATCH)).map_err(|error| failure::recv(error).0)?;
        // SAFETY: as the caller promises; the consumer is another field.
        let copies = unsafe { &mut (*handle).own.copies };
        let copies = copies.get_or_insert_with(|| Box::new([[0; INLINE_SIZE]; MAX_BATCH]));
        for (at, (message, copy)) in batch.iter().zip(copies.iter_mut()).enumerate() {
            let about = message.about();
            let data = match message.as_inline() {
                Some(bytes) => {
                    copy[..bytes.len()].copy_from_slice(bytes);
                    copy.as_ptr()
                }
                // SAFETY: no slice is kept, only where it begins, which is in the ring's memory or
                // the consumer's until the guard goes: what C does with it is said in the header.
                None => unsafe { message.as_slice() }.as_ptr(),
            };
            let about: ufr_received = said_of(&about);
            // SAFETY: the batch has at most `most`.
            unsafe { messages.add(at).write(ufr_message { data: data.cast(), about }) };
        }
        let count = batch.len();
        // SAFETY: as the caller promises.
        unsafe { (*handle).own.borrowed = Some(batch) };
        Ok(count as isize)
    })
}

/// Releases the first `count` messages that are borrowed, or all if there are no more.
///
/// # Safety
///
/// `handle` is null, or of a consumer that nobody else uses.
pub(crate) unsafe fn release(handle: *mut ufr_consumer, count: usize) -> i32 {
    guarded(|| {
        not_null(handle, "consumer")?;
        // SAFETY: as the caller promises; the consumer is another field.
        let borrowed = unsafe { &mut (*handle).own.borrowed };
        match borrowed {
            None => return Err(failure::invalid(&"no message is borrowed by this consumer")),
            Some(batch) if count < batch.len() => batch.release_first(count),
            Some(_) => *borrowed = None,
        }
        Ok(code::UFR_OK)
    })
}
