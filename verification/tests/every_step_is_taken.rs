//! A model in which something cannot happen proves nothing about it.

use std::collections::{BTreeSet, HashSet};

use verification::protocol::Protocol;
use verification::state::{Fate, State};

/// All steps taken, and all fates met, from an empty ring on.
fn steps_taken(protocol: Protocol) -> (BTreeSet<&'static str>, HashSet<Fate>) {
    let mut found = HashSet::from([protocol.canonical(&State::initial())]);
    let mut open = vec![State::initial()];
    let (mut taken, mut fates, mut steps) = (BTreeSet::new(), HashSet::new(), Vec::new());
    while let Some(state) = open.pop() {
        protocol.steps(&state, &mut steps);
        for step in &steps {
            taken.insert(step.what);
            fates.extend(step.after.fates);
            if found.insert(protocol.canonical(&step.after)) {
                open.push(step.after);
            }
        }
    }
    (taken, fates)
}

#[test]
fn every_step_of_the_protocol_is_taken_somewhere() {
    let mut taken = BTreeSet::new();
    for protocol in [
        Protocol::shared(2, 1).deaths(2),
        Protocol::shared(1, 2).deaths(1).quiet(),
        Protocol::exclusive().deaths(1),
    ] {
        let (steps, fates) = steps_taken(protocol);
        taken.extend(steps);
        assert_eq!(fates.len(), 4, "{protocol}: every fate is met");
    }
    for what in [
        // Sending.
        "has credit",
        "has no credit: will leave",
        "shows its intent",
        "claims",
        "loses the race",
        "writes the first half",
        "writes the second half",
        "commits",
        "clears its intent and leaves",
        "announces producer_tail",
        // Receiving.
        "sees a message, to copy",
        "copies the payload",
        "claims and releases the copy",
        "returns the copy",
        "sees a message, to borrow",
        "shows its hold",
        "claims what it holds",
        "reads in place",
        "reads in place, marked",
        "releases",
        "clears its hold and leaves",
        "sees an abandoned slot",
        "skips an abandoned slot",
        "is behind by a lap",
        "reads the head",
        "finds nothing: will leave",
        "moves the head: releases the copy",
        "releases: moves the head",
        // Granting.
        "grants: reads the head",
        "grants: reads a hold",
        "grants: raises the frontier",
        "grants: stores the frontier",
        // Dying, and what follows.
        "DIES",
        "falls silent",
        "a newcomer takes the dead entry",
        "a newcomer takes the vacant entry",
        "reads its side's head and joins",
        "adopts a dead entry",
        "reads producer_head",
        "sees the slot settled",
        "sees the slot not settled",
        "sees the same shown by another",
        "sees something else shown",
        "finds it alive: later",
        "finds it dead",
        "abandons the slot",
        "reads consumer_tail",
        "reads consumer_head",
        "looks at consumer_tail again",
        "clears the dead one's word",
        "succeeds: reads producer_tail",
        "succeeds: reads consumer_head",
        "succeeds: passes a committed slot",
        "succeeds: has its position",
    ] {
        assert!(taken.remove(what), "never taken: {what}");
    }
    assert!(taken.is_empty(), "taken, and not in the list: {taken:?}");
}

#[test]
fn a_delivery_is_repeated_marked_and_a_copy_is_thrown_away() {
    let protocol = Protocol::shared(1, 2).deaths(1);
    let (mut again, mut discarded) = (false, false);
    let mut found = HashSet::from([protocol.canonical(&State::initial())]);
    let (mut open, mut steps) = (vec![State::initial()], Vec::new());
    while let Some(state) = open.pop() {
        protocol.steps(&state, &mut steps);
        for step in &steps {
            if step.what == "looks at consumer_tail again" {
                let entry = usize::from(state.participants[step.who].target);
                let held = state.participants[entry].word;
                discarded |= state.consumer_tail > held;
                again |=
                    state.consumer_tail <= held && state.fates[usize::from(held)] != Fate::Unseen;
            }
            if found.insert(protocol.canonical(&step.after)) {
                open.push(step.after);
            }
        }
    }
    assert!(again, "a message seen before is delivered again, marked");
    assert!(discarded, "a copy of what the frontier has passed is thrown away");
}
