//! What can go wrong with a client's request. Each variant says whether anything may have changed.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::id::NodeId;
use crate::storage::StorageError;

/// Who answered a request, and who could not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// Nodes that answered, in the order they did: owners of the key, and fallbacks that stood in for one.
    pub successful: Vec<NodeId>,
    /// Nodes that answered with an error, and owners that are known to be dead.
    pub failed: Vec<NodeId>,
    /// For whom those of `successful` stood in that are no owners. Where nobody did, the quorum was strict.
    pub stand_ins: Vec<StandIn>,
}

/// A fallback in the place of an owner (a sloppy quorum; DeCandia et al., "Dynamo", 2007, section 4.6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandIn {
    /// The fallback. It keeps what is written until it can hand it to the owner.
    pub fallback: NodeId,
    /// The owner.
    pub target: NodeId,
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RequestError {
    /// A quorum outside 1 to N. Nothing was changed.
    #[error("{parameter} must be 1 to {max}, the number of copies; {given} is not")]
    InvalidQuorum {
        /// Which parameter: r, w, pr or pw.
        parameter: String,
        /// What was asked for.
        given: u8,
        /// The number of copies.
        max: u8,
    },
    /// A time-out of zero or beyond the limit. Nothing was changed.
    #[error("timeout_ms must be 1 to {max}; {given} is not")]
    InvalidTimeout {
        /// What was asked for, in milliseconds.
        given: u64,
        /// The longest, in milliseconds.
        max: u64,
    },
    /// A context that this cluster did not give out for this key. Nothing was changed.
    #[error("the context cannot be used: {0}")]
    InvalidContext(String),
    /// The value is too large. Nothing was changed.
    #[error("the value has {bytes} bytes; at most {max} are accepted")]
    TooLarge {
        /// Its size in bytes.
        bytes: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// The key has as many siblings as it may have, and the write would add one. Nothing was changed.
    #[error("the key has {siblings} siblings: read them and write one value with the context of that read")]
    TooManySiblings {
        /// How many there are.
        siblings: u32,
    },
    /// Too much is under way at this node. Nothing was changed.
    #[error("this node has as much under way as it can hold: try again, slower")]
    Overloaded,
    /// The node is not ready to serve. Nothing was changed.
    #[error("this node cannot serve yet: {reason}")]
    NotReady {
        /// What it waits for.
        reason: String,
    },
    /// Too few replicas answered. A write may still appear later.
    #[error("too few answers came before the request ended: {}, where {needed} are needed{}{}",
        counted(answers), of_owners(*primaries), if *write { "; the write may still appear later" } else { "" })]
    QuorumNotMet {
        /// Whether it was a write.
        write: bool,
        /// Answers needed.
        needed: u8,
        /// How many of them must be answers of owners.
        primaries: u8,
        /// Who answered.
        answers: Answers,
        /// Who should have.
        replicas: Vec<NodeId>,
    },
    /// The node that the request was handed to did not answer in time. A write may still appear later.
    #[error("no answer from {coordinator} before the request's time was over: a write may still appear later")]
    Timeout {
        /// Who was asked.
        coordinator: NodeId,
    },
    /// Disks failed or are full, here or at so many replicas that too few hold the write. It may still appear later.
    #[error("the request could not be stored: {0}")]
    Storage(StorageError),
}

/// The answers of a request that failed, for people.
fn counted(answers: &Answers) -> String {
    match (answers.successful.len(), answers.stand_ins.len()) {
        (all, 0) => alloc::format!("{all}"),
        (all, stand_ins) => alloc::format!("{all} ({stand_ins} of them by fallbacks)"),
    }
}

fn of_owners(primaries: u8) -> String {
    if primaries == 0 { String::new() } else { alloc::format!(" and {primaries} of owners") }
}

impl RequestError {
    /// The code that programs look at; fixed by the HTTP interface.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InvalidQuorum { .. } | Self::InvalidTimeout { .. } | Self::InvalidContext(_) => "invalid_argument",
            Self::TooLarge { .. } => "too_large",
            Self::TooManySiblings { .. } => "too_many_siblings",
            Self::Overloaded => "overloaded",
            Self::NotReady { .. } => "not_ready",
            Self::QuorumNotMet { .. } => "quorum_not_met",
            Self::Timeout { .. } => "timeout",
            Self::Storage(StorageError::Full) => "disk_full",
            Self::Storage(_) => "storage_failed",
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Overloaded
                | Self::NotReady { .. }
                | Self::QuorumNotMet { .. }
                | Self::Timeout { .. }
                | Self::Storage(_)
        )
    }
}
