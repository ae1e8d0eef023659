//! Where the tokens of a node lie. A function of the node's name and weight alone: never of the other nodes, of the order
//! in which they came, or of chance.

use alloc::vec::Vec;

use crate::config::Placement;
use crate::hash::Position;
use crate::limits;

use super::{Owner, Token};

/// How many tokens a node has: so many for each unit of weight, at most [`limits::TOKENS_PER_NODE_MAX`].
fn token_count(placement: Placement, owner: &Owner) -> u32 {
    let Placement::Tokens(per_weight) = placement;
    let wanted = u32::from(per_weight.get()).saturating_mul(u32::from(owner.weight.get()));
    wanted.min(limits::TOKENS_PER_NODE_MAX)
}

/// All tokens, clockwise. Two at the same position stay two: they lie in the order of their nodes' names, and the first
/// one owns what lies before them.
pub(super) fn tokens(placement: Placement, owners: &[Owner]) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (owner, number) in owners.iter().zip(0_u16..) {
        let mut name = Vec::from(owner.node.as_str());
        // No name has a zero byte, so that no two names with their indexes read the same.
        name.push(0);
        let length = name.len();
        for index in 0..token_count(placement, owner) {
            name.truncate(length);
            name.extend(index.to_be_bytes());
            tokens.push(Token { position: Position::of_bytes(&name), owner: number });
        }
    }
    tokens.sort_unstable();
    tokens
}

#[cfg(test)]
mod tests {
    use super::super::tests::owner;
    use super::*;

    fn placement(count: &str) -> Placement {
        count.parse().expect("a good placement")
    }

    #[test]
    fn tokens_follow_from_name_index_and_weight() {
        let found = tokens(placement("tokens:2"), &[owner("node-1", "a", 1)]);
        let mut expected = [b"node-1\0\0\0\0\0", b"node-1\0\0\0\0\x01"].map(|bytes| Position::of_bytes(&bytes[..]));
        expected.sort();
        assert_eq!(found.iter().map(|token| token.position).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn weight_multiplies_tokens_up_to_the_limit() {
        for (per_weight, weight, expected) in
            [("tokens:150", 1, 150), ("tokens:150", 2, 300), ("tokens:1", 7, 7), ("tokens:1024", u16::MAX, 16_384)]
        {
            let owners = [owner("node-1", "a", weight)];
            assert_eq!(tokens(placement(per_weight), &owners).len(), expected, "{per_weight} x {weight}");
        }
    }
}
