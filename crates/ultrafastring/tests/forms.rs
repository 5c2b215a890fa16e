//! Every way of sending and of receiving, in each of its forms: what tries never waits, the plain
//! name waits, and what has a time waits so long. And that earlier names do what the names of now
//! do.
//!
//! The ways are in two tables, [`sends`] and [`receives`], one line for each; a new way has its
//! line there and is tested on each shape of ring, by typed handles and by those of any mode.

#![cfg(all(feature = "std", not(loom)))]

mod common;
#[path = "common/shapes.rs"]
mod shapes;

use std::collections::BTreeSet;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use common::patiently;
use shapes::{Shape, on_each_shape};
use ultrafastring::{
    AnyMode, Consumer, Mode, PriorityClass, Producer, RecvError, SendError, Side, UltraFastRing,
    WaitStrategy,
};

const NORMAL: PriorityClass = PriorityClass::Normal;
const SOON: Duration = Duration::from_millis(10);
/// Longer than any test waits for what comes at once.
const LONG: Duration = Duration::from_secs(60);

/// A way of sending a number of eight bytes, or of receiving one, by a handle `H`.
struct Way<H, A, R> {
    name: &'static str,
    /// Those of its forms.
    names: [&'static str; 4],
    tries: fn(&mut H, A) -> R,
    waits: fn(&mut H, A) -> R,
    timed: [fn(&mut H, A, Duration) -> R; 2],
}

type Sends<H> = Way<H, u64, Result<(), SendError>>;
type Receives<H> = Way<H, (), Result<u64, RecvError>>;

/// A way that sends `$number`: with these arguments before the time, and by what it gives.
macro_rules! way_of_sending {
    ($tries:ident $waits:ident $timeout:ident $deadline:ident:
     $number:ident ($($argument:expr),*) => $($then:tt)*) => {
        Way {
            name: stringify!($waits),
            names: [
                stringify!($tries),
                stringify!($waits),
                stringify!($timeout),
                stringify!($deadline),
            ],
            tries: |it, $number| it.$tries($($argument),*)$($then)*,
            waits: |it, $number| it.$waits($($argument),*)$($then)*,
            timed: [
                |it, $number, time| it.$timeout($($argument,)* time)$($then)*,
                |it, $number, time| it.$deadline($($argument,)* Instant::now() + time)$($then)*,
            ],
        }
    };
}

/// A way that receives: with this made before, these arguments before the time, and the message's
/// bytes in what it gives.
macro_rules! way_of_receiving {
    ($tries:ident $waits:ident $timeout:ident $deadline:ident:
     [$($before:tt)*] ($($argument:expr),*) $got:ident => $bytes:expr) => {
        Way {
            name: stringify!($waits),
            names: [
                stringify!($tries),
                stringify!($waits),
                stringify!($timeout),
                stringify!($deadline),
            ],
            tries: |it, ()| {
                $($before)*
                it.$tries($($argument),*).map(|$got| number($bytes))
            },
            waits: |it, ()| {
                $($before)*
                it.$waits($($argument),*).map(|$got| number($bytes))
            },
            timed: [
                |it, (), time| {
                    $($before)*
                    it.$timeout($($argument,)* time).map(|$got| number($bytes))
                },
                |it, (), time| {
                    $($before)*
                    it.$deadline($($argument,)* Instant::now() + time).map(|$got| number($bytes))
                },
            ],
        }
    };
}

#[track_caller]
fn number(bytes: impl AsRef<[u8]>) -> u64 {
    u64::from_le_bytes(bytes.as_ref().try_into().unwrap())
}

/// What handles and the ring itself have.
macro_rules! common_ways_of_sending {
    () => {
        vec![
            way_of_sending!(try_send send send_timeout send_deadline:
                number (&number.to_le_bytes(), NORMAL) => .map_err(SendError::from)),
            way_of_sending!(try_send_many send_many send_many_timeout send_many_deadline:
                number (&[number.to_le_bytes()], NORMAL) => .done()),
        ]
    };
}

/// What handles and the ring itself have.
macro_rules! common_ways_of_receiving {
    () => {
        vec![
            way_of_receiving!(try_recv recv recv_timeout recv_deadline: [] () it => it),
            way_of_receiving!(try_recv_into recv_into recv_into_timeout recv_into_deadline:
                [let mut buffer = vec![1; 3];] (&mut buffer) _it => &buffer),
            way_of_receiving!(try_recv_into recv_into recv_into_timeout recv_into_deadline:
                [let mut buffer = [0; 9];] (&mut buffer) it => &buffer[..it.size]),
            way_of_receiving!(try_recv_many recv_many recv_many_timeout recv_many_deadline:
                [let mut buffers = [[0; 9], [0; 9]];] (&mut buffers) it => &buffers[0][..it[0].size]),
        ]
    };
}

/// What a call that sends says, as one that sends one message.
trait Done {
    fn done(self) -> Result<(), SendError>;
}

/// Of a batch of one that is tried.
impl Done for Result<usize, SendError> {
    fn done(self) -> Result<(), SendError> {
        self.map(|sent| assert_eq!(sent, 1))
    }
}

/// Of a batch of one that waits.
impl Done for Result<(), ultrafastring::SendManyError> {
    fn done(self) -> Result<(), SendError> {
        self.map_err(|error| {
            assert_eq!(error.sent, 0);
            error.reason
        })
    }
}

fn sends<S: Mode>() -> Vec<Sends<Producer<S>>> {
    let mut ways: Vec<Sends<Producer<S>>> = common_ways_of_sending!();
    ways.push(way_of_sending!(try_reserve reserve reserve_timeout reserve_deadline:
    number (8, NORMAL) => .map(|mut it| {
        it.copy_from_slice(&number.to_le_bytes());
        it.commit();
    })));
    #[cfg(feature = "zerocopy")]
    ways.push(way_of_sending!(try_send_value send_value send_value_timeout send_value_deadline:
        number (&number.to_le_bytes(), NORMAL) => ));
    ways
}

fn receives<S: Mode>() -> Vec<Receives<Consumer<S>>> {
    let mut ways: Vec<Receives<Consumer<S>>> = common_ways_of_receiving!();
    let one: Receives<Consumer<S>> = way_of_receiving!(try_borrow borrow borrow_timeout borrow_deadline:
        [] () it => it.to_vec());
    let many: Receives<Consumer<S>> = way_of_receiving!(try_borrow_many borrow_many borrow_many_timeout borrow_many_deadline:
        [] (2) it => it.first().unwrap().to_vec());
    ways.extend([one, many]);
    #[cfg(feature = "zerocopy")]
    ways.push(way_of_receiving!(try_recv_value recv_value recv_value_timeout recv_value_deadline:
        [] () it => { let bytes: [u8; 8] = it; bytes }));
    ways
}

/// Does what must come back at once. If it does not, the ring is closed after a while, and what
/// comes back says so.
fn at_once<R>(ring: &UltraFastRing, work: impl FnOnce() -> R) -> R {
    let (done, is_done) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if is_done.recv_timeout(LONG / 6) == Err(mpsc::RecvTimeoutError::Timeout) {
                ring.close();
            }
        });
        let result = work();
        drop(done);
        result
    })
}

/// Each form of a way of receiving, on an empty ring that `send` sends to.
fn receive_in_each_form<H: Send>(
    ring: &UltraFastRing,
    handle: &mut H,
    way: &Receives<H>,
    mut send: impl FnMut(u64) + Send,
) {
    let name = way.name;
    assert_eq!(at_once(ring, || (way.tries)(handle, ())), Err(RecvError::Empty), "try_{name}");
    for timed in way.timed {
        let start = Instant::now();
        assert_eq!(at_once(ring, || timed(handle, (), SOON)), Err(RecvError::TimedOut), "{name}");
        assert!(start.elapsed() >= SOON, "{name} did not wait");
    }

    // What is there is taken by all of them, though there be no time.
    send(1);
    assert_eq!(at_once(ring, || (way.tries)(handle, ())), Ok(1), "try_{name}");
    send(2);
    assert_eq!(at_once(ring, || (way.waits)(handle, ())), Ok(2), "{name}");
    for timed in way.timed {
        send(3);
        assert_eq!(at_once(ring, || timed(handle, (), Duration::ZERO)), Ok(3), "{name}");
    }

    // What comes while they wait.
    let mut comes_later = |receive: &mut (dyn FnMut() -> Result<u64, RecvError> + Send)| {
        std::thread::scope(|scope| {
            let waiting = scope.spawn(receive);
            patiently("it sleeps", || {
                (ring.is_asleep(Side::Consumer) || waiting.is_finished()).then_some(())
            });
            send(4);
            assert_eq!(waiting.join().unwrap(), Ok(4), "{name}");
        });
    };
    comes_later(&mut || (way.waits)(handle, ()));
    for timed in way.timed {
        comes_later(&mut || timed(handle, (), LONG));
    }
}

/// Each form of a way of sending, to a ring of one slot that `receive` receives from.
fn send_in_each_form<H: Send>(
    ring: &UltraFastRing,
    handle: &mut H,
    way: &Sends<H>,
    mut receive: impl FnMut() -> u64 + Send,
) {
    let name = way.name;
    // There is room.
    assert_eq!(at_once(ring, || (way.tries)(handle, 1)), Ok(()), "try_{name}");
    assert_eq!(receive(), 1, "try_{name}");
    assert_eq!(at_once(ring, || (way.waits)(handle, 2)), Ok(()), "{name}");
    assert_eq!(receive(), 2, "{name}");
    for timed in way.timed {
        assert_eq!(at_once(ring, || timed(handle, 3, Duration::ZERO)), Ok(()), "{name}");
        assert_eq!(receive(), 3, "{name}");
    }

    // There is none.
    assert_eq!((way.tries)(handle, 4), Ok(()), "{name}");
    let full = at_once(ring, || (way.tries)(handle, 5));
    // A batch that finds no room sends none of its messages.
    assert!(full.is_err_and(|error| error.is_full()), "try_{name}: {full:?}");
    for timed in way.timed {
        let start = Instant::now();
        assert_eq!(at_once(ring, || timed(handle, 5, SOON)), Err(SendError::TimedOut), "{name}");
        assert!(start.elapsed() >= SOON, "{name} did not wait");
    }

    // Room comes while they wait; the number that was sent before is received first.
    let mut before = 4;
    let mut comes_later = |sent, send: &mut (dyn FnMut() -> Result<(), SendError> + Send)| {
        std::thread::scope(|scope| {
            let waiting = scope.spawn(send);
            patiently("it sleeps", || {
                (ring.is_asleep(Side::Producer) || waiting.is_finished()).then_some(())
            });
            assert_eq!(receive(), std::mem::replace(&mut before, sent), "{name}");
            assert_eq!(waiting.join().unwrap(), Ok(()), "{name}");
        });
    };
    comes_later(6, &mut || (way.waits)(handle, 6));
    for timed in way.timed {
        comes_later(7, &mut || timed(handle, 7, LONG));
    }
    assert_eq!(receive(), 7, "{name}");
}

fn consumer_in_each_form<S: Mode>(ring: &UltraFastRing, mut consumer: Consumer<S>) {
    let mut producer = ring.producer().unwrap();
    consumer.set_wait_strategy(WaitStrategy::Park);
    let ways = receives();
    for way in &ways {
        let send = |number: u64| producer.send(&number.to_le_bytes(), NORMAL).unwrap();
        receive_in_each_form(ring, &mut consumer, way, send);
    }
    ring.close();
    for way in &ways {
        // A look or two may pass before it is noticed.
        let tries = || (way.tries)(&mut consumer, ()).err().filter(|it| !it.is_empty());
        assert_eq!(patiently("its end", tries), RecvError::Closed, "try_{}", way.name);
        assert_eq!((way.waits)(&mut consumer, ()), Err(RecvError::Closed), "{}", way.name);
        for timed in way.timed {
            assert_eq!(timed(&mut consumer, (), LONG), Err(RecvError::Closed), "{}", way.name);
        }
    }
}

fn producer_in_each_form<S: Shape, M: Mode>(ring: &UltraFastRing, mut producer: Producer<M>) {
    let (mut consumer, mut second) = (S::consumer_of_any_mode(ring), S::second(ring));
    producer.set_wait_strategy(WaitStrategy::Park);
    let ways = sends();
    for way in &ways {
        // There is room when all groups have made it: a grant of one is not enough.
        let receive = || {
            let received = number(consumer.recv().unwrap());
            let by_second = second.as_mut().map(|it| number(it.recv().unwrap()));
            assert!(by_second.is_none_or(|it| it == received));
            received
        };
        send_in_each_form(ring, &mut producer, way, receive);
    }
    producer.close();
    for way in &ways {
        assert_eq!((way.tries)(&mut producer, 1), Err(SendError::Closed), "try_{}", way.name);
        assert_eq!((way.waits)(&mut producer, 1), Err(SendError::Closed), "{}", way.name);
        for timed in way.timed {
            assert_eq!(timed(&mut producer, 1, LONG), Err(SendError::Closed), "{}", way.name);
        }
    }
}

fn each_way_of_receiving_has_its_forms<S: Shape>() {
    let ring = S::heap(2);
    let _second = S::read_second(&ring);
    consumer_in_each_form(&ring, S::consumer(&ring));
    let ring = S::heap(2);
    let _second = S::read_second(&ring);
    consumer_in_each_form(&ring, S::consumer_of_any_mode(&ring));
}
on_each_shape!(each_way_of_receiving_has_its_forms);

fn each_way_of_sending_has_its_forms<S: Shape>() {
    let ring = S::heap(1);
    producer_in_each_form::<S, _>(&ring, S::producer(&ring));
    let ring = S::heap(1);
    producer_in_each_form::<S, _>(&ring, S::producer_of_any_mode(&ring));
}
on_each_shape!(each_way_of_sending_has_its_forms);

#[test]
fn the_ring_itself_has_the_ways_that_copy_in_all_their_forms() {
    let ring = UltraFastRing::new(1);
    for way in ring_receives() {
        let send = |number: u64| ring.send(&number.to_le_bytes(), NORMAL).unwrap();
        receive_in_each_form(&ring, &mut &ring, &way, send);
    }
    for way in ring_sends() {
        send_in_each_form(&ring, &mut &ring, &way, || number(ring.recv().unwrap()));
    }
}

fn ring_sends<'a>() -> Vec<Sends<&'a UltraFastRing>> {
    common_ways_of_sending!()
}

fn ring_receives<'a>() -> Vec<Receives<&'a UltraFastRing>> {
    common_ways_of_receiving!()
}

/// The front page's table, which is also in `docs/reference-calls.md`.
#[test]
fn the_table_of_ways_has_those_that_are_tested_here_and_no_others() {
    let page = include_str!("../src/front.md");
    let lines = page.lines().skip_while(|line| !line.starts_with("| way |")).skip(2);
    let rows = lines.take_while(|line| line.starts_with('|'));
    let mut shown: Vec<Vec<&str>> = rows
        .map(|row| row.split(" | ").map(|cell| cell.trim_matches(['|', ' '])).collect())
        .filter(|row: &Vec<_>| cfg!(feature = "zerocopy") || !row[0].ends_with("value"))
        .collect();
    // It has no forms with a time.
    assert_eq!(shown.pop().unwrap()[..2], ["one after the other", "`try_iter`"]);
    let of_handles = sends::<AnyMode>().into_iter().map(|it| it.names);
    let of_handles = of_handles.chain(receives::<AnyMode>().into_iter().map(|it| it.names));
    let of_rings = ring_sends().into_iter().map(|it| it.names);
    let of_rings = of_rings.chain(ring_receives().into_iter().map(|it| it.names));
    let of_rings: BTreeSet<_> = of_rings.collect();
    let mut tested = BTreeSet::new();
    for names in of_handles {
        let cells = names.map(|name| format!("`{name}`"));
        let row = shown.iter().find(|row| row[2..5] == cells[1..]);
        let row = row.unwrap_or_else(|| panic!("no line has {names:?}"));
        assert_eq!(row[1].split(", ").next(), Some(&cells[0][..]));
        assert_eq!(row[5] == "yes", of_rings.contains(&names), "{names:?} on the ring");
        tested.insert(names);
    }
    assert_eq!(shown.len(), tested.len(), "the table has ways that are not tested");
}

/// Names that stay for a version.
#[allow(deprecated)]
fn earlier_names_do_what_the_names_of_now_do<S: Shape>() {
    let ring = S::heap(4);
    let (mut producer, mut consumer) = (S::producer(&ring), S::consumer(&ring));
    assert_eq!(consumer.borrow_batch(2).unwrap_err(), RecvError::Empty, "it never waits");
    for number in 1..=4u64 {
        producer.send_blocking(&number.to_le_bytes(), NORMAL).unwrap();
    }
    assert_eq!(number(consumer.recv_blocking().unwrap()), 1);
    let held = consumer.borrow_batch(2).unwrap();
    assert_eq!(held.iter().map(|it| number(it.to_vec())).collect::<Vec<_>>(), [2, 3]);
    drop(held);
    assert_eq!(number(consumer.recv_blocking().unwrap()), 4);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| consumer.recv_blocking());
        patiently("it sleeps", || {
            (ring.is_asleep(Side::Consumer) || waiting.is_finished()).then_some(())
        });
        producer.send_blocking(b"later", NORMAL).unwrap();
        assert_eq!(waiting.join().unwrap().as_deref(), Ok(&b"later"[..]));
    });
    std::thread::scope(|scope| {
        let fills = std::iter::repeat_with(|| producer.try_send(b"full", NORMAL));
        assert_eq!(fills.take_while(Result::is_ok).count(), 4);
        let waiting = scope.spawn(|| producer.send_blocking(b"fifth", NORMAL));
        patiently("it sleeps", || {
            (ring.is_asleep(Side::Producer) || waiting.is_finished()).then_some(())
        });
        while consumer.recv_blocking().unwrap() != b"fifth" {}
        assert_eq!(waiting.join().unwrap(), Ok(()));
    });
    ring.close();
    assert_eq!(consumer.recv_blocking().unwrap_err(), RecvError::Closed);
}
on_each_shape!(earlier_names_do_what_the_names_of_now_do, needs(one_group));

#[test]
#[allow(deprecated)]
fn earlier_names_of_the_rings_own_calls_do_what_the_names_of_now_do() {
    let ring = UltraFastRing::new(1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..100u64 {
                ring.send_blocking(&number.to_le_bytes(), PriorityClass::High).unwrap();
            }
            ring.close();
            assert_eq!(ring.send_blocking(b"late", NORMAL), Err(SendError::Closed));
        });
        let mut buffer = [0; 40];
        for expected in 0..100 {
            let (size, class, _) = ring.recv_blocking(&mut buffer).unwrap();
            assert_eq!((number(&buffer[..size]), class), (expected, PriorityClass::High));
        }
        assert_eq!(ring.recv_blocking(&mut buffer), Err(RecvError::Closed));
    });
}
