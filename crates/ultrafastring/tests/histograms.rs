//! Latency histograms: what consumers count, what survives them, what peers can do to it.

#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod common;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::child::Child;
use common::memory::with_little_memory;
use common::{patiently, stage};
use proptest::prelude::*;
use ultrafastring::{
    Builder, Consumer, LatencyHistogram, PriorityClass, RingError, RingView, Timestamps,
    UltraFastRing,
};

fn builder() -> Builder {
    Builder::new().capacity(64).latency_histograms(true)
}

/// All that the ring has counted, by class: latencies in ticks from the least of their bucket, and
/// how many.
fn counts(ring: &RingView, histograms: &[LatencyHistogram]) -> Vec<BTreeMap<u64, u64>> {
    let rate = ring.clock().ticks_per_second;
    let ticks = |nanoseconds: f64| (nanoseconds * rate / 1e9).round() as u64;
    let of = |it: &LatencyHistogram| it.buckets().map(|it| (ticks(it.from), it.count)).collect();
    histograms.iter().map(of).collect()
}

/// The least latency of the bucket of one: the model, which divides anew.
fn least_of_bucket(ticks: u64) -> u64 {
    let ticks = ticks.min((1 << 42) - 1);
    let mut width = 1;
    while ticks / width >= 16 {
        width *= 2;
    }
    ticks / width * width
}

/// A way to receive, by which latencies are told.
#[derive(Clone, Copy, Debug)]
enum Receive {
    One,
    Into,
    Borrow,
    Forget,
    Batch(usize),
    BorrowBatch(usize),
}

fn receive(consumer: &mut Consumer, how: Receive) -> Vec<(PriorityClass, u64)> {
    let mut told = Vec::new();
    match how {
        Receive::One => told.extend(consumer.try_recv().map(|it| (it.class(), it.latency())).ok()),
        Receive::Into => {
            let mut bytes = Vec::new();
            told.extend(consumer.try_recv_into(&mut bytes).map(|it| (it.class, it.latency)).ok());
        }
        Receive::Borrow => {
            told.extend(
                consumer.try_borrow().map(|it| (it.about().class, it.about().latency)).ok(),
            );
        }
        Receive::Forget => {
            if let Ok(guard) = consumer.try_borrow() {
                told.push((guard.about().class, guard.about().latency));
                std::mem::forget(guard);
            }
        }
        Receive::Batch(count) => {
            let mut buffers = vec![[0; 2_000]; count];
            if let Ok(batch) = consumer.try_recv_many(&mut buffers) {
                told.extend(batch.iter().map(|it| (it.class, it.latency)));
            }
        }
        Receive::BorrowBatch(count) => {
            if let Ok(batch) = consumer.try_borrow_many(count) {
                for message in &batch {
                    told.push((message.about().class, message.about().latency));
                }
            }
        }
    }
    told
}

fn ways() -> impl Strategy<Value = Receive> {
    prop_oneof![
        4 => Just(Receive::One),
        1 => Just(Receive::Into),
        1 => Just(Receive::Borrow),
        1 => Just(Receive::Forget),
        1 => (1usize..20).prop_map(Receive::Batch),
        1 => (1usize..20).prop_map(Receive::BorrowBatch),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Each message is counted once, in the bucket of the latency that its receiver is told, or of
    /// the mean of a batch's that follow each other and differ little.
    #[test]
    fn what_is_counted_is_what_each_receive_has_told(
        steps in prop::collection::vec((0usize..40, 0usize..5, 0usize..1_500, ways()), 1..40),
        shape in 0u8..4, grouped: bool,
    ) {
        let mut builder = builder().max_message(2_000);
        if shape & 1 != 0 { builder = builder.exclusive_producer(); }
        if grouped { builder = builder.groups(["only"]); }
        else if shape & 2 != 0 { builder = builder.exclusive_consumer(); }
        let ring = builder.heap().unwrap();
        let mut producer = ring.producer().unwrap();
        let mut consumer =
            if grouped { ring.join("only").consumer().unwrap() } else { ring.consumer().unwrap() };
        let mut model = vec![BTreeMap::new(); PriorityClass::COUNT];
        for (sends, class, size, how) in steps {
            let class = PriorityClass::ALL[class];
            for _ in 0..sends {
                let _ = producer.try_send(vec![1; size.saturating_sub(1_400)], class);
            }
            let _ = producer.try_send(vec![7; size], class);
            // Messages that come within 200 ns are counted together.
            let began = Instant::now();
            while began.elapsed() < Duration::from_micros(1) {}
            let told = receive(&mut consumer, how);
            let alike = |one: &(_, u64), next: &(_, u64)| {
                let together = matches!(how, Receive::Batch(_)) && one.0 == next.0;
                together && one.1.abs_diff(next.1) <= one.1 / 16
            };
            let mut rest = &told[..];
            while let [first @ (class, _), ..] = rest {
                let count = rest.iter().take_while(|next| alike(first, next)).count().max(1);
                let sum = rest[..count].iter().map(|it| it.1).sum::<u64>();
                let bucket = least_of_bucket(sum / count as u64);
                *model[class.index()].entry(bucket).or_default() += count as u64;
                rest = &rest[count..];
            }
        }
        consumer.flush();
        prop_assert_eq!(counts(&ring, &ring.latencies().unwrap()), model.clone());
        if grouped {
            prop_assert_eq!(counts(&ring, &ring.latencies_of_group(0).unwrap()), model.clone());
        }
        // It stays when the consumer goes, and the next goes on.
        drop(consumer);
        prop_assert_eq!(counts(&ring, &ring.latencies().unwrap()), model);
    }
}

#[test]
fn a_ring_has_no_histograms_unless_it_is_made_with_them() {
    let ring = UltraFastRing::new(8);
    assert!(ring.latencies().is_none() && ring.latencies_of_group(0).is_none());
    assert!(ring.areas().all(|area| area.name != "histograms"));
    let ring = builder().participants(3).heap().unwrap();
    let area = ring.areas().find(|area| area.name == "histograms").unwrap();
    assert_eq!((area.stride, area.count), (12_800, 3));
    assert!(ring.latencies().unwrap().iter().all(LatencyHistogram::is_empty));
    let refused = builder().timestamps(Timestamps::Off).heap().unwrap_err();
    assert!(matches!(refused, RingError::Invalid(ultrafastring::Invalid::NoLatencies)));
}

#[test]
fn only_messages_that_carry_a_timestamp_are_counted() {
    let ring = builder().timestamps(Timestamps::OneIn(4)).heap().unwrap();
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    for _ in 0..64 {
        producer.try_send(b"x", PriorityClass::Low).unwrap();
        consumer.try_recv().unwrap();
    }
    consumer.flush();
    let latencies = ring.latencies().unwrap();
    assert_eq!(latencies[PriorityClass::Low.index()].count(), 16);
}

/// How many messages are counted, of all classes.
fn total(histograms: &[LatencyHistogram]) -> u64 {
    histograms.iter().map(LatencyHistogram::count).sum()
}

const NAME: &str = "counted";

#[test]
fn a_file_says_what_was_counted_after_everybody_has_gone() {
    let directory = stage();
    let at = Builder::new().directory(directory.path());
    {
        let ring = at.clone().latency_histograms(true).groups(["one", "two"]).create(NAME).unwrap();
        ring.try_send(b"x", PriorityClass::High).unwrap();
        for group in ["one", "two", "one"] {
            let mut member = ring.join(group).consumer().unwrap();
            while member.try_recv().is_ok() {}
        }
    }
    let observer = at.observe(NAME).unwrap();
    for row in [0, 1] {
        let latencies = observer.latencies_of_group(row).unwrap();
        assert_eq!(latencies[PriorityClass::High.index()].count(), 1, "{row}");
    }
    assert_eq!(observer.latencies().unwrap()[PriorityClass::High.index()].count(), 2);
}

/// Words that this process and its children share.
/// A message that comes long after others is not counted with them.
#[test]
fn one_that_comes_late_is_counted_by_itself() {
    let ring = builder().exclusive_producer().exclusive_consumer().heap().unwrap();
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    for _ in 0..50 {
        for _ in 0..32 {
            producer.try_send(b"soon", PriorityClass::Normal).unwrap();
        }
        while consumer.try_recv().is_ok() {}
        producer.try_send(b"late", PriorityClass::Normal).unwrap();
        std::thread::sleep(Duration::from_millis(2));
        consumer.try_recv().unwrap();
    }
    consumer.flush();
    let normal = &ring.latencies().unwrap()[PriorityClass::Normal.index()];
    assert_eq!(normal.count(), 50 * 33);
    // More than the late ones, where the system has stopped this thread.
    let late = normal.count() - normal.count_up_to(1.8e6);
    assert!((50..100).contains(&late), "{late} of 50");
}

/// Calls on the ring count in handles of its own.
#[test]
fn what_calls_on_the_ring_have_received_is_counted() {
    let ring = builder().heap().unwrap();
    for _ in 0..20 {
        ring.send_fast(b"x", PriorityClass::High).unwrap();
    }
    while ring.try_recv().is_ok() {}
    assert_eq!(total(&ring.latencies().unwrap()), 20);
}

fn shared_words() -> &'static [AtomicU64; 8] {
    // SAFETY: a fresh mapping of zeros, which stays.
    unsafe {
        let (read_write, shared) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        let memory = libc::mmap(std::ptr::null_mut(), 4_096, read_write, shared, -1, 0);
        assert_ne!(memory, libc::MAP_FAILED);
        &*memory.cast()
    }
}

/// Receives until it is killed, and logs how many messages it was given.
fn receive_and_log(mut consumer: Consumer, log: &AtomicU64) -> ! {
    loop {
        if consumer.try_recv().is_ok() {
            log.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Consumers are killed at random moments. A message may be counted whose receiver was killed
/// before it could log it, and nothing else differs.
#[test]
fn consumers_that_are_killed_leave_what_they_have_counted_and_nothing_twice() {
    const KILLS: u64 = 60;
    for grouped in [false, true] {
        let directory = stage();
        let at = Builder::new().directory(directory.path()).capacity(256).participants(6);
        let at = at.latency_histograms(true);
        let at = if grouped { at.groups(["one", "two"]) } else { at };
        let ring = at.create(NAME).unwrap();
        let log = shared_words();
        let sender = Child::start(|| {
            let mut producer = at.open(NAME).unwrap().producer().unwrap();
            loop {
                let _ = producer.try_send(b"x", PriorityClass::Normal);
            }
        });
        for round in 0..KILLS {
            // In each entry one group follows the other.
            let victims = ["one", "two"].map(|group| {
                Child::start(|| {
                    let ring = at.open(NAME).unwrap();
                    let consumer =
                        if grouped { ring.join(group).consumer() } else { ring.consumer() };
                    receive_and_log(consumer.unwrap(), &log[0]);
                })
            });
            let before = log[0].load(Ordering::Relaxed);
            patiently("somebody receives", || {
                (log[0].load(Ordering::Relaxed) > before + round % 97).then_some(())
            });
            victims.iter().for_each(Child::kill);
        }
        sender.kill();
        let (logged, kills) = (log[0].load(Ordering::Relaxed), 2 * KILLS);
        let counted = total(&ring.latencies().unwrap());
        assert!(counted <= logged + kills, "counted twice: {counted} of {logged}");
        if grouped {
            // Of a group whose counts were being moved, those of one bucket may be missing.
            let groups: u64 = (0..2).map(|row| total(&ring.latencies_of_group(row).unwrap())).sum();
            assert_eq!(groups, counted);
            assert!(counted > logged / 2, "lost: {counted} of {logged}");
        } else {
            // What comes within 200 ns is counted together.
            assert!(counted + 32 * kills >= logged, "lost: {counted} of {logged}");
            assert!(counted > logged / 2, "lost: {counted} of {logged}");
        }
    }
}

/// A snapshot is taken while consumers of two groups come, count and go in the same entries.
#[test]
fn counts_that_are_moved_are_seen_once_and_never_go_back() {
    let ring = builder().capacity(256).participants(3).joinable().heap().unwrap();
    let mut producer = ring.producer().unwrap();
    let stop = AtomicU64::new(0);
    drop(ring.join("one").durable().consumer().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while stop.load(Ordering::Relaxed) == 0 {
                for group in ["one", "two"] {
                    let mut member = ring.join(group).durable().consumer().unwrap();
                    while member.try_recv().is_ok() {}
                }
            }
        });
        // The thread ends also where an assertion fails.
        let stopping = Stopping(&stop);
        let (mut before, mut accepted) = (0, 0);
        for _ in 0..2_000 {
            accepted += u64::from(producer.try_send(b"x", PriorityClass::Normal).is_ok());
            let sent = ring.stats().sent;
            assert!(sent == accepted, "stats {sent} of {accepted}");
            // While one that moves counts does not run, a look may lack what it has in hand.
            before = patiently("counts that do not go back", || {
                let counted = total(&ring.latencies_of_group(0).unwrap());
                assert!(counted <= sent, "{counted} of {sent}");
                (counted >= before).then_some(counted)
            });
        }
        drop(stopping);
    });
}

/// Sets what it has when it is dropped.
struct Stopping<'a>(&'a AtomicU64);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(1, Ordering::Relaxed);
    }
}

#[test]
fn garbage_in_every_word_of_the_area_and_of_the_entries_harms_nobody() {
    for grouped in [false, true] {
        let directory = stage();
        let at = Builder::new().directory(directory.path()).participants(4).capacity(8);
        let at = at.latency_histograms(true);
        let at = if grouped { at.groups(["one"]).joinable() } else { at };
        let ring = at.create(NAME).unwrap();
        let observer = at.observe(NAME).unwrap();
        let join = |name: &str| match grouped {
            true => ring.join(name).durable().consumer(),
            false => ring.consumer(),
        };
        let (mut producer, mut consumer) = (ring.producer().unwrap(), join("one").unwrap());
        let file = OpenOptions::new().write(true).open(directory.path().join("ufr-counted"));
        let file = file.unwrap();
        let area = |name| ring.areas().find(|area| area.name == name).unwrap();
        for garbage in [u64::MAX, 1 << 63, 1 << 62 | 3, 0x0101_0101_0101_0101, 255, 2] {
            let histograms = area("histograms");
            let words = vec![garbage; histograms.stride * histograms.count / 8];
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            file.write_all_at(&bytes, histograms.offset as u64).unwrap();
            // The words that say for whom was counted.
            let entries = area("participants");
            for entry in 0..entries.count {
                let at = entries.offset + entries.stride * entry + 7 * 8;
                file.write_all_at(&garbage.to_ne_bytes(), at as u64).unwrap();
            }
            let rows = area("groups");
            for row in 0..rows.count {
                let at = rows.offset + rows.stride * row + 15 * 8;
                file.write_all_at(&garbage.to_ne_bytes(), at as u64).unwrap();
            }
            for _ in 0..20 {
                producer.try_send(b"x", PriorityClass::Bulk).unwrap();
                consumer.try_recv().unwrap();
            }
            for view in [&*ring, &*observer] {
                for histogram in view.latencies().unwrap() {
                    assert!(histogram.quantile(0.99).is_none_or(f64::is_finite));
                    assert!(histogram.sum().is_finite());
                }
                assert_eq!(view.latencies_of_group(0).is_some(), grouped);
                assert!(view.latencies_of_group(usize::MAX).is_none());
            }
            drop(consumer);
            consumer = join("one").unwrap();
            if grouped {
                drop(join("another").unwrap());
                ring.remove_group("another").unwrap();
            }
        }
    }
}

#[test]
fn without_memory_for_its_counts_a_consumer_receives_and_counts_nothing() {
    let directory = stage();
    // For the ring without its histograms, and for some of those.
    with_little_memory(directory.path(), 400 << 10, || {
        let at = Builder::new().directory(directory.path()).participants(64).capacity(8);
        let ring = at.latency_histograms(true).create(NAME).unwrap();
        let mut consumers: Vec<_> = (0..40).map(|_| ring.consumer().unwrap()).collect();
        let mut producer = ring.producer().unwrap();
        for consumer in &mut consumers {
            producer.try_send(b"x", PriorityClass::Normal).unwrap();
            consumer.try_recv().unwrap();
        }
        let counted = total(&ring.latencies().unwrap());
        assert!((1..40).contains(&counted), "{counted}");
        let observer = Builder::new().directory(directory.path()).observe(NAME).unwrap();
        assert_eq!(total(&observer.latencies().unwrap()), counted);
    });
}

/// In one snapshot no more is received than sent, in total, in each class, and in bytes, while
/// processes send and receive, and are killed.
#[test]
fn a_snapshot_shows_no_more_received_than_sent_while_processes_run_and_die() {
    for (exclusive, groups) in [(false, 0), (true, 0), (false, 2)] {
        let directory = stage();
        let at = Builder::new().directory(directory.path()).capacity(64).max_message(300);
        let at = if exclusive { at.exclusive_producer().exclusive_consumer() } else { at };
        let at = if groups == 0 { at } else { at.groups(["one", "two"]) };
        drop(at.create(NAME).unwrap());
        let observer = at.observe(NAME).unwrap();
        let sender = || {
            Child::start(|| {
                let ring = at.open(NAME).unwrap();
                let mut producer = patiently("the side is free", || ring.producer().ok());
                for number in 0u64.. {
                    let class = PriorityClass::ALL[number as usize / 7 % 5];
                    let _ = producer.try_send(vec![1; number as usize * 31 % 300], class);
                }
            })
        };
        let receiver = |group: &'static str| {
            let at = &at;
            Child::start(move || {
                let ring = at.open(NAME).unwrap();
                let mut consumer = patiently("the side is free", || match groups {
                    0 => ring.consumer().ok(),
                    _ => ring.join(group).consumer().ok(),
                });
                let mut bytes = Vec::new();
                loop {
                    let _ = consumer.try_recv_into(&mut bytes);
                }
            })
        };
        let (mut senders, mut receivers) = (vec![sender()], vec![receiver("one"), receiver("two")]);
        let mut snapshots = 0;
        for round in 0..60 {
            let until = std::time::Instant::now() + Duration::from_millis(10);
            while std::time::Instant::now() < until {
                let stats = observer.stats();
                assert!(stats.received <= stats.sent, "{stats:?}");
                if groups == 0 {
                    for class in stats.classes {
                        assert!(class.received <= class.sent, "{stats:?}");
                        assert!(class.received_bytes <= class.sent_bytes, "{stats:?}");
                    }
                }
                assert!(stats.wakes[0] <= stats.sleeps[0] && stats.wakes[1] <= stats.sleeps[1]);
                snapshots += 1;
            }
            if round % 3 == 0 {
                senders.pop().unwrap().kill();
                senders.push(sender());
            } else {
                receivers.remove(0).kill();
                receivers.push(receiver(["one", "two"][round % 3 - 1]));
            }
        }
        assert!(snapshots > 100 && observer.stats().received > 0, "{:?}", observer.stats());
        assert!(observer.stats().recoveries > 0, "{:?}", observer.stats());
        senders.iter().chain(&receivers).for_each(Child::kill);
    }
}
