//! The rings that follow from the active layouts, and at which point of a change each slice is: what every request is
//! routed by. Immutable: another point is another value. Never decides when a slice moves on.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Layout, LayoutId};
use crate::config::ClusterConfig;
use crate::hash::{Position, SLICES, Slice, StableHasher};
use crate::id::NodeId;
use crate::ring::Ring;

/// How many slices there are, as a length.
pub(super) const COUNT: usize = 64;
const _: () = assert!(SLICES == 64);

/// A layout and its ring: computed once, shared by every machine of the process.
pub struct Active {
    /// Who owns what.
    pub layout: Layout,
    /// The layout's name.
    pub id: LayoutId,
    /// Where.
    pub ring: Ring,
}

impl Active {
    /// Computes the ring.
    #[must_use]
    pub fn new(layout: Layout, cluster: &ClusterConfig) -> Arc<Self> {
        let ring = layout.ring(cluster);
        Arc::new(Self { id: layout.id(), layout, ring })
    }
}

impl core::fmt::Debug for Active {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Active").field("id", &self.id).field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// The active layouts, and which of them each slice is read and written under.
#[derive(Clone)]
pub struct Rings {
    /// The newest layout's name.
    pub id: LayoutId,
    /// Oldest first; never empty.
    pub(super) chain: Vec<Arc<Active>>,
    /// For each slice the version that reads ask.
    pub(super) reading: [u64; COUNT],
    /// For each slice the oldest version that writes need.
    pub(super) writing: [u64; COUNT],
    /// Of everything above: asked for at every step of a node, so worked out once.
    hash: u64,
}

impl core::fmt::Debug for Rings {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Rings").field("id", &self.id).field("chain", &self.chain).finish_non_exhaustive()
    }
}

impl Rings {
    pub(super) fn new(chain: Vec<Arc<Active>>, reading: [u64; COUNT], writing: [u64; COUNT]) -> Arc<Self> {
        let (first, newest) = (chain[0].id, chain[chain.len() - 1].id);
        let mut hasher = StableHasher::new();
        hasher.u64(newest.hash);
        hasher.u64(newest.version);
        hasher.u64(u64::from(newest.epoch));
        reading.iter().chain(&writing).for_each(|version| hasher.u64(*version));
        hasher.u64(first.version);
        Arc::new(Self { id: newest, chain, reading, writing, hash: hasher.finish() })
    }

    /// The rings of one layout that has no other beside it.
    #[must_use]
    pub fn settled(layout: Layout, cluster: &ClusterConfig) -> Arc<Self> {
        let version = layout.version();
        Self::new(alloc::vec![Active::new(layout, cluster)], [version; COUNT], [version; COUNT])
    }

    /// The rings at the beginning of a change.
    #[cfg(test)]
    pub(crate) fn between(before: Layout, after: Layout, cluster: &ClusterConfig) -> Arc<Self> {
        let version = before.version();
        let chain = alloc::vec![Active::new(before, cluster), Active::new(after, cluster)];
        Self::new(chain, [version; COUNT], [version; COUNT])
    }

    /// The newest layout.
    #[must_use]
    pub fn newest(&self) -> &Active {
        self.chain.last().expect("a chain is never empty")
    }

    /// The ring of the newest layout.
    #[must_use]
    pub fn ring(&self) -> &Ring {
        &self.newest().ring
    }

    /// The newest layout.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.newest().layout
    }

    /// The layout that reads of a slice ask.
    #[must_use]
    pub fn reading(&self, slice: Slice) -> &Active {
        self.of_version(self.reading[place(slice)])
    }

    /// The layouts under each of which writes to a slice need their quorum, the newest last.
    #[must_use]
    pub fn writing(&self, slice: Slice) -> &[Arc<Active>] {
        let oldest = self.writing[place(slice)];
        &self.chain[self.chain.partition_point(|active| active.id.version < oldest)..]
    }

    /// Whether a slice has passed to the newest layout.
    #[must_use]
    pub fn is_settled(&self, slice: Slice) -> bool {
        self.writing[place(slice)] == self.id.version
    }

    /// Whether all slices have.
    #[must_use]
    pub fn is_all_settled(&self) -> bool {
        self.writing.iter().all(|version| *version == self.id.version)
    }

    /// The layout of a version, or the oldest one after it that is known.
    fn of_version(&self, version: u64) -> &Active {
        let index = self.chain.partition_point(|active| active.id.version < version);
        self.chain.get(index).unwrap_or_else(|| self.newest_arc())
    }

    fn newest_arc(&self) -> &Arc<Active> {
        self.chain.last().expect("a chain is never empty")
    }

    /// Whether a node is an owner of a position under any layout that writes need.
    #[must_use]
    pub fn owns(&self, node: &NodeId, at: Position) -> bool {
        self.writing(at.slice()).iter().any(|active| active.ring.preference_list(at).primaries().contains(node))
    }

    /// Whether a node is an owner of a position under the newest layout.
    #[must_use]
    pub fn will_own(&self, node: &NodeId, at: Position) -> bool {
        self.ring().preference_list(at).primaries().contains(node)
    }

    /// Whether a node has been an owner of a position under every layout since this one. Never if it is not known any more.
    #[must_use]
    pub fn keeps(&self, node: &NodeId, since: LayoutId, at: Position) -> bool {
        let Some(first) = self.chain.iter().position(|active| active.id == since) else { return false };
        self.chain[first..].iter().all(|active| active.ring.preference_list(at).primaries().contains(node))
    }

    /// Whether a slice is routed in another way by the other.
    #[must_use]
    pub fn differs(&self, other: &Self, slice: Slice) -> bool {
        let point = |rings: &Self| (rings.id, rings.reading[place(slice)], rings.writing[place(slice)]);
        point(self) != point(other)
    }

    /// Whether a layout is among those that are known.
    #[must_use]
    pub fn knows(&self, id: LayoutId) -> bool {
        self.chain.iter().any(|active| active.id == id)
    }

    /// The version that reads of a slice ask.
    #[must_use]
    pub fn reads_under(&self, slice: Slice) -> u64 {
        self.reading[place(slice)]
    }

    /// What a node that owns a position under version `under` gives of it to one that will own it, and holds what it has
    /// owned under every layout since `since`. A version that writes do not need any more gives nothing: what its owners
    /// hold may be long deleted.
    #[must_use]
    pub fn gives(&self, giver: &NodeId, under: u64, taker: &NodeId, since: Option<LayoutId>, at: Position) -> bool {
        let old = self.writing(at.slice()).iter().find(|active| active.id.version == under);
        old.is_some_and(|active| active.ring.preference_list(at).primaries().contains(giver))
            && self.will_own(taker, at)
            && !since.is_some_and(|since| self.keeps(taker, since, at))
    }

    /// Where the parts of a slice end on which nobody's ownership differs, under all layouts that are known, in their order.
    #[must_use]
    pub fn cuts(&self, slice: Slice) -> Vec<Position> {
        cuts(self.chain.iter().map(|active| &**active), slice)
    }

    /// A hash of everything that routing depends on.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }
}

/// Where the parts of a slice end on which nobody's ownership differs, under all of these layouts, in their order.
pub(super) fn cuts<'a>(layouts: impl Iterator<Item = &'a Active>, slice: Slice) -> Vec<Position> {
    let mut cuts: Vec<Position> = layouts.flat_map(|active| active.ring.arcs_of(slice)).map(|(last, _)| last).collect();
    cuts.push(slice.last());
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

/// The place of a slice in a list of all.
pub(super) fn place(slice: Slice) -> usize {
    usize::from(slice.number())
}
