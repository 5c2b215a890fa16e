//! `ufr stat`: what it prints of counters, classes, lanes and latencies, once and again and again.
//!
//! | variable | does |
//! |---|---|
//! | `UFR_STAT_OUTPUTS` | a directory in which the objects of `--json` are left, to be checked against `docs/stat.schema.json` |

#[allow(dead_code)]
mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use common::{Place, in_little_memory};
use serde_json::Value;
use ultrafastring::{Builder, PriorityClass, UltraFastRing};

/// Rings of each kind, with something in them.
fn rings(place: &Place) -> Vec<(&'static str, UltraFastRing)> {
    let at = Builder::new().directory(place.path()).capacity(8);
    let made = vec![
        ("plain", at.create("plain").unwrap()),
        ("counted", at.clone().latency_histograms(true).create("counted").unwrap()),
        (
            "grouped",
            at.latency_histograms(true).groups(["risk"]).joinable().create("grouped").unwrap(),
        ),
    ];
    for (name, ring) in &made {
        for number in 0..12 {
            let class = if number % 3 == 0 { PriorityClass::High } else { PriorityClass::Bulk };
            // The ring is full after eight.
            let _ = ring.try_send(format!("{number}"), class);
        }
        let group = ring.join("risk");
        let consumer = if *name == "grouped" { group.consumer() } else { ring.consumer() };
        let mut consumer = consumer.unwrap();
        for _ in 0..5 {
            consumer.try_recv().unwrap();
        }
        std::mem::forget(consumer.try_borrow().unwrap());
        consumer.flush();
    }
    made
}

#[test]
fn stat_prints_one_object_with_classes_lanes_and_times_in_nanoseconds() {
    let place = Place::new();
    let _rings = rings(&place);
    let outputs = std::env::var_os("UFR_STAT_OUTPUTS");
    for name in ["plain", "counted", "grouped"] {
        let text = place.say(&["stat", name, "--json"]);
        if let Some(directory) = &outputs {
            std::fs::write(Path::new(directory).join(format!("{name}.json")), &text).unwrap();
        }
        let stat: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&stat["sent"], &stat["received"]), (&8.into(), &6.into()), "{stat:#}");
        assert_eq!(stat["lanes"].as_array().unwrap().len(), 1);
        assert_eq!(stat["lanes"][0]["producer_head"], 8);
        let (high, bulk) = (&stat["classes"]["high"], &stat["classes"]["bulk"]);
        assert_eq!((&high["received"], &bulk["received"]), (&2.into(), &4.into()), "{stat:#}");
        assert_eq!(high["sent_bytes"], 3);
        assert!(high["average_latency_ns"].as_u64() > Some(0));
        assert_eq!((&stat["credit_stalls"], &stat["most_in_flight"]), (&1.into(), &8.into()));
        let latency = &high["latency"];
        if name == "plain" {
            assert_eq!(*latency, Value::Null);
        } else {
            assert_eq!(latency["count"], 2, "{latency:#}");
            let of = |key: &str| latency[key].as_u64().unwrap();
            assert!(0 < of("p50_ns") && of("p50_ns") <= of("p999_ns"), "{latency:#}");
            assert!(of("max_ns") as f64 <= high["longest_latency_ns"].as_f64().unwrap() * 1.07);
        }
        let table = place.say(&["stat", name]);
        assert_eq!(table.contains("p99.9"), name != "plain", "{table}");
        assert!(table.contains("stalls         1 in 0 ns; deepest 8"), "{table}");
    }
}

#[test]
fn stat_shows_the_memory_of_side_buffers() {
    let place = Place::new();
    let builder = Builder::new().directory(place.path()).capacity(8).max_message(1 << 16);
    let ring = builder.latency_histograms(true).create("large").unwrap();
    for _ in 0..3 {
        ring.try_send(vec![7; 1 << 16], PriorityClass::Normal).unwrap();
    }
    ring.try_recv_into(&mut Vec::new()).unwrap();
    let text = place.say(&["stat", "large", "--json"]);
    if let Some(directory) = std::env::var_os("UFR_STAT_OUTPUTS") {
        std::fs::write(Path::new(&directory).join("large.json"), &text).unwrap();
    }
    let stat: Value = serde_json::from_str(&text).unwrap();
    let memory = &stat["side_memory"];
    assert_eq!((&memory["size"], &memory["taken"]), (&(8 << 16).into(), &(3 << 16).into()));
    let table = place.say(&["stat", "large"]);
    assert!(table.contains("side memory    196608 of 524288 bytes taken, "), "{table}");
    Builder::new().directory(place.path()).create("small").unwrap();
    assert_eq!(place.stat("small")["side_memory"], Value::Null);
}

#[test]
fn doctor_says_that_memory_is_short_and_what_to_do() {
    let place = Place::new();
    let lines = "$1 create r --max-message 1048576 --side-memory overcommitted >&2
        $1 doctor r
        head -c $((3 << 20)) /dev/zero | $1 send r --raw
        $1 doctor r
        $1 stat r";
    let Some(output) = in_little_memory(&place, "3500k", lines) else { return };
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.matches("r: all is well\n").count(), 2, "{said}");
    assert_eq!(said.matches("r: memory is short: ").count(), 1, "{said}");
    assert!(said.contains(" bytes are free, and a message may need 1048576; the "), "{said}");
    assert!(said.contains("of 268435456 bytes taken, "), "{said}");
    assert!(said.contains(" free: short\n"), "{said}");
}

#[test]
fn stat_goes_on_until_nobody_reads_with_a_line_for_each_interval() {
    let place = Place::new();
    let (name, ring) = rings(&place).remove(1);
    for (arguments, rates) in [(&["--json"][..], true), (&[], false)] {
        let watch = ["stat", name, "--watch", "--interval", "0.05"];
        let mut child =
            place.ufr(&[&watch[..], arguments].concat()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut sent = 0.0;
        for _ in 0..4 {
            let _ = ring.try_recv();
            ring.try_send("again", PriorityClass::Normal).unwrap();
            let line = lines.next().unwrap().unwrap();
            if rates {
                let object: Value = serde_json::from_str(&line).unwrap();
                sent += object["sent_per_second"].as_f64().unwrap();
                assert!(object["seconds"].as_f64() > Some(0.0), "{line}");
                assert!(object["latency"].is_object(), "{line}");
            } else {
                assert_eq!(line.split_whitespace().next() == Some("sent/s"), sent == 0.0);
                sent += 1.0;
            }
        }
        assert!(sent > 0.0);
        drop(lines);
        // As if by SIGPIPE.
        assert_eq!(child.wait().unwrap().code(), Some(141));
    }
    for wrong in ["0", "-1", "x", "1e9"] {
        assert_eq!(
            place.run(&["stat", name, "--watch", "--interval", wrong]).status.code(),
            Some(2),
            "{wrong}"
        );
    }
    assert_eq!(place.run(&["stat", name, "--interval", "1"]).status.code(), Some(2));
}
