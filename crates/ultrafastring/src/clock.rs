//! Ticks of the time-stamp counter, and their length in nanoseconds.

/// The time-stamp counter, in ticks; a portable stand-in elsewhere.
///
/// On x86 this is the `rdtsc` instruction, which does not wait for earlier loads. If an earlier
/// load misses the cache, the time may be read some hundreds of ticks before its data has come. On
/// AArch64 it is the virtual counter `cntvct_el0`. Elsewhere, and under Miri, it is nanoseconds of
/// the monotonic clock with the feature `std`, the same for all processes, and 0 without.
#[inline(always)]
pub fn rdtsc() -> u64 {
    #[cfg(all(any(target_arch = "x86", target_arch = "x86_64"), not(miri)))]
    {
        #[cfg(target_arch = "x86")]
        use core::arch::x86::_rdtsc;
        #[cfg(target_arch = "x86_64")]
        use core::arch::x86_64::_rdtsc;
        // SAFETY: `rdtsc` exists on every x86-64 processor and on every 32-bit one that Rust
        // supports. It touches no memory. If the kernel forbids it (PR_TSC_SIGSEGV), the program
        // has asked for that itself.
        unsafe { _rdtsc() }
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    {
        let ticks: u64;
        // SAFETY: reading `cntvct_el0` is allowed to programs on Linux and touches no memory.
        unsafe {
            core::arch::asm!(
                "mrs {}, cntvct_el0",
                out(reg) ticks,
                options(nomem, nostack, preserves_flags)
            );
        }
        ticks
    }
    #[cfg(any(
        miri,
        not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64"))
    ))]
    {
        stand_in()
    }
}

/// Nanoseconds of the monotonic clock, which counts from the same moment in every process: the
/// stand-in where there is no counter that programs may read.
#[allow(dead_code)]
fn stand_in() -> u64 {
    #[cfg(feature = "std")]
    {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
    }
    #[cfg(not(feature = "std"))]
    {
        0
    }
}

/// What is known about the counter behind [`rdtsc`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clock {
    /// How many ticks a second has.
    pub ticks_per_second: f64,
    /// Whether the counter runs at one rate. The processor must say so (the invariant counter of
    /// the x86 manuals, CPUID 8000_0007h EDX bit 8), and the kernel must not have found otherwise.
    /// If `false`, latencies are ticks of a clock that may stop or drift, and tools say so.
    pub stable: bool,
}

impl Clock {
    /// The clock of this machine. On AArch64 the processor says its rate. Elsewhere the rate is
    /// measured against the monotonic clock, once a process, which takes about five milliseconds.
    #[cfg(feature = "std")]
    pub fn calibrated() -> Self {
        *CALIBRATED.get_or_init(|| Self {
            ticks_per_second: told_rate().map_or_else(measure_ticks_per_second, |rate| rate as f64),
            stable: counter_is_invariant(),
        })
    }

    /// `ticks` in nanoseconds.
    pub fn nanoseconds(&self, ticks: u64) -> f64 {
        ticks as f64 * 1e9 / self.ticks_per_second
    }
}

#[cfg(feature = "std")]
static CALIBRATED: std::sync::OnceLock<Clock> = std::sync::OnceLock::new();

/// Ticks a second if nothing better is known: those of the machine on which the thresholds were
/// chosen.
pub(crate) const ASSUMED_RATE: u64 = 2_600_000_000;

/// Ticks in `nanoseconds` of a counter of this rate, rounded, but at least 1 if there are any
/// nanoseconds. A rate that no counter has counts as the nearest possible one.
pub(crate) const fn ticks_in(nanoseconds: u64, ticks_per_second: u64) -> u64 {
    const SLOWEST: u64 = 1_000_000;
    const FASTEST: u64 = 100_000_000_000;
    let rate = match ticks_per_second {
        ..SLOWEST => SLOWEST,
        SLOWEST..FASTEST => ticks_per_second,
        FASTEST.. => FASTEST,
    };
    let ticks = (nanoseconds as u128 * rate as u128 + 500_000_000) / 1_000_000_000;
    if ticks == 0 && nanoseconds != 0 { 1 } else { ticks as u64 }
}

/// Ticks a second, if the processor says so.
fn told_rate() -> Option<u64> {
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    {
        let rate: u64;
        // SAFETY: reading `cntfrq_el0` is allowed to programs on Linux, as reading the counter is,
        // and touches no memory.
        unsafe {
            core::arch::asm!(
                "mrs {}, cntfrq_el0",
                out(reg) rate,
                options(nomem, nostack, preserves_flags)
            );
        }
        // Zero where the firmware did not set it.
        (rate != 0).then_some(rate)
    }
    #[cfg(any(
        miri,
        not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64"))
    ))]
    {
        // Nanoseconds: see `stand_in`.
        Some(1_000_000_000)
    }
    #[cfg(all(any(target_arch = "x86", target_arch = "x86_64"), not(miri)))]
    {
        None
    }
}

/// Ticks a second, as far as known without measuring: what the processor says, what this process
/// has measured before, or what is usual. On x86 this is wrong by at most a factor of two.
pub(crate) fn known_rate() -> u64 {
    #[cfg(feature = "std")]
    if let Some(clock) = CALIBRATED.get() {
        return clock.ticks_per_second as u64;
    }
    told_rate().unwrap_or(ASSUMED_RATE)
}

/// Ticks a second, measured if it is not known otherwise and there is a clock to measure it by.
#[cfg(feature = "alloc")]
pub(crate) fn best_rate() -> u64 {
    #[cfg(feature = "std")]
    return Clock::calibrated().ticks_per_second as u64;
    #[cfg(not(feature = "std"))]
    known_rate()
}

#[cfg(feature = "std")]
fn measure_ticks_per_second() -> f64 {
    use std::time::{Duration, Instant};
    // The pair is read several times and the closest pair kept, so that an interruption between the
    // two readings does not matter.
    let pair = || {
        (0..16)
            .map(|_| {
                let before = rdtsc();
                let now = Instant::now();
                let after = rdtsc();
                (after.wrapping_sub(before), before / 2 + after / 2, now)
            })
            .min_by_key(|&(width, ..)| width)
            .map(|(_, ticks, now)| (ticks, now))
            .unwrap_or_else(|| (rdtsc(), Instant::now()))
    };
    let (first_ticks, first) = pair();
    std::thread::sleep(Duration::from_millis(5));
    let (last_ticks, last) = pair();
    let seconds = last.duration_since(first).as_secs_f64();
    let rate = last_ticks.wrapping_sub(first_ticks) as f64 / seconds;
    if rate.is_finite() && rate > 0.0 { rate } else { 1e9 }
}

#[cfg(feature = "std")]
fn counter_is_invariant() -> bool {
    #[cfg(all(any(target_arch = "x86", target_arch = "x86_64"), not(miri)))]
    {
        use crate::processor::cpuid;
        let invariant =
            cpuid(0x8000_0000).eax >= 0x8000_0007 && cpuid(0x8000_0007).edx & (1 << 8) != 0;
        let sources = "/sys/devices/system/clocksource/clocksource0/available_clocksource";
        invariant && std::fs::read_to_string(sources).map_or(true, |it| kernel_trusts_counter(&it))
    }
    #[cfg(not(all(any(target_arch = "x86", target_arch = "x86_64"), not(miri))))]
    {
        // The generic timer of AArch64 and the monotonic clock run at one rate by definition.
        true
    }
}

/// Whether the counter is among the clocks that the kernel would use. The kernel removes it from
/// its list once it has seen it run unevenly, or differently on two processors.
#[cfg(feature = "std")]
#[cfg_attr(not(any(target_arch = "x86", target_arch = "x86_64")), allow(dead_code))]
fn kernel_trusts_counter(available: &str) -> bool {
    available.split_whitespace().any(|source| source == "tsc")
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_the_kernel_has_struck_out_is_not_stable() {
        assert!(kernel_trusts_counter("tsc kvm-clock acpi_pm \n"));
        assert!(kernel_trusts_counter("kvm-clock tsc\n"));
        assert!(!kernel_trusts_counter("hpet acpi_pm \n"));
        assert!(!kernel_trusts_counter("tsc-early hpet\n"));
    }

    #[test]
    fn the_stand_in_counts_from_the_same_moment_in_every_process() {
        // Asked of the C library, as another process would.
        let monotonic = || {
            let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: `now` is written and nothing else.
            assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) }, 0);
            now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
        };
        let (before, now, after) = (monotonic(), stand_in(), monotonic());
        assert!((before..=after).contains(&now), "{before} {now} {after}");
    }

    #[test]
    fn so_long_is_as_many_ticks_as_the_rate_says() {
        assert_eq!(ticks_in(1_000_000_000, 25_000_000), 25_000_000);
        assert_eq!(ticks_in(100_825, 2_600_000_000), 262_145);
        assert_eq!(ticks_in(100_825, 25_000_000), 2_521);
        assert_eq!(ticks_in(1, 25_000_000), 1, "some time is not none");
        assert_eq!(ticks_in(0, 25_000_000), 0);
        assert_eq!(ticks_in(1_000_000, 0), 1_000, "a rate that no counter has");
        assert_eq!(ticks_in(1_000_000, u64::MAX), 100_000_000, "a rate that no counter has");
    }

    #[test]
    fn ticks_go_forward() {
        let before = rdtsc();
        std::thread::sleep(std::time::Duration::from_millis(1));
        assert!(rdtsc() > before);
    }

    #[test]
    fn a_calibrated_clock_has_a_rate_that_a_machine_can_have() {
        let clock = Clock::calibrated();
        assert!(clock.ticks_per_second > 1e6 && clock.ticks_per_second < 1e11);
        assert!((clock.nanoseconds(clock.ticks_per_second as u64) - 1e9).abs() < 1e3);
    }
}
