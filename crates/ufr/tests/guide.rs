//! Follows the pages of the guide as a reader would: in an empty directory, one step after the
//! other, in one shell for each page. What a command prints must be what the page shows.
//!
//! | on a page | is |
//! |---|---|
//! | a block after a line that ends in `` `FILE`: `` | written to that file |
//! | a `console` block | run: `$ ` begins a command, `> ` continues it; the rest is what it prints |
//! | `console root` | the same, for root alone |
//! | `…` in what is printed | any text, also of several lines |
//! | a block of any other kind | only shown |

#[allow(dead_code)]
mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Begins what a command prints.
const MARK: char = '\x1e';

/// A step of a page.
#[derive(Debug)]
enum Step {
    File { path: String, text: String },
    Command { command: String, prints: String, root: bool },
}

/// The repository's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The pages: the guide's, and those beside it.
fn pages() -> Vec<PathBuf> {
    let folders = ["docs", "docs/guide"].map(|it| root().join(it));
    let files =
        folders.iter().flat_map(|it| fs::read_dir(it).unwrap()).map(|it| it.unwrap().path());
    let mut pages: Vec<_> =
        files.filter(|it| it.extension().is_some_and(|it| it == "md")).collect();
    pages.sort();
    pages
}

/// The file that a block is to be written to, as the line before it says.
fn file_named(line: &str) -> Option<&str> {
    line.strip_suffix("`:")?.rsplit_once('`').map(|(_, path)| path)
}

/// Takes the blocks out of a page.
fn steps(page: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = page.lines();
    let mut before = "";
    while let Some(line) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else {
            if !line.is_empty() {
                before = line;
            }
            continue;
        };
        let block: Vec<_> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
        let text: String = block.iter().flat_map(|line| [line, "\n"]).collect();
        if let Some(path) = file_named(before) {
            steps.push(Step::File { path: path.into(), text });
        } else if kind == "console" || kind == "console root" {
            commands(&block, kind.ends_with("root"), &mut steps);
        }
        before = "";
    }
    steps
}

/// The commands of a `console` block.
fn commands(block: &[&str], root: bool, steps: &mut Vec<Step>) {
    for line in block {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step::Command { command: command.into(), prints: String::new(), root });
            continue;
        }
        let Some(Step::Command { command, prints, .. }) = steps.last_mut() else {
            panic!("a block begins with what is printed: {line}");
        };
        match line.strip_prefix("> ") {
            Some(more) if prints.is_empty() => *command += &format!("\n{more}"),
            _ => *prints += &format!("{line}\n"),
        }
    }
}

/// All steps as a script for bash.
fn script(steps: &[&Step]) -> String {
    let mut script = String::from("exec 2>&1\n");
    for step in steps {
        script += &match step {
            Step::File { path, text } => {
                let make = format!("mkdir -p \"$(dirname '{path}')\"; cat > '{path}'");
                format!("{make} <<'END OF FILE'\n{text}END OF FILE\n")
            }
            Step::Command { command, .. } => format!("printf '{MARK}'\n{command}\n"),
        };
    }
    script
}

/// Whether `text` is as shown, where `…` stands for anything.
fn matches(text: &str, shown: &str) -> bool {
    let Some((start, rest)) = shown.split_once('…') else { return text == shown };
    let Some(text) = text.strip_prefix(start) else { return false };
    (0..=text.len()).any(|at| text.get(at..).is_some_and(|text| matches(text, rest)))
}

/// A shell's start: a page has namespaces of its own, with a `/dev/shm` of its own. So its rings
/// are nobody else's, and its processes end with it.
const BEGIN: &str = "mount -t tmpfs -o mode=1777 tmpfs /dev/shm && exec timeout 900 bash \"$0\"";

/// The command that gives another one such namespaces.
fn apart() -> Command {
    let mut command = Command::new("unshare");
    if !is_root() {
        command.arg("-r");
    }
    command.args(["-mpf", "--mount-proc", "--kill-child"]).stdin(Stdio::null());
    command
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says that something is not done here; where nothing may be skipped, fails.
fn skip(why: &str) {
    assert!(std::env::var_os("UFR_NO_SKIPS").is_none(), "{why}");
    eprintln!("skipped: {why}");
}

/// A directory for a page: programs, the script, and where the reader begins.
fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    // Also other users, who are played on a page, use the command.
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for folder in ["bin", "home"] {
        fs::create_dir(place.path().join(folder)).unwrap();
    }
    fs::copy(env!("CARGO_BIN_EXE_ufr"), place.path().join("bin/ufr")).unwrap();
    let cargo = place.path().join("bin/cargo");
    fs::write(&cargo, CARGO).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    place
}

/// What a page's `cargo` is: a new program takes the versions of the checkout, which are here. Of
/// others some crates may be here and some not, and nothing is downloaded.
const CARGO: &str = concat!(
    "#!/bin/sh\n",
    "[ ! -e Cargo.toml ] || [ -e Cargo.lock ] || cp \"$CHECKOUT/Cargo.lock\" .\n",
    "exec ",
    env!("CARGO"),
    " \"$@\"\n"
);

/// What happened where a page was followed.
fn follow(steps: &[&Step]) -> Output {
    let place = place();
    let path = place.path().join("script");
    fs::write(&path, script(steps)).unwrap();
    let programs = place.path().join("bin");
    apart()
        .args(["sh", "-c", BEGIN])
        .arg(&path)
        .env("PATH", format!("{}:{}", programs.display(), std::env::var("PATH").unwrap()))
        .env("CHECKOUT", root().canonicalize().unwrap())
        // The programs of all pages use what is built for one of them, and nothing is downloaded.
        .env("CARGO_TARGET_DIR", root().canonicalize().unwrap().join("target/guide"))
        .env("CARGO_NET_OFFLINE", "true")
        .env("CARGO_TERM_COLOR", "never")
        .env("LC_ALL", "C.UTF-8")
        .env_remove("UFR_DIRECTORY")
        .current_dir(place.path().join("home"))
        .output()
        .unwrap()
}

/// What is otherwise on a page than where it is followed.
fn differences(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap();
    let steps = steps(&text);
    let mut steps: Vec<_> = steps.iter().collect();
    if !is_root() {
        let all = steps.len();
        steps.retain(|step| !matches!(step, Step::Command { root: true, .. }));
        if steps.len() != all {
            skip(&format!("{}: some of it needs root", page.display()));
        }
    }
    let output = follow(&steps);
    let printed = String::from_utf8_lossy(&output.stdout);
    let mut printed = printed.split(MARK);
    let mut found = Vec::new();
    match printed.next() {
        Some("") => {}
        other => found.push(format!("before any command: {other:?}")),
    }
    for step in steps {
        let Step::Command { command, prints, .. } = step else { continue };
        match printed.next() {
            Some(it) if matches(it, prints) => {}
            Some(it) => found.push(format!("$ {command}\nshown:\n{prints}printed:\n{it}")),
            None => found.push(format!("$ {command}\nwas not run: {output:?}")),
        }
    }
    found.iter().map(|it| format!("{}: {it}", page.display())).collect()
}

#[test]
fn what_the_pages_show_is_what_happens() {
    // On a page are namespaces within these.
    let able = apart().args(["unshare", "-rm", "true"]).status();
    if !able.is_ok_and(|it| it.success()) {
        return skip("no namespaces can be made here (unshare)");
    }
    // UFR_PAGE=first-ring follows that page alone.
    let only = std::env::var("UFR_PAGE").unwrap_or_default();
    let pages = pages();
    let chosen = pages.iter().filter(|page| page.to_str().unwrap().contains(&only));
    let found: Vec<_> = std::thread::scope(|scope| {
        let each: Vec<_> = chosen.map(|page| scope.spawn(|| differences(page))).collect();
        each.into_iter().flat_map(|it| it.join().unwrap()).collect()
    });
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_index_has_each_page_in_one_line() {
    let index = fs::read_to_string(root().join("docs/README.md")).unwrap();
    for page in pages().iter().filter(|page| !page.ends_with("README.md")) {
        let page = page.strip_prefix(root().join("docs")).unwrap().display().to_string();
        let lines = index.lines().filter(|line| line.contains(&format!("]({page})"))).count();
        assert_eq!(lines, 1, "docs/README.md: {page}");
    }
}

/// The texts between quotes in a source file, with what is filled in as `X`.
fn literals(source: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut rest = source.lines().filter(|it| !it.trim_start().starts_with("//"));
    let code = rest.by_ref().collect::<Vec<_>>().join("\n");
    let mut letters = code.chars().peekable();
    while letters.any(|it| it == '"') {
        let (mut text, mut depth) = (String::new(), 0);
        while let Some(letter) = letters.next() {
            match letter {
                '"' => break,
                '\\' if letters.next() == Some('\n') => {
                    while letters.next_if(|it| it.is_whitespace()).is_some() {}
                }
                '{' => depth += 1,
                '}' => {
                    depth -= 1;
                    text.push('X');
                }
                _ if depth == 0 => text.push(letter),
                _ => {}
            }
        }
        all.push(text);
    }
    all
}

#[test]
fn what_the_command_says_in_its_own_words_is_explained() {
    let page = fs::read_to_string(root().join("docs/guide/troubleshooting.md")).unwrap();
    let mut found = 0;
    for file in ["explain.rs", "demo/cores.rs", "demo/child.rs"] {
        let source = root().join("crates/ufr/src").join(file);
        for text in literals(&fs::read_to_string(source).unwrap()) {
            // Paths, separators and formats are no messages.
            if text.split(' ').count() < 4 {
                continue;
            }
            // A span of code has no quotes of code in it: what is shown ends before them.
            let mut shown = page.split('`').skip(1).step_by(2);
            assert!(shown.any(|it| it != "…" && matches(&text, it)), "{file}: {text}");
            found += 1;
        }
    }
    assert!(found >= 10, "{found} messages were found");
}

#[test]
fn a_page_is_taken_apart_into_files_and_commands() {
    let page = "Put this into `a/b.txt`:\n\n```text\nhello\n```\n\n\
                ```console\n$ cat <<END\n> one\n> END\none\n$ true\n```\n\n\
                Only shown:\n\n```sh\nfalse\n```\n\n```console root\n$ id -u\n0\n```\n";
    let steps = steps(page);
    let [Step::File { path, text }, Step::Command { command, prints, .. }, _, last] = &steps[..]
    else {
        panic!("{steps:?}");
    };
    assert_eq!((&**path, &**text), ("a/b.txt", "hello\n"));
    assert_eq!((&**command, &**prints), ("cat <<END\none\nEND", "one\n"));
    assert!(matches!(last, Step::Command { root: true, .. }));
    assert!(matches("pid 12 and 13 end\n", "pid … and … end\n"));
    assert!(!matches("pid 12 ends\n", "pid … end\n"));
}
