//! Groups that may be evicted, and are not in the way.

#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

use std::thread::sleep;
use std::time::Duration;

use ultrafastring::layout::ROOM_FOR_GROUPS;
use ultrafastring::{Builder, GroupState, PriorityClass, Slow, Start};

const NORMAL: PriorityClass = PriorityClass::Normal;

#[test]
fn a_group_that_is_not_in_the_way_of_a_batch_is_not_evicted() {
    for exclusive in [false, true] {
        let mut builder = Builder::new().joinable().capacity(8);
        if exclusive {
            builder = builder.exclusive_producer();
        }
        let ring = builder.heap().unwrap();
        let mut producer = ring.producer().unwrap();
        let slow = Slow::Evict { after: Duration::from_millis(1) };
        let join = ring.join("ahead").start(Start::Position(1_000)).slow(slow);
        let _ahead = join.consumer().unwrap();
        for _ in 0..5 {
            // More than the ring has room for, and nobody is waited for.
            producer.try_send_many(&[[0; 8]; 20], NORMAL).unwrap();
            sleep(Duration::from_millis(2));
        }
        let state = ring.groups().next().unwrap().state;
        assert_eq!(state, GroupState::Open, "exclusive: {exclusive}");
    }
}

#[test]
fn a_group_that_gets_the_row_of_one_that_was_evicted_has_missed_nothing() {
    let ring = Builder::new().joinable().capacity(8).heap().unwrap();
    let mut producer = ring.producer().unwrap();
    let slow = Slow::Evict { after: Duration::from_millis(1) };
    let old = ring.join("old").slow(slow).consumer().unwrap();
    for number in 0..50u64 {
        producer.send(&number.to_le_bytes(), NORMAL).unwrap();
    }
    assert_eq!(ring.groups().next().unwrap().state, GroupState::Evicted);
    drop(old);
    // All other rows, of groups that are far ahead and hold nobody back.
    for other in 1..ROOM_FOR_GROUPS {
        let name = format!("other {other}");
        let join = ring.join(&name).durable().start(Start::Position(1_000));
        drop(join.consumer().unwrap());
    }
    let mut new = ring.join("new").start(Start::Position(45)).consumer().unwrap();
    assert_eq!(ring.groups().count(), ROOM_FOR_GROUPS);
    assert_eq!(*new.try_recv().unwrap(), 45u64.to_le_bytes());
    let received = |name: &str| ring.groups().find(|it| it.name.as_str() == name).unwrap().received;
    assert_eq!((received("new"), received("other 1")), (1, 0));
}
