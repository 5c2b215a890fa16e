//! The invariants of a segment, in use or not, and finishing what dead participants left.
//!
//! A ring in use changes while it is read. So values are read in an order in which a valid ring
//! cannot look invalid: a value that only grows, and must stay below another, is read first.
//!
//! | invariant | read in this order |
//! |---|---|
//! | `consumer_tail` ≤ `consumer_head` ≤ the producers' position | from left to right |
//! | what is in flight ≤ the capacity | the producers' position, then `consumer_tail`, or an exclusive consumer's `consumer_head` |
//! | a slot's sequence belongs to a position of that slot | one word |
//! | no slot is committed beyond what producers have claimed | the sequence, then the position |
//! | a claimed position is committed, abandoned, or shown as an intent | with nobody alive only |

use alloc::vec::Vec;
use core::fmt;

use crate::error::RingError;
use crate::group::closing;
use crate::layout::group::Membership;
use crate::layout::locks::Place;
use crate::layout::slot::{ABANDONED, SlotState, TimestampedSlot};
use crate::limits::MAX_POSITION;
use crate::observe::RingView;
use crate::observe::lane::{self, released, written_from};
use crate::recover::finish;
use crate::recover::frontier;
use crate::recover::info::{info, is_alive};
use crate::ring::UltraFastRing;
use crate::segment::Segment;
use crate::segment::lock::Locker;
use crate::settings::{Sharing, Side};
use crate::sync::look_at;

/// The most findings of one kind. A segment full of garbage would give one for each slot.
const MAX_FINDINGS: usize = 64;

/// After looking at about this many slots to find out how far producers have come, the rest is not
/// examined. So this takes at most a second, whatever the segment contains.
const MAX_STEPS: usize = 1 << 28;

/// A broken invariant, or unfinished work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// A counter is behind one that must not be ahead of it.
    Counters {
        /// The name of the one that should be behind.
        behind: &'static str,
        /// Its value.
        behind_at: u64,
        /// The name of the other.
        ahead: &'static str,
        /// The other's value.
        ahead_at: u64,
    },
    /// More messages are in flight than there are slots.
    Overfull {
        /// Messages in flight.
        in_flight: u64,
        /// Slots.
        capacity: u64,
    },
    /// A slot's sequence is that of a position in another slot, or of none.
    ForeignSequence {
        /// The slot, counted from 0.
        slot: usize,
        /// The sequence word.
        sequence: u64,
    },
    /// A slot is committed at a position that no producer has claimed.
    NotClaimed {
        /// The position.
        position: u64,
        /// The next position that producers claim.
        producer_head: u64,
    },
    /// A position was claimed and will never be committed, and no entry shows a claim to it.
    /// [`UltraFastRing::repair`] abandons it.
    Orphan {
        /// The position.
        position: u64,
    },
    /// The header, or the record of the lane, is not as it was when the ring was opened. Those who
    /// have it open go on; others cannot open it, or open it as something else.
    Overwritten,
    /// A participant died. The next participant that needs it finishes its work, or
    /// [`UltraFastRing::repair`] does.
    Dead {
        /// Its entry in the participant table.
        entry: usize,
        /// Its process id.
        pid: u32,
        /// Positions that it claimed, or was about to claim, and may not have committed: the
        /// first and how many.
        intent: Option<(u64, u64)>,
        /// Messages that it held: the position of the first and how many.
        hold: Option<(u64, u64)>,
    },
}

impl Finding {
    /// Whether the segment itself is damaged, because a program wrote where it must not. Only a new
    /// ring helps.
    pub const fn is_damage(&self) -> bool {
        !matches!(self, Self::Dead { .. } | Self::Orphan { .. })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Counters { behind, behind_at, ahead, ahead_at } => {
                write!(f, "{behind} is {behind_at}, beyond {ahead}, which is {ahead_at}")
            }
            Self::Overfull { in_flight, capacity } => {
                write!(f, "{in_flight} messages are in flight in {capacity} slots")
            }
            Self::ForeignSequence { slot, sequence } => {
                write!(f, "slot {slot} has the sequence {sequence:#x}, which is of another slot")
            }
            Self::NotClaimed { position, producer_head } => write!(
                f,
                "position {position} is committed, and producers have claimed up to {producer_head}"
            ),
            Self::Orphan { position } => {
                write!(f, "position {position} was claimed, and nobody is left to commit it")
            }
            Self::Overwritten => f.write_str(
                "the header, or the lane's record, was overwritten since the ring was opened",
            ),
            Self::Dead { entry, pid, intent, hold } => {
                write!(f, "entry {entry}: process {pid} died")?;
                if let Some((first, count)) = intent {
                    write!(f, ", sending at position {first} ({count})")?;
                }
                if let Some((first, count)) = hold {
                    write!(f, ", holding {count} from position {first}")?;
                }
                Ok(())
            }
        }
    }
}

/// What [`UltraFastRing::repair`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Repair {
    /// Entries of dead participants that are free again.
    pub entries_freed: u64,
    /// Slots marked abandoned.
    pub abandoned: u64,
    /// Messages dropped, if the ring's policy says so.
    pub discarded: u64,
    /// Messages that dead consumers held. The next consumer without a message gets them, marked.
    pub to_redeliver: u64,
}

impl UltraFastRing {
    /// Finishes what dead participants left, as ordinary calls do when they are stuck. Messages
    /// that dead consumers held are left to the next consumer.
    ///
    /// # Errors
    ///
    /// The system's error, if it cannot tell who is alive.
    pub fn repair(&self) -> Result<Repair, RingError> {
        let segment = self.segment();
        let locker = segment.locker()?;
        let mut repair = Repair::default();
        for lane in segment.all_lanes() {
            repair_lane(&lane, &locker, &mut repair)?;
        }
        Ok(repair)
    }
}

/// Finishes what dead participants left in one lane.
fn repair_lane(segment: &Segment, locker: &Locker, repair: &mut Repair) -> Result<(), RingError> {
    for (index, participant) in segment.entries() {
        if participant.role().is_none() || !locker.try_lock(segment, Place::Entry(index))? {
            continue;
        }
        let finished = finish::finish(segment, locker, index);
        repair.entries_freed += u64::from(finished.freed);
        repair.abandoned += finished.abandoned;
        repair.discarded += finished.discarded;
        repair.to_redeliver += finished.left.map_or(0, |span| span.count);
        locker.unlock(segment, Place::Entry(index));
    }
    let mut abandoned = 0;
    for position in orphans(segment, locker) {
        let slot = segment.slot(position);
        let seen = slot.sequence();
        // Checked again, and exchanged only if unchanged: somebody may have settled it
        // meanwhile.
        if TimestampedSlot::state_of(seen, position) == SlotState::NotYet {
            abandoned += u64::from(slot.abandon(seen, position));
        }
    }
    finish::tell_of_abandoned(segment, abandoned);
    repair.abandoned += abandoned;
    if segment.is_joinable() {
        for (row, it) in segment.rows() {
            // Under the lock of those who open it: nobody begins a generation with the same
            // bits meanwhile. Where one is at it, there is nothing to grant yet.
            if closing::close_if_deserted(segment, locker, row)
                || !locker.try_lock(segment, Place::Group(row))?
            {
                continue;
            }
            let generation = it.gate().generation;
            frontier::raise_frontier_of(segment.readers(Membership::of(row, generation)));
            locker.unlock(segment, Place::Group(row));
        }
    } else if segment.settings().consumer_side == Sharing::Shared {
        frontier::raise_release_frontier(segment);
    }
    Ok(())
}

/// Checks need no right to write.
impl RingView {
    /// Checks every invariant of the ring, which may be in use meanwhile. It stops after 64
    /// findings of a kind.
    ///
    /// # Errors
    ///
    /// The system's error, if it cannot tell who is alive.
    pub fn examine(&self) -> Result<Vec<Finding>, RingError> {
        Ok(self.examine_lanes()?.into_iter().map(|(_, finding)| finding).collect())
    }

    /// As [`examine`](Self::examine). Says with each finding in which lane it is, counted from 0;
    /// positions and entries are that lane's.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn examine_lanes(&self) -> Result<Vec<(usize, Finding)>, RingError> {
        let segment = self.segment();
        let locker = segment.locker()?;
        let mut findings = Vec::new();
        for lane in segment.all_lanes() {
            findings.extend(examine_lane(&lane, &locker).map(|it| (lane.index(), it)));
        }
        #[cfg(feature = "std")]
        if segment.mapping().is_some_and(|mapping| !mapping.is_as_opened()) {
            findings.push((0, Finding::Overwritten));
        }
        Ok(findings)
    }
}

/// Checks the invariants of one lane.
fn examine_lane(segment: &Segment, locker: &Locker) -> impl Iterator<Item = Finding> {
    let mut findings = counters(segment);
    findings.extend(slots(segment));
    findings.extend(dead(segment, locker));
    let orphans = orphans(segment, locker).take(MAX_FINDINGS);
    findings.extend(orphans.map(|position| Finding::Orphan { position }));
    findings.into_iter()
}

/// The position that producers have reached, at least.
fn producers_at(segment: &Segment) -> u64 {
    if segment.is_joinable() {
        return lane::producers_at(segment, 0);
    }
    let (counters, cursor) = (segment.lane().counters(), segment.cursor());
    let head = counters.look_at_claimed();
    match segment.settings().producer_side {
        Sharing::Shared => head,
        Sharing::Exclusive => written_from(segment, head.max(look_at(&cursor.consumer_head))),
    }
}

fn counters(segment: &Segment) -> Vec<Finding> {
    let counters = segment.lane().counters();
    // In this order each can only have grown when the next is read.
    let (tail, head) = if segment.is_joinable() {
        // One that is wrong, if there is one. A head may be beyond the producers: where a group
        // starts that is ahead of them.
        let mut groups = lane::open_groups(segment);
        groups.find(|(tail, head)| tail > head).unwrap_or_default()
    } else {
        let cursor = segment.cursor();
        let tail = look_at(&cursor.consumer_tail);
        (tail, look_at(&cursor.consumer_head))
    };
    let announced = look_at(&counters.producer_tail);
    let producers = producers_at(segment);
    let mut findings = Vec::new();
    let pairs = [
        (("consumer_tail", tail), ("consumer_head", head)),
        (("consumer_head", head), ("producer_head", producers)),
        (("producer_tail", announced), ("producer_head", producers)),
    ];
    for ((behind, behind_at), (ahead, ahead_at)) in pairs {
        if behind_at > ahead_at {
            findings.push(Finding::Counters { behind, behind_at, ahead, ahead_at });
        }
    }
    let capacity = segment.settings().capacity as u64;
    // Again after the producers' position: what is freed meanwhile makes it less, not more.
    let in_flight = producers.saturating_sub(released(segment));
    if in_flight > capacity {
        findings.push(Finding::Overfull { in_flight, capacity });
    }
    findings
}

fn slots(segment: &Segment) -> Vec<Finding> {
    let capacity = segment.settings().capacity;
    let mut findings = Vec::new();
    // As last found: it only grows, and finding it takes a look at up to all slots.
    let mut producer_head = 0;
    let (mut looks, max_looks) = (0, MAX_STEPS / capacity);
    for slot in 0..capacity {
        if findings.len() >= MAX_FINDINGS {
            break;
        }
        let sequence = segment.slot(slot as u64).look_at_sequence();
        let Some(position) = (sequence & !ABANDONED).checked_sub(1) else { continue };
        if position > MAX_POSITION || position % capacity as u64 != slot as u64 {
            findings.push(Finding::ForeignSequence { slot, sequence });
            continue;
        }
        if position >= producer_head {
            if looks == max_looks {
                continue;
            }
            producer_head = producers_at(segment);
            looks += 1;
        }
        if position >= producer_head {
            findings.push(Finding::NotClaimed { position, producer_head });
        }
    }
    findings
}

fn dead(segment: &Segment, locker: &Locker) -> Vec<Finding> {
    (0..segment.entries_used())
        .map(|index| (index, is_alive(segment, locker, index)))
        .filter(|(_, (alive, _))| !alive)
        .filter_map(|(index, seen)| info(segment, index, seen))
        .map(|info| Finding::Dead {
            entry: info.index,
            pid: info.pid,
            intent: info.intent,
            hold: info.hold,
        })
        .collect()
}

/// Positions that were claimed and are not committed, and that no entry shows. This is known only
/// if no producer is alive, since a living one may commit at any moment.
fn orphans(segment: &Segment, locker: &Locker) -> impl Iterator<Item = u64> {
    let end = segment.lane().counters().look_at_claimed();
    let start = match segment.is_joinable() {
        // Whatever a group has come to: nothing older is left.
        true => end.saturating_sub(segment.settings().capacity as u64),
        false => look_at(&segment.cursor().consumer_head),
    };
    let start = start.min(MAX_POSITION);
    let end = end.min(start + segment.settings().capacity as u64);
    let told = segment.settings().producer_side == Sharing::Shared
        && !segment.entries().any(|(index, it)| {
            it.role().is_none_or(|role| role.side == Side::Producer)
                && locker.is_locked(segment, Place::Entry(index))
        });
    let end = if told { end.max(start) } else { start };
    // Collected once for all positions, since nobody alive could show another one.
    let mut shown = alloc::vec![false; (end - start) as usize];
    for span in segment.entries().filter_map(|(_, it)| it.look_at_intent()) {
        for position in span.first.max(start)..span.end().min(end) {
            shown[(position - start) as usize] = true;
        }
    }
    (start..end).zip(shown).filter_map(move |(position, shown)| {
        let orphan = !shown && segment.slot(position).look_at(position) == SlotState::NotYet;
        orphan.then_some(position)
    })
}
