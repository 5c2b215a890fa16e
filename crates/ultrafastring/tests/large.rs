//! Messages in side buffers: of any size, mixed with small ones, in place and copied; what a peer
//! that writes garbage can do with them; what memory they take, and what happens when there is
//! none.

#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod common;
#[path = "common/shapes.rs"]
mod shapes;

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};

use common::child::Child;
use common::memory::with_little_memory;
use common::{patiently, stage};
use shapes::{Shape, on_each_shape};
use tempfile::TempDir;
use ultrafastring::FileError;
use ultrafastring::{
    Builder, Consumer, INLINE_SIZE, Invalid, Lanes, Mode, PriorityClass, Producer, RecvError,
    RingError, SendError, SideMemory, UltraFastRing, Untrusted,
};

const NORMAL: PriorityClass = PriorityClass::Normal;
const NAME: &str = "large";
const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

fn at(directory: &TempDir) -> Builder {
    Builder::new().directory(directory.path()).capacity(8).participants(8)
}

/// `size` bytes that follow from `number`.
fn message(number: u64, size: usize) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..size)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(number);
            (state >> 56) as u8
        })
        .collect()
}

/// A size for the message with this number: often about where a slot, a vector of the copying
/// loops, or a page ends.
fn size(number: u64, max: usize) -> usize {
    let near = [0, 40, 41, 64, 128, 256, 4096, 8192, max][(number % 9) as usize];
    (near + (number / 9 % 5) as usize).saturating_sub(2).min(max)
}

// ---- what is sent is received ------------------------------------------------------------

/// Sends message `number`: copied, in a batch, or in place, in turn.
fn send<S: Mode>(producer: &mut Producer<S>, number: u64, max: usize) {
    let message = message(number, size(number, max));
    patiently("room", || match number % 3 {
        0 => producer.send_fast(&message, NORMAL).ok(),
        1 => producer.send_batch(&[&message], NORMAL).ok().map(|sent| assert_eq!(sent, 1)),
        _ => {
            // More than is needed, written from behind, then cut.
            let mut place = producer.try_reserve((message.len() + 9).min(max), NORMAL).ok()?;
            let (one, other) = message.split_at(message.len() / 2);
            place.write_at(one.len(), other);
            place.write_at(0, one);
            place.truncate(message.len());
            place.commit();
            Some(())
        }
    });
}

/// Receives messages, copied, in batches and in place, until it has `count`.
fn receive_all<S: Mode>(consumer: &mut Consumer<S>, count: u64, max: usize) {
    let mut buffers = vec![[0; 5 * KIB]; 3];
    let mut buffer = Vec::new();
    let mut next = 0;
    let mut check = |bytes: &[u8]| {
        assert!(bytes == message(next, size(next, max)), "message {next} is not what was sent");
        next += 1;
        next
    };
    let mut way = 0;
    loop {
        way += 1;
        let done = patiently("a message", || match way % 3 {
            0 => {
                let batch = match consumer.recv_batch(&mut buffers) {
                    Ok(batch) => batch,
                    // It is for one of the other ways.
                    Err(RecvError::BufferTooSmall { .. }) => return Some(0),
                    Err(_) => return None,
                };
                buffers.iter().zip(&batch).map(|(buffer, it)| check(&buffer[..it.size])).last()
            }
            1 => consumer.try_recv_into(&mut buffer).ok().map(|about| {
                assert_eq!(about.size, buffer.len());
                check(&buffer)
            }),
            _ => consumer.try_borrow().ok().map(|guard| {
                let mut middle = vec![0; guard.len() / 3];
                let bytes = guard.to_vec();
                guard.read_at(bytes.len() / 2, &mut middle);
                assert_eq!(middle, bytes[bytes.len() / 2..][..middle.len()]);
                check(&bytes)
            }),
        });
        if done == count {
            return;
        }
    }
}

fn messages_of_all_sizes_pass_between_processes_in_every_way<S: Shape>() {
    let count = S::fewer(1_000);
    let directory = stage();
    let max = 70_000;
    let builder = S::of(at(&directory)).max_message(max);
    let ring = builder.create(NAME).unwrap();
    let child = Child::start(|| {
        let ring = builder.open(NAME).unwrap();
        assert_eq!(ring.max_message(), max);
        let mut producer = S::producer(&ring);
        (0..count).for_each(|number| send(&mut producer, number, max));
    });
    receive_all(&mut S::consumer(&ring), count, max);
    child.finish();
    let stats = ring.stats();
    let bytes = (0..count).map(|number| size(number, max) as u64).sum::<u64>();
    let lane = stats.classes[NORMAL.index()];
    assert_eq!((lane.sent, lane.received), (count, count));
    assert_eq!((lane.sent_bytes, lane.received_bytes), (bytes, bytes));
    assert_eq!(ring.examine().unwrap(), []);
}
on_each_shape!(messages_of_all_sizes_pass_between_processes_in_every_way, needs(one_group));

fn several_threads_write_and_read_slices_of_the_ring<S: Shape>() {
    const MESSAGES: u64 = 600;
    let ring = S::builder().capacity(4).max_message(9_000).heap().unwrap();
    let (producers, consumers) = (S::producers(&ring, 2), S::consumers(&ring, 2));
    let (senders, each) = (producers.len(), MESSAGES as usize / consumers.len());
    let mut seen: Vec<u64> = std::thread::scope(|scope| {
        for (first, producer) in (0..).zip(producers) {
            let mut producer = producer.trusted().unwrap();
            scope.spawn(move || {
                for number in (first..MESSAGES).step_by(senders) {
                    let message = message(number, 8 + size(number, 8_000));
                    patiently("room", || {
                        let mut place = producer.try_reserve(message.len(), NORMAL).ok()?;
                        place.copy_from_slice(&message);
                        place[..8].copy_from_slice(&number.to_le_bytes());
                        place.commit();
                        Some(())
                    });
                }
            });
        }
        let receivers = consumers.into_iter().map(|consumer| {
            let mut consumer = consumer.trusted().unwrap();
            scope.spawn(move || {
                let mut seen = Vec::new();
                while seen.len() < each {
                    let number = patiently("a message", || {
                        let guard = consumer.try_borrow().ok()?;
                        let number = u64::from_le_bytes(*guard.first_chunk().unwrap());
                        let expected = message(number, 8 + size(number, 8_000));
                        assert!(
                            guard[8..] == expected[8..],
                            "message {number} is not what was sent"
                        );
                        Some(number)
                    });
                    seen.push(number);
                }
                seen
            })
        });
        let receivers: Vec<_> = receivers.collect();
        receivers.into_iter().flat_map(|it| it.join().unwrap()).collect()
    });
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..MESSAGES));
}
on_each_shape!(several_threads_write_and_read_slices_of_the_ring, needs(one_group));

fn a_message_over_the_most_is_refused_with_both_sizes_and_nothing_is_sent<S: Shape>() {
    let ring = S::builder().capacity(4).max_message(100).heap().unwrap();
    let mut producer = S::producer(&ring);
    let refused = SendError::TooLarge { size: 101, max: 100 };
    assert_eq!(producer.send_fast(&[0; 101], NORMAL), Err(refused));
    assert_eq!(producer.try_reserve(101, NORMAL).unwrap_err(), refused);
    assert_eq!(producer.send_batch(&[&[0; 5][..], &[0; 101]], NORMAL), Err(refused));
    assert!(refused.to_string().contains("101") && refused.to_string().contains("100"));
    assert!(ring.is_empty());
    producer.send_fast(&[7; 100], NORMAL).unwrap();
    let mut consumer = S::consumer(&ring);
    let too_small = RecvError::BufferTooSmall { needed: 100, available: INLINE_SIZE };
    assert_eq!(consumer.try_recv().unwrap_err(), too_small);
    assert_eq!(consumer.recv_fast(&mut [0; 99]).unwrap_err(), {
        RecvError::BufferTooSmall { needed: 100, available: 99 }
    });
    let mut buffer = [0; 101];
    assert_eq!(consumer.recv_fast(&mut buffer).unwrap().0, 100);
    assert_eq!((buffer[99], buffer[100]), (7, 0));
    let invalid = Builder::new().max_message(usize::MAX).heap().unwrap_err();
    assert!(matches!(invalid, RingError::Invalid(Invalid::MaxMessage(usize::MAX))));
    let invalid = Builder::new().max_message(1 << 30).capacity(1 << 24).heap().unwrap_err();
    assert!(matches!(invalid, RingError::Invalid(Invalid::SegmentSize { .. })));
}
on_each_shape!(
    a_message_over_the_most_is_refused_with_both_sizes_and_nothing_is_sent,
    needs(one_group)
);

fn only_rings_without_strangers_give_slices<S: Shape>() {
    let directory = stage();
    let builder = S::of(at(&directory)).max_message(KIB);
    let ring = builder.create(NAME).unwrap();
    assert_eq!(S::producer(&ring).trusted().unwrap_err(), Untrusted);
    // SAFETY: no other process has it.
    let vouched = unsafe { builder.trust_peers() }.open(NAME).unwrap();
    let mut producer = S::producer(&vouched).trusted().unwrap();
    let mut consumer = S::consumer(&vouched).trusted().unwrap();
    producer.try_reserve(1000, NORMAL).unwrap().fill(3);
    assert_eq!(consumer.try_borrow().unwrap_err(), RecvError::Empty, "it was cancelled");
    let mut place = producer.try_reserve(1000, NORMAL).unwrap();
    place.fill(3);
    place.commit();
    assert_eq!(*consumer.try_borrow().unwrap(), [3; 1000]);
    // One that was not vouched for is not trusted for where it lies.
    let mut stranger = S::producer(&ring);
    std::mem::swap(&mut *producer, &mut stranger);
    let reserve = std::panic::AssertUnwindSafe(|| producer.try_reserve(1000, NORMAL).is_ok());
    assert!(std::panic::catch_unwind(reserve).is_err());
}
on_each_shape!(only_rings_without_strangers_give_slices, needs(two_producers, one_group));

#[cfg(feature = "zerocopy")]
fn values_pass_in_slots_and_in_side_buffers<S: Shape>() {
    use zerocopy::{FromBytes, Immutable, IntoBytes};

    #[derive(Clone, Copy, Debug, PartialEq, FromBytes, IntoBytes, Immutable)]
    #[repr(C)]
    struct Book {
        instrument: u64,
        levels: [[f64; 2]; 20],
    }

    let ring = S::builder().capacity(4).max_message(KIB).heap().unwrap();
    let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
    let book = Book { instrument: 9, levels: [[1.5, 2.5]; 20] };
    for _ in 0..20 {
        producer.try_send_value(&book, NORMAL).unwrap();
        producer.try_send_value(&7u64, NORMAL).unwrap();
        let wrong = RecvError::WrongSize { size: size_of::<Book>(), expected: 8 };
        assert_eq!(consumer.try_recv_value::<u64>(), Err(wrong));
        assert_eq!(consumer.try_recv_value::<Book>(), Ok(book));
        let wrong = RecvError::WrongSize { size: 8, expected: size_of::<Book>() };
        assert_eq!(consumer.try_recv_value::<Book>(), Err(wrong));
        assert_eq!(consumer.try_recv_value(), Ok(7u64));
        producer.try_send_value(&book.levels[..], NORMAL).unwrap();
        let guard = consumer.try_borrow().unwrap();
        assert_eq!((guard.value::<Book>(), guard.value()), (None, Some(book.levels)));
    }
}
#[cfg(feature = "zerocopy")]
on_each_shape!(values_pass_in_slots_and_in_side_buffers, needs(one_group));

// ---- after a death -----------------------------------------------------------------------

fn what_a_dead_consumer_held_is_delivered_again_whole_and_marked<S: Shape>() {
    for way in 0..4 {
        let directory = stage();
        let builder = S::of(at(&directory)).max_message(50_000);
        let ring = builder.create(NAME).unwrap();
        let (one, two) = (message(1, 50_000), message(2, 30));
        S::producer(&ring).send_batch(&[&one, &two], NORMAL).unwrap();
        Child::die_after(|| {
            let mut consumer = S::consumer(&builder.open(NAME).unwrap());
            std::mem::forget(consumer.try_borrow().unwrap());
            consumer
        });
        let mut consumer = S::consumer(&ring);
        let mut seen = Vec::new();
        let mut buffer = Vec::new();
        patiently("both messages", || {
            match way {
                0 => {
                    let about = consumer.try_recv_into(&mut buffer).ok()?;
                    seen.push((buffer.clone(), about.redelivered));
                }
                1 => {
                    let guard = consumer.try_borrow().ok()?;
                    seen.push((guard.to_vec(), guard.is_redelivered()));
                }
                2 => {
                    let mut buffers = [[0; 50_000]; 2];
                    let batch = consumer.recv_batch(&mut buffers).ok()?;
                    let all = buffers.iter().zip(&batch);
                    seen.extend(
                        all.map(|(it, about)| (it[..about.size].to_vec(), about.redelivered)),
                    );
                }
                _ => {
                    let mut buffer = vec![0; 50_000];
                    let (size, ..) = match consumer.try_recv() {
                        Err(RecvError::BufferTooSmall { needed, .. }) => {
                            assert_eq!(needed, 50_000);
                            consumer.recv_fast(&mut buffer).ok()?
                        }
                        Ok(message) => {
                            buffer = message.to_vec();
                            (buffer.len(), message.class(), 0)
                        }
                        Err(_) => return None,
                    };
                    buffer.truncate(size);
                    let redelivered = size == 50_000;
                    seen.push((buffer, redelivered));
                }
            }
            (seen.len() == 2).then_some(())
        });
        seen.sort_by_key(|(bytes, _)| bytes.len());
        assert!(seen == [(two, false), (one, true)], "way {way}");
        assert_eq!(ring.stats().redelivered, 1);
    }
}
on_each_shape!(what_a_dead_consumer_held_is_delivered_again_whole_and_marked, needs(one_group));

fn a_side_buffer_half_written_by_a_dead_producer_is_passed_over<S: Shape>() {
    let directory = stage();
    let builder = S::of(at(&directory)).max_message(MIB);
    let ring = builder.create(NAME).unwrap();
    Child::die_after(|| {
        let mut producer = S::producer(&builder.open(NAME).unwrap());
        let mut place = producer.try_reserve(MIB, NORMAL).unwrap();
        place.write_at(0, &[1; 100_000]);
        std::mem::forget(place);
        producer
    });
    let whole = message(5, MIB);
    S::producer(&ring).send_fast(&whole, NORMAL).unwrap();
    let mut consumer = S::consumer(&ring);
    let mut buffer = Vec::new();
    patiently("the message", || consumer.try_recv_into(&mut buffer).ok());
    assert!(buffer == whole);
    // An exclusive one has told nobody of its claim.
    assert_eq!(ring.stats().abandoned, u64::from(S::producers_share()));
}
on_each_shape!(a_side_buffer_half_written_by_a_dead_producer_is_passed_over, needs(one_group));

// ---- garbage -----------------------------------------------------------------------------

const LARGE: u64 = 1 << 8;

/// Writes a slot of the ring's file, as a peer could that does not mind the protocol.
fn forge<S: Shape>(ring: &UltraFastRing, position: u64, meta: u64, length: u64) {
    forge_named::<S>(ring, position, meta, length, position);
}

/// The same, of a slot that names this buffer.
fn forge_named<S: Shape>(ring: &UltraFastRing, position: u64, meta: u64, length: u64, buffer: u64) {
    let file = File::options().write(true).open(ring.path().unwrap()).unwrap();
    let slot = S::place(ring, "slots") as u64 + position % 8 * 64;
    for (word, value) in [(4, buffer), (3, length), (2, 0), (1, meta), (0, position + 1)] {
        file.write_all_at(&u64::to_le_bytes(value), slot + 8 * word).unwrap();
    }
}

fn a_length_beyond_the_side_buffer_is_cut_to_it<S: Shape>() {
    let directory = stage();
    let ring = S::of(at(&directory)).max_message(500).create(NAME).unwrap();
    let mut consumer = S::consumer(&ring);
    let mut buffer = Vec::new();
    for (position, length) in [501, 4_096, u64::MAX, 1 << 63].into_iter().enumerate() {
        forge::<S>(&ring, position as u64, LARGE | 1, length);
        if position % 2 == 0 {
            consumer.try_recv_into(&mut buffer).unwrap();
            assert_eq!(buffer.len(), 500);
        } else {
            assert_eq!(consumer.try_borrow().unwrap().len(), 500);
        }
    }
    // A size in the meta word besides, a class that is none, flags unknown.
    forge::<S>(&ring, 4, LARGE | 0xff | 0xffff << 16 | 0xfe00, 7);
    assert_eq!(consumer.recv_batch(&mut [[0; 500]; 2]).unwrap()[0].size, 7);
}
on_each_shape!(a_length_beyond_the_side_buffer_is_cut_to_it);

fn a_message_in_a_side_buffer_that_the_ring_does_not_have_is_empty<S: Shape>() {
    let directory = stage();
    let ring = S::of(at(&directory)).create(NAME).unwrap();
    let mut consumer = S::consumer(&ring);
    for position in 0..4 {
        forge::<S>(&ring, position, LARGE | 1, 1 << 40);
    }
    assert_eq!(consumer.try_recv().unwrap().len(), 0);
    assert_eq!(consumer.recv_fast(&mut []).unwrap().0, 0);
    assert_eq!(consumer.try_borrow().unwrap().to_vec(), []);
    assert_eq!(consumer.recv_batch(&mut [[0; 40]; 4]).unwrap()[0].size, 0);
}
on_each_shape!(a_message_in_a_side_buffer_that_the_ring_does_not_have_is_empty);

#[test]
fn a_header_whose_side_buffers_do_not_fit_the_file_is_refused() {
    let directory = stage();
    let builder = at(&directory);
    let ring = builder.clone().max_message(500).create(NAME).unwrap();
    let file = File::options().read(true).write(true).open(ring.path().unwrap()).unwrap();
    // The size of one, and their offset and stride.
    for (word, bad) in [(10, 501 << 20), (10, 600), (10, 0), (10, u64::MAX), (53, 0), (54, 64)] {
        let mut good = [0; 8];
        file.read_exact_at(&mut good, 8 * word).unwrap();
        file.write_all_at(&u64::to_le_bytes(bad), 8 * word).unwrap();
        let refused = builder.open(NAME);
        assert!(
            matches!(refused, Err(RingError::File { kind: FileError::NotARing { .. }, .. })),
            "word {word} is {bad}"
        );
        file.write_all_at(&good, 8 * word).unwrap();
    }
    builder.open(NAME).unwrap();
}

// ---- memory ------------------------------------------------------------------------------

#[test]
fn side_buffers_that_no_message_touched_take_no_memory() {
    let directory = stage();
    let ring = at(&directory).capacity(256).max_message(MIB).create(NAME).unwrap();
    let taken = || std::fs::metadata(ring.path().unwrap()).unwrap().blocks() as usize * 512;
    assert!(ring.size_bytes() > 256 * MIB);
    let empty = taken();
    assert!(empty < MIB, "{empty} bytes are taken by nothing");
    for round in 1..=3 {
        ring.send_fast(&vec![1; 64 * KIB], NORMAL).unwrap();
        assert_eq!(taken() - empty, round * 64 * KIB);
    }
    let builder = at(&directory).max_message(MIB).side_memory(SideMemory::Preallocated);
    let all = builder.create("all").unwrap();
    let taken = std::fs::metadata(all.path().unwrap()).unwrap().blocks() * 512;
    assert!(taken >= all.size_bytes() as u64);
}

/// The value of a line of `/proc/self/status` or the sum of those of `smaps`, in bytes.
fn kernel_says(file: &str, key: &str) -> usize {
    let text = std::fs::read_to_string(format!("/proc/self/{file}")).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    lines.map(|rest| rest.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * KIB).sum()
}

#[test]
fn on_the_heap_untouched_side_buffers_take_none_either_and_huge_pages_come_on_request() {
    // In a process of its own, whose memory nobody else uses meanwhile.
    let child = Child::start(|| {
        let before = kernel_says("status", "VmRSS");
        let builder = Builder::new().capacity(256).max_message(4 * MIB).huge_pages(true);
        let ring = builder.heap().unwrap();
        let grown = kernel_says("status", "VmRSS") - before;
        assert!(grown < 4 * MIB, "a gibibyte of buffers takes {grown} bytes at once");
        let enabled =
            std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap();
        if !enabled.contains("[never]") {
            let small = kernel_says("smaps", "AnonHugePages");
            for _ in 0..4 {
                ring.send_fast(&vec![1; 4 * MIB], NORMAL).unwrap();
            }
            assert!(kernel_says("smaps", "AnonHugePages") > small, "no page is huge");
        }
    });
    child.finish();
}

#[test]
fn a_ring_that_has_no_room_is_refused_when_it_is_made() {
    let directory = stage();
    with_little_memory(directory.path(), 4 * MIB, || {
        for memory in [SideMemory::OnDemand, SideMemory::Preallocated] {
            let builder = at(&directory).side_memory(memory);
            let error = builder.clone().max_message(MIB).create(NAME).unwrap_err();
            assert!(
                matches!(
                    error,
                    RingError::File { kind: FileError::NoSpace { bytes, .. }, .. }
                        if bytes > 8 * MIB
                ),
                "{error}"
            );
            builder.max_message(MIB / 4).create(NAME).unwrap();
            at(&directory).remove(NAME).unwrap();
        }
    });
}

fn when_memory_runs_out_a_send_is_refused_and_nobody_gets_a_signal<S: Shape>() {
    let directory = stage();
    with_little_memory(directory.path(), 4 * MIB, || {
        let builder = S::of(at(&directory)).max_message(MIB).side_memory(SideMemory::Overcommitted);
        let ring = builder.create(NAME).unwrap();
        let mut producer = S::producer(&ring);
        let mut sent = 0;
        let error = loop {
            match producer.send_fast(&message(sent, MIB), NORMAL) {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
        };
        assert_eq!((sent, error), (3, SendError::NoSpace));
        assert_eq!(producer.try_reserve(MIB, NORMAL).unwrap_err(), SendError::NoSpace);
        assert_eq!(producer.send_batch(&[[0; 9]; 2], NORMAL), Ok(2), "small ones need no memory");
        // What was sent is all there, to one who maps the ring anew too.
        let mut consumer = S::consumer(&builder.open(NAME).unwrap());
        let mut buffer = Vec::new();
        for number in 0..sent {
            consumer.try_recv_into(&mut buffer).unwrap();
            assert!(buffer == message(number, MIB));
        }
        assert_eq!(consumer.try_recv().unwrap().len(), 9);
        assert_eq!(consumer.try_recv().unwrap().len(), 9);
        // A peer says that there is a message where there is no memory.
        let position = ring.positions().producer_head;
        forge_named::<S>(&ring, position, LARGE | 1, MIB as u64, 7);
        let garbage = consumer.try_recv_into(&mut buffer);
        assert_eq!(garbage, Err(RecvError::OutOfMemory { bytes: MIB }));
    });
}
on_each_shape!(when_memory_runs_out_a_send_is_refused_and_nobody_gets_a_signal);

#[test]
fn who_observes_a_sparse_copy_where_no_memory_is_left_is_refused_and_gets_no_signal() {
    let directory = stage();
    with_little_memory(directory.path(), 4 * MIB, || {
        drop(at(&directory).capacity(1_024).create(NAME).unwrap());
        let path = at(&directory).path(NAME).unwrap();
        let file = File::options().write(true).open(path).unwrap();
        let length = file.metadata().unwrap().len();
        // As long as it was, and nothing in it but the header and the lane's record.
        file.set_len(8 * KIB as u64).unwrap();
        file.set_len(length).unwrap();
        let other = directory.path().join("other");
        // As much as there is.
        let _ = std::fs::write(&other, vec![0; 4 * MIB]);
        let error = at(&directory).observe(NAME).unwrap_err();
        assert!(
            matches!(error, RingError::File { kind: FileError::NoSpace { .. }, .. }),
            "{error}"
        );
        std::fs::remove_file(other).unwrap();
        at(&directory).observe(NAME).unwrap().positions();
    });
}

fn memory_that_others_took_is_missed_by_a_send_and_found_again_when_they_give_it_back<S: Shape>() {
    let directory = stage();
    with_little_memory(directory.path(), 4 * MIB, || {
        let builder = S::of(at(&directory)).capacity(2).max_message(MIB);
        // All lanes together could take more than there is.
        let builder = match S::has_lanes() {
            true => builder.side_memory(SideMemory::Overcommitted),
            false => builder,
        };
        let ring = builder.create(NAME).unwrap();
        let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
        let other = directory.path().join("other");
        // As much as there is.
        let _ = std::fs::write(&other, vec![0; 4 * MIB]);
        let whole = message(1, MIB);
        assert_eq!(producer.send_fast(&whole, NORMAL), Err(SendError::NoSpace));
        std::fs::remove_file(other).unwrap();
        producer.send_fast(&whole, NORMAL).unwrap();
        let mut buffer = Vec::new();
        patiently("the message", || consumer.try_recv_into(&mut buffer).ok());
        assert!(buffer == whole);
    });
}
on_each_shape!(
    memory_that_others_took_is_missed_by_a_send_and_found_again_when_they_give_it_back,
    needs(one_group)
);

// ---- what may change under a call
// ----------------------------------------------------------------

fn a_file_cut_within_its_side_buffers_is_damaged_and_not_out_of_memory<S: Shape>() {
    let directory = stage();
    let ring = S::of(at(&directory)).max_message(4 * KIB).create(NAME).unwrap();
    let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
    let path = at(&directory).path(NAME).unwrap();
    let file = File::options().write(true).open(path).unwrap();
    let whole = file.metadata().unwrap().len();
    // The first buffers stay, and with them all that small messages need.
    let rest = (S::place(&ring, "side buffers") + 4 * 4 * KIB) as u64;
    assert!(rest < whole);
    file.set_len(rest).unwrap();
    let mut sent = 0;
    let refused = loop {
        match producer.send_fast(&message(sent, 4 * KIB), NORMAL) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((sent, refused), (4, SendError::Damaged));
    let mut received = Vec::new();
    for number in 0..sent {
        consumer.try_recv_into(&mut received).unwrap();
        assert_eq!(received, message(number, 4 * KIB));
    }
    assert_eq!(file.metadata().unwrap().len(), rest, "it was mended");
}
on_each_shape!(
    a_file_cut_within_its_side_buffers_is_damaged_and_not_out_of_memory,
    needs(one_group)
);

fn a_forked_child_of_a_ring_larger_than_all_memory_drops_its_handles<S: Shape>() {
    let directory = stage();
    let capacity = if S::has_lanes() { 512 } else { 4_096 };
    let builder = at(&directory).capacity(capacity).side_memory(SideMemory::Overcommitted);
    // Terabytes.
    let ring = S::of(builder).max_message(1 << 30).create(NAME).unwrap();
    let mut producer = Some(S::producer(&ring));
    Child::start(|| {
        let mut inherited = producer.take().unwrap();
        for _ in 0..2 {
            inherited.send_fast(b"the child", NORMAL).unwrap();
        }
        drop(inherited);
    })
    .finish();
    producer.unwrap().send_fast(b"still here", NORMAL).unwrap();
    let mut consumer = S::consumer(&ring);
    assert_eq!(&*consumer.try_recv().unwrap(), b"still here");
    assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty, "the child was a double");
}
on_each_shape!(a_forked_child_of_a_ring_larger_than_all_memory_drops_its_handles, needs(one_group));

#[cfg(feature = "zerocopy")]
fn a_value_whose_size_a_peer_changes_meanwhile_is_whole_or_refused<S: Shape>() {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    const SIZE: usize = 4_096;
    const SLOTS: usize = 64;
    let builder = S::builder().capacity(SLOTS).max_message(SIZE);
    let mut pages = vec![ultrafastring::Page::ZERO; builder.pages()];
    let words = pages.as_ptr().cast::<AtomicU64>();
    let length = pages.len() * 512;
    // SAFETY: as long as the pages, which outlive it, and only atomics.
    let words = unsafe { std::slice::from_raw_parts(words, length) };
    let ring = builder.lent(Box::leak(std::mem::take(&mut pages).into_boxed_slice())).unwrap();
    let slots = S::place(&ring, "slots") / 8;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = End(&over);
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for size in [8, SIZE as u64] {
                    for slot in 0..SLOTS {
                        words[slots + 8 * slot + 3].store(size, Ordering::Relaxed);
                    }
                }
            }
        });
        let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
        let mut whole = 0;
        for _ in 0..3_000 {
            let _ = producer.send_fast(&[0x5a; SIZE], NORMAL);
            match consumer.try_recv_value::<[u8; SIZE]>() {
                Ok(value) => {
                    assert!(value.iter().all(|&byte| byte == 0x5a), "not all was filled");
                    whole += 1;
                }
                // One whose size is said to be another is taken all the same.
                Err(RecvError::WrongSize { .. }) => drop(consumer.try_recv_into(&mut Vec::new())),
                Err(error) => panic!("{error}"),
            }
        }
        assert!(whole > 0, "no value came through");
    });

    /// Ends the other thread, by a failure too.
    struct End<'a>(&'a AtomicBool);

    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}
#[cfg(feature = "zerocopy")]
on_each_shape!(a_value_whose_size_a_peer_changes_meanwhile_is_whole_or_refused, needs(one_group));

#[test]
fn where_all_side_buffers_are_each_message_in_place_is() {
    let builder = Builder::new().capacity(4).max_message(MIB);
    // SAFETY: only this test has it.
    let ring = unsafe { builder.trust_peers() }.anonymous().unwrap();
    let (start, bytes) = ring.side_buffers().unwrap();
    assert_eq!(bytes, 4 * MIB);
    let mut producer = ring.producer().unwrap().trusted().unwrap();
    let mut consumer = ring.consumer().unwrap().trusted().unwrap();
    let mut places = Vec::new();
    for _ in 0..4 {
        producer.try_reserve(MIB, NORMAL).unwrap().commit();
        places.push(consumer.try_borrow().unwrap().as_ptr().addr() - start.as_ptr().addr());
    }
    assert_eq!(places, [0, MIB, 2 * MIB, 3 * MIB]);
    // Those of all lanes, whose messages lie behind one another.
    let builder = Builder::new().lanes(Lanes::ByClass).capacity(2);
    let builder = builder.max_message_of(PriorityClass::High, MIB);
    let builder = builder.max_message_of(PriorityClass::Bulk, 2 * MIB);
    // SAFETY: only this test has it.
    let ring = unsafe { builder.trust_peers() }.anonymous().unwrap();
    let (start, bytes) = ring.side_buffers().unwrap();
    assert_eq!(bytes, 2 * MIB + 4 * MIB);
    assert_eq!(ring.side_memory().unwrap().size, bytes as u64);
    let mut producer = ring.producer().unwrap().trusted().unwrap();
    let mut consumer = ring.consumer().unwrap().trusted().unwrap();
    let mut places = Vec::new();
    for class in [PriorityClass::High, PriorityClass::Bulk] {
        producer.try_reserve(MIB, class).unwrap().commit();
        places.push(consumer.try_borrow().unwrap().as_ptr().addr() - start.as_ptr().addr());
    }
    assert_eq!(places, [0, 2 * MIB]);
    assert_eq!(ring.side_memory().unwrap().taken, 2 * MIB as u64);
    assert!(UltraFastRing::new(4).side_buffers().is_none());
}
