//! Whether a handle has its side alone or shares it, or whether the ring decides.

use core::fmt;

use crate::lane::reader::ReaderMode;
use crate::lane::writer::WriterMode;
use crate::own::Own;
use crate::settings::Sharing;

mod sealed {
    pub trait Sealed {
        /// How a handle of this mode works; `None` if it is the ring that says.
        #[doc(hidden)]
        const OWN: Option<super::Own>;
    }
}

/// Whether a handle has its side alone ([`Exclusive`]), shares it ([`Shared`]), or either, as the
/// ring was made ([`AnyMode`]).
///
/// `Producer` and `Consumer` without a parameter have [`AnyMode`] and fit every ring. A program
/// that knows the sides of its ring and needs the last nanosecond takes typed handles
/// ([`shared_producer`](crate::UltraFastRing::shared_producer),
/// [`exclusive_producer`](crate::UltraFastRing::exclusive_producer), and the same for consumers),
/// whose calls need not ask the ring. Functions that take any handle are generic: `fn feed<S:
/// Mode>(producer: &mut Producer<S>)`.
pub trait Mode: sealed::Sealed + fmt::Debug + Send + 'static {
    /// The same as a value; `None` if the ring decides.
    const SHARING: Option<Sharing>;
}

/// The only handle of its side. Its path has no compare-and-swap.
#[derive(Debug)]
pub struct Exclusive;

/// One of any number of handles of its side.
#[derive(Debug)]
pub struct Shared;

/// Exclusive or shared, as the ring was made: a handle of any ring. Each call asks the ring once,
/// which takes a few instructions (`crates/versus/instructions.txt`).
#[derive(Debug)]
pub struct AnyMode;

/// A consumer that is a member of a group, in a ring that was made for groups. Handles of
/// [`AnyMode`] find out that they are such.
#[derive(Debug)]
pub(crate) struct Member;

impl sealed::Sealed for Exclusive {
    const OWN: Option<Own> = Some(Own::Exclusive);
}
impl sealed::Sealed for Shared {
    const OWN: Option<Own> = Some(Own::Shared);
}
impl sealed::Sealed for AnyMode {
    const OWN: Option<Own> = None;
}
impl sealed::Sealed for Member {
    const OWN: Option<Own> = Some(Own::Member);
}

impl Mode for Exclusive {
    const SHARING: Option<Sharing> = Some(Sharing::Exclusive);
}

impl Mode for Shared {
    const SHARING: Option<Sharing> = Some(Sharing::Shared);
}

impl Mode for AnyMode {
    const SHARING: Option<Sharing> = None;
}

impl Mode for Member {
    /// Its group says.
    const SHARING: Option<Sharing> = None;
}

/// A mode in which messages are sent: what a call on a handle of [`AnyMode`] has found out first.
pub trait OwnMode: Mode + WriterMode {}

impl OwnMode for Exclusive {}
impl OwnMode for Shared {}

/// A mode in which messages are received: as [`OwnMode`].
pub trait OwnReader: Mode + ReaderMode {}

impl OwnReader for Exclusive {}
impl OwnReader for Shared {}
impl OwnReader for Member {}

/// Does `$work` with `$it`, which is `$handle` as a handle of its own mode. A handle of [`AnyMode`]
/// finds that out here. For a typed handle it is known, and the compiler drops the other arm.
macro_rules! in_own_mode {
    ($handle:expr, $it:ident => $work:expr) => {
        match $handle.own() {
            $crate::own::Own::Exclusive => {
                let $it = $handle.in_mode::<$crate::mode::Exclusive>();
                $work
            }
            // A producer is no member of anything, and a handle of several lanes is apart.
            $crate::own::Own::Shared | $crate::own::Own::Member | $crate::own::Own::Lanes => {
                let $it = $handle.in_mode::<$crate::mode::Shared>();
                $work
            }
        }
    };
}
pub(crate) use in_own_mode;

/// As [`in_own_mode`], of a consumer, which may be a member of a group, or have lanes: then it does
/// `$in_lanes`.
macro_rules! in_mode_or_lanes {
    ($handle:expr, $it:ident => $work:expr, $in_lanes:expr) => {
        match $handle.own() {
            $crate::own::Own::Exclusive => {
                let $it = $handle.in_mode::<$crate::mode::Exclusive>();
                $work
            }
            $crate::own::Own::Shared => {
                let $it = $handle.in_mode::<$crate::mode::Shared>();
                $work
            }
            $crate::own::Own::Member | $crate::own::Own::Lanes => $crate::mode::apart(|| {
                #[cfg(feature = "alloc")]
                if $handle.has_lanes() {
                    return $in_lanes;
                }
                let $it = $handle.in_mode::<$crate::mode::Member>();
                $work
            }),
        }
    };
}
pub(crate) use in_mode_or_lanes;

/// Does `$work` as [`in_mode_or_lanes`], of several lanes in the handle of the first.
macro_rules! in_readers_mode {
    ($handle:expr, $it:ident => $work:expr) => {
        $crate::mode::in_mode_or_lanes!($handle, $it => $work, {
            let own = $handle.own_in_lanes();
            $crate::mode::in_lane_mode!($handle, own, $it => $work)
        })
    };
}
pub(crate) use in_readers_mode;

/// Does `$work` as [`in_mode_or_lanes`], of several lanes in one that has something, perhaps in
/// several until one gives something. In most calls that is the first one, whose handle works in
/// the same instructions as that of a ring of one lane.
macro_rules! in_any_lane {
    ($handle:expr, $it:ident => $work:expr) => {{
        let mut tried = false;
        loop {
            let (lane, own) = $handle.lane_to_take_from(tried);
            let done = match own {
                $crate::own::Own::Exclusive => {
                    let $it = lane.in_mode::<$crate::mode::Exclusive>();
                    $work
                }
                $crate::own::Own::Shared => {
                    let $it = lane.in_mode::<$crate::mode::Shared>();
                    $work
                }
                $crate::own::Own::Member | $crate::own::Own::Lanes => $crate::mode::apart(|| {
                    #[cfg(feature = "alloc")]
                    if $handle.has_lanes() {
                        let several = $handle.in_mode::<$crate::mode::AnyMode>();
                        return several.receive_from_any(|lane, own| {
                            $crate::mode::in_lane_mode!(lane, own, $it => $work)
                        });
                    }
                    let $it = $handle.in_mode::<$crate::mode::Member>();
                    $work
                }),
            };
            if !matches!(done, Err(error) if $handle.searches_after(error)) {
                break done;
            }
            tried = true;
        }
    }};
}
pub(crate) use in_any_lane;

/// Does `$work` with `$it`, which is `$lane`, the handle of one lane, in the mode that `$own` says.
#[cfg(feature = "alloc")]
macro_rules! in_lane_mode {
    ($lane:expr, $own:expr, $it:ident => $work:expr) => {
        match $own {
            $crate::own::Own::Exclusive => {
                let $it = $lane.in_mode::<$crate::mode::Exclusive>();
                $work
            }
            $crate::own::Own::Shared | $crate::own::Own::Lanes => {
                let $it = $lane.in_mode::<$crate::mode::Shared>();
                $work
            }
            $crate::own::Own::Member => {
                let $it = $lane.in_mode::<$crate::mode::Member>();
                $work
            }
        }
    };
}
#[cfg(feature = "alloc")]
pub(crate) use in_lane_mode;

/// Does `work` out of line: what the other modes do stays as it is without it.
#[cold]
#[inline(never)]
pub(crate) fn apart<T>(work: impl FnOnce() -> T) -> T {
    work()
}
