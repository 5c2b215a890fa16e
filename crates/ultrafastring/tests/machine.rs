//! Machines that lack something: room, memory, descriptors, locks, calls, directories, or that
//! keep processes apart.
//!
//! Each lack is made to happen for a process of its own ([`play`]): by a limit, a filter of system
//! calls (seccomp), or a namespace that `unshare` gives it. Where the machine does not let
//! namespaces be made, the tests that need one say so and nothing else, or fail where
//! `UFR_NO_SKIPS` is set.

#![cfg(all(feature = "std", target_arch = "x86_64", not(loom)))]

mod common;

use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

use common::actor::{self, Actor, order, say};
use common::forbid::{SeccompCmpOp, forbid};
use common::{patiently, skip, stage};
use rustix::process::{Resource, Rlimit, setrlimit};
use tempfile::TempDir;
use ultrafastring::FileError;
use ultrafastring::{Builder, PriorityClass, RecvError, RingError, SendError, UltraFastRing};

const NORMAL: PriorityClass = PriorityClass::Normal;
const NAME: &str = "stage";

fn at(directory: &TempDir) -> Builder {
    Builder::new().directory(directory.path())
}

// ---- acting ------------------------------------------------------------------------------

#[test]
fn an_actor_plays_its_part() {
    let Some((words, directory)) = actor::part() else { return };
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    play(&words, &directory);
}

fn limit(resource: Resource, to: u64) {
    setrlimit(resource, Rlimit { current: Some(to), maximum: Some(to) }).unwrap();
}

/// The same so that it can be raised again.
fn limit_softly(resource: Resource, to: u64) {
    let maximum = rustix::process::getrlimit(resource).maximum;
    setrlimit(resource, Rlimit { current: Some(to), maximum }).unwrap();
}

fn play(words: &[&str], directory: &Path) {
    let builder = Builder::new().directory(directory).participant_name(words[0]);
    match words[0] {
        "no-memory-file" => {
            for errno in [libc::EPERM, libc::ENOSYS] {
                forbid(libc::SYS_memfd_create, None, errno);
                let error = builder.anonymous().unwrap_err();
                assert!(matches!(error, RingError::NoMemoryFile), "{error:?}");
                assert!(error.to_string().contains("named ring"));
            }
            // What it says to do works.
            builder.create("instead").unwrap().send_fast(b"x", NORMAL).unwrap();
        }
        "no-locks" => {
            let ring = builder.open(NAME).unwrap();
            for errno in [libc::ENOLCK, libc::EINVAL] {
                forbid(
                    libc::SYS_fcntl,
                    Some((1, SeccompCmpOp::Eq, libc::F_OFD_SETLK as u64)),
                    errno,
                );
                let error = ring.producer().unwrap_err();
                assert!(
                    matches!(error, RingError::File { kind: FileError::NoLocks, .. }),
                    "{error:?}"
                );
                assert_eq!(ring.send_fast(b"x", NORMAL), Err(SendError::NoEntry));
                assert!(ring.repair().is_err() || ring.participants().count() == 0);
            }
        }
        "no-handle" => {
            let registered = || {
                const GET_REGISTRATIONS: libc::c_int = 1 << 9;
                // SAFETY: it reads numbers, and no memory.
                unsafe { libc::syscall(libc::SYS_membarrier, GET_REGISTRATIONS, 0, 0) }
            };
            let before = registered();
            if before < 0 {
                skip("this kernel does not tell of registrations");
            } else {
                let global_expedited =
                    libc::c_long::from(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED);
                assert_eq!(before & global_expedited, 0);
                let _ring = builder.open(NAME).unwrap();
                assert_eq!(registered() & global_expedited, global_expedited);
            }
        }
        "no-descriptors" => {
            let ring = builder.open(NAME).unwrap();
            let mut producer = ring.producer().unwrap();
            limit(Resource::Nofile, 3);
            for error in [
                builder.open(NAME).unwrap_err(),
                builder.create("other").unwrap_err(),
                builder.anonymous().unwrap_err(),
                ring.consumer().unwrap_err(),
                ring.examine().unwrap_err(),
            ] {
                assert!(
                    matches!(error, RingError::File { kind: FileError::NoDescriptors, .. }),
                    "{error:?}"
                );
                assert!(error.to_string().contains("ulimit -n"));
            }
            // Who cannot ask does not take the living for dead.
            assert!(ring.participants().all(|it| it.alive));
            assert_eq!(ring.recv_fast(&mut [0; 40]), Err(RecvError::NoEntry));
            // What is there goes on.
            producer.send_fast(b"still here", NORMAL).unwrap();
        }
        "few-descriptors" => {
            // The least number that is free: those above may be taken, and are kept under a limit.
            let free = std::fs::File::open("/").unwrap().as_raw_fd() as u64;
            let (mut made, mut refused) = (0, 0);
            for spare in 0..8 {
                limit_softly(Resource::Nofile, free + spare);
                let outcome = builder.create(NAME);
                limit_softly(Resource::Nofile, free + 64);
                match outcome {
                    Ok(ring) => {
                        made += 1;
                        ring.send_fast(b"x", NORMAL).unwrap();
                        builder.open(NAME).unwrap();
                        builder.remove(NAME).unwrap();
                    }
                    Err(error) => {
                        refused += 1;
                        assert!(
                            matches!(error, RingError::File { kind: FileError::NoDescriptors, .. }),
                            "{error:?}"
                        );
                    }
                }
                let left: Vec<_> = std::fs::read_dir(directory).unwrap().collect();
                assert!(left.is_empty(), "with {spare} to spare it left {left:?}");
            }
            assert!(made > 0 && refused > 0, "made {made} times, refused {refused} times");
        }
        "no-memory" => {
            // Room for what is there, and not for a ring of 64 MiB.
            let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
            let pages: u64 = pages.split(' ').next().unwrap().parse().unwrap();
            limit(Resource::As, pages * 4_096 + (32 << 20));
            let large = builder.clone().capacity(1 << 20);
            assert!(matches!(large.heap(), Err(RingError::OutOfMemory { .. })));
            for error in [large.open(NAME).unwrap_err(), large.create("other").unwrap_err()] {
                assert!(matches!(error, RingError::OutOfMemory { bytes } if bytes > 64 << 20));
            }
            let other = |file: &str| file.contains("other");
            let left = std::fs::read_dir(directory).unwrap().map(|it| it.unwrap().file_name());
            let left: Vec<_> = left.filter(|it| other(&it.to_string_lossy())).collect();
            assert!(left.is_empty(), "it left {left:?}");
        }
        "small-tmpfs" => {
            let error = builder.clone().capacity(1 << 12).create("large").unwrap_err();
            assert!(
                matches!(error, RingError::File { kind: FileError::NoSpace { .. }, .. }),
                "{error:?}"
            );
            assert!(std::fs::read_dir(directory).unwrap().next().is_none(), "it left something");
            // All memory is there from the beginning, so a ring that was made works to its end,
            // though nothing is left for others.
            let ring = builder.capacity(64).participants(2).create("small").unwrap();
            let mut filler = std::fs::File::create(directory.join("filler")).unwrap();
            while std::io::Write::write(&mut filler, &[1; 4_096]).is_ok() {}
            let mut buffer = [0; 40];
            for _ in 0..1_000 {
                ring.send_fast(&[7; 40], NORMAL).unwrap();
                ring.recv_fast(&mut buffer).unwrap();
            }
        }
        "tmpfs-without-inodes" => {
            for number in 0.. {
                match builder.clone().capacity(1).participants(1).create(&number.to_string()) {
                    Ok(_) => assert!(number < 16, "there are more inodes than there should be"),
                    Err(error) => {
                        assert!(
                            matches!(
                                error,
                                RingError::File { kind: FileError::NoSpace { .. }, .. }
                            ),
                            "{error:?}"
                        );
                        break;
                    }
                }
            }
        }
        "works-here" => {
            let ring = builder.capacity(64).create("here").unwrap();
            ring.send_fast(b"x", NORMAL).unwrap();
            ring.recv_fast(&mut [0; 40]).unwrap();
        }
        "small-files" => {
            let small = builder.clone().capacity(16).participants(4);
            let bytes = small.pages() * 4_096;
            limit(Resource::Fsize, bytes as u64);
            for large in [builder.clone().capacity(1 << 12), small.clone().max_message(1 << 20)] {
                for error in [large.create("large").unwrap_err(), large.anonymous().unwrap_err()] {
                    assert!(
                        matches!(error, RingError::File { kind: FileError::FileSizeLimit { bytes: asked, limit, .. }, .. }
                            if asked > bytes && limit == bytes as u64),
                        "{error:?}"
                    );
                    assert!(error.to_string().contains("ulimit -f"));
                }
            }
            assert!(std::fs::read_dir(directory).unwrap().next().is_none(), "it left something");
            for ring in [small.create("small").unwrap(), small.anonymous().unwrap()] {
                ring.send_fast(&[7; 40], NORMAL).unwrap();
                ring.recv_fast(&mut [0; 40]).unwrap();
            }
        }
        "own-descriptors" => own_descriptors(&builder, directory),
        "read-only" => {
            let error = builder.create("here").unwrap_err();
            assert!(error.to_string().contains("Read-only file system"), "{error}");
        }
        "no-proc" => {
            assert!(!Path::new("/proc/self").exists());
            let ring = builder.create("here").unwrap();
            ring.send_fast(b"x", NORMAL).unwrap();
            let mut consumer = ring.consumer().unwrap();
            consumer.try_recv().unwrap();
            assert_eq!(ring.participants().filter(|it| it.alive).count(), 2);
            let anonymous = builder.anonymous().unwrap();
            let text = anonymous.producer().unwrap_err().to_string();
            assert!(text.contains("/proc, which is not mounted"), "{text}");
        }
        "nothing-in-shm" => {
            let error = UltraFastRing::create("ufr-test-nothing").unwrap_err();
            assert!(
                matches!(error, RingError::File { kind: FileError::NoDirectory, .. }),
                "{error:?}"
            );
            assert!(error.to_string().contains("/dev/shm"));
            assert!(matches!(
                UltraFastRing::open("ufr-test-nothing"),
                Err(RingError::File { kind: FileError::NoDirectory, .. })
            ));
        }
        "far-away" => {
            let ring = builder.open(NAME).unwrap();
            let mut consumer = ring.consumer().unwrap();
            patiently("what to hold", || consumer.try_borrow().ok().map(std::mem::forget));
            say("holding");
            order();
        }
        role => panic!("there is no role {role}"),
    }
    say("as it should be");
}

/// A thread that has descriptors of its own (unshare(2), CLONE_FILES): what a number means there,
/// it means in no other thread.
fn own_descriptors(builder: &Builder, directory: &Path) {
    let builder = builder.clone().exclusive_producer().capacity(16).participants(4);
    let (to_leader, from_thread) = channel::<[UltraFastRing; 2]>();
    let (to_thread, from_leader) = channel::<()>();
    let thread = {
        let builder = builder.clone();
        std::thread::spawn(move || {
            // SAFETY: it concerns this thread's descriptors only, of which it uses its own.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_FILES) }, 0);
            let ring = builder.create(NAME).unwrap();
            let (again, anonymous) = (builder.open(NAME).unwrap(), builder.anonymous().unwrap());
            let taken = builder.anonymous().unwrap();
            to_leader.send([again, taken]).unwrap();
            from_leader.recv().unwrap();
            let mut producer = ring.exclusive_producer().unwrap();
            producer.send_fast(b"x", NORMAL).unwrap();
            assert!(matches!(ring.exclusive_producer(), Err(RingError::SideTaken { .. })));
            let _other = anonymous.exclusive_producer().unwrap();
            assert!(matches!(anonymous.exclusive_producer(), Err(RingError::SideTaken { .. })));
            // The leader looks, and takes what it was given.
            from_leader.recv().unwrap();
            // What is dropped in another thread than it was made in closes a number there.
            std::mem::forget((ring, anonymous));
        })
    };
    let [named, anonymous] = from_thread.recv().unwrap();
    // Other files of the leader's get the numbers that the thread's have.
    let path = directory.join("other");
    let others: Vec<_> = (0..32).map(|_| std::fs::File::create(&path).unwrap()).collect();
    to_thread.send(()).unwrap();
    let other = builder.open(NAME).unwrap();
    patiently("the thread's message", || (other.len() == 1).then_some(()));
    assert!(matches!(other.exclusive_producer(), Err(RingError::SideTaken { .. })));
    // A named ring's lock file is found by its name, an anonymous one's is not to be found here.
    assert!(matches!(named.exclusive_producer(), Err(RingError::SideTaken { .. })));
    let mut buffer = [0; 40];
    assert_eq!(named.consumer().unwrap().recv_fast(&mut buffer).unwrap().0, 1);
    let error = anonymous.consumer().unwrap_err();
    assert!(
        matches!(error, RingError::File { kind: FileError::ForeignDescriptor, .. }),
        "{error:?}"
    );
    assert!(named.participants().all(|it| it.alive));
    to_thread.send(()).unwrap();
    thread.join().unwrap();
    std::mem::forget((named, anonymous, others));
}

#[track_caller]
fn goes_as_it_should(mut actor: Actor) {
    assert_eq!(actor.hear(), "as it should be");
    actor.finish();
}

/// Whether this machine lets namespaces be made; said aloud where it does not.
fn can_unshare() -> bool {
    let able = Command::new("unshare")
        .args(["-rmpf", "--mount-proc", "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !able {
        skip("no namespaces can be made here (unshare)");
    }
    able
}

/// An actor with mounts of its own: `prepare` is shell script, in which $0 is the directory.
fn start_with_mounts(directory: &Path, prepare: &str, role: &str) -> Actor {
    let script = format!("{prepare} && exec \"$@\"");
    let directory_text = directory.to_str().unwrap();
    Actor::start_through(&["unshare", "-rm", "sh", "-ec", &script, directory_text], directory, role)
}

// ---- limits --------------------------------------------------------------------------------

#[test]
fn where_memory_files_are_forbidden_the_error_says_what_to_do() {
    let directory = stage();
    goes_as_it_should(Actor::start(directory.path(), "no-memory-file"));
}

/// It takes the kernel milliseconds, for which a successor's first handle need not wait.
#[test]
fn a_process_is_fenced_by_sleepers_before_its_first_handle() {
    let directory = stage();
    let _ring = at(&directory).create(NAME).unwrap();
    goes_as_it_should(Actor::start(directory.path(), "no-handle"));
}

#[test]
fn where_there_are_no_locks_the_error_says_so() {
    let directory = stage();
    let _ring = at(&directory).create(NAME).unwrap();
    goes_as_it_should(Actor::start(directory.path(), "no-locks"));
}

#[test]
fn a_process_without_descriptors_gets_errors_and_its_handles_go_on() {
    let directory = stage();
    let ring = at(&directory).create(NAME).unwrap();
    goes_as_it_should(Actor::start(directory.path(), "no-descriptors"));
    let mut buffer = [0; 40];
    let (size, ..) = ring.recv_fast(&mut buffer).unwrap();
    assert_eq!(&buffer[..size], b"still here");
}

#[test]
fn a_process_with_few_descriptors_makes_a_whole_ring_or_leaves_nothing() {
    let directory = stage();
    goes_as_it_should(Actor::start(directory.path(), "few-descriptors"));
}

#[test]
fn a_process_without_memory_gets_an_error_and_leaves_no_half_ring() {
    let directory = stage();
    let _ring = at(&directory).capacity(1 << 20).create(NAME).unwrap();
    goes_as_it_should(Actor::start(directory.path(), "no-memory"));
}

#[test]
fn a_file_system_without_room_is_an_error_at_creation_and_nothing_later() {
    if can_unshare() {
        let directory = stage();
        let mount = "mount -t tmpfs -o size=64k none \"$0\"";
        goes_as_it_should(start_with_mounts(directory.path(), mount, "small-tmpfs"));
    }
}

#[test]
fn a_process_that_may_make_no_large_file_gets_an_error_and_no_signal() {
    let directory = stage();
    goes_as_it_should(Actor::start(directory.path(), "small-files"));
}

#[test]
fn a_thread_with_descriptors_of_its_own_locks_the_ring_and_nothing_else() {
    let directory = stage();
    goes_as_it_should(Actor::start(directory.path(), "own-descriptors"));
}

#[test]
fn a_file_system_without_inodes_is_an_error_at_creation() {
    if can_unshare() {
        let directory = stage();
        let mount = "mount -t tmpfs -o nr_inodes=4 none \"$0\"";
        goes_as_it_should(start_with_mounts(directory.path(), mount, "tmpfs-without-inodes"));
    }
}

#[test]
fn a_file_system_that_cannot_allocate_is_written_instead() {
    if can_unshare() {
        let directory = stage();
        let mount = "mount -t ramfs none \"$0\"";
        goes_as_it_should(start_with_mounts(directory.path(), mount, "works-here"));
    }
}

#[test]
fn a_file_system_that_is_read_only_is_an_error_that_says_so() {
    if can_unshare() {
        let directory = stage();
        let mount = "mount -t tmpfs -o ro none \"$0\"";
        goes_as_it_should(start_with_mounts(directory.path(), mount, "read-only"));
    }
}

#[test]
fn without_proc_named_rings_work_and_anonymous_ones_say_what_is_missing() {
    if can_unshare() {
        let directory = stage();
        let mount = "mount -t tmpfs none /proc";
        goes_as_it_should(start_with_mounts(directory.path(), mount, "no-proc"));
    }
}

#[test]
fn a_directory_that_is_missing_is_an_error_that_names_it() {
    let directory = stage();
    let missing = directory.path().join("missing");
    let builder = Builder::new().directory(&missing);
    for error in [
        builder.create(NAME).unwrap_err(),
        builder.open(NAME).unwrap_err(),
        builder.observe(NAME).unwrap_err(),
        builder.open_or_create(NAME).unwrap_err(),
        builder.remove(NAME).unwrap_err(),
        builder.remove_stale(NAME).unwrap_err(),
        builder.list().unwrap_err(),
        builder.sweep().unwrap_err(),
    ] {
        assert!(
            matches!(
                &error,
                RingError::File { path, kind: FileError::NoDirectory } if *path == missing
            ),
            "{error:?}"
        );
    }
    if can_unshare() {
        let mount = "mount -t tmpfs none /dev";
        goes_as_it_should(start_with_mounts(directory.path(), mount, "nothing-in-shm"));
    }
}

// ---- processes that are kept apart ---------------------------------------------------------

/// Two processes of which one is in the namespaces that `unshare` gives it, where pids mean
/// something else: they talk, and what it held is redelivered when it is killed.
fn kept_apart(namespaces: &[&str]) {
    if !can_unshare() {
        return;
    }
    let directory = stage();
    let ring = at(&directory).capacity(16).create(NAME).unwrap();
    let mut program = vec!["unshare", "--kill-child"];
    program.extend(namespaces);
    ring.send_fast(b"to be held", NORMAL).unwrap();
    let mut other = Actor::start_through(&program, directory.path(), "far-away");
    assert_eq!(other.hear(), "holding");
    let mut consumer = ring.consumer().unwrap();
    let there = ring.participants().find(|it| it.name.as_str() == "far-away").unwrap();
    let here = ring.participants().find(|it| it.pid == std::process::id()).unwrap();
    assert_ne!(there.pid_namespace, here.pid_namespace);
    assert!(there.alive);
    for _ in 0..2_000 {
        assert_eq!(consumer.try_recv().err(), Some(RecvError::Empty), "it lives, and was robbed");
    }
    other.kill();
    let message = patiently("what it held", || consumer.try_recv().ok());
    assert_eq!((&*message, message.is_redelivered()), (&b"to be held"[..], true));
}

#[test]
fn processes_in_different_pid_namespaces_share_a_ring_and_recover_from_each_others_death() {
    kept_apart(&["-rpf", "--mount-proc"]);
}

#[test]
fn processes_in_different_containers_share_a_ring_and_recover_from_each_others_death() {
    kept_apart(&["-r", "-p", "-f", "-m", "-u", "-i", "-n", "-C", "--mount-proc"]);
}
