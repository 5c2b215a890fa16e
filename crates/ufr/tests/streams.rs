//! What becomes of messages, and of the command, when standard input or output does not do as one
//! would like: closed, full, slow, too long, cut short.

#[allow(dead_code)]
mod common;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Output, Stdio};

use common::*;

/// As the exit code of a process that SIGPIPE has ended looks to a shell.
const CLOSED_PIPE: Option<i32> = Some(141);

/// A child that is killed with its test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Standard output that nobody reads.
fn nobody() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// A line of a shell, with `ufr` as its first parameter.
fn shell(place: &Place, line: &str) -> Output {
    let ufr = place.ufr(&[]).get_program().to_owned();
    let mut command = Command::new("bash");
    command.env("UFR_DIRECTORY", place.path()).args(["-c", line]).arg("bash").arg(ufr);
    command.stdin(Stdio::null()).output().unwrap()
}

/// So many lines, of about as many bytes as a slot holds.
fn lines(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("{number:036}\n")).collect()
}

#[test]
fn send_waits_for_the_memory_of_messages_that_are_not_received_yet() {
    for sides in ["", "--exclusive-producer"] {
        let place = Place::new();
        // A receiver that is late.
        let line = format!(
            "$1 create r --max-message 1048576 --side-memory overcommitted {sides} >&2
            head -c $((24 << 20)) /dev/zero | $1 send r --raw & sending=$!
            $1 recv r --raw | {{ sleep 0.5; wc -c; }}
            wait $sending"
        );
        let Some(output) = in_little_memory(&place, "4m", &line) else { return };
        assert!(output.status.success(), "{sides}: {output:?}");
        let count = String::from_utf8(output.stdout).unwrap();
        assert_eq!(count.trim(), (24 << 20).to_string(), "{sides}");
    }
}

#[test]
fn a_pipe_that_nobody_reads_ends_what_prints_and_says_nothing() {
    let place = Place::new();
    place.say(&["create", "r"]);
    for arguments in [
        &["ls"][..],
        &["stat", "r"],
        &["stat", "r", "--json"],
        &["doctor", "r"],
        &["create", "s", "--size"],
        &["completions", "bash"],
        &["demo", "--messages", "1000", "--json"],
        &["--help"],
        &["recv", "--help"],
        &["--version"],
        &["rm", "--stale"],
    ] {
        let mut command = place.ufr(arguments);
        let output = command.stdout(nobody()).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), CLOSED_PIPE, "{arguments:?}: {output:?}");
        if arguments[0] != "demo" {
            assert_eq!(error_of(&output), "", "{arguments:?}");
        }
        assert!(!error_of(&output).contains("panicked"), "{output:?}");
    }
    let demo = place.ufr(&["demo", "--messages", "1000"]).stderr(nobody()).output().unwrap();
    assert_eq!(demo.status.code(), CLOSED_PIPE);
    let error = place.ufr(&["stat", "none"]).stderr(nobody()).output().unwrap();
    assert_eq!(error.status.code(), Some(1));
    assert_eq!(place.say(&["ls"]), "", "something was left behind");
}

#[test]
fn what_cannot_be_printed_is_said_to_be_standard_outputs_fault() {
    let place = Place::new();
    place.say(&["create", "r"]);
    assert!(place.send_bytes(&["r"], b"1\n").status.success());
    for arguments in [&["ls"][..], &["stat", "r"], &["recv", "r"], &["completions", "zsh"]] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = place.ufr(arguments).stdout(full).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let error = error_of(&output);
        assert!(error.starts_with("ufr: standard output: No space left"), "{error}");
    }
    assert_eq!(place.run(&["recv", "r"]).stdout, b"1\n");
}

#[test]
fn a_closed_descriptor_is_noticed_before_anything_is_taken() {
    let place = Place::new();
    assert!(place.send_bytes(&["r"], b"1\n2\n").status.success());
    for (line, which) in [
        ("\"$1\" recv r >&-", "output"),
        ("\"$1\" recv r -u >&-", "output"),
        ("\"$1\" recv r 1</dev/null", "output"),
        ("\"$1\" stat r >&-", "output"),
        ("\"$1\" send new <&-", "input"),
        ("\"$1\" send new 0>/dev/null", "input"),
    ] {
        let output = shell(&place, line);
        assert_eq!(output.status.code(), Some(1), "{line}: {output:?}");
        assert!(error_of(&output).starts_with(&format!("ufr: standard {which}: ")), "{output:?}");
    }
    // What prints nothing needs no standard output.
    assert!(shell(&place, "echo 3 | \"$1\" send r >&-").status.success());
    assert_eq!(place.run(&["recv", "r"]).stdout, b"1\n2\n3\n");
    assert_eq!(place.say(&["ls"]).lines().count(), 1);
}

#[test]
fn a_line_without_end_is_refused_and_not_kept() {
    let place = Place::new();
    let output = shell(&place, "ulimit -v 1000000; \"$1\" send r < /dev/zero");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(error_of(&output).contains("line 1 has more than 40 bytes"), "{output:?}");
    assert_eq!(place.stat("r")["in_flight"], 0);
}

#[test]
fn a_line_as_long_as_a_message_is_sent_with_an_end_or_without() {
    let place = Place::new();
    let line = "x".repeat(40);
    assert!(place.send_bytes(&["r"], format!("{line}\n{line}").as_bytes()).status.success());
    assert_eq!(place.run(&["recv", "r"]).stdout, format!("{line}\n{line}\n").into_bytes());
}

#[test]
fn raw_bytes_are_sent_as_they_come_and_in_full_messages_if_they_are_there() {
    let place = Place::new();
    let mut sender = place.ufr(&["send", "r", "--raw"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = sender.stdin.take().unwrap();
    input.write_all(b"abc").unwrap();
    until("three bytes are sent", || {
        place.run(&["stat", "r"]).status.success() && place.stat("r")["in_flight"] == 1
    });
    assert_eq!(place.say(&["recv", "r", "--raw", "-n", "1"]), "abc");
    input.write_all(&[b'x'; 100]).unwrap();
    until("a hundred bytes are sent", || place.stat("r")["in_flight"] == 3);
    drop(input);
    succeed(sender);
    assert_eq!(place.run(&["recv", "r", "--raw"]).stdout, [b'x'; 100]);
    // However much is read at a time, no message is shorter than need be.
    let file = place.path().join("file");
    fs::write(&file, vec![b'y'; 240_000]).unwrap();
    place.say(&["create", "large", "--capacity", "8192"]);
    succeed(place.send(&["large", "--raw"], &file));
    assert_eq!(place.stat("large")["in_flight"], 6_000);
}

fn exclusive(place: &Place) {
    place.say(&["create", "r", "--exclusive-consumer"]);
}

fn shared(place: &Place) {
    place.say(&["create", "r"]);
}

#[test]
fn a_receiver_whose_reader_leaves_loses_nothing_and_says_nothing() {
    for (create, options) in [
        (shared as fn(&Place), &["recv", "r"][..]),
        (exclusive, &["recv", "r"]),
        (shared, &["recv", "r", "-u"]),
    ] {
        let place = Place::new();
        create(&place);
        let sent = lines(200);
        assert!(place.send_bytes(&["r"], sent.concat().as_bytes()).status.success());
        let mut receiver = place.ufr(options);
        let output = receiver.stdout(nobody()).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), CLOSED_PIPE);
        assert_eq!(error_of(&output), "");
        // In order: the next receiver begins with what the last one could not write.
        let rest = place.say(&["recv", "r"]);
        assert!(rest == sent.concat(), "{rest}");
        assert_eq!(place.stat("r")["participants"].as_array().unwrap().len(), 0);
    }
}

/// A receiver whose pipe is full, with so many bytes in it, and the pipe's other end.
fn stuck(place: &Place) -> (Child, OwnedFd, usize) {
    let (reader, writer) = std::io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    let receiver = place.ufr(&["recv", "r"]).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let reader = OwnedFd::from(reader);
    let mut before = (0, 0);
    until("the pipe is full", || {
        let held = place.stat("r")["participants"][0]["hold"].is_array();
        let bytes = rustix::io::ioctl_fionread(&reader).unwrap() as usize;
        let still = held && bytes != 0 && before == (bytes, before.1);
        before = (bytes, if still { before.1 + 1 } else { 0 });
        before.1 == 20
    });
    (receiver, reader, before.0)
}

#[test]
fn what_a_pipe_does_not_take_stays_in_the_ring() {
    for create in [shared, exclusive] {
        let place = Place::new();
        create(&place);
        let sent = lines(250);
        assert!(place.send_bytes(&["r"], sent.concat().as_bytes()).status.success());
        let (receiver, reader, taken) = stuck(&place);
        drop(reader);
        let output = receiver.wait_with_output().unwrap();
        assert_eq!((output.status.code(), error_of(&output)), (CLOSED_PIPE, String::new()));
        assert!(place.say(&["recv", "r"]) == sent.concat()[taken..], "{taken} bytes in the pipe");
    }
}

#[test]
fn a_killed_receiver_loses_nothing_and_repeats_a_batch_at_most() {
    for create in [shared, exclusive] {
        let place = Place::new();
        create(&place);
        let sent = lines(250);
        assert!(place.send_bytes(&["r"], sent.concat().as_bytes()).status.success());
        let (mut receiver, reader, _) = stuck(&place);
        receiver.kill().unwrap();
        receiver.wait().unwrap();
        let mut written = String::new();
        fs::File::from(reader).read_to_string(&mut written).unwrap();
        let rest = place.say(&["recv", "r"]);
        let (written, rest): (Vec<_>, Vec<_>) = (written.lines().collect(), rest.lines().collect());
        let again = written.iter().filter(|line| rest.contains(line)).count();
        assert!(again <= 64, "{again} written again");
        let all: Vec<_> = sent.iter().map(|line| line.trim_end()).collect();
        assert_eq!([&written[..written.len() - again], &rest].concat(), all);
    }
}

#[test]
fn what_a_failed_receiver_left_comes_first_to_the_next() {
    let place = Place::new();
    let sent = lines(10);
    assert!(place.send_bytes(&["r"], sent.concat().as_bytes()).status.success());
    for _ in 0..3 {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let failed = place.ufr(&["recv", "-u", "r"]).stdout(full).output().unwrap();
        assert_eq!(failed.status.code(), Some(1));
    }
    assert_eq!(place.say(&["recv", "r"]), sent.concat());
}

#[test]
fn killed_senders_neither_spoil_the_counters_nor_stay_in_the_table() {
    let place = Place::new();
    place.say(&["create", "r"]);
    let output = Stdio::null();
    let receiver = place.ufr(&["recv", "r", "--raw", "--follow"]).stdout(output).spawn().unwrap();
    let _receiver = Ended(receiver);
    for _ in 0..8 {
        let before = place.stat("r")["received"].as_u64().unwrap();
        let zeros = fs::File::open("/dev/zero").unwrap();
        let mut sender = place.ufr(&["send", "r", "--raw"]).stdin(zeros).spawn().unwrap();
        until("it sends", || place.stat("r")["received"].as_u64().unwrap() > before + 1000);
        sender.kill().unwrap();
        sender.wait().unwrap();
    }
    until("all is received", || place.stat("r")["in_flight"] == 0);
    let stat = place.stat("r");
    assert_eq!(stat["sent"], stat["received"]);
    let lane = |key: &str| stat["classes"]["normal"][key].as_u64().unwrap();
    assert!(lane("sent") >= lane("received"), "{stat:#}");
    let shown = place.say(&["stat", "r"]);
    assert!(!shown.contains("intent"), "{shown}");
    assert!(place.send_bytes(&["r"], b"").status.success());
    let participants = place.stat("r")["participants"].clone();
    assert_eq!(participants.as_array().unwrap().len(), 1, "{participants:#}");
}

/// A child that ends by itself, within the minute.
fn end(mut child: Ended) -> Option<i32> {
    until("a child ends", || child.0.try_wait().unwrap().is_some());
    child.0.wait().unwrap().code()
}

/// A receiver, and what it writes, once it waits.
fn waiting_receiver(place: &Place, options: &[&str]) -> (Ended, std::path::PathBuf) {
    let path = place.path().join("received");
    let receiver = Ended(place.recv(options, &path));
    until("the receiver is there", || {
        place.run(&["stat", "r"]).status.success()
            && place.stat("r")["participants"].as_array().unwrap().len() == 1
    });
    std::thread::sleep(std::time::Duration::from_millis(300));
    (receiver, path)
}

#[test]
fn a_receiver_ends_after_a_stream_with_nothing_in_it() {
    let place = Place::new();
    for options in [&["r"][..], &["r", "--raw"]] {
        let (receiver, path) = waiting_receiver(&place, options);
        assert!(place.send_bytes(options, b"").status.success());
        assert_eq!(end(receiver), Some(0));
        assert_eq!(fs::read(path).unwrap(), b"");
    }
}

#[test]
fn a_receiver_that_comes_after_a_ring_was_closed_waits_for_the_next_sender() {
    let place = Place::new();
    let ring = ultrafastring::Builder::new().directory(place.path()).create("r").unwrap();
    let mut producer = ring.producer().unwrap();
    producer.try_send(b"left", ultrafastring::PriorityClass::Normal).unwrap();
    producer.close();
    drop(producer);
    // What is left of the old stream has an end.
    assert_eq!(place.say(&["recv", "r"]), "left\n");
    let (mut receiver, path) = waiting_receiver(&place, &["r"]);
    assert!(receiver.0.try_wait().unwrap().is_none());
    assert!(place.send_bytes(&["r"], b"new\n").status.success());
    assert_eq!(end(receiver), Some(0));
    assert_eq!(fs::read(path).unwrap(), b"new\n");
}

#[test]
fn a_receiver_that_drains_waits_for_nobody() {
    let place = Place::new();
    assert_eq!(place.say(&["recv", "--drain", "r"]), "");
    let mut sender = place.ufr(&["send", "r"]).stdin(Stdio::piped()).spawn().unwrap();
    sender.stdin.as_mut().unwrap().write_all(b"1\n2\n").unwrap();
    let sender = Ended(sender);
    until("they are sent", || place.stat("r")["in_flight"] == 2);
    assert_eq!(place.say(&["recv", "--drain", "r"]), "1\n2\n");
    drop(sender);
    assert_eq!(place.say(&["recv", "-d", "r"]), "");
}

#[test]
fn a_sender_that_everybody_has_deserted_ends_if_asked_to() {
    let place = Place::new();
    let zeros = || fs::File::open("/dev/zero").unwrap();
    let options = ["send", "r", "--raw", "--end-when-deserted"];
    let mut sender = place.ufr(&options);
    let sender = sender.stdin(zeros()).stderr(Stdio::piped()).spawn().unwrap();
    let mut sender = Ended(sender);
    until("the ring is full", || {
        place.run(&["stat", "r"]).status.success() && place.stat("r")["in_flight"] == 256
    });
    // Nobody has come yet.
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(sender.0.try_wait().unwrap().is_none());
    place.say(&["recv", "r", "--raw", "-n", "1000"]);
    let mut said = String::new();
    let mut error = sender.0.stderr.take().unwrap();
    assert_eq!(end(sender), Some(1));
    error.read_to_string(&mut said).unwrap();
    assert!(said.contains("the last consumer has left"), "{said}");
}
