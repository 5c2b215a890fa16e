//! A peer: one kind of queue, and the patterns it is measured in.

use crate::case::{Case, Pattern, Runner, Whose, name};
use crate::fan_out;
use crate::message::{SIZE, SMALL};
use crate::pattern;
use crate::queue::{FanOut, Queue};

/// The capacities over which cost is shown.
pub(crate) const CAPACITIES: [usize; 6] = [64, 256, 1024, 4096, 16_384, 65_536];

/// Producers and consumers.
pub(crate) const CROWDS: [(usize, usize); 10] =
    [(1, 1), (2, 1), (4, 1), (8, 1), (1, 2), (1, 8), (2, 2), (4, 4), (4, 12), (8, 8)];

/// Readers of one producer, in fan-out.
const READERS: [usize; 4] = [1, 2, 4, 8];

/// One kind of queue, built up by naming what it can do.
pub(crate) struct Peer {
    name: &'static str,
    pub(crate) cases: Vec<Case>,
    /// For messages of [`SIZE`].
    whole: Runner,
    /// For messages of [`SMALL`].
    small: Runner,
    /// Messages in one reading of a stream.
    messages: u64,
    /// Whether its user chooses how many messages fit.
    chosen: bool,
}

impl Peer {
    /// A queue between threads of one process, streaming `messages` in one reading.
    pub(crate) fn threads<Q, S>(name: &'static str, messages: u64) -> Self
    where
        Q: Queue<SIZE> + Sync,
        S: Queue<SMALL> + Sync,
    {
        Self::new(name, pattern::threads::<Q, SIZE>(), pattern::threads::<S, SMALL>(), messages)
    }

    /// A queue between processes, streaming `messages` in one reading.
    pub(crate) fn processes<Q, S>(name: &'static str, messages: u64) -> Self
    where
        Q: Queue<SIZE>,
        S: Queue<SMALL>,
    {
        Self::new(name, pattern::processes::<Q, SIZE>(), pattern::processes::<S, SMALL>(), messages)
    }

    /// One with several readers that each get every message, between threads of one process.
    pub(crate) fn fan_out_threads<Q: FanOut<SIZE> + Sync>(
        name: &'static str,
        messages: u64,
    ) -> Self {
        Self::new(name, fan_out::threads::<Q, SIZE>(), fan_out::threads::<Q, SIZE>(), messages)
    }

    /// The same between processes.
    pub(crate) fn fan_out_processes<Q: FanOut<SIZE>>(name: &'static str, messages: u64) -> Self {
        Self::new(name, fan_out::processes::<Q, SIZE>(), fan_out::processes::<Q, SIZE>(), messages)
    }

    /// One whose cases are run so.
    pub(crate) fn new(name: &'static str, whole: Runner, small: Runner, messages: u64) -> Self {
        // What a build without optimisation measures tells nothing. It is for tests.
        let messages = if cfg!(debug_assertions) { messages / 10 } else { messages };
        Self { name, cases: vec![], whole, small, messages, chosen: true }
    }

    /// Its cases so far are not of somebody else's queue, but of this one.
    pub(crate) fn of(mut self, whose: Whose) -> Self {
        self.cases.iter_mut().for_each(|case| case.whose = whose);
        self
    }

    /// Its capacity is not its user's to choose.
    pub(crate) fn unsized_capacity(mut self) -> Self {
        self.chosen = false;
        self
    }

    fn case(mut self, pattern: Pattern, capacity: usize, size: usize, messages: u64) -> Self {
        let capacity = if self.chosen { capacity } else { 0 };
        self.cases.push(Case {
            name: name(self.name, capacity, size, pattern),
            peer: self.name,
            whose: Whose::Peer,
            pattern,
            capacity,
            size,
            messages,
            limit: None,
            runner: if size == SMALL { self.small } else { self.whole },
        });
        self
    }

    pub(crate) fn stream(mut self, capacities: &[usize]) -> Self {
        let messages = self.messages;
        for &capacity in capacities {
            self = self.case(Pattern::Stream, capacity, SIZE, messages);
        }
        self
    }

    /// A stream of messages of eight bytes.
    pub(crate) fn small(self) -> Self {
        let messages = self.messages;
        self.case(Pattern::Stream, 256, SMALL, messages)
    }

    pub(crate) fn batches(mut self) -> Self {
        let messages = self.messages;
        for batch in [1, 4, 16, 64] {
            self = self.case(Pattern::Batches(batch), 256, SIZE, messages);
        }
        self
    }

    pub(crate) fn in_place(self) -> Self {
        let messages = self.messages;
        self.case(Pattern::InPlace(16), 256, SIZE, messages)
    }

    pub(crate) fn round_trip(self) -> Self {
        let messages = (self.messages / 20).clamp(2_000, 20_000);
        self.case(Pattern::RoundTrip, 256, SIZE, messages)
    }

    pub(crate) fn one_thread(self) -> Self {
        let messages = self.messages / 2;
        self.case(Pattern::OneThread, 256, SIZE, messages)
    }

    pub(crate) fn paced(self) -> Self {
        self.case(Pattern::Paced, 256, SIZE, 16_000)
    }

    /// Urgent messages among orders.
    pub(crate) fn urgent(self) -> Self {
        self.case(Pattern::Urgent, 256, SIZE, 1_000)
    }

    pub(crate) fn idle(self) -> Self {
        self.case(Pattern::Idle, 256, SIZE, 1)
    }

    /// To several readers, none of which misses a message.
    pub(crate) fn fan_out(self) -> Self {
        self.several_readers(Pattern::FanOut)
    }

    /// To several readers that miss what they are too slow for.
    pub(crate) fn lossy_fan_out(self) -> Self {
        self.several_readers(Pattern::LossyFanOut)
    }

    fn several_readers(mut self, pattern: fn(usize) -> Pattern) -> Self {
        let messages = self.messages;
        let capacities: &[usize] = if self.chosen { &[256, 4096] } else { &[0] };
        for &capacity in capacities {
            for readers in READERS {
                self = self.case(pattern(readers), capacity, SIZE, messages);
            }
        }
        self
    }

    /// Several threads on either side, of those numbers that `may` says can be.
    pub(crate) fn crowds(mut self, may: impl Fn(usize, usize) -> bool) -> Self {
        for (producers, consumers) in CROWDS {
            if may(producers, consumers) {
                self = self.crowd(producers, consumers);
            }
        }
        self
    }

    /// So many threads on either side.
    pub(crate) fn crowd(self, producers: usize, consumers: usize) -> Self {
        self.case(Pattern::Crowd(producers, consumers), 256, SIZE, 400_000)
    }
}

/// Whether a case is in the short run: what the targets are about, and one of each peer.
pub(crate) fn is_quick(case: &Case) -> bool {
    let leading = ["rtrb", "ArrayQueue", "raw", "kanal"];
    let leads = case.whose == Whose::Own || leading.contains(&case.peer);
    match case.pattern {
        Pattern::Limit
        | Pattern::RoundTrip
        | Pattern::WaitingRoundTrip
        | Pattern::WaitingStream => true,
        Pattern::Stream => {
            case.size == SIZE && (case.capacity <= 256 && case.capacity != 64)
                || leads && case.capacity == 4096
        }
        Pattern::Batches(batch) | Pattern::InPlace(batch) => batch == 16,
        Pattern::Crowd(producers, consumers) => {
            leads && consumers <= 2 * producers && producers <= 8
        }
        Pattern::FanOut(readers) | Pattern::LossyFanOut(readers) => {
            case.capacity <= 256 && (readers == 2 || readers == 8 && leads)
        }
        Pattern::OneThread => leads,
        Pattern::Paced => ["exclusive", "rtrb", "raw"].contains(&case.peer),
        Pattern::Urgent | Pattern::Idle | Pattern::Large | Pattern::LargeRoundTrip => false,
    }
}
