//! One request that this node coordinates or has handed on: what it waits for and who has answered. It counts votes and
//! knows when they are enough; it sends nothing.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::{Quorum, Request};
use crate::causality::{Dot, SiblingSet, VersionVector};
use crate::error::Answers;
use crate::event::EventId;
use crate::hash::Position;
use crate::id::{NodeId, RequestId, Token};
use crate::layout::Rings;
use crate::ring::Ring;
use crate::time::Time;

/// Who waits for the answer.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// A client of this node.
    Client(Token),
    /// A client of another node, which handed the request on.
    Peer { node: NodeId, request: RequestId, hops: u8 },
}

/// A request under way.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) origin: Origin,
    pub(super) request: Request,
    /// The event that everything done for it is because of.
    pub(super) cause: Option<EventId>,
    /// When it ends, answered or not.
    pub(super) deadline: Time,
    /// When it is looked at next.
    pub(super) due: Time,
    pub(super) stage: Stage,
}

/// What it waits for.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// Its turn at the key.
    Queued,
    /// The answer of the node it was handed to.
    Forwarded { to: NodeId },
    /// The answers of replicas: of a read, or of the read before a write.
    Reading(Box<Round>),
    /// Dots that may be issued.
    Leasing { seen: Option<SiblingSet> },
    /// The acknowledgements of replicas.
    Writing { round: Box<Round>, write: Box<Write> },
}

/// A write that has its dot.
#[derive(Clone, Debug)]
pub(super) struct Write {
    /// What the coordinator stores and asks the others to merge.
    pub(super) set: SiblingSet,
    /// The dot.
    pub(super) fresh: Dot,
    /// What the writer has seen once it is told: what it replaced, and its own dot. Not the whole set, whose other
    /// siblings it has not seen.
    pub(super) seen: VersionVector,
}

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

impl Operation {
    /// Answers to wait for: what the client asked, else the cluster's default; at least the owners it wants to hear.
    pub(super) fn needed(&self, default: u8, copies: u8) -> u8 {
        let asked = match self.request.quorum {
            None => default,
            Some(Quorum::Count(count)) => count,
            Some(Quorum::All) => copies,
        };
        asked.max(self.request.primaries.unwrap_or(0))
    }

    pub(super) const fn round(&mut self) -> Option<&mut Round> {
        match &mut self.stage {
            Stage::Reading(round) | Stage::Writing { round, .. } => Some(round),
            Stage::Queued | Stage::Forwarded { .. } | Stage::Leasing { .. } => None,
        }
    }

    /// Whether it waits for nothing but late answers.
    pub(super) const fn is_replied(&self) -> bool {
        match &self.stage {
            Stage::Reading(round) | Stage::Writing { round, .. } => round.replied,
            Stage::Queued | Stage::Forwarded { .. } | Stage::Leasing { .. } => false,
        }
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
