//! What a client asks of the data plane, and what it is answered. Never knows how the answer comes about.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::causality::SiblingSet;
use crate::error::{Answers, RequestError};
use crate::event::OperationKind;
use crate::id::{ActorId, Key, NodeId, RequestKey};
use crate::limits;
use crate::value::Value;

/// A client's request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Of which key.
    pub key: Key,
    /// What for.
    pub operation: Operation,
    /// Answers to wait for: r or w. Defaults to the cluster's.
    pub quorum: Option<Quorum>,
    /// Answers of owners to wait for, besides the quorum: pr or pw. Defaults to none.
    pub primaries: Option<u8>,
    /// Whether a fallback may stand in for an owner that cannot be reached. Defaults to true.
    pub sloppy: bool,
    /// How long it may take. Defaults to the node's.
    pub timeout: Option<Duration>,
}

/// What a client wants done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Read the key.
    Get,
    /// Write the key.
    Write {
        /// The new value; nothing is a tombstone.
        value: Option<Value>,
        /// The context that says what the write replaces; without one it replaces what the coordinator finds.
        context: Option<String>,
        /// What the client calls the write.
        request_key: Option<RequestKey>,
    },
}

/// How many answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Quorum {
    /// So many.
    Count(u8),
    /// One of every replica.
    All,
}

impl Request {
    /// A read with the cluster's defaults.
    #[must_use]
    pub const fn get(key: Key) -> Self {
        Self { key, operation: Operation::Get, quorum: None, primaries: None, sloppy: true, timeout: None }
    }

    /// A write with the cluster's defaults; no value is a delete.
    #[must_use]
    pub const fn write(key: Key, value: Option<Value>, context: Option<String>) -> Self {
        let operation = Operation::Write { value, context, request_key: None };
        Self { key, operation, quorum: None, primaries: None, sloppy: true, timeout: None }
    }

    /// What kind of request it is.
    #[must_use]
    pub const fn kind(&self) -> OperationKind {
        match self.operation {
            Operation::Get => OperationKind::Get,
            Operation::Write { value: Some(_), .. } => OperationKind::Put,
            Operation::Write { value: None, .. } => OperationKind::Delete,
        }
    }

    /// How many bytes of a value it brings.
    #[must_use]
    pub fn value_bytes(&self) -> u64 {
        match &self.operation {
            Operation::Write { value: Some(value), .. } => u64::try_from(value.bytes.len()).unwrap_or(u64::MAX),
            Operation::Write { value: None, .. } | Operation::Get => 0,
        }
    }

    /// Checks what can be checked without knowing the cluster's state.
    ///
    /// # Errors
    /// [`RequestError`] of a kind that changed nothing.
    pub fn validate(&self, copies: u8, value_bytes_max: usize) -> Result<(), RequestError> {
        let write = self.kind() != OperationKind::Get;
        let check = |parameter: &str, given: u8| {
            if given == 0 || given > copies {
                return Err(RequestError::InvalidQuorum { parameter: parameter.into(), given, max: copies });
            }
            Ok(())
        };
        if let Some(Quorum::Count(count)) = self.quorum {
            check(if write { "w" } else { "r" }, count)?;
        }
        if let Some(count) = self.primaries {
            check(if write { "pw" } else { "pr" }, count)?;
        }
        if let Some(timeout) = self.timeout
            && (timeout.is_zero() || timeout > limits::TIMEOUT_MAX)
        {
            let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
            return Err(RequestError::InvalidTimeout { given: ms(timeout), max: ms(limits::TIMEOUT_MAX) });
        }
        if let Operation::Write { value: Some(value), .. } = &self.operation
            && value.bytes.len() > value_bytes_max
        {
            let wide = |size: usize| u64::try_from(size).expect("a size fits 64 bits");
            return Err(RequestError::TooLarge { bytes: wide(value.bytes.len()), max: wide(value_bytes_max) });
        }
        Ok(())
    }
}

/// A request that succeeded. A key that is absent is a success too: an empty set, or one of tombstones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Success {
    /// The merge of every answer that had come, or for a write the set as its coordinator stored it.
    pub set: SiblingSet,
    /// What the client has seen once it is told: of a read the whole set; of a write what it replaced, and itself.
    pub context: String,
    /// Who coordinated it.
    pub coordinator: NodeId,
    /// The owners, in the order of the walk.
    pub replicas: Vec<NodeId>,
    /// Who had answered when the reply was made.
    pub answers: Answers,
    /// The layout it was done under.
    pub layout_version: u64,
    /// Which node's store each actor of the set is, as far as known.
    pub issuers: BTreeMap<ActorId, NodeId>,
}

/// What a client is answered.
pub type Reply = Result<Success, RequestError>;
