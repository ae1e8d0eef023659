//! What clients did and were told, operation by operation, exactly as they saw it. Judges nothing.

use serde::Serialize;

/// What a client asked for.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    /// To read; `strict` from so many owners as a read quorum has.
    Get { strict: bool },
    /// To write a value that nothing else ever writes, in place of what the context covers.
    Put { value: String, context: Option<String> },
    /// To delete what the context covers.
    Delete { context: String },
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// The write is safe. `strict` says whether a write quorum of owners had it.
    Acknowledged { context: String, coordinator: String, strict: bool },
    /// These are the values; none if the key is absent.
    Shown { values: Vec<String>, context: String },
    /// It was refused, and this is why.
    Failed(String),
    /// It may have happened or not, and this is why nobody knows.
    Unknown(String),
}

/// One operation.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Operation {
    pub(crate) client: u64,
    /// The node that was asked.
    pub(crate) node: String,
    pub(crate) key: String,
    /// Since the clients began, in microseconds.
    pub(crate) invoked_us: u64,
    pub(crate) returned_us: u64,
    pub(crate) action: Action,
    pub(crate) outcome: Outcome,
}
