//! What the table of groups tells people.

use super::passed::passed;
use crate::choices::Slow;
use crate::layout::group::{Membership, State, position_of};
use crate::layout::participant::Participant;
use crate::name::ParticipantName;
use crate::segment::Segment;
use crate::settings::Sharing;
use crate::sync::look_at;

/// Whether producers wait for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GroupState {
    /// They do not: nobody is in it, and it keeps no place.
    Closed,
    /// They do.
    Open,
    /// They do not any more, since it did not keep up.
    Evicted,
}

/// What the table tells of a group; all of it untrusted.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct GroupInfo {
    /// Its row in the table of groups.
    pub row: usize,
    /// Its name.
    pub name: ParticipantName,
    /// How it is shared.
    pub sharing: Sharing,
    /// Whether it keeps its place while it has no member.
    pub durable: bool,
    /// What happens if it does not keep up.
    pub slow: Slow,
    /// Whether producers wait for it.
    pub state: GroupState,
    /// How many entries are its members', of the living and of the dead whose work nobody has
    /// finished.
    pub members: usize,
    /// The next position that it receives.
    pub consumer_head: u64,
    /// Its release frontier, as announced: what producers wait for.
    pub consumer_tail: u64,
    /// How many messages it has received in all its time, those included that dead producers did
    /// not finish, which it skipped; not those that it [missed](Self::missed). On a row that is
    /// given to another name it begins at 0.
    pub received: u64,
    /// How many positions it is behind the producers.
    pub lag: u64,
    /// How often producers have let go of it, since it did not keep up.
    pub evictions: u64,
    /// How many positions it has missed by that, all together.
    pub missed: u64,
}

/// The groups that have a row, with where producers have come.
pub(crate) fn infos(segment: &Segment, producers_at: u64) -> impl Iterator<Item = GroupInfo> {
    segment.rows().filter_map(move |(row, it)| {
        let settings = it.settings()?;
        let gate = it.look_at_gate();
        let cursor = segment.cursor_of(row);
        let membership = Membership::of(row, gate.generation);
        let has = |it: &Participant| it.look_at_membership() == membership;
        let consumer_tail = position_of(look_at(&cursor.consumer_tail));
        let consumer_head = position_of(look_at(&cursor.consumer_head));
        Some(GroupInfo {
            row,
            name: it.name(),
            sharing: settings.sharing,
            durable: settings.durable,
            slow: settings.slow,
            state: match gate.state {
                State::Closed => GroupState::Closed,
                State::Open => GroupState::Open,
                State::Evicted => GroupState::Evicted,
            },
            members: segment.entries().filter(|(_, participant)| has(participant)).count(),
            consumer_head,
            consumer_tail,
            received: passed(cursor),
            evictions: look_at(&it.evictions),
            missed: look_at(&it.missed),
            lag: if gate.is_open() { producers_at.saturating_sub(consumer_head) } else { 0 },
        })
    })
}
