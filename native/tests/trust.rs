//! Which nodes trust each other: a secret of the cluster.

mod support;

use std::fs;

use serde_json::json;
use support::{Cluster, Node, PATIENCE, eventually};

/// A file with a secret; gives its path.
fn secret(root: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = root.path().join(name);
    fs::write(&path, text).expect("writes");
    path.to_str().expect("text").to_owned()
}

/// What keeps a node out, once it says so.
fn refusal(node: &Node) -> String {
    eventually("it is refused", PATIENCE, || {
        let answer = support::http::send(node.port, "GET", "/ready", &[], b"").ok()?;
        let message = answer.message();
        (answer.status == 503 && !message.contains("no seed has answered")).then_some(message)
    })
}

#[test]
fn only_nodes_that_know_the_secret_are_let_in_and_both_sides_say_why() {
    let root = tempfile::tempdir().expect("a directory");
    let right = secret(&root, "right", "correct horse battery staple\n");
    let wrong = secret(&root, "wrong", "incorrect horse battery staple\n");
    let mut cluster = Cluster::start(2, &["--peer-secret-file", &right]);
    for (id, flags, part) in [
        ("without", vec![], "knows none"),
        ("mistaken", vec!["--peer-secret-file", wrong.as_str()], "know different secrets"),
    ] {
        let mut stranger = Node::new(root.path(), id, &flags);
        stranger.start(&cluster.addresses());
        let message = refusal(&stranger);
        assert!(message.contains(part) && message.contains("--peer-secret-file"), "{message}");
        assert!(stranger.log().contains("no membership between"), "{}", stranger.log());
        let said = format!("{id} has not proven that it belongs to this cluster");
        let logs: String = cluster.nodes.iter().map(Node::log).collect();
        assert!(logs.contains(&said), "{logs}");
        assert!(!logs.contains("horse") && !stranger.log().contains("horse"));
    }
    assert_eq!(cluster.nodes[0].get("/gossip/members").json()["total_members"], 2);
    let mut friend = cluster.node("node-3", &["--peer-secret-file", &right]);
    friend.start(&cluster.addresses());
    cluster.nodes.push(friend);
    cluster.wait_whole();
    assert_eq!(cluster.nodes[2].write("key", &json!("through all three")).status, 200);
    assert_eq!(cluster.nodes[0].read("key").json()["value"], "through all three");
}

#[test]
fn a_node_that_asks_for_the_secret_does_not_join_those_who_know_none() {
    let root = tempfile::tempdir().expect("a directory");
    let file = secret(&root, "secret", "correct horse battery staple");
    let cluster = Cluster::start(1, &[]);
    let mut careful = Node::new(root.path(), "careful", &["--peer-secret-file", &file]);
    careful.start(&cluster.addresses());
    let message = refusal(&careful);
    assert!(message.contains("node-1 knows none"), "{message}");
    assert_eq!(cluster.nodes[0].get("/gossip/members").json()["total_members"], 1);
}
