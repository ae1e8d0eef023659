//! The commands of the command line against a real node.

mod support;

use serde_json::Value;
use support::{Node, free_port, quorate, run};

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
