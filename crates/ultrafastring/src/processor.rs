//! What this processor can do that decides how bytes are moved: asked once a process.
//!
//! `cpuid` leaves a virtual machine for its host, for microseconds; a program may take handles often.

#[cfg(all(target_arch = "x86_64", not(miri), not(loom)))]
mod found {
    use core::sync::atomic::{AtomicU8, Ordering};

    /// The answer is there. Without it, the question was not asked yet.
    const KNOWN: u8 = 1;
    /// The processor has AVX.
    const AVX: u8 = 2;
    /// The system keeps the 32-byte registers of a thread.
    const KEPT: u8 = 4;

    static FOUND: AtomicU8 = AtomicU8::new(0);

    pub(super) fn has(wanted: u8) -> bool {
        // Relaxed, both: whoever does not know finds out the same.
        let mut found = FOUND.load(Ordering::Relaxed);
        if found == 0 {
            found = ask();
            FOUND.store(found, Ordering::Relaxed);
        }
        found & wanted == wanted
    }

    #[cold]
    fn ask() -> u8 {
        /// Bits of ECX: AVX, and that `xgetbv` may be asked what the system keeps.
        const CPUID_AVX: u32 = 1 << 28;
        const CPUID_OSXSAVE: u32 = 1 << 27;
        let said = core::arch::x86_64::__cpuid(1).ecx;
        let mut found = KNOWN;
        if said & CPUID_AVX != 0 {
            found |= AVX;
        }
        if said & CPUID_OSXSAVE != 0 {
            let (low, _high): (u32, u32);
            // SAFETY: the system has enabled the instruction, as `cpuid` has just said; it reads a
            // register that says which registers the system keeps for each thread.
            unsafe {
                core::arch::asm!(
                    "xgetbv", in("ecx") 0, out("eax") low, out("edx") _high,
                    options(nomem, nostack, preserves_flags)
                );
            }
            if low & 6 == 6 {
                found |= KEPT;
            }
        }
        found
    }

    pub(super) fn wide_stores() -> bool {
        has(AVX)
    }

    pub(super) fn vectors() -> bool {
        has(AVX | KEPT)
    }
}

#[cfg(not(all(target_arch = "x86_64", not(miri), not(loom))))]
mod found {
    pub(super) fn wide_stores() -> bool {
        false
    }

    pub(super) fn vectors() -> bool {
        false
    }
}

/// Whether aligned accesses of 16 bytes to ordinary memory are atomic. They are on processors with
/// AVX: Intel SDM volume 3, 9.1.1; AMD64 manual volume 2, 7.3.2.
pub(crate) fn has_atomic_wide_stores() -> bool {
    found::wide_stores()
}

/// Whether vectors of 32 bytes can be used.
pub(crate) fn has_vectors() -> bool {
    found::vectors()
}
