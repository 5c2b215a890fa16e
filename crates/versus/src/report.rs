//! What the readings say: medians by distance, ratios, what was aimed at; as JSON, and as tables
//! made from it.

use std::fmt::Write;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use crate::case::{Across, Case, Pattern};
use crate::machine;
use crate::measure::{CaseReadings, Distance, Readings};
use crate::target::{Of, TARGETS};

/// Fewer readings than this make no median.
const FEWEST: usize = 5;

/// A median that may lie anywhere in a range wider than this part of it is refused.
const WIDEST: f64 = 0.3;

/// How far from the middle that range reaches, in the root of the number of readings: with 95 %
/// certainty, half of 1.96 standard deviations of the number of readings below the true median,
/// which is binomial. Nothing is assumed of how readings are distributed.
const CERTAIN: f64 = 1.96 / 2.0;

/// A median, its spread, and how certain it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Middle {
    quarter: f64,
    half: f64,
    three_quarters: f64,
    /// Width of the range in which the true median is.
    uncertain: f64,
    readings: usize,
}

impl Middle {
    pub(crate) fn of(readings: &[f64]) -> Option<Self> {
        if readings.is_empty() {
            return None;
        }
        let mut sorted = readings.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |part: usize| sorted[(sorted.len() - 1) * part / 4];
        let count = sorted.len() as f64;
        // Half a reading for what a normal distribution leaves out of a binomial one.
        let below = (count / 2.0 - CERTAIN * count.sqrt() - 0.5).max(0.0) as usize;
        Some(Self {
            quarter: at(1),
            half: at(2),
            three_quarters: at(3),
            uncertain: sorted[sorted.len() - 1 - below] - sorted[below],
            readings: sorted.len(),
        })
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.refusal().is_none()
    }

    fn refusal(&self) -> Option<String> {
        if self.readings < FEWEST {
            Some(format!("too few readings: {}", self.readings))
        } else if self.uncertain > WIDEST * self.half {
            let part = 100.0 * self.uncertain / self.half;
            Some(format!("too noisy: median uncertain by {part:.0} %"))
        } else {
            None
        }
    }
}

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
        other.case.is_of_a_peer()
            && other.case.is_like(case)
            && across.is_none_or(|across| other.case.across == across)
    });
    let figures = peers.filter_map(|it| Some((&it.case.name[..], sound(it, distance)?)));
    figures.min_by(|one, other| one.1.total_cmp(&other.1))
}

/// The limit of the machine for what `case` does.
fn limit(readings: &Readings, case: &Case, distance: Distance) -> Option<(String, f64)> {
    if case.pattern == Pattern::OneThread {
        return Some(("2 rdtsc".into(), 2.0 * sound_by_name(readings, "rdtsc", distance)?));
    }
    if case.pattern == Pattern::Limit {
        let name = crate::waiting::limit_of(&case.name)?;
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

fn targets(readings: &Readings) -> Vec<Value> {
    let seen = |distance: Distance| {
        readings.cases.iter().any(|case| !case.values[distance as usize].is_empty())
    };
    let mut outcomes = vec![];
    for distance in Distance::ALL.into_iter().filter(|&distance| seen(distance)) {
        for target in TARGETS {
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
    if let Some(histogram) = &case.latency[distance as usize] {
        figure.insert("latency_ns".into(), latency(histogram, per_ns));
    }
    figure.into()
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
    let failed = readings.failed.iter().map(|(case, why)| json!({ "case": case, "why": why }));
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
    format!("{median:9.1} {spread:<20} {readings:>4} {limit} {best}")
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
                "\n{distance}, {unit}: median (middle half), readings, times the limit, times the best peer\n"
            )?;
            for case in cases.iter().filter(|case| case["unit"] == *unit) {
                let name = case["name"].as_str().unwrap_or("");
                writeln!(text, "{name:<46} {}", cell(&case[distance]))?;
            }
        }
    }
    let paced: Vec<_> = cases.iter().filter(|case| case["pattern"] == "paced").collect();
    if !paced.is_empty() {
        writeln!(text, "\nmessages at fixed times, nanoseconds from when each was due\n")?;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// `counts` readings of each value.
    fn refusal(counts: &[(usize, f64)]) -> Option<String> {
        let readings: Vec<_> =
            counts.iter().flat_map(|&(count, value)| vec![value; count]).collect();
        Middle::of(&readings).unwrap().refusal()
    }

    #[test]
    fn a_median_that_is_certain_counts_however_far_single_readings_stray() {
        assert_eq!(refusal(&[(26, 100.0)]), None);
        assert_eq!(refusal(&[(10, 90.0), (10, 100.0), (6, 900.0)]), None);
        assert_eq!(refusal(&[(50, 90.0), (50, 100.0), (30, 900.0)]), None);
    }

    #[test]
    fn a_median_that_may_be_elsewhere_is_refused() {
        // Of two ways to run, either may be the usual one.
        let refused = Some("too noisy: median uncertain by 100 %".to_string());
        assert_eq!(refusal(&[(14, 100.0), (12, 200.0)]), refused);
        assert_eq!(refusal(&[(68, 100.0), (62, 200.0)]), refused);
        // Of few readings, all count.
        assert_eq!(refusal(&[(6, 100.0), (1, 200.0)]), refused);
        assert_eq!(refusal(&[(4, 100.0)]), Some("too few readings: 4".into()));
    }
}
