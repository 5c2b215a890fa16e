//! Adoption: what is done in place of the dead.
//!
//! Trying an entry's lock and reading its word are one step: whoever has the lock is the only one
//! who writes the word. Clearing the word at the end and unlocking are one step too: a death
//! between them leaves an entry with a clear word, which anybody may take.
//!
//! ```text
//!  producer's  intent below producer_head? ── slot not settled? ── no living one shows it? ──
//!              compare-and-swap to abandoned ── clear the word
//!  consumer's  consumer_tail ≤ hold? ── hold < consumer_head? ── no living one shows it? ──
//!              copy ── consumer_tail ≤ hold still? deliver, marked ── clear the word
//! ```

use crate::exclusive;
use crate::protocol::{Adopts, Mutation, Protocol, Turn};
use crate::state::{At, Fate, NONE, Settled, State};

/// Where the work on a dead consumer's entry begins.
pub(crate) fn begin_redelivery(protocol: &Protocol) -> At {
    if protocol.is(Mutation::OthersBeforeHead) { At::RedeliverOther } else { At::RedeliverTail }
}

/// A living consumer in no call tries the lock of each entry.
pub(crate) fn adopt(turn: &mut Turn<'_>) {
    let (protocol, before, who) = (turn.protocol, turn.before, turn.who);
    for entry in protocol.everybody() {
        let peer = before.participants[entry];
        let free = if protocol.is(Mutation::LockNotAsked) {
            peer.at != At::Vacant && peer.word != NONE
        } else {
            peer.at == At::Dead && !before.is_locked(entry)
        };
        if entry == who || protocol.is_exclusive(entry) || !free || !is_in_the_way(turn, entry) {
            continue;
        }
        turn.step("adopts a dead entry", |state, me| {
            if peer.word == NONE {
                // Nothing is left to do.
                state.participants[entry].at = At::Vacant;
                return;
            }
            state.participants[me].at = if protocol.is_producer(entry) {
                At::AbandonHead
            } else if protocol.is(Mutation::MovedHold) {
                At::MoveShow
            } else {
                begin_redelivery(protocol)
            };
            state.participants[me].target = entry as u8;
            state.participants[me].frontier = peer.word;
        });
    }
}

/// Whether a consumer would try this entry's lock.
fn is_in_the_way(turn: &Turn<'_>, entry: usize) -> bool {
    let (protocol, before) = (turn.protocol, turn.before);
    if protocol.adopts == Adopts::Anytime {
        return true;
    }
    if protocol.is_producer(entry) {
        return turn.is_stuck();
    }
    let hold = before.participants[entry].word;
    hold < before.consumer_head
        && protocol.sides(before).1.iter().all(|consumer| consumer.word >= hold)
}

/// What whoever adopts may do next.
pub(crate) fn steps(turn: &mut Turn<'_>) {
    let (protocol, before, who, me) = (turn.protocol, turn.before, turn.who, *turn.me());
    if me.at >= At::SucceedTail {
        return exclusive::succeed(turn);
    }
    let entry = usize::from(me.target);
    // The dead one's word; a mistaken adopter that has cleared it has it by heart.
    let word = if protocol.is(Mutation::ClearedBeforeDelivery) && !protocol.is_producer(entry) {
        me.frontier
    } else {
        before.participants[entry].word
    };
    let other = protocol.other(entry, who, me.scanned);
    match me.at {
        At::AbandonHead => {
            let claimed = word < before.producer_head;
            turn.goes(
                "reads producer_head",
                if claimed { At::AbandonSequence } else { At::Finish },
            );
        }
        At::AbandonSequence if before.settled(word) != Settled::NotYet => {
            turn.goes("sees the slot settled", At::Finish);
        }
        At::AbandonSequence if protocol.is(Mutation::LivingIntentIgnored) => {
            turn.goes("sees the slot not settled", At::Abandon);
        }
        At::AbandonSequence => {
            let at = if other.is_some() { At::AbandonOther } else { At::Abandon };
            turn.goes("sees the slot not settled", at);
        }
        At::AbandonOther | At::RedeliverOther => ask_other(turn, word, other),
        At::AbandonAlive | At::RedeliverAlive => {
            let Some(other) = other else { unreachable!("asked whether nobody lives") };
            let contests = if me.at == At::AbandonAlive {
                Mutation::DeadIntentContests
            } else {
                Mutation::DeadHoldContests
            };
            if before.is_locked(other) || protocol.is(contests) {
                later(turn);
            } else {
                turn.step("finds it dead", |state, me| looked(protocol, state, me));
            }
        }
        At::Abandon => turn.step("abandons the slot", |state, me| {
            // What a slot's sequence was before its position settles cannot change while the
            // position is claimed: comparing with what was read is asking for "not settled".
            if state.settled(word) == Settled::NotYet || protocol.is(Mutation::AbandonByStore) {
                state.abandon(word);
            }
            state.participants[me].at = At::Finish;
        }),
        At::MoveShow => turn.step("moves the hold: shows it itself", |state, me| {
            state.participants[me].word = word;
            state.participants[me].at = At::MoveClear;
        }),
        At::MoveClear => turn.step("moves the hold: clears the dead one's", |state, me| {
            state.participants[entry].word = NONE;
            state.participants[entry].at = At::Vacant;
            state.participants[me].target = me as u8;
            state.participants[me].at = At::RedeliverTail;
        }),
        At::RedeliverTail => turn.step("reads consumer_tail", |state, me| {
            let held = state.consumer_tail <= word;
            state.participants[me].at = if held { At::RedeliverHead } else { At::Finish };
            if protocol.is(Mutation::ClearedBeforeDelivery) {
                state.participants[entry].word = NONE;
            }
        }),
        At::RedeliverHead => turn.step("reads consumer_head", |state, me| {
            let asked = [Mutation::LivingHoldIgnored, Mutation::OthersBeforeHead]
                .iter()
                .any(|&mutation| protocol.is(mutation));
            state.participants[me].scanned = 0;
            let others = protocol.other(entry, who, 0).is_some();
            state.participants[me].at = if word >= state.consumer_head {
                At::Finish
            } else if others && !asked {
                At::RedeliverOther
            } else {
                At::RedeliverCopy
            };
        }),
        At::RedeliverCopy => turn.step("copies the payload", |state, me| {
            // No look at the sequence: a hold is shown only on what was seen committed.
            state.participants[me].intact = state.is_intact(word);
            state.participants[me].at = At::RedeliverLook;
        }),
        At::RedeliverLook => turn.step("looks at consumer_tail again", |state, me| {
            state.participants[me].at = At::Finish;
            if state.consumer_tail <= word || protocol.is(Mutation::NoSecondLook) {
                state.redeliver(word, state.participants[me].intact, Fate::Released);
            }
        }),
        At::Finish => turn.step("clears the dead one's word", |state, me| {
            state.participants[entry].word = NONE;
            state.participants[me].forget();
            if entry == me {
                state.participants[me].at = At::Join;
            } else {
                state.participants[me].at = At::Idle;
                if state.participants[entry].at == At::Dead {
                    state.participants[entry].at = At::Vacant;
                }
            }
        }),
        at => unreachable!("an adopter at {at:?}"),
    }
}

/// Reads another's word and compares it with the dead one's.
fn ask_other(turn: &mut Turn<'_>, word: u8, other: Option<usize>) {
    let (protocol, before, at) = (turn.protocol, turn.before, turn.me().at);
    match other {
        Some(other) if before.participants[other].word == word => turn.goes(
            "sees the same shown by another",
            if at == At::AbandonOther { At::AbandonAlive } else { At::RedeliverAlive },
        ),
        _ => turn.step("sees something else shown", |state, me| looked(protocol, state, me)),
    }
}

/// One of the others is done with: the next, or the next stage.
fn looked(protocol: &Protocol, state: &mut State, me: usize) {
    let adopter = &mut state.participants[me];
    adopter.scanned += 1;
    let more = protocol.other(usize::from(adopter.target), me, adopter.scanned).is_some();
    adopter.at = match adopter.at {
        At::AbandonOther | At::AbandonAlive if more => At::AbandonOther,
        At::AbandonOther | At::AbandonAlive => At::Abandon,
        _ if more => At::RedeliverOther,
        _ if protocol.is(Mutation::OthersBeforeHead) => At::RedeliverTail,
        _ => At::RedeliverCopy,
    };
    if !matches!(adopter.at, At::AbandonOther | At::RedeliverOther) {
        adopter.scanned = 0;
    }
}

/// A living one shows the same: one of the two lost the race, and will move on.
fn later(turn: &mut Turn<'_>) {
    let protocol = turn.protocol;
    turn.step("finds it alive: later", |state, me| {
        let entry = usize::from(state.participants[me].target);
        let adopter = &mut state.participants[me];
        adopter.forget();
        if entry != me {
            adopter.at = At::Idle;
        } else if protocol.is(Mutation::ReuseInsteadOfLater) {
            adopter.at = At::Join;
        } else if protocol.is(Mutation::MovedHold) {
            // Its own line now: it cannot leave it to anybody.
            adopter.target = me as u8;
            adopter.at = At::RedeliverTail;
        } else {
            adopter.at = At::Dead;
        }
    });
}
