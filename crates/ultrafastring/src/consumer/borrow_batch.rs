//! Several messages at once, which stay in the ring until they are released.
//!
//! A consumer's hold covers up to 64 positions. If the consumer is killed, all of its hold is
//! delivered again. If it releases messages one after the other, it shows a shorter and shorter
//! hold, as recovery does with what it adopts. All messages count as received when they are taken,
//! at one moment.

#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use super::Consumer;
use super::look::{Look, Place, reads_in_place};
use crate::clock::rdtsc;
use crate::error::RecvError;
use crate::lane::reader::room::as_uninit;
use crate::lane::view::OwnLane;
use crate::layout::span::{MAX_SPAN, Span};
use crate::message::{Message, Received};
use crate::mode::{AnyMode, Mode, OwnReader, in_any_lane, in_readers_mode};
use crate::priority::PriorityClass;

/// Messages that stay in the ring until this guard is dropped, or they are released one after the
/// other; see [`Consumer::try_borrow_many`].
///
/// Each is read in place, in any order and any number of times: by its index with
/// [`get`](Self::get), in order with [`iter`](Self::iter), or copied one behind the other with
/// [`append_next`](Self::append_next). They are released in order: the first few with
/// [`release_first`](Self::release_first), the rest when the guard is dropped.
#[must_use = "dropping it releases the messages"]
pub struct BorrowedBatch<'a, S: Mode = AnyMode> {
    consumer: &'a mut Consumer<S>,
    /// What is held and not released.
    held: Span,
    /// The next position for `append_next`.
    #[cfg_attr(not(feature = "alloc"), allow(dead_code))]
    next: u64,
    kind: Kind,
}

/// What kind of messages a guard over several has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Ordinary ones.
    Ordinary,
    /// A dead consumer's, which comes alone and which the handle shows.
    Alone,
    /// Ones that have come late, in time order.
    #[cfg(feature = "alloc")]
    Late,
}

/// What was taken for a guard over several.
#[derive(Clone, Copy)]
pub(crate) struct Several {
    held: Span,
    kind: Kind,
}

impl<S: Mode> Consumer<S> {
    /// Takes messages, at most `most` (0 counts as 1) and at most 64
    /// ([`MAX_BATCH`](crate::MAX_BATCH)), and returns a guard that reads them. Dropping the guard
    /// releases them. If this process is killed before, another consumer gets them again, marked.
    /// Never waits; `borrow_many` waits for at least one.
    ///
    /// A message that a dead consumer held comes alone.
    ///
    /// ```
    /// # #[cfg(feature = "alloc")] {
    /// use ultrafastring::{PriorityClass, UltraFastRing};
    ///
    /// let ring = UltraFastRing::builder().max_message(1 << 16).heap()?;
    /// ring.send_fast(b"head", PriorityClass::Normal)?;
    /// ring.send_fast(&[7; 50_000], PriorityClass::Normal)?;
    ///
    /// let mut consumer = ring.consumer()?;
    /// let mut messages = consumer.try_borrow_many(8)?;
    /// let sizes: Vec<_> = messages.iter().map(|message| message.len()).collect();
    /// assert_eq!(sizes, [4, 50_000]);
    /// let mut last = [0; 1];
    /// messages.get(1).unwrap().read_at(49_999, &mut last); // no more is copied
    /// assert_eq!(last, [7]);
    /// messages.release_first(1); // what is done with; the other stays held
    /// assert_eq!(messages.len(), 1);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Messages that are kept hold up the slots behind them: see [`try_borrow`](Self::try_borrow).
    /// A guard that is dropped by a panic releases its messages. If a guard is forgotten
    /// (`mem::forget`), the next call on this handle releases its messages, or dropping the handle
    /// does.
    ///
    /// # Errors
    ///
    /// As [`try_borrow`](Self::try_borrow).
    pub fn try_borrow_many(&mut self, most: usize) -> Result<BorrowedBatch<'_, S>, RecvError> {
        let several = self.take_several(most)?;
        Ok(BorrowedBatch::of(self, several))
    }

    /// The same under its earlier name.
    ///
    /// # Errors
    ///
    /// As [`try_borrow_many`](Self::try_borrow_many).
    #[deprecated(since = "0.2.0", note = "use try_borrow_many")]
    pub fn borrow_batch(&mut self, most: usize) -> Result<BorrowedBatch<'_, S>, RecvError> {
        self.try_borrow_many(most)
    }

    /// Takes messages for a guard over several.
    pub(crate) fn take_several(&mut self, most: usize) -> Result<Several, RecvError> {
        let most = (most as u64).clamp(1, MAX_SPAN);
        #[cfg(feature = "alloc")]
        if self.has_lanes() {
            return self.in_mode::<AnyMode>().take_several_from_any(most);
        }
        in_any_lane!(self, it => it.take_several_own(most))
    }

    /// Reads a held message to show it. It was counted before.
    fn look_at_held(&self, position: u64) -> HeldMessage<'_> {
        let lane = OwnLane::of(&self.entry);
        let (meta, timestamp, payload) = lane.slot(position).read();
        let taken_at = self.shown.taken_at();
        let mut about = Received {
            size: meta.size(),
            class: meta.class(),
            latency: if timestamp == 0 { 0 } else { taken_at.saturating_sub(timestamp) },
            // A redelivered message comes alone.
            redelivered: false,
            timestamp,
            position,
        };
        let large = meta.is_large().then(|| self.reader.copying());
        if large.is_some() {
            about.size = payload.large_size(lane.segment().side_size());
            if !lane.back(lane.buffer_of(position, &payload), about.size) {
                // A peer has changed the size since memory was asked for: it is garbage.
                about.size = 0;
            }
        }
        let place = large.map_or(Place::Slot, |copying| Place::Side(lane, copying));
        HeldMessage { message: Message::new(payload, about), place }
    }
}

/// In time order.
#[cfg(feature = "alloc")]
impl Several {
    /// The positions that are held.
    pub(super) fn held(&self) -> Span {
        self.held
    }

    /// Marks them as late, but for one that comes alone and that the handle shows.
    pub(super) fn mark_late(&mut self) {
        if self.kind == Kind::Ordinary {
            self.kind = Kind::Late;
        }
    }
}

impl<S: OwnReader> Consumer<S> {
    pub(super) fn take_several_own(&mut self, most: u64) -> Result<Several, RecvError> {
        if S::copies_first(OwnLane::of(&self.entry)) {
            return Err(RecvError::NotInPlace);
        }
        let claimed = if self.reader.is_special() { None } else { self.claim(most)? };
        let Some(held) = claimed else {
            self.borrow_special()?;
            let held = Span::new(self.shown.message().position(), 1);
            return Ok(Several { held, kind: Kind::Alone });
        };
        let mut now = 0;
        for position in held.first..held.end() {
            let lane = OwnLane::of(&self.entry);
            let mut delivery = self.reader.read(lane, &mut self.tally, position);
            if delivery.timestamp != 0 && now == 0 {
                now = rdtsc();
            }
            delivery.seen = Some(now);
            let (about, _) = self.tally.record(&delivery);
            self.tally.count_latency(&about);
        }
        self.shown.set_taken_at(now);
        Ok(Several { held, kind: Kind::Ordinary })
    }
}

impl<'a, S: Mode> BorrowedBatch<'a, S> {
    pub(crate) fn of(consumer: &'a mut Consumer<S>, several: Several) -> Self {
        let Several { held, kind } = several;
        Self { consumer: consumer.lender(), held, next: held.first, kind }
    }
}

impl<S: Mode> BorrowedBatch<'_, S> {
    /// How many messages are held, that is, not released.
    pub fn len(&self) -> usize {
        self.held.count as usize
    }

    /// Whether all of them are released.
    pub fn is_empty(&self) -> bool {
        self.held.count == 0
    }

    /// The held message at `index`, from 0; `None` if fewer are held.
    pub fn get(&self, index: usize) -> Option<HeldMessage<'_>> {
        (index < self.len()).then(|| self.look_at(self.held.first + index as u64))
    }

    /// The first held message, which is released next.
    pub fn first(&self) -> Option<HeldMessage<'_>> {
        self.get(0)
    }

    /// All held messages, in order.
    pub fn iter(&self) -> HeldMessages<'_, S> {
        HeldMessages { of: self, left: 0..self.len() }
    }

    fn look_at(&self, position: u64) -> HeldMessage<'_> {
        if self.kind != Kind::Ordinary {
            return self.look_at_marked(position);
        }
        self.consumer.look_at_held(position)
    }

    /// As [`look_at`](Self::look_at), if they are marked.
    #[cold]
    #[inline(never)]
    fn look_at_marked(&self, position: u64) -> HeldMessage<'_> {
        if self.kind == Kind::Alone {
            let shown = self.consumer.look_at_shown();
            return HeldMessage { message: *shown.message, place: shown.place };
        }
        #[allow(unused_mut)]
        let mut held = self.consumer.look_at_held(position);
        #[cfg(feature = "alloc")]
        held.message.mark_late();
        held
    }

    /// Appends the bytes of the next message to `buffer` and describes the message; `None` after
    /// the last. Released messages are skipped.
    ///
    /// # Errors
    ///
    /// [`RecvError::OutOfMemory`] if `buffer` cannot grow enough. Then it is unchanged, and the
    /// message is still the next.
    #[cfg(feature = "alloc")]
    pub fn append_next(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Received>, RecvError> {
        let next = self.next.max(self.held.first);
        if next == self.held.end() {
            return Ok(None);
        }
        let message = self.look_at(next);
        let (about, bytes) = (message.about(), message.len());
        buffer.try_reserve(bytes).map_err(|_| RecvError::OutOfMemory { bytes })?;
        message.look().append_to(buffer);
        self.next = next + 1;
        Ok(Some(about))
    }

    /// Releases the first `count` of the messages that are held, read or not, and keeps the others.
    /// If fewer are held, releases all.
    pub fn release_first(&mut self, count: usize) {
        let count = (count as u64).min(self.held.count);
        if count != 0 {
            let held = Span::new(self.held.first + count, self.held.count - count);
            self.held = held;
            in_readers_mode!(self.consumer, it => it.keep_only(held));
        }
    }

    /// Releases the messages, as dropping the guard does.
    pub fn release(self) {}
}

impl<S: Mode> fmt::Debug for BorrowedBatch<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BorrowedBatch")
            .field("first", &self.held.first)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl<S: Mode> Drop for BorrowedBatch<'_, S> {
    fn drop(&mut self) {
        self.release_first(self.len());
    }
}

impl<'b, S: Mode> IntoIterator for &'b BorrowedBatch<'_, S> {
    type Item = HeldMessage<'b>;
    type IntoIter = HeldMessages<'b, S>;

    fn into_iter(self) -> HeldMessages<'b, S> {
        self.iter()
    }
}

/// The messages of a [`BorrowedBatch`], in order.
#[derive(Debug)]
pub struct HeldMessages<'b, S: Mode = AnyMode> {
    of: &'b BorrowedBatch<'b, S>,
    left: Range<usize>,
}

impl<'b, S: Mode> Iterator for HeldMessages<'b, S> {
    type Item = HeldMessage<'b>;

    fn next(&mut self) -> Option<HeldMessage<'b>> {
        self.of.get(self.left.next()?)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.left.size_hint()
    }
}

impl<S: Mode> ExactSizeIterator for HeldMessages<'_, S> {}

impl<S: Mode> DoubleEndedIterator for HeldMessages<'_, S> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.of.get(self.left.next_back()?)
    }
}

/// One message of a [`BorrowedBatch`]: read like a [`Borrowed`](crate::Borrowed) one, and released
/// by the guard.
pub struct HeldMessage<'b> {
    message: Message,
    place: Place<'b>,
}

impl HeldMessage<'_> {
    #[inline]
    pub(crate) fn look(&self) -> Look<'_> {
        Look { message: &self.message, place: self.place }
    }
}

reads_in_place!([] HeldMessage<'_>);

impl fmt::Debug for HeldMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldMessage").field("about", &self.about()).finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "std", not(loom)))]
mod tests;
