//! Groups whose members, and whose producers, are killed: real processes, at random moments and at
//! chosen ones.

#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use common::child::Child;
use common::{patiently, random_below, stage};
use ultrafastring::{
    Builder, Consumer, GroupState, PriorityClass, Producer, RecvError, SendError, Start,
    UltraFastRing,
};

const NORMAL: PriorityClass = PriorityClass::Normal;
const NAME: &str = "ring";
const WAIT: Duration = Duration::from_secs(60);

fn builder(directory: &Path) -> Builder {
    Builder::new().directory(directory).capacity(16).participants(24)
}

fn number_of(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().unwrap())
}

fn send(producer: &mut Producer, first: u64, count: u64) {
    (first..first + count).for_each(|n| producer.send_fast(&n.to_le_bytes(), NORMAL).unwrap());
}

fn drain(consumer: &mut Consumer) -> Vec<u64> {
    consumer.try_iter().map(|message| number_of(&message)).collect()
}

#[test]
fn a_passing_group_whose_last_member_is_killed_is_not_waited_for() {
    for exclusive in [false, true] {
        let directory = stage();
        let mut builder = builder(directory.path()).joinable();
        if exclusive {
            builder = builder.exclusive_producer();
        }
        let ring = builder.create(NAME).unwrap();
        let mut producer = ring.producer().unwrap();
        Child::die_after(|| {
            let ring = builder.open(NAME).unwrap();
            let member = ring.join("passing").consumer().unwrap();
            (ring, member)
        });
        // More than there is room for.
        for number in 0..100u64 {
            producer.send_timeout(&number.to_le_bytes(), NORMAL, WAIT).unwrap();
        }
        assert_eq!(ring.groups().next().unwrap().state, GroupState::Closed);
        let mut again = ring.join("passing").consumer().unwrap();
        send(&mut producer, 100, 1);
        assert_eq!(drain(&mut again), [100]);
    }
}

#[test]
fn a_passing_group_whose_last_member_was_killed_begins_anew_for_the_next() {
    let directory = stage();
    let builder = builder(directory.path()).joinable();
    let ring = builder.create(NAME).unwrap();
    let mut producer = ring.producer().unwrap();
    Child::die_after(|| {
        let ring = builder.open(NAME).unwrap();
        let member = ring.join("passing").exclusive().consumer().unwrap();
        (ring, member)
    });
    send(&mut producer, 0, 3);
    let mut again = ring.join("passing").consumer().unwrap();
    send(&mut producer, 3, 1);
    assert_eq!(drain(&mut again), [3]);
}

#[test]
fn what_a_killed_member_of_a_durable_group_held_goes_to_another_of_the_same_group() {
    for exclusive in [false, true] {
        let directory = stage();
        let builder = builder(directory.path()).joinable();
        let ring = builder.create(NAME).unwrap();
        let mut producer = ring.producer().unwrap();
        let join = |ring: &UltraFastRing, name| {
            let join = ring.join(name).durable();
            if exclusive { join.exclusive().consumer() } else { join.shared().consumer() }.unwrap()
        };
        let mut other = join(&ring, "other");
        drop(join(&ring, "group"));
        send(&mut producer, 0, 3);
        Child::die_after(|| {
            let ring = builder.open(NAME).unwrap();
            let mut member = join(&ring, "group");
            std::mem::forget(member.try_borrow().unwrap());
            (ring, member)
        });
        // A newcomer of another group, and a producer, leave it alone.
        let mut newcomer = ring.join("newcomer").start(Start::Position(1)).consumer().unwrap();
        assert_eq!(drain(&mut newcomer), [1, 2]);
        let second = ring.producer().unwrap();
        assert_eq!(drain(&mut other), [0, 1, 2]);
        let mut heir = join(&ring, "group");
        let mut got = Vec::new();
        while got.len() < 3 {
            let message = heir.recv_timeout(WAIT).unwrap();
            got.push((number_of(&message), message.is_redelivered()));
        }
        got.sort_unstable();
        assert_eq!(got, [(0, true), (1, false), (2, false)]);
        assert_eq!(heir.try_recv().unwrap_err(), RecvError::Empty);
        drop(second);
    }
}

#[test]
fn a_member_that_is_stuck_leaves_alone_what_the_dead_of_another_group_held() {
    let directory = stage();
    let builder = builder(directory.path()).groups(GROUPS);
    let ring = builder.create(NAME).unwrap();
    let mut producer = ring.producer().unwrap();
    let join = |group: usize| ring.join(GROUPS[group]).consumer().unwrap();
    let (mut holds, mut stuck) = (join(0), join(0));
    send(&mut producer, 0, 2);
    Child::die_after(|| {
        let ring = builder.open(NAME).unwrap();
        let mut member = ring.join(GROUPS[1]).consumer().unwrap();
        std::mem::forget(member.try_borrow_many(2).unwrap());
        (ring, member)
    });
    let held = holds.try_borrow().unwrap();
    assert_eq!(number_of(&stuck.try_recv().unwrap()), 1);
    let error = stuck.recv_timeout(Duration::from_millis(300)).unwrap_err();
    assert_eq!(error, RecvError::TimedOut);
    drop(held);
    let mut heir = join(1);
    let got: Vec<_> = (0..2).map(|_| heir.recv_timeout(WAIT).unwrap()).collect();
    assert!(got.iter().all(|message| message.is_redelivered()));
    assert_eq!(got.iter().map(|message| number_of(message)).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_table_full_of_the_dead_of_a_group_has_room_for_its_heir() {
    let directory = stage();
    let builder = builder(directory.path()).participants(3).groups(["group"]);
    let ring = builder.create(NAME).unwrap();
    let mut producer = ring.producer().unwrap();
    send(&mut producer, 0, 4);
    for _ in 0..2 {
        Child::die_after(|| {
            let ring = builder.open(NAME).unwrap();
            let mut member = ring.join("group").consumer().unwrap();
            std::mem::forget(member.try_borrow().unwrap());
            (ring, member)
        });
    }
    let mut heir = ring.join("group").consumer().unwrap();
    let mut got = Vec::new();
    while got.len() < 4 {
        got.push(number_of(&heir.recv_timeout(WAIT).unwrap()));
    }
    got.sort_unstable();
    assert_eq!(got, [0, 1, 2, 3]);
}

#[test]
fn a_killed_producers_position_holds_back_neither_groups_nor_producers() {
    for groups in [0, 2] {
        let directory = stage();
        let builder = builder(directory.path()).joinable();
        let ring = builder.create(NAME).unwrap();
        let mut members: Vec<_> =
            ["a", "b"][..groups].iter().map(|name| ring.join(name).consumer().unwrap()).collect();
        let mut producer = ring.producer().unwrap();
        send(&mut producer, 0, 2);
        Child::die_after(|| {
            let ring = builder.open(NAME).unwrap();
            let mut dead = ring.producer().unwrap();
            std::mem::forget(dead.try_reserve(8, NORMAL).unwrap());
            (ring, dead)
        });
        for number in 2..100u64 {
            patiently("room", || {
                for member in &mut members {
                    while let Ok(message) = member.try_recv() {
                        // One position was abandoned before the third.
                        let abandoned = u64::from(number_of(&message) >= 2);
                        assert_eq!(message.position(), number_of(&message) + abandoned);
                    }
                }
                producer.send_fast(&number.to_le_bytes(), NORMAL).ok()
            });
        }
    }
}

#[test]
fn a_killed_exclusive_producers_successor_goes_on_where_it_was() {
    for groups in [0, 1] {
        let directory = stage();
        let builder = builder(directory.path()).joinable().exclusive_producer();
        let ring = builder.create(NAME).unwrap();
        let mut member = (groups != 0).then(|| ring.join("group").consumer().unwrap());
        let mut next = 0;
        for round in 1..20u64 {
            Child::die_after(|| {
                let ring = builder.open(NAME).unwrap();
                let mut producer = ring.producer().unwrap();
                send(&mut producer, next, round % 7);
                std::mem::forget(producer.try_reserve(8, NORMAL).unwrap());
                (ring, producer)
            });
            let sent: Vec<_> = (next..next + round % 7).collect();
            next += round % 7;
            if let Some(member) = &mut member {
                assert_eq!(drain(member), sent);
            }
        }
        let mut producer = patiently("the side", || ring.producer().ok());
        let mut late = ring.join("late").consumer().unwrap();
        assert_eq!(drain(&mut late), []);
        send(&mut producer, next, 1);
        let message = late.try_recv().unwrap();
        assert_eq!((number_of(&message), message.position()), (next, next));
    }
}

// ---- random kills ------------------------------------------------------------------------------

/// Messages that a trial may send.
const MOST: usize = 1 << 24;

/// In memory that all processes share.
struct Log {
    next: AtomicU64,
    stop: AtomicU64,
    /// 1: begun; 2: its send has returned.
    sent: [AtomicU8; MOST],
    /// By group: how often, unmarked in the low half, marked in the high half.
    received: [[AtomicU8; MOST]; 2],
}

fn shared_log() -> &'static Log {
    // SAFETY: a fresh mapping of the log's size, zero, which is a valid log; it stays mapped.
    unsafe {
        let memory = libc::mmap(
            std::ptr::null_mut(),
            size_of::<Log>(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        );
        assert_ne!(memory, libc::MAP_FAILED);
        &*memory.cast()
    }
}

const GROUPS: [&str; 2] = ["one", "two"];

#[derive(Clone, Copy, PartialEq)]
enum Work {
    Produce,
    /// In a group, in place: nothing may be missing.
    Receive(usize),
    /// Comes to a passing group and goes again, from its start.
    Pass,
}

fn work(work: Work, builder: &Builder, log: &Log) {
    let ring = builder.open(NAME).unwrap();
    let stopped = || log.stop.load(SeqCst) != 0;
    match work {
        Work::Produce => {
            let Some(mut producer) = until(stopped, || ring.producer().ok()) else { return };
            produce(&mut producer, log, stopped);
        }
        Work::Receive(group) => {
            let join = || ring.join(GROUPS[group]).durable().consumer().ok();
            let Some(mut member) = until(stopped, join) else { return };
            receive(&mut member, group, log, stopped);
        }
        Work::Pass => {
            let starts = [Start::Latest, Start::Oldest, Start::Position(0)];
            for turn in 0usize.. {
                if stopped() {
                    return;
                }
                let join = || ring.join("passing").start(starts[turn % 3]).consumer().ok();
                let Some(mut member) = until(stopped, join) else { return };
                let mut last = None;
                for _ in 0..turn % 30 {
                    if let Ok(message) = member.recv_timeout(Duration::from_millis(1)) {
                        let position = message.position();
                        assert_eq!(message.len(), 8);
                        assert!(
                            message.is_redelivered() || last.is_none_or(|last| last < position),
                            "{last:?}, {position}"
                        );
                        last = last.max(Some(position));
                    }
                }
            }
        }
    }
}

fn until<T>(stopped: impl Fn() -> bool, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    loop {
        if let Some(it) = attempt() {
            return Some(it);
        }
        if stopped() {
            return None;
        }
        std::thread::yield_now();
    }
}

fn produce(producer: &mut Producer, log: &Log, stopped: impl Fn() -> bool) {
    while !stopped() {
        let count = 1 + log.next.load(SeqCst) % 3;
        let first = log.next.fetch_add(count, SeqCst);
        assert!(((first + count) as usize) < MOST, "the log is full");
        let batch: Vec<_> = (first..first + count).map(u64::to_le_bytes).collect();
        (first..first + count).for_each(|n| log.sent[n as usize].store(1, SeqCst));
        let mut done = 0;
        while done < batch.len() {
            match producer.send_batch(&batch[done..], NORMAL) {
                Ok(sent) => {
                    let from = first as usize + done;
                    (from..from + sent).for_each(|n| log.sent[n].store(2, SeqCst));
                    done += sent;
                }
                Err(SendError::Full | SendError::OutOfCredit) if stopped() => return,
                Err(SendError::Full | SendError::OutOfCredit) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn receive(member: &mut Consumer, group: usize, log: &Log, stopped: impl Fn() -> bool) {
    while !stopped() {
        match member.try_borrow() {
            Ok(message) => note(log, group, &message.to_vec(), message.is_redelivered()),
            Err(RecvError::Empty) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

fn note(log: &Log, group: usize, message: &[u8], redelivered: bool) {
    let count = &log.received[group][number_of(message) as usize];
    count.fetch_add(if redelivered { 16 } else { 1 }, SeqCst);
}

/// Kills one of those at work again and again, at a random moment, and starts another in its place;
/// then everything that was sent has come to each group, and once, unless it is marked.
fn trial(exclusive: bool, seed: u64) {
    let most = if cfg!(debug_assertions) { 60 } else { 300 };
    let kills: u64 =
        std::env::var("UFR_KILLS").map_or(most, |text| text.parse().expect("a number"));
    let directory = stage();
    let mut builder = builder(directory.path()).groups(GROUPS).joinable();
    if exclusive {
        builder = builder.exclusive_producer();
    }
    let ring = builder.create(NAME).unwrap();
    let log = shared_log();
    let mut kinds = vec![Work::Receive(0), Work::Receive(1), Work::Receive(1), Work::Pass];
    kinds.extend(vec![Work::Produce; if exclusive { 1 } else { 2 }]);
    let start = |kind| Child::start(|| work(kind, &builder, log));
    let mut workers: Vec<_> = kinds.iter().map(|&kind| start(kind)).collect();
    let mut state = seed;
    let mut sent = 0;
    for kill in 0..kills {
        std::thread::sleep(Duration::from_micros(random_below(&mut state, 5_000)));
        let victim = random_below(&mut state, workers.len() as u64) as usize;
        workers[victim].kill();
        workers[victim] = start(kinds[victim]);
        // It goes on all the time: nobody waits for the dead.
        if kill % 10 == 9 {
            let now = patiently("messages go on", || {
                let now = log.next.load(SeqCst);
                (now > sent).then_some(now)
            });
            sent = now;
        }
    }
    log.stop.store(1, SeqCst);
    workers.into_iter().for_each(Child::finish);
    for (group, name) in GROUPS.iter().enumerate() {
        let mut last = ring.join(name).consumer().unwrap();
        loop {
            match last.recv_timeout(Duration::from_millis(400)) {
                Ok(message) => note(log, group, &message, message.is_redelivered()),
                Err(RecvError::TimedOut) => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    let all = log.next.load(SeqCst) as usize;
    for number in 0..all {
        let sent = log.sent[number].load(SeqCst);
        for (group, name) in GROUPS.iter().enumerate() {
            let count = log.received[group][number].load(SeqCst);
            let (unmarked, marked) = (count & 15, count >> 4);
            assert!(unmarked <= 1, "{name}: {number} came {unmarked} times without a mark");
            assert!(sent != 2 || unmarked + marked >= 1, "{name}: {number} of {all} is missing");
        }
    }
}

#[test]
fn two_groups_get_everything_whoever_of_shared_producers_and_members_is_killed() {
    trial(false, 0x9e37_79b9);
}

#[test]
fn two_groups_get_everything_whoever_of_an_exclusive_producer_and_members_is_killed() {
    trial(true, 0x7f4a_7c15);
}
