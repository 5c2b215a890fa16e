//! The pages of `docs/guide`, each a module: `cargo test -p guide --doc` compiles the Rust on them,
//! and runs what may be run alone. `crates/ufr/tests/guide.rs` follows the pages step by step.

include!(concat!(env!("OUT_DIR"), "/pages.rs"));
