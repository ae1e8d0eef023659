//! `cargo xtask demo`: from a fresh clone to three real nodes and a page to open.
//!
//! Never touches data that it did not make: the nodes' directories stay when the demo ends, and the next one goes on
//! with them.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::cluster::{Cluster, Plan};
use crate::progress::Progress;
use crate::workspace::Workspace;
use crate::{command, page};

/// How often the nodes are looked after while they run.
const WATCH_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Args)]
pub(crate) struct Options {
    /// The first of three ports on 127.0.0.1, one for each node
    #[arg(long, default_value_t = 8081)]
    port: u16,
    /// Where the nodes keep their data and logs [default: data/ in the repository]
    #[arg(long)]
    data: Option<PathBuf>,
}

pub(crate) fn run(workspace: &Workspace, progress: &mut Progress, options: &Options) -> Result<()> {
    let plan = Plan {
        binary: workspace.release_binary(),
        first_port: options.port,
        data: options.data.clone().unwrap_or_else(|| workspace.root().join("data")),
    };
    plan.check_ports()?;
    page::build(workspace, progress)?;
    build_server(workspace, progress)?;

    let interrupted = interruption()?;
    // Again, because the build may have taken minutes.
    plan.check_ports()?;
    let mut cluster = progress.part("three nodes", |_| {
        let mut cluster = plan.start()?;
        cluster.wait_until_ready(&interrupted)?;
        Ok(cluster)
    })?;
    invite(&plan);
    let outcome = watch(&mut cluster, progress, &interrupted);
    progress.say("stopping …");
    let stopped = cluster.stop();
    outcome.and(stopped)?;
    progress.say(&format!("stopped; the data stays in {}", plan.data.display()));
    Ok(())
}

/// Builds the server as users get it, with the page inside.
pub(crate) fn build_server(workspace: &Workspace, progress: &mut Progress) -> Result<()> {
    progress.part("server", |_| command::run(workspace.cargo().args(["build", "--release", "--package=quorate"])))
}

/// The binary that was given, or else the server of this repository, built first.
pub(crate) fn server_or(workspace: &Workspace, progress: &mut Progress, given: Option<&PathBuf>) -> Result<PathBuf> {
    if let Some(binary) = given {
        return Ok(binary.clone());
    }
    page::build(workspace, progress)?;
    build_server(workspace, progress)?;
    Ok(workspace.release_binary())
}

/// Builds an example of the server's package, optimised as the server is; gives its program.
pub(crate) fn build_example(workspace: &Workspace, progress: &mut Progress, name: &str) -> Result<PathBuf> {
    progress.part(name, |_| {
        let example = format!("--example={name}");
        command::run(workspace.cargo().args(["build", "--release", "--package=quorate", &example]))
    })?;
    Ok(workspace.release_example(name))
}

/// Gets something when a person or a program asks this one to stop.
pub(crate) fn interruption() -> Result<Receiver<()>> {
    let (sender, receiver) = mpsc::channel();
    ctrlc::set_handler(move || {
        // Fails only after the demo has ended, when there is nobody left to tell.
        let _ = sender.send(());
    })
    .context("cannot wait for Ctrl-C")?;
    Ok(receiver)
}

/// Waits for Ctrl-C. Killing a node is what a demo is for: the others go on, and how to start it again is said.
fn watch(cluster: &mut Cluster, progress: &Progress, interrupted: &Receiver<()>) -> Result<()> {
    loop {
        for ended in cluster.take_ended()? {
            progress.say(&format!(
                "{} ended ({}). Start it again with:\n\n  {}\n",
                ended.name, ended.status, ended.restart
            ));
        }
        if cluster.running() == 0 {
            bail!("all nodes have ended");
        }
        match interrupted.recv_timeout(WATCH_INTERVAL) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

fn invite(plan: &Plan) {
    let addresses = plan.addresses();
    let [first, second, third] = addresses.as_slice() else { unreachable!("a demo has three nodes") };
    println!("\nThree nodes are one cluster. Open  http://{first}/\n\nOr try, in another terminal:\n");
    println!(
        "  curl -X PUT http://{first}/api/v1/data/greeting -H 'content-type: application/json' -d '{{\"value\":\"hello\"}}'"
    );
    println!("  curl http://{second}/api/v1/data/greeting");
    println!("  curl http://{third}/gossip/members");
    println!("\nLogs: {}. Ctrl-C stops all three.\n", logs(&plan.data));
}

fn logs(data: &Path) -> String {
    format!("{}/node-*.log", data.display())
}
