//! The suite runs, checks every message, and says what it measured.

use std::process::Command;

fn versus(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_versus")).args(arguments).output().unwrap()
}

#[test]
fn a_round_of_the_telling_cases_runs_and_is_reported() {
    let output = versus(&["--rounds", "1", "--json"]);
    // One round is too few for a median, which is refused; a wrong message would fail its case.
    let error = String::from_utf8_lossy(&output.stderr);
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no report: {error}"));
    assert!(!output.status.success() && error.contains("enough readings"), "{error}");
    assert_eq!(report["failed"], serde_json::json!([]));
    let cases = report["cases"].as_array().unwrap();
    for name in [
        "rdtsc",
        "raw stream 4096",
        "exclusive 256",
        "exclusive 256, batches of 16",
        "exclusive round trip",
        "exclusive paced",
        "&self 256",
        "shared 256, 8 to 8 threads",
        "rtrb 4096",
        "pipe",
        "seqpacket socket",
    ] {
        let case = cases.iter().find(|case| case["name"] == name).expect(name);
        let readings = |distance: &str| case[distance]["readings"].as_u64().unwrap_or(0);
        let dropped = |why: &str| case["dropped"][why].as_u64().unwrap();
        let all = readings("near") + readings("far") + dropped("moved") + dropped("disturbed");
        assert_eq!(all, 1, "{name}");
        assert!(case["near"]["median"].is_null() && case["far"]["median"].is_null(), "{name}");
    }
    assert!(report["machine"]["ticks_per_second"].as_f64().unwrap() > 1e6);
}

#[test]
fn every_pattern_that_the_short_run_leaves_out_runs() {
    let output = versus(&[
        "--rounds",
        "1",
        "--json",
        "--only",
        "idle",
        "--only",
        "8 bytes",
        "--only",
        "in place",
        "--only",
        "batches of 1",
        "--only",
        "one thread",
        "--only",
        "65536",
    ]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["failed"], serde_json::json!([]));
    let patterns = report["cases"].as_array().unwrap().iter().map(|case| &case["pattern"]);
    for pattern in ["idle", "stream", "in place", "batches", "one thread"] {
        assert!(patterns.clone().any(|it| it == pattern), "{pattern}");
    }
}

#[test]
fn cases_can_be_listed_and_chosen() {
    let list = String::from_utf8(versus(&["--list", "--only", "exclusive 4096"]).stdout).unwrap();
    assert_eq!(list, "exclusive 4096\nexclusive 4096, no timestamps\n");
    assert!(!versus(&["--only", "no such case"]).status.success());
    let lines = |arguments: &[&str]| versus(arguments).stdout.split(|&it| it == b'\n').count();
    assert!(lines(&["--list"]) < lines(&["--list", "--full"]));
}
