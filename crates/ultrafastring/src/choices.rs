//! What is chosen when a group of consumers is made, or joined.

use core::fmt;
use core::time::Duration;

use crate::name::ParticipantName;
use crate::settings::Sharing;

/// Where a closed or new group starts. An open group goes on where it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the next message that is sent.
    #[default]
    Latest,
    /// At the oldest message that is still there: the first that the slowest other group has not
    /// received, or, if no other group is open, the oldest that is not overwritten.
    Oldest,
    /// At this position. To go on after a message, give its
    /// [`position`](crate::Message::position) plus one. If the position was overwritten, the group
    /// starts half a capacity after the oldest message that is there.
    Position(u64),
    /// Where the group was. Only an open durable group can be resumed.
    Resume,
}

/// What happens if a group does not keep up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Slow {
    /// Producers wait for it.
    #[default]
    Wait,
    /// Producers wait for the group for a time, and then go on without it. Its members get
    /// `RecvError::Evicted`, and go on at the next message.
    Evict {
        /// How long producers wait while the group receives nothing.
        after: Duration,
    },
}

/// How a group was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupSettings {
    pub(crate) sharing: Sharing,
    pub(crate) durable: bool,
    pub(crate) slow: Slow,
}

impl GroupSettings {
    /// How the groups are made that a ring is made with.
    #[cfg(feature = "alloc")]
    pub(crate) const FIRST: Self =
        Self { sharing: Sharing::Shared, durable: true, slow: Slow::Wait };
}

/// The properties of a group that differ from the chosen ones: the group's value of each, or
/// `None` where the two agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupDifferences {
    /// How it is shared.
    pub sharing: Option<Sharing>,
    /// Whether it is durable.
    pub durable: Option<bool>,
    /// What happens if it is slow.
    pub slow: Option<Slow>,
}

impl fmt::Display for GroupDifferences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        if let Some(sharing) = self.sharing {
            write!(f, "{sharing}")?;
            between = ", ";
        }
        if let Some(durable) = self.durable {
            write!(f, "{between}{}", if durable { "durable" } else { "passing" })?;
            between = ", ";
        }
        match self.slow {
            Some(Slow::Wait) => write!(f, "{between}one that producers wait for"),
            Some(Slow::Evict { after }) => write!(f, "{between}evicted after {after:?}"),
            None => Ok(()),
        }
    }
}

/// What a newcomer wants. What it does not say it takes as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) name: ParticipantName,
    pub(crate) start: Start,
    pub(crate) durable: Option<bool>,
    pub(crate) sharing: Option<Sharing>,
    pub(crate) slow: Option<Slow>,
}

impl Wish {
    /// To take part in a group as it is.
    pub(crate) fn as_it_is(name: ParticipantName, start: Start) -> Self {
        Self { name, start, durable: None, sharing: None, slow: None }
    }

    /// How a group is made that is not there.
    pub(crate) fn settings(&self) -> GroupSettings {
        GroupSettings {
            sharing: self.sharing.unwrap_or_default(),
            durable: self.durable.unwrap_or_default(),
            slow: self.slow.unwrap_or_default(),
        }
    }

    /// What of it a group is not.
    pub(crate) fn differences(&self, there: GroupSettings) -> Option<GroupDifferences> {
        let GroupSettings { sharing, durable, slow } = there;
        let differences = GroupDifferences {
            sharing: self.sharing.filter(|&it| it != sharing).map(|_| sharing),
            durable: self.durable.filter(|&it| it != durable).map(|_| durable),
            slow: self.slow.filter(|&it| it != slow).map(|_| slow),
        };
        (differences != GroupDifferences::default()).then_some(differences)
    }
}
