//! Who may vote on the layout: a store that took another one's place has forgotten what that one promised, and waits until
//! a layout names it.

mod nodes;

use std::time::Duration;

use nodes::{Nodes, SECONDS, name_of};
use quorate_core::id::Token;
use quorate_core::layout::{Change, Decision, Farewell, Verdict};
use quorate_core::message::{Message, NodeMessage};
use quorate_core::node::{Input, Wish};

/// Long enough to hear of a store, too short to decide that it may vote.
const HEARD_WITHIN: Duration = Duration::from_millis(60);

/// Five nodes, A to E, of which these have lost their disks and run again, as the others have just heard.
fn five_of_which_forgot(names: &[&str]) -> Nodes {
    let mut nodes = Nodes::new();
    nodes.begin("A", &[]);
    ["B", "C", "D", "E"].iter().for_each(|name| nodes.begin(name, &["A"]));
    nodes.run(SECONDS(5));
    assert_eq!(voters(&nodes, "E"), ["A", "B", "C", "D", "E"]);
    names.iter().for_each(|name| nodes.begin(name, &["E"]));
    nodes.run(HEARD_WITHIN);
    nodes
}

fn wish(nodes: &mut Nodes, at: &str, wish: Wish) {
    nodes.step(at, Input::Wish { token: Token(1), wish });
}

fn remove(name: &str) -> Vec<Change> {
    vec![Change::Remove { node: name_of(name), why: Farewell::Removed }]
}

/// The owners whose store is the one that the layout names, as a node sees it.
fn voters(nodes: &Nodes, at: &str) -> Vec<String> {
    let layout = nodes.nodes[at].rings().layout();
    let may_vote =
        |name: &&String| layout.role(&name_of(name)).is_some_and(|role| role.store == nodes.nodes[*name].actor());
    nodes.nodes.keys().filter(may_vote).cloned().collect()
}

#[test]
fn a_change_lets_those_in_who_wait_to_vote_for_afterwards_there_might_be_too_few_to_do_so() {
    let mut nodes = five_of_which_forgot(&["A", "B"]);
    assert_eq!(voters(&nodes, "D"), ["C", "D", "E"], "they wait");
    wish(&mut nodes, "D", Wish::Changes { base: None, changes: remove("C") });
    nodes.run(SECONDS(10));
    assert_eq!(voters(&nodes, "D"), ["A", "B", "D", "E"]);
}

#[test]
fn with_a_majority_of_memories_lost_nothing_is_decided_until_an_operator_forces_it_and_then_all_vote_again() {
    let mut nodes = five_of_which_forgot(&["A", "B", "C"]);
    nodes.run(SECONDS(10));
    assert_eq!(voters(&nodes, "D"), ["D", "E"], "nobody can tell what the others promised");
    wish(&mut nodes, "D", Wish::Force { changes: remove("C") });
    nodes.run(SECONDS(10));
    assert_eq!(voters(&nodes, "D"), ["A", "B", "C", "D", "E"], "with its empty store C comes in as a new one");
}

#[test]
fn what_a_majority_has_accepted_is_found_though_the_one_that_proposed_it_is_gone_before_it_could_tell() {
    let mut nodes = five_of_which_forgot(&[]);
    wish(&mut nodes, "D", Wish::Changes { base: None, changes: remove("C") });
    while let Some((to, from, envelope)) = nodes.flying.pop_front() {
        let is_vote = matches!(
            envelope.message,
            Message::Node(NodeMessage::Decision(Decision { verdict: Verdict::Accepted, .. }))
        );
        if !is_vote {
            nodes.step(&to, Input::Message { from, envelope });
        }
    }
    nodes.nodes.remove("D");
    assert!(nodes.nodes["A"].rings().layout().is_owner(&name_of("C")), "nobody has counted");
    nodes.run(SECONDS(5));
    assert!(!nodes.nodes["A"].rings().layout().is_owner(&name_of("C")));
}
