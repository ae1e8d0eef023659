//! What a client is told when a request succeeds, as JSON. Never decides anything.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use quorate_core::causality::{Version, VersionVector};
use quorate_core::id::{ActorId, Key, NodeId};
use quorate_core::shard::Success;
use quorate_core::value::Value;
use serde::Serialize;
use serde_json::value::RawValue;

use super::context;
use crate::clocks::Clocks;

/// A value as JSON: itself if it is JSON, else its bytes in Base64 and what they are.
#[derive(Debug, Serialize)]
pub(crate) struct ValueText {
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
}

impl ValueText {
    fn of(value: &Value) -> Self {
        if let Some(json) = json_of(value) {
            return Self { value: Some(json), value_base64: None, content_type: None };
        }
        Self {
            value: None,
            value_base64: Some(STANDARD.encode(&value.bytes)),
            content_type: Some(value.content_type.as_str().into()),
        }
    }
}

/// The value's JSON. What only claims to be JSON is treated as bytes: a document with it inside would be none.
pub(crate) fn json_of(value: &Value) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(&value.bytes).ok().filter(|_| value.content_type.is_json())?;
    RawValue::from_string(text.to_owned()).ok()
}

/// What a read is answered. The fields of [`ValueText`] are written out, because raw JSON cannot be flattened.
#[derive(Debug, Serialize)]
struct ReadAnswer<'a> {
    key: &'a Key,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    vector_clock: Clocks,
    context: &'a str,
    timestamp: u64,
    version: u64,
    replicas: &'a [NodeId],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    siblings: Vec<Sibling>,
}

/// One of several values.
#[derive(Debug, Serialize)]
pub(crate) struct Sibling {
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    vector_clock: Clocks,
    timestamp: u64,
}

/// What a write is answered.
#[derive(Debug, Serialize)]
pub(crate) struct WriteAnswer<'a> {
    pub(crate) key: &'a Key,
    /// What was written, if it was JSON; nothing for a delete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<Box<RawValue>>,
    pub(crate) responsible_node: &'a NodeId,
    pub(crate) replication_nodes: &'a [NodeId],
    pub(crate) replication_result: serde_json::Value,
    pub(crate) vector_clock: Clocks,
    pub(crate) context: &'a str,
    pub(crate) event_count: usize,
    pub(crate) layout_version: u64,
}

/// The values of a set as siblings, newest first.
pub(crate) fn siblings(success: &Success) -> Vec<Sibling> {
    let show = |(dot, version): (quorate_core::causality::Dot, &Version)| {
        let mut own = VersionVector::new();
        own.insert(dot);
        let text = version.value.as_ref().map(ValueText::of);
        let (value, value_base64, content_type) =
            text.map_or((None, None, None), |text| (text.value, text.value_base64, text.content_type));
        let timestamp = seconds(version);
        Sibling { value, value_base64, content_type, vector_clock: clocks(&own, &success.issuers), timestamp }
    };
    success.set.values().into_iter().map(show).collect()
}

/// The answer to a read that found something; `newest` is its newest value.
pub(crate) fn found(key: &Key, success: &Success, newest: &Version) -> Response {
    let all = siblings(success);
    let text = newest.value.as_ref().map(ValueText::of);
    let (value, value_base64, content_type) =
        text.map_or((None, None, None), |text| (text.value, text.value_base64, text.content_type));
    let vector_clock = clocks(success.set.context(), &success.issuers);
    let answer = ReadAnswer {
        key,
        value,
        value_base64,
        content_type,
        context: &success.context,
        timestamp: seconds(newest),
        version: vector_clock.total(),
        vector_clock,
        replicas: &success.replicas,
        siblings: if all.len() > 1 { all } else { Vec::new() },
    };
    json_with_context(&answer, &success.context)
}

/// The clock of a vector as people read it.
pub(crate) fn clocks(vector: &VersionVector, issuers: &BTreeMap<ActorId, NodeId>) -> Clocks {
    Clocks::of(vector, issuers)
}

fn seconds(version: &Version) -> u64 {
    version.stamp.wall_ms / 1_000
}

/// A JSON document.
pub(crate) fn json(content: &impl Serialize) -> Response {
    let text = serde_json::to_string(content).expect("answers have text for keys and no infinite numbers");
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A JSON document under another status than 200.
pub(crate) fn json_with(status: StatusCode, content: &impl Serialize) -> Response {
    let mut response = json(content);
    *response.status_mut() = status;
    response
}

/// A JSON document with a context in the header too.
pub(crate) fn json_with_context(content: &impl Serialize, token: &str) -> Response {
    let mut response = json(content);
    context::insert(response.headers_mut(), token);
    response
}

/// The bytes of a value as they were given, with the context in the header.
pub(crate) fn raw(value: &Value, token: &str) -> Response {
    let mut response = Response::new(Body::from(value.bytes.clone()));
    let headers = response.headers_mut();
    let content_type = HeaderValue::from_str(value.content_type.as_str())
        .unwrap_or(HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_TYPE, content_type);
    // A browser must not take a stored value for a page of this server.
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert("content-security-policy", HeaderValue::from_static("sandbox; default-src 'none'"));
    context::insert(headers, token);
    response
}
