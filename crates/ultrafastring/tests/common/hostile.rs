//! What a hostile peer has and does, and calls of every kind that must come back all the same.

use std::fs::OpenOptions;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::random;
use rustix::mm::{MapFlags, ProtFlags};
use ultrafastring::{Builder, Consumer};

/// The largest message of the rings here.
pub(crate) const MAX_MESSAGE: usize = 200;

/// Nothing that a word can say is a place in memory, and no call waits for one: not for as long.
const HANGS: Duration = Duration::from_secs(240);

/// The words of a ring's file, as a hostile peer has them, for as long as the process lives.
pub(crate) fn words(builder: &Builder, name: &str) -> &'static [AtomicU64] {
    let path = builder.path(name).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len() as usize;
    let rights = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping, which stays; all that is done with it is done to atomics.
    unsafe {
        let base =
            rustix::mm::mmap(std::ptr::null_mut(), length, rights, MapFlags::SHARED, &file, 0);
        std::slice::from_raw_parts(base.unwrap().cast::<AtomicU64>(), length / 8)
    }
}

/// Numbers that look random.
pub(crate) fn randoms(mut state: u64) -> impl FnMut() -> u64 {
    move || random(&mut state)
}

/// How long garbage is written: `UFR_SCRIBBLE_SECONDS`.
pub(crate) fn seconds() -> Duration {
    let given = std::env::var("UFR_SCRIBBLE_SECONDS").ok();
    Duration::from_secs(given.map_or(2, |text| text.parse().unwrap()))
}

/// Runs what must come back, and fails if it does not.
pub(crate) fn comes_back<T: Send + 'static>(
    what: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (done, comes) = mpsc::channel();
    let worker = thread::spawn(move || done.send(work()));
    match comes.recv_timeout(HANGS) {
        Ok(it) => it,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs: {what}"),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            let panicked = worker.join().unwrap_err();
            panic!("it panicked: {what}: {:?}", panicked.downcast_ref::<String>())
        }
    }
}

/// Every way of receiving, once.
pub(crate) fn receive_all_ways(consumer: &mut Consumer) {
    let mut buffers = [[0; 40]; 9];
    if let Ok((size, ..)) = consumer.recv_fast(&mut buffers[0]) {
        assert!(size <= 40);
    }
    let _ = consumer.try_recv_many(&mut buffers);
    if let Ok(message) = consumer.try_borrow() {
        assert!(message.len() <= MAX_MESSAGE);
    }
    if let Ok(messages) = consumer.try_borrow_many(9) {
        assert!(messages.len() <= 9);
    }
    let _ = consumer.recv_timeout(Duration::from_millis(1));
    let _ = (consumer.len(), consumer.is_empty());
}
