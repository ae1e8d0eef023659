//! One request that this node coordinates or has handed on: who waits for it, how far it is and when it
//! ends. It sends nothing.

use alloc::boxed::Box;

use super::round::Round;
use super::{Quorum, Request};
use crate::causality::{Dot, SiblingSet, VersionVector};
use crate::event::EventId;
use crate::id::{NodeId, RequestId, Token};
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
    /// Bytes of values that it has brought and been answered.
    pub(super) value_bytes: u64,
    /// Whether a replica had no room for it.
    pub(super) disk_full: bool,
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
    /// Whether the write was there already, under the name that its client gave it: then nothing was minted.
    pub(super) again: bool,
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
