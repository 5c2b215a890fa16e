//! A case: one queue, one pattern, and how much of it.

use anyhow::Context as _;
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::crowd::Fairness;
use crate::machine::Cores;
use crate::message::{SIZE, SMALL};
use crate::partner::{Hands, Partner};

/// What is done with a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// One side sends as fast as there is room.
    Stream,
    /// The same, so many at a time, from and into memory.
    Batches(usize),
    /// The same, written and checked where they lie in the queue.
    InPlace(usize),
    /// One message there, one back.
    RoundTrip,
    /// Many threads of either side.
    Crowd(usize, usize),
    /// One sends, and each of so many readers gets every message.
    FanOut(usize),
    /// One sends without waiting for so many readers, which miss what they are too slow for.
    LossyFanOut(usize),
    /// Sent and received by one thread.
    OneThread,
    /// Sent at fixed times; counted from when each was due.
    Paced,
    /// Urgent messages among orders that are work; counted from when each was due.
    Urgent,
    /// Nothing is sent for a while.
    Idle,
    /// A stream whose sides wait for each other as the queue lets them.
    WaitingStream,
    /// A round trip whose sides do.
    WaitingRoundTrip,
    /// A stream of large messages, gone through or handed over as the queue's type says.
    Large,
    /// One large message there, one back: one is in flight.
    LargeRoundTrip,
    /// A limit of the machine, measured without a queue.
    Limit,
}

impl Pattern {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Batches(_) => "batches",
            Self::InPlace(_) => "in place",
            Self::RoundTrip => "round trip",
            Self::Crowd(..) => "crowd",
            Self::FanOut(_) => "fan-out",
            Self::LossyFanOut(_) => "lossy fan-out",
            Self::OneThread => "one thread",
            Self::Paced => "paced",
            Self::Urgent => "urgent",
            Self::Idle => "idle",
            Self::Large => "large",
            Self::LargeRoundTrip => "large round trip",
            // Those that wait are recorded by this name, and compared with nothing but each other.
            Self::WaitingStream | Self::WaitingRoundTrip | Self::Limit => "limit",
        }
    }

    /// How many read every message, where that is asked.
    pub(crate) fn readers(self) -> Option<usize> {
        match self {
            Self::FanOut(readers) | Self::LossyFanOut(readers) => Some(readers),
            _ => None,
        }
    }

    /// How many threads there are, where they may have to share cores.
    pub(crate) fn threads(self) -> Option<usize> {
        match self {
            Self::Crowd(producers, consumers) => Some(producers + consumers),
            _ => Some(self.readers()? + 1),
        }
    }

    /// Whether there is a queue back as well.
    pub(crate) fn goes_back(self) -> bool {
        matches!(self, Self::RoundTrip | Self::WaitingRoundTrip | Self::LargeRoundTrip)
    }

    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Paced => "ticks, 99.9th percentile",
            Self::Urgent => "ticks until an urgent message is there, 99th percentile",
            Self::Idle => "percent of a core",
            Self::RoundTrip | Self::LargeRoundTrip => "ticks a round trip",
            Self::FanOut(_) => "ticks a message that all readers get",
            Self::LossyFanOut(_) => "ticks a message that readers may miss",
            _ => "ticks a message",
        }
    }
}

/// Who talks to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Across {
    Threads,
    Processes,
}

impl Across {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Threads => "threads",
            Self::Processes => "processes",
        }
    }
}

/// Whose queue is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The ring.
    Own,
    /// Somebody else's.
    Peer,
    /// Nobody's: what the machine allows, and what is compared with no peer.
    Nobody,
}

/// What one run of a case said.
#[derive(Default)]
pub(crate) struct Reading {
    /// In the pattern's unit.
    pub(crate) value: f64,
    /// Ticks from when each message was due until it was there.
    pub(crate) latency: Option<Histogram<u64>>,
    /// The part of the messages that readers missed, on average.
    pub(crate) missed: Option<f64>,
    /// How a crowd's threads fared.
    pub(crate) fairness: Option<Fairness>,
    /// Bytes of memory that the queues take by then, there and back, where they are files.
    pub(crate) memory: Option<u64>,
}

impl From<f64> for Reading {
    fn from(value: f64) -> Self {
        Self { value, ..Self::default() }
    }
}

/// What a case has at hand.
pub(crate) struct Context {
    pub(crate) cores: Cores,
    /// The second process, where one was started.
    pub(crate) partner: Option<Partner>,
}

impl Context {
    pub(crate) fn partner(&mut self) -> anyhow::Result<&mut Partner> {
        self.partner.as_mut().context("there is no second process")
    }
}

/// Takes a reading.
pub(crate) type Run = fn(&mut Context, &Case) -> anyhow::Result<Reading>;

/// What the second process does for one, on the queues at these addresses.
pub(crate) type Serve = fn(&Case, &[String; 2], &mut Hands) -> anyhow::Result<()>;

/// How a case is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Runner {
    pub(crate) across: Across,
    pub(crate) run: Run,
    /// The second process's part, if it has one.
    pub(crate) serve: Option<Serve>,
}

impl Runner {
    /// Within this process.
    pub(crate) fn within(run: Run) -> Self {
        Self { across: Across::Threads, run, serve: None }
    }
}

/// Something to measure.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// No other case is called so.
    pub(crate) name: String,
    pub(crate) peer: &'static str,
    pub(crate) whose: Whose,
    pub(crate) pattern: Pattern,
    /// Messages that fit; 0 where nobody can choose.
    pub(crate) capacity: usize,
    pub(crate) size: usize,
    /// Messages in one reading.
    pub(crate) messages: u64,
    /// Name of the case that is its limit, where the pattern does not tell.
    pub(crate) limit: Option<&'static str>,
    pub(crate) runner: Runner,
}

impl Case {
    /// What others have to have in common with it to be compared.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        // Where a capacity cannot be chosen, it is compared with all.
        let capacity = self.capacity == other.capacity || self.capacity == 0 || other.capacity == 0;
        self.pattern == other.pattern && self.size == other.size && capacity
    }

    pub(crate) fn describe(&self) -> Value {
        let (producers, consumers) = match self.pattern {
            Pattern::Crowd(producers, consumers) => (producers, consumers),
            pattern => (1, pattern.readers().unwrap_or(1)),
        };
        let batch = match self.pattern {
            Pattern::Batches(batch) | Pattern::InPlace(batch) => batch,
            _ => 1,
        };
        json!({
            "name": self.name,
            "peer": self.peer,
            "own": self.whose == Whose::Own,
            "limit": self.whose == Whose::Nobody,
            "pattern": self.pattern.name(),
            "unit": self.pattern.unit(),
            "across": self.runner.across.name(),
            "capacity": self.capacity,
            "bytes": self.size,
            "batch": batch,
            "producers": producers,
            "consumers": consumers,
            "messages": self.messages,
        })
    }
}

/// `name` of `capacity`, doing `pattern`: what a case is called.
pub(crate) fn name(peer: &str, capacity: usize, size: usize, pattern: Pattern) -> String {
    let (peer, suffix) = peer.split_once(", ").map_or((peer, ""), |(peer, suffix)| (peer, suffix));
    let mut name = peer.to_string();
    // Where one capacity will do for all, it is not said.
    let unsaid = matches!(
        pattern,
        Pattern::RoundTrip | Pattern::OneThread | Pattern::Paced | Pattern::Urgent | Pattern::Idle
    );
    if capacity != 0 && !unsaid {
        name += &format!(" {capacity}");
    }
    if unsaid {
        name += &format!(" {}", pattern.name());
    }
    if !suffix.is_empty() {
        name += &format!(", {suffix}");
    }
    match pattern {
        Pattern::Batches(batch) => name += &format!(", batches of {batch}"),
        Pattern::InPlace(batch) => name += &format!(", {batch} in place"),
        Pattern::Crowd(producers, consumers) => {
            name += &format!(", {producers} to {consumers} threads")
        }
        Pattern::FanOut(readers) | Pattern::LossyFanOut(readers) => {
            name += &format!(", {} to {readers}", pattern.name());
        }
        _ => {}
    }
    if size != SIZE {
        debug_assert_eq!(size, SMALL);
        name += &format!(", {size} bytes");
    }
    name
}
