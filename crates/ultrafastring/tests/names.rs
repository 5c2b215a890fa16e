//! The two files of a named ring come and go as one: whoever makes, opens or removes it, at once,
//! and wherever they are killed.

#![cfg(all(feature = "std", target_arch = "x86_64", not(loom)))]

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::child::{Child, Led};
use common::forbid::{SeccompCmpOp, forbid};
use common::stage;
use tempfile::TempDir;
use ultrafastring::FileError;
use ultrafastring::{Builder, PriorityClass, RingError};

const NORMAL: PriorityClass = PriorityClass::Normal;
const NAME: &str = "stage";

fn at(directory: &TempDir) -> Builder {
    Builder::new().directory(directory.path()).capacity(4).participants(2)
}

/// One test at a time: a child has its parent's descriptors, and so its locks, until it has given
/// them up.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count_files(directory: &Path) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

/// Does `work` in a process of its own up to a stop, of which there are two for each system call:
/// before it is done and after. `None` if the work was done before.
fn stopped_at(stop: u32, work: impl FnOnce()) -> Option<Child> {
    let child = Child::lead(|| (), |()| work());
    (0..stop).all(|_| child.step_to_call() == Led::Stopped).then_some(child)
}

/// Lets one that is stopped go on, to a good end.
fn go_on(child: Child) {
    child.let_go();
    child.finish();
}

/// Has the system call before which it is stopped fail for want of memory instead, if it is one
/// that can. The status with which it ends.
fn go_on_without_the_call(child: &Child) -> i32 {
    let mut registers = child.registers();
    // Libraries count on it that these do not fail.
    let sound = [libc::SYS_prlimit64, libc::SYS_close];
    if !sound.contains(&(registers.orig_rax as libc::c_long)) {
        registers.orig_rax = u64::MAX;
        child.set_registers(registers);
        assert!(child.step_to_call() == Led::Stopped);
        registers.rax = -i64::from(libc::ENOMEM) as u64;
        child.set_registers(registers);
    }
    child.let_go();
    child.wait()
}

/// Kills `work` at each of its stops. Wherever it was: there is a whole ring of the name or none,
/// the name can be used at once, and in the end nothing is left.
fn is_survived_everywhere(prepare: impl Fn(&Builder), work: impl Fn(&Builder)) {
    let _alone = alone();
    let directory = stage();
    let builder = at(&directory);
    // What a process does once is done before it is forked.
    drop(builder.create("before").unwrap());
    builder.remove("before").unwrap();
    let (mut there, mut gone) = (0, 0);
    for stop in 1.. {
        prepare(&builder);
        let stopped = stopped_at(stop, || work(&builder));
        let killed = stopped.map(|it| it.kill()).is_some();
        match &builder.list().unwrap()[..] {
            [] => {
                gone += 1;
                assert!(matches!(
                    builder.open(NAME),
                    Err(RingError::File { kind: FileError::NoSuchRing, .. })
                ));
            }
            names => {
                there += 1;
                assert_eq!(names, [NAME], "at stop {stop}");
                drop(builder.open(NAME).unwrap());
            }
        }
        let is_new = builder.list().unwrap().is_empty();
        let ring = builder.open_or_create(NAME).unwrap();
        if is_new {
            assert_eq!(count_files(directory.path()), 2, "who makes a ring sweeps, at stop {stop}");
        }
        let mut producer = ring.producer().unwrap();
        producer.try_send(b"x", NORMAL).unwrap();
        assert_eq!(&*ring.consumer().unwrap().try_recv().unwrap(), b"x");
        assert!(!builder.remove_stale(NAME).unwrap());
        drop((producer, ring));
        // By every way there is.
        if stop % 2 == 0 {
            assert!(builder.remove_stale(NAME).unwrap());
            builder.sweep().unwrap();
        } else {
            builder.remove(NAME).unwrap();
        }
        assert_eq!(count_files(directory.path()), 0, "something is left, at stop {stop}");
        if !killed {
            break;
        }
    }
    assert!(there > 1 && gone > 1, "there {there} times, gone {gone} times");
}

/// Makes the file systems of this process know no files without a name.
fn forbid_nameless_files() {
    let flags = libc::O_TMPFILE as u64;
    let asked_for = (2, SeccompCmpOp::MaskedEq(flags), flags);
    forbid(libc::SYS_openat, Some(asked_for), libc::EOPNOTSUPP);
}

#[test]
fn a_creator_killed_at_any_system_call_leaves_a_whole_ring_or_none() {
    is_survived_everywhere(|_| (), |builder| drop(builder.create(NAME).unwrap()));
}

#[test]
fn so_does_one_on_a_file_system_without_nameless_files() {
    is_survived_everywhere(
        |_| (),
        |builder| {
            forbid_nameless_files();
            drop(builder.create(NAME).unwrap());
        },
    );
}

#[test]
fn a_creator_of_which_any_system_call_fails_makes_a_whole_ring_or_leaves_nothing() {
    let _alone = alone();
    let directory = stage();
    let builder = at(&directory);
    // What a process does once is done before it is forked.
    drop(builder.create("before").unwrap());
    builder.remove("before").unwrap();
    let (mut made, mut refused) = (0, 0);
    // There are two stops for each call, of which the first is before it.
    for stop in (1..).step_by(2) {
        let work = || {
            if builder.create(NAME).is_err() {
                // SAFETY: ends the process, which has nothing to drop.
                unsafe { libc::_exit(2) };
            }
        };
        let Some(creator) = stopped_at(stop, work) else { break };
        let status = go_on_without_the_call(&creator);
        let is_there = builder.open(NAME).is_ok();
        // One that has no memory for its own is ended, as if it was killed.
        if libc::WIFEXITED(status) {
            let refuses = libc::WEXITSTATUS(status) == 2;
            assert!(refuses || libc::WEXITSTATUS(status) == 0, "it panics, at stop {stop}");
            assert_eq!(is_there, !refuses, "at stop {stop}");
            made += u32::from(!refuses);
            refused += u32::from(refuses);
        }
        if is_there {
            builder.remove(NAME).unwrap();
        }
        assert_eq!(count_files(directory.path()), 0, "something is left, at stop {stop}");
    }
    assert!(made > 1 && refused > 1, "made {made} times, refused {refused} times");
}

#[test]
fn a_remover_killed_at_any_system_call_leaves_a_whole_ring_or_none() {
    is_survived_everywhere(
        |builder| drop(builder.create(NAME).unwrap()),
        |builder| builder.remove(NAME).unwrap(),
    );
}

#[test]
fn a_remover_of_what_is_stale_killed_at_any_system_call_leaves_a_whole_ring_or_none() {
    is_survived_everywhere(
        |builder| drop(builder.create(NAME).unwrap()),
        |builder| assert!(builder.remove_stale(NAME).unwrap()),
    );
}

/// Opens or makes the ring, and looks whether it is the one of that name.
fn has_its_name(builder: &Builder) {
    let ring = builder.open_or_create(NAME).unwrap();
    let there = builder.observe(NAME).unwrap();
    assert_eq!(there.created(), ring.created(), "another one has its name");
}

/// At each system call of an opener the ring is removed as stale, unless the opener has it by then.
#[test]
fn an_opener_has_the_ring_of_that_name_wherever_a_stale_one_is_removed_meanwhile() {
    let _alone = alone();
    for anew in [false, true] {
        let directory = stage();
        let builder = at(&directory);
        let (mut removed, mut kept) = (0, 0);
        for stop in 1.. {
            drop(builder.open_or_create(NAME).unwrap());
            let Some(opener) = stopped_at(stop, || has_its_name(&builder)) else { break };
            if builder.remove_stale(NAME).unwrap() {
                removed += 1;
                if anew {
                    drop(builder.create(NAME).unwrap());
                }
            } else {
                kept += 1;
            }
            go_on(opener);
        }
        assert!(removed > 1 && kept > 1, "removed {removed} times, kept {kept} times");
    }
}

/// At each system call of who removes what is stale, somebody else opens the ring.
#[test]
fn an_opener_has_the_ring_of_that_name_wherever_the_remover_of_a_stale_one_is() {
    let _alone = alone();
    let directory = stage();
    let builder = at(&directory);
    for stop in 1.. {
        drop(builder.open_or_create(NAME).unwrap());
        let work = || _ = builder.remove_stale(NAME).unwrap();
        let Some(remover) = stopped_at(stop, work) else { break };
        std::thread::scope(|scope| {
            let opener = scope.spawn(|| has_its_name(&builder));
            // It may have to wait for the remover, which is stopped.
            std::thread::sleep(std::time::Duration::from_millis(3));
            go_on(remover);
            opener.join().unwrap();
        });
    }
}

/// At each system call of a creator, somebody else sweeps and makes the ring as well.
#[test]
fn a_creator_has_the_ring_of_that_name_wherever_others_sweep_and_make_it() {
    let _alone = alone();
    for without_nameless in [false, true] {
        let directory = stage();
        let builder = at(&directory);
        for stop in 1.. {
            let work = || {
                if without_nameless {
                    forbid_nameless_files();
                }
                has_its_name(&builder);
            };
            let Some(creator) = stopped_at(stop, work) else { break };
            builder.sweep().unwrap();
            let ours = builder.open_or_create(NAME).unwrap();
            go_on(creator);
            assert_eq!(builder.open(NAME).unwrap().created(), ours.created());
            drop(ours);
            assert!(builder.remove_stale(NAME).unwrap());
            builder.sweep().unwrap();
            assert_eq!(count_files(directory.path()), 0, "something is left, at stop {stop}");
        }
    }
}

/// Whoever has a ring open has the one of that name, while others remove what is stale and sweep.
#[test]
fn nobody_who_opens_a_ring_is_left_with_one_that_has_no_name() {
    const ROUNDS: u32 = 300;
    let _alone = alone();
    let directory = stage();
    let over = AtomicBool::new(false);
    let removed = std::thread::scope(|scope| {
        let removers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut removed = 0;
                    while !over.load(Relaxed) {
                        match at(&directory).remove_stale(NAME) {
                            Ok(done) => removed += u32::from(done),
                            Err(RingError::File { kind: FileError::NoSuchRing, .. }) => {}
                            Err(error) => panic!("{error:?}"),
                        }
                        at(&directory).sweep().unwrap();
                        std::thread::yield_now();
                    }
                    removed
                })
            })
            .collect();
        let openers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..ROUNDS {
                        let ring = at(&directory).open_or_create(NAME).unwrap();
                        std::thread::yield_now();
                        let there = at(&directory).open(NAME).unwrap();
                        assert_eq!(there.created(), ring.created(), "it has lost its name");
                        drop((ring, there));
                        std::thread::yield_now();
                    }
                })
            })
            .collect();
        let end = End(&over);
        let opened: Vec<_> = openers.into_iter().map(|it| it.join()).collect();
        drop(end);
        let removed = removers.into_iter().map(|it| it.join().unwrap()).sum::<u32>();
        opened.into_iter().for_each(|it| it.unwrap());
        removed
    });
    assert!(removed > 0, "nothing was removed in between, so nothing was shown");
}

/// Ends the work of others when it is dropped, by a panic too.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// One that removes rings whether they are in use or not, and one that makes them anew.
#[test]
fn who_removes_and_who_makes_rings_at_once_leave_nothing_behind() {
    let _alone = alone();
    let directory = stage();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let remover = scope.spawn(|| {
            while !over.load(Relaxed) {
                match at(&directory).remove(NAME) {
                    Ok(()) | Err(RingError::File { kind: FileError::NoSuchRing, .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        });
        // The other ends when this does, in whatever way.
        let end = End(&over);
        for _ in 0..200 {
            let ring = at(&directory).open_or_create(NAME).unwrap();
            let _producer = ring.producer().unwrap();
        }
        drop(end);
        remover.join().unwrap();
    });
    let _ = at(&directory).remove(NAME);
    assert_eq!(count_files(directory.path()), 0);
}

#[test]
fn what_is_in_use_or_no_ring_survives_the_sweep() {
    let _alone = alone();
    let directory = stage();
    let builder = at(&directory);
    let used = builder.create("used").unwrap();
    drop(builder.create("stale").unwrap());
    let files =
        ["notes", "ufr-notes", ".ufr-notes", ".ufr-x.lock-123", ".ufr-x.old-0123456789abcdef"];
    for file in files {
        std::fs::write(directory.path().join(file), b"x").unwrap();
    }
    assert_eq!(builder.sweep().unwrap(), 0);
    // A ring that was removed while it is in use needs its lock file no more by name.
    builder.remove("used").unwrap();
    used.send_fast(b"x", NORMAL).unwrap();
    let left = ".ufr-x.lock-0123456789abcdef";
    std::fs::write(directory.path().join(left), b"").unwrap();
    assert_eq!(builder.sweep().unwrap(), 1);
    assert!(!directory.path().join(left).exists());
    assert!(builder.remove_stale("stale").unwrap());
    assert_eq!(count_files(directory.path()), files.len());
}
