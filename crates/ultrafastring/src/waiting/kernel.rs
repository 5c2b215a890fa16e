//! What the kernel does for sleepers and wakers: threads sleep on a word (`futex(2)`), and threads
//! that run elsewhere are fenced (`membarrier(2)`).
//!
//! There are three versions: Linux, loom's model of it, and none, where nobody sleeps.

#[cfg(not(any(feature = "std", loom)))]
pub(crate) use absent::*;
#[cfg(feature = "std")]
pub(crate) use linux::*;
#[cfg(loom)]
pub(crate) use modelled::*;

#[cfg(feature = "std")]
mod linux {
    use core::sync::atomic::AtomicU32;
    use std::time::Duration;

    use rustix::io::Errno;
    use rustix::thread::futex::{self, Flags, Timespec};
    use rustix::thread::{MembarrierCommand, membarrier};
    use rustix::time::clock_gettime;

    use crate::layout::bell::Bell;

    /// Lets sleepers of other processes fence this one; `false` if that is not possible. It is
    /// repeated for each handle, since a forked child may not inherit it. It is one short system
    /// call.
    pub(crate) fn register() -> bool {
        membarrier(MembarrierCommand::RegisterGlobalExpedited).is_ok()
    }

    /// A fence in every running thread of every registered process; `false` if that is not
    /// possible.
    pub(crate) fn fence_everybody() -> bool {
        membarrier(MembarrierCommand::GlobalExpedited).is_ok()
    }

    /// Lets the threads of this process fence each other; `false` if that is not possible.
    pub(crate) fn register_own() -> bool {
        membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok()
    }

    /// A fence in every running thread of this process only; `false` if that is not possible, as in
    /// a sandbox that was entered meanwhile.
    pub(crate) fn fence_own() -> bool {
        let fence = || membarrier(MembarrierCommand::PrivateExpedited).is_ok();
        // `prepare` has registered it, unless this is a forked child that did not inherit it.
        fence() || (register_own() && fence())
    }

    /// Sleeps until there is a wake-up of `bell` after `ticket`, for at most `most`. It may wake
    /// for no reason. Returns whether the time has passed.
    pub(crate) fn park(bell: &Bell, ticket: u32, most: Duration) -> bool {
        // Never too long for a `Timespec`.
        let most = Timespec::try_from(most).ok();
        // Not private, since processes share the word. Whatever ends the sleep (a wake-up, the
        // time, a signal, a changed word), the caller looks again.
        futex::wait(&bell.wakes, Flags::empty(), ticket, most.as_ref()) == Err(Errno::TIMEDOUT)
    }

    /// As `park`, on the words of several bells with a ticket each.
    pub(crate) fn park_any(tickets: &[(&AtomicU32, u32)], most: Duration) {
        /// How long to sleep between looks if the kernel cannot watch several words.
        const SLICE: Duration = Duration::from_millis(1);
        let wait = |&(word, ticket): &(&AtomicU32, u32)| {
            let mut wait = futex::Wait::new();
            wait.val = ticket.into();
            wait.uaddr = futex::WaitPtr::new(word.as_ptr().cast());
            wait.flags = futex::WaitFlags::SIZE_U32;
            wait
        };
        let waits: std::vec::Vec<_> = tickets.iter().map(wait).collect();
        // A point in time, whereas `futex` takes a duration.
        let now = clock_gettime(rustix::time::ClockId::Monotonic);
        let until = Timespec::try_from(most).ok().map(|most| now + most);
        let flags = futex::WaitvFlags::empty();
        let woken = futex::waitv(&waits, flags, until.as_ref(), futex::ClockId::Monotonic);
        // It fails before Linux 5.16, where a sandbox forbids it, and for more than 128 words.
        if let Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) = woken {
            std::thread::sleep(most.min(SLICE));
        }
    }

    /// Wakes one sleeper on `bell`, or all.
    pub(crate) fn wake(bell: &Bell, all: bool) {
        // It fails for a bad address only.
        let _ = futex::wake(&bell.wakes, Flags::empty(), if all { i32::MAX as u32 } else { 1 });
    }
}

/// The kernel's part in the model. A futex is a word that is compared under a lock, with a
/// condition variable to wait on. No time passes, so a lost wake-up is a deadlock, which loom
/// finds.
#[cfg(loom)]
mod modelled {
    use std::time::Duration;

    use crate::layout::bell::Bell;
    use crate::sync::{Ordering, fence};

    /// In the model each thread fences itself.
    pub(crate) fn register() -> bool {
        true
    }

    pub(crate) fn fence_everybody() -> bool {
        true
    }

    pub(crate) fn register_own() -> bool {
        true
    }

    pub(crate) fn fence_own() -> bool {
        // SeqCst: the threads that it stands for fence as well.
        fence(Ordering::SeqCst);
        true
    }

    pub(crate) fn park(bell: &Bell, ticket: u32, _: Duration) -> bool {
        let guard = bell.queue.lock.lock().unwrap();
        // Acquire: like the kernel's comparison, which its lock orders.
        if bell.wakes.load(Ordering::Acquire) == ticket {
            drop(bell.queue.condition.wait(guard).unwrap());
        }
        false
    }

    pub(crate) fn wake(bell: &Bell, all: bool) {
        let _guard = bell.queue.lock.lock().unwrap();
        match all {
            true => bell.queue.condition.notify_all(),
            false => bell.queue.condition.notify_one(),
        }
    }
}

/// Without an operating system nobody sleeps, so nobody needs a fence for a sleeper.
#[cfg(not(any(feature = "std", loom)))]
mod absent {
    use crate::layout::bell::Bell;

    pub(crate) fn register() -> bool {
        true
    }

    pub(crate) fn register_own() -> bool {
        false
    }

    pub(crate) fn fence_own() -> bool {
        false
    }

    pub(crate) fn wake(_: &Bell, _all: bool) {}
}
