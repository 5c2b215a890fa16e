//! Real processes over named rings, killed, stopped and forked at the worst moments.
//!
//! How parts are played by other processes is told in `common/actor.rs`; the parts are in [`play`].

#![cfg(all(feature = "std", not(loom)))]

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::actor::{self, Actor, order, say, stage};
use common::{Numbered, patiently};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use ultrafastring::{
    Builder, Consumer, Mode, PriorityClass, Producer, RecvError, Redelivery, RingError, SendError,
    Sharing, Side, Timestamps, UltraFastRing,
};

const NORMAL: PriorityClass = PriorityClass::Normal;
const NAME: &str = "stage";
/// Number of the message that ends a stream.
const END: u64 = u64::MAX;

// ---- directing ---------------------------------------------------------------------------

/// Starts one as the first process of a pid namespace of its own, if that is allowed here.
fn start_in_namespace(directory: &Path, role: &str) -> Option<Actor> {
    const UNSHARE: [&str; 4] = ["unshare", "--pid", "--fork", "--kill-child=KILL"];
    let try_it = Command::new(UNSHARE[0]).args(&UNSHARE[1..]).arg("true").status();
    try_it
        .is_ok_and(|status| status.success())
        .then(|| Actor::start_through(&UNSHARE, directory, role))
}

fn at(directory: &TempDir) -> Builder {
    Builder::new().directory(directory.path())
}

// ---- acting ------------------------------------------------------------------------------

/// Not a test by itself: the way into the other processes.
#[test]
fn an_actor_plays_its_part() {
    let Some((words, directory)) = actor::part() else { return };
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    play(words[0], &words[1..], &directory);
}

fn play(role: &str, arguments: &[&str], directory: &Path) {
    let builder = Builder::new().directory(directory).participant_name(role);
    let number = |place: usize| arguments[place].parse::<u64>().unwrap();
    if role == "meet" {
        say("ready");
        order();
        let ring = builder.capacity(16).open_or_create(NAME).unwrap();
        ring.send_fast(b"here", NORMAL).unwrap();
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
    let exclusive = |side| side == Sharing::Exclusive;
    match role {
        "stream" => {
            let (sender, count) = (number(0) as u32, number(1));
            if exclusive(ring.producer_side()) {
                stream(ring.exclusive_producer().unwrap(), sender, count);
            } else {
                stream(ring.producer().unwrap(), sender, count);
            }
        }
        "send-and-note" => {
            let note = File::create(directory.join("sent")).unwrap();
            if exclusive(ring.producer_side()) {
                send_and_note(ring.exclusive_producer().unwrap(), &note);
            } else {
                send_and_note(ring.producer().unwrap(), &note);
            }
        }
        "receive-and-note" => {
            let note = File::create(directory.join("received")).unwrap();
            let in_place = arguments[0] == "in-place";
            if exclusive(ring.consumer_side()) {
                receive_and_note(ring.exclusive_consumer().unwrap(), &note, in_place);
            } else {
                receive_and_note(ring.consumer().unwrap(), &note, in_place);
            }
        }
        "mark" => {
            let (senders, each) = (number(1), number(2));
            let marks = mark_all(ring.consumer().unwrap(), senders, each);
            std::fs::write(directory.join(arguments[0]), marks).unwrap();
        }
        "receive" => {
            let count = number(0);
            let mut consumer = ring.exclusive_consumer().unwrap();
            for _ in 0..count {
                patiently("a message", || consumer.try_recv().ok());
            }
            say("received");
            order();
        }
        "hold" if exclusive(ring.consumer_side()) => hold(ring.exclusive_consumer().unwrap()),
        "hold" => hold(ring.consumer().unwrap()),
        "adopt" => {
            let mut consumer = ring.consumer().unwrap();
            patiently("a dead one's message", || {
                let message = consumer.borrow().ok()?;
                message.is_redelivered().then(|| std::mem::forget(message))
            });
            say("adopted");
            order();
            consumer.flush();
            say("released");
            order();
        }
        "exec" => {
            let _producer = ring.exclusive_producer().unwrap();
            say("attached");
            order();
            let error = std::os::unix::process::CommandExt::exec(Command::new("sleep").arg("60"));
            panic!("{error}");
        }
        "reserve" => {
            let mut producer = ring.producer().unwrap();
            let mut guard = producer.reserve(4, NORMAL).unwrap();
            guard.copy_from_slice(b"late");
            say("reserved");
            order();
            guard.commit();
            say("committed");
            order();
        }
        "attach" => {
            let _handles: (Option<Producer<_>>, Option<Consumer<_>>) = match arguments[0] {
                "producer" => (Some(ring.producer().unwrap()), None),
                _ => (None, Some(ring.consumer().unwrap())),
            };
            say("attached");
            order();
        }
        "attach-exclusive" => {
            let _producer = ring.exclusive_producer().unwrap();
            say("attached");
            order();
        }
        "count" => {
            let mut producer = ring.producer().unwrap();
            for message in 0..number(0) {
                producer.try_send(Numbered::new(0, message), NORMAL).unwrap();
            }
            if arguments[1] == "flush" {
                producer.flush();
            }
            say("counted");
            order();
        }
        "send" => {
            let mut producer = ring.exclusive_producer().unwrap();
            for message in 0..number(0) {
                producer.try_send(Numbered::new(0, message), NORMAL).unwrap();
            }
            say("sent");
            order();
        }
        "fork" => fork_without_exec(&ring),
        "die-often" => die_often(directory, number(0)),
        _ => panic!("there is no role {role}"),
    }
}

fn stream<S: Mode>(mut producer: Producer<S>, sender: u32, count: u64) {
    say("streaming");
    for number in 0..count {
        let message = Numbered::new(sender, number);
        patiently("room", || producer.try_send(message, NORMAL).ok());
    }
}

/// Sends for ever, and notes after each message how many have been sent.
fn send_and_note<S: Mode>(mut producer: Producer<S>, note: &File) {
    say("streaming");
    for number in 0u64.. {
        let message = Numbered::new(0, number);
        patiently("room", || producer.try_send(message, NORMAL).ok());
        note.write_all_at(&(number + 1).to_le_bytes(), 0).unwrap();
    }
}

/// Receives for ever, and notes after the work on each message what is next.
fn receive_and_note<S: Mode>(mut consumer: Consumer<S>, note: &File, in_place: bool) {
    say("streaming");
    loop {
        let work = |bytes: &[u8]| {
            let (_, number) = Numbered::read(bytes);
            note.write_all_at(&(number + 1).to_le_bytes(), 0).unwrap();
        };
        patiently("a message", || {
            if in_place {
                consumer.borrow().ok().map(|guard| work(&guard.to_vec()))
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
fn mark_all(mut consumer: Consumer<ultrafastring::Shared>, senders: u64, each: u64) -> Vec<u8> {
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

fn hold<S: Mode>(mut consumer: Consumer<S>) {
    // A forgotten guard holds its message until the next call.
    patiently("a message", || consumer.borrow().ok().map(std::mem::forget));
    say("holding");
    order();
    consumer.flush();
    say("released");
    order();
}

/// Takes the exclusive producer, forks, and waits; the child uses what it inherited as badly as it
/// can, and then waits too.
fn fork_without_exec(ring: &UltraFastRing) {
    let mut producer = ring.exclusive_producer().unwrap();
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
fn die_often(directory: &Path, deaths: u64) {
    let ring = Builder::new().directory(directory).open(NAME).unwrap();
    let mut consumer = ring.consumer().unwrap();
    let mut received = 0;
    for death in 0..deaths {
        // SAFETY: this process has no other thread that holds a lock: it waits for this one.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let ring = Builder::new().directory(directory).open(NAME).unwrap();
            let mut producer = ring.producer().unwrap();
            producer.try_send(Numbered::new(0, death), NORMAL).unwrap();
            std::mem::forget(producer.reserve(1, NORMAL).unwrap());
            let _ = kill_process(rustix::process::getpid(), Signal::KILL);
        }
        let mut status = 0;
        // SAFETY: `status` is written and nothing else.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        let message = patiently("the message of a dead one", || consumer.try_recv().ok());
        assert_eq!(Numbered::read(&message), (0, death));
        received += 1;
    }
    say(&format!("{received}"));
}

// ---- streams -----------------------------------------------------------------------------

#[test]
fn a_million_messages_pass_between_two_processes_in_order() {
    let directory = stage();
    let builder = at(&directory).capacity(1024).exclusive_producer().exclusive_consumer();
    let ring = builder.create(NAME).unwrap();
    let mut consumer = ring.exclusive_consumer().unwrap();
    let sender = Actor::start(directory.path(), "stream 7 1000000");
    for number in 0..1_000_000 {
        let message = patiently("a message", || consumer.try_recv().ok());
        assert_eq!(Numbered::read(&message), (7, number));
    }
    sender.finish();
    assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty);
    assert_eq!(ring.stats().sent, 1_000_000);
}

#[test]
fn a_million_messages_pass_between_four_processes_each_once() {
    const EACH: u64 = 500_000;
    let directory = stage();
    let ring = at(&directory).capacity(1024).create(NAME).unwrap();
    let receivers =
        ["a", "b"].map(|name| Actor::start(directory.path(), &format!("mark {name} 2 {EACH}")));
    let senders =
        [0, 1].map(|sender| Actor::start(directory.path(), &format!("stream {sender} {EACH}")));
    senders.into_iter().for_each(Actor::finish);
    for _ in &receivers {
        let end = Numbered::new(0, END);
        patiently("room", || ring.send_fast(end.as_ref(), NORMAL).ok());
    }
    receivers.into_iter().for_each(Actor::finish);
    let [a, b] = ["a", "b"].map(|name| std::fs::read(directory.path().join(name)).unwrap());
    assert!(a.iter().zip(&b).all(|(a, b)| a + b == 1), "not each message was received once");
    let stats = ring.stats();
    assert_eq!((stats.sent, stats.received), (2 * EACH + 2, 2 * EACH + 2));
}

// ---- deaths on exclusive sides -----------------------------------------------------------

#[test]
fn an_exclusive_producers_successor_goes_on_at_once_and_nothing_committed_is_lost() {
    for round in 0..8 {
        let directory = stage();
        let builder = at(&directory).capacity(64).exclusive_producer().exclusive_consumer();
        let ring = builder.create(NAME).unwrap();
        let mut consumer = ring.exclusive_consumer().unwrap();
        let sender = Actor::start_and_hear(directory.path(), "send-and-note", "streaming");
        for number in 0..1_000 + 37 * round {
            let message = patiently("a message", || consumer.try_recv().ok());
            assert_eq!(Numbered::read(&message), (0, number));
        }
        let before = 1_000 + 37 * round;
        sender.kill();
        let sent = noted(&directory, "sent");
        let mut successor = ring.exclusive_producer().unwrap();
        let mut next = before;
        // What was committed comes first, without a gap; then what the successor sends.
        let mut successors = 0;
        loop {
            if successors == 0 && successor.try_send(Numbered::new(1, 0), NORMAL).is_ok() {
                successors = 1;
            }
            let message = patiently("a message", || consumer.try_recv().ok());
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

#[test]
fn an_exclusive_producers_successor_finds_what_was_committed_and_not_announced() {
    let directory = stage();
    let builder = at(&directory).capacity(1024).timestamps(Timestamps::Off).exclusive_producer();
    for sent in 100..200 {
        let ring = builder.create(NAME).unwrap();
        Actor::start_and_hear(directory.path(), &format!("send {sent}"), "sent").kill();
        let announced = ring.positions().producer_tail;
        assert_eq!(ring.len() as u64, sent);
        let mut successor = ring.exclusive_producer().unwrap();
        successor.try_send(Numbered::new(0, sent), NORMAL).unwrap();
        let mut consumer = ring.consumer().unwrap();
        let received = consumer.try_iter().map(|message| Numbered::read(&message).1);
        assert!(received.eq(0..=sent));
        if announced < sent {
            return;
        }
        builder.remove(NAME).unwrap();
    }
    panic!("no producer died with something to announce");
}

/// Kills an exclusive consumer at work; gives the number it had noted as next, and the number and
/// mark of the first message its successor gets.
fn kill_exclusive_consumer(in_place: bool, round: u64) -> (u64, (u64, bool)) {
    let directory = stage();
    let builder = at(&directory).capacity(64).exclusive_producer().exclusive_consumer();
    let ring = builder.create(NAME).unwrap();
    let mut producer = ring.exclusive_producer().unwrap();
    let way = if in_place { "in-place" } else { "copy" };
    let role = format!("receive-and-note {way}");
    let receiver = Actor::start_and_hear(directory.path(), &role, "streaming");
    let mut number = 0;
    while number < 1_000 + 41 * round {
        patiently("room", || producer.try_send(Numbered::new(0, number), NORMAL).ok());
        number += 1;
    }
    receiver.kill();
    while producer.try_send(Numbered::new(0, number), NORMAL).is_ok() {
        number += 1;
    }
    let mut successor = ring.exclusive_consumer().unwrap();
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

#[test]
fn a_copying_consumer_that_is_killed_takes_at_most_one_message_with_it() {
    for round in 0..8 {
        let (next, (first, marked)) = kill_exclusive_consumer(false, round);
        assert!(first == next || first == next + 1, "{first} comes first, {next} was next");
        assert!(!marked);
    }
}

#[test]
fn a_consumer_that_reads_in_place_and_is_killed_loses_nothing() {
    for round in 0..8 {
        let (next, (first, marked)) = kill_exclusive_consumer(true, round);
        // Killed after its note and before the release: the message comes again, marked.
        assert!(first == next || (first + 1 == next && marked), "{first} first, {next} next");
    }
}

#[test]
fn what_an_exclusive_consumer_held_when_it_was_killed_is_redelivered_marked() {
    let directory = stage();
    let ring = at(&directory).capacity(4).exclusive_consumer().create(NAME).unwrap();
    for message in [b"one", b"two"] {
        ring.send_fast(message, NORMAL).unwrap();
    }
    Actor::start_and_hear(directory.path(), "hold", "holding").kill();
    let mut successor = ring.exclusive_consumer().unwrap();
    let first = successor.try_recv().unwrap();
    assert_eq!((&*first, first.is_redelivered()), (&b"one"[..], true));
    let second = successor.try_recv().unwrap();
    assert_eq!((&*second, second.is_redelivered()), (&b"two"[..], false));
}

#[test]
fn what_an_exclusive_consumer_held_when_it_was_killed_is_discarded_if_the_ring_says_so() {
    let directory = stage();
    let builder = at(&directory).capacity(4).exclusive_consumer().redelivery(Redelivery::Discard);
    let ring = builder.create(NAME).unwrap();
    for message in [b"one", b"two"] {
        ring.send_fast(message, NORMAL).unwrap();
    }
    Actor::start_and_hear(directory.path(), "hold", "holding").kill();
    let mut successor = ring.exclusive_consumer().unwrap();
    assert_eq!(&*successor.try_recv().unwrap(), b"two");
    assert_eq!(ring.stats().discarded, 1);
}

#[test]
fn an_exclusive_consumers_successor_gives_back_what_it_had_released_and_not_granted() {
    // A reserve that leaves the least urgent class one credit: it may send when all is granted.
    let directory = stage();
    let builder = at(&directory)
        .capacity(64)
        .reserve(PriorityClass::RealTime, 63)
        .timestamps(Timestamps::Off)
        .exclusive_consumer();
    for received in 20..64 {
        let ring = builder.create(NAME).unwrap();
        for number in 0..received {
            let message = Numbered::new(0, number);
            ring.send_fast(message.as_ref(), PriorityClass::RealTime).unwrap();
        }
        let role = format!("receive {received}");
        Actor::start_and_hear(directory.path(), &role, "received").kill();
        let positions = ring.positions();
        if positions.consumer_tail < positions.consumer_head {
            let mut successor = ring.exclusive_consumer().unwrap();
            patiently("credit, in an empty ring", || {
                assert_eq!(successor.try_recv().unwrap_err(), RecvError::Empty);
                ring.send_fast(b"x", PriorityClass::Bulk).ok()
            });
            return;
        }
        builder.remove(NAME).unwrap();
    }
    panic!("no consumer died with something to grant");
}

// ---- deaths on shared sides --------------------------------------------------------------

#[test]
fn a_shared_producer_killed_with_a_claim_holds_up_nobody() {
    let directory = stage();
    let ring = at(&directory).capacity(4).create(NAME).unwrap();
    let actor = Actor::start_and_hear(directory.path(), "reserve", "reserved");
    ring.send_fast(b"next", NORMAL).unwrap();
    assert_eq!(ring.recv_fast(&mut [0; 40]), Err(RecvError::Empty));
    actor.kill();
    let mut buffer = [0; 40];
    let (size, ..) = patiently("the next message", || ring.recv_fast(&mut buffer).ok());
    assert_eq!(&buffer[..size], b"next");
    assert_eq!(ring.stats().abandoned, 1);
}

#[test]
fn a_claim_that_a_newcomer_abandons_is_counted() {
    let directory = stage();
    let ring = at(&directory).capacity(4).participants(1).create(NAME).unwrap();
    Actor::start_and_hear(directory.path(), "reserve", "reserved").kill();
    // The only entry is the dead one's: its work is finished first.
    drop(ring.producer().unwrap());
    assert_eq!(ring.stats().abandoned, 1);
}

#[test]
fn what_a_shared_consumer_held_when_it_was_killed_is_redelivered_once_and_marked() {
    let directory = stage();
    let ring = at(&directory).capacity(4).create(NAME).unwrap();
    let mut other = ring.consumer().unwrap();
    for message in [b"one", b"two"] {
        ring.send_fast(message, NORMAL).unwrap();
    }
    let actor = Actor::start_and_hear(directory.path(), "hold", "holding");
    assert_eq!(&*other.try_recv().unwrap(), b"two");
    actor.kill();
    let again = patiently("the dead one's message", || other.try_recv().ok());
    assert_eq!((&*again, again.is_redelivered()), (&b"one"[..], true));
    other.flush();
    assert_eq!(ring.stats().redelivered, 1);
    // All slots have come back.
    let full = [b"a", b"b", b"c", b"d"];
    assert_eq!(ring.send_batch(&full, NORMAL), Ok(4));
    let rest: Vec<_> = other.try_iter().map(|message| message.is_redelivered()).collect();
    assert_eq!(rest, [false; 4]);
}

#[test]
fn a_redelivered_message_that_does_not_fit_is_counted_once() {
    let directory = stage();
    let ring = at(&directory).capacity(4).create(NAME).unwrap();
    let mut other = ring.consumer().unwrap();
    ring.send_fast(b"too long", NORMAL).unwrap();
    Actor::start_and_hear(directory.path(), "hold", "holding").kill();
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

#[test]
fn what_a_shared_consumer_held_when_it_was_killed_is_discarded_if_the_ring_says_so() {
    let directory = stage();
    let builder = at(&directory).capacity(1).redelivery(Redelivery::Discard);
    let ring = builder.create(NAME).unwrap();
    ring.send_fast(b"one", NORMAL).unwrap();
    let mut other = ring.consumer().unwrap();
    Actor::start_and_hear(directory.path(), "hold", "holding").kill();
    // The slot comes back, and the message does not.
    patiently("room", || {
        assert_eq!(other.try_recv().unwrap_err(), RecvError::Empty);
        ring.send_fast(b"two", NORMAL).ok()
    });
    assert_eq!(&*other.try_recv().unwrap(), b"two");
    assert_eq!(ring.stats().discarded, 1);
}

#[test]
fn what_is_discarded_when_a_newcomer_takes_the_entry_is_counted() {
    let directory = stage();
    let builder = at(&directory).capacity(1).participants(2).redelivery(Redelivery::Discard);
    let ring = builder.create(NAME).unwrap();
    let mut producer = ring.producer().unwrap();
    producer.send_fast(b"one", NORMAL).unwrap();
    producer.flush();
    Actor::start_and_hear(directory.path(), "hold", "holding").kill();
    let mut newcomer = ring.consumer().unwrap();
    newcomer.flush();
    producer.send_fast(b"two", NORMAL).unwrap();
    assert_eq!(&*newcomer.try_recv().unwrap(), b"two");
    assert_eq!(ring.stats().discarded, 1);
}

/// Where an entry's hold is in the file: see `layout` and `participant`.
fn hold_offset(index: usize) -> u64 {
    8_192 + 1_024 * index as u64 + 3 * 64
}

/// Two consumers that wanted the same message, both killed before either could move on: one had
/// won it, the other was about to find that it had not. The second is cut at an instant that no
/// signal can be sure to hit, so its last store is made here in its place.
fn two_dead_consumers_that_show_the_same_hold(directory: &TempDir, ring: &UltraFastRing) {
    let loser = Actor::start_and_hear(directory.path(), "attach consumer", "attached");
    let winner = Actor::start_and_hear(directory.path(), "hold", "holding");
    let entry = |pid: Pid| {
        let pid = pid.as_raw_nonzero().get() as u32;
        ring.participants().find(|other| other.pid == pid).unwrap()
    };
    let (winners, losers) = (entry(winner.pid()).index, entry(loser.pid()).index);
    winner.kill();
    loser.kill();
    let file = File::options().read(true).write(true).open(ring.path().unwrap()).unwrap();
    let mut hold = [0; 8];
    file.read_exact_at(&mut hold, hold_offset(winners)).unwrap();
    assert_ne!(hold, [0; 8]);
    file.write_all_at(&hold, hold_offset(losers)).unwrap();
}

#[test]
fn two_dead_consumers_that_wanted_the_same_message_do_not_block_the_ring() {
    let directory = stage();
    let ring = at(&directory).capacity(2).create(NAME).unwrap();
    let mut consumer = ring.consumer().unwrap();
    ring.send_fast(b"one", NORMAL).unwrap();
    two_dead_consumers_that_show_the_same_hold(&directory, &ring);
    let again = patiently("the dead one's message", || consumer.try_recv().ok());
    assert_eq!((&*again, again.is_redelivered()), (&b"one"[..], true));
    for _ in 0..5 {
        patiently("room, and no more messages but that one again", || {
            if let Ok(message) = consumer.try_recv() {
                assert!(!message.is_redelivered() || *message == *b"one");
            }
            ring.send_fast(b"two", NORMAL).ok()
        });
    }
}

#[test]
fn a_newcomer_in_a_dead_consumers_entry_does_not_block_the_ring() {
    let directory = stage();
    let ring = at(&directory).capacity(2).participants(3).create(NAME).unwrap();
    let mut producer = ring.producer().unwrap();
    producer.send_fast(b"one", NORMAL).unwrap();
    two_dead_consumers_that_show_the_same_hold(&directory, &ring);
    // No entry is free: this one gets one of the dead ones'.
    let mut consumer = ring.consumer().unwrap();
    let again = patiently("the dead one's message", || consumer.try_recv().ok());
    assert_eq!((&*again, again.is_redelivered()), (&b"one"[..], true));
    for _ in 0..5 {
        patiently("room, and no more messages but that one again", || {
            let _ = consumer.try_recv();
            producer.send_fast(b"two", NORMAL).ok()
        });
    }
}

// ---- the living are not robbed -----------------------------------------------------------

/// Calls `poll` for a time in which a dead peer would be found out many times over.
fn for_a_while(mut poll: impl FnMut()) {
    let since = std::time::Instant::now();
    while since.elapsed() < Duration::from_millis(300) {
        poll();
    }
}

#[test]
fn a_stopped_producer_is_not_robbed_of_its_claim_and_goes_on() {
    let directory = stage();
    let ring = at(&directory).capacity(4).create(NAME).unwrap();
    let mut consumer = ring.consumer().unwrap();
    let mut actor = Actor::start_and_hear(directory.path(), "reserve", "reserved");
    ring.send_fast(b"next", NORMAL).unwrap();
    kill_process(actor.pid(), Signal::STOP).unwrap();
    for_a_while(|| assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty));
    kill_process(actor.pid(), Signal::CONT).unwrap();
    actor.tell("commit");
    assert_eq!(actor.hear(), "committed");
    assert_eq!(&*consumer.try_recv().unwrap(), b"late");
    assert_eq!(&*consumer.try_recv().unwrap(), b"next");
    assert_eq!(ring.stats().abandoned, 0);
}

#[test]
fn a_stopped_consumer_is_not_robbed_of_what_it_holds_and_goes_on() {
    let directory = stage();
    let ring = at(&directory).capacity(1).create(NAME).unwrap();
    let mut consumer = ring.consumer().unwrap();
    ring.send_fast(b"one", NORMAL).unwrap();
    let mut actor = Actor::start_and_hear(directory.path(), "hold", "holding");
    kill_process(actor.pid(), Signal::STOP).unwrap();
    for_a_while(|| {
        assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty);
        assert_eq!(ring.send_fast(b"two", NORMAL), Err(SendError::Full));
    });
    kill_process(actor.pid(), Signal::CONT).unwrap();
    actor.tell("release");
    assert_eq!(actor.hear(), "released");
    patiently("room", || ring.send_fast(b"two", NORMAL).ok());
    assert!(!consumer.try_recv().unwrap().is_redelivered());
}

#[test]
fn a_stopped_exclusive_handle_keeps_its_side() {
    let directory = stage();
    let ring = at(&directory).exclusive_producer().create(NAME).unwrap();
    let actor = Actor::start_and_hear(directory.path(), "attach-exclusive", "attached");
    kill_process(actor.pid(), Signal::STOP).unwrap();
    for_a_while(|| assert!(matches!(ring.exclusive_producer(), Err(RingError::SideTaken { .. }))));
    actor.kill();
    ring.exclusive_producer().unwrap();
}

#[test]
fn a_stopped_exclusive_producer_is_waited_for_and_goes_on() {
    let directory = stage();
    let ring = at(&directory).capacity(16).exclusive_producer().create(NAME).unwrap();
    let mut consumer = ring.consumer().unwrap();
    let actor = Actor::start_and_hear(directory.path(), "send-and-note", "streaming");
    let mut next = 0;
    for _ in 0..5 {
        kill_process(actor.pid(), Signal::STOP).unwrap();
        for_a_while(|| {
            while let Ok(message) = consumer.try_recv() {
                assert_eq!(Numbered::read(&message), (0, next));
                next += 1;
            }
            assert!(matches!(ring.exclusive_producer(), Err(RingError::SideTaken { .. })));
        });
        kill_process(actor.pid(), Signal::CONT).unwrap();
        for _ in 0..100 {
            let message = patiently("a message", || consumer.try_recv().ok());
            assert_eq!(Numbered::read(&message), (0, next));
            next += 1;
        }
    }
}

#[test]
fn a_stopped_exclusive_consumer_is_not_robbed_of_what_it_holds_and_goes_on() {
    let directory = stage();
    let ring = at(&directory).capacity(2).exclusive_consumer().create(NAME).unwrap();
    ring.send_fast(b"one", NORMAL).unwrap();
    let mut actor = Actor::start_and_hear(directory.path(), "hold", "holding");
    kill_process(actor.pid(), Signal::STOP).unwrap();
    // The others go on until their credit is spent.
    ring.send_fast(b"two", NORMAL).unwrap();
    for_a_while(|| {
        assert!(matches!(ring.exclusive_consumer(), Err(RingError::SideTaken { .. })));
        assert_eq!(ring.send_fast(b"three", NORMAL), Err(SendError::Full));
    });
    kill_process(actor.pid(), Signal::CONT).unwrap();
    actor.tell("release");
    assert_eq!(actor.hear(), "released");
    patiently("room", || ring.send_fast(b"three", NORMAL).ok());
    actor.finish();
    let mut successor = ring.exclusive_consumer().unwrap();
    let rest: Vec<_> = successor.try_iter().map(|it| (it.to_vec(), it.is_redelivered())).collect();
    assert_eq!(rest, [(b"two".to_vec(), false), (b"three".to_vec(), false)]);
}

/// One that delivers a dead consumer's message is stopped at it.
fn a_stopped_repairer(directory: &TempDir) -> (UltraFastRing, Actor) {
    let ring = at(directory).capacity(2).create(NAME).unwrap();
    for message in [b"one", b"two"] {
        ring.send_fast(message, NORMAL).unwrap();
    }
    let holder = Actor::start_and_hear(directory.path(), "hold", "holding");
    assert_eq!(&*ring.consumer().unwrap().try_recv().unwrap(), b"two");
    holder.kill();
    let repairer = Actor::start_and_hear(directory.path(), "adopt", "adopted");
    kill_process(repairer.pid(), Signal::STOP).unwrap();
    (ring, repairer)
}

#[test]
fn a_stopped_repairer_is_not_robbed_and_goes_on() {
    let directory = stage();
    let (ring, mut repairer) = a_stopped_repairer(&directory);
    let mut other = ring.consumer().unwrap();
    for_a_while(|| {
        assert_eq!(other.try_recv().unwrap_err(), RecvError::Empty);
        assert_eq!(ring.send_fast(b"three", NORMAL), Err(SendError::Full));
    });
    // The entry that it has adopted is told to be a dead one's.
    assert_eq!(ring.participants().filter(|it| !it.alive && it.hold.is_some()).count(), 1);
    kill_process(repairer.pid(), Signal::CONT).unwrap();
    repairer.tell("release");
    assert_eq!(repairer.hear(), "released");
    let full = [b"three", b"four "];
    patiently("room", || {
        let _ = other.try_recv().map(|it| assert!(!it.is_redelivered()));
        (ring.send_batch(&full, NORMAL) == Ok(2)).then_some(())
    });
    assert_eq!(ring.stats().redelivered, 1);
}

#[test]
fn a_stopped_repairer_that_is_killed_leaves_its_message_to_the_next() {
    let directory = stage();
    let (ring, repairer) = a_stopped_repairer(&directory);
    let mut other = ring.consumer().unwrap();
    repairer.kill();
    let again = patiently("the message", || other.try_recv().ok());
    assert_eq!((&*again, again.is_redelivered()), (&b"one"[..], true));
}

// ---- identity is told, and not used --------------------------------------------------------

/// Writes another process id into the entry that shows `of`.
fn write_pid(ring: &UltraFastRing, of: Pid, pid: u64) {
    let of = of.as_raw_nonzero().get() as u32;
    let index = ring.participants().find(|it| it.pid == of).unwrap().index as u64;
    let file = File::options().write(true).open(ring.path().unwrap()).unwrap();
    file.write_all_at(&pid.to_le_bytes(), 8_192 + 1_024 * index + 16).unwrap();
}

#[test]
fn a_dead_one_whose_pid_is_somebody_elses_by_now_is_dead_all_the_same() {
    let directory = stage();
    let ring = at(&directory).capacity(4).create(NAME).unwrap();
    let actor = Actor::start_and_hear(directory.path(), "reserve", "reserved");
    ring.send_fast(b"next", NORMAL).unwrap();
    write_pid(&ring, actor.pid(), std::process::id().into());
    actor.kill();
    let mut consumer = ring.consumer().unwrap();
    assert_eq!(&*patiently("the next message", || consumer.try_recv().ok()), b"next");
}

#[test]
fn a_living_one_whose_pid_is_nobodys_is_not_robbed() {
    let directory = stage();
    let ring = at(&directory).capacity(4).create(NAME).unwrap();
    let mut actor = Actor::start_and_hear(directory.path(), "reserve", "reserved");
    // Beyond what any Linux gives (PID_MAX_LIMIT).
    write_pid(&ring, actor.pid(), 1 << 30);
    let mut consumer = ring.consumer().unwrap();
    ring.send_fast(b"next", NORMAL).unwrap();
    for_a_while(|| assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty));
    actor.tell("commit");
    assert_eq!(actor.hear(), "committed");
    assert_eq!(&*consumer.try_recv().unwrap(), b"late");
}

#[test]
fn the_death_of_one_in_another_pid_namespace_is_noticed_and_its_namesakes_life_too() {
    let directory = stage();
    let ring = at(&directory).capacity(4).create(NAME).unwrap();
    let mut other = ring.consumer().unwrap();
    for message in [b"one", b"two"] {
        ring.send_fast(message, NORMAL).unwrap();
    }
    let Some(mut holder) = start_in_namespace(directory.path(), "hold") else {
        common::skip("pid namespaces cannot be made here (unshare --pid)");
        return;
    };
    assert_eq!(holder.hear(), "holding");
    let mut namesake = start_in_namespace(directory.path(), "attach producer").unwrap();
    assert_eq!(namesake.hear(), "attached");
    let first_ones = || ring.participants().filter(|it| it.pid == 1);
    let mut namespaces: Vec<_> = first_ones().map(|it| it.pid_namespace).collect();
    namespaces.dedup();
    assert_eq!((namespaces.len(), first_ones().all(|it| it.alive)), (2, true));
    assert_eq!(&*other.try_recv().unwrap(), b"two");
    for_a_while(|| assert_eq!(other.try_recv().unwrap_err(), RecvError::Empty));
    holder.kill();
    let again = patiently("the dead one's message", || other.try_recv().ok());
    assert_eq!((&*again, again.is_redelivered()), (&b"one"[..], true));
    assert!(first_ones().all(|it| it.alive) && first_ones().count() == 1);
}

#[test]
fn a_program_that_another_is_executed_in_place_of_keeps_nothing() {
    let directory = stage();
    let ring = at(&directory).exclusive_producer().create(NAME).unwrap();
    let mut actor = Actor::start_and_hear(directory.path(), "exec", "attached");
    assert!(matches!(ring.exclusive_producer(), Err(RingError::SideTaken { .. })));
    assert!(ring.is_open_elsewhere());
    actor.tell("exec");
    let _successor = patiently("the side", || ring.exclusive_producer().ok());
    assert!(!ring.is_open_elsewhere());
    assert!(actor.process.try_wait().unwrap().is_none(), "the process was to live on");
}

#[test]
fn a_second_exclusive_handle_is_refused_with_the_pid_and_name_of_the_first() {
    let directory = stage();
    let ring = at(&directory).exclusive_producer().create(NAME).unwrap();
    let actor = Actor::start_and_hear(directory.path(), "attach-exclusive", "attached");
    let error = ring.exclusive_producer().unwrap_err();
    let RingError::SideTaken { side: Side::Producer, holder: Some(holder) } = &error else {
        panic!("{error:?}");
    };
    let pid = actor.pid().as_raw_nonzero().get() as u32;
    assert_eq!((holder.pid, holder.name.as_str()), (pid, "attach-exclusive"));
    let text = error.to_string();
    assert!(text.contains(&pid.to_string()) && text.contains("attach-exclusive"), "{text}");
}

// ---- forks -------------------------------------------------------------------------------

#[test]
fn a_forked_child_neither_keeps_nor_ends_nor_doubles_its_parents_handle() {
    let directory = stage();
    let ring = at(&directory).capacity(16).exclusive_producer().create(NAME).unwrap();
    let mut consumer = ring.consumer().unwrap();
    let mut parent = Actor::start(directory.path(), "fork");
    let mut said = [parent.hear(), parent.hear()];
    said.sort();
    assert_eq!(said[1], "forked");
    let child = Pid::from_raw(said[0].parse().unwrap()).unwrap();
    let taken = || matches!(ring.exclusive_producer(), Err(RingError::SideTaken { .. }));
    assert!(taken(), "the child's drop of the handle freed the parent's side");
    assert_eq!(&*consumer.try_recv().unwrap(), b"parent");
    assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty, "the child sent");
    parent.tell("send");
    assert_eq!(parent.hear(), "sent");
    assert_eq!(&*consumer.try_recv().unwrap(), b"parent again");

    parent.kill();
    let successor = ring.exclusive_producer();
    let alive = kill_process(child, Signal::CONT).is_ok();
    kill_process(child, Signal::KILL).unwrap();
    assert!(alive, "the child was to outlive its parent");
    successor.expect("the parent is dead").send_fast(b"successor", NORMAL).unwrap();
    assert_eq!(&*consumer.try_recv().unwrap(), b"successor");
}

#[test]
fn an_entry_is_used_again_after_thousands_of_deaths() {
    const DEATHS: u64 = 3_000;
    let directory = stage();
    let ring = at(&directory).capacity(8).participants(4).create(NAME).unwrap();
    let mut actor = Actor::start(directory.path(), &format!("die-often {DEATHS}"));
    assert_eq!(actor.hear(), DEATHS.to_string());
    actor.finish();
    // The last one's claim may be unfinished work still.
    drop(ring.producer().unwrap());
    assert_eq!(ring.stats().received, DEATHS);
}

// ---- the table, the name, the whole ------------------------------------------------------

#[test]
fn a_full_table_says_so_and_is_free_again_when_processes_die() {
    let directory = stage();
    let ring = at(&directory).participants(3).create(NAME).unwrap();
    let attach =
        |side| Actor::start_and_hear(directory.path(), &format!("attach {side}"), "attached");
    let actors = ["producer", "consumer", "producer"].map(attach);
    let error = ring.consumer().unwrap_err();
    assert!(matches!(error, RingError::TableFull { participants: 3 }), "{error:?}");
    assert!(error.to_string().contains("all 3 entries"), "{error}");
    assert_eq!(ring.send_fast(b"x", NORMAL), Err(SendError::NoEntry));
    actors.into_iter().for_each(Actor::kill);
    let handles = [(); 3].map(|()| ring.producer().unwrap());
    assert!(ring.producer().is_err());
    drop(handles);
    ring.send_fast(b"x", NORMAL).unwrap();
}

#[test]
fn processes_that_create_at_once_end_with_one_ring() {
    for _ in 0..10 {
        let directory = stage();
        let mut actors = [(); 4].map(|()| Actor::start(directory.path(), "meet"));
        actors.iter_mut().for_each(|actor| assert_eq!(actor.hear(), "ready"));
        actors.iter_mut().for_each(|actor| actor.tell("go"));
        actors.iter_mut().for_each(|actor| assert_eq!(actor.hear(), "met"));
        let ring = at(&directory).open(NAME).unwrap();
        assert_eq!((ring.len(), ring.stats().sent), (4, 4));
        // The ring and its lock file.
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }
}

#[test]
fn a_creator_that_is_killed_leaves_nothing_that_blocks() {
    let directory = stage();
    for _ in 0..20 {
        Actor::start_and_hear(directory.path(), "create", "busy").kill();
        for name in ["0", "1", "2"] {
            let ring = at(&directory).capacity(4).open_or_create(name).unwrap();
            ring.send_fast(b"x", NORMAL).unwrap();
            ring.recv_fast(&mut [0; 40]).unwrap();
            at(&directory).remove(name).unwrap();
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_ring_whose_participants_all_die_at_once_has_lost_nothing_committed() {
    for round in 0..5 {
        let directory = stage();
        drop(at(&directory).capacity(256).create(NAME).unwrap());
        let sender = Actor::start_and_hear(directory.path(), "send-and-note", "streaming");
        let role = "receive-and-note in-place";
        let receiver = Actor::start_and_hear(directory.path(), role, "streaming");
        patiently("some traffic", || (noted(&directory, "received") > 300 * round).then_some(()));
        for actor in [&sender, &receiver] {
            kill_process(actor.pid(), Signal::KILL).unwrap();
        }
        [sender, receiver].into_iter().for_each(Actor::kill);
        let (sent, received) = (noted(&directory, "sent"), noted(&directory, "received"));
        let ring = at(&directory).open(NAME).unwrap();
        let mut consumer = ring.consumer().unwrap();
        ring.send_fast(Numbered::new(1, 0).as_ref(), NORMAL).ok();
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

#[test]
fn statistics_survive_their_participant() {
    let directory = stage();
    let ring = at(&directory).capacity(1024).create(NAME).unwrap();
    Actor::start_and_hear(directory.path(), "count 1000 flush", "counted").kill();
    assert_eq!(ring.stats().sent, 1_000);
    // Without a flush, a killed one takes at most 64 with it.
    let mut consumer = ring.consumer().unwrap();
    assert_eq!(consumer.try_iter().count(), 1_000);
    consumer.flush();
    Actor::start_and_hear(directory.path(), "count 1000 no-flush", "counted").kill();
    let sent = ring.stats().sent;
    assert!((1_936..=2_000).contains(&sent), "{sent} of 2000 are counted");
    // Who takes the entry next counts on.
    drop(ring.producer().unwrap());
    assert_eq!(ring.stats().sent, sent);
}
