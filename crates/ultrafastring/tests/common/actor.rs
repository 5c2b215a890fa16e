//! Other processes that play parts in a test.
//!
//! A test is the director: it starts its own test binary again, once for each part to be played
//! ([`Actor`]), and a test called `an_actor_plays_its_part` there asks [`part`] which. An actor
//! says what it has done in lines on its standard error that begin with `@`, and takes orders from
//! its standard input. Where tests run on each shape of ring, the first word of a part is the
//! shape's name.

#![allow(dead_code)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};

use rustix::process::{Pid, Signal};

const ROLE: &str = "UFR_TEST_ROLE";
const DIRECTORY: &str = "UFR_TEST_DIRECTORY";

/// Another process that plays a part.
pub(crate) struct Actor {
    pub(crate) process: Child,
    lines: BufReader<ChildStderr>,
    orders: Option<ChildStdin>,
}

impl Actor {
    pub(crate) fn start(directory: &Path, role: &str) -> Self {
        Self::start_as(Command::new(std::env::current_exe().unwrap()), directory, role)
    }

    /// The same through a program that begins it, such as one that gives it a namespace.
    pub(crate) fn start_through(program: &[&str], directory: &Path, role: &str) -> Self {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(std::env::current_exe().unwrap());
        Self::start_as(command, directory, role)
    }

    /// The same by a command that wants only what a test program is told.
    pub(crate) fn start_as(mut command: Command, directory: &Path, role: &str) -> Self {
        let mut process = command
            .args(["--exact", "an_actor_plays_its_part", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(DIRECTORY, directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stderr.take().unwrap());
        let orders = process.stdin.take();
        Self { process, lines, orders }
    }

    /// Starts one and waits until it says `first`.
    pub(crate) fn start_and_hear(directory: &Path, role: &str, first: &str) -> Self {
        let mut actor = Self::start(directory, role);
        assert_eq!(actor.hear(), first, "of {role}");
        actor
    }

    /// The next thing it says.
    #[track_caller]
    pub(crate) fn hear(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "an actor left");
            match line.strip_prefix('@') {
                Some(said) => return said.trim_end().to_string(),
                None => eprint!("actor: {line}"),
            }
        }
    }

    pub(crate) fn tell(&mut self, order: &str) {
        writeln!(self.orders.as_mut().unwrap(), "{order}").unwrap();
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    /// Kills it as the kernel's memory killer would, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Lets it come to its end, which must be a good one.
    pub(crate) fn finish(mut self) {
        drop(self.orders.take());
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.lines, &mut rest).unwrap();
        assert!(self.process.wait().unwrap().success(), "an actor failed: {rest}");
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn say(what: &str) {
    // In one piece, which `eprintln` is not: a forked child may speak at the same time.
    std::io::stderr().write_all(format!("@{what}\n").as_bytes()).unwrap();
}

/// The next order; the end of orders ends the process.
pub(crate) fn order() -> String {
    let mut line = String::new();
    if std::io::stdin().read_line(&mut line).unwrap() == 0 {
        std::process::exit(0);
    }
    line.trim_end().to_string()
}

/// The words of the part that this process is to play, and the directory that it is to play in;
/// nothing if it is no actor.
pub(crate) fn part() -> Option<(Vec<String>, PathBuf)> {
    let role = std::env::var(ROLE).ok()?;
    // Whatever becomes of the director, nobody stays behind.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    let directory = std::env::var_os(DIRECTORY).unwrap();
    Some((role.split(' ').map(str::to_string).collect(), directory.into()))
}
