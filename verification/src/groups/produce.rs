//! Producers: claim, write, commit; and the bound, when it is used up.
//!
//! ```text
//!  send    position < bound? ── show intent ── claim ── write, write ── commit
//!  refill  head, intents: the commit frontier ── gates, tails ── room? ── raise the window ──
//!          gates, tails again ── bound = min(window, least + capacity, frontier + capacity)
//! ```
//!
//! An exclusive producer shows no intent, claims nothing, and has no commit frontier but its own
//! position. Its successor begins at the window, less what one raise may add.

use super::invariant::Violation;
use super::state::{Actor, At, Kind, NONE, State};
use super::{Groups, Mutation, Turn, held};
use crate::slot::Settled;

/// What a producer may do.
pub(super) fn steps(turn: &mut Turn<'_>) {
    let (groups, before, me) = (turn.groups, turn.before, *turn.me());
    match me.at {
        At::Dead | At::Vacant => arrive(turn),
        At::Quiet => {}
        At::Idle if me.position >= groups.positions => {}
        At::Idle if me.position < me.bound => {
            let at = if groups.exclusive { At::Begin } else { At::ShowIntent };
            turn.goes("has room", at);
        }
        At::Idle if groups.exclusive => turn.step("looks for room", |state, me| {
            state.actors[me].frontier = NONE;
            begin_gates(state, me);
        }),
        At::Idle => turn.step("clears its intent, to look for room", |state, me| {
            state.actors[me].word = NONE;
            state.actors[me].at = At::FrontierHead;
        }),
        At::ShowIntent => turn.step("shows its intent", |state, me| {
            state.actors[me].word = state.actors[me].position;
            state.actors[me].at = At::Claim;
        }),
        At::Claim if before.head == me.position => turn.step("claims", |state, me| {
            state.head += 1;
            state.actors[me].at = At::Begin;
        }),
        At::Claim => turn.step("loses the race", |state, me| {
            let (head, actor) = (state.head, &mut state.actors[me]);
            actor.position = head;
            let again = head < actor.bound.min(groups.positions);
            actor.at = if again { At::ShowIntent } else { At::ClearIntent };
        }),
        At::ClearIntent => turn.ends("clears its intent", |state, me| {
            state.actors[me].word = NONE;
        }),
        At::Begin => turn.step("writes the first half", |state, me| {
            let position = state.actors[me].position;
            state.begin(position, me);
            if groups.exclusive {
                state.head = state.head.max(position + 1);
            }
            state.actors[me].at = At::Fill;
        }),
        At::Fill => turn.step("writes the second half", |state, me| {
            let position = state.actors[me].position;
            state.slot(position).payload = state.lap(position) + 1;
            state.actors[me].at = At::Commit;
        }),
        At::Commit => turn.step("commits", |state, me| {
            let position = state.actors[me].position;
            state.require(state.settled(position) == Settled::NotYet, Violation::Robbed);
            state.slot(position).sequence = 1 + 2 * state.lap(position);
            state.actors[me].position += 1;
            let late = groups.is(Mutation::WindowAfterWrite);
            state.actors[me].at = if late { At::LateRaise } else { At::Idle };
        }),
        At::LateRaise => turn.step("raises the window, late", |state, me| {
            state.window = state.window.max(state.actors[me].position);
            state.actors[me].at = At::Idle;
        }),
        At::FrontierHead => turn.step("reads the head", |state, me| {
            let head = state.head;
            state.actors[me].position = head;
            if head >= groups.positions {
                state.actors[me].at = At::Idle;
                return state.actors[me].forget();
            }
            state.actors[me].frontier = head;
            state.actors[me].at = At::FrontierIntents;
            if groups.is(Mutation::BoundFromGatesAlone) {
                state.actors[me].frontier = NONE;
                begin_gates(state, me);
            } else if groups.producers == 1 {
                begin_gates(state, me);
            }
        }),
        At::FrontierIntents => turn.step("reads the other's intent", |state, me| {
            // There are two producers at most.
            let intent = state.actors[1 - me].word;
            let counts = intent != NONE
                && (state.settled(intent) == Settled::NotYet
                    || groups.is(Mutation::CommittedIntentGates));
            if counts {
                let frontier = &mut state.actors[me].frontier;
                *frontier = intent.min(*frontier);
            }
            begin_gates(state, me);
        }),
        At::Gate if turn.row().gate.kind == Kind::Open => turn.goes("sees an open gate", At::Tail),
        At::Gate => {
            turn.step("sees a gate that is not open", |state, me| next_gate(groups, state, me))
        }
        At::Tail => turn.step("reads its tail", |state, me| {
            let tail = state.rows[usize::from(state.actors[me].row)].tail.position;
            let actor = &mut state.actors[me];
            if tail < actor.least {
                (actor.least, actor.culprit) = (tail, actor.row);
            }
            next_gate(groups, state, me);
        }),
        At::Raise => {
            let room = match groups.is(Mutation::RaisedPastGates) {
                true => NONE,
                false => limit(&me, before.capacity),
            };
            let far = groups.is(Mutation::RaisedTooFar);
            let chunk = if far { groups.capacity } else { groups.chunk };
            let mut desired = vec![me.position + chunk];
            if groups.raise > groups.chunk {
                desired.push(me.position + groups.raise);
            }
            for desired in desired {
                turn.step("raises the window", |state, me| {
                    let raised = state.window.max(desired.min(room));
                    if !groups.is(Mutation::WindowAfterWrite) {
                        state.window = raised;
                    }
                    state.actors[me].window = raised;
                    if groups.is(Mutation::GatesBeforeRaiseOnly) {
                        decide(groups, state, me);
                    } else {
                        begin_gates(state, me);
                    }
                });
            }
        }
        _ => held::steps(turn),
    }
    let another = (0..groups.producers)
        .any(|other| other != turn.who && !matches!(before.actors[other].at, At::Quiet | At::Dead));
    if groups.quiet && me.at == At::Idle && another {
        turn.goes("falls silent", At::Quiet);
    }
}

/// Goes to the first gate, with nothing seen yet.
fn begin_gates(state: &mut State, me: usize) {
    let actor = &mut state.actors[me];
    (actor.least, actor.culprit, actor.row, actor.scanned) = (NONE, NONE, 0, 0);
    actor.at = At::Gate;
}

/// Goes to the next gate, or on with what all of them say.
fn next_gate(groups: &Groups, state: &mut State, me: usize) {
    let capacity = state.capacity;
    let actor = &mut state.actors[me];
    if usize::from(actor.row) + 1 < groups.rows {
        actor.row += 1;
        actor.at = At::Gate;
    } else if actor.window != NONE {
        decide(groups, state, me);
    } else {
        actor.row = 0;
        let room = actor.position < limit(actor, capacity);
        actor.at = if room { At::Raise } else { At::HeldBack };
    }
}

/// The position from which on the gates and the commit frontier hold back.
fn limit(actor: &Actor, capacity: u8) -> u8 {
    match actor.least.min(actor.frontier) {
        NONE => NONE,
        least => (least + capacity).min(NONE),
    }
}

/// Takes the bound from what it has seen after it raised the window.
fn decide(groups: &Groups, state: &mut State, me: usize) {
    let capacity = state.capacity;
    let actor = &mut state.actors[me];
    let mut bound = limit(actor, capacity);
    if !groups.is(Mutation::BoundWithoutWindow) {
        bound = bound.min(actor.window);
    }
    actor.row = 0;
    actor.bound = bound.min(groups.positions);
    if actor.position < bound {
        actor.at = At::Idle;
        actor.forget();
    } else {
        (actor.at, actor.window) = (At::HeldBack, NONE);
    }
}

/// A newcomer takes an entry that nobody has, and finishes what its last owner left.
fn arrive(turn: &mut Turn<'_>) {
    let (groups, me) = (turn.groups, *turn.me());
    if turn.before.arrivals == 0 || turn.before.is_locked(turn.who) {
        return;
    }
    turn.step("a newcomer takes the producer's entry", |state, index| {
        state.arrivals -= 1;
        let head = state.head;
        let actor = &mut state.actors[index];
        if groups.exclusive {
            actor.at = At::Succeed;
        } else if me.word == NONE {
            (actor.at, actor.position) = (At::Idle, head);
        } else {
            (actor.at, actor.target) = (At::AbandonHead, index as u8);
        }
    });
}
