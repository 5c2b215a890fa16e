//! Runs the commands of the guide's page, and compares what they print with what the page shows.

#[allow(dead_code)]
mod common;

use std::path::Path;
use std::process::{Command, Stdio};

use common::*;

/// A command of the page, and what the page says it prints.
struct Shown {
    command: String,
    prints: String,
}

/// The commands of each block that shows a console.
fn blocks(page: &str) -> Vec<Vec<Shown>> {
    let console = page.split("```console\n").skip(1);
    let inside = console.map(|rest| rest.split("```").next().unwrap());
    inside
        .map(|block| {
            let mut all: Vec<Shown> = Vec::new();
            for line in block.lines() {
                match line.strip_prefix("$ ") {
                    Some(command) => {
                        all.push(Shown { command: command.into(), prints: String::new() });
                    }
                    None => all.last_mut().unwrap().prints += &format!("{line}\n"),
                }
            }
            all
        })
        .collect()
}

#[test]
fn the_page_about_send_and_recv_shows_what_they_do() {
    let place = Place::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = std::fs::read_to_string(root.join("docs/send-and-recv.md")).unwrap();
    let programs = Path::new(env!("CARGO_BIN_EXE_ufr")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let blocks = blocks(&page);
    assert!(blocks.len() >= 8, "the page shows {} consoles", blocks.len());
    for shown in blocks.iter().flatten() {
        let output = Command::new("timeout")
            .args(["60", "bash", "-c", &format!("exec 2>&1\n{}", shown.command)])
            .env("PATH", &path)
            .env("UFR_DIRECTORY", ".")
            .current_dir(place.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert_eq!(printed, shown.prints, "{}", shown.command);
    }
    for name in page.split('`').filter_map(|code| code.strip_prefix("crates/")) {
        assert!(root.join("crates").join(name).exists(), "{name}");
    }
}
