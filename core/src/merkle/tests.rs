//! The tree against a map of entries that knows nothing of trees.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::convert::Infallible;
use core::num::NonZeroU8;

use proptest::prelude::*;

use super::*;
use crate::config::Placement;
use crate::hash::{Position, Slice};
use crate::id::{Key, NodeId, Zone};
use crate::ring::{Owner, Ring, Span};

/// Entries by position: what a tree stands for.
type Entries = BTreeMap<Position, Sum>;

fn entry(number: u64) -> Sum {
    Sum::of(&Key::new(&alloc::format!("key {number}")).expect("a good key"), [7; 16])
}

fn slice() -> Slice {
    Slice::try_from(5).expect("a slice")
}

/// Positions of one slice, mostly close together: in a few leaves, at their ends.
fn position() -> impl Strategy<Value = Position> {
    let near = (0_u64..4, 0_u64..3).prop_map(|(leaf, step)| (leaf << 46).wrapping_add(step).wrapping_sub(1));
    prop_oneof![near, any::<u64>()].prop_map(|offset| Position(slice().first().0 | (offset & (u64::MAX >> 6))))
}

fn arcs() -> impl Strategy<Value = Arcs> {
    prop::collection::btree_set(position(), 0..8).prop_map(|ends: BTreeSet<Position>| {
        let ends: Vec<Position> = ends.into_iter().collect();
        let mut arcs = Arcs::default();
        for pair in ends.chunks_exact(2) {
            arcs.push(Span { first: pair[0], last: pair[1] });
        }
        arcs
    })
}

fn put(tree: &mut Tree, entries: &mut Entries, at: Position, new: Sum) {
    let old = entries.get(&at).copied().unwrap_or_default();
    let leaf = tree.leaf_with(at, old, new).expect("it fits");
    tree.set_leaf(TreeNode::leaf_at(at).index(), leaf);
    if new.is_empty() {
        entries.remove(&at);
    } else {
        entries.insert(at, new);
    }
}

fn within(entries: &Entries, span: Span) -> Sum {
    entries.range(span.first..=span.last).map(|(_, sum)| *sum).sum()
}

fn all_nodes() -> Vec<TreeNode> {
    let mut nodes = alloc::vec![TreeNode::ROOT];
    let mut at = 0;
    while let Some(node) = nodes.get(at).copied() {
        nodes.extend(node.children());
        at += 1;
    }
    nodes
}

proptest! {
    #[test]
    fn a_tree_is_its_entries_whatever_the_order_of_changes(
        changes in prop::collection::vec((position(), prop::option::of(0_u64..5)), 0..60),
        arcs in arcs(),
    ) {
        let (mut tree, mut entries) = (Tree::default(), Entries::new());
        for (at, new) in changes {
            put(&mut tree, &mut entries, at, new.map(entry).unwrap_or_default());
        }
        let mut fresh = Tree::default();
        for (at, sum) in &entries {
            put(&mut fresh, &mut Entries::new(), *at, *sum);
        }
        prop_assert_eq!(&tree, &fresh);
        for node in all_nodes() {
            prop_assert_eq!(tree.sum(node), within(&entries, node.span(slice())), "{:?}", node);
        }
        for node in [TreeNode::ROOT].into_iter().chain(entries.keys().map(|at| TreeNode::leaf_at(*at))) {
            let on_arcs: Sum = arcs.within(node.span(slice())).map(|part| within(&entries, part)).sum();
            let found = tree.sum_on(node, slice(), &arcs, &mut |part| Ok::<_, Infallible>(within(&entries, part)));
            prop_assert_eq!(found, Ok(on_arcs), "{:?}", node);
        }
    }

    #[test]
    fn a_sum_on_arcs_reads_rows_of_cut_leaves_only(changes in prop::collection::vec(position(), 1..60), arcs in arcs()) {
        let (mut tree, mut entries) = (Tree::default(), Entries::new());
        for (number, at) in (0..).zip(changes) {
            put(&mut tree, &mut entries, at, entry(number));
        }
        let mut read = Vec::new();
        let sum = tree.sum_on(TreeNode::ROOT, slice(), &arcs, &mut |part| {
            read.push(part);
            Ok::<_, Infallible>(within(&entries, part))
        });
        let expected: Sum = arcs.spans().iter().map(|span| within(&entries, *span)).sum();
        prop_assert_eq!(sum, Ok(expected));
        for part in read {
            let leaf = TreeNode::leaf_at(part.first);
            prop_assert_eq!(leaf, TreeNode::leaf_at(part.last));
            prop_assert!(part != leaf.span(slice()) && !tree.sum(leaf).is_empty());
        }
    }

    #[test]
    fn two_trees_differ_in_the_leaves_in_which_their_entries_do(
        common in prop::collection::btree_map(position(), 0_u64..5, 0..30),
        mine in prop::collection::btree_map(position(), 5_u64..9, 0..6),
        theirs in prop::collection::btree_map(position(), 9_u64..12, 0..6),
    ) {
        let build = |own: &BTreeMap<Position, u64>| {
            let (mut tree, mut entries) = (Tree::default(), Entries::new());
            for (at, number) in common.iter().chain(own) {
                put(&mut tree, &mut entries, *at, entry(*number));
            }
            tree
        };
        let (one, other) = (build(&mine), build(&theirs));
        let expected: BTreeSet<TreeNode> = mine.keys().chain(theirs.keys()).map(|at| TreeNode::leaf_at(*at)).collect();
        let mut found = BTreeSet::new();
        let mut open = alloc::vec![TreeNode::ROOT];
        while let Some(node) = open.pop() {
            if one.sum(node).digest() != other.sum(node).digest() {
                open.extend(node.children());
                found.extend(node.is_leaf().then_some(node));
            }
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn shared_arcs_are_where_both_are_primaries(nodes in 1_u16..6, n in 1_u8..4, at in any::<u64>(), tokens in 1_u16..9) {
        let name = |index: u16| NodeId::new(&alloc::format!("n{index}")).expect("a good name");
        let zone = || Zone::new("z").expect("a good name");
        let owners = (0..nodes)
            .map(|index| Owner::new(name(index), zone(), core::num::NonZeroU16::MIN))
            .collect();
        let placement = Placement::Tokens(core::num::NonZeroU16::new(tokens).expect("above zero"));
        let ring = Ring::new(placement, NonZeroU8::new(n).expect("above zero"), owners);
        let at = Position(at);
        let shared = Arcs::shared(&ring, at.slice(), &name(0));
        let primaries = ring.preference_list(at).primaries();
        for index in 1..nodes {
            let both = primaries.contains(&name(0)) && primaries.contains(&name(index));
            prop_assert_eq!(shared.get(&name(index)).is_some_and(|arcs| arcs.contains(at)), both);
        }
        for arcs in shared.values() {
            prop_assert!(arcs.spans().is_sorted() && arcs.spans().iter().all(|span| span.first <= span.last));
            prop_assert!(arcs.spans().iter().all(|span| span.first.slice() == at.slice() && span.last.slice() == at.slice()));
        }
    }
}

#[test]
fn an_entry_that_is_not_there_cannot_go() {
    let at = slice().first();
    let mut tree = Tree::default();
    let leaf = TreeNode::leaf_at(at).index();
    assert_eq!(tree.leaf_with(at, entry(1), Sum::EMPTY), Err(Mismatch { leaf }));
    tree.set_leaf(leaf, entry(1));
    assert_eq!(tree.leaf_with(at, entry(2), Sum::EMPTY), Err(Mismatch { leaf }), "of one entry another one cannot go");
    assert_eq!(tree.leaf_with(at, entry(1), Sum::EMPTY), Ok(Sum::EMPTY));
}

#[test]
fn nodes_cut_their_slice_without_gap_or_overlap() {
    for slice in [Slice::try_from(0), Slice::try_from(63)].map(|slice| slice.expect("a slice")) {
        let mut next = slice.first();
        for index in 0..LEAVES {
            let leaf = TreeNode::leaf(index).expect("a leaf");
            let span = leaf.span(slice);
            assert_eq!(span.first, next);
            assert_eq!((TreeNode::leaf_at(span.first), TreeNode::leaf_at(span.last)), (leaf, leaf));
            next = span.last.next();
        }
        assert_eq!(next, slice.last().next());
        let root = TreeNode::ROOT.span(slice);
        assert_eq!((root.first, root.last), (slice.first(), slice.last()));
    }
    assert_eq!(all_nodes().len(), 1 + 16 + 256 + usize::from(LEAVES));
    for name in [(0, 1), (1, 16), (3, LEAVES), (4, 0)] {
        assert!(TreeNode::try_from(name).is_err(), "{name:?}");
    }
}
