//! Three real nodes on this machine: start, wait until they are one cluster, stop.
//!
//! Never leaves a process behind: whatever way a cluster goes out of use, its nodes are stopped.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::http;

/// Number of nodes.
pub(crate) const SIZE: u16 = 3;

/// How long a cluster may take to form.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// A node stops within 10 s when asked; what is still there then is ended.
const STOP_TIMEOUT: Duration = Duration::from_secs(12);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Lines of a failed node's log that are shown.
const LOG_LINES_SHOWN: usize = 10;

/// Where the nodes listen and keep their data.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) binary: PathBuf,
    pub(crate) first_port: u16,
    pub(crate) data: PathBuf,
}

struct Node {
    name: String,
    address: SocketAddr,
    log: PathBuf,
    /// What a person types to start it again while the others run.
    restart: String,
    process: Child,
}

/// A node that has ended while the cluster went on.
pub(crate) struct Ended {
    pub(crate) name: String,
    pub(crate) status: ExitStatus,
    pub(crate) restart: String,
}

/// Running nodes.
pub(crate) struct Cluster {
    nodes: Vec<Node>,
}

impl Plan {
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        (0..SIZE).map(|index| (Ipv4Addr::LOCALHOST, self.first_port + index).into()).collect()
    }

    /// # Errors
    /// Names the first port that something else listens on.
    pub(crate) fn check_ports(&self) -> Result<()> {
        ensure!(self.first_port <= u16::MAX - (SIZE - 1), "--port {} leaves no room for {SIZE} nodes", self.first_port);
        for address in self.addresses() {
            TcpListener::bind(address).map(drop).with_context(|| {
                format!(
                    "port {} cannot be used: stop what listens there, or choose another with --port",
                    address.port()
                )
            })?;
        }
        Ok(())
    }

    /// Starts every node. A first start founds a cluster at the first node; later ones go back to that cluster, in
    /// whatever order its nodes come up.
    pub(crate) fn start(&self) -> Result<Cluster> {
        fs::create_dir_all(&self.data).with_context(|| format!("cannot create {}", self.data.display()))?;
        let directories: Vec<PathBuf> = (1..=SIZE).map(|number| self.data.join(format!("node-{number}"))).collect();
        let known: Vec<bool> = directories.iter().map(|directory| directory.exists()).collect();
        let mut cluster = Cluster { nodes: Vec::new() };
        for (index, directory) in directories.iter().enumerate() {
            let seeds = seeds(index, &known, &self.addresses());
            cluster.nodes.push(self.start_node(index, directory, &seeds)?);
        }
        Ok(cluster)
    }

    fn start_node(&self, index: usize, directory: &Path, seeds: &str) -> Result<Node> {
        let name = format!("node-{}", index + 1);
        let address = self.addresses()[index];
        let log = self.data.join(format!("{name}.log"));
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(&self.binary);
        command.args(["serve", "--node-id", &name, "--port", &address.port().to_string(), "--seed-nodes", seeds]);
        command.arg("--data-dir").arg(directory);
        command.stdin(std::process::Stdio::null()).stdout(output.try_clone()?).stderr(output);
        // A group of its own: the terminal's Ctrl-C comes here alone, and each node is stopped exactly once.
        command.process_group(0);
        let process = command.spawn().with_context(|| format!("cannot start {}", self.binary.display()))?;
        let restart = self.restart(&name, address, directory);
        Ok(Node { name, address, log, restart, process })
    }

    /// With every node as a seed: whichever is alive then lets it in.
    fn restart(&self, name: &str, address: SocketAddr, directory: &Path) -> String {
        let seeds: Vec<String> =
            self.addresses().iter().filter(|other| **other != address).map(SocketAddr::to_string).collect();
        let (binary, directory, port) = (self.binary.display(), directory.display(), address.port());
        format!("{binary} serve --node-id {name} --port {port} --data-dir {directory} --seed-nodes {}", seeds.join(","))
    }
}

/// The seeds of a node: the first one founds the cluster, unless only the others have been there before.
fn seeds(index: usize, known: &[bool], addresses: &[SocketAddr]) -> String {
    let founder = !known[0] && known[1..].contains(&true);
    let seeds: Vec<String> = match (index, founder) {
        (0, false) => vec![addresses[0].to_string()],
        (0, true) => addresses[1..].iter().map(SocketAddr::to_string).collect(),
        _ if known[index] => addresses.iter().map(SocketAddr::to_string).collect(),
        _ => vec![addresses[0].to_string()],
    };
    seeds.join(",")
}

impl Cluster {
    /// Waits until every node says that all of them are there and alive.
    ///
    /// # Errors
    /// A node ended, the time is up, or `interrupted` has something: that is said, with the log of the node.
    pub(crate) fn wait_until_ready(&mut self, interrupted: &Receiver<()>) -> Result<()> {
        let deadline = Instant::now() + READY_TIMEOUT;
        for index in 0..self.nodes.len() {
            loop {
                self.check_processes()?;
                let node = &self.nodes[index];
                let state = match http::get_json(node.address, "/api/v1/status", REQUEST_TIMEOUT) {
                    Ok(status) if is_complete(&status) => break,
                    Ok(status) => format!("it says {}", status["cluster"]),
                    Err(error) => format!("{error:#}"),
                };
                if Instant::now() >= deadline {
                    let seconds = READY_TIMEOUT.as_secs();
                    bail!(
                        "{} is not in a cluster of {SIZE} after {seconds} s ({state}); its log: {}",
                        node.name,
                        node.log.display()
                    );
                }
                match interrupted.recv_timeout(POLL_INTERVAL) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => bail!("interrupted"),
                }
            }
        }
        Ok(())
    }

    /// # Errors
    /// Names the first node that has ended, with the end of its log.
    pub(crate) fn check_processes(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            if let Some(status) = node.process.try_wait()? {
                let log = fs::read_to_string(&node.log).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let last = lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n  ");
                bail!("{} ended ({status}); the end of its log, {}:\n  {last}", node.name, node.log.display());
            }
        }
        Ok(())
    }

    /// The nodes that have ended since this was asked last. They are this cluster's no longer: whoever starts one again
    /// stops it.
    pub(crate) fn take_ended(&mut self) -> Result<Vec<Ended>> {
        let mut ended = Vec::new();
        for mut node in std::mem::take(&mut self.nodes) {
            match node.process.try_wait()? {
                Some(status) => ended.push(Ended { name: node.name, status, restart: node.restart }),
                None => self.nodes.push(node),
            }
        }
        Ok(ended)
    }

    /// The processes of the nodes that run.
    pub(crate) fn process_ids(&self) -> Vec<u32> {
        self.nodes.iter().map(|node| node.process.id()).collect()
    }

    /// How many nodes run.
    pub(crate) fn running(&self) -> usize {
        self.nodes.len()
    }

    /// Asks all nodes to stop and waits for them; one that does not is killed, which is an error.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.stop_all()
    }

    fn stop_all(&mut self) -> Result<()> {
        let mut nodes = std::mem::take(&mut self.nodes);
        for node in &nodes {
            signal(node, Signal::SIGTERM);
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        let mut failures = Vec::new();
        for node in &mut nodes {
            match wait(node, deadline)? {
                Some(status) if status.success() => {}
                Some(status) => failures.push(format!("{} ended with {status}", node.name)),
                None => {
                    signal(node, Signal::SIGKILL);
                    node.process.wait()?;
                    failures.push(format!(
                        "{} did not stop within {} s and was killed",
                        node.name,
                        STOP_TIMEOUT.as_secs()
                    ));
                }
            }
        }
        ensure!(failures.is_empty(), "{}", failures.join("; "));
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.stop_all() {
            eprintln!("while stopping: {error:#}");
        }
    }
}

/// Whether a node's status names all nodes, and all of them alive.
fn is_complete(status: &Value) -> bool {
    ["size", "alive"].iter().all(|field| status["cluster"][field] == SIZE)
}

fn wait(node: &mut Node, deadline: Instant) -> Result<Option<ExitStatus>> {
    loop {
        let status = node.process.try_wait()?;
        if status.is_some() || Instant::now() >= deadline {
            return Ok(status);
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// A process that has ended already needs no signal, so the outcome does not matter: `wait` tells.
fn signal(node: &Node, signal: Signal) {
    if let Ok(pid) = i32::try_from(node.process.id()) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(first_port: u16) -> Plan {
        Plan { binary: "false".into(), first_port, data: "data".into() }
    }

    #[test]
    fn every_start_leads_to_one_cluster() {
        let addresses = plan(8081).addresses();
        let all = "127.0.0.1:8081,127.0.0.1:8082,127.0.0.1:8083";
        let table = [
            ([false, false, false], ["127.0.0.1:8081", "127.0.0.1:8081", "127.0.0.1:8081"], "the first founds"),
            ([true, true, true], ["127.0.0.1:8081", all, all], "all go back"),
            ([true, true, false], ["127.0.0.1:8081", all, "127.0.0.1:8081"], "one was never there"),
            ([false, true, true], ["127.0.0.1:8082,127.0.0.1:8083", all, all], "the first lost its data"),
        ];
        for (known, expected, why) in table {
            for (index, expected) in expected.into_iter().enumerate() {
                assert_eq!(seeds(index, &known, &addresses), expected, "{why}: node-{}", index + 1);
            }
        }
    }

    #[test]
    fn a_port_in_use_is_named_before_anything_starts() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = taken.local_addr().expect("bound").port();
        let first = port.min(u16::MAX - 2);
        let error = format!("{:#}", plan(first).check_ports().expect_err("it is taken"));
        assert!(error.contains("cannot be used") && error.contains("--port"), "{error}");
        let error = plan(u16::MAX).check_ports().expect_err("no room").to_string();
        assert_eq!(error, "--port 65535 leaves no room for 3 nodes");
    }

    #[test]
    fn a_cluster_is_complete_when_all_are_alive() {
        let status = |size: u16, alive: u16| serde_json::json!({"cluster": {"size": size, "alive": alive}});
        assert!(is_complete(&status(3, 3)));
        for incomplete in [status(3, 2), status(2, 2), status(4, 3), serde_json::json!({}), Value::Null] {
            assert!(!is_complete(&incomplete), "{incomplete}");
        }
    }

    #[test]
    fn a_node_that_ends_is_shown_with_its_log() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let binary = directory.path().join("quorate");
        fs::write(&binary, "#!/bin/sh\necho \"the disk is on fire\"\nexit 3\n").expect("written");
        fs::set_permissions(&binary, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
        let plan = Plan { binary, first_port: 1, data: directory.path().join("data") };
        let mut cluster = plan.start().expect("started");
        let (_never, interrupted) = std::sync::mpsc::channel();
        let error = cluster.wait_until_ready(&interrupted).expect_err("they end").to_string();
        assert!(error.contains("ended (exit status: 3)") && error.contains("the disk is on fire"), "{error}");
    }

    #[test]
    fn a_killed_node_is_named_once_and_the_others_go_on() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let binary = directory.path().join("quorate");
        fs::write(&binary, "#!/bin/sh\nexec sleep 600\n").expect("written");
        fs::set_permissions(&binary, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
        let plan = Plan { binary, first_port: 8081, data: directory.path().join("data") };
        let mut cluster = plan.start().expect("started");
        assert!(cluster.take_ended().expect("asked").is_empty());
        cluster.nodes[1].process.kill().expect("it runs");
        cluster.nodes[1].process.wait().expect("it ends");
        let [ended] = &cluster.take_ended().expect("asked")[..] else { panic!("one has ended") };
        assert_eq!(ended.name, "node-2");
        assert!(ended.restart.contains("--node-id node-2 --port 8082"), "{}", ended.restart);
        assert!(ended.restart.ends_with("--seed-nodes 127.0.0.1:8081,127.0.0.1:8083"), "{}", ended.restart);
        assert!(cluster.take_ended().expect("asked").is_empty());
        assert_eq!(cluster.running(), 2);
        for node in &mut cluster.nodes {
            node.process.kill().expect("it runs");
        }
    }
}
