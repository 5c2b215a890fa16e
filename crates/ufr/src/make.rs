//! Making and removing rings.

use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Args;
use ultrafastring::{Builder, PriorityClass, Redelivery, RingError, SideMemory, Timestamps};

/// Options of `ufr create`.
#[derive(Args)]
pub(crate) struct Create {
    /// Name of the ring.
    name: String,
    /// Slots, a power of two.
    #[arg(long, default_value_t = ultrafastring::DEFAULT_CAPACITY)]
    capacity: usize,
    /// Bytes of the largest message; those over 40 go into side buffers, one of this size a slot.
    #[arg(long, value_name = "BYTES", default_value_t = ultrafastring::INLINE_SIZE)]
    max_message: usize,
    /// When the memory of side buffers is taken: on-demand, preallocated, or overcommitted.
    #[arg(long, default_value = "on-demand", value_parser = side_memory)]
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
    #[arg(long, value_name = "CLASS=CREDITS", value_parser = reserve)]
    reserve: Vec<(PriorityClass, u64)>,
    /// Which messages carry a timestamp: every, off, or 1/N with N a power of two.
    #[arg(long, default_value = "every", value_parser = timestamps)]
    timestamps: Timestamps,
    /// What becomes of messages whose consumer died: redeliver or discard.
    #[arg(long, default_value = "redeliver", value_parser = redelivery)]
    redelivery: Redelivery,
    /// Handles that may exist at once [default: the library's].
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
        if self.size {
            println!("{}", builder.pages().saturating_mul(4096));
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

fn side_memory(text: &str) -> Result<SideMemory, String> {
    match text {
        "on-demand" => Ok(SideMemory::OnDemand),
        "preallocated" => Ok(SideMemory::Preallocated),
        "overcommitted" => Ok(SideMemory::Overcommitted),
        _ => Err("write on-demand, preallocated or overcommitted".to_string()),
    }
}

fn redelivery(text: &str) -> Result<Redelivery, String> {
    match text {
        "redeliver" => Ok(Redelivery::Redeliver),
        "discard" => Ok(Redelivery::Discard),
        _ => Err("write redeliver or discard".to_string()),
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
            | RingError::BadLocks { .. }
            | RingError::NoSuchRing { .. }
    )
}

/// Options of `ufr rm`.
#[derive(Args)]
pub(crate) struct Remove {
    /// Names of rings.
    #[arg(required_unless_present = "stale")]
    names: Vec<String>,
    /// Remove the rings that nobody alive has open, their messages with them.
    #[arg(long, conflicts_with = "names")]
    stale: bool,
}

impl Remove {
    pub(crate) fn run(self, builder: &Builder) -> anyhow::Result<ExitCode> {
        if self.stale {
            for name in builder.list()? {
                match builder.remove_stale(&name) {
                    Ok(true) => println!("{name}"),
                    Ok(false) => {}
                    Err(error) if is_somebody_elses(&error) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            builder.sweep()?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut failed = None;
        for name in self.names {
            if let Err(error) = builder.remove(&name)
                && let Some(earlier) = failed.replace(anyhow!(error).context(name))
            {
                eprintln!("ufr: {earlier:#}");
            }
        }
        failed.map_or(Ok(ExitCode::SUCCESS), Err).context("cannot remove")
    }
}
