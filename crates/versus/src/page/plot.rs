//! Curves, as SVG that takes its colours from the page.
//!
//! Drawn here, since what plotting libraries draw has colours and fonts of its own: these follow
//! the page's, light and dark, show each point's figures under the pointer, and keep the names
//! apart.

use super::text::{escaped, short};

/// Whose something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Own,
    Process,
    Thread,
    Limit,
}

impl Tone {
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Process => "process",
            Self::Thread => "thread",
            Self::Limit => "limit",
        }
    }
}

/// One curve.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) tone: Tone,
    /// Where, how much, and what is said of it.
    pub(super) points: Vec<(f64, f64, String)>,
}

/// The axis below.
pub(super) struct Axis {
    title: String,
    marks: Vec<(f64, String)>,
}

impl Axis {
    pub(super) fn marks(title: &str, marks: &[(f64, &str)]) -> Self {
        let marks = marks.iter().map(|&(at, text)| (at, text.to_string())).collect();
        Self { title: title.to_string(), marks }
    }
}

const WIDTH: f64 = 860.0;
const LEFT: f64 = 52.0;
/// Names stand to the right of it.
const RIGHT: f64 = 660.0;
const TOP: f64 = 26.0;
/// Between one name and the next.
const LEADING: f64 = 16.0;

/// Curves over `axis`, on a logarithmic scale of `unit`; nothing if there are none.
pub(super) fn curves(series: &[Series], axis: &Axis, unit: &str) -> String {
    let values = || series.iter().flat_map(|series| series.points.iter().map(|point| point.1));
    let (least, most) = values()
        .fold((f64::INFINITY, 0.0f64), |(least, most), value| (least.min(value), most.max(value)));
    if !least.is_finite() || least <= 0.0 {
        return String::new();
    }
    let (low, high) = ((least / 1.25).ln(), (most * 1.25).ln());
    // As high as the names need to stand one below the other.
    let bottom = TOP + f64::max(330.0, LEADING * series.len() as f64);
    let y = |value: f64| bottom - (value.ln() - low) / (high - low) * (bottom - TOP);
    let ends = [axis.marks.first(), axis.marks.last()].map(|mark| mark.map_or(0.0, |mark| mark.0));
    let furthest = series.iter().flat_map(|it| &it.points).fold(ends[1], |most, it| most.max(it.0));
    let x = |at: f64| LEFT + 12.0 + (at - ends[0]) / (furthest - ends[0]) * (RIGHT - LEFT - 24.0);

    let mut svg = format!(
        "<figure><svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">",
        escaped(unit),
        height = bottom + 46.0,
    );
    let mut put = |part: String| svg.push_str(&part);
    for value in lines(low.exp(), high.exp()) {
        let y = y(value);
        put(format!(
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            y + 4.0,
            plain(value),
        ));
    }
    put(format!("<text class=\"unit\" x=\"0\" y=\"12\">{}</text>", escaped(unit)));
    for (at, text) in &axis.marks {
        let x = x(*at);
        put(format!(
            "<line class=\"stroke\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{bottom}\" y2=\"{}\"/>\
             <text class=\"tick\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            bottom + 5.0,
            bottom + 20.0,
            escaped(text),
        ));
    }
    put(format!(
        "<line class=\"stroke\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{bottom}\" y2=\"{bottom}\"/>\
         <text class=\"unit\" x=\"{RIGHT}\" y=\"{}\" text-anchor=\"end\">{}</text>",
        bottom + 40.0,
        escaped(&axis.title),
    ));
    // The ring last, so that nothing lies over it.
    let mut order: Vec<_> = series.iter().collect();
    order.sort_by_key(|series| series.tone == Tone::Own);
    let names = names(series, y, bottom);
    for series in order {
        let class = series.tone.class();
        let shade = shade(series);
        let path: Vec<_> =
            series.points.iter().map(|it| format!("{:.1} {:.1}", x(it.0), y(it.1))).collect();
        put(format!("<g class=\"{class} {shade}\"><path d=\"M{}\"/>", path.join("L")));
        for (at, value, tip) in &series.points {
            put(format!(
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"><title>{}</title></circle>",
                x(*at),
                y(*value),
                escaped(tip),
            ));
        }
        if let (Some(last), Some((_, name_y))) =
            (series.points.last(), names.iter().find(|(name, _)| *name == series.name))
        {
            let (last_x, last_y) = (x(last.0), y(last.1));
            put(format!(
                "<path class=\"leader\" d=\"M{:.1} {last_y:.1}L{RIGHT} {name_y:.1}h6\"/>\
                 <text class=\"name\" x=\"{}\" y=\"{:.1}\">{} <tspan>{}</tspan></text>",
                last_x + 5.0,
                RIGHT + 10.0,
                name_y + 4.0,
                escaped(&series.name),
                short(last.1),
            ));
        }
        put("</g>".into());
    }
    svg += "</svg></figure>";
    svg
}

/// Peers that are in most plots, so that they differ in each.
const OFTEN: [&str; 6] = ["rtrb", "ringfire", "ArrayQueue", "kanal", "disruptor", "shaq"];

/// One of some shades by its name, the same in all plots.
fn shade(series: &Series) -> String {
    let sum = || series.name.bytes().map(usize::from).sum();
    let at = OFTEN.iter().position(|name| *name == series.name).unwrap_or_else(sum);
    format!("shade{}", at % OFTEN.len())
}

/// Where each name stands: beside its curve's end, or as near to it as the others leave room.
fn names(series: &[Series], y: impl Fn(f64) -> f64, bottom: f64) -> Vec<(String, f64)> {
    let end = |series: &Series| series.points.last().map(|it| (series.name.clone(), y(it.1)));
    let mut names: Vec<_> = series.iter().filter_map(end).collect();
    names.sort_by(|one, other| one.1.total_cmp(&other.1));
    for at in 1..names.len() {
        names[at].1 = names[at].1.max(names[at - 1].1 + LEADING);
    }
    // Those pushed out below push back.
    let mut most = bottom;
    for name in names.iter_mut().rev() {
        name.1 = name.1.min(most);
        most = name.1 - LEADING;
    }
    names
}

/// Round values from `low` to `high`: 1, 2 and 5 of each ten, or of each ten only where they are
/// many.
fn lines(low: f64, high: f64) -> Vec<f64> {
    let steps: &[f64] = if high / low < 300.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let tens = low.log10().floor() as i32..=high.log10().ceil() as i32;
    tens.flat_map(|ten| steps.iter().map(move |step| step * 10f64.powi(ten)))
        .filter(|value| (low..=high).contains(value))
        .collect()
}

fn plain(value: f64) -> String {
    match value {
        ..1.0 => format!("{value:.1}"),
        ..10_000.0 => format!("{value:.0}"),
        _ => short(value).replace(".0", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_overlap_and_stay_on_the_plot() {
        let series: Vec<_> = (0..20)
            .map(|at| Series {
                name: at.to_string(),
                tone: Tone::Thread,
                points: vec![(0.0, 1.0 + f64::from(at) / 100.0, String::new())],
            })
            .collect();
        let names = names(&series, |value| 340.0 - 10.0 * value, 340.0);
        assert_eq!(names.len(), 20);
        for pair in names.windows(2) {
            assert!(pair[1].1 - pair[0].1 >= LEADING - 0.001);
        }
        assert!(names.iter().all(|(_, y)| (0.0..=340.0).contains(y)), "{names:?}");
    }

    #[test]
    fn the_lines_of_a_scale_are_round_and_within_it() {
        assert_eq!(lines(8.0, 60.0), [10.0, 20.0, 50.0]);
        assert_eq!(lines(50.0, 20_000.0), [100.0, 1_000.0, 10_000.0]);
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert_eq!(curves(&[], &Axis::marks("slots", &[(0.0, "0"), (1.0, "1")]), "ticks"), "");
    }
}
