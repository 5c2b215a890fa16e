//! Looking at rings without disturbing them.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use ultrafastring::{
    Builder, Evidence, Finding, LaneStats, Observer, ParticipantInfo, PriorityClass, Redelivery,
    Timestamps,
};

use crate::{completion, explain, output};

/// List rings, and whether anybody uses them.
///
/// One line a ring, with tabs between: its name, its state, and how many messages are in flight. The
/// state is `live` (somebody has it open), `stale` (nobody alive has), `unknown` (you may not see its
/// locks), or `unusable`, with the reason why it cannot be opened instead of the count.
#[derive(Args)]
pub(crate) struct List {}

impl List {
    pub(crate) fn run(self, builder: &Builder) -> anyhow::Result<ExitCode> {
        let mut lines = String::new();
        for name in builder.list()? {
            match builder.observe(&name) {
                Ok(ring) => {
                    let state = state(&ring);
                    let (len, capacity) = (ring.len(), ring.capacity());
                    writeln!(lines, "{name}\t{state}\t{len} of {capacity} in flight")?;
                }
                Err(error) => {
                    writeln!(lines, "{name}\tunusable\t{}", explain::text(&error.into()))?;
                }
            }
        }
        output::say(lines)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Whether somebody has the ring open, or a handle on it.
fn state(ring: &Observer) -> &'static str {
    if ring.sees_locks() {
        if ring.is_open() { "live" } else { "stale" }
    } else if ring.participants().any(|it| it.alive && it.evidence == Evidence::Process) {
        "live"
    } else {
        "unknown"
    }
}

/// Show counters, lanes and participants of a ring, without disturbing it.
///
/// `all`, `in flight` and the heads follow from positions; on an exclusive producer side `head` and
/// `tail` are as last announced. A lane's numbers are what participants have stored: up to 64 messages
/// old, and what a killed one had not stored is missing. A participant shows an `intent` while
/// something of it is not committed, a `hold` while something of it is not released. A dead one with
/// neither needs nothing; the next participant, or `ufr doctor`, frees its entry. One is `unknown` if
/// you may see neither its lock nor its process.
#[derive(Args)]
pub(crate) struct Stat {
    /// Name of the ring.
    #[arg(add = completion::rings())]
    name: String,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Stat {
    pub(crate) fn run(self, builder: &Builder) -> anyhow::Result<ExitCode> {
        let ring = builder.observe(&self.name)?;
        output::say(if self.json {
            format!("{:#}\n", as_json(&self.name, &ring))
        } else {
            as_text(&self.name, &ring)?
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// As `ufr create` takes it.
fn timestamps(ring: &Observer) -> String {
    match ring.timestamps() {
        Timestamps::Every => "every".to_string(),
        Timestamps::OneIn(n) => format!("1/{n}"),
        Timestamps::Off => "off".to_string(),
    }
}

/// As `ufr create` takes it.
fn redelivery(ring: &Observer) -> &'static str {
    match ring.redelivery() {
        Redelivery::Redeliver => "redeliver",
        Redelivery::Discard => "discard",
    }
}

fn lanes_as_json(lanes: &[LaneStats]) -> Value {
    PriorityClass::ALL
        .iter()
        .zip(lanes)
        .map(|(class, lane)| {
            let latency = lane.avg_latency();
            (
                class.name().to_string(),
                json!({ "sent": lane.sent, "received": lane.received,
                        "average_latency_ticks": latency }),
            )
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// How it is known who lives.
fn evidence(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Lock => "lock",
        Evidence::Process => "process",
        _ => "unknown",
    }
}

fn participant_as_json(participant: &ParticipantInfo) -> Value {
    json!({
        "index": participant.index,
        "pid": participant.pid,
        "name": participant.name.as_str(),
        "side": participant.side.name(),
        "sharing": participant.sharing.name(),
        "alive": participant.alive,
        "evidence": evidence(participant.evidence),
        "intent": participant.intent.map(|(first, count)| [first, count]),
        "hold": participant.hold.map(|(first, count)| [first, count]),
        "lanes": lanes_as_json(&participant.lanes),
    })
}

fn as_json(name: &str, ring: &Observer) -> Value {
    let (stats, positions) = (ring.stats(), ring.positions());
    json!({
        "name": name,
        "capacity": ring.capacity(),
        "max_message": ring.max_message(),
        "segment_bytes": ring.size_bytes(),
        "credit_limit": ring.credit_limit(),
        "reserves": PriorityClass::ALL
            .iter()
            .zip(ring.reserves())
            .map(|(class, credits)| (class.name().to_string(), credits.into()))
            .collect::<serde_json::Map<_, _>>(),
        "timestamps": timestamps(ring),
        "redelivery": redelivery(ring),
        "producer_side": ring.producer_side().name(),
        "consumer_side": ring.consumer_side().name(),
        "in_flight": ring.len(),
        "producer_head": positions.producer_head,
        "producer_tail": positions.producer_tail,
        "consumer_head": positions.consumer_head,
        "consumer_tail": positions.consumer_tail,
        "sent": stats.sent,
        "received": stats.received,
        "average_latency_ticks": stats.avg_latency,
        "ticks_per_second": ring.ticks_per_second(),
        "clock_stable": ring.clock().stable,
        "abandoned": stats.abandoned,
        "redelivered": stats.redelivered,
        "discarded": stats.discarded,
        "lanes": lanes_as_json(&stats.lanes),
        "participants": ring.participants().map(|it| participant_as_json(&it)).collect::<Vec<_>>(),
    })
}

fn as_text(name: &str, ring: &Observer) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let out = &mut text;
    let (stats, positions) = (ring.stats(), ring.positions());
    writeln!(
        out,
        "ring           {name}: {} slots, {} credits",
        ring.capacity(),
        ring.credit_limit()
    )?;
    writeln!(
        out,
        "messages       up to {} bytes; segment {} bytes",
        ring.max_message(),
        ring.size_bytes()
    )?;
    writeln!(
        out,
        "sides          producer {}, consumer {}",
        ring.producer_side().name(),
        ring.consumer_side().name()
    )?;
    writeln!(out, "timestamps     {}", timestamps(ring))?;
    if !ring.clock().stable {
        writeln!(
            out,
            "clock          unstable: the counter may stop or drift, and latencies with it"
        )?;
    }
    writeln!(out, "redelivery     {}", redelivery(ring))?;
    writeln!(out, "in flight      {}", ring.len())?;
    writeln!(
        out,
        "producer       head {} tail {}",
        positions.producer_head, positions.producer_tail
    )?;
    writeln!(
        out,
        "consumer       head {} tail {}",
        positions.consumer_head, positions.consumer_tail
    )?;
    writeln!(
        out,
        "after deaths   abandoned {} redelivered {} discarded {}",
        stats.abandoned, stats.redelivered, stats.discarded
    )?;
    writeln!(out, "\n{:<12} {:>14} {:>14} {:>16}", "lane", "sent", "received", "latency (ticks)")?;
    for (class, lane) in PriorityClass::ALL.iter().zip(&stats.lanes) {
        let latency = lane.avg_latency();
        writeln!(
            out,
            "{:<12} {:>14} {:>14} {latency:>16}",
            class.name(),
            lane.sent,
            lane.received
        )?;
    }
    writeln!(
        out,
        "{:<12} {:>14} {:>14} {:>16}",
        "all", stats.sent, stats.received, stats.avg_latency
    )?;
    writeln!(
        out,
        "\n{:<5} {:<8} {:<9} {:<10} {:<7} shows",
        "entry", "pid", "side", "sharing", "state"
    )?;
    for it in ring.participants() {
        let state = match (it.alive, it.evidence) {
            (true, Evidence::Unknown) => "unknown",
            (true, _) => "alive",
            (false, _) => "dead",
        };
        let shown = |what: &str, span: Option<(u64, u64)>| {
            span.map(|(first, count)| format!("{what} {first}+{count} ")).unwrap_or_default()
        };
        writeln!(
            out,
            "{:<5} {:<8} {:<9} {:<10} {state:<7} {}{}{}",
            it.index,
            it.pid,
            it.side.name(),
            it.sharing.name(),
            shown("intent", it.intent),
            shown("hold", it.hold),
            it.name.as_str(),
        )?;
    }
    Ok(text)
}

/// Check every invariant of a ring, and finish what dead processes left undone.
///
/// Exit code 1 if the ring is damaged: then only a new one helps. What dead processes left undone
/// is not damage; it is finished here, as it would be by whoever uses the ring next.
#[derive(Args)]
pub(crate) struct Doctor {
    /// Name of the ring.
    #[arg(add = completion::rings())]
    name: String,
    /// Check, and finish nothing.
    #[arg(long)]
    check: bool,
}

impl Doctor {
    pub(crate) fn run(self, builder: &Builder) -> anyhow::Result<ExitCode> {
        let findings = builder.observe(&self.name)?.examine()?;
        let mut report = String::new();
        findings.iter().try_for_each(|finding| writeln!(report, "{finding}"))?;
        output::say(report)?;
        if findings.iter().any(Finding::is_damage) {
            output::complain(format!(
                "{} is damaged: a program wrote where it should not have. Remove it with `ufr rm \
                 {}`, and start its users again",
                self.name, self.name
            ));
            return Ok(ExitCode::FAILURE);
        }
        if findings.is_empty() {
            output::say(format!("{}: all is well\n", self.name))?;
        } else if !self.check {
            let done = builder.open(&self.name)?.repair()?;
            output::say(format!(
                "{}: {} entries freed, {} slots abandoned, {} messages discarded, {} messages wait \
                 to be redelivered to the next consumer\n",
                self.name, done.entries_freed, done.abandoned, done.discarded, done.to_redeliver
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
