//! Ownership as it changes, seen from outside: nodes join, leave, are removed, replaced and forced, and nothing that was
//! acknowledged is lost. Scenarios C1 to C9 by name; C4 is in `partitions.rs`, C9 beside the other tests of membership.

use std::num::NonZeroU16;
use std::time::Duration;

use quorate_core::config::Timing;
use quorate_core::event::EventKind;
use quorate_core::id::{Key, NodeId};
use quorate_core::membership::State;
use quorate_core::sim::{
    Action, ClientOperation, DiskFate, LayoutChange, Mode, Network, RequestOptions, Schedule, Setting, Step, World,
    node_name,
};
use quorate_core::time::Time;
use quorate_core::view::{OutcomeView, ProcessState};

const MINUTE: Duration = Duration::from_secs(60);

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("a good name")
}

fn key(number: u32) -> Key {
    Key::new(&format!("key {number}")).expect("a good key")
}

fn seconds(at: u64) -> Time {
    Time::ZERO + Duration::from_secs(at)
}

/// A cluster of so many nodes, with so many keys.
fn cluster(nodes: u8, keys: u32) -> World {
    let mut world = World::new(&Setting { nodes, ..Setting::default() });
    wait(&mut world, "one cluster", World::is_settled);
    for number in 0..keys {
        let operation = ClientOperation::Put { key: key(number), value: format!("{number}"), informed: false };
        assert_eq!(ask(&mut world, &node_name(0), operation), OutcomeView::Written);
    }
    world
}

#[track_caller]
fn wait(world: &mut World, what: &str, condition: impl Fn(&World) -> bool) {
    let end = world.now() + 5 * MINUTE;
    while !condition(world) {
        assert!(world.now() < end, "not within five minutes: {what}\n{:#?}", world.view().nodes);
        world.run_until(world.now() + Duration::from_millis(50));
    }
}

#[track_caller]
fn ask(world: &mut World, at: &NodeId, operation: ClientOperation) -> OutcomeView {
    let options = RequestOptions::default();
    world.apply(&Action::Client { client: "alice".into(), node: at.clone(), operation, options });
    let id = world.view().operations.last().expect("it was sent").id;
    let find = |world: &World| {
        let view = world.view();
        view.operations.iter().find(|operation| operation.id == id).and_then(|operation| operation.outcome.clone())
    };
    wait(world, "an answer", |world| find(world).is_some());
    find(world).expect("it is answered")
}

fn change(world: &mut World, at: &str, change: LayoutChange) {
    world.apply(&Action::Layout { node: node(at), change });
}

/// Every key is held by its owners and by nobody else.
fn owners_hold_exactly_what_they_own(world: &World, keys: u32) -> bool {
    (0..keys).all(|number| {
        let view = world.key_view(&key(number)).expect("there is a ring");
        let mut holders: Vec<&NodeId> = view.replicas.iter().map(|replica| &replica.node).collect();
        let mut owners: Vec<&NodeId> = view.primaries.iter().collect();
        holders.sort();
        owners.sort();
        holders == owners
    })
}

#[track_caller]
fn all_can_be_read(world: &mut World, keys: u32, at: &str) {
    for number in 0..keys {
        let found = ask(world, &node(at), ClientOperation::Get { key: key(number) });
        assert_eq!(found, OutcomeView::Found(vec![format!("{number}")]), "key {number}");
    }
    assert_eq!(world.violations(), []);
}

fn owners(world: &World) -> Vec<String> {
    world.view().ring.owners.iter().map(ToString::to_string).collect()
}

fn process(world: &World, name: &str) -> ProcessState {
    world.view().nodes.into_iter().find(|view| view.node.as_str() == name).expect("it is there").process
}

/// The fallback starts again when the owner has been back for long: what it kept is delivered all the same.
#[test]
fn c1_a_fallback_that_restarts_after_the_owner_is_back_still_delivers() {
    let mut world = cluster(5, 0);
    world.apply(&Action::Crash { node: node("B"), disk: DiskFate::Kept });
    wait(&mut world, "B is found dead", |world| {
        let view = world.view();
        let others = view.nodes.iter().filter(|view| view.process == ProcessState::Running);
        others.flat_map(|view| &view.members).filter(|member| member.node == node("B")).all(|b| b.state == State::Dead)
    });
    for number in 0..30 {
        let operation = ClientOperation::Put { key: key(number), value: format!("{number}"), informed: false };
        assert_eq!(ask(&mut world, &node("A"), operation), OutcomeView::Written);
    }
    let keepers: Vec<NodeId> =
        world.view().nodes.into_iter().filter(|view| !view.hints.is_empty()).map(|view| view.node).collect();
    assert!(!keepers.is_empty(), "somebody keeps something for B");
    for keeper in &keepers {
        world.apply(&Action::Crash { node: keeper.clone(), disk: DiskFate::Kept });
    }
    world.apply(&Action::Restart { node: node("B") });
    world.run_until(world.now() + MINUTE);
    for keeper in &keepers {
        world.apply(&Action::Restart { node: keeper.clone() });
    }
    wait(&mut world, "everything is delivered", |world| {
        world.is_settled() && world.view().nodes.iter().all(|view| view.hints.is_empty())
    });
    all_can_be_read(&mut world, 30, "B");
}

/// One joins, one leaves: afterwards every key is on every owner and nowhere else.
#[test]
fn c2_verify_handoff() {
    let mut world = cluster(4, 60);
    world.apply(&Action::Add);
    wait(&mut world, "E owns its part", |world| {
        owners(world).len() == 5 && world.is_settled() && owners_hold_exactly_what_they_own(world, 60)
    });
    all_can_be_read(&mut world, 60, "E");
    change(&mut world, "A", LayoutChange::Leave);
    wait(&mut world, "A has left", |world| process(world, "A") == ProcessState::Stopped);
    wait(&mut world, "the others own its part", |world| {
        owners(world) == ["B", "C", "D", "E"] && world.is_settled() && owners_hold_exactly_what_they_own(world, 60)
    });
    all_can_be_read(&mut world, 60, "B");
}

/// A dead node is removed, comes back as a new one, and all agree again.
#[test]
fn c3_a_node_that_is_removed_while_it_is_down_comes_back_as_a_new_one() {
    let mut world = cluster(5, 30);
    world.apply(&Action::Crash { node: node("C"), disk: DiskFate::Kept });
    change(&mut world, "A", LayoutChange::Remove { node: node("C") });
    wait(&mut world, "C owns nothing", |world| owners(world) == ["A", "B", "D", "E"]);
    world.run_until(world.now() + MINUTE);
    all_can_be_read(&mut world, 30, "D");
    world.apply(&Action::Restart { node: node("C") });
    wait(&mut world, "C is an owner again", |world| {
        owners(world).len() == 5 && world.is_settled() && owners_hold_exactly_what_they_own(world, 30)
    });
    let events = world.take_events();
    let reborn =
        events.iter().any(|event| event.node == node("C") && matches!(event.kind, EventKind::ActorMinted { .. }));
    assert!(reborn, "it writes under a new name");
    all_can_be_read(&mut world, 30, "C");
}

/// Five nodes become seven and five again, under 40 clients that write 10 keys with quorums of owners.
#[test]
fn c5_five_to_seven_to_five_under_load_loses_nothing() {
    let mut steps = vec![Step { at: seconds(10), action: Action::Add }, Step { at: seconds(11), action: Action::Add }];
    for (at, name) in [(30, "B"), (34, "D")] {
        steps.push(Step { at: seconds(at), action: Action::Layout { node: node(name), change: LayoutChange::Leave } });
    }
    for second in 5..55 {
        for client in 0..40_u64 {
            let at = seconds(second) + Duration::from_millis(25 * client);
            let index = u8::try_from((client + second) % 5).expect("small");
            let number = u32::try_from((client * 7 + second) % 10).expect("small");
            let value = format!("{client} at {second}");
            let operation = ClientOperation::Put { key: key(number), value, informed: client % 2 == 0 };
            let options = RequestOptions { strict: true, ..RequestOptions::default() };
            let node = node_name(index);
            let client = format!("client {client}");
            steps.push(Step { at, action: Action::Client { client, node, operation, options } });
        }
    }
    steps.sort_by_key(|step| step.at);
    let verdict = Schedule { setting: Setting::default(), steps }.judge();
    assert_eq!(verdict.violations, []);
    let written = verdict.tally.outcomes["written"];
    assert!(written > 1_500, "{written} of 2,000 writes were acknowledged");
}

/// The layout never comes to rest for a minute, while links are cut, processes killed and clocks set. A hundred and more by
/// `quorate sim --reconfigure`.
#[test]
fn c6_reconfiguration_every_second_loses_nothing() {
    for seed in 0..6 {
        let verdict = Schedule::swarm(seed, Mode::Reconfiguration).judge();
        assert_eq!(verdict.violations, [], "seed {seed}");
    }
}

/// Two operators force different layouts, each on its side of a partition: one is given up, everywhere the same one, and
/// somebody is told.
#[test]
fn c7_of_two_layouts_of_one_version_one_is_followed_by_all() {
    let mut world = cluster(5, 20);
    world.apply(&Action::Partition { groups: vec![vec![node("A"), node("B")]] });
    change(&mut world, "A", LayoutChange::Force { lost: vec![node("D")] });
    change(&mut world, "C", LayoutChange::Force { lost: vec![node("B")] });
    world.run_until(world.now() + Duration::from_secs(20));
    world.take_events();
    world.apply(&Action::Heal);
    // The one that was given up named a node as lost that the other one keeps, and the other way round.
    wait(&mut world, "who is given up has left", |world| {
        let view = world.view();
        let running: Vec<_> = view.nodes.iter().filter(|view| view.process == ProcessState::Running).collect();
        let [first, ..] = running[..] else { return false };
        running.len() == 4 && running.iter().all(|view| view.layout_version == first.layout_version)
    });
    let told = world.take_events().iter().any(|event| matches!(event.kind, EventKind::TwoLayouts { .. }));
    assert!(told, "that there were two is said");
}

/// A dead node is replaced by another one, which gets exactly what it owned; and by itself with an empty disk.
#[test]
fn c8_a_dead_node_is_replaced() {
    let mut world = cluster(4, 40);
    world.apply(&Action::Crash { node: node("B"), disk: DiskFate::Lost });
    world.apply(&Action::Restart { node: node("B") });
    wait(&mut world, "B has everything again", |world| {
        world.is_settled() && owners_hold_exactly_what_they_own(world, 40)
    });

    let tokens = |world: &World, name: &str| {
        let ring = world.view().ring;
        let owner = ring.owners.iter().position(|owner| owner.as_str() == name);
        let of = ring.tokens.iter().filter(|token| Some(usize::from(token.owner)) == owner);
        of.map(|token| token.hash).collect::<Vec<_>>()
    };
    let place = tokens(&world, "C");
    world.apply(&Action::Crash { node: node("C"), disk: DiskFate::Kept });
    world.apply(&Action::Add);
    wait(&mut world, "E is there", |world| owners(world).len() == 5);
    change(&mut world, "A", LayoutChange::Replace { old: node("C"), new: node("E") });
    wait(&mut world, "E has taken C's place", |world| owners(world) == ["A", "B", "D", "E"]);
    assert_eq!(tokens(&world, "E"), place);
    wait(&mut world, "and what C owned", |world| owners_hold_exactly_what_they_own(world, 40));
    all_can_be_read(&mut world, 40, "E");
}

/// Who is dead for longer than the operator allows loses its part, and gets it again when it returns.
#[test]
fn a_node_that_is_dead_for_too_long_is_evicted_and_comes_back() {
    let evict_after = Some(Duration::from_secs(20));
    let mut world = World::new(&Setting { nodes: 5, evict_after, timing: Timing::default(), ..Setting::default() });
    wait(&mut world, "one cluster", World::is_settled);
    world.apply(&Action::Crash { node: node("D"), disk: DiskFate::Kept });
    wait(&mut world, "D is evicted", |world| owners(world) == ["A", "B", "C", "E"]);
    world.apply(&Action::Restart { node: node("D") });
    wait(&mut world, "D is back", |world| owners(world).len() == 5 && world.is_settled());
}

/// A minority cannot change who owns what; once the majority is lost for ever an operator can, and says so.
#[test]
fn a_minority_changes_nothing_until_it_is_forced() {
    let mut world = cluster(5, 20);
    for name in ["C", "D", "E"] {
        world.apply(&Action::Crash { node: node(name), disk: DiskFate::Kept });
    }
    change(&mut world, "A", LayoutChange::Remove { node: node("E") });
    world.run_until(world.now() + MINUTE);
    assert_eq!(owners(&world).len(), 5);
    change(&mut world, "A", LayoutChange::Force { lost: ["C", "D", "E"].map(node).to_vec() });
    wait(&mut world, "two owners are left, and serve", |world| {
        let view = world.view();
        let running = view.nodes.iter().filter(|view| view.process == ProcessState::Running);
        owners(world) == ["A", "B"] && running.into_iter().all(|view| view.not_ready.is_none())
    });
    let operation = ClientOperation::Put { key: key(100), value: "new".into(), informed: false };
    assert_eq!(ask(&mut world, &node("B"), operation), OutcomeView::Written);
}

/// What a change has begun can be taken back, and weights are followed.
#[test]
fn a_change_is_taken_back() {
    // Far from each other, so that there is time to think.
    let (latency_min, latency_max) = (Duration::from_millis(200), Duration::from_millis(300));
    let network = Network { latency_min, latency_max, ..Network::default() };
    let mut world = World::new(&Setting { nodes: 4, network, ..Setting::default() });
    wait(&mut world, "one cluster", World::is_settled);
    let weight = NonZeroU16::new(3).expect("above zero");
    let before = world.view().ring.tokens.len();
    change(&mut world, "A", LayoutChange::Weigh { node: node("B"), weight });
    wait(&mut world, "it is decided", |world| world.view().ring.tokens.len() > before);
    change(&mut world, "A", LayoutChange::Revert);
    wait(&mut world, "it is as before", |world| {
        let ring = world.view().ring;
        world.is_settled() && ring.tokens.len() == before && ring.layout_version >= 3
    });
    assert_eq!(world.violations(), []);
}

/// Whoever leaves has gone once nothing is under way any more as far as it knows; an operator elsewhere may still be able to
/// go back.
#[test]
fn a_revert_that_comes_too_late_makes_no_owner_of_who_has_gone() {
    let mut world = cluster(4, 0);
    change(&mut world, "B", LayoutChange::Leave);
    wait(&mut world, "the change is under way", |world| owners(world).len() == 3);
    let mut late = 0;
    while process(&world, "B") != ProcessState::Stopped {
        let mut reverted = world.clone();
        change(&mut reverted, "D", LayoutChange::Revert);
        wait(&mut reverted, "all agree", World::is_settled);
        late += u32::from(process(&reverted, "B") == ProcessState::Stopped);
        world.run_until(world.now() + Duration::from_millis(2));
    }
    assert!(late > 0, "some came too late");
}
