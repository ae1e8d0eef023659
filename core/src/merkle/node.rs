//! Names of the nodes of a hash tree, and which positions lie below them. Holds no sums.

use serde::{Deserialize, Serialize};

use super::{ARITY, DEPTH, LEAVES};
use crate::hash::{Position, Slice};
use crate::ring::Span;

/// Bits of a position that choose a child.
const BITS: u32 = ARITY.ilog2();
/// Bits of a position below the slice.
const SLICE_WIDTH_BITS: u32 = u64::BITS - crate::hash::SLICES.ilog2();

const _: () = assert!(1 << BITS == ARITY);

/// A node of the tree of one slice: its level, 0 being the root, and its number there, in the order of positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u8, u16)", into = "(u8, u16)")]
pub struct TreeNode {
    level: u8,
    index: u16,
}

/// A level or number that names no node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node {index} of level {level}: there is none")]
pub struct NoSuchNode {
    level: u8,
    index: u16,
}

impl TreeNode {
    /// The node above all.
    pub const ROOT: Self = Self { level: 0, index: 0 };

    /// The leaf with a number.
    ///
    /// # Errors
    /// `NoSuchNode` from [`LEAVES`] on.
    pub fn leaf(index: u16) -> Result<Self, NoSuchNode> {
        Self::try_from((DEPTH, index))
    }

    /// The leaf that a position lies in, within its slice.
    #[must_use]
    pub fn leaf_at(at: Position) -> Self {
        let below_slice = at.0 << (u64::BITS - SLICE_WIDTH_BITS);
        let index = below_slice >> (u64::BITS - u32::from(DEPTH) * BITS);
        Self { level: DEPTH, index: u16::try_from(index).expect("a leaf's number has twelve bits") }
    }

    /// The node that these positions of a slice are; nothing if they are less or more than what lies below one.
    #[must_use]
    pub fn of_span(span: Span, slice: Slice) -> Option<Self> {
        let leaf = Self::leaf_at(span.first);
        (0..=DEPTH).map(|level| leaf.above(level)).find(|node| node.span(slice) == span)
    }

    /// Its level: 0 is the root.
    #[must_use]
    pub const fn level(self) -> u8 {
        self.level
    }

    /// Its number on its level.
    #[must_use]
    pub const fn index(self) -> u16 {
        self.index
    }

    /// Whether there is nothing below it but entries.
    #[must_use]
    pub const fn is_leaf(self) -> bool {
        self.level == DEPTH
    }

    /// The node above it on a level.
    pub(super) fn above(self, level: u8) -> Self {
        Self { level, index: self.index >> (u32::from(self.level - level) * BITS) }
    }

    /// The nodes below it, in their order; none below a leaf.
    pub fn children(self) -> impl Iterator<Item = Self> {
        let count = if self.is_leaf() { 0 } else { ARITY };
        (0..count).map(move |child| Self { level: self.level + 1, index: self.index * ARITY + child })
    }

    /// The positions below it, in a slice.
    #[must_use]
    pub fn span(self, slice: Slice) -> Span {
        let width_bits = SLICE_WIDTH_BITS - u32::from(self.level) * BITS;
        let first = slice.first().0 | (u64::from(self.index) << width_bits);
        Span { first: Position(first), last: Position(first | ((1 << width_bits) - 1)) }
    }
}

impl TryFrom<(u8, u16)> for TreeNode {
    type Error = NoSuchNode;

    fn try_from((level, index): (u8, u16)) -> Result<Self, NoSuchNode> {
        let is_one = level <= DEPTH && index < LEAVES >> (u32::from(DEPTH - level) * BITS);
        if is_one { Ok(Self { level, index }) } else { Err(NoSuchNode { level, index }) }
    }
}

impl From<TreeNode> for (u8, u16) {
    fn from(node: TreeNode) -> Self {
        (node.level, node.index)
    }
}
