//! A lane as one participant works on it. Readers and writers are given it with each call, and keep
//! nothing of it. Today a segment has one lane and one group of consumers, so this is a view of the
//! segment.

use crate::layout::counters::{Cursor, LaneCounters};
use crate::layout::participant::Participant;
use crate::layout::side::SideBuffer;
use crate::layout::slot::{Payload, TimestampedSlot};
use crate::layout::span::Span;
use crate::recover::entry::Entry;
use crate::segment::Segment;
use crate::settings::Settings;

/// The lane's words, the cursor of the participant's group, and the entry in which the participant
/// shows what it is about to claim, or holds.
#[derive(Clone, Copy, Debug)]
pub struct OwnLane<'a> {
    entry: &'a Entry,
}

impl<'a> OwnLane<'a> {
    /// The lane of the segment in which `entry` is.
    #[inline(always)]
    pub(crate) fn of(entry: &'a Entry) -> Self {
        Self { entry }
    }

    /// The segment that the lane is in.
    #[inline(always)]
    pub(crate) fn segment(self) -> &'a Segment {
        self.entry.segment()
    }

    /// The settings with which the ring was made.
    #[inline(always)]
    pub(crate) fn settings(self) -> &'a Settings {
        self.segment().settings()
    }

    /// The producers' counters.
    #[inline(always)]
    pub(crate) fn counters(self) -> &'a LaneCounters {
        self.segment().lane().counters()
    }

    /// How far the group of consumers has come.
    #[inline(always)]
    pub(crate) fn cursor(self) -> &'a Cursor {
        self.segment().cursor()
    }

    #[inline(always)]
    pub(crate) fn slot(self, position: u64) -> &'a TimestampedSlot {
        self.segment().lane().slot(position)
    }

    /// See [`Lane::side`](crate::segment::lane::Lane::side).
    #[inline]
    pub(crate) fn side(self, buffer: u64) -> SideBuffer<'a> {
        self.segment().lane().side(buffer)
    }

    /// Takes memory for the first `size` bytes of a side buffer, to read them; `false` if there is
    /// none.
    #[inline]
    pub(crate) fn back(self, buffer: u64, size: usize) -> bool {
        self.segment().lane().back(buffer, size)
    }

    /// The same for the owner of the buffer, to write there.
    #[inline]
    pub(crate) fn back_to_write(self, buffer: u64, size: usize) -> bool {
        self.segment().lane().back_to_write(buffer, size)
    }

    /// Whether it is known that the owner of the buffer may write there.
    #[cfg(feature = "alloc")]
    pub(crate) fn is_backed(self, buffer: u64, size: usize) -> bool {
        self.segment().lane().is_backed(buffer, size)
    }

    /// See [`Lane::names_buffers`](crate::segment::lane::Lane::names_buffers).
    #[inline]
    pub(crate) fn names_buffers(self) -> bool {
        self.segment().lane().names_buffers()
    }

    /// See [`Lane::buffer_of`](crate::segment::lane::Lane::buffer_of).
    #[inline]
    pub(crate) fn buffer_of(self, position: u64, payload: &Payload) -> u64 {
        self.segment().lane().buffer_of(position, payload)
    }

    /// Gives back the memory of `count` side buffers from `first` on, which the participant owns.
    pub(crate) fn give_back(self, first: u64, count: u64) {
        self.segment().lane().give_back(first, count);
    }

    /// The entry of the participant.
    #[inline(always)]
    pub(crate) fn entry(self) -> &'a Entry {
        self.entry
    }

    #[inline(always)]
    pub(crate) fn participant(self) -> &'a Participant {
        self.entry.participant()
    }

    /// Shows what a producer is about to claim.
    #[inline(always)]
    pub(crate) fn show_intent(self, span: Span) {
        self.participant().show_intent(span);
    }

    /// Shows that every claim is committed.
    #[inline]
    pub(crate) fn clear_intent(self) {
        self.participant().clear_intent();
    }
}
