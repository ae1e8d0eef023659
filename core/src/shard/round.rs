//! One round of a request: whom the question went to, who has answered, and whether that is enough. It counts votes and
//! sends nothing.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::causality::SiblingSet;
use crate::error::Answers;
use crate::hash::Position;
use crate::id::NodeId;
use crate::layout::Rings;
use crate::ring::Ring;
use crate::time::Time;

/// One question to all replicas of a key.
#[derive(Clone, Debug)]
pub(super) struct Round {
    /// Whom it is asked: the owners, and where a joiner is not settled yet the settled owners too.
    pub(super) targets: Vec<NodeId>,
    /// The sets of those who answered a read, synced or not.
    pub(super) sets: BTreeMap<NodeId, SiblingSet>,
    /// Whose answers count, and who failed.
    pub(super) answers: Answers,
    /// Votes needed among all owners and, for a write, among the settled ones.
    needed: u8,
    write: bool,
    /// Whether the reply is out: what comes now is only for repair.
    pub(super) replied: bool,
    /// The quorum is met; until then the reply waits for the others, so that it can name them.
    pub(super) linger_until: Option<Time>,
    pub(super) retry_at: Time,
}

/// How a round stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The quorum is met.
    Met,
    /// It still can be.
    Open,
    /// Too many have failed.
    Missed,
}

impl Round {
    pub(super) fn new(rings: &Rings, at: Position, needed: u8, write: bool) -> Self {
        let mut targets = rings.all.preference_list(at).primaries().to_vec();
        if write {
            for node in rings.settled.preference_list(at).primaries() {
                if !targets.contains(node) {
                    targets.push(node.clone());
                }
            }
        }
        Self {
            targets,
            sets: BTreeMap::new(),
            answers: Answers::default(),
            needed,
            write,
            replied: false,
            linger_until: None,
            retry_at: Time::ZERO,
        }
    }

    /// Counts an answer once. Says whether it was new.
    pub(super) fn count(&mut self, from: &NodeId) -> bool {
        if !self.targets.contains(from) || self.answers.successful.contains(from) {
            return false;
        }
        self.answers.failed.retain(|node| node != from);
        self.answers.successful.push(from.clone());
        true
    }

    /// Notes that a replica cannot answer.
    pub(super) fn fail(&mut self, node: &NodeId) {
        let answers = &mut self.answers;
        if self.targets.contains(node) && !answers.successful.contains(node) && !answers.failed.contains(node) {
            answers.failed.push(node.clone());
        }
    }

    /// Replicas that have neither answered nor failed.
    pub(super) fn unanswered(&self) -> Vec<NodeId> {
        let answered = |node: &&NodeId| self.answers.successful.contains(node) || self.answers.failed.contains(node);
        self.targets.iter().filter(|node| !answered(node)).cloned().collect()
    }

    /// Votes needed among the owners of this ring: no more than it has.
    fn needed_of(&self, primaries: &[NodeId]) -> usize {
        usize::from(self.needed).min(primaries.len())
    }

    /// Votes needed among all owners, for people.
    pub(super) fn needed(&self, rings: &Rings, at: Position) -> u8 {
        let needed = self.needed_of(rings.all.preference_list(at).primaries());
        u8::try_from(needed).expect("no more than the cluster's copies")
    }

    /// Every ring that must agree: the owners, and for a write the settled owners, so that a read under the layout before
    /// a join finds it too.
    pub(super) fn standing(&self, rings: &Rings, at: Position) -> Standing {
        let of = |ring: &Ring| {
            let list = ring.preference_list(at);
            let primaries = list.primaries();
            let count = |nodes: &[NodeId]| nodes.iter().filter(|node| primaries.contains(node)).count();
            let needed = self.needed_of(primaries);
            if count(&self.answers.successful) >= needed {
                Standing::Met
            } else if primaries.len() - count(&self.answers.failed) < needed {
                Standing::Missed
            } else {
                Standing::Open
            }
        };
        match (of(&rings.all), if self.write { of(&rings.settled) } else { Standing::Met }) {
            (Standing::Met, Standing::Met) => Standing::Met,
            (Standing::Missed, _) | (_, Standing::Missed) => Standing::Missed,
            _ => Standing::Open,
        }
    }

    /// What all who answered hold together.
    pub(super) fn merged(&self) -> SiblingSet {
        merge_all(self.sets.values())
    }
}

/// The merge of sets; one that no honest node sends is left out.
pub(super) fn merge_all<'a>(sets: impl Iterator<Item = &'a SiblingSet>) -> SiblingSet {
    let mut merged = SiblingSet::default();
    for set in sets {
        let _ = merged.merge(set);
    }
    merged
}
