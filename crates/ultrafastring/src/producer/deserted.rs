//! Noticing that the last consumer has left.

use std::time::Instant;

use super::Producer;
use crate::error::SendError;
use crate::mode::Mode;
use crate::recover::presence;
use crate::segment::Segment;
use crate::settings::Side;
use crate::waiting::sleep::{self, Sleeper, Waiting};

impl<S: Mode> Producer<S> {
    /// Whether calls that wait for room end with [`SendError::Deserted`] if there is no room, there
    /// were consumers, and none is left. By default they do not, since a consumer may come back,
    /// also after a crash, and go on with what is in the ring. Calls that do not wait return
    /// [`SendError::Full`] in any case. [`wait_deserted`](Self::wait_deserted) waits for the same
    /// without sending anything.
    ///
    /// A consumer counts if its handle exists when this is called, or is taken later. A consumer
    /// that leaves is noticed at once. One that is killed is noticed within
    /// [`LONGEST_PARK`](crate::LONGEST_PARK), 100 milliseconds, after the kernel has closed its
    /// files. Calls on `&UltraFastRing` that receive keep a handle as long as that ring is open.
    ///
    /// In a ring for groups the members of all groups count together: it is deserted when no group
    /// has a living member. There, a call that waits ends only if a durable group, which keeps its
    /// place without members, leaves no room. If all groups are passing, there is always room when
    /// nobody is left, and [`is_deserted`](Self::is_deserted) tells.
    ///
    /// [`Consumer::end_when_deserted`](crate::Consumer::end_when_deserted) is the same for the
    /// other side.
    ///
    /// ```
    /// use ultrafastring::{PriorityClass, SendError, UltraFastRing};
    ///
    /// let ring = UltraFastRing::new(1);
    /// let (mut producer, consumer) = (ring.producer()?, ring.consumer()?);
    /// producer.end_when_deserted(true);
    /// drop(consumer);
    /// producer.send(b"there is room", PriorityClass::Normal)?;
    /// let error = producer.send(b"nobody is left", PriorityClass::Normal).unwrap_err();
    /// assert_eq!(error, SendError::Deserted);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn end_when_deserted(&mut self, ends: bool) {
        self.waiting.peers.end_when_deserted(&self.entry, Side::Consumer, ends, false);
    }

    /// Whether there were consumers and none is left now. All consumers that this ring has ever had
    /// count. After [`end_when_deserted`](Self::end_when_deserted), only those count that existed
    /// then or have come since.
    ///
    /// In a ring for groups: whether no group has a living member. Those of one group are the
    /// `members` of [`RingView::groups`](crate::RingView::groups).
    ///
    /// It asks the kernel about each entry of the participant table, so do not call it often.
    pub fn is_deserted(&mut self) -> bool {
        self.waiting.peers.is_deserted(&self.entry, Side::Consumer)
    }

    /// Waits until the last consumer has left, without sending anything: until
    /// [`is_deserted`](Self::is_deserted). With it, a producer of something costly can stop when
    /// nobody needs it.
    ///
    /// ```
    /// use ultrafastring::UltraFastRing;
    ///
    /// let ring = UltraFastRing::new(8);
    /// let (mut producer, consumer) = (ring.producer()?, ring.consumer()?);
    /// std::thread::spawn(move || drop(consumer));
    /// producer.wait_deserted(None)?;
    /// assert_eq!(producer.living_consumers(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A consumer that leaves is noticed at once, and one that is killed as
    /// [`end_when_deserted`](Self::end_when_deserted) says. It does not matter whether the ring is
    /// closed.
    ///
    /// # Errors
    ///
    /// [`SendError::TimedOut`] if a consumer is left at `deadline`.
    pub fn wait_deserted(&mut self, deadline: Option<Instant>) -> Result<(), SendError> {
        sleep::wait(&mut UntilDeserted(self), deadline)
    }

    /// How many consumer handles living processes hold.
    pub fn living_consumers(&self) -> usize {
        presence::living(self.entry.segment(), self.entry.locker(), Side::Consumer)
    }
}

/// A producer that waits only until its last consumer leaves, which wakes all producers.
pub(crate) struct UntilDeserted<'a, S: Mode>(pub(crate) &'a mut Producer<S>);

impl<S: Mode> Sleeper for UntilDeserted<'_, S> {
    const SIDE: Side = Side::Producer;
    // `Entry::drop` wakes all.
    const ARMS: bool = false;
    type Stop = SendError;

    fn segment(&self) -> &Segment {
        self.0.entry.segment()
    }

    /// The kernel is asked who is alive, so this is not repeated while it spins.
    fn glance(&mut self) -> Result<bool, SendError> {
        Ok(false)
    }

    fn look(&mut self) -> Result<bool, SendError> {
        Ok(self.0.is_deserted())
    }

    /// It is never armed, and whoever wakes it wakes all.
    fn leave(&mut self, _: bool) {}

    fn interval(&self) -> u64 {
        self.0.coalesce().interval()
    }

    fn waiting(&mut self) -> &mut Waiting {
        &mut self.0.waiting
    }

    fn timed_out() -> SendError {
        SendError::TimedOut
    }
}
