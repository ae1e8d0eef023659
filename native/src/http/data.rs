//! The data routes: put, get and delete of one key. They translate between HTTP and the core's requests; what happens is
//! decided in the core.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use quorate_core::error::RequestError;
use quorate_core::event::OperationKind;
use quorate_core::id::{Key, RequestKey};
use quorate_core::shard::{Operation, Reply, Request as CoreRequest, Success};
use quorate_core::value::{ContentType, Value};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::answer::{self, WriteAnswer};
use super::error::{ApiError, replication_result};
use super::query::{Query, key_in_path};
use super::{App, context};
use crate::operations;

/// Where the keys are.
pub(crate) const PREFIX: &str = "/api/v1/data/";
/// What a body may have beyond the value itself: the key, the longest context, and JSON around them.
const BODY_OVERHEAD_BYTES: usize = 128 * 1_024;
/// What bytes are that came without a content type.
const UNNAMED_CONTENT_TYPE: &str = "application/octet-stream";

/// A JSON body of a write.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct WriteBody {
    /// Of the short form only: the long one has it in the path.
    pub(crate) key: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) value: Option<Box<RawValue>>,
    pub(crate) context: Option<String>,
}

/// A value that is there, be it `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

pub(crate) async fn put(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let key = key_in_path(&parts.uri, PREFIX)?;
    let query = Query::of(&parts.uri)?;
    let body = app.read_body(body, BODY_OVERHEAD_BYTES).await?;
    let (value, named) = match parts.headers.get(CONTENT_TYPE).map(|value| value.to_str()) {
        Some(Ok(name)) if is_json(name) => json_body(&body.bytes)?,
        Some(Ok(name)) => (raw_value(name, body.bytes.clone())?, None),
        Some(Err(_)) => return Err(ApiError::invalid("the header Content-Type holds what no content type has")),
        None => (raw_value(UNNAMED_CONTENT_TYPE, body.bytes.clone())?, None),
    };
    let context = context::agreed(context::find(&parts.headers)?, named)?;
    app.write(key, Some(value), context, &query, &parts.headers).await
}

pub(crate) async fn delete(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let key = key_in_path(&parts.uri, PREFIX)?;
    let query = Query::of(&parts.uri)?;
    let body = app.read_body(body, BODY_OVERHEAD_BYTES).await?;
    let named = if body.bytes.is_empty() { None } else { parse::<WriteBody>(&body.bytes)?.context };
    let context = context::agreed(context::find(&parts.headers)?, named)?;
    app.write(key, None, context, &query, &parts.headers).await
}

pub(crate) async fn get(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let key = key_in_path(request.uri(), PREFIX)?;
    let query = Query::of(request.uri())?;
    app.read(key, &query, request.headers()).await
}

impl App {
    /// Carries out a request, and counts what came of it.
    async fn carry_out(&self, request: CoreRequest) -> Reply {
        let (kind, begun) = (request.kind(), Instant::now());
        let reply = self.runtime.request(request).await;
        let outcome = reply.as_ref().map_or_else(RequestError::code, |_| "ok");
        self.metrics.requested(kind, outcome, begun.elapsed());
        reply
    }

    /// Carries out a write and tells what came of it.
    pub(crate) async fn write(
        &self,
        key: Key,
        value: Option<Value>,
        context: Option<String>,
        query: &Query,
        headers: &HeaderMap,
    ) -> Result<Response, ApiError> {
        let copies = self.copies();
        let mut request = CoreRequest::write(key.clone(), value.clone(), context);
        request.quorum = query.quorum("w", copies)?;
        request.primaries = query.primaries("pw", copies)?;
        request.timeout = query.timeout()?;
        request.sloppy = query.flag("sloppy")?.unwrap_or(true);
        if let Operation::Write { request_key, .. } = &mut request.operation {
            *request_key = idempotency_key(headers)?;
        }
        let kind = request.kind();
        let success = self.carry_out(request).await?;
        let clocks = answer::clocks(success.set.context(), &success.issuers);
        let event_count = self.note(kind, &key, value.as_ref(), &success);
        let answer = WriteAnswer {
            key: &key,
            value: value.as_ref().and_then(answer::json_of),
            responsible_node: &success.coordinator,
            replication_nodes: &success.replicas,
            replication_result: replication_result(&success.answers, true),
            vector_clock: clocks,
            context: &success.context,
            event_count,
            layout_version: success.layout_version,
        };
        Ok(answer::json_with_context(&answer, &success.context))
    }

    /// Carries out a read and tells what came of it.
    pub(crate) async fn read(&self, key: Key, query: &Query, headers: &HeaderMap) -> Result<Response, ApiError> {
        let copies = self.copies();
        let mut request = CoreRequest::get(key.clone());
        request.quorum = query.quorum("r", copies)?;
        request.primaries = query.primaries("pr", copies)?;
        request.timeout = query.timeout()?;
        let success = self.carry_out(request).await?;
        let values = success.set.values();
        self.metrics.found(values.len());
        let newest = values.first().map(|(_, version)| *version);
        self.note(OperationKind::Get, &key, newest.and_then(|version| version.value.as_ref()), &success);
        let Some(newest) = newest else {
            let message = format!("there is no value under {key:?}");
            return Err(ApiError::not_found(message).with_context(success.context));
        };
        match &newest.value {
            Some(value) if wants_bytes(headers) && values.len() == 1 => Ok(answer::raw(value, &success.context)),
            Some(_) if wants_bytes(headers) => {
                let error = ApiError::siblings(values.len(), &answer::siblings(&success));
                Err(error.with_context(success.context.clone()))
            }
            _ => Ok(answer::found(&key, &success, newest)),
        }
    }

    fn note(&self, kind: OperationKind, key: &Key, value: Option<&Value>, success: &Success) -> usize {
        let clocks = answer::clocks(success.set.context(), &success.issuers);
        let siblings = success.set.values().len();
        self.operations.add(operations::Operation { kind, key, value, clocks, siblings })
    }
}

/// Reads a JSON body.
pub(crate) fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ApiError::invalid(format!("the body is not the JSON expected: {error}")))
}

fn json_body(bytes: &[u8]) -> Result<(Value, Option<String>), ApiError> {
    let body: WriteBody = parse(bytes)?;
    Ok((json_value(body.value)?, body.context))
}

/// The value of a JSON body.
pub(crate) fn json_value(value: Option<Box<RawValue>>) -> Result<Value, ApiError> {
    match value {
        Some(value) => Ok(Value::json(String::from(Box::<str>::from(value)))),
        None => Err(ApiError::invalid("the body has no \"value\": it must be {\"value\": ANY JSON}")),
    }
}

fn raw_value(content_type: &str, bytes: Bytes) -> Result<Value, ApiError> {
    let content_type = ContentType::new(content_type).map_err(|error| ApiError::invalid(error.to_string()))?;
    Ok(Value { content_type, bytes })
}

fn is_json(content_type: &str) -> bool {
    essence(content_type).eq_ignore_ascii_case("application/json")
}

/// A media type without its parameters.
fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// Whether the client asks for the bytes themselves, and not for JSON about them.
fn wants_bytes(headers: &HeaderMap) -> bool {
    let accepted: Vec<&str> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .collect();
    let accepts = |wanted: &str| accepted.iter().any(|offered| essence(offered).eq_ignore_ascii_case(wanted));
    accepts(UNNAMED_CONTENT_TYPE) && !accepts("application/json")
}

/// What the client calls a write, as the core names it: any text, by its hash.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<RequestKey>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    if value.is_empty() || value.len() > 255 {
        return Err(ApiError::invalid("the header Idempotency-Key must be 1 to 255 bytes long"));
    }
    let hash = Sha256::digest(value.as_bytes());
    let (first, _) = hash.split_first_chunk::<16>().expect("a SHA-256 has 32 bytes");
    Ok(Some(RequestKey(u128::from_be_bytes(*first))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_body_has_a_value_be_it_null_and_keeps_its_text() {
        for (body, expected) in [
            (r#"{"value":"John Doe"}"#, Some(r#""John Doe""#)),
            (r#"{"value": {"a":[1, 2.50]}, "context":"t"}"#, Some(r#"{"a":[1, 2.50]}"#)),
            (r#"{"value":null}"#, Some("null")),
            (r#"{"value":12345678901234567890123}"#, Some("12345678901234567890123")),
            (r#"{"val":1}"#, None),
            (r#"{"value":}"#, None),
            ("[1]", None),
            ("", None),
        ] {
            let value = json_body(body.as_bytes()).ok().map(|(value, _)| value);
            assert_eq!(value, expected.map(Value::json), "{body}");
        }
    }

    #[test]
    fn depth_is_no_way_to_end_the_process() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let (value, _) = json_body(format!(r#"{{"value":{deep}}}"#).as_bytes()).expect("JSON");
        assert_eq!(answer::json_of(&value).expect("JSON").get(), deep);
    }

    #[test]
    fn bytes_are_given_only_to_who_asks_for_bytes_and_not_for_json() {
        for (accept, expected) in [
            ("application/octet-stream", true),
            ("text/html, Application/Octet-Stream;q=0.5", true),
            ("application/json, application/octet-stream", false),
            ("*/*", false),
            ("", false),
        ] {
            let headers = [(ACCEPT, accept.parse().expect("good"))].into_iter().collect();
            assert_eq!(wants_bytes(&headers), expected, "{accept:?}");
        }
    }

    #[test]
    fn content_types_are_json_whatever_their_parameters() {
        for (name, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/jsonl", false),
            ("text/json", false),
        ] {
            assert_eq!(is_json(name), expected, "{name}");
        }
    }
}
