//! Groups of consumers: each message goes to one member of every group.

use std::ffi::c_char;
use std::mem::size_of;
use std::time::Duration;

use ultrafastring::{GroupInfo, GroupState, RingView, Slow, Start, UltraFastRing};

use crate::basic::{
    UFR_OK, UFR_SIDE_EXCLUSIVE, UFR_SIDE_SHARED, UFR_SIDE_UNSET, ufr_consumer, ufr_ring,
};
use crate::failure;
use crate::handle::{self, guarded, not_null};
use crate::make;
use crate::settings::{choice, side_number, text};

/// The group did not keep up, and was evicted: it goes on at the latest, so receive again. Where there
/// is a `ufr_received`, its `position` is how many messages were missed, and all else is 0.
pub const UFR_ERR_EVICTED: i32 = -37;
/// A group that may be evicted does not read in place. Receive a copy.
pub const UFR_ERR_NOT_IN_PLACE: i32 = -38;

/// A group that is new, or closed, starts at what is sent next.
pub const UFR_START_LATEST: i32 = 0;
/// At the oldest message that is still there.
pub const UFR_START_OLDEST: i32 = 1;
/// At a position.
pub const UFR_START_POSITION: i32 = 2;
/// Where it was: only a durable group that is open can be resumed.
pub const UFR_START_RESUME: i32 = 3;

/// How a group keeps its place: as it is; a new one as `UFR_GROUP_PASSING`.
pub const UFR_GROUP_UNSET: i32 = 0;
/// Only while it has a living member.
pub const UFR_GROUP_PASSING: i32 = 1;
/// Always: producers wait for it until somebody joins it again, or removes it.
pub const UFR_GROUP_DURABLE: i32 = 2;

/// What happens to a group that does not keep up: as it is; to a new one as `UFR_SLOW_WAIT`.
pub const UFR_SLOW_UNSET: i64 = 0;
/// Producers wait for it.
pub const UFR_SLOW_WAIT: i64 = -1;

/// Producers do not wait for a group: nobody is in it, and it keeps no place.
pub const UFR_GROUP_CLOSED: i32 = 0;
/// Producers wait for it.
pub const UFR_GROUP_OPEN: i32 = 1;
/// It was evicted, and no member has received since.
pub const UFR_GROUP_EVICTED: i32 = 2;

/// How a group is to be joined. Fill it with `ufr_join_init`, then change what you choose.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ufr_join {
    /// Size of this structure in the caller's header; `ufr_join_init` fills it in.
    pub size: usize,
    /// Where it starts, with `UFR_START_POSITION`.
    pub position: u64,
    /// `UFR_SLOW_...`, or for how many nanoseconds producers wait while it receives nothing; then it
    /// is evicted: they go on without it, and its members get `UFR_ERR_EVICTED`.
    pub evict_after_ns: i64,
    /// `UFR_START_...`. A group that is open goes on where it is.
    pub start: i32,
    /// `UFR_GROUP_...`.
    pub keeps: i32,
    /// `UFR_SIDE_...` of its members. Default: as the group is; a new one is shared.
    pub sharing: i32,
    /// 0.
    pub reserved: i32,
}

const NOTHING_CHOSEN: ufr_join = ufr_join {
    size: size_of::<ufr_join>(),
    position: 0,
    evict_after_ns: UFR_SLOW_UNSET,
    start: UFR_START_LATEST,
    keeps: UFR_GROUP_UNSET,
    sharing: UFR_SIDE_UNSET,
    reserved: 0,
};

/// Fills in `*join`: its size, and nothing chosen.
///
/// Returns `UFR_OK`, or `UFR_ERR_NULL`. Thread-safe. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_join_init(join: *mut ufr_join) -> i32 {
    guarded(|| {
        not_null(join, "join")?;
        // SAFETY: the caller has a structure there, and of this header's size.
        unsafe { join.write(NOTHING_CHOSEN) };
        Ok(UFR_OK)
    })
}

/// Takes a consumer of the group called `group`, which is made if it is not there, of a ring that was
/// made with `joinable`. `join` may be NULL: nothing is chosen.
///
/// Else as `ufr_consumer_new`; also returns `UFR_ERR_GROUPS`, `UFR_ERR_NO_SUCH_GROUP`,
/// `UFR_ERR_GROUP_DIFFERS`, `UFR_ERR_BUSY`. May wait half a second for somebody who opens the group.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_consumer_join(
    ring: *mut ufr_ring,
    group: *const c_char,
    join: *const ufr_join,
    consumer: *mut *mut ufr_consumer,
) -> i32 {
    // SAFETY: as the header asks of the caller.
    unsafe {
        make::consumer(ring, consumer, |ring| {
            let group = text(group, "group")?;
            if join.is_null() {
                return joined(ring, group, &NOTHING_CHOSEN);
            }
            // Of another size, no more of it is read.
            if (&raw const (*join).size).read() != size_of::<ufr_join>() || (*join).reserved != 0 {
                return Err(failure::invalid(&"call ufr_join_init first"));
            }
            joined(ring, group, &join.read())
        })
    }
}

/// Joins a group as it is asked for.
fn joined(
    ring: &UltraFastRing,
    group: &str,
    chosen: &ufr_join,
) -> Result<Result<ultrafastring::Consumer, ultrafastring::RingError>, i32> {
    let starts = [
        (UFR_START_LATEST, Start::Latest),
        (UFR_START_OLDEST, Start::Oldest),
        (UFR_START_POSITION, Start::Position(chosen.position)),
        (UFR_START_RESUME, Start::Resume),
    ];
    let join = ring.join(group).start(choice(chosen.start, &starts, "start")?);
    let keeps = [(UFR_GROUP_UNSET, 0), (UFR_GROUP_PASSING, 1), (UFR_GROUP_DURABLE, 2)];
    let join = match choice(chosen.keeps, &keeps, "keeps")? {
        0 => join,
        1 => join.passing(),
        _ => join.durable(),
    };
    let sides = [(UFR_SIDE_UNSET, 0), (UFR_SIDE_SHARED, 1), (UFR_SIDE_EXCLUSIVE, 2)];
    let join = match choice(chosen.sharing, &sides, "sharing")? {
        0 => join,
        1 => join.shared(),
        _ => join.exclusive(),
    };
    let join = match chosen.evict_after_ns {
        UFR_SLOW_UNSET => join,
        UFR_SLOW_WAIT => join.slow(Slow::Wait),
        after => {
            let Ok(after) = u64::try_from(after) else {
                return Err(failure::invalid(&format_args!(
                    "evict_after_ns is {after}; use UFR_SLOW_WAIT, or a positive time"
                )));
            };
            join.slow(Slow::Evict { after: Duration::from_nanos(after) })
        }
    };
    Ok(join.consumer())
}

/// Removes a group: producers do not wait for it any more, and its name is free.
///
/// Returns `UFR_OK`, `UFR_ERR_GROUPS`, `UFR_ERR_NO_SUCH_GROUP`, `UFR_ERR_BUSY` if it has a living
/// member, or another code. Thread-safe. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_ring_remove_group(ring: *mut ufr_ring, group: *const c_char) -> i32 {
    guarded(|| {
        // SAFETY: as the header asks of the caller.
        let (ring, group) = unsafe { (handle::ring(ring)?, text(group, "group")?) };
        ring.ring.remove_group(group).map_err(|error| failure::ring(&error))?;
        Ok(UFR_OK)
    })
}

/// What the ring tells of a group.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ufr_group_info {
    /// Its name, and a zero after it.
    pub name: [c_char; 40],
    /// The next position that it receives.
    pub consumer_head: u64,
    /// Up to where it has released: what producers wait for.
    pub consumer_tail: u64,
    /// How many positions it is behind the producers; 0 if it is not open.
    pub lag: u64,
    /// How many entries are its members', of the living and of the dead whose work nobody has
    /// finished.
    pub members: usize,
    /// `UFR_SLOW_WAIT`, or for how many nanoseconds producers wait for it.
    pub evict_after_ns: i64,
    /// `UFR_GROUP_CLOSED`, `UFR_GROUP_OPEN` or `UFR_GROUP_EVICTED`.
    pub state: i32,
    /// `UFR_GROUP_PASSING` or `UFR_GROUP_DURABLE`.
    pub keeps: i32,
    /// `UFR_SIDE_...` of its members.
    pub sharing: i32,
    /// 0.
    pub reserved: i32,
}

fn told(group: &GroupInfo) -> ufr_group_info {
    ufr_group_info {
        name: handle::name_in_c(group.name.as_str()),
        consumer_head: group.consumer_head,
        consumer_tail: group.consumer_tail,
        lag: group.lag,
        members: group.members,
        evict_after_ns: match group.slow {
            Slow::Wait => UFR_SLOW_WAIT,
            Slow::Evict { after } => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        },
        state: match group.state {
            GroupState::Open => UFR_GROUP_OPEN,
            GroupState::Evicted => UFR_GROUP_EVICTED,
            _ => UFR_GROUP_CLOSED,
        },
        keeps: if group.durable { UFR_GROUP_DURABLE } else { UFR_GROUP_PASSING },
        sharing: side_number(group.sharing),
        reserved: 0,
    }
}

/// Fills `groups`, which has room for `most`, with the groups of the ring; `groups` may be NULL if
/// `most` is 0.
///
/// Returns how many groups there are, which may be more than `most`; none in a ring that is not
/// joinable. Or `UFR_ERR_NULL`. Thread-safe. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_ring_groups(
    ring: *const ufr_ring,
    groups: *mut ufr_group_info,
    most: usize,
) -> isize {
    // SAFETY: as the header asks of the caller.
    guarded(|| unsafe { tell_groups(&handle::ring(ring)?.ring, groups, most) })
}

/// Writes the groups of a ring to `groups`, and says how many there are.
///
/// # Safety
///
/// `groups` is null, or has room for `most`.
pub(crate) unsafe fn tell_groups(
    ring: &RingView,
    groups: *mut ufr_group_info,
    most: usize,
) -> Result<isize, i32> {
    if most != 0 {
        not_null(groups, "groups")?;
    }
    let mut count = 0;
    for group in ring.groups() {
        if count < most {
            // SAFETY: as the caller promises.
            unsafe { groups.add(count).write(told(&group)) };
        }
        count += 1;
    }
    Ok(count as isize)
}
