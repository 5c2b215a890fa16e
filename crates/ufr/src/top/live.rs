//! The live view: keys, and what they change.

use std::cell::Cell;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::Rect;
use ultrafastring_metrics::Rings;

use super::draw;
use super::history::History;
use super::sample::Samples;
use super::table::{self, Choice, Column};
use super::terminal::Screen;
use crate::explain;
use crate::wait::Stop;

/// How long a wait for a key goes on before it is looked whether a signal came.
const STOP_DELAY: Duration = Duration::from_millis(100);

/// The exit code after Ctrl-C, which is a key here and no signal.
const INTERRUPTED: u8 = 130;

/// What is shown.
pub(super) struct Live {
    pub(super) history: History,
    pub(super) choice: Choice,
    pub(super) view: View,
    /// The ring that is chosen in the table, by its name: rows come and go.
    pub(super) chosen: Option<String>,
    /// A filter is being typed; what it was before.
    pub(super) typing: Option<String>,
    /// No further looks are taken.
    pub(super) paused: bool,
    /// By how many lines the one ring is scrolled. Only who draws it knows how many there are.
    pub(super) scroll: Cell<u16>,
    /// What went wrong.
    pub(super) notice: Option<String>,
    /// The ring that was shown alone and is gone, until a key is pressed or it is there again.
    pub(super) gone: Option<String>,
    pub(super) interval: Duration,
    pub(super) directory: String,
    /// Whether the terminal shows letters beyond ASCII.
    pub(super) unicode: bool,
    rings: Rings,
}

/// Which page is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum View {
    All,
    One(String),
    /// The keys and columns, and where to go back to.
    Help(Box<View>),
}

/// What follows from a key.
enum Outcome {
    Goes,
    Suspends,
    Ends(ExitCode),
}

impl Live {
    pub(super) fn new(
        rings: Rings,
        directory: String,
        choice: Choice,
        interval: Duration,
        only: Option<String>,
    ) -> Self {
        Self {
            history: History::default(),
            choice,
            chosen: only.clone(),
            view: only.map_or(View::All, View::One),
            typing: None,
            paused: false,
            scroll: Cell::new(0),
            notice: None,
            gone: None,
            interval,
            directory,
            unicode: is_unicode(|name| std::env::var(name).ok()),
            rings,
        }
    }

    /// Shows and follows keys until one, or a signal, ends it.
    pub(super) fn run(mut self) -> anyhow::Result<ExitCode> {
        let stop = Stop::on_signals()?;
        // Before the screen is taken, so that an error is seen.
        self.history.add(Samples::of(&self.rings)?);
        let mut screen = Screen::take()?;
        let mut next = Instant::now() + self.interval;
        loop {
            self.settle();
            screen.draw(|frame| draw::page(frame, &self))?;
            loop {
                if let Some(code) = stop.asked() {
                    return Ok(code);
                }
                let now = Instant::now();
                if now >= next && !self.paused {
                    self.look();
                    // Looks that were missed are not made up for.
                    next = (next + self.interval).max(now);
                    break;
                }
                let left = if self.paused { STOP_DELAY } else { next.duration_since(now) };
                if !event::poll(left.min(STOP_DELAY))? {
                    continue;
                }
                match event::read()? {
                    Event::Key(key) if key.kind != KeyEventKind::Release => match self.key(key) {
                        Outcome::Goes => break,
                        Outcome::Suspends => {
                            screen.suspend()?;
                            break;
                        }
                        Outcome::Ends(code) => return Ok(code),
                    },
                    Event::Resize(columns, rows) => {
                        // All is drawn anew, even if it has the same size again: the terminal may
                        // have moved what was there.
                        screen.resize(Rect::new(0, 0, columns, rows))?;
                        break;
                    }
                    _ => {}
                }
            }
        }
    }

    fn look(&mut self) {
        match Samples::of(&self.rings) {
            Ok(samples) => {
                self.history.add(samples);
                self.notice = None;
            }
            Err(error) => self.notice = Some(explain::text(&error.into())),
        }
    }

    /// Leaves what is not there any more.
    fn settle(&mut self) {
        if let View::One(name) = &self.view
            && !self.history.rings.contains_key(name)
        {
            self.gone = Some(name.clone());
            self.view = View::All;
        }
        if self.gone.as_ref().is_some_and(|name| self.history.rings.contains_key(name)) {
            self.gone = None;
        }
        let names = table::chosen(&self.history, &self.choice);
        let is_there = |it: &String| names.iter().any(|(name, _)| name == it);
        if !self.chosen.as_ref().is_some_and(is_there) {
            self.chosen = names.first().map(|(name, _)| name.to_string());
        }
    }

    fn key(&mut self, key: KeyEvent) -> Outcome {
        self.gone = None;
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Outcome::Ends(ExitCode::from(INTERRUPTED)),
                KeyCode::Char('z') => Outcome::Suspends,
                _ => Outcome::Goes,
            };
        }
        if let Some(before) = self.typing.take() {
            self.type_filter(key.code, before);
            return Outcome::Goes;
        }
        match (key.code, &self.view) {
            (KeyCode::Char('q'), _) => return Outcome::Ends(ExitCode::SUCCESS),
            (KeyCode::Char('p' | ' '), _) => self.paused = !self.paused,
            (_, View::Help(back)) => self.view = (**back).clone(),
            (KeyCode::Char('?' | 'h') | KeyCode::F(1), view) => {
                self.view = View::Help(Box::new(view.clone()));
            }
            (code, View::One(_)) => self.key_of_one(code),
            (code, View::All) => self.key_of_all(code),
        }
        Outcome::Goes
    }

    /// A key while a filter is typed.
    fn type_filter(&mut self, code: KeyCode, before: String) {
        match code {
            KeyCode::Enter => return,
            KeyCode::Esc => {
                self.choice.filter = before;
                return;
            }
            KeyCode::Backspace => drop(self.choice.filter.pop()),
            KeyCode::Char(letter) => self.choice.filter.push(letter),
            _ => {}
        }
        self.typing = Some(before);
    }

    fn key_of_one(&mut self, code: KeyCode) {
        match code {
            KeyCode::Esc | KeyCode::Left | KeyCode::Enter | KeyCode::Backspace => {
                self.view = View::All;
            }
            KeyCode::Down | KeyCode::Char('j') => self.scroll_by(1),
            KeyCode::Up | KeyCode::Char('k') => self.scroll_by(-1),
            KeyCode::PageDown => self.scroll_by(10),
            KeyCode::PageUp => self.scroll_by(-10),
            KeyCode::Home | KeyCode::Char('g') => self.scroll_by(i16::MIN),
            KeyCode::End | KeyCode::Char('G') => self.scroll_by(i16::MAX),
            _ => {}
        }
    }

    fn key_of_all(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => {
                if let Some(name) = &self.chosen {
                    self.view = View::One(name.clone());
                    self.scroll.set(0);
                }
            }
            KeyCode::Esc => self.choice.filter.clear(),
            KeyCode::Char('/') => self.typing = Some(self.choice.filter.clone()),
            KeyCode::Char('c') => self.choice.classes = !self.choice.classes,
            KeyCode::Char('r') => self.choice.reverse = !self.choice.reverse,
            KeyCode::Char('s') | KeyCode::Right => self.sort_by(1),
            KeyCode::Char('S') | KeyCode::Left => self.sort_by(Column::ALL.len() - 1),
            KeyCode::Down | KeyCode::Char('j') => self.choose(1),
            KeyCode::Up | KeyCode::Char('k') => self.choose(-1),
            KeyCode::PageDown => self.choose(10),
            KeyCode::PageUp => self.choose(-10),
            KeyCode::Home | KeyCode::Char('g') => self.choose(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.choose(isize::MAX),
            _ => {}
        }
    }

    fn scroll_by(&mut self, down: i16) {
        self.scroll.set(self.scroll.get().saturating_add_signed(down));
    }

    /// Sorts by a column so many to the right.
    fn sort_by(&mut self, right: usize) {
        let all = Column::ALL;
        let at = all.iter().position(|it| *it == self.choice.sort).unwrap_or(0);
        self.choice.sort = all[(at + right) % all.len()];
    }

    /// Chooses the ring so many rows further down.
    fn choose(&mut self, down: isize) {
        let names = table::chosen(&self.history, &self.choice);
        let chosen = self.chosen.as_deref();
        let at = names.iter().position(|(name, _)| Some(*name) == chosen).unwrap_or(0);
        let last = names.len().saturating_sub(1);
        let to = at.saturating_add_signed(down).min(last);
        self.chosen = names.get(to).map(|(name, _)| name.to_string());
    }
}

/// Whether the locale says that the terminal shows UTF-8.
fn is_unicode(variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name: &&str| variable(name).filter(|it| !it.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(set).unwrap_or_default();
    let locale = locale.to_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_says_whether_there_are_more_letters_than_ascii() {
        let one = |name: &'static str, value: &'static str| {
            is_unicode(move |asked| (asked == name).then(|| value.to_string()))
        };
        assert!(one("LANG", "en_US.UTF-8") && one("LC_ALL", "C.utf8"));
        assert!(!one("LANG", "C") && !one("LC_CTYPE", "de_DE.ISO-8859-1") && !one("OTHER", ""));
        let both = |asked: &str| Some(if asked == "LC_ALL" { "C" } else { "C.UTF-8" }.to_string());
        assert!(!is_unicode(both), "LC_ALL is asked first");
    }
}
