//! Looking at a ring without taking part.

use std::ffi::c_char;

use ultrafastring::Observer;

use crate::basic::{UFR_OK, ufr_settings};
use crate::failure;
use crate::handle::{guarded, not_null};
use crate::make::{freed, made};
use crate::more::groups::{tell_groups, ufr_group_info};
use crate::more::rings::{side, stats_of, ufr_stats};
use crate::settings::{builder, of_ring, text};

/// A ring that is only looked at: it needs the right to read the ring's file, and those who use the
/// ring notice nothing. Any number of threads may use it at once, but for `ufr_observer_free`.
pub struct ufr_observer {
    observer: Observer,
}

/// The observer behind a pointer.
///
/// # Safety
///
/// `observer` is null, or of an observer that is not freed as long as the result is used.
pub(crate) unsafe fn of<'a>(observer: *const ufr_observer) -> Result<&'a Observer, i32> {
    not_null(observer, "observer")?;
    // SAFETY: as the caller promises.
    Ok(unsafe { &(*observer).observer })
}

/// Opens the ring called `name` to look at it. Of `settings`, which may be NULL, the directory and
/// the trust matter.
///
/// On success `*observer` is the caller's, who frees it with `ufr_observer_free`. On failure it is
/// NULL. Returns `UFR_OK`, or as `ufr_ring_open`. Thread-safe. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_observer_open(
    name: *const c_char,
    settings: *const ufr_settings,
    observer: *mut *mut ufr_observer,
) -> i32 {
    // SAFETY: as the header asks of the caller.
    unsafe {
        made(observer, "observer", || {
            let (name, builder) = (text(name, "name")?, builder(settings)?);
            let observer = builder.observe(name).map_err(|error| failure::ring(&error))?;
            Ok(ufr_observer { observer })
        })
    }
}

/// Frees an observer. NULL is fine.
///
/// No other thread may use it during this call or after it. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_observer_free(observer: *mut ufr_observer) {
    // SAFETY: as the header asks of the caller.
    unsafe { freed(observer, |_| ()) }
}

/// As `ufr_ring_settings`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_observer_settings(
    observer: *const ufr_observer,
    settings: *mut ufr_settings,
) -> i32 {
    guarded(|| {
        not_null(settings, "settings")?;
        // SAFETY: as the header asks of the caller; as in `ufr_settings_init`.
        unsafe { settings.write(of_ring(of(observer)?.settings())) };
        Ok(UFR_OK)
    })
}

/// As `ufr_ring_stats`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_observer_stats(
    observer: *const ufr_observer,
    stats: *mut ufr_stats,
) -> i32 {
    guarded(|| {
        not_null(stats, "stats")?;
        // SAFETY: as the header asks of the caller.
        unsafe { stats.write(stats_of(&of(observer)?.stats())) };
        Ok(UFR_OK)
    })
}

/// As `ufr_ring_len`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_observer_len(observer: *const ufr_observer) -> isize {
    // SAFETY: as the header asks of the caller.
    guarded(|| Ok(unsafe { of(observer)? }.len() as isize))
}

/// As `ufr_ring_living`: as far as this process may see those who take part.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_observer_living(observer: *const ufr_observer, side: i32) -> isize {
    guarded(|| {
        let side = self::side(side)?;
        // SAFETY: as the header asks of the caller.
        Ok(unsafe { of(observer)? }.living(side) as isize)
    })
}

/// As `ufr_ring_groups`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_observer_groups(
    observer: *const ufr_observer,
    groups: *mut ufr_group_info,
    most: usize,
) -> isize {
    // SAFETY: as the header asks of the caller.
    guarded(|| unsafe { tell_groups(of(observer)?, groups, most) })
}

/// Whether the ring's file was truncated or wiped out: what the observer tells means nothing then.
///
/// Returns 1 or 0, or `UFR_ERR_NULL`. Thread-safe. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_observer_is_damaged(observer: *const ufr_observer) -> i32 {
    // SAFETY: as the header asks of the caller.
    guarded(|| Ok(i32::from(unsafe { of(observer)? }.is_damaged())))
}
