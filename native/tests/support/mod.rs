//! Real nodes on this machine: each is a process of its own with a free port and a directory of its own, and ends with the
//! test that started it. Nothing here sleeps to be safe: it waits for conditions, with a bound.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of this")]

pub mod http;

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use http::Response;

/// How long a node may take to serve, on a busy machine.
pub const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest wait for what has no bound of its own.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// One node.
pub struct Node {
    pub id: String,
    pub port: u16,
    pub directory: PathBuf,
    flags: Vec<String>,
    child: Option<Child>,
}

impl Node {
    /// A node that is not running yet.
    pub fn new(root: &Path, id: &str, flags: &[&str]) -> Self {
        let mut node =
            Self { id: id.into(), port: free_port(), directory: root.join(id), flags: Vec::new(), child: None };
        node.set_flags(flags);
        node
    }

    /// What it is told besides its name, port and directory.
    pub fn set_flags(&mut self, flags: &[&str]) {
        self.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts the process, without waiting for anything.
    pub fn start(&mut self, seeds: &[String]) {
        assert!(self.child.is_none(), "{} runs already", self.id);
        let log = File::options().create(true).append(true).open(self.log_path()).expect("a log file");
        let mut command = quorate(&["serve", "--node-id", &self.id, "--port", &self.port.to_string()]);
        command.arg("--data-dir").arg(&self.directory).args(&self.flags).stderr(log);
        if !seeds.is_empty() {
            command.args(["--seed-nodes", &seeds.join(",")]);
        }
        self.child = Some(command.spawn().expect("the binary starts"));
    }

    /// As a power switch does.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
    }

    /// As an operator does.
    pub fn terminate(&mut self) -> ExitStatus {
        self.ask_to_stop();
        self.wait_end()
    }

    /// Sends SIGTERM, without waiting for anything.
    pub fn ask_to_stop(&self) {
        self.signal("TERM");
    }

    /// Sends a signal by its name, without waiting for anything.
    pub fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().expect("kill runs").success());
    }

    /// Waits for the end of a process that was asked to stop.
    pub fn wait_end(&mut self) -> ExitStatus {
        self.wait_end_within(Duration::from_secs(12))
    }

    /// Waits for the end of a process that ends by itself.
    pub fn wait_end_within(&mut self, patience: Duration) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        eventually("the process ends", patience, || child.try_wait().expect("it can be asked"))
    }

    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().expect("it can be asked").is_none())
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.directory.with_extension("log")
    }

    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        http::send(self.port, method, path, headers, body)
            .unwrap_or_else(|error| panic!("{method} {path} at {}: {error}\n{}", self.id, self.log()))
    }

    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], b"")
    }

    /// Reads a key; the context is in the answer.
    pub fn read(&self, key: &str) -> Response {
        self.get(&format!("/api/v1/data/{key}"))
    }

    /// Writes a JSON value without a context.
    pub fn write(&self, key: &str, value: &Value) -> Response {
        self.put(key, &json!({ "value": value }))
    }

    /// Writes with a JSON body.
    pub fn put(&self, key: &str, body: &Value) -> Response {
        let path = format!("/api/v1/data/{key}");
        self.request("PUT", &path, &[("Content-Type", "application/json")], body.to_string().as_bytes())
    }

    pub fn post(&self, path: &str, body: &Value) -> Response {
        self.request("POST", path, &[("Content-Type", "application/json")], body.to_string().as_bytes())
    }

    /// Waits until it serves.
    pub fn wait_ready(&self) {
        eventually(&format!("{} is ready", self.id), START_TIMEOUT, || {
            let response = http::send(self.port, "GET", "/ready", &[], b"").ok()?;
            (response.status == 200).then_some(())
        });
    }

    /// What it believes of a member: its status and whether it stopped.
    pub fn belief(&self, member: &str) -> (String, bool) {
        let members = self.get("/gossip/members").json();
        let entry = &members["cluster_members"][member];
        (entry["status"].as_str().unwrap_or("unknown").into(), entry["stopped"] == true)
    }

    pub fn wait_belief(&self, member: &str, status: &str, patience: Duration) {
        eventually(&format!("{} believes {member} {status}", self.id), patience, || {
            (self.belief(member).0 == status).then_some(())
        });
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
        if thread::panicking() {
            eprintln!("--- log of {} ---\n{}", self.id, self.log());
        }
    }
}

/// Several nodes with the first one as everybody's seed, its own included.
pub struct Cluster {
    pub nodes: Vec<Node>,
    root: TempDir,
}

impl Cluster {
    /// Starts nodes `node-1` and so on, and waits until they are one cluster that serves.
    pub fn start(count: usize, flags: &[&str]) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let mut nodes: Vec<Node> =
            (1..=count).map(|number| Node::new(root.path(), &format!("node-{number}"), flags)).collect();
        let seed = vec![nodes[0].address()];
        nodes.iter_mut().for_each(|node| node.start(&seed));
        let cluster = Self { nodes, root };
        cluster.wait_whole();
        cluster
    }

    /// A node that is not running yet.
    pub fn node(&self, id: &str, flags: &[&str]) -> Node {
        Node::new(self.root.path(), id, flags)
    }

    /// Starts one node more, with all others as seeds, and waits until it serves.
    pub fn grow(&mut self) {
        let mut node = self.node(&format!("node-{}", self.nodes.len() + 1), &[]);
        node.start(&self.addresses());
        node.wait_ready();
        self.nodes.push(node);
    }

    pub fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(Node::address).collect()
    }

    /// Waits until every node serves, sees all others alive, and knows all of them as owners.
    pub fn wait_whole(&self) {
        self.nodes.iter().for_each(Node::wait_ready);
        let count = self.nodes.len();
        for node in &self.nodes {
            eventually(&format!("{} sees the whole cluster", node.id), START_TIMEOUT, || {
                let alive = node.get("/gossip/members").json()["alive_members"] == json!(count);
                let owners = node.get("/api/v1/ring").json()["nodes"].as_array().map(Vec::len) == Some(count);
                (alive && owners && node.get("/ready").status == 200).then_some(())
            });
        }
    }

    /// Runs the nodes again, all at once, with all of them as seeds.
    pub fn restart_all(&mut self) {
        let seeds = self.addresses();
        self.nodes.iter_mut().for_each(|node| node.start(&seeds));
        self.wait_whole();
    }
}

/// The binary with these arguments and an environment without settings of its own.
pub fn quorate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.args(arguments).env_clear().env("RUST_BACKTRACE", "1");
    command
}

/// Runs a command to its end, which must come soon.
pub fn run(command: &mut Command) -> Output {
    let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn();
    let mut child = child.expect("the binary starts");
    eventually("the command ends", PATIENCE, || child.try_wait().expect("it can be asked").map(drop));
    child.wait_with_output().expect("it has ended")
}

/// Waits for a condition, and fails when it does not come about in time.
#[track_caller]
pub fn eventually<T>(what: &str, patience: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(start.elapsed() < patience, "within {patience:?} it did not come about that {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A port nobody listens on. Not one of those that the system gives to outgoing connections: such a connection could hold
/// it just when its node starts again.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = u16::try_from(std::process::id() % 100).expect("below 100") * 100;
    for _ in 0..10_000 {
        let port = 20_000 + (base + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port from 20000 to 29999 is free");
}
