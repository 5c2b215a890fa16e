//! What a forked child must not share with its parent.
//!
//! `fork` gives the child a copy of every descriptor, and with it a share of every lock. A dead
//! parent would seem alive as long as the child lives. `fork` also gives the child the mapping, in
//! which it would act as a second parent. So before `fork` returns in the child, descriptors with
//! locks or with the parent's events are closed, and each mapping is replaced by a private copy.
//! What the child does with inherited handles stays in the child, and it gets no new handles of an
//! inherited ring. To take part, it opens the ring again.
//!
//! This works for the C library's `fork`. A child made by `vfork` or by a `clone` system call must
//! call `exec`, which closes the descriptors, or end before its parent.

use core::cell::Cell;
use core::mem::ManuallyDrop;
use core::ops::Deref;
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

/// The number of forks between the first process and this one.
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// A number that differs in a forked child.
pub(super) fn generation() -> u64 {
    // Relaxed: it changes in a child that has one thread, before `fork` returns there.
    GENERATION.load(Ordering::Relaxed)
}

fn registry() -> MutexGuard<'static, Registry> {
    static HANDLERS: Once = Once::new();
    HANDLERS.call_once(|| {
        // SAFETY: the three functions are safe to call at any fork. If the C library has no memory
        // to register them, forked children share locks, as they would without this module.
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

/// A descriptor that a forked child must not keep.
#[derive(Debug)]
pub(crate) struct Unshared(ManuallyDrop<OwnedFd>);

impl Unshared {
    /// The descriptor that `open` makes. No fork can happen between opening and registering it.
    pub(crate) fn open<E>(open: impl FnOnce() -> Result<OwnedFd, E>) -> Result<Self, E> {
        let mut registry = registry();
        let file = open()?;
        registry.unshared.push(file.as_raw_fd());
        Ok(Self(ManuallyDrop::new(file)))
    }
}

impl Deref for Unshared {
    type Target = OwnedFd;

    fn deref(&self) -> &OwnedFd {
        &self.0
    }
}

impl Drop for Unshared {
    fn drop(&mut self) {
        // No fork can happen between unregistering and closing it either.
        let mut registry = registry();
        let number = self.as_raw_fd();
        registry.unshared.retain(|&noted| noted != number);
        // SAFETY: dropped here alone, and not used after.
        unsafe { ManuallyDrop::drop(&mut self.0) };
    }
}

thread_local! {
    /// The registry's guard, from `before_fork` to the handler after the fork.
    static HELD: Cell<Option<MutexGuard<'static, Registry>>> = const { Cell::new(None) };
}

/// Holds the registry during the fork, so that the child finds it consistent.
extern "C" fn before_fork() {
    let guard = registry();
    let _ = HELD.try_with(|held| held.set(Some(guard)));
}

extern "C" fn after_fork() {
    let _ = HELD.try_with(Cell::take);
}

extern "C" fn in_child() {
    // Relaxed: see `generation`.
    GENERATION.fetch_add(1, Ordering::Relaxed);
    let _ = HELD.try_with(|held| {
        let Some(registry) = held.take() else { return };
        for &file in &registry.unshared {
            // Replaced rather than closed, because inherited handles still own the number, and
            // would later close another file. The new description of /dev/null holds no lock of the
            // ring. Without /dev/null, that of the mapping is used, which holds none either.
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
            // Without reserving memory, since a ring may be larger than all memory, and mostly
            // untouched.
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
            // Zeros are enough, since the contents mean nothing to the child. If both fail, the
            // child would act as a second parent, or run into a hole.
            if !replace(0, file) && !replace(libc::MAP_ANONYMOUS, -1) {
                std::process::abort();
            }
        }
    });
}
