//! The HTTP interface of one node: what it answers, and what it refuses. Whatever comes, the node does not mind.

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use support::http::{Response, send_bytes};
use support::{Node, eventually};
use tempfile::TempDir;

/// One node that serves, and still does when the test is over.
struct Alone {
    node: Node,
    _root: TempDir,
}

impl Alone {
    fn start(flags: &[&str]) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let mut node = Node::new(root.path(), "node", flags);
        node.start(&[]);
        node.wait_ready();
        Self { node, _root: root }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.node.is_running(), "{}", self.node.log());
            assert_eq!(self.node.get("/health").status, 200);
            assert_eq!(self.node.write("still", &json!("works")).status, 200);
        }
    }
}

/// A refusal in the form that all have.
#[track_caller]
fn refused(answer: &Response, status: u16, code: &str) -> String {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer:?}");
    assert!(answer.json()["error"]["retryable"].is_boolean(), "{answer:?}");
    assert!(!answer.message().is_empty());
    answer.message()
}

#[test]
fn a_key_is_written_read_and_deleted_again() {
    let alone = Alone::start(&[]);
    let node = &alone.node;
    for value in [json!(null), json!(1), json!("text"), json!([1, {"a": []}]), json!({ "deep": { "er": true } })] {
        assert_eq!(node.write("key", &value).json()["value"], value);
        let answer = node.read("key");
        let body = answer.json();
        assert_eq!((answer.status, &body["value"]), (200, &value));
        assert!(body["timestamp"].as_u64() > Some(1_600_000_000) && body["version"].as_u64() > Some(0));
        assert_eq!(body["replicas"], json!(["node"]));
        assert!(body["siblings"].is_null());
        assert_eq!(answer.header("x-quorate-context"), body["context"].as_str());
    }
    let head = node.request("HEAD", "/api/v1/data/key", &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(head.header("x-quorate-context").is_some());
    let deleted = node.request("DELETE", "/api/v1/data/key", &[], b"");
    assert_eq!(deleted.status, 200);
    for answer in [node.read("key"), node.read("never-written"), node.request("HEAD", "/api/v1/data/key", &[], b"")] {
        assert_eq!(answer.status, 404);
        assert!(answer.header("x-quorate-context").is_some_and(|context| !context.is_empty()));
    }
    refused(&node.read("key"), 404, "not_found");
    let context = node.read("never-written").context();
    assert_eq!(node.put("never-written", &json!({ "value": 1, "context": context })).status, 200);
    assert_eq!(node.request("DELETE", "/api/v1/data/absent", &[], b"").status, 200);
}

#[test]
fn a_number_comes_back_digit_for_digit() {
    let alone = Alone::start(&[]);
    let text = r#"{"value": {"n": 123456789012345678901234567890.10, "s": "\u00e4"}}"#;
    let headers = [("Content-Type", "application/json")];
    assert_eq!(alone.node.request("PUT", "/api/v1/data/n", &headers, text.as_bytes()).status, 200);
    let answer = String::from_utf8(alone.node.read("n").body).expect("text");
    assert!(answer.contains(r#""value":{"n": 123456789012345678901234567890.10, "s": "\u00e4"}"#), "{answer}");
}

#[test]
fn bytes_of_any_type_come_back_as_they_were() {
    let alone = Alone::start(&[]);
    let node = &alone.node;
    let bytes: Vec<u8> = (0..=255).collect();
    for content_type in ["image/png", "text/html; charset=utf-8", "application/x-www-form-urlencoded"] {
        let path = "/api/v1/data/bytes";
        assert_eq!(node.request("PUT", path, &[("Content-Type", content_type)], &bytes).status, 200);
        let raw = node.request("GET", path, &[("Accept", "application/octet-stream")], b"");
        assert_eq!((raw.status, &raw.body), (200, &bytes));
        assert_eq!(raw.header("content-type"), Some(content_type));
        assert_eq!(raw.header("x-content-type-options"), Some("nosniff"));
        let body = node.read("bytes").json();
        assert_eq!(body["content_type"], content_type);
        assert!(body["value_base64"].as_str().is_some_and(|text| text.starts_with("AAECAwQF")));
        assert!(body.get("value").is_none());
    }
    let empty = node.request("PUT", "/api/v1/data/empty", &[], b"");
    assert_eq!(empty.status, 200);
    let raw = node.request("GET", "/api/v1/data/empty", &[("Accept", "application/octet-stream")], b"");
    assert_eq!((raw.status, raw.body.len()), (200, 0));
}

#[test]
fn keys_are_any_text_of_1_to_1024_bytes() {
    let alone = Alone::start(&[]);
    let node = &alone.node;
    for key in ["a%2Fb", "%20", "%C3%A4", "a+b", "user:1", &"k".repeat(1_024)] {
        assert_eq!(node.write(key, &json!(key)).status, 200, "{key}");
        assert_eq!(node.read(key).json()["value"], json!(key));
    }
    assert_eq!(node.read("a%2Fb").json()["key"], "a/b");
    for (key, part) in [
        (&*"k".repeat(1_025), "1 to 1024 bytes long, this one has 1025"),
        ("", "1 to 1024 bytes long, this one has 0"),
        ("a/b", "%2F"),
        ("%zz", "percent-encoded"),
        ("%FF", "UTF-8"),
    ] {
        let message = refused(&node.write(key, &json!(1)), 400, "invalid_argument");
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_body_that_is_not_what_it_says_is_refused() {
    let alone = Alone::start(&[]);
    for body in
        ["", "{", r#"{"value":}"#, r#"{"val":1}"#, "[]", "\u{0}", r#"{"value":1}}"#, r#"{"value":1,"context":7}"#]
    {
        let headers = [("Content-Type", "application/json")];
        let answer = alone.node.request("PUT", "/api/v1/data/key", &headers, body.as_bytes());
        refused(&answer, 400, "invalid_argument");
        refused(&alone.node.request("POST", "/kv/set", &headers, body.as_bytes()), 400, "invalid_argument");
        if !body.is_empty() {
            refused(&alone.node.request("POST", "/gossip/join", &headers, body.as_bytes()), 400, "invalid_argument");
        }
    }
    assert_eq!(alone.node.read("key").status, 404);
}

#[test]
fn a_value_that_is_too_large_is_answered_and_not_reset() {
    let alone = Alone::start(&["--max-value-size", "1MiB"]);
    let node = &alone.node;
    let mib = 1_024 * 1_024;
    for content_type in ["application/octet-stream", "application/json"] {
        for size in [mib + 1, 2 * mib, 6 * mib] {
            let body = format!("{{\"value\":\"{}\"}}", "v".repeat(size));
            let answer = node.request("PUT", "/api/v1/data/large", &[("Content-Type", content_type)], body.as_bytes());
            assert!(refused(&answer, 413, "too_large").contains("1048576"));
        }
    }
    let whole = vec![7; mib];
    assert_eq!(node.request("PUT", "/api/v1/data/large", &[], &whole).status, 200);
    let raw = node.request("GET", "/api/v1/data/large", &[("Accept", "application/octet-stream")], b"");
    assert!(raw.body == whole);
}

#[test]
fn parameters_out_of_range_are_refused_with_the_range() {
    let alone = Alone::start(&[]);
    for (method, query, part) in [
        ("PUT", "w=0", "w must be 1 to 3"),
        ("PUT", "w=4", "w must be 1 to 3"),
        ("PUT", "w=many", "w must be 1 to 3"),
        ("PUT", "pw=9", "pw must be 1 to 3"),
        ("GET", "r=0", "r must be 1 to 3"),
        ("GET", "pr=4", "pr must be 1 to 3"),
        ("GET", "timeout_ms=0", "timeout_ms must be 1 to 60000"),
        ("GET", "timeout_ms=60001", "timeout_ms must be 1 to 60000"),
        ("GET", "timeout_ms=soon", "timeout_ms must be a whole number"),
        ("GET", "r=%zz", "percent-encoded"),
    ] {
        let answer = alone.node.request(method, &format!("/api/v1/data/key?{query}"), &[], b"1");
        let message = refused(&answer, 400, "invalid_argument");
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(
        alone.node.request("PUT", "/api/v1/data/key?w=all&pw=1&timeout_ms=1000&sloppy=false", &[], b"1").status,
        200
    );
    assert_eq!(alone.node.get("/api/v1/data/key?r=1&pr=1").status, 200);
    refused(&alone.node.get("/api/v1/vector-clock?since=yesterday"), 400, "invalid_argument");
    refused(&alone.node.get("/kv/get"), 400, "invalid_argument");
}

#[test]
fn a_context_that_is_none_or_forged_is_refused_and_harms_no_later_write() {
    let alone = Alone::start(&[]);
    let node = &alone.node;
    node.write("key", &json!("kept"));
    node.write("other", &json!("other"));
    let real = node.read("key").context();
    let mut forged = real.clone().into_bytes();
    let middle = forged.len() / 2;
    forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).expect("text");
    let of_another_key = node.read("other").context();
    let long = "A".repeat(60_000);
    for context in ["x", "", "AAAA", "ä", &*long, &real[1..], &*forged, &*of_another_key] {
        let answer = node.put("key", &json!({ "value": "harm", "context": context }));
        refused(&answer, 400, "invalid_argument");
    }
    let headers = [("X-Quorate-Context", forged.as_str())];
    refused(&node.request("DELETE", "/api/v1/data/key", &headers, b""), 400, "invalid_argument");
    let both = [("X-Quorate-Context", real.as_str()), ("Content-Type", "application/json")];
    let body = json!({ "value": 1, "context": "another" }).to_string();
    let message = refused(&node.request("PUT", "/api/v1/data/key", &both, body.as_bytes()), 400, "invalid_argument");
    assert!(message.contains("differ"), "{message}");
    assert_eq!(node.read("key").json()["value"], "kept");
    assert_eq!(node.write("key", &json!("later")).status, 200);
    assert_eq!(node.read("key").json()["value"], "later");
}

#[test]
fn a_repeated_write_with_one_idempotency_key_is_one_write() {
    let alone = Alone::start(&[]);
    let headers = [("Idempotency-Key", "order-7"), ("Content-Type", "text/plain")];
    let clocks: Vec<Value> = (0..3)
        .map(|_| alone.node.request("PUT", "/api/v1/data/key", &headers, b"once").json()["vector_clock"].clone())
        .collect();
    assert_eq!(clocks[0], json!({ "clocks": { "node": 1 } }));
    assert!(clocks.iter().all(|clock| *clock == clocks[0]), "{clocks:?}");
    // Also after it was overwritten: the retry brings nothing back, and says which write it was.
    assert_eq!(alone.node.write("key", &json!("after")).status, 200);
    let late = alone.node.request("PUT", "/api/v1/data/key", &headers, b"once");
    assert_eq!((late.status, alone.node.read("key").json()["value"].clone()), (200, json!("after")));
    let delete = || alone.node.request("DELETE", "/api/v1/data/key", &[("Idempotency-Key", "drop-7")], b"");
    assert_eq!(delete().status, 200);
    assert_eq!(alone.node.write("key", &json!("again")).status, 200);
    assert_eq!((delete().status, alone.node.read("key").json()["value"].clone()), (200, json!("again")));
    let long = "k".repeat(256);
    let answer = alone.node.request("PUT", "/api/v1/data/key", &[("Idempotency-Key", &long)], b"x");
    refused(&answer, 400, "invalid_argument");
}

/// Writers who have all seen nothing, up to the limit; then one who has read.
#[test]
fn too_many_siblings_are_refused_warned_of_and_merged() {
    let alone = Alone::start(&[]);
    let node = &alone.node;
    let nothing = node.read("key").context();
    for number in 0..100 {
        // Every value twice: as one of two siblings it is shown once.
        assert_eq!(node.put("key", &json!({ "value": number / 2, "context": nothing })).status, 200);
    }
    let body = node.read("key").json();
    assert_eq!(body["value"], 49);
    let shown: Vec<u64> =
        body["siblings"].as_array().expect("a list").iter().filter_map(|sibling| sibling["value"].as_u64()).collect();
    assert_eq!(shown, (0..50).rev().collect::<Vec<_>>());
    let refusal = node.put("key", &json!({ "value": "more", "context": nothing }));
    assert!(refused(&refusal, 422, "too_many_siblings").contains("100 siblings"));
    assert_eq!(refusal.json()["error"]["retryable"], false);
    assert_eq!(node.log().matches("its writers do not send the context of a read").count(), 1, "{}", node.log());
    let raw = node.request("GET", "/api/v1/data/key", &[("Accept", "application/octet-stream")], b"");
    refused(&raw, 409, "siblings");
    let head = node.request("HEAD", "/api/v1/data/key", &[], b"");
    assert_eq!((head.status, head.header("x-quorate-context")), (200, body["context"].as_str()));
    assert_eq!(node.put("key", &json!({ "value": "all", "context": body["context"] })).status, 200);
    assert!(node.read("key").json()["siblings"].is_null());
}

#[test]
fn where_the_last_writer_wins_there_is_one_value() {
    let alone = Alone::start(&["--strategy", "session/=lww", "--strategy", "session/kept/=siblings"]);
    let node = &alone.node;
    for (key, siblings) in [("session%2F1", None), ("session%2Fkept%2F1", Some(2)), ("cart", Some(2))] {
        let nothing = node.read(key).context();
        for value in ["first", "last"] {
            assert_eq!(node.put(key, &json!({ "value": value, "context": nothing })).status, 200);
        }
        let body = node.read(key).json();
        assert_eq!((&body["value"], body["siblings"].as_array().map(Vec::len)), (&json!("last"), siblings), "{key}");
    }
}

#[test]
fn the_short_forms_do_what_the_long_ones_do() {
    let alone = Alone::start(&[]);
    let node = &alone.node;
    // As curl -d sends it: JSON that says it is a form.
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let set = node.request("POST", "/kv/set", &headers, br#"{"key":"a b","value":{"n":1}}"#);
    assert_eq!(set.status, 200, "{set:?}");
    let got = node.get("/kv/get?key=a%20b").json();
    assert_eq!((&got["key"], &got["value"]), (&json!("a b"), &json!({ "n": 1 })));
    assert_eq!(node.get("/kv/stats").json()["keys"], 1);
    assert_eq!(node.request("POST", "/kv/delete?key=a+b", &[], b"").status, 200);
    refused(&node.get("/kv/get?key=a+b"), 404, "not_found");
    refused(&node.request("POST", "/kv/delete", &[], b""), 400, "invalid_argument");
    refused(&node.request("POST", "/kv/set", &[], br#"{"value":1}"#), 400, "invalid_argument");
}

#[test]
fn what_the_cluster_looks_like_is_told_in_the_agreed_form() {
    let alone = Alone::start(&["--zone", "east", "--tag", "rack=7"]);
    let node = &alone.node;
    node.write("key", &json!(1));
    let status = node.get("/api/v1/status").json();
    assert_eq!(status["node_id"], "node");
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["cluster"]["id"].as_str().map(str::len), Some(32));
    assert_eq!((&status["cluster"]["size"], &status["cluster"]["alive"]), (&json!(1), &json!(1)));
    assert_eq!(status["replication"], json!({ "n": 3, "r": 2, "w": 2, "quorum_available": true }));
    assert_eq!((&status["storage"]["keys"], &status["storage"]["engine"]), (&json!(1), &json!("lsm")));
    assert_eq!(status["ring"]["virtual_nodes"], 150);
    assert_eq!(node.get("/status").json()["node_id"], "node");
    let gossip = node.get("/gossip/status").json();
    assert_eq!(gossip["gossip_status"]["cluster_size"], 1);
    assert_eq!(gossip["config"]["gossip_interval"], "200ms");
    assert_eq!(gossip["config"]["probe_interval"], "600ms");
    assert_eq!(gossip["config"]["suspicion_timeout"], "3s 600ms");
    let members = node.get("/gossip/members").json();
    assert_eq!((&members["total_members"], &members["alive_members"]), (&json!(1), &json!(1)));
    let me = &members["cluster_members"]["node"];
    assert_eq!((&me["status"], &me["zone"], &me["tags"]), (&json!("alive"), &json!("east"), &json!({ "rack": "7" })));
    assert!(me["last_seen"].as_str().is_some_and(|time| time.ends_with('Z') && time.contains('T')));
    assert!(node.get("/gossip/rumors").json()["rumors"].is_array());
    let event = &node.get("/api/v1/vector-clock").json()["event_log"]["events"][0];
    assert_eq!((&event["type"], &event["key"], &event["value"]), (&json!("put"), &json!("key"), &json!(1)));
    assert_eq!(event["causal_hash"].as_str().map(str::len), Some(32));
    let page = node.get("/");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(node.get("/playground").body, page.body);
}

#[test]
fn what_is_not_there_is_said_in_the_form_of_all_errors() {
    let alone = Alone::start(&[]);
    let node = &alone.node;
    refused(&node.get("/api/v2/data/key"), 404, "not_found");
    refused(&node.get("/..%2f..%2fetc%2fpasswd"), 404, "not_found");
    let answer = node.request("PATCH", "/api/v1/data/key", &[], b"");
    refused(&answer, 405, "method_not_allowed");
    assert!(answer.header("allow").is_some_and(|allow| allow.contains("PUT")), "{answer:?}");
    refused(&node.request("DELETE", "/status", &[], b""), 405, "method_not_allowed");
    refused(&node.get("/internal/peer"), 426, "upgrade_required");
    let page = [("Origin", "http://example.org")];
    refused(&node.request("POST", "/kv/set", &page, br#"{"key":"k","value":1}"#), 403, "forbidden");
    let nobody = json!({ "address": format!("127.0.0.1:{}", support::free_port()) });
    refused(&node.post("/gossip/join", &nobody), 504, "timeout");
    refused(&node.post("/gossip/join", &json!({ "address": "nowhere" })), 400, "invalid_argument");
}

#[test]
fn the_interface_describes_itself_and_leaves_no_route_out() {
    let alone = Alone::start(&[]);
    let node = &alone.node;
    let answer = node.get("/openapi.json");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let document = answer.json();
    assert_eq!((&document["openapi"], &document["info"]["title"]), (&json!("3.1.0"), &json!("Quorate")));
    let paths = document["paths"].as_object().expect("paths");
    for (path, operations) in paths {
        // The router itself says which methods a path has.
        let routed = node.request("OPTIONS", &path.replace("{key}", "k"), &[], b"");
        refused(&routed, 405, "method_not_allowed");
        let methods = routed.header("allow").expect("a list").to_ascii_lowercase();
        let mut routed: Vec<&str> = methods.split(',').map(str::trim).filter(|method| *method != "head").collect();
        let mut described: Vec<&str> = operations.as_object().expect("operations").keys().map(String::as_str).collect();
        routed.sort_unstable();
        described.sort_unstable();
        assert_eq!(described, routed, "{path}");
    }
    for path in [
        "/api/v1/data/{key}",
        "/api/v1/status",
        "/status",
        "/api/v1/cluster/health",
        "/api/v1/ring",
        "/api/v1/vector-clock",
        "/gossip/status",
        "/gossip/members",
        "/gossip/rumors",
        "/gossip/join",
        "/gossip/leave",
        "/gossip/event",
        "/gossip/events",
        "/gossip/query",
        "/api/v1/cluster/members",
        "/health",
        "/ready",
        "/metrics",
        "/kv/set",
        "/kv/get",
        "/kv/delete",
        "/kv/stats",
        "/openapi.json",
        "/",
        "/playground",
    ] {
        assert!(paths.contains_key(path), "{path} is promised");
    }
    let put = &document["paths"]["/api/v1/data/{key}"]["put"];
    let names: Vec<&Value> = put["parameters"].as_array().expect("a list").iter().map(|one| &one["name"]).collect();
    for name in ["key", "w", "pw", "sloppy", "timeout_ms", "X-Quorate-Context", "Idempotency-Key"] {
        assert!(names.contains(&&json!(name)), "{name} in {names:?}");
    }
    assert_eq!(put["x-role"], "write");
}

#[test]
fn bytes_that_are_not_http_are_no_matter() {
    let alone = Alone::start(&[]);
    let port = alone.node.port;
    let long_head = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(1_000_000));
    for bytes in [&b"\x16\x03\x01\x02\x00\x01"[..], b"GET", b"\r\n\r\n\r\n", &[0; 100_000], long_head.as_bytes()] {
        // An answer or an end, whichever the server prefers; both come.
        let _ = send_bytes(port, bytes);
    }
}

/// Opens a connection between nodes, and gives it back after the server has agreed to it.
fn peer_connection(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("sets");
    let head = "GET /internal/peer HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: quorate/1\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("writes");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    stream
}

fn framed(content: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(content.len()).expect("short").to_be_bytes().to_vec();
    frame.extend(content);
    frame
}

#[test]
fn a_hostile_peer_is_cut_off_and_told_why_where_it_can_be() {
    let alone = Alone::start(&[]);
    let node = &alone.node;
    let closed = |mut stream: TcpStream| {
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _ = stream.read_to_end(&mut rest);
        rest
    };
    for first in [framed(b"nonsense"), vec![255; 64], framed(&[0, 9, 1, 2, 3]), vec![0, 0, 0, 200, 1]] {
        let mut stream = peer_connection(node.port);
        stream.write_all(&first).expect("writes");
        stream.shutdown(std::net::Shutdown::Write).expect("shuts");
        let answer = String::from_utf8_lossy(&closed(stream)).into_owned();
        if first == framed(&[0, 9, 1, 2, 3]) {
            assert!(answer.contains("version 9") && answer.contains("version 2"), "{answer}");
        }
    }
    // A good greeting (version 2; cluster, node, instance, address, lane, nonce, no secret), and then what no node says.
    let mut hello = vec![0, 2];
    for text in ["quorate", "stranger"] {
        hello.push(u8::try_from(text.len()).expect("short"));
        hello.extend(text.as_bytes());
    }
    hello.push(7);
    hello.extend(b"\x0b127.0.0.1:1");
    hello.extend([0; 34]);
    for message in [framed(&[255; 1_000]), u32::MAX.to_be_bytes().to_vec(), framed(&[0, 0, 0, 0])] {
        let mut stream = peer_connection(node.port);
        stream.write_all(&framed(&hello)).expect("writes");
        let mut length = [0; 4];
        stream.read_exact(&mut length).expect("a greeting");
        stream.write_all(&message).expect("writes");
        closed(stream);
    }
    eventually("it was counted", support::PATIENCE, || {
        (node.get("/status").json()["messages"]["malformed"].as_u64() >= Some(1)).then_some(())
    });
    assert!(node.log().matches("stranger sends what is not understood").count() == 1, "{}", node.log());
}

#[test]
fn a_node_that_talks_to_nobody_refuses_other_nodes() {
    let alone = Alone::start(&["--gossip", "false"]);
    let headers = [("Connection", "upgrade"), ("Upgrade", "quorate/1")];
    refused(&alone.node.request("GET", "/internal/peer", &headers, b""), 403, "forbidden");
    refused(&alone.node.post("/gossip/join", &json!({ "address": "127.0.0.1:1" })), 409, "conflict");
}

#[test]
fn many_idle_connections_do_not_keep_the_node_from_working() {
    let alone = Alone::start(&[]);
    let idle: Vec<TcpStream> =
        (0..600).map(|_| TcpStream::connect(("127.0.0.1", alone.node.port)).expect("connects")).collect();
    for number in 0..20 {
        assert_eq!(alone.node.write("key", &json!(number)).status, 200);
    }
    drop(idle);
}

#[test]
fn a_stop_refuses_new_requests_and_finishes_those_under_way() {
    let root = tempfile::tempdir().expect("a directory");
    let mut node = Node::new(root.path(), "node", &[]);
    node.start(&[]);
    node.wait_ready();
    let mut slow = TcpStream::connect(("127.0.0.1", node.port)).expect("connects");
    slow.set_read_timeout(Some(Duration::from_secs(20))).expect("sets");
    let head = "PUT /api/v1/data/slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 8\r\n\r\nhalf";
    slow.write_all(head.as_bytes()).expect("writes");
    // The node has the request once it says so.
    eventually("the request is under way", support::PATIENCE, || {
        (node.get("/status").json()["requests"]["http"] == json!(2)).then_some(())
    });
    node.ask_to_stop();
    eventually("new requests are refused", Duration::from_secs(5), || {
        (node.get("/status").code() == "shutting_down").then_some(())
    });
    refused(&node.write("late", &json!(1)), 503, "shutting_down");
    slow.write_all(b"done").expect("writes");
    let mut answer = String::new();
    slow.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(node.wait_end().code(), Some(0));
    node.start(&[]);
    node.wait_ready();
    let raw = node.request("GET", "/api/v1/data/slow", &[("Accept", "application/octet-stream")], b"");
    assert_eq!(raw.body, b"halfdone");
    assert_eq!(node.read("late").status, 404);
}
