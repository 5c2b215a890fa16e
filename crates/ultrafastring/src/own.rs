//! How a handle works.

use crate::settings::Sharing;

/// How a handle works: what its calls ask that are of any mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// One of any number of a side.
    Shared,
    /// The only one of its side.
    Exclusive,
    /// A member of a group.
    Member,
    /// One that works on all lanes of a ring with lanes, by a handle for each.
    Lanes,
}

impl Own {
    pub(crate) const fn of(sharing: Sharing) -> Self {
        match sharing {
            Sharing::Shared => Self::Shared,
            Sharing::Exclusive => Self::Exclusive,
        }
    }
}
