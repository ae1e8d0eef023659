//! What users tell and ask through control planes, and what these tell by themselves: instant disks and a network that loses
//! nothing.

mod nodes;

use std::time::Duration;

use bytes::Bytes;
use quorate_core::config::Config;
use quorate_core::gossip::{Answers, Asked, Audience, Heard, RefusedError, Reply};
use quorate_core::id::{EventName, NodeId, Token};
use quorate_core::limits;
use quorate_core::node::{Input, TalkError};

use nodes::{Nodes, SECONDS, name_of};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// A cluster of four.
fn cluster() -> Nodes {
    let mut nodes = Nodes::new();
    for name in NAMES {
        nodes.begin(name, &["a"]);
    }
    nodes.run(SECONDS(5));
    assert_eq!(nodes.clusters(), [NAMES]);
    nodes
}

fn event_name(name: &str) -> EventName {
    EventName::new(name).expect("a good name")
}

fn fire(nodes: &mut Nodes, at: &str, name: &str, payload: &'static [u8]) {
    let payload = Bytes::from_static(payload);
    nodes.step(at, Input::Fire { token: Token(1), name: event_name(name), payload });
}

fn ask(nodes: &mut Nodes, at: &str, name: &str, to: Audience) {
    let asked = Asked { name: event_name(name), payload: "?".into(), timeout: SECONDS(2), to };
    nodes.step(at, Input::Ask { token: Token(1), asked });
}

/// What the application at a node heard of events of this name.
fn events(nodes: &Nodes, at: &str, name: &str) -> Vec<String> {
    let heard = nodes.heard.get(at).into_iter().flatten();
    let payload = |heard: &Heard| match heard {
        Heard::Event { event, .. } if event.name.as_str() == name => {
            Some(String::from_utf8(event.payload.to_vec()).expect("text"))
        }
        _ => None,
    };
    heard.filter_map(payload).collect()
}

/// What came of the only question that a node asked.
fn answers(nodes: &Nodes, at: &str) -> Option<Answers> {
    let answers = nodes.heard.get(at)?.iter().filter_map(|heard| match heard {
        Heard::Answers(answers) => Some(answers.clone()),
        _ => None,
    });
    let mut all: Vec<Answers> = answers.collect();
    assert!(all.len() <= 1, "one question, one answer");
    all.pop().map(|mut answers| {
        answers.replies.sort_by(|(one, _), (other, _)| one.cmp(other));
        answers
    })
}

#[test]
fn an_event_is_heard_once_at_every_node_and_by_one_that_comes_later() {
    let mut nodes = cluster();
    fire(&mut nodes, "b", "deploy", b"1");
    let stamp = nodes.fired.pop().expect("an answer").expect("told");
    assert_eq!(stamp.origin, name_of("b"));
    nodes.run(SECONDS(30));
    nodes.begin("e", &["c"]);
    nodes.run(SECONDS(30));
    for at in NAMES.into_iter().chain(["e"]) {
        assert_eq!(events(&nodes, at, "deploy"), ["1"], "at {at}");
        let told: Vec<bool> = nodes.nodes[at].events().map(|event| event.stamp == stamp).collect();
        assert_eq!(told.iter().filter(|is_it| **is_it).count(), 1, "at {at}");
    }
    let is_late = |heard: &Heard| matches!(heard, Heard::Event { event, is_late: true } if event.stamp == stamp);
    assert!(nodes.heard["e"].iter().any(is_late));
}

#[test]
fn a_question_is_put_to_all_and_what_they_say_is_gathered() {
    let mut nodes = cluster();
    ask(&mut nodes, "a", "load", Audience::All);
    nodes.run(Duration::from_millis(50));
    let id = nodes.asked.pop().expect("an answer").expect("asked");
    for at in NAMES {
        let put: Vec<NodeId> = nodes.heard[at]
            .iter()
            .filter_map(|heard| match heard {
                Heard::Question { from, id: put, .. } if *put == id => Some(from.clone()),
                _ => None,
            })
            .collect();
        assert_eq!(put, [name_of("a")], "at {at}");
        assert_eq!(answers(&nodes, "a"), None);
        nodes.step(at, Input::Answer { token: Token(2), asker: name_of("a"), id, payload: at.into() });
        nodes.run(Duration::from_millis(50));
    }
    let replies = NAMES.map(|at| (name_of(at), Reply::Answer(at.into()))).to_vec();
    assert_eq!(answers(&nodes, "a"), Some(Answers { id, replies, missing: Vec::new() }));
}

#[test]
fn nodes_say_themselves_how_they_are_and_who_is_silent_is_missing() {
    let mut nodes = cluster();
    nodes.nodes.remove("d");
    ask(&mut nodes, "b", "quorate.health", Audience::Nodes(["a", "b", "d"].map(name_of).to_vec()));
    nodes.run(SECONDS(3));
    let answers = answers(&nodes, "b").expect("it is over");
    let said: Vec<&NodeId> = answers.replies.iter().map(|(node, _)| node).collect();
    assert_eq!((said, answers.missing), (vec![&name_of("a"), &name_of("b")], vec![name_of("d")]));
    for (node, reply) in &answers.replies {
        // No shard says here that it holds anything.
        assert!(matches!(reply, Reply::Health(health) if health.alive >= 3 && !health.is_ready), "{node}: {reply:?}");
    }
}

#[test]
fn what_may_not_be_told_or_asked_is_refused_with_the_reason() {
    let mut nodes = Nodes::new();
    nodes.begin("a", &["nobody"]);
    fire(&mut nodes, "a", "deploy", b"1");
    ask(&mut nodes, "a", "load", Audience::All);
    assert_eq!(nodes.fired.pop(), Some(Err(TalkError::NoCluster)));
    assert_eq!(nodes.asked.pop(), Some(Err(TalkError::NoCluster)));
    let mut nodes = cluster();
    fire(&mut nodes, "a", "quorate.member", b"1");
    ask(&mut nodes, "a", "quorate.secrets", Audience::All);
    fire(&mut nodes, "a", "long", &[0; limits::EVENT_BYTES_MAX + 1]);
    let refused = [nodes.fired.remove(0), nodes.asked.remove(0).map(|_| panic!("asked")), nodes.fired.remove(0)];
    assert!(matches!(&refused[0], Err(TalkError::Refused(RefusedError::Reserved { .. }))), "{refused:?}");
    assert!(matches!(&refused[1], Err(TalkError::Refused(RefusedError::Reserved { .. }))), "{refused:?}");
    assert!(matches!(&refused[2], Err(TalkError::Refused(RefusedError::Bounds(_)))), "{refused:?}");
    for _ in 0..limits::QUESTIONS_MAX {
        ask(&mut nodes, "a", "load", Audience::Nodes(vec![name_of("b")]));
    }
    assert!(nodes.asked.iter().all(Result::is_ok));
    ask(&mut nodes, "a", "load", Audience::All);
    assert!(matches!(nodes.asked.pop(), Some(Err(TalkError::Refused(RefusedError::Busy { .. })))));
}

/// What was told of members at a node, in the order of hearing.
fn told_of_members(nodes: &Nodes, at: &str) -> Vec<String> {
    let said = events(nodes, at, "quorate.member");
    let short = |said: &String| {
        let fields: Vec<&str> = said.split('"').collect();
        let ["{", "node", ":", node, ",", "status", ":", status, ",", "incarnation", _] = fields[..] else {
            panic!("{said}")
        };
        format!("{node} {status}")
    };
    said.iter().map(short).collect()
}

/// Waits until everything that is to be told was told, then says what these nodes have heard beyond what they had.
fn told_since(nodes: &mut Nodes, at: &[&str], before: &[Vec<String>]) -> Vec<Vec<String>> {
    nodes.run(SECONDS(60));
    at.iter().zip(before).map(|(at, before)| told_of_members(nodes, at)[before.len()..].to_vec()).collect()
}

#[test]
fn whoever_joins_is_told_once_at_every_node() {
    let mut nodes = cluster();
    nodes.run(SECONDS(30));
    for at in NAMES {
        let mut told = told_of_members(&nodes, at);
        told.sort();
        assert_eq!(told, ["a joined", "b joined", "c joined", "d joined"], "at {at}");
    }
}

#[test]
fn the_death_of_a_member_and_a_new_layout_are_told_once_for_the_whole_cluster() {
    let mut nodes = cluster();
    nodes.run(SECONDS(30));
    let versions = |nodes: &Nodes, at: &str| {
        let mut versions = events(nodes, at, "quorate.layout");
        versions.sort();
        versions
    };
    let told = versions(&nodes, "a");
    let version = nodes.nodes["a"].rings().id.version;
    assert_eq!(told.last(), Some(&format!(r#"{{"layout_version":{version},"owners":4}}"#)));
    let rest = ["a", "b", "c"];
    let before = rest.map(|at| told_of_members(&nodes, at));
    nodes.nodes.remove("d");
    assert_eq!(told_since(&mut nodes, &rest, &before), [["d dead"]; 3]);
    rest.iter().for_each(|at| assert_eq!(versions(&nodes, at), told, "at {at}"));
}

#[test]
fn whoever_stops_and_comes_back_is_told_once_each_time() {
    let mut nodes = cluster();
    nodes.run(SECONDS(30));
    let rest = ["a", "b", "d"];
    let heard = |nodes: &Nodes| rest.map(|at| told_of_members(nodes, at));
    let before = heard(&nodes);
    nodes.step("c", Input::Stop);
    let store = nodes.nodes.remove("c").expect("it ran").into_storage();
    assert_eq!(told_since(&mut nodes, &rest, &before), [["c stopped"]; 3]);
    let before = heard(&nodes);
    nodes.begin_with("c", &["a"], Config::default(), store);
    assert_eq!(told_since(&mut nodes, &rest, &before), [["c alive"]; 3]);
}
