//! How the code is laid out: what the table of modules in `ARCHITECTURE.md` draws holds, and files,
//! functions and lines are short enough to be read. What is longer or points elsewhere for a reason
//! stands below with that reason. A reason that is no longer needed is an error, too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Block, ImplItem, Item, Signature, UseTree};

/// Longest line, in characters.
const COLUMNS: usize = 100;
/// Longest file of the core, in lines.
const LINES: usize = 600;
/// Longest function of the core, in lines.
const FUNCTION_LINES: usize = 60;

/// Imports that point up, or in a circle.
const ARROWS: Exceptions = &[
    ("builder.rs -> ring.rs", "a builder makes a ring, and"),
    ("ring.rs -> builder.rs", "a ring says how to begin one"),
];
/// Files that import from the root of the crate what other modules define.
const FROM_ROOT: Exceptions = &[];
/// Files that are longer.
const LONG_FILES: Exceptions = &[];
/// Functions that are longer.
const LONG_FUNCTIONS: Exceptions =
    &[("layout/side.rs: copy_bytes", "three ways to copy, each a list of instructions")];
/// Files with wider lines. Rows of tables in comments are no lines: they cannot be broken.
const WIDE_FILES: Exceptions = &[
    ("crates/ultrafastring/tests/forms.rs", "rows of a table, each a macro"),
    ("crates/ultrafastring/tests/machine.rs", PATTERNS),
    ("crates/ultrafastring/tests/trust.rs", PATTERNS),
    ("crates/versus/src/large.rs", "the type of a peer's subscriber"),
    ("crates/versus/src/page.rs", "text of a page"),
];

/// Why rustfmt leaves a line as it is.
const PATTERNS: &str = "patterns in macros";

/// What a rule does not hold for, and why.
type Exceptions = &'static [(&'static str, &'static str)];

/// Fails with what breaks a rule and is no exception, and with each exception that nothing needs.
fn expect(rule: &str, broken: &BTreeSet<String>, exceptions: Exceptions) {
    // Of a folder, all that is in it.
    let covers =
        |what: &str, one: &str| what == one || what.ends_with('/') && one.starts_with(what);
    let is_excepted = |one: &&String| exceptions.iter().any(|(what, _)| covers(what, one));
    let is_idle = |what: &&str| !broken.iter().any(|one| covers(what, one));
    let found: Vec<_> = broken.iter().filter(|one| !is_excepted(one)).collect();
    let idle: Vec<_> = exceptions.iter().map(|(what, _)| *what).filter(is_idle).collect();
    assert!(found.is_empty(), "{rule}: {found:#?}");
    assert!(idle.is_empty(), "{rule}: exceptions that nothing needs: {idle:#?}");
}

// ---- what is there -------------------------------------------------------------------------

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All Rust files below `folder`, as paths from `base`.
fn sources(base: &Path, folder: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![base.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let (path, name) = (entry.path(), entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                if name != "target" && !name.as_encoded_bytes().starts_with(b".") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|it| it == "rs") {
                let name = path.strip_prefix(base).unwrap().to_str().unwrap().to_string();
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

/// The files of the core, as paths in its `src`.
fn core() -> BTreeMap<String, String> {
    sources(&root().join("crates/ultrafastring/src"), ".")
}

type Module = Vec<String>;

/// The module that a file of the core is.
fn module_of(file: &str) -> Module {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    let root = path == "lib";
    path.split('/').filter(|_| !root).map(str::to_string).collect()
}

// ---- what a file names ---------------------------------------------------------------------

/// Collects what a file names, but for its tests, and its functions.
struct Reader<'a> {
    modules: &'a BTreeMap<Module, String>,
    /// Where the reader is: the file's module, or one inside it.
    at: Module,
    /// Paths from the root of the crate.
    named: BTreeSet<Module>,
    /// Names and lengths of functions, in lines.
    functions: Vec<(String, usize)>,
    /// How deep in tests it is, whose paths do not count.
    in_tests: usize,
}

impl Reader<'_> {
    fn name(&mut self, path: Vec<String>) {
        let [first, rest @ ..] = &path[..] else { return };
        let mut from = self.at.clone();
        let mut rest = rest;
        match first.as_str() {
            "crate" => from.clear(),
            "self" => {}
            "super" => {
                from.pop();
                while let [next, others @ ..] = rest
                    && next == "super"
                {
                    from.pop();
                    rest = others;
                }
            }
            child => {
                from.push(child.to_string());
                if !self.modules.contains_key(&from) {
                    return;
                }
            }
        }
        from.extend_from_slice(rest);
        if self.in_tests == 0 {
            self.named.insert(from);
        }
    }

    fn name_all(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: String| [before, &[name]].concat();
        match tree {
            UseTree::Path(path) => self.name_all(&path.tree, &with(path.ident.to_string())),
            UseTree::Name(name) => self.name(with(name.ident.to_string())),
            UseTree::Rename(name) => self.name(with(name.ident.to_string())),
            UseTree::Glob(_) => self.name(before.to_vec()),
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.name_all(tree, before));
            }
        }
    }

    /// Paths from the root of the crate in what a macro is given.
    fn name_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let end = TokenTree::Punct(proc_macro2::Punct::new(';', proc_macro2::Spacing::Alone));
        for token in tokens.into_iter().chain([end]) {
            match token {
                TokenTree::Ident(it) if it == "crate" => path = vec![it.to_string()],
                TokenTree::Ident(it) if !path.is_empty() => path.push(it.to_string()),
                TokenTree::Punct(it) if it.as_char() == ':' => {}
                other => {
                    // Not the `crate` of `pub(crate)`.
                    if path.len() > 1 {
                        self.name(std::mem::take(&mut path));
                    }
                    path.clear();
                    if let TokenTree::Group(group) = other {
                        self.name_tokens(group.stream());
                    }
                }
            }
        }
    }

    fn function(&mut self, signature: &Signature, block: &Block) {
        let first = signature.fn_token.span.start().line;
        let last = block.brace_token.span.close().end().line;
        self.functions.push((signature.ident.to_string(), last - first + 1));
    }

    /// Reads what `read` reads; as tests, if its attributes say so.
    fn under(&mut self, attributes: &[Attribute], read: impl FnOnce(&mut Self)) {
        let tests = attributes.iter().any(|it| {
            let cfg = it.meta.require_list().ok().filter(|_| it.path().is_ident("cfg"));
            it.path().is_ident("test")
                || cfg.is_some_and(|cfg| {
                    cfg.tokens
                        .to_string()
                        .split(|c: char| !c.is_alphanumeric())
                        .any(|it| it == "test")
                })
        });
        self.in_tests += usize::from(tests);
        read(self);
        self.in_tests -= usize::from(tests);
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes: &[Attribute] = match item {
            Item::Const(it) => &it.attrs,
            Item::Enum(it) => &it.attrs,
            Item::Fn(it) => &it.attrs,
            Item::Impl(it) => &it.attrs,
            Item::Mod(it) => &it.attrs,
            Item::Static(it) => &it.attrs,
            Item::Struct(it) => &it.attrs,
            Item::Use(it) => &it.attrs,
            _ => &[],
        };
        self.under(attributes, |reader| match item {
            Item::Mod(it) => {
                reader.at.push(it.ident.to_string());
                visit::visit_item(reader, item);
                reader.at.pop();
            }
            Item::Use(it) => reader.name_all(&it.tree, &[]),
            Item::Fn(it) => {
                reader.function(&it.sig, &it.block);
                visit::visit_item(reader, item);
            }
            _ => visit::visit_item(reader, item),
        });
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let ImplItem::Fn(function) = item else { return visit::visit_impl_item(self, item) };
        self.under(&function.attrs, |reader| {
            reader.function(&function.sig, &function.block);
            visit::visit_impl_item(reader, item);
        });
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            self.name(path.segments.iter().map(|it| it.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    /// Who may see a thing is no import.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_macro(&mut self, it: &'ast syn::Macro) {
        self.name_tokens(it.tokens.clone());
        visit::visit_macro(self, it);
    }
}

/// The core, read.
struct Core {
    /// Who imports from whom, by file.
    arrows: BTreeMap<String, BTreeSet<String>>,
    /// Files that import from the root.
    from_root: BTreeSet<String>,
    /// Functions that are too long, as `file: name`.
    long: BTreeSet<String>,
}

fn read() -> Core {
    let files = core();
    let modules: BTreeMap<Module, String> =
        files.keys().map(|file| (module_of(file), file.clone())).collect();
    let mut core =
        Core { arrows: BTreeMap::new(), from_root: BTreeSet::new(), long: BTreeSet::new() };
    for (file, text) in &files {
        let mut reader = Reader {
            modules: &modules,
            at: module_of(file),
            named: BTreeSet::new(),
            functions: Vec::new(),
            in_tests: usize::from(file.ends_with("tests.rs")),
        };
        let parsed = syn::parse_file(text)
            .unwrap_or_else(|error| panic!("{file}, line {}: {error}", error.span().start().line));
        reader.visit_file(&parsed);
        let arrows = core.arrows.entry(file.clone()).or_default();
        for path in reader.named {
            let there = (0..=path.len()).rev().find_map(|end| modules.get(&path[..end])).unwrap();
            if there == "lib.rs" && file != "lib.rs" {
                core.from_root.insert(file.clone());
            } else if there != file {
                arrows.insert(there.clone());
            }
        }
        let long = reader.functions.iter().filter(|(_, lines)| *lines > FUNCTION_LINES);
        core.long.extend(long.map(|(name, _)| format!("{file}: {name}")));
    }
    core
}

// ---- the rules -----------------------------------------------------------------------------

/// The layer of each file, as the table in `ARCHITECTURE.md` says.
fn layers(files: &BTreeMap<String, BTreeSet<String>>) -> BTreeMap<String, u32> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let table = text.split("\n## ").find(|part| part.starts_with("The modules")).unwrap();
    let mut places: BTreeMap<String, u32> = BTreeMap::new();
    let mut last = u32::MAX;
    for row in table.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let Ok(layer) = cells[1].parse() else { continue };
        assert!(layer <= last, "the table goes down: {row}");
        last = layer;
        for place in cells[2].split('`').skip(1).step_by(2) {
            assert!(
                places.insert(place.to_string(), layer).is_none(),
                "{place} stands there twice"
            );
        }
    }
    let mut used = BTreeSet::new();
    let layers = files.keys().map(|file| {
        let of =
            |place: &&String| *place == file || place.ends_with('/') && file.starts_with(*place);
        let place = places.keys().filter(of).max_by_key(|place| place.len());
        let place = place.unwrap_or_else(|| panic!("{file} is not in the table"));
        used.insert(place);
        (file.clone(), places[place])
    });
    let layers = layers.collect();
    let idle: Vec<_> = places.keys().filter(|place| !used.contains(place)).collect();
    assert!(idle.is_empty(), "the table names what is not there: {idle:?}");
    layers
}

#[test]
fn nothing_points_up_and_nothing_in_a_circle() {
    let arrows = read().arrows;
    let layers = layers(&arrows);
    let mut broken = BTreeSet::new();
    let mut kept = arrows.clone();
    for (from, there) in &arrows {
        for to in there {
            let arrow = format!("{from} -> {to}");
            let excepted = ARROWS.iter().any(|(it, _)| *it == arrow);
            if layers[from] < layers[to] {
                broken.insert(arrow);
            } else if excepted {
                // Needed if it closes a circle of others.
                if reaches(&arrows, to, from) {
                    broken.insert(arrow);
                }
            } else {
                continue;
            }
            kept.get_mut(from).unwrap().remove(to);
        }
    }
    for (from, there) in &kept {
        for to in there.iter().filter(|to| reaches(&kept, to, from)) {
            broken.insert(format!("{from} -> {to}"));
        }
    }
    expect("imports that point up or in a circle", &broken, ARROWS);
}

/// Whether there is a way from one file to another.
fn reaches(arrows: &BTreeMap<String, BTreeSet<String>>, from: &str, to: &str) -> bool {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(file) = next.pop() {
        if file == to {
            return true;
        }
        if seen.insert(file) {
            next.extend(arrows[file].iter().map(String::as_str));
        }
    }
    false
}

#[test]
fn what_is_imported_is_imported_from_where_it_is_defined() {
    expect("imports from the root of the crate", &read().from_root, FROM_ROOT);
}

#[test]
fn files_and_functions_of_the_core_are_short() {
    let long = core().into_iter().filter(|(_, text)| text.lines().count() > LINES);
    expect("files that are too long", &long.map(|(file, _)| file).collect(), LONG_FILES);
    expect("functions that are too long", &read().long, LONG_FUNCTIONS);
}

#[test]
fn lines_are_short() {
    // A row of a table cannot be broken.
    let is_row = |line: &str| line.trim_start().starts_with("//! |") || line.contains("http");
    let wide =
        |text: &String| text.lines().any(|line| line.chars().count() > COLUMNS && !is_row(line));
    let folders = ["bindings/python", "crates", "docs", "fuzz", "verification", "xtask"];
    let files = folders.map(|it| sources(&root(), it));
    let broken = files.into_iter().flatten().filter(|(_, text)| wide(text));
    expect("lines that are too wide", &broken.map(|(file, _)| file).collect(), WIDE_FILES);
}
