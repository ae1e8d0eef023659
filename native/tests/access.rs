//! Who may do what: pages of browsers by where they come from, and everybody by what they can prove.

mod support;

use serde_json::json;
use support::http::Response;
use support::{Cluster, Node};

/// A node that runs alone.
fn alone(flags: &[&str]) -> Cluster {
    Cluster::start(1, flags)
}

fn with_origin(node: &Node, method: &str, path: &str, origin: &str) -> Response {
    let headers = [("Origin", origin), ("Content-Type", "application/json")];
    node.request(method, path, &headers, br#"{"key":"k","value":1}"#)
}

#[track_caller]
fn forbidden(answer: &Response, hint: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"), "{answer:?}");
    assert!(answer.message().contains(hint), "{answer:?}");
}

#[test]
fn a_name_that_somebody_else_has_pointed_here_is_refused() {
    let cluster = alone(&["--allow-origin", "http://db.example.org:8080"]);
    let node = &cluster.nodes[0];
    let named = |host: &str| node.request("GET", "/api/v1/status", &[("Host", host)], b"");
    for host in ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "db.example.org.evil.example"] {
        forbidden(&named(host), "--allow-origin");
        let headers = [("Host", host), ("Content-Type", "text/plain")];
        forbidden(&node.request("PUT", "/api/v1/data/key", &headers, b"harm"), "IP address");
    }
    for host in [&*node.address(), "localhost", "[::1]:1", "node", "db.example.org"] {
        assert_eq!(named(host).status, 200, "{host}");
    }
    // Probes come by whatever name there is, and are told nothing.
    assert_eq!(node.request("GET", "/health", &[("Host", "evil.example")], b"").status, 200);
    assert_eq!(node.read("key").status, 404);
}

#[test]
fn pages_of_members_read_from_every_member_and_write_only_where_that_was_said() {
    let mut cluster = Cluster::start(2, &[]);
    let (port, other) = (cluster.nodes[0].port, cluster.nodes[1].address());
    let mut open = cluster.node("node-3", &["--dashboard-write", "--allow-origin", "https://shop.example.org"]);
    open.start(&cluster.addresses());
    cluster.nodes.push(open);
    cluster.wait_whole();
    let (shut, open) = (&cluster.nodes[0], &cluster.nodes[2]);
    for origin in [format!("http://{other}"), format!("http://localhost:{port}"), format!("http://127.0.0.1:{port}")] {
        let read = with_origin(shut, "GET", "/gossip/members", &origin);
        assert_eq!((read.status, read.header("access-control-allow-origin")), (200, Some(&*origin)));
        // The page is told what was wrong.
        let refused = with_origin(shut, "POST", "/kv/set", &origin);
        forbidden(&refused, "--dashboard-write");
        assert_eq!(refused.header("access-control-allow-origin"), Some(&*origin));
        assert_eq!(with_origin(shut, "POST", "/api/v1/layout/revert", &origin).status, 403);
        assert_eq!(with_origin(open, "POST", "/kv/set", &origin).status, 200);
    }
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1", "https://shop.example.org.evil.example"] {
        for node in [shut, open] {
            for (method, path) in [("GET", "/gossip/members"), ("POST", "/kv/set"), ("GET", "/api/v1/data/k")] {
                let answer = with_origin(node, method, path, origin);
                forbidden(&answer, "--allow-origin");
                assert_eq!(answer.header("access-control-allow-origin"), None, "it is not even told why");
            }
        }
    }
    forbidden(&with_origin(shut, "GET", "/gossip/members", "https://shop.example.org"), "--allow-origin");
    assert_eq!(with_origin(open, "POST", "/kv/set", "https://shop.example.org").status, 200);
    assert_eq!(shut.read("k").json()["value"], json!(1));
}

#[test]
fn a_browser_is_told_beforehand_whether_a_page_may_ask() {
    let cluster = alone(&["--allow-origin", "https://shop.example.org"]);
    let node = &cluster.nodes[0];
    let ask = |origin: &str| {
        let headers = [("Origin", origin), ("Access-Control-Request-Method", "PUT")];
        node.request("OPTIONS", "/api/v1/data/key", &headers, b"")
    };
    let yes = ask("https://shop.example.org");
    assert_eq!((yes.status, yes.header("access-control-allow-origin")), (204, Some("https://shop.example.org")));
    assert!(yes.header("access-control-allow-methods").is_some_and(|methods| methods.contains("PUT")));
    assert!(yes.header("access-control-allow-headers").is_some_and(|headers| headers.contains("x-quorate-context")));
    let no = ask("https://evil.example");
    assert_eq!((no.status, no.header("access-control-allow-origin")), (403, None));
    assert_eq!(node.request("OPTIONS", "/api/v1/data/key", &[], b"").status, 405);
}
