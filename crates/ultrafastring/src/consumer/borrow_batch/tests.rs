//! Batches that are held, released and left behind.

use super::*;
use crate::layout::locks::Place;
use crate::own::Own;
use crate::priority::PriorityClass;
use crate::ring::UltraFastRing;
use crate::settings::Sharing;

fn ring(side: Sharing, sent: u8) -> UltraFastRing {
    let builder = UltraFastRing::builder().capacity(8).max_message(100).consumer_side(side);
    let ring = builder.heap().unwrap();
    for number in 0..sent {
        // Every other one in a side buffer.
        let size = if number % 2 == 0 { 1 } else { 100 };
        ring.send_fast(&vec![number; size], PriorityClass::Normal).unwrap();
    }
    ring
}

/// The first byte of each, and whether it is marked.
fn received<S: Mode>(consumer: &mut Consumer<S>) -> Vec<(u8, bool)> {
    let mut bytes = Vec::new();
    core::iter::from_fn(|| {
        // What the dead left is looked for by who has been stuck for a while.
        let about = (0..100).find_map(|_| {
            let received = consumer.try_recv_into(&mut bytes).ok();
            if received.is_none() {
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
            received
        })?;
        Some((bytes[0], about.redelivered))
    })
    .collect()
}

/// As if its process were gone: what it shows stays, and its locks are given back.
fn die<S: Mode>(consumer: Consumer<S>) {
    let (segment, locker) = (consumer.entry.segment(), consumer.entry.locker());
    locker.unlock(segment, Place::Entry(consumer.entry.index()));
    if consumer.own() == Own::Exclusive {
        locker.unlock(segment, Place::Side(crate::Side::Consumer));
    }
    core::mem::forget(consumer);
}

fn is_released_in_part_and_the_rest_left<S: Mode>(
    ring: &UltraFastRing,
    take: impl Fn(&UltraFastRing) -> Consumer<S>,
) {
    let mut consumer = take(ring);
    let mut bytes = Vec::new();
    let mut messages = consumer.try_borrow_many(5).unwrap();
    assert_eq!(messages.len(), 5);
    for number in 0..3 {
        bytes.clear();
        let about = messages.append_next(&mut bytes).unwrap().unwrap();
        let size = if number % 2 == 0 { 1 } else { 100 };
        assert_eq!((about.size, &*bytes), (size, &*vec![number; size]));
    }
    messages.release_first(2);
    assert_eq!(messages.len(), 3);
    core::mem::forget(messages);
    die(consumer);
    let mut heir = take(ring);
    let again = [(2, true), (3, true), (4, true), (5, false)];
    assert_eq!(received(&mut heir), again);
    drop(heir);
    assert_eq!(ring.stats().redelivered, 3);
    assert_eq!((ring.stats().sent, ring.stats().received), (6, 6));
    assert_eq!(ring.positions().consumer_tail, 6);
    assert_eq!(ring.participants().count(), 1, "only the producer's thread handle");
}

#[test]
fn a_batch_on_a_shared_side_is_released_in_part_and_the_rest_left_to_the_next() {
    let ring = ring(Sharing::Shared, 6);
    is_released_in_part_and_the_rest_left(&ring, |ring| ring.consumer().unwrap());
}

#[test]
fn a_batch_on_an_exclusive_side_is_released_in_part_and_the_rest_left_to_the_next() {
    let ring = ring(Sharing::Exclusive, 6);
    is_released_in_part_and_the_rest_left(&ring, |ring| ring.exclusive_consumer().unwrap());
}

#[test]
fn a_batch_that_is_dropped_or_forgotten_is_released_read_or_not() {
    for forget in [false, true] {
        let ring = ring(Sharing::Shared, 6);
        let mut consumer = ring.consumer().unwrap();
        let mut messages = consumer.try_borrow_many(3).unwrap();
        messages.append_next(&mut Vec::new()).unwrap();
        if forget {
            core::mem::forget(messages);
        } else {
            drop(messages);
        }
        assert_eq!(received(&mut consumer), [(3, false), (4, false), (5, false)]);
        consumer.flush();
        let lane = ring.stats().classes[PriorityClass::Normal.index()];
        assert_eq!(lane.received, 6, "counted when it was taken");
        assert_eq!(ring.positions().consumer_tail, 6);
        assert_eq!(consumer.try_borrow_many(3).unwrap_err(), RecvError::Empty);
    }
}

#[test]
fn what_several_dead_left_comes_in_order_to_a_newcomer_and_frees_their_entries() {
    let ring = ring(Sharing::Shared, 6);
    let dead: Vec<_> = (0..2)
        .map(|_| {
            let mut consumer = ring.consumer().unwrap();
            core::mem::forget(consumer.try_borrow_many(2).unwrap());
            consumer
        })
        .collect();
    dead.into_iter().for_each(die);
    let mut newcomer = ring.consumer().unwrap();
    let order: Vec<_> = received(&mut newcomer).into_iter().map(|(number, _)| number).collect();
    // The oldest first; those of the others when they are looked for.
    assert_eq!(order[..2], [0, 1]);
    let mut sorted = order.clone();
    sorted.sort();
    assert_eq!(sorted, [0, 1, 2, 3, 4, 5]);
    drop(newcomer);
    assert_eq!(ring.participants().count(), 1, "only the producer's thread handle");
}

#[test]
fn a_dead_participant_that_left_nothing_is_gone_when_the_next_one_comes() {
    let ring = ring(Sharing::Shared, 2);
    let mut consumer = ring.consumer().unwrap();
    consumer.try_recv().unwrap();
    die(consumer);
    let entries = || ring.participants().filter(|it| it.side == crate::Side::Consumer).count();
    assert_eq!(entries(), 1);
    let producer = ring.producer().unwrap();
    assert_eq!(entries(), 0);
    drop(producer);
}

/// What an exclusive consumer may do with what is next.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Receives one, copied.
    Copy,
    /// Receives up to two, copied.
    CopyTwo,
    /// Borrows one and releases it.
    Borrow,
    /// Borrows up to three, and does with them what follows.
    Several(Then),
    /// Is dropped, and a successor goes on.
    Leave,
}

/// What happens to up to three that are borrowed.
#[derive(Clone, Copy, Debug)]
enum Then {
    Release,
    ReleaseOneByOne,
    ForgetAndGoOn,
    Die,
    ReleaseOneAndDie,
}

const ACTS: [Act; 9] = [
    Act::Copy,
    Act::CopyTwo,
    Act::Borrow,
    Act::Leave,
    Act::Several(Then::Release),
    Act::Several(Then::ReleaseOneByOne),
    Act::Several(Then::ForgetAndGoOn),
    Act::Several(Then::Die),
    Act::Several(Then::ReleaseOneAndDie),
];

/// A ring whose exclusive consumer dies and leaves as told, and what must be marked of it.
struct Marks {
    ring: UltraFastRing,
    /// The next to be received.
    next: u64,
    /// Messages below were in the hands of somebody who died.
    marked_below: u64,
    /// The first of those that a forgotten guard holds until the next act.
    forgotten: Option<u64>,
}

impl Marks {
    fn check(&mut self, acts: &[Act], number: u64, redelivered: bool) {
        assert_eq!(number, self.next, "{acts:?}");
        assert_eq!(redelivered, number < self.marked_below, "number {number} after {acts:?}");
        self.next += 1;
    }

    /// Does one thing; `None` if the handle is gone.
    fn step(
        &mut self,
        acts: &[Act],
        mut consumer: Consumer<crate::Exclusive>,
    ) -> Option<Consumer<crate::Exclusive>> {
        self.forgotten = None;
        match *acts.last()? {
            Act::Copy => {
                let message = consumer.try_recv().unwrap();
                self.check(acts, u64::from(message[0]), message.is_redelivered());
            }
            Act::CopyTwo => {
                let mut buffers = [[0; 1]; 2];
                let batch = consumer.recv_batch(&mut buffers).unwrap();
                for (about, buffer) in batch.iter().zip(buffers) {
                    self.check(acts, u64::from(buffer[0]), about.redelivered);
                }
            }
            Act::Borrow => {
                let message = consumer.try_borrow().unwrap();
                let number = message.as_inline().unwrap()[0];
                self.check(acts, u64::from(number), message.is_redelivered());
            }
            Act::Leave => return None,
            Act::Several(then) => {
                let first = self.next;
                let mut messages = consumer.try_borrow_many(3).unwrap();
                let held = messages.len() as u64;
                let mut bytes = Vec::new();
                while let Some(about) = messages.append_next(&mut bytes).unwrap() {
                    self.check(acts, u64::from(*bytes.last().unwrap()), about.redelivered);
                }
                match then {
                    Then::Release => drop(messages),
                    Then::ReleaseOneByOne => (0..held).for_each(|_| messages.release_first(1)),
                    Then::ForgetAndGoOn => {
                        core::mem::forget(messages);
                        self.forgotten = Some(first);
                    }
                    Then::Die | Then::ReleaseOneAndDie => {
                        let released = u64::from(matches!(then, Then::ReleaseOneAndDie));
                        messages.release_first(released as usize);
                        core::mem::forget(messages);
                        die(consumer);
                        if released < held {
                            self.marked_below = self.marked_below.max(first + held);
                        }
                        self.next = first + released;
                        return None;
                    }
                }
            }
        }
        Some(consumer)
    }
}

#[test]
fn on_an_exclusive_side_what_the_dead_held_and_nothing_else_is_marked_whatever_comes_between() {
    // Miri takes too long for all of them.
    let acts_in_a_row = if cfg!(miri) { 1 } else { 4 };
    const SENT: u64 = 16;
    for run in 0..ACTS.len().pow(acts_in_a_row) {
        let builder = UltraFastRing::builder().capacity(SENT as usize).participants(4);
        let ring = builder.exclusive_consumer().heap().unwrap();
        for number in 0..SENT as u8 {
            ring.send_fast(&[number], PriorityClass::Normal).unwrap();
        }
        let mut marks = Marks { ring, next: 0, marked_below: 0, forgotten: None };
        let mut consumer = None;
        let mut acts = Vec::new();
        for turn in 0..acts_in_a_row {
            acts.push(ACTS[run / ACTS.len().pow(turn) % ACTS.len()]);
            let handle =
                consumer.take().unwrap_or_else(|| marks.ring.exclusive_consumer().unwrap());
            consumer = marks.step(&acts, handle);
        }
        if let Some(consumer) = consumer {
            die(consumer);
            if let Some(first) = marks.forgotten {
                marks.marked_below = marks.marked_below.max(marks.next);
                marks.next = first;
            }
        }
        let mut heir = marks.ring.exclusive_consumer().unwrap();
        while let Ok(message) = heir.try_recv() {
            marks.check(&acts, u64::from(message[0]), message.is_redelivered());
        }
        assert_eq!(marks.next, SENT, "{acts:?}");
        drop(heir);
        let left = marks.ring.participants().filter(|it| it.hold.is_some()).count();
        assert_eq!(left, 0, "{acts:?}");
    }
}

/// Numbers 0 to 4 are in the hands of one who died; a successor receives some of them and is gone,
/// and the next has the rest marked.
fn stays_marked_after(receives: impl Fn(&mut Consumer<crate::Exclusive>)) {
    for dies in [false, true] {
        let ring = ring(Sharing::Exclusive, 6);
        let mut dead = ring.exclusive_consumer().unwrap();
        core::mem::forget(dead.try_borrow_many(5).unwrap());
        die(dead);
        let mut successor = ring.exclusive_consumer().unwrap();
        receives(&mut successor);
        if dies {
            die(successor);
        } else {
            drop(successor);
        }
        let rest = received(&mut ring.exclusive_consumer().unwrap());
        assert!(rest.len() > 1, "{rest:?}");
        for (number, redelivered) in rest {
            assert_eq!(redelivered, number < 5, "number {number}, dies: {dies}");
        }
    }
}

#[test]
fn what_a_dead_exclusive_consumer_held_stays_marked_when_its_successor_borrows_some_of_it() {
    stays_marked_after(|successor| drop(successor.try_borrow().unwrap()));
}

#[test]
fn what_a_dead_exclusive_consumer_held_stays_marked_when_its_successor_borrows_a_batch_of_it() {
    stays_marked_after(|successor| drop(successor.try_borrow_many(2).unwrap()));
}

#[test]
fn what_a_dead_exclusive_consumer_held_stays_marked_when_its_successor_borrows_and_copies() {
    stays_marked_after(|successor| {
        drop(successor.try_borrow().unwrap());
        successor.try_recv_into(&mut Vec::new()).unwrap();
    });
}

#[test]
fn what_a_dead_exclusive_consumer_held_stays_marked_when_its_successor_holds_some_of_it() {
    stays_marked_after(|successor| core::mem::forget(successor.try_borrow().unwrap()));
}
