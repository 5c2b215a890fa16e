//! A model that finds nothing wrong is worth what it finds wrong when something is.
//!
//! The program itself looks for every mistake of the ring and of groups; here are those whose
//! promise is known.

use verification::explore::{Outcome, explore};
use verification::groups;
use verification::invariant::Violation;
use verification::lanes::{self, Small};
use verification::protocol::{Mutation, Protocol, Ways};
use verification::suite::{Mistake, mistakes};

/// Finds each mistake, and nothing without it. Returns the promises that are broken. A mistake
/// after which nothing can finish breaks none of them.
fn found_and_nothing_else<M: Small>(mistakes: Vec<Mistake<M::Mutation, M>>) -> Vec<&'static str> {
    let mut broken = Vec::new();
    for Mistake { mutation, protocol } in mistakes {
        match explore(&protocol).outcome {
            Outcome::Holds => panic!("{mutation:?}: {protocol}"),
            Outcome::Broken(promise, _) => broken.push(promise),
            Outcome::Stuck(_) => {}
        }
        let correct = protocol.with(None);
        let held = matches!(explore(&correct).outcome, Outcome::Holds);
        assert!(held, "{mutation:?}: {correct}");
    }
    broken.sort_unstable();
    broken.dedup();
    broken
}

#[test]
fn every_mistake_with_several_lanes_is_found_and_breaks_each_promise() {
    assert_eq!(found_and_nothing_else(lanes::sleep::wrong()).len(), 0);
    assert_eq!(found_and_nothing_else(lanes::class::wrong()).len(), 1);
    assert_eq!(found_and_nothing_else(lanes::group::wrong()).len(), lanes::group::PROMISES.len());
    assert_eq!(found_and_nothing_else(lanes::close::wrong()).len(), lanes::close::PROMISES.len());
    assert_eq!(found_and_nothing_else(lanes::owner::wrong()).len(), lanes::owner::PROMISES.len());
    assert_eq!(found_and_nothing_else(lanes::time::wrong()).len(), lanes::time::PROMISES.len());
}

#[test]
fn every_promise_to_groups_is_broken_by_some_mistake() {
    let broken: Vec<_> = groups::suite::mistakes()
        .iter()
        .filter_map(|mistake| match explore(&mistake.protocol).outcome {
            Outcome::Broken(violation, _) => Some(violation),
            _ => None,
        })
        .collect();
    for promise in groups::invariant::Violation::ALL {
        assert!(broken.contains(&promise), "nothing breaks {promise:?}");
    }
}

#[test]
fn without_the_mistake_the_same_configurations_hold() {
    for Mistake { mutation, protocol } in groups::suite::mistakes() {
        let correct = groups::Groups { mutation: None, ..protocol };
        assert_eq!(explore(&correct).outcome, Outcome::Holds, "{mutation:?}: {correct}");
    }
}

#[test]
fn mistakes_with_groups_are_found_by_the_promise_that_they_break() {
    use groups::Mutation::*;
    use groups::invariant::Violation::*;
    let outcome = |wanted| {
        let mistakes = groups::suite::mistakes();
        let mistake = mistakes.into_iter().find(|mistake| mistake.mutation == wanted);
        explore(&mistake.expect("every mutation has a configuration").protocol).outcome
    };
    let breaks =
        |mutation, what| matches!(outcome(mutation), Outcome::Broken(found, _) if found == what);
    assert!(breaks(WindowAfterWrite, Garbage), "a tail reader accepts what is being written");
    assert!(breaks(GatesBeforeRaiseOnly, Overwritten), "a gate opened meanwhile is not seen");
    assert!(breaks(BoundFromGatesAlone, Lapped), "a paused producer is lapped");
    assert!(breaks(NoLookAfterOpening, Overwritten), "a bound from before the gate is used");
    assert!(breaks(HeadBeforeLook, Overwritten), "somebody joins what is still being opened");
    assert!(breaks(OpeningTrusted, Overwritten), "a dead opener's start is gone");
    assert!(breaks(GateBeforeCursor, EvictedUnjustly), "an old tail is taken for the new one");
    assert!(breaks(RaisedPastGates, StartedLate), "what another gate keeps is skipped");
    for unasked in [CloseWithoutLook, CloseIgnoresJoins, JoinsReadLate, NamedAfterJoin] {
        assert!(breaks(unasked, ClosedAlive), "{unasked:?}: a living member is shut out");
    }
    assert!(breaks(EvictIgnoresGeneration, EvictedUnjustly), "a new generation pays");
    assert!(breaks(MissedFromReadHead, Miscounted), "a claim comes between the look and the swap");
    assert!(breaks(GateAfterClaim, Lost), "what is thrown away was claimed");
    assert!(breaks(EvictedUngranted, EvictedUnjustly), "a group pays for a grant that is late");
    assert!(breaks(GrantIgnoresGeneration, Lost), "a late grant passes unread messages");
    assert!(breaks(HoldOfAnotherAdopted, Lost), "another group swallows a message");
    assert!(breaks(EntryTakenWithHold, Lost), "a newcomer clears another group's hold");
    for torn in [CopyWithoutGate, GateBeforeCopy, RedeliveredBeforeJoined] {
        assert!(breaks(torn, Garbage), "{torn:?}: the slot is written meanwhile");
    }
    let stuck = |mutation| matches!(outcome(mutation), Outcome::Stuck(_));
    assert!(stuck(CommittedIntentGates), "a silent producer holds the other back for ever");
    assert!(stuck(HoldOfAnotherGrants), "another group's hold stops the tail for ever");
}

#[test]
fn mistakes_are_found_by_the_promise_that_they_break() {
    let promise = |wanted: Mutation| {
        let mistake = mistakes().into_iter().find(|mistake| mistake.mutation == wanted);
        explore(&mistake.expect("every mutation has a configuration").protocol).outcome
    };
    let stuck = |mutation| matches!(promise(mutation), Outcome::Stuck(_));
    let breaks =
        |mutation, what| matches!(promise(mutation), Outcome::Broken(found, _) if found == what);

    assert!(stuck(Mutation::NoIntent), "nobody knows what the dead one had claimed");
    assert!(stuck(Mutation::IntentNotCleared), "a stale intent says `later` for ever");
    assert!(stuck(Mutation::HoldNotCleared), "a stale hold stops the frontier for ever");
    assert!(breaks(Mutation::AbandonByStore, Violation::Lost), "a committed message is abandoned");
    assert!(stuck(Mutation::ReuseUnfinished), "the claimed slot is never settled");
    assert!(breaks(Mutation::NoSecondLook, Violation::Garbage), "the next lap is delivered");
    assert!(breaks(Mutation::HoldsBeforeHead, Violation::Lost), "the frontier passes a reader");
    assert!(breaks(Mutation::MovedHold, Violation::Lost), "the scan misses the hold in both lines");
    assert!(breaks(Mutation::LivingIntentIgnored, Violation::Robbed), "a slow producer is robbed");
    assert!(stuck(Mutation::ForgottenNotCancelled), "a claim is nobody's");
    assert!(breaks(Mutation::CancelTakesBack, Violation::Robbed), "the next owner is robbed");
    assert!(breaks(Mutation::HandedOnCleared, Violation::Lost), "a message is handed to nobody");
    assert!(breaks(Mutation::PartOfASpanWon, Violation::Robbed), "the winner of a part is robbed");
    assert!(breaks(Mutation::FirstHeldCompared, Violation::Robbed), "a span overlaps another");
    assert!(breaks(Mutation::VacatedUnasked, Violation::Lost), "an entry has changed hands");
    assert!(breaks(Mutation::ProducerTakesHold, Violation::Lost), "nobody gets what was held");
    for unmarked in [
        Mutation::HoldReadUnderLock,
        Mutation::FreedWithItsHold,
        Mutation::ForgottenHoldCleared,
        Mutation::MarkClearedBeforeDrop,
        Mutation::MarksNotCovered,
        Mutation::MarksClearedWithHold,
    ] {
        assert!(breaks(unmarked, Violation::DeliveredTwice), "{unmarked:?}: a mark is lost");
    }
    assert!(
        breaks(Mutation::NothingMarked, Violation::DeliveredTwice),
        "a successor does not know"
    );
}

#[test]
fn a_moved_hold_goes_wrong_only_with_a_third_consumer() {
    let two = Protocol::shared(1, 2).deaths(1).ways(Ways::Borrow).with(Mutation::MovedHold);
    assert_eq!(explore(&two).outcome, Outcome::Holds);
    let three = Protocol::shared(1, 3).deaths(1).ways(Ways::Borrow).with(Mutation::MovedHold);
    assert_ne!(explore(&three).outcome, Outcome::Holds);
}
