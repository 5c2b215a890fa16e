//! What lies where in a segment, and what each shared word means.
//!
//! ```text
//!  offset  0 ┌────────────────────────────────────────────────────────────────┐
//!            │ header, written once before the ring has a name (header.rs)    │
//!       4096 ├────────────────────────────────────────────────────────────────┤
//!            │ lane: producer_head, producer_tail, window, each alone on 128  │
//!            │       bytes (counters.rs); its terms (terms.rs)                │
//!       4608 ├────────────────────────────────────────────────────────────────┤
//!            │ control: entries used, side locks of memory segments, arrivals │
//!            │          of each side, streams; bells (control.rs, bell.rs)    │
//!       5120 ├────────────────────────────────────────────────────────────────┤
//!            │ cursors: consumer_head, consumer_tail, each alone on 128 bytes │
//!            │          (counters.rs); one row for each group                 │
//!       5376 ├────────────────────────────────────────────────────────────────┤
//!            │ groups: rows of 512 bytes (group.rs)                           │
//!            ├──────────────────────────────────────────── page boundary ─────┤
//!            │ participant table: entries of 1024 bytes (participant.rs)      │
//!            ├──────────────────────────────────────────── page boundary ─────┤
//!            │ slots: `capacity` lines of 64 bytes (slot.rs)                  │
//!            ├──────────────────────────────────────────── page boundary ─────┤
//!            │ histograms, if the ring has any: a row for each entry and each │
//!            │          group (histogram.rs)                                  │
//!            ├──────────────────────────────────────────── page boundary ─────┤
//!            │ side buffers, if the ring has any: one a slot (side.rs)        │
//!            └────────────────────────────────────────────────────────────────┘
//! ```
//!
//! These are the places in a plain ring that is made here. A header says where its areas lie
//! (areas.rs); `Geometry::decode` checks that against the file before it is mapped. After that
//! nobody looks at the header again: what a handle needs, it keeps itself.
//!
//! All words are in the machine's own byte order, since a ring does not leave its machine. A file
//! of the other order does not begin as a ring does, and is refused.
//!
//! Beside a segment in a file there is a second one, its *lock file* (locks.rs).

pub(crate) mod areas;
pub(crate) mod bell;
pub(crate) mod control;
pub(crate) mod counters;
pub(crate) mod group;
pub(crate) mod header;
pub(crate) mod histogram;
pub(crate) mod lane_line;
pub(crate) mod locks;
pub(crate) mod participant;
pub(crate) mod side;
pub mod slot;
pub(crate) mod span;
pub(crate) mod terms;

pub use crate::limits::{
    LAYOUT_VERSION, MAX_CAPACITY, MAX_GROUP_NAME, MAX_GROUPS, MAX_LANES, MAX_MESSAGE,
    MAX_PARTICIPANTS, MAX_SEGMENT, ROOM_FOR_GROUPS,
};
pub use crate::settings::{Redelivery, Sharing, Side, SideMemory, Timestamps};
pub use areas::AreaInfo;
pub use counters::CacheLineU64;

#[cfg(not(loom))]
const _: () = {
    use areas::{
        APART, CONTROL_SIZE, CURSOR_SIZE, GROUP_SIZE, LANE_SIZE, PAGE, PARTICIPANT_SIZE, SLOT_SIZE,
    };
    use bell::Bell;
    use control::Control;
    use core::mem::offset_of;
    use counters::{Cursor, LaneCounters};
    use slot::TimestampedSlot;

    assert!(size_of::<CacheLineU64>() == 64 && align_of::<CacheLineU64>() == 64);
    assert!(size_of::<LaneCounters>() == LANE_SIZE && align_of::<LaneCounters>() <= APART);
    assert!(offset_of!(LaneCounters, producer_tail) == 128);
    assert!(offset_of!(LaneCounters, window) == 256);
    assert!(size_of::<Cursor>() == CURSOR_SIZE && align_of::<Cursor>() <= APART);
    assert!(offset_of!(Cursor, consumer_tail) == 128);
    assert!(size_of::<Control>() == CONTROL_SIZE && align_of::<Control>() <= APART);
    assert!(offset_of!(Control, bells) == 128 && size_of::<Bell>() == 128);
    assert!(offset_of!(Bell, groups) == 8);
    assert!(GROUP_SIZE.is_multiple_of(APART));
    assert!(size_of::<group::Row>() == GROUP_SIZE && align_of::<group::Row>() <= APART);
    assert!(offset_of!(group::Row, bell) == 256);
    assert!(size_of::<participant::Participant>() == PARTICIPANT_SIZE);
    assert!(PARTICIPANT_SIZE.is_multiple_of(APART) && PAGE.is_multiple_of(PARTICIPANT_SIZE));
    assert!(size_of::<TimestampedSlot>() == SLOT_SIZE && align_of::<TimestampedSlot>() == 64);
};
