//! What the project's front page shows of a run: two groups of the page's bars, as an SVG that
//! stands alone, light and dark; and a table of a few cases in nanoseconds.

use std::fmt::Write;

use serde_json::Value;

use super::bars::Bar;
use super::plot::Tone;
use super::text::escaped;
use super::{Shown, View};

const WIDTH: f64 = 860.0;
/// From the top of one bar to the top of the next.
const ROW: f64 = 16.0;
const BAR: f64 = 11.0;
const TOP: f64 = 27.0;
/// Below the bars: what colours mean, and where the figures come from.
const BELOW: f64 = 40.0;
/// Of each group: where bars begin, and how long they can be.
const BARS: [(f64, f64); 2] = [(187.0, 160.0), (623.0, 166.0)];

/// Queues beside the ring: the fastest of each kind, and what every machine has. The page has all.
const PEERS: [&str; 7] =
    ["disruptor", "rtrb", "crossbar", "tachyon", "ringfire", "iceoryx2", "pipe"];
/// The ring's own: both sides exclusive.
const OWN: [&str; 2] = ["exclusive", "exclusive, no timestamps"];

/// The page's colours, and text that suits a page of text.
const STYLE: &str = "\
svg{--ink:#1c1b19;--soft:#6f6b63;--own:#d1431f;--process:#3b5f8a;--thread:#7d8f9f;--limit:#b9b09b}\
@media (prefers-color-scheme:dark){svg{--ink:#ece9e2;--soft:#9a968d;--own:#ff6d45;\
--process:#6f9fd4;--thread:#7e8e9b;--limit:#6d6656}}\
text{fill:var(--ink);font:12px system-ui,'Segoe UI',Roboto,'Helvetica Neue','DejaVu Sans',\
sans-serif}.title{font-weight:600;font-size:13.5px}.soft,.soft tspan{fill:var(--soft);\
font-size:11.5px}text.own{fill:var(--own);font-weight:600}\
rect.own{fill:var(--own)}rect.process{fill:var(--process)}rect.thread{fill:var(--thread)}\
rect.limit{fill:var(--limit)}";

/// What the front page calls a case.
fn label(bar: &Bar) -> String {
    match bar.label.as_str() {
        "exclusive" => "UltraFastRing".into(),
        "exclusive, no timestamps" => "UltraFastRing, unstamped".into(),
        "raw stream" | "raw line" => "cache lines alone".into(),
        other => other.to_string(),
    }
}

/// The bars of one group. `x` is where they begin, `length` how long they can be.
fn group(svg: &mut String, (x, length): (f64, f64), title: &str, note: &str, bars: &[Bar]) {
    // The string takes all that is written.
    let _ = write!(
        svg,
        "<text class=\"title\" x=\"{left}\" y=\"14\">{title} \
         <tspan class=\"soft\">{note}</tspan></text>",
        left = x - BARS[0].0 + 8.0,
    );
    for (at, bar) in bars.iter().enumerate() {
        let y = TOP + ROW * at as f64;
        let width = (length * bar.part.clamp(0.0, 1.0)).max(1.5);
        let _ = write!(
            svg,
            "<g><title>{tip}</title><text class=\"{tone}\" x=\"{before}\" y=\"{base}\" \
             text-anchor=\"end\">{label}</text><rect class=\"{tone}\" x=\"{x}\" y=\"{y}\" \
             width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\"/><text x=\"{behind:.1}\" \
             y=\"{base}\">{figure}</text></g>",
            tip = escaped(&bar.tip),
            tone = bar.tone.class(),
            label = escaped(&label(bar)),
            before = x - 8.0,
            base = y + BAR - 1.0,
            behind = x + width + 6.0,
            figure = escaped(&bar.said.figure),
        );
    }
}

/// What the colours mean.
fn key(svg: &mut String, y: f64) {
    let tones = [
        (Tone::Own, "UltraFastRing, between processes"),
        (Tone::Process, "peers between processes"),
        (Tone::Thread, "peers between threads"),
        (Tone::Limit, "limit: one cache line per message"),
    ];
    let mut x = 8.0;
    for (tone, text) in tones {
        let _ = write!(
            svg,
            "<rect class=\"{}\" x=\"{x}\" y=\"{}\" width=\"10\" height=\"10\" rx=\"2\"/>\
             <text class=\"soft\" x=\"{}\" y=\"{y}\">{text}</text>",
            tone.class(),
            y - 9.0,
            x + 16.0,
        );
        // About as wide as the letters are.
        x += 36.0 + 6.2 * text.len() as f64;
    }
}

fn is_shown(it: &Shown) -> bool {
    match it.tone() {
        Tone::Own => OWN.contains(&it.text("peer")),
        Tone::Limit => true,
        _ => PEERS.contains(&it.text("peer")),
    }
}

/// The distance that has most figures.
fn view(report: &Value) -> View<'_> {
    let [near, far] = ["near", "far"].map(|distance| View::new(report, distance));
    if near.shown.len() > far.shown.len() { near } else { far }
}

/// The rows of the table: what they are called, the case's name, and a pipe's.
const ROWS: [[&str; 3]; 3] = [
    ["one message of a stream, 256 slots", "exclusive 256", "pipe"],
    ["one message of a stream, 4,096 slots", "exclusive 4096", "pipe"],
    ["round trip", "exclusive round trip", "pipe round trip"],
];

/// The table, in Markdown; `None` if a case of it has no figure. The best peer is the one that also
/// works between processes.
pub(crate) fn table(report: &Value) -> Option<String> {
    let view = view(report);
    let find = |name: &str| view.shown.iter().find(|it| it.text("name") == name);
    let time = |it: &Shown| {
        let ns = it.median / view.per_ns;
        if ns < 99.95 { format!("{ns:.1}") } else { grouped(ns) }
    };
    let mut table = "\
| 40 bytes, in nanoseconds | UltraFastRing | unstamped | best peer between processes | pipe |
|---|---|---|---|---|
"
    .to_string();
    for [title, name, pipe] in ROWS {
        let own = find(name)?;
        let is_peer = |it: &&Shown| {
            let is_same = ["pattern", "bytes"].iter().all(|key| it.case[key] == own.case[key]);
            let is_as_large = [0, own.number("capacity")].contains(&it.number("capacity"));
            is_same && is_as_large && it.tone() == Tone::Process
        };
        let peers = view.shown.iter().filter(is_peer);
        let best = peers.min_by(|one, other| one.median.total_cmp(&other.median))?;
        let unstamped = find(&format!("{name}, no timestamps"))?;
        // The string takes all that is written.
        let _ = writeln!(
            table,
            "| {title} | **{}** | {} | {} ({}) | {} |",
            time(own),
            time(unstamped),
            time(best),
            best.text("peer"),
            time(find(pipe)?),
        );
    }
    Some(table)
}

/// A number with its thousands apart.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let comma = |(at, digit)| {
        let is_group = at > 0 && (digits.len() - at) % 3 == 0;
        [is_group.then_some(','), Some(digit)].into_iter().flatten()
    };
    digits.chars().enumerate().flat_map(comma).collect()
}

/// An SVG of the ring beside a few peers, at the distance that `report` has most figures of; `None`
/// if it has none of either group.
pub(crate) fn picture(report: &Value) -> Option<String> {
    let view = view(report);
    let of = |pattern: &str, capacity: u64| -> Vec<Shown> {
        let is_of = |it: &Shown| [0, capacity].contains(&it.number("capacity"));
        view.of(pattern, 40).into_iter().filter(|it| is_of(it) && is_shown(it)).collect()
    };
    let stream = view.throughput(&of("stream", 256));
    let round_trip = view.times(&of("round trip", 256));
    if stream.is_empty() || round_trip.is_empty() {
        return None;
    }
    let rows = stream.len().max(round_trip.len());
    let bottom = TOP + ROW * rows as f64;
    let height = bottom + BELOW;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\" aria-label=\"Messages per second and \
         round trips of UltraFastRing and its peers\"><style>{STYLE}</style>"
    );
    group(&mut svg, BARS[0], "Messages per second", "256 slots; longer is better", &stream);
    group(&mut svg, BARS[1], "Round trip", "logarithmic; shorter is better", &round_trip);
    key(&mut svg, bottom + 14.0);
    let machine = &report["machine"];
    let _ = writeln!(
        svg,
        "<text class=\"soft\" x=\"8\" y=\"{y}\">40 bytes, two cores of {processor}{virtual}; \
         medians of {rounds} rounds, every message checked. versus {version}</text></svg>",
        y = height - 6.0,
        processor = escaped(machine["processor"].as_str().unwrap_or("a processor")),
        virtual = if machine["virtual"] == true { ", virtual" } else { "" },
        rounds = report["run"]["rounds"],
        version = escaped(report["run"]["version"].as_str().unwrap_or("")),
    );
    Some(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Value {
        serde_json::from_str(include_str!("../../results/xeon/results.json")).unwrap()
    }

    #[test]
    fn the_picture_that_is_kept_is_the_one_of_the_run_that_is_kept() {
        let is_same = picture(&kept()).unwrap() == include_str!("../../results/xeon/picture.svg");
        assert!(is_same, "`versus --page crates/versus/results/xeon` draws it again");
    }

    #[test]
    fn the_front_page_shows_the_figures_of_the_run_that_is_kept() {
        let table = table(&kept()).unwrap();
        assert!(include_str!("../../../../README.md").contains(&table), "README.md lacks\n{table}");
    }

    #[test]
    fn a_run_without_these_figures_has_neither() {
        let report = serde_json::json!({ "cases": [] });
        assert_eq!((picture(&report), table(&report)), (None, None));
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(["388", "1,264", "59,773"], [388.1, 1263.6, 59_772.8].map(grouped)[..]);
    }
}
