//! What a consumer of several lanes has besides: see [`lanes`](super::lanes).

use alloc::boxed::Box;

use crate::own::Own;
use crate::segment::watch::Watch;

/// The lanes of a handle, with the handles `C` of each but the first.
#[derive(Debug)]
pub(super) struct AllLanes<C> {
    /// How the handle of each lane works.
    pub(super) own: Own,
    pub(super) by_class: bool,
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
