//! Why a ring was not made, opened, removed, or joined.

#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use core::fmt;
#[cfg(feature = "std")]
use std::path::{Path, PathBuf};
#[cfg(feature = "std")]
use std::string::String;

use thiserror::Error;

#[cfg(feature = "std")]
use super::file::{self, FileError};
use crate::choices::GroupDifferences;
use crate::name::ParticipantName;
#[cfg(feature = "std")]
use crate::settings::Difference;
use crate::settings::{Invalid, Lanes, Sharing, Side, Timestamps};

/// Who holds an exclusive side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Process id, as the holder itself sees it.
    pub pid: u32,
    /// The name that the program gave its handle.
    pub name: ParticipantName,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)?;
        if !self.name.as_str().is_empty() {
            write!(f, " ({})", self.name.as_str())?;
        }
        Ok(())
    }
}

/// A ring could not be made, opened, removed, or joined.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RingError {
    /// A number chosen for a new ring is out of range.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// There is not enough memory for the segment.
    #[error(
        "there is not enough memory for a segment of {bytes} bytes; lower the capacity or the \
         largest message"
    )]
    OutOfMemory {
        /// What the segment would take.
        bytes: usize,
    },
    /// An exclusive side has its one handle already.
    #[error(fmt = side_taken)]
    SideTaken {
        /// The side.
        side: Side,
        /// Its holder, if it has said who it is.
        holder: Option<Holder>,
    },
    /// A shared handle was requested on an exclusive side, or an exclusive one on a shared side.
    #[error(
        "the {side} side of this ring is {actual}; take {}{side}()",
        if *actual == Sharing::Exclusive { "its handle with exclusive_" } else { "a handle with " }
    )]
    WrongSharing {
        /// The side.
        side: Side,
        /// What it is.
        actual: Sharing,
    },
    /// A typed handle was requested of a ring with lanes.
    #[error("this ring has lanes; take its handles with producer() and consumer()")]
    HasLanes,
    /// Each lane of a ring with lanes by producer has its owner.
    #[cfg(feature = "alloc")]
    #[error(fmt = no_free_lane)]
    NoFreeLane {
        /// How many lanes there are.
        lanes: usize,
        /// Their owners, as far as they have said who they are.
        owners: Vec<Holder>,
    },
    /// A consumer was to receive in time order from a ring that has none.
    #[error(fmt = no_time_order)]
    NoTimeOrder {
        /// The ring's lanes: time order is between those of producers.
        lanes: Lanes,
        /// Its timestamps: each message has to have one.
        timestamps: Timestamps,
    },
    /// Lanes were to age that are not those of classes.
    #[error(
        "the lanes of this ring are {lanes}, and only lanes by class age; make a ring with \
         Lanes::ByClass"
    )]
    NoClassLanes {
        /// The ring's lanes.
        lanes: Lanes,
    },
    /// The ring is closed, and the call does not open it again.
    #[error("the ring is closed; producer(), or reopen(), opens it for another stream")]
    Closed,
    /// The ring was not made for groups: all its consumers share the messages.
    #[error(
        "the ring was not made for groups; make one with Builder::joinable or Builder::groups, or \
         take its consumers with consumer()"
    )]
    NotMadeForGroups,
    /// The ring was made for groups, and a consumer was requested without a group.
    #[error("the consumers of this ring are groups; take part in one with join(name)")]
    MadeForGroups,
    /// There is no group of this name, or it is closed and was to be resumed.
    #[error("there is no group {:?} to be resumed or removed; join it with a start", name.as_str())]
    NoSuchGroup {
        /// The name.
        name: ParticipantName,
    },
    /// The group exists with other settings than were chosen.
    #[error(
        "the group {:?} is {differences}; ask for the same, or do not say how it is to be",
        name.as_str()
    )]
    GroupDiffers {
        /// The name.
        name: ParticipantName,
        /// The group's settings that differ.
        differences: GroupDifferences,
    },
    /// There is no room for another group.
    #[error(
        "the ring has room for {most} groups, and all are taken; remove one (remove_group), or \
         make the ring for more"
    )]
    TooManyGroups {
        /// How many there can be.
        most: usize,
    },
    /// An exclusive group has its one member already.
    #[error("the exclusive group {:?} has its member; wait until it leaves", name.as_str())]
    GroupTaken {
        /// The name.
        name: ParticipantName,
    },
    /// A group with living members cannot be removed.
    #[error("the group {:?} has members; it can be removed when they have left", name.as_str())]
    GroupInUse {
        /// The name.
        name: ParticipantName,
    },
    /// Another process was opening the group, or changing the table of groups, for the whole wait.
    #[error(
        "somebody has been opening the group {:?} for long, and may be stopped; try again",
        name.as_str()
    )]
    Busy {
        /// The name.
        name: ParticipantName,
    },
    /// Every entry of the participant table is in use by a living participant, or waits for
    /// recovery.
    #[error(
        "all {participants} entries of the participant table are taken; drop handles, or make the \
         ring with a larger table"
    )]
    TableFull {
        /// The size of the table.
        participants: usize,
    },
    /// The name cannot be a ring's. A name has 1 to 200 bytes, does not begin with a dot, and
    /// contains no slash, no control character, and none that changes the direction of text.
    #[cfg(feature = "std")]
    #[error(
        "{name:?} cannot be a ring's name: 1 to 200 bytes, no slash, no leading dot, no control \
         character and none that turns the direction of text"
    )]
    BadName {
        /// The name.
        name: String,
    },
    /// Something is wrong with a file: the ring's, its lock file, or their directory.
    #[cfg(feature = "std")]
    #[error(fmt = file::trouble)]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        kind: FileError,
    },
    /// The ring exists with other settings than were chosen: see
    /// [`Builder::open_or_create`](crate::Builder::open_or_create).
    #[cfg(feature = "std")]
    #[error(fmt = settings_differ)]
    SettingsDiffer {
        /// The ring's file.
        path: PathBuf,
        /// Each setting that differs: its value in the ring, and the chosen one.
        differences: Vec<Difference>,
    },
    /// The process at the other end of the socket belongs to another user.
    #[cfg(feature = "std")]
    #[error(fmt = foreign_peer)]
    ForeignPeer {
        /// Its process id; 0 if it cannot be seen from here.
        pid: u32,
        /// Its user id.
        uid: u32,
    },
    /// The ring cannot be handed over, or what was handed over is not a ring.
    #[cfg(feature = "std")]
    #[error("no ring can be handed over this way: {reason}")]
    NotHandedOver {
        /// Why.
        reason: &'static str,
    },
    /// The system does not let this process make memory files.
    #[cfg(feature = "std")]
    #[error(
        "this process may not make memory files (memfd_create is forbidden or unknown); use a \
         named ring, or allow the call"
    )]
    NoMemoryFile,
}

#[cfg(feature = "std")]
impl FileError {
    /// The error about this file.
    pub(crate) fn at(self, path: impl Into<PathBuf>) -> RingError {
        RingError::File { path: path.into(), kind: self }
    }
}

fn side_taken(
    side: &Side,
    holder: &Option<Holder>,
    f: &mut fmt::Formatter<'_>,
) -> Result<(), fmt::Error> {
    write!(f, "the exclusive {side} side is held by ")?;
    match holder {
        Some(holder) => write!(f, "{holder}")?,
        None => f.write_str("another handle")?,
    }
    f.write_str("; wait until it leaves, or make the ring with that side shared")
}

fn no_time_order(
    lanes: &Lanes,
    timestamps: &Timestamps,
    f: &mut fmt::Formatter<'_>,
) -> Result<(), fmt::Error> {
    f.write_str("messages of this ring cannot be received in time order: ")?;
    if let Lanes::ByProducer(_) = lanes {
        return write!(
            f,
            "its timestamps are {timestamps}, and each message needs one; make a ring with \
             Timestamps::Every"
        );
    }
    write!(
        f,
        "its lanes are {lanes}; make a ring with a lane for each producer (Lanes::ByProducer)"
    )
}

#[cfg(feature = "alloc")]
fn no_free_lane(
    lanes: &usize,
    owners: &[Holder],
    f: &mut fmt::Formatter<'_>,
) -> Result<(), fmt::Error> {
    /// As many owners are named.
    const MOST: usize = 4;
    write!(f, "each of the {lanes} lanes of this ring has its owner")?;
    for (place, owner) in owners.iter().take(MOST).enumerate() {
        write!(f, "{} {owner}", if place == 0 { ":" } else { "," })?;
    }
    if owners.len() > MOST {
        write!(f, ", and {} more", owners.len() - MOST)?;
    }
    f.write_str("; wait until one leaves, or make the ring with more lanes (Lanes::ByProducer)")
}

#[cfg(feature = "std")]
fn settings_differ(
    path: &Path,
    differences: &[Difference],
    f: &mut fmt::Formatter<'_>,
) -> Result<(), fmt::Error> {
    write!(f, "{} exists with other settings", path.display())?;
    for (place, difference) in differences.iter().enumerate() {
        write!(f, "{} {difference}", if place == 0 { ":" } else { "," })?;
    }
    f.write_str("; choose the same, accept it as it is (Builder::accept_existing), or remove it")
}

#[cfg(feature = "std")]
fn foreign_peer(pid: &u32, uid: &u32, f: &mut fmt::Formatter<'_>) -> Result<(), fmt::Error> {
    f.write_str("the other end of the socket is ")?;
    match pid {
        0 => f.write_str("a process that cannot be seen from here")?,
        pid => write!(f, "process {pid}")?,
    }
    write!(f, " of user {uid}, not you; Builder::trust can allow it")
}
