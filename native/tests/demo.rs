//! `quorate demo` with real processes: the show comes to its end, keeps its word, and leaves nothing behind.

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use support::{eventually, free_port, quorate, run};

/// The whole show, on a busy machine.
const SHOW_TIMEOUT: Duration = Duration::from_secs(150);

/// A demo under way; ended as by Ctrl-C with the test that began it.
struct Demo {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    first_port: u16,
}

impl Demo {
    fn start(root: &Path, nodes: u16, flags: &[&str]) -> Self {
        let first_port = free_ports(nodes + 1);
        let (nodes, port) = (nodes.to_string(), first_port.to_string());
        let mut command = quorate(&["demo", "--nodes", &nodes, "--port", &port, "--keys", "200"]);
        let mut child =
            command.args(flags).env("TMPDIR", root).stdout(Stdio::piped()).spawn().expect("the binary starts");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, lines) = mpsc::channel();
        // Ends with the demo.
        thread::spawn(move || output.lines().try_for_each(|line| sender.send(line.expect("text"))));
        Self { child, lines, seen: Vec::new(), first_port }
    }

    /// Waits for a line with this text.
    fn wait_line(&mut self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(SHOW_TIMEOUT);
            let line = line.unwrap_or_else(|_| panic!("no line with {text:?} after {}", self.seen.join("\n")));
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    fn interrupt(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().expect("kill runs").success());
    }

    fn wait_end(&mut self) -> ExitStatus {
        eventually("the demo ends", SHOW_TIMEOUT, || self.child.try_wait().expect("it can be asked"))
    }

    /// No node is left, and no data.
    fn check_nothing_is_left(&self, root: &Path, ports: u16) {
        for port in self.first_port..self.first_port + ports {
            TcpListener::bind(("127.0.0.1", port)).unwrap_or_else(|error| panic!("port {port}: {error}"));
        }
        assert_eq!(fs::read_dir(root).expect("a directory").count(), 0, "the data has gone with the nodes");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if self.child.try_wait().expect("it can be asked").is_none() {
            self.interrupt();
            self.wait_end();
        }
    }
}

/// The first of so many free ports in a row, which no other test of this file is given.
fn free_ports(count: u16) -> u16 {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().expect("nobody fails here");
    let mut row = vec![free_port()];
    while row.len() < usize::from(count) {
        let next = free_port();
        if row.last() != Some(&(next - 1)) {
            row.clear();
        }
        row.push(next);
    }
    row[0]
}

#[test]
fn the_show_loses_nothing_and_stays_up_until_it_is_interrupted() {
    let root = tempfile::tempdir().expect("a directory");
    let mut demo = Demo::start(root.path(), 4, &["--keep"]);
    for part in ["4 nodes are one cluster: http://127.0.0.1:", "node-3 is killed", "node-5 is started", "WHILE"] {
        demo.wait_line(part);
    }
    for (row, figure) in [("lost writes", "0"), ("reads that missed an acknowledged write", "0")] {
        let line = demo.wait_line(row);
        assert_eq!(line.split_whitespace().last(), Some(figure), "{line}");
    }
    let acknowledged = demo.seen.iter().find(|line| line.starts_with("acknowledged writes")).expect("it is said");
    let number = acknowledged.split_whitespace().last().and_then(|number| number.parse::<u64>().ok());
    assert!(number > Some(300), "{acknowledged}");
    demo.wait_line("The cluster stays up: http://127.0.0.1:");
    let answer = support::http::send(demo.first_port, "GET", "/gossip/members", &[], b"").expect("it is up");
    assert_eq!(answer.json()["alive_members"], 4);
    demo.interrupt();
    let status = demo.wait_end();
    assert_eq!(status.code(), Some(0), "{}", demo.seen.join("\n"));
    demo.check_nothing_is_left(root.path(), 5);
}

#[test]
fn an_interrupted_show_leaves_nothing_behind() {
    let root = tempfile::tempdir().expect("a directory");
    let mut demo = Demo::start(root.path(), 3, &[]);
    demo.wait_line("3 nodes are one cluster");
    demo.interrupt();
    assert_eq!(demo.wait_end().code(), Some(130));
    demo.check_nothing_is_left(root.path(), 4);
}

#[test]
fn a_port_in_use_is_named_before_anything_is_started() {
    let first = free_ports(4);
    let taken = TcpListener::bind(("127.0.0.1", first + 3)).expect("it is free");
    let port = taken.local_addr().expect("an address").port();
    let output = run(&mut quorate(&["demo", "--nodes", "3", "--port", &first.to_string()]));
    let message = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1));
    assert!(message.contains(&format!("port {port} is in use")) && message.contains("--port"), "{message}");
    let output = run(&mut quorate(&["demo", "--port", "65535"]));
    assert!(String::from_utf8(output.stderr).expect("text").contains("no room for 6 ports"));
}
