//! What a new user tries with three nodes: it must simply work.

mod support;

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Cluster, Node, PATIENCE, eventually};

/// The values a reader is shown, in no particular order.
fn values(node: &Node, key: &str) -> Vec<Value> {
    let answer = node.read(key);
    assert_eq!(answer.status, 200, "{}", answer.message());
    let body = answer.json();
    let mut values = match body["siblings"].as_array() {
        Some(siblings) => siblings.iter().map(|sibling| sibling["value"].clone()).collect(),
        None => vec![body["value"].clone()],
    };
    values.sort_by_key(ToString::to_string);
    values
}

fn conflicts(node: &Node) -> Vec<Value> {
    node.get("/api/v1/vector-clock").json()["conflicts"].as_array().expect("a list").clone()
}

#[test]
fn what_one_node_is_told_the_others_tell() {
    let cluster = Cluster::start(3, &[]);
    let answer = cluster.nodes[0].write("user:123", &json!("John Doe"));
    assert_eq!(answer.status, 200);
    let body = answer.json();
    assert_eq!(body["key"], "user:123");
    assert_eq!(body["value"], "John Doe");
    assert_eq!(body["replication_result"]["quorum_achieved"], true);
    assert_eq!(body["replication_nodes"].as_array().map(Vec::len), Some(3));
    assert!(body["event_count"].as_u64() >= Some(1) && body["layout_version"].as_u64() >= Some(1));
    assert_eq!(answer.header("x-quorate-context"), body["context"].as_str());
    for node in &cluster.nodes {
        assert_eq!(values(node, "user:123"), [json!("John Doe")]);
    }
}

#[test]
fn the_ring_has_150_virtual_nodes_for_each_node_and_names_the_replicas_of_a_key() {
    for count in [2, 3] {
        let cluster = Cluster::start(count, &[]);
        let rings: Vec<Value> = cluster.nodes.iter().map(|node| node.get("/api/v1/ring?key=user:123").json()).collect();
        let ring = &rings[0];
        assert_eq!(ring["virtual_nodes"], 150 * count);
        assert_eq!(ring["tokens"].as_array().map(Vec::len), Some(150 * count));
        assert_eq!(ring["replicas"].as_array().map(Vec::len), Some(count));
        assert_eq!(ring["key"], "user:123");
        for (node, listed) in cluster.nodes.iter().zip(ring["nodes"].as_array().expect("a list")) {
            assert_eq!(listed["node_id"], json!(node.id));
            assert_eq!(listed["address"], json!(node.address()));
            assert_eq!(listed["tokens"], 150);
        }
        assert!(rings.iter().all(|other| other["replicas"] == ring["replicas"] && other["tokens"] == ring["tokens"]));
    }
}

#[test]
fn writes_one_after_the_other_through_different_nodes_make_no_conflict() {
    let cluster = Cluster::start(3, &[]);
    for round in 0..10 {
        for node in &cluster.nodes {
            let value = json!(format!("{} in round {round}", node.id));
            assert_eq!(node.write("key", &value).status, 200);
            assert_eq!(values(&cluster.nodes[round % 3], "key"), [value]);
        }
    }
    assert!(cluster.nodes.iter().all(|node| conflicts(node).is_empty()));
}

#[test]
fn two_writes_with_one_context_make_one_conflict_and_a_write_with_theirs_resolves_it() {
    let cluster = Cluster::start(3, &[]);
    let [one, two, three] = &cluster.nodes[..] else { unreachable!("three were started") };
    assert_eq!(one.write("key", &json!("base")).status, 200);
    let context = one.read("key").context();
    for (node, value) in [(one, "left"), (two, "right")] {
        assert_eq!(node.put("key", &json!({ "value": value, "context": context })).status, 200);
    }
    for node in &cluster.nodes {
        assert_eq!(values(node, "key"), [json!("left"), json!("right")]);
        assert_eq!(conflicts(node).len(), 1);
        assert_eq!(conflicts(node)[0]["siblings"], 2);
    }
    let raw = three.request("GET", "/api/v1/data/key", &[("Accept", "application/octet-stream")], b"");
    assert_eq!((raw.status, raw.code().as_str()), (409, "siblings"));
    assert_eq!(raw.json()["error"]["siblings"].as_array().map(Vec::len), Some(2));
    let both = three.read("key").context();
    assert_eq!(three.put("key", &json!({ "value": "both", "context": both })).status, 200);
    for node in &cluster.nodes {
        assert_eq!(values(node, "key"), [json!("both")]);
        assert!(conflicts(node).is_empty());
    }
}

#[test]
fn a_killed_node_is_listed_dead_the_others_go_on_and_it_comes_back_with_its_data() {
    let mut cluster = Cluster::start(3, &[]);
    for number in 0..20 {
        assert_eq!(cluster.nodes[1].write(&format!("before-{number}"), &json!(number)).status, 200);
    }
    let kept = |node: &Node| node.get("/status").json()["storage"]["keys"].as_u64();
    eventually("node-2 has every key", PATIENCE, || (kept(&cluster.nodes[1]) == Some(20)).then_some(()));
    cluster.nodes[1].kill();
    let [one, _, three] = &cluster.nodes[..] else { unreachable!("three were started") };
    let killed_at = Instant::now();
    for number in 0..20 {
        assert_eq!(one.write(&format!("during-{number}"), &json!(number)).status, 200);
        assert_eq!(values(three, &format!("before-{number}")), [json!(number)]);
    }
    for node in [one, three] {
        node.wait_belief("node-2", "dead", Duration::from_secs(8).saturating_sub(killed_at.elapsed()));
        assert_eq!(node.belief("node-2"), ("dead".into(), false));
    }
    assert!(one.log().contains("node-2 dead: "), "one line for the transition");
    for number in 0..20 {
        assert_eq!(values(one, &format!("during-{number}")), [json!(number)]);
    }
    let seed = vec![three.address()];
    let restarted_at = Instant::now();
    cluster.nodes[1].start(&seed);
    for node in [&cluster.nodes[0], &cluster.nodes[2]] {
        node.wait_belief("node-2", "alive", Duration::from_secs(3).saturating_sub(restarted_at.elapsed()));
    }
    cluster.nodes[1].wait_ready();
    assert!(kept(&cluster.nodes[1]) >= Some(20));
    for number in 0..20 {
        assert_eq!(values(&cluster.nodes[1], &format!("during-{number}")), [json!(number)]);
    }
}

#[test]
fn a_stopped_node_is_listed_dead_and_stopped_at_once() {
    let mut cluster = Cluster::start(3, &[]);
    let stopped_at = Instant::now();
    let status = cluster.nodes[2].terminate();
    assert_eq!(status.code(), Some(0));
    assert!(stopped_at.elapsed() < Duration::from_secs(10));
    for node in &cluster.nodes[..2] {
        eventually(&format!("{} has heard the goodbye", node.id), Duration::from_secs(1), || {
            (node.belief("node-3") == ("dead".into(), true)).then_some(())
        });
    }
    assert_eq!(cluster.nodes[0].write("key", &json!(1)).status, 200);
}

#[test]
fn everything_acknowledged_is_there_after_all_nodes_were_killed() {
    let mut cluster = Cluster::start(3, &[]);
    let mut written: Vec<(String, Value)> = Vec::new();
    for round in 0..3 {
        for (index, node) in cluster.nodes.iter().enumerate() {
            let (key, value) = (format!("key-{round}-{index}"), json!({ "round": round, "node": node.id }));
            assert_eq!(node.write(&key, &value).status, 200);
            written.push((key, value));
        }
        cluster.nodes.iter_mut().for_each(Node::kill);
        match round {
            0 => cluster.restart_all(),
            _ => {
                // One after the other, and in another order each time.
                let seeds = cluster.addresses();
                for step in 0..3 {
                    cluster.nodes[(round * 2 + step * 2) % 3].start(&seeds);
                }
                cluster.wait_whole();
            }
        }
        for (key, value) in &written {
            for node in &cluster.nodes {
                assert_eq!(values(node, key), std::slice::from_ref(value), "{key} at {}", node.id);
            }
        }
    }
}

#[test]
fn writes_under_way_at_a_kill_are_there_if_they_were_acknowledged() {
    let mut cluster = Cluster::start(3, &[]);
    let ports: Vec<u16> = cluster.nodes.iter().map(|node| node.port).collect();
    let writers: Vec<_> = ports
        .into_iter()
        .enumerate()
        .map(|(writer, port)| {
            thread::spawn(move || {
                let mut acknowledged = Vec::new();
                for number in 0_u64.. {
                    let (path, body) = (format!("/api/v1/data/w{writer}-{number}"), format!("{{\"value\":{number}}}"));
                    let headers = [("Content-Type", "application/json")];
                    match support::http::send(port, "PUT", &path, &headers, body.as_bytes()) {
                        Ok(answer) if answer.status == 200 => {
                            acknowledged.push((format!("w{writer}-{number}"), number));
                        }
                        // Refused, or its node is gone: nothing was promised.
                        Ok(_) => {}
                        Err(_) => return acknowledged,
                    }
                }
                unreachable!("the node is killed before the numbers end")
            })
        })
        .collect();
    for node in &cluster.nodes {
        eventually("every node works", PATIENCE, || {
            (node.get("/status").json()["storage"]["keys"].as_u64() > Some(60)).then_some(())
        });
    }
    cluster.nodes.iter_mut().for_each(Node::kill);
    let acknowledged: Vec<(String, u64)> =
        writers.into_iter().flat_map(|writer| writer.join().expect("it ends")).collect();
    assert!(acknowledged.len() > 30, "{} writes were acknowledged", acknowledged.len());
    cluster.restart_all();
    for (index, (key, number)) in acknowledged.iter().enumerate() {
        assert_eq!(values(&cluster.nodes[index % 3], key), [json!(number)], "{key}");
    }
}

#[test]
fn one_node_alone_serves_and_founds_only_without_seeds() {
    let root = tempfile::tempdir().expect("a directory");
    let mut alone = Node::new(root.path(), "alone", &[]);
    alone.start(&[]);
    alone.wait_ready();
    assert_eq!(alone.write("key", &json!([1, 2])).status, 200);
    assert_eq!(values(&alone, "key"), [json!([1, 2])]);

    let mut waiting = Node::new(root.path(), "waiting", &[]);
    let nobody = Node::new(root.path(), "nobody", &[]);
    waiting.start(&[nobody.address()]);
    let answer = eventually("it answers", support::START_TIMEOUT, || {
        support::http::send(waiting.port, "GET", "/ready", &[], b"").ok()
    });
    assert_eq!((answer.status, answer.code().as_str()), (503, "not_ready"));
    assert!(answer.message().contains(&nobody.address()), "{}", answer.message());
    let refused = waiting.write("key", &json!(1));
    assert_eq!((refused.status, refused.code().as_str()), (503, "not_ready"));
    assert_eq!(waiting.get("/health").status, 200);
}

#[test]
fn a_node_without_data_is_introduced_to_the_cluster_of_another() {
    let root = tempfile::tempdir().expect("a directory");
    let (mut one, mut two) = (Node::new(root.path(), "node-1", &[]), Node::new(root.path(), "node-2", &[]));
    one.start(&[]);
    two.start(&[]);
    one.wait_ready();
    two.wait_ready();
    assert_eq!(one.write("key", &json!("mine")).status, 200);
    let answer = one.post("/gossip/join", &json!({ "node_id": "node-2", "address": two.address() }));
    assert_eq!(answer.status, 200, "{}", answer.message());
    two.wait_belief("node-1", "alive", PATIENCE);
    eventually("node-2 serves what node-1 was told", PATIENCE, || {
        let answer = two.read("key");
        (answer.status == 200 && answer.json()["value"] == "mine").then_some(())
    });
    let cluster_id = |node: &Node| node.get("/status").json()["cluster"]["id"].clone();
    assert_eq!(cluster_id(&one), cluster_id(&two));
}

#[test]
fn the_number_of_threads_may_change_and_the_log_of_operations_stays() {
    let root = tempfile::tempdir().expect("a directory");
    let mut written = 0;
    for shards in ["1", "7", "64", "2"] {
        let mut node = Node::new(root.path(), "node", &["--shards", shards]);
        node.start(&[]);
        node.wait_ready();
        for number in 0..written {
            assert_eq!(values(&node, &format!("key-{number}")), [json!(number)]);
        }
        for number in written..written + 20 {
            assert_eq!(node.write(&format!("key-{number}"), &json!(number)).status, 200);
        }
        written += 20;
        assert_eq!(node.terminate().code(), Some(0));
    }
    let mut node = Node::new(root.path(), "node", &[]);
    node.start(&[]);
    node.wait_ready();
    let puts = |path: &str| -> Vec<Value> {
        let events = node.get(path).json()["event_log"]["events"].as_array().expect("a list").clone();
        events.into_iter().filter(|event| event["type"] == "put").collect()
    };
    let all = puts("/api/v1/vector-clock");
    assert_eq!(all.len(), 80);
    assert_eq!(all[79]["key"], "key-79");
    assert_eq!(all[79]["value"], 79);
    let after = puts(&format!("/api/v1/vector-clock?since={}", all[77]["id"]));
    assert_eq!(after, all[78..]);
}
