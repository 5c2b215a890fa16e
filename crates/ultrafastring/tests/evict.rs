//! Groups that may be evicted: let go of when they do not keep up, told what they have missed.

#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod common;

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use common::child::Child;
use common::{Numbered, patiently, stage};
use ultrafastring::{
    Builder, Consumer, GroupState, PriorityClass, Producer, RecvError, Slow, UltraFastRing,
};

const NORMAL: PriorityClass = PriorityClass::Normal;
const SOON: Slow = Slow::Evict { after: Duration::from_millis(2) };
const WAIT: Duration = Duration::from_secs(60);

fn builders() -> [Builder; 2] {
    let builder = Builder::new().joinable().capacity(8).max_message(100);
    [builder.clone(), builder.exclusive_producer()]
}

fn send(producer: &mut Producer, numbers: std::ops::Range<u64>) {
    for number in numbers {
        producer.send_timeout(&number.to_le_bytes(), NORMAL, WAIT).unwrap();
    }
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().unwrap())
}

fn state(ring: &UltraFastRing) -> GroupState {
    ring.groups().next().unwrap().state
}

#[test]
fn a_group_that_does_not_keep_up_is_let_go_of_and_told_what_it_missed() {
    for builder in builders() {
        let ring = builder.heap().unwrap();
        let mut producer = ring.producer().unwrap();
        let mut member = ring.join("slow").slow(SOON).consumer().unwrap();
        send(&mut producer, 0..3);
        assert_eq!(number(&member.try_recv().unwrap()), 0);
        send(&mut producer, 3..100);
        assert_eq!(state(&ring), GroupState::Evicted);
        // It had position 0, and goes on at the latest.
        assert_eq!(member.recv().unwrap_err(), RecvError::Evicted { missed: 99 });
        assert_eq!(
            (state(&ring), member.try_recv().unwrap_err()),
            (GroupState::Open, RecvError::Empty)
        );
        send(&mut producer, 100..103);
        let got: Vec<_> = member.try_iter().map(|message| number(&message)).collect();
        assert_eq!(got, [100, 101, 102]);
    }
}

#[test]
fn a_message_that_is_being_overwritten_is_not_received() {
    for builder in builders() {
        let ring = builder.heap().unwrap();
        let mut producer = ring.producer().unwrap();
        let mut member = ring.join("slow").slow(SOON).consumer().unwrap();
        (0..8).for_each(|number| producer.send_fast(&[number; 100], NORMAL).unwrap());
        let mut place = producer.reserve_timeout(100, NORMAL, WAIT).unwrap();
        place.copy_from_slice(&[99; 100]);
        // Its slot still says that the first one is there.
        let mut buffer = Vec::new();
        let error = member.try_recv_into(&mut buffer).unwrap_err();
        assert_eq!(error, RecvError::Evicted { missed: 8 });
        place.commit();
        member.recv_into(&mut buffer).unwrap();
        assert_eq!(buffer, [99; 100]);
    }
}

#[test]
fn a_group_that_waits_is_never_let_go_of() {
    for builder in builders() {
        let ring = builder.heap().unwrap();
        let mut producer = ring.producer().unwrap();
        let _waits = ring.join("waits").consumer().unwrap();
        send(&mut producer, 0..8);
        let refused = producer.send_timeout(b"x", NORMAL, Duration::from_millis(30));
        assert!(refused.is_err());
        assert_eq!(state(&ring), GroupState::Open);
    }
}

#[test]
fn one_member_is_told_and_the_others_go_on() {
    let [builder, _] = builders();
    let ring = builder.heap().unwrap();
    let mut producer = ring.producer().unwrap();
    let join = || ring.join("slow").slow(SOON).consumer().unwrap();
    let (mut first, mut second) = (join(), join());
    send(&mut producer, 0..50);
    let told = [&mut first, &mut second].map(|member| match member.try_recv() {
        Err(RecvError::Evicted { missed }) => missed,
        Err(RecvError::Empty) => 0,
        other => panic!("{other:?}"),
    });
    assert_eq!(told.iter().sum::<u64>(), 50, "{told:?}");
    send(&mut producer, 50..54);
    let mut got: Vec<_> = [first, second]
        .iter_mut()
        .flat_map(|it| it.try_recv().map(|message| number(&message)))
        .collect();
    got.sort_unstable();
    assert_eq!(got, [50, 51]);
}

#[test]
fn a_newcomer_that_opens_an_evicted_group_is_told_what_it_missed() {
    let [builder, _] = builders();
    let ring = builder.heap().unwrap();
    let mut producer = ring.producer().unwrap();
    drop(ring.join("slow").durable().slow(SOON).consumer().unwrap());
    send(&mut producer, 0..20);
    let mut newcomer = ring.join("slow").consumer().unwrap();
    assert_eq!(newcomer.recv().unwrap_err(), RecvError::Evicted { missed: 20 });
    send(&mut producer, 20..21);
    assert_eq!(number(&newcomer.recv().unwrap()), 20);
    let group = ring.groups().next().unwrap();
    assert_eq!((group.received, group.missed), (1, 20));
}

#[test]
fn every_way_of_copying_is_told_and_none_reads_in_place() {
    type Receive = fn(&mut Consumer) -> Result<u64, RecvError>;
    let ways: [Receive; 4] = [
        |it| it.try_recv().map(|message| number(&message)),
        |it| {
            let mut buffer = Vec::new();
            it.try_recv_into(&mut buffer).map(|_| number(&buffer[..8]))
        },
        |it| {
            let mut buffer = [[0; 100]; 1];
            it.recv_batch(&mut buffer).map(|_| number(&buffer[0][..8]))
        },
        |it| it.recv_fast(&mut [0; 100]).map(|_| 0),
    ];
    for size in [8, 90] {
        for (at, way) in ways.iter().enumerate() {
            if at == 0 && size != 8 {
                continue;
            }
            let [builder, _] = builders();
            let ring = builder.heap().unwrap();
            let mut producer = ring.producer().unwrap();
            let mut member = ring.join("slow").slow(SOON).exclusive().consumer().unwrap();
            let message = |number: u64| {
                let mut bytes = number.to_le_bytes().to_vec();
                bytes.resize(size, 7);
                bytes
            };
            for number in 0..30 {
                producer.send_timeout(&message(number), NORMAL, WAIT).unwrap();
            }
            assert_eq!(way(&mut member), Err(RecvError::Evicted { missed: 30 }), "{at}");
            producer.send_fast(&message(30), NORMAL).unwrap();
            assert_eq!(member.try_borrow().err(), Some(RecvError::NotInPlace));
            assert_eq!(member.try_borrow_many(2).err(), Some(RecvError::NotInPlace));
            let got = way(&mut member).unwrap();
            assert!(got == 30 || at == 3, "{got}");
        }
    }
}

/// What a slow group gets and what it is told that it missed is everything, and what it gets is
/// what was sent, whoever overruns it.
fn overrun(builder: &Builder, producers: u32, members: usize, each: u64) {
    let ring = builder.heap().unwrap();
    let (got, missed) = (&AtomicU64::new(0), &AtomicU64::new(0));
    let instantly = Slow::Evict { after: Duration::ZERO };
    let join = || ring.join("slow").slow(instantly).durable().consumer().unwrap();
    let group: Vec<_> = (0..members).map(|_| join()).collect();
    thread::scope(|scope| {
        let sending: Vec<_> = (0..producers)
            .map(|sender| {
                let mut producer = ring.producer().unwrap();
                scope.spawn(move || {
                    for number in 0..each {
                        let message = Numbered::new(sender, number);
                        producer.send_timeout(message.as_ref(), NORMAL, WAIT).unwrap();
                    }
                })
            })
            .collect();
        for mut member in group {
            scope.spawn(move || {
                let mut buffer = Vec::new();
                let mut turn = 0u64;
                loop {
                    turn += 1;
                    let one = match turn % 2 {
                        0 => member.recv_into(&mut buffer).map(|_| ()),
                        _ => member.recv().map(|message| {
                            buffer.clear();
                            buffer.extend_from_slice(&message);
                        }),
                    };
                    match one {
                        Ok(()) => {
                            Numbered::read(&buffer);
                            got.fetch_add(1, SeqCst);
                        }
                        Err(RecvError::Evicted { missed: more }) => {
                            missed.fetch_add(more, SeqCst);
                        }
                        Err(RecvError::Closed) => break,
                        Err(error) => panic!("{error}"),
                    }
                    if turn.is_multiple_of(500) {
                        thread::sleep(Duration::from_micros(300));
                    }
                }
            });
        }
        sending.into_iter().for_each(|it| it.join().unwrap());
        ring.close();
    });
    let all = u64::from(producers) * each;
    assert_eq!(got.load(SeqCst) + missed.load(SeqCst), all);
    assert_ne!(missed.load(SeqCst), 0, "nobody was overrun");
}

#[test]
fn what_a_slow_group_gets_and_what_it_missed_is_everything() {
    for builder in builders() {
        let exclusive = builder.settings().producer_side == ultrafastring::Sharing::Exclusive;
        overrun(&builder, if exclusive { 1 } else { 2 }, 1, 30_000);
        overrun(&builder, if exclusive { 1 } else { 2 }, 2, 30_000);
    }
}

#[test]
fn a_stopped_member_is_let_go_of_and_goes_on_when_it_is_continued() {
    let directory = stage();
    let builder = Builder::new().directory(directory.path()).capacity(8).joinable();
    let ring = builder.create("ring").unwrap();
    let mut producer = ring.producer().unwrap();
    let child = Child::start(|| {
        let ring = builder.open("ring").unwrap();
        let mut member = ring.join("slow").slow(SOON).consumer().unwrap();
        let error = loop {
            match member.recv() {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(error, RecvError::Evicted { missed } if missed != 0), "{error}");
        assert_eq!(number(&member.recv().unwrap()), 1_000);
    });
    patiently("the member", || ring.groups().find(|it| it.state == GroupState::Open));
    child.signal(libc::SIGSTOP);
    send(&mut producer, 0..100);
    assert_eq!(state(&ring), GroupState::Evicted);
    child.signal(libc::SIGCONT);
    patiently("it to come back", || (state(&ring) == GroupState::Open).then_some(()));
    send(&mut producer, 1_000..1_001);
    child.finish();
}
