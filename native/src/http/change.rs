//! Changes of the layout as clients write them, and what the core calls them. Whether a change is possible, the core says.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use quorate_core::id::{NodeId, Zone};
use quorate_core::layout::{Change, Farewell};
use quorate_core::membership::State as MemberState;
use quorate_core::node::Node;
use serde::Deserialize;

use super::error::ApiError;
use crate::storage::Store;

/// The largest share of one node.
const WEIGHT_MAX: u16 = 100;

/// Changes that go in one version, in this order.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ChangesBody {
    /// The version that they were planned for.
    pub(crate) base: Option<u64>,
    /// Who gives up what it owns.
    remove: Vec<NodeId>,
    /// Who goes, and who comes in its place.
    replace: BTreeMap<NodeId, NodeId>,
    /// Shares relative to the others.
    weight: BTreeMap<NodeId, u16>,
    /// Failure domains.
    zone: BTreeMap<NodeId, Zone>,
}

impl ChangesBody {
    /// The changes in the core's terms.
    pub(crate) fn changes(&self, node: &Node<Store>) -> Result<Vec<Change>, ApiError> {
        let mut changes: Vec<Change> = self.remove.iter().cloned().map(removal).collect();
        for (old, new) in &self.replace {
            changes.push(replacement(node, old, new)?);
        }
        let adjusted: BTreeSet<&NodeId> = self.weight.keys().chain(self.zone.keys()).collect();
        for owner in adjusted {
            let weight = self.weight.get(owner).map(|weight| checked_weight(owner, *weight)).transpose()?;
            changes.push(Change::Adjust { node: owner.clone(), zone: self.zone.get(owner).cloned(), weight });
        }
        if changes.is_empty() {
            return Err(ApiError::invalid(
                "the body asks for no change: name at least one of \"remove\": [NODE], \"replace\": {OLD: NEW}, \
                 \"weight\": {NODE: 2}, \"zone\": {NODE: ZONE}",
            ));
        }
        Ok(changes)
    }
}

/// A node gives up what it owns.
pub(crate) const fn removal(node: NodeId) -> Change {
    Change::Remove { node, why: Farewell::Removed }
}

/// A node takes the place of another one. It must be alive, so that its store is known to be there.
pub(crate) fn replacement(node: &Node<Store>, old: &NodeId, new: &NodeId) -> Result<Change, ApiError> {
    let Some(known) = node.membership().member(new) else {
        return Err(ApiError::not_found(format!(
            "{new} is no member of this cluster, so it cannot take the place of {old}: start it with a seed of this \
             cluster, or introduce it with `quorate join ADDRESS`, and try again"
        )));
    };
    if known.member.state != MemberState::Alive {
        return Err(ApiError::conflict(format!(
            "{new} is not alive, so it cannot take the place of {old}: start it, and try again once it is"
        )));
    }
    Ok(Change::Replace { old: old.clone(), new: new.clone(), store: known.member.actor })
}

fn checked_weight(node: &NodeId, weight: u16) -> Result<NonZeroU16, ApiError> {
    NonZeroU16::new(weight).filter(|weight| weight.get() <= WEIGHT_MAX).ok_or_else(|| {
        ApiError::invalid(format!(
            "the weight of {node} must be 1 to {WEIGHT_MAX}, not {weight}; to empty it, remove it"
        ))
    })
}
