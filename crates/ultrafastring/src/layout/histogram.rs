//! A row of the area of histograms: how many messages of each class came with which latency.
//!
//! Each entry of the participant table has a row, and behind those each group has one. Only the
//! consumer that holds an entry counts in the entry's row. When the entry goes to a consumer of
//! another group, that one first moves the counts to the row of the group for which they were
//! counted. The entry says which that is ([`Counted`]).
//!
//! ```text
//!  word  0 …  319  counts of the most urgent class, by bucket (latency.rs)
//!      320 …  639  of the next, and so on: five classes
//! ```

use crate::latency::{BUCKETS, bucket_of};
use crate::priority::PriorityClass;
use crate::sync::{AtomicU64, Ordering};

/// Counts by class and bucket; all zeros: none.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct HistogramRow {
    counts: [[AtomicU64; BUCKETS]; PriorityClass::COUNT],
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<HistogramRow>() == super::areas::HISTOGRAM_SIZE);

impl HistogramRow {
    /// Counts so many messages. Only the owner of the row calls it.
    #[inline(always)]
    pub(crate) fn count(&self, class: PriorityClass, latency: u64, messages: u64) {
        let count = &self.counts[class.index()][bucket_of(latency)];
        // Relaxed: it has one writer, and only people read it.
        count.store(count.load(Ordering::Relaxed).wrapping_add(messages), Ordering::Relaxed);
    }

    /// The counts of a class, by bucket.
    pub(crate) fn of(&self, class: PriorityClass) -> impl Iterator<Item = (usize, u64)> + '_ {
        let counts = self.counts[class.index()].iter();
        // Relaxed: as in `count`.
        counts.map(|count| count.load(Ordering::Relaxed)).enumerate()
    }

    /// Moves all counts to a group's row as long as it is to `go_on`, and drops them otherwise.
    /// Only the owner of this row calls it; others may add to the group's at the same time.
    ///
    /// A count is taken before it is added. So if this process is killed in between, the counts of
    /// one bucket are lost, and none is there twice.
    pub(crate) fn move_to(&self, group: Option<&Self>, go_on: impl Fn() -> bool) {
        for (class, counts) in self.counts.iter().enumerate() {
            for (bucket, count) in counts.iter().enumerate() {
                // Relaxed: as in `count`.
                let moved = count.load(Ordering::Relaxed);
                if moved == 0 {
                    continue;
                }
                count.store(0, Ordering::Relaxed);
                if let Some(group) = group
                    && go_on()
                {
                    // Release: pairs with the acquire fence of whoever looks at the group's row
                    // first and then at this one. Who sees the sum sees that it was taken from
                    // here.
                    group.counts[class][bucket].fetch_add(moved, Ordering::Release);
                }
            }
        }
    }

    /// Forgets all counts.
    pub(crate) fn clear(&self) {
        self.move_to(None, || false);
    }
}

/// For which group the row of an entry has counted: a word of the entry.
///
/// ```text
///  63 62            40 39                                8 7                      0
///  ┌──┬───────────────┬───────────────────────────────────┬────────────────────────┐
///  │  │ turn          │ how often the group's row was     │ row of the group + 1   │
///  │  │               │ named, modulo 2^32                │                        │
///  └──┴───────────────┴───────────────────────────────────┴────────────────────────┘
/// ```
///
/// All zeros are none. Bit 63 is set while the counts are moved. The turn counts how often they
/// were, so the word is not the same again when the entry counts for the same group again. The
/// consumers of a plain ring are as the first row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted(u64);

const MOVING: u64 = 1 << 63;
const ONE_TURN: u64 = 1 << 40;
const GROUP: u64 = ONE_TURN - 1;

impl Counted {
    /// Nothing was counted.
    pub(crate) const NOTHING: Self = Self(0);

    /// For a `row` of the table of groups that was given to a name so often, on the first turn.
    pub(crate) const fn of(row: usize, named: u64) -> Self {
        Self((named << 8 | (row as u64 + 1)) & GROUP)
    }

    pub(crate) const fn from_word(word: u64) -> Self {
        Self(word)
    }

    pub(crate) const fn word(self) -> u64 {
        self.0
    }

    /// The same while the counts are moved.
    pub(crate) const fn moving(self) -> Self {
        Self(self.0 | MOVING)
    }

    pub(crate) const fn is_moving(self) -> bool {
        self.0 & MOVING != 0
    }

    /// Whether both are for the same group.
    pub(crate) const fn is_for_same(self, other: Self) -> bool {
        (self.0 ^ other.0) & GROUP == 0
    }

    /// For the group of `next`, when the counts of this one have been moved.
    pub(crate) const fn followed_by(self, next: Self) -> Self {
        Self((self.0 & !(MOVING | GROUP)).wrapping_add(ONE_TURN) & !MOVING | next.0 & GROUP)
    }

    /// The row of the group; any number, or none.
    pub(crate) fn row(self) -> Option<usize> {
        ((self.0 & 0xff) as usize).checked_sub(1)
    }
}

#[cfg(all(test, feature = "std", not(loom)))]
mod tests {
    use super::*;

    fn row() -> std::boxed::Box<HistogramRow> {
        let zeros = |_| core::array::from_fn(|_| AtomicU64::new(0));
        std::boxed::Box::new(HistogramRow { counts: core::array::from_fn(zeros) })
    }

    fn counted(row: &HistogramRow) -> u64 {
        PriorityClass::ALL.into_iter().flat_map(|class| row.of(class)).map(|(_, count)| count).sum()
    }

    #[test]
    fn what_is_moved_is_there_once_and_what_is_dropped_is_gone() {
        let (entry, group) = (row(), row());
        for latency in [3, 3, u64::MAX] {
            entry.count(PriorityClass::High, latency, 1);
        }
        group.count(PriorityClass::High, 3, 1);
        entry.move_to(Some(&group), || true);
        assert_eq!((counted(&entry), counted(&group)), (0, 4));
        assert_eq!(group.of(PriorityClass::High).nth(3), Some((3, 3)));
        assert_eq!(group.of(PriorityClass::High).last(), Some((BUCKETS - 1, 1)));
        entry.count(PriorityClass::Bulk, 1, 1);
        entry.move_to(Some(&group), || false);
        assert_eq!((counted(&entry), counted(&group)), (0, 4));
        group.clear();
        assert_eq!(counted(&group), 0);
    }

    #[test]
    fn a_word_says_again_for_whom_was_counted() {
        let counted = Counted::of(7, 3);
        assert_eq!(Counted::from_word(counted.word()), counted);
        assert_eq!((counted.row(), counted.moving().row()), (Some(7), Some(7)));
        assert!(counted.moving().is_moving() && !counted.is_moving());
        assert!(counted.moving().is_for_same(counted));
        assert!(!Counted::of(7, 4).is_for_same(counted) && !Counted::of(6, 3).is_for_same(counted));
        let again = counted.moving().followed_by(Counted::of(6, 3)).followed_by(counted);
        assert!(again != counted && again.is_for_same(counted) && !again.is_moving());
        let last = Counted::from_word(!MOVING).followed_by(counted);
        assert_eq!(last, counted);
        assert_eq!(Counted::NOTHING.row(), None);
    }
}
