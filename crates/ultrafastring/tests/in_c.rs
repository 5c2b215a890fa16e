//! A producer and a consumer in C that know no more than `docs/layout.md` says (`in_c/peer.c`),
//! with each other and with handles of the library. They need a compiler for C, and so are run on
//! demand: `cargo test -p ultrafastring --test in_c -- --ignored`.

#![cfg(all(feature = "std", target_endian = "little", not(loom)))]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::stage;
use tempfile::TempDir;
use ultrafastring::{Builder, PriorityClass, UltraFastRing};

const NAME: &str = "in-c";
const LARGEST: usize = 3_000;
const MESSAGES: u64 = 100_000;

/// The program, compiled.
fn compiled(directory: &TempDir) -> PathBuf {
    let program = directory.path().join("peer");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/in_c/peer.c");
    let mut compiler = Command::new(std::env::var_os("CC").unwrap_or("cc".into()));
    let compiled = compiler.args(["-O2", "-Wall", "-Werror", "-o"]).arg(&program).arg(source);
    assert!(compiled.status().expect("a compiler for C").success());
    program
}

fn start(program: &Path, role: &str, directory: &TempDir, messages: u64) -> Child {
    Command::new(program)
        .arg(role)
        .arg(directory.path())
        .args([NAME, &messages.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for one that receives: how many messages it got, and the sum of their numbers.
fn received(peer: Child) -> [u64; 2] {
    let output = peer.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<u64> = text.split_whitespace().map(|it| it.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

/// Message `number`, as the program has it.
fn message(number: u64) -> Vec<u8> {
    let mut bytes = vec![number as u8; 8 + number as usize % (LARGEST - 7)];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

fn sum_to(messages: u64) -> u64 {
    messages * (messages - 1) / 2
}

fn all_is_well(ring: &UltraFastRing) {
    assert_eq!(ring.examine().unwrap(), []);
    assert!(ring.is_empty() && ring.participants().count() == 0);
}

/// C to C, C to the library, the library to C.
fn streams(ring: &UltraFastRing, directory: &TempDir, program: &Path) {
    let receiver = start(program, "recv", directory, MESSAGES);
    assert!(start(program, "send", directory, MESSAGES).wait().unwrap().success());
    assert_eq!(received(receiver), [MESSAGES, sum_to(MESSAGES)]);
    all_is_well(ring);

    let mut consumer = ring.consumer().unwrap();
    let mut sender = start(program, "send", directory, MESSAGES);
    let mut buffer = Vec::new();
    for number in 0..MESSAGES {
        let about = consumer.recv_into(&mut buffer).unwrap();
        assert!(buffer == message(number), "message {number}");
        assert_eq!((about.class, about.redelivered), (PriorityClass::Normal, false));
    }
    assert!(sender.wait().unwrap().success());
    drop(consumer);
    all_is_well(ring);

    let receiver = start(program, "recv", directory, MESSAGES);
    let mut producer = ring.producer().unwrap();
    for number in 0..MESSAGES {
        producer.send(&message(number), PriorityClass::High).unwrap();
    }
    assert_eq!(received(receiver), [MESSAGES, sum_to(MESSAGES)]);
    drop(producer);
    all_is_well(ring);
}

#[test]
#[ignore = "needs a compiler for C"]
fn a_producer_and_a_consumer_in_c_work_on_shared_sides() {
    let directory = stage();
    let program = compiled(&directory);
    let builder = Builder::new().directory(directory.path()).capacity(64).max_message(LARGEST);
    let ring = builder.create(NAME).unwrap();
    streams(&ring, &directory, &program);
    // Several of each.
    let receivers = [(); 2].map(|()| start(&program, "recv", &directory, MESSAGES));
    let senders = [(); 2].map(|()| start(&program, "send", &directory, MESSAGES));
    for mut sender in senders {
        assert!(sender.wait().unwrap().success());
    }
    let [[some, of_some], [others, of_others]] = receivers.map(received);
    assert_eq!((some, others), (MESSAGES, MESSAGES));
    assert_eq!(of_some + of_others, 2 * sum_to(MESSAGES));
    all_is_well(&ring);
}

#[test]
#[ignore = "needs a compiler for C"]
fn a_producer_and_a_consumer_in_c_work_on_exclusive_sides() {
    let directory = stage();
    let program = compiled(&directory);
    let builder = Builder::new().directory(directory.path()).capacity(64).max_message(LARGEST);
    let ring = builder.exclusive_producer().exclusive_consumer().create(NAME).unwrap();
    streams(&ring, &directory, &program);
}

#[test]
#[ignore = "needs a compiler for C"]
fn a_consumer_in_c_ends_when_the_ring_is_closed() {
    for exclusive in [false, true] {
        let directory = stage();
        let program = compiled(&directory);
        let builder = Builder::new().directory(directory.path()).max_message(LARGEST);
        let builder = if exclusive { builder.exclusive_producer() } else { builder };
        let ring = builder.create(NAME).unwrap();
        let receiver = start(&program, "recv", &directory, MESSAGES);
        let mut producer = ring.producer().unwrap();
        for number in 0..10 {
            producer.send(&message(number), PriorityClass::Normal).unwrap();
        }
        ring.close();
        assert_eq!(received(receiver), [10, sum_to(10)]);
    }
}
