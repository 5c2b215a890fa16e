//! Every promise is kept, and everything can finish, in every quick configuration.

use std::fmt::Display;

use verification::explore::{Model, Outcome, describe, explore};
use verification::suite::{Case, Size};
use verification::{groups, lanes, suite};

fn all_hold<M: Model + Display>(cases: Vec<Case<M>>) {
    // Without optimisation, only what takes seconds.
    let largest = if cfg!(debug_assertions) { Size::Small } else { Size::Quick };
    for case in cases.into_iter().filter(|case| case.size <= largest) {
        let report = explore(&case.protocol);
        if let Some(trace) = report.outcome.trace() {
            let steps = describe(&case.protocol, trace);
            panic!("{}: {report}\n{steps}", case.protocol);
        }
        assert!(matches!(report.outcome, Outcome::Holds));
        assert!(report.done > 0, "{}: nothing ever finishes", case.protocol);
    }
}

#[test]
fn every_promise_is_kept_and_everything_can_finish() {
    all_hold(suite::cases());
}

#[test]
fn every_promise_to_groups_is_kept_and_everything_can_finish() {
    all_hold(groups::suite::cases());
}

#[test]
fn every_promise_of_several_lanes_is_kept_and_everything_can_finish() {
    all_hold(lanes::sleep::all());
    all_hold(lanes::class::all());
    all_hold(lanes::group::all());
    all_hold(lanes::owner::all());
    all_hold(lanes::close::all());
    all_hold(lanes::time::all());
}
