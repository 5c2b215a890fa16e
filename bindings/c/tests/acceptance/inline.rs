//! The inline header: what it does is what the calls do.

use std::path::Path;
use std::process::Command;

use crate::exchanging::INLINED;
use crate::installed::{C, CPP, HERE, done, program, stage};
use crate::interface::source;

#[test]
fn inline_code_does_what_the_calls_do_as_each_compiler_builds_it() {
    for compiler in C.into_iter().chain(CPP) {
        let language = if CPP.contains(&compiler) { "c++" } else { "c" };
        for flags in [&["-x", language][..], &["-x", language, "-O0"], &["-x", language, "-O3"]] {
            let output = done(&mut program(compiler.compile(&source("inline.c"), flags)));
            print!("{compiler:?} {flags:?}\n{}", String::from_utf8_lossy(&output.stdout));
        }
    }
}

#[test]
fn the_sanitizers_find_nothing_in_inline_code() {
    for compiler in C {
        let flags = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
        done(&mut program(compiler.compile(&source("inline.c"), &flags)));
    }
}

#[test]
fn the_programs_that_call_run_inline_too() {
    let c = C.into_iter().map(|compiler| (compiler, ["interface.c", "lanes.c"]));
    for (compiler, names) in c.chain([(CPP[0], ["interface.cpp", "lanes.cpp"])]) {
        let stage = stage();
        for name in names {
            done(program(compiler.compile(&source(name), &INLINED)).arg(stage.path()));
        }
    }
}

/// A compiler for 64-bit Arm, in Debian's package of the same name.
const FOR_ARM: &str = "aarch64-linux-gnu-gcc";

#[test]
fn inline_code_compiles_for_arm() {
    if let Err(error) = Command::new(FOR_ARM).arg("--version").output() {
        println!("not compiled for Arm, since there is no {FOR_ARM}: {error}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(FOR_ARM);
    command.args(["-Wall", "-Wextra", "-Werror", "-pedantic", "-Wshadow", "-Wconversion"]);
    // As far as the assembler, which reads the instructions that the header has. There is no library
    // for Arm to link.
    command.args(["-std=c11", "-O2", "-c", "-I"]).arg(Path::new(HERE).join("include"));
    done(command.arg(source("inline.c")).arg("-o").arg(folder.path().join("inline.o")));
}
