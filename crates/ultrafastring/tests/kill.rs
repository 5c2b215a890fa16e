//! Processes that share a ring are killed at random moments, thousands of times, and started
//! again. A log outside the ring says in the end whether anything was lost, or came twice unmarked.
//!
//! ```text
//!   the log, shared memory of its own, by message number:
//!     sent      0 not begun    1 begun, its send has not returned    2 its send returned
//!     received  how often it was logged: unmarked in the low half, marked in the high half
//! ```
//!
//! Half of the victims are killed at once; a quarter are led on for a random number of single
//! instructions (ptrace(2)) and killed there; the last quarter are led to a place between claim and
//! commit, or between claim and release, and some instructions further. How often is counted by the ring itself: a slot is abandoned
//! after the former, a message redelivered after the latter. A trial goes on until there were
//! enough of both. `UFR_KILLS` says how many kills each trial makes at least: 1,000 by default.

#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod common;

use common::{Numbered, patiently};
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use ultrafastring::{
    Builder, Consumer, Finding, INLINE_SIZE, Mode, PriorityClass, Producer, RecvError, SendError,
    Sharing, Side, UltraFastRing,
};

const NAME: &str = "killed";

/// Messages that a trial may send.
const MOST: usize = 1 << 26;

/// Trials take turns: the more processes there are, the less each gets to do before it dies.
static TURN: Mutex<()> = Mutex::new(());

/// The log, in memory that all processes of a trial share.
struct Log {
    next: AtomicU64,
    stop: AtomicU64,
    /// Whether half of the messages are for side buffers.
    large: AtomicU64,
    sent: [AtomicU8; MOST],
    received: [AtomicU8; MOST],
}

/// One process's view of the log.
struct Shared(*mut Log);

impl Shared {
    fn new() -> Self {
        // SAFETY: a fresh mapping of the log's size, zero, which is a valid log.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<Log>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        assert_ne!(memory, libc::MAP_FAILED);
        Self(memory.cast())
    }

    fn log(&self) -> &Log {
        // SAFETY: mapped until this is dropped, and all of it atomics.
        unsafe { &*self.0 }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`, which nobody refers to any more.
        unsafe { libc::munmap(self.0.cast(), size_of::<Log>()) };
    }
}

impl Log {
    fn stopped(&self) -> bool {
        self.stop.load(SeqCst) != 0
    }

    fn note(&self, bytes: &[u8], redelivered: bool) {
        assert!(bytes.len() >= 12, "a message is cut: {bytes:?}");
        let number = u64::from_le_bytes(bytes[4..12].try_into().unwrap());
        assert!(number < MOST as u64, "a message is not one that was sent");
        let expected = message(number, self.large.load(SeqCst) != 0);
        assert!(bytes == expected, "message {number} is not what was sent");
        self.received[number as usize].fetch_add(if redelivered { 16 } else { 1 }, SeqCst);
    }
}

/// Bytes of the largest message of a trial with large ones.
const LARGEST: usize = 700;

/// The message with this number.
fn message(number: u64, large: bool) -> Vec<u8> {
    let mut bytes = Numbered::new(0, number).as_ref().to_vec();
    if large && number.is_multiple_of(2) {
        bytes.resize((41 + number as usize % 1_000).min(LARGEST), number as u8);
    }
    bytes
}

/// How a trial's consumers take messages.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Taking {
    /// Read, log, release: nothing may be missing.
    InPlace,
    /// One that has been taken may be missing for each consumer that was killed.
    Copying,
    /// As many as a batch.
    Batches,
}

const BATCH: usize = 4;

fn produce<S: Mode>(mut producer: Producer<S>, log: &Log) {
    let large = log.large.load(SeqCst) != 0;
    let class = |number: u64| PriorityClass::ALL[number as usize % 5];
    while !log.stopped() {
        // In turn one message, one written in place, and a batch.
        let way = log.next.load(SeqCst) % 3;
        let count = if way == 2 { 3 } else { 1 };
        let first = log.next.fetch_add(count, SeqCst);
        assert!(((first + count) as usize) < MOST, "the log is full");
        let batch: Vec<_> = (first..first + count).map(|n| message(n, large)).collect();
        (first..first + count).for_each(|n| log.sent[n as usize].store(1, SeqCst));
        let mut done = 0;
        while done < batch.len() {
            let rest = &batch[done..];
            let result = match way {
                0 => producer.send_fast(&rest[0], class(first)).map(|()| 1),
                1 => producer.reserve(rest[0].len(), class(first)).map(|mut place| {
                    place.copy_from_slice(&rest[0]);
                    place.commit();
                    1
                }),
                _ => producer.send_batch(rest, class(first)),
            };
            match result {
                Ok(sent) => {
                    let from = first as usize + done;
                    (from..from + sent).for_each(|n| log.sent[n].store(2, SeqCst));
                    done += sent;
                }
                Err(SendError::Full | SendError::OutOfCredit) => {
                    if log.stopped() {
                        return;
                    }
                    std::thread::yield_now();
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn consume<S: Mode>(consumer: &mut Consumer<S>, log: &Log, taking: Taking) {
    let mut buffer = Vec::new();
    while !log.stopped() {
        let result = match taking {
            Taking::InPlace => consumer.borrow().map(|message| {
                log.note(&message.to_vec(), message.is_redelivered());
            }),
            Taking::Copying => {
                consumer.recv_into(&mut buffer).map(|about| log.note(&buffer, about.redelivered))
            }
            Taking::Batches => {
                let mut buffers = [[0; LARGEST]; BATCH];
                consumer.recv_batch(&mut buffers).map(|batch| {
                    for (buffer, about) in buffers.iter().zip(&batch) {
                        log.note(&buffer[..about.size], about.redelivered);
                    }
                })
            }
        };
        match result {
            Ok(()) => {}
            Err(RecvError::Empty) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Takes a handle that suits the ring's side, waiting while the kernel has not yet noticed that
/// the last one's holder is gone, and works with it.
fn work_as(side: Side, builder: &Builder, log: &Log, taking: Taking) {
    let ring = builder.open(NAME).unwrap();
    match (side, ring.producer_side(), ring.consumer_side()) {
        (Side::Producer, Sharing::Shared, _) => produce(ring.producer().unwrap(), log),
        (Side::Producer, Sharing::Exclusive, _) => {
            produce(ring.exclusive_producer().unwrap(), log);
        }
        (Side::Consumer, _, Sharing::Shared) => consume(&mut ring.consumer().unwrap(), log, taking),
        (Side::Consumer, _, Sharing::Exclusive) => {
            consume(&mut ring.exclusive_consumer().unwrap(), log, taking);
        }
    }
}

/// A process that works until it is told to stop, or killed.
struct Worker {
    pid: libc::pid_t,
    side: Side,
}

impl Worker {
    fn start(side: Side, builder: &Builder, log: &Log, taking: Taking) -> Self {
        // SAFETY: the child uses the C library and the ring only, which mind forks, and ends
        // without returning.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
        if pid == 0 {
            // SAFETY: no memory is involved; if the test dies, so does this.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            let work = std::panic::AssertUnwindSafe(|| work_as(side, builder, log, taking));
            let done = std::panic::catch_unwind(work);
            // SAFETY: ends the process and runs nothing of the parent's.
            unsafe { libc::_exit(i32::from(done.is_err())) };
        }
        Self { pid, side }
    }

    fn wait(&self) -> i32 {
        let mut status = 0;
        // SAFETY: `status` is written and nothing else.
        assert_eq!(unsafe { libc::waitpid(self.pid, &raw mut status, 0) }, self.pid);
        assert!(
            !libc::WIFEXITED(status) || libc::WEXITSTATUS(status) == 0,
            "a process of the {} side failed",
            self.side.name()
        );
        status
    }

    fn signal(&self, signal: i32) {
        // SAFETY: a signal to a child that has not been waited for.
        assert_eq!(unsafe { libc::kill(self.pid, signal) }, 0);
    }

    fn kill(&self) {
        self.signal(libc::SIGKILL);
        while !libc::WIFSIGNALED(self.wait()) {}
    }

    /// Stops it, and leads it on until it has claimed something that it has not yet committed or
    /// released, or for `most` instructions; then for `more`, and kills it there.
    fn kill_on_the_way(&self, ring: &UltraFastRing, most: u64, more: u64) {
        let nothing = std::ptr::null_mut::<libc::c_void>();
        let trace = |request| {
            // SAFETY: requests that touch nothing of this process.
            assert_eq!(unsafe { libc::ptrace(request, self.pid, nothing, nothing) }, 0);
        };
        let step = || {
            trace(libc::PTRACE_SINGLESTEP);
            assert!(libc::WIFSTOPPED(self.wait()));
        };
        trace(libc::PTRACE_SEIZE);
        trace(libc::PTRACE_INTERRUPT);
        assert!(libc::WIFSTOPPED(self.wait()));
        let before = self.claimed(ring);
        for _ in 0..most {
            let now = self.claimed(ring);
            if now.is_some() && now != before {
                break;
            }
            step();
        }
        (0..more).for_each(|_| step());
        self.kill();
    }

    /// The last position that it has shown and won, as far as anyone can see.
    fn claimed(&self, ring: &UltraFastRing) -> Option<u64> {
        let info = ring.participants().find(|it| it.pid == self.pid as u32)?;
        let positions = ring.positions();
        let (shown, head) = match self.side {
            Side::Producer => (info.intent?, positions.producer_head),
            Side::Consumer => (info.hold?, positions.consumer_head),
        };
        let exclusive = info.sharing == Sharing::Exclusive;
        (exclusive || shown.0 + shown.1 <= head).then_some(shown.0)
    }
}

/// A step of a xorshift generator: moments need not be good random numbers, only different ones.
fn random(state: &mut u64, below: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % below
}

/// What a trial is about.
struct Trial {
    sharing: Sharing,
    taking: Taking,
    /// Whether half of the messages are for side buffers.
    large: bool,
    seed: u64,
}

impl Trial {
    fn run(&self) {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let kills: u64 =
            std::env::var("UFR_KILLS").map_or(1_000, |text| text.parse().expect("a number"));
        let shm = Path::new("/dev/shm");
        let parent = if shm.is_dir() { shm.into() } else { std::env::temp_dir() };
        let directory = tempfile::Builder::new().prefix("ufr-test-").tempdir_in(parent).unwrap();
        let builder = Builder::new()
            .directory(directory.path())
            .capacity(16)
            .participants(16)
            .max_message(if self.large { LARGEST } else { INLINE_SIZE })
            .producer_side(self.sharing)
            .consumer_side(self.sharing);
        let ring = builder.create(NAME).unwrap();
        let shared = Shared::new();
        let log = shared.log();
        log.large.store(u64::from(self.large), SeqCst);
        let start = |side| Worker::start(side, &builder, log, self.taking);
        let each = if self.sharing == Sharing::Shared { 2 } else { 1 };
        let mut workers: Vec<_> =
            [Side::Producer, Side::Consumer].repeat(each).into_iter().map(start).collect();

        let mut state = self.seed;
        let (mut killed, mut killed_consumers, mut stopped) = (0, 0, 0);
        // What must be met often, and can be: an exclusive side abandons nothing, and copies are
        // released when they are claimed.
        let met = |killed: u64| {
            let stats = ring.stats();
            let shared = self.sharing == Sharing::Shared;
            killed >= kills
                && (!shared || stats.abandoned >= kills / 20)
                && (self.taking != Taking::InPlace || stats.redelivered >= kills / 10)
        };
        while !met(killed) {
            assert!(
                killed < 100 * kills,
                "so many kills, and so few in between: {:?}",
                ring.stats()
            );
            std::thread::sleep(Duration::from_micros(random(&mut state, 400)));
            let at = random(&mut state, workers.len() as u64) as usize;
            let victim = &workers[at];
            match random(&mut state, 16) {
                // One that is stopped and lives keeps what it has.
                0 => {
                    victim.signal(libc::SIGSTOP);
                    std::thread::sleep(Duration::from_millis(3));
                    victim.signal(libc::SIGCONT);
                    stopped += 1;
                    continue;
                }
                1..8 => victim.kill(),
                8..12 => victim.kill_on_the_way(&ring, random(&mut state, 300), 0),
                _ => {
                    // The rest of its side stands still, else it would find nothing to claim.
                    let rest = || {
                        let others = workers.iter().filter(|it| it.pid != victim.pid);
                        others.filter(|it| it.side == victim.side)
                    };
                    rest().for_each(|other| other.signal(libc::SIGSTOP));
                    victim.kill_on_the_way(&ring, 2_000, random(&mut state, 30));
                    rest().for_each(|other| other.signal(libc::SIGCONT));
                }
            }
            killed += 1;
            killed_consumers += u64::from(victim.side == Side::Consumer);
            workers[at] = start(victim.side);
        }
        log.stop.store(1, SeqCst);
        workers.iter().for_each(|worker| assert!(libc::WIFEXITED(worker.wait())));
        self.settle(&ring, log, killed_consumers);
        let stats = ring.stats();
        println!(
            "{:?} sides, {:?}{}: {killed} kills ({killed_consumers} of consumers) and {stopped} stops \
             in {} messages; {} slots abandoned between claim and commit, {} messages redelivered \
             that were held",
            self.sharing,
            self.taking,
            if self.large { ", large ones too" } else { "" },
            log.next.load(SeqCst),
            stats.abandoned,
            stats.redelivered,
        );
    }

    /// Takes what is left, and compares what was sent with what was received.
    fn settle(&self, ring: &UltraFastRing, log: &Log, killed_consumers: u64) {
        let sent = log.next.load(SeqCst) as usize;
        let missing = || {
            (0..sent)
                .filter(|&n| log.sent[n].load(SeqCst) == 2 && log.received[n].load(SeqCst) == 0)
                .count() as u64
        };
        let may_miss = match self.taking {
            Taking::InPlace => 0,
            Taking::Copying => killed_consumers,
            Taking::Batches => killed_consumers * BATCH as u64,
        };
        // The last producer may have died between claim and commit: the next one's message tells.
        match self.sharing {
            Sharing::Shared => self.drain(ring, &mut ring.consumer().unwrap(), log, &missing),
            Sharing::Exclusive => {
                self.drain(ring, &mut ring.exclusive_consumer().unwrap(), log, &missing);
            }
        }
        let findings = ring.examine().unwrap();
        assert!(!findings.iter().any(Finding::is_damage), "{findings:?}");
        ring.repair().unwrap();
        assert_eq!(ring.examine().unwrap(), [], "nothing is left to do");
        let missing = missing();
        assert!(missing <= may_miss, "{missing} messages are missing, {may_miss} may be");
        for n in 0..sent {
            let received = log.received[n].load(SeqCst);
            let (unmarked, marked) = (received & 15, received >> 4);
            assert!(unmarked <= 1, "message {n} came {unmarked} times, unmarked");
            assert!(marked < 15, "message {n} came too often");
            assert!(log.sent[n].load(SeqCst) > 0 || received == 0, "message {n} was never sent");
        }
    }

    fn drain<S: Mode>(
        &self,
        ring: &UltraFastRing,
        consumer: &mut Consumer<S>,
        log: &Log,
        missing: &dyn Fn() -> u64,
    ) {
        let mut last = std::time::Instant::now();
        let mut buffer = Vec::new();
        patiently("an empty ring", || {
            if let Ok(about) = consumer.recv_into(&mut buffer) {
                log.note(&buffer, about.redelivered);
                last = std::time::Instant::now();
            }
            // What the dead left takes a moment to be noticed.
            let quiet = last.elapsed() > Duration::from_millis(100);
            (quiet && ring.is_empty() && (self.taking != Taking::InPlace || missing() == 0))
                .then_some(())
        });
    }
}

#[test]
fn shared_sides_that_read_in_place_lose_nothing() {
    Trial { sharing: Sharing::Shared, taking: Taking::InPlace, large: false, seed: 1 }.run();
}

#[test]
fn shared_sides_that_copy_lose_at_most_what_the_killed_had_in_hand() {
    Trial { sharing: Sharing::Shared, taking: Taking::Copying, large: false, seed: 2 }.run();
}

#[test]
fn shared_sides_that_receive_batches_lose_at_most_what_the_killed_had_in_hand() {
    Trial { sharing: Sharing::Shared, taking: Taking::Batches, large: false, seed: 3 }.run();
}

#[test]
fn exclusive_sides_that_read_in_place_lose_nothing() {
    Trial { sharing: Sharing::Exclusive, taking: Taking::InPlace, large: false, seed: 4 }.run();
}

#[test]
fn exclusive_sides_that_copy_lose_at_most_what_the_killed_had_in_hand() {
    Trial { sharing: Sharing::Exclusive, taking: Taking::Copying, large: false, seed: 5 }.run();
}

#[test]
fn messages_in_side_buffers_are_read_in_place_whole_whoever_is_killed() {
    Trial { sharing: Sharing::Shared, taking: Taking::InPlace, large: true, seed: 7 }.run();
}

#[test]
fn messages_in_side_buffers_are_copied_whole_whoever_is_killed() {
    Trial { sharing: Sharing::Shared, taking: Taking::Copying, large: true, seed: 8 }.run();
}

#[test]
fn messages_in_side_buffers_are_received_whole_in_batches_whoever_is_killed() {
    Trial { sharing: Sharing::Exclusive, taking: Taking::Batches, large: true, seed: 9 }.run();
}
