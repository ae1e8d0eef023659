//! What Prometheus is told: in its text format, under names that stay, and true.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use support::{Cluster, PATIENCE, eventually};

/// What was scraped: the type of each metric, and each sample by its name and labels as they are written.
#[derive(Debug, Default)]
struct Scraped {
    types: BTreeMap<String, String>,
    samples: BTreeMap<String, f64>,
}

impl Scraped {
    fn of(node: &support::Node) -> Self {
        let answer = node.get("/metrics");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        Self::parse(&String::from_utf8(answer.body).expect("text"))
    }

    /// Reads the text format, version 0.0.4, strictly.
    fn parse(text: &str) -> Self {
        let (mut scraped, mut helped) = (Self::default(), BTreeSet::new());
        assert!(text.ends_with('\n'));
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, words) = help.split_once(' ').expect("a name and a text");
                assert!(words.len() > 5 && helped.insert(name.to_owned()), "{line}");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a name and a type");
                assert!(helped.contains(name), "{name} has a help text before its type");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(scraped.types.insert(name.into(), kind.into()), None, "{line}");
            } else {
                scraped.sample(line);
            }
        }
        scraped
    }

    fn sample(&mut self, line: &str) {
        let (series, value) = line.rsplit_once(' ').expect("a sample and its value");
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').expect("labels end")),
            None => (series, ""),
        };
        let is_word =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'0'..=b'9'));
        assert!(name.starts_with("quorate_") && is_word(name), "{line}");
        for label in labels.split("\",").filter(|label| !label.is_empty()) {
            let (label, _) = label.split_once("=\"").expect("a label and its value");
            assert!(is_word(label), "{line}");
        }
        let of_histogram = ["_bucket", "_sum", "_count"].into_iter().filter_map(|end| name.strip_suffix(end));
        let mut histograms = of_histogram.filter(|name| self.types.get(*name).is_some_and(|kind| kind == "histogram"));
        assert!(self.types.contains_key(name) || histograms.next().is_some(), "{name} has a type");
        let value = value.parse().expect("a number");
        assert_eq!(self.samples.insert(series.into(), value), None, "{line} is said twice");
    }

    #[track_caller]
    fn value(&self, series: &str) -> f64 {
        *self.samples.get(series).unwrap_or_else(|| panic!("no {series} in {self:#?}"))
    }

    /// The counts of a histogram up to each of its bounds, which rise to the count of all.
    fn check_histogram(&self, name: &str, labels: &str) {
        let begin = format!("{name}_bucket{{{labels}le=\"");
        let mut buckets: Vec<(f64, f64)> = self
            .samples
            .iter()
            .filter_map(|(series, count)| {
                let bound = series.strip_prefix(&begin)?.strip_suffix("\"}")?;
                Some((bound.parse().expect("a bound"), *count))
            })
            .collect();
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        assert!(buckets.len() > 5, "{name}: {buckets:?}");
        assert!(buckets.is_sorted_by(|one, other| one.1 <= other.1), "{name}: {buckets:?}");
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.trim_end_matches(',')) };
        let (bound, count) = buckets[buckets.len() - 1];
        assert!(bound.is_infinite() && count == self.value(&format!("{name}_count{labels}")), "{name}: {buckets:?}");
    }
}

#[test]
fn the_text_is_well_formed_and_every_name_is_there_from_the_start() {
    let cluster = Cluster::start(1, &[]);
    let scraped = Scraped::of(&cluster.nodes[0]);
    let names: BTreeSet<&str> = scraped.types.keys().map(String::as_str).collect();
    for (kind, expected) in [
        (
            "counter",
            "http_responses_total requests_total hints_total repaired_copies_total conflicts_total \
          hedged_requests_total damaged_objects_total tombstones_collected_total layout_refusals_total \
          rejected_messages_total member_transitions_total peer_messages_total anti_entropy_exchanges_total \
          anti_entropy_repairs_total hash_trees_rebuilt_total healed_objects_total damaged_reads_total",
        ),
        (
            "gauge",
            "build_info uptime_seconds ready members gossip_rumors gossip_local_health layout_version \
          layout_active_versions layout_owners virtual_nodes layout_slices keys disk_used_bytes disk_free_bytes \
          queue_length http_requests_in_progress coordinated_requests_in_progress",
        ),
        ("histogram", "request_duration_seconds siblings fsync_duration_seconds"),
    ] {
        for name in expected.split_whitespace().map(|name| format!("quorate_{name}")) {
            assert_eq!(scraped.types.get(&name).map(String::as_str), Some(kind), "{name} in {names:?}");
        }
    }
    for (name, labels) in [
        ("quorate_fsync_duration_seconds", ""),
        ("quorate_siblings", ""),
        ("quorate_request_duration_seconds", "operation=\"put\","),
    ] {
        scraped.check_histogram(name, labels);
    }
    assert!(scraped.value("quorate_fsync_duration_seconds_count") > 0.0);
    assert!(scraped.value("quorate_disk_free_bytes") > 0.0 && scraped.value("quorate_disk_used_bytes") > 0.0);
    assert_eq!(scraped.value("quorate_virtual_nodes"), 150.0);
    assert_eq!(scraped.value("quorate_layout_slices{state=\"synced\"}"), 64.0);
    let waiting = scraped.value("quorate_queue_length{thread=\"control\"}");
    assert!((0.0..4_096.0).contains(&waiting), "{waiting}");
}

#[test]
fn what_happens_is_counted() {
    let mut cluster = Cluster::start(3, &[]);
    let node = &cluster.nodes[0];
    assert_eq!(node.write("secret-key", &json!("secret-value")).status, 200);
    let nothing = node.read("twins").context();
    for value in [1, 2] {
        assert_eq!(node.put("twins", &json!({ "value": value, "context": nothing })).status, 200);
    }
    assert_eq!(node.read("twins").json()["siblings"].as_array().map(Vec::len), Some(2));
    assert_eq!(node.request("PUT", "/api/v1/data/twins?w=9", &[], b"1").status, 400);
    let scraped = Scraped::of(node);
    assert_eq!(scraped.value("quorate_requests_total{operation=\"put\",outcome=\"ok\"}"), 3.0);
    assert_eq!(scraped.value("quorate_requests_total{operation=\"get\",outcome=\"ok\"}"), 2.0);
    assert_eq!(scraped.value("quorate_request_duration_seconds_count{operation=\"put\"}"), 3.0);
    assert_eq!(scraped.value("quorate_siblings_sum"), 2.0);
    let route = "method=\"PUT\",path=\"/api/v1/data/{*key}\"";
    assert_eq!(scraped.value(&format!("quorate_http_responses_total{{{route},status=\"200\"}}")), 3.0);
    assert_eq!(scraped.value(&format!("quorate_http_responses_total{{{route},status=\"400\"}}")), 1.0);
    assert_eq!(scraped.value("quorate_members{status=\"alive\"}"), 3.0);
    assert_eq!(scraped.value("quorate_layout_owners"), 3.0);
    assert_eq!(scraped.value("quorate_ready"), 1.0);
    assert_eq!(scraped.value("quorate_http_requests_in_progress"), 1.0);
    assert!(scraped.value("quorate_peer_messages_total{outcome=\"received\"}") > 0.0);
    let conflicts = cluster.nodes.iter().map(|node| Scraped::of(node).value("quorate_conflicts_total")).sum::<f64>();
    assert_eq!(conflicts, 1.0);
    assert!(!scraped.samples.keys().any(|series| series.contains("secret") || series.contains("twins")));

    // A death leaves its mark, and so do the writes that the dead node misses.
    cluster.nodes[2].kill();
    let node = &cluster.nodes[0];
    node.wait_belief("node-3", "dead", PATIENCE);
    for number in 0..20 {
        assert_eq!(node.write(&format!("key-{number}"), &json!(number)).status, 200);
    }
    eventually("the death is counted", PATIENCE, || {
        let scraped = Scraped::of(node);
        (scraped.value("quorate_members{status=\"dead\"}") == 1.0).then_some(())?;
        (scraped.value("quorate_member_transitions_total{transition=\"died\"}") == 1.0).then_some(())
    });
}
