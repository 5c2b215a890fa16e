//! The pages as they are drawn: the table of all rings, and the keys.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table, TableState};

use super::live::{Live, View};
use super::table::{self, Column, NUMBER_WIDTHS, STATE_WIDTH};
use super::{one, words};

/// From this width on the table has a column for who holds whom back. On narrower screens it is
/// said of the chosen ring alone, below the table.
const WIDE: u16 = 110;

/// The widest name in the table of a narrow screen.
const NAME_WIDTH: u16 = 32;

pub(super) fn page(frame: &mut Frame<'_>, live: &Live) {
    let [head, body, note, help] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(title(live), head);
    match &live.view {
        View::All => all(frame, live, body),
        View::One(name) => one::draw(frame, live, name, body),
        View::Help(_) => frame.render_widget(keys(), body),
    }
    frame.render_widget(notice(live), note);
    frame.render_widget(help_line(live), help);
}

/// The first line: what is seen, and how often.
fn title(live: &Live) -> Line<'static> {
    let rings = &live.history.rings;
    let closed = rings.values().filter(|it| it.seen().is_none()).count();
    let mut text = format!("ufr top  {}  {} rings", live.directory, rings.len());
    if closed != 0 {
        text += &format!(", {closed} closed to you or damaged");
    }
    if live.history.left_out != 0 {
        text += &format!(", {} left out", live.history.left_out);
    }
    if !live.choice.filter.is_empty() {
        text += &format!("  filter: {}", live.choice.filter);
    }
    let interval = words::time(live.interval.as_nanos() as f64);
    text += &if live.paused { "  PAUSED".to_string() } else { format!("  every {interval}") };
    Line::from(text).bold()
}

/// The line above the help: a filter that is typed, what went wrong, or who holds whom back in the
/// ring that is chosen.
fn notice(live: &Live) -> Line<'_> {
    if live.typing.is_some() {
        return Line::from(format!("filter: {}_", live.choice.filter));
    }
    if let Some(notice) = &live.notice {
        return Line::from(&**notice).style(Style::new().fg(Color::Yellow));
    }
    if let Some(name) = &live.gone {
        return Line::from(format!("{name} is gone")).style(Style::new().fg(Color::Yellow));
    }
    let chosen = live.chosen.as_ref().filter(|_| live.view == View::All);
    match chosen.and_then(|name| Some((name, live.history.rings.get(name)?))) {
        Some((name, ring)) => {
            let rows = table::row(name, ring);
            let note = if rows.note.is_empty() { "nobody is held back" } else { &rows.note };
            Line::from(format!("{name}: {note}"))
        }
        None => Line::default(),
    }
}

fn help_line(live: &Live) -> Line<'static> {
    let keys: &[(&str, &str)] = match (&live.view, &live.typing) {
        (_, Some(_)) => &[("Enter", "keep"), ("Esc", "undo")],
        (View::All, None) => &[
            ("q", "quit"),
            ("Enter", "one ring"),
            ("s", "sort"),
            ("r", "reverse"),
            ("/", "filter"),
            ("c", "classes"),
            ("p", "pause"),
            ("?", "help"),
        ],
        (View::One(_), None) => &[
            ("q", "quit"),
            ("Esc", "all rings"),
            ("Up/Down", "scroll"),
            ("p", "pause"),
            ("?", "help"),
        ],
        (View::Help(_), None) => &[("q", "quit"), ("any other key", "back")],
    };
    let spans = keys
        .iter()
        .flat_map(|(key, does)| [Span::from(*key).reversed(), Span::from(format!(" {does}  "))]);
    spans.collect()
}

fn all(frame: &mut Frame<'_>, live: &Live, area: Rect) {
    let rows = table::rows(&live.history, &live.choice);
    if rows.is_empty() {
        let text = if live.choice.filter.is_empty() {
            "There is no ring here. `ufr create NAME` makes one."
        } else {
            "No ring's name has this in it. Esc shows all."
        };
        frame.render_widget(Paragraph::new(text), area);
        return;
    }
    let wide = area.width >= WIDE;
    let numbers: u16 = NUMBER_WIDTHS.iter().map(|width| width + 1).sum();
    let left = area.width.saturating_sub(numbers + STATE_WIDTH + 1);
    let name_width = if wide { NAME_WIDTH.min(left / 2) } else { left };
    let chosen = live.chosen.as_deref();
    let at = rows.iter().position(|it| Some(&*it.ring) == chosen && !it.of_class);
    // A row that cannot be looked into has its reason across all columns, which a table has not:
    // it is written over the cells.
    let mut state = TableState::new().with_selected(at);
    let cells = |row: &table::Row| {
        let Some(it) = &row.cells else { return Row::new([Cell::from(row.ring.clone())]).dim() };
        let mut cells = vec![Cell::from(it.name.clone()), Cell::from(it.state)];
        let numbers =
            it.numbers.iter().map(|it| Cell::from(Line::from(it.clone()).right_aligned()));
        cells.extend(numbers);
        if wide {
            cells.push(Cell::from(row.note.clone()));
        }
        let style = if row.full { Style::new().fg(Color::Red).bold() } else { Style::new() };
        Row::new(cells).style(style)
    };
    let widths = [name_width, STATE_WIDTH].into_iter().chain(NUMBER_WIDTHS);
    let mut widths: Vec<_> = widths.map(Constraint::Length).collect();
    if wide {
        widths.push(Constraint::Fill(1));
    }
    let table = Table::new(rows.iter().map(cells), widths)
        .header(headings(live, wide))
        .row_highlight_style(Modifier::REVERSED);
    frame.render_stateful_widget(table, area, &mut state);
    let shown = rows.iter().skip(state.offset()).zip(area.top() + 1..area.bottom());
    for (row, y) in shown.filter(|(row, _)| row.cells.is_none()) {
        let x = area.left() + name_width.min(area.width) + 1;
        let reason = Rect { x, y, width: area.right().saturating_sub(x), height: 1 };
        frame.render_widget(Line::from(&*row.note).dim(), reason.intersection(area));
    }
}

/// The headings, of which the one that is sorted by is marked.
fn headings(live: &Live, wide: bool) -> Row<'static> {
    let heading = |column: Column| {
        let style = match column == live.choice.sort {
            true => Style::new().bold().underlined(),
            false => Style::new().bold(),
        };
        let line = Line::from(Span::styled(column.heading(), style));
        if column == Column::Name { line } else { line.right_aligned() }
    };
    let [name, numbers @ ..] = Column::ALL;
    let mut cells = vec![Cell::from(heading(name)), Cell::from(Line::from("STATE").bold())];
    cells.extend(numbers.map(|it| Cell::from(heading(it))));
    if wide {
        cells.push(Cell::from(Line::from("WHO HOLDS WHOM BACK").bold()));
    }
    Row::new(cells)
}

/// The page of help: it fits on 80 by 24.
fn keys() -> Paragraph<'static> {
    Paragraph::new(
        "\
Up, Down, PgUp, PgDn  choose a ring       Enter  show one ring     Esc  go back
s, Right, S, Left     sort by the next, or the column before       r  reverse
/  filter by a part of the name: Enter keeps it, Esc undoes        c  classes
p  pause              Ctrl-Z  suspend     q, Ctrl-C  quit

STATE    live: a living process has the ring open; stale: none has;
         unknown: you may not see the locks
DEPTH    messages sent and not received yet
FULL     the part of the credit that is spent; at 100% producers wait
SENT/S, RECV/S, BYTE/S
         messages sent, messages received, and bytes sent, by the second
P50, P99, P99.9
         what 50%, 99% and 99.9% of the messages that were received since the
         last look took at most; '-' if there were none, or if the ring was made
         without histograms (ufr create --histograms)
HELD     (of one ring) for how long an entry has been seen to hold the same

A red ring is full: its producers wait. The line below says for whom.",
    )
}
