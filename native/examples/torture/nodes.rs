//! The nodes: real processes with directories of their own. Whatever way this program ends, they end with it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::http::Session;
use crate::network::Network;

/// Ports that the system gives to no outgoing connection, so that none holds a node's when it starts again.
const PORTS: std::ops::Range<u16> = 12_000..19_000;
/// Between two looks at whether something has come about.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// A node stops within 10 s when it is asked to.
const STOP_TIMEOUT: Duration = Duration::from_secs(12);
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);

/// The processes that run, for whoever ends this one.
static RUNNING: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Ends every node, and lets none be started any more as long as the result lives.
pub(crate) fn end_all() -> impl Drop {
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    for id in running.iter().filter_map(|id| Pid::from_raw(*id)) {
        // One that has ended already need not be.
        let _ = kill_process(id, Signal::KILL);
    }
    running
}

/// One node.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    advertised: SocketAddr,
    directory: PathBuf,
    child: Option<Child>,
}

/// All of them.
pub(crate) struct Nodes {
    binary: PathBuf,
    pub(crate) all: Vec<Node>,
}

/// So many addresses that nobody listens on.
pub(crate) fn free_addresses(count: usize) -> io::Result<Vec<SocketAddr>> {
    let first = PORTS.start + u16::try_from(std::process::id() % 70).expect("below 70") * 100;
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let ports: Vec<u16> = (first..PORTS.end).chain(PORTS.start..first).filter(free).take(count).collect();
    let found =
        (ports.len() == count).then(|| ports.into_iter().map(|port| (Ipv4Addr::LOCALHOST, port).into()).collect());
    found.ok_or_else(|| io::Error::other(format!("no {count} ports of {PORTS:?} are free")))
}

impl Nodes {
    /// Nodes that do not run yet.
    pub(crate) fn new(binary: &Path, data: &Path, addresses: &[SocketAddr], network: &Network) -> Self {
        let node = |(index, address): (usize, &SocketAddr)| {
            let name = format!("node-{}", index + 1);
            let directory = data.join(&name);
            Node { name, address: *address, advertised: network.address(index), directory, child: None }
        };
        Self { binary: binary.to_owned(), all: addresses.iter().enumerate().map(node).collect() }
    }

    /// Starts all for the first time: the first one founds the cluster.
    pub(crate) fn found(&mut self) -> io::Result<()> {
        self.start_with(0, &[])?;
        let seed = self.all[0].advertised;
        (1..self.all.len()).try_for_each(|node| self.start_with(node, &[seed]))
    }

    /// Starts one, with all others as seeds.
    pub(crate) fn start(&mut self, node: usize) -> io::Result<()> {
        let others = self.all.iter().enumerate().filter(|(index, _)| *index != node);
        let seeds: Vec<SocketAddr> = others.map(|(_, other)| other.advertised).collect();
        self.start_with(node, &seeds)
    }

    fn start_with(&mut self, node: usize, seeds: &[SocketAddr]) -> io::Result<()> {
        let Node { name, address, advertised, directory, child } = &mut self.all[node];
        let log = File::options().create(true).append(true).open(directory.with_extension("log"))?;
        let mut command = Command::new(&self.binary);
        command.args(["serve", "--node-id", name, "--port", &address.port().to_string()]);
        command.args(["--advertise", &advertised.to_string()]).arg("--data-dir").arg(directory);
        if !seeds.is_empty() {
            let seeds: Vec<String> = seeds.iter().map(SocketAddr::to_string).collect();
            command.args(["--seed-nodes", &seeds.join(",")]);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).env("RUST_BACKTRACE", "1");
        // A group of its own: the terminal's Ctrl-C comes to this program alone.
        command.process_group(0);
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let started = command.spawn()?;
        running.insert(Pid::from_child(&started).as_raw_nonzero().get());
        *child = Some(started);
        Ok(())
    }

    /// Sends a signal to one that runs.
    pub(crate) fn signal(&self, node: usize, signal: Signal) -> io::Result<()> {
        let child = self.all[node].child.as_ref().ok_or_else(|| io::Error::other("it does not run"))?;
        Ok(kill_process(Pid::from_child(child), signal)?)
    }

    /// Ends some, all at once and as a power switch does.
    pub(crate) fn kill(&mut self, nodes: &[usize]) -> io::Result<()> {
        nodes.iter().try_for_each(|node| self.signal(*node, Signal::KILL))?;
        for node in nodes {
            if let Some(mut child) = self.all[*node].child.take() {
                child.wait()?;
                forget(&child);
            }
        }
        Ok(())
    }

    /// Stops one as an operator does, and says what is wrong with how it ended.
    pub(crate) async fn stop(&mut self, node: usize) -> io::Result<Option<String>> {
        self.signal(node, Signal::TERM)?;
        let deadline = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < deadline {
            let Some(status) = self.take_ended(node)? else {
                sleep(POLL_INTERVAL).await;
                continue;
            };
            return Ok((!status.success()).then(|| format!("it was asked to stop and ended with {status}")));
        }
        self.kill(&[node])?;
        Ok(Some(format!("it did not stop within {} s", STOP_TIMEOUT.as_secs())))
    }

    fn take_ended(&mut self, node: usize) -> io::Result<Option<std::process::ExitStatus>> {
        let Some(child) = &mut self.all[node].child else { return Ok(None) };
        let status = child.try_wait()?;
        if status.is_some() {
            forget(child);
            self.all[node].child = None;
        }
        Ok(status)
    }

    /// The first that has ended by itself, and how.
    pub(crate) fn ended(&mut self) -> io::Result<Option<String>> {
        for node in 0..self.all.len() {
            if let Some(status) = self.take_ended(node)? {
                return Ok(Some(format!("{} ended by itself: {status}", self.all[node].name)));
            }
        }
        Ok(None)
    }

    /// Takes everything away that a node has stored.
    pub(crate) fn wipe(&self, node: usize) -> io::Result<()> {
        fs::remove_dir_all(&self.all[node].directory)
    }

    /// Waits until these nodes serve; says what is wrong if they do not in time.
    pub(crate) async fn wait_ready(&mut self, nodes: &[usize], within: Duration) -> Result<(), String> {
        let deadline = Instant::now() + within;
        for node in nodes {
            let mut session = Session::new(self.all[*node].address, STATUS_TIMEOUT);
            while session.get("/ready").await.is_none() {
                self.look(deadline, || format!("is not ready {} s later", within.as_secs()), *node)?;
                sleep(POLL_INTERVAL).await;
            }
        }
        Ok(())
    }

    /// Waits until all serve, own the ring together by one layout, each with all that it owns, and keep nothing for each
    /// other.
    pub(crate) async fn wait_settled(&mut self, within: Duration) -> Result<(), String> {
        let deadline = Instant::now() + within;
        let mut sessions: Vec<Session> =
            self.all.iter().map(|node| Session::new(node.address, STATUS_TIMEOUT)).collect();
        let mut layouts = BTreeSet::new();
        let mut node = 0;
        while node < sessions.len() {
            match self.settled(&mut sessions[node]).await {
                Ok(layout) => {
                    layouts.insert(layout);
                    node += 1;
                }
                Err(missing) => {
                    self.look(deadline, || format!("has not settled {} s later: {missing}", within.as_secs()), node)?;
                    sleep(POLL_INTERVAL).await;
                }
            }
            if layouts.len() > 1 {
                // Those that were asked first may have learnt something since.
                (layouts, node) = (BTreeSet::new(), 0);
            }
        }
        Ok(())
    }

    fn look(&mut self, deadline: Instant, late: impl Fn() -> String, node: usize) -> Result<(), String> {
        if let Some(ended) = self.ended().map_err(|error| error.to_string())? {
            return Err(ended);
        }
        if Instant::now() > deadline { Err(format!("{} {}", self.all[node].name, late())) } else { Ok(()) }
    }

    /// The layout in which a node has settled, or what it has not come to yet.
    async fn settled(&self, session: &mut Session) -> Result<String, String> {
        let layout = session.get("/api/v1/layout").await.ok_or("no layout")?;
        let status = session.get("/api/v1/status").await.ok_or("no status")?;
        let progress = &layout["progress"];
        let owners = layout["owners"].as_array().map_or(0, Vec::len);
        let synced = progress["synced"].as_object().is_some_and(|all| all.values().all(|slices| *slices == 64));
        let at_rest = layout["active_versions"] == json!([layout["version"]]) && progress["passed"] == 64;
        let whole = owners == self.all.len() && status["cluster"]["alive"] == json!(self.all.len());
        if synced && at_rest && whole && status["ready"] == true && status["hints"]["total"] == 0 {
            return Ok(layout["version"].to_string());
        }
        let (ready, hints) = (&status["ready"], &status["hints"]);
        Err(format!("ready {ready}, hints {hints}, cluster {}, {owners} owners, {progress}", status["cluster"]))
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for node in &mut self.all {
            if let Some(mut child) = node.child.take() {
                // One that has ended already cannot be ended, and need not be.
                let _ = child.kill();
                let _ = child.wait();
                forget(&child);
            }
        }
    }
}

/// A process that has been waited for: its id may be another's soon.
fn forget(child: &Child) {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner).remove(&Pid::from_child(child).as_raw_nonzero().get());
}
