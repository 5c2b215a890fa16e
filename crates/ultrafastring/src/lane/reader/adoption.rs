//! What a reader delivers in place of a dead reader.

use super::delivery::Delivery;
use super::tally::Tally;
use crate::lane::view::OwnLane;
use crate::layout::participant::Event;
use crate::layout::slot::SlotState;
use crate::layout::span::Span;
use crate::recover::adopt;
use crate::recover::adopt::Found;
use crate::recover::finish::Adopted;
use crate::recover::frontier;
use crate::sync::{Ordering, raise};

/// Dead readers' messages that are delivered again. Everything that one left is finished before the
/// next is looked at.
#[derive(Debug, Default)]
pub struct Adoption {
    pub(super) adopted: Option<Adopted>,
    /// The entry of a dead reader whose messages the next call delivers or goes on with, unless
    /// somebody else does so first.
    pub(super) handed_on: Option<usize>,
}

impl Adoption {
    /// Begins with messages that came with the reader's entry, if there are any.
    pub(super) fn begin_with(&mut self, adopted: Option<Adopted>) {
        self.adopted = adopted;
    }

    /// Whether there is something to deliver now.
    #[inline(always)]
    pub(super) fn is_under_way(&self) -> bool {
        self.adopted.is_some()
    }

    /// The position of what is delivered next.
    #[cfg(feature = "alloc")]
    pub(super) fn next(&self) -> Option<u64> {
        self.adopted.as_ref().map(|adopted| adopted.next)
    }

    /// Whether there is something to deliver, or was when it was handed on.
    #[inline(always)]
    pub(super) fn is_pending(&self) -> bool {
        self.adopted.is_some() || self.handed_on.is_some()
    }

    /// Reads the next message, if there is one. It stays in the dead reader's hold until
    /// [`advance`](Self::advance). `None` if the dead reader had lost the race for it, or if there
    /// is none.
    pub(crate) fn read(&mut self, lane: OwnLane<'_>, tally: &mut Tally) -> Option<Delivery> {
        loop {
            let adopted = self.adopted.as_mut()?;
            let position = adopted.next;
            let slot = lane.slot(position);
            let state = slot.state(position);
            let (meta, timestamp, payload) = slot.read();
            // Looked at after the copy: before it, the frontier could still pass between.
            if has_passed(lane, position) || matches!(state, SlotState::NotYet | SlotState::Later) {
                // The dead reader had lost this claim, and a scan did not wait for it.
                self.finish(lane);
                return None;
            }
            if state == SlotState::Abandoned {
                lane.participant().count(Event::Skipped, 1);
                self.advance(lane);
                continue;
            }
            adopted.lent = true;
            let large = (!tally.join(meta)).then_some(meta);
            let size = match large {
                Some(_) => payload.large_size(lane.segment().side_size()),
                None => tally.run().size(),
            };
            let redelivered = true;
            return Some(Delivery {
                size,
                large,
                timestamp,
                seen: None,
                payload,
                position,
                redelivered,
            });
        }
    }

    /// The second look, after what was copied from the side buffer of `position`: as in
    /// [`read`](Self::read). `false` if the dead one had lost it.
    pub(crate) fn confirm(&mut self, lane: OwnLane<'_>, position: u64) -> bool {
        // As in `read`. The copy comes before it: nothing is ordered after a read-modify-write that
        // releases, on x86 not even without that.
        let lost = has_passed(lane, position);
        if lost {
            self.finish(lane);
        }
        !lost
    }

    /// Removes one message from the dead reader's hold.
    fn advance(&mut self, lane: OwnLane<'_>) {
        let Some(adopted) = &mut self.adopted else { return };
        adopted.lent = false;
        adopted.next += 1;
        if adopted.next == adopted.end {
            self.finish(lane);
            return;
        }
        let rest = Span::new(adopted.next, adopted.end - adopted.next);
        lane.segment().participant(adopted.index).show_hold(rest);
    }

    /// Releases what was read, if the program has it.
    #[inline]
    pub(super) fn release_lent(&mut self, lane: OwnLane<'_>) {
        if self.adopted.as_ref().is_some_and(|adopted| adopted.lent) {
            self.release(lane);
        }
    }

    /// Releases what was read.
    pub(crate) fn release(&mut self, lane: OwnLane<'_>) {
        self.advance(lane);
        self.hand_on(lane);
    }

    /// Leaves what was read for another call.
    pub(crate) fn leave(&mut self, lane: OwnLane<'_>) {
        if let Some(adopted) = &mut self.adopted {
            adopted.lent = false;
        }
        self.hand_on(lane);
    }

    /// Leaves the rest of a dead reader's messages to the next handle that needs a message, which
    /// may be this one. This handle may make no further call, and then nobody else could get them.
    /// It cannot leave what its own entry shows.
    pub(crate) fn hand_on(&mut self, lane: OwnLane<'_>) {
        let own = lane.entry().index();
        if let Some(adopted) = self.adopted.take_if(|adopted| adopted.index != own) {
            adopt::hand_on(lane.segment(), lane.entry().locker(), &adopted, own);
            self.handed_on = Some(adopted.index);
        }
    }

    /// Goes on with what was handed on, if it is still there and nothing else is under way. That
    /// may be the same messages, if a call hands them on and then finds them again.
    pub(super) fn resume(&mut self, lane: OwnLane<'_>) {
        if self.adopted.is_none()
            && let Some(index) = self.handed_on.take()
        {
            let entry = lane.entry();
            let found = adopt::adopt_again(entry.readers(), entry.locker(), index, entry.index());
            self.take(lane, found);
        }
    }

    /// Takes over what a dead reader holds, if there is one and nothing else is under way.
    pub(super) fn adopt_dead(&mut self, lane: OwnLane<'_>) -> bool {
        if self.is_under_way() {
            return false;
        }
        let entry = lane.entry();
        let found = adopt::adopt_consumer(entry.readers(), entry.locker(), entry.index());
        self.take(lane, found);
        frontier::raise_frontier_of(lane.entry().readers());
        self.is_under_way()
    }

    /// As [`adopt_dead`](Self::adopt_dead), unless nothing holds the frontier back.
    pub(super) fn help(&mut self, lane: OwnLane<'_>) -> bool {
        if self.is_under_way() {
            return false;
        }
        frontier::raise_frontier_of(lane.entry().readers());
        let (tail, head) = frontier::positions_of(lane.entry().readers());
        tail < head && self.adopt_dead(lane)
    }

    fn take(&mut self, lane: OwnLane<'_>, found: Found) {
        lane.participant().count(Event::Discarded, found.discarded);
        self.adopted = found.adopted;
    }

    /// All of the dead reader's work is finished, so its entry is freed.
    fn finish(&mut self, lane: OwnLane<'_>) {
        if let Some(adopted) = self.adopted.take() {
            let entry = lane.entry();
            adopt::close(lane.segment(), entry.locker(), adopted.index, entry.index());
            frontier::raise_frontier_of(lane.entry().readers());
        }
    }
}

/// Whether the frontier has passed a position that a dead one of the reader's group holds.
///
/// A read-modify-write, which changes nothing: a grant that raises the frontier comes before it,
/// and is seen, or after it and synchronises with it (both AcqRel), and then what was read before
/// comes before the write of the next lap.
fn has_passed(lane: OwnLane<'_>, position: u64) -> bool {
    let readers = lane.entry().readers();
    let tail = raise(&readers.cursor().consumer_tail, 0, Ordering::AcqRel);
    // That of another generation has passed all that was held in this one.
    readers.tag().position(tail).is_none_or(|tail| tail > position)
}
