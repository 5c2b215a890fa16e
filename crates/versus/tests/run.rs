//! The suite runs, checks every message, and says what it measured.

use std::process::Command;

#[test]
fn two_rounds_of_every_case_run_and_are_reported() {
    let output = Command::new(env!("CARGO_BIN_EXE_versus"))
        .args(["--rounds", "2", "--json"])
        .output()
        .unwrap();
    // Two rounds are too few for a median, which is refused; a wrong message would end it earlier.
    let error = String::from_utf8_lossy(&output.stderr);
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no report: {error}"));
    assert!(!output.status.success() && error.contains("enough readings"), "{error}");
    let cases = report["ticks_per_message"].as_object().unwrap();
    for name in ["rdtsc", "raw stream 4096", "exclusive 256", "&self 256", "rtrb 4096", "pipe"] {
        let case = &cases[name];
        let readings = |distance: &str| case[distance]["readings"].as_u64().unwrap_or(0);
        let all = readings("near") + readings("far") + case["dropped"].as_u64().unwrap();
        assert_eq!(all, 2, "{name}");
    }
    assert!(report["machine"]["ticks_per_second"].as_f64().unwrap() > 1e6);
}

#[test]
fn cases_can_be_listed_and_chosen() {
    let versus = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_versus")).args(arguments).output().unwrap()
    };
    let list = String::from_utf8(versus(&["--list", "--only", "exclusive 4096"]).stdout).unwrap();
    assert_eq!(list, "exclusive 4096\nexclusive 4096, no timestamps\n");
    assert!(!versus(&["--only", "no such case"]).status.success());
}
