//! What `/proc` tells of a process: when it began, whether it is there, whether it will ever run again.
//!
//! The kernel closes the files of a process that dies, and with them gives its locks back, after it has
//! written the core and taken the memory down. For a process with gigabytes of memory, or one that
//! dumps core, that is seconds after its last instruction. But each thread is marked on its way out
//! before any of that, and `/proc/PID/task/TID/stat` shows the mark. A process all of whose threads
//! are marked will not touch a ring again, whatever it still has locked.

use std::format;
use std::fs::{metadata, read_dir, read_link, read_to_string};
use std::os::linux::fs::MetadataExt;
use std::string::String;
use std::vec::Vec;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// Marks of a thread that will not return to its program (`PF_EXITING` and `PF_SIGNALED` of the
/// kernel's `include/linux/sched.h`): it exits, or a signal that nobody catches has ended it. The second
/// is set before the core is written, the first after.
const GONE: u64 = 0x4 | 0x400;

/// A process that says who it is. All of it is a peer's word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// When it began, in clock ticks since boot; 0 if that is not known.
    pub(crate) start_time: u64,
    /// Inode of its pid namespace, in which alone its number means it; 0 if that is not known.
    pub(crate) namespace: u64,
}

impl Process {
    /// This one.
    pub(crate) fn this() -> Self {
        let pid = std::process::id();
        if cfg!(fuzzing) {
            // A fuzzer takes handles by the million, and this is most of what one costs.
            return Self { pid, ..Self::default() };
        }
        Self {
            pid,
            start_time: Stat::of("/proc/self/stat").map_or(0, |stat| stat.start_time),
            namespace: own_namespace().unwrap_or(0),
        }
    }

    /// Whether it is there; `None` if that cannot be told from here.
    pub(crate) fn is_there(self) -> Option<bool> {
        if self.namespace == 0 || own_namespace() != Some(self.namespace) {
            return None;
        }
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw)?;
        if test_kill_process(pid) == Err(Errno::SRCH) {
            return Some(false);
        }
        // Somebody has the number. Without a look at when it began (/proc may hide it), it is
        // taken for the one that is meant.
        let Some(stat) = self.stat() else { return Some(true) };
        let same = stat.start_time == self.start_time || self.start_time == 0;
        Some(!matches!(stat.state, 'Z' | 'X') && same)
    }

    /// Whether it is certain that no thread of it will run again. Others may see what it stored last
    /// only after a fence in all processors (`wait::fence_everybody`).
    pub(crate) fn will_not_run_again(self) -> bool {
        // A process of one thread, as most that are asked about, is told by the first look.
        if !self.is_gone(self.stat()) || !self.is_visible() {
            return false;
        }
        let task = format!("/proc/{}/task", self.pid);
        let threads = || -> Option<Vec<String>> {
            let names = read_dir(&task).ok()?.map(|it| it.ok()?.file_name().into_string().ok());
            let mut names = names.collect::<Option<Vec<_>>>()?;
            names.sort_unstable();
            Some(names)
        };
        let Some(mut before) = threads() else { return false };
        // A new thread is made by one that was not marked yet, and is on the list after it was: looked
        // through until nobody new is there.
        for _ in 0..8 {
            let marked = before.iter().all(|thread| {
                let path = format!("{task}/{thread}/stat");
                match Stat::of(&path) {
                    Some(stat) => stat.flags & GONE != 0,
                    // One that is not there any more. One that cannot be looked at is not proof.
                    None => {
                        metadata(&path).is_err_and(|it| it.kind() == std::io::ErrorKind::NotFound)
                    }
                }
            });
            if !marked {
                return false;
            }
            let Some(after) = threads() else { return false };
            if after.iter().all(|thread| before.binary_search(thread).is_ok()) {
                // Still the same process, and not another one with its number.
                return self.is_gone(self.stat());
            }
            before = after;
        }
        false
    }

    fn stat(self) -> Option<Stat> {
        Stat::of(&format!("/proc/{}/stat", self.pid))
    }

    /// Whether that is its first thread, and it is marked.
    fn is_gone(self, first: Option<Stat>) -> bool {
        let meant = |stat: &Stat| self.start_time != 0 && stat.start_time == self.start_time;
        first.filter(meant).is_some_and(|stat| stat.flags & GONE != 0)
    }

    /// Whether the number means the same process here, and `/proc` numbers processes as we do.
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

/// What is needed of a `stat` file (proc_pid_stat(5)): fields 3, 9 and 22.
struct Stat {
    state: char,
    flags: u64,
    start_time: u64,
}

impl Stat {
    fn of(path: &str) -> Option<Self> {
        let text = read_to_string(path).ok()?;
        // The second field, the program's name, may contain spaces and parentheses.
        let mut fields = text.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?.chars().next()?;
        let flags = fields.nth(5)?.parse().ok()?;
        Some(Self { state, flags, start_time: fields.nth(12)?.parse().ok()? })
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
        // Nobody has asked for it: it stays where it is, as a zombie.
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
    fn this_process_may_run_again() {
        assert!(!Process::this().will_not_run_again());
        assert_eq!(Process::this().is_there(), Some(true));
    }
}
