//! `ufr top` in a real terminal, with rings that come, go, are damaged, or belong to others.

#[allow(dead_code)]
mod common;
#[allow(dead_code)]
#[path = "common/terminal.rs"]
mod terminal;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use common::{Place, error_of};
use rustix::process::Signal;
use serde_json::Value;
use terminal::Terminal;
use ultrafastring::{Builder, PriorityClass};

const SIZES: [(u16, u16); 3] = [(80, 24), (132, 43), (200, 60)];

/// Looks often, so that tests are quick.
const OFTEN: [&str; 3] = ["top", "--interval", "100ms"];

fn top(place: &Place, arguments: &[&str], size: (u16, u16)) -> Terminal {
    Terminal::start(place.ufr(&[&OFTEN, arguments].concat()), size)
}

/// Threads of this process that send through a ring and receive, until it is dropped.
struct Traffic {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Traffic {
    fn through(place: &Place, name: &str) -> Self {
        let builder = Builder::new().directory(place.path()).latency_histograms(true);
        let ring = builder.participant_name("traffic").create(name).unwrap();
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let sending = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                for class in [PriorityClass::RealTime, PriorityClass::Normal] {
                    producer.send(b"twelve bytes", class).unwrap();
                }
                producer.flush();
                std::thread::sleep(Duration::from_millis(1));
            }
            producer.close();
        });
        let receiving = std::thread::spawn(move || while consumer.recv().is_ok() {});
        Self { stop, threads: vec![sending, receiving] }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|it| it.join().unwrap());
    }
}

/// Says that something is not done here; where nothing may be skipped, fails.
fn skip(why: &str) {
    assert!(std::env::var_os("UFR_NO_SKIPS").is_none(), "{why}");
    eprintln!("skipped: {why}");
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A full ring without consumers, one that is garbage, and, if this is root, another user's.
fn strange_rings(place: &Place) {
    place.say(&["create", "full", "--capacity", "8"]);
    let ring = Builder::new().directory(place.path()).open("full").unwrap();
    let mut producer = ring.producer().unwrap();
    (0..8).for_each(|_| producer.try_send(b"!", PriorityClass::Bulk).unwrap());
    fs::write(place.path().join("ufr-garbage"), vec![0x5A; 8192]).unwrap();
    place.say(&["create", "theirs"]);
    if is_root() {
        chown(place.path().join("ufr-theirs"), Some(4_321), None).unwrap();
    } else {
        let mode = fs::Permissions::from_mode(0o666);
        fs::set_permissions(place.path().join("ufr-theirs"), mode).unwrap();
    }
}

/// The number that a line has in this column of the table, if it is one.
fn cell(line: &str, column: usize) -> Option<String> {
    line.split_whitespace().nth(column).map(str::to_string).filter(|it| it != "-" && it != "0")
}

#[test]
fn all_rings_are_seen_at_each_size() {
    let place = Place::new();
    strange_rings(&place);
    let _traffic = Traffic::through(&place, "busy");
    for size in SIZES {
        let mut top = top(&place, &["--classes"], size);
        top.shows("garbage");
        top.until("rates and latencies", |it| {
            let of_ring =
                it.line("busy").is_some_and(|it| (4..10).all(|at| cell(&it, at).is_some()));
            of_ring && it.line("  real-time").is_some_and(|it| cell(&it, 4).is_some())
        });
        assert!(top.find("full").contains("100%"), "{}", top.text());
        assert!(top.find("garbage").contains("unusable: "));
        assert!(top.find("theirs").contains("untrusted: "));
        top.shows("? help");
        let lines = top.lines();
        assert!(lines[0].starts_with("ufr top") && lines[0].contains("4 rings, 2 closed to you"));
        let headings = "STATE    DEPTH FULL SENT/S RECV/S BYTE/S    P50    P99  P99.9";
        assert!(lines[1].starts_with("RING") && lines[1].contains(headings), "{}", lines[1]);
        assert!(lines.last().unwrap().contains("? help"), "{}", top.text());
        // Where there is room for it each ring says who holds it back; otherwise the chosen one.
        assert_eq!(top.find("full").contains("producers wait: no consumer is there"), size.0 > 100);
        top.press("G\x1b[A\x1b[A"); // End, and two up: busy, full, garbage, theirs
        top.until("it says of the chosen ring who holds it back", |it| {
            it.lines()[usize::from(size.1) - 2] == "full: producers wait: no consumer is there"
        });
        top.press("q");
        assert_eq!(top.ends_as_it_began().code(), Some(0));
    }
}

#[test]
fn one_ring_is_seen_at_each_size_with_who_holds_what() {
    let place = Place::new();
    let builder = Builder::new().directory(place.path()).participant_name("worker");
    let ring = builder.capacity(8).latency_histograms(true).create("orders").unwrap();
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    for _ in 0..8 {
        producer.send(b"order", PriorityClass::High).unwrap();
    }
    let held = consumer.borrow().unwrap();
    for size in SIZES {
        let mut top = top(&place, &[], size);
        top.shows("orders");
        top.press("\r");
        let pid = std::process::id();
        top.shows(&format!("producers wait for pid {pid} (worker), which holds 1 message from 0"));
        for text in ["sent/s", "received/s", "depth         7", "high", "CLASS", "ENTRY"] {
            top.shows(text);
        }
        top.until("since when it is held", |it| {
            it.line("consumer  alive").is_some_and(|it| {
                it.contains("1 from 0") && it.contains("ms  worker") || it.contains("s  worker")
            })
        });
        let bars = top.find("depth").chars().filter(|it| "▁▂▃▄▅▆▇█".contains(*it)).count();
        assert!(bars > 0, "{}", top.text());
        assert!(top.find("high").ends_with(" 8"));
        top.press("\x1b");
        top.shows("RING");
        top.press("q");
        assert_eq!(top.ends_as_it_began().code(), Some(0));
    }
    drop(held);
}

#[test]
fn a_producer_that_stops_in_the_middle_of_a_message_is_named() {
    let place = Place::new();
    let builder = Builder::new().directory(place.path()).participant_name("painter");
    let ring = builder.max_message(100).create("frames").unwrap();
    let mut producer = ring.producer().unwrap();
    let begun = producer.reserve(100, PriorityClass::Normal).unwrap();
    let top = top(&place, &["frames"], SIZES[0]);
    let pid = std::process::id();
    top.shows(&format!("consumers wait for pid {pid} (painter), which writes 1 message from 0"));
    top.shows("writes 1 from 0");
    drop(begun);
    top.shows("nobody is held back");
}

#[test]
fn groups_are_seen_with_the_one_that_is_behind() {
    let place = Place::new();
    place.say(&["create", "prices", "--capacity", "8", "--group", "risk", "--group", "log"]);
    let ring = Builder::new().directory(place.path()).open("prices").unwrap();
    let mut producer = ring.producer().unwrap();
    (0..8).for_each(|_| producer.try_send(b"!", PriorityClass::Bulk).unwrap());
    let mut log = ring.join("log").consumer().unwrap();
    assert!((0..8).all(|_| log.recv().is_ok()));
    log.flush();
    let top = top(&place, &["prices"], (80, 20));
    top.shows("producers wait for group risk, 8 behind, which has no member");
    let line = top.find("risk             open");
    assert_eq!(line.split_whitespace().collect::<Vec<_>>()[2..5], ["0", "8", "0"], "{line}");
    // The rest is below, and does not move further than its last line.
    top.press(&"j".repeat(50));
    top.shows("[log]");
    top.press("k");
    top.shows_no("[log]");
}

#[test]
fn rings_come_and_go_and_break() {
    let place = Place::new();
    let mut top = top(&place, &[], SIZES[0]);
    top.shows("There is no ring here.");
    place.say(&["create", "first"]);
    place.say(&["create", "second"]);
    top.shows("first");
    top.shows("second");
    place.say(&["rm", "first"]);
    top.shows_no("first");
    top.press("\r");
    top.shows("nobody is held back");
    let file = fs::File::options().write(true).open(place.path().join("ufr-second")).unwrap();
    file.set_len(64).unwrap();
    top.shows("second is unusable: ");
    fs::remove_file(place.path().join("ufr-second")).unwrap();
    top.shows("second is gone");
    top.shows("There is no ring here.");
    place.say(&["create", "second"]);
    top.shows("second   ");
    top.press("\x03");
    assert_eq!(top.ends_as_it_began().code(), Some(130));
}

#[test]
fn another_ring_of_the_same_name_has_no_past() {
    let place = Place::new();
    let fill = || {
        let ring = Builder::new().directory(place.path()).capacity(8).create("orders").unwrap();
        ring.producer().unwrap().try_send(b"!", PriorityClass::Low).unwrap();
    };
    fill();
    let top = top(&place, &["orders"], SIZES[0]);
    let bars = |it: &Terminal| it.find("depth").chars().filter(|it| !it.is_ascii()).count();
    top.until("a past", |it| bars(it) > 5);
    top.press("p");
    top.shows("PAUSED");
    place.say(&["rm", "orders"]);
    fill();
    top.press("p");
    top.shows_no("PAUSED");
    let mut few = usize::MAX;
    top.until("no past", |it| {
        few = few.min(bars(it));
        few <= 5
    });
}

/// The names of the rings in the order in which they stand in the table.
fn order(top: &Terminal) -> Vec<String> {
    let lines = top.lines();
    let rows = lines[2..].iter().take_while(|it| !it.is_empty());
    rows.filter_map(|it| it.split_whitespace().next().map(str::to_string)).collect()
}

#[test]
fn keys_sort_filter_and_choose() {
    let place = Place::new();
    for (name, messages) in [("alpha", 1), ("beta", 3), ("Gamma", 2)] {
        place.say(&["create", name]);
        let ring = Builder::new().directory(place.path()).open(name).unwrap();
        let mut producer = ring.producer().unwrap();
        (0..messages).for_each(|_| producer.try_send(b"!", PriorityClass::Low).unwrap());
    }
    let top = top(&place, &[], SIZES[0]);
    let ordered = |top: &Terminal, names: [&str; 3]| {
        top.until(&format!("{names:?}"), |it| order(it) == names);
    };
    ordered(&top, ["Gamma", "alpha", "beta"]);
    top.press("s"); // by depth
    ordered(&top, ["beta", "Gamma", "alpha"]);
    top.press("r");
    ordered(&top, ["alpha", "Gamma", "beta"]);
    top.press("S"); // by name again
    ordered(&top, ["beta", "alpha", "Gamma"]);
    top.press("r");
    top.press("/GAMMA");
    top.until("the others are filtered out", |it| order(it) == ["Gamma"]);
    top.press("x\x7f\r");
    top.shows("filter: GAMMA");
    top.press("\x1b");
    ordered(&top, ["Gamma", "alpha", "beta"]);
    top.press("/nothing");
    top.shows("No ring's name has this in it.");
    top.press("\x1b");
    ordered(&top, ["Gamma", "alpha", "beta"]);
    top.press("jj");
    top.shows("beta: nobody is held back");
    top.press("c");
    top.shows("  low");
    top.press("?");
    top.shows("what 50%, 99% and 99.9%");
    top.press("x");
    top.shows("RING");
    top.press("p");
    top.shows("PAUSED");
    place.say(&["create", "later"]);
    top.press("p");
    top.shows("later");
    let mut top = self::top(&place, &["--sort", "depth", "--reverse", "--filter", "a"], SIZES[0]);
    ordered_four(&top);
    top.press("q");
    top.ends_as_it_began();
}

/// What has no message is first when the least is first.
fn ordered_four(top: &Terminal) {
    top.until("four in their order", |it| order(it) == ["later", "alpha", "Gamma", "beta"]);
}

#[test]
fn a_signal_gives_the_terminal_back() {
    let place = Place::new();
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let mut top = top(&place, &[], SIZES[0]);
        top.shows("ufr top");
        assert!(!top.is_as_before());
        top.signal(signal);
        assert_eq!(top.ends_as_it_began().code(), Some(code));
    }
}

#[test]
fn ctrl_z_gives_the_terminal_back_until_it_goes_on() {
    let place = Place::new();
    place.say(&["create", "orders"]);
    let mut shell = Command::new("bash");
    shell.args(["--norc", "--noprofile", "-i"]).env("UFR_DIRECTORY", place.path());
    shell.env("PS1", "ready> ").env_remove("PROMPT_COMMAND");
    let mut shell = Terminal::start(shell, SIZES[0]);
    shell.shows("ready>");
    shell.press(&format!("{} top\r", env!("CARGO_BIN_EXE_ufr")));
    shell.shows("RING");
    shell.press("\x1a");
    shell.shows("Stopped");
    shell.shows_no("RING");
    shell.press("clear; fg\r");
    shell.shows("RING");
    shell.press("q");
    shell.shows_no("RING");
    shell.press("exit 7\r");
    assert_eq!(shell.ends_as_it_began().code(), Some(7));
}

#[test]
fn it_follows_the_size_of_the_window() {
    let place = Place::new();
    strange_rings(&place);
    let mut top = top(&place, &[], (80, 24));
    top.shows("? help");
    for size in [(132, 43), (40, 10), (12, 3), (1, 1), (300, 100), (80, 24)] {
        top.resize(size);
        if size.1 >= 10 {
            top.until("it fills the window", |it| {
                let lines = it.lines();
                lines.len() == usize::from(size.1) && lines.last().unwrap().starts_with("q quit")
            });
        }
    }
    // A key that comes together with changes of the window is not lost.
    top.press("\r");
    top.resize((7, 4));
    top.until("it is drawn", |it| it.line("q quit").is_some());
    top.resize((80, 24));
    top.shows("all rings");
    top.press("q");
    assert_eq!(top.ends_as_it_began().code(), Some(0));
}

#[test]
fn a_terminal_of_ascii_gets_ascii() {
    let place = Place::new();
    place.say(&["create", "orders"]);
    assert!(place.send_bytes(&["orders"], "1\n".repeat(99).as_bytes()).status.success());
    let mut command = Command::new("env");
    command.args(["LC_ALL=C", env!("CARGO_BIN_EXE_ufr")]).args(OFTEN).arg("orders");
    command.env("UFR_DIRECTORY", place.path());
    let top = Terminal::start(command, SIZES[0]);
    top.until("a line of bars", |it| it.line("depth").is_some_and(|it| it.ends_with('=')));
    assert!(top.text().is_ascii(), "{}", top.text());
}

#[test]
fn without_a_terminal_it_says_what_else_there_is() {
    let place = Place::new();
    let refused = place.run(&["top"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(error_of(&refused).contains("--once prints one table"), "{refused:?}");
    let mut command = Command::new("env");
    command.args(["TERM=dumb", env!("CARGO_BIN_EXE_ufr"), "top"]);
    command.env("UFR_DIRECTORY", place.path());
    let mut dumb = Terminal::start(command, SIZES[0]);
    dumb.shows("there is no terminal here");
    assert_eq!(dumb.ends_as_it_began().code(), Some(1));
}

#[test]
fn one_table_has_all_rings_and_ends() {
    let place = Place::new();
    strange_rings(&place);
    let _traffic = Traffic::through(&place, "busy");
    let table = place.say(&["top", "--once", "--interval", "300ms", "--classes"]);
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].starts_with("RING") && lines[0].ends_with("WHO HOLDS WHOM BACK"), "{table}");
    let begins: Vec<_> =
        lines[1..].iter().map(|it| it.split_whitespace().next().unwrap()).collect();
    let expected = ["busy", "real-time", "normal", "full", "bulk", "garbage", "theirs"];
    assert_eq!(begins, expected, "{table}");
    assert!((4..10).all(|at| cell(lines[1], at).is_some()), "{table}");
    assert!(lines[4].ends_with("producers wait: no consumer is there"), "{table}");
    assert!(lines[6].contains("unusable: ") && lines[7].contains("untrusted: "), "{table}");
}

#[test]
fn one_object_has_what_the_table_has() {
    let place = Place::new();
    strange_rings(&place);
    let _traffic = Traffic::through(&place, "busy");
    let text = place.say(&["top", "--json", "--interval", "300ms"]);
    let object: Value = serde_json::from_str(&text).unwrap();
    assert!(object["interval_ns"].as_u64().unwrap() >= 300_000_000);
    assert_eq!(object["directory"], place.path().to_str().unwrap());
    let [busy, full, garbage, theirs] = &object["rings"].as_array().unwrap()[..] else {
        panic!("{text}");
    };
    assert_eq!((&busy["name"], &busy["state"]), (&"busy".into(), &"live".into()));
    assert!(busy["sent_per_second"].as_f64().unwrap() > 0.0, "{text}");
    assert_eq!(busy["held_back"], Value::Null);
    let latency = |it: &Value| it["p50"].as_f64().unwrap() <= it["p99_9"].as_f64().unwrap();
    assert!(latency(&busy["latency_ns"]) && latency(&busy["latency_since_made_ns"]));
    let class = &busy["classes"][0];
    assert_eq!(class["class"], "real-time");
    assert!(latency(&class["latency_ns"]) && class["bytes_sent"].as_u64().unwrap() > 0);
    assert_eq!(busy["classes"][4]["latency_ns"], Value::Null);
    assert_eq!(busy["participants"][0]["name"], "traffic");
    let held = (&full["held_back"]["side"], &full["held_back"]["by"]);
    assert_eq!(held, (&"producer".into(), &"nobody".into()));
    assert_eq!((&garbage["state"], &theirs["state"]), (&"unusable".into(), &"untrusted".into()));
    assert!(garbage["reason"].as_str().unwrap().contains("not a ring"), "{text}");
}

/// All keys of an object, and of those in it.
fn keys(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                found.insert(key.clone());
                keys(value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|it| keys(it, found)),
        _ => {}
    }
}

#[test]
fn each_key_of_the_object_is_in_the_reference_and_no_other() {
    let place = Place::new();
    strange_rings(&place);
    let _traffic = Traffic::through(&place, "busy");
    place.say(&["create", "prices", "--group", "risk"]);
    let builder = Builder::new().directory(place.path());
    let ring = builder.max_message(100).create("held").unwrap();
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    producer.send(b"!", PriorityClass::Low).unwrap();
    let _held = consumer.borrow().unwrap();
    let _begun = producer.reserve(100, PriorityClass::Low).unwrap();
    let text = place.say(&["top", "--json", "--interval", "300ms"]);
    let mut there = BTreeSet::new();
    keys(&serde_json::from_str(&text).unwrap(), &mut there);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference-command.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, section) = page.split_once("\n## `ufr top --json`\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let code: BTreeSet<_> = section.split('`').skip(1).step_by(2).map(str::to_string).collect();
    let missing: Vec<_> = there.difference(&code).collect();
    assert!(missing.is_empty(), "not in the reference: {missing:?}");
    // What stands first in a row is a key, or several.
    let rows = section.lines().filter(|it| it.starts_with("| `"));
    let keys = rows.flat_map(|it| it.split('|').nth(1).unwrap().split('`').skip(1).step_by(2));
    let gone: Vec<_> = keys.filter(|it| !there.contains(*it)).collect();
    assert!(gone.is_empty(), "not in the object: {gone:?}\n{text}");
}

#[test]
fn who_may_only_read_sees_as_much() {
    if !is_root() {
        return skip("to be another user needs root");
    }
    let place = Place::new();
    place.say(&["create", "orders", "--trust", "anyone"]);
    assert!(place.send_bytes(&["orders", "--trust", "anyone"], b"1\n2\n").status.success());
    for (entry, mode) in [("ufr-orders", 0o644), ("", 0o755)] {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(place.path().join(entry), mode).unwrap();
    }
    // The command may be in a folder that others cannot look into.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let ufr = folder.path().join("ufr");
    fs::copy(env!("CARGO_BIN_EXE_ufr"), &ufr).unwrap();
    let mut command = Command::new(ufr);
    command.args(OFTEN).args(["--once", "--trust", "anyone"]).uid(65_534).gid(65_534);
    let output = command.env("UFR_DIRECTORY", place.path()).output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    let row = table.lines().nth(1).unwrap();
    assert!(row.starts_with("orders") && cell(row, 2).as_deref() == Some("2"), "{table}");
}
