//! What the tests share: messages that know what they should contain, and waiting that ends.

// Each test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;

#[cfg(all(feature = "std", not(loom)))]
pub(crate) mod actor;
#[cfg(target_os = "linux")]
pub(crate) mod child;
#[cfg(all(feature = "std", target_os = "linux", not(loom)))]
pub(crate) mod forbid;
#[cfg(all(feature = "std", target_os = "linux", not(loom)))]
pub(crate) mod hostile;
#[cfg(target_os = "linux")]
pub(crate) mod memory;

/// Longest that any test waits for anything.
const PATIENCE: Duration = Duration::from_secs(120);

/// A message that says who sent it and the how-manieth it is; its size and the rest of its bytes
/// follow from that, so a reader can tell whether it is whole.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbered {
    bytes: [u8; 40],
    size: usize,
}

impl Numbered {
    pub(crate) fn new(sender: u32, number: u64) -> Self {
        let mut bytes = [0; 40];
        bytes[..4].copy_from_slice(&sender.to_le_bytes());
        bytes[4..12].copy_from_slice(&number.to_le_bytes());
        let mut state = number ^ u64::from(sender) << 40;
        for byte in &mut bytes[12..] {
            // A step of Knuth's linear congruential generator: any mixture will do.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (state >> 56) as u8;
        }
        Self { bytes, size: 12 + (state >> 32) as usize % 29 }
    }

    /// Sender and number of a message, which must be whole.
    #[track_caller]
    pub(crate) fn read(bytes: &[u8]) -> (u32, u64) {
        assert!(bytes.len() >= 12, "a message is cut: {bytes:?}");
        let sender = u32::from_le_bytes(bytes[..4].try_into().unwrap());
        let number = u64::from_le_bytes(bytes[4..12].try_into().unwrap());
        assert_eq!(bytes, Self::new(sender, number).as_ref(), "a message is not what was sent");
        (sender, number)
    }
}

impl AsRef<[u8]> for Numbered {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.size]
    }
}

/// Says that a test, or a part of one, cannot be done on this machine, and why. Where
/// `UFR_NO_SKIPS` is set, as it is where all of them must have run, that is a failure.
#[track_caller]
pub(crate) fn skip(why: &str) {
    assert!(std::env::var_os("UFR_NO_SKIPS").is_none(), "UFR_NO_SKIPS is set, and {why}");
    eprintln!("skipped: {why}");
}

/// Tries until `attempt` gives something, and lets others run in between. A test that would hang
/// fails instead, saying what it waited for.
#[track_caller]
pub(crate) fn patiently<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let mut since = None;
    let mut fruitless = 0u32;
    loop {
        if let Some(it) = attempt() {
            return it;
        }
        fruitless += 1;
        std::thread::yield_now();
        // The clock costs more than an attempt.
        if fruitless.is_multiple_of(256) {
            let since = *since.get_or_insert_with(Instant::now);
            assert!(since.elapsed() < PATIENCE, "waited in vain: {what}");
        }
    }
}

/// A directory for rings, in memory where that is possible.
pub(crate) fn stage() -> TempDir {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.into() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("ufr-test-").tempdir_in(parent).unwrap()
}

/// Time of a processor that this process has used, in all its threads.
pub(crate) fn cpu_time() -> Duration {
    // SAFETY: all zeros are a value of it, which the call below overwrites.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is written and nothing else.
    assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) }, 0);
    let time = |it: libc::timeval| {
        Duration::from_secs(it.tv_sec as u64) + Duration::from_micros(it.tv_usec as u64)
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// The next of numbers that look random: xorshift64, by Marsaglia.
pub(crate) fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// The same below a number: moments need not be good random numbers, only different ones.
pub(crate) fn random_below(state: &mut u64, below: u64) -> u64 {
    random(state) % below
}
