//! Stores that are not what they were: wiped, cloned, restored from an old copy. Each gets a new actor and answers for
//! nothing before it has pulled everything again; a store that only restarts keeps its own.

mod nodes;

use std::collections::BTreeSet;

use quorate_core::config::Config;
use quorate_core::id::ActorId;
use quorate_core::storage::MemoryStore;

use nodes::{Nodes, SECONDS};

/// Three members that have been running for a while. There are no shards here: nobody ever says that a slice is synced.
fn three() -> Nodes {
    let mut nodes = Nodes::new();
    nodes.begin("a", &[]);
    nodes.begin("b", &["a"]);
    nodes.begin("c", &["a"]);
    nodes.run(SECONDS(8));
    assert_eq!(nodes.clusters(), [["a", "b", "c"]]);
    nodes
}

fn actor(nodes: &Nodes, name: &str) -> ActorId {
    nodes.nodes[name].actor()
}

fn stop(nodes: &mut Nodes, name: &str) -> MemoryStore {
    nodes.nodes.remove(name).expect("it runs").into_storage()
}

fn copy(nodes: &Nodes, name: &str) -> MemoryStore {
    nodes.nodes[name].storage().clone()
}

fn begin(nodes: &mut Nodes, name: &str, store: MemoryStore) {
    nodes.begin_with(name, &[], Config::default(), store);
}

fn asks(nodes: &Nodes, name: &str) -> bool {
    nodes.nodes[name].not_ready().is_some_and(|reason| reason.contains("asking the other members"))
}

/// A7: whatever is done to stores, no actor is used by two of them.
#[test]
fn kv679_uid() {
    let mut nodes = three();
    let before: Vec<ActorId> = ["a", "b", "c"].map(|name| actor(&nodes, name)).to_vec();
    // Two are restored from copies at the same time, one is wiped.
    let (old_a, old_b) = (copy(&nodes, "a"), copy(&nodes, "b"));
    nodes.run(SECONDS(60));
    for name in ["a", "b", "c"] {
        stop(&mut nodes, name);
    }
    begin(&mut nodes, "a", old_a.clone());
    begin(&mut nodes, "b", old_b);
    nodes.begin_with("c", &["a"], Config::default(), MemoryStore::default());
    nodes.run(SECONDS(8));
    let mut all: BTreeSet<ActorId> = before.into_iter().collect();
    assert_eq!(all.len(), 3, "started side by side");
    // Of `a` and `b`, both old copies, neither remembers more of the other than the other does.
    all.insert(actor(&nodes, "c"));
    assert_eq!(all.len(), 4, "wiped");
    // A clone of what `a` was then, beside the one that runs.
    let running = stop(&mut nodes, "a");
    begin(&mut nodes, "a", old_a);
    nodes.run(SECONDS(8));
    assert!(all.insert(actor(&nodes, "a")), "cloned");
    stop(&mut nodes, "a");
    begin(&mut nodes, "a", running);
    nodes.run(SECONDS(8));
    assert!(all.insert(actor(&nodes, "a")), "what was cloned, after its clone got another actor");
}

#[test]
fn a_restart_keeps_its_actor_and_is_sure_of_itself_within_a_round_trip() {
    let mut nodes = three();
    let before = actor(&nodes, "b");
    let store = stop(&mut nodes, "b");
    begin(&mut nodes, "b", store);
    assert!(asks(&nodes, "b"));
    nodes.run(SECONDS(1) / 20);
    assert!(!asks(&nodes, "b"));
    assert_eq!((actor(&nodes, "b"), nodes.nodes["b"].boot()), (before, 2));
}

#[test]
fn all_may_restart_at_once() {
    let mut nodes = three();
    let before = ["a", "b", "c"].map(|name| actor(&nodes, name));
    let stores = ["a", "b", "c"].map(|name| (name, stop(&mut nodes, name)));
    for (name, store) in stores {
        begin(&mut nodes, name, store);
    }
    nodes.run(SECONDS(1) / 2);
    assert_eq!(["a", "b", "c"].map(|name| actor(&nodes, name)), before);
    assert!(["a", "b", "c"].iter().all(|name| !asks(&nodes, name)));
}

/// The copy was made while the store was open for the first time, and is opened for the second time: its boot number is
/// that of an ordinary restart.
#[test]
fn a_copy_from_the_last_boot_is_found_out_by_the_ticks_that_it_has_forgotten() {
    let mut nodes = three();
    let before = actor(&nodes, "b");
    let old = copy(&nodes, "b");
    nodes.run(SECONDS(20));
    stop(&mut nodes, "b");
    begin(&mut nodes, "b", old);
    nodes.run(SECONDS(1));
    assert_ne!(actor(&nodes, "b"), before);
    assert!(!asks(&nodes, "b"), "a new actor needs nobody's word");
    let known = nodes.nodes["a"].membership().member(nodes.nodes["b"].id()).expect("a member");
    assert_eq!(known.member.actor, actor(&nodes, "b"), "the others hear of it");
    assert_eq!(nodes.nodes["b"].boot(), 3, "above every boot that anybody remembers");
}

#[test]
fn a_member_that_is_silent_is_waited_for_two_seconds() {
    let mut nodes = three();
    let store = stop(&mut nodes, "b");
    stop(&mut nodes, "c");
    begin(&mut nodes, "b", store);
    nodes.run(SECONDS(1));
    assert!(asks(&nodes, "b"), "c is not believed dead yet");
    nodes.run(SECONDS(2));
    assert!(!asks(&nodes, "b"));
}

#[test]
fn without_anybody_it_waits_for_ever() {
    let mut nodes = three();
    let store = stop(&mut nodes, "b");
    let other = stop(&mut nodes, "a");
    stop(&mut nodes, "c");
    begin(&mut nodes, "b", store);
    nodes.run(SECONDS(120));
    assert!(asks(&nodes, "b"));
    begin(&mut nodes, "a", other);
    nodes.run(SECONDS(1));
    assert!(!asks(&nodes, "b") && !asks(&nodes, "a"));
}

/// Nobody could say whether the store of a single node is an old copy.
#[test]
fn a_node_that_is_alone_gets_a_new_actor_at_each_start() {
    let mut nodes = Nodes::new();
    nodes.begin("a", &[]);
    let mut actors = BTreeSet::from([actor(&nodes, "a")]);
    for _ in 0..3 {
        nodes.run(SECONDS(1));
        let store = stop(&mut nodes, "a");
        begin(&mut nodes, "a", store);
        assert!(actors.insert(actor(&nodes, "a")) && !asks(&nodes, "a"));
    }
}

/// A copy from when the node was alone believes that it still is. It learns better from whoever calls it.
#[test]
fn a_copy_from_when_the_node_was_alone_is_found_out_by_the_layout() {
    let mut nodes = Nodes::new();
    nodes.begin("a", &[]);
    nodes.run(SECONDS(1));
    let old = copy(&nodes, "a");
    nodes.begin("b", &["a"]);
    nodes.run(SECONDS(8));
    stop(&mut nodes, "a");
    begin(&mut nodes, "a", old);
    let alone = actor(&nodes, "a");
    nodes.run(SECONDS(60));
    assert_ne!(actor(&nodes, "a"), alone);
    assert_eq!(nodes.nodes["a"].rings().layout().len(), 2);
    assert!(nodes.nodes["a"].not_ready().is_some_and(|reason| reason.contains("pulling")));
}
