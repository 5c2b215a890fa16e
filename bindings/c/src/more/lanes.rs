//! Rings with lanes: in which order a consumer takes messages from them, what came late, and what is
//! in each lane.

use std::ffi::c_char;
use std::time::Duration;

use ultrafastring::{LaneInfo, RingView};

use crate::basic::{UFR_OK, ufr_consumer, ufr_ring};
use crate::failure;
use crate::handle::{self, guarded, not_null};
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

/// What the ring tells of a lane.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ufr_lane_info {
    /// With lanes by producer, the name of its owner, and a zero after it; empty if nobody owns it.
    pub owner_name: [c_char; 72],
    /// Messages sent into it.
    pub sent: u64,
    /// Messages received from it, each once.
    pub received: u64,
    /// Messages in it that are sent and not received.
    pub len: u64,
    /// Messages that hold its credit.
    pub credits_spent: u64,
    /// How many may at a time.
    pub credit_limit: u64,
    /// Its slots.
    pub capacity: usize,
    /// Bytes of its largest message.
    pub max_message: usize,
    /// The owner's process; 0 if nobody owns it. A dead one stays until the lane has its next owner.
    pub owner_pid: u32,
    /// 1 if its owner is alive.
    pub owner_lives: i32,
    /// With lanes by class, `UFR_CLASS_...` of its messages; else -1.
    pub priority_class: i32,
    /// 1 if it is closed.
    pub closed: i32,
}

fn told(lane: &LaneInfo) -> ufr_lane_info {
    let name = lane.owner.as_ref().map_or("", |owner| owner.name.as_str());
    ufr_lane_info {
        owner_name: handle::name_in_c(name),
        sent: lane.stats.sent,
        received: lane.stats.received,
        len: lane.len as u64,
        credits_spent: lane.stats.credits_spent,
        credit_limit: lane.stats.credit_limit,
        capacity: lane.capacity,
        max_message: lane.max_message,
        owner_pid: lane.owner.as_ref().map_or(0, |owner| owner.pid),
        owner_lives: lane.owner.as_ref().is_some_and(|owner| owner.alive).into(),
        priority_class: lane.class.map_or(-1, |class| class as i32),
        closed: lane.closed.into(),
    }
}

/// Fills `lanes`, which has room for `most`, with the lanes of the ring, in their order; `lanes` may
/// be NULL if `most` is 0. A ring without lanes has one.
///
/// Returns how many lanes there are, which may be more than `most`; or `UFR_ERR_NULL`. Thread-safe.
/// Does not wait; it asks the kernel for each owner.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_ring_lanes(
    ring: *const ufr_ring,
    lanes: *mut ufr_lane_info,
    most: usize,
) -> isize {
    // SAFETY: as the header asks of the caller.
    guarded(|| unsafe { tell_lanes(&handle::ring(ring)?.ring, lanes, most) })
}

/// As `ufr_ring_lanes`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_observer_lanes(
    observer: *const ufr_observer,
    lanes: *mut ufr_lane_info,
    most: usize,
) -> isize {
    // SAFETY: as the header asks of the caller.
    guarded(|| unsafe { tell_lanes(observers::of(observer)?, lanes, most) })
}

/// Writes the lanes of a ring to `lanes`, and says how many there are.
///
/// # Safety
///
/// `lanes` is null, or has room for `most`.
unsafe fn tell_lanes(
    ring: &RingView,
    lanes: *mut ufr_lane_info,
    most: usize,
) -> Result<isize, i32> {
    if most != 0 {
        not_null(lanes, "lanes")?;
    }
    for (at, lane) in ring.lanes().take(most).enumerate() {
        // SAFETY: as the caller promises.
        unsafe { lanes.add(at).write(told(&lane)) };
    }
    Ok(ring.settings().lanes.count() as isize)
}
