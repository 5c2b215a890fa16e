//! The corpus, played again: what the fuzzer found to be worth keeping, and what once failed.
//! Deterministic but for `during`, and some of `sequences`, in which a thread interferes.

use std::fs;
use std::path::Path;

fn replay(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files: Vec<_> =
        fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{target} has no corpus");
    for file in files {
        let bytes = fs::read(&file).unwrap();
        // Said only if it fails.
        println!("{}", file.display());
        run(&bytes);
    }
}

#[test]
fn every_input_of_the_corpus_of_open_is_survived() {
    replay("open", fuzz::open);
}

#[test]
fn every_input_of_the_corpus_of_calls_is_survived() {
    replay("calls", fuzz::calls);
}

#[test]
fn every_input_of_the_corpus_of_during_is_survived() {
    replay("during", fuzz::during);
}

#[test]
fn every_input_of_the_corpus_of_sequences_is_survived() {
    replay("sequences", fuzz::sequences);
}
