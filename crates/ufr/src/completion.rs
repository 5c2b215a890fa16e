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

/// The environment variable by which the scripts ask for completions.
const VARIABLE: &str = "UFR_COMPLETE";

/// Print a script that completes commands, options, their values and the names of rings.
///
/// The script calls `ufr` for its answers and fits this version only. So do not keep a copy, but
/// let your shell run it at each start.
#[derive(Args)]
#[command(after_long_help = "\
To have your shell run it:
    bash    echo 'source <(ufr completions bash)' >> ~/.bashrc
    zsh     echo 'source <(ufr completions zsh)' >> ~/.zshrc
    fish    echo 'ufr completions fish | source' > ~/.config/fish/completions/ufr.fish

Names of rings are completed from the --directory that you typed, from UFR_DIRECTORY, or from
/dev/shm.")]
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
            anyhow::bail!("there is no script for {}", self.shell);
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
        if self.shell == "zsh" {
            script.extend(ZSH_AUTOLOAD.as_bytes());
        }
        output::say(script)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// For a script that is the file `_ufr` of a directory in `fpath`: zsh runs it as a function when
/// it first completes, and expects to be told at once.
const ZSH_AUTOLOAD: &str = "\
if [ \"$funcstack[1]\" = _ufr ]; then
    _clap_dynamic_completer_ufr \"$@\"
fi
";

/// Answers a completion script, if one asks. Call it before anything else.
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

/// Completes the name of a group of the ring that the line names.
pub(crate) fn groups() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| {
        let begun = begun.to_string_lossy();
        let directory = directory_of(std::env::args_os());
        let builder = directory.into_iter().fold(Builder::new(), Builder::directory);
        let rings = builder.list().unwrap_or_default();
        let mut words = std::env::args_os();
        let ring = words.find_map(|word| rings.iter().find(|name| word == name.as_str()));
        let Some(Ok(ring)) = ring.map(|name| builder.observe(name)) else { return Vec::new() };
        let names = ring.groups().map(|it| it.name);
        let names = names.filter(|name| name.as_str().starts_with(&*begun));
        names.map(|name| candidate(name.as_str())).collect()
    })
}

/// Completes where to start.
pub(crate) fn starts() -> ArgValueCandidates {
    ArgValueCandidates::new(|| ["latest", "oldest", "resume"].into_iter().map(candidate).collect())
}

/// The same for `tail`.
pub(crate) fn starts_of_tail() -> ArgValueCandidates {
    ArgValueCandidates::new(|| ["latest", "oldest"].into_iter().map(candidate).collect())
}

/// The directory that the unfinished line names, or else the environment.
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

/// Completes `CLASS=NUMBER` up to the number.
pub(crate) fn reserves() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        PriorityClass::ALL.iter().map(|class| candidate(format!("{}=", class.name()))).collect()
    })
}

/// Completes what `--lanes` takes, up to the number.
pub(crate) fn lanes() -> ArgValueCandidates {
    let words = ["one", "by-class", "by-producer:"];
    ArgValueCandidates::new(move || words.into_iter().map(candidate).collect())
}

/// Completes what `--timestamps` takes.
pub(crate) fn timestamps() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let parts = (1..=16).map(|power| format!("1/{}", 1u32 << power));
        ["every", "off"].map(String::from).into_iter().chain(parts).map(candidate).collect()
    })
}
