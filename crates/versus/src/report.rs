//! What the readings say: medians by distance, what was aimed at, a table, JSON.

use serde_json::{Map, Value, json};

use crate::machine::Cores;

/// How far the two cores are from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Distance {
    Near,
    Far,
}

/// Fewer readings than this make no median.
const FEWEST: usize = 5;

/// A median whose middle half is wider than this part of it is refused.
const WIDEST: f64 = 0.5;

impl Distance {
    const ALL: [Self; 2] = [Self::Near, Self::Far];

    /// By the ticks of a line there and back; `None` where it is neither one nor the other.
    pub(crate) fn of(line: f64) -> Option<Self> {
        match line {
            ..600.0 => Some(Self::Near),
            900.0..3_000.0 => Some(Self::Far),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Near => "near",
            Self::Far => "far",
        }
    }
}

/// A median and its spread.
#[derive(Clone, Copy, Debug)]
struct Middle {
    quarter: f64,
    half: f64,
    three_quarters: f64,
    readings: usize,
}

impl Middle {
    fn of(readings: &[f64]) -> Option<Self> {
        if readings.is_empty() {
            return None;
        }
        let mut sorted = readings.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |part: usize| sorted[(sorted.len() - 1) * part / 4];
        Some(Self { quarter: at(1), half: at(2), three_quarters: at(3), readings: sorted.len() })
    }

    fn is_sound(&self) -> bool {
        self.readings >= FEWEST && self.three_quarters - self.quarter <= WIDEST * self.half
    }
}

/// The readings of one case.
#[derive(Debug)]
struct Case {
    name: &'static str,
    /// By distance.
    ticks: [Vec<f64>; 2],
    dropped: usize,
}

/// All readings of a run.
#[derive(Debug)]
pub(crate) struct Readings {
    pub(crate) cores: Cores,
    cases: Vec<Case>,
    lines: Vec<f64>,
}

impl Readings {
    pub(crate) fn new(cores: Cores, names: impl Iterator<Item = &'static str>) -> Self {
        let cases = names.map(|name| Case { name, ticks: [vec![], vec![]], dropped: 0 }).collect();
        Self { cores, cases, lines: vec![] }
    }

    pub(crate) fn line(&mut self, ticks: f64) {
        self.lines.push(ticks);
    }

    pub(crate) fn add(&mut self, case: usize, distance: Distance, ticks: f64) {
        self.cases[case].ticks[distance as usize].push(ticks);
    }

    pub(crate) fn drop_one(&mut self, case: usize) {
        self.cases[case].dropped += 1;
    }

    /// Whether there is a figure that is not refused.
    pub(crate) fn usable(&self) -> bool {
        Distance::ALL
            .iter()
            .any(|&at| self.cases.iter().any(|case| self.sound(case.name, at).is_some()))
    }

    fn middle(&self, name: &str, distance: Distance) -> Option<Middle> {
        let case = self.cases.iter().find(|case| case.name == name)?;
        Middle::of(&case.ticks[distance as usize])
    }

    fn sound(&self, name: &str, distance: Distance) -> Option<f64> {
        self.middle(name, distance).filter(Middle::is_sound).map(|middle| middle.half)
    }

    /// What `of` stands for at `distance`, in ticks.
    fn value(&self, of: Of, distance: Distance) -> Option<f64> {
        match of {
            Of::Case(name) => self.sound(name, distance),
            Of::Floor(stream) => {
                Some(self.sound("rdtsc", distance)?.max(self.sound(stream, distance)?))
            }
            Of::Timestamps(count) => Some(count * self.sound("rdtsc", distance)?),
        }
    }
}

/// What a case is compared with.
#[derive(Clone, Copy, Debug)]
enum Of {
    Case(&'static str),
    /// The larger of `rdtsc` and this raw stream.
    Floor(&'static str),
    /// So many timestamps.
    Timestamps(f64),
}

impl Of {
    fn name(self) -> String {
        match self {
            Self::Case(name) => name.to_string(),
            Self::Floor(stream) => format!("floor (rdtsc, {stream})"),
            Self::Timestamps(count) => format!("{count} rdtsc"),
        }
    }
}

/// A ratio that is aimed at.
struct Target {
    case: &'static str,
    to: Of,
    /// At most, near and far.
    most: [f64; 2],
}

const fn target(case: &'static str, to: Of, near: f64, far: f64) -> Target {
    Target { case, to, most: [near, far] }
}

const TARGETS: &[Target] = &[
    target("exclusive 256", Of::Floor("raw stream 256"), 1.6, 1.6),
    target("exclusive 4096", Of::Floor("raw stream 4096"), 1.2, 1.2),
    target("exclusive 256", Of::Case("pipe"), 1.0 / 20.0, 1.0 / 20.0),
    target("exclusive 4096", Of::Case("pipe"), 1.0 / 25.0, 1.0 / 25.0),
    target("exclusive 256, no timestamps", Of::Case("rtrb 256"), 1.15, 0.4),
    target("exclusive 4096, no timestamps", Of::Case("rtrb 4096"), 1.15, 0.4),
    target("shared 256", Of::Case("ArrayQueue 256"), 0.35, 0.35),
    target("shared 4096", Of::Case("ArrayQueue 4096"), 0.35, 0.35),
    target("&self 256", Of::Case("shared 256"), 1.3, 1.3),
    target("shared 256, 4 to 4 threads", Of::Case("shared 256"), 2.0, 2.0),
    target("round trip", Of::Case("rtrb round trip"), 1.0, 0.8),
    target("one thread", Of::Timestamps(2.0), 1.15, 1.15),
];

/// A target at a distance, and what was reached.
struct Outcome {
    case: &'static str,
    to: String,
    distance: Distance,
    most: f64,
    reached: f64,
}

fn outcomes(readings: &Readings) -> Vec<Outcome> {
    let at = |target: &Target, distance| {
        let reached =
            readings.sound(target.case, distance)? / readings.value(target.to, distance)?;
        Some(Outcome {
            case: target.case,
            to: target.to.name(),
            distance,
            most: target.most[distance as usize],
            reached,
        })
    };
    Distance::ALL
        .iter()
        .flat_map(|&distance| TARGETS.iter().filter_map(move |target| at(target, distance)))
        .collect()
}

fn cell(middle: Option<Middle>) -> String {
    match middle {
        None => "-".to_string(),
        Some(it) if it.is_sound() => format!(
            "{:.1} ({:.1} to {:.1}) n={}",
            it.half, it.quarter, it.three_quarters, it.readings
        ),
        Some(it) if it.readings < FEWEST => format!("refused: n={}", it.readings),
        Some(it) => {
            format!("refused: spread {:.0} %", 100.0 * (it.three_quarters - it.quarter) / it.half)
        }
    }
}

pub(crate) fn print(readings: &Readings, description: &Value) {
    if let Some(fields) = description.as_object() {
        for (name, value) in fields {
            println!("{:<24} {value}", name.replace('_', " "));
        }
    }
    println!("\nticks a message: median (middle half) and how many readings\n");
    println!("{:<32} {:<34} {:<34} dropped", "", "near", "far");
    for case in &readings.cases {
        let [near, far] = Distance::ALL.map(|at| cell(Middle::of(&case.ticks[at as usize])));
        println!("{:<32} {near:<34} {far:<34} {}", case.name, case.dropped);
    }
    println!("\n{:<32} {:<30} {:<5} {:>8} {:>8}", "ratio", "to", "", "reached", "target");
    for it in outcomes(readings) {
        println!(
            "{:<32} {:<30} {:<5} {:>8.3} {:>8.3}  {}",
            it.case,
            it.to,
            it.distance.name(),
            it.reached,
            it.most,
            if it.reached <= it.most { "met" } else { "missed" },
        );
    }
}

pub(crate) fn as_json(readings: &Readings, description: &Value) -> Value {
    let group = |middle: Option<Middle>| {
        middle.map(|it| {
            json!({
                "median": it.half,
                "quartiles": [it.quarter, it.three_quarters],
                "readings": it.readings,
                "refused": !it.is_sound(),
            })
        })
    };
    let cases: Map<_, _> = readings
        .cases
        .iter()
        .map(|case| {
            let [near, far] = Distance::ALL.map(|at| group(Middle::of(&case.ticks[at as usize])));
            let case_value = json!({ "near": near, "far": far, "dropped": case.dropped });
            (case.name.to_string(), case_value)
        })
        .collect();
    let targets: Vec<_> = outcomes(readings)
        .into_iter()
        .map(|it| {
            json!({
                "case": it.case,
                "to": it.to,
                "distance": it.distance.name(),
                "reached": it.reached,
                "target": it.most,
                "met": it.reached <= it.most,
            })
        })
        .collect();
    let lines = Middle::of(&readings.lines).map(|it| [it.quarter, it.half, it.three_quarters]);
    json!({
        "machine": description,
        "line_round_trip_quartiles": lines,
        "ticks_per_message": cases,
        "targets": targets,
    })
}
