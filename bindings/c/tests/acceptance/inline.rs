//! The inline header: what it does is what the calls do.

use crate::exchanging::INLINED;
use crate::installed::{C, CPP, done, program};
use crate::interface::{source, stage};

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
    for (compiler, name) in
        [(C[0], "interface.c"), (C[1], "interface.c"), (CPP[0], "interface.cpp")]
    {
        let stage = stage();
        done(program(compiler.compile(&source(name), &INLINED)).arg(stage.path()));
    }
}
