//! Side buffers that slots name: where only one producer sends large messages, it uses those again
//! that were released last. So little memory is touched, a successor must not write over what is
//! in flight, and a peer that names other buffers harms nobody but itself.

#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod common;
#[path = "common/shapes.rs"]
mod shapes;

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};

use common::child::Child;
use common::stage;
use shapes::{Shape, on_each_shape};
use tempfile::TempDir;
use ultrafastring::{
    Builder, Consumer, PriorityClass, Producer, RecvError, SendError, UltraFastRing,
};

const NORMAL: PriorityClass = PriorityClass::Normal;
const NAME: &str = "named";
const CAPACITY: u64 = 16;
const SIZE: usize = 64 << 10;

fn builder<S: Shape>(directory: &TempDir) -> Builder {
    let builder = Builder::new().directory(directory.path()).capacity(CAPACITY as usize);
    S::of(builder).max_message(SIZE)
}

/// `size` bytes that are those of no other message.
fn message(number: u64, size: usize) -> Vec<u8> {
    let words = (0..size.div_ceil(8) as u64).map(|word| (number << 32 | word) ^ 0x5a5a);
    let mut bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
    bytes.truncate(size);
    bytes
}

fn taken(ring: &UltraFastRing) -> u64 {
    std::fs::metadata(ring.path().unwrap()).unwrap().blocks() * 512
}

fn one_message_in_flight_takes_the_memory_of_two<S: Shape>() {
    let directory = stage();
    let ring = builder::<S>(&directory).create(NAME).unwrap();
    let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
    let empty = taken(&ring);
    let mut buffer = Vec::new();
    for number in 0..200 {
        let expected = message(number, SIZE);
        if number % 2 == 0 {
            producer.send_fast(&expected, NORMAL).unwrap();
        } else {
            let mut place = producer.try_reserve(SIZE, NORMAL).unwrap();
            place.copy_from_slice(&expected);
            place.commit();
        }
        if number % 3 == 0 {
            assert!(consumer.try_borrow().unwrap().to_vec() == expected);
        } else {
            consumer.try_recv_into(&mut buffer).unwrap();
            assert!(buffer == expected);
        }
        // As it does before it sleeps.
        consumer.flush();
    }
    let grown = taken(&ring) - empty;
    assert!(grown <= 2 * SIZE as u64, "{grown} bytes for one message of {SIZE}");
}
on_each_shape!(one_message_in_flight_takes_the_memory_of_two, needs(no_groups, exclusive_lane));

/// A ring whose messages are compared with a queue.
struct Scene<S: Shape> {
    builder: Builder,
    ring: UltraFastRing,
    /// `None` while another process has the side.
    producer: Option<Producer<S::Producers>>,
    consumer: Consumer<S::Consumers>,
    expected: VecDeque<(u64, usize)>,
    next: u64,
}

impl<S: Shape> Scene<S> {
    fn new(directory: &TempDir) -> Self {
        let builder = builder::<S>(directory);
        let ring = builder.create(NAME).unwrap();
        let (producer, consumer) = (Some(S::producer(&ring)), S::consumer(&ring));
        Self { builder, ring, producer, consumer, expected: VecDeque::new(), next: 0 }
    }

    fn producer(&mut self) -> &mut Producer<S::Producers> {
        self.producer.as_mut().unwrap()
    }

    fn send(&mut self, size: usize) {
        let message = message(self.next, size);
        match self.producer().send_fast(&message, NORMAL) {
            Ok(()) => self.note_sent(&[size]),
            Err(error) => assert_eq!(error, SendError::Full, "message {}", self.next),
        }
    }

    fn send_several(&mut self, sizes: [usize; 3]) {
        let batch: Vec<_> = (self.next..).zip(sizes).map(|it| message(it.0, it.1)).collect();
        let sent = self.producer().send_batch(&batch, NORMAL).unwrap_or(0);
        self.note_sent(&sizes[..sent]);
    }

    fn note_sent(&mut self, sizes: &[usize]) {
        self.expected.extend((self.next..).zip(sizes.iter().copied()));
        self.next += sizes.len() as u64;
    }

    /// Begins a message, and gives it up, or forgets it.
    fn reserve_in_vain(&mut self, forgets: bool) {
        if let Ok(mut place) = self.producer().try_reserve(SIZE, NORMAL) {
            place.write_at(0, &[0xee; SIZE]);
            if forgets {
                std::mem::forget(place);
            }
        }
    }

    fn receive(&mut self, in_place: bool) {
        let mut buffer = Vec::new();
        let received = if in_place {
            self.consumer.try_borrow().map(|message| message.to_vec())
        } else {
            self.consumer.try_recv_into(&mut buffer).map(|_| buffer)
        };
        match self.expected.pop_front() {
            Some((number, size)) => {
                assert!(received.unwrap() == message(number, size), "message {number}");
            }
            None => assert_eq!(received, Err(RecvError::Empty)),
        }
    }

    /// Sends as many from another process, which is killed with a message half-written.
    fn send_and_die(&mut self, most: u64) {
        self.consumer.flush();
        self.producer = None;
        let (first, builder) = (self.next, &self.builder);
        let count = most.min(CAPACITY - self.expected.len() as u64);
        Child::die_after(|| {
            let mut producer = S::producer(&builder.open(NAME).unwrap());
            for number in first..first + count {
                producer.send(&message(number, SIZE), NORMAL).unwrap();
            }
            if let Ok(mut place) = producer.try_reserve(SIZE, NORMAL) {
                place.write_at(0, &[0xee; 5_000]);
                std::mem::forget(place);
            }
            producer
        });
        self.note_sent(&vec![SIZE; count as usize]);
        self.producer = Some(S::producer(&self.ring));
    }
}

fn a_successor_leaves_alone_what_is_in_flight<S: Shape>() {
    let directory = stage();
    let mut scene = Scene::<S>::new(&directory);
    let mut random = 7u64;
    for _ in 0..S::fewer(2_000) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (choice, more) = (random >> 33 & 15, (random >> 40) as usize);
        match choice {
            0..=5 => scene.send([SIZE, 41, 5_000, 40][more % 4]),
            6..=11 => scene.receive(more % 2 == 0),
            12 => scene.reserve_in_vain(more % 2 == 0),
            13 => scene.send_several([SIZE, 40, 4_096]),
            14 if more % 8 == 0 => scene.send_and_die((more / 8 % 5) as u64),
            14 => {
                scene.producer = None;
                scene.producer = Some(S::producer(&scene.ring));
            }
            _ => scene.consumer.flush(),
        }
    }
    while !scene.expected.is_empty() {
        scene.receive(false);
    }
}
on_each_shape!(a_successor_leaves_alone_what_is_in_flight, needs(no_groups, exclusive_lane));

// ---- a peer that names what it likes
// ------------------------------------------------------------------

const LARGE: u64 = 1 << 8;

/// Writes into a slot that it names this buffer, and that a message of so many bytes is there.
fn forge<S: Shape>(ring: &UltraFastRing, position: u64, buffer: u64, length: u64) {
    let file = File::options().write(true).open(ring.path().unwrap()).unwrap();
    let slot = S::place(ring, "slots") as u64 + position % CAPACITY * 64;
    let meta = LARGE | NORMAL as u64;
    for (word, value) in [(4, buffer), (3, length), (2, 0), (1, meta), (0, position + 1)] {
        file.write_all_at(&u64::to_le_bytes(value), slot + 8 * word).unwrap();
    }
}

fn a_slot_that_names_no_buffer_or_that_of_another_gives_garbage_and_no_more<S: Shape>() {
    let directory = stage();
    let mut scene = Scene::<S>::new(&directory);
    let names = [CAPACITY, u64::MAX, 1 << 32, 3, 3, 0, 0, CAPACITY - 1];
    let mut buffer = Vec::new();
    for round in 0..50 {
        // In the middle of the lap, or at its end.
        scene.send(SIZE);
        scene.receive(false);
        let first = scene.ring.positions().consumer_head;
        scene.producer = None;
        for (place, name) in names.into_iter().enumerate() {
            forge::<S>(&scene.ring, first + place as u64, name, SIZE as u64);
        }
        // A successor goes by what they say, and its own messages are whole.
        scene.producer = Some(S::producer(&scene.ring));
        for _ in 0..CAPACITY - names.len() as u64 {
            scene.send(SIZE);
        }
        for place in 0..names.len() {
            let length = match (round + place) % 3 {
                0 => scene.consumer.try_recv_into(&mut buffer).unwrap().size,
                1 => scene.consumer.try_borrow().unwrap().to_vec().len(),
                _ => scene.consumer.try_borrow_many(1).unwrap().first().unwrap().to_vec().len(),
            };
            assert_eq!(length, SIZE);
        }
        scene.consumer.flush();
        for _ in 0..scene.expected.len() {
            scene.receive(round % 2 == 0);
            scene.send(SIZE);
        }
        while !scene.expected.is_empty() {
            scene.receive(false);
        }
    }
}
on_each_shape!(
    a_slot_that_names_no_buffer_or_that_of_another_gives_garbage_and_no_more,
    needs(no_groups, exclusive_lane)
);

#[test]
fn who_does_not_know_that_slots_name_buffers_cannot_open_such_a_ring() {
    let directory = stage();
    let builder = Builder::new().directory(directory.path()).max_message(SIZE);
    let features = |builder: &Builder| {
        let ring = builder.create(NAME).unwrap();
        let mut word = [0; 8];
        File::open(ring.path().unwrap()).unwrap().read_exact_at(&mut word, 3 * 8).unwrap();
        builder.remove(NAME).unwrap();
        u64::from_le_bytes(word)
    };
    assert_eq!(features(&builder), 0, "each slot has its own");
    let named = builder.clone().exclusive_producer();
    assert_eq!(features(&named), 1 << 1);
    assert_eq!(features(&named.clone().max_message(40)), 0, "there are none");
    assert_eq!(features(&named.clone().joinable()), 1 << 0, "tail readers may be there");
    // A header that says otherwise than the sides is no ring's.
    for (builder, word) in [(builder, 1u64 << 1), (named, 0)] {
        let ring = builder.create(NAME).unwrap();
        let file = File::options().write(true).open(ring.path().unwrap()).unwrap();
        file.write_all_at(&word.to_le_bytes(), 3 * 8).unwrap();
        let error = builder.open(NAME).unwrap_err().to_string();
        assert!(error.contains("name side buffers"), "{error}");
        std::fs::remove_file(ring.path().unwrap()).unwrap();
    }
}
