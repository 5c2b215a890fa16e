//! Producers of a ring with lanes.
//!
//! By producer, a handle is an ordinary one of an exclusive side: that of the lane that it owns.
//!
//! By class, a handle is one producer for each lane. One of them is the handle itself, and has
//! credit for its own class alone. So a message of that class is sent as in a ring of one lane; for
//! another class there is no credit, and the call that is refused turns to that class's lane. A
//! handle that sends message after message of another class becomes that class's producer.

use super::Producer;
#[cfg(feature = "alloc")]
use super::others::Others;
use crate::error::{RingError, SendError};
use crate::layout::participant::Identity;
use crate::mode::Mode;
#[cfg(feature = "alloc")]
use crate::mode::in_own_mode;
use crate::priority::PriorityClass;
use crate::segment::Segment;

/// After so many messages in a row of one other class a handle becomes that class's producer, which
/// moves some kilobytes.
#[cfg(feature = "alloc")]
const TURNS_AFTER: u32 = 16;

impl<S: Mode> Producer<S> {
    /// Whether messages of `class` go into the lane of this handle itself.
    #[inline]
    pub(super) fn serves(&self, class: PriorityClass) -> bool {
        self.other_lanes.leave(class)
    }

    /// Does again what ended with `reason`, if that was because messages of `class` have a lane of
    /// their own: with the producer of that lane, which the handle is from now on.
    #[cold]
    #[inline(never)]
    pub(super) fn turn_or<T>(
        &mut self,
        class: PriorityClass,
        reason: SendError,
        again: impl FnOnce(&mut Self) -> Result<T, SendError>,
    ) -> Result<T, SendError> {
        if self.turn_to(class) { again(self) } else { Err(reason) }
    }
}

#[cfg(not(feature = "alloc"))]
impl<S: Mode> Producer<S> {
    pub(super) fn attach_to_lanes(_: &Segment, _: &Identity) -> Result<Self, RingError> {
        Err(RingError::HasLanes)
    }

    /// Makes the handle the producer of that class; `false` if it is, as all are.
    pub(super) fn turn_to(&mut self, _: PriorityClass) -> bool {
        false
    }

    pub(super) fn send_elsewhere(
        &mut self,
        _: &[u8],
        _: PriorityClass,
        reason: SendError,
    ) -> Result<(), SendError> {
        Err(reason)
    }

    pub(super) fn for_each_other(&mut self, _: impl FnMut(&mut Producer)) {}
}

#[cfg(feature = "alloc")]
impl<S: Mode> Producer<S> {
    /// A producer of a ring with lanes.
    #[cold]
    pub(super) fn attach_to_lanes(ring: &Segment, identity: &Identity) -> Result<Self, RingError> {
        use crate::settings::Lanes;
        if S::SHARING.is_some() {
            return Err(RingError::HasLanes);
        }
        let producer = match ring.settings().lanes {
            Lanes::ByClass => Producer::of_classes(ring, identity)?,
            Lanes::One | Lanes::ByProducer(_) => Producer::of_free_lane(ring, identity)?,
        };
        Ok(producer.into_mode())
    }

    /// Makes the handle the producer of that class; `false` if it is already, or if there are no
    /// lanes by class.
    pub(super) fn turn_to(&mut self, class: PriorityClass) -> bool {
        if self.serves(class) {
            return false;
        }
        self.leave_own_lane();
        let Some(others) = &mut self.other_lanes.others else { return false };
        let Some(mut other) = others.of_class[class.index()].take() else { return false };
        let own = core::mem::replace(&mut others.own, class);
        others.last = (class, 0);
        core::mem::swap(self.in_mode(), &mut other);
        // What is the handle's, whatever its lane.
        core::mem::swap(&mut self.other_lanes, &mut other.other_lanes);
        #[cfg(any(feature = "std", loom))]
        core::mem::swap(&mut self.waiting, &mut other.waiting);
        if let Some(others) = &mut self.other_lanes.others {
            others.of_class[own.index()] = Some(other);
        }
        self.refused_class = class;
        true
    }

    /// Sends `data`, which was refused for `reason`, into the lane of its class, if that is another
    /// than the handle's own.
    #[cold]
    #[inline(never)]
    pub(super) fn send_elsewhere(
        &mut self,
        data: &[u8],
        class: PriorityClass,
        reason: SendError,
    ) -> Result<(), SendError> {
        if self.serves(class) {
            return Err(reason);
        }
        self.leave_own_lane();
        let Some(others) = &mut self.other_lanes.others else { return Err(reason) };
        let Some(other) = &mut others.of_class[class.index()] else { return Err(reason) };
        let in_a_row = if others.last.0 == class { others.last.1 + 1 } else { 1 };
        others.last = (class, in_a_row);
        let sent = other.send_fast(data, class);
        // It was refused only by the handle's own lane.
        self.refused_class = others.own;
        // One that is refused may wait for room next, and then waits for that lane.
        if in_a_row >= TURNS_AFTER || sent.is_err() {
            self.turn_to(class);
        }
        sent
    }

    /// Before a call goes on in another lane: a forgotten reservation is of the own one, which does
    /// not look for it where it refuses a message for its size.
    fn leave_own_lane(&mut self) {
        in_own_mode!(self, it => it.cancel_forgotten());
    }

    /// Does something with the producers of the other lanes.
    pub(super) fn for_each_other(&mut self, each: impl FnMut(&mut Producer)) {
        if let Some(others) = &mut self.other_lanes.others {
            others.of_class.iter_mut().flatten().for_each(each);
        }
    }
}

#[cfg(feature = "alloc")]
impl Producer {
    /// A producer for each class.
    fn of_classes(ring: &Segment, identity: &Identity) -> Result<Self, RingError> {
        const FIRST: PriorityClass = PriorityClass::Normal;
        let locker = ring.locker()?;
        let mut of_class = [const { None }; PriorityClass::COUNT];
        // The first lane at first: who has it is the one that counts as a participant.
        for class in PriorityClass::ALL {
            let lane = ring.of_lane(class.index());
            let mut producer = Self::attach_to_lane(&lane, locker.clone(), identity)?;
            producer.writer.serve_only(class);
            of_class[class.index()] = Some(producer);
        }
        let Some(mut first) = of_class[FIRST.index()].take() else {
            return Err(RingError::HasLanes);
        };
        let others = Others { own: FIRST, of_class, last: (FIRST, 0) };
        first.other_lanes.others = Some(others.into());
        Ok(first)
    }

    /// The producer of the first lane that has no owner.
    fn of_free_lane(ring: &Segment, identity: &Identity) -> Result<Self, RingError> {
        let locker = ring.locker()?;
        let mut owners = alloc::vec::Vec::new();
        for lane in ring.all_lanes() {
            match Self::attach_to_lane(&lane, locker.clone(), identity) {
                Err(RingError::SideTaken { holder, .. }) => owners.extend(holder),
                done => return done,
            }
        }
        Err(RingError::NoFreeLane { lanes: ring.lanes(), owners })
    }
}

#[cfg(all(test, feature = "std", not(loom)))]
mod tests;
