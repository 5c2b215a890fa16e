//! What is seen of rings at one moment, and how it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ultrafastring::{
    Evidence, GroupInfo, GroupState, LaneStats, LatencyHistogram, PriorityClass, RingError,
    RingStats, RingView, Side,
};

use crate::format::{Format, Kind, Text, Value};
use crate::lanes::{Room, rooms};
use crate::rings::{Look, Rings};

/// What is seen of some rings at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// By name. `Err` says why a ring cannot be looked into.
    rings: BTreeMap<String, Result<Seen, String>>,
    untrusted: usize,
    left_out: usize,
    took: Duration,
}

/// The sides, in the order of counts by side.
const SIDES: [Side; 2] = [Side::Producer, Side::Consumer];

/// Bounds of the buckets of latencies, in seconds: half a power of ten apart. With that of all
/// messages there are 16 buckets. The texts are as Prometheus writes these numbers itself.
const BOUNDS: [(&str, f64); 15] = [
    ("1e-07", 1e-7),
    ("3e-07", 3e-7),
    ("1e-06", 1e-6),
    ("3e-06", 3e-6),
    ("1e-05", 1e-5),
    ("3e-05", 3e-5),
    ("0.0001", 1e-4),
    ("0.0003", 3e-4),
    ("0.001", 1e-3),
    ("0.003", 3e-3),
    ("0.01", 1e-2),
    ("0.03", 3e-2),
    ("0.1", 0.1),
    ("1.0", 1.0),
    ("10.0", 10.0),
];

/// Which number of something is a sample.
type Number<T> = fn(&T) -> u64;

/// What is seen of one ring.
#[derive(Debug)]
struct Seen {
    stats: RingStats,
    /// What there is in each lane, and its label; of a ring of one lane, in that.
    lanes: Vec<(Option<String>, Room)>,
    /// By class; `None` if the ring was made without histograms.
    latencies: Option<[LatencyHistogram; PriorityClass::COUNT]>,
    /// Handles by side and state.
    participants: BTreeMap<(&'static str, &'static str), u64>,
    groups: Vec<GroupInfo>,
    /// By group, of all classes together; `None` if the ring was made without histograms.
    latencies_of_groups: Vec<Option<LatencyHistogram>>,
}

impl Seen {
    fn of(ring: &RingView) -> Result<Self, String> {
        let mut participants = BTreeMap::new();
        for side in SIDES {
            for state in ["alive", "dead", "unknown"] {
                participants.insert((side.name(), state), 0);
            }
        }
        for it in ring.participants() {
            let state = match (it.alive, it.evidence) {
                (true, Evidence::Unknown) => "unknown",
                (true, _) => "alive",
                (false, _) => "dead",
            };
            *participants.entry((it.side.name(), state)).or_default() += 1;
        }
        // A peer may have written one name twice, and a label must not come twice.
        let mut names = BTreeSet::new();
        let groups: Vec<_> =
            ring.groups().filter(|it| names.insert(it.name.as_str().to_string())).collect();
        let seen = Self {
            stats: ring.stats(),
            lanes: rooms(ring),
            latencies: ring.latencies(),
            participants,
            latencies_of_groups: groups.iter().map(|it| latencies_of(ring, it)).collect(),
            groups,
        };
        // Looked at last: what was read of a file that was cut short meanwhile means nothing.
        if ring.is_damaged() {
            return Err("its file was cut short or overwritten".to_string());
        }
        Ok(seen)
    }
}

/// The latencies of a group, of all classes together.
fn latencies_of(ring: &RingView, group: &GroupInfo) -> Option<LatencyHistogram> {
    let [mut all, others @ ..] = ring.latencies_of_group(group.row)?;
    others.iter().for_each(|class| all.add(class));
    Some(all)
}

/// The name of a gauge, its help, and what it says of one `T`.
type Gauge<T> = (&'static str, &'static str, fn(&T) -> Value);

impl Snapshot {
    /// What is seen of rings that your program has open, each with the name that its label gets: of
    /// two with the same name, the first. For rings that others have made, see [`of`](Self::of).
    ///
    /// ```
    /// use ultrafastring::{PriorityClass, UltraFastRing};
    /// use ultrafastring_metrics::{Format, Snapshot};
    ///
    /// let quotes = UltraFastRing::new(64); // on the heap
    /// quotes.try_send("AAPL 101", PriorityClass::Normal)?;
    /// let text = Snapshot::of_open([("quotes", &*quotes)]).text(Format::Prometheus);
    /// assert!(text.contains("\nufr_depth_slots{ring=\"quotes\"} 1\n"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of_open<'a>(rings: impl IntoIterator<Item = (&'a str, &'a RingView)>) -> Self {
        let began = Instant::now();
        let mut snapshot = Self::default();
        for (name, ring) in rings {
            snapshot.rings.entry(name.to_string()).or_insert_with(|| Seen::of(ring));
        }
        snapshot.took = began.elapsed();
        snapshot
    }

    /// What is seen of the rings of a directory.
    ///
    /// # Errors
    ///
    /// As [`Rings::each`].
    pub fn of(rings: &Rings) -> Result<Self, RingError> {
        let began = Instant::now();
        let mut snapshot = Self::default();
        snapshot.left_out = rings.each(|name, look| {
            let seen = match look {
                Look::Ring(ring) => Seen::of(ring),
                Look::Unusable(error) => Err(error.to_string()),
                Look::Untrusted(_) => {
                    snapshot.untrusted += 1;
                    return;
                }
            };
            snapshot.rings.insert(name.to_string(), seen);
        })?;
        snapshot.took = began.elapsed();
        Ok(snapshot)
    }

    /// The rings that cannot be looked into, and why: those whose `ufr_ring_up` is 0.
    pub fn down(&self) -> impl Iterator<Item = (&str, &str)> {
        self.rings.iter().filter_map(|(name, seen)| Some((&**name, &**seen.as_ref().err()?)))
    }

    /// All metrics as text.
    pub fn text(&self, format: Format) -> String {
        let mut out = Text::new(format);
        self.messages(&mut out);
        self.latencies(&mut out);
        self.room(&mut out);
        self.waits(&mut out);
        self.deaths(&mut out);
        self.participants(&mut out);
        self.groups(&mut out);
        self.itself(&mut out);
        out.end()
    }

    fn seen(&self) -> impl Iterator<Item = (&str, &Seen)> {
        self.rings.iter().filter_map(|(name, seen)| Some((&**name, seen.as_ref().ok()?)))
    }

    /// A counter by class.
    fn by_class(
        &self,
        out: &mut Text,
        name: &'static str,
        help: &'static str,
        count: Number<LaneStats>,
    ) {
        out.family(name, Kind::Counter, None, help);
        for (ring, seen) in self.seen() {
            for (class, lane) in PriorityClass::ALL.iter().zip(&seen.stats.classes) {
                let labels = [("ring", ring), ("class", class.name())];
                out.sample(&labels, Value::Count(count(lane)));
            }
        }
    }

    /// One number of each lane.
    fn by_lane(
        &self,
        out: &mut Text,
        (name, kind, unit): (&'static str, Kind, Option<&'static str>),
        help: &'static str,
        value: fn(&Room) -> Value,
    ) {
        out.family(name, kind, unit, help);
        for (ring, seen) in self.seen() {
            for (lane, room) in &seen.lanes {
                match lane {
                    Some(lane) => {
                        out.sample(&[("ring", ring), ("lane", lane.as_str())], value(room))
                    }
                    None => out.sample(&[("ring", ring)], value(room)),
                }
            }
        }
    }

    /// One number of each ring.
    fn by_ring(
        &self,
        out: &mut Text,
        name: &'static str,
        kind: Kind,
        help: &'static str,
        value: Number<Seen>,
    ) {
        let unit = (kind == Kind::Gauge).then(|| unit_of(name)).flatten();
        out.family(name, kind, unit, help);
        for (ring, seen) in self.seen() {
            out.sample(&[("ring", ring)], Value::Count(value(seen)));
        }
    }

    fn messages(&self, out: &mut Text) {
        let sent = "Messages sent. Each handle adds its own once in up to 64 messages.";
        self.by_class(out, "ufr_messages_sent", sent, |it| it.sent);
        let received = "Messages received, by each group that received them. A redelivered message \
                        counts again.";
        self.by_class(out, "ufr_messages_received", received, |it| it.received);
        self.by_class(out, "ufr_bytes_sent", "Bytes of messages sent.", |it| it.sent_bytes);
        let bytes = "Bytes of messages received, by each group that received them.";
        self.by_class(out, "ufr_bytes_received", bytes, |it| it.received_bytes);
    }

    /// Of classes that have had a message, in rings that were made with histograms.
    fn latencies(&self, out: &mut Text) {
        let name = "ufr_message_latency_seconds";
        let help = "Time from send to receive of the messages that carried a timestamp.";
        out.family(name, Kind::Histogram, Some("seconds"), help);
        for (ring, seen) in self.seen() {
            for (class, latency) in PriorityClass::ALL.iter().zip(seen.latencies.iter().flatten()) {
                if latency.is_empty() {
                    continue;
                }
                latency_of(out, &[("ring", ring), ("class", class.name())], latency);
            }
        }
    }

    /// Who waited, and for how long.
    fn waits(&self, out: &mut Text) {
        let (stalls, seconds) = ("ufr_credit_stalls", "ufr_credit_stall_seconds");
        let help = "How often a producer found no credit left.";
        self.by_lane(out, (stalls, Kind::Counter, None), help, |it| Value::Count(it.stalls));
        let help = "Time for which producers had no credit.";
        let family = (seconds, Kind::Counter, Some("seconds"));
        self.by_lane(out, family, help, |it| Value::Number(it.stalled));
        type BySide = fn(&RingStats) -> [u64; 2];
        let by_side: [(_, _, BySide); 2] = [
            ("ufr_sleeps", "How often handles slept in the kernel.", |it| it.sleeps),
            ("ufr_wakeups", "How many of these sleeps a peer ended.", |it| it.wakes),
        ];
        for (name, help, counts) in by_side {
            out.family(name, Kind::Counter, None, help);
            for (ring, seen) in self.seen() {
                for (side, count) in SIDES.iter().zip(counts(&seen.stats)) {
                    let labels = [("ring", ring), ("side", side.name())];
                    out.sample(&labels, Value::Count(count));
                }
            }
        }
    }

    fn room(&self, out: &mut Text) {
        let gauges: [Gauge<Room>; 5] = [
            ("ufr_depth_slots", "Messages sent and not received yet.", |it| Value::Count(it.depth)),
            ("ufr_capacity_slots", "Slots.", |it| Value::Count(it.capacity)),
            (
                "ufr_credit_spent_messages",
                "Messages that hold credit: sent, and not released yet.",
                |it| Value::Count(it.credits_spent),
            ),
            (
                "ufr_depth_highest_slots",
                "The most messages in flight at once since the ring was made.",
                |it| Value::Count(it.most_in_flight),
            ),
            ("ufr_credit_limit_messages", "Messages that may hold credit at once.", |it| {
                Value::Count(it.credit_limit)
            }),
        ];
        for (name, help, value) in gauges {
            self.by_lane(out, (name, Kind::Gauge, unit_of(name)), help, value);
        }
        let help = "Lanes without credit, whose producers wait.";
        self.by_ring(out, "ufr_full_lanes", Kind::Gauge, help, |seen| {
            seen.lanes.iter().map(|(_, room)| room.full).sum()
        });
    }

    fn deaths(&self, out: &mut Text) {
        let counters: [(_, _, Number<Seen>); 5] = [
            (
                "ufr_abandoned_messages",
                "Messages that a producer had begun when it died. Consumers skip them.",
                |it| it.stats.abandoned,
            ),
            (
                "ufr_redelivered_messages",
                "Messages received again, since the consumer that held them died.",
                |it| it.stats.redelivered,
            ),
            (
                "ufr_discarded_messages",
                "Messages dropped, since the consumer that held them died.",
                |it| it.stats.discarded,
            ),
            (
                "ufr_late_messages",
                "Messages received after younger ones, by consumers that receive in time order.",
                |it| it.stats.late,
            ),
            ("ufr_recoveries", "Dead handles whose work others have finished.", |it| {
                it.stats.recoveries
            }),
        ];
        for (name, help, value) in counters {
            self.by_ring(out, name, Kind::Counter, help, value);
        }
    }

    fn participants(&self, out: &mut Text) {
        let help = "Handles on the ring. A dead one has work that nobody has finished yet.";
        out.family("ufr_participants", Kind::Gauge, None, help);
        for (ring, seen) in self.seen() {
            for ((side, state), count) in &seen.participants {
                let labels = [("ring", ring), ("side", side), ("state", state)];
                out.sample(&labels, Value::Count(*count));
            }
        }
    }

    fn groups(&self, out: &mut Text) {
        let numbers: [(_, _, _, Number<GroupInfo>); 6] = [
            (
                "ufr_group_received_messages",
                Kind::Counter,
                "Messages that the group has received, and those that dead producers did not \
                 finish, which it skipped.",
                |it| it.received,
            ),
            (
                "ufr_group_lag_messages",
                Kind::Gauge,
                "Messages that the group is behind the producers. 0 if it is not open.",
                |it| it.lag,
            ),
            ("ufr_group_open", Kind::Gauge, "1 if producers wait for the group.", |it| {
                u64::from(it.state == GroupState::Open)
            }),
            ("ufr_group_members", Kind::Gauge, "Handles of the group's members.", |it| {
                it.members as u64
            }),
            (
                "ufr_group_evictions",
                Kind::Counter,
                "How often producers went on without the group, since it did not keep up.",
                |it| it.evictions,
            ),
            (
                "ufr_missed_messages",
                Kind::Counter,
                "Messages that the group has missed since producers went on without it.",
                |it| it.missed,
            ),
        ];
        // Without groups there is nothing to say about them.
        if self.seen().all(|(_, seen)| seen.groups.is_empty()) {
            return;
        }
        for (name, kind, help, value) in numbers {
            let unit = (kind == Kind::Gauge).then(|| unit_of(name)).flatten();
            out.family(name, kind, unit, help);
            for (ring, seen) in self.seen() {
                for group in &seen.groups {
                    let labels = [("ring", ring), ("group", group.name.as_str())];
                    out.sample(&labels, Value::Count(value(group)));
                }
            }
        }
        self.latencies_of_groups(out);
    }

    /// Of groups that have received something, in rings that were made with histograms.
    fn latencies_of_groups(&self, out: &mut Text) {
        let help = "Time from send to receive of the messages that the group has received.";
        out.family("ufr_group_latency_seconds", Kind::Histogram, Some("seconds"), help);
        for (ring, seen) in self.seen() {
            for (group, latency) in seen.groups.iter().zip(&seen.latencies_of_groups) {
                if let Some(latency) = latency.as_ref().filter(|it| !it.is_empty()) {
                    latency_of(out, &[("ring", ring), ("group", group.name.as_str())], latency);
                }
            }
        }
    }

    /// About this snapshot.
    fn itself(&self, out: &mut Text) {
        let help = "1 if the ring can be looked into, 0 if its file is damaged or no ring.";
        out.family("ufr_ring_up", Kind::Gauge, None, help);
        for (ring, seen) in &self.rings {
            out.sample(&[("ring", ring)], Value::Count(seen.is_ok().into()));
        }
        let up = self.seen().count();
        let help = "Rings by what came of the look at them. Those left out are over the limit of \
                    number or time.";
        out.family("ufr_rings", Kind::Gauge, None, help);
        for (state, count) in [
            ("up", up),
            ("down", self.rings.len() - up),
            ("untrusted", self.untrusted),
            ("left_out", self.left_out),
        ] {
            out.sample(&[("state", state)], Value::Count(count as u64));
        }
        let help = "How long the look at all rings took.";
        out.family("ufr_scrape_duration_seconds", Kind::Gauge, Some("seconds"), help);
        out.sample(&[], Value::Number(self.took.as_secs_f64()));
        out.family("ufr_build", Kind::Info, None, "The version of what wrote this.");
        out.sample(&[("version", env!("CARGO_PKG_VERSION"))], Value::Count(1));
    }
}

/// A histogram of latencies, in seconds.
fn latency_of(out: &mut Text, labels: &[(&str, &str)], latency: &LatencyHistogram) {
    let count = latency.count();
    let up_to = |bound: f64| latency.count_up_to(bound * 1e9).min(count);
    let buckets = BOUNDS.iter().map(|(text, bound)| (*text, up_to(*bound)));
    out.histogram(labels, buckets, count, latency.sum() / 1e9);
}

/// The unit that a gauge's name ends in.
fn unit_of(name: &'static str) -> Option<&'static str> {
    ["slots", "messages", "seconds"].into_iter().find(|unit| name.ends_with(unit))
}

#[cfg(test)]
mod tests {
    use super::BOUNDS;

    #[test]
    fn bounds_are_as_their_texts_say_and_ascend() {
        for (text, bound) in BOUNDS {
            assert_eq!(text.parse::<f64>(), Ok(bound));
        }
        assert!(BOUNDS.is_sorted_by(|(_, one), (_, next)| one < next));
    }
}
