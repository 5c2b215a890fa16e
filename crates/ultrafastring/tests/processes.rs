//! Real processes over named rings, killed, stopped and forked at the worst moments.
//!
//! How parts are played by other processes is told in `common/actor.rs`; the parts are in [`play`].

#![cfg(all(feature = "std", not(loom)))]

mod common;
#[path = "common/shapes.rs"]
mod shapes;

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::actor::{self, Actor, order, say};
use common::child::Child;
use common::{Numbered, patiently, stage};
use rustix::process::{Pid, Signal, kill_process};
use shapes::{Shape, of_each_shape, of_shape, on_each_shape};
use tempfile::TempDir;
use ultrafastring::{
    Builder, PriorityClass, RecvError, Redelivery, RingError, SendError, Side, Timestamps,
    UltraFastRing,
};

const NORMAL: PriorityClass = PriorityClass::Normal;
const NAME: &str = "stage";
/// Number of the message that ends a stream.
const END: u64 = u64::MAX;

// ---- directing ---------------------------------------------------------------------------

/// Starts an actor that plays `role` on a ring of this shape.
fn start<S: Shape>(directory: &TempDir, role: &str) -> Actor {
    Actor::start(directory.path(), &format!("{} {role}", S::NAME))
}

/// The same, and waits until it says `first`.
fn start_and_hear<S: Shape>(directory: &TempDir, role: &str, first: &str) -> Actor {
    Actor::start_and_hear(directory.path(), &format!("{} {role}", S::NAME), first)
}

/// Starts one as the first process of a pid namespace of its own, if that is allowed here.
fn start_in_namespace<S: Shape>(directory: &TempDir, role: &str) -> Option<Actor> {
    const UNSHARE: [&str; 4] = ["unshare", "--pid", "--fork", "--kill-child=KILL"];
    let try_it = Command::new(UNSHARE[0]).args(&UNSHARE[1..]).arg("true").status();
    let role = format!("{} {role}", S::NAME);
    try_it
        .is_ok_and(|status| status.success())
        .then(|| Actor::start_through(&UNSHARE, directory.path(), &role))
}

fn at<S: Shape>(directory: &TempDir) -> Builder {
    S::builder().directory(directory.path())
}

// ---- acting ------------------------------------------------------------------------------

/// Not a test by itself: the way into the other processes.
#[test]
fn an_actor_plays_its_part() {
    let Some((words, directory)) = actor::part() else { return };
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    of_shape(words[0], of_each_shape!(play))(words[1], &words[2..], &directory);
}

fn play<S: Shape>(role: &str, arguments: &[&str], directory: &Path) {
    let builder = S::builder().directory(directory).participant_name(role);
    let number = |place: usize| arguments[place].parse::<u64>().unwrap();
    if role == "meet" {
        say("ready");
        order();
        let ring = builder.capacity(16).open_or_create(NAME).unwrap();
        // One after the other, where only one may send at a time.
        let mut producer = patiently("a producer", || S::try_producer(&ring));
        producer.send_fast(b"here", NORMAL).unwrap();
        return say("met");
    }
    if role == "create" {
        for turn in 0.. {
            let name = format!("{}", turn % 3);
            let _ = builder.create(&name);
            if turn == 10 {
                say("busy");
            }
            let _ = builder.remove(&name);
        }
    }
    let ring = builder.open(NAME).unwrap();
    match role {
        "stream" => {
            let mut producer = S::producer(&ring);
            let (sender, count) = (number(0) as u32, number(1));
            say("streaming");
            let class = S::class(sender);
            for number in 0..count {
                let message = Numbered::new(sender, number);
                patiently("room", || producer.try_send(message, class).ok());
            }
        }
        "send-and-note" => {
            send_and_note::<S>(&ring, &File::create(directory.join("sent")).unwrap())
        }
        "receive-and-note" => {
            let note = File::create(directory.join("received")).unwrap();
            receive_and_note::<S>(&ring, &note, arguments[0] == "in-place");
        }
        "mark" => {
            let marks = mark_all::<S>(&ring, number(1), number(2));
            std::fs::write(directory.join(arguments[0]), marks).unwrap();
        }
        "receive" => {
            let count = number(0);
            let mut consumer = S::consumer(&ring);
            for _ in 0..count {
                patiently("a message", || consumer.try_recv().ok());
            }
            say("received");
            order();
        }
        "hold" => {
            let mut consumer = S::consumer(&ring);
            // A forgotten guard holds its message until the next call.
            patiently("a message", || consumer.try_borrow().ok().map(std::mem::forget));
            say("holding");
            order();
            consumer.flush();
            say("released");
            order();
        }
        "adopt" => {
            let mut consumer = S::consumer(&ring);
            patiently("a dead one's message", || {
                let message = consumer.try_borrow().ok()?;
                message.is_redelivered().then(|| std::mem::forget(message))
            });
            say("adopted");
            order();
            consumer.flush();
            say("released");
            order();
        }
        "exec" => {
            let _producer = S::producer(&ring);
            say("attached");
            order();
            let error = std::os::unix::process::CommandExt::exec(Command::new("sleep").arg("60"));
            panic!("{error}");
        }
        "reserve" => {
            let mut producer = S::producer(&ring);
            let mut guard = producer.try_reserve(4, NORMAL).unwrap();
            guard.copy_from_slice(b"late");
            say("reserved");
            order();
            guard.commit();
            say("committed");
            order();
        }
        "attach" => {
            let _handles = match arguments[0] {
                "producer" => (Some(S::producer(&ring)), None),
                _ => (None, Some(S::consumer(&ring))),
            };
            say("attached");
            order();
        }
        "send" => {
            let mut producer = S::producer(&ring);
            for message in 0..number(0) {
                producer.try_send(Numbered::new(0, message), NORMAL).unwrap();
            }
            if arguments.get(1) == Some(&"flush") {
                producer.flush();
            }
            say("sent");
            order();
        }
        "fork" => fork_without_exec::<S>(&ring),
        "die-often" => die_often::<S>(&ring, directory, number(0)),
        _ => panic!("there is no role {role}"),
    }
}

/// Sends for ever, and notes after each message how many have been sent.
fn send_and_note<S: Shape>(ring: &UltraFastRing, note: &File) {
    let mut producer = S::producer(ring);
    say("streaming");
    for number in 0u64.. {
        let message = Numbered::new(0, number);
        patiently("room", || producer.try_send(message, NORMAL).ok());
        note.write_all_at(&(number + 1).to_le_bytes(), 0).unwrap();
    }
}

/// Receives for ever, and notes after the work on each message what is next.
fn receive_and_note<S: Shape>(ring: &UltraFastRing, note: &File, in_place: bool) {
    let mut consumer = S::consumer(ring);
    say("streaming");
    loop {
        let work = |bytes: &[u8]| {
            let (_, number) = Numbered::read(bytes);
            note.write_all_at(&(number + 1).to_le_bytes(), 0).unwrap();
        };
        patiently("a message", || {
            if in_place {
                consumer.try_borrow().ok().map(|guard| work(&guard.to_vec()))
            } else {
                consumer.try_recv().ok().map(|message| work(&message))
            }
        });
    }
}

fn noted(directory: &TempDir, name: &str) -> u64 {
    let note = std::fs::read(directory.path().join(name)).unwrap();
    note.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Receives until a stream ends; gives a byte for each message of each sender, 1 if it came.
fn mark_all<S: Shape>(ring: &UltraFastRing, senders: u64, each: u64) -> Vec<u8> {
    let mut consumer = S::consumer(ring);
    let mut marks = vec![0; (senders * each) as usize];
    let mut next = vec![0; senders as usize];
    loop {
        let message = patiently("a message", || consumer.try_recv().ok());
        let (sender, number) = Numbered::read(&message);
        if number == END {
            return marks;
        }
        let next = &mut next[sender as usize];
        assert!(number >= *next, "sender {sender}: {number} after {next}");
        *next = number + 1;
        marks[(u64::from(sender) * each + number) as usize] += 1;
    }
}

/// Takes the exclusive producer, forks, and waits; the child uses what it inherited as badly as it
/// can, and then waits too.
fn fork_without_exec<S: Shape>(ring: &UltraFastRing) {
    let mut producer = S::producer(ring);
    producer.send_fast(b"parent", NORMAL).unwrap();
    // SAFETY: the child calls only what needs no lock of another thread, and ends by a signal.
    match unsafe { libc::fork() } {
        0 => {
            producer.send_fast(b"child", NORMAL).unwrap();
            producer.flush();
            drop(producer);
            say("forked");
            loop {
                // SAFETY: waits for a signal and touches nothing.
                unsafe { libc::pause() };
            }
        }
        child => {
            say(&format!("{child}"));
            while order() == "send" {
                producer.send_fast(b"parent again", NORMAL).unwrap();
                say("sent");
            }
        }
    }
}

/// Forks `deaths` children, each of which opens the ring, takes part and dies in the middle of a
/// message; receives what they had finished.
fn die_often<S: Shape>(ring: &UltraFastRing, directory: &Path, deaths: u64) {
    let mut consumer = S::consumer(ring);
    for death in 0..deaths {
        Child::die_after(|| {
            let ring = Builder::new().directory(directory).open(NAME).unwrap();
            let mut producer = S::producer(&ring);
            // A second group may be a little behind.
            patiently("room", || producer.try_send(Numbered::new(0, death), NORMAL).ok());
            patiently("room", || producer.try_reserve(1, NORMAL).ok().map(std::mem::forget));
            producer
        });
        let message = patiently("the message of a dead one", || consumer.try_recv().ok());
        assert_eq!(Numbered::read(&message), (0, death));
    }
    say("done");
}

// ---- streams -----------------------------------------------------------------------------

/// Two senders and two receivers, or as many as there can be.
fn a_stream_between_processes_arrives_in_order_and_each_message_once<S: Shape>() {
    let messages = S::fewer(500_000);
    let directory = stage();
    let ring = at::<S>(&directory).capacity(1024).create(NAME).unwrap();
    S::open_groups(&ring);
    let second = S::read_second(&ring);
    let senders = S::most_producers(2) as u64;
    let each = messages / senders;
    let names = &["a", "b"][..S::most_consumers(2)];
    let receivers: Vec<_> = names
        .iter()
        .map(|name| start::<S>(&directory, &format!("mark {name} {senders} {each}")))
        .collect();
    let senders: Vec<_> = (0..senders)
        .map(|sender| start::<S>(&directory, &format!("stream {sender} {each}")))
        .collect();
    senders.into_iter().for_each(Actor::finish);
    // Else the end may overtake what is in other lanes.
    if S::has_lanes() {
        patiently("all is received", || ring.is_empty().then_some(()));
    }
    let mut producer = S::producer(&ring);
    for _ in &receivers {
        patiently("room", || producer.try_send(Numbered::new(0, END), NORMAL).ok());
    }
    receivers.into_iter().for_each(Actor::finish);
    let mut marks = vec![0; messages as usize];
    for name in names {
        let seen = std::fs::read(directory.path().join(name)).unwrap();
        marks.iter_mut().zip(seen).for_each(|(mark, seen)| *mark += seen);
    }
    assert!(marks.iter().all(|&times| times == 1), "not each message was received once");
    drop(producer);
    let all = messages + names.len() as u64;
    assert!(second.finish().is_none_or(|received| received == all));
    let stats = ring.stats();
    assert_eq!((stats.sent, stats.received), (all, all));
}
on_each_shape!(a_stream_between_processes_arrives_in_order_and_each_message_once);

// ---- deaths on exclusive sides -----------------------------------------------------------

fn an_exclusive_producers_successor_goes_on_at_once_and_nothing_committed_is_lost<S: Shape>() {
    for round in 0..8 {
        let directory = stage();
        let builder = at::<S>(&directory).capacity(64);
        let ring = builder.create(NAME).unwrap();
        let _second = S::read_second(&ring);
        let mut consumer = S::consumer(&ring);
        let sender = start_and_hear::<S>(&directory, "send-and-note", "streaming");
        for number in 0..1_000 + 37 * round {
            let message = patiently("a message", || consumer.try_recv().ok());
            assert_eq!(Numbered::read(&message), (0, number));
        }
        let before = 1_000 + 37 * round;
        sender.kill();
        let sent = noted(&directory, "sent");
        let mut successor = S::producer(&ring);
        let mut next = before;
        // What was committed comes first, without a gap; then what the successor sends.
        let mut successors = 0;
        loop {
            let message = patiently("a message", || {
                // There may be no room before a second group has gone on.
                if successors == 0 && successor.try_send(Numbered::new(1, 0), NORMAL).is_ok() {
                    successors = 1;
                }
                consumer.try_recv().ok()
            });
            match Numbered::read(&message) {
                (0, number) => {
                    assert_eq!(number, next);
                    next += 1;
                }
                other => {
                    assert_eq!(other, (1, 0));
                    break;
                }
            }
        }
        // The dead one may have committed one more than it could note.
        assert!(next == sent || next == sent + 1, "{next} received, {sent} noted as sent");
        assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty);
    }
}
on_each_shape!(
    an_exclusive_producers_successor_goes_on_at_once_and_nothing_committed_is_lost,
    needs(exclusive_lane)
);

fn an_exclusive_producers_successor_finds_what_was_committed_and_not_announced<S: Shape>() {
    let directory = stage();
    let builder = at::<S>(&directory).capacity(1024).timestamps(Timestamps::Off);
    for sent in 100..200 {
        let ring = builder.create(NAME).unwrap();
        start_and_hear::<S>(&directory, &format!("send {sent}"), "sent").kill();
        let announced = ring.positions().producer_tail;
        assert_eq!(ring.len() as u64, sent);
        let mut successor = S::producer(&ring);
        successor.try_send(Numbered::new(0, sent), NORMAL).unwrap();
        let mut consumer = S::consumer(&ring);
        let received = consumer.try_iter().map(|message| Numbered::read(&message).1);
        assert!(received.eq(0..=sent));
        if announced < sent {
            return;
        }
        builder.remove(NAME).unwrap();
    }
    panic!("no producer died with something to announce");
}
on_each_shape!(
    an_exclusive_producers_successor_finds_what_was_committed_and_not_announced,
    needs(exclusive_lane)
);

/// Kills an exclusive consumer at work; gives the number it had noted as next, and the number and
/// mark of the first message its successor gets.
fn kill_exclusive_consumer<S: Shape>(in_place: bool, round: u64) -> (u64, (u64, bool)) {
    let directory = stage();
    let builder = at::<S>(&directory).capacity(64);
    let ring = builder.create(NAME).unwrap();
    let mut producer = S::producer(&ring);
    let way = if in_place { "in-place" } else { "copy" };
    let role = format!("receive-and-note {way}");
    let receiver = start_and_hear::<S>(&directory, &role, "streaming");
    let mut number = 0;
    while number < 1_000 + 41 * round {
        patiently("room", || producer.try_send(Numbered::new(0, number), NORMAL).ok());
        number += 1;
    }
    receiver.kill();
    while producer.try_send(Numbered::new(0, number), NORMAL).is_ok() {
        number += 1;
    }
    let mut successor = S::consumer(&ring);
    let first = successor.try_recv().unwrap();
    let (_, first_number) = Numbered::read(&first);
    for expected in first_number + 1..number {
        let message = successor.try_recv().unwrap();
        assert!(!message.is_redelivered());
        assert_eq!(Numbered::read(&message).1, expected);
    }
    assert_eq!(successor.try_recv().unwrap_err(), RecvError::Empty);
    (noted(&directory, "received"), (first_number, first.is_redelivered()))
}

fn a_copying_consumer_that_is_killed_takes_at_most_one_message_with_it<S: Shape>() {
    for round in 0..8 {
        let (next, (first, marked)) = kill_exclusive_consumer::<S>(false, round);
        assert!(first == next || first == next + 1, "{first} comes first, {next} was next");
        assert!(!marked);
    }
}
on_each_shape!(
    a_copying_consumer_that_is_killed_takes_at_most_one_message_with_it,
    needs(exclusive_consumer)
);

fn a_consumer_that_reads_in_place_and_is_killed_loses_nothing<S: Shape>() {
    for round in 0..8 {
        let (next, (first, marked)) = kill_exclusive_consumer::<S>(true, round);
        // Killed after its note and before the release: the message comes again, marked.
        assert!(first == next || (first + 1 == next && marked), "{first} first, {next} next");
    }
}
on_each_shape!(
    a_consumer_that_reads_in_place_and_is_killed_loses_nothing,
    needs(exclusive_consumer)
);

fn what_an_exclusive_consumer_held_when_it_was_killed_is_redelivered_marked<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).capacity(4).create(NAME).unwrap();
    let mut producer = S::producer(&ring);
    for message in [b"one", b"two"] {
        producer.send_fast(message, NORMAL).unwrap();
    }
    start_and_hear::<S>(&directory, "hold", "holding").kill();
    let mut successor = S::consumer(&ring);
    let first = successor.try_recv().unwrap();
    assert_eq!((&*first, first.is_redelivered()), (&b"one"[..], true));
    let second = successor.try_recv().unwrap();
    assert_eq!((&*second, second.is_redelivered()), (&b"two"[..], false));
}
on_each_shape!(
    what_an_exclusive_consumer_held_when_it_was_killed_is_redelivered_marked,
    needs(exclusive_consumer)
);

fn what_an_exclusive_consumer_held_when_it_was_killed_is_discarded_if_the_ring_says_so<S: Shape>() {
    let directory = stage();
    let builder = at::<S>(&directory).capacity(4).redelivery(Redelivery::Discard);
    let ring = builder.create(NAME).unwrap();
    let mut producer = S::producer(&ring);
    for message in [b"one", b"two"] {
        producer.send_fast(message, NORMAL).unwrap();
    }
    start_and_hear::<S>(&directory, "hold", "holding").kill();
    let mut successor = S::consumer(&ring);
    assert_eq!(&*successor.try_recv().unwrap(), b"two");
    assert_eq!(ring.stats().discarded, 1);
}
on_each_shape!(
    what_an_exclusive_consumer_held_when_it_was_killed_is_discarded_if_the_ring_says_so,
    needs(exclusive_consumer)
);

fn an_exclusive_consumers_successor_gives_back_what_it_had_released_and_not_granted<S: Shape>() {
    // A reserve that leaves the least urgent class one credit: it may send when all is granted.
    let directory = stage();
    let builder = at::<S>(&directory)
        .capacity(64)
        .reserve(PriorityClass::RealTime, 63)
        .timestamps(Timestamps::Off);
    for received in 20..64 {
        let ring = builder.create(NAME).unwrap();
        let mut producer = S::producer(&ring);
        for number in 0..received {
            let message = Numbered::new(0, number);
            producer.send_fast(message.as_ref(), PriorityClass::RealTime).unwrap();
        }
        let role = format!("receive {received}");
        start_and_hear::<S>(&directory, &role, "received").kill();
        let positions = ring.positions();
        if positions.consumer_tail < positions.consumer_head {
            let mut successor = S::consumer(&ring);
            patiently("credit, in an empty ring", || {
                assert_eq!(successor.try_recv().unwrap_err(), RecvError::Empty);
                producer.send_fast(b"x", PriorityClass::Bulk).ok()
            });
            return;
        }
        builder.remove(NAME).unwrap();
    }
    panic!("no consumer died with something to grant");
}
on_each_shape!(
    an_exclusive_consumers_successor_gives_back_what_it_had_released_and_not_granted,
    needs(exclusive_consumer, reserves)
);

// ---- deaths on shared sides --------------------------------------------------------------

fn a_shared_producer_killed_with_a_claim_holds_up_nobody<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).capacity(4).create(NAME).unwrap();
    let mut producer = S::producer(&ring);
    let actor = start_and_hear::<S>(&directory, "reserve", "reserved");
    producer.send_fast(b"next", NORMAL).unwrap();
    let mut consumer = S::consumer(&ring);
    assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty);
    actor.kill();
    assert_eq!(&*patiently("the next message", || consumer.try_recv().ok()), b"next");
    assert_eq!(ring.stats().abandoned, 1);
}
on_each_shape!(a_shared_producer_killed_with_a_claim_holds_up_nobody, needs(two_producers));

fn a_claim_that_a_newcomer_abandons_is_counted<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).capacity(4).participants(1).create(NAME).unwrap();
    start_and_hear::<S>(&directory, "reserve", "reserved").kill();
    // The only entry is the dead one's: its work is finished first.
    drop(S::producer(&ring));
    assert_eq!(ring.stats().abandoned, 1);
}
on_each_shape!(a_claim_that_a_newcomer_abandons_is_counted, needs(shared_producer));

fn what_a_shared_consumer_held_when_it_was_killed_is_redelivered_once_and_marked<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).capacity(4).create(NAME).unwrap();
    let mut producer = S::producer(&ring);
    let mut other = S::consumer(&ring);
    for message in [b"one", b"two"] {
        producer.send_fast(message, NORMAL).unwrap();
    }
    let actor = start_and_hear::<S>(&directory, "hold", "holding");
    assert_eq!(&*other.try_recv().unwrap(), b"two");
    actor.kill();
    let again = patiently("the dead one's message", || other.try_recv().ok());
    assert_eq!((&*again, again.is_redelivered()), (&b"one"[..], true));
    other.flush();
    assert_eq!(ring.stats().redelivered, 1);
    // All slots have come back.
    S::drain_second(&ring);
    let full = [b"a", b"b", b"c", b"d"];
    assert_eq!(producer.send_batch(&full, NORMAL), Ok(4));
    let rest: Vec<_> = other.try_iter().map(|message| message.is_redelivered()).collect();
    assert_eq!(rest, [false; 4]);
}
on_each_shape!(
    what_a_shared_consumer_held_when_it_was_killed_is_redelivered_once_and_marked,
    needs(two_consumers)
);

fn a_redelivered_message_that_does_not_fit_is_counted_once<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).capacity(4).create(NAME).unwrap();
    let mut producer = S::producer(&ring);
    let mut other = S::consumer(&ring);
    producer.send_fast(b"too long", NORMAL).unwrap();
    start_and_hear::<S>(&directory, "hold", "holding").kill();
    for _ in 0..3 {
        let error = patiently("the dead one's message", || match other.recv_fast(&mut [0; 2]) {
            Err(RecvError::Empty) => None,
            result => Some(result.unwrap_err()),
        });
        assert_eq!(error, RecvError::BufferTooSmall { needed: 8, available: 2 });
    }
    assert!(other.try_recv().unwrap().is_redelivered());
    other.flush();
    assert_eq!(ring.stats().redelivered, 1);
}
on_each_shape!(a_redelivered_message_that_does_not_fit_is_counted_once, needs(two_consumers));

fn what_a_shared_consumer_held_when_it_was_killed_is_discarded_if_the_ring_says_so<S: Shape>() {
    let directory = stage();
    let builder = at::<S>(&directory).capacity(1).redelivery(Redelivery::Discard);
    let ring = builder.create(NAME).unwrap();
    let mut producer = S::producer(&ring);
    producer.send_fast(b"one", NORMAL).unwrap();
    S::drain_second(&ring);
    let mut other = S::consumer(&ring);
    start_and_hear::<S>(&directory, "hold", "holding").kill();
    // The slot comes back, and the message does not.
    patiently("room", || {
        assert_eq!(other.try_recv().unwrap_err(), RecvError::Empty);
        producer.send_fast(b"two", NORMAL).ok()
    });
    assert_eq!(&*other.try_recv().unwrap(), b"two");
    assert_eq!(ring.stats().discarded, 1);
}
on_each_shape!(
    what_a_shared_consumer_held_when_it_was_killed_is_discarded_if_the_ring_says_so,
    needs(two_consumers)
);

fn what_is_discarded_when_a_newcomer_takes_the_entry_is_counted<S: Shape>() {
    let directory = stage();
    let builder = at::<S>(&directory).capacity(1).participants(2).redelivery(Redelivery::Discard);
    let ring = builder.create(NAME).unwrap();
    let mut producer = S::producer(&ring);
    producer.send_fast(b"one", NORMAL).unwrap();
    producer.flush();
    start_and_hear::<S>(&directory, "hold", "holding").kill();
    let mut newcomer = S::consumer(&ring);
    newcomer.flush();
    producer.send_fast(b"two", NORMAL).unwrap();
    assert_eq!(&*newcomer.try_recv().unwrap(), b"two");
    assert_eq!(ring.stats().discarded, 1);
}
on_each_shape!(
    what_is_discarded_when_a_newcomer_takes_the_entry_is_counted,
    needs(shared_consumer, one_group)
);

/// Where an entry is in the file: see `layout`.
fn entry_offset<S: Shape>(ring: &UltraFastRing, index: usize) -> u64 {
    (S::place(ring, "participants") + 1_024 * index) as u64
}

/// Where its hold is: see `participant`.
fn hold_offset<S: Shape>(ring: &UltraFastRing, index: usize) -> u64 {
    entry_offset::<S>(ring, index) + 3 * 64
}

/// Two consumers that wanted the same message, both killed before either could move on: one had
/// won it, the other was about to find that it had not. The second is cut at an instant that no
/// signal can be sure to hit, so its last store is made here in its place.
fn two_dead_consumers_that_show_the_same_hold<S: Shape>(directory: &TempDir, ring: &UltraFastRing) {
    let loser = start_and_hear::<S>(directory, "attach consumer", "attached");
    let winner = start_and_hear::<S>(directory, "hold", "holding");
    let entry = |pid: Pid| {
        let pid = pid.as_raw_nonzero().get() as u32;
        ring.participants().find(|other| other.pid == pid).unwrap()
    };
    let (winners, losers) = (entry(winner.pid()).index, entry(loser.pid()).index);
    winner.kill();
    loser.kill();
    let file = File::options().read(true).write(true).open(ring.path().unwrap()).unwrap();
    let mut hold = [0; 8];
    file.read_exact_at(&mut hold, hold_offset::<S>(ring, winners)).unwrap();
    assert_ne!(hold, [0; 8]);
    file.write_all_at(&hold, hold_offset::<S>(ring, losers)).unwrap();
}

fn two_dead_consumers_that_wanted_the_same_message_do_not_block_the_ring<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).capacity(2).create(NAME).unwrap();
    let _second = S::read_second(&ring);
    let mut producer = S::producer(&ring);
    let mut consumer = S::consumer(&ring);
    producer.send_fast(b"one", NORMAL).unwrap();
    two_dead_consumers_that_show_the_same_hold::<S>(&directory, &ring);
    let again = patiently("the dead one's message", || consumer.try_recv().ok());
    assert_eq!((&*again, again.is_redelivered()), (&b"one"[..], true));
    for _ in 0..5 {
        patiently("room, and no more messages but that one again", || {
            if let Ok(message) = consumer.try_recv() {
                assert!(!message.is_redelivered() || *message == *b"one");
            }
            producer.send_fast(b"two", NORMAL).ok()
        });
    }
}
on_each_shape!(
    two_dead_consumers_that_wanted_the_same_message_do_not_block_the_ring,
    needs(two_consumers)
);

fn a_newcomer_in_a_dead_consumers_entry_does_not_block_the_ring<S: Shape>() {
    let directory = stage();
    let participants = 3 + S::groups().len().saturating_sub(1);
    let ring = at::<S>(&directory).capacity(2).participants(participants).create(NAME).unwrap();
    let _second = S::read_second(&ring);
    let mut producer = S::producer(&ring);
    producer.send_fast(b"one", NORMAL).unwrap();
    two_dead_consumers_that_show_the_same_hold::<S>(&directory, &ring);
    // No entry is free: this one gets one of the dead ones'.
    let mut consumer = S::consumer(&ring);
    let again = patiently("the dead one's message", || consumer.try_recv().ok());
    assert_eq!((&*again, again.is_redelivered()), (&b"one"[..], true));
    for _ in 0..5 {
        patiently("room, and no more messages but that one again", || {
            let _ = consumer.try_recv();
            producer.send_fast(b"two", NORMAL).ok()
        });
    }
}
on_each_shape!(a_newcomer_in_a_dead_consumers_entry_does_not_block_the_ring, needs(two_consumers));

// ---- the living are not robbed -----------------------------------------------------------

/// Calls `poll` for a time in which a dead peer would be found out many times over.
fn for_a_while(mut poll: impl FnMut()) {
    let since = std::time::Instant::now();
    while since.elapsed() < Duration::from_millis(300) {
        poll();
    }
}

fn a_stopped_producer_is_not_robbed_of_its_claim_and_goes_on<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).capacity(4).create(NAME).unwrap();
    let mut producer = S::producer(&ring);
    let mut consumer = S::consumer(&ring);
    let mut actor = start_and_hear::<S>(&directory, "reserve", "reserved");
    producer.send_fast(b"next", NORMAL).unwrap();
    kill_process(actor.pid(), Signal::STOP).unwrap();
    for_a_while(|| assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty));
    kill_process(actor.pid(), Signal::CONT).unwrap();
    actor.tell("commit");
    assert_eq!(actor.hear(), "committed");
    assert_eq!(&*consumer.try_recv().unwrap(), b"late");
    assert_eq!(&*consumer.try_recv().unwrap(), b"next");
    assert_eq!(ring.stats().abandoned, 0);
}
on_each_shape!(a_stopped_producer_is_not_robbed_of_its_claim_and_goes_on, needs(two_producers));

fn a_stopped_consumer_is_not_robbed_of_what_it_holds_and_goes_on<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).capacity(1).create(NAME).unwrap();
    let _second = S::read_second(&ring);
    let mut producer = S::producer(&ring);
    let mut consumer = S::consumer(&ring);
    producer.send_fast(b"one", NORMAL).unwrap();
    let mut actor = start_and_hear::<S>(&directory, "hold", "holding");
    kill_process(actor.pid(), Signal::STOP).unwrap();
    for_a_while(|| {
        assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty);
        assert_eq!(producer.send_fast(b"two", NORMAL), Err(SendError::Full));
    });
    kill_process(actor.pid(), Signal::CONT).unwrap();
    actor.tell("release");
    assert_eq!(actor.hear(), "released");
    patiently("room", || producer.send_fast(b"two", NORMAL).ok());
    assert!(!consumer.try_recv().unwrap().is_redelivered());
}
on_each_shape!(a_stopped_consumer_is_not_robbed_of_what_it_holds_and_goes_on, needs(two_consumers));

fn a_stopped_exclusive_handle_keeps_its_side<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).create(NAME).unwrap();
    let actor = start_and_hear::<S>(&directory, "attach producer", "attached");
    kill_process(actor.pid(), Signal::STOP).unwrap();
    for_a_while(|| assert!(S::is_producer_taken(&ring)));
    actor.kill();
    S::producer(&ring);
}
on_each_shape!(a_stopped_exclusive_handle_keeps_its_side, needs(exclusive_producer));

fn a_stopped_exclusive_producer_is_waited_for_and_goes_on<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).capacity(16).create(NAME).unwrap();
    let _second = S::read_second(&ring);
    let mut consumer = S::consumer(&ring);
    let actor = start_and_hear::<S>(&directory, "send-and-note", "streaming");
    let mut next = 0;
    for _ in 0..5 {
        kill_process(actor.pid(), Signal::STOP).unwrap();
        for_a_while(|| {
            while let Ok(message) = consumer.try_recv() {
                assert_eq!(Numbered::read(&message), (0, next));
                next += 1;
            }
            assert!(S::is_producer_taken(&ring));
        });
        kill_process(actor.pid(), Signal::CONT).unwrap();
        for _ in 0..100 {
            let message = patiently("a message", || consumer.try_recv().ok());
            assert_eq!(Numbered::read(&message), (0, next));
            next += 1;
        }
    }
}
on_each_shape!(a_stopped_exclusive_producer_is_waited_for_and_goes_on, needs(exclusive_producer));

fn a_stopped_exclusive_consumer_is_not_robbed_of_what_it_holds_and_goes_on<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).capacity(2).create(NAME).unwrap();
    let mut producer = S::producer(&ring);
    producer.send_fast(b"one", NORMAL).unwrap();
    let mut actor = start_and_hear::<S>(&directory, "hold", "holding");
    kill_process(actor.pid(), Signal::STOP).unwrap();
    // The others go on until their credit is spent.
    producer.send_fast(b"two", NORMAL).unwrap();
    for_a_while(|| {
        assert!(S::is_taken(&ring));
        assert_eq!(producer.send_fast(b"three", NORMAL), Err(SendError::Full));
    });
    kill_process(actor.pid(), Signal::CONT).unwrap();
    actor.tell("release");
    assert_eq!(actor.hear(), "released");
    patiently("room", || producer.send_fast(b"three", NORMAL).ok());
    actor.finish();
    let mut successor = S::consumer(&ring);
    let rest: Vec<_> = successor.try_iter().map(|it| (it.to_vec(), it.is_redelivered())).collect();
    assert_eq!(rest, [(b"two".to_vec(), false), (b"three".to_vec(), false)]);
}
on_each_shape!(
    a_stopped_exclusive_consumer_is_not_robbed_of_what_it_holds_and_goes_on,
    needs(exclusive_consumer)
);

/// One that delivers a dead consumer's message is stopped at it.
fn a_stopped_repairer<S: Shape>(directory: &TempDir) -> (UltraFastRing, Actor) {
    let ring = at::<S>(directory).capacity(2).create(NAME).unwrap();
    let mut producer = S::producer(&ring);
    for message in [b"one", b"two"] {
        producer.send_fast(message, NORMAL).unwrap();
    }
    let holder = start_and_hear::<S>(directory, "hold", "holding");
    assert_eq!(&*S::consumer(&ring).try_recv().unwrap(), b"two");
    holder.kill();
    let repairer = start_and_hear::<S>(directory, "adopt", "adopted");
    kill_process(repairer.pid(), Signal::STOP).unwrap();
    (ring, repairer)
}

fn a_stopped_repairer_is_not_robbed_and_goes_on<S: Shape>() {
    let directory = stage();
    let (ring, mut repairer) = a_stopped_repairer::<S>(&directory);
    S::drain_second(&ring);
    let (mut producer, mut other) = (S::producer(&ring), S::consumer(&ring));
    for_a_while(|| {
        assert_eq!(other.try_recv().unwrap_err(), RecvError::Empty);
        assert_eq!(producer.send_fast(b"three", NORMAL), Err(SendError::Full));
    });
    // The entry that it has adopted is told to be a dead one's.
    assert_eq!(ring.participants().filter(|it| !it.alive && it.hold.is_some()).count(), 1);
    kill_process(repairer.pid(), Signal::CONT).unwrap();
    repairer.tell("release");
    assert_eq!(repairer.hear(), "released");
    let full = [b"three", b"four "];
    patiently("room", || {
        let _ = other.try_recv().map(|it| assert!(!it.is_redelivered()));
        (producer.send_batch(&full, NORMAL) == Ok(2)).then_some(())
    });
    assert_eq!(ring.stats().redelivered, 1);
}
on_each_shape!(a_stopped_repairer_is_not_robbed_and_goes_on, needs(two_consumers));

fn a_stopped_repairer_that_is_killed_leaves_its_message_to_the_next<S: Shape>() {
    let directory = stage();
    let (ring, repairer) = a_stopped_repairer::<S>(&directory);
    let mut other = S::consumer(&ring);
    repairer.kill();
    let again = patiently("the message", || other.try_recv().ok());
    assert_eq!((&*again, again.is_redelivered()), (&b"one"[..], true));
}
on_each_shape!(
    a_stopped_repairer_that_is_killed_leaves_its_message_to_the_next,
    needs(two_consumers)
);

// ---- identity is told, and not used --------------------------------------------------------

/// Writes another process id into the entry that shows `of`.
fn write_pid<S: Shape>(ring: &UltraFastRing, of: Pid, pid: u64) {
    let of = of.as_raw_nonzero().get() as u32;
    let index = ring.participants().find(|it| it.pid == of).unwrap().index;
    let file = File::options().read(true).write(true).open(ring.path().unwrap()).unwrap();
    file.write_all_at(&pid.to_le_bytes(), entry_offset::<S>(ring, index) + 16).unwrap();
}

fn a_dead_one_whose_pid_is_somebody_elses_by_now_is_dead_all_the_same<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).capacity(4).create(NAME).unwrap();
    let mut producer = S::producer(&ring);
    let actor = start_and_hear::<S>(&directory, "reserve", "reserved");
    producer.send_fast(b"next", NORMAL).unwrap();
    write_pid::<S>(&ring, actor.pid(), std::process::id().into());
    actor.kill();
    let mut consumer = S::consumer(&ring);
    assert_eq!(&*patiently("the next message", || consumer.try_recv().ok()), b"next");
}
on_each_shape!(
    a_dead_one_whose_pid_is_somebody_elses_by_now_is_dead_all_the_same,
    needs(two_producers)
);

fn a_living_one_whose_pid_is_nobodys_is_not_robbed<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).capacity(4).create(NAME).unwrap();
    let mut producer = S::producer(&ring);
    let mut actor = start_and_hear::<S>(&directory, "reserve", "reserved");
    // Beyond what any Linux gives (PID_MAX_LIMIT).
    write_pid::<S>(&ring, actor.pid(), 1 << 30);
    let mut consumer = S::consumer(&ring);
    producer.send_fast(b"next", NORMAL).unwrap();
    for_a_while(|| assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty));
    actor.tell("commit");
    assert_eq!(actor.hear(), "committed");
    assert_eq!(&*consumer.try_recv().unwrap(), b"late");
}
on_each_shape!(a_living_one_whose_pid_is_nobodys_is_not_robbed, needs(two_producers));

fn the_death_of_one_in_another_pid_namespace_is_noticed_and_its_namesakes_life_too<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).capacity(4).create(NAME).unwrap();
    let mut producer = S::producer(&ring);
    let mut other = S::consumer(&ring);
    for message in [b"one", b"two"] {
        producer.send_fast(message, NORMAL).unwrap();
    }
    let Some(mut holder) = start_in_namespace::<S>(&directory, "hold") else {
        common::skip("pid namespaces cannot be made here (unshare --pid)");
        return;
    };
    assert_eq!(holder.hear(), "holding");
    let mut namesake = start_in_namespace::<S>(&directory, "attach producer").unwrap();
    assert_eq!(namesake.hear(), "attached");
    let first_ones = || ring.participants().filter(|it| it.pid == 1);
    let namespaces = || first_ones().map(|it| it.pid_namespace).collect::<BTreeSet<_>>().len();
    assert_eq!((namespaces(), first_ones().all(|it| it.alive)), (2, true));
    assert_eq!(&*other.try_recv().unwrap(), b"two");
    for_a_while(|| assert_eq!(other.try_recv().unwrap_err(), RecvError::Empty));
    holder.kill();
    let again = patiently("the dead one's message", || other.try_recv().ok());
    assert_eq!((&*again, again.is_redelivered()), (&b"one"[..], true));
    if S::has_lanes() {
        // It has an entry in each lane, and blocked one.
        ring.repair().unwrap();
    }
    assert!(first_ones().all(|it| it.alive) && namespaces() == 1);
}
on_each_shape!(
    the_death_of_one_in_another_pid_namespace_is_noticed_and_its_namesakes_life_too,
    needs(two_of_each)
);

fn a_program_that_another_is_executed_in_place_of_keeps_nothing<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).create(NAME).unwrap();
    let mut actor = start_and_hear::<S>(&directory, "exec", "attached");
    assert!(S::is_producer_taken(&ring));
    assert_eq!(ring.is_open_elsewhere(), Some(true));
    actor.tell("exec");
    let _successor = patiently("the side", || ring.producer().ok());
    assert_eq!(ring.is_open_elsewhere(), Some(false));
    assert!(actor.process.try_wait().unwrap().is_none(), "the process was to live on");
}
on_each_shape!(
    a_program_that_another_is_executed_in_place_of_keeps_nothing,
    needs(exclusive_producer)
);

fn a_second_exclusive_handle_is_refused_with_the_pid_and_name_of_the_first<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).create(NAME).unwrap();
    let actor = start_and_hear::<S>(&directory, "attach producer", "attached");
    let error = ring.producer().unwrap_err();
    let RingError::SideTaken { side: Side::Producer, holder: Some(holder) } = &error else {
        panic!("{error:?}");
    };
    let pid = actor.pid().as_raw_nonzero().get() as u32;
    assert_eq!((holder.pid, holder.name.as_str()), (pid, "attach"));
    let text = error.to_string();
    assert!(text.contains(&pid.to_string()) && text.contains("attach"), "{text}");
}
on_each_shape!(
    a_second_exclusive_handle_is_refused_with_the_pid_and_name_of_the_first,
    needs(exclusive_producer)
);

// ---- forks -------------------------------------------------------------------------------

fn a_forked_child_neither_keeps_nor_ends_nor_doubles_its_parents_handle<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).capacity(16).create(NAME).unwrap();
    let mut consumer = S::consumer(&ring);
    let mut parent = start::<S>(&directory, "fork");
    let mut said = [parent.hear(), parent.hear()];
    said.sort();
    assert_eq!(said[1], "forked");
    let child = Pid::from_raw(said[0].parse().unwrap()).unwrap();
    let taken = || S::is_producer_taken(&ring);
    assert!(taken(), "the child's drop of the handle freed the parent's side");
    assert_eq!(&*consumer.try_recv().unwrap(), b"parent");
    assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty, "the child sent");
    parent.tell("send");
    assert_eq!(parent.hear(), "sent");
    assert_eq!(&*consumer.try_recv().unwrap(), b"parent again");

    parent.kill();
    let successor = S::try_producer(&ring);
    let alive = kill_process(child, Signal::CONT).is_ok();
    kill_process(child, Signal::KILL).unwrap();
    assert!(alive, "the child was to outlive its parent");
    successor.expect("the parent is dead").send_fast(b"successor", NORMAL).unwrap();
    assert_eq!(&*consumer.try_recv().unwrap(), b"successor");
}
on_each_shape!(
    a_forked_child_neither_keeps_nor_ends_nor_doubles_its_parents_handle,
    needs(exclusive_producer)
);

fn an_entry_is_used_again_after_thousands_of_deaths<S: Shape>() {
    let deaths = S::fewer(1_000);
    let directory = stage();
    let ring = at::<S>(&directory).capacity(8).participants(4).create(NAME).unwrap();
    let second = S::read_second(&ring);
    let mut actor = start::<S>(&directory, &format!("die-often {deaths}"));
    assert_eq!(actor.hear(), "done");
    actor.finish();
    // The last one's claim may be unfinished work still.
    drop(S::producer(&ring));
    assert!(second.finish().is_none_or(|received| received == deaths));
    // Abandoned slots are passed by each group, and are no messages.
    assert_eq!(ring.stats().received, deaths);
    let in_front = ring.stats().sent - deaths;
    assert_eq!(in_front, u64::from(S::producers_share()), "of the last one");
}
on_each_shape!(an_entry_is_used_again_after_thousands_of_deaths);

// ---- the table, the name, the whole ------------------------------------------------------

fn a_full_table_says_so_and_is_free_again_when_processes_die<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).participants(3).create(NAME).unwrap();
    let attach = |side| start_and_hear::<S>(&directory, &format!("attach {side}"), "attached");
    let actors = ["producer", "consumer", "producer"].map(attach);
    let error = ring.producer().unwrap_err();
    assert!(matches!(error, RingError::TableFull { participants: 3 }), "{error:?}");
    assert!(error.to_string().contains("all 3 entries"), "{error}");
    let refusal = if S::has_lanes() { SendError::HasLanes } else { SendError::NoEntry };
    assert_eq!(ring.send_fast(b"x", NORMAL), Err(refusal));
    actors.into_iter().for_each(Actor::kill);
    let handles = [(); 3].map(|()| S::producer(&ring));
    assert!(ring.producer().is_err());
    drop(handles);
    S::producer(&ring).send_fast(b"x", NORMAL).unwrap();
}
on_each_shape!(a_full_table_says_so_and_is_free_again_when_processes_die, needs(two_producers));

fn processes_that_create_at_once_end_with_one_ring<S: Shape>() {
    for _ in 0..10 {
        let directory = stage();
        let mut actors = [(); 4].map(|()| start::<S>(&directory, "meet"));
        actors.iter_mut().for_each(|actor| assert_eq!(actor.hear(), "ready"));
        actors.iter_mut().for_each(|actor| actor.tell("go"));
        actors.iter_mut().for_each(|actor| assert_eq!(actor.hear(), "met"));
        let ring = at::<S>(&directory).open(NAME).unwrap();
        assert_eq!((ring.len(), ring.stats().sent), (4, 4));
        // The ring and its lock file.
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }
}
on_each_shape!(processes_that_create_at_once_end_with_one_ring);

fn a_creator_that_is_killed_leaves_nothing_that_blocks<S: Shape>() {
    let directory = stage();
    for _ in 0..8 {
        start_and_hear::<S>(&directory, "create", "busy").kill();
        for name in ["0", "1", "2"] {
            let ring =
                at::<S>(&directory).capacity(4).accept_existing(true).open_or_create(name).unwrap();
            S::producer(&ring).send_fast(b"x", NORMAL).unwrap();
            S::consumer(&ring).try_recv().unwrap();
            drop(ring);
            at::<S>(&directory).remove(name).unwrap();
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
on_each_shape!(a_creator_that_is_killed_leaves_nothing_that_blocks);

fn a_ring_whose_participants_all_die_at_once_has_lost_nothing_committed<S: Shape>() {
    for round in 0..5 {
        let directory = stage();
        drop(at::<S>(&directory).capacity(256).create(NAME).unwrap());
        let sender = start_and_hear::<S>(&directory, "send-and-note", "streaming");
        let role = "receive-and-note in-place";
        let receiver = start_and_hear::<S>(&directory, role, "streaming");
        patiently("some traffic", || (noted(&directory, "received") > 300 * round).then_some(()));
        for actor in [&sender, &receiver] {
            kill_process(actor.pid(), Signal::KILL).unwrap();
        }
        [sender, receiver].into_iter().for_each(Actor::kill);
        let (sent, received) = (noted(&directory, "sent"), noted(&directory, "received"));
        let ring = at::<S>(&directory).open(NAME).unwrap();
        let mut consumer = S::consumer(&ring);
        S::producer(&ring).try_send(Numbered::new(1, 0), NORMAL).ok();
        let mut numbers = Vec::new();
        patiently("all that was sent", || {
            if let Ok(message) = consumer.try_recv() {
                let (sender, number) = Numbered::read(&message);
                assert!(sender == 1 || number >= received || message.is_redelivered());
                if sender == 0 {
                    numbers.push(number);
                }
            }
            let all = (received..sent).all(|number| numbers.contains(&number));
            (all && ring.is_empty()).then_some(())
        });
        numbers.sort_unstable();
        assert!(numbers.is_sorted_by(|a, b| a < b), "a message came twice: {numbers:?}");
    }
}
on_each_shape!(
    a_ring_whose_participants_all_die_at_once_has_lost_nothing_committed,
    needs(one_group)
);

fn statistics_survive_their_participant<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).capacity(1024).create(NAME).unwrap();
    start_and_hear::<S>(&directory, "send 1000 flush", "sent").kill();
    assert_eq!(ring.stats().sent, 1_000);
    // Without a flush, a killed one takes at most 64 with it.
    let mut consumer = S::consumer(&ring);
    assert_eq!(consumer.try_iter().count(), 1_000);
    consumer.flush();
    S::drain_second(&ring);
    start_and_hear::<S>(&directory, "send 1000", "sent").kill();
    let sent = ring.stats().sent;
    assert!((1_936..=2_000).contains(&sent), "{sent} of 2000 are counted");
    // Who takes the entry next counts on.
    drop(S::producer(&ring));
    assert_eq!(ring.stats().sent, sent);
}
on_each_shape!(statistics_survive_their_participant);
