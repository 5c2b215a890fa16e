//! What must still work after a death, or with a word that a peer wrote, at moments that kill tests seldom hit.

#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use ultrafastring::{Builder, PriorityClass, RecvError, Redelivery, UltraFastRing};

const NORMAL: PriorityClass = PriorityClass::Normal;
const NAME: &str = "deaths";

fn stage() -> TempDir {
    tempfile::Builder::new().prefix("ufr-test-").tempdir_in(Path::new("/dev/shm")).unwrap()
}

fn at(directory: &TempDir) -> Builder {
    Builder::new().directory(directory.path())
}

/// A process that does `work` and is killed where that ends, with all it has.
fn die_after<T>(work: impl FnOnce() -> T) {
    // SAFETY: the child uses the C library and the ring only and never returns.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let kept = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        if kept.is_ok() {
            // SAFETY: a signal to itself.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        }
        // SAFETY: ends the process.
        unsafe { libc::_exit(1) };
    }
    let mut status = 0;
    // SAFETY: `status` is written and nothing else.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFSIGNALED(status), "the child failed before it was to die");
}

fn write_word(ring: &UltraFastRing, offset: u64, word: u64) {
    let file = File::options().read(true).write(true).open(ring.path().unwrap()).unwrap();
    file.write_all_at(&word.to_le_bytes(), offset).unwrap();
}

const PRODUCER_HEAD: u64 = 4_096;
const CONSUMER_HEAD: u64 = 4_096 + 256;

// ---- marks of an exclusive side ----------------------------------------------------------

fn held_by_a_dead_exclusive_consumer(directory: &TempDir) -> UltraFastRing {
    let ring = at(directory).capacity(4).exclusive_consumer().create(NAME).unwrap();
    ring.send_fast(b"one", NORMAL).unwrap();
    die_after(|| {
        let mut consumer = at(directory).open(NAME).unwrap().exclusive_consumer().unwrap();
        std::mem::forget(consumer.borrow().unwrap());
        consumer
    });
    ring
}

#[test]
fn what_a_dead_exclusive_consumer_held_stays_marked_when_its_successor_is_killed_too() {
    let directory = stage();
    let ring = held_by_a_dead_exclusive_consumer(&directory);
    die_after(|| at(&directory).open(NAME).unwrap().exclusive_consumer().unwrap());
    assert!(ring.exclusive_consumer().unwrap().try_recv().unwrap().is_redelivered());
}

#[test]
fn what_a_dead_exclusive_consumer_held_stays_marked_when_its_successor_leaves_at_once() {
    let directory = stage();
    let ring = held_by_a_dead_exclusive_consumer(&directory);
    drop(ring.exclusive_consumer().unwrap());
    assert!(ring.exclusive_consumer().unwrap().try_recv().unwrap().is_redelivered());
}

// ---- who took over and falls silent -------------------------------------------------------

fn held_by_a_dead_shared_consumer(directory: &TempDir, redelivery: Redelivery) -> UltraFastRing {
    let ring = at(directory).capacity(4).redelivery(redelivery).create(NAME).unwrap();
    ring.send_fast(b"one", NORMAL).unwrap();
    die_after(|| {
        let mut consumer = at(directory).open(NAME).unwrap().consumer().unwrap();
        std::mem::forget(consumer.borrow().unwrap());
        consumer
    });
    ring
}

fn within(time: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let since = Instant::now();
    while since.elapsed() < time {
        if holds() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

/// Whether `other` gets a message within two seconds, and the slots come back.
fn goes_on(ring: &UltraFastRing, other: &mut ultrafastring::Consumer<ultrafastring::Shared>) {
    let got = within(Duration::from_secs(2), || other.try_recv().is_ok());
    let mut sent = 0;
    let room = within(Duration::from_secs(1), || {
        sent += u32::from(ring.send_fast(b"x", NORMAL).is_ok());
        while other.try_recv().is_ok() {}
        sent > 16
    });
    assert!(got && room, "got: {got}, room: {room}");
}

fn dead_hold(ring: &UltraFastRing) -> bool {
    ring.participants().any(|it| it.hold.is_some() && !it.alive)
}

#[test]
fn a_consumer_that_took_over_and_makes_no_further_call_does_not_keep_the_message_from_others() {
    let directory = stage();
    let ring = held_by_a_dead_shared_consumer(&directory, Redelivery::Redeliver);
    let (mut silent, mut other) = (ring.consumer().unwrap(), ring.consumer().unwrap());
    let mut got = false;
    // Until it has it, or has adopted the dead one's entry and still says that the ring is empty.
    assert!(within(Duration::from_secs(5), || {
        got = silent.try_recv().is_ok();
        got || !dead_hold(&ring)
    }));
    if !got {
        goes_on(&ring, &mut other);
    }
}

#[test]
fn a_consumer_that_took_over_and_has_no_room_does_not_keep_the_message_from_others() {
    let directory = stage();
    let ring = held_by_a_dead_shared_consumer(&directory, Redelivery::Redeliver);
    let (mut silent, mut other) = (ring.consumer().unwrap(), ring.consumer().unwrap());
    assert!(within(Duration::from_secs(5), || {
        matches!(silent.recv_fast(&mut [0; 1]), Err(RecvError::BufferTooSmall { .. }))
    }));
    goes_on(&ring, &mut other);
}

#[test]
fn a_consumer_that_took_over_several_and_falls_silent_after_one_does_not_keep_the_others() {
    let directory = stage();
    let ring = held_by_a_dead_shared_consumer(&directory, Redelivery::Redeliver);
    let (mut silent, mut other) = (ring.consumer().unwrap(), ring.consumer().unwrap());
    ring.send_fast(b"two", NORMAL).unwrap();
    assert_eq!(&*other.try_recv().unwrap(), b"two");
    // As if the dead one had claimed both.
    let index = ring.participants().find(|it| it.hold.is_some()).unwrap().index as u64;
    write_word(&ring, 8_192 + 1_024 * index + 3 * 64, 1 << 6 | 1);
    assert!(within(Duration::from_secs(5), || silent.try_recv().is_ok()));
    goes_on(&ring, &mut other);
}

#[test]
fn a_thread_whose_seat_took_over_and_that_ends_does_not_keep_the_message_from_others() {
    let directory = stage();
    let ring = held_by_a_dead_shared_consumer(&directory, Redelivery::Redeliver);
    let mut got = false;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            within(Duration::from_secs(5), || {
                got = ring.recv_fast(&mut [0; 40]).is_ok();
                got || !dead_hold(&ring)
            })
        });
    });
    std::thread::scope(|scope| {
        let poll = || within(Duration::from_secs(2), || ring.recv_fast(&mut [0; 40]).is_ok());
        assert!(got || scope.spawn(poll).join().unwrap());
    });
}

// ---- hostile words -------------------------------------------------------------------------

#[test]
fn a_producer_head_that_was_set_back_is_no_panic() {
    let directory = stage();
    let ring = at(&directory).capacity(4).create(NAME).unwrap();
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    for _ in 0..8 {
        producer.send_fast(b"x", NORMAL).unwrap();
        consumer.try_recv().unwrap();
    }
    while producer.send_fast(b"x", NORMAL).is_ok() {}
    write_word(&ring, PRODUCER_HEAD, 0);
    let _ = producer.send_fast(b"x", NORMAL);
    let _ = producer.send_batch(&[b"x"; 64], NORMAL);
    let _ = producer.credits().in_flight();
}

#[test]
fn a_consumer_head_beyond_belief_is_no_endless_loop() {
    let directory = stage();
    let ring = at(&directory).capacity(4).create(NAME).unwrap();
    let mut consumer = ring.consumer().unwrap();
    let most = 1u64 << 57;
    let slots = 8_192 + 64 * 1_024;
    for _ in 0..2 {
        ring.send_fast(b"x", NORMAL).unwrap();
    }
    consumer.try_recv().unwrap();
    write_word(&ring, CONSUMER_HEAD, u64::MAX);
    write_word(&ring, slots + (most % 4) * 64, most + 1);
    let (done, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut last = Ok(0);
        for _ in 0..100 {
            last = consumer.try_recv().map(|message| message.len());
        }
        let _ = done.send(last);
    });
    // Put it right before failing, so that the thread ends.
    let said = told.recv_timeout(Duration::from_secs(3));
    write_word(&ring, CONSUMER_HEAD, 0);
    assert!(said.is_ok(), "try_recv did not return for three seconds");
}

// ---- how soon --------------------------------------------------------------------------------

#[test]
fn a_consumer_whose_calls_are_far_apart_recovers_within_a_few_of_them() {
    let directory = stage();
    let ring = at(&directory).capacity(4).create(NAME).unwrap();
    let mut consumer = ring.consumer().unwrap();
    for _ in 0..10 {
        ring.send_fast(b"x", NORMAL).unwrap();
        while consumer.try_recv().is_err() {}
        die_after(|| {
            let mut producer = at(&directory).open(NAME).unwrap().producer().unwrap();
            std::mem::forget(producer.reserve(1, NORMAL).unwrap());
            producer
        });
        ring.send_fast(b"next", NORMAL).unwrap();
        let mut calls = 1;
        while consumer.try_recv().is_err() {
            calls += 1;
            assert!(calls < 12, "at half a millisecond each, that is too long");
            std::thread::sleep(Duration::from_micros(500));
        }
    }
}

#[test]
fn what_a_dead_consumer_held_is_redelivered_soon_though_messages_keep_coming() {
    let directory = stage();
    let ring = at(&directory).capacity(1 << 16).create(NAME).unwrap();
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    producer.send_fast(b"one", NORMAL).unwrap();
    die_after(|| {
        let mut consumer = at(&directory).open(NAME).unwrap().consumer().unwrap();
        std::mem::forget(consumer.borrow().unwrap());
        consumer
    });
    let since = Instant::now();
    // A message every few microseconds, each received at once: nobody is ever stuck.
    let mut others = 0;
    let again = within(Duration::from_millis(500), || {
        producer.send_fast(b"x", NORMAL).unwrap();
        let mut again = false;
        while let Ok(message) = consumer.try_recv() {
            again |= message.is_redelivered();
        }
        others += 1;
        again
    });
    println!("{again} after {:?}, {others} others", since.elapsed());
    assert!(again);
}

// ---- forks -----------------------------------------------------------------------------------

#[test]
fn a_forked_child_that_takes_a_handle_of_an_inherited_ring_is_refused_or_heard() {
    let directory = stage();
    let ring = at(&directory).capacity(4).create(NAME).unwrap();
    let mut consumer = ring.consumer().unwrap();
    // SAFETY: the child uses the C library and the ring only and never returns.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let sent = ring.producer().is_ok_and(|mut own| own.send_fast(b"child", NORMAL).is_ok());
        // SAFETY: ends the process.
        unsafe { libc::_exit(i32::from(sent)) };
    }
    let mut status = 0;
    // SAFETY: `status` is written and nothing else.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    let sent = libc::WEXITSTATUS(status) == 1;
    let heard = within(Duration::from_millis(100), || consumer.try_recv().is_ok());
    assert!(!sent || heard, "the child's send returned Ok, and nobody will ever get the message");
}

// ---- producers that are stuck -----------------------------------------------------------------

#[test]
fn a_producer_without_credit_gets_it_back_from_a_consumer_that_died_where_messages_are_discarded() {
    let directory = stage();
    let ring = at(&directory).capacity(1).redelivery(Redelivery::Discard).create(NAME).unwrap();
    let mut producer = ring.producer().unwrap();
    producer.send_fast(b"one", NORMAL).unwrap();
    die_after(|| {
        let mut consumer = at(&directory).open(NAME).unwrap().consumer().unwrap();
        std::mem::forget(consumer.borrow().unwrap());
        consumer
    });
    assert!(within(Duration::from_secs(1), || producer.send_fast(b"two", NORMAL).is_ok()));
}

/// The ring is empty and everything in it was received; its only consumer died, or is busy with
/// something else, before it granted.
fn received_and_not_granted(exclusive: bool, dies: bool) {
    let directory = stage();
    let mut builder = at(&directory)
        .capacity(64)
        .reserve(PriorityClass::RealTime, 63)
        .timestamps(ultrafastring::Timestamps::Off);
    if exclusive {
        builder = builder.exclusive_consumer();
    }
    let mut ran = false;
    for received in 20..64u64 {
        let ring = builder.create(NAME).unwrap();
        let mut producer = ring.producer().unwrap();
        for _ in 0..received {
            producer.send_fast(b"x", PriorityClass::RealTime).unwrap();
        }
        let mut shared = None;
        let mut own = None;
        let mut work = || {
            let ring = builder.open(NAME).unwrap();
            if exclusive {
                let mut consumer = ring.exclusive_consumer().unwrap();
                (0..received).for_each(|_| {
                    consumer.try_recv().unwrap();
                });
                own = Some(consumer);
            } else {
                let mut consumer = ring.consumer().unwrap();
                (0..received).for_each(|_| {
                    consumer.try_recv().unwrap();
                });
                shared = Some(consumer);
            }
        };
        if dies {
            die_after(&mut work);
        } else {
            work();
        }
        let positions = ring.positions();
        if positions.consumer_tail < positions.consumer_head {
            ran = true;
            let sent = within(Duration::from_secs(1), || {
                producer.send_fast(b"x", PriorityClass::Bulk).is_ok()
            });
            assert!(sent, "the ring is empty, and Bulk has no credit: {positions:?}");
        }
        drop((shared, own));
        builder.remove(NAME).unwrap();
    }
    assert!(ran);
}

#[test]
fn an_empty_ring_has_credit_though_its_shared_consumer_died_before_it_granted() {
    received_and_not_granted(false, true);
}

#[test]
fn an_empty_ring_has_credit_though_its_exclusive_consumer_died_before_it_granted() {
    received_and_not_granted(true, true);
}

#[test]
fn an_empty_ring_has_credit_though_its_consumer_makes_no_call() {
    received_and_not_granted(false, false);
}
