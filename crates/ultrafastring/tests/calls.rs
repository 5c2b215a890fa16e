//! The calls on `&UltraFastRing`, in all their forms, by many threads at once.

#![cfg(all(feature = "std", not(loom)))]

mod common;
#[path = "common/shapes.rs"]
mod shapes;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use common::{Numbered, patiently};
use shapes::{Shape, on_each_shape};
use ultrafastring::{Builder, PriorityClass, RecvError, SendError, Side, UltraFastRing};

const NORMAL: PriorityClass = PriorityClass::Normal;
const SOON: Duration = Duration::from_millis(20);

/// More than there are thread handles.
const THREADS: usize = 100;

#[test]
fn calls_that_try_never_wait_and_the_others_wait_as_long_as_they_are_told() {
    let ring = UltraFastRing::new(1);
    let start = Instant::now();
    assert_eq!(ring.try_recv().unwrap_err(), RecvError::Empty);
    ring.try_send("one", NORMAL).unwrap();
    let refused = ring.try_send(String::from("two"), NORMAL).unwrap_err();
    assert_eq!((refused.reason, refused.into_inner()), (SendError::Full, "two".to_string()));
    assert_eq!(ring.send_timeout(b"two", NORMAL, SOON), Err(SendError::TimedOut));
    assert_eq!(ring.send_deadline(b"two", NORMAL, start + 2 * SOON), Err(SendError::TimedOut));
    assert!(start.elapsed() >= 2 * SOON, "it did not wait");
    assert_eq!(ring.recv_deadline(start).as_deref(), Ok(&b"one"[..]), "it is there");
    let start = Instant::now();
    assert_eq!(ring.recv_timeout(SOON).unwrap_err(), RecvError::TimedOut);
    assert_eq!(ring.recv_deadline(start + 2 * SOON).unwrap_err(), RecvError::TimedOut);
    let mut buffer = b"what was here".to_vec();
    assert_eq!(ring.try_recv_into(&mut buffer).unwrap_err(), RecvError::Empty);
    assert_eq!(ring.recv_into_timeout(&mut buffer, SOON).unwrap_err(), RecvError::TimedOut);
    let until = start + 4 * SOON;
    assert_eq!(ring.recv_into_deadline(&mut buffer, until).unwrap_err(), RecvError::TimedOut);
    assert!(start.elapsed() >= 4 * SOON, "it did not wait");
    ring.close();
    assert_eq!(ring.send(b"late", NORMAL), Err(SendError::Closed));
    assert_eq!(ring.recv().unwrap_err(), RecvError::Closed);
    assert_eq!(ring.recv_into(&mut buffer).unwrap_err(), RecvError::Closed);
}

#[test]
fn messages_of_any_size_and_order_go_through_waiting_calls() {
    const COUNT: u64 = 500;
    let ring = Builder::new().capacity(2).max_message(1_000).heap().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..COUNT {
                let bytes = vec![number as u8; 1 + number as usize * 37 % 1_000];
                ring.send(&bytes, NORMAL).unwrap();
            }
            ring.close();
        });
        let mut buffer = Vec::new();
        for number in 0..COUNT {
            let received = ring.recv_into(&mut buffer).unwrap();
            assert_eq!(received.size, 1 + number as usize * 37 % 1_000);
            assert_eq!(buffer, vec![number as u8; received.size]);
        }
        assert_eq!(ring.recv_into(&mut buffer).unwrap_err(), RecvError::Closed);
    });
}

fn a_side_that_is_exclusive_or_a_groups_is_said_to_have_no_entry_and_nobody_waits_for_one<
    S: Shape,
>() {
    let ring = S::heap(4);
    let sent = match S::has_lanes() {
        true => Err(SendError::HasLanes),
        false if S::producers_share() => Ok(()),
        false => Err(SendError::NoEntry),
    };
    assert_eq!(ring.send(b"one", NORMAL), sent);
    assert_eq!(ring.try_send("two", NORMAL).map_err(SendError::from), sent);
    // What can be received is there.
    ring.producer().unwrap().send_many(&["three"; 2], NORMAL).unwrap();
    let received = ring.recv().map(drop);
    // Whose message it would be, a ring for groups cannot tell; with lanes there is no such call.
    let expected = match (S::groups().is_empty(), S::has_lanes()) {
        (true, true) => Err(RecvError::HasLanes),
        (true, false) if S::consumers_share() => Ok(()),
        _ => Err(RecvError::NoEntry),
    };
    assert_eq!((received, ring.try_recv().map(drop)), (expected, expected));
}
on_each_shape!(
    a_side_that_is_exclusive_or_a_groups_is_said_to_have_no_entry_and_nobody_waits_for_one
);

#[test]
fn batches_are_sent_whole_and_received_as_far_as_there_is_room() {
    let ring = UltraFastRing::new(4);
    let words = ["to", "be", "or", "not", "to", "be"];
    assert_eq!(ring.try_send_many(&words, NORMAL), Ok(4));
    let error = ring.send_many_timeout(&words[..3], NORMAL, SOON).unwrap_err();
    assert_eq!((error.sent, error.reason), (0, SendError::TimedOut));
    let mut buffers = vec![[0; 40]; 3];
    assert_eq!(ring.try_recv_many(&mut buffers).unwrap().len(), 3);
    assert_eq!(ring.recv_many(&mut buffers).unwrap().len(), 1);
    assert_eq!(ring.recv_many_timeout(&mut buffers, SOON).unwrap_err(), RecvError::TimedOut);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..100 {
                ring.send_many(&words, NORMAL).unwrap();
            }
            ring.close();
        });
        let mut received = 0;
        while let Ok(batch) = ring.recv_many(&mut buffers) {
            for (buffer, about) in buffers.iter().zip(batch.iter()) {
                assert_eq!(&buffer[..about.size], words[received % words.len()].as_bytes());
                received += 1;
            }
        }
        assert_eq!(received, 100 * words.len());
    });
    let too_large = ring.send_many(&[&[0; 40][..], &[0; 41]], NORMAL).unwrap_err();
    assert_eq!((too_large.sent, too_large.reason), (0, SendError::TooLarge { size: 41, max: 40 }));
    assert_eq!(SendError::from(too_large), too_large.reason);
}

/// Each waiting thread borrows a handle for its looks and not for its sleep.
#[test]
fn however_many_threads_wait_for_a_message_the_calls_of_others_go_through_at_once() {
    let ring = UltraFastRing::new(256);
    let (received, waiting) = (AtomicU64::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                waiting.fetch_add(1, Relaxed);
                let message = ring.recv().unwrap();
                received.fetch_add(Numbered::read(&message).1, Relaxed);
            });
        }
        patiently("all wait", || (waiting.load(Relaxed) == THREADS).then_some(()));
        patiently("they sleep", || ring.is_asleep(Side::Consumer).then_some(()));
        std::thread::sleep(SOON);
        let start = Instant::now();
        for _ in 0..100 {
            assert_eq!(ring.try_recv().unwrap_err(), RecvError::Empty);
            assert_eq!(ring.recv_timeout(Duration::ZERO).unwrap_err(), RecvError::TimedOut);
        }
        assert!(start.elapsed() < Duration::from_secs(1), "they were held up");
        for number in 1..=THREADS as u64 {
            ring.send(Numbered::new(0, number).as_ref(), NORMAL).unwrap();
        }
    });
    let all = THREADS as u64;
    assert_eq!(received.load(Relaxed), all * (all + 1) / 2);
    assert!(ring.is_empty());
}

#[test]
fn however_many_threads_wait_for_room_each_sends_its_message_once() {
    let ring = UltraFastRing::new(2);
    ring.try_send("first", NORMAL).unwrap();
    ring.try_send("second", NORMAL).unwrap();
    std::thread::scope(|scope| {
        for number in 0..THREADS as u64 {
            let ring = &ring;
            scope.spawn(move || ring.send(Numbered::new(1, number).as_ref(), NORMAL).unwrap());
        }
        patiently("they sleep", || ring.is_asleep(Side::Producer).then_some(()));
        assert!(ring.try_send("third", NORMAL).unwrap_err().is_full());
        let long = Duration::from_secs(60);
        assert_eq!(ring.recv_timeout(long).as_deref(), Ok(&b"first"[..]));
        assert_eq!(ring.recv_timeout(long).as_deref(), Ok(&b"second"[..]));
        let mut seen = [false; THREADS];
        for _ in 0..THREADS {
            let message = ring.recv_timeout(long).unwrap();
            let seen = &mut seen[Numbered::read(&message).1 as usize];
            assert!(!std::mem::replace(seen, true), "twice");
        }
    });
    assert_eq!(ring.try_recv().unwrap_err(), RecvError::Empty);
}

/// Time of a processor that this thread has used.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn threads_that_wait_take_next_to_no_time_of_the_processor_and_are_woken_by_a_close() {
    let ring = UltraFastRing::new(4);
    let long = Duration::from_millis(1_000);
    let used: Duration = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..20)
            .map(|_| {
                scope.spawn(|| {
                    let before = cpu_time();
                    assert_eq!(ring.recv().unwrap_err(), RecvError::Closed);
                    cpu_time() - before
                })
            })
            .collect();
        std::thread::sleep(long);
        ring.close();
        threads.into_iter().map(|it| it.join().unwrap()).sum()
    });
    // One percent each.
    assert!(used < 20 * long / 100, "20 threads waited for {long:?} each, and took {used:?}");
}
