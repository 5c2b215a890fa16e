//! One look at the rings of a directory: what is copied out of each.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use ultrafastring::{
    Evidence, GroupInfo, LaneInfo, LatencyHistogram, Observer, ParticipantInfo, PriorityClass,
    RingError, RingStats, Settings,
};
use ultrafastring_metrics::{Look, Rings};

use crate::{explain, look};

/// What is seen of all rings at one moment.
pub(super) struct Samples {
    pub(super) at: Instant,
    /// The same moment, in nanoseconds since 1970.
    pub(super) clock: u64,
    pub(super) rings: BTreeMap<String, Ring>,
    /// How many rings were over the limit of number or time.
    pub(super) left_out: usize,
}

/// What a ring of the directory turned out to be.
pub(super) enum Ring {
    Seen(Box<Sample>),
    /// The word for it, and the reason.
    Closed(&'static str, String),
}

/// What is seen of one ring.
pub(super) struct Sample {
    /// When and by which process it was made: another ring of the same name has others.
    pub(super) made: (u64, u32),
    pub(super) state: &'static str,
    pub(super) settings: Settings,
    pub(super) stats: RingStats,
    pub(super) depth: usize,
    /// One of a plain ring.
    pub(super) lanes: Vec<LaneInfo>,
    /// By class; `None` if the ring was made without histograms.
    pub(super) latencies: Option<[LatencyHistogram; PriorityClass::COUNT]>,
    pub(super) groups: Vec<GroupInfo>,
    /// The open group that has released least, by its place among `groups`.
    pub(super) slowest: Option<usize>,
    pub(super) participants: Vec<ParticipantInfo>,
}

impl Samples {
    pub(super) fn of(rings: &Rings) -> Result<Self, RingError> {
        let mut found = BTreeMap::new();
        let left_out = rings.each(|name, look| {
            let because = |error: RingError| explain::text(&error.into());
            let ring = match look {
                Look::Ring(ring) => Ring::of(ring),
                Look::Untrusted(error) => Ring::Closed("untrusted", because(error)),
                Look::Unusable(error) => Ring::Closed("unusable", because(error)),
            };
            found.insert(name.to_string(), ring);
        })?;
        let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok(Self { at: Instant::now(), clock: whole(clock), rings: found, left_out })
    }
}

impl Ring {
    fn of(ring: &Observer) -> Self {
        let groups: Vec<_> = ring.groups().collect();
        let slowest = ring.slowest_group().map(|it| it.row);
        let sample = Sample {
            made: (ring.created(), ring.creator_pid()),
            state: look::state(ring),
            settings: *ring.settings(),
            stats: ring.stats(),
            depth: ring.len(),
            lanes: ring.lanes().collect(),
            latencies: ring.latencies(),
            slowest: groups.iter().position(|it| Some(it.row) == slowest),
            groups,
            participants: ring.participants().collect(),
        };
        // Looked at last: what was read of a file that was cut short meanwhile means nothing.
        if ring.is_damaged() {
            let reason = "its file was cut short or overwritten while it was looked at";
            return Self::Closed("unusable", reason.to_string());
        }
        Self::Seen(Box::new(sample))
    }
}

impl Sample {
    /// A lane whose producers wait for consumers, if there is one.
    pub(super) fn full_lane(&self) -> Option<&LaneInfo> {
        self.lanes.iter().find(|it| it.stats.credits_spent >= it.stats.credit_limit)
    }

    /// The part of the credit that is spent, of the fullest lane.
    pub(super) fn fullness(&self) -> f64 {
        let of_lane =
            |it: &LaneInfo| it.stats.credits_spent as f64 / it.stats.credit_limit.max(1) as f64;
        self.lanes.iter().map(of_lane).fold(0.0, f64::max)
    }

    /// The slots of all lanes.
    pub(super) fn capacity(&self) -> usize {
        self.lanes.iter().fold(0, |sum, it| sum.saturating_add(it.capacity))
    }
}

/// The word for what is known of a participant.
pub(super) fn state_of(participant: &ParticipantInfo) -> &'static str {
    match (participant.alive, participant.evidence) {
        (true, Evidence::Unknown) => "unknown",
        (true, _) => "alive",
        (false, _) => "dead",
    }
}

/// A time in whole nanoseconds.
pub(super) fn whole(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
