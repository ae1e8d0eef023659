//! The short forms of the data routes, for the command line: a key in the query or in the body. They do exactly what the
//! long ones do.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use quorate_core::id::Key;
use serde_json::json;

use super::answer;
use super::data::{WriteBody, json_value, parse};
use super::error::ApiError;
use super::query::Query;
use super::{App, context};

/// What a body may have beyond the value itself.
const BODY_OVERHEAD_BYTES: usize = 128 * 1_024;

/// `{"key", "value"}`, as JSON whatever the content type says: that is what command lines send.
pub(crate) async fn set(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let query = Query::of(&parts.uri)?;
    let body = app.read_body(body, BODY_OVERHEAD_BYTES).await?;
    let WriteBody { key, value, context: named } = parse(&body.bytes)?;
    let key =
        key.ok_or_else(|| ApiError::invalid("the body has no \"key\": it must be {\"key\": .., \"value\": ..}"))?;
    let context = context::agreed(context::find(&parts.headers)?, named)?;
    app.write(Key::new(&key)?, Some(json_value(value)?), context, &query, &parts.headers).await
}

pub(crate) async fn get(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let query = Query::of(request.uri())?;
    app.read(query.key("key")?, &query, request.headers()).await
}

/// The key is in the query, or in a JSON body.
pub(crate) async fn delete(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let query = Query::of(&parts.uri)?;
    let body = app.read_body(body, BODY_OVERHEAD_BYTES).await?;
    let body = if body.bytes.is_empty() { WriteBody::default() } else { parse(&body.bytes)? };
    let key = match body.key {
        Some(key) if query.get("key").is_none() => Key::new(&key)?,
        _ => query.key("key")?,
    };
    let context = context::agreed(context::find(&parts.headers)?, body.context)?;
    app.write(key, None, context, &query, &parts.headers).await
}

/// What this node stores.
pub(crate) async fn stats(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let store = app.runtime.store();
    Ok(answer::json(&json!({
        "node_id": app.settings.node_id,
        "keys": store.keys(),
        "bytes": store.disk_bytes(),
        "engine": store.engine_name(),
        "operations": app.operations.len(),
    })))
}
