//! The memory of side buffers where there is less than they could take: what consumed messages
//! occupied is used again, by whoever sends next, and nobody is ended by a signal.

#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod common;
#[path = "common/shapes.rs"]
mod shapes;

use std::os::unix::fs::MetadataExt;

use common::memory::with_little_memory;
use common::stage;
use shapes::{Shape, Shared, on_each_shape};
use tempfile::TempDir;
use ultrafastring::{
    Builder, Consumer, Mode, PriorityClass, Producer, SendError, SideMemory, UltraFastRing,
};

const NORMAL: PriorityClass = PriorityClass::Normal;
const NAME: &str = "memory";
const PAGE: usize = 4_096;
const MIB: usize = 1 << 20;
/// What there is for a ring and all that it needs.
const THERE_IS: usize = 4 * MIB;

/// A ring whose side buffers could take far more than there is.
fn ring<S: Shape>(directory: &TempDir, capacity: usize) -> UltraFastRing {
    builder::<S>(directory, capacity).create(NAME).unwrap()
}

fn builder<S: Shape>(directory: &TempDir, capacity: usize) -> Builder {
    let builder = Builder::new().directory(directory.path()).capacity(capacity).participants(8);
    S::of(builder).max_message(MIB).side_memory(SideMemory::Overcommitted)
}

/// `size` bytes of which each page is told from those of other messages.
fn message(number: usize, size: usize) -> Vec<u8> {
    let mut bytes = vec![number as u8; size];
    for (page, bytes) in bytes.chunks_mut(PAGE).enumerate() {
        bytes[0] = (number + page) as u8;
    }
    bytes
}

fn pass<P: Mode, C: Mode>(
    (producer, consumer): (&mut Producer<P>, &mut Consumer<C>),
    number: usize,
    size: usize,
) {
    producer.send(&message(number, size), NORMAL).unwrap();
    let mut buffer = Vec::new();
    consumer.try_recv_into(&mut buffer).unwrap();
    assert!(buffer == message(number, size), "message {number} is not what was sent");
}

fn what_consumed_messages_occupied_is_there_for_the_next<S: Shape>() {
    let directory = stage();
    with_little_memory(directory.path(), THERE_IS, || {
        let ring = ring::<S>(&directory, 16);
        let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
        for number in 0..100 {
            pass((&mut producer, &mut consumer), number, MIB);
        }
        pass((&mut producer, &mut consumer), 100, 1_000);
        // As many at once as fit.
        for number in 0..3 {
            producer.send(&message(number, MIB), NORMAL).unwrap();
        }
        let mut buffer = Vec::new();
        for number in 0..3 {
            consumer.try_recv_into(&mut buffer).unwrap();
            assert!(buffer == message(number, MIB));
        }
    });
}
on_each_shape!(what_consumed_messages_occupied_is_there_for_the_next, needs(no_groups));

fn pages_of_many_small_messages_make_a_large_one_possible_and_the_other_way_round<S: Shape>() {
    let directory = stage();
    with_little_memory(directory.path(), THERE_IS, || {
        let ring = ring::<S>(&directory, 1_024);
        let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
        let mut buffer = Vec::new();
        // The slots and entries of several lanes take some of it.
        let several = if S::has_lanes() { 650 } else { 700 };
        for round in 0..6 {
            // Each takes a page of a buffer of its own.
            for number in 0..several {
                let sent = producer.send_fast(&message(number, PAGE), NORMAL);
                assert_eq!(sent, Ok(()), "round {round}, message {number}");
            }
            for number in 0..several {
                consumer.try_recv_into(&mut buffer).unwrap();
                assert!(buffer == message(number, PAGE), "round {round}, message {number}");
            }
            consumer.flush();
            pass((&mut producer, &mut consumer), round, MIB);
            consumer.flush();
        }
    });
}
on_each_shape!(
    pages_of_many_small_messages_make_a_large_one_possible_and_the_other_way_round,
    needs(no_groups)
);

fn batches_and_reservations_find_it_too<S: Shape>() {
    let directory = stage();
    with_little_memory(directory.path(), THERE_IS, || {
        let ring = ring::<S>(&directory, 16);
        let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
        let mut buffer = Vec::new();
        for round in 0..40 {
            let batch = [message(round, MIB), message(round + 1, MIB)];
            let mut sent = 0;
            while sent < batch.len() {
                match producer.try_send_many(&batch[sent..], NORMAL) {
                    Ok(some) => sent += some,
                    Err(error) => assert!(error.is_full(), "round {round}: {error}"),
                }
                while consumer.try_recv_into(&mut buffer).is_ok() {}
            }
            let place = loop {
                while consumer.try_recv_into(&mut buffer).is_ok() {}
                match producer.try_reserve(MIB, NORMAL) {
                    Ok(place) => break place,
                    Err(error) => assert!(error.is_full(), "round {round}: {error}"),
                }
            };
            let mut place = place;
            place.copy_from_slice(&message(round, MIB));
            place.commit();
            consumer.try_recv_into(&mut buffer).unwrap();
            assert!(buffer == message(round, MIB));
        }
    });
}
on_each_shape!(batches_and_reservations_find_it_too, needs(no_groups));

fn a_process_that_had_the_memory_before_asks_for_it_again_and_gets_no_signal<S: Shape>() {
    let directory = stage();
    with_little_memory(directory.path(), THERE_IS, || {
        drop(ring::<S>(&directory, 8));
        // As processes are: each has the file mapped for itself, and its own idea of what is there.
        let rings = [(); 2].map(|()| builder::<S>(&directory, 8).open(NAME).unwrap());
        for round in 0..30 {
            let ring = &rings[round % 2];
            let (mut producer, mut consumer) = (S::producer(ring), S::consumer(&rings[0]));
            for number in 0..1 + round % 3 {
                pass((&mut producer, &mut consumer), number, MIB);
            }
        }
    });
}
on_each_shape!(
    a_process_that_had_the_memory_before_asks_for_it_again_and_gets_no_signal,
    needs(no_groups)
);

fn a_held_message_keeps_its_memory<S: Shape>() {
    let directory = stage();
    with_little_memory(directory.path(), THERE_IS, || {
        let ring = ring::<S>(&directory, 16);
        let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
        for round in 0..8 {
            for number in 0..3 {
                producer.send(&message(round + number, MIB), NORMAL).unwrap();
            }
            let held = consumer.try_borrow().unwrap();
            let refused = producer.send_fast(&message(9, MIB), NORMAL).unwrap_err();
            assert!(matches!(refused, SendError::NoSpace | SendError::Full), "{refused}");
            assert!(held.to_vec() == message(round, MIB));
            drop(held);
            let mut buffer = Vec::new();
            for number in 1..3 {
                consumer.try_recv_into(&mut buffer).unwrap();
                assert!(buffer == message(round + number, MIB));
            }
            // What was abandoned for want of memory is passed over.
            assert!(consumer.try_recv().is_err());
        }
    });
}
on_each_shape!(a_held_message_keeps_its_memory, needs(no_groups));

fn a_call_that_waits_waits_for_the_memory_of_messages_in_flight<S: Shape>() {
    let directory = stage();
    with_little_memory(directory.path(), THERE_IS, || {
        let ring = ring::<S>(&directory, 64);
        let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
        const COUNT: usize = 40;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..COUNT {
                    let mut buffer = Vec::new();
                    consumer.recv_into(&mut buffer).unwrap();
                    assert!(buffer == message(number, MIB), "message {number}");
                }
            });
            for number in 0..COUNT {
                producer.send(&message(number, MIB), NORMAL).unwrap();
            }
        });
        while consumer.try_recv().is_ok() {}
        consumer.flush();
        // Not where nobody in the ring has what is missing.
        drop((ring, producer, consumer));
        Builder::new().directory(directory.path()).remove(NAME).unwrap();
        let ring = self::ring::<S>(&directory, 64);
        let _ = std::fs::write(directory.path().join("other"), vec![0; THERE_IS]);
        let mut producer = S::producer(&ring);
        // Nor later: what was abandoned for want of memory has none to give.
        for _ in 0..3 {
            assert_eq!(producer.send(&message(0, MIB), NORMAL), Err(SendError::NoSpace));
        }
    });
}
on_each_shape!(a_call_that_waits_waits_for_the_memory_of_messages_in_flight, needs(no_groups));

#[test]
fn calls_on_the_ring_that_wait_wait_for_the_memory_of_messages_in_flight() {
    let directory = stage();
    with_little_memory(directory.path(), THERE_IS, || {
        let ring = ring::<shapes::Between<Shared, Shared>>(&directory, 64);
        const COUNT: usize = 40;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut buffer = Vec::new();
                for number in 0..COUNT {
                    ring.recv_into(&mut buffer).unwrap();
                    assert!(buffer == message(number, MIB), "message {number}");
                }
            });
            for number in 0..COUNT / 2 {
                ring.send(&message(number, MIB), NORMAL).unwrap();
            }
            let rest: Vec<_> = (COUNT / 2..COUNT).map(|number| message(number, MIB)).collect();
            ring.send_many(&rest, NORMAL).unwrap();
        });
        while ring.try_recv().is_ok() {}
        // Nobody receives these.
        let sent = (0..8).take_while(|&number| {
            let soon = std::time::Duration::from_millis(20);
            ring.send_timeout(&message(number, MIB), NORMAL, soon) == Ok(())
        });
        assert_eq!(sent.count(), 3);
        // Not where nobody in the ring has what is missing.
        let mut buffer = Vec::new();
        while ring.try_recv_into(&mut buffer).is_ok() {}
        drop(ring);
        Builder::new().directory(directory.path()).remove(NAME).unwrap();
        let ring = self::ring::<shapes::Between<Shared, Shared>>(&directory, 64);
        let _ = std::fs::write(directory.path().join("other"), vec![0; THERE_IS]);
        for _ in 0..3 {
            assert_eq!(ring.send(&message(0, MIB), NORMAL), Err(SendError::NoSpace));
        }
    });
}

fn whether_it_is_worth_waiting_is_known_until_the_next_message_is_sent<S: Shape>() {
    let directory = stage();
    with_little_memory(directory.path(), THERE_IS, || {
        let ring = ring::<S>(&directory, 16);
        let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
        let soon = || Some(std::time::Instant::now() + std::time::Duration::from_millis(5));
        assert!(!producer.may_wait(SendError::NoSpace));
        for number in 0..3 {
            producer.send(&message(number, MIB), NORMAL).unwrap();
        }
        let refused = producer.send_fast(&message(3, MIB), NORMAL).unwrap_err();
        assert!(producer.may_wait(refused), "{refused}");
        assert_eq!(producer.wait(NORMAL, soon()), Err(SendError::TimedOut));
        let mut buffer = Vec::new();
        consumer.try_recv_into(&mut buffer).unwrap();
        consumer.flush();
        assert_eq!(producer.wait(NORMAL, None), Ok(()));
        // For a small one no memory is needed.
        producer.send_fast(b"small", NORMAL).unwrap();
        assert!(!producer.may_wait(SendError::NoSpace));
        assert_eq!(producer.wait(NORMAL, None), Ok(()));
    });
}
on_each_shape!(whether_it_is_worth_waiting_is_known_until_the_next_message_is_sent, needs(plain));

fn buffers_smaller_than_a_page_share_what_there_is<S: Shape>() {
    let directory = stage();
    with_little_memory(directory.path(), THERE_IS, || {
        // 8 MiB of buffers.
        let builder = S::of(Builder::new().directory(directory.path())).participants(8);
        let builder = builder.capacity(1 << 13).max_message(1_000);
        let ring = builder.side_memory(SideMemory::Overcommitted).create(NAME).unwrap();
        let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
        for number in 0..S::fewer(20_000) as usize {
            pass((&mut producer, &mut consumer), number, 1_000);
        }
        let taken = std::fs::metadata(ring.path().unwrap()).unwrap().blocks() * 512;
        assert!(taken <= THERE_IS as u64);
    });
}
on_each_shape!(buffers_smaller_than_a_page_share_what_there_is, needs(no_groups));
