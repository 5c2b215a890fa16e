//! The page of one ring.

use std::collections::VecDeque;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::symbols::bar;
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Sparkline};
use ultrafastring::{ParticipantInfo, PriorityClass};

use super::blame::Blame;
use super::history::{Claim, Watched};
use super::live::Live;
use super::sample::{Ring, Sample, state_of};
use super::table::{percent, quantiles, rates};
use super::words;
use crate::group;

/// Bars for terminals that show ASCII alone.
const ASCII: bar::Set<'static> = bar::Set {
    full: "#",
    seven_eighths: "#",
    three_quarters: "*",
    five_eighths: "*",
    half: "+",
    three_eighths: "=",
    one_quarter: "-",
    one_eighth: ".",
    empty: " ",
};

/// Columns left of a sparkline: what it is of, and its last value.
const LABEL_WIDTH: u16 = 16;

/// From this height on a sparkline has so many lines.
const TALL: [(u16, u16); 2] = [(50, 3), (36, 2)];

pub(super) fn draw(frame: &mut Frame<'_>, live: &Live, name: &str, area: Rect) {
    let Some(watched) = live.history.rings.get(name) else { return };
    let sample = match &watched.now {
        Ring::Seen(sample) => sample,
        Ring::Closed(word, reason) => {
            let text = format!("{name} is {word}: {reason}");
            frame.render_widget(Paragraph::new(text).wrap(Default::default()), area);
            return;
        }
    };
    let lines = TALL.iter().find(|(height, _)| area.height >= *height).map_or(1, |it| it.1);
    let [head, sent, received, depth, rest] = Layout::vertical([
        Constraint::Length(4),
        Constraint::Length(lines),
        Constraint::Length(lines),
        Constraint::Length(lines),
        Constraint::Fill(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(heading(name, watched, sample)), head);
    let lines = [
        (sent, "sent/s", &watched.sent, None),
        (received, "received/s", &watched.received, None),
        (depth, "depth", &watched.depth, Some(sample.capacity() as u64)),
    ];
    for (area, label, looks, most) in lines {
        spark(frame, live, area, label, looks, most);
    }
    let text = rest_of(watched, sample);
    // Not beyond the last line.
    let most = (text.len() as u16).saturating_sub(rest.height);
    live.scroll.set(live.scroll.get().min(most));
    frame.render_widget(Paragraph::new(text).scroll((live.scroll.get(), 0)), rest);
}

/// What a ring is, how full it is, and who holds whom back.
fn heading<'a>(name: &'a str, watched: &Watched, sample: &Sample) -> Vec<Line<'a>> {
    let Sample { settings, stats, .. } = sample;
    let age = words::time(watched.clock.saturating_sub(sample.made.0) as f64);
    let blame = Blame::of(watched);
    let blamed = match &blame {
        Some(it) => Line::from(it.sentence()).style(Style::new().fg(Color::Red).bold()),
        None => Line::from("nobody is held back"),
    };
    vec![
        Line::from(format!(
            "{name}: {}, made {age} ago by pid {}; messages up to {} bytes",
            sample.state, sample.made.1, settings.max_message
        ))
        .bold(),
        Line::from(format!(
            "{} slots; producer {}, consumer {}; {} of {} credits spent ({})",
            sample.capacity(),
            settings.producer_side,
            settings.consumer_side,
            stats.credits_spent,
            stats.credit_limit,
            percent(sample.fullness())
        )),
        Line::from(format!(
            "so far: most in flight {}, stalls {}, redelivered {}, abandoned {}, discarded {}",
            stats.most_in_flight,
            stats.credit_stalls,
            stats.redelivered,
            stats.abandoned,
            stats.discarded
        )),
        blamed,
    ]
}

/// A line of bars, the newest on the right, with the newest value as text.
fn spark(
    frame: &mut Frame<'_>,
    live: &Live,
    area: Rect,
    label: &str,
    looks: &VecDeque<u64>,
    most: Option<u64>,
) {
    let [left, right] =
        Layout::horizontal([Constraint::Length(LABEL_WIDTH), Constraint::Fill(1)]).areas(area);
    let last = looks.back().map_or_else(String::new, |it| words::count(*it as f64));
    frame.render_widget(Line::from(format!("{label:<10}{last:>5}")), left);
    let width = usize::from(right.width);
    let shown = looks.len().min(width);
    let empty = std::iter::repeat_n(0, width - shown);
    let data = empty.chain(looks.iter().skip(looks.len() - shown).copied());
    let line = Sparkline::default().data(data.collect::<Vec<_>>());
    let line = if live.unicode { line } else { line.bar_set(ASCII) };
    let line = if let Some(most) = most { line.max(most) } else { line };
    frame.render_widget(line.style(Style::new().fg(Color::Green)), right);
}

/// Classes, groups and participants.
fn rest_of(watched: &Watched, sample: &Sample) -> Vec<Line<'static>> {
    let mut lines = vec![Line::default()];
    classes(&mut lines, watched, sample);
    if !sample.groups.is_empty() {
        groups(&mut lines, sample);
    }
    participants(&mut lines, watched, sample);
    lines
}

fn classes(lines: &mut Vec<Line<'static>>, watched: &Watched, sample: &Sample) {
    let change = watched.change.as_ref();
    let row = |name: &str, cells: [String; 7]| {
        let [sent, received, bytes, p50, p99, p999, all] = cells;
        format!(
            "{name:<10} {sent:>7} {received:>7} {bytes:>7} {p50:>7} {p99:>7} {p999:>7} {all:>8}"
        )
    };
    let headings =
        ["SENT/S", "RECV/S", "BYTE/S", "P50", "P99", "P99.9", "SENT"].map(str::to_string);
    lines.push(Line::from(row("CLASS", headings)).bold());
    // A class that never had a message has nothing to show.
    let has = |class: &PriorityClass| sample.stats.classes[class.index()].sent != 0;
    for class in PriorityClass::ALL.into_iter().filter(has) {
        let index = class.index();
        let latency = change.and_then(|it| Some(&it.latencies.as_ref()?[index]));
        let [sent, received, bytes] = rates(change.map(|it| &it.classes[index]));
        let [p50, p99, p999] = quantiles(latency);
        let all = words::count(sample.stats.classes[index].sent as f64);
        let cells = [sent, received, bytes, p50, p99, p999, all];
        lines.push(Line::from(row(class.name(), cells)));
    }
    let latency = change.and_then(|it| it.latency.as_ref());
    let [sent, received, bytes] = rates(change.map(|it| &it.all));
    let [p50, p99, p999] = quantiles(latency);
    let all = words::count(sample.stats.sent as f64);
    lines.push(Line::from(row("all", [sent, received, bytes, p50, p99, p999, all])));
}

fn groups(lines: &mut Vec<Line<'static>>, sample: &Sample) {
    lines.push(Line::default());
    let heading = format!(
        "{:<16} {:<8} {:>7} {:>8} {:>8} {:>9}  MADE",
        "GROUP", "STATE", "MEMBERS", "LAG", "MISSED", "EVICTIONS"
    );
    lines.push(Line::from(heading).bold());
    for it in &sample.groups {
        lines.push(Line::from(format!(
            "{:<16} {:<8} {:>7} {:>8} {:>8} {:>9}  {}",
            it.name.as_str(),
            group::state(it.state),
            it.members,
            words::count(it.lag as f64),
            words::count(it.missed as f64),
            it.evictions,
            group::made(it)
        )));
    }
}

fn participants(lines: &mut Vec<Line<'static>>, watched: &Watched, sample: &Sample) {
    lines.push(Line::default());
    let heading = format!(
        "{:<5} {:<8} {:<9} {:<7} {:>6}  {:<24} {:>6}  NAME",
        "ENTRY", "PID", "SIDE", "STATE", "SINCE", "HOLDS", "HELD"
    );
    lines.push(Line::from(heading).bold());
    if sample.participants.is_empty() {
        lines.push(Line::from("nobody"));
    }
    for it in &sample.participants {
        let since = words::time(watched.clock.saturating_sub(it.attached) as f64);
        let (holds, held) = holds(watched, it);
        let group = it.group.map(|it| format!("[{}] ", it.as_str())).unwrap_or_default();
        lines.push(Line::from(format!(
            "{:<5} {:<8} {:<9} {:<7} {since:>6}  {holds:<24} {held:>6}  {group}{}",
            it.index,
            it.pid,
            it.side.name(),
            state_of(it),
            it.name.as_str()
        )));
    }
}

/// What a participant has claimed, and for how long it has been seen to.
fn holds(watched: &Watched, participant: &ParticipantInfo) -> (String, String) {
    let claims =
        [("writes", participant.intent, Claim::Intent), ("", participant.hold, Claim::Hold)];
    let claimed = claims.into_iter().find_map(|(does, span, claim)| Some((does, span?, claim)));
    let Some((does, (first, count), claim)) = claimed else {
        return (String::new(), String::new());
    };
    let does = if does.is_empty() { String::new() } else { format!("{does} ") };
    let what = format!("{does}{count} from {first}");
    match watched.held_for(participant, claim) {
        0 => (what, String::new()),
        time => (what, words::time(time as f64)),
    }
}
