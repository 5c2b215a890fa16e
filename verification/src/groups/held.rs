//! What a producer does that is held back, and what members do in the same way.
//!
//! ```text
//!  grant    read a group's head ── read the holds of its members ── raise its tail
//!  close    read the gate ── look for a living member ── compare-and-swap to closed
//!  evict    read the gate ── head and tail still there? ── compare-and-swap to evicted
//!  abandon  intent below the head? ── slot not settled, no living one shows it? ──
//!           compare-and-swap to abandoned ── clear the dead one's word
//! ```
//!
//! Time is not modelled: a producer may lose its patience at once.

use super::invariant::Violation;
use super::state::{Actor, At, Kind, NONE, Row, State};
use super::{Groups, Mutation, Turn};
use crate::slot::Settled;

/// The steps of a producer beyond sending, and of a member that grants, closes or abandons.
pub(super) fn steps(turn: &mut Turn<'_>) {
    let (groups, before, me) = (turn.groups, turn.before, *turn.me());
    let row = me.row;
    match me.at {
        At::HeldBack => held_back(turn),
        At::GrantHead => turn.step("grants: reads the head", |state, me| {
            let head = state.rows[usize::from(row)].head;
            let actor = &mut state.actors[me];
            (actor.frontier, actor.seen.generation) = (head.position, head.generation);
            let alone = groups.unscanned(me, 0).next().is_none();
            actor.at = if alone { At::GrantRaise } else { At::GrantHolds };
        }),
        At::GrantHolds => {
            for entry in groups.unscanned(turn.who, me.scanned) {
                turn.step("grants: reads a hold", |state, me| {
                    let peer = state.actors[entry];
                    let counts = peer.names(row, state.actors[me].seen.generation)
                        || groups.is(Mutation::HoldOfAnotherGrants);
                    if counts {
                        let frontier = &mut state.actors[me].frontier;
                        *frontier = peer.word.min(*frontier);
                    }
                    scanned(groups, state, me, entry, At::GrantRaise);
                });
            }
        }
        At::GrantRaise => turn.ends("grants: raises the tail", |state, me| {
            let Actor { frontier, seen, .. } = state.actors[me];
            let tail = state.rows[usize::from(row)].tail;
            let own = groups.is_of(tail.generation, seen.generation)
                || groups.is(Mutation::GrantIgnoresGeneration);
            if own && frontier > tail.position {
                state.grant(row, frontier);
            }
        }),
        At::CloseGate => read_gate(turn, At::CloseLook),
        At::CloseLook => {
            for entry in groups.unscanned(turn.who, me.scanned) {
                let peer = before.actors[entry];
                let lives = peer.at.is_alive() && peer.names(row, me.seen.generation);
                if lives && !groups.is(Mutation::CloseWithoutLook) {
                    stop(turn, "finds a living member");
                    continue;
                }
                turn.step("looks for the living", |state, me| {
                    let late = groups.is(Mutation::JoinsReadLate);
                    let at = if late { At::CloseLate } else { At::Close };
                    scanned(groups, state, me, entry, at);
                });
            }
            if groups.unscanned(turn.who, 0).next().is_none() {
                turn.goes("is the only entry", At::Close);
            }
        }
        At::CloseLate => read_gate(turn, At::Close),
        At::Close => {
            let gate = turn.row().gate;
            let same = match groups.is(Mutation::CloseIgnoresJoins) {
                true => gate.kind == Kind::Open && gate.generation == me.seen.generation,
                false => gate == me.seen,
            };
            if !same {
                return stop(turn, "finds the gate changed");
            }
            turn.step("CLOSES the gate", |state, me| {
                state.close(row);
                stopped(groups, state, me);
            });
        }
        At::EvictGate => read_gate(turn, At::EvictTail),
        At::EvictTail => {
            let Row { gate, head, tail, .. } = *turn.row();
            // What is claimed is granted first: there are no holds, so the group has it behind it.
            let waits = head.generation == gate.generation && head.position > me.frontier;
            if tail.position != me.frontier || waits && !groups.is(Mutation::EvictedUngranted) {
                return stop(turn, "sees the group moving");
            }
            turn.step("sees the group where it was", |state, me| {
                state.require(!waits, Violation::EvictedUnjustly);
                state.actors[me].at = At::Evict;
            });
        }
        At::Evict => {
            let gate = turn.row().gate;
            let same = gate == me.seen
                || groups.is(Mutation::EvictIgnoresGeneration) && gate.kind == Kind::Open;
            if !same {
                return stop(turn, "finds the gate changed");
            }
            turn.ends("EVICTS the group", |state, me| {
                let Actor { frontier, seen, .. } = state.actors[me];
                state.evict(row, seen.generation, frontier);
            });
        }
        At::AbandonHead | At::AbandonLook | At::Abandon | At::Finish => abandon(turn),
        At::Succeed => turn.ends("succeeds: finds where the sequences end", |state, me| {
            let trusts = groups.is(Mutation::SuccessorTrustsChunk);
            let raise = if trusts { groups.chunk } else { groups.raise };
            state.actors[me].position = state.first_unsettled(state.window.saturating_sub(raise));
        }),
        at => unreachable!("a producer at {at:?}"),
    }
}

/// Has looked at an entry; `at` comes after the last.
fn scanned(groups: &Groups, state: &mut State, me: usize, entry: usize, at: At) {
    let actor = &mut state.actors[me];
    actor.scanned |= 1 << (entry - groups.producers);
    if groups.unscanned(me, actor.scanned).next().is_none() {
        (actor.scanned, actor.at) = (0, at);
    }
}

/// There is no room: whoever is in the way decides what can be done.
fn held_back(turn: &mut Turn<'_>) {
    let (groups, before, me) = (turn.groups, turn.before, *turn.me());
    turn.ends("is refused", |_, _| {});
    let unjust = groups.is(Mutation::EvictedForAnother);
    if me.culprit != NONE && (me.least < me.frontier || unjust && me.least == me.frontier) {
        let group = groups.row[usize::from(me.culprit)];
        let mut begin = |what, at| {
            turn.step(what, |state, me| {
                let actor = &mut state.actors[me];
                let (row, judged) = (actor.culprit, actor.least);
                actor.forget();
                (actor.at, actor.row) = (at, row);
                if at == At::EvictGate {
                    actor.frontier = judged;
                }
            });
        };
        if groups.helps {
            begin("will grant for a group", At::GrantHead);
        }
        if !group.durable {
            begin("will see whether a group is deserted", At::CloseGate);
        }
        if group.evict {
            begin("loses its patience with a group", At::EvictGate);
        }
        return;
    }
    for entry in 0..groups.producers {
        let dead = before.actors[entry];
        if dead.at == At::Dead && !before.is_locked(entry) && dead.word == me.frontier {
            adopt(turn, entry);
        }
    }
}

/// Takes the entry of a dead producer, to settle what it had claimed.
pub(super) fn adopt(turn: &mut Turn<'_>, entry: usize) {
    turn.step("adopts a dead producer", |state, me| {
        state.actors[me].forget();
        state.actors[me].target = entry as u8;
        state.actors[me].at = At::AbandonHead;
    });
}

fn abandon(turn: &mut Turn<'_>) {
    let (groups, before, who, me) = (turn.groups, turn.before, turn.who, *turn.me());
    let entry = usize::from(me.target);
    let position = before.actors[entry].word;
    match me.at {
        At::AbandonHead if position < before.head => {
            turn.goes("abandons: sees it claimed", At::AbandonLook);
        }
        At::AbandonHead => turn.goes("abandons: sees it not claimed", At::Finish),
        At::AbandonLook if before.settled(position) != Settled::NotYet => {
            turn.goes("abandons: sees it settled", At::Finish);
        }
        At::AbandonLook => {
            let contested = (0..groups.producers).any(|other| {
                let peer = before.actors[other];
                other != entry && other != who && peer.at.is_alive() && peer.word == position
            });
            if !contested || groups.is(Mutation::LivingIntentIgnored) {
                return turn.goes("abandons: sees it not settled", At::Abandon);
            }
            turn.step("abandons later: a living one shows the same", |state, me| {
                if entry == me {
                    state.arrivals += 1;
                    let actor = &mut state.actors[me];
                    (actor.at, actor.target) = (At::Dead, NONE);
                } else {
                    state.actors[me].at = At::Idle;
                    state.actors[me].forget();
                }
            });
        }
        At::Abandon => turn.step("abandons the slot", |state, me| {
            if state.settled(position) == Settled::NotYet {
                state.abandon(position);
            }
            state.actors[me].at = At::Finish;
        }),
        _ => turn.step("clears the dead one's word", |state, me| {
            state.actors[entry].word = NONE;
            if entry != me {
                state.actors[entry].vacate();
                state.actors[me].at = At::Idle;
                return state.actors[me].forget();
            }
            // A newcomer: a producer reads the head, a member joins or has joined.
            let head = state.head;
            let actor = &mut state.actors[me];
            if groups.is_producer(me) {
                (actor.at, actor.position) = (At::Idle, head);
            } else if actor.joined {
                actor.at = At::JoinHead;
            } else {
                actor.at = At::Seek;
            }
            actor.forget();
        }),
    }
}

/// Reads the gate of its row, and goes on if it is open.
fn read_gate(turn: &mut Turn<'_>, at: At) {
    let gate = turn.row().gate;
    if gate.kind != Kind::Open {
        return stop(turn, "sees a gate that is not open");
    }
    turn.step("reads the gate", |state, me| {
        state.actors[me].seen = gate;
        state.actors[me].at = at;
    });
}

/// Leaves the group as it is.
fn stop(turn: &mut Turn<'_>, what: &'static str) {
    let groups = turn.groups;
    turn.step(what, |state, me| stopped(groups, state, me));
}

/// Ends the call of a producer; a member that was leaving has left.
fn stopped(groups: &Groups, state: &mut State, me: usize) {
    let actor = &mut state.actors[me];
    if !groups.is_producer(me) {
        return actor.vacate();
    }
    actor.at = At::Idle;
    actor.forget();
}
