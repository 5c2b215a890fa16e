//! What is behind the pointers of C, and how a call gets in and out: arguments are checked on the
//! way in, and a panic stays inside.

use std::ffi::{c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;
use std::time::Duration;

use ultrafastring::{
    AtOnce, BorrowedBatch, Consumer, INLINE_SIZE, PriorityClass, Producer, Readiness, Received,
    RecvError, RecvStretch, Reservation, SendError, SendStretch,
};

use crate::basic as code;
use crate::basic::{ufr_consumer, ufr_producer, ufr_received, ufr_ring};
use crate::failure;
use crate::held::Copies;

/// What a producer of C's is. `ultrafastring_inline.h` finds the stretch at its beginning.
#[repr(C)]
pub(crate) struct Sending {
    /// What the producer has lent to inline code: see [`producer`].
    pub(crate) stretch: SendStretch,
    pub(crate) producer: Producer,
    /// It has the producer while it is there: see [`producer`].
    pub(crate) reserved: Option<Reservation<'static>>,
    pub(crate) readiness: Option<Readiness>,
}

/// The same of a consumer.
#[repr(C)]
pub(crate) struct Receiving {
    pub(crate) stretch: RecvStretch,
    pub(crate) consumer: Consumer,
    /// It has the consumer while it is there: see [`consumer`].
    pub(crate) borrowed: Option<BorrowedBatch<'static>>,
    pub(crate) copies: Copies,
    pub(crate) readiness: Option<Readiness>,
}

// They are all that is behind a pointer of C's.
const _: () = {
    assert!(std::mem::offset_of!(ufr_producer, own) == 0);
    assert!(std::mem::offset_of!(ufr_consumer, own) == 0);
};

impl Sending {
    pub(crate) fn new(producer: Producer) -> Self {
        Self { stretch: SendStretch::NOTHING, producer, reserved: None, readiness: None }
    }

    /// Gives up what it has, before it is dropped.
    pub(crate) fn end(&mut self) {
        self.reserved = None;
        self.producer.settle_stretch(&mut self.stretch);
    }
}

impl Receiving {
    pub(crate) fn new(consumer: Consumer) -> Self {
        let (stretch, copies) = (RecvStretch::NOTHING, Copies::default());
        Self { stretch, consumer, borrowed: None, copies, readiness: None }
    }

    /// Gives up what it has, before it is dropped.
    pub(crate) fn end(&mut self) {
        self.borrowed = None;
        self.consumer.settle_stretch(&mut self.stretch);
    }
}

/// What a function returns to C: a code, or what is not negative if all went well.
pub(crate) trait Returned {
    fn code(code: i32) -> Self;
}

impl Returned for i32 {
    fn code(code: i32) -> Self {
        code
    }
}

impl Returned for isize {
    fn code(code: i32) -> Self {
        code as isize
    }
}

/// Does `work`, and keeps a panic from C.
#[inline(always)]
pub(crate) fn guarded<T: Returned>(work: impl FnOnce() -> Result<T, i32>) -> T {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => done,
        Ok(Err(code)) => T::code(code),
        Err(_) => T::code(panicked()),
    }
}

#[cold]
#[inline(never)]
fn panicked() -> i32 {
    failure::fail(
        code::UFR_ERR_PANIC,
        &"a defect of the library: it wrote to standard error what happened; use the handle no \
          more but to free it, and report this",
    )
}

/// Fails if a pointer is null.
#[inline(always)]
pub(crate) fn not_null<T>(pointer: *const T, what: &str) -> Result<(), i32> {
    if pointer.is_null() { Err(failure::null(what)) } else { Ok(()) }
}

/// The ring behind a pointer.
///
/// # Safety
///
/// `ring` is null, or of a ring that is not freed as long as the result is used.
#[inline(always)]
pub(crate) unsafe fn ring<'a>(ring: *const ufr_ring) -> Result<&'a ufr_ring, i32> {
    not_null(ring, "ring")?;
    // SAFETY: as the caller promises.
    Ok(unsafe { &*ring })
}

/// The producer behind a pointer, for any call. It takes back what was lent to inline code.
///
/// # Safety
///
/// `handle` is null, or of a producer that nobody else uses as long as the result is used.
#[inline(always)]
pub(crate) unsafe fn producer<'a>(handle: *mut ufr_producer) -> Result<&'a mut Producer, i32> {
    not_null(handle, "producer")?;
    // SAFETY: as the caller promises. The fields are borrowed apart: while a place is reserved, its
    // guard has the producer.
    unsafe {
        if (*handle).own.reserved.is_some() {
            return Err(reserved());
        }
        let producer = &mut (*handle).own.producer;
        producer.settle_stretch(&mut (*handle).own.stretch);
        Ok(producer)
    }
}

#[cold]
#[inline(never)]
fn reserved() -> i32 {
    failure::fail(
        code::UFR_ERR_IN_USE,
        &"a place is reserved by this producer; ufr_commit or ufr_cancel it first",
    )
}

/// The consumer behind a pointer, for any call. It takes back what was lent to inline code.
///
/// # Safety
///
/// As [`producer`], of a consumer.
#[inline(always)]
pub(crate) unsafe fn consumer<'a>(handle: *mut ufr_consumer) -> Result<&'a mut Consumer, i32> {
    not_null(handle, "consumer")?;
    // SAFETY: as in `producer`: while messages are borrowed, their guard has the consumer.
    unsafe {
        if (*handle).own.borrowed.is_some() {
            return Err(borrowed());
        }
        let consumer = &mut (*handle).own.consumer;
        consumer.settle_stretch(&mut (*handle).own.stretch);
        Ok(consumer)
    }
}

#[cold]
#[inline(never)]
fn borrowed() -> i32 {
    failure::fail(
        code::UFR_ERR_IN_USE,
        &"messages are borrowed by this consumer; ufr_release them first",
    )
}

/// The class that a number stands for.
#[inline(always)]
pub(crate) fn class(number: i32) -> Result<PriorityClass, i32> {
    class_of(number).map_err(|()| no_class(number))
}

#[inline(always)]
fn class_of(number: i32) -> Result<PriorityClass, ()> {
    match number {
        code::UFR_CLASS_REAL_TIME => Ok(PriorityClass::RealTime),
        code::UFR_CLASS_HIGH => Ok(PriorityClass::High),
        code::UFR_CLASS_NORMAL => Ok(PriorityClass::Normal),
        code::UFR_CLASS_LOW => Ok(PriorityClass::Low),
        code::UFR_CLASS_BULK => Ok(PriorityClass::Bulk),
        _ => Err(()),
    }
}

#[cold]
#[inline(never)]
fn no_class(number: i32) -> i32 {
    failure::invalid(&format_args!(
        "{number} is no priority class; use UFR_CLASS_REAL_TIME to UFR_CLASS_BULK"
    ))
}

/// For how long a call waits; `None` without end.
#[inline(always)]
pub(crate) fn timeout(nanoseconds: i64) -> Option<Duration> {
    u64::try_from(nanoseconds).ok().map(Duration::from_nanos)
}

/// The bytes of a message of the caller's.
///
/// # Safety
///
/// `size` bytes are readable at `data`, unless that is null, until the result is used no more.
#[inline(always)]
pub(crate) unsafe fn bytes<'a>(data: *const c_void, size: usize) -> Result<&'a [u8], i32> {
    if size > isize::MAX as usize || data.is_null() {
        return no_bytes(data, size);
    }
    // SAFETY: as the caller promises; there are no more than a slice can have.
    Ok(unsafe { slice::from_raw_parts(data.cast(), size) })
}

#[cold]
#[inline(never)]
fn no_bytes<'a>(data: *const c_void, size: usize) -> Result<&'a [u8], i32> {
    match size {
        0 => Ok(&[]),
        _ if data.is_null() => Err(failure::null("data")),
        _ => Err(too_large(size)),
    }
}

#[cold]
#[inline(never)]
fn too_large(size: usize) -> i32 {
    failure::fail(code::UFR_ERR_TOO_LARGE, &format_args!("no memory has {size} bytes"))
}

/// A buffer of the caller's.
///
/// # Safety
///
/// `capacity` bytes may be written at `data`, unless that is null, until the result is used no
/// more.
#[inline(always)]
pub(crate) unsafe fn buffer<'a>(data: *mut c_void, capacity: usize) -> Result<&'a mut [u8], i32> {
    if data.is_null() {
        return if capacity == 0 { Ok(&mut []) } else { Err(failure::null("buffer")) };
    }
    // No memory is longer than a slice can be.
    let capacity = capacity.min(isize::MAX as usize);
    // SAFETY: as the caller promises. That the bytes may be uninitialised to the caller's language
    // is as well: they are only written.
    Ok(unsafe { slice::from_raw_parts_mut(data.cast(), capacity) })
}

/// Sends one message by `work`.
///
/// # Safety
///
/// As [`producer`] and [`bytes`].
#[inline(always)]
pub(crate) unsafe fn send(
    handle: *mut ufr_producer,
    data: *const c_void,
    size: usize,
    number: i32,
    work: impl FnOnce(&mut Producer, &[u8], PriorityClass) -> Result<(), SendError>,
) -> i32 {
    guarded(|| {
        // SAFETY: as the caller promises.
        let (producer, data) = unsafe { (producer(handle)?, bytes(data, size)?) };
        match work(producer, data, class(number)?) {
            Ok(()) => Ok(code::UFR_OK),
            Err(error) => Err(failure::send(error)),
        }
    })
}

/// Sends one message if that takes no call; else has `send` do it, which takes the same arguments,
/// so that this is a jump, and no register is saved on the way of the most common message.
///
/// # Safety
///
/// As [`send`].
#[inline(always)]
pub(crate) unsafe fn send_at_once(
    handle: *mut ufr_producer,
    data: *const c_void,
    size: usize,
    number: i32,
    send: unsafe extern "C" fn(*mut ufr_producer, *const c_void, usize, i32) -> i32,
) -> i32 {
    if !handle.is_null() && !data.is_null() && size <= INLINE_SIZE {
        // SAFETY: as the caller promises; a guard that has the producer is looked for first, and
        // whether inline code has sent something that the producer does not know.
        let (producer, data) = unsafe {
            if (*handle).own.reserved.is_some() || (*handle).own.stretch.is_lent() {
                return send(handle, data, size, number);
            }
            (&mut (*handle).own.producer, slice::from_raw_parts(data.cast(), size))
        };
        if let Ok(class) = class_of(number) {
            match producer.send_at_once(data, class) {
                AtOnce::Sent => return code::UFR_OK,
                // SAFETY: as the caller promises.
                AtOnce::Due(timestamp) => return unsafe { announce(handle, timestamp) },
                AtOnce::Not => {}
            }
        }
    }
    // SAFETY: as the caller promises.
    unsafe { send(handle, data, size, number) }
}

/// What is due after a message was sent.
///
/// # Safety
///
/// As [`send_at_once`]; `handle` is not null.
#[cold]
#[inline(never)]
unsafe extern "C" fn announce(handle: *mut ufr_producer, timestamp: u64) -> i32 {
    guarded(|| {
        // SAFETY: as the caller promises.
        unsafe { (*handle).own.producer.announce_now(timestamp) };
        Ok(code::UFR_OK)
    })
}

/// Receives one message by `work`.
///
/// # Safety
///
/// As [`consumer`] and [`buffer`]; `about` is null, or may be written to.
#[inline(always)]
pub(crate) unsafe fn recv(
    handle: *mut ufr_consumer,
    data: *mut c_void,
    capacity: usize,
    about: *mut ufr_received,
    work: impl FnOnce(&mut Consumer, &mut [u8]) -> Result<Received, RecvError>,
) -> isize {
    guarded(|| {
        // SAFETY: as the caller promises.
        let (consumer, data) = unsafe { (consumer(handle)?, buffer(data, capacity)?) };
        match work(consumer, data) {
            Ok(received) => {
                if !about.is_null() {
                    // SAFETY: as the caller promises.
                    unsafe { about.write(said_of(&received)) };
                }
                Ok(received.size as isize)
            }
            // SAFETY: as the caller promises.
            Err(error) => Err(unsafe { not_received(error, about) }),
        }
    })
}

/// The code of a receive that failed; the size that is needed, or how many were missed, goes to
/// `about`.
///
/// # Safety
///
/// `about` is null, or may be written to.
#[cold]
#[inline(never)]
pub(crate) unsafe fn not_received(error: RecvError, about: *mut ufr_received) -> i32 {
    let (code, known) = failure::recv(error);
    if let Some(known) = known
        && !about.is_null()
    {
        // SAFETY: as the caller promises.
        unsafe { about.write(known) };
    }
    code
}

/// A name, and a zero after it; what has no room is cut off.
pub(crate) fn name_in_c<const N: usize>(name: &str) -> [c_char; N] {
    let mut text = [0; N];
    for (to, from) in text[..N - 1].iter_mut().zip(name.bytes()) {
        *to = from as c_char;
    }
    text
}

/// What there is to know about a message, for C.
#[inline(always)]
pub(crate) fn said_of(received: &Received) -> ufr_received {
    ufr_received {
        size: received.size,
        position: received.position(),
        timestamp: received.timestamp().unwrap_or(0),
        latency: received.latency,
        priority_class: received.class as i32,
        redelivered: received.redelivered.into(),
        late: received.is_late().into(),
    }
}

// What the headers say of threads: a handle goes from one to another, with what it has in place; any
// number use a ring.
const _: () = {
    const fn goes<T: Send>() {}
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<ufr_ring>();
    is_shared::<crate::more::observers::ufr_observer>();
    goes::<ufr_producer>();
    goes::<ufr_consumer>();
    goes::<crate::more::tails::ufr_tail>();
};

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::*;

    #[test]
    fn a_panic_becomes_a_code_and_a_text_that_says_what_to_do() {
        let code: isize = guarded(|| panic!("on purpose"));
        assert_eq!(code, code::UFR_ERR_PANIC as isize);
        // SAFETY: the text ends with a zero, and nothing fails meanwhile.
        let text = unsafe { CStr::from_ptr(failure::last()) };
        assert!(text.to_str().is_ok_and(|text| text.contains("free it")));
    }
}
