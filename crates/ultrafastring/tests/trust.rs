//! Whom and what a process believes: files that are no rings, other users, anonymous rings handed
//! over a socket, observers.

#![cfg(all(feature = "std", not(loom)))]

mod common;
#[path = "common/shapes.rs"]
mod shapes;

use std::fs::{File, OpenOptions};
use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::actor::{self, Actor, order, say};
use common::{Numbered, patiently, skip, stage};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use shapes::{Between, NAMES, Shape, Shared, of_each_shape, of_shape, on_each_shape};
use tempfile::TempDir;
use ultrafastring::FileError;
use ultrafastring::layout::LAYOUT_VERSION;
use ultrafastring::{
    Builder, Evidence, PriorityClass, RecvError, RingError, Side, Trust, UltraFastRing,
};

const NORMAL: PriorityClass = PriorityClass::Normal;
const NAME: &str = "stage";
const SOCKET: &str = "socket";
/// The greeting that travels with an anonymous ring.
const GREETING: &[u8; 8] = b"UFRring\0";
/// Some user and group that is not the one who runs the tests, who must be root to play it.
const OTHER: u32 = 65_533;
const COMMON_GROUP: u32 = 65_532;

fn at(directory: &TempDir) -> Builder {
    Builder::new().directory(directory.path()).capacity(16).participants(4)
}

/// Whether other users can be played; said aloud where they cannot.
fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip("other users can be played by root only");
    }
    root
}

// ---- acting ------------------------------------------------------------------------------

#[test]
fn an_actor_plays_its_part() {
    let Some((words, directory)) = actor::part() else { return };
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    if NAMES.contains(&words[0]) {
        of_shape(words[0], of_each_shape!(play))(&words[1..], &directory);
    } else {
        play::<Between<Shared, Shared>>(&words, &directory);
    }
}

fn play<S: Shape>(words: &[&str], directory: &Path) {
    let builder = Builder::new().directory(directory).participant_name(words[0]);
    let number = |place: usize| words[place].parse::<u64>().unwrap();
    let socket = || UnixStream::connect(directory.join(SOCKET)).unwrap();
    match words[0] {
        "take-and-stream" => {
            let ring = builder.trust(Trust::Anyone).take_from(&socket()).unwrap();
            let mut producer = S::producer(&ring);
            say("taken");
            for message in 0..number(1) {
                let message = Numbered::new(1, message);
                patiently("room", || producer.try_send(message, NORMAL).ok());
            }
        }
        "take-and-hold" => {
            let ring = builder.take_from(&socket()).unwrap();
            let mut consumer = S::consumer(&ring);
            patiently("a message", || consumer.try_borrow().ok().map(std::mem::forget));
            say("holding");
            order();
        }
        "take-and-claim" => {
            let ring = builder.take_from(&socket()).unwrap();
            let mut producer = S::producer(&ring);
            std::mem::forget(producer.try_reserve(4, NORMAL).unwrap());
            say("claimed");
            order();
        }
        "open-and-hold" => {
            let ring = builder.open(NAME).unwrap();
            let mut consumer = S::consumer(&ring);
            patiently("a message", || consumer.try_borrow().ok().map(std::mem::forget));
            say("holding");
            order();
        }
        "open-as-group" => {
            match builder.open(NAME) {
                Err(RingError::File { kind: FileError::ForeignOwner { .. }, .. }) => say("refused"),
                other => say(&format!("{other:?}")),
            }
            let ring = builder.trust(Trust::Group).open(NAME).unwrap();
            ring.send_fast(b"from the group", NORMAL).unwrap();
            say("sent");
        }
        "open-as-stranger" => {
            let by = |trust| builder.clone().trust(trust).open(NAME).map(|_| ());
            let all = [Trust::OwnUser, Trust::Group, Trust::Anyone].map(by);
            let denied = all.iter().all(|it| {
                matches!(it, Err(RingError::File { kind: FileError::PermissionDenied, .. }))
            });
            say(if denied { "denied" } else { "let in" });
            let squatting = builder.create("squatted").map(|_| ());
            say(if squatting.is_ok() { "squatting" } else { "kept out" });
            order();
        }
        "observe-only-readable" => {
            let builder = builder.trust(Trust::Anyone);
            assert!(matches!(
                builder.open(NAME),
                Err(RingError::File { kind: FileError::PermissionDenied, .. })
            ));
            assert!(matches!(
                builder.remove_stale(NAME),
                Err(RingError::File { kind: FileError::PermissionDenied, .. })
            ));
            let observer = builder.observe(NAME).unwrap();
            assert!(observer.is_open_elsewhere().is_none());
            loop {
                let alive = |side| {
                    let there: Vec<_> =
                        observer.participants().filter(|it| it.side == side).collect();
                    assert!(there.iter().all(|it| it.evidence == Evidence::Process));
                    there.iter().any(|it| it.alive)
                };
                let [producers, consumers] = [Side::Producer, Side::Consumer].map(alive);
                let findings = observer.examine().unwrap().len();
                say(&format!("{} {producers} {consumers} {findings}", observer.len()));
                order();
            }
        }
        "lock-what-can-be-read" => {
            let builder = builder.trust(Trust::Anyone);
            for path in files_of(directory) {
                let readable = File::open(&path);
                if path == builder.path(NAME).unwrap() {
                    let file = readable.unwrap();
                    assert!(lock_for_reading(&file, 0, 0), "a read lock needs no more");
                    std::mem::forget(file);
                } else {
                    assert_eq!(readable.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
                }
            }
            let _observer = builder.observe(NAME).unwrap();
            for descriptor in ring_descriptors() {
                assert!(writable(&descriptor).is_none(), "{}", descriptor.display());
            }
            say("locked");
            order();
        }
        "observe-and-try-to-write" => {
            let observer = builder.trust(Trust::Anyone).observe_from(&socket()).unwrap();
            let mut tried = 0;
            for path in ring_descriptors() {
                tried += 1;
                assert!(writable(&path).is_none(), "it could be opened anew for writing");
                let file = File::open(&path).unwrap();
                assert!(!maps_for_writing(&file));
                assert!(file.set_permissions(PermissionsExt::from_mode(0o666)).is_err());
                assert!(lock_for_reading(&file, 0, 0), "a read lock needs no more");
                std::mem::forget(file);
            }
            assert!(observer.is_open_elsewhere().is_none());
            say(&format!("{tried} {}", observer.len()));
            order();
        }
        "create-in-given-directory" => {
            let builder = builder.trust(Trust::Group);
            match builder.create(NAME) {
                Ok(_) => say("made"),
                Err(error) => say(&error.to_string()),
            }
        }
        "create-and-loosen" => {
            // What somebody does who is no member of the directory's group.
            drop(builder.create(NAME).unwrap());
            for path in files_of(directory) {
                std::fs::set_permissions(path, PermissionsExt::from_mode(0o660)).unwrap();
            }
            say("made");
        }
        "open-in-given-directory" => match builder.trust(Trust::Group).open(NAME) {
            Ok(_) => say("opened"),
            Err(error) => say(&error.to_string()),
        },
        "connect" => {
            let socket = socket();
            say("connected");
            order();
            drop(socket);
        }
        role => panic!("there is no role {role}"),
    }
}

/// Starts an actor as another user and group.
fn start_as_other(directory: &Path, role: &str, group: u32) -> Actor {
    let mut command = Command::new(std::env::current_exe().unwrap());
    // Setting the user drops the other groups too.
    command.uid(OTHER).gid(group);
    Actor::start_as(command, directory, role)
}

/// The files of the ring: its segment and its lock file.
fn files_of(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().contains(NAME))
        .collect();
    files.sort();
    files
}

fn lock_file_of(directory: &Path) -> PathBuf {
    let [lock_file, _] = &files_of(directory)[..] else { panic!("a ring is two files") };
    assert!(lock_file.to_string_lossy().contains(".lock-"));
    lock_file.clone()
}

/// Takes a lock that others may share, on `length` bytes; 0: to the end of all files.
fn lock_for_reading(file: &File, start: i64, length: i64) -> bool {
    // SAFETY: plain numbers, for which zeros are a value.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_RDLCK as i16;
    lock.l_start = start;
    lock.l_len = length;
    // SAFETY: the descriptor is open, and one `flock` is read and written.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw mut lock) == 0 }
}

/// The descriptors of this process that are of a ring, as paths by which they can be opened anew.
fn ring_descriptors() -> Vec<PathBuf> {
    let of_ring = |path: &PathBuf| {
        std::fs::read_link(path).is_ok_and(|it| {
            let it = it.to_string_lossy();
            it.contains("ultrafastring") && it.contains("memfd") || it.contains(NAME)
        })
    };
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap();
    descriptors.map(|entry| entry.unwrap().path()).filter(of_ring).collect()
}

/// The file, opened anew for writing, if that is allowed.
fn writable(path: &Path) -> Option<File> {
    OpenOptions::new().read(true).write(true).open(path).ok()
}

/// Whether a file can be mapped so that its memory can be written.
fn maps_for_writing(file: &File) -> bool {
    let map = |protection| {
        // SAFETY: a new mapping, which nobody uses.
        unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                4096,
                protection,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        }
    };
    if map(libc::PROT_READ | libc::PROT_WRITE) != libc::MAP_FAILED {
        return true;
    }
    let readable = map(libc::PROT_READ);
    assert_ne!(readable, libc::MAP_FAILED);
    // SAFETY: a mapping of this function's own.
    unsafe { libc::mprotect(readable, 4096, libc::PROT_READ | libc::PROT_WRITE) == 0 }
}

// ---- files that are no rings ---------------------------------------------------------------

/// The error that opening the ring gives.
#[track_caller]
fn refusal(builder: &Builder) -> RingError {
    let observed = builder.observe(NAME).expect_err("an observer took it for a ring");
    let opened = builder.open(NAME).expect_err("it was taken for a ring");
    assert_eq!(observed.to_string(), opened.to_string());
    opened
}

/// A whole ring's file, to be spoiled; its lock file stays.
fn whole_file(builder: &Builder) -> Vec<u8> {
    drop(builder.create(NAME).unwrap());
    let path = builder.path(NAME).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    bytes
}

fn write_file(builder: &Builder, bytes: &[u8]) {
    let path = builder.path(NAME).unwrap();
    let _ = std::fs::remove_file(&path);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_file_that_is_empty_zeros_noise_cut_or_too_long_is_refused_with_the_reason() {
    let directory = stage();
    let builder = at(&directory);
    let whole = whole_file(&builder);
    let noise: Vec<u8> = (0..whole.len() as u64)
        .map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect();
    let cut = |length: usize| whole[..length].to_vec();
    let longer = |by: usize| {
        let mut bytes = whole.clone();
        bytes.resize(bytes.len() + by, 0);
        bytes
    };
    for (bytes, reason) in [
        (vec![], "too short for a header"),
        (cut(511), "too short for a header"),
        (vec![0; whole.len()], "does not begin as a ring does"),
        (noise, "does not begin as a ring does"),
        (cut(512), "shorter than its header says"),
        (cut(4096), "shorter than its header says"),
        (cut(whole.len() - 1), "shorter than its header says"),
        (longer(1), "longer than its header says"),
        (longer(4096), "longer than its header says"),
    ] {
        write_file(&builder, &bytes);
        let error = refusal(&builder);
        assert!(
            matches!(error, RingError::File { kind: FileError::NotARing { .. }, .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains(reason), "{error}");
    }
    write_file(&builder, &whole);
    builder.open(NAME).unwrap();
}

#[test]
fn another_layout_version_is_refused_naming_both() {
    let directory = stage();
    let builder = at(&directory);
    let mut bytes = whole_file(&builder);
    let next = u64::from(LAYOUT_VERSION) + 1;
    for (word, shown) in [(0, "0"), (1, "1"), (next, &*next.to_string()), (u64::MAX, "4294967295")]
    {
        bytes[8..16].copy_from_slice(&word.to_ne_bytes());
        write_file(&builder, &bytes);
        let error = refusal(&builder);
        assert!(
            matches!(error, RingError::File { kind: FileError::LayoutVersion { .. }, .. }),
            "{error:?}"
        );
        let text = error.to_string();
        assert!(text.contains(&format!("version {shown},")), "{text}");
        assert!(text.contains(&format!("version {LAYOUT_VERSION};")), "{text}");
        assert!(text.contains("ufr rm stage"), "{text}");
        // As it says.
        builder.remove(NAME).unwrap();
        assert!(matches!(
            builder.open(NAME),
            Err(RingError::File { kind: FileError::NoSuchRing, .. })
        ));
    }
}

#[test]
fn a_file_of_the_other_byte_order_is_no_ring() {
    let directory = stage();
    let builder = at(&directory);
    let mut bytes = whole_file(&builder);
    for word in bytes.as_chunks_mut::<8>().0 {
        word.reverse();
    }
    write_file(&builder, &bytes);
    assert!(refusal(&builder).to_string().contains("does not begin as a ring does"));
}

#[test]
fn no_word_of_a_header_can_be_changed_to_an_unsound_one() {
    /// Told to people: ticks a second, clock stable, creator, created.
    const HARMLESS: [usize; 4] = [20, 21, 22, 23];
    let directory = stage();
    let builder = at(&directory);
    let whole = whole_file(&builder);
    // The header, and behind it the terms of the lane.
    for place in (0..64).chain(560..576) {
        for word in [0, 1, 2, 3, 5, 17, 1 << 24, 1 << 25, 1 << 32, 1 << 63, u64::MAX] {
            let mut bytes = whole.clone();
            bytes[8 * place..8 * place + 8].copy_from_slice(&word.to_ne_bytes());
            if bytes == whole {
                continue;
            }
            write_file(&builder, &bytes);
            match builder.open(NAME) {
                Err(
                    RingError::File { kind: FileError::NotARing { .. }, .. }
                    | RingError::File { kind: FileError::LayoutVersion { .. }, .. }
                    | RingError::File { kind: FileError::UnknownFeatures { .. }, .. },
                ) => {}
                // The lock file of another identity.
                Err(RingError::File { kind: FileError::BadLockFile { .. }, .. }) if place == 4 => {}
                Err(error) => panic!("word {place} as {word:#x}: {error:?}"),
                // Another choice that could have been made for a file of this size: sides,
                // timestamps, policy, reserves; or groups, for which a plain ring has one row.
                Ok(ring) => {
                    let chosen = place == 3 || (11..20).contains(&place);
                    assert!(chosen || HARMLESS.contains(&place), "word {place}");
                    assert_eq!((ring.capacity(), ring.size_bytes()), (16, whole.len()));
                }
            }
        }
    }
}

#[test]
fn what_is_no_regular_file_is_refused_and_nobody_waits_for_it() {
    let directory = stage();
    let builder = at(&directory);
    let path = builder.path(NAME).unwrap();

    let elsewhere = directory.path().join("elsewhere");
    std::fs::write(&elsewhere, whole_file(&builder)).unwrap();
    symlink(&elsewhere, &path).unwrap();
    assert!(refusal(&builder).to_string().contains("symbolic link"));
    std::fs::remove_file(&path).unwrap();
    symlink("/nowhere", &path).unwrap();
    assert!(refusal(&builder).to_string().contains("symbolic link"));
    // Nor is anything made through a link.
    assert!(matches!(
        builder.create(NAME),
        Err(RingError::File { kind: FileError::NameTaken, .. })
    ));
    std::fs::remove_file(&path).unwrap();

    std::fs::create_dir(&path).unwrap();
    assert!(matches!(
        builder.open(NAME),
        Err(RingError::File { kind: FileError::NotARing { .. }, .. })
    ));
    assert!(matches!(
        builder.observe(NAME),
        Err(RingError::File { kind: FileError::NotARing { .. }, .. })
    ));
    std::fs::remove_dir(&path).unwrap();

    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let pipe = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &path, pipe, mode, 0).unwrap();
    assert!(matches!(refusal(&builder), RingError::File { kind: FileError::NotARing { .. }, .. }));
    std::fs::remove_file(&path).unwrap();

    let _listener = UnixListener::bind(&path).unwrap();
    assert!(builder.open(NAME).is_err());
}

// ---- lock files ----------------------------------------------------------------------------

#[test]
fn a_ring_whose_lock_file_is_missing_or_another_ones_is_refused_and_can_be_removed() {
    let directory = stage();
    let builder = at(&directory);
    let says = |reason: &str| {
        let text = refusal(&builder).to_string();
        assert!(text.contains(reason) && text.contains("ufr rm stage"), "{reason}: {text}");
        let stale = builder.remove_stale(NAME).unwrap_err();
        assert!(
            matches!(stale, RingError::File { kind: FileError::BadLockFile { .. }, .. }),
            "{stale:?}"
        );
        builder.remove(NAME).unwrap();
        patiently("its removal", || {
            builder.sweep().unwrap();
            files_of(directory.path()).is_empty().then_some(())
        });
    };

    drop(builder.create(NAME).unwrap());
    std::fs::remove_file(lock_file_of(directory.path())).unwrap();
    says("is missing");

    drop(builder.create(NAME).unwrap());
    std::fs::write(lock_file_of(directory.path()), b"").unwrap();
    says("is none");

    drop(builder.create(NAME).unwrap());
    let lock_file = lock_file_of(directory.path());
    let mut words = std::fs::read(&lock_file).unwrap();
    words[16] ^= 1;
    std::fs::write(lock_file, words).unwrap();
    says("belongs to another ring");

    // A copy of the segment alone would share the locks of its original.
    let original = builder.create("original").unwrap();
    std::fs::copy(original.path().unwrap(), builder.path(NAME).unwrap()).unwrap();
    says("is missing");
    drop(original);
    patiently("its removal", || builder.remove_stale("original").unwrap().then_some(()));
    assert!(std::fs::read_dir(directory.path()).unwrap().next().is_none());
}

#[test]
fn a_lock_file_that_others_could_lock_is_refused_unless_they_are_trusted() {
    let directory = stage();
    let builder = at(&directory);
    let ring = builder.create(NAME).unwrap();
    let lock_file = lock_file_of(directory.path());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&lock_file), 0o600);
    drop(ring);
    for (loose, refused_by) in [(0o640, 1), (0o660, 1), (0o604, 2), (0o666, 2)] {
        std::fs::set_permissions(&lock_file, PermissionsExt::from_mode(loose)).unwrap();
        for (number, trust) in [Trust::OwnUser, Trust::Group, Trust::Anyone].iter().enumerate() {
            let builder = builder.clone().trust(*trust);
            if number < refused_by {
                let error = refusal(&builder);
                assert!(
                    matches!(error, RingError::File { kind: FileError::LooseMode { mode, .. }, .. } if mode & 0o7777 == loose)
                );
            } else {
                builder.open(NAME).unwrap();
            }
        }
    }
    builder.remove(NAME).unwrap();
    for (trust, expected) in [(Trust::Group, 0o660), (Trust::Anyone, 0o666)] {
        drop(builder.clone().trust(trust).create(NAME).unwrap());
        assert_eq!(mode(&lock_file_of(directory.path())), expected);
        builder.remove(NAME).unwrap();
    }
    // Nor is one that is no file waited for.
    drop(builder.create(NAME).unwrap());
    let lock_file = lock_file_of(directory.path());
    std::fs::remove_file(&lock_file).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let pipe = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &lock_file, pipe, mode, 0).unwrap();
    assert!(matches!(refusal(&builder), RingError::File { kind: FileError::NotARing { .. }, .. }));
    std::fs::remove_file(&lock_file).unwrap();
    symlink("/dev/zero", &lock_file).unwrap();
    assert!(matches!(refusal(&builder), RingError::File { kind: FileError::NotARing { .. }, .. }));
}

/// Who may take part may lock what only a removal locks; nobody waits for that for long.
#[test]
fn a_participant_that_locks_a_ring_for_ever_keeps_nobody_waiting_for_ever() {
    let directory = stage();
    let builder = at(&directory);
    let ring = builder.create(NAME).unwrap();
    let lock_file = writable(&lock_file_of(directory.path())).unwrap();
    let lock = |start, length, kind: i32| {
        // SAFETY: plain numbers, for which zeros are a value.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        (lock.l_type, lock.l_start, lock.l_len) = (kind as i16, start, length);
        // SAFETY: the descriptor is open, and one `flock` is read and written.
        unsafe { libc::fcntl(lock_file.as_raw_fd(), libc::F_OFD_SETLK, &raw mut lock) == 0 }
    };
    assert!(!lock(0, 1, libc::F_WRLCK), "it is open");
    drop(ring);
    patiently("its lock", || lock(0, 0, libc::F_WRLCK).then_some(()));
    for error in [builder.open(NAME).unwrap_err(), builder.open_or_create(NAME).unwrap_err()] {
        assert!(
            matches!(error, RingError::File { kind: FileError::BeingRemoved, .. }),
            "{error:?}"
        );
    }
    assert_eq!(builder.observe(NAME).unwrap().len(), 0);
    assert!(!builder.remove_stale(NAME).unwrap());
    builder.remove(NAME).unwrap();
    builder.create(NAME).unwrap();
}

#[test]
fn what_is_no_ring_is_not_removed_as_one() {
    let directory = stage();
    let builder = at(&directory);
    let path = builder.path(NAME).unwrap();
    for bytes in [&b""[..], b"notes", &[7; 4096]] {
        std::fs::write(&path, bytes).unwrap();
        let error = builder.remove(NAME).unwrap_err();
        assert!(
            matches!(error, RingError::File { kind: FileError::NotARing { .. }, .. }),
            "{error:?}"
        );
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
    std::fs::remove_file(&path).unwrap();
    let elsewhere = directory.path().join("elsewhere");
    std::fs::write(&elsewhere, b"precious").unwrap();
    symlink(&elsewhere, &path).unwrap();
    assert!(matches!(
        builder.remove(NAME),
        Err(RingError::File { kind: FileError::NotARing { .. }, .. })
    ));
    assert!(path.symlink_metadata().is_ok() && elsewhere.exists());
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(matches!(
        builder.remove(NAME),
        Err(RingError::File { kind: FileError::NotARing { .. }, .. })
    ));
    std::fs::remove_dir(&path).unwrap();
    assert!(matches!(
        builder.remove(NAME),
        Err(RingError::File { kind: FileError::NoSuchRing, .. })
    ));
    // One that was made shorter or wiped out was a ring: its lock file is still beside it.
    for damage in [0, 100, 4096] {
        drop(builder.create(NAME).unwrap());
        std::fs::write(&path, vec![0; damage]).unwrap();
        builder.remove(NAME).unwrap();
        patiently("its removal", || {
            builder.sweep().unwrap();
            files_of(directory.path()).is_empty().then_some(())
        });
    }
}

#[test]
fn names_and_errors_are_nothing_but_text() {
    let directory = stage();
    let builder = at(&directory);
    for c in ['\u{7}', '\u{202e}', '\u{2066}', '\u{61c}', '\u{200f}', '\u{2028}'] {
        let name = format!("a{c}b");
        let error = builder.create(&name).unwrap_err();
        assert!(matches!(error, RingError::BadName { .. }), "{error:?}");
        assert!(!error.to_string().contains(c), "{error}");
        std::fs::write(directory.path().join(format!("ufr-{name}")), b"x").unwrap();
        let ring = builder.clone().participant_name(&name).create("named").unwrap();
        let _producer = ring.producer().unwrap();
        assert_eq!(ring.participants().next().unwrap().name.as_str(), "a");
        builder.remove("named").unwrap();
    }
    assert!(builder.list().unwrap().is_empty());
    drop(builder.create("naïve שלום").unwrap());
    assert_eq!(builder.list().unwrap(), ["naïve שלום"]);
}

// ---- other users ---------------------------------------------------------------------------

#[test]
fn a_ring_that_others_may_write_to_is_refused_unless_they_are_trusted() {
    let directory = stage();
    let builder = at(&directory);
    drop(builder.create(NAME).unwrap());
    let path = builder.path(NAME).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&path), 0o600);
    for (loose, refused_by) in
        [(0o620, 1), (0o660, 1), (0o602, 2), (0o666, 2), (0o640, 0), (0o644, 0)]
    {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(loose)).unwrap();
        for (number, trust) in [Trust::OwnUser, Trust::Group, Trust::Anyone].iter().enumerate() {
            let opened = builder.clone().trust(*trust).open(NAME);
            if number < refused_by {
                assert!(
                    matches!(opened, Err(RingError::File { kind: FileError::LooseMode { mode, .. }, .. }) if mode == loose)
                );
            } else {
                opened.unwrap();
            }
        }
    }
    for (trust, expected) in [(Trust::Group, 0o660), (Trust::Anyone, 0o666)] {
        let builder = builder.clone().trust(trust);
        builder.remove(NAME).unwrap();
        drop(builder.create(NAME).unwrap());
        assert_eq!(mode(&path), expected);
    }
}

#[test]
fn another_users_ring_is_refused_unless_that_user_is_trusted() {
    if !is_root() {
        return;
    }
    let directory = stage();
    let builder = at(&directory);
    drop(builder.create(NAME).unwrap());
    chown(builder.path(NAME).unwrap(), Some(OTHER), Some(OTHER)).unwrap();
    let error = refusal(&builder);
    assert!(
        matches!(error, RingError::File { kind: FileError::ForeignOwner { uid: OTHER, .. }, .. }),
        "{error:?}"
    );
    assert!(refusal(&builder.clone().trust(Trust::Group)).to_string().contains("65533"));
    builder.clone().trust(Trust::Anyone).open(NAME).unwrap();
    chown(builder.path(NAME).unwrap(), None, Some(rustix::process::getegid().as_raw())).unwrap();
    builder.clone().trust(Trust::Group).open(NAME).unwrap();
}

/// A directory that everyone may use, as `/dev/shm` is.
fn public_stage() -> TempDir {
    let directory = stage();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o1777)).unwrap();
    directory
}

#[test]
fn users_of_one_group_share_a_ring_that_was_made_for_the_group() {
    if !is_root() {
        return;
    }
    let directory = public_stage();
    let builder = at(&directory).trust(Trust::Group);
    let ring = builder.create(NAME).unwrap();
    for path in files_of(directory.path()) {
        chown(path, None, Some(COMMON_GROUP)).unwrap();
    }
    let mut other = start_as_other(directory.path(), "open-as-group", COMMON_GROUP);
    assert_eq!(other.hear(), "refused");
    assert_eq!(other.hear(), "sent");
    other.finish();
    let mut buffer = [0; 40];
    let (size, ..) = ring.recv_fast(&mut buffer).unwrap();
    assert_eq!(&buffer[..size], b"from the group");
}

#[test]
fn a_ring_made_for_the_group_has_its_makers_group_and_not_its_directorys() {
    if !is_root() {
        return;
    }
    // A directory that gives its group to every file.
    let directory = stage();
    chown(directory.path(), None, Some(COMMON_GROUP)).unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o3777)).unwrap();
    let mut other = start_as_other(directory.path(), "create-in-given-directory", OTHER);
    assert_eq!(other.hear(), "made");
    other.finish();
    for path in files_of(directory.path()) {
        let status = std::fs::metadata(path).unwrap();
        assert_eq!((status.gid(), status.mode() & 0o7777), (OTHER, 0o660));
    }
}

#[test]
fn a_file_whose_group_the_directory_gave_to_a_stranger_is_not_believed() {
    if !is_root() {
        return;
    }
    let directory = stage();
    chown(directory.path(), None, Some(COMMON_GROUP)).unwrap();
    let mode = |mode| {
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(mode)).unwrap();
    };
    mode(0o3777);
    let mut stranger = start_as_other(directory.path(), "create-and-loosen", OTHER);
    assert_eq!(stranger.hear(), "made");
    stranger.finish();
    for path in files_of(directory.path()) {
        assert_eq!(std::fs::metadata(path).unwrap().gid(), COMMON_GROUP, "the directory gives it");
    }
    let as_member = |role: &str| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.uid(OTHER - 5).gid(COMMON_GROUP);
        let mut member = Actor::start_as(command, directory.path(), role);
        let said = member.hear();
        member.finish();
        said
    };
    let text = as_member("open-in-given-directory");
    assert!(text.contains("gives its group") && text.contains("set-group-id"), "{text}");
    // Nor does a member make one there, which the others would have to refuse.
    assert!(as_member("create-in-given-directory").contains("gives its group"));
    // Where only members may write, the group is as good as its members.
    mode(0o3771);
    assert_eq!(as_member("open-in-given-directory"), "opened");
    mode(0o1777);
    assert_eq!(as_member("open-in-given-directory"), "opened");
}

#[test]
fn a_user_without_access_is_kept_out_and_a_name_it_squats_on_is_not_believed() {
    if !is_root() {
        return;
    }
    let directory = public_stage();
    let builder = at(&directory);
    let ring = builder.create(NAME).unwrap();
    let mut other = start_as_other(directory.path(), "open-as-stranger", OTHER);
    assert_eq!(other.hear(), "denied");
    assert_eq!(other.hear(), "squatting");
    assert!(matches!(
        builder.open("squatted"),
        Err(RingError::File { kind: FileError::ForeignOwner { uid: OTHER, .. }, .. })
    ));
    assert!(matches!(
        builder.create("squatted"),
        Err(RingError::File { kind: FileError::NameTaken, .. })
    ));
    assert!(matches!(
        builder.open_or_create("squatted"),
        Err(RingError::File { kind: FileError::ForeignOwner { uid: OTHER, .. }, .. })
    ));
    other.finish();
    ring.send_fast(b"undisturbed", NORMAL).unwrap();
}

// ---- observers -----------------------------------------------------------------------------

#[test]
fn an_observer_sees_what_is_there_and_leaves_no_trace() {
    let directory = stage();
    let builder = at(&directory).participants(2);
    let ring = builder.create(NAME).unwrap();
    let mut producer = ring.producer().unwrap();
    for number in 0..5 {
        producer.try_send(Numbered::new(0, number), NORMAL).unwrap();
    }
    producer.flush();
    let path = builder.path(NAME).unwrap();
    let before = std::fs::read(&path).unwrap();
    let observer = builder.observe(NAME).unwrap();
    assert_eq!((observer.name(), observer.path()), (Some(NAME), Some(path.as_path())));
    assert_eq!((observer.len(), observer.stats().sent), (5, 5));
    assert_eq!(observer.positions(), ring.positions());
    assert_eq!(observer.capacity(), 16);
    assert!(observer.examine().unwrap().is_empty());
    let alive: Vec<_> = observer.participants().map(|it| (it.pid, it.alive)).collect();
    assert_eq!(alive, [(std::process::id(), true)]);
    // It cannot write even by mistake.
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let rights: Vec<_> = maps
        .lines()
        .filter(|line| line.ends_with(path.to_str().unwrap()))
        .map(|line| line.split_whitespace().nth(1).unwrap())
        .collect();
    // The maker's own mapping is of the file before it had a name.
    assert_eq!(rights, ["r--s"]);
    assert_eq!(std::fs::read(&path).unwrap(), before);
    // It is in nobody's way: the table still has room for one, and then for none.
    let consumer = ring.consumer().unwrap();
    assert!(matches!(ring.consumer(), Err(RingError::TableFull { .. })));
    drop((consumer, producer));
    assert_eq!(observer.participants().count(), 0);
}

#[test]
fn an_observer_needs_only_to_read() {
    if !is_root() {
        return;
    }
    let directory = public_stage();
    let builder = at(&directory);
    let ring = builder.create(NAME).unwrap();
    ring.send_fast(b"one", NORMAL).unwrap();
    let path = builder.path(NAME).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    ring.send_fast(b"two", NORMAL).unwrap();
    let producer = ring.producer().unwrap();
    let mut consumer = Actor::start_and_hear(directory.path(), "open-and-hold", "holding");
    let mut other = start_as_other(directory.path(), "observe-only-readable", OTHER);
    // Messages, whether producers and consumers live, findings.
    assert_eq!(other.hear(), "1 true true 0");
    consumer.process.kill().unwrap();
    // Dead, and not yet waited for: its locks are gone, and its number is not.
    let gone = || ring.participants().filter(|it| !it.alive).count() == 1;
    patiently("its end", || gone().then_some(()));
    other.tell("again");
    assert_eq!(other.hear(), "1 true false 1");
    consumer.kill();
    other.tell("again");
    assert_eq!(other.hear(), "1 true false 1");
    other.finish();
    drop(producer);
}

/// A lock that keeps others from writing needs no more than the right to read.
#[test]
fn a_reader_can_neither_lock_a_ring_nor_hold_anybody_back() {
    if !is_root() {
        return;
    }
    let directory = public_stage();
    let builder = at(&directory).exclusive_producer();
    let ring = builder.create(NAME).unwrap();
    let path = builder.path(NAME).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    // What a dead consumer held has to be recovered under the reader's eyes.
    let mut producer = ring.exclusive_producer().unwrap();
    producer.try_send(b"held", NORMAL).unwrap();
    producer.flush();
    let holder = Actor::start_and_hear(directory.path(), "open-and-hold", "holding");
    let mut reader = start_as_other(directory.path(), "lock-what-can-be-read", OTHER);
    assert_eq!(reader.hear(), "locked");
    holder.kill();
    let mut consumer = ring.consumer().unwrap();
    let message = patiently("what was held", || consumer.try_recv().ok());
    assert_eq!((&*message, message.is_redelivered()), (&b"held"[..], true));
    // The table is as free as it was, and so are the sides.
    let others: Vec<_> = (0..2).map(|_| ring.consumer().unwrap()).collect();
    assert!(matches!(ring.consumer(), Err(RingError::TableFull { participants: 4 })));
    drop(producer);
    ring.exclusive_producer().unwrap();
    drop((others, consumer, ring));
    // Not at once: an actor that is being started has our descriptors for a moment.
    patiently("its removal", || builder.remove_stale(NAME).unwrap().then_some(()));
    reader.finish();
}

// ---- anonymous rings -----------------------------------------------------------------------

/// Starts an actor and hands it the ring; what it says first is `first`.
fn hand_to_actor(directory: &TempDir, ring: &UltraFastRing, role: &str, first: &str) -> Actor {
    let path = directory.path().join(SOCKET);
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let mut actor = Actor::start(directory.path(), role);
    ring.hand_to(&listener.accept().unwrap().0).unwrap();
    assert_eq!(actor.hear(), first);
    actor
}

fn an_anonymous_ring_carries_a_stream_between_two_processes<S: Shape>() {
    let messages = S::fewer(50_000);
    let directory = stage();
    let ring = S::builder().capacity(64).anonymous().unwrap();
    assert_eq!((ring.name(), ring.path()), (None, None));
    let _second = S::read_second(&ring);
    let mut consumer = S::consumer(&ring);
    let role = format!("{} take-and-stream {messages}", S::NAME);
    let actor = hand_to_actor(&directory, &ring, &role, "taken");
    for number in 0..messages {
        let message = patiently("a message", || consumer.try_recv().ok());
        assert_eq!(Numbered::read(&message), (1, number));
    }
    actor.finish();
    assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty);
}
on_each_shape!(an_anonymous_ring_carries_a_stream_between_two_processes);

fn what_a_killed_process_held_of_an_anonymous_ring_is_redelivered<S: Shape>() {
    let directory = stage();
    let ring = S::builder().capacity(8).anonymous().unwrap();
    S::producer(&ring).send_fast(b"held", NORMAL).unwrap();
    let actor = hand_to_actor(&directory, &ring, &format!("{} take-and-hold", S::NAME), "holding");
    let mut consumer = S::consumer(&ring);
    // While it lives it is not robbed, though it shares its descriptor with us.
    for _ in 0..2_000 {
        assert!(consumer.try_recv().is_err());
    }
    assert!(ring.participants().any(|it| it.pid == actor.process.id() && it.alive));
    actor.kill();
    let message = patiently("the message", || consumer.try_recv().ok());
    assert_eq!((&*message, message.is_redelivered()), (&b"held"[..], true));
}
on_each_shape!(
    what_a_killed_process_held_of_an_anonymous_ring_is_redelivered,
    needs(two_consumers)
);

fn what_a_killed_process_had_claimed_of_an_anonymous_ring_is_abandoned<S: Shape>() {
    let directory = stage();
    let ring = S::builder().capacity(8).anonymous().unwrap();
    let actor = hand_to_actor(&directory, &ring, &format!("{} take-and-claim", S::NAME), "claimed");
    S::producer(&ring).send_fast(b"behind it", NORMAL).unwrap();
    let mut consumer = S::consumer(&ring);
    for _ in 0..2_000 {
        assert!(consumer.try_recv().is_err());
    }
    actor.kill();
    let message = patiently("the message", || consumer.try_recv().ok());
    assert_eq!(&*message, b"behind it");
    assert_eq!(ring.stats().abandoned, 1);
}
on_each_shape!(
    what_a_killed_process_had_claimed_of_an_anonymous_ring_is_abandoned,
    needs(two_producers)
);

#[test]
fn handles_of_an_anonymous_ring_exclude_each_other_also_within_a_process() {
    let (here, there) = UnixStream::pair().unwrap();
    let builder = Builder::new().exclusive_producer();
    let ring = builder.anonymous().unwrap();
    ring.hand_to(&here).unwrap();
    let other = builder.take_from(&there).unwrap();
    let first = ring.exclusive_producer().unwrap();
    assert!(matches!(other.exclusive_producer(), Err(RingError::SideTaken { .. })));
    drop(first);
    other.exclusive_producer().unwrap();
}

/// What travels over a socket: bytes, and files beside them.
fn send_files(socket: &UnixStream, bytes: &[u8], files: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(files)));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::empty()).unwrap();
}

/// A memory file with these contents and seals.
fn memory_file(bytes: &[u8], seals: SealFlags) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = rustix::fs::memfd_create("test", flags).unwrap();
    File::from(memory.try_clone().unwrap()).write_all_at(bytes, 0).unwrap();
    rustix::fs::fcntl_add_seals(&memory, seals).unwrap();
    memory
}

#[test]
fn what_is_handed_over_and_is_no_sealed_ring_is_refused_with_the_reason() {
    let directory = stage();
    let builder = at(&directory);
    let whole = whole_file(&builder);
    let locks_file = files_of(directory.path()).pop().unwrap();
    let locks_bytes = std::fs::read(locks_file).unwrap();
    let sealed = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    let good = memory_file(&whole, sealed);
    let read_only = {
        let own = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&good));
        OwnedFd::from(File::open(own).unwrap())
    };
    let named = OwnedFd::from(
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(directory.path().join("plain"))
            .unwrap(),
    );
    let refusal = |bytes: &[u8], files: &[&OwnedFd]| {
        let (here, there) = UnixStream::pair().unwrap();
        there.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let files: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
        send_files(&here, bytes, &files);
        builder.take_from(&there).err().map(|error| error.to_string()).unwrap_or_default()
    };
    let locks = memory_file(&locks_bytes, sealed);
    let mut others = locks_bytes.clone();
    others[16] ^= 1;
    for (files, reason) in [
        (vec![], "no file came with it"),
        (vec![&good], "its locks did not come"),
        (vec![&good, &locks, &locks], "more than two files"),
        (vec![&good, &locks, &locks, &locks], "more than two files"),
        (vec![&good, &named], "not sealed"),
        (vec![&good, &memory_file(&others, sealed)], "not its own"),
        (vec![&good, &memory_file(b"", sealed)], "not its own"),
        (vec![&good, &good], "not its own"),
        (vec![&memory_file(&whole, SealFlags::empty())], "not sealed"),
        (vec![&memory_file(&whole, SealFlags::GROW | SealFlags::SEAL)], "not sealed"),
        (vec![&memory_file(&whole, SealFlags::SHRINK | SealFlags::GROW)], "not sealed"),
        (vec![&named], "not sealed"),
        (vec![&read_only], "may only be read"),
        (vec![&memory_file(&whole[..100], sealed)], "too short for a header"),
        (vec![&memory_file(&whole[..4096], sealed)], "shorter than its header says"),
        (vec![&memory_file(&vec![0; whole.len()], sealed)], "does not begin as a ring does"),
    ] {
        let text = refusal(GREETING, &files);
        assert!(text.contains(reason), "{reason}: {text:?}");
    }
    assert!(refusal(b"GET / HT", &[&good]).contains("something else"));
    assert!(refusal(b"UFR", &[&good]).contains("something else"));
    assert_eq!(refusal(GREETING, &[&good, &locks]), "", "a good one is taken");

    // Sealed against writing too: it cannot be used, and that is an error.
    let unwritable = memory_file(&whole, sealed.difference(SealFlags::SEAL));
    rustix::fs::fcntl_add_seals(&unwritable, SealFlags::WRITE | SealFlags::SEAL).unwrap();
    assert!(!refusal(GREETING, &[&unwritable, &locks]).is_empty());

    let (here, there) = UnixStream::pair().unwrap();
    drop(here);
    let error = builder.take_from(&there).unwrap_err();
    assert!(error.to_string().contains("closed the socket"), "{error}");
    let (_here, there) = UnixStream::pair().unwrap();
    there.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    assert!(matches!(
        builder.take_from(&there),
        Err(RingError::File { kind: FileError::Io { .. }, .. })
    ));
}

#[test]
fn only_an_anonymous_ring_is_handed_over() {
    let directory = stage();
    let (here, _there) = UnixStream::pair().unwrap();
    let named = at(&directory).create(NAME).unwrap();
    assert!(matches!(named.hand_to(&here), Err(RingError::NotHandedOver { .. })));
    assert!(matches!(UltraFastRing::new(8).hand_to(&here), Err(RingError::NotHandedOver { .. })));
}

#[test]
fn nobody_can_make_an_anonymous_ring_shorter_or_longer() {
    let ring = Builder::new().anonymous().unwrap();
    let own = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            std::fs::read_link(path).is_ok_and(|it| it.to_string_lossy().contains("ultrafastring"))
                && std::fs::metadata(path).is_ok_and(|it| it.len() == ring.size_bytes() as u64)
        })
        .unwrap();
    let file = OpenOptions::new().write(true).open(own).unwrap();
    for length in [0, 4096, ring.size_bytes() as u64 * 2] {
        let error = file.set_len(length).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    }
    ring.send_fast(b"still there", NORMAL).unwrap();
}

#[test]
fn an_observer_of_an_anonymous_ring_gets_a_descriptor_that_cannot_write() {
    let (here, there_too) = UnixStream::pair().unwrap();
    let there = &there_too;
    let ring = Builder::new().capacity(8).anonymous().unwrap();
    ring.send_fast(b"one", NORMAL).unwrap();
    ring.hand_to_observer(&here).unwrap();
    let error = Builder::new().take_from(there).unwrap_err();
    assert!(error.to_string().contains("observe it"), "{error}");
    ring.hand_to_observer(&here).unwrap();
    let observer = Builder::new().observe_from(there).unwrap();
    assert_eq!(observer.len(), 1);
    ring.send_fast(b"two", NORMAL).unwrap();
    assert_eq!(observer.len(), 2);
    let there: Vec<_> = observer.participants().map(|it| (it.alive, it.evidence)).collect();
    assert_eq!(there, [(true, Evidence::Process)]);
    // Who observes a ring that it could take part in sees the locks.
    ring.hand_to(&here).unwrap();
    let observer = Builder::new().observe_from(&there_too).unwrap();
    assert_eq!(observer.participants().next().unwrap().evidence, Evidence::Lock);
}

/// A socket to which every user may connect, and an actor of another user that does.
fn other_at_socket(directory: &TempDir, role: &str, group: u32) -> (UnixStream, Actor) {
    let path = directory.path().join(SOCKET);
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
    let other = start_as_other(directory.path(), role, group);
    (listener.accept().unwrap().0, other)
}

#[test]
fn another_user_that_observes_an_anonymous_ring_can_neither_write_nor_lock() {
    if !is_root() {
        return;
    }
    let own_group = rustix::process::getegid().as_raw();
    for (trust, group) in [(Trust::Group, own_group), (Trust::Anyone, OTHER)] {
        let directory = public_stage();
        let ring = Builder::new().capacity(8).participants(2).trust(trust).anonymous().unwrap();
        ring.send_fast(b"one", NORMAL).unwrap();
        let (socket, mut other) = other_at_socket(&directory, "observe-and-try-to-write", group);
        ring.hand_to_observer(&socket).unwrap();
        // It has one descriptor, of the segment.
        assert_eq!(other.hear(), "1 1", "{trust:?}");
        let _consumer = ring.consumer().unwrap();
        assert!(matches!(ring.consumer(), Err(RingError::TableFull { participants: 2 })));
        other.finish();
    }
}

#[test]
fn another_user_that_is_trusted_takes_part_in_an_anonymous_ring() {
    if !is_root() {
        return;
    }
    let own_group = rustix::process::getegid().as_raw();
    for (trust, group) in [(Trust::Group, own_group), (Trust::Anyone, OTHER)] {
        let directory = public_stage();
        let ring = Builder::new().capacity(8).trust(trust).anonymous().unwrap();
        let (socket, mut other) = other_at_socket(&directory, "take-and-stream 100", group);
        ring.hand_to(&socket).unwrap();
        assert_eq!(other.hear(), "taken");
        let mut consumer = ring.consumer().unwrap();
        for number in 0..100 {
            let message = patiently("a message", || consumer.try_recv().ok());
            assert_eq!(Numbered::read(&message), (1, number));
        }
        other.finish();
    }
}

#[test]
fn an_anonymous_ring_is_neither_handed_to_nor_taken_from_another_user() {
    if !is_root() {
        return;
    }
    let directory = public_stage();
    let path = directory.path().join(SOCKET);
    let listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
    let mut other = start_as_other(directory.path(), "connect", OTHER);
    let (socket, _) = listener.accept().unwrap();
    assert_eq!(other.hear(), "connected");
    let builder = Builder::new();
    let ring = builder.anonymous().unwrap();
    let error = ring.hand_to(&socket).unwrap_err();
    let RingError::ForeignPeer { pid, uid } = error else { panic!("{error:?}") };
    assert_eq!((pid, uid), (other.process.id(), OTHER));
    assert!(matches!(builder.take_from(&socket), Err(RingError::ForeignPeer { .. })));
    let trusting = builder.trust(Trust::Anyone).anonymous().unwrap();
    trusting.hand_to(&socket).unwrap();
    other.finish();
}

#[test]
fn an_error_about_a_peer_names_it() {
    let mut text = Vec::new();
    write!(text, "{}", RingError::ForeignPeer { pid: 0, uid: 7 }).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("cannot be seen") && text.contains("user 7"), "{text}");
}

/// Whoever prints an error with its sources, as most programs do, is told each thing once.
#[test]
fn an_error_says_each_thing_once() {
    let mut chain = Vec::new();
    for error in [
        Builder::new().capacity(3).heap().unwrap_err(),
        RingError::File {
            path: "x".into(),
            kind: FileError::Io { action: "list", reason: std::io::Error::other("reason") },
        },
    ] {
        let mut next: Option<&dyn std::error::Error> = Some(&error);
        while let Some(it) = next {
            chain.push(it.to_string());
            next = it.source();
        }
    }
    assert_eq!(chain.len(), 2, "{chain:?}");
    assert!(chain[0].contains("3 is not") && chain[1].contains("reason"), "{chain:?}");
}
