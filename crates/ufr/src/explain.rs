//! Error messages of the command. Where the library's message names a call, these name an option.

use std::path::Path;

use clap::CommandFactory;
use clap::error::ErrorKind;
use ultrafastring::{FileError, RingError, SendError};

use crate::Cli;

/// A usage error of one of the subcommands.
pub(crate) fn usage(subcommand: &str, message: impl std::fmt::Display) -> anyhow::Error {
    let mut cli = Cli::command();
    cli.build();
    match cli.find_subcommand_mut(subcommand) {
        Some(command) => command.error(ErrorKind::ValueValidation, message),
        None => cli.error(ErrorKind::ValueValidation, message),
    }
    .into()
}

/// The text of an error and its causes, each once.
pub(crate) fn text(error: &anyhow::Error) -> String {
    let parts: Vec<_> = error
        .chain()
        .map(|cause| match cause.downcast_ref() {
            Some(error) => of_ring(error),
            None if matches!(cause.downcast_ref(), Some(SendError::Closed)) => {
                "the ring was closed by another process; a new `ufr send` opens it again"
                    .to_string()
            }
            None => cause.to_string(),
        })
        .collect();
    parts.join(": ")
}

fn of_ring(error: &RingError) -> String {
    match error {
        RingError::File { path, kind } => of_file(path, kind).unwrap_or_else(|| error.to_string()),
        RingError::TableFull { participants } => format!(
            "all {participants} entries of the participant table are taken; end some of the ring's \
             users, or make it with more --participants"
        ),
        RingError::SettingsDiffer { path, differences } => {
            let each: Vec<_> = differences.iter().map(ToString::to_string).collect();
            format!(
                "{} exists with other settings: {}; use it as it is, or remove it with `ufr rm`",
                path.display(),
                each.join(", ")
            )
        }
        RingError::NotMadeForGroups => "the ring was not made for groups; read it with `ufr recv` \
            and no --group, or make another one with `ufr create NAME --joinable`"
            .to_string(),
        RingError::MadeForGroups => {
            "the consumers of this ring are groups; name one with --group, \
            or look on with `ufr tail`"
                .to_string()
        }
        RingError::NoSuchGroup { name } => format!(
            "there is no group {:?} to be resumed or removed; `ufr group ls NAME` lists the groups",
            name.as_str()
        ),
        RingError::TooManyGroups { most } => format!(
            "the ring has room for {most} groups, and all are taken; remove one with `ufr group \
             rm`, or make the ring with --joinable, or more --group"
        ),
        RingError::NoFreeLane { .. }
        | RingError::NoTimeOrder { .. }
        | RingError::NoClassLanes { .. } => error
            .to_string()
            .replace("Lanes::ByProducer", "--lanes by-producer:N")
            .replace("Lanes::ByClass", "--lanes by-class")
            .replace("Timestamps::Every", "--timestamps every"),
        other => other.to_string(),
    }
}

/// `None` if the library's message names no call.
fn of_file(path: &Path, kind: &FileError) -> Option<String> {
    let path = path.display();
    Some(match kind {
        FileError::PermissionDenied => format!(
            "{path} is not open to you: permission denied; a ring belongs to the user who made it, \
             unless it was made with --trust"
        ),
        FileError::ForeignOwner { uid } => format!(
            "{path} belongs to user {uid}, not to you; if you trust that user, allow it with \
             --trust"
        ),
        FileError::LooseMode { mode } => format!(
            "{path} has mode {:04o}: others may write to it; change its mode, or allow it with \
             --trust",
            mode & 0o7777
        ),
        FileError::NoDirectory => format!(
            "there is no directory {path}; mount a tmpfs there, or choose another with --directory"
        ),
        FileError::NoSuchRing => {
            format!("there is no ring at {path}; `ufr create` makes one")
        }
        FileError::NotARing { reason } => format!(
            "{path} is not a ring: {reason}; choose another name, or `ufr rm --force` removes it"
        ),
        _ => return None,
    })
}
