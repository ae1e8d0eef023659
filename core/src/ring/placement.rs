//! Where the tokens of an owner lie. A function of its place and weight alone: never of the other owners, of the order in
//! which they came, or of chance.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::num::NonZeroU16;

use crate::hash::Position;
use crate::limits;

use super::{Assignment, Owner, Place, Token};

/// How many tokens an owner has: so many for each unit of weight, at most [`limits::TOKENS_PER_NODE_MAX`].
fn token_count(per_weight: NonZeroU16, owner: &Owner) -> u32 {
    let wanted = u32::from(per_weight.get()).saturating_mul(u32::from(owner.weight.get()));
    wanted.min(limits::TOKENS_PER_NODE_MAX)
}

/// Where the tokens of one place lie.
pub(super) struct Tokens {
    /// What the index of a token is put behind to be hashed.
    bytes: Vec<u8>,
    prefix: usize,
}

impl Tokens {
    /// No name has a zero byte, and behind it a first place has the 4 bytes of the index and a later one 6: so no two places
    /// with their indexes read the same.
    pub(super) fn of(place: &Place) -> Self {
        let mut bytes = Vec::from(place.node.as_str());
        bytes.push(0);
        if place.turn > 0 {
            bytes.extend(place.turn.to_be_bytes());
        }
        Self { prefix: bytes.len(), bytes }
    }

    pub(super) fn nth(&mut self, index: u32) -> Position {
        self.bytes.truncate(self.prefix);
        self.bytes.extend(index.to_be_bytes());
        Position::of_bytes(&self.bytes)
    }
}

/// All tokens, clockwise. Two at the same position stay two: they lie in the order of their nodes' names, and the first
/// one owns what lies before them.
pub(super) fn tokens(per_weight: NonZeroU16, owners: &[Owner]) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (owner, number) in owners.iter().zip(0_u16..) {
        let mut places = Tokens::of(&owner.place);
        let count = token_count(per_weight, owner);
        tokens.extend((0..count).map(|index| Token { position: places.nth(index), owner: number }));
    }
    tokens.sort_unstable();
    tokens
}

/// The owners of every partition, as indexes into the owners.
pub(super) fn lists(owners: &[Owner], assignment: &Assignment) -> Vec<Vec<u16>> {
    let in_place: BTreeMap<&Place, u16> = owners.iter().map(|owner| &owner.place).zip(0_u16..).collect();
    let list = |partition| assignment.list(partition).map(|place| in_place[place]).collect();
    (0..assignment.partitions().get()).map(list).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::owner;
    use super::*;

    fn tokens_of(per_weight: u16, owner: Owner) -> Vec<Position> {
        let found = tokens(NonZeroU16::new(per_weight).expect("above zero"), &[owner]);
        found.iter().map(|token| token.position).collect()
    }

    fn in_place(node: &str, place: &str, turn: u16) -> Owner {
        Owner { place: Place { turn, ..owner(place, "a", 1).place }, ..owner(node, "a", 1) }
    }

    #[test]
    fn tokens_follow_from_place_and_index() {
        for (owner, read) in [
            (owner("node-1", "a", 1), [&b"node-1\0\0\0\0\0"[..], b"node-1\0\0\0\0\x01"]),
            (in_place("node-9", "node-1", 0), [b"node-1\0\0\0\0\0", b"node-1\0\0\0\0\x01"]),
            (in_place("node-1", "node-1", 7), [b"node-1\0\0\x07\0\0\0\0", b"node-1\0\0\x07\0\0\0\x01"]),
        ] {
            let mut expected = read.map(Position::of_bytes);
            expected.sort();
            assert_eq!(tokens_of(2, owner.clone()), expected, "{owner:?}");
        }
    }

    #[test]
    fn weight_multiplies_tokens_up_to_the_limit() {
        for (per_weight, weight, expected) in [(150, 1, 150), (150, 2, 300), (1, 7, 7), (1_024, u16::MAX, 16_384)] {
            let found = tokens_of(per_weight, owner("node-1", "a", weight));
            assert_eq!(found.len(), expected, "{per_weight} x {weight}");
        }
    }
}
