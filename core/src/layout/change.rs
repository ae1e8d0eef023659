//! What may be done to a layout, and the layout that comes of it. Pure: nothing is decided here.

use alloc::collections::BTreeMap;
use core::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use super::{Exclusion, Farewell, Layout, Role};
use crate::config::ClusterConfig;
use crate::id::{ActorId, NodeId, Zone};
use crate::limits;
use crate::ring::Place;

/// One change of a layout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A node becomes an owner; one that is an owner already gets this role.
    Admit {
        /// Which.
        node: NodeId,
        /// What it gets.
        role: Role,
    },
    /// A node gives up what it owns.
    Remove {
        /// Which.
        node: NodeId,
        /// Why.
        why: Farewell,
    },
    /// A node takes the place of another one, and so exactly what that one owned. What it owned itself until then, it
    /// gives up.
    Replace {
        /// Who goes.
        old: NodeId,
        /// Who comes.
        new: NodeId,
        /// The store of the one who comes.
        store: ActorId,
    },
    /// An owner moves to another zone, or gets another share.
    Adjust {
        /// Which.
        node: NodeId,
        /// Its zone from now on; nothing leaves it as it is.
        zone: Option<Zone>,
        /// Its share from now on; nothing leaves it as it is.
        weight: Option<NonZeroU16>,
    },
    /// The owner's store is another one now, which may vote from the next version on.
    Readmit {
        /// Which.
        node: NodeId,
        /// Its store.
        store: ActorId,
    },
}

/// Why a layout cannot be changed so. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// It owns nothing.
    #[error("{0} owns no part of the ring: `quorate layout show` lists who does")]
    NotAnOwner(NodeId),
    /// Nobody would be left.
    #[error("{0} is the last owner: a cluster keeps at least one")]
    LastOwner(NodeId),
    /// Too many owners.
    #[error("{0} owners; at most {max} are possible", max = limits::MEMBERS_MAX)]
    TooMany(usize),
    /// It would change nothing.
    #[error("the layout is like this already")]
    Nothing,
    /// Somebody changed the layout meanwhile.
    #[error("the plan was made for version {planned}, and the layout is at version {current} now: plan again")]
    Stale {
        /// The version that the plan began with.
        planned: u64,
        /// The version of now.
        current: u64,
    },
    /// Several versions are active already.
    #[error(
        "{active} versions of the layout are active, and no more can be: wait until data has moved, or remove who cannot be reached"
    )]
    TooManyActive {
        /// How many.
        active: usize,
    },
    /// Not enough owners answered.
    #[error(
        "no majority of the {owners} owners answered in time: the layout stays as it was, unless they decide it later"
    )]
    NoMajority {
        /// How many there are.
        owners: usize,
    },
    /// There is nothing to go back to.
    #[error("no change is under way, so there is nothing to go back to")]
    NothingToRevert,
    /// This node has no cluster.
    #[error("this node is not a member of a cluster yet")]
    NoCluster,
}

impl Layout {
    /// The next version, with these changes made one after the other.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub fn with(&self, changes: &[Change], cluster: &ClusterConfig) -> Result<Self, ChangeError> {
        let mut next = self.clone();
        changes.iter().try_for_each(|change| next.make(change))?;
        next.follow(self, cluster)
    }

    /// The next version, with the owners of an earlier one.
    ///
    /// # Errors
    /// [`ChangeError::Nothing`] if they are the owners of now.
    pub fn reverted_to(&self, earlier: &Self, cluster: &ClusterConfig) -> Result<Self, ChangeError> {
        let mut next = self.clone();
        for (node, role) in &self.roles {
            if !earlier.roles.contains_key(node) {
                next.excluded.insert(node.clone(), Exclusion { store: role.store, why: Farewell::Removed });
            }
        }
        // Stores that were readmitted meanwhile stay so.
        let now = |node: &NodeId, role: &Role| self.roles.get(node).map_or(role.store, |role| role.store);
        next.roles = earlier
            .roles
            .iter()
            .map(|(node, role)| (node.clone(), Role { store: now(node, role), ..role.clone() }))
            .collect();
        next.excluded.retain(|node, _| !earlier.roles.contains_key(node));
        let mut back = next.follow(self, cluster)?;
        back.assignment.clone_from(&earlier.assignment);
        Ok(back)
    }

    /// The first version of the next epoch, decided by nobody: an operator's override.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub fn forced(&self, changes: &[Change], cluster: &ClusterConfig) -> Result<Self, ChangeError> {
        let mut next = self.clone();
        changes.iter().try_for_each(|change| next.make(change))?;
        next.epoch = self.epoch.saturating_add(1);
        next.version = self.version.saturating_add(1);
        next.assign(cluster, self.assignment.as_ref());
        Ok(next)
    }

    fn follow(mut self, before: &Self, cluster: &ClusterConfig) -> Result<Self, ChangeError> {
        if self == *before {
            return Err(ChangeError::Nothing);
        }
        if self.roles.len() > limits::MEMBERS_MAX {
            return Err(ChangeError::TooMany(self.roles.len()));
        }
        self.version = before.version.saturating_add(1);
        self.forget_exclusions();
        self.assign(cluster, before.assignment.as_ref());
        Ok(self)
    }

    fn make(&mut self, change: &Change) -> Result<(), ChangeError> {
        match change {
            Change::Admit { node, role } => {
                self.excluded.remove(node);
                let place = self.roles.get(node).map(|role| role.place.clone());
                let place = place.unwrap_or_else(|| self.free_place(node));
                self.roles.insert(node.clone(), Role { place, ..role.clone() });
            }
            Change::Remove { node, why } => {
                let role = self.roles.remove(node).ok_or_else(|| ChangeError::NotAnOwner(node.clone()))?;
                if self.roles.is_empty() {
                    return Err(ChangeError::LastOwner(node.clone()));
                }
                self.excluded.insert(node.clone(), Exclusion { store: role.store, why: *why });
            }
            Change::Replace { old, new, store } => {
                if old == new {
                    return Err(ChangeError::Nothing);
                }
                let role = self.roles.remove(old).ok_or_else(|| ChangeError::NotAnOwner(old.clone()))?;
                self.excluded.insert(old.clone(), Exclusion { store: role.store, why: Farewell::Removed });
                self.excluded.remove(new);
                self.roles.insert(new.clone(), Role { store: *store, ..role });
            }
            Change::Adjust { node, zone, weight } => {
                let role = self.roles.get_mut(node).ok_or_else(|| ChangeError::NotAnOwner(node.clone()))?;
                zone.iter().for_each(|zone| role.zone = zone.clone());
                weight.iter().for_each(|weight| role.weight = *weight);
            }
            Change::Readmit { node, store } => {
                let role = self.roles.get_mut(node).ok_or_else(|| ChangeError::NotAnOwner(node.clone()))?;
                role.store = *store;
            }
        }
        Ok(())
    }

    /// The first of a node's places that nobody has.
    fn free_place(&self, node: &NodeId) -> Place {
        let mut place = Place::of(node.clone());
        while self.roles.values().any(|role| role.place == place) {
            place.turn = place.turn.saturating_add(1);
        }
        place
    }

    /// Exclusions are remembered for so many nodes; beyond that the first by name go.
    fn forget_exclusions(&mut self) {
        let mut excluded: BTreeMap<NodeId, Exclusion> = core::mem::take(&mut self.excluded);
        while excluded.len() > limits::EXCLUSIONS_MAX {
            excluded.pop_first();
        }
        self.excluded = excluded;
    }
}
