//! Fan-out: one sends, and each of several readers gets every message.
//!
//! ```text
//!  readers, a thread each        this thread              the partner
//!                                create ─── order ──────► open, take the sender
//!  open, take a receiver                 ◄────────────── ready
//!  └────────── together ─────────┘
//!  read                          go ────────────────────► send
//!    …                                   ◄────────────── ready: all is sent
//!  end                           go ────────────────────► drop what it has
//!                                        ◄────────────── done
//! ```
//!
//! Each reader has a core of its own if there are so many, and so has the producer; else they are
//! put on the cores in turn, and offer their core to the others after some tries in vain
//! ([`machine::Cores::places`](crate::machine::Cores::places)). A reader opens the queue by itself,
//! as a process would. A queue between threads is shared instead, and this thread is its producer.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context as _, anyhow};
use ultrafastring::rdtsc;

use crate::case::{Across, Case, Context, Pattern, Reading, Runner};
use crate::machine::{self, Cores, Places};
use crate::message::{check, number};
use crate::partner::Hands;
use crate::pattern::{Tries, end, in_batches, queue_name, send_share, timed};
use crate::queue::{FanOut, Receiver};

/// How the partner is told, in place of a second address, that it shares its core.
const SHARES_CORE: &str = "shares its core";

/// Runs cases of messages of `N` bytes on a queue between threads of this process.
pub(crate) fn threads<Q: FanOut<N> + Sync, const N: usize>() -> Runner {
    Runner::within(between_threads::<Q, N>)
}

/// Runs cases of messages of `N` bytes on a queue from the partner to threads of this process.
pub(crate) fn processes<Q: FanOut<N>, const N: usize>() -> Runner {
    let serve = Some(serve::<Q, N> as _);
    Runner { across: Across::Processes, run: between_processes::<Q, N>, serve }
}

fn between_threads<Q: FanOut<N> + Sync, const N: usize>(
    context: &mut Context,
    case: &Case,
) -> anyhow::Result<Reading> {
    let course = Course::of(case, context.cores)?;
    let queue = Q::create(&queue_name("a"), case.capacity, course.places.readers.len())?;
    let read = |at| course.read(queue.receiver(at)?);
    let tries = Tries::new(course.places.shared);
    course.run(read, || {
        machine::keep_to(context.cores.producer)?;
        let sender = queue.sender()?;
        course.together.wait();
        send_share(sender, [0, 1], case.messages, tries)
    })
}

fn between_processes<Q: FanOut<N>, const N: usize>(
    context: &mut Context,
    case: &Case,
) -> anyhow::Result<Reading> {
    let course = Course::of(case, context.cores)?;
    let (name, readers) = (queue_name("a"), course.places.readers.len());
    let _queue = Q::create(&name, case.capacity, readers)?;
    let shares_core = if course.places.shared { SHARES_CORE } else { "" };
    let partner = context.partner()?;
    partner.tell(&case.name, [name.clone(), shares_core.to_string()])?;
    let read = |at| {
        let queue = Q::open(&name, case.capacity, readers)?;
        course.read(queue.receiver(at)?)
    };
    let reading = course.run(read, || {
        partner.is_ready()?;
        course.together.wait();
        partner.go()?;
        partner.is_ready()
    })?;
    partner.go()?;
    partner.is_done()?;
    Ok(reading)
}

/// The partner's part of [`between_processes`].
fn serve<Q: FanOut<N>, const N: usize>(
    case: &Case,
    [name, shares_core]: &[String; 2],
    hands: &mut Hands,
) -> anyhow::Result<()> {
    let queue = Q::open(name, case.capacity, readers(case)?)?;
    let sender = queue.sender()?;
    hands.ready()?;
    hands.wait_for_go()?;
    let tries = Tries::new(shares_core == SHARES_CORE);
    let _sender = send_share(sender, [0, 1], case.messages, tries)?;
    hands.ready()?;
    // When all is read the handles may go.
    hands.wait_for_go()
}

fn readers(case: &Case) -> anyhow::Result<usize> {
    case.pattern.readers().context("not a pattern of several readers")
}

/// One reading of a case, as all its threads see it.
struct Course {
    messages: u64,
    lossy: bool,
    places: Places,
    /// All readers, and who lets the producer begin.
    together: Barrier,
    /// Whether everything has been sent.
    sent: AtomicBool,
    /// Messages that readers missed, all together.
    missed: AtomicU64,
}

impl Course {
    fn of(case: &Case, cores: Cores) -> anyhow::Result<Self> {
        let readers = readers(case)?;
        Ok(Self {
            messages: case.messages,
            lossy: matches!(case.pattern, Pattern::LossyFanOut(_)),
            places: cores.places(readers),
            together: Barrier::new(readers + 1),
            sent: AtomicBool::new(false),
            missed: AtomicU64::new(0),
        })
    }

    /// Runs `read` in a thread for each reader, and `send`, which returns when all is sent, in this
    /// one. What `send` returns, its handles, lives until all is read. The reading is that of the
    /// slowest reader.
    ///
    /// If one fails this process ends with its error, since the others may wait for ever.
    fn run<H>(
        &self,
        read: impl Fn(usize) -> anyhow::Result<f64> + Sync,
        send: impl FnOnce() -> anyhow::Result<H>,
    ) -> anyhow::Result<Reading> {
        let (read, mut slowest) = (&read, 0.0f64);
        std::thread::scope(|scope| {
            let reader = |(at, &core)| {
                scope.spawn(move || {
                    let ticks = machine::keep_to(core).and_then(|()| read(at));
                    machine::tell_waited();
                    ticks.unwrap_or_else(|error| end(&error))
                })
            };
            let readers: Vec<_> = self.places.readers.iter().enumerate().map(reader).collect();
            let _handles = send().unwrap_or_else(|error| end(&error));
            // Release: who sees it sees all that was sent before.
            self.sent.store(true, Ordering::Release);
            for reader in readers {
                slowest = slowest.max(reader.join().map_err(|_| anyhow!("a reader panicked"))?);
            }
            anyhow::Ok(())
        })?;
        let missed = self.missed.load(Ordering::Relaxed) as f64;
        let all = counted(self.messages) * self.places.readers.len() as u64;
        Ok(Reading { missed: self.lossy.then_some(missed / all as f64), ..slowest.into() })
    }

    /// A reader's part: waits until all are here, reads, and says how many ticks a message took.
    fn read<R: Receiver<N>, const N: usize>(&self, receiver: R) -> anyhow::Result<f64> {
        let tries = Tries::new(self.places.shared);
        self.together.wait();
        if self.lossy {
            let (ticks, missed) = read_some(receiver, self.messages, tries, &self.sent)?;
            self.missed.fetch_add(missed, Ordering::Relaxed);
            return Ok(ticks);
        }
        read_all(receiver, self.messages, tries)
    }
}

/// How many of `n` messages are counted: not the first eighth, as in [`timed`].
fn counted(n: u64) -> u64 {
    n - n / 8
}

/// Reads the messages 0 to `n` - 1, and checks that each comes in its turn.
#[inline(never)]
fn read_all<R: Receiver<N>, const N: usize>(
    mut receiver: R,
    n: u64,
    mut tries: Tries,
) -> anyhow::Result<f64> {
    if R::DRAINS {
        let reading = in_batches(n, |next| {
            let count = receiver.drain(next, usize::MAX)?;
            if count == 0 {
                tries.again();
            }
            Ok(count as u64)
        })?;
        return Ok(reading.value);
    }
    let mut buffer = [0; N];
    timed(n, |i| {
        while !receiver.receive(&mut buffer)? {
            tries.again();
        }
        check(&buffer, i)
    })
}

/// Reads what there is of the messages 0 to `n` - 1 until all has been `sent`, and checks that it
/// ascends. Says the ticks from one position to the next, and how many messages never came; those
/// of the first eighth are not counted.
#[inline(never)]
fn read_some<R: Receiver<N>, const N: usize>(
    mut receiver: R,
    n: u64,
    mut tries: Tries,
    sent: &AtomicBool,
) -> anyhow::Result<(f64, u64)> {
    let first = n - counted(n);
    let (mut next, mut received) = (0, 0);
    // When, and where it was then; of one that misses all that counts, when it began.
    let (mut start, mut begun) = (rdtsc(), 0);
    let (mut buffer, mut is_last_look) = ([0; N], false);
    while next < n {
        if receiver.receive(&mut buffer)? {
            let number = number(&buffer).filter(|number| (next..n).contains(number));
            let number = number.context("a message came changed or late")?;
            next = number + 1;
            if number >= first {
                if received == 0 && next < n {
                    (start, begun) = (rdtsc(), next);
                }
                received += 1;
            }
        } else if is_last_look {
            break;
        } else {
            tries.again();
            // Acquire: what is not there on the next look will not come.
            is_last_look = sent.load(Ordering::Acquire);
        }
    }
    Ok(((rdtsc() - start) as f64 / (n - begun) as f64, counted(n) - received))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Bytes, SIZE, message};

    /// What a reader gets, a look each.
    struct Looks(std::vec::IntoIter<Option<Bytes>>);

    impl Looks {
        fn of(numbers: impl IntoIterator<Item = Option<u64>>) -> Self {
            let looks: Vec<_> = numbers.into_iter().map(|it| it.map(message)).collect();
            Self(looks.into_iter())
        }
    }

    impl Receiver<SIZE> for Looks {
        fn receive(&mut self, buffer: &mut Bytes) -> anyhow::Result<bool> {
            let look = self.0.next().flatten();
            Ok(look.map(|bytes| *buffer = bytes).is_some())
        }
    }

    #[test]
    fn a_reader_that_may_miss_nothing_says_so_if_it_does() {
        let read = |looks| read_all(looks, 16, Tries::new(false)).is_ok();
        let all = (0..16).map(Some);
        assert!(read(Looks::of(all.clone())));
        assert!(read(Looks::of(all.clone().flat_map(|it| [None, it]))));
        assert!(!read(Looks::of(all.clone().filter(|it| *it != Some(9)))));
        assert!(!read(Looks::of(all.flat_map(|it| [it, it]))));
    }

    #[test]
    fn messages_that_a_reader_missed_are_counted_but_for_the_first_eighth() {
        let sent = AtomicBool::new(true);
        let missed = |numbers: &[u64]| {
            let looks = Looks::of(numbers.iter().copied().map(Some));
            read_some(looks, 16, Tries::new(false), &sent).map(|(_, missed)| missed)
        };
        let all: Vec<_> = (0..16).collect();
        assert_eq!(missed(&all).unwrap(), 0);
        assert_eq!(missed(&all[2..]).unwrap(), 0);
        assert_eq!(missed(&[0, 1, 5, 6, 15]).unwrap(), 11);
        assert_eq!(missed(&all[..12]).unwrap(), 4);
        assert_eq!(missed(&[]).unwrap(), 14);
        assert!(missed(&[3, 3]).is_err());
        assert!(missed(&[4, 3]).is_err());
        assert!(missed(&[16]).is_err());
    }
}
