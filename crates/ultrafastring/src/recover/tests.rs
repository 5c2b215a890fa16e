//! Recovery as the calls that lead to it do it, and of those who are said to be dead.

use core::cell::Cell;

use super::adopt::{abandon_for_the_dead, adopt_consumer};
use super::liveness::Liveness;
use crate::consumer::Consumer;
use crate::error::RingError;
use crate::layout::group::Tag;
use crate::layout::locks::Place;
use crate::layout::participant::{Identity, Role};
use crate::layout::span::Span;
use crate::mode::{Mode, Shared};
use crate::priority::PriorityClass;
use crate::ring::UltraFastRing;
use crate::segment::Segment;
use crate::settings::{Redelivery, Sharing, Side};
use crate::sync::Ordering;
use crate::waiting::bell;

const NORMAL: PriorityClass = PriorityClass::Normal;

fn wakes(ring: &UltraFastRing) -> u32 {
    ring.segment().control().bell(Side::Consumer).wakes.load(Ordering::Relaxed)
}

/// A ring in which a producer died that had claimed a position.
fn claimed_by_a_dead_producer() -> UltraFastRing {
    let ring = UltraFastRing::new(8);
    let mut dead = ring.producer().unwrap();
    core::mem::forget(dead.try_reserve(1, NORMAL).unwrap());
    let entry = &dead.entry;
    entry.locker().unlock(entry.segment(), Place::Entry(entry.index()));
    core::mem::forget(dead);
    ring
}

fn die<S: Mode>(consumer: Consumer<S>) {
    let entry = &consumer.entry;
    entry.locker().unlock(entry.segment(), Place::Entry(entry.index()));
    core::mem::forget(consumer);
}

#[test]
fn a_consumer_that_sleeps_is_told_of_slots_that_a_newcomer_or_a_repair_abandons() {
    let finishes: [fn(&UltraFastRing); 2] = [
        |ring| assert_eq!(ring.repair().unwrap().abandoned, 1),
        |ring| core::mem::forget(ring.producer().unwrap()),
    ];
    for finish in finishes {
        let ring = claimed_by_a_dead_producer();
        bell::arm(ring.segment(), Side::Consumer);
        let before = wakes(&ring);
        finish(&ring);
        assert_ne!(wakes(&ring), before);
        // And of nothing else.
        bell::arm(ring.segment(), Side::Consumer);
        let before = wakes(&ring);
        finish_again(&ring);
        assert_eq!(wakes(&ring), before);
    }
}

fn finish_again(ring: &UltraFastRing) {
    assert_eq!(ring.repair().unwrap().abandoned, 0);
    core::mem::forget(ring.producer().unwrap());
}

#[test]
fn a_consumer_that_sleeps_is_told_of_an_orphan_that_a_repair_abandons() {
    let ring = claimed_by_a_dead_producer();
    for index in 0..ring.segment().entries_used() {
        ring.segment().participant(index).clear_intent();
    }
    bell::arm(ring.segment(), Side::Consumer);
    let before = wakes(&ring);
    assert_eq!(ring.repair().unwrap().abandoned, 1);
    assert_ne!(wakes(&ring), before);
}

#[test]
fn a_newcomer_announces_what_a_dead_consumer_had_released_or_held_in_vain() {
    let leaves: [fn(&mut Consumer<Shared>); 2] = [
        |consumer| core::mem::forget(consumer.try_borrow().unwrap()),
        |consumer| assert!(consumer.try_recv().is_ok()),
    ];
    // With entries to spare, and with none but what the dead one left.
    for (participants, leave) in [(8, leaves[0]), (8, leaves[1]), (2, leaves[0]), (2, leaves[1])] {
        let builder = UltraFastRing::builder().capacity(64).redelivery(Redelivery::Discard);
        let ring = builder.participants(participants).heap().unwrap();
        for _ in 0..2 {
            ring.send_fast(b"x", NORMAL).unwrap();
        }
        let mut dead = ring.shared_consumer().unwrap();
        dead.try_recv().unwrap();
        leave(&mut dead);
        die(dead);
        // As if it had announced nothing.
        ring.segment().cursor().consumer_tail.store(0, Ordering::Relaxed);
        core::mem::forget(ring.producer().unwrap());
        let positions = ring.positions();
        assert_eq!((positions.consumer_head, positions.consumer_tail), (2, 2));
    }
}

/// Knows the dead whom nobody has taken over, one bit for each entry.
struct Told(Cell<u64>);

impl Liveness for Told {
    fn try_take(&self, segment: &Segment, index: usize) -> Result<bool, RingError> {
        Ok(self.try_adopt(segment, index))
    }

    fn try_adopt(&self, _: &Segment, index: usize) -> bool {
        let dead = self.0.get();
        self.0.set(dead & !(1 << index));
        dead >> index & 1 == 1
    }

    fn give_back(&self, _: &Segment, index: usize) {
        self.0.set(self.0.get() | 1 << index);
    }

    fn lives(&self, _: &Segment, index: usize) -> bool {
        self.0.get() >> index & 1 == 0
    }
}

/// A ring with one position claimed, and two participants of `side` who may have claimed it.
fn claimed_by_one_of_two(side: Side) -> UltraFastRing {
    let ring = UltraFastRing::new(8);
    let segment = ring.segment();
    for index in 0..2 {
        let participant = segment.participant(index);
        segment.note_entry_used(index);
        participant.introduce(Role { side, sharing: Sharing::Shared }, &Identity::default());
        match side {
            Side::Producer => participant.show_intent(Span::new(0, 1)),
            Side::Consumer => participant.show_hold(Span::new(0, 1)),
        }
    }
    segment.lane().counters().producer_head.store(1, Ordering::Relaxed);
    if side == Side::Consumer {
        segment.cursor().consumer_head.store(1, Ordering::Relaxed);
    }
    ring
}

#[test]
fn a_slot_is_not_abandoned_while_another_who_may_have_claimed_it_lives() {
    let ring = claimed_by_one_of_two(Side::Producer);
    let told = Told(Cell::new(0b01));
    assert_eq!(abandon_for_the_dead(ring.segment(), &told, 2, 0), 0);
    assert!(ring.segment().participant(0).shown_intent().is_some(), "its work is not finished");
    told.0.set(0b11);
    assert_eq!(abandon_for_the_dead(ring.segment(), &told, 2, 0), 1);
    assert_eq!(told.0.get(), 0b11, "whoever was taken over was given back");
    assert!((0..2).all(|index| ring.segment().participant(index).role().is_none()));
}

#[test]
fn a_message_is_not_delivered_again_while_another_who_may_have_claimed_it_lives() {
    let ring = claimed_by_one_of_two(Side::Consumer);
    let told = Told(Cell::new(0b01));
    assert!(adopt_consumer(ring.segment().all_readers(), &told, 2).adopted.is_none());
    assert_eq!(told.0.get(), 0b01, "it was given back");
    told.0.set(0b11);
    let adopted = adopt_consumer(ring.segment().all_readers(), &told, 2).adopted.unwrap();
    assert_eq!((adopted.index, adopted.next, adopted.end), (0, 0, 1));
    assert_eq!(told.0.get(), 0b10, "it stays taken while its message is delivered");
}

#[test]
fn who_takes_a_dead_producers_entry_leaves_the_cursors_of_groups_alone() {
    let builder = UltraFastRing::builder().groups(["first"]).capacity(8).participants(1);
    let ring = builder.heap().unwrap();
    let mut dead = ring.producer().unwrap();
    dead.send_fast(b"x", NORMAL).unwrap();
    let entry = &dead.entry;
    entry.locker().unlock(entry.segment(), Place::Entry(entry.index()));
    core::mem::forget(dead);
    // As while the first row is opened in a generation whose last bits are zeros: the tail is of
    // this generation, the head still of the one before.
    let cursor = ring.segment().cursor_of(0);
    cursor.consumer_tail.store(Tag::of(128).at(1), Ordering::Relaxed);
    cursor.consumer_head.store(Tag::of(127).at(1), Ordering::Relaxed);
    let _heir = ring.producer().unwrap();
    let tail = cursor.consumer_tail.load(Ordering::Relaxed);
    assert_eq!(Tag::of(128).position(tail), Some(1));
}
