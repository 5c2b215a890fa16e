//! Which configurations are checked, and which mistakes must be found where.

use std::fmt;

use crate::protocol::{Mutation, Protocol, Ways};

/// A configuration that must hold.
#[derive(Clone, Copy, Debug)]
pub struct Case<P = Protocol> {
    /// The protocol, without a mistake.
    pub protocol: P,
    /// How long it takes.
    pub size: Size,
}

/// How long a configuration takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Size {
    /// Seconds, even without optimisation.
    Small,
    /// Some ten seconds with optimisation.
    Quick,
    /// Minutes, and gigabytes.
    Full,
}

/// A mistake, and the smallest configuration that shows it.
#[derive(Clone, Copy, Debug)]
pub struct Mistake<M = Mutation, P = Protocol> {
    /// The mistake.
    pub mutation: M,
    /// The configuration, with the mistake.
    pub protocol: P,
}

/// The configurations that must hold, smallest first.
pub fn cases() -> Vec<Case> {
    let shared = Protocol::shared;
    let small = vec![
        shared(1, 1).deaths(3),
        shared(2, 1).deaths(2).unaided(),
        shared(1, 2).deaths(2).unaided(),
        Protocol::exclusive().deaths(3),
        shared(1, 2).exclusive_producer().deaths(1),
        shared(2, 1).exclusive_consumer().deaths(1),
        shared(1, 1).deaths(2).spans(2),
        shared(1, 1).deaths(2).forgetful(),
        shared(1, 1).deaths(3).discarding(),
        Protocol::exclusive().deaths(3).forgetful().discarding(),
        Protocol::exclusive().spare_entry().deaths(2).bystander(),
        Protocol::exclusive().deaths(3).spans(2).forgetful(),
        shared(1, 1).deaths(2).producers_grant(),
    ];
    let quick = vec![
        shared(2, 1).deaths(2).quiet(),
        shared(1, 2).deaths(2).quiet(),
        shared(1, 2).deaths(1).positions(6),
        Protocol::exclusive().deaths(3).positions(6),
        shared(1, 2).exclusive_producer().deaths(2),
        shared(2, 1).exclusive_consumer().deaths(2),
        shared(1, 2).exclusive_producer().deaths(1).producers_grant(),
        shared(1, 2).deaths(1).unaided().producers_grant(),
        shared(2, 1).deaths(1).producers_grant(),
        shared(1, 3).deaths(1).unaided().ways(Ways::Borrow),
        shared(2, 2).deaths(2).unaided(),
        shared(2, 2).deaths(1),
        shared(2, 1).deaths(1).spans(2).bystander().forgetful(),
        shared(1, 2).deaths(1).spans(2).bystander().forgetful(),
        shared(1, 2).deaths(1).spans(2).discarding(),
        shared(1, 1).deaths(2).spans(3).positions(6),
        shared(2, 1).exclusive_consumer().spare_entry().deaths(1).bystander().forgetful(),
        Protocol::exclusive().spare_entry().deaths(2).bystander().forgetful().discarding(),
        Protocol::exclusive().deaths(3).spans(3).positions(6).forgetful(),
        Protocol::exclusive().spare_entry().deaths(2).spans(2).bystander().forgetful(),
        shared(1, 1).deaths(1).changing_roles(),
    ];
    let full = vec![
        shared(3, 1).deaths(2),
        shared(2, 1).deaths(3).positions(6),
        shared(1, 2).deaths(3).positions(6),
        shared(2, 2).deaths(1).quiet(),
        shared(2, 2).deaths(1).positions(6),
        shared(1, 3).deaths(2).unaided(),
        shared(2, 2).deaths(2),
        shared(1, 3).deaths(1),
        shared(2, 1).deaths(1).spans(3).positions(6),
        shared(1, 2).deaths(1).spans(3).positions(6),
        shared(2, 1).deaths(2).spans(2),
        shared(1, 2).deaths(2).spans(2),
        Protocol::exclusive().spare_entry().deaths(3).positions(6).bystander(),
        shared(1, 1).deaths(2).changing_roles(),
        shared(1, 2).deaths(1).changing_roles().positions(2),
    ];
    [(Size::Small, small), (Size::Quick, quick), (Size::Full, full)]
        .into_iter()
        .flat_map(|(size, protocols)| {
            protocols.into_iter().map(move |protocol| Case { protocol, size })
        })
        .collect()
}

/// The mistakes, and where each must be found.
#[rustfmt::skip]
pub fn mistakes() -> Vec<Mistake> {
    use Mutation::*;
    let shared = Protocol::shared;
    [
        (NoIntent, shared(1, 1).deaths(1)),
        (IntentAfterClaim, shared(1, 1).deaths(1)),
        (IntentNotCleared, shared(2, 1).deaths(1).quiet()),
        (CommitBeforePayload, shared(1, 1)),
        (CreditOffByOne, shared(1, 1)),
        (HoldAfterClaim, shared(1, 2).deaths(1)),
        (HoldNotCleared, shared(1, 2).quiet()),
        (HoldBeforeSequence, shared(1, 2).deaths(2)),
        (CopyAfterClaim, shared(1, 2)),
        (HoldsBeforeHead, shared(1, 2)),
        (HoldsBeforeHead, shared(1, 1).producers_grant()),
        (TailStored, shared(1, 2).deaths(1)),
        (AbandonByStore, shared(2, 1).deaths(1)),
        (LivingIntentIgnored, shared(2, 1).deaths(1)),
        (ReuseUnfinished, shared(1, 1).deaths(1).ways(Ways::Copy)),
        (ReuseUnfinished, shared(1, 2).deaths(1)),
        (ReuseInsteadOfLater, shared(2, 1).deaths(1)),
        (ReuseInsteadOfLater, shared(1, 2).deaths(1)),
        (NoSecondLook, shared(1, 2).deaths(1)),
        (LivingHoldIgnored, shared(1, 2).deaths(1)),
        (OthersBeforeHead, shared(1, 2).deaths(1)),
        (DeadHoldContests, shared(1, 2).deaths(2)),
        (DeadIntentContests, shared(2, 1).deaths(2)),
        (MovedHold, shared(1, 3).deaths(1).ways(Ways::Borrow)),
        (ClearedBeforeDelivery, shared(1, 1).deaths(2)),
        (LockNotAsked, shared(1, 2)),
        (LockNotAsked, shared(2, 1)),
        (AnnouncementTrusted, Protocol::exclusive().deaths(1)),
        (LaterNotPassed, Protocol::exclusive().deaths(1)),
        (HoldClearedBeforeHead, Protocol::exclusive().deaths(1)),
        (HeadBeforeRead, Protocol::exclusive().deaths(1)),
        (NothingMarked, Protocol::exclusive().deaths(1)),
        (SuccessorClearsHold, Protocol::exclusive().deaths(2)),
        (ForgottenNotCancelled, shared(1, 1).deaths(1).forgetful()),
        (CancelTakesBack, shared(2, 1).deaths(1)),
        (HandedOnCleared, shared(1, 2).deaths(1)),
        (PartOfASpanWon, shared(2, 1).deaths(1).spans(2)),
        (PartOfAHoldWon, shared(1, 2).deaths(1).spans(2)),
        (FirstOfASpanAlone, shared(1, 1).deaths(1).spans(2)),
        (FirstHeldCompared, shared(1, 2).deaths(1).spans(2)),
        (AdvancedBeforeDelivery, shared(1, 1).deaths(2).spans(2)),
        (HoldReadUnderLock, Protocol::exclusive().spare_entry().deaths(1).bystander()),
        (FreedWithItsHold, Protocol::exclusive().spare_entry().deaths(1).bystander()),
        (ForgottenHoldCleared, Protocol::exclusive().deaths(1).forgetful()),
        (MarkClearedBeforeDrop, Protocol::exclusive().deaths(2).discarding()),
        (MarksNotCovered, Protocol::exclusive().deaths(2).spans(2)),
        (MarksClearedWithHold, Protocol::exclusive().deaths(2).spans(2)),
        (
            VacatedUnasked,
            shared(2, 1).deaths(2).changing_roles().staying().positions(2).ways(Ways::Borrow),
        ),
        (RoleChangedUnfinished, shared(1, 1).deaths(1).changing_roles()),
        (ProducerTakesHold, shared(1, 1).deaths(1).changing_roles()),
    ]
    .into_iter()
    .map(|(mutation, protocol)| Mistake { mutation, protocol: protocol.with(mutation) })
    .collect()
}

/// A configuration in words: `2 producers, 2 consumers, 4 positions, 1 death`.
impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |count, name, exclusive| match (count, exclusive) {
            (_, true) => format!("exclusive {name}"),
            (1, false) => format!("1 {name}"),
            _ => format!("{count} {name}s"),
        };
        let deaths = if self.max_deaths == 1 { "death" } else { "deaths" };
        let mut words = format!(
            "{}, {}, {} positions, {} {deaths}",
            side(self.shape.producers, "producer", self.producers_exclusive),
            side(self.shape.consumers, "consumer", self.consumers_exclusive),
            self.shape.positions,
            self.max_deaths,
        );
        match self.ways {
            Ways::Both => {}
            Ways::Copy => words += ", copying only",
            Ways::Borrow => words += ", in place only",
        }
        if self.shape.span > 1 {
            words += &format!(", spans of {0} in {0} slots", self.shape.span);
        }
        if self.has_spare() {
            words += ", a spare entry";
        }
        if self.discard {
            words += ", discarding";
        }
        if self.forgets {
            words += ", forgotten guards";
        }
        if self.shape.bystander {
            words += ", a bystander";
        }
        if self.shape.roles {
            words += ", entries change sides";
        }
        if self.producers_grant {
            words += ", producers grant";
        }
        if self.quiet {
            words += ", some fall silent";
        }
        if !self.newcomers {
            words += ", no newcomers";
        }
        f.pad(&words)
    }
}
