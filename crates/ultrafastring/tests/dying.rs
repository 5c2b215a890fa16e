//! Processes that take long to die.
//!
//! The kernel closes the files of a large process seconds after its last instruction, and gives
//! back its locks only then. Here it takes as long as the test likes: the director copies a killed
//! actor's descriptors, so that its locks stay held, and does not ask for the actor, so that
//! `/proc` shows it as it shows one whose memory is being taken down.

#![cfg(all(feature = "std", not(loom)))]

mod common;
#[path = "common/shapes.rs"]
mod shapes;

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use common::actor::{self, Actor, order, say};
use common::{patiently, stage};
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process, pidfd_getfd, pidfd_open,
};
use shapes::{Shape, of_each_shape, of_shape, on_each_shape};
use tempfile::TempDir;
use ultrafastring::{Builder, PriorityClass, Producer, RecvError, RingError, UltraFastRing};

const NORMAL: PriorityClass = PriorityClass::Normal;
const NAME: &str = "stage";

fn at<S: Shape>(directory: &TempDir) -> Builder {
    S::builder().directory(directory.path())
}

/// Starts an actor that plays `role` on a ring of this shape, and waits until it says `first`.
fn start_and_hear<S: Shape>(directory: &TempDir, role: &str, first: &str) -> Actor {
    Actor::start_and_hear(directory.path(), &format!("{} {role}", S::NAME), first)
}

/// Not a test by itself: the way into the other processes.
#[test]
fn an_actor_plays_its_part() {
    let Some((words, directory)) = actor::part() else { return };
    of_shape(&words[0], of_each_shape!(play))(&words[1], &directory);
}

fn play<S: Shape>(role: &str, directory: &Path) {
    let ring = Builder::new().directory(directory).open(NAME).unwrap();
    match role {
        "reserve" => {
            let mut producer = S::producer(&ring);
            std::mem::forget(producer.try_reserve(4, NORMAL).unwrap());
            say("reserved");
            order();
        }
        "hold" => {
            let mut consumer = S::consumer(&ring);
            patiently("a message", || consumer.try_borrow().ok().map(std::mem::forget));
            say("holding");
            order();
        }
        "attach" => {
            let _producer = S::producer(&ring);
            say("attached");
            order();
        }
        _ => panic!("there is no role {role}"),
    }
}

/// An actor that was killed, and whose files stay open.
struct Dying {
    actor: Actor,
    files: Vec<OwnedFd>,
}

impl Dying {
    /// What `actor` has open is open for as long as this.
    fn of(actor: Actor) -> Self {
        let Self { actor, files } = Self::would_be(actor);
        kill_process(actor.pid(), Signal::KILL).unwrap();
        Self { actor, files }
    }

    /// The same of one that is not killed.
    fn would_be(actor: Actor) -> Self {
        let pid = actor.pid();
        let process = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        let files = descriptors(pid)
            .map(|number| pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).unwrap())
            .collect();
        Self { actor, files }
    }

    /// Has it die at last: soon after this, since children that other tests start meanwhile have
    /// these files too, until they are the program that they become.
    fn end(self) {
        drop(self.files);
        self.actor.kill();
    }
}

fn descriptors(pid: Pid) -> impl Iterator<Item = i32> {
    let list = std::fs::read_dir(format!("/proc/{}/fd", pid.as_raw_pid())).unwrap();
    list.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
}

fn a_claim<S: Shape>(directory: &TempDir) -> (UltraFastRing, Actor, Producer<S::Producers>) {
    // For the actor, this process's producer, and a consumer.
    let ring = at::<S>(directory).capacity(4).participants(3).create(NAME).unwrap();
    let actor = start_and_hear::<S>(directory, "reserve", "reserved");
    let mut producer = S::producer(&ring);
    producer.send_fast(b"next", NORMAL).unwrap();
    (ring, actor, producer)
}

fn the_claim_of_one_that_takes_long_to_die_holds_up_nobody<S: Shape>() {
    let directory = stage();
    let (ring, actor, _producer) = a_claim::<S>(&directory);
    let dying = Dying::of(actor);
    let mut consumer = S::consumer(&ring);
    assert_eq!(&*patiently("the next message", || consumer.try_recv().ok()), b"next");
    assert_eq!(ring.stats().abandoned, 1);
    // Its entry is free for others once its files are closed, and not before: a newcomer must have
    // what the kernel still holds for the dying one.
    assert!(matches!(ring.producer(), Err(RingError::TableFull { .. })));
    dying.end();
    patiently("an entry that is free again", || S::try_producer(&ring));
}
on_each_shape!(the_claim_of_one_that_takes_long_to_die_holds_up_nobody, needs(two_producers));

fn what_one_that_takes_long_to_die_held_is_redelivered_once_and_marked<S: Shape>() {
    let directory = stage();
    let ring = at::<S>(&directory).capacity(4).create(NAME).unwrap();
    let mut producer = S::producer(&ring);
    let mut others = [S::consumer(&ring), S::consumer(&ring)];
    for message in [b"one", b"two"] {
        producer.send_fast(message, NORMAL).unwrap();
    }
    let dying = start_and_hear::<S>(&directory, "hold", "holding");
    assert_eq!(&*others[0].try_recv().unwrap(), b"two");
    let dying = Dying::of(dying);
    let again = patiently("the dying one's message", || {
        others.iter_mut().find_map(|consumer| consumer.try_recv().ok())
    });
    assert_eq!((&*again, again.is_redelivered()), (&b"one"[..], true));
    S::drain_second(&ring);
    assert_eq!(producer.send_batch(&[b"a", b"b", b"c", b"d"], NORMAL), Ok(4));
    let rest: Vec<_> = others[0].try_iter().map(|message| message.is_redelivered()).collect();
    assert_eq!(rest, [false; 4]);
    dying.end();
    assert_eq!(others[1].try_recv().unwrap_err(), RecvError::Empty);
}
on_each_shape!(
    what_one_that_takes_long_to_die_held_is_redelivered_once_and_marked,
    needs(two_consumers)
);

fn one_whose_files_others_have_too_is_not_robbed_while_it_lives<S: Shape>() {
    let directory = stage();
    let (ring, actor, _producer) = a_claim::<S>(&directory);
    let living = Dying::would_be(actor);
    let mut consumer = S::consumer(&ring);
    let until = Instant::now() + Duration::from_millis(200);
    while Instant::now() < until {
        assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty);
    }
    living.end();
    assert_eq!(&*patiently("the next message", || consumer.try_recv().ok()), b"next");
}
on_each_shape!(one_whose_files_others_have_too_is_not_robbed_while_it_lives, needs(two_producers));

fn the_exclusive_side_of_one_that_takes_long_to_die_is_taken_until_its_files_are_closed<
    S: Shape,
>() {
    let directory = stage();
    let ring = at::<S>(&directory).create(NAME).unwrap();
    let actor = start_and_hear::<S>(&directory, "attach", "attached");
    let dying = Dying::of(actor);
    assert!(S::is_producer_taken(&ring));
    dying.end();
    patiently("a side that is free again", || S::try_producer(&ring));
}
on_each_shape!(
    the_exclusive_side_of_one_that_takes_long_to_die_is_taken_until_its_files_are_closed,
    needs(exclusive_producer)
);
