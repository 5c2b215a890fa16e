//! What the readings say: medians by distance, ratios, what was aimed at; as JSON, and as tables
//! made from it. Each table is a format string or two, which a library for tables would not
//! shorten.

pub(crate) mod large;

use std::collections::BTreeSet;
use std::fmt::Write;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use crate::case::{Across, Case, Pattern, Whose};
use crate::crowd::Fairness;
use crate::machine;
use crate::measure::{CaseReadings, Distance, Readings};
use crate::median::Middle;
use crate::target::{Of, TARGETS};

fn sound(case: &CaseReadings, distance: Distance) -> Option<f64> {
    Middle::of(&case.values[distance as usize]).filter(Middle::is_sound).map(|middle| middle.half)
}

fn sound_by_name(readings: &Readings, name: &str, distance: Distance) -> Option<f64> {
    sound(readings.cases.iter().find(|it| it.case.name == name)?, distance)
}

/// The peer that does best what `case` does.
fn best<'r>(
    readings: &'r Readings,
    case: &Case,
    across: Option<Across>,
    distance: Distance,
) -> Option<(&'r str, f64)> {
    let peers = readings.cases.iter().filter(|other| {
        other.case.whose == Whose::Peer
            && other.case.is_like(case)
            && across.is_none_or(|across| other.case.runner.across == across)
    });
    let figures = peers.filter_map(|it| Some((&it.case.name[..], sound(it, distance)?)));
    figures.min_by(|one, other| one.1.total_cmp(&other.1))
}

/// The limit of the machine for what `case` does.
fn limit(readings: &Readings, case: &Case, distance: Distance) -> Option<(String, f64)> {
    if case.pattern == Pattern::OneThread {
        return Some(("2 rdtsc".into(), 2.0 * sound_by_name(readings, "rdtsc", distance)?));
    }
    if let Some(name) = case.limit {
        return Some((name.into(), sound_by_name(readings, name, distance)?));
    }
    let packed = Case { pattern: Pattern::Batches(16), ..case.clone() };
    let sought = match case.pattern {
        Pattern::InPlace(16) => &packed,
        _ => case,
    };
    let raw = |it: &&CaseReadings| {
        it.case.peer == "raw"
            && it.case.pattern == sought.pattern
            && it.case.pattern != Pattern::Limit
            && (it.case.capacity == sought.capacity || it.case.capacity == 0)
            && it.case.size == sought.size
    };
    let raw = readings.cases.iter().find(raw)?;
    Some((raw.case.name.clone(), sound(raw, distance)?))
}

/// What `of` stands for beside `case`, in ticks.
fn value(readings: &Readings, case: &str, of: Of, distance: Distance) -> Option<f64> {
    let named = |name: &str| sound_by_name(readings, name, distance);
    match of {
        Of::Case(name) => named(name),
        Of::Floor(stream) => Some(named("rdtsc")?.max(named(stream)?)),
        Of::Timestamps(count) => Some(count * named("rdtsc")?),
        Of::Best(across) => {
            let case = &readings.cases.iter().find(|it| it.case.name == case)?.case;
            Some(best(readings, case, across, distance)?.1)
        }
    }
}

/// Whether each thread of a case had a core of its own.
fn has_own_cores(readings: &Readings, case: &str) -> bool {
    let case = readings.cases.iter().find(|it| it.case.name == case);
    let readers = case.and_then(|it| it.case.pattern.readers());
    readers.is_some_and(|readers| !readings.cores.places(readers).shared)
}

fn targets(readings: &Readings) -> Vec<Value> {
    let seen = |distance: Distance| {
        readings.cases.iter().any(|case| !case.values[distance as usize].is_empty())
    };
    let mut outcomes = vec![];
    for distance in Distance::ALL.into_iter().filter(|&distance| seen(distance)) {
        for target in TARGETS.iter().filter(|it| !it.own_cores || has_own_cores(readings, it.case))
        {
            let reached = sound_by_name(readings, target.case, distance)
                .zip(value(readings, target.case, target.to, distance))
                .map(|(own, other)| own / other);
            let most = target.most[distance as usize];
            outcomes.push(json!({
                "case": target.case,
                "to": target.to.name(),
                "distance": distance.name(),
                "reached": reached,
                "target": most,
                "met": reached.map(|reached| reached <= most),
            }));
        }
    }
    outcomes
}

/// Percentiles in nanoseconds, and points of the curve over them.
fn latency(histogram: &Histogram<u64>, ticks_per_ns: f64) -> Value {
    let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / ticks_per_ns;
    let nines = [
        0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999,
        0.99995, 0.99999,
    ];
    // Not beyond what there are messages for.
    let seen = nines.iter().filter(|&&nine| (1.0 - nine) * histogram.len() as f64 >= 1.0);
    let curve: Vec<_> = seen.map(|&quantile| json!([quantile, at(quantile)])).collect();
    json!({
        "messages": histogram.len(),
        "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p99_9": at(0.999), "p99_99": at(0.9999),
        "max": histogram.max() as f64 / ticks_per_ns,
        "curve": curve,
    })
}

fn figure(readings: &Readings, case: &CaseReadings, distance: Distance, per_ns: f64) -> Value {
    let Some(middle) = Middle::of(&case.values[distance as usize]) else { return Value::Null };
    let mut figure = Map::new();
    figure.insert("readings".into(), middle.readings.into());
    if let Some(refusal) = middle.refusal() {
        // No figure: nobody shall use it.
        figure.insert("refused".into(), refusal.into());
        return figure.into();
    }
    figure.insert("median".into(), middle.half.into());
    figure.insert("quartiles".into(), json!([middle.quarter, middle.three_quarters]));
    if let Some((name, ticks)) = limit(readings, &case.case, distance) {
        figure.insert("limit".into(), json!({ "name": name, "ratio": middle.half / ticks }));
    }
    if let Some((name, ticks)) = best(readings, &case.case, None, distance) {
        figure.insert("best_peer".into(), json!({ "name": name, "ratio": middle.half / ticks }));
    }
    let missed = &case.missed[distance as usize];
    if !missed.is_empty() {
        figure.insert("missed".into(), (missed.iter().sum::<f64>() / missed.len() as f64).into());
    }
    let fairness = &case.fairness[distance as usize];
    if !fairness.is_empty() {
        figure.insert("fairness".into(), median_fairness(fairness));
    }
    if let Some(histogram) = &case.latency[distance as usize] {
        figure.insert("latency_ns".into(), latency(histogram, per_ns));
    }
    figure.into()
}

/// The median of each of the numbers.
fn median_fairness(all: &[Fairness]) -> Value {
    let middle = |at: usize| {
        let mut each: Vec<_> = all.iter().map(|it| it.numbers()[at]).collect();
        each.sort_unstable_by(f64::total_cmp);
        each[each.len() / 2]
    };
    let [producers, consumers, longest_send, longest_receive] = [0, 1, 2, 3].map(middle);
    Fairness { producers, consumers, longest_send, longest_receive }.as_json()
}

/// Everything that a run has to say; `left_out` are peers, and why.
pub(crate) fn as_json(readings: &Readings, left_out: &[(&str, &str)]) -> Value {
    let machine = machine::describe(readings.cores);
    let per_ns = machine["ticks_per_second"].as_f64().unwrap_or(1e9) / 1e9;
    let cases: Vec<_> = readings
        .cases
        .iter()
        .map(|it| {
            let mut case = it.case.describe();
            for distance in Distance::ALL {
                case[distance.name()] = figure(readings, it, distance, per_ns);
            }
            case["dropped"] = json!({ "moved": it.moved, "disturbed": it.disturbed });
            if let Some(threads) = it.case.pattern.threads() {
                let cores = readings.cores.all().len();
                case["cores"] = cores.min(threads).into();
                case["shares_cores"] = readings.cores.crowd(threads).shared.into();
            }
            case
        })
        .collect();
    let (mut kept, mut moved, mut disturbed) = (0, 0, 0);
    for case in &readings.cases {
        kept += case.values.iter().map(Vec::len).sum::<usize>();
        moved += case.moved;
        disturbed += case.disturbed;
    }
    let lines = Middle::of(&readings.lines).map(|it| [it.quarter, it.half, it.three_quarters]);
    let failed = readings.failed.iter().map(|(case, why)| json!({ "case": case.name, "why": why }));
    let left_out = left_out.iter().map(|(peer, why)| json!({ "peer": peer, "why": why }));
    json!({
        "machine": machine,
        "run": {
            "version": env!("CARGO_PKG_VERSION"),
            "rounds": readings.rounds,
            "seconds": readings.time.as_secs_f64(),
            "readings_kept": kept,
            "readings_dropped": { "moved": moved, "disturbed": disturbed },
            "line_round_trip_quartiles": lines,
            "pace_ticks": crate::pattern::PACE,
        },
        "cases": cases,
        "targets": targets(readings),
        "failed": failed.collect::<Vec<_>>(),
        "left_out": left_out.collect::<Vec<_>>(),
    })
}

fn cell(figure: &Value) -> String {
    let readings = &figure["readings"];
    if let Some(refusal) = figure["refused"].as_str() {
        return format!("refused, {refusal}");
    }
    let Some(median) = figure["median"].as_f64() else { return "-".into() };
    let [quarter, three_quarters] =
        [0, 1].map(|at| figure["quartiles"][at].as_f64().unwrap_or(f64::NAN));
    let ratio = |key: &str| {
        let ratio = figure[key]["ratio"].as_f64();
        ratio.map_or("      -".into(), |ratio| format!("{ratio:7.2}"))
    };
    let spread = format!("({quarter:.1} to {three_quarters:.1})");
    let (limit, best) = (ratio("limit"), ratio("best_peer"));
    let missed = figure["missed"].as_f64();
    let missed = missed.map_or(String::new(), |part| format!("  {:.1} % missed", 100.0 * part));
    format!("{median:9.1} {spread:<20} {readings:>4} {limit} {best}{missed}")
}

/// On how many cores the threads of fan-out and crowds were, a line for each number of them.
fn places(cases: &[Value]) -> BTreeSet<String> {
    let line = |case: &Value| {
        let (producers, consumers) = (case["producers"].as_u64()?, case["consumers"].as_u64()?);
        let cores = case["cores"].as_u64()?;
        let label = match case["pattern"].as_str()? {
            "crowd" => format!("{producers} to {consumers} threads"),
            _ => format!("fan-out to {consumers}"),
        };
        Some(if case["shares_cores"] == true {
            let threads = producers + consumers;
            format!("{label:<24} {threads} threads share {cores} cores, so they take turns")
        } else {
            format!("{label:<24} each thread on one of {cores} cores")
        })
    };
    cases.iter().filter_map(line).collect()
}

/// How fair the queues were to the threads of a crowd.
fn write_fairness(text: &mut String, cases: &[Value]) -> std::fmt::Result {
    let mut said = false;
    for case in cases {
        for distance in Distance::ALL.map(Distance::name) {
            let fairness = &case[distance]["fairness"];
            let [producers, consumers, longest_send, longest_receive] =
                Fairness::NAMES.map(|name| fairness[name].as_f64().unwrap_or(f64::NAN));
            if producers.is_nan() {
                continue;
            }
            if !said {
                writeln!(
                    text,
                    "\ncrowds, medians: of what the fastest producer had sent, the slowest one's \
                     part; the least of the consumers' shares, where 1 is an equal one; the \
                     longest time for 64 messages of a producer and of a consumer, in ticks\n"
                )?;
                said = true;
            }
            let name = case["name"].as_str().unwrap_or("");
            writeln!(
                text,
                "{name:<46} {distance:<5} {producers:>6.2} {consumers:>6.2} {longest_send:>12.0} \
                 {longest_receive:>12.0}"
            )?;
        }
    }
    Ok(())
}

/// The same as tables.
pub(crate) fn as_table(report: &Value) -> String {
    let mut text = String::new();
    write_table(&mut text, report).expect("writing to a string does not fail");
    text
}

fn write_table(text: &mut String, report: &Value) -> std::fmt::Result {
    for (name, value) in report["machine"].as_object().into_iter().flatten() {
        writeln!(text, "{:<24} {value}", name.replace('_', " "))?;
    }
    let run = &report["run"];
    writeln!(
        text,
        "{:<24} {} rounds in {:.0} s, {} readings kept, {} dropped because the distance changed, \
         {} because a core was taken away",
        "run",
        run["rounds"],
        run["seconds"].as_f64().unwrap_or(0.0),
        run["readings_kept"],
        run["readings_dropped"]["moved"],
        run["readings_dropped"]["disturbed"],
    )?;
    let list = |key: &str| report[key].as_array().cloned().unwrap_or_default();
    let cases = list("cases");
    for line in places(&cases) {
        writeln!(text, "{line}")?;
    }
    let mut units: Vec<_> = cases.iter().filter_map(|case| case["unit"].as_str()).collect();
    units.sort_unstable();
    units.dedup();
    // What is measured most first.
    units.sort_by_key(|unit| {
        std::cmp::Reverse(cases.iter().filter(|it| it["unit"] == *unit).count())
    });
    for distance in Distance::ALL.map(Distance::name) {
        if cases.iter().all(|case| case[distance].is_null()) {
            continue;
        }
        for unit in &units {
            writeln!(
                text,
                "\n{distance}, {unit}: median (middle half), readings, times the limit, \
                 times the best peer\n"
            )?;
            for case in cases.iter().filter(|case| case["unit"] == *unit) {
                let name = case["name"].as_str().unwrap_or("");
                writeln!(text, "{name:<46} {}", cell(&case[distance]))?;
            }
        }
    }
    write_fairness(text, &cases)?;
    for (pattern, title) in [
        ("paced", "messages at fixed times"),
        ("urgent", "urgent messages among orders of 10 µs of work each"),
    ] {
        let paced: Vec<_> = cases.iter().filter(|case| case["pattern"] == pattern).collect();
        if paced.is_empty() {
            continue;
        }
        writeln!(text, "\n{title}, nanoseconds from when each was due\n")?;
        let heads = ["p50", "p90", "p99", "p99_9", "p99_99", "max"];
        write!(text, "{:<40} {:<5}", "", "")?;
        heads.iter().try_for_each(|head| write!(text, " {:>10}", head.replace('_', ".")))?;
        writeln!(text)?;
        for case in paced {
            for distance in Distance::ALL.map(Distance::name) {
                let latency = &case[distance]["latency_ns"];
                if latency.is_null() {
                    continue;
                }
                write!(text, "{:<40} {distance:<5}", case["name"].as_str().unwrap_or(""))?;
                for head in heads {
                    write!(text, " {:>10.0}", latency[head].as_f64().unwrap_or(f64::NAN))?;
                }
                writeln!(text)?;
            }
        }
    }
    writeln!(text, "\n{:<34} {:<32} {:<5} {:>8} {:>8}", "ratio", "to", "", "reached", "target")?;
    for it in list("targets") {
        let [case, to, distance] =
            ["case", "to", "distance"].map(|key| it[key].as_str().unwrap_or("").to_string());
        let target = it["target"].as_f64().unwrap_or(f64::NAN);
        match it["reached"].as_f64() {
            Some(reached) => {
                let met = if it["met"] == true { "met" } else { "missed" };
                writeln!(
                    text,
                    "{case:<34} {to:<32} {distance:<5} {reached:>8.3} {target:>8.3}  {met}"
                )?;
            }
            None => {
                writeln!(text, "{case:<34} {to:<32} {distance:<5} {:>8} {target:>8.3}", "-")?;
            }
        }
    }
    for (key, subject, word) in [("failed", "case", "failed"), ("left_out", "peer", "left out")] {
        for it in list(key) {
            let [subject, why] = [subject, "why"].map(|key| it[key].as_str().unwrap_or(""));
            writeln!(text, "\n{word}: {subject}: {why}")?;
        }
    }
    Ok(())
}
