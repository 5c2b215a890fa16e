//! Rings in other directories or without a name, what can be seen of a ring, closing.

use std::ffi::{c_char, c_int};
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixStream;

use ultrafastring::{LaneStats, RingStats, Side, UltraFastRing, survive_truncation};

use crate::basic::{UFR_ERR_SYSTEM, UFR_OK, ufr_producer, ufr_ring, ufr_settings};
use crate::failure;
use crate::handle::{self, guarded, not_null};
use crate::make;
use crate::settings::{builder, of_ring, text};

/// The side that sends.
pub const UFR_PRODUCERS: i32 = 0;
/// The side that receives.
pub const UFR_CONSUMERS: i32 = 1;

/// What passed through one priority class.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct ufr_class_stats {
    /// Messages sent.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Messages received, those redelivered counted again.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Sum of the latencies of those received that carried a timestamp, in ticks.
    pub latency_sum: u64,
    /// How many carried one.
    pub latency_count: u64,
    /// The largest latency, in ticks.
    pub latency_max: u64,
}

/// What a ring has counted, over all participants that have been. `sent - received - discarded`
/// messages are in the ring.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct ufr_stats {
    /// Messages sent.
    pub sent: u64,
    /// Messages received, each once.
    pub received: u64,
    /// Mean latency in ticks of the messages that carried a timestamp.
    pub avg_latency: u64,
    /// Slots abandoned in the place of producers that died.
    pub abandoned: u64,
    /// Messages redelivered in the place of consumers that died.
    pub redelivered: u64,
    /// Messages discarded in the place of consumers that died.
    pub discarded: u64,
    /// Messages that hold credit.
    pub credits_spent: u64,
    /// How many may at a time.
    pub credit_limit: u64,
    /// 1 if an eighth of the credit limit, or less, is left.
    pub under_pressure: u64,
    /// By class. Handles store them once in up to 64 messages.
    pub classes: [ufr_class_stats; 5],
}

/// Opens the ring called `name`: as `ufr_ring_open`, in the directory of `settings` and with their
/// trust and participant name. `settings` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_ring_open_with(
    name: *const c_char,
    settings: *const ufr_settings,
    ring: *mut *mut ufr_ring,
) -> i32 {
    // SAFETY: as the header asks of the caller.
    unsafe { make::ring(name, settings, ring, |builder, name| builder.open(name)) }
}

/// Takes the name of a ring away: as `ufr_ring_remove`, in the directory of `settings`, which may be
/// NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_ring_remove_with(
    name: *const c_char,
    settings: *const ufr_settings,
) -> i32 {
    guarded(|| {
        // SAFETY: as the header asks of the caller.
        let (name, builder) = unsafe { (text(name, "name")?, builder(settings)?) };
        builder.remove(name).map_err(|error| failure::ring(&error))?;
        Ok(UFR_OK)
    })
}

/// Removes the ring called `name`, and its messages, if nobody alive has it open. `*removed` is 1 if
/// it did and 0 if not; `removed` may be NULL, and so may `settings`.
///
/// Returns `UFR_OK`, or as `ufr_ring_open`. Thread-safe. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_ring_remove_stale(
    name: *const c_char,
    settings: *const ufr_settings,
    removed: *mut i32,
) -> i32 {
    guarded(|| {
        // SAFETY: as the header asks of the caller.
        let (name, builder) = unsafe { (text(name, "name")?, builder(settings)?) };
        let gone = builder.remove_stale(name).map_err(|error| failure::ring(&error))?;
        if !removed.is_null() {
            // SAFETY: the same.
            unsafe { removed.write(i32::from(gone)) };
        }
        Ok(UFR_OK)
    })
}

/// Makes a ring on the heap, for threads of this process. `settings` may be NULL.
///
/// Else as `ufr_ring_create`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_ring_heap(
    settings: *const ufr_settings,
    ring: *mut *mut ufr_ring,
) -> i32 {
    // SAFETY: as the header asks of the caller.
    unsafe { make::unnamed(settings, ring, |builder| Ok(builder.heap())) }
}

/// Makes a ring without a name, in memory that nobody can truncate, for processes to which it is
/// handed over with `ufr_ring_hand_to`. `settings` may be NULL.
///
/// Else as `ufr_ring_create`; also returns `UFR_ERR_SYSTEM` where the system forbids such memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_ring_anonymous(
    settings: *const ufr_settings,
    ring: *mut *mut ufr_ring,
) -> i32 {
    // SAFETY: as the header asks of the caller.
    unsafe { make::unnamed(settings, ring, |builder| Ok(builder.anonymous())) }
}

/// The socket behind a descriptor of the caller's, who keeps it.
fn socket(descriptor: c_int) -> Result<ManuallyDrop<UnixStream>, i32> {
    if descriptor < 0 {
        return Err(failure::invalid(&format_args!("{descriptor} is no descriptor")));
    }
    // SAFETY: it is not closed here, and a descriptor that is closed or no socket makes the system
    // calls fail.
    Ok(ManuallyDrop::new(unsafe { UnixStream::from_raw_fd(descriptor) }))
}

/// Hands an anonymous ring to the process at the other end of the Unix socket `socket`, which takes
/// it with `ufr_ring_take_from`. The descriptor stays the caller's.
///
/// Returns `UFR_OK`, `UFR_ERR_NOT_HANDED_OVER`, `UFR_ERR_NOT_TRUSTED`, `UFR_ERR_SYSTEM`, or another
/// code. Thread-safe. May wait as the socket does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_ring_hand_to(ring: *const ufr_ring, socket: c_int) -> i32 {
    guarded(|| {
        // SAFETY: as the header asks of the caller.
        let ring = unsafe { handle::ring(ring)? };
        let socket = self::socket(socket)?;
        ring.ring.hand_to(&socket).map_err(|error| failure::ring(&error))?;
        Ok(UFR_OK)
    })
}

/// Takes a ring that the process at the other end of the Unix socket `socket` hands over. Of
/// `settings`, which may be NULL, the trust and the participant name matter. The descriptor stays
/// the caller's.
///
/// On success `*ring` is the caller's, as of `ufr_ring_create`. Returns `UFR_OK`,
/// `UFR_ERR_NOT_HANDED_OVER`, `UFR_ERR_NOT_TRUSTED`, `UFR_ERR_NOT_A_RING`, `UFR_ERR_LAYOUT_VERSION`,
/// `UFR_ERR_SYSTEM`, or another code. Thread-safe. Waits as long as the socket does
/// (`SO_RCVTIMEO`).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_ring_take_from(
    socket: c_int,
    settings: *const ufr_settings,
    ring: *mut *mut ufr_ring,
) -> i32 {
    // SAFETY: as the header asks of the caller.
    unsafe {
        make::unnamed(settings, ring, |builder| Ok(builder.take_from(&*self::socket(socket)?)))
    }
}

/// Has this process survive that the file of a ring is truncated: calls return `UFR_ERR_DAMAGED`
/// instead of ending it by SIGBUS. It installs a handler of that signal, which passes on what is
/// not about rings. Once a process is enough.
///
/// Returns `UFR_OK`, or `UFR_ERR_SYSTEM`. Thread-safe. Does not wait.
#[unsafe(no_mangle)]
pub extern "C" fn ufr_survive_truncation() -> i32 {
    guarded(|| {
        survive_truncation().map_err(|error| failure::fail(UFR_ERR_SYSTEM, &error))?;
        Ok(UFR_OK)
    })
}

/// Fills `*settings` with what the ring was made with, and its size. What is not written in a ring,
/// the directory for one, is not chosen in it.
///
/// Returns `UFR_OK`, or `UFR_ERR_NULL`. Thread-safe. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_ring_settings(
    ring: *const ufr_ring,
    settings: *mut ufr_settings,
) -> i32 {
    guarded(|| {
        not_null(settings, "settings")?;
        // SAFETY: as the header asks of the caller; as in `ufr_settings_init`.
        unsafe { settings.write(of_ring(handle::ring(ring)?.ring.settings())) };
        Ok(UFR_OK)
    })
}

/// Fills `*stats` with what the ring has counted.
///
/// Returns `UFR_OK`, or `UFR_ERR_NULL`. Thread-safe. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_ring_stats(ring: *const ufr_ring, stats: *mut ufr_stats) -> i32 {
    guarded(|| {
        not_null(stats, "stats")?;
        // SAFETY: as the header asks of the caller.
        unsafe { stats.write(stats_of(&handle::ring(ring)?.ring.stats())) };
        Ok(UFR_OK)
    })
}

pub(crate) fn stats_of(stats: &RingStats) -> ufr_stats {
    ufr_stats {
        sent: stats.sent,
        received: stats.received,
        avg_latency: stats.avg_latency,
        abandoned: stats.abandoned,
        redelivered: stats.redelivered,
        discarded: stats.discarded,
        credits_spent: stats.credits_spent,
        credit_limit: stats.credit_limit,
        under_pressure: u64::from(stats.under_pressure),
        classes: stats.classes.each_ref().map(class_stats_of),
    }
}

fn class_stats_of(stats: &LaneStats) -> ufr_class_stats {
    ufr_class_stats {
        sent: stats.sent,
        sent_bytes: stats.sent_bytes,
        received: stats.received,
        received_bytes: stats.received_bytes,
        latency_sum: stats.latency_sum,
        latency_count: stats.latency_count,
        latency_max: stats.latency_max,
    }
}

/// Messages that are sent and not received, at about this moment.
///
/// Returns how many, or `UFR_ERR_NULL`. Thread-safe. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_ring_len(ring: *const ufr_ring) -> isize {
    // SAFETY: as the header asks of the caller.
    guarded(|| Ok(unsafe { handle::ring(ring)? }.ring.len() as isize))
}

/// The side that a number stands for.
pub(crate) fn side(number: i32) -> Result<Side, i32> {
    match number {
        UFR_PRODUCERS => Ok(Side::Producer),
        UFR_CONSUMERS => Ok(Side::Consumer),
        _ => Err(failure::invalid(&format_args!("{number} is no side"))),
    }
}

/// How many handles of a side (`UFR_PRODUCERS` or `UFR_CONSUMERS`) are held by the living.
///
/// Returns how many, `UFR_ERR_NULL`, or `UFR_ERR_INVALID_ARGUMENT`. Thread-safe. Does not wait; it
/// asks the kernel for each participant.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_ring_living(ring: *const ufr_ring, side: i32) -> isize {
    guarded(|| {
        let side = self::side(side)?;
        // SAFETY: as the header asks of the caller.
        Ok(unsafe { handle::ring(ring)? }.ring.living(side) as isize)
    })
}

/// Whether the ring is closed.
///
/// Returns 1 or 0, or `UFR_ERR_NULL`. Thread-safe. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_ring_is_closed(ring: *const ufr_ring) -> i32 {
    // SAFETY: as the header asks of the caller.
    guarded(|| Ok(i32::from(unsafe { handle::ring(ring)? }.ring.is_closed())))
}

/// Opens a closed ring again, as taking a producer does.
///
/// Returns `UFR_OK`, or `UFR_ERR_NULL`. Thread-safe. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_ring_reopen(ring: *const ufr_ring) -> i32 {
    guarded(|| {
        // SAFETY: as the header asks of the caller.
        unsafe { handle::ring(ring)? }.ring.reopen();
        Ok(UFR_OK)
    })
}

/// Takes a producer: as `ufr_producer_new`, and does not open a closed ring again: returns
/// `UFR_ERR_CLOSED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_producer_new_unless_closed(
    ring: *mut ufr_ring,
    producer: *mut *mut ufr_producer,
) -> i32 {
    // SAFETY: as the header asks of the caller.
    unsafe { make::producer(ring, producer, UltraFastRing::producer_unless_closed) }
}
