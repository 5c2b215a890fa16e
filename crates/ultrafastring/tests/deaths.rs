//! What must still work after a death, or with a word that a peer wrote, at moments that kill tests
//! seldom hit.

#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod common;
#[path = "common/shapes.rs"]
mod shapes;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use common::child::Child;
use common::stage;
use shapes::{Between, Shape, on_each_shape};
use tempfile::TempDir;
use ultrafastring::{
    Builder, Consumer, Mode, PriorityClass, Producer, RecvError, Redelivery, SendError, Shared,
    Timestamps, UltraFastRing, wait_any,
};

const NORMAL: PriorityClass = PriorityClass::Normal;
const NAME: &str = "deaths";

/// For calls on the ring itself.
type SharedToShared = Between<Shared, Shared>;

fn at<S: Shape>(directory: &TempDir) -> Builder {
    S::builder().directory(directory.path())
}

/// A consumer dies that holds the oldest message.
fn die_holding<S: Shape>(directory: &TempDir) {
    Child::die_after(|| {
        let mut consumer = S::consumer(&at::<S>(directory).open(NAME).unwrap());
        std::mem::forget(consumer.try_borrow().unwrap());
        consumer
    });
}

/// A producer dies that has claimed a position and not committed.
fn die_claiming<S: Shape>(directory: &TempDir) {
    Child::die_after(|| {
        let mut producer = S::producer(&at::<S>(directory).open(NAME).unwrap());
        std::mem::forget(producer.try_reserve(1, NORMAL).unwrap());
        producer
    });
}

fn write_word(ring: &UltraFastRing, offset: usize, word: u64) {
    let file = File::options().read(true).write(true).open(ring.path().unwrap()).unwrap();
    file.write_all_at(&word.to_le_bytes(), offset as u64).unwrap();
}

// ---- newcomers ---------------------------------------------------------------------------

fn a_newcomer_frees_the_entry_of_a_dead_one_behind_many_that_are_free<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).capacity(4).participants(128).create(NAME).unwrap();
    let others: Vec<_> = (0..100).map(|_| S::producer(&ring)).collect();
    Child::die_after(|| S::producer(&at::<S>(&directory).open(NAME).unwrap()));
    drop(others);
    // With lanes, an entry in each.
    let all = || {
        let mut all: Vec<_> = ring.participants().map(|it| it.alive).collect();
        all.dedup();
        all
    };
    assert_eq!(all(), [false]);
    let _newcomer = S::producer(&ring);
    assert_eq!(all(), [true]);
}
on_each_shape!(
    a_newcomer_frees_the_entry_of_a_dead_one_behind_many_that_are_free,
    needs(two_producers, one_group)
);

// ---- marks of an exclusive side ----------------------------------------------------------

fn held_by_a_dead_exclusive_consumer<S: Shape>(directory: &TempDir) -> UltraFastRing {
    let ring = at::<S>(directory).capacity(4).create(NAME).unwrap();
    S::producer(&ring).send_fast(b"one", NORMAL).unwrap();
    die_holding::<S>(directory);
    ring
}

fn what_a_dead_exclusive_consumer_held_stays_marked_when_its_successor_is_killed_too<S: Shape>() {
    let directory = stage();
    let ring = held_by_a_dead_exclusive_consumer::<S>(&directory);
    Child::die_after(|| S::consumer(&at::<S>(&directory).open(NAME).unwrap()));
    assert!(S::consumer(&ring).try_recv().unwrap().is_redelivered());
}
on_each_shape!(
    what_a_dead_exclusive_consumer_held_stays_marked_when_its_successor_is_killed_too,
    needs(exclusive_consumer, one_group)
);

fn what_a_dead_exclusive_consumer_held_stays_marked_when_its_successor_leaves_at_once<S: Shape>() {
    let directory = stage();
    let ring = held_by_a_dead_exclusive_consumer::<S>(&directory);
    drop(S::consumer(&ring));
    assert!(S::consumer(&ring).try_recv().unwrap().is_redelivered());
}
on_each_shape!(
    what_a_dead_exclusive_consumer_held_stays_marked_when_its_successor_leaves_at_once,
    needs(exclusive_consumer, one_group)
);

fn what_a_dead_exclusive_consumer_held_stays_marked_while_somebody_repairs_the_ring<S: Shape>() {
    let directory = stage();
    for round in 0..S::fewer(200) {
        let ring = held_by_a_dead_exclusive_consumer::<S>(&directory);
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
            let message = S::consumer(&ring).try_recv();
            done.store(true, Relaxed);
            assert!(message.unwrap().is_redelivered(), "round {round}");
        });
        at::<S>(&directory).remove(NAME).unwrap();
    }
}
on_each_shape!(
    what_a_dead_exclusive_consumer_held_stays_marked_while_somebody_repairs_the_ring,
    needs(exclusive_consumer, no_groups)
);

// ---- guards that were forgotten ------------------------------------------------------------

/// Forgets a reservation, makes a call for which there is no credit, and dies; whether what others
/// send is received all the same.
fn goes_on_after_a_forgotten_reservation<S: Shape>(call: impl Fn(&mut Producer<S::Producers>)) {
    const URGENT: PriorityClass = PriorityClass::RealTime;
    let directory = stage();
    let builder = at::<S>(&directory).capacity(4).reserve(URGENT, 3);
    let ring = builder.create(NAME).unwrap();
    let mut consumer = S::consumer(&ring);
    S::producer(&ring).send_fast(b"first", URGENT).unwrap();
    Child::die_after(|| {
        let mut producer = S::producer(&builder.open(NAME).unwrap());
        std::mem::forget(producer.try_reserve(4, URGENT).unwrap());
        call(&mut producer);
        // Nothing but what the call did keeps its claim from being nobody's.
        producer
    });
    let mut producer = S::producer(&ring);
    producer.send_fast(b"next", URGENT).unwrap();
    let mut received = Vec::new();
    assert!(within(Duration::from_secs(10), || {
        received.extend(consumer.try_recv().ok().map(|message| message.to_vec()));
        received.len() == 2
    }));
    assert_eq!(received, [&b"first"[..], b"next"]);
}

fn a_reservation_that_was_forgotten_blocks_nobody_when_its_producer_waits_and_is_killed<
    S: Shape,
>() {
    goes_on_after_a_forgotten_reservation::<S>(|producer| {
        let waited = producer.wait(NORMAL, Some(Instant::now() + Duration::from_millis(5)));
        assert_eq!(waited, Err(SendError::TimedOut));
    });
}
on_each_shape!(
    a_reservation_that_was_forgotten_blocks_nobody_when_its_producer_waits_and_is_killed,
    needs(one_group, reserves)
);

fn a_reservation_that_was_forgotten_blocks_nobody_when_its_producer_is_armed_and_is_killed<
    S: Shape,
>() {
    goes_on_after_a_forgotten_reservation::<S>(|producer| {
        let readiness = producer.readiness().unwrap();
        assert!(!producer.arm(NORMAL, &readiness).unwrap());
    });
}
on_each_shape!(
    a_reservation_that_was_forgotten_blocks_nobody_when_its_producer_is_armed_and_is_killed,
    needs(one_group, reserves)
);

fn a_reservation_that_was_forgotten_blocks_nobody_when_its_producer_waits_with_others<S: Shape>() {
    goes_on_after_a_forgotten_reservation::<S>(|producer| {
        assert_eq!(producer.send_fast(b"", PriorityClass::Bulk), Err(SendError::OutOfCredit));
        std::mem::forget(producer.try_reserve(4, PriorityClass::RealTime).unwrap());
        let soon = Instant::now() + Duration::from_millis(5);
        assert_eq!(wait_any(&mut [producer], Some(soon)), None);
    });
}
on_each_shape!(
    a_reservation_that_was_forgotten_blocks_nobody_when_its_producer_waits_with_others,
    needs(one_group, reserves)
);

fn a_producer_that_forgot_a_reservation_and_waits_is_not_kept_waiting_by_it<S: Shape>() {
    let ring = S::builder().capacity(2).reserve(PriorityClass::RealTime, 1).heap().unwrap();
    let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
    producer.send_fast(b"one", PriorityClass::RealTime).unwrap();
    std::mem::forget(producer.try_reserve(4, PriorityClass::RealTime).unwrap());
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
on_each_shape!(
    a_producer_that_forgot_a_reservation_and_waits_is_not_kept_waiting_by_it,
    needs(one_group, reserves)
);

// ---- who took over and falls silent -------------------------------------------------------

/// A ring whose first message a dead consumer holds, its producer, and two consumers that were
/// there before: one that comes later begins with what was held.
type Held<S> =
    (UltraFastRing, Producer<<S as Shape>::Producers>, [Consumer<<S as Shape>::Consumers>; 2]);

fn held_by_a_dead_shared_consumer<S: Shape>(directory: &TempDir) -> Held<S> {
    let ring = at::<S>(directory).capacity(4).create(NAME).unwrap();
    let survivors = [S::consumer(&ring), S::consumer(&ring)];
    let mut producer = S::producer(&ring);
    producer.send_fast(b"one", NORMAL).unwrap();
    die_holding::<S>(directory);
    (ring, producer, survivors)
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
fn goes_on<P: Mode, C: Mode>(producer: &mut Producer<P>, other: &mut Consumer<C>) {
    let got = within(Duration::from_secs(2), || other.try_recv().is_ok());
    let mut sent = 0;
    let room = within(Duration::from_secs(1), || {
        sent += u32::from(producer.send_fast(b"x", NORMAL).is_ok());
        while other.try_recv().is_ok() {}
        sent > 16
    });
    assert!(got && room, "got: {got}, room: {room}");
}

fn dead_hold(ring: &UltraFastRing) -> bool {
    ring.participants().any(|it| it.hold.is_some() && !it.alive)
}

fn a_consumer_that_took_over_and_makes_no_further_call_does_not_keep_the_message_from_others<
    S: Shape,
>() {
    let directory = stage();
    let (ring, mut producer, [mut silent, mut other]) =
        held_by_a_dead_shared_consumer::<S>(&directory);
    let mut got = false;
    // Until it has it, or has adopted the dead one's entry and still says that the ring is empty.
    assert!(within(Duration::from_secs(5), || {
        got = silent.try_recv().is_ok();
        got || !dead_hold(&ring)
    }));
    if !got {
        goes_on(&mut producer, &mut other);
    }
}
on_each_shape!(
    a_consumer_that_took_over_and_makes_no_further_call_does_not_keep_the_message_from_others,
    needs(two_consumers, one_group)
);

fn a_consumer_that_took_over_and_has_no_room_does_not_keep_the_message_from_others<S: Shape>() {
    let directory = stage();
    let (_ring, mut producer, [mut silent, mut other]) =
        held_by_a_dead_shared_consumer::<S>(&directory);
    assert!(within(Duration::from_secs(5), || {
        matches!(silent.recv_fast(&mut [0; 1]), Err(RecvError::BufferTooSmall { .. }))
    }));
    goes_on(&mut producer, &mut other);
}
on_each_shape!(
    a_consumer_that_took_over_and_has_no_room_does_not_keep_the_message_from_others,
    needs(two_consumers, one_group)
);

fn a_consumer_that_took_over_several_and_falls_silent_after_one_does_not_keep_the_others<
    S: Shape,
>() {
    let directory = stage();
    let (ring, mut producer, [mut silent, mut other]) =
        held_by_a_dead_shared_consumer::<S>(&directory);
    producer.send_fast(b"two", NORMAL).unwrap();
    assert_eq!(&*other.try_recv().unwrap(), b"two");
    // As if the dead one had claimed both.
    let index = ring.participants().find(|it| it.hold.is_some()).unwrap().index;
    let entries = S::place(&ring, "participants");
    write_word(&ring, entries + 1_024 * index + 3 * 64, 1 << 6 | 1);
    assert!(within(Duration::from_secs(5), || silent.try_recv().is_ok()));
    goes_on(&mut producer, &mut other);
}
on_each_shape!(
    a_consumer_that_took_over_several_and_falls_silent_after_one_does_not_keep_the_others,
    needs(two_consumers, one_group)
);

#[test]
fn a_thread_whose_handle_took_over_and_that_ends_does_not_keep_the_message_from_others() {
    let directory = stage();
    let ring = at::<SharedToShared>(&directory).capacity(4).create(NAME).unwrap();
    let mut got = false;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(ring.recv_fast(&mut [0; 40]), Err(RecvError::Empty), "takes its handle");
            ring.send_fast(b"one", NORMAL).unwrap();
            die_holding::<SharedToShared>(&directory);
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

fn a_producer_head_that_was_set_back_is_no_panic<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).capacity(4).create(NAME).unwrap();
    let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
    for _ in 0..8 {
        producer.send_fast(b"x", NORMAL).unwrap();
        consumer.try_recv().unwrap();
    }
    while producer.send_fast(b"x", NORMAL).is_ok() {}
    write_word(&ring, S::place(&ring, "lanes"), 0);
    let _ = producer.send_fast(b"x", NORMAL);
    let _ = producer.send_batch(&[b"x"; 64], NORMAL);
    let _ = producer.credits().in_flight();
}
on_each_shape!(a_producer_head_that_was_set_back_is_no_panic, needs(one_group));

fn a_consumer_head_beyond_belief_is_no_endless_loop<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).capacity(4).create(NAME).unwrap();
    let mut consumer = S::consumer(&ring);
    let most = 1usize << 57;
    let (head, slots) = (S::place(&ring, "cursors"), S::place(&ring, "slots"));
    let mut producer = S::producer(&ring);
    for _ in 0..2 {
        producer.send_fast(b"x", NORMAL).unwrap();
    }
    consumer.try_recv().unwrap();
    write_word(&ring, head, u64::MAX);
    write_word(&ring, slots + (most % 4) * 64, most as u64 + 1);
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
    write_word(&ring, head, 0);
    assert!(said.is_ok(), "try_recv did not return for three seconds");
}
on_each_shape!(a_consumer_head_beyond_belief_is_no_endless_loop, needs(one_group));

// ---- how soon --------------------------------------------------------------------------------

fn a_consumer_whose_calls_are_far_apart_recovers_within_a_few_of_them<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).capacity(4).create(NAME).unwrap();
    let mut consumer = S::consumer(&ring);
    let mut producer = S::producer(&ring);
    for _ in 0..10 {
        producer.send_fast(b"x", NORMAL).unwrap();
        while consumer.try_recv().is_err() {}
        die_claiming::<S>(&directory);
        producer.send_fast(b"next", NORMAL).unwrap();
        let mut calls = 1;
        while consumer.try_recv().is_err() {
            calls += 1;
            assert!(calls < 12, "at half a millisecond each, that is too long");
            std::thread::sleep(Duration::from_micros(500));
        }
    }
}
on_each_shape!(
    a_consumer_whose_calls_are_far_apart_recovers_within_a_few_of_them,
    needs(two_producers, one_group)
);

fn what_a_dead_consumer_held_is_redelivered_soon_though_messages_keep_coming<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).capacity(1 << 16).create(NAME).unwrap();
    let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
    producer.send_fast(b"one", NORMAL).unwrap();
    die_holding::<S>(&directory);
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
on_each_shape!(
    what_a_dead_consumer_held_is_redelivered_soon_though_messages_keep_coming,
    needs(two_consumers, one_group)
);

// ---- forks -----------------------------------------------------------------------------------

fn a_forked_child_that_takes_a_handle_of_an_inherited_ring_is_refused_or_heard<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).capacity(4).create(NAME).unwrap();
    let mut consumer = S::consumer(&ring);
    let child = Child::fork(|| {
        let own = S::try_producer(&ring);
        i32::from(own.is_some_and(|mut own| own.send_fast(b"child", NORMAL).is_ok()))
    });
    let sent = child.code() == 1;
    let heard = within(Duration::from_millis(100), || consumer.try_recv().is_ok());
    assert!(!sent || heard, "the child's send returned Ok, and nobody will ever get the message");
}
on_each_shape!(
    a_forked_child_that_takes_a_handle_of_an_inherited_ring_is_refused_or_heard,
    needs(one_group)
);

// ---- producers that are stuck -----------------------------------------------------------------

fn a_producer_without_credit_gets_it_back_from_a_consumer_that_died_where_messages_are_discarded<
    S: Shape,
>() {
    let directory = stage();
    let ring =
        at::<S>(&directory).capacity(1).redelivery(Redelivery::Discard).create(NAME).unwrap();
    let mut producer = S::producer(&ring);
    producer.send_fast(b"one", NORMAL).unwrap();
    die_holding::<S>(&directory);
    assert!(within(Duration::from_secs(1), || producer.send_fast(b"two", NORMAL).is_ok()));
}
on_each_shape!(
    a_producer_without_credit_gets_it_back_from_a_consumer_that_died_where_messages_are_discarded,
    needs(shared_consumer, one_group)
);

// ---- consumers that are stuck -----------------------------------------------------------------

fn a_wait_whose_time_is_up_looks_behind_all_that_dead_producers_claimed<S: Shape>() {
    use ultrafastring::WaitStrategy::{Park, Spin, SpinThenPark, SpinThenYield};
    for strategy in [Park, SpinThenPark, SpinThenYield, Spin] {
        let directory = stage();
        let ring = at::<S>(&directory).capacity(8).create(NAME).unwrap();
        // Before the deaths: one that comes later finishes what the dead left.
        let (mut consumer, mut producer) = (S::consumer(&ring), S::producer(&ring));
        consumer.set_wait_strategy(strategy);
        Child::die_after(|| {
            let ring = at::<S>(&directory).open(NAME).unwrap();
            [(); 5].map(|()| {
                let mut producer = S::producer(&ring);
                std::mem::forget(producer.try_reserve(1, NORMAL).unwrap());
                producer
            })
        });
        producer.send_fast(b"behind", NORMAL).unwrap();
        assert_eq!(consumer.wait(Some(Instant::now())), Ok(()), "{strategy:?}");
        assert_eq!(&*consumer.try_recv().unwrap(), b"behind");
    }
}
on_each_shape!(
    a_wait_whose_time_is_up_looks_behind_all_that_dead_producers_claimed,
    needs(two_producers, one_group)
);

/// The ring is empty and everything in it was received; its only consumer died, or is busy with
/// something else, before it granted.
fn received_and_not_granted<S: Shape>(dies: bool) {
    let directory = stage();
    let builder = at::<S>(&directory)
        .capacity(64)
        .reserve(PriorityClass::RealTime, 63)
        .timestamps(Timestamps::Off);
    let mut ran = false;
    for received in 20..64u64 {
        let ring = builder.create(NAME).unwrap();
        let mut producer = S::producer(&ring);
        for _ in 0..received {
            producer.send_fast(b"x", PriorityClass::RealTime).unwrap();
        }
        let work = || {
            let mut consumer = S::consumer(&builder.open(NAME).unwrap());
            (0..received).for_each(|_| _ = consumer.try_recv().unwrap());
            consumer
        };
        let consumer = if dies {
            Child::die_after(work);
            None
        } else {
            Some(work())
        };
        let positions = ring.positions();
        if positions.consumer_tail < positions.consumer_head {
            ran = true;
            let sent = within(Duration::from_secs(1), || {
                producer.send_fast(b"x", PriorityClass::Bulk).is_ok()
            });
            assert!(sent, "the ring is empty, and Bulk has no credit: {positions:?}");
        }
        drop(consumer);
        builder.remove(NAME).unwrap();
    }
    assert!(ran);
}

fn an_empty_ring_has_credit_though_its_consumer_died_before_it_granted<S: Shape>() {
    received_and_not_granted::<S>(true);
}
on_each_shape!(
    an_empty_ring_has_credit_though_its_consumer_died_before_it_granted,
    needs(one_group, reserves)
);

fn an_empty_ring_has_credit_though_its_consumer_makes_no_call<S: Shape>() {
    received_and_not_granted::<S>(false);
}
on_each_shape!(
    an_empty_ring_has_credit_though_its_consumer_makes_no_call,
    needs(one_group, reserves)
);

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
        let child = Child::live_after(|| work(&builder.open(NAME).unwrap()));
        // The survivor is at work when it happens.
        std::thread::scope(|scope| {
            let survivor = scope.spawn(|| {
                assert!(within(Duration::from_secs(30), || after(&ring)), "nothing came");
                Instant::now()
            });
            std::thread::sleep(Duration::from_millis(2));
            let killed = Instant::now();
            child.kill();
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
fn receives(consumer: &mut Option<(u64, Consumer<Shared>)>, ring: &UltraFastRing) -> bool {
    if consumer.as_ref().is_none_or(|(of, _)| *of != ring.created()) {
        *consumer = Some((ring.created(), ring.shared_consumer().unwrap()));
    }
    consumer.as_mut().is_some_and(|(_, own)| own.try_recv().is_ok())
}

#[test]
#[ignore = "a measurement: run it by itself on a quiet machine, in release, with --nocapture"]
fn how_soon_after_a_death_the_next_message_comes() {
    let directory = stage();
    let shared = Builder::new().directory(directory.path()).capacity(4);
    let exclusive = shared.clone().exclusive_producer().exclusive_consumer();
    let mut consumer = None;
    how_soon(
        "shared producer",
        &shared,
        |_| {},
        |ring| {
            let mut producer = ring.producer().unwrap();
            std::mem::forget(producer.try_reserve(1, NORMAL).unwrap());
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
            std::mem::forget(consumer.try_borrow().unwrap());
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
            std::mem::forget(consumer.try_borrow().unwrap());
            Box::new(consumer)
        },
        |ring| ring.exclusive_consumer().is_ok_and(|mut successor| successor.try_recv().is_ok()),
    );
    // The ring is full of what it has not received.
    let mut producer = None;
    how_soon(
        "passing group",
        &shared.joinable(),
        |_| {},
        |ring| {
            let member = ring.join("passing").consumer().unwrap();
            let mut producer = ring.producer().unwrap();
            while producer.send_fast(b"unread", NORMAL).is_ok() {}
            Box::new(member)
        },
        |ring| {
            if producer.as_ref().is_none_or(|(of, _)| *of != ring.created()) {
                producer = Some((ring.created(), ring.producer().unwrap()));
            }
            let sends = |(_, own): &mut (u64, Producer)| own.send_fast(b"next", NORMAL).is_ok();
            producer.as_mut().is_some_and(sends)
        },
    );
}

// ---- words that say too much ---------------------------------------------------------------

fn a_release_frontier_beyond_the_head_gives_a_newcomer_no_endless_credit<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).capacity(4).create(NAME).unwrap();
    // Opens the group, if the ring was made without it.
    drop(S::producer(&ring));
    write_word(&ring, S::place(&ring, "cursors") + 128, 1 << 40);
    let mut producer = S::producer(&ring);
    let sent = (0..100).filter(|_| producer.send_fast(b"x", NORMAL).is_ok()).count();
    assert!(sent <= 4, "{sent} messages in four slots");
}
on_each_shape!(a_release_frontier_beyond_the_head_gives_a_newcomer_no_endless_credit);

fn an_exclusive_batch_is_never_nothing_and_ok_while_a_peer_changes_sizes<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).capacity(4).create(NAME).unwrap();
    let mut consumer = S::consumer(&ring);
    let mut producer = S::producer(&ring);
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
            let slots = S::place(&ring, "slots");
            let metas: [&AtomicU64; 4] = std::array::from_fn(|slot| {
                // SAFETY: a word of the mapping, which stays; all access to it is atomic.
                unsafe { &*memory.byte_add(slots + 64 * slot + 8).cast() }
            });
            while !stop.load(Relaxed) {
                for size in [1u64, 2] {
                    metas.iter().for_each(|meta| meta.store(2 | size << 16, Relaxed));
                }
            }
        });
        let mut empty = 0;
        for _ in 0..S::fewer(200_000) {
            let _ = producer.send_fast(b"x", NORMAL);
            if let Ok(batch) = consumer.recv_batch(&mut [[0; 40]; 4]) {
                empty += u32::from(batch.is_empty());
            }
        }
        stop.store(true, Relaxed);
        assert_eq!(empty, 0);
    });
}
on_each_shape!(
    an_exclusive_batch_is_never_nothing_and_ok_while_a_peer_changes_sizes,
    needs(exclusive_consumer, one_group)
);

fn a_ring_that_is_open_shows_it_to_others_and_not_to_itself<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).create(NAME).unwrap();
    assert_eq!(ring.is_open_elsewhere(), Some(false));
    let child = Child::live_after(|| at::<S>(&directory).open(NAME).unwrap());
    assert_eq!(ring.is_open_elsewhere(), Some(true));
    child.kill();
    assert_eq!(ring.is_open_elsewhere(), Some(false));
}
on_each_shape!(a_ring_that_is_open_shows_it_to_others_and_not_to_itself, needs(one_group));
