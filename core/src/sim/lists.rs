//! Preference lists by a naive walk over all tokens or partitions, to hold those of the ring against. Slow and obvious on purpose, and
//! never used to route anything.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::config::Placement;
use crate::hash::{Position, Slice};
use crate::id::NodeId;
use crate::ring::{Ring, Token};

/// Token positions that are looked at beside the ends of the slices, so that a large ring takes no longer than a small one.
const TOKENS_MAX: usize = 64;

/// The nodes in the order of preference.
fn naive(ring: &Ring, at: Position) -> Vec<&NodeId> {
    match ring.placement() {
        Placement::Tokens(_) => naive_of_tokens(ring, at),
        Placement::Partitions(_) => naive_of_partitions(ring, at),
    }
}

/// Those of the part that has the position; then those of the parts that follow, and who is in none, the first one of
/// every zone that has not come first.
fn naive_of_partitions(ring: &Ring, at: Position) -> Vec<&NodeId> {
    let mut parts: Vec<_> = ring.segments().collect();
    let first = parts.iter().position(|(range, _)| range.contains(at)).unwrap_or(0);
    parts.rotate_left(first);
    let mut nodes: Vec<&NodeId> = parts.iter().flat_map(|(_, nodes)| *nodes).collect();
    nodes.extend(ring.owners().iter().map(|owner| &owner.node));
    let mut seen = BTreeSet::new();
    nodes.retain(|node| seen.insert(*node));
    let (primaries, others) = nodes.split_at(parts.first().map_or(0, |(_, nodes)| nodes.len()));
    let zone = |node: &NodeId| ring.owners().iter().find(|owner| owner.node == *node).map(|owner| &owner.zone);
    let mut zones: BTreeSet<_> = primaries.iter().map(|node| zone(node)).collect();
    let (firsts, seconds): (Vec<_>, Vec<_>) = others.iter().partition(|node| zones.insert(zone(node)));
    [primaries, &firsts, &seconds].concat()
}

/// The nodes in the order of their first tokens clockwise from a position, the first one of every zone first.
fn naive_of_tokens(ring: &Ring, at: Position) -> Vec<&NodeId> {
    let (before, from): (Vec<Token>, Vec<Token>) = ring.tokens().iter().copied().partition(|token| token.position < at);
    let mut nodes = Vec::new();
    let (mut seen, mut zones) = (vec![false; ring.owners().len()], BTreeSet::new());
    for token in from.iter().chain(&before) {
        let owner = &ring.owners()[usize::from(token.owner)];
        if !core::mem::replace(&mut seen[usize::from(token.owner)], true) {
            nodes.push((!zones.insert(&owner.zone), &owner.node));
        }
    }
    nodes.sort_by_key(|(later, _)| *later);
    nodes.into_iter().map(|(_, node)| node).collect()
}

fn probes(ring: &Ring) -> impl Iterator<Item = Position> {
    let every = ring.tokens().len().div_ceil(TOKENS_MAX).max(1);
    Slice::all().map(Slice::last).chain(ring.tokens().iter().step_by(every).map(|token| token.position))
}

/// Where the lists of a ring are not what the walk gives.
pub(super) fn departure(ring: &Ring) -> Option<String> {
    departure_of(ring, |at| {
        let list = ring.preference_list(at);
        (list.primaries().len(), list.primaries().iter().chain(list.fallbacks()).collect())
    })
}

/// Where lists, each with how many of it are owners, are not what the walk gives.
fn departure_of<'a>(ring: &'a Ring, list: impl Fn(Position) -> (usize, Vec<&'a NodeId>)) -> Option<String> {
    let copies = usize::from(ring.n().get());
    probes(ring).find_map(|at| {
        let (expected, (owners, all)) = (naive(ring, at), list(at));
        let departs = all != expected || owners != copies.min(expected.len());
        departs.then(|| format!("at {at:?} the list is {all:?} with {owners} owners, the walk {expected:?}"))
    })
}

/// What a node owns in the later ring that it did not own in the earlier one, though it was there already.
pub(super) fn gain(before: &Ring, after: &Ring) -> Option<String> {
    probes(after).filter(|_| !before.is_empty()).find_map(|at| {
        let owned = before.preference_list(at).primaries();
        let gained = |node: &&NodeId| before.is_owner(node) && !owned.contains(node);
        let node = after.preference_list(at).primaries().iter().find(gained)?;
        Some(format!("{node} was there before and owns {at:?} only since somebody joined"))
    })
}

#[cfg(test)]
mod tests {
    use core::num::{NonZeroU8, NonZeroU16};

    use super::*;
    use crate::id::Zone;
    use crate::ring::Owner;

    fn ring_by(placement: Placement, nodes: &[&str], copies: u8) -> Ring {
        let owner = |name: &&str| {
            let zone = Zone::new(&name[..1]).expect("a good name");
            Owner::new(NodeId::new(name).expect("a good name"), zone, NonZeroU16::MIN)
        };
        Ring::new(placement, NonZeroU8::new(copies).expect("above zero"), nodes.iter().map(owner).collect())
    }

    fn ring(nodes: &[&str], copies: u8) -> Ring {
        ring_by(Placement::Tokens(NonZeroU16::new(8).expect("above zero")), nodes, copies)
    }

    #[test]
    fn rings_follow_their_partitions() {
        let names = ["a1", "b1", "a2", "c1", "c2", "b2", "d1"];
        for (count, copies) in (0..=names.len()).flat_map(|count| (1..4).map(move |copies| (count, copies))) {
            let partitions = Placement::Partitions(NonZeroU16::new(16).expect("above zero"));
            assert_eq!(
                departure(&ring_by(partitions, &names[..count], copies)),
                None,
                "{copies} copies, {count} nodes"
            );
        }
    }

    #[test]
    fn rings_follow_their_tokens_and_joins_give_to_nobody_else() {
        let names = ["a1", "b1", "a2", "c1", "c2", "b2"];
        for count in 1..names.len() {
            let (before, after) = (ring(&names[..count], 3), ring(&names[..=count], 3));
            assert_eq!((departure(&after), gain(&before, &after)), (None, None), "{count} nodes and one more");
        }
    }

    #[test]
    fn a_list_in_another_order_or_with_other_owners_is_noticed() {
        let ring = ring(&["a1", "b1", "a2", "c1"], 3);
        let list = |at| ring.walk(at).collect::<Vec<_>>();
        assert_eq!(departure_of(&ring, |at| (3, list(at))), None);
        assert!(departure_of(&ring, |at| (2, list(at))).is_some());
        assert!(departure_of(&ring, |at| (3, list(at).into_iter().rev().collect())).is_some());
    }

    #[test]
    fn a_node_that_gains_without_joining_is_noticed() {
        let (before, after) = (ring(&["a1", "b1", "c1", "d1"], 2), ring(&["a1", "b1", "c1"], 2));
        assert!(gain(&before, &after).is_some(), "somebody is gone, and others own its part");
        assert!(gain(&ring(&["a1", "b1", "c1"], 1), &ring(&["a1", "b1", "c1"], 2)).is_some(), "more copies");
    }
}
