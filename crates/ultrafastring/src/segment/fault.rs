//! What happens to a mapping whose file is truncated.
//!
//! Whoever may write to a file on a tmpfs can truncate it, and it has no seal against that. The
//! next access to a missing page raises SIGBUS. [`survive_truncation`] installs a handler that puts
//! zeros in the mapping's place, notes that the ring is damaged, and lets the access go on. The
//! zeros are harmless, as is any other garbage that a peer may write. So calls that are under way
//! return, and the next one that finds nothing to do returns `Damaged`.
//!
//! A process has one handler for SIGBUS, so the program decides whether to install it. Signals that
//! do not concern a ring go to the previous handler.

use core::ffi::{c_int, c_void};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicUsize, Ordering};
use std::boxed::Box;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::error::{FileError, RingError};

/// A watched mapping. It is never freed, so that the handler may walk the list at any moment. It is
/// reused for other mappings.
#[derive(Debug)]
pub(super) struct Watch {
    /// Where the mapping begins; 0 if the entry is free.
    base: AtomicUsize,
    length: AtomicUsize,
    protection: AtomicI32,
    damaged: AtomicBool,
    next: *const Watch,
}

// SAFETY: all but `next` are atomics, and that is written before the entry is shared.
unsafe impl Send for Watch {}
// SAFETY: as above.
unsafe impl Sync for Watch {}

static FIRST: AtomicPtr<Watch> = AtomicPtr::new(ptr::null_mut());

fn all() -> impl Iterator<Item = &'static Watch> {
    // Acquire: pairs with the release in `watch`, so that the entry is seen whole.
    let mut next: *const Watch = FIRST.load(Ordering::Acquire);
    core::iter::from_fn(move || {
        // SAFETY: null, or an entry that was leaked.
        let watch = unsafe { next.as_ref() }?;
        next = watch.next;
        Some(watch)
    })
}

/// Notes a new mapping.
pub(super) fn watch(base: *mut u8, length: usize, protection: c_int) -> &'static Watch {
    static ADDING: Mutex<()> = Mutex::new(());
    let _alone = ADDING.lock().unwrap_or_else(PoisonError::into_inner);
    // Relaxed: only the holder of the mutex takes an entry.
    let watch = match all().find(|watch| watch.base.load(Ordering::Relaxed) == 0) {
        Some(watch) => watch,
        None => {
            let watch = Box::leak(Box::new(Watch {
                base: AtomicUsize::new(0),
                length: AtomicUsize::new(0),
                protection: AtomicI32::new(0),
                damaged: AtomicBool::new(false),
                next: FIRST.load(Ordering::Relaxed),
            }));
            // Release: pairs with the acquire in `all`.
            FIRST.store(watch, Ordering::Release);
            watch
        }
    };
    watch.length.store(length, Ordering::Relaxed);
    watch.protection.store(protection, Ordering::Relaxed);
    watch.damaged.store(false, Ordering::Relaxed);
    // Release: pairs with the acquire in `replace_mapping_at`.
    watch.base.store(base as usize, Ordering::Release);
    watch
}

impl Watch {
    /// Forgets the mapping, which is about to be unmapped.
    pub(super) fn forget(&self) {
        // Release: nobody uses the mapping any more, so no handler is at work on it.
        self.base.store(0, Ordering::Release);
    }

    /// Notes that the file was truncated.
    pub(super) fn note_damage(&self) {
        self.damaged.store(true, Ordering::Relaxed);
    }

    /// Whether the handler has replaced the mapping with zeros, or damage was noted.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }
}

/// Replaces the mapping that contains `address` with zeros, and returns whether there is one. It
/// runs in a signal handler, so it uses only atomics and one system call.
fn replace_mapping_at(address: usize) -> bool {
    let found = all().find_map(|watch| {
        // Acquire, both: pairs with the release in `watch`. An entry that is reused for another
        // mapping meanwhile does not concern this address, and its two numbers may not belong
        // together.
        let base = watch.base.load(Ordering::Acquire);
        let length = watch.length.load(Ordering::Acquire);
        let there = base != 0 && address.wrapping_sub(base) < length;
        (there && watch.base.load(Ordering::Relaxed) == base).then_some((watch, base, length))
    });
    let Some((watch, base, length)) = found else { return false };
    // SAFETY: the range is a live mapping of ours, since somebody has just accessed it. The kernel
    // replaces it as a whole, and accesses meanwhile wait. References into it stay valid: they
    // point to initialised memory of the same length.
    let zeros = unsafe {
        libc::mmap(
            base as *mut c_void,
            length,
            watch.protection.load(Ordering::Relaxed),
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    let replaced = zeros != libc::MAP_FAILED;
    if replaced {
        watch.damaged.store(true, Ordering::Relaxed);
    }
    replaced
}

/// The previous handler of SIGBUS.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

extern "C" fn on_bus_error(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    /// A page that is not there (sigaction(2)); the other codes are of failing hardware.
    const BUS_ADRERR: c_int = 2;
    // SAFETY: the kernel hands over a valid siginfo, and errno is this thread's own.
    unsafe {
        let errno = *libc::__errno_location();
        let replaced =
            (*info).si_code == BUS_ADRERR && replace_mapping_at((*info).si_addr() as usize);
        *libc::__errno_location() = errno;
        if !replaced {
            pass_on(signal, info, context);
        }
    }
}

/// Does what would have happened without this handler.
///
/// # Safety
///
/// Called by the handler, with what the kernel gave it.
unsafe fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let before = BEFORE.get();
    let action = before.map_or(libc::SIG_DFL, |before| before.sa_sigaction);
    // SAFETY: an address that is neither of the two constants is the function that was installed
    // for this signal, of the kind that its flags say.
    unsafe {
        if action == libc::SIG_DFL || action == libc::SIG_IGN && (*info).si_code > 0 {
            // The kernel's default for a fault ends the process.
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        } else if action == libc::SIG_IGN {
        } else if before.is_some_and(|before| before.sa_flags & libc::SA_SIGINFO != 0) {
            type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
            core::mem::transmute::<usize, Handler>(action)(signal, info, context);
        } else {
            core::mem::transmute::<usize, extern "C" fn(c_int)>(action)(signal);
        }
    }
}

/// Lets this process survive the truncation of a named ring's file that is in use. Calls then
/// return [`SendError::Damaged`](crate::SendError::Damaged) or
/// [`RecvError::Damaged`](crate::RecvError::Damaged). Without it the process ends with SIGBUS.
///
/// It installs a handler for SIGBUS, once a process, for all rings that are open now or later.
/// Signals that do not concern a ring go to the previous handler. Everything in the ring is lost,
/// also messages sent between the truncation and the error: at most as many as the ring holds. Only
/// those who may write to the file can truncate it; for a ring made with
/// [`Trust::OwnUser`](crate::Trust::OwnUser) that is the same user. An anonymous ring cannot be
/// truncated.
///
/// # Errors
///
/// [`FileError::Io`] if the system does not allow a handler.
pub fn survive_truncation() -> Result<(), RingError> {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _alone = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if BEFORE.get().is_some() {
        return Ok(());
    }
    let failed = || {
        FileError::Io { action: "handle SIGBUS for", reason: std::io::Error::last_os_error() }
            .at("rings")
    };
    // SAFETY: `sigaction` is plain numbers, for which zeros are a value; the pointers lead to
    // locals; the handler does nothing that is not allowed in one.
    unsafe {
        let mut before: libc::sigaction = core::mem::zeroed();
        if libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut before) != 0 {
            return Err(failed());
        }
        let mut action: libc::sigaction = core::mem::zeroed();
        action.sa_sigaction = on_bus_error as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&raw mut action.sa_mask);
        // Known before the handler can be called.
        let _ = BEFORE.set(before);
        if libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) != 0 {
            return Err(failed());
        }
    }
    Ok(())
}
