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

use std::fs::File;
use std::io::{self, Read, StdinLock, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use crate::case::{Case, Pattern};
use crate::machine;

const READY: &[u8; 6] = b"ready\n";
const DONE: &[u8; 6] = b"done.\n";

/// The second process, as the first sees it.
pub(crate) struct Partner {
    child: Child,
    orders: ChildStdin,
    answers: File,
}

impl Partner {
    pub(crate) fn start(core: usize) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--partner", &core.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the second process")?;
        let orders = child.stdin.take().context("the second process has no input")?;
        let answers = child.stdout.take().context("the second process has no output")?;
        Ok(Self { child, orders, answers: File::from(OwnedFd::from(answers)) })
    }

    /// Starts its part of `case` on the queues at `addresses`.
    pub(crate) fn tell(&mut self, case: &Case, addresses: [String; 2]) -> anyhow::Result<()> {
        let (pattern, batch) = match case.pattern {
            Pattern::Batches(batch) | Pattern::InPlace(batch) => (case.pattern.name(), batch),
            pattern => (pattern.name(), 1),
        };
        let order = json!({
            "peer": case.peer,
            "pattern": pattern,
            "batch": batch,
            "capacity": case.capacity,
            "size": case.size,
            "messages": case.messages,
            "addresses": addresses,
        });
        Ok(writeln!(self.orders, "{order}")?)
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
        machine::waited_of(&self.child.id().to_string())
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        // It may have ended already, by an error that was reported.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the second process is told to do.
pub(crate) struct Order {
    pub(crate) peer: String,
    pub(crate) pattern: Pattern,
    pub(crate) capacity: usize,
    pub(crate) size: usize,
    pub(crate) messages: u64,
    pub(crate) addresses: [String; 2],
}

impl Order {
    fn read(line: &str) -> anyhow::Result<Self> {
        let order: Value = serde_json::from_str(line).context("not an order")?;
        let number = |key: &str| order[key].as_u64().with_context(|| format!("no {key}"));
        let text = |value: &Value| value.as_str().map(str::to_string).context("no text");
        let batch = number("batch")? as usize;
        let pattern = match order["pattern"].as_str() {
            Some("stream") => Pattern::Stream,
            Some("batches") => Pattern::Batches(batch),
            Some("in place") => Pattern::InPlace(batch),
            Some("round trip") => Pattern::RoundTrip,
            Some("paced") => Pattern::Paced,
            Some("idle") => Pattern::Idle,
            _ => bail!("not a pattern of two processes: {line}"),
        };
        Ok(Self {
            peer: text(&order["peer"])?,
            pattern,
            capacity: number("capacity")? as usize,
            size: number("size")? as usize,
            messages: number("messages")?,
            addresses: [text(&order["addresses"][0])?, text(&order["addresses"][1])?],
        })
    }
}

/// What the second process hears and says.
pub(crate) struct Hands {
    orders: StdinLock<'static>,
    answers: File,
}

impl Hands {
    fn line(&mut self) -> anyhow::Result<Option<String>> {
        let mut line = String::new();
        Ok((io::BufRead::read_line(&mut self.orders, &mut line)? != 0).then_some(line))
    }

    pub(crate) fn ready(&mut self) -> anyhow::Result<()> {
        Ok(self.answers.write_all(READY)?)
    }

    pub(crate) fn wait_for_go(&mut self) -> anyhow::Result<()> {
        ensure!(self.line()?.as_deref() == Some("go\n"), "told something else than to go");
        Ok(())
    }

    pub(crate) fn done(&mut self) -> anyhow::Result<()> {
        Ok(self.answers.write_all(DONE)?)
    }
}

/// Does what it is told until there is no more to do.
pub(crate) fn serve(core: usize) -> anyhow::Result<()> {
    machine::keep_to(core)?;
    let answers = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut hands = Hands { orders: io::stdin().lock(), answers };
    let peers = crate::peers();
    while let Some(line) = hands.line()? {
        let order = Order::read(&line)?;
        let peer = peers.iter().find(|peer| peer.serve.is_some() && peer.name == order.peer);
        let serve = peer.and_then(|peer| peer.serve).context("no such peer")?;
        serve(&order, &mut hands).with_context(|| format!("{}, second process", order.peer))?;
    }
    Ok(())
}
