//! `cargo xtask trunk`: proves that Trunk and `cargo xtask web` make the same page of the same description, and that
//! `trunk serve`, the way to work on the page, shows it.
//!
//! Never touches `dist/` by Trunk: its output goes to `target/trunk` (`Trunk.toml`).

use std::env;
use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::progress::{Outcome, Progress};
use crate::workspace::Workspace;
use crate::{command, page, test, tools};

/// Newer ones need a newer compiler.
const TRUNK_VERSION: &str = "0.21.14";
/// As in `Trunk.toml`.
const SERVE_PORT: u16 = 3000;
/// The first build for development may have to compile everything.
const SERVE_TIMEOUT: Duration = Duration::from_secs(600);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

pub(crate) fn run(workspace: &Workspace, progress: &mut Progress) -> Result<ExitCode> {
    let mut path = None;
    progress.check("tools", |progress| {
        path = Some(install(workspace, progress)?);
        Ok(Outcome::Passed)
    });
    if let Some(path) = path {
        progress.check("build", |progress| build(workspace, progress, &path));
        progress.check("serve", |progress| serve(workspace, progress, &path));
    }
    Ok(progress.summary(|_| "cargo xtask trunk".to_owned()))
}

/// Installs what Trunk needs, below `target/tools`, and gives the `PATH` that has it.
fn install(workspace: &Workspace, progress: &mut Progress) -> Result<OsString> {
    let tools = workspace.target().join("tools");
    let bindgen_version = locked_version(workspace, "wasm-bindgen")?;
    let trunk = Tool { package: "trunk", program: "trunk", version: TRUNK_VERSION, locked: true };
    // Its own crates are pinned by its manifest; a lock file would add only an HTTP client's.
    let bindgen =
        Tool { package: "wasm-bindgen-cli", program: "wasm-bindgen", version: &bindgen_version, locked: false };
    for tool in [trunk, bindgen] {
        tool.ensure(workspace, progress, &tools)?;
    }
    tools::node()?;
    tools::ensure_npm_packages(workspace, progress)?;
    ensure!(tools::wasm_opt(workspace).is_some(), "the npm package binaryen has brought no usable wasm-opt");

    let mut directories = vec![tools.join("bin")];
    directories.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    directories.push(workspace.browser_tests().join("node_modules/.bin"));
    env::join_paths(directories).context("a directory with a colon cannot be on the PATH")
}

/// The version of a crate in `Cargo.lock`.
fn locked_version(workspace: &Workspace, name: &str) -> Result<String> {
    let lock = fs::read_to_string(workspace.root().join("Cargo.lock")).context("cannot read Cargo.lock")?;
    let entry = format!("name = \"{name}\"\nversion = \"");
    let version = lock.split_once(&entry).and_then(|(_, rest)| rest.split_once('"')).map(|(version, _)| version);
    version.map(str::to_owned).with_context(|| format!("Cargo.lock has no {name}"))
}

/// A tool that Cargo installs, at exactly one version.
struct Tool<'a> {
    package: &'a str,
    program: &'a str,
    version: &'a str,
    /// Whether its own lock file is obeyed.
    locked: bool,
}

impl Tool<'_> {
    /// Installs the tool, unless the `PATH` or an earlier run has it. An unoptimised build is fast enough for a page,
    /// and takes half the time to compile.
    fn ensure(&self, workspace: &Workspace, progress: &mut Progress, tools: &Path) -> Result<()> {
        let here = tools.join("bin").join(self.program);
        if tools::on_path(self.program).iter().chain([&here]).any(|file| self.fits(file)) {
            return Ok(());
        }
        let package = format!("{}@{}", self.package, self.version);
        progress.part(&format!("cargo install {package} (takes minutes)"), |_| {
            let build = tools.join("build");
            let mut cargo = workspace.cargo();
            cargo.args(["install", "--debug", "--quiet", &package, "--root"]).arg(tools);
            if self.locked {
                cargo.arg("--locked");
            }
            cargo.env("CARGO_TARGET_DIR", &build).env("CARGO_PROFILE_DEV_DEBUG", "false");
            command::run(&mut cargo)?;
            fs::remove_dir_all(&build).with_context(|| format!("cannot remove {}", build.display()))
        })
    }

    fn fits(&self, program: &Path) -> bool {
        let output = Command::new(program).arg("--version").output();
        output.is_ok_and(|output| {
            String::from_utf8_lossy(&output.stdout).split_whitespace().any(|word| word == self.version)
        })
    }
}

/// Builds the page both ways and compares.
fn build(workspace: &Workspace, progress: &mut Progress, path: &OsString) -> Result<Outcome> {
    progress.part("cargo xtask web", |progress| page::build(workspace, progress))?;
    progress.part("trunk build --release", |_| {
        // Trunk copies whatever snippets it finds there, also those of earlier builds.
        let leftovers = workspace.target().join("wasm-bindgen");
        if leftovers.exists() {
            fs::remove_dir_all(&leftovers).with_context(|| format!("cannot remove {}", leftovers.display()))?;
        }
        command::run(trunk(workspace, path).args(["build", "--release"]))
    })?;
    let differences = differences(&workspace.dist(), &trunk_dist(workspace))?;
    ensure!(differences.is_empty(), "the two pages differ:\n  {}", differences.join("\n  "));
    Ok(Outcome::Passed)
}

/// As in `Trunk.toml`.
fn trunk_dist(workspace: &Workspace) -> PathBuf {
    workspace.root().join("target/trunk")
}

fn trunk(workspace: &Workspace, path: &OsString) -> Command {
    let mut trunk = Command::new("trunk");
    trunk.current_dir(workspace.root()).env("PATH", path).env("TRUNK_SKIP_VERSION_CHECK", "true");
    // Cargo below Trunk must not rebuild what it built without Trunk.
    trunk.env("CARGO_TARGET_DIR", workspace.target());
    // Trunk takes the mere presence of this common variable for a mistake.
    trunk.env_remove("NO_COLOR");
    trunk
}

/// In what the two directories differ, file by file.
fn differences(ours: &Path, theirs: &Path) -> Result<Vec<String>> {
    let (names, their_names) = (page::list(ours)?, page::list(theirs)?);
    ensure!(!names.is_empty(), "{} has no files", ours.display());
    let mut differences = Vec::new();
    for name in &names {
        if !their_names.contains(name) {
            differences.push(format!("{name}: only `cargo xtask web` makes it"));
            continue;
        }
        let (our_bytes, their_bytes) = (fs::read(ours.join(name))?, fs::read(theirs.join(name))?);
        if our_bytes != their_bytes {
            differences.push(format!(
                "{name}: {} bytes by `cargo xtask web`, {} by Trunk",
                our_bytes.len(),
                their_bytes.len()
            ));
        }
    }
    let only_theirs = their_names.iter().filter(|name| !names.contains(name));
    differences.extend(only_theirs.map(|name| format!("{name}: only Trunk makes it")));
    Ok(differences)
}

/// Serves the page as somebody who works on it does, and loads it in a browser.
fn serve(workspace: &Workspace, progress: &mut Progress, path: &OsString) -> Result<Outcome> {
    let (node, chromium) = match tools::node().and_then(|node| Ok((node, tools::chromium(progress)?))) {
        Ok(found) => found,
        Err(missing) => return test::untried(progress, &missing),
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, SERVE_PORT));
    TcpListener::bind(address).with_context(|| format!("port {SERVE_PORT}, which Trunk.toml names, cannot be used"))?;
    let mut server = Server::start(trunk(workspace, path).arg("serve"))?;
    progress.part("trunk serve", |_| server.wait_for(address))?;
    progress.part("the page in Chromium", |_| {
        let mut load = Command::new(node);
        load.arg(workspace.browser_tests().join("load.mjs"))
            .arg(format!("http://{address}/"))
            .env("CHROMIUM", chromium);
        command::run(&mut load)
    })?;
    server.stop()?;
    Ok(Outcome::Passed)
}

/// A running `trunk serve`, with the compilers that it starts: a process group. It ends with this value.
struct Server {
    process: Child,
    stopped: bool,
}

impl Server {
    fn start(command: &mut Command) -> Result<Self> {
        let process =
            command.stdin(std::process::Stdio::null()).process_group(0).spawn().context("cannot start Trunk")?;
        Ok(Self { process, stopped: false })
    }

    /// Trunk listens only after the first build.
    fn wait_for(&mut self, address: SocketAddr) -> Result<()> {
        let deadline = Instant::now() + SERVE_TIMEOUT;
        while TcpStream::connect_timeout(&address, POLL_INTERVAL).is_err() {
            if let Some(status) = self.process.try_wait()? {
                bail!("`trunk serve` ended with {status}");
            }
            ensure!(Instant::now() < deadline, "`trunk serve` does not listen after {} s", SERVE_TIMEOUT.as_secs());
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.stopped, true) {
            return Ok(());
        }
        let group = Pid::from_raw(i32::try_from(self.process.id()).context("a process id is a positive i32")?);
        let deadline = Instant::now() + STOP_TIMEOUT;
        killpg(group, Signal::SIGTERM).context("cannot stop Trunk")?;
        while self.process.try_wait()?.is_none() {
            if Instant::now() >= deadline {
                killpg(group, Signal::SIGKILL).context("cannot end Trunk")?;
                self.process.wait()?;
                bail!("`trunk serve` did not stop within {} s and was killed", STOP_TIMEOUT.as_secs());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("while stopping: {error:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_between_two_pages_is_named() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (ours, theirs) = (directory.path().join("ours"), directory.path().join("theirs"));
        let write = |directory: &Path, files: &[(&str, &str)]| {
            fs::create_dir_all(directory).expect("created");
            for (name, text) in files {
                fs::write(directory.join(name), text).expect("written");
            }
        };
        write(&ours, &[("same.js", "1"), (page::KEEPER, "*")]);
        write(&theirs, &[("same.js", "1")]);
        assert_eq!(differences(&ours, &theirs).expect("compared"), Vec::<String>::new());

        write(&ours, &[("a.css", "1"), ("b.wasm", "12")]);
        write(&theirs, &[("b.wasm", "1"), ("c.js", "1")]);
        let expected = [
            "a.css: only `cargo xtask web` makes it",
            "b.wasm: 2 bytes by `cargo xtask web`, 1 by Trunk",
            "c.js: only Trunk makes it",
        ];
        assert_eq!(differences(&ours, &theirs).expect("compared"), expected);
    }

    #[test]
    fn two_empty_pages_are_not_taken_for_equal() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let error = differences(directory.path(), directory.path()).expect_err("nothing is there").to_string();
        assert!(error.ends_with("has no files"), "{error}");
    }
}
