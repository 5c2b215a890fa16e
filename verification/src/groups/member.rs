//! Members: receive, and redeliver what a dead one held.
//!
//! ```text
//!  recv        committed? ── copy ── [gate as it was?] ── claim (and release, in one) ── return
//!  borrow      committed? ── show hold ── claim ── read ── release
//!  redeliver   tail ≤ hold? ── hold < head? ── no living one shows it? ── copy ──
//!              tail ≤ hold still? deliver, marked ── clear the word
//! ```
//!
//! The look at the gate is for groups that may be evicted; in these there is no reading in place,
//! so no holds, and nothing to redeliver. Every claim compares the generation with the position.
//! Whether a living member shows the same hold is asked in one step: the model of the plain ring
//! asks it word by word.

use super::state::{Actor, At, Fate, Kind, NONE, State};
use super::{Groups, Mutation, Turn, Ways, held, join};
use crate::slot::Settled;

/// What a member may do.
pub(super) fn steps(turn: &mut Turn<'_>) {
    let (groups, before, me) = (turn.groups, turn.before, *turn.me());
    let evictable = groups.row[usize::from(me.row)].evict;
    let head = turn.row().head;
    let current = groups.is_of(head.generation, me.generation) && head.position == me.position;
    let claims = current || groups.is(Mutation::ClaimByStore);
    let gate_last = groups.is(Mutation::GateAfterClaim);
    match me.at {
        At::Quiet => {}
        At::Idle => idle(turn),
        At::CopyRead => turn.step("copies the payload", |state, me| {
            let position = state.actors[me].position;
            state.actors[me].intact = state.is_intact(position);
            let looked = groups.is(Mutation::CopyWithoutGate)
                || groups.is(Mutation::GateBeforeCopy)
                || gate_last;
            let looks = evictable && !looked;
            state.actors[me].at = if looks { At::CopyGate } else { At::CopyClaim };
        }),
        At::CopyGate if is_evicted(turn) => {
            turn.step("finds itself evicted: throws the copy away", seek);
        }
        At::CopyGate => turn.step("sees the gate open", |state, me| {
            let actor = &mut state.actors[me];
            actor.at = match () {
                () if groups.is(Mutation::GateBeforeCopy) => At::CopyRead,
                () if gate_last => At::CopyReturn,
                () => At::CopyClaim,
            };
            if gate_last {
                let Actor { row, position, intact, .. } = *actor;
                state.deliver(row, position - 1, intact, Fate::Released);
                state.actors[me].intact = false;
            }
        }),
        At::CopyClaim if claims => turn.step("claims and releases the copy", |state, me| {
            let Actor { row, position, intact, .. } = state.actors[me];
            state.row(row).head.position = state.actors[me].position + 1;
            state.actors[me].position += 1;
            if gate_last && evictable {
                state.actors[me].at = At::CopyGate;
                return;
            }
            state.deliver(row, position, intact, Fate::Released);
            state.actors[me].intact = false;
            state.actors[me].at = At::CopyReturn;
        }),
        At::CopyReturn => turn.ends("returns the copy", |_, _| {}),
        At::Skip if claims => turn.ends("skips an abandoned slot", |state, me| {
            let Actor { row, position, .. } = state.actors[me];
            state.row(row).head.position = state.actors[me].position + 1;
            state.actors[me].position += 1;
            state.release(row, position);
        }),
        At::CopyClaim | At::Skip => turn.step("loses the race", |state, me| {
            state.actors[me].intact = false;
            state.actors[me].at = At::Reload;
        }),
        At::Reload => turn.ends("reads the head", |state, me| {
            if groups.is_of(head.generation, state.actors[me].generation) {
                state.actors[me].position = head.position;
            }
        }),
        At::ShowHold => turn.step("shows its hold", |state, me| {
            state.actors[me].word = state.actors[me].position;
            state.actors[me].at = At::BorrowClaim;
        }),
        At::BorrowClaim if claims => turn.step("claims what it holds", |state, me| {
            let row = state.actors[me].row;
            state.row(row).head.position = state.actors[me].position + 1;
            state.actors[me].position += 1;
            state.actors[me].at = At::Read;
        }),
        At::BorrowClaim => turn.goes("loses the race", At::ClearHold),
        At::ClearHold => turn.step("clears its hold", |state, me| {
            state.actors[me].word = NONE;
            state.actors[me].at = At::Reload;
        }),
        At::Read => turn.step("reads in place", |state, me| {
            let Actor { row, word, .. } = state.actors[me];
            state.deliver(row, word, state.is_intact(word), Fate::Seen);
            state.actors[me].at = At::Release;
        }),
        At::Release => turn.ends("releases", |state, me| {
            let Actor { row, word, .. } = state.actors[me];
            state.release(row, word);
            state.actors[me].word = NONE;
        }),
        At::RedeliverTail | At::RedeliverHead | At::RedeliverCopy | At::RedeliverLook => {
            redeliver(turn);
        }
        At::Dead | At::Vacant => join::arrive(turn),
        at if at >= At::Inherit && at <= At::OpenDone => join::steps(turn),
        _ => held::steps(turn),
    }
    if before.actors[turn.who].at == At::Idle {
        adopt(turn);
        join::leave(turn);
    }
}

/// Whether the gate is not the one that it has counted itself in at.
fn is_evicted(turn: &Turn<'_>) -> bool {
    let gate = turn.row().gate;
    gate.kind != Kind::Open || gate.generation != turn.me().generation
}

/// Joins anew.
fn seek(state: &mut State, me: usize) {
    let actor = &mut state.actors[me];
    (actor.at, actor.joined, actor.position, actor.generation) = (At::Seek, false, 0, 0);
    actor.forget();
}

fn idle(turn: &mut Turn<'_>) {
    let (groups, before, me) = (turn.groups, turn.before, *turn.me());
    let evictable = groups.row[usize::from(me.row)].evict;
    if evictable && is_evicted(turn) {
        turn.step("finds itself evicted", seek);
    }
    let row = turn.row();
    let (head, tail) = (row.head, row.tail);
    if me.position < groups.positions {
        match before.settled(me.position) {
            Settled::Committed => {
                let copy = evictable || groups.ways != Ways::Borrow;
                let first = evictable && groups.is(Mutation::GateBeforeCopy);
                if copy {
                    let at = if first { At::CopyGate } else { At::CopyRead };
                    turn.goes("sees a message, to copy", at);
                }
                if !evictable && groups.ways != Ways::Copy {
                    turn.goes("sees a message, to borrow", At::ShowHold);
                }
            }
            Settled::Abandoned => turn.goes("sees an abandoned slot", At::Skip),
            Settled::Later => turn.goes("is behind by a lap", At::Reload),
            Settled::NotYet => {}
        }
    }
    let behind = head.generation == tail.generation && head.position > tail.position;
    if behind {
        turn.goes("will grant", At::GrantHead);
    }
}

/// A living member in no call takes the entry of a dead one, of its own group, or of a dead
/// producer that is in its way.
fn adopt(turn: &mut Turn<'_>) {
    let (groups, before, me) = (turn.groups, turn.before, *turn.me());
    for entry in groups.entries() {
        let dead = before.actors[entry];
        let own = dead.names(me.row, me.generation) || groups.is(Mutation::HoldOfAnotherAdopted);
        if dead.at == At::Dead && !before.is_locked(entry) && dead.word != NONE && own {
            turn.step("adopts a dead member", |state, me| {
                state.actors[me].target = entry as u8;
                state.actors[me].at = At::RedeliverTail;
            });
        }
    }
    let stuck = before.head > me.position && before.settled(me.position) == Settled::NotYet;
    for entry in 0..groups.producers {
        let dead = before.actors[entry];
        let in_way = dead.at == At::Dead && dead.word == me.position && stuck;
        if in_way && !before.is_locked(entry) {
            held::adopt(turn, entry);
        }
    }
}

fn redeliver(turn: &mut Turn<'_>) {
    let (groups, before, who, me) = (turn.groups, turn.before, turn.who, *turn.me());
    let entry = usize::from(me.target);
    let dead = before.actors[entry];
    let hold = dead.word;
    let row = *turn.row();
    let is_held = groups.is_of(row.tail.generation, me.generation) && row.tail.position <= hold;
    match me.at {
        At::RedeliverTail if is_held => turn.goes("redelivers: reads the tail", At::RedeliverHead),
        At::RedeliverTail => turn.goes("sees that it is released", At::Finish),
        At::RedeliverHead => {
            let claimed =
                groups.is_of(row.head.generation, me.generation) && hold < row.head.position;
            let contested = groups.entries().any(|other| {
                let peer = before.actors[other];
                other != entry
                    && other != who
                    && peer.at.is_alive()
                    && peer.word == hold
                    && peer.names(dead.named, dead.named_generation)
            });
            if claimed && contested {
                return turn.step("redelivers later: a living one shows the same", |state, me| {
                    later(groups, state, me);
                });
            }
            let at = if claimed { At::RedeliverCopy } else { At::Finish };
            turn.goes("redelivers: reads the head", at);
        }
        At::RedeliverCopy => turn.step("redelivers: copies the payload", |state, me| {
            state.actors[me].intact = state.is_intact(hold);
            state.actors[me].at = At::RedeliverLook;
        }),
        _ => turn.step("redelivers: looks at the tail again", |state, me| {
            if is_held {
                let Actor { row, intact, .. } = state.actors[me];
                state.redeliver(row, hold, intact);
            }
            state.actors[me].intact = false;
            state.actors[me].at = At::Finish;
        }),
    }
}

/// Leaves the dead one's entry to somebody later; a newcomer goes (it would count itself in for
/// ever).
fn later(groups: &Groups, state: &mut State, me: usize) {
    debug_assert!(!groups.is_producer(me), "a member");
    let actor = &mut state.actors[me];
    if usize::from(actor.target) == me {
        let Actor { word, named, named_generation, .. } = *actor;
        *actor = Actor { at: At::Dead, word, named, named_generation, ..Actor::VACANT };
        return;
    }
    actor.at = At::Idle;
    actor.forget();
}
