//! Errors: which exception says which, in the words of Python's side.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use ultrafastring::{FileError, RecvError, RingError, SendError};

mod classes {
    use pyo3::import_exception;

    import_exception!(ultrafastring._errors, BufferTooSmall);
    import_exception!(ultrafastring._errors, Busy);
    import_exception!(ultrafastring._errors, Closed);
    import_exception!(ultrafastring._errors, Damaged);
    import_exception!(ultrafastring._errors, Deserted);
    import_exception!(ultrafastring._errors, Evicted);
    import_exception!(ultrafastring._errors, ForkedError);
    import_exception!(ultrafastring._errors, GroupDiffers);
    import_exception!(ultrafastring._errors, HandleLeft);
    import_exception!(ultrafastring._errors, MadeForGroups);
    import_exception!(ultrafastring._errors, MessageHeld);
    import_exception!(ultrafastring._errors, NoClassLanes);
    import_exception!(ultrafastring._errors, NoFreeLane);
    import_exception!(ultrafastring._errors, NoRoom);
    import_exception!(ultrafastring._errors, NoSuchGroup);
    import_exception!(ultrafastring._errors, NoTimeOrder);
    import_exception!(ultrafastring._errors, NotARing);
    import_exception!(ultrafastring._errors, NotInPlace);
    import_exception!(ultrafastring._errors, NotMadeForGroups);
    import_exception!(ultrafastring._errors, Overrun);
    import_exception!(ultrafastring._errors, PinError);
    import_exception!(ultrafastring._errors, ReceiveError);
    import_exception!(ultrafastring._errors, RingDenied);
    import_exception!(ultrafastring._errors, RingError);
    import_exception!(ultrafastring._errors, RingExists);
    import_exception!(ultrafastring._errors, RingNotFound);
    import_exception!(ultrafastring._errors, SendError);
    import_exception!(ultrafastring._errors, SettingsError);
    import_exception!(ultrafastring._errors, SideTaken);
    import_exception!(ultrafastring._errors, TableFull);
    import_exception!(ultrafastring._errors, TimedOut);
    import_exception!(ultrafastring._errors, TooLarge);
    import_exception!(ultrafastring._errors, TooManyGroups);
    import_exception!(ultrafastring._errors, ViewsExported);
}

/// The library's text, with what Python calls it instead of what Rust does.
fn in_python(text: String) -> String {
    const WORDS: [(&str, &str); 10] = [
        ("Builder::accept_existing", "accept_existing=True"),
        ("Builder::directory", "directory="),
        ("Builder::groups", "groups="),
        ("Builder::joinable", "joinable=True"),
        ("Builder::trust_peers", "trust_peers=True"),
        ("Builder::trust", "trust="),
        ("Lanes::ByClass", "lanes=\"by-class\""),
        ("Lanes::ByProducer", "lanes=\"by-producer:N\""),
        ("Timestamps::Every", "timestamps=\"every\""),
        ("reopen()", "ring.reopen()"),
    ];
    WORDS.iter().fold(text, |text, (rust, python)| text.replace(rust, python))
}

/// Why no message was sent.
#[cold]
pub(crate) fn of_send(error: SendError) -> PyErr {
    let text = in_python(error.to_string());
    match error {
        SendError::TooLarge { .. } => classes::TooLarge::new_err(text),
        SendError::NoSpace => classes::NoRoom::new_err(text),
        SendError::Closed => classes::Closed::new_err(text),
        SendError::TimedOut => classes::TimedOut::new_err(text),
        SendError::Deserted => classes::Deserted::new_err(text),
        SendError::Damaged => classes::Damaged::new_err(text),
        _ => classes::SendError::new_err(text),
    }
}

/// Why no message was received.
#[cold]
pub(crate) fn of_recv(error: RecvError) -> PyErr {
    let text = in_python(error.to_string());
    match error {
        RecvError::BufferTooSmall { needed, .. } => {
            classes::BufferTooSmall::new_err((text, needed))
        }
        RecvError::OutOfMemory { .. } => classes::NoRoom::new_err(text),
        RecvError::Closed => classes::Closed::new_err(text),
        RecvError::TimedOut => classes::TimedOut::new_err(text),
        RecvError::Deserted => classes::Deserted::new_err(text),
        RecvError::Damaged => classes::Damaged::new_err(text),
        RecvError::Evicted { missed } => classes::Evicted::new_err((text, missed)),
        RecvError::Overrun { missed } => classes::Overrun::new_err((text, missed)),
        RecvError::NotInPlace => classes::NotInPlace::new_err(text),
        _ => classes::ReceiveError::new_err(text),
    }
}

/// Why a ring was not made, opened, removed or joined.
#[cold]
pub(crate) fn of_ring(error: RingError) -> PyErr {
    let text = in_python(error.to_string());
    match error {
        RingError::Invalid(_) | RingError::BadName { .. } | RingError::SettingsDiffer { .. } => {
            classes::SettingsError::new_err(text)
        }
        RingError::OutOfMemory { .. } => classes::NoRoom::new_err(text),
        RingError::SideTaken { .. } | RingError::GroupTaken { .. } => {
            classes::SideTaken::new_err(text)
        }
        RingError::NotMadeForGroups => classes::NotMadeForGroups::new_err(text),
        RingError::MadeForGroups => classes::MadeForGroups::new_err(text),
        RingError::NoFreeLane { .. } => classes::NoFreeLane::new_err(text),
        RingError::NoTimeOrder { .. } => classes::NoTimeOrder::new_err(text),
        RingError::NoClassLanes { .. } => classes::NoClassLanes::new_err(text),
        RingError::NoSuchGroup { .. } => classes::NoSuchGroup::new_err(text),
        RingError::GroupDiffers { .. } => classes::GroupDiffers::new_err(text),
        RingError::TooManyGroups { .. } => classes::TooManyGroups::new_err(text),
        RingError::Busy { .. } | RingError::GroupInUse { .. } => classes::Busy::new_err(text),
        RingError::Closed => classes::Closed::new_err(text),
        RingError::TableFull { .. } => classes::TableFull::new_err(text),
        RingError::ForeignPeer { .. } => classes::RingDenied::new_err(text),
        RingError::File { kind, .. } => of_file(&kind, text),
        _ => classes::RingError::new_err(text),
    }
}

fn of_file(kind: &FileError, text: String) -> PyErr {
    match kind {
        FileError::NameTaken => classes::RingExists::new_err(text),
        FileError::NoSuchRing | FileError::NoDirectory => classes::RingNotFound::new_err(text),
        FileError::PermissionDenied
        | FileError::ForeignOwner { .. }
        | FileError::LooseMode { .. }
        | FileError::LooseDirectory => classes::RingDenied::new_err(text),
        FileError::NotARing { .. }
        | FileError::LayoutVersion { .. }
        | FileError::BadLockFile { .. } => classes::NotARing::new_err(text),
        FileError::NoSpace { .. } | FileError::FileSizeLimit { .. } => {
            classes::NoRoom::new_err(text)
        }
        FileError::Forked => forked(),
        _ => classes::RingError::new_err(text),
    }
}

/// Something about the ring that the library has no error for.
pub(crate) fn ring(text: &str) -> PyErr {
    classes::RingError::new_err(text.to_owned())
}

/// The ring has no such group.
#[cold]
pub(crate) fn no_such_group(name: &str) -> PyErr {
    classes::NoSuchGroup::new_err(format!("the ring has no group {name:?}; `groups()` lists them"))
}

/// The ring was given up.
#[cold]
pub(crate) fn ring_left() -> PyErr {
    classes::RingError::new_err(
        "this ring was given up by leave(), or by the end of its `with` block; open it again",
    )
}

/// The handle, or a guard, is the parent's.
#[cold]
pub(crate) fn forked() -> PyErr {
    classes::ForkedError::new_err(
        "this handle was taken before the process was forked, and is the parent's; take one of \
         your own from the ring, which is opened anew in the child",
    )
}

/// A guard has the handle.
#[cold]
pub(crate) fn held() -> PyErr {
    classes::MessageHeld::new_err(
        "a message of this handle is held in place; leave its `with` block or release() it first",
    )
}

/// The handle was given up.
#[cold]
pub(crate) fn left() -> PyErr {
    classes::HandleLeft::new_err(
        "this handle was given up by leave(), or by the end of its `with` block; take another from \
         the ring",
    )
}

/// A wait is over.
#[cold]
pub(crate) fn timed_out(why: &str) -> PyErr {
    classes::TimedOut::new_err(why.to_owned())
}

/// A message cannot be released or sent while it is looked at.
#[cold]
pub(crate) fn views_exported() -> PyErr {
    classes::ViewsExported::new_err(
        "the message is still viewed from outside its `with` block (by an array, a slice of it), \
         and stays held: drop those and call release() or commit(), or copy what is to be kept",
    )
}

/// Says how many messages were sent before the error.
#[cold]
pub(crate) fn with_sent(py: Python<'_>, error: PyErr, sent: usize) -> PyErr {
    match error.value(py).setattr("sent", sent) {
        Ok(()) => error,
        Err(other) => other,
    }
}

/// Whether an iteration ends by it.
#[cold]
pub(crate) fn ends_stream(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<classes::Closed>(py) || error.is_instance_of::<classes::Deserted>(py)
}

/// A handle was to be pickled.
#[cold]
pub(crate) fn not_sent() -> PyErr {
    pyo3::exceptions::PyTypeError::new_err(
        "a handle belongs to one process; pass the ring, and take a handle from it there",
    )
}

/// Memory could not be registered with CUDA.
pub(crate) fn pin(text: String) -> PyErr {
    classes::PinError::new_err(text)
}

/// A word among the settings is none.
pub(crate) fn word(setting: &str, given: &str, error: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(format!("{setting}={given:?}: {error}"))
}
