//! What a call costs, in instructions: those can be guarded where times cannot be.
#![cfg(target_arch = "x86_64")]

use std::path::Path;

use crate::exchanging::INLINED;
use crate::installed::{C, HERE, PREFIX, done, program};

/// Of a send and a receive together, with the loop that calls them: it is 245, where the same from
/// Rust is 230 (`crates/versus/instructions.txt`, an any-mode handle of an exclusive side, in a
/// stream), and 232 inline. Announcements and grants are in it by their part, and how often they are
/// due depends on the time that passes, which valgrind stretches: on slow or busy machines it was up
/// to 310. What costs more than this does something for each message that it should not.
const MOST: u64 = 360;

/// A count with which no other is taken: the machine was fast enough.
const USUAL: u64 = 250;

/// Counts that are taken, of which the least counts.
const TRIES: u32 = 5;

/// Instructions of a run with so many messages.
fn instructions(counted: &Path, messages: u64) -> u64 {
    let mut valgrind = program("valgrind");
    let out = PREFIX.with_file_name("callgrind.out");
    valgrind.args(["--tool=callgrind", &format!("--callgrind-out-file={}", out.display())]);
    let output = done(valgrind.arg(counted).arg(messages.to_string()));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let (_, count) = text.split_once("Collected : ").unwrap();
    count.split_whitespace().next().unwrap().parse().unwrap()
}

/// Those of a send and a receive of a message.
fn for_each_message(flags: &[&str]) -> u64 {
    let counted = C[0].compile(&Path::new(HERE).join("tests/programs/count.c"), flags);
    let (few, many) = (6_400, 64_000);
    let mut least = u64::MAX;
    for _ in 0..TRIES {
        let each = (instructions(&counted, many) - instructions(&counted, few)) / (many - few);
        println!("{each} instructions for a send and a receive, with {flags:?}");
        least = least.min(each);
        if least <= USUAL {
            break;
        }
    }
    least
}

#[test]
fn a_send_and_a_receive_cost_few_instructions_more_than_from_rust() {
    let each = for_each_message(&[]);
    assert!(each <= MOST, "{each} instructions for a send and a receive");
}

#[test]
fn inline_a_send_and_a_receive_cost_no_more() {
    let each = for_each_message(&INLINED);
    assert!(each <= MOST, "{each} instructions for a send and a receive inline");
}
