//! Programs outside of the tree, as their authors build them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::installed::{C, CPP, Compiler, HERE, PREFIX, done, pkg_config, program};

/// A name for a ring in `/dev/shm` that no other test has.
struct Name(String);

impl Name {
    fn new(of: &str) -> Self {
        Self(format!("acceptance-{of}-{}", std::process::id()))
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        // Where a program has removed it, as some do, there is none.
        let _ = ultrafastring::UltraFastRing::remove(&self.0);
    }
}

/// Copies the files out of the tree, and gives the folder.
fn outside(files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        let from = Path::new(HERE).join(file);
        fs::copy(&from, folder.path().join(from.file_name().unwrap())).unwrap();
    }
    folder
}

/// Runs a receiver, then a sender, and says what the receiver wrote.
fn received(receiver: &mut Command, sender: &mut Command) -> String {
    let receiver = receiver.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    done(sender);
    let output = receiver.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_examples_in_c_run_as_each_compiler_builds_them_outside_of_the_tree() {
    let folder = outside(&["examples/sender.c", "examples/receiver.c", "examples/epoll.c"]);
    for compiler in C {
        let build = |name: &str| compiler.compile(&folder.path().join(name), &[]);
        let (sender, receiver, epoll) = (build("sender.c"), build("receiver.c"), build("epoll.c"));
        let name = Name::new(compiler.program);
        for (reader, mark) in [(&receiver, ""), (&epoll, "ring: ")] {
            let text = received(program(reader).arg(&name.0), program(&sender).arg(&name.0));
            let expected: Vec<_> = (100..110).map(|price| format!("{mark}AAPL {price}")).collect();
            assert_eq!(text.lines().collect::<Vec<_>>(), expected, "{compiler:?}");
        }
    }
}

#[test]
fn the_examples_in_cpp_run_as_each_compiler_builds_them_outside_of_the_tree() {
    let folder = outside(&[
        "../cpp/examples/market_data.cpp",
        "../cpp/examples/market_data.hpp",
        "../cpp/examples/asio_reader.cpp",
    ]);
    for compiler in [CPP[0], CPP[3]] {
        let build = |name: &str| compiler.compile(&folder.path().join(name), &[]);
        let (publisher, reader) = (build("market_data.cpp"), build("asio_reader.cpp"));
        let name = Name::new(compiler.program);
        let text =
            received(program(&reader).arg(&name.0), program(&publisher).args([&name.0, "100000"]));
        let count: u64 = text.strip_suffix(" quotes\n").unwrap().parse().unwrap();
        // One in a hundred waits for room; of the others some may be dropped.
        assert!((1_000..=100_000).contains(&count), "{count}");
    }
}

#[test]
fn a_program_finds_each_library_by_cmake() {
    let folder =
        outside(&["examples/sender.c", "examples/receiver.c", "tests/cmake/CMakeLists.txt"]);
    fs::copy(
        Path::new(HERE).join("../cpp/examples/market_data.cpp"),
        folder.path().join("market_data.cpp"),
    )
    .unwrap();
    fs::copy(
        Path::new(HERE).join("../cpp/examples/market_data.hpp"),
        folder.path().join("market_data.hpp"),
    )
    .unwrap();
    let build = folder.path().join("build");
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(folder.path()).arg("-B").arg(&build);
    done(configure.arg(format!("-DCMAKE_PREFIX_PATH={}", PREFIX.display())));
    done(Command::new("cmake").arg("--build").arg(&build));

    // The static one needs no shared library.
    let needed = done(Command::new("ldd").arg(build.join("sender-static"))).stdout;
    assert!(!String::from_utf8_lossy(&needed).contains("ultrafastring"));
    let name = Name::new("cmake");
    let text = received(
        Command::new(build.join("receiver")).arg(&name.0),
        Command::new(build.join("sender-static")).arg(&name.0),
    );
    assert_eq!(text.lines().count(), 10, "{text}");
    let name = Name::new("cmake-cpp");
    done(Command::new(build.join("market_data")).args([&name.0, "10"]));
}

#[test]
fn another_version_is_not_found() {
    let folder = tempfile::tempdir().unwrap();
    let own = env!("CARGO_PKG_VERSION");
    let (minor, _) = own.rsplit_once('.').unwrap();
    for (version, found) in [(minor, true), (own, true), ("0.1", false), ("99.0", false)] {
        let text = format!(
            "cmake_minimum_required(VERSION 3.13)\nproject(asks C)\n\
             find_package(ultrafastring {version} REQUIRED)\n"
        );
        fs::write(folder.path().join("CMakeLists.txt"), text).unwrap();
        let mut configure = Command::new("cmake");
        configure.arg("-S").arg(folder.path()).arg("-B").arg(folder.path().join(version));
        configure.arg(format!("-DCMAKE_PREFIX_PATH={}", PREFIX.display()));
        assert_eq!(configure.output().unwrap().status.success(), found, "{version}");
    }
    assert_eq!(pkg_config(&["--modversion", "ultrafastring"]), [own]);
}

#[test]
fn each_header_stands_by_itself_in_each_language() {
    let folder = tempfile::tempdir().unwrap();
    let check = |compiler: Compiler, header: &str, flags: &[&str]| {
        let language = if compiler.program.contains("++") { "c++" } else { "c" };
        let source = folder.path().join("one");
        fs::write(&source, format!("#include <{header}>\n")).unwrap();
        let mut command = Command::new(compiler.program);
        command.args(["-Wall", "-Wextra", "-Werror", "-pedantic", "-Wshadow", "-Wconversion"]);
        command.arg(format!("-std={}", compiler.standard)).args(flags);
        command.args(pkg_config(&["--cflags", "ultrafastring"]));
        done(command.args(["-fsyntax-only", "-x", language]).arg(source));
    };
    for header in ["ultrafastring.h", "ultrafastring_more.h", "ultrafastring_inline.h"] {
        C.iter().chain(&CPP).for_each(|compiler| check(*compiler, header, &[]));
    }
    // Code in a header is compiled with the warnings of whoever includes it.
    let more = ["-Wcast-qual", "-Wcast-align", "-Wsign-conversion", "-Wundef"];
    C.iter().chain(&CPP).for_each(|compiler| check(*compiler, "ultrafastring_inline.h", &more));
    CPP.iter().for_each(|it| check(*it, "ultrafastring_inline.h", &["-Wold-style-cast"]));
    let parts = fs::read_dir(PREFIX.join("include/ultrafastring")).unwrap();
    let parts: Vec<_> =
        parts.map(|part| part.unwrap().file_name().into_string().unwrap()).collect();
    assert!(parts.len() > 5, "{parts:?}");
    for compiler in CPP {
        check(compiler, "ultrafastring.hpp", &[]);
        check(compiler, "ultrafastring.hpp", &["-fno-exceptions", "-fno-rtti"]);
        for part in &parts {
            check(compiler, &format!("ultrafastring/{part}"), &[]);
        }
    }
}

#[test]
fn a_stage_gets_what_the_prefix_would_have() {
    let stage = tempfile::tempdir().unwrap();
    let mut install = Command::new(Path::new(HERE).join("install"));
    install.args(["/usr", "--libdir", "lib/there", "--destdir"]).arg(stage.path());
    // Where it has been built already.
    let _ = &*PREFIX;
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    done(install.env("CARGO_TARGET_DIR", target));
    let libraries = stage.path().join("usr/lib/there");
    let version = env!("CARGO_PKG_VERSION");
    let (minor, _) = version.rsplit_once('.').unwrap();
    let link = |name: &str| fs::read_link(libraries.join(name)).unwrap();
    assert_eq!(link("libultrafastring.so"), Path::new(&format!("libultrafastring.so.{minor}")));
    assert_eq!(
        link(&format!("libultrafastring.so.{minor}")),
        Path::new(&format!("libultrafastring.so.{version}"))
    );
    assert!(stage.path().join("usr/include/ultrafastring.hpp").exists());
    let pc = fs::read_to_string(libraries.join("pkgconfig/ultrafastring.pc")).unwrap();
    assert!(pc.contains("prefix=/usr\nlibdir=/usr/lib/there\n"), "{pc}");
    assert!(!pc.contains(&*stage.path().to_string_lossy()), "{pc}");
}

#[test]
fn a_prefix_that_its_files_cannot_name_is_refused_before_anything_is_built() {
    for name in ["a b", "a&b", "a|b"] {
        let mut install = Command::new(Path::new(HERE).join("install"));
        let prefix = std::env::temp_dir().join(name);
        let output = install.arg(&prefix).env("CARGO_TARGET_DIR", "/nowhere").output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains("cannot be named"), "{text}");
        assert!(!prefix.exists());
    }
}

/// What a section of a page says before its first block of C.
fn section<'a>(page: &'a str, title: &str) -> &'a str {
    page.split_once(title).unwrap().1.split_once("```c\n").unwrap().0
}

#[test]
fn the_page_has_the_programs_that_are_built_here() {
    let read = |path: &str| fs::read_to_string(Path::new(HERE).join(path)).unwrap();
    let page = read("../../docs/c-and-cpp.md");
    for name in ["examples/sender.c", "examples/receiver.c"] {
        assert!(page.contains(&read(name)), "docs/c-and-cpp.md has another {name}");
    }
    let folder = tempfile::tempdir().unwrap();
    // What follows `mark` up to the end of its block, as a file.
    let part = |mark: &str, before: &str, name: &str, after: &str| {
        let (_, text) = page.split_once(mark).unwrap();
        let source = folder.path().join(name);
        let text = text.split_once("```").unwrap().0;
        fs::write(&source, format!("{before}{text}{after}")).unwrap();
        source
    };
    CPP[0].compile(&part("```cpp\n", "", "page.cpp", ""), &[]);
    let include = "#include <stdio.h>\n";
    let lanes = part(
        &format!("## Lanes\n{}```c\n{include}", section(&page, "## Lanes\n")),
        include,
        "lanes.c",
        "int main(void) { return take_orders == take_reports; }\n",
    );
    C.iter().for_each(|compiler| drop(compiler.compile(&lanes, &[])));
    let include = "#include <ultrafastring_inline.h>\n";
    let inline = part(
        &format!("```c\n{include}"),
        include,
        "page.c",
        "int main(void) { return publish(NULL, NULL) == 0 && next(NULL, NULL) == 0; }\n",
    );
    C.iter().for_each(|compiler| drop(done(&mut program(compiler.compile(&inline, &[])))));
}
