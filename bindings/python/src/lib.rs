//! The extension module of the Python package `ultrafastring`.
//!
//! What Python sees is in `python/ultrafastring/`: its front, the exceptions, plain values and what
//! has to do with asyncio and with processes are Python, and the rest is here.
//!
//! ```text
//!  ring.rs               making, opening, handing over, looking
//!  handle.rs             what both handles have in common
//!  producer.rs consumer.rs   the handles
//!  groups.rs tail.rs     joining groups; observers and tail readers
//!  guard.rs              messages in place, as memoryviews
//!  consumer/aio.rs       what asyncio needs of a consumer
//!  fast.rs               the shortest way of `send` and `recv`
//!  turn.rs               one call at a time has a handle
//!  wait.rs               waiting without the interpreter, and for signals
//!  take.rs               from a slot to a Python object
//!  input.rs settings.rs  arguments
//!  keeper.rs             memory that outlives its views
//!  errors.rs values.rs latencies.rs  what Python gets back
//!  fork.rs cuda.rs       children; graphics processors
//!  queue/                rings of objects, of which queues and broadcasts are made
//! ```

mod consumer;
mod cuda;
mod errors;
mod fast;
mod fork;
mod groups;
mod guard;
mod handle;
mod input;
mod keeper;
mod latencies;
mod producer;
mod queue;
mod ring;
mod settings;
mod tail;
mod take;
mod turn;
mod values;
mod wait;

use pyo3::prelude::*;

/// The ring, as compiled. `ultrafastring` is its public name.
#[pymodule(name = "_ultrafastring", gil_used = false)]
mod extension {
    #[pymodule_export]
    use super::consumer::Consumer;
    #[pymodule_export]
    use super::guard::{Borrowed, Reservation};
    #[pymodule_export]
    use super::latencies::LatencyHistogram;
    #[pymodule_export]
    use super::producer::Producer;
    #[pymodule_export]
    use super::queue::{_Feeder, _Kept, _bytes_for_tasks, _remove_stale, ObjectRing};
    #[pymodule_export]
    use super::ring::Ring;
    #[pymodule_export]
    use super::tail::{Observer, TailReader};
    #[pymodule_export]
    use super::values::Message;

    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        fork::notice();
        fast::install(module.py())?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
