//! A case: one queue, one pattern, and how much of it.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::machine::Cores;
use crate::message::{SIZE, SMALL};
use crate::partner::Partner;

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
    /// Many threads of either side on the two cores.
    Crowd(usize, usize),
    /// Sent and received by one thread.
    OneThread,
    /// Sent at fixed times; counted from when each was due.
    Paced,
    /// Nothing is sent for a while.
    Idle,
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
            Self::OneThread => "one thread",
            Self::Paced => "paced",
            Self::Idle => "idle",
            Self::Limit => "limit",
        }
    }

    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Paced => "ticks, 99.9th percentile",
            Self::Idle => "percent of a core",
            Self::RoundTrip => "ticks a round trip",
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

/// What one run of a case said.
pub(crate) struct Reading {
    /// In the pattern's unit.
    pub(crate) value: f64,
    /// Ticks from when each message was due until it was there.
    pub(crate) latency: Option<Histogram<u64>>,
}

impl From<f64> for Reading {
    fn from(value: f64) -> Self {
        Self { value, latency: None }
    }
}

/// What a case has at hand.
pub(crate) struct Context {
    pub(crate) cores: Cores,
    pub(crate) partner: Partner,
}

/// Something to measure.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) peer: &'static str,
    pub(crate) pattern: Pattern,
    /// Messages that fit; 0 where nobody can choose.
    pub(crate) capacity: usize,
    pub(crate) size: usize,
    pub(crate) across: Across,
    /// Messages in one reading.
    pub(crate) messages: u64,
    /// Whether it is in the short run.
    pub(crate) quick: bool,
    pub(crate) run: fn(&mut Context, &Case) -> anyhow::Result<Reading>,
}

impl Case {
    /// What others have to have in common with it to be compared.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        // Where a capacity cannot be chosen, it is compared with all.
        let capacity = self.capacity == other.capacity || self.capacity == 0 || other.capacity == 0;
        self.pattern == other.pattern && self.size == other.size && capacity
    }

    /// Whether somebody else's queue is measured.
    pub(crate) fn is_of_a_peer(&self) -> bool {
        !self.is_own() && self.peer != "raw" && self.pattern != Pattern::Limit
    }

    /// Whether the ring is measured.
    pub(crate) fn is_own(&self) -> bool {
        crate::own::NAMES.contains(&self.peer)
    }

    pub(crate) fn describe(&self) -> Value {
        let (producers, consumers) = match self.pattern {
            Pattern::Crowd(producers, consumers) => (producers, consumers),
            _ => (1, 1),
        };
        let batch = match self.pattern {
            Pattern::Batches(batch) | Pattern::InPlace(batch) => batch,
            _ => 1,
        };
        json!({
            "name": self.name,
            "peer": self.peer,
            "own": self.is_own(),
            "limit": !self.is_own() && !self.is_of_a_peer(),
            "pattern": self.pattern.name(),
            "unit": self.pattern.unit(),
            "across": self.across.name(),
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
    let unsaid =
        matches!(pattern, Pattern::RoundTrip | Pattern::OneThread | Pattern::Paced | Pattern::Idle);
    if capacity != 0 && !unsaid {
        name += &format!(" {capacity}");
    }
    match pattern {
        Pattern::RoundTrip | Pattern::OneThread | Pattern::Paced | Pattern::Idle => {
            name += &format!(" {}", pattern.name());
        }
        _ => {}
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
        _ => {}
    }
    if size != SIZE {
        debug_assert_eq!(size, SMALL);
        name += &format!(", {size} bytes");
    }
    name
}
