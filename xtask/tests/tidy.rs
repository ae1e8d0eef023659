//! The rules for the shape of this repository that no compiler checks: who may depend on whom, that the core can do no
//! IO, how long a file may be, that each says what it is for.
//!
//! Reads sources as text and never runs anything but `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const FILE_LINES_MAX: usize = 1_000;
const CRATES: [&str; 5] = ["core", "wasm", "native", "web", "xtask"];

fn root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").expect("Cargo runs the tests");
    Path::new(&manifest).parent().expect("xtask is below the root").to_owned()
}

/// Every file with this extension in our own directories: path relative to the root, and text.
fn files(extension: &str) -> Vec<(String, String)> {
    fn walk(root: &Path, directory: &Path, extension: &str, files: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                if !path.ends_with("node_modules") && !path.ends_with("target") {
                    walk(root, &path, extension, files);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                let name = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
                files.push((name, fs::read_to_string(&path).expect("UTF-8")));
            }
        }
    }
    let root = root();
    let mut found = Vec::new();
    for directory in CRATES {
        walk(&root, &root.join(directory), extension, &mut found);
    }
    found.sort();
    found
}

/// The sources of the core that are not only tests: path below `core/src/`, and text.
fn core_sources() -> impl Iterator<Item = (String, String)> {
    let below_core = |(name, text): (String, String)| Some((name.strip_prefix("core/src/")?.to_owned(), text));
    files("rs").into_iter().filter_map(below_core).filter(|(name, _)| !name.ends_with("tests.rs"))
}

/// The code of a file: without comments, and without what stands in it for tests only.
fn code(text: &str) -> String {
    let tests = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
    let without_comment = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    text[..tests].lines().map(without_comment).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn none(problems: &[String]) {
    assert!(problems.is_empty(), "\n  {}\n", problems.join("\n  "));
}

#[test]
fn no_file_is_a_crowd() {
    assert!(files("rs").len() > CRATES.len(), "sources are found");
    let mut problems = Vec::new();
    for extension in ["rs", "mjs", "js", "css"] {
        for (name, text) in files(extension) {
            let lines = text.lines().count();
            if lines > FILE_LINES_MAX {
                problems.push(format!("{name} has {lines} lines: divide it, {FILE_LINES_MAX} are the most"));
            }
        }
    }
    none(&problems);
}

#[test]
fn every_file_says_what_it_is_for() {
    let is_documented = |text: &str| {
        let first = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
        first.is_some_and(|line| line.starts_with("//! "))
    };
    let silent = files("rs").into_iter().filter(|(_, text)| !is_documented(text));
    none(&silent.map(|(name, _)| format!("{name} should begin with a module comment (`//! …`)")).collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_for_later() {
    // Spelled so that this file does not find itself.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
    let mut problems = Vec::new();
    for extension in ["rs", "mjs", "toml"] {
        for (name, text) in files(extension) {
            for (index, line) in text.lines().enumerate() {
                if marks.iter().any(|mark| line.contains(mark)) {
                    problems.push(format!("{name}:{}: {}", index + 1, line.trim()));
                }
            }
        }
    }
    none(&problems);
}

#[test]
fn the_core_cannot_do_io() {
    let mut problems = Vec::new();
    let library = fs::read_to_string(root().join("core/src/lib.rs")).expect("the core's root");
    for attribute in ["#![no_std]", "#![forbid(unsafe_code)]"] {
        if !library.lines().any(|line| line == attribute) {
            problems.push(format!("core/src/lib.rs should have a line {attribute}"));
        }
    }
    for (name, text) in core_sources() {
        if code(&text).replace("#[cfg(test)]\nextern crate std;", "").contains("extern crate std") {
            problems.push(format!("core/src/{name} brings in the standard library outside tests"));
        }
    }
    none(&problems);
}

/// `cargo metadata`'s packages: name, and the names of all workspace members that it depends on, for tests too.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps"])
        .current_dir(root())
        .output()
        .expect("Cargo runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let name = |value: &serde_json::Value| value["name"].as_str().expect("a name").to_owned();
    let members: BTreeSet<String> = packages.iter().map(name).collect();
    let depends_on = |package: &serde_json::Value| {
        let dependencies = package["dependencies"].as_array().expect("dependencies");
        dependencies.iter().map(name).filter(|dependency| members.contains(dependency)).collect()
    };
    packages.iter().map(|package| (name(package), depends_on(package))).collect()
}

#[test]
fn crates_depend_on_the_core_and_on_nothing_else_of_ours() {
    let mut problems = Vec::new();
    let dependencies = dependencies();
    assert_eq!(dependencies.len(), CRATES.len(), "a crate without a rule: {dependencies:?}");
    for (package, used) in dependencies {
        let allowed = match package.as_str() {
            "quorate" | "quorate-wasm" | "quorate-web" => &["quorate-core"][..],
            _ => &[],
        };
        for wrong in used.iter().filter(|name| !allowed.contains(&name.as_str())) {
            problems.push(format!("{package} must not depend on {wrong}"));
        }
    }
    none(&problems);
}

/// The modules of the crate that a piece of code names: `a` of `crate::a::b` and of `crate::{a::b, c}`.
fn modules_named(code: &str) -> BTreeSet<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
    let mut modules = BTreeSet::new();
    for (at, path) in code.match_indices("crate::") {
        let rest = &code[at + path.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            modules.insert(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut at_start = true;
        for (index, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => at_start = true,
                c if at_start && !c.is_whitespace() => {
                    modules.insert(word(&group[index..]));
                    at_start = false;
                }
                _ => {}
            }
        }
    }
    modules
}

#[test]
fn modules_are_found_in_paths_and_groups() {
    let table: [(&str, &[&str]); 4] = [
        ("use crate::ring::Ring;", &["ring"]),
        ("use crate::{hash::{a, b}, id::NodeId,\n    time};", &["hash", "id", "time"]),
        ("fn f() -> crate::error::Error { super::g() }", &["error"]),
        ("use alloc::vec::Vec;", &[]),
    ];
    for (code, expected) in table {
        assert_eq!(modules_named(code).into_iter().collect::<Vec<_>>(), expected, "{code}");
    }
}

#[test]
fn modules_of_the_core_never_point_at_each_other_in_a_circle() {
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, text) in core_sources() {
        let module = name.split(['/', '.']).next().unwrap_or_default();
        if module != "lib" {
            uses.entry(module.to_owned()).or_default().extend(modules_named(&code(&text)));
        }
    }
    assert!(uses.values().any(|used| !used.is_empty()), "the core's modules use each other");

    // Takes away what needs nothing of the rest, until nothing can be taken: what stays is in a circle, or above one.
    while let Some(free) = uses
        .iter()
        .find(|(module, used)| used.iter().all(|other| other == *module || !uses.contains_key(other)))
        .map(|(module, _)| module.clone())
    {
        uses.remove(&free);
    }
    let names: BTreeSet<String> = uses.keys().cloned().collect();
    let circle = uses.iter().map(|(module, used)| {
        let others: Vec<_> = used.intersection(&names).filter(|other| *other != module).cloned().collect();
        format!("core: {module} uses {}", others.join(", "))
    });
    none(&circle.collect::<Vec<_>>());
}

#[test]
fn lock_files_do_not_say_where_packages_were_fetched_from() {
    let lock = fs::read_to_string(root().join("web/tests/package-lock.json")).expect("a lock file");
    assert!(lock.contains("\"integrity\""), "the lock file pins packages");
    assert!(!lock.contains("\"resolved\""), "install with the .npmrc beside it");
}
