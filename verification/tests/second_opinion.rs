//! The same transition system, searched by `stateright`.
//!
//! Its search is not ours, so a mistake in ours would show: both must find the same number of
//! states, and shortest ways of the same length to a broken promise. (It keeps 64-bit fingerprints
//! of states and does not ask whether everything can finish; that is why it comes second.)

use std::fmt::{Debug, Display};
use std::hash::Hash;

use stateright::{Checker, Model as _, Property};
use verification::explore::{Model, Outcome, Step, explore};
use verification::groups::{self, Groups, PASSING};
use verification::lanes::{
    class::Class, close::Close, group::Group, owner::Owner, sleep::Sleep, time::Time,
};
use verification::protocol::{Mutation, Protocol};
use verification::suite::{Mistake, mistakes};

const PROMISES: &str = "every promise is kept";
const DONE: &str = "all is done";

/// The protocol, and whether to look for a state in which all is done.
///
/// `stateright` stops when each property has its discovery, and until then replaces the way to a
/// broken promise by each later one; asked for that alone, it stops at the first and shortest.
#[derive(Clone)]
struct Second<M>(M, bool);

impl<M: Model<State: Debug + Hash + PartialEq>> stateright::Model for Second<M> {
    type State = M::State;
    type Action = Step<M::State>;

    fn init_states(&self) -> Vec<M::State> {
        vec![self.0.unpack(self.0.canonical(&self.0.initial()))]
    }

    fn actions(&self, state: &M::State, actions: &mut Vec<Step<M::State>>) {
        self.0.steps(state, actions);
    }

    fn next_state(&self, _: &M::State, step: Step<M::State>) -> Option<M::State> {
        Some(self.0.unpack(self.0.canonical(&step.after)))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![Property::always(PROMISES, |model: &Second<M>, state| {
            model.0.violation(state).is_none()
        })];
        if self.1 {
            properties
                .push(Property::sometimes(DONE, |model: &Second<M>, state| model.0.is_done(state)));
        }
        properties
    }
}

fn finds_the_same_states<M>(protocol: M)
where
    M: Model<State: Debug + Hash + PartialEq + Send + Sync>
        + Display
        + Copy
        + Send
        + Sync
        + 'static,
{
    let report = explore(&protocol);
    let second = Second(protocol, true).checker().spawn_bfs().join();
    assert!(matches!(report.outcome, Outcome::Holds), "{protocol}: {report}");
    assert_eq!(second.unique_state_count(), report.unique, "{protocol}");
    second.assert_no_discovery(PROMISES);
    second.assert_any_discovery(DONE);
}

fn finds_the_same_shortest_way<U, M>(Mistake { mutation, protocol }: Mistake<U, M>)
where
    U: Debug,
    M: Model<State: Debug + Hash + PartialEq + Send + Sync> + Copy + Send + Sync + 'static,
{
    if let Outcome::Broken(_, trace) = explore(&protocol).outcome {
        let second = Second(protocol, false).checker().spawn_bfs().join();
        let steps = second.discovery(PROMISES).map(|path| path.into_actions().len());
        assert_eq!(steps, Some(trace.len()), "{mutation:?}");
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
        finds_the_same_states(protocol);
        finds_the_same_states(protocol.named());
    }
    for groups in [
        Groups::exclusive(&[PASSING]).member(0).deaths(1, 1),
        Groups::exclusive(&[PASSING.open().evictable()]).member(0).member(0).positions(3),
        Groups::new(2, &[]).reader().positions(3),
    ] {
        finds_the_same_states(groups);
    }
    finds_the_same_states(Sleep::new(1, 2).deaths(1));
    finds_the_same_states(Class::new(2, 2).deaths(1));
    finds_the_same_states(Group::new(1).open().deaths(1, 0));
    finds_the_same_states(Owner::new(1, 2).deaths(1, 1));
    finds_the_same_states(Close::new(2, 1).deaths(1));
    finds_the_same_states(Time::new(1, 1).deaths(1));
}

#[test]
#[ignore = "takes a minute: `.ci/run models` runs it"]
fn both_searches_find_the_same_shortest_ways() {
    // In configurations of many states the fingerprints take their time.
    let large = [Mutation::MovedHold, Mutation::VacatedUnasked];
    mistakes()
        .into_iter()
        .filter(|mistake| !large.contains(&mistake.mutation))
        .for_each(finds_the_same_shortest_way);
    groups::suite::mistakes().into_iter().for_each(finds_the_same_shortest_way);
}
