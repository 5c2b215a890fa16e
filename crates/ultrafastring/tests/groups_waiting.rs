//! Waiting in groups: every way of sleeping, who is woken, how waits end, and what idle members
//! cost.
//!
//! A wake-up that is lost would cost [`LONGEST_PARK`](ultrafastring::LONGEST_PARK), and a handle
//! counts it (`missed_wakes`): so these tests see what would otherwise be a delay.

#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod common;

use std::time::{Duration, Instant};

use common::child::Child;
use common::{cpu_time, patiently, stage};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ultrafastring::{
    Builder, Consumer, LONGEST_PARK, PriorityClass, RecvError, SendError, Side, UltraFastRing,
    WaitStrategy, wait_any,
};

const NORMAL: PriorityClass = PriorityClass::Normal;

/// Longer than any test waits for what comes at once.
const LONG: Duration = Duration::from_secs(60);

/// How a member waits.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    Call,
    Any,
    Readiness,
    #[cfg(feature = "tokio")]
    Task,
}

const EACH_WAY: &[By] = &[
    By::Call,
    By::Any,
    By::Readiness,
    #[cfg(feature = "tokio")]
    By::Task,
];

/// Waits for a message until then. Says whether there is one, or why there will be none.
fn wait(consumer: &mut Consumer, by: By, until: Instant) -> Result<(), RecvError> {
    match by {
        By::Call => consumer.wait(Some(until)),
        By::Any => match wait_any(&mut [consumer], Some(until)) {
            Some(_) => consumer.wait(Some(until)),
            None => Err(RecvError::TimedOut),
        },
        By::Readiness => {
            let readiness = consumer.readiness().unwrap();
            while !consumer.arm(&readiness)? {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    consumer.disarm(&readiness);
                    return Err(RecvError::TimedOut);
                }
                let (tv_sec, tv_nsec) = (left.as_secs() as i64, left.subsec_nanos().into());
                let left = Timespec { tv_sec, tv_nsec };
                poll(&mut [PollFd::new(&readiness, PollFlags::IN)], Some(&left)).unwrap();
                readiness.clear();
            }
            Ok(())
        }
        #[cfg(feature = "tokio")]
        By::Task => unreachable!("a task has its consumer by itself"),
    }
}

/// Receives one number; it must come in time.
fn receive(mut consumer: Consumer, by: By) -> Result<(u64, Consumer), RecvError> {
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    let until = Instant::now() + LONG;
    #[cfg(feature = "tokio")]
    if by == By::Task {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        return builder.enable_all().build().unwrap().block_on(async {
            let mut consumer = ultrafastring::AsyncConsumer::new(consumer).unwrap();
            let message = tokio::time::timeout(LONG, consumer.recv()).await.unwrap()?;
            Ok((number(&message), consumer.into_inner()))
        });
    }
    loop {
        match consumer.try_recv() {
            Ok(message) => return Ok((number(&message), consumer)),
            Err(RecvError::Empty) => wait(&mut consumer, by, until)?,
            Err(error) => return Err(error),
        }
    }
}

fn member(ring: &UltraFastRing, group: &str, strategy: WaitStrategy) -> Consumer {
    let mut member = ring.join(group).consumer().unwrap();
    member.set_wait_strategy(strategy);
    member
}

fn asleep(ring: &UltraFastRing) {
    patiently("somebody sleeps", || ring.is_asleep(Side::Consumer).then_some(()));
}

/// One sender, and groups whose members wait each in its own way.
#[test]
fn a_message_wakes_a_member_of_each_group_however_it_waits() {
    const MESSAGES: u64 = 50;
    for fences in [false, true] {
        let builder = Builder::new().joinable().capacity(8);
        let ring = if fences { builder.fences() } else { builder }.heap().unwrap();
        let mut producer = ring.producer().unwrap();
        let members: Vec<_> = EACH_WAY
            .iter()
            .map(|&by| {
                let mut member = member(&ring, &format!("{by:?}"), WaitStrategy::Park);
                std::thread::spawn(move || {
                    for expected in 0..MESSAGES {
                        let (number, same) = receive(member, by).unwrap();
                        assert_eq!(number, expected, "{by:?}");
                        member = same;
                    }
                    member.missed_wakes()
                })
            })
            .collect();
        for number in 0..MESSAGES {
            asleep(&ring);
            producer.send_timeout(&number.to_le_bytes(), NORMAL, LONG).unwrap();
            // Before the next, which would wake whom this one did not.
            let all = || ring.groups().all(|it| it.consumer_head > number).then_some(());
            patiently("each group has it", all);
        }
        let missed: Vec<_> = members.into_iter().map(|it| it.join().unwrap()).collect();
        assert_eq!(missed, vec![0; EACH_WAY.len()]);
    }
}

/// How long a message takes to two groups whose members sleep.
fn pass_to_two_who_sleep() -> Duration {
    let ring = Builder::new().joinable().capacity(8).heap().unwrap();
    let mut producer = ring.producer().unwrap();
    let members = ["one", "two"].map(|group| member(&ring, group, WaitStrategy::Park));
    let sleeping =
        members.map(|mut it| std::thread::spawn(move || it.recv_timeout(LONG).map(drop)));
    asleep(&ring);
    std::thread::sleep(Duration::from_millis(5));
    let sent = Instant::now();
    producer.send_fast(b"for both", NORMAL).unwrap();
    sleeping.into_iter().for_each(|it| it.join().unwrap().unwrap());
    sent.elapsed()
}

#[test]
fn no_group_sleeps_on_because_another_was_woken() {
    // The machine may be late, but not every time.
    assert!((0..8).any(|_| pass_to_two_who_sleep() < LONGEST_PARK / 2), "one slept on");
}

/// Two members share a group: each message is for one of them, whoever is woken.
#[test]
fn members_that_share_a_group_take_what_the_other_does_not() {
    const MESSAGES: u64 = 400;
    let ring = Builder::new().groups(["pair", "single"]).capacity(4).heap().unwrap();
    let mut producer = ring.producer().unwrap();
    let start = |group| {
        let mut member = member(&ring, group, WaitStrategy::Park);
        std::thread::spawn(move || {
            let mut received = 0;
            loop {
                match member.recv_timeout(LONG) {
                    Ok(_) => received += 1,
                    Err(RecvError::Closed) => return (received, member.missed_wakes()),
                    Err(error) => panic!("{error}"),
                }
            }
        })
    };
    let (pair, single) = ([start("pair"), start("pair")], start("single"));
    for number in 0..MESSAGES {
        producer.send_timeout(&number.to_le_bytes(), NORMAL, LONG).unwrap();
        if number % 7 == 0 {
            asleep(&ring);
        }
    }
    ring.close();
    let pair = pair.map(|it| it.join().unwrap());
    assert_eq!(pair[0].0 + pair[1].0, MESSAGES);
    assert_eq!(single.join().unwrap(), (MESSAGES, 0));
    assert_eq!((pair[0].1, pair[1].1), (0, 0));
}

#[test]
fn a_thread_waits_for_members_of_several_groups_at_once() {
    let ring = Builder::new().joinable().capacity(8).heap().unwrap();
    let mut producer = ring.producer().unwrap();
    let mut members = ["one", "two"].map(|group| ring.join(group).consumer().unwrap());
    for number in 0..20u64 {
        let [one, two] = &mut members;
        let sent = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| wait_any(&mut [one, two], Some(Instant::now() + LONG)));
            asleep(&ring);
            producer.send_fast(&number.to_le_bytes(), NORMAL).unwrap();
            waiting.join().unwrap()
        });
        assert!(sent.is_some());
        for member in &mut members {
            assert_eq!(&*member.try_recv().unwrap(), &number.to_le_bytes());
        }
    }
    assert_eq!(members.map(|it| it.missed_wakes()), [0, 0]);
}

#[test]
fn closing_wakes_the_members_of_all_groups_and_each_receives_what_is_left_first() {
    for &by in EACH_WAY {
        let ring = Builder::new().joinable().capacity(8).heap().unwrap();
        let mut producer = ring.producer().unwrap();
        let members = ["one", "one", "two"].map(|group| member(&ring, group, WaitStrategy::Park));
        let waiting = members.map(|member| std::thread::spawn(move || receive(member, by)));
        asleep(&ring);
        producer.close();
        for it in waiting {
            assert_eq!(it.join().unwrap().unwrap_err(), RecvError::Closed, "{by:?}");
        }
    }
    let ring = Builder::new().groups(["late", "early"]).capacity(8).heap().unwrap();
    let mut producer = ring.producer().unwrap();
    producer.send_fast(&1u64.to_le_bytes(), NORMAL).unwrap();
    producer.close();
    for group in ["late", "early"] {
        let (number, mut member) = receive(ring.join(group).consumer().unwrap(), By::Call).unwrap();
        assert_eq!(number, 1);
        assert_eq!(member.recv().unwrap_err(), RecvError::Closed);
    }
}

/// Deserted is a ring in which no group has a living member.
#[test]
fn a_producer_is_deserted_when_no_group_has_a_living_member() {
    let ring = Builder::new().groups(["durable"]).joinable().capacity(2).heap().unwrap();
    let mut producer = ring.producer().unwrap();
    assert!(!producer.is_deserted(), "nobody has been there");
    let (durable, passing) =
        (ring.join("durable").consumer().unwrap(), ring.join("passing").consumer().unwrap());
    producer.end_when_deserted(true);
    assert_eq!(producer.living_consumers(), 2);
    drop(durable);
    assert!(!producer.is_deserted(), "the other group has a member");
    let soon = Instant::now() + Duration::from_millis(20);
    assert_eq!(producer.wait_deserted(Some(soon)), Err(SendError::TimedOut));
    // The durable group keeps the producer, which does not end while the other has a member.
    assert_eq!(producer.send_batch(&[b"kept"; 2], NORMAL), Ok(2));
    let soon = Instant::now() + Duration::from_millis(20);
    assert_eq!(producer.send_deadline(b"more", NORMAL, soon), Err(SendError::TimedOut));
    let leaving = std::thread::spawn(|| drop(passing));
    producer.wait_deserted(Some(Instant::now() + LONG)).unwrap();
    leaving.join().unwrap();
    assert!(producer.is_deserted());
    assert_eq!(producer.send_timeout(b"more", NORMAL, LONG), Err(SendError::Deserted));
    // Who comes goes on with what was kept.
    let mut again = ring.join("durable").consumer().unwrap();
    assert!(!producer.is_deserted());
    assert_eq!(&*again.try_recv().unwrap(), b"kept");
}

/// Where nobody keeps a place there is always room, so that nothing has to wait and end.
#[test]
fn a_producer_without_any_group_sends_on_and_learns_of_desertion_when_it_asks() {
    let ring = Builder::new().joinable().capacity(2).heap().unwrap();
    let mut producer = ring.producer().unwrap();
    producer.end_when_deserted(true);
    drop(ring.join("passing").consumer().unwrap());
    for _ in 0..10 {
        producer.send_timeout(b"unread", NORMAL, LONG).unwrap();
    }
    assert!(producer.is_deserted());
}

#[test]
fn members_that_are_killed_leave_a_producer_deserted() {
    let directory = stage();
    let builder = Builder::new().directory(directory.path()).groups(["a", "b"]).capacity(2);
    let ring = builder.create("ring").unwrap();
    let mut producer = ring.producer().unwrap();
    let start = |group: &str| {
        Child::live_after(|| {
            let ring = builder.open("ring").unwrap();
            let member = ring.join(group).consumer().unwrap();
            (ring, member)
        })
    };
    let children = [start("a"), start("b")];
    let [first, second] = children;
    first.kill();
    let soon = Instant::now() + Duration::from_millis(150);
    assert_eq!(producer.wait_deserted(Some(soon)), Err(SendError::TimedOut));
    second.kill();
    producer.wait_deserted(Some(Instant::now() + LONG)).unwrap();
}

#[test]
fn members_of_all_groups_are_told_when_the_last_producer_has_left() {
    for &by in EACH_WAY {
        let ring = Builder::new().joinable().capacity(8).heap().unwrap();
        let producer = ring.producer().unwrap();
        let waiting = ["one", "two"].map(|group| {
            let mut member = member(&ring, group, WaitStrategy::Park);
            member.end_when_deserted(true);
            std::thread::spawn(move || receive(member, by))
        });
        asleep(&ring);
        drop(producer);
        for it in waiting {
            assert_eq!(it.join().unwrap().unwrap_err(), RecvError::Deserted, "{by:?}");
        }
    }
}

/// A forked child has a private copy of the ring: what it does with it stays with it.
#[test]
fn a_forked_child_neither_takes_its_parents_messages_nor_ends_its_membership() {
    let directory = stage();
    let builder = Builder::new().directory(directory.path()).joinable().capacity(8);
    let ring = builder.create("ring").unwrap();
    let mut producer = ring.producer().unwrap();
    let mut member = Some(ring.join("group").exclusive().consumer().unwrap());
    producer.send_fast(&1u64.to_le_bytes(), NORMAL).unwrap();
    Child::start(|| {
        let mut inherited = member.take().unwrap();
        inherited.try_recv().unwrap();
        drop(inherited);
        assert!(ring.join("own").consumer().is_err(), "the ring was inherited");
        // A member of its own it becomes as every other process does.
        let ring = builder.open("ring").unwrap();
        assert!(ring.join("group").consumer().is_err(), "its parent has the group alone");
        drop(ring.join("own").consumer().unwrap());
    })
    .finish();
    let mut member = member.unwrap();
    let taken = ring.join("group").consumer().unwrap_err();
    assert!(taken.to_string().contains("group"), "{taken}");
    let group = ring.groups().find(|it| it.name.as_str() == "group").unwrap();
    assert_eq!((group.members, group.lag), (1, 1));
    assert_eq!(&*member.try_recv().unwrap(), &1u64.to_le_bytes());
}

/// How long waiters are watched.
const WATCHED: Duration = Duration::from_secs(3);

/// Counted in a process of its own for each way: four members of two groups, all idle, take less
/// than half a percent of a core each.
#[test]
fn idle_members_take_next_to_no_time_of_the_processor() {
    let children: Vec<_> = EACH_WAY
        .iter()
        .flat_map(|&by| [WaitStrategy::Park, WaitStrategy::SpinThenPark].map(|it| (by, it)))
        .map(|(by, strategy)| Child::start(move || idle(by, strategy)))
        .collect();
    children.into_iter().for_each(Child::finish);
}

fn idle(by: By, strategy: WaitStrategy) {
    let ring = Builder::new().joinable().capacity(8).heap().unwrap();
    let _producer = ring.producer().unwrap();
    let members = ["one", "one", "two", "two"].map(|group| member(&ring, group, strategy));
    let count = members.len() as u32;
    let before = cpu_time();
    let until = Instant::now() + WATCHED;
    std::thread::scope(|scope| {
        for mut member in members {
            scope.spawn(move || {
                let end = match by {
                    #[cfg(feature = "tokio")]
                    By::Task => idle_task(member),
                    by => wait(&mut member, by, until),
                };
                assert_eq!(end, Err(RecvError::TimedOut));
            });
        }
    });
    let used = cpu_time() - before;
    eprintln!("{by:?}, {strategy:?}: {used:?} of {WATCHED:?} for {count} members");
    assert!(used <= count * WATCHED / 200, "{by:?}, {strategy:?}: {used:?} of {WATCHED:?}");
}

#[cfg(feature = "tokio")]
fn idle_task(member: Consumer) -> Result<(), RecvError> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(async {
        let mut consumer = ultrafastring::AsyncConsumer::new(member).unwrap();
        match tokio::time::timeout(WATCHED, consumer.recv()).await {
            Ok(done) => done.map(drop),
            Err(_) => Err(RecvError::TimedOut),
        }
    })
}
