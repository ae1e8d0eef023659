//! Where things are: the root of the repository, Cargo's target directory, and how Cargo is called.
//!
//! Never changes a file.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command;

/// The repository that this program was built from.
#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Asks Cargo, so that `CARGO_TARGET_DIR` and configuration files are obeyed.
    pub(crate) fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask is a member of a workspace")?
            .to_owned();
        let mut metadata = cargo_in(&root);
        metadata.args(["metadata", "--format-version=1", "--no-deps"]);
        let metadata: Value = serde_json::from_str(&command::output(&mut metadata)?)?;
        let target = metadata["target_directory"]
            .as_str()
            .context("`cargo metadata` names no target directory")?
            .into();
        Ok(Self { root, target })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Cargo's target directory: everything that can be made again belongs there.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// The built page, which the server embeds.
    pub(crate) fn dist(&self) -> PathBuf {
        self.root.join("dist")
    }

    /// The npm package of the browser tests.
    pub(crate) fn browser_tests(&self) -> PathBuf {
        self.root.join("web/tests")
    }

    /// The server, as `cargo build --release` leaves it.
    pub(crate) fn release_binary(&self) -> PathBuf {
        self.target.join("release/quorate")
    }

    /// Cargo, run at the root of the repository.
    pub(crate) fn cargo(&self) -> Command {
        cargo_in(&self.root)
    }
}

/// The same Cargo that runs this program. Cargo's own variables for this package are not handed on: build scripts that
/// watch them would run again each time.
fn cargo_in(root: &Path) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root);
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&*name);
        }
    }
    cargo
}
