//! The library as it is installed: once for all tests, in a prefix that was empty.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

/// Where this crate is.
pub(crate) const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// Where it is installed: below the folder that Cargo has for tests, which is not in the tree's
/// sources.
pub(crate) static PREFIX: LazyLock<PathBuf> = LazyLock::new(|| {
    let prefix = Path::new(env!("CARGO_TARGET_TMPDIR")).join("prefix");
    if prefix.exists() {
        std::fs::remove_dir_all(&prefix).unwrap();
    }
    let mut install = Command::new(Path::new(HERE).join("install"));
    // The folder above Cargo's for tests is the one in which it builds.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    done(install.arg(&prefix).env("CARGO_TARGET_DIR", target));
    prefix
});

/// A compiler, and the standard that it is to keep to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Compiler {
    pub(crate) program: &'static str,
    pub(crate) standard: &'static str,
}

const fn compiler(program: &'static str, standard: &'static str) -> Compiler {
    Compiler { program, standard }
}

pub(crate) const C: [Compiler; 2] = [compiler("gcc", "c11"), compiler("clang", "c11")];
pub(crate) const CPP: [Compiler; 4] = [
    compiler("g++", "c++17"),
    compiler("g++", "c++20"),
    compiler("clang++", "c++17"),
    compiler("clang++", "c++20"),
];

impl Compiler {
    /// Compiles `source`, every warning an error, and links it with the library as `pkg-config` says.
    /// Gives the program.
    pub(crate) fn compile(self, source: &Path, flags: &[&str]) -> PathBuf {
        let name = source.file_name().unwrap().to_string_lossy();
        let flat = flags.concat().replace(['/', '=', ',', '-'], "");
        let file = format!("{name}-{}-{}-{flat}", self.program, self.standard).replace("++", "pp");
        let program = PREFIX.with_file_name("built").join(file);
        std::fs::create_dir_all(program.parent().unwrap()).unwrap();
        let mut command = Command::new(self.program);
        command.args(["-Wall", "-Wextra", "-Werror", "-pedantic", "-O2", "-g", "-pthread"]);
        command.arg(format!("-std={}", self.standard)).args(flags).arg(source);
        command.args(pkg_config(&["--cflags", "--libs", "ultrafastring"]));
        done(command.arg("-o").arg(&program));
        program
    }
}

/// What `pkg-config` says.
pub(crate) fn pkg_config(arguments: &[&str]) -> Vec<String> {
    let mut command = Command::new("pkg-config");
    command.args(arguments).env("PKG_CONFIG_PATH", PREFIX.join("lib/pkgconfig"));
    let output = done(&mut command);
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().map(str::to_string).collect()
}

/// A program that finds the library where it was installed.
pub(crate) fn program(path: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(path);
    command.env("LD_LIBRARY_PATH", PREFIX.join("lib"));
    command
}

/// Runs a command that has to succeed.
pub(crate) fn done(command: &mut Command) -> Output {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => panic!("{command:?}: {error}; `.ci/run c` installs what these tests need"),
    };
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    output
}

/// A folder in memory for rings, which goes when this does.
pub(crate) fn stage() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}
