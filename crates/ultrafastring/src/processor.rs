//! What this processor can do that decides how bytes are moved: asked once a process.
//!
//! `cpuid` leaves a virtual machine for its host, for microseconds; a program may take handles often.

#[cfg(all(target_arch = "x86", not(miri)))]
use core::arch::x86 as arch;
#[cfg(all(target_arch = "x86_64", not(miri)))]
use core::arch::x86_64 as arch;
use core::sync::atomic::{AtomicU8, Ordering};

/// The question was asked: with nothing else, the answer is that it can do none of these.
const ASKED: u8 = 1;
const ATOMIC_WIDE_STORES: u8 = 2;
const VECTORS: u8 = 4;
const WRITES_AHEAD: u8 = 8;

/// Whether aligned accesses of 16 bytes to ordinary memory are atomic. They are on processors with
/// AVX: Intel SDM volume 3, 9.1.1; AMD64 manual volume 2, 7.3.2.
pub(crate) fn has_atomic_wide_stores() -> bool {
    has(ATOMIC_WIDE_STORES)
}

/// Whether vectors of 32 bytes can be used.
pub(crate) fn has_vectors() -> bool {
    has(VECTORS)
}

/// Whether a stream of stores gains by asking for lines to write before they are written. Measured
/// between cores of one socket, a stream without timestamps in 256 slots: 50 ticks a message without
/// and 20 with on an Intel (Granite Rapids); 188 without and 442 with on an AMD (family 25). Taken
/// for all of Intel's, and for nobody else's.
pub(crate) fn gains_by_writing_ahead() -> bool {
    has(WRITES_AHEAD)
}

fn has(wanted: u8) -> bool {
    static FOUND: AtomicU8 = AtomicU8::new(0);
    // Relaxed, both: whoever does not know finds out the same.
    let mut found = FOUND.load(Ordering::Relaxed);
    if found == 0 {
        found = ASKED | ask();
        FOUND.store(found, Ordering::Relaxed);
    }
    found & wanted != 0
}

/// What the processor says of itself under `leaf`.
#[cfg(all(any(target_arch = "x86", target_arch = "x86_64"), not(miri)))]
// Before Rust 1.94 `__cpuid` is an unsafe function, from then on it is a safe one.
#[allow(unused_unsafe)]
#[cfg_attr(all(not(feature = "std"), any(target_arch = "x86", loom)), allow(dead_code))]
pub(crate) fn cpuid(leaf: u32) -> arch::CpuidResult {
    // SAFETY: every processor that Rust compiles for has the instruction, which reads registers and writes
    // registers. Where the kernel forbids it to programs (ARCH_SET_CPUID), the program has asked
    // for that itself.
    unsafe { arch::__cpuid(leaf) }
}

#[cfg(all(target_arch = "x86_64", not(miri), not(loom)))]
#[cold]
fn ask() -> u8 {
    let leaf = cpuid(0);
    let maker = [leaf.ebx, leaf.edx, leaf.ecx].map(u32::to_le_bytes);
    let ahead = if maker.as_flattened() == b"GenuineIntel" { WRITES_AHEAD } else { 0 };
    ahead | ask_for_vectors()
}

#[cfg(all(target_arch = "x86_64", not(miri), not(loom)))]
fn ask_for_vectors() -> u8 {
    // Bits of ECX: the processor has AVX, and `xgetbv` may be asked what the system keeps.
    const AVX: u32 = 1 << 28;
    const OSXSAVE: u32 = 1 << 27;
    let said = cpuid(1).ecx;
    if said & AVX == 0 {
        return 0;
    }
    if said & OSXSAVE == 0 {
        return ATOMIC_WIDE_STORES;
    }
    let (low, _high): (u32, u32);
    // SAFETY: the system has enabled the instruction, as `cpuid` has just said; it reads a register
    // that says which registers the system keeps for each thread.
    unsafe {
        core::arch::asm!(
            "xgetbv", in("ecx") 0, out("eax") low, out("edx") _high,
            options(nomem, nostack, preserves_flags)
        );
    }
    // Those of 16 bytes, and the upper halves that make them 32.
    if low & 6 == 6 { ATOMIC_WIDE_STORES | VECTORS } else { ATOMIC_WIDE_STORES }
}

#[cfg(not(all(target_arch = "x86_64", not(miri), not(loom))))]
fn ask() -> u8 {
    0
}
