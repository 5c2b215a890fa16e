//! Making and removing rings.

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::Context;
use clap::Args;
use ultrafastring::{
    Builder, FileError, INLINE_SIZE, Lanes, PriorityClass, Redelivery, RingError, SideMemory,
    Timestamps,
};

use crate::{completion, or_usage, output, word};

/// Make a ring; both sides are shared unless options say otherwise.
///
/// The settings hold as long as the ring exists. `send` and `recv` open the ring as it is; if there
/// is none, they make one with the defaults. If the ring exists already, `create` fails, and names
/// each option whose value differs from the ring's.
#[derive(Args)]
pub(crate) struct Create {
    /// Name of the ring: 1 to 200 bytes, without slashes, a leading dot, control characters, or
    /// characters that change the direction of text.
    name: String,
    /// Number of slots, a power of two. A ring holds this many messages [default: 256].
    #[arg(long)]
    capacity: Option<usize>,
    /// Bytes of the largest message, 40 or more. Above 40, each slot has a side buffer of this size
    /// [default: 40].
    #[arg(long, value_name = "BYTES", value_parser = max_message)]
    max_message: Option<usize>,
    /// When the ring takes memory for side buffers: `on-demand`, as messages need it;
    /// `preallocated`, all of it now; `overcommitted`, on demand and without a check that there is
    /// enough.
    #[arg(long, default_value = "on-demand")]
    #[arg(value_parser = word(SideMemory::ALL, SideMemory::name))]
    side_memory: SideMemory,
    /// Print how many bytes the ring would have, and do not make it.
    #[arg(long)]
    size: bool,
    /// Allow one producer at a time, which is faster.
    #[arg(long)]
    exclusive_producer: bool,
    /// Allow one consumer at a time, which is faster.
    #[arg(long)]
    exclusive_consumer: bool,
    /// Messages that may be in flight [default: the capacity].
    #[arg(long, value_name = "MESSAGES")]
    credit_limit: Option<u64>,
    /// Credits kept for a class and more urgent ones, such as real-time=16; may be repeated.
    #[arg(long, value_name = "CLASS=CREDITS", value_parser = of_class::<u64>)]
    #[arg(add = completion::reserves())]
    reserve: Vec<(PriorityClass, u64)>,
    /// Which messages carry a timestamp: every, off, or 1/N, where N is a power of two from 2 to
    /// 65536 [default: every].
    #[arg(long, add = completion::timestamps())]
    timestamps: Option<Timestamps>,
    /// Count the latencies of each class in a histogram, which `ufr top` and `ufr metrics` show.
    #[arg(long)]
    histograms: bool,
    /// What happens to messages that a consumer held when it died [default: redeliver].
    ///
    /// `redeliver`: another consumer gets them, marked. On a shared consumer side they may come
    /// after later messages. `discard`: they are dropped and counted.
    #[arg(long, value_parser = word(Redelivery::ALL, Redelivery::name))]
    redelivery: Option<Redelivery>,
    /// Make the ring for this group of consumers, which is durable and open from the start; may be
    /// repeated. Each message goes to one member of every group.
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// Make the ring for groups that join and leave: beside those of --group there is room for 16.
    #[arg(long)]
    joinable: bool,
    /// How many lanes (queues of their own) the ring has: one, by-class, or by-producer:N [default:
    /// one].
    ///
    /// `by-class`: each class has a lane, and urgent messages overtake others. `by-producer:N`: up
    /// to N producers have a lane each, and none holds up another. The capacity, the credit limit
    /// and the largest message are those of each lane.
    #[arg(long, add = completion::lanes())]
    lanes: Option<Lanes>,
    /// Slots of the lane of one class, with --lanes by-class, such as bulk=4096; may be repeated.
    #[arg(long, value_name = "CLASS=SLOTS", value_parser = of_class::<usize>)]
    #[arg(add = completion::reserves())]
    capacity_of: Vec<(PriorityClass, usize)>,
    /// Messages of one class that may be in flight, with --lanes by-class; may be repeated.
    #[arg(long, value_name = "CLASS=MESSAGES", value_parser = of_class::<u64>)]
    #[arg(add = completion::reserves())]
    credit_limit_of: Vec<(PriorityClass, u64)>,
    /// Bytes of the largest message of one class, with --lanes by-class; may be repeated.
    #[arg(long, value_name = "CLASS=BYTES", value_parser = max_message_of)]
    #[arg(add = completion::reserves())]
    max_message_of: Vec<(PriorityClass, usize)>,
    /// How many handles may exist at once [default: 1024].
    #[arg(long)]
    participants: Option<usize>,
}

impl Create {
    pub(crate) fn run(self, builder: Builder) -> anyhow::Result<ExitCode> {
        let builder = self.choose(builder);
        or_usage("create", builder.validate())?;
        if self.size {
            // A ring whose name is not allowed has no size either.
            builder.path(&self.name)?;
            output::say(format!("{}\n", builder.pages().saturating_mul(4096)))?;
            return Ok(ExitCode::SUCCESS);
        }
        match builder.create(&self.name) {
            Err(RingError::File { path, kind: FileError::NameTaken }) => {
                Err(exists(&builder, &self.name, path).into())
            }
            made => made.map(|_| ExitCode::SUCCESS).map_err(Into::into),
        }
    }

    fn choose(&self, mut builder: Builder) -> Builder {
        builder = builder.side_memory(self.side_memory);
        if let Some(slots) = self.capacity {
            builder = builder.capacity(slots);
        }
        if let Some(bytes) = self.max_message {
            builder = builder.max_message(bytes);
        }
        if let Some(timestamps) = self.timestamps {
            builder = builder.timestamps(timestamps);
        }
        if self.histograms {
            builder = builder.latency_histograms(true);
        }
        if let Some(redelivery) = self.redelivery {
            builder = builder.redelivery(redelivery);
        }
        if self.exclusive_producer {
            builder = builder.exclusive_producer();
        }
        if self.exclusive_consumer {
            builder = builder.exclusive_consumer();
        }
        if let Some(limit) = self.credit_limit {
            builder = builder.credit_limit(limit);
        }
        if let Some(participants) = self.participants {
            builder = builder.participants(participants);
        }
        if !self.group.is_empty() {
            builder = builder.groups(self.group.iter().map(String::as_str));
        }
        if self.joinable {
            builder = builder.joinable();
        }
        for &(class, credits) in &self.reserve {
            builder = builder.reserve(class, credits);
        }
        self.choose_lanes(builder)
    }

    fn choose_lanes(&self, mut builder: Builder) -> Builder {
        if let Some(lanes) = self.lanes {
            builder = builder.lanes(lanes);
        }
        for &(class, slots) in &self.capacity_of {
            builder = builder.capacity_of(class, slots);
        }
        for &(class, messages) in &self.credit_limit_of {
            builder = builder.credit_limit_of(class, messages);
        }
        for &(class, bytes) in &self.max_message_of {
            builder = builder.max_message_of(class, bytes);
        }
        builder
    }
}

/// The error that the ring exists, with the settings that differ from those asked for.
fn exists(builder: &Builder, name: &str, path: PathBuf) -> RingError {
    let there = builder.observe(name);
    let differences = there.map(|ring| builder.differences(ring.settings())).unwrap_or_default();
    if differences.is_empty() {
        RingError::File { path, kind: FileError::NameTaken }
    } else {
        RingError::SettingsDiffer { path, differences }
    }
}

/// A class, and a number that is chosen for it.
fn of_class<N: FromStr<Err: Display>>(text: &str) -> Result<(PriorityClass, N), String> {
    let (class, number) = split(text)?;
    let number = number.parse().map_err(|error| format!("{number}: {error}"))?;
    Ok((class, number))
}

fn max_message_of(text: &str) -> Result<(PriorityClass, usize), String> {
    let (class, bytes) = split(text)?;
    Ok((class, max_message(bytes)?))
}

fn split(text: &str) -> Result<(PriorityClass, &str), String> {
    let (class, number) = text.split_once('=').ok_or("write CLASS=NUMBER")?;
    let class = class.parse().map_err(|error| format!("{error}"))?;
    Ok((class, number))
}

fn max_message(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes) if bytes < INLINE_SIZE => Err(format!(
            "a slot holds {INLINE_SIZE} bytes whatever is chosen; write {INLINE_SIZE} or more"
        )),
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether `rm --stale` passes over a file silently: another user's ring, a ring whose state is
/// unknown, a ring that is gone, or a file that is not a ring.
fn is_somebody_elses(error: &RingError) -> bool {
    use FileError::{
        BadLockFile, ForeignOwner, LayoutVersion, LooseDirectory, LooseMode, NoSuchRing, NotARing,
        PermissionDenied, UnknownFeatures,
    };
    let RingError::File { kind, .. } = error else { return false };
    matches!(
        kind,
        PermissionDenied
            | ForeignOwner { .. }
            | LooseMode { .. }
            | LooseDirectory
            | NotARing { .. }
            | LayoutVersion { .. }
            | UnknownFeatures { .. }
            | BadLockFile { .. }
            | NoSuchRing
    )
}

/// Remove rings and their messages; processes that have one open can still use it.
///
/// Refuses what is not a ring: a link, a directory, another file, or a truncated ring. If one of
/// the names cannot be removed, the others are removed, and the exit code is 1.
#[derive(Args)]
pub(crate) struct Remove {
    /// Names of rings.
    #[arg(required_unless_present = "stale", add = completion::rings())]
    names: Vec<String>,
    /// Remove the rings that no living process has open, and print their names.
    #[arg(long, conflicts_with_all = ["names", "force"])]
    stale: bool,
    /// Remove the file even if it is not a ring, for example a truncated ring or a link. A
    /// directory is never removed.
    #[arg(long)]
    force: bool,
}

impl Remove {
    pub(crate) fn run(self, builder: &Builder) -> anyhow::Result<ExitCode> {
        if self.stale {
            for name in builder.list()? {
                match builder.remove_stale(&name) {
                    Ok(true) => output::say(format!("{name}\n"))?,
                    Ok(false) => {}
                    Err(error) if is_somebody_elses(&error) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            builder.sweep()?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut failed = None;
        for name in &self.names {
            if let Err(error) = self.remove(builder, name)
                && let Some(earlier) = failed.replace(error.context(name.clone()))
            {
                output::complain(crate::explain::text(&earlier));
            }
        }
        failed.map_or(Ok(ExitCode::SUCCESS), Err).context("cannot remove")
    }

    fn remove(&self, builder: &Builder, name: &str) -> anyhow::Result<()> {
        match builder.observe(name) {
            Err(RingError::File { path, kind: FileError::NotARing { .. } }) if self.force => {
                Ok(std::fs::remove_file(path)?)
            }
            Err(error @ RingError::File { kind: FileError::NotARing { .. }, .. }) => {
                Err(error.into())
            }
            // Its name can be taken away though it cannot be opened: one of another version, or of
            // somebody who is not trusted. Whether we may, the system says.
            _ => Ok(builder.remove(name)?),
        }
    }
}
