//! `ufr stat --watch`: a line for each interval.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;
use serde_json::json;
use ultrafastring::{LatencyHistogram, Observer, RingStats};

use super::json::{self, nanoseconds};
use super::together;
use crate::output;

/// Lines between two headings.
const LINES: u64 = 20;

/// What is compared with the next of its kind.
struct Sample {
    at: Instant,
    stats: RingStats,
    /// All classes together.
    latencies: Option<LatencyHistogram>,
}

impl Sample {
    fn of(ring: &Observer) -> Self {
        let latencies = ring.latencies().map(|all| together(&all));
        Self { at: Instant::now(), stats: ring.stats(), latencies }
    }

    fn bytes(&self) -> u64 {
        self.stats.classes.iter().fold(0, |sum, class| sum.wrapping_add(class.sent_bytes))
    }

    fn latency(&self) -> (u64, u64) {
        let add = |(sum, count): (u64, u64), class: &ultrafastring::LaneStats| {
            (sum.wrapping_add(class.latency_sum), count.wrapping_add(class.latency_count))
        };
        self.stats.classes.iter().fold((0, 0), add)
    }
}

/// Prints a line for each interval until nobody reads it.
pub(super) fn run(
    name: &str,
    ring: &Observer,
    interval: Duration,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let mut before = Sample::of(ring);
    let mut next = before.at + interval;
    for line in 0.. {
        thread::sleep(next.saturating_duration_since(Instant::now()));
        next = (next + interval).max(Instant::now());
        if ring.is_damaged() {
            bail!("the ring's file was truncated or overwritten while it was watched");
        }
        let now = Sample::of(ring);
        if as_json {
            output::say(format!("{}\n", line_as_json(name, ring, &before, &now)))?;
        } else {
            if line % LINES == 0 {
                output::say(heading())?;
            }
            output::say(line_as_text(ring, &before, &now))?;
        }
        before = now;
    }
    Ok(ExitCode::SUCCESS)
}

fn heading() -> String {
    format!(
        "{:>12} {:>12} {:>12} {:>10} {:>10} {:>10} {:>10} {:>10} {:>7}\n",
        "sent/s", "received/s", "bytes/s", "in flight", "mean", "p50", "p99", "p99.9", "stalls"
    )
}

/// How much of something came in a second.
fn rate(before: u64, now: u64, seconds: f64) -> f64 {
    // Saturating: what a peer writes may go back.
    now.saturating_sub(before) as f64 / seconds
}

/// The mean latency of the messages between two samples, in ticks.
fn mean(before: &Sample, now: &Sample) -> Option<u64> {
    let ((sum, count), (sum_now, count_now)) = (before.latency(), now.latency());
    sum_now.wrapping_sub(sum).checked_div(count_now.saturating_sub(count))
}

fn since(before: &Sample, now: &Sample) -> Option<LatencyHistogram> {
    Some(now.latencies.as_ref()?.since(before.latencies.as_ref()?))
}

fn line_as_text(ring: &Observer, before: &Sample, now: &Sample) -> String {
    let seconds = (now.at - before.at).as_secs_f64();
    let latencies = since(before, now);
    let text = |latency: Option<f64>| latency.map_or("-".to_string(), output::duration);
    let quantile = |part| text(latencies.as_ref().and_then(|it| it.quantile(part)));
    format!(
        "{:>12.0} {:>12.0} {:>12.0} {:>10} {:>10} {:>10} {:>10} {:>10} {:>7}\n",
        rate(before.stats.sent, now.stats.sent, seconds),
        rate(before.stats.received, now.stats.received, seconds),
        rate(before.bytes(), now.bytes(), seconds),
        ring.len(),
        text(mean(before, now).map(|ticks| ring.clock().nanoseconds(ticks))),
        quantile(0.5),
        quantile(0.99),
        quantile(0.999),
        now.stats.credit_stalls.saturating_sub(before.stats.credit_stalls),
    )
}

fn line_as_json(name: &str, ring: &Observer, before: &Sample, now: &Sample) -> serde_json::Value {
    let seconds = (now.at - before.at).as_secs_f64();
    let (old, new) = (&before.stats, &now.stats);
    json!({
        "name": name,
        "seconds": seconds,
        "sent_per_second": rate(old.sent, new.sent, seconds),
        "received_per_second": rate(old.received, new.received, seconds),
        "bytes_per_second": rate(before.bytes(), now.bytes(), seconds),
        "in_flight": ring.len(),
        "average_latency_ns": mean(before, now).map(|ticks| nanoseconds(&ring.clock(), ticks)),
        "latency": since(before, now).map(|it| json::latency(&it)),
        "credit_stalls": new.credit_stalls.saturating_sub(old.credit_stalls),
    })
}
