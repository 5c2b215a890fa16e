//! The suite runs, checks every message, and says what it measured.

use std::process::{Command, Stdio};

fn versus(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_versus")).args(arguments).output().unwrap()
}

#[test]
fn a_round_of_telling_cases_runs_and_is_reported() {
    let only = [
        "rdtsc",
        "raw stream 4096",
        "exclusive 256",
        "exclusive round trip",
        "exclusive paced",
        "&self 256",
        "8 to 1 threads",
        "rtrb 4096",
        "pipe",
        "seqpacket socket",
    ];
    let only = only.iter().flat_map(|text| ["--only", text]);
    let output = versus(&["--rounds", "1", "--json"].into_iter().chain(only).collect::<Vec<_>>());
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
        "shared 256, 8 to 1 threads",
        "exclusive 256, one ring each, fan-out to 2",
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
fn sides_that_wait_are_measured_like_all_others() {
    let output = versus(&["--rounds", "1", "--json", "--only", "wait:"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["failed"], serde_json::json!([]));
    assert_eq!(report["cases"].as_array().unwrap().len(), 9);
}

#[test]
fn messages_go_to_each_of_several_readers() {
    // The short run has those of every peer.
    let some = ["--only", "one ring each, fan-out", "--only", "raw lines"];
    let output = versus(&[&["--rounds", "1", "--json"], &some[..]].concat());
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["failed"], serde_json::json!([]));
    let all = report["machine"]["cores"].as_u64().unwrap();
    for case in report["cases"].as_array().unwrap() {
        let (readers, cores) = (case["consumers"].as_u64(), case["cores"].as_u64());
        let name = case["name"].as_str().unwrap();
        assert!(name.ends_with(&format!("fan-out to {}", readers.unwrap())), "{name}");
        assert!((2..=all.min(readers.unwrap() + 1)).contains(&cores.unwrap()), "{name}");
        assert_eq!(case["shares_cores"].as_bool().unwrap(), cores <= readers, "{name}");
        for distance in ["near", "far"] {
            // Of a queue that loses none, nobody counts what was missed.
            let missed = &case[distance]["missed"];
            assert!(missed.is_null() || case["pattern"] == "lossy fan-out", "{name}");
        }
    }
}

#[test]
fn urgent_messages_are_measured_beside_orders_that_are_work() {
    let output = versus(&["--rounds", "1", "--json", "--only", "urgent"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["failed"], serde_json::json!([]));
    let cases = report["cases"].as_array().unwrap();
    for name in ["one lane urgent", "two rings urgent", "lanes by class urgent"] {
        assert!(cases.iter().any(|case| case["name"] == name && case["pattern"] == "urgent"));
    }
}

/// Two cores that may be used.
fn two_cores() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    let ranges = list.trim().split(',').flat_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse::<usize>().unwrap()..=last.parse().unwrap()
    });
    ranges.take(2).map(|core| core.to_string()).collect::<Vec<_>>().join(",")
}

#[test]
fn crowds_have_all_cores_and_say_how_fair_they_are() {
    let run = |name: &str| {
        let output = versus(&["--apart", name, "--cores", &two_cores()]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let one = run("shared 256, 1 to 1 threads");
    let fairness = |said: &serde_json::Value, key: &str| said["fairness"][key].as_f64().unwrap();
    // There is nobody to be compared with.
    assert_eq!([fairness(&one, "producers"), fairness(&one, "consumers")], [1.0, 1.0]);
    let many = run("shared 256, 4 to 1 threads");
    assert!((0.0..=1.0).contains(&fairness(&many, "producers")), "{many}");
    assert_eq!(fairness(&many, "consumers"), 1.0);
    for key in ["longest_send", "longest_receive"] {
        assert!(fairness(&one, key) > 0.0 && fairness(&many, key) > 0.0, "{many}");
    }
}

#[test]
fn who_reads_no_more_of_a_list_gets_no_error() {
    let program = env!("CARGO_BIN_EXE_versus");
    let mut list = Command::new(program);
    list.args(["--list", "--full"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut list = list.spawn().unwrap();
    drop(list.stdout.take());
    let output = list.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && error.is_empty(), "{error}");
}

#[test]
fn large_messages_are_measured_in_each_of_their_ways() {
    let output = versus(&["--large", "--rounds", "1", "--json", "--only", "256 bytes"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !error.contains("left out"), "{error}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let cases = report["cases"].as_array().unwrap();
    for way in ["memcpy, one core", "raw exchange", "ring, in place", "pipe, vmsplice"] {
        assert!(cases.iter().any(|case| case["way"] == way && case["bytes"] == 256), "{way}");
    }
    let dropped = error.split(' ').filter_map(|word| word.parse::<usize>().ok()).sum::<usize>();
    let kept = cases.iter().filter(|case| case["near"] != case["far"]).count();
    assert_eq!(kept + dropped, cases.len(), "{error}");
}

#[test]
fn cases_can_be_listed_and_chosen() {
    let list = String::from_utf8(versus(&["--list", "--only", "exclusive 1024"]).stdout).unwrap();
    assert_eq!(list, "exclusive 1024\nexclusive 1024, no timestamps\n");
    assert!(!versus(&["--only", "no such case"]).status.success());
    let lines = |arguments: &[&str]| versus(arguments).stdout.split(|&it| it == b'\n').count();
    assert!(lines(&["--list"]) < lines(&["--list", "--full"]));
}
