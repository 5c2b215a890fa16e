//! Exhaustive models of the ring's protocol, kept beside the words of their invariants.
//!
//! The protocol is small enough to look at *every* interleaving of its atomic accesses, with a
//! death possible before each of them. This crate does that for small rings: two slots, two laps,
//! two to five participants, one to three deaths. What it cannot see (orderings weaker than
//! sequential consistency, kernels, signals) is shown by other means; README.md says where the
//! limits are.
//!
//! | file | is |
//! |---|---|
//! | [`state`] | everything that a state of the world is made of, and how it is packed |
//! | [`shared`] | the steps of producers and consumers on a shared side, and of the grant |
//! | [`exclusive`] | what is different on an exclusive side |
//! | [`recover`] | adoption: what is done in place of the dead |
//! | [`invariant`] | what must never happen, in words, and what must stay possible |
//! | [`protocol`] | configurations, mutations, and all steps from a state |
//! | [`explore`] | the search: shortest counterexamples, and "everything can still finish" |
//! | [`suite`] | which configurations are checked, which mutations must be found where |
//! | [`slot`] | a slot, as both models have it |
//! | [`groups`] | a second model: groups that read one lane, and tail readers |
//! | [`lanes`] | small models of what is new in rings of several lanes |
//!
//! `tests/second_opinion.rs` gives the same transition system to the `stateright` checker.
//!
//! ```
//! use verification::{explore::{Outcome, explore}, protocol::Protocol};
//!
//! let protocol = Protocol::shared(1, 1).deaths(1);
//! assert_eq!(explore(&protocol).outcome, Outcome::Holds);
//! ```

pub mod exclusive;
pub mod explore;
pub mod groups;
pub mod invariant;
pub mod lanes;
pub mod protocol;
pub mod recover;
pub mod shared;
pub mod slot;
pub mod state;
pub mod suite;
