//! What calls of a queue raise.

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

mod classes {
    use pyo3::import_exception;

    import_exception!(queue, Empty);
    import_exception!(queue, Full);
    import_exception!(ultrafastring._errors, NoRoom);
    import_exception!(ultrafastring._errors, PickleRefused);
    import_exception!(ultrafastring._errors, ReceiveError);
    import_exception!(ultrafastring._errors, TimedOut);
}

/// There is no item.
#[cold]
pub(super) fn empty() -> PyErr {
    classes::Empty::new_err(())
}

/// There is no room.
#[cold]
pub(super) fn full() -> PyErr {
    classes::Full::new_err(())
}

/// Whether it says that there is no item.
#[cold]
pub(super) fn is_empty(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<classes::Empty>(py)
}

/// Whether a wait has ended by its limit.
#[cold]
fn is_late(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<classes::TimedOut>(py)
}

/// As `late`, of a wait that ended by its limit; other errors stay what they are.
#[cold]
pub(super) fn instead_of_late(py: Python<'_>, error: PyErr, late: fn() -> PyErr) -> PyErr {
    if is_late(py, &error) { late() } else { error }
}

/// The queue was closed in this process. `queue` is how it shows itself.
#[cold]
pub(super) fn closed(queue: &Bound<'_, PyAny>) -> PyErr {
    match queue.repr() {
        Ok(shown) => PyValueError::new_err(format!("Queue {shown} is closed")),
        Err(error) => error,
    }
}

/// As `closed`, where `multiprocessing` has an `OSError`.
#[cold]
pub(super) fn handle_closed() -> PyErr {
    PyOSError::new_err("handle is closed")
}

/// The bytes are no item of a queue.
#[cold]
pub(super) fn malformed() -> PyErr {
    classes::ReceiveError::new_err(
        "the message is no item of a queue; all who send to its ring must be queues of this \
         package",
    )
}

/// The item was sent by a queue with another serializer.
#[cold]
pub(super) fn other_serializer() -> PyErr {
    classes::ReceiveError::new_err(
        "the item was put by a queue with another serializer=; all queues of a ring need the same",
    )
}

/// The file of a large item is gone.
#[cold]
pub(super) fn spilled_is_gone(why: &std::io::Error) -> PyErr {
    classes::ReceiveError::new_err(format!(
        "the item was larger than max_message=, and the file that it was in cannot be read: {why}"
    ))
}

/// There is no place for the file of a large item.
#[cold]
pub(super) fn no_room_for_item(size: usize, why: Option<std::io::Error>) -> PyErr {
    let why = why.map(|it| format!(": {it}")).unwrap_or_default();
    classes::NoRoom::new_err(format!(
        "the item has {size} bytes, more than max_message=, and could not be put into a file{why}"
    ))
}

/// Unpickling would run what another user has sent.
#[cold]
pub(super) fn refused() -> PyErr {
    classes::PickleRefused::new_err(
        "other users can write to this ring, and unpickling what they send runs it; choose \
         serializer=\"bytes\", or \"json\", or trust them by allow_pickle=True",
    )
}

/// More tasks were reported done than this process has in hand.
#[cold]
pub(super) fn nothing_in_hand() -> PyErr {
    PyValueError::new_err("task_done() called too many times")
}
