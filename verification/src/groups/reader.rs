//! The tail reader.
//!
//! ```text
//!  load the sequence ── copy ── load the window: window ≤ position + capacity? deliver, or jump
//! ```
//!
//! It has no entry and no gate. What it jumps over it counts, by subtraction; that it counts no
//! more than it had to is a promise of its own.

use super::invariant::Violation;
use super::state::{Reads, State};
use super::{Groups, Mutation, Turn};
use crate::slot::Settled;

/// What the tail reader may do.
pub(super) fn steps(turn: &mut Turn<'_>) {
    let (groups, before) = (turn.groups, turn.before);
    let position = before.reader.position;
    match before.reader.at {
        Reads::Sequence if position >= groups.positions => {}
        Reads::Sequence => match before.settled(position) {
            Settled::NotYet => {}
            Settled::Committed => turn.step("tail: sees a message", |state, _| {
                let first = groups.is(Mutation::WindowBeforeCopy);
                state.reader.at = if first { Reads::Window } else { Reads::Copy };
            }),
            Settled::Abandoned => turn.step("tail: skips an abandoned slot", |state, _| {
                state.reader.position += 1;
            }),
            Settled::Later => turn.step("tail: is too late", |state, _| {
                state.reader.at = Reads::Jump;
            }),
        },
        Reads::Copy => turn.step("tail: copies", |state, _| {
            state.reader.intact = state.is_intact(position);
            state.reader.at = Reads::Window;
            if groups.is(Mutation::WindowBeforeCopy) {
                accept(state);
            }
        }),
        Reads::Window if before.window <= position + before.capacity => {
            turn.step("tail: looks at the window and delivers", |state, _| {
                if groups.is(Mutation::WindowBeforeCopy) {
                    state.reader.at = Reads::Copy;
                } else {
                    accept(state);
                }
            });
        }
        Reads::Window if groups.is(Mutation::CopyWithoutWindow) => {
            turn.step("tail: delivers without a look at the window", |state, _| accept(state));
        }
        Reads::Window => turn.step("tail: looks at the window and jumps", |state, _| {
            jump(groups, state);
        }),
        Reads::Jump => turn.step("tail: jumps", |state, _| jump(groups, state)),
    }
}

fn accept(state: &mut State) {
    state.require(state.reader.intact, Violation::Garbage);
    state.reader.position += 1;
    (state.reader.at, state.reader.intact) = (Reads::Sequence, false);
}

/// Goes on half a capacity ahead of the oldest.
fn jump(groups: &Groups, state: &mut State) {
    let position = state.reader.position;
    state.miss(groups, position);
    let oldest = state.window.saturating_sub(state.capacity);
    state.reader.position = (oldest + state.capacity / 2).max(position + 1);
    (state.reader.at, state.reader.intact) = (Reads::Sequence, false);
}
