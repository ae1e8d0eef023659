//! Finds the tools that are not built from `Cargo.lock`, and installs those that may be installed.
//!
//! Never installs anything outside the repository, except the compiler's WebAssembly target and, for root on Debian,
//! Chromium.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use nix::unistd::Uid;

use crate::command;
use crate::progress::Progress;
use crate::workspace::Workspace;

/// The oldest binaryen that is known to understand what this compiler emits.
const BINARYEN_VERSION_MIN: u32 = 123;

/// The oldest Node that runs the tests.
const NODE_VERSION_MIN: u32 = 20;

/// The compiler target of the page.
const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// Finds a program on the `PATH`.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}

/// `wasm-opt`, from the `PATH` or from the npm package of the browser tests, if it works and is new enough.
pub(crate) fn wasm_opt(workspace: &Workspace) -> Option<PathBuf> {
    let npm = workspace.browser_tests().join("node_modules/.bin/wasm-opt");
    on_path("wasm-opt")
        .into_iter()
        .chain(npm.is_file().then_some(npm))
        .find(|file| binaryen_version(file).is_some_and(|version| version >= BINARYEN_VERSION_MIN))
}

fn binaryen_version(wasm_opt: &Path) -> Option<u32> {
    let output = Command::new(wasm_opt).arg("--version").output().ok()?;
    first_number(&String::from_utf8_lossy(&output.stdout))
}

/// The first whole number in what a program says of its version.
pub(crate) fn first_number(text: &str) -> Option<u32> {
    text.split(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty())?.parse().ok()
}

/// Adds the compiler's WebAssembly target where it is missing.
pub(crate) fn ensure_wasm_target(progress: &mut Progress) -> Result<()> {
    let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--print=target-libdir", "--target", WASM_TARGET]);
    let directory = command::output(&mut rustc)?;
    if Path::new(directory.trim()).is_dir() {
        return Ok(());
    }
    progress.part(&format!("rustup target add {WASM_TARGET}"), |_| {
        command::run(Command::new("rustup").args(["target", "add", WASM_TARGET]))
            .with_context(|| format!("the page needs the target {WASM_TARGET} of the Rust compiler"))
    })
}

/// Whether this is a CI run: what cannot be tried there is a failure and not merely skipped.
pub(crate) fn is_ci() -> bool {
    env::var_os("CI").is_some_and(|value| value == "true")
}

/// Node, if it is new enough for the tests.
///
/// # Errors
/// Says what is missing.
pub(crate) fn node() -> Result<PathBuf> {
    let node = on_path("node").context("Node is not installed; the tests need version 20 or newer, with npm")?;
    let version = command::output(Command::new(&node).arg("--version"))?;
    let major = first_number(&version).unwrap_or(0);
    ensure!(major >= NODE_VERSION_MIN, "Node {} is too old; the tests need 20 or newer", version.trim());
    Ok(node)
}

/// Installs the npm packages of the browser tests, where they are not as the lock file says.
pub(crate) fn ensure_npm_packages(workspace: &Workspace, progress: &mut Progress) -> Result<()> {
    let directory = workspace.browser_tests();
    let installed = modified(&directory.join("node_modules/.package-lock.json"));
    if installed.is_some() && installed >= modified(&directory.join("package-lock.json")) {
        return Ok(());
    }
    progress.part("npm ci", |_| command::run(Command::new("npm").arg("ci").current_dir(&directory)))
}

fn modified(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}

/// Chromium, installed from Debian's packages where that may be done.
///
/// # Errors
/// Says that there is none.
pub(crate) fn chromium(progress: &mut Progress) -> Result<PathBuf> {
    let find = || ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(on_path);
    if let Some(chromium) = find() {
        return Ok(chromium);
    }
    if Uid::effective().is_root() && Path::new("/etc/debian_version").exists() {
        progress.part("apt-get install chromium", |_| {
            command::run(Command::new("apt-get").arg("update"))?;
            command::run(
                Command::new("apt-get")
                    .args(["install", "--yes", "--no-install-recommends", "chromium"])
                    .env("DEBIAN_FRONTEND", "noninteractive"),
            )
        })?;
    }
    find().context("Chromium is not installed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_tools_say() {
        let table = [
            ("wasm-opt version 123 (version_123)", Some(123)),
            ("v20.20.2", Some(20)),
            ("Chromium 156.0.1", Some(156)),
            ("no version", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(first_number(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_program_is_found_where_the_shell_would_find_it() {
        assert!(on_path("sh").is_some_and(|path| path.is_absolute()));
        assert_eq!(on_path("no-such-program"), None);
    }
}
