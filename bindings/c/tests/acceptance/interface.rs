//! What the functions do, from C and from C++: plain, under the sanitizers, and under valgrind.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::installed::{C, CPP, Compiler, HERE, done, pkg_config, program, stage};

pub(crate) fn source(name: &str) -> PathBuf {
    Path::new(HERE).join("tests/programs").join(name)
}

/// Each compiler with the programs in its language.
fn programs() -> impl Iterator<Item = (Compiler, PathBuf)> {
    let c = C.into_iter().map(|compiler| (compiler, ["interface.c", "lanes.c"]));
    let cpp = CPP.into_iter().map(|compiler| (compiler, ["interface.cpp", "lanes.cpp"]));
    c.chain(cpp).flat_map(|(compiler, names)| names.map(|name| (compiler, source(name))))
}

#[test]
fn the_functions_do_what_the_headers_say() {
    for (compiler, source) in programs() {
        let stage = stage();
        done(program(compiler.compile(&source, &[])).arg(stage.path()));
    }
}

#[test]
fn the_sanitizers_find_nothing() {
    // In C++ two of the four: they take longest to compile.
    for (compiler, source) in programs().filter(|(it, _)| ![CPP[1], CPP[2]].contains(it)) {
        let flags = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
        let stage = stage();
        done(program(compiler.compile(&source, &flags)).arg(stage.path()));
    }
}

/// Of the programs without lanes. In those with lanes it takes for a mistake what the optimiser has
/// made of a setting that may have no number, and a page that is not to be read yet is read on
/// purpose.
#[test]
fn valgrind_finds_nothing() {
    for (compiler, source) in [(C[0], source("interface.c")), (CPP[0], source("interface.cpp"))] {
        let checked = compiler.compile(&source, &[]);
        let stage = stage();
        let mut valgrind = program("valgrind");
        valgrind.args(["--quiet", "--error-exitcode=9", "--leak-check=full"]);
        // A thread that serves a descriptor may outlive the handle by the sleep that it is in.
        valgrind.args(["--errors-for-leak-kinds=definite", "--show-leak-kinds=definite"]);
        done(valgrind.arg(checked).arg(stage.path()));
    }
}

#[test]
fn what_cannot_be_sent_does_not_compile() {
    for compiler in [CPP[0], CPP[2]] {
        let mut command = Command::new(compiler.program);
        command.arg(format!("-std={}", compiler.standard)).arg("-fsyntax-only");
        command.args(pkg_config(&["--cflags", "ultrafastring"])).arg(source("not_sendable.cpp"));
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains("must be trivially copyable"), "{text}");
    }
}
