//! That each suite runs on each shape of ring, or says why not: see `common/shapes.rs`.
//!
//! `cargo test -p ultrafastring --test shapes -- --nocapture` prints the table.

#![cfg(all(feature = "std", not(loom)))]

#[path = "common/shapes.rs"]
mod shapes;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use shapes::{NAMES, lacks};

/// Suites that are about no shape of ring, and why.
const ABOUT_NONE: [(&str, &str); 25] = [
    ("evict", "is about groups alone, and makes its own"),
    ("founding", "runs the snippets of one document as they are"),
    ("front", "runs the programs of the front pages as they are"),
    ("fuzz replay", "plays inputs that were found, each of which says its ring's shape"),
    ("golden", "compares one ring, word by word, with the one that is written down"),
    ("groups", "is about groups alone, and makes its own, with producers of either side"),
    ("groups_deaths", "as groups, and kills members and producers"),
    ("groups_edges", "as groups"),
    ("groups_edges_evict", "as groups"),
    ("groups_waiting", "as groups"),
    ("hostile_groups", "as groups, among peers that write garbage"),
    ("hostile_lanes", "as lanes, among peers that write garbage"),
    ("histograms", "counts what handles of each kind have counted alike"),
    ("in_c", "has a producer and a consumer in C that know one kind of ring"),
    ("lanes", "is about rings of several lanes, and makes its own"),
    ("lanes_processes", "as lanes"),
    ("layout", "compares the page of the layout with the layout"),
    ("loom_groups", "as groups, under a model checker"),
    ("loom_lanes", "as lanes, under a model checker"),
    ("machine", "has machines that lack something, which rings of each shape ask of them alike"),
    ("names", "makes and removes files, as rings of each shape have them alike"),
    ("opening", "opens rings with settings that are compared, of which the shape is two"),
    ("overruns", "is about readers that producers do not wait for"),
    ("tail", "is about readers that take no entry"),
    ("time_order", "as lanes, whose consumers choose an order"),
];

/// What a test needs of its shape.
type Needs = Vec<String>;

/// What tests need that run on each shape, by suite.
fn suites() -> BTreeMap<String, Vec<Needs>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut suites = BTreeMap::new();
    for (folder, of) in [("tests", ""), ("../../fuzz/tests", "fuzz "), ("../../fuzz/src", "fuzz ")]
    {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            if path.extension().is_some_and(|it| it == "rs") && of.to_owned() + name != "shapes" {
                let needs = needs(&std::fs::read_to_string(&path).unwrap());
                suites.insert(format!("{of}{name}"), needs);
            }
        }
    }
    suites
}

fn needs(text: &str) -> Vec<Needs> {
    // What there is in the place of a test that needs an allocator.
    let text = &text.replace("#[cfg(not(feature = \"alloc\"))]\non_each_shape!(", "");
    // A target of the fuzzer picks one of a list of all.
    let picks = text.matches("of_each_shape!(").count();
    let picks = if text.contains("fn an_actor_plays_its_part") { 0 } else { picks };
    let tests = text.split("\non_each_shape!(").skip(1).map(|rest| {
        let call = rest.split(';').next().unwrap();
        let need = call.split_once("needs(").map(|(_, need)| need.split(')').next().unwrap());
        need.map_or(vec![], |need| need.split(',').map(|it| it.trim().to_owned()).collect())
    });
    tests.chain(std::iter::repeat_n(vec![], picks)).collect()
}

#[test]
fn each_suite_runs_on_each_shape_or_says_why_not() {
    let mut silent = Vec::new();
    println!("| suite | {} |\n|---|{}", NAMES.join(" | "), "---|".repeat(NAMES.len()));
    for (suite, needs) in suites() {
        let about_none = ABOUT_NONE.iter().find(|(name, _)| *name == suite);
        if let Some((_, why)) = about_none {
            assert!(needs.is_empty(), "{suite} is said to be about no shape");
            println!("| {suite} | {} |", [format!("not: {why}")].join(" | "));
            continue;
        }
        let mut cells = Vec::new();
        for (place, shape) in NAMES.iter().enumerate() {
            let lacks = |need: &String| {
                lacks(need).unwrap_or_else(|| panic!("{suite}: nobody knows of {need}"))[place]
            };
            let lacking = needs.iter().map(|needs| needs.iter().find_map(lacks));
            let (without, run): (Vec<_>, Vec<_>) = lacking.partition(Option::is_some);
            let reasons: BTreeSet<_> = without.iter().flatten().copied().collect();
            if run.is_empty() && reasons.is_empty() {
                silent.push(format!("{suite} on {shape}"));
            }
            let reasons = Vec::from_iter(reasons).join(", ");
            cells.push(match (run.len(), without.len()) {
                (run, 0) => format!("{run} run"),
                (run, not) => format!("{run} run, {not} not: {reasons}"),
            });
        }
        println!("| {suite} | {} |", cells.join(" | "));
    }
    assert!(silent.is_empty(), "neither run nor said why not: {silent:?}");
}
