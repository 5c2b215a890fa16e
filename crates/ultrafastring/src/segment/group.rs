//! A group of consumers: its row, its cursor, and the generation for which its members' entries
//! count.
//!
//! [`Readers`] is a view, as [`Lane`](super::lane::Lane) is: who works on a group's cursor is given
//! it, and does not ask whether the ring has a table of groups. In a plain ring all consumers are
//! one group, whose cursor carries no generation.

use super::Segment;
use crate::layout::counters::Cursor;
use crate::layout::group::{Membership, Row, Tag};
use crate::layout::participant::Participant;
use crate::layout::span::Span;
use crate::settings::Side;

/// A generation of a group, or all consumers of a plain ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readers<'s> {
    segment: &'s Segment,
    membership: Membership,
    cursor: &'s Cursor,
}

impl<'s> Readers<'s> {
    pub(crate) fn segment(self) -> &'s Segment {
        self.segment
    }

    /// How far they have come.
    #[inline(always)]
    pub(crate) fn cursor(self) -> &'s Cursor {
        self.cursor
    }

    /// What the cursor carries.
    #[inline(always)]
    pub(crate) fn tag(self) -> Tag {
        self.membership.tag()
    }

    pub(crate) fn membership(self) -> Membership {
        self.membership
    }

    /// Their row, if they have one.
    pub(crate) fn row(self) -> Option<&'s Row> {
        self.segment.row(self.membership.row()?)
    }

    /// Whether an entry is one of theirs.
    #[inline(always)]
    pub(crate) fn has(self, participant: &Participant) -> bool {
        participant.membership() == self.membership
    }

    /// What an entry holds, if it is one of theirs. The name is read before the hold: who has shown
    /// it here has named the group before.
    #[inline(always)]
    pub(crate) fn hold_of(self, participant: &Participant) -> Option<Span> {
        if self.has(participant) { participant.shown_hold() } else { None }
    }
}

impl Segment {
    /// How many groups it has room for; 0 in a plain ring.
    #[inline(always)]
    pub(crate) fn groups(&self) -> usize {
        self.settings().groups
    }

    /// Whether it was made for groups.
    #[inline(always)]
    pub(crate) fn is_joinable(&self) -> bool {
        self.groups() != 0
    }

    /// Whether those of a side are members of groups.
    pub(crate) fn is_side_of_groups(&self, side: Side) -> bool {
        side == Side::Consumer && self.is_joinable()
    }

    /// A row of the table of groups, if there is one.
    #[inline]
    pub(crate) fn row(&self, row: usize) -> Option<&Row> {
        #[cfg(fuzzing)]
        crate::looks::count();
        // SAFETY: within the table by the comparison, else as in `cursor`.
        (row < self.groups()).then(|| unsafe { self.group_rows.add(row).as_ref() })
    }

    /// The rows of the table of groups.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (usize, &Row)> {
        (0..self.groups()).filter_map(|row| Some((row, self.row(row)?)))
    }

    /// The cursor of a row; in a plain ring, and of a row that there is not, the first.
    #[inline(always)]
    pub(crate) fn cursor_of(&self, row: usize) -> &Cursor {
        if row < self.groups() {
            #[cfg(fuzzing)]
            crate::looks::count();
            // SAFETY: within the table by the comparison, else as in `cursor`.
            unsafe { self.cursors.add(row).as_ref() }
        } else {
            self.cursor()
        }
    }

    /// All consumers of a plain ring.
    #[inline(always)]
    pub(crate) fn all_readers(&self) -> Readers<'_> {
        Readers { segment: self, membership: Membership::NONE, cursor: self.cursor() }
    }

    /// Those whose entry this is, if they count: all consumers of a plain ring, or a group that is
    /// open in this generation.
    pub(crate) fn readers_of(&self, participant: &Participant) -> Option<Readers<'_>> {
        if !self.is_joinable() {
            return Some(self.all_readers());
        }
        let readers = self.readers(participant.membership());
        let gate = readers.row()?.gate();
        let current = gate.is_open() && gate.generation == readers.membership().generation();
        current.then_some(readers)
    }

    /// Those who are named so.
    #[inline(always)]
    pub(crate) fn readers(&self, membership: Membership) -> Readers<'_> {
        let cursor = membership.row().map_or(self.cursor(), |row| self.cursor_of(row));
        Readers { segment: self, membership, cursor }
    }
}
