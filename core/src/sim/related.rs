//! Which actions belong together: what a search for a shorter schedule drops at once. Only a guide; a wrong answer here
//! costs runs and never a result.

use alloc::string::String;
use alloc::vec::Vec;
use core::mem::{Discriminant, discriminant};

use super::action::{Action, ClientOperation};
use crate::id::{Key, NodeId};

/// Something that actions have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trait {
    /// Of one kind.
    Kind(Discriminant<Action>),
    /// Client requests of one kind.
    Request(Discriminant<ClientOperation>),
    /// By one client.
    Client(String),
    /// About one key.
    Key(Key),
    /// About one node, and no client's request.
    Node(NodeId),
}

/// Everything that an action may share with others.
pub(super) fn traits(action: &Action) -> Vec<Trait> {
    let mut traits = Vec::from([Trait::Kind(discriminant(action))]);
    if let Action::Client { client, operation, .. } = action {
        traits.push(Trait::Request(discriminant(operation)));
        traits.push(Trait::Client(client.clone()));
        traits.push(Trait::Key(key_of(operation).clone()));
    } else {
        traits.extend(nodes_of(action).into_iter().cloned().map(Trait::Node));
    }
    traits
}

/// Whether one may be there because of the other.
pub(super) fn are_related(one: &Action, other: &Action) -> bool {
    match (one, other) {
        (Action::Client { operation: one, .. }, Action::Client { operation: other, .. }) => {
            key_of(one) == key_of(other)
        }
        (Action::Client { .. }, _) | (_, Action::Client { .. }) => false,
        (Action::Heal | Action::PowerFailure, _) | (_, Action::Heal | Action::PowerFailure) => true,
        _ => nodes_of(one).iter().any(|node| nodes_of(other).contains(node)),
    }
}

/// The key that a request is about.
pub(super) const fn key_of(operation: &ClientOperation) -> &Key {
    match operation {
        ClientOperation::Get { key } | ClientOperation::Put { key, .. } | ClientOperation::Delete { key, .. } => key,
    }
}

/// The nodes that an action is about.
pub(super) fn nodes_of(action: &Action) -> Vec<&NodeId> {
    match action {
        Action::Client { node, .. }
        | Action::Crash { node, .. }
        | Action::Stop { node }
        | Action::Restart { node }
        | Action::Pause { node }
        | Action::Resume { node }
        | Action::Slow { node, .. }
        | Action::SlowControl { node, .. }
        | Action::Clock { node, .. }
        | Action::Disk { node, .. }
        | Action::Layout { node, .. } => Vec::from([node]),
        Action::Link { from, to, .. } => Vec::from([from, to]),
        Action::Partition { groups } => groups.iter().flatten().collect(),
        Action::HealCore { core } => core.iter().collect(),
        Action::PowerFailure | Action::Add | Action::Heal => Vec::new(),
    }
}
