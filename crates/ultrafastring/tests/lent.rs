//! Rings in lent memory: what is left without the standard library and without an allocator.
//!
//! These tests build and hold under every set of features:
//!
//! ```text
//! cargo test -p ultrafastring --no-default-features
//! cargo test -p ultrafastring --no-default-features --features alloc
//! ```

#![cfg(not(loom))]

mod common;
#[path = "common/shapes.rs"]
mod shapes;

use common::{Numbered, patiently};
use shapes::{Shape, on_each_shape};
use ultrafastring::{
    Builder, Invalid, Page, PriorityClass, RecvError, RingError, SendError, UltraFastRing,
};

fn lend(builder: &Builder) -> UltraFastRing {
    builder.lent(vec![Page::ZERO; builder.pages()].leak()).unwrap()
}

fn a_stream_through_lent_memory_arrives_whole_and_in_order<S: Shape>() {
    const MESSAGES: u64 = 10_000;
    let ring = lend(&S::builder().capacity(16));
    let _second = S::read_second(&ring);
    let mut producer = S::producer(&ring);
    let mut consumer = S::consumer(&ring);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..MESSAGES {
                let message = Numbered::new(0, number);
                patiently("room", || producer.try_send(message, PriorityClass::Normal).ok());
            }
        });
        for number in 0..MESSAGES {
            let message = patiently("a message", || consumer.try_recv().ok());
            assert_eq!(Numbered::read(&message), (0, number));
        }
    });
    assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty);
}
#[cfg(feature = "alloc")]
on_each_shape!(a_stream_through_lent_memory_arrives_whole_and_in_order);
// Handles of a ring with lanes need an allocator.
#[cfg(not(feature = "alloc"))]
on_each_shape!(a_stream_through_lent_memory_arrives_whole_and_in_order, needs(one_lane));

#[test]
fn many_threads_share_a_ring_in_lent_memory() {
    const THREADS: u32 = 3;
    const EACH: u64 = 5_000;
    let ring = lend(&Builder::new().capacity(8).participants(8));
    let received = std::sync::atomic::AtomicU64::new(0);
    let total = u64::from(THREADS) * EACH;
    let mut all: Vec<(u32, u64)> = std::thread::scope(|scope| {
        for sender in 0..THREADS {
            let ring = &ring;
            scope.spawn(move || {
                for number in 0..EACH {
                    let message = Numbered::new(sender, number);
                    patiently("room", || {
                        ring.send_fast(message.as_ref(), PriorityClass::Normal).ok()
                    });
                }
            });
        }
        let receivers: Vec<_> = (0..2)
            .map(|_| {
                let (ring, received) = (&ring, &received);
                scope.spawn(move || {
                    use std::sync::atomic::Ordering::Relaxed;
                    let mut seen = Vec::new();
                    let mut buffer = [0; 40];
                    while received.load(Relaxed) < total {
                        match ring.recv_fast(&mut buffer) {
                            Ok((size, ..)) => {
                                seen.push(Numbered::read(&buffer[..size]));
                                received.fetch_add(1, Relaxed);
                            }
                            Err(_) => std::thread::yield_now(),
                        }
                    }
                    seen
                })
            })
            .collect();
        receivers.into_iter().flat_map(|receiver| receiver.join().unwrap()).collect()
    });
    all.sort_unstable();
    let sent = (0..THREADS).flat_map(|sender| (0..EACH).map(move |number| (sender, number)));
    assert!(all.into_iter().eq(sent), "each message is received once");
    let stats = ring.stats();
    assert_eq!((stats.sent, stats.received), (total, total));
}

#[test]
fn memory_that_is_too_small_is_refused_with_the_size_that_it_takes() {
    let builder = Builder::new().capacity(64).participants(4);
    let memory = vec![Page::ZERO; builder.pages() - 1].leak();
    let Err(RingError::OutOfMemory { bytes }) = builder.lent(memory) else {
        panic!("a ring in less memory than it takes");
    };
    assert_eq!(bytes, builder.pages() * size_of::<Page>());
}

#[test]
fn numbers_out_of_range_are_refused_before_the_memory_is_touched() {
    for (builder, invalid) in [
        (Builder::new().capacity(12), Invalid::Capacity(12)),
        (Builder::new().participants(0), Invalid::Participants(0)),
        (
            Builder::new().capacity(8).credit_limit(9),
            Invalid::CreditLimit { limit: 9, capacity: 8 },
        ),
        (
            Builder::new().capacity(8).reserve(PriorityClass::High, 8),
            Invalid::Reserves { reserved: 8, limit: 8 },
        ),
    ] {
        match builder.lent(&mut []) {
            Err(RingError::Invalid(found)) => assert_eq!(found, invalid),
            other => panic!("{other:?} instead of {invalid:?}"),
        }
    }
}

fn a_message_is_written_and_read_in_place_in_lent_memory<S: Shape>() {
    let ring = lend(&S::builder().capacity(1).participants(2));
    let mut producer = S::producer(&ring);
    let mut consumer = S::consumer(&ring);
    let mut reservation = producer.try_reserve(3, PriorityClass::High).unwrap();
    assert_eq!(reservation.as_mut_inline(), Some(&mut [0; 3][..]));
    reservation.copy_from_slice(b"abc");
    reservation.commit();
    assert_eq!(producer.send_fast(b"d", PriorityClass::High), Err(SendError::Full));
    let borrowed = consumer.try_borrow().unwrap();
    assert_eq!((borrowed.as_inline(), borrowed.class()), (Some(&b"abc"[..]), PriorityClass::High));
    borrowed.release();
    consumer.flush();
    producer.send_fast(b"d", PriorityClass::High).unwrap();
    // Both entries are taken by the handles, and an exclusive side has no second handle anyway.
    let is_full = matches!(ring.producer(), Err(RingError::TableFull { participants: 2 }));
    assert_eq!(is_full, S::producers_share());
}
#[cfg(feature = "alloc")]
on_each_shape!(a_message_is_written_and_read_in_place_in_lent_memory, needs(one_group));
// Handles of a ring with lanes need an allocator.
#[cfg(not(feature = "alloc"))]
on_each_shape!(a_message_is_written_and_read_in_place_in_lent_memory, needs(one_lane, one_group));

fn without_a_system_to_wait_in_the_caller_is_asked_again_and_again_until_the_end_of_the_stream<
    S: Shape,
>() {
    let ring = lend(&S::builder().capacity(2));
    let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
    let mut asked = 0u8;
    let message = consumer
        .recv_spinning(|| {
            asked += 1;
            if asked == 30 {
                producer.send_fast(b"at last", PriorityClass::Normal).unwrap();
            }
        })
        .unwrap();
    assert_eq!((&*message, asked), (&b"at last"[..], 30));
    for full in [false, false, true] {
        let mut asked = 0;
        producer
            .send_spinning(b"room", PriorityClass::Normal, || {
                asked += 1;
                consumer.try_recv().unwrap();
                consumer.flush();
            })
            .unwrap();
        assert_eq!(asked != 0, full);
    }
    producer.close();
    assert_eq!(producer.send_spinning(b"x", PriorityClass::Bulk, || ()), Err(SendError::Closed));
    assert_eq!([(); 2].map(|()| consumer.recv_spinning(|| ()).unwrap().to_vec()), [b"room"; 2]);
    assert_eq!(consumer.recv_spinning(|| ()).unwrap_err(), RecvError::Closed);
}
#[cfg(feature = "alloc")]
on_each_shape!(
    without_a_system_to_wait_in_the_caller_is_asked_again_and_again_until_the_end_of_the_stream,
    needs(one_group)
);
// Handles of a ring with lanes need an allocator.
#[cfg(not(feature = "alloc"))]
on_each_shape!(
    without_a_system_to_wait_in_the_caller_is_asked_again_and_again_until_the_end_of_the_stream,
    needs(one_lane, one_group)
);
