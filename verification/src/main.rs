//! Checks the protocol's models, and prints what was found as a table.
//!
//! ```text
//! cargo run -p verification --release                    what a newcomer runs: some minutes
//! cargo run -p verification --release -- --full          all configurations
//! cargo run -p verification --release -- --groups        the model of groups; also with --full
//! cargo run -p verification --release -- --lanes         those of several lanes; also with --full
//! cargo run -p verification --release -- --only TEXT     configurations whose words have that text
//! cargo run -p verification --release -- --trace NAME    how a mistake goes wrong, step by step
//! ```

use std::fmt::{Debug, Display};
use std::process::ExitCode;

use verification::explore::{Model, Outcome, describe, explore};
use verification::suite::{Case, Mistake, Size};
use verification::{groups, lanes, suite};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ring = |size| check_cases(suite::cases(), size, "") & check_mistakes(suite::mistakes());
    let groups = |size| {
        check_cases(groups::suite::cases(), size, "") & check_mistakes(groups::suite::mistakes())
    };
    let as_promised = match words[..] {
        [] | ["--quick"] => ring(Size::Quick) & groups(Size::Quick) & check_lanes(Size::Quick),
        ["--full"] => ring(Size::Full) & groups(Size::Full) & check_lanes(Size::Full),
        ["--groups"] => groups(Size::Quick),
        ["--groups", "--full"] => groups(Size::Full),
        ["--lanes"] => check_lanes(Size::Quick),
        ["--lanes", "--full"] => check_lanes(Size::Full),
        ["--only", text] => {
            check_cases(suite::cases(), Size::Full, text)
                & check_cases(groups::suite::cases(), Size::Full, text)
                & check_lane_cases(Size::Full, text)
        }
        ["--trace", name] => {
            let found = trace(name, suite::mistakes())
                | trace(name, groups::suite::mistakes())
                | trace(name, lanes::sleep::wrong())
                | trace(name, lanes::class::wrong())
                | trace(name, lanes::group::wrong())
                | trace(name, lanes::owner::wrong())
                | trace(name, lanes::close::wrong())
                | trace(name, lanes::time::wrong())
                | trace(name, lanes::time::wrong_at_length());
            if !found {
                eprintln!("no mistake is named {name}");
            }
            found
        }
        _ => {
            eprintln!(
                "usage: verification [--quick | [--groups | --lanes] --full | --only TEXT | \
                 --trace NAME]"
            );
            return ExitCode::from(2);
        }
    };
    if as_promised { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Checks the models of several lanes, and that each mistake in them is found.
fn check_lanes(size: Size) -> bool {
    check_lane_cases(size, "")
        & check_mistakes(lanes::sleep::wrong())
        & check_mistakes(lanes::class::wrong())
        & check_mistakes(lanes::group::wrong())
        & check_mistakes(lanes::owner::wrong())
        & check_mistakes(lanes::close::wrong())
        & check_mistakes(lanes::time::wrong())
        & check_mistakes(lanes::time::wrong_at_length())
}

/// The first part of that.
fn check_lane_cases(size: Size, text: &str) -> bool {
    check_cases(lanes::sleep::all(), size, text)
        & check_cases(lanes::class::all(), size, text)
        & check_cases(lanes::group::all(), size, text)
        & check_cases(lanes::owner::all(), size, text)
        & check_cases(lanes::close::all(), size, text)
        & check_cases(lanes::time::all(), size, text)
}

/// Checks the unbroken protocol where its words have a text; whether it holds everywhere.
fn check_cases<M: Model + Display>(cases: Vec<Case<M>>, largest: Size, text: &str) -> bool {
    let mut all_hold = true;
    println!(
        "{:<96} {:>11} {:>11} {:>5} {:>8}  result",
        "configuration", "states", "unique", "depth", "seconds"
    );
    let chosen = |case: &Case<M>| case.size <= largest && case.protocol.to_string().contains(text);
    for case in cases.into_iter().filter(chosen) {
        let report = explore(&case.protocol);
        println!(
            "{:<96} {:>11} {:>11} {:>5} {:>8.1}  {}",
            case.protocol,
            report.states,
            report.unique,
            report.depth,
            report.elapsed.as_secs_f64(),
            report,
        );
        if let Some(trace) = report.outcome.trace() {
            all_hold = false;
            print!("{}", describe(&case.protocol, trace));
        }
    }
    all_hold
}

/// Checks that every mistake is found.
fn check_mistakes<U: Debug, M: Model + Display>(mistakes: Vec<Mistake<U, M>>) -> bool {
    let mut all_found = true;
    println!("\n{:<22} {:<76} {:>8}  found", "mistake", "configuration", "seconds");
    for mistake in mistakes {
        let report = explore(&mistake.protocol);
        let found = !matches!(report.outcome, Outcome::Holds);
        println!(
            "{:<22} {:<64} {:>8.1}  {}",
            format!("{:?}", mistake.mutation),
            mistake.protocol,
            report.elapsed.as_secs_f64(),
            if found { report.to_string() } else { "NOT FOUND".to_string() },
        );
        all_found &= found;
    }
    println!();
    all_found
}

/// Prints the steps by which a mistake goes wrong, if there is one of that name.
fn trace<U: Debug, M: Model + Display>(name: &str, mistakes: Vec<Mistake<U, M>>) -> bool {
    let mut found = false;
    for mistake in mistakes {
        if format!("{:?}", mistake.mutation) == name {
            let report = explore(&mistake.protocol);
            println!("{name}: {}: {report}", mistake.protocol);
            print!("{}", describe(&mistake.protocol, report.outcome.trace().unwrap_or_default()));
            found = true;
        }
    }
    found
}
