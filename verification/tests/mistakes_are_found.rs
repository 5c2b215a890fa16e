//! A model that finds nothing wrong is worth what it finds wrong when something is.

use verification::explore::{Outcome, explore};
use verification::invariant::Violation;
use verification::protocol::{Mutation, Protocol, Ways};
use verification::suite::mistakes;

#[test]
fn every_mistake_is_found() {
    for mistake in mistakes() {
        let outcome = explore(&mistake.protocol).outcome;
        println!("{:?}: {}: {outcome}", mistake.mutation, mistake.protocol);
        let correct = Protocol { mutation: None, ..mistake.protocol };
        assert_ne!(outcome, Outcome::Holds, "{:?}: {correct}", mistake.mutation);
    }
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
