//! From a slot to a Python object: one copy.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use ultrafastring::{Received, RecvError};

use crate::errors;

pub(crate) type Core = ultrafastring::Consumer;

/// The next message as `bytes`, and what there is to know about it; `None` if there is none. The
/// object is made before the message is taken, or its bytes are at hand: nothing is lost if there
/// is no memory for it, but for a message of up to 40 bytes.
#[inline(always)]
pub(crate) fn next<'py>(
    py: Python<'py>,
    consumer: &mut Core,
) -> PyResult<Option<(Bound<'py, PyBytes>, Received)>> {
    match consumer.try_recv() {
        Ok(message) => Ok(Some((PyBytes::new(py, &message), message.about()))),
        Err(RecvError::Empty) => Ok(None),
        Err(RecvError::BufferTooSmall { needed, .. }) => large(py, consumer, needed),
        Err(error) => Err(errors::of_recv(error)),
    }
}

/// As `next`, of a message that had `size` bytes when it was seen.
#[cold]
fn large<'py>(
    py: Python<'py>,
    consumer: &mut Core,
    mut size: usize,
) -> PyResult<Option<(Bound<'py, PyBytes>, Received)>> {
    loop {
        let mut got = Err(RecvError::Empty);
        let bytes = PyBytes::new_with(py, size, |memory| {
            got = consumer.try_recv_into(memory);
            Ok(())
        })?;
        match got {
            Ok(about) if about.size == size => return Ok(Some((bytes, about))),
            // Another consumer was faster, and this is a shorter one.
            Ok(about) => {
                let bytes = PyBytes::new(py, &bytes.as_bytes()[..about.size.min(size)]);
                return Ok(Some((bytes, about)));
            }
            Err(RecvError::Empty) => return Ok(None),
            // And this a longer one.
            Err(RecvError::BufferTooSmall { needed, .. }) => size = needed,
            Err(error) => return Err(errors::of_recv(error)),
        }
    }
}
