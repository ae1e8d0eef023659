//! Builds the page into `dist/`, from the one description of it: the `data-trunk` links of `index.html`.
//!
//! Makes the same files as `trunk build --release`, which `cargo xtask trunk` compares, but needs nothing that is not
//! built from `Cargo.lock`. Never guesses what has changed: Cargo decides for the Rust code, the bytes decide for the
//! rest, and a file of `dist/` is written only when it differs, so that the server is not rebuilt for nothing.

mod description;
mod html;
mod program;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::page::description::{Description, Link};
use crate::progress::Progress;
use crate::tools;
use crate::workspace::Workspace;

/// The files of the page: path below `dist/`, and content.
type Files = BTreeMap<String, Vec<u8>>;

/// The file that keeps `dist/` in the repository; it is not part of the page.
pub(crate) const KEEPER: &str = ".gitignore";

/// Builds the page.
pub(crate) fn build(workspace: &Workspace, progress: &mut Progress) -> Result<()> {
    let wasm_opt = tools::wasm_opt(workspace);
    if wasm_opt.is_none() {
        progress.say(
            "wasm-opt was not found: the page is built without it and is larger \
             (`npm install --global binaryen@123` provides it)",
        );
    }
    tools::ensure_wasm_target(progress)?;

    let index = workspace.root().join("index.html");
    let source = fs::read_to_string(&index).with_context(|| format!("cannot read {}", index.display()))?;
    let description = Description::parse(&source)?;

    let mut files = Files::new();
    for link in description.links() {
        match link {
            Link::Program(program) => {
                let name = program.name(workspace)?;
                progress.part(&format!("page: {name}"), |progress| {
                    program::build(workspace, progress, program, &name, wasm_opt.as_deref(), &mut files)
                })?;
            }
            Link::Style { href } | Link::Icon { href } | Link::Copy { href } => copy(workspace, href, &mut files)?,
        }
    }
    add(&mut files, "index.html", description.document().into_bytes())?;

    let changed = write(&workspace.dist(), &files)?;
    let size: usize = files.values().map(Vec::len).sum();
    let verdict = if changed == 0 { "unchanged".to_owned() } else { format!("{changed} changed") };
    progress.say(&format!("page: {} files in dist/, {} KiB, {verdict}", files.len(), size.div_ceil(1024)));
    Ok(())
}

fn copy(workspace: &Workspace, href: &str, files: &mut Files) -> Result<()> {
    let path = workspace.root().join(href);
    let bytes = fs::read(&path).with_context(|| format!("index.html names {href}, which cannot be read"))?;
    add(files, description::file_name(href), bytes)
}

/// Two files of one name would hide each other without a word.
fn add(files: &mut Files, name: &str, bytes: Vec<u8>) -> Result<()> {
    if files.insert(name.to_owned(), bytes).is_some() {
        bail!("two parts of the page are called {name}: rename one of them");
    }
    Ok(())
}

/// Makes the directory hold exactly these files, and gives the number of files that had to be written or removed.
fn write(dist: &Path, files: &Files) -> Result<usize> {
    fs::create_dir_all(dist).with_context(|| format!("cannot create {}", dist.display()))?;
    let mut changed = 0;
    for name in list(dist)? {
        if !files.contains_key(&name) {
            fs::remove_file(dist.join(&name)).with_context(|| format!("cannot remove the old file dist/{name}"))?;
            changed += 1;
        }
    }
    for (name, bytes) in files {
        let path = dist.join(name);
        if fs::read(&path).is_ok_and(|old| old == *bytes) {
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        }
        fs::write(&path, bytes).with_context(|| format!("cannot write dist/{name}"))?;
        changed += 1;
    }
    Ok(changed)
}

/// Paths of all files below a directory, relative to it and sorted, without the keeper. A missing one has no files.
pub(crate) fn list(directory: &Path) -> Result<Vec<String>> {
    fn walk(directory: &Path, prefix: &str, names: &mut Vec<String>) -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                walk(&entry.path(), &format!("{name}/"), names)?;
            } else if name != KEEPER {
                names.push(name);
            }
        }
        Ok(())
    }
    let mut names = Vec::new();
    if directory.exists() {
        walk(directory, "", &mut names).with_context(|| format!("cannot list {}", directory.display()))?;
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(entries: &[(&str, &str)]) -> Files {
        entries.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn the_directory_ends_up_with_exactly_the_files_of_the_page() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let dist = directory.path().join("dist");
        let first = files(&[("index.html", "1"), ("a.js", "a"), ("snippets/b/c.js", "c")]);
        assert_eq!(write(&dist, &first).expect("written"), 3);
        fs::write(dist.join(KEEPER), "*\n").expect("written");
        assert_eq!(write(&dist, &first).expect("written"), 0, "nothing changed, nothing is written");

        let second = files(&[("index.html", "2"), ("a.js", "a")]);
        assert_eq!(write(&dist, &second).expect("written"), 2, "one is new, one is gone");
        assert_eq!(list(&dist).expect("listed"), ["a.js", "index.html"]);
        assert_eq!(fs::read(dist.join("index.html")).expect("read"), b"2");
        assert!(dist.join(KEEPER).exists());
    }

    #[test]
    fn two_parts_of_one_name_are_refused() {
        let mut files = files(&[("page.css", "")]);
        let error = add(&mut files, "page.css", Vec::new()).expect_err("it is taken").to_string();
        assert_eq!(error, "two parts of the page are called page.css: rename one of them");
    }
}
