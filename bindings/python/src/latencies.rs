//! Histograms of latencies.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use ultrafastring::{PriorityClass, RingView};

use crate::errors;
use crate::values::priority_class;

/// How long messages took from send to receive, of one priority class: a snapshot, which does not
/// change. All times are in nanoseconds. Made by `Ring.latencies` and `Observer.latencies`.
///
/// >>> from ultrafastring import PriorityClass, Ring
/// >>> ring = Ring.anonymous(latency_histograms=True)
/// >>> producer, consumer = ring.producer(), ring.consumer()
/// >>> producer.send(b"AAPL 100", "high")
/// >>> message = consumer.recv()
/// >>> high = ring.latencies()[PriorityClass.HIGH]
/// >>> high.count, high.quantile_ns(0.99) > 0
/// (1, True)
#[pyclass(frozen, module = "ultrafastring")]
pub(crate) struct LatencyHistogram(ultrafastring::LatencyHistogram);

#[pymethods]
impl LatencyHistogram {
    /// How many messages are counted: those that carried a timestamp.
    #[getter]
    fn count(&self) -> u64 {
        self.0.count()
    }

    /// The latency that this part of all messages did not exceed: 0.5 gives the median. `None` if
    /// no message is counted. At most a sixteenth off what was counted: messages that a consumer
    /// received within 200 ns are counted with their mean.
    fn quantile_ns(&self, part: f64) -> Option<f64> {
        self.0.quantile(part)
    }

    /// The mean; `None` if no message is counted.
    #[getter]
    fn mean_ns(&self) -> Option<f64> {
        self.0.mean()
    }

    /// The sum of all latencies.
    #[getter]
    fn sum_ns(&self) -> f64 {
        self.0.sum()
    }

    /// How many messages took no longer than so many nanoseconds.
    fn count_up_to(&self, nanoseconds: f64) -> u64 {
        self.0.count_up_to(nanoseconds)
    }

    /// The buckets that are not empty: from which latency, below which, and how many messages.
    fn buckets(&self) -> Vec<(f64, f64, u64)> {
        self.0.buckets().map(|it| (it.from, it.to, it.count)).collect()
    }

    /// What was counted since an earlier snapshot of the same.
    fn since(&self, earlier: &Self) -> Self {
        Self(self.0.since(&earlier.0))
    }

    /// Both together: of two classes, groups, or rings of one machine.
    fn __add__(&self, other: &Self) -> Self {
        let mut sum = self.0.clone();
        sum.add(&other.0);
        Self(sum)
    }

    fn __repr__(&self) -> String {
        let median =
            self.0.quantile(0.5).map_or(String::new(), |it| format!(", half within {it:.0} ns"));
        format!("<LatencyHistogram of {} messages{median}>", self.0.count())
    }
}

/// The latencies of a ring, or of one of its groups, by class; `None` if it was made without
/// histograms.
pub(crate) fn latencies<'py>(
    py: Python<'py>,
    ring: &RingView,
    group: Option<&str>,
) -> PyResult<Option<Bound<'py, PyDict>>> {
    let by_class = match group {
        None => ring.latencies(),
        Some(name) => {
            let found = ring.groups().find(|it| it.name.as_str() == name);
            let row = found.ok_or_else(|| errors::no_such_group(name))?.row;
            ring.latencies_of_group(row)
        }
    };
    let Some(by_class) = by_class else { return Ok(None) };
    let all = PyDict::new(py);
    for (class, histogram) in PriorityClass::ALL.into_iter().zip(by_class) {
        all.set_item(priority_class(py, class)?, Py::new(py, LatencyHistogram(histogram))?)?;
    }
    Ok(Some(all))
}
