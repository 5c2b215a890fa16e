//! The races of groups and tail readers on the real code: a producer that raises the write window
//! against one who opens a group, and against a tail reader; one that evicts a group against its
//! member. As `loom.rs`, on rings of one slot, so that each message overwrites the last.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=2 cargo test --release -p ultrafastring \
//!     --no-default-features --features alloc --test loom_groups
//! ```
//!
//! A group that may be evicted is let go of at the first look that finds it in the way: models have
//! no clock. `docs/orderings.md` says which scene fails without which fence.

#![cfg(loom)]

#[path = "common/model.rs"]
mod model;

use std::sync::Arc;
use std::time::Duration;

use model::{NORMAL, check, message, number, receive_some, send_some, spawn};
use ultrafastring::{
    Builder, Consumer, Exclusive, GroupState, Producer, RecvError, Slow, Start, Timestamps,
    UltraFastRing,
};

/// A ring that keeps the last message: for a producer, which is alone, and a member.
fn one_slot() -> UltraFastRing {
    let builder = Builder::new().capacity(1).participants(2).timestamps(Timestamps::Off);
    builder.joinable().exclusive_producer().heap().unwrap()
}

/// A ring whose first message was sent, its producer, and the member of a group that may be
/// evicted.
fn one_slot_of_a_slow_group() -> (UltraFastRing, Producer<Exclusive>, Consumer) {
    let ring = one_slot();
    let mut producer = ring.exclusive_producer().unwrap();
    let slow = Slow::Evict { after: Duration::ZERO };
    let member = ring.join("slow").slow(slow).consumer().unwrap();
    producer.send_fast(&message(1), NORMAL).unwrap();
    (ring, producer, member)
}

/// Sends the second message. A group that moves during the first attempt is not evicted by it.
fn send_second(producer: &mut Producer<Exclusive>) {
    assert_eq!(send_some(producer, &[2], 2), [2]);
}

/// What a member receives until there is nothing more, and how many it is told to have missed.
fn receive_all(member: &mut Consumer) -> (Vec<u8>, u64) {
    let (mut seen, mut missed) = (Vec::new(), 0);
    loop {
        match member.try_recv() {
            Ok(message) => seen.push(number(&message)),
            Err(RecvError::Evicted { missed: more }) => missed += more,
            Err(error) => {
                assert_eq!(error, RecvError::Empty);
                return (seen, missed);
            }
        }
    }
}

/// Of a producer that raises the window and one who opens a group, one sees what the other did.
#[test]
fn what_a_group_starts_with_is_not_overwritten() {
    check(|| {
        let ring = one_slot();
        let mut producer = ring.exclusive_producer().unwrap();
        let sending = spawn(move || (send_some(&mut producer, &[1, 2], 2), producer));
        let mut member = ring.join("late").start(Start::Oldest).consumer().unwrap();
        let mut seen = receive_some(&mut member, 1);
        let (mut sent, mut producer) = sending.join().unwrap();
        seen.extend(receive_all(&mut member).0);
        // A start that is overwritten already would hold the producer back for ever.
        let then = send_some(&mut producer, &[3], 1);
        assert_eq!(then, [3], "the group stands where nothing is");
        seen.extend(receive_all(&mut member).0);
        sent.extend(then);
        assert!(seen.ends_with(&[3]) && sent.ends_with(&seen), "{seen:?} of {sent:?}");
        drop((member, producer));
    });
}

/// A tail reader that copies what is written in the next lap sees the window that allowed it.
#[test]
fn a_tail_reader_takes_no_copy_of_the_next_lap() {
    check(|| {
        let ring = one_slot();
        let mut producer = ring.exclusive_producer().unwrap();
        producer.send_fast(&message(1), NORMAL).unwrap();
        let mut tail = ring.tail(Start::Position(0)).unwrap();
        let sending = spawn(move || {
            producer.send_fast(&message(2), NORMAL).unwrap();
            producer
        });
        let mut buffer = Vec::new();
        let first = tail.try_next(&mut buffer);
        match first {
            Ok(received) => assert_eq!((received.position(), number(&buffer)), (0, 1)),
            Err(error) => assert_eq!(error, RecvError::Overrun { missed: 1 }),
        }
        let producer = sending.join().unwrap();
        let then = tail.try_next(&mut buffer).unwrap();
        assert_eq!((then.position(), number(&buffer)), (1, 2));
        drop(producer);
    });
}

/// A member that copies what is written after its group was evicted sees that it was.
#[test]
fn an_evicted_member_takes_no_copy_of_what_is_written_then() {
    check(|| {
        let (_ring, mut producer, mut member) = one_slot_of_a_slow_group();
        let sending = spawn(move || {
            send_second(&mut producer);
            producer
        });
        let (mut seen, mut missed) = (Vec::new(), 0);
        match member.try_recv() {
            Ok(message) => seen.push(number(&message)),
            Err(RecvError::Evicted { missed: more }) => missed += more,
            Err(error) => assert_eq!(error, RecvError::Empty),
        }
        let producer = sending.join().unwrap();
        let rest = receive_all(&mut member);
        seen.extend(rest.0);
        missed += rest.1;
        assert!(seen.is_sorted());
        assert_eq!(seen.len() as u64 + missed, 2, "{seen:?}");
        drop(producer);
    });
}

/// A group that has received all is granted for, and not evicted, though its member has not
/// granted yet.
#[test]
fn a_group_that_has_received_all_is_not_evicted() {
    check(|| {
        let (ring, mut producer, mut member) = one_slot_of_a_slow_group();
        let receiving = spawn(move || (receive_some(&mut member, 1), member));
        let received = ring.groups().any(|group| group.consumer_head == 1);
        if received {
            // At once: what is to be granted for the group is all that it needs.
            assert_eq!(send_some(&mut producer, &[2], 1), [2]);
        } else {
            send_second(&mut producer);
        }
        let evicted = ring.groups().any(|group| group.state == GroupState::Evicted);
        assert!(!(received && evicted), "it had received all");
        let (_, member) = receiving.join().unwrap();
        drop((producer, member));
    });
}

/// Of the last member that leaves a passing group and one that joins it, one sees the other: who is
/// in it in the end has it open.
#[test]
fn a_group_that_somebody_joins_is_not_closed_by_the_last_that_leaves() {
    check(|| {
        let ring = Arc::new(one_slot());
        let last = ring.join("passing").consumer().unwrap();
        let joining = spawn({
            let ring = Arc::clone(&ring);
            move || ring.join("passing").consumer()
        });
        drop(last);
        // It may find somebody at the group's row, who has left by then.
        let joined = joining.join().unwrap();
        let open = ring.groups().any(|group| group.state == GroupState::Open);
        assert_eq!(open, joined.is_ok(), "{joined:?}");
    });
}
