//! Every promise is kept, and everything can finish, in every quick configuration.

use verification::explore::{Outcome, describe, explore};
use verification::suite::{Size, cases};

#[test]
fn every_promise_is_kept_and_everything_can_finish() {
    // Without optimisation, only what takes seconds.
    let largest = if cfg!(debug_assertions) { Size::Small } else { Size::Quick };
    for case in cases().into_iter().filter(|case| case.size <= largest) {
        let report = explore(&case.protocol);
        assert!(report.done > 0, "{}: nothing ever finishes", case.protocol);
        if let Some(trace) = report.outcome.trace() {
            let steps = describe(&case.protocol, trace);
            panic!("{}: {}\n{steps}", case.protocol, report.outcome);
        }
        assert_eq!(report.outcome, Outcome::Holds);
    }
}
