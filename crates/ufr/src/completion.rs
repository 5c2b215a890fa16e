//! What a shell completes after `ufr`: the script that has it ask, and what it is told.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Args, CommandFactory};
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};
use ultrafastring::{Builder, PriorityClass};

use crate::output;

/// Names the variable by which the scripts ask.
const VARIABLE: &str = "UFR_COMPLETE";

/// Print a script that completes commands, options, their values and the names of rings.
///
/// The script asks ufr itself, and belongs to this version of it. So have your shell run it
/// whenever it starts, instead of keeping a copy:
#[derive(Args)]
#[command(after_long_help = "\
    bash    echo 'source <(ufr completions bash)' >> ~/.bashrc
    zsh     echo 'source <(ufr completions zsh)' >> ~/.zshrc
    fish    echo 'ufr completions fish | source' > ~/.config/fish/completions/ufr.fish

The names are those of the rings in --directory, as given on the line that is completed, in
UFR_DIRECTORY, or in /dev/shm.")]
pub(crate) struct Completions {
    /// The shell to complete for.
    #[arg(value_parser = shells())]
    shell: String,
}

fn shells() -> PossibleValuesParser {
    PossibleValuesParser::new(Shells::builtins().names())
}

impl Completions {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let shells = Shells::builtins();
        let Some(shell) = shells.completer(&self.shell) else {
            anyhow::bail!("no script is known for {}", self.shell);
        };
        // As this process was called: by its name, or by a path, which the script needs whole.
        let called = PathBuf::from(std::env::args_os().next().unwrap_or_else(|| "ufr".into()));
        let completer = match called.components().count() {
            0 | 1 => called,
            _ => std::path::absolute(&called)?,
        };
        let mut script = Vec::new();
        shell.write_registration(
            VARIABLE,
            "ufr",
            "ufr",
            &completer.to_string_lossy(),
            &mut script,
        )?;
        output::say(script)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Answers a shell that asks by one of the scripts, if one does. To be called before anything else.
pub(crate) fn answer() -> Option<ExitCode> {
    let here = std::env::current_dir().ok();
    let asked = CompleteEnv::with_factory(crate::Cli::command)
        .var(VARIABLE)
        .try_complete(std::env::args_os(), here.as_deref());
    match asked {
        Ok(false) => None,
        Ok(true) => Some(ExitCode::SUCCESS),
        Err(error) => {
            output::complain(format!("{VARIABLE}: {error}"));
            Some(ExitCode::FAILURE)
        }
    }
}

/// Completes the name of a ring.
pub(crate) fn rings() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| {
        let begun = begun.to_string_lossy();
        let directory = directory_of(std::env::args_os());
        let builder = directory.into_iter().fold(Builder::new(), Builder::directory);
        let names = builder.list().unwrap_or_default();
        names.into_iter().filter(|name| name.starts_with(&*begun)).map(candidate).collect()
    })
}

/// The directory that the line in the making says, else the environment.
fn directory_of(words: impl Iterator<Item = OsString>) -> Option<PathBuf> {
    let mut words = words.peekable();
    let mut said = None;
    while let Some(word) = words.next() {
        if word == "--directory" {
            // A shell may take `--directory=DIR` apart.
            words.next_if(|next| next == "=");
            said = words.next().or(said);
        } else if let Some(directory) = word.to_str().and_then(|it| it.strip_prefix("--directory="))
        {
            said = Some(directory.into());
        }
    }
    said.or_else(|| std::env::var_os("UFR_DIRECTORY")).map(PathBuf::from)
}

fn candidate(value: impl Into<OsString>) -> CompletionCandidate {
    CompletionCandidate::new(value)
}

/// Completes `CLASS=CREDITS` up to the number.
pub(crate) fn reserves() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        PriorityClass::ALL.iter().map(|class| candidate(format!("{}=", class.name()))).collect()
    })
}

/// Completes what `--timestamps` takes.
pub(crate) fn timestamps() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let parts = (1..=16).map(|power| format!("1/{}", 1u32 << power));
        ["every", "off"].map(String::from).into_iter().chain(parts).map(candidate).collect()
    })
}
