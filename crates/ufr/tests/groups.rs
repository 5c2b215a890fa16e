//! Groups of consumers, with the built command: fan-out, late joiners, members that are killed.

#[allow(dead_code)]
mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};

use common::*;

/// Numbers, one a line.
fn numbers(range: std::ops::Range<u64>) -> String {
    range.map(|number| format!("{number}\n")).collect()
}

fn send(place: &Place, range: std::ops::Range<u64>) {
    let sent = place.send_bytes(&["r"], numbers(range).as_bytes());
    assert!(sent.status.success(), "{sent:?}");
}

/// What a member of a group receives that waits for nobody.
fn drain(place: &Place, group: &str, more: &[&str]) -> String {
    place.say(&[&["recv", "r", "--drain", "--group", group], more].concat())
}

/// What `stat` says of a group.
fn stat_of(place: &Place, group: &str) -> serde_json::Value {
    let stat = place.stat("r");
    let all = stat["groups"].as_array().unwrap();
    all.iter().find(|it| it["name"] == group).unwrap_or_else(|| panic!("{stat}")).clone()
}

/// Starts a member of a group and waits until it has joined.
fn member(place: &Place, group: &str, more: &[&str]) -> Child {
    let arguments = [&["recv", "r", "--group", group], more].concat();
    let child = place.ufr(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    until("the group is open", || {
        let groups = place.run(&["group", "ls", "r"]).stdout;
        String::from_utf8(groups).unwrap().contains(&format!("{group}\topen\t1 member"))
    });
    child
}

fn rest_of(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn each_group_gets_each_message_whether_or_not_it_was_there() {
    let place = Place::new();
    place.say(&["create", "r", "--group", "risk", "--group", "log"]);
    send(&place, 0..100);
    let risk = member(&place, "risk", &["--follow", "-n", "200"]);
    assert_eq!(drain(&place, "log", &[]), numbers(0..100));
    let seen = place.stat("r");
    let member = &seen["participants"][0];
    assert_eq!((&member["side"], &member["group"]), (&"consumer".into(), &"risk".into()));
    let text = place.say(&["stat", "r"]);
    let column = text.lines().find(|it| it.starts_with("entry")).unwrap().find("group").unwrap();
    assert!(text.lines().any(|it| it.get(column..).is_some_and(|it| it.starts_with("risk"))));
    send(&place, 100..200);
    assert_eq!(rest_of(risk), numbers(0..200));
    // Both have received it, and then one of them more.
    let seen = place.stat("r");
    assert_eq!((&seen["sent"], &seen["received"]), (&200.into(), &100.into()));
    let received = &seen["classes"]["normal"]["received"];
    assert_eq!(received, 300);
    let text = place.say(&["stat", "r"]);
    let all = text.lines().find(|it| it.starts_with("all ")).unwrap();
    assert_eq!(all.split_whitespace().nth(2), Some("300"), "{text}");
    assert!(text.contains("by all groups"), "{text}");
    assert_eq!(drain(&place, "log", &[]), numbers(100..200));
}

#[test]
fn members_of_a_group_share_its_messages() {
    let place = Place::new();
    place.say(&["create", "r", "--joinable", "--capacity", "16"]);
    let first = member(&place, "workers", &[]);
    let second = place.ufr(&["recv", "r", "-g", "workers"]).stdout(Stdio::piped()).spawn().unwrap();
    until("both are there", || stat_of(&place, "workers")["members"] == 2);
    send(&place, 0..1_000);
    let both = rest_of(first) + &rest_of(second);
    let mut lines: Vec<u64> = both.lines().map(|line| line.parse().unwrap()).collect();
    lines.sort_unstable();
    assert!(lines.into_iter().eq(0..1_000));
}

#[test]
fn a_late_joiner_begins_where_it_wants() {
    let place = Place::new();
    place.say(&["create", "r", "--joinable", "--group", "keeps", "--capacity", "64"]);
    send(&place, 0..50);
    assert_eq!(drain(&place, "latest", &[]), "");
    assert_eq!(drain(&place, "oldest", &["--from", "oldest"]), numbers(0..50));
    assert_eq!(drain(&place, "position", &["--from", "20"]), numbers(20..50));
    assert_eq!(drain(&place, "keeps", &["--from", "20"]), numbers(0..50), "it was open");
    let wrong = place.run(&["recv", "r", "--group", "g", "--from", "yesterday"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(error_of(&wrong).contains("write latest, oldest, resume, or a position"), "{wrong:?}");
}

#[test]
fn a_killed_receiver_is_resumed_with_nothing_lost_and_nothing_twice_unmarked() {
    const ALL: u64 = 20_000;
    let place = Place::new();
    place.say(&["create", "r", "--group", "keeps", "--joinable", "--capacity", "256"]);
    let mut sender = place.ufr(&["send", "r"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = sender.stdin.take().unwrap();
    let feeder = std::thread::spawn(move || input.write_all(numbers(0..ALL).as_bytes()));
    let mut seen: Vec<u64> = Vec::new();
    for _ in 0..3 {
        let mut killed = place
            .ufr(&["recv", "r", "--group", "keeps", "--from", "resume"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(killed.stdout.take().unwrap());
        for _ in 0..1_000 {
            let mut line = String::new();
            lines.read_line(&mut line).unwrap();
            seen.push(line.trim().parse().unwrap());
        }
        killed.kill().unwrap();
        killed.wait().unwrap();
        // What it had written by then counts; the last line may be cut.
        let rest = lines.lines().map_while(Result::ok);
        seen.extend(rest.filter_map(|line| line.parse::<u64>().ok()));
    }
    let rest = place.say(&["recv", "r", "--group", "keeps", "--from", "resume"]);
    seen.extend(rest.lines().map(|line| line.parse::<u64>().unwrap()));
    feeder.join().unwrap().unwrap();
    succeed(sender);
    let distinct: BTreeSet<_> = seen.iter().copied().collect();
    // The one line that a kill can cut was written, and is held and delivered again.
    assert!(distinct.iter().copied().eq(0..ALL), "{} of {ALL}", distinct.len());
    let twice = (seen.len() - distinct.len()) as u64;
    let redelivered = place.stat("r")["redelivered"].as_u64().unwrap();
    assert!(twice <= redelivered && redelivered <= 3 * 64, "{twice}, {redelivered}");
}

#[test]
fn a_passing_group_holds_producers_back_only_while_it_has_a_member() {
    let place = Place::new();
    place.say(&["create", "r", "--joinable", "--capacity", "8"]);
    send(&place, 0..100);
    let mut slow = member(&place, "slow", &[]);
    // Stopped, so that it takes nothing.
    let pid = rustix::process::Pid::from_child(&slow);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let sender = {
        let path = place.path().join("in");
        fs::write(&path, numbers(0..1_000)).unwrap();
        place.send(&["r"], &path)
    };
    until("it holds the sender back", || {
        let text = place.say(&["stat", "r"]);
        place.stat("r")["slowest_group"] == "slow"
            && text.contains("groups         slow holds producers back")
    });
    let explained = place.say(&["doctor", "r"]);
    let who = "r: producers wait for the group \"slow\", which has 1 member";
    assert!(explained.contains(who), "{explained}");
    let refused = place.run(&["group", "rm", "r", "slow"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(error_of(&refused).contains("the group \"slow\" has members"), "{refused:?}");
    slow.kill().unwrap();
    slow.wait().unwrap();
    succeed(sender);
    assert!(place.say(&["group", "ls", "r"]).contains("slow\tclosed\t"));
}

#[test]
fn a_group_that_is_removed_holds_nobody_back() {
    let place = Place::new();
    place.say(&["create", "r", "--group", "forgotten", "--joinable", "--capacity", "8"]);
    let path = place.path().join("in");
    fs::write(&path, numbers(0..100)).unwrap();
    let sender = place.send(&["r"], &path);
    until("the ring is full", || place.stat("r")["in_flight"] == 8);
    let text = place.say(&["stat", "r"]);
    assert!(text.contains("groups         forgotten holds producers back"), "{text}");
    let explained = place.say(&["doctor", "r"]);
    assert!(explained.contains("all is well\n"), "{explained}");
    assert!(explained.contains("with `ufr group rm r forgotten`\n"), "{explained}");
    assert_eq!(place.say(&["group", "ls", "r"]), "forgotten\topen\t0 members\t8 behind\tdurable\n");
    place.say(&["group", "rm", "r", "forgotten"]);
    succeed(sender);
    assert_eq!(place.say(&["group", "ls", "r"]), "");
    let gone = place.run(&["group", "rm", "r", "forgotten"]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(error_of(&gone).contains("there is no group \"forgotten\""), "{gone:?}");
    let gone = place.run(&["recv", "r", "--group", "forgotten", "--from", "resume"]);
    assert!(error_of(&gone).contains("there is no group \"forgotten\""), "{gone:?}");
}

#[test]
fn a_group_is_what_its_first_member_makes_it() {
    let place = Place::new();
    place.say(&["create", "r", "--joinable"]);
    drain(&place, "g", &["--durable", "--exclusive", "--evict-after", "1m 30s"]);
    let made = "g\topen\t0 members\t0 behind\tdurable, exclusive, evicted after 1m 30s\n";
    assert_eq!(place.say(&["group", "ls", "r"]), made);
    let stat = stat_of(&place, "g");
    assert_eq!((&stat["durable"], &stat["sharing"]), (&true.into(), &"exclusive".into()));
    assert_eq!(stat["evict_after_ns"], 90_000_000_000u64);
    let text = place.say(&["stat", "r"]);
    assert!(text.contains("durable, exclusive, evicted after 1m 30s"), "{text}");
    let differs = place.run(&["recv", "r", "--drain", "-g", "g", "--evict-after", "2s"]);
    assert_eq!(differs.status.code(), Some(1));
    assert!(error_of(&differs).contains("the group \"g\" is evicted after 90s"), "{differs:?}");
    let first = member(&place, "g", &["--follow"]);
    let taken = place.run(&["recv", "r", "--drain", "-g", "g"]);
    assert!(error_of(&taken).contains("the exclusive group \"g\" has its member"), "{taken:?}");
    interrupt(&first);
    ends_interrupted(first);
    assert_eq!(drain(&place, "g", &[]), "");
}

#[test]
fn a_group_that_is_evicted_says_how_many_it_missed_and_goes_on() {
    let place = Place::new();
    place.say(&["create", "r", "--joinable", "--capacity", "64"]);
    let mut slow = place
        .ufr(&["recv", "r", "--group", "view", "--evict-after", "20ms", "--follow"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("the group is open", || place.stat("r")["slowest_group"] == "view");
    let mut lines = BufReader::new(slow.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap().parse::<u64>().unwrap();
    send(&place, 0..10);
    assert!((0..10).all(|number| next() == number));
    // Stopped, so that it takes nothing, and producers go on without it.
    let pid = rustix::process::Pid::from_child(&slow);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    send(&place, 10..1_000);
    assert!(place.say(&["group", "ls", "r"]).starts_with("view\tevicted\t"));
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    let mut words = String::new();
    BufReader::new(slow.stderr.take().unwrap()).read_line(&mut words).unwrap();
    let missed =
        "ufr: the group was too slow and has missed 990 messages; it goes on at the latest\n";
    assert_eq!(words, missed);
    send(&place, 1_000..1_010);
    assert!((1_000..1_010).all(|number| next() == number));
    let stat = stat_of(&place, "view");
    assert_eq!(
        (&stat["state"], &stat["missed"], &stat["evictions"]),
        (&"open".into(), &990.into(), &1.into())
    );
    interrupt(&slow);
    ends_interrupted(slow);
}

#[test]
fn a_ring_that_recv_makes_for_a_group_can_be_joined() {
    let place = Place::new();
    let first = member(&place, "first", &[]);
    let second = member(&place, "second", &[]);
    send(&place, 0..10);
    assert_eq!(rest_of(first), numbers(0..10));
    assert_eq!(rest_of(second), numbers(0..10));
    let resumed = place.run(&["recv", "none", "--group", "g", "--from", "resume"]);
    assert!(error_of(&resumed).contains("there is no ring at"), "{resumed:?}");
    assert_eq!(place.say(&["ls"]).lines().count(), 1);
}

#[test]
fn what_a_ring_was_not_made_for_says_how_to_make_one() {
    let place = Place::new();
    place.say(&["create", "r"]);
    for arguments in [&["recv", "r", "--group", "g"][..], &["group", "ls", "r"], &["tail", "r"]] {
        let plain = place.run(arguments);
        assert_eq!(plain.status.code(), Some(1));
        let error = error_of(&plain);
        assert!(error.contains("not made for groups"), "{error}");
        assert!(error.contains("`ufr create NAME --joinable`"), "{error}");
    }
    assert_eq!(place.stat("r")["joinable"], false);
    place.say(&["create", "j", "--group", "only"]);
    let nameless = place.run(&["recv", "j"]);
    assert_eq!(nameless.status.code(), Some(1));
    assert!(error_of(&nameless).contains("name one with --group"), "{nameless:?}");
    let full = place.run(&["recv", "j", "--group", "another"]);
    assert!(error_of(&full).contains("room for 1 groups"), "{full:?}");
    for usage in [
        &["create", "k", "--group", ""][..],
        &["create", "k", "--joinable", "--exclusive-consumer"],
        &["recv", "j", "--from", "oldest"],
        &["recv", "j", "--durable"],
        &["recv", "j", "--group", "a\nb"],
        &["recv", "j", "--group", "g", "--evict-after", "soon"],
        &["group", "rm", "j", ""],
        &["group"],
    ] {
        let output = place.run(usage);
        assert_eq!(output.status.code(), Some(2), "{usage:?}: {output:?}");
    }
    let error = error_of(&place.run(&["create", "j", "--group", "only", "--joinable"]));
    assert!(error.contains("groups is 1 and not 17"), "{error}");
}

#[test]
fn names_of_groups_are_completed() {
    let place = Place::new();
    place.say(&["create", "r", "--group", "risk", "--group", "log"]);
    let complete = |words: &[&str]| {
        let output = place
            .ufr(&[&["--", "ufr"], words].concat())
            .env("UFR_COMPLETE", "bash")
            .env("_CLAP_COMPLETE_INDEX", words.len().to_string())
            .env("_CLAP_COMPLETE_COMP_TYPE", "9")
            .env("_CLAP_IFS", "\n")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let mut names: Vec<_> =
            String::from_utf8(output.stdout).unwrap().lines().map(String::from).collect();
        names.sort();
        names
    };
    assert_eq!(complete(&["recv", "r", "--group", ""]), ["log", "risk"]);
    assert_eq!(complete(&["recv", "r", "--group", "ri"]), ["risk"]);
    assert_eq!(complete(&["group", "rm", "r", "l"]), ["log"]);
    assert_eq!(complete(&["recv", "r", "--from", ""]), ["latest", "oldest", "resume"]);
}

/// Starts a `tail` and gives its lines, and what it says beside them.
fn tail(place: &Place, more: &[&str]) -> (Child, impl FnMut() -> u64, impl FnMut() -> String) {
    let mut child = place
        .ufr(&[&["tail", "r"], more].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut words = BufReader::new(child.stderr.take().unwrap()).lines();
    let next = move || lines.next().unwrap().unwrap().parse().unwrap();
    (child, next, move || words.next().unwrap().unwrap())
}

#[test]
fn tail_prints_the_last_messages_whether_or_not_they_were_received() {
    let place = Place::new();
    place.say(&["create", "r", "--joinable", "--capacity", "256"]);
    assert_eq!(place.say(&["tail", "r"]), "");
    send(&place, 0..100);
    assert_eq!(place.say(&["tail", "r"]), numbers(90..100));
    assert_eq!(place.say(&["tail", "r", "-n", "3"]), numbers(97..100));
    assert_eq!(place.say(&["tail", "r", "-n", "0"]), "");
    assert_eq!(place.say(&["tail", "r", "-n", "1000"]), numbers(0..100));
    assert_eq!(place.say(&["tail", "r", "--from", "oldest"]), numbers(0..100));
    assert_eq!(place.say(&["tail", "r", "--from", "95", "--raw"]), "9596979899");
    assert_eq!(place.say(&["tail", "r", "--from", "latest"]), "");
    assert_eq!(place.say(&["tail", "r", "--from", "1000"]), "");
    // Nothing of it was received, and nobody was there.
    assert_eq!(place.stat("r")["participants"].as_array().unwrap().len(), 0);
    drain(&place, "g", &["--from", "oldest"]);
    assert_eq!(place.say(&["tail", "r", "-n", "3"]), numbers(97..100));
    for usage in [
        &["tail", "r", "--from", "resume"][..],
        &["tail", "r", "-n", "3", "--from", "oldest"],
        &["tail", "r", "--interval", "1s"],
        &["tail", "r", "-f", "--interval", "soon"],
    ] {
        assert_eq!(place.run(usage).status.code(), Some(2), "{usage:?}");
    }
}

#[test]
fn tail_says_how_many_were_overwritten_before_it_came() {
    let place = Place::new();
    place.say(&["create", "r", "--joinable", "--capacity", "64"]);
    send(&place, 0..1_000);
    let late = place.run(&["tail", "r", "--from", "7"]);
    assert!(late.status.success());
    let lines = String::from_utf8(late.stdout.clone()).unwrap();
    let first: u64 = lines.lines().next().unwrap().parse().unwrap();
    assert_eq!(lines, numbers(first..1_000));
    let words = error_of(&late);
    assert!(words.starts_with(&format!("ufr: {} messages were overwritten", first - 7)), "{words}");
    assert!((900..1_000).contains(&first), "{first}");
    // What was not asked for is not missed.
    let all = place.run(&["tail", "r", "-n", "1000"]);
    let lines = String::from_utf8(all.stdout.clone()).unwrap();
    let oldest: u64 = lines.lines().next().unwrap().parse().unwrap();
    assert_eq!((lines, error_of(&all)), (numbers(oldest..1_000), String::new()));
    assert!((936..=944).contains(&oldest), "{oldest}");
}

#[test]
fn tail_follows_and_counts_what_it_missed() {
    let place = Place::new();
    place.say(&["create", "r", "--joinable", "--capacity", "64"]);
    send(&place, 0..10);
    let (child, mut next, mut words) = tail(&place, &["-f", "-n", "2", "--interval", "1ms"]);
    assert_eq!((next(), next()), (8, 9));
    send(&place, 10..15);
    assert!((10..15).all(|number| next() == number));
    // Stopped, it holds nobody back; everything is overwritten more than once.
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    send(&place, 15..1_000);
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    let said = words();
    let missed: u64 = said.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(said.contains("messages were overwritten before they were read"), "{said}");
    assert!((15 + missed..1_000).all(|number| next() == number), "{missed}");
    // Closed and opened again, it goes on.
    let ring = ultrafastring::Builder::new().directory(place.path()).open("r").unwrap();
    ring.producer().unwrap().close();
    send(&place, 1_000..1_003);
    assert!((1_000..1_003).all(|number| next() == number));
    interrupt(&child);
    ends_interrupted(child);
}
