//! `cargo xtask torture`: real nodes killed, paused, cut off and robbed of their disks under clients, whose history the
//! oracle of the simulated world judges (`native/examples/torture`); and the minute of it that CI runs.
//!
//! Never decides what must hold; it builds, and hands on what it was told.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::command;
use crate::demo::{build_example, server_or};
use crate::progress::{Outcome, Progress};
use crate::workspace::Workspace;

#[derive(Args)]
pub(crate) struct Options {
    /// How long the nodes are tormented, in all [default: 10m]
    #[arg(long = "for", value_name = "SPAN")]
    length: Option<String>,
    /// How many nodes, 3 to 9 [default: 3 for half of the time, then 5]
    #[arg(long, value_name = "N")]
    nodes: Option<u8>,
    /// How many clients [default: 32]
    #[arg(long, value_name = "N")]
    clients: Option<u64>,
    /// What faults and operations are drawn from [default: the time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// A binary to torment [default: the one of this repository, built first]
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
}

pub(crate) fn run(workspace: &Workspace, progress: &mut Progress, options: &Options) -> Result<()> {
    // It takes the place of this program, so that Ctrl-C is its own and so is its exit code.
    let error = prepare(workspace, progress, options)?.exec();
    Err(error).context("cannot start the torture")
}

/// One minute, with faults that nobody has tried before. The seed is printed: they can be tried again.
pub(crate) fn slice(workspace: &Workspace, progress: &mut Progress) -> Result<Outcome> {
    let length = Some("1m".to_owned());
    let options = Options { length, nodes: None, clients: None, seed: None, binary: None };
    command::run(&mut prepare(workspace, progress, &options)?).map(|()| Outcome::Passed)
}

/// Builds what is needed; gives the command.
fn prepare(workspace: &Workspace, progress: &mut Progress, options: &Options) -> Result<Command> {
    let binary = server_or(workspace, progress, options.binary.as_ref())?;
    let mut torture = Command::new(build_example(workspace, progress, "torture")?);
    torture.arg("--binary").arg(binary).arg("--data").arg(workspace.target().join("torture"));
    let numbers = [("--nodes", options.nodes.map(u64::from)), ("--clients", options.clients), ("--seed", options.seed)];
    for (flag, number) in numbers {
        if let Some(number) = number {
            torture.args([flag, &number.to_string()]);
        }
    }
    if let Some(length) = &options.length {
        torture.args(["--for", length]);
    }
    Ok(torture)
}
