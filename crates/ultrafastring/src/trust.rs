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
    /// The user and the groups of this process. New files get its effective group and mode 0660.
    /// Another user's file is believed if its group is one of this process's, since only a member can
    /// give a file to a group. A ring in a directory that gives its own group to every file
    /// (set-group-id) and that everybody may write to is refused. There must be no such directory
    /// elsewhere on the same file system either: a file that was made there can be moved.
    Group,
    /// Whoever can reach it: new files have mode 0666, and any file is opened that lets itself be.
    Anyone,
}

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

    /// The mode of an anonymous ring's segment: whose user is trusted may open it anew to read. To
    /// write nobody may but its maker's user, since an observer that has a descriptor of it could;
    /// who takes part is handed one that can be written through.
    pub(crate) fn segment_mode(self) -> Mode {
        self.mode() - (Mode::WGRP | Mode::WOTH)
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
        self.check_mode(path, status, Mode::WGRP, Mode::WOTH)?;
        let foreign = status.st_uid != geteuid().as_raw();
        if self == Self::Group && foreign && gives_its_group_away(path, status.st_gid) {
            return Err(loose_directory(path));
        }
        Ok(())
    }

    /// The same of a lock file, which nobody may even read who is not trusted: a lock needs no more.
    pub(crate) fn check_locks(self, path: &Path, status: &Stat) -> Result<(), RingError> {
        self.check_file(path, status)?;
        self.check_mode(path, status, Mode::RWXG, Mode::RWXO)
    }

    /// Refuses a file whose mode lets others do what only those may whom this trusts.
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
            return Err(RingError::LooseMode { path: path.into(), mode: mode.as_raw_mode() });
        }
        Ok(())
    }

    /// Refuses to make a ring's file where others of the group would have to refuse it.
    pub(crate) fn check_directory_of_new(self, path: &Path) -> Result<(), RingError> {
        if self == Self::Group && gives_its_group_away(path, getegid().as_raw()) {
            return Err(loose_directory(path));
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

/// Whether everybody can have a file of this group in the directory of `path`.
fn gives_its_group_away(path: &Path, group: u32) -> bool {
    let directory = directory_of(path);
    // What cannot be looked at is not believed in.
    rustix::fs::stat(directory).map_or(true, |status| {
        let mode = Mode::from_raw_mode(status.st_mode);
        status.st_gid == group && mode.contains(Mode::SGID) && mode.contains(Mode::WOTH)
    })
}

fn loose_directory(path: &Path) -> RingError {
    RingError::LooseDirectory { path: directory_of(path).into() }
}

fn directory_of(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}
