//! Who has a share of the ring, and whose place it has. Never says where the place lies.

use core::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use crate::id::{NodeId, Zone};

/// A place on the ring: what decides which parts are somebody's. It outlives its first owner, so that a node which
/// replaces a dead one gets exactly the parts that the dead one had.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// For whom it was made.
    pub node: NodeId,
    /// Which of the places that were made for that node: 0 is its first. A node that was replaced and comes back finds
    /// somebody else in its old place and needs a new one.
    pub turn: u16,
}

impl Place {
    /// The first place of a node.
    #[must_use]
    pub const fn of(node: NodeId) -> Self {
        Self { node, turn: 0 }
    }
}

/// A node that owns a share of the ring.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// Who.
    pub node: NodeId,
    /// Its place: mostly its own first one.
    pub place: Place,
    /// Its failure domain.
    pub zone: Zone,
    /// Its share, relative to the others.
    pub weight: NonZeroU16,
}

impl Owner {
    /// A node in its own first place.
    #[must_use]
    pub fn new(node: NodeId, zone: Zone, weight: NonZeroU16) -> Self {
        Self { place: Place::of(node.clone()), node, zone, weight }
    }
}
