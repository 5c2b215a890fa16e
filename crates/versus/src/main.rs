//! UltraFastRing and its peers, measured side by side in one run.
//!
//! ```text
//!  main      the options; rounds; which readings count
//!  machine   cores, what machine this is
//!  message   what is sent, and how it is checked
//!  limits    what the hardware allows: rdtsc, a line there and back, a stream of lines
//!  own       the ring, mostly between two processes   ──┐
//!  peers     what others offer                        ──┴─ partner   the second process
//!  waiting   sides that sleep, or may
//!  report    medians by distance, targets, table and JSON
//! ```
//!
//! A round runs every case once, in an order that rotates from round to round, and measures the
//! distance of the two cores before and after each case. A reading during which the distance
//! changed is dropped; the others are grouped by distance.

mod limits;
mod machine;
mod message;
mod own;
mod partner;
mod peers;
mod report;
mod waiting;

use std::process::ExitCode;

use anyhow::ensure;
use clap::Parser;

use machine::Cores;
use partner::Partner;
use report::{Distance, Readings};

#[derive(Parser)]
#[command(version, about = "Measure UltraFastRing and its peers side by side")]
struct Cli {
    /// Few rounds: under a minute. This is what happens if nothing is asked.
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Many rounds: some minutes.
    #[arg(long)]
    full: bool,
    /// So many rounds.
    #[arg(long)]
    rounds: Option<usize>,
    /// Only the cases whose names contain this; may be repeated.
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// List the cases and end.
    #[arg(long)]
    list: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// The second process.
    #[arg(long, hide = true, value_name = "CORE")]
    partner: Option<usize>,
    /// The second process of a case in which sides wait.
    #[arg(long, hide = true, value_name = "WORK")]
    waiter: Option<String>,
}

/// Something to measure.
struct Case {
    name: &'static str,
    /// Messages in one reading.
    messages: u64,
    /// Ticks a message.
    run: fn(&mut Context, u64) -> anyhow::Result<f64>,
}

/// What a case has at hand.
struct Context {
    cores: Cores,
    partner: Partner,
}

fn cases() -> Vec<Case> {
    [limits::cases(), own::cases(), peers::cases(), waiting::cases()]
        .into_iter()
        .flatten()
        .collect()
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    if let Some(core) = cli.partner {
        partner::serve(core)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(work) = cli.waiter {
        waiting::serve(&work)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut cases = cases();
    if !cli.only.is_empty() {
        cases.retain(|case| cli.only.iter().any(|text| case.name.contains(text.as_str())));
    }
    if cli.list {
        cases.iter().for_each(|case| println!("{}", case.name));
        return Ok(ExitCode::SUCCESS);
    }
    ensure!(!cases.is_empty(), "no case has such a name; --list shows them");
    let rounds = cli.rounds.unwrap_or(if cli.full { 200 } else { 30 });
    let readings = measure(&cases, rounds)?;
    let description = machine::describe(readings.cores);
    if cli.json {
        println!("{:#}", report::as_json(&readings, &description));
    } else {
        report::print(&readings, &description);
    }
    if readings.usable() {
        Ok(ExitCode::SUCCESS)
    } else {
        eprintln!(
            "versus: the distance of the cores kept changing, or too much else ran: no case has \
             enough readings. Run it again, with more --rounds, or when less is going on"
        );
        Ok(ExitCode::FAILURE)
    }
}

fn measure(cases: &[Case], rounds: usize) -> anyhow::Result<Readings> {
    let cores = machine::cores()?;
    machine::keep_to(cores.consumer)?;
    let mut context = Context { cores, partner: Partner::start(cores.producer)? };
    let mut readings = Readings::new(cores, cases.iter().map(|case| case.name));
    for round in 0..rounds {
        eprint!("\rround {} of {rounds}", round + 1);
        for at in 0..cases.len() {
            // Rotated, so that none always follows the same other.
            let at = (at + round) % cases.len();
            let case = &cases[at];
            let before = limits::line(&mut context, limits::TRIPS)?;
            let ticks = (case.run)(&mut context, case.messages)?;
            let after = limits::line(&mut context, limits::TRIPS)?;
            readings.line(before);
            readings.line(after);
            match (Distance::of(before), Distance::of(after)) {
                (Some(one), Some(other)) if one == other => readings.add(at, one, ticks),
                _ => readings.drop_one(at),
            }
        }
    }
    eprintln!();
    Ok(readings)
}
