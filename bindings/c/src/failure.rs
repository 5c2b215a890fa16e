//! Codes of errors, and the text of the last one of each thread.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::fmt::Display;

use ultrafastring::{FileError, RecvError, RingError, SendError};

use crate::basic as code;
use crate::basic::ufr_received;
use crate::more::groups::{UFR_ERR_EVICTED, UFR_ERR_NOT_IN_PLACE};
use crate::more::lanes::{UFR_ERR_NO_CLASS_LANES, UFR_ERR_NO_FREE_LANE, UFR_ERR_NO_TIME_ORDER};
use crate::more::tails::UFR_ERR_OVERRUN;

thread_local! {
    static LAST: RefCell<Option<CString>> = const { RefCell::new(None) };
}

/// Notes `text` as the last error of this thread, and gives `code` back.
#[cold]
#[inline(never)]
pub(crate) fn fail(code: i32, text: &dyn Display) -> i32 {
    let text = text.to_string().replace('\0', "\u{fffd}");
    // A thread that is ending may have no such text any more.
    let _ = LAST.try_with(|last| {
        if let (Ok(text), Ok(mut last)) = (CString::new(text), last.try_borrow_mut()) {
            *last = Some(text);
        }
    });
    code
}

/// The text of the last error of this thread, which stays until the next.
pub(crate) fn last() -> *const c_char {
    let none = c"".as_ptr();
    LAST.try_with(|last| {
        last.try_borrow().map_or(none, |text| text.as_ref().map_or(none, |text| text.as_ptr()))
    })
    .unwrap_or(none)
}

/// An argument is null that must not be.
#[cold]
#[inline(never)]
pub(crate) fn null(what: &str) -> i32 {
    fail(code::UFR_ERR_NULL, &format_args!("{what} is null"))
}

/// An argument has a value that means nothing.
#[cold]
#[inline(never)]
pub(crate) fn invalid(text: &dyn Display) -> i32 {
    fail(code::UFR_ERR_INVALID_ARGUMENT, text)
}

/// Why no message was sent.
#[cold]
#[inline(never)]
pub(crate) fn send(error: SendError) -> i32 {
    let code = match error {
        // These two are answers: programs that poll get them all the time.
        SendError::Full => return code::UFR_ERR_FULL,
        SendError::OutOfCredit => return code::UFR_ERR_OUT_OF_CREDIT,
        SendError::TooLarge { .. } => code::UFR_ERR_TOO_LARGE,
        SendError::NoSpace => code::UFR_ERR_NO_SPACE,
        SendError::Closed => code::UFR_ERR_CLOSED,
        SendError::TimedOut => code::UFR_ERR_TIMED_OUT,
        SendError::Deserted => code::UFR_ERR_DESERTED,
        SendError::Damaged => code::UFR_ERR_DAMAGED,
        _ => code::UFR_ERR_OTHER,
    };
    fail(code, &error)
}

/// Why no message was received, and what there is to know: the size that a buffer has to have, or how
/// many messages were missed.
#[cold]
#[inline(never)]
pub(crate) fn recv(error: RecvError) -> (i32, Option<ufr_received>) {
    let nothing = ufr_received::default();
    let (code, about) = match error {
        RecvError::Empty => return (code::UFR_ERR_EMPTY, None),
        RecvError::BufferTooSmall { needed: size, .. } => {
            (code::UFR_ERR_BUFFER_TOO_SMALL, Some(ufr_received { size, ..nothing }))
        }
        RecvError::Evicted { missed: position } => {
            (UFR_ERR_EVICTED, Some(ufr_received { position, ..nothing }))
        }
        RecvError::Overrun { missed: position } => {
            (UFR_ERR_OVERRUN, Some(ufr_received { position, ..nothing }))
        }
        _ => (recv_code(&error), None),
    };
    (fail(code, &error), about)
}

fn recv_code(error: &RecvError) -> i32 {
    match error {
        RecvError::NotInPlace => UFR_ERR_NOT_IN_PLACE,
        RecvError::OutOfMemory { .. } => code::UFR_ERR_OUT_OF_MEMORY,
        RecvError::Closed => code::UFR_ERR_CLOSED,
        RecvError::TimedOut => code::UFR_ERR_TIMED_OUT,
        RecvError::Deserted => code::UFR_ERR_DESERTED,
        RecvError::Damaged => code::UFR_ERR_DAMAGED,
        _ => code::UFR_ERR_OTHER,
    }
}

/// Why there is no ring, or no handle.
#[cold]
#[inline(never)]
pub(crate) fn ring(error: &RingError) -> i32 {
    let code = match error {
        RingError::Invalid(_) => code::UFR_ERR_INVALID_SETTINGS,
        RingError::OutOfMemory { .. } => code::UFR_ERR_OUT_OF_MEMORY,
        RingError::SideTaken { .. } => code::UFR_ERR_SIDE_TAKEN,
        RingError::Closed => code::UFR_ERR_CLOSED,
        RingError::NoFreeLane { .. } => UFR_ERR_NO_FREE_LANE,
        RingError::NoTimeOrder { .. } => UFR_ERR_NO_TIME_ORDER,
        RingError::NoClassLanes { .. } => UFR_ERR_NO_CLASS_LANES,
        RingError::TableFull { .. } => code::UFR_ERR_TABLE_FULL,
        RingError::BadName { .. } => code::UFR_ERR_BAD_NAME,
        RingError::SettingsDiffer { .. } => code::UFR_ERR_SETTINGS_DIFFER,
        RingError::ForeignPeer { .. } => code::UFR_ERR_NOT_TRUSTED,
        RingError::NotHandedOver { .. } => code::UFR_ERR_NOT_HANDED_OVER,
        RingError::NoMemoryFile => code::UFR_ERR_SYSTEM,
        RingError::MadeForGroups | RingError::NotMadeForGroups => code::UFR_ERR_GROUPS,
        RingError::NoSuchGroup { .. } => code::UFR_ERR_NO_SUCH_GROUP,
        RingError::GroupDiffers { .. } => code::UFR_ERR_GROUP_DIFFERS,
        RingError::TooManyGroups { .. } => code::UFR_ERR_TABLE_FULL,
        RingError::GroupTaken { .. } => code::UFR_ERR_SIDE_TAKEN,
        RingError::GroupInUse { .. } | RingError::Busy { .. } => code::UFR_ERR_BUSY,
        RingError::File { kind, .. } => file(kind),
        _ => code::UFR_ERR_OTHER,
    };
    fail(code, &in_c(error.to_string()))
}

/// The library's text, with what C calls it instead of what Rust does.
fn in_c(text: String) -> String {
    const WORDS: [(&str, &str); 6] = [
        ("Builder::accept_existing", "settings.accept_existing"),
        ("Builder::groups", "settings.groups"),
        ("Builder::joinable", "settings.joinable"),
        ("Lanes::ByClass", "settings.lanes = UFR_LANES_BY_CLASS"),
        ("Lanes::ByProducer", "settings.lanes = N"),
        ("Timestamps::Every", "settings.timestamps = UFR_TIMESTAMPS_EVERY"),
    ];
    WORDS.iter().fold(text, |text, (rust, c)| text.replace(rust, c))
}

fn file(kind: &FileError) -> i32 {
    match kind {
        FileError::NameTaken => code::UFR_ERR_NAME_TAKEN,
        FileError::NoSuchRing => code::UFR_ERR_NO_SUCH_RING,
        FileError::PermissionDenied => code::UFR_ERR_PERMISSION_DENIED,
        FileError::ForeignOwner { .. }
        | FileError::LooseMode { .. }
        | FileError::LooseDirectory => code::UFR_ERR_NOT_TRUSTED,
        FileError::NoDirectory => code::UFR_ERR_NO_DIRECTORY,
        FileError::NoDescriptors => code::UFR_ERR_NO_DESCRIPTORS,
        FileError::LayoutVersion { .. } | FileError::UnknownFeatures { .. } => {
            code::UFR_ERR_LAYOUT_VERSION
        }
        FileError::NotARing { .. } | FileError::BadLockFile { .. } => code::UFR_ERR_NOT_A_RING,
        FileError::NoSpace { .. } | FileError::FileSizeLimit { .. } => code::UFR_ERR_NO_SPACE,
        FileError::Forked => code::UFR_ERR_FORKED,
        FileError::BeingRemoved
        | FileError::NoLocks
        | FileError::ForeignDescriptor
        | FileError::Io { .. } => code::UFR_ERR_SYSTEM,
        _ => code::UFR_ERR_OTHER,
    }
}

/// What a code means, in a few words.
pub(crate) fn meaning(code: i32) -> &'static CStr {
    match code {
        code::UFR_OK => c"done",
        code::UFR_ERR_EMPTY => c"there is no message",
        code::UFR_ERR_FULL => c"every slot is taken",
        code::UFR_ERR_OUT_OF_CREDIT => c"no credit is left for this priority class",
        code::UFR_ERR_TIMED_OUT => c"the time is over",
        code::UFR_ERR_CLOSED => c"the ring is closed",
        code::UFR_ERR_DESERTED => c"the last peer has left",
        code::UFR_ERR_BUFFER_TOO_SMALL => c"the buffer is smaller than the next message",
        code::UFR_ERR_TOO_LARGE => c"the message is larger than the ring was made for",
        code::UFR_ERR_NO_SPACE => c"there is no room on the file system",
        code::UFR_ERR_OUT_OF_MEMORY => c"there is not enough memory",
        code::UFR_ERR_DAMAGED => c"the ring's file was truncated or wiped out",
        code::UFR_ERR_NULL => c"a pointer is null that must not be",
        code::UFR_ERR_INVALID_ARGUMENT => c"an argument has a value that means nothing",
        code::UFR_ERR_INVALID_SETTINGS => c"a setting is out of range",
        code::UFR_ERR_BAD_NAME => c"the name cannot be a ring's",
        code::UFR_ERR_NAME_TAKEN => c"there is a ring of this name",
        code::UFR_ERR_NO_SUCH_RING => c"there is no ring of this name",
        code::UFR_ERR_NO_DIRECTORY => c"the directory for rings is not there",
        code::UFR_ERR_PERMISSION_DENIED => c"permission denied",
        code::UFR_ERR_NOT_TRUSTED => c"the ring or the peer belongs to somebody else",
        code::UFR_ERR_SETTINGS_DIFFER => c"the ring has other settings",
        code::UFR_ERR_LAYOUT_VERSION => c"the ring has another layout version",
        code::UFR_ERR_NOT_A_RING => c"the file is not a ring",
        code::UFR_ERR_SIDE_TAKEN => c"the side is exclusive and taken",
        code::UFR_ERR_TABLE_FULL => c"there are as many handles as the ring was made for",
        code::UFR_ERR_NO_DESCRIPTORS => c"no file descriptor is left",
        code::UFR_ERR_FORKED => c"the ring was opened before this process was forked",
        code::UFR_ERR_NOT_HANDED_OVER => c"no ring can be handed over this way",
        code::UFR_ERR_IN_USE => c"the handle has a message in place",
        code::UFR_ERR_SYSTEM => c"a system call failed",
        code::UFR_ERR_PANIC => c"a defect of the library",
        code::UFR_ERR_GROUPS => {
            c"the ring's consumers are groups and none was named, or the reverse"
        }
        code::UFR_ERR_NO_SUCH_GROUP => c"there is no such group",
        code::UFR_ERR_GROUP_DIFFERS => c"the group is not as it was asked for",
        code::UFR_ERR_BUSY => c"the group has members, or somebody else is opening it",
        code::UFR_ERR_OTHER => c"another error",
        UFR_ERR_EVICTED => c"the group was too slow, and goes on at the latest",
        UFR_ERR_NOT_IN_PLACE => c"a group that may be evicted does not read in place",
        UFR_ERR_NO_TIME_ORDER => c"messages of this ring cannot be received in time order",
        UFR_ERR_NO_CLASS_LANES => c"the ring has no lanes by class",
        UFR_ERR_NO_FREE_LANE => c"each lane of the ring has its owner",
        UFR_ERR_OVERRUN => c"messages were overwritten before they were read",
        _ => c"no code of this library",
    }
}
