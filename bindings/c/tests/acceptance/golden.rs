//! A program in C that does not link the library reads the segment that the library's own tests compare
//! new ones with: what other implementers rely on.

use std::path::Path;
use std::process::Command;

use crate::installed::{C, HERE, PREFIX, done};

#[test]
fn a_program_that_does_not_link_the_library_reads_the_golden_segment() {
    let golden = Path::new(HERE).join("../../crates/ultrafastring/tests/golden");
    for compiler in C {
        let program = PREFIX.with_file_name(format!("golden-{}", compiler.program));
        let mut command = Command::new(compiler.program);
        command.args(["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic"]);
        command.arg(Path::new(HERE).join("tests/programs/golden.c"));
        done(command.arg("-o").arg(&program));
        done(Command::new(&program).arg(golden.join("segment.txt")));
        // It can tell.
        let older = Command::new(&program).arg(golden.join("version-2.txt")).output().unwrap();
        assert!(!older.status.success());
    }
}
