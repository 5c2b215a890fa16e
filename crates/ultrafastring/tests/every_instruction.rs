//! A peer may be killed at any instruction: here it is, at one after the other.
//!
//! A forked child is led through a call one machine instruction at a time (ptrace(2)) and killed;
//! then those who are left must find a ring that works, with nothing committed lost. Then the next
//! child gets one step further.
//!
//! A process leaves the ring's file behind and what the kernel keeps of it, such as its locks, and
//! nothing else. So two deaths are the same to those who are left if no instruction between them
//! changed the file or was a system call. The tests compare the file after each instruction and kill
//! a child after each one that changed it, and after each system call: at every instruction that
//! others can tell from the one before. `UFR_EVERY_INSTRUCTION=1` has them kill at every instruction,
//! whatever it does.

#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod common;

use common::patiently;
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;
use ultrafastring::{
    Builder, Consumer, Finding, INLINE_SIZE, Mode, PriorityClass, Producer, Sharing, Side,
    UltraFastRing, WaitStrategy,
};

const NORMAL: PriorityClass = PriorityClass::Normal;
const NAME: &str = "stepped";

/// Bytes of a message in a side buffer: two blocks of either copying loop, and some.
const LARGE: usize = 300;

/// How a life under observation ended.
#[derive(PartialEq)]
enum End {
    Killed,
    /// It came to the end of its work first.
    Finished,
}

/// When a life under observation ends.
#[derive(Clone)]
enum Moment {
    /// After so many instructions.
    Instruction(u64),
    /// After so many instructions that changed this file or were system calls.
    Change(u64, PathBuf),
}

/// The contents of a file, to be compared with what they are later.
struct Watched {
    file: File,
    seen: Vec<u8>,
    now: Vec<u8>,
}

impl Watched {
    fn new(path: &Path) -> Self {
        let seen = std::fs::read(path).unwrap();
        Self { file: File::open(path).unwrap(), now: seen.clone(), seen }
    }

    /// Whether they have changed since this was last asked.
    fn has_changed(&mut self) -> bool {
        self.file.read_exact_at(&mut self.now, 0).unwrap();
        let changed = self.now != self.seen;
        if changed {
            self.seen.copy_from_slice(&self.now);
        }
        changed
    }
}

/// Which instructions of a child are system calls.
#[derive(Default)]
struct SystemCalls {
    known: HashMap<u64, bool>,
}

impl SystemCalls {
    /// Whether the next instruction of `child`, which is stopped, is one.
    fn is_next(&mut self, child: libc::pid_t) -> bool {
        // SAFETY: plain numbers.
        let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        let mut room =
            libc::iovec { iov_base: (&raw mut registers).cast(), iov_len: size_of_val(&registers) };
        const NT_PRSTATUS: libc::c_int = 1;
        // SAFETY: the child is ours and stopped, and `registers` has so much room.
        let done =
            unsafe { libc::ptrace(libc::PTRACE_GETREGSET, child, NT_PRSTATUS, &raw mut room) };
        assert_eq!(done, 0);
        #[cfg(target_arch = "x86_64")]
        let at = registers.rip;
        #[cfg(target_arch = "aarch64")]
        let at = registers.pc;
        *self.known.entry(at).or_insert_with(|| {
            // SAFETY: reads a word of the child's.
            let word = unsafe { libc::ptrace(libc::PTRACE_PEEKTEXT, child, at, 0) };
            if cfg!(target_arch = "x86_64") {
                word & 0xffff == 0x050f // syscall
            } else {
                word & 0xffe0_001f == 0xd400_0001 // svc
            }
        })
    }
}

/// Forks a child that does `prepare` at full speed and then `work` until `moment`, when it is
/// killed.
fn live<T>(prepare: impl FnOnce() -> T, work: impl FnOnce(&mut T), moment: &Moment) -> End {
    live_and_count(prepare, work, moment).1
}

/// As [`live`], for a child that dies before its work.
fn live_for_nothing<T>(prepare: impl FnOnce() -> T) {
    live(prepare, |_| {}, &Moment::Instruction(0));
}

/// As [`live`]; says how many instructions it lived for.
fn live_and_count<T>(
    prepare: impl FnOnce() -> T,
    work: impl FnOnce(&mut T),
    moment: &Moment,
) -> (u64, End) {
    // SAFETY: the child uses the C library and the ring only, which mind forks, and ends without
    // returning.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork: {}", std::io::Error::last_os_error());
    if child == 0 {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut prepared = prepare();
            // SAFETY: these touch no memory; the stop waits for the parent.
            unsafe {
                libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
                libc::raise(libc::SIGSTOP);
            }
            work(&mut prepared);
            // What it has is not dropped: it dies with it.
            std::mem::forget(prepared);
        }));
        // SAFETY: ends the process and runs nothing of the parent's.
        unsafe { libc::_exit(i32::from(done.is_err())) };
    }
    let wait = || {
        let mut status = 0;
        // SAFETY: `status` is written and nothing else.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        status
    };
    assert!(libc::WIFSTOPPED(wait()), "the child failed before its work");
    let (mut steps, mut changes) = (0, 0);
    let mut calls = SystemCalls::default();
    let mut watched = match moment {
        Moment::Instruction(_) => None,
        Moment::Change(_, path) => Some(Watched::new(path)),
    };
    while match moment {
        Moment::Instruction(last) => steps < *last,
        Moment::Change(last, _) => changes < *last,
    } {
        let calling = watched.is_some() && calls.is_next(child);
        // SAFETY: the child is ours and stopped; it is told to go on for one instruction.
        assert_eq!(unsafe { libc::ptrace(libc::PTRACE_SINGLESTEP, child, 0, 0) }, 0);
        let status = wait();
        if libc::WIFEXITED(status) {
            assert_eq!(libc::WEXITSTATUS(status), 0, "the child failed at its work");
            return (steps, End::Finished);
        }
        assert!(libc::WIFSTOPPED(status));
        steps += 1;
        changes += u64::from(watched.as_mut().is_some_and(|it| it.has_changed()) || calling);
    }
    // SAFETY: a signal to our own child, which is waited for below.
    unsafe { libc::kill(child, libc::SIGKILL) };
    while !libc::WIFSIGNALED(wait()) {}
    (steps, End::Killed)
}

/// Has this thread and its children run on one core: a step is a switch from one to the other, and
/// takes several times as long between two cores.
fn stay_on_one_core() {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let allowed = rustix::thread::sched_getaffinity(None).unwrap();
    let cores: Vec<_> =
        (0..rustix::thread::CpuSet::MAX_CPU).filter(|&it| allowed.is_set(it)).collect();
    let mut one = rustix::thread::CpuSet::new();
    one.set(cores[NEXT.fetch_add(1, Ordering::Relaxed) % cores.len()]);
    // Where it is forbidden it only takes longer.
    let _ = rustix::thread::sched_setaffinity(None, &one);
}

/// Calls `trial` with longer and longer lives, until one comes to its end.
fn at_every(directory: &TempDir, mut trial: impl FnMut(&Moment) -> End) {
    stay_on_one_core();
    let begun = std::time::Instant::now();
    let everywhere = std::env::var_os("UFR_EVERY_INSTRUCTION").is_some_and(|it| it != "0");
    let path = Builder::new().directory(directory.path()).path(NAME).unwrap();
    let moment = |number| match everywhere {
        true => Moment::Instruction(number),
        false => Moment::Change(number, path.clone()),
    };
    let mut number = 0;
    while trial(&moment(number)) == End::Killed {
        number += 1;
    }
    let what = if everywhere { "instructions" } else { "changes and system calls" };
    println!("killed after each of {number} {what}, in {:?}", begun.elapsed());
    assert!(number > if everywhere { 30 } else { 2 }, "the work was only {number} {what}");
}

/// As [`at_every`], with and without a repair after the death and before anybody uses the ring.
fn at_every_and_repaired(directory: &TempDir, mut trial: impl FnMut(&Moment, bool) -> End) {
    at_every(directory, |moment| {
        if trial(moment, true) == End::Finished { End::Finished } else { trial(moment, false) }
    });
}

fn stage() -> TempDir {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.into() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("ufr-test-").tempdir_in(parent).unwrap()
}

fn two_slots(directory: &TempDir) -> Builder {
    Builder::new().directory(directory.path()).capacity(2).participants(6)
}

/// A fresh ring for one trial.
fn fresh(builder: &Builder) -> UltraFastRing {
    let _ = builder.remove(NAME);
    builder.create(NAME).unwrap()
}

/// The ring passes messages of a new producer to a new consumer, over several laps, in order, and
/// nothing else but what `leftovers` takes.
fn works<P: Mode, C: Mode>(
    mut producer: Producer<P>,
    mut consumer: Consumer<C>,
    mut leftovers: impl FnMut(&[u8], bool),
) {
    let mut message = Vec::new();
    for number in 0..6u8 {
        let mut received = false;
        let mut sent = false;
        patiently("a message sent after a death", || {
            sent = sent || producer.send_fast(&[number], NORMAL).is_ok();
            if let Ok(about) = consumer.recv_into(&mut message) {
                match message[..] {
                    [one] => {
                        assert_eq!((one, about.redelivered), (number, false));
                        received = true;
                    }
                    _ => leftovers(&message, about.redelivered),
                }
            }
            (sent && received).then_some(())
        });
    }
}

/// [`works`], with handles that suit the ring's sides.
fn still_works(ring: &UltraFastRing, leftovers: impl FnMut(&[u8], bool)) {
    use Sharing::{Exclusive, Shared};
    match (ring.producer_side(), ring.consumer_side()) {
        (Shared, Shared) => works(ring.producer().unwrap(), ring.consumer().unwrap(), leftovers),
        (Exclusive, Exclusive) => {
            works(ring.exclusive_producer().unwrap(), ring.exclusive_consumer().unwrap(), leftovers)
        }
        _ => unreachable!("no trial mixes its sides"),
    }
}

/// The doctor finds no damage, and leaves nothing to do but to redeliver what was held.
fn is_repaired(ring: &UltraFastRing) {
    let findings = ring.examine().unwrap();
    assert!(!findings.iter().any(Finding::is_damage), "{findings:?}");
    ring.repair().unwrap();
    let left = ring.examine().unwrap();
    assert!(left.iter().all(|it| matches!(it, Finding::Dead { hold: Some(_), .. })), "{left:?}");
}

/// A producer that has sent `before` is killed in `work`, which sends what is longer than a byte.
fn kill_a_producer<S: Mode>(
    directory: &TempDir,
    builder: &Builder,
    take: fn(&UltraFastRing) -> Producer<S>,
    work: fn(&mut Producer<S>),
    sends: &[&[u8]],
) {
    at_every_and_repaired(directory, |moment, repairs| {
        let ring = fresh(builder);
        let end = live(|| take(&builder.open(NAME).unwrap()), work, moment);
        if repairs {
            is_repaired(&ring);
        }
        let mut left = Vec::new();
        still_works(&ring, |message, redelivered| {
            assert!(!redelivered);
            left.push(message.to_vec());
        });
        assert!(sends.starts_with(&left.iter().map(|m| &m[..]).collect::<Vec<_>>()), "{left:?}");
        assert!(end == End::Killed || left.len() == sends.len(), "what was sent is lost");
        end
    });
}

/// Whether a consumer that has just died had released what it had taken: until then it is somebody
/// else's to receive.
fn has_released(ring: &UltraFastRing) -> bool {
    // An exclusive consumer moves the head when it releases; a shared one when it claims, and from
    // before that until it releases it shows a hold, if the two are not one.
    let holds = || ring.participants().any(|it| it.hold.is_some());
    ring.positions().consumer_head != 0 && (ring.consumer_side() == Sharing::Exclusive || !holds())
}

/// A consumer is killed in `work`, with two messages in the ring, of which `leaves` are left when
/// its work is done.
fn kill_a_consumer<S: Mode>(
    directory: &TempDir,
    builder: &Builder,
    take: fn(&UltraFastRing) -> Consumer<S>,
    work: fn(&mut Consumer<S>),
    leaves: usize,
) {
    at_every_and_repaired(directory, |moment, repairs| {
        let ring = fresh(builder);
        let messages: [&[u8]; 2] = match ring.max_message() {
            INLINE_SIZE => [b"one", b"two"],
            _ => [&[1; LARGE], &[2; LARGE]],
        };
        match ring.producer_side() {
            Sharing::Shared => ring.producer().unwrap().send_batch(&messages, NORMAL),
            Sharing::Exclusive => ring.exclusive_producer().unwrap().send_batch(&messages, NORMAL),
        }
        .unwrap();
        let end = live(|| take(&builder.open(NAME).unwrap()), work, moment);
        let released = has_released(&ring);
        if repairs {
            is_repaired(&ring);
        }
        let mut left = Vec::new();
        still_works(&ring, |message, redelivered| {
            // One that was about to be claimed when its consumer died comes twice, marked.
            let again = left.iter().any(|seen| seen == message);
            assert!(redelivered || !again, "{message:?} comes twice, unmarked");
            if !again {
                left.push(message.to_vec());
            }
        });
        // What the dead one held may come after the rest.
        left.sort();
        assert!(messages.ends_with(&left.iter().map(|m| &m[..]).collect::<Vec<_>>()), "{left:?}");
        // Not one fewer than it had released, and not one more.
        assert_eq!(left.len(), if released { leaves } else { 2 }, "{left:?} are left");
        assert!(end == End::Killed || left.len() == leaves, "{left:?} are left by who lived");
        end
    });
}

#[test]
fn a_shared_producer_killed_while_it_sends() {
    let directory = stage();
    kill_a_producer(
        &directory,
        &two_slots(&directory),
        |ring| ring.producer().unwrap(),
        |producer| producer.send_fast(b"sent", NORMAL).unwrap(),
        &[b"sent"],
    );
}

#[test]
fn a_shared_producer_killed_while_it_sends_a_batch() {
    let directory = stage();
    kill_a_producer(
        &directory,
        &two_slots(&directory),
        |ring| ring.producer().unwrap(),
        |producer| assert_eq!(producer.send_batch(&[b"sent", b"also"], NORMAL), Ok(2)),
        &[b"sent", b"also"],
    );
}

#[test]
fn an_exclusive_producer_killed_while_it_sends_a_batch() {
    let directory = stage();
    kill_a_producer(
        &directory,
        &two_slots(&directory).exclusive_producer().exclusive_consumer(),
        |ring| ring.exclusive_producer().unwrap(),
        |producer| assert_eq!(producer.send_batch(&[b"sent", b"also"], NORMAL), Ok(2)),
        &[b"sent", b"also"],
    );
}

/// A producer is killed in its send, with a consumer asleep. If it came as far as the commit the
/// consumer must get the message, rung for or not; if it did not, it is woken by the next one.
fn kill_a_waker<P: Mode, C: Mode>(
    directory: &TempDir,
    builder: &Builder,
    take: fn(&UltraFastRing) -> Producer<P>,
    take_consumer: fn(&UltraFastRing) -> Consumer<C>,
) {
    at_every(directory, |moment| {
        let ring = fresh(builder);
        let mut consumer = take_consumer(&ring);
        consumer.set_wait_strategy(WaitStrategy::Park);
        let receiving = std::thread::spawn(move || {
            let message = consumer.recv_timeout(std::time::Duration::from_secs(120));
            message.map(|message| message.to_vec())
        });
        patiently("the consumer sleeps", || ring.is_asleep(Side::Consumer).then_some(()));
        let end = live(
            || take(&builder.open(NAME).unwrap()),
            |producer| producer.send_fast(b"sent", NORMAL).unwrap(),
            moment,
        );
        // Claimed means on a shared side that the consumer gets the message, or passes over what
        // was not committed; on an exclusive one it is only seen once committed.
        if !ring.is_empty() {
            patiently("the consumer goes on by itself", || {
                (ring.positions().consumer_head != 0).then_some(())
            });
        }
        if ring.positions().consumer_head != 0 && ring.stats().abandoned == 0 {
            assert_eq!(receiving.join().unwrap().unwrap(), b"sent");
        } else {
            assert!(end == End::Killed, "what was sent is lost");
            take(&ring).send_fast(b"next", NORMAL).unwrap();
            assert_eq!(receiving.join().unwrap().unwrap(), b"next");
        }
        end
    });
}

#[test]
fn an_exclusive_producer_killed_between_its_commit_and_waking_a_consumer() {
    let directory = stage();
    kill_a_waker(
        &directory,
        &two_slots(&directory).exclusive_producer().exclusive_consumer(),
        |ring| ring.exclusive_producer().unwrap(),
        |ring| ring.exclusive_consumer().unwrap(),
    );
}

#[test]
fn a_shared_producer_killed_between_its_commit_and_waking_a_consumer() {
    let directory = stage();
    kill_a_waker(
        &directory,
        &two_slots(&directory),
        |ring| ring.producer().unwrap(),
        |ring| ring.consumer().unwrap(),
    );
}

#[test]
fn a_shared_producer_killed_while_it_sends_from_a_side_buffer() {
    let directory = stage();
    kill_a_producer(
        &directory,
        &two_slots(&directory).max_message(LARGE),
        |ring| ring.producer().unwrap(),
        |producer| {
            producer.send_fast(&[1; LARGE], NORMAL).unwrap();
            let mut place = producer.reserve(LARGE, NORMAL).unwrap();
            place.write_at(0, &[2; LARGE / 2]);
            place.write_at(LARGE / 2, &[3; LARGE / 2]);
            place.commit();
        },
        &[&[1; LARGE], &[[2; LARGE / 2], [3; LARGE / 2]].concat()],
    );
}

#[test]
fn a_shared_consumer_killed_while_it_copies_a_side_buffer_takes_at_most_that_message_with_it() {
    let directory = stage();
    kill_a_consumer(
        &directory,
        &two_slots(&directory).max_message(LARGE),
        |ring| ring.consumer().unwrap(),
        |consumer| assert_eq!(consumer.recv_fast(&mut [0; LARGE]).unwrap().0, LARGE),
        1,
    );
}

#[test]
fn a_shared_consumer_killed_before_it_releases_a_side_buffer_loses_nothing() {
    let directory = stage();
    kill_a_consumer(
        &directory,
        &two_slots(&directory).max_message(LARGE),
        |ring| ring.consumer().unwrap(),
        |consumer| {
            let guard = consumer.borrow().unwrap();
            guard.read_at(0, &mut [0; LARGE]);
            std::mem::forget(guard);
        },
        2,
    );
}

#[test]
fn a_shared_consumer_killed_while_it_receives_a_copy_takes_at_most_that_message_with_it() {
    let directory = stage();
    kill_a_consumer(
        &directory,
        &two_slots(&directory),
        |ring| ring.consumer().unwrap(),
        |consumer| assert_eq!(&*consumer.try_recv().unwrap(), b"one"),
        1,
    );
}

#[test]
fn a_shared_consumer_killed_while_it_receives_a_batch_takes_at_most_that_batch_with_it() {
    let directory = stage();
    kill_a_consumer(
        &directory,
        &two_slots(&directory),
        |ring| ring.consumer().unwrap(),
        |consumer| assert_eq!(consumer.recv_batch(&mut [[0; 40]; 2]).unwrap().len(), 2),
        0,
    );
}

#[test]
fn a_shared_consumer_killed_before_it_releases_what_it_reads_in_place_loses_nothing() {
    let directory = stage();
    kill_a_consumer(
        &directory,
        &two_slots(&directory),
        |ring| ring.consumer().unwrap(),
        |consumer| std::mem::forget(consumer.borrow().unwrap()),
        2,
    );
}

#[test]
fn a_shared_consumer_killed_while_it_releases() {
    let directory = stage();
    kill_a_consumer(
        &directory,
        &two_slots(&directory),
        |ring| ring.consumer().unwrap(),
        |consumer| consumer.borrow().unwrap().release(),
        1,
    );
}

#[test]
fn an_exclusive_consumer_killed_while_it_reads_in_place_and_releases() {
    let directory = stage();
    kill_a_consumer(
        &directory,
        &two_slots(&directory).exclusive_producer().exclusive_consumer(),
        |ring| ring.exclusive_consumer().unwrap(),
        |consumer| consumer.borrow().unwrap().release(),
        1,
    );
}

#[test]
fn a_newcomer_killed_while_it_takes_over_a_dead_consumers_entry_loses_nothing() {
    let directory = stage();
    // As many entries as there are handles, so that the newcomer must take the dead one's.
    let builder = two_slots(&directory).participants(2);
    at_every(&directory, |moment| {
        let ring = fresh(&builder);
        ring.producer().unwrap().send_batch(&[b"one", b"two"], NORMAL).unwrap();
        let holding = || {
            let mut consumer = builder.open(NAME).unwrap().consumer().unwrap();
            std::mem::forget(consumer.borrow().unwrap());
            consumer
        };
        live_for_nothing(holding);
        live_for_nothing(|| builder.open(NAME).unwrap().consumer().unwrap());
        let end = live(
            || builder.open(NAME).unwrap(),
            |ring| {
                let mut consumer = ring.consumer().unwrap();
                std::mem::forget(consumer.borrow().unwrap());
                std::mem::forget(consumer);
            },
            moment,
        );
        let mut left = Vec::new();
        still_works(&ring, |message, redelivered| {
            assert!(redelivered || message == b"two");
            left.push(message.to_vec());
        });
        left.sort();
        left.dedup();
        assert_eq!(left, [b"one", b"two"]);
        end
    });
}

#[test]
fn an_exclusive_consumers_successor_killed_while_it_takes_over_leaves_what_was_held_marked() {
    let directory = stage();
    let builder = two_slots(&directory).exclusive_producer().exclusive_consumer();
    at_every(&directory, |moment| {
        let ring = fresh(&builder);
        ring.exclusive_producer().unwrap().send_batch(&[b"one", b"two"], NORMAL).unwrap();
        let hold = |ring: &mut UltraFastRing| {
            let mut consumer = ring.exclusive_consumer().unwrap();
            std::mem::forget(consumer.borrow().unwrap());
            std::mem::forget(consumer);
        };
        let open = || builder.open(NAME).unwrap();
        live_for_nothing(|| {
            let mut ring = open();
            hold(&mut ring);
            ring
        });
        let end = live(open, hold, moment);
        let mut left = Vec::new();
        still_works(&ring, |message, redelivered| {
            assert_eq!(redelivered, message == b"one", "{message:?}");
            left.push(message.to_vec());
        });
        assert_eq!(left, [b"one", b"two"]);
        end
    });
}

// ---- more calls ------------------------------------------------------------------------------

#[test]
fn a_shared_producer_killed_while_it_writes_in_place() {
    let directory = stage();
    kill_a_producer(
        &directory,
        &two_slots(&directory),
        |ring| ring.producer().unwrap(),
        |producer| {
            let mut place = producer.reserve(4, NORMAL).unwrap();
            place.copy_from_slice(b"sent");
            place.commit();
        },
        &[b"sent"],
    );
}

#[test]
fn a_shared_producer_killed_while_it_flushes_and_leaves() {
    let directory = stage();
    at_every(&directory, |moment| {
        let ring = fresh(&two_slots(&directory));
        let end = live(
            || {
                let mut producer = two_slots(&directory).open(NAME).unwrap().producer().unwrap();
                producer.send_fast(b"sent", NORMAL).unwrap();
                Some(producer)
            },
            |producer| drop(producer.take()),
            moment,
        );
        is_repaired(&ring);
        let mut left = Vec::new();
        still_works(&ring, |message, _| left.push(message.to_vec()));
        assert_eq!(left, [b"sent"], "what was sent is lost, or doubled");
        end
    });
}

#[test]
fn a_shared_consumer_killed_while_it_leaves_with_a_message_held() {
    let directory = stage();
    at_every(&directory, |moment| {
        let ring = fresh(&two_slots(&directory));
        ring.producer().unwrap().send_batch(&[b"one", b"two"], NORMAL).unwrap();
        let end = live(
            || {
                let mut consumer = two_slots(&directory).open(NAME).unwrap().consumer().unwrap();
                std::mem::forget(consumer.borrow().unwrap());
                Some(consumer)
            },
            |consumer| drop(consumer.take()),
            moment,
        );
        let mut left = Vec::new();
        still_works(&ring, |message, redelivered| {
            assert_eq!(redelivered, message == b"one");
            left.push(message.to_vec());
        });
        left.sort();
        assert!(left == [b"one", b"two"] || left == [b"two"], "{left:?}");
        assert!(end == End::Killed || left == [b"two"], "what was released came again");
        end
    });
}

#[test]
fn an_exclusive_producer_killed_while_it_sends() {
    let directory = stage();
    kill_a_producer(
        &directory,
        &two_slots(&directory).exclusive_producer().exclusive_consumer(),
        |ring| ring.exclusive_producer().unwrap(),
        |producer| producer.send_fast(b"sent", NORMAL).unwrap(),
        &[b"sent"],
    );
}

#[test]
fn an_exclusive_producers_successor_killed_while_it_takes_over_loses_nothing() {
    let directory = stage();
    let builder = two_slots(&directory).exclusive_producer().exclusive_consumer();
    at_every(&directory, |moment| {
        let ring = fresh(&builder);
        let send = |ring: &mut UltraFastRing| {
            let mut producer = ring.exclusive_producer().unwrap();
            producer.send_fast(b"sent", NORMAL).unwrap();
            std::mem::forget(producer);
        };
        let open = || builder.open(NAME).unwrap();
        live_for_nothing(|| {
            let mut ring = open();
            send(&mut ring);
            ring
        });
        let end = live(open, send, moment);
        let mut left = 0;
        still_works(&ring, |message, redelivered| {
            assert!(!redelivered && message == b"sent");
            left += 1;
        });
        assert!(left == 2 || left == 1 && end == End::Killed, "{left} of two messages are left");
        end
    });
}

// ---- survivors at their work -----------------------------------------------------------------

/// A process dies with `b"lost"` claimed and not committed; `b"next"` is committed behind it, by one
/// that was there before: whoever comes after a death finishes the dead one's work at once.
fn claim_and_die(builder: &Builder) {
    let mut after = builder.open(NAME).unwrap().producer().unwrap();
    let claim = || {
        let mut producer = builder.open(NAME).unwrap().producer().unwrap();
        std::mem::forget(producer.reserve(4, NORMAL).unwrap());
        producer
    };
    live_for_nothing(claim);
    after.send_fast(b"next", NORMAL).unwrap();
}

/// Receives in place, and keeps what it gets: nothing may be lost by its death.
fn hold_one<S: Mode>(consumer: &mut Consumer<S>) {
    while consumer.borrow().map(std::mem::forget).is_err() {}
}

#[test]
fn a_survivor_killed_while_it_abandons_and_skips_a_dead_producers_slot_loses_nothing() {
    let directory = stage();
    let builder = two_slots(&directory);
    at_every(&directory, |moment| {
        let ring = fresh(&builder);
        let prepare = || {
            let consumer = builder.open(NAME).unwrap().consumer().unwrap();
            claim_and_die(&builder);
            consumer
        };
        let end = live(prepare, hold_one, moment);
        let mut left = Vec::new();
        still_works(&ring, |message, _| left.push(message.to_vec()));
        left.dedup();
        assert_eq!(left, [b"next"]);
        assert!(ring.stats().abandoned <= 1);
        end
    });
}

#[test]
fn a_consumer_killed_while_it_skips_an_abandoned_slot_loses_nothing() {
    let directory = stage();
    let builder = two_slots(&directory);
    at_every(&directory, |moment| {
        let ring = fresh(&builder);
        claim_and_die(&builder);
        ring.repair().unwrap();
        let end = live(|| builder.open(NAME).unwrap().consumer().unwrap(), hold_one, moment);
        let mut left = Vec::new();
        still_works(&ring, |message, _| left.push(message.to_vec()));
        left.dedup();
        assert_eq!(left, [b"next"]);
        end
    });
}

/// A consumer dies that holds `b"one"` of `b"one"` and `b"two"`.
fn hold_and_die(builder: &Builder) {
    let ring = builder.open(NAME).unwrap();
    ring.producer().unwrap().send_batch(&[b"one", b"two"], NORMAL).unwrap();
    let hold = || {
        let mut consumer = builder.open(NAME).unwrap().consumer().unwrap();
        std::mem::forget(consumer.borrow().unwrap());
        consumer
    };
    live_for_nothing(hold);
}

#[test]
fn a_survivor_killed_while_it_redelivers_a_dead_consumers_message_loses_nothing() {
    let directory = stage();
    let builder = two_slots(&directory);
    at_every(&directory, |moment| {
        let ring = fresh(&builder);
        let prepare = || {
            let mut consumer = builder.open(NAME).unwrap().consumer().unwrap();
            hold_and_die(&builder);
            assert_eq!(&*consumer.try_recv().unwrap(), b"two");
            consumer
        };
        let end = live(prepare, hold_one, moment);
        let mut left = Vec::new();
        still_works(&ring, |message, redelivered| {
            assert!(redelivered, "{message:?} comes unmarked");
            left.push(message.to_vec());
        });
        left.dedup();
        assert_eq!(left, [b"one"]);
        end
    });
}

#[test]
fn a_producer_killed_while_it_gets_a_dead_consumers_credit_back_leaves_a_ring_that_works() {
    let directory = stage();
    let builder = two_slots(&directory).redelivery(ultrafastring::Redelivery::Discard);
    at_every(&directory, |moment| {
        let ring = fresh(&builder);
        let end = live(
            || {
                let producer = builder.open(NAME).unwrap().producer().unwrap();
                hold_and_die(&builder);
                producer
            },
            |producer| while producer.send_fast(b"sent", NORMAL).is_err() {},
            moment,
        );
        let mut left = Vec::new();
        still_works(&ring, |message, _| left.push(message.to_vec()));
        assert!(
            left == [b"two".to_vec()] || left == [b"two".to_vec(), b"sent".to_vec()],
            "{left:?}"
        );
        assert!(end == End::Killed || left.len() == 2, "what was sent is lost");
        // Who dies between clearing the hold and counting takes the count along.
        let discarded = ring.stats().discarded;
        assert!(discarded == 1 || discarded == 0 && end == End::Killed, "{discarded} discarded");
        end
    });
}

// ---- what the fast path pays -----------------------------------------------------------------

/// The fewest instructions that `work` takes after one preparation or another: now and then a
/// message is one to announce.
fn fewest_instructions<T>(prepare: impl Fn(u64) -> T, work: fn(&mut T)) -> u64 {
    let count = |nth, work: fn(&mut T)| {
        live_and_count(|| prepare(nth), work, &Moment::Instruction(u64::MAX)).0
    };
    (0..12).map(|nth| count(nth, work).saturating_sub(count(nth, |_| {}))).min().unwrap()
}

#[test]
fn an_uncontended_send_and_receive_take_not_one_instruction_more_beside_the_dead() {
    let directory = stage();
    // No timestamps: with them it depends on the time when a handle announces.
    let builder = Builder::new()
        .directory(directory.path())
        .capacity(64)
        .participants(6)
        .timestamps(ultrafastring::Timestamps::Off);
    let measure = |dead: bool| {
        let ring = fresh(&builder);
        if dead {
            // They have taken part and died idle; their entries wait to be used again.
            let take = || {
                let ring = builder.open(NAME).unwrap();
                (ring.producer().unwrap(), ring.consumer().unwrap())
            };
            live_for_nothing(take);
            assert_eq!(ring.participants().filter(|it| !it.alive).count(), 2);
        }
        let ready = |nth| {
            let ring = builder.open(NAME).unwrap();
            let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
            // Until messages come thick and fast, as far as the handles can tell.
            for _ in 0..1_000 + nth {
                producer.send_fast(b"sixteen bytes ok", NORMAL).unwrap();
                consumer.recv_fast(&mut [0; 40]).unwrap();
            }
            producer.send_fast(b"sixteen bytes ok", NORMAL).unwrap();
            (producer, consumer)
        };
        let send = fewest_instructions(ready, |(producer, _)| {
            producer.send_fast(b"sixteen bytes ok", NORMAL).unwrap();
        });
        let receive = fewest_instructions(ready, |(_, consumer)| {
            consumer.recv_fast(&mut [0; 40]).unwrap();
        });
        (send, receive)
    };
    let (alone, beside) = (measure(false), measure(true));
    println!("send_fast and recv_fast: {alone:?} instructions alone, {beside:?} beside the dead");
    assert_eq!(alone, beside);
}
