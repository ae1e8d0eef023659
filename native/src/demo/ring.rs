//! Who holds which key, as the ring says, so that what a change moves can be counted key by key.

use std::collections::BTreeSet;

use quorate_core::hash::Position;
use quorate_core::id::Key;
use serde::Deserialize;

/// Copies of each key, unless there are fewer nodes: what the nodes of the show begin with.
const COPIES: usize = 3;

/// The answer of `GET /api/v1/ring`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Ring {
    /// Clockwise from position 0.
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, Deserialize)]
struct Token {
    hash: u32,
    node_id: String,
}

impl Ring {
    /// The nodes that hold a key: the next ones clockwise.
    fn owners(&self, key: &Key) -> BTreeSet<&str> {
        let at = Position::of(key).short();
        let first = self.tokens.partition_point(|token| token.hash < at);
        let mut owners = BTreeSet::new();
        for token in self.tokens.iter().cycle().skip(first).take(self.tokens.len()) {
            if owners.len() < COPIES {
                owners.insert(token.node_id.as_str());
            }
        }
        owners
    }

    /// How many copies of these keys have another place after a change, of how many.
    pub(super) fn moved(&self, after: &Self, keys: impl Iterator<Item = Key>) -> Moved {
        keys.fold(Moved::default(), |sum, key| {
            let (before, after) = (self.owners(&key), after.owners(&key));
            Moved { copies: sum.copies + after.len(), moved: sum.moved + after.difference(&before).count() }
        })
    }
}

/// What a change has moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    /// Copies of keys that there were.
    pub(super) copies: usize,
    /// Of those, the ones that a node had to get.
    pub(super) moved: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(tokens: &[(u32, &str)]) -> Ring {
        let token = |(hash, node): &(u32, &str)| Token { hash: *hash, node_id: (*node).to_owned() };
        Ring { tokens: tokens.iter().map(token).collect() }
    }

    #[test]
    fn copies_that_a_node_has_to_get_are_counted() {
        let quarter = 1 << 30;
        let before = ring(&[(0, "a"), (quarter, "b"), (2 * quarter, "c"), (3 * quarter, "d")]);
        let without = ring(&[(0, "a"), (quarter, "b"), (3 * quarter, "d")]);
        let keys: Vec<Key> = (0..400).map(|number| Key::new(&format!("k-{number}")).expect("a good key")).collect();
        let of_c = keys.iter().filter(|key| before.owners(key).contains("c")).count();
        assert!((250..350).contains(&of_c), "{of_c}");
        let none = before.moved(&before, keys.iter().cloned());
        assert_eq!(none, Moved { copies: 1_200, moved: 0 });
        assert_eq!(before.moved(&without, keys.iter().cloned()), Moved { copies: 1_200, moved: of_c });
        assert_eq!(without.moved(&before, keys.iter().cloned()).moved, of_c);
        let last = ring(&[(0, "a")]);
        assert!(keys.iter().all(|key| last.owners(key) == BTreeSet::from(["a"])));
    }
}
