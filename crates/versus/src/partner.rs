//! The second process: it waits for a line that says what to send, sends it, and says when done.
//!
//! ```text
//!  this process                         the partner
//!  create ─── order, a line of JSON ──► open
//!  take a handle                        take a handle
//!             ◄───────────────── ready
//!  go ────────────────────────────────► produce
//!  consume                    …
//!             ◄────────────────── done
//! ```

use std::io::{self, BufRead, Read, StdinLock, Write};
use std::process::{ChildStdin, ChildStdout, Stdio};

use anyhow::{Context, ensure};
use serde_json::json;

use crate::child::{self, Process, this_program};
use crate::machine;

const READY: &[u8; 6] = b"ready\n";
const DONE: &[u8; 6] = b"done.\n";

/// The second process, as the first sees it.
pub(crate) struct Partner {
    process: Process,
    orders: ChildStdin,
    answers: ChildStdout,
}

impl Partner {
    pub(crate) fn start(core: usize) -> anyhow::Result<Self> {
        let mut command = this_program()?;
        command.args(["--partner", &core.to_string()]);
        let mut process = Process::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let orders = process.stdin.take().context("the second process has no input")?;
        let answers = process.stdout.take().context("the second process has no output")?;
        Ok(Self { process, orders, answers })
    }

    /// Starts its part of the case called `name` on the queues at `addresses`.
    pub(crate) fn tell(&mut self, name: &str, [there, back]: [String; 2]) -> anyhow::Result<()> {
        Ok(writeln!(self.orders, "{}", json!([name, there, back]))?)
    }

    /// Waits until it has taken its handles.
    pub(crate) fn is_ready(&mut self) -> anyhow::Result<()> {
        self.hear(READY)
    }

    /// Lets it begin to send.
    pub(crate) fn go(&mut self) -> anyhow::Result<()> {
        Ok(self.orders.write_all(b"go\n")?)
    }

    /// Waits until it has done what it was told.
    pub(crate) fn is_done(&mut self) -> anyhow::Result<()> {
        self.hear(DONE)
    }

    fn hear(&mut self, word: &[u8; 6]) -> anyhow::Result<()> {
        let mut said = [0; 6];
        self.answers.read_exact(&mut said).context("the second process has ended")?;
        ensure!(&said == word, "the second process said something else");
        Ok(())
    }

    /// How long it has waited for its core, in nanoseconds.
    pub(crate) fn waited(&self) -> u64 {
        machine::waited_of(&self.process.id().to_string())
    }
}

/// What the second process hears and says.
pub(crate) struct Hands(StdinLock<'static>);

impl Hands {
    fn line(&mut self) -> anyhow::Result<Option<String>> {
        let mut line = String::new();
        Ok((self.0.read_line(&mut line)? != 0).then_some(line))
    }

    fn say(&mut self, word: &[u8; 6]) -> anyhow::Result<()> {
        let mut output = io::stdout();
        output.write_all(word)?;
        Ok(output.flush()?)
    }

    pub(crate) fn ready(&mut self) -> anyhow::Result<()> {
        self.say(READY)
    }

    pub(crate) fn wait_for_go(&mut self) -> anyhow::Result<()> {
        ensure!(self.line()?.as_deref() == Some("go\n"), "told something else than to go");
        Ok(())
    }
}

/// Does what it is told until there is no more to do: calls `part` with the name of a case and the
/// addresses of its queues.
pub(crate) fn serve(
    core: usize,
    part: impl Fn(&str, &[String; 2], &mut Hands) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    child::end_with_parent()?;
    machine::keep_to(core)?;
    let mut hands = Hands(io::stdin().lock());
    while let Some(line) = hands.line()? {
        let [name, there, back]: [String; 3] =
            serde_json::from_str(&line).context("not an order")?;
        part(&name, &[there, back], &mut hands)
            .with_context(|| format!("{name}, second process"))?;
        // All that its part had is gone by now.
        hands.say(DONE)?;
    }
    Ok(())
}
