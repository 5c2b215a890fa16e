//! The terminal: taken over, and given back as it was, whatever ends the program.

use std::io::{self, IsTerminal};
use std::ops::DerefMut;

use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, enable_raw_mode};
use ratatui::backend::CrosstermBackend;
use ratatui::{DefaultTerminal, Terminal};
use rustix::process::{Signal, getpid, kill_process};

/// A terminal that shows another screen than the shell's, and gives keys as they are pressed. When
/// it is dropped it is as before; a panic gives it back before it says what it has to say.
pub(super) struct Screen(DefaultTerminal);

impl Screen {
    pub(super) fn take() -> anyhow::Result<Self> {
        let dumb = std::env::var_os("TERM").is_none_or(|it| it.is_empty() || it == "dumb");
        if dumb || !io::stdout().is_terminal() {
            anyhow::bail!(
                "there is no terminal here that `top` could draw on; \
                 --once prints one table, --json one object"
            );
        }
        match ratatui::try_init() {
            Ok(terminal) => Ok(Self(terminal)),
            Err(error) => {
                // Some of it may be done.
                ratatui::restore();
                Err(error.into())
            }
        }
    }

    /// Gives the terminal back and stops, as Ctrl-Z does to others; goes on when the shell says so.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        self.0.show_cursor()?;
        ratatui::try_restore()?;
        kill_process(getpid(), Signal::TSTP)?;
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen)?;
        // A new one knows that nothing is drawn yet. (`clear` would ask the terminal where its
        // cursor is, and not every terminal answers.)
        self.0 = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nobody is left to be told of a failure: the terminal has gone.
        let _ = self.0.show_cursor();
        let _ = ratatui::try_restore();
    }
}

impl std::ops::Deref for Screen {
    type Target = DefaultTerminal;

    fn deref(&self) -> &DefaultTerminal {
        &self.0
    }
}

impl DerefMut for Screen {
    fn deref_mut(&mut self) -> &mut DefaultTerminal {
        &mut self.0
    }
}

#[cfg(test)]
#[allow(dead_code)]
#[path = "../../tests/common/terminal.rs"]
mod real;

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::real::Terminal;
    use super::*;

    const NAME: &str = "top::terminal::tests::panics_on_its_screen";

    #[test]
    #[ignore = "it panics: the test below runs it in a terminal"]
    fn panics_on_its_screen() {
        let mut screen = Screen::take().unwrap();
        screen.draw(|frame| frame.render_widget("before", frame.area())).unwrap();
        panic!("as it was told");
    }

    #[test]
    fn a_panic_gives_the_terminal_back_and_is_read() {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([NAME, "--exact", "--ignored", "--nocapture"]);
        // With a backtrace the message would be out of sight.
        command.env("RUST_BACKTRACE", "0");
        let mut terminal = Terminal::start(command, (80, 24));
        assert!(!terminal.ends_as_it_began().success());
        terminal.shows("as it was told");
        assert!(!terminal.text().contains("before"), "{}", terminal.text());
    }
}
