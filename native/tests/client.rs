//! The commands of the command line against a real node.

mod support;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use serde_json::{Value, json};
use support::{Cluster, Node, PATIENCE, eventually, free_port, quorate, run};

/// What a command writes to standard output, or its last word on standard error and its exit code.
fn ask(node: &Node, arguments: &[&str]) -> Result<String, (String, i32)> {
    let output = run(quorate(arguments).args(["--endpoint", &node.address()]));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err((text(output.stderr), output.status.code().expect("it ends by itself")))
    }
}

#[test]
fn the_commands_do_what_the_interface_does() {
    let root = tempfile::tempdir().expect("a directory");
    let mut node = Node::new(root.path(), "node", &[]);
    node.start(&[]);
    node.wait_ready();
    let shown = |arguments: &[&str]| ask(&node, arguments).expect("it works");

    assert_eq!(shown(&["put", "a/b", "{\"n\": 1}"]), "durable on node\n");
    assert_eq!(shown(&["get", "a/b"]), "{\"n\":1}\n");
    assert_eq!(shown(&["put", "raw", "-1", "--raw", "--w", "all"]), "durable on node\n");
    assert_eq!(shown(&["get", "raw", "--raw", "--r", "1"]), "-1");
    let answer: Value = serde_json::from_str(&shown(&["get", "a/b", "--json"])).expect("JSON");
    let context = answer["context"].as_str().expect("a context");
    shown(&["put", "a/b", "left", "--context", context]);
    shown(&["put", "a/b", "right", "--context", context]);
    assert_eq!(shown(&["get", "a/b"]), "\"right\"\n\"left\"\n");
    // The same value again, by another writer who has not seen it, is shown once.
    shown(&["put", "a/b", "left", "--context", context]);
    assert_eq!(shown(&["get", "a/b"]), "\"left\"\n\"right\"\n");
    shown(&["delete", "a/b"]);
    let (message, code) = ask(&node, &["get", "a/b"]).expect_err("it is gone");
    assert_eq!(code, 1);
    assert_eq!(message, "quorate: there is no value under \"a/b\" (not_found)\n");

    let status = shown(&["status"]);
    assert!(status.contains("quorum available") && status.contains("1 alive, 0 suspected, 0 dead"), "{status}");
    let members = shown(&["members"]);
    assert!(members.starts_with("NODE") && members.contains(&node.address()), "{members}");
    let ring = shown(&["ring", "--key", "a/b"]);
    assert!(ring.contains("150 virtual nodes") && ring.contains("is held by node"), "{ring}");
}

#[test]
fn nobody_to_ask_is_said_with_the_addresses_and_a_reachable_one_is_found() {
    let (nobody, other) = (free_port(), free_port());
    let endpoints = format!("127.0.0.1:{nobody},127.0.0.1:{other}");
    let output = run(&mut quorate(&["status", "--endpoint", &endpoints]));
    let text = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains(&nobody.to_string()) && text.contains(&other.to_string()), "{text}");

    let root = tempfile::tempdir().expect("a directory");
    let mut node = Node::new(root.path(), "node", &["--storage", "memory"]);
    node.start(&[]);
    node.wait_ready();
    let endpoints = format!("127.0.0.1:{nobody},{}", node.address());
    let output = run(quorate(&["get", "absent"]).env("QUORATE_ENDPOINT", endpoints));
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).expect("text").contains("not_found"));
}

#[test]
fn changes_are_planned_before_they_are_made_and_made_only_after_a_yes() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    let shown = |arguments: &[&str]| ask(node, arguments).expect("it works");
    let failed = |arguments: &[&str]| ask(node, arguments).expect_err("it fails");

    let layout = shown(&["layout", "show"]);
    assert!(layout.starts_with("NODE") && layout.contains("64 of 64") && layout.contains("layout 1 "), "{layout}");
    let plan = shown(&["layout", "plan", "--weight", "node-1=2"]);
    assert!(plan.contains("100.00%") && plan.contains("planned for layout 1, which would become 2"), "{plan}");
    assert_eq!(shown(&["layout", "show"]), layout);

    assert!(failed(&["layout", "revert"]).0.contains("nothing to go back to"));
    let change = ["layout", "apply", "--weight", "node-1=2", "--zone", "node-1=a"];
    assert_eq!(failed(&change), ("quorate: nothing was changed: add --yes to do it\n".into(), 1));
    assert_eq!(shown(&["layout", "show"]), layout);
    let (message, _) = failed(&[&change[..], &["--base", "7", "--yes"]].concat());
    assert!(message.contains("plan again"), "{message}");
    let changed = shown(&[&change[..], &["--yes"]].concat());
    assert!(changed.contains("TAKES") && changed.contains("the layout is at version 2 now"), "{changed}");
    let json: Value = serde_json::from_str(&shown(&["layout", "show", "--json"])).expect("JSON");
    assert_eq!((&json["owners"][0]["weight"], &json["owners"][0]["zone"]), (&2.into(), &"a".into()));

    for (arguments, part) in [
        (vec!["layout", "force", "node-1", "--yes"], "ask one that is left"),
        (vec!["leave"], "last owner"),
        (vec!["remove", "node-1", "--yes"], "last owner"),
        (vec!["remove", "node-2", "--yes"], "owns no part of the ring"),
        (vec!["replace", "node-1", "node-2", "--yes"], "node-2 is no member"),
    ] {
        let (message, code) = failed(&arguments);
        assert!(code == 1 && message.contains(part), "{arguments:?}: {message}");
    }
    for (arguments, part) in [
        (vec!["layout", "plan"], "--remove"),
        (vec!["layout", "plan", "--weight", "node-1=0"], "1 to 100"),
        (vec!["join", "nowhere"], "host:port"),
        (vec!["remove", "a b"], "A-Z a-z 0-9"),
    ] {
        let (message, code) = failed(&arguments);
        assert!(code == 2 && message.contains(part), "{arguments:?}: {message}");
    }
}

#[test]
fn events_are_shown_as_a_table_as_json_and_as_they_come() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    let shown = |arguments: &[&str]| ask(node, arguments).expect("it works");
    let tell = |name: &str| {
        assert_eq!(node.post("/gossip/event", &json!({ "name": name, "payload": { "at": 1 } })).status, 202);
    };
    tell("deploy");
    eventually("the node has told of itself", PATIENCE, || shown(&["events"]).contains("quorate.member").then_some(()));
    let table = shown(&["events"]);
    assert!(table.starts_with("EVENT") && table.contains("deploy") && table.contains("{\"at\":1}"), "{table}");
    assert!(table.contains("\"node\":\"node-1\",\"status\":\"joined\""), "{table}");
    let json = shown(&["events", "--json", "--name", "deploy"]);
    let event: Value = serde_json::from_str(&json).expect("one line of JSON");
    assert_eq!((&event["name"], &event["node_id"]), (&json!("deploy"), &json!("node-1")));
    assert_eq!(shown(&["events", "--name", "no such"]), "EVENT  TOLD BY  WHAT\n");
    let (message, code) = ask(node, &["events", "--name", ""]).expect_err("no name");
    assert!(code == 1 && message.contains("invalid_argument"), "{message}");

    let mut following = Following::start(&mut quorate(&["events", "--follow", "--endpoint", &node.address()]));
    following.wait_line("deploy");
    tell("rollback");
    following.wait_line("rollback");
}

/// A command that goes on until it is ended.
struct Following {
    child: Child,
    lines: Receiver<String>,
}

impl Following {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, lines) = mpsc::channel();
        // Ends with the command.
        thread::spawn(move || output.lines().try_for_each(|line| sender.send(line.expect("text"))));
        Self { child, lines }
    }

    /// Waits for a line that begins so.
    fn wait_line(&mut self, begin: &str) {
        while !self.lines.recv_timeout(PATIENCE).expect("a line in time").starts_with(begin) {}
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }
}

#[test]
fn nodes_come_and_go_by_the_command_line() {
    let mut cluster = Cluster::start(1, &[]);
    let mut newcomer = cluster.node("newcomer", &[]);
    newcomer.start(&[]);
    newcomer.wait_ready();
    let joined = ask(&cluster.nodes[0], &["join", &newcomer.address()]).expect("it joins");
    assert_eq!(joined, format!("newcomer at {} is a member now\n", newcomer.address()));
    cluster.nodes.push(newcomer);
    cluster.wait_whole();
    let leaves = ask(&cluster.nodes[1], &["leave"]).expect("it leaves");
    assert!(leaves.starts_with("newcomer leaves with layout "), "{leaves}");
    assert_eq!(cluster.nodes[1].wait_end_within(PATIENCE).code(), Some(0));
    cluster.nodes[0].wait_belief("newcomer", "left", PATIENCE);
}
