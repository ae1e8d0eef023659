//! A slice of the table that `quorate sim --gossip` prints (`core/tests/gossip.md`), with the bounds that it must keep.

use std::time::Duration;

use quorate_core::sim::gossip::{
    Quantiles, Quiet, Setting, absence, heal, list, quiet, rounds_until_all, stalls, turnover,
};

const SECOND: Duration = Duration::from_secs(1);

fn setting(nodes: u32, loss_percent: u32, seed: u64) -> Setting {
    Setting { nodes, loss_per_million: loss_percent * 10_000, seed, lifeguard: true }
}

/// Times of several seeds together.
fn together(seeds: u64, measure: impl Fn(u64) -> Vec<Duration>) -> Quantiles {
    Quantiles::new((0..seeds).flat_map(measure).collect())
}

#[test]
fn h1_with_lifeguard_stalls_make_fifty_times_fewer_bury_the_healthy() {
    let deaths = |lifeguard| -> u64 {
        let setting = |seed| Setting { lifeguard, ..setting(100, 0, seed) };
        (0..2).map(|seed| stalls(setting(seed), 120 * SECOND).false_deaths).sum()
    };
    let (on, off) = (deaths(true), deaths(false));
    assert!(off >= 200, "the stalls must hurt: {off}");
    assert!(on * 50 <= off, "{on} with Lifeguard, {off} without");
}

#[test]
fn h2_a_crash_is_known_to_all_in_time() {
    for (nodes, loss_percent, median_s, p99_s) in [(10, 0, 6, 9), (10, 25, 6, 12), (100, 0, 6, 9), (100, 25, 6, 12)] {
        let times = together(3, |seed| turnover(setting(nodes, loss_percent, seed), 5).crashes);
        let (median, p99) = (times.percent(50), times.percent(99));
        assert!(median <= median_s * SECOND, "{nodes} nodes, {loss_percent} % loss: {median:?}");
        assert!(p99 <= p99_s * SECOND, "{nodes} nodes, {loss_percent} % loss: {p99:?}");
    }
}

#[test]
fn a_join_is_known_to_all_within_the_rounds_of_serfs_formula() {
    for nodes in [10, 100] {
        let times = together(3, |seed| turnover(setting(nodes, 0, seed), 5).joins);
        let rounds = u32::try_from(rounds_until_all(nodes.into(), 3, 0)).expect("few rounds");
        let bound = rounds * Duration::from_millis(200);
        assert!(times.percent(99) <= bound, "{nodes} nodes: {:?}, not within {bound:?}", times.percent(99));
    }
}

#[test]
fn healed_halves_agree_in_time() {
    for (nodes, loss_percent) in [(10, 0), (100, 0), (100, 25)] {
        let times = together(3, |seed| vec![heal(setting(nodes, loss_percent, seed))]);
        assert!(times.percent(99) <= 5 * SECOND, "{nodes} nodes, {loss_percent} % loss: {:?}", times.percent(99));
    }
}

/// Messages and bytes of each node in each second.
fn rates(nodes: u32, found: Quiet, seconds: u64) -> (f64, f64) {
    let node_seconds = f64::from(nodes) * seconds as f64;
    (found.messages as f64 / node_seconds, found.bytes as f64 / node_seconds)
}

#[test]
fn where_nothing_happens_little_is_said_in_clusters_of_any_size() {
    let mut said = Vec::new();
    for nodes in [10, 100, 1_000] {
        let found = quiet(setting(nodes, 0, 1), 60 * SECOND);
        let (messages, bytes) = rates(nodes, found, 60);
        assert!(messages <= 4.0 && bytes <= 300.0, "{nodes} nodes: {messages} messages, {bytes} bytes");
        assert_eq!(found.false_deaths, 0);
        said.push(bytes);
    }
    assert!(said[2] <= said[0] * 1.05, "it must not grow with the cluster: {said:?}");
}

#[test]
fn heavy_loss_buries_nobody() {
    for (nodes, minutes) in [(10, 60), (100, 5)] {
        let found = quiet(setting(nodes, 25, 1), minutes * 60 * SECOND);
        assert_eq!(found.false_deaths, 0, "{nodes} nodes");
    }
}

#[test]
fn c9_who_was_alone_for_long_is_back_unaided() {
    for (nodes, hours) in [(10, 12), (100, 1)] {
        let took = absence(setting(nodes, 0, 1), hours * 3_600 * SECOND);
        assert!(took <= 5 * SECOND, "{nodes} nodes, {hours} h away: {took:?}");
    }
}

#[test]
fn the_same_seed_makes_the_same_run() {
    assert_eq!(quiet(setting(30, 10, 7), 30 * SECOND), quiet(setting(30, 10, 7), 30 * SECOND));
    assert_ne!(quiet(setting(30, 10, 7), 30 * SECOND), quiet(setting(30, 10, 8), 30 * SECOND));
}

#[test]
fn the_list_of_a_hundred_members_is_small() {
    let mut kept = None;
    let used = allocation_counter::measure(|| kept = Some(list(100, 0)));
    assert!(kept.is_some());
    assert!(used.bytes_max <= 1_000_000, "{} bytes; 10 MB are allowed", used.bytes_max);
}
