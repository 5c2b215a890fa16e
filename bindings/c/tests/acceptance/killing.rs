//! Producers and consumers in Rust, C and C++, and in Python where there is one, share a ring. One of
//! them is killed at a random moment, and started again, hundreds of times. A log outside of the ring
//! says in the end whether anything was lost, or came twice unmarked. `UFR_KILLS` says how often.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use ultrafastring::{Builder, Finding, UltraFastRing};

use crate::exchanging::{INLINE, PEERS};
use crate::installed::stage;

/// As in `exchange.h`.
const MOST: u64 = 1 << 25;
const HEADER: u64 = 32;

/// The log, which the workers map.
struct Log {
    file: File,
    path: PathBuf,
}

impl Log {
    fn new(directory: &Path, large: bool) -> Self {
        let path = directory.join("log");
        let file = File::options().create_new(true).read(true).write(true).open(&path).unwrap();
        file.set_len(HEADER + 2 * MOST).unwrap();
        let log = Self { file, path };
        log.write(16, u64::from(large));
        log
    }

    fn word(&self, at: u64) -> u64 {
        let mut word = [0; 8];
        self.file.read_exact_at(&mut word, at).unwrap();
        u64::from_ne_bytes(word)
    }

    fn write(&self, at: u64, word: u64) {
        self.file.write_all_at(&word.to_ne_bytes(), at).unwrap();
    }

    /// Lets workers begin messages up to this part of the log. While one is started, which takes an
    /// interpreter seconds on a busy machine, the others would fill it.
    fn fill_to(&self, part: u64, parts: u64) {
        // Producers look before they begin up to three, so that they go a few too far.
        self.write(24, (MOST - 1_000) / parts * part);
    }

    /// Messages begun.
    fn begun(&self) -> usize {
        let begun = self.word(0);
        assert!(begun < MOST, "the log is full");
        begun as usize
    }

    /// Of each message begun, what `sent` and `received` say.
    fn marks(&self) -> Vec<(u8, u8)> {
        let count = self.begun();
        let part = |at: u64| {
            let mut bytes = vec![0; count];
            self.file.read_exact_at(&mut bytes, at).unwrap();
            bytes
        };
        part(HEADER).into_iter().zip(part(HEADER + MOST)).collect()
    }

    fn missing(&self) -> usize {
        self.marks().iter().filter(|(sent, received)| *sent == 2 && *received == 0).count()
    }

    /// Counts a message that was left, as the peers do.
    fn note(&self, bytes: &[u8], redelivered: bool) {
        let number = u64::from_ne_bytes(bytes[..8].try_into().unwrap());
        let at = HEADER + MOST + number;
        let mut count = [0];
        self.file.read_exact_at(&mut count, at).unwrap();
        count[0] += if redelivered { 16 } else { 1 };
        self.file.write_all_at(&count, at).unwrap();
    }
}

/// A step of a xorshift generator: moments need only be different ones.
fn random(state: &mut u64, below: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % below
}

/// What a run's workers have in common.
struct Stage {
    directory: tempfile::TempDir,
    log: Log,
}

const NAME: &str = "killed";

/// The workers, which do not outlive a test that fails.
struct Workers(Vec<Child>);

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in &mut self.0 {
            // One that has ended is no error.
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}

impl Stage {
    fn new(large: bool) -> Self {
        let directory = stage();
        let log = Log::new(directory.path(), large);
        Self { directory, log }
    }

    fn ring(&self, builder: Builder) -> UltraFastRing {
        let builder = builder.directory(self.directory.path()).participants(16);
        builder.max_message(2_000).create(NAME).unwrap()
    }

    /// Starts worker `at`: a producer and a consumer of each language.
    fn start(&self, at: usize) -> Child {
        let what = if at.is_multiple_of(2) { "produce" } else { "consume" };
        self.start_to(what, at / 2)
    }

    /// Starts a worker of a language to do `what`.
    fn start_to(&self, what: &str, language: usize) -> Child {
        let mut worker = PEERS[language].command(what, self.directory.path(), NAME);
        worker.arg(&self.log.path).spawn().unwrap()
    }

    /// Ends the workers, takes what is left, and checks that of what was sent at most `lost` are
    /// missing, and nothing came twice unmarked.
    fn end(&self, ring: &UltraFastRing, workers: &mut Workers, kills: u64, lost: usize) {
        self.log.write(8, 1);
        for worker in &mut workers.0 {
            assert!(worker.wait().unwrap().success());
        }
        // What is left, and what the dead have left.
        let mut consumer = ring.consumer().unwrap();
        let began = Instant::now();
        while !(ring.is_empty() && self.log.missing() <= lost) {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "{} are missing",
                self.log.missing()
            );
            if let Ok(message) = consumer.borrow_timeout(Duration::from_millis(200)) {
                self.log.note(&message.to_vec(), message.is_redelivered());
            }
        }
        drop(consumer);
        let findings = ring.examine().unwrap();
        assert!(!findings.iter().any(Finding::is_damage), "{findings:?}");
        let marks = self.log.marks();
        for (number, (sent, received)) in marks.iter().enumerate() {
            assert!(received & 15 <= 1, "message {number} came {} times unmarked", received & 15);
            assert!(*sent > 0 || *received == 0, "message {number} was never sent");
        }
        let stats = ring.stats();
        println!(
            "{kills} kills in {} messages; {} slots were abandoned, {} messages redelivered, {} lost",
            marks.len(),
            stats.abandoned,
            stats.redelivered,
            self.log.missing()
        );
        assert!(marks.len() as u64 > kills, "they did little: {} messages", marks.len());
    }
}

fn kills() -> u64 {
    std::env::var("UFR_KILLS").map_or(300, |text| text.parse().unwrap())
}

/// For how many microseconds at most a worker lives before it is killed, from the last kill or from
/// when it has a handle.
const LONGEST: u64 = 8_000;

/// How long a worker may take to have a handle. An interpreter takes its time, above all on a busy
/// machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// Lets a process live for a moment: at one time in two from when it has a handle. Says whether it
/// has one.
fn live(ring: &UltraFastRing, pid: u32, state: &mut u64) -> bool {
    let has_handle = || ring.participants().any(|it| it.pid == pid);
    if random(state, 2) == 0 {
        let began = Instant::now();
        while !has_handle() && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_micros(500));
        }
    }
    std::thread::sleep(Duration::from_micros(random(state, LONGEST)));
    has_handle()
}

fn run(large: bool, seed: u64) {
    let kills = kills();
    let stage = Stage::new(large);
    let ring = stage.ring(Builder::new().capacity(16));
    let count = 2 * PEERS.len();
    let mut workers = Workers((0..count).map(|at| stage.start(at)).collect());
    let mut state = seed;
    let mut killed_at_work = vec![0; count];
    for kill in 1..=kills {
        stage.log.fill_to(kill, kills);
        let at = random(&mut state, count as u64) as usize;
        let worker = &mut workers.0[at];
        killed_at_work[at] += usize::from(live(&ring, worker.id(), &mut state));
        // None ends by itself: a message that was not sent, for one, ends a consumer.
        assert_eq!(worker.try_wait().unwrap(), None, "worker {at}");
        worker.kill().unwrap();
        worker.wait().unwrap();
        *worker = stage.start(at);
    }
    println!("of the workers, producer and consumer by language, {killed_at_work:?} had a handle");
    assert!(kills < 100 || killed_at_work.iter().all(|&kills| kills > 0));
    stage.end(&ring, &mut workers, kills, 0);
}

/// Between exclusive sides: a producer and a consumer at a time. One of the two is killed, and the
/// next is of the next language.
fn run_on_exclusive_sides(seed: u64) {
    let kills = kills();
    let stage = Stage::new(false);
    let sides = Builder::new().exclusive_producer().exclusive_consumer();
    let ring = stage.ring(sides.capacity(64));
    let (mut state, mut lost) = (seed, 0);
    let mut copies = false;
    let mut killed_at_work = vec![[0; 2]; PEERS.len()];
    let mut languages = [0, 0];
    let workers = vec![stage.start_to("produce", 0), stage.start_to("consume", 0)];
    let mut workers = Workers(workers);
    for kill in 1..=kills {
        stage.log.fill_to(kill, kills);
        let side = random(&mut state, 2) as usize;
        let (worker, language) = (&mut workers.0[side], &mut languages[side]);
        killed_at_work[*language][side] += usize::from(live(&ring, worker.id(), &mut state));
        assert_eq!(worker.try_wait().unwrap(), None, "a worker in {}", PEERS[*language].language);
        worker.kill().unwrap();
        worker.wait().unwrap();
        *language = (*language + 1) % PEERS.len();
        let what = if side == 0 {
            "produce"
        } else {
            // A consumer that copies loses a message if it is killed while it has that one.
            lost += usize::from(copies);
            copies = PEERS[*language].language == INLINE;
            if copies { "copy" } else { "consume" }
        };
        *worker = stage.start_to(what, *language);
    }
    println!("by language, {killed_at_work:?} producers and consumers had a handle");
    assert!(kills < 100 || killed_at_work.as_flattened().iter().all(|&kills| kills > 0));
    stage.end(&ring, &mut workers, kills, lost);
}

#[test]
fn nothing_is_lost_whoever_of_the_languages_is_killed() {
    run(false, 1);
}

#[test]
fn nothing_is_lost_of_large_messages_whoever_of_the_languages_is_killed() {
    run(true, 2);
}

#[test]
fn nothing_is_lost_on_exclusive_sides_whoever_of_the_languages_is_killed() {
    run_on_exclusive_sides(3);
}
