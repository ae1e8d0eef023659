//! Who owns what: the versions of the layout, how the next one is decided, and how ownership passes from one to the other.
//! Ownership outlives death: this module never knows who is alive.
//!
//! A **layout** names the owners and their shares. It is never changed: version *v*+1 follows version *v*, and is decided
//! once, by a majority of the owners of *v* (`decision`). So two contents for one version do not exist, and a minority can
//! serve data but not change who owns it.
//!
//! While ownership passes from *v* to *v*+1 both are active. For each slice a node is at one of these points (`history`):
//!
//! 1. Reads ask the owners under *v*, writes need their quorum under *v* **and** under *v*+1.
//! 2. Enough owners under *v*+1 are synced: reads ask them. Writes still need both.
//! 3. So many owners under *v* refuse reads under *v* that none can succeed any more: writes need *v*+1 alone.
//!
//! Neighbouring points agree with each other: what is acknowledged at one is seen by reads at the next and at the one
//! before. Fences keep two nodes from being further apart: a replica that knows *v*+1 refuses whoever names *v* alone, a new
//! owner pulls only from such replicas, and point 3 waits for those that have told of point 2. A chain of several versions
//! passes in one go to the newest. A dead owner holds nothing up as long as a quorum is there without it.

mod change;
mod decision;
mod history;
mod plan;
mod rings;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::num::NonZeroU16;

use serde::{Deserialize, Serialize};

pub use self::change::{Change, ChangeError};
pub use self::decision::{Acceptor, Ballot, Decision, Proposal, Step, Verdict};
pub use self::history::{History, HistoryRow, Learned, News, NewsDigest, Progress, Tracker, bit};
pub use self::plan::{Move, Plan};
pub use self::rings::{Active, Rings};
use crate::config::{ClusterConfig, Placement};
use crate::hash::StableHasher;
use crate::id::{ActorId, NodeId, Zone};
use crate::limits;
use crate::ring::{Assignment, Owner, Place, Ring};
use crate::wire;

/// What one owner has of the ring.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Role {
    /// Its failure domain.
    pub zone: Zone,
    /// Its share, relative to the others.
    pub weight: NonZeroU16,
    /// Whose place on the ring it has: mostly its own.
    pub place: Place,
    /// The store that votes on the next version. Another store of that node has forgotten what it promised: it abstains
    /// until a later version names it.
    pub store: ActorId,
}

/// A store that owns nothing any more. It comes back as another one, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Exclusion {
    /// Which store.
    pub store: ActorId,
    /// Why.
    pub why: Farewell,
}

/// Why a node owns nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Farewell {
    /// Somebody wanted it gone.
    Removed,
    /// It was dead for too long. It may come back by itself.
    Evicted,
}

/// Names a layout: a later one is greater. Two of one version are told apart by the hash; there are none, but for an
/// operator's override, which begins a new epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LayoutId {
    /// Raised by each override.
    pub epoch: u32,
    /// Raised by each change, overrides included.
    pub version: u64,
    /// A hash of the content.
    pub hash: u64,
}

/// Who owns what, in one version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Layout {
    epoch: u32,
    version: u64,
    roles: BTreeMap<NodeId, Role>,
    excluded: BTreeMap<NodeId, Exclusion>,
    /// Who has which partition, where the ring is cut into partitions: it depends on who had them before.
    assignment: Option<Assignment>,
}

/// A layout from outside that no member would send. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedLayout {
    /// More owners than there can be members.
    #[error("a layout of {owners} owners; at most {} are possible", limits::MEMBERS_MAX)]
    Owners {
        /// How many it names.
        owners: usize,
    },
    /// Two owners in one place, or partitions that are given to others than the owners.
    #[error("a layout in which two owners have one place, or partitions belong to nobody")]
    Places,
    /// Slices that are read or written under layouts that are not there.
    #[error("slices that are said to be read or written under layouts that are not there")]
    Points,
    /// Layouts that do not follow each other, or too many.
    #[error("{layouts} layouts that are no chain of 1 to {}", limits::LAYOUTS_MAX)]
    Chain {
        /// How many there are.
        layouts: usize,
    },
}

impl Role {
    /// The role of a node in its own place.
    #[must_use]
    pub const fn of(node: NodeId, zone: Zone, weight: NonZeroU16, store: ActorId) -> Self {
        Self { zone, weight, place: Place::of(node), store }
    }

    /// An ordinary one, for tests that look at other things.
    #[cfg(test)]
    pub(crate) fn plain(node: &str) -> Self {
        Self::of(
            NodeId::new(node).expect("a good name"),
            Zone::new("default").expect("a good name"),
            NonZeroU16::MIN,
            ActorId(0),
        )
    }
}

impl Layout {
    /// The layout of a cluster at its founding.
    #[must_use]
    pub fn founded_by(node: NodeId, role: Role, cluster: &ClusterConfig) -> Self {
        let roles = BTreeMap::from([(node, role)]);
        let mut layout = Self { version: 1, roles, ..Self::default() };
        layout.assign(cluster, None);
        layout
    }

    /// Gives the partitions to the owners, if there are any; as far as can be, each stays where it was.
    fn assign(&mut self, cluster: &ClusterConfig, before: Option<&Assignment>) {
        self.assignment = match cluster.placement {
            Placement::Tokens(_) => None,
            Placement::Partitions(count) => {
                Some(Assignment::new(count, cluster.replication.n, &self.ring_owners(), before))
            }
        };
    }

    /// The owners, as the ring knows them.
    fn ring_owners(&self) -> Vec<Owner> {
        let owner = |(node, role): (&NodeId, &Role)| Owner {
            node: node.clone(),
            place: role.place.clone(),
            zone: role.zone.clone(),
            weight: role.weight,
        };
        self.roles.iter().map(owner).collect()
    }

    /// The ring that follows from it.
    #[must_use]
    pub fn ring(&self, cluster: &ClusterConfig) -> Ring {
        let n = cluster.replication.n;
        match &self.assignment {
            Some(assignment) => Ring::assigned(n, self.ring_owners(), assignment),
            None => Ring::new(cluster.placement, n, self.ring_owners()),
        }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> LayoutId {
        let mut hasher = StableHasher::new();
        for (node, Role { zone, weight, place, store }) in &self.roles {
            hasher.bytes(node.as_str().as_bytes());
            hasher.bytes(place.node.as_str().as_bytes());
            hasher.u16(place.turn);
            hasher.bytes(zone.as_str().as_bytes());
            hasher.u16(weight.get());
            hasher.bytes(&store.0.to_be_bytes());
        }
        hasher.u64(0);
        for (node, Exclusion { store, why }) in &self.excluded {
            hasher.bytes(node.as_str().as_bytes());
            hasher.bytes(&store.0.to_be_bytes());
            hasher.u64(u64::from(*why == Farewell::Evicted));
        }
        if let Some(assignment) = &self.assignment {
            hasher.bytes(&wire::encode(assignment));
        }
        LayoutId { epoch: self.epoch, version: self.version, hash: hasher.finish() }
    }

    /// Counts the changes, overrides included.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Counts the overrides.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The owners and their shares, in the order of their names.
    pub fn roles(&self) -> impl Iterator<Item = (&NodeId, &Role)> {
        self.roles.iter()
    }

    /// The owners, in the order of their names.
    pub fn owners(&self) -> impl Iterator<Item = &NodeId> {
        self.roles.keys()
    }

    /// What a node has; nothing if it owns no part.
    #[must_use]
    pub fn role(&self, node: &NodeId) -> Option<&Role> {
        self.roles.get(node)
    }

    /// Whether a node owns a part.
    #[must_use]
    pub fn is_owner(&self, node: &NodeId) -> bool {
        self.roles.contains_key(node)
    }

    /// Why a node owns nothing any more, if it owned something.
    #[must_use]
    pub fn exclusion(&self, node: &NodeId) -> Option<&Exclusion> {
        self.excluded.get(node)
    }

    /// How many owners there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.roles.len()
    }

    /// Whether nobody owns anything: no cluster yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.roles.is_empty()
    }

    /// Checks a layout that came from outside.
    ///
    /// # Errors
    /// [`MalformedLayout`].
    pub fn validate(&self) -> Result<(), MalformedLayout> {
        let owners = self.roles.len().max(self.excluded.len());
        if owners > limits::MEMBERS_MAX {
            return Err(MalformedLayout::Owners { owners });
        }
        let places: BTreeSet<&Place> = self.roles.values().map(|role| &role.place).collect();
        let assigned =
            self.assignment.as_ref().is_none_or(|assignment| assignment.places().iter().eq(places.iter().copied()));
        if places.len() < self.roles.len() || !assigned { Err(MalformedLayout::Places) } else { Ok(()) }
    }
}
