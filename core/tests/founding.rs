//! How clusters begin, and how nodes come into them: control planes alone, with instant disks and a network that loses
//! nothing.

mod nodes;

use std::collections::VecDeque;
use std::time::Duration;

use quorate_core::config::{ClusterConfig, Config, Replication, Strategies, Strategy};
use quorate_core::id::{Address, Token};
use quorate_core::node::{Input, JoinError, Node, Output, Start, StartError};
use quorate_core::rng::Rng;
use quorate_core::storage::MemoryStore;

use nodes::{Nodes, SECONDS, name_of, start};

#[test]
fn a_node_without_seeds_founds_and_one_that_is_its_own_seed_too() {
    for seeds in [&[][..], &["a"]] {
        let mut nodes = Nodes::new();
        nodes.begin("a", seeds);
        nodes.run(SECONDS(1));
        assert_eq!(nodes.clusters(), [["a"]]);
    }
}

#[test]
fn a_node_whose_seeds_do_not_answer_never_founds() {
    let mut nodes = Nodes::new();
    nodes.begin("a", &["b", "c"]);
    nodes.run(SECONDS(600));
    assert_eq!(nodes.clusters(), [[""; 0]; 0]);
    assert!(nodes.nodes["a"].not_ready().is_some_and(|reason| reason.contains("b, c")));
    nodes.begin("c", &[]);
    nodes.run(SECONDS(2));
    assert_eq!(nodes.clusters(), [["a", "c"]]);
}

#[test]
fn nodes_that_only_name_each_other_do_not_found_two_clusters() {
    let mut nodes = Nodes::new();
    nodes.begin("a", &["b"]);
    nodes.begin("b", &["a"]);
    nodes.run(SECONDS(60));
    assert_eq!(nodes.clusters(), [[""; 0]; 0]);
}

#[test]
fn a_seed_that_turns_out_to_be_the_node_itself_is_skipped() {
    let mut nodes = Nodes::new();
    // The node does not know that this other address is its own until it hears itself ask.
    nodes.begin("a", &["also-a"]);
    for _ in 0..100 {
        for (to, _, _) in &mut nodes.flying {
            if to == "also-a" {
                *to = "a".into();
            }
        }
        nodes.run(Duration::from_millis(10));
    }
    assert_eq!(nodes.clusters(), [["a"]]);
}

#[test]
fn everybody_joins_through_any_member() {
    let mut nodes = Nodes::new();
    nodes.begin("a", &["a"]);
    nodes.begin("b", &["a"]);
    nodes.run(SECONDS(1));
    nodes.begin("c", &["gone", "b"]);
    nodes.run(SECONDS(2));
    assert_eq!(nodes.clusters(), [["a", "b", "c"]]);
    assert!(nodes.nodes.values().all(|node| node.rings().layout().len() == 3));
}

#[test]
fn a_restarted_node_returns_to_its_cluster_without_a_seed() {
    let mut nodes = Nodes::new();
    nodes.begin("a", &[]);
    nodes.begin("b", &["a"]);
    nodes.run(SECONDS(2));
    let store = nodes.nodes.remove("a").expect("it is there").into_storage();
    nodes.begin_with("a", &[], Config::default(), store);
    nodes.run(SECONDS(2));
    assert_eq!(nodes.clusters(), [["a", "b"]]);
    assert_eq!(nodes.nodes["a"].boot(), 2);
}

#[test]
fn a_cluster_of_one_without_data_enters_the_other() {
    let mut nodes = Nodes::new();
    nodes.begin("a", &[]);
    nodes.begin("b", &[]);
    nodes.begin("c", &["b"]);
    nodes.run(SECONDS(2));
    assert_eq!(nodes.clusters(), [vec!["a"], vec!["b", "c"]]);
    nodes.step("b", Input::Introduce { token: Token(7), address: Address::new("a").expect("a good address") });
    nodes.run(SECONDS(2));
    assert_eq!(nodes.clusters(), [["a", "b", "c"]]);
    assert_eq!(nodes.introduced, [(Token(7), Ok(name_of("a")))]);
}

#[test]
fn two_established_clusters_refuse_each_other_and_name_both() {
    let mut nodes = Nodes::new();
    nodes.begin("a", &[]);
    nodes.begin("b", &["a"]);
    nodes.begin("c", &[]);
    nodes.begin("d", &["c"]);
    nodes.run(SECONDS(2));
    nodes.step("a", Input::Introduce { token: Token(1), address: Address::new("c").expect("a good address") });
    nodes.run(SECONDS(10));
    assert_eq!(nodes.clusters(), [["a", "b"], ["c", "d"]]);
    let [(_, Err(JoinError::Refused(reason)))] = &nodes.introduced[..] else { panic!("{:?}", nodes.introduced) };
    for name in ["a", "c"] {
        let cluster = nodes.nodes[name].cluster().expect("it has one").to_string();
        assert!(reason.contains(&cluster), "{reason}");
    }
}

#[test]
fn an_introduction_to_nobody_ends_with_a_sentence() {
    let mut nodes = Nodes::new();
    nodes.begin("a", &[]);
    nodes.step("a", Input::Introduce { token: Token(1), address: Address::new("nobody").expect("a good address") });
    nodes.run(SECONDS(6));
    assert!(matches!(&nodes.introduced[..], [(Token(1), Err(JoinError::NoAnswer(_)))]), "{:?}", nodes.introduced);
}

#[test]
fn a_node_with_other_quorums_strategies_or_another_cluster_name_is_refused_with_both_named() {
    let other = |replication, name: &str| Config {
        cluster: ClusterConfig { replication, name: name.parse().expect("a good name"), ..ClusterConfig::default() },
        ..Config::default()
    };
    let strategies = Strategies::new([("last/".to_owned(), Strategy::Lww)]).expect("good");
    let other_strategy =
        Config { cluster: ClusterConfig { strategies, ..ClusterConfig::default() }, ..Config::default() };
    for (config, named) in [
        (other(Replication::new(3, 1, 3).expect("in range"), "quorate"), "read quorum 1, write quorum 3"),
        (other(Replication::default(), "another"), "b was started with cluster another"),
        (other_strategy, "strategy =siblings,last/=lww"),
    ] {
        let mut nodes = Nodes::new();
        nodes.begin("a", &[]);
        nodes.begin_with("b", &["a"], config, MemoryStore::default());
        nodes.run(SECONDS(2));
        assert_eq!(nodes.clusters(), [["a"]]);
        let reason = nodes.nodes["b"].not_ready().expect("it is not");
        assert!(reason.contains("cluster quorate, replication factor 3, read quorum 2"), "{reason}");
        assert!(reason.contains("strategy =siblings;") && reason.contains("b was started with cluster"), "{reason}");
        assert!(reason.contains(named), "{reason}");
    }
}

#[test]
fn a_second_process_of_a_name_is_refused_with_both_addresses() {
    let mut nodes = Nodes::new();
    nodes.begin("a", &[]);
    let imposter = Start { address: Address::new("elsewhere").expect("good"), ..start("a", &["a"], Config::default()) };
    let rng = Rng::labelled(99, "imposter");
    let mut node = Node::start(nodes.now, imposter, MemoryStore::default(), rng).expect("memory can be read");
    let (mut told, mut inputs) = (Vec::new(), VecDeque::from([Input::Timer]));
    while let Some(input) = inputs.pop_front() {
        for output in node.step(nodes.now, input) {
            match output {
                Output::Sync { upto } => inputs.push_back(Input::Durable { upto }),
                Output::Contact { envelope, .. } => told.push(envelope),
                _ => {}
            }
        }
    }
    let envelope = told.into_iter().next().expect("it asks its seed");
    nodes.step("a", Input::Message { from: name_of("a"), envelope });
    let (to, from, refusal) = nodes.flying.pop_back().expect("it is answered");
    assert_eq!(to, "elsewhere");
    let _ = node.step(nodes.now, Input::Message { from, envelope: refusal }).count();
    let reason = node.not_ready().expect("it is not");
    assert!(reason.contains("the node at a;") && reason.contains("the one at elsewhere"), "{reason}");
}

#[test]
fn a_store_of_another_node_or_cluster_configuration_is_refused_untouched() {
    let mut nodes = Nodes::new();
    nodes.begin("a", &[]);
    nodes.run(SECONDS(1));
    let store = nodes.nodes.remove("a").expect("it is there").into_storage();
    let rng = || Rng::labelled(5, "again");
    let other_name = Node::start(nodes.now, start("b", &[], Config::default()), store.clone(), rng());
    assert!(matches!(other_name, Err(StartError::OtherNode { owner }) if owner == name_of("a")));
    let replication = Replication::new(5, 3, 3).expect("in range");
    let config = Config { cluster: ClusterConfig { replication, ..ClusterConfig::default() }, ..Config::default() };
    let other_config = Node::start(nodes.now, start("a", &[], config), store, rng());
    let Err(error @ StartError::OtherConfig { .. }) = other_config else { panic!("{:?}", other_config.err()) };
    let sentence = error.to_string();
    assert!(sentence.contains("replication factor 3") && sentence.contains("replication factor 5"), "{sentence}");
}
