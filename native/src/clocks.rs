//! A version vector as people read it: a number for each node. Never used to order anything; the contexts are for that.

use std::collections::BTreeMap;

use quorate_core::causality::VersionVector;
use quorate_core::id::{ActorId, NodeId};
use serde::{Deserialize, Serialize};

/// For each node the sum of its actors' counters. An actor whose node is not known goes by its own name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    /// The numbers, in the order of the names.
    pub clocks: BTreeMap<String, u64>,
}

impl Clocks {
    /// The picture of a vector, by what is known of its actors.
    #[must_use]
    pub fn of(vector: &VersionVector, issuers: &BTreeMap<ActorId, NodeId>) -> Self {
        let mut greatest: BTreeMap<ActorId, u64> = BTreeMap::new();
        for span in vector.iter() {
            let counter = greatest.entry(span.actor).or_default();
            *counter = span.upto.max(*counter);
        }
        let mut clocks = Self::default();
        for (actor, counter) in greatest {
            let name = issuers.get(&actor).map_or_else(|| actor.to_string(), ToString::to_string);
            let sum = clocks.clocks.entry(name).or_default();
            *sum = sum.saturating_add(counter);
        }
        clocks
    }

    /// All numbers together: it grows with every write that the vector has seen.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.clocks.values().fold(0, |total, count| total.saturating_add(*count))
    }

    /// Takes the greater number of each node.
    pub fn merge(&mut self, other: &Self) {
        for (node, count) in &other.clocks {
            let own = self.clocks.entry(node.clone()).or_default();
            *own = (*own).max(*count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::causality::Dot;

    fn node(name: &str) -> NodeId {
        name.parse().expect("a good name")
    }

    #[test]
    fn actors_of_one_node_are_added_and_strangers_keep_their_names() {
        let mut vector = VersionVector::new();
        for (actor, counter) in [(1, 5), (1, 7), (2, 3), (9, 4)] {
            vector.insert(Dot { actor: ActorId(actor), counter });
        }
        let issuers = [(ActorId(1), node("a")), (ActorId(2), node("a"))].into();
        let clocks = Clocks::of(&vector, &issuers);
        let stranger = ActorId(9).to_string();
        assert_eq!(clocks.clocks, [("a".to_owned(), 10), (stranger, 4)].into());
        assert_eq!(clocks.total(), 14);
    }

    #[test]
    fn merging_takes_the_greater_number() {
        let clocks = |pairs: &[(&str, u64)]| Clocks {
            clocks: pairs.iter().map(|(node, count)| ((*node).to_owned(), *count)).collect(),
        };
        let mut one = clocks(&[("a", 1), ("b", 5)]);
        one.merge(&clocks(&[("b", 3), ("c", 2)]));
        assert_eq!(one, clocks(&[("a", 1), ("b", 5), ("c", 2)]));
    }
}
