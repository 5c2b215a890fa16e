//! Making and removing rings.

use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use ultrafastring::{
    Builder, INLINE_SIZE, PriorityClass, Redelivery, RingError, SideMemory, Timestamps,
};

use crate::{completion, or_usage, output};

/// Make a ring; both sides are shared unless asked otherwise.
///
/// What is chosen here holds for as long as the ring is there: `send` and `recv` open it as it is. A
/// ring that they make themselves, because there is none, has the defaults.
#[derive(Args)]
pub(crate) struct Create {
    /// Name of the ring: 1 to 200 bytes, no slash, no leading dot, no control character and none that
    /// turns the direction of text.
    name: String,
    /// Slots, a power of two: messages that may be in the ring at a time.
    #[arg(long, default_value_t = ultrafastring::DEFAULT_CAPACITY)]
    capacity: usize,
    /// Bytes of the largest message, 40 or more; those over 40 go into side buffers, one of this
    /// size a slot.
    #[arg(long, value_name = "BYTES", default_value_t = INLINE_SIZE, value_parser = max_message)]
    max_message: usize,
    /// When the memory of side buffers is taken.
    #[arg(long, default_value = "on-demand")]
    #[arg(value_parser = PossibleValuesParser::new(["on-demand", "preallocated", "overcommitted"])
        .map(side_memory))]
    side_memory: SideMemory,
    /// Only say how many bytes the ring would have, and make nothing.
    #[arg(long)]
    size: bool,
    /// One producer at a time: cheaper than many.
    #[arg(long)]
    exclusive_producer: bool,
    /// One consumer at a time: cheaper than many.
    #[arg(long)]
    exclusive_consumer: bool,
    /// Messages that may be in flight [default: the capacity].
    #[arg(long, value_name = "MESSAGES")]
    credit_limit: Option<u64>,
    /// Credits that less urgent classes cannot touch, such as real-time=16; may be repeated.
    #[arg(long, value_name = "CLASS=CREDITS", value_parser = reserve, add = completion::reserves())]
    reserve: Vec<(PriorityClass, u64)>,
    /// Which messages carry a timestamp: every, off, or 1/N with N a power of two from 2 to 65536.
    #[arg(long, default_value = "every", value_parser = timestamps)]
    #[arg(add = completion::timestamps())]
    timestamps: Timestamps,
    /// What becomes of messages whose consumer died before it was done with them.
    ///
    /// `redeliver`: another consumer gets them, marked; on a shared consumer side after messages that
    /// are already in other hands. `discard`: they are dropped and counted.
    #[arg(long, default_value = "redeliver")]
    #[arg(value_parser = PossibleValuesParser::new(["redeliver", "discard"]).map(redelivery))]
    redelivery: Redelivery,
    /// Handles that may exist at once [default: 64].
    #[arg(long)]
    participants: Option<usize>,
}

impl Create {
    pub(crate) fn run(self, mut builder: Builder) -> anyhow::Result<ExitCode> {
        builder = builder
            .capacity(self.capacity)
            .max_message(self.max_message)
            .side_memory(self.side_memory)
            .timestamps(self.timestamps)
            .redelivery(self.redelivery);
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
        for (class, credits) in self.reserve {
            builder = builder.reserve(class, credits);
        }
        or_usage("create", builder.validate())?;
        if self.size {
            // Of a ring that cannot be made, for its name, none is said either.
            builder.path(&self.name)?;
            output::say(format!("{}\n", builder.pages().saturating_mul(4096)))?;
            return Ok(ExitCode::SUCCESS);
        }
        builder.create(&self.name)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn reserve(text: &str) -> Result<(PriorityClass, u64), String> {
    let (class, credits) = text.split_once('=').ok_or("write CLASS=CREDITS")?;
    let class = class.parse().map_err(|error| format!("{error}"))?;
    let credits = credits.parse().map_err(|error| format!("{credits}: {error}"))?;
    Ok((class, credits))
}

fn timestamps(text: &str) -> Result<Timestamps, String> {
    match text {
        "every" => Ok(Timestamps::Every),
        "off" => Ok(Timestamps::Off),
        _ => text
            .strip_prefix("1/")
            .and_then(|n| n.parse().ok())
            .map(Timestamps::OneIn)
            .ok_or_else(|| "write every, off, or 1/N".to_string()),
    }
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

fn side_memory(text: String) -> SideMemory {
    match &*text {
        "preallocated" => SideMemory::Preallocated,
        "overcommitted" => SideMemory::Overcommitted,
        _ => SideMemory::OnDemand,
    }
}

/// Whether a file is not to be cleared up with what is stale: another user's ring, one that cannot be
/// judged, one that is gone, or what is no ring.
fn is_somebody_elses(error: &RingError) -> bool {
    matches!(
        error,
        RingError::PermissionDenied { .. }
            | RingError::ForeignOwner { .. }
            | RingError::LooseMode { .. }
            | RingError::LooseDirectory { .. }
            | RingError::NotARing { .. }
            | RingError::LayoutVersion { .. }
            | RingError::BadLockFile { .. }
            | RingError::NoSuchRing { .. }
    )
}

fn redelivery(text: String) -> Redelivery {
    match &*text {
        "discard" => Redelivery::Discard,
        _ => Redelivery::Redeliver,
    }
}

/// Remove rings and their messages; processes that have one open go on with it.
///
/// Refuses what is not a ring: a link, a directory, another file, or a file that was cut. If one of the
/// names cannot be removed, the others still are, and the exit code is 1.
#[derive(Args)]
pub(crate) struct Remove {
    /// Names of rings.
    #[arg(required_unless_present = "stale", add = completion::rings())]
    names: Vec<String>,
    /// Remove the rings that nobody alive has open, and print their names.
    #[arg(long, conflicts_with_all = ["names", "force"])]
    stale: bool,
    /// Remove the file of that name whatever it is, if it is no directory: a ring that was cut, or a
    /// link.
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
            Err(RingError::NotARing { path, .. }) if self.force => Ok(std::fs::remove_file(path)?),
            Err(error @ RingError::NotARing { .. }) => {
                Err(anyhow!("{error}; --force removes it nevertheless"))
            }
            // Its name can be taken away though it cannot be opened: one of another version, or of
            // somebody who is not trusted. Whether we may, the system says.
            _ => Ok(builder.remove(name)?),
        }
    }
}
