//! `ufr`: make, feed, read and look into rings from the command line.
//!
//! Exit codes: 0 done; 1 not done, with the reason on standard error; 2 wrong usage; 128 + n ended
//! by signal n, with the ring in order; 141, as if by SIGPIPE, if nobody reads standard output.

mod completion;
mod demo;
mod doctor;
mod explain;
mod group;
mod look;
mod make;
mod man;
mod metrics;
mod output;
mod recv;
mod send;
mod stat;
mod tail;
mod top;
mod wait;

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueHint};
use ultrafastring::{Builder, RingError, Trust};

/// Message rings in shared memory, from a shell.
#[derive(Parser)]
#[command(
    name = "ufr",
    version,
    after_long_help = "\
Exit codes:
  0         done
  1         not done; the reason is on standard error
  2         wrong usage, also a number out of range
  130, 143  ended by Ctrl-C or SIGTERM; the ring is in order
  141       nobody is left to read standard output

A ring is a file, ufr-NAME in /dev/shm or in --directory. Beside it is a small hidden file with its
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
    /// Directory with the rings' files [default: /dev/shm].
    #[arg(long, global = true, env = "UFR_DIRECTORY", value_name = "DIR")]
    #[arg(value_hint = ValueHint::DirPath)]
    directory: Option<PathBuf>,
    /// Whose rings to open, and for whom to make a ring: you, your group, or anyone.
    #[arg(long, global = true, value_name = "WHOM", default_value = "own-user")]
    #[arg(value_parser = word(Trust::ALL, Trust::name))]
    trust: Trust,
}

// Each subcommand's type has its help. A comment here would replace it.
#[derive(Subcommand)]
enum Command {
    Demo(demo::Demo),
    Create(make::Create),
    Send(send::Send),
    Recv(recv::Recv),
    Tail(tail::Tail),
    Ls(look::List),
    Group(group::Group),
    Stat(stat::Stat),
    Doctor(doctor::Doctor),
    Top(top::Top),
    Metrics(metrics::Metrics),
    Rm(make::Remove),
    Completions(completion::Completions),
    Man(man::Man),
}

/// Parses one of the library's words, which the help lists.
fn word<T, const N: usize>(
    all: [T; N],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(all.map(name)).try_map(|word| word.parse())
}

/// A time between two looks: what `--interval` takes.
fn interval(text: &str) -> Result<Duration, String> {
    /// More often, looking would cost more than it shows.
    const LEAST: Duration = Duration::from_millis(100);
    match humantime::parse_duration(text) {
        Ok(time) if time < LEAST => Err("the least is 100ms".to_string()),
        time => time.map_err(|error| error.to_string()),
    }
}

impl Common {
    fn builder(self) -> Builder {
        let builder = Builder::new().participant_name("ufr").trust(self.trust);
        self.directory.into_iter().fold(builder, Builder::directory)
    }
}

fn run() -> anyhow::Result<ExitCode> {
    // Not a subcommand, since only the demo calls it.
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
        Command::Tail(tail) => tail.run(&builder),
        Command::Ls(list) => list.run(&builder),
        Command::Group(group) => group.run(&builder),
        Command::Stat(stat) => stat.run(&builder),
        Command::Doctor(doctor) => doctor.run(&builder),
        Command::Top(top) => top.run(&builder),
        Command::Metrics(metrics) => metrics.run(&builder),
        Command::Rm(remove) => remove.run(&builder),
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(),
    }
}

fn main() -> ExitCode {
    if let Some(code) = completion::answer() {
        return code;
    }
    run().unwrap_or_else(|error| {
        if let Some(usage) = error.downcast_ref::<clap::Error>() {
            // If standard error is closed, there is nobody to tell.
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

/// Turns the library's refusal of a number into a usage error.
fn or_usage<T>(subcommand: &str, outcome: Result<T, RingError>) -> anyhow::Result<T> {
    outcome.map_err(|error| match error {
        RingError::Invalid(invalid) => explain::usage(subcommand, invalid),
        other => other.into(),
    })
}
