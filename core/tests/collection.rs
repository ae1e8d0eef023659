//! Tombstones go once nobody needs them any more, not before, and what they deleted stays deleted.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_core::config::Repair;
use quorate_core::event::EventKind;
use quorate_core::id::{Key, NodeId};
use quorate_core::sim::{Action, ClientOperation, DiskFate, RequestOptions, Setting, World, node_name};
use quorate_core::view::{OperationView, OutcomeView};

const SECONDS: fn(u64) -> Duration = Duration::from_secs;

/// A cluster whose tombstones are old after two seconds and looked for every second.
fn world(nodes: u8) -> World {
    let repair = Repair {
        collect_interval: SECONDS(1),
        collect_after: SECONDS(2),
        request_memory: SECONDS(2),
        hint_interval: Duration::from_millis(100),
        exchange_interval: SECONDS(1),
        ..Repair::default()
    };
    let mut world = World::new(&Setting { nodes, repair, ..Setting::default() });
    wait(&mut world, SECONDS(10), "one cluster", World::is_settled);
    world
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("a good name")
}

fn key(name: &str) -> Key {
    Key::new(name).expect("a good key")
}

#[track_caller]
fn wait(world: &mut World, limit: Duration, what: &str, condition: impl Fn(&World) -> bool) {
    let end = world.now() + limit;
    while !condition(world) {
        let next = world.now() + Duration::from_millis(5);
        assert!(next <= end, "not within {limit:?}: {what}");
        world.run_until(next);
    }
}

fn run(world: &mut World, span: Duration) {
    world.run_until(world.now() + span);
}

#[track_caller]
fn ask(world: &mut World, client: &str, at: &NodeId, operation: ClientOperation) -> OperationView {
    world.apply(&Action::Client {
        client: client.into(),
        node: at.clone(),
        operation,
        options: RequestOptions::default(),
    });
    let id = world.view().operations.last().expect("it was sent").id;
    let find = |world: &World| world.view().operations.iter().find(|operation| operation.id == id).cloned();
    wait(world, SECONDS(7), "an answer", |world| find(world).is_some_and(|view| view.outcome.is_some()));
    find(world).expect("it is there")
}

#[track_caller]
fn put(world: &mut World, at: &NodeId, name: &str, value: &str) {
    let operation = ClientOperation::Put { key: key(name), value: value.into(), informed: false };
    let view = ask(world, "alice", at, operation);
    assert_eq!(view.outcome, Some(OutcomeView::Written), "{view:#?}");
}

#[track_caller]
fn delete(world: &mut World, at: &NodeId, name: &str) {
    let view = ask(world, "alice", at, ClientOperation::Delete { key: key(name), informed: false });
    assert_eq!(view.outcome, Some(OutcomeView::Written), "{view:#?}");
}

#[track_caller]
fn get(world: &mut World, at: &NodeId, name: &str) -> Vec<String> {
    match ask(world, "bob", at, ClientOperation::Get { key: key(name) }).outcome {
        Some(OutcomeView::Found(values)) => values,
        other => panic!("{other:?}"),
    }
}

/// What each node holds of a key: its values, and nothing for a deletion.
fn held(world: &World, name: &str) -> BTreeMap<NodeId, Vec<Option<String>>> {
    let view = world.key_view(&key(name)).expect("there is a ring");
    let values = |versions: Vec<quorate_core::view::VersionView>| versions.into_iter().map(|version| version.value);
    view.replicas.into_iter().map(|replica| (replica.node, values(replica.versions).collect())).collect()
}

fn owners(world: &World, name: &str) -> Vec<NodeId> {
    world.key_view(&key(name)).expect("there is a ring").primaries
}

fn is_collected(world: &World, name: &str) -> bool {
    held(world, name).is_empty()
}

fn events(world: &mut World) -> (usize, usize) {
    let events = world.take_events();
    let raised = events.iter().filter(|event| matches!(event.kind, EventKind::FloorRaised { .. })).count();
    let gone = events.iter().filter(|event| matches!(event.kind, EventKind::TombstoneCollected { .. })).count();
    (raised, gone)
}

#[test]
fn a_deleted_key_is_forgotten_by_all_its_owners_and_can_be_written_again() {
    for nodes in [1, 2, 3, 5] {
        let mut world = world(nodes);
        for round in 0..3 {
            for number in 0..5 {
                put(&mut world, &node("A"), &format!("cart {number}"), &format!("milk {round}"));
            }
            run(&mut world, SECONDS(1));
            for number in 0..5 {
                delete(&mut world, &node("A"), &format!("cart {number}"));
            }
            let _ = events(&mut world);
            wait(&mut world, SECONDS(20), &format!("{nodes} nodes, round {round}"), |world| {
                (0..5).all(|number| is_collected(world, &format!("cart {number}")))
            });
            let (raised, gone) = events(&mut world);
            assert!(raised >= usize::from(nodes) && gone == 5 * usize::from(nodes.min(3)), "{raised} {gone}");
            assert!(get(&mut world, &node_name(nodes - 1), "cart 0").is_empty());
        }
        put(&mut world, &node("A"), "cart 0", "eggs");
        run(&mut world, SECONDS(20));
        assert_eq!(get(&mut world, &node_name(nodes - 1), "cart 0"), ["eggs"]);
    }
}

#[test]
fn a_tombstone_stays_while_it_is_young_and_a_value_stays_for_ever() {
    let mut world = world(3);
    put(&mut world, &node("A"), "kept", "milk");
    put(&mut world, &node("A"), "gone", "milk");
    delete(&mut world, &node("A"), "gone");
    run(&mut world, Duration::from_millis(1_500));
    assert_eq!(held(&world, "gone").len(), 3);
    wait(&mut world, SECONDS(20), "collected", |world| is_collected(world, "gone"));
    assert_eq!(held(&world, "kept").len(), 3);
    assert_eq!(get(&mut world, &node("C"), "kept"), ["milk"]);
}

/// A member that is down may have anything: a hint, a copy, a message to send.
#[test]
fn nothing_is_collected_while_a_member_is_down() {
    let mut world = world(5);
    put(&mut world, &node("A"), "cart", "milk");
    let owners = owners(&world, "cart");
    let other = (0..5).map(node_name).find(|node| !owners.contains(node)).expect("two of five own nothing of it");
    for down in [other, owners[2].clone()] {
        world.apply(&Action::Crash { node: down.clone(), disk: DiskFate::Kept });
        delete(&mut world, &owners[0], "cart");
        let _ = events(&mut world);
        run(&mut world, SECONDS(60));
        assert_eq!(events(&mut world), (0, 0), "{down} is down");
        assert!(held(&world, "cart").values().all(|versions| *versions == [None]), "the tombstone is kept");
        world.apply(&Action::Restart { node: down.clone() });
        wait(&mut world, SECONDS(60), "it is back", World::is_settled);
        assert!(get(&mut world, &owners[0], "cart").is_empty());
        wait(&mut world, SECONDS(60), "collected", |world| is_collected(world, "cart"));
        put(&mut world, &owners[0], "cart", "milk");
    }
}

/// A5: an owner misses the deletion, which a fallback keeps for it where there are fallbacks. The others may not forget it
/// before the owner has it; the key is written again; what comes late does no harm.
#[test]
fn kv679_tombstone() {
    for nodes in [3, 5] {
        let mut world = world(nodes);
        put(&mut world, &node("A"), "cart", "milk");
        run(&mut world, SECONDS(1));
        let owners = owners(&world, "cart");
        world.apply(&Action::Partition { groups: vec![vec![owners[2].clone()]] });
        run(&mut world, SECONDS(20));
        delete(&mut world, &owners[0], "cart");
        run(&mut world, SECONDS(20));
        assert!(!is_collected(&world, "cart"), "the third owner has not seen the deletion");
        assert!(held(&world, "cart")[&owners[2]].contains(&Some("milk".into())));
        world.apply(&Action::Heal);
        wait(&mut world, SECONDS(90), "healed", World::is_settled);
        assert!(get(&mut world, &owners[0], "cart").is_empty());
        wait(&mut world, SECONDS(60), "collected", |world| is_collected(world, "cart"));
        put(&mut world, &owners[1], "cart", "eggs");
        run(&mut world, SECONDS(30));
        for owner in &owners {
            assert_eq!(get(&mut world, owner, "cart"), ["eggs"]);
            assert_eq!(held(&world, "cart")[owner], [Some("eggs".into())]);
        }
    }
}

/// A6: as A5, with an owner that crashed and comes back.
#[test]
fn kv679_tombstone2() {
    let mut world = world(5);
    put(&mut world, &node("A"), "cart", "milk");
    run(&mut world, SECONDS(1));
    let owners = owners(&world, "cart");
    world.apply(&Action::Crash { node: owners[2].clone(), disk: DiskFate::Kept });
    run(&mut world, SECONDS(20));
    delete(&mut world, &owners[0], "cart");
    put(&mut world, &owners[1], "cart", "eggs");
    delete(&mut world, &owners[1], "cart");
    run(&mut world, SECONDS(20));
    world.apply(&Action::Restart { node: owners[2].clone() });
    wait(&mut world, SECONDS(60), "it is back", World::is_settled);
    assert!(get(&mut world, &owners[2], "cart").is_empty());
    wait(&mut world, SECONDS(60), "collected", |world| is_collected(world, "cart"));
    put(&mut world, &owners[2], "cart", "bread");
    run(&mut world, SECONDS(30));
    for owner in &owners {
        assert_eq!(held(&world, "cart")[owner], [Some("bread".into())]);
    }
}

/// Other keys of the same slices are written all the time: their digests never stand still as a whole.
#[test]
fn collection_makes_progress_while_others_write() {
    let mut world = world(3);
    for number in 0..20 {
        put(&mut world, &node("A"), &format!("gone {number}"), "milk");
        delete(&mut world, &node("B"), &format!("gone {number}"));
    }
    let begin = world.now();
    let mut number = 0_u64;
    while !(0..20).all(|number| is_collected(&world, &format!("gone {number}"))) {
        assert!(world.now() < begin + SECONDS(60), "nothing goes while somebody writes");
        let operation = ClientOperation::Put {
            key: key(&format!("busy {}", number % 200)),
            value: number.to_string(),
            informed: false,
        };
        world.apply(&Action::Client {
            client: "carol".into(),
            node: node_name(0),
            operation,
            options: RequestOptions::default(),
        });
        number += 1;
        run(&mut world, Duration::from_millis(5));
    }
    assert!(number > 200, "only {number} writes went on meanwhile");
}

/// A restart skips counters and never goes back below the floor.
#[test]
fn after_a_power_failure_what_was_collected_stays_away_and_new_writes_live() {
    let mut world = world(3);
    for number in 0..10 {
        put(&mut world, &node("A"), &format!("cart {number}"), "milk");
        delete(&mut world, &node("A"), &format!("cart {number}"));
    }
    wait(&mut world, SECONDS(20), "collected", |world| (0..10).all(|n| is_collected(world, &format!("cart {n}"))));
    for index in 0..3 {
        world.apply(&Action::Crash { node: node_name(index), disk: DiskFate::Kept });
    }
    (0..3).for_each(|index| world.apply(&Action::Restart { node: node_name(index) }));
    wait(&mut world, SECONDS(30), "back", World::is_settled);
    for number in 0..10 {
        let name = format!("cart {number}");
        assert!(get(&mut world, &node("C"), &name).is_empty());
        put(&mut world, &node("A"), &name, "eggs");
    }
    run(&mut world, SECONDS(10));
    for number in 0..10 {
        let held = held(&world, &format!("cart {number}"));
        assert!(held.len() == 3 && held.values().all(|versions| *versions == [Some("eggs".into())]), "{held:?}");
    }
}
