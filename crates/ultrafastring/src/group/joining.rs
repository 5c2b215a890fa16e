//! Becoming a member of a group.
//!
//! ```text
//!  gate open, head of its generation? ── name it in the entry ── count oneself in ── read the head
//!  not open, or not finished?         ── under its lock: opening.rs
//! ```

#[cfg(feature = "std")]
use core::time::Duration;

use super::{closing, opening, rows};
use crate::choices::{GroupSettings, Start, Wish};
use crate::error::RingError;
use crate::layout::group::{Membership, Row};
use crate::layout::locks::Place;
use crate::limits::MAX_PARTICIPANTS;
use crate::recover::entry::Entry;
use crate::recover::finish::Adopted;
use crate::settings::Sharing;
use crate::sync::{Ordering, fence};

/// How often a newcomer tries again while somebody else is opening the group, or changes its row:
/// half a second, if it can sleep.
const MOST_TRIES: u32 = 500;

/// Makes the holder of `entry`, which was taken for it, a member of a group. `adopted`, which came
/// with the entry, is what a dead member of the group held; it is given back if it is to be
/// delivered.
///
/// # Errors
///
/// [`RingError::NoSuchGroup`], [`RingError::GroupDiffers`], [`RingError::TooManyGroups`],
/// [`RingError::GroupTaken`], [`RingError::Busy`], or what the system says.
pub(crate) fn join(
    entry: &mut Entry,
    wish: &Wish,
    mut adopted: Option<Adopted>,
) -> Result<Option<Adopted>, RingError> {
    for _ in 0..MOST_TRIES {
        match try_join(entry, wish, &mut adopted) {
            Ok(true) => return Ok(adopted),
            Ok(false) => pause(),
            Err(error) => {
                leave(entry, &mut adopted);
                return Err(error);
            }
        }
    }
    leave(entry, &mut adopted);
    Err(RingError::Busy { name: wish.name })
}

/// Makes the holder of an `entry` in a later lane the member there that it is by its entry in the
/// first lane, which alone counts in the gate. `adopted`, which came with the entry, is what a dead
/// member held there; it is given back if it is to be delivered.
#[cfg(feature = "alloc")]
pub(crate) fn follow(
    entry: &mut Entry,
    first: &Entry,
    mut adopted: Option<Adopted>,
) -> Option<Adopted> {
    // What a dead one held in this generation is shown in the entry under its name, and stays so.
    if entry.participant().membership() != first.membership() {
        drop_adopted(entry, &mut adopted);
    }
    // The entry in the first lane names this generation. So its last bits do not come again.
    entry.name_group(first.membership());
    if let Some((name, settings)) = first.group() {
        entry.note_group(name, settings);
    }
    adopted
}

/// Has the member whose group was evicted, or opened again since, join it again, at the latest.
/// `false` if that has to be tried again: it never waits. The entry names a generation that is over
/// then, and a group all the while.
pub(crate) fn rejoin(entry: &mut Entry) -> bool {
    if entry.segment().index() != 0 {
        // Its holder joins by its entry in the first lane, which this one follows.
        return false;
    }
    let Some((name, settings)) = entry.group() else { return false };
    let membership = entry.membership();
    // By its name: the row may be another group's by now. One that others have made again is joined
    // as it is; one that is gone is made as it was.
    let made = rows::find(entry.segment(), &name).is_none().then_some(settings);
    let wish = Wish {
        name,
        start: Start::Latest,
        durable: made.map(|it| it.durable),
        sharing: made.map(|it| it.sharing),
        slow: made.map(|it| it.slow),
    };
    let joined = matches!(try_join(entry, &wish, &mut None), Ok(true));
    if !joined {
        name_again(entry, membership);
    }
    joined
}

/// Names a generation that is over in the entry of a member that could not join the next: the one
/// that it named before, if its last bits have not come again meanwhile.
fn name_again(entry: &mut Entry, mut membership: Membership) {
    loop {
        entry.name_group(membership);
        // SeqCst: pairs with the fence in `next_generation`. Either that finds the name, or this
        // look the gate that was seen there.
        fence(Ordering::SeqCst);
        let Some(row) = membership.row() else { return };
        let Some(gate) = entry.segment().row(row).map(Row::gate) else { return };
        if gate.is_within_a_turn_of(membership) {
            return;
        }
        membership = Membership::of(row, gate.earlier());
    }
}

fn pause() {
    #[cfg(feature = "std")]
    std::thread::sleep(Duration::from_millis(1));
    #[cfg(not(feature = "std"))]
    crate::sync::pause();
}

/// Leaves the entry as one that belongs to no group; what came with it stays for a member.
fn leave(entry: &mut Entry, adopted: &mut Option<Adopted>) {
    if adopted.is_none() {
        entry.name_group(Membership::NONE);
    }
}

/// As [`join`]; `false` if it has to be tried again.
fn try_join(
    entry: &mut Entry,
    wish: &Wish,
    adopted: &mut Option<Adopted>,
) -> Result<bool, RingError> {
    let segment = entry.segment().clone();
    let row = match wish.start {
        Start::Resume => rows::find(&segment, &wish.name),
        _ => match rows::find_or_make(&segment, entry.locker(), &wish.name, wish.settings())? {
            None => return Ok(false),
            row => row,
        },
    };
    let it = row.and_then(|row| segment.row(row));
    let (Some(row), Some(it)) = (row, it) else {
        return Err(RingError::NoSuchGroup { name: wish.name });
    };
    let Some(settings) = it.settings() else { return Ok(false) };
    if let Some(differences) = wish.differences(settings) {
        // If it is still this group's row.
        if it.name() != wish.name {
            return Ok(false);
        }
        return Err(RingError::GroupDiffers { name: wish.name, differences });
    }
    let alone = entry.alone() == Some(row);
    if settings.sharing == Sharing::Exclusive && !alone && !entry.take_alone(row)? {
        return Err(RingError::GroupTaken { name: wish.name });
    }
    let joined = try_join_row(entry, (row, settings), it, wish, adopted);
    if matches!(joined, Ok(true)) {
        entry.note_group(wish.name, settings);
    } else if !alone {
        entry.leave_alone();
    }
    joined
}

/// As [`try_join`], in a row that has the wanted settings, which are these.
fn try_join_row(
    entry: &mut Entry,
    (row, settings): (usize, GroupSettings),
    it: &Row,
    wish: &Wish,
    adopted: &mut Option<Adopted>,
) -> Result<bool, RingError> {
    let segment = entry.segment().clone();
    // One whose members are all dead begins anew.
    closing::close_if_deserted(&segment, entry.locker(), row);
    let gate = it.gate();
    // After the gate: a row is given to another name, or to the same with other settings, only
    // while it is closed.
    if it.settings() != Some(settings) || it.name() != wish.name {
        return Ok(false);
    }
    if gate.is_open() && opening::is_published(&segment, row, gate) {
        return Ok(count_in(entry, it, Membership::of(row, gate.generation), adopted));
    }
    if wish.start == Start::Resume && !gate.is_open() {
        return Err(RingError::NoSuchGroup { name: wish.name });
    }
    drop_adopted(entry, adopted);
    if !entry.locker().try_lock(&segment, Place::Group(row))? {
        return Ok(false);
    }
    let opened = opening::open(entry, (row, settings), wish);
    entry.locker().unlock(&segment, Place::Group(row));
    Ok(opened)
}

/// Names a group in the entry, and counts its holder in if the gate is still that of this
/// generation.
fn count_in(
    entry: &mut Entry,
    it: &Row,
    membership: Membership,
    adopted: &mut Option<Adopted>,
) -> bool {
    // What a dead one held in this generation is shown in the entry under its name, and stays so.
    if entry.participant().membership() != membership {
        drop_adopted(entry, adopted);
    }
    entry.name_group(membership);
    // Each of those who were faster is counted, so only one that rewrites the gate leads so far.
    for _ in 0..MAX_PARTICIPANTS {
        let gate = it.gate();
        if !gate.is_open() || gate.generation != membership.generation() {
            return false;
        }
        if it.change(gate, gate.joined()) {
            return true;
        }
    }
    false
}

/// Forgets what a dead member of an earlier generation held.
fn drop_adopted(entry: &mut Entry, adopted: &mut Option<Adopted>) {
    if adopted.take().is_some() {
        entry.participant().clear_hold();
    }
}

#[cfg(all(test, feature = "std", not(loom)))]
mod tests {
    use std::time::Instant;
    use std::vec::Vec;

    use super::*;
    use crate::choices::Slow;
    use crate::error::RecvError;
    use crate::group::info::GroupState;
    use crate::layout::group::{Gate, State};
    use crate::layout::participant::{Identity, Role};
    use crate::name::ParticipantName;
    use crate::priority::PriorityClass;
    use crate::ring::UltraFastRing;
    use crate::segment::Segment;
    use crate::settings::Side;
    use crate::waiting::any::wait_any;
    use crate::waiting::strategy::WaitStrategy;

    /// Time of a processor that this thread has used, and how often it slept.
    fn used() -> (Duration, i64) {
        // SAFETY: all zeros are a value of it, which the call below overwrites.
        let mut usage: libc::rusage = unsafe { core::mem::zeroed() };
        // SAFETY: `usage` is written and nothing else.
        assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) }, 0);
        let time = |it: libc::timeval| {
            Duration::from_secs(it.tv_sec as u64) + Duration::from_micros(it.tv_usec as u64)
        };
        (time(usage.ru_utime) + time(usage.ru_stime), usage.ru_nvcsw)
    }

    /// A ring with a member whose group was evicted.
    fn evicted() -> (UltraFastRing, crate::Consumer) {
        let ring = UltraFastRing::builder().joinable().capacity(8).heap().unwrap();
        let slow = Slow::Evict { after: Duration::from_millis(1) };
        let member = ring.join("group").slow(slow).consumer().unwrap();
        let mut producer = ring.producer().unwrap();
        for number in 0..9u64 {
            producer.send(&number.to_le_bytes(), PriorityClass::Normal).unwrap();
        }
        assert_eq!(ring.segment().row(0).unwrap().gate().state, State::Evicted);
        (ring, member)
    }

    #[test]
    fn a_member_comes_back_to_its_own_group_and_not_to_the_one_that_has_its_row() {
        let (ring, mut member) = evicted();
        let it = ring.segment().row(0).unwrap();
        let gate = it.gate();
        assert!(it.change(gate, Gate { state: State::Closed, ..gate }));
        it.name_it(&ParticipantName::new("other"), GroupSettings::default());
        assert!(member.try_recv().is_err());
        let groups: Vec<_> = ring.groups().map(|it| (it.name, it.state, it.slow)).collect();
        let slow = Slow::Evict { after: Duration::from_millis(1) };
        assert_eq!(groups[0].1, GroupState::Closed, "{groups:?}");
        assert_eq!(groups[1].0.as_str(), "group");
        assert_eq!((groups[1].1, groups[1].2), (GroupState::Open, slow));
    }

    #[cfg_attr(miri, ignore = "it has no getrusage")]
    #[test]
    fn a_member_that_cannot_come_back_just_now_neither_waits_nor_is_without_a_group() {
        let (ring, mut member) = evicted();
        let (segment, locker) = (ring.segment(), ring.segment().locker().unwrap());
        let named = segment.participant(0).membership();
        assert!(locker.try_lock(segment, Place::Group(0)).unwrap());
        let before = used().1;
        for _ in 0..100 {
            assert_eq!(member.try_recv().unwrap_err(), RecvError::Empty);
        }
        assert!(used().1 - before < 50, "it slept {} times", used().1 - before);
        assert_eq!(segment.participant(0).membership(), named);
        for strategy in [WaitStrategy::Park, WaitStrategy::SpinThenPark] {
            member.set_wait_strategy(strategy);
            let before = used().0;
            let waited = member.recv_timeout(Duration::from_secs(1));
            assert_eq!(waited.unwrap_err(), RecvError::TimedOut);
            let time = used().0 - before;
            assert!(time < Duration::from_millis(5), "{strategy:?} took {time:?}");
        }
        locker.unlock(segment, Place::Group(0));
        assert_eq!(member.recv().unwrap_err(), RecvError::Evicted { missed: 9 });
    }

    #[test]
    fn what_was_missed_is_said_by_the_call_after_a_wait_that_joined_again() {
        let (_ring, mut member) = evicted();
        for _ in 0..2 {
            let soon = Instant::now() + Duration::from_secs(1);
            assert_eq!(wait_any(&mut [&mut member], Some(soon)), Some(0));
        }
        assert_eq!(member.try_recv().unwrap_err(), RecvError::Evicted { missed: 9 });
    }

    /// An entry for a new member of the group in the first row.
    fn attach(segment: &Segment, role: Role) -> (Entry, Option<Adopted>) {
        let locker = segment.locker().unwrap();
        Entry::attach_to(segment, role, locker, Some(0), &Identity::default()).unwrap()
    }

    #[test]
    fn a_name_is_given_again_only_if_no_later_generation_can_be_taken_for_it() {
        let (ring, _member) = evicted();
        let segment = ring.segment();
        let role = Role { side: Side::Consumer, sharing: Sharing::Shared };
        let (mut entry, _) = attach(segment, role);
        let it = segment.row(0).unwrap();
        let before = it.gate();
        let named = Membership::of(0, before.generation);
        for (by, again) in [(0, 0), (126, 0), (127, 126), (1_000, 999)] {
            let gate = it.gate();
            assert!(it.change(gate, Gate { generation: before.later(by), ..gate }));
            name_again(&mut entry, named);
            let expected = Membership::of(0, before.later(again));
            assert_eq!(segment.participant(entry.index()).membership(), expected);
        }
    }

    #[test]
    fn a_group_that_was_made_again_otherwise_since_it_was_looked_at_is_not_joined() {
        let ring = UltraFastRing::builder().joinable().heap().unwrap();
        let _only = ring.join("group").exclusive().consumer().unwrap();
        let segment = ring.segment();
        let role = Role { side: Side::Consumer, sharing: Sharing::Shared };
        let (mut entry, mut adopted) = attach(segment, role);
        let wish = Wish::as_it_is(ParticipantName::new("group"), Start::Latest);
        // As if it had been a shared one then.
        let seen = GroupSettings::default();
        let it = segment.row(0).unwrap();
        assert!(!try_join_row(&mut entry, (0, seen), it, &wish, &mut adopted).unwrap());
    }
}
