//! What a client is told when a request fails: one form, whatever failed. Never decides whether it failed.

use std::collections::BTreeMap;
use std::fmt;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use quorate_core::error::{Answers, RequestError};
use quorate_core::gossip::RefusedError;
use quorate_core::id::NameError;
use quorate_core::layout::ChangeError;
use quorate_core::node::{JoinError, TalkError};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::context;
use super::risk::Risk;
use crate::runtime::NoAnswer;

/// A failed request.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    retryable: bool,
    /// What else the error object tells. Raw, because values of clients may be nested deeper than any tree of ours.
    details: BTreeMap<&'static str, Box<RawValue>>,
    /// What a reader may write with all the same: an absent key has a context too.
    context: Option<String>,
    /// Whether the connection is of no use any more.
    closes: bool,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            retryable: false,
            details: BTreeMap::new(),
            context: None,
            closes: false,
        }
    }

    /// Something is wrong with the request.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_argument", message)
    }

    /// There is nothing here.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// There is, but not for this method.
    pub(crate) fn method_not_allowed(method: &hyper::Method, path: &str) -> Self {
        let message = format!("{path} does not take {method}: the Allow header says what it takes");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    /// Who asks has not shown who he is.
    pub(crate) fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", message)
    }

    /// Who asks may not.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// It cannot be done as things are.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }

    /// The body is larger than anything that is accepted.
    pub(crate) fn too_large(bytes_max: usize) -> Self {
        let message = format!("the body is too large: values of at most {bytes_max} bytes are accepted");
        Self { closes: true, ..Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message) }
    }

    /// The body did not come.
    pub(crate) fn slow_body() -> Self {
        let message = "the body did not come in time: send it without long pauses";
        Self { closes: true, retryable: true, ..Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", message) }
    }

    /// Too much is under way.
    pub(crate) fn overloaded() -> Self {
        Self::from(RequestError::Overloaded)
    }

    /// The node stops.
    pub(crate) fn shutting_down() -> Self {
        let message = "this node is stopping: ask another one";
        Self { closes: true, retryable: true, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", message) }
    }

    /// The node cannot serve.
    pub(crate) fn not_ready(reason: impl Into<String>) -> Self {
        Self::from(RequestError::NotReady { reason: reason.into() })
    }

    /// The protocol must be another one.
    pub(crate) fn upgrade_required(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", message)
    }

    /// Several values where one was asked for.
    pub(crate) fn siblings(count: usize, siblings: &impl Serialize) -> Self {
        let message = format!(
            "the key has {count} values: read them as JSON, and write one with the context of that read to replace them"
        );
        Self::new(StatusCode::CONFLICT, "siblings", message).with("siblings", siblings)
    }

    /// What is risked must be said to be known.
    pub(crate) fn unacknowledged(risk: &Risk) -> Self {
        let message = format!("{risk}; if that is meant, add \"i_know_what_is_lost\": true");
        Self::invalid(message).with("risk", risk)
    }

    /// With a context to write with.
    pub(crate) fn with_context(self, context: String) -> Self {
        Self { context: Some(context), ..self }
    }

    fn with(mut self, name: &'static str, detail: &impl Serialize) -> Self {
        self.details.insert(name, to_raw_value(detail).expect("details have text for keys"));
        self
    }
}

/// The replication result as clients see it.
pub(crate) fn replication_result(answers: &Answers, quorum_achieved: bool) -> Value {
    let stand_ins: Vec<Value> =
        answers.stand_ins.iter().map(|pair| json!({ "node_id": pair.fallback, "for": pair.target })).collect();
    json!({
        "successful_nodes": answers.successful,
        "failed_nodes": answers.failed,
        "stand_ins": stand_ins,
        "quorum_achieved": quorum_achieved,
    })
}

impl From<RequestError> for ApiError {
    fn from(error: RequestError) -> Self {
        let code = error.code();
        let status = match code {
            "invalid_argument" => StatusCode::BAD_REQUEST,
            "too_large" => StatusCode::PAYLOAD_TOO_LARGE,
            "too_many_siblings" => StatusCode::UNPROCESSABLE_ENTITY,
            "overloaded" => StatusCode::TOO_MANY_REQUESTS,
            "not_ready" | "quorum_not_met" => StatusCode::SERVICE_UNAVAILABLE,
            "timeout" => StatusCode::GATEWAY_TIMEOUT,
            "disk_full" => StatusCode::INSUFFICIENT_STORAGE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let api = Self { retryable: error.is_retryable(), ..Self::new(status, code, error.to_string()) };
        match error {
            RequestError::QuorumNotMet { answers, replicas, needed, primaries, .. } => api
                .with("replication_result", &replication_result(&answers, false))
                .with("replication_nodes", &replicas)
                .with("needed", &needed)
                .with("needed_of_owners", &primaries),
            _ => api,
        }
    }
}

impl From<NameError> for ApiError {
    fn from(error: NameError) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<NoAnswer> for ApiError {
    fn from(error: NoAnswer) -> Self {
        Self { retryable: true, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", error.to_string()) }
    }
}

impl From<JoinError> for ApiError {
    fn from(error: JoinError) -> Self {
        let (status, code, retryable) = match error {
            JoinError::Refused(_) => (StatusCode::CONFLICT, "conflict", false),
            JoinError::NoAnswer(_) => (StatusCode::GATEWAY_TIMEOUT, "timeout", true),
            JoinError::NotNow(_) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready", true),
        };
        Self { retryable, ..Self::new(status, code, error.to_string()) }
    }
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        let (status, code, retryable) = match error {
            ChangeError::NotAnOwner(_) => (StatusCode::NOT_FOUND, "not_found", false),
            ChangeError::LastOwner(_)
            | ChangeError::TooMany(_)
            | ChangeError::Nothing
            | ChangeError::Stale { .. }
            | ChangeError::NothingToRevert => (StatusCode::CONFLICT, "conflict", false),
            ChangeError::TooManyActive { .. } => (StatusCode::CONFLICT, "conflict", true),
            ChangeError::NoMajority { .. } => (StatusCode::SERVICE_UNAVAILABLE, "quorum_not_met", true),
            ChangeError::NoCluster => (StatusCode::SERVICE_UNAVAILABLE, "not_ready", true),
        };
        Self { retryable, ..Self::new(status, code, error.to_string()) }
    }
}

impl From<TalkError> for ApiError {
    fn from(error: TalkError) -> Self {
        let (status, code, retryable) = match &error {
            TalkError::NoCluster => (StatusCode::SERVICE_UNAVAILABLE, "not_ready", true),
            TalkError::Refused(RefusedError::Busy { .. }) => (StatusCode::TOO_MANY_REQUESTS, "overloaded", true),
            TalkError::Refused(RefusedError::Reserved { .. } | RefusedError::Bounds(_)) => {
                (StatusCode::BAD_REQUEST, "invalid_argument", false)
            }
        };
        Self { retryable, ..Self::new(status, code, error.to_string()) }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a BTreeMap<&'static str, Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<&'a str>,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (code, message, retryable) = (self.code, self.message.clone(), self.retryable);
        let error = self.with("code", &code).with("message", &message).with("retryable", &retryable);
        let body = ErrorBody { error: &error.details, context: error.context.as_deref() };
        let mut response = Response::new(Body::from(serde_json::to_string(&body).expect("it has text for keys")));
        *response.status_mut() = error.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(context) = &error.context {
            context::insert(headers, context);
        }
        if error.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if error.closes {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::id::NodeId;
    use quorate_core::storage::StorageError;

    use super::*;

    #[test]
    fn every_failed_request_has_the_status_of_its_code() {
        let coordinator = NodeId::new("n").expect("a good name");
        for (error, status, code, retryable) in [
            (RequestError::InvalidContext("no".into()), 400, "invalid_argument", false),
            (RequestError::TooLarge { bytes: 2, max: 1 }, 413, "too_large", false),
            (RequestError::TooManySiblings { siblings: 100 }, 422, "too_many_siblings", false),
            (RequestError::Overloaded, 429, "overloaded", true),
            (RequestError::NotReady { reason: "soon".into() }, 503, "not_ready", true),
            (RequestError::Timeout { coordinator }, 504, "timeout", true),
            (RequestError::Storage(StorageError::Full), 507, "disk_full", true),
            (RequestError::Storage(StorageError::Io("bad".into())), 500, "storage_failed", true),
        ] {
            let api = ApiError::from(error);
            assert_eq!((api.status.as_u16(), api.code, api.retryable), (status, code, retryable));
        }
    }
}
