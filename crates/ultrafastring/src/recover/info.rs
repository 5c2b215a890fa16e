//! What the participant table shows to users.

use super::finish::unsettled_intent;
use crate::error::Holder;
use crate::layout::locks::Place;
use crate::layout::participant::{Identity, Participant};
use crate::layout::span::Span;
use crate::name::ParticipantName;
use crate::priority::PriorityClass;
use crate::segment::Segment;
use crate::segment::lock::Locker;
use crate::settings::{Sharing, Side};
use crate::statistics::LaneStats;

/// How it is known whether a participant is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Evidence {
    /// By its lock, which the kernel gives back when the participant is gone. This is certain.
    Lock,
    /// By its process: whether there is one with the pid and the start time in the entry. This is
    /// for observers that may not see the locks. It is not certain: a peer wrote the entry, and the
    /// process may have dropped the handle.
    Process,
    /// It is not known: neither lock nor process can be seen from here. The participant counts as
    /// alive.
    Unknown,
}

/// What an entry of the participant table says. A peer wrote it, so it may be wrong, except
/// `index`, `lane`, and `alive` if the [`evidence`](Self::evidence) is a lock.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ParticipantInfo {
    /// Index in the table; in a ring with lanes, in that of its lane.
    pub index: usize,
    /// The lane on which it works; 0 in a ring of one lane.
    pub lane: usize,
    /// Process id, as the participant itself sees it.
    pub pid: u32,
    /// When the process began, in clock ticks since boot (`/proc/PID/stat`, field 22).
    pub start_time: u64,
    /// Inode of its pid namespace.
    pub pid_namespace: u64,
    /// When the handle was taken, in nanoseconds since 1970.
    pub attached: u64,
    /// The name that the program gave it.
    pub name: ParticipantName,
    /// Its side.
    pub side: Side,
    /// Whether it has its side alone or shares it.
    pub sharing: Sharing,
    /// The group that it is a member of, in a ring made for groups.
    pub group: Option<ParticipantName>,
    /// Whether its holder is alive, as far as known. The holder of an adopted entry is not.
    pub alive: bool,
    /// How that is known.
    pub evidence: Evidence,
    /// First position and count of what it has claimed as a producer, or is about to claim, and not
    /// committed.
    pub intent: Option<(u64, u64)>,
    /// First position and count of what it holds as a consumer.
    pub hold: Option<(u64, u64)>,
    /// Counters of the entry: those of this holder and of earlier ones.
    pub classes: [LaneStats; PriorityClass::COUNT],
    /// Slots that the entry's holders marked abandoned in place of dead producers.
    pub abandoned: u64,
    /// Messages of dead consumers that they received again.
    pub redelivered: u64,
    /// Messages of dead consumers that they dropped.
    pub discarded: u64,
    /// Abandoned slots that they skipped.
    pub skipped: u64,
    /// Messages that they received late, [in time order](crate::Consumer::in_time_order).
    pub late: u64,
    /// How often they found no credit: see [`RingStats`](crate::RingStats).
    pub credit_stalls: u64,
    /// For how long, in ticks.
    pub credit_stall_ticks: u64,
    /// The most messages in flight that they have seen.
    pub most_in_flight: u64,
}

/// The entries in use, and what they say. `asker` finds out who is alive, if it can be asked.
pub(crate) fn infos(
    segment: Segment,
    asker: Option<Locker>,
) -> impl Iterator<Item = ParticipantInfo> {
    (0..segment.entries_used()).filter_map(move |index| {
        let unknown = (true, Evidence::Unknown);
        let alive = asker.as_ref().map_or(unknown, |asker| is_alive(&segment, asker, index));
        info(&segment, index, alive)
    })
}

/// The name of the group whose member an entry says that its holder is.
fn group_of(segment: &Segment, participant: &Participant) -> Option<ParticipantName> {
    let row = segment.row(participant.look_at_membership().row()?)?;
    row.settings().is_some().then(|| row.name())
}

/// Whether the holder of an entry is alive, and how that is known.
pub(crate) fn is_alive(segment: &Segment, asker: &Locker, index: usize) -> (bool, Evidence) {
    if asker.sees() {
        return (asker.is_locked(segment, Place::Entry(index)), Evidence::Lock);
    }
    #[cfg(feature = "std")]
    if let Some(there) = segment.participant(index).identity().process.is_there() {
        return (there, Evidence::Process);
    }
    (true, Evidence::Unknown)
}

/// Who holds an exclusive side, as far as the table says.
pub(crate) fn holder_of(segment: &Segment, side: Side) -> Option<Holder> {
    infos(segment.clone(), segment.locker().ok())
        .find(|info| info.side == side && info.alive)
        .map(|info| Holder { pid: info.pid, name: info.name })
}

/// What an entry says about its holder, with what is known already; `None` if it has no holder.
pub(crate) fn info(
    segment: &Segment,
    index: usize,
    (alive, evidence): (bool, Evidence),
) -> Option<ParticipantInfo> {
    let participant = segment.participant(index);
    let role = participant.role()?;
    let Identity { process, attached, name } = participant.identity();
    let [abandoned, redelivered, discarded, skipped, _, late] = participant.events();
    let stalls = participant.stalls();
    let pair = |span: Span| (span.first, span.count);
    Some(ParticipantInfo {
        index,
        lane: segment.index(),
        pid: process.pid,
        start_time: process.start_time,
        pid_namespace: process.namespace,
        attached,
        name,
        side: role.side,
        sharing: role.sharing,
        alive: alive && !participant.is_adopted(),
        evidence,
        intent: unsettled_intent(segment, index).map(pair),
        hold: participant.look_at_hold().map(pair),
        classes: participant.lanes(),
        group: group_of(segment, participant),
        abandoned,
        redelivered,
        discarded,
        skipped,
        late,
        credit_stalls: stalls.count,
        credit_stall_ticks: stalls.ticks,
        most_in_flight: stalls.most_in_flight,
    })
}
