//! `quorate bench` against real nodes: its figures add up, an open loop counts what a stall held up, and failures are told.

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Cluster, Node, PATIENCE, eventually, free_port, quorate, run};

/// How long a node stands still.
const STALL: Duration = Duration::from_millis(500);

fn bench(endpoints: &[String], flags: &[&str]) -> Command {
    let mut command = quorate(&["bench", "--endpoint", &endpoints.join(",")]);
    command.args(flags);
    command
}

/// The figures of a run that succeeds.
fn figures(command: &mut Command) -> Value {
    let output = run(command.arg("--json"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON and nothing else")
}

fn number(figures: &Value, pointer: &str) -> u64 {
    figures.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {pointer} in {figures}"))
}

#[track_caller]
fn check_sums(figures: &Value) {
    let operations = number(figures, "/operations");
    assert_eq!(operations, number(figures, "/reads/operations") + number(figures, "/writes/operations"), "{figures}");
    let errors = figures["errors"].as_object().expect("an object").values();
    let failed: u64 = errors.map(|count| count.as_u64().expect("a count")).sum();
    assert_eq!(failed, number(figures, "/failed"), "{figures}");
    assert_eq!(operations + failed, number(figures, "/begun"), "{figures}");
    let (rate, took) = (&figures["operations_per_second"], &figures["took_s"]);
    let product = rate.as_f64().expect("a rate") * took.as_f64().expect("a span");
    assert!((product - operations as f64).abs() < 0.5, "{figures}");
    for kind in ["reads", "writes"] {
        let latencies = ["p50_us", "p90_us", "p99_us", "p99_9_us", "max_us"].map(|name| figures[kind][name].as_u64());
        assert!(latencies.is_sorted(), "{figures}");
        assert_eq!(latencies[0].is_some_and(|median| median > 0), figures[kind]["operations"] != 0, "{figures}");
    }
}

#[test]
fn figures_add_up_in_every_kind_of_run() {
    let cluster = Cluster::start(3, &[]);
    let endpoints = cluster.addresses();
    let common = ["--connections", "8", "--keys", "60", "--for", "400ms"];

    let both = figures(bench(&endpoints, &common).args(["--value-size", "40"]));
    check_sums(&both);
    assert_eq!((&both["loop"], number(&both, "/failed"), number(&both, "/never_begun")), (&"closed".into(), 0, 0));
    assert!(number(&both, "/reads/operations") > 0 && number(&both, "/writes/operations") > 0, "{both}");
    // The first and the last key are there, with values of the size that was asked for.
    for key in ["bench-0", "bench-59"] {
        let read = cluster.nodes[2].read(key).json();
        assert_eq!(read["value"].as_str().map(str::len), Some(40), "{read}");
    }
    assert_eq!(cluster.nodes[2].read("bench-60").status, 404);

    let blind = figures(bench(&endpoints, &common).args(["--blind", "--read-share", "0", "--zipfian", "0.99"]));
    check_sums(&blind);
    assert_eq!((number(&blind, "/failed"), number(&blind, "/reads/operations")), (0, 0), "{blind}");

    let open = figures(bench(&endpoints, &common).args(["--rate", "150", "--read-share", "1"]));
    check_sums(&open);
    assert_eq!((&open["loop"], number(&open, "/writes/operations")), (&"open".into(), 0), "{open}");
    assert_eq!(number(&open, "/begun") + number(&open, "/never_begun"), 60, "all that were due: {open}");
}

#[test]
fn an_open_loop_counts_every_operation_that_a_stall_held_up() {
    let cluster = Cluster::start(3, &[]);
    let node = &cluster.nodes[1];
    let flags = ["--rate", "200", "--for", "3s", "--connections", "4", "--keys", "20", "--read-share", "1", "--json"];
    let mut command = bench(&[node.address()], &flags);
    let mut bench = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut told = BufReader::new(bench.stderr.take().expect("a pipe")).lines();
    // It measures once it says so.
    let line = told.find_map(|line| line.ok().filter(|line| line.contains("operations")));
    assert!(line.is_some_and(|line| line.contains("0 failed")), "progress is told");
    node.signal("STOP");
    let stopped = Instant::now();
    eventually("the node has stood still for long enough", PATIENCE, || (stopped.elapsed() >= STALL).then_some(()));
    node.signal("CONT");
    let status = eventually("the run ends", PATIENCE, || bench.try_wait().expect("it can be asked"));
    let mut output = String::new();
    bench.stdout.take().expect("a pipe").read_to_string(&mut output).expect("text");
    assert!(status.success(), "{output}");
    let figures: Value = serde_json::from_str(&output).expect("JSON");
    check_sums(&figures);
    assert_eq!(number(&figures, "/begun") + number(&figures, "/never_begun"), 600, "{figures}");
    let stall = u64::try_from(STALL.as_micros()).expect("half a second");
    assert!(number(&figures, "/reads/max_us") >= stall * 9 / 10, "{figures}");
    // A hundred of six hundred were held up. Of operations whose time counts from when they were sent, four would show it.
    assert!(number(&figures, "/reads/p90_us") >= stall / 5, "{figures}");
}

#[test]
fn an_endpoint_without_a_node_is_counted_by_kind_and_gone_on_from() {
    let cluster = Cluster::start(1, &[]);
    let nobody = format!("127.0.0.1:{}", free_port());
    let flags = ["--connections", "4", "--keys", "10", "--for", "300ms"];
    let endpoints = [nobody.clone(), cluster.nodes[0].address()];
    let figures = figures(&mut bench(&endpoints, &flags));
    check_sums(&figures);
    // Two of the four connections begin there, and each fails once.
    assert_eq!(figures["errors"], serde_json::json!({ "no_connection": 2 }));
    assert!(number(&figures, "/operations") > 0, "{figures}");

    let output = run(&mut bench(&endpoints, &flags));
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(
        table.contains("P99.9") && table.contains("4 connections") && table.contains("no_connection  2"),
        "{table}"
    );

    let output = run(&mut bench(std::slice::from_ref(&nobody), &flags));
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains(&format!("before the measuring: no connection to {nobody}")), "{message}");
}

#[test]
fn who_asks_for_a_token_is_given_it() {
    let root = tempfile::tempdir().expect("a directory");
    let (file, token) = (root.path().join("tokens"), "a-token-that-may-write");
    fs::write(&file, format!("write {token}\n")).expect("writes");
    let mut node = Node::new(root.path(), "node", &["--tokens-file", file.to_str().expect("text")]);
    node.start(&[]);
    node.wait_ready();
    let flags = ["--connections", "2", "--keys", "10", "--for", "200ms"];
    let refused = run(&mut bench(&[node.address()], &flags));
    let message = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{message}");
    assert!(message.contains("unauthenticated"), "{message}");
    let figures = figures(bench(&[node.address()], &flags).env("QUORATE_TOKEN", token));
    check_sums(&figures);
    assert!(figures["failed"] == 0 && figures["operations"] != 0, "{figures}");
}
