//! Who holds the copies of a key, and who stands in. Decides from the ring alone: never by who is alive.
//!
//! The preference list of DeCandia et al., "Dynamo" (2007), section 4.6, with zones: going clockwise from a position,
//! first the nearest node of every zone, then all other nodes, each group in clockwise order. The first N are the
//! primaries, the rest the fallbacks. As this order does not depend on N, the fallbacks of a small N are in new zones too,
//! and a node that joins takes places from others without ever giving one of them a place it did not have. Where the
//! primaries are assigned, the fallbacks are all other nodes in that order, as if the primaries had come first.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use crate::hash::Position;
use crate::id::NodeId;

use super::{Owner, Ring, Token};

/// The nodes of one position of the ring, in the order in which they are asked.
#[derive(Clone, Copy, Debug)]
pub struct PreferenceList<'a> {
    pub(super) ring: &'a Ring,
    pub(super) at: Position,
    pub(super) primaries: &'a [NodeId],
}

impl<'a> PreferenceList<'a> {
    /// The nodes that hold the copies: N of them, or all there are. No node is there twice.
    #[must_use]
    pub const fn primaries(&self) -> &'a [NodeId] {
        self.primaries
    }

    /// All other nodes, in the order in which they stand in for a primary. Takes time with the size of the cluster.
    pub fn fallbacks(&self) -> impl Iterator<Item = &'a NodeId> + use<'a> {
        let ring = self.ring;
        let (primaries, others): (Vec<u16>, Vec<u16>) =
            ring.clockwise(self.at).into_iter().partition(|&owner| self.primaries.contains(ring.node(owner)));
        let order = in_order(&others, &ring.zones, ring.zones.of(&primaries), others.len());
        order.into_iter().map(|owner| ring.node(owner))
    }
}

/// The primaries of every token, in a form that shares equal lists.
#[derive(Clone, Debug, Default)]
pub(super) struct Lists {
    /// The different lists that occur.
    distinct: Vec<Box<[NodeId]>>,
    /// For each token, the number of its list.
    of_token: Vec<usize>,
}

impl Lists {
    /// Goes round the ring counter-clockwise and keeps the owners in the order in which they come next: the owner of each
    /// token that is passed moves to the front.
    pub(super) fn new(tokens: &[Token], owners: &[Owner], zones: &Zones, n: usize) -> Self {
        let mut coming: Vec<u16> = Vec::new();
        let pass = |coming: &mut Vec<u16>, token: &Token| match coming.iter().position(|&o| o == token.owner) {
            Some(index) => coming[..=index].rotate_right(1),
            None => coming.insert(0, token.owner),
        };
        tokens.iter().rev().for_each(|token| pass(&mut coming, token));

        let mut numbers: BTreeMap<Vec<u16>, usize> = BTreeMap::new();
        let mut lists = Self::default();
        for token in tokens.iter().rev() {
            pass(&mut coming, token);
            let primaries = in_order(&coming, zones, zones.of(&[]), n);
            let number = *numbers.entry(primaries).or_insert_with_key(|primaries| {
                let nodes = primaries.iter().map(|&owner| owners[usize::from(owner)].node.clone());
                lists.distinct.push(nodes.collect());
                lists.distinct.len() - 1
            });
            lists.of_token.push(number);
        }
        lists.of_token.reverse();
        lists
    }

    /// Lists that are given: for each token one.
    pub(super) fn assigned(given: Vec<Vec<u16>>, owners: &[Owner]) -> Self {
        let mut lists = Self::default();
        for list in given.into_iter().filter(|list| !list.is_empty()) {
            lists.of_token.push(lists.distinct.len());
            lists.distinct.push(list.iter().map(|&owner| owners[usize::from(owner)].node.clone()).collect());
        }
        lists
    }

    /// The primaries of what the token with this index owns.
    pub(super) fn of_token(&self, index: usize) -> &[NodeId] {
        &self.distinct[self.of_token[index]]
    }
}

/// The zones of the owners, as numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Zones {
    of_owner: Vec<usize>,
    count: usize,
}

impl Zones {
    pub(super) fn new(owners: &[Owner]) -> Self {
        let mut numbers = BTreeMap::new();
        let of_owner = owners
            .iter()
            .map(|owner| {
                let next = numbers.len();
                *numbers.entry(&owner.zone).or_insert(next)
            })
            .collect();
        Self { of_owner, count: numbers.len() }
    }

    /// For each zone, whether one of these owners is in it.
    fn of(&self, owners: &[u16]) -> Vec<bool> {
        let mut zones = vec![false; self.count];
        owners.iter().for_each(|&owner| zones[self.of_owner[usize::from(owner)]] = true);
        zones
    }
}

/// The first `n` in the order of preference, from owners in clockwise order. For each zone, `seen` says whether it has had
/// its first already.
fn in_order(clockwise: &[u16], zones: &Zones, mut seen: Vec<bool>, n: usize) -> Vec<u16> {
    let n = n.min(clockwise.len());
    let mut firsts = Vec::with_capacity(n);
    let mut others = Vec::new();
    for &owner in clockwise {
        let zones_left = firsts.len() < zones.count;
        if firsts.len() == n || (!zones_left && firsts.len() + others.len() >= n) {
            break;
        }
        let zone = zones.of_owner[usize::from(owner)];
        if seen[zone] {
            others.push(owner);
        } else {
            seen[zone] = true;
            firsts.push(owner);
        }
    }
    firsts.extend(others);
    firsts.truncate(n);
    firsts
}
