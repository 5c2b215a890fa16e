//! Peers that may write to a ring for groups and mean harm: what they can do with gates, cursors,
//! generations, settings, names and the window, and what a member, somebody who makes groups, or a
//! reader can do without writing garbage.
//!
//! | variable | does | without it |
//! |---|---|---|
//! | `UFR_SCRIBBLE_SECONDS` | how long garbage is written over each ring | 2 |

#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod common;

use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use common::hostile::{MAX_MESSAGE, comes_back, randoms, receive_all_ways, seconds, words};
use common::{patiently, stage};
use tempfile::TempDir;
use ultrafastring::layout::{MAX_GROUP_NAME, ROOM_FOR_GROUPS};
use ultrafastring::{
    Builder, GroupState, Observer, PriorityClass, Producer, RecvError, RingError, SendError, Slow,
    Start, UltraFastRing,
};

const NORMAL: PriorityClass = PriorityClass::Normal;
const NAME: &str = "stage";
const CAPACITY: usize = 16;
/// Long enough that what is in the way is looked for.
const SOON: Duration = Duration::from_millis(20);
const LATE: Duration = Duration::from_secs(60);

/// A ring with two groups and room for others, whose producers share their side, or do not; then
/// it has side buffers, too.
fn at(directory: &TempDir, exclusive: bool) -> Builder {
    let builder = Builder::new().directory(directory.path()).capacity(CAPACITY).participants(12);
    let builder = builder.groups(["risk", "log"]).joinable();
    if exclusive { builder.exclusive_producer().max_message(MAX_MESSAGE) } else { builder }
}

/// A ring's words as a hostile peer has them, and where in them things lie.
#[derive(Clone, Copy)]
struct Words {
    all: &'static [AtomicU64],
    groups: usize,
    rows: usize,
    cursors: usize,
    entries: usize,
}

impl Words {
    fn of(builder: &Builder) -> Self {
        let all = words(builder, NAME);
        // The header's table of areas: offset, stride, count.
        let area = |index: usize, word: usize| all[32 + 3 * index + word].load(Ordering::Relaxed);
        let offset = |index| area(index, 0) as usize / 8;
        Self {
            all,
            groups: offset(2),
            rows: area(2, 2) as usize,
            cursors: offset(3),
            entries: offset(4),
        }
    }

    fn row(&self, row: usize, word: usize) -> &'static AtomicU64 {
        &self.all[self.groups + 64 * row + word]
    }

    fn gate(&self, row: usize) -> &'static AtomicU64 {
        self.row(row, 0)
    }

    fn flags(&self, row: usize) -> &'static AtomicU64 {
        self.row(row, 8)
    }

    fn head(&self, row: usize) -> &'static AtomicU64 {
        &self.all[self.cursors + 32 * row]
    }

    fn tail(&self, row: usize) -> &'static AtomicU64 {
        &self.all[self.cursors + 32 * row + 16]
    }

    fn window(&self) -> &'static AtomicU64 {
        &self.all[512 + 32]
    }

    fn entry(&self, entry: usize, word: usize) -> &'static AtomicU64 {
        &self.all[self.entries + 128 * entry + word]
    }
}

// Bits of a row's flags, and of its gate.
const IN_USE: u64 = 1;
const DURABLE: u64 = 4;
const OPEN: u64 = 1 << 62;

/// Every way of sending, once.
fn send_all_ways(producer: &mut Producer) {
    let messages = [[7; 40]; 9];
    let _ = producer.send_fast(&messages[0], NORMAL);
    let _ = producer.send_batch(&messages, PriorityClass::Bulk);
    let _ = producer.send_fast(&[7; MAX_MESSAGE], NORMAL);
    if let Ok(guard) = producer.try_reserve(8, PriorityClass::High) {
        guard.commit();
    }
    let _ = producer.send_timeout(&messages[0], NORMAL, Duration::from_millis(1));
    let _ = (producer.len(), producer.is_full(), producer.credits().under_pressure());
}

/// Every way of reading without a place in the ring, once, from every start.
fn read_all_ways(reader: &Observer) {
    let mut message = Vec::new();
    for start in STARTS {
        let mut tail = reader.tail(start).unwrap();
        for _ in 0..20 {
            let _ = tail.try_next(&mut message);
            assert!(message.len() <= MAX_MESSAGE);
        }
        let _ = tail.latest(&mut message);
        let _ = tail.next_timeout(&mut message, Duration::from_millis(1));
        let _ = (tail.position(), tail.missed());
    }
    reader.groups().for_each(|group| drop(format!("{group:?}")));
    let _ = (reader.stats(), reader.examine(), reader.len());
}

/// All that there is to see.
fn look(ring: &UltraFastRing) {
    let _ = (ring.stats(), ring.len(), ring.positions(), ring.examine());
    ring.participants().for_each(|participant| drop(format!("{participant:?}")));
    for group in ring.groups() {
        let name = group.name.as_str();
        assert!(name.len() <= MAX_GROUP_NAME && !name.contains(char::is_control), "{name:?}");
        drop(format!("{group:?}"));
    }
}

const STARTS: [Start; 4] = [Start::Latest, Start::Oldest, Start::Position(u64::MAX), Start::Resume];

/// Calls of every kind, for as long as `going`; nothing is known of what they give but that they
/// give it. Says how many rounds came back.
fn work(ring: &UltraFastRing, reader: &Observer, going: &AtomicBool) -> u64 {
    let mut rounds = 0;
    while going.load(Ordering::Relaxed) {
        let mut producer = ring.producer().ok();
        let mut members: Vec<_> = ["risk", "log", "new", "newer"]
            .iter()
            .zip(STARTS.iter().cycle().skip(rounds as usize % 4))
            .filter_map(|(name, start)| ring.join(name).start(*start).consumer().ok())
            .collect();
        let slow = Slow::Evict { after: Duration::from_micros(200) };
        members.extend(ring.join("evicted").slow(slow).consumer());
        for _ in 0..50 {
            producer.iter_mut().for_each(send_all_ways);
            members.iter_mut().for_each(receive_all_ways);
        }
        look(ring);
        read_all_ways(reader);
        let _ = (ring.repair(), ring.remove_group("new"));
        rounds += 1;
    }
    rounds
}

/// Writes garbage, mostly over what groups are about.
fn scribble(words: Words, seed: u64, going: &AtomicBool) {
    let mut random = randoms(seed);
    while going.load(Ordering::Relaxed) {
        let row = random() as usize % words.rows;
        let entry = random() as usize % 12;
        let word = match random() % 8 {
            0 => words.gate(row),
            1 => words.row(row, random() as usize % 64),
            2 => words.head(row),
            3 => words.tail(row),
            4 => words.window(),
            5 => words.entry(entry, random() as usize % 32),
            6 => &words.all[512 + random() as usize % 128],
            _ => &words.all[512 + random() as usize % (words.all.len() - 512)],
        };
        let before = word.load(Ordering::Relaxed);
        let value = match random() % 10 {
            0 => random(),
            1 => random() % 64,
            2 => before.wrapping_add(random() % 128),
            3 => before.wrapping_sub(random() % 128),
            4 => before ^ 1 << (random() % 64),
            5 => words.all[random() as usize % words.all.len()].load(Ordering::Relaxed),
            6 => u64::MAX - random() % 128,
            7 => (1 << 57) + random() % 128 - 64,
            8 => OPEN | (random() % (1 << 40)),
            _ => words.window().load(Ordering::Relaxed).wrapping_add(random() % 64),
        };
        word.store(value, Ordering::Relaxed);
    }
}

#[test]
fn a_member_that_scribbles_over_a_ring_for_groups_is_survived() {
    for exclusive in [false, true] {
        let directory = stage();
        let builder = at(&directory, exclusive);
        let ring = builder.create(NAME).unwrap();
        let words = Words::of(&builder);
        let reader = builder.observe(NAME).unwrap();
        let rounds = comes_back("a call while a peer scribbles", move || {
            let going = AtomicBool::new(true);
            thread::scope(|scope| {
                for seed in [1, 2] {
                    let going = &going;
                    scope.spawn(move || scribble(words, seed, going));
                }
                let workers = [(); 2].map(|()| scope.spawn(|| work(&ring, &reader, &going)));
                thread::sleep(seconds());
                going.store(false, Ordering::Relaxed);
                workers.map(|worker| worker.join().unwrap()).into_iter().sum::<u64>()
            })
        });
        eprintln!("{rounds} rounds came back");
        assert_ne!(rounds, 0);
    }
}

/// One word after the other says what it never can, and stays so: no call waits for it.
#[test]
fn words_of_groups_that_no_ring_can_have_hold_no_call_beyond_its_time() {
    let garbage = [0, 1, u64::MAX, OPEN, 3 << 62, 1 << 57, (1 << 57) - 1, 1_000, OPEN | 5 << 32];
    type Place = fn(Words) -> &'static AtomicU64;
    let places: [(&str, Place); 10] = [
        ("gate", |it| it.gate(0)),
        ("flags", |it| it.flags(0)),
        ("evict after", |it| it.row(0, 9)),
        ("name", |it| it.row(0, 16)),
        ("bell", |it| it.row(0, 32)),
        ("head", |it| it.head(0)),
        ("tail", |it| it.tail(0)),
        ("window", |it| it.window()),
        ("membership", |it| it.entry(1, 6)),
        ("hold", |it| it.entry(1, 24)),
    ];
    for (what, place) in places {
        for value in garbage {
            comes_back(&format!("{what} is {value:#x}"), move || {
                let directory = stage();
                let builder = at(&directory, value % 2 == 0);
                let ring = builder.create(NAME).unwrap();
                let words = Words::of(&builder);
                let reader = builder.observe(NAME).unwrap();
                let mut producer = ring.producer().unwrap();
                let mut member = ring.join("risk").consumer().unwrap();
                (0..5).for_each(|_| send_all_ways(&mut producer));
                member.try_recv().unwrap();
                place(words).store(value, Ordering::Relaxed);
                send_all_ways(&mut producer);
                receive_all_ways(&mut member);
                let _ = (member.recv_timeout(SOON), producer.send_timeout(b"x", NORMAL, SOON));
                look(&ring);
                read_all_ways(&reader);
                for start in STARTS {
                    let joined = ring.join("risk").start(start).consumer();
                    joined.iter().for_each(|it| drop(it.try_clone()));
                    let _ = ring.join("new").start(start).consumer();
                }
                drop(member);
                let _ = (ring.repair(), ring.remove_group("risk"), ring.remove_group("log"));
                look(&ring);
            });
        }
    }
}

#[test]
fn a_member_goes_on_when_a_cursor_that_no_ring_can_have_is_sound_again() {
    let directory = stage();
    let builder = at(&directory, false);
    let ring = builder.create(NAME).unwrap();
    let words = Words::of(&builder);
    let mut producer = ring.producer().unwrap();
    let mut member = ring.join("risk").consumer().unwrap();
    producer.send_fast(b"one", NORMAL).unwrap();
    // Of another generation, or beyond belief.
    for garbage in [u64::MAX, 1 << 57, 5 << 60] {
        words.head(0).store(garbage, Ordering::Relaxed);
        assert_eq!(member.recv_timeout(SOON).unwrap_err(), RecvError::TimedOut, "{garbage:#x}");
    }
    words.head(0).store(0, Ordering::Relaxed);
    assert_eq!(&*member.recv_timeout(LATE).unwrap(), b"one");
}

/// Garbage that lets a producer go far gives it a lap at most: then it looks again.
#[test]
fn words_that_said_for_a_moment_that_all_is_received_give_no_credit_for_ever() {
    const FAR: u64 = 1 << 40;
    for exclusive in [false, true] {
        let directory = stage();
        let builder = at(&directory, exclusive);
        let ring = builder.create(NAME).unwrap();
        ring.remove_group("log").unwrap();
        let words = Words::of(&builder);
        let mut producer = ring.producer().unwrap();
        let mut member = ring.join("risk").consumer().unwrap();
        let all = [words.head(0), words.tail(0), words.window()];
        let before = all.map(|it| it.swap(FAR, Ordering::Relaxed));
        producer.send_fast(b"0", NORMAL).unwrap();
        all.into_iter().zip(before).for_each(|(it, value)| it.store(value, Ordering::Relaxed));
        // As many as a lap has.
        let sent = (1..10 * CAPACITY).take_while(|_| producer.send_fast(b"x", NORMAL).is_ok());
        assert_eq!(sent.count(), CAPACITY - 1, "exclusive: {exclusive}");
        assert_eq!(member.try_iter().count(), CAPACITY);
        producer.send_timeout(b"next", NORMAL, LATE).unwrap();
        assert_eq!(&*member.recv_timeout(LATE).unwrap(), b"next");
    }
}

/// A window that runs away from who opens a group: it begins somewhere all the same.
#[test]
fn a_window_that_runs_on_for_ever_keeps_nobody_from_joining() {
    let directory = stage();
    let builder = at(&directory, false);
    let ring = builder.create(NAME).unwrap();
    let words = Words::of(&builder);
    comes_back("joining while the window runs", move || {
        let going = AtomicBool::new(true);
        thread::scope(|scope| {
            scope.spawn(|| {
                while going.load(Ordering::Relaxed) {
                    words.window().fetch_add(1 << 20, Ordering::Relaxed);
                }
            });
            patiently("the vandal", || {
                (words.window().load(Ordering::Relaxed) > 1 << 30).then_some(())
            });
            for start in STARTS {
                let _ = ring.join("new").start(start).consumer();
            }
            going.store(false, Ordering::Relaxed);
        });
    });
}

/// A peer opens the gate of a row for nobody. If the group passes, producers close it; if it is
/// durable, they wait, each call for its time, until somebody removes it.
#[test]
fn a_gate_that_a_peer_opens_holds_producers_back_until_the_group_is_removed() {
    for (flags, held) in [(0, false), (IN_USE, false), (IN_USE | DURABLE, true)] {
        let directory = stage();
        let builder = at(&directory, false);
        let ring = builder.create(NAME).unwrap();
        for name in ["risk", "log"] {
            ring.remove_group(name).unwrap();
        }
        let words = Words::of(&builder);
        let mut producer = ring.producer().unwrap();
        for number in 0..1_000u64 {
            producer.send_fast(&number.to_le_bytes(), NORMAL).unwrap();
        }
        let row = 5;
        words.tail(row).store(990 | 9 << 57, Ordering::Relaxed);
        words.head(row).store(990 | 9 << 57, Ordering::Relaxed);
        words.row(row, 16).store(u64::from_le_bytes(*b"intruder"), Ordering::Relaxed);
        words.flags(row).store(flags, Ordering::Relaxed);
        words.gate(row).store(OPEN | 9 << 32, Ordering::Relaxed);
        let send = |producer: &mut Producer, wait| {
            (0..200).try_for_each(|_| producer.send_timeout(b"x", NORMAL, wait))
        };
        if held {
            assert_eq!(send(&mut producer, SOON), Err(SendError::TimedOut));
            let seen: Vec<_> = ring.groups().map(|it| (it.name, it.state, it.members)).collect();
            let [(name, GroupState::Open, 0)] = &seen[..] else { panic!("{seen:?}") };
            ring.remove_group(name.as_str()).unwrap();
        }
        send(&mut producer, LATE).unwrap();
    }
}

/// Names that a peer writes into the table are text, or cut where they cease to be.
#[test]
fn names_of_groups_that_a_peer_wrote_print_as_text() {
    let directory = stage();
    let builder = at(&directory, false);
    let ring = builder.create(NAME).unwrap();
    let words = Words::of(&builder);
    let cases: [(&[u8; 8], &str); 4] = [
        (b"a\x1b[2Jb\0c", "a"),
        (b"two\nrows", "two"),
        (b"\xff\xfe\xfd\xfc\xff\xff\xff\xff", ""),
        (b"\xe2\x80\xaegnirt", ""),
    ];
    for (bytes, shown) in cases {
        words.row(0, 16).store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
        assert_eq!(ring.groups().next().unwrap().name.as_str(), shown);
        assert_eq!(builder.observe(NAME).unwrap().groups().next().unwrap().name.as_str(), shown);
    }
    // No name ends behind its row.
    (16..24).for_each(|word| {
        words.row(0, word).store(u64::from_le_bytes([b'x'; 8]), Ordering::Relaxed)
    });
    assert!(ring.groups().next().unwrap().name.as_str().len() <= 64);
}

/// Whoever may join can take all rows, and have producers wait for what nobody reads. Others are
/// told, and can remove what has no member.
#[test]
fn a_peer_that_makes_all_groups_there_can_be_is_told_and_undone() {
    let directory = stage();
    let builder = Builder::new().directory(directory.path()).capacity(CAPACITY).joinable();
    let ring = builder.create(NAME).unwrap();
    let mut producer = ring.producer().unwrap();
    for number in 0..ROOM_FOR_GROUPS {
        let _ = ring.join(&format!("squat {number}")).durable().consumer().unwrap();
    }
    let error = ring.join("honest").consumer().unwrap_err();
    assert!(matches!(error, RingError::TooManyGroups { most: ROOM_FOR_GROUPS }), "{error}");
    let sent = (0..).take_while(|_| producer.send_fast(b"x", NORMAL).is_ok()).count();
    assert_eq!(sent, CAPACITY);
    assert_eq!(producer.send_timeout(b"x", NORMAL, SOON), Err(SendError::TimedOut));
    for number in 0..ROOM_FOR_GROUPS {
        ring.remove_group(&format!("squat {number}")).unwrap();
    }
    producer.send_timeout(b"x", NORMAL, LATE).unwrap();
    ring.join("honest").consumer().unwrap();
}

/// A member that lives and takes nothing holds producers back for as long as it lives: that is
/// what a group that waits is for. It keeps no other group from what is there.
#[test]
fn a_member_that_takes_nothing_holds_producers_back_and_no_other_group() {
    let directory = stage();
    let builder = at(&directory, false);
    let ring = builder.create(NAME).unwrap();
    ring.remove_group("log").unwrap();
    let mut producer = ring.producer().unwrap();
    let mut risk = ring.join("risk").consumer().unwrap();
    let idle = ring.join("idle").slow(Slow::Wait).consumer().unwrap();
    (0..CAPACITY).for_each(|_| producer.send_fast(b"x", NORMAL).unwrap());
    assert_eq!(producer.send_timeout(b"x", NORMAL, SOON), Err(SendError::TimedOut));
    assert_eq!(risk.try_iter().count(), CAPACITY);
    assert!(matches!(ring.remove_group("idle"), Err(RingError::GroupInUse { .. })));
    drop(idle);
    producer.send_timeout(b"x", NORMAL, LATE).unwrap();
}

/// If the group may be evicted, producers wait for such a member for the group's time, once.
#[test]
fn a_member_that_takes_nothing_of_a_group_that_may_be_evicted_is_not_waited_for() {
    let directory = stage();
    let ring = Builder::new().directory(directory.path()).capacity(CAPACITY).joinable();
    let ring = ring.create(NAME).unwrap();
    let mut producer = ring.producer().unwrap();
    let slow = Slow::Evict { after: SOON };
    let mut idle = ring.join("idle").durable().slow(slow).consumer().unwrap();
    for number in 0..10 * CAPACITY as u64 {
        producer.send_timeout(&number.to_le_bytes(), NORMAL, LATE).unwrap();
    }
    let group = ring.groups().next().unwrap();
    assert_eq!((group.state, group.evictions), (GroupState::Evicted, 1));
    // It is told, and cannot say that messages in place are its own.
    let missed = 10 * CAPACITY as u64;
    assert_eq!(idle.try_recv().unwrap_err(), RecvError::Evicted { missed });
    assert_eq!(idle.try_borrow().unwrap_err(), RecvError::NotInPlace);
    producer.send_fast(b"one", NORMAL).unwrap();
    assert_eq!(&*idle.recv_timeout(LATE).unwrap(), b"one");
}

/// Locks bytes of a file until the file is closed.
fn lock(file: &std::fs::File, start: i64, length: i64, kind: i32) {
    // SAFETY: plain numbers, for which zeros are a value.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    (lock.l_type, lock.l_start, lock.l_len) = (kind as i16, start, length);
    // SAFETY: the descriptor is open, and one `flock` is read and written.
    let locked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw mut lock) };
    assert_eq!(locked, 0, "{}", std::io::Error::last_os_error());
}

fn lock_file_of(directory: &Path) -> std::path::PathBuf {
    let files = std::fs::read_dir(directory).unwrap().map(|it| it.unwrap());
    let mut hidden = files.filter(|it| it.file_name().to_string_lossy().starts_with('.'));
    hidden.next().unwrap().path()
}

/// Who may take part can keep the locks of the table: nobody joins then what is not open, and is
/// told so after a while. Members and producers go on.
#[test]
fn a_peer_that_keeps_the_locks_of_groups_holds_up_nobody_but_who_opens_one() {
    let directory = stage();
    let builder = at(&directory, false);
    let ring = builder.create(NAME).unwrap();
    let mut producer = ring.producer().unwrap();
    let mut risk = ring.join("risk").consumer().unwrap();
    let _log = ring.join("log").consumer().unwrap();
    let file = lock_file_of(directory.path());
    let file = OpenOptions::new().read(true).write(true).open(file).unwrap();
    // Those of the rows, of their members, and of the table.
    lock(&file, 64, 129, libc::F_WRLCK);
    let error = ring.join("new").consumer().unwrap_err();
    assert!(matches!(error, RingError::Busy { .. }), "{error}");
    assert!(matches!(ring.remove_group("log"), Err(RingError::Busy { .. })));
    let second = ring.join("risk").consumer().unwrap();
    producer.send_fast(b"x", NORMAL).unwrap();
    assert_eq!(&*risk.try_recv().unwrap(), b"x");
    drop((second, file));
    patiently("the lock", || ring.join("new").consumer().ok());
}

/// An observer's file is the segment; locks on that mean nothing, and it is not waited for.
#[test]
fn a_reader_of_a_ring_for_groups_can_neither_lock_nor_hold_anybody_back() {
    let directory = stage();
    let builder = Builder::new().directory(directory.path()).capacity(CAPACITY).joinable();
    let ring = builder.create(NAME).unwrap();
    let reader = builder.observe(NAME).unwrap();
    let mut tail = reader.tail(Start::Latest).unwrap();
    let file = std::fs::File::open(builder.path(NAME).unwrap()).unwrap();
    lock(&file, 0, 0, libc::F_RDLCK);
    let mut producer = ring.producer().unwrap();
    for number in 0..10 * CAPACITY as u64 {
        producer.send_fast(&number.to_le_bytes(), NORMAL).unwrap();
    }
    // It is not waited for, and is told so.
    let overrun = tail.try_next(&mut Vec::new()).unwrap_err();
    assert!(matches!(overrun, RecvError::Overrun { .. }), "{overrun}");
    let mut member = ring.join("durable").durable().exclusive().consumer().unwrap();
    producer.send_fast(b"one", NORMAL).unwrap();
    assert_eq!(&*member.try_recv().unwrap(), b"one");
    let names: Vec<_> = reader.groups().map(|it| (it.name, it.members, it.lag)).collect();
    assert_eq!(
        names.iter().map(|it| (it.0.as_str(), it.1, it.2)).collect::<Vec<_>>(),
        [("durable", 1, 0)]
    );
    assert_eq!(reader.participants().count(), 2, "it is not among them");
    drop(member);
    ring.remove_group("durable").unwrap();
    assert_eq!(reader.groups().count(), 0);
    producer.send_fast(b"two", NORMAL).unwrap();
}
