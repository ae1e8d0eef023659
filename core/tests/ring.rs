//! The ring against a naive oracle, over random sets of nodes, and how evenly it shares.

use std::collections::{BTreeMap, BTreeSet};
use std::num::{NonZeroU8, NonZeroU16};

use proptest::prelude::*;
use quorate_core::config::Placement;
use quorate_core::hash::Position;
use quorate_core::id::{NodeId, Zone};
use quorate_core::ring::{Owner, Range, Ring};
use sha2::{Digest, Sha256};

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("a good name")
}

fn owner(name: &str, zone: u8, weight: u16) -> Owner {
    let zone = Zone::new(&format!("zone-{zone}")).expect("a good name");
    Owner::new(node(name), zone, NonZeroU16::new(weight).expect("above zero"))
}

fn ring(per_weight: u16, n: u8, owners: &[Owner]) -> Ring {
    let placement = Placement::Tokens(NonZeroU16::new(per_weight).expect("above zero"));
    Ring::new(placement, NonZeroU8::new(n).expect("above zero"), owners.to_vec())
}

fn equal_owners(count: usize) -> Vec<Owner> {
    (1..=count).map(|index| owner(&format!("node-{index}"), 0, 1)).collect()
}

/// What the ring should say, by walking over every token for every question.
struct Oracle {
    tokens: Vec<(u64, Owner)>,
}

impl Oracle {
    fn new(per_weight: u16, owners: &[Owner]) -> Self {
        let mut tokens = Vec::new();
        for owner in owners {
            for index in 0..u32::from(per_weight) * u32::from(owner.weight.get()) {
                let digest = Sha256::new()
                    .chain_update(owner.node.as_str())
                    .chain_update([0])
                    .chain_update(index.to_be_bytes())
                    .finalize();
                tokens.push((u64::from_be_bytes(digest[..8].try_into().expect("8 bytes")), owner.clone()));
            }
        }
        tokens.sort();
        Self { tokens }
    }

    /// Every node in the order of preference.
    fn walk(&self, at: Position) -> Vec<NodeId> {
        let behind = self.tokens.iter().filter(|(position, _)| *position >= at.0);
        let round = self.tokens.iter().filter(|(position, _)| *position < at.0);
        let clockwise: Vec<_> = behind.chain(round).map(|(_, owner)| owner).collect();
        let mut zones = BTreeSet::new();
        let firsts = clockwise.iter().filter(|owner| zones.insert(&owner.zone));
        let mut nodes = Vec::new();
        for owner in firsts.chain(&clockwise) {
            if !nodes.contains(&owner.node) {
                nodes.push(owner.node.clone());
            }
        }
        nodes
    }

    /// Where answers change: at each token, and on both sides of it.
    fn edges(&self) -> impl Iterator<Item = Position> {
        self.tokens.iter().flat_map(|&(at, _)| [at.wrapping_sub(1), at, at.wrapping_add(1)]).map(Position)
    }
}

fn owners(count: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<Owner>> {
    let names = prop::collection::btree_set("[a-z]{1,8}", count);
    (names, 1_u8..6, any::<u64>()).prop_map(|(names, zones, seed)| {
        let mut mix = seed;
        let mut draw = |bound: u64| {
            mix = mix.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (mix >> 33) % bound
        };
        names
            .iter()
            .map(|name| {
                let zone = u8::try_from(draw(zones.into())).expect("small");
                owner(name, zone, u16::try_from(1 + draw(3)).expect("small"))
            })
            .collect()
    })
}

/// Some random positions, and some of the places where answers change.
fn probes(oracle: &Oracle, random: &[u64], edges: usize) -> Vec<Position> {
    let step = (oracle.tokens.len() * 3 / edges).max(1);
    random.iter().copied().chain([0, u64::MAX]).map(Position).chain(oracle.edges().step_by(step)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn preference_lists_equal_the_oracle(
        owners in owners(1..=100),
        n in 1_u8..6,
        per_weight in 1_u16..8,
        random in prop::collection::vec(any::<u64>(), 16),
    ) {
        let ring = ring(per_weight, n, &owners);
        let oracle = Oracle::new(per_weight, &owners);
        for at in probes(&oracle, &random, 30) {
            let expected = oracle.walk(at);
            let list = ring.preference_list(at);
            prop_assert_eq!(ring.walk(at).cloned().collect::<Vec<_>>(), expected.clone(), "at {:?}", at);
            prop_assert_eq!(list.primaries(), &expected[..expected.len().min(n.into())]);
            prop_assert_eq!(list.fallbacks().count() + list.primaries().len(), owners.len());
        }
    }

    #[test]
    fn ranges_and_segments_agree_with_preference_lists(
        owners in owners(1..=20),
        n in 1_u8..4,
        per_weight in 1_u16..8,
        random in prop::collection::vec(any::<u64>(), 16),
    ) {
        let ring = ring(per_weight, n, &owners);
        let oracle = Oracle::new(per_weight, &owners);
        let ranges: BTreeMap<_, _> = owners.iter().map(|owner| (&owner.node, ring.ranges_of(&owner.node))).collect();
        for at in probes(&oracle, &random, usize::MAX).into_iter().chain(oracle.edges()) {
            let list = ring.preference_list(at);
            let segments: Vec<_> = ring.segments().filter(|(range, _)| range.contains(at)).collect();
            prop_assert_eq!(segments.len(), 1, "segments are the ring, cut");
            prop_assert_eq!(segments[0].1, list.primaries());
            for (owner, ranges) in &ranges {
                let holding = ranges.iter().filter(|range| range.contains(at)).count();
                prop_assert_eq!(holding, usize::from(list.primaries().contains(owner)), "{:?} at {:?}", owner, at);
            }
        }
    }

    #[test]
    fn merged_ranges_do_not_touch(owners in owners(1..=20), n in 1_u8..4, per_weight in 1_u16..8) {
        let ring = ring(per_weight, n, &owners);
        for owner in &owners {
            let ranges = ring.ranges_of(&owner.node);
            let ends: BTreeSet<_> = ranges.iter().map(Range::upto).collect();
            prop_assert_eq!(ends.len(), ranges.len());
            let touching = ranges.iter().filter(|range| !range.is_full() && ends.contains(&range.after())).count();
            prop_assert_eq!(touching, 0, "{:?}", ranges);
        }
        let whole: u128 = ring.segments().map(|(range, _)| range.width()).sum();
        prop_assert_eq!(whole, 1 << 64);
    }

    #[test]
    fn on_a_join_ranges_move_only_to_the_joiner(
        owners in owners(2..=30),
        n in 1_u8..5,
        per_weight in 1_u16..8,
        joiner in any::<prop::sample::Index>(),
        random in prop::collection::vec(any::<u64>(), 16),
    ) {
        let joiner = joiner.get(&owners).clone();
        let before: Vec<_> = owners.iter().filter(|owner| **owner != joiner).cloned().collect();
        let (before, after) = (ring(per_weight, n, &before), ring(per_weight, n, &owners));
        for at in probes(&Oracle::new(per_weight, &owners), &random, usize::MAX) {
            let old = before.preference_list(at);
            let gained = after.preference_list(at).primaries().iter().filter(|node| !old.primaries().contains(node));
            for node in gained {
                prop_assert_eq!(node, &joiner.node, "at {:?}", at);
            }
        }
    }

    #[test]
    fn a_ring_is_its_content(owners in owners(2..=10), n in 1_u8..4, per_weight in 1_u16..4) {
        let one = ring(per_weight, n, &owners);
        let twice: Vec<_> = owners.iter().rev().chain(&owners).cloned().collect();
        let other = ring(per_weight, n, &twice);
        prop_assert_eq!(one.owners(), other.owners());
        prop_assert_eq!(one.tokens(), other.tokens());
        prop_assert_eq!(one.hash(), other.hash());
        prop_assert_ne!(one.hash(), ring(per_weight, n, &owners[1..]).hash());
        prop_assert_ne!(one.hash(), ring(per_weight, n + 1, &owners).hash());
        prop_assert_ne!(one.hash(), ring(per_weight + 1, n, &owners).hash());
        let mut heavier = owners.clone();
        heavier[0].weight = NonZeroU16::new(4).expect("above zero");
        prop_assert_ne!(one.hash(), ring(per_weight, n, &heavier).hash());
    }
}

#[test]
fn two_nodes_have_300_tokens_and_three_450() {
    for (nodes, expected) in [(1, 150), (2, 300), (3, 450)] {
        let mut owners = equal_owners(nodes);
        owners.extend(equal_owners(nodes));
        assert_eq!(ring(150, 3, &owners).tokens().len(), expected, "{nodes} nodes, each added twice");
    }
}

/// The share of the whole that each node holds, in millionths of the mean.
fn shares(ring: &Ring) -> Vec<u128> {
    let copies = u128::from(ring.n().get());
    let nodes = u128::try_from(ring.owners().len()).expect("a length fits");
    let width = |owner: &Owner| ring.ranges_of(&owner.node).iter().map(Range::width).sum::<u128>();
    ring.owners().iter().map(|owner| width(owner) * 1_000_000 / ((1 << 64) * copies / nodes)).collect()
}

/// The heaviest share among twenty sets of different names, in millionths of the mean.
fn heaviest_share(n: u8) -> u128 {
    let set = |set: u32| {
        let count = 3 + set;
        let owners: Vec<_> = (0..count).map(|index| owner(&format!("set{set}-node{index}"), 0, 1)).collect();
        let shares = shares(&ring(150, n, &owners));
        let sum: u128 = shares.iter().sum();
        assert!(sum.abs_diff(u128::from(count) * 1_000_000) < 100, "shares make a whole: {sum}");
        shares.into_iter().max().expect("some nodes")
    };
    (0..20).map(set).max().expect("some sets")
}

#[test]
fn shares_are_even() {
    for (n, bound) in [(1, 1_250_000), (3, 1_150_000)] {
        let heaviest = heaviest_share(n);
        assert!(heaviest <= bound, "with {n} copies the heaviest node holds {heaviest} millionths of the mean");
        assert!(heaviest > 1_000_000, "hashing is never perfectly even");
    }
}

#[test]
fn a_heavier_node_holds_more() {
    let mut owners = equal_owners(10);
    owners[0].weight = NonZeroU16::new(3).expect("above zero");
    let shares = shares(&ring(150, 1, &owners));
    let heavy = ring(150, 1, &owners).owners().iter().position(|owner| owner.weight.get() == 3).expect("is there");
    // 3 of 12 units of weight among 10 nodes: two and a half times the mean.
    assert!((2_250_000..=2_750_000).contains(&shares[heavy]), "{shares:?}");
}
