//! News on its way: one claim for each member at most, each sent so often and then forgotten. Never judges a claim.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::message::{Claim, PIGGYBACK_BYTES_MAX, PIGGYBACK_CLAIMS_MAX};
use crate::id::NodeId;

/// A claim that is being spread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rumor {
    /// What is told.
    pub claim: Claim,
    /// How often it was sent.
    pub sent: u32,
    order: u64,
}

/// All that is being spread: bounded by one for each member.
#[derive(Clone, Debug, Default)]
pub(super) struct Rumors {
    by_node: BTreeMap<NodeId, Rumor>,
    added: u64,
}

impl Rumors {
    pub(super) fn is_empty(&self) -> bool {
        self.by_node.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Rumor> {
        self.by_node.values()
    }

    /// Spreads the claim, instead of an older one about the same member.
    pub(super) fn add(&mut self, claim: Claim) {
        self.added += 1;
        let node = claim.member.node.clone();
        self.by_node.insert(node, Rumor { claim, sent: 0, order: self.added });
    }

    /// Claims for one message to `receiver`, those sent least often first, then the newest. Each counts as sent once more,
    /// and is forgotten at `sends_max`. What concerns the receiver itself only counts: it is told that apart.
    pub(super) fn take(&mut self, receiver: &NodeId, sends_max: u32) -> Vec<Claim> {
        let mut waiting: Vec<&mut Rumor> = self.by_node.values_mut().collect();
        waiting.sort_unstable_by_key(|rumor| (rumor.sent, Reverse(rumor.order)));
        let mut claims = Vec::new();
        let mut bytes = 0;
        for rumor in waiting.into_iter().take(PIGGYBACK_CLAIMS_MAX) {
            bytes += rumor.claim.wire_bytes();
            if bytes > PIGGYBACK_BYTES_MAX && !claims.is_empty() {
                break;
            }
            rumor.sent += 1;
            if rumor.claim.member.node != *receiver {
                claims.push(rumor.claim.clone());
            }
        }
        self.by_node.retain(|_, rumor| rumor.sent < sends_max);
        claims
    }

    /// Forgets everything: there is nobody to tell.
    pub(super) fn clear(&mut self) {
        self.by_node.clear();
    }
}

/// How often a rumour is sent in a cluster of so many members: `multiplier` times the decimal logarithm of one more than
/// their number, rounded up, which is the number of digits.
pub(crate) fn sends_max(multiplier: u8, members: u64) -> u32 {
    u32::from(multiplier) * (members.max(1).ilog10() + 1)
}
