//! What Python gets besides bytes.

use pyo3::basic::CompareOp;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyType};
use ultrafastring::clock::Clock;
use ultrafastring::{
    GroupInfo, GroupState, LaneInfo, LaneStats, Lanes, ParticipantInfo, PriorityClass, Received,
    RingView, Sharing, Slow,
};

/// A received message: its bytes, and what there is to know about it.
///
/// It is equal to another with the same bytes and priority class, and to `bytes` that are equal to
/// its own.
///
/// >>> from ultrafastring import Ring
/// >>> ring = Ring.anonymous()
/// >>> ring.producer().send(b"one", priority="bulk")
/// >>> message = ring.consumer().recv_message()
/// >>> message == b"one", len(message), message.position
/// (True, 3, 0)
/// >>> message.priority
/// <PriorityClass.BULK: 4>
#[pyclass(frozen, module = "ultrafastring")]
pub(crate) struct Message {
    data: Py<PyBytes>,
    about: About,
}

/// What there is to know about a message.
#[derive(Clone, Copy)]
pub(crate) struct About {
    received: Received,
    ticks_per_second: f64,
}

impl About {
    pub(crate) fn new(received: Received, clock: &Clock) -> Self {
        Self { received, ticks_per_second: clock.ticks_per_second }
    }

    pub(crate) fn size(&self) -> usize {
        self.received.size
    }

    pub(crate) fn priority<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        priority_class(py, self.received.class)
    }

    /// Nanoseconds from send to receive, if the message carried a timestamp.
    pub(crate) fn latency_ns(&self) -> Option<u64> {
        let rate = self.ticks_per_second;
        self.received.timestamp()?;
        (rate > 0.0).then(|| (self.received.latency as f64 * 1e9 / rate) as u64)
    }

    pub(crate) fn redelivered(&self) -> bool {
        self.received.redelivered
    }

    pub(crate) fn late(&self) -> bool {
        self.received.is_late()
    }

    pub(crate) fn position(&self) -> u64 {
        self.received.position()
    }
}

impl Message {
    pub(crate) fn new(data: Bound<'_, PyBytes>, about: About) -> Self {
        Self { data: data.unbind(), about }
    }
}

#[pymethods]
impl Message {
    /// Its bytes.
    #[getter]
    fn data<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        self.data.bind(py).clone()
    }

    /// The priority class it was sent with.
    #[getter]
    fn priority<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.about.priority(py)
    }

    /// Nanoseconds from send to receive; `None` if it carried no timestamp.
    #[getter]
    fn latency_ns(&self) -> Option<u64> {
        self.about.latency_ns()
    }

    /// Whether it may have been delivered before, to a consumer that died.
    #[getter]
    fn redelivered(&self) -> bool {
        self.about.redelivered()
    }

    /// Whether it came after a younger one: only of a consumer that receives in time order.
    #[getter]
    fn late(&self) -> bool {
        self.about.late()
    }

    /// Its place in the order of all messages that the ring ever had, from 0; of each lane.
    #[getter]
    fn position(&self) -> u64 {
        self.about.position()
    }

    fn __bytes__<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        self.data(py)
    }

    fn __len__(&self) -> usize {
        self.about.size()
    }

    fn __richcmp__(&self, other: &Bound<'_, PyAny>, op: CompareOp) -> PyResult<Py<PyAny>> {
        let py = other.py();
        let equal = if let Ok(other) = other.cast::<Self>() {
            let other = other.get();
            self.about.received.class == other.about.received.class
                && self.data.as_bytes(py) == other.data.as_bytes(py)
        } else if let Ok(bytes) = other.cast::<PyBytes>() {
            self.data.as_bytes(py) == bytes.as_bytes()
        } else {
            return Ok(py.NotImplemented());
        };
        match op {
            CompareOp::Eq => equal.into_pyobject(py).map(|it| it.to_owned().into_any().unbind()),
            CompareOp::Ne => (!equal).into_pyobject(py).map(|it| it.to_owned().into_any().unbind()),
            _ => return Ok(py.NotImplemented()),
        }
        .map_err(Into::into)
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        self.data.bind(py).hash()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!(
            "Message({}, priority={}, position={}{}{})",
            self.data.bind(py).repr()?,
            self.about.received.class.name(),
            self.position(),
            if self.redelivered() { ", redelivered" } else { "" },
            if self.late() { ", late" } else { "" },
        ))
    }
}

/// A class of the module of plain values.
fn class<'py>(
    py: Python<'py>,
    cell: &'static PyOnceLock<Py<PyType>>,
    name: &str,
) -> PyResult<&'py Bound<'py, PyType>> {
    cell.import(py, "ultrafastring._values", name)
}

/// The member of the enumeration.
pub(crate) fn priority_class(py: Python<'_>, it: PriorityClass) -> PyResult<Bound<'_, PyAny>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    class(py, &CLASS, "PriorityClass")?.call1((it.index(),))
}

fn class_stats<'py>(
    py: Python<'py>,
    stats: &LaneStats,
    clock: &Clock,
) -> PyResult<Bound<'py, PyAny>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let kwargs = PyDict::new(py);
    kwargs.set_item("sent", stats.sent)?;
    kwargs.set_item("sent_bytes", stats.sent_bytes)?;
    kwargs.set_item("received", stats.received)?;
    kwargs.set_item("received_bytes", stats.received_bytes)?;
    kwargs.set_item("average_latency_ns", clock.nanoseconds(stats.avg_latency()))?;
    kwargs.set_item("max_latency_ns", clock.nanoseconds(stats.latency_max))?;
    class(py, &CLASS, "ClassStats")?.call((), Some(&kwargs))
}

fn classes<'py>(
    py: Python<'py>,
    all: &[LaneStats; PriorityClass::COUNT],
    clock: &Clock,
) -> PyResult<Bound<'py, PyDict>> {
    let classes = PyDict::new(py);
    for (it, stats) in PriorityClass::ALL.iter().zip(all) {
        classes.set_item(priority_class(py, *it)?, class_stats(py, stats, clock)?)?;
    }
    Ok(classes)
}

/// What the ring has counted.
pub(crate) fn stats<'py>(py: Python<'py>, ring: &RingView) -> PyResult<Bound<'py, PyAny>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let (stats, clock) = (ring.stats(), ring.clock());
    let kwargs = PyDict::new(py);
    kwargs.set_item("sent", stats.sent)?;
    kwargs.set_item("received", stats.received)?;
    kwargs.set_item("average_latency_ns", clock.nanoseconds(stats.avg_latency))?;
    kwargs.set_item("abandoned", stats.abandoned)?;
    kwargs.set_item("redelivered", stats.redelivered)?;
    kwargs.set_item("discarded", stats.discarded)?;
    kwargs.set_item("late", stats.late)?;
    kwargs.set_item("credits_spent", stats.credits_spent)?;
    kwargs.set_item("credit_limit", stats.credit_limit)?;
    kwargs.set_item("under_pressure", stats.under_pressure)?;
    kwargs.set_item("classes", classes(py, &stats.classes, &clock)?)?;
    class(py, &CLASS, "Stats")?.call((), Some(&kwargs))
}

/// Who takes part.
pub(crate) fn participants<'py>(
    py: Python<'py>,
    ring: &RingView,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let clock = ring.clock();
    ring.participants().map(|info| participant(py, &info, &clock)).collect()
}

fn participant<'py>(
    py: Python<'py>,
    info: &ParticipantInfo,
    clock: &Clock,
) -> PyResult<Bound<'py, PyAny>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let kwargs = PyDict::new(py);
    kwargs.set_item("index", info.index)?;
    kwargs.set_item("lane", info.lane)?;
    kwargs.set_item("pid", info.pid)?;
    kwargs.set_item("name", info.name.as_str())?;
    kwargs.set_item("side", info.side.name())?;
    kwargs.set_item("sharing", info.sharing.name())?;
    kwargs.set_item("alive", info.alive)?;
    kwargs.set_item("classes", classes(py, &info.classes, clock)?)?;
    kwargs.set_item("abandoned", info.abandoned)?;
    kwargs.set_item("redelivered", info.redelivered)?;
    kwargs.set_item("discarded", info.discarded)?;
    kwargs.set_item("late", info.late)?;
    class(py, &CLASS, "Participant")?.call((), Some(&kwargs))
}

/// The lanes of the ring: its queues.
pub(crate) fn lanes<'py>(py: Python<'py>, ring: &RingView) -> PyResult<Vec<Bound<'py, PyAny>>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let clock = ring.clock();
    let one = |info: LaneInfo| {
        let priority = info.class.map(|it| priority_class(py, it)).transpose()?;
        let owner = info.owner.map(|it| participant(py, &it, &clock)).transpose()?;
        let kwargs = PyDict::new(py);
        kwargs.set_item("index", info.index)?;
        kwargs.set_item("priority", priority)?;
        kwargs.set_item("owner", owner)?;
        kwargs.set_item("capacity", info.capacity)?;
        kwargs.set_item("max_message", info.max_message)?;
        kwargs.set_item("closed", info.closed)?;
        kwargs.set_item("in_flight", info.len)?;
        kwargs.set_item("credits_spent", info.stats.credits_spent)?;
        kwargs.set_item("credit_limit", info.stats.credit_limit)?;
        kwargs.set_item("sent", info.stats.sent)?;
        kwargs.set_item("received", info.stats.received)?;
        class(py, &CLASS, "Lane")?.call((), Some(&kwargs))
    };
    ring.lanes().map(one).collect()
}

/// The groups of the ring.
pub(crate) fn groups<'py>(py: Python<'py>, ring: &RingView) -> PyResult<Vec<Bound<'py, PyAny>>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let one = |info: GroupInfo| {
        let state = match info.state {
            GroupState::Open => "open",
            GroupState::Evicted => "evicted",
            // Whatever else there may be, producers do not wait for it.
            _ => "closed",
        };
        let evict_after = match info.slow {
            Slow::Evict { after } => Some(after.as_secs_f64()),
            Slow::Wait => None,
        };
        let kwargs = PyDict::new(py);
        kwargs.set_item("name", info.name.as_str())?;
        kwargs.set_item("state", state)?;
        kwargs.set_item("durable", info.durable)?;
        kwargs.set_item("exclusive", info.sharing == Sharing::Exclusive)?;
        kwargs.set_item("evict_after", evict_after)?;
        kwargs.set_item("members", info.members)?;
        kwargs.set_item("received", info.received)?;
        kwargs.set_item("lag", info.lag)?;
        kwargs.set_item("position", info.consumer_head)?;
        kwargs.set_item("evictions", info.evictions)?;
        kwargs.set_item("missed", info.missed)?;
        class(py, &CLASS, "Group")?.call((), Some(&kwargs))
    };
    ring.groups().map(one).collect()
}

/// What the ring was made with, by the names of the keyword arguments.
pub(crate) fn settings<'py>(py: Python<'py>, ring: &RingView) -> PyResult<Bound<'py, PyAny>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let settings = ring.settings();
    let reserve = PyDict::new(py);
    for (it, credits) in PriorityClass::ALL.iter().zip(settings.reserves) {
        if credits != 0 {
            reserve.set_item(priority_class(py, *it)?, credits)?;
        }
    }
    let kwargs = PyDict::new(py);
    kwargs.set_item("capacity", settings.capacity)?;
    kwargs.set_item("participants", settings.participants)?;
    kwargs.set_item("max_message", settings.max_message)?;
    kwargs.set_item("groups", settings.groups)?;
    kwargs.set_item("lanes", settings.lanes.to_string())?;
    kwargs.set_item("exclusive_producer", settings.producer_side == Sharing::Exclusive)?;
    kwargs.set_item("exclusive_consumer", settings.consumer_side == Sharing::Exclusive)?;
    kwargs.set_item("latency_histograms", settings.latency_histograms)?;
    kwargs.set_item("timestamps", settings.timestamps.to_string())?;
    kwargs.set_item("redelivery", settings.redelivery.name())?;
    kwargs.set_item("credit_limit", settings.credit_limit)?;
    kwargs.set_item("reserve", reserve)?;
    let (slots, limits, sizes) = (PyDict::new(py), PyDict::new(py), PyDict::new(py));
    if settings.lanes == Lanes::ByClass {
        for (it, lane) in PriorityClass::ALL.iter().zip(settings.class_lanes) {
            let class = priority_class(py, *it)?;
            slots.set_item(&class, lane.capacity)?;
            limits.set_item(&class, lane.credit_limit)?;
            sizes.set_item(&class, lane.max_message)?;
        }
    }
    kwargs.set_item("capacity_of", slots)?;
    kwargs.set_item("credit_limit_of", limits)?;
    kwargs.set_item("max_message_of", sizes)?;
    class(py, &CLASS, "Settings")?.call((), Some(&kwargs))
}
