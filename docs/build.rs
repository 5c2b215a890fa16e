//! Makes a module of each page in `docs/guide`.

use std::fmt::Write;
use std::path::Path;
use std::{env, error::Error, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("guide");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut pages: Vec<_> = fs::read_dir(&folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_, std::io::Error>>()?;
    pages.retain(|page| page.extension().is_some_and(|it| it == "md"));
    pages.sort();
    let mut modules = String::new();
    for page in &pages {
        let name = page.file_stem().and_then(|it| it.to_str()).ok_or("a page's name is no text")?;
        writeln!(
            modules,
            "#[doc = include_str!({page:?})]\npub mod r#{} {{}}",
            name.replace('-', "_")
        )?;
    }
    fs::write(Path::new(&env::var("OUT_DIR")?).join("pages.rs"), modules)?;
    Ok(())
}
