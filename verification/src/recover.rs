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
//!
//! Of several positions in one word each is settled by itself: a producer's in order, then the word
//! is cleared; a consumer's is delivered, then the word shows the others alone. An adopter may hand
//! on what it has not delivered yet. A bystander takes the lock of a dead one's entry for a moment,
//! and frees the entry if nothing is left to do.

use crate::exclusive;
use crate::protocol::{Adopts, Mutation, Protocol, Step, Turn};
use crate::slot::Settled;
use crate::state::{At, Fate, NONE, Participant, State};

/// Where the work on a dead consumer's entry begins.
pub(crate) fn begin_redelivery(protocol: &Protocol) -> At {
    if protocol.is(Mutation::OthersBeforeHead) { At::RedeliverOther } else { At::RedeliverTail }
}

/// A living consumer in no call tries the lock of each entry.
pub(crate) fn adopt(turn: &mut Turn<'_>) {
    let (protocol, before, who, me) = (turn.protocol, turn.before, turn.who, *turn.me());
    for entry in protocol.everybody() {
        let peer = before.participants[entry];
        if protocol.shape.roles && entry != who && peer.produces && peer.shows(me.known) {
            turn.step("sees an intent in its way", |state, me| {
                state.participants[me].frontier = entry as u8;
                state.participants[me].at = At::AdoptLock;
            });
        }
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
            state.participants[me].at = if state.participants[entry].produces {
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

/// What a bystander does with the lock of a dead one's entry.
pub(crate) fn stand_by(protocol: &Protocol, before: &State, steps: &mut Vec<Step>) {
    let mut step = |who: usize, what, change: &dyn Fn(&mut State)| {
        let mut after = *before;
        change(&mut after);
        steps.push(Step { who, what, after });
    };
    if before.bystander == NONE {
        for entry in protocol.everybody() {
            if before.participants[entry].at == At::Dead && !before.is_locked(entry) {
                step(entry, "a BYSTANDER takes the entry's lock", &|state| {
                    state.bystander = entry as u8;
                });
            }
        }
        return;
    }
    let entry = usize::from(before.bystander);
    let dead = before.participants[entry];
    let released = protocol.is_exclusive(entry)
        && !protocol.is_producer(entry)
        && (dead.end() <= before.consumer_head || protocol.is(Mutation::FreedWithItsHold));
    step(entry, "the bystander gives the lock back", &|state| {
        state.bystander = NONE;
        if dead.word == NONE || released {
            state.participants[entry].clear();
            state.participants[entry].at = At::Vacant;
        }
    });
}

/// Tries the lock of the entry whose intent was in the way. By now it may be another's, who has
/// died as well, of the other side even.
fn try_lock(turn: &mut Turn<'_>) {
    let (protocol, before) = (turn.protocol, turn.before);
    let entry = usize::from(turn.me().frontier);
    let seen = before.participants[entry];
    let is_mine = seen.at == At::Dead && !before.is_locked(entry);
    let what = if is_mine { "gets the lock" } else { "does not get the lock" };
    turn.step(what, |state, me| {
        state.participants[me].forget();
        state.participants[me].at = At::Idle;
        if is_mine && seen.produces && seen.word != NONE {
            state.participants[me].at = At::AbandonHead;
            state.participants[me].target = entry as u8;
            state.participants[me].frontier = seen.word;
        } else if is_mine && (seen.word == NONE || protocol.is(Mutation::VacatedUnasked)) {
            state.participants[entry].at = At::Vacant;
        }
    });
}

/// The position that an adopter of a dead producer's entry is at: in its own memory, which for a
/// newcomer on that side is what it will read its side's head into.
fn cursor(state: &mut State, me: usize, newcomer: bool) -> &mut u8 {
    let Participant { known, frontier, .. } = &mut state.participants[me];
    if newcomer { known } else { frontier }
}

/// Goes on to the next position of a dead producer's, if there is one.
fn next_abandoned(state: &mut State, me: usize, newcomer: bool) {
    let end = state.participants[usize::from(state.participants[me].target)].end();
    let position = cursor(state, me, newcomer);
    let more = *position + 1 < end;
    if more {
        *position += 1;
    }
    let adopter = &mut state.participants[me];
    adopter.scanned = 0;
    adopter.at = if more { At::AbandonSequence } else { At::Finish };
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
    if me.at == At::AdoptLock {
        return try_lock(turn);
    }
    let entry = usize::from(me.target);
    // The dead one's word; a mistaken adopter that has cleared it has it by heart.
    let word =
        if protocol.is(Mutation::ClearedBeforeDelivery) && !before.participants[entry].produces {
            me.frontier
        } else {
            before.participants[entry].word
        };
    let dead = before.participants[entry];
    // Of a dead producer's: where the adopter is.
    let newcomer = entry == who;
    let position = match me.at {
        At::AbandonSequence | At::AbandonOther | At::AbandonAlive | At::Abandon if newcomer => {
            me.known
        }
        At::AbandonSequence | At::AbandonOther | At::AbandonAlive | At::Abandon => me.frontier,
        _ => word,
    };
    let other = protocol.other(entry, who, me.scanned);
    match me.at {
        At::AbandonHead => {
            let whole = dead.end() <= before.producer_head;
            let claimed =
                whole || protocol.is(Mutation::PartOfASpanWon) && word < before.producer_head;
            turn.step("reads producer_head", |state, me| {
                *cursor(state, me, newcomer) = if claimed { word } else { 0 };
                let at = if claimed { At::AbandonSequence } else { At::Finish };
                state.participants[me].at = at;
            });
        }
        At::AbandonSequence if before.settled(position) != Settled::NotYet => {
            turn.step("sees the slot settled", |state, me| {
                match protocol.is(Mutation::FirstOfASpanAlone) {
                    true => state.participants[me].at = At::Finish,
                    false => next_abandoned(state, me, newcomer),
                }
            });
        }
        At::AbandonSequence if protocol.is(Mutation::LivingIntentIgnored) => {
            turn.goes("sees the slot not settled", At::Abandon);
        }
        At::AbandonSequence => {
            let at = if other.is_some() { At::AbandonOther } else { At::Abandon };
            turn.goes("sees the slot not settled", at);
        }
        At::AbandonOther | At::RedeliverOther => ask_other(turn, position, &dead, other),
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
            if state.settled(position) == Settled::NotYet || protocol.is(Mutation::AbandonByStore) {
                state.abandon(position);
            }
            next_abandoned(state, me, newcomer);
        }),
        At::MoveShow => turn.step("moves the hold: shows it itself", |state, me| {
            state.participants[me].word = word;
            state.participants[me].count = dead.count;
            state.participants[me].at = At::MoveClear;
        }),
        At::MoveClear => turn.step("moves the hold: clears the dead one's", |state, me| {
            state.participants[entry].clear();
            state.participants[entry].at = At::Vacant;
            state.participants[me].target = me as u8;
            state.participants[me].at = At::RedeliverTail;
        }),
        At::RedeliverTail => turn.step("reads consumer_tail", |state, me| {
            let held = state.consumer_tail <= word;
            state.participants[me].at = if held { At::RedeliverHead } else { At::Finish };
            if protocol.is(Mutation::ClearedBeforeDelivery) {
                state.participants[entry].clear();
            }
        }),
        At::RedeliverHead => turn.step("reads consumer_head", |state, me| {
            let asked = [Mutation::LivingHoldIgnored, Mutation::OthersBeforeHead]
                .iter()
                .any(|&mutation| protocol.is(mutation));
            state.participants[me].scanned = 0;
            let others = protocol.other(entry, who, 0).is_some();
            // A claim moves the head over all of it at once. (The word of a mistaken adopter is
            // gone.)
            let end = if dead.word == NONE { word + 1 } else { dead.end() };
            let part = protocol.is(Mutation::PartOfAHoldWon) && word < state.consumer_head;
            state.participants[me].at = if end > state.consumer_head && !part {
                At::Finish
            } else if others && !asked {
                At::RedeliverOther
            } else {
                At::RedeliverCopy
            };
        }),
        At::RedeliverCopy if me.wants_to_produce => {
            if protocol.is(Mutation::ProducerTakesHold) {
                return turn.goes("wants the entry and nothing else", At::Finish);
            }
            later(turn);
        }
        At::RedeliverCopy => {
            if protocol.discard {
                return turn.step("drops what was held", |state, me| {
                    (word..dead.end()).for_each(|position| state.drop_held(position));
                    state.participants[me].at = At::Finish;
                });
            }
            if !newcomer {
                turn.step("hands on what was held", |state, me| {
                    if protocol.is(Mutation::HandedOnCleared) {
                        state.participants[entry].clear();
                    }
                    state.participants[me].forget();
                    state.participants[me].at = At::Idle;
                });
            }
            turn.step("copies the payload", |state, me| {
                // No look at the sequence: a hold is shown only on what was seen committed.
                state.participants[me].intact = state.is_intact(word);
                let early = protocol.is(Mutation::AdvancedBeforeDelivery) && dead.count > 1;
                state.participants[me].at = if early { At::Advance } else { At::RedeliverLook };
            });
        }
        At::RedeliverLook => {
            // A mistaken adopter has moved on before it delivers.
            let early = u8::from(protocol.is(Mutation::AdvancedBeforeDelivery)) * me.scanned;
            let position = word - early;
            turn.step("looks at consumer_tail again", |state, me| {
                let held = state.consumer_tail <= position;
                state.participants[me].scanned = 0;
                state.participants[me].at = match held && dead.count > 1 && early == 0 {
                    true => At::Advance,
                    false if early == 1 => At::RedeliverCopy,
                    false => At::Finish,
                };
                if held || protocol.is(Mutation::NoSecondLook) {
                    state.redeliver(position, state.participants[me].intact, Fate::Released);
                }
                state.participants[me].intact = false;
            });
        }
        At::Advance => turn.step("takes the message off what is shown", |state, me| {
            state.participants[entry].word += 1;
            state.participants[entry].count -= 1;
            let early = protocol.is(Mutation::AdvancedBeforeDelivery);
            state.participants[me].scanned = u8::from(early);
            state.participants[me].at = if early { At::RedeliverLook } else { At::RedeliverCopy };
        }),
        At::Finish => turn.step("clears the dead one's word", |state, me| {
            state.participants[entry].clear();
            state.participants[me].forget();
            if entry == me {
                let newcomer = &mut state.participants[me];
                newcomer.at = At::Join;
                if protocol.shape.roles {
                    newcomer.produces = core::mem::take(&mut newcomer.wants_to_produce);
                    newcomer.known = 0;
                }
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

/// Reads another's word and compares it with the dead one's: a producer's with the position in
/// question, a consumer's with all that is held.
fn ask_other(turn: &mut Turn<'_>, position: u8, dead: &Participant, other: Option<usize>) {
    let (protocol, before, at) = (turn.protocol, turn.before, turn.me().at);
    let same = |shown: &Participant| match at {
        At::AbandonOther => shown.produces && shown.shows(position),
        _ if shown.produces => false,
        _ if protocol.is(Mutation::FirstHeldCompared) => shown.word == dead.word,
        _ => (position..position + dead.count).any(|position| shown.shows(position)),
    };
    match other {
        Some(other) if same(&before.participants[other]) => turn.goes(
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
            // What a newcomer had read is nobody's.
            (adopter.at, adopter.known, adopter.wants_to_produce) = (At::Dead, 0, false);
        }
    });
}
