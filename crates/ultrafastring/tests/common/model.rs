//! Bodies under loom, and messages that show in every word which they are.

// Each test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

use std::sync::Arc;

use loom::thread;
use ultrafastring::{Consumer, Mode, PriorityClass, Producer};

pub(crate) const NORMAL: PriorityClass = PriorityClass::Normal;

/// Tries all that can happen with two preemptions, or as `LOOM_MAX_PREEMPTIONS` says.
pub(crate) fn check(body: impl Fn() + Send + Sync + 'static) {
    check_with(None, body);
}

/// Tries all that can happen with at most so many preemptions: for bodies of many steps.
pub(crate) fn check_with(most: Option<usize>, body: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = most.or(model.preemption_bound).or(Some(2));
    model.max_branches = 50_000;
    let body = Arc::new(body);
    model.check(move || {
        let body = Arc::clone(&body);
        spawn(move || body()).join().unwrap();
    });
}

/// A thread of the model. Loom's own stacks of 32 KiB are too small for handles on their way.
pub(crate) fn spawn<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    const WORDS: usize = 1 << 16;
    thread::Builder::new().stack_size(WORDS).spawn(work).unwrap()
}

/// A message all of whose words say which it is.
pub(crate) fn message(number: u8) -> [u8; 40] {
    [number; 40]
}

/// The number of a message, which must be whole.
pub(crate) fn number(bytes: &[u8]) -> u8 {
    assert_eq!(bytes, [bytes[0]; 40], "a message is a mixture");
    bytes[0]
}

/// Sends what goes within a few attempts, in order; says what went.
pub(crate) fn send_some<S: Mode>(
    producer: &mut Producer<S>,
    numbers: &[u8],
    attempts: usize,
) -> Vec<u8> {
    let mut rest = numbers.iter();
    let mut next = rest.next();
    let mut sent = Vec::new();
    for _ in 0..attempts {
        let Some(&number) = next else { break };
        if producer.send_fast(&message(number), NORMAL).is_ok() {
            sent.push(number);
            next = rest.next();
        } else {
            thread::yield_now();
        }
    }
    sent
}

/// Receives what comes within a few attempts.
pub(crate) fn receive_some<S: Mode>(consumer: &mut Consumer<S>, attempts: usize) -> Vec<u8> {
    let mut seen = Vec::new();
    for _ in 0..attempts {
        match consumer.try_recv() {
            Ok(message) => seen.push(number(&message)),
            Err(_) => thread::yield_now(),
        }
    }
    seen
}
