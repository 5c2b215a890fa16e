//! One message that stays in the ring until its guard is dropped.

use core::fmt;

use super::Consumer;
use super::look::{Look, Place, reads_in_place};
use super::shown::{Bytes, Shown};
use crate::clock::rdtsc;
use crate::error::RecvError;
use crate::lane::reader::delivery::Delivery;
use crate::lane::reader::room::{Room, as_uninit};
use crate::lane::view::OwnLane;
use crate::layout::span::Span;
use crate::message::{Message, Received};
use crate::mode::{AnyMode, Mode, OwnReader, in_any_lane, in_readers_mode};
use crate::priority::PriorityClass;

impl<S: Mode> Consumer<S> {
    /// Takes the next message, of any size, and returns a guard that reads it. Dropping the guard
    /// releases the message. Never waits; `borrow` waits for a message. If this process is killed
    /// before the release, another consumer gets the message again, marked.
    ///
    /// A message that is kept holds up the slots behind it, even if their messages have been
    /// received. Producers get slots back in order, so the ring fills up.
    ///
    /// On a shared side there is one more case. A process may be killed within this call, or within
    /// one that receives a batch or a message of more than 40 bytes, after it has shown what it is
    /// about to claim, and before it has learned that another consumer was faster. Then nobody can
    /// tell which of the two has the message. So it is delivered again, marked, although the other
    /// consumer is alive and has it.
    ///
    /// ```
    /// # #[cfg(feature = "alloc")] {
    /// use ultrafastring::{PriorityClass, UltraFastRing};
    ///
    /// let ring = UltraFastRing::builder().max_message(1 << 16).heap()?;
    /// ring.send_fast(&[7; 50_000], PriorityClass::Normal)?;
    /// let mut consumer = ring.consumer()?;
    /// let message = consumer.try_borrow()?;
    /// let mut part = [0; 4];
    /// message.read_at(49_996, &mut part); // no more is copied
    /// assert_eq!((message.len(), part), (50_000, [7; 4]));
    /// # drop(message);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A guard that is dropped by a panic releases its message. If a guard is forgotten
    /// (`mem::forget`), the next call on this handle releases its message, or dropping the handle
    /// does.
    ///
    /// # Errors
    ///
    /// [`RecvError::Empty`]; [`RecvError::Closed`]; [`RecvError::Damaged`]; rarely
    /// [`RecvError::OutOfMemory`], and then the message stays in the ring.
    #[inline(always)]
    pub fn try_borrow(&mut self) -> Result<Borrowed<'_, S>, RecvError> {
        self.take_shown()?;
        Ok(self.guard())
    }

    /// Takes a message for a guard to show.
    #[inline(always)]
    pub(crate) fn take_shown(&mut self) -> Result<(), RecvError> {
        in_any_lane!(self, it => it.take_shown_own())
    }

    /// The guard of the message that was taken.
    #[inline(always)]
    pub(crate) fn guard(&mut self) -> Borrowed<'_, S> {
        Borrowed { consumer: self.lender() }
    }

    /// The handle of the lane from which was taken what a guard is about to show.
    #[inline(always)]
    pub(super) fn lender(&mut self) -> &mut Self {
        #[cfg(feature = "alloc")]
        if self.has_lanes() {
            return self.in_mode::<AnyMode>().lend().in_mode();
        }
        self
    }

    /// The message that is shown.
    #[inline(always)]
    pub(super) fn look_at_shown(&self) -> Look<'_> {
        let Shown { message, place, .. } = &self.shown;
        let place = match place {
            Bytes::Slot => Place::Slot,
            Bytes::Side => Place::Side(OwnLane::of(&self.entry), self.reader.copying()),
            #[cfg(feature = "alloc")]
            Bytes::Copy(copy) => Place::Copy(copy),
        };
        Look { message, place }
    }
}

impl<S: OwnReader> Consumer<S> {
    #[inline(always)]
    fn take_shown_own(&mut self) -> Result<(), RecvError> {
        if S::copies_first(OwnLane::of(&self.entry)) {
            return Err(RecvError::NotInPlace);
        }
        let claimed = if self.reader.is_special() { None } else { self.claim(1)? };
        match claimed {
            Some(span) => self.show_claimed(span.first),
            None => self.borrow_special()?,
        }
        Ok(())
    }

    /// As [`try_borrow`](Self::try_borrow), if a forgotten guard has to be released first, or a
    /// dead consumer's message delivered.
    #[cold]
    #[inline(never)]
    pub(super) fn borrow_special(&mut self) -> Result<(), RecvError> {
        self.reader.resume(OwnLane::of(&self.entry));
        loop {
            if self.reader.has_adopted() {
                if self.borrow_adopted()? {
                    return Ok(());
                }
                self.detour()?;
            } else if let Some(span) = self.claim(1)? {
                self.show_claimed(span.first);
                return Ok(());
            }
        }
    }

    /// Claims up to `most` messages, with a hold on all of them. `None` if a dead consumer's
    /// messages come first.
    #[inline(always)]
    pub(super) fn claim(&mut self, most: u64) -> Result<Option<Span>, RecvError> {
        let mut lost = 0;
        loop {
            match self.reader.claim(OwnLane::of(&self.entry), most, |_| Room::ANY) {
                Ok(span) => return Ok(Some(span)),
                Err(miss) => self.look_again(miss, Room::ANY, &mut lost)?,
            }
            if self.reader.has_adopted() {
                return Ok(None);
            }
        }
    }

    /// Reads a claimed message for a guard, which keeps it held.
    #[inline(always)]
    pub(super) fn show_claimed(&mut self, position: u64) {
        let lane = OwnLane::of(&self.entry);
        let mut delivery = self.reader.read(lane, &mut self.tally, position);
        let large = delivery.large.is_some();
        if large && !lane.back(lane.buffer_of(position, &delivery.payload), delivery.size) {
            // A peer has changed the size since memory was allocated, so it is garbage.
            delivery.size = 0;
        }
        self.show(&delivery, if large { Bytes::Side } else { Bytes::Slot });
    }

    #[inline(always)]
    pub(super) fn show(&mut self, delivery: &Delivery, place: Bytes) {
        let (about, taken_at) = self.tally.record(delivery);
        self.tally.count_latency(&about);
        let message = Message::new(delivery.payload, about);
        self.shown = Shown { message, place, taken_at };
    }

    /// Releases everything that is held, also the message that is shown.
    #[inline(always)]
    pub(super) fn release_shown(&mut self) {
        self.reader.release_lent(OwnLane::of(&self.entry));
        let taken_at = self.shown.taken_at;
        let now = if self.tally.has_histogram() { self.time_if_due(taken_at) } else { taken_at };
        self.grant_if_due(now);
        // A copy on the heap goes with the guard.
        #[cfg(feature = "alloc")]
        if matches!(self.shown.place, Bytes::Copy(_)) {
            self.shown.place = Bytes::Slot;
        }
    }

    /// Releases what is held except its last part, `rest`, which may be empty.
    pub(super) fn keep_only(&mut self, rest: Span) {
        if rest.count == 0 {
            self.release_shown();
        } else {
            self.reader.keep_only(OwnLane::of(&self.entry), rest);
            // All are counted as received, perhaps long ago, and a producer may sleep until some
            // are released.
            let (released, now) = (self.tally.received() - rest.count, rdtsc());
            if self.tally.has_histogram() {
                self.count_rest_and_grant(released, now);
            } else if self.pace.is_due(released, now) {
                self.grant(released, now);
            }
        }
    }
}

/// A message that stays in the ring until this guard is dropped; see [`Consumer::try_borrow`].
///
/// A message of up to 40 bytes is copied into the handle: [`as_inline`](Self::as_inline). A larger
/// one stays in the side buffer, and the parts that are asked for are copied from there. A peer
/// that breaks the protocol could write there at the same time, so safe code gets no `&[u8]`. A
/// [`Trusted`](crate::Trusted) handle gives one; between processes that needs
/// [`Builder::trust_peers`](crate::Builder::trust_peers), which is unsafe.
#[must_use = "dropping it releases the message"]
pub struct Borrowed<'a, S: Mode = AnyMode> {
    consumer: &'a mut Consumer<S>,
}

impl<S: Mode> Borrowed<'_, S> {
    #[inline(always)]
    pub(crate) fn look(&self) -> Look<'_> {
        self.consumer.look_at_shown()
    }

    /// Releases the message, as dropping the guard does.
    #[inline]
    pub fn release(self) {}
}

reads_in_place!([<S: Mode>] Borrowed<'_, S>);

impl<S: Mode> fmt::Debug for Borrowed<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Borrowed").field("about", &self.about()).finish_non_exhaustive()
    }
}

impl<S: Mode> Drop for Borrowed<'_, S> {
    #[inline(always)]
    fn drop(&mut self) {
        // The same for a dropped and for a forgotten guard: only one of them can exist.
        in_readers_mode!(self.consumer, it => it.release_shown());
    }
}
