//! Checks the protocol's models, and prints what was found as a table.
//!
//! ```text
//! cargo run -p verification --release                   what a newcomer runs: some minutes
//! cargo run -p verification --release -- --full         all configurations
//! cargo run -p verification --release -- --trace NAME   how a mistake goes wrong, step by step
//! ```

use std::process::ExitCode;

use verification::explore::{Outcome, describe, explore};
use verification::suite::{Size, cases, mistakes};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let as_promised = match words[..] {
        [] | ["--quick"] => check_cases(Size::Quick) & check_mistakes(),
        ["--full"] => check_cases(Size::Full) & check_mistakes(),
        ["--trace", name] => trace(name),
        _ => {
            eprintln!("usage: verification [--quick | --full | --trace MUTATION]");
            return ExitCode::from(2);
        }
    };
    if as_promised { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Checks the unbroken protocol; whether it holds everywhere.
fn check_cases(largest: Size) -> bool {
    let mut all_hold = true;
    println!(
        "{:<96} {:>11} {:>11} {:>5} {:>8}  result",
        "configuration", "states", "unique", "depth", "seconds"
    );
    for case in cases().into_iter().filter(|case| case.size <= largest) {
        let report = explore(&case.protocol);
        println!(
            "{:<96} {:>11} {:>11} {:>5} {:>8.1}  {}",
            case.protocol,
            report.states,
            report.unique,
            report.depth,
            report.elapsed.as_secs_f64(),
            report.outcome,
        );
        if let Some(trace) = report.outcome.trace() {
            all_hold = false;
            print!("{}", describe(&case.protocol, trace));
        }
    }
    all_hold
}

/// Checks that every mistake is found.
fn check_mistakes() -> bool {
    let mut all_found = true;
    println!("\n{:<22} {:<76} {:>8}  found", "mistake", "configuration", "seconds");
    for mistake in mistakes() {
        let report = explore(&mistake.protocol);
        println!(
            "{:<22} {:<64} {:>8.1}  {}",
            format!("{:?}", mistake.mutation),
            mistake.protocol,
            report.elapsed.as_secs_f64(),
            match &report.outcome {
                Outcome::Holds => "NOT FOUND".to_string(),
                wrong => wrong.to_string(),
            },
        );
        all_found &= report.outcome != Outcome::Holds;
    }
    all_found
}

/// Prints the steps by which a mistake goes wrong.
fn trace(name: &str) -> bool {
    let mut found = false;
    for mistake in mistakes() {
        if format!("{:?}", mistake.mutation) == name {
            let report = explore(&mistake.protocol);
            println!("{name}: {}: {}", mistake.protocol, report.outcome);
            print!("{}", describe(&mistake.protocol, report.outcome.trace().unwrap_or_default()));
            found = true;
        }
    }
    if !found {
        eprintln!("no mistake is named {name}");
    }
    found
}
