//! `cargo xtask test`: every check there is, one step after the other, each also alone.
//!
//! A failed step never keeps the others from running. What this machine cannot try is said and counted, and fails in
//! CI.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};

use crate::progress::{Outcome, Progress};
use crate::workspace::Workspace;
use crate::{command, demo, lint, page, rehearsal, sim, tools, torture};

#[derive(Args)]
pub(crate) struct Options {
    /// Run one step alone
    #[arg(long, value_name = "STEP")]
    only: Option<Step>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// rustfmt has nothing to change
    Format,
    /// Compiler and clippy lints, natively and for WebAssembly
    Clippy,
    /// The documentation builds, and its links lead somewhere
    Doc,
    /// The shape of the repository, and the automation's own tests
    Tidy,
    /// Licences and sources of dependencies
    Deny,
    /// Unit and property tests of the core, the simulator's bindings and the page
    Unit,
    /// The server: unit tests, and clusters of real processes
    Cluster,
    /// The simulator as WebAssembly, in Node
    Wasm,
    /// Fresh seeds of the simulated world, for about a minute
    Sim,
    /// The page in headless Chromium, from the server and from a directory of files
    Browser,
    /// Real nodes killed, paused, cut off and wiped under clients, for a minute
    Torture,
    /// The demo: two runs over the same data
    Demo,
}

pub(crate) fn run(workspace: &Workspace, progress: &mut Progress, options: &Options) -> Result<ExitCode> {
    for step in Step::value_variants() {
        if options.only.is_none_or(|only| only == *step) {
            let name = step.to_possible_value().context("every step has a name")?.get_name().to_owned();
            progress.check(&name, |progress| step.run(workspace, progress));
        }
    }
    Ok(progress.summary(again))
}

/// The command that runs a step alone.
pub(crate) fn again(step: &str) -> String {
    format!("cargo xtask test --only {step}")
}

impl Step {
    fn run(self, workspace: &Workspace, progress: &mut Progress) -> Result<Outcome> {
        match self {
            Self::Format => lint::format(workspace),
            Self::Clippy => lint::clippy(workspace, progress),
            Self::Doc => lint::doc(workspace),
            Self::Tidy => lint::tidy(workspace),
            Self::Deny => lint::deny(workspace),
            Self::Unit => unit(workspace),
            Self::Cluster => cluster(workspace),
            Self::Wasm => wasm(workspace, progress),
            Self::Sim => sim::slice(workspace, progress),
            Self::Browser => browser(workspace, progress),
            Self::Torture => torture::slice(workspace, progress),
            Self::Demo => rehearsed(workspace, progress),
        }
    }
}

fn unit(workspace: &Workspace) -> Result<Outcome> {
    let packages = ["--package=quorate-core", "--package=quorate-wasm", "--package=quorate-web", "--all-features"];
    if tools::on_path("cargo-nextest").is_some() {
        // The page and the bindings may have no tests that run here: that is no failure.
        command::run(workspace.cargo().args(["nextest", "run", "--no-tests=pass"]).args(packages))?;
        command::run(workspace.cargo().args(["test", "--doc", "--package=quorate-core", "--all-features"]))?;
    } else {
        command::run(workspace.cargo().arg("test").args(packages))?;
    }
    Ok(Outcome::Passed)
}

fn cluster(workspace: &Workspace) -> Result<Outcome> {
    command::run(workspace.cargo().args(["test", "--package=quorate"])).map(|()| Outcome::Passed)
}

fn wasm(workspace: &Workspace, progress: &mut Progress) -> Result<Outcome> {
    let node = match tools::node() {
        Ok(node) => node,
        Err(missing) => return untried(progress, &missing),
    };
    let package = sim::wasm_package(workspace, progress, "web")?;
    let mut tests = Command::new(node);
    tests.arg("--test").args(test_files(&workspace.root().join("wasm/tests"))?);
    tests.env("QUORATE_WASM", package).current_dir(workspace.root());
    command::run(&mut tests).map(|()| Outcome::Passed)
}

fn browser(workspace: &Workspace, progress: &mut Progress) -> Result<Outcome> {
    let (node, chromium) = match tools::node().and_then(|node| Ok((node, tools::chromium(progress)?))) {
        Ok(found) => found,
        Err(missing) => return untried(progress, &missing),
    };
    tools::ensure_npm_packages(workspace, progress)?;
    page::build(workspace, progress)?;
    demo::build_server(workspace, progress)?;

    let mut tests = Command::new(node);
    tests.arg("--test").args(test_files(&workspace.browser_tests())?).current_dir(workspace.root());
    tests.env("CHROMIUM", chromium);
    tests.env("QUORATE_BINARY", workspace.release_binary()).env("QUORATE_PAGE", workspace.dist());
    command::run(&mut tests).map(|()| Outcome::Passed)
}

fn rehearsed(workspace: &Workspace, progress: &mut Progress) -> Result<Outcome> {
    page::build(workspace, progress)?;
    demo::build_server(workspace, progress)?;
    rehearsal::run(workspace, progress).map(|()| Outcome::Passed)
}

/// What this machine lacks is said loudly and skipped, but CI has no excuse.
pub(crate) fn untried(progress: &Progress, missing: &anyhow::Error) -> Result<Outcome> {
    if tools::is_ci() {
        bail!("{missing:#}");
    }
    progress.say(&format!("!!! NOT TESTED: {missing:#} !!!"));
    Ok(Outcome::Skipped(format!("{missing:#}")))
}

/// The files `*.test.mjs` of a directory, sorted. Node's own search differs from version to version.
fn test_files(directory: &std::path::Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(".test.mjs") {
            files.push(path);
        }
    }
    ensure!(!files.is_empty(), "{} has no files *.test.mjs", directory.display());
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_test_files_are_run_and_there_must_be_one() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path();
        fs::write(path.join("harness.mjs"), "").expect("written");
        let error = test_files(path).expect_err("none is there").to_string();
        assert!(error.ends_with("has no files *.test.mjs"), "{error}");
        for name in ["b.test.mjs", "a.test.mjs"] {
            fs::write(path.join(name), "").expect("written");
        }
        let files = test_files(path).expect("two are there");
        assert_eq!(files, [path.join("a.test.mjs"), path.join("b.test.mjs")]);
    }
}
