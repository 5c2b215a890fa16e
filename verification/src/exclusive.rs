//! What is different on an exclusive side.
//!
//! A producer claims nothing: it writes at its own position and commits. Its successor, who has
//! the side's lock, finds the position from the sequences, starting at `producer_tail` as announced
//! or at `consumer_head`, whichever is greater, and writes a half-written slot again.
//!
//! A consumer stores `consumer_head` exactly as each message is released. Reading in place, it
//! shows its hold first and leaves it shown: a hold below `consumer_head` says nothing. Its
//! successor starts at `consumer_head`, and a hold at that very position says that the message
//! there may have been seen. Its entry may be another one: then it reads the hold in its
//! predecessor's, whoever has the lock of that, since the side's lock says that the predecessor is
//! gone; shows what is marked in its own; and frees the other if it gets the lock. Where its
//! predecessor held several, its own hold covers all of them that are not released, also when it
//! reads one of them in place.

use crate::protocol::{Mutation, Protocol, Turn, Ways};
use crate::shared::{grant, has_credit, look_for_credit, write};
use crate::slot::Settled;
use crate::state::{At, Fate, NONE, State};

/// What the one handle of an exclusive side may do.
pub(crate) fn steps(turn: &mut Turn<'_>) {
    if turn.protocol.is_producer(turn.who) {
        produce(turn);
    } else if turn.protocol.shape.span > 1 {
        consume_spans(turn);
    } else {
        consume(turn);
    }
}

fn produce(turn: &mut Turn<'_>) {
    match turn.me().at {
        At::Idle => {
            if has_credit(turn, 1) {
                turn.goes("has credit", At::Begin);
            } else {
                look_for_credit(turn);
            }
            turn.step("announces producer_tail", |state, me| {
                state.producer_tail = state.participants[me].known;
            });
        }
        At::GrantHold | At::GrantHead | At::GrantRaise => grant(turn),
        _ => write(turn),
    }
}

/// The first position that the hold of an entry does not mark, of those from `next` on; `next` or
/// less if it marks nothing.
fn marks_below(state: &State, entry: usize, next: u8) -> u8 {
    let shown = state.participants[entry];
    if shown.word == NONE || shown.end() <= next { 0 } else { shown.end() }
}

/// What a new exclusive consumer does first that has read `consumer_head`.
pub(crate) fn begin(protocol: &Protocol, state: &mut State, me: usize) -> At {
    if protocol.shape.span > 1 {
        // It remembers what to mark, too; its entry goes on to show it.
        let next = state.participants[me].known;
        state.participants[me].frontier = marks_below(state, me, next);
    }
    let own = state.participants[me];
    let marked = own.word == own.known && state.settled(own.known) == Settled::Committed;
    match protocol.discard && marked {
        true if protocol.is(Mutation::MarkClearedBeforeDrop) => At::ClearMark,
        true => At::DropMarked,
        false => At::Idle,
    }
}

/// What the successor of an exclusive side's handle does first.
pub(crate) fn succeed(turn: &mut Turn<'_>) {
    let (protocol, before, me) = (turn.protocol, turn.before, *turn.me());
    let clears_first = protocol.is(Mutation::MarkClearedBeforeDrop);
    let other = protocol.other(turn.who, turn.who, 0).unwrap_or(turn.who);
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
        At::SucceedHold => turn.step("succeeds: reads its predecessor's hold", |state, me| {
            let marked = marks_below(state, other, state.participants[me].known) != 0;
            let unseen = protocol.is(Mutation::HoldReadUnderLock) && state.is_locked(other);
            state.participants[me].at = match marked && !unseen {
                true => At::SucceedShow,
                false => At::SucceedClose,
            };
        }),
        At::SucceedShow => turn.step("succeeds: shows what is marked itself", |state, me| {
            let next = state.participants[me].known;
            let end = marks_below(state, other, next).max(marks_below(state, me, next));
            // Nobody has freed the other meanwhile: it marks what is not released.
            let end = end.max(next + 1);
            (state.participants[me].word, state.participants[me].count) = (next, end - next);
            state.participants[me].at = At::SucceedClose;
        }),
        At::SucceedClose => turn.step("succeeds: frees the entry if it can", |state, me| {
            if !state.is_locked(other) {
                state.participants[other].clear();
                state.participants[other].at = At::Vacant;
            }
            state.participants[me].at = begin(protocol, state, me);
        }),
        At::SucceedHead => turn.step("succeeds: reads consumer_head", |state, me| {
            let known = &mut state.participants[me].known;
            *known = state.consumer_head.max(*known);
            state.participants[me].at = At::SucceedScan;
        }),
        At::DropMarked => turn.step("succeeds: moves the head over what is marked", |state, me| {
            state.drop_held(state.participants[me].known);
            pass(state, me);
            state.participants[me].at = if clears_first { At::Idle } else { At::ClearMark };
        }),
        At::ClearMark => turn.step("succeeds: clears the mark", |state, me| {
            state.participants[me].clear();
            state.participants[me].at = if clears_first { At::DropMarked } else { At::Idle };
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
        At::Release | At::ForgotHold => {
            if protocol.forgets && me.at == At::Release {
                turn.goes("forgets its guard", At::ForgotHold);
            }
            if protocol.is(Mutation::ForgottenHoldCleared) && me.at == At::ForgotHold {
                turn.step("finds nothing: clears its hold", |state, me| {
                    state.participants[me].clear();
                });
            }
            turn.step("releases: moves the head", |state, me| {
                state.release(state.participants[me].known);
                state.participants[me].forget();
                pass(state, me);
                state.participants[me].at = At::Idle;
            });
        }
        at => unreachable!("an exclusive consumer at {at:?}"),
    }
}

/// As `consume`, of a handle that borrows several at once, and marks several. Its private
/// `frontier` is the first position that is not to be marked.
fn consume_spans(turn: &mut Turn<'_>) {
    let (protocol, before, me) = (turn.protocol, turn.before, *turn.me());
    let marked = me.frontier > me.known;
    match me.at {
        At::Idle => {
            match before.settled(me.known) {
                Settled::Committed => {
                    if protocol.ways != Ways::Borrow {
                        turn.goes("sees a message, to copy", At::CopyRead);
                    }
                    // What is marked comes alone.
                    let most = match protocol.ways {
                        Ways::Copy => 0,
                        _ if marked => 1,
                        _ => protocol.shape.span.min(protocol.shape.positions - me.known),
                    };
                    for count in 1..=most {
                        if before.settled(me.known + count - 1) != Settled::Committed {
                            break;
                        }
                        turn.step("sees messages, to borrow", |state, me| {
                            state.participants[me].scanned = count;
                            state.participants[me].at = At::ShowHold;
                        });
                    }
                }
                Settled::Abandoned => turn.goes("sees an abandoned slot", At::Skip),
                Settled::Later | Settled::NotYet => {}
            }
            turn.step("grants: stores the frontier", |state, _| state.grant(state.consumer_head));
        }
        At::CopyRead | At::CopyReturn => consume(turn),
        At::CopyClaim => turn.step("moves the head: releases the copy", |state, me| {
            let (position, intact) = (state.participants[me].known, state.participants[me].intact);
            if marked {
                state.redeliver(position, intact, Fate::Released);
            } else {
                state.deliver(position, intact, Fate::Released);
            }
            pass_several(state, me, 1);
            state.participants[me].at = At::CopyReturn;
        }),
        At::Skip => turn.step("skips an abandoned slot", |state, me| {
            state.release(state.participants[me].known);
            pass_several(state, me, 1);
            state.participants[me].at = At::Idle;
        }),
        At::ShowHold => turn.step("shows its hold, and what is marked", |state, me| {
            let own = &mut state.participants[me];
            let mut end = own.known + own.scanned;
            if !protocol.is(Mutation::MarksNotCovered) {
                end = end.max(own.frontier);
            }
            (own.word, own.count) = (own.known, end - own.known);
            own.at = if marked { At::ReadMarked } else { At::Read };
        }),
        At::Read => turn.step("reads several in place", |state, me| {
            let own = state.participants[me];
            for position in own.known..own.known + own.scanned {
                state.deliver(position, state.is_intact(position), Fate::Seen);
            }
            state.participants[me].at = At::Release;
        }),
        At::ReadMarked => turn.step("reads in place, marked", |state, me| {
            let position = state.participants[me].known;
            state.redeliver(position, state.is_intact(position), Fate::Seen);
            state.participants[me].at = At::Release;
        }),
        At::Release | At::ForgotHold => {
            if protocol.forgets && me.at == At::Release {
                turn.goes("forgets its guard", At::ForgotHold);
            }
            turn.step("releases several: moves the head", |state, me| {
                let own = state.participants[me];
                for position in own.known..own.known + own.scanned {
                    state.release(position);
                }
                pass_several(state, me, own.scanned);
                state.participants[me].at = At::ClearHold;
            });
        }
        At::ClearHold => {
            turn.step("shows what is still marked, or clears its hold", |state, me| {
                let own = &mut state.participants[me];
                if own.frontier > own.known && !protocol.is(Mutation::MarksClearedWithHold) {
                    (own.word, own.count) = (own.known, own.frontier - own.known);
                } else {
                    own.clear();
                }
                own.at = At::Idle;
            })
        }
        at => unreachable!("an exclusive consumer at {at:?}"),
    }
}

/// Goes on behind so many positions, and forgets the call, but not what is still to be marked.
fn pass_several(state: &mut State, me: usize, count: u8) {
    let own = &mut state.participants[me];
    let frontier = own.frontier;
    own.forget();
    own.known += count;
    own.frontier = if frontier > own.known { frontier } else { 0 };
    state.consumer_head = own.known;
}

/// The next position, for a consumer and for its successors.
fn pass(state: &mut State, me: usize) {
    state.participants[me].known += 1;
    state.consumer_head = state.participants[me].known;
}
