//! Groups at the edges: those who cannot join, starts that are far ahead, the smallest rings.

#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use ultrafastring::{Builder, Consumer, PriorityClass, Producer, RingError, Start};

const NORMAL: PriorityClass = PriorityClass::Normal;

fn drain(consumer: &mut Consumer) -> Vec<u64> {
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    consumer.try_iter().map(|message| number(&message)).collect()
}

fn send(producer: &mut Producer, number: u64) {
    producer.send_fast(&number.to_le_bytes(), NORMAL).unwrap();
}

#[test]
fn who_could_not_join_is_no_consumer_that_has_been() {
    let ring = Builder::new().groups(["risk"]).capacity(8).heap().unwrap();
    let mut producer = ring.producer().unwrap();
    producer.end_when_deserted(true);
    let refused = ring.join("nobody").start(Start::Resume).consumer();
    assert!(matches!(refused, Err(RingError::NoSuchGroup { .. })));
    assert!(!producer.is_deserted());
}

#[test]
fn a_position_beyond_belief_is_not_an_old_one() {
    let ring = Builder::new().joinable().capacity(8).heap().unwrap();
    let mut producer = ring.producer().unwrap();
    for n in 0..3 {
        send(&mut producer, n);
    }
    let mut far = ring.join("far").start(Start::Position(1 << 57)).consumer().unwrap();
    assert_eq!(drain(&mut far), Vec::<u64>::new());
}

#[test]
fn a_group_that_starts_ahead_gets_what_comes_there() {
    for exclusive in [false, true] {
        let mut builder = Builder::new().joinable().capacity(8);
        if exclusive {
            builder = builder.exclusive_producer();
        }
        let ring = builder.heap().unwrap();
        let mut producer = ring.producer().unwrap();
        let mut ahead = ring.join("ahead").start(Start::Position(30)).consumer().unwrap();
        let mut got = Vec::new();
        for n in 0..60 {
            send(&mut producer, n);
            got.extend(drain(&mut ahead));
        }
        assert_eq!(got, (30..60).collect::<Vec<_>>());
    }
}

/// How often each reader joins at least.
const LIVES: u32 = 100;

/// Members come and go at all starts, in the smallest rings, while several send; each receives in
/// order of each producer, without a gap while it is there.
fn churn(capacity: usize, exclusive: bool, batch: usize) {
    let mut builder = Builder::new().joinable().capacity(capacity);
    if exclusive {
        builder = builder.exclusive_producer();
    }
    let ring = builder.heap().unwrap();
    let (stop, busy) = (AtomicBool::new(false), AtomicUsize::new(4));
    let producers = if exclusive { 1 } else { 2 };
    thread::scope(|scope| {
        for id in 0..producers {
            let (ring, stop) = (&ring, &stop);
            scope.spawn(move || {
                let mut producer = ring.producer().unwrap();
                let mut next = 0u64;
                while !stop.load(SeqCst) {
                    let messages: Vec<_> =
                        (0..batch as u64).map(|n| (id << 56 | (next + n)).to_le_bytes()).collect();
                    match producer.try_send_many(&messages, NORMAL) {
                        Ok(sent) => next += sent as u64,
                        Err(error) => {
                            assert!(error.is_full());
                            thread::yield_now();
                        }
                    }
                }
            });
        }
        for (reader, start) in [Start::Latest, Start::Oldest, Start::Position(0), Start::Latest]
            .into_iter()
            .enumerate()
        {
            let (ring, stop, busy) = (&ring, &stop, &busy);
            scope.spawn(move || {
                let name = format!("group {reader}");
                let mut lives = 0;
                let mut fruitless = Instant::now();
                while !stop.load(SeqCst) {
                    let mut member = ring.join(&name).start(start).consumer().unwrap();
                    let mut next = [None; 2];
                    let mut last = None;
                    let mut got = 0;
                    while got < 50 && !stop.load(SeqCst) {
                        let Ok(message) = member.try_recv() else {
                            assert!(
                                fruitless.elapsed() < Duration::from_secs(20),
                                "stuck: {:?}, {:?}",
                                member,
                                ring.groups().collect::<Vec<_>>()
                            );
                            thread::yield_now();
                            continue;
                        };
                        fruitless = Instant::now();
                        got += 1;
                        assert!(!message.is_redelivered());
                        let position = message.about().position();
                        assert!(
                            last.is_none_or(|last| last + 1 == position),
                            "{last:?} {position}"
                        );
                        last = Some(position);
                        let word = u64::from_le_bytes((*message).try_into().unwrap());
                        let (id, number) = ((word >> 56) as usize, word & ((1 << 56) - 1));
                        assert!(next[id].is_none_or(|next| next == number), "{next:?} {word:x}");
                        next[id] = Some(number + 1);
                    }
                    lives += 1;
                    if lives == LIVES {
                        busy.fetch_sub(1, SeqCst);
                    }
                }
                assert!(lives >= LIVES, "{lives}");
            });
        }
        // One that has failed does not finish.
        let started = Instant::now();
        while busy.load(SeqCst) != 0 && started.elapsed() < Duration::from_secs(60) {
            thread::sleep(Duration::from_millis(1));
        }
        stop.store(true, SeqCst);
    });
}

#[test]
fn groups_come_and_go_in_the_smallest_rings() {
    for capacity in [1, 2, 4] {
        churn(capacity, false, 1);
        churn(capacity, true, 3);
    }
}

#[test]
fn groups_come_and_go_where_batches_are_larger_than_a_chunk() {
    churn(128, false, 100);
    churn(128, true, 100);
}
