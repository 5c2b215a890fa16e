//! What the demo measured, for people and for programs. The README documents the keys.

use std::fmt::Write;

use serde_json::{Map, Value, json};
use ultrafastring::{PriorityClass, UltraFastRing};

use super::machine;
use super::part::{Over, QUANTILES};

/// How the columns of latencies are headed, and named.
const TITLES: [&str; QUANTILES.len()] = ["50 %", "90 %", "99 %", "99.9 %", "99.99 %", "max"];
const KEYS: [&str; QUANTILES.len()] = ["p50", "p90", "p99", "p99_9", "p99_99", "max"];

/// What one way of sending reached, a number a round.
#[derive(Default)]
pub(super) struct Reached {
    /// Ticks a message, when messages follow each other as fast as they can.
    pub(super) stream: Vec<f64>,
    /// Latencies in ticks of messages that come at a pace: for each of `QUANTILES`.
    pub(super) paced: Vec<Vec<f64>>,
    /// The same of the stream: time spent in queues, mostly.
    pub(super) queued: Vec<Vec<f64>>,
}

/// All that was measured.
pub(super) struct Measured {
    pub(super) cores: (usize, usize),
    pub(super) messages: u64,
    pub(super) checked: u64,
    pub(super) reached: Vec<(Over, Reached)>,
    /// Ticks for a cache line there and back, by every reading.
    pub(super) line: Vec<f64>,
}

fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn range(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, 0.0), |(low, high), &it| (it.min(low), it.max(high)))
}

impl Reached {
    fn ticks(&self) -> f64 {
        median(self.stream.iter().copied())
    }
}

/// For each quantile the median over rounds, in nanoseconds.
fn latencies(rounds: &[Vec<f64>], ns: f64) -> Option<[f64; QUANTILES.len()]> {
    rounds
        .iter()
        .all(|round| round.len() == QUANTILES.len() && round[0] > 0.0)
        .then(|| std::array::from_fn(|at| ns * median(rounds.iter().map(|round| round[at]))))
}

pub(super) fn as_text(
    measured: &Measured,
    ring: &UltraFastRing,
) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let out = &mut text;
    let ns = 1e9 / ring.clock().ticks_per_second;
    let (low, high) = range(&measured.line);
    writeln!(
        out,
        "{} messages of 40 bytes through {} slots, {} in all checked for order and content",
        measured.messages,
        ring.capacity(),
        measured.checked,
    )?;
    writeln!(
        out,
        "{}, cores {} and {}, {:.3} ticks a nanosecond",
        machine::processor(),
        measured.cores.0,
        measured.cores.1,
        1.0 / ns,
    )?;
    writeln!(
        out,
        "a cache line goes there and back in {:.0} ticks ({low:.0} to {high:.0})",
        median(measured.line.iter().copied()),
    )?;

    writeln!(
        out,
        "\n{:<16} {:>14} {:>20} {:>12} {:>16}",
        "stream", "ticks/message", "(rounds)", "ns/message", "to UltraFastRing"
    )?;
    let own = measured.reached[0].1.ticks();
    for (over, reached) in &measured.reached {
        let ticks = reached.ticks();
        let (low, high) = range(&reached.stream);
        writeln!(
            out,
            "{:<16} {ticks:>14.1} {:>20} {:>12.1} {:>16.1}",
            over.title(),
            format!("{low:.1} to {high:.1}"),
            ticks * ns,
            ticks / own,
        )?;
    }

    write!(out, "\n{:<30}", "latency, ns")?;
    TITLES.iter().try_for_each(|title| write!(out, " {title:>9}"))?;
    writeln!(out)?;
    for (over, reached) in &measured.reached {
        let (title, kinds) =
            (over.title(), [("at a pace", &reached.paced), ("in a full stream", &reached.queued)]);
        for (kind, rounds) in kinds {
            if let Some(latencies) = latencies(rounds, ns) {
                write!(out, "{:<30}", format!("{title} {kind}"))?;
                latencies.iter().try_for_each(|latency| write!(out, " {latency:>9.0}"))?;
                writeln!(out)?;
            }
        }
    }

    let stats = ring.stats();
    writeln!(
        out,
        "\n{:<16} {:>12} {:>12} {:>14} {:>18}",
        "class", "sent", "received", "bytes", "mean latency, ns"
    )?;
    for (class, counted) in PriorityClass::ALL.iter().zip(&stats.classes) {
        writeln!(
            out,
            "{:<16} {:>12} {:>12} {:>14} {:>18.0}",
            class.name(),
            counted.sent,
            counted.received,
            counted.received_bytes,
            counted.avg_latency() as f64 * ns,
        )?;
    }
    Ok(text)
}

fn latencies_as_json(rounds: &[Vec<f64>], ns: f64) -> Value {
    let Some(latencies) = latencies(rounds, ns) else { return Value::Null };
    KEYS.iter()
        .zip(latencies)
        .map(|(key, at)| (key.to_string(), json!(at)))
        .collect::<Map<_, _>>()
        .into()
}

pub(super) fn as_json(measured: &Measured, ring: &UltraFastRing) -> Value {
    let ns = 1e9 / ring.clock().ticks_per_second;
    let mut object = json!({
        "messages": measured.messages,
        "checked": measured.checked,
        "message_bytes": ultrafastring::INLINE_SIZE,
        "capacity": ring.capacity(),
        "processor": machine::processor(),
        "cores": [measured.cores.0, measured.cores.1],
        "ticks_per_second": ring.clock().ticks_per_second,
        "line_round_trip_ticks": measured.line,
        "classes": PriorityClass::ALL
            .iter()
            .zip(&ring.stats().classes)
            .map(|(class, counted)| {
                (class.name().to_string(), json!({
                    "sent": counted.sent,
                    "received": counted.received,
                    "received_bytes": counted.received_bytes,
                    "average_latency_ns": counted.avg_latency() as f64 * ns,
                }))
            })
            .collect::<Map<_, _>>(),
    });
    let own = measured.reached[0].1.ticks();
    for (over, reached) in &measured.reached {
        let ticks = reached.ticks();
        let mut way = json!({
            "ticks_per_message": ticks,
            "ns_per_message": ticks * ns,
            "ticks_per_message_by_round": reached.stream,
            "paced_latency_ns": latencies_as_json(&reached.paced, ns),
        });
        if *over == Over::Ring {
            way["stream_latency_ns"] = latencies_as_json(&reached.queued, ns);
        } else {
            way["times_the_ring"] = json!(ticks / own);
        }
        object[over.name()] = way;
    }
    object
}
