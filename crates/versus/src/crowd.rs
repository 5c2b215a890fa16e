//! Crowds: several producers and consumers on one queue, each in a thread, and how fair it is to
//! them.
//!
//! Each thread has a core of its own while there are so many; else they are put on all cores in
//! turn, and offer their core to the others after some tries in vain.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::ensure;
use serde_json::{Value, json};
use ultrafastring::rdtsc;

use crate::case::Reading;
use crate::machine::{self, Cores};
use crate::message::{Bytes, number};
use crate::pattern::{Tries, end, send_share};
use crate::queue::{Queue, Receiver, Sender};

/// A wait is measured for so many messages together.
const STRETCH: u64 = 64;

/// How a crowd's threads fared beside each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fairness {
    /// Of what the fastest producer had sent when it was done, the part that the slowest one had.
    pub(crate) producers: f64,
    /// Messages of the consumer that got fewest, as a part of an equal share.
    pub(crate) consumers: f64,
    /// The longest time in which a producer sent 64 messages, in ticks.
    pub(crate) longest_send: f64,
    /// The longest time in which a consumer received 64.
    pub(crate) longest_receive: f64,
}

impl Fairness {
    /// The names of the four, as reports have them.
    pub(crate) const NAMES: [&str; 4] =
        ["producers", "consumers", "longest_send", "longest_receive"];

    pub(crate) fn numbers(self) -> [f64; 4] {
        [self.producers, self.consumers, self.longest_send, self.longest_receive]
    }

    pub(crate) fn as_json(self) -> Value {
        Self::NAMES.into_iter().zip(self.numbers()).map(|(name, it)| (name, json!(it))).collect()
    }

    pub(crate) fn of_json(value: &Value) -> Option<Self> {
        let [producers, consumers, longest_send, longest_receive] =
            Self::NAMES.map(|name| value[name].as_f64());
        Some(Self {
            producers: producers?,
            consumers: consumers?,
            longest_send: longest_send?,
            longest_receive: longest_receive?,
        })
    }
}

/// What a thread notes of itself. On lines of its own: others look at it once.
#[repr(align(128))]
#[derive(Default)]
struct Notes {
    /// Messages so far, in whole stretches until the thread ends.
    messages: AtomicU64,
    /// The longest stretch, in ticks.
    longest: AtomicU64,
}

/// A thread's way through its messages.
struct Course<'c> {
    notes: &'c Notes,
    messages: u64,
    since: u64,
    longest: u64,
}

impl<'c> Course<'c> {
    fn new(notes: &'c Notes) -> Self {
        Self { notes, messages: 0, since: rdtsc(), longest: 0 }
    }

    /// After a message.
    #[inline(always)]
    fn one_more(&mut self) {
        self.messages += 1;
        if self.messages.is_multiple_of(STRETCH) {
            let now = rdtsc();
            self.longest = self.longest.max(now.wrapping_sub(self.since));
            self.since = now;
            self.notes.messages.store(self.messages, Ordering::Relaxed);
        }
    }
}

impl Drop for Course<'_> {
    fn drop(&mut self) {
        self.notes.messages.store(self.messages, Ordering::Relaxed);
        self.notes.longest.store(self.longest, Ordering::Relaxed);
    }
}

/// A handle whose messages are noted.
struct Noted<'c, H> {
    handle: H,
    course: Course<'c>,
}

impl<H: Sender<N>, const N: usize> Sender<N> for Noted<'_, H> {
    #[inline(always)]
    fn send(&mut self, bytes: &Bytes<N>) -> anyhow::Result<bool> {
        let sent = self.handle.send(bytes)?;
        if sent {
            self.course.one_more();
        }
        Ok(sent)
    }
}

impl<H: Receiver<N>, const N: usize> Receiver<N> for Noted<'_, H> {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut Bytes<N>) -> anyhow::Result<bool> {
        let received = self.handle.receive(buffer)?;
        if received {
            self.course.one_more();
        }
        Ok(received)
    }
}

/// What all threads of a crowd share.
struct Crowd {
    /// Messages of all producers together.
    messages: u64,
    producers: Vec<Notes>,
    consumers: Vec<Notes>,
    /// What the slowest producer had sent when the first was done; none is yet.
    slowest: AtomicU64,
    /// Messages received, counted now and then.
    received: AtomicU64,
    /// Of the numbers of all messages that were received.
    sum: AtomicU64,
    shares_cores: bool,
}

const NOBODY: u64 = u64::MAX;

/// Runs a crowd. Each consumer checks that what it gets of one producer ascends; all together, that
/// nothing is missing.
pub(crate) fn crowd<Q: Queue<N> + Sync, const N: usize>(
    cores: Cores,
    queue: &Q,
    messages: u64,
    producers: usize,
    consumers: usize,
) -> anyhow::Result<Reading> {
    let notes = |count| (0..count).map(|_| Notes::default()).collect();
    let places = cores.crowd(producers + consumers);
    let crowd = Crowd {
        messages: messages / producers as u64 * producers as u64,
        producers: notes(producers),
        consumers: notes(consumers),
        slowest: AtomicU64::new(NOBODY),
        received: AtomicU64::new(0),
        sum: AtomicU64::new(0),
        shares_cores: places.shared,
    };
    let together = Barrier::new(producers + consumers + 1);
    let (crowd, together) = (&crowd, &together);
    let mut start = 0;
    std::thread::scope(|scope| {
        for (at, &core) in places.cores.iter().enumerate() {
            scope.spawn(move || {
                let work = match at.checked_sub(producers) {
                    None => crowd.send(queue, core, at, together),
                    Some(at) => crowd.receive(queue, core, at, together),
                };
                work.unwrap_or_else(|error| end(&error));
            });
        }
        together.wait();
        start = rdtsc();
    });
    let ticks = rdtsc() - start;
    let n = crowd.messages;
    let sum = crowd.sum.load(Ordering::Relaxed);
    ensure!(sum == n * (n - 1) / 2, "a message is missing or came twice");
    Ok(Reading { fairness: Some(crowd.fairness()), ..(ticks as f64 / n as f64).into() })
}

impl Crowd {
    fn send<Q: Queue<N>, const N: usize>(
        &self,
        queue: &Q,
        core: usize,
        at: usize,
        together: &Barrier,
    ) -> anyhow::Result<()> {
        let ready = machine::keep_to(core).and_then(|()| queue.sender());
        together.wait();
        let noted = Noted { handle: ready?, course: Course::new(&self.producers[at]) };
        let (by, tries) = (self.producers.len() as u64, Tries::new(self.shares_cores));
        // The handle lives until its notes are looked at.
        let _handle = send_share(noted, [at as u64, by], self.messages, tries)?;
        let all = self.producers.iter().map(|notes| notes.messages.load(Ordering::Relaxed));
        let others = all.enumerate().filter(|&(other, _)| other != at).map(|(_, count)| count);
        let slowest = others.min().unwrap_or(self.messages / by);
        // Only the first that is done is compared with those that are not.
        let _ =
            self.slowest.compare_exchange(NOBODY, slowest, Ordering::Relaxed, Ordering::Relaxed);
        Ok(())
    }

    fn receive<Q: Queue<N>, const N: usize>(
        &self,
        queue: &Q,
        core: usize,
        at: usize,
        together: &Barrier,
    ) -> anyhow::Result<()> {
        let ready = machine::keep_to(core).and_then(|()| queue.receiver());
        together.wait();
        let noted = Noted { handle: ready?, course: Course::new(&self.consumers[at]) };
        self.receive_share(noted)
    }

    #[inline(never)]
    fn receive_share<const N: usize>(&self, mut receiver: impl Receiver<N>) -> anyhow::Result<()> {
        let mut buffer: Bytes<N> = [0; N];
        let by = self.producers.len() as u64;
        let mut last = vec![None; by as usize];
        let (mut unreported, mut sum, mut tries) = (0, 0, Tries::new(self.shares_cores));
        loop {
            if receiver.receive(&mut buffer)? {
                let number = number(&buffer);
                let of = number.unwrap_or(0) % by;
                ensure!(number > last[of as usize], "a message came changed or late");
                last[of as usize] = number;
                sum += number.unwrap_or(0);
                unreported += 1;
                continue;
            }
            if unreported != 0 {
                self.received.fetch_add(unreported, Ordering::Relaxed);
                unreported = 0;
            }
            if self.received.load(Ordering::Relaxed) == self.messages {
                self.sum.fetch_add(sum, Ordering::Relaxed);
                return Ok(());
            }
            tries.again();
        }
    }

    /// When all threads have ended.
    fn fairness(&self) -> Fairness {
        let longest = |all: &[Notes]| {
            let each = all.iter().map(|notes| notes.longest.load(Ordering::Relaxed));
            each.max().unwrap_or(0) as f64
        };
        let received = self.consumers.iter().map(|notes| notes.messages.load(Ordering::Relaxed));
        let by = |count: usize| self.messages as f64 / count as f64;
        Fairness {
            producers: self.slowest.load(Ordering::Relaxed) as f64 / by(self.producers.len()),
            consumers: received.min().unwrap_or(0) as f64 / by(self.consumers.len()),
            longest_send: longest(&self.producers),
            longest_receive: longest(&self.consumers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_notes_its_messages_and_its_longest_stretch() {
        let notes = Notes::default();
        let mut course = Course::new(&notes);
        (0..STRETCH - 1).for_each(|_| course.one_more());
        assert_eq!(notes.messages.load(Ordering::Relaxed), 0);
        // As if the last had been long in coming.
        course.since = course.since.wrapping_sub(1 << 40);
        course.one_more();
        course.one_more();
        drop(course);
        assert_eq!(notes.messages.load(Ordering::Relaxed), STRETCH + 1);
        assert!(notes.longest.load(Ordering::Relaxed) >= 1 << 40);
    }

    #[test]
    fn fairness_goes_through_a_report() {
        let fairness =
            Fairness { producers: 0.5, consumers: 0.75, longest_send: 1.0, longest_receive: 2.0 };
        assert_eq!(Fairness::of_json(&fairness.as_json()), Some(fairness));
        assert_eq!(Fairness::of_json(&Value::Null), None);
    }
}
