//! The second process: it waits for a line that says what to send, sends it, and says when done.

use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, bail, ensure};
use ultrafastring::{PriorityClass, UltraFastRing};

use crate::machine;
use crate::message::{Bytes, message};

const DONE: &[u8; 5] = b"done\n";

/// The second process, as the first sees it.
pub(crate) struct Partner {
    child: Child,
    orders: ChildStdin,
    /// A pipe, which is also what `pipe` is measured over; read without a buffer.
    pub(crate) output: File,
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
        let output = child.stdout.take().context("the second process has no output")?;
        Ok(Self { child, orders, output: File::from(OwnedFd::from(output)) })
    }

    /// Starts work of some kind on the ring or rings so called.
    pub(crate) fn tell(&mut self, kind: &str, rings: &str, n: u64) -> anyhow::Result<()> {
        Ok(writeln!(self.orders, "{kind} {n} {rings}")?)
    }

    /// Waits until it has done what it was told.
    pub(crate) fn done(&mut self) -> anyhow::Result<()> {
        let mut said = [0; DONE.len()];
        self.output.read_exact(&mut said).context("the second process has ended")?;
        ensure!(&said == DONE, "the second process said something else");
        Ok(())
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        // It may have ended already, by an error that was reported.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends the messages 0 to `n` - 1, each as soon as there is room. A function of its own for each
/// kind of ring, as a program's loop would be.
#[inline(never)]
fn stream(n: u64, mut send: impl FnMut(&Bytes) -> bool) {
    for i in 0..n {
        let bytes = message(i);
        while !send(&bytes) {}
    }
}

/// Does what it is told until there is no more to do.
pub(crate) fn serve(core: usize) -> anyhow::Result<()> {
    machine::keep_to(core)?;
    let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<_> = line.split(' ').collect();
        let &[kind, n, ring, ..] = &words[..] else { bail!("not an order: {line}") };
        let n = n.parse()?;
        match kind {
            "exclusive" => {
                let mut producer = UltraFastRing::open(ring)?.exclusive_producer()?;
                stream(n, |bytes| producer.send_fast(bytes, PriorityClass::Normal).is_ok());
            }
            "batches" => {
                let mut producer = UltraFastRing::open(ring)?.exclusive_producer()?;
                for first in (0..n).step_by(16) {
                    let batch: [_; 16] = std::array::from_fn(|at| message(first + at as u64));
                    let mut rest = &batch[..(n - first).min(16) as usize];
                    while !rest.is_empty() {
                        let sent = producer.send_batch(rest, PriorityClass::Normal).unwrap_or(0);
                        rest = &rest[sent..];
                    }
                }
            }
            "shared" => {
                let mut producer = UltraFastRing::open(ring)?.producer()?;
                stream(n, |bytes| producer.send_fast(bytes, PriorityClass::Normal).is_ok());
            }
            "reference" => {
                let ring = UltraFastRing::open(ring)?;
                stream(n, |bytes| ring.send_fast(bytes, PriorityClass::Normal).is_ok());
            }
            "echo" => {
                let back = words.get(3).context("where to?")?;
                let mut consumer = UltraFastRing::open(ring)?.exclusive_consumer()?;
                let mut producer = UltraFastRing::open(back)?.exclusive_producer()?;
                let mut buffer = [0; 40];
                for _ in 0..n {
                    while consumer.recv_fast(&mut buffer).is_err() {}
                    producer.send_fast(&buffer, PriorityClass::Normal)?;
                }
            }
            "pipe" => {
                for i in 0..n {
                    output.write_all(&message(i))?;
                }
            }
            _ => bail!("not an order: {line}"),
        }
        output.write_all(DONE)?;
    }
    Ok(())
}
