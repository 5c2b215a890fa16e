//! In which order a consumer receives from several lanes, if a program chooses that.

use core::time::Duration;

use super::Consumer;
#[cfg(feature = "alloc")]
use crate::clock;
use crate::error::RingError;
#[cfg(feature = "alloc")]
use crate::mode::AnyMode;
use crate::mode::Mode;
#[cfg(feature = "alloc")]
use crate::settings::{Lanes, Timestamps};

impl<S: Mode> Consumer<S> {
    /// From now on, receives from lanes [by producer](crate::Lanes::ByProducer) in time order:
    /// always the message that was sent first, whatever its lane. Every way of receiving does.
    ///
    /// If each lane has a message, that is certain. A lane that has none may still bring an older
    /// one. So the handle waits for it, but not for longer than `wait` after the oldest message was
    /// sent. Until then calls that do not wait return [`Empty`](crate::RecvError::Empty), and
    /// others sleep. Lanes that no producer has had yet, or that are closed, are not waited for; a
    /// producer that leaves without [`close`](crate::Producer::close) leaves its lane open.
    ///
    /// What is promised: a message that is in the ring within `wait` after its timestamp was taken
    /// is received in order. The timestamp is taken when the message is sent, before its bytes are
    /// copied, and once for a batch. A producer may be stopped in between for any time, so a
    /// message may come later. If this handle has received a younger one by then, it is marked
    /// ([`Received::is_late`](crate::Received::is_late)) and counted ([`late`](Self::late),
    /// [`RingStats::late`](crate::RingStats::late)). With a `wait` of zero there is no waiting: it
    /// is the oldest of what is there.
    ///
    /// Members of a group, and consumers that share the work, take in time order together if all of
    /// them choose it: each takes the oldest of what is left. What each of them gets is in order,
    /// too. What a dead consumer held comes at once, marked as redelivered. A batch in place
    /// ([`try_borrow_many`](Self::try_borrow_many)) has messages of one lane, so often only a few.
    ///
    /// Timestamps are compared as they are. On a machine whose clock is not
    /// [stable](crate::RingView::clock) they may be wrong. One that is ahead of the clock by more
    /// than a millisecond counts as now.
    ///
    /// A second call changes the `wait`.
    ///
    /// ```
    /// # #[cfg(feature = "std")] {
    /// use std::time::Duration;
    /// use ultrafastring::{Lanes, PriorityClass, UltraFastRing};
    ///
    /// let ring = UltraFastRing::builder().lanes(Lanes::ByProducer(2)).heap()?;
    /// let mut consumer = ring.consumer()?;
    /// consumer.in_time_order(Duration::from_millis(1))?;
    /// let (mut first, mut second) = (ring.producer()?, ring.producer()?);
    /// for number in [1, 2, 3, 4] {
    ///     let producer = if number % 2 == 0 { &mut second } else { &mut first };
    ///     producer.try_send([number], PriorityClass::Normal)?;
    /// }
    /// ring.close();
    /// let received: Vec<_> = consumer.iter().map(|message| message[0]).collect();
    /// assert_eq!(received, [1, 2, 3, 4]);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RingError::NoTimeOrder`] if the ring has no lanes by producer, or not every message has a
    /// timestamp.
    pub fn in_time_order(&mut self, wait: Duration) -> Result<(), RingError> {
        let settings = self.entry.segment().settings();
        let (lanes, timestamps) = (settings.lanes, settings.timestamps);
        #[cfg(feature = "alloc")]
        if let (Lanes::ByProducer(_), Timestamps::Every) = (lanes, timestamps)
            && self.has_lanes()
        {
            let rate = clock::best_rate();
            self.in_mode::<AnyMode>().begin_time_order(wait, rate);
            return Ok(());
        }
        let _ = wait;
        Err(RingError::NoTimeOrder { lanes, timestamps })
    }

    /// How many messages this handle has received late, [in time order](Self::in_time_order).
    pub fn late(&self) -> u64 {
        #[cfg(feature = "alloc")]
        return self.late_in_time();
        #[cfg(not(feature = "alloc"))]
        0
    }

    /// From now on, one receive in `one_in` takes from the lanes [by
    /// class](crate::Lanes::ByClass) in turn, the least urgent at first. The others take the most
    /// urgent message, as all do by default. So a class that always has a message gets one receive
    /// in five times `one_in` at least, however much there is of more urgent ones. By default it
    /// may get none. With 1 every receive takes from the lanes in turn; 0 is the default again.
    ///
    /// What was taken from the lanes in turn has overtaken more urgent messages: an urgent message
    /// may have to wait for one other. A call that receives several messages takes them from one
    /// lane, and counts once.
    ///
    /// ```
    /// # #[cfg(feature = "alloc")] {
    /// use ultrafastring::{Lanes, PriorityClass, UltraFastRing};
    ///
    /// let ring = UltraFastRing::builder().lanes(Lanes::ByClass).heap()?;
    /// let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
    /// consumer.ageing(3)?;
    /// for number in 0..4 {
    ///     producer.try_send([number], PriorityClass::High)?;
    /// }
    /// producer.try_send([100], PriorityClass::Bulk)?;
    /// let received: Vec<_> = consumer.try_iter().map(|message| message[0]).collect();
    /// assert_eq!(received, [0, 1, 100, 2, 3]);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RingError::NoClassLanes`] if the ring has no lanes by class.
    pub fn ageing(&mut self, one_in: u32) -> Result<(), RingError> {
        let lanes = self.entry.segment().settings().lanes;
        #[cfg(feature = "alloc")]
        if lanes == Lanes::ByClass && self.has_lanes() {
            self.in_mode::<AnyMode>().begin_ageing(one_in);
            return Ok(());
        }
        let _ = one_in;
        Err(RingError::NoClassLanes { lanes })
    }
}
