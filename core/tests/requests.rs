//! The name that a client gives its write: a retry is the same write, at whichever coordinator, whatever became of the first
//! attempt, and after others have written over it. And what a reader sees where the last writer wins.

use std::time::Duration;

use quorate_core::config::{Repair, Strategies, Strategy};
use quorate_core::id::{Key, NodeId, RequestKey};
use quorate_core::shard::{Operation, Request, Success};
use quorate_core::sim::{Action, DiskFate, Setting, World};
use quorate_core::value::Value;

fn world(repair: Repair) -> World {
    let mut world = World::new(&Setting { nodes: 3, repair, ..Setting::default() });
    world.run_until(world.now() + Duration::from_secs(10));
    world
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("a good name")
}

fn key() -> Key {
    Key::new("cart").expect("a good key")
}

fn write(value: Option<&str>, context: Option<&str>, name: Option<u128>) -> Request {
    let value = value.map(|text| Value::json(text.to_owned()));
    let mut request = Request::write(key(), value, context.map(String::from));
    if let Operation::Write { request_key, .. } = &mut request.operation {
        *request_key = name.map(RequestKey);
    }
    request
}

#[track_caller]
fn ask(world: &mut World, at: &str, request: Request) -> Success {
    world.ask(&node(at), request).expect("it is answered")
}

#[track_caller]
fn values(world: &mut World, at: &str) -> Vec<String> {
    let set = ask(world, at, Request::get(key())).set;
    let text = |value: &Value| String::from_utf8(value.bytes.to_vec()).expect("text");
    let mut values: Vec<_> = set.values().iter().filter_map(|(_, version)| version.value.as_ref()).map(text).collect();
    values.sort();
    values
}

#[test]
fn a_retry_through_another_coordinator_mints_nothing() {
    for (value, context) in [(Some("1"), false), (Some("1"), true), (None, false), (None, true)] {
        let mut world = world(Repair::default());
        ask(&mut world, "A", write(Some("0"), None, None));
        let context = context.then(|| ask(&mut world, "A", Request::get(key())).context);
        let request = write(value, context.as_deref(), Some(7));
        let first = ask(&mut world, "A", request.clone()).set;
        for at in ["B", "C", "A"] {
            let again = ask(&mut world, at, request.clone()).set;
            assert_eq!((again.context(), again.digest()), (first.context(), first.digest()), "{value:?} at {at}");
        }
    }
}

#[test]
fn a_retry_of_what_was_overwritten_brings_nothing_back() {
    for value in [Some("1"), None] {
        for overwrite in [Some("2"), None] {
            let mut world = world(Repair::default());
            ask(&mut world, "A", write(value, None, Some(7)));
            let after = ask(&mut world, "B", write(overwrite, None, Some(8))).set;
            for at in ["A", "B", "C"] {
                let again = ask(&mut world, at, write(value, None, Some(7))).set;
                assert_eq!((again.context(), again.digest()), (after.context(), after.digest()));
            }
            assert_eq!(values(&mut world, "C"), overwrite.into_iter().collect::<Vec<_>>());
        }
    }
}

/// The answer to a retry says what the writer has seen: its write, and not what others wrote beside it.
#[test]
fn the_context_of_a_retry_spares_siblings() {
    let mut world = world(Repair::default());
    let nothing = ask(&mut world, "A", Request::get(key())).context;
    ask(&mut world, "A", write(Some("1"), Some(&nothing), Some(7)));
    ask(&mut world, "B", write(Some("2"), Some(&nothing), None));
    let again = ask(&mut world, "C", write(Some("1"), Some(&nothing), Some(7))).context;
    assert_eq!(values(&mut world, "A"), ["1", "2"]);
    ask(&mut world, "A", write(Some("3"), Some(&again), None));
    assert_eq!(values(&mut world, "B"), ["2", "3"]);
}

#[test]
fn a_name_is_forgotten_some_time_after_its_write_was_overwritten() {
    let mut world = world(Repair { request_memory: Duration::from_secs(2), ..Repair::default() });
    let forgets = |world: &mut World, wait: u64| {
        ask(world, "A", write(Some("1"), None, Some(7)));
        ask(world, "A", write(Some("2"), None, None));
        world.run_until(world.now() + Duration::from_secs(wait));
        // A store forgets when it writes the key.
        ask(world, "B", write(Some("3"), None, None));
        ask(world, "C", write(Some("1"), None, Some(7)));
        values(world, "A") == ["1"]
    };
    assert!(!forgets(&mut world, 1));
    let mut world = self::world(Repair { request_memory: Duration::from_secs(2), ..Repair::default() });
    assert!(forgets(&mut world, 3));
}

/// The first coordinator is cut off at every moment of its work; the client turns to another one, and in the end there is
/// one version. If the cut comes before the second one answers, both may have minted a dot.
#[test]
fn whenever_the_first_coordinator_is_cut_off_a_retry_makes_one_version() {
    let mut twice = 0;
    for cut_after in (0..40).map(|half_ms| Duration::from_micros(500 * half_ms)) {
        for overwritten in [false, true] {
            let mut world = world(Repair::default());
            ask(&mut world, "B", write(Some("0"), None, None));
            let request = write(Some("1"), None, Some(7));
            world.submit(&node("A"), request.clone());
            world.run_until(world.now() + cut_after);
            world.apply(&Action::Partition { groups: vec![vec![node("A")]] });
            let again = ask(&mut world, "B", request.clone()).set;
            if overwritten {
                ask(&mut world, "C", write(Some("2"), None, None));
            }
            world.run_until(world.now() + Duration::from_secs(6));
            world.apply(&Action::Heal);
            world.run_until(world.now() + Duration::from_secs(30));
            let expected = if overwritten { "2" } else { "1" };
            // Of three nodes, any two that answer may have the third one's version missing: all are asked.
            let mut everything = Request::get(key());
            everything.quorum = Some(quorate_core::shard::Quorum::All);
            let set = ask(&mut world, "B", everything).set;
            assert_eq!(set.len(), 1, "cut after {cut_after:?}: {set:?}");
            assert_eq!(values(&mut world, "C"), [expected], "cut after {cut_after:?}");
            twice += u32::from(!overwritten && set.digest() != again.digest() || set.requests_remembered() > 1);
        }
    }
    assert!(twice > 0, "in no run did both coordinators mint a dot: this tests nothing");
}

/// The first attempt left one copy, at a node that then loses its disk: the retry must have made others.
#[test]
fn a_retry_is_acknowledged_only_when_enough_replicas_hold_the_write() {
    let mut found = 0;
    for cut_after in (0..40).map(|half_ms| Duration::from_micros(500 * half_ms)) {
        let mut world = world(Repair::default());
        let request = write(Some("1"), None, Some(7));
        world.submit(&node("A"), request.clone());
        world.run_until(world.now() + cut_after);
        world.apply(&Action::Partition { groups: vec![vec![node("A")]] });
        world.run_until(world.now() + Duration::from_secs(6));
        world.apply(&Action::Heal);
        world.run_until(world.now() + Duration::from_secs(30));
        let alone = ask(&mut world, "B", Request::get(key())).set.is_empty();
        let again = ask(&mut world, "A", request).set;
        found += u32::from(alone && again.find_request(RequestKey(7)).is_some());
        world.apply(&Action::Crash { node: node("A"), disk: DiskFate::Lost });
        assert_eq!(values(&mut world, "B"), ["1"], "cut after {cut_after:?}");
    }
    assert!(found > 0);
}

/// Two writers at the same time, neither of whom has seen the other's value.
#[test]
fn where_the_last_writer_wins_a_reader_is_shown_one_value_and_the_next_write_replaces_all() {
    let strategies = Strategies::new([("ca".to_owned(), Strategy::Lww)]).expect("good");
    let mut world = World::new(&Setting { nodes: 3, strategies, ..Setting::default() });
    world.run_until(world.now() + Duration::from_secs(10));
    world.submit(&node("A"), write(Some("1"), None, None));
    world.submit(&node("B"), write(Some("2"), None, None));
    world.run_until(world.now() + Duration::from_secs(1));
    let read = ask(&mut world, "C", Request::get(key())).set;
    assert_eq!((read.len(), read.context().len()), (1, 2), "one is shown, and the context covers both");
    for at in ["A", "B"] {
        assert_eq!(ask(&mut world, at, Request::get(key())).set.live().next(), read.live().next(), "everybody agrees");
    }
    let after = ask(&mut world, "C", write(Some("3"), None, None)).set;
    assert_eq!((after.len(), after.context().descends(read.context())), (1, true));
}
