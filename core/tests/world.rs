//! The simulated world as a specification: what a cluster of this core does, seen from outside.

use std::time::Duration;

use quorate_core::id::{Key, NodeId};
use quorate_core::membership::State;
use quorate_core::sim::{
    Action, ClientOperation, DiskFate, Fault, Mode, RequestOptions, Schedule, Setting, Tally, World, fingerprint,
    node_name,
};
use quorate_core::time::Time;
use quorate_core::view::{OperationView, OutcomeView};

fn world(nodes: u8) -> World {
    World::new(&Setting { nodes, ..Setting::default() })
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("a good name")
}

fn key(name: &str) -> Key {
    Key::new(name).expect("a good key")
}

/// Runs until the condition holds, and says when; fails after `limit` of simulated time.
#[track_caller]
fn wait(world: &mut World, limit: Duration, what: &str, condition: impl Fn(&World) -> bool) -> Time {
    let begin = world.now();
    while !condition(world) {
        let next = world.now() + Duration::from_millis(5);
        assert!(next <= begin + limit, "not within {limit:?}: {what}\n{:#?}", world.view().nodes);
        world.run_until(next);
    }
    world.now()
}

/// One request of a client, run to its answer.
#[track_caller]
fn ask(world: &mut World, client: &str, at: &str, operation: ClientOperation) -> OperationView {
    let options = RequestOptions::default();
    world.apply(&Action::Client { client: client.into(), node: node(at), operation, options });
    let id = world.view().operations.last().expect("it was sent").id;
    let find = |world: &World| world.view().operations.iter().find(|operation| operation.id == id).cloned();
    wait(world, Duration::from_secs(7), "an answer", |world| find(world).is_some_and(|o| o.outcome.is_some()));
    find(world).expect("it is there")
}

#[track_caller]
fn put(world: &mut World, client: &str, at: &str, name: &str, value: &str, informed: bool) {
    let operation = ClientOperation::Put { key: key(name), value: value.into(), informed };
    let view = ask(world, client, at, operation);
    assert_eq!(view.outcome, Some(OutcomeView::Written), "{view:#?}");
}

#[track_caller]
fn get(world: &mut World, client: &str, at: &str, name: &str) -> Vec<String> {
    match ask(world, client, at, ClientOperation::Get { key: key(name) }).outcome {
        Some(OutcomeView::Found(mut values)) => {
            values.sort();
            values
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_node_alone_serves() {
    let mut world = world(1);
    wait(&mut world, Duration::from_secs(1), "ready", World::is_settled);
    put(&mut world, "alice", "A", "cart", "milk", false);
    assert_eq!(get(&mut world, "bob", "A", "cart"), ["milk"]);
}

#[test]
fn nodes_join_and_every_one_serves_every_key() {
    for nodes in [2, 3, 5, 16] {
        let mut world = world(nodes);
        wait(&mut world, Duration::from_secs(10), "one cluster", World::is_settled);
        put(&mut world, "alice", "A", "cart", "milk", false);
        for index in 0..nodes {
            assert_eq!(get(&mut world, "bob", node_name(index).as_str(), "cart"), ["milk"]);
        }
    }
}

#[test]
fn writes_one_after_the_other_never_conflict_whichever_nodes_they_go_through() {
    let mut world = world(3);
    wait(&mut world, Duration::from_secs(10), "one cluster", World::is_settled);
    for (number, at) in ["A", "B", "C", "B", "A", "C"].into_iter().enumerate() {
        put(&mut world, "alice", at, "cart", &format!("value {number}"), false);
        assert_eq!(get(&mut world, "bob", "C", "cart"), [format!("value {number}")]);
    }
}

#[test]
fn two_writes_that_saw_the_same_become_siblings_and_one_that_saw_both_resolves_them() {
    let mut world = world(3);
    wait(&mut world, Duration::from_secs(10), "one cluster", World::is_settled);
    put(&mut world, "alice", "A", "cart", "milk", false);
    for client in ["alice", "bob"] {
        assert_eq!(get(&mut world, client, "B", "cart"), ["milk"]);
    }
    put(&mut world, "alice", "B", "cart", "eggs", true);
    put(&mut world, "bob", "C", "cart", "bread", true);
    assert_eq!(get(&mut world, "carol", "A", "cart"), ["bread", "eggs"]);
    put(&mut world, "carol", "A", "cart", "bread and eggs", true);
    assert_eq!(get(&mut world, "alice", "C", "cart"), ["bread and eggs"]);
}

#[test]
fn a_deleted_key_is_absent_and_can_be_written_again() {
    let mut world = world(3);
    wait(&mut world, Duration::from_secs(10), "one cluster", World::is_settled);
    put(&mut world, "alice", "A", "cart", "milk", false);
    let view = ask(&mut world, "alice", "B", ClientOperation::Delete { key: key("cart"), informed: false });
    assert_eq!(view.outcome, Some(OutcomeView::Written));
    assert!(get(&mut world, "bob", "C", "cart").is_empty());
    put(&mut world, "bob", "C", "cart", "eggs", false);
    assert_eq!(get(&mut world, "alice", "A", "cart"), ["eggs"]);
}

/// What everybody who runs believes of a node.
fn beliefs(world: &World, of: &str) -> Vec<(State, bool)> {
    let view = world.view();
    let others = view.nodes.iter().filter(|node| node.node.as_str() != of);
    others
        .flat_map(|node| &node.members)
        .filter(|member| member.node.as_str() == of)
        .map(|member| (member.state, member.stopped))
        .collect()
}

#[test]
fn a_crashed_node_is_found_dead_in_eight_seconds_and_alive_three_after_its_return() {
    let mut world = world(3);
    wait(&mut world, Duration::from_secs(10), "one cluster", World::is_settled);
    put(&mut world, "alice", "A", "cart", "milk", false);
    world.apply(&Action::Crash { node: node("B"), disk: DiskFate::Kept });
    put(&mut world, "alice", "C", "cart", "eggs", false);
    wait(&mut world, Duration::from_secs(8), "B is listed dead", |world| {
        beliefs(world, "B") == [(State::Dead, false); 2]
    });
    assert_eq!(get(&mut world, "bob", "A", "cart"), ["eggs"]);
    world.apply(&Action::Restart { node: node("B") });
    wait(&mut world, Duration::from_secs(3), "B is alive again", |world| {
        beliefs(world, "B") == [(State::Alive, false); 2] && world.is_settled()
    });
    assert_eq!(get(&mut world, "bob", "B", "cart"), ["eggs"]);
}

#[test]
fn a_node_that_says_goodbye_is_listed_dead_and_stopped_at_once() {
    let mut world = world(3);
    wait(&mut world, Duration::from_secs(10), "one cluster", World::is_settled);
    world.apply(&Action::Stop { node: node("B") });
    wait(&mut world, Duration::from_millis(300), "B is listed as stopped", |world| {
        beliefs(world, "B") == [(State::Dead, true); 2]
    });
}

#[test]
fn what_was_acknowledged_is_there_after_all_have_crashed_at_once() {
    let mut world = world(3);
    wait(&mut world, Duration::from_secs(10), "one cluster", World::is_settled);
    for number in 0..20 {
        put(&mut world, "alice", node_name(number % 3).as_str(), &format!("key {number}"), "kept", false);
    }
    for action in [|node| Action::Crash { node, disk: DiskFate::Kept }, |node| Action::Restart { node }] {
        (0..3).for_each(|index| world.apply(&action(node_name(index))));
    }
    wait(&mut world, Duration::from_secs(10), "one cluster again", World::is_settled);
    for number in 0..20 {
        assert_eq!(get(&mut world, "bob", "B", &format!("key {number}")), ["kept"]);
    }
}

#[test]
fn a_node_that_lost_its_disk_pulls_what_it_owns_before_it_counts() {
    let mut world = world(3);
    wait(&mut world, Duration::from_secs(10), "one cluster", World::is_settled);
    (0..20).for_each(|number| put(&mut world, "alice", "A", &format!("key {number}"), "kept", false));
    world.apply(&Action::Crash { node: node("B"), disk: DiskFate::Lost });
    world.apply(&Action::Restart { node: node("B") });
    for number in 0..20 {
        assert_eq!(get(&mut world, "bob", "C", &format!("key {number}")), ["kept"]);
    }
    wait(&mut world, Duration::from_secs(10), "one cluster again", World::is_settled);
    let keys: Vec<u64> = world.view().nodes.iter().map(|node| node.keys).collect();
    assert_eq!(keys, [20; 3]);
}

#[test]
fn a_node_that_joins_a_cluster_with_data_hides_none_of_it() {
    let mut world = world(1);
    wait(&mut world, Duration::from_secs(10), "ready", World::is_settled);
    (0..20).for_each(|number| put(&mut world, "alice", "A", &format!("key {number}"), "kept", false));
    for joined in 2..=6 {
        world.apply(&Action::Add);
        wait(&mut world, Duration::from_secs(10), "it is settled", World::is_settled);
        for number in 0..20 {
            let at = node_name(number % joined);
            assert_eq!(get(&mut world, "bob", at.as_str(), &format!("key {number}")), ["kept"]);
        }
    }
}

#[test]
fn a_minority_refuses_and_the_healed_cluster_is_one_again() {
    let mut world = world(3);
    wait(&mut world, Duration::from_secs(10), "one cluster", World::is_settled);
    world.apply(&Action::Partition { groups: vec![vec![node("A")]] });
    let refused = ask(&mut world, "alice", "A", ClientOperation::Get { key: key("cart") });
    assert!(matches!(refused.outcome, Some(OutcomeView::Failed { .. })), "{refused:#?}");
    put(&mut world, "bob", "B", "cart", "milk", false);
    world.run_until(world.now() + Duration::from_secs(60));
    world.apply(&Action::Heal);
    wait(&mut world, Duration::from_secs(60), "everybody lives again", |world| {
        ["A", "B", "C"].iter().all(|name| beliefs(world, name) == [(State::Alive, false); 2])
    });
    assert_eq!(get(&mut world, "alice", "A", "cart"), ["milk"]);
}

/// A slice of the swarm: every promise is kept, and the schedules test what they are for.
#[track_caller]
fn swarm(mode: Mode, seeds: core::ops::Range<u64>) -> Tally {
    let mut total = Tally::default();
    for seed in seeds {
        let verdict = Schedule::swarm(seed, mode).judge();
        assert!(verdict.violations.is_empty(), "seed {seed}, {mode:?}: {:#?}", verdict.violations);
        total.add(&verdict.tally);
    }
    total
}

#[test]
fn every_promise_is_kept_whatever_fails() {
    let tally = swarm(Mode::Safety, 0..40);
    let written = tally.outcomes.get("written").copied().unwrap_or_default();
    assert!(written > 20_000, "only {written} writes were acknowledged: the schedules test nothing");
    let kinds = tally.faults.len();
    assert!(kinds >= 18, "only {kinds} kinds of faults: {:?}", tally.faults);
}

#[test]
fn what_is_healed_makes_progress_though_others_stay_broken_for_ever() {
    let tally = swarm(Mode::Liveness, 0..15);
    assert!(tally.faults.contains_key(&Fault::Crash), "{:?}", tally.faults);
}

#[test]
fn a_judgement_is_the_same_each_time() {
    for mode in [Mode::Safety, Mode::Liveness] {
        for seed in 0..3 {
            let schedule = Schedule::swarm(seed, mode);
            assert_eq!(schedule.judge(), schedule.judge(), "seed {seed}, {mode:?}");
        }
    }
}

#[test]
fn a_schedule_is_recorded_and_replayed() {
    let schedule = Schedule::swarm(3, Mode::Liveness);
    let text = serde_json::to_string(&schedule).expect("it is plain data");
    assert_eq!(serde_json::from_str::<Schedule>(&text).expect("it reads back"), schedule);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..20 {
        assert_eq!(fingerprint(seed), fingerprint(seed), "seed {seed}");
    }
    assert_ne!(fingerprint(1), fingerprint(2));
}

#[test]
fn a_clone_goes_on_like_the_original() {
    let mut world = Schedule::swarm(7, Mode::Safety).run();
    let mut clone = world.clone();
    let end = world.now() + Duration::from_secs(10);
    world.run_until(end);
    clone.run_until(end);
    assert_eq!(world.hash(), clone.hash());
}
