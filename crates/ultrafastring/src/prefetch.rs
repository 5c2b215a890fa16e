//! Prefetch helpers.
//!
//! They ask the core to fetch a line before it is needed and change nothing that a program can
//! observe. Measured in this ring they cost more than they gain wherever the consumer follows
//! closely (ARCHITECTURE.md, "Prefetch"), so the fast path uses them only where a measurement says
//! so; they are here for callers whose own data walks in step with the ring.

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
