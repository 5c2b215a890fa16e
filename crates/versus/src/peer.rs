//! A peer: one kind of queue, and the patterns it is measured in.

use crate::case::{Across, Case, Context, Pattern, Reading, name};
use crate::message::{SIZE, SMALL};
use crate::partner::{Hands, Order};
use crate::pattern;
use crate::queue::Queue;

/// The capacities over which cost is shown.
pub(crate) const CAPACITIES: [usize; 6] = [64, 256, 1024, 4096, 16_384, 65_536];

/// Producers and consumers.
pub(crate) const CROWDS: [(usize, usize); 6] = [(1, 1), (2, 1), (1, 2), (2, 2), (4, 4), (8, 8)];

/// One kind of queue, built up by naming what it can do.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) cases: Vec<Case>,
    pub(crate) serve: Option<fn(&Order, &mut Hands) -> anyhow::Result<()>>,
    across: Across,
    run: fn(&mut Context, &Case) -> anyhow::Result<Reading>,
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
        let run = pattern::threads::<Q, S>;
        let across = Across::Threads;
        Self { name, cases: vec![], serve: None, across, run, messages, chosen: true }
    }

    /// A queue between processes, streaming `messages` in one reading.
    pub(crate) fn processes<Q, S>(name: &'static str, messages: u64) -> Self
    where
        Q: Queue<SIZE>,
        S: Queue<SMALL>,
    {
        let run = pattern::processes::<Q, S>;
        let serve = Some(pattern::serve::<Q, S> as _);
        let across = Across::Processes;
        Self { name, cases: vec![], serve, across, run, messages, chosen: true }
    }

    /// Its cases are run by `run`, for a queue whose loops are written elsewhere.
    #[cfg(feature = "native")]
    pub(crate) fn run_by(
        mut self,
        run: fn(&mut Context, &Case) -> anyhow::Result<Reading>,
    ) -> Self {
        self.run = run;
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
            pattern,
            capacity,
            size,
            across: self.across,
            messages,
            quick: false,
            run: self.run,
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

    pub(crate) fn idle(self) -> Self {
        self.case(Pattern::Idle, 256, SIZE, 1)
    }

    /// Several threads on either side, of those numbers that `may` says can be.
    pub(crate) fn crowds(mut self, may: impl Fn(usize, usize) -> bool) -> Self {
        for (producers, consumers) in CROWDS {
            if may(producers, consumers) {
                self = self.case(Pattern::Crowd(producers, consumers), 256, SIZE, 400_000);
            }
        }
        self
    }
}

/// Whether a case is in the short run: what the targets are about, and one of each peer.
pub(crate) fn is_quick(case: &Case) -> bool {
    let leading = ["exclusive", "shared", "rtrb", "ArrayQueue", "raw", "kanal"];
    let leads = case.is_own() || leading.contains(&case.peer);
    match case.pattern {
        Pattern::Limit | Pattern::RoundTrip => true,
        Pattern::Stream => {
            case.size == SIZE && (case.capacity <= 256 && case.capacity != 64)
                || leads && case.capacity == 4096
        }
        Pattern::Batches(batch) | Pattern::InPlace(batch) => batch == 16,
        Pattern::Crowd(..) => leads,
        Pattern::OneThread => leads,
        Pattern::Paced => ["exclusive", "rtrb", "raw"].contains(&case.peer),
        Pattern::Idle => false,
    }
}
