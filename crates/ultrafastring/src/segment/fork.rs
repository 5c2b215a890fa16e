//! What a forked child must not share.
//!
//! `fork` gives the child a copy of every descriptor, and with it a share of every lock: a parent
//! that dies would seem to live for as long as the child does. And it gives the child the mapping,
//! in which it would act as the parent's double. So in the child, before `fork` returns there,
//! the descriptors that hold locks, or events of the parent's, are closed, and each mapping is
//! replaced by a private copy of itself: what the child does with handles it inherited stays with the child, and new handles of
//! an inherited ring are refused. A child that wants to take part opens the ring anew.
//!
//! This works for `fork` of the C library. A child made by a bare `clone` system call, or
//! `vfork`, must call `exec` (which closes the descriptors) or must outlive nobody.

use core::sync::atomic::{AtomicU64, Ordering};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::vec::Vec;

struct Registry {
    mappings: Vec<(usize, usize, i32)>,
    unshared: Vec<i32>,
}

static REGISTRY: Mutex<Registry> =
    Mutex::new(Registry { mappings: Vec::new(), unshared: Vec::new() });

/// How many forks lie between the first process and this one.
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// A number that is another one in a forked child.
pub(super) fn generation() -> u64 {
    // Relaxed: it changes in a child that has one thread, before `fork` returns there.
    GENERATION.load(Ordering::Relaxed)
}

fn registry() -> MutexGuard<'static, Registry> {
    static HANDLERS: Once = Once::new();
    HANDLERS.call_once(|| {
        // SAFETY: the three functions are safe to call at any fork. Where the C library has no
        // memory to note them, forked children share locks as they would without this module.
        unsafe { libc::pthread_atfork(Some(before_fork), Some(after_fork), Some(in_child)) };
    });
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn note_mapping(base: *mut u8, length: usize, file: i32) {
    registry().mappings.push((base as usize, length, file));
}

pub(super) fn forget_mapping(base: *mut u8) {
    registry().mappings.retain(|&(start, ..)| start != base as usize);
}

/// Opens a file that a forked child must not have. No fork falls between the opening and the
/// noting.
pub(crate) fn open_unshared<F: AsRawFd, E>(open: impl FnOnce() -> Result<F, E>) -> Result<F, E> {
    let mut registry = registry();
    let file = open()?;
    registry.unshared.push(file.as_raw_fd());
    Ok(file)
}

/// Closes such a file. No fork falls between the forgetting and the closing either.
pub(crate) fn close_unshared(file: OwnedFd) {
    let mut registry = registry();
    let number = file.as_raw_fd();
    registry.unshared.retain(|&noted| noted != number);
    drop(file);
}

thread_local! {
    /// The registry's guard on its way from `before_fork` to the handler after it.
    static HELD: core::cell::RefCell<Option<MutexGuard<'static, Registry>>> =
        const { core::cell::RefCell::new(None) };
}

/// Holds the registry over the fork, so that the child finds it whole.
extern "C" fn before_fork() {
    let guard = registry();
    let _ = HELD.try_with(|held| {
        if let Ok(mut held) = held.try_borrow_mut() {
            *held = Some(guard);
        }
    });
}

extern "C" fn after_fork() {
    let _ = HELD.try_with(|held| held.try_borrow_mut().map(|mut held| held.take()));
}

extern "C" fn in_child() {
    // Relaxed: see `generation`.
    GENERATION.fetch_add(1, Ordering::Relaxed);
    let _ = HELD.try_with(|held| {
        let Ok(mut held) = held.try_borrow_mut() else { return };
        let Some(registry) = held.take() else { return };
        for &file in &registry.unshared {
            // Replaced rather than closed: the handles that the child inherited still own the
            // number, and must not close somebody else's file later. The new description of
            // /dev/null holds no lock of the ring; nor does that of the mapping itself, where there
            // is no /dev/null.
            // SAFETY: plain system calls on numbers; all are allowed between fork and exec.
            unsafe {
                let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
                if null >= 0 {
                    libc::dup3(null, file, libc::O_CLOEXEC);
                    libc::close(null);
                } else if let Some(&(.., mapped)) = registry.mappings.first() {
                    libc::dup3(mapped, file, libc::O_CLOEXEC);
                } else {
                    libc::close(file);
                }
            }
        }
        for &(base, length, file) in &registry.mappings {
            // Without a reserve: a ring may be larger than all memory, most of it never touched.
            let replace = |flags: libc::c_int, file: libc::c_int| {
                // SAFETY: `base` and `length` are those of a mapping of ours that lives (its owner
                // takes it off the list before unmapping it), so nothing else is replaced.
                let there = unsafe {
                    libc::mmap(
                        base as *mut libc::c_void,
                        length,
                        libc::PROT_READ | libc::PROT_WRITE,
                        flags | libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_NORESERVE,
                        file,
                        0,
                    )
                };
                there != libc::MAP_FAILED
            };
            // Zeros will do: nothing that the child finds there means anything to it. With neither,
            // it would be the parent's double, or run into a hole.
            if !replace(0, file) && !replace(libc::MAP_ANONYMOUS, -1) {
                std::process::abort();
            }
        }
    });
}
