//! Checks that need no running program: format, compiler and clippy lints, documentation, the shape of the code, and
//! what the dependencies are.
//!
//! Never changes a file.

use std::process::ExitCode;

use anyhow::Result;

use crate::progress::{Outcome, Progress};
use crate::workspace::Workspace;
use crate::{command, test, tools};

const WASM_TARGET: &str = "--target=wasm32-unknown-unknown";

pub(crate) fn run(workspace: &Workspace, progress: &mut Progress) -> Result<ExitCode> {
    progress.check("format", |_| format(workspace));
    progress.check("clippy", |progress| clippy(workspace, progress));
    progress.check("doc", |_| doc(workspace));
    progress.check("tidy", |_| tidy(workspace));
    progress.check("deny", |_| deny(workspace));
    Ok(progress.summary(test::again))
}

pub(crate) fn format(workspace: &Workspace) -> Result<Outcome> {
    cargo(workspace, &["fmt", "--all", "--check"])
}

/// Clippy for this machine and for WebAssembly; the core also without its feature, as the server's data plane could
/// be built.
pub(crate) fn clippy(workspace: &Workspace, progress: &mut Progress) -> Result<Outcome> {
    tools::ensure_wasm_target(progress)?;
    let runs: [&[&str]; 4] = [
        &["--workspace", "--all-targets", "--all-features"],
        &["--package=quorate-core", WASM_TARGET],
        &["--package=quorate-core", "--features=sim", WASM_TARGET],
        &["--package=quorate-web", "--package=quorate-wasm", WASM_TARGET],
    ];
    for selection in runs {
        let mut arguments = vec!["clippy", "--quiet"];
        arguments.extend(selection);
        arguments.extend(["--", "--deny=warnings"]);
        cargo(workspace, &arguments)?;
    }
    Ok(Outcome::Passed)
}

/// The documentation builds, and its links lead somewhere.
pub(crate) fn doc(workspace: &Workspace) -> Result<Outcome> {
    let mut cargo = workspace.cargo();
    cargo.args(["doc", "--quiet", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "--deny=warnings");
    command::run(&mut cargo).map(|()| Outcome::Passed)
}

/// This program's own tests; among them are the rules for the shape of the repository (`xtask/tests/tidy.rs`).
pub(crate) fn tidy(workspace: &Workspace) -> Result<Outcome> {
    cargo(workspace, &["test", "--quiet", "--package=xtask"])
}

/// Licences, banned and doubled crates, and where crates come from (`deny.toml`).
pub(crate) fn deny(workspace: &Workspace) -> Result<Outcome> {
    if tools::on_path("cargo-deny").is_none() {
        return Ok(Outcome::Skipped("cargo-deny is not installed".to_owned()));
    }
    cargo(workspace, &["deny", "check", "--hide-inclusion-graph", "licenses", "bans", "sources"])
}

fn cargo(workspace: &Workspace, arguments: &[&str]) -> Result<Outcome> {
    command::run(workspace.cargo().args(arguments)).map(|()| Outcome::Passed)
}
