//! Rings and handles that are made for C: each is boxed, and the caller frees it.

use std::ffi::c_char;
use std::ptr;

use ultrafastring::{Builder, Consumer, Producer, RingError, UltraFastRing};

use crate::basic::{UFR_OK, ufr_consumer, ufr_producer, ufr_ring, ufr_settings};
use crate::failure;
use crate::handle::{self, Receiving, Sending, guarded, not_null};
use crate::settings::{builder, text};

/// Has `work` make something, and writes where it is to `to`: null if it fails.
///
/// # Safety
///
/// `to` is null, or may be written to.
pub(crate) unsafe fn made<T>(
    to: *mut *mut T,
    what: &str,
    work: impl FnOnce() -> Result<T, i32>,
) -> i32 {
    guarded(|| {
        not_null(to, what)?;
        // SAFETY: as the caller promises.
        unsafe { to.write(ptr::null_mut()) };
        let made = work()?;
        // SAFETY: the same.
        unsafe { to.write(Box::into_raw(Box::new(made))) };
        Ok(UFR_OK)
    })
}

/// Frees what was made. Null is fine. `first` is done before: it gives up what borrows the rest.
///
/// # Safety
///
/// `it` is null, or was made by [`made`], and nobody uses it any more.
pub(crate) unsafe fn freed<T>(it: *mut T, first: impl FnOnce(*mut T)) {
    if !it.is_null() {
        guarded(|| {
            first(it);
            // SAFETY: made by `Box`, as the caller promises.
            drop(unsafe { Box::from_raw(it) });
            Ok(UFR_OK)
        });
    }
}

/// A ring that `work` makes or opens under a name.
///
/// # Safety
///
/// `name` and `settings` are as [`text`] and [`builder`] ask; `to` is null, or may be written to.
pub(crate) unsafe fn ring(
    name: *const c_char,
    settings: *const ufr_settings,
    to: *mut *mut ufr_ring,
    work: impl FnOnce(&Builder, &str) -> Result<UltraFastRing, RingError>,
) -> i32 {
    // SAFETY: as the caller promises.
    let name = || unsafe { text(name, "name") };
    // SAFETY: the same.
    unsafe { unnamed(settings, to, |builder| Ok(work(builder, name()?))) }
}

/// A ring that `work` makes, or is given, without a name.
///
/// # Safety
///
/// `settings` are as [`builder`] asks; `to` is null, or may be written to.
pub(crate) unsafe fn unnamed(
    settings: *const ufr_settings,
    to: *mut *mut ufr_ring,
    work: impl FnOnce(&Builder) -> Result<Result<UltraFastRing, RingError>, i32>,
) -> i32 {
    // SAFETY: as the caller promises.
    unsafe {
        made(to, "ring", || {
            let ring = work(&builder(settings)?)?.map_err(|error| failure::ring(&error))?;
            Ok(ufr_ring { ring })
        })
    }
}

/// A producer of a ring.
///
/// # Safety
///
/// `ring` is as [`handle::ring`] asks; `to` is null, or may be written to.
pub(crate) unsafe fn producer(
    ring: *const ufr_ring,
    to: *mut *mut ufr_producer,
    work: impl FnOnce(&UltraFastRing) -> Result<Producer, RingError>,
) -> i32 {
    // SAFETY: as the caller promises.
    unsafe {
        made(to, "producer", || {
            let ring = &handle::ring(ring)?.ring;
            let producer = work(ring).map_err(|error| failure::ring(&error))?;
            Ok(ufr_producer { own: Sending::new(producer) })
        })
    }
}

/// A consumer that `work` takes of a ring.
///
/// # Safety
///
/// As [`producer`].
pub(crate) unsafe fn consumer(
    ring: *const ufr_ring,
    to: *mut *mut ufr_consumer,
    work: impl FnOnce(&UltraFastRing) -> Result<Result<Consumer, RingError>, i32>,
) -> i32 {
    // SAFETY: as the caller promises.
    unsafe {
        made(to, "consumer", || {
            let ring = &handle::ring(ring)?.ring;
            let consumer = work(ring)?.map_err(|error| failure::ring(&error))?;
            Ok(ufr_consumer { own: Receiving::new(consumer) })
        })
    }
}
