//! Whole clusters: what anti-entropy does among crashes, cut links and clients. Named after the scenarios of Riak's own
//! acceptance tests where they are the same.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_core::config::Repair;
use quorate_core::event::{EventKind, MessageKind};
use quorate_core::hash::Position;
use quorate_core::id::{Key, NodeId};
use quorate_core::sim::{Action, ClientOperation, DiskFate, RequestOptions, Setting, World, node_name};
use quorate_core::storage::{Batch, MemoryStore, PageLimit, Space, Storage};
use quorate_core::view::{OutcomeView, ReplicaView};

const INTERVAL: Duration = Duration::from_secs(5);
const ALL: PageLimit = PageLimit { rows: u32::MAX, bytes: u32::MAX };

fn key(number: u64) -> Key {
    Key::new(&format!("key {number}")).expect("a good key")
}

fn world(nodes: u8) -> World {
    let repair = Repair { exchange_interval: INTERVAL, ..Repair::default() };
    let mut world = World::new(&Setting { nodes, repair, ..Setting::default() });
    wait(&mut world, "one cluster", World::is_settled);
    world
}

#[track_caller]
fn wait(world: &mut World, what: &str, condition: impl Fn(&World) -> bool) {
    let end = world.now() + Duration::from_secs(120);
    while !condition(world) {
        assert!(world.now() < end, "not within two minutes: {what}");
        world.run_until(world.now() + Duration::from_millis(50));
    }
}

fn pass(world: &mut World, span: Duration) {
    world.run_until(world.now() + span);
}

#[track_caller]
fn ask(world: &mut World, at: &NodeId, operation: ClientOperation) -> OutcomeView {
    let options = RequestOptions::default();
    world.apply(&Action::Client { client: "alice".into(), node: at.clone(), operation, options });
    let id = world.view().operations.last().expect("it was sent").id;
    let find = |world: &World| world.view().operations.iter().find(|operation| operation.id == id)?.outcome.clone();
    wait(world, "an answer", |world| find(world).is_some());
    find(world).expect("it is there")
}

/// A write, asked for again while those it needs are not yet known to be dead.
#[track_caller]
fn put(world: &mut World, at: &NodeId, key: &Key, value: &str) {
    let operation = ClientOperation::Put { key: key.clone(), value: value.into(), informed: false };
    let written = (0..5).any(|_| ask(world, at, operation.clone()) == OutcomeView::Written);
    assert!(written, "{key:?} is not written through {at}");
}

/// Writes so many keys through all nodes in turn.
fn fill(world: &mut World, keys: u64, value: &str) -> Vec<Key> {
    let nodes = world.view().nodes.len() as u64;
    let keys: Vec<Key> = (0..keys).map(key).collect();
    for (number, key) in (0..).zip(&keys) {
        put(world, &node_name(u8::try_from(number % nodes).expect("few")), key, value);
    }
    keys
}

/// What the owners hold of a key.
fn replicas(world: &World, key: &Key) -> Vec<ReplicaView> {
    let view = world.key_view(key).expect("there is a ring");
    let mut replicas = view.replicas;
    replicas.retain(|replica| view.primaries.contains(&replica.node));
    replicas
}

/// Every owner of every key holds the same, and as many do as should.
fn equal(world: &World, keys: &[Key]) -> bool {
    keys.iter().all(|key| {
        let replicas = replicas(world, key);
        replicas.len() == 3 && replicas.iter().all(|replica| replica.versions == replicas[0].versions)
    })
}

fn repaired(world: &mut World) -> Vec<(Key, NodeId)> {
    let events = world.take_events().into_iter();
    let repaired = events.filter_map(|event| match event.kind {
        EventKind::Repaired { key, replica } => Some((key, replica)),
        _ => None,
    });
    repaired.collect()
}

/// A healed cluster that nobody writes to: after this, whatever is repaired was repaired without need.
#[track_caller]
fn assert_idle_repairs_nothing(world: &mut World) {
    pass(world, 2 * INTERVAL);
    world.take_events();
    pass(world, 3 * INTERVAL);
    let compared = world.take_events();
    let found: Vec<_> = compared
        .iter()
        .filter(|event| match &event.kind {
            EventKind::Repaired { .. } | EventKind::Stored { .. } | EventKind::TreeRebuilt { .. } => true,
            EventKind::Compared { differing, .. } => *differing > 0,
            _ => false,
        })
        .collect();
    assert!(found.is_empty(), "{found:#?}");
    assert!(compared.iter().any(|event| matches!(event.kind, EventKind::Compared { .. })), "nobody compares");
}

/// Rows of a space go for good, on every disk of a node that does not run.
fn remove_rows(world: &mut World, node: &NodeId, space: Space, which: impl Fn(&[u8]) -> bool) -> usize {
    let mut removed = 0;
    for disk in world.disks_mut(node) {
        let mut batch = Batch::default();
        for (place, _) in disk.scan(space, &[], None, ALL).expect("reads").rows {
            if which(&place) {
                batch.remove(space, place);
                removed += 1;
            }
        }
        let seq = disk.apply(batch).expect("writes");
        disk.sync(seq);
    }
    removed
}

/// Flips a bit in the middle of an object.
fn rot(disk: &mut MemoryStore, key: &Key) -> bool {
    let place = [&Position::of(key).0.to_be_bytes()[..], key.as_bytes()].concat();
    let Some(row) = disk.get(Space::Objects, &place).expect("reads") else { return false };
    let mut row = row.to_vec();
    let middle = row.len() / 2;
    row[middle] ^= 4;
    let mut batch = Batch::default();
    batch.put(Space::Objects, place, row);
    let seq = disk.apply(batch).expect("writes");
    disk.sync(seq);
    true
}

/// D1, first part: a store that has lost a part of what it holds, and knows nothing of it.
#[test]
fn verify_aae_a_wiped_partition_comes_back_without_a_read() {
    let mut world = world(5);
    let keys = fill(&mut world, 60, "kept");
    let victim = node_name(1);
    world.apply(&Action::Crash { node: victim.clone(), disk: DiskFate::Kept });
    let lost = remove_rows(&mut world, &victim, Space::Objects, |place| place[0] < 128);
    remove_rows(&mut world, &victim, Space::Tree, |leaf| leaf[0] < 32);
    assert!(lost > 5, "{lost} rows");
    world.apply(&Action::Restart { node: victim });
    wait(&mut world, "every owner has everything", |world| equal(world, &keys));
    assert_idle_repairs_nothing(&mut world);
}

/// D1, second and third part: writes that fewer than N owners have seen, new ones and changes.
#[test]
fn verify_aae_writes_that_missed_an_owner_reach_it_without_a_read() {
    let mut world = world(5);
    let mut keys = fill(&mut world, 30, "old");
    let cut = |from: &str, to: &str, cut: bool| {
        let [from, to] = [from, to].map(|name| NodeId::new(name).expect("a good name"));
        Action::Link { from, to, cut, loss_per_million: 0, latency: Duration::ZERO }
    };
    // Nobody reaches E, and it reaches nobody.
    for (one, other) in [("A", "E"), ("B", "E"), ("C", "E"), ("D", "E")] {
        world.apply(&cut(one, other, true));
        world.apply(&cut(other, one, true));
    }
    let changed: Vec<Key> = keys.iter().step_by(2).cloned().collect();
    let fresh: Vec<Key> = (100..130).map(key).collect();
    for (number, key) in (0_u8..).zip(changed.iter().chain(&fresh)) {
        put(&mut world, &node_name(number % 4), key, "new");
    }
    keys.extend(fresh);
    world.apply(&Action::Heal);
    wait(&mut world, "every owner has everything", |world| equal(world, &keys));
    assert_idle_repairs_nothing(&mut world);
}

/// D2: everything that a node holds goes, marks and trees included, and only its life is left.
#[test]
fn partition_repair_of_a_store_without_objects() {
    let mut world = world(4);
    let keys = fill(&mut world, 60, "kept");
    let victim = node_name(2);
    world.apply(&Action::Crash { node: victim.clone(), disk: DiskFate::Kept });
    assert!(remove_rows(&mut world, &victim, Space::Objects, |_| true) > 20);
    world.apply(&Action::Restart { node: victim });
    wait(&mut world, "every owner has everything", |world| equal(world, &keys));
    assert_idle_repairs_nothing(&mut world);
}

/// D3: a disk gives back garbage. Requests go on with the other owners, and what is met is healed; a joiner gets all.
#[test]
fn verify_corruption_filtering() {
    let mut world = world(4);
    let keys = fill(&mut world, 40, "kept");
    let victim = node_name(0);
    let rotten: Vec<Key> = {
        let mut rotten = BTreeSet::new();
        for disk in world.disks_mut(&victim) {
            rotten.extend(keys.iter().step_by(3).filter(|key| rot(disk, key)).cloned());
        }
        rotten.into_iter().collect()
    };
    assert!(rotten.len() > 5, "{}", rotten.len());
    world.take_events();
    for (number, key) in (0_u8..).zip(&keys) {
        let found = ask(&mut world, &node_name(1 + number % 3), ClientOperation::Get { key: key.clone() });
        assert_eq!(found, OutcomeView::Found(vec!["kept".into()]), "{key:?}");
    }
    world.apply(&Action::Add);
    wait(&mut world, "every owner has everything", |world| world.is_settled() && equal(world, &keys));
    let healed: BTreeSet<Key> = world
        .take_events()
        .into_iter()
        .filter_map(|event| if let EventKind::Healed { key } = event.kind { Some(key) } else { None })
        .collect();
    assert_eq!(healed.into_iter().collect::<Vec<_>>(), {
        let mut rotten = rotten;
        rotten.sort();
        rotten
    });
    assert_idle_repairs_nothing(&mut world);
}

/// D4: a tree that says other things than the rows do is built anew, and no key is repaired more than once for it.
#[test]
fn a_tree_that_does_not_fit_its_store_costs_one_repair_a_key_at_most() {
    let mut world = world(3);
    let keys = fill(&mut world, 60, "kept");
    let victim = node_name(1);
    pass(&mut world, 2 * INTERVAL);
    world.apply(&Action::Crash { node: victim.clone(), disk: DiskFate::Kept });
    let leaves = remove_rows(&mut world, &victim, Space::Tree, |leaf| leaf.last().is_some_and(|byte| byte % 2 == 0));
    assert!(leaves > 10, "{leaves} leaves");
    world.take_events();
    world.apply(&Action::Restart { node: victim.clone() });
    pass(&mut world, 6 * INTERVAL);
    assert!(world.anti_entropy(&victim).trees_built > 5, "{:?}", world.anti_entropy(&victim));
    let repaired = repaired(&mut world);
    let once: BTreeSet<_> = repaired.iter().collect();
    assert_eq!(repaired.len(), once.len(), "{repaired:?}");
    assert!(equal(&world, &keys));
    assert_idle_repairs_nothing(&mut world);
}

/// D5: whoever does not own a key is not asked about it, and what a fallback keeps is not compared.
#[test]
fn exchanges_keep_off_the_fallbacks() {
    let mut world = world(5);
    let keys = fill(&mut world, 60, "kept");
    world.apply(&Action::Crash { node: node_name(4), disk: DiskFate::Kept });
    for (number, key) in (0_u8..).zip(&keys) {
        put(&mut world, &node_name(number % 4), key, "newer");
    }
    pass(&mut world, 4 * INTERVAL);
    for (key, replica) in repaired(&mut world) {
        let primaries = world.key_view(&key).expect("there is a ring").primaries;
        assert!(primaries.contains(&replica), "{key:?} was repaired at {replica}, which does not own it");
    }
    for key in &keys {
        let view = world.key_view(key).expect("there is a ring");
        for replica in &view.replicas {
            assert!(view.primaries.contains(&replica.node), "{key:?} is an object of {}", replica.node);
        }
    }
}

/// D6: writes that go on are no differences: what is repaired does not grow with them.
#[test]
fn writes_under_way_are_not_repaired() {
    let mut world = world(5);
    let keys = fill(&mut world, 30, "first");
    world.take_events();
    for number in 0..600_u64 {
        let key = keys[usize::try_from(number * 7 % 30).expect("few")].clone();
        let operation = ClientOperation::Put { key, value: format!("value {number}"), informed: false };
        let node = node_name(u8::try_from(number % 5).expect("few"));
        let (client, options) = (format!("client {}", number % 8), RequestOptions::default());
        world.apply(&Action::Client { client, node, operation, options });
        pass(&mut world, Duration::from_millis(50));
    }
    let events = world.take_events();
    let compared = events.iter().filter(|event| matches!(event.kind, EventKind::Compared { .. })).count();
    let differing = |kind: &EventKind| if let EventKind::Compared { differing, .. } = kind { *differing } else { 0 };
    let differing: u32 = events.iter().map(|event| differing(&event.kind)).sum();
    assert!(compared > 1_000, "{compared} comparisons");
    assert_eq!(differing, 0, "in {compared} comparisons");
}

/// B6: reads of a cluster in which nothing is behind write nothing.
#[test]
fn verify_no_writes_on_read() {
    let mut world = world(5);
    let keys = fill(&mut world, 30, "kept");
    pass(&mut world, 2 * INTERVAL);
    world.take_events();
    for (number, key) in (0_u8..).zip(&keys) {
        let found = ask(&mut world, &node_name(number % 5), ClientOperation::Get { key: key.clone() });
        assert_eq!(found, OutcomeView::Found(vec!["kept".into()]));
    }
    pass(&mut world, 2 * INTERVAL);
    for event in world.take_events() {
        let writes = match &event.kind {
            EventKind::Stored { .. } | EventKind::Repaired { .. } | EventKind::Minted { .. } => true,
            EventKind::Sent { message, .. } => matches!(message, MessageKind::Write | MessageKind::Repair),
            _ => false,
        };
        assert!(!writes, "{event:?}");
    }
}
