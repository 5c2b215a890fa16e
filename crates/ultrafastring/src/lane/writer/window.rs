//! The bound of a writer in a ring for groups: the write window, and what the gates and the commit
//! frontier leave.
//!
//! ```text
//!  commit frontier ── gates, tails ── room? ── raise the window ── fence ──
//!  gates, tails again ── bound = min(window, least + limit, position + capacity) ── fence
//! ```
//!
//! On a shared side the commit frontier bounds as a tail does.
//!
//! Nothing at or beyond the window is or was being written. So who opens a group, and looks at the
//! window then, knows what is still there; and a reader whom nobody waits for knows, from a look at
//! the window after its copy, that the copy is whole.

use super::{Writer, WriterMode};
use crate::group::gates::{self, Gates};
use crate::lane::view::OwnLane;
use crate::layout::group::{Membership, position_of};
use crate::sync::{Ordering, fence};

/// What holds a writer back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeldBack {
    /// The slowest group, if it is what is in the way.
    pub(crate) by: Option<Membership>,
    /// The position at which it is in the way: the group's tail, or what another producer has
    /// claimed and not committed.
    pub(crate) at: u64,
}

impl<S: WriterMode> Writer<S> {
    /// Computes the bound anew, raising the window for `count` messages or as many as is the rule;
    /// it shows no intent meanwhile. Says what is in the way if it is to be more.
    pub(crate) fn find_room(&mut self, count: u64, lane: OwnLane<'_>) -> HeldBack {
        let segment = lane.segment();
        let capacity = lane.segment().lane().capacity();
        let frontier = S::commit_frontier(lane);
        let free_up_to = |gates: Gates| {
            let least = gates.least().into_iter().chain(frontier).min();
            least.map_or(u64::MAX, |least| least.saturating_add(capacity))
        };
        let position = self.position();
        let mut gates = Gates::look(segment, position);
        let limit = free_up_to(gates);
        if position >= limit {
            // Nothing is raised beyond the gates: who starts at the oldest would skip what another
            // gate keeps.
            self.credits.observe_groups(gates.least(), position);
        } else {
            let wanted = position + count.max(gates::chunk(capacity)).min(capacity);
            let to = position_of(wanted.min(limit));
            let window = position_of(S::raise_window(&lane.counters().window, to));
            // SeqCst: pairs with the fence of who opens a group, between its gate and its look at
            // the window. A full fence, once in a chunk of messages, and not a `membarrier` of the
            // opener's: who has none can open a group all the same.
            fence(Ordering::SeqCst);
            gates = Gates::look(segment, position);
            // No window that others have raised, and no group's start, lies a lap ahead for long:
            // words of a peer's garbage are looked at again by then.
            let ceiling = window.min(free_up_to(gates)).min(position.saturating_add(capacity));
            self.credits.observe_groups(gates.least(), ceiling);
            // AcqRel: the writes into slots come after the window, whoever has raised it, and after
            // an eviction or a close that was seen in the gates: who finds such a write in its copy
            // finds them. On x86 it is no instruction.
            fence(Ordering::AcqRel);
        }
        let (least, last) = (gates.least().unwrap_or(u64::MAX), gates.last());
        match frontier {
            Some(frontier) if frontier <= least => HeldBack { by: None, at: frontier },
            _ => HeldBack { by: last, at: least },
        }
    }
}
