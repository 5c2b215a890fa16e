//! Groups of consumers: joining one, looking at them, removing one.

use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;
use ultrafastring::{Slow, Start};

use crate::consumer::{Consumer, Order};
use crate::ring::Ring;
use crate::{errors, values};

/// Where `start=` says to begin: a word, or the position of a message.
pub(crate) fn start(given: Option<&Bound<'_, PyAny>>) -> PyResult<Start> {
    let Some(given) = given else { return Ok(Start::Latest) };
    let Ok(word) = given.cast::<PyString>() else { return given.extract().map(Start::Position) };
    match word.to_str()? {
        "latest" => Ok(Start::Latest),
        "oldest" => Ok(Start::Oldest),
        "resume" => Ok(Start::Resume),
        word => {
            let words = "it is one of latest, oldest, resume, or a position, which is a number";
            Err(errors::word("start", word, words))
        }
    }
}

/// A duration in seconds.
pub(crate) fn duration(argument: &str, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|_| {
        PyValueError::new_err(format!(
            "{argument}= is a number of seconds, 0 or more; it is not {seconds}"
        ))
    })
}

/// Groups.
#[pymethods]
impl Ring {
    /// A consumer in the group called `name`, which is made if it is not there. The ring must have
    /// been made with `joinable=True` or `groups=`. Each group gets every message, and its members
    /// share them.
    ///
    /// `start` is for a group that is new or closed: `"latest"`, `"oldest"`, `"resume"`, or the
    /// position of a message; one that is open goes on where it is. A `durable` group keeps its
    /// place while it has no member. An `exclusive` one has one member at a time. Producers go on
    /// without a group that receives nothing for `evict_after` seconds while they wait for it: its
    /// members get `Evicted`. What is `None` is taken as the group is. `end_when_deserted`,
    /// `wait_strategy`, `in_time_order` and `ageing` are those of `consumer`.
    ///
    /// >>> from ultrafastring import Ring
    /// >>> ring = Ring.anonymous(joinable=True)
    /// >>> risk, log = ring.join("risk"), ring.join("log", durable=True)
    /// >>> ring.producer().send(b"to both")
    /// >>> risk.recv(), log.recv()
    /// (b'to both', b'to both')
    /// >>> [(group.name, group.durable) for group in ring.groups()]
    /// [('risk', False), ('log', True)]
    #[pyo3(signature = (name, *, start=None, durable=None, exclusive=None, evict_after=None,
        end_when_deserted=false, wait_strategy=None, in_time_order=None, ageing=None))]
    #[expect(clippy::too_many_arguments, reason = "they are keyword arguments")]
    fn join(
        &self,
        py: Python<'_>,
        name: &str,
        start: Option<&Bound<'_, PyAny>>,
        durable: Option<bool>,
        exclusive: Option<bool>,
        evict_after: Option<f64>,
        end_when_deserted: bool,
        wait_strategy: Option<&str>,
        in_time_order: Option<f64>,
        ageing: Option<u32>,
    ) -> PyResult<Consumer> {
        let start = self::start(start)?;
        let strategy = Self::strategy(wait_strategy)?;
        let order = Order::of(in_time_order, ageing)?;
        let ring = self.opened()?;
        let mut join = ring.join(name).start(start);
        join = match durable {
            None => join,
            Some(true) => join.durable(),
            Some(false) => join.passing(),
        };
        join = match exclusive {
            None => join,
            Some(true) => join.exclusive(),
            Some(false) => join.shared(),
        };
        if let Some(seconds) = evict_after {
            join = join.slow(Slow::Evict { after: duration("evict_after", seconds)? });
        }
        // It may wait for somebody who opens the group.
        let mut consumer = py.detach(|| join.consumer()).map_err(errors::of_ring)?;
        order.choose(&mut consumer)?;
        consumer.set_wait_strategy(strategy);
        consumer.end_when_deserted(end_when_deserted);
        Ok(Consumer::new(&ring, consumer, self.trusts_peers()))
    }

    /// The groups of the ring, open or closed, as a list of `Group`; none of a plain ring.
    fn groups<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        values::groups(py, &**self.opened()?)
    }

    /// Removes the group called `name`: producers do not wait for it any more, and its name is
    /// free. Raises `Busy` if it has a living member, and `NoSuchGroup`.
    fn remove_group(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        let ring = self.opened()?;
        py.detach(|| ring.remove_group(name)).map_err(errors::of_ring)
    }
}
