//! Which configurations are checked, and which mistakes must be found where.

use std::fmt;

use super::state::NONE;
use super::{DURABLE, Group, Groups, Mutation, PASSING, Start, Ways};
use crate::suite::{Case, Mistake, Size};

/// The configurations that must hold, smallest first.
pub fn cases() -> Vec<Case<Groups>> {
    let (new, exclusive) = (Groups::new, Groups::exclusive);
    let passing = PASSING.open();
    let (at_once, oldest) = (PASSING.from(Start::Position(0)), PASSING.from(Start::Oldest));
    let evictable = passing.evictable();
    let one = exclusive(&[DURABLE, passing]).member(0).ways(Ways::Borrow);
    let two = one.member(1);
    let three = exclusive(&[DURABLE, passing]).member(0).member(0).member(1);
    let small = vec![
        exclusive(&[]).reader().deaths(1, 1).positions(5),
        exclusive(&[]).reader().deaths(1, 1).batch(2),
        exclusive(&[DURABLE]).member(0).deaths(2, 2),
        exclusive(&[PASSING]).member(0).deaths(2, 1),
        exclusive(&[at_once]).member(0).deaths(1, 1),
        exclusive(&[passing]).member(0).deaths(1, 0).leaving(),
        exclusive(&[evictable]).member(0).deaths(1, 1),
        exclusive(&[DURABLE, oldest]).member(0).member(1),
        new(2, &[]).quiet(),
    ];
    let quick = vec![
        new(2, &[]).reader().deaths(1, 1),
        new(1, &[passing]).member(0).member(0).deaths(1, 1).ways(Ways::Borrow),
        exclusive(&[passing]).member(0).member(0).deaths(2, 1).ways(Ways::Both),
        exclusive(&[passing]).member(0).member(0).deaths(1, 1).leaving().helping(),
        exclusive(&[PASSING]).member(0).member(0).deaths(2, 1),
        exclusive(&[evictable]).member(0).member(0).deaths(1, 0),
        exclusive(&[DURABLE, oldest]).member(0).member(1).deaths(1, 1).chunk(2),
        one.entry().deaths(1, 2).changing().positions(3),
        two.deaths(1, 2).changing().positions(3),
        exclusive(&[evictable]).member(0).member(0).deaths(1, 0).stopping(),
        exclusive(&[PASSING.evictable()]).member(0).member(0).deaths(1, 0).stopping(),
        exclusive(&[DURABLE.evictable()]).member(0).member(0).deaths(1, 1),
        new(2, &[passing]).member(0).deaths(1, 0),
        new(2, &[at_once]).member(0).positions(3),
        new(2, &[evictable]).member(0).positions(3),
    ];
    let full = vec![
        new(2, &[]).quiet().reader().deaths(2, 1),
        new(2, &[at_once]).member(0).reader(),
        new(2, &[passing]).member(0).deaths(1, 1),
        new(2, &[DURABLE]).member(0).deaths(1, 1).helping(),
        new(2, &[PASSING]).member(0).deaths(1, 0).reader(),
        exclusive(&[passing]).member(0).member(0).deaths(1, 1).capacity(3).batch(2),
        exclusive(&[DURABLE, evictable]).member(0).member(1).deaths(1, 1),
        three.deaths(1, 1).ways(Ways::Borrow).positions(3),
        exclusive(&[evictable]).member(0).member(0).deaths(1, 1).reader(),
        exclusive(&[evictable]).member(0).member(0).deaths(2, 2).positions(5),
        new(2, &[evictable]).member(0).deaths(1, 1),
    ];
    [(Size::Small, small), (Size::Quick, quick), (Size::Full, full)]
        .into_iter()
        .flat_map(|(size, all)| all.into_iter().map(move |protocol| Case { protocol, size }))
        .collect()
}

/// The mistakes, and where each must be found.
pub fn mistakes() -> Vec<Mistake<Mutation, Groups>> {
    use Mutation::*;
    let (new, exclusive) = (Groups::new, Groups::exclusive);
    let passing = PASSING.open();
    let at_once = PASSING.from(Start::Position(0));
    let oldest = PASSING.from(Start::Oldest);
    let evictable = passing.evictable();
    let one = exclusive(&[DURABLE, passing]).member(0).ways(Ways::Borrow);
    let two = one.member(1);
    [
        (WindowAfterWrite, exclusive(&[]).reader()),
        (GatesBeforeRaiseOnly, exclusive(&[at_once]).member(0)),
        (BoundWithoutWindow, exclusive(&[]).reader()),
        (BoundFromGatesAlone, new(2, &[]).reader()),
        (CommittedIntentGates, new(2, &[]).quiet()),
        (RaisedPastGates, exclusive(&[DURABLE, oldest]).member(0).member(1).chunk(2)),
        (RaisedTooFar, exclusive(&[]).reader()),
        (LivingIntentIgnored, new(2, &[passing]).member(0).deaths(1, 0)),
        (LatestAtWindow, exclusive(&[PASSING]).member(0)),
        (ClaimByStore, exclusive(&[passing]).member(0).member(0)),
        (SuccessorTrustsChunk, exclusive(&[]).reader().batch(2).deaths(1, 1)),
        (NoLookAfterOpening, exclusive(&[at_once]).member(0)),
        (GateBeforeCursor, exclusive(&[PASSING.evictable()]).member(0)),
        (HeadBeforeLook, exclusive(&[PASSING]).member(0).member(0)),
        (ChasedByHalf, exclusive(&[DURABLE, oldest]).member(0).member(1)),
        (OpeningTrusted, exclusive(&[PASSING]).member(0).deaths(1, 1)),
        (CloseWithoutLook, exclusive(&[passing]).member(0)),
        (CloseIgnoresJoins, exclusive(&[passing]).member(0).deaths(1, 1)),
        (JoinsReadLate, exclusive(&[passing]).member(0).deaths(1, 1)),
        (NamedAfterJoin, exclusive(&[passing]).member(0).deaths(1, 1)),
        (EvictIgnoresGeneration, new(2, &[evictable]).member(0)),
        (EvictedForAnother, new(2, &[evictable]).member(0)),
        (EvictedUngranted, exclusive(&[evictable]).member(0)),
        (MissedFromReadHead, exclusive(&[evictable]).member(0).member(0)),
        (CursorWithoutGeneration, exclusive(&[evictable]).member(0).member(0)),
        (
            GrantIgnoresGeneration,
            exclusive(&[passing.from(Start::Oldest)]).member(0).deaths(1, 1).helping(),
        ),
        (HoldOfAnotherGrants, two.deaths(1, 0)),
        (HoldOfAnotherAdopted, two.deaths(1, 1)),
        (EntryTakenWithHold, one.entry().deaths(1, 2).changing().positions(3)),
        (RedeliveredBeforeJoined, exclusive(&[passing]).member(0).deaths(1, 1).ways(Ways::Borrow)),
        (CopyWithoutWindow, exclusive(&[]).reader()),
        (WindowBeforeCopy, exclusive(&[]).reader()),
        (CopyWithoutGate, exclusive(&[evictable]).member(0)),
        (GateBeforeCopy, exclusive(&[evictable]).member(0)),
        (GateAfterClaim, exclusive(&[evictable]).member(0)),
    ]
    .into_iter()
    .map(|(mutation, protocol)| Mistake { mutation, protocol: protocol.with(mutation) })
    .collect()
}

/// A group in words: `a passing group from the latest`.
impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.durable { "durable" } else { "passing" })?;
        if self.evict {
            f.write_str(" evictable")?;
        }
        match self.start {
            _ if self.open => f.write_str(" open"),
            Start::Latest => f.write_str(" latest"),
            Start::Oldest => f.write_str(" oldest"),
            Start::Position(position) => write!(f, " from {position}"),
        }
    }
}

/// A configuration in words: `2 producers, passing open: 2, 4 positions, 1 death, 1 newcomer`.
impl fmt::Display for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = match (self.producers, self.exclusive) {
            (_, true) => "exclusive producer".to_string(),
            (1, false) => "1 producer".to_string(),
            (several, false) => format!("{several} producers"),
        };
        for (row, group) in self.row[..self.rows].iter().enumerate() {
            let members = self.member.iter().filter(|&&member| usize::from(member) == row).count();
            words += &format!(", {group}: {members}");
        }
        let free = self.member[..self.members].iter().filter(|&&member| member == NONE).count();
        if free > 0 {
            words += &format!(", {free} free");
        }
        words += &format!(", {}/{} positions", self.positions, self.capacity);
        if self.chunk > 1 || self.raise > 1 {
            words += &format!(", raised by {}-{}", self.chunk, self.raise);
        }
        words += &format!(", {}+{}", self.deaths, self.arrivals);
        match self.ways {
            _ if self.row[..self.rows].iter().all(|group| group.evict) => {}
            Ways::Copy => {}
            Ways::Both => words += ", in place too",
            Ways::Borrow => words += ", in place",
        }
        for (is, what) in [
            (self.reader, ", a tail reader"),
            (self.leaves, ", leaving"),
            (self.changes, ", changing"),
            (self.helps, ", helping"),
            (self.quiet, ", some fall silent"),
            (self.stops, ", some stop"),
        ] {
            if is {
                words += what;
            }
        }
        f.pad(&words)
    }
}
