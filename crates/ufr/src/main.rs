//! `ufr`: make, feed, read and look into rings from the command line.
//!
//! Exit codes: 0 done, 1 what was asked could not be done (the reason is on standard error), 2 a
//! usage error, 128 + n ended by signal n with the ring left in order.

mod demo;
mod flow;
mod look;
mod make;
mod wait;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use ultrafastring::{Builder, Trust};

/// A message ring in shared memory: faster than a pipe, with no daemon.
#[derive(Parser)]
#[command(name = "ufr", version)]
struct Cli {
    /// Directory of the rings' files, instead of /dev/shm.
    #[arg(long, global = true, env = "UFR_DIRECTORY", value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Whose rings are opened, and who may open a new one: own-user, group or anyone.
    #[arg(long, global = true, value_name = "WHOM", default_value = "own-user", value_parser = trust)]
    trust: Trust,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Stream messages between two processes on two cores, and show what it costs.
    Demo(demo::Demo),
    /// One of the demo's two processes.
    #[command(hide = true)]
    DemoPart(demo::Part),
    /// Make a ring; both sides are shared unless asked otherwise.
    Create(make::Create),
    /// Send standard input, a message a line; waits while the ring is full.
    Send(flow::Send),
    /// Write what is received to standard output, a line a message.
    Recv(flow::Recv),
    /// List rings, and whether anybody uses them.
    Ls,
    /// Show counters, lanes and participants of a ring.
    Stat(look::Stat),
    /// Check every invariant of a ring, and finish what dead processes left undone.
    Doctor(look::Doctor),
    /// Remove rings; who has them open goes on with them.
    Rm(make::Remove),
    /// Print a completion script.
    Completions {
        /// The shell to complete for.
        shell: clap_complete::Shell,
    },
}

fn trust(text: &str) -> Result<Trust, String> {
    match text {
        "own-user" => Ok(Trust::OwnUser),
        "group" => Ok(Trust::Group),
        "anyone" => Ok(Trust::Anyone),
        _ => Err("write own-user, group or anyone".to_string()),
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut builder = Builder::new().participant_name("ufr").trust(cli.trust);
    if let Err(error) = ultrafastring::survive_truncation() {
        eprintln!("ufr: {error}");
    }
    if let Some(directory) = cli.directory {
        builder = builder.directory(directory);
    }
    let outcome = match cli.command {
        Command::Demo(demo) => demo.run(builder),
        Command::DemoPart(part) => part.run(&builder),
        Command::Create(create) => create.run(builder),
        Command::Send(send) => send.run(&builder),
        Command::Recv(recv) => recv.run(&builder),
        Command::Ls => look::list(&builder),
        Command::Stat(stat) => stat.run(&builder),
        Command::Doctor(doctor) => doctor.run(&builder),
        Command::Rm(remove) => remove.run(&builder),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "ufr", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    };
    outcome.unwrap_or_else(|error| {
        // Whoever reads our output has had enough: nothing to complain about.
        let closed = error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe);
        if !closed {
            eprintln!("ufr: {error:#}");
        }
        ExitCode::FAILURE
    })
}
