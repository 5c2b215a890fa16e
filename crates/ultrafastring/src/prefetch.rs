//! Prefetch helpers.
//!
//! They ask the core to fetch a cache line before it is needed. A program can observe no other
//! effect. A line that is fetched too early is taken from the core that is about to write it, and
//! then both wait. So a consumer fetches ahead only where messages lay when it last looked
//! (`lane/reader/read_ahead.rs`). Callers can use the helpers for their own data.

/// Asks for the line of `target` to be read soon.
///
/// Takes a raw pointer, which need not be valid: a prefetch never faults.
///
/// ```
/// let table = [7u64; 512];
/// ultrafastring::prefetch_read(&table[64]);
/// ```
#[inline(always)]
pub fn prefetch_read<T: ?Sized>(target: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: `prefetcht0` is a hint: it dereferences nothing and cannot fault.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(target.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = target;
}

/// Asks for the line of `target` to be owned for writing soon.
///
/// Takes a raw pointer, which need not be valid: a prefetch never faults.
///
/// ```
/// let table = [7u64; 512];
/// ultrafastring::prefetch_write(&table[64]);
/// ```
#[inline(always)]
pub fn prefetch_write<T: ?Sized>(target: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: `prefetchw` is a hint: it dereferences nothing and cannot fault. Processors
    // without it execute it as a no-op (AMD64 manual, volume 3, PREFETCHW).
    unsafe {
        core::arch::asm!(
            "prefetchw [{line}]",
            line = in(reg) target.cast::<u8>(),
            options(nostack, preserves_flags, readonly)
        );
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = target;
}
