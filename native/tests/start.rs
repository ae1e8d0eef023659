//! Every mistake that can be made when starting a node: one sentence that says what would be right, and an exit code.

mod support;

use std::fs;
use std::net::TcpListener;
use std::process::Stdio;

use serde_json::json;
use support::{Cluster, Node, PATIENCE, eventually, free_port, quorate, run};

/// What a command that fails says, and its exit code.
fn failure(arguments: &[&str], variables: &[(&str, &str)]) -> (String, i32) {
    let output = run(quorate(arguments).envs(variables.iter().copied()));
    let text = String::from_utf8(output.stderr).expect("text");
    (text, output.status.code().expect("it ends by itself"))
}

#[test]
fn a_mistake_in_a_setting_is_named_with_what_would_be_right() {
    let root = tempfile::tempdir().expect("a directory");
    let file = root.path().join("quorate.toml");
    fs::write(&file, "prot = 8080").expect("writes");
    let file = file.to_str().expect("text");
    for (arguments, variables, parts) in [
        (vec!["serve", "--prot", "1"], vec![], vec!["--prot", "--port"]),
        (vec!["serve", "--port", "0"], vec![], vec!["--port", "1..=65535"]),
        (vec!["serve", "--port", "http"], vec![], vec!["--port", "http"]),
        (vec!["serve", "--node-id", "a b"], vec![], vec!["--node-id", "A-Z a-z 0-9"]),
        (vec!["serve", "--seed-node", "localhost"], vec![], vec!["--seed-node", "host:port"]),
        (vec!["serve", "--placement", "tokens:0"], vec![], vec!["--placement", "tokens:150"]),
        (vec!["serve", "--write-quorum", "4"], vec![], vec!["write quorum 4", "replication factor"]),
        (vec!["serve", "--durability", "never"], vec![], vec!["--durability", "sync", "interval:1s", "os"]),
        (vec!["serve", "--max-value-size", "17MiB"], vec![], vec!["--max-value-size", "16MiB"]),
        (vec!["serve", "--probe-timeout", "2s"], vec![], vec!["2s", "shorter than the probe interval"]),
        (vec!["serve", "--listen", "0.0.0.0"], vec![], vec!["--tokens-file", "--insecure", "127.0.0.1"]),
        (vec!["serve", "--tls-cert", "a", "--tls-key", "b"], vec![], vec!["--tls-ca is missing"]),
        (vec!["serve", "--allow-origin", "shop.example.org"], vec![], vec!["--allow-origin", "https://"]),
        (vec!["serve", "--config", file], vec![], vec!["quorate.toml", "prot", "port"]),
        (vec!["serve", "--config", "/nowhere.toml"], vec![], vec!["/nowhere.toml"]),
        (vec!["serve"], vec![("QUORATE_SHARDS", "65")], vec!["QUORATE_SHARDS", "1..=64"]),
        (vec!["serve", "--evict-after", "soon"], vec![], vec!["--evict-after", "24h", "never"]),
        (vec!["serve", "--discovery-service", "a:1"], vec![], vec!["--discovery-service", "dns://NAME:PORT"]),
        (vec!["serve"], vec![("HTTP_PORT", "x")], vec!["HTTP_PORT"]),
        (vec!["serve"], vec![("PARTITION_COUNT", "63")], vec!["PARTITION_COUNT", "power of two"]),
        (vec!["srve"], vec![], vec!["srve", "serve"]),
    ] {
        let (text, code) = failure(&arguments, &variables);
        assert_eq!(code, 2, "{arguments:?}: {text}");
        for part in parts {
            assert!(text.contains(part), "{arguments:?} must be told of {part:?}: {text}");
        }
    }
}

#[test]
fn a_second_port_serves_the_same() {
    let root = tempfile::tempdir().expect("a directory");
    let second = free_port();
    let mut node = Node::new(root.path(), "node", &["--kv-port", &second.to_string(), "--placement", "partitions:64"]);
    node.start(&[]);
    node.wait_ready();
    assert_eq!(node.write("key", &json!(1)).status, 200);
    let answer = support::http::send(second, "GET", "/kv/get?key=key", &[], b"").expect("it listens");
    assert_eq!((answer.status, &answer.json()["value"]), (200, &json!(1)));
    assert_eq!(node.terminate().code(), Some(0));
}

#[test]
fn a_file_of_tokens_that_cannot_be_used_is_named_and_its_tokens_are_not() {
    let root = tempfile::tempdir().expect("a directory");
    let file = root.path().join("tokens");
    fs::write(&file, "owner sesame-open-sesame").expect("writes");
    let port = free_port().to_string();
    let (text, code) =
        failure(&["serve", "--port", &port, "--storage", "memory", "--tokens-file", file.to_str().expect("text")], &[]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("line 1") && text.contains("read, write or admin") && !text.contains("sesame"), "{text}");
}

#[test]
fn a_port_in_use_is_named() {
    let root = tempfile::tempdir().expect("a directory");
    let port = free_port();
    let _listener = TcpListener::bind(("127.0.0.1", port)).expect("free");
    let data = root.path().join("data");
    let (text, code) =
        failure(&["serve", "--port", &port.to_string(), "--data-dir", data.to_str().expect("text")], &[]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains(&format!("the port {port} is in use")) && text.contains("--port"), "{text}");
    assert!(!data.exists(), "a node that cannot listen touches nothing");
}

#[test]
fn a_directory_that_is_not_this_nodes_alone_is_refused() {
    let root = tempfile::tempdir().expect("a directory");
    let mut owner = Node::new(root.path(), "owner", &[]);
    owner.start(&[]);
    owner.wait_ready();
    let photos = root.path().join("photos");
    fs::create_dir(&photos).expect("makes");
    fs::write(photos.join("cat.jpg"), "cat").expect("writes");
    let newer = root.path().join("newer");
    fs::create_dir(&newer).expect("makes");
    fs::write(newer.join("format"), "quorate data directory, format 1000\n").expect("writes");
    let try_start = |node_id: &str, directory: &std::path::Path| {
        let (port, directory) = (free_port().to_string(), directory.to_str().expect("text"));
        failure(&["serve", "--node-id", node_id, "--port", &port, "--data-dir", directory], &[])
    };
    for (node_id, directory, part) in [
        ("owner", owner.directory.clone(), "in use by another process"),
        ("owner", photos, "not a data directory of quorate"),
        ("owner", newer, "newer binary"),
    ] {
        let (text, code) = try_start(node_id, &directory);
        assert_eq!(code, 1, "{text}");
        assert!(text.contains(part) && text.contains(directory.to_str().expect("text")), "{text}");
    }
    assert_eq!(owner.get("/ready").status, 200, "the owner does not mind");
    assert_eq!(owner.terminate().code(), Some(0));
    let (text, code) = try_start("thief", &owner.directory);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("belongs to node owner"), "{text}");
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file() {
    let root = tempfile::tempdir().expect("a directory");
    let file = root.path().join("quorate.toml");
    fs::write(&file, "zone = 'from-file'\ncluster = 'from-file'\nnode-id = 'from-file'").expect("writes");
    let data = root.path().join("data");
    let port = free_port().to_string();
    let mut child = quorate(&["serve", "--node-id", "from-flag", "--storage", "memory"])
        .args(["--config", file.to_str().expect("text"), "--data-dir", data.to_str().expect("text")])
        .envs([("HTTP_PORT", port.as_str()), ("QUORATE_CLUSTER", "from-environment"), ("NODE_ID", "from-environment")])
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let answer = std::panic::catch_unwind(|| {
        eventually("it answers", support::START_TIMEOUT, || {
            let port = port.parse().expect("a number");
            support::http::send(port, "GET", "/gossip/members", &[], b"").ok().map(|members| {
                (members.json(), support::http::send(port, "GET", "/status", &[], b"").expect("answers").json())
            })
        })
    });
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    let (members, status) = answer.expect("it answered");
    assert_eq!(status["node_id"], "from-flag");
    assert_eq!(status["cluster"]["name"], "from-environment");
    assert_eq!(members["cluster_members"]["from-flag"]["zone"], "from-file");
    assert_eq!(status["storage"]["engine"], "memory");
    assert!(!data.exists(), "memory leaves nothing behind");
}

#[test]
fn a_joiner_that_does_not_fit_is_refused_with_the_reason() {
    let cluster = Cluster::start(1, &[]);
    let root = tempfile::tempdir().expect("a directory");
    let refusal = |node: &Node| {
        eventually("it is refused", PATIENCE, || {
            let answer = support::http::send(node.port, "GET", "/ready", &[], b"").ok()?;
            let message = answer.message();
            (answer.status == 503 && !message.contains("no seed has answered")).then_some(message)
        })
    };
    for (id, flags, parts) in [
        ("other-copies", vec!["--replication-factor", "5"], vec!["replication factor 3", "replication factor 5"]),
        ("other-cluster", vec!["--cluster", "blue"], vec!["quorate", "blue", "--cluster"]),
        ("node-1", vec![], vec!["node-1", "taken", "--node-id"]),
    ] {
        let mut node = Node::new(root.path(), id, &flags);
        node.start(&cluster.addresses());
        let message = refusal(&node);
        for part in parts {
            assert!(message.contains(part), "{id} must be told of {part:?}: {message}");
        }
        assert!(node.is_running(), "it goes on trying");
        assert!(node.log().contains("no membership between"), "{}", node.log());
    }
    assert_eq!(cluster.nodes[0].get("/gossip/members").json()["total_members"], 1);
}

#[test]
fn two_clusters_with_data_do_not_become_one() {
    let root = tempfile::tempdir().expect("a directory");
    let (mut one, mut two) = (Node::new(root.path(), "node-1", &[]), Node::new(root.path(), "node-2", &[]));
    for node in [&mut one, &mut two] {
        node.start(&[]);
        node.wait_ready();
        assert_eq!(node.write("key", &json!(node.id)).status, 200);
    }
    let answer = one.post("/gossip/join", &json!({ "node_id": "node-2", "address": two.address() }));
    assert_eq!((answer.status, answer.code().as_str()), (409, "conflict"));
    for node in [&one, &two] {
        let id = node.get("/status").json()["cluster"]["id"].as_str().expect("an id").to_owned();
        assert!(answer.message().contains(&id), "{}", answer.message());
        assert_eq!(node.read("key").json()["value"], json!(node.id));
        assert_eq!(node.get("/gossip/members").json()["total_members"], 1);
    }
}
