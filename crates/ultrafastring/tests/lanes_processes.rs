//! Rings with lanes in files: other processes, deaths, owners and their successors, groups, tail
//! readers.

#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod common;

use std::path::Path;
use std::time::Duration;

use common::child::Child;
use common::{patiently, stage};
use ultrafastring::{
    Builder, Consumer, Lanes, PriorityClass, Producer, RecvError, RingError, SendError, Slow, Start,
};

const CLASSES: [PriorityClass; 5] = PriorityClass::ALL;
const NORMAL: PriorityClass = PriorityClass::Normal;
const NAME: &str = "ring";
const WAIT: Duration = Duration::from_secs(60);
/// A lane of each kind of ring is in its own place in their segments.
const BOTH: [Lanes; 2] = [Lanes::ByClass, Lanes::ByProducer(3)];

fn builder(directory: &Path, lanes: Lanes) -> Builder {
    Builder::new().directory(directory).capacity(16).participants(24).lanes(lanes).max_message(100)
}

fn number_of(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().unwrap())
}

fn send(producer: &mut Producer, number: u64, class: PriorityClass) {
    producer.send_fast(&number.to_le_bytes(), class).unwrap();
}

fn drain(consumer: &mut Consumer) -> Vec<u64> {
    consumer.try_iter().map(|message| number_of(&message)).collect()
}

#[test]
fn another_process_finds_the_lanes_and_its_urgent_message_is_next() {
    let directory = stage();
    let builder = builder(directory.path(), Lanes::ByClass)
        .capacity_of(PriorityClass::Bulk, 4_096)
        .max_message_of(PriorityClass::Bulk, 3_000);
    let ring = builder.create(NAME).unwrap();
    let mut consumer = ring.consumer().unwrap();
    let child = Child::start(|| {
        let ring = Builder::new().directory(directory.path()).open(NAME).unwrap();
        assert_eq!(ring.settings().lanes, Lanes::ByClass);
        let mut producer = ring.producer().unwrap();
        for number in 0..4_096 {
            send(&mut producer, number, PriorityClass::Bulk);
        }
        assert_eq!(producer.send_fast(b"x", PriorityClass::Bulk), Err(SendError::Full));
        send(&mut producer, 9_999, PriorityClass::RealTime);
    });
    child.finish();
    assert_eq!(number_of(&consumer.try_recv().unwrap()), 9_999);
    assert_eq!(drain(&mut consumer), (0..4_096).collect::<Vec<_>>());
    let mut large = Vec::new();
    ring.producer().unwrap().send_fast(&[7; 3_000], PriorityClass::Bulk).unwrap();
    assert_eq!(consumer.try_recv_into(&mut large).unwrap().size, 3_000);
    // Who chooses other lanes is told what is there.
    let Err(RingError::SettingsDiffer { differences, .. }) =
        Builder::new().directory(directory.path()).lanes(Lanes::ByProducer(3)).open_or_create(NAME)
    else {
        panic!("it is another ring");
    };
    let told: Vec<_> = differences.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["lanes is by-class and not by-producer:3"]);
}

#[test]
fn a_killed_owner_keeps_nobody_and_its_successor_goes_on_in_its_lane() {
    let directory = stage();
    let builder = builder(directory.path(), Lanes::ByProducer(2));
    let ring = builder.create(NAME).unwrap();
    let mut consumer = ring.consumer().unwrap();
    let mut other = ring.producer().unwrap();
    for round in 0..20u64 {
        let child = Child::live_after(|| {
            let ring = builder.open(NAME).unwrap();
            let mut owner = ring.producer().unwrap();
            send(&mut owner, 10 * round, NORMAL);
            // Half-written, and never announced.
            std::mem::forget(owner.try_reserve(8, NORMAL).unwrap());
            (ring, owner)
        });
        let refused = ring.producer().unwrap_err();
        let RingError::NoFreeLane { lanes: 2, owners } = &refused else { panic!("{refused}") };
        assert_eq!(owners.len(), 2);
        assert_eq!(owners[1].pid, child.pid() as u32);
        child.kill();
        // What is reserved and never committed holds up nobody.
        send(&mut other, 1_000 + round, NORMAL);
        let mut received = drain(&mut consumer);
        received.sort_unstable();
        assert_eq!(received, [10 * round, 1_000 + round]);
        let mut heir = patiently("a lane", || ring.producer().ok());
        send(&mut heir, 10 * round + 1, NORMAL);
        assert_eq!(drain(&mut consumer), [10 * round + 1]);
    }
    assert!(ring.examine().unwrap().is_empty());
    assert_eq!(ring.stats().abandoned, 0);
}

#[test]
fn what_a_killed_consumer_held_in_any_lane_comes_again() {
    for lanes in BOTH {
        let directory = stage();
        let builder = builder(directory.path(), lanes);
        let ring = builder.create(NAME).unwrap();
        let mut producers: Vec<_> = match lanes {
            Lanes::ByClass => vec![ring.producer().unwrap()],
            _ => (0..3).map(|_| ring.producer().unwrap()).collect(),
        };
        for (place, class) in CLASSES.into_iter().enumerate() {
            let count = producers.len();
            send(&mut producers[place % count], place as u64, class);
        }
        let child = Child::live_after(|| {
            let mut consumer = builder.open(NAME).unwrap().consumer().unwrap();
            std::mem::forget(consumer.try_borrow().unwrap());
            consumer
        });
        child.kill();
        let mut consumer = ring.consumer().unwrap();
        let mut received: Vec<_> = (0..5)
            .map(|_| {
                let message = consumer.recv_timeout(WAIT).unwrap();
                (number_of(&message), message.is_redelivered())
            })
            .collect();
        received.sort_unstable();
        assert_eq!(received, [(0, true), (1, false), (2, false), (3, false), (4, false)]);
        assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty);
    }
}

#[test]
fn a_claim_of_a_killed_producer_in_an_urgent_lane_is_abandoned() {
    let directory = stage();
    let builder = builder(directory.path(), Lanes::ByClass);
    let ring = builder.create(NAME).unwrap();
    let mut consumer = ring.consumer().unwrap();
    let child = Child::live_after(|| {
        let mut producer = builder.open(NAME).unwrap().producer().unwrap();
        std::mem::forget(producer.try_reserve(8, PriorityClass::RealTime).unwrap());
        producer
    });
    child.kill();
    let mut producer = ring.producer().unwrap();
    send(&mut producer, 1, PriorityClass::RealTime);
    assert_eq!(number_of(&consumer.recv_timeout(WAIT).unwrap()), 1);
    assert_eq!(ring.stats().abandoned, 1);
}

#[test]
fn each_group_gets_each_message_of_each_lane() {
    for lanes in BOTH {
        let directory = stage();
        let ring =
            builder(directory.path(), lanes).groups(["risk"]).joinable().create(NAME).unwrap();
        let (mut first, mut second) = (ring.producer().unwrap(), ring.producer().unwrap());
        let mut late = ring.join("late").consumer().unwrap();
        for (place, class) in CLASSES.into_iter().enumerate() {
            send(if place % 2 == 0 { &mut first } else { &mut second }, place as u64, class);
        }
        let mut risk = ring.join("risk").consumer().unwrap();
        for consumer in [&mut late, &mut risk] {
            let mut received = drain(consumer);
            if lanes == Lanes::ByProducer(3) {
                received.sort_unstable();
            }
            assert_eq!(received, [0, 1, 2, 3, 4], "{lanes}");
        }
        // Members share the work, and a group without members keeps its place in each lane.
        drop(risk);
        let sent: Vec<_> = (0..10).collect();
        for &number in &sent {
            let class = CLASSES[number as usize % 5];
            send(if number % 2 == 0 { &mut first } else { &mut second }, number, class);
        }
        let group = |name: &str| ring.groups().find(|it| it.name.as_str() == name).unwrap();
        assert_eq!((group("risk").lag, group("risk").members), (10, 0));
        let mut members = [(); 2].map(|()| ring.join("risk").consumer().unwrap());
        assert_eq!((group("risk").members, group("late").members), (2, 1));
        let mut received = Vec::new();
        for turn in 0..10 {
            received.push(number_of(&members[turn % 2].try_recv().unwrap()));
        }
        received.sort_unstable();
        assert_eq!(received, sent);
        let mut late = drain(&mut late);
        late.sort_unstable();
        assert_eq!(late, sent);
        assert!(ring.examine().unwrap().is_empty());
    }
}

#[test]
fn producers_wait_for_a_group_in_the_lane_in_which_it_is_behind() {
    let directory = stage();
    let ring = builder(directory.path(), Lanes::ByClass).groups(["risk"]).create(NAME).unwrap();
    let mut producer = ring.producer().unwrap();
    for number in 0..16 {
        send(&mut producer, number, PriorityClass::Bulk);
    }
    assert_eq!(producer.send_fast(b"x", PriorityClass::Bulk), Err(SendError::Full));
    for number in 0..16 {
        send(&mut producer, 100 + number, PriorityClass::High);
    }
    assert_eq!(producer.send_fast(b"x", PriorityClass::High), Err(SendError::Full));
    let mut member = ring.join("risk").consumer().unwrap();
    assert_eq!(number_of(&member.try_recv().unwrap()), 100);
    member.flush();
    send(&mut producer, 116, PriorityClass::High);
    assert_eq!(producer.send_fast(b"x", PriorityClass::Bulk), Err(SendError::Full));
    let expected: Vec<_> = (101..117).chain(0..16).collect();
    assert_eq!(drain(&mut member), expected);
}

#[test]
fn what_a_killed_member_held_comes_again_to_its_own_group() {
    for lanes in BOTH {
        let directory = stage();
        let builder = builder(directory.path(), lanes).groups(["risk", "log"]);
        let ring = builder.create(NAME).unwrap();
        let mut producers = [(); 2].map(|()| ring.producer().unwrap());
        send(&mut producers[0], 1, PriorityClass::High);
        send(&mut producers[1], 2, PriorityClass::Low);
        let child = Child::live_after(|| {
            let mut member = builder.open(NAME).unwrap().join("risk").consumer().unwrap();
            std::mem::forget(member.try_borrow_many(2).unwrap());
            member
        });
        child.kill();
        let mut log = ring.join("log").consumer().unwrap();
        assert_eq!(drain(&mut log), [1, 2]);
        let mut risk = ring.join("risk").consumer().unwrap();
        let mut received: Vec<_> = (0..2)
            .map(|_| {
                let message = risk.recv_timeout(WAIT).unwrap();
                (number_of(&message), message.is_redelivered())
            })
            .collect();
        received.sort_unstable();
        assert_eq!(received, [(1, true), (2, false)], "{lanes}");
        assert_eq!(log.try_recv().unwrap_err(), RecvError::Empty);
    }
}

#[test]
fn a_passing_group_of_killed_members_is_not_waited_for_in_any_lane() {
    for lanes in BOTH {
        let directory = stage();
        let builder = builder(directory.path(), lanes).joinable();
        let ring = builder.create(NAME).unwrap();
        let mut producers = [(); 2].map(|()| ring.producer().unwrap());
        Child::die_after(|| {
            let ring = builder.open(NAME).unwrap();
            let member = ring.join("passing").consumer().unwrap();
            (ring, member)
        });
        for number in 0..100u64 {
            for (producer, class) in producers.iter_mut().zip([PriorityClass::Bulk, NORMAL]) {
                producer.send_timeout(&number.to_le_bytes(), class, WAIT).unwrap();
            }
        }
    }
}

#[test]
fn a_group_that_is_evicted_says_what_it_missed_in_all_lanes_and_goes_on_in_each() {
    for lanes in BOTH {
        let directory = stage();
        let ring = builder(directory.path(), lanes).joinable().create(NAME).unwrap();
        let mut producers = [(); 2].map(|()| ring.producer().unwrap());
        let slow = Slow::Evict { after: Duration::from_millis(1) };
        let mut members = [(); 2].map(|()| ring.join("slow").slow(slow).consumer().unwrap());
        for _ in 0..3 {
            // One lane is too full, and another has something that is missed, too.
            for number in 0..17u64 {
                let class = PriorityClass::RealTime;
                producers[0].send_timeout(&number.to_le_bytes(), class, WAIT).unwrap();
            }
            send(&mut producers[1], 18, PriorityClass::Bulk);
            let missed = match members[0].recv_timeout(WAIT) {
                Err(RecvError::Evicted { missed }) => missed,
                other => panic!("{other:?}"),
            };
            assert_eq!(missed, 18, "{lanes}");
            assert_eq!(members[0].try_recv().unwrap_err(), RecvError::Empty);
            send(&mut producers[0], 1, PriorityClass::High);
            send(&mut producers[1], 2, PriorityClass::Low);
            // The other is not told, and goes on as well.
            let mut received = vec![
                number_of(&members[1].recv_timeout(WAIT).unwrap()),
                number_of(&members[0].recv_timeout(WAIT).unwrap()),
            ];
            received.sort_unstable();
            assert_eq!(received, [1, 2]);
            assert_eq!(ring.groups().next().unwrap().members, 2);
        }
    }
}

#[test]
fn a_tail_reader_reads_all_lanes_and_says_what_it_missed() {
    let directory = stage();
    for lanes in BOTH {
        let builder = builder(directory.path(), lanes).joinable();
        let ring = builder.create(NAME).unwrap();
        let mut tail = builder.observe(NAME).unwrap().tail(Start::Oldest).unwrap();
        let mut producers = [(); 2].map(|()| ring.producer().unwrap());
        let mut buffer = Vec::new();
        assert_eq!(tail.try_next(&mut buffer).unwrap_err(), RecvError::Empty);
        send(&mut producers[0], 5, PriorityClass::Bulk);
        send(&mut producers[1], 6, PriorityClass::High);
        let mut received = Vec::new();
        while tail.try_next(&mut buffer).is_ok() {
            received.push((number_of(&buffer), tail.lane()));
        }
        match lanes {
            Lanes::ByClass => assert_eq!(received, [(6, 1), (5, 4)]),
            _ => assert_eq!(received, [(5, 0), (6, 1)]),
        }
        for number in 0..100 {
            send(&mut producers[0], number, PriorityClass::Bulk);
        }
        let RecvError::Overrun { missed } = tail.try_next(&mut buffer).unwrap_err() else {
            panic!("nothing was missed");
        };
        assert_eq!(tail.missed(), missed);
        let mut rest = 0;
        while tail.try_next(&mut buffer).is_ok() {
            rest += 1;
        }
        assert_eq!(missed + rest, 100, "{lanes}");
        producers.iter_mut().for_each(Producer::close);
        assert_eq!(tail.try_next(&mut buffer).unwrap_err(), RecvError::Closed);
        drop(ring);
        builder.remove(NAME).unwrap();
    }
}

#[test]
fn hundreds_of_short_lived_producers_pass_their_lanes_on() {
    let directory = stage();
    let builder = builder(directory.path(), Lanes::ByProducer(2));
    let ring = builder.create(NAME).unwrap();
    let mut consumer = ring.consumer().unwrap();
    let mut sent = 0;
    for round in 0..300u64 {
        let child = Child::live_after(|| {
            let mut owner = patiently("a lane", || builder.open(NAME).unwrap().producer().ok());
            for number in 0..round % 4 {
                send(&mut owner, 10 * round + number, NORMAL);
            }
            if round % 3 == 0 {
                std::mem::forget(owner.try_reserve(8, NORMAL).unwrap());
            }
            owner
        });
        child.kill();
        sent += round % 4;
        let expected: Vec<_> = (0..round % 4).map(|number| 10 * round + number).collect();
        assert_eq!(drain(&mut consumer), expected, "{round}");
    }
    let stats = ring.stats();
    assert_eq!((stats.sent, stats.received, stats.abandoned), (sent, sent, 0));
}
