//! What the tests of the command share.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A directory for rings and files of one test; rings in a directory of their own test cannot be
/// seen by another.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        let shm = Path::new("/dev/shm");
        Self(match shm.is_dir() {
            true => tempfile::tempdir_in(shm).unwrap(),
            false => tempfile::tempdir().unwrap(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn ufr(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ufr"));
        command.env("UFR_DIRECTORY", self.path()).args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.ufr(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs and gives what was written to standard output.
    pub(crate) fn say(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn send(&self, arguments: &[&str], input: &Path) -> Child {
        let input = fs::File::open(input).unwrap();
        self.ufr(&[&["send"], arguments].concat()).stdin(input).spawn().unwrap()
    }

    /// What `ufr stat --json` says.
    pub(crate) fn stat(&self, name: &str) -> serde_json::Value {
        serde_json::from_str(&self.say(&["stat", name, "--json"])).unwrap()
    }

    pub(crate) fn recv(&self, arguments: &[&str], output: &Path) -> Child {
        let output = fs::File::create(output).unwrap();
        self.ufr(&[&["recv"], arguments].concat()).stdout(output).spawn().unwrap()
    }

    pub(crate) fn send_bytes(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = self
            .ufr(&[&["send"], arguments].concat())
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        match child.stdin.take().unwrap().write_all(input) {
            // One that refuses before it reads may have ended by now.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            written => written.unwrap(),
        }
        child.wait_with_output().unwrap()
    }
}

/// Runs lines of a shell, with `ufr` as `$1`, where the directory of the rings has so much memory.
/// `None`, and says so, where the system lets nobody mount that.
pub(crate) fn in_little_memory(place: &Place, size: &str, lines: &str) -> Option<Output> {
    let mut unshare = vec!["--mount"];
    if !rustix::process::geteuid().is_root() {
        unshare.push("--map-root-user");
    }
    let mount = format!("mount -t tmpfs -o size={size} none \"$UFR_DIRECTORY\"");
    let run = |line: &str| {
        let mut command = Command::new("unshare");
        command.args(&unshare).args(["bash", "-c", line, "bash", env!("CARGO_BIN_EXE_ufr")]);
        command.env("UFR_DIRECTORY", place.path()).stdin(Stdio::null()).output()
    };
    if !run(&mount).is_ok_and(|it| it.status.success()) {
        eprintln!("skipped: no file system can be mounted here (unshare)");
        assert!(std::env::var_os("UFR_NO_SKIPS").is_none(), "nothing may be skipped");
        return None;
    }
    Some(run(&format!("set -e -o pipefail; {mount}\n{lines}")).unwrap())
}

pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn succeed(mut child: Child) {
    until("a child ends", || child.try_wait().unwrap().is_some());
    assert!(child.wait().unwrap().success());
}

pub(crate) fn error_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn interrupt(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
}

pub(crate) fn ends_interrupted(mut child: Child) {
    until("a child ends", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
