//! How large things may be.

/// Largest capacity: 2^24 slots, one gibibyte.
pub const MAX_CAPACITY: usize = 1 << 24;

/// Most entries that a participant table may have.
pub const MAX_PARTICIPANTS: usize = 4_096;

/// Largest message that a ring can be made for, in bytes: one gibibyte.
pub const MAX_MESSAGE: usize = 1 << 30;

/// Largest segment in bytes: with 47-bit addresses, half of what a process can address.
pub const MAX_SEGMENT: u64 = if usize::BITS >= 64 { 1 << 46 } else { 1 << 30 };

/// Version of the layout; a segment with another one is refused.
pub const LAYOUT_VERSION: u32 = 3;

/// Most groups of consumers that a ring can be made for. A word of a bell has a bit for each, and
/// eight bits for other things.
pub const MAX_GROUPS: usize = 56;

/// Groups that a ring has room for besides those that it is made with, if it is
/// [joinable](crate::Builder::joinable).
pub const ROOM_FOR_GROUPS: usize = if cfg!(loom) { 1 } else { 16 };

/// Most lanes that a ring can have. A consumer looks at each of them before it sleeps.
pub const MAX_LANES: usize = 256;

/// Longest name of a group, in bytes.
pub const MAX_GROUP_NAME: usize = 32;

/// Positions beyond this one are not believed, since no ring lives so long. So additions to a
/// believed position cannot overflow.
pub(crate) const MAX_POSITION: u64 = 1 << 57;
