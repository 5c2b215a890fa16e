//! What is in a ring: counters, classes, groups and participants, once or again and again.

mod json;
mod watch;

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use ultrafastring::{
    Builder, Evidence, LaneInfo, Lanes, LatencyHistogram, Observer, PriorityClass, RingStats,
};

use crate::{completion, group, output};

/// Show counters, classes and participants of a ring, without disturbing it.
///
/// Credit: sending a message spends one credit, and releasing it gives the credit back. The ring is
/// `under pressure` while an eighth of the credit limit or less is left. A `stall` is a time in
/// which a producer found no credit; `deepest` is how many messages held credit at most.
///
/// Side memory, in a ring for messages over 40 bytes: what their buffers take of the file system
/// that the ring is in, and what it has left for all files. It is `short` if that is less than the
/// largest message may need.
///
/// Counters: `head` is the number of messages claimed, `tail` the number committed (producer) or
/// released (consumer), as last announced. `all`, `in flight` and the heads are exact; only on an
/// exclusive producer side `head` too is as last announced. The numbers of a class may be up to 64
/// messages old, and the last ones of a killed participant are missing.
///
/// Latencies: the mean, and in a ring that was made with histograms what 50, 99 and 99.9 in a
/// hundred messages did not exceed, to a sixteenth.
///
/// Lanes, in a ring made with them (`--lanes`): each has slots, credit and counters of its own. All
/// other numbers are those of all lanes together, the capacity and the credit limit those of each
/// lane for which nothing else was chosen.
///
/// In a ring made for groups, what a class has `received` is counted for all groups together, and
/// `all` adds it up. `received` in the JSON object, the credit, and the consumer's head and tail
/// are those of the slowest group.
///
/// Groups, in a ring made for them: `lag` is how many messages a group is behind. Producers wait
/// for each group that is `open`, so the slowest one holds producers back while the ring is full.
/// `ufr group rm` removes a group without members.
///
/// Participants: an `intent` is a message that is not committed yet, a `hold` one that is not
/// released yet. If a dead participant has neither, nothing is lost or waits: the next participant,
/// or `ufr doctor`, frees its entry. A participant is `unknown` if you may see neither its lock nor
/// its process.
///
/// With --watch it prints a line for each interval instead, until it is ended: what was sent and
/// received a second, messages in flight, latencies of the interval, and stalls that began in it.
#[derive(Args)]
pub(crate) struct Stat {
    /// Name of the ring.
    #[arg(add = completion::rings())]
    name: String,
    /// Print one JSON object; with --watch one for each interval, each on a line.
    #[arg(long)]
    json: bool,
    /// Print a line for each interval, until it is ended.
    #[arg(long)]
    watch: bool,
    /// Seconds between two lines of --watch, 0.01 to 86400 [default: 1].
    #[arg(long, value_name = "SECONDS", requires = "watch", value_parser = interval)]
    interval: Option<Duration>,
}

fn interval(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.01..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("write a number of seconds from 0.01 to 86400".to_string()),
    }
}

impl Stat {
    pub(crate) fn run(self, builder: &Builder) -> anyhow::Result<ExitCode> {
        let ring = builder.observe(&self.name)?;
        if self.watch {
            let interval = self.interval.unwrap_or(Duration::from_secs(1));
            return watch::run(&self.name, &ring, interval, self.json);
        }
        output::say(if self.json {
            format!("{:#}\n", json::of(&self.name, &ring))
        } else {
            as_text(&self.name, &ring)?
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

fn as_text(name: &str, ring: &Observer) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let out = &mut text;
    let (stats, positions) = (ring.stats(), ring.positions());
    let (settings, clock) = (ring.settings(), ring.clock());
    writeln!(
        out,
        "ring           {name}: {} slots, {} credits",
        settings.capacity, settings.credit_limit
    )?;
    writeln!(
        out,
        "messages       up to {} bytes; segment {} bytes",
        ring.max_message(),
        ring.size_bytes()
    )?;
    if let Some(memory) = ring.side_memory() {
        let free = memory.free.map_or("no limit".to_string(), |free| format!("{free} free"));
        writeln!(
            out,
            "side memory    {} of {} bytes taken, {free}{}",
            memory.taken,
            memory.size,
            if memory.is_short() { ": short" } else { "" }
        )?;
    }
    writeln!(
        out,
        "sides          producer {}, consumer {}",
        settings.producer_side, settings.consumer_side
    )?;
    if settings.lanes != Lanes::One {
        writeln!(out, "lanes          {}", settings.lanes)?;
    }
    writeln!(out, "timestamps     {}", settings.timestamps)?;
    if !clock.stable {
        writeln!(
            out,
            "clock          unstable: the counter may stop or drift, and latencies with it"
        )?;
    }
    writeln!(out, "redelivery     {}", settings.redelivery)?;
    writeln!(out, "in flight      {}", ring.len())?;
    writeln!(
        out,
        "credit         {} of {} spent{}",
        stats.credits_spent,
        stats.credit_limit,
        if stats.under_pressure { ": under pressure" } else { "" }
    )?;
    if let Some(slowest) = ring.slowest_group() {
        let full = group::is_full(&stats);
        let what = if full { "holds producers back" } else { "is the slowest" };
        writeln!(out, "groups         {} {what}", slowest.name.as_str())?;
    }
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
        "stalls         {} in {}; deepest {}",
        stats.credit_stalls,
        output::duration(clock.nanoseconds(stats.credit_stall_ticks)),
        stats.most_in_flight
    )?;
    let ([producers, consumers], [woken_producers, woken_consumers]) = (stats.sleeps, stats.wakes);
    writeln!(
        out,
        "sleeps         of producers {producers}, woken {woken_producers}; of consumers \
         {consumers}, woken {woken_consumers}"
    )?;
    writeln!(
        out,
        "after deaths   abandoned {} redelivered {} discarded {}",
        stats.abandoned, stats.redelivered, stats.discarded
    )?;
    writeln!(out, "recoveries     {}", stats.recoveries)?;
    if stats.late != 0 {
        writeln!(out, "late           {}", stats.late)?;
    }
    classes_as_text(out, &stats, ring)?;
    if settings.lanes != Lanes::One {
        each_lane_as_text(out, ring)?;
    }
    if settings.groups != 0 {
        group::as_text(out, ring)?;
    }
    participants_as_text(out, ring)?;
    Ok(text)
}

fn classes_as_text(out: &mut String, stats: &RingStats, ring: &Observer) -> std::fmt::Result {
    // Each group receives each message, and a class does not say which did.
    let by_all = stats.classes.iter().map(|class| class.received).sum();
    let (received, all) = match ring.settings().groups {
        0 => ("received", stats.received),
        _ => ("by all groups", by_all),
    };
    let (clock, histograms) = (ring.clock(), ring.latencies());
    let mean = |ticks: u64| output::duration(clock.nanoseconds(ticks));
    write!(out, "\n{:<12} {:>14} {received:>14} {:>10}", "class", "sent", "mean")?;
    if histograms.is_some() {
        write!(out, " {:>10} {:>10} {:>10}", "p50", "p99", "p99.9")?;
    }
    writeln!(out)?;
    let line = |out: &mut String, name: &str, counts: [u64; 3], all: Option<&LatencyHistogram>| {
        let [sent, received, latency] = counts;
        write!(out, "{name:<12} {sent:>14} {received:>14} {:>10}", mean(latency))?;
        if let Some(histogram) = all {
            for part in [0.5, 0.99, 0.999] {
                let latency = histogram.quantile(part).map_or("-".to_string(), output::duration);
                write!(out, " {latency:>10}")?;
            }
        }
        writeln!(out)
    };
    for (index, (class, it)) in PriorityClass::ALL.iter().zip(&stats.classes).enumerate() {
        let histogram = histograms.as_ref().map(|all| &all[index]);
        line(out, class.name(), [it.sent, it.received, it.avg_latency()], histogram)?;
    }
    let together = histograms.as_ref().map(|all| together(all));
    line(out, "all", [stats.sent, all, stats.avg_latency], together.as_ref())
}

/// All classes together.
fn together(classes: &[LatencyHistogram]) -> LatencyHistogram {
    let mut sum = classes[0].clone();
    classes[1..].iter().for_each(|class| sum.add(class));
    sum
}

fn each_lane_as_text(out: &mut String, ring: &Observer) -> std::fmt::Result {
    writeln!(
        out,
        "\n{:<5} {:>9} {:>9} {:>14} {:>14} {:<7} whose",
        "lane", "slots", "in flight", "sent", "received", "state"
    )?;
    for LaneInfo { index, class, owner, capacity, closed, len, stats, .. } in ring.lanes() {
        let whose = match (class, owner) {
            (Some(class), _) => class.name().to_string(),
            (None, Some(owner)) => {
                let dead = if owner.alive { "" } else { " (dead)" };
                format!("process {}{dead} {}", owner.pid, owner.name.as_str())
            }
            (None, None) => "nobody's".to_string(),
        };
        let state = if closed { "closed" } else { "open" };
        writeln!(
            out,
            "{index:<5} {capacity:>9} {len:>9} {:>14} {:>14} {state:<7} {whose}",
            stats.sent, stats.received
        )?;
    }
    Ok(())
}

fn participants_as_text(out: &mut String, ring: &Observer) -> std::fmt::Result {
    // Only a ring made for groups has the column.
    let group = |name: &str| match ring.settings().groups {
        0 => String::new(),
        _ => format!("{name:<12} "),
    };
    writeln!(
        out,
        "\n{:<5} {:<8} {:<9} {:<10} {:<7} {}shows",
        "entry",
        "pid",
        "side",
        "sharing",
        "state",
        group("group")
    )?;
    let has_lanes = ring.settings().lanes != Lanes::One;
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
            "{:<5} {:<8} {:<9} {:<10} {state:<7} {}{}{}{}",
            if has_lanes { format!("{}.{}", it.lane, it.index) } else { it.index.to_string() },
            it.pid,
            it.side.name(),
            it.sharing.name(),
            group(it.group.as_ref().map_or("", |it| it.as_str())),
            shown("intent", it.intent),
            shown("hold", it.hold),
            it.name.as_str(),
        )?;
    }
    Ok(())
}
