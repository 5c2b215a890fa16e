//! What `/proc` says about a process: when it began, whether it exists, whether it will ever run
//! again.
//!
//! When a process dies, the kernel first writes the core dump and frees the memory. Only then it
//! closes the files, and gives the process's locks back. For a process with gigabytes of memory, or
//! one that dumps core, that is seconds after its last instruction. But the kernel marks each
//! thread as exiting before all that, and `/proc/PID/task/TID/stat` shows the mark. A process whose
//! threads are all marked will not touch a ring again, whatever it still has locked.

use std::format;
use std::fs::{metadata, read, read_dir, read_link};
use std::io::ErrorKind;
use std::os::linux::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::vec::Vec;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::layout::participant::Process;

/// Marks of a thread that will not return to its program (`PF_EXITING` and `PF_SIGNALED` of the
/// kernel's `include/linux/sched.h`): it exits, or an uncaught signal has ended it. The second is
/// set before the core is written, the first after.
const GONE: u64 = 0x4 | 0x400;

/// For a process with more threads it is not checked whether it will run again.
const MOST_THREADS: usize = 1 << 10;

/// At most this many threads are looked at in a [`WINDOW`], over all processes. A peer may name
/// processes with many threads in every entry of the table.
const MOST_LOOKS: usize = 4 * MOST_THREADS;

const WINDOW: Duration = Duration::from_secs(1);

/// What this process has found out.
struct Known {
    /// A process that will not run again. It may have had many handles.
    gone: Option<Process>,
    /// Threads looked at since then.
    looks: usize,
    since: Option<Instant>,
}

static KNOWN: Mutex<Known> = Mutex::new(Known { gone: None, looks: 0, since: None });

impl Process {
    /// This one.
    pub(crate) fn this() -> Self {
        let pid = std::process::id();
        if cfg!(fuzzing) {
            // A fuzzer takes millions of handles, and this would be most of the cost of one.
            return Self { pid, ..Self::default() };
        }
        Self {
            pid,
            start_time: Stat::of("/proc/self/stat").map_or(0, |stat| stat.start_time),
            namespace: own_namespace().unwrap_or(0),
        }
    }

    /// Whether it exists; `None` if that cannot be told from here.
    pub(crate) fn is_there(self) -> Option<bool> {
        if self.namespace == 0 || own_namespace() != Some(self.namespace) {
            return None;
        }
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw)?;
        if test_kill_process(pid) == Err(Errno::SRCH) {
            return Some(false);
        }
        // A process has this number. If its start time is hidden in /proc, it is taken for the
        // right one.
        let Some(stat) = self.stat() else { return Some(true) };
        let same = stat.start_time == self.start_time || self.start_time == 0;
        Some(!matches!(stat.state, 'Z' | 'X') && same)
    }

    /// Whether it is certain that none of its threads will run again. Others see its last stores
    /// for certain only after a fence in all processors (`bell::fence_all_of`).
    pub(crate) fn will_not_run_again(self) -> bool {
        // For most processes one look is enough: the first thread is not marked.
        let Some(first) = self.gone_at_first() else { return false };
        if first.threads > MOST_THREADS || !self.is_visible() {
            return false;
        }
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if known.gone == Some(self) {
            return true;
        }
        let now = Instant::now();
        if known.since.is_none_or(|since| now.duration_since(since) > WINDOW) {
            known.since = Some(now);
            known.looks = 0;
        }
        known.looks += 2 * first.threads;
        if known.looks > MOST_LOOKS {
            return false;
        }
        // The list is read twice and compared. It can end early if the thread it has come to is
        // removed, and a new thread may be on the list after the thread that made it was marked.
        let (Some(once), Some(twice)) = (self.marked_threads(), self.marked_threads()) else {
            return false;
        };
        // It is still the same process, not another one with its number.
        let gone = once == twice
            && once.len() == first.threads
            && self.gone_at_first().is_some_and(|last| last.threads == first.threads);
        if gone {
            known.gone = Some(self);
        }
        gone
    }

    /// The numbers of its threads, if all are marked.
    fn marked_threads(self) -> Option<Vec<u32>> {
        let task = format!("/proc/{}/task", self.pid);
        let mut marked = Vec::new();
        for thread in read_dir(&task).ok()? {
            let number: u32 = thread.ok()?.file_name().to_str()?.parse().ok()?;
            let path = format!("{task}/{number}/stat");
            match Stat::of(&path) {
                Some(stat) if stat.flags & GONE != 0 => marked.push(number),
                // A thread that no longer exists.
                None if metadata(&path).is_err_and(|it| it.kind() == ErrorKind::NotFound) => {}
                _ => return None,
            }
            if marked.len() > MOST_THREADS {
                return None;
            }
        }
        marked.sort_unstable();
        Some(marked)
    }

    fn stat(self) -> Option<Stat> {
        Stat::of(&format!("/proc/{}/stat", self.pid))
    }

    /// Its first thread, if that exists and is marked.
    fn gone_at_first(self) -> Option<Stat> {
        let first = self.stat()?;
        let meant = self.start_time != 0 && first.start_time == self.start_time;
        (meant && first.flags & GONE != 0).then_some(first)
    }

    /// Whether the number means the same process here, and `/proc` shows our pid namespace.
    fn is_visible(self) -> bool {
        let own = || read_link("/proc/self").ok()?.to_str()?.parse().ok();
        self.namespace != 0
            && own_namespace() == Some(self.namespace)
            && own() == Some(std::process::id())
    }
}

/// The inode of the pid namespace (namespaces(7)).
fn own_namespace() -> Option<u64> {
    Some(metadata("/proc/self/ns/pid").ok()?.st_ino())
}

/// What is needed of a `stat` file (proc_pid_stat(5)): fields 3, 9, 20 and 22.
struct Stat {
    state: char,
    flags: u64,
    threads: usize,
    start_time: u64,
}

impl Stat {
    fn of(path: &str) -> Option<Self> {
        let bytes = read(path).ok()?;
        // The second field, the program's name, may contain spaces and parentheses, and need not be
        // text.
        let end = bytes.iter().rposition(|&byte| byte == b')')?;
        let mut fields = core::str::from_utf8(&bytes[end + 1..]).ok()?.split_whitespace();
        let state = fields.next()?.chars().next()?;
        let flags = fields.nth(5)?.parse().ok()?;
        let threads = fields.nth(10)?.parse().ok()?;
        Some(Self { state, flags, threads, start_time: fields.nth(1)?.parse().ok()? })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn process_of(child: &Child) -> Process {
        let stat = Stat::of(&format!("/proc/{}/stat", child.id())).unwrap();
        Process { pid: child.id(), start_time: stat.start_time, ..Process::this() }
    }

    #[test]
    fn a_process_that_lives_may_run_again_and_one_that_was_killed_will_not() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let process = process_of(&child);
        assert!(!process.will_not_run_again());
        assert_eq!(process.is_there(), Some(true));
        rustix::process::kill_process(Pid::from_child(&child), rustix::process::Signal::STOP)
            .unwrap();
        assert!(!process.will_not_run_again(), "stopped");
        child.kill().unwrap();
        // Nobody has waited for it, so it stays a zombie.
        while !process.will_not_run_again() {}
        while process.is_there() == Some(true) {}
        let another = Process { start_time: process.start_time + 1, ..process };
        assert!(!another.will_not_run_again(), "the number of another one");
        let unknown = Process { start_time: 0, ..process };
        assert!(!unknown.will_not_run_again(), "nothing is known of it");
        let elsewhere = Process { namespace: process.namespace + 1, ..process };
        assert!(!elsewhere.will_not_run_again(), "of another namespace");
        child.wait().unwrap();
        assert!(!process.will_not_run_again(), "nothing there to be seen");
        assert_eq!(process.is_there(), Some(false));
    }

    #[test]
    fn a_process_whose_first_thread_has_left_may_run_again_until_all_have() {
        // SAFETY: the child makes a thread, which the C library allows after a fork, and ends its
        // first one without returning.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            std::thread::spawn(|| std::thread::sleep(Duration::from_secs(600)));
            // SAFETY: ends this thread and no other.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
        }
        let stat = Stat::of(&format!("/proc/{child}/stat")).unwrap();
        let process = Process { pid: child as u32, start_time: stat.start_time, ..Process::this() };
        while process.gone_at_first().is_none() {}
        assert!(!process.will_not_run_again(), "a thread of it lives");
        // SAFETY: a signal to our own child, and waiting for it.
        unsafe { libc::kill(child, libc::SIGKILL) };
        while !process.will_not_run_again() {}
        // SAFETY: as above; nothing is written.
        unsafe { libc::waitpid(child, core::ptr::null_mut(), 0) };
    }

    #[test]
    fn this_process_may_run_again() {
        assert!(!Process::this().will_not_run_again());
        assert_eq!(Process::this().is_there(), Some(true));
    }
}
