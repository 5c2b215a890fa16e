//! A case in a process of its own, with a limit to its time.
//!
//! In some queues a thread spins until another one has gone on, for ever if that one does not get a
//! core: with more threads than cores a reading need not end. No thread can be stopped from
//! outside, a process can.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::thread::CpuSet;
use serde_json::{Value, json};

use crate::case::{Case, Context, Reading};
use crate::child::{self, Process, this_program};
use crate::crowd::Fairness;
use crate::machine::{self, Cores};
use crate::partner::Partner;

/// How long a reading may take: some hundred times as long as those that end.
const LONGEST: Duration = Duration::from_secs(20);

/// How often to look whether it has ended: seldom, to leave both cores to it.
const LOOK: Duration = Duration::from_millis(5);

/// Runs `case`, which must give no latencies, in a new process.
pub(crate) fn run(cores: Cores, case: &Case) -> anyhow::Result<Reading> {
    let mut command = this_program()?;
    let all = cores.all().into_iter().map(|core| core.to_string()).collect::<Vec<_>>();
    command.args(["--apart", &case.name]).args(["--cores", &all.join(",")]);
    let said: Value = serde_json::from_str(&output_within(&mut command, LONGEST)?)?;
    machine::count_waited(said["waited"].as_u64().context("it does not say how long it waited")?);
    let value = said["value"].as_f64().context("no number")?;
    let fairness = Fairness::of_json(&said["fairness"]);
    Ok(Reading { missed: said["missed"].as_f64(), fairness, ..value.into() })
}

/// What `command`, of which some words are expected, writes before `longest` has passed.
fn output_within(command: &mut Command, longest: Duration) -> anyhow::Result<String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Process::start(command)?;
    let start = Instant::now();
    let status = loop {
        if let Some(status) = process.try_wait()? {
            break status;
        }
        if start.elapsed() > longest {
            bail!("not done after {} seconds, and given up", longest.as_secs());
        }
        std::thread::sleep(LOOK);
    };
    let (mut output, mut error) = (String::new(), String::new());
    process.stdout.take().context("it has no output")?.read_to_string(&mut output)?;
    process.stderr.take().context("it has no errors")?.read_to_string(&mut error)?;
    if !status.success() {
        bail!("{}", error.trim());
    }
    Ok(output)
}

/// The other end of [`run`]: runs `case`, with a partner if it has a part for one, and writes what
/// it read and how long its threads waited for their cores.
pub(crate) fn serve(case: &Case, cores: &[usize]) -> anyhow::Result<()> {
    child::end_with_parent()?;
    let &[producer, consumer, ..] = cores else { bail!("two cores are needed") };
    let mut allowed = CpuSet::new();
    cores.iter().for_each(|&core| allowed.set(core));
    machine::keep_to(consumer)?;
    let partner = case.runner.serve.map(|_| Partner::start(producer)).transpose()?;
    let mut context = Context { cores: Cores { producer, consumer, allowed }, partner };
    let partner_waited = |context: &Context| context.partner.as_ref().map_or(0, Partner::waited);
    let before = partner_waited(&context);
    let reading = (case.runner.run)(&mut context, case)?;
    let waited = machine::waited() + partner_waited(&context).saturating_sub(before);
    let fairness = reading.fairness.map(Fairness::as_json);
    println!(
        "{}",
        json!({
            "value": reading.value,
            "missed": reading.missed,
            "fairness": fairness,
            "waited": waited,
        })
    );
    Ok(())
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
        let error =
            output_within(&mut shell("exec sleep 600"), Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("given up"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(300));
    }

    #[test]
    fn what_ends_gives_its_words_or_its_error() {
        let longest = Duration::from_secs(600);
        assert_eq!(output_within(&mut shell("echo 12.5"), longest).unwrap(), "12.5\n");
        let error = output_within(&mut shell("echo wrong >&2; exit 1"), longest).unwrap_err();
        assert_eq!(error.to_string(), "wrong");
    }
}
