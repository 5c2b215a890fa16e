//! What happened between looks: rates, what came lately, and since when something is held.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ultrafastring::{LaneStats, LatencyHistogram, ParticipantInfo, PriorityClass};

use super::sample::{Ring, Sample, Samples, whole};

/// How many looks back the sparklines go.
const LOOKS: usize = 300;

/// All rings, as the last look saw them, with what is known from earlier looks.
#[derive(Default)]
pub(super) struct History {
    pub(super) rings: BTreeMap<String, Watched>,
    /// The time between the last two looks.
    pub(super) interval: Option<Duration>,
    pub(super) left_out: usize,
    last: Option<std::time::Instant>,
}

/// One ring.
pub(super) struct Watched {
    pub(super) now: Ring,
    /// What happened since the look before; `None` at the first look at a ring.
    pub(super) change: Option<Change>,
    /// Messages sent a second, messages received a second, and the depth, at each look.
    pub(super) sent: VecDeque<u64>,
    pub(super) received: VecDeque<u64>,
    pub(super) depth: VecDeque<u64>,
    /// What participants hold, and since when it has been seen.
    held: Held,
    /// When this look was, in nanoseconds since 1970.
    pub(super) clock: u64,
}

/// First positions and times, by lane, entry, and what it is.
type Held = BTreeMap<(usize, usize, Claim), (u64, u64)>;

/// What a participant shows: a message that it writes, or one that it has not released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    Intent,
    Hold,
}

/// What happened between two looks at a ring, by the second.
#[derive(Clone, Debug, Default)]
pub(super) struct Rates {
    pub(super) sent: f64,
    pub(super) received: f64,
    pub(super) sent_bytes: f64,
    pub(super) received_bytes: f64,
}

/// What happened between two looks at a ring.
pub(super) struct Change {
    pub(super) all: Rates,
    pub(super) classes: [Rates; PriorityClass::COUNT],
    /// Latencies of what was received between the looks, by class and all together; `None` if the
    /// ring was made without histograms.
    pub(super) latencies: Option<[LatencyHistogram; PriorityClass::COUNT]>,
    pub(super) latency: Option<LatencyHistogram>,
}

impl History {
    /// Takes a new look in. Rings that are gone are forgotten, if all were looked at.
    pub(super) fn add(&mut self, samples: Samples) {
        let interval = self.last.map(|last| samples.at.saturating_duration_since(last));
        let mut before = std::mem::take(&mut self.rings);
        for (name, now) in samples.rings {
            let earlier = before.remove(&name);
            self.rings.insert(name, Watched::next(earlier, now, interval, samples.clock));
        }
        if samples.left_out != 0 {
            // Those that there was no time for are as they were.
            self.rings.append(&mut before);
        }
        (self.interval, self.last, self.left_out) = (interval, Some(samples.at), samples.left_out);
    }
}

impl Watched {
    fn next(earlier: Option<Self>, now: Ring, interval: Option<Duration>, clock: u64) -> Self {
        let empty = Self {
            now: Ring::Closed("", String::new()),
            change: None,
            sent: VecDeque::new(),
            received: VecDeque::new(),
            depth: VecDeque::new(),
            held: BTreeMap::new(),
            clock,
        };
        let mut watched = match (earlier, &now) {
            (Some(it), Ring::Seen(now)) if it.seen().is_some_and(|old| old.made == now.made) => it,
            // A new ring, or another one of the same name.
            _ => empty,
        };
        if let Ring::Seen(now) = &now {
            let earlier = watched.seen().zip(interval);
            watched.change = earlier.map(|(earlier, time)| Change::between(earlier, now, time));
            watched.held = held(now, &watched.held, clock);
            let rates = watched.change.as_ref().map(|it| &it.all);
            let (sent, received) = rates.map_or((0.0, 0.0), |it| (it.sent, it.received));
            push(&mut watched.sent, sent as u64);
            push(&mut watched.received, received as u64);
            push(&mut watched.depth, now.depth as u64);
        }
        (watched.now, watched.clock) = (now, clock);
        watched
    }

    /// What was seen of it, if it could be looked into.
    pub(super) fn seen(&self) -> Option<&Sample> {
        match &self.now {
            Ring::Seen(sample) => Some(sample),
            Ring::Closed(..) => None,
        }
    }

    /// For how long, in nanoseconds, an entry has been seen to hold what it holds. 0 if only the
    /// last look saw it: it may have been for less than a microsecond.
    pub(super) fn held_for(&self, who: &ParticipantInfo, claim: Claim) -> u64 {
        let since =
            self.held.get(&(who.lane, who.index, claim)).map_or(self.clock, |&(_, since)| since);
        self.clock.saturating_sub(since)
    }
}

/// What participants hold now, and since when: since earlier, if they held the same before.
fn held(now: &Sample, before: &Held, clock: u64) -> Held {
    let each = now.participants.iter().flat_map(|it| {
        let claims = [(Claim::Intent, it.intent), (Claim::Hold, it.hold)];
        claims.into_iter().filter_map(|(claim, span)| Some(((it.lane, it.index, claim), span?.0)))
    });
    each.map(|(key, first)| {
        let since = before.get(&key).filter(|(position, _)| *position == first);
        (key, (first, since.map_or(clock, |&(_, since)| since)))
    })
    .collect()
}

fn push(looks: &mut VecDeque<u64>, value: u64) {
    if looks.len() == LOOKS {
        looks.pop_front();
    }
    looks.push_back(value);
}

impl Change {
    fn between(earlier: &Sample, now: &Sample, time: Duration) -> Self {
        // A clock that stood still gives no rates.
        let seconds = whole(time).max(1) as f64 / 1e9;
        let rate = |now: u64, earlier: u64| now.saturating_sub(earlier) as f64 / seconds;
        let (old, new) = (&earlier.stats, &now.stats);
        let of_class = |new: &LaneStats, old: &LaneStats| Rates {
            sent: rate(new.sent, old.sent),
            received: rate(new.received, old.received),
            sent_bytes: rate(new.sent_bytes, old.sent_bytes),
            received_bytes: rate(new.received_bytes, old.received_bytes),
        };
        let classes: [_; PriorityClass::COUNT] =
            std::array::from_fn(|class| of_class(&new.classes[class], &old.classes[class]));
        let sum = |part: fn(&Rates) -> f64| classes.iter().map(part).sum();
        let all = Rates {
            // From positions, which are exact; a class's counts come in portions.
            sent: rate(new.sent, old.sent),
            received: rate(new.received, old.received),
            sent_bytes: sum(|it| it.sent_bytes),
            received_bytes: sum(|it| it.received_bytes),
        };
        let latencies = now.latencies.as_ref().zip(earlier.latencies.as_ref()).map(|(new, old)| {
            std::array::from_fn(|class| LatencyHistogram::since(&new[class], &old[class]))
        });
        let latency = latencies.as_ref().map(all_of);
        Self { all, classes, latencies, latency }
    }
}

/// The latencies of all classes together.
pub(super) fn all_of(classes: &[LatencyHistogram; PriorityClass::COUNT]) -> LatencyHistogram {
    let [first, others @ ..] = classes;
    let mut all = first.clone();
    others.iter().for_each(|it| all.add(it));
    all
}
