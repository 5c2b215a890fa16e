//! A lane: one queue of slots, with its counters and its side buffers.
//!
//! A [`Lane`] is a view, copied like a reference. Code that reads or writes a lane is given one,
//! and need not know which lane of the segment it is. Its unsafe code is here, since it turns bytes
//! into shared words.

use core::mem::MaybeUninit;

use super::Segment;
#[cfg(feature = "std")]
use super::backed::Purpose;
use crate::layout::counters::LaneCounters;
use crate::layout::side::{Copying, SideBuffer};
use crate::layout::slot::{Payload, TimestampedSlot};
#[cfg(feature = "std")]
use crate::sync::Ordering;

/// One queue of slots of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lane<'s> {
    segment: &'s Segment,
}

impl<'s> Lane<'s> {
    /// The counters of its producers.
    #[inline(always)]
    pub(crate) fn counters(self) -> &'s LaneCounters {
        #[cfg(fuzzing)]
        crate::looks::count();
        // SAFETY: as in `cursor`.
        unsafe { self.segment.lane.as_ref() }
    }

    /// How many slots it has: a power of two.
    #[inline(always)]
    pub(crate) fn capacity(self) -> u64 {
        self.segment.mask + 1
    }

    /// The slot of any position: the index is masked.
    #[inline(always)]
    pub(crate) fn slot(self, position: u64) -> &'s TimestampedSlot {
        #[cfg(fuzzing)]
        crate::looks::count();
        let segment = self.segment;
        // SAFETY: the mask keeps the index below the capacity; otherwise as in `cursor`.
        unsafe { segment.slots.add((position & segment.mask) as usize).as_ref() }
    }

    /// Where its slots are, and the mask of a position in an index of theirs.
    #[cfg(not(loom))]
    pub(crate) fn slots(self) -> (*const TimestampedSlot, u64) {
        (self.segment.slots.as_ptr(), self.segment.mask)
    }

    /// A side buffer by its number, which is masked; it holds nothing if the ring has none. That of
    /// a position is the position.
    #[inline]
    pub(crate) fn side(self, buffer: u64) -> SideBuffer<'s> {
        let segment = self.segment;
        let at = self.masked(buffer) * segment.side_stride;
        // SAFETY: the mask keeps the index below the capacity, so the bytes are within the segment
        // (`offsets`); a buffer is no longer than the stride, which is whole words; otherwise as in
        // `cursor`.
        unsafe { SideBuffer::new(segment.sides.byte_add(at), segment.side_size()) }
    }

    /// Whether a slot names the side buffer of its message. Otherwise it has one of its own.
    #[inline]
    pub(crate) fn names_buffers(self) -> bool {
        self.segment.settings().names_buffers()
    }

    /// The side buffer of the message at `position` with this `payload`, as its slot says.
    #[inline]
    pub(crate) fn buffer_of(self, position: u64, payload: &Payload) -> u64 {
        if self.names_buffers() { payload.buffer() } else { position }
    }

    #[inline(always)]
    fn masked(self, buffer: u64) -> usize {
        (buffer & self.segment.mask) as usize
    }

    /// The lane of a side buffer, and its index there.
    #[cfg(feature = "std")]
    #[inline(always)]
    fn place(self, buffer: u64) -> (usize, usize) {
        (self.segment.index, self.masked(buffer))
    }

    /// Takes memory for the first `size` bytes of a side buffer, unless it is known to have it;
    /// `false` if there is none. Afterwards reading them cannot fail while the message is held.
    #[inline]
    pub(crate) fn back(self, buffer: u64, size: usize) -> bool {
        #[cfg(feature = "std")]
        if let Some(mapping) = self.segment.mapping() {
            return mapping.back(self.place(buffer), Purpose::Read, size, self.given_back());
        }
        let _ = (buffer, size);
        true
    }

    /// The same for the owner of the buffer, who may write there afterwards.
    #[inline]
    pub(crate) fn back_to_write(self, buffer: u64, size: usize) -> bool {
        #[cfg(feature = "std")]
        if let Some(mapping) = self.segment.mapping() {
            return mapping.back(self.place(buffer), Purpose::Write, size, self.given_back());
        }
        let _ = (buffer, size);
        true
    }

    /// Whether [`back_to_write`](Self::back_to_write) would have nothing to do.
    #[cfg(feature = "alloc")]
    pub(crate) fn is_backed(self, buffer: u64, size: usize) -> bool {
        #[cfg(feature = "std")]
        if let Some(mapping) = self.segment.mapping() {
            return mapping.is_known(self.place(buffer), Purpose::Write, size, self.given_back());
        }
        let _ = (buffer, size);
        true
    }

    /// How often memory of its side buffers was given back.
    #[cfg(feature = "std")]
    #[inline]
    fn given_back(self) -> u64 {
        // Relaxed: who owns the buffer has it from whoever gave back its memory last, which raised
        // the count before that.
        self.counters().given_back.load(Ordering::Relaxed)
    }

    /// Gives back the memory of `count` side buffers from `first` on, which the caller owns: at
    /// most as many as there are.
    pub(crate) fn give_back(self, first: u64, count: u64) {
        #[cfg(feature = "std")]
        if let Some(mapping) = self.segment.mapping()
            && count != 0
        {
            // Before the memory goes: who owns one of them next sees it. AcqRel: it comes before
            // what ends the ownership, which releases; others raise it too.
            self.counters().given_back.fetch_add(1, Ordering::AcqRel);
            for (first, count) in self.around_the_end(first, count) {
                mapping.give_back(self.segment.index, first, count);
            }
        }
        let _ = (first, count);
    }

    /// How far from `first` the next of `count` side buffers is that has memory which could be
    /// given back; `None` if none has.
    pub(crate) fn first_with_memory(self, first: u64, count: u64) -> Option<u64> {
        #[cfg(feature = "std")]
        if let Some(mapping) = self.segment.mapping() {
            let [before, after] = self.around_the_end(first, count);
            let found =
                |(first, count)| mapping.first_with_memory(self.segment.index, first, count);
            let wrapped = |distance| distance + before.1;
            let distance = found(before).or_else(|| found(after).map(wrapped));
            return distance.map(|distance| distance as u64);
        }
        let _ = (first, count);
        None
    }

    /// The indices of `count` side buffers from `first` on: up to the last, and from 0 on.
    #[cfg(feature = "std")]
    fn around_the_end(self, first: u64, count: u64) -> [(usize, usize); 2] {
        let (first, count) = (self.masked(first), count.min(self.capacity()) as usize);
        let before = count.min(self.capacity() as usize - first);
        [(first, before), (0, count - before)]
    }

    /// Copies the first bytes of a side buffer to `bytes`, of a message that may be released
    /// meanwhile, and then the memory given back. What is copied has to be thrown away then.
    pub(crate) fn copy_unheld(self, buffer: u64, copying: Copying, bytes: &mut [MaybeUninit<u8>]) {
        #[cfg(feature = "std")]
        if let Some(mapping) = self.segment.mapping() {
            return mapping.copy_from_file(self.place(buffer), bytes);
        }
        self.side(buffer).read(copying, 0, bytes);
    }
}

impl Segment {
    /// The ring's lane.
    #[inline(always)]
    pub(crate) fn lane(&self) -> Lane<'_> {
        Lane { segment: self }
    }

    /// See [`Lane::slot`].
    #[inline(always)]
    pub(crate) fn slot(&self, position: u64) -> &TimestampedSlot {
        self.lane().slot(position)
    }
}
