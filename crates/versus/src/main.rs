//! UltraFastRing and its peers, measured side by side in one run.
//!
//! ```text
//!  main        the options
//!  ────────────────────────────────────────────────────────────
//!  page        the JSON as a page with plots
//!  report      ratios, tables, JSON                              target   what is aimed at
//!  measure     rounds; which readings count                      apart    a case that may hang
//!  median      how certain a median is
//!  ────────────────────────────────────────────────────────────
//!  suite       all cases; what was not built in and why
//!  limits      what the hardware allows
//!  waiting     sides that sleep, or may
//!  large       large messages: a run of their own
//!  own, own_c  the ring            ┐
//!  threads     between threads     │
//!  processes   between processes   ├─ each says how a queue is made, sent to, received from
//!  kernel      pipe, sockets       │
//!  native      C and C++           │
//!  tachyon                         ┘
//!  ────────────────────────────────────────────────────────────
//!  peer        which patterns a queue is measured in
//!  pattern     the loops, the same for all                      fan_out  those of several readers
//!                                                               crowd    those of many threads
//!                                                               urgent   those of urgent messages
//!  queue       what a queue has to offer
//!  case        one queue, one pattern, and how much of it
//!  ────────────────────────────────────────────────────────────
//!  partner     the second process                                child    how it is started
//!  message     what is sent, and how it is checked               machine  what machine
//!                                                                cores    two of them
//! ```
//!
//! A module imports from those beside and below it, and none of these from it.
//!
//! A round runs every case once, in an order that rotates from round to round, and measures the
//! distance of the two cores before and after each case. A reading during which the distance
//! changed, or a core was taken away for somebody else, is dropped; the others are grouped by
//! distance.

mod apart;
mod case;
#[path = "../../ufr/src/demo/child.rs"]
mod child;
#[path = "../../ufr/src/demo/cores.rs"]
mod cores;
mod crowd;
mod fan_out;
mod groups;
mod kernel;
mod lanes;
mod large;
mod limits;
mod machine;
mod measure;
mod median;
mod message;
#[cfg(feature = "native")]
mod native;
mod own;
#[cfg(feature = "c")]
mod own_c;
mod page;
mod partner;
mod pattern;
mod peer;
#[cfg(feature = "processes")]
mod processes;
mod queue;
mod report;
mod suite;
#[cfg(feature = "tachyon")]
mod tachyon;
mod target;
mod threads;
mod urgent;
mod waiting;

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Parser;
use serde_json::Value;

use case::Case;
use measure::{CaseReadings, Extent};

#[derive(Parser)]
#[command(version, about = "Measure UltraFastRing and its peers side by side")]
struct Cli {
    /// Run the most telling cases, in under two minutes. This is the default.
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Run all cases, in under thirty minutes.
    #[arg(long)]
    full: bool,
    /// Run this many rounds, however long they take.
    #[arg(long)]
    rounds: Option<usize>,
    /// Run only the cases whose names contain TEXT; may be repeated.
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// List the cases that would run, and exit.
    #[arg(long)]
    list: bool,
    /// Print one JSON object instead of tables.
    #[arg(long)]
    json: bool,
    /// Also write results.json, index.html, picture.svg and table.txt to DIRECTORY.
    #[arg(long, value_name = "DIRECTORY")]
    out: Option<PathBuf>,
    /// Measure nothing. Read results.json in DIRECTORY, write index.html and picture.svg there
    /// again, and print the table of the project's front page.
    #[arg(long, value_name = "DIRECTORY", exclusive = true)]
    page: Option<PathBuf>,
    /// Measure large messages instead: 256 bytes to 1 MiB, copied and in place. Runs 7 rounds, or
    /// 50 with --full.
    #[arg(long)]
    large: bool,
    /// The second process.
    #[arg(long, hide = true, value_name = "CORE")]
    partner: Option<usize>,
    /// The process of one case.
    #[arg(long, hide = true, value_name = "CASE", requires = "cores")]
    apart: Option<String>,
    /// The producer's core, the consumer's, and the others that may be used, for that.
    #[arg(long, hide = true, value_delimiter = ',')]
    cores: Vec<usize>,
}

/// The case that is called `name`.
fn case<'c>(cases: &'c [Case], name: &str) -> anyhow::Result<&'c Case> {
    cases.iter().find(|case| case.name == name).with_context(|| format!("no case is called {name}"))
}

/// Writes the page of a report, and the picture of the project's front page if there are figures
/// for it.
fn write_pages(directory: &Path, report: &Value) -> anyhow::Result<()> {
    fs::write(directory.join("index.html"), page::render(report))?;
    if let Some(picture) = page::picture(report) {
        fs::write(directory.join("picture.svg"), picture)?;
    }
    Ok(())
}

/// Writes to standard output. Who reads it may have had enough: that is no error.
fn say(text: &str) -> anyhow::Result<ExitCode> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    if let Some(core) = cli.partner {
        let cases = suite::all_cases();
        partner::serve(core, |name, addresses, hands| {
            let case = case(&cases, name)?;
            let serve = case.runner.serve.context("it is for one process")?;
            serve(case, addresses, hands)
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(name) = &cli.apart {
        apart::serve(case(&suite::cases(), name)?, &cli.cores)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(directory) = &cli.page {
        let path = directory.join("results.json");
        let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
        let report = serde_json::from_str(&text)?;
        write_pages(directory, &report)?;
        return say(&page::table(&report).unwrap_or_default());
    }
    let mut cases = if cli.large { large::cases() } else { suite::cases() };
    if !cli.only.is_empty() {
        cases.retain(|case| cli.only.iter().any(|text| case.name.contains(text.as_str())));
    } else if !cli.full && !cli.large {
        cases.retain(peer::is_quick);
    }
    if cli.list {
        let names: String = cases.iter().map(|case| format!("{}\n", case.name)).collect();
        return say(&names);
    }
    ensure!(
        !cases.is_empty(),
        "no case has a name that contains it; --list --full lists all cases"
    );
    if cli.large {
        let rounds = cli.rounds.unwrap_or(if cli.full { 50 } else { 7 });
        let readings = measure::measure(cases, &Extent { rounds, time: Duration::MAX })?;
        for (case, why) in &readings.failed {
            eprintln!("{}, left out: {why}", case.name);
        }
        let dropped = |of: fn(&CaseReadings) -> usize| readings.cases.iter().map(of).sum::<usize>();
        eprintln!(
            "dropped: {} readings because the distance of the cores changed, {} because a core was \
             taken away",
            dropped(|case| case.moved),
            dropped(|case| case.disturbed)
        );
        return say(&if cli.json {
            format!("{:#}\n", report::large::as_json(&readings))
        } else {
            report::large::as_table(&readings)
        });
    }
    let extent = match (cli.rounds, cli.full) {
        (Some(rounds), _) => Extent { rounds, time: Duration::MAX },
        (None, true) => Extent { rounds: 200, time: Duration::from_secs(27 * 60) },
        (None, false) => Extent { rounds: 60, time: Duration::from_secs(105) },
    };
    let readings = measure::measure(cases, &extent)?;
    let report = report::as_json(&readings, &suite::left_out());
    let table = report::as_table(&report);
    if let Some(directory) = &cli.out {
        fs::create_dir_all(directory)?;
        fs::write(directory.join("results.json"), format!("{report:#}\n"))?;
        write_pages(directory, &report)?;
        fs::write(directory.join("table.txt"), &table)?;
    }
    let said = say(&if cli.json { format!("{report:#}\n") } else { table })?;
    if readings.usable() {
        Ok(said)
    } else {
        eprintln!(
            "versus: no case has enough readings, because the distance of the cores kept changing \
             or other work ran on them. Run it again with more --rounds, or on a quieter machine"
        );
        Ok(ExitCode::FAILURE)
    }
}
