//! A real terminal: the kernel's side of one, and an emulator that shows what a user would see.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

/// A program that runs in a terminal of its own.
pub(crate) struct Terminal {
    child: Child,
    /// What a user's side writes keys to.
    keys: File,
    /// What the program has; kept open, so that its modes can be looked at when it has ended.
    inside: OwnedFd,
    before: Termios,
    screen: Arc<Mutex<vt100::Parser>>,
}

fn set_size(keys: &File, (columns, rows): (u16, u16)) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(keys, size).unwrap();
}

/// Columns and rows for the emulator.
fn some((columns, rows): (u16, u16)) -> [NonZero<u16>; 2] {
    [columns, rows].map(|it| NonZero::new(it).unwrap())
}

impl Terminal {
    /// Starts a program on a screen of so many columns and rows.
    pub(crate) fn start(mut command: Command, size: (u16, u16)) -> Self {
        let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&keys).unwrap();
        unlockpt(&keys).unwrap();
        let name = ptsname(&keys, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let inside = rustix::fs::open(&*name, flags, Mode::empty()).unwrap();
        let before = tcgetattr(&inside).unwrap();
        let keys = File::from(keys);
        set_size(&keys, size);
        let end = || inside.try_clone().unwrap();
        command.stdin(end()).stdout(end()).stderr(end());
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR").env("LC_ALL", "C.UTF-8");
        // SAFETY: system calls alone, which a child may make before it becomes another program.
        unsafe {
            command.pre_exec(|| {
                rustix::process::setsid()?;
                rustix::process::ioctl_tiocsctty(std::io::stdin())?;
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        let [columns, rows] = some(size);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 0)));
        let (shown, mut output) = (Arc::clone(&screen), keys.try_clone().unwrap());
        // It ends when nobody is left who could write.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                shown.lock().unwrap().process(&bytes[..count]);
            }
        });
        Self { child, keys, inside, before, screen }
    }

    /// Presses keys.
    pub(crate) fn press(&self, keys: &str) {
        (&self.keys).write_all(keys.as_bytes()).unwrap();
    }

    /// Makes the window larger or smaller.
    pub(crate) fn resize(&self, size: (u16, u16)) {
        let [columns, rows] = some(size);
        self.screen.lock().unwrap().screen_mut().set_size(rows, columns);
        set_size(&self.keys, size);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The lines of the screen, as they are now, without what is blank behind them.
    pub(crate) fn lines(&self) -> Vec<String> {
        let parser = self.screen.lock().unwrap();
        let (_, columns) = parser.screen().size();
        let lines = parser.screen().rows(0, columns.get());
        lines.map(|it| it.trim_end().to_string()).collect()
    }

    pub(crate) fn text(&self) -> String {
        self.lines().join("\n")
    }

    /// The line that contains a text, if one does.
    pub(crate) fn line(&self, text: &str) -> Option<String> {
        self.lines().into_iter().find(|it| it.contains(text))
    }

    /// Waits for a line that contains a text.
    #[track_caller]
    pub(crate) fn find(&self, text: &str) -> String {
        self.shows(text);
        let mut found = None;
        self.until(text, |it| {
            found = it.line(text);
            found.is_some()
        });
        found.unwrap()
    }

    /// Waits until the screen is as it should be.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !holds(self) {
            assert!(Instant::now() < deadline, "{what}: not within a minute\n{}", self.text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until a text is on the screen.
    #[track_caller]
    pub(crate) fn shows(&self, text: &str) {
        self.until(text, |it| it.text().contains(text));
    }

    /// Waits until a text is no longer on the screen.
    #[track_caller]
    pub(crate) fn shows_no(&self, text: &str) {
        self.until(&format!("no {text}"), |it| !it.text().contains(text));
    }

    /// Waits until the program has ended. Then the terminal must be as it was: its modes, the
    /// shell's screen, and the cursor.
    #[track_caller]
    pub(crate) fn ends_as_it_began(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(60);
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > deadline => panic!("it does not end\n{}", self.text()),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        self.until("the shell's screen, with a cursor", |it| {
            let parser = it.screen.lock().unwrap();
            !parser.screen().alternate_screen() && !parser.screen().hide_cursor()
        });
        assert_eq!(self.modes(), modes(&self.before), "the modes of the terminal");
        status
    }

    /// The modes of the terminal.
    fn modes(&self) -> [u32; 4] {
        modes(&tcgetattr(&self.inside).unwrap())
    }

    /// Whether the terminal waits for lines, as a shell's does.
    pub(crate) fn is_as_before(&self) -> bool {
        self.modes() == modes(&self.before)
    }
}

fn modes(it: &Termios) -> [u32; 4] {
    let Termios { input_modes, output_modes, control_modes, local_modes, .. } = it;
    [input_modes.bits(), output_modes.bits(), control_modes.bits(), local_modes.bits()]
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
