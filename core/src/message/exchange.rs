//! What two owners of a slice say to each other to find where they differ (anti-entropy). One asks, the other answers and
//! remembers nothing. Every question is about the arcs that both own under the layout it names, and nothing else.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::Refusal;
use crate::causality::SiblingSet;
use crate::hash::{Position, Slice};
use crate::id::{Key, RequestId};
use crate::layout::LayoutId;
use crate::limits;
use crate::merkle::{ARITY, Digest, Sum, TreeNode};
use crate::ring::Span;

/// A step of a comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExchangeMessage {
    /// From the one that compares.
    Ask {
        /// To find the answer's question.
        request: RequestId,
        /// The layout under which both own what is compared.
        layout: LayoutId,
        /// What it wants to know.
        question: Question,
    },
    /// The answer to that. What it shows is durable.
    Answer {
        /// The question.
        request: RequestId,
        /// What came of it.
        result: Result<Finding, Refusal>,
    },
}

/// What the asker holds, and so: do you hold the same?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// This much of all that we share of the slice.
    Root(Sum),
    /// These digests below some nodes of the tree.
    Below(Vec<NodeDigests>),
    /// These entries.
    Entries(Vec<Listing>),
    /// At these positions we differed a moment ago, and you held this much there: is it still so? Then send it.
    Again(Vec<Entry>),
}

/// The digests of the children of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDigests {
    /// Which node; none of the leaves.
    pub node: TreeNode,
    /// Which of its children are not empty: a bit for each, the lowest for the first.
    pub occupied: u16,
    /// The digests of those, in their order.
    pub digests: Vec<Digest>,
}

/// All entries that lie on a part of what is shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The first position.
    pub first: Position,
    /// The last position.
    pub last: Position,
    /// What lies there, in its order.
    pub entries: Vec<Entry>,
}

/// What a store holds at one position: nearly always one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Entry {
    /// Where.
    #[serde(with = "fixed")]
    pub at: Position,
    /// The digest of all entries there.
    pub digest: Digest,
}

/// A position at which two stores differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Where.
    #[serde(with = "fixed")]
    pub at: Position,
    /// What the asker holds.
    pub asker: Digest,
    /// What the other one holds.
    pub answerer: Digest,
}

/// What the other one finds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finding {
    /// It cannot compare now: it has not pulled the whole slice yet, or builds its tree anew.
    NotNow,
    /// Whether the roots are the same.
    Root {
        /// Whether they are.
        same: bool,
    },
    /// For each node asked about, which of its children differ: a bit for each, the lowest for the first.
    Below(Vec<u16>),
    /// The entries that differ.
    Entries {
        /// Which.
        differing: Vec<Difference>,
        /// Up to where it has looked, if not to the end.
        upto: Option<Position>,
    },
    /// The second look.
    Again {
        /// How many of the positions it has looked at, from the first.
        looked: u32,
        /// Those of them at which it holds what it held: the two still differ.
        differing: Vec<Position>,
        /// All it holds there.
        objects: Vec<(Key, SiblingSet)>,
    },
}

impl NodeDigests {
    /// The digest of every child, the empty ones included.
    pub fn children(&self) -> impl Iterator<Item = (TreeNode, Digest)> {
        let mut digests = self.digests.iter().copied();
        self.node.children().zip(0..ARITY).map(move |(child, bit)| {
            let digest = if self.occupied & (1 << bit) == 0 { None } else { digests.next() };
            (child, digest.unwrap_or_default())
        })
    }
}

impl Listing {
    /// The positions it speaks of.
    #[must_use]
    pub const fn span(&self) -> Span {
        Span { first: self.first, last: self.last }
    }
}

impl ExchangeMessage {
    /// Checks what came from outside: everything lies in the slice and in its order, and there is not too much of it.
    pub(super) fn validate(&self, slice: Slice) -> Result<(), String> {
        match self {
            Self::Ask { question, .. } => question.validate(slice),
            Self::Answer { result: Ok(finding), .. } => finding.validate(slice),
            Self::Answer { result: Err(_), .. } => Ok(()),
        }
    }
}

impl Question {
    fn validate(&self, slice: Slice) -> Result<(), String> {
        match self {
            Self::Root(_) => Ok(()),
            Self::Below(nodes) => {
                check_count("nodes", nodes.len(), limits::EXCHANGE_NODES_MAX)?;
                let fits = |node: &NodeDigests| {
                    u32::try_from(node.digests.len()) == Ok(node.occupied.count_ones()) && !node.node.is_leaf()
                };
                check("the digests of a node", nodes.iter().all(fits))?;
                check("the order of nodes", nodes.is_sorted_by(|one, next| one.node < next.node))
            }
            Self::Entries(listings) => {
                check_count("listings", listings.len(), limits::EXCHANGE_NODES_MAX)?;
                let entries = listings.iter().map(|listing| listing.entries.len()).sum();
                check_count("entries", entries, entries_max())?;
                check("the order of listings", listings.is_sorted_by(|one, next| one.last < next.first))?;
                listings.iter().try_for_each(|listing| listing.validate(slice))
            }
            Self::Again(entries) => {
                check_count("positions", entries.len(), limits::EXCHANGE_KEYS_MAX)?;
                check_positions(entries.iter().map(|entry| entry.at), slice)
            }
        }
    }
}

impl Listing {
    fn validate(&self, slice: Slice) -> Result<(), String> {
        let inside = self.first <= self.last && self.first.slice() == slice && self.last.slice() == slice;
        check("the ends of a listing", inside)?;
        let entries = || self.entries.iter().map(|entry| entry.at);
        check("the place of an entry", entries().all(|at| self.first <= at && at <= self.last))?;
        check_positions(entries(), slice)
    }
}

impl Finding {
    fn validate(&self, slice: Slice) -> Result<(), String> {
        match self {
            Self::NotNow | Self::Root { .. } => Ok(()),
            Self::Below(nodes) => check_count("nodes", nodes.len(), limits::EXCHANGE_NODES_MAX),
            Self::Entries { differing, .. } => {
                check_count("differences", differing.len(), 2 * entries_max())?;
                check_positions(differing.iter().map(|difference| difference.at), slice)
            }
            Self::Again { differing, objects, .. } => {
                check_count("positions", differing.len(), limits::EXCHANGE_KEYS_MAX)?;
                check_positions(differing.iter().copied(), slice)?;
                let asked = |(key, _): &(Key, SiblingSet)| differing.binary_search(&Position::of(key)).is_ok();
                check("the place of an object", objects.iter().all(asked))
            }
        }
    }
}

fn entries_max() -> usize {
    usize::try_from(limits::EXCHANGE_ENTRIES_MAX).expect("a small number")
}

fn check(what: &str, good: bool) -> Result<(), String> {
    if good { Ok(()) } else { Err(alloc::format!("{what} in a comparison is wrong")) }
}

fn check_count(what: &str, found: usize, max: usize) -> Result<(), String> {
    if found <= max {
        Ok(())
    } else {
        Err(alloc::format!("{found} {what} in a comparison; at most {max} are possible"))
    }
}

fn check_positions(positions: impl Iterator<Item = Position>, slice: Slice) -> Result<(), String> {
    let mut before = None;
    for at in positions {
        check("the order of positions", before.is_none_or(|before| before < at) && at.slice() == slice)?;
        before = Some(at);
    }
    Ok(())
}

/// A position as eight bytes: positions are random, and a number of variable length would make ten of them.
mod fixed {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::hash::Position;

    pub(super) fn serialize<S: Serializer>(at: &Position, serializer: S) -> Result<S::Ok, S::Error> {
        at.0.to_be_bytes().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Position, D::Error> {
        <[u8; 8]>::deserialize(deserializer).map(|bytes| Position(u64::from_be_bytes(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn slice() -> Slice {
        Slice::try_from(5).expect("a slice")
    }

    fn at(step: u64) -> Position {
        Position(slice().first().0 + step)
    }

    fn entry(step: u64) -> Entry {
        Entry { at: at(step), digest: Digest(step) }
    }

    fn listing(first: u64, last: u64, entries: &[u64]) -> Listing {
        Listing { first: at(first), last: at(last), entries: entries.iter().map(|step| entry(*step)).collect() }
    }

    fn node(level: u8, index: u16) -> TreeNode {
        TreeNode::try_from((level, index)).expect("a node")
    }

    fn below(node: TreeNode, occupied: u16, digests: usize) -> NodeDigests {
        NodeDigests { node, occupied, digests: vec![Digest(1); digests] }
    }

    #[test]
    fn questions_that_no_member_asks_are_refused() {
        let entries: Vec<u64> = (0..=u64::from(limits::EXCHANGE_ENTRIES_MAX)).collect();
        let nodes =
            (0..=u16::try_from(limits::EXCHANGE_NODES_MAX).expect("few")).map(|index| below(node(2, index), 0, 0));
        for (question, good) in [
            (Question::Root(Sum::EMPTY), true),
            (Question::Below(vec![below(node(1, 3), 0b101, 2), below(node(2, 0), 0, 0)]), true),
            (Question::Below(vec![below(node(1, 3), 0b101, 1)]), false),
            (Question::Below(vec![below(node(2, 0), 0, 0), below(node(1, 3), 0, 0)]), false),
            (Question::Below(vec![below(node(3, 0), 0, 0)]), false),
            (Question::Below(nodes.collect()), false),
            (Question::Entries(vec![listing(0, 9, &[1, 9]), listing(10, 20, &[])]), true),
            (Question::Entries(vec![listing(0, 9, &[9, 1])]), false),
            (Question::Entries(vec![listing(0, 9, &[1, 1])]), false),
            (Question::Entries(vec![listing(0, 9, &[10])]), false),
            (Question::Entries(vec![listing(0, 9, &[]), listing(9, 20, &[])]), false),
            (Question::Entries(vec![listing(9, 0, &[])]), false),
            (Question::Entries(vec![listing(0, 2_000, &entries)]), false),
            (
                Question::Entries(vec![listing(0, u64::MAX >> 6, &[]), listing((u64::MAX >> 6) + 1, 1 << 59, &[])]),
                false,
            ),
            (Question::Again(vec![entry(1), entry(2)]), true),
            (Question::Again(vec![entry(2), entry(1)]), false),
            (Question::Again(vec![entry(1 << 60)]), false),
        ] {
            assert_eq!(question.validate(slice()).is_ok(), good, "{question:?}");
        }
    }

    #[test]
    fn findings_that_answer_nothing_are_refused() {
        let key = Key::new("key").expect("a good key");
        let place = Position::of(&key);
        let object = || vec![(key.clone(), SiblingSet::default())];
        for (finding, good) in [
            (Finding::Again { looked: 1, differing: vec![place], objects: object() }, true),
            (Finding::Again { looked: 1, differing: vec![], objects: object() }, false),
            (Finding::Again { looked: 1, differing: vec![place, place], objects: object() }, false),
            (Finding::Below(vec![0; limits::EXCHANGE_NODES_MAX + 1]), false),
        ] {
            assert_eq!(finding.validate(place.slice()).is_ok(), good, "{finding:?}");
        }
    }
}
