//! Every pair of languages exchanges a million messages between two processes, each checked for
//! content, size, class and order; small ones that travel in their slot, and large ones. `UFR_MESSAGES`
//! says how many.
//!
//! `UFR_PYTHON` is a Python that has the package `ultrafastring`: then it is one of the languages, and
//! the pairs are those of which it is one.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::LazyLock;

use ultrafastring::{Builder, UltraFastRing};

use crate::installed::{C, CPP, Compiler, HERE, program, stage};

/// A program that speaks to the others, with the same rules for messages.
pub(crate) struct Peer {
    pub(crate) language: &'static str,
    program: PathBuf,
    /// What the program runs, if it is an interpreter.
    script: Option<PathBuf>,
}

impl Peer {
    /// It does `what` with the ring called `name`.
    pub(crate) fn command(&self, what: &str, directory: &Path, name: &str) -> Command {
        let mut command = program(&self.program);
        command.args(&self.script).arg(what).arg(directory).arg(name);
        command
    }
}

const PYTHON: &str = "Python";

/// C that sends and receives without calls, where it can.
pub(crate) const INLINE: &str = "inline C";

/// Has a program in C or C++ do so.
pub(crate) const INLINED: [&str; 2] =
    ["-include", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/inlined.h")];

/// The peers, by language.
pub(crate) static PEERS: LazyLock<Vec<Peer>> = LazyLock::new(|| {
    let compiled = |compiler: Compiler, name: &str, flags: &[&str]| {
        compiler.compile(&Path::new(HERE).join("tests/peers").join(name), flags)
    };
    // Cargo has built the example before the tests, beside them.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let alone = |language, program| Peer { language, program, script: None };
    let mut peers = vec![
        alone("Rust", target.join(profile).join("examples/peer")),
        alone("C", compiled(C[0], "peer.c", &[])),
        alone("C++", compiled(CPP[3], "peer.cpp", &[])),
        alone(INLINE, compiled(C[1], "peer.c", &INLINED)),
    ];
    if let Some(python) = std::env::var_os("UFR_PYTHON") {
        let script = Some(Path::new(HERE).join("tests/peers/peer.py"));
        peers.push(Peer { language: PYTHON, program: python.into(), script });
    }
    peers
});

/// Whether Python is one of them, and the rest was seen to work without it.
pub(crate) fn with_python() -> bool {
    PEERS.iter().any(|peer| peer.language == PYTHON)
}

fn exchange(directory: &Path, ring: &UltraFastRing, sender: &Peer, receiver: &Peer, kind: &str) {
    let count = std::env::var("UFR_MESSAGES").unwrap_or("1000000".into());
    let name = ring.name().unwrap();
    let start = |peer: &Peer, what: &str| -> Child {
        peer.command(what, directory, name).args([&count, kind]).spawn().unwrap()
    };
    let mut receiver = start(receiver, "recv");
    let mut sender = start(sender, "send");
    let sent = sender.wait().unwrap();
    if !sent.success() {
        // What it has not sent would be waited for.
        receiver.kill().unwrap();
    }
    let received = receiver.wait().unwrap();
    assert!(sent.success() && received.success(), "sent: {sent}, received: {received}");
    assert_eq!(ring.stats().received, count.parse::<u64>().unwrap());
}

/// Exchanges between every pair of languages.
fn every_pair(kind: &str, builder: impl Fn(Builder) -> Builder) {
    let directory = stage();
    for sender in PEERS.iter() {
        for receiver in PEERS.iter() {
            let (from, to) = (sender.language, receiver.language);
            if with_python() && from != PYTHON && to != PYTHON {
                continue;
            }
            println!("{kind} messages from {from} to {to}");
            let name = format!("{from}-{to}");
            let base = Builder::new().directory(directory.path()).max_message(2_000);
            let ring = builder(base).create(&name).unwrap();
            exchange(directory.path(), &ring, sender, receiver, kind);
            Builder::new().directory(directory.path()).remove(&name).unwrap();
        }
    }
}

#[test]
fn every_pair_of_languages_exchanges_small_messages_between_exclusive_sides() {
    every_pair("small", |builder| builder.exclusive_producer().exclusive_consumer());
}

#[test]
fn every_pair_of_languages_exchanges_large_messages_between_shared_sides() {
    every_pair("large", |builder| builder.capacity(64));
}
