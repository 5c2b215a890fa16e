//! Processes that share a ring are killed at random moments, thousands of times, and started
//! again. A log outside the ring says in the end whether anything was lost, or came twice unmarked.
//!
//! ```text
//!   the log, shared memory of its own, by message number:
//!     sent      0 not begun    1 begun, its send has not returned    2 its send returned
//!     received  how often it was logged: unmarked in the low half, marked in the high half
//! ```
//!
//! A third of the victims are killed at once; a quarter are led on for a random number of single
//! instructions (ptrace(2)) and killed there; the others are led to a place between claim and
//! commit, or between claim and release, and a few instructions further. After each kill the
//! segment itself is read ([`Words`]): what the victim shows, and where heads, frontier and slot
//! are, tell whether the kill hit between claim and commit, or between claim and release. A trial
//! goes on until there were enough of both: a fifth of its kills each, where its sides have such
//! moments. `UFR_KILLS` says how many kills each trial makes at least, of which there are eight on
//! each shape of ring: 300 by default, and 20 in a debug build. With groups, or
//! with lanes, it is half as many.
//! A second group is read by a thread that nobody kills, and must have got everything.

#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod common;
#[path = "common/shapes.rs"]
mod shapes;

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::child::{Child, Led};
use common::{Numbered, patiently, random_below, stage};
use shapes::{Reading, Shape, on_each_shape};
use ultrafastring::layout::AreaInfo;
use ultrafastring::{
    Builder, Consumer, Finding, INLINE_SIZE, Mode, PriorityClass, Producer, RecvError, SendError,
    Side, UltraFastRing,
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
    /// Whether the worker has received something: what it shows then is not what it took over.
    at_work: [AtomicU8; WORKERS],
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

/// The ring's own words, looked at from outside: see `layout` and `participant`.
struct Words {
    memory: std::ptr::NonNull<u8>,
    areas: Vec<AreaInfo>,
    lanes: usize,
}

/// An entry of a lane.
#[derive(Clone, Copy, PartialEq)]
struct Entry {
    lane: usize,
    index: usize,
}

/// Positions that somebody shows: the first, and the first that is not.
type Shown = Option<(u64, u64)>;

impl Words {
    const CONSUMER_HEAD: usize = 0;
    const CONSUMER_TAIL: usize = 128;
    /// Of a group's cursor: the bits above are its generation's.
    const POSITION: u64 = (1 << 57) - 1;
    const PID: usize = 16;
    const INTENT: usize = 128;
    const HOLD: usize = 192;

    fn of(ring: &UltraFastRing) -> Self {
        use std::os::fd::AsRawFd;
        let file = std::fs::File::open(ring.path().unwrap()).unwrap();
        // SAFETY: a new mapping, of a file of that size, to be read only.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                ring.size_bytes(),
                libc::PROT_READ,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        assert_ne!(memory, libc::MAP_FAILED);
        // It stays mapped: one a trial.
        let memory = std::ptr::NonNull::new(memory.cast()).unwrap();
        let lanes = ring.settings().lanes.count();
        Self { memory, areas: ring.areas().collect(), lanes }
    }

    /// Where a record of a lane's part of an area lies.
    fn at(&self, area: &str, lane: usize, index: usize) -> usize {
        let area = self.areas.iter().find(|it| it.name == area).unwrap();
        area.offset + area.stride * (lane * (area.count / self.lanes) + index)
    }

    /// The first word of a lane.
    fn producer_head(&self, lane: usize) -> u64 {
        self.word(self.at("lanes", lane, 0))
    }

    /// A position of the consumers, or of the first group's.
    fn consumers_at(&self, lane: usize, place: usize) -> u64 {
        self.word(self.at("cursors", lane, 0) + place) & Self::POSITION
    }

    fn word(&self, offset: usize) -> u64 {
        // SAFETY: every offset used here is a word's within the mapping; others write it as an
        // atomic, and it is read as one.
        unsafe { self.memory.add(offset).cast::<AtomicU64>().as_ref() }.load(SeqCst)
    }

    fn word_of(&self, entry: Entry, place: usize) -> u64 {
        self.word(self.at("participants", entry.lane, entry.index) + place)
    }

    fn shown(&self, entry: Entry, place: usize) -> Shown {
        let word = self.word_of(entry, place);
        (word >> 6).checked_sub(1).map(|first| (first, first + (word & 63) + 1))
    }

    /// The entries of a process: one in each lane that it works on.
    fn entries_of(&self, pid: libc::pid_t) -> Vec<Entry> {
        let lanes = 0..self.lanes;
        let all = lanes.flat_map(|lane| (0..ENTRIES).map(move |index| Entry { lane, index }));
        all.filter(|&entry| self.word_of(entry, Self::PID) == pid as u64).collect()
    }

    fn sequence(&self, lane: usize, position: u64) -> u64 {
        self.word(self.at("slots", lane, position as usize % SLOTS))
    }

    /// Whether one of these entries shows work that has been begun, and not ended.
    fn in_between_of<S: Shape>(&self, entries: &[Entry], side: Side) -> Option<(usize, Shown)> {
        entries.iter().find_map(|&entry| {
            let shown = self.in_between::<S>(entry, side);
            shown.is_some().then_some((entry.lane, shown))
        })
    }

    /// Whether an entry shows work that has been begun, and not ended: positions that it claimed,
    /// and has not committed, or not released. Where two show the same, it is told of neither.
    fn in_between<S: Shape>(&self, entry: Entry, side: Side) -> Shown {
        let place = if side == Side::Producer { Self::INTENT } else { Self::HOLD };
        let lane = entry.lane;
        let shown @ (first, end) = self.shown(entry, place)?;
        let others = (0..ENTRIES).filter(|&other| other != entry.index);
        let doubtful = { others }.any(|index| {
            let other = self.shown(Entry { lane, index }, place);
            other.is_some_and(|other| other.0 < end && first < other.1)
        });
        let begun_and_not_ended = match side {
            Side::Producer => {
                end <= self.producer_head(lane)
                    && (first..end).any(|p| (self.sequence(lane, p) & !(1 << 63)) <= p)
            }
            Side::Consumer if S::consumers_claim() => {
                end <= self.consumers_at(lane, Self::CONSUMER_HEAD)
                    && first >= self.consumers_at(lane, Self::CONSUMER_TAIL)
            }
            // What it shows is its own; releasing moves the head.
            Side::Consumer => first >= self.consumers_at(lane, Self::CONSUMER_HEAD),
        };
        (begun_and_not_ended && !doubtful).then_some(shown)
    }
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
    /// Several at once: read, log, release, one after the other: nothing may be missing.
    SeveralInPlace,
}

impl Taking {
    fn is_in_place(self) -> bool {
        matches!(self, Self::InPlace | Self::SeveralInPlace)
    }
}

const BATCH: usize = 4;
const SLOTS: usize = 16;
const ENTRIES: usize = 16;
/// Processes of a trial, at most.
const WORKERS: usize = 4;

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
                1 => producer.try_reserve(rest[0].len(), class(first)).map(|mut place| {
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

fn consume<S: Mode>(consumer: &mut Consumer<S>, log: &Log, taking: Taking, at: usize) {
    let mut buffer = Vec::new();
    while !log.stopped() {
        let result = match taking {
            Taking::InPlace => consumer.try_borrow().map(|message| {
                log.note(&message.to_vec(), message.is_redelivered());
            }),
            Taking::Copying => consumer
                .try_recv_into(&mut buffer)
                .map(|about| log.note(&buffer, about.redelivered)),
            Taking::Batches => {
                let mut buffers = [[0; LARGEST]; BATCH];
                consumer.recv_batch(&mut buffers).map(|batch| {
                    for (buffer, about) in buffers.iter().zip(&batch) {
                        log.note(&buffer[..about.size], about.redelivered);
                    }
                })
            }
            Taking::SeveralInPlace => consumer.try_borrow_many(BATCH).map(|mut messages| {
                buffer.clear();
                while let Some(about) = messages.append_next(&mut buffer).unwrap() {
                    log.note(&buffer, about.redelivered);
                    buffer.clear();
                    // The last two of a batch together.
                    if messages.len() > 2 {
                        messages.release_first(1);
                    }
                }
            }),
        };
        match result {
            Ok(()) => log.at_work[at].store(1, SeqCst),
            Err(RecvError::Empty) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Takes a handle of its side and works with it.
fn work_as<S: Shape>(side: Side, builder: &Builder, log: &Log, taking: Taking, at: usize) {
    let ring = builder.open(NAME).unwrap();
    match side {
        Side::Producer => produce(S::producer(&ring), log),
        Side::Consumer => consume(&mut S::consumer(&ring), log, taking, at),
    }
}

/// A process that works until it is told to stop, or killed.
struct Worker<S> {
    child: Child,
    side: Side,
    at: usize,
    shape: PhantomData<S>,
}

impl<S: Shape> Worker<S> {
    fn start(side: Side, at: usize, builder: &Builder, log: &Log, taking: Taking) -> Self {
        log.at_work[at].store(0, SeqCst);
        let child = Child::start(|| work_as::<S>(side, builder, log, taking, at));
        Self { child, side, at, shape: PhantomData }
    }

    /// Stops it, and leads it on until it has claimed something that it has not yet committed or
    /// released, or for `most` instructions; then for `more`, and kills it there. Says whether
    /// that is in between.
    fn kill_on_the_way(&self, words: &Words, log: &Log, most: u64, more: u64) -> bool {
        let _core = OneCore::with(self.child.pid());
        let step = || assert!(self.child.step() == Led::Stopped, "it ended before it was told to");
        self.child.seize();
        let entries = words.entries_of(self.child.pid());
        let in_between = || words.in_between_of::<S>(&entries, self.side);
        let before = in_between();
        for _ in 0..most {
            let now = in_between();
            if now.is_some() && now != before {
                break;
            }
            step();
        }
        (0..more).for_each(|_| step());
        let in_between = self.is_in_between(words, log);
        self.child.kill();
        in_between
    }

    /// Whether it is, or died, between claim and commit, or between claim and release, and nobody
    /// has finished its work yet.
    fn is_in_between(&self, words: &Words, log: &Log) -> bool {
        let own = self.side == Side::Producer || log.at_work[self.at].load(SeqCst) != 0;
        let entries = words.entries_of(self.child.pid());
        own && words.in_between_of::<S>(&entries, self.side).is_some()
    }
}

/// For as long as this lives, the thread that made it runs on one core, and the process that it was
/// made with runs there for the rest of its life: a step is a switch from one to the other and
/// back, and takes several times as long between two cores.
struct OneCore {
    before: rustix::thread::CpuSet,
}

impl OneCore {
    fn with(pid: libc::pid_t) -> Self {
        let before = rustix::thread::sched_getaffinity(None).unwrap();
        let mut one = rustix::thread::CpuSet::new();
        one.set(rustix::thread::sched_getcpu());
        // Where it is forbidden it only takes longer.
        let _ = rustix::thread::sched_setaffinity(rustix::process::Pid::from_raw(pid), &one);
        let _ = rustix::thread::sched_setaffinity(None, &one);
        Self { before }
    }
}

impl Drop for OneCore {
    fn drop(&mut self) {
        let _ = rustix::thread::sched_setaffinity(None, &self.before);
    }
}

/// What a trial is about.
struct Trial {
    taking: Taking,
    /// Whether half of the messages are for side buffers.
    large: bool,
    seed: u64,
}

impl Trial {
    fn run<S: Shape>(&self) {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let most_often = if cfg!(debug_assertions) { 20 } else { 300 };
        // What groups and lanes add to a plain ring is met in fewer.
        let is_plain = S::groups().is_empty() && !S::has_lanes();
        let most_often = if is_plain { most_often } else { most_often / 2 };
        let kills: u64 =
            std::env::var("UFR_KILLS").map_or(most_often, |text| text.parse().expect("a number"));
        let directory = stage();
        let builder = S::of(Builder::new())
            .directory(directory.path())
            .capacity(SLOTS)
            .participants(ENTRIES)
            .max_message(if self.large { LARGEST } else { INLINE_SIZE });
        let ring = builder.create(NAME).unwrap();
        let shared = Shared::new();
        let log = shared.log();
        log.large.store(u64::from(self.large), SeqCst);
        let second = S::read_second(&ring);
        let words = Words::of(&ring);
        let start = |at, side| Worker::<S>::start(side, at, &builder, log, self.taking);
        let sides = std::iter::repeat_n(Side::Producer, S::most_producers(2))
            .chain(std::iter::repeat_n(Side::Consumer, S::most_consumers(2)));
        let mut workers: Vec<_> = sides.enumerate().map(|(at, side)| start(at, side)).collect();

        let mut state = self.seed;
        let (mut killed, mut killed_consumers, mut stopped) = (0, 0, 0);
        let (mut uncommitted, mut unreleased) = (0, 0);
        // What can be met: an exclusive producer claims nothing that others see, copies are
        // released when they are claimed, and so are an exclusive consumer's batches.
        let claims = S::producers_share();
        let holds =
            self.taking.is_in_place() || S::consumers_claim() && self.taking == Taking::Batches;
        while killed < kills || claims && uncommitted < kills / 5 || holds && unreleased < kills / 5
        {
            assert!(
                killed < 20 * kills,
                "{killed} kills, and in between only {uncommitted} and {unreleased}"
            );
            std::thread::sleep(Duration::from_micros(random_below(&mut state, 400)));
            let at = random_below(&mut state, workers.len() as u64) as usize;
            let victim = &workers[at];
            let in_between = match random_below(&mut state, 17) {
                // One that is stopped and lives keeps what it has.
                0 => {
                    victim.child.signal(libc::SIGSTOP);
                    std::thread::sleep(Duration::from_millis(3));
                    victim.child.signal(libc::SIGCONT);
                    stopped += 1;
                    continue;
                }
                1..7 => {
                    victim.child.kill();
                    victim.is_in_between(&words, log)
                }
                7..11 => victim.kill_on_the_way(&words, log, random_below(&mut state, 300), 0),
                _ => {
                    // The rest of its side stands still, else it would find nothing to claim.
                    let rest = || {
                        let others = workers.iter().filter(|it| it.at != victim.at);
                        others.filter(|it| it.side == victim.side)
                    };
                    rest().for_each(|other| other.child.signal(libc::SIGSTOP));
                    // What a message takes, several times over; where there is nothing in between,
                    // any moment is as good.
                    let can_be_in_between = match victim.side {
                        Side::Producer => claims,
                        Side::Consumer => holds || S::consumers_claim() && self.large,
                    };
                    let (most, more) =
                        if cfg!(debug_assertions) { (8_000, 24) } else { (4_000, 12) };
                    let most =
                        if can_be_in_between { most } else { random_below(&mut state, most / 10) };
                    let more = random_below(&mut state, more);
                    let in_between = victim.kill_on_the_way(&words, log, most, more);
                    rest().for_each(|other| other.child.signal(libc::SIGCONT));
                    in_between
                }
            };
            let in_between = u64::from(in_between);
            killed += 1;
            if victim.side == Side::Consumer {
                killed_consumers += 1;
                unreleased += in_between;
            } else {
                uncommitted += in_between;
            }
            workers[at] = start(at, victim.side);
        }
        log.stop.store(1, SeqCst);
        workers.into_iter().for_each(|worker| worker.child.finish());
        self.settle::<S>(&ring, log, killed_consumers);
        self.check_second(second, log);
        let stats = ring.stats();
        println!(
            "{}, {:?}{}: {killed} kills ({killed_consumers} of consumers) and {stopped} stops \
             in {} messages; {uncommitted} kills hit between claim and commit and {unreleased} \
             between claim and release; {} slots were abandoned and {} messages redelivered",
            S::NAME,
            self.taking,
            if self.large { ", large ones too" } else { "" },
            log.next.load(SeqCst),
            stats.abandoned,
            stats.redelivered,
        );
    }

    /// Takes what is left, and compares what was sent with what was received.
    fn settle<S: Shape>(&self, ring: &UltraFastRing, log: &Log, killed_consumers: u64) {
        let sent = log.next.load(SeqCst) as usize;
        let missing = || {
            (0..sent)
                .filter(|&n| log.sent[n].load(SeqCst) == 2 && log.received[n].load(SeqCst) == 0)
                .count() as u64
        };
        let may_miss = match self.taking {
            Taking::InPlace | Taking::SeveralInPlace => 0,
            Taking::Copying => killed_consumers,
            Taking::Batches => killed_consumers * BATCH as u64,
        };
        // The last producer may have died between claim and commit: the next one's message tells.
        self.drain(ring, &mut S::consumer(ring), log, &missing);
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

    /// The second group, which nobody was killed in, has got all that was sent for certain, and
    /// nothing else.
    fn check_second(&self, second: Reading, log: &Log) {
        let Some(count) = second.finish() else { return };
        let begun = log.next.load(SeqCst);
        let is_sent = |&n: &u64| log.sent[n as usize].load(SeqCst) == 2;
        let sent = (0..begun).filter(is_sent).count() as u64;
        assert!((sent..=begun).contains(&count), "{count} of {sent} to {begun}");
    }

    fn drain<C: Mode>(
        &self,
        ring: &UltraFastRing,
        consumer: &mut Consumer<C>,
        log: &Log,
        missing: &dyn Fn() -> u64,
    ) {
        let mut last = std::time::Instant::now();
        let mut buffer = Vec::new();
        patiently("an empty ring", || {
            if let Ok(about) = consumer.try_recv_into(&mut buffer) {
                log.note(&buffer, about.redelivered);
                last = std::time::Instant::now();
            }
            // What the dead left takes a moment to be noticed.
            let quiet = last.elapsed() > Duration::from_millis(100);
            (quiet && ring.is_empty() && (!self.taking.is_in_place() || missing() == 0))
                .then_some(())
        });
    }
}

fn consumers_that_read_in_place_lose_nothing<S: Shape>() {
    Trial { taking: Taking::InPlace, large: false, seed: 1 }.run::<S>();
}
on_each_shape!(consumers_that_read_in_place_lose_nothing, needs(quick));

fn consumers_that_read_several_in_place_lose_nothing<S: Shape>() {
    Trial { taking: Taking::SeveralInPlace, large: false, seed: 2 }.run::<S>();
}
on_each_shape!(consumers_that_read_several_in_place_lose_nothing, needs(quick));

fn consumers_that_copy_lose_at_most_what_the_killed_had_in_hand<S: Shape>() {
    Trial { taking: Taking::Copying, large: false, seed: 3 }.run::<S>();
}
on_each_shape!(consumers_that_copy_lose_at_most_what_the_killed_had_in_hand, needs(quick));

fn consumers_that_receive_batches_lose_at_most_what_the_killed_had_in_hand<S: Shape>() {
    Trial { taking: Taking::Batches, large: false, seed: 4 }.run::<S>();
}
on_each_shape!(
    consumers_that_receive_batches_lose_at_most_what_the_killed_had_in_hand,
    needs(quick)
);

fn messages_in_side_buffers_are_read_in_place_whole_whoever_is_killed<S: Shape>() {
    Trial { taking: Taking::InPlace, large: true, seed: 5 }.run::<S>();
}
on_each_shape!(messages_in_side_buffers_are_read_in_place_whole_whoever_is_killed, needs(quick));

fn messages_in_side_buffers_are_read_several_in_place_whole_whoever_is_killed<S: Shape>() {
    Trial { taking: Taking::SeveralInPlace, large: true, seed: 6 }.run::<S>();
}
on_each_shape!(
    messages_in_side_buffers_are_read_several_in_place_whole_whoever_is_killed,
    needs(quick)
);

fn messages_in_side_buffers_are_copied_whole_whoever_is_killed<S: Shape>() {
    Trial { taking: Taking::Copying, large: true, seed: 7 }.run::<S>();
}
on_each_shape!(messages_in_side_buffers_are_copied_whole_whoever_is_killed, needs(quick));

fn messages_in_side_buffers_are_received_whole_in_batches_whoever_is_killed<S: Shape>() {
    Trial { taking: Taking::Batches, large: true, seed: 8 }.run::<S>();
}
on_each_shape!(
    messages_in_side_buffers_are_received_whole_in_batches_whoever_is_killed,
    needs(quick)
);
