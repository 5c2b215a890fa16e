//! `ufr`: make, feed, read and look into rings from the command line.
//!
//! Exit codes: 0 done, 1 what was asked could not be done (the reason is on standard error), 2 a
//! usage error, 128 + n ended by signal n with the ring left in order. 141, as if by SIGPIPE: whoever
//! reads our output has had enough.

mod completion;
mod demo;
mod explain;
mod look;
mod make;
mod output;
mod recv;
mod send;
mod wait;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueHint};
use ultrafastring::{Builder, RingError, Trust};

/// A message ring in shared memory: faster than a pipe, with no daemon.
#[derive(Parser)]
#[command(
    name = "ufr",
    version,
    after_long_help = "\
Exit codes: 0 done; 1 it could not be done, the reason is on standard error; 2 usage, numbers out of
range included; 128 + n ended by signal n, with the ring left in order: 130 Ctrl-C, 143 SIGTERM, 141
(as if by SIGPIPE) when nobody is left to read standard output.

A ring is a file, ufr-NAME in /dev/shm or in --directory, and a small hidden one beside it with its
locks."
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Common {
    /// Directory of the rings' files, instead of /dev/shm.
    #[arg(long, global = true, env = "UFR_DIRECTORY", value_name = "DIR")]
    #[arg(value_hint = ValueHint::DirPath)]
    directory: Option<PathBuf>,
    /// Whose rings are opened, and who may open a new one.
    #[arg(long, global = true, value_name = "WHOM", default_value = "own-user")]
    #[arg(value_parser = PossibleValuesParser::new(["own-user", "group", "anyone"]).map(trust))]
    trust: Trust,
}

// What each does is said by its own type: clap would show what is said here in its place.
#[derive(Subcommand)]
enum Command {
    Demo(demo::Demo),
    Create(make::Create),
    Send(send::Send),
    Recv(recv::Recv),
    Ls(look::List),
    Stat(look::Stat),
    Doctor(look::Doctor),
    Rm(make::Remove),
    Completions(completion::Completions),
}

fn trust(text: String) -> Trust {
    match &*text {
        "group" => Trust::Group,
        "anyone" => Trust::Anyone,
        _ => Trust::OwnUser,
    }
}

impl Common {
    fn builder(self) -> Builder {
        let builder = Builder::new().participant_name("ufr").trust(self.trust);
        self.directory.into_iter().fold(builder, Builder::directory)
    }
}

fn run() -> anyhow::Result<ExitCode> {
    // Not a subcommand of the command line: nobody but the demo calls it.
    let part = std::env::args_os().nth(1).is_some_and(|word| word == demo::Part::NAME);
    if part {
        let part = demo::Part::parse_from(std::env::args_os().skip(1));
        return part.run();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => return Err(error.into()),
        Err(help) => {
            output::Output::open()?;
            help.print().map_err(output::output_failed)?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    if let Err(error) = ultrafastring::survive_truncation() {
        output::complain(error);
    }
    let builder = cli.common.builder();
    match cli.command {
        Command::Demo(demo) => demo.run(builder),
        Command::Create(create) => create.run(builder),
        Command::Send(send) => send.run(&builder),
        Command::Recv(recv) => recv.run(&builder),
        Command::Ls(list) => list.run(&builder),
        Command::Stat(stat) => stat.run(&builder),
        Command::Doctor(doctor) => doctor.run(&builder),
        Command::Rm(remove) => remove.run(&builder),
        Command::Completions(completions) => completions.run(),
    }
}

fn main() -> ExitCode {
    if let Some(code) = completion::answer() {
        return code;
    }
    run().unwrap_or_else(|error| {
        if let Some(usage) = error.downcast_ref::<clap::Error>() {
            // Nothing is left to do for one who does not listen.
            let _ = usage.print();
            return ExitCode::from(2);
        }
        let failure = error.downcast_ref::<output::Failure>();
        if failure.is_some_and(output::Failure::is_closed_pipe) {
            return ExitCode::from(output::CLOSED_PIPE);
        }
        output::complain(explain::text(&error));
        ExitCode::FAILURE
    })
}

/// What the library says of a number, as a usage error.
fn or_usage<T>(subcommand: &str, outcome: Result<T, RingError>) -> anyhow::Result<T> {
    outcome.map_err(|error| match error {
        RingError::Invalid(invalid) => explain::usage(subcommand, invalid),
        other => other.into(),
    })
}
