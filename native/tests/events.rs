//! What users tell and ask a cluster of real processes.

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use serde_json::{Value, json};
use support::{Cluster, Node, PATIENCE};

/// Somebody who listens to events at a node.
struct Listener(BufReader<TcpStream>);

impl Listener {
    fn new(node: &Node, query: &str) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", node.port)).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        write!(stream, "GET /gossip/events{query} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", node.port).expect("sent");
        let mut listener = Self(BufReader::new(stream));
        assert!(listener.line().starts_with("HTTP/1.1 200"));
        let mut line = listener.line();
        let mut is_stream = false;
        while !line.trim().is_empty() {
            is_stream |= line.trim().eq_ignore_ascii_case("content-type: text/event-stream");
            line = listener.line();
        }
        assert!(is_stream);
        // The line without meaning that says that it listens.
        while !listener.line().starts_with(':') {}
        listener
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.0.read_line(&mut line).expect("a line in time") > 0, "the node ended the stream");
        line
    }

    /// The next event.
    fn next(&mut self) -> Value {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(data) = self.line().strip_prefix("data: ") {
                return serde_json::from_str(data).expect("JSON");
            }
        }
        panic!("no event within {PATIENCE:?}");
    }
}

#[test]
fn an_event_told_at_one_node_is_heard_at_all_and_by_who_listens_later() {
    let cluster = Cluster::start(3, &[]);
    let mut listeners: Vec<Listener> = cluster.nodes.iter().map(|node| Listener::new(node, "?name=de+ploy")).collect();
    assert_eq!(cluster.nodes[1].post("/gossip/event", &json!({ "name": "other" })).status, 202);
    let payload = json!({ "version": [1, 2, { "deep": "a\nb" }] });
    let told = cluster.nodes[0].post("/gossip/event", &json!({ "name": "de ploy", "payload": payload }));
    assert_eq!(told.status, 202, "{}", told.message());
    let told = told.json();
    assert_eq!((&told["name"], &told["node_id"]), (&json!("de ploy"), &json!("node-1")));
    listeners.extend(cluster.nodes.iter().map(|node| Listener::new(node, "?name=de%20ploy")));
    for listener in &mut listeners {
        let heard = listener.next();
        for field in ["id", "name", "node_id", "time"] {
            assert_eq!(heard[field], told[field]);
        }
        assert_eq!(heard["payload"], payload);
    }
    // Each of them hears the next one next: none came twice.
    assert_eq!(cluster.nodes[2].post("/gossip/event", &json!({ "name": "de ploy", "payload": 2 })).status, 202);
    for listener in &mut listeners {
        assert_eq!(listener.next()["payload"], 2);
    }
}

#[test]
fn what_happens_to_members_and_the_layouts_are_told_by_the_nodes_themselves() {
    let mut cluster = Cluster::start(3, &[]);
    let mut layouts = Listener::new(&cluster.nodes[1], "?name=quorate.layout");
    while layouts.next()["payload"]["owners"] != 3 {}
    let mut members = Listener::new(&cluster.nodes[0], "?name=quorate.member");
    let mut joined: Vec<Value> = (0..3).map(|_| members.next()["payload"].clone()).collect();
    joined.sort_by_key(|payload| payload["node"].to_string());
    for (number, payload) in (1..).zip(joined) {
        let expected = (&json!(format!("node-{number}")), &json!("joined"));
        assert_eq!((&payload["node"], &payload["status"]), expected);
    }
    let happened = |node: &str, status: &str| (json!(node), json!(status));
    let mut next = || {
        let payload = members.next()["payload"].clone();
        (payload["node"].clone(), payload["status"].clone())
    };
    cluster.nodes[2].kill();
    assert_eq!(next(), happened("node-3", "dead"));
    let seeds = cluster.addresses();
    cluster.nodes[2].start(&seeds);
    assert_eq!(next(), happened("node-3", "alive"));
    cluster.wait_whole();
    assert_eq!(cluster.nodes[1].terminate().code(), Some(0));
    assert_eq!(next(), happened("node-2", "stopped"));
    cluster.nodes[1].start(&seeds);
    assert_eq!(next(), happened("node-2", "alive"));
    cluster.wait_whole();
    assert_eq!(cluster.nodes[2].post("/gossip/leave", &json!({})).status, 202);
    assert_eq!(next(), happened("node-3", "left"));
    assert_eq!(cluster.nodes[2].wait_end_within(PATIENCE).code(), Some(0));
}

#[test]
fn a_key_with_several_values_is_told_of_with_its_name() {
    let cluster = Cluster::start(3, &[]);
    let mut conflicts = Listener::new(&cluster.nodes[1], "?name=quorate.conflict");
    let key = "user%3A%22quoted%22";
    assert_eq!(cluster.nodes[0].write(key, &json!(0)).status, 200);
    let context = cluster.nodes[0].read(key).context();
    for (node, value) in cluster.nodes.iter().zip([1, 2]) {
        assert_eq!(node.put(key, &json!({ "value": value, "context": context })).status, 200);
    }
    let told = json!({ "key": "user:\"quoted\"", "siblings": 2, "more": 0 });
    assert_eq!(conflicts.next()["payload"], told);
}

#[test]
fn every_node_answers_and_who_does_not_is_named() {
    let mut cluster = Cluster::start(3, &["--tag", "disk=fast"]);
    let ask = |cluster: &Cluster, body: Value| {
        let answer = cluster.nodes[0].post("/gossip/query", &body);
        assert_eq!(answer.status, 200, "{}", answer.message());
        answer.json()
    };
    let said = ask(&cluster, json!({ "name": "quorate.health" }));
    assert_eq!(said["missing"], json!([]));
    for node in &cluster.nodes {
        let health = &said["answers"][&node.id]["payload"];
        assert_eq!(
            (&health["ready"], &health["alive"], &health["dead"]),
            (&json!(true), &json!(3), &json!(0)),
            "{said}"
        );
    }
    for to in [json!({ "tags": { "disk": "fast" } }), json!({}), json!({ "nodes": ["node-3", "node-1", "node-2"] })] {
        let said = ask(&cluster, json!({ "name": "anybody there", "payload": "?", "to": to }));
        let heard = json!({ "payload": null });
        assert_eq!(said["answers"], json!({ "node-1": heard, "node-2": heard, "node-3": heard }), "{to}");
    }
    let nobody = ask(&cluster, json!({ "name": "quorate.health", "to": { "tags": { "disk": "slow" } } }));
    assert_eq!((&nobody["answers"], &nobody["missing"]), (&json!({}), &json!([])));
    cluster.nodes[2].kill();
    let to = json!({ "nodes": ["node-2", "node-3", "node-9"] });
    let said = ask(&cluster, json!({ "name": "quorate.health", "timeout_ms": 1_000, "to": to }));
    let mut missing: Vec<&str> = said["missing"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    missing.sort_unstable();
    assert_eq!(missing, ["node-3", "node-9"]);
    assert!(said["answers"]["node-2"].is_object() && said["answers"].as_object().map(serde_json::Map::len) == Some(1));
}

#[test]
fn what_may_not_be_told_or_asked_is_refused_with_the_reason() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    let long = "x".repeat(9_000);
    for (path, body, reason) in [
        ("/gossip/event", json!({ "payload": 1 }), "name"),
        ("/gossip/event", json!({ "name": "" }), "an event name"),
        ("/gossip/event", json!({ "name": "a\nb" }), "control characters"),
        ("/gossip/event", json!({ "name": "quorate.member", "payload": 1 }), "the nodes' own"),
        ("/gossip/event", json!({ "name": "long", "payload": long }), "bytes of payload"),
        ("/gossip/event", json!([1]), "JSON expected"),
        ("/gossip/query", json!({ "name": "quorate.secrets" }), "the nodes' own"),
        ("/gossip/query", json!({ "name": "a", "timeout_ms": 0 }), "time-out of 0 ms"),
        ("/gossip/query", json!({ "name": "a", "timeout_ms": 60_001 }), "time-out of 60001 ms"),
        ("/gossip/query", json!({ "name": "a", "timeout_ms": -1 }), "JSON expected"),
        ("/gossip/query", json!({ "name": "a", "to": { "node": ["node-1"] } }), "unknown field"),
        ("/gossip/query", json!({ "name": "a", "to": { "tags": {}, "nodes": [] } }), "not both"),
        ("/gossip/query", json!({ "name": "a", "to": { "nodes": ["not a node"] } }), "a node id"),
        ("/gossip/query", json!({ "name": "a", "payload": long }), "bytes of payload"),
    ] {
        let answer = node.post(path, &body);
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_argument"), "{body}: {}", answer.message());
        assert!(answer.message().contains(reason), "{body}: {}", answer.message());
    }
    assert_eq!(node.request("POST", "/gossip/event", &[], b"{\"name\":").status, 400);
    assert_eq!(node.get(&format!("/gossip/events?name={}", "x".repeat(129))).status, 400);
    assert_eq!(node.request("POST", "/gossip/event", &[], &[b' '; 70_000]).status, 413);
    assert_eq!(node.get("/gossip/event").status, 405);
}
