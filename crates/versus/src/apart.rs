//! A case in a process of its own, with a limit to its time.
//!
//! In some queues a thread spins until another one has gone on, for ever if that one does not get a
//! core: with more threads than cores a reading need not end. No thread can be stopped from
//! outside, a process can.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::case::{Case, Context, Reading};
use crate::machine::{self, Cores};
use crate::partner::Partner;

/// How long a reading may take: some hundred times as long as those that end.
const LONGEST: Duration = Duration::from_secs(20);

/// How often to look whether it has ended: seldom, to leave both cores to it.
const LOOK: Duration = Duration::from_millis(5);

/// Runs `case`, which must give a value only, in a new process.
pub(crate) fn run(cores: Cores, case: &Case) -> anyhow::Result<Reading> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["--apart", &case.name])
        .args(["--cores", &format!("{},{}", cores.consumer, cores.producer)]);
    let value: f64 = output_within(command, LONGEST)?.trim().parse().context("no number")?;
    Ok(value.into())
}

/// What `command`, of which some words are expected, writes before `longest` has passed.
fn output_within(mut command: Command, longest: Duration) -> anyhow::Result<String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot start a process for it")?;
    let start = Instant::now();
    while child.try_wait()?.is_none() {
        if start.elapsed() > longest {
            child.kill()?;
            child.wait()?;
            bail!("not done after {} seconds, and given up", longest.as_secs());
        }
        std::thread::sleep(LOOK);
    }
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8(output.stdout)?)
}

/// The other end of [`run`]: runs the case called `name` and writes its value.
pub(crate) fn serve(name: &str, cores: &[usize]) -> anyhow::Result<()> {
    let &[consumer, producer] = cores else { bail!("two cores are needed") };
    let cores = Cores { producer, consumer };
    machine::keep_to(consumer)?;
    let case = crate::cases().into_iter().find(|case| case.name == name).context("no such case")?;
    let mut context = Context { cores, partner: Partner::start(producer)? };
    let reading = (case.run)(&mut context, &case)?;
    Ok(writeln!(std::io::stdout(), "{}", reading.value)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_does_not_end_is_ended_and_said() {
        let start = Instant::now();
        let error = output_within(shell("exec sleep 600"), Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("given up"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(300));
    }

    #[test]
    fn what_ends_gives_its_words_or_its_error() {
        let longest = Duration::from_secs(600);
        assert_eq!(output_within(shell("echo 12.5"), longest).unwrap(), "12.5\n");
        let error = output_within(shell("echo wrong >&2; exit 1"), longest).unwrap_err();
        assert_eq!(error.to_string(), "wrong");
    }
}
