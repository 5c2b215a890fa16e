//! This program again, as a child: the one way in which the demo, and `versus`, start processes.
//!
//! `versus` takes this file and `cores.rs` as modules of its own (`#[path]`). A crate for them
//! would have to be published with `ufr`, and a library in `ufr` would have to promise what they
//! offer; neither is worth eighty lines.

use std::io;
use std::ops::{Deref, DerefMut};
use std::process::{Child, Command};

use anyhow::Context;
use rustix::process::{Signal, set_parent_process_death_signal};

/// What starts this program again, once it is told with which arguments and descriptors.
pub(crate) fn this_program() -> anyhow::Result<Command> {
    Ok(Command::new(std::env::current_exe().context("cannot tell which program this is")?))
}

/// A child that is killed, and waited for, when this is dropped.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        Ok(Self(command.spawn().context("cannot start a process")?))
    }
}

impl Deref for Process {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // No effect on one that has ended and was waited for.
        let _ = self.kill();
        let _ = self.wait();
    }
}

/// For the child to call first: it is killed when the thread that started it ends. Whoever started
/// it may be killed, and nobody would be left to end it.
pub(crate) fn end_with_parent() -> io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}
