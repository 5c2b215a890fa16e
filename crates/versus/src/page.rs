//! The JSON as a page: self-contained, light and dark, without a script.
//!
//! `bars` draws bars as boxes of the page, so that their labels flow with it, and `plot` draws
//! curves. `front` draws two groups of these bars as an SVG that stands alone. Near and far are
//! shown one at a time; two radio buttons choose.

mod bars;
mod front;
mod plot;
mod text;

use std::fmt::Write;

use serde_json::Value;

use bars::{Bar, Said};
pub(crate) use front::{picture, table};
use plot::{Axis, Series, Tone};
use text::{escaped, short};

const STYLE: &str = include_str!("page/style.css");

/// Nanoseconds, or microseconds where they are many.
fn time(ns: f64) -> String {
    match ns {
        ..9_950.0 => format!("{ns:.0} ns"),
        _ => format!("{:.1} µs", ns / 1e3),
    }
}

/// A case with a figure at the distance that is shown.
#[derive(Clone, Copy)]
struct Shown<'r> {
    case: &'r Value,
    figure: &'r Value,
    median: f64,
}

impl<'r> Shown<'r> {
    fn text(&self, key: &str) -> &'r str {
        self.case[key].as_str().unwrap_or("")
    }

    fn number(&self, key: &str) -> u64 {
        self.case[key].as_u64().unwrap_or(0)
    }

    fn quartiles(&self) -> [f64; 2] {
        [0, 1].map(|at| self.figure["quartiles"][at].as_f64().unwrap_or(self.median))
    }

    fn tone(&self) -> Tone {
        match (self.case["own"] == true, self.case["limit"] == true) {
            (true, _) => Tone::Own,
            (_, true) => Tone::Limit,
            _ if self.text("across") == "processes" => Tone::Process,
            _ => Tone::Thread,
        }
    }

    /// Who it is, as it is called in a plot that says all else.
    fn who(&self) -> String {
        match self.text("peer") {
            "raw" => match self.text("pattern") {
                "round trip" | "paced" => "raw line".into(),
                "batches" => "raw packed".into(),
                _ => "raw stream".into(),
            },
            peer => peer.to_string(),
        }
    }
}

/// What is to be seen at one distance.
struct View<'r> {
    shown: Vec<Shown<'r>>,
    per_ns: f64,
}

impl<'r> View<'r> {
    fn new(report: &'r Value, distance: &str) -> Self {
        let cases = report["cases"].as_array().map_or(&[][..], |cases| cases);
        let shown = cases.iter().filter_map(|case| {
            let figure = &case[distance];
            Some(Shown { case, figure, median: figure["median"].as_f64()? })
        });
        let per_second = report["machine"]["ticks_per_second"].as_f64();
        Self { shown: shown.collect(), per_ns: per_second.unwrap_or(1e9) / 1e9 }
    }

    /// Those of a pattern with messages of `bytes`, the least first.
    fn of(&self, pattern: &str, bytes: u64) -> Vec<Shown<'r>> {
        let is = |it: &&Shown| it.text("pattern") == pattern && it.number("bytes") == bytes;
        let mut found: Vec<_> = self.shown.iter().filter(is).copied().collect();
        found.sort_by(|one, other| one.median.total_cmp(&other.median));
        found
    }

    fn tip(&self, it: &Shown) -> String {
        let [low, high] = it.quartiles();
        let mut tip = format!(
            "{}, between {}: {:.1} {} ({:.1} to {:.1}, {} readings), {:.1} ns",
            it.text("name"),
            it.text("across"),
            it.median,
            it.text("unit"),
            low,
            high,
            it.figure["readings"],
            it.median / self.per_ns,
        );
        for key in ["limit", "best_peer"] {
            if let (Some(name), Some(ratio)) =
                (it.figure[key]["name"].as_str(), it.figure[key]["ratio"].as_f64())
            {
                // The string takes all that is written.
                let _ = write!(tip, "; {ratio:.2} times {name}");
            }
        }
        tip
    }

    fn bar(&self, it: &Shown, part: f64, spread: [f64; 2], said: Said) -> Bar {
        Bar { label: it.who(), tone: it.tone(), tip: self.tip(it), part, spread, said }
    }

    /// Messages per second; the longest bar is the most.
    fn throughput(&self, cases: &[Shown]) -> Vec<Bar> {
        let per_second = |ticks: f64| 1e3 * self.per_ns / ticks;
        let most = cases.iter().map(|it| per_second(it.median)).fold(0.0, f64::max);
        let bar = |it: &Shown| {
            let [low, high] = it.quartiles().map(|ticks| per_second(ticks) / most);
            let said = Said::new(millions(per_second(it.median))).and_ticks(it.median);
            self.bar(it, per_second(it.median) / most, [high, low], said)
        };
        cases.iter().map(bar).collect()
    }

    /// Times; the longest bar is the longest, on a logarithmic scale that begins below the least.
    fn times(&self, cases: &[Shown]) -> Vec<Bar> {
        let least = cases.iter().map(|it| it.median).fold(f64::INFINITY, f64::min) / 2.0;
        let most = cases.iter().map(|it| it.median).fold(0.0, f64::max);
        let part = |ticks: f64| (ticks / least).ln() / (most / least).ln();
        let bar = |it: &Shown| {
            let said = Said::new(time(it.median / self.per_ns)).and_ticks(it.median);
            self.bar(it, part(it.median), it.quartiles().map(part), said)
        };
        cases.iter().map(bar).collect()
    }

    fn shares(&self, cases: &[Shown]) -> Vec<Bar> {
        let bar = |it: &Shown| {
            let spread = it.quartiles().map(|share| share / 100.0);
            self.bar(it, it.median / 100.0, spread, Said::new(format!("{:.1} %", it.median)))
        };
        cases.iter().map(bar).collect()
    }

    /// One curve for each peer over what `at` says of a case.
    fn series(&self, cases: &[Shown<'r>], at: impl Fn(&Shown) -> f64) -> Vec<Series> {
        let mut series: Vec<Series> = vec![];
        for it in cases {
            let name = it.who();
            let point = (at(it), it.median, self.tip(it));
            match series.iter_mut().find(|series| series.name == name) {
                Some(series) => series.points.push(point),
                None => series.push(Series { name, tone: it.tone(), points: vec![point] }),
            }
        }
        for series in &mut series {
            series.points.sort_by(|one, other| one.0.total_cmp(&other.0));
        }
        series
    }

    fn latencies(&self) -> Vec<Series> {
        let curve = |it: &Shown| {
            let points = it.figure["latency_ns"]["curve"].as_array()?.iter().filter_map(|point| {
                let (quantile, ns) = (point[0].as_f64()?, point[1].as_f64()?);
                let tip =
                    format!("{}: {:.3} % within {} ns", it.who(), 100.0 * quantile, short(ns));
                Some((nines(quantile), ns, tip))
            });
            Some(Series { name: it.who(), tone: it.tone(), points: points.collect() })
        };
        self.of("paced", 40).iter().filter_map(curve).collect()
    }

    fn body(&self) -> String {
        let mut body = String::new();
        let mut figure = |title: &str, text: &str, plot: String| {
            if !plot.is_empty() {
                let _ = write!(
                    body,
                    "<section><h2>{title}</h2><p class=\"lead\">{text}</p>{plot}</section>"
                );
            }
        };
        let streams = self.of("stream", 40);
        let at = |capacity: u64| -> Vec<_> {
            let is = |it: &&Shown| [0, capacity].contains(&it.number("capacity"));
            streams.iter().filter(is).copied().collect()
        };
        for capacity in [256, 4096] {
            figure(
                &format!("One sends, one receives, {capacity} slots"),
                "Million messages of 40 bytes a second, each of them checked; a longer bar is \
                 better. The thin line is the middle half of the readings.",
                bars::html(&self.throughput(&at(capacity))),
            );
        }
        figure(
            "There and back",
            "A message answered by a message. The scale is logarithmic; a shorter bar is better.",
            bars::html(&self.times(&self.of("round trip", 40))),
        );
        figure(
            "At fixed times",
            "A message every few microseconds, counted from when it was due: how long all but so \
             many had to wait. Both scales are logarithmic; lower is better, and flatter is calmer.",
            plot::curves(
                &self.latencies(),
                &Axis::marks(
                    "of all messages",
                    &[
                        (nines(0.0), "0"),
                        (nines(0.9), "90 %"),
                        (nines(0.99), "99 %"),
                        (nines(0.999), "99.9 %"),
                        (nines(0.9999), "99.99 %"),
                    ],
                ),
                "nanoseconds",
            ),
        );
        figure(
            "Cost against capacity",
            "Ticks a message in a stream between two cores; lower is better.",
            plot::curves(
                &many(self.series(&streams, |it| (it.number("capacity").max(1) as f64).log2())),
                &Axis::marks(
                    "slots",
                    &[
                        (6.0, "64"),
                        (8.0, "256"),
                        (10.0, "1,024"),
                        (12.0, "4,096"),
                        (14.0, "16,384"),
                        (16.0, "65,536"),
                    ],
                ),
                "ticks a message",
            ),
        );
        let place = |it: &Shown| {
            let both = (it.number("producers") as usize, it.number("consumers") as usize);
            crate::peer::CROWDS.iter().position(|&crowd| crowd == both)
        };
        // Few are of other crowds, and stand in the table.
        let mut crowds = self.of("crowd", 40);
        crowds.retain(|it| place(it).is_some());
        let place = |it: &Shown| place(it).unwrap_or(0) as f64;
        let marks: Vec<_> = crate::peer::CROWDS
            .iter()
            .enumerate()
            .map(|(at, crowd)| (at as f64, format!("{} → {}", crowd.0, crowd.1)))
            .collect();
        let marks: Vec<_> = marks.iter().map(|(at, text)| (*at, &text[..])).collect();
        figure(
            "Cost against producers and consumers",
            "Ticks a message with so many threads of each side on two cores; lower is better. With \
             more threads than cores it shows who waits for a thread that is not running.",
            plot::curves(
                &many(self.series(&crowds, place)),
                &Axis::marks("producers → consumers", &marks),
                "ticks a message",
            ),
        );
        figure(
            "Several at a time",
            "Ticks a message when so many are handed over together, from memory and into memory; \
             lower is better.",
            plot::curves(
                &many(
                    self.series(&self.of("batches", 40), |it| (it.number("batch") as f64).log2()),
                ),
                &Axis::marks(
                    "messages in a batch",
                    &[(0.0, "1"), (2.0, "4"), (4.0, "16"), (6.0, "64")],
                ),
                "ticks a message",
            ),
        );
        let mut in_place = self.of("in place", 40);
        let same = |it: &Shown| it.text("pattern") == "batches" && it.number("batch") == 16;
        let own = self.shown.iter().filter(|it| same(it) && it.tone() != Tone::Process);
        in_place.extend(own.filter(|it| it.tone() != Tone::Thread));
        in_place.sort_by(|one, other| one.median.total_cmp(&other.median));
        if in_place.iter().any(|it| it.text("pattern") == "in place") {
            figure(
                "Sixteen at a time, in place",
                "Million messages a second where a queue lets its users write and read where \
                 messages lie; the ring beside them copies from memory and into memory.",
                bars::html(&self.throughput(&in_place)),
            );
        }
        figure(
            "Small messages",
            "Million messages of 8 bytes a second, 256 slots.",
            bars::html(&self.throughput(&self.of("stream", 8))),
        );
        figure(
            "One thread",
            "A message sent and received by the same thread, million a second: what a queue costs \
             when no line has to travel.",
            bars::html(&self.throughput(&self.of("one thread", 40))),
        );
        figure(
            "Nothing to do",
            "How much of a core a receiver uses while nothing comes, waiting as its queue lets it.",
            bars::html(&self.shares(&self.of("idle", 40))),
        );
        body
    }
}

fn millions(number: f64) -> String {
    match number {
        ..0.0995 => format!("{:.0} k/s", 1e3 * number),
        ..9.95 => format!("{number:.2} M/s"),
        _ => format!("{number:.1} M/s"),
    }
}

/// Where a quantile stands: one nine more is one step further.
fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).log10()
}

/// Those with several points: one is no curve.
fn many(series: Vec<Series>) -> Vec<Series> {
    series.into_iter().filter(|series| series.points.len() > 2).collect()
}

/// Of all targets at a distance, what was reached.
fn targets(report: &Value, distance: &str) -> String {
    let all = report["targets"].as_array().map_or(&[][..], |all| all);
    let rows: String = all
        .iter()
        .filter(|it| it["distance"] == distance)
        .map(|it| {
            let [case, to] = ["case", "to"].map(|key| escaped(it[key].as_str().unwrap_or("")));
            let target = it["target"].as_f64().unwrap_or(0.0);
            let (class, word, reached) = match it["reached"].as_f64() {
                Some(reached) if reached <= target => ("met", "met", format!("{reached:.2}")),
                Some(reached) => ("missed", "missed", format!("{reached:.2}")),
                None => ("none", "no figure", "–".into()),
            };
            format!(
                "<tr class=\"{class}\"><td>{case}</td><td>{to}</td><td class=\"n\">{reached}</td>\
                 <td class=\"n\">{target:.2}</td><td><span class=\"chip\">{word}</span></td></tr>"
            )
        })
        .collect();
    if rows.is_empty() {
        return rows;
    }
    format!(
        "<section><h2>What was aimed at</h2><p class=\"lead\">Ratios of medians of this run at this \
         distance; at most the target. The floor is the larger of a time stamp and the raw stream \
         of lines.</p><div class=\"wide\"><table><thead><tr><th>case</th><th>to</th>\
         <th class=\"n\">ratio</th><th class=\"n\">target</th><th></th></tr></thead>\
         <tbody>{rows}</tbody></table></div></section>"
    )
}

/// Every figure, and every refusal.
fn all_figures(report: &Value, distance: &str) -> String {
    let cases = report["cases"].as_array().map_or(&[][..], |cases| cases);
    let number = |value: &Value| value.as_f64().map_or("–".into(), |it| format!("{it:.1}"));
    let ratio = |value: &Value| value.as_f64().map_or("–".into(), |it| format!("{it:.2}"));
    let rows: String = cases
        .iter()
        .filter(|case| !case[distance].is_null())
        .map(|case| {
            let figure = &case[distance];
            let [name, unit, across] =
                ["name", "unit", "across"].map(|key| escaped(case[key].as_str().unwrap_or("")));
            let what = match figure["refused"].as_str() {
                Some(refusal) => {
                    format!("<td colspan=\"4\" class=\"refused\">refused, {}</td>", escaped(refusal))
                }
                None => format!(
                    "<td class=\"n\"><b>{}</b></td><td class=\"n\">{} to {}</td>\
                     <td class=\"n\">{}</td><td class=\"n\">{}</td>",
                    number(&figure["median"]),
                    number(&figure["quartiles"][0]),
                    number(&figure["quartiles"][1]),
                    ratio(&figure["limit"]["ratio"]),
                    ratio(&figure["best_peer"]["ratio"]),
                ),
            };
            format!(
                "<tr><td>{name}</td><td>{across}</td>{what}<td class=\"n\">{}</td><td>{unit}</td></tr>",
                figure["readings"],
            )
        })
        .collect();
    format!(
        "<details><summary>Every figure</summary><div class=\"wide\"><table><thead><tr><th>case</th>\
         <th>between</th><th class=\"n\">median</th><th class=\"n\">middle half</th>\
         <th class=\"n\">× limit</th><th class=\"n\">× best peer</th><th class=\"n\">readings</th>\
         <th>unit</th></tr></thead><tbody>{rows}</tbody></table></div></details>"
    )
}

/// What the page begins with: the ring beside the best of each kind.
fn headline(view: &View) -> String {
    let find = |name: &str| view.shown.iter().find(|it| it.text("name") == name);
    let mut tiles = String::new();
    let mut tile = |name: &str, what: &str, said: &dyn Fn(&Shown) -> String| {
        if let Some(it) = find(name) {
            let ratio = it.figure["best_peer"]["ratio"]
                .as_f64()
                .zip(it.figure["best_peer"]["name"].as_str());
            let beside = ratio
                .map_or(String::new(), |(ratio, peer)| format!("{ratio:.2} × {}", escaped(peer)));
            let _ = write!(
                tiles,
                "<div class=\"tile\"><div class=\"what\">{what}</div><div class=\"big\">{}</div>\
                 <div class=\"beside\">{beside}</div></div>",
                said(it)
            );
        }
    };
    let per_ns = view.per_ns;
    let rate =
        |it: &Shown| format!("{:.0}<small>million a second</small>", 1e3 * per_ns / it.median);
    let wait = |it: &Shown| format!("{:.0}<small>nanoseconds</small>", it.median / per_ns);
    tile("exclusive 4096", "stream, everything on", &rate);
    tile("exclusive 4096, no timestamps", "stream, no timestamps", &rate);
    tile("exclusive 256, batches of 16", "batches of 16", &rate);
    tile("exclusive round trip", "there and back", &wait);
    tile("shared 256, 4 to 4 threads", "4 to 4 threads, 2 cores", &rate);
    tile("exclusive paced", "paced, 99.9 % within", &wait);
    if tiles.is_empty() { tiles } else { format!("<div class=\"tiles\">{tiles}</div>") }
}

pub(crate) fn render(report: &Value) -> String {
    let (machine, run) = (&report["machine"], &report["run"]);
    let text = |value: &Value| escaped(value.as_str().unwrap_or("not known"));
    let views: Vec<_> = ["near", "far"]
        .into_iter()
        .map(|distance| (distance, View::new(report, distance)))
        .filter(|(_, view)| !view.shown.is_empty())
        .collect();
    let mut choices = String::new();
    let mut bodies = String::new();
    for (at, (distance, view)) in views.iter().enumerate() {
        let checked = if at == 0 { " checked" } else { "" };
        let line = view.shown.iter().find(|it| it.text("name") == "raw line");
        let line = line.map_or(String::new(), |it| {
            format!(" <i>a line there and back in {:.0} ns</i>", it.median / view.per_ns)
        });
        let _ = write!(
            choices,
            "<input type=\"radio\" name=\"distance\" id=\"{distance}\"{checked}>\
             <label for=\"{distance}\">{distance}{line}</label>"
        );
        let _ = write!(
            bodies,
            "<div class=\"at {distance}\">{}{}{}{}</div>",
            headline(view),
            view.body(),
            targets(report, distance),
            all_figures(report, distance),
        );
    }
    if views.is_empty() {
        bodies = "<section><h2>No figures</h2><p class=\"lead\">Every reading was refused or \
                  dropped: the distance of the cores kept changing, or too much else ran.</p>\
                  </section>"
            .into();
    }
    let mut apart = String::new();
    for (key, subject) in [("failed", "case"), ("left_out", "peer")] {
        for it in report[key].as_array().into_iter().flatten() {
            let _ = write!(apart, "<li><b>{}</b>: {}</li>", text(&it[subject]), text(&it["why"]));
        }
    }
    if !apart.is_empty() {
        apart = format!("<section><h2>Not measured</h2><ul>{apart}</ul></section>");
    }
    let ghz = machine["ticks_per_second"].as_f64().unwrap_or(0.0) / 1e9;
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <title>UltraFastRing and its peers</title><style>{STYLE}</style></head><body><main>\
         <header><p class=\"kicker\">versus {version}</p><h1>UltraFastRing and its peers</h1>\
         <p class=\"intro\">One run, the same loops and rules for all: pinned, in interleaved \
         rounds, every message checked. Medians of {kept} readings in {rounds} rounds; {moved} more \
         were dropped because the distance between the cores changed, {disturbed} because a core \
         was taken away.</p>\
         <p class=\"machine\">{processor}{virtual}, {cores} cores, {ghz:.2} ticks a nanosecond · \
         Linux {kernel} · governor {governor} · {compiler}</p></header>\
         {choices}\
         <div class=\"key\"><span class=\"own\">UltraFastRing</span>\
         <span class=\"process\">between processes</span><span class=\"thread\">between threads\
         </span><span class=\"limit\">limit of the machine</span></div>\
         {bodies}{apart}\
         <footer>Near and far are two distances at which cores are found: under 600 ticks for \
         a cache line there and back, or more. A figure from fewer than five readings, or \
         that is not known to within 30 %, is refused. Hold the pointer over a bar or a \
         point for its figures.</footer></main></body></html>\n",
        version = text(&run["version"]),
        kept = run["readings_kept"],
        rounds = run["rounds"],
        moved = run["readings_dropped"]["moved"],
        disturbed = run["readings_dropped"]["disturbed"],
        processor = text(&machine["processor"]),
        virtual = if machine["virtual"] == true { ", virtual" } else { "" },
        cores = machine["cores"],
        kernel = text(&machine["kernel"]),
        governor = text(&machine["governor"]),
        compiler = text(&machine["compiler"]),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report() -> Value {
        let figure =
            |median: f64| json!({ "median": median, "quartiles": [median, median], "readings": 9 });
        let case = |name: &str, own: bool, near: Value, capacity: u64| {
            json!({
                "name": format!("{name} {capacity}"), "peer": name, "own": own, "limit": false,
                "pattern": "stream", "unit": "ticks a message", "across": "threads",
                "capacity": capacity, "bytes": 40, "batch": 1, "producers": 1, "consumers": 1,
                "near": near, "far": null,
            })
        };
        json!({
            "machine": { "ticks_per_second": 2.6e9, "processor": "<a processor>", "cores": 2 },
            "run": { "rounds": 9, "readings_kept": 27, "readings_dropped": {} },
            "cases": [
                case("exclusive", true, figure(26.0), 256),
                case("rtrb", false, figure(52.0), 256),
                case("rtrb", false, figure(52.0), 1024),
                case("rtrb", false, figure(60.0), 4096),
                case("kanal", false, json!({ "readings": 3, "refused": "too few readings: 3" }), 256),
            ],
            "targets": [], "failed": [], "left_out": [{ "peer": "tachyon", "why": "no compiler" }],
        })
    }

    #[test]
    fn a_page_shows_what_was_measured_and_says_what_was_not() {
        let page = render(&report());
        for part in ["100.0 M/s", "50.0 M/s", "refused, too few readings: 3", "no compiler"] {
            assert!(page.contains(part), "{part}");
        }
        // Nobody who is refused has a bar.
        assert!(!page.contains("<span class=\"who\">kanal"));
        assert!(page.contains("&lt;a processor&gt;") && !page.contains("<a processor>"));
    }

    #[test]
    fn a_page_needs_nothing_from_outside() {
        let page = render(&report());
        for word in ["http:", "https:", "src=", "@import", "url(", "<script", "<link"] {
            assert!(!page.contains(word), "{word}");
        }
    }

    #[test]
    fn a_run_without_figures_says_so() {
        let mut report = report();
        report["cases"] = json!([]);
        assert!(render(&report).contains("No figures"));
    }
}
