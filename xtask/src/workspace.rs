//! Where things are: the root of the repository, Cargo's target directory, and how Cargo is called.
//!
//! Never changes a file.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command;

/// The program that runs. The tests of the workspace may build another one in its place meanwhile; Linux still knows
/// this one.
pub(crate) fn this_program() -> Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() {
        return Ok(running.to_owned());
    }
    env::current_exe().context("this program has no path")
}

/// The repository in which this program was started.
#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
    packages: Value,
}

impl Workspace {
    /// Asks Cargo, so that `CARGO_TARGET_DIR` and configuration files are obeyed.
    pub(crate) fn find() -> Result<Self> {
        let mut metadata = cargo();
        metadata.args(["metadata", "--format-version=1", "--no-deps"]);
        let metadata: Value = serde_json::from_str(&command::output(&mut metadata)?)?;
        let path = |field: &str| {
            let path = metadata[field].as_str().map(PathBuf::from);
            path.with_context(|| format!("`cargo metadata` has no {field}"))
        };
        let root = path("workspace_root")?;
        let target = path("target_directory")?;
        Ok(Self { root, target, packages: metadata["packages"].clone() })
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

    /// An example of the server's package, as `cargo build --release` leaves it.
    pub(crate) fn release_example(&self, name: &str) -> PathBuf {
        self.target.join("release/examples").join(name)
    }

    /// The name of the package whose `Cargo.toml` this is.
    pub(crate) fn package_name(&self, manifest: &Path) -> Option<&str> {
        let packages = self.packages.as_array()?;
        let is_it =
            |package: &&Value| package["manifest_path"].as_str().is_some_and(|path| Path::new(path) == manifest);
        packages.iter().find(is_it)?["name"].as_str()
    }

    /// Cargo, run at the root of the repository.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = cargo();
        cargo.current_dir(&self.root);
        cargo
    }
}

/// The same Cargo that runs this program. Cargo's own variables for this package are not handed on: build scripts that
/// watch them would run again each time.
fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&*name);
        }
    }
    cargo
}
