//! What `ultrafastring.h` declares. The comments are the header's.

use std::ffi::{c_char, c_void};

use ultrafastring::UltraFastRing;

use crate::failure;
use crate::handle::{self, Receiving, Sending, guarded, not_null};
use crate::make;
use crate::settings::{NOTHING_CHOSEN, text};

/// Version of this header. The library's is `ufr_version()`.
pub const UFR_VERSION_MAJOR: i32 = 0;
/// See `UFR_VERSION_MAJOR`.
pub const UFR_VERSION_MINOR: i32 = 2;
/// See `UFR_VERSION_MAJOR`.
pub const UFR_VERSION_PATCH: i32 = 0;

/// Done.
pub const UFR_OK: i32 = 0;
/// There is no message. Try again, or call a function that waits.
pub const UFR_ERR_EMPTY: i32 = -1;
/// Every slot is taken. Try again when consumers have caught up, or call a function that waits.
pub const UFR_ERR_FULL: i32 = -2;
/// No credit is left for this priority class. Else as `UFR_ERR_FULL`.
pub const UFR_ERR_OUT_OF_CREDIT: i32 = -3;
/// The time is over, and nothing was sent or received.
pub const UFR_ERR_TIMED_OUT: i32 = -4;
/// The ring is closed: nothing more is sent, and all is received.
pub const UFR_ERR_CLOSED: i32 = -5;
/// The last peer has left, and this handle does not wait for another.
pub const UFR_ERR_DESERTED: i32 = -6;
/// The buffer is smaller than the next message, which stays in the ring.
pub const UFR_ERR_BUFFER_TOO_SMALL: i32 = -7;
/// The message is larger than the ring was made for.
pub const UFR_ERR_TOO_LARGE: i32 = -8;
/// There is no room on the file system, or in the side buffers' memory.
pub const UFR_ERR_NO_SPACE: i32 = -9;
/// There is not enough memory.
pub const UFR_ERR_OUT_OF_MEMORY: i32 = -10;
/// The ring's file was truncated or wiped out. Make a new ring.
pub const UFR_ERR_DAMAGED: i32 = -11;
/// A pointer is null that must not be.
pub const UFR_ERR_NULL: i32 = -12;
/// An argument has a value that means nothing.
pub const UFR_ERR_INVALID_ARGUMENT: i32 = -13;
/// A setting is out of range.
pub const UFR_ERR_INVALID_SETTINGS: i32 = -14;
/// The name cannot be a ring's.
pub const UFR_ERR_BAD_NAME: i32 = -15;
/// There is a ring of this name.
pub const UFR_ERR_NAME_TAKEN: i32 = -16;
/// There is no ring of this name.
pub const UFR_ERR_NO_SUCH_RING: i32 = -17;
/// The directory for rings is not there.
pub const UFR_ERR_NO_DIRECTORY: i32 = -18;
/// The file system does not let this process open the ring.
pub const UFR_ERR_PERMISSION_DENIED: i32 = -19;
/// The ring, or the process at the other end of a socket, belongs to somebody else.
pub const UFR_ERR_NOT_TRUSTED: i32 = -20;
/// The ring is there, with other settings than were chosen.
pub const UFR_ERR_SETTINGS_DIFFER: i32 = -21;
/// The ring was made by a library with another layout of the memory, or with features that this one
/// does not know.
pub const UFR_ERR_LAYOUT_VERSION: i32 = -22;
/// The file is not a ring, or a damaged one.
pub const UFR_ERR_NOT_A_RING: i32 = -23;
/// The side, or the group, is exclusive, and somebody has it.
pub const UFR_ERR_SIDE_TAKEN: i32 = -24;
/// There are as many handles, or groups, as the ring was made for.
pub const UFR_ERR_TABLE_FULL: i32 = -25;
/// This process, or the system, has no file descriptor left.
pub const UFR_ERR_NO_DESCRIPTORS: i32 = -26;
/// The ring was opened before this process was forked.
pub const UFR_ERR_FORKED: i32 = -27;
/// The ring cannot be handed over, or what was handed over is no ring.
pub const UFR_ERR_NOT_HANDED_OVER: i32 = -28;
/// The handle has a message in place that must be given back first.
pub const UFR_ERR_IN_USE: i32 = -29;
/// A system call failed.
pub const UFR_ERR_SYSTEM: i32 = -30;
/// A defect of the library. Free the handle, and report it.
pub const UFR_ERR_PANIC: i32 = -31;
/// The ring's consumers are groups and no group was named, or the reverse.
pub const UFR_ERR_GROUPS: i32 = -32;
/// There is no such group to be resumed or removed.
pub const UFR_ERR_NO_SUCH_GROUP: i32 = -33;
/// The group is there, and is not as it was asked for.
pub const UFR_ERR_GROUP_DIFFERS: i32 = -34;
/// The group has members, or somebody else is opening it. Try again.
pub const UFR_ERR_BUSY: i32 = -35;
/// Something else; `ufr_last_error()` says what.
pub const UFR_ERR_OTHER: i32 = -36;

/// The most urgent priority class. A class is a label, a reserve of credit and a row in the
/// statistics. It overtakes others only in a ring with lanes by class: `UFR_LANES_BY_CLASS`.
pub const UFR_CLASS_REAL_TIME: i32 = 0;
/// See `UFR_CLASS_REAL_TIME`.
pub const UFR_CLASS_HIGH: i32 = 1;
/// What most messages have.
pub const UFR_CLASS_NORMAL: i32 = 2;
/// See `UFR_CLASS_REAL_TIME`.
pub const UFR_CLASS_LOW: i32 = 3;
/// The least urgent class.
pub const UFR_CLASS_BULK: i32 = 4;

/// How many handles a side has: not chosen.
pub const UFR_SIDE_UNSET: i32 = 0;
/// Any number of handles. This holds for a new ring if nothing is chosen.
pub const UFR_SIDE_SHARED: i32 = 1;
/// One handle at a time: the fastest path.
pub const UFR_SIDE_EXCLUSIVE: i32 = 2;

/// Which messages carry a timestamp: not chosen. Other values are the two below, and N for one in N
/// messages: a power of two from 2 to 65536.
pub const UFR_TIMESTAMPS_UNSET: i32 = 0;
/// All messages. This holds for a new ring if nothing is chosen.
pub const UFR_TIMESTAMPS_EVERY: i32 = 1;
/// None.
pub const UFR_TIMESTAMPS_OFF: i32 = -1;

/// How many lanes, queues of slots of their own, a ring has: not chosen. Other values are the two
/// below, and N for a lane for each of N producers, of which none holds up another: 1 to 256.
pub const UFR_LANES_UNSET: i32 = 0;
/// A lane for each class: urgent messages overtake others.
pub const UFR_LANES_BY_CLASS: i32 = -1;
/// One lane. This holds for a new ring if nothing is chosen.
pub const UFR_LANES_ONE: i32 = -2;

/// What becomes of messages that a consumer held when it died: not chosen.
pub const UFR_REDELIVERY_UNSET: i32 = 0;
/// Another consumer gets them, marked. This holds for a new ring if nothing is chosen.
pub const UFR_REDELIVERY_REDELIVER: i32 = 1;
/// They are dropped and counted.
pub const UFR_REDELIVERY_DISCARD: i32 = 2;

/// The memory of large messages is taken page by page, as they need it.
pub const UFR_SIDE_MEMORY_ON_DEMAND: i32 = 0;
/// It is taken when the ring is made.
pub const UFR_SIDE_MEMORY_PREALLOCATED: i32 = 1;
/// It is taken page by page, and whether there is enough is not looked at when the ring is made.
pub const UFR_SIDE_MEMORY_OVERCOMMITTED: i32 = 2;

/// Rings of this user alone.
pub const UFR_TRUST_OWN_USER: i32 = 0;
/// Rings of this user and of the groups of this process.
pub const UFR_TRUST_GROUP: i32 = 1;
/// Rings of anybody.
pub const UFR_TRUST_ANYONE: i32 = 2;

/// A ring that this process has open. Any number of threads may use it at once, but for
/// `ufr_ring_free`.
pub struct ufr_ring {
    pub(crate) ring: UltraFastRing,
}

/// A handle that sends. One thread at a time may use it; it may go from thread to thread.
pub struct ufr_producer {
    pub(crate) own: Sending,
}

/// A handle that receives. One thread at a time may use it; it may go from thread to thread.
pub struct ufr_consumer {
    pub(crate) own: Receiving,
}

/// How a ring is to be. Fill it with `ufr_settings_init`, then change what you choose. 0 and NULL
/// mean that nothing is chosen: a new ring gets the default, and a ring that is there is not
/// compared in that.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ufr_settings {
    /// Size of this structure in the caller's header; `ufr_settings_init` fills it in.
    pub size: usize,
    /// Slots: a power of two up to 2^24. Default: 256.
    pub capacity: usize,
    /// How many handles there can be at a time, of both sides: 1 to 4096. Default: 1024.
    pub participants: usize,
    /// Bytes of the largest message: up to 2^30. Default, and the least: 40. Messages up to 40
    /// bytes travel in their slot, larger ones in a buffer beside it.
    pub max_message: usize,
    /// How many messages may be in flight: 1 to the capacity, which is the default.
    pub credit_limit: u64,
    /// Credits that only this class and more urgent ones can use, by class. Default: none.
    pub reserves: [u64; 5],
    /// Directory of the ring's file. Default: "/dev/shm". Must live during the call only.
    pub directory: *const c_char,
    /// Name of this process's handles, for people: up to 64 bytes. Default: the program's. Must
    /// live during the call only.
    pub participant_name: *const c_char,
    /// `UFR_SIDE_...` of producers.
    pub producer_side: i32,
    /// `UFR_SIDE_...` of consumers.
    pub consumer_side: i32,
    /// `UFR_TIMESTAMPS_...`, or N for one in N.
    pub timestamps: i32,
    /// `UFR_REDELIVERY_...`.
    pub redelivery: i32,
    /// `UFR_SIDE_MEMORY_...`; for a new ring.
    pub side_memory: i32,
    /// `UFR_TRUST_...`: whom a new ring lets in, and whose rings are opened.
    pub trust: i32,
    /// 1: `ufr_ring_open_or_create` takes a ring that is there, whatever its settings are.
    pub accept_existing: i32,
    /// 1: asks the system for huge pages for large messages.
    pub huge_pages: i32,
    /// 1: handles run a memory fence for each message, as some sandboxes need.
    pub fences: i32,
    /// 1: each message goes to one member of every group of consumers; `ufr_consumer_join` takes part.
    pub joinable: i32,
    /// `UFR_LANES_...`, or N. `capacity`, `credit_limit`, `max_message` are those of each lane.
    pub lanes: i32,
    /// 1: consumers count latencies in histograms: `ufr_ring_latencies`.
    pub latency_histograms: i32,
    /// With lanes by class, slots of each class's lane. Default: `capacity`; so of the next two.
    pub capacity_of: [usize; 5],
    /// Messages of each class that may be in flight.
    pub credit_limit_of: [u64; 5],
    /// Bytes of the largest message of each class.
    pub max_message_of: [usize; 5],
    /// Names of groups that a new ring has, durable and open from the start. As `directory`.
    pub groups: *const *const c_char,
    /// How many groups that are. With `joinable` there is room for others.
    pub group_count: usize,
}

/// What there is to know about a message besides its bytes.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct ufr_received {
    /// Bytes of the message. After `UFR_ERR_BUFFER_TOO_SMALL` the size that a buffer must have, and
    /// all else is 0.
    pub size: usize,
    /// Its place in the endless order of messages: 0 is the first ever, of each lane.
    pub position: u64,
    /// When it was sent, in ticks of the time-stamp counter; 0 if it carried no timestamp.
    pub timestamp: u64,
    /// Ticks from send to receive; 0 if it carried no timestamp.
    pub latency: u64,
    /// `UFR_CLASS_...`.
    pub priority_class: i32,
    /// 1 if it may have been delivered before, to a consumer that was killed.
    pub redelivered: i16,
    /// 1 if it came after a younger one: only if `ufr_consumer_in_time_order` was called.
    pub late: i16,
}

/// The library's version, such as "0.2.0". The text is static. Thread-safe. Does not wait.
#[unsafe(no_mangle)]
pub extern "C" fn ufr_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// What a code means. The text is static; it is never NULL. Thread-safe. Does not wait.
#[unsafe(no_mangle)]
pub extern "C" fn ufr_strerror(code: i32) -> *const c_char {
    failure::meaning(code).as_ptr()
}

/// What went wrong in the last call of this thread that failed, and what to do about it. Empty if
/// none has. `UFR_ERR_EMPTY`, `UFR_ERR_FULL` and `UFR_ERR_OUT_OF_CREDIT` do not change it: they
/// are answers that programs get all the time.
///
/// The text belongs to the library, and stays until the next call of this thread that fails.
/// Thread-safe: each thread has its own. Does not wait.
#[unsafe(no_mangle)]
pub extern "C" fn ufr_last_error() -> *const c_char {
    failure::last()
}

/// Fills in `*settings`: its size, and nothing chosen.
///
/// Returns `UFR_OK`, or `UFR_ERR_NULL`. Thread-safe. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_settings_init(settings: *mut ufr_settings) -> i32 {
    guarded(|| {
        not_null(settings, "settings")?;
        // SAFETY: the caller has a structure there, and of this header's size: once a version is
        // released, a library with a larger one has another soname.
        unsafe { settings.write(NOTHING_CHOSEN) };
        Ok(UFR_OK)
    })
}

/// Makes the ring called `name`, for processes. `settings` may be NULL: nothing is chosen.
///
/// On success `*ring` is the caller's, who frees it with `ufr_ring_free`. On failure it is NULL.
/// Returns `UFR_OK`, `UFR_ERR_NAME_TAKEN`, `UFR_ERR_INVALID_SETTINGS`, `UFR_ERR_BAD_NAME`,
/// `UFR_ERR_NO_SPACE`, or another code. Thread-safe. Does not wait for peers; the first ring of a
/// process takes some milliseconds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_ring_create(
    name: *const c_char,
    settings: *const ufr_settings,
    ring: *mut *mut ufr_ring,
) -> i32 {
    // SAFETY: as the header asks of the caller.
    unsafe { make::ring(name, settings, ring, |builder, name| builder.create(name)) }
}

/// Opens the ring called `name`, with whatever settings it was made.
///
/// Else as `ufr_ring_create`; also returns `UFR_ERR_NO_SUCH_RING`, `UFR_ERR_LAYOUT_VERSION`,
/// `UFR_ERR_NOT_A_RING`, `UFR_ERR_NOT_TRUSTED`, `UFR_ERR_PERMISSION_DENIED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_ring_open(name: *const c_char, ring: *mut *mut ufr_ring) -> i32 {
    // SAFETY: as the header asks of the caller.
    unsafe { make::ring(name, std::ptr::null(), ring, |builder, name| builder.open(name)) }
}

/// Opens the ring called `name`, or makes it if there is none. A ring that is there must have the
/// settings that are chosen. `settings` may be NULL: any ring will do.
///
/// Else as `ufr_ring_create` and `ufr_ring_open`; also returns `UFR_ERR_SETTINGS_DIFFER`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_ring_open_or_create(
    name: *const c_char,
    settings: *const ufr_settings,
    ring: *mut *mut ufr_ring,
) -> i32 {
    // SAFETY: as the header asks of the caller.
    unsafe { make::ring(name, settings, ring, |builder, name| builder.open_or_create(name)) }
}

/// Frees what `ufr_ring_create` and the like gave. NULL is fine. The ring stays for others, and
/// under its name. Its handles stay usable.
///
/// No other thread may use `ring` during this call or after it. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_ring_free(ring: *mut ufr_ring) {
    // SAFETY: as the header asks of the caller.
    unsafe { make::freed(ring, |_| ()) }
}

/// Takes the name of a ring away. Those who have it open go on with it; its memory is freed when
/// the last of them leaves.
///
/// Returns `UFR_OK`, `UFR_ERR_NO_SUCH_RING`, `UFR_ERR_NOT_A_RING`, or another code. Thread-safe.
/// May wait up to a second for somebody else who removes it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_ring_remove(name: *const c_char) -> i32 {
    guarded(|| {
        // SAFETY: as the header asks of the caller.
        let name = unsafe { text(name, "name")? };
        UltraFastRing::remove(name).map_err(|error| failure::ring(&error))?;
        Ok(UFR_OK)
    })
}

/// Ends the stream: senders get `UFR_ERR_CLOSED`, and consumers too once they have received what is
/// left. A new producer opens the ring again.
///
/// Returns `UFR_OK`, or `UFR_ERR_NULL`. Thread-safe. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_close(ring: *mut ufr_ring) -> i32 {
    guarded(|| {
        // SAFETY: as the header asks of the caller.
        unsafe { handle::ring(ring)? }.ring.close();
        Ok(UFR_OK)
    })
}

/// Takes a producer. If the ring is closed, this opens it again, for a new stream.
///
/// On success `*producer` is the caller's, who frees it with `ufr_producer_free`; it may outlive
/// `ring`. On failure it is NULL. Returns `UFR_OK`, `UFR_ERR_SIDE_TAKEN`, `UFR_ERR_TABLE_FULL`,
/// `UFR_ERR_NO_DESCRIPTORS`, `UFR_ERR_FORKED`, or another code. Thread-safe. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_producer_new(
    ring: *mut ufr_ring,
    producer: *mut *mut ufr_producer,
) -> i32 {
    // SAFETY: as the header asks of the caller.
    unsafe { make::producer(ring, producer, UltraFastRing::producer) }
}

/// Takes a consumer: as `ufr_producer_new`, freed with `ufr_consumer_free`. Each message goes to
/// one consumer: several share the work, and nobody gets a copy.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_consumer_new(
    ring: *mut ufr_ring,
    consumer: *mut *mut ufr_consumer,
) -> i32 {
    // SAFETY: as the header asks of the caller.
    unsafe { make::consumer(ring, consumer, |ring| Ok(ring.consumer())) }
}

/// Frees a producer. NULL is fine. What it has sent stays in the ring, which stays open.
///
/// The caller may not use it any more. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_producer_free(producer: *mut ufr_producer) {
    // SAFETY: as the header asks of the caller.
    unsafe { make::freed(producer, |it| (*it).own.end()) }
}

/// Frees a consumer. NULL is fine. What it has not received stays for others.
///
/// The caller may not use it any more. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_consumer_free(consumer: *mut ufr_consumer) {
    // SAFETY: as the header asks of the caller.
    unsafe { make::freed(consumer, |it| (*it).own.end()) }
}

/// Sends the `size` bytes at `data`; waits while there is no room. `data` may be NULL if `size` is
/// 0. The bytes are copied: they are the caller's again when this returns.
///
/// Returns `UFR_OK`, or why nothing was sent: `UFR_ERR_TOO_LARGE`, `UFR_ERR_CLOSED`,
/// `UFR_ERR_DESERTED`, `UFR_ERR_NO_SPACE`, `UFR_ERR_DAMAGED`, `UFR_ERR_NULL`,
/// `UFR_ERR_INVALID_ARGUMENT`, `UFR_ERR_IN_USE`. One thread at a time. A signal does not end the
/// wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_send(
    producer: *mut ufr_producer,
    data: *const c_void,
    size: usize,
    priority_class: i32,
) -> i32 {
    // SAFETY: as the header asks of the caller.
    unsafe { handle::send_at_once(producer, data, size, priority_class, send) }
}

/// As [`ufr_send`], for what is not sent at once.
///
/// # Safety
///
/// As [`ufr_send`].
#[inline(never)]
pub(crate) unsafe extern "C" fn send(
    producer: *mut ufr_producer,
    data: *const c_void,
    size: usize,
    priority_class: i32,
) -> i32 {
    // SAFETY: as the caller promises.
    unsafe {
        handle::send(producer, data, size, priority_class, |it, data, class| it.send(data, class))
    }
}

/// As `ufr_send`, and never waits: returns `UFR_ERR_FULL` or `UFR_ERR_OUT_OF_CREDIT` if there is no
/// room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_try_send(
    producer: *mut ufr_producer,
    data: *const c_void,
    size: usize,
    priority_class: i32,
) -> i32 {
    // SAFETY: as the header asks of the caller.
    unsafe { handle::send_at_once(producer, data, size, priority_class, try_send) }
}

/// As [`ufr_try_send`], for what is not sent at once.
///
/// # Safety
///
/// As [`ufr_try_send`].
#[inline(never)]
pub(crate) unsafe extern "C" fn try_send(
    producer: *mut ufr_producer,
    data: *const c_void,
    size: usize,
    priority_class: i32,
) -> i32 {
    // SAFETY: as the caller promises.
    unsafe {
        handle::send(producer, data, size, priority_class, |it, data, class| {
            it.send_fast(data, class)
        })
    }
}

/// As `ufr_send`, and waits for `timeout_ns` nanoseconds at most: then returns `UFR_ERR_TIMED_OUT`.
/// A negative time is without end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_send_timeout(
    producer: *mut ufr_producer,
    data: *const c_void,
    size: usize,
    priority_class: i32,
    timeout_ns: i64,
) -> i32 {
    // SAFETY: as the header asks of the caller.
    unsafe {
        handle::send(producer, data, size, priority_class, |it, data, class| match handle::timeout(
            timeout_ns,
        ) {
            Some(timeout) => it.send_timeout(data, class, timeout),
            None => it.send(data, class),
        })
    }
}

/// Receives the next message into the `capacity` bytes at `buffer`; waits while there is none.
/// `*received` says what there is to know about it; `received` may be NULL.
///
/// Returns the size of the message, or why none was received: `UFR_ERR_CLOSED`,
/// `UFR_ERR_DESERTED`, `UFR_ERR_BUFFER_TOO_SMALL` (the message stays in the ring, and
/// `received->size` is its size), `UFR_ERR_OUT_OF_MEMORY`, `UFR_ERR_DAMAGED`, `UFR_ERR_NULL`,
/// `UFR_ERR_IN_USE`. One thread at a time. A signal does not end the wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_recv(
    consumer: *mut ufr_consumer,
    buffer: *mut c_void,
    capacity: usize,
    received: *mut ufr_received,
) -> isize {
    // SAFETY: as the header asks of the caller.
    unsafe { handle::recv(consumer, buffer, capacity, received, |it, buffer| it.recv_into(buffer)) }
}

/// As `ufr_recv`, and never waits: returns `UFR_ERR_EMPTY` if there is no message.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_try_recv(
    consumer: *mut ufr_consumer,
    buffer: *mut c_void,
    capacity: usize,
    received: *mut ufr_received,
) -> isize {
    // SAFETY: as the header asks of the caller.
    unsafe {
        handle::recv(consumer, buffer, capacity, received, |it, buffer| it.try_recv_into(buffer))
    }
}

/// As `ufr_recv`, and waits for `timeout_ns` nanoseconds at most: then returns `UFR_ERR_TIMED_OUT`.
/// A negative time is without end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_recv_timeout(
    consumer: *mut ufr_consumer,
    buffer: *mut c_void,
    capacity: usize,
    received: *mut ufr_received,
    timeout_ns: i64,
) -> isize {
    // SAFETY: as the header asks of the caller.
    unsafe {
        handle::recv(consumer, buffer, capacity, received, |it, buffer| {
            match handle::timeout(timeout_ns) {
                Some(timeout) => it.recv_into_timeout(buffer, timeout),
                None => it.recv_into(buffer),
            }
        })
    }
}
