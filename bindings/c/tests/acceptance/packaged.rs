//! What `cargo cinstall` installs is what `install` does, but for CMake's files. It needs cargo-c:
//! `.ci/run cinstall` has it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::installed::{HERE, PREFIX, done};

/// What is below a folder, but for CMake's files: of each path the name of the file that is there in
/// the end.
fn tree(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let there = path.canonicalize().unwrap().file_name().unwrap().to_owned();
            let below = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
            if !below.contains("/cmake/") {
                found.insert(below, there.to_string_lossy().into_owned());
            }
        }
    }
    found
}

/// What `pkg-config` says of the library below a prefix.
fn flags(prefix: &Path) -> String {
    let mut command = Command::new("pkg-config");
    command.args(["--static", "--cflags", "--libs", "--modversion", "ultrafastring"]);
    command.env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig"));
    let said = String::from_utf8(done(&mut command).stdout).unwrap();
    said.replace(&*prefix.to_string_lossy(), "PREFIX")
}

/// What a tool says of the shared library below a prefix, in order.
fn told(prefix: &Path, tool: &str, arguments: &[&str], part: &str) -> Vec<String> {
    let mut command = Command::new(tool);
    command.args(arguments).arg(prefix.join("lib/libultrafastring.so"));
    let text = String::from_utf8(done(&mut command).stdout).unwrap();
    let lines = text.lines().filter(|line| line.contains(part));
    let mut last: Vec<_> =
        lines.filter_map(|line| Some(line.rsplit(' ').next()?.to_string())).collect();
    last.sort();
    last
}

#[test]
#[ignore = "needs cargo-c, which takes a quarter of an hour to compile: `.ci/run cinstall`"]
fn cargo_c_installs_the_same_files() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("prefix");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("cinstall");
    let mut cargo = Command::new("cargo");
    cargo.args(["cinstall", "--release", "--locked", "--libdir", "lib", "--prefix"]).arg(&prefix);
    cargo.arg("--manifest-path").arg(Path::new(HERE).join("Cargo.toml"));
    done(cargo.env("CARGO_TARGET_DIR", target));

    let (theirs, ours) = (tree(&prefix), tree(&PREFIX));
    assert_eq!(theirs, ours);
    assert!(ours.len() > 10, "{ours:?}");
    for header in ours.keys().filter(|path| path.starts_with("include/")) {
        let read = |prefix: &Path| fs::read_to_string(prefix.join(header)).unwrap();
        assert_eq!(read(&prefix), read(&PREFIX), "{header}");
    }
    assert_eq!(flags(&prefix), flags(&PREFIX));
    let soname = |prefix: &Path| told(prefix, "readelf", &["-d"], "(SONAME)");
    assert_eq!(soname(&prefix), soname(&PREFIX));
    assert_eq!(soname(&prefix).len(), 1);
    let symbols = |prefix: &Path| told(prefix, "nm", &["-D", "--defined-only"], " T ufr_");
    assert_eq!(symbols(&prefix), symbols(&PREFIX));
    assert!(symbols(&prefix).len() > 50);
}
