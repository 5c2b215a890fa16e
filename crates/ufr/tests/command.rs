//! The built command, in real processes, on real files.

#[allow(dead_code)]
mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::*;

/// The largest file of the toolchain that this test was built with: a real binary.
fn a_real_binary() -> PathBuf {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    let lib = PathBuf::from(String::from_utf8(sysroot.stdout).unwrap().trim()).join("lib");
    fs::read_dir(lib)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .max_by_key(|path| path.metadata().unwrap().len())
        .unwrap()
}

/// The licences and this project's own sources, again and again: a real text of 20 MB.
fn a_real_text(place: &Place) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut text = fs::read(root.join("LICENSE-APACHE")).unwrap();
    for entry in fs::read_dir(root.join("crates/ultrafastring/src")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "rs") {
            text.extend(fs::read(path).unwrap());
        }
    }
    let path = place.path().join("text");
    fs::write(&path, text.repeat(20_000_000 / text.len() + 1)).unwrap();
    path
}

fn goes_through_unchanged(place: &Place, file: &Path, sender_first: bool, create: &[&str]) {
    let out = place.path().join("out");
    if !create.is_empty() {
        place.say(create);
    }
    let (sender, receiver);
    if sender_first {
        sender = place.send(&["r", "--raw"], file);
        until("the ring is there", || !place.say(&["ls"]).is_empty());
        std::thread::sleep(Duration::from_millis(100));
        receiver = place.recv(&["r", "--raw"], &out);
    } else {
        receiver = place.recv(&["r", "--raw"], &out);
        until("the ring is there", || !place.say(&["ls"]).is_empty());
        std::thread::sleep(Duration::from_millis(100));
        sender = place.send(&["r", "--raw"], file);
    }
    succeed(sender);
    succeed(receiver);
    assert!(fs::read(file).unwrap() == fs::read(&out).unwrap(), "{file:?} came out changed");
    place.say(&["rm", "r"]);
}

#[test]
fn a_real_text_goes_through_unchanged_in_either_order() {
    let place = Place::new();
    let text = a_real_text(&place);
    goes_through_unchanged(&place, &text, true, &[]);
    goes_through_unchanged(&place, &text, false, &[]);
}

#[test]
fn a_real_binary_goes_through_unchanged_in_either_order() {
    let place = Place::new();
    let binary = a_real_binary();
    let exclusive = ["create", "r", "--exclusive-producer", "--exclusive-consumer"];
    goes_through_unchanged(&place, &binary, true, &exclusive);
    goes_through_unchanged(&place, &binary, false, &exclusive);
}

#[test]
fn lines_come_back_as_lines() {
    let place = Place::new();
    let lines = b"one\n\ntwo \xff\x00\r\nforty bytes, to the last: 0123456789abc\nlast\n";
    assert!(place.send_bytes(&["r"], lines).status.success());
    assert_eq!(place.run(&["recv", "r"]).stdout, lines);
    // A last line without an end is a line.
    assert!(place.send_bytes(&["r"], b"no end").status.success());
    assert_eq!(place.run(&["recv", "r"]).stdout, b"no end\n");
}

#[test]
fn a_line_that_does_not_fit_is_refused_with_its_number_and_size() {
    let place = Place::new();
    let output = place.send_bytes(&["r"], format!("fits\n{}\nnever\n", "x".repeat(41)).as_bytes());
    assert_eq!(output.status.code(), Some(1));
    let error = error_of(&output);
    assert!(error.contains("line 2") && error.contains("more than 40 bytes"), "{error}");
    assert_eq!(place.run(&["recv", "r"]).stdout, b"fits\n");
}

#[test]
fn lines_of_any_length_up_to_the_rings_most_come_back_as_lines() {
    let place = Place::new();
    let create = ["create", "r", "--max-message", "100000", "--capacity", "8"];
    let size: u64 = place.say(&[&create[..], &["--size"]].concat()).trim().parse().unwrap();
    assert_eq!(place.say(&["ls"]), "", "a ring whose size was asked for was made");
    place.say(&create);
    let stat: serde_json::Value =
        serde_json::from_str(&place.say(&["stat", "r", "--json"])).unwrap();
    assert_eq!((&stat["max_message"], &stat["segment_bytes"]), (&100_000.into(), &size.into()));
    let file = fs::metadata(place.path().join("ufr-r")).unwrap();
    assert_eq!(file.len(), size);
    let lines: Vec<u8> = [0, 40, 41, 1, 4096, 100_000, 7]
        .into_iter()
        .flat_map(|length| (0..length).map(|at| b'a' + (at % 26) as u8).chain([b'\n']))
        .collect();
    let sent = place.send_bytes(&["r"], &lines);
    assert!(sent.status.success(), "{sent:?}");
    assert!(place.run(&["recv", "r"]).stdout == lines);
    let output = place.send_bytes(&["r"], &vec![b'x'; 100_001]);
    let error = error_of(&output);
    assert!(error.contains("more than 100000 bytes"), "{error}");
    place.say(&["rm", "r"]);
    goes_through_unchanged(&place, &a_real_binary(), true, &create);
}

#[test]
fn a_receiver_takes_only_as_many_as_asked_for() {
    let place = Place::new();
    assert!(place.send_bytes(&["r"], b"1\n2\n3\n").status.success());
    assert_eq!(place.run(&["recv", "r", "--count", "2"]).stdout, b"1\n2\n");
    assert_eq!(place.run(&["recv", "r", "--unbuffered"]).stdout, b"3\n");
}

/// A receiver that comes first on a ring that was used before waits for its sender.
#[test]
fn a_used_ring_does_not_look_ended() {
    let place = Place::new();
    let out = place.path().join("out");
    assert!(place.send_bytes(&["r"], b"old\n").status.success());
    assert_eq!(place.run(&["recv", "r"]).stdout, b"old\n");
    let mut receiver = place.recv(&["r"], &out);
    std::thread::sleep(Duration::from_millis(300));
    assert!(receiver.try_wait().unwrap().is_none());
    assert!(place.send_bytes(&["r"], b"new\n").status.success());
    succeed(receiver);
    assert_eq!(fs::read(&out).unwrap(), b"new\n");
}

#[test]
fn an_interrupt_ends_a_sender_that_waits_for_its_input_or_for_room() {
    let place = Place::new();
    let mut sender = place.ufr(&["send", "r"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = sender.stdin.take().unwrap();
    input.write_all(b"before\n").unwrap();
    until("it is sent", || place.say(&["ls"]).contains("1 of 256"));
    interrupt(&sender);
    ends_interrupted(sender);

    let zeros = fs::File::open("/dev/zero").unwrap();
    let sender = place.ufr(&["send", "r", "--raw"]).stdin(zeros).spawn().unwrap();
    until("the ring is full", || place.say(&["ls"]).contains("256 of 256"));
    interrupt(&sender);
    ends_interrupted(sender);

    let output = place.run(&["recv", "r", "--raw"]).stdout;
    assert_eq!(output.len(), "before".len() + 255 * 40);
    assert!(place.send_bytes(&["r"], b"after\n").status.success());
    assert_eq!(place.run(&["recv", "r"]).stdout, b"after\n");
}

#[test]
fn an_interrupt_ends_a_receiver_with_all_it_took_written() {
    let place = Place::new();
    let mut receiver =
        place.ufr(&["recv", "r", "--follow"]).stdout(Stdio::piped()).spawn().unwrap();
    until("the ring is there", || !place.say(&["ls"]).is_empty());
    assert!(place.send_bytes(&["r"], b"one\ntwo\n").status.success());
    let mut lines = BufReader::new(receiver.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "one");
    assert_eq!(lines.next().unwrap().unwrap(), "two");
    interrupt(&receiver);
    ends_interrupted(receiver);
    assert!(lines.next().is_none());
    assert!(place.send_bytes(&["r"], b"three\n").status.success());
    assert_eq!(place.run(&["recv", "r"]).stdout, b"three\n");
}

#[test]
fn a_ring_is_two_files_named_after_it_made_once_and_removed() {
    let place = Place::new();
    place.say(&["create", "quotes", "--capacity", "1024"]);
    let files: Vec<_> =
        fs::read_dir(place.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(files.len(), 2);
    assert!(files.iter().all(|file| file.to_str().unwrap().contains("quotes")));
    let again = place.run(&["create", "quotes"]);
    assert_eq!(again.status.code(), Some(1));
    let error = error_of(&again);
    assert!(error.contains("quotes") && error.contains("exists already"), "{error}");
    let other = ["create", "quotes", "--capacity", "256", "--max-message", "40"];
    let error = error_of(&place.run(&[&other[..], &["--redelivery", "discard"]].concat()));
    let differences = ": capacity is 1024 and not 256, redelivery is redeliver and not discard;";
    assert!(error.contains("quotes") && error.contains(differences), "{error}");
    let list = place.say(&["ls"]);
    assert!(list.starts_with("quotes") && list.contains("0 of 1024"), "{list}");
    place.say(&["rm", "quotes"]);
    assert_eq!(place.say(&["ls"]), "");
    let gone = place.run(&["rm", "quotes", "other"]);
    assert_eq!(gone.status.code(), Some(1));
    let error = error_of(&gone);
    assert!(error.contains("quotes") && error.contains("other"), "{error}");
}

/// Writes a ring's file as it is written down in the library's golden files.
fn write_down(place: &Place, ring: &str, golden: &str) {
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ultrafastring/tests/golden");
    let text = fs::read_to_string(goldens.join(golden)).unwrap();
    let words = text.lines().map(|line| {
        let mut parts = line.split_whitespace();
        let place: usize = parts.next().unwrap().parse().unwrap();
        let value = parts.nth(1).unwrap().strip_prefix("0x").unwrap();
        (place, u64::from_str_radix(value, 16).unwrap())
    });
    let words: std::collections::BTreeMap<_, _> = words.collect();
    // The third word is the size.
    let mut bytes = vec![0; words[&2] as usize];
    for (place, word) in words {
        bytes[8 * place..][..8].copy_from_slice(&word.to_le_bytes());
    }
    let path = place.path().join(format!("ufr-{ring}"));
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

#[test]
fn rings_of_older_layouts_are_refused_naming_both_versions_and_removed() {
    let place = Place::new();
    for version in [1, 2] {
        write_down(&place, "old", &format!("version-{version}.txt"));
        for refused in [&["stat", "old"][..], &["recv", "old"], &["doctor", "old"]] {
            let output = place.run(refused);
            assert_eq!(output.status.code(), Some(1), "{refused:?}");
            let error = error_of(&output);
            let both = format!("layout version {version}, and this program knows version 3;");
            assert!(error.contains(&both) && error.contains("`ufr rm old`"), "{error}");
        }
        place.say(&["rm", "old"]);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }
}

#[test]
fn what_is_chosen_at_creation_is_what_stat_says() {
    let place = Place::new();
    place.say(&[
        "create",
        "r",
        "--capacity",
        "64",
        "--exclusive-producer",
        "--credit-limit",
        "32",
        "--reserve",
        "real-time=4",
        "--timestamps",
        "1/8",
        "--redelivery",
        "discard",
    ]);
    let stat: serde_json::Value =
        serde_json::from_str(&place.say(&["stat", "r", "--json"])).unwrap();
    assert_eq!(stat["capacity"], 64);
    assert_eq!(stat["credit_limit"], 32);
    assert_eq!(stat["producer_side"], "exclusive");
    assert_eq!(stat["consumer_side"], "shared");
    assert_eq!(stat["timestamps"], "1/8");
    assert_eq!(stat["redelivery"], "discard");
    assert_eq!(stat["reserves"]["real-time"], 4);
    for wrong in [&["create", "a/b"][..], &["recv", "a/b"], &["stat", "none"]] {
        let output = place.run(wrong);
        assert_eq!(output.status.code(), Some(1), "{wrong:?}");
        assert!(error_of(&output).starts_with("ufr: "), "{output:?}");
    }
    for usage in [
        &["create"][..],
        &["create", "s", "--capacity", "100"],
        &["create", "s", "--capacity", "3", "--size"],
        &["create", "s", "--timestamps", "1/3"],
        &["create", "s", "--credit-limit", "0"],
        &["create", "s", "--credit-limit", "257"],
        &["create", "s", "--participants", "0"],
        &["create", "s", "--reserve", "high=256"],
        &["create", "s", "--max-message", "24"],
        &["create", "s", "--max-message", "2000000000"],
        &["demo", "--messages", "10"],
        &["demo", "--capacity", "3"],
        &["send", "r", "--class", "vip"],
        &["stat"],
        &["nonsense"],
    ] {
        let output = place.run(usage);
        assert_eq!(output.status.code(), Some(2), "{usage:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{usage:?}: {output:?}");
    }
}

#[test]
fn stat_counts_by_class_and_shows_who_is_there() {
    let place = Place::new();
    assert!(place.send_bytes(&["r", "--class", "real-time"], b"1\n2\n").status.success());
    assert!(place.send_bytes(&["r", "--class", "bulk"], b"3\n").status.success());
    let mut sender = place.ufr(&["send", "r"]).stdin(Stdio::piped()).spawn().unwrap();
    let stat = || -> serde_json::Value {
        serde_json::from_str(&place.say(&["stat", "r", "--json"])).unwrap()
    };
    until("the sender is there", || !stat()["participants"].as_array().unwrap().is_empty());
    let seen = stat();
    assert_eq!(seen["sent"], 3);
    assert_eq!(seen["classes"]["real-time"]["sent"], 2);
    assert_eq!(seen["classes"]["bulk"]["sent"], 1);
    assert_eq!(seen["in_flight"], 3);
    let participant = &seen["participants"][0];
    assert_eq!(participant["pid"], sender.id());
    assert_eq!(participant["side"], "producer");
    assert_eq!(participant["alive"], true);
    let table = place.say(&["stat", "r"]);
    assert!(table.contains(&sender.id().to_string()) && table.contains("alive"), "{table}");
    drop(sender.stdin.take());
    succeed(sender);
    assert_eq!(stat()["participants"].as_array().unwrap().len(), 0);
}

#[test]
fn stat_says_when_little_credit_is_left() {
    let place = Place::new();
    place.say(&["create", "r", "--capacity", "16"]);
    let pressure = || {
        let stat = place.stat("r");
        assert_eq!(stat["credit_limit"], 16);
        let text = place.say(&["stat", "r"]);
        assert!(text.contains(&format!("{} of 16 spent", stat["credits_spent"])), "{text}");
        assert_eq!(text.contains("under pressure"), stat["under_pressure"] == true, "{text}");
        stat["under_pressure"] == true
    };
    assert!(!pressure());
    assert!(place.send_bytes(&["r"], "x\n".repeat(14).as_bytes()).status.success());
    assert!(pressure());
    assert_eq!(place.say(&["recv", "r", "-n", "10"]), "x\n".repeat(10));
    assert!(!pressure());
}

#[test]
fn what_the_dead_leave_is_called_stale_and_cleared_up() {
    let place = Place::new();
    let mut sender = place.ufr(&["send", "crashed"]).stdin(Stdio::piped()).spawn().unwrap();
    let living = place.ufr(&["send", "living"]).stdin(Stdio::piped()).spawn().unwrap();
    sender.stdin.as_mut().unwrap().write_all(b"kept\n").unwrap();
    until("both are there", || {
        let list = place.say(&["ls"]);
        list.matches("live\t").count() == 2 && list.contains("1 of")
    });
    sender.kill().unwrap();
    sender.wait().unwrap();
    let list = place.say(&["ls"]);
    assert!(list.contains("crashed\tstale"), "{list}");
    assert!(place.say(&["stat", "crashed"]).contains("dead"));
    // Nothing needs clearing up before the ring is used again.
    assert_eq!(place.run(&["recv", "crashed"]).stdout, b"kept\n");
    assert_eq!(place.say(&["rm", "--stale"]), "crashed\n");
    let list = place.say(&["ls"]);
    assert!(list.starts_with("living\tlive") && list.lines().count() == 1, "{list}");
    interrupt(&living);
    ends_interrupted(living);
}

#[test]
fn a_ring_that_somebody_has_open_is_live_before_its_first_handle() {
    let place = Place::new();
    let ring = ultrafastring::Builder::new().directory(place.path()).create("opened").unwrap();
    assert!(place.say(&["ls"]).starts_with("opened\tlive"));
    assert_eq!(place.say(&["rm", "--stale"]), "");
    drop(ring);
    assert!(place.say(&["ls"]).starts_with("opened\tstale"));
    assert_eq!(place.say(&["rm", "--stale"]), "opened\n");
    assert!(fs::read_dir(place.path()).unwrap().next().is_none());
}

/// Who may only read a ring's file is told who lives by the processes, since the locks are not for
/// everybody.
/// Whether other users can be played here: by root only.
fn plays_others(place: &Place) -> bool {
    use std::os::unix::fs::MetadataExt;
    if fs::metadata(place.path()).unwrap().uid() == 0 {
        return true;
    }
    skip("other users can be played by root only");
    false
}

fn skip(why: &str) {
    assert!(std::env::var_os("UFR_NO_SKIPS").is_none(), "UFR_NO_SKIPS is set, and {why}");
    eprintln!("skipped: {why}");
}

/// Lets every user look at a ring.
fn show_to_others(place: &Place, name: &str) {
    use std::os::unix::fs::PermissionsExt;
    for (path, mode) in [(place.path(), 0o755), (&place.path().join(format!("ufr-{name}")), 0o644)]
    {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// What some user says who is not the one that runs the tests.
fn as_other(place: &Place, arguments: &[&str]) -> (Option<i32>, String) {
    use std::os::unix::process::CommandExt;
    let mut command = place.ufr(arguments);
    let output = command.args(["--trust", "anyone"]).uid(65_533).gid(65_533).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn who_may_only_look_at_a_ring_sees_it_and_who_lives() {
    let place = Place::new();
    if !plays_others(&place) {
        return;
    }
    let mut sender = place.ufr(&["send", "seen"]).stdin(Stdio::piped()).spawn().unwrap();
    until("it is there", || place.say(&["ls"]).contains("live"));
    show_to_others(&place, "seen");
    let as_other = |arguments: &[&str]| as_other(&place, arguments);
    let (_, list) = as_other(&["ls"]);
    assert!(list.starts_with("seen\tlive"), "{list}");
    let (_, table) = as_other(&["stat", "seen"]);
    assert!(table.contains(&sender.id().to_string()) && table.contains("alive"), "{table}");
    let (_, json) = as_other(&["stat", "seen", "--json"]);
    assert!(json.contains("\"evidence\": \"process\""), "{json}");
    assert_eq!(as_other(&["doctor", "--check", "seen"]).0, Some(0));
    assert_eq!(as_other(&["rm", "--stale"]), (Some(0), String::new()));
    assert_eq!(as_other(&["send", "seen"]).0, Some(1));
    sender.kill().unwrap();
    sender.wait().unwrap();
    let (_, list) = as_other(&["ls"]);
    assert!(list.starts_with("seen\tunknown"), "{list}");
    assert!(as_other(&["stat", "seen"]).1.contains("dead"));
    assert!(place.say(&["ls"]).starts_with("seen\tstale"));
}

#[test]
fn of_whom_nothing_can_be_known_everything_says_unknown() {
    let place = Place::new();
    if !plays_others(&place) {
        return;
    }
    let apart = ["--pid", "--fork"];
    if !Command::new("unshare").args(apart).arg("true").status().is_ok_and(|it| it.success()) {
        return skip("no namespaces can be made here (unshare)");
    }
    let mut sender = Command::new("unshare")
        .args(apart)
        .args([env!("CARGO_BIN_EXE_ufr"), "send", "far"])
        .env("UFR_DIRECTORY", place.path())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    until("it is there", || place.say(&["ls"]).contains("live"));
    until("it has a handle", || place.say(&["stat", "far"]).contains("alive"));
    show_to_others(&place, "far");
    let (_, list) = as_other(&place, &["ls"]);
    assert!(list.starts_with("far\tunknown\t"), "{list}");
    let (_, table) = as_other(&place, &["stat", "far"]);
    assert!(table.contains(" unknown ufr"), "{table}");
    let (_, json) = as_other(&place, &["stat", "far", "--json"]);
    assert!(json.contains("\"evidence\": \"unknown\""), "{json}");
    drop(sender.stdin.take());
    assert!(sender.wait().unwrap().success());
}

#[test]
fn a_second_exclusive_sender_is_told_who_is_there() {
    let place = Place::new();
    place.say(&["create", "r", "--exclusive-producer"]);
    let first = place.ufr(&["send", "r"]).stdin(Stdio::piped()).spawn().unwrap();
    until("it has its handle", || place.stat("r")["participants"][0]["alive"] == true);
    let second = place.send_bytes(&["r"], b"");
    assert_eq!(second.status.code(), Some(1));
    assert!(error_of(&second).contains(&first.id().to_string()), "{second:?}");
    interrupt(&first);
    ends_interrupted(first);
}

const COMMANDS: [&str; 14] = [
    "demo",
    "create",
    "send",
    "recv",
    "tail",
    "ls",
    "group",
    "stat",
    "doctor",
    "top",
    "metrics",
    "rm",
    "completions",
    "man",
];

#[test]
fn the_manual_has_a_page_for_each_command_and_no_other() {
    let place = Place::new();
    let manual = place.path().join("share/man");
    assert_eq!(place.say(&["man", manual.to_str().unwrap()]), "");
    let pages = fs::read_dir(manual.join("man1")).unwrap().map(|it| it.unwrap());
    let mut names: Vec<_> = pages.map(|it| it.file_name().into_string().unwrap()).collect();
    names.sort();
    let mut expected: Vec<_> = COMMANDS.map(|it| format!("ufr-{it}.1")).into();
    expected.extend(["ufr.1", "ufr-group-ls.1", "ufr-group-rm.1"].map(String::from));
    expected.sort();
    assert_eq!(names, expected);
    // What the help says, the page says; its dashes are escaped for roff.
    let page = fs::read_to_string(manual.join("man1/ufr-send.1")).unwrap().replace('\\', "");
    assert!(page.contains("--end-when-deserted") && page.contains("Exit codes"), "{page}");
    let refused = place.run(&["man", "/dev/null"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(error_of(&refused).contains("cannot write man pages to /dev/null/man1"), "{refused:?}");
}

#[test]
fn help_version_and_completions_are_there() {
    let place = Place::new();
    let help = place.say(&["--help"]);
    for command in COMMANDS {
        assert!(help.contains(command), "{command}");
        assert!(place.say(&[command, "--help"]).contains("Usage"));
    }
    assert!(place.say(&["--version"]).starts_with("ufr "));
    for shell in ["bash", "zsh", "fish"] {
        assert!(place.say(&["completions", shell]).contains("ufr"));
    }
}

#[test]
fn the_demo_checks_what_it_streams_and_leaves_nothing_behind() {
    let place = Place::new();
    let output = place.say(&["demo", "--messages", "200000", "--json"]);
    let demo: serde_json::Value = serde_json::from_str(&output).unwrap();
    assert!(demo["checked"].as_u64().unwrap() >= 200_000);
    let classes = demo["classes"].as_object().unwrap();
    assert_eq!(classes.len(), 5);
    let received = |class: &serde_json::Value| class["received"].as_u64().unwrap();
    assert!(classes.values().all(|it| received(it) > 0 && it["sent"] == it["received"]));
    assert!(classes.values().map(received).sum::<u64>() >= 200_000);
    for way in ["ring", "pipe", "socket"] {
        assert!(demo[way]["ticks_per_message"].as_f64().unwrap() > 1.0, "{way}");
        assert!(demo[way]["ns_per_message"].as_f64().unwrap() > 0.1, "{way}");
        let latency = &demo[way]["paced_latency_ns"];
        assert!(latency["p50"].as_f64().unwrap() <= latency["max"].as_f64().unwrap(), "{way}");
    }
    assert_eq!(place.say(&["ls"]), "");
    // As a table, and on one core, where the two take turns.
    let table = place.say(&["demo", "--messages", "20000", "--cores", "0,0"]);
    assert!(table.contains("ticks/message") && table.contains("real-time"), "{table}");
    assert_eq!(place.say(&["ls"]), "");
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() {
    let place = Place::new();
    let demo = place
        .ufr(&["demo", "--messages", "1000000000"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("it runs", || place.say(&["ls"]).contains("live"));
    interrupt(&demo);
    // As from a terminal, its parts are meant too; here they end when it kills them.
    ends_interrupted(demo);
    assert_eq!(place.say(&["ls"]), "");
}

#[test]
fn the_doctor_finishes_what_a_killed_process_left_and_refuses_a_damaged_ring() {
    let place = Place::new();
    assert!(place.send_bytes(&["r"], b"kept\n").status.success());
    assert_eq!(place.say(&["doctor", "r"]), "r: all is well\n");
    let mut sender = place.ufr(&["send", "r"]).stdin(Stdio::piped()).spawn().unwrap();
    until("it has a handle", || place.say(&["stat", "r"]).contains("alive"));
    assert_eq!(place.say(&["doctor", "r"]), "r: all is well\n");
    sender.kill().unwrap();
    sender.wait().unwrap();
    let died = format!("process {} died", sender.id());
    assert!(place.say(&["doctor", "--check", "r"]).contains(&died));
    let done = place.say(&["doctor", "r"]);
    assert!(done.contains(&died) && done.contains("1 entries freed"), "{done}");
    assert_eq!(place.say(&["doctor", "r"]), "r: all is well\n");

    // The last slot of the file says that it is of the first position.
    let file = place.path().join("ufr-r");
    let mut bytes = fs::read(&file).unwrap();
    let last = bytes.len() - 64;
    bytes[last..last + 8].copy_from_slice(&1u64.to_le_bytes());
    fs::write(&file, bytes).unwrap();
    let output = place.run(&["doctor", "r"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("slot 255"), "{output:?}");
    assert!(error_of(&output).contains("ufr rm r"), "{output:?}");
}

#[test]
fn looking_at_a_ring_changes_nothing_in_it() {
    let place = Place::new();
    place.say(&["create", "seen", "--participants", "2"]);
    assert!(place.send_bytes(&["seen"], b"one\ntwo\n").status.success());
    let file = place.path().join("ufr-seen");
    let before = fs::read(&file).unwrap();
    for look in [&["ls"][..], &["stat", "seen"], &["stat", "seen", "--json"]] {
        place.say(look);
    }
    place.say(&["doctor", "--check", "seen"]);
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn a_ring_that_others_may_write_to_is_used_only_by_who_trusts_them() {
    let place = Place::new();
    place.say(&["--trust", "group", "create", "ours"]);
    let refused = place.send_bytes(&["ours"], b"one\n");
    assert!(!refused.status.success());
    assert!(error_of(&refused).contains("mode 0660"), "{refused:?}");
    assert!(place.say(&["ls"]).contains("unusable"));
    assert!(place.send_bytes(&["ours", "--trust", "group"], b"one\n").status.success());
    assert_eq!(place.say(&["recv", "ours", "--trust", "group", "-n", "1"]), "one\n");
}

#[test]
fn a_ring_whose_file_is_made_shorter_ends_its_users_with_the_reason() {
    let place = Place::new();
    place.say(&["create", "cut"]);
    let receiver = place
        .ufr(&["recv", "--follow", "cut"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("the receiver is there", || place.say(&["stat", "cut"]).contains("consumer  shared"));
    fs::OpenOptions::new()
        .write(true)
        .open(place.path().join("ufr-cut"))
        .unwrap()
        .set_len(0)
        .unwrap();
    let output = receiver.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error_of(&output).contains("truncated"), "{output:?}");
}

#[test]
fn errors_name_options_and_not_calls_and_are_said_once() {
    let place = Place::new();
    let nowhere = place.path().join("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    for command in
        [&["ls"][..], &["stat", "r"], &["create", "r"], &["recv", "r"], &["rm", "--stale"]]
    {
        let output = place.run(&[&["--directory", nowhere], command].concat());
        let error = error_of(&output);
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        assert!(
            error.contains(&format!("there is no directory {nowhere}")),
            "{command:?}: {error}"
        );
        assert!(error.contains("--directory") && !error.contains("Builder"), "{error}");
    }
    place.say(&["--trust", "group", "create", "ours"]);
    let refused = error_of(&place.run(&["recv", "ours"]));
    assert!(refused.contains("--trust") && !refused.contains("Builder"), "{refused}");
    assert!(error_of(&place.run(&["stat", "none"])).contains("`ufr create`"));
    let number = error_of(&place.run(&["create", "s", "--capacity", "100"]));
    assert_eq!(number.matches("and 100 is not").count(), 1, "{number}");
    fs::write(place.path().join("ufr-noise"), "noise").unwrap();
    let noise = error_of(&place.run(&["stat", "noise"]));
    assert_eq!(noise.matches("not a ring").count(), 1, "{noise}");
}

#[test]
fn what_is_no_ring_is_not_removed_unless_that_is_insisted_on() {
    let place = Place::new();
    let at = |name: &str| place.path().join(name);
    place.say(&["create", "ring"]);
    fs::write(at("ufr-notes"), "kept for years").unwrap();
    fs::write(at("precious"), "elsewhere").unwrap();
    std::os::unix::fs::symlink(at("precious"), at("ufr-link")).unwrap();
    fs::create_dir(at("ufr-directory")).unwrap();
    for name in ["notes", "link", "directory"] {
        let refused = place.run(&["rm", name]);
        assert_eq!(refused.status.code(), Some(1), "{name}");
        assert!(error_of(&refused).contains("is not a ring"), "{refused:?}");
    }
    assert_eq!(fs::read(at("ufr-notes")).unwrap(), b"kept for years");
    assert!(at("ufr-link").is_symlink());
    // The others are removed nevertheless.
    assert_eq!(place.run(&["rm", "notes", "ring"]).status.code(), Some(1));
    assert!(!at("ufr-ring").exists());
    place.say(&["rm", "--force", "notes", "link"]);
    assert!(!at("ufr-notes").exists() && !at("ufr-link").is_symlink());
    assert_eq!(fs::read(at("precious")).unwrap(), b"elsewhere");
    assert_eq!(place.run(&["rm", "--force", "directory"]).status.code(), Some(1));
    assert!(at("ufr-directory").is_dir());
}

#[test]
fn help_says_when_recv_and_send_end_what_is_lost_and_with_what_code() {
    let place = Place::new();
    for (command, said) in [
        (
            "recv",
            &[
                "nds when the ring is empty",
                "loses nothing",
                "141",
                "After a kill",
                "a second time",
                "order",
            ][..],
        ),
        ("send", &["a line is longer", "Exit codes", "without waiting", "130"]),
        ("create", &["characters that change the direction of text"]),
        ("doctor", &["exit code is 1 if the ring is damaged", "Only check; repair nothing"]),
        ("demo", &["checks the order"]),
        ("ls", &["stale"]),
        ("rm", &["Refuses what is not a ring"]),
    ] {
        let help = place.say(&[command, "--help"]).split_whitespace().collect::<Vec<_>>().join(" ");
        for said in said {
            assert!(help.contains(said), "{command}: {said}: {help}");
        }
        assert!(!help.contains("Options of"), "{help}");
    }
    assert!(place.say(&["--help"]).contains("Exit codes"));
    assert!(place.say(&["send", "--help"]).contains("real-time, high, normal, low, bulk"));
}

/// What bash offers after the words of `line`, the last of them begun.
fn completed(place: &Place, line: &[&str]) -> Vec<String> {
    let script = "source <(\"$1\" completions bash); shift; COMP_WORDS=(\"$@\"); \
                  COMP_CWORD=$(($# - 1)); COMP_TYPE=9; _clap_complete_ufr ufr \"${@: -1}\"; \
                  printf '%s\\n' \"${COMPREPLY[@]}\"";
    let ufr = place.ufr(&[]).get_program().to_owned();
    let output = Command::new("bash")
        .env("UFR_DIRECTORY", place.path())
        .args(["-c", script, "bash"])
        .arg(ufr)
        .args(line)
        .output()
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{line:?}: {output:?}");
    let offered = String::from_utf8(output.stdout).unwrap();
    offered.lines().filter(|line| !line.is_empty()).map(|it| it.trim().to_string()).collect()
}

#[test]
fn bash_completes_commands_rings_and_values() {
    let (place, elsewhere) = (Place::new(), Place::new());
    for name in ["quotes", "quality", "orders"] {
        place.say(&["create", name]);
    }
    elsewhere.say(&["create", "other"]);
    assert_eq!(completed(&place, &["ufr", "demo"]), ["demo"]);
    assert_eq!(completed(&place, &["ufr", "demo-"]), [""; 0]);
    for command in ["send", "recv", "stat", "doctor", "rm"] {
        assert_eq!(completed(&place, &["ufr", command, "qu"]), ["quality", "quotes"], "{command}");
    }
    assert_eq!(completed(&place, &["ufr", "rm", "orders", "quo"]), ["quotes"]);
    let directory = elsewhere.path().to_str().unwrap();
    for said in [&["--directory", directory][..], &["--directory", "=", directory]] {
        assert_eq!(completed(&place, &[&["ufr"], said, &["stat", "o"]].concat()), ["other"]);
    }
    let classes = ["real-time", "high", "normal", "low", "bulk"];
    assert_eq!(completed(&place, &["ufr", "send", "quotes", "--class", ""]), classes);
    assert_eq!(completed(&place, &["ufr", "--trust", ""]), ["own-user", "group", "anyone"]);
    let timestamps = completed(&place, &["ufr", "create", "x", "--timestamps", ""]);
    assert!(
        timestamps.starts_with(&["every".into(), "off".into(), "1/2".into()]),
        "{timestamps:?}"
    );
    assert_eq!(completed(&place, &["ufr", "create", "x", "--reserve", "re"]), ["real-time="]);
    let shells = completed(&place, &["ufr", "completions", ""]);
    assert!(
        ["bash", "zsh", "fish"].iter().all(|it| shells.contains(&it.to_string())),
        "{shells:?}"
    );
}
