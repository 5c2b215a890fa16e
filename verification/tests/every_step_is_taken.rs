//! A model in which something cannot happen proves nothing about it.

use std::collections::{BTreeSet, HashSet};

use verification::protocol::Protocol;
use verification::state::Fate;

/// All steps taken, and all fates met, from an empty ring on.
fn steps_taken(protocol: Protocol) -> (BTreeSet<&'static str>, HashSet<Fate>) {
    let mut found = HashSet::from([protocol.canonical(&protocol.initial())]);
    let mut open = vec![protocol.initial()];
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
        Protocol::exclusive().deaths(1).forgetful(),
        Protocol::exclusive().spare_entry().deaths(1).bystander().discarding(),
        Protocol::shared(1, 1).deaths(2).spans(2).forgetful(),
        Protocol::exclusive().deaths(1).spans(2),
        Protocol::shared(1, 1).deaths(1).discarding(),
        Protocol::shared(1, 1).deaths(1).changing_roles(),
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
        "forgets its reservation",
        "cancels what it forgot, to send",
        "cancels what it forgot, and waits",
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
        "sees messages, to borrow",
        "shows its hold, and what is marked",
        "reads several in place",
        "releases several: moves the head",
        "shows what is still marked, or clears its hold",
        "releases",
        "clears its hold and leaves",
        "sees an abandoned slot",
        "skips an abandoned slot",
        "is behind by a lap",
        "reads the head",
        "finds nothing: will leave",
        "moves the head: releases the copy",
        "releases: moves the head",
        "forgets its guard",
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
        "leaves",
        "a newcomer takes the dead entry, to produce",
        "a newcomer takes the dead entry, to consume",
        "a newcomer takes the vacant entry, to produce",
        "a newcomer takes the vacant entry, to consume",
        "a BYSTANDER takes the entry's lock",
        "the bystander gives the lock back",
        "adopts a dead entry",
        "sees an intent in its way",
        "gets the lock",
        "does not get the lock",
        "hands on what was held",
        "drops what was held",
        "takes the message off what is shown",
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
        "succeeds: reads its predecessor's hold",
        "succeeds: shows what is marked itself",
        "succeeds: frees the entry if it can",
        "succeeds: moves the head over what is marked",
        "succeeds: clears the mark",
    ] {
        assert!(taken.remove(what), "never taken: {what}");
    }
    assert!(taken.is_empty(), "taken, and not in the list: {taken:?}");
}

#[test]
fn a_delivery_is_repeated_marked_and_a_copy_is_thrown_away() {
    let protocol = Protocol::shared(1, 2).deaths(1);
    let (mut again, mut discarded, mut of_the_living) = (false, false, false);
    let mut found = HashSet::from([protocol.canonical(&protocol.initial())]);
    let (mut open, mut steps) = (vec![protocol.initial()], Vec::new());
    while let Some(state) = open.pop() {
        protocol.steps(&state, &mut steps);
        for step in &steps {
            if step.what == "looks at consumer_tail again" {
                let entry = usize::from(state.participants[step.who].target);
                let held = state.participants[entry].word;
                discarded |= state.consumer_tail > held;
                let seen = state.fates[usize::from(held)] != Fate::Unseen;
                again |= state.consumer_tail <= held && seen;
                // Released: no dead one had it in its hands. (ARCHITECTURE.md says why that cannot be
                // told; where it can, the promise in README.md is to be the stronger one.)
                of_the_living |=
                    state.consumer_tail <= held && state.fates[usize::from(held)] == Fate::Released;
            }
            if found.insert(protocol.canonical(&step.after)) {
                open.push(step.after);
            }
        }
    }
    assert!(again, "a message seen before is delivered again, marked");
    assert!(of_the_living, "so is one whose reader lives, if who lost it to that one died");
    assert!(discarded, "a copy of what the frontier has passed is thrown away");
}
