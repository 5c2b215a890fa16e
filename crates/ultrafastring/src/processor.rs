//! What this processor can do, which decides how bytes are moved, and whether it is the only one.
//! Each is asked once a process.
//!
//! In a virtual machine `cpuid` goes to the host, which takes microseconds, and a program may take
//! handles often.

#[cfg(all(target_arch = "x86", not(miri)))]
use core::arch::x86 as arch;
#[cfg(all(target_arch = "x86_64", not(miri)))]
use core::arch::x86_64 as arch;
use core::sync::atomic::{AtomicU8, Ordering};

/// The processor was asked. If no other bit is set, it can do none of these.
const ASKED: u8 = 1;
const ATOMIC_WIDE_STORES: u8 = 2;
const VECTORS: u8 = 4;
const WRITES_AHEAD: u8 = 8;

/// Whether aligned 16-byte accesses to ordinary memory are atomic. They are on processors with AVX:
/// Intel SDM volume 3, 9.1.1; AMD64 manual volume 2, 7.3.2.
pub(crate) fn has_atomic_wide_stores() -> bool {
    has(ATOMIC_WIDE_STORES)
}

/// Whether vectors of 32 bytes can be used.
pub(crate) fn has_vectors() -> bool {
    has(VECTORS)
}

/// Whether prefetching lines for writing speeds up a stream of stores. Measured between cores of
/// one socket, a stream without timestamps in 256 slots: with prefetching 20 ticks a message
/// instead of 50 on an Intel processor (Granite Rapids), and 442 instead of 188 on an AMD (family
/// 25). So `true` for Intel processors only.
pub(crate) fn gains_by_writing_ahead() -> bool {
    has(WRITES_AHEAD)
}

fn has(wanted: u8) -> bool {
    static FOUND: AtomicU8 = AtomicU8::new(0);
    // Relaxed, both: a thread that does not know yet finds the same answer.
    let mut found = FOUND.load(Ordering::Relaxed);
    if found == 0 {
        found = ASKED | ask();
        FOUND.store(found, Ordering::Relaxed);
    }
    found & wanted != 0
}

/// The result of `cpuid` for `leaf`.
#[cfg(all(any(target_arch = "x86", target_arch = "x86_64"), not(miri)))]
// Before Rust 1.94 `__cpuid` is an unsafe function, from then on it is a safe one.
#[allow(unused_unsafe)]
#[cfg_attr(all(not(feature = "std"), any(target_arch = "x86", loom)), allow(dead_code))]
pub(crate) fn cpuid(leaf: u32) -> arch::CpuidResult {
    // SAFETY: every processor that Rust supports has this instruction, which only uses registers.
    // If the kernel forbids it (ARCH_SET_CPUID), the program has asked for that itself.
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
    // Bits of ECX: the processor has AVX, and `xgetbv` tells which registers the system saves.
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
    // SAFETY: the system has enabled the instruction, as `cpuid` has just said. It reads a register
    // that tells which registers the system saves for each thread.
    unsafe {
        core::arch::asm!(
            "xgetbv", in("ecx") 0, out("eax") low, out("edx") _high,
            options(nomem, nostack, preserves_flags)
        );
    }
    // The 16-byte registers, and the upper halves that make them 32 bytes.
    if low & 6 == 6 { ATOMIC_WIDE_STORES | VECTORS } else { ATOMIC_WIDE_STORES }
}

#[cfg(not(all(target_arch = "x86_64", not(miri), not(loom))))]
fn ask() -> u8 {
    0
}

/// Whether the machine has only one core, so that spinning would keep the peer from running.
#[cfg(feature = "std")]
pub(crate) fn is_alone() -> bool {
    static ALONE: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *ALONE.get_or_init(has_one_core)
}

/// In the model a thread that spins keeps the others from running.
#[cfg(loom)]
pub(crate) fn is_alone() -> bool {
    true
}

/// This is about the machine. A process that is bound to one core does not count, since its peer is
/// most often on another. So the kernel's own list is asked first. `sysconf` is asked last, because
/// some C libraries (musl) count the cores on which this process may run. Some containers do not
/// have the list.
#[cfg(feature = "std")]
fn has_one_core() -> bool {
    let read = |path| std::fs::read_to_string(path).ok();
    let count = read("/sys/devices/system/cpu/online")
        .and_then(|list| count_online(&list))
        .or_else(|| read("/proc/stat").and_then(|stat| count_in_stat(&stat)));
    match count {
        Some(count) => count == 1,
        // SAFETY: asks for a number.
        None => unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) == 1 },
    }
}

/// How many processors are in a list of the kernel's, such as `0-3,8`; `None` if it is not such a
/// list.
#[cfg(feature = "std")]
fn count_online(list: &str) -> Option<u32> {
    list.trim().split(',').try_fold(0u32, |count, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        count.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

/// How many processors have a line in `/proc/stat`, which has one for each that is online; `None`
/// if there is none.
#[cfg(feature = "std")]
fn count_in_stat(stat: &str) -> Option<u32> {
    let of_one = |line: &&str| {
        line.strip_prefix("cpu")
            .is_some_and(|rest| rest.starts_with(|it: char| it.is_ascii_digit()))
    };
    match stat.lines().filter(of_one).count() as u32 {
        0 => None,
        count => Some(count),
    }
}

#[cfg(all(test, feature = "std", not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn who_is_kept_on_one_core_of_several_spins_all_the_same() {
        if std::thread::available_parallelism().is_ok_and(|cores| cores.get() == 1) {
            eprintln!("skipped: this process has one core");
            return;
        }
        std::thread::spawn(|| {
            let core = rustix::thread::sched_getcpu();
            let mut only = rustix::thread::CpuSet::new();
            only.set(core);
            rustix::thread::sched_setaffinity(None, &only).unwrap();
            assert!(!has_one_core());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn processors_are_counted_in_what_the_kernel_says_and_in_nothing_else() {
        let lists = [("0\n", 1), ("0-1\n", 2), ("0,2-5,7", 6), ("3", 1), ("0-0", 1)];
        for (list, count) in lists {
            assert_eq!(count_online(list), Some(count), "{list}");
        }
        for list in ["", "\n", "a", "1-", "-1", "3-2", "0,", "0-4294967295", "0-4294967294,1"] {
            assert_eq!(count_online(list), None, "{list}");
        }
        let stat = "cpu  1 2 3\ncpu0 1 2 3\ncpu1 4 5 6\nintr 9 9\ncpus 2\n";
        assert_eq!(count_in_stat(stat), Some(2));
        assert_eq!(count_in_stat("cpu  1 2 3\n"), None);
    }
}
