//! What a consumer of several lanes has besides: see [`lanes`](super::lanes).

use alloc::boxed::Box;

use super::time_order::TimeOrder;
use crate::own::Own;
use crate::segment::watch::Watch;

/// What a consumer keeps whose lanes age.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ageing {
    /// One receive in so many takes from the lanes in turn.
    pub(super) one_in: u32,
    /// Receives since one did.
    pub(super) since: u32,
    /// The lane whose turn it is then.
    pub(super) turn: usize,
}

/// The order in which a consumer visits its lanes.
#[derive(Debug)]
pub(super) enum Order {
    /// By class: the most urgent that has something.
    Urgency,
    /// By class: the same, and now and then the lanes in turn.
    UrgencyAndAge(Ageing),
    /// By producer: one after the other.
    Turns,
    /// By producer: the one whose next message is the oldest.
    Time(TimeOrder),
}

/// The lanes of a handle, with the handles `C` of each but the first.
#[derive(Debug)]
pub(super) struct AllLanes<C> {
    /// How the handle of each lane works.
    pub(super) own: Own,
    pub(super) order: Order,
    /// The handles of all lanes but the first.
    pub(super) others: Box<[C]>,
    /// The next slot of each lane.
    pub(super) watches: Box<[Watch]>,
    /// The lane from which it has last received.
    pub(super) at: usize,
    /// How many messages in a row came from there.
    pub(super) in_a_row: u32,
    /// The lane to look at next after that.
    pub(super) beyond: usize,
    /// Calls that receive.
    pub(super) calls: u32,
    /// The lane that is looked after next.
    pub(super) looked_after: usize,
    /// Whether a guard was given out for what it has last received.
    pub(super) lent: bool,
}

impl<C> AllLanes<C> {
    /// What is kept of a time order, if there is one.
    pub(super) fn time(&self) -> Option<&TimeOrder> {
        match &self.order {
            Order::Time(time) => Some(time),
            _ => None,
        }
    }

    /// The same, to change it.
    pub(super) fn time_mut(&mut self) -> Option<&mut TimeOrder> {
        match &mut self.order {
            Order::Time(time) => Some(time),
            _ => None,
        }
    }
}
