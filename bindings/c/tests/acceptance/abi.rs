//! What a program in C was compiled against stays: the list of functions, the sizes of structures and
//! places of their fields, and the numbers of the constants. `abi.txt` has them. `UFR_WRITE_ABI=1` writes it anew; raise the minor
//! version if anything but new lines differs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::installed::{C, HERE, PREFIX, done, program};

/// The functions that the shared library exports.
fn exported() -> BTreeSet<String> {
    let library = PREFIX.join("lib/libultrafastring.so");
    let output = done(Command::new("nm").args(["-D", "--defined-only"]).arg(library));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.rsplit(' ').next().unwrap().to_string()).collect()
}

/// The functions that the headers declare.
fn declared() -> BTreeSet<String> {
    ["ultrafastring.h", "ultrafastring_more.h", "ultrafastring_inline.h"]
        .iter()
        .flat_map(|header| {
            let text = fs::read_to_string(PREFIX.join("include").join(header)).unwrap();
            let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let named = |line: &str| {
                let name = line.split('(').next()?.rsplit([' ', '*']).next()?;
                // Those that are defined in the header itself are not the library's.
                let is_called = name.starts_with("ufr_") && !name.starts_with("ufr_inline_");
                (line.contains('(') && is_called).then(|| name.to_string())
            };
            lines.filter_map(named).collect::<Vec<_>>()
        })
        .collect()
}

/// The constants of the headers, but for the version.
fn constants() -> String {
    let headers = ["ultrafastring.h", "ultrafastring_more.h"];
    let text: String = headers
        .iter()
        .map(|header| fs::read_to_string(PREFIX.join("include").join(header)).unwrap())
        .collect();
    let constants = text.lines().filter_map(|line| line.strip_prefix("#define "));
    let constants = constants.filter(|line| {
        line.starts_with("UFR_") && !line.starts_with("UFR_VERSION_") && line.contains(' ')
    });
    constants.map(|line| format!("constant {line}\n")).collect()
}

#[test]
fn the_library_exports_what_the_headers_declare_and_nothing_else() {
    assert_eq!(exported(), declared());
}

#[test]
fn functions_and_structures_are_those_of_the_list() {
    let layout = C[0].compile(&Path::new(HERE).join("tests/programs/layout.c"), &[]);
    let layout = String::from_utf8(done(&mut program(layout)).stdout).unwrap();
    let functions: String = exported().iter().map(|name| format!("function {name}\n")).collect();
    let (now, list) = (layout + &functions + &constants(), Path::new(HERE).join("abi.txt"));
    if std::env::var_os("UFR_WRITE_ABI").is_some() {
        fs::write(&list, &now).unwrap();
    }
    let recorded = fs::read_to_string(list).unwrap();
    let lines = |text: &str| text.lines().map(str::to_string).collect::<BTreeSet<_>>();
    let (now, recorded) = (lines(&now), lines(&recorded));
    let gone: Vec<_> = recorded.difference(&now).collect();
    let new: Vec<_> = now.difference(&recorded).collect();
    assert!(gone.is_empty(), "gone or changed: {gone:#?}; new: {new:#?}");
    assert!(new.is_empty(), "new, and not in abi.txt: {new:#?}");
}

#[test]
fn the_header_and_the_library_and_the_crates_have_one_version() {
    let header = fs::read_to_string(PREFIX.join("include/ultrafastring.h")).unwrap();
    let number = |name: &str| {
        let of = format!("#define UFR_VERSION_{name} ");
        header.lines().find_map(|line| line.strip_prefix(&of)).unwrap().to_string()
    };
    let version = [number("MAJOR"), number("MINOR"), number("PATCH")].join(".");
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    let workspace = fs::read_to_string(Path::new(HERE).join("../../Cargo.toml")).unwrap();
    assert!(workspace.contains(&format!("\nversion = \"{version}\"\n")), "that of Cargo.toml");
}
