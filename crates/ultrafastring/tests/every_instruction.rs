//! A peer may be killed at any instruction: here it is, at one after the other.
//!
//! A forked child is led through a call one machine instruction at a time (ptrace(2)) and killed;
//! then those who are left must find a ring that works, with nothing committed lost. Then the next
//! child gets one step further.
//!
//! A process leaves the ring's file behind and what the kernel keeps of it, such as its locks, and
//! nothing else. So two deaths are the same to those who are left if no instruction between them
//! changed the file or was a system call. The tests compare the file after each instruction and
//! kill a child after each one that changed it, and after each system call: at every instruction
//! that others can tell from the one before. `UFR_EVERY_INSTRUCTION=1` has them kill at every
//! instruction, whatever it does.
//!
//! Children that do the same go the same way, so only the first of them is led there instruction by
//! instruction; the others run to a breakpoint, see `Route`.

#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod common;
#[path = "common/shapes.rs"]
mod shapes;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::child::{Child, Led, at};
use common::memory::with_little_memory;
use common::{patiently, stage};
use shapes::{Shape, on_each_shape};
use tempfile::TempDir;
use ultrafastring::{
    Builder, Consumer, Finding, GroupState, INLINE_SIZE, Mode, PriorityClass, Producer, RecvError,
    Side, SideMemory, Slow, UltraFastRing, WaitStrategy,
};

const NORMAL: PriorityClass = PriorityClass::Normal;
const NAME: &str = "stepped";

/// Bytes of a message in a side buffer: two blocks of either copying loop, and some.
const LARGE: usize = 300;

/// How a life under observation ended.
#[derive(PartialEq)]
enum End {
    Killed,
    /// It came to the end of its work first.
    Finished,
}

/// When a life under observation ends.
enum Moment<'a> {
    /// After so many instructions.
    Instruction(u64),
    /// After so many instructions that changed a file or were system calls.
    Change(usize, &'a RefCell<Route>),
}

/// The way that children go through one piece of work, as far as it was looked at instruction by
/// instruction. Those that come later run to its end at full speed: each does the same.
struct Route {
    path: PathBuf,
    /// Where each instruction was that changed the file or was a system call, and how many times
    /// that instruction had been done by then, this time included.
    changes: Vec<(u64, u64)>,
    /// How many times each instruction was done, up to the last of these.
    times: HashMap<u64, u64>,
    calls: SystemCalls,
    /// The last child went another way. The next is led from the beginning.
    strayed: bool,
}

impl Route {
    fn new(path: PathBuf) -> Self {
        let (changes, times, calls) = Default::default();
        Self { path, changes, times, calls, strayed: false }
    }

    /// Leads `child` to where `number` instructions were changes.
    fn lead(&mut self, child: &Child, number: usize) -> Led {
        let mut watched = Watched::new(&self.path);
        if let Some(last) = number.min(self.changes.len()).checked_sub(1) {
            let (address, time) = self.changes[last];
            if child.run_to(address, time) == Led::Finished {
                self.strayed = true;
                return Led::Finished;
            }
            watched.has_changed();
            match self.step(child, &mut watched) {
                Some((_, true)) => {}
                Some((_, false)) => self.strayed = true,
                None => return Led::Finished,
            }
        }
        while !self.strayed && self.changes.len() < number {
            let Some((address, changed)) = self.step(child, &mut watched) else {
                return Led::Finished;
            };
            let time = self.times.entry(address).or_default();
            *time += 1;
            if changed {
                self.changes.push((address, *time));
            }
        }
        Led::Stopped
    }

    /// Leads `child` on by one instruction: where that was and whether it is a change, or nothing
    /// if the child has come to its end.
    fn step(&mut self, child: &Child, watched: &mut Watched) -> Option<(u64, bool)> {
        let address = at(&child.registers());
        let calls = self.calls.is_at(address, child);
        (child.step() == Led::Stopped).then(|| (address, watched.has_changed() || calls))
    }
}

/// The contents of a file, to be compared with what they are later.
struct Watched {
    file: File,
    seen: Vec<u8>,
    now: Vec<u8>,
}

impl Watched {
    fn new(path: &Path) -> Self {
        let seen = std::fs::read(path).unwrap();
        Self { file: File::open(path).unwrap(), now: seen.clone(), seen }
    }

    /// Whether they have changed since this was last asked.
    fn has_changed(&mut self) -> bool {
        self.file.read_exact_at(&mut self.now, 0).unwrap();
        let changed = self.now != self.seen;
        if changed {
            self.seen.copy_from_slice(&self.now);
        }
        changed
    }
}

/// Which instructions of a child are system calls.
#[derive(Default)]
struct SystemCalls {
    known: HashMap<u64, bool>,
}

impl SystemCalls {
    /// Whether the instruction at `address` of `child`, which is stopped, is one.
    fn is_at(&mut self, address: u64, child: &Child) -> bool {
        *self.known.entry(address).or_insert_with(|| {
            let word = child.word(address);
            if cfg!(target_arch = "x86_64") {
                word & 0xffff == 0x050f // syscall
            } else {
                word & 0xffe0_001f == 0xd400_0001 // svc
            }
        })
    }
}

/// Forks a child that does `prepare` at full speed and then `work` until `moment`, when it is
/// killed.
fn live<T>(prepare: impl FnOnce() -> T, work: impl FnOnce(&mut T), moment: &Moment<'_>) -> End {
    let child = Child::lead(prepare, work);
    let led = match moment {
        Moment::Instruction(last) => (0..*last)
            .map(|_| child.step())
            .find(|led| *led == Led::Finished)
            .unwrap_or(Led::Stopped),
        Moment::Change(number, route) => route.borrow_mut().lead(&child, *number),
    };
    match led {
        Led::Finished => End::Finished,
        Led::Stopped => {
            child.kill();
            End::Killed
        }
    }
}

/// How many instructions a child does for `work`.
fn count<T>(prepare: impl FnOnce() -> T, work: impl FnOnce(&mut T)) -> u64 {
    let child = Child::lead(prepare, work);
    (0..).find(|_| child.step() == Led::Finished).unwrap()
}

/// Has this thread and its children run on one core: a step is a switch from one to the other, and
/// takes several times as long between two cores.
fn stay_on_one_core() {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let allowed = rustix::thread::sched_getaffinity(None).unwrap();
    let cores: Vec<_> =
        (0..rustix::thread::CpuSet::MAX_CPU).filter(|&it| allowed.is_set(it)).collect();
    let mut one = rustix::thread::CpuSet::new();
    one.set(cores[NEXT.fetch_add(1, Ordering::Relaxed) % cores.len()]);
    // Where it is forbidden it only takes longer.
    let _ = rustix::thread::sched_setaffinity(None, &one);
}

/// Calls `trial` with longer and longer lives, until one comes to its end.
fn at_every(directory: &TempDir, mut trial: impl FnMut(&Moment<'_>) -> End) {
    stay_on_one_core();
    let begun = std::time::Instant::now();
    let everywhere = std::env::var_os("UFR_EVERY_INSTRUCTION").is_some_and(|it| it != "0");
    let path = Builder::new().directory(directory.path()).path(NAME).unwrap();
    let mut strayed = 0;
    let route = RefCell::new(Route::new(path.clone()));
    let mut number = 0;
    loop {
        let moment = match everywhere {
            true => Moment::Instruction(number),
            false => Moment::Change(number as usize, &route),
        };
        let end = trial(&moment);
        if route.borrow().strayed {
            // Not where it was to be killed, if it was at all: once more, step by step.
            route.replace(Route::new(path.clone()));
            strayed += 1;
        } else if end == End::Finished {
            break;
        } else {
            number += 1;
        }
    }
    let what = if everywhere { "instructions" } else { "changes and system calls" };
    println!("killed within {number} {what}, in {:?}; {strayed} strayed", begun.elapsed());
    assert!(number > if everywhere { 30 } else { 1 }, "the work was only {number} {what}");
}

/// As [`at_every`], with and without a repair after the death and before anybody uses the ring.
fn at_every_and_repaired(directory: &TempDir, mut trial: impl FnMut(&Moment<'_>, bool) -> End) {
    at_every(directory, |moment| {
        let end = trial(moment, true);
        if end == End::Killed { trial(moment, false) } else { end }
    });
}

fn two_slots<S: Shape>(directory: &TempDir) -> Builder {
    S::of(Builder::new()).directory(directory.path()).capacity(2).participants(6)
}

/// A fresh ring for one trial.
fn fresh(builder: &Builder) -> UltraFastRing {
    let _ = builder.remove(NAME);
    builder.create(NAME).unwrap()
}

/// The ring passes messages of a new producer to a new consumer, over several laps, in order, and
/// nothing else but what `leftovers` takes.
fn still_works<S: Shape>(ring: &UltraFastRing, mut leftovers: impl FnMut(&[u8], bool)) {
    let (mut producer, mut consumer) = (S::producer(ring), S::consumer(ring));
    let mut second = S::second(ring);
    let mut to_second = Vec::new();
    let mut message = Vec::new();
    for number in 0..6u8 {
        let mut received = false;
        let mut sent = false;
        patiently("a message sent after a death", || {
            sent = sent || producer.send_fast(&[number], NORMAL).is_ok();
            if let Some(second) = &mut second {
                let mut message = Vec::new();
                while second.try_recv_into(&mut message).is_ok() {
                    to_second.extend((message.len() == 1).then(|| message[0]));
                }
                second.flush();
            }
            if let Ok(about) = consumer.try_recv_into(&mut message) {
                match message[..] {
                    [one] => {
                        assert_eq!((one, about.redelivered), (number, false));
                        received = true;
                    }
                    _ => leftovers(&message, about.redelivered),
                }
            }
            let all = second.is_none() || to_second.last() == Some(&number);
            (sent && received && all).then_some(())
        });
    }
    assert!(second.is_none() || to_second == [0, 1, 2, 3, 4, 5], "{to_second:?}");
}

/// The doctor finds no damage, and leaves nothing to do but to redeliver what was held.
fn is_repaired(ring: &UltraFastRing) {
    let findings = ring.examine().unwrap();
    assert!(!findings.iter().any(Finding::is_damage), "{findings:?}");
    ring.repair().unwrap();
    let left = ring.examine().unwrap();
    assert!(left.iter().all(|it| matches!(it, Finding::Dead { hold: Some(_), .. })), "{left:?}");
}

/// A producer that has sent `before` is killed in `work`, which sends what is longer than a byte.
fn kill_a_producer<S: Shape>(
    max_message: usize,
    work: fn(&mut Producer<S::Producers>),
    sends: &[&[u8]],
) {
    let directory = stage();
    let builder = two_slots::<S>(&directory).max_message(max_message);
    at_every_and_repaired(&directory, |moment, repairs| {
        let ring = fresh(&builder);
        let end = live(|| S::producer(&builder.open(NAME).unwrap()), work, moment);
        if repairs {
            is_repaired(&ring);
        }
        let mut left = Vec::new();
        still_works::<S>(&ring, |message, redelivered| {
            assert!(!redelivered);
            left.push(message.to_vec());
        });
        assert!(sends.starts_with(&left.iter().map(|m| &m[..]).collect::<Vec<_>>()), "{left:?}");
        assert!(end == End::Killed || left.len() == sends.len(), "what was sent is lost");
        end
    });
}

/// Whether a consumer that has just died had released what it had taken: until then it is somebody
/// else's to receive.
fn has_released<S: Shape>(ring: &UltraFastRing) -> bool {
    // An exclusive consumer moves the head when it releases; a shared one when it claims, and from
    // before that until it releases it shows a hold, if the two are not one.
    let holds = || ring.participants().any(|it| it.hold.is_some());
    ring.positions().consumer_head != 0 && (!S::consumers_claim() || !holds())
}

/// A consumer is killed in `work`, with two messages in the ring, of which `leaves` are left when
/// its work is done.
fn kill_a_consumer<S: Shape>(
    max_message: usize,
    work: fn(&mut Consumer<S::Consumers>),
    leaves: usize,
) {
    let directory = stage();
    let builder = two_slots::<S>(&directory).max_message(max_message);
    at_every_and_repaired(&directory, |moment, repairs| {
        let ring = fresh(&builder);
        let messages: [&[u8]; 2] = match ring.max_message() {
            INLINE_SIZE => [b"one", b"two"],
            _ => [&[1; LARGE], &[2; LARGE]],
        };
        assert_eq!(S::producer(&ring).send_batch(&messages, NORMAL), Ok(2));
        let end = live(|| S::consumer(&builder.open(NAME).unwrap()), work, moment);
        let released = has_released::<S>(&ring);
        if repairs {
            is_repaired(&ring);
        }
        let mut left = Vec::new();
        still_works::<S>(&ring, |message, redelivered| {
            // One that was about to be claimed when its consumer died comes twice, marked.
            let again = left.iter().any(|seen| seen == message);
            assert!(redelivered || !again, "{message:?} comes twice, unmarked");
            if !again {
                left.push(message.to_vec());
            }
        });
        // What the dead one held may come after the rest.
        left.sort();
        assert!(messages.ends_with(&left.iter().map(|m| &m[..]).collect::<Vec<_>>()), "{left:?}");
        // Not one fewer than it had released, and not one more.
        assert_eq!(left.len(), if released { leaves } else { 2 }, "{left:?} are left");
        assert!(end == End::Killed || left.len() == leaves, "{left:?} are left by who lived");
        end
    });
}

fn a_producer_killed_while_it_sends<S: Shape>() {
    kill_a_producer::<S>(
        INLINE_SIZE,
        |producer| producer.send_fast(b"sent", NORMAL).unwrap(),
        &[b"sent"],
    );
}
on_each_shape!(a_producer_killed_while_it_sends, needs(one_group, quick));

fn a_producer_killed_while_it_sends_a_batch<S: Shape>() {
    kill_a_producer::<S>(
        INLINE_SIZE,
        |producer| assert_eq!(producer.send_batch(&[b"sent", b"also"], NORMAL), Ok(2)),
        &[b"sent", b"also"],
    );
}
on_each_shape!(a_producer_killed_while_it_sends_a_batch, needs(one_group, quick));

fn a_producer_killed_while_it_writes_in_place<S: Shape>() {
    kill_a_producer::<S>(
        INLINE_SIZE,
        |producer| {
            let mut place = producer.try_reserve(4, NORMAL).unwrap();
            place.copy_from_slice(b"sent");
            place.commit();
        },
        &[b"sent"],
    );
}
on_each_shape!(a_producer_killed_while_it_writes_in_place, needs(one_group, quick));

fn a_producer_killed_while_it_sends_from_a_side_buffer<S: Shape>() {
    kill_a_producer::<S>(
        LARGE,
        |producer| {
            producer.send_fast(&[1; LARGE], NORMAL).unwrap();
            let mut place = producer.try_reserve(LARGE, NORMAL).unwrap();
            place.write_at(0, &[2; LARGE / 2]);
            place.write_at(LARGE / 2, &[3; LARGE / 2]);
            place.commit();
        },
        &[&[1; LARGE], &[[2; LARGE / 2], [3; LARGE / 2]].concat()],
    );
}
on_each_shape!(a_producer_killed_while_it_sends_from_a_side_buffer, needs(one_group, quick));

/// Two messages are in flight, and one was received before: the dead producer was the second, and
/// has a successor, which sends as many as there is room for.
fn a_producer_killed_while_it_uses_side_buffers_again_leaves_what_is_in_flight<S: Shape>() {
    let directory = stage();
    let builder = two_slots::<S>(&directory).capacity(4).max_message(LARGE);
    let send = |producer: &mut Producer<S::Producers>, number: u8| {
        producer.send_fast(&[number; LARGE], NORMAL)
    };
    at_every_and_repaired(&directory, |moment, repairs| {
        let ring = fresh(&builder);
        let mut first = S::producer(&ring);
        (1..=3).for_each(|number| send(&mut first, number).unwrap());
        drop(first);
        let mut buffer = [0; LARGE];
        S::consumer(&ring).try_recv_into(&mut buffer).unwrap();
        assert_eq!(buffer, [1; LARGE]);
        let end = live(
            || S::producer(&builder.open(NAME).unwrap()),
            |producer| (4..=5).for_each(|number| send(producer, number).unwrap()),
            moment,
        );
        if repairs {
            is_repaired(&ring);
        }
        let mut heir = S::producer(&ring);
        let more = (10..).find(|&number| send(&mut heir, number).is_err()).unwrap();
        drop(heir);
        let mut left = Vec::new();
        still_works::<S>(&ring, |message, redelivered| {
            assert!(!redelivered && message.iter().all(|&byte| byte == message[0]), "{message:?}");
            left.push(message[0]);
        });
        let sent = left.iter().filter(|number| [4, 5].contains(number)).count() as u8;
        assert!(left.iter().copied().eq((2..4 + sent).chain(10..more)), "{left:?}");
        assert!(end == End::Killed || sent == 2, "what was sent is lost");
        end
    });
}
on_each_shape!(
    a_producer_killed_while_it_uses_side_buffers_again_leaves_what_is_in_flight,
    needs(no_groups, quick)
);

/// There is memory for some of the side buffers, and consumed messages occupy it.
fn a_producer_killed_while_it_gives_memory_back_leaves_it_to_others<S: Shape>() {
    const PAGES: usize = 4 * 4_096;
    let directory = stage();
    with_little_memory(directory.path(), 48 * 4_096, || {
        let builder = two_slots::<S>(&directory).capacity(8).max_message(PAGES);
        let builder = builder.side_memory(SideMemory::Overcommitted);
        at_every_and_repaired(&directory, |moment, repairs| {
            let _ = std::fs::remove_file(directory.path().join("filler"));
            let ring = fresh(&builder);
            let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
            // The first page of each, so that no buffer has enough.
            while producer.send_fast(&[1; 4_096], NORMAL).is_ok() {}
            while consumer.try_recv_into(&mut [0; PAGES]).is_ok() {}
            drop((producer, consumer));
            let mut filler = File::create(directory.path().join("filler")).unwrap();
            while std::io::Write::write(&mut filler, &[1; 4_096]).is_ok() {}
            let end = live(
                || S::producer(&builder.open(NAME).unwrap()),
                |producer| {
                    // A few bytes of them: each store is a moment to be killed at.
                    let mut place = producer.try_reserve(PAGES, NORMAL).unwrap();
                    place.write_at(PAGES - 4, b"last");
                    place.commit();
                },
                moment,
            );
            if repairs {
                is_repaired(&ring);
            }
            let mut sent = 0;
            still_works::<S>(&ring, |message, redelivered| {
                assert!(!redelivered && message.len() == PAGES && message.ends_with(b"last"));
                sent += 1;
            });
            assert!(end == End::Killed || sent == 1, "what was sent is lost");
            let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
            let mut buffer = vec![0; PAGES];
            for number in 5..8 {
                patiently("room", || {
                    assert!(consumer.try_recv_into(&mut buffer).is_err());
                    producer.send_fast(&[number; PAGES], NORMAL).ok()
                });
                patiently("the message", || consumer.try_recv_into(&mut buffer).ok());
                assert!(buffer == [number; PAGES]);
            }
            end
        });
    });
}
on_each_shape!(
    a_producer_killed_while_it_gives_memory_back_leaves_it_to_others,
    needs(no_groups, quickest)
);

/// A producer is killed in its send, with a consumer asleep. If it came as far as the commit the
/// consumer must get the message, woken for it or not; if it did not, it is woken by the next one.
fn a_producer_killed_between_its_commit_and_waking_a_consumer<S: Shape>() {
    let directory = stage();
    let builder = two_slots::<S>(&directory);
    at_every(&directory, |moment| {
        let ring = fresh(&builder);
        let mut consumer = S::consumer(&ring);
        consumer.set_wait_strategy(WaitStrategy::Park);
        let receiving = std::thread::spawn(move || {
            let message = consumer.recv_timeout(std::time::Duration::from_secs(120));
            message.map(|message| message.to_vec())
        });
        patiently("the consumer sleeps", || ring.is_asleep(Side::Consumer).then_some(()));
        let end = live(
            || S::producer(&builder.open(NAME).unwrap()),
            |producer| producer.send_fast(b"sent", NORMAL).unwrap(),
            moment,
        );
        // Claimed means on a shared side that the consumer gets the message, or passes over what
        // was not committed; on an exclusive one it is only seen once committed.
        if !ring.is_empty() {
            patiently("the consumer goes on by itself", || {
                (ring.positions().consumer_head != 0).then_some(())
            });
        }
        if ring.positions().consumer_head != 0 && ring.stats().abandoned == 0 {
            assert_eq!(receiving.join().unwrap().unwrap(), b"sent");
        } else {
            assert!(end == End::Killed, "what was sent is lost");
            S::producer(&ring).send_fast(b"next", NORMAL).unwrap();
            assert_eq!(receiving.join().unwrap().unwrap(), b"next");
        }
        end
    });
}
on_each_shape!(a_producer_killed_between_its_commit_and_waking_a_consumer, needs(one_group, quick));

fn a_consumer_killed_while_it_copies_a_side_buffer_takes_at_most_that_message_with_it<S: Shape>() {
    kill_a_consumer::<S>(
        LARGE,
        |consumer| assert_eq!(consumer.recv_fast(&mut [0; LARGE]).unwrap().0, LARGE),
        1,
    );
}
on_each_shape!(
    a_consumer_killed_while_it_copies_a_side_buffer_takes_at_most_that_message_with_it,
    needs(one_group, quick)
);

fn a_consumer_killed_before_it_releases_a_side_buffer_loses_nothing<S: Shape>() {
    kill_a_consumer::<S>(
        LARGE,
        |consumer| {
            let guard = consumer.try_borrow().unwrap();
            guard.read_at(0, &mut [0; LARGE]);
            std::mem::forget(guard);
        },
        2,
    );
}
on_each_shape!(a_consumer_killed_before_it_releases_a_side_buffer_loses_nothing, needs(quick));

fn a_consumer_killed_while_it_receives_a_copy_takes_at_most_that_message_with_it<S: Shape>() {
    kill_a_consumer::<S>(
        INLINE_SIZE,
        |consumer| assert_eq!(&*consumer.try_recv().unwrap(), b"one"),
        1,
    );
}
on_each_shape!(
    a_consumer_killed_while_it_receives_a_copy_takes_at_most_that_message_with_it,
    needs(one_group, quick)
);

fn a_consumer_killed_while_it_receives_a_batch_takes_at_most_that_batch_with_it<S: Shape>() {
    kill_a_consumer::<S>(
        INLINE_SIZE,
        |consumer| assert_eq!(consumer.recv_batch(&mut [[0; 40]; 2]).unwrap().len(), 2),
        0,
    );
}
on_each_shape!(
    a_consumer_killed_while_it_receives_a_batch_takes_at_most_that_batch_with_it,
    needs(one_group, quick)
);

fn a_consumer_killed_before_it_releases_what_it_reads_in_place_loses_nothing<S: Shape>() {
    kill_a_consumer::<S>(
        INLINE_SIZE,
        |consumer| std::mem::forget(consumer.try_borrow().unwrap()),
        2,
    );
}
on_each_shape!(
    a_consumer_killed_before_it_releases_what_it_reads_in_place_loses_nothing,
    needs(quick)
);

fn a_consumer_killed_while_it_reads_in_place_and_releases<S: Shape>() {
    kill_a_consumer::<S>(INLINE_SIZE, |consumer| consumer.try_borrow().unwrap().release(), 1);
}
on_each_shape!(a_consumer_killed_while_it_reads_in_place_and_releases, needs(one_group, quick));

fn a_newcomer_killed_while_it_takes_over_a_dead_consumers_entry_loses_nothing<S: Shape>() {
    let directory = stage();
    // As many entries as there are handles, so that the newcomer must take the dead one's.
    let builder = two_slots::<S>(&directory).participants(2);
    at_every(&directory, |moment| {
        let ring = fresh(&builder);
        S::producer(&ring).send_batch(&[b"one", b"two"], NORMAL).unwrap();
        let holding = || {
            let mut consumer = S::consumer(&builder.open(NAME).unwrap());
            std::mem::forget(consumer.try_borrow().unwrap());
            consumer
        };
        Child::die_after(holding);
        Child::die_after(|| S::consumer(&builder.open(NAME).unwrap()));
        let end = live(
            || builder.open(NAME).unwrap(),
            |ring| {
                let mut consumer = S::consumer(ring);
                std::mem::forget(consumer.try_borrow().unwrap());
                std::mem::forget(consumer);
            },
            moment,
        );
        let mut left = Vec::new();
        still_works::<S>(&ring, |message, redelivered| {
            assert!(redelivered || message == b"two");
            left.push(message.to_vec());
        });
        left.sort();
        left.dedup();
        assert_eq!(left, [b"one", b"two"]);
        end
    });
}
on_each_shape!(
    a_newcomer_killed_while_it_takes_over_a_dead_consumers_entry_loses_nothing,
    needs(shared_consumer, one_group, quickest)
);

fn an_exclusive_consumers_successor_killed_while_it_takes_over_leaves_what_was_held_marked<
    S: Shape,
>() {
    let directory = stage();
    let builder = two_slots::<S>(&directory);
    at_every(&directory, |moment| {
        let ring = fresh(&builder);
        S::producer(&ring).send_batch(&[b"one", b"two"], NORMAL).unwrap();
        let hold = |ring: &mut UltraFastRing| {
            let mut consumer = S::consumer(ring);
            std::mem::forget(consumer.try_borrow().unwrap());
            std::mem::forget(consumer);
        };
        let open = || builder.open(NAME).unwrap();
        Child::die_after(|| {
            let mut ring = open();
            hold(&mut ring);
            ring
        });
        let end = live(open, hold, moment);
        let mut left = Vec::new();
        still_works::<S>(&ring, |message, redelivered| {
            assert_eq!(redelivered, message == b"one", "{message:?}");
            left.push(message.to_vec());
        });
        assert_eq!(left, [b"one", b"two"]);
        end
    });
}
on_each_shape!(
    an_exclusive_consumers_successor_killed_while_it_takes_over_leaves_what_was_held_marked,
    needs(exclusive_consumer, one_group, quick)
);

// ---- more calls ------------------------------------------------------------------------------

fn a_producer_killed_while_it_flushes_and_leaves<S: Shape>() {
    let directory = stage();
    at_every(&directory, |moment| {
        let ring = fresh(&two_slots::<S>(&directory));
        let end = live(
            || {
                let mut producer = S::producer(&two_slots::<S>(&directory).open(NAME).unwrap());
                producer.send_fast(b"sent", NORMAL).unwrap();
                Some(producer)
            },
            |producer| drop(producer.take()),
            moment,
        );
        is_repaired(&ring);
        let mut left = Vec::new();
        still_works::<S>(&ring, |message, _| left.push(message.to_vec()));
        assert_eq!(left, [b"sent"], "what was sent is lost, or doubled");
        end
    });
}
on_each_shape!(a_producer_killed_while_it_flushes_and_leaves, needs(one_group, quick));

fn a_consumer_killed_while_it_leaves_with_a_message_held<S: Shape>() {
    let directory = stage();
    at_every(&directory, |moment| {
        let ring = fresh(&two_slots::<S>(&directory));
        S::producer(&ring).send_batch(&[b"one", b"two"], NORMAL).unwrap();
        let end = live(
            || {
                let mut consumer = S::consumer(&two_slots::<S>(&directory).open(NAME).unwrap());
                std::mem::forget(consumer.try_borrow().unwrap());
                Some(consumer)
            },
            |consumer| drop(consumer.take()),
            moment,
        );
        let mut left = Vec::new();
        still_works::<S>(&ring, |message, redelivered| {
            assert_eq!(redelivered, message == b"one");
            left.push(message.to_vec());
        });
        left.sort();
        assert!(left == [b"one", b"two"] || left == [b"two"], "{left:?}");
        assert!(end == End::Killed || left == [b"two"], "what was released came again");
        end
    });
}
on_each_shape!(a_consumer_killed_while_it_leaves_with_a_message_held, needs(quick));

fn an_exclusive_producers_successor_killed_while_it_takes_over_loses_nothing<S: Shape>() {
    let directory = stage();
    let builder = two_slots::<S>(&directory);
    at_every(&directory, |moment| {
        let ring = fresh(&builder);
        let send = |ring: &mut UltraFastRing| {
            let mut producer = S::producer(ring);
            producer.send_fast(b"sent", NORMAL).unwrap();
            std::mem::forget(producer);
        };
        let open = || builder.open(NAME).unwrap();
        Child::die_after(|| {
            let mut ring = open();
            send(&mut ring);
            ring
        });
        let end = live(open, send, moment);
        let mut left = 0;
        still_works::<S>(&ring, |message, redelivered| {
            assert!(!redelivered && message == b"sent");
            left += 1;
        });
        assert!(left == 2 || left == 1 && end == End::Killed, "{left} of two messages are left");
        end
    });
}
on_each_shape!(
    an_exclusive_producers_successor_killed_while_it_takes_over_loses_nothing,
    needs(exclusive_lane, one_group, quickest)
);

// ---- survivors at their work -----------------------------------------------------------------

/// A process dies with `b"lost"` claimed and not committed; `b"next"` is committed behind it, by
/// one that was there before: whoever comes after a death finishes the dead one's work at once.
fn claim_and_die<S: Shape>(builder: &Builder) {
    let mut after = S::producer(&builder.open(NAME).unwrap());
    Child::die_after(|| {
        let mut producer = S::producer(&builder.open(NAME).unwrap());
        std::mem::forget(producer.try_reserve(4, NORMAL).unwrap());
        producer
    });
    after.send_fast(b"next", NORMAL).unwrap();
}

/// Receives in place, and keeps what it gets: nothing may be lost by its death.
fn hold_one<S: Mode>(consumer: &mut Consumer<S>) {
    while consumer.try_borrow().map(std::mem::forget).is_err() {}
}

fn a_survivor_killed_while_it_abandons_and_skips_a_dead_producers_slot_loses_nothing<S: Shape>() {
    let directory = stage();
    let builder = two_slots::<S>(&directory);
    at_every(&directory, |moment| {
        let ring = fresh(&builder);
        let prepare = || {
            let consumer = S::consumer(&builder.open(NAME).unwrap());
            claim_and_die::<S>(&builder);
            consumer
        };
        let end = live(prepare, hold_one, moment);
        let mut left = Vec::new();
        still_works::<S>(&ring, |message, _| left.push(message.to_vec()));
        left.dedup();
        assert_eq!(left, [b"next"]);
        assert!(ring.stats().abandoned <= 1);
        end
    });
}
on_each_shape!(
    a_survivor_killed_while_it_abandons_and_skips_a_dead_producers_slot_loses_nothing,
    needs(two_producers, one_group, quick)
);

fn a_consumer_killed_while_it_skips_an_abandoned_slot_loses_nothing<S: Shape>() {
    let directory = stage();
    let builder = two_slots::<S>(&directory);
    at_every(&directory, |moment| {
        let ring = fresh(&builder);
        claim_and_die::<S>(&builder);
        ring.repair().unwrap();
        let end = live(|| S::consumer(&builder.open(NAME).unwrap()), hold_one, moment);
        let mut left = Vec::new();
        still_works::<S>(&ring, |message, _| left.push(message.to_vec()));
        left.dedup();
        assert_eq!(left, [b"next"]);
        end
    });
}
on_each_shape!(
    a_consumer_killed_while_it_skips_an_abandoned_slot_loses_nothing,
    needs(two_producers, quick)
);

/// A consumer dies that holds `b"one"` of `b"one"` and `b"two"`.
fn hold_and_die<S: Shape>(builder: &Builder, producer: &mut Producer<S::Producers>) {
    assert_eq!(producer.send_batch(&[b"one", b"two"], NORMAL), Ok(2));
    Child::die_after(|| {
        let mut consumer = S::consumer(&builder.open(NAME).unwrap());
        std::mem::forget(consumer.try_borrow().unwrap());
        consumer
    });
}

fn a_survivor_killed_while_it_redelivers_a_dead_consumers_message_loses_nothing<S: Shape>() {
    let directory = stage();
    let builder = two_slots::<S>(&directory);
    at_every(&directory, |moment| {
        let ring = fresh(&builder);
        let prepare = || {
            let mut consumer = S::consumer(&builder.open(NAME).unwrap());
            hold_and_die::<S>(&builder, &mut S::producer(&builder.open(NAME).unwrap()));
            assert_eq!(&*consumer.try_recv().unwrap(), b"two");
            consumer
        };
        let end = live(prepare, hold_one, moment);
        let mut left = Vec::new();
        still_works::<S>(&ring, |message, redelivered| {
            assert!(redelivered, "{message:?} comes unmarked");
            left.push(message.to_vec());
        });
        left.dedup();
        assert_eq!(left, [b"one"]);
        end
    });
}
on_each_shape!(
    a_survivor_killed_while_it_redelivers_a_dead_consumers_message_loses_nothing,
    needs(two_consumers, one_group, quick)
);

fn a_producer_killed_while_it_gets_a_dead_consumers_credit_back_leaves_a_ring_that_works<
    S: Shape,
>() {
    let directory = stage();
    let builder = two_slots::<S>(&directory).redelivery(ultrafastring::Redelivery::Discard);
    at_every(&directory, |moment| {
        let ring = fresh(&builder);
        let end = live(
            || {
                let mut producer = S::producer(&builder.open(NAME).unwrap());
                hold_and_die::<S>(&builder, &mut producer);
                producer
            },
            |producer| while producer.send_fast(b"sent", NORMAL).is_err() {},
            moment,
        );
        let mut left = Vec::new();
        still_works::<S>(&ring, |message, _| left.push(message.to_vec()));
        assert!(
            left == [b"two".to_vec()] || left == [b"two".to_vec(), b"sent".to_vec()],
            "{left:?}"
        );
        assert!(end == End::Killed || left.len() == 2, "what was sent is lost");
        // Who dies between clearing the hold and counting takes the count along.
        let discarded = ring.stats().discarded;
        assert!(discarded == 1 || discarded == 0 && end == End::Killed, "{discarded} discarded");
        end
    });
}
on_each_shape!(
    a_producer_killed_while_it_gets_a_dead_consumers_credit_back_leaves_a_ring_that_works,
    needs(shared_consumer, one_group, quickest)
);

// ---- groups that others join, leave, open, evict and close ------------------------------------

fn for_groups(directory: &TempDir) -> Builder {
    Builder::new().directory(directory.path()).capacity(2).participants(6).joinable()
}

/// What the member of a group gets, or is told to have missed: all of it, each position once.
struct Account {
    member: Consumer,
    next: u64,
}

impl Account {
    fn of(member: Consumer, next: u64) -> Self {
        Self { member, next }
    }

    /// Receives what is there.
    fn receive(&mut self) {
        loop {
            match self.member.try_recv() {
                Ok(message) => {
                    assert_eq!((message.position(), message.is_redelivered()), (self.next, false));
                    self.next += 1;
                }
                Err(RecvError::Evicted { missed }) => self.next += missed,
                Err(error) => return assert_eq!(error, RecvError::Empty),
            }
        }
    }

    /// Sends several laps and has them all received; says how many positions there are.
    fn goes_on(&mut self, producer: &mut Producer) {
        for number in 0..6u8 {
            patiently("room", || {
                producer.send_fast(&[number], NORMAL).ok().or_else(|| {
                    self.receive();
                    None
                })
            });
        }
        producer.flush();
        self.receive();
    }
}

/// Producers wait for nobody who is dead, and whoever joins `group` gets what is sent from then on.
fn goes_on_without_the_dead(ring: &UltraFastRing, group: &str) {
    let mut producer = patiently("a producer", || ring.producer().ok());
    for number in 0..6u8 {
        patiently("room", || producer.send_fast(&[number], NORMAL).ok());
    }
    producer.flush();
    let sent = ring.positions().producer_head;
    Account::of(ring.join(group).consumer().unwrap(), sent).goes_on(&mut producer);
    drop(producer);
    assert_eq!(ring.examine().unwrap(), []);
}

#[test]
fn a_newcomer_killed_while_it_makes_and_opens_a_group_holds_nobody_up() {
    let directory = stage();
    let builder = for_groups(&directory);
    at_every(&directory, |moment| {
        let ring = fresh(&builder);
        let open = || builder.open(NAME).unwrap();
        let end =
            live(open, |ring| drop(ring.join("new").consumer().map(std::mem::forget)), moment);
        goes_on_without_the_dead(&ring, "new");
        end
    });
}

/// What a group keeps that is durable, or has a living member, is there whoever dies in it.
#[test]
fn a_newcomer_killed_while_it_joins_an_open_group_takes_nothing_with_it() {
    for lives in [false, true] {
        let directory = stage();
        let builder = for_groups(&directory);
        at_every(&directory, |moment| {
            let ring = fresh(&builder);
            let join = ring.join("group");
            let join = if lives { join } else { join.durable() };
            let first = join.consumer().unwrap();
            let mut producer = ring.producer().unwrap();
            (0..2).for_each(|it| producer.send_fast(&[it], NORMAL).unwrap());
            let mut first = lives.then_some(first);
            let open = || builder.open(NAME).unwrap();
            let end = live(
                open,
                |ring| drop(ring.join("group").consumer().map(std::mem::forget)),
                moment,
            );
            let member = first.take().unwrap_or_else(|| ring.join("group").consumer().unwrap());
            Account::of(member, 0).goes_on(&mut producer);
            end
        });
    }
}

#[test]
fn the_last_member_killed_while_it_leaves_a_passing_group_holds_nobody_up() {
    let directory = stage();
    let builder = for_groups(&directory);
    at_every(&directory, |moment| {
        let ring = fresh(&builder);
        let join = || {
            let ring = builder.open(NAME).unwrap();
            let member = ring.join("passing").consumer().unwrap();
            ring.send_fast(b"unread", NORMAL).unwrap();
            Some(member)
        };
        let end = live(join, |member| drop(member.take()), moment);
        goes_on_without_the_dead(&ring, "passing");
        end
    });
}

fn evictable<'r>(ring: &'r UltraFastRing) -> ultrafastring::Join<'r> {
    ring.join("slow").slow(Slow::Evict { after: Duration::ZERO })
}

/// A member that finds out that its group was evicted opens it again.
#[test]
fn a_member_killed_while_it_opens_its_evicted_group_again_holds_nobody_up() {
    let directory = stage();
    let builder = for_groups(&directory);
    at_every(&directory, |moment| {
        let ring = fresh(&builder);
        let evicted = || {
            let ring = builder.open(NAME).unwrap();
            let member = evictable(&ring).consumer().unwrap();
            let mut producer = ring.producer().unwrap();
            (0..5).for_each(|it| patiently("room", || producer.send_fast(&[it], NORMAL).ok()));
            member
        };
        let finds_out = |member: &mut Consumer| {
            assert_eq!(member.try_recv().unwrap_err(), RecvError::Evicted { missed: 5 });
        };
        let end = live(evicted, finds_out, moment);
        let missed = ring.groups().map(|it| it.missed).sum::<u64>();
        assert!(missed == 5 || missed == 0 && end == End::Killed, "{missed} are counted");
        // Nobody has sent since. A newcomer that opens the group in the dead one's place is told
        // what it missed; else it begins where that one did.
        let evicted = ring.groups().any(|it| it.state == GroupState::Evicted);
        let newcomer = evictable(&ring).consumer().unwrap();
        let mut account = Account::of(newcomer, if evicted { 0 } else { 5 });
        account.goes_on(&mut ring.producer().unwrap());
        drop(account);
        goes_on_without_the_dead(&ring, "slow");
        end
    });
}

/// What the group has missed is told exactly, whoever has let go of it, and died.
#[test]
fn a_producer_killed_while_it_evicts_a_group_falsifies_no_count() {
    let directory = stage();
    let builder = for_groups(&directory).exclusive_producer();
    at_every(&directory, |moment| {
        let ring = fresh(&builder);
        let mut account = Account::of(evictable(&ring).consumer().unwrap(), 0);
        let fill = || {
            let mut producer = builder.open(NAME).unwrap().producer().unwrap();
            (0..2).for_each(|it| producer.send_fast(&[it], NORMAL).unwrap());
            producer
        };
        let evict = |producer: &mut Producer| while producer.send_fast(&[2], NORMAL).is_err() {};
        let end = live(fill, evict, moment);
        let evictions = ring.groups().map(|it| it.evictions).sum::<u64>();
        assert!(evictions == 1 || evictions == 0 && end == End::Killed, "{evictions} evictions");
        let mut producer = ring.producer().unwrap();
        account.goes_on(&mut producer);
        account.goes_on(&mut producer);
        assert_eq!(account.next, ring.positions().producer_head);
        end
    });
}

#[test]
fn a_producer_killed_while_it_closes_a_group_of_the_dead_leaves_that_to_the_next() {
    let directory = stage();
    let builder = for_groups(&directory);
    at_every(&directory, |moment| {
        let ring = fresh(&builder);
        let held_back = || {
            let ring = builder.open(NAME).unwrap();
            Child::die_after(|| builder.open(NAME).unwrap().join("passing").consumer().unwrap());
            let mut producer = ring.producer().unwrap();
            (0..2).for_each(|it| producer.send_fast(&[it], NORMAL).unwrap());
            producer
        };
        let close = |producer: &mut Producer| while producer.send_fast(&[2], NORMAL).is_err() {};
        let end = live(held_back, close, moment);
        goes_on_without_the_dead(&ring, "passing");
        end
    });
}

// ---- what the fast path pays -----------------------------------------------------------------

/// The fewest instructions that `work` takes after one preparation or another: now and then a
/// message is one to announce.
fn fewest_instructions<T>(prepare: impl Fn(u64) -> T, work: fn(&mut T)) -> u64 {
    let count = |nth, work: fn(&mut T)| count(|| prepare(nth), work);
    (0..12).map(|nth| count(nth, work).saturating_sub(count(nth, |_| {}))).min().unwrap()
}

fn an_uncontended_send_and_receive_take_not_one_instruction_more_beside_the_dead<S: Shape>() {
    let directory = stage();
    // No timestamps: with them it depends on the time when a handle announces.
    let builder = S::of(Builder::new())
        .directory(directory.path())
        .capacity(64)
        .participants(6)
        .timestamps(ultrafastring::Timestamps::Off);
    let measure = |dead: bool| {
        let ring = fresh(&builder);
        if dead {
            // They have taken part and died idle; their entries wait to be used again.
            let take = || {
                let ring = builder.open(NAME).unwrap();
                (S::producer(&ring), S::consumer(&ring))
            };
            Child::die_after(take);
            let entries = S::entries(Side::Producer) + S::entries(Side::Consumer);
            assert_eq!(ring.participants().filter(|it| !it.alive).count(), entries);
        }
        let ready = |nth| {
            let ring = builder.open(NAME).unwrap();
            let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
            // Until messages come thick and fast, as far as the handles can tell.
            for _ in 0..1_000 + nth {
                producer.send_fast(b"sixteen bytes ok", NORMAL).unwrap();
                consumer.recv_fast(&mut [0; 40]).unwrap();
            }
            producer.send_fast(b"sixteen bytes ok", NORMAL).unwrap();
            (producer, consumer)
        };
        let send = fewest_instructions(ready, |(producer, _)| {
            producer.send_fast(b"sixteen bytes ok", NORMAL).unwrap();
        });
        let receive = fewest_instructions(ready, |(_, consumer)| {
            consumer.recv_fast(&mut [0; 40]).unwrap();
        });
        (send, receive)
    };
    let (alone, beside) = (measure(false), measure(true));
    println!("send_fast and recv_fast: {alone:?} instructions alone, {beside:?} beside the dead");
    assert_eq!(alone, beside);
}
on_each_shape!(
    an_uncontended_send_and_receive_take_not_one_instruction_more_beside_the_dead,
    needs(one_group, quick)
);
