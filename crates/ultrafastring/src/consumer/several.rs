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

/// How long a consumer stays in the lane that it is at. Its calls go straight to that lane's
/// handle, and are counted when the visit ends, by what that handle has received.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Visit {
    /// How many messages the lane's handle had received when the visit began.
    pub(super) began: u64,
    /// How many it will have received when the visit ends; 0 if there is none.
    pub(super) ends: u64,
    /// So many lanes, the first ones, are looked at before each message: they are more urgent.
    pub(super) urgent: usize,
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
    pub(super) visit: Visit,
    /// The handles of all lanes but the first.
    pub(super) others: Box<[C]>,
    /// The next slot of each lane; of the one that it visits, where the visit began.
    pub(super) watches: Box<[Watch]>,
    /// The lane from which it has last received.
    pub(super) at: usize,
    /// How many messages in a row came from there.
    pub(super) in_a_row: u32,
    /// The lane to look at next after that.
    pub(super) beyond: usize,
    /// Calls that receive, but for those of the visit.
    pub(super) calls: u32,
    /// The lane that is looked after next.
    pub(super) looked_after: usize,
    /// Whether a call has just seen that no lane has anything.
    pub(super) seen_idle: bool,
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
