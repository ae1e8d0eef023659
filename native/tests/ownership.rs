//! Operators change who owns what: nodes come, leave, are removed and replaced, and no key is lost on the way.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};
use support::http::{Response, send};
use support::{Cluster, Node, PATIENCE, eventually};

/// Enough to have some in most slices.
const KEYS: usize = 120;

/// Writes every key through the nodes in turn.
fn fill(nodes: &[Node]) {
    for number in 0..KEYS {
        let answer = nodes[number % nodes.len()].write(&format!("key-{number}"), &json!(number));
        assert_eq!(answer.status, 200, "{}", answer.message());
    }
}

/// Every key is there, at every owner of it, whoever is asked.
#[track_caller]
fn check(nodes: &[&Node]) {
    for number in 0..KEYS {
        let node = nodes[number % nodes.len()];
        let answer = node.get(&format!("/api/v1/data/key-{number}?r=all"));
        assert_eq!((answer.status, &answer.json()["value"]), (200, &json!(number)), "key-{number} at {}", node.id);
    }
}

fn layout(node: &Node) -> Value {
    node.get("/api/v1/layout").json()
}

fn owners(layout: &Value) -> Vec<&str> {
    layout["owners"].as_array().into_iter().flatten().filter_map(|owner| owner["node_id"].as_str()).collect()
}

/// Waits until a node knows these owners, each with all that it owns, and no change under way.
#[track_caller]
fn wait_settled(node: &Node, expected: &[&str]) -> Value {
    eventually(&format!("{} sees {expected:?} own everything", node.id), PATIENCE, || {
        let seen = layout(node);
        let synced = seen["progress"]["synced"].as_object()?.values().all(|slices| *slices == 64);
        let passed = seen["progress"]["passed"] == 64 && seen["active_versions"] == json!([seen["version"]]);
        (owners(&seen) == expected && synced && passed).then_some(seen)
    })
}

#[track_caller]
fn refused(answer: &Response, status: u16, code: &str) -> String {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer:?}");
    answer.message()
}

#[test]
fn a_fourth_node_takes_its_part_and_one_that_leaves_hands_its_own_over() {
    let mut cluster = Cluster::start(3, &[]);
    fill(&cluster.nodes);
    cluster.grow();
    for node in &cluster.nodes {
        wait_settled(node, &["node-1", "node-2", "node-3", "node-4"]);
    }
    check(&cluster.nodes.iter().collect::<Vec<_>>());
    assert!(cluster.nodes[3].get("/status").json()["storage"]["keys"].as_u64() > Some(0));

    assert_eq!(cluster.nodes[1].get("/status").json()["leaving"], false);
    let answer = cluster.nodes[1].post("/gossip/leave", &json!({}));
    assert_eq!(answer.status, 202, "{}", answer.message());
    assert_eq!(answer.json()["leaving"], true);
    let status = cluster.nodes[1].wait_end_within(PATIENCE);
    assert_eq!(status.code(), Some(0), "{}", cluster.nodes[1].log());
    let rest = [&cluster.nodes[0], &cluster.nodes[2], &cluster.nodes[3]];
    for node in rest {
        wait_settled(node, &["node-1", "node-3", "node-4"]);
        node.wait_belief("node-2", "left", PATIENCE);
    }
    check(&rest);
}

#[test]
fn a_killed_node_is_removed_and_every_key_is_readable() {
    let mut cluster = Cluster::start(3, &[]);
    fill(&cluster.nodes);
    cluster.nodes[1].kill();
    let [one, _, three] = &cluster.nodes[..] else { unreachable!("three were started") };
    let answer = one.post("/api/v1/cluster/members", &json!({ "action": "remove", "node_id": "node-2" }));
    assert_eq!(answer.status, 200, "{}", answer.message());
    wait_settled(one, &["node-1", "node-3"]);
    wait_settled(three, &["node-1", "node-3"]);
    check(&[one, three]);
    refused(
        &one.post("/api/v1/cluster/members", &json!({ "action": "remove", "node_id": "node-2" })),
        404,
        "not_found",
    );
}

#[test]
fn a_killed_node_is_replaced_by_a_new_one_that_owns_what_it_owned() {
    let mut cluster = Cluster::start(3, &[]);
    fill(&cluster.nodes);
    cluster.nodes[1].kill();
    let seeds = vec![cluster.nodes[0].address()];
    let stranger = json!({ "action": "replace", "node_id": "node-2", "new_node_id": "node-9" });
    let message = refused(&cluster.nodes[0].post("/api/v1/cluster/members", &stranger), 404, "not_found");
    assert!(message.contains("node-9 is no member"), "{message}");
    let mut node = cluster.node("node-4", &[]);
    node.start(&seeds);
    cluster.nodes[0].wait_belief("node-4", "alive", PATIENCE);
    let body = json!({ "action": "replace", "node_id": "node-2", "address": node.address() });
    let answer = cluster.nodes[0].post("/api/v1/cluster/members", &body);
    assert_eq!((answer.status, &answer.json()["new_node_id"]), (200, &json!("node-4")), "{}", answer.message());
    for node in [&cluster.nodes[0], &cluster.nodes[2], &node] {
        let seen = wait_settled(node, &["node-1", "node-3", "node-4"]);
        assert_eq!(seen["owners"][2]["place"], "node-2");
    }
    node.wait_ready();
    check(&[&cluster.nodes[0], &cluster.nodes[2], &node]);
}

#[test]
fn a_node_dead_for_too_long_is_evicted_and_comes_back_as_a_new_one() {
    let mut cluster = Cluster::start(4, &["--evict-after", "0s"]);
    fill(&cluster.nodes);
    wait_settled(&cluster.nodes[0], &["node-1", "node-2", "node-3", "node-4"]);
    cluster.nodes[2].kill();
    wait_settled(&cluster.nodes[0], &["node-1", "node-2", "node-4"]);
    check(&[&cluster.nodes[0], &cluster.nodes[1], &cluster.nodes[3]]);
    let seeds = cluster.addresses();
    cluster.nodes[2].start(&seeds);
    cluster.wait_whole();
    wait_settled(&cluster.nodes[2], &["node-1", "node-2", "node-3", "node-4"]);
    check(&cluster.nodes.iter().collect::<Vec<_>>());
}

/// Writes numbers under keys of its own until it is told to stop, and gives back those that were acknowledged.
fn write_on(port: u16, name: &'static str, stop: Arc<AtomicBool>) -> JoinHandle<Vec<String>> {
    thread::spawn(move || {
        let mut acknowledged = Vec::new();
        for number in 0_u64.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let key = format!("{name}-{number}");
            let (path, body) = (format!("/api/v1/data/{key}"), json!({ "value": key }).to_string());
            let headers = [("Content-Type", "application/json")];
            match send(port, "PUT", &path, &headers, body.as_bytes()) {
                Ok(answer) if answer.status == 200 => acknowledged.push(key),
                // Refused, to be tried again: nothing was promised.
                answer => assert!(answer.is_ok_and(|answer| answer.json()["error"]["retryable"] == true), "{key}"),
            }
        }
        acknowledged
    })
}

#[test]
fn writes_go_on_while_nodes_come_go_and_are_replaced() {
    let mut cluster = Cluster::start(3, &[]);
    let stop = Arc::new(AtomicBool::new(false));
    let writers =
        [(0, "left"), (2, "right")].map(|(index, name)| write_on(cluster.nodes[index].port, name, stop.clone()));
    cluster.grow();
    wait_settled(&cluster.nodes[0], &["node-1", "node-2", "node-3", "node-4"]);
    assert_eq!(cluster.nodes[1].post("/gossip/leave", &json!({})).status, 202);
    assert_eq!(cluster.nodes[1].wait_end_within(PATIENCE).code(), Some(0));
    wait_settled(&cluster.nodes[0], &["node-1", "node-3", "node-4"]);
    cluster.grow();
    wait_settled(&cluster.nodes[0], &["node-1", "node-3", "node-4", "node-5"]);
    cluster.nodes[3].kill();
    let body = json!({ "action": "replace", "node_id": "node-4", "new_node_id": "node-5" });
    let answer = cluster.nodes[0].post("/api/v1/cluster/members", &body);
    assert_eq!(answer.status, 200, "{}", answer.message());
    wait_settled(&cluster.nodes[0], &["node-1", "node-3", "node-5"]);
    stop.store(true, Ordering::Relaxed);
    let written: Vec<String> = writers.into_iter().flat_map(|writer| writer.join().expect("it ends")).collect();
    assert!(written.len() > 50, "{} writes were acknowledged", written.len());
    let rest = [&cluster.nodes[0], &cluster.nodes[2], &cluster.nodes[4]];
    for (index, key) in written.iter().enumerate() {
        let answer = rest[index % 3].read(key);
        assert_eq!((answer.status, &answer.json()["value"]), (200, &json!(key)), "of {}", written.len());
    }
}

#[test]
fn a_plan_moves_nothing_and_only_the_planned_version_is_changed() {
    let cluster = Cluster::start(2, &[]);
    let [one, two] = &cluster.nodes[..] else { unreachable!("two were started") };
    let before = wait_settled(one, &["node-1", "node-2"]);
    wait_settled(two, &["node-1", "node-2"]);
    let mut change = json!({ "weight": { "node-2": 3 }, "zone": { "node-1": "a" } });
    let plan = one.post("/api/v1/layout/plan", &change);
    assert_eq!(plan.status, 200, "{}", plan.message());
    let plan = plan.json();
    assert_eq!((&plan["base"], plan["nodes"].as_array().map(Vec::len)), (&before["version"], Some(2)));
    assert_eq!(plan["version"].as_u64(), before["version"].as_u64().map(|version| version + 1));
    assert_eq!(layout(one), before);

    change["base"] = plan["base"].clone();
    let applied = two.post("/api/v1/layout/apply", &change);
    assert_eq!((applied.status, &applied.json()["version"]), (200, &plan["version"]), "{}", applied.message());
    // Both have agreed to it, and node-2 knows that; node-1 is told.
    eventually("node-1 has heard of it", PATIENCE, || (layout(one)["version"] == plan["version"]).then_some(()));
    let after = wait_settled(one, &["node-1", "node-2"]);
    assert_eq!((&after["owners"][1]["weight"], &after["owners"][0]["zone"]), (&json!(3), &json!("a")));

    let stale = json!({ "base": plan["base"], "remove": ["node-2"] });
    for route in ["plan", "apply"] {
        let message = refused(&one.post(&format!("/api/v1/layout/{route}"), &stale), 409, "conflict");
        assert!(message.contains("plan again"), "{message}");
    }
    refused(&one.post("/api/v1/layout/revert", &json!({})), 409, "conflict");
    let again = json!({ "base": after["version"], "weight": { "node-2": 3 } });
    refused(&one.post("/api/v1/layout/apply", &again), 409, "conflict");
    assert_eq!(layout(one), after);
}

#[test]
fn the_last_node_stays_and_what_cannot_be_done_is_refused() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    let version = &layout(node)["version"];
    for (path, body) in [
        ("/gossip/leave", json!({})),
        ("/api/v1/cluster/members", json!({ "action": "remove", "node_id": "node-1" })),
        ("/api/v1/layout/plan", json!({ "remove": ["node-1"] })),
        ("/api/v1/layout/apply", json!({ "base": version, "remove": ["node-1"] })),
    ] {
        let message = refused(&node.post(path, &body), 409, "conflict");
        assert!(message.contains("last owner"), "{path}: {message}");
    }
    for (path, body, part) in [
        ("/api/v1/layout/plan", json!({}), "no change"),
        ("/api/v1/layout/plan", json!(7), "JSON"),
        ("/api/v1/layout/plan", json!({ "removes": ["node-1"] }), "unknown field"),
        ("/api/v1/layout/plan", json!({ "remove": ["a b"] }), "A-Z"),
        ("/api/v1/layout/plan", json!({ "weight": { "node-1": 0 } }), "1 to 100"),
        ("/api/v1/layout/plan", json!({ "weight": { "node-1": 101 } }), "1 to 100"),
        ("/api/v1/layout/apply", json!({ "weight": { "node-1": 2 } }), "\"base\""),
        ("/api/v1/layout/force", json!({}), "lost"),
        ("/api/v1/layout/force", json!({ "lost": [] }), "lost"),
        ("/api/v1/layout/force", json!({ "lost": ["node-1"] }), "node-1"),
        ("/api/v1/cluster/members", json!({ "action": "destroy" }), "add"),
        ("/api/v1/cluster/members", json!({ "action": "add" }), "\"address\""),
        ("/api/v1/cluster/members", json!({ "action": "add", "address": "x" }), "host:port"),
        ("/api/v1/cluster/members", json!({ "action": "remove" }), "\"node_id\""),
        ("/api/v1/cluster/members", json!({ "action": "replace", "node_id": "node-1" }), "new_node_id"),
    ] {
        let message = refused(&node.post(path, &body), 400, "invalid_argument");
        assert!(message.contains(part), "{path} {body}: {message}");
    }
    for body in [json!({ "remove": ["node-2"] }), json!({ "zone": { "node-2": "a" } })] {
        refused(&node.post("/api/v1/layout/plan", &body), 404, "not_found");
    }
    assert_eq!(&layout(node)["version"], version);
    assert_eq!(node.write("still", &json!("works")).status, 200);
}

#[test]
fn a_lost_majority_is_overruled_only_by_whoever_says_that_he_knows_what_it_risks() {
    let mut cluster = Cluster::start(3, &[]);
    fill(&cluster.nodes);
    wait_settled(&cluster.nodes[0], &["node-1", "node-2", "node-3"]);
    cluster.nodes[1].kill();
    cluster.nodes[2].kill();
    let one = &cluster.nodes[0];
    let mut body = json!({ "lost": ["node-2", "node-3"] });
    let answer = one.post("/api/v1/layout/force", &body);
    let message = refused(&answer, 400, "invalid_argument");
    assert!(message.contains("i_know_what_is_lost") && message.contains("100%"), "{message}");
    assert_eq!(answer.json()["error"]["risk"]["no_copy_left_percent"], 0.0);
    assert_eq!(answer.json()["error"]["risk"]["last_writes_at_risk_percent"], 100.0);
    body["i_know_what_is_lost"] = json!(true);
    let forced = one.post("/api/v1/layout/force", &body);
    assert_eq!((forced.status, &forced.json()["epoch"]), (200, &json!(1)), "{}", forced.message());
    wait_settled(one, &["node-1"]);
    check(&[one]);
}

#[test]
fn the_views_of_all_members_are_gathered() {
    let mut cluster = Cluster::start(3, &[]);
    let healthy = eventually("all agree", PATIENCE, || {
        let answer = cluster.nodes[0].get("/api/v1/cluster/health").json();
        (answer["status"] == "ok").then_some(answer)
    });
    assert_eq!((&healthy["members"], &healthy["answered"]), (&json!(3), &json!(3)));
    assert_eq!(healthy["disagreements"], json!([]));
    for node in &cluster.nodes {
        let view = &healthy["nodes"][&node.id];
        assert_eq!((&view["status"], &view["ready"]), (&json!("alive"), &json!(true)), "{healthy}");
        assert_eq!(view["lag"], json!({ "hints_for_it": 0, "layout_versions": 0 }));
    }
    cluster.nodes[2].kill();
    let sick = cluster.nodes[0].get("/api/v1/cluster/health").json();
    assert_eq!((&sick["status"], &sick["answered"]), (&json!("degraded"), &json!(2)), "{sick}");
    assert!(sick["nodes"]["node-3"]["error"].is_string(), "{sick}");
    let members = cluster.nodes[0].get("/api/v1/cluster/members").json();
    assert_eq!(members["members"].as_array().map(Vec::len), Some(3));
    assert_eq!((&members["members"][2]["node_id"], &members["members"][2]["owner"]), (&json!("node-3"), &json!(true)));
}

#[test]
fn a_node_finds_the_others_by_a_name_in_the_dns() {
    let cluster = Cluster::start(1, &[]);
    let founder = &cluster.nodes[0];
    let port = founder.port;
    let mut joiner = cluster.node("joiner", &["--discovery-service", &format!("dns://localhost:{port}")]);
    joiner.start(&[]);
    joiner.wait_ready();
    founder.wait_belief("joiner", "alive", PATIENCE);

    let mut alone = cluster.node("alone", &[]);
    alone.set_flags(&["--discovery-service", &format!("dns://{}", alone.address())]);
    alone.start(&[]);
    alone.wait_ready();
    assert_eq!(alone.write("key", &json!("it has founded a cluster of its own")).status, 200);
}
