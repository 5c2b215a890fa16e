//! What a handle has received, by class and run.

use super::delivery::{Delivery, time_for};
use crate::lane::runs::ReceivedRun;
use crate::layout::participant::Participant;
use crate::layout::slot::Meta;
use crate::message::Received;
use crate::priority::PriorityClass;
use crate::segment::histogram::OwnHistogram;
use crate::statistics::LaneStats;

/// Latencies of a batch that differ by less than this part are counted together.
const ALIKE: u64 = 16;

/// Counts one handle's messages: a run of like ones at a time.
#[derive(Debug)]
pub(crate) struct Tally {
    received: u64,
    run: ReceivedRun,
    lanes: [LaneStats; PriorityClass::COUNT],
    /// Where latencies are counted, if the ring has histograms.
    histogram: Option<OwnHistogram>,
    /// Of the latencies in `lanes`, those that are counted there: their sum and number.
    counted: [(u64, u64); PriorityClass::COUNT],
}

impl Tally {
    /// A tally that goes on from what the entry's holders before have counted in `lanes`. It counts
    /// latencies in the `histogram`.
    pub(crate) fn new(
        lanes: [LaneStats; PriorityClass::COUNT],
        histogram: Option<OwnHistogram>,
    ) -> Self {
        let run = ReceivedRun::begin(Meta::new(PriorityClass::Normal, 0, 0), 0);
        let counted = lanes.map(|lane| (lane.latency_sum, lane.latency_count));
        Self { received: 0, run, lanes, histogram, counted }
    }

    /// Counts latencies in another histogram from now on: those of messages that come from now on.
    pub(crate) fn count_in(&mut self, histogram: Option<OwnHistogram>) {
        self.run.end(self.received, &mut self.lanes);
        self.counted = self.lanes.map(|lane| (lane.latency_sum, lane.latency_count));
        self.histogram = histogram;
    }

    /// Whether latencies are counted.
    #[inline(always)]
    pub(crate) fn has_histogram(&self) -> bool {
        self.histogram.is_some()
    }

    /// Counts in the histogram, if there is one, what is not counted there: for each class as many
    /// latencies as there are, each as their mean. Called often enough, it takes few messages
    /// together, which have come within [`COUNT`](crate::threshold::COUNT).
    #[inline]
    pub(crate) fn count_latencies(&mut self) {
        if !self.has_histogram() {
            return;
        }
        self.run.end(self.received, &mut self.lanes);
        for class in PriorityClass::ALL {
            let lane = &self.lanes[class.index()];
            let (sum, count) = self.counted[class.index()];
            let more = (lane.latency_sum.wrapping_sub(sum), lane.latency_count.wrapping_sub(count));
            self.count(class, more);
        }
    }

    /// Counts in the histogram, if there is one, latencies with this sum and number as their mean.
    #[inline]
    fn count(&mut self, class: PriorityClass, (sum, count): (u64, u64)) {
        if let Some(histogram) = &self.histogram
            && let Some(mean) = sum.checked_div(count)
        {
            histogram.count(class, mean, count);
            let counted = &mut self.counted[class.index()];
            // Wrapping: a hostile timestamp may make a latency of any size.
            *counted = (counted.0.wrapping_add(sum), counted.1.wrapping_add(count));
        }
    }

    /// Counts the latency of the message that was recorded last, which carries a timestamp.
    #[inline]
    pub(crate) fn count_last(&mut self, latency: u64) {
        self.count(self.run.class(), (latency, 1));
    }

    /// The same, unless the ring has no histograms, or the message carries no timestamp.
    #[inline]
    pub(crate) fn count_latency(&mut self, about: &Received) {
        if self.has_histogram() && about.timestamp != 0 {
            self.count_last(about.latency);
        }
    }

    /// As [`count_latencies`](Self::count_latencies), of these messages alone, which were recorded
    /// and not counted: those that follow each other with latencies that differ little, as their
    /// mean.
    pub(crate) fn count_each<'a>(&mut self, messages: impl Iterator<Item = &'a Received>) {
        let mut messages = messages.filter(|about| about.timestamp != 0).peekable();
        while let Some(first) = messages.next() {
            let (mut sum, mut count) = (first.latency, 1);
            let is_like = |next: &&Received| {
                next.class == first.class
                    && next.latency.abs_diff(first.latency) <= first.latency / ALIKE
            };
            while let Some(next) = messages.next_if(is_like) {
                // Wrapping: a hostile timestamp may make a latency of any size.
                sum = sum.wrapping_add(next.latency);
                count += 1;
            }
            self.count(first.class, (sum, count));
        }
    }

    /// Messages received through this handle.
    #[inline(always)]
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// The run of like messages that the next message may join. After [`join`](Self::join) its
    /// class and size are the message's, checked once a run.
    #[inline(always)]
    pub(crate) fn run(&self) -> &ReceivedRun {
        &self.run
    }

    /// If a message with this `meta` does not continue the run, ends it and begins a new one.
    /// Returns `false`, and does nothing, if the message is in a side buffer: such a message never
    /// continues a run here.
    #[inline(always)]
    pub(crate) fn join(&mut self, meta: Meta) -> bool {
        self.run.continues(meta) || self.begin_run(meta)
    }

    // `inline` makes an instance in the calling crate, and `cold` keeps it out of line there.
    // Otherwise each receive would load the address of the one in this crate.
    #[cold]
    #[inline]
    fn begin_run(&mut self, meta: Meta) -> bool {
        let small = !meta.is_large();
        if small {
            self.run.end(self.received, &mut self.lanes);
            self.run = ReceivedRun::begin(meta, self.received);
        }
        small
    }

    /// As [`join`](Self::join), for a message of `size` bytes in a side buffer.
    #[inline]
    pub(crate) fn join_large(&mut self, meta: Meta, size: usize) {
        if !self.run.continues_large(meta) {
            self.run.end(self.received, &mut self.lanes);
            self.run = ReceivedRun::begin(meta, self.received);
        }
        self.run.note_large(size);
    }

    /// Counts a message that has joined the run, and returns when it was taken (0 if it carries no
    /// timestamp).
    #[inline(always)]
    pub(crate) fn record(&mut self, delivery: &Delivery) -> (Received, u64) {
        let now = delivery.seen.unwrap_or_else(|| time_for(delivery.timestamp));
        self.received += 1;
        let about = Received {
            size: delivery.size,
            class: self.run.class(),
            latency: self.run.record(delivery.timestamp, now),
            redelivered: delivery.redelivered,
            timestamp: delivery.timestamp,
            position: delivery.position,
        };
        (about, now)
    }

    /// Goes on from `run`, a copy of this one's in which `count` more messages were recorded.
    #[inline(always)]
    pub(super) fn resume(&mut self, run: ReceivedRun, count: u64) {
        self.run = run;
        self.received += count;
    }

    /// Counts `count` messages of the run that were received in a stretch, with their latencies.
    #[cfg(not(loom))]
    pub(crate) fn add(&mut self, count: u64, latencies: (u64, u64, u64)) {
        self.received = self.received.wrapping_add(count);
        self.run.add_latencies(latencies);
    }

    /// Stores all counts in the handle's entry.
    #[inline(always)]
    pub(crate) fn store(&mut self, participant: &Participant) {
        self.run.end(self.received, &mut self.lanes);
        for class in PriorityClass::ALL {
            participant.lane(class).store_received(&self.lanes[class.index()]);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::layout::slot::Payload;

    fn delivery(size: usize) -> Delivery {
        Delivery {
            size,
            large: None,
            timestamp: 5,
            seen: Some(8),
            payload: Payload::EMPTY,
            position: 0,
            redelivered: false,
        }
    }

    #[test]
    fn messages_of_one_size_are_a_run_and_another_size_begins_the_next() {
        let mut tally = Tally::new(Default::default(), None);
        for size in [3, 3, 7] {
            assert!(tally.join(Meta::new(PriorityClass::High, size, 1)));
            assert_eq!(tally.run().size(), size);
            assert_eq!(tally.record(&delivery(size)).0.latency, 3);
        }
        let counted = tally.lanes[PriorityClass::High.index()];
        assert_eq!((counted.received, counted.received_bytes), (2, 6), "the last run goes on");
        tally.run.end(tally.received, &mut tally.lanes);
        let counted = tally.lanes[PriorityClass::High.index()];
        assert_eq!((counted.received, counted.received_bytes, counted.latency_sum), (3, 13, 9));
    }

    #[test]
    fn a_message_in_a_side_buffer_joins_no_run_of_small_ones() {
        let mut tally = Tally::new(Default::default(), None);
        let large = Meta::large(PriorityClass::Low);
        for _ in 0..2 {
            assert!(!tally.join(large));
            tally.join_large(large, 1000);
            tally.record(&delivery(1000));
        }
        assert!(tally.join(Meta::new(PriorityClass::Low, 1, 1)));
        let counted = tally.lanes[PriorityClass::Low.index()];
        assert_eq!((counted.received, counted.received_bytes), (2, 2000));
    }
}
