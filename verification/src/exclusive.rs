//! What is different on an exclusive side.
//!
//! A producer claims nothing: it writes at its own position and commits. Its successor, who has
//! the side's lock, finds the position from the sequences, starting at `producer_tail` as announced
//! or at `consumer_head`, whichever is greater, and writes a half-written slot again.
//!
//! A consumer stores `consumer_head` exactly as each message is released. Reading in place, it
//! shows its hold first and leaves it shown: a hold below `consumer_head` says nothing. Its
//! successor starts at `consumer_head`, and a hold at that very position says that the message
//! there may have been seen.

use crate::protocol::{Mutation, Turn, Ways};
use crate::shared::{has_credit, write};
use crate::state::{At, Fate, NONE, Settled};

/// What the one handle of an exclusive side may do.
pub(crate) fn steps(turn: &mut Turn<'_>) {
    if turn.protocol.is_producer(turn.who) { produce(turn) } else { consume(turn) }
}

fn produce(turn: &mut Turn<'_>) {
    match turn.me().at {
        At::Idle => {
            if has_credit(turn) {
                turn.goes("has credit", At::Begin);
            }
            turn.step("announces producer_tail", |state, me| {
                state.producer_tail = state.participants[me].known;
            });
        }
        _ => write(turn),
    }
}

/// A producer's successor finds its position.
pub(crate) fn succeed(turn: &mut Turn<'_>) {
    let (protocol, before, me) = (turn.protocol, turn.before, *turn.me());
    match me.at {
        At::SucceedTail => turn.step("succeeds: reads producer_tail", |state, me| {
            state.participants[me].known = state.producer_tail;
            state.participants[me].at = if protocol.is(Mutation::AnnouncementTrusted) {
                At::Idle
            } else if protocol.is(Mutation::LaterNotPassed) {
                At::SucceedScan
            } else {
                At::SucceedHead
            };
        }),
        At::SucceedHead if !protocol.is_producer(turn.who) => {
            turn.step("succeeds: remembers what to mark, clears the hold", |state, me| {
                let marked = state.participants[me].word == state.consumer_head;
                state.participants[me].intact = marked;
                state.participants[me].word = NONE;
                state.participants[me].at = At::Join;
            });
        }
        At::SucceedHead => turn.step("succeeds: reads consumer_head", |state, me| {
            let known = &mut state.participants[me].known;
            *known = state.consumer_head.max(*known);
            state.participants[me].at = At::SucceedScan;
        }),
        _ => {
            let passes = match before.settled(me.known) {
                Settled::Committed | Settled::Abandoned => true,
                Settled::Later => !protocol.is(Mutation::LaterNotPassed),
                Settled::NotYet => false,
            };
            if passes && me.known < protocol.shape.positions {
                turn.step("succeeds: passes a committed slot", |state, me| {
                    state.participants[me].known += 1;
                });
            } else {
                turn.goes("succeeds: has its position", At::Idle);
            }
        }
    }
}

fn consume(turn: &mut Turn<'_>) {
    let (protocol, before, me) = (turn.protocol, turn.before, *turn.me());
    // Only a predecessor leaves a hold at the position that is next.
    let marked = if protocol.is(Mutation::SuccessorClearsHold) {
        me.intact
    } else {
        me.word == me.known && !protocol.is(Mutation::NothingMarked)
    };
    match me.at {
        At::Idle => {
            match before.settled(me.known) {
                Settled::Committed => {
                    if protocol.ways != Ways::Borrow {
                        turn.goes("sees a message, to copy", At::CopyRead);
                    }
                    if protocol.ways != Ways::Copy {
                        let at = if marked { At::ReadMarked } else { At::ShowHold };
                        turn.goes("sees a message, to borrow", at);
                    }
                }
                Settled::Abandoned => turn.goes("sees an abandoned slot", At::Skip),
                Settled::Later | Settled::NotYet => {}
            }
            turn.step("grants: stores the frontier", |state, _| state.grant(state.consumer_head));
        }
        At::CopyRead => turn.step("copies the payload", |state, me| {
            state.participants[me].scanned = u8::from(marked);
            state.participants[me].intact = state.is_intact(state.participants[me].known);
            state.participants[me].at = At::CopyClaim;
        }),
        At::CopyClaim => turn.step("moves the head: releases the copy", |state, me| {
            let (position, intact) = (state.participants[me].known, state.participants[me].intact);
            if state.participants[me].scanned != 0 {
                state.redeliver(position, intact, Fate::Released);
            } else {
                state.deliver(position, intact, Fate::Released);
            }
            state.participants[me].forget();
            pass(state, me);
            state.participants[me].at = At::CopyReturn;
        }),
        At::CopyReturn => turn.goes("returns the copy", At::Idle),
        At::Skip => turn.step("skips an abandoned slot", |state, me| {
            state.release(state.participants[me].known);
            pass(state, me);
            state.participants[me].at = At::Idle;
        }),
        At::ShowHold => turn.step("shows its hold", |state, me| {
            state.participants[me].word = state.participants[me].known;
            state.participants[me].at = At::Read;
            if protocol.is(Mutation::HeadBeforeRead) {
                state.consumer_head += 1;
            }
        }),
        At::Read => turn.step("reads in place", |state, me| {
            let position = state.participants[me].known;
            state.deliver(position, state.is_intact(position), Fate::Seen);
            let early = protocol.is(Mutation::HoldClearedBeforeHead);
            state.participants[me].at = if early { At::ClearHold } else { At::Release };
        }),
        At::ReadMarked => turn.step("reads in place, marked", |state, me| {
            let position = state.participants[me].known;
            state.redeliver(position, state.is_intact(position), Fate::Seen);
            state.participants[me].at = At::Release;
        }),
        At::ClearHold => turn.step("clears its hold, early", |state, me| {
            state.participants[me].word = NONE;
            state.participants[me].at = At::Release;
        }),
        At::Release => turn.step("releases: moves the head", |state, me| {
            state.release(state.participants[me].known);
            state.participants[me].forget();
            pass(state, me);
            state.participants[me].at = At::Idle;
        }),
        at => unreachable!("an exclusive consumer at {at:?}"),
    }
}

/// The next position, for a consumer and for its successors.
fn pass(state: &mut crate::state::State, me: usize) {
    state.participants[me].known += 1;
    state.consumer_head = state.participants[me].known;
}
