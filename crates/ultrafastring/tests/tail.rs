//! Tail readers: whole messages, exact counts of what was missed, and nobody waits for them.

#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod common;

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use common::{Numbered, stage};
use ultrafastring::{
    Builder, PriorityClass, Producer, RecvError, RingError, Start, TailReader, UltraFastRing,
};

const NORMAL: PriorityClass = PriorityClass::Normal;

fn builders(directory: &std::path::Path) -> [Builder; 2] {
    let builder = Builder::new().directory(directory).joinable().capacity(256).max_message(500);
    [builder.clone(), builder.exclusive_producer()]
}

fn made(builder: &Builder) -> UltraFastRing {
    let _ = builder.remove("ring");
    builder.create("ring").unwrap()
}

fn tail(builder: &Builder, start: Start) -> TailReader {
    builder.observe("ring").unwrap().tail(start).unwrap()
}

fn send(producer: &mut Producer, numbers: std::ops::Range<u64>) {
    numbers.for_each(|number| producer.send_fast(&number.to_le_bytes(), NORMAL).unwrap());
}

/// All that it reads now.
fn drain(tail: &mut TailReader) -> Vec<u64> {
    let mut buffer = Vec::new();
    let mut got = Vec::new();
    loop {
        match tail.try_next(&mut buffer) {
            Ok(about) => {
                let number = u64::from_le_bytes(buffer[..8].try_into().unwrap());
                assert_eq!((about.position(), about.size), (number, buffer.len()));
                got.push(number);
            }
            Err(RecvError::Empty) => return got,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_tail_reader_reads_what_is_sent_and_nobody_waits_for_it() {
    let directory = stage();
    for builder in builders(directory.path()) {
        let ring = made(&builder);
        let mut producer = ring.producer().unwrap();
        let [mut first, mut second] = [0; 2].map(|_| tail(&builder, Start::Latest));
        send(&mut producer, 0..100);
        assert_eq!(drain(&mut first), (0..100).collect::<Vec<_>>());
        send(&mut producer, 100..180);
        assert_eq!(drain(&mut first), (100..180).collect::<Vec<_>>());
        assert_eq!(drain(&mut second), (0..180).collect::<Vec<_>>());
        assert_eq!((first.missed(), ring.participants().count()), (0, 1));
        send(&mut producer, 180..2_000);
        let mut buffer = Vec::new();
        let error = first.try_next(&mut buffer).unwrap_err();
        let RecvError::Overrun { missed } = error else { panic!("{error}") };
        let rest = drain(&mut first);
        assert_eq!(rest, (180 + missed..2_000).collect::<Vec<_>>());
        assert!(rest.len() >= 128 - 64, "half a capacity, less what may be overwritten");
        assert_eq!(first.missed(), missed);
    }
}

#[test]
fn a_tail_reader_starts_where_it_says() {
    let directory = stage();
    for builder in builders(directory.path()) {
        let ring = made(&builder);
        let mut producer = ring.producer().unwrap();
        send(&mut producer, 0..1_000);
        assert_eq!(drain(&mut tail(&builder, Start::Latest)), []);
        assert_eq!(
            drain(&mut tail(&builder, Start::Position(990))),
            (990..1_000).collect::<Vec<_>>()
        );
        let oldest = drain(&mut tail(&builder, Start::Oldest));
        assert_eq!(oldest, (oldest[0]..1_000).collect::<Vec<_>>());
        assert!(oldest.len() >= 256 - 64, "{}", oldest.len());
        let mut buffer = Vec::new();
        let mut newest = tail(&builder, Start::Oldest);
        assert_eq!(newest.latest(&mut buffer).unwrap().position(), 999);
        assert_eq!(newest.latest(&mut buffer), Err(RecvError::Empty));
        assert_eq!(newest.missed(), 0);
        send(&mut producer, 1_000..1_003);
        assert_eq!(newest.latest(&mut buffer).unwrap().position(), 1_002);
    }
}

#[test]
fn a_message_that_is_being_overwritten_is_not_read() {
    let directory = stage();
    for builder in builders(directory.path()) {
        let builder = builder.capacity(8);
        let ring = made(&builder);
        let mut producer = ring.producer().unwrap();
        let mut reader = tail(&builder, Start::Latest);
        (0..8).for_each(|number| producer.send_fast(&[number; 100], NORMAL).unwrap());
        let mut place = producer.try_reserve(100, NORMAL).unwrap();
        place.copy_from_slice(&[99; 100]);
        // Its slot still says that the first one is there.
        let mut buffer = Vec::new();
        let error = reader.try_next(&mut buffer).unwrap_err();
        assert!(matches!(error, RecvError::Overrun { missed } if missed > 0), "{error}");
        let about = reader.try_next(&mut buffer).unwrap();
        assert_eq!(buffer, [about.position() as u8; 100]);
    }
}

#[test]
fn a_plain_ring_has_no_tail_readers() {
    let directory = stage();
    let builder = Builder::new().directory(directory.path());
    let _ring = builder.create("ring").unwrap();
    let error = builder.observe("ring").unwrap().tail(Start::Latest).unwrap_err();
    assert!(matches!(error, RingError::NotMadeForGroups), "{error}");
}

#[test]
fn a_tail_reader_waits_and_finds_the_end() {
    let directory = stage();
    for builder in builders(directory.path()) {
        let ring = made(&builder);
        let mut producer = ring.producer().unwrap();
        let mut reader = tail(&builder, Start::Latest);
        reader.set_poll(Duration::from_micros(200));
        let mut buffer = Vec::new();
        let late = reader.next_timeout(&mut buffer, Duration::from_millis(3));
        assert_eq!(late, Err(RecvError::TimedOut));
        thread::scope(|scope| {
            let reading = scope.spawn(move || {
                let mut got = Vec::new();
                loop {
                    match reader.next(&mut buffer) {
                        Ok(about) => got.push(about.position()),
                        Err(error) => return (got, error),
                    }
                }
            });
            thread::sleep(Duration::from_millis(5));
            send(&mut producer, 0..3);
            producer.close();
            assert_eq!(reading.join().unwrap(), (vec![0, 1, 2], RecvError::Closed));
        });
    }
}

/// What a tail reader reads is whole, and with what it says that it missed it is everything, while
/// producers overrun it all the time.
fn overrun(builder: &Builder, producers: u32, each: u64) {
    let ring = made(builder);
    let done = &AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let mut reader = tail(builder, Start::Position(0));
                scope.spawn(move || {
                    let (mut buffer, mut got, mut missed, mut last) = (Vec::new(), 0, 0, None);
                    loop {
                        let over = done.load(SeqCst);
                        match reader.try_next(&mut buffer) {
                            Ok(about) => {
                                let small = buffer.len().min(40);
                                let whole =
                                    Numbered::read(&buffer[..size_of_small(&buffer, small)]);
                                if buffer.len() > 40 {
                                    let fill = whole.1 as u8;
                                    assert!(buffer[40..].iter().all(|&byte| byte == fill), "torn");
                                }
                                assert!(last.is_none_or(|last| last < about.position()));
                                last = Some(about.position());
                                got += 1;
                                if got % 300 == 0 {
                                    thread::sleep(Duration::from_micros(200));
                                }
                            }
                            Err(RecvError::Overrun { missed: more }) => missed += more,
                            Err(RecvError::Empty) if over => break,
                            Err(RecvError::Empty) => thread::yield_now(),
                            Err(error) => panic!("{error}"),
                        }
                    }
                    assert_eq!(missed, reader.missed());
                    (got, missed)
                })
            })
            .collect();
        let sending: Vec<_> = (0..producers)
            .map(|sender| {
                let mut producer = ring.producer().unwrap();
                scope.spawn(move || {
                    for number in 0..each {
                        let mut message = Numbered::new(sender, number).as_ref().to_vec();
                        if number % 4 == 0 {
                            message.resize(40, 0);
                            message.resize(41 + number as usize % 450, number as u8);
                        }
                        while producer.send_fast(&message, NORMAL).is_err() {
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        sending.into_iter().for_each(|it| it.join().unwrap());
        done.store(true, SeqCst);
        for reader in readers {
            let (got, missed) = reader.join().unwrap();
            assert_eq!(got + missed, u64::from(producers) * each);
            assert_ne!(missed, 0, "nobody was overrun");
        }
    });
}

/// How long the beginning of a message is that says what it is.
fn size_of_small(bytes: &[u8], small: usize) -> usize {
    let sender = u32::from_le_bytes(bytes[..4].try_into().unwrap());
    let number = u64::from_le_bytes(bytes[4..12].try_into().unwrap());
    Numbered::new(sender, number).as_ref().len().min(small)
}

#[test]
fn what_a_tail_reader_reads_and_what_it_missed_is_everything() {
    let directory = stage();
    for (builder, producers) in builders(directory.path()).into_iter().zip([2, 1]) {
        overrun(&builder.capacity(64), producers, 60_000);
    }
}
