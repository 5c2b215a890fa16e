//! The front pages show the examples as they are, and the examples do what the pages say. The
//! reference of the calls has the front page's table.

#![cfg(all(feature = "std", not(loom)))]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ultrafastring::UltraFastRing;

const README: &str = include_str!("../../../README.md");
const FRONT: &str = include_str!("../src/front.md");
const CALLS: &str = include_str!("../../../docs/reference-calls.md");

/// An example's program, without the line that says what it is.
fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/{name}.rs"));
    std::fs::read_to_string(path).unwrap().split_once('\n').unwrap().1.to_string()
}

#[test]
fn the_front_pages_show_the_examples_as_they_are() {
    assert!(README.contains(&format!("```rust\n{}```", example("quote"))), "README.md");
    let front: String = FRONT.split_inclusive('\n').filter(|it| !it.starts_with('#')).collect();
    for name in ["threads", "tasks"] {
        assert!(front.contains(&format!("\n{}```", example(name))), "front.md: {name}");
    }
    // There the two programs are one test, so line by line.
    for line in ["produce", "consume"].map(example).iter().flat_map(|it| it.lines()) {
        let line = line.trim();
        let is_about_the_example = ["use ", "fn main", "let name", "Ok(", "}"];
        if !is_about_the_example.iter().any(|it| line.starts_with(it)) {
            assert!(FRONT.contains(line), "front.md: {line}");
        }
    }
}

/// The lines of the table of ways.
fn table(page: &str) -> Vec<&str> {
    let lines = page.lines().skip_while(|line| !line.starts_with("| way |"));
    lines.take_while(|line| line.starts_with('|')).collect()
}

#[test]
fn the_reference_has_the_front_pages_table_of_all_ways() {
    assert_eq!(table(CALLS), table(FRONT));
    assert!(table(FRONT).len() > 10, "no table was found");
}

/// An example, built beside this test; `None` where it is not built.
fn built(name: &str) -> Option<PathBuf> {
    let test = std::env::current_exe().unwrap();
    let path = test.parent()?.parent()?.join("examples").join(name);
    path.is_file().then_some(path)
}

/// What an example prints; `first` is started before, and gets some time.
fn run_both(first: &Path, second: &Path, ring: &str) -> [String; 2] {
    let start = |path: &Path| {
        let mut command = Command::new(path);
        command.arg(ring).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let first = start(first);
    std::thread::sleep(std::time::Duration::from_millis(200));
    let second = start(second);
    [first, second].map(|it| {
        let output = it.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    })
}

#[test]
fn the_two_programs_pass_quotes_between_processes_in_either_order() {
    let (Some(produce), Some(consume)) = (built("produce"), built("consume")) else {
        return common::skip("the examples are not built: cargo build --examples");
    };
    let ring = format!("front-{}", std::process::id());
    let all: String = (100..110).map(|price| format!("AAPL {price}\n")).collect();
    assert_eq!(run_both(&produce, &consume, &ring), [String::new(), all.clone()]);
    assert_eq!(run_both(&consume, &produce, &ring), [all, String::new()]);
    assert!(UltraFastRing::open(&ring).is_err(), "the consumer removes it");
}

/// The README's program as two processes. It opens a ring of a fixed name in `/dev/shm`, so each
/// runs where that is a file system of its own.
#[test]
fn the_program_of_the_readme_passes_a_quote_in_either_order() {
    let Some(quote) = built("quote") else {
        return common::skip("the examples are not built: cargo build --examples");
    };
    let quote = quote.to_str().unwrap();
    for (first, second) in [("'AAPL 100'", ""), ("", "'AAPL 100'")] {
        let script = format!(
            "mount -t tmpfs none /dev/shm || exit
             {quote} {first} & sleep 0.2; {quote} {second}; wait"
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]).stdin(Stdio::null());
        let output = match command.output() {
            Ok(output) if String::from_utf8_lossy(&output.stderr).contains("ermi") => {
                return common::skip("no right to mount a file system");
            }
            Ok(output) => output,
            Err(error) => return common::skip(&format!("unshare: {error}")),
        };
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "AAPL 100\n");
    }
}

#[test]
fn the_programs_of_threads_and_of_tasks_print_what_was_sent() {
    let print = |name: &str| {
        let output = Command::new(built(name)?).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        Some(String::from_utf8(output.stdout).unwrap())
    };
    match print("threads") {
        Some(printed) => assert_eq!(printed, "500500\n"),
        None => common::skip("the examples are not built: cargo build --examples"),
    }
    // It needs a feature that may not be on.
    if let Some(printed) = print("tasks") {
        assert_eq!(printed, "10 bytes\n1000 bytes\n50000 bytes\n");
    }
}
