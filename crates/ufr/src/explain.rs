//! Errors in the words of the command: what its user can do, where the library's texts name calls.

use std::io::ErrorKind;

use clap::CommandFactory;
use clap::error::ErrorKind as UsageKind;
use ultrafastring::{RingError, SendError};

use crate::Cli;

/// A usage error of one of the subcommands.
pub(crate) fn usage(subcommand: &str, message: impl std::fmt::Display) -> anyhow::Error {
    let mut cli = Cli::command();
    cli.build();
    match cli.find_subcommand_mut(subcommand) {
        Some(command) => command.error(UsageKind::ValueValidation, message),
        None => cli.error(UsageKind::ValueValidation, message),
    }
    .into()
}

/// An error and what led to it, each said once.
pub(crate) fn text(error: &anyhow::Error) -> String {
    let mut parts = Vec::new();
    for cause in error.chain() {
        if let Some(error) = cause.downcast_ref::<RingError>() {
            // Its own text says its source.
            parts.push(of_ring(error));
            break;
        }
        parts.push(match cause.downcast_ref::<SendError>() {
            Some(SendError::Closed) => {
                "the ring was closed by another process; a new `ufr send` opens it again"
                    .to_string()
            }
            _ => cause.to_string(),
        });
    }
    parts.join(": ")
}

fn of_ring(error: &RingError) -> String {
    match error {
        RingError::PermissionDenied { path } => format!(
            "{}: permission denied; a ring belongs to the user who made it, unless it was made \
             with --trust",
            path.display()
        ),
        RingError::ForeignOwner { path, uid } => format!(
            "{} belongs to user {uid}, not to you; --trust can allow it, for those who trust that \
             user",
            path.display()
        ),
        RingError::LooseMode { path, mode } => format!(
            "{} has mode {:04o}: others may write to it; change its mode, or allow it with --trust",
            path.display(),
            mode & 0o7777
        ),
        RingError::NoDirectory { path } => no_directory(path),
        RingError::Io { action: "list", path, source } if source.kind() == ErrorKind::NotFound => {
            no_directory(path)
        }
        RingError::NoSuchRing { path } => {
            format!("there is no ring at {}; `ufr create` makes one", path.display())
        }
        RingError::TableFull { participants } => format!(
            "all {participants} entries of the participant table are taken; end some of the ring's \
             users, or make it with more --participants"
        ),
        other => other.to_string(),
    }
}

fn no_directory(path: &std::path::Path) -> String {
    format!(
        "there is no directory {}; mount a tmpfs there, or choose another with --directory",
        path.display()
    )
}
