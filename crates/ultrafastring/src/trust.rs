//! Whom a process lets into its rings, and into whose rings it goes.
//!
//! What a trusted peer may do is written in `SECURITY.md`; that a ring is opened at all does not
//! mean that anything in it is believed.

use std::path::Path;

use rustix::fs::{FileType, Mode, Stat};
use rustix::process::{getegid, geteuid, getgroups};

use crate::RingError;

/// Who may take part in a ring: chosen when it is made, and again by whoever opens it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Trust {
    /// The user of this process. A file that belongs to another user, or that others may write to,
    /// is refused.
    #[default]
    OwnUser,
    /// Besides, those of a group of this process: new files belong to its effective group, with
    /// mode 0660.
    Group,
    /// Whoever can reach it: new files have mode 0666, and any file is opened that lets itself be.
    Anyone,
}

impl Trust {
    /// The mode of a new segment's file.
    pub(crate) fn mode(self) -> Mode {
        let own = Mode::RUSR | Mode::WUSR;
        let group = Mode::RGRP | Mode::WGRP;
        match self {
            Self::OwnUser => own,
            Self::Group => own | group,
            Self::Anyone => own | group | Mode::ROTH | Mode::WOTH,
        }
    }

    /// Refuses a file that somebody has made, or could write to, whom this does not trust.
    pub(crate) fn check_file(self, path: &Path, status: &Stat) -> Result<(), RingError> {
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            let reason = "it is not a regular file";
            return Err(RingError::NotARing { path: path.into(), reason });
        }
        let trusted = self.trusts(status.st_uid, status.st_gid);
        if !trusted {
            return Err(RingError::ForeignOwner { path: path.into(), uid: status.st_uid });
        }
        let untrusted_writers = match self {
            Self::OwnUser => Mode::WGRP | Mode::WOTH,
            Self::Group => Mode::WOTH,
            Self::Anyone => Mode::empty(),
        };
        let mode = Mode::from_raw_mode(status.st_mode);
        if mode.intersects(untrusted_writers) {
            return Err(RingError::LooseMode { path: path.into(), mode: mode.as_raw_mode() });
        }
        Ok(())
    }

    /// Refuses a peer at the other end of a socket.
    pub(crate) fn check_peer(self, peer: libc::ucred) -> Result<(), RingError> {
        if self.trusts(peer.uid, peer.gid) {
            Ok(())
        } else {
            Err(RingError::ForeignPeer { pid: peer.pid as u32, uid: peer.uid })
        }
    }

    fn trusts(self, uid: u32, gid: u32) -> bool {
        match self {
            Self::OwnUser => uid == geteuid().as_raw(),
            Self::Group => {
                uid == geteuid().as_raw()
                    || gid == getegid().as_raw()
                    || getgroups().is_ok_and(|groups| groups.iter().any(|it| it.as_raw() == gid))
            }
            Self::Anyone => true,
        }
    }
}
