//! What must hold of a segment, live or left over, and finishing what the dead left undone.
//!
//! A live ring moves while it is looked at. Each thing is therefore read in an order in which a
//! sound ring cannot look unsound: what may only grow and must stay below is read first.
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

use crate::layout::{MAX_POSITION, Sharing, Side};
use crate::recover;
use crate::segment::{Locker, Place, Segment};
use crate::slot::{ABANDONED, SlotState};
use crate::sync::look_at;
use crate::{RingError, UltraFastRing};

/// So many findings of one kind are enough: a segment full of garbage would give one for each slot.
const MOST_FINDINGS: usize = 64;

/// About so many slots are looked at to find out how far producers have come, over and over, before
/// the rest goes unexamined: a second's work at most, whatever the segment says.
const MOST_STEPS: usize = 1 << 28;

/// Something that should not be so, or waits to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// A counter is behind one that must not be ahead of it.
    Counters {
        /// The name of the one that should be behind.
        behind: &'static str,
        /// What it says.
        behind_at: u64,
        /// The name of the other.
        ahead: &'static str,
        /// What that says.
        ahead_at: u64,
    },
    /// More messages are in flight than there are slots.
    Overfull {
        /// Messages in flight.
        in_flight: u64,
        /// Slots.
        capacity: u64,
    },
    /// A slot's sequence says a position that has another slot, or none.
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
    /// A position was claimed and never will be committed, and nobody shows that it was theirs.
    /// [`UltraFastRing::repair`] abandons it.
    Orphan {
        /// The position.
        position: u64,
    },
    /// A participant died; what it left is finished by whoever is next in need of it, or by
    /// [`UltraFastRing::repair`].
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
    /// Whether the segment itself is damaged: a program wrote where it should not have. Nothing
    /// repairs that but a new ring.
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
    /// Messages dropped, as the ring's policy says.
    pub discarded: u64,
    /// Messages that dead consumers held; the next consumer in need gets them, marked.
    pub to_redeliver: u64,
}

impl UltraFastRing {
    /// Checks every invariant of the ring, which may be in use meanwhile. It stops after 64
    /// findings of a kind.
    ///
    /// # Errors
    ///
    /// What the system says when asked who is alive.
    pub fn examine(&self) -> Result<Vec<Finding>, RingError> {
        examine(self.segment())
    }

    /// Finishes what dead participants left undone, as the ordinary calls do when they are stuck.
    /// Messages that dead consumers held stay for the next consumer.
    ///
    /// # Errors
    ///
    /// What the system says when asked who is alive.
    pub fn repair(&self) -> Result<Repair, RingError> {
        let segment = self.segment();
        let locker = segment.locker()?;
        let mut repair = Repair::default();
        for index in 0..segment.entries_used() {
            if segment.participant(index).role().is_none()
                || !locker.try_lock(segment, Place::Entry(index))?
            {
                continue;
            }
            let finished = recover::finish(segment, &locker, index);
            repair.entries_freed += u64::from(finished.freed);
            repair.abandoned += finished.abandoned;
            repair.discarded += finished.discarded;
            repair.to_redeliver += finished.left.map_or(0, |span| span.count);
            locker.unlock(segment, Place::Entry(index));
        }
        let mut abandoned = 0;
        for position in orphans(segment, &locker) {
            let slot = segment.slot(position);
            let seen = slot.sequence();
            // Once more, and compared with what is replaced: somebody may have settled it since.
            if crate::TimestampedSlot::state_of(seen, position) == SlotState::NotYet {
                abandoned += u64::from(slot.abandon(seen, position));
            }
        }
        recover::tell_of_abandoned(segment, abandoned);
        repair.abandoned += abandoned;
        if segment.geometry().consumer_sharing == Sharing::Shared {
            recover::raise_release_frontier(segment);
        }
        Ok(repair)
    }
}

/// Looking needs no right to write.
#[cfg(feature = "std")]
impl crate::Observer {
    /// Checks every invariant of the ring, which may be in use meanwhile; see
    /// [`UltraFastRing::examine`].
    ///
    /// # Errors
    ///
    /// What the system says when asked who is alive.
    pub fn examine(&self) -> Result<Vec<Finding>, RingError> {
        examine(self.segment())
    }
}

fn examine(segment: &Segment) -> Result<Vec<Finding>, RingError> {
    let locker = segment.locker()?;
    let mut findings = Vec::new();
    findings.extend(counters(segment));
    findings.extend(slots(segment));
    findings.extend(dead(segment, &locker));
    findings.extend(
        orphans(segment, &locker).take(MOST_FINDINGS).map(|position| Finding::Orphan { position }),
    );
    Ok(findings)
}

/// The position that producers have reached, at least.
fn producers_at(segment: &Segment) -> u64 {
    let counters = segment.counters();
    let head = counters.look_at_claimed();
    if segment.geometry().producer_sharing == Sharing::Shared {
        return head;
    }
    // An exclusive side announces now and then; its slots say how far it has come since.
    let start = head.max(look_at(&counters.consumer_head)).min(MAX_POSITION);
    let end = start + segment.geometry().capacity as u64;
    (start..end)
        .find(|&position| segment.slot(position).look_at(position) == SlotState::NotYet)
        .unwrap_or(end)
}

fn counters(segment: &Segment) -> Vec<Finding> {
    let counters = segment.counters();
    // In this order each can only have grown when the next is read.
    let tail = look_at(&counters.consumer_tail);
    let head = look_at(&counters.consumer_head);
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
    let capacity = segment.geometry().capacity as u64;
    // Again after the producers' position: what is freed meanwhile makes it less, not more.
    // What an exclusive consumer has released is free before it is granted.
    let released = match segment.geometry().consumer_sharing {
        Sharing::Shared => &counters.consumer_tail,
        Sharing::Exclusive => &counters.consumer_head,
    };
    let in_flight = producers.saturating_sub(look_at(released));
    if in_flight > capacity {
        findings.push(Finding::Overfull { in_flight, capacity });
    }
    findings
}

fn slots(segment: &Segment) -> Vec<Finding> {
    let capacity = segment.geometry().capacity;
    let mut findings = Vec::new();
    // As last looked up: it only grows, and looking it up costs up to a ring full of slots.
    let mut producer_head = 0;
    let (mut looks, most_looks) = (0, MOST_STEPS / capacity);
    for slot in 0..capacity {
        if findings.len() >= MOST_FINDINGS {
            break;
        }
        let sequence = segment.slot(slot as u64).look_at_sequence();
        let Some(position) = (sequence & !ABANDONED).checked_sub(1) else { continue };
        if position > MAX_POSITION || position % capacity as u64 != slot as u64 {
            findings.push(Finding::ForeignSequence { slot, sequence });
            continue;
        }
        if position >= producer_head {
            if looks == most_looks {
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
        .map(|index| (index, segment.is_alive(Some(locker), index)))
        .filter(|(_, (alive, _))| !alive)
        .filter_map(|(index, (_, evidence))| {
            segment.participant(index).info(index, false, evidence)
        })
        .map(|info| Finding::Dead {
            entry: info.index,
            pid: info.pid,
            intent: recover::unsettled_intent(segment, info.index)
                .map(|span| (span.first, span.count)),
            hold: info.hold,
        })
        .collect()
}

/// Positions that were claimed, are not committed, and are shown by nobody. Only where no producer
/// is alive can it be told: one that lives may commit at any moment.
fn orphans(segment: &Segment, locker: &Locker) -> impl Iterator<Item = u64> {
    let counters = segment.counters();
    let start = look_at(&counters.consumer_head).min(MAX_POSITION);
    let end = counters.look_at_claimed();
    let end = end.min(start + segment.geometry().capacity as u64);
    let is_producer = |index: &usize| {
        segment.participant(*index).role().is_none_or(|role| role.side == Side::Producer)
    };
    let told = segment.geometry().producer_sharing == Sharing::Shared
        && !(0..segment.entries_used())
            .filter(is_producer)
            .any(|index| locker.is_locked(segment, Place::Entry(index)));
    let end = if told { end.max(start) } else { start };
    // Marked once for all positions: nobody is alive who could show another one.
    let mut shown = alloc::vec![false; (end - start) as usize];
    for span in
        (0..segment.entries_used()).filter_map(|index| segment.participant(index).look_at_intent())
    {
        for position in span.first.max(start)..span.end().min(end) {
            shown[(position - start) as usize] = true;
        }
    }
    (start..end).zip(shown).filter_map(move |(position, shown)| {
        let orphan = !shown && segment.slot(position).look_at(position) == SlotState::NotYet;
        orphan.then_some(position)
    })
}
