//! The steps of producers and consumers on a shared side, and of the grant.
//!
//! ```text
//!  send    credit? ── show intent ── claim ── write, write ── commit
//!  recv    committed? ── read ── claim (and release, in one) ── return
//!  borrow  committed? ── show hold ── claim ── read ── release
//!  grant   read consumer_head ── read each hold ── raise consumer_tail
//! ```
//!
//! The bound that a producer remembers is not kept: reading `consumer_tail` anew allows whatever
//! an older value would have allowed, since it only grows. Where the head was last seen is kept,
//! since an old one makes a participant show an old position.
//!
//! Several positions are claimed at once, by one word and one compare-and-swap; they are written
//! and read one by one and released together. Who has forgotten a guard is in no call, and its next
//! call begins by giving up, or releasing, what the guard had.

use crate::invariant::Violation;
use crate::protocol::{Mutation, Turn, Ways};
use crate::slot::Settled;
use crate::state::{At, Fate, NONE};

/// What a shared producer may do.
pub(crate) fn produce(turn: &mut Turn<'_>) {
    let (protocol, before, me) = (turn.protocol, turn.before, *turn.me());
    match me.at {
        At::Idle | At::Credit => {
            if has_credit(turn, 1) {
                let late = [Mutation::NoIntent, Mutation::IntentAfterClaim];
                let show = !late.iter().any(|&mutation| protocol.is(mutation));
                let at = if show { At::ShowIntent } else { At::Claim };
                for count in 1..=protocol.shape.span {
                    if !has_credit(turn, count) {
                        break;
                    }
                    turn.step("has credit", |state, me| {
                        state.participants[me].scanned = count;
                        state.participants[me].at = at;
                    });
                }
            } else {
                if me.word == NONE || protocol.is(Mutation::IntentNotCleared) {
                    turn.goes("has no credit: leaves", At::Idle);
                } else {
                    turn.goes("has no credit: will leave", At::ClearIntent);
                }
                look_for_credit(turn);
            }
        }
        At::GrantHold | At::GrantHead | At::GrantRaise => grant(turn),
        At::ShowIntent => turn.step("shows its intent", |state, me| {
            state.participants[me].word = me_known(state, me);
            state.participants[me].count = state.participants[me].scanned;
            state.participants[me].at = At::Claim;
        }),
        At::Claim if before.producer_head == me.known => turn.step("claims", |state, me| {
            state.producer_head += state.participants[me].scanned;
            state.participants[me].at = if protocol.is(Mutation::IntentAfterClaim) {
                At::LateIntent
            } else if protocol.is(Mutation::CommitBeforePayload) {
                At::Commit
            } else {
                At::Begin
            };
        }),
        At::Claim => turn.step("loses the race", |state, me| {
            // Where claims are taken back the head may be anywhere, which alone breaks no promise.
            let kept = state.producer_head > me_known(state, me);
            let expected = kept || protocol.is(Mutation::CancelTakesBack);
            state.require(expected, Violation::Reordered);
            state.participants[me].known = state.producer_head;
            state.participants[me].scanned = 0;
            state.participants[me].at = At::Credit;
        }),
        At::LateIntent => turn.step("shows its intent, late", |state, me| {
            state.participants[me].word = me_known(state, me);
            state.participants[me].at = At::Begin;
        }),
        At::ClearIntent => turn.step("clears its intent and leaves", |state, me| {
            state.participants[me].clear();
            state.participants[me].at = At::Idle;
        }),
        At::ForgotReservation => {
            for (what, at) in [
                ("cancels what it forgot, to send", At::Credit),
                ("cancels what it forgot, and waits", At::ClearIntent),
            ] {
                turn.step(what, |state, me| {
                    let position = me_known(state, me);
                    state.cancel(position);
                    state.participants[me].known += 1;
                    state.participants[me].scanned = 0;
                    state.participants[me].at = at;
                });
            }
            if protocol.is(Mutation::ForgottenNotCancelled) {
                turn.step("waits: clears its intent", |state, me| state.participants[me].clear());
            }
        }
        _ => write(turn),
    }
    if me.at == At::Begin && me.scanned == 1 {
        if protocol.forgets {
            turn.goes("forgets its reservation", At::ForgotReservation);
        }
        if protocol.is(Mutation::CancelTakesBack) && before.producer_head == me.known + 1 {
            turn.step("cancels: takes its claim back", |state, me| {
                state.producer_head -= 1;
                state.participants[me].scanned = 0;
                state.participants[me].at = At::ClearIntent;
            });
        }
    }
}

/// The steps between a claim and a commit, which both kinds of producer take.
pub(crate) fn write(turn: &mut Turn<'_>) {
    let (protocol, me) = (turn.protocol, *turn.me());
    let commit_first = protocol.is(Mutation::CommitBeforePayload);
    match me.at {
        At::Begin => turn.step("writes the first half", |state, me| {
            let position = me_known(state, me);
            if !commit_first {
                state.begin(position, me);
            }
            state.slot(position).payload = 0;
            state.participants[me].at = At::Fill;
        }),
        At::Fill => turn.step("writes the second half", |state, me| {
            let position = me_known(state, me);
            state.slot(position).payload = state.lap(position) + 1;
            state.participants[me].at = At::Commit;
            if commit_first {
                state.participants[me].known += 1;
                state.participants[me].scanned = 0;
                state.participants[me].at = At::Idle;
            }
        }),
        At::Commit => turn.step("commits", |state, me| {
            let position = me_known(state, me);
            state.require(state.settled(position) == Settled::NotYet, Violation::Robbed);
            state.slot(position).sequence = 1 + 2 * state.lap(position);
            if commit_first {
                state.participants[me].at = At::Begin;
            } else {
                let producer = &mut state.participants[me];
                producer.known += 1;
                producer.scanned = producer.scanned.saturating_sub(1);
                producer.at = if producer.scanned == 0 { At::Idle } else { At::Begin };
            }
        }),
        at => unreachable!("a producer at {at:?}"),
    }
}

/// A producer without credit looks for what was released and not granted.
pub(crate) fn look_for_credit(turn: &mut Turn<'_>) {
    // A call that goes on after a lost race shows its intent meanwhile; where it goes on is all the
    // same to the others.
    if turn.protocol.producers_grant
        && !turn.protocol.consumers_exclusive
        && turn.me().at == At::Idle
    {
        grant(turn);
    }
}

/// Whether a producer may write so many messages from the position on that it knows. What an
/// exclusive consumer has released is free, announced or not.
pub(crate) fn has_credit(turn: &Turn<'_>, count: u8) -> bool {
    let more = u8::from(turn.protocol.is(Mutation::CreditOffByOne));
    let released = match turn.protocol.consumers_exclusive {
        true => turn.before.consumer_head,
        false => turn.before.consumer_tail,
    };
    let bound = released + turn.before.capacity + more;
    turn.me().known + count <= bound.min(turn.protocol.shape.positions)
}

fn me_known(state: &crate::state::State, me: usize) -> u8 {
    state.participants[me].known
}

/// What a shared consumer may do.
pub(crate) fn consume(turn: &mut Turn<'_>) {
    let (protocol, before, me) = (turn.protocol, turn.before, *turn.me());
    let claims = before.consumer_head == me.known;
    // Where the loop of a call goes on: a copying call has nothing to clear when it ends.
    let again = if me.word == NONE { At::Idle } else { At::Look };
    match me.at {
        At::Idle | At::Look => look(turn),
        At::Reload => turn.step("reads the head", |state, me| {
            state.participants[me].known = state.consumer_head;
            state.participants[me].at = again;
        }),
        At::CopyRead => turn.step("copies the payload", |state, me| {
            let position = me_known(state, me);
            state.participants[me].intact = state.is_intact(position);
            state.participants[me].at = At::CopyClaim;
        }),
        At::CopyClaim if claims => turn.step("claims and releases the copy", |state, me| {
            let intact = state.participants[me].intact || protocol.is(Mutation::CopyAfterClaim);
            if protocol.is(Mutation::CopyAfterClaim) {
                state.participants[me].at = At::LateHold;
            } else {
                state.deliver(me_known(state, me), intact, Fate::Released);
                state.participants[me].at = At::CopyReturn;
            }
            state.participants[me].known += 1;
            state.consumer_head += 1;
            state.participants[me].intact = false;
        }),
        At::CopyReturn => turn.goes("returns the copy", At::Idle),
        At::Skip if claims => turn.step("skips an abandoned slot", |state, me| {
            state.release(me_known(state, me));
            state.participants[me].known += 1;
            state.consumer_head += 1;
            state.participants[me].at = again;
        }),
        At::ShowHold => turn.step("shows its hold", |state, me| {
            state.participants[me].word = me_known(state, me);
            state.participants[me].count = state.participants[me].scanned;
            let looks = protocol.is(Mutation::HoldBeforeSequence);
            state.participants[me].at = if looks { At::Look } else { At::BorrowClaim };
        }),
        At::BorrowClaim if claims => turn.step("claims what it holds", |state, me| {
            let count = state.participants[me].scanned;
            state.participants[me].known += count;
            state.consumer_head += count;
            let late = protocol.is(Mutation::HoldAfterClaim);
            state.participants[me].at = if late { At::LateHold } else { At::Read };
        }),
        At::CopyClaim | At::Skip | At::BorrowClaim => turn.step("loses the race", |state, me| {
            let kept = state.consumer_head > me_known(state, me);
            state.require(kept, Violation::Reordered);
            state.participants[me].known = state.consumer_head;
            state.participants[me].intact = false;
            state.participants[me].scanned = 0;
            state.participants[me].at = again;
        }),
        At::LateHold if protocol.is(Mutation::CopyAfterClaim) => {
            turn.step("copies the payload, late", |state, me| {
                let position = me_known(state, me) - 1;
                state.deliver(position, state.is_intact(position), Fate::Released);
                state.participants[me].at = At::Idle;
            });
        }
        At::LateHold => turn.step("shows its hold, late", |state, me| {
            state.participants[me].word = me_known(state, me) - 1;
            state.participants[me].at = At::Read;
        }),
        At::Read => turn.step("reads in place", |state, me| {
            let left = state.participants[me].scanned;
            let position = me_known(state, me) - left;
            state.deliver(position, state.is_intact(position), Fate::Seen);
            state.participants[me].scanned = left - 1;
            state.participants[me].at = if left > 1 { At::Read } else { At::Release };
        }),
        At::Release | At::ForgotHold => {
            if protocol.forgets && me.at == At::Release && me.count == 1 {
                turn.goes("forgets its guard", At::ForgotHold);
            }
            turn.step("releases", |state, me| {
                let (end, count) = (me_known(state, me), state.participants[me].count);
                (end - count..end).for_each(|position| state.release(position));
                state.participants[me].clear();
                state.participants[me].at = At::Idle;
            });
        }
        At::ClearHold => turn.step("clears its hold and leaves", |state, me| {
            state.participants[me].clear();
            state.participants[me].at = At::Idle;
        }),
        At::GrantHold | At::GrantHead | At::GrantRaise => {}
        at => unreachable!("a consumer at {at:?}"),
    }
    grant(turn);
}

/// A consumer looks at the sequence of the position it knows.
fn look(turn: &mut Turn<'_>) {
    let (protocol, before, me) = (turn.protocol, turn.before, *turn.me());
    if protocol.is(Mutation::HoldBeforeSequence) && me.word != me.known {
        // What the mistake is: the hold comes first, and whether there is anything, second.
        if before.settled(me.known) == Settled::Later {
            turn.goes("is behind by a lap", At::Reload);
        } else {
            turn.step("will hold whatever comes", |state, me| {
                state.participants[me].scanned = 1;
                state.participants[me].at = At::ShowHold;
            });
        }
        return;
    }
    match before.settled(me.known) {
        Settled::Committed => {
            if me.at == At::Idle && protocol.ways != Ways::Borrow {
                turn.goes("sees a message, to copy", At::CopyRead);
            }
            if protocol.ways != Ways::Copy {
                let held = protocol.is(Mutation::HoldAfterClaim)
                    || protocol.is(Mutation::HoldBeforeSequence);
                let at = if held { At::BorrowClaim } else { At::ShowHold };
                let there =
                    |&count: &u8| before.settled(me.known + count - 1) == Settled::Committed;
                for count in (1..=protocol.shape.span).take_while(there) {
                    turn.step("sees a message, to borrow", |state, me| {
                        state.participants[me].scanned = count;
                        state.participants[me].at = at;
                    });
                }
            }
        }
        Settled::Abandoned => turn.goes("sees an abandoned slot", At::Skip),
        Settled::Later => turn.goes("is behind by a lap", At::Reload),
        Settled::NotYet if me.at == At::Idle => {}
        Settled::NotYet if protocol.is(Mutation::HoldNotCleared) => {
            turn.goes("finds nothing: leaves", At::Idle);
        }
        Settled::NotYet => turn.goes("finds nothing: will leave", At::ClearHold),
    }
}

/// A consumer in no call announces the release frontier, or a producer without credit.
///
/// A grant that starts with a head at the frontier raises nothing, so it is left out.
pub(crate) fn grant(turn: &mut Turn<'_>) {
    let (protocol, before, who) = (turn.protocol, turn.before, turn.who);
    let head_last = protocol.is(Mutation::HoldsBeforeHead);
    let next = |scanned| match protocol.holder(who, scanned) {
        Some(_) => At::GrantHold,
        None if head_last => At::GrantHead,
        None => At::GrantRaise,
    };
    match turn.me().at {
        At::Idle if before.consumer_head > before.consumer_tail => {
            turn.step("grants: reads the head", |state, me| {
                let me_at = &state.participants[me];
                let own = if me_at.produces { NONE } else { me_at.word };
                let head = if head_last { NONE } else { state.consumer_head };
                state.participants[me].frontier = head.min(own);
                state.participants[me].at = next(0);
            });
        }
        At::GrantHold => turn.step("grants: reads a hold", |state, me| {
            let scanned = state.participants[me].scanned;
            if let Some(other) = protocol.holder(me, scanned) {
                let hold = state.participants[other].hold();
                let frontier = &mut state.participants[me].frontier;
                *frontier = hold.min(*frontier);
            }
            state.participants[me].scanned = scanned + 1;
            state.participants[me].at = next(scanned + 1);
        }),
        At::GrantHead => turn.step("grants: reads the head, last", |state, me| {
            let frontier = &mut state.participants[me].frontier;
            *frontier = state.consumer_head.min(*frontier);
            state.participants[me].at = At::GrantRaise;
        }),
        At::GrantRaise => turn.step("grants: raises the frontier", |state, me| {
            let seen = state.participants[me].frontier;
            if seen > state.consumer_tail || protocol.is(Mutation::TailStored) {
                state.grant(seen);
            }
            state.participants[me].forget();
            state.participants[me].at = At::Idle;
        }),
        _ => {}
    }
}
