//! Which rings there are.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;
use ultrafastring::{Builder, Evidence, Observer, ParticipantInfo};

use crate::{explain, output};

/// List rings, and whether a process has them open.
///
/// Prints one line a ring, separated by tabs: its name, its state, and how many messages are in
/// flight. A ring is `live` if a living process has it open, and `stale` if none has. It is
/// `unknown` if you may not see its locks, and `unusable` if it cannot be opened. In the last case
/// the reason stands in place of the messages in flight.
#[derive(Args)]
pub(crate) struct List {}

impl List {
    pub(crate) fn run(self, builder: &Builder) -> anyhow::Result<ExitCode> {
        let mut lines = String::new();
        for name in builder.list()? {
            match builder.observe(&name) {
                Ok(ring) => {
                    let state = state(&ring);
                    let (len, capacity) = (ring.len(), ring.settings().slots());
                    writeln!(lines, "{name}\t{state}\t{len} of {capacity} in flight")?;
                }
                Err(error) => {
                    writeln!(lines, "{name}\tunusable\t{}", explain::text(&error.into()))?;
                }
            }
        }
        output::say(lines)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Whether somebody has the ring open, or a handle on it.
pub(crate) fn state(ring: &Observer) -> &'static str {
    let lives = |it: ParticipantInfo| it.alive && it.evidence == Evidence::Process;
    match ring.is_open_elsewhere() {
        Some(true) => "live",
        Some(false) => "stale",
        None if ring.participants().any(lives) => "live",
        None => "unknown",
    }
}
