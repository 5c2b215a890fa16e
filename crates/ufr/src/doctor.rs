//! What is wrong with a ring, what that means, and what to do.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;
use ultrafastring::{Builder, Finding, Lanes, SideMemoryInfo};

use crate::{completion, group, output};

/// Check every invariant of a ring, and repair what dead processes left unfinished.
///
/// For each finding it says what was found, what that means, and what to do.
///
/// The exit code is 1 if the ring is damaged. Then remove it and make a new one. Unfinished work of
/// dead processes is no damage: `doctor` finishes it, as the next user of the ring would. If a
/// group holds producers back, or memory for large messages is short, it says so, and what to do.
#[derive(Args)]
pub(crate) struct Doctor {
    /// Name of the ring.
    #[arg(add = completion::rings())]
    name: String,
    /// Only check; repair nothing.
    #[arg(long)]
    check: bool,
}

impl Doctor {
    pub(crate) fn run(self, builder: &Builder) -> anyhow::Result<ExitCode> {
        let ring = builder.observe(&self.name)?;
        let findings = ring.examine_lanes()?;
        let has_lanes = ring.settings().lanes != Lanes::One;
        let mut report = String::new();
        for (lane, finding) in &findings {
            let (means, to_do) = meaning(finding);
            if has_lanes {
                write!(report, "lane {lane}: ")?;
            }
            writeln!(report, "{finding}\n  means: {means}\n  to do: {to_do}")?;
        }
        output::say(report)?;
        if findings.iter().any(|(_, finding)| finding.is_damage()) {
            output::complain(format!(
                "{} is damaged: a program wrote where it should not have. Remove it with `ufr rm \
                 {}`, and start its users again",
                self.name, self.name
            ));
            return Ok(ExitCode::FAILURE);
        }
        if findings.is_empty() {
            output::say(format!("{}: all is well\n", self.name))?;
        } else if !self.check {
            let done = builder.open(&self.name)?.repair()?;
            output::say(format!(
                "{}: {} entries freed, {} slots abandoned, {} messages discarded, {} messages wait \
                 to be redelivered to the next consumer\n",
                self.name, done.entries_freed, done.abandoned, done.discarded, done.to_redeliver
            ))?;
        }
        if let Some(explained) = group::explain_gate(&self.name, &ring) {
            output::say(explained)?;
        }
        if let Some(explained) = ring.side_memory().and_then(|it| explain(&self.name, &it)) {
            output::say(explained)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What there is to say of the memory of side buffers, if it is short.
fn explain(name: &str, memory: &SideMemoryInfo) -> Option<String> {
    let SideMemoryInfo { size, taken, largest, .. } = memory;
    let free = memory.free.filter(|_| memory.is_short())?;
    Some(format!(
        "{name}: memory is short: {free} bytes are free, and a message may need {largest}; the \
         side buffers take {taken} of {size} bytes. Messages wait for the memory of those before \
         them, or are refused if there are none: free some (`ufr rm --stale`), enlarge the tmpfs, \
         or make the ring with `--side-memory preallocated`\n"
    ))
}

/// What a finding means, and what to do: docs/findings.md has the same.
fn meaning(finding: &Finding) -> (&'static str, &'static str) {
    const REPLACE: &str = "stop its users, remove it (`ufr rm`), and start them again";
    match finding {
        Finding::Counters { .. } => (
            "a counter says what no program of this library writes: producers or consumers may \
             find the ring full or empty for ever",
            REPLACE,
        ),
        Finding::Overfull { .. } => (
            "messages were overwritten, or a counter was: what is received now may be wrong",
            REPLACE,
        ),
        Finding::ForeignSequence { .. } => (
            "a program wrote into a slot that was not its own: the message that was there is lost, \
             and consumers may wait at this slot",
            REPLACE,
        ),
        Finding::NotClaimed { .. } => (
            "the slot looks as if it held a message that nobody has sent yet: it may be received, \
             or stop producers",
            REPLACE,
        ),
        Finding::Overwritten => (
            "programs that have the ring open go on; others cannot open it, or take it for another",
            REPLACE,
        ),
        Finding::Orphan { .. } => (
            "a producer died before it had sent this message; consumers wait at its slot",
            "nothing: `ufr doctor` without --check skips the slot",
        ),
        Finding::Dead { intent: None, hold: None, .. } => (
            "it left nothing unfinished; only its entry is still taken",
            "nothing: the next participant frees the entry, or `ufr doctor` without --check",
        ),
        Finding::Dead { hold: Some(_), .. } => (
            "a consumer died with messages that it had not released; producers find the ring full \
             when they come round to them",
            "start a consumer, which receives them again, marked; or nothing, if one is running",
        ),
        Finding::Dead { .. } => (
            "a producer died while it sent; consumers wait at the slots that it had claimed",
            "nothing: the next participant that is blocked skips them, or `ufr doctor` without \
             --check",
        ),
        _ => ("this version of `ufr` does not know it", "use the `ufr` of the programs' version"),
    }
}
