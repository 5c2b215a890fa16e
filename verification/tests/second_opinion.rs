//! The same transition system, searched by `stateright`.
//!
//! Its search is not ours, so a mistake in ours would show: both must find the same number of
//! states, and shortest ways of the same length to a broken promise. (It keeps 64-bit fingerprints
//! of states and does not ask whether everything can finish; that is why it comes second.)

use stateright::{Checker, Model, Property};
use verification::explore::{Outcome, explore};
use verification::protocol::{Mutation, Protocol, Step};
use verification::state::State;
use verification::suite::mistakes;

const PROMISES: &str = "every promise is kept";
const DONE: &str = "all is done";

/// The protocol, and whether to look for a state in which all is done.
///
/// `stateright` stops when each property has its discovery, and until then replaces the way to a
/// broken promise by each later one; asked for that alone, it stops at the first and shortest.
#[derive(Clone)]
struct Second(Protocol, bool);

impl Second {
    fn canonical(&self, state: &State) -> State {
        self.0.shape.unpack(self.0.canonical(state))
    }
}

impl Model for Second {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![self.canonical(&self.0.initial())]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Step>) {
        self.0.steps(state, actions);
    }

    fn next_state(&self, _: &State, step: Step) -> Option<State> {
        Some(self.canonical(&step.after))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties =
            vec![Property::always(PROMISES, |_, state: &State| state.violation.is_none())];
        if self.1 {
            properties
                .push(Property::sometimes(DONE, |model: &Second, state| model.0.is_done(state)));
        }
        properties
    }
}

#[test]
fn both_searches_find_the_same_states() {
    for protocol in [
        Protocol::shared(1, 1).deaths(3),
        Protocol::shared(2, 1).deaths(1),
        Protocol::shared(1, 2).deaths(1),
        Protocol::shared(2, 1).exclusive_consumer().deaths(1),
        Protocol::exclusive().deaths(2),
        Protocol::exclusive().spare_entry().deaths(1).bystander().forgetful(),
        Protocol::shared(1, 1).deaths(1).spans(2).forgetful(),
        Protocol::shared(1, 1).deaths(1).changing_roles().positions(2),
    ] {
        for protocol in [protocol, protocol.named()] {
            let report = explore(&protocol);
            let second = Second(protocol, true).checker().spawn_bfs().join();
            assert_eq!(report.outcome, Outcome::Holds, "{protocol}");
            assert_eq!(second.unique_state_count(), report.unique, "{protocol}");
            second.assert_no_discovery(PROMISES);
            second.assert_any_discovery(DONE);
        }
    }
}

#[test]
fn both_searches_find_the_same_shortest_ways() {
    // In configurations of many states the fingerprints take their time.
    let large = [Mutation::MovedHold, Mutation::VacatedUnasked];
    for mistake in mistakes().into_iter().filter(|mistake| !large.contains(&mistake.mutation)) {
        if let Outcome::Broken(_, trace) = explore(&mistake.protocol).outcome {
            let second = Second(mistake.protocol, false).checker().spawn_bfs().join();
            let steps = second.discovery(PROMISES).map(|path| path.into_actions().len());
            assert_eq!(steps, Some(trace.len()), "{:?}", mistake.mutation);
        }
    }
}
