//! The alerts and the dashboard of `docs/monitoring`, and the pages that name metrics, name those
//! that there are.

#[allow(dead_code)]
mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use common::Place;
use ultrafastring::{Builder, PriorityClass};

/// The metrics that there are, as they are asked for.
fn metrics() -> BTreeSet<String> {
    let place = Place::new();
    let builder = || Builder::new().directory(place.path());
    let ring = builder().latency_histograms(true).create("orders").unwrap();
    ring.try_send("!", PriorityClass::Normal).unwrap();
    ring.try_recv().unwrap();
    let ring = builder().latency_histograms(true).groups(["risk"]).create("prices").unwrap();
    ring.try_send("!", PriorityClass::Normal).unwrap();
    ring.join("risk").consumer().unwrap().try_recv().unwrap();
    let text = place.say(&["metrics", "--once"]);
    let lines = text.lines().filter(|it| !it.starts_with('#'));
    lines.map(|it| it.split(['{', ' ']).next().unwrap().to_string()).collect()
}

/// The names of metrics in a text.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|it: char| !(it.is_ascii_alphanumeric() || it == '_'));
    // What ends in a line is the beginning of several.
    let names = words.filter(|it| it.starts_with("ufr_") && !it.ends_with('_'));
    names.map(str::to_string).collect()
}

#[test]
fn what_alerts_dashboard_and_pages_name_is_there() {
    let there = metrics();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    for file in [
        "monitoring/ufr-alerts.yml",
        "monitoring/ufr-alerts-test.yml",
        "monitoring/ufr-dashboard.json",
        "guide/watching.md",
        "reference-command.md",
    ] {
        let names = named(&fs::read_to_string(docs.join(file)).unwrap());
        assert!(!names.is_empty(), "{file}");
        // A histogram is also named as a whole.
        let is_there =
            |name: &String| there.contains(name) || there.contains(&format!("{name}_count"));
        let gone: Vec<_> = names.iter().filter(|it| !is_there(it)).collect();
        assert!(gone.is_empty(), "{file}: {gone:?}");
    }
}

#[test]
fn each_metric_is_in_the_reference() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference-command.md");
    let named = named(&fs::read_to_string(page).unwrap());
    let parts = ["_bucket", "_sum", "_count"];
    let whole = |name: &str| {
        let part = parts.iter().find_map(|part| name.strip_suffix(part));
        part.unwrap_or(name).to_string()
    };
    let missing: Vec<_> = metrics().into_iter().filter(|it| !named.contains(&whole(it))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
