//! `cargo xtask PART...` runs parts of `.ci/run`, `cargo xtask ci` all that a change must pass, and
//! `cargo xtask` alone says which there are. The script knows the parts; this finds it from any
//! folder of the repository.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../.ci/run");
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match arguments.first().and_then(|it| it.to_str()) {
        None => arguments.push("--help".into()),
        Some("ci") => drop(arguments.remove(0)),
        Some(_) => {}
    }
    let error = Command::new(script).args(arguments).exec();
    eprintln!("{script}: {error}");
    ExitCode::FAILURE
}
