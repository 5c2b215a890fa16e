//! What the histograms of a segment say, while consumers count in them, or after all have died.

use super::RingView;
use crate::latency::LatencyHistogram;
use crate::layout::histogram::{Counted, HistogramRow};
use crate::priority::PriorityClass;
use crate::recover::counting;
use crate::segment::Segment;
use crate::sync::{Ordering, fence};

/// How often counts are looked at, at most, because consumers moved some meanwhile. So often they
/// do not; a malicious peer may.
const MOST_LOOKS: usize = 256;

/// How often counts are looked at while one and the same consumer moves some. If it died at that,
/// its mark stays until its entry is used again.
const MOST_LOOKS_AT_ONE: usize = 8;

/// Histograms by class, the most urgent first.
type Histograms = [LatencyHistogram; PriorityClass::COUNT];

/// Latencies.
impl RingView {
    /// The latencies of all messages that were received, by class, the most urgent first. In a ring
    /// for groups these are all groups together. `None` if the ring was made without
    /// [histograms](crate::Builder::latency_histograms).
    ///
    /// Consumers count in the segment itself, so what is counted stays when they die. A consumer
    /// that finds no memory for its counts does not count.
    pub fn latencies(&self) -> Option<Histograms> {
        let segment = self.segment();
        // Which group a row is of does not depend on the lane.
        let is_of = |counted: Counted| {
            let row = counted.row()?;
            let now = if segment.is_joinable() { counting::of_group(segment, row) } else { None };
            Some(now.is_none_or(|now| now.is_for_same(counted)))
        };
        self.collect(|counted| is_of(counted).unwrap_or(false), 0..segment.groups())
    }

    /// As [`latencies`](Self::latencies), of the group in a row of the table of groups
    /// ([`GroupInfo::row`](crate::GroupInfo::row)). `None` also if there is no such row.
    ///
    /// ```
    /// # #[cfg(feature = "std")] {
    /// use ultrafastring::{PriorityClass, UltraFastRing};
    ///
    /// let ring = UltraFastRing::builder().groups(["risk"]).latency_histograms(true).heap()?;
    /// ring.send_fast(b"AAPL 101", PriorityClass::Normal)?;
    /// ring.join("risk").consumer()?.try_recv()?;
    /// let risk = ring.groups().find(|it| it.name.as_str() == "risk").unwrap();
    /// let latencies = ring.latencies_of_group(risk.row).unwrap();
    /// assert_eq!(latencies[PriorityClass::Normal.index()].count(), 1);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn latencies_of_group(&self, row: usize) -> Option<Histograms> {
        let now = counting::of_group(self.segment(), row)?;
        self.collect(|counted| counted.is_for_same(now), row..row + 1)
    }

    /// The sum over the entries that count for those who are wanted, and over the `groups`.
    fn collect(
        &self,
        wanted: impl Fn(Counted) -> bool,
        groups: core::ops::Range<usize>,
    ) -> Option<Histograms> {
        if !self.segment().has_histograms() {
            return None;
        }
        let empty = LatencyHistogram::new(self.ticks_per_second());
        let mut all = [(); PriorityClass::COUNT].map(|()| empty.clone());
        for lane in self.segment().all_lanes() {
            let of_lane = collect_in(&lane, &empty, &wanted, &groups);
            all.iter_mut().zip(&of_lane).for_each(|(sum, more)| sum.add(more));
        }
        Some(all)
    }

    fn ticks_per_second(&self) -> f64 {
        #[cfg(feature = "std")]
        return self.clock().ticks_per_second;
        #[cfg(not(feature = "std"))]
        match self.segment().geometry().ticks_per_second {
            0.0 => crate::clock::known_rate() as f64,
            rate => rate,
        }
    }
}

/// The same of one lane.
fn collect_in(
    segment: &Segment,
    empty: &LatencyHistogram,
    wanted: impl Fn(Counted) -> bool,
    groups: &core::ops::Range<usize>,
) -> Histograms {
    let mut sum = [(); PriorityClass::COUNT].map(|()| empty.clone());
    let mut looks_at_one = 0;
    for _ in 0..MOST_LOOKS {
        sum.fill(empty.clone());
        let before = marks(segment);
        // The groups first: so what is moved meanwhile is perhaps not there, and never there twice.
        let rows = groups.clone().filter_map(|row| segment.histogram_of_group(row));
        rows.for_each(|row| add(&mut sum, row));
        // Acquire: pairs with the release in `move_to`. If a sum was seen, the entry's row is seen
        // now without what was added.
        fence(Ordering::Acquire);
        let entries = segment.entries().filter(|(_, it)| wanted(it.counted()));
        entries
            .filter_map(|(index, _)| segment.histogram(index))
            .for_each(|row| add(&mut sum, row));
        // Acquire: pairs with the release fence in `move_away`. If a count was seen that was
        // moved, the word that says so is seen now.
        fence(Ordering::Acquire);
        if marks(segment) != before {
            continue;
        }
        looks_at_one += 1;
        if !before.are_moving || looks_at_one == MOST_LOOKS_AT_ONE {
            break;
        }
    }
    sum
}

fn add(sum: &mut Histograms, row: &HistogramRow) {
    for (histogram, class) in sum.iter_mut().zip(PriorityClass::ALL) {
        row.of(class).for_each(|(bucket, count)| histogram.count_in(bucket, count));
    }
}

/// What the entries say of their counts.
#[derive(Clone, Copy, PartialEq)]
struct Marks {
    /// A number that changes when a word does that says for whom was counted.
    sum: u64,
    /// Whether some are being moved.
    are_moving: bool,
}

fn marks(segment: &Segment) -> Marks {
    segment.entries().fold(Marks { sum: 0, are_moving: false }, |marks, (_, participant)| {
        let counted = participant.counted();
        // Any odd number: so the words of two entries cannot change places unnoticed.
        let sum = marks.sum.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(counted.word());
        Marks { sum, are_moving: marks.are_moving || counted.is_moving() }
    })
}
