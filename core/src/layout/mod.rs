//! Who owns a part of the ring, and whether the owner is settled there. Ownership outlives death: only joining adds, and
//! nothing here removes. Never knows who is alive.
//!
//! A layout only grows: merging two takes every owner of either, and of each owner the further stage. So nodes that learn
//! of joins in different orders end with the same layout, and any two layouts have one that follows both.
//!
//! A joiner passes two stages. While it is *joining*, writes need their quorum among the settled owners **and** among all
//! of them, and its own "not found" counts for nothing. It becomes *settled* by its own word, after it has pulled what it
//! owns from so many settled owners, each of which has acknowledged the layout with it, that no quorum of the older layout
//! is left without one of them. A replica refuses requests that name another layout than its own.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use crate::config::ClusterConfig;
use crate::hash::{Position, StableHasher};
use crate::id::{NodeId, Zone};
use crate::limits;
use crate::ring::{Owner, Ring};

/// How far an owner has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It receives writes and pulls what it owns.
    Joining,
    /// It held all of it once, and its store answers for it.
    Settled,
}

/// What one owner has of the ring.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Share {
    /// How far it has come.
    pub stage: Stage,
    /// Its failure domain.
    pub zone: Zone,
    /// Its share, relative to the others.
    pub weight: NonZeroU16,
}

/// Names a layout: a later one has a greater version; two of one version that differ have different hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LayoutId {
    /// Owners plus settled owners: grows with every change.
    pub version: u64,
    /// A hash of the content.
    pub hash: u64,
}

/// The owners of the ring.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Layout {
    shares: BTreeMap<NodeId, Share>,
}

/// A layout from outside that no member would send. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a layout of {owners} owners; at most {} are possible", limits::MEMBERS_MAX)]
pub struct MalformedLayout {
    /// How many owners it names.
    pub owners: usize,
}

impl Layout {
    /// The layout of a cluster at its founding.
    #[must_use]
    pub fn founded_by(node: NodeId, zone: Zone, weight: NonZeroU16) -> Self {
        let mut shares = BTreeMap::new();
        shares.insert(node, Share { stage: Stage::Settled, zone, weight });
        Self { shares }
    }

    /// Makes a node an owner that is joining; nothing happens if it is one already. Says whether anything changed.
    pub fn admit(&mut self, node: NodeId, zone: Zone, weight: NonZeroU16) -> bool {
        if self.shares.contains_key(&node) {
            return false;
        }
        self.shares.insert(node, Share { stage: Stage::Joining, zone, weight });
        true
    }

    /// Makes an owner settled. Says whether anything changed.
    pub fn settle(&mut self, node: &NodeId) -> bool {
        match self.shares.get_mut(node) {
            Some(share) if share.stage == Stage::Joining => {
                share.stage = Stage::Settled;
                true
            }
            _ => false,
        }
    }

    /// Takes over what the other knows. Says whether anything changed.
    pub fn merge(&mut self, other: &Self) -> bool {
        let before = self.clone();
        for (node, theirs) in &other.shares {
            let share = self.shares.entry(node.clone()).or_insert_with(|| theirs.clone());
            // The greater of two shares: stage first, and where only zone or weight differ any fixed choice agrees.
            if *theirs > *share {
                *share = theirs.clone();
            }
        }
        *self != before
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> LayoutId {
        let mut hasher = StableHasher::new();
        let mut version = 0;
        for (node, share) in &self.shares {
            hasher.bytes(node.as_str().as_bytes());
            hasher.bytes(share.zone.as_str().as_bytes());
            hasher.u16(share.weight.get());
            hasher.u64(u64::from(share.stage == Stage::Settled));
            version += 1 + u64::from(share.stage == Stage::Settled);
        }
        LayoutId { version, hash: hasher.finish() }
    }

    /// The owners and their shares, in the order of their ids.
    pub fn shares(&self) -> impl Iterator<Item = (&NodeId, &Share)> {
        self.shares.iter()
    }

    /// How far an owner has come; nothing if the node owns no part.
    #[must_use]
    pub fn stage(&self, node: &NodeId) -> Option<Stage> {
        self.shares.get(node).map(|share| share.stage)
    }

    /// How many owners there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shares.len()
    }

    /// Whether nobody owns anything: no cluster yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }

    /// Checks a layout that came from outside.
    ///
    /// # Errors
    /// [`MalformedLayout`].
    pub fn validate(&self) -> Result<(), MalformedLayout> {
        let owners = self.shares.len();
        if owners > limits::MEMBERS_MAX {
            return Err(MalformedLayout { owners });
        }
        Ok(())
    }
}

/// A layout and the rings that follow from it: immutable, computed once, shared by every machine of the process.
pub struct Rings {
    /// The layout.
    pub layout: Layout,
    /// Its name.
    pub id: LayoutId,
    /// The ring of every owner.
    pub all: Ring,
    /// The ring of the settled owners.
    pub settled: Ring,
}

impl core::fmt::Debug for Rings {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Rings").field("id", &self.id).field("layout", &self.layout).finish_non_exhaustive()
    }
}

impl Rings {
    /// Computes the rings.
    #[must_use]
    pub fn new(layout: Layout, cluster: &ClusterConfig) -> Arc<Self> {
        let owners = |least: Stage| -> Vec<Owner> {
            layout
                .shares()
                .filter(|(_, share)| share.stage >= least)
                .map(|(node, share)| Owner::new(node.clone(), share.zone.clone(), share.weight))
                .collect()
        };
        let ring = |owners| Ring::new(cluster.placement, cluster.replication.n, owners);
        let (joining, settled) = (owners(Stage::Joining), owners(Stage::Settled));
        let same = joining.len() == settled.len();
        let all = ring(joining);
        let settled = if same { all.clone() } else { ring(settled) };
        Arc::new(Self { id: layout.id(), layout, all, settled })
    }

    /// Whether every owner is settled: the two rings are one.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.all.hash() == self.settled.hash()
    }

    /// Whether a node is an owner of a position: a new one, or a settled one whose place a new one is about to take.
    #[must_use]
    pub fn owns(&self, node: &NodeId, at: Position) -> bool {
        [&self.all, &self.settled].into_iter().any(|ring| ring.preference_list(at).primaries().contains(node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn node(index: u8) -> NodeId {
        NodeId::new(&alloc::format!("n{index}")).expect("a good name")
    }

    fn zone() -> Zone {
        Zone::new("z").expect("a good name")
    }

    fn grown(steps: &[(u8, bool)]) -> Layout {
        let mut layout = Layout::founded_by(node(0), zone(), NonZeroU16::MIN);
        for &(index, settle) in steps {
            layout.admit(node(index), zone(), NonZeroU16::MIN);
            if settle {
                layout.settle(&node(index));
            }
        }
        layout
    }

    #[test]
    fn every_change_raises_the_version() {
        let mut layout = Layout::founded_by(node(0), zone(), NonZeroU16::MIN);
        let founded = layout.id();
        assert!(layout.admit(node(1), zone(), NonZeroU16::MIN));
        let admitted = layout.id();
        assert!(layout.settle(&node(1)));
        assert!(founded.version < admitted.version && admitted.version < layout.id().version);
        assert!(
            !layout.admit(node(1), zone(), NonZeroU16::MIN) && !layout.settle(&node(1)) && !layout.settle(&node(9))
        );
    }

    proptest! {
        #[test]
        fn layouts_that_learn_the_same_in_any_order_are_the_same(
            steps in prop::collection::vec((1_u8..9, any::<bool>()), 0..20),
            split in any::<prop::sample::Index>(),
        ) {
            let (left, right) = steps.split_at(split.index(steps.len() + 1));
            let (left, right) = (grown(left), grown(right));
            let (mut one, mut other) = (left.clone(), right.clone());
            one.merge(&right);
            other.merge(&left);
            prop_assert_eq!(&one, &other);
            prop_assert_eq!(one.id(), grown(&steps).id());
            prop_assert!(!one.clone().merge(&left) && one.id().version >= left.id().version);
        }
    }
}
