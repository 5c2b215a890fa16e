//! What a call costs, in instructions: those can be guarded where times cannot be.
#![cfg(target_arch = "x86_64")]

use std::path::Path;

use crate::exchanging::INLINED;
use crate::installed::{C, HERE, PREFIX, done, program};

/// Of a send and a receive together, with the loop that calls them: it was 245, where the same from
/// Rust was 230 (`crates/versus/instructions.txt`, an any-mode handle of an exclusive side, in a
/// stream). Grants, which depend on the time that passes, are in it by their part: on a machine that
/// did much else it was 302.
const MOST: u64 = 330;

/// The same inline: it was 232, and those by calls were 309 on that machine. As valgrind stretches
/// time, one in a few messages takes a call, and not one in 64.
const MOST_INLINE: u64 = 260;

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
    (instructions(&counted, many) - instructions(&counted, few)) / (many - few)
}

#[test]
fn a_send_and_a_receive_cost_few_instructions_more_than_from_rust() {
    let each = for_each_message(&[]);
    println!("{each} instructions for a send and a receive");
    assert!(each <= MOST, "{each} instructions for a send and a receive");
}

#[test]
fn inline_a_send_and_a_receive_cost_less() {
    let each = for_each_message(&INLINED);
    println!("{each} instructions for a send and a receive inline");
    assert!(each <= MOST_INLINE, "{each} instructions for a send and a receive inline");
}
