//! The manual: the help of each command as a page for man(1).

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, CommandFactory, ValueHint};

/// Write the man pages: ufr(1), and one for each command, as ufr-send(1).
///
/// They are written to DIR/man1, which is made if there is none. They describe this version of ufr.
/// man(1) finds them in the directories that `manpath` lists.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
    ufr man ~/.local/share/man         for yourself
    sudo ufr man /usr/local/share/man  for everybody")]
pub(crate) struct Man {
    /// Directory of the manual, in which man1 is or will be.
    #[arg(value_hint = ValueHint::DirPath)]
    dir: PathBuf,
}

impl Man {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let section = self.dir.join("man1");
        // It builds the command itself: one that was built has pages of its `help`, too.
        fs::create_dir_all(&section)
            .and_then(|()| clap_mangen::generate_to(crate::Cli::command(), &section))
            .with_context(|| format!("cannot write man pages to {}", section.display()))?;
        Ok(ExitCode::SUCCESS)
    }
}
