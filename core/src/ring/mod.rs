//! Who owns which part of the ring: positions, placement, preference lists. An immutable picture, computed from the
//! owners alone. It never knows who is alive and never changes: a new layout is a new ring.
//!
//! Either by tokens: consistent hashing with several of them for each node (Karger et al. 1997; DeCandia et al., "Dynamo",
//! 2007, sections 4.2 and 6.2, strategy 1). Or by partitions: equal parts that are assigned to the nodes (strategy 3).
//! Either way a token owns the positions behind the token before it, up to and with its own; a partition has one at its
//! last position.

use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU8;

use serde::Serialize;

use crate::config::Placement;
use crate::digest;
use crate::hash::{Position, Slice};
use crate::id::NodeId;

mod assignment;
mod owner;
mod placement;
mod positions;
mod preference;

pub use assignment::{Assignment, MalformedAssignment};
pub use owner::{Owner, Place};
pub use positions::{Range, Span};
pub use preference::PreferenceList;

use preference::{Lists, Zones};

/// A point of the ring that belongs to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// Where it lies.
    pub position: Position,
    /// Whose it is: an index into [`Ring::owners`].
    pub owner: u16,
}

/// Who owns what. Equal owners, placement and replication factor make equal rings, on every machine and in any order.
#[derive(Clone)]
pub struct Ring {
    placement: Placement,
    n: NonZeroU8,
    /// In the order of their names.
    owners: Vec<Owner>,
    zones: Zones,
    /// Clockwise.
    tokens: Vec<Token>,
    lists: Lists,
    hash: u64,
}

impl Ring {
    /// The ring of these owners with `n` copies of everything. An owner that is named twice is there once (with its
    /// lowest place, zone and weight, whatever the order). Partitions are assigned as for the first time; to let them stay
    /// where they were takes [`Self::assigned`].
    ///
    /// # Panics
    /// When two owners have one place, or with more than 65,535 owners: a cluster has at most
    /// [`crate::limits::MEMBERS_MAX`].
    #[must_use]
    pub fn new(placement: Placement, n: NonZeroU8, owners: Vec<Owner>) -> Self {
        let owners = distinct(owners);
        match placement {
            Placement::Tokens(per_weight) => {
                let tokens = placement::tokens(per_weight, &owners);
                Self::from_tokens(placement, n, owners, tokens)
            }
            Placement::Partitions(partitions) => {
                let assignment = Assignment::new(partitions, n, &owners, None);
                Self::assigned(n, owners, &assignment)
            }
        }
    }

    /// The ring of these owners with `n` copies of everything, in partitions that are assigned already.
    ///
    /// # Panics
    /// As [`Self::new`], and when the assignment is not of these owners' places or not of so many copies.
    #[must_use]
    pub fn assigned(n: NonZeroU8, owners: Vec<Owner>, assignment: &Assignment) -> Self {
        let owners = distinct(owners);
        let lists = placement::lists(&owners, assignment);
        let copies = owners.len().min(usize::from(n.get()));
        assert!(lists.iter().all(|list| list.len() == copies), "an assignment of {copies} copies");
        let token = |(list, partition): (&Vec<u16>, u16)| {
            Some(Token { position: assignment.end_of(partition), owner: *list.first()? })
        };
        let tokens = lists.iter().zip(0_u16..).filter_map(token).collect();
        let hash = content_hash(&(n, &owners, assignment));
        let (placement, zones) = (Placement::Partitions(assignment.partitions()), Zones::new(&owners));
        let lists = Lists::assigned(lists, &owners);
        Self { placement, n, owners, zones, tokens, lists, hash }
    }

    fn from_tokens(placement: Placement, n: NonZeroU8, owners: Vec<Owner>, tokens: Vec<Token>) -> Self {
        assert!(tokens.is_sorted(), "tokens lie clockwise");
        let zones = Zones::new(&owners);
        let lists = Lists::new(&tokens, &owners, &zones, usize::from(n.get()));
        let hash = content_hash(&(placement, n, &owners));
        Self { placement, n, owners, zones, tokens, lists, hash }
    }

    /// How the ring is cut.
    #[must_use]
    pub const fn placement(&self) -> Placement {
        self.placement
    }

    /// How many copies of everything there should be (N). With fewer owners there are as many copies as owners.
    #[must_use]
    pub const fn n(&self) -> NonZeroU8 {
        self.n
    }

    /// The owners, in the order of their names.
    #[must_use]
    pub fn owners(&self) -> &[Owner] {
        &self.owners
    }

    /// Whether the node owns a part of the ring.
    #[must_use]
    pub fn is_owner(&self, node: &NodeId) -> bool {
        self.owners.binary_search_by(|owner| owner.node.cmp(node)).is_ok()
    }

    /// Whether nobody owns anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// All tokens, clockwise from position 0. That of a partition belongs to the first of its owners.
    #[must_use]
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// A hash of the content: placement, replication factor, owners and what is assigned to them. Rings with different content have, for all that
    /// matters, different hashes (64 bits of SHA-256).
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// Who holds the copies of what lies at the position, and who stands in. Takes time with the logarithm of the
    /// number of tokens.
    #[must_use]
    pub fn preference_list(&self, at: Position) -> PreferenceList<'_> {
        let primaries = if self.tokens.is_empty() { &[] } else { self.lists.of_token(self.token_at(at)) };
        PreferenceList { ring: self, at, primaries }
    }

    /// Every node once, in the order of preference: the primaries, then the fallbacks, which are only worked out when
    /// they are asked for.
    pub fn walk(&self, at: Position) -> impl Iterator<Item = &NodeId> {
        let list = self.preference_list(at);
        list.primaries().iter().chain(core::iter::once_with(move || list.fallbacks()).flatten())
    }

    /// The arcs between adjacent tokens, clockwise, with the primaries of each. Together they are the whole ring.
    pub fn segments(&self) -> impl Iterator<Item = (Range, &[NodeId])> {
        let before = self.tokens.iter().cycle().skip(self.tokens.len().saturating_sub(1));
        self.tokens.iter().zip(before).enumerate().filter_map(|(index, (token, before))| {
            // Of tokens at one position the first one owns what lies before them, the others own nothing.
            let owns_nothing = index > 0 && before.position == token.position;
            (!owns_nothing).then(|| (Range::new(before.position, token.position), self.lists.of_token(index)))
        })
    }

    /// The arcs of which the node is a primary, as few as there can be, in the order of where they begin.
    #[must_use]
    pub fn ranges_of(&self, node: &NodeId) -> Vec<Range> {
        let mut ranges: Vec<Range> = Vec::new();
        for (range, _) in self.segments().filter(|(_, primaries)| primaries.contains(node)) {
            match ranges.last_mut() {
                Some(last) if last.upto() == range.after() => *last = Range::new(last.after(), range.upto()),
                _ => ranges.push(range),
            }
        }
        // The last arc of the round may end where the first one begins.
        if let [first, .., last] = ranges[..]
            && last.upto() == first.after()
        {
            ranges.pop();
            ranges[0] = Range::new(last.after(), first.upto());
        }
        ranges.sort_unstable();
        ranges
    }

    /// The arcs that touch a slice, clockwise, each by its last position in it, with the primaries of its keys.
    pub fn arcs_of(&self, slice: Slice) -> impl Iterator<Item = (Position, &[NodeId])> {
        let begin = self.tokens.partition_point(|token| token.position < slice.first());
        let end = self.tokens.partition_point(|token| token.position <= slice.last());
        let rest = core::iter::once(slice.last()).filter(|_| !self.tokens.is_empty());
        let last = rest.map(|at| (at, self.preference_list(at).primaries()));
        // Of tokens at one position the first one owns what lies before them, the others own nothing.
        let owns =
            move |index: &usize| *index == begin || self.tokens[index - 1].position < self.tokens[*index].position;
        let inside = (begin..end).filter(owns);
        inside.map(|index| (self.tokens[index].position, self.lists.of_token(index))).chain(last)
    }

    /// The token that owns a position: the first one not before it.
    fn token_at(&self, at: Position) -> usize {
        let index = self.tokens.partition_point(|token| token.position < at);
        if index == self.tokens.len() { 0 } else { index }
    }

    /// All owners in the order in which they come, clockwise from a position. Where parts are assigned, those who have none
    /// come last.
    fn clockwise(&self, at: Position) -> Vec<u16> {
        let mut order = Vec::with_capacity(self.owners.len());
        let mut seen = vec![false; self.owners.len()];
        let mut meet = |owner: u16| {
            if !core::mem::replace(&mut seen[usize::from(owner)], true) {
                order.push(owner);
            }
            order.len() == self.owners.len()
        };
        let first = self.token_at(at);
        for index in (first..self.tokens.len()).chain(0..first) {
            let is_done = match self.placement {
                Placement::Tokens(_) => meet(self.tokens[index].owner),
                Placement::Partitions(_) => self.lists.of_token(index).iter().any(|node| meet(self.number(node))),
            };
            if is_done {
                break;
            }
        }
        self.owners.iter().zip(0_u16..).for_each(|(_, owner)| {
            meet(owner);
        });
        order
    }

    fn node(&self, owner: u16) -> &NodeId {
        &self.owners[usize::from(owner)].node
    }

    /// The index of an owner that is there.
    fn number(&self, node: &NodeId) -> u16 {
        let index = self.owners.binary_search_by(|owner| owner.node.cmp(node)).expect("an owner of this ring");
        u16::try_from(index).expect("as few owners as members")
    }
}

/// The owners in the order of their names, each once.
fn distinct(mut owners: Vec<Owner>) -> Vec<Owner> {
    owners.sort_unstable();
    owners.dedup_by(|later, earlier| later.node == earlier.node);
    assert!(u16::try_from(owners.len()).is_ok(), "{} owners of one ring", owners.len());
    let places: BTreeSet<&Place> = owners.iter().map(|owner| &owner.place).collect();
    assert!(places.len() == owners.len(), "two owners in one place: {owners:?}");
    owners
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.owners.iter().map(|owner| &owner.node);
        write!(f, "Ring {:016x} ({}, n = {}) of ", self.hash, self.placement, self.n)?;
        f.debug_list().entries(nodes).finish()
    }
}

fn content_hash(content: &impl Serialize) -> u64 {
    digest::head(&postcard::to_allocvec(content).expect("plain data serializes into memory"))
}

#[cfg(test)]
mod tests {
    use core::num::NonZeroU16;

    use super::*;
    use crate::id::Zone;

    pub(super) fn owner(node: &str, zone: &str, weight: u16) -> Owner {
        let node = NodeId::new(node).expect("a good name");
        let zone = Zone::new(zone).expect("a good name");
        Owner::new(node, zone, NonZeroU16::new(weight).expect("above zero"))
    }

    /// A ring with tokens put by hand: `("a", 10)` is a token of node a at position 10.
    fn ring_of(n: u8, owners: &[Owner], tokens: &[(&str, u64)]) -> Ring {
        let number = |node| owners.iter().zip(0_u16..).find(|(owner, _)| owner.node.as_str() == node).expect("known").1;
        let mut tokens: Vec<_> =
            tokens.iter().map(|&(node, at)| Token { position: Position(at), owner: number(node) }).collect();
        tokens.sort_unstable();
        Ring::from_tokens(Placement::default(), NonZeroU8::new(n).expect("above zero"), owners.to_vec(), tokens)
    }

    #[track_caller]
    fn check_walk(ring: &Ring, at: u64, expected: &str) {
        let at = Position(at);
        let primaries = ring.preference_list(at).primaries().len();
        let names: Vec<_> = ring.walk(at).map(NodeId::as_str).collect();
        let (primaries, fallbacks) = names.split_at(primaries);
        assert_eq!(alloc::format!("{} | {}", primaries.join(" "), fallbacks.join(" ")), expected, "at {at:?}");
    }

    fn check_ranges(ring: &Ring, node: &str, expected: &[(u64, u64)]) {
        let ranges: Vec<_> = ring
            .ranges_of(&NodeId::new(node).expect("a good name"))
            .iter()
            .map(|range| (range.after().0, range.upto().0))
            .collect();
        assert_eq!(ranges, expected, "of {node}");
    }

    #[test]
    fn a_token_owns_what_lies_before_it_and_its_own_position() {
        let owners = ["a", "b", "c"].map(|node| owner(node, "z", 1));
        let ring = ring_of(2, &owners, &[("a", 10), ("b", 20), ("a", 30), ("c", 40)]);
        for (at, expected) in [
            (10, "a b | c"),
            (11, "b a | c"),
            (20, "b a | c"),
            (21, "a c | b"),
            (30, "a c | b"),
            (31, "c a | b"),
            (41, "a b | c"),
            (u64::MAX, "a b | c"),
            (0, "a b | c"),
        ] {
            check_walk(&ring, at, expected);
        }
        check_ranges(&ring, "a", &[(u64::MAX, u64::MAX)]);
        check_ranges(&ring, "b", &[(40, 20)]);
        check_ranges(&ring, "c", &[(20, 40)]);
    }

    #[test]
    fn zones_come_before_distance() {
        let owners = [("a", "x"), ("b", "x"), ("c", "x"), ("d", "y")].map(|(node, zone)| owner(node, zone, 1));
        let tokens = [("a", 10), ("b", 20), ("c", 30), ("d", 40)];
        check_walk(&ring_of(2, &owners, &tokens), 5, "a d | b c");
        check_walk(&ring_of(3, &owners, &tokens), 15, "b d c | a");
        check_walk(&ring_of(1, &owners, &tokens), 35, "d | a b c");
    }

    #[test]
    fn tokens_at_one_position_are_told_apart_by_name() {
        let owners = ["a", "b", "c"].map(|node| owner(node, "z", 1));
        let ring = ring_of(1, &owners, &[("a", 10), ("b", 10), ("c", 50)]);
        assert_eq!(ring.tokens().len(), 3);
        check_walk(&ring, 10, "a | b c");
        check_walk(&ring, 11, "c | a b");
        check_ranges(&ring, "a", &[(50, 10)]);
        check_ranges(&ring, "b", &[]);
        check_ranges(&ring, "c", &[(10, 50)]);

        let all_at_one = ring_of(1, &owners, &[("a", 10), ("b", 10), ("c", 10)]);
        check_walk(&all_at_one, 11, "a | b c");
        check_ranges(&all_at_one, "a", &[(u64::MAX, u64::MAX)]);
        assert_eq!(all_at_one.segments().count(), 1);
    }

    #[test]
    fn an_empty_ring_has_nobody() {
        let ring = Ring::new(Placement::default(), NonZeroU8::MIN, Vec::new());
        assert!(ring.is_empty() && ring.tokens().is_empty());
        assert_eq!(ring.walk(Position(7)).count(), 0);
        assert_eq!(ring.segments().count(), 0);
        assert_eq!(ring.ranges_of(&NodeId::new("a").expect("a good name")), []);
    }

    #[test]
    fn one_token_owns_everything() {
        let ring = ring_of(3, &[owner("a", "z", 1)], &[("a", 10)]);
        check_ranges(&ring, "a", &[(u64::MAX, u64::MAX)]);
        check_walk(&ring, 11, "a | ");
    }
}
