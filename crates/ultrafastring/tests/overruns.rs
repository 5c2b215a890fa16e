//! Readers that do not keep up: what they are told to have missed is exact, over as many overruns
//! as one likes.
//!
//! Producer and reader take turns of random lengths in one thread, and a hundredth as often they
//! run in two, where the turns are as the machine has it.
//!
//! | variable | does | without it |
//! |---|---|---|
//! | `UFR_OVERRUNS` | how often each reader is overrun | 20,000 |

#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::stage;
use ultrafastring::{Builder, PriorityClass, Producer, RecvError, Slow, Start, UltraFastRing};

const NORMAL: PriorityClass = PriorityClass::Normal;
const CAPACITY: u64 = 8;

fn overruns() -> u64 {
    std::env::var("UFR_OVERRUNS")
        .map_or(20_000, |text| text.replace('_', "").parse().expect("UFR_OVERRUNS is a number"))
}

/// The message at a position, which a mixture of two is not.
fn message(position: u64) -> [u8; 40] {
    let mut bytes = [0; 40];
    bytes.as_chunks_mut().0.iter_mut().for_each(|word| *word = position.to_le_bytes());
    bytes
}

/// What a reader has received, and was told to have missed.
#[derive(Default)]
struct Account {
    next: u64,
    received: u64,
    missed: u64,
    overruns: u64,
}

impl Account {
    fn received(&mut self, position: u64, bytes: &[u8]) {
        assert_eq!(position, self.next, "after {} overruns", self.overruns);
        assert_eq!(bytes, message(position), "after {} overruns", self.overruns);
        self.next += 1;
        self.received += 1;
    }

    fn missed(&mut self, missed: u64) {
        self.next += missed;
        self.missed += missed;
        self.overruns += 1;
    }
}

/// Numbered messages, one after the other.
struct Sender {
    producer: Producer,
    sent: u64,
}

impl Sender {
    fn send(&mut self) {
        // A group that is in the way is let go of after a few looks.
        while self.producer.send_fast(&message(self.sent), NORMAL).is_err() {}
        self.sent += 1;
    }
}

/// A step of splitmix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Sends, and has `look` receive what there is, until it was overrun as often as is wanted. `look`
/// says whether there was anything.
fn overrun(ring: &UltraFastRing, who: &str, mut look: impl FnMut(&mut Account) -> bool + Send) {
    let (wanted, begun) = (overruns(), Instant::now());
    let mut sender = Sender { producer: ring.producer().unwrap(), sent: 0 };
    let mut account = Account::default();
    let mut state = 1;
    while account.overruns < wanted {
        (0..1 + next(&mut state) % (3 * CAPACITY)).for_each(|_| sender.send());
        let most = next(&mut state) % CAPACITY;
        (0..most).take_while(|_| look(&mut account)).for_each(drop);
    }
    let wanted = account.overruns + wanted / 100;
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut state = 2;
            while !enough.load(Ordering::Relaxed) {
                (0..next(&mut state) % (3 * CAPACITY)).for_each(|_| sender.send());
                // Where there are not enough cores, the turns would be long.
                std::thread::yield_now();
            }
        });
        // If it fails, the sender ends too.
        let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            while account.overruns < wanted {
                if !look(&mut account) || account.overruns.is_multiple_of(2) {
                    std::thread::yield_now();
                }
            }
        }));
        enough.store(true, Ordering::Relaxed);
        read.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    sender.producer.flush();
    while look(&mut account) {}
    let Account { received, missed, overruns, .. } = account;
    assert_eq!(received + missed, sender.sent, "{who}");
    println!(
        "{who}: {overruns} overruns, {missed} missed, {received} received, in {:?}",
        begun.elapsed()
    );
}

#[test]
fn a_tail_reader_is_told_exactly_how_many_it_has_missed() {
    let directory = stage();
    let builder = Builder::new().directory(directory.path()).capacity(CAPACITY as usize);
    let builder = builder.joinable().exclusive_producer();
    let ring = builder.create("overrun").unwrap();
    let mut tail = builder.observe("overrun").unwrap().tail(Start::Position(0)).unwrap();
    let mut bytes = Vec::new();
    overrun(&ring, "a tail reader", |account| {
        match tail.try_next(&mut bytes) {
            Ok(about) => account.received(about.position(), &bytes),
            Err(RecvError::Overrun { missed }) => {
                assert_ne!(missed, 0);
                account.missed(missed);
            }
            Err(error) => {
                assert_eq!(error, RecvError::Empty);
                return false;
            }
        }
        assert_eq!((tail.position(), tail.missed()), (account.next, account.missed));
        true
    });
}

#[test]
fn a_member_of_an_evicted_group_is_told_exactly_how_many_it_has_missed() {
    let builder = Builder::new().capacity(CAPACITY as usize).joinable().exclusive_producer();
    let ring = builder.heap().unwrap();
    let slow = Slow::Evict { after: Duration::ZERO };
    let mut member = ring.join("slow").slow(slow).consumer().unwrap();
    let counts = || ring.groups().next().map(|it| (it.evictions, it.missed));
    let mut told = (0, 0);
    overrun(&ring, "a member of a group", |account| {
        match member.try_recv() {
            Ok(message) => account.received(message.position(), &message),
            Err(RecvError::Evicted { missed }) => account.missed(missed),
            Err(error) => {
                assert_eq!(error, RecvError::Empty);
                return false;
            }
        }
        told = (account.overruns, account.missed);
        true
    });
    assert_eq!(counts(), Some(told));
}
