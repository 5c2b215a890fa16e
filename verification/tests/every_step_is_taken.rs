//! A model in which something cannot happen proves nothing about it.

use std::collections::{BTreeSet, HashSet};

use verification::explore::Model;
use verification::groups::state::At;
use verification::groups::{DURABLE, Groups, PASSING, Start, Ways};
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
fn every_step_of_groups_is_taken_somewhere() {
    let passing = PASSING.open();
    let oldest = PASSING.from(Start::Oldest);
    let (mut taken, mut places) = (BTreeSet::new(), HashSet::new());
    for groups in [
        Groups::exclusive(&[]).reader().deaths(1, 1),
        Groups::exclusive(&[PASSING]).member(0).deaths(2, 1),
        Groups::exclusive(&[passing])
            .member(0)
            .member(0)
            .deaths(2, 1)
            .ways(Ways::Both)
            .positions(2),
        Groups::exclusive(&[passing]).member(0).deaths(1, 1).leaving().helping().ways(Ways::Both),
        Groups::exclusive(&[passing.evictable()]).member(0).deaths(1, 1).stopping(),
        Groups::exclusive(&[DURABLE, oldest]).member(0).member(1).chunk(2),
        Groups::exclusive(&[PASSING]).member(0).member(0).deaths(1, 0).positions(2),
        Groups::new(2, &[]).quiet().reader().deaths(1, 1),
        Groups::new(2, &[passing]).member(0).deaths(1, 0).positions(3),
    ] {
        let mut found = HashSet::from([groups.canonical(&groups.initial())]);
        let (mut open, mut steps) = (vec![groups.initial()], Vec::new());
        while let Some(state) = open.pop() {
            groups.steps(&state, &mut steps);
            for step in &steps {
                taken.insert(step.what);
                places.extend(step.after.actors.map(|actor| actor.at));
                if found.insert(groups.canonical(&step.after)) {
                    open.push(step.after);
                }
            }
        }
    }
    // Steps of mistakes alone.
    let mistaken = [At::LateRaise, At::CloseLate];
    let wrong: Vec<_> =
        At::ALL.iter().filter(|at| places.contains(at) == mistaken.contains(at)).collect();
    assert!(wrong.is_empty(), "never there, or only by mistake: {wrong:?}");
    for what in [
        // Sending.
        "has room",
        "shows its intent",
        "claims",
        "loses the race",
        "clears its intent",
        "writes the first half",
        "writes the second half",
        "commits",
        "falls silent",
        // The bound.
        "looks for room",
        "clears its intent, to look for room",
        "reads the head",
        "reads the other's intent",
        "sees an open gate",
        "sees a gate that is not open",
        "reads its tail",
        "raises the window",
        // Held back.
        "is refused",
        "will grant for a group",
        "will see whether a group is deserted",
        "loses its patience with a group",
        "reads the gate",
        "looks for the living",
        "is the only entry",
        "finds a living member",
        "finds the gate changed",
        "CLOSES the gate",
        "sees the group where it was",
        "sees the group moving",
        "EVICTS the group",
        // Receiving.
        "sees a message, to copy",
        "copies the payload",
        "sees the gate open",
        "finds itself evicted",
        "finds itself evicted: throws the copy away",
        "claims and releases the copy",
        "returns the copy",
        "sees an abandoned slot",
        "skips an abandoned slot",
        "is behind by a lap",
        "sees a message, to borrow",
        "shows its hold",
        "claims what it holds",
        "clears its hold",
        "reads in place",
        "releases",
        // Granting.
        "will grant",
        "grants: reads the head",
        "grants: reads a hold",
        "grants: raises the tail",
        // Joining and leaving.
        "sees that it is opened",
        "sees that it is being opened",
        "names the group",
        "counts itself in",
        "reads the head and goes on",
        "leaves: clears its name",
        // Opening.
        "takes the group's lock",
        "reads the gate, locked",
        "finds the group opened: unlocks",
        "finds where to start",
        "names the next generation",
        "stores the tail",
        "opens the gate",
        "looks at the window: the start is gone",
        "raises the tail",
        "looks at the window: the start is there",
        "swaps the head",
        "unlocks, and goes on as a member",
        "goes on with an opening: names it",
        "goes on with an opening: counts itself in",
        "goes on with an opening: reads the tail",
        // The tail reader.
        "tail: copies",
        "tail: is too late",
        "tail: jumps",
        "tail: looks at the window and delivers",
        "tail: looks at the window and jumps",
        "tail: sees a message",
        "tail: skips an abandoned slot",
        // Dying, and what follows.
        "DIES",
        "STOPS for ever",
        "a newcomer takes the entry",
        "a newcomer takes the producer's entry",
        "abandons later: a living one shows the same",
        "abandons the slot",
        "abandons: sees it claimed",
        "abandons: sees it not claimed",
        "abandons: sees it not settled",
        "abandons: sees it settled",
        "adopts a dead member",
        "adopts a dead producer",
        "clears the dead one's hold",
        "clears the dead one's word",
        "counts itself in, to redeliver",
        "finds the dead one's group gone",
        "reads the dead one's gate",
        "redelivers later: a living one shows the same",
        "redelivers: copies the payload",
        "redelivers: looks at the tail again",
        "redelivers: reads the head",
        "redelivers: reads the tail",
        "sees that it is released",
        "succeeds: finds where the sequences end",
    ] {
        assert!(taken.remove(what), "never taken: {what}");
    }
    assert!(taken.is_empty(), "taken, and not in the list: {taken:#?}");
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
                // Released: no dead one had it in its hands. (ARCHITECTURE.md says why that cannot
                // be told; where it can, the promise in README.md is to be the stronger one.)
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
