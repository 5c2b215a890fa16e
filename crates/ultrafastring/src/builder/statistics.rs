//! What consumers count besides.

use super::Builder;

/// Statistics.
impl Builder {
    /// Makes a ring whose consumers count latencies in histograms, by class and by group:
    /// [`RingView::latencies`](crate::RingView::latencies). By default they do not. The segment is
    /// then 13 kB larger for each entry of the participant table, of which an entry takes memory
    /// when a consumer first holds it.
    ///
    /// Counting costs up to 4 ticks for a message that carries a timestamp; see
    /// [`LatencyHistogram`](crate::LatencyHistogram) for how. Without
    /// timestamps there is nothing to count, and making the ring fails with
    /// [`Invalid::NoLatencies`](crate::Invalid::NoLatencies).
    pub fn latency_histograms(mut self, on: bool) -> Self {
        self.chosen.latency_histograms = Some(on);
        self
    }
}
