//! `cargo xtask sim`: the simulated world, built as users get it and run with any arguments of `quorate sim`; and the slice
//! of it that CI runs.
//!
//! Never chooses what a run must hold; it only chooses seeds.

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::Args;

use crate::bindings::{self, Target};
use crate::demo::build_server;
use crate::progress::{Outcome, Progress};
use crate::workspace::Workspace;
use crate::{command, page, tools};

/// Seeds that are run to learn how long one takes on this machine.
const TRIAL_SEEDS: u64 = 20;
/// How long CI runs seeds in each mode.
const SAFETY_TIME: Duration = Duration::from_secs(45);
const LIVENESS_TIME: Duration = Duration::from_secs(25);
const RECONFIGURATION_TIME: Duration = Duration::from_secs(25);

#[derive(Args)]
pub(crate) struct Options {
    /// Measure the simulated world as WebAssembly, in Node, for so many simulated seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "600", conflicts_with = "arguments")]
    wasm_bench: Option<u32>,
    /// The arguments of `quorate sim`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(workspace: &Workspace, progress: &mut Progress, options: &Options) -> Result<()> {
    if let Some(seconds) = options.wasm_bench {
        return wasm_bench(workspace, progress, seconds);
    }
    build(workspace, progress)?;
    // It takes the place of this program, so that Ctrl-C is its own and so is its exit code.
    let error = Command::new(workspace.release_binary()).arg("sim").args(&options.arguments).exec();
    Err(error).context("cannot start quorate sim")
}

/// A release binary carries the page, whoever runs it for what.
fn build(workspace: &Workspace, progress: &mut Progress) -> Result<()> {
    page::build(workspace, progress)?;
    build_server(workspace, progress)
}

/// Fresh seeds for about a minute and a half. Which, is printed: they can be run again.
pub(crate) fn slice(workspace: &Workspace, progress: &mut Progress) -> Result<Outcome> {
    build(workspace, progress)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is set before 1970")?;
    let mut first = now.as_secs();
    let modes =
        [(None, SAFETY_TIME), (Some("--liveness"), LIVENESS_TIME), (Some("--reconfigure"), RECONFIGURATION_TIME)];
    for (mode, time) in modes {
        let began = Instant::now();
        run_seeds(workspace, mode, first, TRIAL_SEEDS)?;
        let count = seeds_within(time, began.elapsed());
        first += TRIAL_SEEDS;
        run_seeds(workspace, mode, first, count)?;
        first += count;
    }
    Ok(Outcome::Passed)
}

/// How many seeds are run in this time, if the trial took so long.
fn seeds_within(time: Duration, trial: Duration) -> u64 {
    let seeds = time.as_millis() * u128::from(TRIAL_SEEDS) / trial.as_millis().max(1);
    u64::try_from(seeds).unwrap_or(u64::MAX).clamp(1, 100_000)
}

fn run_seeds(workspace: &Workspace, mode: Option<&str>, first: u64, count: u64) -> Result<()> {
    let mut sim = Command::new(workspace.release_binary());
    sim.args(["sim", "--minimize", "--seed", &first.to_string(), "--seeds", &count.to_string()]).args(mode);
    command::run(sim.current_dir(workspace.target()))
}

/// Builds the package for Node; gives the path of its JavaScript.
pub(crate) fn wasm_package(
    workspace: &Workspace,
    progress: &mut Progress,
    profile: &str,
) -> Result<std::path::PathBuf> {
    tools::ensure_wasm_target(progress)?;
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--package=quorate-wasm", "--lib", "--target=wasm32-unknown-unknown", "--profile", profile]);
    command::run(&mut cargo)?;
    let library = workspace.target().join("wasm32-unknown-unknown").join(profile).join("quorate_wasm.wasm");
    let out = workspace.target().join("wasm-node");
    bindings::make(&library, &out, "quorate_wasm", Target::Node)?;
    Ok(out.join("quorate_wasm.js"))
}

fn wasm_bench(workspace: &Workspace, progress: &mut Progress, seconds: u32) -> Result<()> {
    let node = tools::node()?;
    let package = wasm_package(workspace, progress, "release")?;
    let mut bench = Command::new(node);
    bench.arg(workspace.root().join("wasm/bench.mjs")).arg(seconds.to_string());
    command::run(bench.env("QUORATE_WASM", package))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_as_large_as_the_machine_is_fast() {
        let seeds = |trial_ms| seeds_within(Duration::from_secs(45), Duration::from_millis(trial_ms));
        assert_eq!([20_000, 2_000, 3_600_000, 0].map(seeds), [45, 450, 1, 100_000]);
    }
}
