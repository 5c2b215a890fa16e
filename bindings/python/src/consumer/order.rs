//! The order in which a consumer takes from the lanes of a ring.

use std::time::Duration;

use pyo3::prelude::*;

use super::Consumer;
use crate::errors;
use crate::groups::duration;
use crate::take::Core;

/// What was chosen when a consumer is taken.
pub(crate) struct Order {
    in_time_order: Option<Duration>,
    ageing: Option<u32>,
}

impl Order {
    /// The keyword arguments. A time that is infinite is without end.
    pub(crate) fn of(in_time_order: Option<f64>, ageing: Option<u32>) -> PyResult<Self> {
        Ok(Self { in_time_order: in_time_order.map(wait).transpose()?, ageing })
    }

    pub(crate) fn choose(&self, consumer: &mut Core) -> PyResult<()> {
        if let Some(wait) = self.in_time_order {
            consumer.in_time_order(wait).map_err(errors::of_ring)?;
        }
        if let Some(one_in) = self.ageing {
            consumer.ageing(one_in).map_err(errors::of_ring)?;
        }
        Ok(())
    }
}

/// For how long lanes are waited for that have nothing.
fn wait(seconds: f64) -> PyResult<Duration> {
    if seconds == f64::INFINITY { Ok(Duration::MAX) } else { duration("wait", seconds) }
}

/// Lanes.
#[pymethods]
impl Consumer {
    /// From now on messages come in the order in which they were sent, by their timestamps. The
    /// ring must have been made with `lanes="by-producer:N"` and a timestamp in each message, else
    /// this raises `NoTimeOrder`.
    ///
    /// A lane that has nothing may bring an older message still. It is waited for, but for no
    /// longer than `wait` seconds after the oldest message was sent; 0 does not wait, and
    /// `math.inf` always does. What is in the ring within that time after its timestamp comes in
    /// order. What comes later, and after a younger one, is `late`. Until it is certain what is
    /// next, calls that do not wait find nothing.
    ///
    /// >>> from ultrafastring import Ring
    /// >>> ring = Ring.anonymous(lanes="by-producer:2")
    /// >>> consumer = ring.consumer(in_time_order=0.001)
    /// >>> one, two = ring.producer(), ring.producer()
    /// >>> for number in range(6):
    /// ...     (two if number % 3 == 0 else one).send(bytes([number]))
    /// >>> ring.close()
    /// >>> [message[0] for message in consumer], consumer.late
    /// ([0, 1, 2, 3, 4, 5], 0)
    fn in_time_order(&self, py: Python<'_>, wait: f64) -> PyResult<()> {
        let wait = self::wait(wait)?;
        self.handle.on_core(py, |it| it.in_time_order(wait))?.map_err(errors::of_ring)
    }

    /// How many messages this consumer has received late, in time order.
    #[getter]
    fn late(&self, py: Python<'_>) -> PyResult<u64> {
        self.handle.on_core(py, |it| it.late())
    }

    /// From now on one receive in `one_in` takes from the lanes by class in turn, the least urgent
    /// at first, so that each class gets its share. 0 takes the most urgent message always, as at
    /// first. The ring must have been made with `lanes="by-class"`, else this raises
    /// `NoClassLanes`. A call that receives several messages takes them from one lane, and counts
    /// once.
    ///
    /// >>> from ultrafastring import Ring
    /// >>> ring = Ring.anonymous(lanes="by-class")
    /// >>> producer, consumer = ring.producer(), ring.consumer(ageing=3)
    /// >>> producer.send_many([b"cancel"] * 4, "real-time")
    /// >>> producer.send(b"report", "bulk")
    /// >>> [consumer.recv() for _ in range(5)]
    /// [b'cancel', b'cancel', b'report', b'cancel', b'cancel']
    fn ageing(&self, py: Python<'_>, one_in: u32) -> PyResult<()> {
        self.handle.on_core(py, |it| it.ageing(one_in))?.map_err(errors::of_ring)
    }
}
