//! One request that this node coordinates or has handed on: who waits for it, how far it is and when it ends. It sends
//! nothing.

use alloc::boxed::Box;

use super::forwarding::Forwarded;
use super::round::{Needs, Question, Round};
use super::{Quorum, Request};
use crate::causality::{Dot, SiblingSet, VersionVector};
use crate::config::Replication;
use crate::event::{EventId, OperationKind};
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
    /// What a write replaces that gets a second dot, because an owner has sealed the first: what the first one replaced,
    /// and the first one itself.
    pub(super) replacing: Option<VersionVector>,
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
    /// The answer of a node that it was handed to.
    Forwarded(Box<Forwarded>),
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
    /// What its answer needs: what the client asked, else the cluster's default.
    pub(super) fn needs(&self, replication: Replication) -> Needs {
        let is_read = self.request.kind() == OperationKind::Get;
        let default = if is_read { replication.r } else { replication.w };
        let votes = match self.request.quorum {
            None => default.get(),
            Some(Quorum::Count(count)) => count,
            Some(Quorum::All) => replication.n.get(),
        };
        Needs {
            votes,
            primaries: self.request.primaries.unwrap_or(0),
            question: if is_read { Question::Read } else { Question::Write },
            sloppy: self.request.sloppy,
        }
    }

    /// What the read before a write needs, that finds what the write replaces.
    pub(super) const fn needs_to_write(&self, replication: Replication) -> Needs {
        let sloppy = self.request.sloppy;
        Needs { votes: replication.r.get(), primaries: 0, question: Question::ReadToWrite, sloppy }
    }

    pub(super) const fn round(&mut self) -> Option<&mut Round> {
        match &mut self.stage {
            Stage::Reading(round) | Stage::Writing { round, .. } => Some(round),
            Stage::Queued | Stage::Forwarded(_) | Stage::Leasing { .. } => None,
        }
    }

    /// Whether it waits for nothing but late answers.
    pub(super) const fn is_replied(&self) -> bool {
        match &self.stage {
            Stage::Reading(round) | Stage::Writing { round, .. } => round.replied,
            Stage::Queued | Stage::Forwarded(_) | Stage::Leasing { .. } => false,
        }
    }
}
