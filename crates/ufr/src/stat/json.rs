//! What `ufr stat --json` prints: docs/stat.schema.json describes it.

use serde_json::{Value, json};
use ultrafastring::clock::Clock;
use ultrafastring::{
    Evidence, LaneInfo, LaneStats, LatencyHistogram, Observer, ParticipantInfo, PriorityClass,
};

use crate::group;

/// One object, with all that is known of a ring.
pub(super) fn of(name: &str, ring: &Observer) -> Value {
    let stats = ring.stats();
    let (settings, clock, latencies) = (ring.settings(), ring.clock(), ring.latencies());
    let [producers, consumers] =
        [0, 1].map(|side| json!({ "sleeps": stats.sleeps[side], "wakes": stats.wakes[side] }));
    json!({
        "name": name,
        "capacity": ring.capacity(),
        "max_message": ring.max_message(),
        "segment_bytes": ring.size_bytes(),
        "side_memory": ring.side_memory().map(|it| json!({
            "size": it.size,
            "taken": it.taken,
            "free": it.free,
        })),
        "credit_limit": settings.credit_limit,
        "reserves": PriorityClass::ALL
            .iter()
            .zip(settings.reserves)
            .map(|(class, credits)| (class.name().to_string(), credits.into()))
            .collect::<serde_json::Map<_, _>>(),
        "timestamps": settings.timestamps.to_string(),
        "latency_histograms": settings.latency_histograms,
        "redelivery": settings.redelivery.name(),
        "producer_side": settings.producer_side.name(),
        "consumer_side": settings.consumer_side.name(),
        "in_flight": ring.len(),
        "most_in_flight": stats.most_in_flight,
        "credits_spent": stats.credits_spent,
        "under_pressure": stats.under_pressure,
        "credit_stalls": stats.credit_stalls,
        "credit_stall_ns": nanoseconds(&clock, stats.credit_stall_ticks),
        "producers": producers,
        "consumers": consumers,
        "sent": stats.sent,
        "received": stats.received,
        "average_latency_ns": nanoseconds(&clock, stats.avg_latency),
        "ticks_per_second": clock.ticks_per_second,
        "clock_stable": clock.stable,
        "abandoned": stats.abandoned,
        "redelivered": stats.redelivered,
        "discarded": stats.discarded,
        "late": stats.late,
        "recoveries": stats.recoveries,
        "topology": settings.lanes.to_string(),
        "lanes": ring.lanes().map(|it| lane(&it)).collect::<Vec<_>>(),
        "classes": classes(&clock, &stats.classes, latencies.as_ref().map(|all| &all[..])),
        "joinable": settings.groups != 0,
        "groups": group::as_json(ring),
        "slowest_group": ring.slowest_group().map(|it| it.name.as_str().to_string()),
        "participants": ring
            .participants()
            .map(|it| participant(&clock, &it))
            .collect::<Vec<_>>(),
    })
}

/// Ticks in whole nanoseconds.
pub(super) fn nanoseconds(clock: &Clock, ticks: u64) -> u64 {
    clock.nanoseconds(ticks).round() as u64
}

fn classes(clock: &Clock, all: &[LaneStats], latencies: Option<&[LatencyHistogram]>) -> Value {
    let of = |(index, it): (usize, &LaneStats)| {
        let class = json!({
            "sent": it.sent,
            "sent_bytes": it.sent_bytes,
            "received": it.received,
            "received_bytes": it.received_bytes,
            "average_latency_ns": nanoseconds(clock, it.avg_latency()),
            "longest_latency_ns": nanoseconds(clock, it.latency_max),
            "latency": latencies.map(|all| latency(&all[index])),
        });
        (PriorityClass::ALL[index].name().to_string(), class)
    };
    all.iter().enumerate().map(of).collect::<serde_json::Map<_, _>>().into()
}

/// What a histogram says; quantiles are null if it is empty.
pub(super) fn latency(histogram: &LatencyHistogram) -> Value {
    let quantile = |part: f64| histogram.quantile(part).map(|it| it.round() as u64);
    json!({
        "count": histogram.count(),
        "p50_ns": quantile(0.5),
        "p90_ns": quantile(0.9),
        "p99_ns": quantile(0.99),
        "p999_ns": quantile(0.999),
        "max_ns": quantile(1.0),
    })
}

/// How it is known whether a participant is alive.
fn evidence(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Lock => "lock",
        Evidence::Process => "process",
        _ => "unknown",
    }
}

fn lane(it: &LaneInfo) -> Value {
    json!({
        "lane": it.index,
        "class": it.class.map(PriorityClass::name),
        "owner": it.owner.as_ref().map(|it| json!({
            "pid": it.pid,
            "name": it.name.as_str(),
            "alive": it.alive,
            "evidence": evidence(it.evidence),
        })),
        "capacity": it.capacity,
        "max_message": it.max_message,
        "closed": it.closed,
        "in_flight": it.len,
        "credit_limit": it.stats.credit_limit,
        "credits_spent": it.stats.credits_spent,
        "under_pressure": it.stats.under_pressure,
        "sent": it.stats.sent,
        "received": it.stats.received,
        "producer_head": it.positions.producer_head,
        "producer_tail": it.positions.producer_tail,
        "consumer_head": it.positions.consumer_head,
        "consumer_tail": it.positions.consumer_tail,
    })
}

fn participant(clock: &Clock, it: &ParticipantInfo) -> Value {
    json!({
        "index": it.index,
        "lane": it.lane,
        "pid": it.pid,
        "name": it.name.as_str(),
        "side": it.side.name(),
        "sharing": it.sharing.name(),
        "group": it.group.as_ref().map(|it| it.as_str().to_string()),
        "attached_ns": it.attached,
        "alive": it.alive,
        "evidence": evidence(it.evidence),
        "intent": it.intent.map(|(first, count)| [first, count]),
        "hold": it.hold.map(|(first, count)| [first, count]),
        "credit_stalls": it.credit_stalls,
        "credit_stall_ns": nanoseconds(clock, it.credit_stall_ticks),
        "most_in_flight": it.most_in_flight,
        "classes": classes(clock, &it.classes, None),
    })
}
