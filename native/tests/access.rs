//! Who may do what: pages of browsers by where they come from, and everybody by what they can prove.

mod support;

use std::fs;

use serde_json::{Value, json};
use support::http::Response;
use support::{Cluster, Node, PATIENCE, eventually, quorate, run};

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

const READER: &str = "reader-token-0123456789";
const WRITER: &str = "writer-token-0123456789";
const ADMIN: &str = "admin-token-0123456789";

/// A node that asks for tokens, and the file that has them.
fn guarded(root: &tempfile::TempDir, flags: &[&str]) -> (Node, std::path::PathBuf) {
    let file = root.path().join("tokens");
    fs::write(&file, format!("read {READER}\nwrite {WRITER}\n# all\nadmin {ADMIN}\n")).expect("writes");
    let path = file.to_str().expect("text").to_owned();
    let mut node = Node::new(root.path(), "node", &[&["--tokens-file", path.as_str()][..], flags].concat());
    node.start(&[]);
    node.wait_ready();
    (node, file)
}

fn with_token(node: &Node, method: &str, path: &str, token: &str) -> Response {
    let value = format!("Bearer {token}");
    node.request(method, path, &[("Authorization", &value)], br#"{"key":"k","value":1}"#)
}

#[track_caller]
fn unauthenticated(answer: &Response) {
    assert_eq!((answer.status, answer.code().as_str()), (401, "unauthenticated"), "{answer:?}");
    assert_eq!(answer.json()["error"]["retryable"], false);
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
}

#[test]
fn a_token_lets_its_bearer_do_what_its_role_may_and_no_more() {
    let root = tempfile::tempdir().expect("a directory");
    let (node, _) = guarded(&root, &[]);
    for path in ["/health", "/ready", "/", "/playground"] {
        assert_eq!(node.get(path).status, 200, "{path}");
    }
    for (method, path, least) in [
        ("GET", "/api/v1/status", READER),
        ("GET", "/gossip/members", READER),
        ("GET", "/api/v1/cluster/health", READER),
        ("POST", "/kv/set", WRITER),
        ("DELETE", "/kv/delete?key=k", WRITER),
        ("GET", "/kv/stats", READER),
        ("POST", "/api/v1/layout/revert", ADMIN),
        ("POST", "/gossip/join", ADMIN),
        ("POST", "/gossip/leave", ADMIN),
    ] {
        unauthenticated(&node.request(method, path, &[], b"{}"));
        for wrong in ["", "x", "reader-token-012345678", "Reader-token-0123456789"] {
            unauthenticated(&with_token(&node, method, path, wrong));
        }
        let basic = [("Authorization", "Basic reader-token-0123456789")];
        unauthenticated(&node.request(method, path, &basic, b"{}"));
        let mut suffices = false;
        for token in [READER, WRITER, ADMIN] {
            suffices |= token == least;
            let answer = with_token(&node, method, path, token);
            assert!(answer.status != 401, "{answer:?}");
            assert_eq!(answer.status != 403, suffices, "{method} {path}: {answer:?}");
            if !suffices {
                forbidden(&answer, "role");
            }
        }
    }
    let page = format!("http://{}", node.address());
    let by_page = |token: &str| {
        let value = format!("Bearer {token}");
        let headers = [("Authorization", value.as_str()), ("Origin", &page)];
        node.request("POST", "/kv/set", &headers, br#"{"key":"k","value":1}"#).status
    };
    assert_eq!((by_page(WRITER), by_page(ADMIN)), (403, 200));
    let log = node.log();
    assert!([READER, WRITER, ADMIN].iter().all(|token| !log.contains(token)), "{log}");
}

#[test]
fn tokens_come_and_go_while_the_node_runs() {
    let root = tempfile::tempdir().expect("a directory");
    let (node, file) = guarded(&root, &[]);
    let status = |token: &str| with_token(&node, "GET", "/api/v1/status", token).status;
    let other = "another-token-0123456789";
    assert_eq!((status(READER), status(other)), (200, 401));
    fs::write(&file, format!("read {other}")).expect("writes");
    eventually("the new token counts", PATIENCE, || (status(other) == 200).then_some(()));
    assert_eq!(status(READER), 401);
    // A file that cannot be used locks nobody out, and lets nobody in.
    fs::write(&file, "read").expect("writes");
    eventually("it is said", PATIENCE, || node.log().contains("the tokens of before stay").then_some(()));
    assert_eq!((status(READER), status(other)), (401, 200));
}

#[test]
fn the_command_line_sends_a_token_and_members_ask_each_other_with_it() {
    let root = tempfile::tempdir().expect("a directory");
    let (node, file) = guarded(&root, &[]);
    let mut second = Node::new(root.path(), "second", &["--tokens-file", file.to_str().expect("text")]);
    second.start(&[node.address()]);
    second.wait_ready();
    let command = |arguments: &[&str], token: Option<&str>| {
        let output = run(quorate(arguments)
            .args(["--endpoint", &node.address()])
            .envs(token.map(|token| ("QUORATE_TOKEN", token))));
        let text = if output.status.success() { output.stdout } else { output.stderr };
        (output.status.success(), String::from_utf8(text).expect("text"))
    };
    assert!(command(&["put", "key", "1"], Some(WRITER)).0);
    assert_eq!(command(&["get", "key"], Some(READER)), (true, "1\n".into()));
    assert_eq!(command(&["get", "key", "--token", READER], None), (true, "1\n".into()));
    let (done, message) = command(&["get", "key"], None);
    assert!(!done && message.contains("(unauthenticated)") && message.contains("QUORATE_TOKEN"), "{message}");
    let (done, message) = command(&["put", "key", "2"], Some(READER));
    assert!(!done && message.contains("(forbidden)") && message.contains("write"), "{message}");
    for (token, part) in [(WRITER, "(forbidden)"), (ADMIN, "ask one that is left")] {
        let (done, message) = command(&["layout", "force", "node", "--yes"], Some(token));
        assert!(!done && message.contains(part), "{message}");
    }
    let health: Value = eventually("both members answer", PATIENCE, || {
        let health = with_token(&node, "GET", "/api/v1/cluster/health", READER).json();
        (health["members"] == 2).then_some(health)
    });
    assert_eq!(health["answered"], 2, "{health}");
}
