//! Rings with lanes: in which order a consumer takes messages from them, and what came late.

use std::time::Duration;

use crate::basic::{UFR_OK, ufr_consumer, ufr_ring};
use crate::failure;
use crate::handle::{self, guarded};
use crate::more::observers::{self, ufr_observer};

/// Messages of this ring cannot be received in time order: it has no lanes by producer, or not each
/// message has a timestamp. Make it with N `lanes`, and with timestamps.
pub const UFR_ERR_NO_TIME_ORDER: i32 = -40;
/// The lanes of this ring do not age. Make it with `UFR_LANES_BY_CLASS`.
pub const UFR_ERR_NO_CLASS_LANES: i32 = -41;
/// Each lane of a ring with lanes by producer has its owner, so there is none for another producer.
/// `ufr_last_error()` names owners: wait until one leaves, or make the ring with more lanes.
pub const UFR_ERR_NO_FREE_LANE: i32 = -42;

/// Has this consumer of a ring with lanes by producer receive messages in the order in which they
/// were sent, by their timestamps. It waits for lanes that have nothing, for up to `wait_ns`
/// nanoseconds after the oldest message was sent; until then functions that do not wait return
/// `UFR_ERR_EMPTY`. 0 does not wait for them: the oldest of what is there is next. A negative time is
/// without end.
///
/// What is in the ring within that time after its timestamp comes in order. What comes later, and
/// after a younger one, has `late` of its `ufr_received` set. A second call changes the time.
///
/// Returns `UFR_OK`, `UFR_ERR_NO_TIME_ORDER`, `UFR_ERR_NULL`, or `UFR_ERR_IN_USE`. One thread at a
/// time. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_consumer_in_time_order(
    consumer: *mut ufr_consumer,
    wait_ns: i64,
) -> i32 {
    guarded(|| {
        let wait = handle::timeout(wait_ns).unwrap_or(Duration::MAX);
        // SAFETY: as the header asks of the caller.
        let consumer = unsafe { handle::consumer(consumer)? };
        consumer.in_time_order(wait).map_err(|error| failure::ring(&error))?;
        Ok(UFR_OK)
    })
}

/// How many messages this consumer has received late, in time order.
///
/// Returns how many, `UFR_ERR_NULL`, or `UFR_ERR_IN_USE`. One thread at a time. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_consumer_late(consumer: *mut ufr_consumer) -> isize {
    // SAFETY: as the header asks of the caller.
    guarded(|| Ok(number(unsafe { handle::consumer(consumer)? }.late())))
}

/// Has one receive in `one_in` of this consumer take from the lanes by class in turn, the least
/// urgent at first, so that each class gets its share, however much there is of more urgent ones. A
/// function that receives several messages takes them from one lane, and counts once. 0 takes the
/// most urgent message always, as at first.
///
/// Returns `UFR_OK`, `UFR_ERR_NO_CLASS_LANES`, `UFR_ERR_NULL`, or `UFR_ERR_IN_USE`. One thread at a
/// time. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_consumer_ageing(consumer: *mut ufr_consumer, one_in: u32) -> i32 {
    guarded(|| {
        // SAFETY: as the header asks of the caller.
        let consumer = unsafe { handle::consumer(consumer)? };
        consumer.ageing(one_in).map_err(|error| failure::ring(&error))?;
        Ok(UFR_OK)
    })
}

/// How many messages all consumers of the ring have received late, those that are gone included.
///
/// Returns how many, or `UFR_ERR_NULL`. Thread-safe. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_ring_late(ring: *const ufr_ring) -> isize {
    // SAFETY: as the header asks of the caller.
    guarded(|| Ok(number(unsafe { handle::ring(ring)? }.ring.stats().late)))
}

/// As `ufr_ring_late`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_observer_late(observer: *const ufr_observer) -> isize {
    // SAFETY: as the header asks of the caller.
    guarded(|| Ok(number(unsafe { observers::of(observer)? }.stats().late)))
}

/// A count, which peers may have written, as one that is no code.
fn number(count: u64) -> isize {
    isize::try_from(count).unwrap_or(isize::MAX)
}
