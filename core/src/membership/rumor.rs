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

impl Rumor {
    const fn turn(&self) -> Turn {
        (self.sent, Reverse(self.order))
    }
}

/// All that is being spread: bounded by one for each member.
#[derive(Clone, Debug, Default)]
pub(super) struct Rumors {
    by_node: BTreeMap<NodeId, Rumor>,
    /// Whose turn it is: those sent least often first, then the newest.
    turns: BTreeMap<Turn, NodeId>,
    added: u64,
}

type Turn = (u32, Reverse<u64>);

impl Rumors {
    pub(super) fn is_empty(&self) -> bool {
        self.by_node.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.by_node.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Rumor> {
        self.by_node.values()
    }

    /// Spreads the claim, instead of an older one about the same member.
    pub(super) fn add(&mut self, claim: Claim) {
        self.added += 1;
        let node = claim.member.node.clone();
        let rumor = Rumor { claim, sent: 0, order: self.added };
        self.turns.insert(rumor.turn(), node.clone());
        if let Some(older) = self.by_node.insert(node, rumor) {
            self.turns.remove(&older.turn());
        }
    }

    /// Claims for one message to `receiver`, those sent least often first, then the newest. Each counts as sent once more,
    /// and is forgotten at `sends_max`. What concerns the receiver itself only counts: it is told that apart.
    pub(super) fn take(&mut self, receiver: &NodeId, sends_max: u32) -> Vec<Claim> {
        let mut claims = Vec::new();
        let mut taken = Vec::new();
        let mut bytes = 0;
        while taken.len() < PIGGYBACK_CLAIMS_MAX {
            let Some(turn) = self.turns.first_entry() else { break };
            let rumor = self.by_node.get_mut(turn.get()).expect("a turn is that of a rumour");
            bytes += rumor.claim.wire_bytes();
            if bytes > PIGGYBACK_BYTES_MAX && !claims.is_empty() {
                break;
            }
            rumor.sent += 1;
            if *turn.get() != *receiver {
                claims.push(rumor.claim.clone());
            }
            taken.push((rumor.turn(), turn.remove()));
        }
        for (turn, node) in taken {
            if turn.0 < sends_max {
                self.turns.insert(turn, node);
            } else {
                self.by_node.remove(&node);
            }
        }
        claims
    }

    /// Forgets everything: there is nobody to tell.
    pub(super) fn clear(&mut self) {
        self.by_node.clear();
        self.turns.clear();
    }
}

/// How often a rumour is sent in a cluster of so many members: `multiplier` times the decimal logarithm of one more than
/// their number, rounded up, which is the number of digits.
pub(crate) fn sends_max(multiplier: u8, members: u64) -> u32 {
    u32::from(multiplier) * (members.max(1).ilog10() + 1)
}
