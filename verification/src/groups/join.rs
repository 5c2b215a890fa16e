//! Coming to a group: opening it, joining it, taking a dead one's entry; and leaving it.
//!
//! ```text
//!  join     gate open, head of its generation? ── name it in the entry ── count oneself in
//!  open     lock ── gate not open? ── where to start ── name the next generation ──
//!           store the tail ── open the gate ── window ≤ tail + capacity? (else raise the tail,
//!           look again) ── swap the head ── unlock
//!  resume   lock ── gate open, head not of its generation: somebody died here ── name it ──
//!           count oneself in ── go on with the look at the window
//!  inherit  lock of a dead one's entry with a hold ── gate open, of that generation? ──
//!           count oneself in ── redeliver
//! ```
//!
//! The head is published last. Until then nobody claims anything in the new generation, and whoever
//! finds the head behind the gate knows that the opening is not finished.

use super::state::{Actor, At, Cursor, Gate, Kind, NONE, State};
use super::{Groups, Mutation, Start, Turn};

/// A newcomer takes an entry that nobody has.
pub(super) fn arrive(turn: &mut Turn<'_>) {
    let (groups, before, me) = (turn.groups, turn.before, *turn.me());
    if before.arrivals == 0 || before.is_locked(turn.who) {
        return;
    }
    let own = groups.member[turn.who - groups.producers];
    for row in 0..groups.rows as u8 {
        if !groups.changes && own != NONE && own != row {
            continue;
        }
        let counts = me.word != NONE
            && me.named != NONE
            && is_current(before.rows[usize::from(me.named)].gate, me.named_generation);
        let taken = groups.is(Mutation::EntryTakenWithHold);
        let at = match counts {
            // It goes to newcomers of its own group.
            true if me.named != row && !taken => continue,
            true if me.named != row => At::ClearOld,
            true => At::Inherit,
            false if me.word != NONE => At::ClearOld,
            false => At::Seek,
        };
        turn.step("a newcomer takes the entry", |state, me| {
            state.arrivals -= 1;
            let actor = &mut state.actors[me];
            (actor.at, actor.row) = (at, row);
            if actor.word == NONE {
                (actor.named, actor.named_generation) = (NONE, 0);
            }
        });
    }
}

/// Whether a gate is open in a generation.
fn is_current(gate: Gate, generation: u8) -> bool {
    gate.kind == Kind::Open && gate.generation == generation
}

/// A member in no call leaves; the last one of a passing group closes it.
pub(super) fn leave(turn: &mut Turn<'_>) {
    if !turn.groups.leaves {
        return;
    }
    let durable = turn.groups.row[usize::from(turn.me().row)].durable;
    turn.step("leaves: clears its name", |state, me| {
        let actor = &mut state.actors[me];
        let row = actor.row;
        actor.vacate();
        if !durable {
            (actor.at, actor.row) = (At::CloseGate, row);
        }
    });
}

/// The steps of a member to be.
pub(super) fn steps(turn: &mut Turn<'_>) {
    let (groups, before, who, me) = (turn.groups, turn.before, turn.who, *turn.me());
    let at_row = *turn.row();
    let gate = at_row.gate;
    let published = groups.is_of(at_row.head.generation, gate.generation);
    let window_gone = before.window > me.frontier + before.capacity;
    match me.at {
        At::Inherit => {
            if !is_current(gate, me.named_generation) {
                return turn.goes("finds the dead one's group gone", At::ClearOld);
            }
            turn.step("reads the dead one's gate", |state, me| {
                let actor = &mut state.actors[me];
                (actor.seen, actor.at) = (gate, At::InheritJoin);
                if groups.is(Mutation::RedeliveredBeforeJoined) {
                    actor.generation = gate.generation;
                    (actor.target, actor.at) = (me as u8, At::RedeliverTail);
                }
            });
        }
        At::InheritJoin if gate != me.seen => turn.goes("finds the gate changed", At::Inherit),
        At::InheritJoin => turn.step("counts itself in, to redeliver", |state, me| {
            count_in(state, me);
            let actor = &mut state.actors[me];
            (actor.target, actor.at) = (me as u8, At::RedeliverTail);
            actor.seen = Gate::default();
        }),
        At::ClearOld => turn.step("clears the dead one's hold", |state, me| {
            let actor = &mut state.actors[me];
            actor.word = NONE;
            (actor.named, actor.named_generation, actor.at) = (NONE, 0, At::Seek);
        }),
        At::Seek if gate.kind != Kind::Open => {
            turn.goes("sees a gate that is not open", At::OpenLock)
        }
        At::Seek => turn.step("sees an open gate", |state, me| {
            (state.actors[me].seen, state.actors[me].at) = (gate, At::SeekHead);
        }),
        At::SeekHead if groups.is_of(at_row.head.generation, me.seen.generation) => {
            let late = groups.is(Mutation::NamedAfterJoin);
            turn.goes("sees that it is opened", if late { At::Join } else { At::Name });
        }
        At::SeekHead => turn.step("sees that it is being opened", |state, me| {
            (state.actors[me].seen, state.actors[me].at) = (Gate::default(), At::OpenLock);
        }),
        At::Name => turn.step("names the group", |state, me| {
            let actor = &mut state.actors[me];
            (actor.named, actor.named_generation) = (actor.row, actor.seen.generation);
            let late = groups.is(Mutation::NamedAfterJoin);
            actor.at = if late { At::JoinHead } else { At::Join };
        }),
        At::Join if gate != me.seen => turn.step("finds the gate changed", |state, me| {
            (state.actors[me].seen, state.actors[me].at) = (Gate::default(), At::Seek);
        }),
        At::Join => turn.step("counts itself in", |state, me| {
            count_in(state, me);
            let late = groups.is(Mutation::NamedAfterJoin);
            state.actors[me].at = if late { At::Name } else { At::JoinHead };
            if !late {
                state.actors[me].seen = Gate::default();
            }
        }),
        At::JoinHead => turn.ends("reads the head and goes on", |state, me| {
            state.actors[me].position = at_row.head.position;
        }),
        At::OpenLock if at_row.lock == NONE => turn.step("takes the group's lock", |state, me| {
            let row = state.actors[me].row;
            state.row(row).lock = me as u8;
            state.actors[me].at = At::OpenGate;
        }),
        At::OpenLock => {}
        At::OpenGate if gate.kind == Kind::Open && published => {
            turn.step("finds the group opened: unlocks", |state, me| {
                let row = state.actors[me].row;
                state.row(row).lock = NONE;
                state.actors[me].at = At::Seek;
            });
        }
        At::OpenGate => turn.step("reads the gate, locked", |state, me| {
            let actor = &mut state.actors[me];
            actor.seen = gate;
            actor.at = if gate.kind == Kind::Open { At::OpenResume } else { At::OpenStart };
            if groups.is(Mutation::MissedFromReadHead) {
                actor.position = at_row.head.position;
            }
        }),
        At::OpenStart => turn.step("finds where to start", |state, me| {
            state.actors[me].frontier = find_start(groups, state, me);
            state.actors[me].at = At::OpenName;
        }),
        At::OpenName => turn.step("names the next generation", |state, me| {
            let actor = &mut state.actors[me];
            assert!(actor.seen.generation < 3, "more openings than fit a state");
            (actor.named, actor.named_generation) = (actor.row, actor.seen.generation + 1);
            let early = groups.is(Mutation::GateBeforeCursor);
            actor.at = if early { At::Open } else { At::OpenTail };
        }),
        At::OpenTail => turn.step("stores the tail", |state, me| {
            let Actor { row, named_generation, frontier, .. } = state.actors[me];
            state.row(row).tail = Cursor { generation: named_generation, position: frontier };
            let early = groups.is(Mutation::GateBeforeCursor);
            state.actors[me].at = if early { At::OpenLook } else { At::Open };
            if groups.is(Mutation::HeadBeforeLook) {
                publish(groups, state, me);
            }
        }),
        At::Open => turn.step("opens the gate", |state, me| {
            let Actor { row, seen, .. } = state.actors[me];
            let owes = seen.kind == Kind::Evicted;
            let generation = seen.generation + 1;
            let opened = Gate { kind: Kind::Open, generation, joins: 0, owes };
            state.row(row).gate = opened;
            count_in(state, me);
            state.actors[me].seen = state.rows[usize::from(row)].gate;
            state.actors[me].at = match () {
                () if groups.is(Mutation::GateBeforeCursor) => At::OpenTail,
                () if groups.is(Mutation::NoLookAfterOpening) => At::OpenHead,
                () => At::OpenLook,
            };
        }),
        At::OpenLook if window_gone => {
            turn.step("looks at the window: the start is gone", |state, me| {
                state.actors[me].frontier = chase(groups, state, me);
                state.actors[me].at = At::OpenChase;
            })
        }
        At::OpenLook => turn.goes("looks at the window: the start is there", At::OpenHead),
        At::OpenChase => turn.step("raises the tail", |state, me| {
            let Actor { row, frontier, .. } = state.actors[me];
            state.row(row).tail.position = frontier;
            state.actors[me].at = At::OpenLook;
            if groups.is(Mutation::HeadBeforeLook) {
                publish(groups, state, me);
            }
        }),
        At::OpenHead => turn.step("swaps the head", |state, me| {
            if !groups.is(Mutation::HeadBeforeLook) {
                publish(groups, state, me);
            }
            state.actors[me].at = At::OpenDone;
        }),
        At::OpenDone => turn.ends("unlocks, and goes on as a member", |state, me| {
            let Actor { row, frontier, .. } = state.actors[me];
            state.row(row).lock = NONE;
            state.actors[me].position = frontier;
            state.started(groups, row, frontier);
        }),
        At::OpenResume => turn.step("goes on with an opening: names it", |state, me| {
            let actor = &mut state.actors[me];
            (actor.named, actor.named_generation) = (actor.row, actor.seen.generation);
            actor.at = At::OpenCount;
        }),
        At::OpenCount if gate != me.seen => turn.step("finds the gate changed", |state, me| {
            (state.actors[me].seen, state.actors[me].at) = (Gate::default(), At::OpenGate);
        }),
        At::OpenCount => turn.step("goes on with an opening: counts itself in", |state, me| {
            count_in(state, me);
            state.actors[me].at = At::OpenAgain;
        }),
        At::OpenAgain => turn.step("goes on with an opening: reads the tail", |state, me| {
            state.actors[me].frontier = at_row.tail.position;
            let trusts = groups.is(Mutation::OpeningTrusted);
            state.actors[me].at = if trusts { At::OpenHead } else { At::OpenLook };
        }),
        at => unreachable!("a member to be at {at:?}, {who}"),
    }
}

/// Counts itself in at the gate of its row.
fn count_in(state: &mut State, me: usize) {
    let row = state.actors[me].row;
    state.row(row).gate.joins += 1;
    let generation = state.rows[usize::from(row)].gate.generation;
    let actor = &mut state.actors[me];
    (actor.joined, actor.generation) = (true, generation);
}

/// Where the group starts: the window is looked at afterwards.
fn find_start(groups: &Groups, state: &State, me: usize) -> u8 {
    let Actor { row, seen, .. } = state.actors[me];
    let latest = match groups.is(Mutation::LatestAtWindow) {
        true => state.window,
        false => state.first_unsettled(state.window.saturating_sub(groups.raise)),
    };
    match groups.row[usize::from(row)].start {
        // Who was evicted goes on at the latest.
        _ if seen.kind == Kind::Evicted => latest,
        Start::Latest => latest,
        Start::Oldest => {
            let other = state.rows[1 - usize::from(row)];
            match other.gate.kind {
                Kind::Open => other.tail.position,
                _ => state.window.saturating_sub(state.capacity),
            }
        }
        Start::Position(position) => position,
    }
}

/// Where a group starts whose start is gone: half a capacity ahead of what is overwritten next; or,
/// at the oldest, where the other open gate is by now, which keeps it from being overwritten.
fn chase(groups: &Groups, state: &State, me: usize) -> u8 {
    let row = usize::from(state.actors[me].row);
    let (oldest, other) = (state.window - state.capacity, state.rows[1 - row]);
    let kept = other.gate.kind == Kind::Open
        && groups.row[row].start == Start::Oldest
        && !groups.is(Mutation::ChasedByHalf);
    if kept { other.tail.position.max(oldest) } else { oldest + state.capacity / 2 }
}

/// Swaps the head: the start for what the last generation had come to.
fn publish(groups: &Groups, state: &mut State, me: usize) {
    let Actor { row, seen, named_generation, frontier, position, .. } = state.actors[me];
    let owes = seen.kind == Kind::Evicted || seen.owes;
    let read = groups.is(Mutation::MissedFromReadHead);
    let head = state.rows[usize::from(row)].head.position;
    let told = owes.then_some(if read { position } else { head });
    state.row(row).head = Cursor { generation: named_generation, position: frontier };
    state.start(row, frontier, told);
}
