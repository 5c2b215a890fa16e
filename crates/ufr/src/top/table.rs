//! The table of all rings: its columns, in which order its rows are, and which are shown.

use ratatui::text::Line;
use ultrafastring::{LatencyHistogram, PriorityClass};

use super::blame::Blame;
use super::history::{History, Rates, Watched};
use super::sample::Ring;
use super::words;

/// A column. The last one, who holds whom back, has what room is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Name,
    Depth,
    Full,
    Sent,
    Received,
    Bytes,
    P50,
    P99,
    P999,
}

impl Column {
    pub(super) const ALL: [Self; 9] = [
        Self::Name,
        Self::Depth,
        Self::Full,
        Self::Sent,
        Self::Received,
        Self::Bytes,
        Self::P50,
        Self::P99,
        Self::P999,
    ];

    /// What `--sort` calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Depth => "depth",
            Self::Full => "full",
            Self::Sent => "sent",
            Self::Received => "received",
            Self::Bytes => "bytes",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
        }
    }

    /// Its heading.
    pub(super) const fn heading(self) -> &'static str {
        match self {
            Self::Name => "RING",
            Self::Depth => "DEPTH",
            Self::Full => "FULL",
            Self::Sent => "SENT/S",
            Self::Received => "RECV/S",
            Self::Bytes => "BYTE/S",
            Self::P50 => "P50",
            Self::P99 => "P99",
            Self::P999 => "P99.9",
        }
    }

    /// The number of a ring in this column, to sort by.
    fn number(self, ring: &Watched) -> Option<f64> {
        let change = ring.change.as_ref();
        let latency = change.and_then(|it| it.latency.as_ref());
        match self {
            Self::Name => None,
            Self::Depth => ring.seen().map(|it| it.depth as f64),
            Self::Full => ring.seen().map(|it| it.fullness()),
            Self::Sent => change.map(|it| it.all.sent),
            Self::Received => change.map(|it| it.all.received),
            Self::Bytes => change.map(|it| it.all.sent_bytes),
            Self::P50 => latency?.quantile(0.5),
            Self::P99 => latency?.quantile(0.99),
            Self::P999 => latency?.quantile(0.999),
        }
    }
}

/// Which rings are shown, in which order, and with how much detail.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) sort: Column,
    pub(super) reverse: bool,
    /// What must be part of a ring's name.
    pub(super) filter: String,
    /// A row for each class that has had messages.
    pub(super) classes: bool,
}

/// A row of the table.
pub(super) struct Row {
    /// The ring that it is of.
    pub(super) ring: String,
    /// Whether it is of one of the ring's classes.
    pub(super) of_class: bool,
    /// `None`: the ring cannot be looked into, and the note says why.
    pub(super) cells: Option<Cells>,
    /// Who holds whom back, or why the ring cannot be looked into.
    pub(super) note: String,
    /// Whether its producers wait.
    pub(super) full: bool,
}

/// The cells of a row, as texts.
pub(super) struct Cells {
    pub(super) name: String,
    pub(super) state: &'static str,
    /// Those right of the state: numbers, as the columns from `Depth` on.
    pub(super) numbers: [String; 8],
}

/// Widths of the columns: the state's, and that of each number.
pub(super) const STATE_WIDTH: u16 = 7;
pub(super) const NUMBER_WIDTHS: [u16; 8] = [6, 4, 6, 6, 6, 6, 6, 6];

/// The names of the rings that are shown, in their order.
pub(super) fn chosen<'a>(history: &'a History, choice: &Choice) -> Vec<(&'a str, &'a Watched)> {
    let filter = choice.filter.to_lowercase();
    let all = history.rings.iter().map(|(name, it)| (&**name, it));
    let mut chosen: Vec<_> =
        all.filter(|(name, _)| name.to_lowercase().contains(&filter)).collect();
    if choice.sort != Column::Name {
        // The largest first, and what has no number last; equal ones by name, as they are.
        chosen.sort_by(|(_, one), (_, other)| {
            let numbers = (choice.sort.number(one), choice.sort.number(other));
            match numbers {
                (Some(one), Some(other)) => other.total_cmp(&one),
                (one, other) => other.is_some().cmp(&one.is_some()),
            }
        });
    }
    if choice.reverse {
        // What has no number stays last.
        let unknown =
            |it: &Watched| choice.sort != Column::Name && choice.sort.number(it).is_none();
        let known = chosen.iter().take_while(|(_, it)| !unknown(it)).count();
        chosen[..known].reverse();
    }
    chosen
}

/// The rows of the table.
pub(super) fn rows(history: &History, choice: &Choice) -> Vec<Row> {
    let rings = chosen(history, choice).into_iter();
    rings
        .flat_map(|(name, ring)| {
            let mut rows = vec![row(name, ring)];
            if choice.classes {
                rows.extend(class_rows(name, ring));
            }
            rows
        })
        .collect()
}

/// The row of a ring.
pub(super) fn row(name: &str, ring: &Watched) -> Row {
    let sample = match &ring.now {
        Ring::Seen(sample) => sample,
        Ring::Closed(word, reason) => {
            let note = format!("{word}: {reason}");
            let (ring, cells) = (name.to_string(), None);
            return Row { ring, of_class: false, cells, note, full: false };
        }
    };
    let change = ring.change.as_ref();
    let latency = change.and_then(|it| it.latency.as_ref());
    let [sent, received, bytes] = rates(change.map(|it| &it.all));
    let [p50, p99, p999] = quantiles(latency);
    let (depth, full) = (words::count(sample.depth as f64), percent(sample.fullness()));
    let cells = Cells {
        name: name.to_string(),
        state: sample.state,
        numbers: [depth, full, sent, received, bytes, p50, p99, p999],
    };
    Row {
        ring: name.to_string(),
        of_class: false,
        cells: Some(cells),
        note: Blame::of(ring).map(|it| it.sentence()).unwrap_or_default(),
        full: sample.full_lane().is_some(),
    }
}

/// The rows of the classes that ever had a message.
fn class_rows(name: &str, ring: &Watched) -> impl Iterator<Item = Row> {
    let classes = PriorityClass::ALL
        .into_iter()
        .zip(ring.seen().map(|it| it.stats.classes).into_iter().flatten());
    classes.filter(|(_, counts)| counts.sent != 0).map(move |(class, _)| {
        let change = ring.change.as_ref();
        let latency = change.and_then(|it| Some(&it.latencies.as_ref()?[class.index()]));
        let [sent, received, bytes] = rates(change.map(|it| &it.classes[class.index()]));
        let [p50, p99, p999] = quantiles(latency);
        let nothing = String::new;
        Row {
            ring: name.to_string(),
            of_class: true,
            cells: Some(Cells {
                name: format!("  {}", class.name()),
                state: "",
                numbers: [nothing(), nothing(), sent, received, bytes, p50, p99, p999],
            }),
            note: String::new(),
            full: false,
        }
    })
}

/// What is shown where nothing is known.
const NOTHING: &str = "-";

/// Messages sent and received, and bytes sent.
pub(super) fn rates(rates: Option<&Rates>) -> [String; 3] {
    match rates {
        Some(it) => [words::count(it.sent), words::count(it.received), words::bytes(it.sent_bytes)],
        None => [NOTHING; 3].map(str::to_string),
    }
}

/// The quantiles 0.5, 0.99 and 0.999.
pub(super) fn quantiles(latency: Option<&LatencyHistogram>) -> [String; 3] {
    [0.5, 0.99, 0.999].map(|quantile| {
        let time = latency.and_then(|it| it.quantile(quantile));
        time.map_or_else(|| NOTHING.to_string(), words::time)
    })
}

/// A part of one, of which only the whole is 100 %.
pub(super) fn percent(part: f64) -> String {
    format!("{:.0}%", (part * 100.0).clamp(0.0, 100.0).floor())
}

/// The whole table as lines of text, as wide as they are.
pub(super) fn text(rows: &[Row]) -> String {
    let width = |text: &str| Line::from(text).width();
    let names = rows.iter().map(|it| width(it.cells.as_ref().map_or(&it.ring, |it| &it.name)));
    let name_width = names.max().unwrap_or(0).max(width(Column::Name.heading()));
    let mut text = String::new();
    let state_width = usize::from(STATE_WIDTH);
    let mut line = |name: &str, state: &str, numbers: &[&str], note: &str| {
        // By columns of the terminal, of which a letter may take two.
        let gap = " ".repeat(name_width.saturating_sub(width(name)));
        let mut line = format!("{name}{gap} {state:<state_width$}");
        for (number, width) in numbers.iter().zip(NUMBER_WIDTHS) {
            line += &format!(" {number:>0$}", usize::from(width));
        }
        line += &format!("  {note}");
        text += line.trim_end();
        text.push('\n');
    };
    let [name, numbers @ ..] = Column::ALL.map(Column::heading);
    line(name, "STATE", &numbers, "WHO HOLDS WHOM BACK");
    for row in rows {
        match &row.cells {
            Some(it) => line(&it.name, it.state, &it.numbers.each_ref().map(|it| &**it), &row.note),
            None => line(&row.ring, "", &[], &row.note),
        }
    }
    text
}
