//! The hash tree of one slice. Changing an entry touches one path; nothing is ever summed up from all entries here.

use alloc::collections::BTreeMap;

use super::arcs::Arcs;
use super::node::TreeNode;
use super::sum::Sum;
use super::{DEPTH, LEAVES};
use crate::hash::{Position, Slice};
use crate::ring::Span;

const LEVELS: usize = 4;

const _: () = assert!(DEPTH == 3, "as many levels as there are names for them");

/// An entry that is to go is not in the sum of its leaf: the tree is not that of these rows. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("leaf {leaf} does not hold the entry that is to go")]
pub struct Mismatch {
    /// The number of the leaf.
    pub leaf: u16,
}

/// A hash tree. Equal trees are over equal entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// The sums of the nodes that are not empty, by level.
    levels: [BTreeMap<u16, Sum>; LEVELS],
}

impl Tree {
    /// The sum of the entries below a node.
    #[must_use]
    pub fn sum(&self, node: TreeNode) -> Sum {
        self.level(node.level()).get(&node.index()).copied().unwrap_or_default()
    }

    /// The leaves that are not empty, in their order.
    pub fn leaves(&self) -> impl Iterator<Item = (u16, Sum)> {
        self.level(DEPTH).iter().map(|(index, sum)| (*index, *sum))
    }

    /// What the leaf at a position would be with an entry in place of another; either may be nothing
    /// ([`Sum::EMPTY`]). Changes nothing: to be put in with [`Self::set_leaf`] once the row is written.
    ///
    /// # Errors
    /// [`Mismatch`] when the old entry cannot be in the leaf.
    pub fn leaf_with(&self, at: Position, old: Sum, new: Sum) -> Result<Sum, Mismatch> {
        let leaf = TreeNode::leaf_at(at);
        let rest = self.sum(leaf).without(old).ok_or_else(|| Mismatch { leaf: leaf.index() })?;
        Ok(rest + new)
    }

    /// Puts a sum in place of a leaf's, and of what it adds to the nodes above.
    ///
    /// # Panics
    /// When there is no such leaf.
    pub fn set_leaf(&mut self, index: u16, sum: Sum) {
        assert!(index < LEAVES, "no leaf {index}");
        let leaf = TreeNode::leaf(index).expect("below the number of leaves");
        let before = self.sum(leaf);
        for level in 0..=DEPTH {
            let node = leaf.above(level);
            let rest = self.sum(node).without(before).expect("a node is the sum of its leaves");
            let after = rest + sum;
            let nodes = &mut self.levels[usize::from(level)];
            if after.is_empty() {
                nodes.remove(&node.index());
            } else {
                nodes.insert(node.index(), after);
            }
        }
    }

    /// The sum of the entries below a node that lie on arcs. `rows` sums up what lies on a part of a leaf.
    ///
    /// # Errors
    /// Whatever `rows` says.
    pub fn sum_on<E>(
        &self,
        node: TreeNode,
        slice: Slice,
        arcs: &Arcs,
        rows: &mut impl FnMut(Span) -> Result<Sum, E>,
    ) -> Result<Sum, E> {
        let span = node.span(slice);
        let sum = self.sum(node);
        let Some(first) = arcs.within(span).next() else { return Ok(Sum::EMPTY) };
        if first == span || sum.is_empty() {
            return Ok(sum);
        }
        let mut total = Sum::EMPTY;
        if node.is_leaf() {
            for part in arcs.within(span) {
                total += rows(part)?;
            }
        }
        for child in node.children() {
            total += self.sum_on(child, slice, arcs, rows)?;
        }
        Ok(total)
    }

    fn level(&self, level: u8) -> &BTreeMap<u16, Sum> {
        &self.levels[usize::from(level)]
    }
}
