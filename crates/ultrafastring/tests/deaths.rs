//! What must still work after a death, or with a word that a peer wrote, at moments that kill tests seldom hit.

#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use ultrafastring::{Builder, PriorityClass, RecvError, Redelivery, SendError, UltraFastRing};

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

// ---- newcomers ---------------------------------------------------------------------------

#[test]
fn a_newcomer_frees_the_entry_of_a_dead_one_behind_many_that_are_free() {
    let directory = stage();
    let ring = at(&directory).capacity(4).participants(128).create(NAME).unwrap();
    let others: Vec<_> = (0..100).map(|_| ring.producer().unwrap()).collect();
    die_after(|| at(&directory).open(NAME).unwrap().producer().unwrap());
    drop(others);
    let all = || ring.participants().map(|it| it.alive).collect::<Vec<_>>();
    assert_eq!(all(), [false]);
    let _newcomer = ring.producer().unwrap();
    assert_eq!(all(), [true]);
}

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

#[test]
fn what_a_dead_exclusive_consumer_held_stays_marked_while_somebody_repairs_the_ring() {
    let directory = stage();
    for round in 0..200 {
        let ring = held_by_a_dead_exclusive_consumer(&directory);
        let (repairs, done) = (AtomicU64::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    ring.repair().unwrap();
                    repairs.fetch_add(1, Relaxed);
                }
            });
            while repairs.load(Relaxed) < 2 {
                std::thread::yield_now();
            }
            let message = ring.exclusive_consumer().unwrap().try_recv();
            done.store(true, Relaxed);
            assert!(message.unwrap().is_redelivered(), "round {round}");
        });
        at(&directory).remove(NAME).unwrap();
    }
}

// ---- guards that were forgotten ------------------------------------------------------------

/// Forgets a reservation, makes a call for which there is no credit, and dies; whether what others
/// send is received all the same.
fn goes_on_after_a_forgotten_reservation(
    call: impl Fn(&mut ultrafastring::Producer<ultrafastring::Shared>),
) {
    const URGENT: PriorityClass = PriorityClass::RealTime;
    let directory = stage();
    let builder = at(&directory).capacity(4).reserve(URGENT, 3);
    let ring = builder.create(NAME).unwrap();
    let mut consumer = ring.consumer().unwrap();
    ring.send_fast(b"first", URGENT).unwrap();
    die_after(|| {
        let mut producer = builder.open(NAME).unwrap().producer().unwrap();
        std::mem::forget(producer.reserve(4, URGENT).unwrap());
        call(&mut producer);
        // Nothing but what the call did keeps its claim from being nobody's.
        producer
    });
    let mut producer = ring.producer().unwrap();
    producer.send_fast(b"next", URGENT).unwrap();
    let mut received = Vec::new();
    assert!(within(Duration::from_secs(10), || {
        received.extend(consumer.try_recv().ok().map(|message| message.to_vec()));
        received.len() == 2
    }));
    assert_eq!(received, [&b"first"[..], b"next"]);
}

#[test]
fn a_reservation_that_was_forgotten_blocks_nobody_when_its_producer_waits_and_is_killed() {
    goes_on_after_a_forgotten_reservation(|producer| {
        let waited = producer.wait(NORMAL, Some(Instant::now() + Duration::from_millis(5)));
        assert_eq!(waited, Err(SendError::TimedOut));
    });
}

#[test]
fn a_reservation_that_was_forgotten_blocks_nobody_when_its_producer_is_armed_and_is_killed() {
    goes_on_after_a_forgotten_reservation(|producer| {
        let readiness = producer.readiness().unwrap();
        assert!(!producer.arm(NORMAL, &readiness).unwrap());
    });
}

#[test]
fn a_reservation_that_was_forgotten_blocks_nobody_when_its_producer_waits_with_others() {
    goes_on_after_a_forgotten_reservation(|producer| {
        assert_eq!(producer.send_fast(b"", PriorityClass::Bulk), Err(SendError::OutOfCredit));
        std::mem::forget(producer.reserve(4, PriorityClass::RealTime).unwrap());
        let soon = Instant::now() + Duration::from_millis(5);
        assert_eq!(ultrafastring::wait_any(&mut [producer], Some(soon)), None);
    });
}

#[test]
fn a_producer_that_forgot_a_reservation_and_waits_is_not_kept_waiting_by_it() {
    let ring = Builder::new().capacity(2).reserve(PriorityClass::RealTime, 1).heap().unwrap();
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    producer.send_fast(b"one", PriorityClass::RealTime).unwrap();
    std::mem::forget(producer.reserve(4, PriorityClass::RealTime).unwrap());
    let done = AtomicBool::new(false);
    let waited = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Relaxed) {
                let _ = consumer.try_recv();
                std::thread::yield_now();
            }
        });
        // All that is in the ring is received; there is room unless the reservation takes it.
        let waited = producer.wait(NORMAL, Some(Instant::now() + Duration::from_secs(10)));
        done.store(true, Relaxed);
        waited
    });
    assert_eq!(waited, Ok(()));
}

// ---- who took over and falls silent -------------------------------------------------------

type SharedConsumer = ultrafastring::Consumer<ultrafastring::Shared>;

/// A ring whose first message a dead consumer holds, and two consumers that were there before: one that
/// comes later begins with what was held.
fn held_by_a_dead_shared_consumer(directory: &TempDir) -> (UltraFastRing, [SharedConsumer; 2]) {
    let ring = at(directory).capacity(4).create(NAME).unwrap();
    let survivors = [ring.consumer().unwrap(), ring.consumer().unwrap()];
    ring.send_fast(b"one", NORMAL).unwrap();
    die_with_a_message(directory);
    (ring, survivors)
}

fn die_with_a_message(directory: &TempDir) {
    die_after(|| {
        let mut consumer = at(directory).open(NAME).unwrap().consumer().unwrap();
        std::mem::forget(consumer.borrow().unwrap());
        consumer
    });
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
    let (ring, [mut silent, mut other]) = held_by_a_dead_shared_consumer(&directory);
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
    let (ring, [mut silent, mut other]) = held_by_a_dead_shared_consumer(&directory);
    assert!(within(Duration::from_secs(5), || {
        matches!(silent.recv_fast(&mut [0; 1]), Err(RecvError::BufferTooSmall { .. }))
    }));
    goes_on(&ring, &mut other);
}

#[test]
fn a_consumer_that_took_over_several_and_falls_silent_after_one_does_not_keep_the_others() {
    let directory = stage();
    let (ring, [mut silent, mut other]) = held_by_a_dead_shared_consumer(&directory);
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
    let ring = at(&directory).capacity(4).create(NAME).unwrap();
    let mut got = false;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(ring.recv_fast(&mut [0; 40]), Err(RecvError::Empty), "takes its seat");
            ring.send_fast(b"one", NORMAL).unwrap();
            die_with_a_message(&directory);
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

// ---- consumers that are stuck -----------------------------------------------------------------

#[test]
fn a_wait_whose_time_is_up_looks_behind_all_that_dead_producers_claimed() {
    use ultrafastring::WaitStrategy::{Park, Spin, SpinThenPark, SpinThenYield};
    for strategy in [Park, SpinThenPark, SpinThenYield, Spin] {
        let directory = stage();
        let ring = at(&directory).capacity(8).create(NAME).unwrap();
        // Before the deaths: one that comes later finishes what the dead left.
        let (mut consumer, mut producer) = (ring.consumer().unwrap(), ring.producer().unwrap());
        consumer.set_wait_strategy(strategy);
        die_after(|| {
            let ring = at(&directory).open(NAME).unwrap();
            [(); 5].map(|()| {
                let mut producer = ring.producer().unwrap();
                std::mem::forget(producer.reserve(1, NORMAL).unwrap());
                producer
            })
        });
        producer.send_fast(b"behind", NORMAL).unwrap();
        assert_eq!(consumer.wait(Some(Instant::now())), Ok(()), "{strategy:?}");
        assert_eq!(&*consumer.try_recv().unwrap(), b"behind");
    }
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

/// Forks a process that does `work`, says so, and lives on until it is killed.
fn live_after<T>(work: impl FnOnce() -> T) -> libc::pid_t {
    let mut ends = [0; 2];
    // SAFETY: two descriptors are written.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    // SAFETY: the child uses the C library and the ring only and never returns.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        // SAFETY: no memory is involved; if the test dies, so does this.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        let _kept = work();
        // SAFETY: one byte to a pipe; then it waits for a signal.
        unsafe {
            libc::write(ends[1], c"x".as_ptr().cast(), 1);
            loop {
                libc::pause();
            }
        }
    }
    let mut byte = 0u8;
    // SAFETY: one byte is read; then both ends are ours to close.
    unsafe {
        libc::close(ends[1]);
        assert_eq!(libc::read(ends[0], (&raw mut byte).cast(), 1), 1, "the child failed");
        libc::close(ends[0]);
    }
    child
}

/// From a kill to the next message delivered, and from the moment the kernel has told of the death.
fn how_soon(
    who: &str,
    builder: &Builder,
    before: fn(&UltraFastRing),
    work: impl Fn(&UltraFastRing) -> Box<dyn std::any::Any>,
    mut after: impl FnMut(&UltraFastRing) -> bool + Send,
) {
    const DEATHS: usize = 300;
    let (mut from_kill, mut from_notice) = (Vec::new(), Vec::new());
    for _ in 0..DEATHS {
        let _ = builder.remove(NAME);
        let ring = builder.create(NAME).unwrap();
        before(&ring);
        let child = live_after(|| work(&builder.open(NAME).unwrap()));
        // The survivor is at work when it happens.
        std::thread::scope(|scope| {
            let survivor = scope.spawn(|| {
                assert!(within(Duration::from_secs(30), || after(&ring)), "nothing came");
                Instant::now()
            });
            std::thread::sleep(Duration::from_millis(2));
            let killed = Instant::now();
            let mut status = 0;
            // SAFETY: a signal to our own child; `status` is written.
            unsafe {
                libc::kill(child, libc::SIGKILL);
                libc::waitpid(child, &raw mut status, 0);
            }
            let noticed = Instant::now();
            let delivered = survivor.join().unwrap();
            from_kill.push(delivered.duration_since(killed));
            from_notice.push(delivered.saturating_duration_since(noticed));
        });
    }
    let median_and_most = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        (times[DEATHS / 2], times[DEATHS - 1])
    };
    println!(
        "{who:<20} {DEATHS} deaths: from the kill median {:?} most {:?}",
        median_and_most(&mut from_kill).0,
        median_and_most(&mut from_kill).1
    );
    println!(
        "{:<20} from when its parent knew: median {:?} most {:?}",
        "",
        median_and_most(&mut from_notice).0,
        median_and_most(&mut from_notice).1
    );
}

/// Whether this ring's consumer, taken when it is first asked for, receives something.
fn receives(
    consumer: &mut Option<(u64, ultrafastring::Consumer<ultrafastring::Shared>)>,
    ring: &UltraFastRing,
) -> bool {
    if consumer.as_ref().is_none_or(|(of, _)| *of != ring.created()) {
        *consumer = Some((ring.created(), ring.consumer().unwrap()));
    }
    consumer.as_mut().is_some_and(|(_, own)| own.try_recv().is_ok())
}

#[test]
#[ignore = "a measurement: run it by itself on a quiet machine, in release, with --nocapture"]
fn how_soon_after_a_death_the_next_message_comes() {
    let directory = stage();
    let shared = at(&directory).capacity(4);
    let exclusive = at(&directory).capacity(4).exclusive_producer().exclusive_consumer();
    let mut consumer = None;
    how_soon(
        "shared producer",
        &shared,
        |_| {},
        |ring| {
            let mut producer = ring.producer().unwrap();
            std::mem::forget(producer.reserve(1, NORMAL).unwrap());
            // Committed behind what never will be.
            ring.send_fast(b"next", NORMAL).unwrap();
            Box::new(producer)
        },
        |ring| receives(&mut consumer, ring),
    );
    consumer = None;
    how_soon(
        "shared consumer",
        &shared,
        |ring| ring.send_fast(b"one", NORMAL).unwrap(),
        |ring| {
            let mut consumer = ring.consumer().unwrap();
            std::mem::forget(consumer.borrow().unwrap());
            Box::new(consumer)
        },
        |ring| receives(&mut consumer, ring),
    );
    how_soon(
        "exclusive producer",
        &exclusive,
        |_| {},
        |ring| Box::new(ring.exclusive_producer().unwrap()),
        |ring| {
            let Ok(mut successor) = ring.exclusive_producer() else { return false };
            successor.send_fast(b"next", NORMAL).unwrap();
            ring.exclusive_consumer().unwrap().try_recv().is_ok()
        },
    );
    how_soon(
        "exclusive consumer",
        &exclusive,
        |ring| ring.exclusive_producer().unwrap().send_fast(b"one", NORMAL).unwrap(),
        |ring| {
            let mut consumer = ring.exclusive_consumer().unwrap();
            std::mem::forget(consumer.borrow().unwrap());
            Box::new(consumer)
        },
        |ring| ring.exclusive_consumer().is_ok_and(|mut successor| successor.try_recv().is_ok()),
    );
}

// ---- words that say too much ---------------------------------------------------------------

const CONSUMER_TAIL: u64 = 4_096 + 384;

#[test]
fn a_release_frontier_beyond_the_head_gives_a_newcomer_no_endless_credit() {
    for exclusive in [false, true] {
        let directory = stage();
        let mut builder = at(&directory).capacity(4);
        if exclusive {
            builder = builder.exclusive_producer();
        }
        let ring = builder.create(NAME).unwrap();
        write_word(&ring, CONSUMER_TAIL, 1 << 40);
        let count = |mut send: Box<dyn FnMut() -> bool>| (0..100).filter(|_| send()).count();
        let sent = if exclusive {
            let mut producer = ring.exclusive_producer().unwrap();
            count(Box::new(move || producer.send_fast(b"x", NORMAL).is_ok()))
        } else {
            let mut producer = ring.producer().unwrap();
            count(Box::new(move || producer.send_fast(b"x", NORMAL).is_ok()))
        };
        assert!(sent <= 4, "{sent} messages in four slots");
    }
}

#[test]
fn an_exclusive_batch_is_never_nothing_and_ok_while_a_peer_changes_sizes() {
    let directory = stage();
    let ring = at(&directory).capacity(4).exclusive_consumer().create(NAME).unwrap();
    let mut consumer = ring.exclusive_consumer().unwrap();
    let mut producer = ring.producer().unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = File::options().read(true).write(true).open(ring.path().unwrap()).unwrap();
            // SAFETY: a new mapping of the whole file.
            let memory = unsafe {
                let writable = libc::PROT_READ | libc::PROT_WRITE;
                let file = std::os::fd::AsRawFd::as_raw_fd(&file);
                libc::mmap(
                    std::ptr::null_mut(),
                    ring.size_bytes(),
                    writable,
                    libc::MAP_SHARED,
                    file,
                    0,
                )
            };
            assert_ne!(memory, libc::MAP_FAILED);
            let metas: [&AtomicU64; 4] = std::array::from_fn(|slot| {
                // SAFETY: a word of the mapping, which stays; all access to it is atomic.
                unsafe { &*memory.byte_add(8_192 + 64 * 1_024 + 64 * slot + 8).cast() }
            });
            while !stop.load(Relaxed) {
                for size in [1u64, 2] {
                    metas.iter().for_each(|meta| meta.store(2 | size << 16, Relaxed));
                }
            }
        });
        let mut empty = 0;
        for _ in 0..200_000 {
            let _ = producer.send_fast(b"x", NORMAL);
            if let Ok(batch) = consumer.recv_batch(&mut [[0; 40]; 4]) {
                empty += u32::from(batch.is_empty());
            }
        }
        stop.store(true, Relaxed);
        assert_eq!(empty, 0);
    });
}

#[test]
fn a_ring_that_is_open_shows_it_to_others_and_not_to_itself() {
    let directory = stage();
    let ring = at(&directory).create(NAME).unwrap();
    assert!(!ring.is_open_elsewhere());
    let child = live_after(|| at(&directory).open(NAME).unwrap());
    assert!(ring.is_open_elsewhere());
    // SAFETY: a signal to our own child, which is waited for.
    unsafe {
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, std::ptr::null_mut(), 0);
    }
    assert!(!ring.is_open_elsewhere());
}
