//! Rings with lanes, with the built command.

#[allow(dead_code)]
mod common;

use std::process::Stdio;

use common::*;

fn send(place: &Place, arguments: &[&str], line: &str) {
    let sent = place.send_bytes(&[&["r"], arguments].concat(), line.as_bytes());
    assert!(sent.status.success(), "{sent:?}");
}

#[test]
fn an_urgent_line_overtakes_and_each_lane_is_shown() {
    let place = Place::new();
    place.say(&[
        "create",
        "r",
        "--lanes",
        "by-class",
        "--capacity-of",
        "bulk=4096",
        "--credit-limit-of",
        "high=100",
        "--max-message-of",
        "bulk=1000",
    ]);
    send(&place, &["--class", "bulk"], &"bulk\n".repeat(4_096));
    send(&place, &[], "normal\n");
    send(&place, &["--class", "real-time"], "cancel\n");
    let stat = place.stat("r");
    assert_eq!(stat["topology"], "by-class");
    let lanes = stat["lanes"].as_array().unwrap();
    let of = |key: &str| lanes.iter().map(|lane| lane[key].to_string()).collect::<Vec<_>>();
    assert_eq!(of("class"), ["\"real-time\"", "\"high\"", "\"normal\"", "\"low\"", "\"bulk\""]);
    assert_eq!(of("capacity"), ["256", "256", "256", "256", "4096"]);
    assert_eq!(of("credit_limit"), ["256", "100", "256", "256", "4096"]);
    assert_eq!(of("max_message"), ["40", "40", "40", "40", "1000"]);
    assert_eq!(of("in_flight"), ["1", "0", "1", "0", "4096"]);
    assert_eq!((&stat["in_flight"], &stat["sent"]), (&4_098.into(), &4_098.into()));
    let text = place.say(&["stat", "r"]);
    assert!(text.contains("lanes          by-class") && text.contains("4096      4096"), "{text}");
    assert!(place.say(&["ls"]).contains("4098 of 5120 in flight"));
    assert_eq!(place.say(&["recv", "r", "-n", "3"]), "cancel\nnormal\nbulk\n");
    assert!(place.say(&["doctor", "r"]).contains("all is well"));
    let long = "x".repeat(1_000) + "\n";
    let refused = place.send_bytes(&["r"], long.as_bytes());
    assert!(!refused.status.success());
    send(&place, &["--class", "bulk"], &long);
}

#[test]
fn a_lane_of_a_producer_has_an_owner() {
    let place = Place::new();
    place.say(&["create", "r", "--lanes", "by-producer:2"]);
    send(&place, &[], "one\n");
    send(&place, &[], "two\n");
    let stat = place.stat("r");
    assert_eq!(
        (&stat["topology"], &stat["producer_side"]),
        (&"by-producer:2".into(), &"exclusive".into())
    );
    // The second went on in the lane that the first had left.
    let lanes = stat["lanes"].as_array().unwrap();
    assert_eq!((&lanes[0]["in_flight"], &lanes[1]["in_flight"]), (&2.into(), &0.into()));
    assert_eq!(place.say(&["recv", "r"]), "one\ntwo\n");
    let differs = place.run(&["create", "r", "--lanes", "by-class"]);
    let error = error_of(&differs);
    assert!(error.contains("lanes is by-producer:2 and not by-class"), "{error}");
    for wrong in
        [&["--lanes", "by-producer:0"][..], &["--lanes", "by-producer:300"], &["--lanes", "2"]]
    {
        let refused = place.run(&[&["create", "s"], wrong].concat());
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    }
    assert_eq!(place.run(&["create", "s", "--capacity-of", "bulk=8"]).status.code(), Some(2));
}

#[test]
fn who_finds_no_free_lane_is_told_the_option() {
    let place = Place::new();
    place.say(&["create", "r", "--lanes", "by-producer:1"]);
    let mut owner = place.ufr(&["send", "r"]).stdin(Stdio::piped()).spawn().unwrap();
    until("the lane has its owner", || !place.stat("r")["lanes"][0]["owner"].is_null());
    let refused = place.send_bytes(&["r"], b"x\n");
    let error = error_of(&refused);
    assert!(error.contains(&format!("process {} (ufr)", owner.id())), "{error}");
    assert!(error.contains("(--lanes by-producer:N)"), "{error}");
    drop(owner.stdin.take());
    owner.wait().unwrap();
    send(&place, &[], "x\n");
}
