//! The groups of consumers that a ring is made for.

use super::Builder;
#[cfg(feature = "alloc")]
use crate::choices::GroupSettings;
#[cfg(feature = "alloc")]
use crate::group::rows;
use crate::limits::ROOM_FOR_GROUPS;
use crate::segment::Segment;
#[cfg(feature = "std")]
use crate::settings::Difference;

/// Groups of consumers.
impl Builder {
    /// Makes the ring for these groups of consumers. Each message goes to one member of each of
    /// them. They are durable: producers wait for them from the start, even if nobody has
    /// [joined](crate::UltraFastRing::join) them yet. A ring without groups is a plain ring,
    /// whose consumers share the messages.
    ///
    /// The ring can have no other groups, unless it is also [`joinable`](Self::joinable). A name
    /// has 1 to [`MAX_GROUP_NAME`](crate::layout::MAX_GROUP_NAME) bytes; there are at most
    /// [`MAX_GROUPS`](crate::layout::MAX_GROUPS).
    ///
    /// ```
    /// # #[cfg(feature = "std")] {
    /// use ultrafastring::{PriorityClass, UltraFastRing};
    ///
    /// let ring = UltraFastRing::builder().groups(["risk", "log"]).heap()?;
    /// ring.producer()?.try_send("AAPL 101", PriorityClass::Normal)?;
    /// let (mut risk, mut log) = (ring.join("risk").consumer()?, ring.join("log").consumer()?);
    /// assert_eq!(&*risk.recv()?, b"AAPL 101");
    /// assert_eq!(&*log.recv()?, b"AAPL 101");
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "alloc")]
    pub fn groups<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Self {
        for name in names {
            match rows::group_name(name) {
                Ok(name) if !self.groups.contains(&name) => self.groups.push(name),
                Ok(_) => {}
                Err(_) => self.bad_group = true,
            }
        }
        let others = if self.joinable { ROOM_FOR_GROUPS } else { 0 };
        self.chosen.groups = Some(self.groups.len() + others);
        self
    }

    /// Makes the ring for groups of consumers that come and go. Besides the groups that it is made
    /// with ([`groups`](Self::groups)), it has room for
    /// [`ROOM_FOR_GROUPS`](crate::layout::ROOM_FOR_GROUPS), 16. While there is no open group,
    /// producers wait for nobody, and messages pass unread.
    pub fn joinable(mut self) -> Self {
        let others = if self.joinable { 0 } else { ROOM_FOR_GROUPS };
        self.joinable = true;
        self.chosen.groups = Some(self.chosen.groups.unwrap_or(0) + others);
        self
    }

    /// The groups of this builder that a ring does not have.
    #[cfg(feature = "std")]
    pub(super) fn missing_groups(&self, there: &Segment) -> impl Iterator<Item = Difference> {
        let missing = self.groups.iter().filter(|name| rows::find(there, name).is_none());
        missing.copied().map(Difference::missing_group)
    }

    /// Opens the groups that a segment in memory is made with.
    pub(super) fn open_groups(&self, segment: &Segment) {
        #[cfg(feature = "alloc")]
        for ((_, row), name) in segment.rows().zip(&self.groups) {
            row.name_it(name, GroupSettings::FIRST);
            row.open_first();
        }
        #[cfg(not(feature = "alloc"))]
        let _ = segment;
    }
}
