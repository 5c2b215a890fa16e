//! Latencies, of rings that were made with histograms.

use std::ffi::c_char;
use std::mem::size_of;
use std::ptr;

use ultrafastring::{LatencyHistogram, PriorityClass, RingView};

use crate::basic::{UFR_ERR_NO_SUCH_GROUP, UFR_OK, ufr_ring};
use crate::failure;
use crate::handle::{self, guarded, not_null};
use crate::more::observers::{self, ufr_observer};
use crate::settings::text;

/// How long messages took from send to receive: those that carried a timestamp. Times are in
/// nanoseconds, at most a sixteenth off, and 0 if no message is counted. Messages that a consumer
/// received within 200 ns are counted with their mean, when it gives credit back at the latest, or
/// by `ufr_consumer_flush`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct ufr_latency {
    /// How many messages are counted; one that was received again counts again.
    pub count: u64,
    /// Their mean.
    pub mean_ns: f64,
    /// What half of them did not exceed.
    pub p50_ns: f64,
    /// What 90 % of them did not exceed.
    pub p90_ns: f64,
    /// What 99 % of them did not exceed.
    pub p99_ns: f64,
    /// What 99.9 % of them did not exceed.
    pub p999_ns: f64,
    /// The longest that was counted. `ufr_class_stats` has the longest of single messages.
    pub max_ns: f64,
}

/// Latencies of what was received. Prepare it with `ufr_latencies_init`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct ufr_latencies {
    /// Size of this structure in the caller's header; `ufr_latencies_init` fills it in.
    pub size: usize,
    /// Of all classes.
    pub all: ufr_latency,
    /// By class.
    pub classes: [ufr_latency; 5],
}

/// Size of the smallest structure that a caller may have: that of the first version.
const FIRST_SIZE: usize = 344;
const _: () = assert!(size_of::<ufr_latencies>() == FIRST_SIZE);

/// Fills in `*latencies`: its size, and nothing counted.
///
/// Returns `UFR_OK`, or `UFR_ERR_NULL`. Thread-safe. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_latencies_init(latencies: *mut ufr_latencies) -> i32 {
    guarded(|| {
        not_null(latencies, "latencies")?;
        let nothing = ufr_latencies { size: size_of::<ufr_latencies>(), ..Default::default() };
        // SAFETY: the caller has a structure there, and of this header's size.
        unsafe { latencies.write(nothing) };
        Ok(UFR_OK)
    })
}

/// Fills `*latencies` with those of the group called `group`, or of all groups if it is NULL, as in
/// a ring without groups.
///
/// Returns `UFR_OK`; `UFR_ERR_INVALID_ARGUMENT` if the ring was made without `latency_histograms`,
/// or the structure was not prepared; `UFR_ERR_NO_SUCH_GROUP`, or `UFR_ERR_NULL`. Thread-safe. Does
/// not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_ring_latencies(
    ring: *const ufr_ring,
    group: *const c_char,
    latencies: *mut ufr_latencies,
) -> i32 {
    // SAFETY: as the header asks of the caller.
    guarded(|| unsafe { tell_latencies(&handle::ring(ring)?.ring, group, latencies) })
}

/// As `ufr_ring_latencies`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ufr_observer_latencies(
    observer: *const ufr_observer,
    group: *const c_char,
    latencies: *mut ufr_latencies,
) -> i32 {
    // SAFETY: as the header asks of the caller.
    guarded(|| unsafe { tell_latencies(observers::of(observer)?, group, latencies) })
}

/// Writes the latencies of a group, or of all, to as much of the structure as the caller has.
///
/// # Safety
///
/// `group` is null, or ends with a zero; `latencies` is null, or leads to as many bytes as it says
/// in its first word.
unsafe fn tell_latencies(
    ring: &RingView,
    group: *const c_char,
    latencies: *mut ufr_latencies,
) -> Result<i32, i32> {
    not_null(latencies, "latencies")?;
    // SAFETY: the first word is there, as the caller promises; it need not be aligned.
    let size = unsafe { latencies.cast::<usize>().read_unaligned() };
    if !(FIRST_SIZE..=4096).contains(&size) {
        return Err(failure::invalid(&"call ufr_latencies_init first"));
    }
    // SAFETY: as the caller promises.
    let group = if group.is_null() { None } else { Some(unsafe { text(group, "group")? }) };
    let by_class = latencies_of(ring, group)?;
    let mut all = by_class[0].clone();
    by_class[1..].iter().for_each(|class| all.add(class));
    let told =
        ufr_latencies { size, all: summary(&all), classes: by_class.each_ref().map(summary) };
    let known = size.min(size_of::<ufr_latencies>());
    // SAFETY: so many bytes are there on both sides; what the caller has beyond stays as it is.
    unsafe { ptr::copy_nonoverlapping((&raw const told).cast::<u8>(), latencies.cast(), known) };
    Ok(UFR_OK)
}

/// By class, of a group or of all.
fn latencies_of(
    ring: &RingView,
    group: Option<&str>,
) -> Result<[LatencyHistogram; PriorityClass::COUNT], i32> {
    let without = || {
        failure::invalid(
            &"the ring was made without latency histograms; choose settings.latency_histograms \
              when it is made",
        )
    };
    let Some(name) = group else { return ring.latencies().ok_or_else(without) };
    let found = ring.groups().find(|it| it.name.as_str() == name).ok_or_else(|| {
        failure::fail(UFR_ERR_NO_SUCH_GROUP, &format_args!("the ring has no group {name:?}"))
    })?;
    ring.latencies_of_group(found.row).ok_or_else(without)
}

fn summary(histogram: &LatencyHistogram) -> ufr_latency {
    let quantile = |part: f64| histogram.quantile(part).unwrap_or(0.0);
    ufr_latency {
        count: histogram.count(),
        mean_ns: histogram.mean().unwrap_or(0.0),
        p50_ns: quantile(0.5),
        p90_ns: quantile(0.9),
        p99_ns: quantile(0.99),
        p999_ns: quantile(0.999),
        max_ns: quantile(1.0),
    }
}
