//! Whom a process lets into its rings, and whose rings it opens.
//!
//! `SECURITY.md` says what a trusted peer may do. Even in a trusted ring nothing is believed
//! unchecked.

use std::path::Path;

use rustix::fs::{FileType, Mode, Stat};
use rustix::process::{getegid, geteuid, getgroups};

use crate::error::{FileError, RingError};
use crate::settings::words;

/// Who may take part in a ring: chosen when it is made, and again by whoever opens it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Trust {
    /// The user of this process. A file that belongs to another user, or that others may write to,
    /// is refused.
    #[default]
    OwnUser,
    /// The user and the groups of this process. New files get its effective group and mode 0660.
    /// Another user's file is accepted if its group is one of this process's, since only a member
    /// can give a file to a group. A ring is refused if its directory gives its own group to every
    /// file (set-group-id) and everybody may write to it. There must be no such directory elsewhere
    /// on the same file system either, because a file made there can be moved.
    Group,
    /// Everybody who can reach the file. New files have mode 0666, and every file that can be
    /// opened is accepted.
    Anyone,
}

words!(Trust: OwnUser "own-user", Group "group", Anyone "anyone"; "own-user, group or anyone");

impl Trust {
    /// The mode of the files of a new named ring, and of the locks of an anonymous one.
    pub(crate) fn mode(self) -> Mode {
        let own = Mode::RUSR | Mode::WUSR;
        let group = Mode::RGRP | Mode::WGRP;
        match self {
            Self::OwnUser => own,
            Self::Group => own | group,
            Self::Anyone => own | group | Mode::ROTH | Mode::WOTH,
        }
    }

    /// The mode of an anonymous ring's segment. Trusted users may reopen it for reading. Only its
    /// maker's user may reopen it for writing, since otherwise an observer that has a descriptor
    /// could. Participants are handed a descriptor that can write.
    pub(crate) fn segment_mode(self) -> Mode {
        self.mode() - (Mode::WGRP | Mode::WOTH)
    }

    /// Refuses a file if somebody who is not trusted has made it or could write to it.
    pub(crate) fn check_file(self, path: &Path, status: &Stat) -> Result<(), RingError> {
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            let reason = "it is not a regular file";
            return Err(FileError::NotARing { reason }.at(path));
        }
        if !self.trusts(status.st_uid, status.st_gid) {
            return Err(FileError::ForeignOwner { uid: status.st_uid }.at(path));
        }
        self.check_mode(path, status, Mode::WGRP, Mode::WOTH)?;
        let foreign = status.st_uid != geteuid().as_raw();
        if foreign { self.check_directory(path, || status.st_gid) } else { Ok(()) }
    }

    /// The same for a lock file. Whoever is not trusted must not even be able to read it, since
    /// that is enough to lock it.
    pub(crate) fn check_locks(self, path: &Path, status: &Stat) -> Result<(), RingError> {
        self.check_file(path, status)?;
        self.check_mode(path, status, Mode::RWXG, Mode::RWXO)
    }

    /// Refuses a file whose mode allows others what only trusted users may do.
    fn check_mode(
        self,
        path: &Path,
        status: &Stat,
        of_group: Mode,
        of_others: Mode,
    ) -> Result<(), RingError> {
        let untrusted = match self {
            Self::OwnUser => of_group | of_others,
            Self::Group => of_others,
            Self::Anyone => Mode::empty(),
        };
        let mode = Mode::from_raw_mode(status.st_mode);
        if mode.intersects(untrusted) {
            return Err(FileError::LooseMode { mode: mode.as_raw_mode() }.at(path));
        }
        Ok(())
    }

    /// Refuses to make a ring's file in a directory where other members of the group would refuse
    /// it.
    pub(crate) fn check_directory_of_new(self, path: &Path) -> Result<(), RingError> {
        self.check_directory(path, || getegid().as_raw())
    }

    /// Refuses a file of a group in a directory where everybody can make one.
    fn check_directory(self, path: &Path, group: impl Fn() -> u32) -> Result<(), RingError> {
        if self == Self::Group && gives_its_group_away(path, group()) {
            return Err(FileError::LooseDirectory.at(directory_of(path)));
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
        let is_own_group = || {
            gid == getegid().as_raw()
                || getgroups().is_ok_and(|groups| groups.iter().any(|it| it.as_raw() == gid))
        };
        self == Self::Anyone || uid == geteuid().as_raw() || self == Self::Group && is_own_group()
    }
}

/// Whether everybody can make a file of this group in the directory of `path`.
fn gives_its_group_away(path: &Path, group: u32) -> bool {
    let directory = directory_of(path);
    // A directory that cannot be examined is not trusted.
    rustix::fs::stat(directory).map_or(true, |status| {
        let mode = Mode::from_raw_mode(status.st_mode);
        status.st_gid == group && mode.contains(Mode::SGID) && mode.contains(Mode::WOTH)
    })
}

fn directory_of(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}
