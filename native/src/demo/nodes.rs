//! The processes of the show: each a node of its own, with a port and a directory, in a directory that goes away with them.
//!
//! Never leaves a process behind: whatever way they go out of use, the nodes are ended.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use quorate_core::id::Address;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::sleep;

use super::DemoError;
use crate::config::Endpoint;

/// A node stops within 10 s when asked; what is still there then is ended.
const STOP_TIMEOUT: Duration = Duration::from_secs(12);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Lines of a log that are shown.
const LOG_LINES_SHOWN: usize = 10;

/// On which ports the nodes listen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    first_port: u16,
}

impl Plan {
    /// So many ports in a row, all of them free.
    pub(super) fn new(first_port: u16, needed: u16) -> Result<Self, DemoError> {
        let last = first_port.checked_add(needed - 1).ok_or(DemoError::NoRoom { port: first_port, needed })?;
        for port in first_port..=last {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| match error.kind() {
                io::ErrorKind::AddrInUse => DemoError::PortInUse(port),
                _ => DemoError::System(error),
            })?;
        }
        Ok(Self { first_port })
    }
}

/// A node that runs.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) endpoint: Endpoint,
    log: PathBuf,
    process: Child,
}

/// The nodes that run, by the order of their start.
#[derive(Debug)]
pub(super) struct Nodes {
    plan: Plan,
    program: PathBuf,
    directory: TempDir,
    running: Vec<Node>,
    /// How many were ever started.
    started: u16,
}

impl Nodes {
    pub(super) fn new(plan: Plan) -> Result<Self, DemoError> {
        let directory = tempfile::Builder::new().prefix("quorate-demo-").tempdir()?;
        Ok(Self { plan, program: std::env::current_exe()?, directory, running: Vec::new(), started: 0 })
    }

    pub(super) fn running(&self) -> &[Node] {
        &self.running
    }

    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        self.running.iter().map(|node| node.endpoint.clone()).collect()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.running.iter().map(|node| node.name.clone()).collect()
    }

    pub(super) fn directory(&self) -> String {
        self.directory.path().display().to_string()
    }

    /// Starts one node more, with all that run as its seeds; the first one is its own, and founds the cluster.
    pub(super) fn start(&mut self) -> Result<&Node, DemoError> {
        let port = self.plan.first_port + self.started;
        let (name, address) = (format!("node-{}", self.started + 1), format!("127.0.0.1:{port}"));
        let mut seeds: Vec<String> = self.running.iter().map(|node| node.endpoint.0.to_string()).collect();
        if seeds.is_empty() {
            seeds.push(address.clone());
        }
        let directory = self.directory.path().join(&name);
        let log = directory.with_extension("log");
        let mut command = Command::new(&self.program);
        command.args(["serve", "--node-id", &name, "--port", &port.to_string(), "--seed-nodes", &seeds.join(",")]);
        command.args(["--cluster", "demo", "--evict-after", "5s", "--data-dir"]).arg(&directory);
        // Settings of whoever runs this are not meant for these nodes.
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        // A group of its own: the terminal's Ctrl-C comes here alone, and each node is stopped exactly once.
        command.process_group(0);
        let process = command.spawn()?;
        self.started += 1;
        let endpoint = Endpoint(Address::new(&address).expect("an address"));
        self.running.push(Node { name, endpoint, log, process });
        Ok(self.running.last().expect("it was put there"))
    }

    /// Ends a node as a power switch does.
    pub(super) fn kill(&mut self, index: usize) -> Result<String, DemoError> {
        let mut node = self.running.remove(index);
        node.process.kill()?;
        node.process.wait()?;
        Ok(node.name)
    }

    /// An error if one of them has ended by itself.
    pub(super) fn check(&mut self) -> Result<(), DemoError> {
        for node in &mut self.running {
            if let Some(status) = node.process.try_wait()? {
                let log = fs::read_to_string(&node.log).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let last_lines = lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n");
                let (node, log) = (node.name.clone(), node.log.display().to_string());
                return Err(DemoError::Ended { node, status: status.to_string(), log, last_lines });
            }
        }
        Ok(())
    }

    /// Leaves the directory, with the logs, where it is.
    pub(super) fn keep_directory(&mut self) {
        self.directory.disable_cleanup(true);
    }

    /// Asks all nodes to stop, waits for them, and ends those that do not.
    pub(super) async fn stop(&mut self) {
        for node in &self.running {
            let pid = i32::try_from(node.process.id()).ok().and_then(Pid::from_raw);
            // One that has ended already needs no signal.
            let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        }
        let start = Instant::now();
        let mut is_over = |node: &mut Node| !matches!(node.process.try_wait(), Ok(None));
        while !self.running.iter_mut().all(&mut is_over) && start.elapsed() < STOP_TIMEOUT {
            sleep(POLL_INTERVAL).await;
        }
        self.end_all();
    }

    fn end_all(&mut self) {
        for mut node in self.running.drain(..) {
            // Both fail only for one that has ended.
            let _ = node.process.kill();
            let _ = node.process.wait();
        }
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.end_all();
    }
}
