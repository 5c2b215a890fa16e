//! Groups of consumers: each message goes to one member of every group.

#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod common;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use common::{Numbered, stage};
use ultrafastring::layout::{MAX_GROUP_NAME, ROOM_FOR_GROUPS};
use ultrafastring::{
    Builder, Consumer, GroupState, Invalid, Lanes, PriorityClass, Producer, RecvError, RingError,
    SendError, Sharing, Slow, Start, UltraFastRing,
};

const NORMAL: PriorityClass = PriorityClass::Normal;

fn joinable() -> Builder {
    Builder::new().joinable().capacity(8)
}

fn send(producer: &mut Producer, number: u64) {
    producer.send_fast(&number.to_le_bytes(), NORMAL).unwrap();
}

/// All that a consumer receives now.
fn drain(consumer: &mut Consumer) -> Vec<u64> {
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    consumer.try_iter().map(|message| number(&message)).collect()
}

/// Sends as many as there is room for, from `first` on. Says how many.
fn fill(producer: &mut Producer, first: u64) -> u64 {
    (first..first + 1_000)
        .take_while(|number| match producer.send_fast(&number.to_le_bytes(), NORMAL) {
            Ok(()) => true,
            Err(error) => {
                assert!(error.is_full(), "{error}");
                false
            }
        })
        .count() as u64
}

#[test]
fn each_group_gets_each_message() {
    let ring = Builder::new().groups(["risk", "log"]).capacity(8).heap().unwrap();
    let mut producer = ring.producer().unwrap();
    let (mut risk, mut log) =
        (ring.join("risk").consumer().unwrap(), ring.join("log").consumer().unwrap());
    for lap in 0..100 {
        (0..5).for_each(|n| send(&mut producer, 5 * lap + n));
        let sent: Vec<_> = (5 * lap..5 * lap + 5).collect();
        assert_eq!(drain(&mut risk), sent);
        assert_eq!(drain(&mut log), sent);
    }
}

#[test]
fn producers_wait_for_the_slowest_group() {
    let ring = Builder::new().groups(["fast", "slow"]).capacity(8).heap().unwrap();
    let mut producer = ring.producer().unwrap();
    let mut fast = ring.join("fast").consumer().unwrap();
    assert_eq!(fill(&mut producer, 0), 8);
    assert_eq!(drain(&mut fast).len(), 8);
    assert_eq!(producer.send_fast(b"x", NORMAL), Err(SendError::Full));
    let mut slow = ring.join("slow").consumer().unwrap();
    assert_eq!(drain(&mut slow), (0..8).collect::<Vec<_>>());
    assert_eq!(fill(&mut producer, 8), 8);
    assert_eq!(drain(&mut fast), (8..16).collect::<Vec<_>>());
}

#[test]
fn with_no_group_nobody_is_waited_for() {
    for builder in [joinable(), joinable().exclusive_producer()] {
        let ring = builder.heap().unwrap();
        let mut producer = ring.producer().unwrap();
        assert_eq!(fill(&mut producer, 0), 1_000);
        assert!(!producer.credits().under_pressure());
        let mut late = ring.join("late").consumer().unwrap();
        assert_eq!(drain(&mut late), []);
        send(&mut producer, 1_000);
        assert_eq!(drain(&mut late), [1_000]);
    }
}

#[test]
fn a_producer_that_is_about_to_write_is_not_lapped_by_others_though_nobody_reads() {
    let ring = joinable().heap().unwrap();
    let (mut slow, mut quick) = (ring.producer().unwrap(), ring.producer().unwrap());
    let place = slow.try_reserve(8, NORMAL).unwrap();
    assert_eq!(fill(&mut quick, 1), 7);
    let mut member = ring.join("member").start(Start::Position(0)).consumer().unwrap();
    place.commit();
    assert_eq!(drain(&mut member), (0..8).collect::<Vec<_>>());
    drop(member);
    assert_eq!(fill(&mut quick, 8), 1_000);
    // And what it has committed holds nobody back, though it stays silent and shows it still.
    drop(slow);
}

#[test]
fn a_passing_group_is_waited_for_as_long_as_it_has_a_member() {
    let ring = joinable().heap().unwrap();
    let mut producer = ring.producer().unwrap();
    let member = ring.join("passing").consumer().unwrap();
    let second = ring.join("passing").consumer().unwrap();
    assert_eq!(fill(&mut producer, 0), 8);
    drop(member);
    assert_eq!(fill(&mut producer, 8), 0, "another is there");
    drop(second);
    assert_eq!(fill(&mut producer, 8), 1_000);
    assert_eq!(ring.groups().map(|it| it.state).collect::<Vec<_>>(), [GroupState::Closed]);
}

#[test]
fn a_durable_group_keeps_its_place_while_it_has_no_member() {
    let ring = joinable().heap().unwrap();
    let mut producer = ring.producer().unwrap();
    let mut member = ring.join("durable").durable().consumer().unwrap();
    send(&mut producer, 0);
    assert_eq!(drain(&mut member), [0]);
    drop(member);
    assert_eq!(fill(&mut producer, 1), 8);
    let mut member = ring.join("durable").start(Start::Resume).consumer().unwrap();
    assert_eq!(drain(&mut member), (1..9).collect::<Vec<_>>());
}

#[test]
fn a_group_starts_where_it_says() {
    for builder in [joinable(), joinable().exclusive_producer()] {
        let ring = builder.capacity(64).heap().unwrap();
        let mut producer = ring.producer().unwrap();
        (0..100).for_each(|n| send(&mut producer, n));
        let start = |start| {
            let mut member = ring.join("member").start(start).consumer().unwrap();
            drain(&mut member)
        };
        assert_eq!(start(Start::Latest), []);
        assert_eq!(start(Start::Position(90)), (90..100).collect::<Vec<_>>());
        // What the window allows to be overwritten by now counts as gone.
        let oldest = start(Start::Oldest);
        assert_eq!(oldest, (oldest[0]..100).collect::<Vec<_>>());
        assert!((36..=44).contains(&oldest[0]), "{}", oldest[0]);
        let gone = start(Start::Position(3));
        assert_eq!(gone, (gone[0]..100).collect::<Vec<_>>());
        assert!((68..=76).contains(&gone[0]), "half a capacity after the oldest: {}", gone[0]);
        // What another keeps is there for certain.
        let keeps = ring.join("keeps").start(Start::Position(80)).consumer().unwrap();
        assert_eq!(start(Start::Oldest), (80..100).collect::<Vec<_>>());
        drop(keeps);
        let mut ahead = ring.join("ahead").start(Start::Position(105)).consumer().unwrap();
        (100..110).for_each(|n| send(&mut producer, n));
        assert_eq!(drain(&mut ahead), (105..110).collect::<Vec<_>>());
    }
}

#[test]
fn who_joins_an_open_group_shares_its_work_wherever_he_wants_to_start() {
    let ring = joinable().heap().unwrap();
    let mut producer = ring.producer().unwrap();
    let mut first = ring.join("group").consumer().unwrap();
    (0..3).for_each(|n| send(&mut producer, n));
    assert_eq!(first.try_recv().unwrap().position(), 0);
    let mut second = ring.join("group").start(Start::Oldest).consumer().unwrap();
    assert_eq!(drain(&mut second), [1, 2]);
    assert_eq!(drain(&mut first), []);
}

#[test]
fn a_clone_is_a_member_of_the_same_group() {
    let ring = joinable().heap().unwrap();
    let mut producer = ring.producer().unwrap();
    let first = ring.join("group").consumer().unwrap();
    let _other = ring.join("other").consumer().unwrap();
    let mut clone = first.try_clone().unwrap();
    drop(first);
    send(&mut producer, 7);
    assert_eq!(drain(&mut clone), [7]);
}

#[test]
fn what_cannot_be_joined_says_why() {
    let plain = UltraFastRing::new(8);
    let error = plain.join("risk").consumer().unwrap_err();
    assert!(matches!(error, RingError::NotMadeForGroups), "{error}");
    assert!(matches!(plain.remove_group("risk"), Err(RingError::NotMadeForGroups)));

    let ring = joinable().heap().unwrap();
    assert!(matches!(ring.consumer(), Err(RingError::MadeForGroups)));
    assert_eq!(ring.recv_fast(&mut [0; 8]), Err(RecvError::NoEntry));
    for name in ["", "a\nb", &"n".repeat(MAX_GROUP_NAME + 1)] {
        let error = ring.join(name).consumer().unwrap_err();
        assert!(matches!(error, RingError::Invalid(Invalid::GroupName)), "{error}");
        let error = Builder::new().groups([name]).heap().unwrap_err();
        assert!(matches!(error, RingError::Invalid(Invalid::GroupName)), "{error}");
    }
    let resume = ring.join("nobody").start(Start::Resume).consumer().unwrap_err();
    assert!(matches!(resume, RingError::NoSuchGroup { .. }), "{resume}");
    assert!(ring.groups().next().is_none());

    let _member = ring.join("risk").exclusive().durable().consumer().unwrap();
    let slow = Slow::Evict { after: Duration::from_millis(5) };
    let error = ring.join("risk").shared().passing().slow(slow).consumer().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the group \"risk\" is exclusive, durable, one that producers wait for; ask for the same, \
         or do not say how it is to be"
    );
    assert!(matches!(ring.join("risk").consumer(), Err(RingError::GroupTaken { .. })));
    assert!(matches!(ring.remove_group("risk"), Err(RingError::GroupInUse { .. })));
    assert!(matches!(ring.remove_group("nobody"), Err(RingError::NoSuchGroup { .. })));

    let members: Vec<_> = (1..ROOM_FOR_GROUPS)
        .map(|n| ring.join(&format!("group {n}")).consumer().unwrap())
        .collect();
    let error = ring.join("one more").consumer().unwrap_err();
    assert!(matches!(error, RingError::TooManyGroups { most: ROOM_FOR_GROUPS }), "{error}");
    drop(members);
    ring.join("one more").consumer().unwrap();

    let error = Builder::new().groups(["a"]).exclusive_consumer().heap().unwrap_err();
    assert!(matches!(error, RingError::Invalid(Invalid::ExclusiveGroups)), "{error}");
}

#[test]
fn a_group_that_is_removed_is_not_waited_for_and_its_name_is_free() {
    let ring = Builder::new().groups(["risk"]).capacity(8).heap().unwrap();
    let mut producer = ring.producer().unwrap();
    assert_eq!(fill(&mut producer, 0), 8);
    ring.remove_group("risk").unwrap();
    assert_eq!(fill(&mut producer, 8), 1_000);
    assert!(ring.groups().next().is_none());
    let mut again = ring.join("risk").passing().consumer().unwrap();
    send(&mut producer, 5);
    assert_eq!(drain(&mut again), [5]);
}

#[test]
fn the_table_tells_what_groups_there_are() {
    let ring = joinable().groups(["log"]).heap().unwrap();
    let mut producer = ring.producer().unwrap();
    let mut member = ring.join("risk").exclusive().consumer().unwrap();
    (0..5).for_each(|n| send(&mut producer, n));
    member.try_recv().unwrap();
    let groups: Vec<_> = ring.groups().collect();
    let [log, risk] = &groups[..] else { panic!("{groups:?}") };
    assert_eq!((log.name.as_str(), log.durable, log.sharing), ("log", true, Sharing::Shared));
    assert_eq!((log.members, log.lag, log.state), (0, 5, GroupState::Open));
    assert_eq!(
        (risk.name.as_str(), risk.durable, risk.sharing),
        ("risk", false, Sharing::Exclusive)
    );
    assert_eq!((risk.members, risk.lag, risk.slow), (1, 4, Slow::Wait));
    assert_eq!(risk.consumer_head, 1);
}

#[test]
fn what_a_group_has_received_is_counted_over_all_its_openings() {
    for lanes in [Lanes::One, Lanes::ByClass] {
        let ring = joinable().lanes(lanes).heap().unwrap();
        let mut producer = ring.producer().unwrap();
        let received = |name: &str| {
            let group = ring.groups().find(|it| it.name.as_str() == name).unwrap();
            (group.received, group.state)
        };
        let mut member = ring.join("risk").consumer().unwrap();
        (0..3).for_each(|n| send(&mut producer, n));
        producer.send(b"urgent12", PriorityClass::High).unwrap();
        for _ in 0..4 {
            member.try_recv().unwrap();
        }
        assert_eq!(received("risk"), (4, GroupState::Open));
        drop(member);
        assert_eq!(received("risk"), (4, GroupState::Closed));
        // Nobody is there for these.
        (0..9).for_each(|n| send(&mut producer, n));
        let mut member = ring.join("risk").consumer().unwrap();
        assert_eq!(received("risk"), (4, GroupState::Open));
        send(&mut producer, 10);
        assert_eq!(drain(&mut member), [10]);
        assert_eq!(received("risk").0, 5);
        // It comes back to older ones, which it receives again.
        drop(member);
        let mut member = ring.join("risk").start(Start::Position(2)).consumer().unwrap();
        let again = drain(&mut member).len() as u64;
        assert!(again > 0);
        assert_eq!(received("risk").0, 5 + again);
        drop(member);
        ring.remove_group("risk").unwrap();
        let _other = ring.join("other").consumer().unwrap();
        assert_eq!(received("other"), (0, GroupState::Open), "in the same row");
    }
}

#[test]
fn what_can_be_seen_of_a_ring_for_groups_is_of_the_slowest_one() {
    for builder in [joinable(), joinable().exclusive_producer()] {
        let ring = builder.heap().unwrap();
        let mut producer = ring.producer().unwrap();
        let seen = |len, tail| {
            assert_eq!((ring.len(), ring.positions().consumer_tail), (len, tail));
            assert_eq!(ring.examine().unwrap(), []);
        };
        (0..30).for_each(|n| send(&mut producer, n));
        producer.flush();
        seen(0, 30);
        let (mut a, mut b) =
            (ring.join("a").consumer().unwrap(), ring.join("b").consumer().unwrap());
        (30..34).for_each(|n| send(&mut producer, n));
        assert_eq!((drain(&mut a).len(), b.try_recv().unwrap().position()), (4, 30));
        b.flush();
        seen(3, 31);
        assert_eq!(ring.stats().credits_spent, 3);
        drop(b);
        seen(0, 34);
        assert_eq!(ring.repair().unwrap(), Default::default());
    }
}

#[test]
fn a_ring_for_groups_is_closed_for_each_group_when_that_has_received_all() {
    for builder in [joinable(), joinable().exclusive_producer()] {
        let ring = builder.heap().unwrap();
        let mut producer = ring.producer().unwrap();
        let (mut a, mut b) =
            (ring.join("a").consumer().unwrap(), ring.join("b").consumer().unwrap());
        (0..3).for_each(|n| send(&mut producer, n));
        assert_eq!(drain(&mut a), [0, 1, 2]);
        producer.close();
        assert_eq!(a.recv().unwrap_err(), RecvError::Closed);
        assert_eq!(drain(&mut b), [0, 1, 2]);
        assert_eq!(b.recv().unwrap_err(), RecvError::Closed);
    }
}

/// Threads send, and members of several groups receive, all at once; each group gets everything
/// once, and of each sender in order where it has one member.
fn stream(builder: &Builder, producers: u32, groups: &[(&str, usize)], each: u64) {
    let ring = builder.heap().unwrap();
    let members: Vec<Vec<_>> = groups
        .iter()
        .map(|&(name, members)| {
            (0..members).map(|_| ring.join(name).durable().consumer().unwrap()).collect()
        })
        .collect();
    thread::scope(|scope| {
        for sender in 0..producers {
            let mut producer = ring.producer().unwrap();
            scope.spawn(move || {
                for number in 0..each {
                    let message = Numbered::new(sender, number);
                    producer.send(message.as_ref(), NORMAL).unwrap();
                }
            });
        }
        for group in members {
            let all = producers as usize * each as usize;
            scope.spawn(move || {
                let alone = group.len() == 1;
                let (done, count) = (&AtomicBool::new(false), &AtomicUsize::new(0));
                let taken: Vec<_> = thread::scope(|scope| {
                    let receiving = group.into_iter().enumerate().map(|(at, member)| {
                        scope.spawn(move || receive(member, at, alone, all, done, count))
                    });
                    let receiving: Vec<_> = receiving.collect();
                    receiving.into_iter().flat_map(|it| it.join().unwrap()).collect()
                });
                assert_eq!(taken.len(), all);
                assert_eq!(taken.into_iter().collect::<BTreeSet<_>>().len(), all);
            });
        }
    });
}

fn receive(
    mut member: Consumer,
    at: usize,
    alone: bool,
    all: usize,
    done: &AtomicBool,
    count: &AtomicUsize,
) -> Vec<(u32, u64)> {
    let mut taken = Vec::new();
    let mut next = [0; 8];
    let mut buffer = Vec::new();
    while !done.load(SeqCst) {
        let wait = Duration::from_millis(20);
        let got = match (at + taken.len()) % 3 {
            0 => member.recv_into_timeout(&mut buffer, wait).map(drop),
            1 => member.borrow_timeout(wait).map(|message| buffer = message.to_vec()),
            _ => member.recv_timeout(wait).map(|message| buffer = message.to_vec()),
        };
        match got {
            Ok(()) => {}
            Err(RecvError::TimedOut) => continue,
            Err(error) => panic!("{error}"),
        }
        let (sender, number) = Numbered::read(&buffer);
        if alone {
            assert_eq!(number, next[sender as usize], "of {sender}");
            next[sender as usize] += 1;
        }
        taken.push((sender, number));
        if count.fetch_add(1, SeqCst) + 1 == all {
            done.store(true, SeqCst);
        }
    }
    taken
}

#[test]
fn an_exclusive_producer_feeds_groups_of_one() {
    let builder = joinable().exclusive_producer();
    stream(&builder, 1, &[("a", 1), ("b", 1), ("c", 1)], 20_000);
    stream(&builder.capacity(1), 1, &[("a", 1), ("b", 1)], 2_000);
}

#[test]
fn shared_producers_feed_groups_of_several() {
    stream(&joinable().capacity(64), 3, &[("a", 2), ("b", 1)], 10_000);
    stream(&joinable().capacity(2), 2, &[("a", 2), ("b", 2)], 2_000);
}

#[test]
fn groups_come_and_go_while_messages_are_sent_and_one_that_stays_gets_all() {
    for builder in [joinable(), joinable().exclusive_producer()] {
        let ring = builder.capacity(16).heap().unwrap();
        let mut stays = ring.join("stays").durable().consumer().unwrap();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let mut producer = ring.producer().unwrap();
            scope.spawn(move || {
                for number in 0..40_000u64 {
                    producer.send(&number.to_le_bytes(), NORMAL).unwrap();
                }
                producer.close();
            });
            for at in 0..2 {
                let (ring, done) = (&ring, &done);
                scope.spawn(move || {
                    let starts = [Start::Latest, Start::Oldest, Start::Position(0)];
                    for turn in 0usize.. {
                        if done.load(SeqCst) {
                            break;
                        }
                        let name = if turn.is_multiple_of(2) { "comes" } else { "goes" };
                        let start = starts[(turn + at) % 3];
                        let mut member = ring.join(name).start(start).consumer().unwrap();
                        let mut last = None;
                        for _ in 0..turn % 40 {
                            let Ok(message) = member.recv_timeout(Duration::from_millis(1)) else {
                                break;
                            };
                            let number = u64::from_le_bytes(message[..].try_into().unwrap());
                            assert_eq!(number, message.position(), "not what was sent there");
                            assert!(last.is_none_or(|last| last < number), "{last:?}, {number}");
                            last = Some(number);
                        }
                    }
                });
            }
            let mut expected = 0;
            loop {
                match stays.recv_timeout(Duration::from_secs(60)) {
                    Ok(message) => {
                        let number = u64::from_le_bytes(message[..].try_into().unwrap());
                        assert_eq!(number, expected);
                        expected += 1;
                    }
                    Err(RecvError::Closed) => break,
                    Err(error) => panic!("{error} after {expected}"),
                }
            }
            assert_eq!(expected, 40_000);
            done.store(true, SeqCst);
        });
    }
}

#[test]
fn a_named_ring_is_opened_with_the_groups_that_it_was_made_with() {
    let directory = stage();
    let builder = Builder::new().directory(directory.path()).capacity(8);
    let made = builder.clone().groups(["risk", "log"]).create("ring").unwrap();
    let ring = builder.open("ring").unwrap();
    assert_eq!(ring.settings().groups, 2);
    let mut producer = ring.producer().unwrap();
    send(&mut producer, 1);
    for name in ["risk", "log"] {
        let mut member = made.join(name).durable().consumer().unwrap();
        assert_eq!(drain(&mut member), [1]);
    }
    let names: Vec<_> = ring.groups().map(|it| it.name.as_str().to_string()).collect();
    assert_eq!(names, ["risk", "log"]);
}

#[test]
fn a_ring_says_which_group_its_producers_wait_for() {
    assert!(UltraFastRing::new(8).slowest_group().is_none());
    let ring = joinable().heap().unwrap();
    assert!(ring.slowest_group().is_none());
    let mut producer = ring.producer().unwrap();
    let mut fast = ring.join("fast").consumer().unwrap();
    let mut slow = ring.join("slow").consumer().unwrap();
    let slowest = || ring.slowest_group().map(|it| (it.name.as_str().to_string(), it.lag));
    assert_eq!(fill(&mut producer, 0), 8);
    assert_eq!(drain(&mut fast).len(), 8);
    assert_eq!(slowest(), Some(("slow".into(), 8)));
    assert_eq!(ring.stats().credits_spent, ring.stats().credit_limit);
    assert_eq!(drain(&mut slow).len(), 8);
    assert_eq!(fill(&mut producer, 8), 8);
    assert_eq!(drain(&mut slow).len(), 8);
    assert_eq!(slowest(), Some(("fast".into(), 8)));
    drop((fast, slow));
    assert_eq!(slowest(), None, "both are passing");
}

#[test]
fn who_opens_or_creates_a_ring_is_told_which_of_its_groups_are_missing() {
    let directory = stage();
    let with = |names: [&'static str; 2]| Builder::new().directory(directory.path()).groups(names);
    let ring = with(["risk", "log"]).open_or_create("ring").unwrap();
    assert_eq!(ring.groups().count(), 2);
    with(["log", "risk"]).open_or_create("ring").unwrap();
    let error = with(["risk", "audit"]).open_or_create("ring").unwrap_err();
    assert!(matches!(error, RingError::SettingsDiffer { .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains(" exists with other settings: group \"audit\" is missing; "), "{said}");
    with(["risk", "audit"]).accept_existing(true).open_or_create("ring").unwrap();
    // One that is joinable has groups besides those that were chosen.
    let more = |name| Builder::new().directory(directory.path()).joinable().groups([name]);
    let ring = more("risk").open_or_create("more").unwrap();
    let _other = ring.join("other").durable().consumer().unwrap();
    more("risk").open_or_create("more").unwrap();
    more("other").open_or_create("more").unwrap();
    assert!(more("audit").open_or_create("more").is_err());
}
