//! Taking part in a group of consumers: what
//! [`UltraFastRing::join`](crate::UltraFastRing::join) gives.

use crate::choices::{Slow, Start, Wish};
use crate::consumer::Consumer;
use crate::error::RingError;
use crate::group::rows;
use crate::layout::participant::Identity;
use crate::segment::Segment;
use crate::settings::Sharing;

/// A group to be joined; see [`UltraFastRing::join`](crate::UltraFastRing::join).
///
/// If the group exists, each property that you do not choose is as the group has it. If it does
/// not, it is made. By default it is then passing and shared, producers wait for it, and it begins
/// at the next message.
#[must_use = "it joins nothing by itself"]
#[derive(Clone, Copy, Debug)]
pub struct Join<'r> {
    segment: &'r Segment,
    identity: Identity,
    name: &'r str,
    start: Start,
    durable: Option<bool>,
    sharing: Option<Sharing>,
    slow: Option<Slow>,
}

impl<'r> Join<'r> {
    pub(crate) fn new(segment: &'r Segment, identity: Identity, name: &'r str) -> Self {
        let (start, durable, sharing, slow) = (Start::Latest, None, None, None);
        Self { segment, identity, name, start, durable, sharing, slow }
    }

    /// Where the group starts if it is closed or new. An open group goes on where it is.
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// The group keeps its place while it has no member: producers wait for it until somebody
    /// joins it again, or [removes](crate::UltraFastRing::remove_group) it.
    pub fn durable(mut self) -> Self {
        self.durable = Some(true);
        self
    }

    /// The group keeps its place only while it has a living member.
    pub fn passing(mut self) -> Self {
        self.durable = Some(false);
        self
    }

    /// What happens if the group does not keep up.
    pub fn slow(mut self, slow: Slow) -> Self {
        self.slow = Some(slow);
        self
    }

    /// The group has one member at a time.
    pub fn exclusive(mut self) -> Self {
        self.sharing = Some(Sharing::Exclusive);
        self
    }

    /// The group has any number of members, which share its messages.
    pub fn shared(mut self) -> Self {
        self.sharing = Some(Sharing::Shared);
        self
    }

    /// Joins the group. Each message goes to this consumer or to another member of the group.
    ///
    /// # Errors
    ///
    /// [`RingError::NotMadeForGroups`]; [`RingError::Invalid`] if the name cannot be a group's;
    /// [`RingError::NoSuchGroup`] if it is to be resumed and is not there, or not open;
    /// [`RingError::GroupDiffers`], which says what the group is; [`RingError::GroupTaken`] if it
    /// is exclusive and has its member; [`RingError::TooManyGroups`]; [`RingError::Busy`] if
    /// somebody has been opening it for half a second, and may be stopped;
    /// [`RingError::TableFull`]; or what the system says, as for
    /// [`consumer`](crate::UltraFastRing::consumer).
    pub fn consumer(&self) -> Result<Consumer, RingError> {
        let Self { segment, start, durable, sharing, slow, .. } = *self;
        if !segment.is_joinable() {
            return Err(RingError::NotMadeForGroups);
        }
        let wish = Wish { name: rows::group_name(self.name)?, start, durable, sharing, slow };
        Consumer::join(segment, &wish, &self.identity)
    }
}
