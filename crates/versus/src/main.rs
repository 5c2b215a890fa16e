//! UltraFastRing and its peers, measured side by side in one run.
//!
//! ```text
//!  main        the options; what was not built in and why
//!  measure     rounds; which readings count                      apart    a case that may hang
//!  report      medians by distance, ratios, table, JSON          target   what is aimed at
//!  waiting     sides that sleep, or may
//!  page        the JSON as a page with plots
//!  ────────────────────────────────────────────────────────────
//!  limits      what the hardware allows
//!  own         the ring            ┐
//!  threads     between threads     │
//!  processes   between processes   ├─ each says how a queue is made, sent to, received from
//!  kernel      pipe, sockets       │
//!  native      C and C++           │
//!  tachyon                         ┘
//!  ────────────────────────────────────────────────────────────
//!  peer        which patterns a queue is measured in
//!  pattern     the loops, the same for all                        partner   the second process
//!  queue       what a queue has to offer
//!  case        one queue, one pattern, and how much of it
//!  ────────────────────────────────────────────────────────────
//!  large       large messages: a run of their own
//!  ────────────────────────────────────────────────────────────
//!  message     what is sent, and how it is checked                machine   cores, what machine
//! ```
//!
//! A round runs every case once, in an order that rotates from round to round, and measures the
//! distance of the two cores before and after each case. A reading during which the distance
//! changed, or a core was taken away for somebody else, is dropped; the others are grouped by
//! distance.

mod apart;
mod case;
mod kernel;
mod large;
mod limits;
mod machine;
mod measure;
mod message;
#[cfg(feature = "native")]
mod native;
mod own;
mod page;
mod partner;
mod pattern;
mod peer;
#[cfg(feature = "processes")]
mod processes;
mod queue;
mod report;
#[cfg(feature = "tachyon")]
mod tachyon;
mod target;
mod threads;
mod waiting;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Parser;

use case::Case;
use measure::Extent;
use peer::Peer;

#[derive(Parser)]
#[command(version, about = "Measure UltraFastRing and its peers side by side")]
struct Cli {
    /// The most telling cases, for under two minutes. This is what happens if nothing is asked.
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// All cases, for under thirty minutes.
    #[arg(long)]
    full: bool,
    /// So many rounds, however long they take.
    #[arg(long)]
    rounds: Option<usize>,
    /// Only the cases, of all, whose names contain this; may be repeated.
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// List the cases and end.
    #[arg(long)]
    list: bool,
    /// Print one JSON object instead of tables.
    #[arg(long)]
    json: bool,
    /// Write results.json, index.html and table.txt there too.
    #[arg(long, value_name = "DIRECTORY")]
    out: Option<PathBuf>,
    /// Measure nothing: make index.html anew from the results.json in that directory.
    #[arg(long, value_name = "DIRECTORY", exclusive = true)]
    page: Option<PathBuf>,
    /// Large messages instead, 256 bytes to a mebibyte, copied and in place; 7 rounds, or 50 with
    /// --full.
    #[arg(long)]
    large: bool,
    /// The second process of that.
    #[arg(long, hide = true)]
    large_part: Option<String>,
    /// The second process.
    #[arg(long, hide = true, value_name = "CORE")]
    partner: Option<usize>,
    /// The process of one case.
    #[arg(long, hide = true, value_name = "CASE", requires = "cores")]
    apart: Option<String>,
    /// The consumer's and the producer's core, for that.
    #[arg(long, hide = true, value_delimiter = ',')]
    cores: Vec<usize>,
    /// The second process of a case in which sides wait.
    #[arg(long, hide = true, value_name = "WORK")]
    waiter: Option<String>,
}

/// All kinds of queue that were built in.
fn peers() -> Vec<Peer> {
    let mut peers = own::peers();
    peers.extend(threads::peers());
    peers.extend(kernel::peers());
    #[cfg(feature = "processes")]
    peers.extend(processes::peers());
    #[cfg(feature = "native")]
    peers.extend(native::peers());
    #[cfg(feature = "tachyon")]
    peers.extend(tachyon::peers());
    peers
}

/// Peers that were not built in, and why.
#[allow(clippy::vec_init_then_push, reason = "each is pushed or not by what was built in")]
fn left_out() -> Vec<(&'static str, &'static str)> {
    let mut out = vec![];
    #[cfg(not(feature = "threads"))]
    out.push(("ringbuf, disruptor, thingbuf, kanal, flume", "built without the feature `threads`"));
    #[cfg(not(feature = "processes"))]
    out.push((
        "ringfire, shaq, cloudtoid, crossbar, iceoryx2, ipc-channel, POSIX message queue",
        "built without the feature `processes`",
    ));
    #[cfg(not(feature = "native"))]
    out.push((
        "rte_ring, moodycamel's queues, Boost's queues",
        "built without the feature `native`",
    ));
    #[cfg(feature = "native")]
    out.extend(native::left_out());
    #[cfg(not(feature = "tachyon"))]
    out.push((
        "tachyon",
        "built without the feature `tachyon`, which needs libclang and GCC 14 or Clang 17",
    ));
    out
}

fn cases() -> Vec<Case> {
    let mut cases = limits::cases();
    cases.extend(peers().into_iter().flat_map(|peer| peer.cases));
    cases.extend(waiting::cases());
    for case in &mut cases {
        case.quick = peer::is_quick(case);
    }
    cases
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    if let Some(core) = cli.partner {
        partner::serve(core)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(name) = &cli.apart {
        apart::serve(name, &cli.cores)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(part) = &cli.large_part {
        large::serve(part)?;
        return Ok(ExitCode::SUCCESS);
    }
    if cli.large {
        large::run(cli.rounds.unwrap_or(if cli.full { 50 } else { 7 }), &cli.only, cli.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(directory) = &cli.page {
        let path = directory.join("results.json");
        let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
        fs::write(directory.join("index.html"), page::render(&serde_json::from_str(&text)?))?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(work) = cli.waiter {
        waiting::serve(&work)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut cases = cases();
    if !cli.only.is_empty() {
        cases.retain(|case| cli.only.iter().any(|text| case.name.contains(text.as_str())));
    } else if !cli.full {
        cases.retain(|case| case.quick);
    }
    if cli.list {
        cases.iter().for_each(|case| println!("{}", case.name));
        return Ok(ExitCode::SUCCESS);
    }
    ensure!(!cases.is_empty(), "no case has such a name; --list --full shows them");
    let extent = match (cli.rounds, cli.full) {
        (Some(rounds), _) => Extent { rounds, time: Duration::MAX },
        (None, true) => Extent { rounds: 200, time: Duration::from_secs(27 * 60) },
        (None, false) => Extent { rounds: 60, time: Duration::from_secs(105) },
    };
    let readings = measure::measure(cases, &extent)?;
    let report = report::as_json(&readings, &left_out());
    let table = report::as_table(&report);
    if let Some(directory) = &cli.out {
        fs::create_dir_all(directory)?;
        fs::write(directory.join("results.json"), format!("{report:#}\n"))?;
        fs::write(directory.join("index.html"), page::render(&report))?;
        fs::write(directory.join("table.txt"), &table)?;
    }
    if cli.json {
        println!("{report:#}");
    } else {
        print!("{table}");
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
