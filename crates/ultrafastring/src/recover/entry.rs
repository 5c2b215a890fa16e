//! Holding an entry of the participant table.

use super::finish::{Adopted, finish_for_newcomer};
use super::info::holder_of;
use super::liveness::Liveness;
use crate::choices::{GroupSettings, Slow};
use crate::error::RingError;
use crate::group::closing;
use crate::layout::group::Membership;
use crate::layout::locks::Place;
use crate::layout::participant::{Identity, Participant, Role};
use crate::name::ParticipantName;
use crate::own::Own;
use crate::segment::Segment;
use crate::segment::group::Readers;
use crate::segment::lock::Locker;
use crate::settings::Sharing;
use crate::sync::{Ordering, fence};
use crate::waiting::bell;

/// An entry of the table that a handle holds. There is no other way to write one. Dropping it frees
/// the entry and gives the locks back.
#[derive(Debug)]
pub(crate) struct Entry {
    segment: Segment,
    locker: Locker,
    index: usize,
    role: Role,
    /// How its holder works.
    own: Own,
    /// The group that the entry names; none in a plain ring, and of a producer.
    membership: Membership,
    /// The group that its holder has joined, by name: its row may be given to another.
    group: Option<(ParticipantName, GroupSettings)>,
    /// The row of the exclusive group that the holder has alone.
    alone: Option<usize>,
    /// Whether the group may be evicted.
    evictable: bool,
    /// Whether the holder is the only member that the group can have, and it is not evicted.
    sole: bool,
    /// How many messages the group has missed that the holder is to be told of; `None` if it is
    /// not.
    missed: Option<u64>,
}

impl Entry {
    /// Finds a free entry for a new handle, after taking the side if it is exclusive. A dead
    /// consumer's messages may come with it, which the new consumer delivers first.
    pub(crate) fn attach(
        segment: &Segment,
        role: Role,
        locker: Locker,
        identity: &Identity,
    ) -> Result<(Self, Option<Adopted>), RingError> {
        let actual = segment.settings().sharing(role.side);
        if actual != role.sharing {
            return Err(RingError::WrongSharing { side: role.side, actual });
        }
        let (entry, adopted) = Self::attach_to(segment, role, locker, None, identity)?;
        entry.note_arrival();
        Ok((entry, adopted))
    }

    /// Counts the holder as one that has come: a member once it has joined its group.
    pub(crate) fn note_arrival(&self) {
        // Release: whoever sees it counted finds its entry introduced and locked, or left again.
        // One that is killed before it is counted has not been here.
        let arrivals = &self.segment.control().arrivals[self.role.side as usize];
        arrivals.fetch_add(1, Ordering::Release);
    }

    /// As [`attach`](Self::attach), for a new member of the group in a `row`, which it is yet to
    /// join.
    pub(crate) fn attach_to(
        segment: &Segment,
        role: Role,
        locker: Locker,
        row: Option<usize>,
        identity: &Identity,
    ) -> Result<(Self, Option<Adopted>), RingError> {
        bell::join(segment);
        let exclusive = role.sharing == Sharing::Exclusive && !segment.is_side_of_groups(role.side);
        if exclusive && !locker.try_lock(segment, Place::Side(role.side))? {
            return Err(RingError::SideTaken {
                side: role.side,
                holder: holder_of(segment, role.side),
            });
        }
        let taken = match Self::take_entry(segment, &locker, role, row) {
            // Another newcomer may be examining the entries of dead participants (`tidy_up`). It
            // finishes or frees them in a moment.
            Ok(None) => Self::take_entry(segment, &locker, role, row),
            done => done,
        };
        let (index, adopted) = match taken {
            Ok(Some(entry)) => entry,
            other => {
                if exclusive {
                    locker.unlock(segment, Place::Side(role.side));
                }
                other?;
                return Err(RingError::TableFull { participants: segment.settings().participants });
            }
        };
        segment.participant(index).introduce(role, identity);
        locker.unlock(segment, Place::Work(index));
        let (own, membership) = (Own::of(role.sharing), Membership::NONE);
        let segment = segment.clone();
        Ok((
            Self {
                segment,
                locker,
                index,
                role,
                own,
                membership,
                group: None,
                alone: None,
                evictable: false,
                sole: false,
                missed: None,
            },
            adopted,
        ))
    }

    /// Locks a free entry, or else one whose dead holder left only work that this side can finish
    /// itself.
    fn take_entry(
        segment: &Segment,
        liveness: &dyn Liveness,
        role: Role,
        row: Option<usize>,
    ) -> Result<Option<(usize, Option<Adopted>)>, RingError> {
        let count = segment.settings().participants;
        let (mut backed, mut refused) = (count, Ok(None));
        for index in 0..count {
            if let Err(error) = segment.back_entry(index) {
                // Those before it may still be the dead's.
                (backed, refused) = (index, Err(error));
                break;
            }
            let participant = segment.participant(index);
            if !participant.is_free() || !liveness.try_take(segment, index)? {
                continue;
            }
            if participant.is_free() {
                // Before anything is shown in the entry, scans must reach it.
                segment.note_entry_used(index);
                return Ok(Some((index, None)));
            }
            liveness.give_back(segment, index);
        }
        for index in 0..backed {
            if liveness.try_take(segment, index)? {
                let (free, adopted) = finish_for_newcomer(segment, liveness, index, role.side, row);
                if free {
                    // Its last holder may have died before it did this.
                    segment.note_entry_used(index);
                    return Ok(Some((index, adopted)));
                }
                liveness.give_back(segment, index);
            }
        }
        refused
    }

    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Says whether its holder, without credit, does more than in a plain ring.
    pub(crate) fn set_apart(&mut self, apart: bool) {
        self.segment.set_apart(apart);
    }

    pub(crate) fn locker(&self) -> &Locker {
        &self.locker
    }

    /// How its holder works.
    #[inline(always)]
    pub(crate) fn own(&self) -> Own {
        self.own
    }

    /// The group that it names.
    #[inline(always)]
    pub(crate) fn membership(&self) -> Membership {
        self.membership
    }

    /// Those with whom its holder shares the messages.
    #[inline(always)]
    pub(crate) fn readers(&self) -> Readers<'_> {
        self.segment.readers(self.membership)
    }

    /// Names the group that its holder is about to join, before it counts itself in; nothing is
    /// shown in it.
    pub(crate) fn name_group(&mut self, membership: Membership) {
        self.membership = membership;
        if self.own != Own::Lanes {
            self.own = Own::Member;
        }
        self.participant().name_group(membership);
    }

    /// Notes that its holder works on all lanes, of which this entry is in the first.
    #[cfg(feature = "alloc")]
    pub(crate) fn work_on_all_lanes(&mut self) {
        self.own = Own::Lanes;
    }

    /// The group that its holder has joined, and how it was made.
    pub(crate) fn group(&self) -> Option<(ParticipantName, GroupSettings)> {
        self.group
    }

    /// Notes which group its holder has joined.
    pub(crate) fn note_group(&mut self, name: ParticipantName, settings: GroupSettings) {
        self.group = Some((name, settings));
        self.evictable = settings.slow != Slow::Wait;
        self.sole = self.alone.is_some() && !self.evictable;
    }

    /// Whether nobody but its holder moves its group's cursor as long as the holder lives: in an
    /// exclusive group that is waited for.
    #[inline(always)]
    pub(crate) fn is_sole(&self) -> bool {
        self.sole
    }

    /// Whether its holder's group may be evicted: then each copy is followed by a look at the gate.
    #[inline(always)]
    pub(crate) fn is_evictable(&self) -> bool {
        self.evictable
    }

    /// Whether the group is not open any more in the generation that its holder has joined.
    pub(crate) fn is_over(&self) -> bool {
        let generation = self.membership.generation();
        self.readers().row().is_some_and(|row| !row.is_open_in(generation))
    }

    /// Notes what its group has missed.
    pub(crate) fn note_missed(&mut self, missed: u64) {
        self.missed = Some(missed);
    }

    /// Whether its holder has to be told what its group has missed.
    pub(crate) fn has_to_say(&self) -> bool {
        self.missed.is_some()
    }

    /// What its group has missed, once.
    pub(crate) fn take_missed(&mut self) -> Option<u64> {
        self.missed.take()
    }

    /// The row of the exclusive group that its holder has alone.
    pub(crate) fn alone(&self) -> Option<usize> {
        self.alone
    }

    /// Takes the only place of an exclusive group; `false` if somebody has it.
    pub(crate) fn take_alone(&mut self, row: usize) -> Result<bool, RingError> {
        self.leave_alone();
        let taken = self.locker.try_lock(&self.segment, Place::Member(row))?;
        self.alone = taken.then_some(row);
        Ok(taken)
    }

    /// Gives the only place of an exclusive group back.
    pub(crate) fn leave_alone(&mut self) {
        if let Some(row) = self.alone.take() {
            self.locker.unlock(&self.segment, Place::Member(row));
        }
    }

    #[inline(always)]
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    #[inline(always)]
    pub(crate) fn participant(&self) -> &Participant {
        self.segment.participant(self.index)
    }
}

#[cfg(loom)]
impl Entry {
    /// Gives the locks back as the kernel does when a process dies, and nothing else: what the
    /// entry shows stays. The entry must not be used or dropped afterwards.
    pub(crate) fn die(&mut self) {
        self.leave_alone();
        self.locker.unlock(&self.segment, Place::Entry(self.index));
        if self.role.sharing == Sharing::Exclusive
            && !self.segment.is_side_of_groups(self.role.side)
        {
            self.locker.unlock(&self.segment, Place::Side(self.role.side));
        }
        // SAFETY: nobody uses it again, as the caller promises. It gives back its share of the
        // memory, which every one of the thousands of runs of a model would leak else.
        unsafe { core::ptr::drop_in_place(&raw mut self.segment) };
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let participant = self.participant();
        // Only a consumer whose entry shows a dead predecessor's hold leaves with work unfinished
        // (`Consumer::drop`); its entry then stays taken, and the next one finds it as dead.
        participant.vacate_if_clear();
        if let Some(row) = self.membership.row() {
            // After its name is gone: the last that leaves a passing group closes it. SeqCst: pairs
            // with itself in another member that leaves at once. One of the two finds the name of
            // the other gone.
            fence(Ordering::SeqCst);
            closing::close_if_deserted(&self.segment, &self.locker, row);
        }
        self.locker.unlock(&self.segment, Place::Entry(self.index));
        self.leave_alone();
        if self.role.sharing == Sharing::Exclusive
            && !self.segment.is_side_of_groups(self.role.side)
        {
            self.locker.unlock(&self.segment, Place::Side(self.role.side));
        }
        // Waiters for this side may want to know that a handle has left.
        bell::wake_all(&self.segment, self.role.side.other());
    }
}

#[cfg(all(test, feature = "alloc", not(loom)))]
mod tests {
    use super::*;
    use crate::ring::UltraFastRing;
    use crate::settings::Side;

    #[test]
    fn an_entry_that_is_got_at_second_sight_is_one_that_scans_reach() {
        let ring = UltraFastRing::builder().participants(1).heap().unwrap();
        let segment = ring.segment();
        let role = Role { side: Side::Consumer, sharing: Sharing::Shared };
        // As if another newcomer had it at the first look and died before the second.
        let locker = segment.locker().unwrap();
        segment.participant(0).introduce(role, &Identity::default());
        assert_eq!(segment.entries_used(), 0);
        let entry = Entry::take_entry(segment, &locker, role, None).unwrap();
        assert!(matches!(entry, Some((0, None))));
        assert_eq!(segment.entries_used(), 1);
    }
}
